/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every kind of device, attached, detached and updated, live and in the definition.
 *
 * One row of the table is one kind; its six columns say what must come of each.  OK means that the call
 * succeeds and the device is, or is no longer, in that XML and only there; NO that the call fails, names
 * the domain or the element, and changes neither XML; DROPPED that it succeeds and changes neither.
 */
#include "fixture.h"

#include <stdbool.h>
#include <string.h>

enum { OK, NO, DROPPED };

struct row {
    const char *kind;
    const char *base;    /* what the domain has from the start */
    const char *device;  /* what is attached and detached */
    const char *changed; /* what it is updated to, in place of @device */
    const char *trace;   /* shows in the XML when @device is there */
    const char *changed_trace;
    int attach_live, attach_config, detach_live, detach_config, update_live, update_config;
};

static const struct row rows[] = {
    {"disk", "",
     "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source "
     "file='@ROOT@/disk.img'/><target dev='xvdb' bus='xen'/></disk>",
     "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source "
     "file='@ROOT@/other.img'/><target dev='xvdb' bus='xen'/></disk>",
     "disk.img", "other.img", OK, OK, OK, OK, NO, OK},
    {"virtio-disk", "",
     "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source "
     "file='@ROOT@/disk.img'/><target dev='vdc' bus='virtio'/></disk>",
     NULL, "xvdc", NULL, OK, OK, OK, OK, NO, NO},
    {"cdrom", "",
     "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source "
     "file='@ROOT@/disk.img'/><target dev='xvdd' bus='xen'/></disk>",
     "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source "
     "file='@ROOT@/other.img'/><target dev='xvdd' bus='xen'/></disk>",
     "disk.img", "other.img", OK, OK, OK, OK, OK, OK},
    {"interface", "",
     "<interface type='bridge'><mac address='00:16:3e:00:00:01'/><source bridge='br0'/></interface>",
     "<interface type='bridge'><mac address='00:16:3e:00:00:01'/><source bridge='br0'/><link "
     "state='down'/></interface>",
     "00:16:3e:00:00:01", "state='down'", OK, OK, OK, OK, OK, OK},
    {"channel", "", "<channel type='pty'><target type='xen' name='org.example.0'/></channel>", NULL,
     "org.example.0", NULL, OK, OK, OK, OK, NO, NO},
    {"console", "<console type='pty'><target type='xen' port='0'/></console>",
     "<console type='pty'><target type='xen' port='1'/></console>", NULL, "port='1'", NULL, OK, OK, OK, OK,
     NO, NO},
    {"graphics", "", "<graphics type='vnc' autoport='yes'/>",
     "<graphics type='vnc' port='5999' autoport='no'/>", "type='vnc'", "5999", NO, OK, NO, OK, NO, OK},
    {"video", "<graphics type='vnc' autoport='yes'/>", "<video><model type='xen' vram='8192'/></video>",
     "<video><model type='xen' vram='16384'/></video>", "vram='8192'", "vram='16384'", NO, OK, NO, OK, NO,
     OK},
    {"input", "", "<input type='keyboard' bus='xen'/>", "<input type='keyboard' bus='ps2'/>",
     "type='keyboard'", NULL, NO, OK, NO, OK, NO, OK},
    {"lease", "", "<lease><lockspace>space</lockspace><key>key1</key><target path='@ROOT@/lease'/></lease>",
     "<lease><lockspace>space</lockspace><key>key1</key><target path='@ROOT@/lease' offset='512'/></lease>",
     "key1", "offset='512'", OK, OK, OK, OK, NO, OK},
    {"xenbus", "", "<controller type='xenbus' maxGrantFrames='64'/>",
     "<controller type='xenbus' maxGrantFrames='128'/>", "maxGrantFrames='64'", "maxGrantFrames='128'", NO,
     OK, NO, OK, NO, OK},
    {"memballoon", "", "<memballoon model='virtio'><stats period='5'/></memballoon>",
     "<memballoon model='xen'><stats period='7'/></memballoon>", "period='5'", "period='7'", NO, OK, NO, OK,
     NO, OK},
    /* Only a domain that has had one from the start can be given another. */
    {"hostdev",
     "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0' bus='1' slot='1' "
     "function='0'/></source></hostdev>",
     "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0' bus='1' slot='2' "
     "function='0'/></source></hostdev>",
     "<hostdev mode='subsystem' type='pci' managed='no'><source><address domain='0' bus='1' slot='2' "
     "function='0'/></source></hostdev>",
     "slot='0x02'", NULL, OK, OK, OK, OK, NO, NO},
    {"first-hostdev", "",
     "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0' bus='1' slot='2' "
     "function='0'/></source></hostdev>",
     NULL, "<hostdev", NULL, NO, OK, OK, OK, NO, NO},
    {"usb-hostdev", "",
     "<hostdev mode='subsystem' type='usb'><source><vendor id='0x1234'/><product "
     "id='0xbeef'/></source></hostdev>",
     NULL, "<hostdev", NULL, NO, NO, NO, NO, NO, NO},
    {"rng", "", "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>", NULL, "<rng",
     NULL, NO, DROPPED, NO, NO, NO, NO},
    {"usb-controller", "", "<controller type='usb' model='qemu-xhci'/>", NULL, "type='usb'", NULL, NO,
     DROPPED, NO, NO, NO, NO},
    {"panic", "", "<panic model='isa'/>", NULL, "<panic", NULL, NO, DROPPED, NO, NO, NO, NO},
    {"watchdog", "", "<watchdog model='i6300esb' action='reset'/>", NULL, "<watchdog", NULL, NO, NO, NO, NO,
     NO, NO},
    {"sound", "", "<sound model='ac97'/>", NULL, "<sound", NULL, NO, NO, NO, NO, NO, NO},
    {"tpm", "", "<tpm model='tpm-tis'><backend type='emulator' version='2.0'/></tpm>", NULL, "<tpm", NULL, NO,
     NO, NO, NO, NO, NO},
    {"filesystem", "", "<filesystem type='mount'><source dir='/srv'/><target dir='srv'/></filesystem>", NULL,
     "<filesystem", NULL, NO, NO, NO, NO, NO, NO},
    {"vsock", "", "<vsock model='virtio'><cid auto='yes'/></vsock>", NULL, "<vsock", NULL, NO, NO, NO, NO, NO,
     NO},
    {"memory", "", "<memory model='dimm'><target><size unit='MiB'>64</size></target></memory>", NULL,
     "model='dimm'", NULL, NO, NO, NO, NO, NO, NO},
};

static virConnectPtr conn;

static char *
expand(const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, "@ROOT@", -1);

    return g_strjoinv(fixture_root(), parts);
}

static bool
shows(virDomainPtr domain, unsigned int flags, const char *trace)
{
    g_autofree char *xml = virDomainGetXMLDesc(domain, flags);

    g_assert_nonnull(xml);
    return strstr(xml, trace) != NULL;
}

static virDomainPtr
start(const struct row *row, const char *extra)
{
    g_autofree char *devices = g_strconcat(row->base, extra ? extra : "", NULL);
    g_autofree char *expanded = expand(devices);
    g_autofree char *xml = fixture_domain_xml("matrix", expanded);
    virDomainPtr domain = virDomainDefineXML(conn, xml);

    if (!domain || virDomainCreate(domain) < 0)
        g_error("%s: %s", row->kind, virGetLastErrorMessage());
    return domain;
}

static void
stop(virDomainPtr domain)
{
    g_assert_cmpint(virDomainDestroy(domain), ==, 0);
    g_assert_cmpint(virDomainUndefine(domain), ==, 0);
    virDomainFree(domain);
}

/* A failure names what it is about, and is never the default text. */
static void
check_reason(const struct row *row)
{
    g_autofree char *reason = fixture_error();

    if (!strchr(reason, '<') && !strstr(reason, "matrix") && !strstr(reason, "device"))
        g_error("%s: the reason names nothing: %s", row->kind, reason);
    if (strstr(reason, "cause is unknown") || strstr(reason, "no error"))
        g_error("%s: no reason: %s", row->kind, reason);
}

static void
check_attach(const struct row *row, unsigned int flag, int expected)
{
    virDomainPtr domain = start(row, NULL);
    g_autofree char *device = expand(row->device);
    int result = virDomainAttachDeviceFlags(domain, device, flag);
    bool live = flag == VIR_DOMAIN_AFFECT_LIVE;

    if ((result == 0) != (expected != NO))
        g_error("%s: attach %s gave %d: %s", row->kind, live ? "live" : "config", result,
                virGetLastErrorMessage());
    if (result < 0)
        check_reason(row);
    g_assert_true(shows(domain, 0, row->trace) == (expected == OK && live));
    g_assert_true(shows(domain, VIR_DOMAIN_XML_INACTIVE, row->trace) == (expected == OK && !live));
    if (expected == OK) {
        /* A second one of the same name must be refused, and the first one stay. */
        if (strstr(row->kind, "graphics") == NULL && strstr(row->kind, "video") == NULL) {
            g_assert_cmpint(virDomainAttachDeviceFlags(domain, device, flag), <, 0);
            check_reason(row);
        }
        g_assert_true(shows(domain, live ? 0 : VIR_DOMAIN_XML_INACTIVE, row->trace));
    }
    stop(domain);
}

static void
check_detach(const struct row *row, unsigned int flag, int expected)
{
    bool present = row->attach_config == OK;
    virDomainPtr domain = start(row, present ? row->device : NULL);
    g_autofree char *device = expand(row->device);
    int result = virDomainDetachDeviceFlags(domain, device, flag);
    bool live = flag == VIR_DOMAIN_AFFECT_LIVE;

    if ((result == 0) != (expected == OK))
        g_error("%s: detach %s gave %d: %s", row->kind, live ? "live" : "config", result,
                virGetLastErrorMessage());
    if (result < 0)
        check_reason(row);
    g_assert_true(shows(domain, 0, row->trace) == (present && !(result == 0 && live)));
    g_assert_true(shows(domain, VIR_DOMAIN_XML_INACTIVE, row->trace) == (present && !(result == 0 && !live)));
    if (result == 0) {
        g_assert_cmpint(virDomainDetachDeviceFlags(domain, device, flag), <, 0);
        check_reason(row);
    }
    stop(domain);
}

static void
check_update(const struct row *row, unsigned int flag, int expected)
{
    virDomainPtr domain;
    g_autofree char *changed = NULL;
    bool live = flag == VIR_DOMAIN_AFFECT_LIVE;
    int result;

    if (!row->changed)
        return;
    domain = start(row, row->device);
    changed = expand(row->changed);
    result = virDomainUpdateDeviceFlags(domain, changed, flag);
    if ((result == 0) != (expected == OK))
        g_error("%s: update %s gave %d: %s", row->kind, live ? "live" : "config", result,
                virGetLastErrorMessage());
    if (result < 0)
        check_reason(row);
    if (row->changed_trace) {
        g_assert_true(shows(domain, 0, row->changed_trace) == (result == 0 && live));
        g_assert_true(shows(domain, VIR_DOMAIN_XML_INACTIVE, row->changed_trace) == (result == 0 && !live));
    }
    stop(domain);
}

static void
attach_live(gconstpointer row)
{
    check_attach(row, VIR_DOMAIN_AFFECT_LIVE, ((const struct row *)row)->attach_live);
}

static void
attach_config(gconstpointer row)
{
    check_attach(row, VIR_DOMAIN_AFFECT_CONFIG, ((const struct row *)row)->attach_config);
}

static void
detach_live(gconstpointer row)
{
    check_detach(row, VIR_DOMAIN_AFFECT_LIVE, ((const struct row *)row)->detach_live);
}

static void
detach_config(gconstpointer row)
{
    check_detach(row, VIR_DOMAIN_AFFECT_CONFIG, ((const struct row *)row)->detach_config);
}

static void
update_live(gconstpointer row)
{
    check_update(row, VIR_DOMAIN_AFFECT_LIVE, ((const struct row *)row)->update_live);
}

static void
update_config(gconstpointer row)
{
    check_update(row, VIR_DOMAIN_AFFECT_CONFIG, ((const struct row *)row)->update_config);
}

static void
the_first_console_stays(void)
{
    static const struct row row = {.kind = "first console", .base = ""};
    virDomainPtr domain = start(&row, NULL);
    const char *first = "<console type='pty'><target type='xen' port='0'/></console>";
    const char *more = "<console type='pty'/>";

    g_assert_cmpint(virDomainDetachDeviceFlags(domain, first, VIR_DOMAIN_AFFECT_LIVE), <, 0);
    fixture_expect_failure("console");
    /* Numbers that are given are new, and so are the aliases. */
    CHECK(virDomainAttachDeviceFlags(domain, more, VIR_DOMAIN_AFFECT_LIVE));
    CHECK(virDomainAttachDeviceFlags(domain, more, VIR_DOMAIN_AFFECT_LIVE));
    CHECK(virDomainDetachDeviceAlias(domain, "console1", VIR_DOMAIN_AFFECT_LIVE));
    CHECK(virDomainAttachDeviceFlags(domain, more, VIR_DOMAIN_AFFECT_LIVE));
    g_assert_false(shows(domain, 0, "port='1'"));
    g_assert_true(shows(domain, 0, "port='2'"));
    g_assert_true(shows(domain, 0, "name='console3'"));
    stop(domain);
}

static void
windows_are_promised_where_they_can_be_opened(void)
{
    g_autofree char *caps = virConnectGetDomainCapabilities(conn, NULL, "x86_64", NULL, "xen", 0);
    g_auto(GStrv) path = NULL;
    g_autofree char *command = NULL;
    g_autofree char *displays = NULL;

    g_assert_nonnull(caps);
    path = g_strsplit_set(strstr(caps, "<path>") ? strstr(caps, "<path>") + 6 : "false", "<", 2);
    command = g_strconcat(path[0], " -display help", NULL);
    g_spawn_command_line_sync(command, &displays, NULL, NULL, NULL);
    g_assert_true((strstr(caps, "<value>sdl</value>") != NULL) == (displays && strstr(displays, "\nsdl\n")));

    /* Nor is a program run that somebody names. */
    g_free(caps);
    caps = virConnectGetDomainCapabilities(conn, "/bin/true", "x86_64", NULL, "xen", 0);
    g_assert_nonnull(caps);
    g_assert_null(strstr(caps, "<value>sdl</value>"));
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        GTestDataFunc function;
    } columns[] = {
        {"attach-live", attach_live},     {"attach-config", attach_config}, {"detach-live", detach_live},
        {"detach-config", detach_config}, {"update-live", update_live},     {"update-config", update_config},
    };
    const char *images[] = {"disk.img", "other.img"};
    size_t i, j;
    int result;

    conn = fixture_open(&argc, &argv);
    for (i = 0; i < G_N_ELEMENTS(images); i++) {
        g_autofree char *path = g_build_filename(fixture_root(), images[i], NULL);
        g_autofree char *zeros = g_malloc0(1024 * 1024);

        g_assert_true(g_file_set_contents(path, zeros, 1024 * 1024, NULL));
    }
    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        for (j = 0; j < G_N_ELEMENTS(columns); j++) {
            g_autofree char *name = g_strdup_printf("/libvirt/device/%s/%s", rows[i].kind, columns[j].name);

            if (rows[i].changed || !g_str_has_prefix(columns[j].name, "update"))
                g_test_add_data_func(name, &rows[i], columns[j].function);
        }
    }
    g_test_add_func("/libvirt/device/first-console", the_first_console_stays);
    g_test_add_func("/libvirt/device/windows", windows_are_promised_where_they_can_be_opened);
    result = g_test_run();
    fixture_close();
    return result;
}
