/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pretend memory at the fixed addresses of x86/memory-map.h, and pretend CPUs. */
#include "mm/frame.h"
#include "x86/memory-range.h"
#include "x86/percpu.h"
#include "base/spinlock.h"
#include "fake.h"
#include "fake-private.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct cpu fake_cpus[FAKE_CPU_MAX];
__thread struct cpu *fake_cpu = &fake_cpus[0];

FAKE unsigned cpu_limit;
FAKE u64 frame_limit;
FAKE cpumask_t cpu_online;

FAKE struct memory_range memory_ranges[MEMORY_RANGE_MAX];
FAKE unsigned memory_range_count;

static void
map_region(u64 start, size_t size)
{
    void *p = mmap((void *)start, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

    if (p != (void *)start) {
        perror("fake machine: mmap");
        abort();
    }
}

void
fake_machine_init(u64 pages, unsigned cpus)
{
    /*
     * The last page of each table stays readable past the end, so off-by-one shows in values, not in crashes.
     */
    map_region(DIRECT_START, pages * PAGE_SIZE);
    map_region(FRAME_TABLE_START, ROUND_UP(pages * sizeof(struct frame), PAGE_SIZE));
    map_region(M2P_START, ROUND_UP(pages * sizeof(u64), PAGE_SIZE));

    for (u64 i = 0; i < pages; i++) {
        struct frame *frame = frame_of(_mfn(i));

        frame->count = FRAME_STATE_HEAP;
        frame->owner = DOMID_INVALID;
        frame->next = frame->prev = FRAME_NONE;
    }
    frame_limit = pages;

    if (!cpus || cpus > FAKE_CPU_MAX)
        abort();
    memset(fake_cpus, 0, sizeof(fake_cpus));
    memset(&cpu_online, 0, sizeof(cpu_online));
    cpu_limit = cpus;
    for (unsigned i = 0; i < cpus; i++) {
        fake_cpus[i].id = fake_cpus[i].apic_id = i;
        list_init(&fake_cpus[i].work);
        fake_cpus[i].is_up = true;
        cpumask_set(&cpu_online, i);
    }
    fake_cpu = &fake_cpus[0];

    fake_reset_clock();
    fake_reset_softirq();
    fake_reset_apic();
    fake_reset_tlb();
    fake_reset_guest();
    fake_reset_log();
    fake_reset_paging();
}

void
fake_cpu_set(unsigned cpu)
{
    if (cpu >= cpu_limit)
        abort();
    fake_cpu = &fake_cpus[cpu];
}

FAKE struct cpu *
cpu_at(unsigned id)
{
    return id < cpu_limit ? &fake_cpus[id] : NULL;
}

/*
 * A CPU that waits for a lock: other threads may hold it; in a program with one thread it waits for itself.
 */
FAKE void
cpu_relax_poll(void)
{
    sched_yield();
}

FAKE void
spin_lock_wait(spinlock_t *lock, u16 ticket)
{
    for (u64 tries = 0; __atomic_load_n(&lock->owner, __ATOMIC_ACQUIRE) != ticket; tries++) {
        if (tries > 20 * 1000 * 1000) {
            fprintf(stderr, "fake machine: lock %p is never released\n", (void *)lock);
            abort();
        }
        cpu_relax_poll();
    }
}
