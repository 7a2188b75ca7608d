/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a second CPU arrives: real mode, at a page below 1 MiB where smp.c copied this.  The words at the end
 * are filled in by smp.c; addresses within the page are relative to its start, which is CS << 4.
 */
#include "x86/entry-offsets.h"

    .section .rodata, "a", @progbits
    .globl trampoline_start, trampoline_end, trampoline_args
    .balign 16
    .code16
trampoline_start:
    cli
    cld
    mov     %cs, %ax
    mov     %ax, %ds
    movzwl  %ax, %ebx
    shl     $4, %ebx                    /* where we are */
    lea     .Lgdt - trampoline_start(%ebx), %eax
    mov     %eax, .Lgdtr + 2 - trampoline_start
    lea     .Lprotected - trampoline_start(%ebx), %eax
    mov     %eax, .Lfar - trampoline_start
    lgdtl   .Lgdtr - trampoline_start
    mov     %cr0, %eax
    or      $1, %al
    mov     %eax, %cr0
    ljmpl   *.Lfar - trampoline_start

    .code32
.Lprotected:
    mov     $24, %eax
    mov     %eax, %ds
    mov     %eax, %ss
    mov     $0x620, %eax
    mov     %eax, %cr4
    mov     trampoline_args + 0 - trampoline_start(%ebx), %eax
    mov     %eax, %cr3
    mov     $0xc0000080, %ecx
    mov     trampoline_args + 4 - trampoline_start(%ebx), %eax
    xor     %edx, %edx
    wrmsr
    mov     $0x80050033, %eax
    mov     %eax, %cr0
    lea     .Llong64 - trampoline_start(%ebx), %eax
    mov     %eax, .Lfar - trampoline_start(%ebx)
    movw    $16, .Lfar + 4 - trampoline_start(%ebx)
    ljmpl   *.Lfar - trampoline_start(%ebx)

    .code64
.Llong64:
    mov     trampoline_args + 8 - trampoline_start(%rbx), %rsp
    mov     trampoline_args + 16 - trampoline_start(%rbx), %rax
    xor     %ebp, %ebp
    jmp     *%rax

    .balign 8
.Lgdt:
    .quad 0
    .quad 0x00cf9a000000ffff            /* 32-bit code */
    .quad 0x00af9a000000ffff            /* 64-bit code */
    .quad 0x00cf92000000ffff            /* data */
.Lgdtr:
    .short 31
    .long 0
.Lfar:
    .long 0
    .short 8
    .balign 8
trampoline_args:
    .long 0                             /* CR3 */
    .long 0                             /* EFER */
    .quad 0                             /* stack */
    .quad 0                             /* entry */
trampoline_end:
