/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is the same for every store: batches, watches by token, waiting.
 *
 * Locks: SeraiStore.lock guards the table of watches and is not held while a callback runs; a watch that is
 * being removed waits for its own callback to return.  SeraiWaiter.lock is taken inside of callbacks, after
 * nothing.
 */
#include "private/store.h"

/* ---- watches ---- */

struct SeraiWatch {
    SeraiWatchFunc func;
    gpointer data;
    char *path;
    char token[24];
};

void
serai_store_init(SeraiStore *store, const SeraiStoreOps *ops)
{
    store->ops = ops;
    g_mutex_init(&store->lock);
    g_cond_init(&store->idle);
    store->watches = g_hash_table_new(g_str_hash, g_str_equal);
}

void
serai_store_fini(SeraiStore *store)
{
    g_hash_table_destroy(store->watches);
    g_cond_clear(&store->idle);
    g_mutex_clear(&store->lock);
}

void
serai_store_close(SeraiStore *store)
{
    if (store)
        store->ops->close(store);
}

void
serai_store_dispatch(SeraiStore *store, const char *path, const char *token)
{
    SeraiWatch *watch;

    g_mutex_lock(&store->lock);
    while (store->running)
        g_cond_wait(&store->idle, &store->lock);
    watch = g_hash_table_lookup(store->watches, token);
    store->running = watch;
    g_mutex_unlock(&store->lock);
    if (!watch)
        return;
    watch->func(path, watch->data);
    g_mutex_lock(&store->lock);
    store->running = NULL;
    g_cond_broadcast(&store->idle);
    g_mutex_unlock(&store->lock);
}

SeraiWatch *
serai_store_watch(SeraiStore *store, const char *path, SeraiWatchFunc func, gpointer data, GError **error)
{
    SeraiWatch *watch = g_new0(SeraiWatch, 1);
    int err;

    watch->func = func;
    watch->data = data;
    watch->path = g_strdup(path);
    g_mutex_lock(&store->lock);
    g_snprintf(watch->token, sizeof(watch->token), "s%" G_GUINT64_FORMAT, store->next_token++);
    g_hash_table_insert(store->watches, watch->token, watch);
    g_mutex_unlock(&store->lock);
    if (store->ops->watch(store, path, watch->token))
        return watch;
    err = errno;
    g_mutex_lock(&store->lock);
    g_hash_table_remove(store->watches, watch->token);
    g_mutex_unlock(&store->lock);
    g_free(watch->path);
    g_free(watch);
    serai_set_errno(error, err, _("Cannot watch '%s' in the store"), path);
    return NULL;
}

void
serai_store_unwatch(SeraiStore *store, SeraiWatch *watch)
{
    store->ops->unwatch(store, watch->path, watch->token);
    g_mutex_lock(&store->lock);
    g_hash_table_remove(store->watches, watch->token);
    while (store->running == watch)
        g_cond_wait(&store->idle, &store->lock);
    g_mutex_unlock(&store->lock);
    g_free(watch->path);
    g_free(watch);
}

/* ---- single requests ---- */

static char *
read_path(SeraiStore *store, const char *path)
{
    gsize size;
    g_autofree char *raw = store->ops->read(store, 0, path, &size);

    return raw ? g_utf8_make_valid(raw, strnlen(raw, size)) : NULL;
}

char *
serai_store_read(SeraiStore *store, const char *path_format, ...)
{
    g_autofree char *path = NULL;
    va_list args;

    va_start(args, path_format);
    path = g_strdup_vprintf(path_format, args);
    va_end(args);
    return read_path(store, path);
}

gint64
serai_store_read_number(SeraiStore *store, gint64 fallback, const char *path_format, ...)
{
    g_autofree char *path = NULL, *text = NULL;
    gint64 number;
    va_list args;

    va_start(args, path_format);
    path = g_strdup_vprintf(path_format, args);
    va_end(args);
    text = read_path(store, path);
    if (!text || !g_ascii_string_to_signed(text, 10, G_MININT64, G_MAXINT64, &number, NULL))
        return fallback;
    return number;
}

char **
serai_store_list(SeraiStore *store, const char *path_format, ...)
{
    g_autofree char *path = NULL;
    char **list;
    va_list args;

    va_start(args, path_format);
    path = g_strdup_vprintf(path_format, args);
    va_end(args);
    list = store->ops->list(store, 0, path);
    return list ? list : g_new0(char *, 1);
}

gboolean
serai_store_write(SeraiStore *store, GError **error, const char *path, const char *format, ...)
{
    g_autofree char *value = NULL;
    va_list args;

    va_start(args, format);
    value = g_strdup_vprintf(format, args);
    va_end(args);
    if (store->ops->write(store, 0, path, value, strlen(value)))
        return TRUE;
    serai_set_errno(error, errno, _("Cannot write '%s' in the store"), path);
    return FALSE;
}

gboolean
serai_store_remove(SeraiStore *store, const char *path, GError **error)
{
    if (store->ops->remove(store, 0, path) || errno == ENOENT)
        return TRUE;
    serai_set_errno(error, errno, _("Cannot remove '%s' from the store"), path);
    return FALSE;
}

gboolean
serai_store_introduce(SeraiStore *store, uint32_t domid, uint64_t mfn, uint32_t port, GError **error)
{
    if (store->ops->introduce(store, domid, mfn, port))
        return TRUE;
    serai_set_errno(error, errno, _("The store does not take domain %u"), domid);
    return FALSE;
}

/* ---- batches ---- */

typedef enum {
    OP_WRITE,
    OP_MKDIR,
    OP_PERMS,
    OP_REMOVE,
    OP_PRESENT,
    OP_ABSENT,
    OP_CALL,
} OpKind;

typedef struct {
    OpKind kind;
    char *path;
    char *value; /* or the message of an expectation */
    uint32_t owner;
    uint32_t reader;
    SeraiError code;
    SeraiBatchFunc func;
    gpointer data;
    GDestroyNotify data_free;
} Op;

struct SeraiBatch {
    SeraiStore *store;
    GPtrArray *ops;
};

static void
op_free(gpointer data)
{
    Op *op = data;

    if (op->data_free)
        op->data_free(op->data);
    g_free(op->path);
    g_free(op->value);
    g_free(op);
}

SeraiBatch *
serai_batch_new(SeraiStore *store)
{
    SeraiBatch *batch = g_new0(SeraiBatch, 1);

    batch->store = store;
    batch->ops = g_ptr_array_new_with_free_func(op_free);
    return batch;
}

void
serai_batch_free(SeraiBatch *batch)
{
    if (!batch)
        return;
    g_ptr_array_unref(batch->ops);
    g_free(batch);
}

guint
serai_batch_length(SeraiBatch *batch)
{
    return batch->ops->len;
}

static Op *
batch_add(SeraiBatch *batch, OpKind kind, const char *path)
{
    Op *op = g_new0(Op, 1);

    op->kind = kind;
    op->path = g_strdup(path);
    g_ptr_array_add(batch->ops, op);
    return op;
}

void
serai_batch_write(SeraiBatch *batch, const char *path, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    batch_add(batch, OP_WRITE, path)->value = g_strdup_vprintf(format, args);
    va_end(args);
}

void
serai_batch_mkdir(SeraiBatch *batch, const char *path, uint32_t owner, uint32_t reader)
{
    batch_add(batch, OP_MKDIR, path);
    serai_batch_perms(batch, path, owner, reader);
}

void
serai_batch_perms(SeraiBatch *batch, const char *path, uint32_t owner, uint32_t reader)
{
    Op *op = batch_add(batch, OP_PERMS, path);

    op->owner = owner;
    op->reader = reader;
}

void
serai_batch_remove(SeraiBatch *batch, const char *path)
{
    batch_add(batch, OP_REMOVE, path);
}

void
serai_batch_expect(SeraiBatch *batch, const char *path, gboolean present, SeraiError code,
                   const char *message)
{
    Op *op = batch_add(batch, present ? OP_PRESENT : OP_ABSENT, path);

    op->value = g_strdup(message);
    op->code = code;
}

void
serai_batch_call(SeraiBatch *batch, SeraiBatchFunc func, gpointer data, GDestroyNotify data_free)
{
    Op *op = batch_add(batch, OP_CALL, NULL);

    op->func = func;
    op->data = data;
    op->data_free = data_free;
}

static gboolean
op_apply(SeraiStore *store, uint32_t transaction, const Op *op, GError **error)
{
    g_autofree char *value = NULL;
    gboolean ok = FALSE;
    gsize size;

    switch (op->kind) {
    case OP_WRITE:
        ok = store->ops->write(store, transaction, op->path, op->value, strlen(op->value));
        break;
    case OP_MKDIR:
        ok = store->ops->mkdir(store, transaction, op->path);
        break;
    case OP_PERMS:
        ok = store->ops->set_perms(store, transaction, op->path, op->owner, op->reader);
        break;
    case OP_REMOVE:
        ok = store->ops->remove(store, transaction, op->path) || errno == ENOENT;
        break;
    case OP_PRESENT:
    case OP_ABSENT:
        value = store->ops->read(store, transaction, op->path, &size);
        if (!value && errno != ENOENT)
            break;
        if ((value != NULL) == (op->kind == OP_PRESENT))
            return TRUE;
        g_set_error_literal(error, SERAI_ERROR, op->code, op->value);
        return FALSE;
    case OP_CALL:
        return op->func(store, transaction, op->data, error);
    }
    if (!ok)
        serai_set_errno(error, errno, _("Cannot change '%s' in the store"), op->path);
    return ok;
}

gboolean
serai_batch_commit(SeraiBatch *batch, GCancellable *cancellable, GError **error)
{
    SeraiStore *store = batch->store;

    /* Others may be faster for a while, but not for ever; the pause grows so that everybody gets on. */
    for (int tries = 0; tries < 200; tries++) {
        uint32_t transaction;

        if (g_cancellable_set_error_if_cancelled(cancellable, error))
            return FALSE;
        transaction = store->ops->start(store);
        if (!transaction && errno != EAGAIN && errno != ENOSPC && errno != EBUSY) {
            serai_set_errno(error, errno, _("Cannot start a transaction in the store"));
            return FALSE;
        }
        if (transaction) {
            for (guint i = 0; i < batch->ops->len; i++) {
                if (!op_apply(store, transaction, batch->ops->pdata[i], error)) {
                    store->ops->end(store, transaction, FALSE);
                    return FALSE;
                }
            }
            if (store->ops->end(store, transaction, TRUE))
                return TRUE;
            if (errno != EAGAIN) {
                serai_set_errno(error, errno, _("The store does not take a transaction"));
                return FALSE;
            }
        }
        if (tries > 3)
            g_usleep(MIN(tries, 20) * 500 + g_random_int_range(0, 500));
    }
    g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_TIMED_OUT,
                        _("The store is too busy: a transaction did not get through."));
    return FALSE;
}

/* ---- waiting ---- */

static void
waiter_wake(SeraiWaiter *waiter)
{
    g_mutex_lock(&waiter->lock);
    waiter->woken = TRUE;
    g_cond_signal(&waiter->cond);
    g_mutex_unlock(&waiter->lock);
}

static void
waiter_watch(const char *path G_GNUC_UNUSED, gpointer data)
{
    waiter_wake(data);
}

static void
waiter_cancelled(GCancellable *cancellable G_GNUC_UNUSED, gpointer data)
{
    waiter_wake(data);
}

void
serai_waiter_init(SeraiWaiter *waiter, SeraiStore *store)
{
    waiter->store = store;
    g_mutex_init(&waiter->lock);
    g_cond_init(&waiter->cond);
    waiter->woken = FALSE;
    waiter->watches = g_ptr_array_new();
}

void
serai_waiter_clear(SeraiWaiter *waiter)
{
    if (!waiter->watches)
        return;
    for (guint i = 0; i < waiter->watches->len; i++)
        serai_store_unwatch(waiter->store, waiter->watches->pdata[i]);
    g_clear_pointer(&waiter->watches, g_ptr_array_unref);
    g_cond_clear(&waiter->cond);
    g_mutex_clear(&waiter->lock);
}

gboolean
serai_waiter_add(SeraiWaiter *waiter, const char *path, GError **error)
{
    SeraiWatch *watch = serai_store_watch(waiter->store, path, waiter_watch, waiter, error);

    if (watch)
        g_ptr_array_add(waiter->watches, watch);
    return watch != NULL;
}

gboolean
serai_waiter_wait(SeraiWaiter *waiter, gint64 deadline_us, GCancellable *cancellable, GError **error)
{
    gulong id =
        cancellable ? g_cancellable_connect(cancellable, G_CALLBACK(waiter_cancelled), waiter, NULL) : 0;
    gboolean in_time = TRUE;

    g_mutex_lock(&waiter->lock);
    while (!waiter->woken && in_time)
        in_time = g_cond_wait_until(&waiter->cond, &waiter->lock, deadline_us);
    waiter->woken = FALSE;
    g_mutex_unlock(&waiter->lock);
    if (id)
        g_cancellable_disconnect(cancellable, id);
    if (g_cancellable_set_error_if_cancelled(cancellable, error))
        return FALSE;
    if (!in_time)
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_TIMED_OUT,
                            _("The other side did not answer in time."));
    return in_time;
}
