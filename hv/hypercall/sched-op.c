/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* HYPERVISOR_sched_op(cmd, arg), its old form, and HYPERVISOR_set_timer_op(timeout). */
#include "hypercall/hypercall.h"
#include "domain/evtchn.h"
#include "domain/sched.h"
#include "mm/guest-copy.h"
#include "x86/tsc.h"

#define POLL_PORTS_MAX     128u
#define TIMEOUT_FAR_NS     (1ull << 50) /* 13 days; further ones are mistakes of the guest's arithmetic */
#define TIMEOUT_INSTEAD_NS 100000000ull

/*
 * Sleeps until an event comes; the guest's events are unmasked, so one that waits already is delivered at
 * once.
 */
static void
sched_block(void)
{
    struct vcpu *v = current;

    if (unlikely(v->is_polling))
        evtchn_poll_end(v);
    WRITE_ONCE(v->info->evtchn_upcall_mask, 0);
    vcpu_block();
}

static int
schedop_shutdown(void *arg)
{
    const struct sched_shutdown *op = arg;

    domain_shutdown(current->domain, op->reason);
    return 0;
}

static int
schedop_poll(void *arg)
{
    const struct sched_poll *op = arg;
    struct vcpu *v = current;
    u32 port = 0;

    if (op->nr_ports > POLL_PORTS_MAX)
        return -EINVAL;

    /* With a port of its own, begun anew below once the port is known. */
    evtchn_poll_begin(v, 0);
    if (vcpu_has_pending(v)) {
        evtchn_poll_end(v);
        return 0;
    }
    for (u32 i = 0; i < op->nr_ports; i++) {
        int rc = get_guest(op->ports, i, &port) ? -EFAULT : evtchn_poll_check(v->domain, port);

        if (rc) {
            evtchn_poll_end(v);
            return rc < 0 ? rc : 0;
        }
    }
    if (op->nr_ports == 1)
        WRITE_ONCE(v->poll_port, port);
    if (op->timeout) {
        timer_migrate(&v->poll_timer, cpu_id());
        timer_set(&v->poll_timer, op->timeout);
    }
    vcpu_block();
    evtchn_poll_commit(v);
    return 0;
}

static int
schedop_remote_shutdown(void *arg)
{
    const struct sched_remote_shutdown *op = arg;
    struct domain *d = domain_find(op->domain_id);

    if (!d)
        return -ESRCH;
    if (!may_control(d))
        return -EPERM;
    domain_shutdown(d, op->reason);
    return 0;
}

/* What the guest will say when it stops: a kernel that crashes says so before its dump kernel takes over. */
static int
schedop_shutdown_code(void *arg)
{
    const struct sched_shutdown *op = arg;
    struct domain *d = current->domain;

    spin_lock(&d->shutdown_lock);
    if (d->shutdown_code == ~0u)
        WRITE_ONCE(d->shutdown_code, (u8)op->reason);
    spin_unlock(&d->shutdown_lock);
    return 0;
}

static int
schedop_watchdog(void *arg)
{
    const struct sched_watchdog *op = arg;

    return watchdog_set(current->domain, op->id, op->timeout);
}

static int
schedop_pin_override(void *arg)
{
    const struct sched_pin_override *op = arg;

    return sched_pin_override(current, op->pcpu < 0 ? -1 : op->pcpu);
}

static int
schedop_yield(void *arg)
{
    (void)arg;
    vcpu_yield();
    return 0;
}

static int
schedop_block(void *arg)
{
    (void)arg;
    sched_block();
    return 0;
}

static const struct subop sched_ops[] = {
    [SCHEDOP_yield] = {"yield", schedop_yield, 0, NO_ARG, ANY_DOMAIN},
    [SCHEDOP_block] = {"block", schedop_block, 0, NO_ARG, ANY_DOMAIN},
    [SCHEDOP_shutdown] = {"shutdown", schedop_shutdown, sizeof(struct sched_shutdown), IN, ANY_DOMAIN},
    [SCHEDOP_poll] = {"poll", schedop_poll, sizeof(struct sched_poll), IN, ANY_DOMAIN},
    [SCHEDOP_remote_shutdown] = {"remote_shutdown", schedop_remote_shutdown,
                                 sizeof(struct sched_remote_shutdown), IN, ANY_DOMAIN},
    [SCHEDOP_shutdown_code] = {"shutdown_code", schedop_shutdown_code, sizeof(struct sched_shutdown), IN,
                               ANY_DOMAIN},
    [SCHEDOP_watchdog] = {"watchdog", schedop_watchdog, sizeof(struct sched_watchdog), IN, ANY_DOMAIN},
    [SCHEDOP_pin_override] = {"pin_override", schedop_pin_override, sizeof(struct sched_pin_override), IN,
                              HARDWARE_DOMAIN},
};

s64
hypercall_sched_op(u64 *arg)
{
    u32 cmd = arg[0];

    if (likely(cmd == SCHEDOP_block)) {
        sched_block();
        return 0;
    }
    return subop_call(sched_ops, ARRAY_SIZE(sched_ops), cmd, arg[1]);
}

/* The old form: a shutdown's reason is the argument itself. */
s64
hypercall_sched_op_compat(u64 *arg)
{
    switch ((u32)arg[0]) {
    case SCHEDOP_yield:
        return schedop_yield(NULL);
    case SCHEDOP_block:
        return schedop_block(NULL);
    case SCHEDOP_shutdown:
        domain_shutdown(current->domain, arg[1]);
        return 0;
    default:
        return -ENOSYS;
    }
}

s64
hypercall_set_timer_op(u64 *arg)
{
    struct vcpu *v = current;
    u64 timeout = arg[0], now;

    if (!timeout) {
        timer_stop(&v->singleshot_timer);
        return 0;
    }
    now = time_now_ns();
    if (unlikely((s64)timeout < 0 || (timeout > now && timeout - now >= TIMEOUT_FAR_NS)))
        timeout = now + TIMEOUT_INSTEAD_NS;
    timer_migrate(&v->singleshot_timer, cpu_id());
    timer_set(&v->singleshot_timer, timeout);
    return 0;
}
