/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Grants against a model that keeps what is true of each reference in plain counts: random operations from the vCPUs of three
 * domains, hostile entries and deaths included; then threads at once, where only the end can be checked.
 */
#include "domain/grant-pin.h"
#include "domain/page.h"
#include "hypercall/hypercall.h"
#include "base/string.h"
#include "mm/frame-alloc.h"
#include "x86/tlb.h"
#include "fake.h"

#include <glib.h>
#include <pthread.h>

#define PAGES   4096u
#define DOMAINS 3u
#define VCPUS   2u
#define REFS    12u /* of each domain that the test uses */
#define FRAMES  4u  /* of each domain that it grants */
#define SLOTS   64u /* of each domain's pretend page table */

bool
may_control(const struct domain *d)
{
    return current->domain->is_privileged && d;
}

/* --- a page table with SLOTS entries for each domain; address n * 8 + 8 is entry n --- */

struct slot {
    u64 mfn;
    bool present, writable;
};
static struct slot slots[DOMAINS + 1][SLOTS];
static bool slot_is_used = true; /* the CPU has looked at the page through it */

static struct slot *
find_slot(u64 addr)
{
    u64 n = addr / 8 - 1;

    return addr % 8 || n >= SLOTS ? NULL : &slots[current->domain->id][n];
}

/* As a page table update does: the entry puts its own references. */
static void
slot_overwrite(struct slot *slot)
{
    if (slot->present)
        grant_put_frame(frame_of(_mfn(slot->mfn)), slot->writable, 1);
    slot->present = false;
}

int
pv_grant_map(u64 host_addr, mfn_t mfn, u32 flags, unsigned cache)
{
    struct slot *slot = find_slot(host_addr);

    if (!slot)
        return -EINVAL;
    slot_overwrite(slot);
    *slot = (struct slot){mfn_x(mfn), true, !(flags & GNTMAP_readonly)};
    return 0;
}

int
pv_grant_unmap(u64 host_addr, mfn_t mfn, u64 new_addr, u32 flags)
{
    struct slot *slot = find_slot(host_addr);

    if (!slot || !slot->present || slot->mfn != mfn_x(mfn) || slot->writable == !!(flags & GNTMAP_readonly))
        return -EINVAL;
    slot->present = false;
    return slot_is_used;
}

static struct domain *domains[DOMAINS + 1]; /* by id, from 1 */
static u64 frames[DOMAINS + 1][FRAMES];
static u64 free_at_start;

/* The type machine beyond "writable" is not wanted here. */
static int
no_table(struct domain *d, struct frame *frame, u64 type)
{
    return -EINVAL;
}
static const struct domain_ops ops = {.type_validate = no_table, .type_devalidate = no_table};

static void
finish(void)
{
    for (unsigned id = 1; id <= DOMAINS; id++)
        if (domains[id])
            grant_fini(domains[id]);
    fake_domains_forget();
    memset(domains, 0, sizeof(domains));
}

static void
begin(void)
{
    finish();
    fake_machine_init(PAGES, 4);
    frame_alloc_add(_mfn(1), PAGES - 1);
    memset(slots, 0, sizeof(slots));
    for (unsigned id = 1; id <= DOMAINS; id++) {
        struct domain *d = domains[id] = fake_domain_new(id, VCPUS);

        d->ops = &ops;
        d->refcount = 1000; /* kept by the test; frames put theirs */
        g_assert_cmpint(grant_init(d, -1, 4), ==, 0);
        fake_run_as(d->vcpus[0], 0);
        for (unsigned i = 0; i < FRAMES; i++) {
            mfn_t mfn;

            g_assert_cmpint(page_alloc(d, 0, 0, 0, &mfn), ==, 0);
            frames[id][i] = mfn_x(mfn);
        }
        g_assert_cmpint(grant_grow(d, 1), ==, 0);
    }
}

static struct grant_entry_v1 *
entry_of(unsigned id, u32 ref)
{
    return shared_entry(domains[id]->grants, ref);
}

static void
grant_access(unsigned id, u32 ref, u16 to, u64 frame, u16 flags)
{
    struct grant_entry_v1 *entry = entry_of(id, ref);

    entry->domid = to;
    entry->frame = (u32)frame;
    entry->flags = flags;
}

static s64
call(unsigned op, void *arg, u32 count)
{
    u64 args[6] = {op, (u64)arg, count};
    s64 rc;

    do
        rc = hypercall_grant_table_op(args);
    while (rc == -ERESTART);
    return rc;
}

static int
map(unsigned id, u16 granter, u32 ref, u32 flags, u64 addr, u32 *ret_handle)
{
    struct gnttab_map_grant_ref op = {.host_addr = addr, .flags = flags, .ref = ref, .dom = granter, .handle = ~0u};

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

static u64
refs_of(u64 mfn)
{
    return frame_of(_mfn(mfn))->count & FRAME_COUNT_MASK;
}

/* --- single cases --- */

static void
map_sets_flags_and_holds_the_frame(void)
{
    u64 mfn, base;
    u32 handle;

    begin();
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

    begin();
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

    begin();
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

    begin();
    for (unsigned i = 0; i < 40; i++) {
        grant_access(1, i, 2, frames[1][i % FRAMES], GTF_permit_access);
        maps[i] = (struct gnttab_map_grant_ref){.host_addr = 8 + 8 * i, .flags = GNTMAP_host_map, .ref = i, .dom = 1};
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

    begin();
    grant_access(1, 3, 2, frames[1][0], GTF_permit_access);
    g_assert_cmpint(map(2, 1, 3, GNTMAP_host_map, 8, &handle), ==, GNTST_okay);
    op[0] = (struct gnttab_unmap_grant_ref){.host_addr = 8, .handle = handle};
    fake_guest_fault_in = 3; /* the second element */
    g_assert_cmpint(call(GNTTABOP_unmap_grant_ref, op, 2), ==, -EFAULT);
    g_assert_cmphex(entry_of(1, 3)->flags, ==, GTF_permit_access);
}

/* Changes the entry each time the hypervisor reads the operation: what was found at the first look must count. */
static void
scribble(u64 address, size_t size, bool write)
{
    entry_of(1, 3)->frame = (u32)frames[1][1];
}

static void
frame_of_a_pinned_grant_is_remembered(void)
{
    u32 first, second;

    begin();
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

    begin();
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

    begin();
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

    begin();
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

    begin();
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
end_domain(unsigned id)
{
    int rc;

    domains[id]->dying = DOMAIN_DYING;
    fake_run_as(domains[id % DOMAINS + 1]->vcpus[0], 0);
    do
        rc = grant_relinquish(domains[id]);
    while (rc == -ERESTART);
    g_assert_cmpint(rc, ==, 0);
    for (unsigned i = 0; i < SLOTS; i++)
        slot_overwrite(&slots[id][i]);
    fake_run_all();
}

static void
dead_mapper_gives_all_back(void)
{
    u32 handle;

    begin();
    grant_access(1, 3, 2, frames[1][0], GTF_permit_access);
    grant_access(1, 4, 2, frames[1][1], GTF_permit_access | GTF_readonly);
    for (unsigned i = 0; i < 30; i++) {
        g_assert_cmpint(map(2, 1, 3, GNTMAP_host_map | GNTMAP_device_map, 8 + 8 * i, &handle), ==, GNTST_okay);
        g_assert_cmpint(map(2, 1, 4, GNTMAP_host_map | GNTMAP_readonly, 8 + 8 * i, &handle), ==, GNTST_okay);
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

    begin();
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
    begin();
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

static u8 *
bytes(u64 mfn)
{
    return direct_ptr(mfn_to_maddr(_mfn(mfn)));
}

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
    begin();
    memset(bytes(frames[1][0]), 1, PAGE_SIZE);
    memset(bytes(frames[2][0]), 2, PAGE_SIZE);
    grant_access(1, 3, 2, frames[1][0], GTF_permit_access | GTF_readonly);
    g_assert_cmpint(copy(2, (struct gnttab_copy){.source = {.u.ref = 3, .domid = 1, .offset = 4000},
                                .dest = {.u.gmfn = frames[2][0], .domid = DOMID_SELF, .offset = 10},
                                .len = 96,
                                .flags = GNTCOPY_source_gref}), ==, GNTST_okay);
    for (unsigned i = 0; i < PAGE_SIZE; i++)
        g_assert_cmpuint(bytes(frames[2][0])[i], ==, i >= 10 && i < 106 ? 1 : 2);
    g_assert_cmphex(entry_of(1, 3)->flags, ==, GTF_permit_access | GTF_readonly);
}

static void
copy_is_refused(void)
{
    struct gnttab_copy good = {.source = {.u.ref = 3, .domid = 1},
        .dest = {.u.gmfn = 0, .domid = DOMID_SELF}, .len = 16, .flags = GNTCOPY_source_gref};
    struct gnttab_copy op;

    begin();
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
    op = (struct gnttab_copy){.source = {.u.gmfn = frames[2][0], .domid = DOMID_SELF},
        .dest = {.u.ref = 3, .domid = 1}, .len = 16, .flags = GNTCOPY_dest_gref};
    g_assert_cmpint(copy(2, op), ==, GNTST_general_error);
    g_assert_cmphex(entry_of(1, 3)->flags, ==, GTF_permit_access | GTF_readonly);
    g_assert_cmpuint(refs_of(frames[1][0]), ==, refs_of(frames[3][0]));
    g_assert_cmpuint(refs_of(frames[2][0]), ==, refs_of(frames[3][0]));
}

/* --- the model --- */

struct model_mapping {
    bool host, device, readonly;
    unsigned granter;
    u32 ref, handle;
    u64 addr;
};
struct model_ref {
    bool granted; /* the entry says so */
    bool readonly_entry;
    unsigned to, frame; /* as the entry says */
    unsigned readers, writers, pinned_frame, user;
};

static struct model_ref model[DOMAINS + 1][REFS];
static struct model_mapping mappings[DOMAINS + 1][256];
static unsigned mapping_count[DOMAINS + 1];

static unsigned
any(unsigned n)
{
    return (unsigned)g_test_rand_int_range(0, (gint32)n);
}

/* What a map or copy of (@granter, @ref) by @id must answer. */
static bool
model_allows(unsigned id, unsigned granter, u32 ref, bool writable)
{
    const struct model_ref *m = &model[granter][ref];

    if (m->readers + m->writers)
        return m->user == id && (!writable || m->writers || !m->readonly_entry);
    return m->granted && m->to == id && (!writable || !m->readonly_entry);
}

static void
model_pin(unsigned id, unsigned granter, u32 ref, bool writable, int n)
{
    struct model_ref *m = &model[granter][ref];

    if (!(m->readers + m->writers)) {
        m->user = id;
        m->pinned_frame = m->frame;
    }
    *(writable ? &m->writers : &m->readers) += n;
}

static void
step_grant(unsigned id, u32 ref)
{
    struct model_ref *m = &model[id][ref];

    if (entry_of(id, ref)->flags)
        return;
    *m = (struct model_ref){.granted = true, .readonly_entry = any(3) == 0, .to = 1 + any(DOMAINS), .frame = any(FRAMES)};
    grant_access(id, ref, m->to, frames[id][m->frame], GTF_permit_access | (m->readonly_entry ? GTF_readonly : 0));
}

/* As a kernel ends access: by compare-and-exchange, if nobody reads or writes. */
static void
step_end(unsigned id, u32 ref)
{
    struct model_ref *m = &model[id][ref];
    u16 flags = entry_of(id, ref)->flags;
    bool busy = flags & (GTF_reading | GTF_writing);

    g_assert_cmpint(busy, ==, m->readers + m->writers != 0);
    g_assert_cmpint(!!(flags & GTF_writing), ==, m->writers != 0);
    if (!busy) {
        entry_of(id, ref)->flags = 0;
        *m = (struct model_ref){};
    }
}

static void
step_map(unsigned id, unsigned vcpu)
{
    unsigned granter = 1 + any(DOMAINS);
    u32 ref = any(REFS), kinds = 1 + any(3);
    bool readonly = any(2);
    u64 addr = 8 + 8 * any(SLOTS);
    struct gnttab_map_grant_ref op = {.host_addr = addr, .ref = ref, .dom = granter};
    bool allowed = model_allows(id, granter, ref, !readonly);

    op.flags = (kinds & 1 ? GNTMAP_device_map : 0) | (kinds & 2 ? GNTMAP_host_map : 0) |
               (readonly ? GNTMAP_readonly : 0);
    if (mapping_count[id] == ARRAY_SIZE(mappings[id]))
        return;
    fake_run_as(domains[id]->vcpus[vcpu], vcpu);
    g_assert_cmpint(call(GNTTABOP_map_grant_ref, &op, 1), ==, 0);
    g_assert_cmpint(op.status, ==, allowed ? GNTST_okay : GNTST_general_error);
    if (!allowed)
        return;
    model_pin(id, granter, ref, !readonly, (kinds & 1) + (kinds >> 1));
    g_assert_cmpuint(op.dev_bus_addr, ==, frames[granter][model[granter][ref].pinned_frame] << PAGE_SHIFT);
    mappings[id][mapping_count[id]++] = (struct model_mapping){.host = kinds & 2, .device = kinds & 1,
        .readonly = readonly, .granter = granter, .ref = ref, .handle = op.handle, .addr = addr};
}

/* Whether the entry a mapping was made in still maps that frame in that way, by this mapping or a later one. */
static bool
model_slot_fits(unsigned id, const struct model_mapping *m)
{
    const struct slot *slot = &slots[id][m->addr / 8 - 1];

    return slot->present && slot->writable == !m->readonly &&
           slot->mfn == frames[m->granter][model[m->granter][m->ref].pinned_frame];
}

static void
step_overwrite(unsigned id)
{
    slot_overwrite(&slots[id][any(SLOTS)]);
}

static void
step_unmap(unsigned id, unsigned vcpu)
{
    struct gnttab_unmap_grant_ref op = {};
    struct model_mapping *m;
    unsigned which, parts;
    bool host, device, fits;

    if (!mapping_count[id])
        return;
    which = any(mapping_count[id]);
    m = &mappings[id][which];
    parts = 1 + any(3);
    host = m->host && (parts & 2);
    device = m->device && (parts & 1);
    fits = !host || model_slot_fits(id, m);
    op.handle = m->handle;
    op.host_addr = parts & 2 ? m->addr : 0;
    op.dev_bus_addr = parts & 1 ? frames[m->granter][model[m->granter][m->ref].pinned_frame] << PAGE_SHIFT : 0;
    fake_run_as(domains[id]->vcpus[vcpu], vcpu);
    g_assert_cmpint(call(GNTTABOP_unmap_grant_ref, &op, 1), ==, 0);
    g_assert_cmpint(op.status, ==, fits ? GNTST_okay : GNTST_general_error);
    if (!fits)
        return;
    model_pin(id, m->granter, m->ref, !m->readonly, -(host + device));
    m->host &= !host;
    m->device &= !device;
    if (!m->host && !m->device)
        *m = mappings[id][--mapping_count[id]];
}

static void
step_copy(unsigned id, unsigned vcpu)
{
    unsigned granter = 1 + any(DOMAINS), offset = any(PAGE_SIZE - 64);
    u32 ref = any(REFS);
    bool to_grant = any(2);
    const struct model_ref *m = &model[granter][ref];
    struct gnttab_copy op = {.len = 64, .flags = to_grant ? GNTCOPY_dest_gref : GNTCOPY_source_gref};
    unsigned frame = m->readers + m->writers ? m->pinned_frame : m->frame;
    bool allowed = model_allows(id, granter, ref, to_grant);
    u8 before[64];

    op.source = op.dest = (struct gnttab_copy_ptr){.u.ref = ref, .domid = granter, .offset = offset};
    *(to_grant ? &op.source : &op.dest) =
        (struct gnttab_copy_ptr){.u.gmfn = frames[id][0], .domid = DOMID_SELF, .offset = offset};
    memset(bytes(frames[id][0]) + offset, any(256), 64);
    memcpy(before, bytes(to_grant ? frames[id][0] : frames[granter][frame]) + offset, 64);
    fake_run_as(domains[id]->vcpus[vcpu], vcpu);
    g_assert_cmpint(call(GNTTABOP_copy, &op, 1), ==, 0);
    g_assert_cmpint(op.status, ==, allowed ? GNTST_okay : GNTST_general_error);
    if (allowed)
        g_assert_cmpint(memcmp(before, bytes(to_grant ? frames[granter][frame] : frames[id][0]) + offset, 64), ==, 0);
}

static void
check_model(void)
{
    for (unsigned id = 1; id <= DOMAINS; id++) {
        u64 want[FRAMES] = {}, writable[FRAMES] = {};

        for (unsigned by = 1; by <= DOMAINS; by++) {
            for (unsigned i = 0; i < SLOTS; i++)
                for (unsigned f = 0; f < FRAMES; f++)
                    if (slots[by][i].present && slots[by][i].mfn == frames[id][f]) {
                        want[f]++;
                        writable[f] += slots[by][i].writable;
                    }
            for (unsigned i = 0; i < mapping_count[by]; i++)
                if (mappings[by][i].device && mappings[by][i].granter == id) {
                    want[model[id][mappings[by][i].ref].pinned_frame]++;
                    writable[model[id][mappings[by][i].ref].pinned_frame] += !mappings[by][i].readonly;
                }
        }
        for (u32 ref = 0; ref < REFS; ref++) {
            const struct grant_active *active = active_entry(domains[id]->grants, ref);
            const struct model_ref *m = &model[id][ref];

            g_assert_cmpuint(active->read_pins, ==, m->readers);
            g_assert_cmpuint(active->write_pins, ==, m->writers);
        }
        for (unsigned i = 0; i < FRAMES; i++) {
            g_assert_cmpuint(refs_of(frames[id][i]), ==, want[i] + 1);
            g_assert_cmpuint(frame_of(_mfn(frames[id][i]))->type & FRAME_TYPE_COUNT, ==, writable[i]);
        }
    }
}

static void
random_operations_agree_with_the_model(void)
{
    for (unsigned round = 0; round < 20; round++) {
        begin();
        memset(model, 0, sizeof(model));
        memset(mapping_count, 0, sizeof(mapping_count));
        for (unsigned step = 0; step < 3000; step++) {
            unsigned id = 1 + any(DOMAINS), vcpu = any(VCPUS);

            switch (any(6)) {
            case 0:
                step_grant(id, any(REFS));
                break;
            case 1:
                step_end(id, any(REFS));
                break;
            case 2:
                step_map(id, vcpu);
                break;
            case 3:
                step_unmap(id, vcpu);
                break;
            case 4:
                step_copy(id, vcpu);
                break;
            case 5:
                step_overwrite(id);
                break;
            }
            if (step % 50 == 0)
                check_model();
        }
        check_model();
        end_domain(1 + any(DOMAINS)); /* one of them: its pins go, those on it stay */
        for (unsigned id = 1; id <= DOMAINS; id++)
            if (domains[id]->dying)
                while (mapping_count[id]) {
                    struct model_mapping *m = &mappings[id][--mapping_count[id]];

                    model_pin(id, m->granter, m->ref, !m->readonly, -(m->host + m->device));
                }
        check_model();
    }
}

/* --- threads --- */

static bool stop;

static void *
hammer(void *data)
{
    unsigned n = GPOINTER_TO_UINT(data);
    unsigned seed = n * 7919;
    u64 done = 0;

    fake_run_as(domains[2]->vcpus[n], n);
    while (!READ_ONCE(stop)) {
        struct grant_unmapped unmapped;
        struct gnttab_map_grant_ref op = {.flags = GNTMAP_device_map, .ref = rand_r(&seed) % REFS, .dom = 1};
        struct grant_copy_state state = {};
        struct gnttab_copy copy = {.source = {.u.ref = op.ref, .domid = 1},
            .dest = {.u.gmfn = frames[2][n], .domid = DOMID_SELF}, .len = 8, .flags = GNTCOPY_source_gref};

        op.flags |= rand_r(&seed) % 2 ? GNTMAP_readonly : 0;
        grant_map(&op);
        (void)grant_copy(&copy, &state);
        grant_copy_finish(&state);
        if (op.status != GNTST_okay)
            continue;
        done++;
        if (!(READ_ONCE(entry_of(1, op.ref)->flags) & GTF_reading))
            g_error("a mapped grant looks free");
        if (grant_unmap(op.handle, 0, op.dev_bus_addr, 0, &unmapped) != GNTST_okay)
            g_error("a handle of ours was refused");
        grant_unmap_finish(&unmapped, 1);
    }
    return (void *)done;
}

static void
threads_leave_nothing_behind(void)
{
    pthread_t threads[2];
    gint64 end = g_get_monotonic_time() + 2 * G_TIME_SPAN_SECOND;
    u64 ended = 0;

    begin();
    stop = false;
    for (unsigned n = 0; n < 2; n++)
        pthread_create(&threads[n], NULL, hammer, GUINT_TO_POINTER(n));
    fake_run_as(domains[1]->vcpus[0], 2);
    while (g_get_monotonic_time() < end) {
        u32 ref = any(REFS);
        u16 flags = READ_ONCE(entry_of(1, ref)->flags);

        if (!flags) {
            entry_of(1, ref)->domid = 2;
            entry_of(1, ref)->frame = (u32)frames[1][any(FRAMES)];
            __atomic_store_n(&entry_of(1, ref)->flags, GTF_permit_access, __ATOMIC_RELEASE);
        } else if (!(flags & (GTF_reading | GTF_writing)) && atomic_cmpxchg(&entry_of(1, ref)->flags, &flags, 0)) {
            ended++;
        }
    }
    WRITE_ONCE(stop, true);
    for (unsigned n = 0; n < 2; n++) {
        void *done;

        pthread_join(threads[n], &done);
        g_assert_cmpuint((u64)done, >, 100);
    }
    g_assert_cmpuint(ended, >, 100);
    for (u32 ref = 0; ref < REFS; ref++) {
        const struct grant_active *active = active_entry(domains[1]->grants, ref);

        g_assert_cmpuint(active->read_pins + active->write_pins, ==, 0);
        g_assert_cmphex(entry_of(1, ref)->flags & (GTF_reading | GTF_writing), ==, 0);
    }
    for (unsigned i = 0; i < FRAMES; i++)
        g_assert_cmpuint(refs_of(frames[1][i]), ==, 1);
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
    ADD(random_operations_agree_with_the_model);
    ADD(threads_leave_nothing_behind);
    int rc = g_test_run();

    finish();
    return rc;
}
