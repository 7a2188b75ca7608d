/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "peer.h"

#include <stdarg.h>
#include <string.h>

void
peer_init(struct store *store)
{
    g_assert_cmpint(store_init(store), ==, 0);
}

struct client *
peer_socket(struct store *store)
{
    struct client *client = client_open(store, store_find_domain(store, 0), true, CLIENT_NONE);

    g_assert_nonnull(client);
    return client;
}

struct client *
peer_domain(struct store *store, uint16_t domid)
{
    g_assert_cmpint(store_introduce(store, domid, 1, 1), ==, 0);
    return store_find_domain(store, domid)->ring;
}

void
peer_send(struct store *store, struct client *client, uint32_t type, uint32_t tx_id, const void *payload,
          size_t length)
{
    struct xsd_sockmsg header = {.type = type, .req_id = 7, .tx_id = tx_id, .len = length};

    g_assert_cmpint(client_received(client, &header, sizeof(header)), ==, 0);
    if (length)
        g_assert_cmpint(client_received(client, payload, length), ==, 0);
    g_assert_true(client_ready(store, client));
    g_assert_cmpint(request_process(store, client), ==, 0);
}

bool
peer_take(struct store *store, struct client *client, struct message *message)
{
    if (client->out.length < sizeof(message->header))
        return false;
    memcpy(&message->header, buf_head(&client->out), sizeof(message->header));
    g_assert_cmpuint(client->out.length, >=, sizeof(message->header) + message->header.len);
    memcpy(message->data, buf_head(&client->out) + sizeof(message->header), message->header.len);
    message->data[message->header.len] = '\0';
    client_sent(store, client, sizeof(message->header) + message->header.len);
    return true;
}

static const char *
take_reply(struct store *store, struct client *client, uint32_t type)
{
    static struct message message;

    while (peer_take(store, client, &message)) {
        if (message.header.type == XS_WATCH_EVENT)
            continue;
        g_assert_cmpuint(message.header.req_id, ==, 7);
        if (message.header.type == XS_ERROR) {
            memmove(message.data + 1, message.data, message.header.len);
            message.data[0] = '!';
        } else {
            g_assert_cmpuint(message.header.type, ==, type);
        }
        return message.data;
    }
    g_assert_not_reached();
}

const char *
peer_ask(struct store *store, struct client *client, uint32_t type, uint32_t tx_id, ...)
{
    GByteArray *payload = g_byte_array_new();
    const char *word;
    va_list words;

    va_start(words, tx_id);
    while ((word = va_arg(words, const char *)))
        g_byte_array_append(payload, (const guint8 *)word, strlen(word) + 1);
    va_end(words);
    peer_send(store, client, type, tx_id, payload->data, payload->len);
    g_byte_array_unref(payload);
    return take_reply(store, client, type);
}

const char *
peer_write(struct store *store, struct client *client, uint32_t tx_id, const char *path, const char *value)
{
    GByteArray *payload = g_byte_array_new();

    g_byte_array_append(payload, (const guint8 *)path, strlen(path) + 1);
    g_byte_array_append(payload, (const guint8 *)value, strlen(value));
    peer_send(store, client, XS_WRITE, tx_id, payload->data, payload->len);
    g_byte_array_unref(payload);
    return take_reply(store, client, XS_WRITE);
}

char *
peer_events(struct store *store, struct client *client)
{
    GString *events = g_string_new(NULL);
    struct message message;

    while (peer_take(store, client, &message)) {
        g_assert_cmpuint(message.header.type, ==, XS_WATCH_EVENT);
        g_string_append_printf(events, "%s %s\n", message.data, message.data + strlen(message.data) + 1);
    }
    return g_string_free(events, FALSE);
}
