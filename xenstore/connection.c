/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the two transports, a stream socket and the shared ring of a domain, below one interface.
 *
 * The page of a ring belongs to the domain, which may write anything at any time.  Our own two indices are
 * never read back from it: they follow from how many bytes the client received and was sent.  Its two are
 * read once for each use and checked.
 *
 * The order that makes a kill harmless.  Requests: copy out of the ring, journal, then move the consumer:
 * killed before the journal they are read again, after it they are not.  Replies: copy into the ring, move
 * the producer, then journal: killed in between, the producer in the ring tells how many bytes went.  On a
 * socket the kernel tells, through struct journal_transfer.
 */
#include "server.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <xen/io/xs_wire.h>

_Static_assert(offsetof(struct xenstore_domain_interface, server_features) == 2064, "xenstore-ring.txt");
_Static_assert(offsetof(struct xenstore_domain_interface, connection) == 2068, "xenstore-ring.txt");
_Static_assert(offsetof(struct xenstore_domain_interface, error) == 2072, "xenstore-ring.txt");

#define RING_IN_BYTES   (2 * MESSAGE_BYTES)
#define SOCKET_IN_BYTES (4 * JOURNAL_READ_BYTES)

struct connection *
connection_new(struct client *client)
{
    struct connection *connection = mem_zalloc(sizeof(*connection));

    if (!connection)
        return NULL;
    connection->client = client;
    connection->watched.fd = -1;
    link_init(&connection->in_ready);
    client->transport = connection;
    return connection;
}

void
connection_ready(struct server *server, struct connection *connection)
{
    if (link_empty(&connection->in_ready))
        link_append(&server->ready, &connection->in_ready);
}

static void
journal_count(struct server *server, enum journal_type type, struct client *client, uint64_t count)
{
    journal_append(&server->journal, type, client->id, &count, sizeof(count));
    journal_settle(&server->journal, &server->store);
}

static void
socket_want(struct server *server, struct connection *connection, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = &connection->watched};

    if (connection->watched.events == events)
        return;
    connection->watched.events = events;
    epoll_ctl(server->epoll, EPOLL_CTL_MOD, connection->watched.fd, &event);
}

/* What to wait for: requests unless enough wait already, and room for replies if some wait. */
static void
socket_rearm(struct server *server, struct connection *connection)
{
    uint32_t events = 0;

    if (connection->client->in.length < SOCKET_IN_BYTES)
        events |= EPOLLIN;
    if (connection->client->out.length)
        events |= EPOLLOUT;
    socket_want(server, connection, events);
}

static void
socket_read(struct server *server, struct connection *connection)
{
    struct client *client = connection->client;
    struct iovec part = {.iov_len = JOURNAL_READ_BYTES};
    struct journal_transfer *transfer;
    size_t got;

    /* Without room the bytes stay with the kernel, and epoll tells of them again. */
    if (buf_reserve(&client->in, JOURNAL_READ_BYTES))
        return;
    transfer = journal_begin_transfer(&server->journal, JOURNAL_INPUT, client->id, &part);
    part.iov_base = transfer->data;
    if (recvmmsg(connection->watched.fd, &transfer->message, 1, MSG_DONTWAIT, NULL) != 1) {
        if (errno != EAGAIN && errno != EINTR)
            connection_close_socket(server, connection);
        return;
    }
    got = transfer->message.msg_len;
    if (!got || client_received(client, transfer->data, got)) {
        connection_close_socket(server, connection);
        return;
    }
    journal_append(&server->journal, JOURNAL_INPUT, client->id, transfer->data, got);
    connection_ready(server, connection);
    if (client->in.length >= SOCKET_IN_BYTES)
        socket_rearm(server, connection);
}

static void
socket_ready(struct server *server, struct watched *watched, uint32_t events)
{
    struct connection *connection = link_entry(watched, struct connection, watched);

    if (events & EPOLLOUT)
        client_mark_dirty(&server->store, connection->client);
    if (events & EPOLLIN)
        socket_read(server, connection);
    else if (events & (EPOLLHUP | EPOLLERR))
        connection_close_socket(server, connection);
}

int
connection_attach_socket(struct server *server, struct client *client, int fd)
{
    struct connection *connection = connection_new(client);
    int rc;

    if (!connection)
        return -ENOMEM;
    connection->watched.fd = fd;
    connection->watched.ready = socket_ready;
    rc = server_watch(server, &connection->watched, EPOLLIN);
    if (rc) {
        client->transport = NULL;
        mem_free(connection);
        return rc;
    }
    /* After a recovery there may be a request that was read and not processed. */
    connection_ready(server, connection);
    return 0;
}

void
connection_close_socket(struct server *server, struct connection *connection)
{
    struct client *client = connection->client;
    char text[64];
    int i;

    /* No event of this turn may reach a connection that is gone. */
    for (i = 0; i < server->event_count; i++) {
        if (server->events[i].data.ptr == &connection->watched)
            server->events[i].data.ptr = NULL;
    }
    if (server->fd_store) {
        snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=client-%u", client->id);
        sd_notify(0, text);
    }
    /* A copy in the service manager's hands would keep the descriptor in the set. */
    epoll_ctl(server->epoll, EPOLL_CTL_DEL, connection->watched.fd, NULL);
    close(connection->watched.fd);
    link_remove(&connection->in_ready);
    mem_free(connection);
    client->transport = NULL;
    journal_append(&server->journal, JOURNAL_CLOSE, client->id, NULL, 0);
    client_close(&server->store, client);
}

static void
socket_flush(struct server *server, struct connection *connection)
{
    struct client *client = connection->client;

    while (client->out.length) {
        struct iovec part = {buf_head(&client->out), client->out.length};
        struct journal_transfer *transfer =
            journal_begin_transfer(&server->journal, JOURNAL_SENT, client->id, &part);

        if (sendmmsg(connection->watched.fd, &transfer->message, 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1) {
            if (errno == EINTR)
                continue;
            if (errno == EAGAIN)
                break;
            connection_close_socket(server, connection);
            return;
        }
        client_sent(&server->store, client, transfer->message.msg_len);
        journal_count(server, JOURNAL_SENT, client, transfer->message.msg_len);
    }
    if (client->broken && !client->out.length) {
        connection_close_socket(server, connection);
        return;
    }
    socket_rearm(server, connection);
    if (client_ready(&server->store, client))
        connection_ready(server, connection);
}

static uint32_t
ring_in_index(const struct client *client)
{
    return client->in_base + (uint32_t)client->in_total;
}

static uint32_t
ring_out_index(const struct client *client)
{
    return client->out_base + (uint32_t)client->out_total;
}

static uint32_t
read_once(const uint32_t *shared)
{
    return *(const volatile uint32_t *)shared;
}

static void
write_once(uint32_t *shared, uint32_t value)
{
    *(volatile uint32_t *)shared = value;
}

static void
ring_notify(struct server *server, struct connection *connection)
{
    if (connection->port)
        server->xen->ops->notify(server->xen, connection->port);
}

/* Copies between a ring and a buffer, from the index on; the length is at most the ring's. */
static void
ring_copy_out(const char *ring, uint32_t index, char *data, uint32_t length)
{
    uint32_t at = MASK_XENSTORE_IDX(index);
    uint32_t first = length < XENSTORE_RING_SIZE - at ? length : XENSTORE_RING_SIZE - at;

    memcpy(data, ring + at, first);
    memcpy(data + first, ring, length - first);
}

static void
ring_copy_in(char *ring, uint32_t index, const char *data, uint32_t length)
{
    uint32_t at = MASK_XENSTORE_IDX(index);
    uint32_t first = length < XENSTORE_RING_SIZE - at ? length : XENSTORE_RING_SIZE - at;

    memcpy(ring + at, data, first);
    memcpy(ring, data + first, length - first);
}

static void
ring_break(struct server *server, struct connection *connection, uint8_t error)
{
    connection->client->broken = error;
    if (connection->error_told)
        return;
    connection->error_told = true;
    server_log(server, "The ring of domain %u is no longer served: error %u.", connection->client->domain->id,
               error);
    write_once(&connection->ring->error, error);
    ring_notify(server, connection);
}

/*
 * A domain signals only what it must: new requests when we had taken all before, and room for replies
 * when there was none.  So each of the next two goes on until it has seen, after its own last move, a ring
 * with nothing to take, or with no room.  They return whether anything moved.
 */
static bool
ring_read(struct server *server, struct connection *connection)
{
    struct xenstore_domain_interface *ring = connection->ring;
    struct client *client = connection->client;
    char data[XENSTORE_RING_SIZE];
    bool moved = false;

    /* What is left for lack of room here is taken when replies have gone out. */
    while (!client->broken && client->in.length < RING_IN_BYTES) {
        uint32_t index = ring_in_index(client);
        uint32_t length = read_once(&ring->req_prod) - index;

        if (length > XENSTORE_RING_SIZE)
            ring_break(server, connection, XENSTORE_ERROR_RINGIDX);
        if (!length || length > XENSTORE_RING_SIZE)
            break;
        atomic_thread_fence(memory_order_acquire);
        ring_copy_out(ring->req, index, data, length);
        if (client_received(client, data, length)) {
            client_mark_dirty(&server->store, client);
            break;
        }
        journal_append(&server->journal, JOURNAL_INPUT, client->id, data, length);
        atomic_thread_fence(memory_order_seq_cst);
        write_once(&ring->req_cons, index + length);
        atomic_thread_fence(memory_order_seq_cst);
        connection_ready(server, connection);
        moved = true;
    }
    return moved;
}

static bool
ring_write(struct server *server, struct connection *connection)
{
    struct xenstore_domain_interface *ring = connection->ring;
    struct client *client = connection->client;
    bool moved = false;

    while (client->out.length) {
        uint32_t index = ring_out_index(client);
        uint32_t used = index - read_once(&ring->rsp_cons);
        uint32_t length = XENSTORE_RING_SIZE - used;

        if (used > XENSTORE_RING_SIZE)
            ring_break(server, connection, XENSTORE_ERROR_RINGIDX);
        if (used >= XENSTORE_RING_SIZE)
            break;
        if (length > client->out.length)
            length = client->out.length;
        atomic_thread_fence(memory_order_seq_cst);
        ring_copy_in(ring->rsp, index, buf_head(&client->out), length);
        atomic_thread_fence(memory_order_seq_cst);
        write_once(&ring->rsp_prod, index + length);
        atomic_thread_fence(memory_order_seq_cst);
        client_sent(&server->store, client, length);
        journal_count(server, JOURNAL_SENT, client, length);
        moved = true;
    }
    return moved;
}

void
connection_reset_ring(struct server *server, struct connection *connection)
{
    struct xenstore_domain_interface *ring = connection->ring;
    struct client *client = connection->client;

    connection->error_told = false;
    link_remove(&connection->in_ready);
    if (client->domain->id == 0 && client->in_base == UINT32_MAX) {
        /* The kernel may have written requests before we came: take up its indices. */
        client->in_base = read_once(&ring->req_cons);
        client->out_base = read_once(&ring->rsp_prod);
    } else {
        client->in_base = client->out_base = 0;
        write_once(&ring->req_cons, 0);
        write_once(&ring->req_prod, 0);
        write_once(&ring->rsp_cons, 0);
        write_once(&ring->rsp_prod, 0);
    }
    write_once(&ring->server_features, client->domain->features);
    write_once(&ring->error, XENSTORE_ERROR_NONE);
    atomic_thread_fence(memory_order_seq_cst);
    if (read_once(&ring->connection) == XENSTORE_RECONNECT)
        write_once(&ring->connection, XENSTORE_CONNECTED);
    ring_notify(server, connection);
}

void
connection_service_ring(struct server *server, struct connection *connection)
{
    struct client *client = connection->client;
    bool moved;

    if (!connection->ring)
        return;
    if (read_once(&connection->ring->connection) == XENSTORE_RECONNECT &&
        (client->domain->features & XENSTORE_SERVER_FEATURE_RECONNECTION)) {
        journal_append(&server->journal, JOURNAL_RESET, client->id, NULL, 0);
        client_reset(&server->store, client);
        return;
    }
    moved = ring_read(server, connection);
    moved |= ring_write(server, connection);
    if (client->broken)
        ring_break(server, connection, client->broken);
    else if (client_ready(&server->store, client))
        connection_ready(server, connection);
    if (moved)
        ring_notify(server, connection);
}

int
connection_attach_ring(struct server *server, struct client *client)
{
    struct domain *domain = client->domain;
    struct connection *connection = client->transport;
    uint32_t sent;
    int port, rc = 0;

    if (!connection) {
        connection = connection_new(client);
        if (!connection)
            return -ENOMEM;
        rc = server->xen->ops->map(server->xen, domain->id, domain->gfn, &connection->ring);
        if (rc) {
            client->transport = NULL;
            mem_free(connection);
            return rc;
        }
    }
    /* A second introduction comes with another port. */
    if (connection->port) {
        map_remove(&server->ports, &connection->port, sizeof(connection->port));
        server->xen->ops->unbind(server->xen, connection->port);
        connection->port = 0;
    }
    port = server->xen->ops->bind(server->xen, domain->id, domain->port);
    if (port > 0) {
        connection->port = port;
        rc = map_insert(&server->ports, &connection->port, sizeof(connection->port), connection);
    } else {
        rc = port ? port : -EINVAL;
    }
    if (rc && !domain->introduced) {
        connection_detach_ring(server, connection);
        return rc;
    }
    if (!domain->introduced)
        return 0;
    /* Taken up again: bytes that went into the ring and were not noted, and an index that did not move. */
    sent = read_once(&connection->ring->rsp_prod) - ring_out_index(client);
    if (sent && sent <= client->out.length) {
        client_sent(&server->store, client, sent);
        journal_count(server, JOURNAL_SENT, client, sent);
    }
    write_once(&connection->ring->req_cons, ring_in_index(client));
    write_once(&connection->ring->rsp_prod, ring_out_index(client));
    ring_notify(server, connection);
    return 0;
}

void
connection_detach_ring(struct server *server, struct connection *connection)
{
    if (connection->port) {
        map_remove(&server->ports, &connection->port, sizeof(connection->port));
        server->xen->ops->unbind(server->xen, connection->port);
    }
    if (connection->ring)
        server->xen->ops->unmap(server->xen, connection->client->domain->id, connection->ring);
    link_remove(&connection->in_ready);
    connection->client->transport = NULL;
    mem_free(connection);
}

void
connection_flush(struct server *server, struct client *client)
{
    struct connection *connection = client->transport;

    if (!connection)
        return;
    if (client->socket)
        socket_flush(server, connection);
    else
        connection_service_ring(server, connection);
}
