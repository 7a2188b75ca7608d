/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest time.
 *
 * System time is a fixed function of the TSC, the same on all CPUs for as long as the machine runs.  So a
 * vCPU's time record is written once for each place that its vcpu_info has, and never again.  The wall clock
 * changes when dom0 sets it.
 *
 * Readers follow a version number: odd while the record changes.  Guests can write all of these pages; what
 * they write there is never used but for the lowest bit of a version.
 *
 * Locks: wallclock_lock for the wall clocks of all domains; runstates belong to the scheduler's lock of the
 * vCPU.
 */
#include "domain/time.h"
#include "domain/domain.h"
#include "domain/sched-private.h"
#include "mm/guest-copy.h"
#include "x86/tsc.h"

static spinlock_t wallclock_lock = SPINLOCK_INIT;

static void
fill_time(struct vcpu_time_info *time, u32 version)
{
    *time = (struct vcpu_time_info){
        .version = version,
        .tsc_timestamp = tsc_at_boot(),
        .system_time = 0,
        .tsc_to_system_mul = tsc_scale.mul,
        .tsc_shift = tsc_scale.shift,
        .flags = tsc_is_invariant ? XEN_PVCLOCK_TSC_STABLE_BIT : 0,
    };
}

void
time_force_update_vcpu(struct vcpu *v)
{
    struct vcpu_time_info *time = &v->info->time, now;

    v->time_last.version += 2;
    fill_time(&now, v->time_last.version);
    WRITE_ONCE(time->version, v->time_last.version - 1);
    barrier();
    time->tsc_timestamp = now.tsc_timestamp;
    time->system_time = now.system_time;
    time->tsc_to_system_mul = now.tsc_to_system_mul;
    time->tsc_shift = now.tsc_shift;
    time->flags = now.flags;
    barrier();
    WRITE_ONCE(time->version, v->time_last.version);

    if (v->time_guest) {
        v->time_guest_stale = true;
        v->publish_pending = true;
    }
}

void
time_update_vcpu(struct vcpu *v)
{
    if (unlikely(!v->time_last.version))
        time_force_update_vcpu(v);
}

static bool
publish_time(struct vcpu *v)
{
    struct vcpu_time_info time;

    fill_time(&time, v->time_last.version - 1);
    if (copy_to_guest(v->time_guest, &time, sizeof(time)))
        return false;
    barrier();
    time.version = v->time_last.version;
    if (copy_to_guest(v->time_guest, &time.version, sizeof(time.version)))
        return false;
    v->time_guest_stale = false;
    return true;
}

static bool
publish_runstate(struct vcpu *v)
{
    struct vcpu_runstate_info runstate = v->runstate;
    u64 entry_time = v->runstate_guest + offsetof(struct vcpu_runstate_info, state_entry_time);

    if (!(READ_ONCE(v->domain->vm_assist) & 1ull << VMASST_TYPE_runstate_update_flag))
        return !copy_to_guest(v->runstate_guest, &runstate, sizeof(runstate));

    /* The flag is up before anything changes and goes down after everything has. */
    runstate.state_entry_time |= XEN_RUNSTATE_UPDATE;
    if (copy_to_guest(entry_time, &runstate.state_entry_time, sizeof(runstate.state_entry_time)))
        return false;
    barrier();
    if (copy_to_guest(v->runstate_guest, &runstate, sizeof(runstate)))
        return false;
    barrier();
    runstate.state_entry_time &= ~XEN_RUNSTATE_UPDATE;
    return !copy_to_guest(entry_time, &runstate.state_entry_time, sizeof(runstate.state_entry_time));
}

void
time_publish(struct vcpu *v)
{
    v->publish_pending = domain_is_pv(v->domain) && !v->pv.kernel_mode;
    if (v->publish_pending)
        return;
    if (v->runstate_guest && !publish_runstate(v))
        v->publish_pending = true;
    if (unlikely(v->time_guest_stale) && v->time_guest && !publish_time(v))
        v->publish_pending = true;
}

void
time_publish_first(struct vcpu *v)
{
    time_update_vcpu(v);
    if (!publish_time(v))
        v->time_guest_stale = v->publish_pending = true;
}

void
runstate_publish(struct vcpu *v)
{
    if (v->runstate_guest || unlikely(v->publish_pending))
        time_publish(v);
}

void
runstate_change(struct vcpu *v, int new_state, u64 now_ns)
{
    struct vcpu_runstate_info *runstate = &v->runstate;

    if (runstate->state == new_state)
        return;
    if (now_ns > runstate->state_entry_time) {
        runstate->time[runstate->state] += now_ns - runstate->state_entry_time;
        runstate->state_entry_time = now_ns;
    }
    runstate->state = new_state;
}

void
runstate_get(const struct vcpu *v, struct vcpu_runstate_info *ret_runstate)
{
    struct sched_cpu *q = sched_lock_vcpu((struct vcpu *)v);
    u64 now = time_now_ns();

    *ret_runstate = v->runstate;
    spin_unlock(&q->lock);
    if (now > ret_runstate->state_entry_time)
        ret_runstate->time[ret_runstate->state] += now - ret_runstate->state_entry_time;
}

void
time_update_wallclock(struct domain *d)
{
    struct shared_info *shared;
    u32 nsec, version;
    u64 sec;

    time_wallclock(&sec, &nsec);
    sec += READ_ONCE(d->time_offset_seconds);
    spin_lock(&wallclock_lock);
    shared = READ_ONCE(d->shared);
    version = READ_ONCE(shared->wc_version) | 1;
    WRITE_ONCE(shared->wc_version, version);
    barrier();
    shared->wc_sec = (u32)sec;
    shared->wc_nsec = nsec;
    shared->wc_sec_hi = sec >> 32;
    barrier();
    WRITE_ONCE(shared->wc_version, version + 1);
    spin_unlock(&wallclock_lock);
}

void
time_update_all_wallclocks(void)
{
    struct domain *d;

    for_each_domain(d)
        time_update_wallclock(d);
}
