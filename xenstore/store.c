/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the store as a value, its clients, and the queues of bytes to and from each.
 *
 * Always true: a client is in the map and in the list from client_open() to client_close(); what is
 * queued for it is whole messages except for the part of the first one that was sent already.
 */
#include "store.h"
#include "transaction.h"
#include "watch.h"

#include <errno.h>
#include <string.h>

#include <xen/io/xs_wire.h>
#include <xen/xen.h>

_Static_assert(MESSAGE_BYTES == sizeof(struct xsd_sockmsg) + XENSTORE_PAYLOAD_MAX, "xs_wire.h");

#define PRIVILEGED_PENDING (1u << 20)

int
store_special(const char *path)
{
    static const char *const names[] = {"@introduceDomain", "@releaseDomain"};
    int i;

    for (i = 0; i < 2; i++) {
        size_t length = strlen(names[i]);

        if (!strncmp(path, names[i], length) && (!path[length] || path[length] == '/'))
            return i;
    }
    return -1;
}

int
store_init(struct store *store)
{
    struct perm nobody = {.domid = 0, .access = PERM_NONE};
    struct ledger ledger = {0};
    struct node root;
    int rc = -ENOMEM;

    memset(store, 0, sizeof(*store));
    link_init(&store->client_list);
    link_init(&store->dirty);
    store->quota = quota_defaults;
    store->gen = 1;
    store->next_client = 1;
    store->next_watch = 1;
    store->root = tree_new();
    store->watch_root = watch_node_new("", 0);
    store->special_root = watch_node_new("", 0);
    store->special_perms[0] = perms_new(&nobody, 1);
    store->special_perms[1] = perms_new(&nobody, 1);
    if (store->root && store->watch_root && store->special_root && store->special_perms[0] &&
        store->special_perms[1] && store_domain(store, 0)) {
        tree_root(store->root, &root);
        rc = tree_create(&store->root, "/tool/xenstored", NULL, 0, root.perms, ++store->gen);
    }
    if (!rc) {
        tree_root(store->root, &root);
        rc = tree_account(&root, 1, &ledger);
    }
    if (!rc)
        store_apply_ledger(store, &ledger);
    ledger_fini(&ledger);
    if (rc)
        store_fini(store);
    return rc;
}

void
store_fini(struct store *store)
{
    link_for_each_safe(&store->client_list, item)
        client_close(store, link_entry(item, struct client, in_store));
    map_for_each(&store->domains, entry) mem_free(entry->value);
    map_fini(&store->domains);
    map_fini(&store->clients);
    tree_put(store->root);
    if (store->watch_root)
        watch_node_free(store->watch_root);
    if (store->special_root)
        watch_node_free(store->special_root);
    perms_put(store->special_perms[0]);
    perms_put(store->special_perms[1]);
    buf_fini(&store->outcome.reply);
    memset(store, 0, sizeof(*store));
}

/* An idle client keeps no buffers. */
static void
client_trim(struct client *client)
{
    if (!client->in.length)
        buf_fini(&client->in);
    if (!client->out.length)
        buf_fini(&client->out);
}

void
store_tick(struct store *store, uint64_t now)
{
    store->now = now;
    list_for_each(&store->client_list, item) {
        struct client *client = link_entry(item, struct client, in_store);
        const struct quota *quota = store_quota(store, client->domain);

        client_trim(client);
        if (domain_privileged(client->domain))
            continue;
        list_for_each(&client->transactions, link) {
            struct transaction *transaction = link_entry(link, struct transaction, in_client);

            if (!transaction->abandoned &&
                quota_exceeded(quota, QUOTA_TRANSACTION_AGE, now - transaction->started))
                transaction_abandon(transaction);
        }
    }
}

struct client *
client_open(struct store *store, struct domain *domain, bool socket, uint32_t id)
{
    struct client *client = mem_zalloc(sizeof(*client));

    if (!client)
        return NULL;
    client->id = id ? id : store->next_client;
    client->socket = socket;
    client->domain = domain;
    link_init(&client->in_dirty);
    link_init(&client->watches);
    link_init(&client->transactions);
    link_init(&client->missed);
    if (map_insert(&store->clients, &client->id, sizeof(client->id), client)) {
        mem_free(client);
        return NULL;
    }
    if (client->id >= store->next_client)
        store->next_client = client->id + 1;
    link_append(&store->client_list, &client->in_store);
    if (!socket)
        domain->ring = client;
    return client;
}

struct client *
store_client(struct store *store, uint32_t id)
{
    return map_find(&store->clients, &id, sizeof(id));
}

static void
client_forget_pending(struct client *client)
{
    map_for_each(&client->pending, entry) mem_free(entry->value);
    map_fini(&client->pending);
}

/* The snapshot of a client has no notes on waiting events, so neither has who goes on after it. */
void
client_settle(struct client *client)
{
    client_forget_pending(client);
}

static void
client_empty(struct store *store, struct client *client)
{
    watch_remove_all(store, client);
    transaction_remove_all(store, client);
    client_forget_pending(client);
    buf_fini(&client->in);
    buf_fini(&client->out);
}

void
client_close(struct store *store, struct client *client)
{
    struct domain *domain = client->domain;

    if (client->transport && store->ops && !client->socket)
        store->ops->release(store->ops_data, domain);
    client_empty(store, client);
    if (domain->ring == client)
        domain->ring = NULL;
    link_remove(&client->in_store);
    link_remove(&client->in_dirty);
    map_remove(&store->clients, &client->id, sizeof(client->id));
    mem_free(client);
}

void
client_reset(struct store *store, struct client *client)
{
    client_empty(store, client);
    client->broken = XENSTORE_ERROR_NONE;
    client->in_total = client->out_total = 0;
    if (store->ops)
        store->ops->reset(store->ops_data, client);
}

struct credentials
client_credentials(const struct client *client)
{
    return (struct credentials){.domid = client->domain->id,
                                .target = client->domain->target,
                                .privileged = domain_privileged(client->domain)};
}

int
client_received(struct client *client, const void *data, size_t length)
{
    int rc = buf_append(&client->in, data, length);

    if (!rc)
        client->in_total += length;
    return rc;
}

void
client_sent(struct store *store, struct client *client, size_t length)
{
    buf_consume(&client->out, length);
    client->out_total += length;
    if (client->out.length)
        return;
    if (client->pending.count)
        client_forget_pending(client);
    if (!link_empty(&client->missed))
        watch_send_missed(store, client);
}

static bool
may_queue_reply(struct store *store, const struct client *client)
{
    uint32_t limit = PRIVILEGED_PENDING;

    if (!domain_privileged(client->domain))
        limit = store_quota(store, client->domain)->limit[QUOTA_PENDING];
    return !limit || client->out.length <= limit;
}

bool
client_ready(struct store *store, struct client *client)
{
    struct xsd_sockmsg header;

    if (client->broken || client->in.length < sizeof(header))
        return false;
    memcpy(&header, buf_head(&client->in), sizeof(header));
    if (header.len > XENSTORE_PAYLOAD_MAX)
        return true;
    return client->in.length >= sizeof(header) + header.len && may_queue_reply(store, client);
}

void
client_mark_dirty(struct store *store, struct client *client)
{
    if (link_empty(&client->in_dirty))
        link_append(&store->dirty, &client->in_dirty);
}

int
client_queue(struct store *store, struct client *client, uint32_t type, uint32_t req_id, uint32_t tx_id,
             const void *data, size_t length)
{
    struct xsd_sockmsg header = {.type = type, .req_id = req_id, .tx_id = tx_id, .len = length};
    int rc = buf_reserve(&client->out, sizeof(header) + length);

    if (rc)
        return rc;
    buf_append(&client->out, &header, sizeof(header));
    if (length)
        buf_append(&client->out, data, length);
    client_mark_dirty(store, client);
    return 0;
}
