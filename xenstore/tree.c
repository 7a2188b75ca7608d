/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the shape of the tree, by paths: search trees of blocks, copying on write.
 *
 * Always true: names in a search tree are in order, and the tree is weight-balanced by blocks; a block's
 * sums cover at least what is below it; a block that has one reference is reachable through exactly one
 * pointer and may be changed in place by who holds that pointer and the whole way to it.
 *
 * Copying on write goes from the top down: own() makes the block behind a pointer private and gives its
 * neighbors one reference more.  When it fails half-way, a part of the path is private copies of what
 * was there, so the contents are what they were.
 */
#include "block.h"
#include "mem.h"
#include "path.h"

#include <errno.h>
#include <string.h>

/* Balance after Hirai and Yamamoto: sizes count one more than the blocks. */
#define DELTA 3
#define GAMMA 2

int
ledger_add(struct ledger *ledger, uint16_t domid, int64_t nodes, int64_t bytes)
{
    uint32_t i;

    for (i = 0; i < ledger->count && ledger->entries[i].domid != domid; i++)
        ;
    if (i == ledger->count) {
        if (ledger->count == ledger->capacity) {
            uint32_t capacity = ledger->capacity ? ledger->capacity * 2 : 4;
            void *entries = mem_resize(ledger->entries, capacity * sizeof(*ledger->entries));

            if (!entries)
                return -ENOMEM;
            ledger->entries = entries;
            ledger->capacity = capacity;
        }
        ledger->entries[ledger->count++] = (struct ledger_entry){.domid = domid};
    }
    ledger->entries[i].nodes += nodes;
    ledger->entries[i].bytes += bytes;
    return 0;
}

int
ledger_merge(struct ledger *ledger, const struct ledger *more)
{
    uint32_t i;
    int rc;

    /* Adding nothing to each makes the room, after which adding the amounts cannot fail. */
    for (i = 0; i < more->count; i++) {
        rc = ledger_add(ledger, more->entries[i].domid, 0, 0);
        if (rc)
            return rc;
    }
    for (i = 0; i < more->count; i++)
        ledger_add(ledger, more->entries[i].domid, more->entries[i].nodes, more->entries[i].bytes);
    return 0;
}

void
ledger_fini(struct ledger *ledger)
{
    mem_free(ledger->entries);
    *ledger = (struct ledger){0};
}

struct block *
tree_new(void)
{
    struct perm everyone = {.domid = 0, .access = PERM_NONE};
    struct node node = {.name = "", .perms = perms_new(&everyone, 1), .subtree_gen = 1};
    struct block *root = node.perms ? block_build(&node, 1, NULL, NULL) : NULL;

    perms_put(node.perms);
    return root;
}

struct block *
tree_ref(struct block *root)
{
    return block_ref(root);
}

void
tree_put(struct block *root)
{
    block_put(root);
}

void
tree_root(const struct block *root, struct node *ret_node)
{
    block_node(root, 0, ret_node);
}

/* Makes the block behind @slot private to it; NULL for lack of memory. */
static struct block *
own(struct block **slot)
{
    struct block *copy;

    if ((*slot)->ref == 1)
        return *slot;
    copy = block_copy(*slot);
    if (copy) {
        block_put(*slot);
        *slot = copy;
    }
    return copy;
}

static void
rotate_left(struct block **slot)
{
    struct block *low = *slot;
    struct block *high = low->right;

    low->right = high->left;
    high->left = low;
    *slot = high;
    block_update(low);
    block_update(high);
}

static void
rotate_right(struct block **slot)
{
    struct block *high = *slot;
    struct block *low = high->left;

    high->left = low->right;
    low->right = high;
    *slot = low;
    block_update(high);
    block_update(low);
}

static uint32_t
weight(const struct block *block)
{
    return block ? block->weight : 0;
}

static bool
too_heavy(uint32_t heavy, uint32_t other)
{
    return heavy + 1 > DELTA * (other + 1);
}

/*
 * Recomputes the private block behind @slot after one side changed by one, and rotates when it
 * leans.  Without memory for a rotation the tree stays as it is: in order, a little less flat.
 */
static void
rebalance(struct block **slot)
{
    struct block *block = *slot;

    if (too_heavy(weight(block->right), weight(block->left))) {
        if (own(&block->right)) {
            struct block *right = block->right;

            if (weight(right->left) + 1 >= GAMMA * (weight(right->right) + 1) && own(&right->left))
                rotate_right(&block->right);
            rotate_left(slot);
            return;
        }
    } else if (too_heavy(weight(block->left), weight(block->right))) {
        if (own(&block->left)) {
            struct block *left = block->left;

            if (weight(left->right) + 1 >= GAMMA * (weight(left->left) + 1) && own(&left->right))
                rotate_left(&block->left);
            rotate_right(slot);
            return;
        }
    }
    block_update(block);
}

/* Makes a block the first of a search tree whose left edge is private. */
static void
insert_first(struct block **slot, struct block *item)
{
    if (!*slot) {
        *slot = item;
        return;
    }
    insert_first(&(*slot)->left, item);
    rebalance(slot);
}

/* Takes out the first block of a search tree whose left edge is private. */
static struct block *
take_first(struct block **slot)
{
    struct block *block = *slot;
    struct block *first;

    if (!block->left) {
        *slot = block->right;
        block->right = NULL;
        return block;
    }
    first = take_first(&block->left);
    rebalance(slot);
    return first;
}

static int
own_left_edge(struct block **slot)
{
    for (; *slot; slot = &(*slot)->left) {
        if (!own(slot))
            return -ENOMEM;
    }
    return 0;
}

/* How many of @count nodes stay together when the one at @at is new; @count if all of them do. */
static unsigned int
where_to_split(const struct node *nodes, unsigned int count, unsigned int at)
{
    size_t total = 0, before = 0;
    unsigned int i;

    for (i = 0; i < count; i++)
        total += block_node_bytes(&nodes[i]);
    if (count == 1 || (count <= BLOCK_NODES && total <= BLOCK_BYTES))
        return count;
    /* Names that come in order fill one block after the other. */
    if (at == count - 1)
        return at;
    for (i = 0; i < count - 1 && before < total / 2; i++)
        before += block_node_bytes(&nodes[i]);
    return i ? i : 1;
}

/* Shows all nodes of a block. */
static unsigned int
unpack(const struct block *block, struct node *nodes)
{
    unsigned int i;

    for (i = 0; i < block->count; i++)
        block_node(block, i, &nodes[i]);
    return block->count;
}

/* Puts @node at @at of the block behind @slot, in the place of what is there or before it. */
static int
block_put_node(struct block **slot, unsigned int at, bool replace, const struct node *node)
{
    struct node nodes[BLOCK_NODES + 1];
    struct block *lower, *upper = NULL;
    unsigned int count, split;

    if (replace && (*slot)->ref == 1 && block_overwrite(*slot, at, node))
        return 0;
    count = unpack(*slot, nodes);
    if (!replace)
        memmove(nodes + at + 1, nodes + at, (count++ - at) * sizeof(*nodes));
    nodes[at] = *node;
    split = where_to_split(nodes, count, at);
    if (split < count) {
        if (!own(slot) || own_left_edge(&(*slot)->right))
            return -ENOMEM;
        upper = block_build(nodes + split, count - split, NULL, NULL);
        if (!upper)
            return -ENOMEM;
    }
    lower = block_build(nodes, split, (*slot)->left, (*slot)->right);
    if (!lower) {
        block_put(upper);
        return -ENOMEM;
    }
    block_put(*slot);
    *slot = lower;
    if (upper)
        insert_first(&lower->right, upper);
    return 0;
}

/*
 * Puts @node among its siblings, in the place of the one of that name if there is one.  Recursion is as deep
 * as the search tree, which is at most a few times log2 of the siblings.
 */
static int
sibling_put(struct block **slot, const struct node *node)
{
    struct block *block = *slot;
    unsigned int at;
    bool found;
    int rc;

    if (!block) {
        *slot = block_build(node, 1, NULL, NULL);
        return *slot ? 0 : -ENOMEM;
    }
    at = block_find(block, node->name, node->name_length, &found);
    if (!found && (at ? at == block->count && block->right : block->left != NULL)) {
        block = own(slot);
        rc = block ? sibling_put(at ? &block->right : &block->left, node) : -ENOMEM;
    } else {
        rc = block_put_node(slot, at, found, node);
    }
    if (!rc)
        rebalance(slot);
    return rc;
}

/* Takes the block behind @slot, which has nothing left, out of the search tree. */
static int
block_take(struct block **slot)
{
    struct block *block = *slot;
    struct block *next;

    if (!block->left || !block->right) {
        *slot = block_ref(block->left ? block->left : block->right);
        block_put(block);
        return 0;
    }
    block = own(slot);
    if (!block || own_left_edge(&block->right))
        return -ENOMEM;
    next = take_first(&block->right);
    next->left = block->left;
    next->right = block->right;
    block->left = block->right = NULL;
    block_put(block);
    *slot = next;
    rebalance(slot);
    return 0;
}

/* Takes the node of that name, which exists, out of its siblings. */
static int
sibling_remove(struct block **slot, const char *name, size_t length)
{
    struct block *block = *slot;
    struct node nodes[BLOCK_NODES];
    unsigned int at;
    bool found;
    int rc;

    at = block_find(block, name, length, &found);
    if (!found) {
        block = own(slot);
        rc = block ? sibling_remove(at ? &block->right : &block->left, name, length) : -ENOMEM;
        if (!rc)
            rebalance(slot);
        return rc;
    }
    if (block->count == 1)
        return block_take(slot);
    unpack(block, nodes);
    memmove(nodes + at, nodes + at + 1, (block->count - 1 - at) * sizeof(*nodes));
    block = block_build(nodes, block->count - 1, block->left, block->right);
    if (!block)
        return -ENOMEM;
    block_put(*slot);
    *slot = block;
    return 0;
}

/* Where that name is in a search tree of siblings; false if it is not there. */
static bool
sibling_find(const struct block *block, const char *name, size_t length, const struct block **ret_block,
             unsigned int *ret_at)
{
    bool found;

    while (block) {
        unsigned int at = block_find(block, name, length, &found);

        if (found) {
            *ret_block = block;
            *ret_at = at;
            return true;
        }
        if (at && at < block->count)
            return false;
        block = at ? block->right : block->left;
    }
    return false;
}

/* Walks down as far as there are nodes; returns what is left of the path. */
static const char *
walk(const struct block *root, const char *path, const struct block **ret_block, unsigned int *ret_at,
     const struct block **ret_parent, unsigned int *ret_parent_at)
{
    const char *cursor = path, *here = path;
    const struct block *block = root, *parent = root;
    unsigned int at = 0, parent_at = 0;
    const char *name;
    size_t length;

    while ((name = path_next(&cursor, &length))) {
        const struct branch *branch = block_branch(block, at);
        const struct block *child;
        unsigned int child_at;

        if (!branch || !sibling_find(branch->top, name, length, &child, &child_at))
            break;
        parent = block;
        parent_at = at;
        block = child;
        at = child_at;
        here = cursor;
    }
    *ret_block = block;
    *ret_at = at;
    *ret_parent = parent;
    *ret_parent_at = parent_at;
    return name ? here : "";
}

const char *
tree_find_nearest(const struct block *root, const char *path, struct node *ret_node, struct node *ret_parent)
{
    const struct block *block, *parent;
    unsigned int at, parent_at;
    const char *missing = walk(root, path, &block, &at, &parent, &parent_at);

    block_node(block, at, ret_node);
    block_node(parent, parent_at, ret_parent);
    return missing;
}

bool
tree_find(const struct block *root, const char *path, struct node *ret_node)
{
    const struct block *block, *parent;
    unsigned int at, parent_at;

    if (*walk(root, path, &block, &at, &parent, &parent_at))
        return false;
    block_node(block, at, ret_node);
    return true;
}

/* Where a node lies. */
struct spot {
    struct block **slot;
    unsigned int at;
};

/*
 * Makes private the way from the root to the node that the first @length bytes of an existing path
 * name, marks it changed and adds @mask to what lies below it.
 */
static int
own_path(struct block **root, const char *path, size_t length, uint64_t gen, uint64_t mask,
         struct spot *ret_spot)
{
    const char *end = path + length;
    const char *cursor = path;
    struct spot spot = {.slot = root};
    struct block *block = own(root);
    size_t name_length;

    if (!block)
        return -ENOMEM;
    block->owners |= mask;
    block_set_gen(block, 0, gen);
    while (cursor + 1 < end) {
        const char *name = path_next(&cursor, &name_length);
        bool found;

        spot.slot = &block_branch(block, spot.at)->top;
        for (;;) {
            block = own(spot.slot);
            if (!block)
                return -ENOMEM;
            block->owners |= mask;
            spot.at = block_find(block, name, name_length, &found);
            if (found)
                break;
            spot.slot = spot.at ? &block->right : &block->left;
        }
        block_set_gen(block, spot.at, gen);
    }
    *ret_spot = spot;
    return 0;
}

/* Puts @node, changed, in the place of the one at @path, which exists. */
static int
replace(struct block **root, const char *path, struct node *node, uint64_t gen)
{
    uint64_t mask = perms_mask(node->perms);
    struct spot home;
    int rc;

    node->subtree_gen = gen;
    if (!path[1])
        return block_put_node(root, 0, true, node);
    rc = own_path(root, path, path_parent_length(path), gen, mask, &home);
    return rc ? rc : sibling_put(&block_branch(*home.slot, home.at)->top, node);
}

int
tree_set_value(struct block **root, const char *path, const void *value, size_t length, uint64_t gen)
{
    struct node node;

    tree_find(*root, path, &node);
    node.value = value;
    node.value_length = length;
    return replace(root, path, &node, gen);
}

int
tree_set_perms(struct block **root, const char *path, struct perms *perms, uint64_t gen)
{
    struct node node;

    tree_find(*root, path, &node);
    node.perms = perms;
    return replace(root, path, &node, gen);
}

/* Hangs @child below the node at @home, the way to which is private. */
static int
add_child(const struct spot *home, const struct node *child, uint64_t gen)
{
    struct branch *branch = block_branch(*home->slot, home->at);
    struct node nodes[BLOCK_NODES];
    struct block *block = NULL, *top;
    unsigned int count;
    int rc;

    if (branch) {
        rc = sibling_put(&branch->top, child);
        if (!rc)
            branch->gen = gen;
        return rc;
    }
    /* The first child: its parent's block is made anew with room for a branch, and is not split for it. */
    top = block_build(child, 1, NULL, NULL);
    if (!top)
        return -ENOMEM;
    count = unpack(*home->slot, nodes);
    nodes[home->at].parent = true;
    nodes[home->at].children = top;
    nodes[home->at].children_gen = gen;
    block = block_build(nodes, count, (*home->slot)->left, (*home->slot)->right);
    block_put(top);
    if (!block)
        return -ENOMEM;
    block_put(*home->slot);
    *home->slot = block;
    return 0;
}

int
tree_create(struct block **root, const char *path, const void *value, size_t length, struct perms *perms,
            uint64_t gen)
{
    const char *end = path + strlen(path);
    struct node node = {
        .value = value, .value_length = length, .perms = perms, .subtree_gen = gen, .children_gen = gen};
    struct block *chain = NULL;
    struct node nearest, parent;
    struct spot home;
    const char *missing = tree_find_nearest(*root, path, &nearest, &parent);
    int rc;

    /* The new nodes are made from the deepest upwards, apart from the tree, except for the topmost. */
    for (;;) {
        const char *slash = memrchr(missing, '/', end - missing);
        struct block *next;

        node.name = slash + 1;
        node.name_length = end - slash - 1;
        if (slash == missing)
            break;
        next = block_build(&node, 1, NULL, NULL);
        block_put(chain);
        if (!next)
            return -ENOMEM;
        chain = node.children = next;
        node.parent = true;
        node.value_length = 0;
        end = slash;
    }
    rc = own_path(root, path, missing - path, gen, perms_mask(perms), &home);
    if (!rc)
        rc = add_child(&home, &node, gen);
    block_put(chain);
    return rc;
}

int
tree_remove(struct block **root, const char *path, uint64_t gen, struct block **ret_removed)
{
    const char *name = strrchr(path, '/') + 1;
    struct branch *branch;
    struct block *removed;
    struct node node;
    struct spot home;
    int rc;

    tree_find(*root, path, &node);
    removed = block_build(&node, 1, NULL, NULL);
    rc = removed ? own_path(root, path, path_parent_length(path), gen, 0, &home) : -ENOMEM;
    if (!rc) {
        branch = block_branch(*home.slot, home.at);
        rc = sibling_remove(&branch->top, name, strlen(name));
    }
    if (rc) {
        block_put(removed);
        return rc;
    }
    branch->gen = gen;
    *ret_removed = removed;
    return 0;
}
