/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* XEN_DOMCTL_* on frames and devices of a domain. */
#include "hypercall/domctl.h"
#include "hypercall/hypercall.h"
#include "domain/page.h"
#include "domain/permission.h"
#include "domain/pirq.h"
#include "mm/guest-copy.h"
#include "mm/map.h"
#include "pv/pv.h"

/* Frames that XEN_DOMCTL_getpageframeinfo3 takes at a time from the caller's array. */
#define PFINFO_CHUNK 64u
#define PFINFO_MAX   1024u

int
domctl_max_mem(struct domain *d, struct xen_domctl *op)
{
    page_set_max(d, op->u.max_mem.max_memkb >> (PAGE_SHIFT - 10));
    return 0;
}

/* What kind of page @mfn is to @d, as a saved image's reader must know it. */
static u64
page_frame_info(struct domain *d, mfn_t mfn)
{
    struct frame *frame = frame_find(mfn);
    u64 info = XEN_DOMCTL_PFINFO_NOTAB;
    u64 type, kind;

    if (!frame)
        return XEN_DOMCTL_PFINFO_XTAB;
    if ((READ_ONCE(frame->count) & FRAME_STATE) == FRAME_STATE_BROKEN)
        return XEN_DOMCTL_PFINFO_BROKEN;
    if (!page_get(frame, d))
        return XEN_DOMCTL_PFINFO_XTAB;

    type = READ_ONCE(frame->type);
    kind = (type & FRAME_TYPE) >> FRAME_TYPE_SHIFT;
    if (READ_ONCE(frame->count) & FRAME_EXTRA)
        info = XEN_DOMCTL_PFINFO_XTAB; /* the hypervisor's own, shared with it */
    else if (kind >= FRAME_TYPE_L1 >> FRAME_TYPE_SHIFT && kind <= FRAME_TYPE_L4 >> FRAME_TYPE_SHIFT &&
             (type & (FRAME_TYPE_VALIDATED | FRAME_TYPE_PINNED)))
        info =
            kind << XEN_DOMCTL_PFINFO_LTAB_SHIFT | (type & FRAME_TYPE_PINNED ? XEN_DOMCTL_PFINFO_LPINTAB : 0);
    page_put(frame);
    return info;
}

int
domctl_getpageframeinfo3(struct domain *d, struct xen_domctl *op)
{
    struct xen_domctl_getpageframeinfo3 *args = &op->u.getpageframeinfo3;
    u32 budget = PREEMPT_BUDGET;
    u64 chunk[PFINFO_CHUNK];

    if (args->num > PFINFO_MAX)
        return -E2BIG;
    while (args->num) {
        u32 n = MIN(args->num, PFINFO_CHUNK);

        if (!budget)
            return -ERESTART;
        if (copy_from_guest(chunk, (u64)args->array.p, n * sizeof(chunk[0])))
            return -EFAULT;
        for (u32 i = 0; i < n; i++)
            chunk[i] = page_frame_info(d, _mfn(chunk[i]));
        if (copy_to_guest((u64)args->array.p, chunk, n * sizeof(chunk[0])))
            return -EFAULT;
        args->array.p += n;
        args->num -= n;
        budget -= n;
    }
    return 0;
}

/*
 * Saving a stopped domain begins and ends with "off", which is what there is.  Logging of dirty pages, for
 * moving a running one, is refused, so that a toolstack says so at once.
 */
int
domctl_shadow_op(struct domain *d, struct xen_domctl *op)
{
    struct xen_domctl_shadow_op *args = &op->u.shadow_op;

    if (domain_is_dying(d))
        return 0;
    switch (args->op) {
    case XEN_DOMCTL_SHADOW_OP_OFF:
        return 0;
    case XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION:
        args->mb = 0;
        return 0;
    case XEN_DOMCTL_SHADOW_OP_ENABLE:
    case XEN_DOMCTL_SHADOW_OP_ENABLE_TEST:
    case XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY:
    case XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION:
        return -EOPNOTSUPP;
    }
    return -EINVAL;
}

int
domctl_hypercall_init(struct domain *d, struct xen_domctl *op)
{
    mfn_t mfn = _mfn(op->u.hypercall_init.gmfn);
    struct frame *frame = frame_find(mfn);
    void *page;

    if (!frame || !page_get(frame, d))
        return -EINVAL;
    if (page_get_type(frame, FRAME_TYPE_WRITABLE)) {
        page_put(frame);
        return -EPERM;
    }
    page = map_frame(mfn);
    pv_hypercall_page_fill(page);
    unmap_frame(page);
    page_put_writable(frame);
    return 0;
}

/* --- devices; what the caller may not do it cannot pass on --- */

int
domctl_irq_permission(struct domain *d, struct xen_domctl *op)
{
    u32 pirq = op->u.irq_permission.pirq;

    if (pirq >= pirq_count(current->domain))
        return -EINVAL;
    if (!irq_permitted(current->domain, pirq))
        return -EPERM;
    return op->u.irq_permission.allow_access ? irq_permit(d, pirq) : irq_deny(d, pirq);
}

int
domctl_iomem_permission(struct domain *d, struct xen_domctl *op)
{
    u64 first = op->u.iomem_permission.first_mfn;
    u64 last = first + op->u.iomem_permission.nr_mfns - 1;

    if (last < first)
        return -EINVAL;
    if (!iomem_permitted(current->domain, first, last))
        return -EPERM;
    return op->u.iomem_permission.allow_access ? iomem_permit(d, first, last) : iomem_deny(d, first, last);
}

int
domctl_ioport_permission(struct domain *d, struct xen_domctl *op)
{
    u32 first = op->u.ioport_permission.first_port;
    u32 count = op->u.ioport_permission.nr_ports;

    if (!count || first > IOPORT_LAST || count > IOPORT_LAST + 1 - first)
        return -EINVAL;
    if (!ioport_permitted(current->domain, first, first + count - 1))
        return -EPERM;
    return op->u.ioport_permission.allow_access ? ioport_permit(d, first, first + count - 1)
                                                : ioport_deny(d, first, first + count - 1);
}

/* A PV guest maps device frames itself, once it has the permission; there is nothing to map for it. */
int
domctl_memory_mapping(struct domain *d, struct xen_domctl *op)
{
    u64 mfn = op->u.memory_mapping.first_mfn, gfn = op->u.memory_mapping.first_gfn;
    u64 count = op->u.memory_mapping.nr_mfns;

    if (mfn + count - 1 < mfn || gfn + count - 1 < gfn || mfn + count > MFN_LIMIT)
        return -EINVAL;
    if (!iomem_permitted(current->domain, mfn, mfn + count - 1) || !iomem_permitted(d, mfn, mfn + count - 1))
        return -EPERM;
    return domain_is_pv(d) ? 0 : -EOPNOTSUPP;
}
