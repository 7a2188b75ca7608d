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
#include "base/list.h"

#define STACK_SIZE (32 * 1024ull)

struct vcpu;
struct timer_queue;
struct tss;
struct sched_cpu;

#define CPU_DEVICE_VECTORS 192u

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
    u64 xcr0;       /* as loaded */
    u32 tsc_aux;    /* as loaded */
    bool dr7_loaded;
    bool is_up;
    u16 vector_irq[CPU_DEVICE_VECTORS]; /* irq.c: which interrupt each of its vectors is, + 1; 0: none */
} __attribute__((aligned(64)));

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

#define current (this_cpu()->vcpu)

/* The guest registers of the current vCPU, as they were on its way in and will be on its way out. */
#define guest_regs() (&this_cpu()->guest)

/* Another CPU's block; NULL where no such CPU was brought up. */
struct cpu *cpu_at(unsigned id);

#endif
