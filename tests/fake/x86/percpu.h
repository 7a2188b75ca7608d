/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stands in for hv/x86/percpu.h.  A pretend CPU is a struct in an array; which one the calling thread "is" is
 * a thread-local pointer that fake_cpu_set() moves.
 */
#ifndef SERAI_X86_PERCPU_H
#define SERAI_X86_PERCPU_H

#include "abi/xen.h"
#include "base/cpumask.h"
#include "base/list.h"

#define STACK_SIZE (32 * 1024ull)

struct vcpu;
struct timer_queue;
struct sched_cpu;
struct tss;

struct cpu {
    u64 pad;                    /* so that the hardware frame ends on 16 bytes, as the CPU aligns it */
    struct cpu_user_regs guest; /* of the current vCPU, while it is in the hypervisor */
    struct vcpu *vcpu;          /* never NULL after boot: the idle vCPU when nothing runs */
    u32 id;                     /* dense, 0 is the boot CPU */
    u32 softirqs;               /* (a) pending, one bit each */
    u64 scratch;                /* the SYSCALL stub's */
    u32 apic_id;
    u32 tlb_time; /* (a) value of the TLB clock at the last full flush of this CPU */
    u64 cr4;
    u64 flush_requests; /* (a) what other CPUs want of this one, tlb.c */
    struct timer_queue *timers;
    struct sched_cpu *sched;
    struct vcpu *idle;
    struct list work; /* queued struct work */
    u64 *window;      /* its window's L1 table */
    struct tss *tss;
    u32 gdt_loaded; /* guest pages of the GDT that are in the window */
    u32 ldt_loaded; /* entries the LDT register covers */
    u64 cr3;        /* as loaded */
    bool dr7_loaded;
    bool is_up;
} __attribute__((aligned(64)));

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

#define current      (this_cpu()->vcpu)
#define guest_regs() (&this_cpu()->guest)

struct cpu *cpu_at(unsigned id);

#endif
