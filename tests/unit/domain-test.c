/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The life of domains and vCPUs: configurations that are refused, memory that runs out at every step of
 * creation, death in stages, shutdown, pauses; and what vcpu_op, set_timer_op, vm_assist and xen_version
 * answer.
 */
#include "world.h"
#include "domain/evtchn.h"
#include "domain/grant.h"
#include "domain/page.h"
#include "domain/sched.h"
#include "hypercall/hypercall.h"
#include "mm/frame-alloc.h"
#include "base/string.h"
#include "fake.h"

#include <glib.h>

static struct xen_domctl_createdomain
good_config(void)
{
    return (struct xen_domctl_createdomain){
        .max_vcpus = 2,
        .max_evtchn_port = 1023,
        .max_grant_frames = 4,
        .max_maptrack_frames = 8,
        .grant_opts = XEN_DOMCTL_GRANT_version(1),
    };
}

/* --- birth --- */

static void
configurations_are_checked(void)
{
    static const struct {
        const char *what;
        int rc;
        struct xen_domctl_createdomain change; /* each field that is not 0 replaces the good one */
    } rows[] = {
        {"hvm", -EOPNOTSUPP, {.flags = XEN_DOMCTL_CDF_hvm}},
        {"hap", -EINVAL, {.flags = XEN_DOMCTL_CDF_hap}},
        {"iommu", -EINVAL, {.flags = XEN_DOMCTL_CDF_iommu}},
        {"unknown flag", -EINVAL, {.flags = 1u << 30}},
        {"iommu options", -EINVAL, {.iommu_opts = 1}},
        {"too many vCPUs", -EINVAL, {.max_vcpus = VCPU_MAX + 1}},
        {"grant version 2", -EINVAL, {.grant_opts = 2}},
        {"grant options", -EINVAL, {.grant_opts = 0x11}},
        {"trace buffer", -EINVAL, {.vmtrace_size = 4096}},
        {"another pool", -ENOENT, {.cpupool_id = 1}},
        {"emulated devices", -EINVAL, {.arch.emulation_flags = XEN_X86_EMU_LAPIC}},
        {"grant frames", -EINVAL, {.max_grant_frames = 1 << 30}},
        {"store domain", 0, {.flags = XEN_DOMCTL_CDF_xs_domain}},
        {"pit", 0, {.arch.emulation_flags = XEN_X86_EMU_PIT}},
    };
    u64 free_before;

    world_begin();
    free_before = frame_free_count();
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct xen_domctl_createdomain config = good_config();
        const struct xen_domctl_createdomain *change = &rows[i].change;
        struct domain *d;

        config.flags |= change->flags;
        config.iommu_opts |= change->iommu_opts;
        config.max_vcpus = change->max_vcpus ? change->max_vcpus : config.max_vcpus;
        config.grant_opts = change->grant_opts ? change->grant_opts : config.grant_opts;
        config.max_grant_frames =
            change->max_grant_frames ? change->max_grant_frames : config.max_grant_frames;
        config.vmtrace_size = change->vmtrace_size;
        config.cpupool_id = change->cpupool_id;
        config.arch.emulation_flags = change->arch.emulation_flags;
        g_test_message("%s", rows[i].what);
        g_assert_cmpint(domain_create(DOMID_INVALID, &config, &d), ==, rows[i].rc);
        if (!rows[i].rc)
            g_assert_true(world_kill(d));
    }

    struct xen_domctl_createdomain config = good_config();
    struct domain *d;

    config.max_vcpus = 0;
    g_assert_cmpint(domain_create(DOMID_INVALID, &config, &d), ==, -EINVAL);
    config = good_config();
    g_assert_cmpint(domain_create(0, &config, &d), ==, -EEXIST);
    g_assert_cmpint(domain_create(DOMID_XEN, &config, &d), ==, -EINVAL);
    g_assert_cmpint(domain_create(DOMID_IDLE, &config, &d), ==, -EINVAL);
    g_assert_cmpuint(frame_free_count(), ==, free_before);
}

static void
creation_without_memory_leaves_nothing(void)
{
    struct xen_domctl_createdomain config = good_config();
    struct domain *d;
    u64 free_before;

    world_begin();
    free_before = frame_free_count();
    for (unsigned n = 1;; n++) {
        int rc;

        g_assert_cmpuint(n, <, 100);
        fake_heap_fail_in = n;
        rc = domain_create(DOMID_INVALID, &config, &d);
        fake_heap_fail_in = 0;
        fake_run_all();
        if (!rc)
            break;
        g_assert_cmpint(rc, ==, -ENOMEM);
        g_assert_cmpuint(frame_free_count(), ==, free_before);
    }
    for (unsigned n = 1;; n++) {
        struct vcpu *v = NULL;
        int rc;

        g_assert_cmpuint(n, <, 100);
        fake_heap_fail_in = n;
        rc = vcpu_create(d, 0, &v);
        fake_heap_fail_in = 0;
        if (!rc)
            break;
        g_assert_cmpint(rc, ==, -ENOMEM);
        g_assert_null(d->vcpus[0]);
    }
    g_assert_true(world_kill(d));
    g_assert_cmpuint(frame_free_count(), ==, free_before);
}

static void
ids_are_not_used_again_soon(void)
{
    struct domain *d;
    u16 last = 0;

    world_begin();
    for (unsigned i = 0; i < 300; i++) {
        d = world_domain(1, 10);
        g_assert_cmpuint(d->id, >, last);
        last = d->id;
        g_assert_true(domain_find(last) == d);
        g_assert_true(world_kill(d));
    }
    g_assert_null(domain_find(DOMID_XEN));
    g_assert_null(domain_find(DOMID_SELF));
    g_assert_null(domain_find(0xffff));
    g_assert_cmpint(domain_find_or_self(DOMID_SELF, &d), ==, 0);
    g_assert_true(d == world_dom0);
}

static void
walk_is_in_order_and_survives_removal(void)
{
    struct domain *d[8], *walk;
    unsigned n = 0;
    int last = -1;

    world_begin();
    for (unsigned i = 0; i < 8; i++)
        d[i] = world_domain(1, 10);
    for_each_domain(walk) {
        g_assert_cmpint(walk->id, >, last);
        last = walk->id;
        n++;
        /* The one we stand on goes away; until we leave, it still leads on. */
        if (walk == d[3]) {
            while (domain_kill(d[3]) == -ERESTART)
                fake_run_all();
            fake_run_softirqs();
        }
    }
    g_assert_cmpuint(n, ==, 9);
    fake_run_all();
    for (unsigned i = 0; i < 8; i++)
        if (i != 3)
            g_assert_true(world_kill(d[i]));
}

/* --- death --- */

static void
death_gives_everything_back(void)
{
    u64 free_before;

    world_begin();
    free_before = frame_free_count();
    for (unsigned round = 0; round < 20; round++) {
        struct domain *d = world_domain(2, 200);
        struct vcpu_register_vcpu_info info = {0};
        u32 port, remote;
        mfn_t mfn;

        for (unsigned i = 0; i < 30; i++)
            (void)world_frame(d);
        mfn = world_frame(d);
        info.mfn = mfn_x(mfn);
        g_assert_cmpint(vcpu_register_info(d->vcpus[1], _mfn(info.mfn), 64), ==, 0);
        g_assert_cmpint(evtchn_init_control(d->vcpus[0], mfn_x(world_frame(d)), 0), ==, 0);
        g_assert_cmpint(evtchn_expand_array(d, mfn_x(world_frame(d))), ==, 0);
        for (unsigned i = 0; i < 100; i++)
            g_assert_cmpint(evtchn_bind_ipi(d, i % 2, &port), ==, 0);
        g_assert_cmpint(evtchn_alloc_unbound(world_dom0, d->id, &remote), ==, 0);
        g_assert_cmpint(evtchn_bind_interdomain(d, world_dom0, remote, &port), ==, 0);
        g_assert_cmpint(evtchn_set_virq_handler(d, VIRQ_CON_RING), ==, 0);
        g_assert_cmpint(grant_frame_mfn(d, 1, &mfn), ==, 0);
        vcpu_set_periodic_timer(d->vcpus[0], 1000000);
        (void)domain_unpause_by_controller(d);
        vcpu_set_online(d->vcpus[0], true);
        fake_run_softirqs();
        g_assert_true(d->vcpus[0]->is_running);

        fake_run_as(world_dom0->vcpus[0], 0);
        current->is_running = true;
        g_assert_cmpint(watchdog_set(d, 0, 5), ==, 1);
        /* Its vCPU may run on a CPU that must come by to let go of it. */
        domain_pause_nosync(d);
        for (unsigned cpu = 1; cpu < WORLD_CPUS; cpu++) {
            fake_cpu_set(cpu);
            softirq_run();
        }
        fake_cpu_set(0);
        if (d->vcpus[0]->is_running) {
            current = d->vcpus[0];
            softirq_run();
        }
        fake_run_as(world_dom0->vcpus[0], 0);
        g_assert_true(world_kill(d));
        g_assert_cmpint(evtchn_close(world_dom0, remote), ==, 0);
        g_assert_cmpuint(frame_free_count(), ==, free_before);
    }
}

static void
held_domain_is_a_zombie_until_it_is_let_go(void)
{
    struct domain *d;
    u16 id;

    world_begin();
    d = world_domain(1, 10);
    id = d->id;
    g_assert_true(domain_get(d));
    g_assert_false(world_kill(d));
    g_assert_true(domain_find(id) == d);
    g_assert_cmpint(d->dying, ==, DOMAIN_DEAD);
    g_assert_cmpint(domain_kill(d), ==, 0);
    domain_put(d);
    fake_run_all();
    g_assert_null(domain_find(id));
}

static void
frame_that_another_holds_outlives_the_kill(void)
{
    struct domain *d;
    u64 free_before;
    mfn_t mfn;
    u16 id;

    world_begin();
    free_before = frame_free_count();
    d = world_domain(1, 10);
    id = d->id;
    mfn = world_frame(d);
    g_assert_true(page_get(frame_of(mfn), d));
    g_assert_false(world_kill(d));
    page_put(frame_of(mfn));
    fake_run_all();
    g_assert_null(domain_find(id));
    g_assert_cmpuint(frame_free_count(), ==, free_before);
}

static void
nobody_ends_itself(void)
{
    world_begin();
    g_assert_cmpint(domain_kill(world_dom0), ==, -EINVAL);
}

/* --- shutdown and pauses --- */

static void
shutdown_is_complete_when_the_last_vcpu_has_stopped(void)
{
    struct domain *d;
    u32 port;

    world_begin();
    g_assert_cmpint(evtchn_bind_virq(world_dom0, VIRQ_DOM_EXC, 0, &port), ==, 0);
    d = world_domain(2, 10);
    for (unsigned i = 0; i < 2; i++)
        fake_run_as(d->vcpus[i], 1 + i);
    fake_cpu_set(1);
    domain_shutdown(d, SHUTDOWN_reboot);
    g_assert_true(d->is_shutting_down);
    g_assert_false(d->is_shut_down);
    g_assert_false(evtchn_is_pending(world_dom0, port));

    current = this_cpu()->idle;
    sched_switch_done(d->vcpus[0]);
    g_assert_false(d->is_shut_down);
    fake_cpu_set(2);
    current = this_cpu()->idle;
    sched_switch_done(d->vcpus[1]);
    g_assert_true(d->is_shut_down);
    g_assert_false(d->is_shutting_down);
    g_assert_cmpuint(d->shutdown_code, ==, SHUTDOWN_reboot);
    g_assert_true(evtchn_is_pending(world_dom0, port));

    /* The first reason stands; what a crash adds is not heard. */
    world_begin();
    domain_crash(d, "once more");
    g_assert_cmpuint(d->shutdown_code, ==, SHUTDOWN_reboot);
    domain_resume(d);
    g_assert_cmpuint(d->shutdown_code, ==, ~0u);
    g_assert_cmpuint(d->pause_count, ==, 1);
    g_assert_true(world_kill(d));
    g_assert_cmpint(evtchn_close(world_dom0, port), ==, 0);
}

static u8 hook_reason;

static void
hook(u8 reason)
{
    hook_reason = reason;
}

static void
hardware_domain_takes_the_machine_along(void)
{
    world_begin();
    hook_reason = 99;
    hardware_domain_shutdown_hook = hook;
    domain_shutdown(world_dom0, SHUTDOWN_poweroff);
    g_assert_cmpuint(hook_reason, ==, SHUTDOWN_poweroff);
    hardware_domain_shutdown_hook = NULL;
    domain_resume(world_dom0);
    fake_run_as(world_dom0->vcpus[0], 0);
}

static void
pauses_by_the_controller_nest_and_have_a_limit(void)
{
    struct domain *d;

    world_begin();
    d = world_domain(1, 10);
    for (unsigned i = 1; i < 255; i++)
        g_assert_cmpint(domain_pause_by_controller(d), ==, 0);
    g_assert_cmpint(domain_pause_by_controller(d), ==, -EOVERFLOW);
    g_assert_cmpuint(d->pause_count, ==, 255);
    for (unsigned i = 0; i < 255; i++)
        g_assert_cmpint(domain_unpause_by_controller(d), ==, 0);
    g_assert_false(d->is_paused_by_controller);
    g_assert_cmpint(domain_unpause_by_controller(d), ==, -EINVAL);
    g_assert_cmpuint(d->pause_count, ==, 0);
    g_assert_true(world_kill(d));
}

static void
watchdog_ends_a_guest_that_forgets_it(void)
{
    struct domain *d;

    world_begin();
    d = world_domain(1, 10);
    g_assert_cmpint(watchdog_set(d, 3, 1), ==, -EINVAL);
    g_assert_cmpint(watchdog_set(d, 1, 1), ==, -EINVAL); /* not in use */
    g_assert_cmpint(watchdog_set(d, 0, 0), ==, -EINVAL);
    g_assert_cmpint(watchdog_set(d, 0, 2), ==, 1);
    g_assert_cmpint(watchdog_set(d, 0, 2), ==, 2);
    g_assert_cmpint(watchdog_set(d, 0, 2), ==, -ENOSPC);
    g_assert_cmpint(watchdog_set(d, 2, 0), ==, 0);
    fake_clock_run_until(fake_now_ns + 1500000000);
    g_assert_cmpint(watchdog_set(d, 1, 2), ==, 0);
    fake_clock_run_until(fake_now_ns + 1500000000);
    g_assert_false(d->is_shut_down);
    fake_clock_run_until(fake_now_ns + 600000000);
    g_assert_true(d->is_shut_down);
    g_assert_cmpuint(d->shutdown_code, ==, SHUTDOWN_watchdog);
    world_begin();
    g_assert_true(world_kill(d));
}

/* --- vcpu_op --- */

static s64
vcpu_op(u32 cmd, u32 vcpu, void *arg)
{
    u64 args[6] = {cmd, vcpu, (u64)arg};

    return hypercall_vcpu_op(args);
}

static struct domain *guest;

static void
guest_begin(unsigned vcpus)
{
    world_begin();
    guest = world_domain(vcpus, 100);
    fake_run_as(guest->vcpus[0], 0);
    guest->vcpus[0]->initialised = true;
    guest->vcpus[0]->down_by_guest = false;
    guest->vcpus[0]->state = VCPU_RUNNABLE;
}

static void
guest_end(void)
{
    guest->vcpus[0]->is_running = false;
    guest->vcpus[0]->state = VCPU_OFFLINE;
    world_begin();
    fake_run_softirqs();
    world_begin();
    g_assert_true(world_kill(guest));
}

static void
vcpu_op_checks_its_arguments(void)
{
    struct vcpu_set_periodic_timer periodic = {999999};
    struct vcpu_set_singleshot_timer single = {.timeout_abs_ns = 1};
    struct vcpu_register_vcpu_info info = {0};
    struct vcpu_get_physid physid;
    struct vcpu_runstate_info runstate;
    struct vcpu_guest_context *ctx = g_new0(struct vcpu_guest_context, 1);

    guest_begin(2);
    fake_clock_run_until(fake_now_ns + 1000);
    g_assert_cmpint(vcpu_op(VCPUOP_is_up, 2, NULL), ==, -ENOENT);
    g_assert_cmpint(vcpu_op(VCPUOP_is_up, ~0u, NULL), ==, -ENOENT);
    g_assert_cmpint(vcpu_op(99, 0, NULL), ==, -ENOSYS);
    g_assert_cmpint(vcpu_op(VCPUOP_is_up, 0, NULL), ==, 1);
    g_assert_cmpint(vcpu_op(VCPUOP_is_up, 1, NULL), ==, 0);

    g_assert_cmpint(vcpu_op(VCPUOP_up, 1, NULL), ==, -EINVAL);
    g_assert_cmpint(vcpu_op(VCPUOP_initialise, 1, (void *)8), ==, -EFAULT);
    world_set_context_rc = -EINVAL;
    g_assert_cmpint(vcpu_op(VCPUOP_initialise, 1, ctx), ==, -EINVAL);
    g_assert_false(guest->vcpus[1]->initialised);
    world_set_context_rc = 0;
    g_assert_cmpint(vcpu_op(VCPUOP_initialise, 1, ctx), ==, 0);
    g_assert_cmpint(vcpu_op(VCPUOP_initialise, 1, ctx), ==, -EEXIST);
    g_assert_cmpint(vcpu_op(VCPUOP_is_up, 1, NULL), ==, 0);
    g_assert_cmpint(vcpu_op(VCPUOP_up, 1, NULL), ==, 0);
    g_assert_cmpint(vcpu_op(VCPUOP_is_up, 1, NULL), ==, 1);
    g_assert_cmpint(vcpu_op(VCPUOP_down, 1, NULL), ==, 0);
    g_assert_cmpint(vcpu_op(VCPUOP_is_up, 1, NULL), ==, 0);

    g_assert_cmpint(vcpu_op(VCPUOP_set_periodic_timer, 0, &periodic), ==, -EINVAL);
    periodic.period_ns = ~0ull;
    g_assert_cmpint(vcpu_op(VCPUOP_set_periodic_timer, 0, &periodic), ==, -EINVAL);
    periodic.period_ns = 1000000;
    g_assert_cmpint(vcpu_op(VCPUOP_set_periodic_timer, 1, &periodic), ==, 0);
    g_assert_true(timer_is_armed(&guest->vcpus[1]->periodic_timer));
    g_assert_cmpint(vcpu_op(VCPUOP_stop_periodic_timer, 1, NULL), ==, 0);
    g_assert_false(timer_is_armed(&guest->vcpus[1]->periodic_timer));

    g_assert_cmpint(vcpu_op(VCPUOP_set_singleshot_timer, 1, &single), ==, -EINVAL);
    g_assert_cmpint(vcpu_op(VCPUOP_set_singleshot_timer, 0, (void *)8), ==, -EFAULT);
    single.flags = VCPU_SSHOTTMR_future;
    g_assert_cmpint(vcpu_op(VCPUOP_set_singleshot_timer, 0, &single), ==, -ETIME);
    g_assert_cmpint(vcpu_op(VCPUOP_stop_singleshot_timer, 1, NULL), ==, -EINVAL);

    info.mfn = ~0ull;
    g_assert_cmpint(vcpu_op(VCPUOP_register_vcpu_info, 0, &info), ==, -EINVAL);
    info.mfn = mfn_x(world_frame(guest));
    info.offset = PAGE_SIZE - 63;
    g_assert_cmpint(vcpu_op(VCPUOP_register_vcpu_info, 0, &info), ==, -ENXIO);
    info.offset = ~0u;
    g_assert_cmpint(vcpu_op(VCPUOP_register_vcpu_info, 0, &info), ==, -ENXIO);
    info.offset = 4;
    g_assert_cmpint(vcpu_op(VCPUOP_register_vcpu_info, 0, &info), ==, -ENXIO);
    info.mfn = mfn_x(world_frame(world_dom0));
    info.offset = 0;
    g_assert_cmpint(vcpu_op(VCPUOP_register_vcpu_info, 0, &info), ==, -EINVAL); /* not its own */
    g_assert_cmpint(vcpu_op(VCPUOP_get_physid, 0, &physid), ==, -EINVAL);
    g_assert_cmpint(vcpu_op(VCPUOP_get_runstate_info, 0, &runstate), ==, 0);
    g_assert_cmpint(vcpu_op(VCPUOP_get_runstate_info, 1, (void *)8), ==, -EFAULT);
    g_assert_cmpint(vcpu_op(VCPUOP_register_runstate_memory_area, 0, (void *)8), ==, -EFAULT);

    /* NMIs merge. */
    g_assert_cmpint(vcpu_op(VCPUOP_send_nmi, 0, NULL), ==, 0);
    g_assert_true(guest->vcpus[0]->nmi_pending);
    guest->vcpus[0]->nmi_pending = false;
    g_free(ctx);
    guest_end();
    page_release(frame_of(_mfn(info.mfn)));
}

static void
last_vcpu_to_go_down_ends_the_domain(void)
{
    guest_begin(2);
    g_assert_cmpint(vcpu_op(VCPUOP_down, 0, NULL), ==, 0);
    g_assert_true(guest->is_shutting_down);
    g_assert_cmpuint(guest->shutdown_code, ==, SHUTDOWN_poweroff);
    guest_end();
}

static void
vcpu_info_moves_with_what_is_pending(void)
{
    struct vcpu_register_vcpu_info reg;
    struct vcpu_info *info;
    struct vcpu *v;

    guest_begin(40);
    v = guest->vcpus[0];
    v->info->evtchn_pending_sel = 4;
    v->info->evtchn_upcall_mask = 1;
    reg.mfn = mfn_x(world_frame(guest));
    reg.offset = 128;
    g_assert_cmpint(vcpu_op(VCPUOP_register_vcpu_info, 0, &reg), ==, 0);
    info = (void *)((char *)world_ptr(_mfn(reg.mfn)) + 128);
    g_assert_true(v->info == info);
    g_assert_cmpuint(info->evtchn_upcall_mask, ==, 1);
    g_assert_cmpuint(info->evtchn_upcall_pending, ==, 1);
    g_assert_cmphex(info->evtchn_pending_sel, ==, ~0ul);
    g_assert_cmpuint(info->time.version & 1, ==, 0);
    g_assert_cmpuint(info->time.version, >, 0);
    g_assert_cmpuint(info->time.flags & XEN_PVCLOCK_TSC_STABLE_BIT, !=, 0);
    g_assert_cmpint(vcpu_op(VCPUOP_register_vcpu_info, 0, &reg), ==, -EINVAL); /* once */

    /* One beyond the shared page's 32 has none until then, and cannot be started. */
    g_assert_true(guest->vcpus[35]->info == &guest->vcpus[35]->dummy_info);
    g_assert_cmpint(vcpu_op(VCPUOP_initialise, 35, info), ==, -EINVAL);
    reg.offset = 512;
    g_assert_cmpint(vcpu_op(VCPUOP_register_vcpu_info, 35, &reg), ==, 0);
    g_assert_cmpuint(guest->vcpus[35]->info->evtchn_upcall_mask, ==, 1);
    guest_end();
}

static void
singleshot_timer_raises_its_virq(void)
{
    struct vcpu_set_singleshot_timer single = {0};
    u64 args[6] = {0};
    u32 port;

    guest_begin(1);
    g_assert_cmpint(evtchn_bind_virq(guest, VIRQ_TIMER, 0, &port), ==, 0);
    single.timeout_abs_ns = fake_now_ns + 5000;
    g_assert_cmpint(vcpu_op(VCPUOP_set_singleshot_timer, 0, &single), ==, 0);
    fake_clock_run_until(fake_now_ns + 4000);
    g_assert_false(evtchn_is_pending(guest, port));
    fake_clock_run_until(fake_now_ns + 1000);
    g_assert_true(evtchn_is_pending(guest, port));
    guest->shared->evtchn_pending[0] = 0;

    /* In the past: at once. */
    g_assert_cmpint(vcpu_op(VCPUOP_set_singleshot_timer, 0, &single), ==, 0);
    g_assert_true(evtchn_is_pending(guest, port));
    guest->shared->evtchn_pending[0] = 0;

    args[0] = fake_now_ns + 7000;
    g_assert_cmpint(hypercall_set_timer_op(args), ==, 0);
    fake_clock_run_until(fake_now_ns + 7000);
    g_assert_true(evtchn_is_pending(guest, port));
    guest->shared->evtchn_pending[0] = 0;

    args[0] = ~0ull; /* nonsense: within a tenth of a second */
    g_assert_cmpint(hypercall_set_timer_op(args), ==, 0);
    fake_clock_run_until(fake_now_ns + 100000000);
    g_assert_true(evtchn_is_pending(guest, port));
    guest->shared->evtchn_pending[0] = 0;

    args[0] = fake_now_ns + 1000;
    g_assert_cmpint(hypercall_set_timer_op(args), ==, 0);
    args[0] = 0;
    g_assert_cmpint(hypercall_set_timer_op(args), ==, 0);
    fake_clock_run_until(fake_now_ns + 100000);
    g_assert_false(evtchn_is_pending(guest, port));

    /* The beat is kept though nobody looked for a while. */
    struct vcpu_set_periodic_timer periodic = {10000000};
    u64 start = fake_now_ns;

    g_assert_cmpint(vcpu_op(VCPUOP_set_periodic_timer, 0, &periodic), ==, 0);
    for (unsigned i = 1; i <= 5; i++) {
        fake_clock_run_until(start + i * 10000000);
        g_assert_true(evtchn_is_pending(guest, port));
        guest->shared->evtchn_pending[0] = 0;
        fake_clock_run_until(start + i * 10000000 + 9000000);
        g_assert_false(evtchn_is_pending(guest, port));
    }
    g_assert_cmpint(vcpu_op(VCPUOP_stop_periodic_timer, 0, NULL), ==, 0);
    guest_end();
}

static void
areas_are_written_where_the_guest_asked(void)
{
    static struct vcpu_runstate_info runstate;
    static struct vcpu_time_info time;
    struct vcpu_register_runstate_memory_area area = {.addr.p = (u64)&runstate};
    struct vcpu_register_time_memory_area time_area = {.addr.p = (u64)&time};
    struct vcpu *v;
    u64 args[6] = {VMASST_CMD_enable, VMASST_TYPE_runstate_update_flag};

    guest_begin(1);
    v = guest->vcpus[0];
    v->pv.kernel_mode = true;
    g_assert_cmpint(hypercall_vm_assist(args), ==, 0);
    g_assert_cmpint(vcpu_op(VCPUOP_register_runstate_memory_area, 0, &area), ==, 0);
    g_assert_cmpint(vcpu_op(VCPUOP_register_vcpu_time_memory_area, 0, &time_area), ==, 0);
    g_assert_cmpuint(time.version, ==, v->info->time.version);
    g_assert_cmpuint(time.version & 1, ==, 0);

    v->runstate.time[RUNSTATE_blocked] = 4711;
    runstate_publish(v);
    g_assert_cmpuint(runstate.time[RUNSTATE_blocked], ==, 4711);
    g_assert_false(runstate.state_entry_time & XEN_RUNSTATE_UPDATE);

    /* In user mode the address means nothing; it is made up for later. */
    v->pv.kernel_mode = false;
    v->runstate.time[RUNSTATE_blocked] = 4712;
    runstate_publish(v);
    g_assert_true(v->publish_pending);
    g_assert_cmpuint(runstate.time[RUNSTATE_blocked], ==, 4711);
    v->pv.kernel_mode = true;
    time_publish(v);
    g_assert_false(v->publish_pending);
    g_assert_cmpuint(runstate.time[RUNSTATE_blocked], ==, 4712);

    area.addr.p = HYPERVISOR_START + 8;
    g_assert_cmpint(vcpu_op(VCPUOP_register_runstate_memory_area, 0, &area), ==, -EFAULT);
    guest_end();
}

/* --- version and assists --- */

static s64
version(u32 cmd, void *arg)
{
    u64 args[6] = {cmd, (u64)arg};

    return hypercall_xen_version(args);
}

static void
version_is_what_tools_expect(void)
{
    char text[1024];
    struct xen_feature_info features = {0};
    struct xen_platform_parameters parameters;
    u64 args[6] = {VMASST_CMD_enable, 6};

    guest_begin(1);
    g_assert_cmpint(version(XENVER_version, NULL), ==, 4 << 16 | 17);
    g_assert_cmpint(version(XENVER_capabilities, text), ==, 0);
    g_assert_cmpstr(text, ==, "xen-3.0-x86_64 ");
    g_assert_cmpint(version(XENVER_pagesize, NULL), ==, 4096);
    g_assert_cmpint(version(XENVER_pagesize, text), ==, -EINVAL);
    g_assert_cmpint(version(XENVER_extraversion, (void *)8), ==, -EFAULT);
    g_assert_cmpint(version(XENVER_platform_parameters, &parameters), ==, 0);
    g_assert_cmphex(parameters.virt_start, ==, 0xffff800000000000ul);
    g_assert_cmpint(version(XENVER_get_features, &features), ==, 0);
    g_assert_true(features.submap >> XENFEAT_mmu_pt_update_preserve_ad & 1);
    g_assert_false(features.submap >> XENFEAT_dom0 & 1);
    g_assert_false(features.submap >> XENFEAT_writable_page_tables & 1);
    g_assert_false(features.submap >> XENFEAT_auto_translated_physmap & 1);
    features.submap_idx = 1;
    g_assert_cmpint(version(XENVER_get_features, &features), ==, -EINVAL);
    strcpy(version_cmdline, "secret");
    g_assert_cmpint(version(XENVER_commandline, text), ==, 0);
    g_assert_cmpstr(text, ==, "<denied>");
    g_assert_cmpint(version(XENVER_build_id, NULL), ==, -EPERM);
    g_assert_cmpint(version(77, NULL), ==, -ENOSYS);

    g_assert_cmpint(hypercall_vm_assist(args), ==, -EINVAL);
    args[1] = 64;
    g_assert_cmpint(hypercall_vm_assist(args), ==, -EINVAL);
    args[1] = VMASST_TYPE_writable_pagetables;
    g_assert_cmpint(hypercall_vm_assist(args), ==, 0);
    args[0] = 2;
    g_assert_cmpint(hypercall_vm_assist(args), ==, -ENOSYS);
    guest_end();

    g_assert_cmpint(version(XENVER_commandline, text), ==, 0);
    g_assert_cmpstr(text, ==, "secret");
    g_assert_cmpint(version(XENVER_build_id, NULL), ==, -ENODATA);
    g_assert_cmpint(version(XENVER_get_features, &(struct xen_feature_info){0}), ==, 0);
}

static void
others_are_shut_down_by_their_controller_alone(void)
{
    struct sched_remote_shutdown op = {.domain_id = 0, .reason = SHUTDOWN_crash};
    struct sched_pin_override pin = {1};
    u64 args[6] = {SCHEDOP_remote_shutdown, (u64)&op};

    guest_begin(1);
    g_assert_cmpint(hypercall_sched_op(args), ==, -EPERM);
    op.domain_id = 4711;
    g_assert_cmpint(hypercall_sched_op(args), ==, -ESRCH);
    op.domain_id = DOMID_IO;
    g_assert_cmpint(hypercall_sched_op(args), ==, -ESRCH);
    args[0] = SCHEDOP_pin_override;
    args[1] = (u64)&pin;
    g_assert_cmpint(hypercall_sched_op(args), ==, -EPERM);
    args[0] = 99;
    g_assert_cmpint(hypercall_sched_op(args), ==, -ENOSYS);
    guest_end();
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/domain/" #name, name)
    TEST(configurations_are_checked);
    TEST(creation_without_memory_leaves_nothing);
    TEST(ids_are_not_used_again_soon);
    TEST(walk_is_in_order_and_survives_removal);
    TEST(death_gives_everything_back);
    TEST(held_domain_is_a_zombie_until_it_is_let_go);
    TEST(frame_that_another_holds_outlives_the_kill);
    TEST(nobody_ends_itself);
    TEST(shutdown_is_complete_when_the_last_vcpu_has_stopped);
    TEST(hardware_domain_takes_the_machine_along);
    TEST(pauses_by_the_controller_nest_and_have_a_limit);
    TEST(watchdog_ends_a_guest_that_forgets_it);
    TEST(vcpu_op_checks_its_arguments);
    TEST(last_vcpu_to_go_down_ends_the_domain);
    TEST(vcpu_info_moves_with_what_is_pending);
    TEST(singleshot_timer_raises_its_virq);
    TEST(areas_are_written_where_the_guest_asked);
    TEST(version_is_what_tools_expect);
    TEST(others_are_shut_down_by_their_controller_alone);
    return g_test_run();
}
