/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tools may read and set of the CPUID that a domain sees; pv_cpuid() (pv/pv.h) is the guest's side. */
#ifndef SERAI_PV_CPUID_H
#define SERAI_PV_CPUID_H

#include "domain/domain.h"

/* Leaves and subleaves that a policy can have. */
#define CPUID_LEAVES_MAX 128u

struct cpuid_policy {
    unsigned count;
    xen_cpuid_leaf_t leaves[CPUID_LEAVES_MAX];
};

/*
 * The leaves of a domain, or of a PV domain that nobody configured (@d NULL), as XEN_DOMCTL_get_cpu_policy and
 * XEN_SYSCTL_get_cpu_policy list them; returns how many there are, at most CPUID_LEAVES_MAX.
 */
unsigned cpuid_policy_get(const struct domain *d, xen_cpuid_leaf_t leaves[CPUID_LEAVES_MAX]);

/* The same of the machine itself, nothing hidden. */
unsigned cpuid_raw_get(xen_cpuid_leaf_t leaves[CPUID_LEAVES_MAX]);

/*
 * XEN_DOMCTL_set_cpu_policy, on a domain that has not run.  Features that PV guests cannot have are taken out silently when the guest asks, not here.
 * -EINVAL for a leaf that is out of range, -ENOMEM.
 */
int cpuid_policy_set(struct domain *d, const xen_cpuid_leaf_t *leaves, unsigned count);
void cpuid_policy_fini(struct domain *d);

#endif
