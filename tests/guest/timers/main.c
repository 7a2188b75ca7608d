/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one-shot timer fires VIRQ_TIMER at or after its deadline and not before; SCHEDOP_block sleeps until
 * then; time goes forward (vcpu.h, "VCPUOP_set_singleshot_timer"; xen.h, "struct vcpu_time_info").
 */
#include "guest.h"

void
trap_handler(struct guest_frame *frame)
{
    if (frame->vector != 0x100)
        FAIL("unexpected trap %lu at %lx", frame->vector, frame->rip);
    shared_info->vcpu_info[0].evtchn_upcall_pending = 0;
}

static u64
system_time(void)
{
    volatile struct vcpu_time_info *t = &shared_info->vcpu_info[0].time;
    u32 version, lo, hi;
    u64 delta, now;

    do {
        version = t->version;
        __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
        delta = ((u64)hi << 32 | lo) - t->tsc_timestamp;
        delta = t->tsc_shift >= 0 ? delta << t->tsc_shift : delta >> -t->tsc_shift;
        now = t->system_time + (u64)((unsigned __int128)delta * t->tsc_to_system_mul >> 32);
    } while (version & 1 || version != t->version);
    return now;
}

void
test_main(void)
{
    struct evtchn_bind_virq virq = {.virq = VIRQ_TIMER, .vcpu = 0};
    struct vcpu_set_singleshot_timer timer = {.flags = 0};
    u64 before, after, last = 0;

    traps_install();
    EXPECT_RC(HYPERCALL(event_channel_op, EVTCHNOP_bind_virq, &virq), 0);
    EXPECT_RC(HYPERCALL(vcpu_op, VCPUOP_stop_periodic_timer, 0, 0), 0);
    for (unsigned i = 0; i < 1000; i++) {
        u64 now = system_time();

        CHECK(now >= last, "time went back from %lu to %lu", last, now);
        last = now;
    }
    for (unsigned i = 0; i < 3; i++) {
        shared_info->evtchn_pending[0] = 0;
        shared_info->vcpu_info[0].evtchn_pending_sel = 0;
        before = system_time();
        timer.timeout_abs_ns = before + 20000000;
        EXPECT_RC(HYPERCALL(vcpu_op, VCPUOP_set_singleshot_timer, 0, &timer), 0);
        while (!(shared_info->evtchn_pending[0] >> virq.port & 1))
            EXPECT_RC(HYPERCALL(sched_op, SCHEDOP_block, 0), 0);
        after = system_time();
        CHECK(after >= timer.timeout_abs_ns, "it fired %lu ns early", timer.timeout_abs_ns - after);
    }
    timer.timeout_abs_ns = system_time() - 1;
    timer.flags = VCPU_SSHOTTMR_future;
    EXPECT_RC(HYPERCALL(vcpu_op, VCPUOP_set_singleshot_timer, 0, &timer), -ETIME);
}
