/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The log: a ring that `virsh` and `xl dmesg` read, echoed to the console up to a threshold.
 * May be called from anywhere except an NMI.  Lines caused by guests are limited in rate.
 */
#ifndef SERAI_BASE_LOG_H
#define SERAI_BASE_LOG_H

#include "base/types.h"

enum log_level { LOG_ERR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_line(enum log_level level, const char *fmt, ...) __printf(2, 3);

/* Lines about a guest's doings: own threshold (guest_loglvl=), limited rate. */
void log_guest(enum log_level level, const char *fmt, ...) __printf(2, 3);

#define log_err(...)   log_line(LOG_ERR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

extern enum log_level log_threshold, log_guest_threshold;

/* What a character goes to on its way out: serial, VGA.  Set once at boot. */
extern void (*log_sink)(const char *s, size_t n);

/* Nanoseconds since boot, for the stamps; without one all stamps are 0. */
extern u64 (*log_clock)(void);

/* Characters as they come, to the console only: what dom0 writes there is no part of the hypervisor's log. */
void log_console(const char *s, size_t n);

/*
 * Copies out of the ring, for XEN_SYSCTL_readconsole.  *@index is a running byte count; it is moved up
 * to the oldest byte still held.  Returns the bytes copied to @buf.
 */
size_t log_read(u32 *index, char *buf, size_t size);
void log_clear(void);

/* For panic() only: the holder of the log's lock will not come back. */
void log_break_lock(void);

/* Logs file and line where an error is born (debug builds), and gives it back. */
#ifndef NDEBUG
int log_error_at(int rc, const char *file, int line);
#define error_at(rc) log_error_at(rc, __FILE__, __LINE__)
#else
#define error_at(rc) (rc)
#endif

#endif
