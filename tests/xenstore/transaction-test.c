/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Transactions: the table of transaction.c line by line, and random ones against a model.  The model of a
 * transaction is a whole copy of the store and a list of what was read and written, by name; it decides
 * conflicts from that list alone.
 */
#include "peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rule {
    const char *first; /* what A does in its transaction; a letter and a path */
    const char *second;
    bool conflict; /* of A, if B's was committed between A's start and end */
};

/* r read, w write, d directory, p get permissions, P set permissions, x remove, m mkdir */
/* clang-format off */
static const struct rule rules[] = {
    { "w/backend/vbd/1/x", "w/backend/vbd/2/x", false },
    { "w/backend/new/1/x", "w/backend/vbd/2/x", false },
    { "w/backend/new/1/x", "w/backend/new/2/x", true }, /* both made /backend/new */
    { "d/backend/vbd", "w/backend/vbd/3/x", true },
    { "d/backend/vbd", "w/backend/vbd/1/x", false }, /* a new child of a child */
    { "r/vm/name", "w/vm/name", true },
    { "w/vm/name", "r/vm/name", false },
    { "r/vm", "w/vm/name", false },
    { "w/vm/name", "x/vm", true },
    { "x/vm", "w/vm/name", true },
    { "x/vm", "r/vm/name", false },
    { "r/none", "w/none", true },
    { "r/none", "w/other", false },
    { "w/vm/name", "w/vm/name", true },
    { "w/vm/name", "P/vm/name", true },
    { "r/vm/name", "P/vm/name", true },
    { "p/vm/name", "w/vm/name", false },
    { "p/vm/name", "P/vm/name", true },
    { "w/vm/fresh", "P/vm", true },
    { "w/vm/fresh", "w/vm", false },
    { "w/vm/fresh", "x/vm", true },
    { "m/vm/name", "w/vm/name", false },
    { "m/vm/fresh", "m/vm/fresh", true },
    { "x/vm/name", "x/vm/name", true },
    { "x/vm/none", "w/vm/none", true },
    { "x/vm/none", "w/vm/name", false },
};
/* clang-format on */

static const char *
act(struct store *store, struct client *client, uint32_t tx, const char *what)
{
    switch (what[0]) {
    case 'r':
        return peer_ask(store, client, XS_READ, tx, what + 1, NULL);
    case 'w':
        return peer_write(store, client, tx, what + 1, "value");
    case 'd':
        return peer_ask(store, client, XS_DIRECTORY, tx, what + 1, NULL);
    case 'p':
        return peer_ask(store, client, XS_GET_PERMS, tx, what + 1, NULL);
    case 'P':
        return peer_ask(store, client, XS_SET_PERMS, tx, what + 1, "n0", "r5", NULL);
    case 'x':
        return peer_ask(store, client, XS_RM, tx, what + 1, NULL);
    case 'm':
        return peer_ask(store, client, XS_MKDIR, tx, what + 1, NULL);
    }
    g_assert_not_reached();
}

static uint32_t
begin(struct store *store, struct client *client)
{
    return atoi(peer_ask(store, client, XS_TRANSACTION_START, 0, "", NULL));
}

static bool
commit(struct store *store, struct client *client, uint32_t tx)
{
    const char *answer = peer_ask(store, client, XS_TRANSACTION_END, tx, "T", NULL);

    if (!strcmp(answer, "OK"))
        return true;
    g_assert_cmpstr(answer, ==, "!EAGAIN");
    return false;
}

static void
conflicts_exactly_by_the_rule(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rules); i++) {
        /* B once plainly and once in a transaction of its own. */
        for (int in_transaction = 0; in_transaction < 2; in_transaction++) {
            struct store store;
            struct client *a, *b;
            uint32_t tx_a, tx_b = 0;

            peer_init(&store);
            a = peer_socket(&store);
            b = peer_socket(&store);
            peer_write(&store, a, 0, "/backend/vbd/1", "");
            peer_write(&store, a, 0, "/backend/vbd/2", "");
            peer_write(&store, a, 0, "/vm/name", "n");
            tx_a = begin(&store, a);
            act(&store, a, tx_a, rules[i].first);
            if (in_transaction)
                tx_b = begin(&store, b);
            act(&store, b, tx_b, rules[i].second);
            if (in_transaction)
                g_assert_true(commit(&store, b, tx_b));
            if (commit(&store, a, tx_a) == rules[i].conflict) {
                g_test_message("A %s, B %s", rules[i].first, rules[i].second);
                g_test_fail();
            }
            store_fini(&store);
        }
    }
}

/* A model: path to value.  The keys are full, parents are always there. */
typedef GHashTable Model;

static Model *
model_copy(Model *model)
{
    Model *copy = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    GHashTableIter iter;
    gpointer key, value;

    g_hash_table_iter_init(&iter, model);
    while (g_hash_table_iter_next(&iter, &key, &value))
        g_hash_table_insert(copy, g_strdup(key), g_strdup(value));
    return copy;
}

static void
model_write(Model *model, const char *path, const char *value)
{
    g_autofree char *parent = g_path_get_dirname(path);

    if (!g_hash_table_contains(model, parent))
        model_write(model, parent, "");
    g_hash_table_insert(model, g_strdup(path), g_strdup(value));
}

static bool
below(const char *path, const char *top)
{
    size_t length = strlen(top);

    return !strncmp(path, top, length) && (!path[length] || path[length] == '/');
}

static void
model_rm(Model *model, const char *path)
{
    GHashTableIter iter;
    gpointer key;

    g_hash_table_iter_init(&iter, model);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        if (below(key, path))
            g_hash_table_iter_remove(&iter);
    }
}

/* One open transaction in the model. */
struct model_tx {
    uint32_t id;
    Model *view;
    GPtrArray *acts; /* "r/path", "w/path=value", "x/path" */
};

/* Applies what a transaction wrote to @model. */
static void
model_apply(Model *model, GPtrArray *acts)
{
    for (guint i = 0; i < acts->len; i++) {
        const char *what = acts->pdata[i];

        if (what[0] == 'w') {
            g_auto(GStrv) parts = g_strsplit(what + 1, "=", 2);

            model_write(model, parts[0], parts[1]);
        } else if (what[0] == 'x') {
            model_rm(model, what + 1);
        }
    }
}

static bool
models_equal(Model *a, Model *b)
{
    GHashTableIter iter;
    gpointer key, value;

    if (g_hash_table_size(a) != g_hash_table_size(b))
        return false;
    g_hash_table_iter_init(&iter, a);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        if (g_strcmp0(g_hash_table_lookup(b, key), value))
            return false;
    }
    return true;
}

static const struct block *store_root;

static void
store_into_model(const struct node *parent, const char *path, Model *model)
{
    size_t bytes = node_list_bytes(parent);
    g_autofree char *names = g_malloc(bytes + 1);
    const char *name;

    g_assert_cmpint(node_list(parent, 0, names, bytes), ==, bytes);
    for (name = names; name < names + bytes; name += strlen(name) + 1) {
        g_autofree char *full = g_strdup_printf("%s/%s", path, name);
        struct node node;

        g_assert_true(tree_find(store_root, full, &node));
        g_hash_table_insert(model, g_strdup(full), g_strndup(node.value, node.value_length));
        store_into_model(&node, full, model);
    }
}

static void
check_store(struct store *store, Model *model)
{
    Model *seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    struct node root;

    g_hash_table_insert(seen, g_strdup("/"), g_strdup(""));
    store_root = store->root;
    tree_root(store->root, &root);
    store_into_model(&root, "", seen);
    g_assert_true(models_equal(seen, model));
    g_hash_table_unref(seen);
}

static void
random_path(GRand *rand, char *path)
{
    int levels = g_rand_int_range(rand, 1, 4);

    *path = '\0';
    while (levels--)
        path += sprintf(path, "/%c", 'a' + g_rand_int_range(rand, 0, 5));
}

static void
tx_step(struct store *store, struct client *client, GRand *rand, struct model_tx *tx)
{
    char path[64], value[16];
    const char *answer;
    g_autofree char *parent = NULL;

    random_path(rand, path);
    switch (g_rand_int_range(rand, 0, 4)) {
    case 0:
        answer = peer_ask(store, client, XS_READ, tx->id, path, NULL);
        if (g_hash_table_contains(tx->view, path))
            g_assert_cmpstr(answer, ==, g_hash_table_lookup(tx->view, path));
        else
            g_assert_cmpstr(answer, ==, "!ENOENT");
        break;
    case 1:
    case 2:
        sprintf(value, "%u", g_rand_int(rand) % 10000);
        g_assert_cmpstr(peer_write(store, client, tx->id, path, value), ==, "OK");
        model_write(tx->view, path, value);
        g_ptr_array_add(tx->acts, g_strdup_printf("w%s=%s", path, value));
        break;
    case 3:
        parent = g_path_get_dirname(path);
        answer = peer_ask(store, client, XS_RM, tx->id, path, NULL);
        if (!g_hash_table_contains(tx->view, parent)) {
            g_assert_cmpstr(answer, ==, "!ENOENT");
            break;
        }
        g_assert_cmpstr(answer, ==, "OK");
        model_rm(tx->view, path);
        g_ptr_array_add(tx->acts, g_strdup_printf("x%s", path));
        break;
    }
}

/*
 * Three transactions at a time, steps mixed at random.  A commit that succeeds must have the effect of its
 * writes made at that moment on the store; one that fails must have none; each sees only its own snapshot.
 */
static void
commits_are_as_if_one_after_the_other(void)
{
    for (guint32 seed = 1; seed <= 40; seed++) {
        g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
        struct model_tx txs[3] = {0};
        struct store store;
        struct client *client;
        int committed = 0, refused = 0;
        Model *model = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);

        peer_init(&store);
        client = peer_socket(&store);
        g_hash_table_insert(model, g_strdup("/"), g_strdup(""));
        model_write(model, "/tool/xenstored", "");
        for (int step = 0; step < 1500; step++) {
            struct model_tx *tx = &txs[g_rand_int_range(rand, 0, 3)];

            if (!tx->id) {
                tx->id = begin(&store, client);
                tx->view = model_copy(model);
                tx->acts = g_ptr_array_new_with_free_func(g_free);
            } else if (g_rand_int_range(rand, 0, 8)) {
                tx_step(&store, client, rand, tx);
            } else {
                if (g_rand_int_range(rand, 0, 5) == 0) {
                    g_assert_cmpstr(peer_ask(&store, client, XS_TRANSACTION_END, tx->id, "F", NULL), ==,
                                    "OK");
                } else if (commit(&store, client, tx->id)) {
                    model_apply(model, tx->acts);
                    committed++;
                } else {
                    refused++;
                }
                check_store(&store, model);
                g_hash_table_unref(tx->view);
                g_ptr_array_unref(tx->acts);
                memset(tx, 0, sizeof(*tx));
            }
        }
        g_assert_cmpint(committed, >, 10);
        g_assert_cmpint(refused, >, 1);
        g_assert_cmpstr(peer_ask(&store, client, XS_CONTROL, 0, "check", NULL), !=, "");
        g_assert_nonnull(strstr(peer_ask(&store, client, XS_CONTROL, 0, "check", NULL), " 0 domains wrong"));
        for (int i = 0; i < 3; i++) {
            if (txs[i].id) {
                g_hash_table_unref(txs[i].view);
                g_ptr_array_unref(txs[i].acts);
            }
        }
        g_hash_table_unref(model);
        store_fini(&store);
    }
}

static void
events_come_with_the_commit(void)
{
    struct store store;
    struct client *a, *w;
    char *events;
    uint32_t tx;

    peer_init(&store);
    a = peer_socket(&store);
    w = peer_socket(&store);
    peer_write(&store, a, 0, "/d/old/x", "");
    peer_ask(&store, w, XS_WATCH, 0, "/d", "top", NULL);
    peer_ask(&store, w, XS_WATCH, 0, "/d/old/x", "deep", NULL);
    g_free(peer_events(&store, w));
    tx = begin(&store, a);
    peer_write(&store, a, tx, "/d/new", "1");
    peer_write(&store, a, tx, "/d/new", "2");
    peer_ask(&store, a, XS_RM, tx, "/d/old", NULL);
    events = peer_events(&store, w);
    g_assert_cmpstr(events, ==, "");
    g_free(events);
    g_assert_true(commit(&store, a, tx));
    events = peer_events(&store, w);
    g_assert_cmpstr(events, ==, "/d/new top\n/d/old top\n/d/old/x deep\n");
    g_free(events);
    tx = begin(&store, a);
    peer_write(&store, a, tx, "/d/new", "3");
    peer_ask(&store, a, XS_TRANSACTION_END, tx, "F", NULL);
    events = peer_events(&store, w);
    g_assert_cmpstr(events, ==, "");
    g_free(events);
    store_fini(&store);
}

static void
transaction_errors(void)
{
    struct store store;
    struct client *a;
    uint32_t tx;

    peer_init(&store);
    a = peer_socket(&store);
    g_assert_cmpstr(ask(a, XS_READ, 99, "/tool"), ==, "!ENOENT");
    g_assert_cmpstr(ask(a, XS_TRANSACTION_END, 99, "T"), ==, "!ENOENT");
    g_assert_cmpstr(ask(a, XS_TRANSACTION_END, 0, "T"), ==, "!ENOENT");
    tx = begin(&store, a);
    g_assert_cmpstr(ask(a, XS_TRANSACTION_START, tx, ""), ==, "!EBUSY");
    g_assert_cmpstr(ask(a, XS_TRANSACTION_END, tx, "X"), ==, "!EINVAL");
    g_assert_cmpstr(ask(a, XS_TRANSACTION_END, tx, "F"), ==, "OK");
    g_assert_cmpstr(ask(a, XS_TRANSACTION_END, tx, "F"), ==, "!ENOENT");
    store_fini(&store);
}

static void
old_transaction_of_a_guest_is_abandoned(void)
{
    struct store store;
    struct client *guest;
    uint32_t tx;

    peer_init(&store);
    peer_write(&store, peer_socket(&store), 0, "/local/domain/3", "");
    guest = peer_domain(&store, 3);
    store_tick(&store, 1000);
    tx = begin(&store, guest);
    store_tick(&store, 1000 + 100);
    g_assert_cmpstr(ask(guest, XS_READ, tx, "/tool"), ==, "!EACCES");
    store_tick(&store, 1000 + 121);
    g_assert_cmpstr(ask(guest, XS_READ, tx, "/tool"), ==, "!EAGAIN");
    g_assert_cmpstr(ask(guest, XS_TRANSACTION_END, tx, "T"), ==, "!EAGAIN");
    g_assert_cmpstr(ask(guest, XS_TRANSACTION_END, tx, "T"), ==, "!ENOENT");
    store_fini(&store);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/transaction/conflicts-exactly-by-the-rule", conflicts_exactly_by_the_rule);
    g_test_add_func("/transaction/commits-are-as-if-one-after-the-other",
                    commits_are_as_if_one_after_the_other);
    g_test_add_func("/transaction/events-come-with-the-commit", events_come_with_the_commit);
    g_test_add_func("/transaction/errors", transaction_errors);
    g_test_add_func("/transaction/old-one-of-a-guest-is-abandoned", old_transaction_of_a_guest_is_abandoned);
    return g_test_run();
}
