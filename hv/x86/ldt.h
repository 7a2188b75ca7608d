/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The LDT register.  The table lies in this CPU's window, from page WINDOW_LDT on. */
#ifndef SERAI_X86_LDT_H
#define SERAI_X86_LDT_H

#include "base/types.h"

/* Loads an LDT of @entries descriptors; 0: none. */
void ldt_load(u32 entries);

#endif
