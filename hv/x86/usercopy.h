/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copies that may meet an address nobody mapped; only mm/guest-copy.c calls them, after it has checked that
 * the range is the guest's.  They return 0, or else a count of bytes of which not all could be reached.
 */
#ifndef SERAI_X86_USERCOPY_H
#define SERAI_X86_USERCOPY_H

#include "base/types.h"

size_t usercopy_in(void *dst, const void *src, size_t size);
size_t usercopy_out(void *dst, const void *src, size_t size);
size_t usercopy_clear(void *dst, size_t size);

#endif
