/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "compat.h"

#include <serai.h>

/*
 * Reports @error as libvirt's error and frees it.  @doing is a whole sentence without its end, such as
 * "cannot pause domain 'web'"; the reason that the library gives follows it.
 */
void xenReportError(GError **error, const char *doing, ...) G_GNUC_PRINTF(2, 3);
