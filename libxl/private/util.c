/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small things that every file needs.  No state, no locks. */
#include "private/private.h"

#include <unistd.h>

SeraiError
serai_error_from_errno(int err)
{
    switch (err) {
    case ENOMEM:
        return SERAI_ERROR_NO_MEMORY;
    case ESRCH:
        return SERAI_ERROR_NO_DOMAIN;
    case EPERM:
    case EACCES:
        return SERAI_ERROR_PERMISSION;
    case ENOSYS:
    case EOPNOTSUPP:
        return SERAI_ERROR_UNSUPPORTED;
    case EIO:
    case ENOSPC:
    case EROFS:
    case EPIPE:
        return SERAI_ERROR_IO;
    case ETIMEDOUT:
        return SERAI_ERROR_TIMED_OUT;
    default:
        return SERAI_ERROR_FAILED;
    }
}

void
serai_set_errno(GError **error, int err, const char *format, ...)
{
    g_autofree char *message = NULL;
    va_list args;

    va_start(args, format);
    message = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, SERAI_ERROR, serai_error_from_errno(err), "%s: %s.", message, g_strerror(err));
}

void
serai_progress(SeraiProgress *progress, SeraiStage stage, guint64 done, guint64 total)
{
    gint64 now;

    if (!progress || !progress->func)
        return;
    now = g_get_monotonic_time();
    if (stage == progress->stage && progress->last_us && now - progress->last_us < G_USEC_PER_SEC / 10 &&
        done != total)
        return;
    progress->stage = stage;
    progress->last_us = now;
    progress->func(stage, done, total, progress->data);
}

gboolean
serai_read_all(int fd, void *buffer, size_t size, GCancellable *cancellable, GError **error)
{
    while (size) {
        ssize_t n;

        if (g_cancellable_set_error_if_cancelled(cancellable, error))
            return FALSE;
        n = read(fd, buffer, MIN(size, 1 << 20));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            g_set_error(error, SERAI_ERROR, SERAI_ERROR_IO, _("Cannot read: %s."), g_strerror(errno));
            return FALSE;
        }
        if (!n) {
            g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_INVALID_IMAGE, _("The data ends too early."));
            return FALSE;
        }
        buffer = (char *)buffer + n;
        size -= n;
    }
    return TRUE;
}

gboolean
serai_write_all(int fd, const void *buffer, size_t size, GCancellable *cancellable, GError **error)
{
    while (size) {
        ssize_t n;

        if (g_cancellable_set_error_if_cancelled(cancellable, error))
            return FALSE;
        n = write(fd, buffer, MIN(size, 1 << 20));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            g_set_error(error, SERAI_ERROR, SERAI_ERROR_IO, _("Cannot write: %s."), g_strerror(errno));
            return FALSE;
        }
        buffer = (const char *)buffer + n;
        size -= n;
    }
    return TRUE;
}

gboolean
serai_uuid_parse(const char *text, guint8 ret_bytes[16])
{
    guint8 bytes[16];
    int n = 0;

    if (!text || !g_uuid_string_is_valid(text))
        return FALSE;
    for (const char *p = text; *p; p++) {
        if (*p == '-')
            continue;
        bytes[n / 2] = n % 2 ? bytes[n / 2] | g_ascii_xdigit_value(*p) : g_ascii_xdigit_value(*p) << 4;
        n++;
    }
    memcpy(ret_bytes, bytes, sizeof(bytes));
    return TRUE;
}

void
serai_uuid_format(const guint8 b[16], char ret_text[37])
{
    g_snprintf(ret_text, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
               b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
               b[15]);
}
