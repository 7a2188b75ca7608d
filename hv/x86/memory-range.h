/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The firmware's memory map, sorted, without overlaps. */
#ifndef SERAI_X86_MEMORY_RANGE_H
#define SERAI_X86_MEMORY_RANGE_H

#include "base/types.h"

enum memory_type { MEMORY_RAM = 1, MEMORY_RESERVED = 2, MEMORY_ACPI = 3, MEMORY_NVS = 4, MEMORY_BAD = 5 };

#define MEMORY_RANGE_MAX 256u

struct memory_range {
    u64 start, end; /* bytes; end is the first byte after it */
    u32 type;       /* enum memory_type, the numbers of E820 */
};

extern struct memory_range memory_ranges[MEMORY_RANGE_MAX];
extern unsigned memory_range_count;

#endif
