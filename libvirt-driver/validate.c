/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a Xen domain cannot be, said when it is defined and not when it is started.
 *
 * Each message names the element.  Two tables hold what has no place in a paravirtualized guest, the
 * functions below what is right only in part.
 */
#include "conf.h"
#include "disk-limits.h"
#include "driver.h"
#include "postparse.h"
#include "validate.h"
#include "domain_validate.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

/* How a count or a pointer of a definition is called in XML. */
struct element {
    const char *name;
    bool present;
};

static int
refuse(const char *element)
{
    virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("<%s> is not supported for a paravirtualized domain"),
                   element);
    return -1;
}

static int
validateElements(const virDomainDef *def)
{
    const struct element elements[] = {
        {"serial", def->nserials > 0},
        {"parallel", def->nparallels > 0},
        {"sound", def->nsounds > 0},
        {"watchdog", def->watchdog != NULL},
        {"smartcard", def->nsmartcards > 0},
        {"redirdev", def->nredirdevs > 0},
        {"hub", def->nhubs > 0},
        {"shmem", def->nshmems > 0},
        {"memory model", def->nmems > 0},
        {"tpm", def->ntpms > 0},
        {"nvram", def->nvram != NULL},
        {"iommu", def->iommu != NULL},
        {"vsock", def->vsock != NULL},
        {"filesystem", def->nfss > 0},
        {"loader", def->os.loader != NULL},
        {"os firmware", def->os.firmware != VIR_DOMAIN_OS_DEF_FIRMWARE_NONE},
        {"dtb", def->os.dtb != NULL},
        {"launchSecurity", def->sec != NULL},
        {"keywrap", def->keywrap != NULL},
        {"resource", def->resource != NULL},
        {"genid", def->genidRequested},
        /* Limits that nothing would enforce. */
        {"memtune soft_limit", virMemoryLimitIsSet(def->mem.soft_limit)},
        {"memtune swap_hard_limit", virMemoryLimitIsSet(def->mem.swap_hard_limit)},
        {"memtune min_guarantee", def->mem.min_guarantee > 0},
        {"cputune quota", def->cputune.quota != 0 || def->cputune.period != 0},
        {"cachetune", def->nresctrls > 0},
        {"idmap", def->idmap.nuidmap > 0 || def->idmap.ngidmap > 0},
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(elements); i++) {
        if (elements[i].present)
            return refuse(elements[i].name);
    }
    return 0;
}

static int
validateMemory(const virDomainDef *def)
{
    unsigned long long total = virDomainDefGetMemoryTotal(def);

    if (total < XEN_MIN_MEMORY_KB) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<memory> of domain '%s' is %llu KiB, less than the %d KiB a domain needs"),
                       def->name, total, XEN_MIN_MEMORY_KB);
        return -1;
    }
    if (def->mem.cur_balloon > 0 && def->mem.cur_balloon < XEN_MIN_MEMORY_KB) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<currentMemory> of domain '%s' is %llu KiB, less than the %d KiB a domain needs"),
                       def->name, def->mem.cur_balloon, XEN_MIN_MEMORY_KB);
        return -1;
    }
    if (def->mem.hard_limit < MAX(def->mem.cur_balloon, XEN_MIN_MEMORY_KB)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<hard_limit> of domain '%s' is %llu KiB, less than its <currentMemory>"), def->name,
                       def->mem.hard_limit);
        return -1;
    }
    if (def->mem.max_memory > 0 || def->mem.memory_slots > 0) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("<maxMemory> is not supported: the balloon of a Xen domain reaches <memory>"));
        return -1;
    }
    return 0;
}

static int
validateCPU(const virDomainDef *def)
{
    if (virDomainDefGetVcpusMax(def) > XEN_MAX_VCPUS) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<vcpu> of domain '%s' is %u, more than the %d a domain can have"), def->name,
                       virDomainDefGetVcpusMax(def), XEN_MAX_VCPUS);
        return -1;
    }
    if (def->cpu && def->cpu->mode == VIR_CPU_MODE_CUSTOM && def->cpu->model) {
        virReportError(
            VIR_ERR_CONFIG_UNSUPPORTED,
            _("<cpu> model '%s' is not supported: a paravirtualized domain has the CPU of the host"),
            def->cpu->model);
        return -1;
    }
    if (def->cputune.emulatorpin || def->cputune.emulator_quota || def->cputune.emulator_period) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("<cputune> of an emulator is not supported: a paravirtualized domain has none"));
        return -1;
    }
    return 0;
}

static int
validateLifecycle(const virDomainDef *def)
{
    const struct {
        const char *element;
        int action;
    } actions[] = {
        {"on_poweroff", def->onPoweroff},
        {"on_reboot", def->onReboot},
        {"on_crash", def->onCrash},
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(actions); i++) {
        if (actions[i].action == VIR_DOMAIN_LIFECYCLE_ACTION_RESTART_RENAME) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("<%s> 'rename-restart' is not supported"),
                           actions[i].element);
            return -1;
        }
    }
    return 0;
}

static int
validateBoot(const virDomainDef *def)
{
    if (def->os.kernel && def->os.bootloader) {
        virReportError(VIR_ERR_XML_DETAIL, "%s", _("<kernel> and <bootloader> exclude each other"));
        return -1;
    }
    if ((def->os.initrd || def->os.cmdline) && !def->os.kernel) {
        virReportError(VIR_ERR_XML_DETAIL, "%s", _("<initrd> and <cmdline> need a <kernel>"));
        return -1;
    }
    /* pygrub would read the guest's file system in the host; without a kernel the guest's own loader runs. */
    if (def->os.bootloader && !strstr(def->os.bootloader, "pygrub") &&
        !strstr(def->os.bootloader, "pvgrub")) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("<bootloader> '%s' is not supported"),
                       def->os.bootloader);
        return -1;
    }
    if (def->os.kernel && def->os.kernel[0] != '/') {
        virReportError(VIR_ERR_XML_DETAIL, _("<kernel> '%s' is not an absolute path"), def->os.kernel);
        return -1;
    }
    if (def->os.initrd && def->os.initrd[0] != '/') {
        virReportError(VIR_ERR_XML_DETAIL, _("<initrd> '%s' is not an absolute path"), def->os.initrd);
        return -1;
    }
    return 0;
}

/* No two NICs of a domain may answer to one address. */
static int
validateMacs(const virDomainDef *def)
{
    char mac[VIR_MAC_STRING_BUFLEN];
    size_t i, j;

    for (i = 0; i < def->nnets; i++) {
        for (j = 0; j < i; j++) {
            if (virMacAddrCmp(&def->nets[i]->mac, &def->nets[j]->mac) == 0) {
                virReportError(VIR_ERR_XML_DETAIL, _("<interface> with <mac address='%s'> is given twice"),
                               virMacAddrFormat(&def->nets[i]->mac, mac));
                return -1;
            }
        }
    }
    return 0;
}

static int
validateName(const virDomainDef *def)
{
    const char *c;

    /* The name becomes a node of the store and a file name. */
    if (strlen(def->name) > 255) {
        virReportError(VIR_ERR_XML_DETAIL, _("<name> is %zu bytes long, more than 255"), strlen(def->name));
        return -1;
    }
    for (c = def->name; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            virReportError(VIR_ERR_XML_DETAIL, "%s", _("<name> contains a control character"));
            return -1;
        }
    }
    return 0;
}

static int
validateKind(xenDriver *driver, const virDomainDef *def)
{
    if (def->virtType != VIR_DOMAIN_VIRT_XEN) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("<domain type='%s'> is not supported: use 'xen'"),
                       virDomainVirtTypeToString(def->virtType));
        return -1;
    }
    if (!virCapabilitiesDomainSupported(driver->caps, def->os.type, def->os.arch, def->virtType)) {
        /* libvirt's text is about capabilities, not about what the user wrote. */
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<os> <type arch='%s'>%s</type> is not supported on this host"),
                       virArchToString(def->os.arch), virDomainOSTypeToString(def->os.type));
        return -1;
    }
    return 0;
}

int
xenValidateDomain(const virDomainDef *def, void *opaque, void *parseOpaque G_GNUC_UNUSED)
{
    xenDriver *driver = opaque;

    if (validateKind(driver, def) < 0)
        return -1;
    if (validateName(def) < 0 || validateMemory(def) < 0 || validateMacs(def) < 0 ||
        validateLifecycle(def) < 0)
        return -1;

    if (def->os.type == VIR_DOMAIN_OSTYPE_XEN && (validateElements(def) < 0 || validateCPU(def) < 0 ||
                                                  validateBoot(def) < 0 || xenValidateDomainDetails(def) < 0))
        return -1;

    return 0;
}

/* @device is what the library would be asked for, and is taken: what it refuses then is refused now. */
static int
checkConverted(SeraiDevice *device, const char *element, const char *which)
{
    g_autoptr(SeraiDevice) taken = device;
    g_autoptr(GError) error = NULL;

    if (!taken)
        return -1;
    if (serai_device_check(taken, &error))
        return 0;
    virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("<%s> '%s': %s"), element, which, error->message);
    return -1;
}

static int
validateDiskBus(const virDomainDiskDef *disk)
{
    if (disk->bus != VIR_DOMAIN_DISK_BUS_XEN) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<disk> '%s': bus '%s' is not supported for a paravirtualized domain"),
                       NULLSTR(disk->dst), virDomainDiskBusTypeToString(disk->bus));
        return -1;
    }
    if (disk->device != VIR_DOMAIN_DISK_DEVICE_DISK && disk->device != VIR_DOMAIN_DISK_DEVICE_CDROM) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<disk> '%s': device '%s' is not supported for a paravirtualized domain"),
                       NULLSTR(disk->dst), virDomainDiskDeviceTypeToString(disk->device));
        return -1;
    }
    return 0;
}

static int
validateEncryption(const virDomainDiskDef *disk)
{
    const virStorageSource *src = disk->src;
    const virStorageEncryption *encryption = src->encryption;

    if (encryption->format != VIR_STORAGE_ENCRYPTION_FORMAT_LUKS ||
        encryption->engine == VIR_STORAGE_ENCRYPTION_ENGINE_LIBRBD) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<disk> '%s': of <encryption> only format 'luks' by QEMU is supported"), disk->dst);
        return -1;
    }
    if (encryption->nsecrets != 1) {
        virReportError(VIR_ERR_XML_DETAIL, _("<disk> '%s': <encryption> needs one <secret>"), disk->dst);
        return -1;
    }
    if (disk->device != VIR_DOMAIN_DISK_DEVICE_DISK ||
        (src->format > VIR_STORAGE_FILE_RAW && src->format != VIR_STORAGE_FILE_QCOW2)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<disk> '%s': <encryption> is for disks that are raw or qcow2"), disk->dst);
        return -1;
    }
    return 0;
}

static int
validateDiskSource(const virDomainDiskDef *disk)
{
    const virStorageSource *src = disk->src;

    switch ((virStorageType)src->type) {
    case VIR_STORAGE_TYPE_FILE:
    case VIR_STORAGE_TYPE_BLOCK:
    case VIR_STORAGE_TYPE_VOLUME:
    case VIR_STORAGE_TYPE_NETWORK:
    case VIR_STORAGE_TYPE_NONE:
        break;
    default:
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("<disk> '%s': type '%s' is not supported"), disk->dst,
                       virStorageTypeToString(src->type));
        return -1;
    }

    switch (src->format) {
    case VIR_STORAGE_FILE_NONE:
    case VIR_STORAGE_FILE_AUTO:
    case VIR_STORAGE_FILE_RAW:
    case VIR_STORAGE_FILE_QCOW2:
    case VIR_STORAGE_FILE_QCOW:
    case VIR_STORAGE_FILE_QED:
    case VIR_STORAGE_FILE_VMDK:
    case VIR_STORAGE_FILE_VPC:
    case VIR_STORAGE_FILE_VDI:
        break;
    default:
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("<disk> '%s': format '%s' is not supported"), disk->dst,
                       virStorageFileFormatTypeToString(src->format));
        return -1;
    }

    if (src->encryption && validateEncryption(disk) < 0)
        return -1;
    if (xenDiskLimitsCheck(disk->dst, &disk->blkdeviotune) < 0)
        return -1;
    if (disk->transient) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("<disk> '%s': <transient> is not supported"), disk->dst);
        return -1;
    }
    if (virStorageSourceIsEmpty((virStorageSource *)src) && disk->device != VIR_DOMAIN_DISK_DEVICE_CDROM) {
        virReportError(VIR_ERR_XML_DETAIL, _("<disk> '%s' has no <source>"), disk->dst);
        return -1;
    }
    if (xenValidateDiskDetails(disk) < 0)
        return -1;
    /* Which file or device a volume is is known when it starts. */
    if (src->type == VIR_STORAGE_TYPE_VOLUME)
        return xenConfCheckBackend(disk->domain_name, "disk");
    return checkConverted(xenConfDisk(disk), "disk", disk->dst);
}

static int
validateNet(const virDomainNetDef *net)
{
    char mac[VIR_MAC_STRING_BUFLEN];

    switch (net->type) {
    case VIR_DOMAIN_NET_TYPE_BRIDGE:
    case VIR_DOMAIN_NET_TYPE_NETWORK:
    case VIR_DOMAIN_NET_TYPE_ETHERNET:
        break;
    default:
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("<interface type='%s'> is not supported"),
                       virDomainNetTypeToString(net->type));
        return -1;
    }
    if (net->coalesce) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s", _("<coalesce> of an <interface> is not supported"));
        return -1;
    }
    if (xenValidateNetDetails(net) < 0)
        return -1;
    /* The network says which bridge, when it starts. */
    if (net->type == VIR_DOMAIN_NET_TYPE_NETWORK)
        return xenConfCheckBackend(net->domain_name, "interface");
    return checkConverted(xenConfNic(net), "interface", virMacAddrFormat(&net->mac, mac));
}

/* USB: Debian builds no paravirtual driver of Linux for it.  The rest is of KVM, or needs an emulator. */
static int
validateHostdev(const virDomainHostdevDef *hostdev)
{
    const virDomainHostdevSubsysPCI *pci = &hostdev->source.subsys.u.pci;

    if (hostdev->mode != VIR_DOMAIN_HOSTDEV_MODE_SUBSYS) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<hostdev mode='%s'> is not supported: use mode='subsystem' type='pci'"),
                       virDomainHostdevModeTypeToString(hostdev->mode));
        return -1;
    }
    if (hostdev->source.subsys.type != VIR_DOMAIN_HOSTDEV_SUBSYS_TYPE_PCI) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<hostdev type='%s'> is not supported: a paravirtualized domain can have devices of "
                         "type='pci'"),
                       virDomainHostdevSubsysTypeToString(hostdev->source.subsys.type));
        return -1;
    }
    if (pci->backend != VIR_DOMAIN_HOSTDEV_PCI_BACKEND_XEN) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<driver name='%s'> of a <hostdev> is not supported: use 'xen'"),
                       virDomainHostdevSubsysPCIBackendTypeToString(pci->backend));
        return -1;
    }
    return xenValidateHostdevDetails(hostdev);
}

static int
validateGraphics(const virDomainGraphicsDef *graphics)
{
    if (graphics->type != VIR_DOMAIN_GRAPHICS_TYPE_VNC && graphics->type != VIR_DOMAIN_GRAPHICS_TYPE_SDL) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("<graphics type='%s'> is not supported: use vnc or sdl"),
                       virDomainGraphicsTypeToString(graphics->type));
        return -1;
    }
    if (xenValidateGraphicsDetails(graphics) < 0)
        return -1;
    return checkConverted(xenConfVfb(graphics), "graphics", virDomainGraphicsTypeToString(graphics->type));
}

static int
validateChr(const virDomainChrDef *chr)
{
    switch (chr->source->type) {
    case VIR_DOMAIN_CHR_TYPE_PTY:
    case VIR_DOMAIN_CHR_TYPE_NULL:
    case VIR_DOMAIN_CHR_TYPE_FILE:
    case VIR_DOMAIN_CHR_TYPE_UNIX:
        /* Others are refused as a whole. */
        if (chr->deviceType != VIR_DOMAIN_CHR_DEVICE_TYPE_CONSOLE &&
            chr->deviceType != VIR_DOMAIN_CHR_DEVICE_TYPE_CHANNEL)
            return 0;
        return checkConverted(xenConfConsole(chr), virDomainChrDeviceTypeToString(chr->deviceType),
                              virDomainChrTypeToString(chr->source->type));
    default:
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("<%s type='%s'> is not supported"),
                       virDomainChrDeviceTypeToString(chr->deviceType),
                       virDomainChrTypeToString(chr->source->type));
        return -1;
    }
}

int
xenValidateDevice(const virDomainDeviceDef *dev, const virDomainDef *def, void *opaque G_GNUC_UNUSED,
                  void *parseOpaque G_GNUC_UNUSED)
{
    if (def->os.type == VIR_DOMAIN_OSTYPE_HVM)
        return 0;

    switch (dev->type) {
    case VIR_DOMAIN_DEVICE_DISK:
        return validateDiskBus(dev->data.disk) < 0 ? -1 : validateDiskSource(dev->data.disk);
    case VIR_DOMAIN_DEVICE_NET:
        return validateNet(dev->data.net);
    case VIR_DOMAIN_DEVICE_GRAPHICS:
        return validateGraphics(dev->data.graphics);
    case VIR_DOMAIN_DEVICE_HOSTDEV:
        return validateHostdev(dev->data.hostdev);
    case VIR_DOMAIN_DEVICE_CHR:
        return validateChr(dev->data.chr);
    case VIR_DOMAIN_DEVICE_INPUT:
        if (dev->data.input->bus != VIR_DOMAIN_INPUT_BUS_XEN) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                           _("<input type='%s'> is not supported for a paravirtualized domain"),
                           virDomainInputTypeToString(dev->data.input->type));
            return -1;
        }
        return 0;
    default:
        return 0;
    }
}
