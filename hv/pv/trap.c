/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Exceptions of PV guests: what is mended here, what is emulated, how the rest reaches the guest kernel.
 *
 * Each vCPU has a table of 256 entry points, its virtual IDT, that only it
 * changes (set_trap_table) or a toolstack while it is paused.  So nothing
 * here takes a lock.  The page fault comes first: it is the most frequent.
 */
#include "pv/pv.h"

#include "base/log.h"
#include "mm/guest-copy.h"
#include "x86/asm.h"
#include "x86/entry-offsets.h"
#include "x86/upcalls.h"

enum {
    TRAP_DE = 0,
    TRAP_DB = 1,
    TRAP_NMI = 2,
    TRAP_BP = 3,
    TRAP_UD = 6,
    TRAP_NM = 7,
    TRAP_GP = 13,
    TRAP_PF = 14,
    TRAP_FIRST_INTERRUPT = 32,
};

#define PF_PRESENT 1u
#define PF_WRITE   2u
#define PF_USER    4u

/* trap_info.flags: the privilege that "int n" needs, and whether events are masked on entry. */
#define TRAP_INFO_DPL  3u
#define TRAP_INFO_MASK 4u

/* Bits of the #GP error code when a gate of the IDT was the cause. */
#define ERROR_EXTERNAL 1u
#define ERROR_IDT      2u

void
pv_inject_trap(struct vcpu *v, unsigned vector, bool has_error, u32 error_code)
{
    const struct trap_info *trap = &v->pv.traps[vector & 0xff];

    if (unlikely(!trap->address)) {
        domain_crash(v->domain, "vCPU %u has no handler for exception %u (error code %x) at %llx", v->id,
                     vector, error_code, (unsigned long long)guest_regs()->rip);
        return;
    }
    if (has_error)
        pv_bounce_error(v, guest_regs(), trap->address, trap->cs, trap->flags & TRAP_INFO_MASK, error_code);
    else
        pv_bounce(v, guest_regs(), trap->address, trap->cs, trap->flags & TRAP_INFO_MASK);
}

void
pv_inject_page_fault(struct vcpu *v, u64 va, u32 error_code)
{
    v->info->arch.cr2 = va;
    /* Guest kernel and guest user space both run in ring 3; the guest is told which of them it was. */
    error_code = v->pv.kernel_mode ? error_code & ~PF_USER : error_code | PF_USER;
    pv_inject_trap(v, TRAP_PF, true, error_code);
}

void
pv_page_fault(struct vcpu *v, struct cpu_user_regs *regs)
{
    u64 va = read_cr2();
    u32 error_code = regs->error_code;

    /* Ours to mend: a write by its kernel to a page table of its; a segment of an LDT not mapped yet. */
    if (unlikely((v->pv.kernel_mode && (error_code & (PF_PRESENT | PF_WRITE)) == (PF_PRESENT | PF_WRITE)) ||
                 va - HYPERVISOR_START < HYPERVISOR_END - HYPERVISOR_START))
        if (pv_mmu_fault(v, va, error_code, regs))
            return;
    pv_inject_page_fault(v, va, error_code);
}

/* --- the other exceptions --- */

static void
trap_bounce(struct vcpu *v, struct cpu_user_regs *regs, unsigned vector)
{
    (void)regs;
    pv_inject_trap(v, vector, false, 0);
}

static void
trap_bounce_error(struct vcpu *v, struct cpu_user_regs *regs, unsigned vector)
{
    pv_inject_trap(v, vector, true, regs->error_code);
}

static void
trap_debug(struct vcpu *v, struct cpu_user_regs *regs, unsigned vector)
{
    (void)regs;
    /* DR6 accumulates. */
    v->pv.dr[6] = read_dr6() | DR6_FIXED_ONE;
    write_dr6(DR6_FIXED_ONE);
    pv_inject_trap(v, vector, false, 0);
}

static void
trap_no_device(struct vcpu *v, struct cpu_user_regs *regs, unsigned vector)
{
    (void)regs;
    /* The guest asked for this by CR0.TS; the FPU itself always holds its registers. */
    write_cr0(read_cr0() & ~CR0_TS);
    v->pv.cr0 &= ~CR0_TS;
    pv_inject_trap(v, vector, false, 0);
}

static void
trap_invalid_opcode(struct vcpu *v, struct cpu_user_regs *regs, unsigned vector)
{
    if (!pv_emulate_forced_invalid_op(regs))
        pv_inject_trap(v, vector, false, 0);
}

/*
 * Gates of the real IDT cannot be used by "int n"; that is a #GP which names the gate.  The number is taken
 * from the instruction, since QEMU's error code names another gate.
 */
static bool
software_interrupt(struct vcpu *v, struct cpu_user_regs *regs)
{
    unsigned vector = regs->error_code >> 3 & 0xff;
    const struct trap_info *trap;
    u8 insn[2];

    if (!copy_from_guest(insn, regs->rip, sizeof(insn)) && insn[0] == 0xcd)
        vector = insn[1];
    trap = &v->pv.traps[vector];
    if ((trap->flags & TRAP_INFO_DPL) < (v->pv.kernel_mode ? 1 : 3)) {
        regs->error_code = vector << 3 | ERROR_IDT;
        return false;
    }
    regs->rip += 2;
    pv_inject_trap(v, vector, false, 0);
    return true;
}

static void
trap_general_protection(struct vcpu *v, struct cpu_user_regs *regs, unsigned vector)
{
    u32 error_code = regs->error_code;

    if (!error_code) {
        if (pv_emulate_privileged(regs))
            return;
    } else if ((error_code & (ERROR_EXTERNAL | ERROR_IDT)) == ERROR_IDT) {
        if (software_interrupt(v, regs))
            return;
    }
    pv_inject_trap(v, vector, true, regs->error_code);
}

/* "int n" through a gate that is open to ring 3 (0x80, where the IDT has it): the CPU has moved RIP on. */
static void
trap_open_gate(struct vcpu *v, struct cpu_user_regs *regs, unsigned vector)
{
    const struct trap_info *trap = &v->pv.traps[vector];

    if (trap->address && (trap->flags & TRAP_INFO_DPL) >= (v->pv.kernel_mode ? 1 : 3)) {
        pv_inject_trap(v, vector, false, 0);
        return;
    }
    regs->rip -= 2;
    pv_inject_trap(v, TRAP_GP, true, vector << 3 | ERROR_IDT);
}

/* SYSENTER keeps neither RIP nor RSP: the guest kernel knows where its programs do it. */
static void
trap_sysenter(struct vcpu *v, struct cpu_user_regs *regs, unsigned vector)
{
    const struct pv_callback *cb = &v->pv.callback[PV_CB_SYSENTER];

    regs->rflags = (regs->rflags & ~RFLAGS_TF) | RFLAGS_IF;
    if (cb->rip)
        pv_bounce(v, regs, cb->rip, FLAT_KERNEL_CS, cb->flags & PV_CALLBACK_MASK_EVENTS);
    else
        pv_inject_trap(v, TRAP_GP, true, 0);
}

static void
trap_syscall32(struct vcpu *v, struct cpu_user_regs *regs, unsigned vector)
{
    const struct pv_callback *cb = &v->pv.callback[PV_CB_SYSCALL32];

    if (cb->rip) {
        pv_bounce(v, regs, cb->rip, FLAT_KERNEL_CS, cb->flags & PV_CALLBACK_MASK_EVENTS);
    } else {
        regs->rip -= 2;
        pv_inject_trap(v, TRAP_UD, false, 0);
    }
}

/* Vectors without a row (NMI, double fault, machine check, reserved ones) are the host's, never seen here. */
static void (*const trap_rows[TRAP_FIRST_INTERRUPT])(struct vcpu *, struct cpu_user_regs *, unsigned) = {
    [TRAP_DE] = trap_bounce,
    [TRAP_DB] = trap_debug,
    [TRAP_BP] = trap_bounce,
    [4] = trap_bounce, /* #OF */
    [5] = trap_bounce, /* #BR */
    [TRAP_UD] = trap_invalid_opcode,
    [TRAP_NM] = trap_no_device,
    [10] = trap_bounce_error, /* #TS */
    [11] = trap_bounce_error, /* #NP */
    [12] = trap_bounce_error, /* #SS */
    [TRAP_GP] = trap_general_protection,
    [16] = trap_bounce,       /* #MF */
    [17] = trap_bounce_error, /* #AC */
    [19] = trap_bounce,       /* #XM */
    [21] = trap_bounce_error, /* #CP */
    [VECTOR_SYSENTER] = trap_sysenter,
    [VECTOR_SYSCALL32] = trap_syscall32,
};

void
pv_trap(struct vcpu *v, struct cpu_user_regs *regs)
{
    unsigned vector = regs->entry_vector & 0xff;

    if (vector >= TRAP_FIRST_INTERRUPT)
        trap_open_gate(v, regs, vector);
    else if (trap_rows[vector])
        trap_rows[vector](v, regs, vector);
    else
        domain_crash(v->domain, "vCPU %u met exception %u, which guests do not cause", v->id, vector);
}

/* --- the hypercalls that set entry points --- */

static void
set_callback(struct vcpu *v, enum pv_callback_type type, u64 rip, u16 cs, bool mask)
{
    v->pv.callback[type] = (struct pv_callback){
        .rip = rip,
        .cs = cs,
        .flags = mask ? PV_CALLBACK_MASK_EVENTS : 0,
    };
}

void
pv_set_trap(struct vcpu *v, const struct trap_info *info)
{
    struct trap_info *trap = &v->pv.traps[info->vector];

    *trap = *info;
    trap->cs = pv_fix_selector(info->cs);
    if (!trap->cs)
        trap->cs = FLAT_KERNEL_CS;
    if (info->vector == TRAP_NMI)
        set_callback(v, PV_CB_NMI, trap->address, trap->cs, true);
}

/* More entries than the table has in one call are no kernel's doing: such a call is cut into pieces. */
#define TRAPS_AT_ONCE 256u

s64
hypercall_set_trap_table(u64 *arg)
{
    struct vcpu *v = current;

    if (!arg[0]) {
        for (unsigned i = 0; i < 256; i++)
            v->pv.traps[i] = (struct trap_info){0};
        set_callback(v, PV_CB_NMI, 0, 0, false);
        return 0;
    }
    for (unsigned i = 0; i < TRAPS_AT_ONCE; i++, arg[0] += sizeof(struct trap_info)) {
        struct trap_info info;

        if (copy_from_guest(&info, arg[0], sizeof(info)))
            return -EFAULT;
        if (!info.address)
            return 0;
        if (!va_is_canonical(info.address))
            return -EINVAL;
        pv_set_trap(v, &info);
    }
    return -ERESTART;
}

static int
register_callback(struct vcpu *v, unsigned type, u64 rip, unsigned flags)
{
    bool mask = flags & CALLBACKF_mask_events;

    if (!va_is_canonical(rip))
        return -EINVAL;

    switch (type) {
    case CALLBACKTYPE_event:
        set_callback(v, PV_CB_EVENT, rip, FLAT_KERNEL_CS, true);
        return 0;
    case CALLBACKTYPE_failsafe:
        set_callback(v, PV_CB_FAILSAFE, rip, FLAT_KERNEL_CS, mask);
        return 0;
    case CALLBACKTYPE_syscall:
        set_callback(v, PV_CB_SYSCALL, rip, FLAT_KERNEL_CS, mask);
        return 0;
    case CALLBACKTYPE_syscall32:
        set_callback(v, PV_CB_SYSCALL32, rip, FLAT_KERNEL_CS, mask);
        v->pv.syscall32_disables_events = mask;
        return 0;
    case CALLBACKTYPE_sysenter:
        set_callback(v, PV_CB_SYSENTER, rip, FLAT_KERNEL_CS, mask);
        v->pv.sysenter_disables_events = mask;
        return 0;
    case CALLBACKTYPE_nmi: {
        struct trap_info nmi = {
            .vector = TRAP_NMI, .flags = TRAP_INFO_MASK, .cs = FLAT_KERNEL_CS, .address = rip};

        pv_set_trap(v, &nmi);
        return 0;
    }
    default:
        return -ENOSYS;
    }
}

static int
unregister_callback(struct vcpu *v, unsigned type)
{
    switch (type) {
    case CALLBACKTYPE_event:
    case CALLBACKTYPE_failsafe:
    case CALLBACKTYPE_syscall:
    case CALLBACKTYPE_syscall32:
    case CALLBACKTYPE_sysenter:
        return -EINVAL; /* a kernel cannot do without */
    case CALLBACKTYPE_nmi:
        v->pv.traps[TRAP_NMI] = (struct trap_info){0};
        set_callback(v, PV_CB_NMI, 0, 0, false);
        return 0;
    default:
        return -ENOSYS;
    }
}

s64
hypercall_set_callbacks(u64 *arg)
{
    struct vcpu *v = current;

    for (unsigned i = 0; i < 3; i++)
        if (!va_is_canonical(arg[i]))
            return -EINVAL;
    (void)register_callback(v, CALLBACKTYPE_event, arg[0], 0);
    (void)register_callback(v, CALLBACKTYPE_failsafe, arg[1], 0);
    (void)register_callback(v, CALLBACKTYPE_syscall, arg[2], 0);
    return 0;
}

s64
hypercall_callback_op(u64 *arg)
{
    struct callback_register reg;
    struct callback_unregister unreg;

    switch (arg[0]) {
    case CALLBACKOP_register:
        if (copy_from_guest(&reg, arg[1], sizeof(reg)))
            return -EFAULT;
        return register_callback(current, reg.type, reg.address, reg.flags);
    case CALLBACKOP_unregister:
        if (copy_from_guest(&unreg, arg[1], sizeof(unreg)))
            return -EFAULT;
        return unregister_callback(current, unreg.type);
    default:
        return -ENOSYS;
    }
}

s64
hypercall_nmi_op(u64 *arg)
{
    struct xennmi_callback callback;
    struct vcpu *v = current;

    switch (arg[0]) {
    case XENNMI_register_callback:
        if (v->id)
            return -EINVAL; /* the ABI delivers NMIs to the first vCPU only */
        if (copy_from_guest(&callback, arg[1], sizeof(callback)))
            return -EFAULT;
        return register_callback(v, CALLBACKTYPE_nmi, callback.handler_address, 0);
    case XENNMI_unregister_callback:
        return unregister_callback(v, CALLBACKTYPE_nmi);
    default:
        return -ENOSYS;
    }
}
