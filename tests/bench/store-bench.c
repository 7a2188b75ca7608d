/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Asks a store daemon for as much as it can do through its socket, and prints one line for each case:
 *
 *     case nodes requests-per-second daemon-microseconds-per-request
 *
 * Usage: store-bench SOCKET DAEMON-PID SECONDS-PER-CASE NODES...
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
    return snprintf(path, NODE_PATH_MAX, "/bench/d%lu/e%lu/n%lu", index / PER_DIR / 100, index / PER_DIR % 100,
                    index % PER_DIR) +
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

static void
report(const char *name, unsigned long count, double time, double cpu)
{
    printf("%s %lu %.0f %.3f\n", name, nodes, count / time, cpu / count * 1e6);
    fflush(stdout);
}

static void
run_requests(const char *name, struct peer *peer, uint32_t type, size_t (*make)(char *payload), int depth)
{
    double start = now(), cpu = daemon_time(), time;
    unsigned long count = 0;
    char payload[128];
    int i;

    do {
        for (i = 0; i < depth; i++)
            put(peer, type, 0, payload, make(payload));
        push(peer);
        for (i = 0; i < depth; i++)
            reply(peer);
        count += depth;
        time = now() - start;
    } while (time < seconds);
    report(name, count, time, daemon_time() - cpu);
}

static void
run_transactions(struct peer *peer)
{
    double start = now(), cpu = daemon_time(), time;
    unsigned long count = 0;

    do {
        uint32_t tx;

        put(peer, XS_TRANSACTION_START, 0, "", 1);
        push(peer);
        tx = strtoul(reply(peer), NULL, 10);
        put(peer, XS_TRANSACTION_END, tx, "T", 2);
        push(peer);
        reply(peer);
        count++;
        time = now() - start;
    } while (time < seconds);
    report("tx-empty", count, time, daemon_time() - cpu);
}

/*
 * Four clients each build a device of ten nodes in a transaction, all at once, in directories of their own
 * below a common one.  Only commits count.
 */
static void
run_contended(void)
{
    struct peer *peers[4];
    uint32_t tx[4];
    double start = now(), cpu = daemon_time(), time;
    unsigned long count = 0, round = 0;
    char payload[128];
    int i, j;

    for (i = 0; i < 4; i++)
        peers[i] = peer_new();
    do {
        for (i = 0; i < 4; i++) {
            put(peers[i], XS_TRANSACTION_START, 0, "", 1);
            push(peers[i]);
        }
        for (i = 0; i < 4; i++)
            tx[i] = strtoul(reply(peers[i]), NULL, 10);
        for (j = 0; j < 10; j++) {
            for (i = 0; i < 4; i++) {
                size_t length = sprintf(payload, "/bench/contended/%d/k%d", i, j) + 1;

                length += sprintf(payload + length, "%lu", round);
                put(peers[i], XS_WRITE, tx[i], payload, length);
                push(peers[i]);
            }
            for (i = 0; i < 4; i++)
                reply(peers[i]);
        }
        for (i = 0; i < 4; i++) {
            put(peers[i], XS_TRANSACTION_END, tx[i], "T", 2);
            push(peers[i]);
        }
        for (i = 0; i < 4; i++)
            count += !strcmp(reply(peers[i]), "OK");
        round++;
        time = now() - start;
    } while (time < seconds);
    report("tx-contended", count, time, daemon_time() - cpu);
    for (i = 0; i < 4; i++) {
        close(peers[i]->fd);
        free(peers[i]);
    }
}

/* One event while ten thousand other watches are set elsewhere. */
static void
run_watches(struct peer *writer, int watches, const char *name)
{
    struct peer *others = peer_new(), *watcher = peer_new();
    double start, cpu, time;
    unsigned long count = 0;
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
    start = now();
    cpu = daemon_time();
    do {
        put(writer, XS_WRITE, 0, "/bench/target\0x", 15);
        push(writer);
        reply(writer);
        while (take(watcher, NULL).type != XS_WATCH_EVENT)
            ;
        count++;
        time = now() - start;
    } while (time < seconds);
    report(name, count, time, daemon_time() - cpu);
    close(others->fd);
    close(watcher->fd);
    free(others);
    free(watcher);
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

int
main(int argc, char **argv)
{
    unsigned long memory, before;
    struct peer *peer;
    int i;

    if (argc < 5) {
        fprintf(stderr, "Usage: store-bench SOCKET DAEMON-PID SECONDS-PER-CASE NODES...\n");
        return 2;
    }
    socket_path = argv[1];
    daemon_pid = atoi(argv[2]);
    seconds = atof(argv[3]);
    peer = peer_new();
    for (i = 4; i < argc; i++) {
        before = nodes;
        memory = daemon_memory();
        nodes = strtoul(argv[i], NULL, 10);
        make_nodes(peer);
        if (nodes - before > 50000)
            printf("memory %lu %.0f 0\n", nodes, (double)(daemon_memory() - memory) / (nodes - before));
        run_requests("sync-read", peer, XS_READ, payload_read, 1);
        run_requests("read", peer, XS_READ, payload_read, DEPTH);
        run_requests("write", peer, XS_WRITE, payload_write, DEPTH);
        run_requests("list", peer, XS_DIRECTORY, payload_list, DEPTH);
        run_transactions(peer);
        run_contended();
        run_watches(peer, 0, "watch");
        run_watches(peer, WATCHES, "watch-10000");
    }
    return 0;
}
