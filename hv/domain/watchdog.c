/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Watchdogs that a guest sets on itself: if it does not set one again in time, it is shut down with
 * SHUTDOWN_watchdog. Lock: d->watchdog_lock, for which of the timers are in use.
 */
#include "domain/domain.h"
#include "base/log.h"
#include "x86/tsc.h"

static void
watchdog_fired(void *data)
{
    struct domain *d = data;

    if (READ_ONCE(d->is_shutting_down) || READ_ONCE(d->is_shut_down))
        return;
    log_guest(LOG_ERR, "%s: its watchdog fired", d->name_for_log);
    domain_shutdown(d, SHUTDOWN_watchdog);
}

void
watchdog_domain_init(struct domain *d)
{
    spin_lock_init(&d->watchdog_lock);
    for (unsigned i = 0; i < WATCHDOG_COUNT; i++)
        timer_init(&d->watchdog[i], watchdog_fired, d, cpu_id());
}

void
watchdog_domain_fini(struct domain *d)
{
    for (unsigned i = 0; i < WATCHDOG_COUNT; i++)
        timer_fini(&d->watchdog[i]);
}

/* A free timer's number, from 1; 0 when all are in use. */
static u32
find_free(const struct domain *d)
{
    for (u32 id = 1; id <= WATCHDOG_COUNT; id++)
        if (!(d->watchdog_inuse & 1u << (id - 1)))
            return id;
    return 0;
}

int
watchdog_set(struct domain *d, u32 id, u32 timeout_seconds)
{
    int rc = 0;

    if (id > WATCHDOG_COUNT)
        return -EINVAL;

    spin_lock(&d->watchdog_lock);
    if (!id) {
        id = timeout_seconds ? find_free(d) : 0;
        if (!timeout_seconds)
            rc = -EINVAL;
        else
            rc = id ? (int)id : -ENOSPC;
    } else if (!(d->watchdog_inuse & 1u << (id - 1))) {
        rc = -EINVAL;
    }
    if (rc >= 0) {
        if (timeout_seconds) {
            d->watchdog_inuse |= 1u << (id - 1);
            timer_set(&d->watchdog[id - 1], time_now_ns() + timeout_seconds * 1000000000ull);
        } else {
            d->watchdog_inuse &= ~(1u << (id - 1));
            timer_stop(&d->watchdog[id - 1]);
        }
    }
    spin_unlock(&d->watchdog_lock);
    return rc;
}
