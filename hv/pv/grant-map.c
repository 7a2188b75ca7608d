/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Grants as L1 entries of the current domain: domain/grant.c decides and counts, here one entry is written.
 * The contract is in domain/grant.h.  Each function holds the domain's page_table_lock for its one or two
 * entries.
 */
#include "domain/grant.h"
#include "domain/page.h"
#include "mm/map.h"
#include "pv/table.h"

/*
 * The L1 entry that @host_addr names, by address or by place; NULL when there is none.  Ends with
 * unmap_frame().
 */
static pte_t *
find_entry(struct vcpu *v, u64 host_addr, u32 flags)
{
    struct frame *frame;

    if (!(flags & GNTMAP_contains_pte))
        return va_is_canonical(host_addr) ? pv_l1_entry(v, host_addr) : NULL;
    frame = frame_find(_mfn(host_addr >> PAGE_SHIFT));
    if (!frame || host_addr % sizeof(pte_t) || frame->owner != v->domain->id ||
        (atomic_read(&frame->type) & (FRAME_TYPE | FRAME_TYPE_VALIDATED)) !=
            (FRAME_TYPE_L1 | FRAME_TYPE_VALIDATED))
        return NULL;
    return (pte_t *)map_frame(frame_mfn(frame)) + (host_addr & ~PAGE_MASK) / sizeof(pte_t);
}

int
pv_grant_map(u64 host_addr, mfn_t mfn, u32 flags, unsigned cache)
{
    struct vcpu *v = current;
    struct domain *d = v->domain;
    u64 avail = (u64)(flags >> _GNTMAP_guest_avail0) << 9 & PTE_AVAIL;
    pte_t new = pte_make(mfn, PTE_P | PTE_US | PTE_D | avail), old = 0;
    pte_t *entry;

    if (!(flags & GNTMAP_readonly))
        new |= PTE_RW;
    if (unlikely(cache)) /* PAT index to bits */
        new |= (cache & 1 ? PTE_PWT : 0) | (cache & 2 ? PTE_PCD : 0) | (cache & 4 ? PTE_PAT : 0);

    spin_lock(&d->page_table_lock);
    entry = find_entry(v, host_addr, flags);
    if (entry) {
        old = READ_ONCE(*entry);
        WRITE_ONCE(*entry, new);
        unmap_frame(entry);
        if (old & PTE_P)
            pv_l1_put(d, old);
    }
    spin_unlock(&d->page_table_lock);
    return entry ? 0 : -EINVAL;
}

int
pv_grant_unmap(u64 host_addr, mfn_t mfn, u64 new_addr, u32 flags)
{
    struct vcpu *v = current;
    struct domain *d = v->domain;
    pte_t *entry, *source = NULL;
    int rc = -EINVAL;

    spin_lock(&d->page_table_lock);
    entry = find_entry(v, host_addr, flags);
    if (!entry)
        goto unlock;
    if ((*entry & (PTE_P | PTE_ADDR)) != pte_make(mfn, PTE_P) ||
        !(*entry & PTE_RW) != !!(flags & GNTMAP_readonly))
        goto unmap_entry;
    if (new_addr) {
        source = va_is_canonical(new_addr) ? pv_l1_entry(v, new_addr) : NULL;
        if (!source)
            goto unmap_entry;
    }
    /* With the CPU's last word on whether it has used the entry. */
    rc = (atomic_xchg(entry, 0) & PTE_A) || new_addr;
    /* What takes its place moves, references and all; if both are one entry, nothing does. */
    if (source) {
        WRITE_ONCE(*entry, atomic_xchg(source, 0));
        unmap_frame(source);
    }
unmap_entry:
    unmap_frame(entry);
unlock:
    spin_unlock(&d->page_table_lock);
    return rc;
}
