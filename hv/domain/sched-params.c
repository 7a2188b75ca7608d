/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The scheduler as tools see it: affinities, credit2's parameters, the one CPU pool, and what a vCPU needs to
 * be scheduled at all.  Decisions are made in sched.c; what is set here holds from the next one on.  Locks:
 * as in sched.c.
 */
#include "domain/sched-private.h"
#include "base/log.h"
#include "base/panic.h"
#include "mm/guest-copy.h"
#include "mm/heap.h"
#include "x86/tsc.h"

#define RATELIMIT_MIN_US 100u
#define RATELIMIT_MAX_US 500000u
#define PARAM_KEEP_CAP   0xffffu /* credit2's way of saying: leave the cap alone */

/* hard and soft, where there is such a CPU; else hard. */
void
sched_update_effective(struct vcpu *v)
{
    bool any = false;

    for (unsigned i = 0; i < CPUMASK_WORDS; i++) {
        v->effective_affinity->bits[i] = v->hard_affinity->bits[i] & v->soft_affinity->bits[i];
        any = any || (v->effective_affinity->bits[i] & READ_ONCE(cpu_online.bits[i]));
    }
    if (!any)
        cpumask_copy(v->effective_affinity, v->hard_affinity);
}

/* Spreads the vCPUs of new domains over the CPUs; where they run is settled when they wake. */
static unsigned
first_cpu(const struct vcpu *v)
{
    unsigned cpu = (v->domain->id + v->id) % cpu_limit;

    return cpumask_test(&cpu_online, cpu) ? cpu : cpu_id();
}

int
sched_vcpu_init(struct vcpu *v)
{
    struct sched_vcpu *s = heap_zalloc(sizeof(*s));
    cpumask_t *masks = heap_calloc(3, sizeof(*masks));

    if (!s || !masks) {
        heap_free(s);
        heap_free(masks);
        return -ENOMEM;
    }
    s->vcpu = v;
    s->pinned_cpu = -1;
    v->hard_affinity = &masks[0];
    v->soft_affinity = &masks[1];
    v->effective_affinity = &masks[2];
    cpumask_fill(v->hard_affinity);
    cpumask_fill(v->soft_affinity);
    v->cpu = first_cpu(v);
    v->state = VCPU_OFFLINE;
    v->runstate.state = RUNSTATE_offline;
    v->runstate.state_entry_time = time_now_ns();
    v->sched = s;
    sched_update_effective(v);
    return 0;
}

/* @v is in no queue and on no CPU for good: its domain is dying, or it never ran. */
void
sched_vcpu_fini(struct vcpu *v)
{
    if (!v->sched)
        return;
    ASSERT(!pq_is_queued(&v->sched->node) && !v->is_running);
    heap_free(v->hard_affinity); /* all three masks */
    heap_free(v->sched);
    v->sched = NULL;
}

/* After the affinity of @v changed: off to another CPU, if this one is not right any more. */
static void
move_if_misplaced_and_unlock(struct sched_cpu *q, struct vcpu *v)
{
    if (sched_may_run_on(v, q->cpu)) {
        spin_unlock(&q->lock);
    } else if (pq_is_queued(&v->sched->node)) {
        sched_expel_and_unlock(q, v, time_now_ns());
    } else {
        if (q->curr == v)
            softirq_raise(q->cpu, SOFTIRQ_SCHEDULE);
        spin_unlock(&q->lock);
    }
}

int
sched_set_hard_affinity(struct vcpu *v, const cpumask_t *mask)
{
    struct sched_cpu *q;

    if (!cpumask_intersects(mask, &cpu_online))
        return -EINVAL;
    q = sched_lock_vcpu(v);
    cpumask_copy(v->hard_affinity, mask);
    sched_update_effective(v);
    move_if_misplaced_and_unlock(q, v);
    return 0;
}

int
sched_set_soft_affinity(struct vcpu *v, const cpumask_t *mask)
{
    struct sched_cpu *q;

    if (!cpumask_intersects(mask, &cpu_online))
        return -EINVAL;
    q = sched_lock_vcpu(v);
    cpumask_copy(v->soft_affinity, mask);
    sched_update_effective(v);
    spin_unlock(&q->lock);
    return 0;
}

int
sched_pin_override(struct vcpu *v, s32 cpu)
{
    struct sched_cpu *q;
    int rc = 0;

    if (cpu >= 0 && ((u32)cpu >= cpu_limit || !cpumask_test(&cpu_online, cpu)))
        return -EINVAL;
    q = sched_lock_vcpu(v);
    if (cpu < 0 && v->sched->pinned_cpu < 0)
        rc = -EINVAL;
    else if (cpu >= 0 && v->sched->pinned_cpu >= 0)
        rc = -EBUSY;
    if (rc) {
        spin_unlock(&q->lock);
        return rc;
    }
    v->sched->pinned_cpu = cpu < 0 ? -1 : cpu;
    move_if_misplaced_and_unlock(q, v);
    return 0;
}

int
sched_domctl(struct domain *d, struct xen_domctl_scheduler_op *op)
{
    struct sched_domain *sd = d->sched;

    if (op->sched_id != XEN_SCHEDULER_CREDIT2)
        return -EINVAL;
    switch (op->cmd) {
    case XEN_DOMCTL_SCHEDOP_getinfo:
        op->u.credit2.weight = READ_ONCE(sd->weight);
        op->u.credit2.cap = READ_ONCE(sd->cap);
        return 0;
    case XEN_DOMCTL_SCHEDOP_putinfo:
        if (op->u.credit2.weight)
            WRITE_ONCE(sd->weight, op->u.credit2.weight);
        if (op->u.credit2.cap != PARAM_KEEP_CAP && op->u.credit2.cap != READ_ONCE(sd->cap)) {
            /* The timer fills the new budget at once, and lets go who was parked under the old cap. */
            atomic_set(&sd->budget_ns, 0);
            WRITE_ONCE(sd->cap, op->u.credit2.cap);
            timer_set(&sd->refill_timer, time_now_ns());
        }
        return 0;
    default:
        return -EINVAL; /* there is nothing to set for a single vCPU */
    }
}

int
sched_sysctl(struct xen_sysctl_scheduler_op *op)
{
    u32 us;

    if (op->cmd != XEN_SYSCTL_SCHEDOP_putinfo && op->cmd != XEN_SYSCTL_SCHEDOP_getinfo)
        return -EINVAL;
    if (op->cpupool_id)
        return -ESRCH;
    if (op->sched_id != XEN_SCHEDULER_CREDIT2)
        return -EINVAL;
    if (op->cmd == XEN_SYSCTL_SCHEDOP_putinfo) {
        us = op->u.sched_credit2.ratelimit_us;
        if (us && (us < RATELIMIT_MIN_US || us > RATELIMIT_MAX_US))
            return -EINVAL;
        WRITE_ONCE(sched_ratelimit_us, us);
    }
    op->u.sched_credit2.ratelimit_us = READ_ONCE(sched_ratelimit_us);
    return 0;
}

/* Copies a mask to a tool's bitmap: as many bytes as both have, the rest of the tool's bytes zero. */
static int
put_cpumask(const struct xenctl_bitmap *bitmap, const cpumask_t *mask)
{
    u32 guest_bytes = DIV_ROUND_UP((u64)bitmap->nr_bits, 8);
    u8 buf[sizeof(mask->bits)];
    u32 bytes = MIN(guest_bytes, MIN(DIV_ROUND_UP(cpu_limit, 8), (u32)sizeof(buf)));

    for (u32 i = 0; i < bytes; i++) {
        buf[i] = mask->bits[i / 8] >> (i % 8 * 8);
        if (i == bitmap->nr_bits / 8)
            buf[i] &= (1u << bitmap->nr_bits % 8) - 1;
    }
    if (copy_to_guest((u64)bitmap->bitmap.p, buf, bytes))
        return -EFAULT;
    if (guest_bytes > bytes &&
        clear_guest((u64)bitmap->bitmap.p + bytes, MIN(guest_bytes - bytes, CPU_MAX / 8)))
        return -EFAULT;
    return 0;
}

/* There is pool 0, which has every CPU and every domain; others cannot be made. */
int
sched_cpupool_op(struct xen_sysctl_cpupool_op *op)
{
    cpumask_t mask = {0};
    struct domain *d;

    switch (op->op) {
    case XEN_SYSCTL_CPUPOOL_OP_INFO:
        if (op->cpupool_id)
            return -ENOENT; /* the next pool from this number on */
        op->sched_id = XEN_SCHEDULER_CREDIT2;
        op->n_dom = 0;
        for_each_domain(d)
            op->n_dom++;
        cpumask_copy(&mask, &cpu_online);
        return put_cpumask(&op->cpumap, &mask);
    case XEN_SYSCTL_CPUPOOL_OP_FREEINFO:
        return put_cpumask(&op->cpumap, &mask);
    case XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN:
        if (!domain_find(op->domid))
            return -ESRCH;
        return op->cpupool_id ? -ENOENT : 0;
    case XEN_SYSCTL_CPUPOOL_OP_CREATE:
        return -EOPNOTSUPP;
    case XEN_SYSCTL_CPUPOOL_OP_DESTROY:
        return op->cpupool_id ? -ENOENT : -EBUSY;
    case XEN_SYSCTL_CPUPOOL_OP_ADDCPU:
        return op->cpupool_id ? -ENOENT : -ENODEV; /* no CPU is free */
    case XEN_SYSCTL_CPUPOOL_OP_RMCPU:
        return op->cpupool_id ? -ENOENT : -EBUSY;
    default:
        return -ENOSYS;
    }
}

u64
sched_cpu_idle_ns(unsigned cpu)
{
    struct vcpu_runstate_info runstate;

    runstate_get(cpu_at(cpu)->idle, &runstate);
    return runstate.time[RUNSTATE_running];
}

u64
sched_cpu_switch_count(unsigned cpu)
{
    return READ_ONCE(cpu_at(cpu)->sched->switch_count);
}

u64
vcpu_run_ns(struct vcpu *v)
{
    struct vcpu_runstate_info runstate;

    runstate_get(v, &runstate);
    return runstate.time[RUNSTATE_running];
}

static void
dump_vcpu(const struct vcpu *v, const char *where)
{
    log_info("  %s d%uv%u%s%s pauses %u+%u, ahead by %lld us, weight %u cap %u, moved %llu times", where,
             v->domain->id, v->id,
             v->state == VCPU_BLOCKED   ? " blocked"
             : v->state == VCPU_OFFLINE ? " offline"
                                        : "",
             v->sched->parked ? " parked" : "", v->pause_count, v->domain->pause_count,
             (long long)(s64)(v->sched->vtime - cpu_at(v->cpu)->sched->clock) / 1000,
             v->domain->sched->weight, v->domain->sched->cap, (unsigned long long)v->sched->migrate_count);
}

void
sched_dump(void)
{
    struct domain *d;
    struct vcpu *v;
    unsigned cpu;

    log_info("scheduler: credit2 to the tools; rate limit %u us", sched_ratelimit_us);
    for_each_online_cpu(cpu) {
        struct sched_cpu *q = cpu_at(cpu)->sched;

        spin_lock(&q->lock);
        log_info("CPU%u: %u waiting, clock %llu us, %llu switches, %llu stolen from here", cpu, q->waiting,
                 (unsigned long long)q->clock / 1000, (unsigned long long)q->switch_count,
                 (unsigned long long)q->steal_count);
        if (!q->curr->is_idle)
            dump_vcpu(q->curr, "runs ");
        for (struct pq_node *node = pq_next(&q->queue, NULL); node; node = pq_next(&q->queue, node))
            dump_vcpu(container_of(node, struct sched_vcpu, node)->vcpu, "waits");
        spin_unlock(&q->lock);
    }
    for_each_domain(d)
        for_each_vcpu(d, v)
            if (!READ_ONCE(v->is_running) && !pq_is_queued(&v->sched->node))
                dump_vcpu(v, "rests");
}
