/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * HYPERVISOR_sysctl: what a toolstack asks of the machine and the hypervisor.  Nothing here takes a lock of
 * its own; what is read is a moment's picture.
 */
#include "hypercall/sysctl.h"
#include "hypercall/domctl.h"
#include "hypercall/hypercall.h"
#include "hypercall/platform.h"
#include "base/log.h"
#include "base/string.h"
#include "domain/cpu-policy.h"
#include "domain/sched.h"
#include "mm/frame-alloc.h"
#include "mm/guest-copy.h"
#include "x86/tsc.h"

/*
 * Domains that XEN_SYSCTL_getdomaininfolist describes, keys that are pressed, before others get their turn.
 */
#define DOMAINS_AT_A_STRETCH 64u
#define KEYS_AT_A_STRETCH    4u

/*
 * In op->cmd while a call goes on where it stopped: what its handler left in the struct is ours, not the
 * caller's.
 */
#define SYSCTL_CONTINUED 0x80000000u

struct sysctl {
    sysctl_fn *handler;
    bool out; /* success has changed the struct; the caller gets it back */
};

static int
sysctl_readconsole(struct xen_sysctl *op)
{
    struct xen_sysctl_readconsole *args = &op->u.readconsole;
    u32 index = args->incremental ? args->index : 0, done = 0;
    char buf[256];

    while (done < args->count) {
        size_t n = log_read(&index, buf, MIN(args->count - done, (u32)sizeof(buf)));

        if (!n)
            break;
        if (copy_to_guest((u64)args->buffer.p + done, buf, n))
            return -EFAULT;
        done += (u32)n;
    }
    if (args->clear)
        log_clear();
    args->index = index;
    args->count = done;
    return 0;
}

static u64
claims(void)
{
    struct domain *d;
    u64 sum = 0;

    for_each_domain(d)
        sum += READ_ONCE(d->page_claim);
    return sum;
}

static int
sysctl_physinfo(struct xen_sysctl *op)
{
    struct xen_sysctl_physinfo *info = &op->u.physinfo;
    const struct cpuid_policy *host = cpu_policy_system[XEN_SYSCTL_cpu_policy_host];
    u32 words[CPU_FEATURESET_WORDS];

    memset(info, 0, sizeof(*info));
    sysctl_fill_topology(info);
    info->nr_cpus = cpumask_weight(&cpu_online);
    info->max_cpu_id = cpu_limit - 1;
    info->nr_nodes = 1;
    info->cpu_khz = tsc_khz;
    info->capabilities = XEN_SYSCTL_PHYSCAP_pv | XEN_SYSCTL_PHYSCAP_gnttab_v1;
    info->total_pages = frame_total_count();
    info->free_pages = frame_free_count();
    info->outstanding_pages = claims();
    info->max_mfn = frame_limit - 1;
    if (host) {
        cpu_policy_featureset(host, words);
        memcpy(info->hw_cap, words, sizeof(info->hw_cap));
    }
    return 0;
}

static int
sysctl_sched_id(struct xen_sysctl *op)
{
    op->u.sched_id.sched_id = XEN_SCHEDULER_CREDIT2;
    return 0;
}

/*
 * The result's own field counts while the call goes on.  A caller who pretends that one does gets a wrong
 * count into memory of its own.
 */
static int
sysctl_getdomaininfolist(struct xen_sysctl *op)
{
    struct xen_sysctl_getdomaininfolist *args = &op->u.getdomaininfolist;
    u32 done = op->cmd & SYSCTL_CONTINUED ? args->num_domains : 0;
    unsigned budget = DOMAINS_AT_A_STRETCH;
    struct domain *d;

    for_each_domain(d) {
        struct xen_domctl_getdomaininfo info;

        if (d->id < args->first_domain)
            continue;
        if (done >= args->max_domains)
            break;
        if (!budget--) {
            args->first_domain = d->id;
            args->num_domains = done;
            return -ERESTART;
        }
        domctl_fill_info(d, &info);
        if (put_guest(args->buffer, done, &info))
            return -EFAULT;
        done++;
    }
    args->num_domains = done;
    return 0;
}

static int
sysctl_debug_keys(struct xen_sysctl *op)
{
    struct xen_sysctl_debug_keys *args = &op->u.debug_keys;

    for (unsigned i = 0; args->nr_keys; i++) {
        char key;

        if (i == KEYS_AT_A_STRETCH)
            return -ERESTART;
        if (copy_from_guest(&key, (u64)args->keys.p, 1))
            return -EFAULT;
        debug_key(key);
        args->keys.p++;
        args->nr_keys--;
    }
    return 0;
}

static int
sysctl_availheap(struct xen_sysctl *op)
{
    op->u.availheap.avail_bytes = op->u.availheap.node > 0 ? 0 : frame_free_count() << PAGE_SHIFT;
    return 0;
}

/* All memory and all CPUs are one node, at distance 10 from itself as the ACPI tables say it. */
static int
sysctl_numainfo(struct xen_sysctl *op)
{
    struct xen_sysctl_numainfo *args = &op->u.numainfo;
    struct xen_sysctl_meminfo memory = {frame_total_count() << PAGE_SHIFT, frame_free_count() << PAGE_SHIFT};
    u32 distance = 10;
    bool asks_count = guest_handle_is_null(args->meminfo) && guest_handle_is_null(args->distance);

    if (!asks_count && !args->num_nodes)
        return 0;
    if (!guest_handle_is_null(args->meminfo) && put_guest(args->meminfo, 0, &memory))
        return -EFAULT;
    if (!guest_handle_is_null(args->distance) && put_guest(args->distance, 0, &distance))
        return -EFAULT;
    args->num_nodes = 1;
    return 0;
}

/* Which node a device is near to is not known; the caller's array says so for each. */
static int
sysctl_pcitopoinfo(struct xen_sysctl *op)
{
    struct xen_sysctl_pcitopoinfo *args = &op->u.pcitopoinfo;
    u32 node = XEN_INVALID_NODE_ID;

    if (guest_handle_is_null(args->devs) || guest_handle_is_null(args->nodes))
        return -EINVAL;
    args->num_devs = MIN(args->num_devs, PREEMPT_BUDGET); /* the caller asks again for the rest */
    for (u32 i = 0; i < args->num_devs; i++)
        if (put_guest(args->nodes, i, &node))
            return -EFAULT;
    return 0;
}

static int
sysctl_cpupool_op(struct xen_sysctl *op)
{
    return sched_cpupool_op(&op->u.cpupool_op);
}

static int
sysctl_scheduler_op(struct xen_sysctl *op)
{
    return sched_sysctl(&op->u.scheduler_op);
}

static int
sysctl_not_supported(struct xen_sysctl *op)
{
    (void)op;
    return -EOPNOTSUPP;
}

static int
sysctl_no_device(struct xen_sysctl *op)
{
    (void)op;
    return -ENODEV;
}

/*
 * In ABI order.  A number without a row answers -ENOSYS: trace buffers, counters, lock profiles, live
 * patches.
 */
static const struct sysctl sysctls[] = {
    [XEN_SYSCTL_readconsole] = {sysctl_readconsole, true},
    [XEN_SYSCTL_physinfo] = {sysctl_physinfo, true},
    [XEN_SYSCTL_sched_id] = {sysctl_sched_id, true},
    [XEN_SYSCTL_getdomaininfolist] = {sysctl_getdomaininfolist, true},
    [XEN_SYSCTL_debug_keys] = {sysctl_debug_keys, false},
    [XEN_SYSCTL_getcpuinfo] = {sysctl_getcpuinfo, true},
    [XEN_SYSCTL_availheap] = {sysctl_availheap, true},
    [XEN_SYSCTL_get_pmstat] = {sysctl_get_pmstat, false},
    [XEN_SYSCTL_cpu_hotplug] = {sysctl_cpu_hotplug, false},
    [XEN_SYSCTL_pm_op] = {sysctl_pm_op, false},
    [XEN_SYSCTL_cputopoinfo] = {sysctl_cputopoinfo, true},
    [XEN_SYSCTL_numainfo] = {sysctl_numainfo, true},
    [XEN_SYSCTL_cpupool_op] = {sysctl_cpupool_op, true},
    [XEN_SYSCTL_scheduler_op] = {sysctl_scheduler_op, true},
    [XEN_SYSCTL_coverage_op] = {sysctl_not_supported, false},
    [XEN_SYSCTL_psr_cmt_op] = {sysctl_no_device, false},
    [XEN_SYSCTL_pcitopoinfo] = {sysctl_pcitopoinfo, true},
    [XEN_SYSCTL_psr_alloc] = {sysctl_no_device, false},
    [XEN_SYSCTL_get_cpu_levelling_caps] = {sysctl_get_cpu_levelling_caps, true},
    [XEN_SYSCTL_get_cpu_featureset] = {sysctl_get_cpu_featureset, true},
    [XEN_SYSCTL_get_cpu_policy] = {sysctl_get_cpu_policy, true},
};

/* arg: struct xen_sysctl. */
s64
hypercall_sysctl(u64 *arg)
{
    const struct sysctl *row;
    struct xen_sysctl op;
    u32 cmd;
    int rc;

    if (copy_from_guest(&op, arg[0], sizeof(op)))
        return -EFAULT;
    if (op.interface_version != XEN_SYSCTL_INTERFACE_VERSION)
        return -EACCES;
    cmd = op.cmd & ~SYSCTL_CONTINUED;
    if (cmd >= ARRAY_SIZE(sysctls) || !sysctls[cmd].handler)
        return -ENOSYS;
    row = &sysctls[index_nospec(cmd, ARRAY_SIZE(sysctls))];

    rc = row->handler(&op);
    op.cmd = cmd | (rc == -ERESTART ? SYSCTL_CONTINUED : 0);
    /* Handlers that go on later, or had room for a part only, have left how far they came in the struct. */
    if (((!rc || rc == -ENOBUFS) && row->out) || rc == -ERESTART)
        if (copy_to_guest(arg[0], &op, sizeof(op)))
            return -EFAULT;
    return rc;
}
