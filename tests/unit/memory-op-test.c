/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory given, taken and exchanged, and what is asked about it. */
#include "base/string.h"
#include "hypercall/hypercall.h"
#include "mm/frame-alloc.h"
#include "x86/memory-range.h"
#include "fake.h"
#include "pv-space.h"

#include <glib.h>

static s64
op(u64 number, void *argument)
{
    u64 arg[6] = {number, (u64)argument};
    s64 rc;

    while ((rc = hypercall_memory_op(arg)) == -ERESTART)
        ;
    return rc;
}

static struct xen_memory_reservation
reservation(xen_pfn_t *extents, u64 count, unsigned order)
{
    struct xen_memory_reservation res = {.nr_extents = count, .extent_order = order, .domid = DOMID_SELF};

    res.extent_start.p = extents;
    return res;
}

static void
pages_come_and_go(void)
{
    xen_pfn_t extents[40];
    struct xen_memory_reservation res = reservation(extents, 40, 1);
    u64 before, pages;

    space_create();
    before = frame_free_count();
    pages = space_domain->page_count;
    for (unsigned i = 0; i < 40; i++)
        extents[i] = 5000 + 2 * i;
    g_assert_cmpint(op(XENMEM_populate_physmap, &res), ==, 40);
    g_assert_cmpuint(space_domain->page_count, ==, pages + 80);
    for (unsigned i = 0; i < 40; i++) {
        g_assert_cmpuint(m2p_get(_mfn(extents[i])), ==, 5000 + 2 * i);
        g_assert_cmpuint(m2p_get(_mfn(extents[i] + 1)), ==, 5001 + 2 * i);
    }
    g_assert_cmpint(op(XENMEM_current_reservation, &res.domid), ==, (s64)pages + 80);
    /* The allowance ends in the middle of the list. */
    res.nr_extents = 20;
    g_assert_cmpint(op(XENMEM_increase_reservation, &res), ==, 10);
    g_assert_cmpuint(space_domain->page_count, ==, space_domain->page_max - 1);
    res.nr_extents = 10;
    g_assert_cmpint(op(XENMEM_decrease_reservation, &res), ==, 10);
    res = reservation(extents + 10, 30, 1);
    g_assert_cmpint(op(XENMEM_decrease_reservation, &res), ==, 30);
    g_assert_cmpuint(frame_free_count(), ==, before - 20);
    /* Not twice, and not what is another's. */
    g_assert_cmpint(op(XENMEM_decrease_reservation, &res), ==, 0);
    extents[0] = SPACE_OTHER;
    res = reservation(extents, 1, 0);
    g_assert_cmpint(op(XENMEM_decrease_reservation, &res), ==, 0);
    extents[0] = 1ull << 51;
    g_assert_cmpint(op(XENMEM_decrease_reservation, &res), ==, 0);
}

static void
long_lists_are_preempted_and_resumed(void)
{
    static xen_pfn_t extents[600];
    struct xen_memory_reservation res = reservation(extents, ARRAY_SIZE(extents), 0);
    u64 arg[6] = {XENMEM_decrease_reservation, (u64)&res};

    space_create();
    /* A page given back twice ends the list. */
    for (unsigned i = 0; i < 600; i++)
        extents[i] = 10 + i % 500;
    g_assert_cmpint(hypercall_memory_op(arg), ==, 500);
    /* 512 pages at a time. */
    space_domain->page_max = 2000;
    arg[0] = XENMEM_populate_physmap;
    g_assert_cmpint(hypercall_memory_op(arg), ==, -ERESTART);
    g_assert_cmpuint(arg[0], ==, XENMEM_populate_physmap | 512u << 6);
    g_assert_cmpuint(space_domain->page_count, ==, 11 + 512);
    g_assert_cmpint(hypercall_memory_op(arg), ==, 600);
    g_assert_cmpuint(space_domain->page_count, ==, 11 + 600);
    /* A start behind the end is the guest's own invention. */
    g_assert_cmpint(op(XENMEM_decrease_reservation | 700u << 6, &res), ==, 700);
    g_assert_cmpuint(space_domain->page_count, ==, 11 + 600);
}

static void
sizes_beyond_reason_do_nothing(void)
{
    xen_pfn_t extent = 20;
    struct xen_memory_reservation res = reservation(&extent, 1, 10);

    space_create();
    g_assert_cmpint(op(XENMEM_populate_physmap, &res), ==, 0);
    res.extent_order = 200;
    g_assert_cmpint(op(XENMEM_populate_physmap, &res), ==, 0);
    g_assert_cmpint(op(XENMEM_decrease_reservation, &res), ==, 0);
    res = reservation(&extent, ~0ull, 0);
    g_assert_cmpint(op(XENMEM_decrease_reservation, &res), ==, 0);
    res = reservation(&extent, 1, 0);
    res.mem_flags = XENMEMF_address_bits(5);
    g_assert_cmpint(op(XENMEM_populate_physmap, &res), ==, 0);
    res.domid = 2;
    g_assert_cmpint(op(XENMEM_populate_physmap, &res), ==, -EPERM);
    res.domid = 9;
    g_assert_cmpint(op(XENMEM_populate_physmap, &res), ==, 0);
    g_assert_cmpint(op(63, &res), ==, -ENOSYS);
    g_assert_cmpint(op(8, &res), ==, -ENOSYS);
    g_assert_cmpint(op(XENMEM_populate_physmap, (void *)8), ==, -EFAULT);
}

/* As Linux makes a buffer for DMA: four pages for one block of four, and back. */
static void
exchange_makes_pages_contiguous_and_back(void)
{
    xen_pfn_t pages[4] = {100, 103, 109, 120}, block = 777, old[4];
    struct xen_memory_exchange exch = {.in = reservation(pages, 4, 0), .out = reservation(&block, 1, 2)};
    u64 count;

    space_create();
    count = space_domain->page_count;
    memcpy(old, pages, sizeof(old));
    g_assert_cmpint(op(XENMEM_exchange, &exch), ==, 0);
    g_assert_cmpuint(exch.nr_exchanged, ==, 4);
    g_assert_cmpuint(block % 4, ==, 0);
    g_assert_cmpuint(space_domain->page_count, ==, count);
    for (unsigned i = 0; i < 4; i++) {
        g_assert_cmphex(frame_of(_mfn(old[i]))->count & FRAME_STATE, ==, FRAME_STATE_FREE);
        g_assert_cmpuint(frame_of(_mfn(block + i))->owner, ==, space_domain->id);
        g_assert_cmpuint(m2p_get(_mfn(block + i)), ==, 777 + i);
    }
    for (unsigned i = 0; i < 4; i++)
        pages[i] = 900 + i;
    exch = (struct xen_memory_exchange){.in = reservation(&block, 1, 2), .out = reservation(pages, 4, 0)};
    g_assert_cmpint(op(XENMEM_exchange, &exch), ==, 0);
    g_assert_cmpuint(exch.nr_exchanged, ==, 1);
    for (unsigned i = 0; i < 4; i++)
        g_assert_cmpuint(m2p_get(_mfn(pages[i])), ==, 900 + i);
    g_assert_cmpuint(space_domain->page_count, ==, count);
}

static void
exchange_of_a_page_in_use_changes_nothing(void)
{
    xen_pfn_t pages[2] = {100, SPACE_L1}, block = 777;
    struct xen_memory_exchange exch = {.in = reservation(pages, 2, 0), .out = reservation(&block, 1, 1)};
    u64 count, free;

    space_create();
    count = space_domain->page_count;
    free = frame_free_count();
    g_assert_cmpint(op(XENMEM_exchange, &exch), ==, -EINVAL);
    g_assert_cmpuint(exch.nr_exchanged, ==, 0);
    g_assert_cmpuint(space_domain->page_count, ==, count);
    g_assert_cmpuint(frame_free_count(), ==, free);
    g_assert_cmpuint(frame_of(_mfn(100))->owner, ==, space_domain->id);
    pages[1] = SPACE_OTHER;
    g_assert_cmpint(op(XENMEM_exchange, &exch), ==, -EINVAL);
    g_assert_cmpuint(frame_of(_mfn(100))->owner, ==, space_domain->id);
    pages[1] = 100; /* the same twice */
    g_assert_cmpint(op(XENMEM_exchange, &exch), ==, -EINVAL);
    exch.out.extent_order = 2;
    g_assert_cmpint(op(XENMEM_exchange, &exch), ==, -EINVAL);
    exch.in.extent_order = exch.out.extent_order = 70;
    g_assert_cmpint(op(XENMEM_exchange, &exch), ==, -EPERM);
    g_assert_cmpuint(frame_free_count(), ==, free);
}

static void
memory_maps_are_told(void)
{
    struct {
        u64 address, size;
        u32 type;
    } __packed entries[4] = {{0, 1 << 20, 1}, {1 << 20, 5 << 20, 2}}, back[4];
    struct xen_memory_map map = {.nr_entries = 4};
    struct xen_foreign_memory_map fmap = {.domid = 1, .map.nr_entries = 2};

    space_create();
    map.buffer.p = back;
    fmap.map.buffer.p = entries;
    g_assert_cmpint(op(XENMEM_memory_map, &map), ==, -ENOSYS);
    g_assert_cmpint(op(XENMEM_set_memory_map, &fmap), ==, -EPERM);
    g_assert_cmpint(op(XENMEM_machine_memory_map, &map), ==, -EPERM);
    space_domain->is_privileged = true;
    g_assert_cmpint(op(XENMEM_set_memory_map, &fmap), ==, 0);
    g_assert_cmpint(op(XENMEM_memory_map, &map), ==, 0);
    g_assert_cmpuint(map.nr_entries, ==, 2);
    g_assert_cmpint(memcmp(back, entries, 40), ==, 0);
    map.nr_entries = 1;
    g_assert_cmpint(op(XENMEM_memory_map, &map), ==, -EINVAL);
    fmap.map.nr_entries = 129;
    g_assert_cmpint(op(XENMEM_set_memory_map, &fmap), ==, -EINVAL);
    fmap.map.nr_entries = 0;
    g_assert_cmpint(op(XENMEM_set_memory_map, &fmap), ==, 0);
    memory_ranges[0] = (struct memory_range){0x1000, 0x9f000, MEMORY_RAM};
    memory_range_count = 1;
    map.nr_entries = 4;
    g_assert_cmpint(op(XENMEM_machine_memory_map, &map), ==, 0);
    g_assert_cmpuint(map.nr_entries, ==, 1);
    g_assert_cmpuint(back[0].address, ==, 0x1000);
    g_assert_cmpuint(back[0].size, ==, 0x9e000);
    memory_range_count = 0;
}

static void
numbers_and_refusals(void)
{
    struct xen_mem_acquire_resource res = {.domid = 2, .type = XENMEM_resource_grant_table};
    struct xen_vnuma_topology_info vnuma = {.domid = DOMID_SELF};
    struct xen_machphys_mapping mapping;
    xen_pfn_t frames[4] = {0};
    domid_t self = DOMID_SELF;

    space_create();
    g_assert_cmpint(op(XENMEM_maximum_ram_page, NULL), ==, (s64)frame_limit - 1);
    g_assert_cmpint(op(XENMEM_maximum_reservation, &self), ==, (s64)space_domain->page_max);
    g_assert_cmpint(op(XENMEM_machphys_mapping, &mapping), ==, 0);
    g_assert_cmphex(mapping.v_start, ==, M2P_START);
    g_assert_cmpint(op(XENMEM_acquire_resource, &res), ==, -EPERM);
    space_domain->is_privileged = true;
    g_assert_cmpint(op(XENMEM_acquire_resource, &res), ==, -EOPNOTSUPP); /* it has no grant table */
    space_other->grants = (void *)1;
    g_assert_cmpint(op(XENMEM_acquire_resource, &res), ==, 0);
    g_assert_cmpuint(res.nr_frames, ==, 4);
    res.frame_list.p = frames;
    g_assert_cmpint(op(XENMEM_acquire_resource, &res), ==, 0);
    g_assert_cmpuint(frames[3], ==, 703);
    res.frame = ~0ull;
    g_assert_cmpint(op(XENMEM_acquire_resource, &res), ==, -EINVAL);
    res.frame = 1;
    g_assert_cmpint(op(XENMEM_acquire_resource, &res), ==, -EINVAL);
    space_other->grants = NULL;
    g_assert_cmpint(op(XENMEM_get_vnumainfo, &vnuma), ==, -EOPNOTSUPP); /* nobody gave it a topology */
    vnuma.pad = 1;
    g_assert_cmpint(op(XENMEM_get_vnumainfo, &vnuma), ==, -EINVAL);
    g_assert_cmpint(op(XENMEM_paging_op, &res), ==, -EOPNOTSUPP);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/memory-op/" #name, name)
    TEST(pages_come_and_go);
    TEST(long_lists_are_preempted_and_resumed);
    TEST(sizes_beyond_reason_do_nothing);
    TEST(exchange_makes_pages_contiguous_and_back);
    TEST(exchange_of_a_page_in_use_changes_nothing);
    TEST(memory_maps_are_told);
    TEST(numbers_and_refusals);
    return g_test_run();
}
