/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bitmaps of any length over u64 words.  None of these is atomic; base/atomic.h has the two that are. */
#ifndef SERAI_BASE_BITMAP_H
#define SERAI_BASE_BITMAP_H

#include "base/types.h"

#define BITMAP_WORDS(bits) DIV_ROUND_UP(bits, 64)

static inline void
bitmap_set(u64 *map, unsigned bit)
{
    map[bit / 64] |= 1ull << (bit % 64);
}

static inline void
bitmap_clear(u64 *map, unsigned bit)
{
    map[bit / 64] &= ~(1ull << (bit % 64));
}

static inline bool
bitmap_test(const u64 *map, unsigned bit)
{
    return READ_ONCE(map[bit / 64]) >> (bit % 64) & 1;
}

/* The first set (or clear) bit at or after @from, or @size where there is none. */
unsigned bitmap_next_set(const u64 *map, unsigned size, unsigned from);
unsigned bitmap_next_clear(const u64 *map, unsigned size, unsigned from);

unsigned bitmap_weight(const u64 *map, unsigned size);

#define bitmap_for_each(bit, map, size) \
    for (bit = bitmap_next_set(map, size, 0); bit < (size); bit = bitmap_next_set(map, size, bit + 1))

#endif
