/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making dom0 out of the boot loader's modules and the command line. */
#ifndef SERAI_BOOT_DOM0_H
#define SERAI_BOOT_DOM0_H

#include "domain/domain.h"

/* A size as dom0_mem= takes it: so many bytes, or, below zero, all but so many.  INT64_MAX: not given. */
struct dom0_options {
    s64 memory, memory_min, memory_max;
    u32 max_vcpus; /* 0: one for each CPU */
    bool vcpus_pin;
};
#define DOM0_MEMORY_UNSET INT64_MAX

/* Where a module lies.  Its whole pages go to the allocator once it was used. */
struct boot_module {
    maddr_t start;
    u64 size;
};

/* Reads the value of dom0_mem= into @options ("512M", "-256M", "min:1G,max:75%"); false: no sense. */
bool dom0_parse_memory(const char *value, struct dom0_options *options);

/*
 * Creates dom0 with its first vCPUs, paused; @ramdisk and @console may be NULL.  The machine cannot go on
 * without it, so a failure is a sentence in *@ret_reason for the console.
 */
struct domain *dom0_create(const struct boot_module *kernel, const struct boot_module *ramdisk,
                           const char *cmdline, const struct dom0_options *options,
                           const struct dom0_vga_console_info *console, const char **ret_reason);

#endif
