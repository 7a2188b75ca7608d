/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A store in a test, and clients that talk to it without any transport.
 */
#pragma once

#include <glib.h>

#include "request.h"
#include "store.h"
#include "wire.h"

/* What came back: a reply or an event; @data has a terminator behind it. */
struct message {
    struct xsd_sockmsg header;
    char data[XENSTORE_PAYLOAD_MAX + 1];
};

void peer_init(struct store *store);
struct client *peer_socket(struct store *store);
struct client *peer_domain(struct store *store, uint16_t domid);

/* Sends one request whose payload is @length bytes, and processes it. */
void peer_send(struct store *store, struct client *client, uint32_t type, uint32_t tx_id, const void *payload,
               size_t length);
/* Takes the next message out of the client's queue; false if there is none. */
bool peer_take(struct store *store, struct client *client, struct message *message);

/*
 * Sends strings, each with its terminator, ended by NULL; takes the reply, leaving earlier events out.
 * Returns the payload, valid until the next call, or the name of the error after a '!'.
 */
const char *peer_ask(struct store *store, struct client *client, uint32_t type, uint32_t tx_id,
                     ...) G_GNUC_NULL_TERMINATED;
/* The same for WRITE, whose value has no terminator. */
const char *peer_write(struct store *store, struct client *client, uint32_t tx_id, const char *path,
                       const char *value);
/* All events that wait, as "path token\n" for each. */
char *peer_events(struct store *store, struct client *client);

#define ask(...) peer_ask(&store, __VA_ARGS__, NULL)
