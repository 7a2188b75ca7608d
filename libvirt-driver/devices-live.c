/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices of a running domain.
 *
 * Attaching takes what libvirt has for the device (a volume, a lock, a network port), then asks the
 * library, then enters it in the live definition; a failure gives back in the opposite order.  The lock of
 * the domain is given up while the guest is asked, the job is kept.
 */
#include "blkio.h"
#include "conf.h"
#include "devices.h"
#include "disk-limits.h"
#include "error.h"
#include "locks.h"
#include "log.h"
#include "process.h"
#include "qmp.h"
#include "secrets.h"

#include "domain_audit.h"
#include "virmacaddr.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.devices-live");

typedef enum {
    XEN_CALL_ATTACH,
    XEN_CALL_DETACH,
    XEN_CALL_UPDATE,
} xenDeviceCall;

/* The library's part, without the lock.  0 when done and the domain still runs. */
static int
call(xenDriver *driver, virDomainObj *vm, const SeraiDevice *device, xenDeviceCall verb, const char *what)
{
    g_autoptr(SeraiDomain) domain = g_object_ref(XEN_PRIVATE(vm)->domain);
    g_autoptr(GError) error = NULL;
    gboolean done = FALSE;

    virObjectUnlock(vm);
    switch (verb) {
    case XEN_CALL_ATTACH:
        done = serai_domain_attach_device_sync(domain, device, NULL, &error);
        break;
    case XEN_CALL_DETACH:
        done = serai_domain_detach_device_sync(domain, device, SERAI_DETACH_NONE, NULL, &error);
        break;
    case XEN_CALL_UPDATE:
        done = serai_domain_update_device_sync(domain, device, NULL, &error);
        break;
    }
    virObjectLock(vm);

    if (done) {
        /* It may be the first for which there is a QEMU. */
        if (verb == XEN_CALL_ATTACH)
            xenBlkioGather(driver, vm);
        return 0;
    }
    switch (verb) {
    case XEN_CALL_ATTACH:
        xenLogQuote(driver, vm->def, error);
        xenReportError(&error, _("cannot attach <%s> to domain '%s'"), what, vm->def->name);
        break;
    case XEN_CALL_DETACH:
        xenReportError(&error, _("cannot detach <%s> from domain '%s'"), what, vm->def->name);
        break;
    case XEN_CALL_UPDATE:
        xenReportError(&error, _("cannot update <%s> of domain '%s'"), what, vm->def->name);
        break;
    }
    return -1;
}

static int
unsupported(const virDomainObj *vm, const virDomainDeviceDef *dev, xenDeviceCall verb)
{
    const char *type = xenDevicesElement(dev);

    if (verb == XEN_CALL_ATTACH)
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("<%s> devices cannot be attached to domain '%s' while it runs"), type,
                       vm->def->name);
    else if (verb == XEN_CALL_DETACH)
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("<%s> devices cannot be detached from domain '%s' while it runs"), type,
                       vm->def->name);
    else
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("<%s> devices of domain '%s' cannot be updated while it runs"), type, vm->def->name);
    return -1;
}

static void
announceAttached(xenDriver *driver, virDomainObj *vm, const char *alias)
{
    xenDomainQueue(driver, virDomainEventDeviceAddedNewFromObj(vm, alias));
}

/* @detached says whether it went. */
static void
announceDetached(xenDriver *driver, virDomainObj *vm, const char *alias, int detached)
{
    if (alias)
        xenDomainQueue(driver, detached < 0 ? virDomainEventDeviceRemovalFailedNewFromObj(vm, alias)
                                            : virDomainEventDeviceRemovedNewFromObj(vm, alias));
}

static int
attachDisk(xenDriver *driver, virDomainObj *vm, virDomainDeviceDef *dev)
{
    virDomainDiskDef *disk = dev->data.disk;
    g_autoptr(SeraiDevice) device = NULL;
    virErrorPtr error;
    int attached;

    if (virDomainDiskIndexByName(vm->def, disk->dst, true) >= 0) {
        virReportError(VIR_ERR_OPERATION_FAILED, _("domain '%s' has a disk '%s' already"), vm->def->name,
                       disk->dst);
        return -1;
    }
    if (virDomainDiskTranslateSourcePool(disk) < 0)
        return -1;
    device = xenConfDisk(disk);
    if (!device || xenSecretsFindDisk(disk, device) < 0)
        return -1;
    if (xenLocksAcquireDisk(driver, vm, disk) < 0)
        return -1;

    attached = call(driver, vm, device, XEN_CALL_ATTACH, "disk");
    if (attached == 0 && xenDiskLimitsApply(driver, vm, disk) < 0) {
        virErrorPreserveLast(&error);
        if (call(driver, vm, device, XEN_CALL_DETACH, "disk") < 0)
            VIR_WARN("%s", virGetLastErrorMessage());
        virErrorRestore(&error);
        attached = -1;
    }
    virDomainAuditDisk(vm, NULL, disk->src, "attach", attached == 0);
    if (attached < 0) {
        virErrorPreserveLast(&error);
        xenLocksReleaseDisk(driver, vm, disk);
        virErrorRestore(&error);
        return -1;
    }
    xenDiskNameAlias(disk);
    announceAttached(driver, vm, disk->info.alias);
    virDomainDiskInsert(vm->def, g_steal_pointer(&dev->data.disk));
    return 0;
}

static int
attachNet(xenDriver *driver, virDomainObj *vm, virDomainDeviceDef *dev)
{
    virDomainNetDef *net = dev->data.net;
    g_autoptr(SeraiDevice) device = NULL;
    char mac[VIR_MAC_STRING_BUFLEN];
    virErrorPtr error;
    int attached;
    size_t i;

    virMacAddrFormat(&net->mac, mac);
    for (i = 0; i < vm->def->nnets; i++) {
        if (virMacAddrCmp(&vm->def->nets[i]->mac, &net->mac) == 0) {
            virReportError(VIR_ERR_OPERATION_FAILED, _("domain '%s' has an interface with MAC '%s' already"),
                           vm->def->name, mac);
            return -1;
        }
    }
    if (xenNetAcquire(driver, vm, net) < 0)
        return -1;
    device = xenConfNic(net);
    if (!device)
        goto release;
    attached = call(driver, vm, device, XEN_CALL_ATTACH, "interface");
    virDomainAuditNet(vm, NULL, net, "attach", attached == 0);
    if (attached < 0)
        goto release;

    if (virDomainNetInsert(vm->def, net) < 0)
        goto detach;
    dev->data.net = NULL;
    xenProcessFillIn(driver, vm);
    if (xenNetActivate(driver, vm, net) < 0) {
        dev->data.net = virDomainNetRemoveByObj(vm->def, net);
        goto detach;
    }
    announceAttached(driver, vm, net->info.alias);
    return 0;

detach:
    virErrorPreserveLast(&error);
    if (call(driver, vm, device, XEN_CALL_DETACH, "interface") < 0)
        VIR_WARN("%s", virGetLastErrorMessage());
    virErrorRestore(&error);
release:
    xenNetRelease(driver, vm, net);
    return -1;
}

/* A number that the guest does not know yet, as its alias. */
static void
numberConsole(virDomainObj *vm, virDomainChrDef *console)
{
    int highest = 0;
    size_t i;

    for (i = 0; i < vm->def->nconsoles; i++)
        highest = MAX(highest, vm->def->consoles[i]->target.port);
    if (console->target.port < 0)
        console->target.port = highest + 1;
    if (!console->info.alias)
        console->info.alias = g_strdup_printf("console%d", console->target.port);
}

static int
attachChr(xenDriver *driver, virDomainObj *vm, virDomainDeviceDef *dev)
{
    virDomainChrDef *chr = dev->data.chr;
    g_autoptr(SeraiDevice) device = NULL;
    virDomainChrDef ***list;
    size_t *count;

    if (!xenDevicesChrList(vm->def, chr, &list, &count))
        return unsupported(vm, dev, XEN_CALL_ATTACH);
    if (chr->deviceType == VIR_DOMAIN_CHR_DEVICE_TYPE_CONSOLE)
        numberConsole(vm, chr);
    if (xenDevicesFindChr(vm->def, chr) >= 0) {
        virReportError(VIR_ERR_OPERATION_FAILED, _("domain '%s' has that <%s> already"), vm->def->name,
                       xenDevicesElement(dev));
        return -1;
    }
    device = xenConfConsole(chr);
    if (!device || call(driver, vm, device, XEN_CALL_ATTACH, xenDevicesElement(dev)) < 0)
        return -1;
    VIR_APPEND_ELEMENT(*list, *count, dev->data.chr);
    xenProcessFillIn(driver, vm);
    announceAttached(driver, vm, chr->info.alias);
    return 0;
}

/* By a number that no other has, for one may be gone from the middle. */
static void
nameHostdev(const virDomainDef *def, virDomainHostdevDef *hostdev)
{
    size_t number = 0;
    size_t i;

    if (hostdev->info->alias)
        return;
    for (i = 0; i < def->nhostdevs; i++) {
        const char *alias = def->hostdevs[i]->info->alias;
        unsigned int other;

        if (alias && sscanf(alias, "hostdev%u", &other) == 1)
            number = MAX(number, other + 1UL);
    }
    hostdev->info->alias = g_strdup_printf("hostdev%zu", number);
}

static int
attachLease(xenDriver *driver, virDomainObj *vm, virDomainDeviceDef *dev)
{
    if (virDomainLeaseIndex(vm->def, dev->data.lease) >= 0) {
        virReportError(VIR_ERR_OPERATION_FAILED, _("domain '%s' has the lease '%s' already"), vm->def->name,
                       dev->data.lease->key);
        return -1;
    }
    if (xenLocksAcquireLease(driver, vm, dev->data.lease) < 0)
        return -1;
    virDomainLeaseInsert(vm->def, g_steal_pointer(&dev->data.lease));
    return 0;
}

static int
attachHostdev(xenDriver *driver, virDomainObj *vm, virDomainDeviceDef *dev)
{
    virDomainHostdevDef *hostdev = dev->data.hostdev;
    g_autoptr(SeraiDevice) device = xenConfHostdev(hostdev);
    int attached;

    if (xenDevicesHasHostdev(vm->def, hostdev, VIR_ERR_OPERATION_FAILED) ||
        xenHostdevsAcquire(driver, vm, &hostdev, 1) < 0)
        return -1;
    attached = call(driver, vm, device, XEN_CALL_ATTACH, "hostdev");
    virDomainAuditHostdev(vm, hostdev, "attach", attached == 0);
    if (attached < 0) {
        xenHostdevsRelease(driver, vm, &hostdev, 1);
        return -1;
    }
    nameHostdev(vm->def, hostdev);
    announceAttached(driver, vm, hostdev->info->alias);
    return virDomainHostdevInsert(vm->def, g_steal_pointer(&dev->data.hostdev));
}

int
xenDevicesAttachLive(xenDriver *driver, virDomainObj *vm, virDomainDeviceDef *dev)
{
    switch (dev->type) {
    case VIR_DOMAIN_DEVICE_DISK:
        return attachDisk(driver, vm, dev);
    case VIR_DOMAIN_DEVICE_NET:
        return attachNet(driver, vm, dev);
    case VIR_DOMAIN_DEVICE_CHR:
        return attachChr(driver, vm, dev);
    case VIR_DOMAIN_DEVICE_LEASE:
        return attachLease(driver, vm, dev);
    case VIR_DOMAIN_DEVICE_HOSTDEV:
        return attachHostdev(driver, vm, dev);
    default:
        return unsupported(vm, dev, XEN_CALL_ATTACH);
    }
}

void
xenDevicesDropDisk(xenDriver *driver, virDomainObj *vm, virDomainDiskDef *disk)
{
    virDomainAuditDisk(vm, disk->src, NULL, "detach", true);
    announceDetached(driver, vm, disk->info.alias, 0);
    xenLocksReleaseDisk(driver, vm, disk);
    virDomainDiskDefFree(virDomainDiskRemoveByName(vm->def, disk->dst));
}

void
xenDevicesDropNet(xenDriver *driver, virDomainObj *vm, virDomainNetDef *net)
{
    virDomainAuditNet(vm, net, NULL, "detach", true);
    announceDetached(driver, vm, net->info.alias, 0);
    xenNetDeactivate(driver, vm, net);
    xenNetRelease(driver, vm, net);
    virDomainNetDefFree(virDomainNetRemoveByObj(vm->def, net));
}

void
xenDevicesDropChr(xenDriver *driver, virDomainObj *vm, virDomainChrDef ***list, size_t *count, size_t i)
{
    announceDetached(driver, vm, (*list)[i]->info.alias, 0);
    virDomainChrDefFree((*list)[i]);
    VIR_DELETE_ELEMENT(*list, i, *count);
}

void
xenDevicesDropHostdev(xenDriver *driver, virDomainObj *vm, virDomainHostdevDef *hostdev)
{
    virDomainAuditHostdev(vm, hostdev, "detach", true);
    announceDetached(driver, vm, hostdev->info->alias, 0);
    xenHostdevsRelease(driver, vm, &hostdev, 1);
    virDomainHostdevDefFree(virDomainHostdevRemove(vm->def, virDomainHostdevFind(vm->def, hostdev, NULL)));
}

static int
detachDisk(xenDriver *driver, virDomainObj *vm, const virDomainDeviceDef *dev)
{
    int i = virDomainDiskIndexByName(vm->def, dev->data.disk->dst, true);
    g_autoptr(SeraiDevice) device = NULL;
    virDomainDiskDef *disk;
    int detached;

    if (i < 0) {
        virReportError(VIR_ERR_DEVICE_MISSING, _("domain '%s' has no disk '%s'"), vm->def->name,
                       dev->data.disk->dst);
        return -1;
    }
    device = xenConfDisk(vm->def->disks[i]);
    if (!device)
        return -1;
    detached = call(driver, vm, device, XEN_CALL_DETACH, "disk");
    disk = virDomainDiskByTarget(vm->def, device->disk.target);
    if (!disk)
        return detached;
    if (detached == 0) {
        xenDevicesDropDisk(driver, vm, disk);
        return 0;
    }
    virDomainAuditDisk(vm, disk->src, NULL, "detach", false);
    announceDetached(driver, vm, disk->info.alias, -1);
    return -1;
}

static int
detachNet(xenDriver *driver, virDomainObj *vm, const virDomainDeviceDef *dev)
{
    int i = virDomainNetFindIdx(vm->def, dev->data.net);
    g_autoptr(SeraiDevice) device = NULL;
    virDomainNetDef *net;
    int detached;

    if (i < 0)
        return -1;
    net = vm->def->nets[i];
    device = xenConfNic(net);
    if (!device)
        return -1;
    detached = call(driver, vm, device, XEN_CALL_DETACH, "interface");
    if (detached == 0) {
        xenDevicesDropNet(driver, vm, net);
        return 0;
    }
    virDomainAuditNet(vm, net, NULL, "detach", false);
    announceDetached(driver, vm, net->info.alias, -1);
    return -1;
}

static int
detachChr(xenDriver *driver, virDomainObj *vm, const virDomainDeviceDef *dev)
{
    g_autoptr(SeraiDevice) device = NULL;
    virDomainChrDef ***list;
    size_t *count;
    int detached;
    ssize_t i;

    if (!xenDevicesChrList(vm->def, dev->data.chr, &list, &count))
        return unsupported(vm, dev, XEN_CALL_DETACH);
    i = xenDevicesFindChr(vm->def, dev->data.chr);
    if (i < 0) {
        virReportError(VIR_ERR_DEVICE_MISSING, _("domain '%s' has no such <%s>"), vm->def->name,
                       xenDevicesElement(dev));
        return -1;
    }
    device = xenConfConsole((*list)[i]);
    if (!device)
        return -1;
    detached = call(driver, vm, device, XEN_CALL_DETACH, xenDevicesElement(dev));
    if (detached == 0)
        xenDevicesDropChr(driver, vm, list, count, i);
    else
        announceDetached(driver, vm, (*list)[i]->info.alias, -1);
    return detached;
}

static int
detachLease(xenDriver *driver, virDomainObj *vm, const virDomainDeviceDef *dev)
{
    if (virDomainLeaseIndex(vm->def, dev->data.lease) < 0) {
        virReportError(VIR_ERR_DEVICE_MISSING, _("domain '%s' has no such <%s>"), vm->def->name, "lease");
        return -1;
    }
    if (xenLocksReleaseLease(driver, vm, dev->data.lease) < 0)
        return -1;
    virDomainLeaseDefFree(virDomainLeaseRemove(vm->def, dev->data.lease));
    return 0;
}

static int
detachHostdev(xenDriver *driver, virDomainObj *vm, const virDomainDeviceDef *dev)
{
    virDomainHostdevDef *hostdev = NULL;
    g_autoptr(SeraiDevice) device = NULL;
    int detached;

    if (virDomainHostdevFind(vm->def, dev->data.hostdev, &hostdev) < 0) {
        virReportError(VIR_ERR_DEVICE_MISSING, _("domain '%s' has no such <%s>"), vm->def->name, "hostdev");
        return -1;
    }
    device = xenConfHostdev(hostdev);
    detached = call(driver, vm, device, XEN_CALL_DETACH, "hostdev");
    if (detached == 0) {
        xenDevicesDropHostdev(driver, vm, hostdev);
        return 0;
    }
    virDomainAuditHostdev(vm, hostdev, "detach", false);
    announceDetached(driver, vm, hostdev->info->alias, -1);
    return -1;
}

int
xenDevicesDetachLive(xenDriver *driver, virDomainObj *vm, const virDomainDeviceDef *dev)
{
    switch (dev->type) {
    case VIR_DOMAIN_DEVICE_DISK:
        return detachDisk(driver, vm, dev);
    case VIR_DOMAIN_DEVICE_NET:
        return detachNet(driver, vm, dev);
    case VIR_DOMAIN_DEVICE_CHR:
        return detachChr(driver, vm, dev);
    case VIR_DOMAIN_DEVICE_LEASE:
        return detachLease(driver, vm, dev);
    case VIR_DOMAIN_DEVICE_HOSTDEV:
        return detachHostdev(driver, vm, dev);
    default:
        return unsupported(vm, dev, XEN_CALL_DETACH);
    }
}

/* The disc in a drive; of a disk nothing else can change under a guest. */
static int
updateDisk(xenDriver *driver, virDomainObj *vm, virDomainDeviceDef *dev)
{
    int i = virDomainDiskIndexByName(vm->def, dev->data.disk->dst, true);
    virDomainDiskDef *disk = dev->data.disk;
    g_autoptr(SeraiDevice) device = NULL;
    virDomainDiskDef *old;
    int updated;

    if (i < 0) {
        virReportError(VIR_ERR_DEVICE_MISSING, _("domain '%s' has no disk '%s'"), vm->def->name, disk->dst);
        return -1;
    }
    old = vm->def->disks[i];
    if (old->device != VIR_DOMAIN_DISK_DEVICE_CDROM || disk->device != VIR_DOMAIN_DISK_DEVICE_CDROM) {
        virReportError(
            VIR_ERR_OPERATION_UNSUPPORTED,
            _("disk '%s' of domain '%s' is no CD-ROM drive, so nothing of it can change while it runs"),
            disk->dst, vm->def->name);
        return -1;
    }
    if (virDomainDiskTranslateSourcePool(disk) < 0)
        return -1;
    device = xenConfDisk(disk);
    if (!device)
        return -1;
    if (xenLocksAcquireDisk(driver, vm, disk) < 0)
        return -1;

    updated = call(driver, vm, device, XEN_CALL_UPDATE, "disk");
    virDomainAuditDisk(vm, old->src, disk->src, "update", updated == 0);
    xenLocksReleaseDisk(driver, vm, updated == 0 ? old : disk);
    if (updated < 0)
        return -1;

    xenDomainQueue(driver, virDomainEventDiskChangeNewFromObj(vm, virDomainDiskGetSource(old),
                                                              virDomainDiskGetSource(disk), old->info.alias,
                                                              VIR_DOMAIN_EVENT_DISK_CHANGE_MISSING_ON_START));
    if (!virStorageSourceIsEmpty(old->src))
        xenDomainQueue(driver, virDomainEventTrayChangeNewFromObj(vm, old->info.alias,
                                                                  VIR_DOMAIN_EVENT_TRAY_CHANGE_OPEN));
    if (!virStorageSourceIsEmpty(disk->src))
        xenDomainQueue(driver, virDomainEventTrayChangeNewFromObj(vm, old->info.alias,
                                                                  VIR_DOMAIN_EVENT_TRAY_CHANGE_CLOSE));
    virObjectUnref(old->src);
    old->src = g_steal_pointer(&disk->src);
    disk->src = virStorageSourceNew();
    old->startupPolicy = disk->startupPolicy;
    return xenDiskLimitsApply(driver, vm, old);
}

static int
refuseNetChange(const virDomainObj *vm, const char *what)
{
    virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                   _("<%s> of an interface of domain '%s' cannot change while it runs"), what, vm->def->name);
    return -1;
}

static int
checkNetUpdate(const virDomainObj *vm, const virDomainNetDef *old, const virDomainNetDef *net)
{
    if (old->model != net->model)
        return refuseNetChange(vm, "model");
    if (net->mtu != 0 && old->mtu != net->mtu)
        return refuseNetChange(vm, "mtu");
    if (STRNEQ_NULLABLE(old->domain_name, net->domain_name))
        return refuseNetChange(vm, "backenddomain");
    if (net->ifname && STRNEQ_NULLABLE(old->ifname, net->ifname))
        return refuseNetChange(vm, "target");
    return 0;
}

/* Link, bridge, network, bandwidth, VLAN and filter: the guest notices the first only. */
static int
updateNet(xenDriver *driver, virDomainObj *vm, virDomainDeviceDef *dev)
{
    int i = virDomainNetFindIdx(vm->def, dev->data.net);
    virDomainNetDef *net = dev->data.net;
    g_autoptr(SeraiDevice) device = NULL;
    virDomainNetDef *old;

    if (i < 0)
        return -1;
    old = vm->def->nets[i];
    if (checkNetUpdate(vm, old, net) < 0)
        return -1;
    if (xenNetAcquire(driver, vm, net) < 0)
        return -1;
    device = xenConfNic(net);
    if (!device || call(driver, vm, device, XEN_CALL_UPDATE, "interface") < 0) {
        xenNetRelease(driver, vm, net);
        return -1;
    }

    xenNetDeactivate(driver, vm, old);
    xenNetRelease(driver, vm, old);
    g_free(net->ifname);
    net->ifname = g_strdup(old->ifname);
    if (!net->info.alias)
        net->info.alias = g_strdup(old->info.alias);
    vm->def->nets[i] = g_steal_pointer(&dev->data.net);
    virDomainNetDefFree(old);
    return xenNetActivate(driver, vm, net);
}

/* Job held; QEMU forgets it when it ends. */
static int
setPassword(xenDriver *driver, virDomainObj *vm, const char *password)
{
    g_autoptr(virJSONValue) arguments = virJSONValueNewObject();
    g_autoptr(xenQmp) qmp = NULL;

    if (virJSONValueObjectAppendString(arguments, "protocol", "vnc") < 0 ||
        virJSONValueObjectAppendString(arguments, "password", password) < 0)
        return -1;
    qmp = xenQmpBegin(driver, vm);
    return qmp ? xenQmpCommand(qmp, "set_password", &arguments, -1, NULL) : -1;
}

static bool
isSameScreen(const virDomainGraphicsDef *old, const virDomainGraphicsDef *graphics)
{
    const virDomainGraphicsListenDef *a = virDomainGraphicsGetListen((virDomainGraphicsDef *)old, 0);
    const virDomainGraphicsListenDef *b = virDomainGraphicsGetListen((virDomainGraphicsDef *)graphics, 0);

    return (graphics->data.vnc.port <= 0 || graphics->data.vnc.port == old->data.vnc.port) &&
           STREQ_NULLABLE(old->data.vnc.keymap, graphics->data.vnc.keymap) &&
           (!b || (a && a->type == b->type && (!b->address || STREQ_NULLABLE(a->address, b->address)) &&
                   (!b->socket || STREQ_NULLABLE(a->socket, b->socket))));
}

/* The password of its VNC server is all that QEMU can change, and only one that it started with. */
static int
updateGraphics(xenDriver *driver, virDomainObj *vm, virDomainDeviceDef *dev)
{
    const virDomainGraphicsDef *graphics = dev->data.graphics;
    virDomainGraphicsDef *old = vm->def->ngraphics > 0 ? vm->def->graphics[0] : NULL;

    if (!old || old->type != graphics->type || old->type != VIR_DOMAIN_GRAPHICS_TYPE_VNC ||
        !isSameScreen(old, graphics) || !old->data.vnc.auth.passwd || !graphics->data.vnc.auth.passwd) {
        virReportError(
            VIR_ERR_OPERATION_UNSUPPORTED,
            _("of the <graphics> of domain '%s' only the password of VNC can change while it runs, "
              "if it has one"),
            vm->def->name);
        return -1;
    }
    if (STRNEQ(old->data.vnc.auth.passwd, graphics->data.vnc.auth.passwd) &&
        setPassword(driver, vm, graphics->data.vnc.auth.passwd) < 0)
        return -1;
    /* The job keeps the definition, but for a guest that ended meanwhile. */
    if (!virDomainObjIsActive(vm))
        return 0;
    g_free(old->data.vnc.auth.passwd);
    old->data.vnc.auth.passwd = g_strdup(graphics->data.vnc.auth.passwd);
    return 0;
}

int
xenDevicesUpdateLive(xenDriver *driver, virDomainObj *vm, virDomainDeviceDef *dev)
{
    switch (dev->type) {
    case VIR_DOMAIN_DEVICE_DISK:
        return updateDisk(driver, vm, dev);
    case VIR_DOMAIN_DEVICE_NET:
        return updateNet(driver, vm, dev);
    case VIR_DOMAIN_DEVICE_GRAPHICS:
        return updateGraphics(driver, vm, dev);
    default:
        return unsupported(vm, dev, XEN_CALL_UPDATE);
    }
}
