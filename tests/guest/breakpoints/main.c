/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Single steps and breakpoints of the guest kernel reach its own handler with DR6; a breakpoint on what the
 * guest makes the hypervisor touch harms nobody and stays (HYPERVISOR_set_debugreg, SDM vol. 3, 17.2).
 */
#include "guest.h"

#define DR6_B0 (1u << 0)
#define DR6_BS (1u << 14)
/* Local breakpoint 0, on reads and writes of 4 bytes. */
#define DR7_WATCH 0xf0001u

static volatile u64 hits, seen_vector, seen_dr6;
static u64 steps_left;
static volatile u32 watched;

void
trap_handler(struct guest_frame *frame)
{
    hits++;
    seen_vector = frame->vector;
    seen_dr6 = HYPERCALL(get_debugreg, 6);
    if (steps_left && !--steps_left)
        frame->rflags &= ~0x100ull;
}

static void
check_single_step(void)
{
    steps_left = 3;
    hits = 0;
    __asm__ volatile("pushf; orq $0x100, (%%rsp); popf; nop; nop; nop; nop" : : : "memory", "cc");
    CHECK(hits == 3 && seen_vector == 1, "%lu steps came as vector %lu", hits, seen_vector);
    CHECK(seen_dr6 & DR6_BS, "DR6 is %lx after a single step", seen_dr6);
}

static void
check_watch(void)
{
    hits = 0;
    EXPECT_RC(HYPERCALL(set_debugreg, 0, &watched), 0);
    EXPECT_RC(HYPERCALL(set_debugreg, 7, DR7_WATCH), 0);
    watched = 1;
    CHECK(hits == 1 && seen_vector == 1, "a write to what is watched came %lu times, as vector %lu", hits,
          seen_vector);
    CHECK(seen_dr6 & DR6_B0, "DR6 is %lx after it", seen_dr6);
}

/* The hypervisor reads and writes the watched word as the argument of a call. */
static void
check_watch_in_hypervisor(void)
{
    hits = 0;
    for (int i = 0; i < 100; i++)
        EXPECT_RC(HYPERCALL(event_channel_op, EVTCHNOP_send, &watched), -EINVAL);
    CHECK(!hits, "the hypervisor's own accesses came to the guest %lu times", hits);
    watched = 2;
    CHECK(hits == 1, "the breakpoint did not stay: %lu hits", hits);
    EXPECT_RC(HYPERCALL(set_debugreg, 7, 0), 0);
    watched = 3;
    CHECK(hits == 1, "the breakpoint does not go away");
}

static void
check_refusals(void)
{
    EXPECT_RC(HYPERCALL(set_debugreg, 1, 0xffff830000000000ull), -EPERM);
    EXPECT_RC(HYPERCALL(set_debugreg, 1, 0x1000000000000ull), -EPERM);
    EXPECT_RC(HYPERCALL(set_debugreg, 7, 0x2000), -EPERM);
}

void
test_main(void)
{
    traps_install();
    check_single_step();
    check_watch();
    check_watch_in_hypervisor();
    check_refusals();
}
