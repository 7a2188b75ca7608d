/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stands in for hv/x86/userword.h: each word is a copy that the pretend machine may refuse. */
#ifndef SERAI_X86_USERWORD_H
#define SERAI_X86_USERWORD_H

#include "x86/usercopy.h"

static inline void
user_open(void)
{
}

static inline void
user_close(void)
{
}

#define user_load_as(type, address, fault)                                   \
    ({                                                                       \
        type value__;                                                        \
        if (usercopy_in(&value__, (const void *)(address), sizeof(value__))) \
            goto fault;                                                      \
        value__;                                                             \
    })

#define user_load(address, fault) user_load_as(u64, address, fault)

#define user_store(address, value, fault)                               \
    do {                                                                \
        u64 value__ = (value);                                          \
        if (usercopy_out((void *)(address), &value__, sizeof(value__))) \
            goto fault;                                                 \
    } while (0)

#endif
