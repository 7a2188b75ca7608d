/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every file of the library needs: gettext in the domain "serai", and the public types. */
#ifndef SERAI_PRIVATE_H
#define SERAI_PRIVATE_H

#include <glib/gi18n-lib.h>
#include <serai.h>

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#define SERAI_PAGE_SHIFT 12
#define SERAI_PAGE_SIZE  4096UL

/* Puts an errno value into @error with the code that fits it best; the message is @format and then the
 * reason. */
void serai_set_errno(GError **error, int err, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* The error code that fits an errno value best. */
SeraiError serai_error_from_errno(int err);

/* Tells progress at most ten times a second, and always when @done is @total. */
typedef struct {
    SeraiProgressFunc func;
    gpointer data;
    gint64 last_us;
    SeraiStage stage;
} SeraiProgress;

void serai_progress(SeraiProgress *progress, SeraiStage stage, guint64 done, guint64 total);

/* Reads or writes all of @size bytes, whatever signals come; checks @cancellable before each system call. */
gboolean serai_read_all(int fd, void *buffer, size_t size, GCancellable *cancellable, GError **error);
gboolean serai_write_all(int fd, const void *buffer, size_t size, GCancellable *cancellable, GError **error);

/* UUIDs between text and the bytes that the hypervisor keeps.  The text must be in the usual 8-4-4-4-12 form.
 */
gboolean serai_uuid_parse(const char *text, guint8 ret_bytes[16]);
void serai_uuid_format(const guint8 bytes[16], char ret_text[37]);

#endif
