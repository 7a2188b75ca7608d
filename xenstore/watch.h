/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Watches hang in a trie of path components, so an event finds those that match by walking its own
 * path once: the cost depends on the depth of the path and on the watches that fire, on nothing else.
 */
#pragma once

#include "store.h"

#define WATCH_NO_DEPTH (-1)

struct watch_node {
    struct watch_node *parent;
    struct map children;
    struct link watches;
    uint16_t name_length;
    char name[];
};

struct watch {
    struct link in_node;
    struct link in_client;
    struct link in_missed;
    struct watch_node *node;
    struct client *client;
    uint64_t id;
    int32_t depth;
    bool relative;
    bool missed;
    uint16_t path_length;
    char text[]; /* the absolute path, then the token, each with its terminator */
};

/* Who could read the node before or after, which decides who may learn of the event. */
struct watch_scope {
    const struct perms *before;
    const struct perms *after;
    const struct perms *parent;
};

struct watch_node *watch_node_new(const char *name, size_t length);
void watch_node_free(struct watch_node *node);

/* @path is absolute or special and valid.  -EEXIST, -E2BIG, -ENOMEM. */
int watch_add(struct store *store, struct client *client, const char *path, const char *token, int32_t depth,
              bool relative, struct watch **ret_watch);
int watch_remove(struct store *store, struct client *client, const char *path, const char *token);
void watch_remove_all(struct store *store, struct client *client);
/* The event that every new watch begins with. */
void watch_fire_first(struct store *store, struct watch *watch);

void watch_fire(struct store *store, const char *path, const struct watch_scope *scope);
/* The node at @path went, with everything below @removed. */
void watch_fire_removed(struct store *store, const char *path, const struct node *removed,
                        const struct perms *parent);
void watch_fire_special(struct store *store, const char *name, uint16_t domid);
/* Sends the events that had no room before, as events on the watched path itself. */
void watch_send_missed(struct store *store, struct client *client);

static inline const char *
watch_token(const struct watch *watch)
{
    return watch->text + watch->path_length + 1;
}
