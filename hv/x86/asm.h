/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The instructions a user process may not execute, each as a function. */
#ifndef SERAI_X86_ASM_H
#define SERAI_X86_ASM_H

#include "base/types.h"

#define MSR_APIC_BASE      0x1b
#define MSR_EFER           0xc0000080
#define MSR_STAR           0xc0000081
#define MSR_LSTAR          0xc0000082
#define MSR_CSTAR          0xc0000083
#define MSR_SYSCALL_MASK   0xc0000084
#define MSR_FS_BASE        0xc0000100
#define MSR_GS_BASE        0xc0000101
#define MSR_SHADOW_GS_BASE 0xc0000102
#define MSR_TSC_AUX        0xc0000103
#define MSR_PAT            0x277
#define MSR_SYSENTER_CS    0x174
#define MSR_SYSENTER_ESP   0x175
#define MSR_SYSENTER_EIP   0x176
#define MSR_TSC_DEADLINE   0x6e0
#define MSR_X2APIC_BASE    0x800

#define EFER_SCE (1ull << 0)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)
#define EFER_NXE (1ull << 11)

#define CR0_PE (1ull << 0)
#define CR0_MP (1ull << 1)
#define CR0_EM (1ull << 2)
#define CR0_TS (1ull << 3)
#define CR0_ET (1ull << 4)
#define CR0_NE (1ull << 5)
#define CR0_WP (1ull << 16)
#define CR0_AM (1ull << 18)
#define CR0_PG (1ull << 31)

#define CR4_TSD        (1ull << 2)
#define CR4_DE         (1ull << 3)
#define CR4_PSE        (1ull << 4)
#define CR4_PAE        (1ull << 5)
#define CR4_MCE        (1ull << 6)
#define CR4_PGE        (1ull << 7)
#define CR4_OSFXSR     (1ull << 9)
#define CR4_OSXMMEXCPT (1ull << 10)
#define CR4_UMIP       (1ull << 11)
#define CR4_FSGSBASE   (1ull << 16)
#define CR4_OSXSAVE    (1ull << 18)
#define CR4_SMEP       (1ull << 20)
#define CR4_SMAP       (1ull << 21)

#define DR6_FIXED_ONE 0xffff0ff0u /* bits 4 to 11 and 16 to 31 read as ones */

#define RFLAGS_TF       (1ull << 8)
#define RFLAGS_IF_SHIFT 9
#define RFLAGS_IF       (1ull << 9)
#define RFLAGS_DF       (1ull << 10)
#define RFLAGS_IOPL     (3ull << 12)
#define RFLAGS_NT       (1ull << 14)
#define RFLAGS_RF       (1ull << 16)
#define RFLAGS_VM       (1ull << 17)
#define RFLAGS_AC       (1ull << 18)

static inline u64
rdmsr(u32 msr)
{
    u32 lo, hi;

    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return (u64)hi << 32 | lo;
}

static inline void
wrmsr(u32 msr, u64 value)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

/* As the two above, for MSRs that may not exist: false on #GP. */
static inline bool
rdmsr_safe(u32 msr, u64 *ret_value)
{
    u32 lo, hi, failed;

    __asm__ volatile("1: rdmsr; xor %k2, %k2; 2:\n\t"
                     ".pushsection .fixup, \"ax\"; 3: mov $1, %k2; xor %k0, %k0; xor %k1, %k1\n\t"
                     "jmp 2b; .popsection\n\t"
                     ".pushsection .extable, \"a\"; .quad 1b, 3b; .popsection"
                     : "=a"(lo), "=d"(hi), "=&r"(failed)
                     : "c"(msr));
    *ret_value = (u64)hi << 32 | lo;
    return !failed;
}

static inline bool
wrmsr_safe(u32 msr, u64 value)
{
    u32 failed;

    __asm__ volatile("1: wrmsr; xor %k0, %k0; 2:\n\t"
                     ".pushsection .fixup, \"ax\"; 3: mov $1, %k0; jmp 2b; .popsection\n\t"
                     ".pushsection .extable, \"a\"; .quad 1b, 3b; .popsection"
                     : "=&r"(failed)
                     : "c"(msr), "a"((u32)value), "d"((u32)(value >> 32))
                     : "memory");
    return !failed;
}

#define DEFINE_CR(n)                                                   \
    static inline u64 read_cr##n(void)                                 \
    {                                                                  \
        u64 value;                                                     \
        __asm__ volatile("mov %%cr" #n ", %0" : "=r"(value));          \
        return value;                                                  \
    }                                                                  \
    static inline void write_cr##n(u64 value)                          \
    {                                                                  \
        __asm__ volatile("mov %0, %%cr" #n : : "r"(value) : "memory"); \
    }
DEFINE_CR(0)
DEFINE_CR(2)
DEFINE_CR(3)
DEFINE_CR(4)
#undef DEFINE_CR

#define DEFINE_DR(n)                                          \
    static inline u64 read_dr##n(void)                        \
    {                                                         \
        u64 value;                                            \
        __asm__ volatile("mov %%dr" #n ", %0" : "=r"(value)); \
        return value;                                         \
    }                                                         \
    static inline void write_dr##n(u64 value)                 \
    {                                                         \
        __asm__ volatile("mov %0, %%dr" #n : : "r"(value));   \
    }
DEFINE_DR(0)
DEFINE_DR(1)
DEFINE_DR(2)
DEFINE_DR(3)
DEFINE_DR(6)
DEFINE_DR(7)
#undef DEFINE_DR

static inline void
invlpg(u64 va)
{
    __asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
}

static inline void
wbinvd(void)
{
    __asm__ volatile("wbinvd" : : : "memory");
}

static inline void
cpuid_count(u32 leaf, u32 subleaf, u32 regs[4])
{
    __asm__ volatile("cpuid"
                     : "=a"(regs[0]), "=b"(regs[1]), "=c"(regs[2]), "=d"(regs[3])
                     : "a"(leaf), "c"(subleaf));
}

#define DEFINE_PORT(suffix, type)                                             \
    static inline type in##suffix(u16 port)                                   \
    {                                                                         \
        type value;                                                           \
        __asm__ volatile("in %1, %0" : "=a"(value) : "Nd"(port) : "memory");  \
        return value;                                                         \
    }                                                                         \
    static inline void out##suffix(u16 port, type value)                      \
    {                                                                         \
        __asm__ volatile("out %0, %1" : : "a"(value), "Nd"(port) : "memory"); \
    }
DEFINE_PORT(b, u8)
DEFINE_PORT(w, u16)
DEFINE_PORT(l, u32)
#undef DEFINE_PORT

static inline void
cpu_pause(void)
{
    __asm__ volatile("pause" : : : "memory");
}

/* Halts with interrupts on until the next one; they are off again on return. */
static inline void
cpu_sti_hlt_cli(void)
{
    __asm__ volatile("sti; hlt; cli" : : : "memory");
}

static inline void
swapgs(void)
{
    __asm__ volatile("swapgs" : : : "memory");
}

#endif
