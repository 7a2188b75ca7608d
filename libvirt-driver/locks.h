/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Locks on the disks and leases of running domains, kept by libvirt's lock manager if there is one. */
#pragma once

#include "domain.h"

/* All disks and leases of a domain that is about to start; -1 with an error, and then none is held. */
int xenLocksAcquire(xenDriver *driver, virDomainObj *vm);
/* What the domain holds; a failure is logged. */
void xenLocksRelease(xenDriver *driver, virDomainObj *vm);

/* One disk or lease that comes, -1 with an error, or goes, a failure being logged. */
int xenLocksAcquireDisk(xenDriver *driver, virDomainObj *vm, const virDomainDiskDef *disk);
void xenLocksReleaseDisk(xenDriver *driver, virDomainObj *vm, const virDomainDiskDef *disk);
int xenLocksAcquireLease(xenDriver *driver, virDomainObj *vm, virDomainLeaseDef *lease);
int xenLocksReleaseLease(xenDriver *driver, virDomainObj *vm, virDomainLeaseDef *lease);
