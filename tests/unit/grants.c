/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "grants.h"
#include "hypercall/hypercall.h"
#include "base/string.h"
#include "mm/frame-alloc.h"

#include <glib.h>

#define PAGES 4096u

bool
may_control(const struct domain *d)
{
    return current->domain->is_privileged && d;
}

struct slot slots[DOMAINS + 1][SLOTS];
bool slot_is_used = true;

static struct slot *
find_slot(u64 addr)
{
    u64 n = addr / 8 - 1;

    return addr % 8 || n >= SLOTS ? NULL : &slots[current->domain->id][n];
}

void
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

struct domain *domains[DOMAINS + 1];
u64 frames[DOMAINS + 1][FRAMES];

/* The type machine beyond "writable" is not wanted here. */
static int
no_table(struct domain *d, struct frame *frame, u64 type)
{
    return -EINVAL;
}
static const struct domain_ops ops = {.type_validate = no_table, .type_devalidate = no_table};

void
grants_finish(void)
{
    for (unsigned id = 1; id <= DOMAINS; id++)
        if (domains[id])
            grant_fini(domains[id]);
    fake_domains_forget();
    memset(domains, 0, sizeof(domains));
}

void
grants_begin(void)
{
    grants_finish();
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

struct grant_entry_v1 *
entry_of(unsigned id, u32 ref)
{
    return shared_entry(domains[id]->grants, ref);
}

void
grant_access(unsigned id, u32 ref, u16 to, u64 frame, u16 flags)
{
    struct grant_entry_v1 *entry = entry_of(id, ref);

    entry->domid = to;
    entry->frame = (u32)frame;
    entry->flags = flags;
}

s64
call(unsigned op, void *arg, u32 count)
{
    u64 args[6] = {op, (u64)arg, count};
    s64 rc;

    do
        rc = hypercall_grant_table_op(args);
    while (rc == -ERESTART);
    return rc;
}

u64
refs_of(u64 mfn)
{
    return frame_of(_mfn(mfn))->count & FRAME_COUNT_MASK;
}

u8 *
bytes(u64 mfn)
{
    return direct_ptr(mfn_to_maddr(_mfn(mfn)));
}

void
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
