/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the requests about nodes.  The order in every handler: parse, find, check permission, check
 * limits, note in the transaction, change, reply, fire watches.
 */
#include "request.h"
#include "transaction.h"
#include "watch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct block **
call_root(struct call *call)
{
    return call->transaction ? &call->transaction->work : &call->store->root;
}

static int
call_note(struct call *call, const char *path, size_t length, unsigned int flags)
{
    if (!call->transaction)
        return 0;
    return transaction_note(call->store, call->transaction, path, length, flags);
}

struct place {
    struct node node; /* that of the path if @missing is empty, else the nearest above it that exists */
    struct node parent;
    const char *missing;
};

/*
 * Finds call->path for somebody who needs @wanted.  The errors tell as much as the asker may know:
 * -ENOENT only to who has the right on the nearest node that exists, else -EACCES.  A node that does
 * not exist is noted, since that was learned.
 */
static int
call_find(struct call *call, unsigned int wanted, unsigned int note, struct place *place)
{
    unsigned int access;
    int rc;

    place->missing = tree_find_nearest(*call_root(call), call->path, &place->node, &place->parent);
    access = perms_access(place->node.perms, &call->who);
    rc = call_note(call, call->path, strlen(call->path), *place->missing ? ACCESS_EXISTS : note);
    if (rc)
        return rc;
    if (!*place->missing)
        return (access & wanted) == wanted ? 0 : -EACCES;
    return access & wanted ? -ENOENT : -EACCES;
}

int
request_read(struct call *call)
{
    struct place place;
    int rc = call_only_path(call);

    if (!rc)
        rc = call_find(call, PERM_READ, ACCESS_VALUE | ACCESS_PERMS, &place);
    if (rc)
        return rc;
    call_reply(call, place.node.value, place.node.value_length);
    return 0;
}

int
request_directory(struct call *call)
{
    char list[XENSTORE_PAYLOAD_MAX];
    struct place place;
    int rc = call_only_path(call);

    if (!rc)
        rc = call_find(call, PERM_READ, ACCESS_CHILDREN | ACCESS_PERMS, &place);
    if (rc)
        return rc;
    if (node_list_bytes(&place.node) > sizeof(list))
        return -E2BIG;
    call_reply(call, list, node_list(&place.node, 0, list, sizeof(list)));
    return 0;
}

int
request_directory_part(struct call *call)
{
    char reply[XENSTORE_PAYLOAD_MAX];
    struct place place;
    uint64_t offset;
    size_t length, used;
    long listed;
    char *given, *number;
    int rc;

    given = wire_take_string(&call->payload, &length);
    rc = given ? call_path(call, given, length) : -EINVAL;
    number = wire_take_string(&call->payload, &length);
    if (rc || !number || call->payload.length || !wire_number(number, UINT32_MAX, &offset))
        return -EINVAL;
    rc = call_find(call, PERM_READ, ACCESS_CHILDREN | ACCESS_PERMS, &place);
    if (rc)
        return rc;
    used = snprintf(reply, sizeof(reply), "%" PRIu64, place.node.children_gen) + 1;
    listed = node_list(&place.node, offset, reply + used, sizeof(reply) - used - 1);
    if (listed < 0)
        return listed;
    used += listed;
    /* An empty name after the last says that the list ends here. */
    if (offset + listed == node_list_bytes(&place.node))
        reply[used++] = '\0';
    call_reply(call, reply, used);
    return 0;
}

/* Checks @ledger against the limits, if the asker has any, and makes sure that booking it cannot fail. */
static int
call_prepare_ledger(struct call *call, const struct ledger *ledger)
{
    uint32_t i;
    int rc = store_know_owners(call->store, ledger);

    if (!rc && !call->who.privileged)
        rc = store_check_ledger(call->store, ledger, call->transaction ? &call->transaction->ledger : NULL);
    for (i = 0; !rc && call->transaction && i < ledger->count; i++)
        rc = ledger_add(&call->transaction->ledger, ledger->entries[i].domid, 0, 0);
    return rc;
}

static void
call_book_ledger(struct call *call, const struct ledger *ledger)
{
    if (call->transaction)
        ledger_merge(&call->transaction->ledger, ledger);
    else
        store_apply_ledger(call->store, ledger);
}

/* Notes every node that is about to be made, and the one they will hang below. */
static int
note_creation(struct call *call, const struct place *place)
{
    const char *end = place->missing;
    size_t length = end - call->path;
    int rc = call_note(call, length ? call->path : "/", length ? length : 1, ACCESS_EXISTS | ACCESS_PERMS);

    while (!rc && *end) {
        end = strchrnul(end + 1, '/');
        rc = call_note(call, call->path, end - call->path, ACCESS_CREATED);
    }
    return rc;
}

static int
create(struct call *call, const struct place *place, const char *value, size_t value_length)
{
    struct perms *perms = perms_inherit(place->node.perms, &call->who);
    uint16_t owner = perms ? perms->entry[0].domid : 0;
    struct ledger ledger = {0};
    const char *cursor = place->missing;
    size_t length;
    int rc = perms ? 0 : -ENOMEM;

    while (!rc && path_next(&cursor, &length))
        rc = ledger_add(&ledger, owner, 1, NODE_BYTES + length + perms->count * sizeof(struct perm));
    if (!rc)
        rc = ledger_add(&ledger, owner, 0, value_length);
    if (!rc)
        rc = call_prepare_ledger(call, &ledger);
    if (!rc)
        rc = note_creation(call, place);
    if (!rc)
        rc = tree_create(call_root(call), call->path, value, value_length, perms, ++call->store->gen);
    if (!rc)
        call_book_ledger(call, &ledger);
    perms_put(perms);
    ledger_fini(&ledger);
    return rc;
}

static int
overwrite(struct call *call, const struct node *node, const char *value, size_t value_length)
{
    int64_t bytes = (int64_t)value_length - node->value_length;
    struct ledger ledger = {0};
    int rc;

    rc = ledger_add(&ledger, node->perms->entry[0].domid, 0, bytes);
    if (!rc)
        rc = call_prepare_ledger(call, &ledger);
    if (!rc)
        rc = call_note(call, call->path, strlen(call->path), ACCESS_SET_VALUE);
    if (!rc)
        rc = tree_set_value(call_root(call), call->path, value, value_length, ++call->store->gen);
    if (!rc)
        call_book_ledger(call, &ledger);
    ledger_fini(&ledger);
    return rc;
}

/* Fires the watches of a node that was made or changed, outside a transaction. */
static void
fire_changed(struct call *call, const struct perms *before)
{
    struct watch_scope scope = {.before = before};
    struct node node, parent;

    if (call->transaction || !call->store->watch_count)
        return;
    tree_find_nearest(call->store->root, call->path, &node, &parent);
    scope.after = node.perms;
    scope.parent = parent.perms;
    watch_fire(call->store, call->path, &scope);
}

int
request_write(struct call *call)
{
    const struct quota *quota = store_quota(call->store, call->client->domain);
    struct place place;
    size_t length;
    char *given = wire_take_string(&call->payload, &length);
    int rc;

    if (!given)
        return -EINVAL;
    rc = call_path(call, given, length);
    if (rc)
        return rc;
    if (!call->who.privileged && quota_exceeded(quota, QUOTA_NODE_SIZE, call->payload.length))
        return -ENOSPC;
    rc = call_find(call, PERM_WRITE, ACCESS_VALUE | ACCESS_PERMS, &place);
    if (rc && rc != -ENOENT)
        return rc;
    if (*place.missing)
        rc = create(call, &place, call->payload.data, call->payload.length);
    else
        rc = overwrite(call, &place.node, call->payload.data, call->payload.length);
    if (rc)
        return rc;
    call_ok(call);
    fire_changed(call, NULL);
    return 0;
}

int
request_mkdir(struct call *call)
{
    struct place place;
    int rc = call_only_path(call);

    if (rc)
        return rc;
    rc = call_find(call, PERM_WRITE, ACCESS_EXISTS | ACCESS_PERMS, &place);
    if (rc == -ENOENT) {
        rc = create(call, &place, NULL, 0);
        if (rc)
            return rc;
        call_ok(call);
        fire_changed(call, NULL);
        return 0;
    }
    if (!rc)
        call_ok(call);
    return rc;
}

int
request_rm(struct call *call)
{
    struct ledger ledger = {0};
    struct block *removed;
    struct perms *parent_perms;
    struct node node;
    struct place place;
    int rc = call_only_path(call);

    if (rc)
        return rc;
    rc = call_find(call, PERM_WRITE, ACCESS_SUBTREE | ACCESS_PERMS, &place);
    if (rc == -ENOENT && !strchr(place.missing + 1, '/')) {
        /* Not there, but its parent is: that is what was asked for. */
        size_t length = place.missing - call->path;

        rc = call_note(call, length ? call->path : "/", length ? length : 1, ACCESS_EXISTS);
        if (!rc)
            call_ok(call);
        return rc;
    }
    if (rc)
        return rc;
    if (!call->path[1])
        return -EINVAL;
    rc = tree_account(&place.node, -1, &ledger);
    if (!rc)
        rc = call_prepare_ledger(call, &ledger);
    if (!rc)
        rc = call_note(call, call->path, strlen(call->path), ACCESS_REMOVED);
    parent_perms = perms_ref(place.parent.perms);
    if (!rc)
        rc = tree_remove(call_root(call), call->path, ++call->store->gen, &removed);
    if (!rc) {
        call_book_ledger(call, &ledger);
        call_ok(call);
        tree_root(removed, &node);
        if (!call->transaction)
            watch_fire_removed(call->store, call->path, &node, parent_perms);
        tree_put(removed);
    }
    perms_put(parent_perms);
    ledger_fini(&ledger);
    return rc;
}

int
request_get_perms(struct call *call)
{
    char reply[XENSTORE_PAYLOAD_MAX];
    const struct perms *perms;
    struct place place;
    size_t used = 0;
    unsigned int i;
    int rc;

    if (call->payload.length && call->payload.data[0] == '@') {
        int special = call->payload.data[call->payload.length - 1] ? -1 : store_special(call->payload.data);

        if (special < 0)
            return -ENOENT;
        perms = call->store->special_perms[special];
        if (!(perms_access(perms, &call->who) & PERM_READ))
            return -EACCES;
    } else {
        rc = call_only_path(call);
        if (!rc)
            rc = call_find(call, PERM_READ, ACCESS_PERMS, &place);
        if (rc)
            return rc;
        perms = place.node.perms;
    }
    for (i = 0; i < perms->count; i++) {
        if (used + PERM_TEXT_BYTES > sizeof(reply))
            return -E2BIG;
        used += perm_format(&perms->entry[i], reply + used);
    }
    call_reply(call, reply, used);
    return 0;
}

static int
set_special_perms(struct call *call, const char *name, struct perms *perms)
{
    int special = store_special(name);

    if (special < 0)
        return -ENOENT;
    if (!call->who.privileged)
        return -EACCES;
    perms_put(call->store->special_perms[special]);
    call->store->special_perms[special] = perms_ref(perms);
    call_ok(call);
    return 0;
}

static int
set_node_perms(struct call *call, struct perms *perms)
{
    struct ledger ledger = {0};
    struct perms *before = NULL;
    struct place place;
    int rc;

    rc = call_find(call, PERM_WRITE | PERM_OWNER, ACCESS_PERMS, &place);
    if (rc)
        return rc;
    if (!call->who.privileged && perms->entry[0].domid != place.node.perms->entry[0].domid)
        return -EPERM;
    rc = ledger_add(&ledger, place.node.perms->entry[0].domid, -1, -(int64_t)node_bytes(&place.node));
    if (!rc)
        rc = ledger_add(&ledger, perms->entry[0].domid, 1,
                        (int64_t)node_bytes(&place.node) +
                            ((int)perms->count - (int)place.node.perms->count) * (int)sizeof(struct perm));
    if (!rc)
        rc = call_prepare_ledger(call, &ledger);
    if (!rc)
        rc = call_note(call, call->path, strlen(call->path), ACCESS_SET_PERMS);
    if (!rc) {
        before = perms_ref(place.node.perms);
        rc = tree_set_perms(call_root(call), call->path, perms, ++call->store->gen);
    }
    if (!rc) {
        call_book_ledger(call, &ledger);
        call_ok(call);
        fire_changed(call, before);
    }
    perms_put(before);
    ledger_fini(&ledger);
    return rc;
}

#define PERMS_LIMIT 512

int
request_set_perms(struct call *call)
{
    const struct quota *quota = store_quota(call->store, call->client->domain);
    struct perm entries[PERMS_LIMIT];
    struct perms *perms;
    unsigned int count = 0;
    size_t length;
    char *given = wire_take_string(&call->payload, &length);
    int rc;

    if (!given)
        return -EINVAL;
    while (call->payload.length) {
        size_t ignored;
        char *text = wire_take_string(&call->payload, &ignored);

        /* Some clients end the list with an empty string. */
        if (text && !*text && !call->payload.length)
            break;
        if (!text || count == PERMS_LIMIT || perm_parse(text, &entries[count++]))
            return -EINVAL;
    }
    if (!count)
        return -EINVAL;
    if (!call->who.privileged && quota_exceeded(quota, QUOTA_PERMISSIONS, count))
        return -ENOSPC;
    perms = perms_new(entries, count);
    if (!perms)
        return -ENOMEM;
    if (path_special(given)) {
        rc = set_special_perms(call, given, perms);
    } else {
        rc = call_path(call, given, length);
        if (!rc)
            rc = set_node_perms(call, perms);
    }
    perms_put(perms);
    return rc;
}
