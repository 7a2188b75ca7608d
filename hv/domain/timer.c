/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Timers: one queue for each CPU, ordered by deadline.
 *
 * Always true: a timer is in the queue of timer->cpu or in none; timer->cpu changes only under the locks of
 * both queues (taken in order of address).  The hardware is programmed for a deadline no later than the
 * earliest in the queue: when the earliest moves further away, the interrupt comes early and finds nothing to
 * do, which is cheaper than programming twice.
 *
 * A handler runs with no lock held.  It never runs on two CPUs at once: a timer that was armed again and
 * moved while its handler still runs elsewhere is put off for a moment.
 */
#include "domain/timer.h"
#include "base/log.h"
#include "base/panic.h"
#include "mm/heap.h"
#include "x86/apic.h"
#include "x86/percpu.h"
#include "x86/softirq.h"
#include "base/spinlock.h"
#include "x86/tsc.h"

#define RETRY_NS      20000ull
#define TIMER_FOREVER (1ull << 62) /* as far as a deadline can be: 146 years */

struct timer_queue {
    spinlock_t lock;
    u64 programmed_ns; /* when the hardware will interrupt; TIMER_FOREVER: it will not */
    struct pqueue timers;
    u64 fired_count;
} __attribute__((aligned(64)));

static struct timer *
timer_of(struct pq_node *node)
{
    return container_of(node, struct timer, node);
}

/* Locks the queue that @timer belongs to, which may change until it is locked. */
static struct timer_queue *
queue_lock(struct timer *timer)
{
    for (;;) {
        u32 cpu = READ_ONCE(timer->cpu);
        struct timer_queue *queue = cpu_at(cpu)->timers;

        spin_lock(&queue->lock);
        if (likely(READ_ONCE(timer->cpu) == cpu))
            return queue;
        spin_unlock(&queue->lock);
    }
}

/* Sees to it that @cpu is interrupted for the first timer; the queue is locked. */
static void
queue_program(struct timer_queue *queue, unsigned cpu)
{
    u64 first = queue->timers.first ? queue->timers.first->key : TIMER_FOREVER;

    if (first >= queue->programmed_ns)
        return;
    if (cpu == cpu_id()) {
        queue->programmed_ns = first;
        apic_set_timer(MAX(first, 1ull));
    } else {
        softirq_raise(cpu, SOFTIRQ_TIMER); /* programs it there */
    }
}

void
timer_set(struct timer *timer, u64 expires_ns)
{
    struct timer_queue *queue = queue_lock(timer);

    if (!timer->dead) {
        u64 key = MIN(expires_ns, TIMER_FOREVER);

        if (timer_is_armed(timer))
            pq_move(&queue->timers, &timer->node, key);
        else
            pq_insert(&queue->timers, &timer->node, key);
        if (queue->timers.first == &timer->node)
            queue_program(queue, timer->cpu);
    }
    spin_unlock(&queue->lock);
}

void
timer_stop(struct timer *timer)
{
    struct timer_queue *queue = queue_lock(timer);

    if (timer_is_armed(timer))
        pq_remove(&queue->timers, &timer->node);
    spin_unlock(&queue->lock);
}

void
timer_init(struct timer *timer, void (*fn)(void *data), void *data, unsigned cpu)
{
    *timer = (struct timer){.fn = fn, .data = data, .cpu = cpu};
}

void
timer_fini(struct timer *timer)
{
    struct timer_queue *queue;

    if (!timer->fn)
        return;
    queue = queue_lock(timer);
    timer->dead = true;
    if (timer_is_armed(timer))
        pq_remove(&queue->timers, &timer->node);
    spin_unlock(&queue->lock);

    while (__atomic_load_n(&timer->running, __ATOMIC_ACQUIRE))
        cpu_relax_poll();
}

void
timer_migrate_slow(struct timer *timer, unsigned cpu)
{
    struct timer_queue *from, *to = cpu_at(cpu)->timers;
    u32 old;

    for (;;) {
        old = READ_ONCE(timer->cpu);
        if (old == cpu)
            return;
        from = cpu_at(old)->timers;
        spin_lock_two(&from->lock, &to->lock);
        if (READ_ONCE(timer->cpu) == old)
            break;
        spin_unlock_two(&from->lock, &to->lock);
    }
    WRITE_ONCE(timer->cpu, cpu);
    if (timer_is_armed(timer)) {
        pq_remove(&from->timers, &timer->node);
        pq_insert(&to->timers, &timer->node, timer->node.key);
        if (to->timers.first == &timer->node)
            queue_program(to, cpu);
    }
    spin_unlock_two(&from->lock, &to->lock);
}

/* SOFTIRQ_TIMER: calls what is due now, then programs the hardware for the next. */
static void
timer_softirq(void)
{
    unsigned cpu = cpu_id();
    struct timer_queue *queue = this_cpu()->timers;
    u64 now = time_now_ns();

    spin_lock(&queue->lock);
    while (queue->timers.first && queue->timers.first->key <= now) {
        struct timer *timer = timer_of(queue->timers.first);

        pq_remove(&queue->timers, &timer->node);
        if (unlikely(timer->running)) {
            pq_insert(&queue->timers, &timer->node, now + RETRY_NS);
            continue;
        }
        timer->running = true;
        queue->fired_count++;
        spin_unlock(&queue->lock);

        timer->fn(timer->data);

        __atomic_store_n(&timer->running, false, __ATOMIC_RELEASE); /* from here on it may be gone */
        spin_lock(&queue->lock);
    }
    queue->programmed_ns = TIMER_FOREVER;
    if (queue->timers.first)
        queue_program(queue, cpu);
    spin_unlock(&queue->lock);
}

void
timer_cpu_init(unsigned cpu)
{
    struct timer_queue *queue = heap_zalloc(sizeof(*queue));

    if (!queue)
        panic("no memory for the timers of CPU%u", cpu);
    queue->programmed_ns = TIMER_FOREVER;
    cpu_at(cpu)->timers = queue;
    softirq_register(SOFTIRQ_TIMER, timer_softirq);
}

void
timer_dump(void)
{
    u64 now = time_now_ns();
    unsigned cpu;

    log_info("timers at %llu ns", (unsigned long long)now);
    for_each_online_cpu(cpu) {
        struct timer_queue *queue = cpu_at(cpu)->timers;
        unsigned count = 0;

        spin_lock(&queue->lock);
        for (struct pq_node *node = pq_next(&queue->timers, NULL); node; node = pq_next(&queue->timers, node))
            count++;
        log_info("CPU%u: %u armed, %llu fired, next in %lld us", cpu, count,
                 (unsigned long long)queue->fired_count,
                 count ? (long long)(s64)(queue->timers.first->key - now) / 1000 : -1ll);
        spin_unlock(&queue->lock);
    }
}
