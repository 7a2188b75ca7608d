/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The scheduler under a virtual clock: hogs that always want to run, sleepers that run a little and rest, and
 * a hammer of random operations, from one thread with all invariants looked at, and from four threads at
 * once.
 */
#include "domain/sched-private.h"
#include "base/string.h"
#include "mm/heap.h"
#include "x86/apic.h"
#include "x86/tsc.h"
#include "fake.h"

#include <glib.h>

#define CPUS    4u
#define STEP_NS 100000ull
#define SECOND  1000000000ull

struct domain *domain_idle, *hardware_domain;

/* --- what sched.c wants of its neighbors --- */

struct vcpu *
vcpu_create_idle(unsigned cpu)
{
    struct vcpu *v = g_malloc0(sizeof(*v));

    v->domain = domain_idle;
    v->is_idle = true;
    v->cpu = cpu;
    v->state = VCPU_RUNNABLE;
    return v;
}

void
domain_shutdown_progress(struct domain *d)
{
    (void)d;
}

/* Whose registers are on which CPU; loading some that are not saved yet is the error this finds. */
static int owner[32][128];

void
context_switch(struct vcpu *prev, struct vcpu *next)
{
    if (!next->is_idle)
        g_assert_cmpint(
            __atomic_exchange_n(&owner[next->domain->id][next->id], (int)cpu_id() + 1, __ATOMIC_SEQ_CST), ==,
            0);
    current = next;
    if (!prev->is_idle)
        __atomic_store_n(&owner[prev->domain->id][prev->id], 0, __ATOMIC_SEQ_CST);
    sched_switch_done(prev);
}

/* --- a world --- */

static struct domain *domains[32];
static unsigned domain_count;
static struct vcpu_info infos[32][128];

static void
begin(unsigned cpus)
{
    fake_machine_init(16, cpus);
    sched_ratelimit_us = SCHED_RATELIMIT_DEFAULT_US;
    domain_idle = fake_domain_new(31, 0);
    domain_count = 0;
    memset(owner, 0, sizeof(owner));
    sched_init();
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        fake_cpu_set(cpu);
        timer_cpu_init(cpu);
        g_assert_cmpint(sched_cpu_init(cpu), ==, 0);
        current = this_cpu()->idle;
    }
    fake_cpu_set(0);
}

static struct domain *
new_domain(unsigned vcpus, u32 weight, u32 cap)
{
    struct domain *d = fake_domain_new(domain_count, vcpus);

    g_assert_cmpint(sched_domain_init(d), ==, 0);
    d->sched->weight = weight;
    for (unsigned i = 0; i < vcpus; i++) {
        g_assert_cmpint(sched_vcpu_init(d->vcpus[i]), ==, 0);
        d->vcpus[i]->info = &infos[domain_count][i];
    }
    if (cap) {
        struct xen_domctl_scheduler_op op = {.sched_id = XEN_SCHEDULER_CREDIT2,
                                             .cmd = XEN_DOMCTL_SCHEDOP_putinfo,
                                             .u.credit2 = {.weight = weight, .cap = cap}};

        g_assert_cmpint(sched_domctl(d, &op), ==, 0);
    }
    domains[domain_count++] = d;
    return d;
}

static void
start(struct domain *d)
{
    struct vcpu *v;

    for_each_vcpu(d, v)
        sched_set_state(v, VCPU_RUNNABLE);
    fake_run_softirqs();
}

static void
end(void)
{
    struct vcpu *v;

    for (unsigned i = 0; i < domain_count; i++) {
        for_each_vcpu(domains[i], v)
            sched_set_state(v, VCPU_OFFLINE);
        fake_run_softirqs();
        for_each_vcpu(domains[i], v)
            sched_vcpu_fini(v);
        sched_domain_fini(domains[i]);
    }
    for (unsigned cpu = 0; cpu < cpu_limit; cpu++) {
        timer_fini(&cpu_at(cpu)->sched->slice_timer);
        heap_free(cpu_at(cpu)->sched);
        heap_free(cpu_at(cpu)->timers);
        g_free(cpu_at(cpu)->idle);
    }
    fake_domains_forget();
}

/* Lets everybody run for @ns.  A vCPU with rest[] rests that long after each run of run[]. */
static u64 rest[32][128], run[32][128], left[32][128], wake_at[32][128];

static void
simulate(u64 ns)
{
    u64 until = fake_now_ns + ns;
    struct vcpu *v;

    while (fake_now_ns < until) {
        fake_clock_run_until(fake_now_ns + STEP_NS);
        for (unsigned cpu = 0; cpu < cpu_limit; cpu++) {
            fake_cpu_set(cpu);
            v = current;
            if (v->is_idle || !rest[v->domain->id][v->id])
                continue;
            left[v->domain->id][v->id] -= MIN(left[v->domain->id][v->id], STEP_NS);
            if (!left[v->domain->id][v->id]) {
                wake_at[v->domain->id][v->id] = fake_now_ns + rest[v->domain->id][v->id];
                left[v->domain->id][v->id] = run[v->domain->id][v->id];
                vcpu_block();
            }
        }
        fake_cpu_set(0);
        for (unsigned i = 0; i < domain_count; i++)
            for_each_vcpu(domains[i], v)
                if (wake_at[i][v->id] && wake_at[i][v->id] <= fake_now_ns) {
                    wake_at[i][v->id] = 0;
                    vcpu_wake(v);
                }
        fake_run_softirqs();
    }
}

static double
share(struct domain *d, u64 since_total, u64 ns)
{
    struct vcpu *v;
    u64 total = 0;

    for_each_vcpu(d, v)
        total += vcpu_run_ns(v);
    return (double)(total - since_total) / ns;
}

static void
assert_near(double value, double want, double tolerance)
{
    if (value < want - tolerance || value > want + tolerance)
        g_error("%.4f is not within %.4f of %.4f", value, tolerance, want);
}

/* Everything that must be true whenever no CPU is in the middle of something. */
static void
check_invariants(void)
{
    struct vcpu *v;

    for (unsigned cpu = 0; cpu < cpu_limit; cpu++) {
        struct sched_cpu *q = cpu_at(cpu)->sched;
        unsigned waiting = 0;

        g_assert_true(q->curr == fake_cpus[cpu].vcpu);
        g_assert_true(q->curr->is_running);
        g_assert_cmpuint(q->curr->cpu, ==, cpu);
        for (struct pq_node *node = pq_next(&q->queue, NULL); node;
             node = pq_next(&q->queue, node), waiting++) {
            v = container_of(node, struct sched_vcpu, node)->vcpu;
            g_assert_cmpuint(v->cpu, ==, cpu);
            g_assert_true(sched_may_run_on(v, cpu));
            g_assert_true(v->state == VCPU_RUNNABLE && !v->pause_count && !v->domain->pause_count);
            g_assert_false(v->is_running);
            g_assert_false(v->sched->parked);
        }
        g_assert_cmpuint(waiting, ==, q->waiting);
        /* Nobody waits where the CPU has nothing to do. */
        g_assert_false(waiting && q->curr->is_idle);
    }
    for (unsigned i = 0; i < domain_count; i++)
        for_each_vcpu(domains[i], v) {
            bool runnable = v->state == VCPU_RUNNABLE && !v->pause_count && !v->domain->pause_count;

            g_assert_false(v->sched->homeless);
            g_assert_cmpint(v->is_running, ==, cpu_at(v->cpu)->sched->curr == v);
            if (v->is_running)
                g_assert_true(sched_may_run_on(v, v->cpu));
            /* A domain's cap may have run out under a vCPU whose slice is not over. */
            g_assert_cmpint(v->is_running + pq_is_queued(&v->sched->node) + (runnable && v->sched->parked),
                            ==, runnable);
        }
}

/* --- fairness --- */

static void
time_is_shared_by_weight_on_one_cpu(void)
{
    static const u32 weights[] = {256, 512, 1024, 128};
    double total = 256 + 512 + 1024 + 128;

    begin(1);
    for (unsigned i = 0; i < ARRAY_SIZE(weights); i++)
        start(new_domain(1, weights[i], 0));
    simulate(10 * SECOND);
    for (unsigned i = 0; i < ARRAY_SIZE(weights); i++)
        assert_near(share(domains[i], 0, 10 * SECOND), weights[i] / total, 0.01);
    check_invariants();
    end();
}

static void
time_is_shared_by_weight_on_four_cpus(void)
{
    begin(CPUS);
    /* Shares of 4 CPUs: weights 256 x 8 and 768 x 4, so 5120 in all. */
    for (unsigned i = 0; i < 8; i++)
        start(new_domain(1, 256, 0));
    for (unsigned i = 0; i < 4; i++)
        start(new_domain(1, 768, 0));
    simulate(20 * SECOND);
    for (unsigned i = 0; i < 8; i++)
        assert_near(share(domains[i], 0, 20 * SECOND), 4 * 256 / 5120.0, 0.02);
    for (unsigned i = 8; i < 12; i++)
        assert_near(share(domains[i], 0, 20 * SECOND), 4 * 768 / 5120.0, 0.06);
    check_invariants();
    end();
}

static void
three_equals_share_two_cpus(void)
{
    begin(2);
    for (unsigned i = 0; i < 3; i++)
        start(new_domain(1, 256, 0));
    simulate(10 * SECOND);
    for (unsigned i = 0; i < 3; i++)
        assert_near(share(domains[i], 0, 10 * SECOND), 2 / 3.0, 0.02);
    end();
}

static void
no_cpu_idles_while_somebody_waits(void)
{
    double total = 0;

    begin(CPUS);
    for (unsigned i = 0; i < 7; i++)
        start(new_domain(1, 256, 0));
    simulate(5 * SECOND);
    for (unsigned i = 0; i < 7; i++)
        total += share(domains[i], 0, 5 * SECOND);
    assert_near(total, CPUS, 0.001);
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        g_assert_cmpuint(sched_cpu_idle_ns(cpu), <, SECOND / 100);
    end();
}

static void
sleeper_gets_the_cpu_soon_and_no_more_than_its_share(void)
{
    struct domain *sleeper;

    begin(1);
    for (unsigned i = 0; i < 4; i++)
        start(new_domain(1, 256, 0));
    sleeper = new_domain(1, 256, 0);
    run[4][0] = left[4][0] = 2 * STEP_NS;
    rest[4][0] = 9800000;
    start(sleeper);
    simulate(10 * SECOND);
    /* It wants 2 % of the CPU, far less than its share: it gets nearly all of that. */
    assert_near(share(sleeper, 0, 10 * SECOND), 0.02, 0.003);

    /* Now it wants half: as much as its share, and a little for being away. */
    u64 before = vcpu_run_ns(sleeper->vcpus[0]);

    run[4][0] = left[4][0] = 10000000;
    rest[4][0] = 10000000;
    simulate(10 * SECOND);
    assert_near(share(sleeper, before, 10 * SECOND), 0.2, 0.1);
    rest[4][0] = 0;
    end();
}

static void
hundred_vcpus_on_four_cpus_none_starves(void)
{
    struct domain *d;
    struct vcpu *v;
    u64 before[100], longest = 0;

    begin(CPUS);
    d = new_domain(100, 256, 0);
    start(d);
    simulate(SECOND);
    for (unsigned round = 0; round < 10; round++) {
        for_each_vcpu(d, v)
            before[v->id] = vcpu_run_ns(v);
        simulate(SECOND);
        for_each_vcpu(d, v) {
            u64 got = vcpu_run_ns(v) - before[v->id];

            g_assert_cmpuint(got, >, 15000000); /* its share is 40 ms */
            longest = MAX(longest, got);
        }
        check_invariants();
    }
    g_assert_cmpuint(longest, <, 80000000);
    end();
}

static void
vcpu_that_was_pinned_to_a_crowd_is_no_king_elsewhere(void)
{
    cpumask_t one = {.bits = {1}}, all = {.bits = {0xf}};
    struct domain *crowd, *others;
    struct vcpu *v;

    begin(2);
    crowd = new_domain(10, 256, 0);
    others = new_domain(1, 256, 0);
    for_each_vcpu(crowd, v)
        g_assert_cmpint(sched_set_hard_affinity(v, &one), ==, 0);
    start(crowd);
    start(others);
    simulate(5 * SECOND);
    /* The crowd's clock is far behind; the one that leaves it must not have CPU 1 for itself for seconds. */
    u64 before = vcpu_run_ns(others->vcpus[0]);

    g_assert_cmpint(sched_set_hard_affinity(crowd->vcpus[3], &all), ==, 0);
    simulate(SECOND);
    g_assert_cmpuint(vcpu_run_ns(others->vcpus[0]) - before, >, SECOND * 4 / 10);
    check_invariants();
    end();
}

/* --- caps --- */

static void
cap_holds_and_is_used(void)
{
    begin(CPUS);
    start(new_domain(1, 256, 30));
    start(new_domain(4, 256, 150));
    start(new_domain(1, 256, 0));
    simulate(10 * SECOND);
    assert_near(share(domains[0], 0, 10 * SECOND), 0.30, 0.01);
    assert_near(share(domains[1], 0, 10 * SECOND), 1.50, 0.05);
    /* Six want four CPUs while there is budget, then this one has a CPU for itself. */
    assert_near(share(domains[2], 0, 10 * SECOND), 0.9, 0.1);

    /* And off again. */
    struct xen_domctl_scheduler_op op = {
        .sched_id = XEN_SCHEDULER_CREDIT2,
        .cmd = XEN_DOMCTL_SCHEDOP_putinfo,
        .u.credit2 = {.weight = 256, .cap = 0},
    };
    u64 before = vcpu_run_ns(domains[0]->vcpus[0]);

    g_assert_cmpint(sched_domctl(domains[0], &op), ==, 0);
    simulate(SECOND);
    assert_near(share(domains[0], before, SECOND), 1.0, 0.35);
    check_invariants();
    end();
}

/* --- affinity --- */

static void
affinity_is_respected(void)
{
    cpumask_t two = {.bits = {0x6}}, third = {.bits = {0x4}}, none = {.bits = {0x10}};
    struct domain *d;
    struct vcpu *v;

    begin(CPUS);
    d = new_domain(6, 256, 0);
    for_each_vcpu(d, v)
        g_assert_cmpint(sched_set_hard_affinity(v, &two), ==, 0);
    g_assert_cmpint(sched_set_hard_affinity(d->vcpus[0], &none), ==, -EINVAL);
    start(d);
    for (unsigned i = 0; i < 50; i++) {
        simulate(20000000);
        check_invariants();
        g_assert_true(fake_cpus[0].vcpu->is_idle && fake_cpus[3].vcpu->is_idle);
    }
    for_each_vcpu(d, v)
        assert_near((double)vcpu_run_ns(v) / SECOND, 2 / 6.0, 0.05);

    /* Changed under running ones: nobody stays. */
    for_each_vcpu(d, v)
        g_assert_cmpint(sched_set_hard_affinity(v, &third), ==, 0);
    fake_run_softirqs();
    check_invariants();
    g_assert_true(fake_cpus[1].vcpu->is_idle);
    for_each_vcpu(d, v)
        g_assert_cmpuint(v->cpu, ==, 2);
    end();
}

static void
soft_affinity_is_followed_while_there_is_room(void)
{
    cpumask_t soft = {.bits = {0x8}};
    struct domain *d;

    begin(CPUS);
    d = new_domain(1, 256, 0);
    g_assert_cmpint(sched_set_soft_affinity(d->vcpus[0], &soft), ==, 0);
    start(d);
    simulate(SECOND / 10);
    g_assert_cmpuint(d->vcpus[0]->cpu, ==, 3);
    end();
}

static void
override_pins_the_caller_and_lets_go(void)
{
    struct domain *d;
    struct vcpu *v;

    begin(CPUS);
    d = new_domain(1, 256, 0);
    v = d->vcpus[0];
    start(d);
    g_assert_cmpint(sched_pin_override(v, -1), ==, -EINVAL);
    g_assert_cmpint(sched_pin_override(v, CPUS), ==, -EINVAL);
    for (int cpu = CPUS - 1; cpu >= 0; cpu--) {
        g_assert_cmpint(sched_pin_override(v, cpu), ==, 0);
        g_assert_cmpint(sched_pin_override(v, 0), ==, -EBUSY);
        fake_run_softirqs();
        g_assert_true(v->is_running);
        g_assert_cmpuint(v->cpu, ==, cpu);
        g_assert_cmpint(sched_pin_override(v, -1), ==, 0);
    }
    check_invariants();
    end();
}

/* --- what the rest of the hypervisor leans on --- */

static void
paused_vcpu_is_off_its_cpu_when_sleep_returns(void)
{
    struct domain *d;
    struct vcpu *v;

    begin(1);
    d = new_domain(2, 256, 0);
    start(d);
    v = d->vcpus[0];
    d->pause_count = 1;
    vcpu_sleep(v);
    vcpu_sleep(d->vcpus[1]);
    fake_run_softirqs();
    vcpu_sleep_sync(v);
    g_assert_false(v->is_running);
    g_assert_cmpint(v->runstate.state, ==, RUNSTATE_offline);
    g_assert_true(current->is_idle);
    d->pause_count = 0;
    sched_reconsider(v);
    fake_run_softirqs();
    g_assert_true(current == v);
    end();
}

static void
event_between_look_and_sleep_is_not_lost(void)
{
    struct domain *d;
    struct vcpu *v;

    begin(1);
    d = new_domain(1, 256, 0);
    start(d);
    v = d->vcpus[0];
    g_assert_true(current == v);

    v->info->evtchn_upcall_pending = 1;
    vcpu_block();
    g_assert_cmpint(v->state, ==, VCPU_RUNNABLE);

    v->info->evtchn_upcall_pending = 0;
    vcpu_block();
    vcpu_wake(v); /* before the softirq */
    fake_run_softirqs();
    g_assert_true(current == v);

    vcpu_block();
    fake_run_softirqs();
    g_assert_true(current->is_idle);
    g_assert_cmpint(v->runstate.state, ==, RUNSTATE_blocked);
    vcpu_kick(v);
    fake_run_softirqs();
    g_assert_true(current == v);
    end();
}

static void
yield_lets_the_next_one_go(void)
{
    struct domain *d;
    struct vcpu *first, *second;

    begin(1);
    d = new_domain(2, 256, 0);
    start(d);
    first = current;
    vcpu_yield();
    fake_run_softirqs();
    second = current;
    g_assert_true(first != second && !second->is_idle);
    vcpu_yield();
    fake_run_softirqs();
    g_assert_true(current == first);
    end();
}

static void
parameters_are_checked(void)
{
    struct xen_domctl_scheduler_op op = {.sched_id = XEN_SCHEDULER_CREDIT};
    struct xen_sysctl_scheduler_op sysop = {.sched_id = XEN_SCHEDULER_CREDIT2,
                                            .cmd = XEN_SYSCTL_SCHEDOP_getinfo};
    struct domain *d;

    begin(1);
    d = new_domain(1, 256, 0);
    g_assert_cmpint(sched_domctl(d, &op), ==, -EINVAL);
    op.sched_id = XEN_SCHEDULER_CREDIT2;
    op.cmd = XEN_DOMCTL_SCHEDOP_putvcpuinfo;
    g_assert_cmpint(sched_domctl(d, &op), ==, -EINVAL);
    op.cmd = XEN_DOMCTL_SCHEDOP_putinfo;
    op.u.credit2.weight = 65535;
    op.u.credit2.cap = 0xffff; /* as it is */
    g_assert_cmpint(sched_domctl(d, &op), ==, 0);
    op.cmd = XEN_DOMCTL_SCHEDOP_getinfo;
    g_assert_cmpint(sched_domctl(d, &op), ==, 0);
    g_assert_cmpuint(op.u.credit2.weight, ==, 65535);
    g_assert_cmpuint(op.u.credit2.cap, ==, 0);

    g_assert_cmpint(sched_sysctl(&sysop), ==, 0);
    g_assert_cmpuint(sysop.u.sched_credit2.ratelimit_us, ==, 1000);
    sysop.cmd = XEN_SYSCTL_SCHEDOP_putinfo;
    sysop.u.sched_credit2.ratelimit_us = 50;
    g_assert_cmpint(sched_sysctl(&sysop), ==, -EINVAL);
    sysop.u.sched_credit2.ratelimit_us = 500001;
    g_assert_cmpint(sched_sysctl(&sysop), ==, -EINVAL);
    sysop.cpupool_id = 1;
    g_assert_cmpint(sched_sysctl(&sysop), ==, -ESRCH);
    end();
}

static void
cpupool_is_one(void)
{
    u8 map[4] = {0xff, 0xff, 0xff, 0xff};
    struct xen_sysctl_cpupool_op op = {.op = XEN_SYSCTL_CPUPOOL_OP_INFO, .cpumap = {.nr_bits = 12}};

    begin(CPUS);
    set_xen_guest_handle(op.cpumap.bitmap, map);
    g_assert_cmpint(sched_cpupool_op(&op), ==, 0);
    g_assert_cmpuint(op.sched_id, ==, XEN_SCHEDULER_CREDIT2);
    g_assert_cmphex(map[0], ==, 0x0f);
    g_assert_cmphex(map[1], ==, 0);
    g_assert_cmphex(map[2], ==, 0xff); /* not ours to write */
    op.cpupool_id = 1;
    g_assert_cmpint(sched_cpupool_op(&op), ==, -ENOENT);
    op.op = XEN_SYSCTL_CPUPOOL_OP_CREATE;
    g_assert_cmpint(sched_cpupool_op(&op), ==, -EOPNOTSUPP);
    end();
}

/* --- hammers --- */

static void
random_mask(cpumask_t *mask)
{
    *mask = (cpumask_t){.bits = {g_test_rand_int_range(1, 1 << CPUS)}};
}

static void
random_operations_keep_the_invariants(void)
{
    static const u32 weights[] = {1, 64, 256, 1000, 65535};
    cpumask_t mask;
    struct vcpu *v;

    begin(CPUS);
    for (unsigned i = 0; i < 6; i++)
        start(new_domain(1 + i, weights[i % ARRAY_SIZE(weights)], i == 5 ? 80 : 0));
    for (unsigned step = 0; step < 60000; step++) {
        struct domain *d = domains[g_test_rand_int_range(0, domain_count)];

        v = d->vcpus[g_test_rand_int_range(0, d->max_vcpus)];
        fake_cpu_set(g_test_rand_int_range(0, CPUS));
        switch (g_test_rand_int_range(0, 14)) {
        case 0:
        case 1:
        case 2:
            vcpu_wake(v);
            break;
        case 3:
        case 4:
            if (!current->is_idle && current->state == VCPU_RUNNABLE)
                vcpu_block();
            break;
        case 5:
            if (!current->is_idle)
                vcpu_yield();
            break;
        case 6:
            if (v->pause_count < 3) {
                v->pause_count++;
                vcpu_sleep(v);
            }
            break;
        case 7:
        case 8:
            if (v->pause_count && !--v->pause_count)
                sched_reconsider(v);
            break;
        case 9:
            random_mask(&mask);
            g_assert_cmpint(sched_set_hard_affinity(v, &mask), ==, 0);
            break;
        case 10:
            random_mask(&mask);
            g_assert_cmpint(sched_set_soft_affinity(v, &mask), ==, 0);
            break;
        case 11:
            sched_set_state(v, g_test_rand_int_range(0, 4) ? VCPU_RUNNABLE : VCPU_OFFLINE);
            break;
        case 12:
            d->pause_count = !d->pause_count;
            for_each_vcpu(d, v) {
                if (d->pause_count)
                    vcpu_sleep(v);
                else
                    sched_reconsider(v);
            }
            break;
        default:
            fake_clock_run_until(fake_now_ns + g_test_rand_int_range(0, 3000000));
        }
        if (step % 4 == 0) {
            fake_run_softirqs();
            check_invariants();
        }
    }
    fake_run_softirqs();
    for (unsigned i = 0; i < domain_count; i++) {
        domains[i]->pause_count = 0;
        for_each_vcpu(domains[i], v)
            v->pause_count = 0;
    }
    end();
}

#define HAMMER_STEPS 10000u
static int hammering;

static gpointer
hammer_cpu(gpointer data)
{
    unsigned cpu = GPOINTER_TO_UINT(data);
    GRand *rand = g_rand_new_with_seed(cpu * 7919 + 1);

    fake_cpu_set(cpu);
    for (unsigned step = 0; step < HAMMER_STEPS || __atomic_load_n(&hammering, __ATOMIC_SEQ_CST); step++) {
        struct domain *d = domains[g_rand_int_range(rand, 0, domain_count)];
        struct vcpu *v = d->vcpus[g_rand_int_range(rand, 0, d->max_vcpus)];
        cpumask_t mask = {.bits = {g_rand_int_range(rand, 1, 1 << CPUS)}};

        if (step == HAMMER_STEPS)
            __atomic_sub_fetch(&hammering, 1, __ATOMIC_SEQ_CST);
        if (cpu == 0)
            __atomic_add_fetch(&fake_now_ns, 20000, __ATOMIC_RELAXED);
        if (fake_apic_deadline_ns[cpu] && fake_apic_deadline_ns[cpu] <= fake_now_ns) {
            fake_apic_deadline_ns[cpu] = 0;
            softirq_raise(cpu, SOFTIRQ_TIMER);
        }
        softirq_run();
        if (step >= HAMMER_STEPS)
            continue;
        switch (g_rand_int_range(rand, 0, 10)) {
        case 0:
        case 1:
        case 2:
            vcpu_wake(v);
            break;
        case 3:
        case 4:
            if (!current->is_idle)
                vcpu_block();
            break;
        case 5:
            if (!current->is_idle)
                vcpu_yield();
            break;
        case 6:
            __atomic_add_fetch(&v->pause_count, 1, __ATOMIC_SEQ_CST);
            vcpu_sleep(v);
            if (v != current && g_rand_boolean(rand) && !__atomic_load_n(&v->is_running, __ATOMIC_SEQ_CST))
                vcpu_sleep_sync(v);
            if (!__atomic_sub_fetch(&v->pause_count, 1, __ATOMIC_SEQ_CST))
                sched_reconsider(v);
            break;
        case 7:
            sched_set_hard_affinity(v, &mask);
            break;
        case 8:
            if (!current->is_idle)
                (void)sched_pin_override(current, g_rand_int_range(rand, -1, CPUS));
            break;
        default:
            vcpu_kick(v);
        }
    }
    g_rand_free(rand);
    return NULL;
}

static void
four_cpus_at_once_keep_the_invariants(void)
{
    GThread *threads[CPUS];

    begin(CPUS);
    for (unsigned i = 0; i < 4; i++)
        start(new_domain(3, 256, i == 3 ? 50 : 0));
    hammering = CPUS;
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        threads[cpu] = g_thread_new("cpu", hammer_cpu, GUINT_TO_POINTER(cpu));
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        g_thread_join(threads[cpu]);
    fake_cpu_set(0);
    fake_run_softirqs();
    check_invariants();
    end();
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/sched/" #name, name)
    TEST(time_is_shared_by_weight_on_one_cpu);
    TEST(time_is_shared_by_weight_on_four_cpus);
    TEST(three_equals_share_two_cpus);
    TEST(no_cpu_idles_while_somebody_waits);
    TEST(sleeper_gets_the_cpu_soon_and_no_more_than_its_share);
    TEST(hundred_vcpus_on_four_cpus_none_starves);
    TEST(vcpu_that_was_pinned_to_a_crowd_is_no_king_elsewhere);
    TEST(cap_holds_and_is_used);
    TEST(affinity_is_respected);
    TEST(soft_affinity_is_followed_while_there_is_room);
    TEST(override_pins_the_caller_and_lets_go);
    TEST(paused_vcpu_is_off_its_cpu_when_sleep_returns);
    TEST(event_between_look_and_sleep_is_not_lost);
    TEST(yield_lets_the_next_one_go);
    TEST(parameters_are_checked);
    TEST(cpupool_is_one);
    TEST(random_operations_keep_the_invariants);
    TEST(four_cpus_at_once_keep_the_invariants);
    return g_test_run();
}
