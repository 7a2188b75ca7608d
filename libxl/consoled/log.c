/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Log files.  What cannot be written (a full disk) is dropped: a guest must not stop because of a log.
 */
#include "consoled/log.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

static void
log_reopen(Log *log, int extra)
{
    struct stat st;

    log->fd =
        open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | extra, 0600);
    log->size = log->fd >= 0 && fstat(log->fd, &st) == 0 ? st.st_size : 0;
}

void
log_open(Log *log, const char *path, gboolean append)
{
    log->path = g_strdup(path);
    log_reopen(log, append ? 0 : O_TRUNC);
    if (log->fd < 0)
        g_warning("Cannot open the log '%s': %s.", path, g_strerror(errno));
}

static void
log_turn(Log *log)
{
    close(log->fd);
    for (int i = LOG_BACKUPS; i > 0; i--) {
        g_autofree char *from = i > 1 ? g_strdup_printf("%s.%d", log->path, i - 1) : g_strdup(log->path);
        g_autofree char *to = g_strdup_printf("%s.%d", log->path, i);

        g_rename(from, to);
    }
    log_reopen(log, 0);
}

void
log_write(Log *log, const void *data, gsize size)
{
    if (!log->path)
        return;
    if (log->fd < 0)
        log_reopen(log, 0);
    while (size && log->fd >= 0) {
        ssize_t n = write(log->fd, data, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        data = (const char *)data + n;
        size -= n;
        log->size += n;
    }
    if (log->fd >= 0 && log->size > LOG_SIZE_MAX)
        log_turn(log);
}

void
log_close(Log *log)
{
    if (log->path && log->fd >= 0)
        close(log->fd);
    g_clear_pointer(&log->path, g_free);
    log->fd = -1;
}
