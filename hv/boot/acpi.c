/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ACPI 6.4, chapter 5: RSDP, RSDT or XSDT, then MADT, FADT, HPET, MCFG, and the value of \_S5 from the DSDT.
 * A table that does not fit its own length is ignored with a line in the log.
 */
#include "boot/acpi.h"
#include "base/log.h"
#include "base/string.h"

struct acpi_info acpi_info;
static const void *(*map_memory)(u64 address, u64 size);

#define TABLE_MAX (1u << 20) /* larger tables are not for us */

struct acpi_header {
    char signature[4];
    u32 length;
    u8 revision, checksum;
    char oem[6], oem_table[8];
    u32 oem_revision, creator, creator_revision;
} __packed;
static_assert(sizeof(struct acpi_header) == 36, "ACPI 6.4, 5.2.6");

struct acpi_gas {
    u8 space, width, offset, access;
    u64 address;
} __packed;

static u16
get16(const u8 *p)
{
    u16 v;

    memcpy(&v, p, 2);
    return v;
}

static u32
get32(const u8 *p)
{
    u32 v;

    memcpy(&v, p, 4);
    return v;
}

static u64
get64(const u8 *p)
{
    u64 v;

    memcpy(&v, p, 8);
    return v;
}

static bool
checksum_ok(const void *data, size_t size)
{
    const u8 *p = data;
    u8 sum = 0;

    while (size--)
        sum += *p++;
    return sum == 0;
}

/* A whole table at @address, checked; NULL when it is none. */
static const struct acpi_header *
table_at(u64 address)
{
    const struct acpi_header *header = map_memory(address, sizeof(*header));
    u32 length;

    if (!header)
        return NULL;
    length = header->length;
    if (length < sizeof(*header) || length > TABLE_MAX)
        return NULL;
    header = map_memory(address, length);
    return header && checksum_ok(header, length) ? header : NULL;
}

static void
madt_entry(const u8 *e, u8 length)
{
    struct acpi_info *info = &acpi_info;

    if (e[0] == 0 && length >= 8 && get32(e + 4) & 1) {
        if (info->cpu_count < CPU_MAX)
            info->cpu_apic_ids[info->cpu_count++] = e[3];
    } else if (e[0] == 9 && length >= 16 && get32(e + 8) & 1) {
        if (info->cpu_count < CPU_MAX)
            info->cpu_apic_ids[info->cpu_count++] = get32(e + 4);
    } else if (e[0] == 1 && length >= 12 && info->ioapic_count < IOAPIC_MAX) {
        info->ioapics[info->ioapic_count++] = (struct ioapic_info){e[2], get32(e + 4), get32(e + 8)};
    } else if (e[0] == 2 && length >= 10 && info->override_count < ARRAY_SIZE(info->overrides)) {
        info->overrides[info->override_count++] = (struct irq_override){e[3], get32(e + 4), get16(e + 8)};
    } else if (e[0] == 5 && length >= 12) {
        info->lapic_address = get64(e + 4);
    }
}

static void
madt_parse(const u8 *table, u32 length)
{
    if (length < 44)
        return;
    acpi_info.lapic_address = get32(table + 36);
    acpi_info.has_pic = get32(table + 40) & 1;
    for (u32 at = 44; at + 2 <= length;) {
        u8 size = table[at + 1];

        if (size < 2 || at + size > length) {
            log_warn("ACPI: the MADT ends in the middle of an entry");
            break;
        }
        madt_entry(table + at, size);
        at += size;
    }
}

/* PkgLength and integers of AML (ACPI 6.4, 20.2), just enough for Name(\_S5, Package(){a, b, ...}). */
static void
dsdt_find_s5(const u8 *aml, u32 length)
{
    for (u32 i = sizeof(struct acpi_header); i + 16 <= length; i++) {
        u32 at = i + 4;
        u8 value[2];

        if (memcmp(aml + i, "_S5_", 4) || aml[at] != 0x12)
            continue;
        at += 2 + (aml[at + 1] >> 6); /* PackageOp, PkgLength */
        at++;                         /* NumElements */
        for (unsigned n = 0; n < 2; n++) {
            if (at + 2 > length)
                return;
            if (aml[at] == 0x0a) {
                value[n] = aml[at + 1];
                at += 2;
            } else {
                value[n] = aml[at] == 1;
                at++;
            }
        }
        acpi_info.s5_type_a = value[0] & 7;
        acpi_info.s5_type_b = value[1] & 7;
        acpi_info.s5_valid = true;
        return;
    }
}

static void
fadt_parse(const u8 *table, u32 length)
{
    const struct acpi_header *dsdt;
    struct acpi_info *info = &acpi_info;
    u64 dsdt_address;
    u32 flags;

    if (length < 116)
        return;
    flags = get32(table + 112);
    info->sci_gsi = get16(table + 46);
    info->pm1a_control = get32(table + 64);
    info->pm1b_control = get32(table + 68);
    info->pm_timer_port = get32(table + 76);
    info->pm_timer_bits = flags & (1u << 8) ? 32 : 24;
    info->has_8042 = length < 111 || get16(table + 109) & 2;
    if (length >= 129 && flags & (1u << 10)) {
        info->reset_space = table[116];
        info->reset_address = get64(table + 120);
        info->reset_value = table[128];
        info->reset_valid = info->reset_space <= 1 && info->reset_address;
    }
    dsdt_address = get32(table + 40);
    if (length >= 148 && get64(table + 140))
        dsdt_address = get64(table + 140);
    dsdt = table_at(dsdt_address);
    if (dsdt)
        dsdt_find_s5((const u8 *)dsdt, dsdt->length);
}

static void
mcfg_parse(const u8 *table, u32 length)
{
    for (u32 at = 44; at + 16 <= length && acpi_info.mmcfg_count < MMCFG_MAX; at += 16)
        acpi_info.mmcfg[acpi_info.mmcfg_count++] =
            (struct mmcfg_info){get64(table + at), get16(table + at + 8), table[at + 10], table[at + 11]};
}

static void
table_parse(u64 address)
{
    const struct acpi_header *header = table_at(address);
    const u8 *table = (const u8 *)header;

    if (!header) {
        log_warn("ACPI: ignoring the table at %#lx, its length or checksum is wrong", address);
        return;
    }
    if (!memcmp(header->signature, "APIC", 4))
        madt_parse(table, header->length);
    else if (!memcmp(header->signature, "FACP", 4))
        fadt_parse(table, header->length);
    else if (!memcmp(header->signature, "MCFG", 4))
        mcfg_parse(table, header->length);
    else if (!memcmp(header->signature, "HPET", 4) && header->length >= 56 && table[40] == 0)
        acpi_info.hpet_address = get64(table + 44);
}

/* The 16-byte aligned "RSD PTR " in [start, end). */
static const u8 *
rsdp_search(u64 start, u64 end)
{
    for (u64 at = start; at + 36 <= end; at += 16) {
        const u8 *p = map_memory(at, 36);

        if (p && !memcmp(p, "RSD PTR ", 8) && checksum_ok(p, 20)) {
            acpi_info.rsdp = at;
            return p;
        }
    }
    return NULL;
}

void
acpi_parse(const void *rsdp, size_t rsdp_size, const void *(*map)(u64 address, u64 size))
{
    const struct acpi_header *root;
    const u8 *p = rsdp;
    unsigned entry_size = 4;
    u64 address;

    map_memory = map;
    if (!p || rsdp_size < 20 || memcmp(p, "RSD PTR ", 8) || !checksum_ok(p, 20)) {
        const u8 *ebda = map(0x40e, 2);
        u64 start = ebda ? (u64)get16(ebda) << 4 : 0;

        rsdp_size = 36;
        p = start >= 0x400 && start < 0xa0000 ? rsdp_search(start, start + 1024) : NULL;
        if (!p)
            p = rsdp_search(0xe0000, 0x100000);
    }
    if (!p) {
        log_warn("ACPI: no root pointer; one CPU, no I/O APIC");
        return;
    }
    address = get32(p + 16);
    if (p[15] >= 2 && rsdp_size >= 36 && get64(p + 24)) {
        address = get64(p + 24);
        entry_size = 8;
    }
    root = table_at(address);
    if (!root) {
        log_warn("ACPI: the root table at %#lx is damaged", address);
        return;
    }
    for (u32 at = sizeof(*root); at + entry_size <= root->length; at += entry_size) {
        const u8 *entry = (const u8 *)root + at;

        table_parse(entry_size == 8 ? get64(entry) : get32(entry));
    }
    acpi_info.found = true;
}
