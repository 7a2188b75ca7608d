/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The last words, then the machine restarts (or stands still under noreboot). */
#include "base/panic.h"
#include "base/log.h"
#include "base/string.h"
#include "x86/machine.h"

static bool panicking;

void
panic(const char *fmt, ...)
{
    char text[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    if (!__atomic_exchange_n(&panicking, true, __ATOMIC_SEQ_CST)) {
        machine_stop_others();
        log_break_lock();
        log_err("PANIC on CPU%u: %s", machine_cpu_for_log(), text);
        machine_log_stack();
    }
    machine_restart_after_error();
}
