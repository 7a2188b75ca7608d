/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the loop's work, the store with its journal, the listeners, and the store's view of the world
 * (store_ops).  Single-threaded; nothing here blocks except server_wait().
 *
 * A turn: what epoll reported is read in, each connection with whole requests gets TURN_REQUESTS of
 * them done, the replies go out, and who is not done waits behind the others for the next turn.
 */
#include "server.h"
#include "request.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <xen/io/xs_wire.h>

#include "control-daemon.h"

void
server_log(struct server *server, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    server->log(text);
}

int
server_watch(struct server *server, struct watched *watched, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watched};

    watched->events = events;
    return epoll_ctl(server->epoll, EPOLL_CTL_ADD, watched->fd, &event) ? -errno : 0;
}

/* The store's view of the world. */

static int
op_introduce(void *data, struct domain *domain)
{
    struct server *server = data;
    int rc;

    if (!server->xen)
        return -ENODEV;
    if (domain->id == 0 && !domain->introduced)
        domain->ring->in_base = UINT32_MAX; /* see connection_reset_ring() */
    rc = connection_attach_ring(server, domain->ring);
    if (rc)
        server_log(server, "Cannot connect to domain %u: %s.", domain->id, strerror(-rc));
    return rc;
}

static void
op_release(void *data, struct domain *domain)
{
    connection_detach_ring(data, domain->ring->transport);
}

static void
op_reset(void *data, struct client *client)
{
    if (!client->socket && client->transport)
        connection_reset_ring(data, client->transport);
}

static void
op_log(void *data, struct client *client, uint32_t tx_id, const char *what, const char *path, int rc)
{
    server_log(data, "access: domain %u %s %u tx %u: %s %s%s%s", client->domain->id,
               client->socket ? "socket" : "ring", client->id, tx_id, what, path, rc ? ": " : "",
               rc ? wire_error(-rc) : "");
}

static const struct store_ops server_store_ops = {
    .introduce = op_introduce,
    .release = op_release,
    .reset = op_reset,
    .control = control_daemon,
    .log = op_log,
};

/* Listening. */

static void
listener_ready(struct server *server, struct watched *watched, uint32_t events)
{
    struct client *client;
    char text[64];
    int fd;

    (void)events;
    fd = accept4(watched->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    client = client_open(&server->store, store_find_domain(&server->store, 0), true, CLIENT_NONE);
    if (!client || connection_attach_socket(server, client, fd)) {
        if (client)
            client_close(&server->store, client);
        close(fd);
        return;
    }
    journal_append(&server->journal, JOURNAL_OPEN, client->id, NULL, 0);
    if (server->fd_store) {
        snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=client-%u", client->id);
        sd_pid_notify_with_fds(0, 0, text, &fd, 1);
    }
}

int
server_listen_fd(struct server *server, int fd)
{
    struct listener *listener = mem_zalloc(sizeof(*listener));
    int rc;

    if (!listener)
        return -ENOMEM;
    listener->watched.fd = fd;
    listener->watched.ready = listener_ready;
    rc = server_watch(server, &listener->watched, EPOLLIN);
    if (rc) {
        mem_free(listener);
        return rc;
    }
    listener->next = server->listeners;
    server->listeners = listener;
    return 0;
}

int
server_listen(struct server *server, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd, rc;

    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    /* The state's lock proved that no other daemon runs on this directory. */
    unlink(path);
    rc = bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, SOMAXCONN) ? -errno : 0;
    if (!rc)
        rc = server_listen_fd(server, fd);
    if (rc) {
        close(fd);
        return rc;
    }
    server->listeners->path = mem_strndup(path, strlen(path));
    if (server->fd_store)
        sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDNAME=listener", &fd, 1);
    return 0;
}

/* Domains. */

#define STATES 128

/* Compares what we know with what the hypervisor knows, for each domain we know. */
static void
check_domains(struct server *server)
{
    uint16_t ids[STATES], known[STATES];
    enum xen_domain_state states[STATES];
    struct store *store = &server->store;
    uint32_t first = 0;
    int count, i;

    do {
        uint32_t limit, known_count = 0;

        count = server->xen->ops->domain_states(server->xen, first, STATES, ids, states);
        if (count < 0) {
            server_log(server, "Cannot list the domains: %s.", strerror(-count));
            return;
        }
        /* Everything known between @first and the last one listed is either listed or gone. */
        limit = count == STATES ? ids[count - 1] + 1u : UINT16_MAX + 1u;
        map_for_each(&store->domains, entry)
        {
            const struct domain *domain = entry->value;

            if (domain->id && domain->id >= first && domain->id < limit && known_count < STATES)
                known[known_count++] = domain->id;
        }
        while (known_count) {
            uint64_t id = known[--known_count];
            enum xen_domain_state state = XEN_DOMAIN_GONE;

            for (i = 0; i < count; i++) {
                if (ids[i] == id)
                    state = states[i];
            }
            if (state == XEN_DOMAIN_GONE) {
                journal_append(&server->journal, JOURNAL_GONE, 0, &id, sizeof(id));
                store_domain_gone(store, id);
            } else if (state == XEN_DOMAIN_SHUT_DOWN && !store_find_domain(store, id)->shutdown) {
                journal_append(&server->journal, JOURNAL_SHUTDOWN, 0, &id, sizeof(id));
                store_domain_shutdown(store, id);
            }
        }
        first = limit;
    } while (count == STATES);
}

static void
xen_ready(struct server *server, struct watched *watched, uint32_t events)
{
    uint32_t port;
    int i;

    (void)watched;
    (void)events;
    /* A bound, or a domain that signals without end keeps us here; the descriptor stays readable. */
    for (i = 0; i < 64 && (port = server->xen->ops->next_event(server->xen)); i++) {
        struct connection *connection;

        if (port == server->xen->domain_port) {
            check_domains(server);
            continue;
        }
        connection = map_find(&server->ports, &port, sizeof(port));
        if (connection)
            connection_service_ring(server, connection);
    }
}

/* The initial domain is there before any request. */
static void
introduce_initial(struct server *server)
{
    struct journal_introduce record = {0};
    struct domain *domain;
    int port, rc;

    port = server->xen->ops->initial_port(server->xen);
    rc = port > 0 ? store_introduce(&server->store, 0, 0, port) : port;
    if (rc) {
        server_log(server, "Cannot connect to the initial domain's kernel: %s.", strerror(-rc));
        return;
    }
    domain = store_find_domain(&server->store, 0);
    record.port = port;
    record.in_base = domain->ring->in_base;
    record.out_base = domain->ring->out_base;
    journal_append(&server->journal, JOURNAL_INTRODUCE, 0, &record, sizeof(record));
    connection_service_ring(server, domain->ring->transport);
}

int
server_init(struct server *server, const char *state_directory, struct xen *xen,
            void (*log)(const char *text))
{
    int rc;

    memset(server, 0, sizeof(*server));
    link_init(&server->ready);
    server->log = log;
    server->xen = xen;
    server->journal = (struct journal){.directory = -1, .lock = -1, .fd = -1, .failed = true};
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (server->epoll < 0)
        return -errno;
    rc = state_directory ? journal_open(&server->journal, state_directory) : 0;
    if (!rc)
        rc = journal_recover(&server->journal, &server->store, log);
    if (rc) {
        journal_close(&server->journal);
        close(server->epoll);
        return rc;
    }
    server->store.ops = &server_store_ops;
    server->store.ops_data = server;
    if (!xen)
        return 0;
    server->xen_watched = (struct watched){.ready = xen_ready, .fd = xen->fd};
    return server_watch(server, &server->xen_watched, EPOLLIN);
}

bool
server_adopt(struct server *server, uint32_t client_id, int fd)
{
    struct client *client = store_client(&server->store, client_id);

    return client && client->socket && !client->transport && !connection_attach_socket(server, client, fd);
}

/* Takes up the rings of a store that was brought back, and those that could not be had then. */
static void
attach_rings(struct server *server)
{
    list_for_each(&server->store.client_list, item) {
        struct client *client = link_entry(item, struct client, in_store);
        int rc;

        if (client->socket || client->transport || !server->xen)
            continue;
        if (client->domain->id == 0) {
            rc = server->xen->ops->initial_port(server->xen);
            if (rc > 0)
                client->domain->port = rc;
        }
        rc = connection_attach_ring(server, client);
        if (rc) {
            server_log(server, "Cannot connect to domain %u again: %s.", client->domain->id, strerror(-rc));
            continue;
        }
        connection_ready(server, client->transport);
        client_mark_dirty(&server->store, client);
    }
}

void
server_start(struct server *server, uint64_t now)
{
    int rc;

    store_tick(&server->store, now);
    attach_rings(server);
    link_for_each_safe(&server->store.client_list, item)
    {
        struct client *client = link_entry(item, struct client, in_store);

        if (client->socket && !client->transport)
            client_close(&server->store, client);
    }
    rc = journal_checkpoint(&server->journal, &server->store);
    if (rc)
        server_log(server, "Cannot write the state: %s.  A kill would lose it.", strerror(-rc));
    if (!server->xen)
        return;
    if (!store_find_domain(&server->store, 0)->introduced)
        introduce_initial(server);
    check_domains(server);
}

void
server_fini(struct server *server)
{
    while (server->listeners) {
        struct listener *listener = server->listeners;

        server->listeners = listener->next;
        close(listener->watched.fd);
        mem_free(listener->path);
        mem_free(listener);
    }
    list_for_each(&server->store.client_list, item) {
        struct client *client = link_entry(item, struct client, in_store);
        struct connection *connection = client->transport;

        if (connection && client->socket) {
            close(connection->watched.fd);
            link_remove(&connection->in_ready);
            mem_free(connection);
            client->transport = NULL;
        }
    }
    store_fini(&server->store);
    map_fini(&server->ports);
    journal_close(&server->journal);
    mem_free(server->update_binary);
    close(server->epoll);
}

int
server_wait(struct server *server, int timeout_ms)
{
    int count = epoll_wait(server->epoll, server->events, 64, timeout_ms);

    server->event_count = count > 0 ? count : 0;
    return count;
}

bool
server_busy(const struct server *server)
{
    return !link_empty(&server->ready) || !link_empty(&server->store.dirty);
}

/* A connection's share of a turn. */
static void
take_turn(struct server *server, struct connection *connection)
{
    struct store *store = &server->store;
    struct client *client = connection->client;
    int i;

    for (i = 0; i < TURN_REQUESTS; i++) {
        if (!client_ready(store, client))
            return;
        if (request_process(store, client)) {
            /* Without memory for the answer; the others go first, then it is tried again. */
            connection_ready(server, connection);
            return;
        }
        journal_append_step(&server->journal, store, client->id);
        journal_settle(&server->journal, store);
    }
    if (client_ready(store, client))
        connection_ready(server, connection);
}

void
server_turn(struct server *server)
{
    struct store *store = &server->store;
    struct link round;
    int i, rc;

    for (i = 0; i < server->event_count; i++) {
        struct watched *watched = server->events[i].data.ptr;

        if (watched)
            watched->ready(server, watched, server->events[i].events);
    }
    server->event_count = 0;
    /* Those who become ready meanwhile wait for the next round. */
    link_init(&round);
    while (!link_empty(&server->ready)) {
        struct link *item = server->ready.next;

        link_remove(item);
        link_append(&round, item);
    }
    while (!link_empty(&round)) {
        struct link *item = round.next;

        link_remove(item);
        take_turn(server, link_entry(item, struct connection, in_ready));
    }
    journal_settle(&server->journal, store);
    link_init(&round);
    while (!link_empty(&store->dirty)) {
        struct link *item = store->dirty.next;

        link_remove(item);
        link_append(&round, item);
    }
    while (!link_empty(&round)) {
        struct link *item = round.next;

        link_remove(item);
        connection_flush(server, link_entry(item, struct client, in_dirty));
    }
    if (journal_wants_checkpoint(&server->journal)) {
        rc = journal_checkpoint(&server->journal, store);
        if (rc)
            server_log(server, "Cannot write the state anew: %s.  Its journal grows.", strerror(-rc));
    }
    control_daemon_update(server);
}

void
server_tick(struct server *server, uint64_t now)
{
    int rc;

    journal_append(&server->journal, JOURNAL_TICK, 0, &now, sizeof(now));
    store_tick(&server->store, now);
    if (server->journal.directory >= 0 && server->journal.failed) {
        rc = journal_checkpoint(&server->journal, &server->store);
        if (rc)
            server_log(server, "Cannot write the state: %s.  A kill would lose it.", strerror(-rc));
    }
    if (server->xen) {
        check_domains(server);
        attach_rings(server);
    }
}
