/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Console rings with honest and dishonest guests, what is kept for a reader, rates, and logs. */
#include "consoled/log.h"
#include "consoled/ring.h"

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

static size_t
guest_writes(struct xencons_interface *ring, const char *text, size_t size)
{
    size_t n = MIN(size, sizeof(ring->out) - (ring->out_prod - ring->out_cons));

    for (size_t i = 0; i < n; i++)
        ring->out[MASK_XENCONS_IDX(ring->out_prod + i, ring->out)] = text[i];
    ring->out_prod += n;
    return n;
}

static void
bytes_arrive_in_order_across_the_end_of_the_ring(void)
{
    g_autofree struct xencons_interface *ring = g_new0(struct xencons_interface, 1);
    g_autofree Keep *keep = g_new0(Keep, 1);
    g_autoptr(GString) sent = g_string_new(NULL), got = g_string_new(NULL);

    ring->out_prod = ring->out_cons = 0xfffffff0; /* the counters wrap, too */
    keep_init(keep, ring->out_cons);
    for (guint i = 0; i < 3000; i++) {
        char line[32];
        int n = g_snprintf(line, sizeof(line), "line %u\n", i);
        const uint8_t *data;
        size_t size;

        g_assert_cmpuint(guest_writes(ring, line, n), ==, n);
        g_string_append_len(sent, line, n);
        if (i % 7)
            continue;
        while (ring_receive(ring, keep, 100) > 0)
            ;
        while ((size = keep_peek(keep, &data))) {
            g_string_append_len(got, (const char *)data, size);
            keep_take(keep, size);
        }
    }
    g_assert_cmpmem(got->str, got->len, sent->str, got->len);
    g_assert_cmpuint(sent->len - got->len, <, 100);
}

static void
impossible_indexes_are_not_believed(void)
{
    g_autofree struct xencons_interface *ring = g_new0(struct xencons_interface, 1);
    g_autofree Keep *keep = g_new0(Keep, 1);

    keep_init(keep, 0);
    ring->out_prod = 5000;
    g_assert_cmpint(ring_receive(ring, keep, 10000), ==, -1);
    g_assert_cmpint(ring_receive(ring, keep, 10000), ==, 0);
    ring->out_prod = 5001;
    g_assert_cmpint(ring_receive(ring, keep, 10000), ==, 1);
    ring->in_prod = 10;
    ring->in_cons = 900;
    g_assert_cmpuint(ring_room(ring), ==, 0);
}

/* The daemon died after it kept the bytes and before it told the guest. */
static void
bytes_are_not_taken_twice_after_a_crash(void)
{
    g_autofree struct xencons_interface *ring = g_new0(struct xencons_interface, 1);
    g_autofree Keep *keep = g_new0(Keep, 1);
    const uint8_t *data;

    keep_init(keep, 0);
    guest_writes(ring, "abc", 3);
    g_assert_cmpint(ring_receive(ring, keep, 100), ==, 3);
    ring->out_cons = 0;
    keep_init(keep, 0); /* a new daemon finds the memory in use */
    guest_writes(ring, "def", 3);
    g_assert_cmpint(ring_receive(ring, keep, 100), ==, 3);
    g_assert_cmpuint(keep_peek(keep, &data), ==, 6);
    g_assert_cmpmem(data, 6, "abcdef", 6);
}

/* The daemon died after it took the bytes and before the log had them. */
static void
bytes_are_logged_after_a_crash(void)
{
    g_autofree struct xencons_interface *ring = g_new0(struct xencons_interface, 1);
    g_autofree Keep *keep = g_new0(Keep, 1);
    g_autofree uint8_t *flood = g_malloc0(KEEP_SIZE);
    const uint8_t *data;

    keep_init(keep, 0);
    guest_writes(ring, "abcdef", 6);
    g_assert_cmpint(ring_receive(ring, keep, 100), ==, 6);
    keep_logged(keep, 2);
    keep_take(keep, 6); /* that somebody has read them is another matter */
    keep_init(keep, 0);
    g_assert_cmpuint(keep_unlogged(keep, &data), ==, 4);
    g_assert_cmpmem(data, 4, "cdef", 4);
    keep_logged(keep, 4);
    g_assert_cmpuint(keep_unlogged(keep, &data), ==, 0);

    /* What was overwritten before it was logged is gone, and nothing before it is shown in its place. */
    keep_put(keep, (const uint8_t *)"0123456789", 10);
    keep_put(keep, flood, KEEP_SIZE - 5);
    g_assert_cmpuint(keep->written - keep->logged, ==, KEEP_SIZE);
    g_assert_cmpuint(keep_unlogged(keep, &data), >=, 5);
    g_assert_cmpmem(data, 5, "56789", 5);

    keep->logged = keep->written + 1; /* nonsense is not believed */
    keep_init(keep, 0);
    g_assert_cmpuint(keep->written, ==, 0);
}

static void
newest_bytes_are_kept(void)
{
    g_autofree Keep *keep = g_new0(Keep, 1);
    g_autofree uint8_t *bytes = g_malloc(KEEP_SIZE + 100);
    const uint8_t *data;
    size_t size, total = 0;

    keep_init(keep, 0);
    for (size_t i = 0; i < KEEP_SIZE + 100; i++)
        bytes[i] = i * 7 >> 3;
    keep_put(keep, bytes, KEEP_SIZE + 100);
    g_assert_cmpuint(keep->dropped, ==, 100);
    while ((size = keep_peek(keep, &data))) {
        g_assert_cmpmem(data, size, bytes + 100 + total, size);
        keep_take(keep, size);
        total += size;
    }
    g_assert_cmpuint(total, ==, KEEP_SIZE);
}

static void
input_waits_for_room(void)
{
    g_autofree struct xencons_interface *ring = g_new0(struct xencons_interface, 1);
    uint8_t bytes[2000];

    memset(bytes, 'x', sizeof(bytes));
    g_assert_cmpuint(ring_send(ring, bytes, sizeof(bytes)), ==, sizeof(ring->in));
    g_assert_cmpuint(ring_send(ring, bytes, sizeof(bytes)), ==, 0);
    ring->in_cons += 10;
    g_assert_cmpuint(ring_send(ring, bytes, sizeof(bytes)), ==, 10);
}

static void
flood_is_slowed_down(void)
{
    Rate rate = {0};
    gint64 now = 1000000;
    gsize total = 0;

    /* As much as is allowed, for ten seconds. */
    for (int i = 0; i < 1000; i++, now += 10000) {
        gsize n = rate_allow(&rate, now);

        rate_spend(&rate, n);
        total += n;
    }
    g_assert_cmpuint(total, <=, RATE_BURST + 10 * RATE_BYTES_PER_SECOND);
    g_assert_cmpuint(total, >, 9 * RATE_BYTES_PER_SECOND);
}

static void
log_is_turned_over(void)
{
    g_autofree char *dir = g_dir_make_tmp("serai-log-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "console.log", NULL),
                    *first = g_strconcat(path, ".1", NULL);
    g_autofree char *third = g_strconcat(path, ".3", NULL), *fourth = g_strconcat(path, ".4", NULL);
    g_autofree char *command = g_strdup_printf("rm -rf %s", dir);
    g_autofree char *block = g_malloc(1 << 16);
    Log log = {0};

    memset(block, 'x', 1 << 16);
    log_open(&log, path, FALSE);
    for (int i = 0; i < 200; i++)
        log_write(&log, block, 1 << 16);
    g_assert_true(g_file_test(first, G_FILE_TEST_EXISTS));
    g_assert_true(g_file_test(third, G_FILE_TEST_EXISTS));
    g_assert_false(g_file_test(fourth, G_FILE_TEST_EXISTS));
    g_assert_cmpint(log.size, <=, LOG_SIZE_MAX);
    log_close(&log);
    g_assert_cmpint(system(command), ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/consoled/bytes_arrive_in_order_across_the_end_of_the_ring",
                    bytes_arrive_in_order_across_the_end_of_the_ring);
    g_test_add_func("/consoled/impossible_indexes_are_not_believed", impossible_indexes_are_not_believed);
    g_test_add_func("/consoled/bytes_are_not_taken_twice_after_a_crash",
                    bytes_are_not_taken_twice_after_a_crash);
    g_test_add_func("/consoled/bytes_are_logged_after_a_crash", bytes_are_logged_after_a_crash);
    g_test_add_func("/consoled/newest_bytes_are_kept", newest_bytes_are_kept);
    g_test_add_func("/consoled/input_waits_for_room", input_waits_for_room);
    g_test_add_func("/consoled/flood_is_slowed_down", flood_is_slowed_down);
    g_test_add_func("/consoled/log_is_turned_over", log_is_turned_over);
    return g_test_run();
}
