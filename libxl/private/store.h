/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client of the store.  Requests may come from any thread.  What is written together is collected in a
 * #SeraiBatch first and goes out as one transaction, which is tried again when another client was faster.
 */
#ifndef SERAI_STORE_H
#define SERAI_STORE_H

#include "private/private.h"

typedef struct SeraiStore SeraiStore;

typedef struct {
    /* All return FALSE or NULL with errno set; a path that is not there is ENOENT. */
    uint32_t (*start)(SeraiStore *store);
    gboolean (*end)(SeraiStore *store, uint32_t transaction, gboolean commit);
    char *(*read)(SeraiStore *store, uint32_t transaction, const char *path, gsize *ret_size);
    char **(*list)(SeraiStore *store, uint32_t transaction, const char *path);
    gboolean (*write)(SeraiStore *store, uint32_t transaction, const char *path, const char *value,
                      gsize size);
    gboolean (*mkdir)(SeraiStore *store, uint32_t transaction, const char *path);
    gboolean (*remove)(SeraiStore *store, uint32_t transaction, const char *path);
    gboolean (*set_perms)(SeraiStore *store, uint32_t transaction, const char *path, uint32_t owner,
                          uint32_t reader);
    gboolean (*introduce)(SeraiStore *store, uint32_t domid, uint64_t mfn, uint32_t port);
    gboolean (*release)(SeraiStore *store, uint32_t domid);
    gboolean (*resume)(SeraiStore *store, uint32_t domid);
    gboolean (*watch)(SeraiStore *store, const char *path, const char *token);
    gboolean (*unwatch)(SeraiStore *store, const char *path, const char *token);
    void (*close)(SeraiStore *store);
} SeraiStoreOps;

typedef struct SeraiWatch SeraiWatch;

/* Called in the store's own thread; must not wait.  @path is what changed. */
typedef void (*SeraiWatchFunc)(const char *path, gpointer data);

struct SeraiStore {
    const SeraiStoreOps *ops; /* (c) */
    GMutex lock;
    GHashTable *watches; /* (lock) token to SeraiWatch */
    guint64 next_token;  /* (lock) */
    GCond idle;          /* (lock) signalled when no callback runs */
    SeraiWatch *running; /* (lock) the watch whose callback runs */
};

SeraiStore *serai_store_open(GError **error);
void serai_store_close(SeraiStore *store);

/* For those who implement one. */
void serai_store_init(SeraiStore *store, const SeraiStoreOps *ops);
void serai_store_fini(SeraiStore *store);
void serai_store_dispatch(SeraiStore *store, const char *path, const char *token);

/* --- single requests -------------------------------------------------------------------------- */
char *serai_store_read(SeraiStore *store, const char *path_format, ...) G_GNUC_PRINTF(2, 3);
/* A number, or @fallback when there is none or it is not one. */
gint64 serai_store_read_number(SeraiStore *store, gint64 fallback, const char *path_format, ...)
    G_GNUC_PRINTF(3, 4);
char **serai_store_list(SeraiStore *store, const char *path_format, ...) G_GNUC_PRINTF(2, 3);
gboolean serai_store_write(SeraiStore *store, GError **error, const char *path, const char *format, ...)
    G_GNUC_PRINTF(4, 5);
gboolean serai_store_remove(SeraiStore *store, const char *path, GError **error);
gboolean serai_store_introduce(SeraiStore *store, uint32_t domid, uint64_t mfn, uint32_t port,
                               GError **error);

/* --- watches ---------------------------------------------------------------------------------- */
SeraiWatch *serai_store_watch(SeraiStore *store, const char *path, SeraiWatchFunc func, gpointer data,
                              GError **error);
/* Once this returns, the callback does not run and will not.  Must not be called from a callback. */
void serai_store_unwatch(SeraiStore *store, SeraiWatch *watch);

/* --- many writes at once ---------------------------------------------------------------------- */
typedef struct SeraiBatch SeraiBatch;

SeraiBatch *serai_batch_new(SeraiStore *store);
void serai_batch_free(SeraiBatch *batch);
void serai_batch_write(SeraiBatch *batch, const char *path, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* A directory whose owner is @owner and that @reader may read; nodes made below it inherit that. */
void serai_batch_mkdir(SeraiBatch *batch, const char *path, uint32_t owner, uint32_t reader);
void serai_batch_perms(SeraiBatch *batch, const char *path, uint32_t owner, uint32_t reader);
void serai_batch_remove(SeraiBatch *batch, const char *path);
/* The commit fails with @code and @message when @path exists (or does not). */
void serai_batch_expect(SeraiBatch *batch, const char *path, gboolean present, SeraiError code,
                        const char *message);
/* A step that looks in the transaction before it changes anything; it runs again with each try of the commit,
 * which fails when it returns FALSE. */
typedef gboolean (*SeraiBatchFunc)(SeraiStore *store, uint32_t transaction, gpointer data, GError **error);
void serai_batch_call(SeraiBatch *batch, SeraiBatchFunc func, gpointer data, GDestroyNotify data_free);
gboolean serai_batch_commit(SeraiBatch *batch, GCancellable *cancellable, GError **error);
guint serai_batch_length(SeraiBatch *batch);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(SeraiBatch, serai_batch_free)

/* --- waiting until something in the store is so ----------------------------------------------- */
typedef struct {
    SeraiStore *store;
    GMutex lock;
    GCond cond;
    gboolean woken;     /* (lock) */
    GPtrArray *watches; /* (t) the waiting thread only */
} SeraiWaiter;

void serai_waiter_init(SeraiWaiter *waiter, SeraiStore *store);
void serai_waiter_clear(SeraiWaiter *waiter);
gboolean serai_waiter_add(SeraiWaiter *waiter, const char *path, GError **error);
/* Sleeps until a watch fires, @cancellable is cancelled or @deadline_us (monotonic) passes.  FALSE for the
 * last two. */
gboolean serai_waiter_wait(SeraiWaiter *waiter, gint64 deadline_us, GCancellable *cancellable,
                           GError **error);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SeraiWaiter, serai_waiter_clear)

#endif
