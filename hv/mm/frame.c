/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which frames exist.  Written at boot, read without a lock ever after. */
#include "base/panic.h"
#include "mm/frame.h"

u64 frame_limit;
static u64 groups[FRAME_LIMIT_MAX / FRAME_GROUP / 64]; /* bit n: group n has memory */

static void
set_state(struct frame *frame, u64 state, u16 owner)
{
    frame->count = state;
    frame->type = FRAME_TYPE_NONE;
    frame->owner = owner;
    frame->partial = 0;
    frame->stamp = 0;
    frame->next = frame->prev = FRAME_NONE;
}

static void
group_add(u64 group)
{
    u64 first = group << FRAME_GROUP_SHIFT;

    for (u64 n = first; n < first + FRAME_GROUP; n++) {
        set_state(frame_of(_mfn(n)), FRAME_STATE_BROKEN, DOMID_IO);
        m2p_set(_mfn(n), M2P_INVALID);
    }
    groups[group / 64] |= 1ull << (group % 64);
    frame_limit = MAX(frame_limit, first + FRAME_GROUP);
}

void
frame_table_add(mfn_t start, u64 count)
{
    u64 end = mfn_x(start) + count;

    ASSERT(end <= FRAME_LIMIT_MAX - 1 && end >= mfn_x(start));
    if (!count)
        return;
    for (u64 group = mfn_x(start) >> FRAME_GROUP_SHIFT; group <= (end - 1) >> FRAME_GROUP_SHIFT; group++)
        if (!(groups[group / 64] >> (group % 64) & 1))
            group_add(group);
    for (u64 n = mfn_x(start); n < end; n++)
        set_state(frame_of(_mfn(n)), FRAME_STATE_HEAP, DOMID_INVALID);
}

void
frame_table_fill_hole(struct frame *page)
{
    for (unsigned i = 0; i < PAGE_SIZE / sizeof(*page); i++)
        set_state(&page[i], FRAME_STATE_BROKEN, DOMID_IO);
}
