/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Translation caches of all CPUs.
 *
 * The TLB clock ticks at each full flush of a CPU.  A frame that loses its last
 * translation is stamped with the clock; before it serves anything where an old
 * translation could harm, tlb_flush_stale() flushes just the CPUs of a set whose last full
 * flush is older than the stamp.  The clock is 32 bits; at its wrap all CPUs are flushed.
 */
#ifndef SERAI_X86_TLB_H
#define SERAI_X86_TLB_H

#include "base/cpumask.h"

extern u32 tlb_clock_now; /* (a) ticked by tlb.c alone */

static inline u32
tlb_clock(void)
{
    return atomic_read(&tlb_clock_now);
}

void tlb_answer(void); /* VECTOR_FLUSH: does what other CPUs asked of this one */
void tlb_flush_local(void);
void tlb_flush_local_va(u64 va);

/* Returns once each online CPU of @mask has flushed (all, or the page at @va).  The caller may hold locks. */
void tlb_flush_mask(const cpumask_t *mask);
void tlb_flush_mask_va(const cpumask_t *mask, u64 va);

/* Flushes the CPUs of @mask that have not flushed since the clock stood at @stamp. */
void tlb_flush_stale(const cpumask_t *mask, u32 stamp);

/* Write back and invalidate the caches of all CPUs of @mask (MMUEXT_FLUSH_CACHE). */
void cache_flush_mask(const cpumask_t *mask);

#endif
