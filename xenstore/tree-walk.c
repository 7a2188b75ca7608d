/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns no state: what is asked of many nodes at once, charges, counts, lists, and who is named where.
 */
#include "block.h"
#include "path.h"

#include <errno.h>
#include <string.h>

size_t
node_bytes(const struct node *node)
{
    return NODE_BYTES + node->name_length + node->value_length + node->perms->count * sizeof(struct perm);
}

/* Recursion is as deep as a path has levels, at most 1536, times the depth of a search tree. */
static int
account_siblings(const struct block *block, int sign, struct ledger *ledger)
{
    unsigned int i;
    int rc = 0;

    for (; block && !rc; block = block->right) {
        rc = account_siblings(block->left, sign, ledger);
        for (i = 0; i < block->count && !rc; i++) {
            struct node node;

            block_node(block, i, &node);
            rc = tree_account(&node, sign, ledger);
        }
    }
    return rc;
}

int
tree_account(const struct node *node, int sign, struct ledger *ledger)
{
    int rc = ledger_add(ledger, node->perms->entry[0].domid, sign, sign * (int64_t)node_bytes(node));

    return rc ? rc : account_siblings(node->children, sign, ledger);
}

size_t
tree_count(const struct block *block)
{
    size_t count = 0;
    unsigned int i;

    for (; block; block = block->right) {
        count += block->count + tree_count(block->left);
        for (i = 0; i < block->count; i++) {
            const struct branch *branch = block_branch(block, i);

            count += branch ? tree_count(branch->top) : 0;
        }
    }
    return count;
}

size_t
node_list_bytes(const struct node *node)
{
    return node->children ? node->children->name_bytes : 0;
}

struct listing {
    size_t skip; /* bytes of the whole list that come before what is wanted */
    char *list;
    size_t size;
    size_t used;
    bool full;
    bool amiss; /* what is wanted does not begin where a name does */
};

static void
list_name(const char *name, size_t length, struct listing *listing)
{
    size_t bytes = length + 1;

    if (listing->skip >= bytes) {
        listing->skip -= bytes;
    } else if (listing->skip) {
        listing->amiss = true;
    } else if (listing->used + bytes > listing->size) {
        listing->full = true;
    } else {
        memcpy(listing->list + listing->used, name, length);
        listing->list[listing->used + length] = '\0';
        listing->used += bytes;
    }
}

static void
list_siblings(const struct block *block, struct listing *listing)
{
    unsigned int i;

    for (; block; block = block->right) {
        struct node node;

        if (listing->skip >= block->name_bytes) {
            listing->skip -= block->name_bytes;
            return;
        }
        list_siblings(block->left, listing);
        for (i = 0; i < block->count && !listing->full && !listing->amiss; i++) {
            block_node(block, i, &node);
            list_name(node.name, node.name_length, listing);
        }
        if (listing->full || listing->amiss)
            return;
    }
}

long
node_list(const struct node *node, size_t offset, char *list, size_t size)
{
    struct listing listing = {.skip = offset, .list = list, .size = size};

    list_siblings(node->children, &listing);
    return listing.amiss || listing.skip ? -EINVAL : (long)listing.used;
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

static int mention_siblings(const struct block *block, size_t length, struct mention *mention);

static int
mention_node(const struct node *node, size_t length, struct mention *mention)
{
    size_t end = length + 1 + node->name_length;
    int rc = 0;

    mention->path[length] = '/';
    memcpy(mention->path + length + 1, node->name, node->name_length);
    mention->path[end] = '\0';
    if (mentions(node->perms, mention->domid))
        rc = mention->visit(mention->path, node, mention->data);
    if (rc == 0)
        return mention_siblings(node->children, end, mention);
    return rc == TREE_SKIP ? 0 : rc;
}

static int
mention_siblings(const struct block *block, size_t length, struct mention *mention)
{
    unsigned int i;
    int rc = 0;

    for (; block && !rc && (block->owners & mention->bit); block = block->right) {
        rc = mention_siblings(block->left, length, mention);
        for (i = 0; i < block->count && !rc; i++) {
            struct node node;

            block_node(block, i, &node);
            rc = mention_node(&node, length, mention);
        }
    }
    return rc;
}

int
tree_mentions(const struct block *root, uint16_t domid, tree_visitor *visit, void *data)
{
    struct mention mention = {
        .domid = domid, .bit = UINT64_C(1) << (domid % 64), .visit = visit, .data = data};
    struct node node;
    int rc = 0;

    tree_root(root, &node);
    if (mentions(node.perms, domid))
        rc = visit("/", &node, data);
    return rc ? rc : mention_siblings(node.children, 0, &mention);
}
