/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The nodes of the store.  A tree is known by its root; holding a reference on a root holds that
 * version of the whole tree, for ever and at no cost, since a node with more than one reference is
 * never changed: whoever changes a tree copies the nodes on the way that somebody else holds too.
 */
#pragma once

#include "perms.h"

struct block;

/*
 * A node as it is seen: pointers into the tree, good for as long as the version it was found in is held and
 * not changed in place.  Neither name nor value has a terminator.
 */
struct node {
    const char *name;
    const char *value;
    struct perms *perms;
    struct block *children; /* the top of their search tree: see block.h */
    uint64_t subtree_gen;   /* the last change of this node or anything below it */
    uint64_t children_gen;  /* the last child that came or went; 0 if there never was one */
    uint16_t name_length;
    uint16_t value_length;
    bool parent; /* has or had children */
};

/* Memory that a node costs at most, besides its name, value and permissions; it is charged with that. */
#define NODE_BYTES 96

/* What one domain's share of a tree changes by. */
struct ledger_entry {
    uint16_t domid;
    int64_t nodes;
    int64_t bytes;
};

struct ledger {
    struct ledger_entry *entries;
    uint32_t count;
    uint32_t capacity;
};

int ledger_add(struct ledger *ledger, uint16_t domid, int64_t nodes, int64_t bytes);
/* Adds each of @more's entries, or fails and adds none. */
int ledger_merge(struct ledger *ledger, const struct ledger *more);
void ledger_fini(struct ledger *ledger);

/* A root with nothing below it; what everybody may read, only domain 0 may change. */
struct block *tree_new(void);
struct block *tree_ref(struct block *root);
void tree_put(struct block *root);
void tree_root(const struct block *root, struct node *ret_node);

/* Memory that a node is charged with: itself, its name, its value and its permissions. */
size_t node_bytes(const struct node *node);

bool tree_find(const struct block *root, const char *path, struct node *ret_node);
/*
 * The deepest node that exists on the way to @path, and its parent.  Returns the rest of the path that does
 * not exist, empty when the node itself was found.
 */
const char *tree_find_nearest(const struct block *root, const char *path, struct node *ret_node,
                              struct node *ret_parent);

/*
 * Changes.  Each either does all it says on *@root or returns -ENOMEM with the tree's contents as
 * they were.  @gen marks the change and must be larger than any before.
 */

/* Sets the value of an existing node. */
int tree_set_value(struct block **root, const char *path, const void *value, size_t length, uint64_t gen);
/* Sets the permissions of an existing node; takes a reference of its own. */
int tree_set_perms(struct block **root, const char *path, struct perms *perms, uint64_t gen);
/* Makes a node that does not exist, and its missing parents with empty values and the same permissions. */
int tree_create(struct block **root, const char *path, const void *value, size_t length, struct perms *perms,
                uint64_t gen);
/* Takes an existing node, not the root, out of the tree and hands it over, as a root, with all below it. */
int tree_remove(struct block **root, const char *path, uint64_t gen, struct block **ret_removed);

/* What the nodes from @node downwards are charged with, multiplied by @sign. */
int tree_account(const struct node *node, int sign, struct ledger *ledger);
size_t tree_count(const struct block *root);

/* Length of the whole list of children, as node_list() writes it. */
size_t node_list_bytes(const struct node *node);
/*
 * Writes the NUL-terminated child names, in order, that lie in bytes [@offset, @offset + @size) of the whole
 * list and returns how many bytes; a name is written whole or not at all, and @offset must be the
 * start of a name or -EINVAL is returned.
 */
long node_list(const struct node *node, size_t offset, char *list, size_t size);

/*
 * Calls @visit with the path of each node that mentions @domid in its permissions.  A visitor must
 * not change the tree.  It returns 0 to go on, TREE_SKIP to go on without what is below that node,
 * or a negative value that ends the walk and is returned.
 */
#define TREE_SKIP 1
typedef int tree_visitor(const char *path, const struct node *node, void *data);
int tree_mentions(const struct block *root, uint16_t domid, tree_visitor *visit, void *data);
