/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TLB flushes across CPUs.
 *
 * A request is a bit in the target's flush_requests and, for one page, an address that all targets read from the
 * sender's slot.  The sender interrupts the targets and waits until each has cleared its bit; targets answer from
 * VECTOR_FLUSH or, while they themselves wait for something, from cpu_relax_poll().  So two senders never
 * wait for each other in vain.  One sender at a time uses the slot (flush_lock).
 */
#include "x86/tlb.h"
#include "x86/apic.h"
#include "x86/cpu.h"
#include "base/spinlock.h"

#define REQUEST_ALL   1ull
#define REQUEST_VA    2ull
#define REQUEST_CACHE 4ull

u32 tlb_clock_now = 1;
static spinlock_t flush_lock = SPINLOCK_INIT;
static u64 flush_va;

void
tlb_flush_local(void)
{
    struct cpu *cpu = this_cpu();
    u32 now = atomic_add_return(&tlb_clock_now, 1);

    /* Also what is global: hypervisor mappings, guests' user pages. */
    write_cr4(cpu->cr4 & ~CR4_PGE);
    write_cr4(cpu->cr4);
    atomic_set_release(&cpu->tlb_time, now);
}

void
tlb_flush_local_va(u64 va)
{
    invlpg(va);
}

/* Does what other CPUs asked of this one. */
void
tlb_answer(void)
{
    struct cpu *cpu = this_cpu();
    u64 requests = atomic_read_acquire(&cpu->flush_requests);

    if (!requests)
        return;
    if (requests & REQUEST_CACHE)
        wbinvd();
    if (requests & REQUEST_ALL)
        tlb_flush_local();
    else if (requests & REQUEST_VA)
        invlpg(READ_ONCE(flush_va));
    atomic_and(&cpu->flush_requests, ~requests);
}

static void
request(const cpumask_t *mask, u64 what, u64 va)
{
    unsigned cpu, self = cpu_id();
    bool remote = false;

    for_each_cpu(cpu, mask) {
        if (cpu == self || !cpumask_test(&cpu_online, cpu))
            continue;
        if (!remote) {
            spin_lock(&flush_lock);
            WRITE_ONCE(flush_va, va);
            remote = true;
        }
        atomic_or(&cpu_at(cpu)->flush_requests, what);
        apic_send(cpu, VECTOR_FLUSH);
    }
    if (cpumask_test(mask, self)) {
        if (what & REQUEST_CACHE)
            wbinvd();
        else if (what & REQUEST_ALL)
            tlb_flush_local();
        else
            invlpg(va);
    }
    if (!remote)
        return;
    for_each_cpu(cpu, mask) {
        if (cpu == self || !cpumask_test(&cpu_online, cpu))
            continue;
        while (atomic_read_acquire(&cpu_at(cpu)->flush_requests) & what)
            cpu_relax_poll();
    }
    spin_unlock(&flush_lock);
}

void
tlb_flush_mask(const cpumask_t *mask)
{
    request(mask, REQUEST_ALL, 0);
}

void
tlb_flush_mask_va(const cpumask_t *mask, u64 va)
{
    request(mask, REQUEST_VA, va);
}

void
cache_flush_mask(const cpumask_t *mask)
{
    request(mask, REQUEST_CACHE, 0);
}

void
tlb_flush_stale(const cpumask_t *mask, u32 stamp)
{
    static cpumask_t stale[1]; /* see below: under stale_lock */
    static spinlock_t stale_lock = SPINLOCK_INIT;
    unsigned cpu;
    bool any = false;

    for_each_cpu(cpu, mask) {
        if (cpumask_test(&cpu_online, cpu) && (s32)(stamp - atomic_read(&cpu_at(cpu)->tlb_time)) >= 0)
            any = true;
    }
    if (!any)
        return;
    /* A mask of 512 bytes is too much for each stack; flushes of this kind are rare enough for one. */
    spin_lock(&stale_lock);
    cpumask_zero(stale);
    for_each_cpu(cpu, mask)
        if (cpumask_test(&cpu_online, cpu) && (s32)(stamp - atomic_read(&cpu_at(cpu)->tlb_time)) >= 0)
            cpumask_set(stale, cpu);
    tlb_flush_mask(stale);
    spin_unlock(&stale_lock);
}

void
cpu_relax_poll(void)
{
    cpu_pause();
    if (unlikely(atomic_read(&this_cpu()->flush_requests)))
        tlb_answer();
}

void
spin_lock_wait(spinlock_t *lock, u16 ticket)
{
    while (atomic_read_acquire(&lock->owner) != ticket)
        cpu_relax_poll();
}
