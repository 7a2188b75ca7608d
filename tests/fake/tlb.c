/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The TLB clock works as on the machine; flushes are counted for each CPU. */
#include "x86/tlb.h"
#include "x86/percpu.h"
#include "fake.h"
#include "fake-private.h"

unsigned fake_flush_count;
unsigned fake_cpu_flushes[FAKE_CPU_MAX];
unsigned fake_cpu_va_flushes[FAKE_CPU_MAX];
u64 fake_flush_va;
FAKE u32 tlb_clock_now = 1;

void
fake_reset_tlb(void)
{
    tlb_clock_now = 1;
    fake_flush_count = 0;
    fake_flush_va = 0;
    for (unsigned i = 0; i < FAKE_CPU_MAX; i++)
        fake_cpu_flushes[i] = fake_cpu_va_flushes[i] = 0;
}

static void
flush_cpu(unsigned cpu)
{
    atomic_set(&fake_cpus[cpu].tlb_time, atomic_add_return(&tlb_clock_now, 1));
    atomic_inc(&fake_cpu_flushes[cpu]);
}

FAKE void
tlb_flush_local(void)
{
    flush_cpu(cpu_id());
    atomic_inc(&fake_flush_count);
}

FAKE void
tlb_flush_local_va(u64 va)
{
    atomic_set(&fake_flush_va, va);
    atomic_inc(&fake_cpu_va_flushes[cpu_id()]);
    atomic_inc(&fake_flush_count);
}

FAKE void
tlb_flush_mask(const cpumask_t *mask)
{
    bool any = false;

    for (unsigned i = 0; i < cpu_limit; i++)
        if (cpumask_test(mask, i)) {
            flush_cpu(i);
            any = true;
        }
    if (any)
        atomic_inc(&fake_flush_count);
}

FAKE void
tlb_flush_mask_va(const cpumask_t *mask, u64 va)
{
    bool any = false;

    for (unsigned i = 0; i < cpu_limit; i++)
        if (cpumask_test(mask, i)) {
            atomic_inc(&fake_cpu_va_flushes[i]);
            any = true;
        }
    atomic_set(&fake_flush_va, va);
    if (any)
        atomic_inc(&fake_flush_count);
}

FAKE void
tlb_flush_stale(const cpumask_t *mask, u32 stamp)
{
    bool any = false;

    for (unsigned i = 0; i < cpu_limit; i++)
        if (cpumask_test(mask, i) && atomic_read(&fake_cpus[i].tlb_time) <= stamp) {
            flush_cpu(i);
            any = true;
        }
    if (any)
        atomic_inc(&fake_flush_count);
}

FAKE void
cache_flush_mask(const cpumask_t *mask)
{
    (void)mask;
}
