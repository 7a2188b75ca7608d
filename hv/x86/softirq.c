/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Softirqs, queued work, and quiescence.
 *
 * Quiescence: a CPU that runs softirqs holds no pointer it found without a reference, so each pass through
 * SOFTIRQ_QUIESCE ends all such uses on that CPU.  work_queue_after_quiesce() begins a round: every
 * online CPU is asked for a pass, and the last one to make it queues the work of the round.
 */
#include "x86/softirq.h"
#include "x86/apic.h"
#include "base/spinlock.h"

static void (*handlers[SOFTIRQ_COUNT])(void);

static spinlock_t quiesce_lock = SPINLOCK_INIT;
static struct list quiesce_waiting = LIST_INIT(quiesce_waiting); /* came during a round; in the next */
static struct list quiesce_round = LIST_INIT(quiesce_round);
static cpumask_t quiesce_left; /* CPUs the present round waits for */

void
softirq_register(enum softirq nr, void (*handler)(void))
{
    handlers[nr] = handler;
}

void
softirq_raise(unsigned cpu, enum softirq nr)
{
    struct cpu *target = cpu_at(cpu);
    u32 old = atomic_fetch_or(&target->softirqs, 1u << nr);

    if (!old && target != this_cpu())
        apic_send(cpu, VECTOR_SOFTIRQ);
}

void
softirq_run(void)
{
    struct cpu *cpu = this_cpu();
    u32 pending;

    while ((pending = atomic_read(&cpu->softirqs))) {
        unsigned nr = __builtin_ctz(pending);

        atomic_and(&cpu->softirqs, ~(1u << nr));
        if (handlers[nr])
            handlers[nr]();
    }
}

void
work_init(struct work *work, void (*fn)(struct work *work))
{
    list_init(&work->node);
    work->fn = fn;
}

void
work_queue(struct work *work)
{
    struct cpu *cpu = this_cpu();

    if (list_empty(&work->node))
        list_add_tail(&work->node, &cpu->work);
    softirq_raise(cpu->id, SOFTIRQ_WORK);
}

static void
work_run(void)
{
    struct cpu *cpu = this_cpu();

    while (!list_empty(&cpu->work)) {
        struct work *work = list_first(&cpu->work, struct work, node);

        list_del(&work->node);
        work->fn(work);
    }
}

/* Begins a round for all that wait; quiesce_lock is held. */
static void
quiesce_begin(void)
{
    unsigned cpu;

    while (!list_empty(&quiesce_waiting)) {
        struct list *node = quiesce_waiting.next;

        list_del(node);
        list_add_tail(node, &quiesce_round);
    }
    cpumask_copy(&quiesce_left, &cpu_online);
    for_each_online_cpu(cpu)
        softirq_raise(cpu, SOFTIRQ_QUIESCE);
}

static void
quiesce_pass(void)
{
    struct list done = LIST_INIT(done);

    spin_lock(&quiesce_lock);
    cpumask_clear(&quiesce_left, cpu_id());
    if (cpumask_empty(&quiesce_left)) {
        while (!list_empty(&quiesce_round)) {
            struct list *node = quiesce_round.next;

            list_del(node);
            list_add_tail(node, &done);
        }
        if (!list_empty(&quiesce_waiting))
            quiesce_begin();
    }
    spin_unlock(&quiesce_lock);

    while (!list_empty(&done)) {
        struct work *work = list_first(&done, struct work, node);

        list_del(&work->node);
        work_queue(work);
    }
}

void
work_queue_after_quiesce(struct work *work)
{
    spin_lock(&quiesce_lock);
    list_add_tail(&work->node, &quiesce_waiting);
    if (list_empty(&quiesce_round))
        quiesce_begin();
    spin_unlock(&quiesce_lock);
}

void
softirq_init(void)
{
    softirq_register(SOFTIRQ_WORK, work_run);
    softirq_register(SOFTIRQ_QUIESCE, quiesce_pass);
}
