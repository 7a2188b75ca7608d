/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Multiboot Specification 0.6.96 and 2.0.  All is copied out; the originals may be overwritten later. */
#include "boot/multiboot.h"
#include "base/log.h"
#include "base/string.h"

struct boot_info boot_info;

static void
text_copy(char *dst, const char *src, u64 limit)
{
    size_t n = strnlen(src, MIN(limit, (u64)BOOT_TEXT_MAX - 1));

    memcpy(dst, src, n);
    dst[n] = 0;
}

static void
range_add(u64 start, u64 length, u32 type)
{
    u64 end;

    if (__builtin_add_overflow(start, length, &end))
        end = ~0ull;
    if (start >= end || boot_info.range_count == MEMORY_RANGE_MAX)
        return;
    if (type < MEMORY_RAM || type > MEMORY_BAD)
        type = MEMORY_RESERVED;
    boot_info.ranges[boot_info.range_count++] = (struct memory_range){start, end, type};
}

static char *
module_add(u64 start, u64 end)
{
    unsigned i = boot_info.module_count;

    if (i == BOOT_MODULE_MAX || start >= end)
        return NULL;
    boot_info.modules[i].start = _maddr(start);
    boot_info.modules[i].size = end - start;
    boot_info.module_count++;
    return boot_info.module_cmdline[i];
}

/* --- multiboot 1 --- */

struct mb1_info {
    u32 flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4];
    u32 mmap_length, mmap_addr, drives_length, drives_addr, config_table, loader_name;
} __packed;

struct mb1_module {
    u32 start, end, string, reserved;
} __packed;

struct mb1_mmap {
    u32 size;
    u64 address, length;
    u32 type;
} __packed;

static void
mb1_text(char *dst, u32 address, const void *(*map)(u64, u64))
{
    const char *s = address ? map(address, 1) : NULL;

    if (s)
        text_copy(dst, s, BOOT_TEXT_MAX);
}

static void
mb1_memory(const struct mb1_info *info, const void *(*map)(u64, u64))
{
    if (info->flags & (1u << 6)) {
        const u8 *p = map(info->mmap_addr, info->mmap_length);

        for (u32 at = 0; p && at + sizeof(struct mb1_mmap) <= info->mmap_length;) {
            struct mb1_mmap entry;

            memcpy(&entry, p + at, sizeof(entry));
            range_add(entry.address, entry.length, entry.type);
            if (entry.size < sizeof(entry) - 4 || entry.size > info->mmap_length)
                break;
            at += entry.size + 4;
        }
    } else if (info->flags & 1) {
        range_add(0, (u64)info->mem_lower << 10, MEMORY_RAM);
        range_add(1u << 20, (u64)info->mem_upper << 10, MEMORY_RAM);
    }
}

static void
mb1_parse(const struct mb1_info *info, const void *(*map)(u64, u64))
{
    if (info->flags & (1u << 2))
        mb1_text(boot_info.cmdline, info->cmdline, map);
    if (info->flags & (1u << 3)) {
        u64 size = (u64)info->mods_count * sizeof(struct mb1_module);
        const struct mb1_module *mods = map(info->mods_addr, size);

        for (u32 i = 0; mods && i < info->mods_count && i < BOOT_MODULE_MAX; i++) {
            char *text = module_add(mods[i].start, mods[i].end);

            if (text)
                mb1_text(text, mods[i].string, map);
        }
    }
    mb1_memory(info, map);
}

/* --- multiboot 2 --- */

/* UEFI 2.9, 4.3 and 4.6: the table's configuration entries, by GUID. */
u64
efi_find_rsdp(u64 address, const void *(*map)(u64, u64))
{
    static const u8 acpi20_guid[16] = {0x71, 0xe8, 0x68, 0x88, 0xf1, 0xe4, 0xd3, 0x11,
                                       0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81};
    const u8 *table = address ? map(address, 120) : NULL, *entry;
    u64 count, entries, rsdp;

    if (!table || memcmp(table, "IBI SYST", 8))
        return 0;
    memcpy(&count, table + 104, 8);
    memcpy(&entries, table + 112, 8);
    for (u64 i = 0; i < MIN(count, 128ull); i++) {
        entry = map(entries + i * 24, 24);
        if (!entry)
            return 0;
        if (!memcmp(entry, acpi20_guid, 16)) {
            memcpy(&rsdp, entry + 16, 8);
            return rsdp;
        }
    }
    return 0;
}

struct mb2_tag {
    u32 type, size;
};

static void
mb2_memory(const u8 *tag, u32 size)
{
    u32 entry_size;

    if (size < 16)
        return;
    memcpy(&entry_size, tag + 8, 4);
    if (entry_size < 24)
        return;
    for (u64 at = 16; at + entry_size <= size; at += entry_size) {
        struct {
            u64 address, length;
            u32 type, reserved;
        } entry;

        memcpy(&entry, tag + at, sizeof(entry));
        range_add(entry.address, entry.length, entry.type);
    }
}

static void
mb2_module(const u8 *tag, u32 size)
{
    u32 bounds[2];
    char *text;

    if (size < 16)
        return;
    memcpy(bounds, tag + 8, 8);
    text = module_add(bounds[0], bounds[1]);
    if (text)
        text_copy(text, (const char *)tag + 16, size - 16);
}

static void
mb2_framebuffer(const u8 *tag, u32 size)
{
    if (size < 32)
        return;
    memcpy(&boot_info.framebuffer.address, tag + 8, 8);
    memcpy(&boot_info.framebuffer.pitch, tag + 16, 12);
    boot_info.framebuffer.bpp = tag[28];
    boot_info.framebuffer.type = tag[29];
    if (size >= 38 && tag[29] == 1)
        memcpy(&boot_info.framebuffer.red_position, tag + 32, 6);
    boot_info.has_framebuffer = true;
}

static void
mb2_tag(const u8 *tag, u32 type, u32 size, const void *(*map)(u64, u64))
{
    u64 address;

    switch (type) {
    case 1:
        text_copy(boot_info.cmdline, (const char *)tag + 8, size - 8);
        break;
    case 3:
        mb2_module(tag, size);
        break;
    case 6:
        mb2_memory(tag, size);
        break;
    case 8:
        mb2_framebuffer(tag, size);
        break;
    case 12: /* EFI system table, 64 bit */
        if (size < 16)
            break;
        memcpy(&address, tag + 8, 8);
        boot_info.efi = true;
        boot_info.rsdp_address = efi_find_rsdp(address, map);
        break;
    case 14:
    case 15: /* the newer root pointer wins, whichever comes first */
        if (boot_info.rsdp_size < size - 8) {
            boot_info.rsdp_size = MIN(size - 8, (u32)sizeof(boot_info.rsdp));
            memcpy(boot_info.rsdp, tag + 8, boot_info.rsdp_size);
        }
        break;
    }
}

static void
mb2_parse(const u8 *info, u64 size, const void *(*map)(u64, u64))
{
    u32 total;

    memcpy(&total, info, 4);
    size = MIN(size, (u64)total);
    for (u64 at = 8; at + 8 <= size;) {
        struct mb2_tag tag;

        memcpy(&tag, info + at, sizeof(tag));
        if (!tag.type || tag.size < 8 || tag.size > size - at)
            break;
        mb2_tag(info + at, tag.type, tag.size, map);
        at += ROUND_UP((u64)tag.size, 8ull);
    }
}

bool
multiboot_parse(u32 magic, const void *info, u64 size_limit, const void *(*map)(u64, u64),
                const char **ret_reason)
{
    boot_info.loader = "";
    if (magic == MULTIBOOT1_MAGIC && size_limit >= sizeof(struct mb1_info)) {
        mb1_parse(info, map);
    } else if (magic == MULTIBOOT2_MAGIC && size_limit >= 8) {
        mb2_parse(info, size_limit, map);
    } else {
        *ret_reason = "Serai was not started by a multiboot loader: use GRUB's multiboot2 command";
        return false;
    }
    memory_ranges_sort(boot_info.ranges, &boot_info.range_count);
    if (!boot_info.range_count) {
        *ret_reason = "the boot loader passed no memory map: use GRUB's multiboot2 command";
        return false;
    }
    return true;
}

/* The less usable type of two that claim the same bytes. */
static u32
worse(u32 a, u32 b)
{
    static const u8 rank[] = {0, 0, 3, 1, 2, 4};

    return rank[a] > rank[b] ? a : b;
}

/*
 * Every boundary of a range starts a new piece; a piece has the worst type of all ranges that cover it.
 * With at most 256 ranges the square of that is nothing.
 */
void
memory_ranges_sort(struct memory_range *ranges, unsigned *count)
{
    static struct memory_range out[MEMORY_RANGE_MAX];
    unsigned n = 0;
    u64 at = 0;

    while (n < MEMORY_RANGE_MAX) {
        u64 start = ~0ull, end = ~0ull;
        u32 type = 0;

        for (unsigned i = 0; i < *count; i++) /* the first covered byte at or after @at */
            if (ranges[i].end > at)
                start = MIN(start, MAX(ranges[i].start, at));
        if (start == ~0ull)
            break;
        for (unsigned i = 0; i < *count; i++) {
            if (ranges[i].start > start)
                end = MIN(end, ranges[i].start);
            if (ranges[i].start <= start && ranges[i].end > start) {
                end = MIN(end, ranges[i].end);
                type = type ? worse(type, ranges[i].type) : ranges[i].type;
            }
        }
        if (n && out[n - 1].end == start && out[n - 1].type == type)
            out[n - 1].end = end;
        else
            out[n++] = (struct memory_range){start, end, type};
        at = end;
    }
    memcpy(ranges, out, n * sizeof(out[0]));
    *count = n;
}
