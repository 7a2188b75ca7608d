/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the table of requests.  A row's handler returns 0 after it replied, or -errno with nothing
 * changed, from which the ERROR reply is made.  The order in every handler: parse, find, check
 * permission, check limits, note in the transaction, change, reply, fire watches.
 */
#include "request.h"
#include "transaction.h"
#include "watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void
call_reply(struct call *call, const void *data, size_t length)
{
    /* request_process() reserved the room. */
    client_queue(call->store, call->client, call->header.type, call->header.req_id, call->header.tx_id, data,
                 length);
    call->replied = true;
}

void
call_ok(struct call *call)
{
    call_reply(call, "OK", 3);
}

/* Makes the client's path absolute in call->path. */
int
call_path(struct call *call, const char *given, size_t length)
{
    const struct quota *quota = store_quota(call->store, call->client->domain);
    char *end;
    int rc;

    rc = path_resolve(given, length, call->who.domid, call->path);
    if (rc || call->who.privileged)
        return rc;
    /* The limit counts what comes below some domain's home, as clients write it. */
    length = strlen(call->path);
    if (!strncmp(call->path, "/local/domain/", 14) && (end = strchr(call->path + 14, '/')))
        length -= end + 1 - call->path;
    return quota_exceeded(quota, QUOTA_PATH_MAX, length) ? -EINVAL : 0;
}

/* The path of a request that has nothing else. */
int
call_only_path(struct call *call)
{
    size_t length;
    char *given = wire_take_string(&call->payload, &length);

    if (!given || call->payload.length)
        return -EINVAL;
    return call_path(call, given, length);
}

/* The path of a watch: of a node, or the name of a special event. */
static int
watch_path(struct call *call, const char *given, bool *ret_relative)
{
    size_t length = strlen(given);

    *ret_relative = false;
    if (path_special(given)) {
        if (length > XENSTORE_REL_PATH_MAX || length >= sizeof(call->path))
            return -EINVAL;
        memcpy(call->path, given, length + 1);
        return 0;
    }
    *ret_relative = given[0] != '/';
    return call_path(call, given, length);
}

int
request_watch(struct call *call)
{
    unsigned int count;
    struct watch *watch;
    uint64_t depth;
    bool relative;
    char *words[3];
    int rc;

    rc = wire_strings(&call->payload, words, 3, &count);
    if (rc || count < 2)
        return -EINVAL;
    if (count == 3 && !wire_number(words[2], 4096, &depth))
        return -EINVAL;
    rc = watch_path(call, words[0], &relative);
    if (rc)
        return rc;
    if (strlen(words[0]) + strlen(words[1]) + 2 > XENSTORE_PAYLOAD_MAX)
        return -E2BIG;
    rc = watch_add(call->store, call->client, call->path, words[1], count == 3 ? (int)depth : WATCH_NO_DEPTH,
                   relative, &watch);
    if (rc)
        return rc;
    call_ok(call);
    watch_fire_first(call->store, watch);
    return 0;
}

int
request_unwatch(struct call *call)
{
    unsigned int count;
    bool relative;
    char *words[3];
    int rc;

    rc = wire_strings(&call->payload, words, 3, &count);
    if (rc || count < 2)
        return -EINVAL;
    rc = watch_path(call, words[0], &relative);
    if (!rc)
        rc = watch_remove(call->store, call->client, call->path, words[1]);
    if (!rc)
        call_ok(call);
    return rc;
}

int
request_reset_watches(struct call *call)
{
    watch_remove_all(call->store, call->client);
    transaction_remove_all(call->store, call->client);
    call_ok(call);
    return 0;
}

int
request_transaction_start(struct call *call)
{
    struct transaction *transaction;
    char id[16];
    int rc;

    if (call->header.tx_id)
        return -EBUSY;
    rc = transaction_start(call->store, call->client, &transaction);
    if (!rc)
        call_reply(call, id, snprintf(id, sizeof(id), "%u", transaction->id) + 1);
    return rc;
}

int
request_transaction_end(struct call *call)
{
    struct transaction *transaction = call->transaction;
    unsigned int count;
    char *word;
    int rc;

    if (wire_strings(&call->payload, &word, 1, &count) || count != 1 ||
        (strcmp(word, "T") && strcmp(word, "F")))
        return -EINVAL;
    if (!transaction)
        return -ENOENT;
    rc = word[0] == 'T' ? transaction_commit(call->store, transaction) : 0;
    if (!rc)
        call_ok(call);
    transaction_finish(call->store, transaction);
    return rc;
}

enum {
    PRIVILEGED = 1, /* only for domain 0 and the sockets */
    NO_TX = 2,      /* the transaction number is not looked at */
};

/* clang-format off */
static const struct {
    const char *name;
    int (*handler)(struct call *call);
    unsigned int flags;
} requests[XS_WIRE_COUNT] = {
    [XS_CONTROL]              = { "CONTROL",              request_control,              PRIVILEGED | NO_TX },
    [XS_DIRECTORY]            = { "DIRECTORY",            request_directory,            0                  },
    [XS_READ]                 = { "READ",                 request_read,                 0                  },
    [XS_GET_PERMS]            = { "GET_PERMS",            request_get_perms,            0                  },
    [XS_WATCH]                = { "WATCH",                request_watch,                NO_TX              },
    [XS_UNWATCH]              = { "UNWATCH",              request_unwatch,              NO_TX              },
    [XS_TRANSACTION_START]    = { "TRANSACTION_START",    request_transaction_start,    NO_TX              },
    [XS_TRANSACTION_END]      = { "TRANSACTION_END",      request_transaction_end,      0                  },
    [XS_INTRODUCE]            = { "INTRODUCE",            request_introduce,            PRIVILEGED | NO_TX },
    [XS_RELEASE]              = { "RELEASE",              request_release,              PRIVILEGED | NO_TX },
    [XS_GET_DOMAIN_PATH]      = { "GET_DOMAIN_PATH",      request_get_domain_path,      NO_TX              },
    [XS_WRITE]                = { "WRITE",                request_write,                0                  },
    [XS_MKDIR]                = { "MKDIR",                request_mkdir,                0                  },
    [XS_RM]                   = { "RM",                   request_rm,                   0                  },
    [XS_SET_PERMS]            = { "SET_PERMS",            request_set_perms,            0                  },
    [XS_IS_DOMAIN_INTRODUCED] = { "IS_DOMAIN_INTRODUCED", request_is_domain_introduced, PRIVILEGED | NO_TX },
    [XS_RESUME]               = { "RESUME",               request_resume,               PRIVILEGED | NO_TX },
    [XS_SET_TARGET]           = { "SET_TARGET",           request_set_target,           PRIVILEGED | NO_TX },
    [XS_RESET_WATCHES]        = { "RESET_WATCHES",        request_reset_watches,        NO_TX              },
    [XS_DIRECTORY_PART]       = { "DIRECTORY_PART",       request_directory_part,       0                  },
    [XS_GET_FEATURE]          = { "GET_FEATURE",          request_get_feature,          PRIVILEGED | NO_TX },
    [XS_SET_FEATURE]          = { "SET_FEATURE",          request_set_feature,          PRIVILEGED | NO_TX },
    [XS_GET_QUOTA]            = { "GET_QUOTA",            request_get_quota,            PRIVILEGED | NO_TX },
    [XS_SET_QUOTA]            = { "SET_QUOTA",            request_set_quota,            PRIVILEGED | NO_TX },
};
/* clang-format on */

/* What the row allows, then the row. */
static int
dispatch(struct call *call)
{
    uint32_t type = call->header.type;

    if (type >= XS_WIRE_COUNT || !requests[type].handler)
        return -ENOSYS;
    if ((requests[type].flags & PRIVILEGED) && !call->who.privileged)
        return -EACCES;
    if (!(requests[type].flags & NO_TX) && call->header.tx_id) {
        call->transaction = transaction_find(call->client, call->header.tx_id);
        if (!call->transaction)
            return -ENOENT;
        if (call->transaction->abandoned && type != XS_TRANSACTION_END)
            return -EAGAIN;
    }
    return requests[type].handler(call);
}

int
request_process(struct store *store, struct client *client)
{
    static struct call call;
    struct domain *domain = client->domain;
    size_t length;
    uint32_t type;
    int rc;

    memcpy(&call.header, buf_head(&client->in), sizeof(call.header));
    if (call.header.len > XENSTORE_PAYLOAD_MAX) {
        client->broken = XENSTORE_ERROR_PROTO;
        client_mark_dirty(store, client);
        return 0;
    }
    if (buf_reserve(&client->out, MESSAGE_BYTES))
        return -ENOMEM;
    length = sizeof(call.header) + call.header.len;
    call.store = store;
    call.client = client;
    call.transaction = NULL;
    call.payload = (struct payload){buf_head(&client->in) + sizeof(call.header), call.header.len};
    call.who = client_credentials(client);
    call.path[0] = '\0';
    call.replied = false;
    type = call.header.type;
    if (!store->replaying)
        store->outcome.used = false;
    rc = dispatch(&call);
    store->requests++;
    domain->requests++;
    if (rc) {
        const char *name = wire_error(-rc);

        domain->errors++;
        call.header.type = XS_ERROR;
        call_reply(&call, name, strlen(name) + 1);
    }
    if ((store->log_all || domain->log) && store->ops) {
        const char *name = type < XS_WIRE_COUNT && requests[type].name ? requests[type].name : "?";

        store->ops->log(store->ops_data, client, call.header.tx_id, name, call.path, rc);
    }
    buf_consume(&client->in, length);
    return 0;
}
