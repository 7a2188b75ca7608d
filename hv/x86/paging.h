/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The hypervisor's own page tables: slots 256 to 271, shared by all address spaces. */
#ifndef SERAI_X86_PAGING_H
#define SERAI_X86_PAGING_H

#include "x86/pte.h"

/* Writes slots 256 to 271 into an L4 table that a CPU may load. */
void paging_fill_l4(pte_t *l4);

/* The page table that has nothing but the hypervisor (idle vCPUs, dying domains). */
mfn_t paging_idle_l4(void);

/* Maps @pages pages at @va in the hypervisor's slots; allocates tables; -ENOMEM leaves what was mapped. */
int paging_map(u64 va, maddr_t maddr, u64 pages, u64 flags);
void paging_unmap(u64 va, u64 pages);

/* A device's registers, uncached; never unmapped.  NULL when memory is short. */
void *paging_map_device(maddr_t maddr, u64 size);

/* The L1 table of this CPU's window (memory-map.h); the writer flushes what it replaces. */
pte_t *paging_window(void);
u64 paging_window_va(unsigned page);

/*
 * The translation of @va by the tables at @l4, as the CPU would find it: the leaf entry in *@ret_pte and
 * its level (1, 2 or 3) as the result, 0 when not present.  Reads only.
 */
unsigned paging_walk(mfn_t l4, u64 va, pte_t *ret_pte);

#endif
