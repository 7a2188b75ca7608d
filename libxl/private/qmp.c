/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU answers each command by one line with "return" or "error".  What it says is read with bounds: it may
 * have been taken over by a guest.
 */
#include "private/qmp.h"

#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>

#define TIMEOUT_SECONDS 30
#define LINES_MAX       100

struct SeraiQmp {
    GSocketConnection *connection;
    GDataInputStream *input;
};

static char *
read_line(SeraiQmp *qmp, GCancellable *cancellable, GError **error)
{
    g_autoptr(GError) local = NULL;
    char *line = g_data_input_stream_read_line_utf8(qmp->input, NULL, cancellable, &local);

    if (!line && local)
        g_propagate_error(error, g_steal_pointer(&local));
    else if (!line)
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED, _("QEMU ended."));
    return line;
}

/* The answer in a line, or NULL when it is something else; a refusal sets @error. */
static JsonNode *
parse_answer(const char *line, GError **error)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    JsonObject *object, *refusal;
    JsonNode *root;

    if (!json_parser_load_from_data(parser, line, -1, NULL))
        return NULL;
    root = json_parser_get_root(parser);
    if (!root || !JSON_NODE_HOLDS_OBJECT(root))
        return NULL;
    object = json_node_get_object(root);
    if (json_object_has_member(object, "return"))
        return json_node_copy(json_object_get_member(object, "return"));
    if (!json_object_has_member(object, "error"))
        return NULL;
    root = json_object_get_member(object, "error");
    refusal = JSON_NODE_HOLDS_OBJECT(root) ? json_node_get_object(root) : NULL;
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED, _("QEMU refuses: %s"),
                refusal ? json_object_get_string_member_with_default(refusal, "desc", line) : line);
    return NULL;
}

JsonNode *
serai_qmp_run(SeraiQmp *qmp, const char *command, JsonNode *arguments, GCancellable *cancellable,
              GError **error)
{
    GOutputStream *output = g_io_stream_get_output_stream(G_IO_STREAM(qmp->connection));
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    JsonObject *object = json_object_new();
    g_autofree char *text = NULL, *whole = NULL;
    g_autoptr(GError) local = NULL;

    json_object_set_string_member(object, "execute", command);
    if (arguments)
        json_object_set_member(object, "arguments", arguments);
    json_node_take_object(node, object);
    text = json_to_string(node, FALSE);
    whole = g_strconcat(text, "\n", NULL);
    if (!g_output_stream_write_all(output, whole, strlen(whole), NULL, cancellable, error))
        return NULL;
    for (int i = 0; i < LINES_MAX; i++) {
        g_autofree char *line = read_line(qmp, cancellable, error);
        JsonNode *answer = line ? parse_answer(line, &local) : NULL;

        if (answer || !line)
            return answer;
        if (local) {
            g_propagate_error(error, g_steal_pointer(&local));
            return NULL;
        }
    }
    g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED, _("QEMU does not answer."));
    return NULL;
}

SeraiQmp *
serai_qmp_open(const char *path, GCancellable *cancellable, GError **error)
{
    g_autoptr(SeraiQmp) qmp = g_new0(SeraiQmp, 1);
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
    g_autoptr(JsonNode) answer = NULL;

    g_socket_client_set_timeout(client, TIMEOUT_SECONDS);
    qmp->connection = g_socket_client_connect(client, G_SOCKET_CONNECTABLE(address), cancellable, error);
    if (!qmp->connection) {
        g_prefix_error(error, _("Cannot talk to QEMU: "));
        return NULL;
    }
    qmp->input = g_data_input_stream_new(g_io_stream_get_input_stream(G_IO_STREAM(qmp->connection)));
    answer = serai_qmp_run(qmp, "qmp_capabilities", NULL, cancellable, error);
    return answer ? g_steal_pointer(&qmp) : NULL;
}

void
serai_qmp_close(SeraiQmp *qmp)
{
    if (!qmp)
        return;
    g_clear_object(&qmp->input);
    g_clear_object(&qmp->connection);
    g_free(qmp);
}
