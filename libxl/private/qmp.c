/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU answers each command by one line with "return" or "error".  What it says is read with bounds: it may
 * hang on a disk, or have been taken over by a guest.
 */
#include "private/qmp.h"

#include <gio/gunixfdmessage.h>
#include <gio/gunixsocketaddress.h>

#define LINE_MAX_BYTES (1024 * 1024)
#define DEPTH_MAX      100

struct SeraiQmp {
    GSocketConnection *connection;
    GSocket *socket;  /* of the connection */
    gint64 timeout;   /* microseconds for an answer */
    GString *pending; /* read, and not yet taken as a line */
};

static gboolean
say(SeraiQmp *qmp, const char *text, int fd, GCancellable *cancellable, GError **error)
{
    g_autoptr(GSocketControlMessage) message = fd < 0 ? NULL : g_unix_fd_message_new();
    gsize size = strlen(text);
    gssize sent;

    if (message && !g_unix_fd_message_append_fd(G_UNIX_FD_MESSAGE(message), fd, error))
        return FALSE;
    for (gsize done = 0; done < size; done += sent) {
        GOutputVector vector = {text + done, size - done};

        sent = g_socket_send_message(qmp->socket, NULL, &vector, 1, message ? &message : NULL,
                                     message ? 1 : 0, G_SOCKET_MSG_NONE, cancellable, error);
        if (sent < 0)
            return FALSE;
        g_clear_object(&message);
    }
    return TRUE;
}

/* g_strconcat() for three, which leaves no copy elsewhere: there may be a password in it. */
static char *
command_text(const char *command, const char *arguments)
{
    gsize size = strlen(command) + (arguments ? strlen(arguments) : 0) + 32;
    char *text = g_malloc(size);

    g_snprintf(text, size, "{\"execute\":\"%s\"%s%s}\n", command, arguments ? ",\"arguments\":" : "",
               arguments ? arguments : "");
    return text;
}

/* Reads what there is; waits until @deadline, in monotonic time. */
static gboolean
hear(SeraiQmp *qmp, gint64 deadline, GCancellable *cancellable, GError **error)
{
    g_autoptr(GError) local = NULL;
    char buffer[4096];
    gssize length;

    if (!g_socket_condition_timed_wait(qmp->socket, G_IO_IN, MAX(0, deadline - g_get_monotonic_time()),
                                       cancellable, &local)) {
        if (g_error_matches(local, G_IO_ERROR, G_IO_ERROR_TIMED_OUT))
            g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_TIMED_OUT, _("QEMU does not answer."));
        else
            g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    length = g_socket_receive(qmp->socket, buffer, sizeof(buffer), cancellable, error);
    if (length < 0)
        return FALSE;
    if (length == 0 || qmp->pending->len + length > LINE_MAX_BYTES) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED,
                            length == 0 ? _("QEMU has ended.") : _("QEMU answers without end."));
        return FALSE;
    }
    g_string_append_len(qmp->pending, buffer, length);
    return TRUE;
}

static char *
next_line(SeraiQmp *qmp, gint64 deadline, GCancellable *cancellable, GError **error)
{
    const char *end;
    char *line;

    while (!(end = memchr(qmp->pending->str, '\n', qmp->pending->len)))
        if (!hear(qmp, deadline, cancellable, error))
            return NULL;
    line = g_strndup(qmp->pending->str, end - qmp->pending->str);
    g_string_erase(qmp->pending, 0, end - qmp->pending->str + 1);
    return line;
}

/* Whether brackets are nested deeper than in anything that QEMU says; the parser calls itself for each. */
static gboolean
is_deep(const char *line)
{
    guint depth = 0;

    for (; *line && depth <= DEPTH_MAX; line++) {
        if (*line == '[' || *line == '{')
            depth++;
        else if ((*line == ']' || *line == '}') && depth)
            depth--;
    }
    return depth > DEPTH_MAX;
}

/* The answer in a line, or NULL: an event, or, with @error, a refusal or nonsense. */
static JsonNode *
parse_answer(const char *line, GError **error)
{
    g_autoptr(JsonNode) root = is_deep(line) ? NULL : json_from_string(line, NULL);
    JsonObject *object = root && JSON_NODE_HOLDS_OBJECT(root) ? json_node_get_object(root) : NULL, *refusal;
    JsonNode *member;

    if (!object) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED, _("QEMU answers no JSON."));
        return NULL;
    }
    member = json_object_get_member(object, "return");
    if (member)
        return json_node_copy(member);
    member = json_object_get_member(object, "error");
    refusal = member && JSON_NODE_HOLDS_OBJECT(member) ? json_node_get_object(member) : NULL;
    if (member)
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED, _("QEMU refuses: %s"),
                    refusal ? json_object_get_string_member_with_default(refusal, "desc", line) : line);
    return NULL;
}

static JsonNode *
ask(SeraiQmp *qmp, const char *command, const char *arguments, int fd, GCancellable *cancellable,
    GError **error)
{
    gint64 deadline = g_get_monotonic_time() + qmp->timeout;
    g_autofree char *text = command_text(command, arguments);
    g_autoptr(GError) local = NULL;
    JsonNode *answer = NULL;
    gboolean said = say(qmp, text, fd, cancellable, error);

    explicit_bzero(text, strlen(text));
    if (!said)
        return NULL;
    while (!answer && !local) {
        g_autofree char *line = next_line(qmp, deadline, cancellable, &local);

        if (line)
            answer = parse_answer(line, &local);
    }
    if (local)
        g_propagate_error(error, g_steal_pointer(&local));
    return answer;
}

char *
serai_qmp_ask(SeraiQmp *qmp, const char *command, const char *arguments, int fd, GCancellable *cancellable,
              GError **error)
{
    g_autoptr(JsonNode) answer = ask(qmp, command, arguments, fd, cancellable, error);

    return answer ? json_to_string(answer, FALSE) : NULL;
}

JsonNode *
serai_qmp_run(SeraiQmp *qmp, const char *command, JsonNode *arguments, GCancellable *cancellable,
              GError **error)
{
    g_autoptr(JsonNode) given = arguments;
    g_autofree char *text = given ? json_to_string(given, FALSE) : NULL;

    return ask(qmp, command, text, -1, cancellable, error);
}

SeraiQmp *
serai_qmp_open(const char *path, guint timeout_ms, GCancellable *cancellable, GError **error)
{
    g_autoptr(SeraiQmp) qmp = g_new0(SeraiQmp, 1);
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
    g_autoptr(JsonNode) answer = NULL;

    g_socket_client_set_timeout(client, MAX(1, timeout_ms / 1000));
    qmp->timeout = timeout_ms * G_GINT64_CONSTANT(1000);
    qmp->pending = g_string_new(NULL);
    qmp->connection = g_socket_client_connect(client, G_SOCKET_CONNECTABLE(address), cancellable, error);
    if (!qmp->connection) {
        g_prefix_error(error, _("Cannot talk to QEMU: "));
        return NULL;
    }
    qmp->socket = g_socket_connection_get_socket(qmp->connection);
    answer = ask(qmp, "qmp_capabilities", NULL, -1, cancellable, error);
    return answer ? g_steal_pointer(&qmp) : NULL;
}

void
serai_qmp_close(SeraiQmp *qmp)
{
    if (!qmp)
        return;
    g_clear_object(&qmp->connection);
    g_string_free(qmp->pending, TRUE);
    g_free(qmp);
}
