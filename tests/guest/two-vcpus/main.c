/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two vCPUs take turns on one CPU.  What each has for itself it finds as it left it: TSC_AUX, the segment
 * bases, the vector registers, the debug registers, XCR0: the one has AVX turned on, the other has not.
 */
#include "guest.h"

#define TURNS        300u
#define MSR_TSC_AUX  0xc0000103u
#define CPUID_RDTSCP (1u << 27)
#define CPUID_AVX    (1u << 28)
#define CR4_OSXSAVE  (1ull << 18)
#define XCR0_AVX     (1u << 2)

static u32 turns[2], done;
static bool has_rdtscp, has_avx;

struct own {
    u64 tsc_aux, fs_base, gs_base, xmm, dr0, xcr0;
};

/* EAX, EBX, ECX or EDX, by its number, as the hypervisor's policy has it. */
static u32
cpuid(u32 leaf, unsigned reg)
{
    u32 out[4] = {leaf};

    __asm__ volatile("ud2a; .ascii \"xen\"; cpuid" : "+a"(out[0]), "=b"(out[1]), "+c"(out[2]), "=d"(out[3]));
    return out[reg];
}

static u64
rdmsr(u32 msr)
{
    u32 lo, hi;

    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return (u64)hi << 32 | lo;
}

static void
wrmsr(u32 msr, u64 value)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((u32)value), "d"((u32)(value >> 32)));
}

static void
set(const struct own *own)
{
    if (has_rdtscp)
        wrmsr(MSR_TSC_AUX, own->tsc_aux);
    EXPECT_RC(HYPERCALL(set_segment_base, SEGBASE_FS, own->fs_base), 0);
    EXPECT_RC(HYPERCALL(set_segment_base, SEGBASE_GS_KERNEL, own->gs_base), 0);
    EXPECT_RC(HYPERCALL(set_debugreg, 0, own->dr0), 0);
    if (has_avx) {
        u64 cr4;

        __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
        __asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | CR4_OSXSAVE));
        __asm__ volatile("xsetbv" : : "c"(0), "a"((u32)own->xcr0), "d"(0));
    }
    __asm__ volatile("movq %0, %%xmm7" : : "r"(own->xmm));
    if (has_avx && own->xcr0 & XCR0_AVX)
        __asm__ volatile("vinsertf128 $1, %%xmm7, %%ymm7, %%ymm7" : : : "memory");
}

static u64
upper_half(void)
{
    u64 upper;

    __asm__ volatile("vextractf128 $1, %%ymm7, %%xmm6; movq %%xmm6, %0" : "=r"(upper));
    return upper;
}

static void
check(unsigned vcpu, const struct own *own)
{
    u64 xmm;

    __asm__ volatile("movq %%xmm7, %0" : "=r"(xmm));
    CHECK(xmm == own->xmm, "vCPU %u finds %lx in XMM7", vcpu, xmm);
    if (has_avx) {
        u32 lo, hi;

        __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
        CHECK(lo == own->xcr0, "vCPU %u's XCR0 is %x", vcpu, lo);
        if (own->xcr0 & XCR0_AVX)
            CHECK(upper_half() == own->xmm, "vCPU %u finds %lx above XMM7", vcpu, upper_half());
    }
    if (has_rdtscp) {
        u32 lo, hi, aux;

        __asm__ volatile("rdtscp" : "=a"(lo), "=d"(hi), "=c"(aux));
        CHECK(aux == own->tsc_aux, "RDTSCP tells vCPU %u %x", vcpu, aux);
        CHECK(rdmsr(MSR_TSC_AUX) == own->tsc_aux, "vCPU %u reads %lx as TSC_AUX", vcpu, rdmsr(MSR_TSC_AUX));
    }
    CHECK(rdmsr(0xc0000100) == own->fs_base, "vCPU %u's FS base is %lx", vcpu, rdmsr(0xc0000100));
    CHECK(rdmsr(0xc0000101) == own->gs_base, "vCPU %u's GS base is %lx", vcpu, rdmsr(0xc0000101));
    CHECK((u64)HYPERCALL(get_debugreg, 0) == own->dr0, "vCPU %u's DR0 has changed", vcpu);
}

static void
take_turns(unsigned vcpu)
{
    const u64 n = vcpu + 1;
    const struct own own = {n * 0x1111, n << 32, n << 40, n * 0x0101010101010101ull, n << 20, vcpu ? 3 : 7};

    set(&own);
    for (u32 i = 0; i < TURNS; i++) {
        __atomic_add_fetch(&turns[vcpu], 1, __ATOMIC_SEQ_CST);
        HYPERCALL(sched_op, SCHEDOP_yield, 0);
        check(vcpu, &own);
    }
}

static void
second(void)
{
    take_turns(1);
    __atomic_store_n(&done, 1, __ATOMIC_SEQ_CST);
    for (;;)
        HYPERCALL(vcpu_op, VCPUOP_down, 1, 0);
}

void
test_main(void)
{
    has_rdtscp = cpuid(0x80000001, 3) & CPUID_RDTSCP;
    has_avx = cpuid(1, 2) & CPUID_AVX;
    print("RDTSCP: %s, AVX: %s\n", has_rdtscp ? "yes" : "no", has_avx ? "yes" : "no");
    traps_install();
    second_vcpu_start(second);
    take_turns(0);
    while (!__atomic_load_n(&done, __ATOMIC_SEQ_CST))
        HYPERCALL(sched_op, SCHEDOP_yield, 0);
    CHECK(turns[1] == TURNS, "the second vCPU had %u turns", turns[1]);
}
