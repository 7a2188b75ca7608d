/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The functions that entry.S and trap.c call upward; this is the whole list. */
#ifndef SERAI_X86_UPCALLS_H
#define SERAI_X86_UPCALLS_H

#include "x86/percpu.h"

/*
 * hypercall/dispatch.c: the guest kernel executed SYSCALL; number in RAX, arguments in RDI RSI RDX R10 R8 R9
 * and, in that order, in @arg, which is the callee's to change.  All of the three that a SYSCALL leads to
 * leave RBX, RBP and R12 to R15 of @regs as they are.
 */
void hypercall_entry(struct cpu_user_regs *regs, u64 *arg);
/* pv/cpu.c: the same with HYPERVISOR_iret in RAX; and SYSCALL in guest user mode. */
void pv_iret(struct vcpu *v, struct cpu_user_regs *regs);
void pv_user_syscall(struct vcpu *v, struct cpu_user_regs *regs);

/*
 * pv/trap.c: an exception came from PV guest context (ring 3).  The handler mends it, emulates it, or bounces
 * it into the guest kernel by pv_inject_trap().
 */
void pv_trap(struct vcpu *v, struct cpu_user_regs *regs);
/* The same for page faults, which come by a way of their own. */
void pv_page_fault(struct vcpu *v, struct cpu_user_regs *regs);

/* pv/mmu.c: a page fault with CPL 0, maybe on a guest's page.  False: not ours to mend. */
bool pv_page_fault_in_hypervisor(u64 va, u32 error_code);

/* pv/cpu.c: the way out to a guest with something pending. */
void pv_deliver_pending(struct vcpu *v);

/* pv/cpu.c: the IRETQ to the guest refused a selector or its RIP; regs in struct cpu are whole again. */
void pv_iret_fault(struct vcpu *v);

/* domain/evtchn.c side of interrupts that belong to dom0's devices: the vector fired on this CPU. */
void irq_handle(unsigned vector);

/* boot/nmi.c: on a stack of their own, at any instruction; they may take no lock. */
void nmi_arrived(struct cpu_user_regs *regs);
void machine_check_arrived(struct cpu_user_regs *regs);

/* domain/timer.c, domain/sched.c by way of softirqs; nothing else. */

#endif
