/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a toolstack calls, in the order it does, and with arguments that must be refused. */
#include "toolstack.h"
#include "base/log.h"
#include "base/string.h"
#include "domain/cpu-policy.h"
#include "domain/page.h"
#include "domain/permission.h"
#include "domain/sched.h"
#include "hypercall/hypercall.h"
#include "hypercall/platform.h"
#include "mm/frame-alloc.h"
#include "x86/serial.h"
#include "fake.h"

#include <glib.h>

static void
only_the_control_domain_may(void)
{
    struct xen_domctl op = {};
    struct domain *d;

    toolstack_begin();
    d = toolstack_create(1);
    fake_run_as(d->vcpus[0], 1);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getdomaininfo, 0, &op), ==, -EPERM);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_pausedomain, 0, &op), ==, -EPERM);
    d->vcpus[0]->is_running = false;
    fake_cpu_set(1);
    current = this_cpu()->idle;
    toolstack_begin();
    toolstack_destroy(d);
}

static void
header_is_checked(void)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_pausedomain, .interface_version = 0x14};
    u64 args[6] = {(u64)&op};

    toolstack_begin();
    g_assert_cmpint(hypercall_domctl(args), ==, -EACCES);
    args[0] = 0;
    g_assert_cmpint(hypercall_domctl(args), ==, -EFAULT);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_pausedomain, 4711, &op), ==, -ESRCH);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_gethvmcontext, 0, &op), ==, -ENOSYS);
    g_assert_cmpint(toolstack_domctl(5000, 0, &op), ==, -ENOSYS);
    g_assert_cmpint(toolstack_domctl(~0u, 0, &op), ==, -ENOSYS);
    /* Nobody pauses or ends itself. */
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_pausedomain, 0, &op), ==, -EINVAL);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_destroydomain, 0, &op), ==, -EINVAL);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_setvcpucontext, 0, &op), ==, -EINVAL);
}

static void
domain_lives_and_dies(void)
{
    struct xen_domctl op = {};
    struct xen_domctl_getdomaininfo *info = &op.u.getdomaininfo;
    struct vcpu_guest_context ctx = {.flags = VGCF_in_kernel | VGCF_online, .kernel_sp = 0x1234};
    struct vcpu_guest_context back = {};
    u64 free_before;
    struct domain *d;

    toolstack_begin();
    free_before = frame_free_count();
    d = toolstack_create(2);

    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getdomaininfo, d->id, &op), ==, 0);
    g_assert_cmpuint(info->domain, ==, d->id);
    g_assert_cmphex(info->flags & 0xffff, ==, XEN_DOMINF_paused);
    g_assert_cmpuint(info->max_pages, ==, 1024);
    g_assert_cmpuint(info->max_vcpu_id, ==, 1);
    g_assert_cmpuint(info->nr_online_vcpus, ==, 0);
    g_assert_cmpuint(info->shared_info_frame, ==, mfn_x(d->shared_mfn));

    op.u.vcpucontext.vcpu = 0;
    set_xen_guest_handle(op.u.vcpucontext.ctxt, &back);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getvcpucontext, d->id, &op), ==, -ENODATA);
    set_xen_guest_handle(op.u.vcpucontext.ctxt, &ctx);
    d->shared->wc_sec = 0; /* as builders leave it */
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_setvcpucontext, d->id, &op), ==, 0);
    g_assert_cmphex(toolstack_context.kernel_sp, ==, 0x1234);
    g_assert_cmpuint(d->shared->wc_sec, !=, 0);
    set_xen_guest_handle(op.u.vcpucontext.ctxt, &back);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getvcpucontext, d->id, &op), ==, 0);
    g_assert_cmphex(back.kernel_sp, ==, 0x1234);
    op.u.vcpucontext.vcpu = 2;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getvcpucontext, d->id, &op), ==, -EINVAL);

    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_unpausedomain, d->id, &op), ==, 0);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_unpausedomain, d->id, &op), ==, -EINVAL);
    op.u.getvcpuinfo.vcpu = 0;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getvcpuinfo, d->id, &op), ==, 0);
    g_assert_cmpuint(op.u.getvcpuinfo.online, ==, 1);
    op.u.getvcpuinfo.vcpu = 1;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getvcpuinfo, d->id, &op), ==, 0);
    g_assert_cmpuint(op.u.getvcpuinfo.online, ==, 0);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_pausedomain, d->id, &op), ==, 0);

    toolstack_destroy(d);
    g_assert_cmpuint(frame_free_count(), ==, free_before);
}

/* The next domain there is, as a toolstack walks the list; past the last, an error. */
static void
info_finds_the_next_domain(void)
{
    struct xen_domctl op = {};
    struct domain *a, *b;

    toolstack_begin();
    a = toolstack_create(1);
    b = toolstack_create(1);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getdomaininfo, 1, &op), ==, 0);
    g_assert_cmpuint(op.domain, ==, a->id);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getdomaininfo, a->id + 1, &op), ==, 0);
    g_assert_cmpuint(op.domain, ==, b->id);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getdomaininfo, b->id + 1, &op), ==, -ESRCH);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getdomaininfo, DOMID_SELF, &op), ==, -EINVAL);
    toolstack_destroy(a);
    toolstack_destroy(b);
}

static void
affinity_goes_in_and_out(void)
{
    struct domain *d;
    struct xen_domctl op = {};
    struct xen_domctl_vcpuaffinity *affinity = &op.u.vcpuaffinity;
    u8 hard[8] = {0x06, 0xff}, soft[8] = {0x0c};

    toolstack_begin();
    d = toolstack_create(1);
    affinity->flags = XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT;
    affinity->cpumap_hard.nr_bits = affinity->cpumap_soft.nr_bits = 64;
    set_xen_guest_handle(affinity->cpumap_hard.bitmap, hard);
    set_xen_guest_handle(affinity->cpumap_soft.bitmap, soft);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_setvcpuaffinity, d->id, &op), ==, 0);
    g_assert_cmphex(hard[0], ==, 0x06); /* what there is of it */
    g_assert_cmphex(hard[1], ==, 0);
    g_assert_cmphex(soft[0], ==, 0x04);
    memset(hard, 0xaa, sizeof(hard));
    memset(soft, 0xaa, sizeof(soft));
    affinity->cpumap_soft.nr_bits = 3; /* room for some only */
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getvcpuaffinity, d->id, &op), ==, 0);
    g_assert_cmphex(hard[0], ==, 0x06);
    g_assert_cmphex(hard[7], ==, 0);
    g_assert_cmphex(soft[0], ==, 0x0c);
    g_assert_cmphex(soft[1], ==, 0xaa);

    hard[0] = 0x40; /* no such CPU */
    affinity->flags = XEN_VCPUAFFINITY_HARD;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_setvcpuaffinity, d->id, &op), ==, -EINVAL);
    affinity->flags = 0;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_setvcpuaffinity, d->id, &op), ==, -EINVAL);
    affinity->flags = 0x80;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getvcpuaffinity, d->id, &op), ==, -EINVAL);
    affinity->flags = XEN_VCPUAFFINITY_HARD;
    affinity->vcpu = 1;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getvcpuaffinity, d->id, &op), ==, -EINVAL);
    affinity->vcpu = 0;
    affinity->cpumap_hard.nr_bits = ~0u;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getvcpuaffinity, d->id, &op), ==, -EINVAL);
    affinity->cpumap_hard.bitmap.p = NULL;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getvcpuaffinity, d->id, &op), ==, -EINVAL);
    toolstack_destroy(d);
}

static void
permissions_cannot_exceed_the_callers(void)
{
    struct domain *d;
    struct xen_domctl op = {};

    toolstack_begin();
    d = toolstack_create(1);
    op.u.ioport_permission = (struct xen_domctl_ioport_permission){0x3f8, 8, 1};
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_ioport_permission, d->id, &op), ==, 0);
    g_assert_true(ioport_permitted(d, 0x3f8, 0x3ff));
    op.u.ioport_permission.allow_access = 0;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_ioport_permission, d->id, &op), ==, 0);
    g_assert_false(ioport_permitted(d, 0x3f8, 0x3f8));
    op.u.ioport_permission = (struct xen_domctl_ioport_permission){0xffff, 2, 1};
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_ioport_permission, d->id, &op), ==, -EINVAL);
    op.u.ioport_permission = (struct xen_domctl_ioport_permission){0xffffffff, 2, 1};
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_ioport_permission, d->id, &op), ==, -EINVAL);
    op.u.ioport_permission = (struct xen_domctl_ioport_permission){0, 0, 1};
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_ioport_permission, d->id, &op), ==, -EINVAL);

    g_assert_cmpint(iomem_deny(toolstack_dom0, 0xfee00, 0xfee00), ==, 0);
    op.u.iomem_permission = (struct xen_domctl_iomem_permission){0xfed00, 0x101, 1};
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_iomem_permission, d->id, &op), ==, -EPERM);
    op.u.iomem_permission = (struct xen_domctl_iomem_permission){0xfed00, 0x100, 1};
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_iomem_permission, d->id, &op), ==, 0);
    g_assert_true(iomem_permitted(d, 0xfed00, 0xfedff));
    op.u.iomem_permission = (struct xen_domctl_iomem_permission){5, 0, 1};
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_iomem_permission, d->id, &op), ==, -EINVAL);
    op.u.iomem_permission = (struct xen_domctl_iomem_permission){5, ~0ull, 1};
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_iomem_permission, d->id, &op), ==, -EINVAL);
    op.u.irq_permission = (struct xen_domctl_irq_permission){.pirq = 256, .allow_access = 1};
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_irq_permission, d->id, &op), ==, -EINVAL);
    op.u.irq_permission.pirq = 17;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_irq_permission, d->id, &op), ==, 0);
    g_assert_true(irq_permitted(d, 17));
    op.u.memory_mapping = (struct xen_domctl_memory_mapping){.first_mfn = 0xfed00, .nr_mfns = 16};
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_memory_mapping, d->id, &op), ==, 0);
    op.u.memory_mapping.first_mfn = 0xfdd00;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_memory_mapping, d->id, &op), ==, -EPERM);
    toolstack_destroy(d);
}

/* As libxc builds a PV domain's policy: sizes, the default, the changed whole back. */
static void
cpu_policy_as_libxc_sets_it(void)
{
    struct xen_cpuid_leaf leaves[CPU_POLICY_LEAVES_MAX];
    struct xen_msr_entry msrs[CPU_POLICY_MSRS_MAX];
    struct xen_sysctl sys = {.u.cpu_policy = {.index = XEN_SYSCTL_cpu_policy_pv_default}};
    struct xen_domctl op = {};
    struct domain *d;
    u32 n;

    toolstack_begin();
    d = toolstack_create(1);
    g_assert_cmpint(toolstack_sysctl(XEN_SYSCTL_get_cpu_policy, &sys), ==, 0);
    g_assert_cmpuint(sys.u.cpu_policy.nr_leaves, ==, CPU_POLICY_LEAVES_MAX);
    g_assert_cmpuint(sys.u.cpu_policy.nr_msrs, ==, CPU_POLICY_MSRS_MAX);
    set_xen_guest_handle(sys.u.cpu_policy.leaves, leaves);
    set_xen_guest_handle(sys.u.cpu_policy.msrs, msrs);
    g_assert_cmpint(toolstack_sysctl(XEN_SYSCTL_get_cpu_policy, &sys), ==, 0);
    n = sys.u.cpu_policy.nr_leaves;
    g_assert_cmpuint(n, >, 20);
    g_assert_cmpuint(n, <, CPU_POLICY_LEAVES_MAX);

    for (unsigned i = 0; i < n; i++)
        if (leaves[i].leaf == 1)
            leaves[i].c = ~0u; /* more than there is */
    set_xen_guest_handle(op.u.cpu_policy.leaves, leaves);
    op.u.cpu_policy.nr_leaves = n;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_set_cpu_policy, d->id, &op), ==, 0);
    g_assert_cmphex(cpu_policy_of(d)->basic[1].c, ==, cpu_policy_of(toolstack_dom0)->basic[1].c);
    g_assert_true(d->cpuid && !toolstack_dom0->cpuid);

    leaves[0].leaf = 0x12345678;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_set_cpu_policy, d->id, &op), ==, -ERANGE);
    g_assert_cmphex(op.u.cpu_policy.err_leaf, ==, 0x12345678);
    leaves[0].leaf = 0;
    leaves[0].a = 0x1d;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_set_cpu_policy, d->id, &op), ==, -EINVAL);
    g_assert_cmphex(op.u.cpu_policy.err_leaf, ==, 0);
    g_assert_cmphex(op.u.cpu_policy.err_msr, ==, ~0u);
    op.u.cpu_policy.nr_leaves = CPU_POLICY_LEAVES_MAX + 1;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_set_cpu_policy, d->id, &op), ==, -E2BIG);
    op.u.cpu_policy.nr_leaves = 3;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_get_cpu_policy, d->id, &op), ==, -ENOBUFS);

    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_unpausedomain, d->id, &op), ==, 0);
    op.u.cpu_policy.nr_leaves = 0;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_set_cpu_policy, d->id, &op), ==, -EEXIST);
    toolstack_destroy(d);
}

static void
page_info_is_told_in_stretches(void)
{
    static xen_pfn_t pfns[1024];
    struct xen_domctl op = {};
    struct domain *d;
    mfn_t mfn;

    toolstack_begin();
    d = toolstack_create(1);
    g_assert_cmpint(page_alloc(d, 0, 0, 0, &mfn), ==, 0);
    for (unsigned i = 0; i < 1024; i++)
        pfns[i] = mfn_x(mfn);
    pfns[1] = ~0ull;
    pfns[2] = mfn_x(d->shared_mfn);
    pfns[3] = mfn_x(toolstack_dom0->shared_mfn);
    set_xen_guest_handle(op.u.getpageframeinfo3.array, pfns);
    op.u.getpageframeinfo3.num = 1024;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getpageframeinfo3, d->id, &op), ==, 0);
    g_assert_cmphex(pfns[0], ==, XEN_DOMCTL_PFINFO_NOTAB);
    g_assert_cmphex(pfns[1], ==, XEN_DOMCTL_PFINFO_XTAB);
    g_assert_cmphex(pfns[2], ==, XEN_DOMCTL_PFINFO_XTAB);
    g_assert_cmphex(pfns[3], ==, XEN_DOMCTL_PFINFO_XTAB);
    g_assert_cmphex(pfns[1023], ==, XEN_DOMCTL_PFINFO_NOTAB);
    frame_of(mfn)->type |= FRAME_TYPE_L3 | FRAME_TYPE_VALIDATED | FRAME_TYPE_PINNED;
    pfns[0] = mfn_x(mfn);
    set_xen_guest_handle(op.u.getpageframeinfo3.array, pfns);
    op.u.getpageframeinfo3.num = 1;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getpageframeinfo3, d->id, &op), ==, 0);
    g_assert_cmphex(pfns[0], ==, XEN_DOMCTL_PFINFO_L3TAB | XEN_DOMCTL_PFINFO_LPINTAB);
    frame_of(mfn)->type = 0;
    op.u.getpageframeinfo3.num = 1025;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getpageframeinfo3, d->id, &op), ==, -E2BIG);

    op.u.hypercall_init.gmfn = mfn_x(mfn);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_hypercall_init, d->id, &op), ==, 0);
    g_assert_cmphex(*(u8 *)direct_ptr(mfn_to_maddr(mfn)), ==, 0xcc);
    op.u.hypercall_init.gmfn = mfn_x(toolstack_dom0->shared_mfn);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_hypercall_init, d->id, &op), ==, -EINVAL);
    op.u.hypercall_init.gmfn = ~0ull;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_hypercall_init, d->id, &op), ==, -EINVAL);
    toolstack_destroy(d);
}

static void
vcpu_state_makes_the_round(void)
{
    struct xen_domctl op = {};
    struct xen_domctl_ext_vcpucontext *ext = &op.u.ext_vcpucontext;
    struct domain *d;
    struct vcpu *v;

    toolstack_begin();
    d = toolstack_create(1);
    v = d->vcpus[0];
    ext->size = sizeof(*ext);
    ext->sysenter_callback_eip = 0xffffffff81000000;
    ext->sysenter_callback_cs = 0xe030;
    ext->syscall32_callback_eip = 0x400000;
    ext->syscall32_disables_events = 1;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_set_ext_vcpucontext, d->id, &op), ==, 0);
    g_assert_cmphex(v->pv.callback[PV_CB_SYSENTER].cs, ==, 0xe033);
    memset(ext, 0, sizeof(*ext));
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_get_ext_vcpucontext, d->id, &op), ==, 0);
    g_assert_cmphex(ext->sysenter_callback_eip, ==, 0xffffffff81000000);
    g_assert_cmpuint(ext->syscall32_disables_events, ==, 1);
    g_assert_cmpuint(ext->sysenter_disables_events, ==, 0);
    ext->sysenter_callback_eip = 0x8000000000000000;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_set_ext_vcpucontext, d->id, &op), ==, -EINVAL);
    ext->vcpu = 9;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_get_ext_vcpucontext, d->id, &op), ==, -ESRCH);

    op = (struct xen_domctl){};
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getvcpuextstate, d->id, &op), ==, 0);
    if (op.u.vcpuextstate.xfeature_mask) {
        u64 size = op.u.vcpuextstate.size;
        g_autofree u64 *buf = g_malloc0(size);

        set_xen_guest_handle(op.u.vcpuextstate.buffer, buf);
        g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getvcpuextstate, d->id, &op), ==, 0);
        g_assert_cmpuint(op.u.vcpuextstate.size, <=, size);
        g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_setvcpuextstate, d->id, &op), ==, 0);
        buf[1] = ~0ull;
        g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_setvcpuextstate, d->id, &op), ==, -EINVAL);
        op.u.vcpuextstate.size = 8;
        g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_setvcpuextstate, d->id, &op), ==, -EINVAL);
    }

    struct xen_domctl_vcpu_msr msr = {.index = 0xc0000103, .value = 77};

    op = (struct xen_domctl){.u.vcpu_msrs = {.msr_count = 1}};
    set_xen_guest_handle(op.u.vcpu_msrs.msrs, &msr);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_set_vcpu_msrs, d->id, &op), ==, 0);
    g_assert_cmpuint(v->tsc_aux, ==, 77);
    op.u.vcpu_msrs.msr_count = 0;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_get_vcpu_msrs, d->id, &op), ==, -ENOBUFS);
    g_assert_cmpuint(op.u.vcpu_msrs.msr_count, ==, 1);
    msr = (struct xen_domctl_vcpu_msr){};
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_get_vcpu_msrs, d->id, &op), ==, 0);
    g_assert_cmpuint(msr.value, ==, 77);
    msr.index = 0x10;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_set_vcpu_msrs, d->id, &op), ==, -EINVAL);
    g_assert_cmpuint(op.u.vcpu_msrs.msr_count, ==, 0);
    toolstack_destroy(d);
}

static void
what_is_not_there_says_so(void)
{
    struct xen_domctl op = {};
    struct domain *d;
    u8 node = 2;

    toolstack_begin();
    d = toolstack_create(1);
    op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_OFF;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_shadow_op, d->id, &op), ==, 0);
    op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_shadow_op, d->id, &op), ==, -EOPNOTSUPP);
    op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_CLEAN;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_shadow_op, d->id, &op), ==, -EINVAL);
    op.u.address_size.size = 32;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_set_address_size, d->id, &op), ==, -EOPNOTSUPP);
    op.u.address_size.size = 64;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_set_address_size, d->id, &op), ==, 0);
    op.u.tsc_info.tsc_mode = 1;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_settscinfo, d->id, &op), ==, -EOPNOTSUPP);
    op.u.tsc_info.tsc_mode = 0;
    op.u.tsc_info.incarnation = 4;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_settscinfo, d->id, &op), ==, 0);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_gettscinfo, d->id, &op), ==, 0);
    g_assert_cmpuint(op.u.tsc_info.incarnation, ==, 5);
    op.u.sendtrigger = (struct xen_domctl_sendtrigger){XEN_DOMCTL_SENDTRIGGER_POWER, 0};
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_sendtrigger, d->id, &op), ==, -EINVAL);
    op.u.sendtrigger.trigger = XEN_DOMCTL_SENDTRIGGER_NMI;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_sendtrigger, d->id, &op), ==, 0);
    g_assert_true(d->vcpus[0]->nmi_pending);
    op.u.sendtrigger.vcpu = 1;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_sendtrigger, d->id, &op), ==, -ESRCH);
    op.u.set_target.target = 0;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_set_target, d->id, &op), ==, -EOPNOTSUPP);
    op.u.set_target.target = d->id;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_set_target, d->id, &op), ==, -EINVAL);
    op.u.nodeaffinity.nodemap.nr_bits = 8;
    set_xen_guest_handle(op.u.nodeaffinity.nodemap.bitmap, &node);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_setnodeaffinity, d->id, &op), ==, -EINVAL);
    node = 0xff;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_setnodeaffinity, d->id, &op), ==, 0);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_getnodeaffinity, d->id, &op), ==, 0);
    g_assert_cmpuint(node, ==, 1);
    op.u.settimeoffset.time_offset_seconds = 1ll << 40;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_settimeoffset, d->id, &op), ==, -EINVAL);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_soft_reset, d->id, &op), ==, -EINVAL);
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_assign_device, d->id, &op), ==, -EOPNOTSUPP);
    toolstack_destroy(d);
}

/* --- sysctl --- */

/* Types @text on the serial port in one interrupt; how many of its bytes dom0 gets. */
static unsigned
typed(const char *text)
{
    unsigned count = 0;

    while (*text)
        count += !serial_input_hook(*text++);
    return count;
}

static void
ctrl_a_three_times_switches_what_is_typed(void)
{
    toolstack_begin();
    debug_keys_init();
    g_assert_cmpuint(typed("q\1\1q\1\1"), ==, 6); /* not in a row */
    g_assert_cmpuint(fake_log_count, ==, 0);
    g_assert_cmpuint(typed("q\1\1\1"), ==, 3);
    g_assert_nonnull(strstr(fake_log_last, "goes to the hypervisor"));

    /* A key acts once the interrupt is over, and of many only the last. */
    g_assert_cmpuint(typed("ggm"), ==, 0);
    g_assert_nonnull(strstr(fake_log_last, "goes to the hypervisor"));
    fake_run_softirqs();
    g_assert_nonnull(strstr(fake_log_last, "frames free"));
    g_assert_cmpuint(fake_log_count, ==, 2);
    g_assert_cmpuint(typed("\xff"), ==, 0);
    fake_run_softirqs();
    g_assert_nonnull(strstr(fake_log_last, "key '?' does nothing"));

    g_assert_cmpuint(typed("\1\1\1"), ==, 0);
    g_assert_nonnull(strstr(fake_log_last, "goes to Domain-0"));
    g_assert_cmpuint(typed("m"), ==, 1);
    fake_run_softirqs();
    g_assert_cmpuint(fake_log_count, ==, 4);
}

static void
machine_is_described(void)
{
    struct xen_sysctl op = {};
    struct xen_sysctl_cputopo topo[4];
    struct xen_sysctl_cpuinfo info[8];
    struct xen_sysctl_meminfo memory;
    u32 features[CPU_FEATURESET_WORDS];
    char text[64] = "";

    toolstack_begin();
    g_assert_cmpint(toolstack_sysctl(XEN_SYSCTL_physinfo, &op), ==, 0);
    g_assert_cmpuint(op.u.physinfo.nr_cpus, ==, 4);
    g_assert_cmpuint(op.u.physinfo.max_cpu_id, ==, 3);
    g_assert_cmphex(op.u.physinfo.capabilities, ==, XEN_SYSCTL_PHYSCAP_pv | XEN_SYSCTL_PHYSCAP_gnttab_v1);
    g_assert_cmphex(op.u.physinfo.hw_cap[0], ==, cpu_policy_system[XEN_SYSCTL_cpu_policy_host]->basic[1].d);
    g_assert_cmpint(toolstack_sysctl(XEN_SYSCTL_sched_id, &op), ==, 0);
    g_assert_cmpuint(op.u.sched_id.sched_id, ==, XEN_SCHEDULER_CREDIT2);

    op = (struct xen_sysctl){};
    g_assert_cmpint(toolstack_sysctl(XEN_SYSCTL_cputopoinfo, &op), ==, 0);
    g_assert_cmpuint(op.u.cputopoinfo.num_cpus, ==, 4);
    op.u.cputopoinfo.num_cpus = 2;
    set_xen_guest_handle(op.u.cputopoinfo.cputopo, topo);
    topo[2].core = 4711;
    g_assert_cmpint(toolstack_sysctl(XEN_SYSCTL_cputopoinfo, &op), ==, 0);
    g_assert_cmpuint(op.u.cputopoinfo.num_cpus, ==, 2);
    g_assert_cmpuint(topo[2].core, ==, 4711);

    op = (struct xen_sysctl){.u.getcpuinfo = {.max_cpus = 8}};
    set_xen_guest_handle(op.u.getcpuinfo.info, info);
    g_assert_cmpint(toolstack_sysctl(XEN_SYSCTL_getcpuinfo, &op), ==, 0);
    g_assert_cmpuint(op.u.getcpuinfo.nr_cpus, ==, 4);

    op = (struct xen_sysctl){};
    g_assert_cmpint(toolstack_sysctl(XEN_SYSCTL_numainfo, &op), ==, 0);
    g_assert_cmpuint(op.u.numainfo.num_nodes, ==, 1);
    set_xen_guest_handle(op.u.numainfo.meminfo, &memory);
    g_assert_cmpint(toolstack_sysctl(XEN_SYSCTL_numainfo, &op), ==, 0);
    g_assert_cmpuint(memory.memsize, ==, frame_total_count() << PAGE_SHIFT);

    op = (struct xen_sysctl){.u.cpu_featureset = {.index = 2, .nr_features = 2}};
    set_xen_guest_handle(op.u.cpu_featureset.features, features);
    features[2] = 4711;
    g_assert_cmpint(toolstack_sysctl(XEN_SYSCTL_get_cpu_featureset, &op), ==, -ENOBUFS);
    g_assert_cmpuint(op.u.cpu_featureset.nr_features, ==, 2);
    g_assert_cmpuint(features[2], ==, 4711);
    op.u.cpu_featureset.index = 3;
    g_assert_cmpint(toolstack_sysctl(XEN_SYSCTL_get_cpu_featureset, &op), ==, -EOPNOTSUPP);
    op.u.cpu_featureset.index = 6;
    g_assert_cmpint(toolstack_sysctl(XEN_SYSCTL_get_cpu_featureset, &op), ==, -EINVAL);
    op = (struct xen_sysctl){.u.cpu_policy = {.index = 7}};
    g_assert_cmpint(toolstack_sysctl(XEN_SYSCTL_get_cpu_policy, &op), ==, -EINVAL);

    op = (struct xen_sysctl){.u.readconsole = {.count = sizeof(text)}};
    set_xen_guest_handle(op.u.readconsole.buffer, text);
    g_assert_cmpint(toolstack_sysctl(XEN_SYSCTL_readconsole, &op), ==, 0);
    g_assert_cmpint(toolstack_sysctl(XEN_SYSCTL_tbuf_op, &op), ==, -ENOSYS);
    g_assert_cmpint(toolstack_sysctl(XEN_SYSCTL_livepatch_op, &op), ==, -ENOSYS);
    g_assert_cmpint(toolstack_sysctl(XEN_SYSCTL_cpu_hotplug, &op), ==, -EOPNOTSUPP);
    g_assert_cmpint(toolstack_sysctl(999, &op), ==, -ENOSYS);
}

/* More domains than one stretch describes, through preemption, and a limit in the middle. */
static void
long_list_of_domains_is_whole(void)
{
    enum { COUNT = 100 };
    static struct xen_domctl_getdomaininfo info[COUNT + 10];
    struct domain *domains[COUNT];
    struct xen_sysctl op = {.u.getdomaininfolist = {.max_domains = COUNT + 10, .num_domains = 55}};

    toolstack_begin();
    for (unsigned i = 0; i < COUNT; i++)
        domains[i] = toolstack_create(1);
    set_xen_guest_handle(op.u.getdomaininfolist.buffer, info);
    g_assert_cmpint(toolstack_sysctl(XEN_SYSCTL_getdomaininfolist, &op), ==, 0);
    g_assert_cmpuint(op.u.getdomaininfolist.num_domains, ==, COUNT + 1);
    g_assert_cmphex(op.cmd, ==, XEN_SYSCTL_getdomaininfolist);
    for (unsigned i = 1; i <= COUNT; i++)
        g_assert_cmpuint(info[i].domain, ==, domains[i - 1]->id);

    op.u.getdomaininfolist.first_domain = domains[10]->id;
    op.u.getdomaininfolist.max_domains = 70;
    memset(info, 0, sizeof(info));
    g_assert_cmpint(toolstack_sysctl(XEN_SYSCTL_getdomaininfolist, &op), ==, 0);
    g_assert_cmpuint(op.u.getdomaininfolist.num_domains, ==, 70);
    g_assert_cmpuint(info[69].domain, ==, domains[79]->id);
    g_assert_cmpuint(info[70].domain, ==, 0);
    for (unsigned i = 0; i < COUNT; i++)
        toolstack_destroy(domains[i]);
}

/* --- platform_op, console_io --- */

static void
platform_answers_as_dom0_kernels_expect(void)
{
    struct xen_platform_op op = {};
    u32 pdc[3] = {1, 1, 0x3ff};

    toolstack_begin();
    op.u.settime64.secs = 1700000000;
    g_assert_cmpint(toolstack_platform_op(XENPF_settime64, &op), ==, 0);
    op.u.settime64.mbz = 1;
    g_assert_cmpint(toolstack_platform_op(XENPF_settime64, &op), ==, -EINVAL);
    op = (struct xen_platform_op){.u.settime64 = {.nsecs = 1000000000}};
    g_assert_cmpint(toolstack_platform_op(XENPF_settime64, &op), ==, -EINVAL);
    op = (struct xen_platform_op){.u.set_pminfo = {.type = XEN_PM_PDC}};
    set_xen_guest_handle(op.u.set_pminfo.u.pdc, pdc);
    g_assert_cmpint(toolstack_platform_op(XENPF_set_processor_pminfo, &op), ==, 0);
    g_assert_cmphex(pdc[2], ==, 0x3ff & ~0x305);
    op.u.set_pminfo.type = XEN_PM_TX;
    g_assert_cmpint(toolstack_platform_op(XENPF_set_processor_pminfo, &op), ==, -EINVAL);
    op = (struct xen_platform_op){.u.firmware_info = {.type = XEN_FW_DISK_INFO}};
    g_assert_cmpint(toolstack_platform_op(XENPF_firmware_info, &op), ==, -ESRCH);
    op.u.firmware_info.type = XEN_FW_EFI_INFO;
    g_assert_cmpint(toolstack_platform_op(XENPF_firmware_info, &op), ==, -ENOSYS);
    op = (struct xen_platform_op){.u.pcpu_info = {.xen_cpuid = 2}};
    g_assert_cmpint(toolstack_platform_op(XENPF_get_cpuinfo, &op), ==, 0);
    g_assert_cmpuint(op.u.pcpu_info.apic_id, ==, 2);
    g_assert_cmpuint(op.u.pcpu_info.max_present, ==, 3);
    op.u.pcpu_info.xen_cpuid = 4;
    g_assert_cmpint(toolstack_platform_op(XENPF_get_cpuinfo, &op), ==, 0);
    g_assert_cmphex(op.u.pcpu_info.flags, ==, XEN_PCPU_FLAGS_INVALID);
    op = (struct xen_platform_op){.u.enter_acpi_sleep = {.sleep_state = 3}};
    g_assert_cmpint(toolstack_platform_op(XENPF_enter_acpi_sleep, &op), ==, -EINVAL);
    g_assert_cmpint(toolstack_platform_op(XENPF_efi_runtime_call, &op), ==, -ENOSYS);
    g_assert_cmpint(toolstack_platform_op(1000, &op), ==, -ENOSYS);
    op = (struct xen_platform_op){.u.symdata = {.symnum = 0, .namelen = 10}};
    g_assert_cmpint(toolstack_platform_op(XENPF_get_symbol, &op), ==, 0);
    g_assert_cmpuint(op.u.symdata.symnum, ==, 0); /* the end of the list */
}

static s64
console(u32 cmd, u32 count, void *buf)
{
    u64 args[6] = {cmd, count, (u64)buf};
    s64 rc;

    do
        rc = hypercall_console_io(args);
    while (rc == -ERESTART);
    return rc;
}

static void
guests_console_comes_in_clean_lines(void)
{
    struct domain *d;
    static char long_text[20000];
    char buf[16];

    toolstack_begin();
    d = toolstack_create(1);
    g_assert_cmpint(console(CONSOLEIO_read, 5, buf), ==, 5);
    g_assert_cmpint(console(CONSOLEIO_read, ~0u, buf), ==, -E2BIG);
    g_assert_cmpint(console(3, 0, NULL), ==, -ENOSYS);

    log_guest_threshold = LOG_DEBUG;
    fake_run_as(d->vcpus[0], 1);
    g_assert_cmpint(console(CONSOLEIO_write, 5, "hello"), ==, 0);
    g_assert_cmpint(console(CONSOLEIO_write, 9, " \033[1m w\r\n"), ==, 0);
    g_assert_nonnull(g_strrstr(fake_log_last, "hello [1m w"));
    g_assert_null(strchr(fake_log_last, '\033'));
    memset(long_text, 'x', sizeof(long_text));
    g_assert_cmpint(console(CONSOLEIO_write, sizeof(long_text), long_text), ==, 0);
    g_assert_cmpuint(d->console_length, <, 128);
    g_assert_cmpint(console(CONSOLEIO_write, 5, NULL), ==, -EFAULT);
    g_assert_cmpint(console(CONSOLEIO_read, 5, buf), ==, -EPERM);
    d->vcpus[0]->is_running = false;
    current = this_cpu()->idle;
    toolstack_begin();
    toolstack_destroy(d);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/domctl/" #name, name)
    ADD(only_the_control_domain_may);
    ADD(header_is_checked);
    ADD(domain_lives_and_dies);
    ADD(info_finds_the_next_domain);
    ADD(affinity_goes_in_and_out);
    ADD(permissions_cannot_exceed_the_callers);
    ADD(cpu_policy_as_libxc_sets_it);
    ADD(page_info_is_told_in_stretches);
    ADD(vcpu_state_makes_the_round);
    ADD(what_is_not_there_says_so);
    ADD(machine_is_described);
    ADD(ctrl_a_three_times_switches_what_is_typed);
    ADD(long_list_of_domains_is_whole);
    ADD(platform_answers_as_dom0_kernels_expect);
    ADD(guests_console_comes_in_clean_lines);
    return g_test_run();
}
