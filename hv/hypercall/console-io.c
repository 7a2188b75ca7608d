/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * HYPERVISOR_console_io: a guest's characters to the console, typed ones to the hardware domain.
 *
 * The hardware domain writes as it likes; its terminal may be interactive.  What other guests write is
 * collected until a line is whole, stripped of what is not printable, and logged at the rate of all guests'
 * messages.
 */
#include "hypercall/hypercall.h"
#include "base/log.h"
#include "base/string.h"
#include "domain/evtchn.h"
#include "mm/guest-copy.h"
#include "x86/serial.h"

#define CHUNK               128u
#define CHUNKS_AT_A_STRETCH 32u

/* Adds to the domain's line; logs it when it is whole or full. */
static void
write_line(struct domain *d, const char *s, size_t n)
{
    spin_lock(&d->console_lock);
    for (size_t i = 0; i < n; i++) {
        char c = s[i];

        if (c != '\n' && c != '\t' && (c < ' ' || c > '~'))
            continue;
        if (c != '\n')
            d->console_line[d->console_length++] = c;
        if (c == '\n' || d->console_length == sizeof(d->console_line)) {
            log_guest(LOG_DEBUG, "(d%u) %.*s", d->id, (int)d->console_length, d->console_line);
            evtchn_send_host_virq(VIRQ_CON_RING);
            d->console_length = 0;
        }
    }
    spin_unlock(&d->console_lock);
}

static s64
console_write(u64 *arg)
{
    struct domain *d = current->domain;
    char buf[CHUNK];

    for (unsigned i = 0; (u32)arg[1]; i++) {
        u32 n = MIN((u32)arg[1], CHUNK);

        if (i == CHUNKS_AT_A_STRETCH)
            return -ERESTART;
        if (copy_from_guest(buf, arg[2], n))
            return -EFAULT;
        if (d->is_hardware) {
            log_console(buf, n);
        } else {
            write_line(d, buf, n);
        }
        arg[1] = (u32)arg[1] - n;
        arg[2] += n;
    }
    return 0;
}

/* The number of characters there were, which may be none. */
static s64
console_read(u32 count, u64 to)
{
    char buf[CHUNK];
    s64 done = 0;

    if ((s32)count < 0)
        return -E2BIG;
    for (unsigned i = 0; i < CHUNKS_AT_A_STRETCH && done < count; i++) {
        size_t n = serial_read(buf, MIN(count - (u32)done, CHUNK));

        if (!n)
            break;
        if (copy_to_guest(to + (u64)done, buf, n))
            return -EFAULT;
        done += (s64)n;
    }
    return done;
}

/* arg: operation, number of characters, buffer. */
s64
hypercall_console_io(u64 *arg)
{
    switch ((u32)arg[0]) {
    case CONSOLEIO_write:
        return console_write(arg);
    case CONSOLEIO_read:
        return current->domain->is_hardware ? console_read((u32)arg[1], arg[2]) : -EPERM;
    }
    return -ENOSYS;
}
