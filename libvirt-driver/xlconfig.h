/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xl.cfg, the configuration file of Xen's own tool, to and from libvirt's definition.
 *
 * What has no counterpart on the other side is named in the log; what the guest could not run without is
 * refused.
 */
#pragma once

#include "driver.h"

#include "virconf.h"

virDomainDef *xenXLConfigParse(xenDriver *driver, const char *text);
char *xenXLConfigFormat(const virDomainDef *def);

/* The error of a value that @key cannot have; -1. */
int xenXLConfigBad(const char *key, const char *value);

/* The parts of both directions that are long: virtual NUMA nodes, and what cannot be written. */
int xenXLConfigParseVnuma(virConf *conf, virDomainDef *def);
void xenXLConfigFormatVnuma(virBuffer *buf, const virDomainDef *def);
void xenXLConfigNameLost(const virDomainDef *def);

/* xl.cfg's "ip" is the addresses that a guest may send from; libvirt has a packet filter for that. */
#define XEN_ADDRESS_FILTER "clean-traffic"
char *xenXLConfigAddresses(const virDomainNetDef *net);
