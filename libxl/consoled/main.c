/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * serai-consoled: serves the consoles and channels of all domains.
 *
 * Of those that libserai made the store tells below /serai/console, and its watch names the one that came or
 * went, so nothing takes longer when there are more domains.  Others, xl's say, are found by their console's
 * type, "xenconsoled", and have a pty.  Watches arrive in the store's thread and are handed to the main loop,
 * which does all the rest.
 */
#include "consoled/console.h"

#include <errno.h>
#include <glib-unix.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>
#include <xenctrl.h>

#define ROOT    "/serai/console"
#define DOMAINS "/local/domain"

static Daemon self;

static void
unwatch(gpointer watch)
{
    serai_store_unwatch(self.store, watch);
}

/* Domain number to the watch on its console. */
static GHashTable *
others_new(void)
{
    return g_hash_table_new_full(NULL, NULL, NULL, unwatch);
}

/* --- what came and went ----------------------------------------------------------------------- */

static void
look_at(guint domid, guint id)
{
    g_autofree char *key = g_strdup_printf("%u/%u", domid, id);
    g_autofree char *path = serai_store_read(self.store, ROOT "/%u/%u/path", domid, id);
    Console *console = g_hash_table_lookup(self.consoles, key);

    if (!path) {
        g_hash_table_remove(self.consoles, key);
    } else if (console) {
        console_frontend_changed(console);
    } else {
        console = console_open(&self, domid, id);
        if (console)
            g_hash_table_insert(self.consoles, g_steal_pointer(&key), console);
    }
}

static void
look_at_domain(guint domid)
{
    g_auto(GStrv) ids = serai_store_list(self.store, ROOT "/%u", domid);
    GHashTableIter iter;
    gpointer key, console;

    for (char **id = ids; *id; id++)
        look_at(domid, atoi(*id));
    if (*ids)
        return;
    g_hash_table_iter_init(&iter, self.consoles);
    while (g_hash_table_iter_next(&iter, &key, &console))
        if (console_domid(console) == domid)
            g_hash_table_iter_remove(&iter);
}

/* Of a domain whose console somebody else described. */
static void
look_at_other(guint domid)
{
    g_autofree char *key = g_strdup_printf("%u/0", domid);
    g_autofree char *type = serai_store_read(self.store, DOMAINS "/%u/console/type", domid);
    Console *console = g_hash_table_lookup(self.consoles, key);

    if (console && console_is_adopted(console) && !type) {
        g_hash_table_remove(self.consoles, key);
    } else if (!console && g_strcmp0(type, "xenconsoled") == 0 &&
               serai_store_read_number(self.store, -1, DOMAINS "/%u/console/port", domid) >= 0) {
        console = console_adopt(&self, domid);
        if (console)
            g_hash_table_insert(self.consoles, g_steal_pointer(&key), console);
    }
}

/* Keeps a watch on the console of each domain that there is. */
static void
watch_others(void)
{
    g_auto(GStrv) domids = serai_store_list(self.store, DOMAINS);
    GHashTable *before = self.others;

    self.others = others_new();
    for (char **d = domids; *d; d++) {
        gpointer domid = GUINT_TO_POINTER((guint)atoi(*d)), watch = NULL;

        if (!domid)
            continue;
        if (!g_hash_table_steal_extended(before, domid, NULL, &watch)) {
            g_autofree char *path = g_strdup_printf(DOMAINS "/%s/console", *d);

            watch = serai_store_watch(self.store, path, console_watched, NULL, NULL);
        }
        if (watch)
            g_hash_table_insert(self.others, domid, watch);
    }
    g_hash_table_unref(before);
}

static gboolean
on_change(gpointer data)
{
    const char *path = data;
    guint domid, id;

    if (sscanf(path, ROOT "/%u/%u", &domid, &id) == 2 ||
        sscanf(path, "/local/domain/%u/device/console/%u/state", &domid, &id) == 2) {
        look_at(domid, id);
    } else if (sscanf(path, ROOT "/%u", &domid) == 1) {
        look_at_domain(domid);
    } else if (sscanf(path, DOMAINS "/%u/console", &domid) == 1) {
        look_at_other(domid);
    } else if (*path == '@') {
        watch_others();
    } else if (!strcmp(path, ROOT)) {
        g_auto(GStrv) domids = serai_store_list(self.store, ROOT);

        for (char **d = domids; *d; d++)
            look_at_domain(atoi(*d));
    }
    return G_SOURCE_REMOVE;
}

void
console_watched(const char *path, gpointer data G_GNUC_UNUSED)
{
    GSource *source = g_idle_source_new();

    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, on_change, g_strdup(path), g_free);
    g_source_attach(source, NULL);
    g_source_unref(source);
}

/* --- events ----------------------------------------------------------------------------------- */

static gboolean
on_event(gint fd G_GNUC_UNUSED, GIOCondition condition G_GNUC_UNUSED, gpointer data G_GNUC_UNUSED)
{
    xenevtchn_port_or_error_t port = xenevtchn_pending(self.events);
    Console *console;

    if (port < 0)
        return G_SOURCE_CONTINUE;
    console = g_hash_table_lookup(self.ports, GINT_TO_POINTER(port));
    xenevtchn_unmask(self.events, port);
    if (console)
        console_event(console);
    return G_SOURCE_CONTINUE;
}

static gboolean
on_signal(gpointer loop)
{
    g_main_loop_quit(loop);
    return G_SOURCE_CONTINUE;
}

/* --- start and end ---------------------------------------------------------------------------- */

/* What systemd kept from our former life. */
static void
take_descriptors(void)
{
    char **names = NULL;
    int count = sd_listen_fds_with_names(TRUE, &names);

    self.passed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (int i = 0; i < count; i++) {
        int fd = SD_LISTEN_FDS_START + i;

        if (!g_hash_table_insert(self.passed, g_strdup(names[i]), GINT_TO_POINTER(fd)))
            g_warning("Two descriptors were passed as '%s'.", names[i]);
        free(names[i]);
    }
    free(names);
}

static gboolean
on_settled(gpointer data G_GNUC_UNUSED)
{
    GHashTableIter iter;
    gpointer key, value;

    /* Descriptors of consoles that went while we were away. */
    g_hash_table_iter_init(&iter, self.passed);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        close(GPOINTER_TO_INT(value));
        sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", (char *)key);
        g_hash_table_iter_remove(&iter);
    }
    return G_SOURCE_REMOVE;
}

static gboolean
open_all(GError **error)
{
    self.events = xenevtchn_open(NULL, 0);
    self.grants = xengnttab_open(NULL, 0);
    self.memory = xenforeignmemory_open(NULL, 0);
    if (!self.events || !self.grants || !self.memory) {
        serai_set_errno(error, errno, _("Cannot open event channels, grants and memory of other domains"));
        return FALSE;
    }
    self.store = serai_store_open(error);
    if (!self.store)
        return FALSE;
    self.consoles = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, console_free);
    self.ports = g_hash_table_new(NULL, NULL);
    self.others = others_new();
    g_unix_fd_add(xenevtchn_fd(self.events), G_IO_IN, on_event, NULL);
    return serai_store_watch(self.store, ROOT, console_watched, NULL, error) &&
           serai_store_watch(self.store, "@introduceDomain", console_watched, NULL, error) &&
           serai_store_watch(self.store, "@releaseDomain", console_watched, NULL, error);
}

int
main(int argc, char **argv)
{
    gboolean foreground = FALSE, version = FALSE;
    const GOptionEntry entries[] = {
        {"foreground", 'f', 0, G_OPTION_ARG_NONE, &foreground, N_("Stay in the foreground"), NULL},
        {"version", 'V', 0, G_OPTION_ARG_NONE, &version, N_("Print the version and exit"), NULL},
        G_OPTION_ENTRY_NULL,
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GMainLoop) loop = NULL;
    g_autoptr(GError) error = NULL;

    setlocale(LC_ALL, "");
    g_option_context_set_summary(context, _("Serves the consoles of all domains."));
    g_option_context_add_main_entries(context, entries, GETTEXT_PACKAGE);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "serai-consoled: %s\n", error->message);
        return 2;
    }
    if (version) {
        puts("serai-consoled " SERAI_VERSION);
        return 0;
    }
    take_descriptors();
    if (!foreground && !getenv("NOTIFY_SOCKET") && daemon(0, 0) < 0) {
        fprintf(stderr, "serai-consoled: %s\n", g_strerror(errno));
        return 1;
    }
    if (!open_all(&error)) {
        fprintf(stderr, "serai-consoled: %s\n", error->message);
        return 1;
    }
    loop = g_main_loop_new(NULL, FALSE);
    g_unix_signal_add(SIGTERM, on_signal, loop);
    g_unix_signal_add(SIGINT, on_signal, loop);
    signal(SIGPIPE, SIG_IGN);
    g_timeout_add_seconds(5, on_settled, NULL);
    sd_notify(0, "READY=1");
    g_main_loop_run(loop);

    /*
     * No console is closed: descriptors in systemd's store live on, and so do the rings.  What this process
     * has open the kernel closes.
     */
    sd_notify(0, "STOPPING=1");
    serai_store_close(self.store);
    return 0;
}
