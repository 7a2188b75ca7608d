/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU as a server of PV devices: disks that the kernel cannot read (qcow2 and so on) and the frame buffer.
 * One process for each domain that needs it.  It finds frame buffers by itself in the store; disks are told
 * by QMP (model-disk.c), the rest on its command line.  Its process number is in a file that it locks, so a
 * number that was used again is not mistaken for it.
 *
 * It serves a guest that may take it over, so it gives up what it can: it forks and execs nothing, gains no
 * privilege, and has no capability but that of opening images whoever owns them.  It stays root, because
 * grants, event channels and the store are root's, and it opens them for each device anew.
 */
#include "private/host.h"
#include "private/qmp.h"
#include "private/system.h"

#include <fcntl.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* For one answer of QEMU, which may have to open an image first. */
#define QMP_TIMEOUT_MS 30000

static const char *const emulators[] = {
    "/usr/libexec/xen-qemu-system-i386",
    "/usr/lib/xen/bin/qemu-system-i386",
    "/usr/libexec/xen/bin/qemu-system-i386",
    "/usr/bin/qemu-system-i386",
};

#define START_TIMEOUT (30 * G_USEC_PER_SEC)
#define START_STEP    (50 * 1000)

static const char *
find_emulator(const SeraiConfig *config, GError **error)
{
    if (config->emulator) {
        if (access(config->emulator, X_OK) == 0)
            return config->emulator;
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED, _("The emulator '%s' cannot be run: %s."),
                    config->emulator, g_strerror(errno));
        return NULL;
    }
    for (guint i = 0; i < G_N_ELEMENTS(emulators); i++)
        if (access(emulators[i], X_OK) == 0)
            return emulators[i];
    g_set_error_literal(
        error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED,
        _("QEMU for Xen (qemu-system-xen) is not installed; disks that are not raw and frame buffers "
          "need it."));
    return NULL;
}

static char *
pid_path(SeraiHost *host, guint domid)
{
    return g_strdup_printf("%s/qemu-%u.pid", host->run_dir, domid);
}

char *
serai_device_model_qmp_path(SeraiHost *host, guint domid)
{
    return g_strdup_printf("%s/qmp-%u.sock", host->run_dir, domid);
}

SeraiQmp *
serai_device_model_open(SeraiHost *host, guint domid, GCancellable *cancellable, GError **error)
{
    g_autofree char *path = serai_device_model_qmp_path(host, domid);

    return serai_qmp_open(path, QMP_TIMEOUT_MS, cancellable, error);
}

/* The number in the file when its writer still holds the lock on it, or 0. */
pid_t
serai_device_model_pid(SeraiHost *host, guint domid)
{
    g_autofree char *path = pid_path(host, domid);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char text[32] = "";
    pid_t pid = 0;
    int fd = open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return 0;
    if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && read(fd, text, sizeof(text) - 1) > 0)
        pid = atoi(text);
    close(fd);
    return pid > 1 ? pid : 0;
}

static void add(GPtrArray *args, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void
add(GPtrArray *args, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    g_ptr_array_add(args, g_strdup_vprintf(format, list));
    va_end(list);
}

/* The values were checked by serai_device_check(), so they hold no comma. */
static void
add_display(GPtrArray *args, const SeraiVfb *vfb)
{
    if (vfb && vfb->sdl)
        add(args, "-display"), add(args, "sdl");
    else
        add(args, "-display"), add(args, "none");
    if (!vfb || !vfb->vnc)
        return;
    add(args, "-vnc");
    if (vfb->socket_path)
        add(args, "unix:%s", vfb->socket_path);
    else if (vfb->port)
        add(args, "%s:%u%s", vfb->listen ? vfb->listen : "127.0.0.1", vfb->port - 5900,
            vfb->password ? ",password=on" : "");
    else
        add(args, "%s:0,to=999%s", vfb->listen ? vfb->listen : "127.0.0.1",
            vfb->password ? ",password=on" : "");
    if (vfb->keymap)
        add(args, "-k"), add(args, "%s", vfb->keymap);
}

static GPtrArray *
command_line(SeraiHost *host, guint domid, const SeraiConfig *config, const char *emulator)
{
    GPtrArray *args = g_ptr_array_new_with_free_func(g_free);
    const SeraiVfb *vfb = NULL;
    g_autofree char *pid = pid_path(host, domid), *socket = serai_device_model_qmp_path(host, domid);

    for (guint i = 0; i < config->devices->len; i++) {
        const SeraiDevice *device = config->devices->pdata[i];

        if (device->kind == SERAI_DEVICE_VFB)
            vfb = &device->vfb;
    }
    add(args, "%s", emulator);
    add(args, "-xen-domid"), add(args, "%u", domid);
    add(args, "-no-shutdown");
    add(args, "-nodefaults");
    add(args, "-no-user-config");
    add(args, "-xen-attach");
    add(args, "-machine"), add(args, "xenpv");
    add(args, "-m"), add(args, "%u", (guint)MAX(1, config->max_memory_kib >> 10));
    add(args, "-qmp"), add(args, "unix:%s,server=on,wait=off", socket);
    add_display(args, vfb);
    add(args, "-pidfile"), add(args, "%s", pid);
    g_ptr_array_add(args, NULL);
    return args;
}

static char **
environment(const SeraiConfig *config)
{
    char **env = g_get_environ();

    for (guint i = 0; i < config->devices->len; i++) {
        const SeraiDevice *device = config->devices->pdata[i];

        if (device->kind == SERAI_DEVICE_VFB && device->vfb.display)
            env = g_environ_setenv(env, "DISPLAY", device->vfb.display, TRUE);
        if (device->kind == SERAI_DEVICE_VFB && device->vfb.xauthority)
            env = g_environ_setenv(env, "XAUTHORITY", device->vfb.xauthority, TRUE);
    }
    return env;
}

/* --- privileges ------------------------------------------------------------------------------- */

/*
 * In the child, between fork and exec: nothing but system calls.  It leaves our session, as a service does;
 * with its own -daemonize QEMU would close its messages too.  QEMU's own -sandbox cannot be asked for:
 * Debian's QEMU for Xen is built without seccomp and refuses the option.
 */
static void
drop_privileges(gpointer data G_GNUC_UNUSED)
{
    const guint32 kept = 1u << CAP_DAC_OVERRIDE;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[2] = {{.effective = kept, .permitted = kept, .inheritable = 0}};

    for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
        if (cap != CAP_DAC_OVERRIDE)
            prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
    syscall(SYS_capset, &header, caps);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    umask(027);
    setsid();
}

/* --- VNC -------------------------------------------------------------------------------------- */

static JsonNode *
password_arguments(const char *password)
{
    JsonObject *object = json_object_new();
    JsonNode *node = json_node_new(JSON_NODE_OBJECT);

    json_object_set_string_member(object, "protocol", "vnc");
    json_object_set_string_member(object, "password", password);
    json_node_take_object(node, object);
    return node;
}

/* Gives QEMU the password of its VNC server, and learns the port when QEMU chose it. */
static gboolean
setup_vnc(SeraiHost *host, guint domid, SeraiVfb *vfb, GCancellable *cancellable, GError **error)
{
    g_autoptr(SeraiQmp) qmp = serai_device_model_open(host, domid, cancellable, error);
    g_autoptr(JsonNode) answer = NULL;
    const char *service;

    if (!qmp)
        return FALSE;
    if (vfb->password) {
        g_autoptr(JsonNode) done =
            serai_qmp_run(qmp, "set_password", password_arguments(vfb->password), cancellable, error);

        if (!done)
            return FALSE;
    }
    if (vfb->socket_path || vfb->port)
        return TRUE;
    answer = serai_qmp_run(qmp, "query-vnc", NULL, cancellable, error);
    if (!answer)
        return FALSE;
    service = JSON_NODE_HOLDS_OBJECT(answer)
                  ? json_object_get_string_member_with_default(json_node_get_object(answer), "service", "")
                  : "";
    vfb->port = CLAMP(atoi(service), 0, 65535);
    return TRUE;
}

static gboolean
setup_displays(SeraiHost *host, guint domid, SeraiConfig *config, GCancellable *cancellable, GError **error)
{
    for (guint i = 0; i < config->devices->len; i++) {
        SeraiDevice *device = config->devices->pdata[i];

        if (device->kind == SERAI_DEVICE_VFB && device->vfb.vnc &&
            !setup_vnc(host, domid, &device->vfb, cancellable, error)) {
            g_prefix_error(error, _("Cannot set up VNC: "));
            return FALSE;
        }
    }
    return TRUE;
}

/* --- death ------------------------------------------------------------------------------------ */

typedef struct {
    GWeakRef host;
    guint domid;
    int fd;
} Deathbed;

static void
deathbed_free(gpointer data)
{
    Deathbed *d = data;

    g_weak_ref_clear(&d->host);
    close(d->fd);
    g_free(d);
}

static gboolean
on_model_death(int fd G_GNUC_UNUSED, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
    const Deathbed *d = data;
    g_autoptr(SeraiHost) host = g_weak_ref_get((GWeakRef *)&d->host);

    if (host)
        serai_host_model_died(host, d->domid);
    return G_SOURCE_REMOVE;
}

void
serai_device_model_watch(SeraiHost *host, guint domid)
{
    pid_t pid = serai_device_model_pid(host, domid);
    int fd = pid ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    GSource *source;
    Deathbed *d;

    if (fd < 0)
        return;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    d = g_new0(Deathbed, 1);
    g_weak_ref_init(&d->host, host);
    d->domid = domid;
    d->fd = fd;
    source = g_unix_fd_source_new(fd, G_IO_IN);
    g_source_set_callback(source, G_SOURCE_FUNC(on_model_death), d, deathbed_free);
    g_source_attach(source, host->context);
    g_source_unref(source);
}

/* --- start and end ---------------------------------------------------------------------------- */

/* A QEMU that is being started. */
typedef struct {
    int fd;       /* its process, or -1 when it has ended already */
    int messages; /* the pipe that its messages come from, or -1 when the caller keeps them */
} Start;

static void
start_clear(Start *start)
{
    if (start->fd >= 0)
        close(start->fd);
    if (start->messages >= 0)
        close(start->messages);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Start, start_clear)

/* Where its messages go.  The end of the pipe is closed once it serves; QEMU goes on without. */
static int
open_messages(SeraiHost *host, const SeraiConfig *config, GPtrArray *args, Start *start, GError **error)
{
    int fds[2];
    int fd;

    if (host->model_log) {
        fd = host->model_log(host, config->name, config->uuid, (const char *const *)args->pdata,
                             host->model_log_data, error);
        if (fd < 0)
            g_prefix_error(error, _("Cannot open the log of QEMU: "));
        return fd;
    }
    if (!g_unix_open_pipe(fds, FD_CLOEXEC, error))
        return -1;
    start->messages = fds[0];
    return fds[1];
}

static gboolean
spawn(SeraiHost *host, const SeraiConfig *config, GPtrArray *args, Start *start, GError **error)
{
    g_auto(GStrv) env = environment(config);
    g_autoptr(GError) local = NULL;
    int messages = open_messages(host, config, args, start, error);
    GPid pid;
    gboolean done;

    if (messages < 0)
        return FALSE;
    done = g_spawn_async_with_fds("/", (char **)args->pdata, env, G_SPAWN_DEFAULT, drop_privileges, NULL,
                                  &pid, -1, messages, messages, &local);
    close(messages);
    if (!done) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED, _("QEMU did not start: %s"),
                    local->message);
        return FALSE;
    }
    start->fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (start->fd < 0 && errno != ESRCH) {
        serai_set_errno(error, errno, _("Cannot watch QEMU"));
        kill(pid, SIGKILL);
        return FALSE;
    }
    return TRUE;
}

static gboolean
has_ended(const Start *start)
{
    struct pollfd poll_fd = {.fd = start->fd, .events = POLLIN};

    return start->fd < 0 || poll(&poll_fd, 1, 0) > 0;
}

static void
say_why_it_ended(const Start *start, GError **error)
{
    char text[4096];
    ssize_t size;

    if (start->messages < 0) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_MODEL_ENDED,
                            _("QEMU ended instead of starting."));
        return;
    }
    size = read(start->messages, text, sizeof(text) - 1);
    text[MAX(size, 0)] = '\0';
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED, _("QEMU did not start: %s"), g_strchomp(text));
}

static gboolean
wait_until_it_serves(SeraiHost *host, const Start *start, const char *path, GCancellable *cancellable,
                     GError **error)
{
    gint64 deadline = g_get_monotonic_time() + START_TIMEOUT;
    g_auto(SeraiWaiter) waiter = {0};

    serai_waiter_init(&waiter, host->store);
    if (!serai_waiter_add(&waiter, path, error))
        return FALSE;
    for (;;) {
        g_autofree char *state = serai_store_read(host->store, "%s", path);
        g_autoptr(GError) local = NULL;

        if (has_ended(start)) {
            say_why_it_ended(start, error);
            return FALSE;
        }
        if (state && !strcmp(state, "running"))
            return TRUE;
        /* The store tells that it serves, nothing tells that it has ended. */
        if (!serai_waiter_wait(&waiter, MIN(deadline, g_get_monotonic_time() + START_STEP), cancellable,
                               &local) &&
            (!g_error_matches(local, SERAI_ERROR, SERAI_ERROR_TIMED_OUT) ||
             g_get_monotonic_time() >= deadline)) {
            g_propagate_prefixed_error(error, g_steal_pointer(&local), _("QEMU does not get ready: "));
            return FALSE;
        }
    }
}

gboolean
serai_device_model_start(SeraiHost *host, guint domid, SeraiConfig *config, GCancellable *cancellable,
                         GError **error)
{
    const char *emulator = find_emulator(config, error);
    g_autoptr(GPtrArray) args = NULL;
    g_autofree char *path = g_strdup_printf("/local/domain/0/device-model/%u/state", domid);
    g_auto(Start) start = {.fd = -1, .messages = -1};

    if (!emulator)
        return FALSE;
    if (g_mkdir_with_parents(host->run_dir, 0700) < 0) {
        serai_set_errno(error, errno, _("Cannot make '%s'"), host->run_dir);
        return FALSE;
    }
    /* A QEMU that has ended may have left what it said. */
    if (!serai_store_remove(host->store, path, error))
        return FALSE;
    args = command_line(host, domid, config, emulator);
    if (!spawn(host, config, args, &start, error))
        return FALSE;
    if (wait_until_it_serves(host, &start, path, cancellable, error) &&
        setup_displays(host, domid, config, cancellable, error)) {
        serai_device_model_watch(host, domid);
        return TRUE;
    }
    if (start.fd >= 0)
        syscall(SYS_pidfd_send_signal, start.fd, SIGKILL, NULL, 0);
    serai_device_model_stop(host, domid);
    return FALSE;
}

gboolean
serai_device_model_runs(SeraiHost *host, guint domid)
{
    return serai_device_model_pid(host, domid) != 0;
}

void
serai_device_model_stop(SeraiHost *host, guint domid)
{
    g_autofree char *path = pid_path(host, domid), *socket = serai_device_model_qmp_path(host, domid);
    pid_t pid = serai_device_model_pid(host, domid);

    if (pid) {
        kill(pid, SIGTERM);
        for (int i = 0; i < 200 && serai_device_model_pid(host, domid) == pid; i++)
            g_usleep(i < 20 ? 1000 : 10000);
        if (serai_device_model_pid(host, domid) == pid)
            kill(pid, SIGKILL);
    }
    g_unlink(path);
    g_unlink(socket);
}
