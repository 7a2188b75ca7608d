/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Deadlines.  Each CPU has a queue; a timer belongs to one CPU's and fires there, from SOFTIRQ_TIMER, with no lock held. */
#ifndef SERAI_DOMAIN_TIMER_H
#define SERAI_DOMAIN_TIMER_H

#include "base/types.h"

struct timer {
    u64 expires_ns;
    void (*fn)(void *data);
    void *data;
    u32 cpu;
    u32 heap_index; /* 1-based place in the queue's heap; 0 = not armed */
    u32 state;
    u32 slot;
};

void timer_cpu_init(unsigned cpu); /* before the CPU takes interrupts */
void timer_init(struct timer *timer, void (*fn)(void *data), void *data, unsigned cpu);
/* Arms it, or moves its deadline; system time in ns.  Allowed from its own handler. */
void timer_set(struct timer *timer, u64 expires_ns);
void timer_stop(struct timer *timer);
/* Stops it for good and returns when its handler runs nowhere. */
void timer_fini(struct timer *timer);
void timer_migrate(struct timer *timer, unsigned cpu);
static inline bool
timer_is_armed(const struct timer *timer)
{
    return READ_ONCE(timer->heap_index) != 0;
}

#endif
