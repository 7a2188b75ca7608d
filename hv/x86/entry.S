/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every way in that is not a VM exit (exception, interrupt, SYSCALL), and the ways out.
 *
 * All of them build a struct cpu_user_regs; those from a guest (CPL 3) build it at the same place, struct
 * cpu's `guest`.  Interrupts are off from here to the way out.  On the way out to a guest: softirqs, then
 * events and NMIs that became pending, then the registers.
 */
#include "x86/entry-offsets.h"

/* Three bytes that boot turns into STAC or CLAC where the CPU has SMAP. */
.macro CLAC_IF_SMAP
661: .byte 0x0f, 0x1f, 0x00
    .pushsection .smap_patch, "a"
    .quad 661b
    .quad 0xca010f
    .popsection
.endm

.macro SAVE_GPRS
    push    %rdi
    push    %rsi
    push    %rdx
    push    %rcx
    push    %rax
    push    %r8
    push    %r9
    push    %r10
    push    %r11
    push    %rbx
    push    %rbp
    push    %r12
    push    %r13
    push    %r14
    push    %r15
.endm

/* What C code keeps for its caller, and what it may lose, RCX and R11 apart; with the registers at RSP. */
.macro RESTORE_KEPT
    mov     REGS_r15(%rsp), %r15
    mov     REGS_r14(%rsp), %r14
    mov     REGS_r13(%rsp), %r13
    mov     REGS_r12(%rsp), %r12
    mov     REGS_rbp(%rsp), %rbp
    mov     REGS_rbx(%rsp), %rbx
.endm

.macro RESTORE_LOST
    mov     REGS_r10(%rsp), %r10
    mov     REGS_r9(%rsp), %r9
    mov     REGS_r8(%rsp), %r8
    mov     REGS_rax(%rsp), %rax
    mov     REGS_rdx(%rsp), %rdx
    mov     REGS_rsi(%rsp), %rsi
    mov     REGS_rdi(%rsp), %rdi
.endm

/* Jumps where something is to be done before the guest may go on.  Loses RAX and RCX. */
.macro CHECK_PENDING softirqs, deliver
    cmpl    $0, CPU_softirqs - CPU_guest(%rsp)
    jne     \softirqs
    mov     CPU_current - CPU_guest(%rsp), %rax
    mov     VCPU_info(%rax), %rcx
    cmpw    $0, VCPU_nmi_mce_pending(%rax)
    jne     \deliver
    cmpb    $0, INFO_upcall_pending(%rcx)
    je      .Lnothing\@
    cmpb    $0, INFO_upcall_mask(%rcx)
    je      \deliver
.Lnothing\@:
.endm

.macro RESTORE_GPRS
    pop     %r15
    pop     %r14
    pop     %r13
    pop     %r12
    pop     %rbp
    pop     %rbx
    pop     %r11
    pop     %r10
    pop     %r9
    pop     %r8
    pop     %rax
    pop     %rcx
    pop     %rdx
    pop     %rsi
    pop     %rdi
.endm

    .text

/*
 * SYSCALL: each CPU's stub (syscall_stub below, copied by cpu.c) has put the
 * guest's RAX into the CPU's scratch word, its RSP into RAX, and RSP at the end
 * of the hardware frame in struct cpu.  MSR_SYSCALL_MASK has cleared DF and AC.
 */
    .globl syscall_entry
    .balign 64
syscall_entry:
    push    $SEL_RING3_DS
    push    %rax
    push    %r11
    push    $SEL_RING3_CS64
    push    %rcx
    push    $-1                         /* no error code; ENTRY_SYSCALL, as all bits of entry_vector */
    mov     CPU_scratch - CPU_guest - REGS_error_code(%rsp), %rax
    SAVE_GPRS
    mov     CPU_current - CPU_guest(%rsp), %r11
    cmpb    $0, VCPU_kernel_mode(%r11)
    je      .Luser_syscall
    cmp     $HYPERCALL_IRET, %rax
    je      .Liret_hypercall
    /* The arguments once more, as an array that the handler may change. */
    push    %r9
    push    %r8
    push    %r10
    push    %rdx
    push    %rsi
    push    %rdi
    lea     48(%rsp), %rdi
    mov     %rsp, %rsi
    call    hypercall_entry
    add     $48, %rsp

/* The way out after C code that returned here: RBX, RBP and R12 to R15 are still the guest's. */
.Lsyscall_exit:
    CHECK_PENDING exit_to_guest, exit_to_guest
.Lrestore_lost:
    RESTORE_LOST
    testl   $ENTRY_SYSCALL, REGS_entry_vector(%rsp)
    jz      .Liret
    /* SYSRET only where its fixed selectors are the guest's, RIP is canonical and no trap flag is set. */
    cmpw    $SEL_RING3_CS64, REGS_cs(%rsp)
    jne     .Liret
    mov     REGS_rip(%rsp), %rcx
    mov     %rcx, %r11
    shl     $16, %r11
    sar     $16, %r11
    cmp     %rcx, %r11
    jne     .Liret
    mov     REGS_rflags(%rsp), %r11
    test    $0x10100, %r11d
    jnz     .Liret
    mov     REGS_rsp(%rsp), %rsp
    .globl guest_sysret
guest_sysret:                           /* five bytes, which spec-ctrl.c may make a jump; so at guest_iret */
    sysretq
    int3
    int3
.Liret:
    mov     REGS_rcx(%rsp), %rcx
    mov     REGS_r11(%rsp), %r11
    add     $REGS_rip, %rsp
    .globl guest_iret
guest_iret:
    iretq
    int3
    int3
    int3

.Luser_syscall:
    mov     %r11, %rdi
    mov     %rsp, %rsi
    call    pv_user_syscall
    jmp     .Lsyscall_exit

.Liret_hypercall:
    mov     %r11, %rdi
    mov     %rsp, %rsi
    call    pv_iret
    jmp     .Lsyscall_exit

/* The way out to a guest from anywhere.  RSP points to its registers in struct cpu. */
    .globl exit_to_guest
exit_to_guest:
    CHECK_PENDING .Lsoftirqs, .Ldeliver
.Lrestore_all:
    RESTORE_KEPT
    jmp     .Lrestore_lost

.Ldeliver:
    mov     %rax, %rdi
    call    pv_deliver_pending
    jmp     .Lrestore_all

.Lsoftirqs:
    call    softirq_run
    jmp     exit_to_guest

/* --- exceptions and interrupts --- */

    .balign 64
    .globl entry_stubs
entry_stubs:
    vec = 0
    .rept 256
    .if vec == 8 || (vec >= 10 && vec <= 14) || vec == 17 || vec == 21 || vec == 29 || vec == 30
    .balign 16
    movl    $vec, 4(%rsp)
    jmp     common_entry
    .else
    .balign 16
    push    $0
    movl    $vec, 4(%rsp)
    jmp     common_entry
    .endif
    vec = vec + 1
    .endr
    .balign 16

common_entry:
    CLAC_IF_SMAP
    cld
    SAVE_GPRS
.Lsaved:
    testb   $3, REGS_cs(%rsp)
    jz      .Lfrom_hypervisor
    mov     CPU_current - CPU_guest(%rsp), %rdi
    mov     %rsp, %rsi
    cmpb    $32, REGS_entry_vector(%rsp)
    jae     .Linterrupt
    call    pv_trap
    jmp     exit_to_guest
.Linterrupt:
    mov     %rsi, %rdi
    call    trap_interrupt
    jmp     exit_to_guest

/* The page fault comes first: it is the most frequent. */
    .globl entry_page_fault
entry_page_fault:
    movl    $14, 4(%rsp)
    CLAC_IF_SMAP
    cld
    SAVE_GPRS
    testb   $3, REGS_cs(%rsp)
    jz      .Lfrom_hypervisor
    mov     CPU_current - CPU_guest(%rsp), %rdi
    mov     %rsp, %rsi
    call    pv_page_fault
    jmp     exit_to_guest

/* In the hypervisor itself: the idle loop's interrupts, NMI, machine check, faults with a fixup. */
.Lfrom_hypervisor:
    mov     %rsp, %rdi
    mov     %rsp, %rbp
    and     $~15, %rsp
    call    trap_from_hypervisor
    mov     %rbp, %rsp
    RESTORE_GPRS
    add     $8, %rsp
    iretq

/*
 * #DB has a stack of its own, because a guest can have one come at the first instruction behind SYSCALL,
 * while RSP is still the guest's: MOV SS holds a breakpoint's trap back until then (SDM vol. 3, 6.8.3).  One
 * that came from a guest moves to the stack where it belongs; the hypervisor's own ends here.
 */
    .globl entry_debug
entry_debug:
    push    $0
    movl    $1, 4(%rsp)
    CLAC_IF_SMAP
    cld
    SAVE_GPRS
    testb   $3, REGS_cs(%rsp)
    jz      .List_saved
    mov     %rsp, %rsi
    mov     $-(1 << STACK_SHIFT), %rdi
    and     %rsp, %rdi
    add     $(1 << STACK_SHIFT) - CPU_SIZE + CPU_guest, %rdi
    mov     %rdi, %rdx
    mov     $REGS_es / 8, %ecx
    rep movsq
    mov     %rdx, %rsp
    jmp     .Lsaved

/*
 * SYSCALL and SYSENTER of a user program in 32-bit mode: exceptions by numbers that the CPU does not use.
 * The first comes by the CPU's stub, as above.  The second comes with nothing saved, on the stack of the MSR;
 * NT is the caller's, and no IRET works with it.
 */
    .globl syscall32_entry
    .balign 16
syscall32_entry:
    push    $SEL_RING3_DS
    push    %rax
    push    %r11
    push    $SEL_RING3_CS32
    push    %rcx
    push    $0
    movl    $VECTOR_SYSCALL32, 4(%rsp)
    mov     CPU_scratch - CPU_guest - REGS_error_code(%rsp), %rax
    jmp     common_entry

    .globl sysenter_entry
    .balign 16
sysenter_entry:
    push    $SEL_RING3_DS
    push    $0
    pushfq
    push    $2
    popfq
    push    $SEL_RING3_CS32
    push    $0
    push    $0
    movl    $VECTOR_SYSENTER, 4(%rsp)
    jmp     common_entry

/*
 * NMI, double fault and machine check have stacks of their own (IST), so nothing they interrupt is lost.  The
 * stubs are the same; cpu.c points the IDT entries of these three here.  They return by IRETQ whoever was
 * interrupted.
 */
.macro IST_STUB name vector has_error
    .globl \name
\name:
    .if !\has_error
    push    $0
    .endif
    movl    $\vector, 4(%rsp)
    CLAC_IF_SMAP
    cld
    SAVE_GPRS
    jmp     .List_saved
.endm

    IST_STUB entry_nmi 2 0
    IST_STUB entry_double_fault 8 1
    IST_STUB entry_machine_check 18 0

.List_saved:
    mov     %rsp, %rdi
    mov     %rsp, %rbp
    and     $~15, %rsp
    call    trap_ist
    mov     %rbp, %rsp
    RESTORE_GPRS
    add     $8, %rsp
    iretq

/* stack_reset_and_jump(fn): forgets the stack and goes on with fn() on an empty one. */
    .globl stack_reset_and_jump
stack_reset_and_jump:
    mov     $-(1 << STACK_SHIFT), %rax
    and     %rsp, %rax
    lea     (1 << STACK_SHIFT) - CPU_SIZE(%rax), %rsp
    xor     %ebp, %ebp
    call    *%rdi
    ud2

/* stack_reset_to_guest(): the way out with the registers that are in struct cpu. */
    .globl stack_reset_to_guest
stack_reset_to_guest:
    mov     $-(1 << STACK_SHIFT), %rax
    and     %rsp, %rax
    lea     (1 << STACK_SHIFT) - CPU_SIZE + CPU_guest(%rax), %rsp
    jmp     exit_to_guest

/* The SYSCALL stub; cpu.c copies it for each CPU and fills in the two addresses. */
    .section .rodata
    .balign 16
    .globl syscall_stub, syscall_stub_end, syscall_stub_scratch, syscall_stub_stack, syscall_stub_target
syscall_stub:
    .byte   0x48, 0xa3                  /* movabs %rax, scratch */
syscall_stub_scratch:
    .quad   0
    mov     %rsp, %rax
    .byte   0x48, 0xbc                  /* movabs $stack, %rsp */
syscall_stub_stack:
    .quad   0
    .byte   0xff, 0x25                  /* jmp *target(%rip) */
    .long   syscall_stub_target - . - 4
syscall_stub_target:
    .quad   syscall_entry
syscall_stub_end:
