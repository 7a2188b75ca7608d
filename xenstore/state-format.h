/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The records of a state file, as they lie in it: little endian, natural alignment, no holes.
 */
#pragma once

#include <stdint.h>

#include "quota.h"

enum state_type {
    STATE_PERMS = 1, /* numbered from 1 in the order of the file */
    STATE_BLOCK,     /* the same; what it refers to came before */
    STATE_GLOBAL,
    STATE_DOMAIN,
    STATE_CLIENT,
    STATE_WATCH, /* in the order in which they were set */
    STATE_MISSED,
    STATE_TRANSACTION,
    STATE_END,
};

struct state_header {
    uint64_t magic;
    uint32_t version;
    uint32_t quota_count;
    uint64_t generation;
};

struct state_perm {
    uint16_t domid;
    uint16_t access;
};

/* siblings, in order; followed by @count times a state_node, its name and its value, nothing padded */
struct state_block {
    uint32_t left, right; /* blocks */
    uint32_t count;
    uint32_t reserved;
};

struct state_node {
    uint32_t children; /* a block */
    uint32_t perms;
    uint16_t name_length;
    uint16_t value_length;
    uint32_t parent; /* 1: has or had children */
    uint64_t subtree_gen;
    uint64_t children_gen;
};

struct state_global {
    uint64_t gen;
    uint64_t next_watch;
    uint64_t now;
    uint32_t next_client;
    uint32_t next_transaction;
    uint32_t root;
    uint32_t special_perms[2];
    uint32_t log_all;
    uint64_t counters[5];
    uint32_t limit[QUOTA_COUNT];
};

struct state_domain {
    uint16_t id;
    uint16_t target;
    uint8_t introduced, shutdown, own_quota, log;
    uint32_t port;
    uint32_t features;
    uint64_t gfn;
    uint64_t counters[4];
    uint32_t limit[QUOTA_COUNT];
};

/* followed by @in_length bytes received and @out_length bytes to send */
struct state_client {
    uint32_t id;
    uint16_t domid;
    uint8_t socket;
    uint8_t broken;
    uint64_t in_total, out_total;
    uint32_t in_base, out_base;
    uint32_t in_length, out_length;
};

/* followed by the path and the token, each with its terminator */
struct state_watch {
    uint64_t id;
    uint32_t client;
    int32_t depth;
    uint32_t path_length;
    uint32_t token_length;
    uint32_t relative;
    uint32_t reserved;
};

struct state_missed {
    uint32_t client;
    uint32_t reserved;
    uint64_t watch;
};

/* followed by @ledger_count state_ledger, then @touched_count times state_touched and a path, padded to 4 */
struct state_transaction {
    uint32_t client;
    uint32_t id;
    uint64_t started;
    uint32_t base, work; /* 0: abandoned */
    uint32_t ledger_count;
    uint32_t touched_count;
};

struct state_ledger {
    uint32_t domid;
    uint32_t reserved;
    int64_t nodes;
    int64_t bytes;
};

struct state_touched {
    uint16_t flags;
    uint16_t length;
};

struct state_end {
    uint64_t records; /* before this one */
};
