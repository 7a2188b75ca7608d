/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * HYPERVISOR_vcpu_op(cmd, vcpuid, arg): a domain's own vCPUs.  Locks: d->lock for what changes a vCPU that
 * may not be the caller.
 */
#include "hypercall/hypercall.h"
#include "domain/evtchn.h"
#include "domain/sched.h"
#include "mm/guest-copy.h"
#include "mm/heap.h"
#include "x86/apic.h"
#include "x86/tsc.h"

#define PERIOD_MIN_NS 1000000ull
#define PERIOD_MAX_NS (1ull << 62)

static s64
vcpuop_initialise(struct vcpu *v, u64 arg)
{
    struct vcpu_guest_context *ctx;
    int rc;

    /* More than 32 vCPUs: it needs a vcpu_info of its own first. */
    if (v->info == &v->dummy_info)
        return -EINVAL;
    ctx = heap_alloc(sizeof(*ctx)); /* five kilobytes: too much for the stack */
    if (!ctx)
        return -ENOMEM;
    rc = copy_from_guest(ctx, arg, sizeof(*ctx));
    if (!rc) {
        spin_lock(&v->domain->lock);
        rc = v->initialised ? -EEXIST : vcpu_set_context(v, ctx);
        spin_unlock(&v->domain->lock);
    }
    heap_free(ctx);
    return rc;
}

static s64
vcpuop_up(struct vcpu *v, u64 arg)
{
    int rc = 0;

    (void)arg;
    spin_lock(&v->domain->lock);
    if (!v->initialised)
        rc = -EINVAL;
    else if (v->down_by_guest)
        vcpu_set_online(v, true);
    spin_unlock(&v->domain->lock);
    return rc;
}

/* The last one to go down takes the domain with it. */
static s64
vcpuop_down(struct vcpu *v, u64 arg)
{
    struct domain *d = v->domain;
    bool is_last = true;
    struct vcpu *other;

    (void)arg;
    spin_lock(&d->lock);
    for_each_vcpu(d, other)
        if (other != v && !other->down_by_guest)
            is_last = false;
    if (!is_last && !v->down_by_guest)
        vcpu_set_online(v, false);
    spin_unlock(&d->lock);
    if (is_last)
        domain_shutdown(d, SHUTDOWN_poweroff);
    return 0;
}

static s64
vcpuop_is_up(struct vcpu *v, u64 arg)
{
    (void)arg;
    return !READ_ONCE(v->down_by_guest);
}

static s64
vcpuop_get_runstate_info(struct vcpu *v, u64 arg)
{
    struct vcpu_runstate_info runstate;

    runstate_get(v, &runstate);
    return copy_to_guest(arg, &runstate, sizeof(runstate));
}

/* The first copy is made at once, whosever area it is; later ones when its vCPU comes to a CPU. */
static s64
vcpuop_register_runstate_memory_area(struct vcpu *v, u64 arg)
{
    struct vcpu_register_runstate_memory_area area;
    struct vcpu_runstate_info runstate;

    if (copy_from_guest(&area, arg, sizeof(area)))
        return -EFAULT;
    if (area.addr.p >= HYPERVISOR_START && area.addr.p < HYPERVISOR_END)
        return -EFAULT;
    runstate_get(v, &runstate);
    if (area.addr.p && copy_to_guest(area.addr.p, &runstate, sizeof(runstate)))
        runstate.state = 0; /* not mapped now; it may be when it matters */
    WRITE_ONCE(v->runstate_guest, area.addr.p);
    return 0;
}

static s64
vcpuop_register_vcpu_time_memory_area(struct vcpu *v, u64 arg)
{
    struct vcpu_register_time_memory_area area;

    if (copy_from_guest(&area, arg, sizeof(area)))
        return -EFAULT;
    if (area.addr.p >= HYPERVISOR_START && area.addr.p < HYPERVISOR_END)
        return -EFAULT;
    WRITE_ONCE(v->time_guest, area.addr.p);
    if (area.addr.p)
        time_publish_first(v);
    return 0;
}

static s64
vcpuop_set_periodic_timer(struct vcpu *v, u64 arg)
{
    struct vcpu_set_periodic_timer set;

    if (copy_from_guest(&set, arg, sizeof(set)))
        return -EFAULT;
    if (set.period_ns < PERIOD_MIN_NS || set.period_ns > PERIOD_MAX_NS)
        return -EINVAL;
    vcpu_set_periodic_timer(v, set.period_ns);
    return 0;
}

static s64
vcpuop_stop_periodic_timer(struct vcpu *v, u64 arg)
{
    (void)arg;
    vcpu_set_periodic_timer(v, 0);
    return 0;
}

static s64
vcpuop_set_singleshot_timer(struct vcpu *v, u64 arg)
{
    struct vcpu_set_singleshot_timer set;

    if (v != current)
        return -EINVAL;
    if (copy_from_guest(&set, arg, sizeof(set)))
        return -EFAULT;
    if (unlikely(set.timeout_abs_ns <= time_now_ns())) {
        if (set.flags & VCPU_SSHOTTMR_future)
            return -ETIME;
        timer_stop(&v->singleshot_timer);
        evtchn_send_vcpu_virq(v, VIRQ_TIMER);
        return 0;
    }
    timer_migrate(&v->singleshot_timer, cpu_id());
    timer_set(&v->singleshot_timer, set.timeout_abs_ns);
    return 0;
}

static s64
vcpuop_stop_singleshot_timer(struct vcpu *v, u64 arg)
{
    (void)arg;
    if (v != current)
        return -EINVAL;
    timer_stop(&v->singleshot_timer);
    return 0;
}

static s64
vcpuop_register_vcpu_info(struct vcpu *v, u64 arg)
{
    struct vcpu_register_vcpu_info info;
    int rc;

    if (copy_from_guest(&info, arg, sizeof(info)))
        return -EFAULT;
    spin_lock(&v->domain->lock);
    rc = vcpu_register_info(v, _mfn(info.mfn), info.offset);
    spin_unlock(&v->domain->lock);
    return rc;
}

static s64
vcpuop_send_nmi(struct vcpu *v, u64 arg)
{
    (void)arg;
    if (!atomic_xchg(&v->nmi_pending, true))
        vcpu_kick(v);
    return 0;
}

/* Only where the answer stays true: the hardware domain, its vCPUs pinned one to one. */
static s64
vcpuop_get_physid(struct vcpu *v, u64 arg)
{
    struct vcpu_get_physid physid;
    unsigned cpu;

    if (!v->domain->is_hardware || cpumask_weight(v->hard_affinity) != 1)
        return -EINVAL;
    cpu = cpumask_first(v->hard_affinity);
    physid.phys_id = apic_id_of(cpu) | (u64)cpu << 32;
    return copy_to_guest(arg, &physid, sizeof(physid));
}

static const struct vcpu_op {
    const char *name;
    s64 (*handler)(struct vcpu *v, u64 arg);
} vcpu_ops[] = {
    [VCPUOP_initialise] = {"initialise", vcpuop_initialise},
    [VCPUOP_up] = {"up", vcpuop_up},
    [VCPUOP_down] = {"down", vcpuop_down},
    [VCPUOP_is_up] = {"is_up", vcpuop_is_up},
    [VCPUOP_get_runstate_info] = {"get_runstate_info", vcpuop_get_runstate_info},
    [VCPUOP_register_runstate_memory_area] = {"register_runstate_memory_area",
                                              vcpuop_register_runstate_memory_area},
    [VCPUOP_set_periodic_timer] = {"set_periodic_timer", vcpuop_set_periodic_timer},
    [VCPUOP_stop_periodic_timer] = {"stop_periodic_timer", vcpuop_stop_periodic_timer},
    [VCPUOP_set_singleshot_timer] = {"set_singleshot_timer", vcpuop_set_singleshot_timer},
    [VCPUOP_stop_singleshot_timer] = {"stop_singleshot_timer", vcpuop_stop_singleshot_timer},
    [VCPUOP_register_vcpu_info] = {"register_vcpu_info", vcpuop_register_vcpu_info},
    [VCPUOP_send_nmi] = {"send_nmi", vcpuop_send_nmi},
    [VCPUOP_get_physid] = {"get_physid", vcpuop_get_physid},
    [VCPUOP_register_vcpu_time_memory_area] = {"register_vcpu_time_memory_area",
                                               vcpuop_register_vcpu_time_memory_area},
};

s64
hypercall_vcpu_op(u64 *arg)
{
    u32 cmd = arg[0];
    struct vcpu *v = vcpu_find(current->domain, (u32)arg[1]);

    if (unlikely(!v))
        return -ENOENT;
    if (unlikely(cmd >= ARRAY_SIZE(vcpu_ops)))
        return -ENOSYS;
    return vcpu_ops[index_nospec(cmd, ARRAY_SIZE(vcpu_ops))].handler(v, arg[2]);
}
