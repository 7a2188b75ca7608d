/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pretend store: a sorted map of paths.  A transaction is a copy of the map; its commit succeeds when
 * nothing else was committed meanwhile.  Watches are delivered by a thread of its own, as those of a real
 * store are. After a change the pretend backends and guests have their say.
 */
#include "private/fake.h"

#include <stdio.h>

typedef struct {
    SeraiStore base;
    SeraiHv *hv;
    GMutex mutex;
    GTree *nodes;              /* (mutex) path to value */
    guint64 generation;        /* (mutex) */
    GHashTable *transactions;  /* (mutex) id to Transaction */
    uint32_t next_transaction; /* (mutex) */
    guint conflict_at;         /* (mutex) */
    GPtrArray *watched;        /* (mutex) of Watched */
    GAsyncQueue *queue;        /* of Event */
    GThread *thread;
} FakeStore;

typedef struct {
    GTree *nodes;
    guint64 generation;
    GPtrArray *changed;
} Transaction;

typedef struct {
    char *path;
    char *token;
} Watched;

static void
watched_free(gpointer data)
{
    Watched *w = data;

    g_free(w->path);
    g_free(w->token);
    g_free(w);
}

static gint
compare_paths(gconstpointer a, gconstpointer b, gpointer data G_GNUC_UNUSED)
{
    return strcmp(a, b);
}

static GTree *
nodes_new(void)
{
    return g_tree_new_full(compare_paths, NULL, g_free, g_free);
}

static gboolean
copy_node(gpointer key, gpointer value, gpointer data)
{
    g_tree_insert(data, g_strdup(key), g_strdup(value));
    return FALSE;
}

static void
transaction_free(gpointer data)
{
    Transaction *t = data;

    g_tree_unref(t->nodes);
    g_ptr_array_unref(t->changed);
    g_free(t);
}

static void
notify(FakeStore *store, const char *path, const char *token)
{
    Watched *event = g_new0(Watched, 1);

    event->path = g_strdup(path);
    event->token = g_strdup(token);
    g_async_queue_push(store->queue, event);
}

/* Every watch on the path or above fires; those below fire too when it vanished, which the caller sees to. */
static void
fire(FakeStore *store, const char *path)
{
    for (guint i = 0; i < store->watched->len; i++) {
        const Watched *w = store->watched->pdata[i];
        size_t n = strlen(w->path);

        if (!strncmp(path, w->path, n) && (!path[n] || path[n] == '/'))
            notify(store, path, w->token);
        else if (w->path[0] == '/' && !strncmp(w->path, path, strlen(path)) && w->path[strlen(path)] == '/')
            notify(store, w->path, w->token);
    }
}

static void
put(GTree *nodes, const char *path, const char *value)
{
    /* Parents come into being with their children. */
    for (const char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
        g_autofree char *parent = g_strndup(path, p - path);

        if (!g_tree_lookup(nodes, parent))
            g_tree_insert(nodes, g_steal_pointer(&parent), g_strdup(""));
    }
    g_tree_insert(nodes, g_strdup(path), g_strdup(value));
}

typedef struct {
    const char *path;
    size_t length;
    GPtrArray *found;
} Below;

static gboolean
collect_below(gpointer key, gpointer value G_GNUC_UNUSED, gpointer data)
{
    Below *below = data;

    if (!strncmp(key, below->path, below->length) &&
        (!((char *)key)[below->length] || ((char *)key)[below->length] == '/'))
        g_ptr_array_add(below->found, g_strdup(key));
    return FALSE;
}

static gboolean
drop(GTree *nodes, const char *path)
{
    g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(g_free);
    Below below = {path, strlen(path), found};

    g_tree_foreach(nodes, collect_below, &below);
    for (guint i = 0; i < found->len; i++)
        g_tree_remove(nodes, found->pdata[i]);
    return found->len > 0;
}

/* --- pretend backends and guests -------------------------------------------------------------- */

static void
set_now(FakeStore *store, const char *path, const char *value)
{
    put(store->nodes, path, value);
    store->generation++;
    fire(store, path);
}

/* Whether the frontend of the backend whose state is @path has closed. */
static gboolean
frontend_is_closed(FakeStore *store, const char *path)
{
    g_autofree char *backend = g_path_get_dirname(path);
    g_autofree char *link = g_strconcat(backend, "/frontend", NULL);
    const char *frontend = g_tree_lookup(store->nodes, link);
    g_autofree char *state = g_strconcat(frontend ? frontend : "", "/state", NULL);

    return !g_strcmp0(g_tree_lookup(store->nodes, state), "6");
}

/* Backends of path ".../backend/KIND/DOMID/DEVID/state" step as soon as they are told to, and close once. */
static void
backend_reacts(FakeStore *store, const char *path)
{
    const char *state = g_tree_lookup(store->nodes, path);

    if (!state)
        return;
    if (!strcmp(state, "1"))
        set_now(store, path, "2");
    else if (!strcmp(state, "7"))
        set_now(store, path, "4");
    else if (!strcmp(state, "5") && !frontend_is_closed(store, path))
        set_now(store, path, "6");
}

static void
react(FakeStore *store, const char *path, GPtrArray *requests)
{
    if (g_str_has_prefix(path, "/local/domain/0/backend/") && g_str_has_suffix(path, "/state"))
        backend_reacts(store, path);
    else if (g_str_has_suffix(path, "/control/shutdown"))
        g_ptr_array_add(requests, g_strdup(path));
}

/* Guests are asked without the lock, as they raise an exception. */
static void
guests_react(FakeStore *store, GPtrArray *requests)
{
    for (guint i = 0; i < requests->len; i++) {
        const char *path = requests->pdata[i];
        g_autofree char *request = NULL;
        uint32_t domid;

        if (sscanf(path, "/local/domain/%u/control/shutdown", &domid) != 1)
            continue;
        g_mutex_lock(&store->mutex);
        request = g_strdup(g_tree_lookup(store->nodes, path));
        g_mutex_unlock(&store->mutex);
        if (!request || !*request || !serai_fake_guest_request(store->hv, domid, request))
            continue;
        g_mutex_lock(&store->mutex);
        set_now(store, path, "");
        g_mutex_unlock(&store->mutex);
    }
}

/* --- the operations --------------------------------------------------------------------------- */

static GTree *
view(FakeStore *store, uint32_t transaction, Transaction **ret_transaction)
{
    *ret_transaction =
        transaction ? g_hash_table_lookup(store->transactions, GUINT_TO_POINTER(transaction)) : NULL;
    return *ret_transaction ? (*ret_transaction)->nodes : store->nodes;
}

/* What is common to all changes: now, or in the transaction. */
static gboolean
change(FakeStore *store, uint32_t id, const char *path, const char *value)
{
    g_autoptr(GPtrArray) requests = g_ptr_array_new_with_free_func(g_free);
    Transaction *transaction;
    gboolean ok = TRUE;
    GTree *nodes;

    g_mutex_lock(&store->mutex);
    nodes = view(store, id, &transaction);
    if (value)
        put(nodes, path, value);
    else
        ok = drop(nodes, path);
    if (ok && transaction) {
        g_ptr_array_add(transaction->changed, g_strdup(path));
    } else if (ok) {
        store->generation++;
        fire(store, path);
        react(store, path, requests);
    }
    g_mutex_unlock(&store->mutex);
    guests_react(store, requests);
    if (!ok)
        errno = ENOENT;
    return ok;
}

static uint32_t
fake_start(SeraiStore *base)
{
    FakeStore *store = (FakeStore *)base;
    Transaction *t = g_new0(Transaction, 1);
    uint32_t id;

    g_mutex_lock(&store->mutex);
    t->nodes = nodes_new();
    g_tree_foreach(store->nodes, copy_node, t->nodes);
    t->generation = store->generation;
    t->changed = g_ptr_array_new_with_free_func(g_free);
    id = ++store->next_transaction;
    g_hash_table_insert(store->transactions, GUINT_TO_POINTER(id), t);
    g_mutex_unlock(&store->mutex);
    return id;
}

static gboolean
fake_end(SeraiStore *base, uint32_t id, gboolean commit)
{
    FakeStore *store = (FakeStore *)base;
    g_autoptr(GPtrArray) requests = g_ptr_array_new_with_free_func(g_free);
    Transaction *t;
    gboolean ok = TRUE;

    g_mutex_lock(&store->mutex);
    t = g_hash_table_lookup(store->transactions, GUINT_TO_POINTER(id));
    if (commit) {
        ok = t->generation == store->generation && !(store->conflict_at && --store->conflict_at == 0);
        if (ok) {
            g_tree_unref(store->nodes);
            store->nodes = g_tree_ref(t->nodes);
            store->generation++;
            for (guint i = 0; i < t->changed->len; i++)
                fire(store, t->changed->pdata[i]);
            for (guint i = 0; i < t->changed->len; i++)
                react(store, t->changed->pdata[i], requests);
        }
    }
    g_hash_table_remove(store->transactions, GUINT_TO_POINTER(id));
    g_mutex_unlock(&store->mutex);
    guests_react(store, requests);
    if (!ok)
        errno = EAGAIN;
    return ok;
}

static char *
fake_read(SeraiStore *base, uint32_t id, const char *path, gsize *ret_size)
{
    FakeStore *store = (FakeStore *)base;
    Transaction *t;
    char *value;

    g_mutex_lock(&store->mutex);
    value = g_strdup(g_tree_lookup(view(store, id, &t), path));
    g_mutex_unlock(&store->mutex);
    if (value)
        *ret_size = strlen(value);
    else
        errno = ENOENT;
    return value;
}

static char **
fake_list(SeraiStore *base, uint32_t id, const char *path)
{
    FakeStore *store = (FakeStore *)base;
    g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(g_free);
    GPtrArray *names = g_ptr_array_new();
    Below below = {path, strlen(path), found};
    Transaction *t;

    g_mutex_lock(&store->mutex);
    g_tree_foreach(view(store, id, &t), collect_below, &below);
    g_mutex_unlock(&store->mutex);
    for (guint i = 0; i < found->len; i++) {
        const char *name = (char *)found->pdata[i] + below.length;

        if (name[0] && !strchr(name + 1, '/'))
            g_ptr_array_add(names, g_strdup(name + 1));
    }
    g_ptr_array_add(names, NULL);
    return (char **)g_ptr_array_free(names, FALSE);
}

static gboolean
fake_write(SeraiStore *base, uint32_t id, const char *path, const char *value, gsize size)
{
    g_autofree char *copy = g_strndup(value, size);

    if (size > 4096 || path[0] != '/') {
        errno = E2BIG;
        return FALSE;
    }
    return change((FakeStore *)base, id, path, copy);
}

static gboolean
fake_mkdir(SeraiStore *base, uint32_t id, const char *path)
{
    gsize size;
    g_autofree char *there = fake_read(base, id, path, &size);

    return there || change((FakeStore *)base, id, path, "");
}

static gboolean
fake_remove(SeraiStore *base, uint32_t id, const char *path)
{
    return change((FakeStore *)base, id, path, NULL);
}

static gboolean
fake_set_perms(SeraiStore *base, uint32_t id, const char *path, uint32_t owner G_GNUC_UNUSED,
               uint32_t reader G_GNUC_UNUSED)
{
    gsize size;
    g_autofree char *there = fake_read(base, id, path, &size);

    return there != NULL;
}

static void
fire_special(FakeStore *store, const char *name)
{
    g_mutex_lock(&store->mutex);
    fire(store, name);
    g_mutex_unlock(&store->mutex);
}

static void
on_exception(gpointer data)
{
    fire_special(data, "@releaseDomain");
}

static gboolean
fake_introduce(SeraiStore *base, uint32_t domid G_GNUC_UNUSED, uint64_t mfn G_GNUC_UNUSED,
               uint32_t port G_GNUC_UNUSED)
{
    fire_special((FakeStore *)base, "@introduceDomain");
    return TRUE;
}

static gboolean
fake_release(SeraiStore *base, uint32_t domid G_GNUC_UNUSED)
{
    fire_special((FakeStore *)base, "@releaseDomain");
    return TRUE;
}

static gboolean
fake_resume(SeraiStore *base G_GNUC_UNUSED, uint32_t domid G_GNUC_UNUSED)
{
    return TRUE;
}

static gboolean
fake_watch(SeraiStore *base, const char *path, const char *token)
{
    FakeStore *store = (FakeStore *)base;
    Watched *w = g_new0(Watched, 1);

    w->path = g_strdup(path);
    w->token = g_strdup(token);
    g_mutex_lock(&store->mutex);
    g_ptr_array_add(store->watched, w);
    notify(store, path, token);
    g_mutex_unlock(&store->mutex);
    return TRUE;
}

static gboolean
fake_unwatch(SeraiStore *base, const char *path G_GNUC_UNUSED, const char *token)
{
    FakeStore *store = (FakeStore *)base;

    g_mutex_lock(&store->mutex);
    for (guint i = 0; i < store->watched->len; i++)
        if (!strcmp(((Watched *)store->watched->pdata[i])->token, token)) {
            g_ptr_array_remove_index(store->watched, i);
            break;
        }
    g_mutex_unlock(&store->mutex);
    return TRUE;
}

static gpointer
deliver(gpointer data)
{
    FakeStore *store = data;

    for (;;) {
        Watched *event = g_async_queue_pop(store->queue);
        gboolean stop = !event->path;

        if (!stop)
            serai_store_dispatch(&store->base, event->path, event->token);
        watched_free(event);
        if (stop)
            return NULL;
    }
}

static void
fake_close(SeraiStore *base)
{
    FakeStore *store = (FakeStore *)base;

    serai_fake_set_exception(store->hv, NULL, NULL);
    g_async_queue_push(store->queue, g_new0(Watched, 1));
    g_thread_join(store->thread);
    g_async_queue_unref(store->queue);
    g_ptr_array_unref(store->watched);
    g_hash_table_destroy(store->transactions);
    g_tree_unref(store->nodes);
    g_mutex_clear(&store->mutex);
    serai_store_fini(base);
    g_free(store);
}

static const SeraiStoreOps fake_ops = {
    .start = fake_start,
    .end = fake_end,
    .read = fake_read,
    .list = fake_list,
    .write = fake_write,
    .mkdir = fake_mkdir,
    .remove = fake_remove,
    .set_perms = fake_set_perms,
    .introduce = fake_introduce,
    .release = fake_release,
    .resume = fake_resume,
    .watch = fake_watch,
    .unwatch = fake_unwatch,
    .close = fake_close,
};

SeraiStore *
serai_fake_store_new(SeraiHv *hv)
{
    FakeStore *store = g_new0(FakeStore, 1);

    serai_store_init(&store->base, &fake_ops);
    store->hv = hv;
    g_mutex_init(&store->mutex);
    store->nodes = nodes_new();
    store->transactions = g_hash_table_new_full(NULL, NULL, NULL, transaction_free);
    store->watched = g_ptr_array_new_with_free_func(watched_free);
    store->queue = g_async_queue_new_full(watched_free);
    put(store->nodes, "/local/domain/0/name", "Domain-0");
    store->thread = g_thread_new("serai-fake-store", deliver, store);
    serai_fake_set_exception(hv, on_exception, store);
    return &store->base;
}

guint
serai_fake_nodes(SeraiStore *base)
{
    FakeStore *store = (FakeStore *)base;
    guint n;

    g_mutex_lock(&store->mutex);
    n = g_tree_nnodes(store->nodes);
    g_mutex_unlock(&store->mutex);
    return n;
}

void
serai_fake_conflict(SeraiStore *base, guint nth)
{
    FakeStore *store = (FakeStore *)base;

    g_mutex_lock(&store->mutex);
    store->conflict_at = nth;
    g_mutex_unlock(&store->mutex);
}
