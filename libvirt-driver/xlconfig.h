/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xl.cfg, the configuration file of Xen's own tool, to and from libvirt's definition.
 *
 * What has no counterpart on the other side is named in the log (reading) or refused (writing): a domain
 * that was converted is the same domain, or there is no conversion.
 */
#pragma once

#include "driver.h"

virDomainDef *xenXLConfigParse(xenDriver *driver, const char *text);
char *xenXLConfigFormat(const virDomainDef *def);
