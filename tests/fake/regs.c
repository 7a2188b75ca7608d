/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The registers behind tests/fake/x86/asm.h and segment.h. */
#include "x86/cpu.h"
#include "x86/segment.h"
#include "pv/pv.h"
#include "fake-private.h"

struct fake_regs fake_regs;
u16 fake_selector_32bit = 0xe023;
FAKE struct cpu_features cpu_features;

FAKE bool
rdmsr_safe(u32 msr, u64 *ret_value)
{
    *ret_value = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(fake_regs.msrs); i++)
        if (fake_regs.msrs[i].msr == msr) {
            *ret_value = fake_regs.msrs[i].value;
            return true;
        }
    return false;
}

FAKE bool
wrmsr_safe(u32 msr, u64 value)
{
    for (unsigned i = 0; i < ARRAY_SIZE(fake_regs.msrs); i++)
        if (fake_regs.msrs[i].msr == msr) {
            fake_regs.msrs[i].value = value;
            return true;
        }
    return false;
}

FAKE void
cpuid_count(u32 leaf, u32 subleaf, u32 regs[4])
{
    for (unsigned i = 0; i < 4; i++)
        regs[i] = 0;
    if (fake_regs.cpuid)
        fake_regs.cpuid(leaf, subleaf, regs);
}

FAKE void
pv_load_tsc_aux(struct vcpu *v)
{
    wrmsr(MSR_TSC_AUX, v->tsc_aux);
}
