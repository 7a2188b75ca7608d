/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The boot loader's and the firmware's tables, well formed and not. */
#include "base/log.h"
#include "boot/acpi.h"
#include "boot/cmdline.h"
#include "boot/multiboot.h"
#include "x86/machine.h"
#include "fake.h"
#include <glib.h>
#include <string.h>

bool machine_noreboot;

bool
dom0_parse_memory(const char *value, struct dom0_options *options)
{
    options->memory = g_ascii_strtoll(value, NULL, 10);
    return options->memory != 0;
}

static guint8 memory[1 << 20]; /* machine addresses 0 to 1 MiB */

static const void *
map(u64 address, u64 size)
{
    if (!address || address >= sizeof(memory) || size > sizeof(memory) - address)
        return NULL;
    return memory + address;
}

static void
start(void)
{
    memset(&boot_info, 0, sizeof(boot_info));
    memset(&acpi_info, 0, sizeof(acpi_info));
    memset(memory, 0, sizeof(memory));
}

/* --- memory ranges --- */

static void
test_overlapping_ranges_are_cut_and_the_worse_type_wins(void)
{
    struct memory_range r[MEMORY_RANGE_MAX] = {
        {0x100000, 0x900000, MEMORY_RAM},
        {0x0, 0xa0000, MEMORY_RAM},
        {0x200000, 0x300000, MEMORY_RESERVED},
        {0x280000, 0x400000, MEMORY_ACPI},
    };
    unsigned n = 4;

    memory_ranges_sort(r, &n);
    g_assert_cmpuint(n, ==, 5);
    g_assert_cmphex(r[0].end, ==, 0xa0000);
    g_assert_cmphex(r[1].start, ==, 0x100000);
    g_assert_cmphex(r[1].end, ==, 0x200000);
    g_assert_cmpuint(r[2].type, ==, MEMORY_RESERVED);
    g_assert_cmphex(r[2].end, ==, 0x300000);
    g_assert_cmpuint(r[3].type, ==, MEMORY_ACPI);
    g_assert_cmphex(r[4].start, ==, 0x400000);
    g_assert_cmphex(r[4].end, ==, 0x900000);
}

/* Any list comes out sorted, without overlap, with the same bytes: checked byte by byte on a small space. */
static void
test_random_ranges_keep_their_bytes(void)
{
    for (unsigned round = 0; round < 2000; round++) {
        struct memory_range r[MEMORY_RANGE_MAX];
        unsigned n = g_test_rand_int_range(0, 12);
        gboolean covered[64] = {0}, after[64] = {0};

        for (unsigned i = 0; i < n; i++) {
            r[i].start = g_test_rand_int_range(0, 60);
            r[i].end = r[i].start + g_test_rand_int_range(1, 5);
            r[i].type = g_test_rand_int_range(1, 6);
            for (u64 b = r[i].start; b < r[i].end; b++)
                covered[b] = TRUE;
        }
        memory_ranges_sort(r, &n);
        for (unsigned i = 0; i < n; i++) {
            g_assert_cmpuint(r[i].start, <, r[i].end);
            if (i)
                g_assert_cmpuint(r[i - 1].end, <=, r[i].start);
            for (u64 b = r[i].start; b < r[i].end; b++)
                after[b] = TRUE;
        }
        g_assert_cmpmem(covered, sizeof(covered), after, sizeof(after));
    }
}

/* --- multiboot --- */

static guint8 *
tag_add(guint8 *at, u32 type, const void *data, u32 size)
{
    u32 total = 8 + size;

    memcpy(at, &type, 4);
    memcpy(at + 4, &total, 4);
    if (size)
        memcpy(at + 8, data, size);
    return at + ROUND_UP((u64)total, 8ull);
}

static void
test_multiboot2_is_read(void)
{
    guint8 info[512] = {0}, *at = info + 8;
    const struct {
        u32 entry_size, version;
        u64 address, length;
        u32 type, reserved;
    } mmap = {24, 0, 0x100000, 0x7f00000, 1, 0};
    const struct {
        u32 start, end;
        char text[16];
    } module = {0x800000, 0x900000, "root=/dev/sda"};
    const char *reason = NULL;
    u32 size;

    start();
    at = tag_add(at, 1, "console=com1", 13);
    at = tag_add(at, 6, &mmap, sizeof(mmap));
    at = tag_add(at, 3, &module, sizeof(module));
    at = tag_add(at, 0, NULL, 0);
    size = at - info;
    memcpy(info, &size, 4);
    g_assert_true(multiboot_parse(MULTIBOOT2_MAGIC, info, sizeof(info), map, &reason));
    g_assert_cmpstr(boot_info.cmdline, ==, "console=com1");
    g_assert_cmpuint(boot_info.module_count, ==, 1);
    g_assert_cmphex(boot_info.modules[0].start.a, ==, 0x800000);
    g_assert_cmpstr(boot_info.module_cmdline[0], ==, "root=/dev/sda");
    g_assert_cmpuint(boot_info.range_count, ==, 1);
}

static void
test_a_wrong_magic_is_refused_with_a_reason(void)
{
    const char *reason = NULL;

    start();
    g_assert_false(multiboot_parse(0x12345678, memory, sizeof(memory), map, &reason));
    g_assert_nonnull(strstr(reason, "multiboot"));
}

static void
test_multiboot2_without_a_memory_map_is_refused(void)
{
    guint8 info[16] = {16};
    const char *reason = NULL;

    start();
    g_assert_false(multiboot_parse(MULTIBOOT2_MAGIC, info, sizeof(info), map, &reason));
    g_assert_nonnull(strstr(reason, "memory map"));
}

/* --- ACPI --- */

static void
checksum_set(guint8 *table, u32 length, unsigned at)
{
    guint8 sum = 0;

    table[at] = 0;
    for (u32 i = 0; i < length; i++)
        sum += table[i];
    table[at] = -sum;
}

static void
table_put(u64 address, const char *signature, const void *body, u32 size)
{
    u32 length = 36 + size;

    memcpy(memory + address, signature, 4);
    memcpy(memory + address + 4, &length, 4);
    memcpy(memory + address + 36, body, size);
    checksum_set(memory + address, length, 9);
}

/* clang-format off */
static const u8 madt_two_cpus[] = {0, 0, 0xe0, 0xfe, 1, 0, 0, 0,         /* LAPIC address, PC-AT */
                                   0, 8, 0, 0, 1, 0, 0, 0,               /* CPU, APIC id 0 */
                                   0, 8, 1, 5, 1, 0, 0, 0,               /* CPU, APIC id 5 */
                                   0, 8, 2, 6, 0, 0, 0, 0,               /* disabled */
                                   1, 12, 9, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0, /* I/O APIC */
                                   2, 10, 0, 0, 2, 0, 0, 0, 0, 0};       /* ISA 0 at GSI 2 */
/* clang-format on */

static void
acpi_put(const void *madt, u32 size)
{
    const u32 tables[] = {0x2000};
    u32 rsdt = 0x1000;

    memcpy(memory + 0xe0000, "RSD PTR ", 8);
    memcpy(memory + 0xe0010, &rsdt, 4);
    checksum_set(memory + 0xe0000, 20, 8);
    table_put(0x1000, "RSDT", tables, sizeof(tables));
    table_put(0x2000, "APIC", madt, size);
}

static void
test_the_madt_names_cpus_and_ioapics(void)
{
    start();
    acpi_put(madt_two_cpus, sizeof(madt_two_cpus));
    acpi_parse(NULL, 0, map);
    g_assert_true(acpi_info.found);
    g_assert_cmpuint(acpi_info.cpu_count, ==, 2);
    g_assert_cmpuint(acpi_info.cpu_apic_ids[1], ==, 5);
    g_assert_cmpuint(acpi_info.ioapic_count, ==, 1);
    g_assert_cmphex(acpi_info.ioapics[0].address, ==, 0xfec00000);
    g_assert_cmpuint(acpi_info.override_count, ==, 1);
    g_assert_cmpuint(acpi_info.overrides[0].gsi, ==, 2);
}

static void
test_a_madt_cut_short_keeps_what_was_whole(void)
{
    start();
    acpi_put(madt_two_cpus, 8 + 8 + 5);
    acpi_parse(NULL, 0, map);
    g_assert_cmpuint(acpi_info.cpu_count, ==, 1);
}

static void
test_a_madt_entry_of_no_length_ends_the_reading(void)
{
    static const u8 madt[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

    start();
    acpi_put(madt, sizeof(madt));
    acpi_parse(NULL, 0, map);
    g_assert_cmpuint(acpi_info.cpu_count, ==, 0);
}

static void
test_a_table_with_a_wrong_checksum_is_ignored(void)
{
    start();
    acpi_put(madt_two_cpus, sizeof(madt_two_cpus));
    memory[0x2000 + 40] ^= 1;
    acpi_parse(NULL, 0, map);
    g_assert_cmpuint(acpi_info.cpu_count, ==, 0);
}

/* --- command line --- */

static void
test_options_are_read_and_unknown_ones_only_reported(void)
{
    cmdline_parse("serai console=com1 com1=9600,8n1 nosuch=1 maxcpus=3 noreboot loglvl=all/debug "
                  "dom0_max_vcpus=1-2",
                  true);
    g_assert_cmpstr(cmdline.console, ==, "com1");
    g_assert_cmpstr(cmdline.com1, ==, "9600,8n1");
    g_assert_cmpuint(cmdline.max_cpus, ==, 3);
    g_assert_cmpuint(cmdline.dom0.max_vcpus, ==, 2);
    g_assert_true(machine_noreboot);
    fake_log_count = 0;
    cmdline_report();
    g_assert_cmpuint(fake_log_count, ==, 1);
    g_assert_nonnull(strstr(fake_log_last, "nosuch=1"));
}

static void
test_a_value_that_makes_no_sense_is_reported(void)
{
    fake_log_count = 0;
    cmdline_parse("maxcpus=many", false);
    cmdline_report();
    g_assert_nonnull(strstr(fake_log_last, "maxcpus=many"));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/boot-info/" #name, test_##name)
    ADD(overlapping_ranges_are_cut_and_the_worse_type_wins);
    ADD(random_ranges_keep_their_bytes);
    ADD(multiboot2_is_read);
    ADD(a_wrong_magic_is_refused_with_a_reason);
    ADD(multiboot2_without_a_memory_map_is_refused);
    ADD(the_madt_names_cpus_and_ioapics);
    ADD(a_madt_cut_short_keeps_what_was_whole);
    ADD(a_madt_entry_of_no_length_ends_the_reading);
    ADD(a_table_with_a_wrong_checksum_is_ignored);
    ADD(options_are_read_and_unknown_ones_only_reported);
    ADD(a_value_that_makes_no_sense_is_reported);
    return g_test_run();
}
