/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Atomic operations on plain integers, by the compiler's builtins; all are full barriers unless named so. */
#ifndef SERAI_BASE_ATOMIC_H
#define SERAI_BASE_ATOMIC_H

#include "base/types.h"

#define atomic_read(p)           __atomic_load_n(p, __ATOMIC_RELAXED)
#define atomic_read_acquire(p)   __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define atomic_set(p, v)         __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define atomic_set_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define atomic_xchg(p, v)        __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define atomic_add_return(p, v)  __atomic_add_fetch(p, v, __ATOMIC_SEQ_CST)
#define atomic_sub_return(p, v)  __atomic_sub_fetch(p, v, __ATOMIC_SEQ_CST)
#define atomic_inc(p)            ((void)__atomic_add_fetch(p, 1, __ATOMIC_SEQ_CST))
#define atomic_dec(p)            ((void)__atomic_sub_fetch(p, 1, __ATOMIC_SEQ_CST))
#define atomic_or(p, v)          ((void)__atomic_fetch_or(p, v, __ATOMIC_SEQ_CST))
#define atomic_and(p, v)         ((void)__atomic_fetch_and(p, v, __ATOMIC_SEQ_CST))
#define atomic_fetch_or(p, v)    __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST)
#define atomic_fetch_and(p, v)   __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST)
#define smp_mb()                 __atomic_thread_fence(__ATOMIC_SEQ_CST)

/* Stores @new where *@p is *@expected; else loads *@p into *@expected.  True when it stored. */
#define atomic_cmpxchg(p, expected, new) \
    __atomic_compare_exchange_n(p, expected, new, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)

static inline bool
atomic_test_and_set_bit(unsigned nr, volatile void *map)
{
    bool old;

    __asm__ volatile("lock bts %2, %1" : "=@ccc"(old), "+m"(*(volatile u64 *)map) : "Ir"((u64)nr) : "memory");
    return old;
}

static inline bool
atomic_test_and_clear_bit(unsigned nr, volatile void *map)
{
    bool old;

    __asm__ volatile("lock btr %2, %1" : "=@ccc"(old), "+m"(*(volatile u64 *)map) : "Ir"((u64)nr) : "memory");
    return old;
}

#endif
