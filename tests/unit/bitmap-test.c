/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/bitmap.h"
#include "base/string.h"
#include "fake.h"

#include <glib.h>

#define SIZE 200u

static u64
random_word(void)
{
    return (u64)g_test_rand_int() << 32 ^ (u32)g_test_rand_int();
}

static unsigned
slow_next(const u64 *map, unsigned size, unsigned from, bool set)
{
    for (; from < size; from++)
        if (bitmap_test(map, from) == set)
            return from;
    return size;
}

static void
searches_agree_with_a_bit_by_bit_search(void)
{
    for (unsigned round = 0; round < 2000; round++) {
        u64 map[BITMAP_WORDS(SIZE)];
        unsigned size = g_test_rand_int_range(1, SIZE + 1), weight = 0;
        u64 density = g_test_rand_int_range(0, 4);

        for (unsigned i = 0; i < ARRAY_SIZE(map); i++)
            map[i] = density == 0 ? 0 : density == 1 ? ~0ull : random_word();
        for (unsigned from = 0; from <= size + 70; from++) {
            unsigned set = from < size ? slow_next(map, size, from, true) : size;
            unsigned clear = from < size ? slow_next(map, size, from, false) : size;

            g_assert_cmpuint(bitmap_next_set(map, size, from), ==, set);
            g_assert_cmpuint(bitmap_next_clear(map, size, from), ==, clear);
        }
        for (unsigned i = 0; i < size; i++)
            weight += bitmap_test(map, i);
        g_assert_cmpuint(bitmap_weight(map, size), ==, weight);
    }
}

static void
set_and_clear_touch_one_bit(void)
{
    u64 map[2] = {0, 0};

    bitmap_set(map, 64);
    g_assert_cmphex(map[0], ==, 0);
    g_assert_cmphex(map[1], ==, 1);
    bitmap_set(map, 63);
    bitmap_clear(map, 64);
    g_assert_cmphex(map[0], ==, 1ull << 63);
    g_assert_cmphex(map[1], ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bitmap/searches_agree_with_a_bit_by_bit_search",
                    searches_agree_with_a_bit_by_bit_search);
    g_test_add_func("/bitmap/set_and_clear_touch_one_bit", set_and_clear_touch_one_bit);
    return g_test_run();
}
