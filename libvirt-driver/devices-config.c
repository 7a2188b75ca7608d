/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices in a definition that is not running: every kind that a domain can have, attached, detached
 * and changed.  Nothing but @def changes here.
 */
#include "devices.h"

#include "domain_postparse.h"
#include "domain_validate.h"
#include "virmacaddr.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

static int
unsupported(const virDomainDef *def, const virDomainDeviceDef *dev)
{
    virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                   _("<%s> devices in the definition of domain '%s' cannot be changed this way"),
                   xenDevicesElement(dev), def->name);
    return -1;
}

static int
missing(const virDomainDef *def, const char *what)
{
    virReportError(VIR_ERR_DEVICE_MISSING, _("domain '%s' has no such <%s>"), def->name, what);
    return -1;
}

static int
attachDisk(virDomainDef *def, virDomainDeviceDef *dev)
{
    virDomainDiskDef *disk = dev->data.disk;

    if (virDomainDiskIndexByName(def, disk->dst, true) >= 0) {
        virReportError(VIR_ERR_OPERATION_INVALID, _("domain '%s' has a disk '%s' already"), def->name,
                       disk->dst);
        return -1;
    }
    virDomainDiskInsert(def, g_steal_pointer(&dev->data.disk));
    return 0;
}

static int
attachNet(virDomainDef *def, virDomainDeviceDef *dev)
{
    char mac[VIR_MAC_STRING_BUFLEN];
    size_t i;

    for (i = 0; i < def->nnets; i++) {
        if (virMacAddrCmp(&def->nets[i]->mac, &dev->data.net->mac) == 0) {
            virReportError(VIR_ERR_OPERATION_INVALID, _("domain '%s' has an interface with MAC '%s' already"),
                           def->name, virMacAddrFormat(&dev->data.net->mac, mac));
            return -1;
        }
    }
    if (virDomainNetInsert(def, dev->data.net) < 0)
        return -1;
    dev->data.net = NULL;
    return 0;
}

/* The bus of Xen that @def has, when that is what @controller is. */
static virDomainControllerDef *
findBus(virDomainDef *def, const virDomainControllerDef *controller)
{
    size_t i;

    for (i = 0; controller->type == VIR_DOMAIN_CONTROLLER_TYPE_XENBUS && i < def->ncontrollers; i++) {
        if (def->controllers[i]->type == VIR_DOMAIN_CONTROLLER_TYPE_XENBUS)
            return def->controllers[i];
    }
    return NULL;
}

static ssize_t
findInput(const virDomainDef *def, const virDomainInputDef *input)
{
    size_t i;

    for (i = 0; i < def->ninputs; i++) {
        if (def->inputs[i]->type == input->type && def->inputs[i]->bus == input->bus)
            return i;
    }
    return -1;
}

bool
xenDevicesHasHostdev(virDomainDef *def, const virDomainHostdevDef *hostdev, int code)
{
    virDomainHostdevDef *found = NULL;
    g_autofree char *address = NULL;

    if (virDomainHostdevFind(def, (virDomainHostdevDef *)hostdev, &found) < 0)
        return false;
    address = virPCIDeviceAddressAsString(&hostdev->source.subsys.u.pci.addr);
    virReportError(code, _("domain '%s' has the PCI device '%s' already"), def->name, address);
    return true;
}

bool
xenDevicesChrList(virDomainDef *def, const virDomainChrDef *chr, virDomainChrDef ****ret_list,
                  size_t **ret_count)
{
    switch (chr->deviceType) {
    case VIR_DOMAIN_CHR_DEVICE_TYPE_CONSOLE:
        *ret_list = &def->consoles;
        *ret_count = &def->nconsoles;
        return true;
    case VIR_DOMAIN_CHR_DEVICE_TYPE_CHANNEL:
        *ret_list = &def->channels;
        *ret_count = &def->nchannels;
        return true;
    default:
        return false;
    }
}

ssize_t
xenDevicesFindChr(virDomainDef *def, const virDomainChrDef *chr)
{
    virDomainChrDef ***list;
    size_t *count;
    size_t i;

    if (!xenDevicesChrList(def, chr, &list, &count))
        return -1;
    for (i = 0; i < *count; i++) {
        const virDomainChrDef *other = (*list)[i];

        if (chr->deviceType == VIR_DOMAIN_CHR_DEVICE_TYPE_CHANNEL
                ? STREQ_NULLABLE(other->target.name, chr->target.name)
                : other->target.port == chr->target.port)
            return i;
    }
    return -1;
}

static int
attachChr(virDomainDef *def, virDomainDeviceDef *dev)
{
    virDomainChrDef ***list;
    size_t *count;

    if (!xenDevicesChrList(def, dev->data.chr, &list, &count))
        return unsupported(def, dev);
    if (dev->data.chr->deviceType == VIR_DOMAIN_CHR_DEVICE_TYPE_CONSOLE && dev->data.chr->target.port < 0)
        dev->data.chr->target.port = *count;
    if (xenDevicesFindChr(def, dev->data.chr) >= 0) {
        virReportError(VIR_ERR_OPERATION_INVALID, _("domain '%s' has that <%s> already"), def->name,
                       virDomainChrDeviceTypeToString(dev->data.chr->deviceType));
        return -1;
    }
    VIR_APPEND_ELEMENT(*list, *count, dev->data.chr);
    return 0;
}

static int
attachInput(virDomainDef *def, virDomainDeviceDef *dev)
{
    if (findInput(def, dev->data.input) >= 0) {
        virReportError(VIR_ERR_OPERATION_INVALID, _("domain '%s' has an <input type='%s'> already"),
                       def->name, virDomainInputTypeToString(dev->data.input->type));
        return -1;
    }
    VIR_APPEND_ELEMENT(def->inputs, def->ninputs, dev->data.input);
    return 0;
}

/* Every domain has a bus of Xen and a balloon; what is attached takes the place of one that says nothing. */
static int
attachController(virDomainDef *def, virDomainDeviceDef *dev)
{
    virDomainControllerDef *bus = findBus(def, dev->data.controller);

    if (!bus) {
        virDomainControllerInsert(def, g_steal_pointer(&dev->data.controller));
        return 0;
    }
    if (bus->opts.xenbusopts.maxGrantFrames > 0 || bus->opts.xenbusopts.maxEventChannels > 0) {
        virReportError(VIR_ERR_OPERATION_INVALID, _("domain '%s' has that <%s> already"), def->name,
                       "controller");
        return -1;
    }
    bus->opts.xenbusopts = dev->data.controller->opts.xenbusopts;
    return 0;
}

/* libvirt shows drivers no way to free a balloon, so the old one goes with @dev. */
static void
replaceBalloon(virDomainDef *def, virDomainDeviceDef *dev)
{
    virDomainMemballoonDef *old = def->memballoon;

    def->memballoon = dev->data.memballoon;
    dev->data.memballoon = old;
}

static int
attachMemballoon(virDomainDef *def, virDomainDeviceDef *dev)
{
    const virDomainMemballoonDef *old = def->memballoon;

    if (old && old->model != VIR_DOMAIN_MEMBALLOON_MODEL_NONE && old->period > 0) {
        virReportError(VIR_ERR_OPERATION_INVALID, _("domain '%s' has that <%s> already"), def->name,
                       "memballoon");
        return -1;
    }
    replaceBalloon(def, dev);
    return 0;
}

static int
attachHostdev(virDomainDef *def, virDomainDeviceDef *dev)
{
    if (xenDevicesHasHostdev(def, dev->data.hostdev, VIR_ERR_OPERATION_INVALID))
        return -1;
    return virDomainHostdevInsert(def, g_steal_pointer(&dev->data.hostdev));
}

int
xenDevicesAttachConfig(virDomainDef *def, virDomainDeviceDef *dev, virDomainXMLOption *xmlopt)
{
    int attached;

    switch (dev->type) {
    case VIR_DOMAIN_DEVICE_DISK:
        attached = attachDisk(def, dev);
        break;
    case VIR_DOMAIN_DEVICE_NET:
        attached = attachNet(def, dev);
        break;
    case VIR_DOMAIN_DEVICE_CHR:
        attached = attachChr(def, dev);
        break;
    case VIR_DOMAIN_DEVICE_INPUT:
        attached = attachInput(def, dev);
        break;
    case VIR_DOMAIN_DEVICE_GRAPHICS:
        VIR_APPEND_ELEMENT(def->graphics, def->ngraphics, dev->data.graphics);
        attached = 0;
        break;
    case VIR_DOMAIN_DEVICE_VIDEO:
        VIR_APPEND_ELEMENT(def->videos, def->nvideos, dev->data.video);
        attached = 0;
        break;
    case VIR_DOMAIN_DEVICE_LEASE:
        if (virDomainLeaseIndex(def, dev->data.lease) >= 0) {
            virReportError(VIR_ERR_OPERATION_INVALID, _("domain '%s' has the lease '%s' already"), def->name,
                           dev->data.lease->key);
            return -1;
        }
        virDomainLeaseInsert(def, g_steal_pointer(&dev->data.lease));
        attached = 0;
        break;
    case VIR_DOMAIN_DEVICE_HOSTDEV:
        attached = attachHostdev(def, dev);
        break;
    case VIR_DOMAIN_DEVICE_CONTROLLER:
        attached = attachController(def, dev);
        break;
    case VIR_DOMAIN_DEVICE_MEMBALLOON:
        attached = attachMemballoon(def, dev);
        break;
    /* What is dropped from a definition that is given whole is dropped here too, by postparse.c. */
    case VIR_DOMAIN_DEVICE_RNG:
        VIR_APPEND_ELEMENT(def->rngs, def->nrngs, dev->data.rng);
        attached = 0;
        break;
    case VIR_DOMAIN_DEVICE_PANIC:
        VIR_APPEND_ELEMENT(def->panics, def->npanics, dev->data.panic);
        attached = 0;
        break;
    default:
        return unsupported(def, dev);
    }
    if (attached < 0)
        return -1;
    /* The same rules as for a definition that is given whole. */
    return virDomainDefPostParse(def, VIR_DOMAIN_DEF_PARSE_INACTIVE, xmlopt, NULL) < 0 ||
                   virDomainDefValidate(def, VIR_DOMAIN_DEF_PARSE_INACTIVE, xmlopt, NULL) < 0
               ? -1
               : 0;
}

int
xenDevicesDetachConfig(virDomainDef *def, const virDomainDeviceDef *dev)
{
    size_t *count;
    virDomainChrDef ***list;
    virDomainControllerDef *bus;
    virDomainHostdevDef *hostdev;
    virDomainLeaseDef *lease;
    ssize_t i;

    switch (dev->type) {
    case VIR_DOMAIN_DEVICE_DISK:
        i = virDomainDiskIndexByName(def, dev->data.disk->dst, true);
        if (i < 0)
            return missing(def, "disk");
        virDomainDiskDefFree(virDomainDiskRemove(def, i));
        return 0;
    case VIR_DOMAIN_DEVICE_NET:
        i = virDomainNetFindIdx(def, dev->data.net);
        if (i < 0)
            return -1;
        virDomainNetDefFree(virDomainNetRemove(def, i));
        return 0;
    case VIR_DOMAIN_DEVICE_CHR:
        i = xenDevicesFindChr(def, dev->data.chr);
        if (i < 0 || !xenDevicesChrList(def, dev->data.chr, &list, &count))
            return missing(def, virDomainChrDeviceTypeToString(dev->data.chr->deviceType));
        virDomainChrDefFree((*list)[i]);
        VIR_DELETE_ELEMENT(*list, i, *count);
        return 0;
    case VIR_DOMAIN_DEVICE_INPUT:
        i = findInput(def, dev->data.input);
        if (i < 0)
            return missing(def, "input");
        virDomainInputDefFree(def->inputs[i]);
        VIR_DELETE_ELEMENT(def->inputs, i, def->ninputs);
        return 0;
    case VIR_DOMAIN_DEVICE_GRAPHICS:
        for (i = 0; i < (ssize_t)def->ngraphics; i++) {
            if (def->graphics[i]->type != dev->data.graphics->type)
                continue;
            virDomainGraphicsDefFree(def->graphics[i]);
            VIR_DELETE_ELEMENT(def->graphics, i, def->ngraphics);
            return 0;
        }
        return missing(def, "graphics");
    case VIR_DOMAIN_DEVICE_VIDEO:
        for (i = 0; i < (ssize_t)def->nvideos; i++) {
            if (def->videos[i]->type != dev->data.video->type ||
                def->videos[i]->vram != dev->data.video->vram)
                continue;
            virDomainVideoDefFree(def->videos[i]);
            VIR_DELETE_ELEMENT(def->videos, i, def->nvideos);
            return 0;
        }
        return missing(def, "video");
    case VIR_DOMAIN_DEVICE_LEASE:
        lease = virDomainLeaseRemove(def, dev->data.lease);
        if (!lease)
            return missing(def, "lease");
        virDomainLeaseDefFree(lease);
        return 0;
    case VIR_DOMAIN_DEVICE_HOSTDEV:
        i = virDomainHostdevFind(def, dev->data.hostdev, &hostdev);
        if (i < 0)
            return missing(def, "hostdev");
        virDomainHostdevDefFree(virDomainHostdevRemove(def, i));
        return 0;
    case VIR_DOMAIN_DEVICE_CONTROLLER:
        bus = findBus(def, dev->data.controller);
        if (!bus || (bus->opts.xenbusopts.maxGrantFrames <= 0 && bus->opts.xenbusopts.maxEventChannels <= 0))
            return missing(def, "controller");
        bus->opts.xenbusopts.maxGrantFrames = bus->opts.xenbusopts.maxEventChannels = -1;
        return 0;
    case VIR_DOMAIN_DEVICE_MEMBALLOON:
        if (!def->memballoon || def->memballoon->model == VIR_DOMAIN_MEMBALLOON_MODEL_NONE)
            return missing(def, "memballoon");
        /* A definition without the element has a balloon. */
        def->memballoon->model = VIR_DOMAIN_MEMBALLOON_MODEL_NONE;
        def->memballoon->period = 0;
        return 0;
    default:
        return unsupported(def, dev);
    }
}

int
xenDevicesUpdateConfig(virDomainDef *def, virDomainDeviceDef *dev, virDomainXMLOption *xmlopt)
{
    virDomainControllerDef *bus;
    virDomainNetDef *oldNet;
    ssize_t i;

    switch (dev->type) {
    case VIR_DOMAIN_DEVICE_DISK:
        i = virDomainDiskIndexByName(def, dev->data.disk->dst, true);
        if (i < 0)
            return missing(def, "disk");
        virDomainDiskDefFree(def->disks[i]);
        def->disks[i] = g_steal_pointer(&dev->data.disk);
        break;
    case VIR_DOMAIN_DEVICE_NET:
        i = virDomainNetFindIdx(def, dev->data.net);
        if (i < 0)
            return -1;
        oldNet = def->nets[i];
        if (virDomainNetUpdate(def, i, dev->data.net) < 0)
            return -1;
        virDomainNetDefFree(oldNet);
        dev->data.net = NULL;
        break;
    case VIR_DOMAIN_DEVICE_CHR: {
        virDomainChrDef ***list;
        size_t *count;

        i = xenDevicesFindChr(def, dev->data.chr);
        if (i < 0 || !xenDevicesChrList(def, dev->data.chr, &list, &count))
            return missing(def, virDomainChrDeviceTypeToString(dev->data.chr->deviceType));
        virDomainChrDefFree((*list)[i]);
        (*list)[i] = g_steal_pointer(&dev->data.chr);
        break;
    }
    case VIR_DOMAIN_DEVICE_GRAPHICS:
        for (i = 0; i < (ssize_t)def->ngraphics; i++) {
            if (def->graphics[i]->type == dev->data.graphics->type)
                break;
        }
        if (i == (ssize_t)def->ngraphics)
            return missing(def, "graphics");
        virDomainGraphicsDefFree(def->graphics[i]);
        def->graphics[i] = g_steal_pointer(&dev->data.graphics);
        break;
    case VIR_DOMAIN_DEVICE_VIDEO:
        if (def->nvideos == 0)
            return missing(def, "video");
        virDomainVideoDefFree(def->videos[0]);
        def->videos[0] = g_steal_pointer(&dev->data.video);
        break;
    case VIR_DOMAIN_DEVICE_INPUT:
        i = findInput(def, dev->data.input);
        if (i < 0)
            return missing(def, "input");
        virDomainInputDefFree(def->inputs[i]);
        def->inputs[i] = g_steal_pointer(&dev->data.input);
        break;
    case VIR_DOMAIN_DEVICE_LEASE:
        i = virDomainLeaseIndex(def, dev->data.lease);
        if (i < 0)
            return missing(def, "lease");
        virDomainLeaseDefFree(def->leases[i]);
        def->leases[i] = g_steal_pointer(&dev->data.lease);
        break;
    case VIR_DOMAIN_DEVICE_CONTROLLER:
        bus = findBus(def, dev->data.controller);
        if (!bus)
            return missing(def, "controller");
        bus->opts.xenbusopts = dev->data.controller->opts.xenbusopts;
        break;
    case VIR_DOMAIN_DEVICE_MEMBALLOON:
        replaceBalloon(def, dev);
        break;
    default:
        return unsupported(def, dev);
    }
    return virDomainDefPostParse(def, VIR_DOMAIN_DEF_PARSE_INACTIVE, xmlopt, NULL) < 0 ||
                   virDomainDefValidate(def, VIR_DOMAIN_DEF_PARSE_INACTIVE, xmlopt, NULL) < 0
               ? -1
               : 0;
}
