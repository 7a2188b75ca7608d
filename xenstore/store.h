/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The whole store as one value: tree, domains, clients, watches.  It does no I/O and reads no clock:
 * what it becomes depends only on the calls made to it, in their order.  That is what lets the journal
 * bring back a store by making the same calls again.
 */
#pragma once

#include "mem.h"
#include "perms.h"
#include "quota.h"
#include "tree.h"

#define CLIENT_NONE 0

struct client;
struct store;

/* Everything known about a domain, introduced or not; it exists for as long as something refers to it. */
struct domain {
    uint16_t id;
    bool introduced;
    bool shutdown; /* @releaseDomain was sent for its shutdown */
    bool own_quota;
    bool own_quota_loaded; /* while a state is read: what own_quota becomes */
    uint16_t target;
    uint32_t port; /* the domain's event channel, from INTRODUCE */
    uint64_t gfn;
    uint32_t features;
    struct client *ring;
    struct quota quota; /* used if @own_quota */
    /* what it is charged with */
    int64_t nodes;
    int64_t node_bytes;
    uint32_t watches;
    uint32_t transactions;
    int64_t other_bytes; /* watches, transactions, messages */
    /* counters, for people */
    uint64_t requests;
    uint64_t errors;
    uint64_t events;
    uint64_t conflicts;
    bool log;
};

/* One conversation: a socket connection, or the ring of a domain. */
struct client {
    uint32_t id;
    bool socket;
    struct domain *domain;
    struct link in_store;
    struct link in_dirty; /* on store->dirty while there may be something to send */
    struct link watches;
    struct link transactions;
    struct buf in;
    struct buf out;
    uint64_t in_total;  /* bytes ever received */
    uint64_t out_total; /* bytes ever sent */
    struct map pending; /* events waiting behind a long queue, to tell the same event again */
    struct link missed; /* watches with an event that had no room */
    uint32_t features;
    uint8_t broken;    /* XENSTORE_ERROR_*: no more requests are taken */
    uint32_t in_base;  /* of a ring: its consumer index of requests when @in_total was 0 */
    uint32_t out_base; /* and its producer index of replies when @out_total was 0 */
    void *transport;
};

/* The rest of the world, as the store calls it.  During a replay there is none. */
struct store_ops {
    /* The domain's ring is needed: map it and bind its port. */
    int (*introduce)(void *data, struct domain *domain);
    /* The ring is no longer used; the client is about to go. */
    void (*release)(void *data, struct domain *domain);
    /* The conversation on a ring begins anew: empty both queues. */
    void (*reset)(void *data, struct client *client);
    /* A CONTROL command that concerns the daemon; 0, or -errno, or -ENOSYS for one not known. */
    int (*control)(void *data, struct client *client, char **words, unsigned int count, struct buf *reply);
    void (*log)(void *data, struct client *client, uint32_t tx_id, const char *what, const char *path,
                int rc);
};

/*
 * What a request got from outside the store.  A replay puts here what came out the first time, so
 * that the same request has the same effect and the same answer.
 */
struct outcome {
    bool used;
    int rc;
    struct buf reply;
};

struct store {
    struct block *root;
    uint64_t gen;
    struct map domains; /* by id */
    struct map clients; /* by id */
    struct link client_list;
    struct link dirty;
    struct watch_node *watch_root;
    struct watch_node *special_root;
    struct perms *special_perms[2]; /* see store_special() */
    struct quota quota;
    uint32_t next_client;
    uint32_t next_transaction;
    uint64_t next_watch;
    uint32_t watch_count;
    uint64_t now; /* seconds, as last told by store_tick() */
    bool log_all;
    const struct store_ops *ops;
    void *ops_data;
    struct outcome outcome; /* of the request processed last */
    bool replaying;
    uint64_t requests, commits, conflicts, events, merged_events;
};

int store_init(struct store *store);
void store_fini(struct store *store);

/* Index of a special event's permissions, or -1: "@introduceDomain" and "@releaseDomain[/domid]". */
int store_special(const char *path);

/* Finds a domain, or makes what is known of one; NULL for lack of memory. */
struct domain *store_domain(struct store *store, uint16_t domid);
struct domain *store_find_domain(struct store *store, uint16_t domid);
/* Forgets an uninteresting domain: not introduced, owning nothing. */
void store_domain_done(struct store *store, struct domain *domain);
const struct quota *store_quota(struct store *store, const struct domain *domain);
bool domain_privileged(const struct domain *domain);
int64_t domain_memory(const struct domain *domain);
/* Makes sure that every owner in @ledger is known, so that it can be booked. */
int store_know_owners(struct store *store, const struct ledger *ledger);
/* -ENOSPC or -ENOMEM if @ledger (and what @pending would add) takes a domain over its limits. */
int store_check_ledger(struct store *store, const struct ledger *ledger, const struct ledger *pending);
/* Books @ledger; every domain in it must be known. */
void store_apply_ledger(struct store *store, const struct ledger *ledger);

/* Events of domains.  They remove what the domain leaves behind and fire the special watches. */
int store_introduce(struct store *store, uint16_t domid, uint64_t gfn, uint32_t port);
void store_release(struct store *store, uint16_t domid);
void store_domain_shutdown(struct store *store, uint16_t domid);
void store_domain_gone(struct store *store, uint16_t domid);
/* Time has passed: transactions that are too old are abandoned. */
void store_tick(struct store *store, uint64_t now);

/* Clients. */
struct client *client_open(struct store *store, struct domain *domain, bool socket, uint32_t id);
void client_close(struct store *store, struct client *client);
struct client *store_client(struct store *store, uint32_t id);
/* Watches, transactions, half-read and half-written messages go; the conversation may begin anew. */
void client_reset(struct store *store, struct client *client);
struct credentials client_credentials(const struct client *client);
/* Bytes arrived or were taken by the other side. */
int client_received(struct client *client, const void *data, size_t length);
void client_sent(struct store *store, struct client *client, size_t length);
/* Forgets what depends on the way the client came here, as a dump and its load do. */
void client_settle(struct client *client);
/* Whether a whole request waits and its reply may be queued. */
bool client_ready(struct store *store, struct client *client);
void client_mark_dirty(struct store *store, struct client *client);
/* Queues one message: cannot fail after buf_reserve() of its size, else -ENOMEM and nothing is queued. */
int client_queue(struct store *store, struct client *client, uint32_t type, uint32_t req_id, uint32_t tx_id,
                 const void *data, size_t length);

/* The largest message in either direction. */
#define MESSAGE_BYTES (16 + 4096)
