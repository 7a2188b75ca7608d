/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who owns which frame, and how many hold it.
 *
 * A frame of a domain is in exactly one of its two lists (ordinary, or FRAME_EXTRA) from page_assign() until
 * its general count falls to 0; then it leaves the list and is freed by whoever dropped the last reference.
 * While the domain lives, the list's own reference (FRAME_ALLOCATED) keeps it there.  Each type reference is
 * accompanied by a general one, so a frame that is freed has no type references.
 *
 * The frames of a domain together hold one reference to it, so frame->owner always names a domain that
 * exists.
 *
 * page_lock covers the lists and the counts of pages; the count in each frame is atomic and needs no lock.
 */
#include "base/panic.h"
#include "domain/page.h"
#include "mm/frame-alloc.h"
#include "x86/tlb.h"

static u64 claimed_total; /* (a) sum of all d->page_claim */

bool
page_get_any(struct frame *frame, struct domain **ret_owner)
{
    u64 old = atomic_read(&frame->count);
    struct domain *d;

    do {
        if (!(old & FRAME_COUNT_MASK))
            return false;
    } while (!atomic_cmpxchg(&frame->count, &old, old + 1));
    d = domain_find(frame->owner);
    if (!d) {
        page_put(frame); /* the hypervisor's, shown to guests */
        return false;
    }
    *ret_owner = d;
    return true;
}

/* The list that @frame is in, by its FRAME_EXTRA. */
static u32 *
list_first_of(struct domain *d, u64 count)
{
    return count & FRAME_EXTRA ? &d->extra_first : &d->pages_first;
}

static void
list_unlink(struct domain *d, struct frame *frame, u64 count)
{
    if (frame->prev != FRAME_NONE)
        frame_of(_mfn(frame->prev))->next = frame->next;
    else
        *list_first_of(d, count) = frame->next;
    if (frame->next != FRAME_NONE)
        frame_of(_mfn(frame->next))->prev = frame->prev;
    else if (!(count & FRAME_EXTRA))
        d->pages_last = frame->prev;
    frame->next = frame->prev = FRAME_NONE;
}

static void
list_append(struct domain *d, struct frame *frame)
{
    u32 n = (u32)mfn_x(frame_mfn(frame));

    frame->next = FRAME_NONE;
    frame->prev = d->pages_last;
    if (d->pages_last != FRAME_NONE)
        frame_of(_mfn(d->pages_last))->next = n;
    else
        d->pages_first = n;
    d->pages_last = n;
}

static void
list_push_extra(struct domain *d, struct frame *frame)
{
    u32 n = (u32)mfn_x(frame_mfn(frame));

    frame->prev = FRAME_NONE;
    frame->next = d->extra_first;
    if (d->extra_first != FRAME_NONE)
        frame_of(_mfn(d->extra_first))->prev = n;
    d->extra_first = n;
}

/* Takes it out of the accounts; true when it was the domain's last.  Under page_lock. */
static bool
discharge(struct domain *d, struct frame *frame, u64 count)
{
    list_unlink(d, frame, count);
    if (count & FRAME_EXTRA)
        d->extra_count--;
    else
        d->page_count--;
    return !d->page_count && !d->extra_count;
}

/* The last reference is gone; only page_put() calls this. */
void
page_destroy(struct frame *frame, u64 count)
{
    struct domain *d = domain_find(frame->owner);
    bool last;

    ASSERT(d && !(frame->type & (FRAME_TYPE_COUNT | FRAME_TYPE_PARTIAL)));
    spin_lock(&d->page_lock);
    last = discharge(d, frame, count);
    spin_unlock(&d->page_lock);

    m2p_set(frame_mfn(frame), M2P_INVALID);
    frame->stamp = tlb_clock();
    if (unlikely(count & FRAME_UNCACHED))
        cache_flush_mask(&cpu_online);
    frame_free(frame_mfn(frame), 0);
    if (last)
        domain_put(d);
}

int
page_get_writable(struct frame *frame, const struct domain *d)
{
    int rc;

    if (!page_get(frame, d))
        return -EINVAL;
    rc = page_get_type(frame, FRAME_TYPE_WRITABLE);
    if (rc)
        page_put(frame);
    return rc;
}

/* What the domain claimed comes true with each page it gets. */
static void
claim_use(struct domain *d, u64 pages)
{
    u64 used = MIN(d->page_claim, pages);

    if (used) {
        d->page_claim -= used;
        (void)atomic_sub_return(&claimed_total, used);
    }
}

int
page_claim(struct domain *d, u64 pages)
{
    int rc = 0;

    spin_lock(&d->page_lock);
    if (d->page_claim) {
        (void)atomic_sub_return(&claimed_total, d->page_claim);
        d->page_claim = 0;
    }
    /* @pages is what the domain is to have in all. */
    if (pages && (domain_is_dying(d) || pages > d->page_max || pages < d->page_count)) {
        rc = -EINVAL;
    } else if (pages > d->page_count) {
        u64 more = pages - d->page_count;

        if (atomic_add_return(&claimed_total, more) > frame_free_count()) {
            (void)atomic_sub_return(&claimed_total, more);
            rc = -ENOMEM;
        } else {
            d->page_claim = more;
        }
    }
    spin_unlock(&d->page_lock);
    return rc;
}

u64
page_claimed_total(void)
{
    return atomic_read(&claimed_total);
}

int
page_assign(struct domain *d, mfn_t mfn, unsigned order, unsigned flags)
{
    struct frame *frames = frame_of(mfn);
    u64 count = 1ull << order;
    u64 state = FRAME_STATE_DOMAIN | FRAME_ALLOCATED | 1 | (flags & PAGE_NO_CHARGE ? FRAME_EXTRA : 0);
    bool first;
    int rc = 0;

    /* A frame that comes from another domain and not from the allocator may still be in someone's TLB. */
    for (u64 i = 0; i < count; i++) {
        if (unlikely(frames[i].stamp))
            tlb_flush_stale(&cpu_online, frames[i].stamp);
        frames[i].type = FRAME_TYPE_NONE;
        frames[i].partial = 0;
        frames[i].stamp = 0;
    }

    spin_lock(&d->page_lock);
    if (domain_is_dying(d)) {
        rc = -EINVAL;
    } else if (!(flags & PAGE_NO_CHARGE) &&
               (d->page_count > d->page_max || count > d->page_max - d->page_count)) {
        rc = -E2BIG;
    } else {
        first = !d->page_count && !d->extra_count;
        for (u64 i = 0; i < count; i++) {
            frames[i].owner = d->id;
            if (flags & PAGE_NO_CHARGE)
                list_push_extra(d, &frames[i]);
            else
                list_append(d, &frames[i]);
            atomic_set_release(&frames[i].count, state);
        }
        if (flags & PAGE_NO_CHARGE) {
            d->extra_count += count;
        } else {
            d->page_count += count;
            claim_use(d, count);
        }
        if (first && !domain_get(d))
            panic("d%u is given memory after its end", d->id);
    }
    spin_unlock(&d->page_lock);
    return rc;
}

int
page_alloc(struct domain *d, unsigned order, unsigned address_bits, unsigned flags, mfn_t *ret_mfn)
{
    u64 claimed = atomic_read(&claimed_total);
    mfn_t mfn;
    int rc;

    if (order > FRAME_ORDER_MAX)
        return -EINVAL;
    /* Not what others have claimed; a claim of its own counts for it. */
    if (unlikely(claimed) && frame_free_count() < (1ull << order) + claimed - READ_ONCE(d->page_claim))
        return -ENOMEM;
    mfn = flags & PAGE_RAW ? frame_alloc_raw(order, address_bits) : frame_alloc(order, address_bits);
    if (mfn_equal(mfn, MFN_INVALID))
        return -ENOMEM;
    rc = page_assign(d, mfn, order, flags);
    if (rc) {
        frame_free(mfn, order);
        return rc;
    }
    *ret_mfn = mfn;
    return 0;
}

bool
page_release(struct frame *frame)
{
    if (!(atomic_fetch_and(&frame->count, ~FRAME_ALLOCATED) & FRAME_ALLOCATED))
        return false;
    page_put(frame);
    return true;
}

int
page_steal(struct domain *d, struct frame *frame)
{
    u64 sole = FRAME_STATE_DOMAIN | FRAME_ALLOCATED | 1, count;
    bool last;

    spin_lock(&d->page_lock);
    count = sole | (atomic_read(&frame->count) & FRAME_UNCACHED);
    if (READ_ONCE(frame->owner) != d->id || !atomic_cmpxchg(&frame->count, &count, FRAME_STATE_HEAP)) {
        spin_unlock(&d->page_lock);
        return -EBUSY;
    }
    ASSERT(!(frame->type & (FRAME_TYPE_COUNT | FRAME_TYPE_PARTIAL)));
    if (unlikely(count & FRAME_UNCACHED))
        cache_flush_mask(&cpu_online);
    last = discharge(d, frame, FRAME_STATE_DOMAIN);
    frame->owner = DOMID_INVALID;
    frame->type = FRAME_TYPE_NONE;
    frame->stamp = tlb_clock();
    spin_unlock(&d->page_lock);

    m2p_set(frame_mfn(frame), M2P_INVALID);
    if (last)
        domain_put(d);
    return 0;
}

void
page_share_hypervisor(mfn_t start, u64 count)
{
    for (u64 i = 0; i < count; i++) {
        struct frame *frame = frame_find(mfn_add(start, i));

        ASSERT(frame && (frame->count & FRAME_STATE) == FRAME_STATE_HEAP);
        frame->owner = DOMID_XEN;
        /* Used as something that is not writable, for ever. */
        frame->type = FRAME_TYPE_DESC | FRAME_TYPE_VALIDATED | 1;
        atomic_set_release(&frame->count, FRAME_STATE_DOMAIN | 1);
    }
}

void
page_set_max(struct domain *d, u64 pages)
{
    spin_lock(&d->page_lock);
    d->page_max = pages;
    spin_unlock(&d->page_lock);
}

/*
 * Drops what a frame of a dying domain is held by that only it could drop: its pin, a half-made table, the
 * list's reference.
 */
static int
relinquish(struct frame *frame)
{
    int rc;

    if (frame->type & FRAME_TYPE_PINNED) {
        atomic_and(&frame->type, ~FRAME_TYPE_PINNED);
        rc = page_put_type(frame);
        if (rc) {
            atomic_or(&frame->type, FRAME_TYPE_PINNED);
            return rc;
        }
        page_put(frame);
    }
    rc = page_drop_partial(frame);
    if (rc)
        return rc;
    page_release(frame);
    return 0;
}

/*
 * The next frame that has not been relinquished, with a reference.  What has been but is still held by others
 * (a foreign mapping, a grant) was put at the back, so the head of the ordinary list tells; the extra list is
 * short and is searched.
 */
static struct frame *
relinquish_next(struct domain *d, bool extra)
{
    struct frame *frame;
    bool got;
    u32 n;

    do {
        spin_lock(&d->page_lock);
        n = extra ? d->extra_first : d->pages_first;
        while (n != FRAME_NONE && frame_of(_mfn(n))->count & FRAME_RELINQUISHED)
            n = extra ? frame_of(_mfn(n))->next : FRAME_NONE;
        frame = frame_of(_mfn(n));
        got = n == FRAME_NONE || page_get(frame, d);
        spin_unlock(&d->page_lock);
        /* One that cannot be had is on its way out of the list, on another CPU. */
        if (!got)
            cpu_relax_poll();
    } while (!got);
    return n == FRAME_NONE ? NULL : frame;
}

static int
relinquish_list(struct domain *d, bool extra, s32 *budget)
{
    struct frame *frame;

    while ((frame = relinquish_next(d, extra)) != NULL) {
        int rc;

        spin_lock(&d->page_table_lock);
        d->type_budget = *budget;
        rc = relinquish(frame);
        *budget = d->type_budget - 1;
        spin_unlock(&d->page_table_lock);

        if (!rc) {
            atomic_or(&frame->count, FRAME_RELINQUISHED);
            spin_lock(&d->page_lock);
            if (!extra) {
                list_unlink(d, frame, frame->count);
                list_append(d, frame);
            }
            spin_unlock(&d->page_lock);
        }
        page_put(frame);
        if (rc || *budget <= 0)
            return -ERESTART;
    }
    return 0;
}

int
page_relinquish_all(struct domain *d)
{
    s32 budget = PAGE_RELINQUISH_BUDGET;
    int rc;

    ASSERT(domain_is_dying(d));
    spin_lock(&d->page_lock);
    if (d->page_claim) {
        (void)atomic_sub_return(&claimed_total, d->page_claim);
        d->page_claim = 0;
    }
    spin_unlock(&d->page_lock);
    rc = relinquish_list(d, true, &budget);
    return rc ? rc : relinquish_list(d, false, &budget);
}
