/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What an unprivileged domain may cost.  A limit of 0 means none.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum quota_kind {
    QUOTA_NODES,             /* nodes owned */
    QUOTA_WATCHES,           /* watches set */
    QUOTA_TRANSACTIONS,      /* transactions open at once */
    QUOTA_NODE_SIZE,         /* bytes of one value, with its permissions */
    QUOTA_PERMISSIONS,       /* permission entries of one node */
    QUOTA_MEMORY,            /* bytes of all nodes, watches, transactions and messages */
    QUOTA_TRANSACTION_NODES, /* different nodes touched in one transaction */
    QUOTA_TRANSACTION_AGE,   /* seconds that a transaction may stay open */
    QUOTA_PATH_MAX,          /* bytes of a path below the domain's home */
    QUOTA_PENDING,           /* bytes not yet read by the client, before its requests wait */
    QUOTA_COUNT,
};

struct quota {
    uint32_t limit[QUOTA_COUNT];
};

extern const struct quota quota_defaults;

const char *quota_name(enum quota_kind kind);
/* Finds a kind by its name, or by one of the short names that Xen's daemons use; false if unknown. */
bool quota_find(const char *name, enum quota_kind *ret_kind);
bool quota_exceeded(const struct quota *quota, enum quota_kind kind, uint64_t amount);
