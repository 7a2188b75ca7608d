/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A store made by random requests goes into a file and comes back: the same, byte for byte when written
 * again, and it goes on as the first one would have.  A damaged file is refused.  A journal of the calls
 * makes the same store again.
 */
#include "peer.h"
#include "journal.h"
#include "transaction.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static GString *
dump(struct store *store)
{
    int fd = memfd_create("state", 0);
    GString *bytes = g_string_new(NULL);
    char chunk[65536];
    ssize_t got;

    g_assert_cmpint(state_write(store, fd, 42), ==, 0);
    lseek(fd, 0, SEEK_SET);
    while ((got = read(fd, chunk, sizeof(chunk))) > 0)
        g_string_append_len(bytes, chunk, got);
    close(fd);
    return bytes;
}

static void
load(struct store *store, const GString *bytes)
{
    const char *reason = NULL;
    uint64_t generation;

    if (state_read(store, bytes->str, bytes->len, &generation, &reason))
        g_error("%s", reason);
    g_assert_cmpuint(generation, ==, 42);
}

/* Appends one random request of @client to @bytes. */
static void
random_request(GRand *rand, struct client *client, GByteArray *bytes)
{
    static const uint32_t types[] = {XS_READ,
                                     XS_WRITE,
                                     XS_WRITE,
                                     XS_WRITE,
                                     XS_MKDIR,
                                     XS_RM,
                                     XS_WATCH,
                                     XS_UNWATCH,
                                     XS_DIRECTORY,
                                     XS_SET_PERMS,
                                     XS_GET_PERMS,
                                     XS_TRANSACTION_START,
                                     XS_TRANSACTION_END,
                                     XS_CONTROL,
                                     XS_WATCH,
                                     XS_INTRODUCE,
                                     XS_WRITE,
                                     XS_WRITE};
    struct xsd_sockmsg header = {.type = types[g_rand_int_range(rand, 0, G_N_ELEMENTS(types))],
                                 .req_id = g_rand_int(rand)};
    g_autoptr(GString) payload = g_string_new(NULL);
    int levels = g_rand_int_range(rand, 1, 4);

    if (!link_empty(&client->transactions) && g_rand_int_range(rand, 0, 2))
        header.tx_id = link_entry(client->transactions.next, struct transaction, in_client)->id;
    switch (header.type) {
    case XS_TRANSACTION_START:
        header.tx_id = 0;
        g_string_append_len(payload, "", 1);
        break;
    case XS_TRANSACTION_END:
        g_string_append_len(payload, g_rand_int_range(rand, 0, 4) ? "T" : "F", 2);
        break;
    case XS_CONTROL:
        g_string_append_len(payload, g_rand_int_range(rand, 0, 2) ? "counters" : "memory\0\0",
                            g_rand_int_range(rand, 0, 2) ? 9 : 7);
        break;
    case XS_INTRODUCE:
        g_string_append_printf(payload, "%d%c1%c1%c", g_rand_int_range(rand, 1, 5), 0, 0, 0);
        break;
    default:
        while (levels--)
            g_string_append_printf(payload, "/%c", 'a' + g_rand_int_range(rand, 0, 5));
        g_string_append_c(payload, 0);
        if (header.type == XS_WRITE)
            g_string_append_printf(payload, "%u", g_rand_int(rand));
        else if (header.type == XS_WATCH || header.type == XS_UNWATCH)
            g_string_append_printf(payload, "t%d%c", g_rand_int_range(rand, 0, 5), 0);
        else if (header.type == XS_SET_PERMS)
            g_string_append_printf(payload, "n%d%cb%d%c", g_rand_int_range(rand, 0, 5), 0,
                                   g_rand_int_range(rand, 1, 5), 0);
    }
    header.len = payload->len;
    g_byte_array_append(bytes, (guint8 *)&header, sizeof(header));
    g_byte_array_append(bytes, (guint8 *)payload->str, payload->len);
}

static struct client *
random_client(GRand *rand, struct store *store)
{
    int index = store->clients.count ? g_rand_int_range(rand, 0, store->clients.count) : 0;

    list_for_each(&store->client_list, item) {
        if (!index--)
            return link_entry(item, struct client, in_store);
    }
    return NULL;
}

/* One random thing happens to the store, and is told to the journal as the daemon tells it. */
static void
random_event(GRand *rand, struct store *store, struct journal *journal)
{
    struct client *client = random_client(rand, store);
    uint64_t number;

    switch (client ? g_rand_int_range(rand, 0, 40) : 0) {
    case 0:
        if (store->clients.count > 8)
            break;
        client = client_open(store, store_find_domain(store, 0), true, CLIENT_NONE);
        journal_append(journal, JOURNAL_OPEN, client->id, NULL, 0);
        break;
    case 1:
        if (store->clients.count < 3 || !client->socket)
            break;
        journal_append(journal, JOURNAL_CLOSE, client->id, NULL, 0);
        client_close(store, client);
        break;
    case 2:
        number = g_rand_int_range(rand, 1, 5);
        journal_append(journal, JOURNAL_GONE, 0, &number, sizeof(number));
        store_domain_gone(store, number);
        break;
    case 3:
        number = store->now + g_rand_int_range(rand, 0, 50);
        journal_append(journal, JOURNAL_TICK, 0, &number, sizeof(number));
        store_tick(store, number);
        break;
    case 4 ... 12:
        if (!client->out.length)
            break;
        number = g_rand_int_range(rand, 1, client->out.length + 1);
        client_sent(store, client, number);
        journal_append(journal, JOURNAL_SENT, client->id, &number, sizeof(number));
        break;
    default: {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        size_t part;

        random_request(rand, client, bytes);
        part = g_rand_int_range(rand, 0, bytes->len);
        if (part && client_received(client, bytes->data, part) == 0)
            journal_append(journal, JOURNAL_INPUT, client->id, bytes->data, part);
        client_received(client, bytes->data + part, bytes->len - part);
        journal_append(journal, JOURNAL_INPUT, client->id, bytes->data + part, bytes->len - part);
        while (client_ready(store, client) && g_rand_int_range(rand, 0, 4)) {
            g_assert_cmpint(request_process(store, client), ==, 0);
            journal_append_step(journal, store, client->id);
        }
    }
    }
}

static void
random_store(GRand *rand, struct store *store, struct journal *journal, int events)
{
    peer_init(store);
    client_open(store, store_find_domain(store, 0), true, CLIENT_NONE);
    store->quota.limit[QUOTA_PENDING] = 3000; /* so that events are merged and missed */
    if (journal->directory >= 0)
        g_assert_cmpint(journal_checkpoint(journal, store), ==, 0);
    while (events--)
        random_event(rand, store, journal);
}

static struct journal no_journal = {.directory = -1, .lock = -1, .fd = -1, .failed = true};

static void
comes_back_the_same(void)
{
    for (guint32 seed = 1; seed <= 30; seed++) {
        g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
        g_autoptr(GRand) one = NULL, two = NULL;
        struct store first, second;
        GString *a, *b;

        random_store(rand, &first, &no_journal, 3000);
        a = dump(&first);
        load(&second, a);
        b = dump(&second);
        g_assert_cmpmem(a->str, a->len, b->str, b->len);
        g_string_free(a, TRUE);
        g_string_free(b, TRUE);
        /* And goes on the same. */
        one = g_rand_copy(rand);
        two = g_rand_copy(rand);
        for (int i = 0; i < 2000; i++) {
            random_event(one, &first, &no_journal);
            random_event(two, &second, &no_journal);
        }
        a = dump(&first);
        b = dump(&second);
        /* CONTROL tells the domains in the order of a hash table, so only the length may be compared there.
         */
        g_assert_cmpuint(first.requests, ==, second.requests);
        g_assert_cmpuint(first.conflicts, ==, second.conflicts);
        g_assert_cmpuint(tree_count(first.root), ==, tree_count(second.root));
        g_assert_cmpuint(first.events, ==, second.events);
        g_string_free(a, TRUE);
        g_string_free(b, TRUE);
        store_fini(&first);
        store_fini(&second);
    }
}

static void
damage_is_refused(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(99);
    struct store store, other;
    GString *good, *again;
    int refused = 0;

    random_store(rand, &store, &no_journal, 1000);
    good = dump(&store);
    for (size_t i = 0; i < good->len; i++) {
        const char *reason = NULL;
        uint64_t generation;

        good->str[i] ^= 1 << (i % 8);
        if (state_read(&other, good->str, good->len, &generation, &reason)) {
            g_assert_nonnull(reason);
            refused++;
        } else {
            /* Padding, or the generation: what was loaded is right all the same. */
            again = dump(&other);
            g_assert_cmpuint(again->len, ==, good->len);
            g_string_free(again, TRUE);
            store_fini(&other);
        }
        good->str[i] ^= 1 << (i % 8);
    }
    g_assert_cmpint(refused, >, good->len * 3 / 4);
    for (size_t length = 0; length < good->len; length++) {
        const char *reason = NULL;
        uint64_t generation;

        g_assert_cmpint(state_read(&other, good->str, length, &generation, &reason), <, 0);
        g_assert_nonnull(reason);
    }
    g_string_free(good, TRUE);
    store_fini(&store);
}

static void
failed_allocations_and_writes(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(5);
    struct store store, other;
    bool failed = true;
    GString *good;
    int full;

    random_store(rand, &store, &no_journal, 800);
    good = dump(&store);
    for (long count = 0; failed; count++) {
        const char *reason = NULL;
        uint64_t generation;
        int rc;

        mem_fail_after(count);
        rc = state_read(&other, good->str, good->len, &generation, &reason);
        failed = mem_failed();
        mem_fail_after(-1);
        if (rc)
            g_assert_cmpint(rc, ==, -ENOMEM);
        else
            store_fini(&other);
    }
    failed = true;
    for (long count = 0; failed; count++) {
        int fd = memfd_create("state", 0);
        int rc;

        mem_fail_after(count);
        rc = state_write(&store, fd, 1);
        failed = mem_failed();
        mem_fail_after(-1);
        g_assert_cmpint(rc, ==, failed ? -ENOMEM : 0);
        close(fd);
    }
    full = open("/dev/full", O_WRONLY);
    g_assert_cmpint(state_write(&store, full, 1), ==, -ENOSPC);
    close(full);
    g_string_free(good, TRUE);
    store_fini(&store);
}

static char last_log[512];

static void
note_log(const char *text)
{
    g_strlcpy(last_log, text, sizeof(last_log));
}

static char *
make_directory(void)
{
    return g_dir_make_tmp("store-state-XXXXXX", NULL);
}

static void
remove_directory(char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, NULL);

        g_unlink(file);
    }
    g_rmdir(path);
    g_free(path);
}

static void
journal_makes_the_same_store(void)
{
    for (guint32 seed = 1; seed <= 60; seed++) {
        g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
        char *path = make_directory();
        struct journal journal, after;
        struct store store, back;
        GString *a, *b;

        last_log[0] = '\0';
        g_assert_cmpint(journal_open(&journal, path), ==, 0);
        g_assert_cmpint(journal_open(&after, path), ==, -EBUSY);
        random_store(rand, &store, &journal, 1500);
        if (seed % 2) {
            g_assert_cmpint(journal_checkpoint(&journal, &store), ==, 0);
            for (int i = 0; i < 1500; i++)
                random_event(rand, &store, &journal);
        }
        g_assert_false(journal.failed);
        after = journal;
        g_assert_cmpint(journal_recover(&after, &back, note_log), ==, 0);
        g_assert_cmpstr(last_log, ==, "");
        a = dump(&store);
        b = dump(&back);
        g_assert_cmpmem(a->str, a->len, b->str, b->len);
        g_string_free(a, TRUE);
        g_string_free(b, TRUE);
        store_fini(&store);
        store_fini(&back);
        journal_close(&journal);
        remove_directory(path);
    }
}

/* The calls by which the journal changes its directory: the linker brings them here. */
static long calls_left = -1;
static bool call_failed;

static bool
fails(void)
{
    if (calls_left < 0 || calls_left-- > 0)
        return false;
    call_failed = true;
    errno = ENOSPC;
    return true;
}

ssize_t __real_write(int fd, const void *data, size_t length);
int __real_openat64(int directory, const char *name, int flags, mode_t mode);
int __real_renameat(int from, const char *old, int to, const char *new);
int __real_posix_fallocate64(int fd, off_t offset, off_t length);
void *__real_mmap64(void *at, size_t length, int protection, int flags, int fd, off_t offset);
ssize_t __wrap_write(int fd, const void *data, size_t length);
int __wrap_openat64(int directory, const char *name, int flags, mode_t mode);
int __wrap_renameat(int from, const char *old, int to, const char *new);
int __wrap_posix_fallocate64(int fd, off_t offset, off_t length);
void *__wrap_mmap64(void *at, size_t length, int protection, int flags, int fd, off_t offset);

ssize_t
__wrap_write(int fd, const void *data, size_t length)
{
    /* Half of it goes, the next call has no room. */
    if (calls_left == 0 && length > 1)
        return __real_write(fd, data, length / 2) < 0 ? -1 : fails() ? -1 : 0;
    return fails() ? -1 : __real_write(fd, data, length);
}

int
__wrap_openat64(int directory, const char *name, int flags, mode_t mode)
{
    return fails() ? -1 : __real_openat64(directory, name, flags, mode);
}

int
__wrap_renameat(int from, const char *old, int to, const char *new)
{
    return fails() ? -1 : __real_renameat(from, old, to, new);
}

int
__wrap_posix_fallocate64(int fd, off_t offset, off_t length)
{
    return fails() ? ENOSPC : __real_posix_fallocate64(fd, offset, length);
}

void *
__wrap_mmap64(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
    return fails() ? MAP_FAILED : __real_mmap64(at, length, protection, flags, fd, offset);
}

/* What a daemon that is killed now comes back with: exactly @store, unless the journal says that it cannot.
 */
static void
check_comes_back(const struct journal *journal, struct store *store)
{
    struct journal after = *journal;
    struct store back;

    last_log[0] = '\0';
    g_assert_cmpint(journal_recover(&after, &back, note_log), ==, 0);
    g_assert_cmpstr(last_log, ==, "");
    if (!journal->failed) {
        GString *a = dump(store), *b = dump(&back);

        g_assert_cmpmem(a->str, a->len, b->str, b->len);
        g_string_free(a, TRUE);
        g_string_free(b, TRUE);
    }
    store_fini(&back);
}

/*
 * Each call of a life with two checkpoints fails in turn: of making the files, growing the journal, and
 * writing both anew.  Requests go on, nothing is damaged, and the checkpoint that comes with the next tick
 * heals it.
 */
static void
each_write_fails_once(void)
{
    long count;

    call_failed = true;
    for (count = 0; call_failed; count++) {
        g_autoptr(GRand) rand = g_rand_new_with_seed(7);
        char *path = make_directory();
        struct journal journal;
        struct store store;

        g_assert_cmpint(journal_open(&journal, path), ==, 0);
        call_failed = false;
        random_store(rand, &store, &journal, 300);
        calls_left = count;
        for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
            bool before = call_failed;
            int rc = journal_checkpoint(&journal, &store);
            long left = calls_left;

            g_assert_cmpint(rc, ==, call_failed && !before ? -ENOSPC : 0);
            calls_left = -1;
            check_comes_back(&journal, &store);
            calls_left = left;
            /* Enough to make the journal grow. */
            for (int i = 0; i < 12000; i++)
                random_event(rand, &store, &journal);
            left = calls_left;
            calls_left = -1;
            check_comes_back(&journal, &store);
            calls_left = left;
        }
        calls_left = -1;
        if (journal.failed)
            g_assert_cmpint(journal_checkpoint(&journal, &store), ==, 0);
        g_assert_false(journal.failed);
        check_comes_back(&journal, &store);
        store_fini(&store);
        journal_close(&journal);
        remove_directory(path);
    }
    g_assert_cmpint(count, >, 12);
    g_test_message("%ld calls failed, one at a time", count - 1);
}

static void
damaged_files_are_kept(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    char *path = make_directory();
    g_autofree char *state = g_build_filename(path, "state", NULL);
    g_autofree char *log = g_build_filename(path, "journal", NULL);
    g_autofree char *kept = g_build_filename(path, "state.damaged.0", NULL);
    g_autofree char *kept_log = g_build_filename(path, "journal.damaged.0", NULL);
    struct journal journal;
    struct store store, back;
    int fd;

    g_assert_cmpint(journal_open(&journal, path), ==, 0);
    random_store(rand, &store, &journal, 500);
    /* A journal with a bad byte at its last record: what came before counts. */
    fd = open(log, O_RDWR);
    g_assert_cmpint(pwrite(fd, "X", 1, journal.tail - 9), ==, 1);
    close(fd);
    g_assert_cmpint(journal_recover(&journal, &back, note_log), ==, 0);
    g_assert_nonnull(strstr(last_log, "journal.damaged.0"));
    g_assert_true(g_file_test(kept_log, G_FILE_TEST_EXISTS));
    g_assert_cmpuint(tree_count(back.root), >, 3);
    store_fini(&back);
    fd = open(state, O_RDWR);
    g_assert_cmpint(pwrite(fd, "X", 1, 60), ==, 1);
    close(fd);
    g_assert_cmpint(journal_recover(&journal, &back, note_log), ==, 0);
    g_assert_true(g_file_test(kept, G_FILE_TEST_EXISTS));
    g_assert_cmpuint(tree_count(back.root), ==, 3);
    store_fini(&back);
    store_fini(&store);
    journal_close(&journal);
    remove_directory(path);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/state/comes-back-the-same", comes_back_the_same);
    g_test_add_func("/state/damage-is-refused", damage_is_refused);
    g_test_add_func("/state/failed-allocations-and-writes", failed_allocations_and_writes);
    g_test_add_func("/journal/makes-the-same-store", journal_makes_the_same_store);
    g_test_add_func("/journal/each-write-fails-once", each_write_fails_once);
    g_test_add_func("/journal/damaged-files-are-kept", damaged_files_are_kept);
    return g_test_run();
}
