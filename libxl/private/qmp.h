/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A conversation with QEMU by its machine protocol: one command, one answer; events in between are skipped.
 */
#ifndef SERAI_QMP_H
#define SERAI_QMP_H

#include "private/private.h"

#include <json-glib/json-glib.h>

/* One connection.  QEMU talks to one client at a time, so it is held no longer than needed.  No locks. */
typedef struct SeraiQmp SeraiQmp;

SeraiQmp *serai_qmp_open(const char *path, GCancellable *cancellable, GError **error);
void serai_qmp_close(SeraiQmp *qmp);

/*
 * Runs @command with @arguments (taken; NULL for none) and returns what QEMU returned, or NULL with QEMU's
 * own words in @error.
 */
JsonNode *serai_qmp_run(SeraiQmp *qmp, const char *command, JsonNode *arguments, GCancellable *cancellable,
                        GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(SeraiQmp, serai_qmp_close)

#endif
