/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: open transactions, and the rule by which one may become the truth.
 *
 * The rule.  A transaction commits if everything it looked at or changed is, in the tree of now, as
 * it was when the transaction began.  Each node it touched is noted with what about it mattered:
 *
 *     the client did              noted on the node                    a commit in between that breaks it
 *     READ p                      value, permissions                   write, chmod, removal of p
 *     READ p, p absent            existence                            creation of p
 *     DIRECTORY p                 list of children, permissions        a child of p made or removed
 *     GET_PERMS p                 permissions                          chmod, removal of p
 *     WRITE p                     value, permissions                   write, chmod, removal of p
 *     WRITE p, p absent           existence of each missing node,      creation of one of these; chmod or
 *                                 permissions of the nearest parent    removal of the parent
 *     RM p                        everything below p                   any change at or below p
 *     SET_PERMS p                 permissions                          chmod, removal of p
 *
 * So, of two transactions that began together:
 *
 *     A: WRITE /backend/vbd/1/x   B: WRITE /backend/vbd/2/x            both commit: two children of one
 *                                                                      directory are two nodes
 *     A: DIRECTORY /backend/vbd   B: WRITE /backend/vbd/2/x, new       the later of the two answers EAGAIN
 *     A: READ /vm/name            B: WRITE /vm/name                    B after A commits; A after B does not
 *     A: WRITE /vm/name           B: RM /vm                            the later of the two answers EAGAIN
 *     A: READ /vm                 B: WRITE /vm/name                    both commit: a value is not what is
 * below
 *
 * When nothing at all was committed in between, the client's root becomes the root.  Otherwise the
 * changes are made again on a copy of the root of now, whose nodes are shared until changed, and the copy
 * becomes the root.  Either way the commit is one pointer; before it nothing has happened.
 *
 * Always true: @base and @work hold a reference each, so a node of @base is never changed in place and
 * comparing a node's fields with those of now is proof, not a guess.
 */
#include "transaction.h"
#include "watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int
transaction_start(struct store *store, struct client *client, struct transaction **ret_transaction)
{
    struct domain *domain = client->domain;
    struct transaction *transaction;

    if (!domain_privileged(domain)) {
        const struct quota *quota = store_quota(store, domain);

        if (quota_exceeded(quota, QUOTA_TRANSACTIONS, domain->transactions + 1))
            return -ENOSPC;
        if (quota_exceeded(quota, QUOTA_MEMORY, domain_memory(domain) + sizeof(*transaction)))
            return -ENOMEM;
    }
    transaction = mem_zalloc(sizeof(*transaction));
    if (!transaction)
        return -ENOMEM;
    while (!++store->next_transaction || transaction_find(client, store->next_transaction))
        ;
    transaction->id = store->next_transaction;
    transaction->client = client;
    transaction->started = store->now;
    transaction->base = tree_ref(store->root);
    transaction->work = tree_ref(store->root);
    transaction->bytes = sizeof(*transaction);
    link_init(&transaction->touched_list);
    link_append(&client->transactions, &transaction->in_client);
    domain->transactions++;
    domain->other_bytes += transaction->bytes;
    *ret_transaction = transaction;
    return 0;
}

struct transaction *
transaction_find(struct client *client, uint32_t id)
{
    list_for_each(&client->transactions, item) {
        struct transaction *transaction = link_entry(item, struct transaction, in_client);

        if (transaction->id == id)
            return transaction;
    }
    return NULL;
}

void
transaction_abandon(struct transaction *transaction)
{
    transaction->client->domain->other_bytes -= transaction->bytes - sizeof(*transaction);
    transaction->bytes = sizeof(*transaction);
    transaction->abandoned = true;
    tree_put(transaction->base);
    tree_put(transaction->work);
    transaction->base = transaction->work = NULL;
    map_fini(&transaction->touched);
    link_for_each_safe(&transaction->touched_list, item)
    {
        link_remove(item);
        mem_free(link_entry(item, struct touched, in_list));
    }
    ledger_fini(&transaction->ledger);
}

static void
transaction_free(struct transaction *transaction)
{
    struct domain *domain = transaction->client->domain;

    transaction_abandon(transaction);
    domain->transactions--;
    domain->other_bytes -= transaction->bytes;
    link_remove(&transaction->in_client);
    mem_free(transaction);
}

void
transaction_remove_all(struct store *store, struct client *client)
{
    (void)store;
    link_for_each_safe(&client->transactions, item)
        transaction_free(link_entry(item, struct transaction, in_client));
}

int
transaction_note(struct store *store, struct transaction *transaction, const char *path, size_t length,
                 unsigned int flags)
{
    struct domain *domain = transaction->client->domain;
    struct touched *touched = map_find(&transaction->touched, path, length);
    size_t bytes = sizeof(*touched) + length + 1 + sizeof(struct map_entry);

    if (touched) {
        touched->flags |= flags;
        return 0;
    }
    if (!domain_privileged(domain)) {
        const struct quota *quota = store_quota(store, domain);

        if (quota_exceeded(quota, QUOTA_TRANSACTION_NODES, transaction->touched.count + 1))
            return -ENOSPC;
        if (quota_exceeded(quota, QUOTA_MEMORY, domain_memory(domain) + bytes))
            return -ENOMEM;
    }
    touched = mem_alloc(sizeof(*touched) + length + 1);
    if (!touched)
        return -ENOMEM;
    touched->flags = flags;
    touched->length = length;
    memcpy(touched->path, path, length);
    touched->path[length] = '\0';
    if (map_insert(&transaction->touched, touched->path, length, touched)) {
        mem_free(touched);
        return -ENOMEM;
    }
    link_append(&transaction->touched_list, &touched->in_list);
    transaction->bytes += bytes;
    domain->other_bytes += bytes;
    return 0;
}

static bool
unchanged(const struct node *base, const struct node *now, unsigned int flags)
{
    if (!base || !now)
        return base == now;
    if ((flags & (ACCESS_VALUE | ACCESS_SET_VALUE)) &&
        (base->value_length != now->value_length || memcmp(base->value, now->value, now->value_length)))
        return false;
    if ((flags & (ACCESS_PERMS | ACCESS_SET_PERMS)) && base->perms != now->perms)
        return false;
    if ((flags & ACCESS_CHILDREN) && base->children_gen != now->children_gen)
        return false;
    if ((flags & (ACCESS_SUBTREE | ACCESS_REMOVED)) && base->subtree_gen != now->subtree_gen)
        return false;
    return true;
}

static bool
conflicts(const struct store *store, const struct transaction *transaction)
{
    if (transaction->base == store->root)
        return false;
    list_for_each(&transaction->touched_list, item) {
        const struct touched *touched = link_entry(item, struct touched, in_list);

        struct node base, now;
        bool was = tree_find(transaction->base, touched->path, &base);
        bool is = tree_find(store->root, touched->path, &now);

        if (!unchanged(was ? &base : NULL, is ? &now : NULL, touched->flags))
            return true;
    }
    return false;
}

static int
by_path(const void *a, const void *b)
{
    const struct touched *const *left = a;
    const struct touched *const *right = b;

    return strcmp((*left)->path, (*right)->path);
}

/* Makes the transaction's change to one node again on *@root; parents come before their children. */
static int
replay_one(const struct transaction *transaction, const struct touched *touched, struct block **root,
           uint64_t gen, struct ledger *ledger)
{
    const char *path = touched->path;
    struct node work, now;
    bool wanted = tree_find(transaction->work, path, &work);
    bool there = tree_find(*root, path, &now);
    int rc;

    if (there && (touched->flags & ACCESS_REMOVED)) {
        struct block *removed;

        rc = tree_account(&now, -1, ledger);
        if (!rc)
            rc = tree_remove(root, path, gen, &removed);
        if (rc)
            return rc;
        tree_put(removed);
        there = false;
    }
    if (!wanted)
        return 0;
    if (!there) {
        rc = ledger_add(ledger, work.perms->entry[0].domid, 1, node_bytes(&work));
        return rc ? rc : tree_create(root, path, work.value, work.value_length, work.perms, gen);
    }
    rc = ledger_add(ledger, now.perms->entry[0].domid, -1, -(int64_t)node_bytes(&now));
    if (!rc && (touched->flags & ACCESS_SET_VALUE))
        rc = tree_set_value(root, path, work.value, work.value_length, gen);
    if (!rc && (touched->flags & ACCESS_SET_PERMS))
        rc = tree_set_perms(root, path, work.perms, gen);
    if (rc)
        return rc;
    tree_find(*root, path, &now);
    return ledger_add(ledger, now.perms->entry[0].domid, 1, node_bytes(&now));
}

/* Makes all changes again on *@root, which is private to the caller, and sums them up in @ledger. */
static int
replay(struct store *store, const struct transaction *transaction, struct block **root, struct ledger *ledger)
{
    struct touched **sorted = mem_alloc((transaction->touched.count + 1) * sizeof(*sorted));
    size_t count = 0;
    size_t i;
    int rc = 0;

    if (!sorted)
        return -ENOMEM;
    list_for_each(&transaction->touched_list, item) {
        struct touched *touched = link_entry(item, struct touched, in_list);

        if (touched->flags & ACCESS_CHANGED)
            sorted[count++] = touched;
    }
    qsort(sorted, count, sizeof(*sorted), by_path);
    for (i = 0; i < count && !rc; i++)
        rc = replay_one(transaction, sorted[i], root, ++store->gen, ledger);
    mem_free(sorted);
    return rc;
}

/* Tells the watches what changed from @before to store->root, in the order the client first touched it. */
static void
fire(struct store *store, const struct transaction *transaction, const struct block *before)
{
    if (!store->watch_count)
        return;
    list_for_each(&transaction->touched_list, item) {
        const struct touched *touched = link_entry(item, struct touched, in_list);
        struct node old, new, parent;
        bool was, is;

        if (!(touched->flags & ACCESS_CHANGED))
            continue;
        was = tree_find(before, touched->path, &old);
        is = !*tree_find_nearest(store->root, touched->path, &new, &parent);
        if (was && (touched->flags & ACCESS_REMOVED)) {
            watch_fire_removed(store, touched->path, &old, is ? parent.perms : new.perms);
        } else if (is) {
            struct watch_scope scope = {
                .before = was ? old.perms : NULL, .after = new.perms, .parent = parent.perms};

            watch_fire(store, touched->path, &scope);
        }
    }
}

static bool
changes_anything(const struct transaction *transaction)
{
    return transaction->work != transaction->base;
}

static int
commit(struct store *store, struct transaction *transaction)
{
    struct ledger ledger = {0};
    struct block *root;
    int rc;

    if (conflicts(store, transaction))
        return -EAGAIN;
    if (!changes_anything(transaction))
        return 0;
    if (transaction->base == store->root) {
        root = tree_ref(transaction->work);
        rc = ledger_merge(&ledger, &transaction->ledger);
    } else {
        root = tree_ref(store->root);
        rc = replay(store, transaction, &root, &ledger);
    }
    if (!rc)
        rc = store_know_owners(store, &ledger);
    if (!rc && !domain_privileged(transaction->client->domain))
        rc = store_check_ledger(store, &ledger, NULL);
    if (!rc) {
        transaction->before = store->root;
        store->root = root;
        store_apply_ledger(store, &ledger);
        store->commits++;
        root = NULL;
    }
    tree_put(root);
    ledger_fini(&ledger);
    return rc;
}

int
transaction_commit(struct store *store, struct transaction *transaction)
{
    int rc = transaction->abandoned ? -EAGAIN : commit(store, transaction);

    if (rc == -EAGAIN) {
        store->conflicts++;
        transaction->client->domain->conflicts++;
    }
    return rc;
}

void
transaction_finish(struct store *store, struct transaction *transaction)
{
    if (transaction->before)
        fire(store, transaction, transaction->before);
    tree_put(transaction->before);
    transaction_free(transaction);
}
