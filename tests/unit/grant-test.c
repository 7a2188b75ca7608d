/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Grants, case by case: mapping and unmapping, limits, deaths, copies. */
#include "grants.h"
#include "hypercall/hypercall.h"
#include "base/string.h"
#include "mm/frame-alloc.h"
#include "x86/tlb.h"

#include <glib.h>

static int
map(unsigned id, u16 granter, u32 ref, u32 flags, u64 addr, u32 *ret_handle)
{
    struct gnttab_map_grant_ref op = {
        .host_addr = addr, .flags = flags, .ref = ref, .dom = granter, .handle = ~0u};

    fake_run_as(domains[id]->vcpus[0], 0);
    g_assert_cmpint(call(GNTTABOP_map_grant_ref, &op, 1), ==, 0);
    *ret_handle = op.handle;
    return op.status;
}

static int
unmap(unsigned id, u32 handle, u64 addr, u64 bus)
{
    struct gnttab_unmap_grant_ref op = {.host_addr = addr, .dev_bus_addr = bus, .handle = handle};

    fake_run_as(domains[id]->vcpus[0], 0);
    g_assert_cmpint(call(GNTTABOP_unmap_grant_ref, &op, 1), ==, 0);
    return op.status;
}

/* --- single cases --- */

static void
map_sets_flags_and_holds_the_frame(void)
{
    u64 mfn, base;
    u32 handle;

    grants_begin();
    mfn = frames[1][0];
    base = refs_of(mfn);
    grant_access(1, 3, 2, mfn, GTF_permit_access);
    g_assert_cmpint(map(2, 1, 3, GNTMAP_host_map, 8, &handle), ==, GNTST_okay);
    g_assert_true(slots[2][0].present && slots[2][0].writable && slots[2][0].mfn == mfn);
    g_assert_cmphex(entry_of(1, 3)->flags, ==, GTF_permit_access | GTF_reading | GTF_writing);
    g_assert_cmpuint(refs_of(mfn), ==, base + 1);
    g_assert_cmphex(frame_of(_mfn(mfn))->type & FRAME_TYPE, ==, FRAME_TYPE_WRITABLE);

    g_assert_cmpint(unmap(2, handle + 1, 8, 0), ==, GNTST_bad_handle);
    g_assert_cmpint(unmap(2, handle, 16, 0), ==, GNTST_general_error); /* another entry */
    g_assert_cmpint(unmap(2, handle, 8, 0), ==, GNTST_okay);
    g_assert_cmpint(unmap(2, handle, 8, 0), ==, GNTST_bad_handle);
    g_assert_false(slots[2][0].present);
    g_assert_cmphex(entry_of(1, 3)->flags, ==, GTF_permit_access);
    g_assert_cmpuint(refs_of(mfn), ==, base);
}

static void
map_is_refused(void)
{
    u32 handle;

    grants_begin();
    grant_access(1, 3, 2, frames[1][0], GTF_permit_access | GTF_readonly);
    grant_access(1, 4, 3, frames[1][0], GTF_permit_access);
    grant_access(1, 5, 2, frames[3][0], GTF_permit_access); /* not its own */
    grant_access(1, 6, 2, ~0u, GTF_permit_access);
    grant_access(1, 7, 2, frames[1][0], GTF_accept_transfer);
    g_assert_cmpint(map(2, 1, 3, GNTMAP_host_map, 8, &handle), ==, GNTST_general_error);
    g_assert_cmpint(map(2, 1, 4, GNTMAP_host_map, 8, &handle), ==, GNTST_general_error);
    g_assert_cmpint(map(2, 1, 5, GNTMAP_host_map, 8, &handle), ==, GNTST_general_error);
    g_assert_cmpint(map(2, 1, 6, GNTMAP_host_map, 8, &handle), ==, GNTST_general_error);
    g_assert_cmpint(map(2, 1, 7, GNTMAP_host_map, 8, &handle), ==, GNTST_general_error);
    g_assert_cmpint(map(2, 1, 512, GNTMAP_host_map, 8, &handle), ==, GNTST_bad_gntref);
    g_assert_cmpint(map(2, 1, ~0u, GNTMAP_host_map, 8, &handle), ==, GNTST_bad_gntref);
    g_assert_cmpint(map(2, 1, 3, GNTMAP_readonly, 8, &handle), ==, GNTST_bad_gntref);
    g_assert_cmpint(map(2, 77, 3, GNTMAP_host_map, 8, &handle), ==, GNTST_bad_domain);
    g_assert_cmpint(map(2, DOMID_SELF, 3, GNTMAP_host_map, 8, &handle), ==, GNTST_bad_domain);
    g_assert_cmpint(map(2, 1, 3, GNTMAP_host_map | GNTMAP_readonly, 7, &handle), ==, GNTST_general_error);
    domains[1]->dying = DOMAIN_DYING;
    g_assert_cmpint(map(2, 1, 3, GNTMAP_host_map | GNTMAP_readonly, 8, &handle), ==, GNTST_general_error);
    /* No refusal left a mark. */
    for (u32 ref = 3; ref < 8; ref++)
        g_assert_cmphex(entry_of(1, ref)->flags & (GTF_reading | GTF_writing), ==, 0);
    g_assert_cmpuint(refs_of(frames[1][0]), ==, refs_of(frames[2][0]));
}

static void
host_and_device_parts_end_apart(void)
{
    u64 bus, base;
    u32 handle;

    grants_begin();
    base = refs_of(frames[1][1]);
    bus = frames[1][1] << PAGE_SHIFT;
    grant_access(1, 3, 2, frames[1][1], GTF_permit_access);
    g_assert_cmpint(map(2, 1, 3, GNTMAP_host_map | GNTMAP_device_map, 8, &handle), ==, GNTST_okay);
    g_assert_cmpuint(refs_of(frames[1][1]), ==, base + 2);
    g_assert_cmpint(unmap(2, handle, 0, bus + PAGE_SIZE), ==, GNTST_bad_dev_addr);
    g_assert_cmpint(unmap(2, handle, 8, 0), ==, GNTST_okay);
    g_assert_cmphex(entry_of(1, 3)->flags, ==, GTF_permit_access | GTF_reading | GTF_writing);
    g_assert_cmpint(unmap(2, handle, 0, bus), ==, GNTST_okay);
    g_assert_cmphex(entry_of(1, 3)->flags, ==, GTF_permit_access);
    g_assert_cmpuint(refs_of(frames[1][1]), ==, base);
    g_assert_cmpint(unmap(2, handle, 0, bus), ==, GNTST_bad_handle);
}

static void
one_flush_for_a_batch_before_frames_go(void)
{
    struct gnttab_map_grant_ref maps[40] = {};
    struct gnttab_unmap_grant_ref unmaps[40] = {};
    unsigned before;

    grants_begin();
    for (unsigned i = 0; i < 40; i++) {
        grant_access(1, i, 2, frames[1][i % FRAMES], GTF_permit_access);
        maps[i] = (struct gnttab_map_grant_ref){
            .host_addr = 8 + 8 * i, .flags = GNTMAP_host_map, .ref = i, .dom = 1};
    }
    fake_run_as(domains[2]->vcpus[1], 1);
    g_assert_cmpint(call(GNTTABOP_map_grant_ref, maps, 40), ==, 0);
    for (unsigned i = 0; i < 40; i++) {
        g_assert_cmpint(maps[i].status, ==, GNTST_okay);
        unmaps[i] = (struct gnttab_unmap_grant_ref){.host_addr = 8 + 8 * i, .handle = maps[i].handle};
    }
    before = fake_flush_count;
    g_assert_cmpint(call(GNTTABOP_unmap_grant_ref, unmaps, 40), ==, 0);
    g_assert_cmpuint(fake_flush_count - before, ==, 2);
    for (unsigned i = 0; i < 40; i++)
        g_assert_cmpint(unmaps[i].status, ==, GNTST_okay);

    /* Pages that no CPU touched cost no flush. */
    g_assert_cmpint(call(GNTTABOP_map_grant_ref, maps, 40), ==, 0);
    for (unsigned i = 0; i < 40; i++)
        unmaps[i].handle = maps[i].handle;
    slot_is_used = false;
    before = fake_flush_count;
    g_assert_cmpint(call(GNTTABOP_unmap_grant_ref, unmaps, 40), ==, 0);
    g_assert_cmpuint(fake_flush_count, ==, before);
    slot_is_used = true;
}

static void
unreadable_array_leaves_no_half_unmap(void)
{
    struct gnttab_unmap_grant_ref op[2] = {};
    u32 handle;

    grants_begin();
    grant_access(1, 3, 2, frames[1][0], GTF_permit_access);
    g_assert_cmpint(map(2, 1, 3, GNTMAP_host_map, 8, &handle), ==, GNTST_okay);
    op[0] = (struct gnttab_unmap_grant_ref){.host_addr = 8, .handle = handle};
    fake_guest_fault_in = 3; /* the second element */
    g_assert_cmpint(call(GNTTABOP_unmap_grant_ref, op, 2), ==, -EFAULT);
    g_assert_cmphex(entry_of(1, 3)->flags, ==, GTF_permit_access);
}

/* Changes the entry each time the hypervisor reads the operation: what the first look found must count. */
static void
scribble(u64 address, size_t size, bool write)
{
    entry_of(1, 3)->frame = (u32)frames[1][1];
}

static void
frame_of_a_pinned_grant_is_remembered(void)
{
    u32 first, second;

    grants_begin();
    grant_access(1, 3, 2, frames[1][0], GTF_permit_access);
    g_assert_cmpint(map(2, 1, 3, GNTMAP_host_map, 8, &first), ==, GNTST_okay);
    fake_guest_access_hook = scribble;
    g_assert_cmpint(map(2, 1, 3, GNTMAP_host_map, 16, &second), ==, GNTST_okay);
    g_assert_cmpuint(slots[2][1].mfn, ==, frames[1][0]);
    g_assert_cmpint(unmap(2, first, 8, 0), ==, GNTST_okay);
    g_assert_cmpint(unmap(2, second, 16, 0), ==, GNTST_okay);
}

static void
handles_end_at_the_limit_and_come_back(void)
{
    const unsigned limit = 4 * 256;
    u32 handles[4 * 256], extra;

    grants_begin();
    grant_access(1, 3, 2, frames[1][0], GTF_permit_access | GTF_readonly);
    for (unsigned i = 0; i < limit; i++)
        g_assert_cmpint(map(2, 1, 3, GNTMAP_device_map | GNTMAP_readonly, 0, &handles[i]), ==, GNTST_okay);
    g_assert_cmpint(map(2, 1, 3, GNTMAP_device_map | GNTMAP_readonly, 0, &extra), ==, GNTST_no_space);
    for (unsigned i = 0; i < limit; i++)
        g_assert_cmpint(unmap(2, handles[i], 0, frames[1][0] << PAGE_SHIFT), ==, GNTST_okay);
    g_assert_cmphex(entry_of(1, 3)->flags, ==, GTF_permit_access | GTF_readonly);
    /* The other vCPU gets what the first one spilled. */
    fake_run_as(domains[2]->vcpus[1], 1);
    for (unsigned i = 0; i < limit / 2; i++) {
        struct gnttab_map_grant_ref op = {.flags = GNTMAP_device_map | GNTMAP_readonly, .ref = 3, .dom = 1};

        g_assert_cmpint(call(GNTTABOP_map_grant_ref, &op, 1), ==, 0);
        g_assert_cmpint(op.status, ==, GNTST_okay);
    }
}

static void
long_batch_is_preempted_and_goes_on(void)
{
    static struct gnttab_map_grant_ref maps[1000];
    u64 args[6] = {GNTTABOP_map_grant_ref, (u64)maps, ARRAY_SIZE(maps)};

    grants_begin();
    grant_access(1, 3, 2, frames[1][0], GTF_permit_access);
    for (unsigned i = 0; i < ARRAY_SIZE(maps); i++)
        maps[i] = (struct gnttab_map_grant_ref){.flags = GNTMAP_device_map, .ref = 3, .dom = 1, .status = 99};
    fake_run_as(domains[2]->vcpus[0], 0);
    g_assert_cmpint(hypercall_grant_table_op(args), ==, -ERESTART);
    g_assert_cmpuint(args[2], ==, ARRAY_SIZE(maps) - PREEMPT_BUDGET);
    g_assert_cmpint(maps[PREEMPT_BUDGET - 1].status, ==, GNTST_okay);
    g_assert_cmpint(maps[PREEMPT_BUDGET].status, ==, 99);
    g_assert_cmpint(hypercall_grant_table_op(args), ==, 0);
    g_assert_cmpint(maps[999].status, ==, GNTST_okay);
}

static void
table_grows_to_its_limit(void)
{
    xen_pfn_t list[64];
    struct gnttab_setup_table op = {.dom = DOMID_SELF, .nr_frames = 64};
    struct gnttab_query_size size = {.dom = DOMID_SELF};
    struct gnttab_set_version version = {.version = 2};

    grants_begin();
    fake_run_as(domains[2]->vcpus[0], 0);
    set_xen_guest_handle(op.frame_list, list);
    g_assert_cmpint(call(GNTTABOP_setup_table, &op, 1), ==, 0);
    g_assert_cmpint(op.status, ==, GNTST_okay);
    for (unsigned i = 0; i < 64; i++)
        g_assert_cmpuint(frame_of(_mfn(list[i]))->owner, ==, 2);
    g_assert_cmpint(call(GNTTABOP_query_size, &size, 1), ==, 0);
    g_assert_cmpuint(size.nr_frames, ==, 64);
    g_assert_cmpuint(size.max_nr_frames, ==, 64);
    op.nr_frames = 65;
    g_assert_cmpint(call(GNTTABOP_setup_table, &op, 1), ==, 0);
    g_assert_cmpint(op.status, ==, GNTST_general_error);
    op.dom = 1;
    g_assert_cmpint(call(GNTTABOP_setup_table, &op, 1), ==, 0);
    g_assert_cmpint(op.status, ==, GNTST_permission_denied);
    g_assert_cmpint(call(GNTTABOP_set_version, &version, 1), ==, -ENOSYS);
    version.version = 1;
    g_assert_cmpint(call(GNTTABOP_set_version, &version, 1), ==, 0);
    g_assert_cmpint(call(GNTTABOP_transfer, &op, 1), ==, -EOPNOTSUPP);
    g_assert_cmpint(call(GNTTABOP_cache_flush + 1, &op, 1), ==, -ENOSYS);
    g_assert_cmpint(call(GNTTABOP_copy, &op, 0x80000000u), ==, -EINVAL);
    /* A grant frame cannot be made a page table under our hands. */
    g_assert_cmpint(page_get_type(frame_of(_mfn(list[0])), FRAME_TYPE_L1), ==, -EINVAL);
}

static void
swap_exchanges_idle_entries(void)
{
    struct gnttab_swap_grant_ref op = {.ref_a = 3, .ref_b = 4};
    u32 handle;

    grants_begin();
    grant_access(1, 3, 2, frames[1][0], GTF_permit_access);
    grant_access(1, 4, 3, frames[1][1], GTF_permit_access);
    fake_run_as(domains[1]->vcpus[0], 0);
    g_assert_cmpint(call(GNTTABOP_swap_grant_ref, &op, 1), ==, 0);
    g_assert_cmpint(op.status, ==, GNTST_okay);
    g_assert_cmpuint(entry_of(1, 3)->domid, ==, 3);
    g_assert_cmpuint(entry_of(1, 4)->frame, ==, frames[1][0]);
    g_assert_cmpint(map(3, 1, 3, GNTMAP_host_map, 8, &handle), ==, GNTST_okay);
    fake_run_as(domains[1]->vcpus[0], 0);
    g_assert_cmpint(call(GNTTABOP_swap_grant_ref, &op, 1), ==, 0);
    g_assert_cmpint(op.status, ==, GNTST_eagain);
}

/* --- death --- */

static void
dead_mapper_gives_all_back(void)
{
    u32 handle;

    grants_begin();
    grant_access(1, 3, 2, frames[1][0], GTF_permit_access);
    grant_access(1, 4, 2, frames[1][1], GTF_permit_access | GTF_readonly);
    for (unsigned i = 1; i <= 30; i++) {
        g_assert_cmpint(map(2, 1, 3, GNTMAP_host_map | GNTMAP_device_map, 8 * i, &handle), ==, GNTST_okay);
        g_assert_cmpint(map(2, 1, 4, GNTMAP_host_map | GNTMAP_readonly, 8 * i, &handle), ==, GNTST_okay);
    }
    end_domain(2);
    g_assert_cmphex(entry_of(1, 3)->flags, ==, GTF_permit_access);
    g_assert_cmphex(entry_of(1, 4)->flags, ==, GTF_permit_access | GTF_readonly);
    g_assert_cmpuint(refs_of(frames[1][0]), ==, refs_of(frames[3][0]));
    g_assert_cmpuint(refs_of(frames[1][1]), ==, refs_of(frames[3][0]));
}

static void
dead_granter_lets_mappings_end(void)
{
    u64 table_mfn, base;
    u32 handle;

    grants_begin();
    base = refs_of(frames[1][0]);
    grant_access(1, 3, 2, frames[1][0], GTF_permit_access);
    g_assert_cmpint(map(2, 1, 3, GNTMAP_host_map, 8, &handle), ==, GNTST_okay);
    table_mfn = mfn_x(domains[1]->grants->mfns[0]);
    g_assert_cmpuint(refs_of(table_mfn), ==, base + 1);
    end_domain(1);
    /* The table's frame is the allocation's alone; the mapping ends as ever. */
    g_assert_cmpuint(refs_of(table_mfn), ==, base);
    g_assert_cmphex(frame_of(_mfn(table_mfn))->type & FRAME_TYPE_COUNT, ==, 0);
    g_assert_cmpint(unmap(2, handle, 8, 0), ==, GNTST_okay);
    g_assert_cmpuint(refs_of(frames[1][0]), ==, base);
    g_assert_cmpint(grant_grow(domains[1], 2), ==, -EINVAL);
    g_assert_cmpint(grant_seed(domains[1], 0, 2, frames[1][0]), ==, -EINVAL);
}

static void
nothing_is_left_after_fini(void)
{
    u64 free_at_start;

    grants_begin();
    free_at_start = frame_free_count();
    for (unsigned id = 1; id <= DOMAINS; id++) {
        end_domain(id);
        grant_fini(domains[id]);
        g_assert_null(domains[id]->grants);
        g_assert_cmpint(page_relinquish_all(domains[id]), ==, 0);
        g_assert_cmpuint(domains[id]->extra_count, ==, 0);
    }
    fake_run_all();
    /* Two active pages and one shared for each, and its frames. */
    g_assert_cmpuint(frame_free_count(), ==, free_at_start + DOMAINS * (3 + FRAMES));
}

/* --- copies --- */

static int
copy(unsigned id, struct gnttab_copy op)
{
    fake_run_as(domains[id]->vcpus[0], 0);
    g_assert_cmpint(call(GNTTABOP_copy, &op, 1), ==, 0);
    return op.status;
}

static void
copy_moves_bytes_and_only_those(void)
{
    struct gnttab_copy op;

    grants_begin();
    memset(bytes(frames[1][0]), 1, PAGE_SIZE);
    memset(bytes(frames[2][0]), 2, PAGE_SIZE);
    grant_access(1, 3, 2, frames[1][0], GTF_permit_access | GTF_readonly);
    op = (struct gnttab_copy){
        .source = {.u.ref = 3, .domid = 1, .offset = 4000},
        .dest = {.u.gmfn = frames[2][0], .domid = DOMID_SELF, .offset = 10},
        .len = 96,
        .flags = GNTCOPY_source_gref,
    };
    g_assert_cmpint(copy(2, op), ==, GNTST_okay);
    for (unsigned i = 0; i < PAGE_SIZE; i++)
        g_assert_cmpuint(bytes(frames[2][0])[i], ==, i >= 10 && i < 106 ? 1 : 2);
    g_assert_cmphex(entry_of(1, 3)->flags, ==, GTF_permit_access | GTF_readonly);
}

static void
copy_is_refused(void)
{
    struct gnttab_copy good = {
        .source = {.u.ref = 3, .domid = 1},
        .dest = {.u.gmfn = 0, .domid = DOMID_SELF},
        .len = 16,
        .flags = GNTCOPY_source_gref,
    };
    struct gnttab_copy op;

    grants_begin();
    good.dest.u.gmfn = frames[2][0];
    grant_access(1, 3, 2, frames[1][0], GTF_permit_access | GTF_readonly);
    g_assert_cmpint(copy(2, good), ==, GNTST_okay);
    op = good, op.source.offset = 4090;
    g_assert_cmpint(copy(2, op), ==, GNTST_bad_copy_arg);
    op = good, op.len = 0xffff;
    g_assert_cmpint(copy(2, op), ==, GNTST_bad_copy_arg);
    op = good, op.dest.domid = 1;
    g_assert_cmpint(copy(2, op), ==, GNTST_permission_denied);
    op = good, op.dest.u.gmfn = frames[1][1];
    g_assert_cmpint(copy(2, op), ==, GNTST_general_error);
    op = good, op.dest.u.gmfn = ~0ull >> 12;
    g_assert_cmpint(copy(2, op), ==, GNTST_general_error);
    op = good, op.source.u.ref = 4;
    g_assert_cmpint(copy(2, op), ==, GNTST_general_error);
    g_assert_cmpint(copy(3, good), ==, GNTST_general_error);
    op = good, op.source.domid = 99;
    g_assert_cmpint(copy(2, op), ==, GNTST_bad_domain);
    /* Writing through a read-only grant. */
    op = (struct gnttab_copy){
        .source = {.u.gmfn = frames[2][0], .domid = DOMID_SELF},
        .dest = {.u.ref = 3, .domid = 1},
        .len = 16,
        .flags = GNTCOPY_dest_gref,
    };
    g_assert_cmpint(copy(2, op), ==, GNTST_general_error);
    g_assert_cmphex(entry_of(1, 3)->flags, ==, GTF_permit_access | GTF_readonly);
    g_assert_cmpuint(refs_of(frames[1][0]), ==, refs_of(frames[3][0]));
    g_assert_cmpuint(refs_of(frames[2][0]), ==, refs_of(frames[3][0]));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/grant/" #name, name)
    ADD(map_sets_flags_and_holds_the_frame);
    ADD(map_is_refused);
    ADD(host_and_device_parts_end_apart);
    ADD(one_flush_for_a_batch_before_frames_go);
    ADD(unreadable_array_leaves_no_half_unmap);
    ADD(frame_of_a_pinned_grant_is_remembered);
    ADD(handles_end_at_the_limit_and_come_back);
    ADD(long_batch_is_preempted_and_goes_on);
    ADD(table_grows_to_its_limit);
    ADD(swap_exchanges_idle_entries);
    ADD(dead_mapper_gives_all_back);
    ADD(dead_granter_lets_mappings_end);
    ADD(nothing_is_left_after_fini);
    ADD(copy_moves_bytes_and_only_those);
    ADD(copy_is_refused);
    int rc = g_test_run();

    grants_finish();
    return rc;
}
