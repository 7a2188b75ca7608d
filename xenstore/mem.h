/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Memory of the store's core.  Every allocation may fail and every caller says so to its client
 * with ENOMEM, with nothing changed; a test makes each one fail in turn through mem_fail_after().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *mem_alloc(size_t size);
void *mem_zalloc(size_t size);
void *mem_resize(void *old, size_t size);
char *mem_strndup(const char *text, size_t length);
void mem_free(void *memory);

/* How many allocations have failed so far: what came of each was not what a replay would make. */
unsigned long mem_failures(void);

/* For tests: the allocation after the next @count ones fails, once.  Negative turns it off. */
void mem_fail_after(long count);
bool mem_failed(void);

/* A growing run of bytes that is filled at the end and emptied at the front. */
struct buf {
    char *data;
    size_t start;
    size_t length;
    size_t capacity;
};

/* Makes room for @extra more bytes; afterwards buf_append() of as much cannot fail. */
int buf_reserve(struct buf *buf, size_t extra);
int buf_append(struct buf *buf, const void *data, size_t length);
void buf_consume(struct buf *buf, size_t length);
void buf_fini(struct buf *buf);

static inline char *
buf_head(const struct buf *buf)
{
    return buf->data + buf->start;
}

/*
 * A hash table from a run of bytes to a pointer.  The key's bytes belong to the value and are not
 * copied, so they must live as long as the entry does.
 */
struct map_entry {
    const char *key;
    uint32_t key_length;
    uint32_t hash;
    void *value;
};

struct map {
    struct map_entry *entries;
    uint32_t capacity; /* a power of two, or 0 before the first insertion */
    uint32_t count;
};

void *map_find(const struct map *map, const void *key, size_t length);
int map_insert(struct map *map, const void *key, size_t length, void *value);
void *map_remove(struct map *map, const void *key, size_t length);
void map_fini(struct map *map);

/* Visits each value, in no order that may be relied on. */
#define map_for_each(map, entry)                                                                      \
    for (struct map_entry *entry = (map)->entries; entry && entry < (map)->entries + (map)->capacity; \
         entry++)                                                                                     \
        if (entry->value)

/* The intrusive doubly linked list of the core. */
struct link {
    struct link *next;
    struct link *previous;
};

static inline void
link_init(struct link *list)
{
    list->next = list->previous = list;
}

static inline bool
link_empty(const struct link *list)
{
    return list->next == list;
}

static inline void
link_append(struct link *list, struct link *item)
{
    item->previous = list->previous;
    item->next = list;
    list->previous->next = item;
    list->previous = item;
}

static inline void
link_remove(struct link *item)
{
    item->previous->next = item->next;
    item->next->previous = item->previous;
    item->next = item->previous = item;
}

#define link_entry(item, type, member) ((type *)((char *)(item)-offsetof(type, member)))

#define list_for_each(list, item) for (struct link *item = (list)->next; item != (list); item = item->next)

/* The same where the body may remove @item. */
#define link_for_each_safe(list, item)                                                \
    for (struct link *item = (list)->next, *item##_next = item->next; item != (list); \
         item = item##_next, item##_next = item->next)
