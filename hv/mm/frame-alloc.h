/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The buddy allocator of machine frames. */
#ifndef SERAI_MM_FRAME_ALLOC_H
#define SERAI_MM_FRAME_ALLOC_H

#include "mm/frame.h"

#define FRAME_ORDER_MAX 18u /* 1 GiB */

/* Gives the range to the allocator at boot; the frames need a mapped struct frame. */
void frame_alloc_add(mfn_t start, u64 count);

/*
 * 2^@order frames, naturally aligned, below 2^@address_bits (0: anywhere), in state HEAP.  Contents: zeroed
 * (what another domain freed is scrubbed before it is handed out).  TLBs: stale translations are flushed before return.
 * MFN_INVALID when there are none.
 */
mfn_t frame_alloc(unsigned order, unsigned address_bits);

/* The same, uninitialised contents, for callers that write every byte at once. */
mfn_t frame_alloc_raw(unsigned order, unsigned address_bits);

/* Frees; @dirty: the contents belonged to a guest and must not be seen by the next owner. */
void frame_free(mfn_t mfn, unsigned order, bool dirty);

/* Frames that are free; those of domains' claims included. */
u64 frame_free_count(void);
u64 frame_total_count(void);
/* Frames waiting to be scrubbed; scrubs up to @count of them (idle loop).  True while there is more. */
bool frame_scrub(unsigned count);

/* Pages for the hypervisor's own use, in the direct map. */
void *page_alloc_hv(void); /* zeroed; NULL when memory is short */
void page_free_hv(void *page);

#endif
