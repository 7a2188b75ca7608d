/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* serai-qmp.h for those who have JSON as json-glib has it. */
#ifndef SERAI_PRIVATE_QMP_H
#define SERAI_PRIVATE_QMP_H

#include "private/private.h"
#include "serai-qmp.h"

#include <json-glib/json-glib.h>

/* serai_qmp_open() with the QEMU that serves devices of a domain. */
SeraiQmp *serai_device_model_open(SeraiHost *host, guint domid, GCancellable *cancellable, GError **error);

/* serai_qmp_ask() with @arguments (taken; NULL for none) and the answer as nodes, and no descriptor. */
JsonNode *serai_qmp_run(SeraiQmp *qmp, const char *command, JsonNode *arguments, GCancellable *cancellable,
                        GError **error);

#endif
