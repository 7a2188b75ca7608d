/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The log of a domain's QEMU. */
#pragma once

#include "driver.h"

/* Has the library write what each QEMU says into its domain's log, and how it was started before that. */
void xenLogSetup(xenDriver *driver);

/* Says in the log of @def's QEMU that it ends. */
void xenLogShutdown(xenDriver *driver, const virDomainDef *def, virDomainShutoffReason reason);

/* Adds the end of the log to an error that only the log explains. */
void xenLogQuote(xenDriver *driver, const virDomainDef *def, GError *error);
