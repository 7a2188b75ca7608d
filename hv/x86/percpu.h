/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What each physical CPU has for itself.  struct cpu lies at the top of the CPU's stack, so it is found
 * from the stack pointer alone; the guest's registers, pushed on every way in, are its first member.
 *
 * The hypervisor runs with interrupts off, always, except in the idle loop's halt.  So nothing here needs
 * protection from the CPU's own interrupts; only fields marked (a) are touched by other CPUs, atomically.
 * There is one stack for each CPU and none for each vCPU: the hypervisor never sleeps.  What takes long
 * returns -ERESTART; what must wait marks the vCPU and returns to the scheduler.
 */
#ifndef SERAI_X86_PERCPU_H
#define SERAI_X86_PERCPU_H

#include "abi/xen.h"
#include "base/cpumask.h"

#define STACK_SIZE (32 * 1024ull)

struct vcpu;
struct timer_queue;
struct sched_cpu;

struct cpu {
    struct cpu_user_regs guest; /* of the current vCPU, while it is in the hypervisor */
    struct vcpu *current;       /* never NULL after boot: the idle vCPU when nothing runs */
    u32 id;                     /* dense, 0 is the boot CPU */
    u32 softirqs;               /* (a) pending, one bit each */
    u32 apic_id;
    u32 tlb_time;               /* (a) value of the TLB clock at the last full flush of this CPU */
    u64 cr4;
    u64 tss_rsp0;               /* unused by C */
    struct vcpu *fpu_owner;     /* whose registers the FPU holds */
    struct timer_queue *timers;
    struct sched_cpu *sched;
    struct vcpu *idle;
    u64 quiesce_count;          /* (a) times this CPU passed a point where it held no pointer */
    u64 idle_ns;                /* time spent in the idle vCPU before the current stretch */
    struct cpu *self;
    void *pad[3];
};

static inline struct cpu *
this_cpu(void)
{
    u64 rsp;

    __asm__("mov %%rsp, %0" : "=r"(rsp));
    return (struct cpu *)((rsp | (STACK_SIZE - 1)) + 1) - 1;
}

static inline unsigned
cpu_id(void)
{
    return this_cpu()->id;
}

#define current (this_cpu()->current)

/* The guest registers of the current vCPU, as they were on its way in and will be on its way out. */
#define guest_regs() (&this_cpu()->guest)

/* Another CPU's block; NULL where no such CPU was brought up. */
struct cpu *cpu_at(unsigned id);

#endif
