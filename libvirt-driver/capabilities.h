/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "driver.h"
#include "domain_capabilities.h"

/* The size of the pages that the hypervisor counts, in KiB. */
#define XEN_PAGE_KIB 4

/* What the host can run, from what the hypervisor says. */
virCaps *xenCapabilitiesNew(xenDriver *driver);

/* What a domain of one kind can have; arguments as virConnectGetDomainCapabilities() takes them. */
virDomainCaps *xenCapabilitiesDomain(xenDriver *driver, const char *emulator, const char *arch,
                                     const char *machine, const char *virttype);

/* Domain 0 as a definition, made of what the hypervisor says about it. */
virDomainDef *xenCapabilitiesDomain0(xenDriver *driver, const SeraiDomainInfo *info);
