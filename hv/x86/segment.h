/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Registers that a guest changes through the emulator: segments, and which vector state is on. */
#ifndef SERAI_X86_SEGMENT_H
#define SERAI_X86_SEGMENT_H

#include "base/types.h"

/* Whether @sel, which the guest runs on, is a 64-bit code segment. */
static inline bool
segment_is_long(u16 sel)
{
    u32 rights = 0;
    bool valid;

    __asm__("lar %2, %1" : "=@ccz"(valid), "+r"(rights) : "r"((u32)sel));
    return !valid || rights & 1u << 21;
}

/*
 * Loads @sel into the GS that is not in use (the user's, while the guest is in its kernel), base included.  A
 * selector that the CPU refuses becomes 0, as an operating system would make it.
 */
static inline void
segment_load_inactive_gs(u16 sel)
{
    __asm__ volatile("swapgs\n\t"
                     "1: mov %k0, %%gs\n"
                     "2: mfence; swapgs\n\t"
                     ".pushsection .fixup, \"ax\"; 3: xor %k0, %k0; mov %k0, %%gs; jmp 2b; .popsection\n\t"
                     ".pushsection .extable, \"a\"; .quad 1b, 3b; .popsection"
                     : "+r"(sel)
                     :
                     : "memory");
}

#endif
