/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Unpacking the kernel with the system's own liblzma, zlib, libzstd and liblz4, linked into the image. */
#ifndef SERAI_BOOT_UNPACK_H
#define SERAI_BOOT_UNPACK_H

#include "pv/image.h"

/*
 * Unpacks [src, src + src_size), which is @packing, into exactly @dst_size bytes
 * at @dst.  The packed data may be followed by a few bytes that are not its own
 * (Linux appends a size).  False with a reason: broken data, or not enough memory.
 */
bool unpack(enum image_packing packing, const void *src, u64 src_size, void *dst, u64 dst_size,
            const char **ret_reason);

#endif
