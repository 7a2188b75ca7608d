/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Searching bitmaps, a word at a time.  Bits at and past @size are never looked at for the answer. */
#include "base/bitmap.h"

static unsigned
next_bit(const u64 *map, unsigned size, unsigned from, u64 flip)
{
    unsigned word = from / 64;
    u64 bits;

    if (from >= size)
        return size;
    bits = (READ_ONCE(map[word]) ^ flip) & (~0ull << (from % 64));
    while (!bits) {
        if (++word >= BITMAP_WORDS(size))
            return size;
        bits = READ_ONCE(map[word]) ^ flip;
    }
    return MIN(word * 64 + (unsigned)__builtin_ctzll(bits), size);
}

unsigned
bitmap_next_set(const u64 *map, unsigned size, unsigned from)
{
    return next_bit(map, size, from, 0);
}

unsigned
bitmap_next_clear(const u64 *map, unsigned size, unsigned from)
{
    return next_bit(map, size, from, ~0ull);
}

static unsigned
word_weight(u64 bits)
{
    bits -= bits >> 1 & 0x5555555555555555ull;
    bits = (bits & 0x3333333333333333ull) + (bits >> 2 & 0x3333333333333333ull);
    bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0full;
    return bits * 0x0101010101010101ull >> 56;
}

unsigned
bitmap_weight(const u64 *map, unsigned size)
{
    unsigned weight = 0;

    for (unsigned i = 0; i < size / 64; i++)
        weight += word_weight(READ_ONCE(map[i]));
    if (size % 64)
        weight += word_weight(READ_ONCE(map[size / 64]) & ((1ull << (size % 64)) - 1));
    return weight;
}
