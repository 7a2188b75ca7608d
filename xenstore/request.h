/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One request: what the table's rows get to work with.
 */
#pragma once

#include "path.h"
#include "store.h"
#include "wire.h"

struct transaction;

struct call {
    struct store *store;
    struct client *client;
    struct transaction *transaction; /* NULL outside of one */
    struct xsd_sockmsg header;
    struct payload payload;
    struct credentials who;
    char path[PATH_BYTES];
    bool replied;
};

/*
 * Takes the next request of a client that client_ready() named and answers it.  -ENOMEM says that
 * nothing happened for lack of memory for the answer, and the request waits still.
 */
int request_process(struct store *store, struct client *client);

/* Queues the answer.  A row answers before it fires watches, so a client hears of its own success first. */
void call_reply(struct call *call, const void *data, size_t length);
void call_ok(struct call *call);

/* Makes a path as the client gave it absolute in call->path, within the limit of its length. */
int call_path(struct call *call, const char *given, size_t length);
/* The same for a request that consists of a path. */
int call_only_path(struct call *call);

/* The rows: request-node.c, request.c, request-domain.c, control.c. */
int request_read(struct call *call);
int request_directory(struct call *call);
int request_directory_part(struct call *call);
int request_write(struct call *call);
int request_mkdir(struct call *call);
int request_rm(struct call *call);
int request_get_perms(struct call *call);
int request_set_perms(struct call *call);
int request_watch(struct call *call);
int request_unwatch(struct call *call);
int request_reset_watches(struct call *call);
int request_transaction_start(struct call *call);
int request_transaction_end(struct call *call);
int request_introduce(struct call *call);
int request_release(struct call *call);
int request_resume(struct call *call);
int request_set_target(struct call *call);
int request_is_domain_introduced(struct call *call);
int request_get_domain_path(struct call *call);
int request_get_feature(struct call *call);
int request_set_feature(struct call *call);
int request_get_quota(struct call *call);
int request_set_quota(struct call *call);
int request_control(struct call *call);
