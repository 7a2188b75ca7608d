/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stands in for hv/x86/asm.h: the privileged registers of a pretend CPU are variables (fake_regs), its MSRs a
 * table, its ports two functions that a test may set.
 */
#ifndef SERAI_X86_ASM_H
#define SERAI_X86_ASM_H

#include "base/types.h"

#define MSR_APIC_BASE      0x1b
#define MSR_EFER           0xc0000080
#define MSR_FS_BASE        0xc0000100
#define MSR_GS_BASE        0xc0000101
#define MSR_SHADOW_GS_BASE 0xc0000102
#define MSR_TSC_AUX        0xc0000103
#define MSR_PAT            0x277

#define EFER_SCE (1ull << 0)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)
#define EFER_NXE (1ull << 11)

#define CR0_PE (1ull << 0)
#define CR0_MP (1ull << 1)
#define CR0_EM (1ull << 2)
#define CR0_TS (1ull << 3)
#define CR0_WP (1ull << 16)

#define CR4_TSD        (1ull << 2)
#define CR4_DE         (1ull << 3)
#define CR4_PAE        (1ull << 5)
#define CR4_MCE        (1ull << 6)
#define CR4_OSFXSR     (1ull << 9)
#define CR4_OSXMMEXCPT (1ull << 10)
#define CR4_FSGSBASE   (1ull << 16)
#define CR4_OSXSAVE    (1ull << 18)

#define DR6_FIXED_ONE 0xffff0ff0u /* bits 4 to 11 and 16 to 31 read as ones */

#define RFLAGS_TF       (1ull << 8)
#define RFLAGS_IF_SHIFT 9
#define RFLAGS_IF       (1ull << 9)
#define RFLAGS_DF       (1ull << 10)
#define RFLAGS_RF       (1ull << 16)

struct fake_regs {
    u64 cr0, cr2, cr3, cr4, dr6, dr7, xcr0;
    struct {
        u32 msr;
        u64 value;
    } msrs[32]; /* value counts where msr is not 0 */
    u32 wbinvds;
    u32 (*in)(u16 port, unsigned size);
    void (*out)(u16 port, unsigned size, u32 value);
    void (*cpuid)(u32 leaf, u32 subleaf, u32 regs[4]);
};
extern struct fake_regs fake_regs;

bool rdmsr_safe(u32 msr, u64 *ret_value);
bool wrmsr_safe(u32 msr, u64 value);
void cpuid_count(u32 leaf, u32 subleaf, u32 regs[4]);

static inline u64
rdmsr(u32 msr)
{
    u64 value;

    (void)rdmsr_safe(msr, &value);
    return value;
}

static inline void
wrmsr(u32 msr, u64 value)
{
    (void)wrmsr_safe(msr, value);
}

#define FAKE_REG(name)                         \
    static inline u64 read_##name(void)        \
    {                                          \
        return fake_regs.name;                 \
    }                                          \
    static inline void write_##name(u64 value) \
    {                                          \
        fake_regs.name = value;                \
    }
FAKE_REG(cr0)
FAKE_REG(cr2)
FAKE_REG(cr3)
FAKE_REG(cr4)
FAKE_REG(dr6)
FAKE_REG(dr7)
#undef FAKE_REG

static inline void
wbinvd(void)
{
    fake_regs.wbinvds++;
}

#define FAKE_PORT(suffix, type)                                             \
    static inline type in##suffix(u16 port)                                 \
    {                                                                       \
        return fake_regs.in ? fake_regs.in(port, sizeof(type)) : (type)~0u; \
    }                                                                       \
    static inline void out##suffix(u16 port, type value)                    \
    {                                                                       \
        if (fake_regs.out)                                                  \
            fake_regs.out(port, sizeof(type), value);                       \
    }
FAKE_PORT(b, u8)
FAKE_PORT(w, u16)
FAKE_PORT(l, u32)
#undef FAKE_PORT

#endif
