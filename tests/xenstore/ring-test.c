/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The daemon's loop over rings and sockets, on a hypervisor in shared memory: conversations, hostile
 * domains, fairness, and kills at any instruction.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake-xen.h"
#include "server.h"
#include "wire.h"

static struct server server;
static char *directory;

static void
log_text(const char *text)
{
    if (g_test_verbose())
        g_test_message("%s", text);
}

static void
start_server(void)
{
    g_autofree char *socket = g_build_filename(directory, "socket", NULL);

    g_assert_cmpint(server_init(&server, directory, fake_xen_open(), log_text), ==, 0);
    g_assert_cmpint(server_listen(&server, socket), ==, 0);
    server_start(&server, 1);
}

static void
setup(void)
{
    directory = g_dir_make_tmp("store-ring-XXXXXX", NULL);
    fake_xen_init();
    for (int i = 1; i < FAKE_DOMAINS; i++)
        fake_set_state(i, XEN_DOMAIN_RUNS);
    start_server();
}

static void
teardown(void)
{
    g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
    const char *name;

    server_fini(&server);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(directory, name, NULL);

        g_unlink(file);
    }
    g_rmdir(directory);
    g_free(directory);
}

/* Lets the daemon do all there is to do. */
static void
settle(void)
{
    for (int i = 0; i < 200; i++) {
        if (server_wait(&server, 0) <= 0 && !server_busy(&server) && link_empty(&server.store.dirty))
            break;
        server_turn(&server);
    }
}

static size_t
message(char *bytes, uint32_t type, uint32_t req_id, const char *payload, size_t length)
{
    struct xsd_sockmsg header = {.type = type, .req_id = req_id, .len = length};

    memcpy(bytes, &header, sizeof(header));
    memcpy(bytes + sizeof(header), payload, length);
    return sizeof(header) + length;
}

/* A domain asks and gets its answer, through a ring that is too small for it if need be. */
static uint32_t
ask_ring(uint16_t domid, uint32_t type, const char *payload, size_t length, char *answer,
         uint32_t *answer_length)
{
    static char request[MESSAGE_BYTES];
    struct xsd_sockmsg header;
    size_t total = message(request, type, 99, payload, length), sent = 0, got = 0;
    char *at;

    do {
        got = 0;
        at = (char *)&header;
        for (int patience = 0; got < sizeof(header); patience++) {
            if (sent < total)
                sent += fake_write(domid, request + sent, total - sent);
            settle();
            got += fake_read(domid, at + got, sizeof(header) - got);
            g_assert_cmpint(patience, <, 100);
        }
        for (got = 0; got < header.len;) {
            settle();
            got += fake_read(domid, answer + got, header.len - got);
        }
        answer[header.len] = '\0';
        settle();
    } while (header.type == XS_WATCH_EVENT);
    g_assert_cmpuint(header.req_id, ==, 99);
    *answer_length = header.len;
    return header.type;
}

static const char *
ask(uint16_t domid, uint32_t type, const char *payload, size_t length)
{
    static char answer[MESSAGE_BYTES];
    uint32_t answer_length;

    if (ask_ring(domid, type, payload, length, answer, &answer_length) == XS_ERROR) {
        memmove(answer + 1, answer, answer_length + 1);
        answer[0] = '!';
    }
    return answer;
}

#define ASK(domid, type, text) ask(domid, type, text, sizeof(text))
#define PUT(domid, text)       ask(domid, XS_WRITE, text, sizeof(text) - 1)

static void
introduce(uint16_t domid)
{
    char payload[32];

    g_assert_cmpstr(ask(0, XS_INTRODUCE, payload, sprintf(payload, "%u%c1%c10", domid, 0, 0) + 1), ==, "OK");
}

static void
ring_carries_requests_and_replies(void)
{
    char payload[4096];

    setup();
    g_assert_cmpstr(PUT(0, "/a/b\0value"), ==, "OK");
    g_assert_cmpstr(ASK(0, XS_READ, "/a/b"), ==, "value");
    /* Larger than the ring, both ways. */
    memset(payload, 'x', sizeof(payload));
    memcpy(payload, "/big", 5);
    g_assert_cmpstr(ask(0, XS_WRITE, payload, 4000), ==, "OK");
    g_assert_cmpuint(strlen(ASK(0, XS_READ, "/big")), ==, 3995);
    introduce(3);
    g_assert_cmpstr(ASK(3, XS_READ, "/a/b"), ==, "!EACCES");
    g_assert_cmpuint(fake_ring(3)->server_features, ==, 7);
    g_assert_cmpuint(fake_signals(3), >, 0);
    teardown();
}

static void
initial_ring_is_taken_up_where_it_is(void)
{
    char bytes[64];
    struct xsd_sockmsg header;

    directory = g_dir_make_tmp("store-ring-XXXXXX", NULL);
    fake_xen_init();
    fake_ring(0)->req_cons = fake_ring(0)->req_prod = 0xfffffff0;
    fake_ring(0)->rsp_cons = fake_ring(0)->rsp_prod = 0xffffffff;
    fake_write(0, bytes, message(bytes, XS_READ, 5, "/tool", 6));
    start_server();
    settle();
    g_assert_cmpuint(fake_read(0, &header, sizeof(header)), ==, sizeof(header));
    g_assert_cmpuint(header.req_id, ==, 5);
    teardown();
}

static void
wrong_indices_end_the_conversation(void)
{
    struct xenstore_domain_interface *ring;

    setup();
    introduce(3);
    ring = fake_ring(3);
    ring->req_prod = ring->req_cons + XENSTORE_RING_SIZE + 1;
    fake_kick(3);
    settle();
    g_assert_cmpuint(ring->error, ==, XENSTORE_ERROR_RINGIDX);
    /* Others are served, and the domain may begin anew. */
    g_assert_cmpstr(ASK(0, XS_READ, "/tool"), ==, "");
    ring->connection = XENSTORE_RECONNECT;
    fake_kick(3);
    settle();
    g_assert_cmpuint(ring->connection, ==, XENSTORE_CONNECTED);
    g_assert_cmpuint(ring->error, ==, XENSTORE_ERROR_NONE);
    g_assert_cmpstr(ASK(3, XS_GET_DOMAIN_PATH, "3"), ==, "/local/domain/3");
    /* The daemon's own indices are not the domain's to move. */
    ring->req_cons += 7;
    ring->rsp_prod += 100;
    fake_kick(3);
    settle();
    g_assert_cmpstr(ASK(0, XS_READ, "/tool"), ==, "");
    teardown();
}

static void
too_long_a_request_is_a_protocol_error(void)
{
    struct xsd_sockmsg header = {.type = XS_READ, .len = 5000};

    setup();
    introduce(3);
    fake_write(3, &header, sizeof(header));
    settle();
    g_assert_cmpuint(fake_ring(3)->error, ==, XENSTORE_ERROR_PROTO);
    teardown();
}

static void
reconnection_forgets_the_conversation(void)
{
    struct domain *domain;

    setup();
    introduce(3);
    ASK(3, XS_WATCH, "@releaseDomain\0t");
    ASK(3, XS_TRANSACTION_START, "");
    fake_write(3, "half a message", 14);
    settle();
    domain = store_find_domain(&server.store, 3);
    g_assert_cmpuint(domain->watches, ==, 1);
    g_assert_cmpuint(domain->transactions, ==, 1);
    g_assert_cmpuint(domain->ring->in.length, ==, 14);
    fake_ring(3)->connection = XENSTORE_RECONNECT;
    fake_kick(3);
    settle();
    g_assert_cmpuint(domain->watches, ==, 0);
    g_assert_cmpuint(domain->transactions, ==, 0);
    g_assert_cmpuint(domain->ring->in.length, ==, 0);
    g_assert_cmpuint(fake_ring(3)->req_prod, ==, 0);
    g_assert_cmpstr(ASK(3, XS_GET_DOMAIN_PATH, "3"), ==, "/local/domain/3");
    teardown();
}

static void
dead_domains_are_noticed(void)
{
    setup();
    introduce(3);
    PUT(0, "/local/domain/3\0");
    ASK(0, XS_SET_PERMS, "/local/domain/3\0n3");
    ASK(0, XS_WATCH, "@releaseDomain\0t");
    fake_set_state(3, XEN_DOMAIN_SHUT_DOWN);
    server_tick(&server, 2);
    g_assert_true(store_find_domain(&server.store, 3)->shutdown);
    fake_set_state(3, XEN_DOMAIN_GONE);
    server_tick(&server, 3);
    settle();
    g_assert_null(store_find_domain(&server.store, 3));
    g_assert_cmpstr(ASK(0, XS_READ, "/local/domain/3"), ==, "!ENOENT");
    teardown();
}

static int
connect_socket(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", directory);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    return fd;
}

/* Six domains flood; a seventh that asks once waits for about one share of each, in requests. */
static void
flood_does_not_delay_others(void)
{
    static const char flood[] = {XS_READ, 0, 0, 0, 1, 0,   0,   0,   0,   0,   0,
                                 0,       6, 0, 0, 0, '/', 't', 'o', 'o', 'l', 0};
    uint64_t before;
    char byte[64];

    setup();
    for (int i = 1; i < FAKE_DOMAINS; i++)
        introduce(i);
    PUT(0, "/local/domain/1/x\0");
    for (int i = 1; i < FAKE_DOMAINS - 1; i++) {
        while (fake_write(i, flood, sizeof(flood)) == sizeof(flood))
            ;
    }
    fake_write(7, byte, message(byte, XS_GET_DOMAIN_PATH, 1, "7", 2));
    before = server.store.requests;
    for (int turns = 0; !fake_read(7, byte, sizeof(byte)); turns++) {
        g_assert_cmpint(turns, <, 4);
        server_wait(&server, 0);
        server_turn(&server);
    }
    g_assert_cmpuint(server.store.requests - before, <=, 3 * 7 * TURN_REQUESTS);
    teardown();
}

/* How many requests of others are served between domain 7's request and its answer, at most. */
static uint64_t
served_before_domain_7(void)
{
    uint64_t before = server.store.requests;
    char bytes[64];

    g_assert_cmpuint(fake_write(7, bytes, message(bytes, XS_GET_DOMAIN_PATH, 1, "7", 2)), >, 0);
    for (int turns = 0; fake_read(7, bytes, sizeof(bytes)) == 0; turns++) {
        g_assert_cmpint(turns, <, 4);
        server_wait(&server, 0);
        server_turn(&server);
    }
    return server.store.requests - before;
}

#define FLOODING_SOCKETS 20

/* Sockets that send as much as goes, half of which never read an answer. */
static void
flooding_sockets_do_not_delay_domains(void)
{
    static const char flood[] = {XS_READ, 0, 0, 0, 1, 0,   0,   0,   0,   0,   0,
                                 0,       6, 0, 0, 0, '/', 't', 'o', 'o', 'l', 0};
    int fds[FLOODING_SOCKETS];
    char bytes[65536];

    setup();
    introduce(7);
    for (int i = 0; i < FLOODING_SOCKETS; i++) {
        fds[i] = connect_socket();
        fcntl(fds[i], F_SETFL, O_NONBLOCK);
        settle();
    }
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < FLOODING_SOCKETS; i++) {
            while (write(fds[i], flood, sizeof(flood)) == sizeof(flood))
                ;
            if (i % 2)
                g_assert_cmpint(read(fds[i], bytes, sizeof(bytes)), !=, 0);
        }
        /* Two turns: one in which the request is seen, one in which it is served. */
        g_assert_cmpuint(served_before_domain_7(), <=, 3 * (FLOODING_SOCKETS + 1) * TURN_REQUESTS);
    }
    list_for_each(&server.store.client_list, item) {
        struct client *client = link_entry(item, struct client, in_store);

        /* The silent halves' answers stay bounded, and so do the requests that are taken in. */
        g_assert_cmpuint(client->out.length, <, (1 << 20) + 2 * MESSAGE_BYTES);
        g_assert_cmpuint(client->in.length, <, 6 * JOURNAL_READ_BYTES);
    }
    for (int i = 0; i < FLOODING_SOCKETS; i++)
        close(fds[i]);
    settle();
    teardown();
}

/* A domain at each of its limits, which goes on asking for more, costs others no more than its turn. */
static void
domain_at_its_limits_does_not_delay_others(void)
{
    static const struct {
        const char *name;
        const char *number;
        uint32_t type;
        const char *payload;
        size_t length;
    } limits[] = {
        {"nodes", "3", XS_MKDIR, "data/n\0", 7},
        {"watches", "1", XS_WATCH, "data\0t", 7},
        {"transactions", "1", XS_TRANSACTION_START, "\0", 1},
        {"node-size", "4", XS_WRITE, "data\0 12345678", 14},
        {"memory", "2000", XS_MKDIR, "data/m\0", 7},
        {"path-max", "8", XS_MKDIR, "data/a/long/path\0", 17},
        {"permissions", "1", XS_SET_PERMS, "data\0n3\0r4\0", 11},
        {"pending", "100", XS_READ, "data\0", 5},
    };
    char bytes[256];

    setup();
    introduce(3);
    introduce(7);
    PUT(0, "/local/domain/3/data\0x");
    g_assert_cmpuint(fake_write(0, bytes, message(bytes, XS_SET_PERMS, 1, "/local/domain/3/data\0n3\0", 24)),
                     >, 0);
    settle();
    for (size_t i = 0; i < G_N_ELEMENTS(limits); i++) {
        g_autofree char *quota = g_strdup_printf("3|%s|%s|", limits[i].name, limits[i].number);
        size_t length = strlen(quota);

        g_strdelimit(quota, "|", '\0');
        g_assert_cmpuint(fake_write(0, bytes, message(bytes, XS_SET_QUOTA, 1, quota, length)), >, 0);
        settle();
        while (fake_read(0, bytes, sizeof(bytes)))
            settle();
        for (int round = 0; round < 20; round++) {
            length = message(bytes, limits[i].type, 1, limits[i].payload, limits[i].length);
            while (fake_write(3, bytes, length) == length)
                ;
            g_assert_cmpuint(served_before_domain_7(), <=, 3 * 2 * TURN_REQUESTS);
        }
    }
    g_assert_cmpint(domain_memory(store_find_domain(&server.store, 3)), <, 32 * 1024);
    teardown();
}

static void
silent_reader_is_not_buffered_without_end(void)
{
    static const char flood[] = {XS_GET_DOMAIN_PATH, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, '3', 0};
    struct client *client;
    int round;

    setup();
    introduce(3);
    client = store_find_domain(&server.store, 3)->ring;
    for (round = 0; round < 20000; round++) {
        if (!fake_write(3, flood, sizeof(flood)))
            break;
        settle();
    }
    g_assert_cmpint(round, <, 20000);
    g_assert_cmpuint(client->out.length, <, 100 * 1024);
    g_assert_cmpuint(client->in.length, <, 3 * MESSAGE_BYTES);
    teardown();
}

static void
socket_works_beside_rings(void)
{
    char bytes[256];
    int fd, other;
    ssize_t got;

    setup();
    fd = connect_socket();
    other = connect_socket();
    settle();
    for (size_t i = 0, length = message(bytes, XS_READ, 4, "/tool", 6); i < length; i++) {
        g_assert_cmpint(write(fd, bytes + i, 1), ==, 1);
        settle();
    }
    got = read(fd, bytes, sizeof(bytes));
    g_assert_cmpint(got, ==, sizeof(struct xsd_sockmsg));
    /* One that sends nonsense is cut off. */
    memset(bytes, 0xff, sizeof(bytes));
    g_assert_cmpint(write(other, bytes, sizeof(bytes)), ==, sizeof(bytes));
    settle();
    g_assert_cmpint(read(other, bytes, sizeof(bytes)), <=, 0);
    g_assert_cmpuint(server.store.clients.count, ==, 2);
    close(fd);
    close(other);
    settle();
    g_assert_cmpuint(server.store.clients.count, ==, 1);
    teardown();
}

/* Writes a number, reads it back, and so on; what comes must come once and in order. */
struct counter {
    uint16_t domid;
    uint32_t sent;     /* requests whose bytes are all in the ring */
    uint32_t answered; /* answers seen */
    uint32_t events;
    char out[256];
    size_t out_length;
    char in[MESSAGE_BYTES * 2];
    size_t in_length;
};

static void
counter_send(struct counter *counter, uint32_t limit)
{
    size_t sent;

    while (counter->out_length || counter->sent < limit) {
        if (!counter->out_length) {
            char payload[64];
            size_t length = sprintf(payload, "/c%u", counter->domid) + 1;

            if (counter->sent % 2 == 0)
                length += sprintf(payload + length, "%u", counter->sent);
            counter->out_length =
                message(counter->out, counter->sent % 2 ? XS_READ : XS_WRITE, counter->sent, payload, length);
            counter->sent++;
        }
        sent = fake_write(counter->domid, counter->out, counter->out_length);
        memmove(counter->out, counter->out + sent, counter->out_length - sent);
        counter->out_length -= sent;
        if (!sent)
            break;
    }
}

static void
counter_receive(struct counter *counter)
{
    struct xsd_sockmsg header;

    counter->in_length +=
        fake_read(counter->domid, counter->in + counter->in_length, sizeof(counter->in) - counter->in_length);
    for (;;) {
        char *payload = counter->in + sizeof(header);

        if (counter->in_length < sizeof(header))
            return;
        memcpy(&header, counter->in, sizeof(header));
        g_assert_cmpuint(header.len, <=, XENSTORE_PAYLOAD_MAX);
        if (counter->in_length < sizeof(header) + header.len)
            return;
        if (header.type == XS_WATCH_EVENT) {
            counter->events++;
        } else {
            g_assert_cmpuint(header.req_id, ==, counter->answered);
            g_assert_cmpuint(header.type, ==, counter->answered % 2 ? XS_READ : XS_WRITE);
            if (header.type == XS_READ) {
                g_autofree char *value = g_strndup(payload, header.len);

                g_assert_cmpuint(strtoul(value, NULL, 10), ==, counter->answered - 1);
            }
            counter->answered++;
        }
        counter->in_length -= sizeof(header) + header.len;
        memmove(counter->in, payload + header.len, counter->in_length);
    }
}

static pid_t
fork_server(void)
{
    pid_t pid = fork();

    g_assert_cmpint(pid, >=, 0);
    if (pid)
        return pid;
    start_server();
    for (;;) {
        server_wait(&server, server_busy(&server) ? 0 : 20);
        server_turn(&server);
    }
}

#define PATIENCE (500 * G_USEC_PER_SEC)

/*
 * Domains that keep several requests in flight to a daemon in another process.  Nothing may be lost, doubled
 * or out of order, each write must be one event, and nobody may wait for a signal that the other need not
 * send.
 */
static void
run_counters(unsigned int wanted, int wanted_kills)
{
    struct counter counters[3] = {{.domid = 0}, {.domid = 1}, {.domid = 2}};
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    char bytes[64], answer[64];
    gint64 end, next_kill;
    unsigned int done, done_at_kill = 0;
    int kills = 0;
    pid_t pid;

    setup();
    for (int i = 1; i < 3; i++) {
        introduce(i);
        sprintf(bytes, "/c%d", i);
        ask(0, XS_MKDIR, bytes, strlen(bytes) + 1);
        ask(0, XS_SET_PERMS, bytes, sprintf(bytes, "/c%d%cn%d", i, 0, i) + 1);
    }
    PUT(0, "/c0\0");
    for (int i = 0; i < 3; i++) {
        sprintf(answer, "/c%d%ct", i, 0);
        ask(i, XS_WATCH, answer, 6);
        settle();
        /* The watch's own event is not of a write. */
        fake_read(i, bytes, sizeof(bytes));
        settle();
    }
    server_fini(&server);
    pid = fork_server();
    end = g_get_monotonic_time() + PATIENCE;
    next_kill = wanted_kills ? g_get_monotonic_time() + 5000 : G_MAXINT64;
    while (kills < wanted_kills || counters[0].answered < wanted || counters[1].answered < wanted ||
           counters[2].answered < wanted) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        for (int i = 0; i < 3; i++) {
            if (counters[i].sent < counters[i].answered + 8)
                counter_send(&counters[i], counters[i].answered + 8);
            counter_receive(&counters[i]);
        }
        /* However slow the machine is, something is done between two kills. */
        done = counters[0].answered + counters[1].answered + counters[2].answered;
        if (g_get_monotonic_time() > next_kill && done > done_at_kill) {
            done_at_kill = done;
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            kills++;
            pid = fork_server();
            next_kill = g_get_monotonic_time() + g_rand_int_range(rand, 3000, 15000);
        }
    }
    /* Whatever is in flight arrives. */
    end = g_get_monotonic_time() + PATIENCE;
    for (int i = 0; i < 3; i++) {
        while (counters[i].answered < counters[i].sent || counters[i].events < (counters[i].sent + 1) / 2) {
            counter_send(&counters[i], counters[i].sent);
            counter_receive(&counters[i]);
            g_assert_cmpint(g_get_monotonic_time(), <, end);
        }
        g_assert_cmpuint(counters[i].events, ==, (counters[i].sent + 1) / 2);
        g_test_message("domain %d: %u requests, %u events, %d kills", i, counters[i].answered,
                       counters[i].events, kills);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    start_server();
    teardown();
}

static void
nobody_waits_for_ever(void)
{
    run_counters(1000, 0);
}

/* At some hundred instructions that nobody chose. */
static void
kills_are_not_noticed(void)
{
    run_counters(1000, 100);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ring/carries-requests-and-replies", ring_carries_requests_and_replies);
    g_test_add_func("/ring/initial-one-is-taken-up-where-it-is", initial_ring_is_taken_up_where_it_is);
    g_test_add_func("/ring/wrong-indices-end-the-conversation", wrong_indices_end_the_conversation);
    g_test_add_func("/ring/too-long-a-request-is-a-protocol-error", too_long_a_request_is_a_protocol_error);
    g_test_add_func("/ring/reconnection-forgets-the-conversation", reconnection_forgets_the_conversation);
    g_test_add_func("/ring/silent-reader-is-not-buffered-without-end",
                    silent_reader_is_not_buffered_without_end);
    g_test_add_func("/server/dead-domains-are-noticed", dead_domains_are_noticed);
    g_test_add_func("/server/flood-does-not-delay-others", flood_does_not_delay_others);
    g_test_add_func("/server/flooding-sockets-do-not-delay-domains", flooding_sockets_do_not_delay_domains);
    g_test_add_func("/server/domain-at-its-limits-does-not-delay-others",
                    domain_at_its_limits_does_not_delay_others);
    g_test_add_func("/server/socket-works-beside-rings", socket_works_beside_rings);
    g_test_add_func("/server/nobody-waits-for-ever", nobody_waits_for_ever);
    g_test_add_func("/server/kills-are-not-noticed", kills_are_not_noticed);
    return g_test_run();
}
