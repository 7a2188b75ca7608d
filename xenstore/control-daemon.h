/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * CONTROL commands that concern the process: live update and checkpoints.
 */
#pragma once

#include "server.h"

/* The name of the environment variable that carries descriptors to the next program. */
#define UPDATE_FDS "SERAI_XENSTORED_FDS"

int control_daemon(void *data, struct client *client, char **words, unsigned int count, struct buf *reply);
/* At the end of a turn: writes the state, or replaces the process, if that was asked for. */
void control_daemon_update(struct server *server);
/* Adopts what the program before us left open; true if it did. */
bool control_daemon_inherit(struct server *server);
