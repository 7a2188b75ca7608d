/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "compat.h"

/* What the library and the hypervisor can carry for one domain. */
#define XEN_MAX_VCPUS     128
#define XEN_MIN_MEMORY_KB 4096

/* What of them is not possible; -1 with an error that names it.  validate-details.c */
int xenValidateDomainDetails(const virDomainDef *def);
int xenValidateDiskDetails(const virDomainDiskDef *disk);
int xenValidateHostdevDetails(const virDomainHostdevDef *hostdev);
int xenValidateNetDetails(const virDomainNetDef *net);
int xenValidateGraphicsDetails(const virDomainGraphicsDef *graphics);
