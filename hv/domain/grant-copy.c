/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copies between frames of the caller and frames granted to it, without mapping.
 *
 * Each end holds, while it is set up, a reference to its frame (a writable one at the destination) and,
 * when it was found by a grant, a pin.  Network backends copy many small pieces from or to one frame in a
 * row, so an end stays set up until an operation of the batch needs another.
 */
#include "domain/grant-pin.h"
#include "base/string.h"
#include "mm/map.h"

static void
end_release(struct grant_copy_end *end)
{
    if (!end->domain)
        return;
    grant_put_frame(end->frame, end->writable, 1);
    if (end->by_ref)
        grant_unpin(end->domain, (u32)end->source, current->domain->id, end->writable, 1);
    end->domain = NULL;
}

/* The caller's own frame; only of itself may a domain speak by frame number. */
static int
end_by_frame(struct grant_copy_end *end, u64 number, u16 domid)
{
    struct domain *d = current->domain;
    struct frame *frame;

    if (domid != DOMID_SELF)
        return GNTST_permission_denied;
    frame = frame_find(_mfn(number));
    if (!frame)
        return GNTST_general_error;
    if (end->writable ? page_get_writable(frame, d) != 0 : !page_get(frame, d))
        return GNTST_general_error;
    end->frame = frame;
    end->domain = d;
    return GNTST_okay;
}

static int
end_by_ref(struct grant_copy_end *end, u32 ref, u16 domid)
{
    struct domain *granter;
    int status;

    if (domain_find_or_self(domid, &granter) || !granter->grants)
        return GNTST_bad_domain;
    status = grant_pin(granter, ref, current->domain->id, end->writable, true, 1, &end->frame);
    if (status == GNTST_okay)
        end->domain = granter;
    return status;
}

static int
end_set(struct grant_copy_end *end, const struct gnttab_copy_ptr *ptr, bool by_ref, bool writable)
{
    u64 source = by_ref ? ptr->u.ref : ptr->u.gmfn;

    if (end->domain && end->by_ref == by_ref && end->source == source && end->domid == ptr->domid)
        return GNTST_okay;

    end_release(end);
    end->by_ref = by_ref;
    end->writable = writable;
    end->source = source;
    end->domid = ptr->domid;
    return by_ref ? end_by_ref(end, ptr->u.ref, ptr->domid) : end_by_frame(end, ptr->u.gmfn, ptr->domid);
}

int
grant_copy(const struct gnttab_copy *op, struct grant_copy_state *state)
{
    char *from, *to;
    int status;

    if ((u32)op->source.offset + op->len > PAGE_SIZE || (u32)op->dest.offset + op->len > PAGE_SIZE)
        return GNTST_bad_copy_arg;

    status = end_set(&state->from, &op->source, op->flags & GNTCOPY_source_gref, false);
    if (unlikely(status != GNTST_okay))
        return status;
    status = end_set(&state->to, &op->dest, op->flags & GNTCOPY_dest_gref, true);
    if (unlikely(status != GNTST_okay))
        return status;

    from = map_frame(frame_mfn(state->from.frame));
    to = map_frame(frame_mfn(state->to.frame));
    memmove(to + op->dest.offset, from + op->source.offset, op->len);
    unmap_frame(to);
    unmap_frame(from);
    return GNTST_okay;
}

void
grant_copy_finish(struct grant_copy_state *state)
{
    end_release(&state->from);
    end_release(&state->to);
}
