/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * memory_op: what a domain asks about memory, its own, another's or the machine's.  The operations that move
 * pages are in memory-reservation.c.  Upper bits of the operation's number say how many extents of a list
 * were done before.
 */
#include "hypercall/memory-op.h"
#include "base/string.h"
#include "domain/grant.h"
#include "domain/page.h"
#include "hypercall/hypercall.h"
#include "mm/guest-copy.h"
#include "mm/heap.h"
#include "x86/memory-range.h"
#include "x86/paging.h"

/* A row of a memory map, as the BIOS's INT 15h, AX=E820h has it. */
struct e820_entry {
    u64 address, size;
    u32 type;
} __packed;

#define E820_ENTRIES_MAX 128u

#define M2P_CHUNK        (2ull << 20)
#define FRAMES_PER_CHUNK (M2P_CHUNK / sizeof(u64))

int
memory_op_domain(u16 id, struct domain **ret_domain)
{
    struct domain *d;
    int rc = domain_find_or_self(id, &d);

    if (rc)
        return rc;
    if (d != current->domain && !may_control(d))
        return -EPERM;
    *ret_domain = d;
    return 0;
}

/* --- numbers --- */

static s64
xenmem_maximum_ram_page(void *arg, u32 start, u32 *next)
{
    return frame_limit - 1;
}

static s64
xenmem_current_reservation(void *arg, u32 start, u32 *next)
{
    struct domain *d;
    int rc = memory_op_domain(*(domid_t *)arg, &d);

    return rc ? rc : (s64)d->page_count;
}

static s64
xenmem_maximum_reservation(void *arg, u32 start, u32 *next)
{
    struct domain *d;
    int rc = memory_op_domain(*(domid_t *)arg, &d);

    return rc ? rc : (s64)d->page_max;
}

static s64
xenmem_maximum_gpfn(void *arg, u32 start, u32 *next)
{
    struct domain *d;
    u64 max_pfn;
    int rc = memory_op_domain(*(domid_t *)arg, &d);

    if (rc)
        return rc;
    /* The guest's own word; a domain that has not run has said nothing, and 0 is the answer for it. */
    max_pfn = d->shared ? READ_ONCE(d->shared->arch.max_pfn) : 0;
    return max_pfn ? (s64)max_pfn - 1 : 0;
}

static s64
xenmem_no_sharing(void *arg, u32 start, u32 *next)
{
    return 0; /* pages shared by copy-on-write: there are none */
}

static s64
xenmem_not_supported(void *arg, u32 start, u32 *next)
{
    return -EOPNOTSUPP;
}

/* --- the machine-to-physical table --- */

/* Its frames may be mapped, as DOMID_XEN's, by whoever may map other domains' memory. */
static void
share_m2p(void)
{
    static spinlock_t lock = SPINLOCK_INIT;
    static bool done;
    pte_t pte;

    spin_lock(&lock);
    for (u64 va = M2P_START; !done && va < M2P_START + frame_limit * sizeof(u64); va += M2P_CHUNK)
        if (paging_walk(paging_idle_l4(), va, &pte) == 2)
            page_share_hypervisor(pte_mfn(pte), M2P_CHUNK >> PAGE_SHIFT);
    done = true;
    spin_unlock(&lock);
}

static s64
xenmem_machphys_mfn_list(void *arg, u32 start, u32 *next)
{
    struct xen_machphys_mfn_list *list = arg;
    u64 chunks = DIV_ROUND_UP(frame_limit, FRAMES_PER_CHUNK);
    xen_pfn_t last = 0;
    u32 i;

    share_m2p();
    for (i = 0; i < list->max_extents && i < chunks; i++) {
        pte_t pte;

        /* Where there is no memory, the nearest chunk below stands in, so that the list has no holes. */
        if (paging_walk(paging_idle_l4(), M2P_START + i * M2P_CHUNK, &pte) == 2)
            last = mfn_x(pte_mfn(pte));
        if (put_guest(list->extent_start, i, &last))
            return -EFAULT;
    }
    list->nr_extents = i;
    return 0;
}

static s64
xenmem_machphys_mapping(void *arg, u32 start, u32 *next)
{
    struct xen_machphys_mapping *mapping = arg;

    mapping->v_start = M2P_START;
    mapping->v_end = M2P_END;
    mapping->max_mfn = frame_limit - 1;
    return 0;
}

/* --- memory maps --- */

static s64
xenmem_memory_map(void *arg, u32 start, u32 *next)
{
    struct xen_memory_map *map = arg;
    struct domain *d = current->domain;
    s64 rc = 0;

    spin_lock(&d->lock);
    if (!d->memory_map) {
        rc = -ENOSYS;
    } else if (map->nr_entries < d->memory_map_entries) {
        rc = -EINVAL;
    } else {
        map->nr_entries = d->memory_map_entries;
        if (copy_to_guest((u64)map->buffer.p, d->memory_map, map->nr_entries * sizeof(struct e820_entry)))
            rc = -EFAULT;
    }
    spin_unlock(&d->lock);
    return rc;
}

static s64
xenmem_machine_memory_map(void *arg, u32 start, u32 *next)
{
    struct xen_memory_map *map = arg;
    u32 count = 0;

    if (!current->domain->is_privileged && !current->domain->is_hardware)
        return -EPERM;
    for (; count < memory_range_count && count < map->nr_entries; count++) {
        const struct memory_range *range = &memory_ranges[count];
        struct e820_entry entry = {range->start, range->end - range->start, range->type};

        if (copy_to_guest((u64)map->buffer.p + count * sizeof(entry), &entry, sizeof(entry)))
            return -EFAULT;
    }
    map->nr_entries = count;
    return 0;
}

static s64
xenmem_set_memory_map(void *arg, u32 start, u32 *next)
{
    const struct xen_foreign_memory_map *fmap = arg;
    u32 count = fmap->map.nr_entries;
    void *entries = NULL, *old;
    struct domain *d;
    int rc;

    if (count > E820_ENTRIES_MAX)
        return -EINVAL;
    rc = domain_find_or_self(fmap->domid, &d);
    if (rc)
        return rc;
    if (!may_control(d))
        return -EPERM;
    if (count) {
        entries = heap_alloc(count * sizeof(struct e820_entry));
        if (!entries)
            return -ENOMEM;
        if (copy_from_guest(entries, (u64)fmap->map.buffer.p, count * sizeof(struct e820_entry))) {
            heap_free(entries);
            return -EFAULT;
        }
    }
    spin_lock(&d->lock);
    old = d->memory_map;
    d->memory_map = entries;
    d->memory_map_entries = count;
    spin_unlock(&d->lock);
    heap_free(old);
    return 0;
}

/* No device here wants memory that firmware set aside to be mapped for it. */
static s64
xenmem_reserved_device_memory_map(void *arg, u32 start, u32 *next)
{
    struct xen_reserved_device_memory_map *map = arg;

    map->nr_entries = 0;
    return 0;
}

/* --- physmaps: PV domains have none --- */

static s64
xenmem_add_to_physmap(void *arg, u32 start, u32 *next)
{
    struct domain *d;
    int rc = memory_op_domain(((struct xen_add_to_physmap *)arg)->domid, &d);

    return rc ? rc : -EINVAL;
}

static s64
xenmem_add_to_physmap_batch(void *arg, u32 start, u32 *next)
{
    struct domain *d;
    int rc = memory_op_domain(((struct xen_add_to_physmap_batch *)arg)->domid, &d);

    return rc ? rc : -EINVAL;
}

static s64
xenmem_remove_from_physmap(void *arg, u32 start, u32 *next)
{
    const struct xen_remove_from_physmap *remove = arg;
    struct frame *frame = frame_find(_mfn(remove->gpfn));
    struct domain *d;
    int rc = memory_op_domain(remove->domid, &d);

    if (rc)
        return rc;
    if (!frame || !page_get(frame, d))
        return -ENOENT;
    page_put(frame);
    return 0;
}

/* --- the toolstack's --- */

static s64
xenmem_claim_pages(void *arg, u32 start, u32 *next)
{
    const struct xen_memory_reservation *res = arg;
    struct domain *d;
    int rc = domain_find_or_self(res->domid, &d);

    if (rc)
        return rc;
    if (!may_control(d))
        return -EPERM;
    if (!guest_handle_is_null(res->extent_start) || res->extent_order || res->mem_flags)
        return -EINVAL;
    return page_claim(d, res->nr_extents);
}

static s64
xenmem_get_pod_target(void *arg, u32 start, u32 *next)
{
    struct xen_pod_target *target = arg;
    struct domain *d;
    int rc = domain_find_or_self(target->domid, &d);

    if (rc)
        return rc;
    if (!may_control(d))
        return -EPERM;
    target->tot_pages = d->page_count;
    target->pod_cache_pages = target->pod_entries = 0;
    return 0;
}

static s64
acquire_grant_table(struct domain *d, struct xen_mem_acquire_resource *res)
{
    u64 last;

    if (res->id == XENMEM_resource_grant_table_id_status)
        return -EOPNOTSUPP;
    if (res->id != XENMEM_resource_grant_table_id_shared)
        return -EINVAL;
    if (guest_handle_is_null(res->frame_list)) {
        if (res->nr_frames)
            return -EINVAL;
        res->nr_frames = grant_frames_max(d);
        return 0;
    }
    if (__builtin_add_overflow(res->frame, res->nr_frames, &last) || last > grant_frames_max(d))
        return -EINVAL;
    for (u32 i = 0; i < res->nr_frames; i++) {
        xen_pfn_t frame;
        mfn_t mfn;
        int rc = grant_frame_mfn(d, (u32)res->frame + i, &mfn);

        if (rc)
            return rc;
        frame = mfn_x(mfn);
        if (put_guest(res->frame_list, i, &frame))
            return -EFAULT;
    }
    return 0;
}

static s64
xenmem_acquire_resource(void *arg, u32 start, u32 *next)
{
    struct xen_mem_acquire_resource *res = arg;
    struct domain *d;
    int rc;

    if (res->pad)
        return -EINVAL;
    rc = domain_find_or_self(res->domid, &d);
    if (rc)
        return rc;
    if (!may_control(d))
        return -EPERM;
    if (res->type == XENMEM_resource_grant_table && d->grants)
        return acquire_grant_table(d, res);
    return -EOPNOTSUPP;
}

/* --- the table --- */

static const struct memory_op {
    const char *name;
    memory_op_fn *handler;
    u16 size;
    bool out; /* the argument goes back to the guest */
} memory_ops[] = {
    /* clang-format off */
    [XENMEM_increase_reservation] =
        {"increase_reservation", xenmem_increase_reservation, SIZE(xen_memory_reservation), false},
    [XENMEM_decrease_reservation] =
        {"decrease_reservation", xenmem_decrease_reservation, SIZE(xen_memory_reservation), false},
    [XENMEM_maximum_ram_page] = {"maximum_ram_page", xenmem_maximum_ram_page, 0, false},
    [XENMEM_current_reservation] =
        {"current_reservation", xenmem_current_reservation, sizeof(domid_t), false},
    [XENMEM_maximum_reservation] =
        {"maximum_reservation", xenmem_maximum_reservation, sizeof(domid_t), false},
    [XENMEM_machphys_mfn_list] =
        {"machphys_mfn_list", xenmem_machphys_mfn_list, SIZE(xen_machphys_mfn_list), true},
    [XENMEM_populate_physmap] =
        {"populate_physmap", xenmem_populate_physmap, SIZE(xen_memory_reservation), false},
    [XENMEM_add_to_physmap] = {"add_to_physmap", xenmem_add_to_physmap, SIZE(xen_add_to_physmap), false},
    [XENMEM_memory_map] = {"memory_map", xenmem_memory_map, SIZE(xen_memory_map), true},
    [XENMEM_machine_memory_map] =
        {"machine_memory_map", xenmem_machine_memory_map, SIZE(xen_memory_map), true},
    [XENMEM_exchange] = {"exchange", xenmem_exchange, SIZE(xen_memory_exchange), true},
    [XENMEM_machphys_mapping] =
        {"machphys_mapping", xenmem_machphys_mapping, SIZE(xen_machphys_mapping), true},
    [XENMEM_set_memory_map] = {"set_memory_map", xenmem_set_memory_map, SIZE(xen_foreign_memory_map), false},
    [XENMEM_maximum_gpfn] = {"maximum_gpfn", xenmem_maximum_gpfn, sizeof(domid_t), false},
    [XENMEM_remove_from_physmap] =
        {"remove_from_physmap", xenmem_remove_from_physmap, SIZE(xen_remove_from_physmap), false},
    [XENMEM_set_pod_target] = {"set_pod_target", xenmem_not_supported, 0, false},
    [XENMEM_get_pod_target] = {"get_pod_target", xenmem_get_pod_target, SIZE(xen_pod_target), true},
    [XENMEM_get_sharing_freed_pages] = {"get_sharing_freed_pages", xenmem_no_sharing, 0, false},
    [XENMEM_get_sharing_shared_pages] = {"get_sharing_shared_pages", xenmem_no_sharing, 0, false},
    [XENMEM_paging_op] = {"paging_op", xenmem_not_supported, 0, false},
    [XENMEM_access_op] = {"access_op", xenmem_not_supported, 0, false},
    [XENMEM_sharing_op] = {"sharing_op", xenmem_not_supported, 0, false},
    [XENMEM_add_to_physmap_batch] =
        {"add_to_physmap_batch", xenmem_add_to_physmap_batch, SIZE(xen_add_to_physmap_batch), false},
    [XENMEM_claim_pages] = {"claim_pages", xenmem_claim_pages, SIZE(xen_memory_reservation), false},
    [XENMEM_get_vnumainfo] = {"get_vnumainfo", xenmem_get_vnumainfo, SIZE(xen_vnuma_topology_info), true},
    [XENMEM_reserved_device_memory_map] =
        {"reserved_device_memory_map", xenmem_reserved_device_memory_map,
         SIZE(xen_reserved_device_memory_map), true},
    [XENMEM_acquire_resource] =
        {"acquire_resource", xenmem_acquire_resource, SIZE(xen_mem_acquire_resource), true},
    /* clang-format on */
};

s64
hypercall_memory_op(u64 *arg)
{
    u64 op = arg[0] & ((1u << MEMOP_EXTENT_SHIFT) - 1);
    u32 start = (u32)(arg[0] >> MEMOP_EXTENT_SHIFT) & (~0u >> MEMOP_EXTENT_SHIFT), next = start;
    const struct memory_op *row;
    u64 buffer[16];
    s64 rc;

    if (op >= ARRAY_SIZE(memory_ops) || !memory_ops[index_nospec(op, ARRAY_SIZE(memory_ops))].handler)
        return -ENOSYS;
    row = &memory_ops[index_nospec(op, ARRAY_SIZE(memory_ops))];
    static_assert(sizeof(struct xen_memory_exchange) <= sizeof(buffer), "the largest argument");
    if (row->size && copy_from_guest(buffer, arg[1], row->size))
        return -EFAULT;
    rc = row->handler(buffer, start, &next);
    if (row->out && (rc >= 0 || rc == -ENOBUFS || op == XENMEM_exchange) &&
        copy_to_guest(arg[1], buffer, row->size))
        return -EFAULT;
    if (rc == -ERESTART)
        arg[0] = op | (u64)next << MEMOP_EXTENT_SHIFT;
    return rc;
}
