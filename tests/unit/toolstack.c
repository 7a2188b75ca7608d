/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "toolstack.h"
#include "base/string.h"
#include "domain/cpu-policy.h"
#include "domain/evtchn.h"
#include "domain/grant.h"
#include "domain/permission.h"
#include "domain/pirq.h"
#include "domain/sched.h"
#include "hypercall/hypercall.h"
#include "mm/frame-alloc.h"
#include "pv/pv.h"
#include "x86/machine.h"
#include "x86/serial.h"
#include "fake.h"

#include <glib.h>

#define PAGES 8192u
#define CPUS  4u

struct domain *toolstack_dom0;
unsigned toolstack_pages_filled;
int toolstack_set_context_rc;
struct vcpu_guest_context toolstack_context;

/* --- stubs --- */

int
pirq_bind(struct vcpu *v, u32 pirq, u32 port, bool share)
{
    return -EINVAL;
}

void
pirq_unbind(struct domain *d, u32 pirq)
{
}

void
pirq_rebind_vcpu(struct domain *d, u32 pirq, struct vcpu *v)
{
}

void
pirq_eoi(struct domain *d, u32 pirq)
{
}

void
pirq_domain_fini(struct domain *d)
{
}

u32
pirq_count(const struct domain *d)
{
    return d->is_hardware ? 256 : 0;
}

void
pirq_dump(struct domain *d)
{
}

bool (*serial_input_hook)(char c);

size_t
serial_read(char *buf, size_t size)
{
    size_t n = MIN(size, 5u);

    memcpy(buf, "typed", n);
    return n;
}

void
machine_reboot(void)
{
    g_error("rebooted");
}

int
machine_enter_acpi_sleep(u16 pm1a, u16 pm1b, u32 state)
{
    return state == 5 ? 0 : -EINVAL;
}

void
time_set_wallclock(u64 sec, u32 nsec, u64 system_time_ns)
{
}

void
pv_hypercall_page_fill(void *page)
{
    memset(page, 0xcc, PAGE_SIZE);
    toolstack_pages_filled++;
}

int
pv_grant_map(u64 host_addr, mfn_t mfn, u32 flags, unsigned cache)
{
    return -EINVAL;
}

int
pv_grant_unmap(u64 host_addr, mfn_t mfn, u64 new_addr, u32 flags)
{
    return -EINVAL;
}

bool
may_control(const struct domain *d)
{
    return current->domain->is_privileged && d;
}

/* --- a kind of guest without page tables --- */

static int
no_domain_init(struct domain *d)
{
    return 0;
}

static void
no_domain_fini(struct domain *d)
{
}

static int
no_vcpu_init(struct vcpu *v)
{
    return 0;
}

static void
no_vcpu_fini(struct vcpu *v)
{
}

static int
no_table(struct domain *d, struct frame *frame, u64 type)
{
    return -EINVAL;
}

static int
set_context(struct vcpu *v, const struct vcpu_guest_context *ctx)
{
    /* Registers may be written only while nobody uses them. */
    g_assert_false(v->is_running);
    g_assert_true(spin_is_locked(&v->domain->lock));
    if (!toolstack_set_context_rc)
        toolstack_context = *ctx;
    return toolstack_set_context_rc;
}

static void
get_context(struct vcpu *v, struct vcpu_guest_context *ctx)
{
    g_assert_false(v->is_running);
    *ctx = toolstack_context;
}

static void
no_context_work(struct vcpu *v)
{
}

const struct domain_ops pv_domain_ops = {
    .domain_init = no_domain_init,
    .domain_fini = no_domain_fini,
    .vcpu_init = no_vcpu_init,
    .vcpu_fini = no_vcpu_fini,
    .type_validate = no_table,
    .type_devalidate = no_table,
    .relinquish = no_domain_init,
    .set_context = set_context,
    .get_context = get_context,
    .context_save = no_context_work,
    .context_load = no_context_work,
};

/* --- the machine --- */

static struct cpuid_policy host_policy, pv_policy;

static void
some_cpu(u32 leaf, u32 subleaf, u32 regs[4])
{
    for (unsigned i = 0; i < 4; i++)
        regs[i] = leaf * 0x01000193 + subleaf + i;
    if (leaf == 0)
        regs[0] = 0xd;
    if (leaf == 0x80000000)
        regs[0] = 0x80000008;
    if (leaf == 7 && !subleaf)
        regs[0] = 0;
    if (leaf == 0xb)
        regs[2] = 0;
    if (leaf == 0xd)
        regs[0] = subleaf ? 256 : 7, regs[1] = 576, regs[2] = regs[3] = 0;
}

void
toolstack_begin(void)
{
    struct xen_domctl_createdomain config = {
        .max_vcpus = 2,
        .max_grant_frames = -1,
        .max_maptrack_frames = -1,
        .grant_opts = XEN_DOMCTL_GRANT_version(1),
    };
    static bool once;

    /* One machine for all tests of a program: the table of domains lives as long as the hypervisor does. */
    if (once) {
        fake_run_as(toolstack_dom0->vcpus[0], 0);
        return;
    }
    once = true;
    fake_machine_init(PAGES, CPUS);
    frame_alloc_add(_mfn(1), PAGES - 1);
    domain_init();
    sched_init();
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        fake_cpu_set(cpu);
        timer_cpu_init(cpu);
        g_assert_cmpint(sched_cpu_init(cpu), ==, 0);
        current = this_cpu()->idle;
        current->is_running = true;
    }
    fake_cpu_set(0);

    cpu_policy_read(&host_policy, some_cpu);
    pv_policy = host_policy;
    pv_policy.basic[1].c &= ~0x20u;
    cpu_policy_system[XEN_SYSCTL_cpu_policy_raw] = &host_policy;
    cpu_policy_system[XEN_SYSCTL_cpu_policy_host] = &host_policy;
    cpu_policy_system[XEN_SYSCTL_cpu_policy_pv_max] = cpu_policy_system[XEN_SYSCTL_cpu_policy_pv_default] =
        &pv_policy;

    g_assert_cmpint(domain_create(0, &config, &toolstack_dom0), ==, 0);
    hardware_domain = toolstack_dom0;
    toolstack_dom0->is_hardware = toolstack_dom0->is_privileged = true;
    toolstack_dom0->page_max = 1024;
    g_assert_cmpint(permission_init_hardware(toolstack_dom0), ==, 0);
    for (unsigned i = 0; i < 2; i++) {
        struct vcpu *v;

        g_assert_cmpint(vcpu_create(toolstack_dom0, i, &v), ==, 0);
    }
    fake_run_as(toolstack_dom0->vcpus[0], 0);
}

static s64
repeat(s64 (*call)(u64 *), void *op)
{
    u64 args[6] = {(u64)op};
    s64 rc;

    while ((rc = call(args)) == -ERESTART)
        fake_run_all();
    return rc;
}

s64
toolstack_domctl(u32 cmd, u16 id, struct xen_domctl *op)
{
    op->cmd = cmd;
    op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op->domain = id;
    return repeat(hypercall_domctl, op);
}

s64
toolstack_sysctl(u32 cmd, struct xen_sysctl *op)
{
    op->cmd = cmd;
    op->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    return repeat(hypercall_sysctl, op);
}

s64
toolstack_platform_op(u32 cmd, struct xen_platform_op *op)
{
    op->cmd = cmd;
    op->interface_version = XENPF_INTERFACE_VERSION;
    return repeat(hypercall_platform_op, op);
}

struct domain *
toolstack_create(unsigned vcpus)
{
    struct xen_domctl op = {
        .u.createdomain.max_vcpus = vcpus,
        .u.createdomain.max_grant_frames = -1,
        .u.createdomain.max_maptrack_frames = -1,
        .u.createdomain.grant_opts = XEN_DOMCTL_GRANT_version(1),
    };
    struct domain *d;

    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_createdomain, DOMID_INVALID, &op), ==, 0);
    d = domain_find(op.domain);
    g_assert_nonnull(d);
    op.u.max_mem.max_memkb = 4096;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_max_mem, d->id, &op), ==, 0);
    op.u.max_vcpus.max = vcpus;
    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_max_vcpus, d->id, &op), ==, 0);
    return d;
}

void
toolstack_destroy(struct domain *d)
{
    u16 id = d->id;
    struct xen_domctl op;

    g_assert_cmpint(toolstack_domctl(XEN_DOMCTL_destroydomain, id, &op), ==, 0);
    fake_run_all();
    g_assert_null(domain_find(id));
}
