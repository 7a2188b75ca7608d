/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Deadlines.  Each CPU has a queue; a timer belongs to one CPU's and fires there, from SOFTIRQ_TIMER, with no
 * lock held.
 */
#ifndef SERAI_DOMAIN_TIMER_H
#define SERAI_DOMAIN_TIMER_H

#include "domain/pqueue.h"

struct timer {
    struct pq_node node; /* its key is the deadline; in the queue while the timer is armed */
    void (*fn)(void *data);
    void *data;
    u32 cpu;      /* whose queue; changes under that queue's lock */
    bool running; /* its handler is being called, on whatever CPU */
    bool dead;    /* after timer_fini(): cannot be armed */
};

void timer_cpu_init(unsigned cpu); /* before the CPU takes interrupts */
void timer_init(struct timer *timer, void (*fn)(void *data), void *data, unsigned cpu);
/* Arms it, or moves its deadline; system time in ns.  Allowed from its own handler. */
void timer_set(struct timer *timer, u64 expires_ns);
void timer_stop(struct timer *timer);
/*
 * Stops it for good and returns when its handler runs nowhere.  A timer that was never initialised (zeroed)
 * is left alone.
 */
void timer_fini(struct timer *timer);
/* Moves it to the queue of @cpu, where it mostly is already. */
void timer_migrate_slow(struct timer *timer, unsigned cpu);
static inline void
timer_migrate(struct timer *timer, unsigned cpu)
{
    if (unlikely(READ_ONCE(timer->cpu) != cpu))
        timer_migrate_slow(timer, cpu);
}

static inline bool
timer_is_armed(const struct timer *timer)
{
    return pq_is_queued(&timer->node);
}

/* The deadline it is armed for, or was last. */
static inline u64
timer_expires_ns(const struct timer *timer)
{
    return READ_ONCE(timer->node.key);
}

void timer_dump(void); /* debug-keys a */

#endif
