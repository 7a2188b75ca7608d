/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the names and the default values of the limits.
 *
 * The defaults hold a guest with 32 disks and 16 network cards of 8 queues: about 20 nodes for each disk
 * and 80 for each card make 1,920 nodes in its own directory, with two watches for each device.
 */
#include "quota.h"

#include <string.h>

/* clang-format off */
static const struct {
    const char *name;
    const char *alias; /* what xenstored of Xen calls it in its options */
} names[QUOTA_COUNT] = {
    [QUOTA_NODES]             = { "nodes", "entry-nb" },
    [QUOTA_WATCHES]           = { "watches", "watch-nb" },
    [QUOTA_TRANSACTIONS]      = { "transactions", "transaction" },
    [QUOTA_NODE_SIZE]         = { "node-size", "entry-size" },
    [QUOTA_PERMISSIONS]       = { "permissions", "node-permissions" },
    [QUOTA_MEMORY]            = { "memory", "memory" },
    [QUOTA_TRANSACTION_NODES] = { "transaction-nodes", "transaction-nodes" },
    [QUOTA_TRANSACTION_AGE]   = { "transaction-age", "transaction-age" },
    [QUOTA_PATH_MAX]          = { "path-max", "path-max" },
    [QUOTA_PENDING]           = { "pending", "outstanding" },
};
/* clang-format on */

/* clang-format off */
const struct quota quota_defaults = {
    .limit = {
        [QUOTA_NODES]             = 4096,
        [QUOTA_WATCHES]           = 512,
        [QUOTA_TRANSACTIONS]      = 16,
        [QUOTA_NODE_SIZE]         = 2048,
        [QUOTA_PERMISSIONS]       = 16,
        [QUOTA_MEMORY]            = 2 * 1024 * 1024,
        [QUOTA_TRANSACTION_NODES] = 1024,
        [QUOTA_TRANSACTION_AGE]   = 120,
        [QUOTA_PATH_MAX]          = 1024,
        [QUOTA_PENDING]           = 64 * 1024,
    },
};
/* clang-format on */

const char *
quota_name(enum quota_kind kind)
{
    return names[kind].name;
}

bool
quota_find(const char *name, enum quota_kind *ret_kind)
{
    int kind;

    for (kind = 0; kind < QUOTA_COUNT; kind++) {
        if (!strcmp(name, names[kind].name) || !strcmp(name, names[kind].alias)) {
            *ret_kind = kind;
            return true;
        }
    }
    return false;
}

bool
quota_exceeded(const struct quota *quota, enum quota_kind kind, uint64_t amount)
{
    return quota->limit[kind] && amount > quota->limit[kind];
}
