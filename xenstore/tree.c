/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns the shape of the tree: search trees of siblings, copying on write, the sums in each element.
 *
 * Always true: elements of a search tree are ordered by name and weight-balanced; a node's sums
 * cover at least what is below it; a node that has one reference is reachable through exactly one
 * pointer and may be changed in place by who holds that pointer and the whole way to it.
 *
 * Copying on write goes from the top down: own() makes the element behind a pointer private and
 * gives its neighbours one reference more.  When it fails half-way, a part of the path is private
 * copies of what was there, so the contents are what they were.
 */
#include "tree.h"
#include "mem.h"
#include "path.h"

#include <errno.h>
#include <string.h>

/* Balance after Hirai and Yamamoto: sizes count one more than the elements. */
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

struct value *
value_new(const void *data, size_t length)
{
    struct value *value = mem_alloc(sizeof(*value) + length);

    if (!value)
        return NULL;
    value->ref = 1;
    value->length = length;
    memcpy(value->data, data, length);
    return value;
}

struct value *
value_ref(struct value *value)
{
    if (value)
        value->ref++;
    return value;
}

void
value_put(struct value *value)
{
    if (value && !--value->ref)
        mem_free(value);
}

struct node *
node_ref(struct node *node)
{
    if (node)
        node->ref++;
    return node;
}

/* Chains a node that lost its last reference to @dead through its @left, which moves aside first. */
static void
drop(struct node *node, struct node **dead)
{
    if (!node || --node->ref)
        return;
    /* The node is nobody's any more, so a field that needs no cleaning may carry the chain. */
    memcpy(&node->subtree_gen, dead, sizeof(*dead));
    *dead = node;
}

void
node_put(struct node *node)
{
    struct node *dead = NULL;

    _Static_assert(sizeof(node->subtree_gen) >= sizeof(dead), "the chain of the dead fits in a counter");
    drop(node, &dead);
    while (dead) {
        node = dead;
        memcpy(&dead, &node->subtree_gen, sizeof(dead));
        drop(node->left, &dead);
        drop(node->right, &dead);
        drop(node->children, &dead);
        value_put(node->value);
        perms_put(node->perms);
        mem_free(node);
    }
}

struct node *
node_new(const char *name, size_t length, struct value *value, struct perms *perms, uint64_t gen)
{
    struct node *node = mem_zalloc(sizeof(*node) + length);

    if (!node)
        return NULL;
    node->ref = 1;
    node->value = value;
    node->perms = perms_ref(perms);
    node->subtree_gen = node->children_gen = gen;
    node->name_length = length;
    memcpy(node->name, name, length);
    node_update(node);
    return node;
}

size_t
node_bytes(const struct node *node)
{
    return sizeof(*node) + node->name_length +
           (node->value ? sizeof(*node->value) + node->value->length : 0) +
           node->perms->count * sizeof(struct perm);
}

struct node *
tree_new(void)
{
    struct perm everyone = {.domid = 0, .access = PERM_NONE};
    struct perms *perms = perms_new(&everyone, 1);
    struct node *root = perms ? node_new("", 0, NULL, perms, 1) : NULL;

    perms_put(perms);
    return root;
}

static uint32_t
weight(const struct node *node)
{
    return node ? node->weight : 0;
}

void
node_update(struct node *node)
{
    node->weight = 1 + weight(node->left) + weight(node->right);
    node->name_bytes = node->name_length + 1 + (node->left ? node->left->name_bytes : 0) +
                       (node->right ? node->right->name_bytes : 0);
    node->owners = perms_mask(node->perms) | (node->children ? node->children->owners : 0) |
                   (node->left ? node->left->owners : 0) | (node->right ? node->right->owners : 0);
}

static int
compare(const char *name, size_t length, const struct node *node)
{
    size_t common = length < node->name_length ? length : node->name_length;
    int order = memcmp(name, node->name, common);

    return order ? order : (int)length - (int)node->name_length;
}

/* Makes the element behind @slot private to it; NULL for lack of memory. */
static struct node *
own(struct node **slot)
{
    struct node *node = *slot;
    struct node *copy;

    if (node->ref == 1)
        return node;
    copy = mem_alloc(sizeof(*copy) + node->name_length);
    if (!copy)
        return NULL;
    memcpy(copy, node, sizeof(*copy) + node->name_length);
    copy->ref = 1;
    node_ref(copy->left);
    node_ref(copy->right);
    node_ref(copy->children);
    value_ref(copy->value);
    perms_ref(copy->perms);
    node->ref--;
    *slot = copy;
    return copy;
}

static void
rotate_left(struct node **slot)
{
    struct node *low = *slot;
    struct node *high = low->right;

    low->right = high->left;
    high->left = low;
    *slot = high;
    node_update(low);
    node_update(high);
}

static void
rotate_right(struct node **slot)
{
    struct node *high = *slot;
    struct node *low = high->left;

    high->left = low->right;
    low->right = high;
    *slot = low;
    node_update(high);
    node_update(low);
}

static bool
too_heavy(uint32_t heavy, uint32_t other)
{
    return heavy + 1 > DELTA * (other + 1);
}

/*
 * Recomputes the private element behind @slot after one side changed by one, and rotates when it
 * leans.  Without memory for a rotation the tree stays as it is: in order, a little less flat.
 */
static void
rebalance(struct node **slot)
{
    struct node *node = *slot;

    if (too_heavy(weight(node->right), weight(node->left))) {
        if (own(&node->right)) {
            struct node *right = node->right;

            if (weight(right->left) + 1 >= GAMMA * (weight(right->right) + 1) && own(&right->left))
                rotate_right(&node->right);
            rotate_left(slot);
            return;
        }
    } else if (too_heavy(weight(node->left), weight(node->right))) {
        if (own(&node->left)) {
            struct node *left = node->left;

            if (weight(left->right) + 1 >= GAMMA * (weight(left->left) + 1) && own(&left->right))
                rotate_left(&node->left);
            rotate_right(slot);
            return;
        }
    }
    node_update(node);
}

/* Recursion is as deep as the search tree, which is at most a few times log2 of the siblings. */
static int
sibling_insert(struct node **slot, struct node *item)
{
    struct node *node;
    int rc;

    if (!*slot) {
        *slot = item;
        return 0;
    }
    node = own(slot);
    if (!node)
        return -ENOMEM;
    if (compare(item->name, item->name_length, node) < 0)
        rc = sibling_insert(&node->left, item);
    else
        rc = sibling_insert(&node->right, item);
    if (!rc)
        rebalance(slot);
    return rc;
}

/* Takes out the first element; the way to it is private already. */
static struct node *
sibling_take_first(struct node **slot)
{
    struct node *node = *slot;
    struct node *first;

    if (!node->left) {
        *slot = node->right;
        node->right = NULL;
        return node;
    }
    first = sibling_take_first(&node->left);
    rebalance(slot);
    return first;
}

/* Takes out the element of that name; the way to it, and to the one after it, is private already. */
static struct node *
sibling_take(struct node **slot, const char *name, size_t length)
{
    struct node *node = *slot;
    int order = compare(name, length, node);
    struct node *taken = node;

    if (order < 0) {
        taken = sibling_take(&node->left, name, length);
    } else if (order > 0) {
        taken = sibling_take(&node->right, name, length);
    } else if (!node->left || !node->right) {
        *slot = node->left ? node->left : node->right;
        node->left = node->right = NULL;
        return taken;
    } else {
        struct node *next = sibling_take_first(&node->right);

        next->left = node->left;
        next->right = node->right;
        node->left = node->right = NULL;
        *slot = next;
    }
    rebalance(slot);
    return taken;
}

/* Makes private every element that sibling_take() of this name changes. */
static int
sibling_own_for_take(struct node **slot, const char *name, size_t length)
{
    bool found = false;

    while (*slot) {
        struct node *node = own(slot);
        int order;

        if (!node)
            return -ENOMEM;
        order = found ? -1 : compare(name, length, node);
        found |= order == 0;
        slot = order < 0 ? &node->left : &node->right;
    }
    return 0;
}

const struct node *
node_child(const struct node *node, const char *name, size_t length)
{
    const struct node *child = node->children;

    while (child) {
        int order = compare(name, length, child);

        if (order == 0)
            break;
        child = order < 0 ? child->left : child->right;
    }
    return child;
}

const struct node *
tree_find_nearest(const struct node *root, const char *path, const struct node **ret_parent,
                  const char **ret_missing)
{
    const struct node *node = root;
    const struct node *parent = root;
    const char *cursor = path;
    const char *name;
    size_t length;

    for (;;) {
        const char *here = cursor;
        const struct node *child;

        name = path_next(&cursor, &length);
        *ret_missing = name ? here : "";
        if (!name)
            break;
        child = node_child(node, name, length);
        if (!child)
            break;
        parent = node;
        node = child;
    }
    *ret_parent = parent;
    return node;
}

const struct node *
tree_find(const struct node *root, const char *path)
{
    const struct node *parent;
    const char *missing;
    const struct node *node = tree_find_nearest(root, path, &parent, &missing);

    return *missing ? NULL : node;
}

/*
 * Makes private the way from the root to the node that the first @length bytes of an existing path
 * name, marks it changed and adds @mask to what lies below it.  Returns the node.
 */
static struct node *
own_path(struct node **root, const char *path, size_t length, uint64_t gen, uint64_t mask)
{
    const char *end = path + length;
    struct node *node = own(root);
    const char *cursor = path;
    size_t name_length;

    if (!node)
        return NULL;
    node->subtree_gen = gen;
    node->owners |= mask;
    while (cursor + 1 < end) {
        const char *name = path_next(&cursor, &name_length);
        struct node **slot = &node->children;
        int order;

        do {
            node = own(slot);
            if (!node)
                return NULL;
            node->owners |= mask;
            order = compare(name, name_length, node);
            slot = order < 0 ? &node->left : &node->right;
        } while (order);
        node->subtree_gen = gen;
    }
    return node;
}

int
tree_set_value(struct node **root, const char *path, struct value *value, uint64_t gen)
{
    struct node *node = own_path(root, path, strlen(path), gen, 0);

    if (!node)
        return -ENOMEM;
    value_put(node->value);
    node->value = value;
    return 0;
}

int
tree_set_perms(struct node **root, const char *path, struct perms *perms, uint64_t gen)
{
    struct node *node = own_path(root, path, strlen(path), gen, perms_mask(perms));

    if (!node)
        return -ENOMEM;
    perms_ref(perms);
    perms_put(node->perms);
    node->perms = perms;
    return 0;
}

int
tree_create(struct node **root, const char *path, struct value *value, struct perms *perms, uint64_t gen)
{
    const struct node *parent;
    const char *missing;
    const char *end = path + strlen(path);
    struct node *chain = NULL;
    struct node *home;

    tree_find_nearest(*root, path, &parent, &missing);
    /* The new nodes are made from the deepest upwards, apart from the tree. */
    while (end > missing) {
        const char *slash = memrchr(missing, '/', end - missing);
        struct node *node = node_new(slash + 1, end - slash - 1, chain ? NULL : value_ref(value), perms, gen);

        if (!node) {
            if (!chain)
                value_put(value);
            goto put_chain;
        }
        node->children = chain;
        node_update(node);
        chain = node;
        end = slash;
    }
    home = own_path(root, path, missing - path, gen, perms_mask(perms));
    if (!home || sibling_insert(&home->children, chain))
        goto put_chain;
    home->children_gen = gen;
    value_put(value);
    return 0;

put_chain:
    node_put(chain);
    return -ENOMEM;
}

int
tree_remove(struct node **root, const char *path, uint64_t gen, struct node **ret_removed)
{
    size_t parent_length = path_parent_length(path);
    const char *name = strrchr(path, '/') + 1;
    struct node *home = own_path(root, path, parent_length, gen, 0);

    if (!home || sibling_own_for_take(&home->children, name, strlen(name)))
        return -ENOMEM;
    *ret_removed = sibling_take(&home->children, name, strlen(name));
    home->children_gen = gen;
    node_update(*ret_removed);
    return 0;
}

/* Recursion is as deep as a path has levels, at most 1536, times the depth of a search tree. */
static int
account_siblings(const struct node *node, int sign, struct ledger *ledger)
{
    int rc = 0;

    for (; node && !rc; node = node->right) {
        rc = ledger_add(ledger, node->perms->entry[0].domid, sign, sign * (int64_t)node_bytes(node));
        if (!rc)
            rc = account_siblings(node->left, sign, ledger);
        if (!rc)
            rc = account_siblings(node->children, sign, ledger);
    }
    return rc;
}

int
tree_account(const struct node *node, int sign, struct ledger *ledger)
{
    int rc = ledger_add(ledger, node->perms->entry[0].domid, sign, sign * (int64_t)node_bytes(node));

    return rc ? rc : account_siblings(node->children, sign, ledger);
}

static size_t
count_siblings(const struct node *node)
{
    size_t count = 0;

    for (; node; node = node->right)
        count += 1 + count_siblings(node->left) + count_siblings(node->children);
    return count;
}

size_t
tree_count(const struct node *node)
{
    return 1 + count_siblings(node->children);
}

size_t
node_child_count(const struct node *node)
{
    return weight(node->children);
}

struct listing {
    size_t offset; /* of the next name in the whole list */
    char *list;
    size_t size;
    size_t used;
    bool full;
};

static void
list_siblings(const struct node *node, struct listing *listing)
{
    for (; node && !listing->full; node = node->right) {
        size_t bytes = node->name_length + 1;

        if (listing->offset >= node->name_bytes) {
            listing->offset -= node->name_bytes;
            return;
        }
        list_siblings(node->left, listing);
        if (listing->full)
            return;
        if (listing->offset) {
            listing->offset -= bytes < listing->offset ? bytes : listing->offset;
            continue;
        }
        if (listing->used + bytes > listing->size) {
            listing->full = true;
            return;
        }
        memcpy(listing->list + listing->used, node->name, node->name_length);
        listing->list[listing->used + node->name_length] = '\0';
        listing->used += bytes;
    }
}

long
node_list(const struct node *node, size_t offset, char *list, size_t size)
{
    struct listing listing = {.offset = offset, .list = list, .size = size};
    const struct node *child = node->children;
    size_t skipped = 0;

    if (!child)
        return offset ? -EINVAL : 0;
    if (offset > child->name_bytes)
        return -EINVAL;
    /* Find the element whose name begins at @offset, or learn that there is none. */
    while (child && offset < node->children->name_bytes) {
        size_t left = child->left ? child->left->name_bytes : 0;

        if (offset == skipped + left)
            break;
        if (offset < skipped + left) {
            child = child->left;
        } else {
            skipped += left + child->name_length + 1;
            child = child->right;
        }
    }
    if (!child)
        return -EINVAL;
    list_siblings(node->children, &listing);
    return listing.used;
}

struct mention {
    uint16_t domid;
    uint64_t bit;
    tree_visitor *visit;
    void *data;
    char path[PATH_BYTES];
};

static bool
mentions(const struct perms *perms, uint16_t domid)
{
    unsigned int i;

    for (i = 0; i < perms->count; i++) {
        if (perms->entry[i].domid == domid)
            return true;
    }
    return false;
}

static int
mention_siblings(const struct node *node, size_t length, struct mention *mention)
{
    int rc = 0;

    for (; node && !rc && (node->owners & mention->bit); node = node->right) {
        size_t end = length + 1 + node->name_length;

        rc = mention_siblings(node->left, length, mention);
        if (rc)
            return rc;
        mention->path[length] = '/';
        memcpy(mention->path + length + 1, node->name, node->name_length);
        mention->path[end] = '\0';
        if (mentions(node->perms, mention->domid))
            rc = mention->visit(mention->path, node, mention->data);
        if (rc == 0)
            rc = mention_siblings(node->children, end, mention);
        else if (rc == TREE_SKIP)
            rc = 0;
    }
    return rc;
}

int
tree_mentions(const struct node *root, uint16_t domid, tree_visitor *visit, void *data)
{
    struct mention mention = {
        .domid = domid, .bit = UINT64_C(1) << (domid % 64), .visit = visit, .data = data};

    int rc = 0;

    if (mentions(root->perms, domid))
        rc = visit("/", root, data);
    return rc ? rc : mention_siblings(root->children, 0, &mention);
}
