/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The nodes of the store.  A tree is known by its root; holding a reference on a root holds that
 * version of the whole tree, for ever and at no cost, since a node with more than one reference is
 * never changed: whoever changes a tree copies the nodes on the way that somebody else holds too.
 */
#pragma once

#include "perms.h"

/* An octet string; immutable.  An empty value is a null pointer. */
struct value {
    uint32_t ref;
    uint32_t length;
    char data[];
};

/*
 * A node is also an element of a weight-balanced search tree, ordered by name, of its siblings:
 * @left and @right are siblings, @children is the top of the search tree of its own children.
 * @weight, @name_bytes and @owners describe the search tree below (and with) this element.
 */
struct node {
    uint32_t ref;
    uint32_t weight;
    struct node *left;
    struct node *right;
    struct node *children;
    struct value *value;
    struct perms *perms;
    uint64_t subtree_gen;  /* the last change of this node or anything below it */
    uint64_t children_gen; /* the last child that came or went */
    uint64_t owners;       /* perms_mask() of every node reachable from here, or more */
    uint32_t name_bytes;   /* names with their terminators, as DIRECTORY lists them */
    uint16_t name_length;
    char name[];
};

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

struct value *value_new(const void *data, size_t length); /* NULL for lack of memory; length is not 0 */
struct value *value_ref(struct value *value);
void value_put(struct value *value);

struct node *node_new(const char *name, size_t length, struct value *value, struct perms *perms,
                      uint64_t gen);
struct node *node_ref(struct node *node);
void node_put(struct node *node);
/* Memory that a node is charged with: itself, its name, its value and its permissions. */
size_t node_bytes(const struct node *node);
/* Recomputes the sums of an element from its own fields and from its neighbours below. */
void node_update(struct node *node);

/* A root with nothing below it; what everybody may read, only domain 0 may change. */
struct node *tree_new(void);

const struct node *tree_find(const struct node *root, const char *path);
/*
 * The deepest node that exists on the way to @path, with its parent; @ret_missing is the rest of
 * the path that does not exist, empty when the node itself was found.
 */
const struct node *tree_find_nearest(const struct node *root, const char *path,
                                     const struct node **ret_parent, const char **ret_missing);
const struct node *node_child(const struct node *node, const char *name, size_t length);

/*
 * Changes.  Each either does all it says on *@root or returns -ENOMEM with the tree's contents as
 * they were.  @gen marks the change and must be larger than any before.
 */

/* Sets the value of an existing node; @value may be NULL; the reference is taken over on success. */
int tree_set_value(struct node **root, const char *path, struct value *value, uint64_t gen);
/* Sets the permissions of an existing node; takes a reference of its own. */
int tree_set_perms(struct node **root, const char *path, struct perms *perms, uint64_t gen);
/* Makes a node that does not exist, and its missing parents with empty values and the same permissions. */
int tree_create(struct node **root, const char *path, struct value *value, struct perms *perms, uint64_t gen);
/* Takes an existing node, not the root, out of the tree and hands it over with all below it. */
int tree_remove(struct node **root, const char *path, uint64_t gen, struct node **ret_removed);

/* What the nodes from @node downwards are charged with, multiplied by @sign. */
int tree_account(const struct node *node, int sign, struct ledger *ledger);
size_t tree_count(const struct node *node);

/* Children in order of their names. */
size_t node_child_count(const struct node *node);
/*
 * Writes the NUL-terminated child names that lie in bytes [@offset, @offset + @size) of the whole
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
int tree_mentions(const struct node *root, uint16_t domid, tree_visitor *visit, void *data);
