/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The daemon around the store: connections, turns, recovery.
 */
#pragma once

#include <sys/epoll.h>

#include "journal.h"
#include "store.h"
#include "xen.h"

struct server;

/* Something with a descriptor; epoll hands back its address. */
struct watched {
    void (*ready)(struct server *server, struct watched *watched, uint32_t events);
    int fd;
    uint32_t events;
};

struct connection {
    struct watched watched; /* of a socket */
    struct client *client;
    struct link in_ready; /* on server->ready while it may have requests to process */
    /* of a ring */
    struct xenstore_domain_interface *ring;
    uint32_t port;
    bool error_told;
};

struct listener {
    struct watched watched;
    struct listener *next;
    char *path; /* NULL if systemd made it */
};

struct server {
    struct store store;
    struct journal journal;
    struct xen *xen;
    struct watched xen_watched;
    struct map ports; /* connection by port */
    struct listener *listeners;
    struct link ready;
    int epoll;
    struct epoll_event events[64];
    int event_count;
    bool fd_store; /* connections are given to the service manager to keep */
    /* live update */
    const char *program; /* what runs now, by its path */
    char **argv;
    char *update_binary;
    bool update_wanted;
    bool snapshot_wanted;
    void (*log)(const char *text);
};

/* Requests of one connection in one turn, so that others wait for no more than these. */
#define TURN_REQUESTS 16

int server_init(struct server *server, const char *state_directory, struct xen *xen,
                void (*log)(const char *text));
void server_fini(struct server *server);
/* Listens on a path, or on a socket that somebody else bound. */
int server_listen(struct server *server, const char *path);
int server_listen_fd(struct server *server, int fd);
/* After all kept descriptors are adopted: the clients that came back without one are closed. */
bool server_adopt(struct server *server, uint32_t client_id, int fd);
void server_start(struct server *server, uint64_t now);

/* Waits at most @timeout_ms for something to do.  Afterwards server_turn() does it. */
int server_wait(struct server *server, int timeout_ms);
/* One turn: what arrived is read, each ready connection gets its share, replies go out. */
void server_turn(struct server *server);
bool server_busy(const struct server *server);
/* Once a few seconds. */
void server_tick(struct server *server, uint64_t now);

/* Registers a descriptor with the loop. */
int server_watch(struct server *server, struct watched *watched, uint32_t events);
void server_log(struct server *server, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* connection.c */
struct connection *connection_new(struct client *client);
void connection_ready(struct server *server, struct connection *connection);
/* Takes a socket for a client. */
int connection_attach_socket(struct server *server, struct client *client, int fd);
void connection_close_socket(struct server *server, struct connection *connection);
/* Maps and binds the ring of an introduced domain; the client's state is kept. */
int connection_attach_ring(struct server *server, struct client *client);
void connection_detach_ring(struct server *server, struct connection *connection);
void connection_reset_ring(struct server *server, struct connection *connection);
/* Takes what a ring offers and gives it what waits. */
void connection_service_ring(struct server *server, struct connection *connection);
/* Sends what is queued for the client, as much as goes. */
void connection_flush(struct server *server, struct client *client);
