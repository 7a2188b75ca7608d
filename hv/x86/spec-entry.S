/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The ways in and out on CPUs whose policy (spec-policy.c) asks for something there; all others never come
 * here.
 *
 * In: the same stubs as in entry.S, one for each of its entries, that scrub and go on there.  All registers
 * and the hardware's frame are kept; flags are not, and the CPU has saved those.  Below the frame the stack
 * is free, as it is for entry.S.  #DB, NMI, double fault and machine check scrub likewise, whomever it met.
 */
#include "x86/entry-offsets.h"

#define RSB_ENTRIES 32

    .text

scrub:
    push    %rax
    push    %rcx
    push    %rdx
    mov     spec_entry_ctrl(%rip), %eax
    test    %eax, %eax
    jz      1f
    mov     $MSR_SPEC_CTRL, %ecx
    xor     %edx, %edx
    wrmsr
1:  lfence                              /* nobody runs ahead on the wrong side of the jump */
    cmpb    $0, spec_entry_rsb(%rip)
    je      4f
    /* Each call leaves the address of a trap for speculation. */
    mov     $(RSB_ENTRIES / 2), %ecx
2:  call    3f
21: pause
    lfence
    jmp     21b
3:  call    31f
32: pause
    lfence
    jmp     32b
31: dec     %ecx
    jnz     2b
    add     $(RSB_ENTRIES * 8), %rsp
4:  lfence
    pop     %rdx
    pop     %rcx
    pop     %rax
    ret

.macro SCRUBBED name
    .globl scrub_\name
    .balign 16
scrub_\name:
    call    scrub
    jmp     \name
.endm

    SCRUBBED syscall_entry
    SCRUBBED syscall32_entry
    SCRUBBED sysenter_entry
    SCRUBBED entry_debug
    SCRUBBED entry_page_fault
    SCRUBBED entry_nmi
    SCRUBBED entry_double_fault
    SCRUBBED entry_machine_check

    .globl scrub_entry_stubs
    .balign 16
scrub_entry_stubs:
    vector = 0
    .rept 256
    .balign 16
    call    scrub
    jmp     entry_stubs + vector * 16
    vector = vector + 1
    .endr

/*
 * Out: VERW, after all registers are the guest's.  It takes the selector of any writable data segment from
 * memory; with a register it would clear nothing (Intel, "Microarchitectural Data Sampling").
 */
    .globl guest_sysret_verw
guest_sysret_verw:
    verw    verw_selector(%rip)
    sysretq

    .globl guest_verw_iret
guest_verw_iret:
    verw    verw_selector(%rip)
    .globl guest_iret_after_verw
guest_iret_after_verw:
    iretq

    .section .rodata
verw_selector:
    .word   SEL_DS

    .section .note.GNU-stack, "", @progbits
