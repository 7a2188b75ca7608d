/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices that another program took out of the store, as xenstore-rm does.
 *
 * The one watch on all backends tells; of its events only those on the directory of a device, or of all
 * devices of a domain, count: they come when one is made and when it goes.  Each is but an occasion to
 * compare the records of the domain with its backends, in the thread of the signals, once for all that
 * wait.  A detach of this library, by whatever process, takes record and backend away in one transaction,
 * and a domain that is being made or destroyed is not "ready": so what has a record and no backend was taken
 * by another.
 *
 * Nothing is looked at while nobody listens to the signal.
 */
#include "private/device.h"
#include "private/record.h"

#include <stdio.h>

/* Whether a record without a backend stays so when nothing else happens meanwhile. */
static gboolean
confirm(SeraiHost *host, guint domid, const char *uuid, const SeraiDevice *device)
{
    g_autoptr(SeraiBatch) batch = serai_batch_new(host->store);
    g_autofree char *backend = serai_device_backend_path(domid, device);
    g_autofree char *record = serai_record_device_path(uuid, device);

    serai_record_expect_ready(batch, uuid);
    serai_batch_expect(batch, record, TRUE, SERAI_ERROR_NO_DEVICE, "");
    serai_batch_expect(batch, backend, FALSE, SERAI_ERROR_DEVICE_EXISTS, "");
    return serai_batch_commit(batch, NULL, NULL);
}

/* Keeps what it finds in @told, and tells of what is new there. */
static void
compare(SeraiHost *host, guint domid, const char *uuid, GHashTable *told)
{
    g_autoptr(SeraiDomain) domain = serai_domain_new(host, domid, uuid);
    g_autoptr(GPtrArray) devices = serai_record_devices(host, uuid);

    for (guint i = 0; i < devices->len; i++) {
        const SeraiDevice *device = devices->pdata[i];
        gpointer key = GSIZE_TO_POINTER((gsize)device->kind << 32 | (guint32)device->devid);

        if (!serai_device_is_gone(host, domid, device) || !confirm(host, domid, uuid, device))
            g_hash_table_remove(told, key);
        else if (g_hash_table_add(told, key))
            serai_host_emit_device_removed(host, domain, device->kind, device->devid);
    }
}

typedef struct {
    SeraiHost *host;
    guint domid;
} Look;

static void
look_free(gpointer data)
{
    Look *look = data;

    g_object_unref(look->host);
    g_free(look);
}

static gboolean
look(gpointer data)
{
    guint domid = ((Look *)data)->domid;
    SeraiHost *host = ((Look *)data)->host;
    g_autoptr(GHashTable) told = NULL;
    g_autofree char *uuid = NULL, *state = NULL;
    SeraiKnown *known;

    g_mutex_lock(&host->lock);
    g_hash_table_remove(host->changed, GUINT_TO_POINTER(domid));
    known = g_hash_table_lookup(host->known, GUINT_TO_POINTER(domid));
    if (known) {
        uuid = g_strdup(known->uuid);
        told = g_hash_table_ref(known->told);
    }
    g_mutex_unlock(&host->lock);
    if (!known)
        return G_SOURCE_REMOVE;
    state = serai_store_read(host->store, SERAI_RECORD_ROOT "/domain/%s/state", uuid);
    if (!g_strcmp0(state, "ready") && serai_record_domid(host, uuid) == (int)domid)
        compare(host, domid, uuid, told);
    return G_SOURCE_REMOVE;
}

/* In the store's thread. */
void
serai_backend_changed(const char *path, gpointer data)
{
    SeraiHost *host = data;
    int short_end = 0, long_end = 0, devid;
    gboolean first;
    Look *task;
    guint domid;

    if (!g_str_has_prefix(path, SERAI_BACKENDS "/"))
        return;
    path += strlen(SERAI_BACKENDS "/");
    if (sscanf(path, "%*[a-z]/%u%n/%d%n", &domid, &short_end, &devid, &long_end) < 1 ||
        (path[short_end] && (!long_end || path[long_end])) || !serai_host_tells_of_devices(host))
        return;
    g_mutex_lock(&host->lock);
    first = g_hash_table_add(host->changed, GUINT_TO_POINTER(domid));
    g_mutex_unlock(&host->lock);
    if (!first)
        return;
    task = g_new(Look, 1);
    task->host = g_object_ref(host);
    task->domid = domid;
    serai_host_later(host, look, task, look_free);
}
