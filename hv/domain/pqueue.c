/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The leftist heap behind timers and run queues.  Always true: a parent's key is not after its children's;
 * the left child's rank is at least the right one's; a rank is the right child's rank plus one.  So a right
 * spine has at most log2(n + 1) nodes, and only right spines are walked.  The caller holds the queue's lock.
 */
#include "domain/pqueue.h"

static u32
rank_of(const struct pq_node *node)
{
    return node ? node->rank : 0;
}

/* Puts the rank of @node right from its children's; false when it was right already. */
static bool
rank_update(struct pq_node *node)
{
    u32 rank;

    if (rank_of(node->left) < rank_of(node->right)) {
        struct pq_node *left = node->left;

        node->left = node->right;
        node->right = left;
    }
    rank = rank_of(node->right) + 1;
    if (node->rank == rank)
        return false;
    node->rank = rank;
    return true;
}

/* Merges two heaps into the place *@link below @parent. */
static void
merge(struct pq_node **link, struct pq_node *parent, struct pq_node *a, struct pq_node *b)
{
    struct pq_node *top = parent, *last;

    while (a && b) {
        if (pq_before(b->key, a->key)) {
            struct pq_node *swap = a;

            a = b;
            b = swap;
        }
        *link = a;
        a->parent = parent;
        parent = a;
        link = &a->right;
        a = a->right;
    }
    last = a ? a : b;
    *link = last;
    if (last)
        last->parent = parent;

    for (; parent != top; parent = parent->parent)
        rank_update(parent);
}

void
pq_insert(struct pqueue *queue, struct pq_node *node, u64 key)
{
    node->left = node->right = NULL;
    node->key = key;
    node->rank = 1;
    merge(&queue->first, NULL, queue->first, node);
}

void
pq_remove(struct pqueue *queue, struct pq_node *node)
{
    struct pq_node *parent = node->parent;
    struct pq_node **link = !parent ? &queue->first : parent->left == node ? &parent->left : &parent->right;

    merge(link, parent, node->left, node->right);
    node->rank = 0;
    while (parent && rank_update(parent))
        parent = parent->parent;
}

void
pq_move(struct pqueue *queue, struct pq_node *node, u64 key)
{
    const struct pq_node *left = node->left, *right = node->right, *parent = node->parent;

    /* Mostly it stays where it is: a deadline that is put off a little, in a queue of few. */
    if (likely((!parent || !pq_before(key, parent->key)) && (!left || !pq_before(left->key, key)) &&
               (!right || !pq_before(right->key, key)))) {
        node->key = key;
        return;
    }
    pq_remove(queue, node);
    pq_insert(queue, node, key);
}

struct pq_node *
pq_next(const struct pqueue *queue, const struct pq_node *node)
{
    if (!node)
        return queue->first;
    if (node->left)
        return node->left;
    /* A leftist node without a left child has no right one. */
    for (; node->parent; node = node->parent)
        if (node->parent->left == node && node->parent->right)
            return node->parent->right;
    return NULL;
}
