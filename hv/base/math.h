/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Arithmetic that C has no word for. */
#ifndef SERAI_BASE_MATH_H
#define SERAI_BASE_MATH_H

#include "base/types.h"

/* a * b / c with a product of 128 bits.  The quotient must fit 64 bits. */
static inline u64
mul_div(u64 a, u64 b, u64 c)
{
    u64 low, high, quotient, rest;

    __asm__("mulq %3" : "=a"(low), "=d"(high) : "a"(a), "rm"(b) : "cc");
    __asm__("divq %4" : "=a"(quotient), "=d"(rest) : "a"(low), "d"(high), "rm"(c) : "cc");
    return quotient;
}

#endif
