/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* XEN_SYSCTL_* on physical CPUs: where they sit, how idle they are, what they can do. */
#include "hypercall/sysctl.h"
#include "hypercall/domctl.h"
#include "hypercall/hypercall.h"
#include "domain/cpu-policy.h"
#include "domain/sched.h"
#include "mm/guest-copy.h"
#include "x86/apic.h"
#include "x86/cpu.h"

/* --- topology --- */

static u32
socket_of(u32 cpu)
{
    return apic_id_of(cpu) >> (cpu_features.thread_bits + cpu_features.core_bits);
}

static u32
core_of(u32 cpu)
{
    return apic_id_of(cpu) >> cpu_features.thread_bits & ((1u << cpu_features.core_bits) - 1);
}

void
sysctl_fill_topology(struct xen_sysctl_physinfo *info)
{
    u32 cpu, siblings = 0, in_socket = 0;

    for_each_online_cpu(cpu) {
        if (socket_of(cpu) != socket_of(0))
            continue;
        in_socket++;
        if (core_of(cpu) == core_of(0))
            siblings++;
    }
    info->threads_per_core = MAX(siblings, 1u);
    info->cores_per_socket = MAX(in_socket / info->threads_per_core, 1u);
}

int
sysctl_cputopoinfo(struct xen_sysctl *op)
{
    struct xen_sysctl_cputopoinfo *args = &op->u.cputopoinfo;
    u32 count = cpu_limit;

    if (!guest_handle_is_null(args->cputopo)) {
        count = MIN(count, args->num_cpus);
        for (u32 cpu = 0; cpu < count; cpu++) {
            struct xen_sysctl_cputopo place = {~0u, ~0u, ~0u}; /* XEN_INVALID_*_ID */

            if (cpumask_test(&cpu_online, cpu))
                place = (struct xen_sysctl_cputopo){core_of(cpu), socket_of(cpu), 0};
            if (put_guest(args->cputopo, cpu, &place))
                return -EFAULT;
        }
    }
    args->num_cpus = count;
    return 0;
}

int
sysctl_getcpuinfo(struct xen_sysctl *op)
{
    struct xen_sysctl_getcpuinfo *args = &op->u.getcpuinfo;
    u32 count = MIN(args->max_cpus, cpu_limit);

    for (u32 cpu = 0; cpu < count; cpu++) {
        struct xen_sysctl_cpuinfo info = {.idletime = 0};

        if (cpumask_test(&cpu_online, cpu))
            info.idletime = sched_cpu_idle_ns(cpu);
        if (put_guest(args->info, cpu, &info))
            return -EFAULT;
    }
    args->nr_cpus = count;
    return 0;
}

/* --- what stays as the firmware and the CPU have it --- */

int
sysctl_cpu_hotplug(struct xen_sysctl *op)
{
    (void)op;
    return -EOPNOTSUPP;
}

int
sysctl_get_pmstat(struct xen_sysctl *op)
{
    if (op->u.get_pmstat.cpuid >= cpu_limit || !cpumask_test(&cpu_online, op->u.get_pmstat.cpuid))
        return -EINVAL;
    return -ENODEV;
}

int
sysctl_pm_op(struct xen_sysctl *op)
{
    return (op->u.pm_op.cmd & PM_PARA_CATEGORY_MASK) == CPUFREQ_PARA ? -ENODEV : -EOPNOTSUPP;
}

int
sysctl_get_cpu_levelling_caps(struct xen_sysctl *op)
{
    op->u.cpu_levelling_caps.caps = 0; /* CPUID cannot be masked for PV guests' user programs */
    return 0;
}

/* --- policies --- */

int
sysctl_get_cpu_featureset(struct xen_sysctl *op)
{
    static const u8 policies[] = {
        [XEN_SYSCTL_cpu_featureset_raw] = XEN_SYSCTL_cpu_policy_raw,
        [XEN_SYSCTL_cpu_featureset_host] = XEN_SYSCTL_cpu_policy_host,
        [XEN_SYSCTL_cpu_featureset_pv] = XEN_SYSCTL_cpu_policy_pv_default,
        [XEN_SYSCTL_cpu_featureset_hvm] = XEN_SYSCTL_cpu_policy_hvm_default,
        [XEN_SYSCTL_cpu_featureset_pv_max] = XEN_SYSCTL_cpu_policy_pv_max,
        [XEN_SYSCTL_cpu_featureset_hvm_max] = XEN_SYSCTL_cpu_policy_hvm_max,
    };
    struct xen_sysctl_cpu_featureset *args = &op->u.cpu_featureset;
    const struct cpuid_policy *policy;
    u32 words[CPU_FEATURESET_WORDS];

    if (guest_handle_is_null(args->features)) {
        args->nr_features = CPU_FEATURESET_WORDS;
        return 0;
    }
    if (args->index >= ARRAY_SIZE(policies))
        return -EINVAL;
    policy = cpu_policy_system[policies[index_nospec(args->index, ARRAY_SIZE(policies))]];
    if (!policy)
        return -EOPNOTSUPP;

    cpu_policy_featureset(policy, words);
    args->nr_features = MIN(args->nr_features, CPU_FEATURESET_WORDS);
    if (copy_to_guest((u64)args->features.p, words, args->nr_features * sizeof(words[0])))
        return -EFAULT;
    return args->nr_features < CPU_FEATURESET_WORDS ? -ENOBUFS : 0;
}

int
sysctl_get_cpu_policy(struct xen_sysctl *op)
{
    struct xen_sysctl_cpu_policy *args = &op->u.cpu_policy;
    const struct cpuid_policy *policy;
    int rc;

    if (args->_rsvd || args->index >= CPU_POLICY_SYSTEM_COUNT)
        return -EINVAL;
    policy = cpu_policy_system[index_nospec(args->index, CPU_POLICY_SYSTEM_COUNT)];
    if (!policy)
        return -EOPNOTSUPP;

    rc = put_policy_leaves(policy, (u64)args->leaves.p, &args->nr_leaves);
    if (!rc)
        rc = put_policy_msrs(policy, (u64)args->msrs.p, &args->nr_msrs);
    return rc;
}
