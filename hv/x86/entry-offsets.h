/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the assembly files know of C structures; cpu.c asserts that it is true. */
#ifndef SERAI_X86_ENTRY_OFFSETS_H
#define SERAI_X86_ENTRY_OFFSETS_H

/* struct cpu_user_regs */
#define REGS_r15          0
#define REGS_r14          8
#define REGS_r13          16
#define REGS_r12          24
#define REGS_rbp          32
#define REGS_rbx          40
#define REGS_r11          48
#define REGS_r10          56
#define REGS_r9           64
#define REGS_r8           72
#define REGS_rax          80
#define REGS_rcx          88
#define REGS_rdx          96
#define REGS_rsi          104
#define REGS_rdi          112
#define REGS_error_code   120
#define REGS_entry_vector 124
#define REGS_rip          128
#define REGS_cs           136
#define REGS_upcall_mask  140
#define REGS_rflags       144
#define REGS_rsp          152
#define REGS_ss           160
#define REGS_es           168

/* struct cpu; the distance of its fields from the guest's registers in it */
#define CPU_guest    8
#define CPU_current  208
#define CPU_id       216
#define CPU_softirqs 220
#define CPU_scratch  224
#define CPU_SIZE     768

/* HYPERVISOR_iret, which has a way of its own. */
#define HYPERCALL_IRET 23

/* struct vcpu */
#define VCPU_info            8
#define VCPU_nmi_mce_pending 26
#define VCPU_kernel_mode     32

/* struct vcpu_info */
#define INFO_upcall_pending 0
#define INFO_upcall_mask    1

#define STACK_SHIFT 15

/* Entries that are no exceptions, by numbers of exceptions that do not exist (entry.S, pv/trap.c). */
#define VECTOR_SYSENTER  22
#define VECTOR_SYSCALL32 23

/* Written by spec-entry.S and by spec-ctrl.c. */
#define MSR_SPEC_CTRL 0x48

/* Selectors of the reserved part of every GDT; the ring 3 ones are ABI (FLAT_RING3_*). */
#define SEL_CS         0xe008
#define SEL_DS         0xe010
#define SEL_RING3_CS32 0xe023
#define SEL_RING3_DS   0xe02b
#define SEL_RING3_CS64 0xe033
#define SEL_TSS        0xe040
#define SEL_LDT        0xe050

/* In entry_vector's upper bits: the guest goes back by SYSRET if it can, so RCX and R11 are its to lose. */
#define ENTRY_SYSCALL 0x100

#endif
