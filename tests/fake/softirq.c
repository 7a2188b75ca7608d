/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Softirqs and queued work, run when the test says so. */
#include "x86/apic.h"
#include "x86/softirq.h"
#include "fake.h"
#include "fake-private.h"

static void (*handlers[SOFTIRQ_COUNT])(void);
static struct list work_lists[FAKE_CPU_MAX];
static struct list quiesce_list = LIST_INIT(quiesce_list);

void
fake_reset_softirq(void)
{
    for (unsigned i = 0; i < FAKE_CPU_MAX; i++)
        list_init(&work_lists[i]);
    list_init(&quiesce_list);
}

FAKE void
softirq_register(enum softirq nr, void (*handler)(void))
{
    handlers[nr] = handler;
}

FAKE void
softirq_raise(unsigned cpu, enum softirq nr)
{
    u32 old = atomic_fetch_or(&fake_cpus[cpu].softirqs, 1u << nr);

    if (!(old & 1u << nr) && cpu != cpu_id())
        apic_send(cpu, VECTOR_SOFTIRQ);
}

FAKE void
softirq_run(void)
{
    struct list *works = &work_lists[cpu_id()];
    u32 pending;

    while ((pending = atomic_xchg(&this_cpu()->softirqs, 0)) != 0 || !list_empty(works)) {
        while (!list_empty(works)) {
            struct work *work = list_first(works, struct work, node);

            list_del(&work->node);
            work->fn(work);
        }
        for (unsigned nr = 0; nr < SOFTIRQ_COUNT; nr++)
            if ((pending & 1u << nr) && handlers[nr])
                handlers[nr]();
    }
}

FAKE void
work_init(struct work *work, void (*fn)(struct work *work))
{
    list_init(&work->node);
    work->fn = fn;
}

FAKE void
work_queue(struct work *work)
{
    if (list_empty(&work->node))
        list_add_tail(&work->node, &work_lists[cpu_id()]);
}

FAKE void
work_queue_after_quiesce(struct work *work)
{
    if (list_empty(&work->node))
        list_add_tail(&work->node, &quiesce_list);
}

void
fake_run_softirqs(void)
{
    struct cpu *me = fake_cpu;
    bool again;

    do {
        again = false;
        for (unsigned i = 0; i < cpu_limit; i++) {
            if (!fake_cpus[i].softirqs && list_empty(&work_lists[i]))
                continue;
            fake_cpu_set(i);
            softirq_run();
            again = true;
        }
    } while (again);
    fake_cpu = me;
}

void
fake_run_all(void)
{
    fake_run_softirqs();
    while (!list_empty(&quiesce_list)) {
        struct work *work = list_first(&quiesce_list, struct work, node);

        list_del(&work->node);
        work->fn(work);
        fake_run_softirqs();
    }
}
