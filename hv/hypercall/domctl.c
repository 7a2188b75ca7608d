/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * HYPERVISOR_domctl: what a toolstack does to a domain.
 *
 * There is no lock for all of it.  A row says what is held while its handler runs:
 *
 *   PAUSED   no vCPU of the domain is on a CPU.  Taken first and without a lock, since waiting for a vCPU
 *            that itself waits for a lock of ours would never end
 *   LOCKED   d->lock, for the fields marked (l), and for making vCPUs and giving them registers
 *
 * Handlers without LOCKED call functions that take the locks they need.  The domain itself stays, because
 * domain_find() is good until this CPU leaves the hypervisor.
 */
#include "hypercall/domctl.h"
#include "hypercall/hypercall.h"
#include "base/string.h"
#include "domain/evtchn.h"
#include "domain/sched.h"
#include "mm/guest-copy.h"
#include "x86/tsc.h"

/* The public headers keep these names to themselves. */
enum tsc_mode { TSC_MODE_DEFAULT, TSC_MODE_ALWAYS_EMULATE, TSC_MODE_NEVER_EMULATE };

enum domctl_flags {
    OUT = 1,        /* a handler that succeeds has changed the struct; the caller gets it back */
    OUT_ALWAYS = 2, /* one that fails, too */
    NOT_SELF = 4,   /* -EINVAL for the caller's own domain */
    NO_DOMAIN = 8,  /* need not name a domain; @d may be NULL */
    PAUSED = 16,    /* implies NOT_SELF */
    LOCKED = 32,
};

struct domctl {
    domctl_fn *handler;
    u8 flags;
};

static int
domctl_not_supported(struct domain *d, struct xen_domctl *op)
{
    (void)d;
    (void)op;
    return -EOPNOTSUPP;
}

static int
domctl_no_device(struct domain *d, struct xen_domctl *op)
{
    (void)d;
    (void)op;
    return -ENODEV;
}

/* In ABI order.  A number without a row answers -ENOSYS. */
static const struct domctl domctls[] = {
    [XEN_DOMCTL_createdomain] = {domctl_createdomain, NO_DOMAIN | OUT},
    [XEN_DOMCTL_destroydomain] = {domctl_destroydomain, NOT_SELF},
    [XEN_DOMCTL_pausedomain] = {domctl_pausedomain, NOT_SELF},
    [XEN_DOMCTL_unpausedomain] = {domctl_unpausedomain, NOT_SELF},
    [XEN_DOMCTL_getdomaininfo] = {domctl_getdomaininfo, NO_DOMAIN | OUT},
    [XEN_DOMCTL_setvcpuaffinity] = {domctl_setvcpuaffinity, 0},
    [XEN_DOMCTL_shadow_op] = {domctl_shadow_op, NOT_SELF | OUT_ALWAYS},
    [XEN_DOMCTL_max_mem] = {domctl_max_mem, 0},
    [XEN_DOMCTL_setvcpucontext] = {domctl_setvcpucontext, PAUSED | LOCKED},
    [XEN_DOMCTL_getvcpucontext] = {domctl_getvcpucontext, PAUSED | OUT},
    [XEN_DOMCTL_getvcpuinfo] = {domctl_getvcpuinfo, OUT},
    [XEN_DOMCTL_max_vcpus] = {domctl_max_vcpus, PAUSED | LOCKED},
    [XEN_DOMCTL_scheduler_op] = {domctl_scheduler_op, OUT},
    [XEN_DOMCTL_setdomainhandle] = {domctl_setdomainhandle, LOCKED},
    [XEN_DOMCTL_setdebugging] = {domctl_setdebugging, PAUSED},
    [XEN_DOMCTL_irq_permission] = {domctl_irq_permission, LOCKED},
    [XEN_DOMCTL_iomem_permission] = {domctl_iomem_permission, LOCKED},
    [XEN_DOMCTL_ioport_permission] = {domctl_ioport_permission, LOCKED},
    [XEN_DOMCTL_hypercall_init] = {domctl_hypercall_init, 0},
    [XEN_DOMCTL_settimeoffset] = {domctl_settimeoffset, LOCKED},
    [XEN_DOMCTL_getvcpuaffinity] = {domctl_getvcpuaffinity, OUT},
    [XEN_DOMCTL_resumedomain] = {domctl_resumedomain, NOT_SELF},
    [XEN_DOMCTL_sendtrigger] = {domctl_sendtrigger, 0},
    [XEN_DOMCTL_subscribe] = {domctl_subscribe, LOCKED},
    [XEN_DOMCTL_set_address_size] = {domctl_set_address_size, 0},
    [XEN_DOMCTL_get_address_size] = {domctl_get_address_size, OUT},
    [XEN_DOMCTL_assign_device] = {domctl_not_supported, NO_DOMAIN},
    [XEN_DOMCTL_memory_mapping] = {domctl_memory_mapping, 0},
    [XEN_DOMCTL_ioport_mapping] = {domctl_not_supported, 0},
    [XEN_DOMCTL_set_ext_vcpucontext] = {domctl_set_ext_vcpucontext, PAUSED},
    [XEN_DOMCTL_get_ext_vcpucontext] = {domctl_get_ext_vcpucontext, PAUSED | OUT},
    [XEN_DOMCTL_test_assign_device] = {domctl_not_supported, NO_DOMAIN},
    [XEN_DOMCTL_set_target] = {domctl_set_target, LOCKED},
    [XEN_DOMCTL_deassign_device] = {domctl_not_supported, NO_DOMAIN},
    [XEN_DOMCTL_get_device_group] = {domctl_not_supported, 0},
    [XEN_DOMCTL_gettscinfo] = {domctl_gettscinfo, NOT_SELF | OUT},
    [XEN_DOMCTL_settscinfo] = {domctl_settscinfo, PAUSED | LOCKED},
    [XEN_DOMCTL_getpageframeinfo3] = {domctl_getpageframeinfo3, OUT},
    [XEN_DOMCTL_setvcpuextstate] = {domctl_setvcpuextstate, PAUSED},
    [XEN_DOMCTL_getvcpuextstate] = {domctl_getvcpuextstate, PAUSED | OUT_ALWAYS},
    [XEN_DOMCTL_set_virq_handler] = {domctl_set_virq_handler, 0},
    [XEN_DOMCTL_setnodeaffinity] = {domctl_setnodeaffinity, 0},
    [XEN_DOMCTL_getnodeaffinity] = {domctl_getnodeaffinity, OUT},
    [XEN_DOMCTL_get_vcpu_msrs] = {domctl_get_vcpu_msrs, PAUSED | OUT_ALWAYS},
    [XEN_DOMCTL_set_vcpu_msrs] = {domctl_set_vcpu_msrs, PAUSED | OUT_ALWAYS},
    [XEN_DOMCTL_setvnumainfo] = {domctl_setvnumainfo, 0},
    [XEN_DOMCTL_psr_cmt_op] = {domctl_no_device, 0},
    [XEN_DOMCTL_psr_alloc] = {domctl_no_device, 0},
    [XEN_DOMCTL_soft_reset] = {domctl_soft_reset, NOT_SELF},
    [XEN_DOMCTL_get_cpu_policy] = {domctl_get_cpu_policy, LOCKED | OUT},
    [XEN_DOMCTL_set_cpu_policy] = {domctl_set_cpu_policy, PAUSED | LOCKED | OUT_ALWAYS},
    [XEN_DOMCTL_get_paging_mempool_size] = {domctl_not_supported, 0},
    [XEN_DOMCTL_set_paging_mempool_size] = {domctl_not_supported, 0},
};

static_assert(sizeof(struct xen_domctl) == 16 + 128, "header and union, interface version 0x15");

static int
domctl_run(const struct domctl *row, struct domain *d, struct xen_domctl *op)
{
    int rc;

    if (row->flags & PAUSED)
        domain_pause(d);
    if (row->flags & LOCKED)
        spin_lock(&d->lock);

    rc = row->handler(d, op);

    if (row->flags & LOCKED)
        spin_unlock(&d->lock);
    if (row->flags & PAUSED)
        domain_unpause(d);
    return rc;
}

/* arg: struct xen_domctl. */
s64
hypercall_domctl(u64 *arg)
{
    const struct domctl *row;
    struct xen_domctl op;
    struct domain *d;
    int rc;

    /* A device model may do nothing here to its PV guest; its own calls are memory_op's and evtchn's. */
    if (!current->domain->is_privileged)
        return -EPERM;
    if (copy_from_guest(&op, arg[0], sizeof(op)))
        return -EFAULT;
    if (op.interface_version != XEN_DOMCTL_INTERFACE_VERSION)
        return -EACCES;

    d = domain_find(op.domain);
    if (op.cmd >= ARRAY_SIZE(domctls) || !domctls[op.cmd].handler)
        return d ? -ENOSYS : -ESRCH;
    row = &domctls[index_nospec(op.cmd, ARRAY_SIZE(domctls))];
    if (!d && !(row->flags & NO_DOMAIN))
        return -ESRCH;
    if ((row->flags & (NOT_SELF | PAUSED)) && d == current->domain)
        return -EINVAL;

    rc = domctl_run(row, d, &op);

    /* A handler that goes on later has left its progress in the struct. */
    if (((row->flags & OUT) && (!rc || rc == -ERESTART)) || (row->flags & OUT_ALWAYS))
        if (copy_to_guest(arg[0], &op, sizeof(op)))
            return -EFAULT;
    return rc;
}

/* --- sets in the caller's memory --- */

int
put_bitmap(const struct xenctl_bitmap *map, const u64 *bits, u32 count)
{
    u32 have = DIV_ROUND_UP((u64)map->nr_bits, 8);
    u32 give = MIN(have, DIV_ROUND_UP(count, 8));

    if (have > PAGE_SIZE)
        return -EINVAL;
    if (copy_to_guest((u64)map->bitmap.p, bits, give))
        return -EFAULT;
    if (have > give && clear_guest((u64)map->bitmap.p + give, have - give))
        return -EFAULT;
    return 0;
}

int
get_bitmap(const struct xenctl_bitmap *map, u64 *ret_bits, u32 count)
{
    u32 bits = MIN(map->nr_bits, count);

    memset(ret_bits, 0, BITMAP_WORDS(count) * sizeof(ret_bits[0]));
    if (copy_from_guest(ret_bits, (u64)map->bitmap.p, DIV_ROUND_UP(bits, 8)))
        return -EFAULT;
    if (bits % 64)
        ret_bits[bits / 64] &= (1ull << bits % 64) - 1;
    return 0;
}

/* --- the handlers, in ABI order --- */

int
domctl_createdomain(struct domain *d, struct xen_domctl *op)
{
    u16 id = op->domain && op->domain < DOMID_FIRST_RESERVED ? op->domain : DOMID_INVALID;
    int rc;

    if (id != DOMID_INVALID && d)
        return -EEXIST;
    rc = domain_create(id, &op->u.createdomain, &d);
    if (rc)
        return rc;
    op->domain = d->id;
    return 0;
}

int
domctl_destroydomain(struct domain *d, struct xen_domctl *op)
{
    (void)op;
    return domain_kill(d);
}

int
domctl_pausedomain(struct domain *d, struct xen_domctl *op)
{
    (void)op;
    return domain_pause_by_controller(d);
}

int
domctl_unpausedomain(struct domain *d, struct xen_domctl *op)
{
    (void)op;
    /* From here on the guest has seen its CPU policy, so that stays as it is. */
    WRITE_ONCE(d->creation_finished, true);
    return domain_unpause_by_controller(d);
}

/* The domain of that number, or the next one there is. */
int
domctl_getdomaininfo(struct domain *d, struct xen_domctl *op)
{
    if (!d) {
        if (op->domain >= DOMID_FIRST_RESERVED)
            return -EINVAL;
        for_each_domain(d)
            if (d->id >= op->domain)
                break;
        if (!d)
            return -ESRCH;
    }
    domctl_fill_info(d, &op->u.getdomaininfo);
    op->domain = d->id;
    return 0;
}

void
domctl_fill_info(struct domain *d, struct xen_domctl_getdomaininfo *info)
{
    u32 run = XEN_DOMINF_blocked; /* unless one of them is not */
    struct vcpu *v;

    memset(info, 0, sizeof(*info));
    info->domain = d->id;
    info->max_vcpu_id = XEN_INVALID_MAX_VCPU_ID;
    for_each_vcpu(d, v) {
        struct vcpu_runstate_info runstate;
        enum vcpu_state state = READ_ONCE(v->state);

        runstate_get(v, &runstate);
        info->cpu_time += runstate.time[RUNSTATE_running];
        info->max_vcpu_id = v->id;
        if (state == VCPU_OFFLINE)
            continue;
        if (state != VCPU_BLOCKED)
            run &= ~XEN_DOMINF_blocked;
        if (READ_ONCE(v->is_running))
            run |= XEN_DOMINF_running;
        info->nr_online_vcpus++;
    }

    info->flags = (info->nr_online_vcpus ? run : 0) | (d->dying == DOMAIN_DEAD ? XEN_DOMINF_dying : 0) |
                  (d->is_shut_down ? XEN_DOMINF_shutdown : 0) |
                  (d->controller_pause_count ? XEN_DOMINF_paused : 0) |
                  (d->debugger_attached ? XEN_DOMINF_debugged : 0) |
                  (d->create_flags & XEN_DOMCTL_CDF_xs_domain ? XEN_DOMINF_xs_domain : 0) |
                  (d->kind == DOMAIN_HVM || d->kind == DOMAIN_PVH ? XEN_DOMINF_hvm_guest : 0) |
                  d->shutdown_code << XEN_DOMINF_shutdownshift;
    info->tot_pages = READ_ONCE(d->page_count);
    info->max_pages = READ_ONCE(d->page_max);
    info->outstanding_pages = READ_ONCE(d->page_claim);
    info->shared_info_frame = mfn_x(d->shared_mfn);
    memcpy(info->handle, d->handle, sizeof(info->handle));
    info->arch_config = d->config.arch;
}

int
domctl_scheduler_op(struct domain *d, struct xen_domctl *op)
{
    return sched_domctl(d, &op->u.scheduler_op);
}

int
domctl_setdomainhandle(struct domain *d, struct xen_domctl *op)
{
    memcpy(d->handle, op->u.setdomainhandle.handle, sizeof(d->handle));
    return 0;
}

int
domctl_setdebugging(struct domain *d, struct xen_domctl *op)
{
    d->debugger_attached = op->u.setdebugging.enable;
    return 0;
}

int
domctl_settimeoffset(struct domain *d, struct xen_domctl *op)
{
    s64 seconds = op->u.settimeoffset.time_offset_seconds;

    if (seconds != (s32)seconds)
        return -EINVAL;
    d->time_offset_seconds = (s32)seconds;
    time_update_wallclock(d);
    return 0;
}

int
domctl_resumedomain(struct domain *d, struct xen_domctl *op)
{
    (void)op;
    domain_resume(d);
    return 0;
}

int
domctl_subscribe(struct domain *d, struct xen_domctl *op)
{
    d->suspend_port = op->u.subscribe.port;
    return 0;
}

/* A device model's domain and the guest it serves; kept until the first of them is gone. */
int
domctl_set_target(struct domain *d, struct xen_domctl *op)
{
    struct domain *target = domain_find(op->u.set_target.target);

    if (!target)
        return -ESRCH;
    if (target == d || d->target)
        return -EINVAL;
    if (domain_is_pv(target))
        return -EOPNOTSUPP;
    if (!domain_get(target))
        return -ESRCH;
    d->target = target;
    return 0;
}

int
domctl_set_virq_handler(struct domain *d, struct xen_domctl *op)
{
    return evtchn_set_virq_handler(d, op->u.set_virq_handler.virq);
}

/* Only a guest with a virtual machine around it can begin anew in place. */
int
domctl_soft_reset(struct domain *d, struct xen_domctl *op)
{
    (void)op;
    return domain_is_pv(d) ? -EINVAL : -EOPNOTSUPP;
}

int
domctl_gettscinfo(struct domain *d, struct xen_domctl *op)
{
    struct xen_domctl_tsc_info *info = &op->u.tsc_info;

    info->tsc_mode = d->time.tsc_mode;
    info->incarnation = d->time.incarnation;
    info->gtsc_khz = 0;
    info->elapsed_nsec = 0;
    if (info->tsc_mode == TSC_MODE_DEFAULT) {
        info->gtsc_khz = tsc_khz;
        info->elapsed_nsec = time_now_ns();
    }
    return 0;
}

/* RDTSC always reads the CPU's; guests learn its rate from vcpu_time_info, also after they moved. */
int
domctl_settscinfo(struct domain *d, struct xen_domctl *op)
{
    const struct xen_domctl_tsc_info *info = &op->u.tsc_info;

    if (info->tsc_mode == TSC_MODE_ALWAYS_EMULATE)
        return -EOPNOTSUPP;
    if (info->tsc_mode != TSC_MODE_DEFAULT && info->tsc_mode != TSC_MODE_NEVER_EMULATE)
        return -EINVAL;
    d->time.tsc_mode = info->tsc_mode;
    d->time.tsc_khz = info->gtsc_khz ? info->gtsc_khz : tsc_khz;
    d->time.incarnation = info->incarnation + 1;
    return 0;
}

/* There is one node. */
int
domctl_setnodeaffinity(struct domain *d, struct xen_domctl *op)
{
    u64 nodes;
    int rc;

    (void)d;
    rc = get_bitmap(&op->u.nodeaffinity.nodemap, &nodes, 1);
    if (rc)
        return rc;
    return nodes & 1 ? 0 : -EINVAL;
}

int
domctl_getnodeaffinity(struct domain *d, struct xen_domctl *op)
{
    u64 nodes = 1;

    (void)d;
    return put_bitmap(&op->u.nodeaffinity.nodemap, &nodes, 1);
}
