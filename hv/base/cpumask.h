/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sets of physical CPUs.  Room for CPU_MAX of them; loops stop at cpu_limit, the first number that no
 * CPU of this machine has, so a small machine pays for a small set.
 */
#ifndef SERAI_BASE_CPUMASK_H
#define SERAI_BASE_CPUMASK_H

#include "base/atomic.h"
#include "base/bitmap.h"

#define CPU_MAX 4096u

typedef struct {
    u64 bits[CPU_MAX / 64];
} cpumask_t;

extern unsigned cpu_limit;   /* fixed before the second CPU starts */
extern cpumask_t cpu_online; /* CPUs that schedule; changes during boot and CPU hot-plug only */

#define CPUMASK_WORDS ((cpu_limit + 63) / 64)

static inline bool
cpumask_test(const cpumask_t *mask, unsigned cpu)
{
    return bitmap_test(mask->bits, cpu);
}

/* Atomic: masks of running domains change under other CPUs' feet. */
static inline void
cpumask_set(cpumask_t *mask, unsigned cpu)
{
    atomic_or(&mask->bits[cpu / 64], 1ull << (cpu % 64));
}

static inline void
cpumask_clear(cpumask_t *mask, unsigned cpu)
{
    atomic_and(&mask->bits[cpu / 64], ~(1ull << (cpu % 64)));
}

static inline void
cpumask_zero(cpumask_t *mask)
{
    for (unsigned i = 0; i < CPUMASK_WORDS; i++)
        mask->bits[i] = 0;
}

static inline void
cpumask_fill(cpumask_t *mask)
{
    for (unsigned i = 0; i < CPUMASK_WORDS; i++)
        mask->bits[i] = ~0ull;
}

static inline void
cpumask_copy(cpumask_t *dst, const cpumask_t *src)
{
    for (unsigned i = 0; i < CPUMASK_WORDS; i++)
        dst->bits[i] = READ_ONCE(src->bits[i]);
}

static inline void
cpumask_and(cpumask_t *dst, const cpumask_t *a, const cpumask_t *b)
{
    for (unsigned i = 0; i < CPUMASK_WORDS; i++)
        dst->bits[i] = a->bits[i] & b->bits[i];
}

static inline bool
cpumask_intersects(const cpumask_t *a, const cpumask_t *b)
{
    for (unsigned i = 0; i < CPUMASK_WORDS; i++)
        if (a->bits[i] & b->bits[i])
            return true;
    return false;
}

static inline bool
cpumask_empty(const cpumask_t *mask)
{
    for (unsigned i = 0; i < CPUMASK_WORDS; i++)
        if (READ_ONCE(mask->bits[i]))
            return false;
    return true;
}

static inline unsigned
cpumask_first(const cpumask_t *mask)
{
    return bitmap_next_set(mask->bits, cpu_limit, 0);
}

static inline unsigned
cpumask_weight(const cpumask_t *mask)
{
    return bitmap_weight(mask->bits, cpu_limit);
}

#define for_each_cpu(cpu, mask)  bitmap_for_each(cpu, (mask)->bits, cpu_limit)
#define for_each_online_cpu(cpu) for_each_cpu(cpu, &cpu_online)

#endif
