/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices after the daemon ended while it attached, detached or changed one.
 *
 *   the domain has it       the live definition   then
 *   ----------------------  --------------------  ------------------------------------------------
 *   yes                     no                    it was being attached: it is detached again
 *   yes, and is closing     yes                   it was being detached: that goes on
 *   no                      yes                   it was detached: it leaves the definition
 *   another disc            yes                   it was changed: the definition follows
 *
 * So each call that was cut off has happened wholly or not at all.  The caller holds the job.
 */
#include "conf.h"
#include "devices.h"
#include "error.h"
#include "locks.h"
#include "process.h"

#include "virmacaddr.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.devices-settle");

/* GEqualFunc of a SeraiDevice and a virDomainNetDef. */
static gboolean
isNet(gconstpointer a, gconstpointer b)
{
    const SeraiDevice *device = a;
    const virDomainNetDef *net = b;
    char mac[VIR_MAC_STRING_BUFLEN];

    return device->kind == SERAI_DEVICE_NIC && device->nic.mac &&
           STRCASEEQ(device->nic.mac, virMacAddrFormat(&net->mac, mac));
}

/* GEqualFunc of a SeraiDevice and a virDomainDiskDef. */
static gboolean
isDisk(gconstpointer a, gconstpointer b)
{
    const SeraiDevice *device = a;
    const virDomainDiskDef *disk = b;

    return device->kind == SERAI_DEVICE_DISK && STREQ_NULLABLE(device->disk.target, disk->dst);
}

/* GEqualFunc of a SeraiDevice and a virDomainHostdevDef. */
static gboolean
isHostdev(gconstpointer a, gconstpointer b)
{
    const SeraiDevice *device = a;
    g_autoptr(SeraiDevice) other = xenConfHostdev(b);

    return serai_device_same(device, other);
}

/* Whether the live definition tells of it, and then as it is. */
static bool
isDefined(virDomainObj *vm, const SeraiDevice *device)
{
    size_t i;

    for (i = 0; i < vm->def->ndisks; i++) {
        virDomainDiskDef *disk = vm->def->disks[i];

        if (!isDisk(device, disk))
            continue;
        if (disk->device == VIR_DOMAIN_DISK_DEVICE_CDROM && virStorageSourceIsLocalStorage(disk->src) &&
            STRNEQ_NULLABLE(device->disk.path, virDomainDiskGetSource(disk)))
            virDomainDiskSetSource(disk, device->disk.path);
        return true;
    }
    for (i = 0; i < vm->def->nnets; i++) {
        if (isNet(device, vm->def->nets[i]))
            return true;
    }
    for (i = 0; i < vm->def->nhostdevs; i++) {
        if (isHostdev(device, vm->def->hostdevs[i]))
            return true;
    }
    return false;
}

static void
takeAway(virDomainObj *vm, const SeraiDevice *device)
{
    const char *name = device->kind == SERAI_DEVICE_DISK  ? device->disk.target
                       : device->kind == SERAI_DEVICE_PCI ? device->pci.address
                                                          : device->nic.mac;
    g_autoptr(GError) error = NULL;

    VIR_WARN("'%s' was being attached to domain '%s' when the daemon ended: it is detached", name,
             vm->def->name);
    if (!serai_domain_detach_device_sync(XEN_PRIVATE(vm)->domain, device, SERAI_DETACH_NONE, NULL, &error))
        VIR_WARN("%s", error->message);
}

static void
forgetDisk(xenDriver *driver, virDomainObj *vm, size_t i)
{
    virDomainDiskDef *disk = virDomainDiskRemove(vm->def, i);

    VIR_WARN("disk '%s' of domain '%s' was detached when the daemon ended", disk->dst, vm->def->name);
    xenLocksReleaseDisk(driver, vm, disk);
    virDomainDiskDefFree(disk);
}

static void
forgetNet(xenDriver *driver, virDomainObj *vm, size_t i)
{
    virDomainNetDef *net = virDomainNetRemove(vm->def, i);

    VIR_WARN("interface '%s' of domain '%s' was detached when the daemon ended", NULLSTR(net->ifname),
             vm->def->name);
    xenNetDeactivate(driver, vm, net);
    xenNetRelease(driver, vm, net);
    virDomainNetDefFree(net);
}

static void
forgetHostdev(xenDriver *driver, virDomainObj *vm, size_t i)
{
    virDomainHostdevDef *hostdev = virDomainHostdevRemove(vm->def, i);

    VIR_WARN("'%s' of domain '%s' was detached when the daemon ended", NULLSTR(hostdev->info->alias),
             vm->def->name);
    xenHostdevsRelease(driver, vm, &hostdev, 1);
    virDomainHostdevDefFree(hostdev);
}

void
xenDevicesSettle(xenDriver *driver, virDomainObj *vm)
{
    SeraiDomain *domain = XEN_PRIVATE(vm)->domain;
    g_autoptr(GPtrArray) devices = NULL;
    g_autoptr(GError) error = NULL;
    size_t i;

    if (!serai_domain_finish_detaching_sync(domain, NULL, &error)) {
        VIR_WARN("%s", error->message);
        g_clear_error(&error);
    }
    devices = serai_domain_list_devices(domain, &error);
    if (!devices) {
        VIR_WARN("cannot list the devices of domain '%s': %s", vm->def->name, error->message);
        return;
    }
    for (i = 0; i < devices->len; i++) {
        const SeraiDevice *device = g_ptr_array_index(devices, i);

        if ((device->kind == SERAI_DEVICE_DISK || device->kind == SERAI_DEVICE_NIC ||
             device->kind == SERAI_DEVICE_PCI) &&
            !isDefined(vm, device))
            takeAway(vm, device);
    }
    for (i = vm->def->ndisks; i-- > 0;) {
        if (!g_ptr_array_find_with_equal_func(devices, vm->def->disks[i], isDisk, NULL))
            forgetDisk(driver, vm, i);
    }
    for (i = vm->def->nnets; i-- > 0;) {
        if (!g_ptr_array_find_with_equal_func(devices, vm->def->nets[i], isNet, NULL))
            forgetNet(driver, vm, i);
    }
    for (i = vm->def->nhostdevs; i-- > 0;) {
        if (!g_ptr_array_find_with_equal_func(devices, vm->def->hostdevs[i], isHostdev, NULL))
            forgetHostdev(driver, vm, i);
    }
}
