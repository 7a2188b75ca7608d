/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The last words.  What the machine does after them is x86/machine.c's. */
#include "base/panic.h"
#include "base/string.h"

void (*panic_hook)(const char *text) __noreturn;

void
panic(const char *fmt, ...)
{
    char text[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (panic_hook)
        panic_hook(text);
    for (;;)
        __asm__ volatile("pause");
}
