/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Work that waits for the way out: each CPU has a set of pending softirqs, looked at before it returns to
 * a guest and in the idle loop.  No lock is held and no guest pointer is in use when they run.
 */
#ifndef SERAI_X86_SOFTIRQ_H
#define SERAI_X86_SOFTIRQ_H

#include "base/list.h"
#include "x86/percpu.h"

enum softirq {
    SOFTIRQ_TIMER,    /* domain/timer.c: deadlines have passed */
    SOFTIRQ_WORK,     /* queued struct work */
    SOFTIRQ_QUIESCE,  /* note that this CPU holds no pointers */
    SOFTIRQ_NMI,      /* boot/nmi.c: an NMI or a machine check has something to tell */
    SOFTIRQ_SCHEDULE, /* domain/sched.c: choose again.  Last, since it may not return */
    SOFTIRQ_COUNT,
};

void softirq_init(void);
void softirq_register(enum softirq nr, void (*handler)(void));

/* Marks @nr pending on @cpu and, where that is another CPU, interrupts it. */
void softirq_raise(unsigned cpu, enum softirq nr);

/* Runs all that is pending on this CPU. */
void softirq_run(void);

/* A function to be run once, soon, on the CPU that queued it, with no lock held. */
struct work {
    struct list node;
    void (*fn)(struct work *work);
};

void work_init(struct work *work, void (*fn)(struct work *work));
void work_queue(struct work *work); /* queued already: nothing happens */

/*
 * Runs @work after every CPU has passed a point where it holds no pointer that it found without taking a
 * reference (domain_find() and the like).  The equivalent of call_rcu().
 */
void work_queue_after_quiesce(struct work *work);

#endif
