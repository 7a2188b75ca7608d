/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From GRUB's jump (multiboot 1 or 2: 32-bit protected mode, no paging) to C.
 *
 * The image may have been loaded anywhere below 4 GiB, aligned to 2 MiB, so until paging is on every
 * address is computed from %ebp, the physical address of image_start.  Early page tables map the first
 * 4 GiB one to one and at DIRECT_START, and the image at IMAGE_START; paging.c builds the real ones.
 */
#include "x86/entry-offsets.h"

#define MB1_MAGIC_HEADER 0x1badb002
#define MB1_FLAGS        0x00010003 /* page-aligned modules, memory map, address fields valid */
#define MB1_MAGIC_BOOT   0x2badb002
#define MB2_MAGIC_HEADER 0xe85250d6
#define MB2_MAGIC_BOOT   0x36d76289

#define PHYS(sym) off_##sym /* from image_start; hv.lds.S computes them */

    .section .multiboot, "ax", @progbits
    .code32
    .balign 8
    .globl mb1_header
mb1_header:
    .long MB1_MAGIC_HEADER
    .long MB1_FLAGS
    .long -(MB1_MAGIC_HEADER + MB1_FLAGS)
    .long 0x200000 + PHYS(mb1_header)   /* header */
    .long 0x200000                      /* load */
    .long 0x200000 + PHYS(init_end)     /* end of what the file has */
    .long 0x200000 + PHYS(bss_end)
    .long 0x200000 + PHYS(entry_mb1)

    .balign 8
mb2_header:
    .long MB2_MAGIC_HEADER
    .long 0
    .long mb2_header_end - mb2_header
    .long -(MB2_MAGIC_HEADER + 0 + (mb2_header_end - mb2_header))
    /* what we want to be told: command line, modules, memory map; optional: the rest */
    .balign 8
    .short 1, 0
    .long mb2_req_end - . + 4
    .long 1, 3, 6
mb2_req_end:
    .balign 8
    .short 1, 1
    .long mb2_opt_end - . + 4
    .long 14, 15, 8, 12, 21
mb2_opt_end:
    .balign 8
    .short 3, 1                         /* entry address */
    .long 12
    .long 0x200000 + PHYS(entry_physical)
    .balign 8
    .short 5, 1                         /* any framebuffer, text preferred */
    .long 20
    .long 0, 0, 0
    .balign 8
    .short 6, 1                         /* modules on page boundaries */
    .long 8
    .balign 8
    .short 10, 1                        /* relocatable: 2 MiB to 4 GiB, as low as can be */
    .long 24
    .long 0x200000, 0xffe00000, 0x200000, 1
    .balign 8
    .short 0, 0
    .long 8
mb2_header_end:

    .section .boot.text, "ax", @progbits
    .code32
    .globl entry_physical, entry_mb1, long_mode, no_long_text
entry_mb1:
entry_physical:
    cli
    cld
    mov     %eax, %esi                  /* magic */
    mov     %ebx, %edi                  /* boot information */
    mov     $0x200000, %ebp
    cmp     $MB2_MAGIC_BOOT, %eax
    jne     .Lloaded

    /* The tag "image load base" (21) says where a relocating loader put us. */
    lea     8(%ebx), %ecx
.Ltag:
    mov     (%ecx), %eax
    test    %eax, %eax
    jz      .Lloaded
    cmp     $21, %eax
    je      .Lfound
    mov     4(%ecx), %eax
    lea     7(%ecx,%eax), %ecx
    and     $~7, %ecx
    jmp     .Ltag
.Lfound:
    mov     8(%ecx), %ebp
.Lloaded:
    lea     PHYS(boot_stack_top)(%ebp), %esp
    push    %esi
    push    %edi

    /* Clear .bss, which a multiboot1 loader may not have done; the stack is elsewhere. */
    lea     PHYS(bss_start)(%ebp), %edi
    lea     PHYS(bss_end)(%ebp), %ecx
    sub     %edi, %ecx
    xor     %eax, %eax
    shr     $2, %ecx
    rep stosl

    /* Long mode or nothing. */
    mov     $0x80000000, %eax
    cpuid
    cmp     $0x80000001, %eax
    jb      .Lno_long_mode
    mov     $0x80000001, %eax
    cpuid
    bt      $29, %edx
    jnc     .Lno_long_mode
    mov     %edx, %ebx                  /* bit 20: NX */

    /* L2: 4 GiB in 2 MiB pages. */
    lea     PHYS(boot_l2)(%ebp), %edi
    mov     $0x83, %eax
    mov     $2048, %ecx
1:  mov     %eax, (%edi)
    movl    $0, 4(%edi)
    add     $0x200000, %eax
    add     $8, %edi
    loop    1b

    /* L3 of both the identity and the direct map. */
    lea     PHYS(boot_l3)(%ebp), %edi
    lea     PHYS(boot_l2)+3(%ebp), %eax
    mov     $4, %ecx
1:  mov     %eax, (%edi)
    movl    $0, 4(%edi)
    add     $4096, %eax
    add     $8, %edi
    loop    1b

    /* The image: 16 MiB from its base. */
    lea     PHYS(boot_l2_image)(%ebp), %edi
    lea     0x83(%ebp), %eax
    mov     $8, %ecx
1:  mov     %eax, (%edi)
    movl    $0, 4(%edi)
    add     $0x200000, %eax
    add     $8, %edi
    loop    1b
    lea     PHYS(boot_l2_image)+3(%ebp), %eax
    mov     %eax, PHYS(boot_l3_image)(%ebp)

    lea     PHYS(boot_l3)+3(%ebp), %eax
    mov     %eax, PHYS(boot_l4)(%ebp)                  /* slot 0 */
    mov     %eax, PHYS(boot_l4)+262*8(%ebp)            /* direct map */
    lea     PHYS(boot_l3_image)+3(%ebp), %eax
    mov     %eax, PHYS(boot_l4)+260*8(%ebp)            /* image */

    mov     %cr4, %eax
    or      $0x620, %eax                /* PAE, OSFXSR, OSXMMEXCPT */
    mov     %eax, %cr4
    lea     PHYS(boot_l4)(%ebp), %eax
    mov     %eax, %cr3
    mov     $0xc0000080, %ecx
    rdmsr
    or      $0x101, %eax                /* LME, SCE */
    bt      $20, %ebx
    jnc     1f
    or      $0x800, %eax                /* NXE */
1:  wrmsr
    mov     $0x80050033, %eax           /* PG AM WP NE ET MP PE */
    mov     %eax, %cr0

    /* A GDT with one 64-bit code segment, to leave compatibility mode. */
    lea     PHYS(boot_gdt)(%ebp), %eax
    mov     %eax, PHYS(boot_gdtr)+2(%ebp)
    lgdtl   PHYS(boot_gdtr)(%ebp)
    pop     %edi
    pop     %esi
    lea     PHYS(long_mode)(%ebp), %eax
    push    $8
    push    %eax
    lretl

.Lno_long_mode:
    lea     PHYS(no_long_text)(%ebp), %esi
    mov     $0xb8000, %edi
    mov     $0x3f8, %dx
1:  lodsb
    test    %al, %al
    jz      2f
    stosb
    movb    $7, (%edi)
    inc     %edi
    out     %al, %dx
    jmp     1b
2:  hlt
    jmp     2b
no_long_text:
    .asciz "Serai needs a 64-bit (x86-64) CPU; this one has no long mode. Start another system.\r\n"

    .code64
long_mode:
    mov     $16, %eax
    mov     %eax, %ds
    mov     %eax, %es
    mov     %eax, %ss
    xor     %eax, %eax
    mov     %eax, %fs
    mov     %eax, %gs
    movabs  $.Lhigh, %rax
    jmp     *%rax
.Lhigh:
    /* main(magic, info, base) on the boot CPU's own stack; struct cpu is at its top. */
    lea     boot_cpu_stack + (1 << STACK_SHIFT) - CPU_SIZE(%rip), %rsp
    mov     %esi, %eax
    mov     %edi, %esi
    mov     %eax, %edi
    mov     %ebp, %edx
    xor     %ebp, %ebp
    call    boot_main
    ud2

    .section .data, "aw", @progbits
    .balign 16
    .globl boot_gdt, boot_gdtr, boot_stack_top
boot_gdt:
    .quad 0
    .quad 0x00af9a000000ffff            /* ring 0 code, 64 bit */
    .quad 0x00cf92000000ffff            /* ring 0 data */
boot_gdtr:
    .short 23
    .quad 0
    .balign 16
    .skip 64
boot_stack_top:

    /* hv.lds.S aligns it to its size; a section's own alignment would push the image away in the file. */
    .section .bss.stack, "aw", @nobits
    .globl boot_cpu_stack
boot_cpu_stack:
    .skip 1 << STACK_SHIFT

    .section .bss.page_aligned, "aw", @nobits
    .balign 4096
    .globl boot_l4, boot_l3, boot_l2, boot_l3_image, boot_l2_image
boot_l4:
    .skip 4096
boot_l3:
    .skip 4096
boot_l2:
    .skip 4096 * 4
boot_l3_image:
    .skip 4096
boot_l2_image:
    .skip 4096
