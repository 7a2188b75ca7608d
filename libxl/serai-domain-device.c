/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices of a domain that lives: attaching, detaching, changing, and what they have done.  Each change is
 * one transaction that also changes the record, under the condition that the domain is neither being made nor
 * destroyed.
 */
#include "private/device.h"
#include "private/domain.h"
#include "private/pci.h"
#include "private/record.h"
#include "private/system.h"

#include <stdio.h>

/* How long a guest may take to let go of a device. */
#define CLOSE_TIMEOUT (10 * G_USEC_PER_SEC)
#define FORCE_TIMEOUT (2 * G_USEC_PER_SEC)

static gboolean
alive(SeraiDomain *domain, GError **error)
{
    xen_domctl_getdomaininfo_t info;

    return serai_domain_raw_info(domain, &info, error);
}

static gboolean
fail_named(SeraiDomain *domain, const char *what, GError **error)
{
    g_autofree char *name = serai_domain_dup_name(domain);

    g_prefix_error(error, _("%s of domain '%s': "), what, *name ? name : domain->uuid);
    return FALSE;
}

GPtrArray *
serai_domain_list_devices(SeraiDomain *domain, GError **error)
{
    return alive(domain, error) ? serai_record_devices(domain->host, domain->uuid) : NULL;
}

static SeraiDevice *
find_device(SeraiDomain *domain, const SeraiDevice *wanted, GError **error)
{
    g_autoptr(GPtrArray) devices = serai_record_devices(domain->host, domain->uuid);

    for (guint i = 0; i < devices->len; i++)
        if (serai_device_same(devices->pdata[i], wanted))
            return serai_device_copy(devices->pdata[i]);
    g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_NO_DEVICE, _("The domain has no such device."));
    return NULL;
}

/* --- attaching -------------------------------------------------------------------------------- */

/* Whether the bus of a PCI device stays when it goes. */
static gboolean
stays_on_bus(SeraiDomain *domain, const SeraiDevice *device)
{
    g_autoptr(GPtrArray) devices = NULL;

    if (device->kind != SERAI_DEVICE_PCI)
        return FALSE;
    devices = serai_record_devices(domain->host, domain->uuid);
    return serai_pci_has_others(devices, device);
}

/* What it holds is given back once the store has forgotten it, or else stays for another attempt.  With
 * @if_gone it is removed only if it has no backend: another process may have put a new one in its place. */
static gboolean
remove_device(SeraiDomain *domain, const SeraiDevice *device, gboolean if_gone, GError **error)
{
    g_autoptr(SeraiBatch) batch = serai_batch_new(domain->host->store);
    g_autoptr(GPtrArray) list = g_ptr_array_new();

    if (if_gone) {
        g_autofree char *backend = serai_device_backend_path(domain->domid, device);

        serai_batch_expect(batch, backend, FALSE, SERAI_ERROR_DEVICE_EXISTS, "");
    }
    if (stays_on_bus(domain, device)) {
        serai_pci_remove_nodes(batch, domain->domid, device);
        serai_record_device_remove(batch, domain->uuid, device);
    } else {
        g_ptr_array_add(list, (gpointer)device);
        serai_device_remove_nodes(batch, domain->domid, domain->uuid, device);
    }
    if (!serai_batch_commit(batch, NULL, error))
        return FALSE;
    if (device->kind == SERAI_DEVICE_PCI)
        serai_pci_take_back(domain->host, domain->domid, device);
    if (domain->host->fake)
        return TRUE;
    if (serai_device_is_model_disk(device))
        serai_model_remove_disk(domain->host, domain->domid, device);
    serai_devices_wait_gone(list, domain->domid, CLOSE_TIMEOUT);
    if (device->kind == SERAI_DEVICE_NIC && device->nic.ifname)
        serai_link_forget(device->nic.ifname, &device->nic);
    return TRUE;
}

static gboolean
check_new(SeraiDomain *domain, const SeraiDevice *device, GPtrArray *present, GError **error)
{
    if (!serai_device_check(device, error))
        return FALSE;
    for (guint i = 0; i < present->len; i++) {
        const SeraiDevice *other = present->pdata[i];

        /* Consoles without a number get a free one. */
        if (device->devid < 0 && device->kind >= SERAI_DEVICE_CONSOLE &&
            device->kind != SERAI_DEVICE_CHANNEL && device->kind != SERAI_DEVICE_PCI)
            continue;
        if (serai_device_same(other, device) ||
            (device->kind == SERAI_DEVICE_NIC && other->kind == SERAI_DEVICE_NIC &&
             !g_ascii_strcasecmp(device->nic.mac, other->nic.mac))) {
            g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_DEVICE_EXISTS,
                                _("The domain has that device already."));
            return FALSE;
        }
    }
    if (device->kind == SERAI_DEVICE_VFB || device->kind == SERAI_DEVICE_VKB) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED,
                            _("A frame buffer and its keyboard cannot be attached to a domain that runs."));
        return FALSE;
    }
    return domain->domid != 0 || (g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_INVALID_STATE,
                                                      _("The control domain takes no devices.")),
                                  FALSE);
}

/* The hypervisor prepares a domain for PCI devices when it makes it, or never. */
static gboolean
check_passthrough(SeraiDomain *domain, GPtrArray *wanted, GError **error)
{
    const SeraiDevice *device = wanted->pdata[0];
    g_autoptr(SeraiConfig) config = NULL;

    if (device->kind != SERAI_DEVICE_PCI)
        return TRUE;
    if (!serai_pci_check_host(domain->host, wanted, error) ||
        !(config = serai_domain_get_config(domain, error)))
        return FALSE;
    if (config->passthrough)
        return TRUE;
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED,
                _("The domain was started without passthrough, so PCI device '%s' cannot come to it now."),
                device->pci.address);
    return FALSE;
}

static gboolean
attach(SeraiDomain *domain, const SeraiDevice *device, GCancellable *cancellable, GError **error)
{
    SeraiHost *host = domain->host;
    g_autoptr(GPtrArray) wanted = g_ptr_array_new(), present = NULL, attaches = NULL;
    g_autoptr(SeraiBatch) batch = serai_batch_new(host->store);

    if (!alive(domain, error))
        return FALSE;
    present = serai_record_devices(host, domain->uuid);
    if (!check_new(domain, device, present, error))
        return FALSE;
    g_ptr_array_add(wanted, (gpointer)device);
    if (!check_passthrough(domain, wanted, error))
        return FALSE;
    attaches = serai_devices_prepare(host, domain->domid, wanted, present, error);
    if (!attaches)
        return FALSE;
    if (!host->fake && serai_device_needs_model(device) && !serai_device_model_runs(host, domain->domid)) {
        g_autoptr(SeraiConfig) config = serai_domain_get_config(domain, error);

        if (!config || !serai_device_model_start(host, domain->domid, config, cancellable, error))
            return FALSE;
    }
    serai_record_expect_ready(batch, domain->uuid);
    if (!serai_devices_nodes(host, attaches, domain->domid, domain->uuid, batch, error) ||
        !serai_batch_commit(batch, cancellable, error))
        return FALSE;
    if (serai_devices_wait(host, domain->domid, attaches, NULL, cancellable, error))
        return TRUE;
    remove_device(domain, ((SeraiAttach *)attaches->pdata[0])->device, FALSE, NULL);
    return FALSE;
}

gboolean
serai_domain_attach_device_sync(SeraiDomain *domain, const SeraiDevice *device, GCancellable *cancellable,
                                GError **error)
{
    return attach(domain, device, cancellable, error) ||
           fail_named(domain, _("Cannot attach a device"), error);
}

/* --- detaching -------------------------------------------------------------------------------- */

/* Returns what was detached. */
static SeraiDevice *
detach(SeraiDomain *domain, const SeraiDevice *wanted, SeraiDetachFlags flags, GCancellable *cancellable,
       GError **error)
{
    g_autoptr(SeraiDevice) device = NULL;
    g_autoptr(GError) local = NULL;
    gboolean force = flags & SERAI_DETACH_FORCE;

    if (!alive(domain, error) || !(device = find_device(domain, wanted, error)))
        return NULL;
    if (device->kind == SERAI_DEVICE_CONSOLE && device->devid == 0) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED,
                            _("The first console cannot be detached."));
        return NULL;
    }
    if (device->kind == SERAI_DEVICE_VFB || device->kind == SERAI_DEVICE_VKB) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED,
                            _("A frame buffer and its keyboard cannot be detached from a domain that runs."));
        return NULL;
    }
    if (!serai_device_is_empty(device) &&
        !(stays_on_bus(domain, device) ? serai_pci_close : serai_device_close)(
            domain->host, domain->domid, device, force ? FORCE_TIMEOUT : CLOSE_TIMEOUT, cancellable,
            &local) &&
        !(force && g_error_matches(local, SERAI_ERROR, SERAI_ERROR_GUEST_REFUSED))) {
        g_propagate_error(error, g_steal_pointer(&local));
        return NULL;
    }
    return remove_device(domain, device, FALSE, error) ? g_steal_pointer(&device) : NULL;
}

gboolean
serai_domain_detach_device_sync(SeraiDomain *domain, const SeraiDevice *device, SeraiDetachFlags flags,
                                GCancellable *cancellable, GError **error)
{
    g_autoptr(SeraiDevice) gone = detach(domain, device, flags, cancellable, error);

    if (!gone)
        return fail_named(domain, _("Cannot detach a device"), error);
    serai_host_emit_device_removed(domain->host, domain, gone->kind, gone->devid);
    return TRUE;
}

/* Whether somebody has begun to detach it. */
static gboolean
is_leaving(SeraiDomain *domain, const SeraiDevice *device, const char *backend)
{
    return serai_store_read_number(domain->host->store, 1, "%s/online", backend) == 0 ||
           (device->kind == SERAI_DEVICE_PCI && serai_pci_is_leaving(domain->host, domain->domid, device));
}

gboolean
serai_domain_finish_detaching_sync(SeraiDomain *domain, GCancellable *cancellable, GError **error)
{
    g_autoptr(GPtrArray) devices = serai_domain_list_devices(domain, error);

    for (guint i = 0; devices && i < devices->len; i++) {
        const SeraiDevice *device = devices->pdata[i];
        g_autofree char *backend = serai_device_backend_path(domain->domid, device);
        g_autoptr(GError) local = NULL;

        if (serai_device_is_gone(domain->host, domain->domid, device)) {
            remove_device(domain, device, TRUE, NULL);
            continue;
        }
        if (!backend || !is_leaving(domain, device, backend) ||
            serai_domain_detach_device_sync(domain, device, SERAI_DETACH_NONE, cancellable, &local) ||
            g_error_matches(local, SERAI_ERROR, SERAI_ERROR_GUEST_REFUSED))
            continue;
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    return devices != NULL;
}

/* --- changing --------------------------------------------------------------------------------- */

static gboolean
update_nic(SeraiDomain *domain, SeraiDevice *device, const SeraiNic *nic, GError **error)
{
    g_autoptr(SeraiBatch) batch = serai_batch_new(domain->host->store);
    g_autoptr(SeraiDevice) was = serai_device_copy(device);
    g_autofree char *backend = serai_device_backend_path(domain->domid, device), *rate = NULL;
    SeraiNic *now = &device->nic;

    if (g_ascii_strcasecmp(now->mac, nic->mac) || (nic->ifname && g_strcmp0(now->ifname, nic->ifname))) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED,
                            _("The addresses and names of a NIC cannot change while the domain runs."));
        return FALSE;
    }
    now->link_down = nic->link_down;
    now->attach = nic->attach;
    now->vlan_tag = nic->vlan_tag;
    now->vlan_native_tagged = nic->vlan_native_tagged;
    now->isolated = nic->isolated;
    now->rate_kib = nic->rate_kib;
    now->rate_burst_us = nic->rate_burst_us;
    now->mtu = nic->mtu;
    g_free(now->bridge);
    now->bridge = g_strdup(nic->bridge);
    g_free(now->vlan_trunks);
    now->vlan_trunks = g_strdup(nic->vlan_trunks);
    if (!domain->host->fake && !serai_link_update(now->ifname, &was->nic, now, error)) {
        serai_link_update(now->ifname, now, &was->nic, NULL);
        return FALSE;
    }
    rate = g_strdup_printf("%s/rate", backend);
    if (now->rate_kib) {
        guint64 usec = now->rate_burst_us ? now->rate_burst_us : 50000;

        serai_batch_write(batch, rate, "%" G_GUINT64_FORMAT ",%" G_GUINT64_FORMAT,
                          MAX(1, now->rate_kib * 1024 * usec / G_USEC_PER_SEC), usec);
    } else if (was->nic.rate_kib) {
        /* Netback takes no node as "as before"; this much in no time is no limit. */
        serai_batch_write(batch, rate, "%u,%u", G_MAXUINT32, 0);
    }
    serai_record_expect_ready(batch, domain->uuid);
    return serai_record_device(batch, domain->uuid, device, error) && serai_batch_commit(batch, NULL, error);
}

/* A PV guest sees another disc as another drive of the same name: the old one goes, the new one comes. */
static gboolean
update_disk(SeraiDomain *domain, const SeraiDevice *device, const SeraiDevice *wanted,
            GCancellable *cancellable, GError **error)
{
    g_autoptr(SeraiDevice) old = NULL;
    g_autoptr(GError) local = NULL;

    if (!device->disk.cdrom || !wanted->disk.cdrom) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED,
                            _("Only the disc of a CD-ROM drive can change while the domain runs."));
        return FALSE;
    }
    if (!g_strcmp0(device->disk.path, wanted->disk.path))
        return TRUE;
    old = detach(domain, device, SERAI_DETACH_NONE, cancellable, error);
    if (!old)
        return FALSE;
    if (attach(domain, wanted, cancellable, &local))
        return TRUE;
    attach(domain, device, NULL, NULL);
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

static gboolean
update(SeraiDomain *domain, const SeraiDevice *wanted, GCancellable *cancellable, GError **error)
{
    g_autoptr(SeraiDevice) device = NULL;

    if (!serai_device_check(wanted, error) || !alive(domain, error) ||
        !(device = find_device(domain, wanted, error)))
        return FALSE;
    if (device->kind == SERAI_DEVICE_NIC)
        return update_nic(domain, device, &wanted->nic, error);
    if (device->kind == SERAI_DEVICE_DISK)
        return update_disk(domain, device, wanted, cancellable, error);
    g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED,
                        _("A device of this kind cannot change while the domain runs."));
    return FALSE;
}

gboolean
serai_domain_update_device_sync(SeraiDomain *domain, const SeraiDevice *device, GCancellable *cancellable,
                                GError **error)
{
    return update(domain, device, cancellable, error) ||
           fail_named(domain, _("Cannot change a device"), error);
}

/* --- the asynchronous three ------------------------------------------------------------------- */

typedef struct {
    SeraiDevice *device;
    SeraiDetachFlags flags;
} DeviceArgs;

static void
device_args_free(gpointer data)
{
    DeviceArgs *args = data;

    serai_device_free(args->device);
    g_free(args);
}

static gpointer
attach_job(gpointer object, gpointer args, GCancellable *cancellable,
           SeraiProgressFunc progress G_GNUC_UNUSED, gpointer progress_data G_GNUC_UNUSED, GError **error)
{
    return GINT_TO_POINTER(
        serai_domain_attach_device_sync(object, ((DeviceArgs *)args)->device, cancellable, error));
}

static gpointer
detach_job(gpointer object, gpointer data, GCancellable *cancellable,
           SeraiProgressFunc progress G_GNUC_UNUSED, gpointer progress_data G_GNUC_UNUSED, GError **error)
{
    DeviceArgs *args = data;

    return GINT_TO_POINTER(
        serai_domain_detach_device_sync(object, args->device, args->flags, cancellable, error));
}

static gpointer
update_job(gpointer object, gpointer args, GCancellable *cancellable,
           SeraiProgressFunc progress G_GNUC_UNUSED, gpointer progress_data G_GNUC_UNUSED, GError **error)
{
    return GINT_TO_POINTER(
        serai_domain_update_device_sync(object, ((DeviceArgs *)args)->device, cancellable, error));
}

static void
start(SeraiDomain *domain, gpointer tag, SeraiJobFunc func, const SeraiDevice *device, SeraiDetachFlags flags,
      GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
    DeviceArgs *args = g_new0(DeviceArgs, 1);

    args->device = serai_device_copy(device);
    args->flags = flags;
    serai_job_start(domain, tag, func, args, device_args_free, NULL, cancellable, NULL, NULL, NULL, callback,
                    user_data);
}

void
serai_domain_attach_device_async(SeraiDomain *domain, const SeraiDevice *device, GCancellable *cancellable,
                                 GAsyncReadyCallback callback, gpointer user_data)
{
    start(domain, serai_domain_attach_device_async, attach_job, device, 0, cancellable, callback, user_data);
}

gboolean
serai_domain_attach_device_finish(SeraiDomain *domain, GAsyncResult *result, GError **error)
{
    return serai_job_finish(domain, serai_domain_attach_device_async, result, error) != NULL;
}

void
serai_domain_detach_device_async(SeraiDomain *domain, const SeraiDevice *device, SeraiDetachFlags flags,
                                 GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
    start(domain, serai_domain_detach_device_async, detach_job, device, flags, cancellable, callback,
          user_data);
}

gboolean
serai_domain_detach_device_finish(SeraiDomain *domain, GAsyncResult *result, GError **error)
{
    return serai_job_finish(domain, serai_domain_detach_device_async, result, error) != NULL;
}

void
serai_domain_update_device_async(SeraiDomain *domain, const SeraiDevice *device, GCancellable *cancellable,
                                 GAsyncReadyCallback callback, gpointer user_data)
{
    start(domain, serai_domain_update_device_async, update_job, device, 0, cancellable, callback, user_data);
}

gboolean
serai_domain_update_device_finish(SeraiDomain *domain, GAsyncResult *result, GError **error)
{
    return serai_job_finish(domain, serai_domain_update_device_async, result, error) != NULL;
}

/* --- what they are and have done -------------------------------------------------------------- */

static SeraiDevice *
find_disk(SeraiDomain *domain, const char *target, GError **error)
{
    g_autoptr(SeraiDevice) wanted = serai_device_new(SERAI_DEVICE_DISK);
    SeraiDevice *device;

    wanted->disk.target = g_strdup(target);
    if (!alive(domain, error))
        return NULL;
    device = find_device(domain, wanted, error);
    if (!device)
        g_prefix_error(error, _("Disk '%s': "), target);
    return device;
}

gboolean
serai_domain_resize_disk(SeraiDomain *domain, const char *target, guint64 bytes, GError **error)
{
    g_autoptr(SeraiDevice) device = find_disk(domain, target, error);
    g_autofree char *backend = NULL, *node = NULL;
    unsigned int major_number, minor_number;

    if (!device)
        return fail_named(domain, _("Cannot resize a disk"), error);
    if (serai_device_is_empty(device)) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED, _("Drive '%s' has no disc."), target);
        return fail_named(domain, _("Cannot resize a disk"), error);
    }
    if (serai_device_is_model_disk(device) && !domain->host->fake)
        return serai_model_resize_disk(domain->host, domain->domid, device, bytes, error) ||
               fail_named(domain, _("Cannot resize a disk"), error);
    backend = serai_device_backend_path(domain->domid, device);
    node = serai_store_read(domain->host->store, "%s/physical-device", backend);
    if (!node || sscanf(node, "%x:%x", &major_number, &minor_number) != 2) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_NO_DEVICE, _("Disk '%s' has no backend."), target);
        return fail_named(domain, _("Cannot resize a disk"), error);
    }
    if (domain->host->fake)
        return TRUE;
    return serai_loop_resize(device->disk.path, (dev_t)major_number << 8 | minor_number, bytes, error) ||
           fail_named(domain, _("Cannot resize a disk"), error);
}

char *
serai_domain_dup_console_path(SeraiDomain *domain, SeraiDeviceKind kind, int devid, GError **error)
{
    SeraiDevice wanted = {.kind = kind, .devid = MAX(devid, 0)};
    g_autofree char *path = NULL, *tty = NULL;

    if (!alive(domain, error)) {
        fail_named(domain, _("Cannot find a console"), error);
        return NULL;
    }
    path = serai_device_frontend_path(domain->domid, &wanted);
    tty = serai_store_read(domain->host->store, "%s/tty", path);
    if (tty && *tty)
        return g_steal_pointer(&tty);
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_NO_DEVICE,
                _("Console %d is not open; it does not exist, or serai-consoled does not run."), devid);
    fail_named(domain, _("Cannot find a console"), error);
    return NULL;
}

char *
serai_domain_dup_qmp_path(SeraiDomain *domain)
{
    return serai_device_model_qmp_path(domain->host, domain->domid);
}

/* One number of a file in sysfs. */
static gboolean
read_counter(const char *dir, const char *name, guint64 *ret_value)
{
    g_autofree char *path = g_build_filename(dir, name, NULL), *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return FALSE;
    *ret_value = g_ascii_strtoull(text, NULL, 10);
    return TRUE;
}

gboolean
serai_domain_get_disk_stats(SeraiDomain *domain, const char *target, SeraiDiskStats *ret_stats,
                            GError **error)
{
    g_autoptr(SeraiDevice) device = find_disk(domain, target, error);
    g_autofree char *name = NULL, *dir = NULL;
    SeraiDiskStats s = {0};

    if (!device)
        return fail_named(domain, _("Cannot read statistics"), error);
    if (serai_device_is_empty(device)) {
        *ret_stats = s;
        return TRUE;
    }
    if (serai_device_is_model_disk(device) && !domain->host->fake)
        return serai_model_disk_stats(domain->host, domain->domid, device, ret_stats, error) ||
               fail_named(domain, _("Cannot read statistics"), error);
    name = serai_device_bus_name(domain->domid, device);
    dir = g_strdup_printf("/sys/bus/xen-backend/devices/%s/statistics", name);
    if (!domain->host->fake &&
        (!read_counter(dir, "rd_req", &s.read_requests) || !read_counter(dir, "rd_sect", &s.read_bytes) ||
         !read_counter(dir, "wr_req", &s.write_requests) || !read_counter(dir, "wr_sect", &s.write_bytes))) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_NO_DEVICE, _("Disk '%s' has no backend."), target);
        return fail_named(domain, _("Cannot read statistics"), error);
    }
    s.read_bytes *= 512;
    s.write_bytes *= 512;
    read_counter(dir, "f_req", &s.flush_requests);
    read_counter(dir, "ds_req", &s.discard_requests);
    read_counter(dir, "oo_req", &s.out_of_requests);
    *ret_stats = s;
    return TRUE;
}

gboolean
serai_domain_check_disk(SeraiDomain *domain, const char *target, GError **error)
{
    g_autoptr(SeraiDevice) device = find_disk(domain, target, error);
    SeraiHost *host = domain->host;
    g_autofree char *reason = NULL;

    if (!device)
        return fail_named(domain, _("Cannot look at a disk"), error);
    if (serai_device_is_empty(device))
        return TRUE;
    if (!host->fake && serai_device_is_model_disk(device) && !serai_device_model_runs(host, domain->domid)) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED,
                    _("QEMU, which served disk '%s', has ended."), target);
        return fail_named(domain, _("A disk has failed"), error);
    }
    reason = serai_device_backend_reason(host, domain->domid, device);
    if (!reason)
        return TRUE;
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED, _("The backend of disk '%s' says: %s."),
                target, reason);
    return fail_named(domain, _("A disk has failed"), error);
}

gboolean
serai_domain_get_nic_stats(SeraiDomain *domain, int devid, SeraiNicStats *ret_stats, GError **error)
{
    g_autoptr(SeraiDevice) wanted = serai_device_new(SERAI_DEVICE_NIC), device = NULL;
    g_autofree char *dir = NULL;
    SeraiNicStats s = {0};

    wanted->devid = devid;
    if (!alive(domain, error) || !(device = find_device(domain, wanted, error)))
        return fail_named(domain, _("Cannot read statistics"), error);
    dir = g_strdup_printf("/sys/class/net/%s/statistics", device->nic.ifname);
    /* What dom0's end sends, the guest receives. */
    if (!domain->host->fake && !read_counter(dir, "tx_bytes", &s.rx_bytes)) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_NO_DEVICE, _("Network interface '%s' is gone."),
                    device->nic.ifname);
        return fail_named(domain, _("Cannot read statistics"), error);
    }
    read_counter(dir, "tx_packets", &s.rx_packets);
    read_counter(dir, "tx_errors", &s.rx_errors);
    read_counter(dir, "tx_dropped", &s.rx_dropped);
    read_counter(dir, "rx_bytes", &s.tx_bytes);
    read_counter(dir, "rx_packets", &s.tx_packets);
    read_counter(dir, "rx_errors", &s.tx_errors);
    read_counter(dir, "rx_dropped", &s.tx_dropped);
    *ret_stats = s;
    return TRUE;
}
