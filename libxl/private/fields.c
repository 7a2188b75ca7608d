/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The machinery behind fields.h.  No state, no locks. */
#include "private/fields.h"

#define AT(type, object, field) ((type *)((char *)(object) + (field)->offset))

static char *
hex_encode(GBytes *bytes)
{
    gsize size;
    const guint8 *data = g_bytes_get_data(bytes, &size);
    GString *text = g_string_sized_new(size * 2);

    for (gsize i = 0; i < size; i++)
        g_string_append_printf(text, "%02x", data[i]);
    return g_string_free(text, FALSE);
}

static GBytes *
hex_decode(const char *text)
{
    gsize length = strlen(text);
    GByteArray *bytes;

    if (length % 2 || strspn(text, "0123456789abcdef") != length)
        return NULL;
    bytes = g_byte_array_sized_new(length / 2);
    for (gsize i = 0; i < length; i += 2) {
        guint8 byte = g_ascii_xdigit_value(text[i]) << 4 | g_ascii_xdigit_value(text[i + 1]);

        g_byte_array_append(bytes, &byte, 1);
    }
    return g_byte_array_free_to_bytes(bytes);
}

void
serai_fields_copy(const SeraiField *fields, guint count, gpointer to, gconstpointer from)
{
    for (const SeraiField *f = fields; f < fields + count; f++) {
        switch (f->type) {
        case SERAI_FIELD_STRING:
            *AT(char *, to, f) = g_strdup(*AT(char *, from, f));
            break;
        case SERAI_FIELD_BYTES:
        case SERAI_FIELD_SECRET:
            *AT(GBytes *, to, f) = *AT(GBytes *, from, f) ? g_bytes_ref(*AT(GBytes *, from, f)) : NULL;
            break;
        case SERAI_FIELD_UINT64:
        case SERAI_FIELD_INT64:
            *AT(guint64, to, f) = *AT(guint64, from, f);
            break;
        case SERAI_FIELD_BOOLEAN:
        case SERAI_FIELD_UINT:
        case SERAI_FIELD_INT:
            *AT(guint, to, f) = *AT(guint, from, f);
            break;
        }
    }
}

void
serai_fields_clear(const SeraiField *fields, guint count, gpointer object)
{
    for (const SeraiField *f = fields; f < fields + count; f++) {
        if (f->type == SERAI_FIELD_STRING)
            g_clear_pointer(AT(char *, object, f), g_free);
        else if (f->type == SERAI_FIELD_BYTES || f->type == SERAI_FIELD_SECRET)
            g_clear_pointer(AT(GBytes *, object, f), g_bytes_unref);
    }
}

void
serai_fields_save(const SeraiField *fields, guint count, gconstpointer object, GKeyFile *file,
                  const char *group)
{
    for (const SeraiField *f = fields; f < fields + count; f++) {
        switch (f->type) {
        case SERAI_FIELD_STRING:
            if (*AT(char *, object, f))
                g_key_file_set_string(file, group, f->name, *AT(char *, object, f));
            break;
        case SERAI_FIELD_BYTES:
            if (*AT(GBytes *, object, f)) {
                g_autofree char *text = hex_encode(*AT(GBytes *, object, f));

                g_key_file_set_string(file, group, f->name, text);
            }
            break;
        case SERAI_FIELD_UINT64:
            if (*AT(guint64, object, f))
                g_key_file_set_uint64(file, group, f->name, *AT(guint64, object, f));
            break;
        case SERAI_FIELD_INT64:
            if (*AT(gint64, object, f))
                g_key_file_set_int64(file, group, f->name, *AT(gint64, object, f));
            break;
        case SERAI_FIELD_BOOLEAN:
        case SERAI_FIELD_UINT:
            if (*AT(guint, object, f))
                g_key_file_set_uint64(file, group, f->name, *AT(guint, object, f));
            break;
        case SERAI_FIELD_INT:
            if (*AT(int, object, f))
                g_key_file_set_integer(file, group, f->name, *AT(int, object, f));
            break;
        case SERAI_FIELD_SECRET:
            break;
        }
    }
}

/* Whether every backslash begins an escape that key files have (g_key_file_get_string). */
static gboolean
escapes_are_whole(const char *text)
{
    for (const char *at = text; (at = strchr(at, '\\')); at += 2)
        if (!at[1] || !strchr("sntr\\", at[1]))
            return FALSE;
    return TRUE;
}

/* GLib sets an error over another for two bad escapes in one value, and warns of it: it gets to see none. */
static char *
get_string(GKeyFile *file, const char *group, const char *key)
{
    g_autofree char *raw = g_key_file_get_value(file, group, key, NULL);

    return raw && escapes_are_whole(raw) ? g_key_file_get_string(file, group, key, NULL) : NULL;
}

static gboolean
load_one(const SeraiField *f, gpointer object, GKeyFile *file, const char *group, GError **error)
{
    g_autofree char *text = NULL;
    guint64 number;

    switch (f->type) {
    case SERAI_FIELD_STRING:
        *AT(char *, object, f) = get_string(file, group, f->name);
        if (*AT(char *, object, f))
            return TRUE;
        break;
    case SERAI_FIELD_BYTES:
        text = get_string(file, group, f->name);
        *AT(GBytes *, object, f) = text ? hex_decode(text) : NULL;
        if (*AT(GBytes *, object, f))
            return TRUE;
        break;
    case SERAI_FIELD_UINT64:
    case SERAI_FIELD_BOOLEAN:
    case SERAI_FIELD_UINT:
        text = g_key_file_get_value(file, group, f->name, NULL);
        if (!text ||
            !g_ascii_string_to_unsigned(text, 10, 0, f->type == SERAI_FIELD_UINT64 ? G_MAXUINT64 : G_MAXUINT,
                                        &number, NULL) ||
            (f->limit && number >= f->limit))
            break;
        if (f->type == SERAI_FIELD_UINT64)
            *AT(guint64, object, f) = number;
        else
            *AT(guint, object, f) = number;
        return TRUE;
    case SERAI_FIELD_INT:
    case SERAI_FIELD_INT64: {
        gint64 value;

        text = g_key_file_get_value(file, group, f->name, NULL);
        if (!text ||
            !g_ascii_string_to_signed(text, 10, f->type == SERAI_FIELD_INT ? G_MININT : G_MININT64,
                                      f->type == SERAI_FIELD_INT ? G_MAXINT : G_MAXINT64, &value, NULL))
            break;
        if (f->type == SERAI_FIELD_INT)
            *AT(int, object, f) = value;
        else
            *AT(gint64, object, f) = value;
        return TRUE;
    }
    case SERAI_FIELD_SECRET: /* nobody wrote it, so it is nonsense */
        break;
    }
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG, _("The value of '%s' in '%s' is malformed."),
                f->name, group);
    return FALSE;
}

gboolean
serai_fields_load(const SeraiField *fields, guint count, gpointer object, GKeyFile *file, const char *group,
                  GError **error)
{
    for (const SeraiField *f = fields; f < fields + count; f++) {
        if (g_key_file_has_key(file, group, f->name, NULL) && !load_one(f, object, file, group, error))
            return FALSE;
    }
    return TRUE;
}
