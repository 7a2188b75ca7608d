/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The buddy allocator of machine frames. */
#ifndef SERAI_MM_FRAME_ALLOC_H
#define SERAI_MM_FRAME_ALLOC_H

#include "mm/frame.h"

#define FRAME_ORDER_MAX 18u /* 1 GiB */

/*
 * Gives the range to the allocator at boot; it was passed to frame_table_add() before.  Its contents are
 * scrubbed before they are handed out.  Frame 0 is left out: it belongs to no buddy.
 */
void frame_alloc_add(mfn_t start, u64 count);

/*
 * 2^@order frames, naturally aligned, below 2^@address_bits (0: anywhere), in state HEAP.  Contents: zeroed.
 * TLBs: no CPU has a translation to them left.  MFN_INVALID when there are none.
 */
mfn_t frame_alloc(unsigned order, unsigned address_bits);

/* The same, contents unknown, for callers that write every byte at once. */
mfn_t frame_alloc_raw(unsigned order, unsigned address_bits);

/*
 * Frees 2^@order frames, which need not have been allocated together.  They are scrubbed before they are seen
 * again.  frame->stamp of each says when its last translation may have gone (0: it never had one of a
 * guest's).
 */
void frame_free(mfn_t mfn, unsigned order);
void frame_free_range(mfn_t start, u64 count);

/* Frames that are free, scrubbed or not; those of domains' claims included. */
u64 frame_free_count(void);
/* All that were ever given to the allocator. */
u64 frame_total_count(void);
/* Frames waiting to be scrubbed. */
u64 frame_dirty_count(void);
/* Scrubs up to @count of them, rounded up to a block (idle loop).  True while there is more to do. */
bool frame_scrub(unsigned count);
/* Frames that are scrubbed at boot: 16 MiB. */
#define FRAME_RESERVE 4096u

/* Frames below this number lie in the direct map; the hypervisor's own pages come from there. */
#define DIRECT_ADDRESS_BITS 42u

/* Pages for the hypervisor's own use, in the direct map. */
void *page_alloc_hv(void); /* zeroed; NULL when memory is short */
void page_free_hv(void *page);

#endif
