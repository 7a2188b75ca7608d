/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what is known of each domain, what it is charged with, and the end of a domain.
 *
 * A domain is known from the first thing that refers to it (an introduction, a node it owns, a
 * limit set for it) until it is gone.  Its end takes all it had: ring, watches, transactions, nodes it owned
 * anywhere with all below them, and what permissions of others said about it, so that a later domain
 * of the same number inherits nothing.  The end may be asked for any number of times.
 */
#include "store.h"
#include "path.h"
#include "transaction.h"
#include "watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <xen/xen.h>
#include <xen/io/xs_wire.h>

/* An event ring offers these to its domain; bit 2 is WATCH's third parameter. */
#define RING_FEATURES (XENSTORE_SERVER_FEATURE_RECONNECTION | XENSTORE_SERVER_FEATURE_ERROR | 4)

struct domain *
store_find_domain(struct store *store, uint16_t domid)
{
    return map_find(&store->domains, &domid, sizeof(domid));
}

struct domain *
store_domain(struct store *store, uint16_t domid)
{
    struct domain *domain = store_find_domain(store, domid);

    if (domain)
        return domain;
    domain = mem_zalloc(sizeof(*domain));
    if (!domain)
        return NULL;
    domain->id = domid;
    domain->target = DOMID_INVALID;
    domain->features = RING_FEATURES;
    if (map_insert(&store->domains, &domain->id, sizeof(domain->id), domain)) {
        mem_free(domain);
        return NULL;
    }
    return domain;
}

void
store_domain_done(struct store *store, struct domain *domain)
{
    if (domain->introduced || domain->ring || domain->nodes || domain->own_quota || domain->id == 0)
        return;
    map_remove(&store->domains, &domain->id, sizeof(domain->id));
    mem_free(domain);
}

const struct quota *
store_quota(struct store *store, const struct domain *domain)
{
    return domain->own_quota ? &domain->quota : &store->quota;
}

bool
domain_privileged(const struct domain *domain)
{
    return domain->id == 0;
}

int64_t
domain_memory(const struct domain *domain)
{
    int64_t bytes = domain->node_bytes + domain->other_bytes;

    if (domain->ring)
        bytes += domain->ring->in.length + domain->ring->out.length;
    return bytes;
}

int
store_know_owners(struct store *store, const struct ledger *ledger)
{
    uint32_t i;

    for (i = 0; i < ledger->count; i++) {
        if (!store_domain(store, ledger->entries[i].domid))
            return -ENOMEM;
    }
    return 0;
}

int
store_check_ledger(struct store *store, const struct ledger *ledger, const struct ledger *pending)
{
    uint32_t i, j;

    for (i = 0; i < ledger->count; i++) {
        const struct ledger_entry *entry = &ledger->entries[i];
        struct domain *domain = store_find_domain(store, entry->domid);
        const struct quota *quota;
        int64_t nodes, bytes;

        if (domain_privileged(domain))
            continue;
        quota = store_quota(store, domain);
        nodes = domain->nodes + entry->nodes;
        bytes = domain_memory(domain) + entry->bytes;
        for (j = 0; pending && j < pending->count; j++) {
            if (pending->entries[j].domid != entry->domid)
                continue;
            nodes += pending->entries[j].nodes;
            bytes += pending->entries[j].bytes;
        }
        /* Giving something back is always allowed, also above a limit that was lowered. */
        if (entry->nodes > 0 && quota_exceeded(quota, QUOTA_NODES, nodes))
            return -ENOSPC;
        if (entry->bytes > 0 && quota_exceeded(quota, QUOTA_MEMORY, bytes))
            return -ENOMEM;
    }
    return 0;
}

void
store_apply_ledger(struct store *store, const struct ledger *ledger)
{
    uint32_t i;

    for (i = 0; i < ledger->count; i++) {
        struct domain *domain = store_find_domain(store, ledger->entries[i].domid);

        domain->nodes += ledger->entries[i].nodes;
        domain->node_bytes += ledger->entries[i].bytes;
    }
}

int
store_introduce(struct store *store, uint16_t domid, uint64_t gfn, uint32_t port)
{
    struct domain *domain = store_domain(store, domid);
    bool first = domain && !domain->introduced;
    uint32_t old_port;
    int rc = 0;

    if (!domain)
        return -ENOMEM;
    old_port = domain->port;
    domain->port = port;
    if (!domain->ring && !client_open(store, domain, false, CLIENT_NONE))
        rc = -ENOMEM;
    if (!rc && store->replaying)
        rc = store->outcome.rc;
    else if (!rc && store->ops)
        rc = store->outcome.rc = store->ops->introduce(store->ops_data, domain);
    store->outcome.used = true;
    if (rc) {
        domain->port = old_port;
        if (first && domain->ring)
            client_close(store, domain->ring);
        store_domain_done(store, domain);
        return rc;
    }
    domain->gfn = gfn;
    domain->introduced = true;
    client_reset(store, domain->ring);
    if (first && domid != 0)
        watch_fire_special(store, "@introduceDomain", domid);
    return 0;
}

void
store_domain_shutdown(struct store *store, uint16_t domid)
{
    struct domain *domain = store_find_domain(store, domid);

    if (!domain || !domain->introduced || domain->shutdown)
        return;
    domain->shutdown = true;
    watch_fire_special(store, "@releaseDomain", domid);
}

/* Room for a few paths at a time, so that the end of a domain needs no memory to find its nodes. */
struct leftovers {
    uint16_t domid;
    size_t used;
    char paths[16 * PATH_BYTES]; /* each with one letter in front: r to remove, p to strip permissions */
};

static int
find_leftover(const char *path, const struct node *node, void *data)
{
    struct leftovers *leftovers = data;
    size_t length = strlen(path) + 1;
    bool owned = node->perms->entry[0].domid == leftovers->domid && path[1];

    if (leftovers->used + length + 1 > sizeof(leftovers->paths))
        return -ENOBUFS;
    leftovers->paths[leftovers->used] = owned ? 'r' : 'p';
    memcpy(leftovers->paths + leftovers->used + 1, path, length);
    leftovers->used += length + 1;
    return owned ? TREE_SKIP : 0;
}

static int
remove_leftover(struct store *store, const char *path)
{
    struct node node, parent, ignored;
    struct ledger ledger = {0};
    struct block *removed;
    int rc;

    tree_find(store->root, path, &node);
    rc = tree_account(&node, -1, &ledger);
    if (!rc)
        rc = tree_remove(&store->root, path, ++store->gen, &removed);
    if (!rc) {
        store_apply_ledger(store, &ledger);
        tree_find_nearest(store->root, path, &parent, &ignored);
        tree_root(removed, &node);
        watch_fire_removed(store, path, &node, parent.perms);
        tree_put(removed);
    }
    ledger_fini(&ledger);
    return rc;
}

static int
strip_leftover(struct store *store, const char *path, uint16_t domid)
{
    struct ledger ledger = {0};
    struct perms *perms;
    struct node node;
    int rc;

    tree_find(store->root, path, &node);
    perms = perms_without(node.perms, domid);
    if (!perms)
        return -ENOMEM;
    /* The root cannot go with its owner. */
    if (perms->entry[0].domid == domid)
        perms->entry[0] = (struct perm){.domid = 0, .access = PERM_NONE};
    rc = ledger_add(&ledger, node.perms->entry[0].domid, -1, -(int64_t)node_bytes(&node));
    if (!rc)
        rc = ledger_add(&ledger, perms->entry[0].domid, 1, 0);
    if (!rc)
        rc = tree_set_perms(&store->root, path, perms, ++store->gen);
    if (!rc) {
        tree_find(store->root, path, &node);
        ledger_add(&ledger, perms->entry[0].domid, 0, node_bytes(&node));
        store_apply_ledger(store, &ledger);
    }
    perms_put(perms);
    ledger_fini(&ledger);
    return rc;
}

static int
remove_leftovers(struct store *store, uint16_t domid)
{
    static struct leftovers leftovers;
    int more, rc = 0;

    do {
        const char *path = leftovers.paths;

        leftovers.domid = domid;
        leftovers.used = 0;
        more = tree_mentions(store->root, domid, find_leftover, &leftovers);
        while (!rc && path < leftovers.paths + leftovers.used) {
            if (path[0] == 'r')
                rc = remove_leftover(store, path + 1);
            else
                rc = strip_leftover(store, path + 1, domid);
            path += strlen(path) + 1;
        }
    } while (!rc && more == -ENOBUFS);
    return rc;
}

static void
strip_specials(struct store *store, uint16_t domid)
{
    unsigned int i;

    for (i = 0; i < 2; i++) {
        struct perms *perms = perms_without(store->special_perms[i], domid);

        if (!perms)
            continue;
        if (perms->entry[0].domid == domid)
            perms->entry[0] = (struct perm){.domid = 0, .access = PERM_NONE};
        perms_put(store->special_perms[i]);
        store->special_perms[i] = perms;
    }
}

void
store_domain_gone(struct store *store, uint16_t domid)
{
    struct domain *domain = store_find_domain(store, domid);
    bool introduced;

    if (!domain || domid == 0)
        return;
    introduced = domain->introduced;
    domain->introduced = false;
    domain->shutdown = false;
    domain->own_quota = false;
    domain->target = DOMID_INVALID;
    domain->features = RING_FEATURES;
    if (domain->ring)
        client_close(store, domain->ring);
    map_for_each(&store->domains, entry)
    {
        struct domain *other = entry->value;

        if (other->target == domid)
            other->target = DOMID_INVALID;
    }
    strip_specials(store, domid);
    /* Without memory the nodes stay charged to a domain that is not there; the next tick tries again. */
    remove_leftovers(store, domid);
    if (introduced)
        watch_fire_special(store, "@releaseDomain", domid);
    store_domain_done(store, domain);
}

void
store_release(struct store *store, uint16_t domid)
{
    store_domain_gone(store, domid);
}
