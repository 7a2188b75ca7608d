/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * No call fails without a reason.
 *
 * Every call about a domain that can be made wrongly is made to a domain that is shut off, to one that is no
 * longer defined, to the host's own domain, and with names and numbers of things a running domain has not.
 * Whatever fails must say why, in words that name the domain or the thing, and never that the cause is
 * unknown.  So must a start with a kernel that is none, and leave nothing.
 */
#include "fixture.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NAME "walked"

static virConnectPtr conn;

/* The calls; each returns less than 0 (or makes a NULL one) when it fails. */
#define CALL(name, expression)      \
    static int name(virDomainPtr d) \
    {                               \
        return (expression);        \
    }
#define TEXT(name, expression)      \
    static int name(virDomainPtr d) \
    {                               \
        char *text = (expression);  \
        int ret = text ? 0 : -1;    \
        free(text);                 \
        return ret;                 \
    }

#define LIVE   VIR_DOMAIN_AFFECT_LIVE
#define CONFIG VIR_DOMAIN_AFFECT_CONFIG

static virTypedParameter
parameter(const char *field, int type, unsigned long long value)
{
    virTypedParameter p = {.type = type};

    g_strlcpy(p.field, field, sizeof(p.field));
    if (type == VIR_TYPED_PARAM_UINT)
        p.value.ui = value;
    else
        p.value.ul = value;
    return p;
}

static int
set_scheduler(virDomainPtr d, int flags, const char *field)
{
    virTypedParameter p = parameter(field, VIR_TYPED_PARAM_UINT, 300);

    return virDomainSetSchedulerParametersFlags(d, &p, 1, flags);
}

static int
set_bandwidth(virDomainPtr d, int flags, const char *device)
{
    virTypedParameter p = parameter(VIR_DOMAIN_BANDWIDTH_OUT_AVERAGE, VIR_TYPED_PARAM_UINT, 100);

    return virDomainSetInterfaceParameters(d, device, &p, 1, flags);
}

static int
set_iotune(virDomainPtr d, int flags, const char *device)
{
    virTypedParameter p = parameter(VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC, VIR_TYPED_PARAM_ULLONG, 100);

    return virDomainSetBlockIoTune(d, device, &p, 1, flags);
}

static int
open_stream(virDomainPtr d, int kind)
{
    /* Freeing it forgets the error, so that waits for the next call. */
    static virStreamPtr stream;
    char *type = NULL;
    int ret;

    if (stream)
        virStreamFree(stream);
    stream = virStreamNew(conn, 0);
    if (kind == 0)
        ret = virDomainOpenConsole(d, "no-such", stream, 0);
    else if (kind == 1)
        ret = virDomainOpenChannel(d, "no-such", stream, 0);
    else
        ret = (type = virDomainScreenshot(d, stream, 0, 0)) ? 0 : -1;
    free(type);
    return ret;
}

static int
set_limit(virDomainPtr d, int flags, unsigned long long kib)
{
    virTypedParameter p = parameter(VIR_DOMAIN_MEMORY_HARD_LIMIT, VIR_TYPED_PARAM_ULLONG, kib);

    return virDomainSetMemoryParameters(d, &p, 1, flags);
}

static int
get_limit(virDomainPtr d, int flags)
{
    virTypedParameter p;
    int count = 1;

    return virDomainGetMemoryParameters(d, &p, &count, flags);
}

static int
set_numa_mode(virDomainPtr d, int flags)
{
    virTypedParameter p = {.field = VIR_DOMAIN_NUMA_MODE, .type = VIR_TYPED_PARAM_INT};

    p.value.i = VIR_DOMAIN_NUMATUNE_MEM_RESTRICTIVE;
    return virDomainSetNumaParameters(d, &p, 1, flags);
}

static virDomainInfo info;
static virVcpuInfo vcpu_info;
static virDomainBlockInfo block_info;
static virDomainBlockStatsStruct block_stats;
static virDomainInterfaceStatsStruct nic_stats;
static virDomainMemoryStatStruct memory_stats[VIR_DOMAIN_MEMORY_STAT_NR];
static virDomainControlInfo control;
static virDomainDiskError disk_error;
static unsigned char byte;
static unsigned int keys[1] = {1};
static unsigned char map[1] = {1};

CALL(suspend, virDomainSuspend(d))
CALL(resume, virDomainResume(d))
CALL(shut_down, virDomainShutdown(d))
CALL(shut_down_by_agent, virDomainShutdownFlags(d, VIR_DOMAIN_SHUTDOWN_GUEST_AGENT))
CALL(reboot, virDomainReboot(d, 0))
CALL(reboot_by_button, virDomainReboot(d, VIR_DOMAIN_REBOOT_ACPI_POWER_BTN))
CALL(reset, virDomainReset(d, 0))
CALL(destroy, virDomainDestroy(d))
CALL(save, virDomainSave(d, "/nonexistent/directory/image"))
CALL(managed_save, virDomainManagedSave(d, 0))
CALL(managed_save_remove, virDomainManagedSaveRemove(d, 0))
TEXT(managed_save_xml, virDomainManagedSaveGetXMLDesc(d, 0))
CALL(managed_save_define, virDomainManagedSaveDefineXML(d, "<domain/>", 0))
CALL(core_dump, virDomainCoreDump(d, "/nonexistent/directory/core", 0))
CALL(core_dump_lzo, virDomainCoreDumpWithFormat(d, "/tmp/core", VIR_DOMAIN_CORE_DUMP_FORMAT_KDUMP_LZO, 0))
CALL(pm_suspend, virDomainPMSuspendForDuration(d, VIR_NODE_SUSPEND_TARGET_MEM, 0, 0))
CALL(pm_wakeup, virDomainPMWakeup(d, 0))
CALL(inject_nmi, virDomainInjectNMI(d, 0))
CALL(send_key, virDomainSendKey(d, VIR_KEYCODE_SET_LINUX, 10, keys, 1, 0))
CALL(open_console, open_stream(d, 0))
CALL(open_channel, open_stream(d, 1))
CALL(screenshot, open_stream(d, 2))
CALL(open_graphics_fd, virDomainOpenGraphicsFD(d, 9, 0))
CALL(set_vcpus, virDomainSetVcpusFlags(d, 100, LIVE))
CALL(set_vcpus_config, virDomainSetVcpusFlags(d, 5000, CONFIG))
CALL(set_vcpus_guest, virDomainSetVcpusFlags(d, 1, LIVE | VIR_DOMAIN_VCPU_GUEST))
CALL(get_vcpus_guest, virDomainGetVcpusFlags(d, LIVE | VIR_DOMAIN_VCPU_GUEST))
CALL(set_vcpu, virDomainSetVcpu(d, "77", 0, LIVE))
CALL(pin_vcpu, virDomainPinVcpuFlags(d, 99, map, 1, LIVE))
CALL(pin_vcpu_config, virDomainPinVcpuFlags(d, 99, map, 1, CONFIG))
CALL(get_vcpus, virDomainGetVcpus(d, &vcpu_info, 1, NULL, 0))
CALL(set_memory, virDomainSetMemoryFlags(d, 1UL << 40, LIVE))
CALL(set_memory_config, virDomainSetMemoryFlags(d, 1UL << 40, CONFIG))
CALL(memory_stats_of, virDomainMemoryStats(d, memory_stats, VIR_DOMAIN_MEMORY_STAT_NR, 0))
CALL(stats_period, virDomainSetMemoryStatsPeriod(d, 5, LIVE))
CALL(scheduler_live, set_scheduler(d, LIVE, VIR_DOMAIN_SCHEDULER_WEIGHT))
CALL(scheduler_field, set_scheduler(d, CONFIG, "no_such_field"))
CALL(bandwidth_live, set_bandwidth(d, LIVE, "no-such"))
CALL(bandwidth_config, set_bandwidth(d, CONFIG, "no-such"))
CALL(iotune_live, set_iotune(d, LIVE, "no-such"))
CALL(iotune_config, set_iotune(d, CONFIG, "no-such"))
CALL(block_info_of, virDomainGetBlockInfo(d, "no-such", &block_info, 0))
CALL(block_stats_of, virDomainBlockStats(d, "no-such", &block_stats, sizeof(block_stats)))
CALL(block_resize, virDomainBlockResize(d, "no-such", 1024, 0))
CALL(block_peek, virDomainBlockPeek(d, "no-such", 0, 1, &byte, 0))
CALL(memory_peek, virDomainMemoryPeek(d, 0, 1, &byte, VIR_MEMORY_PHYSICAL))
CALL(memory_peek_virtual, virDomainMemoryPeek(d, 1, 1, &byte, VIR_MEMORY_VIRTUAL))
CALL(disk_errors_of, virDomainGetDiskErrors(d, &disk_error, 1, 0))
CALL(limit_live, set_limit(d, LIVE, 1))
CALL(limit_config, set_limit(d, CONFIG, 1))
CALL(limit_of, get_limit(d, LIVE))
CALL(numa_live, set_numa_mode(d, LIVE))
CALL(numa_config, set_numa_mode(d, CONFIG))
TEXT(hostname_of, virDomainGetHostname(d, 0))
CALL(interface_stats_of, virDomainInterfaceStats(d, "no-such", &nic_stats, sizeof(nic_stats)))
CALL(interface_addresses, virDomainInterfaceAddresses(d, &(virDomainInterfacePtr *){NULL},
                                                      VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT, 0))
CALL(control_info, virDomainGetControlInfo(d, &control, 0))
CALL(cpu_stats, virDomainGetCPUStats(d, NULL, 0, 77, 1, 0))
CALL(job_abort, virDomainAbortJob(d))
CALL(attach_live, virDomainAttachDeviceFlags(d, "<disk/>", LIVE))
CALL(attach_nonsense, virDomainAttachDeviceFlags(d, "<no-such-device/>", CONFIG))
CALL(attach_no_xml, virDomainAttachDeviceFlags(d, "hello", CONFIG))
CALL(detach_live, virDomainDetachDeviceFlags(
                      d, "<disk type='file'><source file='/x'/><target dev='xvdq' bus='xen'/></disk>", LIVE))
CALL(detach_config,
     virDomainDetachDeviceFlags(d,
                                "<disk type='file'><source file='/x'/><target dev='xvdq' bus='xen'/></disk>",
                                CONFIG))
CALL(detach_nic, virDomainDetachDeviceFlags(d,
                                            "<interface type='bridge'><mac address='00:16:3e:99:99:99'/>"
                                            "<source bridge='b'/></interface>",
                                            CONFIG))
CALL(detach_alias, virDomainDetachDeviceAlias(d, "no-such", CONFIG))
CALL(update_live, virDomainUpdateDeviceFlags(
                      d, "<disk type='file'><source file='/x'/><target dev='xvdq' bus='xen'/></disk>", LIVE))
CALL(rename_to_slash, virDomainRename(d, "a/b", 0))
CALL(rename_to_host, virDomainRename(d, "Domain-0", 0))
CALL(lifecycle_action, virDomainSetLifecycleAction(d, VIR_DOMAIN_LIFECYCLE_POWEROFF,
                                                   VIR_DOMAIN_LIFECYCLE_ACTION_COREDUMP_DESTROY, LIVE))
CALL(autostart_on, virDomainGetAutostart(d, &(int){0}))
CALL(undefine_flags, virDomainUndefineFlags(d, 1U << 30))
CALL(create_flags, virDomainCreateWithFlags(d, 1U << 30))
CALL(get_info, virDomainGetInfo(d, &info))
TEXT(get_xml, virDomainGetXMLDesc(d, 0))
TEXT(get_metadata, virDomainGetMetadata(d, VIR_DOMAIN_METADATA_ELEMENT, "http://no.such/", 0))
/* What there is no entry for: libvirt's own words. */
CALL(snapshot, virDomainSnapshotNum(d, 0))
CALL(fs_freeze, virDomainFSFreeze(d, NULL, 0, 0))
CALL(get_time, virDomainGetTime(d, &(long long){0}, &(unsigned int){0}, 0))
CALL(block_commit, virDomainBlockCommit(d, "xvda", NULL, NULL, 0, 0))
CALL(migrate, virDomainMigrateToURI(d, "xen://elsewhere/system", 0, NULL, 0))

#define ROW(function)       \
    {                       \
#function, function \
    }

static const struct {
    const char *name;
    int (*function)(virDomainPtr d);
} calls[] = {
    ROW(suspend),
    ROW(resume),
    ROW(shut_down),
    ROW(shut_down_by_agent),
    ROW(reboot),
    ROW(reboot_by_button),
    ROW(reset),
    ROW(destroy),
    ROW(save),
    ROW(managed_save),
    ROW(managed_save_remove),
    ROW(managed_save_xml),
    ROW(managed_save_define),
    ROW(core_dump),
    ROW(core_dump_lzo),
    ROW(pm_suspend),
    ROW(pm_wakeup),
    ROW(inject_nmi),
    ROW(send_key),
    ROW(open_console),
    ROW(open_channel),
    ROW(screenshot),
    ROW(open_graphics_fd),
    ROW(set_vcpus),
    ROW(set_vcpus_config),
    ROW(set_vcpus_guest),
    ROW(get_vcpus_guest),
    ROW(set_vcpu),
    ROW(pin_vcpu),
    ROW(pin_vcpu_config),
    ROW(get_vcpus),
    ROW(set_memory),
    ROW(set_memory_config),
    ROW(memory_stats_of),
    ROW(stats_period),
    ROW(scheduler_live),
    ROW(scheduler_field),
    ROW(bandwidth_live),
    ROW(bandwidth_config),
    ROW(iotune_live),
    ROW(iotune_config),
    ROW(block_info_of),
    ROW(block_stats_of),
    ROW(block_resize),
    ROW(block_peek),
    ROW(memory_peek),
    ROW(memory_peek_virtual),
    ROW(disk_errors_of),
    ROW(limit_live),
    ROW(limit_config),
    ROW(limit_of),
    ROW(numa_live),
    ROW(numa_config),
    ROW(hostname_of),
    ROW(interface_stats_of),
    ROW(interface_addresses),
    ROW(control_info),
    ROW(cpu_stats),
    ROW(job_abort),
    ROW(attach_live),
    ROW(attach_nonsense),
    ROW(attach_no_xml),
    ROW(detach_live),
    ROW(detach_config),
    ROW(detach_nic),
    ROW(detach_alias),
    ROW(update_live),
    ROW(rename_to_slash),
    ROW(rename_to_host),
    ROW(lifecycle_action),
    ROW(autostart_on),
    ROW(undefine_flags),
    ROW(create_flags),
    ROW(get_info),
    ROW(get_xml),
    ROW(get_metadata),
    ROW(snapshot),
    ROW(fs_freeze),
    ROW(get_time),
    ROW(block_commit),
    ROW(migrate),
};

/* Words that tell the caller what was wrong with the call: the thing, or the domain. */
static bool
names_something(const char *reason, const char *name)
{
    static const char *const things[] = {"no-such",   "no_such",  "<",
                                         "xvdq",      "00:16:3e", "flags (0x",
                                         "a/b",       "number",   "not supported by the connection driver",
                                         "agent",     "in name",  "already exists",
                                         "migration", "metadata", "XML"};

    if (strstr(reason, name))
        return true;
    for (size_t i = 0; i < G_N_ELEMENTS(things); i++) {
        if (strstr(reason, things[i]))
            return true;
    }
    return false;
}

/* Makes all calls; how many failed. */
static int
walk(virDomainPtr domain, const char *name, const char *situation)
{
    int failures = 0;
    int mute = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
        virErrorPtr error;

        virResetLastError();
        if (calls[i].function(domain) >= 0)
            continue;
        failures++;
        error = virGetLastError();
        if (!error || error->code == VIR_ERR_OK || !error->message ||
            strstr(error->message, "cause is unknown") || strstr(error->message, "unknown error")) {
            g_test_message("%s of %s fails without a reason: %s", calls[i].name, situation,
                           error && error->message ? error->message : "nothing");
            mute++;
        } else if (!names_something(error->message, name)) {
            g_test_message("%s of %s names nothing: %s", calls[i].name, situation, error->message);
            mute++;
        }
    }
    g_assert_cmpint(mute, ==, 0);
    return failures;
}

static void
a_domain_that_is_shut_off(void)
{
    virDomainPtr domain = fixture_define(conn, NAME, "");

    g_assert_cmpint(walk(domain, NAME, "a domain that is shut off"), >, 40);
    g_assert_cmpint(virDomainUndefine(domain), ==, 0);
    virDomainFree(domain);
}

static void
a_domain_that_is_not_defined(void)
{
    virDomainPtr domain = fixture_define(conn, NAME, "");

    g_assert_cmpint(virDomainUndefine(domain), ==, 0);
    g_assert_cmpint(walk(domain, NAME, "a domain that is gone"), ==, G_N_ELEMENTS(calls));
    virDomainFree(domain);
}

static void
things_that_a_domain_has_not(void)
{
    virDomainPtr domain = fixture_define(conn, NAME, "");

    g_assert_cmpint(virDomainCreate(domain), ==, 0);
    g_assert_cmpint(walk(domain, NAME, "a domain that runs"), >, 30);
    if (virDomainIsActive(domain) == 1)
        g_assert_cmpint(virDomainDestroy(domain), ==, 0);
    g_assert_cmpint(virDomainUndefineFlags(domain, VIR_DOMAIN_UNDEFINE_MANAGED_SAVE), ==, 0);
    virDomainFree(domain);
}

static void
the_host_itself(void)
{
    virDomainPtr domain = virDomainLookupByName(conn, "Domain-0");

    g_assert_nonnull(domain);
    walk(domain, "Domain-0", "the host");
    g_assert_cmpint(virDomainIsActive(domain), ==, 1);
    virDomainFree(domain);
}

/* Flags of QEMU's driver: what a paravirtualized guest has not is refused with what it has instead. */
static void
flags_that_only_qemu_has(void)
{
    virDomainPtr domain = fixture_define(conn, "flags", "");

    g_assert_cmpint(virDomainCreate(domain), ==, 0);
    g_assert_cmpint(virDomainReboot(domain, VIR_DOMAIN_REBOOT_ACPI_POWER_BTN), <, 0);
    fixture_expect_failure("use mode 'paravirt'");
    g_assert_cmpint(virDomainReboot(domain, VIR_DOMAIN_REBOOT_GUEST_AGENT), <, 0);
    fixture_expect_failure("use mode 'paravirt'");
    g_assert_cmpint(virDomainShutdownFlags(domain, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN), <, 0);
    fixture_expect_failure("use mode 'paravirt'");
    g_assert_cmpint(virDomainShutdownFlags(domain, VIR_DOMAIN_SHUTDOWN_GUEST_AGENT), <, 0);
    fixture_expect_failure("use mode 'paravirt'");
    g_assert_cmpint(virDomainSetVcpusFlags(domain, 1, LIVE | VIR_DOMAIN_VCPU_GUEST), <, 0);
    fixture_expect_failure("without 'guest'");
    g_assert_cmpint(virDomainGetVcpusFlags(domain, LIVE | VIR_DOMAIN_VCPU_GUEST), <, 0);
    fixture_expect_failure("without 'guest'");

    CHECK(virDomainSetVcpusFlags(domain, 3, LIVE | CONFIG | VIR_DOMAIN_VCPU_HOTPLUGGABLE));
    g_assert_cmpint(virDomainGetVcpusFlags(domain, LIVE), ==, 3);
    g_assert_cmpint(virDomainGetVcpusFlags(domain, CONFIG), ==, 3);
    CHECK(virDomainDestroyFlags(domain, VIR_DOMAIN_DESTROY_REMOVE_LOGS));

    /* One of the ways that the caller would have is enough. */
    CHECK(virDomainCreate(domain));
    CHECK(virDomainShutdownFlags(domain, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN | VIR_DOMAIN_SHUTDOWN_PARAVIRT));
    for (int i = 0; i < 400 && virDomainIsActive(domain) == 1; i++)
        g_usleep(25 * 1000);
    fixture_undefine(domain);
}

static void
expect_named(const char *name)
{
    g_autofree char *reason = fixture_error();

    if (!strstr(reason, name))
        g_error("the reason does not name '%s': %s", name, reason);
}

static void
a_kernel_that_is_none_fails_whole(void)
{
    g_autofree char *path = g_build_filename(fixture_root(), "kernel", NULL);
    g_autofree char *xml = g_strdup_printf("<domain type='xen'><name>bad</name><memory unit='MiB'>64</memory>"
                                           "<os><type>linux</type><kernel>%s</kernel></os></domain>",
                                           path);
    virDomainPtr domain = virDomainDefineXML(conn, xml);
    g_autofree char *whole = NULL;
    gsize size, length;
    guint refused = 0;

    g_assert_nonnull(domain);
    g_assert_true(g_file_set_contents(path, "#!/bin/sh\n", -1, NULL));
    g_assert_cmpint(virDomainCreate(domain), <, 0);
    expect_named("bad");

    /* A real one, cut short anywhere: it may be whole enough, and else leaves nothing. */
    g_assert_true(g_file_get_contents(fixture_kernel(), &whole, &size, NULL));
    for (length = 0; length < size; length += size / 16 + 1) {
        g_assert_true(g_file_set_contents(path, whole, length, NULL));
        if (virDomainCreate(domain) < 0) {
            expect_named("bad");
            refused++;
        } else {
            g_assert_cmpint(virDomainDestroy(domain), ==, 0);
        }
        g_assert_cmpint(virConnectNumOfDomains(conn), ==, 1);
    }
    g_assert_cmpuint(refused, >, 2);
    g_assert_cmpint(virDomainUndefine(domain), ==, 0);
    virDomainFree(domain);
}

#define SAME_MAC "00:16:3e:0a:0b:0c"

static void
refused_for_its_mac(int result, const char *owner)
{
    g_autofree char *reason = fixture_error();

    g_assert_cmpint(result, <, 0);
    if (!strstr(reason, SAME_MAC) || !strstr(reason, owner))
        g_error("'%s' does not name %s and %s", reason, SAME_MAC, owner);
}

static void
a_mac_address_is_one_running_domain_s(void)
{
    const char *nic =
        "<interface type='bridge'><source bridge='br0'/><mac address='" SAME_MAC "'/></interface>";
    static const char *const names[] = {"first", "second", "third"};
    virDomainPtr domains[3];

    for (int i = 0; i < 3; i++) {
        g_autofree char *xml = fixture_domain_xml(names[i], i < 2 ? nic : NULL);

        domains[i] = virDomainDefineXML(conn, xml);
        g_assert_nonnull(domains[i]);
    }
    g_assert_cmpint(virDomainCreate(domains[0]), ==, 0);
    refused_for_its_mac(virDomainCreate(domains[1]), "'first'");
    g_assert_cmpint(virDomainCreate(domains[2]), ==, 0);
    refused_for_its_mac(virDomainAttachDevice(domains[2], nic), "'first'");

    /* An update of the same NIC does not lose it; the end of its domain, or of the NIC, does. */
    g_assert_cmpint(virDomainUpdateDeviceFlags(domains[0], nic, VIR_DOMAIN_AFFECT_LIVE), ==, 0);
    refused_for_its_mac(virDomainCreate(domains[1]), "'first'");
    g_assert_cmpint(virDomainDestroy(domains[0]), ==, 0);
    g_assert_cmpint(virDomainCreate(domains[1]), ==, 0);
    refused_for_its_mac(virDomainCreate(domains[0]), "'second'");
    g_assert_cmpint(virDomainDetachDevice(domains[1], nic), ==, 0);
    g_assert_cmpint(virDomainCreate(domains[0]), ==, 0);
    for (int i = 0; i < 3; i++) {
        g_assert_cmpint(virDomainDestroy(domains[i]), ==, 0);
        g_assert_cmpint(virDomainUndefine(domains[i]), ==, 0);
        virDomainFree(domains[i]);
    }
}

static virConnectPtr
connect_again(void)
{
    g_autofree char *uri = g_strdup_printf("xen:///embed?root=%s", fixture_root());
    virConnectPtr other = virConnectOpen(uri);

    g_assert_nonnull(other);
    return other;
}

/* The next start is another's, who did not ask for that. */
static void
a_reset_that_fails_ends_the_autodestroy(void)
{
    g_autofree char *path = g_build_filename(fixture_root(), "kernel", NULL);
    g_autofree char *xml =
        g_strdup_printf("<domain type='xen'><name>reset</name><memory unit='MiB'>64</memory>"
                        "<os><type>linux</type><kernel>%s</kernel></os></domain>",
                        path);
    virConnectPtr other = connect_again();
    virDomainPtr domain = virDomainDefineXML(conn, xml), same = virDomainLookupByName(other, "reset");
    g_autofree char *kernel = NULL;
    gsize size;

    g_assert_true(g_file_get_contents(fixture_kernel(), &kernel, &size, NULL));
    g_assert_true(g_file_set_contents(path, kernel, size, NULL));
    g_assert_cmpint(virDomainCreateWithFlags(same, VIR_DOMAIN_START_AUTODESTROY), ==, 0);
    g_assert_true(g_file_set_contents(path, "#!/bin/sh\n", -1, NULL));
    g_assert_cmpint(virDomainReset(domain, 0), <, 0);
    expect_named("reset");
    g_assert_cmpint(virDomainIsActive(domain), ==, 0);

    g_assert_true(g_file_set_contents(path, kernel, size, NULL));
    g_assert_cmpint(virDomainCreate(domain), ==, 0);
    virDomainFree(same);
    virConnectClose(other);
    g_assert_cmpint(virDomainIsActive(domain), ==, 1);
    fixture_undefine(domain);
}

static char *
titled(const char *title)
{
    g_autofree char *xml = fixture_domain_xml("titled", "<graphics type='vnc'/>");
    g_auto(GStrv) parts = g_strsplit(xml, "<name>titled</name>", 2);

    return g_strdup_printf("%s<name>titled</name><uuid>5e1a1000-0000-4000-8000-00000000000e</uuid>"
                           "<title>%s</title>%s",
                           parts[0], title, parts[1]);
}

/* What is written is what was given last; returns how many were. */
static gpointer
define_often(gpointer stop)
{
    g_autofree char *path = g_build_filename(fixture_root(), "etc", "titled.xml", NULL);
    int number = 0;

    while (!g_atomic_int_get((gint *)stop)) {
        g_autofree char *title = g_strdup_printf("number %d", ++number);
        g_autofree char *xml = titled(title);
        g_autofree char *written = NULL;
        virDomainPtr domain = virDomainDefineXML(conn, xml);

        g_assert_nonnull(domain);
        virDomainFree(domain);
        g_assert_true(g_file_get_contents(path, &written, NULL, NULL));
        if (!strstr(written, title))
            g_error("'%s' is not in %s", title, written);
    }
    return GINT_TO_POINTER(number);
}

static void
a_definition_of_a_domain_that_starts_is_kept(void)
{
    g_autofree char *first = titled("number 0");
    virDomainPtr domain = virDomainDefineXML(conn, first);
    gint stop = 0;
    GThread *thread = g_thread_new("define", define_often, &stop);
    g_autofree char *title = NULL;
    g_autofree char *xml = NULL;

    for (int i = 0; i < 10; i++) {
        g_assert_cmpint(virDomainCreate(domain), ==, 0);
        g_assert_cmpint(virDomainDestroy(domain), ==, 0);
    }
    g_atomic_int_set(&stop, 1);
    title = g_strdup_printf("<title>number %d</title>", GPOINTER_TO_INT(g_thread_join(thread)));
    xml = virDomainGetXMLDesc(domain, 0);
    g_assert_nonnull(strstr(xml, title));
    fixture_undefine(domain);
}

int
main(int argc, char **argv)
{
    int result;

    conn = fixture_open(&argc, &argv);
    g_test_add_func("/libvirt/errors/shut-off", a_domain_that_is_shut_off);
    g_test_add_func("/libvirt/errors/not-defined", a_domain_that_is_not_defined);
    g_test_add_func("/libvirt/errors/running", things_that_a_domain_has_not);
    g_test_add_func("/libvirt/errors/domain-0", the_host_itself);
    g_test_add_func("/libvirt/errors/no-kernel", a_kernel_that_is_none_fails_whole);
    g_test_add_func("/libvirt/errors/flags", flags_that_only_qemu_has);
    g_test_add_func("/libvirt/errors/mac-address", a_mac_address_is_one_running_domain_s);
    g_test_add_func("/libvirt/errors/failed-reset", a_reset_that_fails_ends_the_autodestroy);
    g_test_add_func("/libvirt/errors/defined-meanwhile", a_definition_of_a_domain_that_starts_is_kept);
    result = g_test_run();
    fixture_close();
    return result;
}
