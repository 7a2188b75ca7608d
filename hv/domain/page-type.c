/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a frame is used as.  This file is the only writer of frame->type of a domain's frames (but for the
 * PINNED flag).
 *
 * A frame has one type and a count of the references that rely on it.  The type can change only while nobody
 * relies on it, so a page that some CPU may walk as a page table is never mapped writable, and the other way
 * round:
 *
 *      held as       may be got as WRITABLE    as table T       as table U
 *      nothing       yes, after a flush        yes, validated   yes, validated
 *      WRITABLE      yes                       no               no
 *      table T       no                        yes              no
 *
 * "After a flush": when the last reference goes, the TLB clock is noted; before the frame becomes anything
 * else, each CPU that ran its owner and has not flushed since does so.
 *
 * A table is valid as long as it is held.  It becomes so entry by entry, each entry taking the references
 * that it stands for (domain_ops.type_validate), and ends entry by entry (type_devalidate).  Both can stop
 * half way; frame->partial then counts the entries, from the first on, that hold their references:
 *
 *      VALIDATED  PARTIAL  FAILED  count   meaning
 *          0         0        0      0     free to become anything
 *          1         0        0     >0     in use.  (WRITABLE stays VALIDATED at 0: the next to map it
 *                                          need not flush)
 *          0         0        0      1     between two steps of one CPU.  WRITABLE: that CPU is
 *                                          flushing, others wait
 *          0         1        0      0     begun, then preempted.  The frame holds a general reference to
 *                                          itself, so that it cannot be freed; the next page_get_type() of
 *                                          the same type goes on, page_drop_partial() undoes it
 *          0         1        1      0     as above, but an entry was refused and what was begun is being
 *                                          undone; the next page_get_type() of the same type goes on with
 *                                          that and then says -EINVAL
 *          0         1        0      1     the last holder's page_put_type() was preempted; it holds its
 *                                          reference still and repeats the call.  Nobody else can get the
 *                                          frame meanwhile
 *
 * All else cannot be: a table is never VALIDATED at 0, since then it is taken apart at once; never PARTIAL
 * with count > 1, since only a sole holder makes it so.
 *
 * Locks: the owner's page_table_lock for everything that concerns tables.  WRITABLE references come and go
 * without a lock, by compare and exchange; against them a table type holds its own by having a count, or
 * PARTIAL.  DESC references may be given back without it, for the context switch does.
 */
#include "base/panic.h"
#include "domain/page.h"
#include "x86/pte.h"
#include "base/spinlock.h"
#include "x86/tlb.h"

static bool
is_table(u64 type)
{
    return (type & FRAME_TYPE) != FRAME_TYPE_WRITABLE;
}

/* Whether the type goes without a step: a table of descriptors refers to nothing. */
static bool
is_leaf(u64 type)
{
    return (type & FRAME_TYPE) >= FRAME_TYPE_DESC;
}

/*
 * Sets state and count of a table that this CPU is working on.  Nobody else writes it: others' attempts see
 * that it is in use.
 */
static void
set_table(struct frame *frame, u64 type, u64 flags, u64 count)
{
    u64 pinned = atomic_read(&frame->type) & FRAME_TYPE_PINNED;

    atomic_set_release(&frame->type, (type & FRAME_TYPE) | flags | pinned | count);
}

/* The end of a table: from here on the frame may become something else. */
static void
set_free(struct frame *frame, u64 type)
{
    frame->partial = 0;
    page_stamp(frame);
    set_table(frame, type, 0, 0);
}

/* Takes apart what frame->partial counts; the count was 1 and stays so until the end. */
static int
undo(struct domain *d, struct frame *frame, u64 type)
{
    int rc = d->ops->type_devalidate(d, frame, type);

    if (!rc)
        set_free(frame, type);
    return rc;
}

/*
 * Goes on with a table that has count 1 and no other flag, from frame->partial on.  @kept: the frame holds a
 * reference to itself from an earlier part.
 */
static int
make_table(struct domain *d, struct frame *frame, u64 type, bool kept, bool failed)
{
    int rc = failed ? -EINVAL : d->ops->type_validate(d, frame, type);

    if (!rc) {
        frame->partial = 0;
        set_table(frame, type, FRAME_TYPE_VALIDATED, 1);
    } else {
        if (rc != -ERESTART) {
            failed = true;
            rc = undo(d, frame, type);
        }
        if (rc == -ERESTART) {
            if (!kept)
                atomic_inc(&frame->count); /* the caller's own keeps it from being 0 */
            set_table(frame, type, FRAME_TYPE_PARTIAL | (failed ? FRAME_TYPE_FAILED : 0), 0);
            return -ERESTART;
        }
        rc = -EINVAL;
    }
    if (kept)
        page_put(frame);
    return rc;
}

int
page_get_type_slow(struct frame *frame, u64 type)
{
    u64 old = atomic_read(&frame->type), new;
    struct domain *d;

    do {
        bool same = (old & FRAME_TYPE) == type, in_use = old & (FRAME_TYPE_COUNT | FRAME_TYPE_PARTIAL);

        new = type | 1;
        if (same && (old & FRAME_TYPE_VALIDATED)) {
            new = old + 1;
        } else if (!in_use) {
            if (type == FRAME_TYPE_WRITABLE && (old & FRAME_TYPE) == FRAME_TYPE_NONE)
                new |= FRAME_TYPE_VALIDATED;
        } else if (!same) {
            return -EINVAL;
        } else if (type == FRAME_TYPE_WRITABLE) {
            cpu_relax_poll(); /* another CPU is flushing for it */
            old = atomic_read(&frame->type);
            continue;
        } else if (!(old & FRAME_TYPE_PARTIAL) || (old & FRAME_TYPE_COUNT)) {
            return -EINVAL;
        }
        if (atomic_cmpxchg(&frame->type, &old, new))
            break;
    } while (true);
    if (new &FRAME_TYPE_VALIDATED)
        return 0;

    d = domain_find(frame->owner);
    if ((old & FRAME_TYPE) != type && (old & FRAME_TYPE) != FRAME_TYPE_NONE)
        tlb_flush_stale(&d->dirty_cpus, frame->stamp);
    /* What the caches hold and what memory holds may differ, and a table is checked through the caches. */
    if (unlikely(is_table(type) && atomic_read(&frame->count) & FRAME_UNCACHED)) {
        atomic_and(&frame->count, ~FRAME_UNCACHED);
        cache_flush_mask(&cpu_online);
    }
    if (is_table(type))
        return make_table(d, frame, type, old & FRAME_TYPE_PARTIAL, old & FRAME_TYPE_FAILED);
    atomic_or(&frame->type, FRAME_TYPE_VALIDATED);
    return 0;
}

/* The last reference to a table goes. */
static int __attribute__((noinline)) put_table(struct frame *frame, u64 old)
{
    struct domain *d = domain_find(frame->owner);
    int rc;

    if (!(old & FRAME_TYPE_PARTIAL))
        frame->partial = PTE_ENTRIES;
    set_table(frame, old, 0, 1);
    rc = undo(d, frame, old);
    if (rc)
        set_table(frame, old, FRAME_TYPE_PARTIAL, 1);
    return rc;
}

int
page_put_type_slow(struct frame *frame)
{
    u64 old = atomic_read(&frame->type), new;

    do {
        ASSERT(old & FRAME_TYPE_COUNT);
        new = old - 1;
        if (unlikely((old & FRAME_TYPE_COUNT) == 1)) {
            if (!is_leaf(old))
                return put_table(frame, old);
            page_stamp(frame);
            if (is_table(old))
                new &= ~FRAME_TYPE_VALIDATED;
        }
    } while (unlikely(!atomic_cmpxchg(&frame->type, &old, new)));
    return 0;
}

int
page_drop_partial(struct frame *frame)
{
    u64 old = atomic_read(&frame->type);
    int rc;

    if (!(old & FRAME_TYPE_PARTIAL) || (old & FRAME_TYPE_COUNT))
        return 0;
    set_table(frame, old, 0, 1);
    rc = undo(domain_find(frame->owner), frame, old);
    if (rc) {
        set_table(frame, old, FRAME_TYPE_PARTIAL | FRAME_TYPE_FAILED, 0);
        return rc;
    }
    page_put(frame);
    return 0;
}
