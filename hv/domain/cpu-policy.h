/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPU policies: every CPUID leaf and policy MSR that a guest sees, as one object, and its form on the wire
 * to a toolstack (XEN_SYSCTL_get_cpu_policy, XEN_DOMCTL_{get,set}_cpu_policy).
 *
 * A policy is plain data.  The machine's own are written once at boot and only read after; a domain's
 * (d->cpuid, NULL: the machine's default for its kind) is replaced as a whole while the domain has not run
 * yet.
 */
#ifndef SERAI_DOMAIN_CPU_POLICY_H
#define SERAI_DOMAIN_CPU_POLICY_H

#include "abi/xen.h"
#include "base/types.h"

struct domain;

/* How many subleaves the wire format of interface version 4.17 has room for. */
#define CPU_POLICY_BASIC  14u   /* leaves 0 to 0xd */
#define CPU_POLICY_CACHE  6u    /* leaf 4 */
#define CPU_POLICY_FEAT   3u    /* leaf 7 */
#define CPU_POLICY_TOPO   2u    /* leaf 0xb */
#define CPU_POLICY_XSTATE 63u   /* leaf 0xd */
#define CPU_POLICY_EXTD   0x22u /* leaves 0x80000000 to 0x80000021 */

#define CPU_POLICY_LEAVES_MAX                                                              \
    (CPU_POLICY_BASIC + CPU_POLICY_CACHE - 1 + CPU_POLICY_FEAT - 1 + CPU_POLICY_TOPO - 1 + \
     CPU_POLICY_XSTATE - 1 + CPU_POLICY_EXTD + 2)
#define CPU_POLICY_MSRS_MAX 2u

#define MSR_PLATFORM_INFO     0xceu
#define MSR_ARCH_CAPABILITIES 0x10au

struct cpuid_regs {
    u32 a, b, c, d;
};

struct cpuid_policy {
    struct cpuid_regs basic[CPU_POLICY_BASIC]; /* 4, 7, 0xb and 0xd are unused here: see below */
    struct cpuid_regs cache[CPU_POLICY_CACHE];
    struct cpuid_regs feat[CPU_POLICY_FEAT];
    struct cpuid_regs topo[CPU_POLICY_TOPO];
    struct cpuid_regs xstate[CPU_POLICY_XSTATE];
    struct cpuid_regs extd[CPU_POLICY_EXTD];
    u32 hv_limit, hv2_limit; /* what a toolstack may cap leaves 0x40000000 and 0x40000100 to; 0: no cap */
    u64 platform_info;       /* MSR 0xce: bit 31 says that CPUID faulting exists */
    u64 arch_caps;           /* MSR 0x10a */
};

/* The policies of the machine, numbered as XEN_SYSCTL_cpu_policy_*; NULL: this hypervisor has none (HVM). */
#define CPU_POLICY_SYSTEM_COUNT 6u
extern const struct cpuid_policy *cpu_policy_system[CPU_POLICY_SYSTEM_COUNT];

/* Boot: reads all leaves of the CPU through @cpuid (leaf, subleaf, EAX EBX ECX EDX). */
void cpu_policy_read(struct cpuid_policy *policy, void (*cpuid)(u32 leaf, u32 subleaf, u32 ret_regs[4]));

/*
 * The registers of a leaf below 0x40000000 or from 0x80000000 on; NULL when the policy has no such leaf
 * (all zeros).
 */
const struct cpuid_regs *cpu_policy_find(const struct cpuid_policy *policy, u32 leaf, u32 subleaf);

/* What @d sees: its own policy or the default for its kind. */
const struct cpuid_policy *cpu_policy_of(const struct domain *d);

/* The features as an array of words, in the order that XEN_SYSCTL_get_cpu_featureset gives them. */
#define CPU_FEATURESET_WORDS 19u
void cpu_policy_featureset(const struct cpuid_policy *policy, u32 ret_words[CPU_FEATURESET_WORDS]);

/*
 * Leaves and MSRs in the wire's order; at most CPU_POLICY_LEAVES_MAX (CPU_POLICY_MSRS_MAX); the count is
 * the result.
 */
unsigned cpu_policy_to_leaves(const struct cpuid_policy *policy, struct xen_cpuid_leaf *leaves);
unsigned cpu_policy_to_msrs(const struct cpuid_policy *policy, struct xen_msr_entry *msrs);

/*
 * One leaf or MSR of the wire into @policy.  -ERANGE: no room for such a leaf or MSR; -EINVAL: a reserved
 * field is set; -EOVERFLOW: the value has bits that the policy cannot hold.
 */
int cpu_policy_set_leaf(struct cpuid_policy *policy, const struct xen_cpuid_leaf *leaf);
int cpu_policy_set_msr(struct cpuid_policy *policy, const struct xen_msr_entry *msr);

/* Zeroes leaves past the policy's own limits. */
void cpu_policy_trim(struct cpuid_policy *policy);

/* What a check objected to: all ones where it has no say. */
struct cpu_policy_error {
    u32 leaf, subleaf, msr;
};
/* clang-format off */
#define CPU_POLICY_NO_ERROR {~0u, ~0u, ~0u}
/* clang-format on */

/* Whether a guest may be promised @guest on a machine that can give @max; -EINVAL, *@ret_error says why. */
int cpu_policy_check(const struct cpuid_policy *max, const struct cpuid_policy *guest,
                     struct cpu_policy_error *ret_error);

/*
 * Takes from @guest each feature that @max lacks, so that a toolstack cannot promise what is not there.
 * Topology, cache and brand leaves stay as given.
 */
void cpu_policy_clamp(struct cpuid_policy *guest, const struct cpuid_policy *max);

#endif
