/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Domains through their whole life, by the calls that virsh makes.
 *
 * The guests of the pretend machine do not execute, but they answer requests of the toolstack: to shut
 * down, to reboot, to suspend.  So what follows a guest's own doing is tested here as well.
 */
#include "fixture.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static virConnectPtr conn;

/* --- events ------------------------------------------------------------------------------------------- */

static GMutex events_lock;
static GString *events;

static int
on_lifecycle(virConnectPtr connection, virDomainPtr domain, int event, int detail, void *opaque)
{
    static const char *names[] = {"defined", "undefined", "started",     "suspended", "resumed",
                                  "stopped", "shutdown",  "pmsuspended", "crashed"};

    (void)connection;
    (void)domain;
    (void)detail;
    (void)opaque;
    g_mutex_lock(&events_lock);
    g_string_append_printf(events, "%s ", names[event]);
    g_mutex_unlock(&events_lock);
    return 0;
}

static void
forget_events(void)
{
    g_usleep(200 * 1000);
    g_mutex_lock(&events_lock);
    g_string_truncate(events, 0);
    g_mutex_unlock(&events_lock);
}

/* Events come from another thread; what is waited for comes within seconds or never. */
static void
expect_events(const char *expected)
{
    int i;

    for (i = 0; i < 200; i++) {
        g_mutex_lock(&events_lock);
        if (g_str_equal(events->str, expected)) {
            g_string_truncate(events, 0);
            g_mutex_unlock(&events_lock);
            return;
        }
        g_mutex_unlock(&events_lock);
        g_usleep(25 * 1000);
    }
    g_assert_cmpstr(events->str, ==, expected);
}

/* --- helpers ------------------------------------------------------------------------------------------ */

static int
state_of(virDomainPtr domain)
{
    int state;
    int reason;

    CHECK(virDomainGetState(domain, &state, &reason, 0));
    return state;
}

static void
wait_for_state(virDomainPtr domain, int wanted)
{
    int i;

    for (i = 0; i < 200 && state_of(domain) != wanted; i++)
        g_usleep(25 * 1000);
    g_assert_cmpint(state_of(domain), ==, wanted);
}

static void
undefine(virDomainPtr domain)
{
    if (virDomainIsActive(domain) == 1)
        CHECK(virDomainDestroy(domain));
    CHECK(virDomainUndefineFlags(domain, VIR_DOMAIN_UNDEFINE_MANAGED_SAVE));
    virDomainFree(domain);
}

static bool
exists(const char *below_root)
{
    g_autofree char *path = g_build_filename(fixture_root(), below_root, NULL);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

/* --- life --------------------------------------------------------------------------------------------- */

static void
events_tell_each_step_in_order(void)
{
    virDomainPtr domain;

    forget_events();
    domain = fixture_define(conn, "steps", NULL);
    CHECK(virDomainCreate(domain));
    CHECK(virDomainSuspend(domain));
    CHECK(virDomainResume(domain));
    CHECK(virDomainDestroy(domain));
    CHECK(virDomainUndefine(domain));
    expect_events("defined started suspended resumed stopped undefined ");
    virDomainFree(domain);
}

static void
a_guest_that_powers_off_is_shut_off(void)
{
    virDomainPtr domain = fixture_define(conn, "poweroff", NULL);

    CHECK(virDomainCreate(domain));
    forget_events();
    CHECK(virDomainShutdown(domain));
    expect_events("shutdown stopped ");
    g_assert_cmpint(state_of(domain), ==, VIR_DOMAIN_SHUTOFF);
    undefine(domain);
}

static void
a_guest_that_reboots_gets_a_new_id_and_keeps_its_devices(void)
{
    virDomainPtr domain = fixture_define(conn, "reboot", NULL);
    g_autofree char *xml = NULL;
    virDomainPtr again;
    unsigned int id;
    int i;

    CHECK(virDomainCreate(domain));
    id = virDomainGetID(domain);
    CHECK(virDomainAttachDevice(domain, "<interface type='bridge'><mac address='00:16:3e:00:00:99'/>"
                                        "<source bridge='br0'/></interface>"));
    CHECK(virDomainReboot(domain, 0));
    for (i = 0; i < 200; i++) {
        again = virDomainLookupByName(conn, "reboot");
        g_assert_nonnull(again);
        if (virDomainGetID(again) != id && virDomainIsActive(again) == 1)
            break;
        virDomainFree(again);
        again = NULL;
        g_usleep(25 * 1000);
    }
    g_assert_nonnull(again);
    g_assert_cmpint(state_of(again), ==, VIR_DOMAIN_RUNNING);
    xml = virDomainGetXMLDesc(again, 0);
    g_assert_nonnull(strstr(xml, "00:16:3e:00:00:99"));
    virDomainFree(domain);
    undefine(again);
}

static void
what_follows_a_stop_can_be_changed_while_it_runs(void)
{
    virDomainPtr domain = fixture_define(conn, "action", NULL);

    CHECK(virDomainCreate(domain));
    CHECK(virDomainSetLifecycleAction(domain, VIR_DOMAIN_LIFECYCLE_REBOOT,
                                      VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY, VIR_DOMAIN_AFFECT_LIVE));
    CHECK(virDomainReboot(domain, 0));
    wait_for_state(domain, VIR_DOMAIN_SHUTOFF);
    undefine(domain);
}

static void
a_preserved_guest_is_shown_as_shut_down_until_destroyed(void)
{
    virDomainPtr domain = fixture_define(conn, "preserve", NULL);

    CHECK(virDomainSetLifecycleAction(domain, VIR_DOMAIN_LIFECYCLE_POWEROFF,
                                      VIR_DOMAIN_LIFECYCLE_ACTION_PRESERVE, VIR_DOMAIN_AFFECT_CONFIG));
    CHECK(virDomainCreate(domain));
    CHECK(virDomainShutdown(domain));
    wait_for_state(domain, VIR_DOMAIN_SHUTDOWN);
    g_assert_cmpint(virDomainIsActive(domain), ==, 1);
    undefine(domain);
}

static void
reset_starts_a_new_guest_at_once(void)
{
    virDomainPtr domain = fixture_define(conn, "reset", NULL);
    unsigned int id;
    virDomainPtr again;

    CHECK(virDomainCreate(domain));
    id = virDomainGetID(domain);
    CHECK(virDomainReset(domain, 0));
    again = virDomainLookupByName(conn, "reset");
    g_assert_cmpuint(virDomainGetID(again), !=, id);
    g_assert_cmpint(state_of(again), ==, VIR_DOMAIN_RUNNING);
    virDomainFree(domain);
    undefine(again);
}

static void
a_transient_domain_leaves_the_list_when_it_ends(void)
{
    g_autofree char *xml = fixture_domain_xml("transient", NULL);
    virDomainPtr domain = virDomainCreateXML(conn, xml, VIR_DOMAIN_START_PAUSED);

    g_assert_nonnull(domain);
    g_assert_cmpint(state_of(domain), ==, VIR_DOMAIN_PAUSED);
    g_assert_true(exists("run/transient.xml"));
    CHECK(virDomainDestroy(domain));
    g_assert_false(exists("run/transient.xml"));
    g_assert_null(virDomainLookupByName(conn, "transient"));
    virDomainFree(domain);
}

static void
autodestroy_ends_with_its_connection(void)
{
    g_autofree char *uri = g_strdup_printf("xen:///embed?root=%s", fixture_root());
    virConnectPtr other = virConnectOpen(uri);
    g_autofree char *xml = fixture_domain_xml("auto", NULL);
    virDomainPtr domain;

    g_assert_nonnull(other);
    domain = virDomainCreateXML(other, xml, VIR_DOMAIN_START_AUTODESTROY);
    g_assert_nonnull(domain);
    virDomainFree(domain);
    domain = virDomainLookupByName(conn, "auto");
    g_assert_nonnull(domain);
    virDomainFree(domain);
    virConnectClose(other);
    g_assert_null(virDomainLookupByName(conn, "auto"));
}

static void
a_failed_start_leaves_nothing_and_says_why(void)
{
    g_autofree char *xml =
        g_strdup_printf("<domain type='xen'><name>bad</name><memory unit='MiB'>64</memory>"
                        "<os><type>linux</type><kernel>%s/no-such-kernel</kernel></os></domain>",
                        fixture_root());
    virDomainPtr domain = virDomainDefineXML(conn, xml);

    g_assert_nonnull(domain);
    g_assert_cmpint(virDomainCreate(domain), <, 0);
    fixture_expect_failure("bad");
    g_assert_cmpint(virDomainCreate(domain), <, 0);
    fixture_expect_failure("no-such-kernel");
    g_assert_cmpint(state_of(domain), ==, VIR_DOMAIN_SHUTOFF);
    g_assert_false(exists("run/bad.xml"));
    undefine(domain);
}

static void
missing_images_and_too_much_memory_fail_whole(void)
{
    virDomainPtr domain =
        fixture_define(conn, "image",
                       "<disk type='file'><driver name='qemu' type='raw'/>"
                       "<source file='/no/such/image'/><target dev='xvda' bus='xen'/></disk>");

    g_assert_cmpint(virDomainCreate(domain), <, 0);
    fixture_expect_failure("/no/such/image");
    g_assert_cmpint(virDomainIsActive(domain), ==, 0);
    undefine(domain);

    domain = fixture_define(conn, "huge", NULL);
    CHECK(virDomainSetMaxMemory(domain, 64UL * 1024 * 1024));
    CHECK(virDomainSetMemoryFlags(domain, 64UL * 1024 * 1024, VIR_DOMAIN_AFFECT_CONFIG));
    g_assert_cmpint(virDomainCreate(domain), <, 0);
    fixture_expect_failure("emory");
    undefine(domain);
}

/* --- definitions -------------------------------------------------------------------------------------- */

static void
rename_moves_the_file_and_the_autostart_link(void)
{
    virDomainPtr domain = fixture_define(conn, "old", NULL);

    CHECK(virDomainSetAutostart(domain, 1));
    CHECK(virDomainRename(domain, "new", 0));
    g_assert_true(exists("etc/new.xml"));
    g_assert_true(exists("etc/autostart/new.xml"));
    g_assert_false(exists("etc/old.xml"));
    g_assert_false(exists("etc/autostart/old.xml"));
    virDomainFree(domain);
    domain = virDomainLookupByName(conn, "new");
    g_assert_nonnull(domain);
    CHECK(virDomainCreate(domain));
    g_assert_cmpint(virDomainRename(domain, "newer", 0), <, 0);
    fixture_expect_failure("running");
    undefine(domain);
    g_assert_false(exists("etc/autostart/new.xml"));
}

static void
two_domains_of_one_name_or_uuid_are_refused(void)
{
    virDomainPtr domain = fixture_define(conn, "twin", NULL);
    g_autofree char *xml = fixture_domain_xml("twin", NULL);
    g_autofree char *other = NULL;
    char uuid[VIR_UUID_STRING_BUFLEN];

    g_assert_null(virDomainDefineXML(conn, xml));
    fixture_expect_failure("twin");
    CHECK(virDomainGetUUIDString(domain, uuid));
    other =
        g_strdup_printf("<domain type='xen'><name>other</name><uuid>%s</uuid><memory unit='MiB'>64</memory>"
                        "<os><type>linux</type></os></domain>",
                        uuid);
    g_assert_null(virDomainDefineXML(conn, other));
    fixture_expect_failure("twin");
    undefine(domain);
}

static void
metadata_title_and_description_are_kept(void)
{
    virDomainPtr domain = fixture_define(conn, "meta", NULL);
    g_autofree char *title = NULL;

    CHECK(virDomainCreate(domain));
    CHECK(virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_TITLE, "A title", NULL, NULL,
                               VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG));
    CHECK(virDomainDestroy(domain));
    title = virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_TITLE, NULL, 0);
    g_assert_cmpstr(title, ==, "A title");
    undefine(domain);
}

static void
domain_0_is_shown_and_left_alone(void)
{
    virDomainPtr host = virDomainLookupByID(conn, 0);

    g_assert_nonnull(host);
    g_assert_cmpstr(virDomainGetName(host), ==, "Domain-0");
    g_assert_cmpint(virDomainDestroy(host), <, 0);
    fixture_expect_failure("host");
    g_assert_cmpint(virDomainSuspend(host), <, 0);
    fixture_expect_failure("host");
    g_assert_cmpint(virDomainUndefine(host), <, 0);
    fixture_expect_failure("Domain-0");
    g_assert_null(virDomainDefineXML(conn, "<domain type='xen'><name>Domain-0</name><memory>65536</memory>"
                                           "<os><type>linux</type></os></domain>"));
    virResetLastError();
    virDomainFree(host);
}

/* --- vCPUs, memory, scheduling ------------------------------------------------------------------------- */

static void
vcpus_change_live_and_in_the_definition(void)
{
    virDomainPtr domain = fixture_define(conn, "vcpus", NULL);
    g_autofree char *xml = NULL;
    virDomainPtr again;
    unsigned char map = 0x02;
    unsigned char maps[4];

    CHECK(virDomainCreate(domain));
    CHECK(virDomainSetVcpusFlags(domain, 4, VIR_DOMAIN_AFFECT_LIVE));
    g_assert_cmpint(virDomainGetVcpusFlags(domain, VIR_DOMAIN_AFFECT_LIVE), ==, 4);
    g_assert_cmpint(virDomainGetVcpusFlags(domain, VIR_DOMAIN_AFFECT_CONFIG), ==, 2);
    g_assert_cmpint(virDomainSetVcpus(domain, 5), <, 0);
    fixture_expect_failure("vcpus");
    CHECK(virDomainSetVcpu(domain, "3", 0, VIR_DOMAIN_AFFECT_LIVE));
    g_assert_cmpint(virDomainGetVcpusFlags(domain, VIR_DOMAIN_AFFECT_LIVE), ==, 3);
    g_assert_cmpint(virDomainSetVcpu(domain, "0", 0, VIR_DOMAIN_AFFECT_LIVE), <, 0);
    fixture_expect_failure("vCPU 0");

    /* A definition that names an absent vCPU is one that can be read again. */
    CHECK(virDomainSetVcpu(domain, "1", 0, VIR_DOMAIN_AFFECT_CONFIG));
    xml = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE);
    g_assert_nonnull(strstr(xml, "enabled='no'"));
    again = virDomainDefineXML(conn, xml);
    g_assert_nonnull(again);
    virDomainFree(again);

    CHECK(virDomainPinVcpuFlags(domain, 1, &map, 1, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG));
    g_assert_cmpint(virDomainGetVcpuPinInfo(domain, 4, maps, 1, VIR_DOMAIN_AFFECT_CONFIG), ==, 4);
    g_assert_cmpint(maps[1], ==, 0x02);
    g_assert_cmpint(maps[0], ==, 0x0f);
    undefine(domain);
}

static void
memory_goes_down_and_up_within_its_limit(void)
{
    virDomainPtr domain = fixture_define(conn, "memory", NULL);
    virDomainMemoryStatStruct stats[VIR_DOMAIN_MEMORY_STAT_NR];
    g_autofree char *xml = NULL;

    CHECK(virDomainCreate(domain));
    CHECK(virDomainSetMemory(domain, 32 * 1024));
    g_assert_cmpint(virDomainSetMemory(domain, 128 * 1024), <, 0);
    fixture_expect_failure("65536");
    CHECK(virDomainSetMemoryFlags(domain, 48 * 1024, VIR_DOMAIN_AFFECT_CONFIG));
    xml = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE);
    g_assert_nonnull(strstr(xml, "<currentMemory unit='KiB'>49152</currentMemory>"));
    g_assert_cmpint(virDomainMemoryStats(domain, stats, G_N_ELEMENTS(stats), 0), >=, 2);
    CHECK(virDomainSetMemoryStatsPeriod(domain, 5, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG));
    undefine(domain);
}

static void
weight_and_cap_survive_a_restart(void)
{
    virDomainPtr domain = fixture_define(conn, "sched", NULL);
    virTypedParameterPtr params = NULL;
    int nparams = 0;
    int max = 0;
    unsigned int value = 0;
    int i;

    CHECK(virTypedParamsAddUInt(&params, &nparams, &max, VIR_DOMAIN_SCHEDULER_WEIGHT, 1000));
    CHECK(virTypedParamsAddUInt(&params, &nparams, &max, VIR_DOMAIN_SCHEDULER_CAP, 150));
    CHECK(virDomainSetSchedulerParametersFlags(domain, params, nparams, VIR_DOMAIN_AFFECT_CONFIG));
    for (i = 0; i < 2; i++) {
        CHECK(virDomainCreate(domain));
        nparams = 2;
        CHECK(virDomainGetSchedulerParametersFlags(domain, params, &nparams, VIR_DOMAIN_AFFECT_LIVE));
        g_assert_cmpint(virTypedParamsGetUInt(params, nparams, VIR_DOMAIN_SCHEDULER_WEIGHT, &value), ==, 1);
        g_assert_cmpuint(value, ==, 1000);
        g_assert_cmpint(virTypedParamsGetUInt(params, nparams, VIR_DOMAIN_SCHEDULER_CAP, &value), ==, 1);
        g_assert_cmpuint(value, ==, 150);
        CHECK(virDomainDestroy(domain));
    }
    virTypedParamsFree(params, nparams);
    undefine(domain);
}

/* --- save, restore, dump ------------------------------------------------------------------------------- */

static void
save_and_restore_bring_the_same_domain_back(void)
{
    g_autofree char *path = g_build_filename(fixture_root(), "image.save", NULL);
    g_autofree char *xml = NULL;
    virDomainPtr domain = fixture_define(conn, "save", NULL);

    CHECK(virDomainCreate(domain));
    CHECK(virDomainSave(domain, path));
    g_assert_cmpint(state_of(domain), ==, VIR_DOMAIN_SHUTOFF);
    g_assert_false(exists("image.save.partial"));

    xml = virDomainSaveImageGetXMLDesc(conn, path, 0);
    g_assert_nonnull(xml);
    g_assert_nonnull(strstr(xml, "<name>save</name>"));

    CHECK(virDomainRestore(conn, path));
    g_assert_cmpint(state_of(domain), ==, VIR_DOMAIN_RUNNING);
    CHECK(virDomainSaveFlags(domain, path, NULL, VIR_DOMAIN_SAVE_PAUSED));
    CHECK(virDomainRestore(conn, path));
    g_assert_cmpint(state_of(domain), ==, VIR_DOMAIN_PAUSED);
    CHECK(virDomainDestroy(domain));
    CHECK(virDomainRestoreFlags(conn, path, NULL, VIR_DOMAIN_SAVE_RUNNING));
    g_assert_cmpint(state_of(domain), ==, VIR_DOMAIN_RUNNING);
    undefine(domain);
}

static void
another_definition_in_an_image_must_be_the_same_guest(void)
{
    g_autofree char *path = g_build_filename(fixture_root(), "edit.save", NULL);
    g_autofree char *xml = NULL;
    g_autofree char *changed = NULL;
    g_autofree char *again = NULL;
    g_auto(GStrv) parts = NULL;
    virDomainPtr domain = fixture_define(conn, "edit", NULL);

    CHECK(virDomainCreate(domain));
    CHECK(virDomainSave(domain, path));
    xml = virDomainSaveImageGetXMLDesc(conn, path, VIR_DOMAIN_SAVE_IMAGE_XML_SECURE);
    parts = g_strsplit(xml, "<on_crash>destroy</on_crash>", 2);
    g_assert_nonnull(parts[1]);
    changed = g_strjoinv("<on_crash>restart</on_crash>", parts);
    CHECK(virDomainSaveImageDefineXML(conn, path, changed, 0));
    again = virDomainSaveImageGetXMLDesc(conn, path, 0);
    g_assert_nonnull(strstr(again, "<on_crash>restart</on_crash>"));

    g_assert_cmpint(virDomainSaveImageDefineXML(conn, path,
                                                "<domain type='xen'><name>edit</name><memory>70000</memory>"
                                                "<os><type>linux</type></os></domain>",
                                                0),
                    <, 0);
    virResetLastError();
    undefine(domain);
}

static void
a_damaged_image_is_refused_and_starts_nothing(void)
{
    g_autofree char *path = g_build_filename(fixture_root(), "damaged.save", NULL);

    g_assert_true(g_file_set_contents(path, "This is no saved domain, whatever its name says.\n", -1, NULL));
    g_assert_cmpint(virDomainRestore(conn, path), <, 0);
    fixture_expect_failure("damaged.save");
    g_assert_cmpint(virConnectNumOfDomains(conn), ==, 1);
}

static void
managed_save_is_taken_up_by_the_next_start(void)
{
    virDomainPtr domain = fixture_define(conn, "managed", NULL);
    g_autofree char *xml = NULL;

    CHECK(virDomainCreate(domain));
    CHECK(virDomainManagedSave(domain, 0));
    g_assert_cmpint(virDomainHasManagedSaveImage(domain, 0), ==, 1);
    g_assert_true(exists("lib/save/managed.save"));
    xml = virDomainManagedSaveGetXMLDesc(domain, 0);
    g_assert_nonnull(xml);
    g_assert_cmpint(virDomainUndefine(domain), <, 0);
    fixture_expect_failure("managed save");
    CHECK(virDomainCreate(domain));
    g_assert_cmpint(virDomainHasManagedSaveImage(domain, 0), ==, 0);
    g_assert_false(exists("lib/save/managed.save"));

    CHECK(virDomainManagedSave(domain, VIR_DOMAIN_SAVE_PAUSED));
    CHECK(virDomainCreateWithFlags(domain, VIR_DOMAIN_START_FORCE_BOOT));
    g_assert_cmpint(state_of(domain), ==, VIR_DOMAIN_RUNNING);
    g_assert_false(exists("lib/save/managed.save"));
    undefine(domain);
}

static void
a_dump_that_fails_leaves_the_guest_and_no_file(void)
{
    g_autofree char *path = g_build_filename(fixture_root(), "core", NULL);
    virDomainPtr domain = fixture_define(conn, "dump", NULL);
    int format;

    /* A pretend guest never tells where its memory is, so its dump cannot succeed. */
    CHECK(virDomainCreate(domain));
    g_assert_cmpint(virDomainCoreDump(domain, path, VIR_DUMP_CRASH), <, 0);
    fixture_expect_failure("dump");
    g_assert_cmpint(state_of(domain), ==, VIR_DOMAIN_RUNNING);
    g_assert_false(exists("core"));
    g_assert_false(exists("core.partial"));
    g_assert_cmpint(virDomainCoreDumpWithFormat(domain, path, VIR_DOMAIN_CORE_DUMP_FORMAT_KDUMP_ZLIB, 0), <,
                    0);
    fixture_expect_failure("dump");
    for (format = VIR_DOMAIN_CORE_DUMP_FORMAT_KDUMP_LZO; format <= VIR_DOMAIN_CORE_DUMP_FORMAT_WIN_DMP;
         format++) {
        g_assert_cmpint(virDomainCoreDumpWithFormat(domain, path, format, VIR_DUMP_CRASH), <, 0);
        fixture_expect_failure("kdump-zlib");
    }
    g_assert_cmpint(state_of(domain), ==, VIR_DOMAIN_RUNNING);
    g_assert_false(exists("core"));
    undefine(domain);
}

static void
a_finished_job_can_be_asked_about(void)
{
    g_autofree char *path = g_build_filename(fixture_root(), "job.save", NULL);
    virDomainPtr domain = fixture_define(conn, "job", NULL);
    virTypedParameterPtr params = NULL;
    int nparams = 0;
    int type = -1;
    int operation = -1;
    virDomainJobInfo info;

    CHECK(virDomainCreate(domain));
    CHECK(virDomainGetJobInfo(domain, &info));
    g_assert_cmpint(info.type, ==, VIR_DOMAIN_JOB_NONE);
    g_assert_cmpint(virDomainAbortJob(domain), <, 0);
    fixture_expect_failure("no job");
    CHECK(virDomainSave(domain, path));
    CHECK(virDomainGetJobStats(domain, &type, &params, &nparams, VIR_DOMAIN_JOB_STATS_COMPLETED));
    g_assert_cmpint(type, ==, VIR_DOMAIN_JOB_COMPLETED);
    g_assert_cmpint(virTypedParamsGetInt(params, nparams, VIR_DOMAIN_JOB_OPERATION, &operation), ==, 1);
    g_assert_cmpint(operation, ==, VIR_DOMAIN_JOB_OPERATION_SAVE);
    virTypedParamsFree(params, nparams);
    undefine(domain);
}

/* --- disks, NICs, statistics --------------------------------------------------------------------------- */

static void
statistics_hold_every_group(void)
{
    static const char *fields[] = {"state.state",  "cpu.time",     "balloon.current",  "vcpu.current",
                                   "vcpu.0.state", "net.count",    "net.0.name",       "net.0.rx.bytes",
                                   "block.count",  "block.0.name", "block.0.rd.bytes", "block.0.capacity"};
    g_autofree char *image = g_build_filename(fixture_root(), "stats.img", NULL);
    g_autofree char *devices = g_strdup_printf(
        "<disk type='file'><driver name='qemu' type='raw'/><source file='%s'/><target dev='xvda' "
        "bus='xen'/></disk>"
        "<interface type='bridge'><mac address='00:16:3e:00:00:02'/><source bridge='br0'/></interface>",
        image);
    g_autofree char *zeros = g_malloc0(1024 * 1024);
    virDomainStatsRecordPtr *records;
    virDomainPtr domain;
    virDomainPtr list[2];
    virDomainBlockInfo info;
    virDomainInterfaceStatsStruct nic;
    size_t i;

    g_assert_true(g_file_set_contents(image, zeros, 1024 * 1024, NULL));
    domain = fixture_define(conn, "stats", devices);
    CHECK(virDomainCreate(domain));
    list[0] = domain;
    list[1] = NULL;
    g_assert_cmpint(virDomainListGetStats(list, 0, &records, 0), ==, 1);
    for (i = 0; i < G_N_ELEMENTS(fields); i++) {
        if (!virTypedParamsGet(records[0]->params, records[0]->nparams, fields[i]))
            g_error("%s is missing", fields[i]);
    }
    virDomainStatsRecordListFree(records);

    CHECK(virDomainGetBlockInfo(domain, "xvda", &info, 0));
    g_assert_cmpuint(info.capacity, ==, 1024 * 1024);
    CHECK(virDomainBlockResize(domain, "xvda", 2048, 0));
    CHECK(virDomainGetBlockInfo(domain, "xvda", &info, 0));
    g_assert_cmpuint(info.capacity, ==, 2 * 1024 * 1024);
    g_assert_cmpint(virDomainBlockResize(domain, "xvda", 1024, 0), <, 0);
    fixture_expect_failure("smaller");
    CHECK(virDomainInterfaceStats(domain, "00:16:3e:00:00:02", &nic, sizeof(nic)));
    undefine(domain);
}

static void
bandwidth_is_set_live_and_in_the_definition(void)
{
    virDomainPtr domain = fixture_define(conn, "rate",
                                         "<interface type='bridge'><mac address='00:16:3e:00:00:03'/>"
                                         "<source bridge='br0'/></interface>");
    virTypedParameter read[7];
    virTypedParameterPtr params = NULL;
    int nparams = 0;
    int max = 0;
    unsigned int value = 0;

    CHECK(virDomainCreate(domain));
    CHECK(virTypedParamsAddUInt(&params, &nparams, &max, VIR_DOMAIN_BANDWIDTH_OUT_AVERAGE, 1000));
    CHECK(virDomainSetInterfaceParameters(domain, "00:16:3e:00:00:03", params, nparams,
                                          VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG));
    virTypedParamsFree(params, nparams);
    CHECK(virDomainDestroy(domain));
    nparams = G_N_ELEMENTS(read);
    CHECK(virDomainGetInterfaceParameters(domain, "00:16:3e:00:00:03", read, &nparams,
                                          VIR_DOMAIN_AFFECT_CONFIG));
    g_assert_cmpint(virTypedParamsGetUInt(read, nparams, VIR_DOMAIN_BANDWIDTH_OUT_AVERAGE, &value), ==, 1);
    g_assert_cmpuint(value, ==, 1000);
    undefine(domain);
}

static void
the_node_tells_what_the_hypervisor_knows(void)
{
    virNodeInfo info;
    unsigned char *map = NULL;
    unsigned int online = 0;
    virNodeCPUStats cpu[8];
    virNodeMemoryStats memory[8];
    unsigned long version = 0;
    char **models = NULL;
    int count = 8;
    int i;

    CHECK(virNodeGetInfo(conn, &info));
    g_assert_cmpuint(info.nodes * info.sockets * info.cores * info.threads, ==, info.cpus);
    g_assert_cmpint(virNodeGetCPUMap(conn, &map, &online, 0), ==, info.cpus);
    g_assert_cmpuint(online, ==, info.cpus);
    free(map);
    CHECK(virNodeGetCPUStats(conn, VIR_NODE_CPU_STATS_ALL_CPUS, cpu, &count, 0));
    g_assert_cmpint(virNodeGetCPUStats(conn, 1000, cpu, &count, 0), <, 0);
    fixture_expect_failure("1000");
    count = 8;
    CHECK(virNodeGetMemoryStats(conn, VIR_NODE_MEMORY_STATS_ALL_CELLS, memory, &count, 0));
    g_assert_cmpuint(memory[0].value, ==, info.memory);
    g_assert_cmpuint(virNodeGetFreeMemory(conn), >, 0);
    CHECK(virConnectGetVersion(conn, &version));
    g_assert_cmpuint(version, >=, 4002000);
    g_assert_cmpint(virConnectGetCPUModelNames(conn, "x86_64", &models, 0), >, 10);
    for (i = 0; models[i]; i++)
        free(models[i]);
    free(models);
}

/* --- many at once --------------------------------------------------------------------------------------- */

#define RACERS 4
#define ROUNDS 25

static gpointer
race(gpointer data)
{
    virDomainPtr domain = virDomainLookupByName(conn, data);
    int i;

    g_assert_nonnull(domain);
    for (i = 0; i < ROUNDS; i++) {
        int state, reason;

        /* Each may lose against another; none may hang, and each loser hears a reason. */
        if (virDomainCreate(domain) < 0)
            g_assert_cmpstr(virGetLastErrorMessage(), !=, "no error");
        virDomainSuspend(domain);
        virDomainGetState(domain, &state, &reason, 0);
        virDomainResume(domain);
        if (i % 3 == 0)
            virDomainReset(domain, 0);
        virDomainDestroy(domain);
        virResetLastError();
    }
    virDomainFree(domain);
    return NULL;
}

static void
clients_that_race_for_one_domain_end_whole(void)
{
    virDomainPtr domain = fixture_define(conn, "race", NULL);
    GThread *threads[RACERS];
    size_t i;

    for (i = 0; i < RACERS; i++)
        threads[i] = g_thread_new("racer", race, (gpointer) "race");
    for (i = 0; i < RACERS; i++)
        g_thread_join(threads[i]);
    if (virDomainIsActive(domain) == 1)
        CHECK(virDomainDestroy(domain));
    g_assert_cmpint(virConnectNumOfDomains(conn), ==, 1);
    g_assert_false(exists("run/race.xml"));
    CHECK(virDomainCreate(domain));
    undefine(domain);
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*function)(void);
    } tests[] = {
        {"events-tell-each-step-in-order", events_tell_each_step_in_order},
        {"a-guest-that-powers-off-is-shut-off", a_guest_that_powers_off_is_shut_off},
        {"a-guest-that-reboots-keeps-its-devices", a_guest_that_reboots_gets_a_new_id_and_keeps_its_devices},
        {"what-follows-a-stop-can-be-changed", what_follows_a_stop_can_be_changed_while_it_runs},
        {"a-preserved-guest-is-shown-as-shut-down", a_preserved_guest_is_shown_as_shut_down_until_destroyed},
        {"reset-starts-a-new-guest", reset_starts_a_new_guest_at_once},
        {"a-transient-domain-leaves-the-list", a_transient_domain_leaves_the_list_when_it_ends},
        {"autodestroy-ends-with-its-connection", autodestroy_ends_with_its_connection},
        {"a-failed-start-leaves-nothing", a_failed_start_leaves_nothing_and_says_why},
        {"missing-images-and-too-much-memory-fail", missing_images_and_too_much_memory_fail_whole},
        {"rename-moves-files", rename_moves_the_file_and_the_autostart_link},
        {"two-domains-of-one-name-are-refused", two_domains_of_one_name_or_uuid_are_refused},
        {"metadata-is-kept", metadata_title_and_description_are_kept},
        {"domain-0-is-left-alone", domain_0_is_shown_and_left_alone},
        {"vcpus-change", vcpus_change_live_and_in_the_definition},
        {"memory-goes-down-and-up", memory_goes_down_and_up_within_its_limit},
        {"weight-and-cap-survive-a-restart", weight_and_cap_survive_a_restart},
        {"save-and-restore", save_and_restore_bring_the_same_domain_back},
        {"edit-an-image", another_definition_in_an_image_must_be_the_same_guest},
        {"a-damaged-image-is-refused", a_damaged_image_is_refused_and_starts_nothing},
        {"managed-save", managed_save_is_taken_up_by_the_next_start},
        {"a-dump-that-fails-leaves-the-guest", a_dump_that_fails_leaves_the_guest_and_no_file},
        {"a-finished-job-can-be-asked-about", a_finished_job_can_be_asked_about},
        {"statistics-hold-every-group", statistics_hold_every_group},
        {"bandwidth-is-set", bandwidth_is_set_live_and_in_the_definition},
        {"the-node-tells", the_node_tells_what_the_hypervisor_knows},
        {"clients-that-race", clients_that_race_for_one_domain_end_whole},
    };
    size_t i;
    int result;
    int callback;

    conn = fixture_open(&argc, &argv);
    events = g_string_new(NULL);
    callback = virConnectDomainEventRegisterAny(conn, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                                VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), NULL, NULL);
    g_assert_cmpint(callback, >=, 0);
    for (i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *name = g_strdup_printf("/libvirt/life/%s", tests[i].name);

        g_test_add_func(name, tests[i].function);
    }
    result = g_test_run();
    virConnectDomainEventDeregisterAny(conn, callback);
    g_string_free(events, TRUE);
    fixture_close();
    return result;
}
