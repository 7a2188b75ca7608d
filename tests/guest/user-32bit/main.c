/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A user program in 32-bit mode reaches the guest kernel by INT, by SYSCALL (on AMD's CPUs) and by SYSENTER (on Intel's), each at the
 * entry that the kernel registered for it; the one that the CPU does not have is an invalid opcode (callback.h; SDM vol. 2; APM vol. 3).
 * QEMU has SYSCALL on Intel's too, and #GP for SYSENTER on AMD's.
 * SYSENTER with the nested-task flag set must not spoil anybody's IRET.
 */
#include "guest.h"
#include "base/string.h"

extern char entry_syscall32[], entry_sysenter[];

#define CODE 0x400000ull
#define STACK (CODE + 0x2000)

static const u8 program[] = {
    0xb8, 0x11, 0x00, 0x00, 0x00, /*  0 mov $0x11, %eax */
    0xcd, 0x80,                   /*  5 int $0x80 */
    0xb8, 0x22, 0x00, 0x00, 0x00, /*  7 mov $0x22, %eax */
    0x0f, 0x05,                   /* 12 syscall */
    0x9c,                         /* 14 pushf */
    0x81, 0x0c, 0x24, 0x00, 0x40, 0x00, 0x00, /* 15 orl $NT, (%esp) */
    0x9d,                         /* 22 popf */
    0xb8, 0x33, 0x00, 0x00, 0x00, /* 23 mov $0x33, %eax */
    0x0f, 0x34,                   /* 28 sysenter */
    0xb8, 0x44, 0x00, 0x00, 0x00, /* 30 mov $0x44, %eax */
    0xcd, 0x80,                   /* 35 int $0x80 */
};

static int step;
static bool is_intel;

static u64 *
table(u64 *below, u64 index)
{
    u64 *t = page_new();

    t[index] = mfn_of(below) << 12 | 0x67;
    make_readonly(t);
    return t;
}

/* Page tables of the user's own: one page of code, one of stack. */
static void
map_user(void)
{
    u8 *code = page_new(), *stack = page_new();
    u64 *l1 = page_new(), *l4;
    struct mmuext_op op = {.cmd = MMUEXT_PIN_L4_TABLE};

    memcpy(code, program, sizeof(program));
    l1[CODE >> 12 & 511] = mfn_of(code) << 12 | 0x65;
    l1[(CODE >> 12 & 511) + 1] = mfn_of(stack) << 12 | 0x67;
    make_readonly(l1);
    l4 = table(table(table(l1, CODE >> 21 & 511), 0), 0);
    op.arg1.mfn = mfn_of(l4);
    EXPECT_RC(HYPERCALL(mmuext_op, &op, 1, 0, DOMID_SELF), 0);
    op.cmd = MMUEXT_NEW_USER_BASEPTR;
    EXPECT_RC(HYPERCALL(mmuext_op, &op, 1, 0, DOMID_SELF), 0);
}

static void
expect(const struct guest_frame *frame, u64 vector, u64 rax, u64 rip)
{
    CHECK(frame->vector == vector && (u32)frame->rax == rax, "step %d: vector %lx, error %lx, RAX %lx, at %lx:%lx", step,
          frame->vector, frame->error, frame->rax, frame->cs, frame->rip);
    CHECK(frame->rip == rip, "step %d: RIP %lx", step, frame->rip);
    CHECK((frame->cs & 3) == 3 && (frame->ss & 3) == 3, "step %d: selectors %lx %lx", step, frame->cs, frame->ss);
    CHECK(frame->rflags & 0x200, "step %d: the user's RFLAGS are %lx", step, frame->rflags);
}

void
trap_handler(struct guest_frame *frame)
{
    switch (step) {
    case 0: /* INT3 of test_main() */
        step++;
        frame->rip = CODE;
        frame->cs = FLAT_USER_CS32;
        frame->rsp = STACK;
        frame->ss = FLAT_USER_SS32;
        frame->rflags = 0x202;
        return;
    case 1:
        expect(frame, 0x80, 0x11, CODE + 7);
        step++;
        CHECK(frame->cs == FLAT_USER_CS32 && frame->rsp == STACK, "INT came from %lx:%lx", frame->cs, frame->rsp);
        return;
    case 2:
        if (is_intel && frame->vector != 0x103) {
            expect(frame, 6, 0x22, CODE + 12);
            frame->rip += 2;
            step++;
            return;
        }
        expect(frame, 0x103, 0x22, CODE + 14);
        step++;
        CHECK(frame->cs == FLAT_USER_CS32 && frame->rsp == STACK, "SYSCALL came from %lx:%lx", frame->cs, frame->rsp);
        return;
    case 3:
        if (is_intel)
            expect(frame, 0x104, 0x33, 0);
        else
            expect(frame, frame->vector == 13 ? 13 : 6, 0x33, CODE + 28);
        step++;
        frame->rip = CODE + 30;
        frame->cs = FLAT_USER_CS32;
        frame->rsp = STACK;
        frame->ss = FLAT_USER_SS32;
        frame->rflags = 0x202;
        return;
    case 4:
        expect(frame, 0x80, 0x44, CODE + 37);
        SUCCESS();
    }
    FAIL("too many traps: %lx", frame->vector);
}

static void
call_in(unsigned type, void *address)
{
    struct callback_register reg = {.type = type, .flags = CALLBACKF_mask_events, .address = (xen_callback_t)address};

    EXPECT_RC(HYPERCALL(callback_op, CALLBACKOP_register, &reg), 0);
}

void
test_main(void)
{
    static u64 kernel_stack[1024] __attribute__((aligned(16)));
    u32 a = 0, b, c, d;

    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    is_intel = b == 0x756e6547;
    traps_install();
    call_in(CALLBACKTYPE_syscall32, entry_syscall32);
    call_in(CALLBACKTYPE_sysenter, entry_sysenter);
    EXPECT_RC(HYPERCALL(stack_switch, FLAT_KERNEL_SS, &kernel_stack[1024]), 0);
    map_user();
    __asm__ volatile("int3" : : : "memory");
    FAIL("the user program was not entered");
}
