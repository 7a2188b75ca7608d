/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The few C library functions that the decompression libraries call beyond base/string.h. */
#ifndef SERAI_BOOT_LIBC_SHIM_H
#define SERAI_BOOT_LIBC_SHIM_H

/* Around every call into the libraries.  What they did not free themselves is freed by leaving. */
void libc_shim_enter(void);
void libc_shim_leave(void);

#endif
