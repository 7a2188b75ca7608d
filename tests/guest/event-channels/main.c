/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A port rung twice is pending once; a masked one wakes nobody until it is unmasked; a closed one is no port;
 * loop-back pairs deliver both ways (event_channel.h).
 */
#include "guest.h"

static volatile unsigned upcalls;

void
trap_handler(struct guest_frame *frame)
{
    if (frame->vector != 0x100)
        FAIL("unexpected trap %lu at %lx", frame->vector, frame->rip);
    upcalls++;
    shared_info->vcpu_info[0].evtchn_upcall_pending = 0;
}

static bool
take(unsigned port)
{
    u64 bit = 1ull << port % 64;
    bool was = shared_info->evtchn_pending[port / 64] & bit;

    shared_info->evtchn_pending[port / 64] &= ~bit;
    return was;
}

void
test_main(void)
{
    struct evtchn_alloc_unbound unbound = {.dom = DOMID_SELF, .remote_dom = DOMID_SELF};
    struct evtchn_bind_interdomain bind = {.remote_dom = DOMID_SELF};
    struct evtchn_send send;
    struct evtchn_unmask unmask;
    struct evtchn_close close;
    struct evtchn_bind_virq virq = {.virq = NR_VIRQS, .vcpu = 0};
    struct vcpu_info *info = &shared_info->vcpu_info[0];

    traps_install();
    EXPECT_RC(HYPERCALL(event_channel_op, EVTCHNOP_alloc_unbound, &unbound), 0);
    bind.remote_port = unbound.port;
    EXPECT_RC(HYPERCALL(event_channel_op, EVTCHNOP_bind_interdomain, &bind), 0);
    CHECK(take(bind.local_port) || true, "binding may leave it pending");
    info->evtchn_upcall_pending = 0;
    info->evtchn_pending_sel = 0;
    info->evtchn_upcall_mask = 0;

    upcalls = 0;
    send.port = bind.local_port;
    EXPECT_RC(HYPERCALL(event_channel_op, EVTCHNOP_send, &send), 0);
    CHECK(upcalls == 1, "%u upcalls for one event", upcalls);
    EXPECT_RC(HYPERCALL(event_channel_op, EVTCHNOP_send, &send), 0);
    CHECK(upcalls == 1, "an event that was pending already came again");
    CHECK(take(unbound.port), "the other end is not pending");

    /* Masked: pending, but silent; unmasking delivers. */
    shared_info->evtchn_mask[0] |= 1ull << unbound.port;
    info->evtchn_pending_sel = 0;
    EXPECT_RC(HYPERCALL(event_channel_op, EVTCHNOP_send, &send), 0);
    CHECK(upcalls == 1, "a masked event came through");
    unmask.port = unbound.port;
    EXPECT_RC(HYPERCALL(event_channel_op, EVTCHNOP_unmask, &unmask), 0);
    CHECK(upcalls == 2, "unmasking did not deliver");
    CHECK(take(unbound.port), "the unmasked event is lost");

    close.port = bind.local_port;
    EXPECT_RC(HYPERCALL(event_channel_op, EVTCHNOP_close, &close), 0);
    EXPECT_RC(HYPERCALL(event_channel_op, EVTCHNOP_send, &send), -EINVAL);
    EXPECT_RC(HYPERCALL(event_channel_op, EVTCHNOP_close, &close), -EINVAL);
    EXPECT_RC(HYPERCALL(event_channel_op, EVTCHNOP_bind_virq, &virq), -EINVAL);
    bind.remote_port = 1000;
    EXPECT_RC(HYPERCALL(event_channel_op, EVTCHNOP_bind_interdomain, &bind), -EINVAL);
    bind.remote_dom = 77;
    EXPECT_RC(HYPERCALL(event_channel_op, EVTCHNOP_bind_interdomain, &bind), -ESRCH);
}
