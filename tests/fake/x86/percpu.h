/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stands in for hv/x86/percpu.h.  A pretend CPU is a struct in an array; which one the calling thread "is" is a
 * thread-local pointer that fake_cpu_set() moves.
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
    struct cpu_user_regs guest;
    struct vcpu *current;
    u32 id;
    u32 softirqs;
    u32 apic_id;
    u32 tlb_time;
    u64 cr4;
    u64 tss_rsp0;
    struct vcpu *fpu_owner;
    struct timer_queue *timers;
    struct sched_cpu *sched;
    struct vcpu *idle;
    u64 quiesce_count;
    u64 idle_ns;
    struct cpu *self;
    void *pad[3];
};

extern __thread struct cpu *fake_cpu;

static inline struct cpu *
this_cpu(void)
{
    return fake_cpu;
}

static inline unsigned
cpu_id(void)
{
    return this_cpu()->id;
}

#define current (this_cpu()->current)
#define guest_regs() (&this_cpu()->guest)

struct cpu *cpu_at(unsigned id);

#endif
