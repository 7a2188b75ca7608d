/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SERAI_RESTORE_H
#define SERAI_RESTORE_H

#include "private/create.h"

/* A SeraiFillFunc; @data points to the file descriptor, which stands at the migration stream. */
gboolean serai_stream_restore(SeraiHost *host, SeraiGuestMemory *memory, const SeraiConfig *config,
                              SeraiBoot *boot, SeraiProgress *progress, GCancellable *cancellable,
                              gpointer data, GError **error);

#endif
