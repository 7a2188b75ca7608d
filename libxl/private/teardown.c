/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Taking a domain apart.  Each step may have been done before, by us or by somebody who died in the middle:
 *
 *   1  the record says "destroying", and who does it
 *   2  the vCPUs stop, and the device model ends
 *   3  all its nodes go, in one transaction: backends see their frontends vanish and let go
 *   4  the hypervisor destroys it
 *   5  ports of Open vSwitch go, the kernel's backends have let go
 *   6  the record goes, and with it the name
 *
 * Until 6 the record is there, so that recovery can start over.
 */
#include "private/teardown.h"
#include "private/device.h"
#include "private/record.h"
#include "private/system.h"

/* A backend lets go at once unless the disk below it hangs. */
#define GONE_TIMEOUT (10 * G_USEC_PER_SEC)

static const char *const backend_types[] = {"vbd", "qdisk", "vif", "console", "vfb", "vkbd", "pci"};

static void
remove_nodes(SeraiBatch *batch, const char *uuid, int domid)
{
    g_autofree char *vm = g_strdup_printf("/vm/%s", uuid);
    g_autofree char *local = g_strdup_printf("/local/domain/%d", domid);
    g_autofree char *consoles = g_strdup_printf(SERAI_RECORD_ROOT "/console/%d", domid);
    g_autofree char *model = g_strdup_printf("/local/domain/0/device-model/%d", domid);

    serai_batch_remove(batch, vm);
    if (domid < 0)
        return;
    serai_batch_remove(batch, consoles);
    for (guint i = 0; i < G_N_ELEMENTS(backend_types); i++) {
        g_autofree char *path = g_strdup_printf("/local/domain/0/backend/%s/%d", backend_types[i], domid);
        g_autofree char *failed =
            g_strdup_printf("/local/domain/0/error/backend/%s/%d", backend_types[i], domid);

        serai_batch_remove(batch, path);
        serai_batch_remove(batch, failed);
    }
    serai_batch_remove(batch, model);
    serai_batch_remove(batch, local);
}

static void
release_devices(SeraiHost *host, GPtrArray *devices, int domid)
{
    if (host->fake)
        return;
    serai_devices_wait_gone(devices, domid, GONE_TIMEOUT);
    for (guint i = 0; i < devices->len; i++) {
        const SeraiDevice *device = devices->pdata[i];

        if (device->kind == SERAI_DEVICE_NIC && device->nic.ifname)
            serai_link_forget(device->nic.ifname, &device->nic);
    }
}

/* Nothing is to be done where another process has gone on with it: what is there may be a new domain. */
static gboolean
commit_if_ours(SeraiBatch *batch, GCancellable *cancellable, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (serai_batch_commit(batch, cancellable, &local) ||
        g_error_matches(local, SERAI_ERROR, SERAI_ERROR_NO_DOMAIN))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

static gboolean
tear_down(SeraiHost *host, const char *uuid, int domid, gboolean stale, GCancellable *cancellable,
          GError **error)
{
    g_autoptr(SeraiBatch) nodes = serai_batch_new(host->store), record = serai_batch_new(host->store);
    g_autofree char *name = serai_store_read(host->store, SERAI_RECORD_ROOT "/domain/%s/name", uuid);
    g_autoptr(GPtrArray) devices = NULL;
    g_autoptr(GError) local = NULL;

    if (serai_record_destroying(host, uuid, domid, stale, &local)) {
        serai_record_expect_ours(nodes, uuid);
        serai_record_expect_ours(record, uuid);
    } else if (!g_error_matches(local, SERAI_ERROR, SERAI_ERROR_NO_DOMAIN)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    } else { /* not of our making, or taken apart already */
        g_autofree char *state = g_strdup_printf(SERAI_RECORD_ROOT "/domain/%s/state", uuid);

        serai_batch_expect(nodes, state, FALSE, SERAI_ERROR_NO_DOMAIN, "");
        serai_batch_expect(record, state, FALSE, SERAI_ERROR_NO_DOMAIN, "");
    }
    g_clear_error(&local);
    devices = serai_record_devices(host, uuid);
    if (domid > 0)
        serai_hv_pause_domain(host->hv, domid, NULL);
    /* Before the nodes: QEMU writes to those of a disk that vanishes, and so would bring them back. */
    if (domid > 0 && !host->fake)
        serai_device_model_stop(host, domid);
    remove_nodes(nodes, uuid, domid);
    for (guint i = 0; i < devices->len; i++)
        serai_disk_give_back(nodes, uuid, devices->pdata[i]);
    if (!commit_if_ours(nodes, cancellable, error))
        return FALSE;
    if (domid > 0) {
        if (!serai_hv_destroy_domain(host->hv, domid, cancellable, error))
            return FALSE;
        release_devices(host, devices, domid);
    }
    serai_record_remove(record, uuid, name);
    return commit_if_ours(record, NULL, error);
}

gboolean
serai_teardown(SeraiHost *host, const char *uuid, int domid, GCancellable *cancellable, GError **error)
{
    return tear_down(host, uuid, domid, FALSE, cancellable, error);
}

gboolean
serai_teardown_stale(SeraiHost *host, const char *uuid, int domid, GCancellable *cancellable, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (tear_down(host, uuid, domid, TRUE, cancellable, &local) ||
        g_error_matches(local, SERAI_ERROR, SERAI_ERROR_INVALID_STATE))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

int
serai_find_domid(SeraiHost *host, const char *uuid)
{
    g_autofree xen_domctl_getdomaininfo_t *list = g_new(xen_domctl_getdomaininfo_t, 256);
    uint32_t first = 1;
    guint8 bytes[16];
    int count;

    if (!serai_uuid_parse(uuid, bytes))
        return -1;
    while ((count = serai_hv_list_domains(host->hv, first, 256, list, NULL)) > 0) {
        for (int i = 0; i < count; i++)
            if (!memcmp(list[i].handle, bytes, sizeof(bytes)) && !(list[i].flags & XEN_DOMINF_dying))
                return list[i].domain;
        first = list[count - 1].domain + 1;
    }
    return -1;
}

gboolean
serai_record_is_stale(SeraiHost *host, const char *uuid, int domid)
{
    g_autofree char *state = serai_store_read(host->store, SERAI_RECORD_ROOT "/domain/%s/state", uuid);
    xen_domctl_getdomaininfo_t info;
    char text[37];

    if (state && strcmp(state, "ready"))
        return !serai_record_owner_lives(host, uuid);
    if (domid < 0 || !serai_hv_domain_info(host->hv, domid, &info, NULL) || info.flags & XEN_DOMINF_dying)
        return TRUE;
    serai_uuid_format(info.handle, text);
    return strcmp(text, uuid) != 0;
}
