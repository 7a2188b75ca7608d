/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The hypervisor's slots hold recognisable marks; guest tables are walked in pretend memory. */
#include "x86/ldt.h"
#include "x86/paging.h"
#include "mm/frame.h"
#include "x86/percpu.h"
#include "fake.h"
#include "fake-private.h"

#include <string.h>

#define FAKE_SLOT_MARK 0x5e4a100000000001ull

static pte_t windows[FAKE_CPU_MAX][WINDOW_PAGES];

void
fake_reset_paging(void)
{
    memset(windows, 0, sizeof(windows));
}

FAKE void
paging_fill_l4(pte_t *l4)
{
    for (unsigned i = HYPERVISOR_FIRST_L4_SLOT; i <= HYPERVISOR_LAST_L4_SLOT; i++)
        l4[i] = FAKE_SLOT_MARK + i * 2;
}

FAKE mfn_t
paging_idle_l4(void)
{
    return _mfn(0);
}

FAKE mfn_t
paging_zero_mfn(void)
{
    return _mfn(0);
}

FAKE void
ldt_load(u32 entries)
{
}

FAKE int
paging_map(u64 va, maddr_t maddr, u64 pages, u64 flags)
{
    (void)va, (void)maddr, (void)pages, (void)flags;
    return 0;
}

FAKE void
paging_unmap(u64 va, u64 pages)
{
    (void)va, (void)pages;
}

FAKE void *
paging_map_device(maddr_t maddr, u64 size)
{
    (void)maddr, (void)size;
    return NULL;
}

FAKE pte_t *
paging_window(void)
{
    return windows[cpu_id()];
}

FAKE u64
paging_window_va(unsigned page)
{
    return WINDOW_START + cpu_id() * WINDOW_CPU_SIZE + page * PAGE_SIZE;
}

FAKE unsigned
paging_walk(mfn_t l4, u64 va, pte_t *ret_pte)
{
    mfn_t table = l4;

    for (unsigned level = 4; level; level--) {
        unsigned shift = L1_SHIFT + 9 * (level - 1);
        pte_t pte;

        if (mfn_x(table) >= frame_limit)
            return 0;
        pte = ((pte_t *)direct_ptr(mfn_to_maddr(table)))[pte_index(va, shift)];
        if (!(pte & PTE_P))
            return 0;
        if (level == 1 || (level < 4 && (pte & PTE_PS))) {
            *ret_pte = pte;
            return level;
        }
        table = pte_mfn(pte);
    }
    return 0;
}
