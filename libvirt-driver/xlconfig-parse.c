/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xl.cfg to a definition.
 *
 * The file is read by libvirt's own reader, as keys with a string, a number or a list.  Each group of keys
 * has a function; at the end every key that no function knows is named in the log.
 */
#include "xlconfig.h"

#include "domain_postparse.h"
#include "nwfilter_params.h"
#include "virmacaddr.h"
#include "virnetdevvportprofile.h"
#include "virtime.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_XENXL

VIR_LOG_INIT("serai.xlconfig");

static const char *known_keys[] = {
    "name",
    "uuid",
    "type",
    "builder",
    "kernel",
    "ramdisk",
    "cmdline",
    "root",
    "extra",
    "bootloader",
    "bootloader_args",
    "memory",
    "maxmem",
    "vcpus",
    "maxvcpus",
    "cpus",
    "cpu_weight",
    "cap",
    "on_poweroff",
    "on_reboot",
    "on_crash",
    "on_shutdown",
    "localtime",
    "rtc_timeoffset",
    "tsc_mode",
    "max_grant_frames",
    "max_event_channels",
    "disk",
    "vif",
    "vfb",
    "vnuma",
    "channel",
    "device_model_override",
};

int
xenXLConfigBad(const char *key, const char *value)
{
    virReportError(VIR_ERR_CONF_SYNTAX, _("'%s' of xl.cfg cannot be '%s'"), key, value);
    return -1;
}

/* "key=value" of a comma-separated specification, in place; NULL at the end. */
static char *
nextField(char **rest, char **ret_value)
{
    char *field = *rest;
    char *comma;
    char *equals;

    if (!field || !*field)
        return NULL;
    comma = strchr(field, ',');
    if (comma) {
        *comma = '\0';
        *rest = comma + 1;
    } else {
        *rest = NULL;
    }
    g_strstrip(field);
    equals = strchr(field, '=');
    *ret_value = NULL;
    if (equals) {
        *equals = '\0';
        *ret_value = g_strstrip(equals + 1);
        g_strchomp(field);
    }
    return field;
}

static int
parseIdentity(virConf *conf, virDomainDef *def)
{
    g_autofree char *uuid = NULL;
    g_autofree char *type = NULL;
    g_autofree char *builder = NULL;

    if (virConfGetValueString(conf, "name", &def->name) < 0 ||
        virConfGetValueString(conf, "uuid", &uuid) < 0 || virConfGetValueString(conf, "type", &type) < 0 ||
        virConfGetValueString(conf, "builder", &builder) < 0)
        return -1;
    if (!def->name) {
        virReportError(VIR_ERR_CONF_SYNTAX, "%s", _("xl.cfg has no 'name'"));
        return -1;
    }
    if (uuid ? virUUIDParse(uuid, def->uuid) < 0 : virUUIDGenerate(def->uuid) < 0)
        return uuid ? xenXLConfigBad("uuid", uuid) : -1;

    /* HVM and PVH guests wait for the library to build them. */
    if (type && STRNEQ(type, "pv"))
        return xenXLConfigBad("type", type);
    if (builder && STRNEQ(builder, "generic") && STRNEQ(builder, "linux"))
        return xenXLConfigBad("builder", builder);
    return 0;
}

static int
parseKernel(virConf *conf, virDomainDef *def)
{
    g_autofree char *root = NULL;
    g_autofree char *extra = NULL;

    if (virConfGetValueString(conf, "kernel", &def->os.kernel) < 0 ||
        virConfGetValueString(conf, "ramdisk", &def->os.initrd) < 0 ||
        virConfGetValueString(conf, "cmdline", &def->os.cmdline) < 0 ||
        virConfGetValueString(conf, "root", &root) < 0 || virConfGetValueString(conf, "extra", &extra) < 0 ||
        virConfGetValueString(conf, "bootloader", &def->os.bootloader) < 0 ||
        virConfGetValueString(conf, "bootloader_args", &def->os.bootloaderArgs) < 0 ||
        virConfGetValueString(conf, "device_model_override", &def->emulator) < 0)
        return -1;
    if (!def->os.cmdline && root)
        def->os.cmdline = g_strdup_printf("root=%s%s%s", root, extra ? " " : "", extra ? extra : "");
    else if (!def->os.cmdline && extra)
        def->os.cmdline = g_steal_pointer(&extra);
    return 0;
}

static int
parseMemory(virConf *conf, virDomainDef *def)
{
    unsigned long long memory = 32;
    unsigned long long maxmem;

    if (virConfGetValueULLong(conf, "memory", &memory) < 0)
        return -1;
    maxmem = memory;
    if (virConfGetValueULLong(conf, "maxmem", &maxmem) < 0)
        return -1;
    if (maxmem < memory || maxmem > 16ULL * 1024 * 1024) {
        virReportError(VIR_ERR_CONF_SYNTAX, "%s",
                       _("'maxmem' of xl.cfg is smaller than 'memory', or too large"));
        return -1;
    }
    def->mem.cur_balloon = memory * 1024;
    virDomainDefSetMemoryTotal(def, maxmem * 1024);
    return 0;
}

static int
parsePins(virConf *conf, virDomainDef *def)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) list = NULL;
    size_t i;

    if (virConfGetValueType(conf, "cpus") == VIR_CONF_LIST) {
        if (virConfGetValueStringList(conf, "cpus", false, &list) < 0)
            return -1;
        for (i = 0; list && list[i]; i++) {
            virDomainVcpuDef *vcpu = virDomainDefGetVcpu(def, i);

            if (!vcpu || virBitmapParse(list[i], &vcpu->cpumask, VIR_DOMAIN_CPUMASK_LEN) < 0)
                return xenXLConfigBad("cpus", list[i]);
        }
        return 0;
    }
    if (virConfGetValueString(conf, "cpus", &text) < 0)
        return -1;
    if (text && STRNEQ(text, "all") && virBitmapParse(text, &def->cpumask, VIR_DOMAIN_CPUMASK_LEN) < 0)
        return xenXLConfigBad("cpus", text);
    return 0;
}

static int
parseVcpus(virConf *conf, virDomainDef *def, virDomainXMLOption *xmlopt)
{
    unsigned int vcpus = 1;
    unsigned int maximum;
    unsigned int cap = 0;
    unsigned long long weight = 0;

    if (virConfGetValueUInt(conf, "vcpus", &vcpus) < 0)
        return -1;
    maximum = vcpus;
    if (virConfGetValueUInt(conf, "maxvcpus", &maximum) < 0 || virConfGetValueUInt(conf, "cap", &cap) < 0 ||
        virConfGetValueULLong(conf, "cpu_weight", &weight) < 0)
        return -1;
    if (vcpus == 0 || maximum < vcpus || maximum > 4096) {
        virReportError(VIR_ERR_CONF_SYNTAX, "%s",
                       _("'maxvcpus' of xl.cfg is smaller than 'vcpus', or out of range"));
        return -1;
    }
    if (virDomainDefSetVcpusMax(def, maximum, xmlopt) < 0 || virDomainDefSetVcpus(def, vcpus) < 0)
        return -1;
    if (weight > 0) {
        def->cputune.shares = weight;
        def->cputune.sharesSpecified = true;
    }
    if (cap > 0) {
        def->cputune.global_period = 100000;
        def->cputune.global_quota = (long long)cap * 1000;
    }
    return parsePins(conf, def);
}

static int
parseAction(virConf *conf, const char *key, int *action)
{
    g_autofree char *text = NULL;
    int value;

    if (virConfGetValueString(conf, key, &text) < 0)
        return -1;
    if (!text)
        return 0;
    value = virDomainLifecycleActionTypeFromString(text);
    if (value < 0)
        return xenXLConfigBad(key, text);
    *action = value;
    return 0;
}

static int
parseClock(virConf *conf, virDomainDef *def)
{
    g_autofree char *tsc = NULL;
    bool localtime = false;
    int offset = 0;
    virDomainTimerDef *timer;

    if (virConfGetValueBool(conf, "localtime", &localtime) < 0 ||
        virConfGetValueInt(conf, "rtc_timeoffset", &offset) < 0)
        return -1;
    if (offset != 0) {
        def->clock.offset = VIR_DOMAIN_CLOCK_OFFSET_VARIABLE;
        def->clock.data.variable.adjustment = offset;
        def->clock.data.variable.basis =
            localtime ? VIR_DOMAIN_CLOCK_BASIS_LOCALTIME : VIR_DOMAIN_CLOCK_BASIS_UTC;
    } else {
        def->clock.offset = localtime ? VIR_DOMAIN_CLOCK_OFFSET_LOCALTIME : VIR_DOMAIN_CLOCK_OFFSET_UTC;
    }

    if (virConfGetValueString(conf, "tsc_mode", &tsc) < 0)
        return -1;
    if (!tsc || STREQ(tsc, "default"))
        return 0;
    timer = g_new0(virDomainTimerDef, 1);
    timer->name = VIR_DOMAIN_TIMER_NAME_TSC;
    timer->present = VIR_TRISTATE_BOOL_YES;
    VIR_APPEND_ELEMENT(def->clock.timers, def->clock.ntimers, timer);
    timer = def->clock.timers[def->clock.ntimers - 1];
    if (STREQ(tsc, "always_emulate"))
        timer->mode = VIR_DOMAIN_TIMER_MODE_EMULATE;
    else if (STREQ(tsc, "native"))
        timer->mode = VIR_DOMAIN_TIMER_MODE_NATIVE;
    else
        return xenXLConfigBad("tsc_mode", tsc);
    return 0;
}

static int
parseXenbus(virConf *conf, virDomainDef *def)
{
    int frames = -1;
    int channels = -1;
    virDomainControllerDef *controller;

    if (virConfGetValueInt(conf, "max_grant_frames", &frames) < 0 ||
        virConfGetValueInt(conf, "max_event_channels", &channels) < 0)
        return -1;
    controller = virDomainDefAddController(def, VIR_DOMAIN_CONTROLLER_TYPE_XENBUS, -1, -1);
    if (!controller)
        return -1;
    controller->opts.xenbusopts.maxGrantFrames = frames;
    controller->opts.xenbusopts.maxEventChannels = channels;
    return 0;
}

static int
diskAccess(virDomainDiskDef *disk, const char *access)
{
    if (STREQ(access, "r") || STREQ(access, "ro"))
        disk->src->readonly = true;
    else if (STREQ(access, "w!") || STREQ(access, "!"))
        disk->src->shared = true;
    else if (STRNEQ(access, "w") && STRNEQ(access, "rw"))
        return xenXLConfigBad("disk", access);
    return 0;
}

static int
diskFormat(virDomainDiskDef *disk, const char *format)
{
    if (STREQ(format, "vhd"))
        format = "vpc";
    if (STREQ(format, "phy") || STREQ(format, "file") || STREQ(format, "aio"))
        format = "raw";
    disk->src->format = virStorageFileFormatTypeFromString(format);
    return disk->src->format <= 0 ? xenXLConfigBad("disk", format) : 0;
}

/* "phy:/dev/vg/lv", "file:/x", "tap:aio:/x": words before the path, of an older syntax. */
static int
diskTarget(virDomainDiskDef *disk, const char *target)
{
    const char *path = target;

    while (*path != '/' && strchr(path, ':')) {
        g_autofree char *word = g_strndup(path, strchr(path, ':') - path);

        path = strchr(path, ':') + 1;
        if (STRNEQ(word, "tap") && STRNEQ(word, "tap2") && STRNEQ(word, "phy") && STRNEQ(word, "file") &&
            diskFormat(disk, word) < 0)
            return -1;
    }
    if (*path == '\0')
        return 0;
    disk->src->type = STRPREFIX(path, "/dev/") ? VIR_STORAGE_TYPE_BLOCK : VIR_STORAGE_TYPE_FILE;
    disk->src->path = g_strdup(path);
    return 0;
}

static int
diskVdev(virDomainDiskDef *disk, char *vdev)
{
    char *suffix = strchr(vdev, ':');

    if (suffix) {
        *suffix = '\0';
        if (STREQ(suffix + 1, "cdrom"))
            disk->device = VIR_DOMAIN_DISK_DEVICE_CDROM;
        else if (STRNEQ(suffix + 1, "disk"))
            return xenXLConfigBad("disk", suffix + 1);
    }
    disk->dst = g_strdup(vdev);
    return 0;
}

static int
diskField(virDomainDiskDef *disk, const char *key, char *value)
{
    if (STREQ(key, "format"))
        return diskFormat(disk, value);
    if (STREQ(key, "vdev"))
        return diskVdev(disk, value);
    if (STREQ(key, "access"))
        return diskAccess(disk, value);
    if (STREQ(key, "backend")) {
        disk->domain_name = g_strdup(value);
        return 0;
    }
    if (STREQ(key, "devtype")) {
        if (STREQ(value, "cdrom"))
            disk->device = VIR_DOMAIN_DISK_DEVICE_CDROM;
        return 0;
    }
    /* Who serves a disk follows from its format here. */
    if (STREQ(key, "backendtype"))
        return 0;
    return xenXLConfigBad("disk", key);
}

static int
parseDisk(const char *text, virDomainDef *def, virDomainXMLOption *xmlopt)
{
    /* TARGET, FORMAT, VDEV, ACCESS may stand without their names, in this order. */
    const char *positional[] = {"target", "format", "vdev", "access"};
    g_autoptr(virDomainDiskDef) disk = virDomainDiskDefNew(xmlopt);
    g_autofree char *copy = g_strdup(text);
    char *rest = copy;
    size_t position = 0;

    if (!disk)
        return -1;
    disk->bus = VIR_DOMAIN_DISK_BUS_XEN;
    disk->src->format = VIR_STORAGE_FILE_RAW;
    disk->src->type = VIR_STORAGE_TYPE_FILE;

    while (rest && *rest) {
        char *target = STRPREFIX(rest, "target=") ? rest + strlen("target=") : NULL;
        char *value;
        char *field;

        /* "target=" takes what is left of the line, commas and all. */
        if (target) {
            if (diskTarget(disk, g_strstrip(target)) < 0)
                return -1;
            break;
        }
        field = nextField(&rest, &value);
        while (rest && *rest == ' ')
            rest++;
        if (!field)
            break;
        if (!value && (STREQ(field, "r") || STREQ(field, "w") || STREQ(field, "rw") || STREQ(field, "ro") ||
                       STREQ(field, "w!"))) {
            if (diskAccess(disk, field) < 0)
                return -1;
        } else if (!value && STREQ(field, "cdrom")) {
            disk->device = VIR_DOMAIN_DISK_DEVICE_CDROM;
        } else if (!value && STREQ(field, "discard")) {
            disk->discard = VIR_DOMAIN_DISK_DISCARD_UNMAP;
        } else if (!value) {
            /* The older form leaves the format out: "phy:/dev/x,xvda,w". */
            if (position == 1 && virStorageFileFormatTypeFromString(field) <= 0 && STRNEQ(field, "vhd"))
                position = *field ? 2 : 1;
            if (position >= G_N_ELEMENTS(positional))
                return xenXLConfigBad("disk", text);
            if (*field &&
                (position == 0 ? diskTarget(disk, field) : diskField(disk, positional[position], field)) < 0)
                return -1;
            position++;
        } else if (diskField(disk, field, value) < 0) {
            return -1;
        }
    }
    if (!disk->dst)
        return xenXLConfigBad("disk", text);
    virDomainDiskInsert(def, g_steal_pointer(&disk));
    return 0;
}

static int
vifRate(virDomainNetDef *net, const char *rate)
{
    unsigned long long value;
    char *unit;

    if (virStrToLong_ull(rate, &unit, 10, &value) < 0)
        return xenXLConfigBad("vif", rate);
    /* libvirt counts kilobytes in a second; xl knows bits and bytes, K, M and G, and intervals that we
     * ignore. */
    switch (*unit) {
    case 'G':
        value *= 1000 * 1000;
        unit++;
        break;
    case 'M':
        value *= 1000;
        unit++;
        break;
    case 'K':
        unit++;
        break;
    default:
        value /= 1000;
        break;
    }
    if (*unit == 'b')
        value /= 8;
    net->bandwidth = g_new0(virNetDevBandwidth, 1);
    net->bandwidth->out = g_new0(virNetDevBandwidthRate, 1);
    net->bandwidth->out->average = value;
    return 0;
}

/* "BRIDGE.TAG:TRUNK:TRUNK" */
static int
vifOvs(virDomainNetDef *net, const char *bridge)
{
    g_auto(GStrv) words = g_strsplit(bridge, ":", -1);
    size_t count = g_strv_length(words) - 1;
    char *dot = strrchr(words[0], '.');
    virNetDevVlan *vlan = &net->vlan;
    size_t i;

    vlan->tag = g_new0(unsigned int, count + 1);
    if (dot && virStrToLong_uip(dot + 1, NULL, 10, &vlan->tag[0]) == 0) {
        *dot = '\0';
        vlan->nTags = 1;
        if (count > 0) {
            vlan->nativeMode = VIR_NATIVE_VLAN_MODE_UNTAGGED;
            vlan->nativeTag = vlan->tag[0];
        }
    }
    for (i = 1; i <= count; i++) {
        if (virStrToLong_uip(words[i], NULL, 10, &vlan->tag[vlan->nTags]) < 0)
            return xenXLConfigBad("vif", bridge);
        vlan->nTags++;
    }
    vlan->trunk = count > 0;
    for (i = 0; i < (size_t)vlan->nTags; i++) {
        if (vlan->tag[i] > 4095)
            return xenXLConfigBad("vif", bridge);
    }
    net->data.bridge.brname = g_strdup(words[0]);
    net->virtPortProfile = g_new0(virNetDevVPortProfile, 1);
    net->virtPortProfile->virtPortType = VIR_NETDEV_VPORT_PROFILE_OPENVSWITCH;
    return 0;
}

static int
vifAddresses(virDomainNetDef *net, const char *text)
{
    g_auto(GStrv) words = g_strsplit(text, " ", -1);
    virNWFilterVarValue *addresses = NULL;
    size_t i;

    net->filter = g_strdup(XEN_ADDRESS_FILTER);
    net->filterparams = virHashNew(virNWFilterVarValueHashFree);
    for (i = 0; words[i]; i++) {
        if (!*words[i])
            continue;
        /* The filter knows addresses of IPv4, and no networks. */
        if (!g_hostname_is_ip_address(words[i]) || strchr(words[i], ':'))
            return xenXLConfigBad("vif", words[i]);
        if (addresses) {
            if (virNWFilterVarValueAddValueCopy(addresses, words[i]) < 0)
                return -1;
            continue;
        }
        addresses = virNWFilterVarValueCreateSimpleCopyValue(words[i]);
        if (!addresses || virHashAddEntry(net->filterparams, "IP", addresses) < 0)
            return -1;
    }
    return addresses ? 0 : xenXLConfigBad("vif", text);
}

/* Bridges are joined without a script; one that is not for a bridge does what we cannot know. */
static int
vifScript(const char *script, bool *ret_ovs)
{
    const char *name = strrchr(script, '/') ? strrchr(script, '/') + 1 : script;

    *ret_ovs = STREQ(name, "vif-openvswitch");
    return *ret_ovs || STREQ(name, "vif-bridge") ? 0 : xenXLConfigBad("vif", script);
}

static int
parseVif(const char *text, virDomainDef *def, virDomainXMLOption *xmlopt)
{
    g_autoptr(virDomainNetDef) net = virDomainNetDefNew(xmlopt);
    g_autofree char *copy = g_strdup(text);
    const char *bridge = NULL;
    bool haveMac = false;
    bool ovs = false;
    char *rest = copy;
    char *value;
    char *key;

    if (!net)
        return -1;
    net->type = VIR_DOMAIN_NET_TYPE_ETHERNET;
    while ((key = nextField(&rest, &value))) {
        if (!value)
            continue;
        if (STREQ(key, "mac")) {
            if (virMacAddrParse(value, &net->mac) < 0)
                return xenXLConfigBad("vif", value);
            haveMac = true;
        } else if (STREQ(key, "bridge")) {
            bridge = value;
        } else if (STREQ(key, "script")) {
            if (vifScript(value, &ovs) < 0)
                return -1;
        } else if (STREQ(key, "ip") && !net->filter) {
            if (vifAddresses(net, value) < 0)
                return -1;
        } else if (STREQ(key, "vifname")) {
            net->ifname = g_strdup(value);
        } else if (STREQ(key, "backend")) {
            net->domain_name = g_strdup(value);
        } else if (STREQ(key, "mtu")) {
            if (virStrToLong_uip(value, NULL, 10, &net->mtu) < 0)
                return xenXLConfigBad("vif", value);
        } else if (STREQ(key, "rate")) {
            if (vifRate(net, value) < 0)
                return -1;
        } else if (STREQ(key, "model")) {
            if (STRNEQ(value, "netfront") && STRNEQ(value, "vif"))
                return xenXLConfigBad("vif", value);
        } else if (STRNEQ(key, "type")) {
            return xenXLConfigBad("vif", key);
        }
    }
    if (bridge) {
        net->type = VIR_DOMAIN_NET_TYPE_BRIDGE;
        if (!ovs)
            net->data.bridge.brname = g_strdup(bridge);
        else if (vifOvs(net, bridge) < 0)
            return -1;
    }
    if (!haveMac)
        virDomainNetGenerateMAC(xmlopt, &net->mac);
    if (virDomainNetInsert(def, net) < 0)
        return -1;
    net = NULL;
    return 0;
}

static int
parseVfb(const char *text, virDomainDef *def, virDomainXMLOption *xmlopt)
{
    virDomainGraphicsDef *graphics = virDomainGraphicsDefNew(xmlopt);
    g_autofree char *copy = g_strdup(text);
    const char *listen = NULL, *password = NULL, *keymap = NULL, *display = NULL, *xauthority = NULL;
    char *rest = copy;
    char *value;
    char *key;
    unsigned int number;
    bool sdl = false;
    int port = -1;

    if (!graphics)
        return -1;
    VIR_APPEND_ELEMENT(def->graphics, def->ngraphics, graphics);
    graphics = def->graphics[def->ngraphics - 1];

    while ((key = nextField(&rest, &value))) {
        if (!value)
            continue;
        if (STREQ(key, "type")) {
            sdl = STREQ(value, "sdl");
        } else if (STREQ(key, "sdl")) {
            sdl = STREQ(value, "1");
        } else if (STREQ(key, "vnclisten")) {
            listen = value;
        } else if (STREQ(key, "vncdisplay")) {
            if (virStrToLong_uip(value, NULL, 10, &number) < 0 || number > 59635)
                return xenXLConfigBad("vfb", value);
            port = 5900 + number;
        } else if (STREQ(key, "vncpasswd")) {
            password = value;
        } else if (STREQ(key, "keymap")) {
            keymap = value;
        } else if (STREQ(key, "display")) {
            display = value;
        } else if (STREQ(key, "xauthority")) {
            xauthority = value;
        } else if (STRNEQ(key, "vnc") && STRNEQ(key, "vncunused") && STRNEQ(key, "opengl")) {
            return xenXLConfigBad("vfb", key);
        }
    }
    if (sdl) {
        graphics->type = VIR_DOMAIN_GRAPHICS_TYPE_SDL;
        graphics->data.sdl.display = g_strdup(display);
        graphics->data.sdl.xauth = g_strdup(xauthority);
        return 0;
    }
    graphics->type = VIR_DOMAIN_GRAPHICS_TYPE_VNC;
    graphics->data.vnc.autoport = port < 0;
    graphics->data.vnc.port = port;
    graphics->data.vnc.auth.passwd = g_strdup(password);
    graphics->data.vnc.keymap = g_strdup(keymap);
    return virDomainGraphicsListenAppendAddress(graphics, listen);
}

static int
parseChannel(const char *text, virDomainDef *def, virDomainXMLOption *xmlopt)
{
    g_autoptr(virDomainChrDef) chr = virDomainChrDefNew(xmlopt);
    g_autofree char *copy = g_strdup(text);
    char *rest = copy;
    char *value;
    char *key;

    if (!chr)
        return -1;
    chr->deviceType = VIR_DOMAIN_CHR_DEVICE_TYPE_CHANNEL;
    chr->targetType = VIR_DOMAIN_CHR_CHANNEL_TARGET_TYPE_XEN;
    chr->source->type = VIR_DOMAIN_CHR_TYPE_PTY;
    while ((key = nextField(&rest, &value))) {
        if (!value)
            continue;
        if (STREQ(key, "name")) {
            chr->target.name = g_strdup(value);
        } else if (STREQ(key, "connection")) {
            if (STREQ(value, "socket"))
                chr->source->type = VIR_DOMAIN_CHR_TYPE_UNIX;
            else if (STRNEQ(value, "pty"))
                return xenXLConfigBad("channel", value);
        } else if (STREQ(key, "path")) {
            chr->source->data.nix.path = g_strdup(value);
            chr->source->data.nix.listen = true;
        } else {
            return xenXLConfigBad("channel", key);
        }
    }
    if (!chr->target.name)
        return xenXLConfigBad("channel", text);
    VIR_APPEND_ELEMENT(def->channels, def->nchannels, chr);
    return 0;
}

static int
parseList(virConf *conf, const char *key, virDomainDef *def, virDomainXMLOption *xmlopt,
          int (*parse)(const char *, virDomainDef *, virDomainXMLOption *))
{
    g_auto(GStrv) list = NULL;
    size_t i;

    if (virConfGetValueStringList(conf, key, false, &list) < 0)
        return -1;
    for (i = 0; list && list[i]; i++) {
        if (parse(list[i], def, xmlopt) < 0)
            return -1;
    }
    return 0;
}

static int
nameUnknown(const char *key, virConfValue *value G_GNUC_UNUSED, void *opaque)
{
    const virDomainDef *def = opaque;
    size_t i;

    for (i = 0; key && i < G_N_ELEMENTS(known_keys); i++) {
        if (STREQ(key, known_keys[i]))
            return 0;
    }
    if (key)
        VIR_WARN("domain '%s': '%s' of xl.cfg is dropped: it has no counterpart", def->name, key);
    return 0;
}

virDomainDef *
xenXLConfigParse(xenDriver *driver, const char *text)
{
    g_autoptr(virConf) conf = virConfReadString(text, 0);
    g_autoptr(virDomainDef) def = virDomainDefNew(driver->xmlopt);

    if (!conf || !def)
        return NULL;
    def->virtType = VIR_DOMAIN_VIRT_XEN;
    def->id = -1;
    def->os.type = VIR_DOMAIN_OSTYPE_XEN;
    def->os.arch = virArchFromHost();
    def->onPoweroff = VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY;
    def->onReboot = VIR_DOMAIN_LIFECYCLE_ACTION_RESTART;
    def->onCrash = VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY;

    if (parseIdentity(conf, def) < 0 || parseKernel(conf, def) < 0 || parseMemory(conf, def) < 0 ||
        parseVcpus(conf, def, driver->xmlopt) < 0 || parseAction(conf, "on_poweroff", &def->onPoweroff) < 0 ||
        parseAction(conf, "on_reboot", &def->onReboot) < 0 ||
        parseAction(conf, "on_crash", &def->onCrash) < 0 || parseClock(conf, def) < 0 ||
        parseXenbus(conf, def) < 0 || xenXLConfigParseVnuma(conf, def) < 0 ||
        parseList(conf, "disk", def, driver->xmlopt, parseDisk) < 0 ||
        parseList(conf, "vif", def, driver->xmlopt, parseVif) < 0 ||
        parseList(conf, "vfb", def, driver->xmlopt, parseVfb) < 0 ||
        parseList(conf, "channel", def, driver->xmlopt, parseChannel) < 0)
        return NULL;
    virConfWalk(conf, nameUnknown, def);

    if (virDomainDefPostParse(def, VIR_DOMAIN_DEF_PARSE_ABI_UPDATE, driver->xmlopt, NULL) < 0)
        return NULL;
    return g_steal_pointer(&def);
}
