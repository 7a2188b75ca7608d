/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Timers of several CPUs against a table of deadlines; the heap below them against its own rules. */
#include "domain/timer.h"
#include "base/panic.h"
#include "mm/heap.h"
#include "x86/softirq.h"
#include "fake.h"

#include <glib.h>

#define CPUS    4u
#define TIMERS  64u
#define SPAN_NS 100000

static struct timer timers[TIMERS];
static struct {
    bool armed;
    u64 deadline;
    unsigned fired;
} model[TIMERS];
static u64 again_in[TIMERS]; /* the handler arms it once more, so much later */

static void
begin(void)
{
    fake_machine_init(16, CPUS);
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        fake_cpu_set(cpu);
        timer_cpu_init(cpu);
    }
    fake_cpu_set(0);
}

static void
end(void)
{
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        heap_free(cpu_at(cpu)->timers);
}

static void
fired(void *data)
{
    unsigned i = (unsigned)(u64)data;

    g_assert_true(model[i].armed);
    g_assert_cmpuint(fake_now_ns, >=, model[i].deadline);
    g_assert_cmpuint(cpu_id(), ==, timers[i].cpu);
    g_assert_false(timer_is_armed(&timers[i]));
    model[i].armed = false;
    model[i].fired++;
    if (again_in[i]) {
        model[i].deadline = fake_now_ns + again_in[i];
        model[i].armed = true;
        again_in[i] = 0;
        timer_set(&timers[i], model[i].deadline);
    }
}

/* Moves the clock: the hardware may be programmed too early, never too late. */
static void
advance(u64 ns)
{
    fake_run_softirqs();
    fake_clock_run_until(fake_now_ns + ns);
    for (unsigned i = 0; i < TIMERS; i++) {
        g_assert_cmpint(timer_is_armed(&timers[i]), ==, model[i].armed);
        if (model[i].armed)
            g_assert_cmpuint(model[i].deadline, >, fake_now_ns);
    }
}

static void
random_operations_agree_with_a_table(void)
{
    begin();
    for (unsigned i = 0; i < TIMERS; i++)
        timer_init(&timers[i], fired, (void *)(u64)i, i % CPUS);

    for (unsigned step = 0; step < 50000; step++) {
        unsigned i = g_test_rand_int_range(0, TIMERS);

        fake_cpu_set(g_test_rand_int_range(0, CPUS));
        switch (g_test_rand_int_range(0, 8)) {
        case 0:
        case 1:
        case 2:
            model[i].deadline = fake_now_ns + g_test_rand_int_range(0, SPAN_NS);
            model[i].armed = true;
            timer_set(&timers[i], model[i].deadline);
            break;
        case 3:
            model[i].armed = false;
            timer_stop(&timers[i]);
            break;
        case 4:
            timer_migrate(&timers[i], g_test_rand_int_range(0, CPUS));
            break;
        case 5:
            again_in[i] = g_test_rand_int_range(1, SPAN_NS);
            break;
        default:
            advance(g_test_rand_int_range(0, SPAN_NS / 16));
        }
    }
    for (unsigned i = 0; i < TIMERS; i++)
        g_assert_cmpuint(model[i].fired, >, 0);
    for (unsigned i = 0; i < TIMERS; i++)
        timer_fini(&timers[i]);
    end();
}

static unsigned count;

static void
counts(void *data)
{
    (void)data;
    count++;
}

static void
ended_timer_cannot_be_armed(void)
{
    struct timer timer, never = {0};

    begin();
    count = 0;
    timer_init(&timer, counts, NULL, 1);
    timer_set(&timer, 1000);
    timer_fini(&timer);
    timer_set(&timer, 2000);
    g_assert_false(timer_is_armed(&timer));
    timer_fini(&timer);
    timer_fini(&never);
    fake_run_softirqs();
    fake_clock_run_until(10000);
    g_assert_cmpuint(count, ==, 0);
    end();
}

static void
deadline_that_never_comes_is_no_deadline_in_the_past(void)
{
    struct timer timer;

    begin();
    count = 0;
    timer_init(&timer, counts, NULL, 0);
    timer_set(&timer, ~0ull);
    fake_clock_run_until(1ull << 50);
    g_assert_cmpuint(count, ==, 0);
    timer_set(&timer, 5); /* long past: at once */
    fake_run_softirqs();
    fake_clock_run_until(fake_now_ns);
    g_assert_cmpuint(count, ==, 1);
    end();
}

static struct timer moving;

static void
moves_away_while_it_runs(void *data)
{
    (void)data;
    count++;
    if (count > 1)
        return;
    /*
     * Armed again for now, on another CPU, while this handler has not returned: that CPU must not call it
     * yet.
     */
    timer_migrate(&moving, 1);
    timer_set(&moving, fake_now_ns);
    fake_cpu_set(1);
    this_cpu()->softirqs |= 1u << SOFTIRQ_TIMER;
    softirq_run();
    fake_cpu_set(0);
    g_assert_cmpuint(count, ==, 1);
}

static void
handler_runs_on_one_cpu_at_a_time(void)
{
    begin();
    count = 0;
    timer_init(&moving, moves_away_while_it_runs, NULL, 0);
    timer_set(&moving, 100);
    fake_clock_run_until(100);
    g_assert_cmpuint(count, ==, 1);
    fake_clock_run_until(1000000);
    g_assert_cmpuint(count, ==, 2);
    timer_fini(&moving);
    end();
}

static unsigned
check_heap(const struct pqueue *queue)
{
    unsigned n = 0;

    for (struct pq_node *node = pq_next(queue, NULL); node; node = pq_next(queue, node), n++) {
        u32 left = node->left ? node->left->rank : 0, right = node->right ? node->right->rank : 0;

        g_assert_true(!node->parent || !pq_before(node->key, node->parent->key));
        g_assert_cmpuint(left, >=, right);
        g_assert_cmpuint(node->rank, ==, right + 1);
    }
    return n;
}

static void
heap_keeps_its_rules(void)
{
    static struct pq_node nodes[256];
    struct pqueue queue = {0};
    unsigned n = 0;
    /* Keys around the wrap. */
    u64 base = ~0ull - 500;

    for (unsigned step = 0; step < 20000; step++) {
        struct pq_node *node = &nodes[g_test_rand_int_range(0, ARRAY_SIZE(nodes))];

        if (pq_is_queued(node) && g_test_rand_bit()) {
            pq_move(&queue, node, base + g_test_rand_int_range(0, 1000));
        } else if (pq_is_queued(node)) {
            pq_remove(&queue, node);
            n--;
        } else {
            pq_insert(&queue, node, base + g_test_rand_int_range(0, 1000));
            n++;
        }
        if (step % 64 == 0)
            g_assert_cmpuint(check_heap(&queue), ==, n);
        if (queue.first) {
            for (unsigned i = 0; i < ARRAY_SIZE(nodes) && step % 64 == 0; i++)
                g_assert_true(!pq_is_queued(&nodes[i]) || !pq_before(nodes[i].key, queue.first->key));
        }
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/timer/random_operations_agree_with_a_table", random_operations_agree_with_a_table);
    g_test_add_func("/timer/ended_timer_cannot_be_armed", ended_timer_cannot_be_armed);
    g_test_add_func("/timer/deadline_that_never_comes_is_no_deadline_in_the_past",
                    deadline_that_never_comes_is_no_deadline_in_the_past);
    g_test_add_func("/timer/handler_runs_on_one_cpu_at_a_time", handler_runs_on_one_cpu_at_a_time);
    g_test_add_func("/timer/heap_keeps_its_rules", heap_keeps_its_rules);
    return g_test_run();
}
