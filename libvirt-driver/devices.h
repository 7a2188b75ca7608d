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

/* The live definition loses a device that the domain has no more, and gives back what was taken for it. */
void xenDevicesDropDisk(xenDriver *driver, virDomainObj *vm, virDomainDiskDef *disk);
void xenDevicesDropNet(xenDriver *driver, virDomainObj *vm, virDomainNetDef *net);
void xenDevicesDropHostdev(xenDriver *driver, virDomainObj *vm, virDomainHostdevDef *hostdev);
void xenDevicesDropChr(xenDriver *driver, virDomainObj *vm, virDomainChrDef ***list, size_t *count, size_t i);

/* Makes the live definition and the domain agree after the daemon was killed among the three above; job
 * held.
 */
void xenDevicesSettle(xenDriver *driver, virDomainObj *vm);
/* After another program took a device: the definition follows, and its status is saved.  Job held; the lock
 * is given up meanwhile. */
void xenDevicesFollow(xenDriver *driver, virDomainObj *vm);

/* Of @def, which is a copy that the caller writes. */
int xenDevicesAttachConfig(virDomainDef *def, virDomainDeviceDef *dev, virDomainXMLOption *xmlopt);
int xenDevicesDetachConfig(virDomainDef *def, const virDomainDeviceDef *dev);
int xenDevicesUpdateConfig(virDomainDef *def, virDomainDeviceDef *dev, virDomainXMLOption *xmlopt);
