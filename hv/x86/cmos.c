/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The CMOS clock and its memory; the contract is in cmos.h. */
#include "x86/cmos.h"

#include "x86/asm.h"
#include "base/spinlock.h"

#define PORT_INDEX 0x70
#define PORT_DATA  0x71

static spinlock_t cmos_lock = SPINLOCK_INIT;

u8
cmos_read(u8 index)
{
    u8 value;

    spin_lock(&cmos_lock);
    outb(PORT_INDEX, index & 0x7f);
    value = inb(PORT_DATA);
    spin_unlock(&cmos_lock);
    return value;
}

void
cmos_write(u8 index, u8 value)
{
    spin_lock(&cmos_lock);
    outb(PORT_INDEX, index & 0x7f);
    outb(PORT_DATA, value);
    spin_unlock(&cmos_lock);
}
