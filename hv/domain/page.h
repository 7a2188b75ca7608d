/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames owned by domains: allocation, references, types.
 *
 * General references say that the frame must not go away; type references say what it is used as.
 * page_put() of the last reference frees the frame (scrubbed before anyone else sees it) and its charge.
 */
#ifndef SERAI_DOMAIN_PAGE_H
#define SERAI_DOMAIN_PAGE_H

#include "domain/domain.h"
#include "x86/tlb.h"

/* Of page_alloc(): */
#define PAGE_NO_CHARGE 1u /* FRAME_EXTRA: not against page_max */
#define PAGE_RAW       2u /* contents need not be zeroed; the caller writes all of it */

/*
 * 2^@order frames for @d on its list, below 2^@address_bits (0: anywhere); -ENOMEM, -E2BIG over its
 * allowance, -EINVAL if dying.
 */
int page_alloc(struct domain *d, unsigned order, unsigned address_bits, unsigned flags, mfn_t *ret_mfn);

/* Gives heap frames that are filled already to @d (shared info, dom0's image). */
int page_assign(struct domain *d, mfn_t mfn, unsigned order, unsigned flags);

/* Drops the allocation's own reference (XENMEM_decrease_reservation); false when it was gone. */
bool page_release(struct frame *frame);

/*
 * Takes @frame, which nobody but the allocation refers to, from @d without freeing it: for exchange.  -EBUSY
 * otherwise. The frame returns in state HEAP.
 */
int page_steal(struct domain *d, struct frame *frame);

void page_destroy(struct frame *frame, u64 count);

static inline void
page_put(struct frame *frame)
{
    u64 count = atomic_sub_return(&frame->count, 1);

    if (unlikely(!(count & FRAME_COUNT_MASK)))
        page_destroy(frame, count);
}

/* A general reference, if @frame belongs to domain number @owner and is not about to be freed. */
static inline bool
page_get_of(struct frame *frame, u16 owner)
{
    u64 old = atomic_read(&frame->count);

    do {
        /* In no other state than DOMAIN is the count anything but 0. */
        if (unlikely(!(old & FRAME_COUNT_MASK) || READ_ONCE(frame->owner) != owner))
            return false;
    } while (unlikely(!atomic_cmpxchg(&frame->count, &old, old + 1)));
    /* It may have changed hands before the count held it. */
    if (unlikely(READ_ONCE(frame->owner) != owner)) {
        page_put(frame);
        return false;
    }
    return true;
}

static inline bool
page_get(struct frame *frame, const struct domain *d)
{
    return page_get_of(frame, d->id);
}

/* The same, whoever owns it; *@ret_owner without a reference of its own. */
bool page_get_any(struct frame *frame, struct domain **ret_owner);

/*
 * Hypervisor frames (state HEAP) that privileged domains may map, read-only, as DOMID_XEN's: the M2P.  For
 * ever.
 */
void page_share_hypervisor(mfn_t start, u64 count);

/*
 * A type reference: the frame is made @type (FRAME_TYPE_*) if it is not used as something else.  The caller
 * holds a general reference and, for all types but WRITABLE, the owner's page_table_lock.
 *
 *   0           it is ours; to be given back with page_put_type()
 *   -EINVAL     it is something else, or cannot be such a table, or someone takes it apart just now
 *   -ERESTART   preempted (types L2 to L4 only): no reference is held, but the frame keeps what was done so
 *               far; to be repeated.  The work is counted against d->type_budget.
 */
int page_get_type_slow(struct frame *frame, u64 type);

static inline int
page_get_type(struct frame *frame, u64 type)
{
    u64 old = atomic_read(&frame->type);

    while (likely((old & (FRAME_TYPE | FRAME_TYPE_VALIDATED)) == (type | FRAME_TYPE_VALIDATED)))
        if (likely(atomic_cmpxchg(&frame->type, &old, old + 1)))
            return 0;
    return page_get_type_slow(frame, type);
}

/*
 * Gives a type reference back.  -ERESTART (types L2 to L4 only): the reference is still held, the frame is
 * partly taken apart; to be repeated by the same holder.
 */
int page_put_type_slow(struct frame *frame);

/*
 * Notes when the last translation of the wrong kind went: before the count falls, since the next user may
 * look at it at once, and after the page table entry that went with it is seen to have gone everywhere.
 */
static inline void
page_stamp(struct frame *frame)
{
    smp_mb();
    WRITE_ONCE(frame->stamp, tlb_clock());
}

static inline int
page_put_type(struct frame *frame)
{
    u64 old = atomic_read(&frame->type), last = FRAME_TYPE_WRITABLE | FRAME_TYPE_VALIDATED | 1;

    if (old == last)
        page_stamp(frame);
    else if (unlikely((old & FRAME_TYPE_COUNT) <= 1))
        return page_put_type_slow(frame);
    if (likely(atomic_cmpxchg(&frame->type, &old, old - 1)))
        return 0;
    return page_put_type_slow(frame);
}

/* Undoes what a page_get_type() that was never repeated left; under page_table_lock; -ERESTART. */
int page_drop_partial(struct frame *frame);

/*
 * What the domain may have in all, set aside now (XENMEM_claim_pages); 0 ends the claim.  -ENOMEM, -EINVAL.
 */
int page_claim(struct domain *d, u64 pages);
u64 page_claimed_total(void);

/* Units of work in one call of page_relinquish_all(). */
#define PAGE_RELINQUISH_BUDGET 2048

static inline void
page_put_writable(struct frame *frame)
{
    (void)page_put_type(frame); /* cannot fail: no tables below */
    page_put(frame);
}

/* Both references at once; for grants, vcpu_info, guest frames the hypervisor writes. */
int page_get_writable(struct frame *frame, const struct domain *d);

/* Frees all frames of a dying domain, -ERESTART in between. */
int page_relinquish_all(struct domain *d);

/* Where d->page_max is changed; tools' and guests' numbers. */
void page_set_max(struct domain *d, u64 pages);

#endif
