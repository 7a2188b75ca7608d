/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Page table entries of long mode (APM vol. 2, 5.3; SDM vol. 3, 4.5). */
#ifndef SERAI_X86_PTE_H
#define SERAI_X86_PTE_H

#include "base/addr.h"

typedef u64 pte_t;

#define PTE_P     (1ull << 0)
#define PTE_RW    (1ull << 1)
#define PTE_US    (1ull << 2)
#define PTE_PWT   (1ull << 3)
#define PTE_PCD   (1ull << 4)
#define PTE_A     (1ull << 5)
#define PTE_D     (1ull << 6)
#define PTE_PS    (1ull << 7) /* in L2 and L3 */
#define PTE_PAT   (1ull << 7) /* in L1 */
#define PTE_G     (1ull << 8)
#define PTE_AVAIL (7ull << 9)
#define PTE_NX    (1ull << 63)
#define PTE_ADDR  0x000ffffffffff000ull
#define PTE_CACHE (PTE_PWT | PTE_PCD | PTE_PAT)

/* The PAT that Xen's PV ABI fixes: WB WT UC- UC WC WP UC UC, indexed by PAT:PCD:PWT. */
#define PAT_VALUE 0x0000050100070406ull

#define PTE_ENTRIES 512u
#define L1_SHIFT    12
#define L2_SHIFT    21
#define L3_SHIFT    30
#define L4_SHIFT    39

static inline unsigned
pte_index(u64 va, unsigned shift)
{
    return va >> shift & (PTE_ENTRIES - 1);
}

static inline mfn_t
pte_mfn(pte_t pte)
{
    return _mfn((pte & PTE_ADDR) >> PAGE_SHIFT);
}

static inline pte_t
pte_make(mfn_t mfn, u64 flags)
{
    return mfn_x(mfn) << PAGE_SHIFT | flags;
}

static inline bool
va_is_canonical(u64 va)
{
    return (u64)((s64)(va << 16) >> 16) == va;
}

#endif
