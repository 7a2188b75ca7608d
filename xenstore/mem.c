/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: nothing but the failure switch of the tests.  The containers here never shrink a table
 * while it is in use and never keep a half-done change after a failed allocation.
 */
#include "mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static long fail_countdown = -1;
static bool fail_happened;
static unsigned long failures;

static bool
must_fail(void)
{
    if (__builtin_expect(fail_countdown < 0, 1))
        return false;
    if (fail_countdown-- > 0)
        return false;
    fail_happened = true;
    return true;
}

void
mem_fail_after(long count)
{
    fail_countdown = count;
    fail_happened = false;
}

bool
mem_failed(void)
{
    return fail_happened;
}

unsigned long
mem_failures(void)
{
    return failures;
}

static void *
counted(void *memory)
{
    if (__builtin_expect(!memory, 0))
        failures++;
    return memory;
}

void *
mem_alloc(size_t size)
{
    return counted(must_fail() ? NULL : malloc(size));
}

void *
mem_zalloc(size_t size)
{
    return counted(must_fail() ? NULL : calloc(1, size));
}

void *
mem_resize(void *old, size_t size)
{
    return counted(must_fail() ? NULL : realloc(old, size));
}

char *
mem_strndup(const char *text, size_t length)
{
    char *copy = mem_alloc(length + 1);

    if (copy) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

void
mem_free(void *memory)
{
    free(memory);
}

int
buf_reserve(struct buf *buf, size_t extra)
{
    size_t capacity = buf->capacity ? buf->capacity : 256;
    char *data;

    if (buf->start + buf->length + extra <= buf->capacity)
        return 0;
    /* The front may be free: moving is cheaper than growing, and amortized when half is free. */
    if (buf->length + extra <= buf->capacity && buf->start >= buf->capacity / 2) {
        memmove(buf->data, buf->data + buf->start, buf->length);
        buf->start = 0;
        return 0;
    }
    while (capacity < buf->length + extra)
        capacity *= 2;
    data = mem_alloc(capacity);
    if (!data)
        return -ENOMEM;
    if (buf->length)
        memcpy(data, buf->data + buf->start, buf->length);
    mem_free(buf->data);
    buf->data = data;
    buf->start = 0;
    buf->capacity = capacity;
    return 0;
}

int
buf_append(struct buf *buf, const void *data, size_t length)
{
    int rc = length ? buf_reserve(buf, length) : 0;

    if (rc || !length)
        return rc;
    memcpy(buf->data + buf->start + buf->length, data, length);
    buf->length += length;
    return 0;
}

void
buf_consume(struct buf *buf, size_t length)
{
    buf->start += length;
    buf->length -= length;
    if (buf->length)
        return;
    buf->start = 0;
    /* One burst must not hold its memory for the life of the connection. */
    if (buf->capacity > 65536)
        buf_fini(buf);
}

void
buf_fini(struct buf *buf)
{
    mem_free(buf->data);
    *buf = (struct buf){0};
}

static uint32_t
hash_bytes(const void *key, size_t length)
{
    const unsigned char *byte = key;
    uint64_t hash = 0xcbf29ce484222325u ^ length;

    while (length >= 8) {
        uint64_t word;

        memcpy(&word, byte, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
        byte += 8;
        length -= 8;
    }
    while (length--)
        hash = (hash ^ *byte++) * 0x100000001b3u;
    hash ^= hash >> 32;
    hash *= 0x9e3779b97f4a7c15u;
    return (uint32_t)(hash >> 32);
}

/* Linear probing; returns the entry of the key, or the free one where it would go. */
static struct map_entry *
map_slot(const struct map *map, const void *key, size_t length, uint32_t hash)
{
    uint32_t i = hash & (map->capacity - 1);

    for (;; i = (i + 1) & (map->capacity - 1)) {
        struct map_entry *entry = &map->entries[i];

        if (!entry->value)
            return entry;
        if (entry->hash == hash && entry->key_length == length && !memcmp(entry->key, key, length))
            return entry;
    }
}

void *
map_find(const struct map *map, const void *key, size_t length)
{
    if (!map->count)
        return NULL;
    return map_slot(map, key, length, hash_bytes(key, length))->value;
}

static int
map_grow(struct map *map)
{
    struct map bigger = {.capacity = map->capacity ? map->capacity * 2 : 4, .count = map->count};

    bigger.entries = mem_zalloc(bigger.capacity * sizeof(*bigger.entries));
    if (!bigger.entries)
        return -ENOMEM;
    map_for_each(map, entry) * map_slot(&bigger, entry->key, entry->key_length, entry->hash) = *entry;
    mem_free(map->entries);
    *map = bigger;
    return 0;
}

int
map_insert(struct map *map, const void *key, size_t length, void *value)
{
    uint32_t hash = hash_bytes(key, length);
    struct map_entry *entry;
    int rc;

    if ((map->count + 1) * 4 > map->capacity * 3) {
        rc = map_grow(map);
        if (rc)
            return rc;
    }
    entry = map_slot(map, key, length, hash);
    if (!entry->value)
        map->count++;
    *entry = (struct map_entry){.key = key, .key_length = length, .hash = hash, .value = value};
    return 0;
}

void *
map_remove(struct map *map, const void *key, size_t length)
{
    uint32_t mask = map->capacity - 1;
    struct map_entry *entry;
    uint32_t hole, i;
    void *value;

    if (!map->count)
        return NULL;
    entry = map_slot(map, key, length, hash_bytes(key, length));
    value = entry->value;
    if (!value)
        return NULL;
    map->count--;
    hole = entry - map->entries;
    /* Entries behind the hole move into it when their home is not after it, so no marks are needed. */
    for (i = (hole + 1) & mask; map->entries[i].value; i = (i + 1) & mask) {
        uint32_t home = map->entries[i].hash & mask;

        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        map->entries[hole] = map->entries[i];
        hole = i;
    }
    map->entries[hole] = (struct map_entry){0};
    if (!map->count)
        map_fini(map);
    return value;
}

void
map_fini(struct map *map)
{
    mem_free(map->entries);
    *map = (struct map){0};
}
