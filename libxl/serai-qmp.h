/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SERAI_QMP_H
#define SERAI_QMP_H

#include <gio/gio.h>

G_BEGIN_DECLS

/**
 * SeraiQmp: (skip)
 *
 * A conversation with a QEMU by its machine protocol (QEMU's docs/interop/qmp-spec.txt): one command, one
 * answer; events in between are skipped.  QEMU talks to one client at a time, so a conversation is held no
 * longer than needed, and by one thread.
 */
typedef struct SeraiQmp SeraiQmp;

/**
 * serai_qmp_open: (skip)
 * @path: the socket, as of serai_domain_dup_qmp_path().
 * @timeout_ms: how long each answer may take, in milliseconds.
 * @cancellable: (nullable): ends the wait.
 * @error: %G_IO_ERROR_NOT_FOUND or %G_IO_ERROR_CONNECTION_REFUSED when there is no QEMU.
 *
 * Begins a conversation.
 *
 * Returns: (transfer full): to be ended by serai_qmp_close(); %NULL with @error.
 */
SeraiQmp *serai_qmp_open(const char *path, guint timeout_ms, GCancellable *cancellable, GError **error);

/**
 * serai_qmp_close: (skip)
 * @qmp: (nullable) (transfer full): a conversation, which ends.
 */
void serai_qmp_close(SeraiQmp *qmp);

/**
 * serai_qmp_ask: (skip)
 * @qmp: a conversation.
 * @command: name of the command.
 * @arguments: (nullable): its arguments, a JSON object.
 * @fd: a file descriptor that travels with the command and stays the caller's, or -1.
 * @cancellable: (nullable): ends the wait.
 * @error: %SERAI_ERROR_TIMED_OUT, or %SERAI_ERROR_DEVICE_FAILED with QEMU's own words.  What QEMU says is
 * read with bounds of time and length, as a guest may have taken it over; after an error other than a refusal
 * the conversation is of no more use.
 *
 * Has QEMU carry out a command.
 *
 * Returns: (transfer full): what it returned, as JSON; %NULL with @error.
 */
char *serai_qmp_ask(SeraiQmp *qmp, const char *command, const char *arguments, int fd,
                    GCancellable *cancellable, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(SeraiQmp, serai_qmp_close)

G_END_DECLS

#endif
