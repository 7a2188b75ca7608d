/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hypercalls that touch the inside of a domain: the state of its vCPUs, its memory, its event channels and
 * grants. The same rules as in hypercall.c.
 */
#include "private/hypercall-internal.h"
#include "private/stream.h"

#include <sys/mman.h>
#include <xen/physdev.h>

/*
 * Where machines have the registers of their devices below 4 GiB; a little more than any of them.  Linux
 * moves the memory that would lie there to above (what "e820_host" of xl does by the machine's own map).
 */
#define HOLE_START (1ULL << 30)
#define HOLE_END   (4ULL << 30)

/* --- vCPU state ------------------------------------------------------------------------------- */

gboolean
serai_hv_get_context(SeraiHv *hv, uint32_t domid, uint32_t vcpu, vcpu_guest_context_t *ret_context,
                     GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_getvcpucontext, .domain = domid};
    g_auto(Buffer) buffer = {0};

    if (!buffer_init(&buffer, hv, sizeof(*ret_context), error))
        return FALSE;
    op.u.vcpucontext.vcpu = vcpu;
    set_xen_guest_handle_raw(op.u.vcpucontext.ctxt, buffer.data);
    if (!domctl(hv, &op, NULL, error))
        return FALSE;
    memcpy(ret_context, buffer.data, sizeof(*ret_context));
    return TRUE;
}

gboolean
serai_hv_set_context(SeraiHv *hv, uint32_t domid, uint32_t vcpu, const vcpu_guest_context_t *context,
                     GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_setvcpucontext, .domain = domid};
    g_auto(Buffer) buffer = {0};

    if (!buffer_init(&buffer, hv, sizeof(*context), error))
        return FALSE;
    memcpy(buffer.data, context, sizeof(*context));
    op.u.vcpucontext.vcpu = vcpu;
    set_xen_guest_handle_raw(op.u.vcpucontext.ctxt, buffer.data);
    return domctl(hv, &op, NULL, error);
}

GByteArray *
serai_hv_get_vcpu_blob(SeraiHv *hv, uint32_t domid, uint32_t vcpu, uint32_t record, GError **error)
{
    struct xen_domctl op = {.domain = domid};
    g_auto(Buffer) buffer = {0};
    g_autoptr(GByteArray) blob = g_byte_array_new();
    gsize size;

    switch (record) {
    case SERAI_RECORD_VCPU_EXTENDED:
        op.cmd = XEN_DOMCTL_get_ext_vcpucontext;
        op.u.ext_vcpucontext.vcpu = vcpu;
        if (!domctl(hv, &op, NULL, error))
            return NULL;
        size = MIN(op.u.ext_vcpucontext.size, sizeof(op.u.pad));
        return g_byte_array_append(g_steal_pointer(&blob), (guint8 *)&op.u, size);

    case SERAI_RECORD_VCPU_XSAVE:
        op.cmd = XEN_DOMCTL_getvcpuextstate;
        op.u.vcpuextstate.vcpu = vcpu;
        if (!domctl(hv, &op, NULL, error))
            return NULL;
        if (!op.u.vcpuextstate.xfeature_mask || !op.u.vcpuextstate.size)
            return g_steal_pointer(&blob);
        if (!buffer_init(&buffer, hv, op.u.vcpuextstate.size, error))
            return NULL;
        set_xen_guest_handle_raw(op.u.vcpuextstate.buffer, buffer.data);
        if (!domctl(hv, &op, NULL, error))
            return NULL;
        size = MIN(op.u.vcpuextstate.size, buffer.pages << SERAI_PAGE_SHIFT);
        return g_byte_array_append(g_steal_pointer(&blob), buffer.data, size);

    case SERAI_RECORD_VCPU_MSRS:
        op.cmd = XEN_DOMCTL_get_vcpu_msrs;
        op.u.vcpu_msrs.vcpu = vcpu;
        if (!domctl(hv, &op, NULL, error))
            return NULL;
        if (!op.u.vcpu_msrs.msr_count)
            return g_steal_pointer(&blob);
        size = op.u.vcpu_msrs.msr_count * sizeof(xen_domctl_vcpu_msr_t);
        if (!buffer_init(&buffer, hv, size, error))
            return NULL;
        set_xen_guest_handle_raw(op.u.vcpu_msrs.msrs, buffer.data);
        if (!domctl(hv, &op, NULL, error))
            return NULL;
        size = MIN(size, op.u.vcpu_msrs.msr_count * sizeof(xen_domctl_vcpu_msr_t));
        return g_byte_array_append(g_steal_pointer(&blob), buffer.data, size);
    }
    g_assert_not_reached();
}

gboolean
serai_hv_set_vcpu_blob(SeraiHv *hv, uint32_t domid, uint32_t vcpu, uint32_t record, const guint8 *data,
                       gsize size, GError **error)
{
    struct xen_domctl op = {.domain = domid};
    g_auto(Buffer) buffer = {0};

    if (record == SERAI_RECORD_VCPU_EXTENDED) {
        op.cmd = XEN_DOMCTL_set_ext_vcpucontext;
        memcpy(&op.u, data, MIN(size, sizeof(op.u.pad)));
        op.u.ext_vcpucontext.vcpu = vcpu;
        return domctl(hv, &op, NULL, error);
    }
    if (!buffer_init(&buffer, hv, size, error))
        return FALSE;
    memcpy(buffer.data, data, size);
    if (record == SERAI_RECORD_VCPU_XSAVE) {
        op.cmd = XEN_DOMCTL_setvcpuextstate;
        op.u.vcpuextstate.vcpu = vcpu;
        op.u.vcpuextstate.size = size;
        set_xen_guest_handle_raw(op.u.vcpuextstate.buffer, buffer.data);
    } else {
        op.cmd = XEN_DOMCTL_set_vcpu_msrs;
        op.u.vcpu_msrs.vcpu = vcpu;
        op.u.vcpu_msrs.msr_count = size / sizeof(xen_domctl_vcpu_msr_t);
        set_xen_guest_handle_raw(op.u.vcpu_msrs.msrs, buffer.data);
    }
    return domctl(hv, &op, NULL, error);
}

gboolean
serai_hv_get_policy(SeraiHv *hv, uint32_t domid, GByteArray *ret_leaves, GByteArray *ret_msrs, GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_get_cpu_policy, .domain = domid};
    g_auto(Buffer) leaves = {0}, msrs = {0};
    /* More than any policy has; the hypervisor tells how many it wrote, or fails. */
    const uint32_t leaf_max = 1024, msr_max = 256;

    if (!buffer_init(&leaves, hv, leaf_max * sizeof(xen_cpuid_leaf_t), error) ||
        !buffer_init(&msrs, hv, msr_max * sizeof(xen_msr_entry_t), error))
        return FALSE;
    op.u.cpu_policy.nr_leaves = leaf_max;
    op.u.cpu_policy.nr_msrs = msr_max;
    set_xen_guest_handle_raw(op.u.cpu_policy.leaves, leaves.data);
    set_xen_guest_handle_raw(op.u.cpu_policy.msrs, msrs.data);
    if (!domctl(hv, &op, NULL, error))
        return FALSE;
    g_byte_array_append(ret_leaves, leaves.data,
                        MIN(op.u.cpu_policy.nr_leaves, leaf_max) * sizeof(xen_cpuid_leaf_t));
    g_byte_array_append(ret_msrs, msrs.data, MIN(op.u.cpu_policy.nr_msrs, msr_max) * sizeof(xen_msr_entry_t));
    return TRUE;
}

gboolean
serai_hv_set_policy(SeraiHv *hv, uint32_t domid, GBytes *leaves, GBytes *msrs, GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_set_cpu_policy, .domain = domid};
    g_auto(Buffer) leaf_buffer = {0}, msr_buffer = {0};
    gsize leaf_size = leaves ? g_bytes_get_size(leaves) : 0, msr_size = msrs ? g_bytes_get_size(msrs) : 0;

    if (!buffer_init(&leaf_buffer, hv, leaf_size, error) || !buffer_init(&msr_buffer, hv, msr_size, error))
        return FALSE;
    if (leaf_size)
        memcpy(leaf_buffer.data, g_bytes_get_data(leaves, NULL), leaf_size);
    if (msr_size)
        memcpy(msr_buffer.data, g_bytes_get_data(msrs, NULL), msr_size);
    op.u.cpu_policy.nr_leaves = leaf_size / sizeof(xen_cpuid_leaf_t);
    op.u.cpu_policy.nr_msrs = msr_size / sizeof(xen_msr_entry_t);
    set_xen_guest_handle_raw(op.u.cpu_policy.leaves, leaf_buffer.data);
    set_xen_guest_handle_raw(op.u.cpu_policy.msrs, msr_buffer.data);
    return domctl(hv, &op, NULL, error);
}

/* --- devices of the machine ------------------------------------------------------------------- */

gboolean
serai_hv_assign_device(SeraiHv *hv, uint32_t domid, uint32_t sbdf, gboolean give, GError **error)
{
    struct xen_domctl op = {.cmd = give ? XEN_DOMCTL_assign_device : XEN_DOMCTL_deassign_device,
                            .domain = domid};

    op.u.assign_device.dev = XEN_DOMCTL_DEV_PCI;
    op.u.assign_device.u.pci.machine_sbdf = sbdf;
    return domctl(hv, &op, NULL, error);
}

gboolean
serai_hv_device_is_free(SeraiHv *hv, uint32_t sbdf, GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_test_assign_device, .domain = DOMID_INVALID};

    op.u.assign_device.dev = XEN_DOMCTL_DEV_PCI;
    op.u.assign_device.u.pci.machine_sbdf = sbdf;
    return domctl(hv, &op, NULL, error);
}

gboolean
serai_hv_permit_ports(SeraiHv *hv, uint32_t domid, uint32_t first, uint32_t count, gboolean allow,
                      GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_ioport_permission, .domain = domid};

    op.u.ioport_permission.first_port = first;
    op.u.ioport_permission.nr_ports = count;
    op.u.ioport_permission.allow_access = allow;
    return domctl(hv, &op, NULL, error);
}

gboolean
serai_hv_permit_frames(SeraiHv *hv, uint32_t domid, uint64_t first, uint64_t count, gboolean allow,
                       GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_iomem_permission, .domain = domid};

    op.u.iomem_permission.first_mfn = first;
    op.u.iomem_permission.nr_mfns = count;
    op.u.iomem_permission.allow_access = allow;
    return domctl(hv, &op, NULL, error);
}

gboolean
serai_hv_permit_irq(SeraiHv *hv, uint32_t domid, uint32_t irq, gboolean allow, GError **error)
{
    struct physdev_map_pirq map = {.domid = domid, .type = MAP_PIRQ_TYPE_GSI, .index = irq, .pirq = irq};
    struct physdev_unmap_pirq unmap = {.domid = domid, .pirq = irq};
    struct xen_domctl op = {.cmd = XEN_DOMCTL_irq_permission, .domain = domid};

    if (allow && struct_call(hv, __HYPERVISOR_physdev_op, PHYSDEVOP_map_pirq, &map, sizeof(map), error) < 0)
        return FALSE;
    op.u.irq_permission.pirq = irq;
    op.u.irq_permission.allow_access = allow;
    if (!domctl(hv, &op, NULL, error))
        return FALSE;
    return allow ||
           struct_call(hv, __HYPERVISOR_physdev_op, PHYSDEVOP_unmap_pirq, &unmap, sizeof(unmap), error) >= 0;
}

/* --- memory ----------------------------------------------------------------------------------- */

gboolean
serai_hv_populate(SeraiHv *hv, uint32_t domid, size_t count, uint32_t order, int node, xen_pfn_t *extents,
                  size_t *ret_count, GError **error)
{
    struct xen_memory_reservation arg = {.domid = domid, .extent_order = order, .nr_extents = count};
    g_auto(Buffer) buffer = {0};
    long rc;

    if (!buffer_init(&buffer, hv, count * sizeof(*extents), error))
        return FALSE;
    memcpy(buffer.data, extents, count * sizeof(*extents));
    if (node >= 0)
        arg.mem_flags = XENMEMF_exact_node(node);
    set_xen_guest_handle_raw(arg.extent_start, buffer.data);
    rc = struct_call(hv, __HYPERVISOR_memory_op, XENMEM_populate_physmap, &arg, sizeof(arg), error);
    if (rc < 0)
        return FALSE;
    memcpy(extents, buffer.data, MIN((size_t)rc, count) * sizeof(*extents));
    *ret_count = MIN((size_t)rc, count);
    return TRUE;
}

gboolean
serai_hv_claim(SeraiHv *hv, uint32_t domid, uint64_t pages, GError **error)
{
    struct xen_memory_reservation arg = {.domid = domid, .nr_extents = pages};
    g_autoptr(GError) local = NULL;

    if (struct_call(hv, __HYPERVISOR_memory_op, XENMEM_claim_pages, &arg, sizeof(arg), &local) >= 0 ||
        g_error_matches(local, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

gboolean
serai_hv_set_memory_limit(SeraiHv *hv, uint32_t domid, uint64_t kib, gboolean hole, GError **error)
{
    struct xen_foreign_memory_map arg = {.domid = domid};
    uint64_t size = kib << 10, low = hole ? MIN(size, HOLE_START) : size;
    struct {
        uint64_t address;
        uint64_t size;
        uint32_t type;
    } __attribute__((packed)) entries[] = {{0, low, 1}, {HOLE_END, size - low, 1}}; /* E820 type 1: memory */
    g_auto(Buffer) buffer = {0};

    G_STATIC_ASSERT(sizeof(entries[0]) == 20);
    if (!buffer_init(&buffer, hv, sizeof(entries), error))
        return FALSE;
    memcpy(buffer.data, entries, sizeof(entries));
    arg.map.nr_entries = size > low ? 2 : 1;
    set_xen_guest_handle_raw(arg.map.buffer, buffer.data);
    return struct_call(hv, __HYPERVISOR_memory_op, XENMEM_set_memory_map, &arg, sizeof(arg), error) >= 0;
}

gboolean
serai_hv_max_gpfn(SeraiHv *hv, uint32_t domid, uint64_t *ret_gpfn, GError **error)
{
    domid_t arg = domid;
    long rc = struct_call(hv, __HYPERVISOR_memory_op, XENMEM_maximum_gpfn, &arg, sizeof(arg), error);

    if (rc < 0)
        return FALSE;
    *ret_gpfn = rc;
    return TRUE;
}

gboolean
serai_hv_hypercall_page(SeraiHv *hv, uint32_t domid, xen_pfn_t mfn, GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_hypercall_init, .domain = domid};

    op.u.hypercall_init.gmfn = mfn;
    return domctl(hv, &op, NULL, error);
}

gboolean
serai_hv_pin_table(SeraiHv *hv, uint32_t domid, uint32_t level, xen_pfn_t mfn, GError **error)
{
    struct mmuext_op op = {.cmd = MMUEXT_PIN_L1_TABLE + level - 1, .arg1.mfn = mfn};
    g_auto(Buffer) buffer = {0};
    long rc;

    if (!buffer_init(&buffer, hv, sizeof(op), error))
        return FALSE;
    memcpy(buffer.data, &op, sizeof(op));
    rc = hypercall(hv, __HYPERVISOR_mmuext_op, (uintptr_t)buffer.data, 1, 0, domid);
    if (rc < 0) {
        serai_set_errno(error, -rc,
                        _("The hypervisor does not accept the page table in frame %#lx of domain %u"),
                        (unsigned long)mfn, domid);
        return FALSE;
    }
    return TRUE;
}

gboolean
serai_hv_set_m2p(SeraiHv *hv, uint32_t domid, size_t count, const xen_pfn_t *mfns, const xen_pfn_t *pfns,
                 GError **error)
{
    const size_t batch = 2048;
    g_auto(Buffer) buffer = {0};
    mmu_update_t *updates;

    if (!buffer_init(&buffer, hv, MIN(batch, count) * sizeof(*updates), error))
        return FALSE;
    updates = buffer.data;
    for (size_t done = 0; done < count;) {
        size_t n = MIN(batch, count - done);
        long rc;

        for (size_t i = 0; i < n; i++) {
            updates[i].ptr = (mfns[done + i] << SERAI_PAGE_SHIFT) | MMU_MACHPHYS_UPDATE;
            updates[i].val = pfns[done + i];
        }
        rc = hypercall(hv, __HYPERVISOR_mmu_update, (uintptr_t)updates, n, 0, domid);
        if (rc < 0) {
            serai_set_errno(error, -rc, _("The hypervisor does not take the frame numbers of domain %u"),
                            domid);
            return FALSE;
        }
        done += n;
    }
    return TRUE;
}

gboolean
serai_hv_page_types(SeraiHv *hv, uint32_t domid, size_t count, xen_pfn_t *frames, GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_getpageframeinfo3, .domain = domid};
    g_auto(Buffer) buffer = {0};

    if (!buffer_init(&buffer, hv, count * sizeof(*frames), error))
        return FALSE;
    memcpy(buffer.data, frames, count * sizeof(*frames));
    op.u.getpageframeinfo3.num = count;
    set_xen_guest_handle_raw(op.u.getpageframeinfo3.array, buffer.data);
    if (!domctl(hv, &op, NULL, error))
        return FALSE;
    memcpy(frames, buffer.data, count * sizeof(*frames));
    return TRUE;
}

void *
serai_hv_map(SeraiHv *hv, uint32_t domid, int prot, size_t count, const xen_pfn_t *frames, GError **error)
{
    void *address = hv->ops->map(hv, domid, prot, count, frames, NULL);

    if (!address)
        serai_set_errno(error, errno, _("Cannot map %zu frames of domain %u"), count, domid);
    return address;
}

void *
serai_hv_map_some(SeraiHv *hv, uint32_t domid, int prot, size_t count, const xen_pfn_t *frames, int *errs,
                  GError **error)
{
    void *address = hv->ops->map(hv, domid, prot, count, frames, errs);

    if (!address)
        serai_set_errno(error, errno, _("Cannot map %zu frames of domain %u"), count, domid);
    return address;
}

void
serai_hv_unmap(SeraiHv *hv, void *address, size_t count)
{
    if (address)
        hv->ops->unmap(hv, address, count);
}

/* --- events and grants ------------------------------------------------------------------------ */

gboolean
serai_hv_alloc_port(SeraiHv *hv, uint32_t domid, uint32_t remote, uint32_t *ret_port, GError **error)
{
    struct evtchn_alloc_unbound arg = {.dom = domid, .remote_dom = remote};

    if (struct_call(hv, __HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &arg, sizeof(arg), error) < 0)
        return FALSE;
    *ret_port = arg.port;
    return TRUE;
}

gboolean
serai_hv_seed_grants(SeraiHv *hv, uint32_t domid, xen_pfn_t console_frame, uint32_t console_domid,
                     xen_pfn_t store_frame, uint32_t store_domid, GError **error)
{
    void *handle = NULL;
    grant_entry_v1_t *table = hv->ops->map_grants(hv, domid, &handle);
    const struct {
        uint32_t ref;
        xen_pfn_t frame;
        uint32_t domid;
    } seeds[2] = {{GNTTAB_RESERVED_CONSOLE, console_frame, console_domid},
                  {GNTTAB_RESERVED_XENSTORE, store_frame, store_domid}};

    if (!table) {
        serai_set_errno(error, errno, _("Cannot map the grant table of domain %u"), domid);
        return FALSE;
    }
    for (int i = 0; i < 2; i++) {
        table[seeds[i].ref].frame = seeds[i].frame;
        table[seeds[i].ref].domid = seeds[i].domid;
        __atomic_store_n(&table[seeds[i].ref].flags, GTF_permit_access, __ATOMIC_RELEASE);
    }
    hv->ops->unmap_grants(hv, handle);
    return TRUE;
}
