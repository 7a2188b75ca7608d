/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Keys that make the hypervisor say something about itself.  What they print is bounded, and reads without
 * locks that a stuck CPU might hold.
 */
#include "hypercall/hypercall.h"
#include "hypercall/platform.h"
#include "base/log.h"
#include "domain/evtchn.h"
#include "domain/grant.h"
#include "domain/sched.h"
#include "mm/frame-alloc.h"
#include "mm/heap.h"
#include "x86/machine.h"
#include "x86/tsc.h"

static const char *const state_names[] = {
    [VCPU_RUNNABLE] = "runnable", [VCPU_BLOCKED] = "blocked", [VCPU_OFFLINE] = "offline"};

static void
dump_domains(void)
{
    struct domain *d;
    struct vcpu *v;

    for_each_domain(d) {
        log_info("d%u: %lu pages of %lu, %u references%s%s%s", d->id, d->page_count, d->page_max, d->refcount,
                 d->controller_pause_count ? ", paused" : "", d->is_shut_down ? ", shut down" : "",
                 domain_is_dying(d) ? ", dying" : "");
        for_each_vcpu(d, v)
            log_info("  v%u: %s on CPU%u%s, pause count %u, upcall %s, %s", v->id, state_names[v->state],
                     v->cpu, v->is_running ? " (running)" : "", v->pause_count,
                     v->info->evtchn_upcall_pending ? "pending" : "idle",
                     v->info->evtchn_upcall_mask ? "masked" : "open");
    }
}

static void
dump_evtchns(void)
{
    struct domain *d;

    for_each_domain(d)
        if (d->evtchn)
            evtchn_dump(d);
}

static void
dump_grants(void)
{
    struct domain *d;

    for_each_domain(d)
        grant_dump(d);
}

static void
dump_memory(void)
{
    log_info("memory: %lu of %lu frames free; heap %lu pages", frame_free_count(), frame_total_count(),
             heap_pages_used());
}

static void
dump_time(void)
{
    u64 now = time_now_ns();

    log_info("time: up %lu.%03lu s, TSC at %u kHz", now / 1000000000, now / 1000000 % 1000, tsc_khz);
}

static void
reboot(void)
{
    log_info("rebooting, as the debug key asks");
    machine_reboot();
}

static void dump_keys(void);

static const struct key {
    char key;
    void (*fn)(void);
    const char *what;
} keys[] = {
    {'h', dump_keys, "these keys"},
    {'q', dump_domains, "domains and their vCPUs"},
    {'r', sched_dump, "run queues"},
    {'e', dump_evtchns, "event channels"},
    {'g', dump_grants, "grants in use"},
    {'m', dump_memory, "memory"},
    {'t', dump_time, "time"},
    {'R', reboot, "reboot the machine"},
};

static void
dump_keys(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
        log_info("key '%c': %s", keys[i].key, keys[i].what);
}

void
debug_key(char key)
{
    for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
        if (keys[i].key == key) {
            keys[i].fn();
            return;
        }
    log_info("key '%c' does nothing; 'h' lists those that do", key >= ' ' && key <= '~' ? key : '?');
}
