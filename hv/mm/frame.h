/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * struct frame: one for each page of memory, 32 bytes, in a table at FRAME_TABLE_START.
 *
 * A frame is in one of four states, kept in FRAME_STATE of count:
 *
 *   FREE      in the buddy allocator; order and flush stamp are valid
 *   HEAP      the hypervisor's own; nobody counts it
 *   DOMAIN    owned by the domain @owner, with general references (count) and type references (type);
 *             domain/page.c and domain/page-type.c are the only writers
 *   BROKEN    a machine check or the command line took it out of use
 *
 * Frames that are not memory (device registers) may have no struct frame: frame_valid() first.
 */
#ifndef SERAI_MM_FRAME_H
#define SERAI_MM_FRAME_H

#include "abi/xen.h"
#include "base/addr.h"
#include "x86/memory-map.h"

struct frame {
    u64 count;      /* FRAME_* below; (a) */
    u64 type;       /* FRAME_TYPE_* below; (a) */
    u16 owner;      /* domid; DOMID_INVALID while not in state DOMAIN */
    u16 partial;    /* page tables: entries validated so far (FRAME_TYPE_PARTIAL) */
    u32 stamp;      /* TLB clock when the last translation of the wrong kind may have gone */
    u32 next, prev; /* neighbours in the owner's list or the free list, by frame number; FRAME_NONE ends */
};
static_assert(sizeof(struct frame) == 32, "the frame table costs at most 32 bytes a page");

#define FRAME_NONE 0xffffffffu

/* count: the general reference count in the low bits, flags above. */
#define FRAME_COUNT_MASK   ((1ull << 56) - 1)
#define FRAME_ALLOCATED    (1ull << 63) /* holds the reference that the owner's list stands for */
#define FRAME_EXTRA        (1ull << 62) /* not part of the owner's allowance: shared info, grant frames */
#define FRAME_STATE        (3ull << 60)
#define FRAME_STATE_FREE   (0ull << 60)
#define FRAME_STATE_HEAP   (1ull << 60)
#define FRAME_STATE_DOMAIN (2ull << 60)
#define FRAME_STATE_BROKEN (3ull << 60)
#define FRAME_RELINQUISHED (1ull << 56) /* its dying owner has given up what it held of it */
#define FRAME_UNCACHED \
    (1ull << 57) /* was mapped writable past the caches; they are flushed before it becomes anything else */

/* type: what the frame may be used for while type references exist; see domain/page-type.c. */
#define FRAME_TYPE_SHIFT     60
#define FRAME_TYPE           (0xfull << 60)
#define FRAME_TYPE_NONE      (0ull << 60)
#define FRAME_TYPE_L1        (1ull << 60)
#define FRAME_TYPE_L2        (2ull << 60)
#define FRAME_TYPE_L3        (3ull << 60)
#define FRAME_TYPE_L4        (4ull << 60)
#define FRAME_TYPE_DESC      (5ull << 60) /* a page of a GDT or LDT */
#define FRAME_TYPE_WRITABLE  (7ull << 60)
#define FRAME_TYPE_VALIDATED (1ull << 59)
#define FRAME_TYPE_PINNED    (1ull << 58)
#define FRAME_TYPE_PARTIAL   (1ull << 57) /* validated up to frame->partial, or devalidated down to it */
#define FRAME_TYPE_FAILED    (1ull << 56) /* partial, and on its way back: an entry was refused */
#define FRAME_TYPE_COUNT     ((1ull << 40) - 1)

/*
 * The table is mapped in groups of 2^16 frames: 256 MiB of memory, one 2 MiB page of the frame table, 512 KiB
 * of the M2P.  A group that has any memory has its own part of the table.  All others below frame_limit share
 * one page, not writable.  Frames that are not memory, in either kind of group, are BROKEN and owned by
 * DOMID_IO; so every number below frame_limit has a struct frame that tells.
 */
#define FRAME_GROUP_SHIFT 16
#define FRAME_GROUP       (1ull << FRAME_GROUP_SHIFT)
#define FRAME_LIMIT_MAX   (1ull << 32) /* 16 TiB: the lists link frames by 32-bit numbers */

extern u64 frame_limit; /* one past the highest frame number that has a struct frame */

/*
 * Says that [@start, @start + @count) is memory; it comes in state HEAP.  The caller has mapped the frame
 * table and the M2P for every group that the range touches, and the page of holes for those below it.  Boot
 * only.
 */
void frame_table_add(mfn_t start, u64 count);
/* Fills the page that stands in for groups without memory. */
void frame_table_fill_hole(struct frame *page);

static inline struct frame *
frame_of(mfn_t mfn)
{
    return (struct frame *)FRAME_TABLE_START + mfn_x(mfn);
}

static inline mfn_t
frame_mfn(const struct frame *frame)
{
    return _mfn((u64)(frame - (struct frame *)FRAME_TABLE_START));
}

/*
 * The struct frame of any number that a guest can write, or NULL; speculation gets no further than the table.
 */
static inline struct frame *
frame_find(mfn_t mfn)
{
    u64 n = mfn_x(mfn);

    if (unlikely(n >= frame_limit))
        return NULL;
    return frame_of(_mfn(index_nospec(n, frame_limit)));
}

/* Whether a frame with a struct frame is memory at all; the rest are holes, firmware and devices. */
static inline bool
frame_is_memory(const struct frame *frame)
{
    return READ_ONCE(frame->owner) != DOMID_IO;
}

/* Whether @mfn is memory.  Any number a guest can write may be asked. */
static inline bool
frame_valid(mfn_t mfn)
{
    const struct frame *frame = frame_find(mfn);

    return frame && frame_is_memory(frame);
}

/* The machine-to-physical table: the guest's own number for @mfn, as the guest set it. */
#define M2P_INVALID (~0ull)
static inline u64
m2p_get(mfn_t mfn)
{
    return ((const u64 *)M2P_RW_START)[mfn_x(mfn)]; /* the guests' view is a user page: SMAP */
}

static inline void
m2p_set(mfn_t mfn, u64 pfn)
{
    ((u64 *)M2P_RW_START)[mfn_x(mfn)] = pfn;
}

#endif
