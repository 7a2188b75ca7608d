/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* XEN_DOMCTL_* for what a saved vCPU has beyond vcpu_guest_context, and for CPU policies. */
#include "hypercall/domctl.h"
#include "hypercall/hypercall.h"
#include "base/string.h"
#include "domain/cpu-policy.h"
#include "mm/guest-copy.h"
#include "mm/heap.h"
#include "x86/pte.h"

#define VMCE_OFFSET offsetof(struct xen_domctl_ext_vcpucontext, vmce)

/* --- entry points for compatibility mode; machine checks --- */

int
domctl_get_ext_vcpucontext(struct domain *d, struct xen_domctl *op)
{
    struct xen_domctl_ext_vcpucontext *ext = &op->u.ext_vcpucontext;
    struct vcpu *v = vcpu_find(d, ext->vcpu);
    u32 id = ext->vcpu;

    if (!v)
        return -ESRCH;
    memset(ext, 0, sizeof(*ext));
    ext->vcpu = id;
    ext->size = sizeof(*ext);
    if (!domain_is_pv(d))
        return 0;
    ext->sysenter_callback_cs = v->pv.callback[PV_CB_SYSENTER].cs;
    ext->sysenter_callback_eip = v->pv.callback[PV_CB_SYSENTER].rip;
    ext->sysenter_disables_events = v->pv.callback[PV_CB_SYSENTER].flags & PV_CALLBACK_MASK_EVENTS;
    ext->syscall32_callback_cs = v->pv.callback[PV_CB_SYSCALL32].cs;
    ext->syscall32_callback_eip = v->pv.callback[PV_CB_SYSCALL32].rip;
    ext->syscall32_disables_events = v->pv.callback[PV_CB_SYSCALL32].flags & PV_CALLBACK_MASK_EVENTS;
    return 0;
}

static void
set_callback(struct pv_callback *callback, u64 rip, u16 cs, bool masks_events)
{
    callback->rip = rip;
    callback->cs = cs & ~3u ? cs | 3u : cs;
    callback->flags = masks_events ? PV_CALLBACK_MASK_EVENTS : 0;
}

/* Virtual machine check banks are not offered, so what a stream says of them is dropped. */
int
domctl_set_ext_vcpucontext(struct domain *d, struct xen_domctl *op)
{
    const struct xen_domctl_ext_vcpucontext *ext = &op->u.ext_vcpucontext;
    struct vcpu *v = vcpu_find(d, ext->vcpu);

    if (!v)
        return -ESRCH;
    if (ext->size < VMCE_OFFSET || !va_is_canonical(ext->sysenter_callback_eip) ||
        !va_is_canonical(ext->syscall32_callback_eip))
        return -EINVAL;
    if (!domain_is_pv(d))
        return 0;
    set_callback(&v->pv.callback[PV_CB_SYSENTER], ext->sysenter_callback_eip, ext->sysenter_callback_cs,
                 ext->sysenter_disables_events);
    set_callback(&v->pv.callback[PV_CB_SYSCALL32], ext->syscall32_callback_eip, ext->syscall32_callback_cs,
                 ext->syscall32_disables_events);
    return 0;
}

/* --- XSAVE state: XCR0, all that XCR0 ever was, then the area in the standard format --- */

#define XSTATE_HEADER    (2 * sizeof(u64))
#define XSTATE_AREA_MIN  576u
#define XSTATE_BV_OFFSET 512u

/* Bytes of an area with the components of @xcr0. */
static u32
xstate_area_size(u64 xcr0)
{
    const struct cpuid_policy *host = cpu_policy_system[XEN_SYSCTL_cpu_policy_host];
    u32 size = XSTATE_AREA_MIN;

    if (!xcr0 || !host)
        return 0;
    for (u32 i = 2; i < CPU_POLICY_XSTATE; i++)
        if (xcr0 >> i & 1)
            size = MAX(size, host->xstate[i].a + host->xstate[i].b);
    return MIN(size, fpu_area_size);
}

int
domctl_getvcpuextstate(struct domain *d, struct xen_domctl *op)
{
    struct xen_domctl_vcpuextstate *ext = &op->u.vcpuextstate;
    struct vcpu *v = vcpu_find(d, ext->vcpu);
    u32 area_size;
    u64 *buf;
    int rc;

    if (!v)
        return -ESRCH;
    if ((!ext->size && !ext->xfeature_mask) || guest_handle_is_null(ext->buffer)) {
        ext->xfeature_mask = fpu_xcr0_mask;
        ext->size = XSTATE_HEADER + xstate_area_size(fpu_xcr0_mask);
        return 0;
    }

    area_size = xstate_area_size(v->xcr0_accum);
    if (ext->size < XSTATE_HEADER + area_size || ext->xfeature_mask != fpu_xcr0_mask)
        return -EINVAL;
    buf = heap_zalloc(XSTATE_HEADER + area_size);
    if (!buf)
        return -ENOMEM;
    buf[0] = v->xcr0;
    buf[1] = v->xcr0_accum;
    if (area_size) {
        memcpy(buf + 2, fpu_area_raw(v->fpu), area_size);
        buf[2 + XSTATE_BV_OFFSET / sizeof(u64)] &= v->xcr0_accum;
    }
    rc = copy_to_guest((u64)ext->buffer.p, buf, XSTATE_HEADER + area_size);
    heap_free(buf);
    if (!rc)
        ext->size = XSTATE_HEADER + area_size;
    return rc;
}

/* @buf: the whole record, of @size bytes. */
static int
set_extstate(struct vcpu *v, const u64 *buf, u32 size)
{
    u64 xcr0 = buf[0], accum = buf[1];

    if (!accum)
        return xcr0 || size != XSTATE_HEADER ? -EINVAL : 0;
    if (size < XSTATE_HEADER + XSTATE_AREA_MIN || !xcr0_is_valid(accum, fpu_xcr0_mask) ||
        !xcr0_is_valid(xcr0, accum))
        return -EINVAL;
    if (buf[2 + XSTATE_BV_OFFSET / sizeof(u64) + 1])
        return -EOPNOTSUPP; /* the compacted format */
    if (size != XSTATE_HEADER + xstate_area_size(accum))
        return -EINVAL;
    if (!fpu_area_set(v->fpu, buf + 2, size - XSTATE_HEADER, accum))
        return -EINVAL;
    v->xcr0 = xcr0;
    v->xcr0_accum = accum;
    return 0;
}

int
domctl_setvcpuextstate(struct domain *d, struct xen_domctl *op)
{
    const struct xen_domctl_vcpuextstate *ext = &op->u.vcpuextstate;
    struct vcpu *v = vcpu_find(d, ext->vcpu);
    u64 *buf;
    int rc;

    if (!v)
        return -ESRCH;
    if (ext->size < XSTATE_HEADER || ext->size > XSTATE_HEADER + xstate_area_size(fpu_xcr0_mask))
        return -EINVAL;
    buf = heap_alloc(ext->size);
    if (!buf)
        return -ENOMEM;
    rc = copy_from_guest(buf, (u64)ext->buffer.p, ext->size);
    if (!rc)
        rc = set_extstate(v, buf, (u32)ext->size);
    heap_free(buf);
    return rc;
}

/* --- MSRs that belong to a vCPU; TSC_AUX is the only one that PV guests here can have --- */

#define MSR_TSC_AUX   0xc0000103u
#define VCPU_MSRS_MAX 1u

int
domctl_get_vcpu_msrs(struct domain *d, struct xen_domctl *op)
{
    struct xen_domctl_vcpu_msrs *msrs = &op->u.vcpu_msrs;
    struct vcpu *v = vcpu_find(d, msrs->vcpu);
    struct xen_domctl_vcpu_msr msr = {.index = MSR_TSC_AUX};
    u32 room = msrs->msr_count;

    if (!v)
        return -ESRCH;
    if (guest_handle_is_null(msrs->msrs)) {
        msrs->msr_count = VCPU_MSRS_MAX;
        return 0;
    }
    msr.value = v->tsc_aux;
    msrs->msr_count = msr.value ? 1 : 0; /* zero is what a new vCPU has */
    if (room < msrs->msr_count)
        return -ENOBUFS;
    return msrs->msr_count ? put_guest(msrs->msrs, 0, &msr) : 0;
}

int
domctl_set_vcpu_msrs(struct domain *d, struct xen_domctl *op)
{
    struct xen_domctl_vcpu_msrs *msrs = &op->u.vcpu_msrs;
    struct vcpu *v = vcpu_find(d, msrs->vcpu);
    u32 count = msrs->msr_count;

    if (!v)
        return -ESRCH;
    if (count > VCPU_MSRS_MAX)
        return -EINVAL;
    for (u32 i = 0; i < count; i++) {
        struct xen_domctl_vcpu_msr msr;

        msrs->msr_count = i; /* where it failed, if it fails */
        if (get_guest(msrs->msrs, i, &msr))
            return -EFAULT;
        if (msr.reserved || msr.index != MSR_TSC_AUX || msr.value != (u32)msr.value)
            return -EINVAL;
        v->tsc_aux = (u32)msr.value;
    }
    msrs->msr_count = count;
    return 0;
}

/* --- CPU policies --- */

int
put_policy_leaves(const struct cpuid_policy *policy, u64 array, u32 *count)
{
    struct xen_cpuid_leaf *leaves;
    unsigned n;
    int rc = -ENOBUFS;

    if (!array) {
        *count = CPU_POLICY_LEAVES_MAX;
        return 0;
    }
    leaves = heap_alloc(CPU_POLICY_LEAVES_MAX * sizeof(leaves[0]));
    if (!leaves)
        return -ENOMEM;
    n = cpu_policy_to_leaves(policy, leaves);
    if (n <= *count)
        rc = copy_to_guest(array, leaves, n * sizeof(leaves[0]));
    heap_free(leaves);
    if (!rc)
        *count = n;
    return rc;
}

int
put_policy_msrs(const struct cpuid_policy *policy, u64 array, u32 *count)
{
    struct xen_msr_entry msrs[CPU_POLICY_MSRS_MAX];
    unsigned n;
    int rc;

    if (!array) {
        *count = CPU_POLICY_MSRS_MAX;
        return 0;
    }
    n = cpu_policy_to_msrs(policy, msrs);
    if (n > *count)
        return -ENOBUFS;
    rc = copy_to_guest(array, msrs, n * sizeof(msrs[0]));
    if (!rc)
        *count = n;
    return rc;
}

int
domctl_get_cpu_policy(struct domain *d, struct xen_domctl *op)
{
    struct xen_domctl_cpu_policy *args = &op->u.cpu_policy;
    const struct cpuid_policy *policy = cpu_policy_of(d);
    int rc;

    if (!policy)
        return -EOPNOTSUPP;
    rc = put_policy_leaves(policy, (u64)args->leaves.p, &args->nr_leaves);
    if (!rc)
        rc = put_policy_msrs(policy, (u64)args->msrs.p, &args->nr_msrs);
    return rc;
}

/* Merges the toolstack's leaves and MSRs into @policy. */
static int
get_policy(struct cpuid_policy *policy, const struct xen_domctl_cpu_policy *args,
           struct cpu_policy_error *error)
{
    if (args->nr_leaves > CPU_POLICY_LEAVES_MAX || args->nr_msrs > CPU_POLICY_MSRS_MAX)
        return -E2BIG;

    for (u32 i = 0; i < args->nr_leaves; i++) {
        struct xen_cpuid_leaf leaf;
        int rc;

        if (get_guest(args->leaves, i, &leaf))
            return -EFAULT;
        rc = cpu_policy_set_leaf(policy, &leaf);
        if (rc) {
            error->leaf = leaf.leaf;
            error->subleaf = leaf.subleaf;
            return rc;
        }
    }
    for (u32 i = 0; i < args->nr_msrs; i++) {
        struct xen_msr_entry msr;
        int rc;

        if (get_guest(args->msrs, i, &msr))
            return -EFAULT;
        rc = cpu_policy_set_msr(policy, &msr);
        if (rc) {
            error->msr = msr.idx;
            return rc;
        }
    }
    return 0;
}

/*
 * Replaces the policy of a domain that has not run: the current one with the changes asked for, within what
 * PV can have.
 */
int
domctl_set_cpu_policy(struct domain *d, struct xen_domctl *op)
{
    struct xen_domctl_cpu_policy *args = &op->u.cpu_policy;
    const struct cpuid_policy *max =
        cpu_policy_system[domain_is_pv(d) ? XEN_SYSCTL_cpu_policy_pv_max : XEN_SYSCTL_cpu_policy_hvm_max];
    const struct cpuid_policy *old = cpu_policy_of(d);
    struct cpu_policy_error error = CPU_POLICY_NO_ERROR;
    struct cpuid_policy *new;
    int rc;

    if (!max || !old)
        return -EOPNOTSUPP;
    if (d->creation_finished)
        return -EEXIST;
    new = heap_alloc(sizeof(*new));
    if (!new)
        return -ENOMEM;
    *new = *old;
    rc = get_policy(new, args, &error);
    if (rc)
        goto free_new;
    cpu_policy_trim(new);
    rc = cpu_policy_check(max, new, &error);
    if (rc)
        goto free_new;
    cpu_policy_clamp(new, max);

    /* The domain is paused and only its own vCPUs read this outside d->lock. */
    heap_free(d->cpuid);
    d->cpuid = new;
    return 0;

free_new:
    heap_free(new);
    args->err_leaf = error.leaf;
    args->err_subleaf = error.subleaf;
    args->err_msr = error.msr;
    return rc;
}
