/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What may stand in a guest's GDT and LDT, and who holds their pages. */
#include "base/string.h"
#include "hypercall/hypercall.h"
#include "pv/pv.h"
#include "x86/paging.h"
#include "x86/upcalls.h"
#include "fake.h"
#include "pv-space.h"

#include <glib.h>

#define CODE64 0x00af9b000000ffffull /* as a kernel for ring 0 would write it */

static void
only_ring_3_segments_pass(void)
{
    u64 desc = CODE64;

    g_assert_true(pv_descriptor_check(&desc));
    g_assert_cmphex(desc, ==, CODE64 | 3ull << 45);
    desc = 0;
    g_assert_true(pv_descriptor_check(&desc));
    desc = 0x0000890000000067ull; /* an available TSS */
    g_assert_false(pv_descriptor_check(&desc));
    desc = 0x0000820000000067ull; /* an LDT */
    g_assert_false(pv_descriptor_check(&desc));
    desc = 0x00008c0000080000ull; /* a call gate */
    g_assert_false(pv_descriptor_check(&desc));
    desc = 0x00008e0000080000ull; /* an interrupt gate */
    g_assert_false(pv_descriptor_check(&desc));
    desc = 0x00000900000000ffull; /* a TSS that is not present */
    g_assert_true(pv_descriptor_check(&desc));
}

static s64
set_gdt(u64 *frames, u32 entries)
{
    u64 arg[6] = {(u64)frames, entries};

    return hypercall_set_gdt(arg);
}

static void
gdt_holds_its_pages_and_shows_them_to_the_cpu(void)
{
    u64 frames[14] = {30, 31};

    space_create();
    space_table(30)[2] = CODE64;
    g_assert_cmpint(set_gdt(frames, 513), ==, 0);
    g_assert_cmphex(space_table(30)[2], ==, CODE64 | 3ull << 45);
    g_assert_cmpuint(mfn_x(pte_mfn(paging_window()[WINDOW_GDT + 1])), ==, 31);
    g_assert_cmpint(page_get_writable(frame_of(_mfn(31)), space_domain), ==, -EINVAL);
    frames[0] = 32;
    g_assert_cmpint(set_gdt(frames, 512), ==, 0);
    g_assert_cmpuint(mfn_x(pte_mfn(paging_window()[WINDOW_GDT + 1])), ==, 0); /* the page of zeroes */
    g_assert_cmpuint(frame_of(_mfn(30))->count & FRAME_COUNT_MASK, ==, 1);
    g_assert_cmpuint(frame_of(_mfn(31))->count & FRAME_COUNT_MASK, ==, 1);
    pv_drop_gdt(current);
    g_assert_cmpuint(frame_of(_mfn(32))->count & FRAME_COUNT_MASK, ==, 1);
}

static void
gdt_that_is_refused_changes_nothing(void)
{
    u64 frames[14] = {30, 31}, bad[14] = {32, SPACE_OTHER}, table[14] = {32, SPACE_L1};

    space_create();
    g_assert_cmpint(set_gdt(frames, 1024), ==, 0);
    g_assert_cmpint(set_gdt(bad, 1024), ==, -EINVAL);
    g_assert_cmpint(set_gdt(table, 1024), ==, -EINVAL);
    g_assert_cmpint(set_gdt(frames, 14 * 512 + 1), ==, -EINVAL);
    space_table(33)[7] = 0x0000890000000067ull;
    bad[1] = 33;
    g_assert_cmpint(set_gdt(bad, 1024), ==, -EINVAL);
    g_assert_cmpuint(frame_of(_mfn(32))->count & FRAME_COUNT_MASK, ==, 1);
    g_assert_cmpuint(current->pv.gdt_entries, ==, 1024);
    g_assert_cmpuint(current->pv.gdt_frames[0], ==, 30);
    pv_drop_gdt(current);
}

static void
ldt_page_appears_on_demand_and_goes_with_the_switch(void)
{
    struct mmu_update req = {(SPACE_L1 << PAGE_SHIFT) + 9 * 8, pte_make(_mfn(40), PTE_P)};
    u64 arg[6] = {(u64)&req, 1, 0, DOMID_SELF};
    u64 window = paging_window_va(WINDOW_LDT);

    space_create();
    window = paging_window_va(WINDOW_LDT);
    g_assert_cmpint(hypercall_mmu_update(arg), ==, 0);
    g_assert_cmpint(pv_set_ldt(current, SPACE_VA + 8 * PAGE_SIZE + 1, 1024), ==, -EINVAL);
    g_assert_cmpint(pv_set_ldt(current, HYPERVISOR_START, 1024), ==, -EINVAL);
    g_assert_cmpint(pv_set_ldt(current, SPACE_VA, 8193), ==, -EINVAL);
    g_assert_cmpint(pv_set_ldt(current, SPACE_VA + 8 * PAGE_SIZE, 1024), ==, 0);
    g_assert_false(pv_map_ldt_page(current, 0)); /* the guest has nothing there */
    g_assert_false(pv_map_ldt_page(current, 2)); /* beyond its limit */
    g_assert_true(pv_page_fault_in_hypervisor(window + PAGE_SIZE + 8, 0));
    g_assert_false(pv_page_fault_in_hypervisor(window + PAGE_SIZE + 8, 0)); /* it is there already */
    g_assert_cmpuint(frame_of(_mfn(40))->type & FRAME_TYPE_COUNT, ==, 1);
    g_assert_cmphex(frame_of(_mfn(40))->type & FRAME_TYPE, ==, FRAME_TYPE_DESC);
    pv_unload_ldt(current);
    g_assert_cmpuint(frame_of(_mfn(40))->type & FRAME_TYPE_COUNT, ==, 0);
    g_assert_cmphex(paging_window()[WINDOW_LDT + 1], ==, 0);
    g_assert_true(pv_map_ldt_page(current, 1));
    pv_drop_ldt(current);
    g_assert_cmpuint(frame_of(_mfn(40))->type & FRAME_TYPE_COUNT, ==, 0);
}

static void
update_descriptor_writes_what_may_be_there(void)
{
    u64 frames[14] = {30};
    u64 arg[6] = {(30ull << PAGE_SHIFT) + 5 * 8, CODE64};

    space_create();
    g_assert_cmpint(set_gdt(frames, 512), ==, 0);
    g_assert_cmpint(hypercall_update_descriptor(arg), ==, 0);
    g_assert_cmphex(space_table(30)[5], ==, CODE64 | 3ull << 45);
    arg[1] = 0x0000890000000067ull;
    g_assert_cmpint(hypercall_update_descriptor(arg), ==, -EINVAL);
    arg[1] = CODE64;
    arg[0] += 4;
    g_assert_cmpint(hypercall_update_descriptor(arg), ==, -EINVAL);
    arg[0] = SPACE_L1 << PAGE_SHIFT;
    g_assert_cmpint(hypercall_update_descriptor(arg), ==, -EINVAL);
    arg[0] = SPACE_OTHER << PAGE_SHIFT;
    g_assert_cmpint(hypercall_update_descriptor(arg), ==, -EINVAL);
    arg[0] = 31ull << PAGE_SHIFT;
    g_assert_cmpint(hypercall_update_descriptor(arg), ==, 0);
    pv_drop_gdt(current);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/descriptor/" #name, name)
    TEST(only_ring_3_segments_pass);
    TEST(gdt_holds_its_pages_and_shows_them_to_the_cpu);
    TEST(gdt_that_is_refused_changes_nothing);
    TEST(ldt_page_appears_on_demand_and_goes_with_the_switch);
    TEST(update_descriptor_writes_what_may_be_there);
    return g_test_run();
}
