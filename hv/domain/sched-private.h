/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What sched.c (the decisions) and sched-params.c (what tools set and read) share. */
#ifndef SERAI_DOMAIN_SCHED_PRIVATE_H
#define SERAI_DOMAIN_SCHED_PRIVATE_H

#include "domain/sched.h"
#include "domain/pqueue.h"

#define SCHED_WEIGHT_DEFAULT       256u
#define SCHED_RATELIMIT_DEFAULT_US 1000u
#define SCHED_CAP_PERIOD_NS        10000000ull /* a capped domain's budget is filled up this often */
#define CPU_NONE                   (~0u)

/* One CPU's run queue.  All fields by its lock; those marked (r) are also read without, as a hint. */
struct sched_cpu {
    spinlock_t lock;
    u32 cpu;             /* (c) */
    struct vcpu *idle;   /* (c) */
    struct vcpu *curr;   /* (r) who has the CPU, or has been chosen for it */
    struct pqueue queue; /* who waits, by virtual time */
    u32 waiting;         /* (r) how many */
    u64 clock;           /* (r) virtual time of the queue: the least of all here; never goes back */
    u64 since_ns;        /* (r) up to when curr has been charged */
    u64 slice_start_ns;  /* when curr was chosen */
    u64 slice_end_ns;
    u64 curr_vtime;   /* (r) curr's virtual time at since_ns */
    u32 curr_weight;  /* (r) */
    u32 pull_from;    /* (a) another CPU has somebody waiting who is further behind than curr here */
    u32 push_next;    /* whom to compare with next */
    bool balance_due; /* once prev's registers are saved */
    bool balance_slice_over;
    struct timer slice_timer;
    u64 switch_count, steal_count;
} __attribute__((aligned(64)));

struct sched_vcpu {
    struct vcpu *vcpu;   /* (c) */
    struct pq_node node; /* in the queue of v->cpu while it waits */
    u64 vtime;           /* the time it has had, scaled by 256 / weight */
    s64 debt;            /* while it moves: how far ahead of its old queue's clock it was */
    bool moved;          /* debt is valid */
    bool parked;         /* its domain has used up its cap */
    bool yielding;       /* lets the next one go first, once */
    bool homeless;       /* (a) wants a CPU, may not stay on the one that still saves its registers */
    s32 pinned_cpu;      /* SCHEDOP_pin_override; -1: none */
    u64 migrate_count;
};

struct sched_domain {
    u32 weight;    /* (r) */
    u32 cap;       /* (r) percent of one CPU; 0: none */
    s64 budget_ns; /* (a) what is left of this period's cap; negative is debt */
    struct timer refill_timer;
};

extern u32 sched_ratelimit_us;

struct sched_cpu *sched_lock_vcpu(struct vcpu *v);
/* Unlocks @q, the queue of @v, after it has seen to it that @v waits in some queue if it is runnable. */
void sched_update_effective(struct vcpu *v);
void sched_activate_and_unlock(struct sched_cpu *q, struct vcpu *v, u64 now);
/* @v, which waits in @q and may not run there any more, waits elsewhere; unlocks @q. */
void sched_expel_and_unlock(struct sched_cpu *q, struct vcpu *v, u64 now);
bool sched_may_run_on(const struct vcpu *v, unsigned cpu);

#endif
