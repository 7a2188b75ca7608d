/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Plain descriptions as tables: one row per public field.  Copying, freeing and writing as text follow from
 * the table, so a new field is one line in the header and one row.
 */
#ifndef SERAI_FIELDS_H
#define SERAI_FIELDS_H

#include "private/private.h"

typedef enum {
    SERAI_FIELD_STRING,
    SERAI_FIELD_BOOLEAN,
    SERAI_FIELD_UINT, /* also enumerations */
    SERAI_FIELD_INT,
    SERAI_FIELD_UINT64,
    SERAI_FIELD_INT64,
    SERAI_FIELD_BYTES,  /* GBytes */
    SERAI_FIELD_SECRET, /* GBytes that are neither written nor read */
} SeraiFieldType;

typedef struct {
    const char *name;
    SeraiFieldType type;
    size_t offset;
    guint limit; /* of an enumeration: its number of values; 0 for none */
} SeraiField;

/* Deep copies of what the rows name; the rest of @to is left alone. */
void serai_fields_copy(const SeraiField *fields, guint count, gpointer to, gconstpointer from);
void serai_fields_clear(const SeraiField *fields, guint count, gpointer object);
/* Only what differs from zero is written. */
void serai_fields_save(const SeraiField *fields, guint count, gconstpointer object, GKeyFile *file,
                       const char *group);
/* What is missing is zero; what is malformed is an error. */
gboolean serai_fields_load(const SeraiField *fields, guint count, gpointer object, GKeyFile *file,
                           const char *group, GError **error);

/* One device in a group of a key file. */
void serai_device_save(const SeraiDevice *device, GKeyFile *file, const char *group);
SeraiDevice *serai_device_load(GKeyFile *file, const char *group, GError **error);
/* One device as text, for the store. */
char *serai_device_to_data(const SeraiDevice *device);
SeraiDevice *serai_device_from_data(const char *data, GError **error);

#endif
