/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SERAI_CREATE_H
#define SERAI_CREATE_H

#include "private/build.h"
#include "private/host.h"

/* Room above its maximum that a domain may use for what is not its memory proper. */
#define SERAI_SLACK_KIB 1024

/* Fills a domain that is empty: from a kernel, or from an image. */
typedef gboolean (*SeraiFillFunc)(SeraiHost *host, SeraiGuestMemory *memory, const SeraiConfig *config,
                                  SeraiBoot *boot, SeraiProgress *progress, GCancellable *cancellable,
                                  gpointer data, GError **error);

/*
 * Makes a domain, paused, and has @fill give it its contents.  Whatever fails, nothing is left behind.
 */
SeraiDomain *serai_create(SeraiHost *host, const SeraiConfig *config, SeraiFillFunc fill, gpointer data,
                          SeraiProgress *progress, GCancellable *cancellable, GError **error);

#endif
