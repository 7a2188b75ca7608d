/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Keys that make the hypervisor say something about itself, from `xl debug-keys` or typed on the serial port.
 * What they print is bounded, and reads without locks that a stuck CPU might hold.
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
#include "x86/serial.h"
#include "x86/softirq.h"
#include "x86/tsc.h"

#define CTRL_A          '\x01'
#define CTRL_A_SWITCHES 3u /* so many in a row */

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

/* --- typed on the serial port --- */

/* Only the port's interrupt and its work use these, which the same CPU runs, one after the other. */
static bool typed_for_us;
static unsigned ctrl_a_count;
static char typed_key;
static struct work typed_work;

static void
act_on_typed(struct work *work)
{
    (void)work;
    debug_key(typed_key);
}

/*
 * For serial_input_hook.  The first two Ctrl-A go where all goes, so that none waits for the next key.  A key
 * that comes before the last one was acted on takes its place: what is pasted cannot keep the CPU here.
 */
static bool
take_typed(char c)
{
    ctrl_a_count = c == CTRL_A ? ctrl_a_count + 1 : 0;
    if (ctrl_a_count == CTRL_A_SWITCHES) {
        ctrl_a_count = 0;
        typed_for_us = !typed_for_us;
        log_warn("what is typed here goes to %s; Ctrl-A three times switches",
                 typed_for_us ? "the hypervisor ('h' lists its keys)" : "Domain-0");
        return true;
    }
    if (typed_for_us && c != CTRL_A) {
        typed_key = c;
        work_queue(&typed_work);
    }
    return typed_for_us;
}

void
debug_keys_init(void)
{
    work_init(&typed_work, act_on_typed);
    serial_input_hook = take_typed;
}
