/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The handlers of XEN_DOMCTL_*, spread over domctl*.c; the table in domctl.c says what holds when one is
 * called.
 */
#ifndef SERAI_HYPERCALL_DOMCTL_H
#define SERAI_HYPERCALL_DOMCTL_H

#include "domain/domain.h"

typedef int domctl_fn(struct domain *d, struct xen_domctl *op);

/* Also for XEN_SYSCTL_getdomaininfolist. */
void domctl_fill_info(struct domain *d, struct xen_domctl_getdomaininfo *ret_info);

/*
 * Sets of CPUs and nodes in the caller's memory.  Writing fills all bytes the caller has, with zeroes past
 * @count bits; reading drops what is past @count bits.  -EFAULT, or -EINVAL for a set larger than any
 * machine's.
 */
int put_bitmap(const struct xenctl_bitmap *map, const u64 *bits, u32 count);
int get_bitmap(const struct xenctl_bitmap *map, u64 *ret_bits, u32 count);

struct cpuid_policy;
/*
 * Leaves or MSRs of @policy to arrays of the caller's; a NULL array asks how long it may be.  -ENOBUFS,
 * -EFAULT, -ENOMEM.
 */
int put_policy_leaves(const struct cpuid_policy *policy, u64 array, u32 *count);
int put_policy_msrs(const struct cpuid_policy *policy, u64 array, u32 *count);

/* domctl.c: life and death, names, the toolstack's notes */
domctl_fn domctl_createdomain, domctl_destroydomain, domctl_pausedomain;
domctl_fn domctl_unpausedomain, domctl_resumedomain;
domctl_fn domctl_getdomaininfo, domctl_setdomainhandle, domctl_setdebugging, domctl_settimeoffset;
domctl_fn domctl_set_target, domctl_subscribe, domctl_set_virq_handler;
domctl_fn domctl_soft_reset, domctl_scheduler_op;
domctl_fn domctl_gettscinfo, domctl_settscinfo, domctl_setnodeaffinity, domctl_getnodeaffinity;
domctl_fn domctl_setvnumainfo;

/* domctl-vcpu.c: vCPUs and their registers */
domctl_fn domctl_max_vcpus, domctl_setvcpucontext, domctl_getvcpucontext, domctl_getvcpuinfo;
domctl_fn domctl_setvcpuaffinity, domctl_getvcpuaffinity, domctl_sendtrigger;
domctl_fn domctl_set_address_size, domctl_get_address_size;

/* domctl-state.c: what a saved vCPU has beyond its context; CPU policies */
domctl_fn domctl_set_ext_vcpucontext, domctl_get_ext_vcpucontext, domctl_setvcpuextstate;
domctl_fn domctl_getvcpuextstate;
domctl_fn domctl_get_vcpu_msrs, domctl_set_vcpu_msrs, domctl_get_cpu_policy, domctl_set_cpu_policy;

/* domctl-memory.c: frames and devices */
domctl_fn domctl_max_mem, domctl_getpageframeinfo3, domctl_shadow_op, domctl_hypercall_init;
domctl_fn domctl_irq_permission, domctl_iomem_permission, domctl_ioport_permission, domctl_memory_mapping;

#endif
