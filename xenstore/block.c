/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: how nodes lie in a block.  Blocks are made whole and never grow: a change of another size makes a
 * new one.  Nothing here knows of paths or balance; see tree.c.
 */
#include "block.h"
#include "mem.h"

#include <string.h>

#include <xen/io/xs_wire.h>

_Static_assert(sizeof(struct record) == 10 && sizeof(struct block) == 48, "no holes");
_Static_assert(XENSTORE_ABS_PATH_MAX < 1 << 12 && XENSTORE_PAYLOAD_MAX < 1 << 13,
               "lengths fit into a record");
_Static_assert(BLOCK_NODES <= 32, "indices fit into five bits, and a set of nodes into a word");

static struct perms **
perms_table(const struct block *block)
{
    return (struct perms **)(block + 1);
}

static struct branch *
branch_table(const struct block *block)
{
    return (struct branch *)(perms_table(block) + block->perms_count);
}

static uint16_t *
starts(const struct block *block)
{
    return (uint16_t *)((char *)block + block->starts_at);
}

static char *
records(const struct block *block)
{
    return (char *)(starts(block) + block->count);
}

static struct record *
record_at(const struct block *block, unsigned int at)
{
    return (struct record *)(records(block) + starts(block)[at]);
}

static size_t
size_of(const struct block *block)
{
    return block->starts_at + block->count * sizeof(uint16_t) + block->bytes;
}

static void
record_set_gen(struct record *record, uint64_t gen)
{
    record->gen_high = gen >> 32;
    record->gen_low = gen;
}

size_t
block_node_bytes(const struct node *node)
{
    return sizeof(struct record) + node->name_length + node->value_length;
}

int
block_compare(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);

    return order ? order : (int)a_length - (int)b_length;
}

/* How many are set; the compiler's own is a call into its library on this baseline. */
static unsigned int
bits(uint32_t word)
{
    word -= word >> 1 & 0x55555555;
    word = (word & 0x33333333) + (word >> 2 & 0x33333333);
    return ((word + (word >> 4)) & 0x0f0f0f0f) * 0x01010101 >> 24;
}

struct branch *
block_branch(const struct block *block, unsigned int at)
{
    uint32_t bit = UINT32_C(1) << at;

    if (!(block->branches & bit))
        return NULL;
    return branch_table(block) + bits(block->branches & (bit - 1));
}

void
block_node(const struct block *block, unsigned int at, struct node *ret_node)
{
    const struct record *record = record_at(block, at);
    const struct branch *branch = block_branch(block, at);

    *ret_node = (struct node){
        .name = record->text,
        .value = record->text + record->name_length,
        .name_length = record->name_length,
        .value_length = record->value_length,
        .perms = perms_table(block)[record->perms],
        .subtree_gen = (uint64_t)record->gen_high << 32 | record->gen_low,
        .parent = branch,
        .children = branch ? branch->top : NULL,
        .children_gen = branch ? branch->gen : 0,
    };
}

unsigned int
block_find(const struct block *block, const char *name, size_t length, bool *ret_found)
{
    const uint16_t *start = starts(block);
    const char *base = records(block);
    unsigned int low = 0, high = block->count;

    *ret_found = false;
    while (low < high) {
        unsigned int middle = (low + high) / 2;
        const struct record *record = (const struct record *)(base + start[middle]);
        int order = block_compare(name, length, record->text, record->name_length);

        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

void
block_set_gen(struct block *block, unsigned int at, uint64_t gen)
{
    record_set_gen(record_at(block, at), gen);
}

bool
block_overwrite(struct block *block, unsigned int at, const struct node *node)
{
    struct record *record = record_at(block, at);
    struct branch *branch = block_branch(block, at);

    if (record->value_length != node->value_length || perms_table(block)[record->perms] != node->perms ||
        node->parent != (branch != NULL) || (branch && branch->top != node->children))
        return false;
    record_set_gen(record, node->subtree_gen);
    if (node->value_length)
        memmove(record->text + record->name_length, node->value, node->value_length);
    return true;
}

void
block_update(struct block *block)
{
    const struct block *left = block->left, *right = block->right;
    unsigned int i;

    block->weight = 1 + (left ? left->weight : 0) + (right ? right->weight : 0);
    block->owners = (left ? left->owners : 0) | (right ? right->owners : 0);
    block->name_bytes = (left ? left->name_bytes : 0) + (right ? right->name_bytes : 0);
    for (i = 0; i < block->perms_count; i++)
        block->owners |= perms_mask(perms_table(block)[i]);
    for (i = 0; i < block->branch_count; i++) {
        const struct block *top = branch_table(block)[i].top;

        block->owners |= top ? top->owners : 0;
    }
    for (i = 0; i < block->count; i++)
        block->name_bytes += record_at(block, i)->name_length + 1;
}

struct block *
block_build(const struct node *nodes, unsigned int count, struct block *left, struct block *right)
{
    struct perms *perms[BLOCK_NODES];
    uint8_t perms_index[BLOCK_NODES];
    struct block shape = {.ref = 1, .count = count};
    struct block *block;
    struct branch *branch;
    unsigned int i, j;

    for (i = 0; i < count; i++) {
        for (j = 0; j < shape.perms_count && perms[j] != nodes[i].perms; j++)
            ;
        if (j == shape.perms_count)
            perms[shape.perms_count++] = nodes[i].perms;
        perms_index[i] = j;
        if (nodes[i].parent) {
            shape.branches |= UINT32_C(1) << i;
            shape.branch_count++;
        }
        shape.bytes += block_node_bytes(&nodes[i]);
    }
    shape.starts_at = sizeof(shape) + shape.perms_count * sizeof(struct perms *) +
                      shape.branch_count * sizeof(struct branch);
    block = mem_alloc(size_of(&shape));
    if (!block)
        return NULL;
    *block = shape;
    block->left = block_ref(left);
    block->right = block_ref(right);
    for (i = 0; i < block->perms_count; i++)
        perms_table(block)[i] = perms_ref(perms[i]);
    branch = branch_table(block);
    block->bytes = 0;
    for (i = 0; i < count; i++) {
        const struct node *node = &nodes[i];
        struct record *record;

        starts(block)[i] = block->bytes;
        record = record_at(block, i);
        *record = (struct record){
            .name_length = node->name_length, .value_length = node->value_length, .perms = perms_index[i]};
        record_set_gen(record, node->subtree_gen);
        memcpy(record->text, node->name, node->name_length);
        if (node->value_length)
            memcpy(record->text + node->name_length, node->value, node->value_length);
        if (node->parent)
            *branch++ = (struct branch){block_ref(node->children), node->children_gen};
        block->bytes += block_node_bytes(node);
    }
    block_update(block);
    return block;
}

struct block *
block_copy(const struct block *block)
{
    size_t size = size_of(block);
    struct block *copy = mem_alloc(size);
    unsigned int i;

    if (!copy)
        return NULL;
    memcpy(copy, block, size);
    copy->ref = 1;
    block_ref(copy->left);
    block_ref(copy->right);
    for (i = 0; i < copy->perms_count; i++)
        perms_ref(perms_table(copy)[i]);
    for (i = 0; i < copy->branch_count; i++)
        block_ref(branch_table(copy)[i].top);
    return copy;
}

struct block *
block_ref(struct block *block)
{
    if (block)
        block->ref++;
    return block;
}

/* Chains a block that lost its last reference to @dead, through a field that needs no cleaning. */
static void
drop(struct block *block, struct block **dead)
{
    _Static_assert(sizeof(block->owners) >= sizeof(*dead), "the chain of the dead fits");
    if (!block || --block->ref)
        return;
    memcpy(&block->owners, dead, sizeof(*dead));
    *dead = block;
}

void
block_put(struct block *block)
{
    struct block *dead = NULL;
    unsigned int i;

    drop(block, &dead);
    while (dead) {
        block = dead;
        memcpy(&dead, &block->owners, sizeof(dead));
        drop(block->left, &dead);
        drop(block->right, &dead);
        for (i = 0; i < block->branch_count; i++)
            drop(branch_table(block)[i].top, &dead);
        for (i = 0; i < block->perms_count; i++)
            perms_put(perms_table(block)[i]);
        mem_free(block);
    }
}
