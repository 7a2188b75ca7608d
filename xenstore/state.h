/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The whole store as a file, in one versioned format.
 *
 * A file is a header and records, each with its type, its length and a sum of its bytes, in the
 * order in which they can be understood: what a record refers to came before it.  There are no pointers;
 * blocks of nodes and permissions that several trees share are written once and referred to by number, so
 * open transactions cost what they changed and find their conflicts after a load as before it.
 */
#pragma once

#include "store.h"

#define STATE_MAGIC   UINT64_C(0x0a5458495241536e) /* "nSARIXT\n" */
#define STATE_VERSION 2

struct record_header {
    uint32_t type;
    uint32_t length;
    uint32_t client; /* used by the journal */
    uint32_t sum;
};

/* A sum of a record: damage is found, malice is not. */
uint32_t record_sum(const struct record_header *header, const void *payload);

static inline size_t
record_padded(size_t length)
{
    return (length + 7) & ~(size_t)7;
}

/* Writes the store, as generation @generation of its directory.  0 or -errno. */
int state_write(struct store *store, int fd, uint64_t generation);
/*
 * Fills @store, which is not initialized, from the bytes of a file.  On failure @store is not
 * initialized and @ret_reason says where and why, as a constant sentence.
 */
int state_read(struct store *store, const void *data, size_t size, uint64_t *ret_generation,
               const char **ret_reason);
