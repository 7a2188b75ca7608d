/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One console of one domain, from its ring to its pty or socket. */
#ifndef CONSOLED_CONSOLE_H
#define CONSOLED_CONSOLE_H

#include "consoled/log.h"
#include "consoled/ring.h"
#include "private/store.h"

#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xengnttab.h>

typedef struct Console Console;

/* What all consoles share. */
typedef struct {
    SeraiStore *store;
    xenevtchn_handle *events;
    xengnttab_handle *grants;
    xenforeignmemory_handle *memory;
    GHashTable *consoles; /* "DOMID/ID" to Console, owned */
    GHashTable *ports;    /* local port to Console */
    GHashTable *others;   /* domid to the watch on its console */
    GHashTable *passed;   /* name to descriptor that systemd kept for us */
} Daemon;

/* Opens the console that /serai/console/DOMID/ID describes; NULL when it cannot be served (the reason is
 * logged). */
Console *console_open(Daemon *daemon, guint domid, guint id);
/*
 * Console 0 of a domain that another toolstack made, xl say; NULL when it is not ready, or served by another.
 */
Console *console_adopt(Daemon *daemon, guint domid);
gboolean console_is_adopted(const Console *console);
/* Closes it for good: its pty goes. */
void console_free(gpointer console);
/* The guest wrote, read, or changed its state. */
void console_event(Console *console);
void console_frontend_changed(Console *console);
/* A watch of the store, in the store's thread: has the main loop look at what @path names. */
void console_watched(const char *path, gpointer data);
guint console_domid(const Console *console);

#endif
