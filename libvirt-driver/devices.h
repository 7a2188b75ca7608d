/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attaching, detaching and changing devices: of a running domain, and of a definition. */
#pragma once

#include "domain.h"

/* The element a device is written as. */
const char *xenDevicesElement(const virDomainDeviceDef *dev);

/* Whether @def has that PCI device already, which is then an error of @code. */
bool xenDevicesHasHostdev(virDomainDef *def, const virDomainHostdevDef *hostdev, int code);

/* The list of @def that holds devices of @chr's kind, and its length; false for a kind that we have not. */
bool xenDevicesChrList(virDomainDef *def, const virDomainChrDef *chr, virDomainChrDef ****ret_list,
                       size_t **ret_count);
/* Where @chr is in that list, or -1: consoles go by number, channels by name. */
ssize_t xenDevicesFindChr(virDomainDef *def, const virDomainChrDef *chr);

/* Of the running domain; job held.  What is attached is taken out of @dev. */
int xenDevicesAttachLive(xenDriver *driver, virDomainObj *vm, virDomainDeviceDef *dev);
int xenDevicesDetachLive(xenDriver *driver, virDomainObj *vm, const virDomainDeviceDef *dev);
int xenDevicesUpdateLive(xenDriver *driver, virDomainObj *vm, virDomainDeviceDef *dev);

/* Makes the live definition and the domain agree after the daemon was killed among the three above; job held.
 */
void xenDevicesSettle(xenDriver *driver, virDomainObj *vm);

/* Of @def, which is a copy that the caller writes. */
int xenDevicesAttachConfig(virDomainDef *def, virDomainDeviceDef *dev, virDomainXMLOption *xmlopt);
int xenDevicesDetachConfig(virDomainDef *def, const virDomainDeviceDef *dev);
int xenDevicesUpdateConfig(virDomainDef *def, virDomainDeviceDef *dev, virDomainXMLOption *xmlopt);
