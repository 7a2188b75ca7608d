/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guests' page tables, entry by entry.  A guest writes machine frame numbers into its tables; before the CPU
 * gets to see such an entry, it takes the references that keep it true:
 *
 *      entry of     refers to                   general   type
 *      L1           a page, read-only           yes       -
 *      L1           a page, writable            yes       WRITABLE
 *      L1           device memory               -         -          permitted by d->io_mem
 *      L2, L3, L4   a table of the level below  yes       that table's
 *
 * Guests run in ring 3, kernel and user alike, so each present entry gets PTE_US.  The guest keeps its kernel
 * from its user programs by giving them different L4 tables.  A granted page is mapped by pv/grant-map.c,
 * with the references of the first two rows; no update can make or copy such an entry, since the page is
 * another domain's, nor clear its accessed bit, by which pv_grant_unmap() knows whether to flush.  PTE_G is
 * dropped: loading CR3 then leaves nothing of one address space to the next.
 *
 * Domains that drive devices choose how they cache memory.  A page mapped otherwise than write-back is marked
 * FRAME_UNCACHED, so that the type machine flushes the caches before it trusts what the page holds.
 *
 * Tables are not linear (no L4 in an L4), have no large pages, and are their owner's own; L4 slots 256 to 271
 * are ours and are neither read nor kept for the guest.
 *
 * Everything here runs under the page_table_lock of the table's owner.
 */
#include "base/log.h"
#include "base/panic.h"
#include "base/string.h"
#include "domain/page.h"
#include "domain/permission.h"
#include "mm/map.h"
#include "pv/pv.h"
#include "pv/table.h"
#include "x86/paging.h"
#include "x86/tlb.h"

#define UPPER_REFUSED (PTE_PWT | PTE_PCD | PTE_PS | PTE_G)

/* Only those who drive devices have a reason to choose how memory is cached. */
static bool
may_choose_caching(const struct domain *d)
{
    return d->is_hardware || d->io_mem || d->io_ports;
}

/* Device memory, or none at all. */
static int
l1_get_device(const struct domain *d, pte_t *pte)
{
    u64 n = mfn_x(pte_mfn(*pte));

    if (!iomem_permitted(d, n, n))
        return -EPERM;
    /* What is not asked for as write-combining or uncached must not be cached all the same. */
    switch (*pte & PTE_CACHE) {
    case 0:
        *pte |= PTE_PWT | PTE_PCD;
        break;
    case PTE_PWT:
    case PTE_PWT | PTE_PAT:
        *pte |= PTE_PCD;
        break;
    }
    return 0;
}

static inline __attribute__((always_inline)) int
l1_get(const struct domain *d, u16 owner, pte_t *pte)
{
    struct frame *frame = frame_find(pte_mfn(*pte));

    if (unlikely(*pte & (PTE_CACHE | PTE_G))) {
        if (*pte & PTE_CACHE && !may_choose_caching(d))
            return -EINVAL;
        *pte &= ~PTE_G;
    }
    *pte |= PTE_US;

    if (unlikely(!frame || !page_get_of(frame, owner)))
        return !frame || !frame_is_memory(frame) ? l1_get_device(d, pte) : -EBUSY;
    if (*pte & PTE_RW && unlikely(page_get_type(frame, FRAME_TYPE_WRITABLE))) {
        page_put(frame);
        return -EBUSY;
    }
    if (unlikely(*pte & PTE_CACHE))
        atomic_or(&frame->count, FRAME_UNCACHED);
    return 0;
}

/*
 * Before another domain's page loses the reference that an entry of @d held: its owner's TLB flushes do
 * not reach the CPUs that ran @d, so none of them may be left with the translation.  Dom0 is trusted to
 * flush what it maps of others by itself.
 */
static void __attribute__((noinline)) flush_foreign(const struct domain *d)
{
    if (!d->is_privileged)
        tlb_flush_mask(&d->dirty_cpus);
}

/* @flushed: whether @d's CPUs have flushed since the entry was out of their reach; may be made so. */
static inline __attribute__((always_inline)) void
l1_put(const struct domain *d, pte_t pte, bool *flushed)
{
    struct frame *frame;
    u16 owner;

    if (!(pte & PTE_P))
        return;
    frame = frame_find(pte_mfn(pte));
    if (unlikely(!frame))
        return;
    owner = READ_ONCE(frame->owner);
    if (unlikely(owner != d->id)) {
        if (owner == DOMID_IO)
            return;
        if (!*flushed)
            flush_foreign(d);
        *flushed = true;
    }
    if (pte & PTE_RW)
        (void)page_put_type(frame);
    page_put(frame);
}

int
pv_l1_get(const struct domain *d, u16 owner, pte_t *pte)
{
    return l1_get(d, owner, pte);
}

void
pv_l1_put(const struct domain *d, pte_t pte)
{
    bool flushed = false;

    l1_put(d, pte, &flushed);
}

pte_t
pv_l1_same_page(const struct domain *d, pte_t old, pte_t new)
{
    new = (new | PTE_US) & ~PTE_G;
    if (unlikely(old & PTE_A & ~new)) {
        const struct frame *frame = frame_find(pte_mfn(old));

        if (frame && READ_ONCE(frame->owner) != d->id)
            new |= PTE_A;
    }
    return new;
}

int
pv_upper_get(const struct domain *d, u64 type, pte_t *pte)
{
    struct frame *frame = frame_find(pte_mfn(*pte));
    int rc;

    if (unlikely(*pte & UPPER_REFUSED || !frame || !page_get(frame, d)))
        return -EINVAL;
    rc = page_get_type(frame, type - FRAME_TYPE_L1);
    if (unlikely(rc)) {
        page_put(frame);
        return rc;
    }
    *pte |= PTE_US;
    return 0;
}

int
pv_upper_put(pte_t pte)
{
    struct frame *frame = frame_of(pte_mfn(pte));
    int rc;

    if (!(pte & PTE_P))
        return 0;
    rc = page_put_type(frame);
    if (!rc)
        page_put(frame);
    return rc;
}

static int
validate_l1(struct domain *d, struct frame *frame)
{
    pte_t *table = map_frame(frame_mfn(frame));
    u16 owner = d->id;
    int rc = 0;

    for (unsigned i = 0; i < PTE_ENTRIES; i++) {
        pte_t old = table[i], new = old;

        if (!(old & PTE_P))
            continue;
        rc = l1_get(d, owner, &new);
        if (unlikely(rc)) {
            log_guest(LOG_DEBUG, "d%u: L1 table %lx: entry %u (%lx) refused: %d", d->id,
                      mfn_x(frame_mfn(frame)), i, old, rc);
            frame->partial = i;
            break;
        }
        if (new != old)
            table[i] = new;
    }
    unmap_frame(table);
    d->type_budget -= PTE_ENTRIES;
    return rc;
}

static void
devalidate_l1(struct domain *d, struct frame *frame)
{
    const pte_t *table = map_frame(frame_mfn(frame));
    bool flushed = false; /* no CPU gets to this table any more: once is enough for all of it */

    for (unsigned i = frame->partial; i-- > 0;)
        l1_put(d, READ_ONCE(table[i]), &flushed);
    unmap_frame(table);
    frame->partial = 0;
    d->type_budget -= PTE_ENTRIES;
}

static bool
is_ours(u64 type, unsigned slot)
{
    return type == FRAME_TYPE_L4 && slot >= HYPERVISOR_FIRST_L4_SLOT && slot <= HYPERVISOR_LAST_L4_SLOT;
}

static int
validate_upper(struct domain *d, struct frame *frame, u64 type)
{
    pte_t *table = map_frame(frame_mfn(frame));
    unsigned i;
    int rc = 0;

    for (i = frame->partial; i < PTE_ENTRIES; i++) {
        pte_t old = table[i], new = old;

        if (!(old & PTE_P) || is_ours(type, i))
            continue;
        if (d->type_budget <= 0) {
            rc = -ERESTART;
            break;
        }
        d->type_budget--;
        rc = pv_upper_get(d, type, &new);
        if (rc)
            break;
        if (new != old)
            table[i] = new;
    }
    frame->partial = i;
    if (!rc && type == FRAME_TYPE_L4)
        paging_fill_l4(table);
    else if (rc && rc != -ERESTART)
        log_guest(LOG_DEBUG, "d%u: L%u table %lx: entry %u (%lx) refused: %d", d->id,
                  (unsigned)(type >> FRAME_TYPE_SHIFT), mfn_x(frame_mfn(frame)), i, table[i], rc);
    unmap_frame(table);
    return rc;
}

static int
devalidate_upper(struct domain *d, struct frame *frame, u64 type)
{
    pte_t *table = map_frame(frame_mfn(frame));
    unsigned i = frame->partial;
    int rc = 0;

    while (i > 0) {
        pte_t pte = READ_ONCE(table[i - 1]);

        if (pte & PTE_P && !is_ours(type, i - 1)) {
            if (d->type_budget <= 0) {
                rc = -ERESTART;
                break;
            }
            d->type_budget--;
            rc = pv_upper_put(pte);
            if (rc)
                break;
        }
        i--;
    }
    frame->partial = i;
    if (!rc && type == FRAME_TYPE_L4)
        memset(table + HYPERVISOR_FIRST_L4_SLOT, 0,
               (HYPERVISOR_LAST_L4_SLOT + 1 - HYPERVISOR_FIRST_L4_SLOT) * sizeof(pte_t));
    unmap_frame(table);
    return rc;
}

static int
validate_descriptors(struct frame *frame)
{
    u64 *table = map_frame(frame_mfn(frame));
    int rc = 0;

    for (unsigned i = 0; i < PAGE_SIZE / sizeof(u64) && !rc; i++) {
        u64 desc = table[i];

        if (!pv_descriptor_check(&desc))
            rc = -EINVAL;
        else if (desc != table[i])
            table[i] = desc;
    }
    unmap_frame(table);
    return rc;
}

int
pv_type_validate(struct domain *d, struct frame *frame, u64 type)
{
    switch (type & FRAME_TYPE) {
    case FRAME_TYPE_L1:
        return validate_l1(d, frame);
    case FRAME_TYPE_L2:
    case FRAME_TYPE_L3:
    case FRAME_TYPE_L4:
        return validate_upper(d, frame, type & FRAME_TYPE);
    case FRAME_TYPE_DESC:
        return validate_descriptors(frame);
    }
    panic("frame %lx is to be of type %lx", mfn_x(frame_mfn(frame)), type);
}

int
pv_type_devalidate(struct domain *d, struct frame *frame, u64 type)
{
    switch (type & FRAME_TYPE) {
    case FRAME_TYPE_L1:
        devalidate_l1(d, frame);
        return 0;
    case FRAME_TYPE_L2:
    case FRAME_TYPE_L3:
    case FRAME_TYPE_L4:
        return devalidate_upper(d, frame, type & FRAME_TYPE);
    }
    return 0;
}

/* Stores @new where *@entry is @old but for the bits that the CPU sets; @keep_ad keeps those. */
static inline void
entry_write(pte_t *entry, pte_t old, pte_t new, bool keep_ad)
{
    if (likely(!keep_ad)) {
        WRITE_ONCE(*entry, new);
        return;
    }
    /* The lock keeps everyone off but the CPUs that walk this table. */
    while (!atomic_cmpxchg(entry, &old, new | (old & PTE_HARDWARE)))
        ;
}

int
pv_l1_update(const struct domain *d, pte_t *entry, pte_t new, u16 owner, bool keep_ad)
{
    pte_t old = READ_ONCE(*entry);
    bool flushed = false;
    int rc;

    if (!(new &PTE_P)) {
        entry_write(entry, old, new, keep_ad);
        l1_put(d, old, &flushed);
        return 0;
    }
    if (old & PTE_P && !((old ^ new) & (PTE_ADDR | PTE_RW | PTE_CACHE))) {
        /* The same page in the same way: the references it has will do. */
        entry_write(entry, old, pv_l1_same_page(d, old, new), keep_ad);
        return 0;
    }
    rc = l1_get(d, owner, &new);
    if (unlikely(rc))
        return rc;
    entry_write(entry, old, new, keep_ad);
    l1_put(d, old, &flushed);
    return 0;
}

int
pv_upper_update(struct vcpu *v, const struct domain *d, u64 type, pte_t *entry, pte_t new, bool keep_ad)
{
    pte_t old = READ_ONCE(*entry);
    int rc;

    if (is_ours(type, ((u64)entry & ~PAGE_MASK) / sizeof(pte_t)))
        return -EINVAL;
    if (new &PTE_P) {
        if (old & PTE_P && !((old ^ new) & (PTE_ADDR | UPPER_REFUSED))) {
            entry_write(entry, old, new | PTE_US, keep_ad);
            return 0;
        }
        rc = pv_upper_get(d, type, &new);
        if (rc)
            return rc;
    }
    entry_write(entry, old, new, keep_ad);
    return old & PTE_P ? pv_table_put(v, frame_of(pte_mfn(old))) : 0;
}
