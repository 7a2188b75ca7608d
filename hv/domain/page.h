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

/* Of page_alloc(): */
#define PAGE_NO_CHARGE 1u /* FRAME_EXTRA: not against page_max */
#define PAGE_RAW       2u /* contents need not be zeroed; the caller writes all of it */

/* 2^@order frames for @d on its list, below 2^@address_bits (0: anywhere); -ENOMEM, -E2BIG over its allowance, -EINVAL if dying. */
int page_alloc(struct domain *d, unsigned order, unsigned address_bits, unsigned flags, mfn_t *ret_mfn);

/* Gives heap frames that are filled already to @d (shared info, dom0's image). */
int page_assign(struct domain *d, mfn_t mfn, unsigned order, unsigned flags);

/* Drops the allocation's own reference (XENMEM_decrease_reservation); false when it was gone. */
bool page_release(struct frame *frame);

/*
 * Takes @frame, which nobody but the allocation refers to, from @d without freeing it: for exchange.  -EBUSY otherwise.
 * The frame returns in state HEAP.
 */
int page_steal(struct domain *d, struct frame *frame);

/* A general reference, if @frame belongs to @d and is not about to be freed. */
bool page_get(struct frame *frame, const struct domain *d);
/* The same, whoever owns it; *@ret_owner without a reference of its own. */
bool page_get_any(struct frame *frame, struct domain **ret_owner);
void page_put(struct frame *frame);

/*
 * A type reference: the frame is made @type (a FRAME_TYPE_* or FRAME_TYPE_WRITABLE) if it is not used as something else.  Page-table types are
 * validated through ops->type_validate.  0; -EINVAL: it is something else, or not valid as a table; -ERESTART: preempted, the frame is left
 * FRAME_TYPE_PARTIAL, and the call is to be repeated; -EBUSY: another CPU has it partial.
 * @preemptible false: validates in one go, for types whose work is bounded (L1, DESC, WRITABLE).
 * The caller holds a general reference.
 */
int page_get_type(struct frame *frame, u64 type, bool preemptible);
int page_put_type(struct frame *frame, bool preemptible);

static inline void
page_put_writable(struct frame *frame)
{
    (void)page_put_type(frame, false); /* cannot fail: no tables below */
    page_put(frame);
}

/* Both references at once; for grants, vcpu_info, guest frames the hypervisor writes. */
int page_get_writable(struct frame *frame, const struct domain *d);

/* Frees all frames of a dying domain, -ERESTART in between. */
int page_relinquish_all(struct domain *d);

/* Where d->page_max is changed; tools' and guests' numbers. */
void page_set_max(struct domain *d, u64 pages);

#endif
