/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The buddy allocator against a map that says who holds each frame. */
#include "mm/frame-alloc.h"
#include "base/string.h"
#include "x86/tlb.h"
#include "fake.h"

#include <glib.h>

#define PAGES 5000u

static u64 usable;

static u64 *
contents(u64 n)
{
    return direct_ptr(mfn_to_maddr(_mfn(n)));
}

/* Everything that an earlier test left is taken out, so that each test begins with an empty allocator. */
static void
begin(unsigned cpus)
{
    for (unsigned order = FRAME_ORDER_MAX + 1; order--;)
        while (!mfn_equal(frame_alloc_raw(order, 0), MFN_INVALID))
            ;
    g_assert_cmpuint(frame_free_count(), ==, 0);
    g_assert_cmpuint(frame_dirty_count(), ==, 0);
    fake_machine_init(PAGES, cpus);
    usable = PAGES - 1;
}

static void
give_all(void)
{
    for (u64 n = 0; n < PAGES; n++)
        memset(contents(n), 0xa5, PAGE_SIZE);
    frame_alloc_add(_mfn(0), PAGES);
    g_assert_cmpuint(frame_free_count(), ==, usable);
}

static void
assert_zero(u64 n)
{
    for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
        g_assert_cmphex(contents(n)[i], ==, 0);
}

/*
 * Random requests; blocks must be aligned, disjoint, zeroed where promised, and all of memory must come back.
 */
static void
random_requests_match_the_model(void)
{
    static u8 held[PAGES];
    struct {
        u64 n;
        unsigned order;
    } blocks[512];
    unsigned count = 0;
    u64 free = 0;

    begin(3);
    give_all();
    memset(held, 0, sizeof(held));
    free = usable;
    for (unsigned step = 0; step < 40000; step++) {
        unsigned what = g_test_rand_int_range(0, 100);

        fake_cpu_set(g_test_rand_int_range(0, 3));
        if (what < 50 && count < ARRAY_SIZE(blocks)) {
            unsigned order = g_test_rand_int_range(0, 8) * g_test_rand_int_range(0, 2);
            bool raw = g_test_rand_int_range(0, 4) == 0;
            mfn_t mfn = raw ? frame_alloc_raw(order, 0) : frame_alloc(order, 0);

            if (mfn_equal(mfn, MFN_INVALID)) {
                if (!order)
                    g_assert_cmpuint(free, ==, 0);
                continue;
            }
            g_assert_cmpuint(mfn_x(mfn) & ((1u << order) - 1), ==, 0);
            for (u64 i = mfn_x(mfn); i < mfn_x(mfn) + (1u << order); i++) {
                g_assert_cmpuint(i, <, PAGES);
                g_assert_cmpuint(i, >, 0);
                g_assert_false(held[i]);
                held[i] = 1;
                g_assert_cmphex(frame_of(_mfn(i))->count, ==, FRAME_STATE_HEAP);
                if (!raw)
                    assert_zero(i);
                memset(contents(i), 0xee, PAGE_SIZE);
            }
            blocks[count].n = mfn_x(mfn);
            blocks[count++].order = order;
            free -= 1u << order;
        } else if (what < 97 && count) {
            unsigned which = g_test_rand_int_range(0, count);
            unsigned order = blocks[which].order;

            for (u64 i = 0; i < 1u << order; i++)
                held[blocks[which].n + i] = 0;
            frame_of(_mfn(blocks[which].n))->stamp = tlb_clock();
            if (g_test_rand_int_range(0, 2))
                frame_free(_mfn(blocks[which].n), order);
            else
                frame_free_range(_mfn(blocks[which].n), 1u << order);
            free += 1u << order;
            blocks[which] = blocks[--count];
        } else {
            frame_scrub(g_test_rand_int_range(1, 100));
        }
        g_assert_cmpuint(frame_free_count(), ==, free);
        g_assert_cmpuint(frame_dirty_count(), <=, free);
    }
    while (count--)
        frame_free(_mfn(blocks[count].n), blocks[count].order);
    while (frame_scrub(64))
        ;
    g_assert_cmpuint(frame_free_count(), ==, usable);
    g_assert_cmpuint(frame_dirty_count(), ==, 0);
    /* All merged again: 4999 frames from 1 on hold an aligned block of 2048. */
    g_assert_cmpuint(mfn_x(frame_alloc(11, 0)), ==, 2048);
}

static void
address_limit_is_kept(void)
{
    begin(1);
    give_all();
    for (unsigned bits = 13; bits < 26; bits++)
        for (unsigned order = 0; order < 3; order++) {
            mfn_t mfn = frame_alloc(order, bits);

            if (!mfn_equal(mfn, MFN_INVALID)) {
                g_assert_cmpuint(mfn_x(mfn) + (1u << order), <=, 1ull << (bits - PAGE_SHIFT));
                frame_free(mfn, order);
            } else {
                g_assert_cmpuint(1ull << (bits - PAGE_SHIFT), <=, 2u << order);
            }
        }
    g_assert_true(mfn_equal(frame_alloc(0, 12), MFN_INVALID));
    g_assert_true(mfn_equal(frame_alloc(0, 1), MFN_INVALID));
    /* Without a limit, memory that others could not use goes first. */
    g_assert_cmpuint(mfn_x(frame_alloc(0, 0)), >=, 4096);
}

static void
order_beyond_the_limit_is_refused(void)
{
    begin(1);
    give_all();
    g_assert_true(mfn_equal(frame_alloc(FRAME_ORDER_MAX + 1, 0), MFN_INVALID));
    g_assert_true(mfn_equal(frame_alloc(63, 0), MFN_INVALID));
    g_assert_true(mfn_equal(frame_alloc(FRAME_ORDER_MAX, 0), MFN_INVALID));
    g_assert_cmpuint(frame_free_count(), ==, usable);
}

static void
stale_translations_are_flushed_before_a_frame_is_seen_again(void)
{
    mfn_t mfn;

    begin(2);
    give_all();
    mfn = frame_alloc(0, 0);
    frame_of(mfn)->stamp = tlb_clock();
    frame_free(mfn, 0);
    g_assert_cmpuint(fake_flush_count, ==, 0);
    while (frame_scrub(512))
        ;
    g_assert_cmpuint(fake_cpu_flushes[0], ==, 1);
    g_assert_cmpuint(fake_cpu_flushes[1], ==, 1);
    /* Once scrubbed it is clean: another flush would be waste. */
    for (unsigned i = 0; i < PAGES - 1; i++)
        g_assert_false(mfn_equal(frame_alloc(0, 0), MFN_INVALID));
    g_assert_cmpuint(fake_cpu_flushes[0], ==, 1);
}

static void
frames_that_are_no_memory_are_known(void)
{
    begin(1);
    g_assert_true(frame_valid(_mfn(0)));
    g_assert_true(frame_valid(_mfn(PAGES - 1)));
    g_assert_false(frame_valid(_mfn(PAGES)));
    g_assert_false(frame_valid(_mfn(MFN_LIMIT)));
    g_assert_false(frame_valid(MFN_INVALID));
}

static void
table_marks_holes(void)
{
    fake_machine_init(3 * FRAME_GROUP, 1);
    frame_limit = 0;
    /* As paging.c maps it for the group between. */
    for (u64 n = FRAME_GROUP; n < 2 * FRAME_GROUP; n += PAGE_SIZE / sizeof(struct frame))
        frame_table_fill_hole(frame_of(_mfn(n)));
    frame_table_add(_mfn(256), 1000);
    frame_table_add(_mfn(2000), 96);
    frame_table_add(_mfn(2 * FRAME_GROUP + 5), FRAME_GROUP - 6);
    g_assert_cmpuint(frame_limit, ==, 3 * FRAME_GROUP);
    g_assert_false(frame_valid(_mfn(100)));
    g_assert_false(frame_is_memory(frame_of(_mfn(100))));
    g_assert_true(frame_is_memory(frame_of(_mfn(256))));
    g_assert_true(frame_is_memory(frame_of(_mfn(1255))));
    g_assert_false(frame_is_memory(frame_of(_mfn(1256))));
    g_assert_true(frame_is_memory(frame_of(_mfn(2095))));
    g_assert_false(frame_is_memory(frame_of(_mfn(FRAME_GROUP))));
    g_assert_false(frame_is_memory(frame_of(_mfn(2 * FRAME_GROUP - 1))));
    g_assert_false(frame_is_memory(frame_of(_mfn(2 * FRAME_GROUP + 4))));
    g_assert_true(frame_is_memory(frame_of(_mfn(3 * FRAME_GROUP - 2))));
    g_assert_cmphex(m2p_get(_mfn(256)), ==, M2P_INVALID);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/frame-alloc/random_requests_match_the_model", random_requests_match_the_model);
    g_test_add_func("/frame-alloc/address_limit_is_kept", address_limit_is_kept);
    g_test_add_func("/frame-alloc/order_beyond_the_limit_is_refused", order_beyond_the_limit_is_refused);
    g_test_add_func("/frame-alloc/stale_translations_are_flushed_before_a_frame_is_seen_again",
                    stale_translations_are_flushed_before_a_frame_is_seen_again);
    g_test_add_func("/frame-alloc/frames_that_are_no_memory_are_known", frames_that_are_no_memory_are_known);
    g_test_add_func("/frame-alloc/table_marks_holes", table_marks_holes);
    return g_test_run();
}
