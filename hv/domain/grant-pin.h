/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pins on active entries; the model is at the top of grant.c.  Inline, since mapping and unmapping one page
 * is little more than this.
 */
#ifndef SERAI_DOMAIN_GRANT_PIN_H
#define SERAI_DOMAIN_GRANT_PIN_H

#include "domain/grant-private.h"
#include "domain/page.h"

/* Times we try to move a shared entry on while its owner changes it under our hands. */
#define UNSTABLE_RETRIES 5

static inline void
grant_put_frame(struct frame *frame, bool writable, unsigned refs)
{
    while (refs--) {
        if (writable)
            page_put_writable(frame);
        else
            page_put(frame);
    }
}

static inline unsigned
grant_get_frame(struct frame *frame, struct domain *owner, bool writable, unsigned refs)
{
    unsigned got = 0;

    do {
        if (writable ? page_get_writable(frame, owner) != 0 : !page_get(frame, owner))
            break;
    } while (++got < refs);
    return got;
}

/*
 * Marks the shared entry as in use.  A first use must find it granted to @to; a later one goes by what the
 * first found, and only asks whether writing is still allowed.
 */
static inline int
mark_shared(struct grant_entry_v1 *shared, u16 to, bool writable, bool for_copy, bool first)
{
    u32 *word = (u32 *)shared; /* flags below, domid above */
    u32 mask = for_copy ? GTF_type_mask : GTF_type_mask | GTF_sub_page;
    u32 old = READ_ONCE(*word);

    for (unsigned i = 0; i < UNSTABLE_RETRIES; i++) { /* mostly once */
        if (first && ((old & mask) != GTF_permit_access || old >> 16 != to))
            return GNTST_general_error;
        if (writable && (old & GTF_readonly))
            return GNTST_general_error;
        if (atomic_cmpxchg(word, &old, old | GTF_reading | (writable ? GTF_writing : 0)))
            return GNTST_okay;
    }
    return GNTST_general_error;
}

/* The reverse: clears what the pins that remain do not need. */
static inline void
unmark_shared(struct grant_entry_v1 *shared, const struct grant_active *active)
{
    u16 clear = 0;

    if (!active->write_pins)
        clear = active->read_pins ? GTF_writing : GTF_writing | GTF_reading;
    if (clear)
        atomic_and(&shared->flags, (u16)~clear);
}

/*
 * Takes pins on @ref for the domain @to, and @refs references to the frame, each with a type reference when
 * @writable. GNTST_*; what it fails to take it leaves.  A grant of a dying domain, or of a frame it does
 * not own, is refused.
 */
static inline int
grant_pin(struct domain *granter, u32 ref, u16 to, bool writable, bool for_copy, unsigned refs,
          struct frame **ret_frame)
{
    struct grant_table *gt = granter->grants;
    u32 entries = atomic_read_acquire(&gt->entries);
    struct grant_active *active;
    struct grant_entry_v1 *shared;
    struct frame *frame;
    unsigned got = 0;
    bool first;
    u32 number;
    int status;

    if (unlikely(ref >= entries))
        return GNTST_bad_gntref;
    ref = index_nospec(ref, entries);
    shared = shared_entry(gt, ref);
    active = active_entry(gt, ref);

    spin_lock(&active->lock);
    first = !(active->read_pins | active->write_pins);
    status = GNTST_general_error;
    if (unlikely(domain_is_dying(granter)))
        goto unlock;
    if (unlikely(!first && (active->domid != to || active->read_pins + active->write_pins > (int)PINS_MAX)))
        goto unlock;
    if (first || (writable && !active->write_pins)) {
        status = mark_shared(shared, to, writable, for_copy, first);
        if (unlikely(status != GNTST_okay))
            goto unlock;
    }

    /* The granter wrote the frame before the flags, so it is read after them; once. */
    number = first ? READ_ONCE(shared->frame) : active->frame;
    frame = frame_find(_mfn(number));
    if (likely(frame))
        got = grant_get_frame(frame, granter, writable, refs);
    if (unlikely(got != refs)) {
        grant_put_frame(frame, writable, got);
        unmark_shared(shared, active);
        status = GNTST_general_error;
        goto unlock;
    }

    if (first) {
        active->frame = number;
        active->domid = to;
    }
    if (writable)
        active->write_pins += refs;
    else
        active->read_pins += refs;
    *ret_frame = frame;
    status = GNTST_okay;

unlock:
    spin_unlock(&active->lock);
    return status;
}

/*
 * Pins are compared before they are taken off: a count that wrapped would free a frame that is still
 * mapped.
 */
static inline void
grant_unpin(struct domain *granter, u32 ref, u16 by, bool writable, unsigned pins)
{
    struct grant_table *gt = granter->grants;
    u32 entries = atomic_read_acquire(&gt->entries);
    struct grant_active *active;
    u16 *held;

    if (unlikely(ref >= entries))
        return;
    ref = index_nospec(ref, entries);
    active = active_entry(gt, ref);
    held = writable ? &active->write_pins : &active->read_pins;

    spin_lock(&active->lock);
    if (likely(*held >= pins && active->domid == by)) {
        *held -= pins;
        unmark_shared(shared_entry(gt, ref), active);
    }
    spin_unlock(&active->lock);
}

#endif
