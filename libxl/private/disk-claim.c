/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Claims on block devices of the host, so that two guests do not write to one by mistake.  For an image file
 * locks do that (image-lock.c), which its loop device holds; the kernel's backend opens a block device anew
 * and holds no lock.  So whoever has one says so in the store, in the transaction that makes the disk's
 * nodes:
 *
 *   /serai/block/MAJOR-MINOR/DOMID-DEVID-HOW    HOW is "r" or "w", and an "s" more for a shareable disk
 *   /serai/domain/UUID/device/0/DEVID/claim     the path of that, by which it goes with the disk
 *
 * The rules are those of the locks.  Disks that QEMU serves claim their block device too, so that either
 * kind sees the other.  A claim whose domain or backend is gone counts for nothing, and the next one takes
 * it away.
 */
#include "private/device.h"
#include "private/record.h"
#include "private/system.h"

#include <stdio.h>
#include <sys/sysmacros.h>

#define ROOT SERAI_RECORD_ROOT "/block"

typedef struct {
    SeraiHost *host;
    char *dir;
    char *link;
    guint domid;
    int devid;
    gboolean writes;
    gboolean shares;
    char *target;
    char *path;
} Claim;

static void
claim_free(gpointer data)
{
    Claim *claim = data;

    g_free(claim->dir);
    g_free(claim->link);
    g_free(claim->target);
    g_free(claim->path);
    g_free(claim);
}

/* What cannot be read counts as there. */
static gboolean
exists(SeraiStore *store, uint32_t transaction, const char *path)
{
    gsize size;
    char *value = store->ops->read(store, transaction, path, &size);
    gboolean there = value || errno != ENOENT;

    g_free(value);
    return there;
}

/* Whether the disk of a claim is still there. */
static gboolean
is_held(SeraiHost *host, uint32_t transaction, guint domid, int devid)
{
    g_autofree char *kernel = g_strdup_printf("/local/domain/0/backend/vbd/%u/%d", domid, devid);
    g_autofree char *model = g_strdup_printf("/local/domain/0/backend/qdisk/%u/%d", domid, devid);
    xen_domctl_getdomaininfo_t info;

    return serai_hv_domain_info(host->hv, domid, &info, NULL) &&
           (exists(host->store, transaction, kernel) || exists(host->store, transaction, model));
}

static gboolean
refuse(SeraiStore *store, uint32_t transaction, const Claim *claim, guint domid, GError **error)
{
    g_autofree char *path = g_strdup_printf("/local/domain/%u/name", domid);
    gsize size;
    g_autofree char *name = store->ops->read(store, transaction, path, &size);

    g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED,
                _("The source of disk '%s' (%s) is in use by domain '%s', and not both share it."),
                claim->target, claim->path, name ? name : path);
    return FALSE;
}

/* One claim that is there already; TRUE when it is not in the way of ours any more. */
static gboolean
meet(SeraiStore *store, uint32_t transaction, const Claim *claim, const char *name, GError **error)
{
    g_autofree char *path = g_strdup_printf("%s/%s", claim->dir, name);
    gboolean writes, shares;
    char how[4];
    guint domid;
    int devid;

    if (sscanf(name, "%u-%d-%3s", &domid, &devid, how) != 3)
        return TRUE;
    writes = how[0] == 'w';
    shares = how[1] == 's';
    if (!(writes && !claim->shares) && !(claim->writes && !shares))
        return TRUE;
    if ((domid != claim->domid || devid != claim->devid) && is_held(claim->host, transaction, domid, devid))
        return refuse(store, transaction, claim, domid, error);
    store->ops->remove(store, transaction, path);
    return TRUE;
}

static gboolean
claim_step(SeraiStore *store, uint32_t transaction, gpointer data, GError **error)
{
    const Claim *claim = data;
    g_autofree char *path = g_strdup_printf("%s/%u-%d-%s%s", claim->dir, claim->domid, claim->devid,
                                            claim->writes ? "w" : "r", claim->shares ? "s" : "");
    g_auto(GStrv) names = store->ops->list(store, transaction, claim->dir);

    /* Claims that cannot be read may be in the way. */
    if (!names && errno != ENOENT) {
        serai_set_errno(error, errno, _("Cannot read '%s' in the store"), claim->dir);
        return FALSE;
    }
    for (char **name = names; name && *name; name++)
        if (!meet(store, transaction, claim, *name, error))
            return FALSE;
    if (store->ops->write(store, transaction, path, "", 0) &&
        store->ops->write(store, transaction, claim->link, path, strlen(path)))
        return TRUE;
    serai_set_errno(error, errno, _("Cannot change '%s' in the store"), path);
    return FALSE;
}

void
serai_disk_claim(SeraiBatch *batch, SeraiHost *host, guint domid, const char *uuid, const SeraiDevice *device,
                 dev_t block)
{
    const SeraiDisk *disk = &device->disk;
    Claim *claim = g_new0(Claim, 1);

    claim->host = host;
    claim->dir = g_strdup_printf(ROOT "/%u-%u", major(block), minor(block));
    claim->link = serai_record_claim_path(uuid, device->devid);
    claim->domid = domid;
    claim->devid = device->devid;
    claim->writes = !disk->readonly && !disk->cdrom;
    claim->shares = disk->shareable;
    claim->target = g_strdup(disk->target);
    claim->path = g_strdup(disk->path);
    serai_batch_call(batch, claim_step, claim, claim_free);
}

static gboolean
give_back_step(SeraiStore *store, uint32_t transaction, gpointer data, GError **error G_GNUC_UNUSED)
{
    gsize size;
    g_autofree char *path = store->ops->read(store, transaction, data, &size), *dir = NULL;
    g_auto(GStrv) others = NULL;

    if (!path || !g_str_has_prefix(path, ROOT "/"))
        return TRUE;
    store->ops->remove(store, transaction, path);
    dir = g_path_get_dirname(path);
    others = store->ops->list(store, transaction, dir);
    if (others && !*others)
        store->ops->remove(store, transaction, dir);
    return TRUE;
}

void
serai_disk_give_back(SeraiBatch *batch, const char *uuid, const SeraiDevice *device)
{
    if (device->kind == SERAI_DEVICE_DISK && device->disk.path && !serai_disk_is_nbd(device->disk.path))
        serai_batch_call(batch, give_back_step, serai_record_claim_path(uuid, device->devid), g_free);
}
