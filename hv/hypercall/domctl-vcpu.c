/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* XEN_DOMCTL_* on vCPUs: making them, their registers, where they run. */
#include "hypercall/domctl.h"
#include "hypercall/hypercall.h"
#include "base/string.h"
#include "domain/sched.h"
#include "domain/time.h"
#include "mm/guest-copy.h"
#include "mm/heap.h"

int
domctl_max_vcpus(struct domain *d, struct xen_domctl *op)
{
    if (op->u.max_vcpus.max != d->max_vcpus)
        return -EINVAL; /* it was said at creation */

    for (unsigned i = 0; i < d->max_vcpus; i++) {
        struct vcpu *v;
        int rc;

        if (READ_ONCE(d->vcpus[i]))
            continue;
        rc = vcpu_create(d, i, &v);
        if (rc && rc != -EEXIST)
            return rc;
    }
    return 0;
}

int
domctl_setvcpucontext(struct domain *d, struct xen_domctl *op)
{
    u64 ctxt = (u64)op->u.vcpucontext.ctxt.p;
    struct vcpu *v = vcpu_find(d, op->u.vcpucontext.vcpu);
    struct vcpu_guest_context *ctx;
    int rc;

    if (!v)
        return -EINVAL;
    if (!ctxt)
        return vcpu_reset(v);

    ctx = heap_alloc(sizeof(*ctx)); /* five kilobytes: too much for the stack */
    if (!ctx)
        return -ENOMEM;
    rc = copy_from_guest(ctx, ctxt, sizeof(*ctx));
    if (!rc)
        rc = vcpu_set_context(v, ctx);
    heap_free(ctx);
    /* Whoever builds a domain clears its shared info before this. */
    if (!rc && v->id == 0)
        time_update_wallclock(d);
    return rc;
}

int
domctl_getvcpucontext(struct domain *d, struct xen_domctl *op)
{
    struct vcpu *v = vcpu_find(d, op->u.vcpucontext.vcpu);
    struct vcpu_guest_context *ctx;
    int rc;

    if (!v)
        return -EINVAL;
    if (!v->initialised)
        return -ENODATA;

    ctx = heap_zalloc(sizeof(*ctx));
    if (!ctx)
        return -ENOMEM;
    d->ops->get_context(v, ctx);
    rc = copy_to_guest((u64)op->u.vcpucontext.ctxt.p, ctx, sizeof(*ctx));
    heap_free(ctx);
    return rc;
}

int
domctl_getvcpuinfo(struct domain *d, struct xen_domctl *op)
{
    struct xen_domctl_getvcpuinfo *info = &op->u.getvcpuinfo;
    struct vcpu_runstate_info runstate;
    enum vcpu_state state;
    struct vcpu *v;

    if (info->vcpu >= d->max_vcpus)
        return -EINVAL;
    v = vcpu_find(d, info->vcpu);
    if (!v)
        return -ESRCH;

    state = READ_ONCE(v->state);
    runstate_get(v, &runstate);
    info->online = state != VCPU_OFFLINE;
    info->blocked = state == VCPU_BLOCKED;
    info->running = READ_ONCE(v->is_running);
    info->cpu_time = runstate.time[RUNSTATE_running];
    info->cpu = READ_ONCE(v->cpu);
    return 0;
}

/* --- affinity --- */

static int
find_affinity_vcpu(struct domain *d, const struct xen_domctl_vcpuaffinity *op, struct vcpu **ret_vcpu)
{
    const u32 known = XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT | XEN_VCPUAFFINITY_FORCE;

    if (op->vcpu >= d->max_vcpus)
        return -EINVAL;
    *ret_vcpu = vcpu_find(d, op->vcpu);
    if (!*ret_vcpu)
        return -ESRCH;
    if (!op->flags || (op->flags & ~known) ||
        ((op->flags & XEN_VCPUAFFINITY_HARD) && !op->cpumap_hard.bitmap.p) ||
        ((op->flags & XEN_VCPUAFFINITY_SOFT) && !op->cpumap_soft.bitmap.p))
        return -EINVAL;
    return 0;
}

/* Sets what is asked for, and tells what of it there is: the online CPUs in it. */
int
domctl_setvcpuaffinity(struct domain *d, struct xen_domctl *op)
{
    const struct xen_domctl_vcpuaffinity *affinity = &op->u.vcpuaffinity;
    cpumask_t hard, soft, old_hard;
    struct vcpu *v;
    int rc;

    rc = find_affinity_vcpu(d, affinity, &v);
    if (!rc && (affinity->flags & XEN_VCPUAFFINITY_HARD))
        rc = get_bitmap(&affinity->cpumap_hard, hard.bits, cpu_limit);
    if (!rc && (affinity->flags & XEN_VCPUAFFINITY_SOFT))
        rc = get_bitmap(&affinity->cpumap_soft, soft.bits, cpu_limit);
    if (rc)
        return rc;

    cpumask_copy(&old_hard, v->hard_affinity);
    if (affinity->flags & XEN_VCPUAFFINITY_HARD) {
        rc = sched_set_hard_affinity(v, &hard);
        if (rc)
            return rc;
    }
    if (affinity->flags & XEN_VCPUAFFINITY_SOFT) {
        rc = sched_set_soft_affinity(v, &soft);
        if (rc)
            goto restore_hard;
    }

    if (affinity->flags & XEN_VCPUAFFINITY_HARD) {
        cpumask_and(&hard, v->hard_affinity, &cpu_online);
        rc = put_bitmap(&affinity->cpumap_hard, hard.bits, cpu_limit);
    }
    if (!rc && (affinity->flags & XEN_VCPUAFFINITY_SOFT)) {
        cpumask_and(&soft, &soft, &cpu_online);
        cpumask_and(&soft, &soft, v->hard_affinity);
        rc = put_bitmap(&affinity->cpumap_soft, soft.bits, cpu_limit);
    }
    return rc;

restore_hard:
    if (affinity->flags & XEN_VCPUAFFINITY_HARD)
        (void)sched_set_hard_affinity(v, &old_hard);
    return rc;
}

int
domctl_getvcpuaffinity(struct domain *d, struct xen_domctl *op)
{
    const struct xen_domctl_vcpuaffinity *affinity = &op->u.vcpuaffinity;
    struct vcpu *v;
    int rc = find_affinity_vcpu(d, affinity, &v);

    if (!rc && (affinity->flags & XEN_VCPUAFFINITY_HARD))
        rc = put_bitmap(&affinity->cpumap_hard, v->hard_affinity->bits, cpu_limit);
    if (!rc && (affinity->flags & XEN_VCPUAFFINITY_SOFT))
        rc = put_bitmap(&affinity->cpumap_soft, v->soft_affinity->bits, cpu_limit);
    return rc;
}

/* --- the rest --- */

int
domctl_sendtrigger(struct domain *d, struct xen_domctl *op)
{
    struct vcpu *v = vcpu_find(d, op->u.sendtrigger.vcpu);

    if (!v)
        return -ESRCH;
    switch (op->u.sendtrigger.trigger) {
    case XEN_DOMCTL_SENDTRIGGER_NMI:
        atomic_set(&v->nmi_pending, true);
        vcpu_kick(v);
        return 0;
    case XEN_DOMCTL_SENDTRIGGER_POWER:
    case XEN_DOMCTL_SENDTRIGGER_SLEEP:
        return -EINVAL; /* a PV guest has no such buttons */
    }
    return -ENOSYS;
}

int
domctl_set_address_size(struct domain *d, struct xen_domctl *op)
{
    if (!domain_is_pv(d))
        return -EOPNOTSUPP;
    switch (op->u.address_size.size) {
    case 64:
        return 0;
    case 32:
        return -EOPNOTSUPP;
    }
    return -EINVAL;
}

int
domctl_get_address_size(struct domain *d, struct xen_domctl *op)
{
    if (!domain_is_pv(d))
        return -EOPNOTSUPP;
    op->u.address_size.size = 64;
    return 0;
}
