/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the two tries (paths, special events), the choice of who hears of an event, and what happens to
 * events when their reader is slow.
 *
 * A reader that does not keep up costs a bounded amount of memory.  Beyond MERGE_BYTES of queue an
 * event that waits already is not queued twice.  Beyond the limit of its domain the watch is noted as
 * missed, and when there is room again it fires once on its own path: its owner looks and finds all
 * that changed.
 *
 * Always true: a trie node has a watch, or children, or is a root; a watch is in one trie node's
 * list and in its client's.
 */
#include "watch.h"
#include "block.h"
#include "path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <xen/io/xs_wire.h>

#define MERGE_BYTES      16384
#define PRIVILEGED_BYTES (64u << 20)

/* An event that is queued; the key in client->pending is @watch_id and the path. */
struct pending_event {
    uint64_t position; /* in the stream of bytes sent */
    uint16_t key_length;
    char key[];
};

struct watch_node *
watch_node_new(const char *name, size_t length)
{
    struct watch_node *node = mem_zalloc(sizeof(*node) + length);

    if (!node)
        return NULL;
    link_init(&node->watches);
    node->name_length = length;
    memcpy(node->name, name, length);
    return node;
}

void
watch_node_free(struct watch_node *node)
{
    map_fini(&node->children);
    mem_free(node);
}

static struct watch_node *
trie_root(struct store *store, const char *path)
{
    return path_special(path) ? store->special_root : store->watch_root;
}

/* Removes trie nodes that hold nothing, upwards from @node. */
static void
trie_prune(struct watch_node *node)
{
    while (node->parent && link_empty(&node->watches) && !node->children.count) {
        struct watch_node *parent = node->parent;

        map_remove(&parent->children, node->name, node->name_length);
        watch_node_free(node);
        node = parent;
    }
}

static struct watch_node *
trie_find(struct watch_node *node, const char *path)
{
    const char *cursor = path;
    const char *name;
    size_t length;

    while (node && (name = path_next(&cursor, &length)))
        node = map_find(&node->children, name, length);
    return node;
}

static struct watch_node *
trie_make(struct watch_node *node, const char *path)
{
    const char *cursor = path;
    const char *name;
    size_t length;

    while ((name = path_next(&cursor, &length))) {
        struct watch_node *child = map_find(&node->children, name, length);

        if (!child) {
            child = watch_node_new(name, length);
            if (!child || map_insert(&node->children, child->name, length, child)) {
                if (child)
                    watch_node_free(child);
                trie_prune(node);
                return NULL;
            }
            child->parent = node;
        }
        node = child;
    }
    return node;
}

static size_t
watch_bytes(const struct watch *watch)
{
    return sizeof(*watch) + watch->path_length + strlen(watch_token(watch)) + 2;
}

static struct watch *
watch_find(struct watch_node *node, const struct client *client, const char *token)
{
    if (!node)
        return NULL;
    list_for_each(&node->watches, item) {
        struct watch *watch = link_entry(item, struct watch, in_node);

        if (watch->client == client && !strcmp(watch_token(watch), token))
            return watch;
    }
    return NULL;
}

int
watch_add(struct store *store, struct client *client, const char *path, const char *token, int32_t depth,
          bool relative, struct watch **ret_watch)
{
    struct domain *domain = client->domain;
    size_t path_length = strlen(path);
    size_t token_length = strlen(token);
    struct watch_node *node = trie_find(trie_root(store, path), path);
    struct watch *watch;

    if (watch_find(node, client, token))
        return -EEXIST;
    if (!domain_privileged(domain)) {
        const struct quota *quota = store_quota(store, domain);
        uint64_t memory = domain_memory(domain) + sizeof(*watch) + path_length + token_length + 2;

        if (quota_exceeded(quota, QUOTA_WATCHES, domain->watches + 1))
            return -E2BIG;
        if (quota_exceeded(quota, QUOTA_MEMORY, memory))
            return -ENOMEM;
    }
    watch = mem_zalloc(sizeof(*watch) + path_length + token_length + 2);
    if (!watch)
        return -ENOMEM;
    watch->path_length = path_length;
    memcpy(watch->text, path, path_length + 1);
    memcpy(watch->text + path_length + 1, token, token_length + 1);
    node = trie_make(trie_root(store, path), watch->text);
    if (!node) {
        mem_free(watch);
        return -ENOMEM;
    }
    watch->id = store->next_watch++;
    watch->node = node;
    watch->client = client;
    watch->depth = depth;
    watch->relative = relative;
    link_append(&node->watches, &watch->in_node);
    link_append(&client->watches, &watch->in_client);
    link_init(&watch->in_missed);
    domain->watches++;
    domain->other_bytes += watch_bytes(watch);
    store->watch_count++;
    *ret_watch = watch;
    return 0;
}

static void
watch_free(struct store *store, struct watch *watch)
{
    struct watch_node *node = watch->node;

    watch->client->domain->watches--;
    watch->client->domain->other_bytes -= watch_bytes(watch);
    store->watch_count--;
    link_remove(&watch->in_node);
    link_remove(&watch->in_client);
    link_remove(&watch->in_missed);
    mem_free(watch);
    trie_prune(node);
}

int
watch_remove(struct store *store, struct client *client, const char *path, const char *token)
{
    struct watch *watch = watch_find(trie_find(trie_root(store, path), path), client, token);

    if (!watch)
        return -ENOENT;
    watch_free(store, watch);
    return 0;
}

void
watch_remove_all(struct store *store, struct client *client)
{
    link_for_each_safe(&client->watches, item) watch_free(store, link_entry(item, struct watch, in_client));
}

/* Whether the same event waits unsent in a long queue already; notes it as waiting if not. */
static bool
merge_event(struct client *client, const struct watch *watch, const char *path)
{
    char key[sizeof(watch->id) + PATH_BYTES + 64];
    size_t length = strlen(path);
    uint64_t position = client->out_total + client->out.length;
    struct pending_event *event;

    memcpy(key, &watch->id, sizeof(watch->id));
    memcpy(key + sizeof(watch->id), path, length);
    length += sizeof(watch->id);
    event = map_find(&client->pending, key, length);
    if (event) {
        if (event->position >= client->out_total)
            return true;
        event->position = position;
        return false;
    }
    event = mem_alloc(sizeof(*event) + length);
    if (!event)
        return false;
    event->position = position;
    event->key_length = length;
    memcpy(event->key, key, length);
    /* Without memory for the note the event is queued all the same, perhaps twice. */
    if (map_insert(&client->pending, event->key, length, event))
        mem_free(event);
    return false;
}

static void
watch_miss(struct watch *watch)
{
    if (watch->missed)
        return;
    watch->missed = true;
    link_append(&watch->client->missed, &watch->in_missed);
}

static void
watch_send(struct store *store, struct watch *watch, const char *path)
{
    struct client *client = watch->client;
    const char *shown = path + (watch->relative ? path_home_length(client->domain->id) : 0);
    size_t shown_bytes = strlen(shown) + 1;
    const char *token = watch_token(watch);
    size_t token_bytes = strlen(token) + 1;
    char payload[XENSTORE_PAYLOAD_MAX];
    uint64_t limit = PRIVILEGED_BYTES;

    if (client->broken || shown_bytes + token_bytes > sizeof(payload))
        return;
    if (!domain_privileged(client->domain))
        limit = 4 * (uint64_t)store_quota(store, client->domain)->limit[QUOTA_PENDING];
    if (client->out.length > MERGE_BYTES && merge_event(client, watch, path)) {
        store->merged_events++;
        return;
    }
    if (limit && client->out.length + sizeof(payload) > limit) {
        watch_miss(watch);
        return;
    }
    memcpy(payload, shown, shown_bytes);
    memcpy(payload + shown_bytes, token, token_bytes);
    if (client_queue(store, client, XS_WATCH_EVENT, 0, 0, payload, shown_bytes + token_bytes)) {
        watch_miss(watch);
        return;
    }
    client->domain->events++;
    store->events++;
}

void
watch_send_missed(struct store *store, struct client *client)
{
    while (!link_empty(&client->missed)) {
        struct watch *watch = link_entry(client->missed.next, struct watch, in_missed);

        link_remove(&watch->in_missed);
        watch->missed = false;
        watch_send(store, watch, watch->text);
        if (watch->missed)
            break;
    }
}

void
watch_fire_first(struct store *store, struct watch *watch)
{
    watch_send(store, watch, watch->text);
}

static bool
may_hear(const struct watch *watch, const struct watch_scope *scope)
{
    struct credentials who = client_credentials(watch->client);

    if (who.privileged)
        return true;
    return (scope->before && (perms_access(scope->before, &who) & PERM_READ)) ||
           (scope->after && (perms_access(scope->after, &who) & PERM_READ)) ||
           (scope->parent && (perms_access(scope->parent, &who) & PERM_READ));
}

/* Fires what is set on one trie node; the event's path lies @below levels deeper. */
static void
fire_node(struct store *store, struct watch_node *node, const char *path, int below,
          const struct watch_scope *scope)
{
    list_for_each(&node->watches, item) {
        struct watch *watch = link_entry(item, struct watch, in_node);

        if (watch->depth != WATCH_NO_DEPTH && below > watch->depth)
            continue;
        if (may_hear(watch, scope))
            watch_send(store, watch, path);
    }
}

static int
count_levels(const char *path)
{
    const char *cursor = path;
    size_t length;
    int levels = 0;

    while (path_next(&cursor, &length))
        levels++;
    return levels;
}

/* Fires what is set on @path and above; returns the trie node of @path if there is one. */
static struct watch_node *
fire_upwards(struct store *store, const char *path, const struct watch_scope *scope)
{
    struct watch_node *node = store->watch_root;
    int below = count_levels(path);
    const char *cursor = path;
    const char *name;
    size_t length;

    if (!store->watch_count)
        return NULL;
    while (node) {
        fire_node(store, node, path, below--, scope);
        name = path_next(&cursor, &length);
        if (!name)
            break;
        node = map_find(&node->children, name, length);
    }
    return node;
}

void
watch_fire(struct store *store, const char *path, const struct watch_scope *scope)
{
    fire_upwards(store, path, scope);
}

/*
 * Watches strictly below a removed node fire with their own path if there was a node to watch.  The
 * order is that of the names, never of a hash table: a replay must queue the same bytes.  Recursion is as
 * deep as a path, and only where watches hang below.
 */
static void
fire_below(struct store *store, struct watch_node *trie, const struct perms *parent,
           const struct block *block)
{
    unsigned int i;

    for (; block && trie->children.count; block = block->right) {
        fire_below(store, trie, parent, block->left);
        for (i = 0; i < block->count; i++) {
            struct watch_scope scope = {.parent = parent};
            struct watch_node *next;
            struct node node;

            block_node(block, i, &node);
            next = map_find(&trie->children, node.name, node.name_length);
            if (!next)
                continue;
            scope.before = node.perms;
            list_for_each(&next->watches, item) {
                struct watch *watch = link_entry(item, struct watch, in_node);

                if (may_hear(watch, &scope))
                    watch_send(store, watch, watch->text);
            }
            fire_below(store, next, node.perms, node.children);
        }
    }
}

void
watch_fire_removed(struct store *store, const char *path, const struct node *removed,
                   const struct perms *parent)
{
    struct watch_scope scope = {.before = removed->perms, .parent = parent};
    struct watch_node *trie = fire_upwards(store, path, &scope);

    if (trie)
        fire_below(store, trie, removed->perms, removed->children);
}

void
watch_fire_special(struct store *store, const char *name, uint16_t domid)
{
    struct watch_node *node = trie_find(store->special_root, name);
    struct watch_scope scope = {.after = store->special_perms[store_special(name)]};
    char path[64];

    if (!node)
        return;
    snprintf(path, sizeof(path), "%s/%u", name, domid);
    list_for_each(&node->watches, item) {
        struct watch *watch = link_entry(item, struct watch, in_node);

        if (may_hear(watch, &scope))
            watch_send(store, watch, watch->depth == 1 ? path : name);
    }
    node = trie_find(node, path + strlen(name));
    if (node)
        fire_node(store, node, path, 0, &scope);
}
