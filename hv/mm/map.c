/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames beyond the direct map get a page of the CPU's window, in stack order, so one counter for each CPU is
 * all there is to manage.  Only the CPU itself reads or writes its counter and its window.
 */
#include "base/panic.h"
#include "mm/map.h"
#include "x86/paging.h"
#include "x86/percpu.h"
#include "x86/tlb.h"

static u16 depth[CPU_MAX];

void *
map_frame_beyond(mfn_t mfn)
{
    unsigned page = WINDOW_MAP + depth[cpu_id()]++;
    u64 va = paging_window_va(page);

    ASSERT(page < WINDOW_STUB);
    WRITE_ONCE(paging_window()[page], pte_make(mfn, PTE_P | PTE_RW | PTE_A | PTE_D | PTE_NX));
    return (void *)va;
}

void
unmap_frame_beyond(const void *ptr)
{
    unsigned page = WINDOW_MAP + depth[cpu_id()] - 1;
    u64 va = paging_window_va(page);

    ASSERT(depth[cpu_id()] && va == ((u64)ptr & PAGE_MASK));
    WRITE_ONCE(paging_window()[page], 0);
    tlb_flush_local_va(va);
    depth[cpu_id()]--;
}
