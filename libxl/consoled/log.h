/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A log file that is turned over when it gets long: name, name.1, name.2, name.3. */
#ifndef CONSOLED_LOG_H
#define CONSOLED_LOG_H

#include <glib.h>

#define LOG_SIZE_MAX (2 << 20)
#define LOG_BACKUPS  3

typedef struct {
    char *path;
    int fd;
    gint64 size;
} Log;

/* Empties the file unless @append.  A log that cannot be opened is retried at the next write. */
void log_open(Log *log, const char *path, gboolean append);
void log_write(Log *log, const void *data, gsize size);
void log_close(Log *log);

#endif
