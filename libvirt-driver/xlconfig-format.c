/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A definition to xl.cfg, and the two entries for both directions.
 *
 * Keys stand in one order, each only when it says something that is not the default, so that the text of
 * one definition is always the same.
 */
#include "entries.h"
#include "postparse.h"
#include "xlconfig.h"

#include "virbuffer.h"
#include "nwfilter_params.h"
#include "viraccessapicheck.h"
#include "virmacaddr.h"
#include "virnetdevvportprofile.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_XENXL

#define XEN_NATIVE_XL "xen-xl"
#define XEN_NATIVE_XM "xen-xm"

static int
refuse(const char *element)
{
    virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("<%s> has no counterpart in xl.cfg"), element);
    return -1;
}

static int
unwritable(const char *value)
{
    virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("'%s' cannot be written in xl.cfg"), value);
    return -1;
}

/* xl.cfg knows no escapes; a text with both kinds of quotes cannot be written. */
static int
addString(virBuffer *buf, const char *key, const char *value)
{
    if (!value)
        return 0;
    if (strchr(value, '\n') || (strchr(value, '"') && strchr(value, '\'')))
        return unwritable(value);
    if (strchr(value, '"'))
        virBufferAsprintf(buf, "%s = '%s'\n", key, value);
    else
        virBufferAsprintf(buf, "%s = \"%s\"\n", key, value);
    return 0;
}

/* A part of an item of a list; a comma would end it. */
static int
addField(virBuffer *buf, const char *key, const char *value)
{
    if (!value)
        return 0;
    if (strchr(value, ','))
        return unwritable(value);
    virBufferAsprintf(buf, "%s%s=%s", virBufferUse(buf) > 0 ? "," : "", key, value);
    return 0;
}

static int
addList(virBuffer *buf, const char *key, GPtrArray *items)
{
    size_t i;

    if (items->len == 0)
        return 0;
    virBufferAsprintf(buf, "%s = [ ", key);
    for (i = 0; i < items->len; i++) {
        const char *item = g_ptr_array_index(items, i);

        if (strpbrk(item, "\"\n"))
            return unwritable(item);
        virBufferAsprintf(buf, "%s\"%s\"", i > 0 ? ", " : "", item);
    }
    virBufferAddLit(buf, " ]\n");
    return 0;
}

static int
formatVcpus(virBuffer *buf, const virDomainDef *def)
{
    g_autofree char *cpus = def->cpumask ? virBitmapFormat(def->cpumask) : NULL;
    g_autoptr(GPtrArray) pins = g_ptr_array_new_with_free_func(g_free);
    bool pinned = false;
    size_t i;

    virBufferAsprintf(buf, "vcpus = %u\n", virDomainDefGetVcpus(def));
    if (virDomainDefGetVcpusMax(def) != virDomainDefGetVcpus(def))
        virBufferAsprintf(buf, "maxvcpus = %u\n", virDomainDefGetVcpusMax(def));
    for (i = 0; i < def->maxvcpus; i++)
        pinned |= def->vcpus[i]->cpumask != NULL;
    if (pinned) {
        for (i = 0; i < def->maxvcpus; i++) {
            virBitmap *mask = def->vcpus[i]->cpumask ? def->vcpus[i]->cpumask : def->cpumask;

            g_ptr_array_add(pins, mask ? virBitmapFormat(mask) : g_strdup("all"));
        }
        if (addList(buf, "cpus", pins) < 0)
            return -1;
    } else if (addString(buf, "cpus", cpus) < 0) {
        return -1;
    }
    if (def->cputune.sharesSpecified)
        virBufferAsprintf(buf, "cpu_weight = %llu\n", def->cputune.shares);
    if (def->cputune.global_quota > 0)
        virBufferAsprintf(buf, "cap = %lld\n",
                          def->cputune.global_quota * 100 /
                              (long long)(def->cputune.global_period ? def->cputune.global_period : 100000));
    return 0;
}

static int
formatClock(virBuffer *buf, const virDomainDef *def)
{
    size_t i;

    switch (def->clock.offset) {
    case VIR_DOMAIN_CLOCK_OFFSET_UTC:
        break;
    case VIR_DOMAIN_CLOCK_OFFSET_LOCALTIME:
        virBufferAddLit(buf, "localtime = 1\n");
        break;
    case VIR_DOMAIN_CLOCK_OFFSET_VARIABLE:
        if (def->clock.data.variable.basis == VIR_DOMAIN_CLOCK_BASIS_LOCALTIME)
            virBufferAddLit(buf, "localtime = 1\n");
        virBufferAsprintf(buf, "rtc_timeoffset = %lld\n", def->clock.data.variable.adjustment);
        break;
    default:
        return refuse("clock");
    }
    for (i = 0; i < def->clock.ntimers; i++) {
        if (def->clock.timers[i]->name != VIR_DOMAIN_TIMER_NAME_TSC)
            continue;
        if (def->clock.timers[i]->mode == VIR_DOMAIN_TIMER_MODE_NATIVE)
            virBufferAddLit(buf, "tsc_mode = \"native\"\n");
        else if (def->clock.timers[i]->mode == VIR_DOMAIN_TIMER_MODE_EMULATE)
            virBufferAddLit(buf, "tsc_mode = \"always_emulate\"\n");
    }
    return 0;
}

static void
formatXenbus(virBuffer *buf, const virDomainDef *def)
{
    size_t i;

    for (i = 0; i < def->ncontrollers; i++) {
        const virDomainControllerDef *controller = def->controllers[i];

        if (controller->type != VIR_DOMAIN_CONTROLLER_TYPE_XENBUS)
            continue;
        if (controller->opts.xenbusopts.maxGrantFrames > 0)
            virBufferAsprintf(buf, "max_grant_frames = %d\n", controller->opts.xenbusopts.maxGrantFrames);
        if (controller->opts.xenbusopts.maxEventChannels > 0)
            virBufferAsprintf(buf, "max_event_channels = %d\n", controller->opts.xenbusopts.maxEventChannels);
    }
}

static char *
formatDisk(const virDomainDiskDef *disk)
{
    const char *format = virStorageFileFormatTypeToString(disk->src->format);
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;
    const char *path = virDomainDiskGetSource(disk);

    if (disk->src->type != VIR_STORAGE_TYPE_FILE && disk->src->type != VIR_STORAGE_TYPE_BLOCK &&
        disk->src->type != VIR_STORAGE_TYPE_NONE) {
        refuse("source");
        return NULL;
    }
    if (disk->src->encryption) {
        refuse("encryption");
        return NULL;
    }
    if (disk->src->format == VIR_STORAGE_FILE_VPC)
        format = "vhd";
    virBufferAsprintf(&buf, "format=%s,vdev=%s,access=%s", disk->src->format > 0 ? format : "raw", disk->dst,
                      disk->src->shared     ? "!"
                      : disk->src->readonly ? "ro"
                                            : "rw");
    if (disk->device == VIR_DOMAIN_DISK_DEVICE_CDROM)
        virBufferAddLit(&buf, ",cdrom");
    if (disk->discard == VIR_DOMAIN_DISK_DISCARD_UNMAP)
        virBufferAddLit(&buf, ",discard");
    if (disk->domain_name)
        virBufferAsprintf(&buf, ",backend=%s", disk->domain_name);
    if (path)
        virBufferAsprintf(&buf, ",target=%s", path);
    return virBufferContentAndReset(&buf);
}

/* The bridge of the network at this moment; whoever reads xl.cfg knows no networks of libvirt. */
static char *
networkBridge(const char *name)
{
    g_autoptr(virConnect) conn = virGetConnectNetwork();
    g_autoptr(virNetwork) network = conn ? virNetworkLookupByName(conn, name) : NULL;

    return network ? virNetworkGetBridgeName(network) : NULL;
}

/* "BRIDGE.TAG:TRUNK:TRUNK", as the script for Open vSwitch reads it. */
static char *
ovsBridge(const char *bridge, const virNetDevVlan *vlan)
{
    bool native = vlan->nativeMode != VIR_NATIVE_VLAN_MODE_DEFAULT;
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;
    int i;

    virBufferAdd(&buf, bridge, -1);
    if (vlan->nTags == 1 && !vlan->trunk) {
        virBufferAsprintf(&buf, ".%u", vlan->tag[0]);
        return virBufferContentAndReset(&buf);
    }
    if (native)
        virBufferAsprintf(&buf, ".%u", vlan->nativeTag);
    for (i = 0; i < vlan->nTags; i++) {
        if (!native || vlan->tag[i] != vlan->nativeTag)
            virBufferAsprintf(&buf, ":%u", vlan->tag[i]);
    }
    return virBufferContentAndReset(&buf);
}

static int
formatBridge(virBuffer *buf, const virDomainNetDef *net, const char *bridge)
{
    g_autofree char *tagged = NULL;

    if (net->virtPortProfile && net->virtPortProfile->virtPortType == VIR_NETDEV_VPORT_PROFILE_OPENVSWITCH) {
        tagged = ovsBridge(bridge, &net->vlan);
        return addField(buf, "bridge", tagged) < 0 ? -1 : addField(buf, "script", "vif-openvswitch");
    }
    if (net->vlan.nTags > 0)
        return refuse("vlan");
    return addField(buf, "bridge", bridge);
}

char *
xenXLConfigAddresses(const virDomainNetDef *net)
{
    virNWFilterVarValue *value = net->filterparams ? virHashLookup(net->filterparams, "IP") : NULL;
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;
    unsigned int i;

    if (!value || STRNEQ(net->filter, XEN_ADDRESS_FILTER))
        return NULL;
    for (i = 0; i < virNWFilterVarValueGetCardinality(value); i++)
        virBufferAsprintf(&buf, "%s%s", i > 0 ? " " : "", virNWFilterVarValueGetNthValue(value, i));
    return virBufferContentAndReset(&buf);
}

static char *
formatVif(const virDomainNetDef *net)
{
    g_autofree char *addresses = xenXLConfigAddresses(net);
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;
    g_autofree char *bridge = NULL;
    char mac[VIR_MAC_STRING_BUFLEN];

    virBufferAsprintf(&buf, "mac=%s", virMacAddrFormat(&net->mac, mac));
    switch (net->type) {
    case VIR_DOMAIN_NET_TYPE_BRIDGE:
    case VIR_DOMAIN_NET_TYPE_NETWORK:
        bridge = net->type == VIR_DOMAIN_NET_TYPE_BRIDGE ? g_strdup(net->data.bridge.brname)
                                                         : networkBridge(net->data.network.name);
        if (!bridge || formatBridge(&buf, net, bridge) < 0)
            return NULL;
        break;
    case VIR_DOMAIN_NET_TYPE_ETHERNET:
        break;
    default:
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("<interface type='%s'> has no counterpart in xl.cfg"),
                       virDomainNetTypeToString(net->type));
        return NULL;
    }
    if (addField(&buf, "ip", addresses) < 0 || addField(&buf, "vifname", net->ifname) < 0)
        return NULL;
    if (net->mtu)
        virBufferAsprintf(&buf, ",mtu=%u", net->mtu);
    if (net->bandwidth && net->bandwidth->out)
        virBufferAsprintf(&buf, ",rate=%lluKB/s", net->bandwidth->out->average);
    if (addField(&buf, "backend", net->domain_name) < 0)
        return NULL;
    return virBufferContentAndReset(&buf);
}

static char *
formatVfb(const virDomainGraphicsDef *graphics)
{
    const virDomainGraphicsListenDef *listen =
        virDomainGraphicsGetListen((virDomainGraphicsDef *)graphics, 0);
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;

    if (graphics->type == VIR_DOMAIN_GRAPHICS_TYPE_SDL) {
        virBufferAddLit(&buf, "sdl=1");
        if (addField(&buf, "display", graphics->data.sdl.display) < 0 ||
            addField(&buf, "xauthority", graphics->data.sdl.xauth) < 0)
            return NULL;
        return virBufferContentAndReset(&buf);
    }
    virBufferAddLit(&buf, "vnc=1");
    if (graphics->data.vnc.autoport)
        virBufferAddLit(&buf, ",vncunused=1");
    else
        virBufferAsprintf(&buf, ",vncunused=0,vncdisplay=%d", graphics->data.vnc.port - 5900);
    if (addField(&buf, "vnclisten", listen ? listen->address : NULL) < 0 ||
        addField(&buf, "vncpasswd", graphics->data.vnc.auth.passwd) < 0 ||
        addField(&buf, "keymap", graphics->data.vnc.keymap) < 0)
        return NULL;
    return virBufferContentAndReset(&buf);
}

static char *
formatChannel(const virDomainChrDef *chr)
{
    bool socket = chr->source->type == VIR_DOMAIN_CHR_TYPE_UNIX;
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;

    virBufferAsprintf(&buf, "connection=%s", socket ? "socket" : "pty");
    if (addField(&buf, "path", socket ? NULLSTR_EMPTY(chr->source->data.nix.path) : NULL) < 0 ||
        addField(&buf, "name", chr->target.name) < 0)
        return NULL;
    return virBufferContentAndReset(&buf);
}

static int
formatDevices(virBuffer *buf, const virDomainDef *def)
{
    const struct {
        const char *key;
        size_t count;
    } lists[] = {
        {"vif", def->nnets}, {"disk", def->ndisks}, {"vfb", def->ngraphics}, {"channel", def->nchannels}};
    size_t i, j;

    for (i = 0; i < G_N_ELEMENTS(lists); i++) {
        g_autoptr(GPtrArray) items = g_ptr_array_new_with_free_func(g_free);

        for (j = 0; j < lists[i].count; j++) {
            char *item = i == 0   ? formatVif(def->nets[j])
                         : i == 1 ? formatDisk(def->disks[j])
                         : i == 2 ? formatVfb(def->graphics[j])
                                  : formatChannel(def->channels[j]);

            if (!item)
                return -1;
            g_ptr_array_add(items, item);
        }
        if (addList(buf, lists[i].key, items) < 0)
            return -1;
    }
    return 0;
}

char *
xenXLConfigFormat(const virDomainDef *def)
{
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;
    char uuid[VIR_UUID_STRING_BUFLEN];

    virUUIDFormat(def->uuid, uuid);
    if (addString(&buf, "name", def->name) < 0 || addString(&buf, "uuid", uuid) < 0)
        return NULL;
    virBufferAddLit(&buf, "type = \"pv\"\n");
    virBufferAsprintf(&buf, "maxmem = %llu\n", VIR_DIV_UP(virDomainDefGetMemoryTotal(def), 1024));
    virBufferAsprintf(&buf, "memory = %llu\n", VIR_DIV_UP(def->mem.cur_balloon, 1024));
    if (formatVcpus(&buf, def) < 0 || formatClock(&buf, def) < 0)
        return NULL;
    virBufferAsprintf(&buf, "on_poweroff = \"%s\"\n", virDomainLifecycleActionTypeToString(def->onPoweroff));
    virBufferAsprintf(&buf, "on_reboot = \"%s\"\n", virDomainLifecycleActionTypeToString(def->onReboot));
    virBufferAsprintf(&buf, "on_crash = \"%s\"\n", virDomainLifecycleActionTypeToString(def->onCrash));
    formatXenbus(&buf, def);
    xenXLConfigFormatVnuma(&buf, def);
    if (addString(&buf, "kernel", def->os.kernel) < 0 || addString(&buf, "ramdisk", def->os.initrd) < 0 ||
        addString(&buf, "cmdline", def->os.cmdline) < 0 ||
        addString(&buf, "bootloader", def->os.bootloader) < 0 ||
        addString(&buf, "bootloader_args", def->os.bootloaderArgs) < 0 ||
        addString(&buf, "device_model_override", def->emulator) < 0)
        return NULL;
    if (formatDevices(&buf, def) < 0)
        return NULL;
    xenXLConfigNameLost(def);
    return virBufferContentAndReset(&buf);
}

static int
checkFormat(const char *format)
{
    /* Both names stand for one syntax, the older being a part of it. */
    if (STREQ(format, XEN_NATIVE_XL) || STREQ(format, XEN_NATIVE_XM))
        return 0;
    virReportError(VIR_ERR_INVALID_ARG, _("configurations of format '%s' are not known: use '%s'"), format,
                   XEN_NATIVE_XL);
    return -1;
}

char *
xenConnectDomainXMLFromNative(virConnectPtr conn, const char *format, const char *config, unsigned int flags)
{
    xenDriver *driver = conn->privateData;
    g_autoptr(virDomainDef) def = NULL;

    virCheckFlags(0, NULL);

    if (virConnectDomainXMLFromNativeEnsureACL(conn) < 0 || checkFormat(format) < 0)
        return NULL;
    def = xenXLConfigParse(driver, config);
    return def ? virDomainDefFormat(def, driver->xmlopt,
                                    VIR_DOMAIN_DEF_FORMAT_INACTIVE | VIR_DOMAIN_DEF_FORMAT_SECURE)
               : NULL;
}

char *
xenConnectDomainXMLToNative(virConnectPtr conn, const char *format, const char *xml, unsigned int flags)
{
    xenDriver *driver = conn->privateData;
    g_autoptr(virDomainDef) def = NULL;

    virCheckFlags(0, NULL);

    if (virConnectDomainXMLToNativeEnsureACL(conn) < 0 || checkFormat(format) < 0)
        return NULL;
    def = xenPostParseString(xml, driver->xmlopt, VIR_DOMAIN_DEF_PARSE_INACTIVE);
    return def ? xenXLConfigFormat(def) : NULL;
}
