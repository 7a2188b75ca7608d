/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The control, debug and segment registers that a PV vCPU has for itself, and
 * the hypercalls that set them.  All act on the current vCPU, whose registers
 * are loaded; so they change the CPU's and the copy in struct pv_vcpu together.
 */
#include "pv/pv.h"

#include "x86/cpu.h"
#include "x86/segment.h"

/* What a guest may choose for itself, and what it sees set because the hypervisor set it. */
#define CR4_GUEST_CHOICE (CR4_TSD | CR4_DE | CR4_FSGSBASE | CR4_OSXSAVE)
#define CR4_GUEST_SEES   (CR4_PAE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT)

u64
pv_fix_cr4(const struct vcpu *v, u64 cr4)
{
    u64 choice = CR4_GUEST_CHOICE;

    (void)v;
    if (!cpu_features.fsgsbase)
        choice &= ~CR4_FSGSBASE;
    if (!cpu_features.xsave)
        choice &= ~CR4_OSXSAVE;
    return (cr4 & choice) | CR4_GUEST_SEES;
}

s64
hypercall_fpu_taskswitch(u64 *arg)
{
    struct vcpu *v = current;

    if (arg[0]) {
        v->pv.cr0 |= CR0_TS;
        write_cr0(read_cr0() | CR0_TS);
    } else {
        v->pv.cr0 &= ~CR0_TS;
        write_cr0(read_cr0() & ~CR0_TS);
    }
    return 0;
}

bool
pv_set_xcr0(struct vcpu *v, u64 xcr0)
{
    if (!(v->pv.cr4 & CR4_OSXSAVE) || !xcr0_is_valid(xcr0, fpu_xcr0_mask))
        return false;
    fpu_set_xcr0(xcr0);
    v->xcr0 = xcr0;
    v->xcr0_accum |= xcr0;
    return true;
}

/* --- debug registers --- */

#define DR7_FIXED_ONE  (1u << 10)
#define DR7_FIXED_ZERO 0xd800u /* 11, 12, 14, 15 */
#define DR7_DETECT     (1u << 13)
#define DR6_FIXED_ZERO 0x1000u
#define DR7_RW_IO      2u

bool
pv_debugreg_check(unsigned reg, u64 *value)
{
    if (reg <= 3)
        return va_is_canonical(*value) && (*value < HYPERVISOR_START || *value >= HYPERVISOR_END);
    if (*value != (u32)*value)
        return false;
    if (reg == 6) {
        *value = (*value & ~(u64)DR6_FIXED_ZERO) | DR6_FIXED_ONE;
        return true;
    }
    if (reg != 7 || *value & DR7_DETECT)
        return false;

    *value = (*value & ~(u64)DR7_FIXED_ZERO) | DR7_FIXED_ONE;
    /* The hypervisor does a guest's port accesses, so the CPU cannot watch them for it. */
    for (unsigned i = 0; i < 4; i++)
        if ((*value >> (16 + 4 * i) & 3) == DR7_RW_IO)
            *value &= ~(3ull << 2 * i);
    return true;
}

/* Debug registers 4 and 5 are names of 6 and 7 while CR4.DE is clear, and do not exist while it is set. */
static bool
resolve_alias(const struct vcpu *v, unsigned *reg)
{
    if (*reg > 7)
        return false;
    if (*reg == 4 || *reg == 5) {
        if (v->pv.cr4 & CR4_DE)
            return false;
        *reg += 2;
    }
    return true;
}

int
pv_set_debugreg(struct vcpu *v, unsigned reg, u64 value)
{
    if (!resolve_alias(v, &reg))
        return -ENODEV;
    if (!pv_debugreg_check(reg, &value))
        return reg <= 3 || value & DR7_DETECT ? -EPERM : -EINVAL;
    v->pv.dr[reg] = value;
    pv_load_debugregs(v);
    return 0;
}

s64
hypercall_set_debugreg(u64 *arg)
{
    return arg[0] > 7 ? -ENODEV : pv_set_debugreg(current, arg[0], arg[1]);
}

s64
hypercall_get_debugreg(u64 *arg)
{
    struct vcpu *v = current;
    unsigned reg = MIN(arg[0], 8ull);

    return resolve_alias(v, &reg) ? (s64)v->pv.dr[reg] : -ENODEV;
}

/* --- segments and stacks --- */

s64
hypercall_stack_switch(u64 *arg)
{
    struct vcpu *v = current;

    v->pv.kernel_ss = pv_fix_selector(arg[0]);
    v->pv.kernel_sp = arg[1];
    return 0;
}

s64
hypercall_set_segment_base(u64 *arg)
{
    u64 base = arg[1];

    switch (arg[0]) {
    case SEGBASE_FS:
        if (!va_is_canonical(base))
            return -EINVAL;
        fsbase_write(base);
        return 0;
    case SEGBASE_GS_USER:
        if (!va_is_canonical(base))
            return -EINVAL;
        wrmsr(MSR_SHADOW_GS_BASE, base);
        current->pv.gs_base_user = base;
        return 0;
    case SEGBASE_GS_KERNEL:
        if (!va_is_canonical(base))
            return -EINVAL;
        gsbase_write(base);
        return 0;
    case SEGBASE_GS_USER_SEL:
        segment_load_inactive_gs(base);
        current->pv.gs_base_user = rdmsr(MSR_SHADOW_GS_BASE);
        return 0;
    default:
        return -EINVAL;
    }
}
