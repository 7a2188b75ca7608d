/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The end of the machine, with a reason.  Only for faults of our own: a guest's fault ends the guest. */
#ifndef SERAI_BASE_PANIC_H
#define SERAI_BASE_PANIC_H

#include "base/types.h"

void panic(const char *fmt, ...) __printf(1, 2) __noreturn;

/* Logs @text with what it knows of the CPU, and ends the machine; set once at boot. */
extern void (*panic_hook)(const char *text) __noreturn;

/* True of our own state, always; finds bugs early, handles nothing. */
#define ASSERT(cond)                                                     \
    do {                                                                 \
        if (unlikely(!(cond)))                                           \
            panic("%s:%d: %s does not hold", __FILE__, __LINE__, #cond); \
    } while (0)

#endif
