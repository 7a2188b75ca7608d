/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SERAI_KERNEL_CACHE_H
#define SERAI_KERNEL_CACHE_H

#include "private/private.h"

/*
 * The unpacked contents of a kernel file.  With @dir, a packed kernel is unpacked once and found there by the
 * next domain; a directory that cannot be used is no error.
 */
GBytes *serai_kernel_read(const char *path, const char *dir, GCancellable *cancellable, GError **error);

#endif
