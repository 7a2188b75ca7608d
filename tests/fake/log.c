/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Log lines become TAP diagnostics when FAKE_LOG is set in the environment; a panic ends the test or jumps.
 */
#include "base/log.h"
#include "base/panic.h"
#include "base/string.h"
#include "fake.h"
#include "fake-private.h"

#include <stdio.h>
#include <stdlib.h>

char fake_log_last[512];
unsigned fake_log_count;
jmp_buf *fake_panic_jump;
char fake_panic_text[512];

FAKE enum log_level log_threshold = LOG_DEBUG, log_guest_threshold = LOG_DEBUG;
FAKE void (*log_sink)(const char *s, size_t n);

void
fake_reset_log(void)
{
    fake_log_last[0] = 0;
    fake_log_count = 0;
}

static void
log_args(const char *fmt, va_list args)
{
    vsnprintf(fake_log_last, sizeof(fake_log_last), fmt, args);
    fake_log_count++;
    if (getenv("FAKE_LOG"))
        fprintf(stderr, "# %s\n", fake_log_last);
}

FAKE void
log_line(enum log_level level, const char *fmt, ...)
{
    va_list args;

    (void)level;
    va_start(args, fmt);
    log_args(fmt, args);
    va_end(args);
}

FAKE void
log_guest(enum log_level level, const char *fmt, ...)
{
    va_list args;

    (void)level;
    va_start(args, fmt);
    log_args(fmt, args);
    va_end(args);
}

FAKE void
log_console(const char *s, size_t n)
{
    if (getenv("FAKE_LOG"))
        fprintf(stderr, "# %.*s\n", (int)n, s);
}

FAKE size_t
log_read(u32 *index, char *buf, size_t size)
{
    (void)index, (void)buf, (void)size;
    return 0;
}

FAKE void
log_clear(void)
{
}

FAKE int
log_error_at(int rc, const char *file, int line)
{
    if (getenv("FAKE_LOG"))
        fprintf(stderr, "# %s:%d: error %d\n", file, line, rc);
    return rc;
}

FAKE void
panic(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(fake_panic_text, sizeof(fake_panic_text), fmt, args);
    va_end(args);
    if (fake_panic_jump)
        longjmp(*fake_panic_jump, 1);
    fprintf(stderr, "fake machine: panic: %s\n", fake_panic_text);
    abort();
}

FAKE size_t
str_copy(char *dst, const char *src, size_t size)
{
    size_t n = strlen(src);

    if (size) {
        size_t copied = MIN(n, size - 1);

        memcpy(dst, src, copied);
        dst[copied] = 0;
    }
    return n;
}

FAKE u64
str_to_u64(const char *s, const char **end)
{
    return strtoull(s, (char **)end, 0);
}
