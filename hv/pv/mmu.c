/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The page tables a vCPU runs on: which L4 tables it holds, finding an entry in them, and faults that are
 * ours to mend.
 *
 * v->pv.kernel_l4 and user_l4 each hold a general and an L4 type reference.  They change under the domain's
 * page_table_lock, by the vCPU itself or while it is paused.
 *
 * v->pv.leftover_table is a table whose last reference v gave back without having the time to take it apart:
 * v holds that reference until pv_finish_leftover() has gone through.  There is at most one, since every
 * operation on page tables finishes it first.
 */
#include "base/panic.h"
#include "domain/page.h"
#include "mm/map.h"
#include "pv/pv.h"
#include "pv/table.h"
#include "x86/memory-map.h"
#include "x86/paging.h"
#include "x86/tlb.h"
#include "x86/upcalls.h"

#define PF_PRESENT 1u
#define PF_WRITE   2u
#define PF_USER    4u
#define PF_RSVD    8u
#define PF_FETCH   16u

/* Any table may lie beyond the direct map. */
static pte_t *__attribute__((noinline)) l1_entry_beyond(mfn_t mfn, u64 va)
{
    for (unsigned shift = L4_SHIFT; shift > L1_SHIFT; shift -= 9) {
        const pte_t *table = map_frame(mfn);
        pte_t pte = READ_ONCE(table[pte_index(va, shift)]);

        unmap_frame(table);
        if (!(pte & PTE_P))
            return NULL;
        mfn = pte_mfn(pte);
    }
    return (pte_t *)map_frame(mfn) + pte_index(va, L1_SHIFT);
}

pte_t *
pv_l1_entry(const struct vcpu *v, u64 va)
{
    pte_t pte;

    /* By the slot and not by the address: one that is not canonical can lead to our slots too. */
    if (unlikely(pte_index(va, L4_SHIFT) - HYPERVISOR_FIRST_L4_SLOT <=
                     HYPERVISOR_LAST_L4_SLOT - HYPERVISOR_FIRST_L4_SLOT ||
                 mfn_equal(v->pv.kernel_l4, MFN_INVALID)))
        return NULL;
    if (unlikely(frame_limit > DIRECT_FRAMES))
        return l1_entry_beyond(v->pv.kernel_l4, va);
    pte = mfn_to_maddr(v->pv.kernel_l4).a | PTE_P;
#pragma GCC unroll 3
    for (unsigned shift = L4_SHIFT; shift > L1_SHIFT; shift -= 9) {
        pte = READ_ONCE(((const pte_t *)direct_ptr(_maddr(pte & PTE_ADDR)))[pte_index(va, shift)]);
        if (unlikely(!(pte & PTE_P)))
            return NULL;
    }
    return (pte_t *)direct_ptr(_maddr(pte & PTE_ADDR)) + pte_index(va, L1_SHIFT);
}

int
pv_table_put(struct vcpu *v, struct frame *frame)
{
    int rc = page_put_type(frame);

    if (likely(!rc)) {
        page_put(frame);
        return 0;
    }
    ASSERT(!v->pv.leftover_table);
    v->pv.leftover_table = mfn_x(frame_mfn(frame));
    return rc;
}

int
pv_finish_leftover(struct vcpu *v)
{
    struct frame *frame;
    struct domain *owner;
    int rc;

    if (likely(!v->pv.leftover_table))
        return 0;
    frame = frame_of(_mfn(v->pv.leftover_table));
    owner = domain_find(frame->owner);
    spin_lock(&owner->page_table_lock);
    owner->type_budget = PV_TYPE_BUDGET;
    v->pv.leftover_table = 0;
    rc = pv_table_put(v, frame);
    spin_unlock(&owner->page_table_lock);
    return rc;
}

/* A reference of both kinds to the L4 table at @l4. */
static int
get_l4(struct domain *d, mfn_t l4)
{
    struct frame *frame = frame_find(l4);
    int rc;

    if (!frame || !page_get(frame, d))
        return -EINVAL;
    rc = page_get_type(frame, FRAME_TYPE_L4);
    if (rc)
        page_put(frame);
    return rc;
}

/* Puts @new (or MFN_INVALID) into *@slot; the old one goes after the CPU has left it. */
static int
change_l4(struct vcpu *v, mfn_t *slot, u64 *cr3, mfn_t new)
{
    struct domain *d = v->domain;
    mfn_t old = *slot;
    int rc;

    rc = pv_finish_leftover(v);
    if (rc)
        return rc;
    spin_lock(&d->page_table_lock);
    d->type_budget = PV_TYPE_BUDGET;
    if (!mfn_equal(new, old)) {
        if (!mfn_equal(new, MFN_INVALID))
            rc = get_l4(d, new);
        if (rc) {
            spin_unlock(&d->page_table_lock);
            return rc;
        }
        *slot = new;
        *cr3 = mfn_equal(new, MFN_INVALID) ? 0 : mfn_to_maddr(new).a;
    }
    if (v == current && slot == &v->pv.kernel_l4) {
        pv_load_cr3(v);
        pv_unload_ldt(v); /* its address may mean other pages now */
    }
    if (!mfn_equal(new, old) && !mfn_equal(old, MFN_INVALID))
        rc = pv_table_put(v, frame_of(old));
    spin_unlock(&d->page_table_lock);
    return rc;
}

int
pv_set_kernel_cr3(struct vcpu *v, mfn_t l4)
{
    return mfn_equal(l4, MFN_INVALID) ? -EINVAL : change_l4(v, &v->pv.kernel_l4, &v->pv.kernel_cr3, l4);
}

int
pv_set_user_cr3(struct vcpu *v, mfn_t l4)
{
    return mfn_equal(l4, MFN_INVALID) ? -EINVAL : change_l4(v, &v->pv.user_l4, &v->pv.user_cr3, l4);
}

int
pv_clear_user_cr3(struct vcpu *v)
{
    return change_l4(v, &v->pv.user_l4, &v->pv.user_cr3, MFN_INVALID);
}

int
pv_drop_cr3(struct vcpu *v)
{
    int rc;

    ASSERT(v != current);
    rc = pv_clear_user_cr3(v);
    if (!rc)
        rc = change_l4(v, &v->pv.kernel_l4, &v->pv.kernel_cr3, MFN_INVALID);
    return rc ? rc : pv_finish_leftover(v);
}

/* An address in this CPU's window of the guest's LDT; the page of it in *@ret_page. */
static bool
is_ldt_window(u64 va, unsigned *ret_page)
{
    u64 offset = va - paging_window_va(WINDOW_LDT);

    *ret_page = offset >> PAGE_SHIFT;
    return offset < (WINDOW_MAP - WINDOW_LDT) * PAGE_SIZE;
}

bool
pv_page_fault_in_hypervisor(u64 va, u32 error_code)
{
    unsigned page;

    /* IRETQ to the guest loads its selectors; the LDT is mapped page by page, when needed. */
    return !(error_code & PF_PRESENT) && is_ldt_window(va, &page) && pv_map_ldt_page(current, page);
}

bool
pv_mmu_fault(struct vcpu *v, u64 va, u32 error_code, struct cpu_user_regs *regs)
{
    unsigned page;

    if (likely(va < HYPERVISOR_START || va >= HYPERVISOR_END)) {
        if ((error_code & (PF_PRESENT | PF_WRITE | PF_RSVD | PF_FETCH)) != (PF_PRESENT | PF_WRITE) ||
            !v->pv.kernel_mode)
            return false;
        return pv_trapped_write(v, va, regs);
    }
    if (!(error_code & PF_USER) && is_ldt_window(va, &page)) {
        if (pv_map_ldt_page(v, page))
            return true;
        /* The guest's own LDT has no such page: let it see a fault where it thinks its LDT is. */
        pv_inject_page_fault(v, v->pv.ldt_base + (va - paging_window_va(WINDOW_LDT)), error_code);
        return true;
    }
    return false;
}
