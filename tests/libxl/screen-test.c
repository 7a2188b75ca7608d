/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How QEMU is started for a frame buffer: SDL on a display of dom0, VNC on an address or a socket.
 * A script in the place of QEMU writes down its arguments and its environment.
 */
#include "common.h"
#include "private/system.h"

#include <fcntl.h>

#define DOMID 7

static SeraiVfb *
add_screen(Fixture *f)
{
    SeraiDevice *device = serai_device_new(SERAI_DEVICE_VFB);

    serai_config_add_device(f->config, device);
    return &device->vfb;
}

static void
say_that_it_serves(Fixture *f)
{
    g_assert_true(serai_store_write(f->host->store, NULL, "/local/domain/0/device-model/7/state", "running"));
}

/* What QEMU does in the store when it is ready. */
static gpointer
serve(gpointer data)
{
    Fixture *f = data;
    g_autofree char *path = g_build_filename(f->dir, "told", NULL);

    while (!g_file_test(path, G_FILE_TEST_EXISTS))
        g_usleep(1000);
    say_that_it_serves(f);
    return NULL;
}

static void
set_up(Fixture *f, gconstpointer data)
{
    g_autofree char *script = NULL;

    fixture_set_up(f, data);
    g_strlcpy(f->host->run_dir, f->dir, sizeof(f->host->run_dir));
    f->config->emulator = g_build_filename(f->dir, "qemu", NULL);
    script = g_strdup_printf("#!/bin/sh\n"
                             "[ -e %s/fail ] && { echo 'no display' >&2; exit 1; }\n"
                             "echo \"$@ DISPLAY=$DISPLAY XAUTHORITY=$XAUTHORITY\" >%s/part\n"
                             "echo 'first words' >&2\n"
                             "mv %s/part %s/told\n"
                             "exec sleep 5\n",
                             f->dir, f->dir, f->dir, f->dir);
    g_assert_true(g_file_set_contents(f->config->emulator, script, -1, NULL));
    g_assert_cmpint(g_chmod(f->config->emulator, 0700), ==, 0);
    /* Of an earlier QEMU, which nobody must take for the one that is started. */
    say_that_it_serves(f);
}

/* What QEMU was told; the test goes on whether its VNC could be asked about afterwards or not. */
static char *
start(Fixture *f, gboolean expected)
{
    g_autofree char *path = g_build_filename(f->dir, "told", NULL);
    g_autoptr(GError) error = NULL;
    GThread *server = g_thread_new("serve", serve, f);
    gboolean started = serai_device_model_start(f->host, DOMID, f->config, NULL, &error);
    char *text = NULL;

    g_thread_join(server);
    if (started != expected)
        g_error("%s", error ? error->message : "it started");
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_unlink(path);
    return g_strchomp(text);
}

static void
expect(const char *text, const char *part)
{
    if (!strstr(text, part))
        g_error("'%s' is not in '%s'", part, text);
}

static void
sdl_is_shown_on_the_display_that_is_named(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    SeraiVfb *vfb = add_screen(f);
    g_autofree char *told = NULL, *as_it_is = NULL;

    vfb->sdl = TRUE;
    vfb->display = g_strdup(":3");
    vfb->xauthority = g_strdup("/root/.Xauthority-3");
    told = start(f, TRUE);
    expect(told, "-xen-domid 7 ");
    expect(told, "-machine xenpv ");
    expect(told, " -display sdl ");
    expect(told, "DISPLAY=:3 XAUTHORITY=/root/.Xauthority-3");
    g_assert_null(strstr(told, "-vnc"));

    g_clear_pointer(&vfb->display, g_free);
    g_setenv("DISPLAY", ":99", TRUE);
    as_it_is = start(f, TRUE);
    expect(as_it_is, "DISPLAY=:99 ");
}

static void
vnc_listens_where_it_is_told(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    SeraiVfb *vfb = add_screen(f);
    g_autofree char *any = NULL, *port = NULL, *secret = NULL, *socket = NULL;

    /* Nobody answers on its QMP, so each start fails; a failure is told, and QEMU is stopped. */
    vfb->vnc = TRUE;
    any = start(f, FALSE);
    expect(any, " -display none -vnc 127.0.0.1:0,to=999 ");
    vfb->listen = g_strdup("0.0.0.0");
    vfb->port = 5907;
    vfb->keymap = g_strdup("de");
    port = start(f, FALSE);
    expect(port, " -vnc 0.0.0.0:7 -k de ");
    vfb->password = g_strdup("secret");
    secret = start(f, FALSE);
    expect(secret, " -vnc 0.0.0.0:7,password=on ");
    g_assert_null(strstr(secret, "secret"));
    vfb->socket_path = g_strdup("/run/vnc.sock");
    socket = start(f, FALSE);
    expect(socket, " -vnc unix:/run/vnc.sock");
}

static void
a_qemu_that_does_not_start_says_why(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *fail = g_build_filename(f->dir, "fail", NULL);
    g_autoptr(GError) error = NULL;

    add_screen(f)->sdl = TRUE;
    g_assert_true(g_file_set_contents(fail, "", -1, NULL));
    g_assert_false(serai_device_model_start(f->host, DOMID, f->config, NULL, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED);
    expect(error->message, "no display");
    g_assert_false(serai_device_model_runs(f->host, DOMID));
}

/* --- the log ---------------------------------------------------------------------------------- */

static int
open_log(SeraiHost *host G_GNUC_UNUSED, const char *name, const char *uuid, const char *const *argv,
         gpointer data, GError **error)
{
    const char *path = data;
    int fd;

    g_assert_true(name && serai_uuid_parse(uuid, (guint8[16]){0}) && g_str_has_suffix(argv[0], "/qemu"));
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_IO, "no log, says the caller");
    return fd;
}

static void
what_it_says_is_in_the_log(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *path = g_build_filename(f->dir, "log", NULL), *told = NULL, *text = NULL;
    g_autofree char *fail = g_build_filename(f->dir, "fail", NULL);
    g_autoptr(GError) error = NULL;

    add_screen(f)->sdl = TRUE;
    serai_host_set_model_log(f->host, open_log, g_strdup(path), g_free);
    told = start(f, TRUE);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "first words\n");

    /* Then the reason is there, and not with us. */
    g_assert_true(g_file_set_contents(fail, "", -1, NULL));
    g_assert_false(serai_device_model_start(f->host, DOMID, f->config, NULL, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_MODEL_ENDED);
    g_free(g_steal_pointer(&text));
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "first words\nno display\n");
}

static void
without_its_log_it_does_not_start(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *path = g_build_filename(f->dir, "missing", "log", NULL);
    g_autofree char *told = g_build_filename(f->dir, "told", NULL);
    g_autoptr(GError) error = NULL;

    add_screen(f)->sdl = TRUE;
    serai_host_set_model_log(f->host, open_log, path, NULL);
    g_assert_false(serai_device_model_start(f->host, DOMID, f->config, NULL, &error));
    expect(error->message, "log of QEMU: no log, says the caller");
    g_assert_false(g_file_test(told, G_FILE_TEST_EXISTS));
}

#define T(name) g_test_add("/libxl/screen/" #name, Fixture, NULL, set_up, name, fixture_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    T(sdl_is_shown_on_the_display_that_is_named);
    T(vnc_listens_where_it_is_told);
    T(a_qemu_that_does_not_start_says_why);
    T(what_it_says_is_in_the_log);
    T(without_its_log_it_does_not_start);
    return g_test_run();
}
