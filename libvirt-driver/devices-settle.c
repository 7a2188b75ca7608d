/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices after the daemon ended while it attached, detached or changed one, and after another program took
 * one away.
 *
 *   the domain has it       the live definition   then
 *   ----------------------  --------------------  ------------------------------------------------
 *   yes                     no                    it was being attached: it is detached again
 *   yes, and is closing     yes                   it was being detached: that goes on
 *   no                      yes                   it was detached: it leaves the definition
 *   another disc            yes                   it was changed: the definition follows
 *
 * So each call that was cut off has happened wholly or not at all.  While the daemon runs, only the third row
 * counts: what it has not attached is of somebody else and stays.  The caller holds the job.
 */
#include "conf.h"
#include "devices.h"
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

/* GEqualFunc of a SeraiDevice and a virDomainChrDef. */
static gboolean
isChr(gconstpointer a, gconstpointer b)
{
    const SeraiDevice *device = a;
    const virDomainChrDef *chr = b;

    if (chr->deviceType == VIR_DOMAIN_CHR_DEVICE_TYPE_CHANNEL)
        return device->kind == SERAI_DEVICE_CHANNEL && STREQ_NULLABLE(device->console.name, chr->target.name);
    return device->kind == SERAI_DEVICE_CONSOLE && device->devid == chr->target.port;
}

/* The first console is that of the kernel: it is always there. */
static bool
forgetChrs(xenDriver *driver, virDomainObj *vm, GPtrArray *devices, virDomainChrDef ***list, size_t *count)
{
    bool changed = false;
    size_t i;

    for (i = *count; i-- > 0;) {
        const virDomainChrDef *chr = (*list)[i];

        if ((chr->deviceType == VIR_DOMAIN_CHR_DEVICE_TYPE_CONSOLE && chr->target.port <= 0) ||
            g_ptr_array_find_with_equal_func(devices, chr, isChr, NULL))
            continue;
        VIR_WARN("'%s' of domain '%s' has been detached meanwhile", NULLSTR(chr->info.alias), vm->def->name);
        xenDevicesDropChr(driver, vm, list, count, i);
        changed = true;
    }
    return changed;
}

/* What the domain has no more leaves the definition; whether there was anything. */
static bool
forget(xenDriver *driver, virDomainObj *vm, GPtrArray *devices)
{
    bool changed = false;
    size_t i;

    for (i = vm->def->ndisks; i-- > 0;) {
        if (g_ptr_array_find_with_equal_func(devices, vm->def->disks[i], isDisk, NULL))
            continue;
        VIR_WARN("disk '%s' of domain '%s' has been detached meanwhile", vm->def->disks[i]->dst,
                 vm->def->name);
        xenDevicesDropDisk(driver, vm, vm->def->disks[i]);
        changed = true;
    }
    for (i = vm->def->nnets; i-- > 0;) {
        if (g_ptr_array_find_with_equal_func(devices, vm->def->nets[i], isNet, NULL))
            continue;
        VIR_WARN("interface '%s' of domain '%s' has been detached meanwhile",
                 NULLSTR(vm->def->nets[i]->ifname), vm->def->name);
        xenDevicesDropNet(driver, vm, vm->def->nets[i]);
        changed = true;
    }
    for (i = vm->def->nhostdevs; i-- > 0;) {
        if (g_ptr_array_find_with_equal_func(devices, vm->def->hostdevs[i], isHostdev, NULL))
            continue;
        VIR_WARN("'%s' of domain '%s' has been detached meanwhile",
                 NULLSTR(vm->def->hostdevs[i]->info->alias), vm->def->name);
        xenDevicesDropHostdev(driver, vm, vm->def->hostdevs[i]);
        changed = true;
    }
    changed |= forgetChrs(driver, vm, devices, &vm->def->consoles, &vm->def->nconsoles);
    changed |= forgetChrs(driver, vm, devices, &vm->def->channels, &vm->def->nchannels);
    return changed;
}

/* What the domain has, once all that was being detached is. */
static GPtrArray *
finish(virDomainObj *vm)
{
    g_autoptr(SeraiDomain) domain = g_object_ref(XEN_PRIVATE(vm)->domain);
    g_autoptr(GError) error = NULL;
    GPtrArray *devices;

    virObjectUnlock(vm);
    if (!serai_domain_finish_detaching_sync(domain, NULL, &error)) {
        VIR_WARN("%s", error->message);
        g_clear_error(&error);
    }
    devices = serai_domain_list_devices(domain, &error);
    virObjectLock(vm);
    if (!devices)
        VIR_WARN("cannot list the devices of domain '%s': %s", vm->def->name, error->message);
    return devices;
}

void
xenDevicesFollow(xenDriver *driver, virDomainObj *vm)
{
    g_autoptr(GPtrArray) devices = finish(vm);

    if (devices && virDomainObjIsActive(vm) && forget(driver, vm, devices))
        xenDomainSaveStatus(driver, vm);
}

void
xenDevicesSettle(xenDriver *driver, virDomainObj *vm)
{
    g_autoptr(GPtrArray) devices = finish(vm);
    size_t i;

    for (i = 0; devices && i < devices->len; i++) {
        const SeraiDevice *device = g_ptr_array_index(devices, i);

        if ((device->kind == SERAI_DEVICE_DISK || device->kind == SERAI_DEVICE_NIC ||
             device->kind == SERAI_DEVICE_PCI) &&
            !isDefined(vm, device))
            takeAway(vm, device);
    }
    if (devices)
        forget(driver, vm, devices);
}
