/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Events besides those of a domain's life (life-test.c): devices that failed, jobs that ended, what was
 * changed.
 *
 * A pretend machine has no QEMU that could end.  So the test looks out for the library's host object and has
 * it say what it says then.
 */
#include "fixture.h"

#include <serai.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static virConnectPtr conn;
static GMutex lock;
static GString *seen;
static SeraiHost *host;

G_GNUC_PRINTF(1, 2)
static void
note(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    g_mutex_lock(&lock);
    g_string_append_vprintf(seen, format, arguments);
    g_mutex_unlock(&lock);
    va_end(arguments);
}

/* Events come from another thread; what is waited for comes within seconds or never. */
static void
expect(const char *text)
{
    gboolean found = FALSE;
    int i;

    for (i = 0; i < 400 && !found; i++) {
        g_mutex_lock(&lock);
        found = strstr(seen->str, text) != NULL;
        g_mutex_unlock(&lock);
        if (!found)
            g_usleep(25 * 1000);
    }
    if (!found)
        g_error("'%s' did not come: '%s'", text, seen->str);
}

static void
forget(void)
{
    g_mutex_lock(&lock);
    g_string_truncate(seen, 0);
    g_mutex_unlock(&lock);
}

static void
on_io_error(virConnectPtr c, virDomainPtr domain, const char *path, const char *alias, int action,
            void *opaque)
{
    (void)c;
    (void)opaque;
    note("io-error %s %s %s %d;", virDomainGetName(domain), strrchr(path, '/') + 1, alias, action);
}

static void
on_io_error_reason(virConnectPtr c, virDomainPtr domain, const char *path, const char *alias, int action,
                   const char *reason, void *opaque)
{
    (void)c;
    (void)domain;
    (void)path;
    (void)action;
    (void)opaque;
    note("reason %s %s;", alias, reason);
}

static void
on_control_error(virConnectPtr c, virDomainPtr domain, void *opaque)
{
    (void)c;
    (void)opaque;
    note("control-error %s;", virDomainGetName(domain));
}

static void
on_job(virConnectPtr c, virDomainPtr domain, virTypedParameterPtr params, int count, void *opaque)
{
    int operation = -1;
    int success = -1;

    (void)c;
    (void)opaque;
    virTypedParamsGetInt(params, count, VIR_DOMAIN_JOB_OPERATION, &operation);
    virTypedParamsGetBoolean(params, count, VIR_DOMAIN_JOB_SUCCESS, &success);
    note("job %s %d %d;", virDomainGetName(domain), operation, success);
}

static void
on_disk_change(virConnectPtr c, virDomainPtr domain, const char *old, const char *new, const char *alias,
               int reason, void *opaque)
{
    (void)c;
    (void)opaque;
    note("disk %s %s %s %s %d;", virDomainGetName(domain), old ? strrchr(old, '/') + 1 : "-",
         new ? strrchr(new, '/') + 1 : "-", alias, reason);
}

static void
on_tunable(virConnectPtr c, virDomainPtr domain, virTypedParameterPtr params, int count, void *opaque)
{
    (void)c;
    (void)opaque;
    note("tunable %s", virDomainGetName(domain));
    for (int i = 0; i < count; i++) {
        if (params[i].type == VIR_TYPED_PARAM_STRING)
            note(" %s=%s", params[i].field, params[i].value.s);
        else
            note(" %s=%llu", params[i].field, params[i].value.ul);
    }
    note(";");
}

static void
on_tray(virConnectPtr c, virDomainPtr domain, const char *alias, int reason, void *opaque)
{
    (void)c;
    (void)opaque;
    note("tray %s %s %d;", virDomainGetName(domain), alias, reason);
}

static void
on_removal_failed(virConnectPtr c, virDomainPtr domain, const char *alias, void *opaque)
{
    (void)c;
    (void)opaque;
    note("removal-failed %s %s;", virDomainGetName(domain), alias);
}

static void
on_removed(virConnectPtr c, virDomainPtr domain, const char *alias, void *opaque)
{
    (void)c;
    (void)opaque;
    note("removed %s %s;", virDomainGetName(domain), alias);
}

static int
on_life(virConnectPtr c, virDomainPtr domain, int event, int detail, void *opaque)
{
    (void)c;
    (void)detail;
    (void)opaque;
    note("life %s %d;", virDomainGetName(domain), event);
    return 0;
}

/* The driver's host, as a signal of it passes by. */
static gboolean
on_death(GSignalInvocationHint *hint, guint count, const GValue *values, gpointer data)
{
    (void)hint;
    (void)count;
    (void)data;
    g_atomic_pointer_compare_and_exchange(&host, NULL, g_value_dup_object(&values[0]));
    return FALSE;
}

static virDomainPtr
start(const char *name, const char *devices)
{
    virDomainPtr domain = fixture_define(conn, name, devices);

    CHECK(virDomainCreate(domain));
    return domain;
}

/* The death of a domain that lives too shortly is not noticed, so there may have to be another. */
static void
wait_for_host(void)
{
    int i;

    for (i = 0; i < 400 && !g_atomic_pointer_get(&host); i++) {
        fixture_undefine(start("decoy", NULL));
        g_usleep(25 * 1000);
    }
    g_assert_nonnull(host);
}

static void
a_qemu_that_ends_is_told(void)
{
    g_autofree char *image = g_build_filename(fixture_root(), "lost.img", NULL);
    g_autofree char *devices = g_strdup_printf("<disk type='file'><source file='%s'/><target dev='xvdb' "
                                               "bus='xen'/></disk><graphics type='vnc' autoport='yes'/>",
                                               image);
    g_autoptr(SeraiDomain) lost = NULL;
    virDomainPtr domain;

    g_assert_true(g_file_set_contents(image, "x", 1, NULL));
    /* The type is there since the driver opened its host; the hook goes with its first call. */
    g_signal_add_emission_hook(g_signal_lookup("domain-died", g_type_from_name("SeraiHost")), 0, on_death,
                               NULL, NULL);
    wait_for_host();
    domain = start("lost", devices);
    lost = serai_host_lookup_by_name(host, "lost", NULL);
    g_assert_nonnull(lost);

    g_signal_emit_by_name(host, "device-failed", lost, SERAI_DEVICE_DISK, 202 << 8 | 16);
    expect("io-error lost lost.img disk-xvdb 0;");
    expect("reason disk-xvdb QEMU has ended;");
    forget();
    /* A disk that the domain has not is nobody's. */
    g_signal_emit_by_name(host, "device-failed", lost, SERAI_DEVICE_DISK, 202 << 8 | 32);
    g_signal_emit_by_name(host, "device-failed", lost, SERAI_DEVICE_VFB, 0);
    expect("control-error lost;");
    g_assert_null(strstr(seen->str, "io-error"));
    fixture_undefine(domain);
}

/* How many guests a list of those that run has. */
static int
running(void)
{
    virDomainStatsRecordPtr *records = NULL;
    virDomainPtr *domains = NULL;
    int guests = 0;
    int n = virConnectListAllDomains(conn, &domains, VIR_CONNECT_LIST_DOMAINS_RUNNING);
    int m = virConnectGetAllDomainStats(conn, 0, &records, VIR_CONNECT_GET_ALL_DOMAINS_STATS_RUNNING);

    g_assert_cmpint(n, ==, m);
    for (int i = 0; i < n; i++) {
        guests += virDomainGetID(domains[i]) != 0;
        virDomainFree(domains[i]);
    }
    free(domains);
    virDomainStatsRecordListFree(records);
    return guests;
}

/* No event of the hypervisor's tells, so who asks sees it first. */
static void
a_pause_by_another_tool_is_seen(void)
{
    virDomainPtr domain = start("other", NULL);
    g_autoptr(SeraiDomain) other = serai_host_lookup_by_name(host, "other", NULL);
    virDomainPtr domains[] = {domain, NULL};
    virDomainStatsRecordPtr *records = NULL;
    virDomainInfo info;
    int state, reason;

    g_assert_nonnull(other);
    g_assert_true(serai_domain_pause(other, NULL));
    forget();
    CHECK(virDomainGetState(domain, &state, &reason, 0));
    g_assert_cmpint(state, ==, VIR_DOMAIN_PAUSED);
    expect("life other 3;"); /* VIR_DOMAIN_EVENT_SUSPENDED */

    g_assert_true(serai_domain_unpause(other, NULL));
    CHECK(virDomainGetInfo(domain, &info));
    g_assert_cmpint(info.state, ==, VIR_DOMAIN_RUNNING);
    expect("life other 4;"); /* VIR_DOMAIN_EVENT_RESUMED */

    g_assert_true(serai_domain_pause(other, NULL));
    g_assert_cmpint(virDomainListGetStats(domains, VIR_DOMAIN_STATS_STATE, &records, 0), ==, 1);
    CHECK(virTypedParamsGetInt(records[0]->params, records[0]->nparams, "state.state", &state));
    g_assert_cmpint(state, ==, VIR_DOMAIN_PAUSED);
    virDomainStatsRecordListFree(records);

    g_assert_true(serai_domain_unpause(other, NULL));
    g_assert_cmpint(running(), ==, 1);
    g_assert_true(serai_domain_pause(other, NULL));
    g_assert_cmpint(running(), ==, 0);
    CHECK(virDomainResume(domain));
    CHECK(virDomainGetState(domain, &state, NULL, 0));
    g_assert_cmpint(state, ==, VIR_DOMAIN_RUNNING);
    fixture_undefine(domain);
}

static gint shutdowns;

static void
on_shutdown(SeraiHost *of, SeraiDomain *domain, guint reason, gpointer data)
{
    (void)of;
    (void)domain;
    (void)reason;
    (void)data;
    g_atomic_int_inc(&shutdowns);
}

/* Nor does an event tell that a program has died which was saving a guest: it sleeps until somebody asks. */
static void
a_guest_left_asleep_goes_on(void)
{
    virDomainPtr domain = start("asleep", NULL);
    g_autoptr(SeraiDomain) asleep = serai_host_lookup_by_name(host, "asleep", NULL);
    g_autoptr(SeraiDomainInfo) before = NULL, after = NULL;
    gulong driver = g_signal_handler_find(host, G_SIGNAL_MATCH_ID,
                                          g_signal_lookup("domain-shutdown", SERAI_TYPE_HOST), 0, NULL, NULL,
                                          NULL),
           ours = g_signal_connect(host, "domain-shutdown", G_CALLBACK(on_shutdown), NULL);
    int fd = memfd_create("image", MFD_CLOEXEC), state, i;

    g_assert_cmpuint(driver, !=, 0);
    g_signal_handler_block(host, driver);
    g_assert_true(
        serai_domain_save_sync(asleep, fd, NULL, SERAI_SAVE_KEEP_SUSPENDED, NULL, NULL, NULL, NULL));
    close(fd);
    for (i = 0; i < 400 && !g_atomic_int_get(&shutdowns); i++)
        g_usleep(25 * 1000);
    g_signal_handler_disconnect(host, ours);
    g_signal_handler_unblock(host, driver);
    before = serai_domain_get_info(asleep, NULL);
    g_assert_cmpint(before->shutdown_reason, ==, SERAI_SHUTDOWN_SUSPEND);

    CHECK(virDomainGetState(domain, &state, NULL, 0));
    g_assert_cmpint(state, ==, VIR_DOMAIN_RUNNING);
    after = serai_domain_get_info(asleep, NULL);
    g_assert_cmpint(after->shutdown_reason, ==, SERAI_SHUTDOWN_NONE);
    fixture_undefine(domain);
}

/* Another tool was faster, so there is nothing to detach any more; and the driver has not heard of it yet. */
static void
a_detach_that_fails_is_told(void)
{
    const char *nic = "<interface type='bridge'><mac address='00:16:3e:00:00:71'/><source bridge='br0'/>"
                      "<alias name='ua-stays'/></interface>";
    virDomainPtr domain = start("stays", nic);
    g_autoptr(SeraiDomain) other = serai_host_lookup_by_name(host, "stays", NULL);
    g_autoptr(SeraiDevice) device = serai_device_new(SERAI_DEVICE_NIC);
    gulong handler = g_signal_handler_find(
        host, G_SIGNAL_MATCH_ID, g_signal_lookup("device-removed", SERAI_TYPE_HOST), 0, NULL, NULL, NULL);

    device->nic.mac = g_strdup("00:16:3e:00:00:71");
    g_assert_cmpuint(handler, !=, 0);
    g_signal_handler_block(host, handler);
    g_assert_true(serai_domain_detach_device_sync(other, device, SERAI_DETACH_FORCE, NULL, NULL));
    g_assert_cmpint(virDomainDetachDevice(domain, nic), <, 0);
    fixture_expect_failure("cannot detach <interface> from domain 'stays'");
    expect("removal-failed stays ua-stays;");
    fixture_undefine(domain);
    g_signal_handler_unblock(host, handler);
}

/* The definition follows, and what the driver held for the devices is free. */
static void
a_device_taken_by_another_is_told(void)
{
    g_autofree char *image = g_build_filename(fixture_root(), "taken.img", NULL);
    g_autofree char *devices = g_strdup_printf(
        "<disk type='file'><source file='%s'/><target dev='xvdb' bus='xen'/></disk>"
        "<disk type='file' device='cdrom'><target dev='xvdc' bus='xen'/></disk>"
        "<interface type='bridge'><mac address='00:16:3e:00:00:72'/><source bridge='br0'/>"
        "<alias name='ua-nic'/></interface>"
        "<channel type='pty'><target type='xen' name='taken'/><alias name='ua-channel'/></channel>",
        image);
    static const SeraiDeviceKind kinds[] = {SERAI_DEVICE_DISK, SERAI_DEVICE_NIC, SERAI_DEVICE_CHANNEL};
    static const char *const told[] = {"removed taken disk-xvdb;", "removed taken ua-nic;",
                                       "removed taken ua-channel;"};
    g_autofree char *live = NULL, *inactive = NULL;
    g_autoptr(SeraiDomain) taken = NULL;
    virDomainPtr domain, next;

    g_assert_true(g_file_set_contents(image, "x", 1, NULL));
    domain = start("taken", devices);
    taken = serai_host_lookup_by_name(host, "taken", NULL);
    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autoptr(SeraiDevice) device = serai_device_new(kinds[i]);

        device->disk.target = g_strdup("xvdb");
        device->nic.mac = g_strdup("00:16:3e:00:00:72");
        device->console.name = g_strdup("taken");
        forget();
        g_assert_true(serai_domain_detach_device_sync(taken, device, SERAI_DETACH_NONE, NULL, NULL));
        expect(told[i]);
    }
    live = virDomainGetXMLDesc(domain, 0);
    inactive = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE);
    g_assert_null(strstr(live, "taken.img"));
    g_assert_null(strstr(live, "<interface"));
    g_assert_null(strstr(live, "<channel"));
    g_assert_nonnull(strstr(live, "xvdc"));
    g_assert_nonnull(strstr(live, "<console"));
    g_assert_nonnull(strstr(inactive, "taken.img"));
    g_assert_nonnull(strstr(inactive, "<interface"));
    g_assert_nonnull(strstr(inactive, "<channel"));
    next = start("next", "<interface type='bridge'><mac address='00:16:3e:00:00:72'/>"
                         "<source bridge='br0'/></interface>");
    fixture_undefine(next);
    /* What it attaches and detaches itself is told once. */
    forget();
    CHECK(virDomainAttachDevice(domain, "<disk type='block'><source dev='/dev/zero'/>"
                                        "<target dev='xvdd' bus='xen'/></disk>"));
    CHECK(virDomainDetachDevice(domain, "<disk type='block'><target dev='xvdd' bus='xen'/></disk>"));
    expect("removed taken disk-xvdd;");
    g_usleep(300 * 1000);
    g_assert_true(strstr(seen->str, "removed ") == g_strrstr(seen->str, "removed "));
    fixture_undefine(domain);
}

static void
what_is_tuned_is_told(void)
{
    virDomainPtr domain = start("tuned", NULL);
    virTypedParameter p[] = {{.field = VIR_DOMAIN_SCHEDULER_WEIGHT, .type = VIR_TYPED_PARAM_UINT},
                             {.field = VIR_DOMAIN_SCHEDULER_CAP, .type = VIR_TYPED_PARAM_UINT}};
    unsigned char map = 1;

    CHECK(virDomainPinVcpuFlags(domain, 1, &map, 1, VIR_DOMAIN_AFFECT_LIVE));
    expect("tunable tuned cputune.vcpupin1=0;");
    p[0].value.ui = 512;
    p[1].value.ui = 50;
    CHECK(virDomainSetSchedulerParametersFlags(domain, p, 2, VIR_DOMAIN_AFFECT_LIVE));
    expect("tunable tuned cputune.cpu_shares=512 cputune.global_period=100000 cputune.global_quota=50000;");
    forget();
    /* A definition is not what runs. */
    CHECK(virDomainSetSchedulerParametersFlags(domain, p, 1, VIR_DOMAIN_AFFECT_CONFIG));
    CHECK(virDomainSetSchedulerParametersFlags(domain, p, 1, VIR_DOMAIN_AFFECT_LIVE));
    expect("tunable tuned cputune.cpu_shares=512;");
    g_assert_cmpstr(seen->str, ==, "tunable tuned cputune.cpu_shares=512;");
    fixture_undefine(domain);
}

static void
a_disc_that_comes_or_goes_moves_the_tray(void)
{
    g_autofree char *image = g_build_filename(fixture_root(), "disc.iso", NULL);
    g_autofree char *full = g_strdup_printf("<disk type='file' device='cdrom'><source file='%s'/>"
                                            "<target dev='xvdc' bus='xen'/></disk>",
                                            image);
    const char *empty = "<disk type='file' device='cdrom'><target dev='xvdc' bus='xen'/></disk>";
    virDomainPtr domain;

    g_assert_true(g_file_set_contents(image, "x", 1, NULL));
    domain = start("tray", full);
    forget();
    CHECK(virDomainUpdateDeviceFlags(domain, empty, VIR_DOMAIN_AFFECT_LIVE));
    expect("tray tray disk-xvdc 0;"); /* VIR_DOMAIN_EVENT_TRAY_CHANGE_OPEN */
    g_assert_null(strstr(seen->str, "tray tray disk-xvdc 1;"));
    forget();
    CHECK(virDomainUpdateDeviceFlags(domain, full, VIR_DOMAIN_AFFECT_LIVE));
    expect("tray tray disk-xvdc 1;"); /* VIR_DOMAIN_EVENT_TRAY_CHANGE_CLOSE */
    g_assert_null(strstr(seen->str, "tray tray disk-xvdc 0;"));
    fixture_undefine(domain);
}

static void
the_end_of_a_job_is_told(void)
{
    g_autofree char *path = g_build_filename(fixture_root(), "told.save", NULL);
    virDomainPtr domain = start("told", NULL);

    expect("job told 1 1;"); /* VIR_DOMAIN_JOB_OPERATION_START */
    forget();
    CHECK(virDomainSave(domain, path));
    expect("job told 2 1;"); /* VIR_DOMAIN_JOB_OPERATION_SAVE */
    forget();
    CHECK(virDomainCreate(domain));
    /* A pretend guest's memory cannot be dumped. */
    g_assert_cmpint(virDomainCoreDump(domain, path, 0), <, 0);
    expect("job told 8 0;"); /* VIR_DOMAIN_JOB_OPERATION_DUMP */
    fixture_undefine(domain);
}

/* A disk and a disc that are not there, with each policy. */
static void
an_optional_disk_may_be_missing(void)
{
    static const char format[] =
        "<disk type='file'><source file='%s/gone.img' startupPolicy='%s'/>"
        "<target dev='xvdb' bus='xen'/></disk>"
        "<disk type='file' device='cdrom'><source file='%s/gone.iso' startupPolicy='%s'/>"
        "<target dev='xvdc' bus='xen'/></disk>";
    static const char *const refused[][2] = {{"mandatory", "optional"}, {"optional", "requisite"}};
    const char *root = fixture_root();
    g_autofree char *optional = g_strdup_printf(format, root, "optional", root, "optional");
    g_autofree char *live = NULL;
    g_autofree char *inactive = NULL;
    virDomainPtr domain;

    for (guint i = 0; i < G_N_ELEMENTS(refused); i++) {
        g_autofree char *devices = g_strdup_printf(format, root, refused[i][0], root, refused[i][1]);

        domain = fixture_define(conn, "refused", devices);
        g_assert_cmpint(virDomainCreate(domain), <, 0);
        fixture_expect_failure(i == 0 ? "gone.img" : "gone.iso");
        fixture_undefine(domain);
    }
    forget();
    domain = start("without", optional);
    expect("disk without gone.iso - disk-xvdc 0;");
    expect("disk without gone.img - disk-xvdb 1;");
    live = virDomainGetXMLDesc(domain, 0);
    g_assert_null(strstr(live, "gone.i"));
    g_assert_null(strstr(live, "xvdb"));
    g_assert_nonnull(strstr(live, "xvdc"));
    inactive = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE);
    g_assert_nonnull(strstr(inactive, "gone.img"));
    g_assert_nonnull(strstr(inactive, "gone.iso"));
    fixture_undefine(domain);
}

int
main(int argc, char **argv)
{
    static const struct {
        int id;
        virConnectDomainEventGenericCallback callback;
    } events[] = {
        {VIR_DOMAIN_EVENT_ID_IO_ERROR, VIR_DOMAIN_EVENT_CALLBACK(on_io_error)},
        {VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, VIR_DOMAIN_EVENT_CALLBACK(on_io_error_reason)},
        {VIR_DOMAIN_EVENT_ID_CONTROL_ERROR, VIR_DOMAIN_EVENT_CALLBACK(on_control_error)},
        {VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, VIR_DOMAIN_EVENT_CALLBACK(on_job)},
        {VIR_DOMAIN_EVENT_ID_DISK_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_disk_change)},
        {VIR_DOMAIN_EVENT_ID_TUNABLE, VIR_DOMAIN_EVENT_CALLBACK(on_tunable)},
        {VIR_DOMAIN_EVENT_ID_TRAY_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_tray)},
        {VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, VIR_DOMAIN_EVENT_CALLBACK(on_removal_failed)},
        {VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(on_removed)},
        {VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_life)},
    };
    int ids[G_N_ELEMENTS(events)];
    int result;
    size_t i;

    conn = fixture_open(&argc, &argv);
    seen = g_string_new(NULL);
    for (i = 0; i < G_N_ELEMENTS(events); i++) {
        ids[i] = virConnectDomainEventRegisterAny(conn, NULL, events[i].id, events[i].callback, NULL, NULL);
        g_assert_cmpint(ids[i], >=, 0);
    }
    g_test_add_func("/libvirt/events/qemu-ends", a_qemu_that_ends_is_told);
    g_test_add_func("/libvirt/events/paused-by-another", a_pause_by_another_tool_is_seen);
    g_test_add_func("/libvirt/events/left-asleep", a_guest_left_asleep_goes_on);
    g_test_add_func("/libvirt/events/tuned", what_is_tuned_is_told);
    g_test_add_func("/libvirt/events/removal-fails", a_detach_that_fails_is_told);
    g_test_add_func("/libvirt/events/taken-by-another", a_device_taken_by_another_is_told);
    g_test_add_func("/libvirt/events/tray", a_disc_that_comes_or_goes_moves_the_tray);
    g_test_add_func("/libvirt/events/job-ends", the_end_of_a_job_is_told);
    g_test_add_func("/libvirt/events/disk-is-missing", an_optional_disk_may_be_missing);
    result = g_test_run();
    for (i = 0; i < G_N_ELEMENTS(events); i++)
        virConnectDomainEventDeregisterAny(conn, ids[i]);
    g_string_free(seen, TRUE);
    g_clear_object(&host);
    fixture_close();
    return result;
}
