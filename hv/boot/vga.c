/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "boot/vga.h"
#include "base/string.h"
#include "x86/memory-map.h"

#define COLUMNS 80u
#define ROWS    25u

static u16 *screen;
static unsigned column;

void
vga_init(void)
{
    screen = direct_ptr(_maddr(0xb8000));
    for (unsigned i = 0; i < COLUMNS * ROWS; i++)
        screen[i] = 0x0720;
}

void
vga_release(void)
{
    screen = NULL;
}

static void
newline(void)
{
    memmove(screen, screen + COLUMNS, COLUMNS * (ROWS - 1) * 2);
    for (unsigned i = 0; i < COLUMNS; i++)
        screen[COLUMNS * (ROWS - 1) + i] = 0x0720;
    column = 0;
}

void
vga_write(const char *s, size_t n)
{
    if (!screen)
        return;
    for (; n; n--, s++) {
        if (*s == '\n' || column == COLUMNS)
            newline();
        if (*s >= ' ')
            screen[COLUMNS * (ROWS - 1) + column++] = 0x0700 | (u8)*s;
    }
}
