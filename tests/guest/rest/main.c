/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Not a test of its own: a domain that goes on for ever, waking ten times a second, for tests of what happens to the machine below it.
 * It says when an NMI arrives.
 */
#include "guest.h"

extern char entry_nmi[];

void
trap_handler(struct guest_frame *frame)
{
    if (frame->vector == 2)
        print("the domain got an NMI, reason %lx\n", __atomic_exchange_n(&shared_info->arch.nmi_reason, 0, __ATOMIC_SEQ_CST));
    else
        FAIL("unexpected trap %lu at %lx", frame->vector, frame->rip);
}

void
test_main(void)
{
    struct evtchn_bind_virq virq = {.virq = VIRQ_TIMER};
    struct callback_register nmi = {.type = CALLBACKTYPE_nmi, .address = (xen_callback_t)entry_nmi};

    traps_install();
    EXPECT_RC(HYPERCALL(callback_op, CALLBACKOP_register, &nmi), 0);
    EXPECT_RC(HYPERCALL(event_channel_op, EVTCHNOP_bind_virq, &virq), 0);
    EXPECT_RC(HYPERCALL(set_timer_op, 1), 0);
    print("resting\n");
    for (;;) {
        struct sched_poll poll = {.nr_ports = 1, .timeout = 0};
        evtchn_port_t port = virq.port;

        set_xen_guest_handle(poll.ports, &port);
        HYPERCALL(xen_version, XENVER_version, 0);
        HYPERCALL(sched_op, SCHEDOP_poll, &poll);
        __atomic_and_fetch(&shared_info->evtchn_pending[port / 64], ~(1ull << port % 64), __ATOMIC_SEQ_CST);
        __atomic_store_n(&shared_info->vcpu_info[0].evtchn_upcall_pending, 0, __ATOMIC_SEQ_CST);
        HYPERCALL(set_timer_op, shared_info->vcpu_info[0].time.system_time + 100000000ull);
    }
}
