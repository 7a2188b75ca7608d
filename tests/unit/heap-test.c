/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The heap above the real frame allocator: objects keep their contents, are aligned, and all pages come back.
 */
#include "mm/frame-alloc.h"
#include "mm/heap.h"
#include "base/string.h"
#include "fake.h"

#include <glib.h>

#define PAGES 4096u

/* One machine for all tests: the heap keeps a slab or two from one to the next. */
static void
begin(void)
{
    if (frame_total_count())
        return;
    fake_machine_init(PAGES, 1);
    frame_alloc_add(_mfn(1), PAGES - 1);
}

static void
objects_keep_their_contents(void)
{
    struct {
        u8 *p;
        size_t size;
        u8 mark;
    } objects[400];
    unsigned count = 0;
    u64 pages;

    begin();
    for (unsigned step = 0; step < 30000; step++) {
        if (count < ARRAY_SIZE(objects) && g_test_rand_int_range(0, 2)) {
            size_t size = g_test_rand_int_range(0, 20) ? g_test_rand_int_range(0, 2200)
                                                       : g_test_rand_int_range(0, 70000);
            u8 *p = g_test_rand_int_range(0, 2) ? heap_alloc(size) : heap_zalloc(size);

            g_assert_nonnull(p);
            g_assert_cmpuint((u64)p % (size >= 64 ? 64 : 16), ==, 0);
            objects[count].p = p;
            objects[count].size = size;
            objects[count].mark = (u8)step;
            memset(p, objects[count++].mark, size);
        } else if (count) {
            unsigned which = g_test_rand_int_range(0, count);

            for (size_t i = 0; i < objects[which].size; i++)
                g_assert_cmpuint(objects[which].p[i], ==, objects[which].mark);
            heap_free(objects[which].p);
            objects[which] = objects[--count];
        }
    }
    while (count)
        heap_free(objects[--count].p);
    pages = heap_pages_used();
    g_assert_cmpuint(pages, <=, 14); /* one slab of each class may stay */
    g_assert_cmpuint(frame_free_count() + pages, ==, PAGES - 1);
}

static void
zeroed_means_zeroed(void)
{
    u8 *p;

    begin();
    p = heap_alloc(100);
    memset(p, 0xff, 100);
    heap_free(p);
    p = heap_zalloc(100);
    for (unsigned i = 0; i < 100; i++)
        g_assert_cmpuint(p[i], ==, 0);
    heap_free(p);
}

static void
sizes_that_overflow_are_refused(void)
{
    begin();
    g_assert_null(heap_calloc(1ull << 33, 1ull << 33));
    g_assert_null(heap_alloc(~0ull));
    g_assert_null(heap_alloc(~0ull - 4095));
    g_assert_null(heap_alloc(2ull << 30));
    heap_free(NULL);
}

static void
exhaustion_is_reported_and_harmless(void)
{
    void *objects[3000];
    unsigned n = 0;

    begin();
    while (n < ARRAY_SIZE(objects) && (objects[n] = heap_alloc(6000)))
        n++;
    g_assert_cmpuint(n, <, ARRAY_SIZE(objects));
    while (n)
        heap_free(objects[--n]);
    g_assert_nonnull(objects[0] = heap_alloc(6000));
    heap_free(objects[0]);
}

static void
wrong_frees_are_noticed(void)
{
    char *p;

    begin();
    p = heap_alloc(64);
    g_assert_true(FAKE_PANICS(heap_free(p + 16)));
    heap_free(p);
    p = page_alloc_hv();
    g_assert_true(FAKE_PANICS(heap_free(p)));
    page_free_hv(p);
    g_assert_true(FAKE_PANICS(heap_free(p)));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/heap/objects_keep_their_contents", objects_keep_their_contents);
    g_test_add_func("/heap/zeroed_means_zeroed", zeroed_means_zeroed);
    g_test_add_func("/heap/sizes_that_overflow_are_refused", sizes_that_overflow_are_refused);
    g_test_add_func("/heap/exhaustion_is_reported_and_harmless", exhaustion_is_reported_and_harmless);
    g_test_add_func("/heap/wrong_frees_are_noticed", wrong_frees_are_noticed);
    return g_test_run();
}
