/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The log ring.  log_head counts all bytes ever written; the ring holds the last LOG_SIZE of them.
 * One leaf lock orders writers; panic() may break it (log_break_lock()), for the last words matter more.
 */
#include "base/log.h"
#include "base/spinlock.h"
#include "base/string.h"

#define LOG_SIZE (64 * 1024u)
#define LINE_MAX 256

/* Guests may cause this many lines at once, and one more each GUEST_LINE_NS. */
#define GUEST_BURST   64u
#define GUEST_LINE_NS 100000000ull

enum log_level log_threshold = LOG_INFO, log_guest_threshold = LOG_WARN;
void (*log_sink)(const char *s, size_t n);
u64 (*log_clock)(void);

static char ring[LOG_SIZE];
static u32 log_head, log_start;
static spinlock_t log_lock = SPINLOCK_INIT;

static void
log_store(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ring[log_head++ % LOG_SIZE] = s[i];
    if (log_head - log_start > LOG_SIZE)
        log_start = log_head - LOG_SIZE;
}

void
log_console(const char *s, size_t n)
{
    spin_lock(&log_lock);
    if (log_sink)
        log_sink(s, n);
    spin_unlock(&log_lock);
}

static void
log_vline(bool echo, const char *fmt, va_list args)
{
    char line[LINE_MAX];
    u64 now = (log_clock ? log_clock() : 0);
    int n;

    n = snprintf(line, sizeof(line), "(Serai) [%5u.%06u] ", (u32)(now / 1000000000),
                 (u32)(now / 1000 % 1000000));
    n += vsnprintf(line + n, sizeof(line) - n - 1, fmt, args);
    n = MIN(n, (int)sizeof(line) - 2);
    line[n++] = '\n';
    spin_lock(&log_lock);
    log_store(line, n);
    if (echo && log_sink)
        log_sink(line, n);
    spin_unlock(&log_lock);
}

void
log_line(enum log_level level, const char *fmt, ...)
{
    va_list args;

    if (level == LOG_DEBUG && log_threshold < LOG_DEBUG)
        return;
    va_start(args, fmt);
    log_vline(level <= log_threshold, fmt, args);
    va_end(args);
}

/* A bucket that refills with time; no lock, since a lost update only lets one more line through. */
static bool
guest_line_allowed(void)
{
    static u32 tokens = GUEST_BURST;
    static u64 filled_ns;
    u64 now = (log_clock ? log_clock() : 0);
    u64 earned = (now - filled_ns) / GUEST_LINE_NS;

    if (earned) {
        tokens = MIN(tokens + earned, (u64)GUEST_BURST);
        filled_ns = now;
    }
    if (!tokens)
        return false;
    tokens--;
    return true;
}

void
log_guest(enum log_level level, const char *fmt, ...)
{
    va_list args;

    if (level > log_guest_threshold || !guest_line_allowed())
        return;
    va_start(args, fmt);
    log_vline(true, fmt, args);
    va_end(args);
}

size_t
log_read(u32 *index, char *buf, size_t size)
{
    size_t n = 0;

    spin_lock(&log_lock);
    if (*index - log_start > log_head - log_start)
        *index = log_start;
    while (n < size && *index != log_head)
        buf[n++] = ring[(*index)++ % LOG_SIZE];
    spin_unlock(&log_lock);
    return n;
}

void
log_clear(void)
{
    spin_lock(&log_lock);
    log_start = log_head;
    spin_unlock(&log_lock);
}

void
log_break_lock(void)
{
    spin_lock_init(&log_lock);
}

#ifndef NDEBUG
int
log_error_at(int rc, const char *file, int line)
{
    log_debug("%s:%d: error %d is born here", file, line, rc);
    return rc;
}
#endif
