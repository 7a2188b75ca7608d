/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the boot loader's screen and firmware were like, in the words dom0's kernel understands. */
#ifndef SERAI_BOOT_SCREEN_H
#define SERAI_BOOT_SCREEN_H

#include "boot/multiboot.h"

/* Fills @console; false when there is no screen to describe. */
bool screen_describe(const struct boot_info *info, struct dom0_vga_console_info *console);

#endif
