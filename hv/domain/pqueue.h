/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A priority queue whose links live inside the objects: a leftist heap.  Nothing is allocated, so nothing can
 * fail, and every operation takes at most a logarithmic number of steps, whatever a guest does with its
 * timers.
 *
 * Keys are compared by their signed difference, so they may wrap; all keys of one queue must lie within 2^63.
 */
#ifndef SERAI_DOMAIN_PQUEUE_H
#define SERAI_DOMAIN_PQUEUE_H

#include "base/types.h"

struct pq_node {
    struct pq_node *left, *right, *parent;
    u64 key;
    u32 rank; /* 1 + the length of the right spine; 0 = in no queue */
};

struct pqueue {
    struct pq_node *first; /* the smallest key */
};

static inline bool
pq_before(u64 a, u64 b)
{
    return (s64)(a - b) < 0;
}

static inline bool
pq_is_queued(const struct pq_node *node)
{
    return READ_ONCE(node->rank) != 0;
}

void pq_insert(struct pqueue *queue, struct pq_node *node, u64 key);
void pq_remove(struct pqueue *queue, struct pq_node *node);
/* Gives a node that is queued another key. */
void pq_move(struct pqueue *queue, struct pq_node *node, u64 key);

/*
 * The next node in a walk over all of the queue, parents before children; NULL ends.  @node NULL: the first.
 */
struct pq_node *pq_next(const struct pqueue *queue, const struct pq_node *node);

#endif
