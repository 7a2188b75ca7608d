/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the boot loader tells: multiboot 1 and 2, read into one form. */
#ifndef SERAI_BOOT_MULTIBOOT_H
#define SERAI_BOOT_MULTIBOOT_H

#include "boot/dom0.h"
#include "x86/memory-range.h"

#define BOOT_MODULE_MAX 8u
#define BOOT_TEXT_MAX   4096u

struct boot_info {
    const char *loader; /* "GRUB 2.06-13"; "" when it did not say */
    char cmdline[BOOT_TEXT_MAX];
    struct boot_module modules[BOOT_MODULE_MAX];
    char module_cmdline[BOOT_MODULE_MAX][BOOT_TEXT_MAX];
    unsigned module_count;
    struct memory_range ranges[MEMORY_RANGE_MAX];
    unsigned range_count;
    u8 rsdp[36];
    size_t rsdp_size; /* 0: none passed */
    bool efi;
    u64 rsdp_address; /* where the firmware keeps it; known on EFI only, else 0 */
    bool has_framebuffer;
    struct {
        u64 address;
        u32 pitch, width, height;
        u8 bpp, type;
        u8 red_position, red_size, green_position, green_size, blue_position, blue_size;
    } framebuffer;
};
extern struct boot_info boot_info;

/* The root pointer's address out of the EFI system table at @address; 0 when the tables do not name one. */
u64 efi_find_rsdp(u64 address, const void *(*map)(u64 address, u64 size));

#define MULTIBOOT1_MAGIC 0x2badb002u
#define MULTIBOOT2_MAGIC 0x36d76289u

/*
 * Reads the information at @info (of which @size_limit bytes may be read)
 * into boot_info; false, with a reason, when there is nothing to go on
 * with.  @map gives access to @size bytes at a machine address, or NULL.
 */
bool multiboot_parse(u32 magic, const void *info, u64 size_limit, const void *(*map)(u64 address, u64 size),
                     const char **ret_reason);

/* Sorts boot_info.ranges, joins and cuts overlaps (the less usable type wins). */
void memory_ranges_sort(struct memory_range *ranges, unsigned *count);

#endif
