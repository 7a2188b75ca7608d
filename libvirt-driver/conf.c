/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * virDomainDef to SeraiConfig: the only file where both vocabularies meet.
 *
 * It owns nothing and looks at nothing but its arguments.  What the description cannot say has been
 * refused when the domain was defined (validate.c); what is left is refused here with the element.
 */
#include "conf.h"

#include "netdev_vlan_conf.h"
#include "numa_conf.h"
#include "virbitmap.h"
#include "virmacaddr.h"
#include "virnetdevvportprofile.h"
#include "virtime.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

/* The period that stands for one whole CPU when a cap is written as a quota, in microseconds. */
#define XEN_CAP_PERIOD 100000

GBytes *
xenConfBitmap(virBitmap *bitmap)
{
    unsigned char *data = NULL;
    int length = 0;

    if (!bitmap || virBitmapToData(bitmap, &data, &length) < 0)
        return NULL;
    return g_bytes_new_take(data, length);
}

SeraiAction
xenConfAction(int action)
{
    switch ((virDomainLifecycleAction)action) {
    case VIR_DOMAIN_LIFECYCLE_ACTION_RESTART:
        return SERAI_ACTION_RESTART;
    case VIR_DOMAIN_LIFECYCLE_ACTION_RESTART_RENAME:
        return SERAI_ACTION_RENAME_RESTART;
    case VIR_DOMAIN_LIFECYCLE_ACTION_PRESERVE:
        return SERAI_ACTION_PRESERVE;
    case VIR_DOMAIN_LIFECYCLE_ACTION_COREDUMP_DESTROY:
        return SERAI_ACTION_COREDUMP_DESTROY;
    case VIR_DOMAIN_LIFECYCLE_ACTION_COREDUMP_RESTART:
        return SERAI_ACTION_COREDUMP_RESTART;
    case VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY:
    case VIR_DOMAIN_LIFECYCLE_ACTION_LAST:
    default:
        return SERAI_ACTION_DESTROY;
    }
}

static int
diskFormat(const virDomainDiskDef *disk, SeraiDiskFormat *ret_format)
{
    switch (disk->src->format) {
    case VIR_STORAGE_FILE_NONE:
    case VIR_STORAGE_FILE_AUTO:
    case VIR_STORAGE_FILE_RAW:
        *ret_format = SERAI_DISK_RAW;
        return 0;
    case VIR_STORAGE_FILE_QCOW2:
        *ret_format = SERAI_DISK_QCOW2;
        return 0;
    case VIR_STORAGE_FILE_QCOW:
        *ret_format = SERAI_DISK_QCOW;
        return 0;
    case VIR_STORAGE_FILE_QED:
        *ret_format = SERAI_DISK_QED;
        return 0;
    case VIR_STORAGE_FILE_VMDK:
        *ret_format = SERAI_DISK_VMDK;
        return 0;
    case VIR_STORAGE_FILE_VPC:
        *ret_format = SERAI_DISK_VHD;
        return 0;
    case VIR_STORAGE_FILE_VDI:
        *ret_format = SERAI_DISK_VDI;
        return 0;
    default:
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("<disk> '%s': format '%s' is not supported"), disk->dst,
                       virStorageFileFormatTypeToString(disk->src->format));
        return -1;
    }
}

/* The URL by which QEMU's block layer knows a network disk. */
static char *
diskURL(const virDomainDiskDef *disk)
{
    const virStorageSource *src = disk->src;
    const virStorageNetHostDef *host = src->nhosts > 0 ? &src->hosts[0] : NULL;

    if (src->protocol != VIR_STORAGE_NET_PROTOCOL_NBD) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<disk> '%s': protocol '%s' is not supported: use 'nbd'"), disk->dst,
                       virStorageNetProtocolTypeToString(src->protocol));
        return NULL;
    }
    if (!host || src->nhosts > 1 || src->auth) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("<disk> '%s': one <host> and no <auth> is what is supported"), disk->dst);
        return NULL;
    }
    if (host->transport == VIR_STORAGE_NET_HOST_TRANS_UNIX)
        return g_strdup_printf("nbd+unix:///%s?socket=%s", src->path ? src->path : "", host->socket);
    if (host->port)
        return g_strdup_printf("nbd://%s:%u/%s", host->name, host->port, src->path ? src->path : "");
    return g_strdup_printf("nbd://%s/%s", host->name, src->path ? src->path : "");
}

/* What the passphrase is called, whether by UUID or by usage; secrets.c gets it. */
static char *
secretName(const virStorageEncryption *encryption)
{
    const virSecretLookupTypeDef *lookup = &encryption->secrets[0]->seclookupdef;
    char uuid[VIR_UUID_STRING_BUFLEN];

    if (lookup->type != VIR_SECRET_LOOKUP_TYPE_UUID)
        return g_strdup(lookup->u.usage);
    virUUIDFormat(lookup->u.uuid, uuid);
    return g_strdup(uuid);
}

int
xenConfCheckBackend(const char *name, const char *element)
{
    if (!name || STREQ(name, "Domain-0") || STREQ(name, "0"))
        return 0;
    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("<backenddomain name='%s'> of <%s>: only Domain-0 serves devices"), name, element);
    return -1;
}

SeraiDevice *
xenConfDisk(const virDomainDiskDef *disk)
{
    g_autoptr(SeraiDevice) device = serai_device_new(SERAI_DEVICE_DISK);

    device->disk.target = g_strdup(disk->dst);
    if (disk->src->type == VIR_STORAGE_TYPE_NETWORK) {
        device->disk.path = diskURL(disk);
        if (!device->disk.path)
            return NULL;
        device->disk.backend = SERAI_DISK_BACKEND_QEMU;
    } else {
        device->disk.path = g_strdup(virDomainDiskGetSource(disk));
    }

    if (diskFormat(disk, &device->disk.format) < 0 || xenConfCheckBackend(disk->domain_name, "disk") < 0)
        return NULL;

    /* The kernel's backend limits nothing. */
    if (virDomainBlockIoTuneInfoHasAny(&disk->blkdeviotune))
        device->disk.backend = SERAI_DISK_BACKEND_QEMU;
    if (disk->src->encryption) {
        device->disk.backend = SERAI_DISK_BACKEND_QEMU;
        device->disk.encrypted = TRUE;
        device->disk.passphrase_name = secretName(disk->src->encryption);
    }
    device->disk.cdrom = disk->device == VIR_DOMAIN_DISK_DEVICE_CDROM;
    device->disk.readonly = disk->src->readonly || device->disk.cdrom;
    device->disk.shareable = disk->src->shared;
    device->disk.discard = disk->discard == VIR_DOMAIN_DISK_DISCARD_UNMAP;
    device->disk.cached = disk->cachemode == VIR_DOMAIN_DISK_CACHE_WRITEBACK ||
                          disk->cachemode == VIR_DOMAIN_DISK_CACHE_WRITETHRU ||
                          disk->cachemode == VIR_DOMAIN_DISK_CACHE_UNSAFE;
    return g_steal_pointer(&device);
}

static char *
vlanTrunks(const virNetDevVlan *vlan)
{
    g_autoptr(GString) tags = g_string_new(NULL);
    int i;

    for (i = 0; i < vlan->nTags; i++)
        g_string_append_printf(tags, "%s%u", i > 0 ? "," : "", vlan->tag[i]);
    return g_strdup(tags->str);
}

static void
nicOvs(SeraiNic *nic, const virDomainNetDef *net)
{
    const virNetDevVPortProfile *port = virDomainNetGetActualVirtPortProfile(net);
    const virNetDevVlan *vlan = virDomainNetGetActualVlan(net);
    char uuid[VIR_UUID_STRING_BUFLEN];

    nic->attach = SERAI_NIC_OVS;
    if (port->interfaceID_specified) {
        virUUIDFormat(port->interfaceID, uuid);
        nic->ovs_interface_id = g_strdup(uuid);
    }
    if (port->profileID[0] != '\0')
        nic->ovs_profile_id = g_strdup(port->profileID);

    if (!vlan || vlan->nTags == 0)
        return;
    if (vlan->trunk || vlan->nTags > 1) {
        nic->vlan_trunks = vlanTrunks(vlan);
        nic->vlan_tag = vlan->nativeTag;
        nic->vlan_native_tagged = vlan->nativeMode == VIR_NATIVE_VLAN_MODE_TAGGED;
    } else {
        nic->vlan_tag = vlan->tag[0];
    }
}

SeraiDevice *
xenConfNic(const virDomainNetDef *net)
{
    g_autoptr(SeraiDevice) device = serai_device_new(SERAI_DEVICE_NIC);
    const virNetDevVPortProfile *port = virDomainNetGetActualVirtPortProfile(net);
    const virNetDevVlan *vlan = virDomainNetGetActualVlan(net);
    SeraiNic *nic = &device->nic;
    char mac[VIR_MAC_STRING_BUFLEN];

    nic->mac = g_strdup(virMacAddrFormat(&net->mac, mac));
    nic->mtu = net->mtu;
    nic->link_down = net->linkstate == VIR_DOMAIN_NET_INTERFACE_LINK_STATE_DOWN;
    nic->isolated = virDomainNetGetActualPortOptionsIsolated(net) == VIR_TRISTATE_BOOL_YES;
    if (net->ifname && !STRPREFIX(net->ifname, "vif"))
        nic->ifname = g_strdup(net->ifname);
    if (xenConfCheckBackend(net->domain_name, "interface") < 0)
        return NULL;
    nic->trusted = TRUE;

    switch (virDomainNetGetActualType(net)) {
    case VIR_DOMAIN_NET_TYPE_BRIDGE:
    case VIR_DOMAIN_NET_TYPE_NETWORK:
        nic->bridge = g_strdup(virDomainNetGetActualBridgeName(net));
        if (!nic->bridge) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                           _("<interface> with MAC '%s': its network has no bridge"), mac);
            return NULL;
        }
        if (port && port->virtPortType == VIR_NETDEV_VPORT_PROFILE_OPENVSWITCH) {
            nicOvs(nic, net);
        } else if (vlan && vlan->nTags > 0) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                           _("<interface> with MAC '%s': <vlan> needs an Open vSwitch bridge"), mac);
            return NULL;
        } else {
            nic->attach = SERAI_NIC_BRIDGE;
        }
        break;
    case VIR_DOMAIN_NET_TYPE_ETHERNET:
        nic->attach = SERAI_NIC_NONE;
        break;
    default:
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("<interface> with MAC '%s': type '%s' is not supported"),
                       mac, virDomainNetTypeToString(virDomainNetGetActualType(net)));
        return NULL;
    }
    return g_steal_pointer(&device);
}

SeraiDevice *
xenConfConsole(const virDomainChrDef *chr)
{
    bool channel = chr->deviceType == VIR_DOMAIN_CHR_DEVICE_TYPE_CHANNEL;
    g_autoptr(SeraiDevice) device = serai_device_new(channel ? SERAI_DEVICE_CHANNEL : SERAI_DEVICE_CONSOLE);
    const virDomainChrSourceDef *source = chr->source;

    device->devid = channel ? -1 : chr->target.port;
    if (channel)
        device->console.name = g_strdup(chr->target.name);

    switch (source->type) {
    case VIR_DOMAIN_CHR_TYPE_PTY:
    case VIR_DOMAIN_CHR_TYPE_NULL:
        break;
    case VIR_DOMAIN_CHR_TYPE_FILE:
        device->console.log_path = g_strdup(source->data.file.path);
        device->console.log_append = source->data.file.append == VIR_TRISTATE_SWITCH_ON;
        break;
    case VIR_DOMAIN_CHR_TYPE_UNIX:
        if (channel) {
            device->console.socket_path = g_strdup(source->data.nix.path);
            break;
        }
        G_GNUC_FALLTHROUGH;
    default:
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("<%s type='%s'> is not supported"),
                       virDomainChrDeviceTypeToString(chr->deviceType),
                       virDomainChrTypeToString(source->type));
        return NULL;
    }

    if (source->logfile && !device->console.log_path) {
        device->console.log_path = g_strdup(source->logfile);
        device->console.log_append = source->logappend == VIR_TRISTATE_SWITCH_ON;
    }
    return g_steal_pointer(&device);
}

SeraiDevice *
xenConfVfb(const virDomainGraphicsDef *graphics)
{
    g_autoptr(SeraiDevice) device = serai_device_new(SERAI_DEVICE_VFB);
    const virDomainGraphicsListenDef *listen =
        virDomainGraphicsGetListen((virDomainGraphicsDef *)graphics, 0);

    switch (graphics->type) {
    case VIR_DOMAIN_GRAPHICS_TYPE_VNC:
        device->vfb.vnc = TRUE;
        if (listen && listen->type == VIR_DOMAIN_GRAPHICS_LISTEN_TYPE_SOCKET) {
            device->vfb.socket_path = g_strdup(listen->socket);
        } else {
            device->vfb.listen = g_strdup(listen ? listen->address : NULL);
            device->vfb.port = graphics->data.vnc.port > 0 ? graphics->data.vnc.port : 0;
        }
        device->vfb.keymap = g_strdup(graphics->data.vnc.keymap);
        device->vfb.password = g_strdup(graphics->data.vnc.auth.passwd);
        break;
    case VIR_DOMAIN_GRAPHICS_TYPE_SDL:
        device->vfb.sdl = TRUE;
        device->vfb.display = g_strdup(graphics->data.sdl.display);
        device->vfb.xauthority = g_strdup(graphics->data.sdl.xauth);
        break;
    default:
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("<graphics type='%s'> is not supported: use vnc or sdl"),
                       virDomainGraphicsTypeToString(graphics->type));
        return NULL;
    }
    return g_steal_pointer(&device);
}

SeraiDevice *
xenConfHostdev(const virDomainHostdevDef *hostdev)
{
    SeraiDevice *device = serai_device_new(SERAI_DEVICE_PCI);

    device->pci.address = virPCIDeviceAddressAsString(&hostdev->source.subsys.u.pci.addr);
    device->pci.permissive = hostdev->writeFiltering == VIR_TRISTATE_BOOL_NO;
    return device;
}

static int
addDevice(SeraiConfig *config, SeraiDevice *device)
{
    if (!device)
        return -1;
    serai_config_add_device(config, device);
    return 0;
}

static int
buildDevices(const virDomainDef *def, SeraiConfig *config)
{
    size_t i;

    for (i = 0; i < def->ndisks; i++) {
        if (addDevice(config, xenConfDisk(def->disks[i])) < 0)
            return -1;
    }
    for (i = 0; i < def->nnets; i++) {
        if (addDevice(config, xenConfNic(def->nets[i])) < 0)
            return -1;
    }
    for (i = 0; i < def->nconsoles; i++) {
        if (addDevice(config, xenConfConsole(def->consoles[i])) < 0)
            return -1;
    }
    for (i = 0; i < def->nchannels; i++) {
        if (addDevice(config, xenConfConsole(def->channels[i])) < 0)
            return -1;
    }
    for (i = 0; i < def->ngraphics; i++) {
        if (addDevice(config, xenConfVfb(def->graphics[i])) < 0)
            return -1;
    }
    if (def->ngraphics > 0)
        serai_config_add_device(config, serai_device_new(SERAI_DEVICE_VKB));
    for (i = 0; i < def->nhostdevs; i++)
        serai_config_add_device(config, xenConfHostdev(def->hostdevs[i]));
    config->passthrough =
        def->nhostdevs > 0 || (def->features[VIR_DOMAIN_FEATURE_XEN] == VIR_TRISTATE_SWITCH_ON &&
                               def->xen_features[VIR_DOMAIN_XEN_PASSTHROUGH] == VIR_TRISTATE_SWITCH_ON);
    return 0;
}

static void
buildVcpus(const virDomainDef *def, SeraiConfig *config)
{
    g_autoptr(virBitmap) online = virDomainDefGetOnlineVcpumap(def);
    size_t i;

    config->max_vcpus = virDomainDefGetVcpusMax(def);
    config->vcpus = virDomainDefGetVcpus(def);
    if (def->individualvcpus)
        config->vcpus_online = xenConfBitmap(online);

    for (i = 0; i < def->maxvcpus; i++) {
        virBitmap *mask = def->vcpus[i]->cpumask ? def->vcpus[i]->cpumask : def->cpumask;
        g_autoptr(GBytes) cpus = xenConfBitmap(mask);

        if (cpus)
            serai_config_set_hard_affinity(config, i, cpus);
    }

    if (def->cputune.sharesSpecified)
        config->weight = def->cputune.shares;
    if (def->cputune.global_quota > 0)
        config->cap = def->cputune.global_quota * 100 /
                      (def->cputune.global_period ? def->cputune.global_period : XEN_CAP_PERIOD);
}

static void
buildNuma(const virDomainDef *def, SeraiConfig *config)
{
    size_t count = virDomainNumaGetNodeCount(def->numa);
    size_t i, j;

    config->nodes = xenConfBitmap(virDomainNumatuneGetNodeset(def->numa, NULL, -1));

    for (i = 0; i < count; i++) {
        SeraiVnumaNode *node = serai_vnuma_node_new();
        virBitmap *host = virDomainNumatuneGetNodeset(def->numa, NULL, i);

        node->memory_kib = virDomainNumaGetNodeMemorySize(def->numa, i);
        node->vcpus = xenConfBitmap(virDomainNumaGetNodeCpumask(def->numa, i));
        node->pnode = host ? virBitmapNextSetBit(host, -1) : -1;
        node->distances = g_array_sized_new(FALSE, FALSE, sizeof(guint), count);
        for (j = 0; j < count; j++) {
            guint distance = virDomainNumaGetNodeDistance(def->numa, i, j);

            g_array_append_val(node->distances, distance);
        }
        g_ptr_array_add(config->vnuma, node);
    }
}

static void
buildClock(const virDomainDef *def, SeraiConfig *config)
{
    const virDomainClockDef *clock = &def->clock;
    g_autoptr(GTimeZone) zone = NULL;
    g_autoptr(GDateTime) now = NULL;
    size_t i;

    switch (clock->offset) {
    case VIR_DOMAIN_CLOCK_OFFSET_LOCALTIME:
        now = g_date_time_new_now_local();
        config->localtime_offset = g_date_time_get_utc_offset(now) / G_USEC_PER_SEC;
        break;
    case VIR_DOMAIN_CLOCK_OFFSET_TIMEZONE:
        zone = g_time_zone_new_identifier(clock->data.timezone);
        if (zone) {
            now = g_date_time_new_now(zone);
            config->localtime_offset = g_date_time_get_utc_offset(now) / G_USEC_PER_SEC;
        }
        break;
    case VIR_DOMAIN_CLOCK_OFFSET_VARIABLE:
        config->localtime_offset = clock->data.variable.adjustment;
        if (clock->data.variable.basis == VIR_DOMAIN_CLOCK_BASIS_LOCALTIME) {
            now = g_date_time_new_now_local();
            config->localtime_offset += g_date_time_get_utc_offset(now) / G_USEC_PER_SEC;
        }
        break;
    case VIR_DOMAIN_CLOCK_OFFSET_ABSOLUTE:
        config->localtime_offset = (gint64)clock->data.starttime - g_get_real_time() / G_USEC_PER_SEC;
        break;
    default:
        break;
    }

    for (i = 0; i < clock->ntimers; i++) {
        if (clock->timers[i]->name != VIR_DOMAIN_TIMER_NAME_TSC)
            continue;
        if (clock->timers[i]->mode == VIR_DOMAIN_TIMER_MODE_EMULATE)
            config->tsc_mode = SERAI_TSC_EMULATE;
        else if (clock->timers[i]->mode == VIR_DOMAIN_TIMER_MODE_NATIVE)
            config->tsc_mode = SERAI_TSC_NATIVE;
    }
}

static void
buildXenbus(const virDomainDef *def, SeraiConfig *config)
{
    size_t i;

    for (i = 0; i < def->ncontrollers; i++) {
        const virDomainControllerDef *controller = def->controllers[i];

        if (controller->type != VIR_DOMAIN_CONTROLLER_TYPE_XENBUS)
            continue;
        if (controller->opts.xenbusopts.maxGrantFrames > 0)
            config->max_grant_frames = controller->opts.xenbusopts.maxGrantFrames;
        if (controller->opts.xenbusopts.maxEventChannels > 0)
            config->max_event_channels = controller->opts.xenbusopts.maxEventChannels;
    }
}

SeraiConfig *
xenConfBuild(const virDomainDef *def)
{
    g_autoptr(SeraiConfig) config = serai_config_new();
    g_autoptr(GError) error = NULL;
    char uuid[VIR_UUID_STRING_BUFLEN];

    virUUIDFormat(def->uuid, uuid);
    config->name = g_strdup(def->name);
    config->uuid = g_strdup(uuid);
    config->type = def->os.type == VIR_DOMAIN_OSTYPE_HVM      ? SERAI_DOMAIN_HVM
                   : def->os.type == VIR_DOMAIN_OSTYPE_XENPVH ? SERAI_DOMAIN_PVH
                                                              : SERAI_DOMAIN_PV;
    config->kernel = g_strdup(def->os.kernel);
    config->ramdisk = g_strdup(def->os.initrd);
    config->cmdline = g_strdup(def->os.cmdline);
    /* "pygrub" asks for the guest's own boot loader; ours runs inside the guest and needs no path. */
    if (def->os.bootloader && def->os.bootloader[0] == '/' && !strstr(def->os.bootloader, "pygrub"))
        config->bootloader = g_strdup(def->os.bootloader);

    config->max_memory_kib = virDomainDefGetMemoryTotal(def);
    config->memory_kib = def->mem.cur_balloon;
    config->emulator = g_strdup(def->emulator);
    config->on_poweroff = xenConfAction(def->onPoweroff);
    config->on_reboot = xenConfAction(def->onReboot);
    config->on_crash = xenConfAction(def->onCrash);
    config->on_watchdog = config->on_crash;

    buildVcpus(def, config);
    buildNuma(def, config);
    buildClock(def, config);
    buildXenbus(def, config);
    if (buildDevices(def, config) < 0)
        return NULL;

    if (!serai_config_check(config, &error)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("domain '%s': %s"), def->name, error->message);
        return NULL;
    }
    return g_steal_pointer(&config);
}
