/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The entry of a PV test kernel, its ELF notes, and the ways into it that C cannot express. */
#include <xen/elfnote.h>

#define NOTE_TEXT(type, text)                                   \
    .long 4, 2f - 1f, type; .asciz "Xen"; 1: .asciz text; 2: .balign 4
#define NOTE_WORD(type, word)                                   \
    .long 4, 8, type; .asciz "Xen"; .quad word

    .section .note.xen, "a", @note
    NOTE_TEXT(XEN_ELFNOTE_GUEST_OS, "SeraiTest")
    NOTE_TEXT(XEN_ELFNOTE_GUEST_VERSION, "1")
    NOTE_TEXT(XEN_ELFNOTE_XEN_VERSION, "xen-3.0")
    NOTE_TEXT(XEN_ELFNOTE_LOADER, "generic")
    NOTE_TEXT(XEN_ELFNOTE_PAE_MODE, "yes")
    NOTE_TEXT(XEN_ELFNOTE_FEATURES, "!writable_page_tables|pae_pgdir_above_4gb")
    NOTE_WORD(XEN_ELFNOTE_SUPPORTED_FEATURES, 0x801)
    NOTE_WORD(XEN_ELFNOTE_VIRT_BASE, 0xffffffff80000000)
    NOTE_WORD(XEN_ELFNOTE_ENTRY, start)
    NOTE_WORD(XEN_ELFNOTE_HYPERCALL_PAGE, hypercall_page)

    .text
    .globl start
start:
    cld
    lea     stack_end(%rip), %rsp
    mov     %rsi, %rdi
    xor     %ebp, %ebp
    call    guest_start
    ud2

/*
 * Entries for traps.  The hypervisor pushed RCX R11 [error] RIP CS RFLAGS RSP SS.
 * All registers are saved in the order of struct guest_frame, trap_handler(frame)
 * is called, and HYPERVISOR_iret goes back to where the frame says.
 */
.macro TRAP name vector has_error
    .globl \name
\name:
    pop     %rcx
    pop     %r11
    .if !\has_error
    push    $0
    .endif
    push    $\vector
    jmp     trap_common
.endm

    TRAP entry_divide 0 0
    TRAP entry_debug 1 0
    TRAP entry_nmi 2 0
    TRAP entry_breakpoint 3 0
    TRAP entry_invalid_opcode 6 0
    TRAP entry_no_fpu 7 0
    TRAP entry_protection 13 1
    TRAP entry_page_fault 14 1
    TRAP entry_int80 0x80 0
    /* Ways in that are no traps, with frames like theirs. */
    TRAP entry_syscall32 0x103 0
    TRAP entry_sysenter 0x104 0

    .globl entry_event
entry_event:
    pop     %rcx
    pop     %r11
    push    $0
    push    $0x100
    jmp     trap_common

/* An IRET that failed, and selectors that could not be loaded, come here with a frame like a trap's. */
    .globl entry_failsafe
entry_failsafe:
    pop     %rcx
    pop     %r11
    push    $0
    push    $0x101
    jmp     trap_common

trap_common:
    push    %rax
    push    %rbx
    push    %rcx
    push    %rdx
    push    %rsi
    push    %rdi
    push    %rbp
    push    %r8
    push    %r9
    push    %r10
    push    %r11
    push    %r12
    push    %r13
    push    %r14
    push    %r15
    mov     %rsp, %rdi
    mov     %rsp, %rbp
    and     $~15, %rsp
    call    trap_handler
    mov     %rbp, %rsp
    .globl trap_return
trap_return:
    pop     %r15
    pop     %r14
    pop     %r13
    pop     %r12
    pop     %r11
    pop     %r10
    pop     %r9
    pop     %r8
    pop     %rbp
    pop     %rdi
    pop     %rsi
    pop     %rdx
    pop     %rcx
    pop     %rbx
    pop     %rax
    add     $16, %rsp
    /* The hypercall page pushes RCX, R11 and RAX: with the flags they complete struct iret_context. */
    push    $0
    jmp     hypercall_page + 23 * 32

/* SYSCALL of user mode: the frame is RCX R11 RIP CS RFLAGS RSP SS.  RAX 0 goes back at once; else to C. */
    .globl entry_syscall
entry_syscall:
    test    %rax, %rax
    jnz     1f
    mov     0(%rsp), %rcx
    mov     8(%rsp), %r11
    add     $16, %rsp
    push    $0x100                      /* VGCF_in_syscall */
    jmp     hypercall_page + 23 * 32
1:  lea     stack_end(%rip), %rsp
    call    user_done
    ud2

    .section .bss
    .balign 4096
    .globl stack
stack:
    .skip 16384
stack_end:

    .section .text.hypercall_page, "ax", @progbits
    .balign 4096
    .globl hypercall_page
hypercall_page:
    .skip 4096
