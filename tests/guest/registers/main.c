/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A hypercall changes RAX, RCX and R11 of its caller and nothing else, whatever happens on its way out: nothing, an event that
 * is delivered first, or a time off the CPU.  (Linux counts on it for all but the argument registers.)
 */
#include "guest.h"
#include "base/string.h"

enum { RAX, RBX, RDX, RSI, RDI, RBP, R8, R9, R10, R12, R13, R14, R15, COUNT };

/* Loads all of @in, calls @entry, stores all in @out. */
void call_with_registers(const void *entry, const u64 *in, u64 *out);

__asm__(".text; call_with_registers:"
        "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; push %rdx; push %rdi;"
        "mov %rsi, %rax;"
        "mov 8(%rax), %rbx; mov 16(%rax), %rdx; mov 24(%rax), %rsi; mov 32(%rax), %rdi; mov 40(%rax), %rbp; mov 48(%rax), %r8;"
        "mov 56(%rax), %r9; mov 64(%rax), %r10; mov 72(%rax), %r12; mov 80(%rax), %r13; mov 88(%rax), %r14; mov 96(%rax), %r15;"
        "mov (%rax), %rax;"
        "call *(%rsp);"
        "add $8, %rsp; xchg %rax, (%rsp);"
        "mov %rbx, 8(%rax); mov %rdx, 16(%rax); mov %rsi, 24(%rax); mov %rdi, 32(%rax); mov %rbp, 40(%rax); mov %r8, 48(%rax);"
        "mov %r9, 56(%rax); mov %r10, 64(%rax); mov %r12, 72(%rax); mov %r13, 80(%rax); mov %r14, 88(%rax); mov %r15, 96(%rax);"
        "mov %rax, %rcx; pop %rax; mov %rax, (%rcx);"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret");

static const char *const names[COUNT] = {"RAX", "RBX", "RDX", "RSI", "RDI", "RBP", "R8", "R9", "R10", "R12", "R13", "R14", "R15"};
static unsigned events;

void
trap_handler(struct guest_frame *frame)
{
    CHECK(frame->vector == 0x100, "unexpected trap %lu at %lx", frame->vector, frame->rip);
    shared_info->vcpu_info[0].evtchn_upcall_pending = 0;
    shared_info->vcpu_info[0].evtchn_pending_sel = 0;
    events++;
}

static void
check_call(const char *what, unsigned nr, u64 first, const void *second, s64 want)
{
    extern char hypercall_page[];
    u64 in[COUNT], out[COUNT];

    for (unsigned i = 0; i < COUNT; i++)
        in[i] = 0x1111111111111111ull * (i + 1);
    in[RDI] = first;
    in[RSI] = (u64)second;
    call_with_registers(hypercall_page + nr * 32, in, out);
    CHECK((s64)out[RAX] == want, "%s gave %ld", what, (long)out[RAX]);
    for (unsigned i = RBX; i < COUNT; i++)
        CHECK(out[i] == in[i], "%s changed %s from %lx to %lx", what, names[i], in[i], out[i]);
}

void
test_main(void)
{
    struct evtchn_bind_ipi bind = {.vcpu = 0};
    struct evtchn_send send;
    struct sched_poll poll = {.nr_ports = 0};

    traps_install();
    check_call("a hypercall that does nothing", __HYPERVISOR_xen_version, XENVER_pagesize, NULL, 4096);
    check_call("one that does not exist", 63, 0, NULL, -ENOSYS);

    EXPECT_RC(HYPERCALL(event_channel_op, EVTCHNOP_bind_ipi, &bind), 0);
    send.port = bind.port;
    shared_info->vcpu_info[0].evtchn_upcall_mask = 0;
    check_call("an event to oneself", __HYPERVISOR_event_channel_op, EVTCHNOP_send, &send, 0);
    CHECK(events == 1, "%u events arrived", events);

    /* Gives up the CPU until the time is over, which it is soon. */
    shared_info->vcpu_info[0].evtchn_upcall_mask = 1;
    poll.timeout = shared_info->vcpu_info[0].time.system_time + 20000000;
    check_call("a wait", __HYPERVISOR_sched_op, SCHEDOP_poll, &poll, 0);
    check_call("a yield", __HYPERVISOR_sched_op, SCHEDOP_yield, NULL, 0);
    SUCCESS();
}
