/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The CPUID that PV guests see: the machine's, less what the hypervisor keeps (paging modes, virtualization,
 * power), plus the hypervisor's own leaves.
 *
 * The default policy is read from the boot CPU once, each leaf through a row of masks; the tools may replace
 * it for a domain that has not run (domain/cpu-policy.c), which can only take away.  When a guest asks, what
 * depends on the vCPU is put in.  Policies do not change under a running domain, so no lock is needed.
 *
 * Leaves by number: SDM vol. 2, CPUID; APM vol. 3, appendix E; xen/arch-x86/cpuid.h.
 */
#include <xen/arch-x86/cpuid.h>

#include "domain/cpu-policy.h"
#include "mm/frame.h"
#include "pv/pv.h"
#include "x86/cpu.h"
#include "x86/tsc.h"

enum { EAX, EBX, ECX, EDX };

#define BIT(n) (1u << (n))
#define ALL    0xffffffffu

#define LEAF_MAX_BASIC    0xdu
#define LEAF_EXTENDED     0x80000000u
#define LEAF_MAX_EXTENDED 0x80000021u
#define LEAF_HYPERVISOR   0x40000000u
#define LEAF_XSTATE       0xdu
#define ANY_SUBLEAF       ALL

#define LEAF1_ECX_OSXSAVE    BIT(27)
#define LEAF1_ECX_HYPERVISOR BIT(31)

/*
 * What a PV guest may see of each register.  A leaf without a row reads as zero.  Kept back, beside what no
 * guest uses: page sizes, global pages and PCIDs (the page tables are the hypervisor's to check), SMEP, SMAP,
 * UMIP and protection keys (the guest kernel runs in ring 3), MTRRs, MWAIT, x2APIC and deadline timer, VMX
 * and SVM, transactional memory, and the MSRs of speculation control, which the hypervisor sets for all.
 */
#define LEAF1_EDX                                                                                          \
    (BIT(0) | BIT(2) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) | BIT(11) | BIT(14) | BIT(15) | \
     BIT(16) | BIT(19) | BIT(22) | BIT(23) | BIT(24) | BIT(25) | BIT(26) | BIT(27) | BIT(28))
#define LEAF1_ECX                                                                                     \
    (BIT(0) | BIT(1) | BIT(9) | BIT(12) | BIT(13) | BIT(19) | BIT(20) | BIT(22) | BIT(23) | BIT(25) | \
     BIT(26) | BIT(28) | BIT(29) | BIT(30))
#define LEAF7_EBX                                                                                            \
    (BIT(0) | BIT(3) | BIT(5) | BIT(6) | BIT(8) | BIT(9) | BIT(13) | BIT(16) | BIT(17) | BIT(18) | BIT(19) | \
     BIT(21) | BIT(23) | BIT(24) | BIT(26) | BIT(27) | BIT(28) | BIT(29) | BIT(30) | BIT(31))
#define LEAF7_ECX                                                                                   \
    (BIT(0) | BIT(1) | BIT(6) | BIT(8) | BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(14) | BIT(22) | \
     BIT(25) | BIT(27) | BIT(28))
#define LEAF7_EDX (BIT(2) | BIT(3) | BIT(4) | BIT(8) | BIT(10) | BIT(14))
#define EXT1_EDX                                                                     \
    (BIT(11) | BIT(20) | BIT(22) | BIT(25) | BIT(27) | BIT(29) | BIT(30) | BIT(31) | \
     (LEAF1_EDX & ~(BIT(11) | BIT(19) | BIT(22) | BIT(25) | BIT(26) | BIT(27) | BIT(28))))
#define EXT1_ECX (BIT(0) | BIT(1) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(11) | BIT(16) | BIT(21) | BIT(26))

static const struct leaf_mask {
    u32 leaf, subleaf;
    u32 mask[4];
} leaf_masks[] = {
    {0x0, ANY_SUBLEAF, {ALL, ALL, ALL, ALL}},
    {0x1, ANY_SUBLEAF, {ALL, 0x00ffffff, LEAF1_ECX, LEAF1_EDX}},
    {0x2, ANY_SUBLEAF, {ALL, ALL, ALL, ALL}},
    {0x4, ANY_SUBLEAF, {ALL, ALL, ALL, ALL}},
    {0x7, 0, {ALL, LEAF7_EBX, LEAF7_ECX, LEAF7_EDX}},
    {0x7, 1, {BIT(4) | BIT(5) | BIT(10) | BIT(11) | BIT(12), 0, 0, 0}},
    {LEAF_XSTATE, ANY_SUBLEAF, {ALL, ALL, ALL, ALL}}, /* see xstate_leaf() */
    {0x80000000, ANY_SUBLEAF, {ALL, ALL, ALL, ALL}},
    {0x80000001, ANY_SUBLEAF, {ALL, ALL, EXT1_ECX, EXT1_EDX}},
    {0x80000002, ANY_SUBLEAF, {ALL, ALL, ALL, ALL}},
    {0x80000003, ANY_SUBLEAF, {ALL, ALL, ALL, ALL}},
    {0x80000004, ANY_SUBLEAF, {ALL, ALL, ALL, ALL}},
    {0x80000005, ANY_SUBLEAF, {ALL, ALL, ALL, ALL}},
    {0x80000006, ANY_SUBLEAF, {ALL, ALL, ALL, ALL}},
    {0x80000007, ANY_SUBLEAF, {0, 0, 0, BIT(8)}},
    {0x80000008, ANY_SUBLEAF, {0xffff, BIT(0) | BIT(2) | BIT(26) | BIT(29) | BIT(30), 0xffff, 0}},
    {0x80000019, ANY_SUBLEAF, {ALL, ALL, 0, 0}},
    {0x80000021, ANY_SUBLEAF, {BIT(2) | BIT(6), 0, 0, 0}},
};

static const struct leaf_mask *
find_mask(u32 leaf, u32 subleaf)
{
    for (unsigned i = 0; i < ARRAY_SIZE(leaf_masks); i++)
        if (leaf_masks[i].leaf == leaf &&
            (leaf_masks[i].subleaf == ANY_SUBLEAF || leaf_masks[i].subleaf == subleaf))
            return &leaf_masks[i];
    return NULL;
}

/* Vector features fall away with the registers that are not switched. */
static void
drop_unswitched(u32 leaf, u32 regs[4])
{
    if (!cpu_features.xsave && leaf == 1)
        regs[ECX] &= ~BIT(26);
    if (!(fpu_xcr0_mask & XCR0_YMM)) {
        if (leaf == 1)
            regs[ECX] &= ~(BIT(12) | BIT(28) | BIT(29)); /* FMA, AVX, F16C */
        else if (leaf == 7) {
            regs[EBX] &= ~BIT(5);             /* AVX2 */
            regs[ECX] &= ~(BIT(9) | BIT(10)); /* VAES, VPCLMULQDQ */
        } else if (leaf == 0x80000001)
            regs[ECX] &= ~(BIT(11) | BIT(16)); /* XOP, FMA4 */
    }
    if (!(fpu_xcr0_mask & XCR0_AVX512) && leaf == 7) {
        regs[EBX] &= ~(BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31));
        regs[ECX] &= ~(BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14));
        regs[EDX] &= ~(BIT(2) | BIT(3) | BIT(8));
    }
}

/* Leaf 0xd: sizes and places of the state components that are switched, and of no others. */
static void
xstate_leaf(u32 subleaf, u32 regs[4])
{
    if (!cpu_features.xsave) {
        regs[EAX] = regs[EBX] = regs[ECX] = regs[EDX] = 0;
    } else if (subleaf == 0) {
        u32 size = 512 + 64;

        for (u32 i = 2; i < 63; i++) {
            u32 part[4];

            if (!(fpu_xcr0_mask >> i & 1))
                continue;
            cpuid_count(LEAF_XSTATE, i, part);
            size = MAX(size, part[EAX] + part[EBX]);
        }
        regs[EAX] = fpu_xcr0_mask;
        regs[EDX] = fpu_xcr0_mask >> 32;
        regs[ECX] = size;
    } else if (subleaf == 1) {
        regs[EAX] &= BIT(0) | BIT(1) | BIT(2); /* XSAVEOPT, XSAVEC, XGETBV with ECX 1; no supervisor states */
        regs[ECX] = regs[EDX] = 0;
    } else if (subleaf >= 63 || !(fpu_xcr0_mask >> subleaf & 1)) {
        regs[EAX] = regs[EBX] = regs[ECX] = regs[EDX] = 0;
    }
}

/* What an unconfigured PV domain sees, apart from what depends on the vCPU. */
static void
default_leaf(u32 leaf, u32 subleaf, u32 regs[4])
{
    const struct leaf_mask *row = find_mask(leaf, subleaf);
    u32 limit[4];

    regs[EAX] = regs[EBX] = regs[ECX] = regs[EDX] = 0;
    cpuid_count(leaf & LEAF_EXTENDED, 0, limit);
    if (!row || leaf > limit[EAX])
        return;

    cpuid_count(leaf, subleaf, regs);
    for (unsigned i = 0; i < 4; i++)
        regs[i] &= row->mask[i];
    drop_unswitched(leaf, regs);

    if (leaf == 0)
        regs[EAX] = MIN(regs[EAX], LEAF_MAX_BASIC);
    else if (leaf == 1)
        regs[ECX] |= LEAF1_ECX_HYPERVISOR;
    else if (leaf == 7 && !subleaf)
        regs[EAX] = MIN(regs[EAX], 1u);
    else if (leaf == LEAF_XSTATE)
        xstate_leaf(subleaf, regs);
    else if (leaf == LEAF_EXTENDED)
        regs[EAX] = MIN(regs[EAX], LEAF_MAX_EXTENDED);
    else if (leaf == 0x80000007 && tsc_is_invariant)
        regs[EDX] |= BIT(8);
}

static struct cpuid_policy raw_policy, pv_policy;

void
pv_cpuid_init(void)
{
    cpu_policy_read(&raw_policy, cpuid_count);
    cpu_policy_read(&pv_policy, default_leaf);
    cpu_policy_system[XEN_SYSCTL_cpu_policy_raw] = &raw_policy;
    cpu_policy_system[XEN_SYSCTL_cpu_policy_host] = &raw_policy;
    cpu_policy_system[XEN_SYSCTL_cpu_policy_pv_max] = &pv_policy;
    cpu_policy_system[XEN_SYSCTL_cpu_policy_pv_default] = &pv_policy;
}

/* --- the hypervisor's leaves --- */

static u32
machine_address_bits(void)
{
    return 64 - __builtin_clzll(frame_limit | 1) + PAGE_SHIFT;
}

static void
time_leaf(const struct domain *d, u32 subleaf, u32 regs[4])
{
    switch (subleaf) {
    case 0:
        /* TSCs are never emulated.  Linux takes the TSC for its clock only if it is told so in EBX. */
        regs[EAX] = (tsc_is_invariant ? BIT(1) : 0) | (cpu_features.rdtscp ? BIT(2) : 0);
        regs[EBX] = tsc_is_invariant ? 2 : d->time.tsc_mode;
        regs[ECX] = d->time.tsc_khz ? d->time.tsc_khz : tsc_khz;
        regs[EDX] = d->time.incarnation;
        break;
    case 1:
        regs[EAX] = (u64)d->time.system_time_offset_ns;
        regs[EBX] = (u64)d->time.system_time_offset_ns >> 32;
        regs[ECX] = tsc_scale.mul;
        regs[EDX] = (s32)tsc_scale.shift;
        break;
    case 2:
        regs[EAX] = tsc_khz;
        break;
    }
}

static void
hypervisor_leaf(const struct domain *d, u32 leaf, u32 subleaf, u32 regs[4])
{
    regs[EAX] = regs[EBX] = regs[ECX] = regs[EDX] = 0;

    switch (leaf - LEAF_HYPERVISOR) {
    case 0:
        regs[EAX] = LEAF_HYPERVISOR + 5;
        regs[EBX] = XEN_CPUID_SIGNATURE_EBX;
        regs[ECX] = XEN_CPUID_SIGNATURE_ECX;
        regs[EDX] = XEN_CPUID_SIGNATURE_EDX;
        break;
    case 1:
        regs[EAX] = 4 << 16 | 17; /* the version of the ABI */
        break;
    case 2:
        regs[EAX] = 1;               /* hypercall pages */
        regs[EBX] = LEAF_HYPERVISOR; /* the MSR that places one */
        regs[ECX] = XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD;
        break;
    case 3:
        time_leaf(d, subleaf, regs);
        break;
    case 5:
        if (!subleaf)
            regs[EBX] = machine_address_bits();
        break;
    }
}

/* --- what the guest gets --- */

/* Bits that follow the vCPU's registers.  Some leak to dom0's kernel only, which expects them, as of Xen. */
static void
adjust_leaf(const struct vcpu *v, u32 leaf, u32 subleaf, u32 regs[4])
{
    bool dom0_kernel = v->domain->is_hardware && v->pv.kernel_mode;
    u32 raw[4];

    if (leaf == 1) {
        cpuid_count(1, 0, raw);
        /* OSXSAVE follows CR4, but PV Linux relies on its being set from the start. */
        regs[ECX] &= ~LEAF1_ECX_OSXSAVE;
        if (regs[ECX] & BIT(26) && (v->pv.cr4 & CR4_OSXSAVE || v->pv.kernel_mode))
            regs[ECX] |= LEAF1_ECX_OSXSAVE;
        if (dom0_kernel) {
            regs[ECX] |= raw[ECX] & BIT(7);  /* EIST: dom0 reports P states only if it sees it */
            regs[EDX] |= raw[EDX] & BIT(12); /* MTRR: stands for XENPF_*_memtype */
        }
    } else if (leaf == LEAF_XSTATE && subleaf <= 1 && cpu_features.xsave) {
        /* The size for the XCR0 that is loaded. */
        cpuid_count(LEAF_XSTATE, subleaf, raw);
        if (subleaf == 0 || regs[EAX] & BIT(1))
            regs[EBX] = raw[EBX];
    }
}

void
pv_cpuid(const struct vcpu *v, u32 leaf, u32 subleaf, u32 ret_regs[4])
{
    const struct domain *d = v->domain;
    const struct cpuid_regs *regs;

    ret_regs[EAX] = ret_regs[EBX] = ret_regs[ECX] = ret_regs[EDX] = 0;
    if (leaf >= LEAF_HYPERVISOR && leaf <= LEAF_HYPERVISOR + 0xff) {
        hypervisor_leaf(d, leaf, subleaf, ret_regs);
        return;
    }
    regs = cpu_policy_find(cpu_policy_of(d), leaf, subleaf);
    if (!regs)
        return;
    ret_regs[EAX] = regs->a;
    ret_regs[EBX] = regs->b;
    ret_regs[ECX] = regs->c;
    ret_regs[EDX] = regs->d;
    adjust_leaf(v, leaf, subleaf, ret_regs);
}
