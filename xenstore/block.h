/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Neighboring siblings, packed.  The children of a node are a weight-balanced search tree of blocks; each
 * block has some of them, in the order of their names, with names and values inside.  That is what makes a
 * node small: a leaf costs twelve bytes besides its name and its value, and a share of its block.
 *
 * In memory a block is struct block, then
 *
 *     struct perms *[perms_count]           the different permissions of its nodes
 *     struct branch [bits of branches]      of those nodes that have, or had, children, in order
 *     uint16_t [count]                      where each node's record begins
 *     records                               each a struct record, the name, the value
 */
#pragma once

#include "tree.h"

#define BLOCK_NODES 32   /* at most, so that copying one is a bounded cost */
#define BLOCK_BYTES 1024 /* of records, above which a block of two nodes or more is split */

/* The children of a node. */
struct branch {
    struct block *top;
    uint64_t gen; /* the last child that came or went */
};

struct __attribute__((packed)) record {
    uint32_t name_length : 12;
    uint32_t value_length : 13;
    uint32_t perms : 5; /* index */
    uint16_t gen_high;  /* 48 bits of the change number: enough for 80 years at 100,000 a second */
    uint32_t gen_low;
    char text[];
};

/* @weight, @name_bytes and @owners are of the search tree below (and with) this block. */
struct block {
    uint32_t ref;
    uint32_t weight; /* blocks */
    struct block *left;
    struct block *right;
    uint64_t owners;     /* perms_mask() of every node reachable from here, or more */
    uint32_t name_bytes; /* names with their terminators, as DIRECTORY lists them */
    uint32_t branches;   /* a bit for each node that has a struct branch */
    uint16_t bytes;      /* of records */
    uint16_t starts_at;  /* where the table of records begins, from the block's own beginning */
    uint8_t count;
    uint8_t perms_count;
    uint8_t branch_count;
};

/* A new block of @count nodes, with references of its own on all it points to; NULL for lack of memory. */
struct block *block_build(const struct node *nodes, unsigned int count, struct block *left,
                          struct block *right);
/* A private copy; NULL for lack of memory. */
struct block *block_copy(const struct block *block);
struct block *block_ref(struct block *block);
void block_put(struct block *block);

/* Shows the node at an index, for as long as the block is held and not changed. */
void block_node(const struct block *block, unsigned int at, struct node *ret_node);
/* The children of the node at an index; NULL if it never had any. */
struct branch *block_branch(const struct block *block, unsigned int at);
/* The index of that name, or, not found, of the first name after it. */
unsigned int block_find(const struct block *block, const char *name, size_t length, bool *ret_found);
/* Notes a change of the node, or below it, in a block that is private. */
void block_set_gen(struct block *block, unsigned int at, uint64_t gen);
/* Writes @node in the place of the one at @at if it is of the same shape, in a block that is private. */
bool block_overwrite(struct block *block, unsigned int at, const struct node *node);
/* Recomputes the sums from the block's own nodes and from its neighbors below. */
void block_update(struct block *block);
/* Bytes that a node takes in a block. */
size_t block_node_bytes(const struct node *node);
int block_compare(const char *a, size_t a_length, const char *b, size_t b_length);
