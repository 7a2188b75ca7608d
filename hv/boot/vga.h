/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The text screen at 0xb8000, until dom0 takes it over. */
#ifndef SERAI_BOOT_VGA_H
#define SERAI_BOOT_VGA_H

#include "base/types.h"

void vga_init(void); /* only where the firmware left a text mode */
void vga_write(const char *s, size_t n);
void vga_release(void); /* dom0 owns the screen from now on */

#endif
