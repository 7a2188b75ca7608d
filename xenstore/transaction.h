/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A transaction is two roots: the tree as it was at the start, and the tree as the client changed
 * it; and the list of nodes that the client looked at or changed.  See transaction.c for the rule.
 */
#pragma once

#include "store.h"

enum access {
    ACCESS_EXISTS = 1 << 0,   /* that it is there, or is not */
    ACCESS_VALUE = 1 << 1,    /* its value was read */
    ACCESS_PERMS = 1 << 2,    /* its permissions were read, or decided */
    ACCESS_CHILDREN = 1 << 3, /* its children were listed */
    ACCESS_SUBTREE = 1 << 4,  /* everything below matters */
    ACCESS_SET_VALUE = 1 << 5,
    ACCESS_SET_PERMS = 1 << 6,
    ACCESS_CREATED = 1 << 7,
    ACCESS_REMOVED = 1 << 8,
    ACCESS_CHANGED = ACCESS_SET_VALUE | ACCESS_SET_PERMS | ACCESS_CREATED | ACCESS_REMOVED,
    ACCESS_ALL = (1 << 9) - 1,
};

struct touched {
    struct link in_list;
    uint16_t flags;
    uint16_t length;
    char path[];
};

struct transaction {
    struct link in_client;
    struct client *client;
    uint32_t id;
    uint64_t started; /* store->now */
    struct block *base;
    struct block *work;
    struct block *before; /* the root that a commit replaced, until its watches have fired */
    struct map touched;
    struct link touched_list;
    size_t bytes; /* charged to the client's domain */
    struct ledger ledger;
    bool abandoned; /* too old: the roots are gone, and only its end is still answered */
};

int transaction_start(struct store *store, struct client *client, struct transaction **ret_transaction);
struct transaction *transaction_find(struct client *client, uint32_t id);
/* Remembers what was done to @path.  Comes before the change: -ENOMEM and -ENOSPC leave nothing behind. */
int transaction_note(struct store *store, struct transaction *transaction, const char *path, size_t length,
                     unsigned int flags);
/* 0, -EAGAIN after a conflict, or the limit that the result would break. */
int transaction_commit(struct store *store, struct transaction *transaction);
/* Fires the watches of a commit, if there was one, and frees the transaction. */
void transaction_finish(struct store *store, struct transaction *transaction);
/* Lets go of the snapshot of a transaction that is too old; its end will answer EAGAIN. */
void transaction_abandon(struct transaction *transaction);
void transaction_remove_all(struct store *store, struct client *client);
