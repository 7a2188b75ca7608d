/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The vocabulary of every file: integers, booleans, and what the compiler should know. */
#ifndef SERAI_BASE_TYPES_H
#define SERAI_BASE_TYPES_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdarg.h>

typedef int64_t s64;
typedef uint64_t u64;
typedef int32_t s32;
typedef uint32_t u32;
typedef uint16_t u16;
typedef uint8_t u8;
typedef int8_t s8;

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define DIV_ROUND_UP(n, d)   (((n) + (d)-1) / (d))
#define ROUND_UP(n, align)   (((n) + (align)-1) & ~((__typeof__(n))(align)-1))
#define ROUND_DOWN(n, align) ((n) & ~((__typeof__(n))(align)-1))

#define PAGE_SHIFT 12
#define PAGE_SIZE  4096ull
#define PAGE_MASK  (~(PAGE_SIZE - 1))

#define __packed       __attribute__((packed))
#define __noreturn     __attribute__((noreturn))
#define __printf(f, a) __attribute__((format(printf, f, a)))
#define __must_check   __attribute__((warn_unused_result))
#define __init         __attribute__((section(".init.text")))
#define __initdata     __attribute__((section(".init.data")))

#define READ_ONCE(x)     (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
#define barrier()        __asm__ volatile("" ::: "memory")

/*
 * An index that speculation cannot carry past @size: 0 when it is out of range.  The caller has
 * refused such an index already; this stops the CPU from running ahead of the refusal.
 */
static inline size_t
index_nospec(size_t index, size_t size)
{
    size_t mask;

    __asm__ volatile("cmp %1, %2; sbb %0, %0" : "=r"(mask) : "g"(size), "r"(index) : "cc");
    return index & mask;
}

#endif
