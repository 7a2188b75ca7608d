/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From the XML that tools write by default to the XML that a Xen domain is.
 *
 * virt-install, virt-manager and Nova describe a PC with virtio devices.  A paravirtualized guest has
 * the same devices under other names, so they are renamed; what merely tunes or decorates a PC has no
 * counterpart and is dropped with one line in the log.  What the guest would miss if it were dropped is
 * left alone here and refused in validate.c.  Everything here is idempotent: the XML we print is
 * read back as it is.
 */
#include "driver.h"
#include "postparse.h"

#include "virxml.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.postparse");

/* Room for the picture of a PV frame buffer, in KiB. */
#define XEN_VIDEO_VRAM 4096

static void
dropped(const virDomainDef *def, const char *element, const char *reason)
{
    VIR_WARN("domain '%s': <%s> is dropped: %s", NULLSTR(def->name), element, reason);
}

virDomainDef *
xenPostParseString(const char *xml, virDomainXMLOption *xmlopt, unsigned int parseFlags)
{
    g_autoptr(xmlDoc) doc = virXMLParseStringCtxt(xml, _("(domain_definition)"), NULL);
    g_autofree char *type = NULL;
    g_autofree char *normalized = NULL;
    xmlNodePtr root;

    if (!doc)
        return NULL;
    root = xmlDocGetRootElement(doc);
    type = virXMLPropString(root, "type");
    if (!virXMLNodeNameEqual(root, "domain") ||
        (STRNEQ_NULLABLE(type, "qemu") && STRNEQ_NULLABLE(type, "kvm")))
        return virDomainDefParseString(xml, xmlopt, NULL, parseFlags);

    xmlSetProp(root, BAD_CAST "type", BAD_CAST "xen");
    normalized = virXMLNodeToString(doc, root);
    return normalized ? virDomainDefParseString(normalized, xmlopt, NULL, parseFlags) : NULL;
}

/* The other names of the same hypervisor, and of the same kind of guest. */
int
xenPostParseBasic(virDomainDef *def, void *opaque G_GNUC_UNUSED)
{
    if (def->virtType == VIR_DOMAIN_VIRT_QEMU || def->virtType == VIR_DOMAIN_VIRT_KVM)
        def->virtType = VIR_DOMAIN_VIRT_XEN;

    if (def->os.type == VIR_DOMAIN_OSTYPE_LINUX)
        def->os.type = VIR_DOMAIN_OSTYPE_XEN;

    if (def->os.arch == VIR_ARCH_NONE)
        def->os.arch = virArchFromHost();

    if (def->os.type == VIR_DOMAIN_OSTYPE_HVM) {
        /* "pc" is what tools ask for that have not looked at the capabilities. */
        if (!def->os.machine || STREQ(def->os.machine, "pc") || STRPREFIX(def->os.machine, "pc-i440fx")) {
            g_free(def->os.machine);
            def->os.machine = g_strdup("xenfv");
        }
    } else if (!def->os.machine) {
        def->os.machine = g_strdup(def->os.type == VIR_DOMAIN_OSTYPE_XENPVH ? "xenpvh" : "xenpv");
    }

    return 0;
}

static bool
inputIsForeign(const virDomainInputDef *input)
{
    return input->bus != VIR_DOMAIN_INPUT_BUS_XEN;
}

/* libvirt keeps the function for this to itself, but not the one for any device. */
static void
freePanic(virDomainPanicDef *panic)
{
    virDomainDeviceDef *dev = g_new0(virDomainDeviceDef, 1);

    dev->type = VIR_DOMAIN_DEVICE_PANIC;
    dev->data.panic = panic;
    virDomainDeviceDefFree(dev);
}

/* Where a PC would have it. */
static void
clearAddress(virDomainDeviceInfo *info)
{
    if (info->type != VIR_DOMAIN_DEVICE_ADDRESS_TYPE_NONE) {
        info->type = VIR_DOMAIN_DEVICE_ADDRESS_TYPE_NONE;
        memset(&info->addr, 0, sizeof(info->addr));
    }
}

/* A PV guest has no PC buses, and one keyboard and mouse when it has a frame buffer. */
static void
dropForeignDevices(virDomainDef *def)
{
    size_t i;

    for (i = def->ncontrollers; i > 0; i--) {
        virDomainControllerDef *controller = def->controllers[i - 1];

        if (controller->type == VIR_DOMAIN_CONTROLLER_TYPE_XENBUS)
            continue;
        dropped(def, "controller", virDomainControllerTypeToString(controller->type));
        virDomainControllerDefFree(virDomainControllerRemove(def, i - 1));
    }

    for (i = def->ninputs; i > 0; i--) {
        virDomainInputDef *input = def->inputs[i - 1];

        if (!inputIsForeign(input))
            continue;
        if (input->type == VIR_DOMAIN_INPUT_TYPE_MOUSE || input->type == VIR_DOMAIN_INPUT_TYPE_KBD) {
            input->bus = VIR_DOMAIN_INPUT_BUS_XEN;
            continue;
        }
        if (input->type != VIR_DOMAIN_INPUT_TYPE_TABLET)
            continue;
        dropped(def, "input", "the mouse of the frame buffer is absolute already");
        virDomainInputDefFree(input);
        VIR_DELETE_ELEMENT(def->inputs, i - 1, def->ninputs);
    }

    for (i = def->nrngs; i > 0; i--) {
        dropped(def, "rng", "a paravirtualized guest has no device for it");
        virDomainRNGDefFree(virDomainRNGRemove(def, i - 1));
    }

    for (i = def->npanics; i > 0; i--) {
        dropped(def, "panic", "a Xen guest reports its crash to the hypervisor by itself");
        freePanic(def->panics[i - 1]);
        VIR_DELETE_ELEMENT(def->panics, i - 1, def->npanics);
    }
}

/* What is written for a PC's firmware and for QEMU's threads. */
static void
dropForeignTuning(virDomainDef *def)
{
    size_t i;

    if (def->nsysinfo > 0) {
        dropped(def, "sysinfo", "a paravirtualized guest has no SMBIOS tables");
        for (i = 0; i < def->nsysinfo; i++)
            virSysinfoDefFree(def->sysinfo[i]);
        g_clear_pointer(&def->sysinfo, g_free);
        def->nsysinfo = 0;
    }
    def->os.smbios_mode = VIR_DOMAIN_SMBIOS_NONE;

    if (def->features[VIR_DOMAIN_FEATURE_VMCOREINFO] != VIR_TRISTATE_SWITCH_ABSENT) {
        dropped(def, "vmcoreinfo", "the dump of a Xen guest needs no help from it");
        def->features[VIR_DOMAIN_FEATURE_VMCOREINFO] = VIR_TRISTATE_SWITCH_ABSENT;
    }
    /* A PV guest has neither ACPI tables nor an interrupt controller of its own to switch. */
    def->features[VIR_DOMAIN_FEATURE_ACPI] = VIR_TRISTATE_SWITCH_ABSENT;
    def->features[VIR_DOMAIN_FEATURE_APIC] = VIR_TRISTATE_SWITCH_ABSENT;
    def->features[VIR_DOMAIN_FEATURE_PAE] = VIR_TRISTATE_SWITCH_ABSENT;
    def->features[VIR_DOMAIN_FEATURE_VMPORT] = VIR_TRISTATE_SWITCH_ABSENT;

    if (def->niothreadids > 0) {
        dropped(def, "iothreads", "block requests are served by the kernel's backend");
        for (i = 0; i < def->niothreadids; i++)
            virDomainIOThreadIDDefFree(def->iothreadids[i]);
        g_clear_pointer(&def->iothreadids, g_free);
        def->niothreadids = 0;
    }

    if (def->mem.nhugepages > 0) {
        dropped(def, "hugepages", "the hypervisor backs guests with the largest extents it has");
        for (i = 0; i < def->mem.nhugepages; i++)
            virBitmapFree(def->mem.hugepages[i].nodemask);
        g_clear_pointer(&def->mem.hugepages, g_free);
        def->mem.nhugepages = 0;
    }

    if (def->cpu && def->cpu->mode == VIR_CPU_MODE_HOST_MODEL) {
        VIR_WARN("domain '%s': <cpu mode='host-model'> becomes host-passthrough", NULLSTR(def->name));
        def->cpu->mode = VIR_CPU_MODE_HOST_PASSTHROUGH;
    }

    for (i = def->clock.ntimers; i > 0; i--) {
        virDomainTimerDef *timer = def->clock.timers[i - 1];

        if (timer->name == VIR_DOMAIN_TIMER_NAME_TSC)
            continue;
        if (timer->present != VIR_TRISTATE_BOOL_NO)
            dropped(def, "timer", virDomainTimerNameTypeToString(timer->name));
        g_free(timer);
        VIR_DELETE_ELEMENT(def->clock.timers, i - 1, def->clock.ntimers);
    }
}

static virDomainChrDef *
newPVConsole(void)
{
    virDomainChrDef *console = virDomainChrDefNew(NULL);

    if (!console)
        return NULL;
    console->source->type = VIR_DOMAIN_CHR_TYPE_PTY;
    console->deviceType = VIR_DOMAIN_CHR_DEVICE_TYPE_CONSOLE;
    console->targetType = VIR_DOMAIN_CHR_CONSOLE_TARGET_TYPE_XEN;
    return console;
}

/*
 * The serial line of a PC is where Nova looks for the log; a PV guest's first console takes its place, and
 * its log file.  With a console given as well, the line repeats it.
 */
static int
serialToConsole(virDomainDef *def)
{
    virDomainChrDef *serial;
    virDomainChrDef *console;

    if (def->nserials > 0) {
        serial = def->serials[0];

        if (def->nconsoles == 0) {
            serial->deviceType = VIR_DOMAIN_CHR_DEVICE_TYPE_CONSOLE;
            serial->targetType = VIR_DOMAIN_CHR_CONSOLE_TARGET_TYPE_XEN;
            serial->targetModel = VIR_DOMAIN_CHR_SERIAL_TARGET_MODEL_NONE;
            serial->target.port = 0;
            clearAddress(&serial->info);
            VIR_DELETE_ELEMENT(def->serials, 0, def->nserials);
            VIR_APPEND_ELEMENT(def->consoles, def->nconsoles, serial);
        } else if (def->consoles[0]->targetType != VIR_DOMAIN_CHR_CONSOLE_TARGET_TYPE_VIRTIO) {
            console = def->consoles[0];
            if (!console->source->logfile) {
                console->source->logfile = g_steal_pointer(&serial->source->logfile);
                console->source->logappend = serial->source->logappend;
            }
            dropped(def, "serial", "the first console is the same line");
            virDomainChrDefFree(serial);
            VIR_DELETE_ELEMENT(def->serials, 0, def->nserials);
        }
    }

    if (def->nconsoles > 0)
        return 0;

    console = newPVConsole();
    if (!console)
        return -1;
    VIR_APPEND_ELEMENT(def->consoles, def->nconsoles, console);
    return 0;
}

static void
addInput(virDomainDef *def, virDomainInputType type)
{
    virDomainInputDef *input;
    size_t i;

    for (i = 0; i < def->ninputs; i++) {
        if (def->inputs[i]->type == (int)type && def->inputs[i]->bus == VIR_DOMAIN_INPUT_BUS_XEN)
            return;
    }

    input = g_new0(virDomainInputDef, 1);
    input->type = type;
    input->bus = VIR_DOMAIN_INPUT_BUS_XEN;
    VIR_APPEND_ELEMENT(def->inputs, def->ninputs, input);
}

static void
fixMemballoon(virDomainDef *def)
{
    if (!def->memballoon)
        def->memballoon = g_new0(virDomainMemballoonDef, 1);

    if (def->memballoon->model == VIR_DOMAIN_MEMBALLOON_MODEL_NONE)
        return;
    def->memballoon->model = VIR_DOMAIN_MEMBALLOON_MODEL_XEN;
    def->memballoon->autodeflate = VIR_TRISTATE_SWITCH_ABSENT;
    def->memballoon->free_page_reporting = VIR_TRISTATE_SWITCH_ABSENT;
    g_clear_pointer(&def->memballoon->virtio, g_free);
    clearAddress(&def->memballoon->info);
}

int
xenPostParseDomain(virDomainDef *def, unsigned int parseFlags G_GNUC_UNUSED, void *opaque G_GNUC_UNUSED,
                   void *parseOpaque G_GNUC_UNUSED)
{
    if (def->os.type != VIR_DOMAIN_OSTYPE_HVM) {
        dropForeignDevices(def);
        dropForeignTuning(def);
        if (serialToConsole(def) < 0)
            return -1;
        if (def->ngraphics > 0) {
            addInput(def, VIR_DOMAIN_INPUT_TYPE_MOUSE);
            addInput(def, VIR_DOMAIN_INPUT_TYPE_KBD);
        }
        fixMemballoon(def);
    }

    if (virDomainControllerFindByType(def, VIR_DOMAIN_CONTROLLER_TYPE_XENBUS) < 0 &&
        !virDomainDefAddController(def, VIR_DOMAIN_CONTROLLER_TYPE_XENBUS, -1, -1))
        return -1;

    return 0;
}

static bool
targetIsTaken(const virDomainDef *def, const virDomainDiskDef *disk, const char *name)
{
    size_t i;

    for (i = 0; i < def->ndisks; i++) {
        if (def->disks[i] != disk && STREQ_NULLABLE(def->disks[i]->dst, name))
            return true;
    }
    return false;
}

static bool
isPartOf(const virDomainDef *def, const virDomainDiskDef *disk)
{
    size_t i;

    for (i = 0; i < def->ndisks; i++) {
        if (def->disks[i] == disk)
            return true;
    }
    return false;
}

/*
 * "vda" and "sda" become "xvda", or in a whole definition the next free letters when another disk has those.
 * A disk that comes by itself is to be attached, or names one that is there already: its letters stay.
 */
static void
renameDiskTarget(virDomainDiskDef *disk, const virDomainDef *def)
{
    g_autofree char *old = disk->dst;
    size_t prefix = STRPREFIX(old, "xvd") ? 3 : 2;
    int index = virDiskNameToIndex(old);

    disk->dst = g_strdup_printf("xvd%s", strlen(old) > prefix ? old + prefix : "a");
    if (index < 0)
        index = 0;
    while (isPartOf(def, disk) && targetIsTaken(def, disk, disk->dst)) {
        g_free(disk->dst);
        disk->dst = virIndexToDiskName(index++, "xvd");
    }
    VIR_WARN("domain '%s': disk '%s' becomes '%s' on the bus of Xen", NULLSTR(def->name), old, disk->dst);
}

static void
fixDisk(virDomainDiskDef *disk, const virDomainDef *def)
{
    /* A floppy has no counterpart; the validation names it. */
    if (disk->device == VIR_DOMAIN_DISK_DEVICE_FLOPPY)
        return;

    if (disk->bus != VIR_DOMAIN_DISK_BUS_XEN) {
        disk->bus = VIR_DOMAIN_DISK_BUS_XEN;
        if (disk->dst && !STRPREFIX(disk->dst, "xvd"))
            renameDiskTarget(disk, def);
        clearAddress(&disk->info);
        g_clear_pointer(&disk->virtio, g_free);
        disk->iothread = 0;
        disk->model = VIR_DOMAIN_DISK_MODEL_DEFAULT;
    }

    if (disk->device == VIR_DOMAIN_DISK_DEVICE_LUN)
        return;
    if (disk->src->format == VIR_STORAGE_FILE_NONE && !virStorageSourceIsEmpty(disk->src))
        disk->src->format = VIR_STORAGE_FILE_RAW;
}

static void
fixNet(virDomainNetDef *net, const virDomainDef *def)
{
    if (net->model != VIR_DOMAIN_NET_MODEL_UNKNOWN && net->model != VIR_DOMAIN_NET_MODEL_NETFRONT) {
        VIR_WARN("domain '%s': interface model '%s' becomes 'netfront'", NULLSTR(def->name),
                 virDomainNetModelTypeToString(net->model));
        net->model = VIR_DOMAIN_NET_MODEL_NETFRONT;
    }
    /* The queues of a virtio NIC and its offloads: netfront and netback settle them by themselves. */
    memset(&net->driver, 0, sizeof(net->driver));
    g_clear_pointer(&net->virtio, g_free);
    if (net->type != VIR_DOMAIN_NET_TYPE_HOSTDEV)
        clearAddress(&net->info);
}

static void
fixChr(virDomainChrDef *chr, const virDomainDef *def)
{
    if (chr->deviceType == VIR_DOMAIN_CHR_DEVICE_TYPE_CONSOLE) {
        chr->targetType = VIR_DOMAIN_CHR_CONSOLE_TARGET_TYPE_XEN;
        clearAddress(&chr->info);
    } else if (chr->deviceType == VIR_DOMAIN_CHR_DEVICE_TYPE_CHANNEL &&
               chr->targetType == VIR_DOMAIN_CHR_CHANNEL_TARGET_TYPE_VIRTIO) {
        VIR_WARN("domain '%s': channel '%s' becomes a channel of Xen", NULLSTR(def->name),
                 NULLSTR(chr->target.name));
        chr->targetType = VIR_DOMAIN_CHR_CHANNEL_TARGET_TYPE_XEN;
        clearAddress(&chr->info);
    }
}

static void
fixVideo(virDomainVideoDef *video, const virDomainDef *def)
{
    if (video->type == VIR_DOMAIN_VIDEO_TYPE_NONE)
        return;
    if (video->type != VIR_DOMAIN_VIDEO_TYPE_DEFAULT && video->type != VIR_DOMAIN_VIDEO_TYPE_XEN)
        VIR_WARN("domain '%s': video model '%s' becomes the frame buffer of Xen", NULLSTR(def->name),
                 virDomainVideoTypeToString(video->type));
    video->type = VIR_DOMAIN_VIDEO_TYPE_XEN;
    if (video->vram == 0 || video->vram < XEN_VIDEO_VRAM)
        video->vram = XEN_VIDEO_VRAM;
    video->ram = video->vgamem = video->vram64 = 0;
    g_clear_pointer(&video->virtio, g_free);
    clearAddress(&video->info);
}

static void
fixHostdev(virDomainHostdevDef *hostdev)
{
    if (hostdev->mode == VIR_DOMAIN_HOSTDEV_MODE_SUBSYS &&
        hostdev->source.subsys.type == VIR_DOMAIN_HOSTDEV_SUBSYS_TYPE_PCI)
        xenCompatHostdevSetBackend(&hostdev->source.subsys.u.pci);
}

int
xenPostParseDevice(virDomainDeviceDef *dev, const virDomainDef *def, unsigned int parseFlags G_GNUC_UNUSED,
                   void *opaque G_GNUC_UNUSED, void *parseOpaque G_GNUC_UNUSED)
{
    if (dev->type == VIR_DOMAIN_DEVICE_HOSTDEV)
        fixHostdev(dev->data.hostdev);
    if (dev->type == VIR_DOMAIN_DEVICE_NET && dev->data.net->type == VIR_DOMAIN_NET_TYPE_HOSTDEV)
        fixHostdev(&dev->data.net->data.hostdev.def);

    if (def->os.type == VIR_DOMAIN_OSTYPE_HVM)
        return 0;

    switch (dev->type) {
    case VIR_DOMAIN_DEVICE_DISK:
        fixDisk(dev->data.disk, def);
        break;
    case VIR_DOMAIN_DEVICE_NET:
        fixNet(dev->data.net, def);
        break;
    case VIR_DOMAIN_DEVICE_CHR:
        fixChr(dev->data.chr, def);
        break;
    case VIR_DOMAIN_DEVICE_VIDEO:
        fixVideo(dev->data.video, def);
        break;
    case VIR_DOMAIN_DEVICE_INPUT:
        if (dev->data.input->type == VIR_DOMAIN_INPUT_TYPE_MOUSE ||
            dev->data.input->type == VIR_DOMAIN_INPUT_TYPE_KBD)
            dev->data.input->bus = VIR_DOMAIN_INPUT_BUS_XEN;
        clearAddress(&dev->data.input->info);
        break;
    default:
        break;
    }

    return 0;
}
