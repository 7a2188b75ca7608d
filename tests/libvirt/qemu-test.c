/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the driver says to the QEMU of a domain, and what it makes of the answers.
 *
 * A thread of the test stands where QEMU would listen.  It knows one disk, "xvda", keeps each command as a
 * line of text, and can be told to misbehave: a QEMU that a guest has taken over is not to be trusted.
 */
#include "fixture.h"

#include <gio/gio.h>
#include <gio/gunixfdmessage.h>
#include <gio/gunixsocketaddress.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PICTURE "not really a picture"

enum behavior { GOOD, HANGS_UP, SAYS_NONSENSE, NEVER_ENDS, NESTS, REFUSES };

static virConnectPtr conn;

static struct {
    GMutex lock;
    GString *heard; /* one line for each command but the first of a conversation */
    enum behavior behavior;
    int client; /* the descriptor that came last, or -1 */
    GSocketService *service;
} qemu = {.client = -1};

/* Takes a line, and a descriptor that came with it. */
static char *
take_line(GSocket *socket, GString *pending)
{
    char *end;

    while (!(end = memchr(pending->str, '\n', pending->len))) {
        char buffer[1024];
        GInputVector vector = {buffer, sizeof(buffer)};
        GSocketControlMessage **messages = NULL;
        int count = 0;
        gssize length =
            g_socket_receive_message(socket, NULL, &vector, 1, &messages, &count, NULL, NULL, NULL);

        for (int i = 0; i < count; i++) {
            if (G_IS_UNIX_FD_MESSAGE(messages[i])) {
                g_autofree int *fds = g_unix_fd_message_steal_fds(G_UNIX_FD_MESSAGE(messages[i]), NULL);

                qemu.client = fds[0];
            }
            g_object_unref(messages[i]);
        }
        g_free(messages);
        if (length <= 0)
            return NULL;
        g_string_append_len(pending, buffer, length);
    }
    *end = '\0';
    end = g_strdup(pending->str);
    g_string_erase(pending, 0, strlen(end) + 1);
    return end;
}

static const char *
reply_to(const char *line)
{
    if (strstr(line, "query-block"))
        return "{\"return\":[{\"device\":\"ide0\"},{\"qdev\":\"/machine/unattached/device[1]\"},"
               "{\"qdev\":\"/machine/unattached/device[2]\"}]}\n";
    if (strstr(line, "qom-get"))
        return strstr(line, "device[2]") ? "{\"return\":\"xvda0\"}\n"
                                         : "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no vdev\"}}\n";
    return "{\"return\":{}}\n";
}

/* What QEMU would do besides answering. */
static void
act(const char *line)
{
    g_autofree char *path = NULL;
    const char *name = strstr(line, "\"filename\":\"");

    if (strstr(line, "screendump") && name) {
        path = g_strndup(name + 12, strcspn(name + 12, "\""));
        g_assert_true(g_file_set_contents(path, PICTURE, -1, NULL));
    }
    if (strstr(line, "add_client") && qemu.client >= 0) {
        g_assert_cmpint(write(qemu.client, "RFB", 3), ==, 3);
        close(qemu.client);
        qemu.client = -1;
    }
}

static void
send_text(GSocket *socket, const char *text)
{
    gssize sent;

    for (gsize left = strlen(text); left > 0; text += sent, left -= sent) {
        sent = g_socket_send(socket, text, left, NULL, NULL);
        if (sent <= 0)
            return;
    }
}

static void
misbehave(GSocket *socket)
{
    g_autofree char *much = g_strnfill(64 * 1024, 'x'), *deep = g_strnfill(512 * 1024, '['),
                    *nested = g_strconcat("{\"return\":", deep, "\n", NULL);

    if (qemu.behavior == SAYS_NONSENSE)
        send_text(socket, "{\"return\": ]\n");
    else if (qemu.behavior == REFUSES)
        send_text(socket, "{\"error\":{\"class\":\"GenericError\",\"desc\":\"I will not\"}}\n");
    else if (qemu.behavior == NESTS)
        send_text(socket, nested);
    for (int i = 0; qemu.behavior == NEVER_ENDS && i < 64; i++)
        send_text(socket, much);
}

static gboolean
converse(GThreadedSocketService *service, GSocketConnection *connection, GObject *source, gpointer data)
{
    GSocket *socket = g_socket_connection_get_socket(connection);
    g_autoptr(GString) pending = g_string_new(NULL);
    char *line;

    (void)service;
    (void)source;
    (void)data;
    send_text(socket, "{\"QMP\":{\"version\":{}}}\n");
    while ((line = take_line(socket, pending))) {
        if (strstr(line, "qmp_capabilities")) {
            send_text(socket, "{\"return\":{}}\n");
        } else if (qemu.behavior != GOOD) {
            misbehave(socket);
        } else {
            g_mutex_lock(&qemu.lock);
            g_string_append_printf(qemu.heard, "%s\n", line);
            g_mutex_unlock(&qemu.lock);
            act(line);
            /* Events come at any time. */
            send_text(socket, "{\"event\":\"RTC_CHANGE\",\"data\":{\"offset\":1}}\n");
            send_text(socket, reply_to(line));
        }
        if (qemu.behavior == HANGS_UP && !strstr(line, "qmp_capabilities")) {
            g_free(line);
            break;
        }
        g_free(line);
    }
    return TRUE;
}

static void
expect_heard(const char *text)
{
    g_mutex_lock(&qemu.lock);
    if (!strstr(qemu.heard->str, text))
        g_error("QEMU was not told %s, but\n%s", text, qemu.heard->str);
    g_string_truncate(qemu.heard, 0);
    g_mutex_unlock(&qemu.lock);
}

/* A domain "box" with a frame buffer and a disk, with @iotune in it. */
static virDomainPtr
define(const char *iotune)
{
    g_autofree char *image = g_build_filename(fixture_root(), "limited.img", NULL);
    g_autofree char *devices =
        g_strdup_printf("<disk type='file'><driver name='qemu' type='raw'/><source file='%s'/>"
                        "<target dev='xvda' bus='xen'/>%s</disk><graphics type='vnc' autoport='yes'/>",
                        image, iotune);

    g_assert_true(g_file_set_contents(image, "data", -1, NULL));
    return fixture_define(conn, "box", devices);
}

static void
limits_are_told_before_the_guest_runs(void)
{
    virDomainPtr domain = define("<iotune><total_bytes_sec>1000000</total_bytes_sec>"
                                 "<write_iops_sec>20</write_iops_sec></iotune>");

    CHECK(virDomainCreate(domain));
    expect_heard(
        "{\"execute\":\"block_set_io_throttle\",\"arguments\":{\"id\":\"/machine/unattached/device[2]\","
        "\"bps\":1000000,\"bps_rd\":0,\"bps_wr\":0,\"iops\":0,\"iops_rd\":0,\"iops_wr\":20}}");
    fixture_undefine(domain);
}

static void
limits_of_a_drive_are_told_with_the_disc(void)
{
    static const char drive[] = "<disk type='file' device='cdrom'>%s<target dev='xvda' bus='xen'/>"
                                "<iotune><total_bytes_sec>1000000</total_bytes_sec></iotune></disk>";
    g_autofree char *image = g_build_filename(fixture_root(), "limited.iso", NULL);
    g_autofree char *source = g_strdup_printf("<source file='%s'/>", image);
    g_autofree char *empty = g_strdup_printf(drive, "");
    g_autofree char *full = g_strdup_printf(drive, source);
    virDomainPtr alone = fixture_define(conn, "alone", empty);
    virDomainPtr domain = fixture_define(conn, "box", empty);

    /* Nothing of it needs QEMU yet. */
    CHECK(virDomainCreate(alone));
    fixture_undefine(alone);
    g_assert_true(g_file_set_contents(image, "data", -1, NULL));
    CHECK(virDomainCreate(domain));
    CHECK(virDomainUpdateDeviceFlags(domain, full, VIR_DOMAIN_AFFECT_LIVE));
    expect_heard("\"bps\":1000000");
    fixture_undefine(domain);
}

static void
limits_change_live_and_in_the_definition(void)
{
    virDomainPtr domain = define("<iotune><total_bytes_sec>1000000</total_bytes_sec></iotune>");
    virTypedParameterPtr params = NULL;
    virTypedParameter read[20];
    unsigned long long value = 0;
    int nparams = 0, max = 0;

    CHECK(virDomainCreate(domain));
    CHECK(virTypedParamsAddULLong(&params, &nparams, &max, VIR_DOMAIN_BLOCK_IOTUNE_READ_BYTES_SEC, 4096));
    CHECK(virDomainSetBlockIoTune(domain, "xvda", params, nparams, VIR_DOMAIN_AFFECT_LIVE));
    /* Those of one group are given together. */
    expect_heard("\"bps\":0,\"bps_rd\":4096,");
    nparams = G_N_ELEMENTS(read);
    CHECK(virDomainGetBlockIoTune(domain, "xvda", read, &nparams, VIR_DOMAIN_AFFECT_LIVE));
    g_assert_cmpint(nparams, ==, 20);
    g_assert_cmpint(virTypedParamsGetULLong(read, nparams, VIR_DOMAIN_BLOCK_IOTUNE_READ_BYTES_SEC, &value),
                    ==, 1);
    g_assert_cmpuint(value, ==, 4096);
    virTypedParamsClear(read, nparams);
    nparams = G_N_ELEMENTS(read);
    CHECK(virDomainGetBlockIoTune(domain, "xvda", read, &nparams, VIR_DOMAIN_AFFECT_CONFIG));
    g_assert_cmpint(virTypedParamsGetULLong(read, nparams, VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC, &value),
                    ==, 1);
    g_assert_cmpuint(value, ==, 1000000);
    virTypedParamsClear(read, nparams);
    virTypedParamsFree(params, 1);
    fixture_undefine(domain);
}

static void
limits_that_contradict_are_refused(void)
{
    static const struct {
        const char *limits[2];
        const char *reason;
    } cases[] = {
        {{"total_bytes_sec", "read_bytes_sec"}, "excludes"},
        {{"total_iops_sec", "write_iops_sec"}, "excludes"},
        {{"read_bytes_sec_max", "read_iops_sec"}, "needs"},
        {{"write_iops_sec_max_length", "write_iops_sec"}, "needs"},
        {{"speed", "total_bytes_sec"}, "speed"},
    };
    virDomainPtr domain = define("");

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        virTypedParameterPtr params = NULL;
        int nparams = 0, max = 0;

        CHECK(virTypedParamsAddULLong(&params, &nparams, &max, cases[i].limits[0], 10));
        CHECK(virTypedParamsAddULLong(&params, &nparams, &max, cases[i].limits[1], 20));
        g_assert_cmpint(virDomainSetBlockIoTune(domain, "xvda", params, nparams, VIR_DOMAIN_AFFECT_CONFIG), <,
                        0);
        fixture_expect_failure(cases[i].reason);
        virTypedParamsFree(params, nparams);
    }
    fixture_undefine(domain);
}

static void
a_qemu_that_misbehaves_fails_the_start_whole(void)
{
    static const struct {
        enum behavior behavior;
        const char *reason;
    } cases[] = {{HANGS_UP, "has ended"},
                 {SAYS_NONSENSE, "no JSON"},
                 {NEVER_ENDS, "without end"},
                 {NESTS, "no JSON"},
                 {REFUSES, "I will not"}};
    virDomainPtr domain = define("<iotune><total_bytes_sec>1000000</total_bytes_sec></iotune>");

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        qemu.behavior = cases[i].behavior;
        g_assert_cmpint(virDomainCreate(domain), <, 0);
        fixture_expect_failure(cases[i].reason);
        g_assert_cmpint(virDomainIsActive(domain), ==, 0);
        g_assert_cmpint(virConnectNumOfDomains(conn), ==, 1);
    }
    qemu.behavior = GOOD;
    CHECK(virDomainCreate(domain));
    fixture_undefine(domain);
}

static void
keys_are_sent_by_number(void)
{
    virDomainPtr domain = define("");
    unsigned int keys[] = {29, 56, 111}; /* control, alt, delete, as Linux has them */

    CHECK(virDomainCreate(domain));
    CHECK(virDomainSendKey(domain, VIR_KEYCODE_SET_LINUX, 50, keys, 3, 0));
    expect_heard("\"keys\":[{\"type\":\"number\",\"data\":29},{\"type\":\"number\",\"data\":56},"
                 "{\"type\":\"number\",\"data\":211}],\"hold-time\":50");
    keys[0] = 60000;
    g_assert_cmpint(virDomainSendKey(domain, VIR_KEYCODE_SET_LINUX, 50, keys, 1, 0), <, 0);
    fixture_expect_failure("60000");
    fixture_undefine(domain);
}

static void
sysrq_needs_no_screen(void)
{
    virDomainPtr domain = fixture_define(conn, "box", "");
    unsigned int keys[] = {56, 99, 35}; /* alt, sysrq, h */

    CHECK(virDomainCreate(domain));
    CHECK(virDomainSendKey(domain, VIR_KEYCODE_SET_LINUX, 0, keys, 3, 0));
    keys[2] = 59; /* F1, which Windows numbers like a small letter */
    g_assert_cmpint(virDomainSendKey(domain, VIR_KEYCODE_SET_LINUX, 0, keys, 3, 0), <, 0);
    fixture_expect_failure("no <graphics>");
    g_assert_cmpint(virDomainSendKey(domain, VIR_KEYCODE_SET_LINUX, 0, keys, 1, 0), <, 0);
    fixture_expect_failure("SysRq");
    fixture_undefine(domain);
}

static void
a_password_changes_while_the_guest_runs(void)
{
    virDomainPtr domain = fixture_define(conn, "box", "<graphics type='vnc' autoport='yes' passwd='old'/>");
    const char *refused[] = {"<graphics type='vnc' autoport='yes'/>",
                             "<graphics type='vnc' autoport='yes' passwd='x' keymap='de'/>",
                             "<graphics type='vnc' port='5999' autoport='no' passwd='x'/>",
                             "<graphics type='vnc' autoport='yes' passwd='x' listen='0.0.0.0'/>"};
    char *xml;

    CHECK(virDomainCreate(domain));
    CHECK(virDomainUpdateDeviceFlags(domain, "<graphics type='vnc' autoport='yes' passwd='new'/>",
                                     VIR_DOMAIN_AFFECT_LIVE));
    expect_heard("{\"execute\":\"set_password\",\"arguments\":{\"protocol\":\"vnc\",\"password\":\"new\"}}");
    xml = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_SECURE);
    g_assert_nonnull(strstr(xml, "passwd='new'"));
    free(xml);
    xml = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_SECURE | VIR_DOMAIN_XML_INACTIVE);
    g_assert_nonnull(strstr(xml, "passwd='old'"));
    free(xml);
    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
        g_assert_cmpint(virDomainUpdateDeviceFlags(domain, refused[i], VIR_DOMAIN_AFFECT_LIVE), <, 0);
        fixture_expect_failure("only the password");
    }
    fixture_undefine(domain);
}

static void
the_picture_comes_through_the_stream(void)
{
    virDomainPtr domain = define("");
    virStreamPtr stream = virStreamNew(conn, 0);
    char buffer[64] = "";
    char *type;

    CHECK(virDomainCreate(domain));
    type = virDomainScreenshot(domain, stream, 0, 0);
    if (!type)
        g_error("%s", virGetLastErrorMessage());
    g_assert_cmpstr(type, ==, "image/x-portable-pixmap");
    g_assert_cmpint(virStreamRecv(stream, buffer, sizeof(buffer) - 1), ==, (int)strlen(PICTURE));
    g_assert_cmpstr(buffer, ==, PICTURE);
    CHECK(virStreamFinish(stream));
    virStreamFree(stream);
    free(type);

    stream = virStreamNew(conn, 0);
    g_assert_null(virDomainScreenshot(domain, stream, 1, 0));
    fixture_expect_failure("one screen");
    virStreamFree(stream);
    fixture_undefine(domain);
}

static void
a_viewer_is_connected_to_the_screen(void)
{
    virDomainPtr domain = define("");
    char buffer[4] = "";
    int fd;

    CHECK(virDomainCreate(domain));
    fd = virDomainOpenGraphicsFD(domain, 0, VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH);
    CHECK(fd);
    expect_heard("{\"execute\":\"add_client\",\"arguments\":{\"protocol\":\"vnc\",\"fdname\":\"client\","
                 "\"skipauth\":true}}");
    g_assert_cmpint(read(fd, buffer, 3), ==, 3);
    g_assert_cmpstr(buffer, ==, "RFB");
    close(fd);
    g_assert_cmpint(virDomainOpenGraphicsFD(domain, 7, 0), <, 0);
    fixture_expect_failure("number 7");
    fixture_undefine(domain);
}

/* QEMU's own words come from a real one only; that it ends is the driver's to say. */
static void
the_end_of_qemu_is_in_the_log(void)
{
    g_autofree char *log = g_build_filename(fixture_root(), "log", "box.log", NULL);
    g_autofree char *other = g_build_filename(fixture_root(), "log", "plain.log", NULL);
    g_autofree char *text = NULL;
    virDomainPtr domain = fixture_define(conn, "box", NULL);
    virDomainPtr plain = fixture_define(conn, "plain", NULL);

    unlink(log);
    CHECK(virDomainCreate(domain));
    CHECK(virDomainCreate(plain));
    CHECK(virDomainDestroy(domain));
    CHECK(virDomainDestroy(plain));
    g_assert_true(g_file_get_contents(log, &text, NULL, NULL));
    g_assert_true(g_str_has_suffix(text, ": shutting down, reason=destroyed\n"));
    g_assert_true(strchr(text, '\n') == text + strlen(text) - 1);
    /* One without QEMU has none. */
    g_assert_false(g_file_test(other, G_FILE_TEST_EXISTS));
    fixture_undefine(domain);
    fixture_undefine(plain);
}

static void
listen_as_qemu(void)
{
    g_autofree char *path = g_build_filename(fixture_root(), "run", "box.qmp", NULL);
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
    g_autoptr(GError) error = NULL;

    qemu.heard = g_string_new(NULL);
    qemu.service = g_threaded_socket_service_new(4);
    if (!g_socket_listener_add_address(G_SOCKET_LISTENER(qemu.service), address, G_SOCKET_TYPE_STREAM,
                                       G_SOCKET_PROTOCOL_DEFAULT, NULL, NULL, &error))
        g_error("%s", error->message);
    g_signal_connect(qemu.service, "run", G_CALLBACK(converse), NULL);
    g_socket_service_start(qemu.service);
}

static gpointer
run_context(gpointer loop)
{
    g_main_loop_run(loop);
    return NULL;
}

int
main(int argc, char **argv)
{
    GMainLoop *loop;
    GThread *thread;
    int result;

    conn = fixture_open(&argc, &argv);
    listen_as_qemu();
    loop = g_main_loop_new(NULL, FALSE);
    thread = g_thread_new("qemu", run_context, loop);

    g_test_add_func("/libvirt/qemu/limits-are-told-first", limits_are_told_before_the_guest_runs);
    g_test_add_func("/libvirt/qemu/limits-of-a-drive", limits_of_a_drive_are_told_with_the_disc);
    g_test_add_func("/libvirt/qemu/limits-change", limits_change_live_and_in_the_definition);
    g_test_add_func("/libvirt/qemu/limits-that-contradict", limits_that_contradict_are_refused);
    g_test_add_func("/libvirt/qemu/misbehaving-qemu", a_qemu_that_misbehaves_fails_the_start_whole);
    g_test_add_func("/libvirt/qemu/send-key", keys_are_sent_by_number);
    g_test_add_func("/libvirt/qemu/sysrq", sysrq_needs_no_screen);
    g_test_add_func("/libvirt/qemu/password", a_password_changes_while_the_guest_runs);
    g_test_add_func("/libvirt/qemu/screenshot", the_picture_comes_through_the_stream);
    g_test_add_func("/libvirt/qemu/open-graphics", a_viewer_is_connected_to_the_screen);
    g_test_add_func("/libvirt/qemu/end-in-the-log", the_end_of_qemu_is_in_the_log);
    result = g_test_run();

    g_socket_service_stop(qemu.service);
    g_main_loop_quit(loop);
    g_thread_join(thread);
    g_main_loop_unref(loop);
    fixture_close();
    return result;
}
