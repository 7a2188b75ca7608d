/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Single words at a guest's addresses, for the few structures that every system call, page fault or hypercall
 * of a guest moves.  The caller has made sure that the range is the guest's (guest_range() of
 * mm/guest-copy.h), and stands between user_open() and user_close().  A word that nobody mapped goes to the
 * label @fault, from where user_close() is still due; nothing is known then of what was loaded.
 *
 * No function is called between the two: RFLAGS.AC opens guest pages to all of our accesses while SMAP is on.
 */
#ifndef SERAI_X86_USERWORD_H
#define SERAI_X86_USERWORD_H

#include "base/types.h"

/* NOPs of three bytes, which cpu.c turns into STAC (0xcb) and CLAC (0xca) where SMAP is on. */
#define USER_ACCESS(byte)                                                                  \
    __asm__ volatile("1: nopl (%%rax)\n\t"                                                 \
                     ".pushsection .smap_patch, \"a\"; .quad 1b; .byte 0x0f, 0x01, " #byte \
                     ", 0, 0, 0, 0, 0; "                                                   \
                     ".popsection"                                                         \
                     :                                                                     \
                     :                                                                     \
                     : "memory")

static inline void
user_open(void)
{
    USER_ACCESS(0xcb);
}

static inline void
user_close(void)
{
    USER_ACCESS(0xca);
}

/*
 * The @type, u64 or u32, at @address.  volatile, since GCC before 12.4 may drop a goto that has results (its
 * PR 113921); cppcheck knows no results of a goto at all, so the files that use this have its uninitialized
 * variables suppressed.
 */
#define user_load_as(type, address, fault)                                               \
    ({                                                                                   \
        type value__;                                                                    \
        __asm__ volatile goto("1: mov %1, %0\n\t"                                        \
                              ".pushsection .extable, \"a\"; .quad 1b, %l2; .popsection" \
                              : "=r"(value__)                                            \
                              : "m"(*(const type *)(address))                            \
                              :                                                          \
                              : fault);                                                  \
        value__;                                                                         \
    })

#define user_load(address, fault) user_load_as(u64, address, fault)

/* Writes the u64 @value at @address. */
#define user_store(address, value, fault)                                            \
    __asm__ volatile goto("1: mov %1, %0\n\t"                                        \
                          ".pushsection .extable, \"a\"; .quad 1b, %l2; .popsection" \
                          :                                                          \
                          : "m"(*(u64 *)(address)), "r"((u64)(value))                \
                          : "memory"                                                 \
                          : fault)

#endif
