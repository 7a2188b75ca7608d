/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * NUMA nodes that a guest sees: XEN_DOMCTL_setvnumainfo says once what they
 * are, XENMEM_get_vnumainfo tells the guest.  Nothing in the hypervisor
 * acts upon it; the toolstack takes each node's memory from where it wants.
 */
#include "domain/domain.h"
#include "hypercall/domctl.h"
#include "hypercall/hypercall.h"
#include "hypercall/memory-op.h"
#include "mm/guest-copy.h"
#include "mm/heap.h"

/* No guest has more, and a table of this many squared is still small. */
#define VNUMA_NODES_MAX  64
#define VNUMA_RANGES_MAX 256

/* What is told, as it will be copied out. */
struct vnuma {
    u32 nodes, ranges; /* and the domain's max_vcpus */
    struct xen_vmemrange range[VNUMA_RANGES_MAX];
    u32 distance[VNUMA_NODES_MAX * VNUMA_NODES_MAX];
    u32 vcpu_node[];
};

static int
copy_in(struct vnuma *v, const struct xen_domctl_vnuma *info)
{
    if (copy_from_guest(v->distance, (u64)info->vdistance.p,
                        info->nr_vnodes * info->nr_vnodes * sizeof(u32)) ||
        copy_from_guest(v->vcpu_node, (u64)info->vcpu_to_vnode.p, info->nr_vcpus * sizeof(u32)) ||
        copy_from_guest(v->range, (u64)info->vmemrange.p, info->nr_vmemranges * sizeof(v->range[0])))
        return -EFAULT;
    v->nodes = info->nr_vnodes;
    v->ranges = info->nr_vmemranges;
    for (u32 i = 0; i < info->nr_vcpus; i++)
        if (v->vcpu_node[i] >= v->nodes)
            return -EINVAL;
    for (u32 i = 0; i < v->ranges; i++)
        if (v->range[i].nid >= v->nodes || v->range[i].flags || v->range[i].start >= v->range[i].end)
            return -EINVAL;
    return 0;
}

int
domctl_setvnumainfo(struct domain *d, struct xen_domctl *op)
{
    const struct xen_domctl_vnuma *info = &op->u.vnuma;
    struct vnuma *v, *was;
    int rc;

    if (!info->nr_vnodes || info->nr_vnodes > VNUMA_NODES_MAX || !info->nr_vmemranges ||
        info->nr_vmemranges > VNUMA_RANGES_MAX || info->nr_vcpus != d->max_vcpus || info->pad)
        return -EINVAL;
    v = heap_alloc(sizeof(*v) + info->nr_vcpus * sizeof(u32));
    if (!v)
        return -ENOMEM;
    rc = copy_in(v, info);
    if (rc) {
        heap_free(v);
        return rc;
    }
    spin_lock(&d->lock);
    was = d->vnuma;
    d->vnuma = v;
    spin_unlock(&d->lock);
    heap_free(was);
    return 0;
}

/* Called with the lock.  Where there is too little room, how much it takes is told. */
static s64
copy_out(struct domain *d, const struct vnuma *v, struct xen_vnuma_topology_info *info)
{
    const bool fits =
        info->nr_vnodes >= v->nodes && info->nr_vcpus >= d->max_vcpus && info->nr_vmemranges >= v->ranges;

    info->nr_vnodes = v->nodes;
    info->nr_vcpus = d->max_vcpus;
    info->nr_vmemranges = v->ranges;
    if (!fits)
        return -ENOBUFS;
    if (copy_to_guest((u64)info->vdistance.h.p, v->distance, v->nodes * v->nodes * sizeof(u32)) ||
        copy_to_guest((u64)info->vcpu_to_vnode.h.p, v->vcpu_node, d->max_vcpus * sizeof(u32)) ||
        copy_to_guest((u64)info->vmemrange.h.p, v->range, v->ranges * sizeof(v->range[0])))
        return -EFAULT;
    return 0;
}

s64
xenmem_get_vnumainfo(void *arg, u32 start, u32 *next)
{
    struct xen_vnuma_topology_info *info = arg;
    struct domain *d;
    s64 rc = domain_find_or_self(info->domid, &d);

    if (rc)
        return rc;
    if (!may_control(d) && d != current->domain)
        return -EPERM;
    if (info->pad)
        return -EINVAL;
    spin_lock(&d->lock);
    rc = d->vnuma ? copy_out(d, d->vnuma, info) : -EOPNOTSUPP;
    spin_unlock(&d->lock);
    return rc;
}
