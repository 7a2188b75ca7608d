/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PIRQs; the model is in pirq.h.
 *
 * d->pirqs->lock guards the table.  It nests inside the event channels' lock (binding) and outside irq->lock.
 * The interrupt itself takes only irq->lock: what it needs of a PIRQ, the port, is set before the interrupt
 * is started and changes only after it was stopped.
 */
#include "domain/pirq.h"

#include "base/log.h"
#include "domain/evtchn.h"
#include "domain/page.h"
#include "domain/permission.h"
#include "mm/heap.h"
#include "mm/map.h"
#include "x86/irq.h"
#include "x86/paging.h"

/* MSIs that the hardware domain can have at once. */
#define PIRQ_MSIS 1024u

struct pirq {
    struct domain *domain;
    u32 irq;  /* IRQ_NONE: not mapped */
    u32 port; /* 0: not bound */
    bool reserved;
    bool needs_eoi;
};

/* A page of devices' MSI-X tables; never unmapped, since devices come back to where they were. */
struct msix_page {
    struct msix_page *next;
    u64 mfn;
    volatile u8 *ptr;
};
#define MSIX_PAGES_MAX 4096u

struct pirq_domain {
    spinlock_t lock;
    u32 count, gsis;
    struct pirq *table;
    mfn_t eoi_mfn; /* MFN_INVALID: none; holds a writable reference */
    bool eoi_unmasks;
    struct msix_page *msix_pages;
    u32 msix_page_count;
};

int
pirq_domain_init(struct domain *d)
{
    struct pirq_domain *p = heap_zalloc(sizeof(*p));

    if (!p)
        return -ENOMEM;
    spin_lock_init(&p->lock);
    p->gsis = MAX(irq_gsi_count(), 16u);
    p->count = p->gsis + PIRQ_MSIS;
    p->eoi_mfn = MFN_INVALID;
    p->table = heap_calloc(p->count, sizeof(*p->table));
    if (!p->table) {
        heap_free(p);
        return -ENOMEM;
    }
    for (u32 i = 0; i < p->count; i++) {
        p->table[i].domain = d;
        p->table[i].irq = IRQ_NONE;
    }
    d->pirqs = p;
    return 0;
}

void
pirq_domain_fini(struct domain *d)
{
    struct pirq_domain *p = d->pirqs;

    if (!p)
        return;
    for (u32 i = 0; i < p->count; i++)
        if (p->table[i].irq != IRQ_NONE)
            (void)pirq_unmap(d, i);
    if (!mfn_equal(p->eoi_mfn, MFN_INVALID))
        page_put_writable(frame_of(p->eoi_mfn));
    while (p->msix_pages) {
        struct msix_page *page = p->msix_pages;

        p->msix_pages = page->next;
        heap_free(page);
    }
    heap_free(p->table);
    heap_free(p);
    d->pirqs = NULL;
}

u32
pirq_count(const struct domain *d)
{
    return d->pirqs ? d->pirqs->count : 0;
}

static struct pirq *
find_pirq(struct domain *d, u32 number)
{
    struct pirq_domain *p = d->pirqs;

    return p && number < p->count ? &p->table[index_nospec(number, p->count)] : NULL;
}

/* --- numbers --- */

static bool
is_free(const struct pirq *pirq)
{
    return pirq->irq == IRQ_NONE && !pirq->reserved && !pirq->port;
}

/* @count consecutive free numbers of the right part of the table; the lock is held. */
static s32
find_free(struct pirq_domain *p, bool msi, unsigned count)
{
    u32 first = msi ? p->gsis : 0, end = msi ? p->count : p->gsis;
    unsigned run = 0;

    /* PIRQ 0 is the timer's, and 0 says "none" to some kernels. */
    for (u32 n = MAX(first, 1u); n < end; n++) {
        run = is_free(&p->table[n]) ? run + 1 : 0;
        if (run == count)
            return n - count + 1;
    }
    return -ENOSPC;
}

int
pirq_reserve(struct domain *d, bool msi, s32 *ret_pirq)
{
    struct pirq_domain *p = d->pirqs;
    s32 number;

    if (!p)
        return -EINVAL;
    spin_lock(&p->lock);
    number = find_free(p, msi, 1);
    if (number >= 0)
        p->table[number].reserved = true;
    spin_unlock(&p->lock);
    if (number < 0)
        return number;
    *ret_pirq = number;
    return 0;
}

/* --- the page that says which need an EOI --- */

static void
set_eoi_bit(struct pirq_domain *p, u32 number, bool set)
{
    u8 *page;

    if (mfn_equal(p->eoi_mfn, MFN_INVALID) || number >= PAGE_SIZE * 8)
        return;
    page = map_frame(p->eoi_mfn);
    if (set)
        atomic_or(&page[number / 8], (u8)(1u << number % 8));
    else
        atomic_and(&page[number / 8], ~(u8)(1u << number % 8));
    unmap_frame(page);
}

int
pirq_set_eoi_page(struct domain *d, mfn_t mfn, bool auto_unmask)
{
    struct pirq_domain *p = d->pirqs;
    int rc;

    if (!p || !frame_valid(mfn))
        return -EINVAL;
    rc = page_get_writable(frame_of(mfn), d);
    if (rc)
        return rc;
    spin_lock(&p->lock);
    if (!mfn_equal(p->eoi_mfn, MFN_INVALID)) {
        rc = -EBUSY;
    } else {
        p->eoi_mfn = mfn;
        p->eoi_unmasks = auto_unmask;
        for (u32 i = 0; i < p->count; i++)
            if (p->table[i].port)
                set_eoi_bit(p, i, p->table[i].needs_eoi);
    }
    spin_unlock(&p->lock);
    if (rc)
        page_put_writable(frame_of(mfn));
    return rc;
}

bool
pirq_eoi_unmasks(const struct domain *d)
{
    return d->pirqs && d->pirqs->eoi_unmasks;
}

/* --- mapping --- */

/* Whether @irq is behind some PIRQ already; the lock is held. */
static s32
find_mapped(struct pirq_domain *p, u32 irq)
{
    for (u32 i = 0; i < p->count; i++)
        if (p->table[i].irq == irq)
            return i;
    return -ENOENT;
}

int
pirq_map_gsi(struct domain *d, u32 gsi, s32 *pirq)
{
    struct pirq_domain *p = d->pirqs;
    s32 number, mapped;
    int rc = 0;

    if (!p || gsi >= irq_gsi_count() || !irq_at(gsi))
        return -EINVAL;
    if (irq_is_ours(gsi) || !irq_permitted(d, gsi))
        return -EPERM;

    spin_lock(&p->lock);
    mapped = find_mapped(p, gsi);
    number = *pirq;
    if (number < 0)
        number = mapped >= 0 ? mapped : is_free(&p->table[gsi]) ? (s32)gsi : find_free(p, false, 1);
    if (number < 0)
        rc = number;
    else if ((u32)number >= p->count)
        rc = -EINVAL;
    else if (mapped >= 0 ? mapped != number : p->table[number].irq != IRQ_NONE)
        rc = -EBUSY;
    if (!rc) {
        p->table[number].irq = gsi;
        p->table[number].reserved = false;
        *pirq = number;
    }
    spin_unlock(&p->lock);
    return rc;
}

/* Ties @count interrupts from @irq on to PIRQs, as wished or free ones; the lock is held. */
static int
tie_msi(struct pirq_domain *p, u32 irq, unsigned count, s32 *pirq)
{
    s32 number = *pirq < 0 ? find_free(p, true, count) : *pirq;

    if (number < 0)
        return number;
    if ((u32)number < 1 || (u32)number + count > p->count)
        return -EINVAL;
    for (unsigned i = 0; i < count; i++)
        if (p->table[number + i].irq != IRQ_NONE)
            return -EBUSY;
    for (unsigned i = 0; i < count; i++) {
        p->table[number + i].irq = irq + i;
        p->table[number + i].reserved = false;
    }
    *pirq = number;
    return 0;
}

static int
tie_or_free(struct pirq_domain *p, int irq, unsigned count, s32 *pirq)
{
    int rc;

    if (irq < 0)
        return irq;
    spin_lock(&p->lock);
    rc = tie_msi(p, irq, count, pirq);
    spin_unlock(&p->lock);
    if (rc)
        irq_free_msi(irq_at(irq));
    return rc;
}

int
pirq_map_msi(struct domain *d, struct pci_address pci, unsigned count, s32 *pirq)
{
    if (!d->pirqs)
        return -EINVAL;
    return tie_or_free(d->pirqs, irq_alloc_msi(pci, count, d->vcpus[0]->cpu), count, pirq);
}

#define PCI_CAP_MSIX 0x11

/* The device's table entry, in a page that is a device's and not memory. */
static volatile u32 *
map_msix_entry(struct domain *d, u64 address)
{
    struct pirq_domain *p = d->pirqs;
    u64 mfn = address >> PAGE_SHIFT;
    struct msix_page *page;

    if (mfn >= MFN_LIMIT || frame_valid(_mfn(mfn)) || !iomem_permitted(d, mfn, mfn))
        return NULL;
    spin_lock(&p->lock);
    for (page = p->msix_pages; page && page->mfn != mfn; page = page->next)
        ;
    if (!page && p->msix_page_count < MSIX_PAGES_MAX) {
        page = heap_zalloc(sizeof(*page));
        if (page) {
            page->mfn = mfn;
            page->ptr = paging_map_device(mfn_to_maddr(_mfn(mfn)), PAGE_SIZE);
        }
        if (page && !page->ptr) {
            heap_free(page);
            page = NULL;
        }
        if (page) {
            page->next = p->msix_pages;
            p->msix_pages = page;
            p->msix_page_count++;
        }
    }
    spin_unlock(&p->lock);
    return page ? (volatile u32 *)(page->ptr + (address & (PAGE_SIZE - 1))) : NULL;
}

int
pirq_map_msix(struct domain *d, struct pci_address pci, unsigned entry, u64 table_base, s32 *pirq)
{
    unsigned at = pci_find_capability(pci, PCI_CAP_MSIX);
    volatile u32 *regs;

    if (!d->pirqs || !at || entry > (pci_read(pci, at + 2, 2) & 0x7ff) || table_base & 0xf)
        return -EINVAL;
    /* The table's place in its BAR: bits 0 to 2 name the BAR. */
    regs = map_msix_entry(d, table_base + (pci_read(pci, at + 4, 4) & ~7u) + entry * 16ull);
    if (!regs)
        return -EPERM;
    return tie_or_free(d->pirqs, irq_alloc_msix(pci, entry, regs, d->vcpus[0]->cpu), 1, pirq);
}

int
pirq_unmap(struct domain *d, u32 number)
{
    struct pirq *pirq = find_pirq(d, number);
    struct pirq_domain *p = d->pirqs;
    struct irq *irq;
    int rc = 0;

    if (!pirq)
        return -EINVAL;
    spin_lock(&p->lock);
    irq = irq_at(pirq->irq);
    if (pirq->irq == IRQ_NONE) {
        rc = pirq->reserved ? 0 : -EINVAL;
        pirq->reserved = false;
        irq = NULL;
    } else {
        /* Bound ones are silenced; their port stays the guest's to close. */
        irq_stop(irq);
        set_eoi_bit(p, number, false);
        pirq->irq = IRQ_NONE;
        pirq->needs_eoi = false;
    }
    /* A block of messages goes when its last PIRQ goes. */
    if (irq && irq->kind != IRQ_PIN) {
        u32 first = irq_number(irq) - irq->index_in_block;
        bool in_use = false;

        for (unsigned i = 0; i < irq->block; i++)
            in_use = in_use || find_mapped(p, first + i) >= 0;
        if (!in_use)
            irq_free_msi(irq);
    }
    spin_unlock(&p->lock);
    return rc;
}

/* --- binding; evtchn.c's lock is held --- */

static void
pirq_fired(struct irq *irq, void *data)
{
    struct pirq *pirq = data;

    (void)irq;
    (void)evtchn_send_pirq(pirq->domain, pirq->port);
}

int
pirq_bind(struct vcpu *v, u32 number, u32 port, bool share)
{
    struct domain *d = v->domain;
    struct pirq *pirq = find_pirq(d, number);
    struct irq *irq;
    int rc;

    (void)share; /* one domain has all of a pin's devices */
    if (!pirq)
        return -EINVAL;
    spin_lock(&d->pirqs->lock);
    irq = irq_at(pirq->irq);
    if (pirq->irq == IRQ_NONE || !irq) {
        rc = -EINVAL;
    } else if (pirq->port) {
        rc = -EEXIST;
    } else {
        pirq->port = port;
        pirq->needs_eoi = irq->level;
        set_eoi_bit(d->pirqs, number, pirq->needs_eoi);
        rc = irq_start(irq, v->cpu, pirq_fired, pirq);
        if (rc)
            pirq->port = 0;
    }
    spin_unlock(&d->pirqs->lock);
    return rc;
}

void
pirq_unbind(struct domain *d, u32 number)
{
    struct pirq *pirq = find_pirq(d, number);

    if (!pirq)
        return;
    spin_lock(&d->pirqs->lock);
    if (pirq->irq != IRQ_NONE && irq_at(pirq->irq))
        irq_stop(irq_at(pirq->irq));
    pirq->port = 0;
    pirq->needs_eoi = false;
    set_eoi_bit(d->pirqs, number, false);
    spin_unlock(&d->pirqs->lock);
}

void
pirq_rebind_vcpu(struct domain *d, u32 number, struct vcpu *v)
{
    struct pirq *pirq = find_pirq(d, number);

    if (!pirq)
        return;
    spin_lock(&d->pirqs->lock);
    if (pirq->port && pirq->irq != IRQ_NONE && irq_at(pirq->irq))
        irq_move(irq_at(pirq->irq), v->cpu);
    spin_unlock(&d->pirqs->lock);
}

void
pirq_eoi(struct domain *d, u32 number)
{
    struct pirq *pirq = find_pirq(d, number);
    struct irq *irq;

    /* Without the lock: one that is being unmapped is stopped already, and ending it does nothing. */
    if (!pirq || !READ_ONCE(pirq->needs_eoi))
        return;
    irq = irq_at(READ_ONCE(pirq->irq));
    if (irq)
        irq_end(irq);
}

bool
pirq_needs_eoi(struct domain *d, u32 number)
{
    struct pirq *pirq = find_pirq(d, number);

    return pirq && READ_ONCE(pirq->needs_eoi);
}

u32
pirq_port(struct domain *d, u32 number)
{
    struct pirq *pirq = find_pirq(d, number);

    return pirq ? READ_ONCE(pirq->port) : 0;
}

void
pirq_dump(struct domain *d)
{
    struct pirq_domain *p = d->pirqs;

    for (u32 i = 0; p && i < p->count; i++) {
        const struct pirq *pirq = &p->table[i];
        const struct irq *irq = pirq->irq == IRQ_NONE ? NULL : irq_at(pirq->irq);

        if (irq)
            log_info("%s PIRQ %u: irq %u, CPU %u vector %02x, port %u%s%s%s", d->name_for_log, i, pirq->irq,
                     irq->cpu, irq->vector, pirq->port, irq->level ? ", level" : "",
                     irq->is_on ? "" : ", off", irq->in_service ? ", in service" : "");
    }
}
