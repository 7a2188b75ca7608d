/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A console has a guest end, the ring page with its event channel, and a user's end, a pty or a socket.  The
 * two come and go separately: the user's end exists as long as the store names the console, the guest's end
 * as long as the guest has connected.  Bytes from the guest go to the log and into Keep, from there to
 * whoever reads.
 *
 * Three descriptors outlive the daemon in systemd's store: both ends of the pty (bytes that the kernel holds
 * for a reader vanish with the last slave end) and the memory of Keep.
 *
 * One thread, no locks.
 */
#include "consoled/console.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <termios.h>
#include <unistd.h>
#include <xen/grant_table.h>
#include <xen/io/xenbus.h>

struct Console {
    Daemon *daemon;
    guint domid;
    guint id;
    gboolean adopted;
    char *path;        /* of the frontend */
    char *backend;     /* or NULL for console 0 */
    SeraiWatch *watch; /* of the frontend's state, when there is a backend */
    Log log;
    Rate rate;
    guint rate_timer;
    Keep *keep;
    int keep_fd;

    struct xencons_interface *ring; /* or NULL */
    gboolean ring_granted;
    int port; /* local, or -1 */

    int master; /* of the pty, or the socket's client, or -1 */
    int slave;
    int listener;
    char *socket_path;
    guint read_source;
    guint write_source;
    guint listen_source;
};

static void update_sources(Console *c);

guint
console_domid(const Console *c)
{
    return c->domid;
}

gboolean
console_is_adopted(const Console *c)
{
    return c->adopted;
}

/* --- descriptors that outlive us -------------------------------------------------------------- */

static int
take_passed(Console *c, const char *what)
{
    g_autofree char *name = g_strdup_printf("%u.%u.%s", c->domid, c->id, what);
    gpointer value;

    if (!g_hash_table_steal_extended(c->daemon->passed, name, NULL, &value))
        return -1;
    return GPOINTER_TO_INT(value);
}

static void
store_fd(Console *c, const char *what, int fd)
{
    g_autofree char *message = g_strdup_printf("FDSTORE=1\nFDNAME=%u.%u.%s", c->domid, c->id, what);

    sd_pid_notify_with_fds(0, 0, message, &fd, 1);
}

static void
forget_fd(Console *c, const char *what)
{
    sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%u.%u.%s", c->domid, c->id, what);
}

static gboolean
open_keep(Console *c)
{
    c->keep_fd = take_passed(c, "keep");
    if (c->keep_fd < 0) {
        c->keep_fd = memfd_create("console", MFD_CLOEXEC);
        if (c->keep_fd < 0 || ftruncate(c->keep_fd, KEEP_PAGES * 4096) < 0)
            return FALSE;
        store_fd(c, "keep", c->keep_fd);
    }
    c->keep = mmap(NULL, KEEP_PAGES * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, c->keep_fd, 0);
    if (c->keep == MAP_FAILED)
        c->keep = NULL;
    return c->keep != NULL;
}

/* --- the user's end --------------------------------------------------------------------------- */

static gboolean
open_pty(Console *c)
{
    struct termios term;
    char name[64];

    c->master = take_passed(c, "pty");
    c->slave = take_passed(c, "tty");
    if (c->master < 0) {
        if (c->slave >= 0)
            close(c->slave);
        c->slave = -1;
        c->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (c->master < 0 || grantpt(c->master) < 0 || unlockpt(c->master) < 0)
            return FALSE;
        store_fd(c, "pty", c->master);
    }
    if (ptsname_r(c->master, name, sizeof(name)))
        return FALSE;
    if (c->slave < 0) {
        c->slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (c->slave < 0)
            return FALSE;
        if (tcgetattr(c->slave, &term) == 0) {
            cfmakeraw(&term);
            tcsetattr(c->slave, TCSANOW, &term);
        }
        store_fd(c, "tty", c->slave);
    }
    fcntl(c->master, F_SETFL, O_NONBLOCK);
    return TRUE;
}

/* Tells the store where the user's end is. */
static void
announce(Console *c)
{
    g_autofree char *node = g_strdup_printf("%s/tty", c->path);
    char tty[64];

    if (c->socket_path)
        serai_store_write(c->daemon->store, NULL, node, "%s", c->socket_path);
    else if (ptsname_r(c->master, tty, sizeof(tty)) == 0)
        serai_store_write(c->daemon->store, NULL, node, "%s", tty);
}

static gboolean
on_client(gint fd, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
    Console *c = data;
    int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (client < 0)
        return G_SOURCE_CONTINUE;
    if (c->master >= 0) {
        close(client); /* one at a time */
        return G_SOURCE_CONTINUE;
    }
    c->master = client;
    update_sources(c);
    return G_SOURCE_CONTINUE;
}

static gboolean
open_socket(Console *c)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    mode_t mask;
    int rc;

    if (strlen(c->socket_path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return FALSE;
    }
    g_strlcpy(address.sun_path, c->socket_path, sizeof(address.sun_path));
    g_unlink(c->socket_path);
    c->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mask = umask(0077);
    rc = c->listener < 0 ? -1 : bind(c->listener, (struct sockaddr *)&address, sizeof(address));
    umask(mask);
    if (rc < 0 || listen(c->listener, 1) < 0)
        return FALSE;
    c->listen_source = g_unix_fd_add(c->listener, G_IO_IN, on_client, c);
    return TRUE;
}

/* A client that went leaves room for the next; a pty stays. */
static void
user_gone(Console *c)
{
    if (!c->socket_path)
        return;
    g_clear_handle_id(&c->read_source, g_source_remove);
    g_clear_handle_id(&c->write_source, g_source_remove);
    close(c->master);
    c->master = -1;
}

/* --- moving bytes ----------------------------------------------------------------------------- */

static void
notify_guest(Console *c)
{
    if (c->port >= 0)
        xenevtchn_notify(c->daemon->events, c->port);
}

static void
to_log(Console *c)
{
    const uint8_t *data;
    size_t size;

    while ((size = keep_unlogged(c->keep, &data))) {
        log_write(&c->log, data, size);
        keep_logged(c->keep, size);
    }
}

static void
to_user(Console *c)
{
    const uint8_t *data;
    size_t size;

    while (c->master >= 0 && (size = keep_peek(c->keep, &data))) {
        ssize_t n = write(c->master, data, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            user_gone(c);
        if (n <= 0)
            break;
        keep_take(c->keep, n);
    }
}

static gboolean
on_rate_timer(gpointer data)
{
    Console *c = data;

    c->rate_timer = 0;
    console_event(c);
    return G_SOURCE_REMOVE;
}

/* Takes what the guest wrote, as fast as it may. */
static void
from_guest(Console *c)
{
    gsize allowed = rate_allow(&c->rate, g_get_monotonic_time());
    int n;

    if (!c->ring)
        return;
    to_log(c); /* what a daemon that was killed had not */
    while (allowed && (n = ring_receive(c->ring, c->keep, allowed))) {
        if (n < 0) {
            g_message("Domain %u has nonsense in the ring of console %u.", c->domid, c->id);
            break;
        }
        to_log(c);
        rate_spend(&c->rate, n);
        allowed -= MIN(allowed, (gsize)n);
        notify_guest(c);
    }
    /* A guest that floods waits; its ring holds what it wrote. */
    if (!allowed && !c->rate_timer)
        c->rate_timer = g_timeout_add(50, on_rate_timer, c);
}

static gboolean
on_user_writes(gint fd, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
    Console *c = data;
    uint8_t bytes[sizeof(c->ring->in)];
    size_t room = c->ring ? MIN(ring_room(c->ring), sizeof(bytes)) : sizeof(bytes);
    ssize_t n = room ? read(fd, bytes, room) : 0;

    if (n > 0 && c->ring) {
        ring_send(c->ring, bytes, n);
        notify_guest(c);
    } else if (room && (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))) {
        if (c->socket_path) {
            c->read_source = 0;
            user_gone(c);
            return G_SOURCE_REMOVE;
        }
    }
    if (!room || !c->ring) {
        /* The guest will say when it has read. */
        c->read_source = 0;
        return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

static gboolean
on_user_reads(gint fd G_GNUC_UNUSED, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
    Console *c = data;

    c->write_source = 0;
    to_user(c);
    update_sources(c);
    return G_SOURCE_REMOVE;
}

/* Listens for exactly what can be acted upon. */
static void
update_sources(Console *c)
{
    const uint8_t *data;

    if (c->master < 0)
        return;
    if (!c->read_source && c->ring && ring_room(c->ring))
        c->read_source = g_unix_fd_add(c->master, G_IO_IN, on_user_writes, c);
    if (!c->write_source && keep_peek(c->keep, &data))
        c->write_source = g_unix_fd_add(c->master, G_IO_OUT, on_user_reads, c);
}

void
console_event(Console *c)
{
    from_guest(c);
    to_user(c);
    update_sources(c);
}

/* --- the guest's end -------------------------------------------------------------------------- */

static void
disconnect_guest(Console *c)
{
    if (c->port >= 0) {
        g_hash_table_remove(c->daemon->ports, GINT_TO_POINTER(c->port));
        xenevtchn_unbind(c->daemon->events, c->port);
        c->port = -1;
    }
    if (c->ring && c->ring_granted)
        xengnttab_unmap(c->daemon->grants, c->ring, 1);
    else if (c->ring)
        xenforeignmemory_unmap(c->daemon->memory, c->ring, 1);
    c->ring = NULL;
}

static gboolean
connect_guest(Console *c)
{
    gint64 ref = serai_store_read_number(c->daemon->store, -1, "%s/ring-ref", c->path);
    gint64 port = serai_store_read_number(c->daemon->store, -1, "%s/port", c->path);

    if (c->ring)
        return TRUE;
    if (ref < 0 || port < 0)
        return FALSE;
    c->ring = xengnttab_map_grant_ref(c->daemon->grants, c->domid, c->backend ? ref : GNTTAB_RESERVED_CONSOLE,
                                      PROT_READ | PROT_WRITE);
    c->ring_granted = c->ring != NULL;
    if (!c->ring && !c->backend) {
        xen_pfn_t frame = ref;

        c->ring = xenforeignmemory_map(c->daemon->memory, c->domid, PROT_READ | PROT_WRITE, 1, &frame, NULL);
    }
    if (!c->ring) {
        g_warning("Cannot map the ring of console %u of domain %u: %s.", c->id, c->domid, g_strerror(errno));
        return FALSE;
    }
    keep_init(c->keep, c->ring->out_cons);
    c->port = xenevtchn_bind_interdomain(c->daemon->events, c->domid, port);
    if (c->port < 0) {
        g_warning("Cannot bind the event channel of console %u of domain %u: %s.", c->id, c->domid,
                  g_strerror(errno));
        disconnect_guest(c);
        return FALSE;
    }
    g_hash_table_insert(c->daemon->ports, GINT_TO_POINTER(c->port), c);
    return TRUE;
}

static void
set_backend_state(Console *c, enum xenbus_state state)
{
    g_autofree char *node = g_strdup_printf("%s/state", c->backend);

    serai_store_write(c->daemon->store, NULL, node, "%d", state);
}

void
console_frontend_changed(Console *c)
{
    int theirs, ours;

    if (!c->backend) {
        if (connect_guest(c))
            console_event(c);
        return;
    }
    theirs = serai_store_read_number(c->daemon->store, 0, "%s/state", c->path);
    ours = serai_store_read_number(c->daemon->store, 0, "%s/state", c->backend);
    if (theirs == XenbusStateInitialising && ours < XenbusStateInitWait)
        set_backend_state(c, XenbusStateInitWait);
    if (theirs == XenbusStateInitialised || theirs == XenbusStateConnected) {
        if (!connect_guest(c))
            return;
        if (ours != XenbusStateConnected)
            set_backend_state(c, XenbusStateConnected);
        console_event(c);
    }
    if (theirs == XenbusStateClosing || theirs == XenbusStateClosed) {
        disconnect_guest(c);
        if (ours != XenbusStateClosed)
            set_backend_state(c, XenbusStateClosed);
    }
}

/* --- life ------------------------------------------------------------------------------------- */

void
console_free(gpointer data)
{
    Console *c = data;

    if (c->ring && c->keep) {
        /* The last words of a guest that died. */
        from_guest(c);
        to_user(c);
    }
    disconnect_guest(c);
    if (c->watch)
        serai_store_unwatch(c->daemon->store, c->watch);
    g_clear_handle_id(&c->rate_timer, g_source_remove);
    g_clear_handle_id(&c->read_source, g_source_remove);
    g_clear_handle_id(&c->write_source, g_source_remove);
    g_clear_handle_id(&c->listen_source, g_source_remove);
    forget_fd(c, "pty");
    forget_fd(c, "tty");
    forget_fd(c, "keep");
    if (c->master >= 0)
        close(c->master);
    if (c->slave >= 0)
        close(c->slave);
    if (c->listener >= 0) {
        close(c->listener);
        g_unlink(c->socket_path);
    }
    if (c->keep)
        munmap(c->keep, KEEP_PAGES * 4096);
    if (c->keep_fd >= 0)
        close(c->keep_fd);
    log_close(&c->log);
    g_free(c->socket_path);
    g_free(c->path);
    g_free(c->backend);
    g_free(c);
}

static Console *
console_new(Daemon *daemon, guint domid, guint id)
{
    Console *c = g_new0(Console, 1);

    c->daemon = daemon;
    c->domid = domid;
    c->id = id;
    c->port = c->master = c->slave = c->listener = c->keep_fd = c->log.fd = -1;
    return c;
}

Console *
console_adopt(Daemon *daemon, guint domid)
{
    Console *c = console_new(daemon, domid, 0);

    c->adopted = TRUE;
    c->path = g_strdup_printf("/local/domain/%u/console", domid);
    /* Who has the event channel serves it, so that Xen's own daemon may run as well. */
    if (!open_keep(c) || !connect_guest(c) || !open_pty(c)) {
        console_free(c);
        return NULL;
    }
    announce(c);
    console_event(c);
    return c;
}

Console *
console_open(Daemon *daemon, guint domid, guint id)
{
    g_autofree char *log = serai_store_read(daemon->store, "/serai/console/%u/%u/log", domid, id);
    gboolean append = serai_store_read_number(daemon->store, 0, "/serai/console/%u/%u/append", domid, id);
    g_autofree char *entry = NULL, *opened = NULL;
    Console *c = console_new(daemon, domid, id);

    c->path = serai_store_read(daemon->store, "/serai/console/%u/%u/path", domid, id);
    c->socket_path = serai_store_read(daemon->store, "/serai/console/%u/%u/socket", domid, id);
    if (c->path && id)
        c->backend = serai_store_read(daemon->store, "%s/backend", c->path);
    if (!c->path || (id && !c->backend) || !open_keep(c) ||
        !(c->socket_path ? open_socket(c) : open_pty(c))) {
        g_warning("Cannot open console %u of domain %u: %s.", id, domid, g_strerror(errno));
        console_free(c);
        return NULL;
    }
    /* The first to open the log may empty it; who is started anew in the middle of a domain's life goes on.
     */
    entry = g_strdup_printf("/serai/console/%u/%u/opened", domid, id);
    opened = serai_store_read(daemon->store, "%s", entry);
    if (log)
        log_open(&c->log, log, append || opened);
    if (!opened)
        serai_store_write(daemon->store, NULL, entry, "1");
    announce(c);
    if (c->backend) {
        g_autofree char *state = g_strdup_printf("%s/state", c->path);

        c->watch = serai_store_watch(daemon->store, state, console_watched, NULL, NULL);
    }
    console_frontend_changed(c);
    return c;
}
