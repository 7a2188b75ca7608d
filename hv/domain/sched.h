/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The scheduler: who runs next.  Fair by weight, with caps and affinities; presents itself to tools as
 * credit2. The model is at the top of sched.c.
 */
#ifndef SERAI_DOMAIN_SCHED_H
#define SERAI_DOMAIN_SCHED_H

#include "domain/domain.h"

void sched_init(void);
int sched_cpu_init(unsigned cpu); /* creates the idle vCPU of @cpu too, sets cpu_at(cpu)->idle */
int sched_domain_init(struct domain *d);
void sched_domain_fini(struct domain *d);
int sched_vcpu_init(struct vcpu *v);
void sched_vcpu_fini(struct vcpu *v);

/*
 * A blocked vCPU becomes runnable; its CPU is told if it should run now.  Harmless on one that is not
 * blocked.
 */
void vcpu_wake(struct vcpu *v);
/* A count that kept it paused has fallen: queues it if it is runnable now. */
void sched_reconsider(struct vcpu *v);
/* VCPUOP_up and down, and other changes of state that are not waking or blocking. */
void sched_set_state(struct vcpu *v, enum vcpu_state state);
/*
 * Current vCPU: gives up the CPU until vcpu_wake(), unless an event is already pending.  Takes effect on the
 * way out.
 */
void vcpu_block(void);
/* Whether an event waits that the guest has not masked, or an NMI. */
bool vcpu_has_pending(const struct vcpu *v);
void vcpu_yield(void);
/*
 * Something it must look at is pending: makes it runnable and, if it is in the guest on another CPU, brings
 * it in.
 */
void vcpu_kick(struct vcpu *v);
/* Takes it off its CPU (pause count or state changed); the _sync form waits until its registers are saved. */
void vcpu_sleep(struct vcpu *v);
void vcpu_sleep_sync(struct vcpu *v);

/* Whether @v is on a CPU; when it is paused already, a no stays true. */
bool sched_is_running(struct vcpu *v);

/*
 * SOFTIRQ_SCHEDULE.  Chooses and, if another vCPU is to run, calls context_switch(), which does not
 * return on the machine.
 */
void schedule(void);
/*
 * Upward promise of pv/cpu.c (fake: tests/fake): saves @prev, loads @next, calls sched_switch_done(@prev),
 * leaves to the guest.
 */
void context_switch(struct vcpu *prev, struct vcpu *next);
/* @prev's registers are in memory: others may run it, waiters in vcpu_sleep_sync() go on. */
void sched_switch_done(struct vcpu *prev);

/*
 * SCHEDOP_pin_override for @v: to @cpu; -1 undoes it.  -EINVAL: no such CPU, or nothing to undo; -EBUSY:
 * pinned already.
 */
int sched_pin_override(struct vcpu *v, s32 cpu);

/* Affinity; -EINVAL when no online CPU remains.  */
int sched_set_hard_affinity(struct vcpu *v, const cpumask_t *mask);
int sched_set_soft_affinity(struct vcpu *v, const cpumask_t *mask);

/* XEN_DOMCTL_scheduler_op and XEN_SYSCTL_scheduler_op, credit2's parameters. */
int sched_domctl(struct domain *d, struct xen_domctl_scheduler_op *op);
int sched_sysctl(struct xen_sysctl_scheduler_op *op);
int sched_cpupool_op(struct xen_sysctl_cpupool_op *op);
u64 sched_cpu_idle_ns(unsigned cpu);
u64 vcpu_run_ns(struct vcpu *v);
u64 sched_cpu_switch_count(unsigned cpu);
void sched_dump(void); /* debug-keys r */

#endif
