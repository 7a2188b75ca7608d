/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TLB flushes across CPUs.
 *
 * A request is a bit in the target's flush_requests and an interrupt; the sender waits, and targets answer
 * from VECTOR_FLUSH or, while they themselves wait for something, from cpu_relax_poll().  So two senders
 * never wait for each other in vain.
 *
 *   all of the TLB   takes no lock: the target takes the bit away, flushes, and says so by its tlb_time,
 *                    which every sender compares with the clock as it was when it asked
 *   one page         the address is read from flush_va, so one sender at a time (flush_lock); one that finds
 *                    it taken has all of the TLB flushed instead, rather than wait for strangers
 *   the caches       rare; under flush_lock
 *
 * For the last two the target takes the bit away when it is done, and the sender waits for that.
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

    if (requests & REQUEST_CACHE)
        wbinvd();
    if (requests & REQUEST_ALL) {
        /* Taken away first: who asks while we flush is answered by another flush. */
        atomic_and(&cpu->flush_requests, ~REQUEST_ALL);
        tlb_flush_local();
    } else if (requests & REQUEST_VA) {
        invlpg(READ_ONCE(flush_va));
    }
    if (requests & (REQUEST_VA | REQUEST_CACHE))
        atomic_and(&cpu->flush_requests, ~(requests & (REQUEST_VA | REQUEST_CACHE)));
}

/* One that was asked already and has not begun will see what we saw. */
static void
ask(unsigned cpu, u64 what)
{
    if (!(atomic_fetch_or(&cpu_at(cpu)->flush_requests, what) & what))
        apic_send(cpu, VECTOR_FLUSH);
}

/* Has @cpu not flushed since the clock stood at @stamp? */
static bool
is_stale(unsigned cpu, u32 stamp)
{
    return (s32)(stamp - atomic_read_acquire(&cpu_at(cpu)->tlb_time)) >= 0;
}

void
tlb_flush_stale(const cpumask_t *mask, u32 stamp)
{
    unsigned cpu, self = cpu_id();
    cpumask_t asked; /* @mask may change meanwhile; who comes into it now has nothing old */

    cpumask_zero(&asked);
    for_each_cpu(cpu, mask) {
        if (cpu == self || !cpumask_test(&cpu_online, cpu) || !is_stale(cpu, stamp))
            continue;
        asked.bits[cpu / 64] |= 1ull << (cpu % 64);
        ask(cpu, REQUEST_ALL);
    }
    if (cpumask_test(mask, self) && is_stale(self, stamp))
        tlb_flush_local();
    for_each_cpu(cpu, &asked)
        while (is_stale(cpu, stamp))
            cpu_relax_poll();
}

void
tlb_flush_mask(const cpumask_t *mask)
{
    smp_mb(); /* the change that is to be seen comes before the look at the clock */
    tlb_flush_stale(mask, tlb_clock());
}

/* Under flush_lock: every other CPU of @mask does @what, VA or CACHE. */
static void
request(const cpumask_t *mask, u64 what)
{
    unsigned cpu, self = cpu_id();

    for_each_cpu(cpu, mask)
        if (cpu != self && cpumask_test(&cpu_online, cpu))
            ask(cpu, what);
    for_each_cpu(cpu, mask)
        while (cpu != self && atomic_read_acquire(&cpu_at(cpu)->flush_requests) & what)
            cpu_relax_poll();
}

void
tlb_flush_mask_va(const cpumask_t *mask, u64 va)
{
    if (!spin_trylock(&flush_lock)) {
        tlb_flush_mask(mask);
        return;
    }
    WRITE_ONCE(flush_va, va);
    request(mask, REQUEST_VA);
    spin_unlock(&flush_lock);
    if (cpumask_test(mask, cpu_id()))
        invlpg(va);
}

void
cache_flush_mask(const cpumask_t *mask)
{
    spin_lock(&flush_lock);
    request(mask, REQUEST_CACHE);
    spin_unlock(&flush_lock);
    if (cpumask_test(mask, cpu_id()))
        wbinvd();
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
