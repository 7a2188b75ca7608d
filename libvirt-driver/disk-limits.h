/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "domain.h"

/* Whether the numbers fit each other.  -1 with an error that names the disk @target. */
int xenDiskLimitsCheck(const char *target, const virDomainBlockIoTuneInfo *limits);

/*
 * Tells QEMU the limits of @disk, or of every disk of @vm that has some.  A job is held; the lock is given up
 * meanwhile.
 */
int xenDiskLimitsApply(xenDriver *driver, virDomainObj *vm, const virDomainDiskDef *disk);
int xenDiskLimitsApplyAll(xenDriver *driver, virDomainObj *vm);
