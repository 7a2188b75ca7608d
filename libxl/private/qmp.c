/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The little that is said to QEMU once it runs: the password of its VNC server, and the question which port
 * it took. One connection, one command after the other, each answered by one line with "return" or "error";
 * events in between are skipped.  Nothing is kept, so there is no lock.
 */
#include "private/system.h"

#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <stdlib.h>

#define TIMEOUT_SECONDS 10
#define LINES_MAX       100

static char *
ask(GIOStream *stream, GDataInputStream *input, const char *command, GCancellable *cancellable,
    GError **error)
{
    GOutputStream *output = g_io_stream_get_output_stream(stream);

    if (!g_output_stream_write_all(output, command, strlen(command), NULL, cancellable, error))
        return NULL;
    for (int i = 0; i < LINES_MAX; i++) {
        g_autofree char *line = g_data_input_stream_read_line_utf8(input, NULL, cancellable, error);

        if (!line) {
            if (error && !*error)
                g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED, _("QEMU ended."));
            return NULL;
        }
        if (g_str_has_prefix(line, "{\"return\"") || strstr(line, "\"return\":"))
            return g_steal_pointer(&line);
        if (strstr(line, "\"error\":")) {
            g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED, _("QEMU refuses: %s"), line);
            return NULL;
        }
    }
    g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED, _("QEMU does not answer."));
    return NULL;
}

gboolean
serai_qmp_setup_vnc(const char *path, SeraiVfb *vfb, GCancellable *cancellable, GError **error)
{
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
    g_autoptr(GSocketConnection) connection = NULL;
    g_autoptr(GDataInputStream) input = NULL;
    g_autoptr(GMatchInfo) match = NULL;
    g_autoptr(GRegex) regex = g_regex_new("\"service\": *\"(\\d{1,5})\"", 0, 0, NULL);
    g_autofree char *reply = NULL;

    g_socket_client_set_timeout(client, TIMEOUT_SECONDS);
    connection = g_socket_client_connect(client, G_SOCKET_CONNECTABLE(address), cancellable, error);
    if (!connection)
        return FALSE;
    input = g_data_input_stream_new(g_io_stream_get_input_stream(G_IO_STREAM(connection)));
    reply = ask(G_IO_STREAM(connection), input, "{\"execute\":\"qmp_capabilities\"}\n", cancellable, error);
    if (!reply)
        return FALSE;
    if (vfb->password) {
        /* serai_device_check() let nothing through that JSON would have to escape. */
        g_autofree char *command = g_strdup_printf(
            "{\"execute\":\"set_password\",\"arguments\":{\"protocol\":\"vnc\",\"password\":\"%s\"}}\n",
            vfb->password);

        g_free(g_steal_pointer(&reply));
        reply = ask(G_IO_STREAM(connection), input, command, cancellable, error);
        if (!reply)
            return FALSE;
    }
    if (vfb->socket_path || vfb->port)
        return TRUE;
    g_free(g_steal_pointer(&reply));
    reply = ask(G_IO_STREAM(connection), input, "{\"execute\":\"query-vnc\"}\n", cancellable, error);
    if (!reply)
        return FALSE;
    if (g_regex_match(regex, reply, 0, &match)) {
        g_autofree char *port = g_match_info_fetch(match, 1);

        vfb->port = atoi(port);
    }
    return TRUE;
}
