/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A device is a pair of directories in the store, /local/domain/GUEST/device/CLASS/ID and
 * /local/domain/0/backend/TYPE/GUEST/ID, whose "state" nodes step through the numbers of XenbusState
 * (<xen/io/xenbus.h>) as both sides get ready:
 *
 *   - a raw disk: class vbd, type vbd, served by blkback; ready in InitWait once blkback has opened the disk
 *   - any other disk: class vbd, type qdisk, served by QEMU, which is told by QMP; ready in InitWait
 *   - a CD-ROM drive without a disc: no nodes at all, since a PV guest cannot see an empty drive
 *   - a NIC: class vif, type vif, served by netback; ready when its link exists, which we then connect
 *   - a console or channel: class console, type console, served by serai-consoled, which may come and go
 *   - PCI devices: class pci, type pci, one pair for all of a domain (pci.c), served by pciback
 *   - a frame buffer and a keyboard: classes and types vfb and vkbd, served by QEMU; ready at once
 *
 * Console 0 has no backend: it lies in /local/domain/GUEST/console.  All devices of a domain go into one
 * transaction, and one loop waits for all of them.  No locks: an attach belongs to one thread.
 */
#include "private/device.h"
#include "private/pci.h"
#include "private/record.h"
#include "private/system.h"

#include <net/if.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <xen/io/xenbus.h>

#define READY_TIMEOUT (30 * G_USEC_PER_SEC)

/* A drive without a disc, which a PV guest cannot see. */
gboolean
serai_device_is_empty(const SeraiDevice *device)
{
    return device->kind == SERAI_DEVICE_DISK && !device->disk.path;
}

gboolean
serai_device_is_model_disk(const SeraiDevice *device)
{
    return device->kind == SERAI_DEVICE_DISK && serai_device_needs_model(device);
}

static gboolean
is_kernel_disk(const SeraiDevice *device)
{
    if (device->kind != SERAI_DEVICE_DISK)
        return FALSE;
    if (device->disk.backend != SERAI_DISK_BACKEND_AUTO)
        return device->disk.backend == SERAI_DISK_BACKEND_KERNEL;
    return device->disk.format == SERAI_DISK_RAW && device->disk.path && !device->disk.encrypted &&
           !serai_disk_is_nbd(device->disk.path);
}

gboolean
serai_device_needs_model(const SeraiDevice *device)
{
    return (device->kind == SERAI_DEVICE_DISK && !serai_device_is_empty(device) && !is_kernel_disk(device)) ||
           device->kind == SERAI_DEVICE_VFB || device->kind == SERAI_DEVICE_VKB;
}

gboolean
serai_devices_need_model(GPtrArray *devices)
{
    for (guint i = 0; i < devices->len; i++)
        if (serai_device_needs_model(devices->pdata[i]))
            return TRUE;
    return FALSE;
}

/* --- names ------------------------------------------------------------------------------------ */

static gboolean
is_console(const SeraiDevice *device)
{
    return device->kind == SERAI_DEVICE_CONSOLE || device->kind == SERAI_DEVICE_CHANNEL;
}

static gboolean
is_first_console(const SeraiDevice *device)
{
    return is_console(device) && device->devid == 0;
}

static const char *
frontend_class(const SeraiDevice *device)
{
    static const char *const classes[] = {"vbd", "vif", "console", "console", "vfb", "vkbd", "pci"};

    return classes[device->kind];
}

static const char *
backend_type(const SeraiDevice *device)
{
    if (device->kind == SERAI_DEVICE_DISK && !is_kernel_disk(device))
        return "qdisk";
    return frontend_class(device);
}

/* PCI devices share one bus. */
static int
node_number(const SeraiDevice *device)
{
    return device->kind == SERAI_DEVICE_PCI ? 0 : device->devid;
}

char *
serai_device_frontend_path(guint domid, const SeraiDevice *device)
{
    if (is_first_console(device))
        return g_strdup_printf("/local/domain/%u/console", domid);
    return g_strdup_printf("/local/domain/%u/device/%s/%d", domid, frontend_class(device),
                           node_number(device));
}

char *
serai_device_backend_path(guint domid, const SeraiDevice *device)
{
    if (is_first_console(device))
        return NULL;
    return g_strdup_printf("/local/domain/%u/backend/%s/%u/%d", device->backend_domid, backend_type(device),
                           domid, node_number(device));
}

char *
serai_device_bus_name(guint domid, const SeraiDevice *device)
{
    if (!is_kernel_disk(device) && device->kind != SERAI_DEVICE_NIC && device->kind != SERAI_DEVICE_PCI)
        return NULL;
    return g_strdup_printf("%s-%u-%d", backend_type(device), domid, node_number(device));
}

/* --- preparing -------------------------------------------------------------------------------- */

static void
attach_free(gpointer data)
{
    SeraiAttach *attach = data;

    if (attach->fd >= 0)
        close(attach->fd);
    if (attach->host && !attach->ready)
        serai_pci_take_back(attach->host, attach->domid, attach->device);
    serai_device_free(attach->device);
    g_free(attach->frontend);
    g_free(attach->backend);
    g_free(attach->bus_name);
    g_free(attach);
}

static gboolean
number_taken(GPtrArray *attaches, GPtrArray *present, const SeraiDevice *device, int devid)
{
    for (guint i = 0; i < attaches->len; i++) {
        const SeraiDevice *other = ((SeraiAttach *)attaches->pdata[i])->device;

        if (!strcmp(frontend_class(other), frontend_class(device)) && other->devid == devid)
            return TRUE;
    }
    for (guint i = 0; present && i < present->len; i++) {
        const SeraiDevice *other = present->pdata[i];

        if (!strcmp(frontend_class(other), frontend_class(device)) && other->devid == devid)
            return TRUE;
    }
    return FALSE;
}

/* Whether somebody who comes later in the list has asked for this very number. */
static gboolean
number_wanted(GPtrArray *devices, const SeraiDevice *device, int devid)
{
    for (guint i = 0; i < devices->len; i++) {
        const SeraiDevice *other = devices->pdata[i];

        if (other != device && !strcmp(frontend_class(other), frontend_class(device)) &&
            other->devid == devid)
            return TRUE;
    }
    return FALSE;
}

static gboolean
choose_number(SeraiDevice *device, const SeraiDevice *original, GPtrArray *devices, GPtrArray *attaches,
              GPtrArray *present, GError **error)
{
    if (device->kind == SERAI_DEVICE_DISK)
        device->devid = serai_disk_target_to_devid(device->disk.target);
    if (device->devid >= 0) {
        if (!number_taken(attaches, present, device, device->devid))
            return TRUE;
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_EXISTS, _("The domain has device %s %d already."),
                    frontend_class(device), device->devid);
        return FALSE;
    }
    /* The first number of a console is that of the kernel, which no channel can be. */
    device->devid = device->kind == SERAI_DEVICE_CHANNEL ? 1 : 0;
    while (number_taken(attaches, present, device, device->devid) ||
           number_wanted(devices, original, device->devid))
        device->devid++;
    return TRUE;
}

/* The block device at @path, or 0.  On the pretend host a FIFO stands for one. */
static dev_t
block_device(SeraiHost *host, const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return 0;
    if (S_ISBLK(st.st_mode))
        return st.st_rdev;
    return host->fake && S_ISFIFO(st.st_mode) ? makedev(8, st.st_ino & 0xfffff) : 0;
}

/* Numbers of a bus are not given again while it lives, but for those that were given back. */
static gboolean
take_pci(SeraiHost *host, SeraiAttach *attach, guint domid, GPtrArray *attaches, GPtrArray *present,
         GError **error)
{
    attach->bus_length = attach->device->devid + 1;
    for (guint i = 0; present && i < present->len; i++) {
        const SeraiDevice *other = present->pdata[i];

        if (other->kind != SERAI_DEVICE_PCI)
            continue;
        attach->joins_bus = attach->joins_live_bus = TRUE;
        attach->bus_length = MAX(attach->bus_length, (guint)other->devid + 1);
    }
    for (guint i = 0; i + 1 < attaches->len; i++) {
        const SeraiDevice *other = ((SeraiAttach *)attaches->pdata[i])->device;

        if (other->kind != SERAI_DEVICE_PCI)
            continue;
        attach->joins_bus = TRUE;
        attach->bus_length = MAX(attach->bus_length, (guint)other->devid + 1);
    }
    if (attach->joins_live_bus && !serai_pci_bus_is_live(host, domid, attach->device)) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_GUEST_REFUSED,
                            _("The guest has not loaded its driver of PCI devices, xen-pcifront."));
        return FALSE;
    }
    if (!serai_pci_give(host, domid, attach->device, error))
        return FALSE;
    attach->host = host;
    attach->domid = domid;
    return TRUE;
}

static gboolean
take_resources(SeraiHost *host, SeraiAttach *attach, guint domid, GError **error)
{
    SeraiDevice *device = attach->device;

    if (device->kind == SERAI_DEVICE_NIC) {
        if (!host->fake && !serai_link_check(&device->nic, error))
            return FALSE;
        if (!device->nic.ifname)
            device->nic.ifname = g_strdup_printf("vif%u.%d", domid, device->devid);
    }
    if (device->kind != SERAI_DEVICE_DISK || !device->disk.path)
        return TRUE;
    if (device->disk.encrypted && !device->disk.passphrase) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG,
                    _("Disk '%s' (%s) is encrypted, and no passphrase was given."), device->disk.target,
                    device->disk.path);
        return FALSE;
    }
    if (serai_disk_is_nbd(device->disk.path))
        return TRUE;
    if (strstr(device->disk.path, "://")) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED,
                    _("Disk '%s' (%s): of network disks only NBD is supported."), device->disk.target,
                    device->disk.path);
        return FALSE;
    }
    attach->block = device->backend_domid ? 0 : block_device(host, device->disk.path);
    if (is_kernel_disk(device)) {
        if (!host->fake)
            return serai_loop_open(&device->disk, &attach->fd, &attach->node, error);
        attach->node = makedev(7, device->devid & 0xff);
    }
    if (access(device->disk.path, device->disk.readonly || device->disk.cdrom ? R_OK : R_OK | W_OK) < 0) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED,
                    _("Cannot open the source of disk '%s' (%s): %s."), device->disk.target,
                    device->disk.path, g_strerror(errno));
        return FALSE;
    }
    return TRUE;
}

/* Whether nothing is in the way of the kernel's serving a file that it is to serve if it can. */
static gboolean
kernel_can(const SeraiDevice *device)
{
    return !is_kernel_disk(device) || device->disk.backend != SERAI_DISK_BACKEND_AUTO ||
           !g_file_test(device->disk.path, G_FILE_TEST_IS_REGULAR) || access("/dev/loop-control", F_OK) == 0;
}

GPtrArray *
serai_devices_prepare(SeraiHost *host, guint domid, GPtrArray *devices, GPtrArray *present, GError **error)
{
    g_autoptr(GPtrArray) attaches = g_ptr_array_new_with_free_func(attach_free);

    for (guint i = 0; i < devices->len; i++) {
        SeraiAttach *attach = g_new0(SeraiAttach, 1);

        attach->fd = -1;
        attach->device = serai_device_copy(devices->pdata[i]);
        if (!choose_number(attach->device, devices->pdata[i], devices, attaches, present, error)) {
            attach_free(attach);
            return NULL;
        }
        g_ptr_array_add(attaches, attach);
        if (!host->fake && !kernel_can(attach->device))
            attach->device->disk.backend = SERAI_DISK_BACKEND_QEMU;
        attach->frontend = serai_device_frontend_path(domid, attach->device);
        attach->backend = serai_device_backend_path(domid, attach->device);
        attach->bus_name = serai_device_bus_name(domid, attach->device);
        if (attach->device->kind == SERAI_DEVICE_PCI
                ? !take_pci(host, attach, domid, attaches, present, error)
                : !take_resources(host, attach, domid, error))
            return NULL;
    }
    return g_steal_pointer(&attaches);
}

/* --- nodes ------------------------------------------------------------------------------------ */

/* A leaf below a directory. */
static void leaf(SeraiBatch *batch, const char *dir, const char *name, const char *format, ...)
    G_GNUC_PRINTF(4, 5);

static void
leaf(SeraiBatch *batch, const char *dir, const char *name, const char *format, ...)
{
    g_autofree char *path = g_strdup_printf("%s/%s", dir, name), *value = NULL;
    va_list args;

    va_start(args, format);
    value = g_strdup_vprintf(format, args);
    va_end(args);
    serai_batch_write(batch, path, "%s", value);
}

static void
disk_nodes(SeraiBatch *batch, const SeraiAttach *attach)
{
    const SeraiDisk *disk = &attach->device->disk;
    gboolean kernel = is_kernel_disk(attach->device);

    leaf(batch, attach->frontend, "virtual-device", "%d", attach->device->devid);
    leaf(batch, attach->frontend, "device-type", "%s", disk->cdrom ? "cdrom" : "disk");
    leaf(batch, attach->backend, "dev", "%s", disk->target);
    leaf(batch, attach->backend, "type", "%s", kernel ? "phy" : "qdisk");
    leaf(batch, attach->backend, "mode", "%s", disk->readonly || disk->cdrom ? "r" : "w");
    leaf(batch, attach->backend, "device-type", "%s", disk->cdrom ? "cdrom" : "disk");
    leaf(batch, attach->backend, "removable", "%d", disk->cdrom);
    leaf(batch, attach->backend, "bootable", "1");
    leaf(batch, attach->backend, "discard-enable", "%d", disk->discard);
    if (kernel) {
        leaf(batch, attach->backend, "params", "%s", disk->path);
        leaf(batch, attach->backend, "physical-device", "%x:%x", major(attach->node), minor(attach->node));
    }
}

static void
nic_nodes(SeraiBatch *batch, const SeraiAttach *attach)
{
    const SeraiNic *nic = &attach->device->nic;

    leaf(batch, attach->frontend, "handle", "%d", attach->device->devid);
    leaf(batch, attach->frontend, "mac", "%s", nic->mac);
    leaf(batch, attach->frontend, "trusted", "%d", nic->trusted);
    if (nic->mtu)
        leaf(batch, attach->frontend, "mtu", "%u", nic->mtu);
    leaf(batch, attach->backend, "handle", "%d", attach->device->devid);
    leaf(batch, attach->backend, "mac", "%s", nic->mac);
    leaf(batch, attach->backend, "type", "vif");
    if (nic->bridge)
        leaf(batch, attach->backend, "bridge", "%s", nic->bridge);
    /* Netback wants a script's name to tell udev; nobody runs it. */
    leaf(batch, attach->backend, "script", "%s", "");
    /* Netback counts bytes that may go in each stretch of microseconds. */
    if (nic->rate_kib) {
        guint64 usec = nic->rate_burst_us ? nic->rate_burst_us : 50000;

        leaf(batch, attach->backend, "rate", "%" G_GUINT64_FORMAT ",%" G_GUINT64_FORMAT,
             MAX(1, nic->rate_kib * 1024 * usec / G_USEC_PER_SEC), usec);
    }
}

static void
vfb_nodes(SeraiBatch *batch, const SeraiAttach *attach)
{
    const SeraiVfb *vfb = &attach->device->vfb;

    if (attach->device->kind == SERAI_DEVICE_VKB)
        return;
    leaf(batch, attach->backend, "vnc", "%d", vfb->vnc);
    leaf(batch, attach->backend, "vnclisten", "%s", vfb->listen ? vfb->listen : "127.0.0.1");
    leaf(batch, attach->backend, "vncdisplay", "%u", vfb->port ? vfb->port - 5900 : 0);
    leaf(batch, attach->backend, "vncunused", "%d", !vfb->port);
    leaf(batch, attach->backend, "sdl", "%d", vfb->sdl);
}

void
serai_console_nodes(SeraiBatch *batch, guint domid, const SeraiDevice *device, const char *path)
{
    g_autofree char *entry = g_strdup_printf(SERAI_RECORD_ROOT "/console/%u/%d", domid, device->devid);
    const SeraiConsole *console = &device->console;

    leaf(batch, path, "type", "serai-consoled");
    leaf(batch, path, "output", "%s", console->socket_path ? "socket" : "pty");
    leaf(batch, path, "limit", "1048576");
    leaf(batch, path, "tty", "%s", "");
    if (console->name)
        leaf(batch, path, "name", "%s", console->name);
    if (console->log_path)
        leaf(batch, entry, "log", "%s", console->log_path);
    leaf(batch, entry, "append", "%d", console->log_append);
    if (console->socket_path)
        leaf(batch, entry, "socket", "%s", console->socket_path);
    leaf(batch, entry, "path", "%s", path); /* the last one is what the daemon takes as complete */
}

gboolean
serai_devices_nodes(SeraiHost *host, GPtrArray *attaches, guint domid, const char *uuid, SeraiBatch *batch,
                    GError **error)
{
    for (guint i = 0; i < attaches->len; i++) {
        const SeraiAttach *attach = attaches->pdata[i];
        const SeraiDevice *device = attach->device;
        g_autofree char *record = serai_record_device_path(uuid, device);

        /* Another process may have chosen the same number meanwhile. */
        serai_batch_expect(batch, record, FALSE, SERAI_ERROR_DEVICE_EXISTS,
                           _("The domain has that device already."));
        if (!serai_record_device(batch, uuid, device, error))
            return FALSE;
        if (is_first_console(device)) {
            serai_console_nodes(batch, domid, device, attach->frontend);
            continue;
        }
        if (serai_device_is_empty(device))
            continue;
        if (attach->block)
            serai_disk_claim(batch, host, domid, uuid, device, attach->block);
        if (attach->joins_bus) {
            g_autofree char *state = g_strdup_printf("%s/state", attach->backend);

            serai_pci_nodes(batch, attach);
            if (attach->joins_live_bus)
                serai_batch_write(batch, state, "%d", XenbusStateReconfiguring);
            continue;
        }
        serai_batch_mkdir(batch, attach->frontend, domid, device->backend_domid);
        serai_batch_mkdir(batch, attach->backend, device->backend_domid, domid);
        leaf(batch, attach->frontend, "backend", "%s", attach->backend);
        leaf(batch, attach->frontend, "backend-id", "%u", device->backend_domid);
        leaf(batch, attach->backend, "frontend", "%s", attach->frontend);
        leaf(batch, attach->backend, "frontend-id", "%u", domid);
        leaf(batch, attach->backend, "online", "1");
        if (device->kind == SERAI_DEVICE_DISK)
            disk_nodes(batch, attach);
        else if (device->kind == SERAI_DEVICE_NIC)
            nic_nodes(batch, attach);
        else if (is_console(device))
            serai_console_nodes(batch, domid, device, attach->frontend);
        else if (device->kind == SERAI_DEVICE_PCI)
            serai_pci_nodes(batch, attach);
        else
            vfb_nodes(batch, attach);
        leaf(batch, attach->frontend, "state", "%d", XenbusStateInitialising);
        /* QEMU would take Initialising for an order to find the disk by itself. */
        if (!serai_device_is_model_disk(device))
            leaf(batch, attach->backend, "state", "%d", XenbusStateInitialising);
    }
    return TRUE;
}

/* --- waiting until backends are ready --------------------------------------------------------- */

/* Where the kernel writes about a failure of a backend. */
static char *
failure_path(const char *backend)
{
    return g_strdup_printf("/local/domain/0/error/%s", backend + strlen("/local/domain/0/"));
}

char *
serai_device_backend_reason(SeraiHost *host, guint domid, const SeraiDevice *device)
{
    g_autofree char *backend = serai_device_backend_path(domid, device), *path = NULL;

    if (!backend || device->backend_domid)
        return NULL;
    path = failure_path(backend);
    return serai_store_read(host->store, "%s/error", path);
}

/* What the kernel wrote about a failure, or the best we can say. */
static gboolean
backend_failed(SeraiHost *host, const SeraiAttach *attach, GError **error)
{
    const SeraiDevice *device = attach->device;
    g_autofree char *path = failure_path(attach->backend);
    g_autofree char *reason = serai_store_read(host->store, "%s/error", path);

    g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED, _("The backend refuses %s '%s': %s."),
                frontend_class(device),
                device->kind == SERAI_DEVICE_DISK  ? device->disk.target
                : device->kind == SERAI_DEVICE_PCI ? device->pci.address
                                                   : device->nic.mac,
                reason ? reason : _("it does not say why"));
    return FALSE;
}

static gboolean
disk_is_open(SeraiHost *host, const SeraiAttach *attach)
{
    g_autofree char *path =
        g_strdup_printf("/sys/bus/xen-backend/devices/%s/physical_device", attach->bus_name);

    return host->fake || access(path, F_OK) == 0;
}

static gboolean
nic_connect(SeraiHost *host, SeraiAttach *attach, guint64 domid, GError **error)
{
    g_autofree char *vif = g_strdup_printf("vif%u.%d", (guint)domid, attach->device->devid);
    g_autofree char *status = g_strdup_printf("%s/hotplug-status", attach->backend);

    if (!host->fake && !if_nametoindex(vif))
        return TRUE; /* not yet */
    if (!host->fake && !serai_link_setup(vif, &attach->device->nic, error))
        return FALSE;
    attach->ready = TRUE;
    return serai_store_write(host->store, error, status, "connected");
}

/* Whether there is a backend to wait for. */
static gboolean
backend_gets_ready(const SeraiDevice *device)
{
    return (device->kind == SERAI_DEVICE_DISK && !serai_device_is_empty(device)) ||
           device->kind == SERAI_DEVICE_NIC || device->kind == SERAI_DEVICE_PCI;
}

/* Looks once; FALSE is failure.  @ret_poll says that the store will not tell when it is time to look again.
 */
static gboolean
attach_step(SeraiHost *host, SeraiAttach *attach, gboolean *ret_poll, GError **error)
{
    const SeraiDevice *device = attach->device;
    int state;

    if (device->kind == SERAI_DEVICE_PCI)
        return serai_pci_step(host, attach, &attach->ready) || backend_failed(host, attach, error);
    if (!backend_gets_ready(device)) {
        attach->ready = TRUE;
        return TRUE;
    }
    state = serai_store_read_number(host->store, 0, "%s/state", attach->backend);
    if (state >= XenbusStateClosing)
        return backend_failed(host, attach, error);
    if (state < XenbusStateInitWait)
        return TRUE;
    if (device->kind == SERAI_DEVICE_NIC) {
        guint domid = serai_store_read_number(host->store, 0, "%s/frontend-id", attach->backend);

        if (!nic_connect(host, attach, domid, error))
            return FALSE;
    } else {
        attach->ready = !is_kernel_disk(device) || disk_is_open(host, attach);
    }
    *ret_poll |= !attach->ready;
    return TRUE;
}

/* Has QEMU serve a disk; on the pretend host the pretend backend stands for QEMU too. */
static gboolean
tell_model(SeraiHost *host, guint domid, const SeraiAttach *attach, GCancellable *cancellable, GError **error)
{
    g_autofree char *state = attach->backend ? g_strdup_printf("%s/state", attach->backend) : NULL;

    if (!serai_device_is_model_disk(attach->device))
        return TRUE;
    if (host->fake)
        return serai_store_write(host->store, error, state, "%d", XenbusStateInitialising);
    return serai_model_add_disk(host, domid, attach->device, cancellable, error);
}

gboolean
serai_devices_wait(SeraiHost *host, guint domid, GPtrArray *attaches, SeraiProgress *progress,
                   GCancellable *cancellable, GError **error)
{
    g_auto(SeraiWaiter) waiter = {0};
    gint64 deadline = g_get_monotonic_time() + READY_TIMEOUT;
    gulong pause = 200;

    serai_waiter_init(&waiter, host->store);
    for (guint i = 0; i < attaches->len; i++) {
        const SeraiAttach *attach = attaches->pdata[i];
        g_autofree char *path = attach->backend ? g_strdup_printf("%s/state", attach->backend) : NULL;

        if (backend_gets_ready(attach->device) && !serai_waiter_add(&waiter, path, error))
            return FALSE;
    }
    for (guint i = 0; i < attaches->len; i++)
        if (!tell_model(host, domid, attaches->pdata[i], cancellable, error))
            return FALSE;
    for (;;) {
        guint ready = 0;
        gboolean poll = FALSE;

        for (guint i = 0; i < attaches->len; i++) {
            SeraiAttach *attach = attaches->pdata[i];

            if (!attach->ready && !attach_step(host, attach, &poll, error))
                return FALSE;
            ready += attach->ready;
        }
        serai_progress(progress, SERAI_STAGE_DEVICES, ready, attaches->len);
        if (ready == attaches->len)
            return TRUE;
        if (poll) {
            if (g_cancellable_set_error_if_cancelled(cancellable, error))
                return FALSE;
            g_usleep(pause);
            pause = MIN(pause * 2, 20000);
        }
        if (poll && g_get_monotonic_time() < deadline)
            continue;
        if (!serai_waiter_wait(&waiter, deadline, cancellable, error)) {
            for (guint i = 0; i < attaches->len; i++) {
                const SeraiAttach *attach = attaches->pdata[i];

                if (!attach->ready)
                    g_prefix_error(error, _("Device %s %d does not get ready: "),
                                   frontend_class(attach->device), attach->device->devid);
            }
            return FALSE;
        }
    }
}

/* --- away again ------------------------------------------------------------------------------- */

void
serai_device_remove_nodes(SeraiBatch *batch, guint domid, const char *uuid, const SeraiDevice *device)
{
    g_autofree char *frontend = serai_device_frontend_path(domid, device);
    g_autofree char *backend = serai_device_backend_path(domid, device);

    serai_batch_remove(batch, frontend);
    if (backend) {
        g_autofree char *failed = failure_path(backend);

        serai_batch_remove(batch, backend);
        serai_batch_remove(batch, failed);
    }
    if (is_console(device)) {
        g_autofree char *entry = g_strdup_printf(SERAI_RECORD_ROOT "/console/%u/%d", domid, device->devid);

        serai_batch_remove(batch, entry);
    }
    serai_disk_give_back(batch, uuid, device);
    serai_record_device_remove(batch, uuid, device);
}

gboolean
serai_devices_wait_gone(GPtrArray *devices, guint domid, gint64 timeout_us)
{
    gint64 deadline = g_get_monotonic_time() + timeout_us;
    gulong pause = 200;

    for (guint i = 0; i < devices->len; i++) {
        g_autofree char *name = serai_device_bus_name(domid, devices->pdata[i]);
        g_autofree char *path = name ? g_strdup_printf("/sys/bus/xen-backend/devices/%s", name) : NULL;

        while (path && access(path, F_OK) == 0) {
            if (g_get_monotonic_time() > deadline)
                return FALSE;
            g_usleep(pause);
            pause = MIN(pause * 2, 20000);
        }
    }
    return TRUE;
}

gboolean
serai_device_is_gone(SeraiHost *host, guint domid, const SeraiDevice *device)
{
    g_autofree char *path = serai_device_backend_path(domid, device), *value = NULL;
    gsize size;

    if (!path || device->backend_domid || serai_device_is_empty(device) || device->kind == SERAI_DEVICE_VFB ||
        device->kind == SERAI_DEVICE_VKB)
        return FALSE;
    value = host->store->ops->read(host->store, 0, path, &size);
    return !value && errno == ENOENT;
}

/* A frontend that never connected holds nothing and will not answer; one that is closed holds nothing. */
static gboolean
has_let_go(SeraiHost *host, const char *frontend_state)
{
    int state = serai_store_read_number(host->store, 0, "%s", frontend_state);

    return state < XenbusStateInitialised || state == XenbusStateClosed;
}

gboolean
serai_device_close(SeraiHost *host, guint domid, const SeraiDevice *device, gint64 timeout_us,
                   GCancellable *cancellable, GError **error)
{
    g_autofree char *backend = serai_device_backend_path(domid, device);
    g_autofree char *frontend = serai_device_frontend_path(domid, device);
    g_autofree char *state_path = g_strdup_printf("%s/state", backend),
                    *frontend_state = g_strdup_printf("%s/state", frontend),
                    *online = g_strdup_printf("%s/online", backend);
    g_autoptr(SeraiBatch) batch = serai_batch_new(host->store);
    g_auto(SeraiWaiter) waiter = {0};
    gint64 deadline = g_get_monotonic_time() + timeout_us;

    if (has_let_go(host, frontend_state))
        return TRUE;
    serai_waiter_init(&waiter, host->store);
    if (!serai_waiter_add(&waiter, state_path, error))
        return FALSE;
    serai_batch_expect(batch, state_path, TRUE, SERAI_ERROR_NO_DEVICE, _("The device is gone."));
    serai_batch_write(batch, online, "0");
    serai_batch_write(batch, state_path, "%d", XenbusStateClosing);
    if (!serai_batch_commit(batch, cancellable, error))
        return FALSE;
    for (;;) {
        int state = serai_store_read_number(host->store, XenbusStateClosed, "%s", state_path);

        if (state == XenbusStateClosed || state == XenbusStateUnknown)
            return TRUE;
        if (!serai_waiter_wait(&waiter, deadline, cancellable, error))
            break;
    }
    /* The backend's kernel closes after the guest; when it had done so before, it says so no second time. */
    if (has_let_go(host, frontend_state)) {
        g_clear_error(error);
        return TRUE;
    }
    if (error && *error && g_error_matches(*error, SERAI_ERROR, SERAI_ERROR_TIMED_OUT)) {
        g_clear_error(error);
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_GUEST_REFUSED,
                            _("The guest does not let go of the device; it is in use."));
    }
    /* As it was: the guest goes on using it. */
    if (serai_store_read_number(host->store, 0, "%s", frontend_state) == XenbusStateConnected) {
        serai_store_write(host->store, NULL, online, "1");
        serai_store_write(host->store, NULL, state_path, "%d", XenbusStateConnected);
    }
    return FALSE;
}
