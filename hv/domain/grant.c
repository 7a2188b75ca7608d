/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Grant tables: the table itself, and pins.
 *
 * A domain shares pages full of entries with us (struct grant_entry_v1), in which it says who may use which
 * frame.  For each entry there is an active entry of our own.  While an operation or a mapping uses a
 * grant, the active entry is pinned: it remembers frame and user, and the shared entry carries GTF_reading,
 * and GTF_writing, for the granter to see.
 *
 *   read_pins  write_pins   GTF_reading  GTF_writing   the granter may
 *       0          0             0            0        end the access, change the entry
 *      > 0         0             1            0        make the entry read-only
 *       0         > 0            1            1        only wait
 *      > 0        > 0            1            1        only wait
 *
 * The shared entry is hostile: it is read once when the first pin is taken, moved on by compare-and-
 * exchange, and what a pinned entry stands for is taken from the active entry alone.  The shared frames
 * hold a writable type reference of ours, so that a guest cannot have them as page tables while we set
 * flags in them.
 *
 * Locks: gt->lock for growth; one lock in each active entry; gt->maptrack_lock for the spare handles.  An
 * operation between two domains takes the lock of the one active entry, and no other that a third domain
 * could hold.  The arrays grow, and never shrink before grant_fini(), so finding an entry takes no lock.
 */
#include "domain/grant-private.h"
#include "domain/page.h"
#include "base/log.h"
#include "base/string.h"
#include "mm/frame-alloc.h"
#include "mm/heap.h"
#include "x86/tlb.h"

#define FRAMES_DEFAULT          64u
#define MAPTRACK_FRAMES_DEFAULT 1024u

/* The ABI counts maptrack frames of 256 handles. */
#define MAPTRACK_PER_ABI_FRAME 256u

/* What handles a dying domain may look at, and mappings it may undo, before it must let others run. */
#define RELINQUISH_LOOKS 8192u
#define RELINQUISH_UNDOS 256u

u32 grant_frames_limit = FRAMES_DEFAULT;
u32 grant_maptrack_frames_limit = MAPTRACK_FRAMES_DEFAULT;

/*
 * Stands in for the shared frames of domains that are gone.  Only bits are cleared in it, so it stays zero.
 */
static struct grant_entry_v1 graveyard[SHARED_PER_PAGE] __attribute__((aligned(4096)));

/* --- the table --- */

u32
grant_frames(const struct domain *d)
{
    return MAX(READ_ONCE(d->grants->frames), 1u);
}

u32
grant_frames_max(const struct domain *d)
{
    return d->grants->frames_max;
}

static void
free_active(struct grant_table *gt, u32 first_page, u32 end_page)
{
    for (u32 i = first_page; i < end_page; i++) {
        if (gt->active[i])
            page_free_hv(gt->active[i]);
        gt->active[i] = NULL;
    }
}

/* A shared frame of @d that we keep; its contents are zero. */
static int
make_shared_frame(struct domain *d, mfn_t *ret_mfn)
{
    void *page = page_alloc_hv();
    mfn_t mfn;
    int rc;

    if (!page)
        return -ENOMEM;
    mfn = direct_mfn(page);

    rc = page_assign(d, mfn, 0, PAGE_NO_CHARGE);
    if (rc) {
        page_free_hv(page);
        return rc;
    }
    rc = page_get_writable(frame_of(mfn), d);
    if (rc) {
        page_release(frame_of(mfn));
        return rc;
    }
    *ret_mfn = mfn;
    return 0;
}

/* One more frame.  Under gt->lock. */
static int
grow_by_one(struct domain *d, struct grant_table *gt)
{
    const u32 active_per_frame = SHARED_PER_PAGE / ACTIVE_PER_PAGE;
    u32 n = gt->frames;
    mfn_t mfn;
    int rc;

    for (u32 i = 0; i < active_per_frame; i++) {
        gt->active[n * active_per_frame + i] = page_alloc_hv();
        if (!gt->active[n * active_per_frame + i]) {
            rc = -ENOMEM;
            goto free_active;
        }
    }

    rc = make_shared_frame(d, &mfn);
    if (rc)
        goto free_active;

    gt->mfns[n] = mfn;
    gt->shared[n] = direct_ptr(mfn_to_maddr(mfn));
    gt->frames = n + 1;
    atomic_set_release(&gt->entries, (u32)((n + 1) * SHARED_PER_PAGE));
    return 0;

free_active:
    free_active(gt, n * active_per_frame, (n + 1) * active_per_frame);
    return rc;
}

static int
grow_locked(struct domain *d, struct grant_table *gt, u32 frames)
{
    int rc = 0;

    if (frames > gt->frames_max || gt->is_gone || domain_is_dying(d))
        return -EINVAL;
    while (!rc && gt->frames < frames)
        rc = grow_by_one(d, gt);
    return rc;
}

int
grant_grow(struct domain *d, u32 frames)
{
    struct grant_table *gt = d->grants;
    int rc;

    spin_lock(&gt->lock);
    rc = grow_locked(d, gt, frames);
    spin_unlock(&gt->lock);
    return rc;
}

int
grant_frame_mfn(struct domain *d, u32 idx, mfn_t *ret_mfn)
{
    struct grant_table *gt = d->grants;
    int rc;

    if (idx >= gt->frames_max)
        return -EINVAL;
    idx = index_nospec(idx, gt->frames_max);

    spin_lock(&gt->lock);
    rc = grow_locked(d, gt, idx + 1);
    if (!rc)
        *ret_mfn = gt->mfns[idx];
    spin_unlock(&gt->lock);
    return rc;
}

int
grant_seed(struct domain *d, u32 ref, u16 to, u64 gfn)
{
    struct grant_table *gt = d->grants;
    struct grant_entry_v1 *shared;
    int rc;

    if (ref >= GNTTAB_NR_RESERVED_ENTRIES || gfn != (u32)gfn)
        return -EINVAL;

    spin_lock(&gt->lock);
    rc = grow_locked(d, gt, 1);
    if (!rc) {
        shared = shared_entry(gt, ref);
        shared->domid = to;
        shared->frame = (u32)gfn;
        atomic_set_release(&shared->flags, (u16)GTF_permit_access);
    }
    spin_unlock(&gt->lock);
    return rc;
}

int
grant_swap(u32 ref_a, u32 ref_b)
{
    struct grant_table *gt = current->domain->grants;
    u32 entries = atomic_read_acquire(&gt->entries);
    struct grant_active *a, *b;
    int status = GNTST_eagain;

    if (ref_a >= entries || ref_b >= entries)
        return GNTST_bad_gntref;
    if (ref_a == ref_b)
        return GNTST_okay;
    ref_a = index_nospec(ref_a, entries);
    ref_b = index_nospec(ref_b, entries);
    a = active_entry(gt, ref_a);
    b = active_entry(gt, ref_b);

    spin_lock_two(&a->lock, &b->lock);
    if (!(a->read_pins | a->write_pins | b->read_pins | b->write_pins)) {
        struct grant_entry_v1 *shared_a = shared_entry(gt, ref_a), *shared_b = shared_entry(gt, ref_b);
        struct grant_entry_v1 entry = *shared_a;

        *shared_a = *shared_b;
        *shared_b = entry;
        status = GNTST_okay;
    }
    spin_unlock_two(&a->lock, &b->lock);
    return status;
}

/* --- birth and death --- */

int
grant_init(struct domain *d, s32 max_frames, s32 max_maptrack_frames)
{
    u32 frames = max_frames < 0 ? grant_frames_limit : (u32)max_frames;
    u32 maptrack = max_maptrack_frames < 0 ? grant_maptrack_frames_limit : (u32)max_maptrack_frames;
    const u32 active_per_frame = SHARED_PER_PAGE / ACTIVE_PER_PAGE;
    struct grant_table *gt;

    if (!frames || frames > grant_frames_limit || maptrack > grant_maptrack_frames_limit)
        return -EINVAL;

    gt = heap_zalloc(sizeof(*gt));
    if (!gt)
        return -ENOMEM;
    spin_lock_init(&gt->lock);
    spin_lock_init(&gt->maptrack_lock);
    gt->domain = d;
    gt->frames_max = frames;
    gt->maptrack_max = maptrack * MAPTRACK_PER_ABI_FRAME;
    gt->maptrack_relinquished = ~0u;
    gt->shared = heap_calloc(frames, sizeof(gt->shared[0]));
    gt->mfns = heap_calloc(frames, sizeof(gt->mfns[0]));
    gt->active = heap_calloc(frames * active_per_frame, sizeof(gt->active[0]));
    gt->maptrack = heap_calloc(gt->maptrack_max / MAPTRACK_PER_PAGE + 1, sizeof(gt->maptrack[0]));
    d->grants = gt;
    if (!gt->shared || !gt->mfns || !gt->active || !gt->maptrack) {
        grant_fini(d);
        return -ENOMEM;
    }
    return 0;
}

/* Each CPU that could have found a shared frame before it was replaced has left the hypervisor since. */
static void
release_shared_frames(struct work *work)
{
    struct grant_table *gt = container_of(work, struct grant_table, release_work);
    struct domain *d = gt->domain;

    for (u32 i = 0; i < gt->frames; i++)
        page_put_writable(frame_of(gt->mfns[i]));
    domain_put(d);
}

static void
bury_table(struct domain *d, struct grant_table *gt)
{
    spin_lock(&gt->lock);
    if (gt->is_gone) {
        spin_unlock(&gt->lock);
        return;
    }
    gt->is_gone = true;
    for (u32 i = 0; i < gt->frames; i++)
        WRITE_ONCE(gt->shared[i], graveyard);
    spin_unlock(&gt->lock);

    /* The caller has a reference, so this one can be had. */
    if (domain_get(d)) {
        work_init(&gt->release_work, release_shared_frames);
        work_queue_after_quiesce(&gt->release_work);
    }
}

int
grant_relinquish(struct domain *d)
{
    struct grant_table *gt = d->grants;
    unsigned looks = RELINQUISH_LOOKS, undos = RELINQUISH_UNDOS;

    if (!gt)
        return 0;
    if (gt->maptrack_relinquished == ~0u) {
        /* No vCPU of it will run again; nor shall a CPU that ran one keep what it had mapped of others. */
        tlb_flush_mask(&d->dirty_cpus);
        gt->maptrack_relinquished = gt->maptrack_count;
    }

    while (gt->maptrack_relinquished) {
        u32 handle = gt->maptrack_relinquished - 1;
        union maptrack *slot = &gt->maptrack[handle / MAPTRACK_PER_PAGE][handle % MAPTRACK_PER_PAGE];
        union maptrack entry = *slot;

        if (!looks-- || !undos)
            return -ERESTART;
        gt->maptrack_relinquished = handle;
        if (!(entry.flags & (GNTMAP_host_map | GNTMAP_device_map)))
            continue;
        slot->word = 0;
        maptrack_relinquish_entry(d, entry);
        undos--;
    }

    bury_table(d, gt);
    return 0;
}

void
grant_fini(struct domain *d)
{
    struct grant_table *gt = d->grants;
    const u32 active_per_frame = SHARED_PER_PAGE / ACTIVE_PER_PAGE;

    if (!gt)
        return;
    if (gt->active)
        free_active(gt, 0, gt->frames * active_per_frame);
    for (u32 i = 0; gt->maptrack && i < DIV_ROUND_UP(gt->maptrack_count, MAPTRACK_PER_PAGE); i++)
        page_free_hv(gt->maptrack[i]);
    heap_free(gt->maptrack);
    heap_free(gt->active);
    heap_free(gt->mfns);
    heap_free(gt->shared);
    heap_free(gt);
    d->grants = NULL;
}

void
grant_dump(struct domain *d)
{
    struct grant_table *gt = d->grants;
    unsigned lines = 0;

    if (!gt)
        return;
    log_info("d%u: grant table of %u frames (of %u), %u handles", d->id, gt->frames, gt->frames_max,
             gt->maptrack_count);
    for (u32 ref = 0; ref < gt->entries && lines < 64; ref++) {
        struct grant_active *active = active_entry(gt, ref);
        struct grant_entry_v1 *shared = shared_entry(gt, ref);

        if (!(active->read_pins | active->write_pins))
            continue;
        lines++;
        log_info("  ref %u: d%u, frame %x, %u reading, %u writing; shared: flags %x, d%u, frame %x", ref,
                 active->domid, active->frame, active->read_pins, active->write_pins, shared->flags,
                 shared->domid, shared->frame);
    }
}
