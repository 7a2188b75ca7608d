/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"
#include "domain/evtchn.h"
#include "domain/grant.h"
#include "domain/page.h"
#include "domain/pirq.h"
#include "domain/sched.h"
#include "hypercall/hypercall.h"
#include "mm/frame-alloc.h"
#include "pv/pv.h"
#include "fake.h"

#include <glib.h>

#define PAGES 16384u

struct domain *world_dom0;
int world_set_context_rc;
u32 world_pirq_bound[64], world_pirq_rc;

/* --- stubs of devices, page tables and the way in --- */

const struct hypercall hypercalls[HYPERCALL_COUNT];

void
pirq_domain_fini(struct domain *d)
{
}

u32
pirq_count(const struct domain *d)
{
    return d->is_hardware ? ARRAY_SIZE(world_pirq_bound) : 0;
}

int
pirq_bind(struct vcpu *v, u32 pirq, u32 port, bool share)
{
    if (world_pirq_rc)
        return world_pirq_rc;
    if (world_pirq_bound[pirq])
        return -EEXIST;
    world_pirq_bound[pirq] = port;
    return 0;
}

void
pirq_unbind(struct domain *d, u32 pirq)
{
    g_assert_cmpuint(world_pirq_bound[pirq], !=, 0);
    world_pirq_bound[pirq] = 0;
}

void
pirq_rebind_vcpu(struct domain *d, u32 pirq, struct vcpu *v)
{
    g_assert_cmpuint(world_pirq_bound[pirq], !=, 0);
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

static int
nothing_for_domain(struct domain *d)
{
    return 0;
}

static void
nothing_left_of_domain(struct domain *d)
{
}

static int
nothing_for_vcpu(struct vcpu *v)
{
    return 0;
}

static void
nothing_of_vcpu(struct vcpu *v)
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
    g_assert_false(v->is_running);
    return world_set_context_rc;
}

static void
get_context(struct vcpu *v, struct vcpu_guest_context *ctx)
{
}

const struct domain_ops pv_domain_ops = {
    .domain_init = nothing_for_domain,
    .domain_fini = nothing_left_of_domain,
    .vcpu_init = nothing_for_vcpu,
    .vcpu_fini = nothing_of_vcpu,
    .type_validate = no_table,
    .type_devalidate = no_table,
    .relinquish = nothing_for_domain,
    .set_context = set_context,
    .get_context = get_context,
    .context_save = nothing_of_vcpu,
    .context_load = nothing_of_vcpu,
};

/* --- the machine --- */

void
world_begin(void)
{
    if (!world_dom0) {
        struct xen_domctl_createdomain config = {.max_vcpus = 2,
                                                 .max_evtchn_port = ~0u,
                                                 .max_grant_frames = -1,
                                                 .max_maptrack_frames = -1,
                                                 .grant_opts = XEN_DOMCTL_GRANT_version(1)};

        fake_machine_init(PAGES, WORLD_CPUS);
        frame_alloc_add(_mfn(1), PAGES - 1);
        domain_init();
        sched_init();
        for (unsigned cpu = 0; cpu < WORLD_CPUS; cpu++) {
            fake_cpu_set(cpu);
            timer_cpu_init(cpu);
            g_assert_cmpint(sched_cpu_init(cpu), ==, 0);
            current = this_cpu()->idle;
        }
        fake_cpu_set(0);
        g_assert_cmpint(domain_create(0, &config, &world_dom0), ==, 0);
        world_dom0->is_hardware = world_dom0->is_privileged = true;
        world_dom0->page_max = 1024;
        hardware_domain = world_dom0;
        for (unsigned i = 0; i < 2; i++) {
            struct vcpu *v;

            g_assert_cmpint(vcpu_create(world_dom0, i, &v), ==, 0);
        }
    }
    for (unsigned cpu = 0; cpu < WORLD_CPUS; cpu++) {
        fake_cpu_set(cpu);
        current = this_cpu()->idle;
    }
    fake_run_as(world_dom0->vcpus[0], 0);
    world_dom0->vcpus[0]->info->evtchn_upcall_pending = 0;
}

struct domain *
world_domain(unsigned vcpus, u32 max_port)
{
    struct xen_domctl_createdomain config = {.max_vcpus = vcpus,
                                             .max_evtchn_port = max_port,
                                             .max_grant_frames = -1,
                                             .max_maptrack_frames = -1,
                                             .grant_opts = XEN_DOMCTL_GRANT_version(1)};
    struct domain *d;
    struct vcpu *v;

    g_assert_cmpint(domain_create(DOMID_INVALID, &config, &d), ==, 0);
    d->page_max = 1024;
    for (unsigned i = 0; i < vcpus; i++)
        g_assert_cmpint(vcpu_create(d, i, &v), ==, 0);
    return d;
}

bool
world_kill(struct domain *d)
{
    u16 id = d->id;
    int rc;

    while ((rc = domain_kill(d)) == -ERESTART)
        fake_run_all();
    g_assert_cmpint(rc, ==, 0);
    fake_run_all();
    return !domain_find(id);
}

mfn_t
world_frame(struct domain *d)
{
    mfn_t mfn;

    g_assert_cmpint(page_alloc(d, 0, 0, 0, &mfn), ==, 0);
    return mfn;
}

void *
world_ptr(mfn_t mfn)
{
    return direct_ptr(mfn_to_maddr(mfn));
}
