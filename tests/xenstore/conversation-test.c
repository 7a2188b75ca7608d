/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Replays conversations from files, each once with the control domain on a socket and once on its ring, and
 * then again and again with one allocation failing, a later one each time: then answers may be errors, but
 * there are as many as requests, the books balance, and a restart finds the same.
 *
 *     # a comment
 *     c> WRITE /a|value          the control domain sends; | is a NUL
 *     c< WRITE OK|               and the next message it gets is this one
 *     5> READ tx=$1 /a|          domain 5, introduced at its first line, in the transaction kept as $1
 *     5< TRANSACTION_START $1|   keeps what came as $1
 *     c< DIRECTORY_PART *...     a star stands for a number
 *     5< nothing                 no message waits
 *     !gone 5                    domain 5 dies;   !restart   the daemon is killed and started again
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fake-xen.h"
#include "server.h"
#include "wire.h"

static const char *const type_names[XS_WIRE_COUNT] = {
    [XS_CONTROL] = "CONTROL",
    [XS_DIRECTORY] = "DIRECTORY",
    [XS_READ] = "READ",
    [XS_GET_PERMS] = "GET_PERMS",
    [XS_WATCH] = "WATCH",
    [XS_UNWATCH] = "UNWATCH",
    [XS_TRANSACTION_START] = "TRANSACTION_START",
    [XS_TRANSACTION_END] = "TRANSACTION_END",
    [XS_INTRODUCE] = "INTRODUCE",
    [XS_RELEASE] = "RELEASE",
    [XS_GET_DOMAIN_PATH] = "GET_DOMAIN_PATH",
    [XS_WRITE] = "WRITE",
    [XS_MKDIR] = "MKDIR",
    [XS_RM] = "RM",
    [XS_SET_PERMS] = "SET_PERMS",
    [XS_WATCH_EVENT] = "WATCH_EVENT",
    [XS_ERROR] = "ERROR",
    [XS_IS_DOMAIN_INTRODUCED] = "IS_DOMAIN_INTRODUCED",
    [XS_RESUME] = "RESUME",
    [XS_SET_TARGET] = "SET_TARGET",
    [XS_RESET_WATCHES] = "RESET_WATCHES",
    [XS_DIRECTORY_PART] = "DIRECTORY_PART",
    [XS_GET_FEATURE] = "GET_FEATURE",
    [XS_SET_FEATURE] = "SET_FEATURE",
    [XS_GET_QUOTA] = "GET_QUOTA",
    [XS_SET_QUOTA] = "SET_QUOTA",
};

static struct server server;
static char *directory;
static bool control_by_socket;
static int control_fd; /* our end of the control domain's socket */
static int kept_fd;    /* the daemon's end, as a service manager keeps it over a restart */
static uint32_t control_id;
static bool introduced[FAKE_DOMAINS];
static char *kept[10];
static bool faults; /* what answers say is not looked at */

static void
log_text(const char *text)
{
    (void)text;
}

static void
settle(void)
{
    for (int i = 0; i < 100; i++) {
        if (server_wait(&server, 0) <= 0 && !server_busy(&server) && link_empty(&server.store.dirty))
            break;
        server_turn(&server);
    }
}

static void
start_server(void)
{
    /* Who starts the daemon tries again when it ended for lack of memory. */
    if (server_init(&server, directory, fake_xen_open(), log_text))
        g_assert_cmpint(server_init(&server, directory, fake_xen_open(), log_text), ==, 0);
    if (kept_fd >= 0 && !server_adopt(&server, control_id, dup(kept_fd)))
        g_assert_true(server_adopt(&server, control_id, dup(kept_fd)));
    server_start(&server, 1);
    settle();
}

static void
send_bytes(unsigned int who, const char *bytes, size_t length)
{
    while (length) {
        size_t sent = who || !control_by_socket ? fake_write(who, bytes, length)
                                                : (size_t)write(control_fd, bytes, length);

        settle();
        bytes += sent;
        length -= sent;
    }
}

static bool
receive_bytes(unsigned int who, char *bytes, size_t length)
{
    size_t got = 0;

    for (int patience = 0; got < length && patience < 50; patience++) {
        ssize_t more;

        settle();
        if (who || !control_by_socket)
            more = fake_read(who, bytes + got, length - got);
        else
            more = recv(control_fd, bytes + got, length - got, MSG_DONTWAIT);
        got += more > 0 ? more : 0;
    }
    return got == length;
}

/* The next message of @who, written as in a file. */
static char *
receive_message(unsigned int who)
{
    struct xsd_sockmsg header;
    g_autofree char *payload = NULL;

    if (!receive_bytes(who, (char *)&header, sizeof(header)))
        return g_strdup("nothing");
    payload = g_malloc0(header.len + 1);
    g_assert_true(receive_bytes(who, payload, header.len));
    for (uint32_t i = 0; i < header.len; i++) {
        if (!payload[i])
            payload[i] = '|';
    }
    g_assert_cmpuint(header.type, <, XS_WIRE_COUNT);
    return g_strdup_printf("%s%s%s", type_names[header.type], header.len ? " " : "", payload);
}

static void
send_message(unsigned int who, char *text)
{
    struct xsd_sockmsg header = {.type = XS_INVALID, .req_id = 1};
    char *payload = strchr(text, ' ');
    g_autofree char *copy = NULL;

    if (payload)
        *payload++ = '\0';
    for (uint32_t i = 0; i < XS_WIRE_COUNT; i++) {
        if (type_names[i] && !strcmp(type_names[i], text))
            header.type = i;
    }
    if (header.type == XS_INVALID)
        g_error("no request is called %s", text);
    if (payload && !strncmp(payload, "tx=$", 4)) {
        header.tx_id = atoi(kept[payload[4] - '0']);
        payload += payload[5] ? 6 : 5;
    }
    copy = g_strdup(payload ? payload : "");
    header.len = strlen(copy);
    g_strdelimit(copy, "|", '\0');
    send_bytes(who, (char *)&header, sizeof(header));
    send_bytes(who, copy, header.len);
}

/* Whether @seen is what @expected says; a star matches digits, $N keeps what comes up to the next bar. */
static bool
matches(const char *expected, const char *seen)
{
    for (; *expected; expected++) {
        if (*expected == '*') {
            size_t digits = strspn(seen, "0123456789");

            if (!digits)
                return false;
            seen += digits;
        } else if (*expected == '$') {
            size_t length = strcspn(seen, "|");

            g_free(kept[*++expected - '0']);
            kept[*expected - '0'] = g_strndup(seen, length);
            seen += length;
        } else if (*expected != *seen++) {
            return false;
        }
    }
    return !*seen;
}

static void
introduce(unsigned int domid)
{
    introduced[domid] = true;
    /* One attempt may meet the failing allocation. */
    if (store_introduce(&server.store, domid, 1, 10))
        g_assert_cmpint(store_introduce(&server.store, domid, 1, 10), ==, 0);
    /* Not by a request, so the journal learns of it by a new state. */
    if (journal_checkpoint(&server.journal, &server.store))
        g_assert_cmpint(journal_checkpoint(&server.journal, &server.store), ==, 0);
    settle();
}

static void
keep_something(const char *expected)
{
    const char *dollar = strchr(expected, '$');

    if (dollar) {
        g_free(kept[dollar[1] - '0']);
        kept[dollar[1] - '0'] = g_strdup("4000000000");
    }
}

/* An answer comes, the one that was expected or an error; an event may be late or missing only at the very
 * fault. */
static void
play_with_faults(unsigned int who, const char *expected, const char *seen)
{
    g_autofree char *more = NULL;
    size_t word = strcspn(expected, " ");

    while (g_str_has_prefix(seen, "WATCH_EVENT")) {
        g_free(more);
        seen = more = receive_message(who);
    }
    if (!matches(expected, seen))
        keep_something(expected);
    if (!g_str_has_prefix(seen, "ERROR ") && strncmp(seen, expected, word) &&
        !g_str_has_prefix(expected, "ERROR "))
        g_error("expected %s or an error, got %s", expected, seen);
}

static void
play_line(const char *file, int number, char *line)
{
    unsigned int who = line[0] == 'c' ? 0 : line[0] - '0';

    if (!strncmp(line, "!gone ", 6)) {
        fake_set_state(line[6] - '0', XEN_DOMAIN_GONE);
        server_tick(&server, 2);
        settle();
        return;
    }
    if (!strcmp(line, "!restart")) {
        server_fini(&server);
        start_server();
        return;
    }
    g_assert_cmpuint(who, <, FAKE_DOMAINS);
    if (who && !introduced[who])
        introduce(who);
    if (line[1] == '>') {
        send_message(who, line + 3);
    } else if (!faults || (!g_str_has_prefix(line + 3, "WATCH_EVENT") && strcmp(line + 3, "nothing"))) {
        g_autofree char *seen = receive_message(who);

        if (faults)
            play_with_faults(who, line + 3, seen);
        else if (!matches(line + 3, seen)) {
            g_printerr("%s:%d: expected %s, got %s\n", file, number, line + 3, seen);
            g_test_fail();
        }
    }
}

static void
play(const char *file)
{
    g_auto(GStrv) lines = NULL;
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(file, &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    for (int i = 0; lines[i]; i++) {
        if (lines[i][0] && lines[i][0] != '#')
            play_line(file, i + 1, lines[i]);
    }
}

static void
connect_control(void)
{
    int pair[2];
    struct client *client;

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    control_fd = pair[0];
    kept_fd = pair[1];
    client = client_open(&server.store, store_find_domain(&server.store, 0), true, CLIENT_NONE);
    control_id = client->id;
    g_assert_cmpint(connection_attach_socket(&server, client, dup(kept_fd)), ==, 0);
    journal_append(&server.journal, JOURNAL_OPEN, client->id, NULL, 0);
}

/* Whether what each domain is charged with is what it has, and the same again after a restart. */
static void
check_books(void)
{
    for (int round = 0; round < 2; round++) {
        struct ledger ledger = {0};
        static size_t nodes;
        struct node root;

        tree_root(server.store.root, &root);
        g_assert_cmpint(tree_account(&root, 1, &ledger), ==, 0);
        for (uint32_t i = 0; i < ledger.count; i++) {
            const struct domain *domain = store_find_domain(&server.store, ledger.entries[i].domid);

            g_assert_nonnull(domain);
            g_assert_cmpint(domain->nodes, ==, ledger.entries[i].nodes);
            g_assert_cmpint(domain->node_bytes, ==, ledger.entries[i].bytes);
        }
        ledger_fini(&ledger);
        if (round)
            g_assert_cmpuint(tree_count(server.store.root), ==, nodes);
        nodes = tree_count(server.store.root);
        server_fini(&server);
        start_server();
    }
}

static bool
run_file(const char *file, bool by_socket, long fault)
{
    bool failed;
    g_autoptr(GDir) dir = NULL;
    const char *name;

    directory = g_dir_make_tmp("store-talk-XXXXXX", NULL);
    fake_xen_init();
    for (int i = 0; i < FAKE_DOMAINS; i++) {
        fake_set_state(i, XEN_DOMAIN_RUNS);
        introduced[i] = false;
    }
    control_by_socket = by_socket;
    control_fd = kept_fd = -1;
    start_server();
    if (by_socket)
        connect_control();
    faults = fault >= 0;
    mem_fail_after(fault);
    play(file);
    failed = mem_failed();
    mem_fail_after(-1);
    if (faults)
        check_books();
    server_fini(&server);
    if (by_socket) {
        close(control_fd);
        close(kept_fd);
    }
    dir = g_dir_open(directory, 0, NULL);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(directory, name, NULL);

        g_unlink(path);
    }
    g_rmdir(directory);
    g_free(directory);
    return failed;
}

static void
over_socket(gconstpointer file)
{
    run_file(file, true, -1);
}

static void
over_ring(gconstpointer file)
{
    run_file(file, false, -1);
}

static void
with_faults(gconstpointer file)
{
    long fault = 0;

    while (run_file(file, true, fault))
        fault++;
    g_test_message("%ld allocations", fault);
    g_assert_cmpint(fault, >, 20);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (int i = 1; i < argc; i++) {
        g_autofree char *name = g_path_get_basename(argv[i]);
        g_autofree char *by_socket = g_strdup_printf("/conversation/%s/socket", name);
        g_autofree char *failing = g_strdup_printf("/conversation/%s/faults", name);
        g_autofree char *by_ring = g_strdup_printf("/conversation/%s/ring", name);

        g_test_add_data_func(by_socket, argv[i], over_socket);
        g_test_add_data_func(by_ring, argv[i], over_ring);
        g_test_add_data_func(failing, argv[i], with_faults);
    }
    return g_test_run();
}
