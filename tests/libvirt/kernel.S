/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The smallest kernel that a domain builder takes: an entry that never leaves, and the notes that
 * make an ELF file a paravirtualized guest.  The pretend machine builds it and never runs it.
 */
#define NOTE_STRING(type, text)                                                                              \
    .balign 4;                                                                                               \
    .long 4, 2f - 1f, type;                                                                                  \
    .asciz "Xen";                                                                                            \
1:  .asciz text;                                                                                             \
2:

#define NOTE_WORD(type, value)                                                                               \
    .balign 4;                                                                                               \
    .long 4, 8, type;                                                                                        \
    .asciz "Xen";                                                                                            \
    .quad value

    .section .note.Xen, "a", @note
    NOTE_STRING(6, "test")
    NOTE_STRING(5, "xen-3.0")
    NOTE_WORD(3, 0xffffffff80000000)
    NOTE_WORD(4, 0xffffffff80000000)
    NOTE_WORD(1, _start)
    NOTE_WORD(2, hypercall_page)
    NOTE_STRING(8, "generic")
    NOTE_STRING(9, "yes")

    .text
    .globl _start
_start:
    jmp _start

    .balign 4096
hypercall_page:
    .skip 4096
