/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Interrupts, and exceptions of the hypervisor itself.  Those of guests go to pv/trap.c directly.
 */
#include "base/log.h"
#include "base/panic.h"
#include "base/string.h"
#include "x86/apic-init.h"
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/entry-offsets.h"
#include "x86/machine.h"
#include "x86/softirq.h"
#include "x86/tlb.h"
#include "x86/upcalls.h"

extern const char guest_iret[], guest_iret_after_verw[];

static const char *const trap_names[32] = {
    "divide error",   "debug",           "NMI",         "breakpoint",         "overflow",
    "bound",          "invalid opcode",  "no FPU",      "double fault",       "coprocessor overrun",
    "invalid TSS",    "segment missing", "stack fault", "general protection", "page fault",
    "reserved",       "FPU error",       "alignment",   "machine check",      "SIMD error",
    "virtualization", "control flow",
};

void
trap_interrupt(struct cpu_user_regs *regs)
{
    unsigned vector = (u8)regs->entry_vector;

    switch (vector) {
    case VECTOR_TIMER:
        apic_eoi();
        softirq_raise(cpu_id(), SOFTIRQ_TIMER);
        break;
    case VECTOR_FLUSH:
        apic_eoi();
        tlb_answer();
        break;
    case VECTOR_SOFTIRQ:
        apic_eoi(); /* it was to bring this CPU to its way out */
        break;
    case VECTOR_ERROR:
        apic_eoi();
        apic_log_error();
        break;
    case VECTOR_SPURIOUS:
        break; /* takes no EOI (SDM vol. 3, 11.9) */
    default:
        irq_handle(vector);
    }
}

static void
regs_log(const struct cpu_user_regs *regs)
{
    log_err("RIP %04x:%016lx RFLAGS %08lx RSP %04x:%016lx error %#x", regs->cs, regs->rip, regs->rflags,
            regs->ss, regs->rsp, regs->error_code);
    log_err("RAX %016lx RBX %016lx RCX %016lx RDX %016lx", regs->rax, regs->rbx, regs->rcx, regs->rdx);
    log_err("RSI %016lx RDI %016lx RBP %016lx R8  %016lx", regs->rsi, regs->rdi, regs->rbp, regs->r8);
    log_err("R9  %016lx R10 %016lx R11 %016lx R12 %016lx", regs->r9, regs->r10, regs->r11, regs->r12);
    log_err("R13 %016lx R14 %016lx R15 %016lx CR2 %016lx CR3 %016lx", regs->r13, regs->r14, regs->r15,
            read_cr2(), read_cr3());
}

/* Return addresses on this CPU's stack, for the reader of a panic. */
void
machine_log_stack(void)
{
    extern const char image_start[], text_end[];
    u64 rsp = (u64)__builtin_frame_address(0), top = (u64)this_cpu();
    unsigned shown = 0;

    for (; rsp + 8 <= top && shown < 24; rsp += 8) {
        u64 word = *(u64 *)rsp;

        if (word >= (u64)image_start && word < (u64)text_end) {
            log_err("  [%016lx] %016lx", rsp, word);
            shown++;
        }
    }
}

/* The guest's registers are in the CPU's own, and in @regs; its frame for IRETQ is still where it was. */
static void __noreturn
iret_fault(const struct cpu_user_regs *regs)
{
    struct cpu *cpu = this_cpu();

    memmove(&cpu->guest, regs, offsetof(struct cpu_user_regs, error_code));
    cpu->guest.error_code = 0;
    cpu->guest.entry_vector = 0;
    pv_iret_fault(cpu->vcpu);
    stack_reset_to_guest();
}

void
trap_from_hypervisor(struct cpu_user_regs *regs)
{
    unsigned vector = (u8)regs->entry_vector;
    u64 fixup;

    if (vector >= 32) {
        trap_interrupt(regs);
        return;
    }
    if (regs->rip == (u64)guest_iret || regs->rip == (u64)guest_iret_after_verw)
        iret_fault(regs);
    if (vector == 14 && pv_page_fault_in_hypervisor(read_cr2(), regs->error_code))
        return;
    fixup = extable_find(regs->rip);
    if (fixup) {
        regs->rip = fixup;
        return;
    }
    regs_log(regs);
    panic("%s (vector %u) in the hypervisor", trap_names[vector] ? trap_names[vector] : "exception", vector);
}

void
trap_ist(struct cpu_user_regs *regs)
{
    switch ((u8)regs->entry_vector) {
    case 1:
        /* A guest's breakpoint on what it made us touch, or held back by MOV SS: nobody's concern. */
        write_dr6(DR6_FIXED_ONE);
        regs->rflags &= ~RFLAGS_TF; /* SYSENTER leaves the caller's as it is */
        break;
    case 2:
        nmi_arrived(regs);
        break;
    case 18:
        machine_check_arrived(regs);
        break;
    default:
        regs_log(regs);
        panic("double fault");
    }
}
