/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The real store, over libxenstore.  Two connections: one for requests, which answers in the calling thread,
 * and one for watches, read by a thread of ours that ends when it is told to through a pipe.
 */
#include "private/store.h"

#include <fcntl.h>
#include <glib-unix.h>
#include <poll.h>
#include <unistd.h>
#include <xenstore.h>

typedef struct {
    SeraiStore base;
    struct xs_handle *requests;
    struct xs_handle *events;
    GThread *thread;
    int stop[2];
} XenStore;

static uint32_t
xen_start(SeraiStore *store)
{
    return xs_transaction_start(((XenStore *)store)->requests);
}

static gboolean
xen_end(SeraiStore *store, uint32_t transaction, gboolean commit)
{
    return xs_transaction_end(((XenStore *)store)->requests, transaction, !commit);
}

static char *
xen_read(SeraiStore *store, uint32_t transaction, const char *path, gsize *ret_size)
{
    unsigned int size;
    char *value = xs_read(((XenStore *)store)->requests, transaction, path, &size), *copy;

    if (!value)
        return NULL;
    copy = g_malloc(size + 1);
    memcpy(copy, value, size);
    copy[size] = 0;
    free(value);
    *ret_size = size;
    return copy;
}

static char **
xen_list(SeraiStore *store, uint32_t transaction, const char *path)
{
    unsigned int count;
    char **list = xs_directory(((XenStore *)store)->requests, transaction, path, &count), **copy;

    if (!list)
        return NULL;
    copy = g_new0(char *, count + 1);
    for (unsigned int i = 0; i < count; i++)
        copy[i] = g_strdup(list[i]);
    free(list);
    return copy;
}

static gboolean
xen_write(SeraiStore *store, uint32_t transaction, const char *path, const char *value, gsize size)
{
    return xs_write(((XenStore *)store)->requests, transaction, path, value, size);
}

static gboolean
xen_mkdir(SeraiStore *store, uint32_t transaction, const char *path)
{
    return xs_mkdir(((XenStore *)store)->requests, transaction, path);
}

static gboolean
xen_remove(SeraiStore *store, uint32_t transaction, const char *path)
{
    return xs_rm(((XenStore *)store)->requests, transaction, path);
}

static gboolean
xen_set_perms(SeraiStore *store, uint32_t transaction, const char *path, uint32_t owner, uint32_t reader)
{
    struct xs_permissions perms[2] = {{.id = owner, .perms = XS_PERM_NONE},
                                      {.id = reader, .perms = XS_PERM_READ}};

    return xs_set_permissions(((XenStore *)store)->requests, transaction, path, perms,
                              owner == reader ? 1 : 2);
}

static gboolean
xen_introduce(SeraiStore *store, uint32_t domid, uint64_t mfn, uint32_t port)
{
    return xs_introduce_domain(((XenStore *)store)->requests, domid, mfn, port);
}

static gboolean
xen_release(SeraiStore *store, uint32_t domid)
{
    return xs_release_domain(((XenStore *)store)->requests, domid);
}

static gboolean
xen_resume(SeraiStore *store, uint32_t domid)
{
    return xs_resume_domain(((XenStore *)store)->requests, domid);
}

static gboolean
xen_watch(SeraiStore *store, const char *path, const char *token)
{
    return xs_watch(((XenStore *)store)->events, path, token);
}

static gboolean
xen_unwatch(SeraiStore *store, const char *path, const char *token)
{
    return xs_unwatch(((XenStore *)store)->events, path, token);
}

static gpointer
watch_thread(gpointer data)
{
    XenStore *self = data;
    struct pollfd fds[2] = {{.fd = self->stop[0], .events = POLLIN},
                            {.fd = xs_fileno(self->events), .events = POLLIN}};

    for (;;) {
        char **event;

        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return NULL;
        if (fds[0].revents)
            return NULL;
        errno = 0;
        while ((event = xs_check_watch(self->events))) {
            serai_store_dispatch(&self->base, event[XS_WATCH_PATH], event[XS_WATCH_TOKEN]);
            free(event);
        }
        if (errno && errno != EAGAIN && errno != EINTR)
            return NULL;
    }
}

static void
xen_close(SeraiStore *store)
{
    XenStore *self = (XenStore *)store;

    if (self->thread) {
        /* One byte is all the thread waits for; the pipe is empty, so this cannot block. */
        if (write(self->stop[1], "", 1) == 1)
            g_thread_join(self->thread);
    }
    if (self->stop[0] >= 0) {
        close(self->stop[0]);
        close(self->stop[1]);
    }
    if (self->events)
        xs_close(self->events);
    if (self->requests)
        xs_close(self->requests);
    serai_store_fini(store);
    g_free(self);
}

static const SeraiStoreOps xen_ops = {
    .start = xen_start,
    .end = xen_end,
    .read = xen_read,
    .list = xen_list,
    .write = xen_write,
    .mkdir = xen_mkdir,
    .remove = xen_remove,
    .set_perms = xen_set_perms,
    .introduce = xen_introduce,
    .release = xen_release,
    .resume = xen_resume,
    .watch = xen_watch,
    .unwatch = xen_unwatch,
    .close = xen_close,
};

SeraiStore *
serai_store_open(GError **error)
{
    XenStore *self = g_new0(XenStore, 1);

    serai_store_init(&self->base, &xen_ops);
    self->stop[0] = self->stop[1] = -1;
    self->requests = xs_open(0);
    if (self->requests)
        self->events = xs_open(0);
    if (!self->events) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_NO_STORE, _("The store does not answer: %s."),
                    g_strerror(errno));
        xen_close(&self->base);
        return NULL;
    }
    if (!g_unix_open_pipe(self->stop, FD_CLOEXEC, error)) {
        self->stop[0] = self->stop[1] = -1;
        xen_close(&self->base);
        return NULL;
    }
    self->thread = g_thread_new("serai-store", watch_thread, self);
    return &self->base;
}
