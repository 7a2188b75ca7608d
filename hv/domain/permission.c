/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Permissions as sets of ranges.
 *
 * A set is a sorted array of ranges that neither overlap nor touch.  It is never changed: whoever changes
 * it builds another, under d->lock, and puts that in its place; the old one is freed when every CPU has
 * left the hypervisor once.  So a page table update or an emulated IN asks without a lock, at the price of
 * one binary search.
 */
#include "domain/permission.h"
#include "base/string.h"
#include "mm/heap.h"

struct range {
    u64 first, last;
};

struct range_set {
    struct work free_work;
    u32 count;
    struct range range[];
};

static void
free_set(struct work *work)
{
    heap_free(container_of(work, struct range_set, free_work));
}

static bool
set_contains(struct range_set *const *slot, u64 first, u64 last)
{
    const struct range_set *set = atomic_read_acquire(slot);
    u32 low = 0, high = set ? set->count : 0;

    /* The last range that does not begin after @first. */
    while (low < high) {
        u32 middle = low + (high - low) / 2;

        if (set->range[middle].first <= first)
            low = middle + 1;
        else
            high = middle;
    }
    return low && first <= last && last <= set->range[low - 1].last;
}

/* Whether ranges @a and [first, last] overlap or touch, so that together they are one. */
static bool
is_joined(const struct range *a, u64 first, u64 last)
{
    return (!first || a->last >= first - 1) && (last == ~0ull || a->first <= last + 1);
}

/* Writes to @new what @old and [first, last] are together; the count is the result. */
static u32
join(struct range *new, const struct range_set *old, u64 first, u64 last)
{
    u32 n = 0, i = 0, count = old ? old->count : 0;

    while (i < count && !is_joined(&old->range[i], first, last) && old->range[i].last < first)
        new[n++] = old->range[i++];
    for (; i < count && is_joined(&old->range[i], first, last); i++) {
        first = MIN(first, old->range[i].first);
        last = MAX(last, old->range[i].last);
    }
    new[n++] = (struct range){first, last};
    while (i < count)
        new[n++] = old->range[i++];
    return n;
}

/* Writes to @new what remains of @old without [first, last]. */
static u32
cut(struct range *new, const struct range_set *old, u64 first, u64 last)
{
    u32 n = 0;

    for (u32 i = 0; old && i < old->count; i++) {
        struct range r = old->range[i];

        if (r.last < first || r.first > last) {
            new[n++] = r;
            continue;
        }
        if (r.first < first)
            new[n++] = (struct range){r.first, first - 1};
        if (r.last > last)
            new[n++] = (struct range){last + 1, r.last};
    }
    return n;
}

static int
set_change(struct range_set **slot, u64 first, u64 last, u64 limit, bool permit)
{
    struct range_set *old = *slot, *new;
    u32 room = (old ? old->count : 0) + 1; /* either way, one range more at most */

    if (first > last || last > limit)
        return -EINVAL;
    new = heap_zalloc(sizeof(*new) + room * sizeof(new->range[0]));
    if (!new)
        return -ENOMEM;
    new->count = permit ? join(new->range, old, first, last) : cut(new->range, old, first, last);
    if (new->count > PERMISSION_RANGES_MAX) {
        heap_free(new);
        return -ENOSPC;
    }

    atomic_set_release(slot, new);
    if (old) {
        work_init(&old->free_work, free_set);
        work_queue_after_quiesce(&old->free_work);
    }
    return 0;
}

bool
iomem_permitted(const struct domain *d, u64 mfn_first, u64 mfn_last)
{
    return set_contains(&d->io_mem, mfn_first, mfn_last);
}

bool
ioport_permitted(const struct domain *d, u32 first, u32 last)
{
    return set_contains(&d->io_ports, first, last);
}

bool
irq_permitted(const struct domain *d, u32 irq)
{
    return set_contains(&d->irqs, irq, irq);
}

int
iomem_permit(struct domain *d, u64 mfn_first, u64 mfn_last)
{
    return set_change(&d->io_mem, mfn_first, mfn_last, MFN_LIMIT - 1, true);
}

int
iomem_deny(struct domain *d, u64 mfn_first, u64 mfn_last)
{
    return set_change(&d->io_mem, mfn_first, mfn_last, MFN_LIMIT - 1, false);
}

int
ioport_permit(struct domain *d, u32 first, u32 last)
{
    return set_change(&d->io_ports, first, last, IOPORT_LAST, true);
}

int
ioport_deny(struct domain *d, u32 first, u32 last)
{
    return set_change(&d->io_ports, first, last, IOPORT_LAST, false);
}

int
irq_permit(struct domain *d, u32 irq)
{
    return set_change(&d->irqs, irq, irq, ~0u, true);
}

int
irq_deny(struct domain *d, u32 irq)
{
    return set_change(&d->irqs, irq, irq, ~0u, false);
}

int
permission_init_hardware(struct domain *d)
{
    int rc = iomem_permit(d, 0, MFN_LIMIT - 1);

    if (!rc)
        rc = ioport_permit(d, 0, IOPORT_LAST);
    if (!rc)
        rc = set_change(&d->irqs, 0, ~0u, ~0u, true);
    return rc; /* permission_fini() frees what was given */
}

void
permission_fini(struct domain *d)
{
    heap_free(d->io_mem);
    heap_free(d->io_ports);
    heap_free(d->irqs);
    d->io_mem = d->io_ports = d->irqs = NULL;
}
