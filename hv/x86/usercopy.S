/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * size_t usercopy_in(void *dst, const void *src, size_t size)    %rdi %rsi %rdx, result in %rax
 *
 * Hypercall arguments are small: up to 128 bytes go in loads and stores of eight, the
 * rest by the string instructions.  An access that faults continues at a fixup which
 * leaves in %rax a count of bytes not done, never 0; what was written before it stays.
 * RFLAGS.AC opens guest pages to us while SMAP is on; the fixups close it again.
 */
        .text

/* NOPs of three bytes, which cpu.c turns into STAC and CLAC where SMAP is on. */
.macro smap_nop byte
.Lnop\@:
        nopl    (%rax)
        .pushsection .smap_patch, "a"
        .quad   .Lnop\@
        .byte   0x0f, 0x01, \byte, 0, 0, 0, 0, 0
        .popsection
.endm

.macro open_guest
        smap_nop 0xcb
.endm

.macro close_guest
        smap_nop 0xca
.endm

.macro may_fault at, fixup
        .pushsection .extable, "a"
        .quad   \at, \fixup
        .popsection
.endm

/* Both directions are one code: the exception table does not care which side faulted. */
        .globl  usercopy_in, usercopy_out
        .hidden usercopy_in, usercopy_out
        .type   usercopy_in, @function
        .type   usercopy_out, @function
        .balign 16
usercopy_in:
usercopy_out:
        open_guest
        test    $7, %dl
        jnz     .Lcopy_string
        cmp     $128, %rdx
        ja      .Lcopy_string
        /* Eight bytes of code copy eight bytes, the first ones last: jump that far before the end. */
        lea     .Lcopy_done(%rip), %rcx
        sub     %rdx, %rcx
        jmp     *%rcx
.Lcopy_words:
        .set    offset, 120
        .rept   16
        {disp8} mov offset(%rsi), %rax
        {disp8} mov %rax, offset(%rdi)
        .set    offset, offset - 8
        .endr
.Lcopy_done:
        xor     %eax, %eax
        close_guest
        ret
.Lcopy_string:
        mov     %rdx, %rcx
        and     $7, %edx
        shr     $3, %rcx
3:      rep movsq
        mov     %edx, %ecx
4:      rep movsb
        jmp     .Lcopy_done

.Lcopy_words_fault:
        mov     %rdx, %rax
        close_guest
        ret
.Lcopy_string_fault:
        lea     (%rdx, %rcx, 8), %rcx
.Lcopy_bytes_fault:
        mov     %rcx, %rax
        close_guest
        ret
        .if     .Lcopy_done - .Lcopy_words - 128
        .error  "a word must take eight bytes of code"
        .endif
        .size   usercopy_in, . - usercopy_in
        .size   usercopy_out, . - usercopy_out
        .set    offset, 0
        .rept   32
        may_fault .Lcopy_words + offset, .Lcopy_words_fault
        .set    offset, offset + 4
        .endr
        may_fault 3b, .Lcopy_string_fault
        may_fault 4b, .Lcopy_bytes_fault

/* size_t usercopy_clear(void *dst, size_t size)    %rdi %rsi */
        .globl  usercopy_clear
        .hidden usercopy_clear
        .type   usercopy_clear, @function
        .balign 16
usercopy_clear:
        open_guest
        xor     %eax, %eax
        mov     %rsi, %rcx
        mov     %esi, %edx
        and     $7, %edx
        shr     $3, %rcx
5:      rep stosq
        mov     %edx, %ecx
6:      rep stosb
        close_guest
        ret
.Lclear_words_fault:
        lea     (%rdx, %rcx, 8), %rcx
.Lclear_bytes_fault:
        mov     %rcx, %rax
        close_guest
        ret
        .size   usercopy_clear, . - usercopy_clear
        may_fault 5b, .Lclear_words_fault
        may_fault 6b, .Lclear_bytes_fault

        .section .note.GNU-stack, "", @progbits
