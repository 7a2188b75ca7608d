/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PCI devices of the machine in a guest.  Whoever wants one has unbound it from dom0's driver and bound it to
 * xen-pciback, which shows its configuration space to the guest by the interface of <xen/io/pciif.h>.  The
 * guest reaches registers and interrupt by itself; the hypervisor is told which, and the IOMMU keeps the DMA
 * of the device inside the guest's memory.
 *
 * The bus of a domain is one frontend and one backend.  A device that comes or goes while the guest has its
 * driver loaded is written down beside the others, and the backend's state set to Reconfiguring: backend and
 * frontend step through Reconfigured back to Connected.  The first device comes, and the last one goes, with
 * the bus.  No locks.
 */
#include "private/pci.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include <xen/io/xenbus.h>

#define SYSFS   "/sys/bus/pci/devices"
#define PCIBACK "/sys/bus/pci/drivers/pciback"

/* Lines of the file "resource", <linux/pci.h>: six regions and the ROM. */
#define RESOURCES   7
#define RESOURCE_IO 0x100

/* Of the configuration space: the command register, and its bit that lets the device do DMA. */
#define COMMAND            4
#define COMMAND_BUS_MASTER 0x4

gboolean
serai_pci_parse(const char *address, uint32_t *ret_sbdf)
{
    static const char form[] = "xxxx:xx:xx.x";
    guint segment, bus, slot, function;

    if (!address || strlen(address) != strlen(form))
        return FALSE;
    for (guint i = 0; form[i]; i++)
        if (form[i] == 'x' ? !g_ascii_isdigit(address[i]) && !(address[i] >= 'a' && address[i] <= 'f')
                           : address[i] != form[i])
            return FALSE;
    if (sscanf(address, "%x:%x:%x.%x", &segment, &bus, &slot, &function) != 4 || slot > 31 || function > 7)
        return FALSE;
    if (ret_sbdf)
        *ret_sbdf = segment << 16 | bus << 8 | slot << 3 | function;
    return TRUE;
}

gboolean
serai_pci_check_host(SeraiHost *host, GPtrArray *devices, GError **error)
{
    struct xen_sysctl_physinfo info;

    for (guint i = 0; i < devices->len; i++) {
        const SeraiDevice *device = devices->pdata[i];

        if (device->kind != SERAI_DEVICE_PCI)
            continue;
        if (!serai_hv_physinfo(host->hv, &info, error))
            return FALSE;
        if (info.capabilities & XEN_SYSCTL_PHYSCAP_directio)
            return TRUE;
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED,
                    _("The hypervisor uses no IOMMU, so no guest can have PCI device '%s'."),
                    device->pci.address);
        return FALSE;
    }
    return TRUE;
}

/* --- what the hypervisor is told -------------------------------------------------------------- */

/* The first reason is the one that is told: where something failed already, NULL. */
gboolean
serai_pci_permit(SeraiHost *host, guint domid, const char *resources, guint irq, gboolean allow,
                 GError **error)
{
    g_auto(GStrv) lines = g_strsplit(resources, "\n", RESOURCES + 1);
    gboolean done = TRUE;

    for (guint i = 0; lines[i] && i < RESOURCES && (done || !allow); i++) {
        GError **reason = done ? error : NULL;
        guint64 first, last, flags;

        if (sscanf(lines[i], "%" G_GINT64_MODIFIER "x %" G_GINT64_MODIFIER "x %" G_GINT64_MODIFIER "x",
                   &first, &last, &flags) != 3 ||
            !first || last < first)
            continue;
        if (!(flags & RESOURCE_IO
                  ? serai_hv_permit_ports(host->hv, domid, first, last - first + 1, allow, reason)
                  : serai_hv_permit_frames(host->hv, domid, first >> SERAI_PAGE_SHIFT,
                                           (last >> SERAI_PAGE_SHIFT) - (first >> SERAI_PAGE_SHIFT) + 1,
                                           allow, reason)))
            done = FALSE;
    }
    if (irq && (done || !allow) && !serai_hv_permit_irq(host->hv, domid, irq, allow, done ? error : NULL))
        done = FALSE;
    return done;
}

static gboolean
permit(SeraiHost *host, guint domid, const char *address, gboolean allow, GError **error)
{
    g_autofree char *path = g_strdup_printf(SYSFS "/%s/resource", address), *resources = NULL;
    g_autofree char *irq_path = g_strdup_printf(SYSFS "/%s/irq", address), *irq = NULL;

    return g_file_get_contents(path, &resources, NULL, error) &&
           g_file_get_contents(irq_path, &irq, NULL, error) &&
           serai_pci_permit(host, domid, resources, g_ascii_strtoull(irq, NULL, 10), allow, error);
}

static gboolean
allow_all_writes(const char *address, GError **error)
{
    FILE *file = fopen(PCIBACK "/permissive", "we");
    gboolean done = file && fputs(address, file) >= 0;

    if (file)
        done = !fclose(file) && done;
    if (!done)
        serai_set_errno(error, errno, _("Cannot let the guest write all of PCI device '%s'"), address);
    return done;
}

gboolean
serai_pci_give(SeraiHost *host, guint domid, const SeraiDevice *device, GError **error)
{
    const char *address = device->pci.address;
    g_autofree char *held = g_strdup_printf(PCIBACK "/%s", address);
    uint32_t sbdf = 0;

    serai_pci_parse(address, &sbdf); /* checked with the description */
    if (!host->fake && access(held, F_OK) < 0) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED,
                    _("PCI device '%s' is not there, or the driver xen-pciback does not hold it."), address);
        return FALSE;
    }
    /* Who has no IOMMU context, or another's device, has seen nothing of it by then. */
    if (!serai_hv_assign_device(host->hv, domid, sbdf, TRUE, error)) {
        g_prefix_error(error, _("PCI device '%s' cannot become the guest's: "), address);
        return FALSE;
    }
    if (host->fake || (permit(host, domid, address, TRUE, error) &&
                       (!device->pci.permissive || allow_all_writes(address, error))))
        return TRUE;
    g_prefix_error(error, _("PCI device '%s' cannot become the guest's: "), address);
    serai_pci_take_back(host, domid, device);
    return FALSE;
}

void
serai_pci_take_back(SeraiHost *host, guint domid, const SeraiDevice *device)
{
    g_autoptr(GError) local = NULL;
    uint32_t sbdf = 0;

    serai_pci_parse(device->pci.address, &sbdf);
    if (!host->fake && !permit(host, domid, device->pci.address, FALSE, &local)) {
        g_debug("PCI device %s: %s", device->pci.address, local->message);
        g_clear_error(&local);
    }
    if (!serai_hv_assign_device(host->hv, domid, sbdf, FALSE, &local))
        g_debug("PCI device %s: %s", device->pci.address, local->message);
}

static gboolean
stop_dma(const char *address, GError **error)
{
    g_autofree char *path = g_strdup_printf(SYSFS "/%s/config", address);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint16_t command;
    gboolean done = fd >= 0 && pread(fd, &command, sizeof(command), COMMAND) == sizeof(command);

    if (done) {
        command = GUINT16_TO_LE(GUINT16_FROM_LE(command) & ~COMMAND_BUS_MASTER);
        done = pwrite(fd, &command, sizeof(command), COMMAND) == sizeof(command);
    }
    if (!done)
        serai_set_errno(error, errno, _("Cannot stop the DMA of PCI device '%s'"), address);
    if (fd >= 0)
        close(fd);
    return done;
}

/* Xen's "quarantine": what a guest had is DOMID_IO's by now, whose I/O page tables are empty. */
gboolean
serai_host_reclaim_pci(SeraiHost *host, const char *address, GError **error)
{
    g_autofree char *held = g_strdup_printf(PCIBACK "/%s", address);
    uint32_t sbdf;

    if (!serai_pci_parse(address, &sbdf) || (!host->fake && access(held, F_OK) < 0)) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_NO_DEVICE,
                    _("PCI device '%s' is not there, or the driver xen-pciback does not hold it."), address);
        return FALSE;
    }
    return host->fake || (serai_hv_device_is_free(host->hv, sbdf, error) && stop_dma(address, error) &&
                          serai_hv_assign_device(host->hv, DOMID_IO, sbdf, FALSE, error));
}

/* --- nodes ------------------------------------------------------------------------------------ */

static char *
node(const char *backend, const char *name, int number)
{
    return g_strdup_printf("%s/%s-%d", backend, name, number);
}

void
serai_pci_nodes(SeraiBatch *batch, const SeraiAttach *attach)
{
    const SeraiDevice *device = attach->device;
    g_autofree char *dev = node(attach->backend, "dev", device->devid),
                    *state = node(attach->backend, "state", device->devid),
                    *count = g_strdup_printf("%s/num_devs", attach->backend);

    serai_batch_write(batch, dev, "%s", device->pci.address);
    serai_batch_write(batch, state, "%d", XenbusStateInitialising);
    serai_batch_write(batch, count, "%u", attach->bus_length);
}

void
serai_pci_remove_nodes(SeraiBatch *batch, guint domid, const SeraiDevice *device)
{
    g_autofree char *backend = serai_device_backend_path(domid, device);
    static const char *const names[] = {"dev", "vdev", "state"};

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = node(backend, names[i], device->devid);

        serai_batch_remove(batch, path);
    }
}

gboolean
serai_pci_has_others(GPtrArray *devices, const SeraiDevice *device)
{
    for (guint i = 0; i < devices->len; i++) {
        const SeraiDevice *other = devices->pdata[i];

        if (other->kind == SERAI_DEVICE_PCI && other->devid != device->devid)
            return TRUE;
    }
    return FALSE;
}

/* --- coming and going ------------------------------------------------------------------------- */

static int
bus_state(SeraiHost *host, const char *backend)
{
    return serai_store_read_number(host->store, XenbusStateUnknown, "%s/state", backend);
}

gboolean
serai_pci_bus_is_live(SeraiHost *host, guint domid, const SeraiDevice *device)
{
    g_autofree char *backend = serai_device_backend_path(domid, device);

    return host->fake || bus_state(host, backend) == XenbusStateConnected;
}

gboolean
serai_pci_step(SeraiHost *host, const SeraiAttach *attach, gboolean *ret_ready)
{
    int state = bus_state(host, attach->backend);
    int device =
        serai_store_read_number(host->store, 0, "%s/state-%d", attach->backend, attach->device->devid);

    if (state == XenbusStateClosing || state == XenbusStateClosed)
        return FALSE;
    *ret_ready = host->fake ? state >= XenbusStateInitWait
                            : device == XenbusStateInitialised &&
                                  (!attach->joins_live_bus || state == XenbusStateConnected);
    return TRUE;
}

static char *
device_state_path(guint domid, const SeraiDevice *device)
{
    g_autofree char *backend = serai_device_backend_path(domid, device);

    return node(backend, "state", device->devid);
}

gboolean
serai_pci_is_leaving(SeraiHost *host, guint domid, const SeraiDevice *device)
{
    g_autofree char *path = device_state_path(domid, device);

    return serai_store_read_number(host->store, 0, "%s", path) >= XenbusStateClosing;
}

/* Whether guest and backend are through with what they were told; the state of the device does not say. */
static gboolean
has_left(SeraiHost *host, guint domid, const SeraiDevice *device, const char *backend)
{
    return bus_state(host, backend) == XenbusStateConnected && serai_pci_is_leaving(host, domid, device);
}

gboolean
serai_pci_close(SeraiHost *host, guint domid, const SeraiDevice *device, gint64 timeout_us,
                GCancellable *cancellable, GError **error)
{
    g_autofree char *backend = serai_device_backend_path(domid, device), *state = NULL, *device_state = NULL;
    g_autoptr(SeraiBatch) batch = serai_batch_new(host->store);
    g_auto(SeraiWaiter) waiter = {0};
    gint64 deadline = g_get_monotonic_time() + timeout_us;
    int bus = bus_state(host, backend);

    /* A guest without the driver has not touched it, or has let go of all. */
    if (bus < XenbusStateConnected || bus == XenbusStateClosed)
        return TRUE;
    state = g_strdup_printf("%s/state", backend);
    device_state = device_state_path(domid, device);
    if (has_left(host, domid, device, backend))
        return TRUE; /* as it was asked to before */
    serai_waiter_init(&waiter, host->store);
    if (!serai_waiter_add(&waiter, state, error))
        return FALSE;
    serai_batch_expect(batch, device_state, TRUE, SERAI_ERROR_NO_DEVICE, _("The device is gone."));
    serai_batch_write(batch, device_state, "%d", XenbusStateClosing);
    serai_batch_write(batch, state, "%d", XenbusStateReconfiguring);
    if (!serai_batch_commit(batch, cancellable, error))
        return FALSE;
    for (;;) {
        if (has_left(host, domid, device, backend))
            return TRUE;
        if (serai_waiter_wait(&waiter, deadline, cancellable, error))
            continue;
        if (error && g_error_matches(*error, SERAI_ERROR, SERAI_ERROR_TIMED_OUT)) {
            g_clear_error(error);
            g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_GUEST_REFUSED,
                                _("The guest does not let go of the device; it is in use."));
        }
        return FALSE;
    }
}
