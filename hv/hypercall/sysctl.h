/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The handlers of XEN_SYSCTL_*: the machine's in sysctl.c, its CPUs' in sysctl-cpu.c; the table is in
 * sysctl.c.
 */
#ifndef SERAI_HYPERCALL_SYSCTL_H
#define SERAI_HYPERCALL_SYSCTL_H

#include "abi/xen.h"

typedef int sysctl_fn(struct xen_sysctl *op);

sysctl_fn sysctl_getcpuinfo, sysctl_cputopoinfo, sysctl_cpu_hotplug, sysctl_get_cpu_featureset;
sysctl_fn sysctl_get_cpu_levelling_caps, sysctl_get_cpu_policy, sysctl_get_pmstat, sysctl_pm_op;

/* Of the CPU that boots: how many online CPUs share its core, and how many cores its socket has. */
void sysctl_fill_topology(struct xen_sysctl_physinfo *info);

#endif
