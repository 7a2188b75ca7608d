/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "compat.h"

/* Sizes of a local image or device in bytes, whatever its format.  -1 with an error. */
int xenBlockReadSizes(const virDomainDiskDef *disk, unsigned long long *capacity,
                      unsigned long long *allocation, unsigned long long *physical);
