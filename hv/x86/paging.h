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

struct cpu;
struct memory_range;

/* Boot: the whole of memory gets its tables; @image is where this image was loaded. */
void paging_init(const struct memory_range *ranges, unsigned count, maddr_t image);
/* Where the image was loaded (machine address); boot/main.c. */
u64 image_base(void);
/* Boot: from now on tables come from the frame allocator. */
void paging_allocator_ready(void);
/* A page of zeroes, for windows whose owner has set nothing. */
mfn_t paging_zero_mfn(void);
/* Boot: makes the window of @cpu, its GDT's zeroed pages included.  False when memory is short. */
bool paging_window_init(struct cpu *cpu);
/* The page of @cpu's window with its SYSCALL stub: executable at *@ret_va, written through the result. */
void *paging_stub_page(struct cpu *cpu, u64 *ret_va);

/*
 * Boot: pages for tables and the like, taken before there is an allocator.
 * boot_reserve() says what must not be taken (bytes); boot_alloc() never fails,
 * it panics; boot_release_rest() gives all that is left to the frame allocator.
 */
void boot_reserve(u64 start, u64 end);
void *boot_alloc(u64 pages, u64 align_pages);
void boot_release_rest(void);
/* Boot is over: the image's read-only parts become so, its init part is given to the allocator. */
void paging_seal(void);

/* The L1 table of this CPU's window (memory-map.h); the writer flushes what it replaces. */
pte_t *paging_window(void);
u64 paging_window_va(unsigned page);

/*
 * The translation of @va by the tables at @l4, as the CPU would find it: the leaf entry in *@ret_pte and
 * its level (1, 2 or 3) as the result, 0 when not present.  Reads only.
 */
unsigned paging_walk(mfn_t l4, u64 va, pte_t *ret_pte);

#endif
