/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The CMOS clock and its memory: an index port and a data port, under one lock. */
#ifndef SERAI_X86_CMOS_H
#define SERAI_X86_CMOS_H

#include "base/types.h"

u8 cmos_read(u8 index);
void cmos_write(u8 index, u8 value);

#endif
