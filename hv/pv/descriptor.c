/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guests' descriptor tables.  The pages of a GDT or LDT are the guest's, of type DESC: not writable by it,
 * and checked entry by entry.  The CPU sees them through its window, at an address that never changes:
 *
 *   GDT   14 pages of the guest's, each holding its references in v->pv.gdt_frames, then our own page with
 *         the flat segments. Put into the window on each switch to the vCPU.
 *   LDT   16 pages, mapped one by one when a segment load faults on them; a page holds its references while
 *         it is in the window, which is at most while the vCPU is on its CPU.
 */
#include "base/panic.h"
#include "domain/page.h"
#include "hypercall/hypercall.h"
#include "mm/guest-copy.h"
#include "mm/map.h"
#include "pv/pv.h"
#include "pv/table.h"
#include "x86/ldt.h"
#include "x86/paging.h"
#include "x86/tlb.h"

#define GDT_FRAMES  14u
#define GDT_ENTRIES (GDT_FRAMES * 512u)
#define LDT_PAGES   16u
#define LDT_ENTRIES (LDT_PAGES * 512u)

#define DESC_PRESENT (1ull << 47)
#define DESC_DPL     (3ull << 45)
#define DESC_SEGMENT (1ull << 44) /* code or data, not a system segment */
#define DESC_TYPE    (0xfull << 40)

/* A page of descriptors as the window maps it.  The CPU writes the accessed bits. */
#define WINDOW_FLAGS (PTE_P | PTE_RW | PTE_A | PTE_D | PTE_NX)

bool
pv_descriptor_check(u64 *desc)
{
    if (!(*desc & DESC_PRESENT))
        return true; /* faults whenever it is used */
    if (*desc & DESC_SEGMENT) {
        /*
         * Code and data, with any base and limit: pages are what protects us.  Never more privileged than
         * ring 3.
         */
        *desc |= DESC_DPL;
        return true;
    }
    /*
     * Type 0 is invalid for the CPU too, and the second half of 16-byte descriptors.  Gates and system
     * segments are ours.
     */
    return !(*desc & DESC_TYPE);
}

static int
get_desc_frame(struct domain *d, mfn_t mfn)
{
    struct frame *frame = frame_find(mfn);
    int rc;

    if (!frame || !page_get(frame, d))
        return -EINVAL;
    rc = page_get_type(frame, FRAME_TYPE_DESC);
    if (rc)
        page_put(frame);
    return rc;
}

static void
put_desc_frame(mfn_t mfn)
{
    struct frame *frame = frame_of(mfn);

    (void)page_put_type(frame); /* no table: never preempted */
    page_put(frame);
}

static void
window_set(unsigned page, pte_t pte)
{
    pte_t *entry = &paging_window()[page], old = *entry;

    if (old == pte)
        return;
    WRITE_ONCE(*entry, pte);
    tlb_flush_local_va(paging_window_va(page));
}

/* --- GDT --- */

void
pv_load_gdt(struct vcpu *v)
{
    struct cpu *cpu = this_cpu();
    unsigned pages = DIV_ROUND_UP(v->pv.gdt_entries, 512);

    for (unsigned i = 0; i < pages; i++)
        window_set(WINDOW_GDT + i, pte_make(_mfn(v->pv.gdt_frames[i]), WINDOW_FLAGS));
    /*
     * A selector beyond the table finds a page of zeroes, and so the exception that its like gets on bare
     * metal.
     */
    for (unsigned i = pages; i < cpu->gdt_loaded; i++)
        window_set(WINDOW_GDT + i, pte_make(paging_zero_mfn(), PTE_P | PTE_A | PTE_NX));
    cpu->gdt_loaded = pages;
}

static void
put_gdt_frames(const u64 *frames, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        put_desc_frame(_mfn(frames[i]));
}

int
pv_set_gdt(struct vcpu *v, const u64 *frames, unsigned entries)
{
    struct domain *d = v->domain;
    unsigned count = DIV_ROUND_UP(entries, 512), got, old_count = DIV_ROUND_UP(v->pv.gdt_entries, 512);
    u64 old[GDT_FRAMES];
    int rc = 0;

    if (entries > GDT_ENTRIES)
        return -EINVAL;
    spin_lock(&d->page_table_lock);
    for (got = 0; got < count && !rc; got++)
        rc = get_desc_frame(d, _mfn(frames[got]));
    spin_unlock(&d->page_table_lock);
    if (rc) {
        put_gdt_frames(frames, got - 1);
        return rc;
    }

    for (unsigned i = 0; i < GDT_FRAMES; i++) {
        old[i] = v->pv.gdt_frames[i];
        v->pv.gdt_frames[i] = i < count ? frames[i] : 0;
    }
    v->pv.gdt_entries = entries;
    if (v == current)
        pv_load_gdt(v);
    /* Out of the window before they are given back. */
    put_gdt_frames(old, old_count);
    return 0;
}

void
pv_drop_gdt(struct vcpu *v)
{
    (void)pv_set_gdt(v, NULL, 0);
}

s64
hypercall_set_gdt(u64 *arg)
{
    u64 frames[GDT_FRAMES];
    u32 entries = (u32)arg[1];

    if (entries > GDT_ENTRIES)
        return -EINVAL;
    if (copy_from_guest(frames, arg[0], DIV_ROUND_UP(entries, 512) * sizeof(u64)))
        return -EFAULT;
    return pv_set_gdt(current, frames, entries);
}

/* --- LDT --- */

bool
pv_map_ldt_page(struct vcpu *v, unsigned page)
{
    struct domain *d = v->domain;
    pte_t *entry, pte = 0;
    int rc = -EINVAL;

    if (v != current || page >= DIV_ROUND_UP(v->pv.ldt_entries, 512) || v->pv.ldt_mapped & 1u << page)
        return false;
    spin_lock(&d->page_table_lock);
    entry = pv_l1_entry(v, v->pv.ldt_base + page * PAGE_SIZE);
    if (entry) {
        pte = READ_ONCE(*entry);
        unmap_frame(entry);
    }
    if (pte & PTE_P)
        rc = get_desc_frame(d, pte_mfn(pte));
    spin_unlock(&d->page_table_lock);
    if (rc)
        return false;
    v->pv.ldt_mapped |= 1u << page;
    window_set(WINDOW_LDT + page, pte_make(pte_mfn(pte), WINDOW_FLAGS));
    return true;
}

void
pv_load_ldt(struct vcpu *v)
{
    ldt_load(v->pv.ldt_entries);
}

void
pv_unload_ldt(struct vcpu *v)
{
    for (unsigned page = 0; unlikely(v->pv.ldt_mapped); page++) {
        mfn_t mfn = pte_mfn(paging_window()[WINDOW_LDT + page]);

        if (!(v->pv.ldt_mapped & 1u << page))
            continue;
        v->pv.ldt_mapped &= ~(1u << page);
        window_set(WINDOW_LDT + page, 0);
        put_desc_frame(mfn);
    }
}

int
pv_set_ldt(struct vcpu *v, u64 base, unsigned entries)
{
    if (!entries)
        base = 0;
    if (entries > LDT_ENTRIES || base & ~PAGE_MASK || !va_is_canonical(base) ||
        (base >= HYPERVISOR_START && base < HYPERVISOR_END))
        return -EINVAL;
    if (v->pv.ldt_base == base && v->pv.ldt_entries == entries)
        return 0;
    if (v == current)
        pv_unload_ldt(v);
    v->pv.ldt_base = base;
    v->pv.ldt_entries = entries;
    if (v == current)
        pv_load_ldt(v);
    return 0;
}

void
pv_drop_ldt(struct vcpu *v)
{
    (void)pv_set_ldt(v, 0, 0);
}

/* --- update_descriptor --- */

s64
hypercall_update_descriptor(u64 *arg)
{
    struct domain *d = current->domain;
    struct frame *frame = frame_find(_mfn(arg[0] >> PAGE_SHIFT));
    u64 desc = arg[1], type, *table;
    int rc;

    if (arg[0] % sizeof(desc) || !pv_descriptor_check(&desc) || !frame || !page_get(frame, d))
        return -EINVAL;
    spin_lock(&d->page_table_lock);
    /* In use as such, or a page that the guest could write itself. */
    type = atomic_read(&frame->type) & FRAME_TYPE;
    rc = page_get_type(frame, type == FRAME_TYPE_DESC ? FRAME_TYPE_DESC : FRAME_TYPE_WRITABLE);
    spin_unlock(&d->page_table_lock);
    if (!rc) {
        table = map_frame(frame_mfn(frame));
        WRITE_ONCE(table[(arg[0] & ~PAGE_MASK) / sizeof(desc)], desc);
        unmap_frame(table);
        (void)page_put_type(frame);
    }
    page_put(frame);
    return rc;
}
