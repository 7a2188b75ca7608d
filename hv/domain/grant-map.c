/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mapping grants, and the handles by which mappings are undone.
 *
 * Who holds what for one mapping of a frame F granted by G to the mapper M:
 *
 *   host mapping      M's page table entry owns a reference to F, writable unless read-only
 *   device mapping    the handle owns the same
 *   either            one pin each in G's active entry (read or write)
 *
 * A handle can outlive its host mapping, when M overwrites the entry itself; then even G may be gone, and a
 * newer domain may have its number.  That harms nobody: a host mapping is only ever given up together with
 * an entry that is there, and pins are compared with what is held, not trusted.
 *
 * A handle is claimed by setting MAPTRACK_BUSY in one compare-and-exchange; only the claimer changes or
 * frees it.  Free handles are in a list of the vCPU that freed them, which nobody else touches, so a map or
 * unmap takes no lock for its handle.  A vCPU keeps at most twice MAPTRACK_PUT_BY; the domain's
 * maptrack_lock guards what all vCPUs share.
 */
#include "domain/grant-pin.h"
#include "base/log.h"
#include "mm/frame-alloc.h"
#include "x86/tlb.h"

#define MAPTRACK_PUT_BY 32u

/* --- handles --- */

static inline union maptrack *
maptrack_slot(struct grant_table *gt, u32 handle)
{
    return &gt->maptrack[handle / MAPTRACK_PER_PAGE][handle % MAPTRACK_PER_PAGE];
}

static void
maptrack_push(struct grant_table *gt, u32 *list, u32 handle)
{
    WRITE_ONCE(maptrack_slot(gt, handle)->word, (u64)*list);
    *list = handle + 1;
}

/* A new page of handles for the shared list.  Under maptrack_lock. */
static void
maptrack_grow(struct grant_table *gt)
{
    u32 first = gt->maptrack_count, end = MIN(first + (u32)MAPTRACK_PER_PAGE, gt->maptrack_max);

    if (first >= gt->maptrack_max)
        return;
    gt->maptrack[first / MAPTRACK_PER_PAGE] = page_alloc_hv();
    if (!gt->maptrack[first / MAPTRACK_PER_PAGE])
        return;
    for (u32 handle = end; handle-- > first;)
        maptrack_push(gt, &gt->maptrack_free, handle);
    atomic_set_release(&gt->maptrack_count, end);
}

/* Moves up to MAPTRACK_PUT_BY handles from one list to the other. */
static void
maptrack_move(struct grant_table *gt, u32 *from, u32 *to, u32 *ret_count)
{
    u32 n;

    for (n = 0; n < MAPTRACK_PUT_BY && *from; n++) {
        u32 handle = *from - 1;

        *from = maptrack_slot(gt, handle)->ref;
        maptrack_push(gt, to, handle);
    }
    *ret_count = n;
}

static void
maptrack_refill(struct grant_table *gt, struct vcpu *v)
{
    spin_lock(&gt->maptrack_lock);
    if (!gt->maptrack_free)
        maptrack_grow(gt);
    maptrack_move(gt, &gt->maptrack_free, &v->maptrack_free, &v->maptrack_count);
    spin_unlock(&gt->maptrack_lock);
}

static void
maptrack_spill(struct grant_table *gt, struct vcpu *v)
{
    u32 moved;

    spin_lock(&gt->maptrack_lock);
    maptrack_move(gt, &v->maptrack_free, &gt->maptrack_free, &moved);
    spin_unlock(&gt->maptrack_lock);
    v->maptrack_count -= moved;
}

static inline bool
maptrack_alloc(struct grant_table *gt, struct vcpu *v, u32 *ret_handle)
{
    if (unlikely(!v->maptrack_free)) {
        maptrack_refill(gt, v);
        if (!v->maptrack_free)
            return false;
    }
    *ret_handle = v->maptrack_free - 1;
    v->maptrack_free = maptrack_slot(gt, *ret_handle)->ref;
    v->maptrack_count--;
    return true;
}

static inline void
maptrack_free(struct grant_table *gt, struct vcpu *v, u32 handle)
{
    maptrack_push(gt, &v->maptrack_free, handle);
    if (unlikely(++v->maptrack_count > 2 * MAPTRACK_PUT_BY))
        maptrack_spill(gt, v);
}

/* --- map --- */

void
grant_map(struct gnttab_map_grant_ref *op)
{
    struct vcpu *v = current;
    struct grant_table *gt = v->domain->grants;
    bool writable = !(op->flags & GNTMAP_readonly);
    unsigned refs = !!(op->flags & GNTMAP_host_map) + !!(op->flags & GNTMAP_device_map);
    struct domain *granter;
    struct frame *frame;
    mfn_t mfn;
    u32 handle;

    if (unlikely(!refs)) {
        op->status = GNTST_bad_gntref;
        return;
    }
    granter = domain_find(op->dom);
    if (unlikely(!granter || !granter->grants)) {
        op->status = GNTST_bad_domain;
        return;
    }
    if (unlikely(!maptrack_alloc(gt, v, &handle))) {
        op->status = GNTST_no_space;
        return;
    }

    op->status = grant_pin(granter, op->ref, v->domain->id, writable, false, refs, &frame);
    if (unlikely(op->status != GNTST_okay))
        goto free_handle;

    mfn = frame_mfn(frame);
    if ((op->flags & GNTMAP_host_map) && unlikely(pv_grant_map(op->host_addr, mfn, op->flags, 0) != 0)) {
        op->status = GNTST_general_error;
        goto unpin;
    }

    WRITE_ONCE(maptrack_slot(gt, handle)->word,
               ((union maptrack){.ref = op->ref, .domid = op->dom, .flags = op->flags & MAPTRACK_KEEP}).word);
    op->handle = handle;
    op->dev_bus_addr = mfn_to_maddr(mfn).a;
    return;

unpin:
    grant_put_frame(frame, writable, refs);
    grant_unpin(granter, op->ref, v->domain->id, writable, refs);
free_handle:
    maptrack_free(gt, v, handle);
}

/* --- unmap --- */

/* What a pinned reference stands for; it cannot change before the pin is gone. */
static struct frame *
pinned_frame(struct domain *granter, u32 ref)
{
    return frame_of(_mfn(READ_ONCE(active_entry(granter->grants, ref)->frame)));
}

/* Makes the handle ours to change, if it is a mapping and nobody else is at it. */
static bool
maptrack_claim(struct grant_table *gt, u32 handle, union maptrack *ret_entry)
{
    u32 count = atomic_read_acquire(&gt->maptrack_count);
    union maptrack entry;
    union maptrack *slot;

    if (unlikely(handle >= count))
        return false;
    slot = maptrack_slot(gt, index_nospec(handle, count));
    entry.word = READ_ONCE(slot->word);
    do {
        if (unlikely(!(entry.flags & (GNTMAP_host_map | GNTMAP_device_map)) || (entry.flags & MAPTRACK_BUSY)))
            return false;
    } while (!atomic_cmpxchg(&slot->word, &entry.word, entry.word | (u64)MAPTRACK_BUSY << 48));
    *ret_entry = entry;
    return true;
}

int
grant_unmap(u32 handle, u64 host_addr, u64 dev_bus_addr, u64 new_addr, struct grant_unmapped *ret)
{
    struct vcpu *v = current;
    struct grant_table *gt = v->domain->grants;
    struct domain *granter;
    union maptrack entry;
    u32 done = 0;
    int status = GNTST_okay;

    ret->done = 0;
    ret->flush = false;
    if (unlikely(!maptrack_claim(gt, handle, &entry)))
        return GNTST_bad_handle;

    granter = domain_find(entry.domid);
    if (unlikely(!granter || !granter->grants || entry.ref >= granter->grants->entries)) {
        /* M overwrote the entry itself, and the granter, held by nothing any more, is gone. */
        maptrack_free(gt, v, handle);
        return GNTST_bad_handle;
    }
    ret->granter = granter;
    ret->ref = entry.ref;
    ret->mfn = frame_mfn(pinned_frame(granter, entry.ref));

    if (dev_bus_addr && (entry.flags & GNTMAP_device_map)) {
        if (unlikely(dev_bus_addr != mfn_to_maddr(ret->mfn).a)) {
            status = GNTST_bad_dev_addr;
            goto unclaim;
        }
        done |= GNTMAP_device_map;
    }
    if (host_addr && (entry.flags & GNTMAP_host_map)) {
        int rc = pv_grant_unmap(host_addr, ret->mfn, new_addr, entry.flags);

        if (unlikely(rc < 0)) {
            status = GNTST_general_error;
            goto unclaim;
        }
        ret->flush = rc;
        done |= GNTMAP_host_map;
    }

    if (done)
        ret->done = done | (entry.flags & GNTMAP_readonly);
    entry.flags &= ~done;
    if (!(entry.flags & (GNTMAP_host_map | GNTMAP_device_map))) {
        maptrack_free(gt, v, handle);
        return status;
    }

unclaim:
    WRITE_ONCE(maptrack_slot(gt, handle)->word, entry.word);
    return status;
}

void
grant_unmap_finish(const struct grant_unmapped *batch, unsigned count)
{
    struct domain *d = current->domain;
    bool flush = false;

    for (unsigned i = 0; i < count; i++)
        flush |= batch[i].flush;
    /* All of it: the same page table can be reached by more than one address. */
    if (flush)
        tlb_flush_mask(&d->dirty_cpus);

    for (unsigned i = 0; i < count; i++) {
        const struct grant_unmapped *u = &batch[i];
        bool writable = !(u->done & GNTMAP_readonly);
        unsigned refs = !!(u->done & GNTMAP_host_map) + !!(u->done & GNTMAP_device_map);

        if (!refs)
            continue;
        grant_put_frame(frame_of(u->mfn), writable, refs);
        grant_unpin(u->granter, u->ref, d->id, writable, refs);
    }
}

/*
 * What a dying domain still had mapped.  Its page tables go later, and their entries put their own
 * references, so a host mapping only gives its pin back here.
 */
void
maptrack_relinquish_entry(struct domain *d, union maptrack entry)
{
    struct domain *granter = domain_find(entry.domid);
    bool writable = !(entry.flags & GNTMAP_readonly);
    bool host = entry.flags & GNTMAP_host_map, device = entry.flags & GNTMAP_device_map;

    if (!granter || !granter->grants || entry.ref >= granter->grants->entries)
        return;
    /*
     * A device mapping's references keep granter and frame as they were, so the active entry speaks of that
     * frame.
     */
    if (device)
        grant_put_frame(pinned_frame(granter, entry.ref), writable, 1);
    grant_unpin(granter, entry.ref, d->id, writable, host + device);
}
