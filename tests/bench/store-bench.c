/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Asks a store daemon for as much as it can do through its socket, and prints one line for each case:
 *
 *     case nodes requests-per-second daemon-microseconds-per-request
 *
 * Usage: store-bench SOCKET DAEMON-PID SECONDS-PER-CASE[:CASE] NODES...
 *        store-bench SOCKET DAEMON-PID -CASE ROUNDS NODES     only that case, so often: how many it was
 *        store-bench SOCKET DAEMON-PID domains COUNT          bytes of the daemon for one introduced domain
 *        store-bench echo SOCKET                              be a server that does nothing, for the floor
 *
 * Requests go out in batches of DEPTH, as a kernel with several waiting threads sends them, except in the
 * cases named sync-.  The daemon's own time comes from its scheduler statistics.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <xen/io/xs_wire.h>

#define DEPTH   16
#define PER_DIR 10
#define WATCHES 10000

static const char *socket_path;
static int daemon_pid;
static double seconds;
static unsigned long rounds; /* if not 0: how many, instead of how long */

struct peer {
    int fd;
    size_t used, taken;
    char in[1 << 17];
    size_t out_length;
    char out[1 << 17];
};

static void
fail(const char *what)
{
    fprintf(stderr, "store-bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct peer *
peer_new(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct peer *peer = calloc(1, sizeof(*peer));

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
    peer->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(peer->fd, (struct sockaddr *)&address, sizeof(address)))
        fail(socket_path);
    return peer;
}

static void
put(struct peer *peer, uint32_t type, uint32_t tx_id, const char *payload, size_t length)
{
    struct xsd_sockmsg header = {.type = type, .tx_id = tx_id, .len = length};

    memcpy(peer->out + peer->out_length, &header, sizeof(header));
    memcpy(peer->out + peer->out_length + sizeof(header), payload, length);
    peer->out_length += sizeof(header) + length;
}

static void
push(struct peer *peer)
{
    size_t done = 0;

    while (done < peer->out_length) {
        ssize_t sent = write(peer->fd, peer->out + done, peer->out_length - done);

        if (sent <= 0)
            fail("write");
        done += sent;
    }
    peer->out_length = 0;
}

/* The next message; its payload has a terminator behind it until the next call. */
static struct xsd_sockmsg
take(struct peer *peer, char **ret_payload)
{
    struct xsd_sockmsg header;

    for (;;) {
        size_t have = peer->used - peer->taken;

        if (have >= sizeof(header)) {
            memcpy(&header, peer->in + peer->taken, sizeof(header));
            if (have >= sizeof(header) + header.len)
                break;
        }
        if (peer->taken) {
            memmove(peer->in, peer->in + peer->taken, have);
            peer->used = have;
            peer->taken = 0;
        }
        {
            ssize_t got = read(peer->fd, peer->in + peer->used, sizeof(peer->in) - peer->used);

            if (got <= 0)
                fail("read");
            peer->used += got;
        }
    }
    if (ret_payload)
        *ret_payload = peer->in + peer->taken + sizeof(header);
    peer->taken += sizeof(header) + header.len;
    return header;
}

/* The next reply, which must not be an error; events are left out. */
static char *
reply(struct peer *peer)
{
    struct xsd_sockmsg header;
    char *payload;

    do
        header = take(peer, &payload);
    while (header.type == XS_WATCH_EVENT);
    if (header.type == XS_ERROR && strcmp(payload, "EAGAIN")) {
        fprintf(stderr, "store-bench: the daemon answers %s\n", payload);
        exit(1);
    }
    return payload;
}

static double
now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static double
daemon_time(void)
{
    char path[64];
    uint64_t ns = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/schedstat", daemon_pid);
    file = fopen(path, "r");
    if (!file || fscanf(file, "%" SCNu64, &ns) != 1)
        fail(path);
    fclose(file);
    return ns / 1e9;
}

static unsigned long nodes;

#define NODE_PATH_MAX 64 /* "/bench/d", "/e", "/n" and three numbers */

static size_t
node_path(char *path, unsigned long index)
{
    return snprintf(path, NODE_PATH_MAX, "/bench/d%lu/e%lu/n%lu", index / PER_DIR / 100,
                    index / PER_DIR % 100, index % PER_DIR) +
           1;
}

static void
make_nodes(struct peer *peer)
{
    char payload[128];
    unsigned long i, waiting = 0;

    for (i = 0; i < nodes; i++) {
        size_t length = node_path(payload, i);

        memcpy(payload + length, "value", 5);
        put(peer, XS_WRITE, 0, payload, length + 5);
        if (++waiting == DEPTH || i + 1 == nodes) {
            push(peer);
            while (waiting) {
                reply(peer);
                waiting--;
            }
        }
    }
}

static unsigned long random_state = 1;

static unsigned long
random_node(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % nodes;
}

static size_t
payload_read(char *payload)
{
    return node_path(payload, random_node());
}

static size_t
payload_write(char *payload)
{
    size_t length = node_path(payload, random_node());

    memcpy(payload + length, "other", 5);
    return length + 5;
}

static size_t
payload_list(char *payload)
{
    size_t length = node_path(payload, random_node());

    *strrchr(payload, '/') = '\0';
    (void)length;
    return strlen(payload) + 1;
}

/* One case under way: what it costs from case_begin() to case_end(). */
struct run {
    double start, cpu;
    unsigned long count, round;
};

static struct run
case_begin(void)
{
    return (struct run){.start = now(), .cpu = daemon_time()};
}

static int
case_goes_on(struct run *run)
{
    run->round++;
    return rounds ? run->round < rounds : now() - run->start < seconds;
}

static void
case_end(const struct run *run, const char *name)
{
    double time = now() - run->start;

    if (rounds) {
        printf("%s %lu %lu 0\n", name, nodes, run->count);
        return;
    }
    printf("%s %lu %.0f %.3f\n", name, nodes, run->count / time,
           (daemon_time() - run->cpu) / run->count * 1e6);
    fflush(stdout);
}

static void
run_requests(const char *name, struct peer *peer, uint32_t type, size_t (*make)(char *payload), int depth)
{
    struct run run = case_begin();
    char payload[128];
    int i;

    do {
        for (i = 0; i < depth; i++)
            put(peer, type, 0, payload, make(payload));
        push(peer);
        for (i = 0; i < depth; i++)
            reply(peer);
        run.count += depth;
    } while (case_goes_on(&run));
    case_end(&run, name);
}

static void
run_transactions(const char *name, struct peer *peer, int depth)
{
    struct run run = case_begin();
    uint32_t tx[DEPTH];
    int i;

    do {
        for (i = 0; i < depth; i++)
            put(peer, XS_TRANSACTION_START, 0, "", 1);
        push(peer);
        for (i = 0; i < depth; i++)
            tx[i] = strtoul(reply(peer), NULL, 10);
        for (i = 0; i < depth; i++)
            put(peer, XS_TRANSACTION_END, tx[i], "T", 2);
        push(peer);
        for (i = 0; i < depth; i++)
            reply(peer);
        run.count += depth;
    } while (case_goes_on(&run));
    case_end(&run, name);
}

/*
 * Four clients each build a device of ten nodes in a transaction, all at once, in directories of their own
 * below a common one; each sends its writes one by one or all together.  Only commits count.
 */
static void
run_contended(const char *name, int together)
{
    struct peer *peers[4];
    uint32_t tx[4];
    struct run run;
    char payload[128];
    int i, j, k;

    for (i = 0; i < 4; i++)
        peers[i] = peer_new();
    run = case_begin();
    do {
        for (i = 0; i < 4; i++) {
            put(peers[i], XS_TRANSACTION_START, 0, "", 1);
            push(peers[i]);
        }
        for (i = 0; i < 4; i++)
            tx[i] = strtoul(reply(peers[i]), NULL, 10);
        for (j = 0; j < 10; j += together) {
            for (i = 0; i < 4; i++) {
                for (k = j; k < j + together; k++) {
                    size_t length = sprintf(payload, "/bench/contended/%d/k%d", i, k) + 1;

                    length += sprintf(payload + length, "%lu", run.round);
                    put(peers[i], XS_WRITE, tx[i], payload, length);
                }
                push(peers[i]);
            }
            for (i = 0; i < 4; i++) {
                for (k = 0; k < together; k++)
                    reply(peers[i]);
            }
        }
        for (i = 0; i < 4; i++) {
            put(peers[i], XS_TRANSACTION_END, tx[i], "T", 2);
            push(peers[i]);
        }
        for (i = 0; i < 4; i++)
            run.count += !strcmp(reply(peers[i]), "OK");
    } while (case_goes_on(&run));
    case_end(&run, name);
    for (i = 0; i < 4; i++) {
        close(peers[i]->fd);
        free(peers[i]);
    }
}

/* Events of one watch while @watches other watches are set elsewhere. */
static void
run_watches(const char *name, struct peer *writer, int watches, int depth)
{
    struct peer *others = peer_new(), *watcher = peer_new();
    struct run run;
    char payload[128];
    int i;

    for (i = 0; i < watches; i++) {
        size_t length = node_path(payload, random_node());

        length += sprintf(payload + length, "t%d", i) + 1;
        put(others, XS_WATCH, 0, payload, length);
        push(others);
        reply(others);
    }
    put(watcher, XS_WATCH, 0, "/bench/target\0t", 16);
    push(watcher);
    reply(watcher);
    take(watcher, NULL);
    run = case_begin();
    do {
        for (i = 0; i < depth; i++) {
            size_t length = sprintf(payload, "/bench/target/%d", i) + 1;

            payload[length] = 'x';
            put(writer, XS_WRITE, 0, payload, length + 1);
        }
        push(writer);
        for (i = 0; i < depth; i++)
            reply(writer);
        for (i = 0; i < depth; i++) {
            while (take(watcher, NULL).type != XS_WATCH_EVENT)
                ;
        }
        run.count += depth;
    } while (case_goes_on(&run));
    case_end(&run, name);
    close(others->fd);
    close(watcher->fd);
    free(others);
    free(watcher);
}

static void
run_case(const char *only, struct peer *peer)
{
#define CASE(name, call)              \
    if (!only || !strcmp(only, name)) \
    call
    CASE("sync-read", run_requests("sync-read", peer, XS_READ, payload_read, 1));
    CASE("sync-write", run_requests("sync-write", peer, XS_WRITE, payload_write, 1));
    CASE("sync-list", run_requests("sync-list", peer, XS_DIRECTORY, payload_list, 1));
    CASE("sync-tx-empty", run_transactions("sync-tx-empty", peer, 1));
    CASE("sync-tx-contended", run_contended("sync-tx-contended", 1));
    CASE("sync-watch", run_watches("sync-watch", peer, 0, 1));
    CASE("sync-watch-10000", run_watches("sync-watch-10000", peer, WATCHES, 1));
    CASE("read", run_requests("read", peer, XS_READ, payload_read, DEPTH));
    CASE("write", run_requests("write", peer, XS_WRITE, payload_write, DEPTH));
    CASE("list", run_requests("list", peer, XS_DIRECTORY, payload_list, DEPTH));
    CASE("tx-empty", run_transactions("tx-empty", peer, DEPTH));
    CASE("tx-contended", run_contended("tx-contended", 10));
    CASE("watch", run_watches("watch", peer, 0, DEPTH));
    CASE("watch-10000", run_watches("watch-10000", peer, WATCHES, DEPTH));
#undef CASE
}

/* Memory of its own; a mapped journal lies in /run and is bounded apart from the nodes. */
static unsigned long
daemon_memory(void)
{
    unsigned long kilobytes = 0;
    char path[64], line[256];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/status", daemon_pid);
    file = fopen(path, "r");
    if (!file)
        fail(path);
    while (fgets(line, sizeof(line), file) && sscanf(line, "RssAnon: %lu", &kilobytes) != 1)
        ;
    fclose(file);
    return kilobytes * 1024;
}

/* Domains that are introduced and do nothing. */
static void
run_domains(struct peer *peer, unsigned long count)
{
    unsigned long memory, i;
    char payload[64];

    memory = 0;
    /* The first few make tables and pools that the others share. */
    for (i = 1; i <= count + 8; i++) {
        size_t length = sprintf(payload, "%lu", i) + 1;

        if (i == 9)
            memory = daemon_memory();
        length += sprintf(payload + length, "%lu", i + 1000) + 1;
        length += sprintf(payload + length, "1") + 1;
        put(peer, XS_INTRODUCE, 0, payload, length);
        push(peer);
        reply(peer);
    }
    printf("idle-domain %lu %.0f 0\n", count, (double)(daemon_memory() - memory) / count);
}

/*
 * The floor: a server that sends back what it gets, with one blocking call for each direction.  No store that
 * is asked through a socket can be faster, and one that waits for several clients has a call more to make.
 */
static int
run_echo(const char *path)
{
    static char data[1 << 17];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    int fd;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 1))
        fail(path);
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        ssize_t got;

        while ((got = recv(fd, data, sizeof(data), 0)) > 0) {
            if (send(fd, data, got, MSG_NOSIGNAL) != got)
                break;
        }
        close(fd);
    }
    return 1;
}

int
main(int argc, char **argv)
{
    const char *only = NULL;
    unsigned long memory, before;
    struct peer *peer;
    int i;

    if (argc == 3 && !strcmp(argv[1], "echo"))
        return run_echo(argv[2]);
    if (argc < 5) {
        fprintf(stderr, "Usage: store-bench SOCKET DAEMON-PID SECONDS-PER-CASE|-CASE|domains NUMBER...\n");
        return 2;
    }
    socket_path = argv[1];
    daemon_pid = atoi(argv[2]);
    peer = peer_new();
    if (!strcmp(argv[3], "domains")) {
        run_domains(peer, strtoul(argv[4], NULL, 10));
        return 0;
    }
    i = 4;
    if (argv[3][0] == '-') {
        only = argv[3] + 1;
        rounds = strtoul(argv[i++], NULL, 10);
    } else {
        seconds = atof(argv[3]);
        only = strchr(argv[3], ':') ? strchr(argv[3], ':') + 1 : NULL;
    }
    for (; i < argc; i++) {
        before = nodes;
        memory = daemon_memory();
        nodes = strtoul(argv[i], NULL, 10);
        make_nodes(peer);
        if (!only && nodes - before > 50000)
            printf("memory %lu %.0f 0\n", nodes, (double)(daemon_memory() - memory) / (nodes - before));
        run_case(only, peer);
    }
    return 0;
}
