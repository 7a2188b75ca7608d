/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The type machine against a model: random requests of three vCPUs for a handful of frames, with tables that
 * are refused, preempted and resumed at random entries.  Then real threads, for what runs without a lock.
 */
#include "base/string.h"
#include "domain/page.h"
#include "x86/pte.h"
#include "x86/tlb.h"
#include "fake.h"

#include <glib.h>
#include <pthread.h>

#define FRAMES 6u
#define FIRST  16u
#define ACTORS 3u

static struct domain *d;

/* Entries of each frame that hold references, as the table code would have taken them. */
static unsigned entries_held[FRAMES];
/* What the table code will do next: stop at an entry, and how. */
static unsigned stop_at = PTE_ENTRIES;
static int stop_rc;

static unsigned
index_of(const struct frame *frame)
{
    return mfn_x(frame_mfn(frame)) - FIRST;
}

static int
validate(struct domain *domain, struct frame *frame, u64 type)
{
    unsigned *held = &entries_held[index_of(frame)];

    g_assert_true(domain == d);
    g_assert_cmpuint(frame->type & FRAME_TYPE, ==, type);
    g_assert_cmpuint(frame->type & FRAME_TYPE_COUNT, ==, 1);
    g_assert_cmpuint(frame->partial, ==, *held);
    if (stop_at < PTE_ENTRIES && stop_at >= *held) {
        *held = frame->partial = stop_at;
        return stop_rc;
    }
    *held = frame->partial = PTE_ENTRIES;
    return 0;
}

static int
devalidate(struct domain *domain, struct frame *frame, u64 type)
{
    unsigned *held = &entries_held[index_of(frame)];

    g_assert_cmpuint(frame->partial, ==, *held);
    if (stop_rc == -ERESTART && stop_at < *held) {
        *held = frame->partial = stop_at;
        return -ERESTART;
    }
    *held = frame->partial = 0;
    return 0;
}

static const struct domain_ops ops = {.type_validate = validate, .type_devalidate = devalidate};

static struct frame *
frame_at(unsigned i)
{
    return frame_of(_mfn(FIRST + i));
}

static void
begin(void)
{
    fake_domains_forget();
    fake_machine_init(64, 3);
    d = fake_domain_new(1, ACTORS);
    d->ops = &ops;
    memset(entries_held, 0, sizeof(entries_held));
    stop_at = PTE_ENTRIES;
    for (unsigned i = 0; i < FRAMES; i++)
        g_assert_cmpint(page_assign(d, _mfn(FIRST + i), 0, 0), ==, 0);
    for (unsigned i = 0; i < ACTORS; i++)
        fake_run_as(d->vcpus[i], i);
}

/* The model of one frame. */
enum model_state { FREE, USED, BEGUN, FAILED, ENDING };

struct model {
    enum model_state state;
    u64 type;       /* of the last use */
    unsigned count; /* references held by actors, by all */
    unsigned by[ACTORS];
};

static const u64 types[] = {FRAME_TYPE_L1, FRAME_TYPE_L2, FRAME_TYPE_L4, FRAME_TYPE_DESC,
                            FRAME_TYPE_WRITABLE};

/* Which stop applies to this type: only L2 to L4 are preempted. */
static void
choose_stop(u64 type)
{
    unsigned what = g_test_rand_int_range(0, 4);

    stop_at = what ? (unsigned)g_test_rand_int_range(0, PTE_ENTRIES) : PTE_ENTRIES;
    stop_rc = what == 1 ? -EINVAL : -ERESTART;
    if (stop_rc == -ERESTART && (type < FRAME_TYPE_L2 || type > FRAME_TYPE_L4))
        stop_at = PTE_ENTRIES;
}

static int
model_make(struct model *m, unsigned held)
{
    bool stops = stop_at < PTE_ENTRIES && stop_at >= held;

    if (m->state != FAILED) {
        if (!stops) {
            m->state = USED;
            m->count = 1;
            return 0;
        }
        if (stop_rc == -ERESTART) {
            m->state = BEGUN;
            return -ERESTART;
        }
        held = stop_at;
    }
    /* Undone: all the way, as an undoing that is preempted needs stop_rc -ERESTART. */
    if (stop_rc == -ERESTART && stop_at < held) {
        m->state = FAILED;
        return -ERESTART;
    }
    m->state = FREE;
    return -EINVAL;
}

static int
model_get(struct model *m, u64 type, unsigned held)
{
    switch (m->state) {
    case FREE:
        m->type = type;
        if (type == FRAME_TYPE_WRITABLE) {
            m->state = USED;
            m->count = 1;
            return 0;
        }
        return model_make(m, 0);
    case USED:
        if (m->type != type)
            return -EINVAL;
        m->count++;
        return 0;
    case BEGUN:
    case FAILED:
        return m->type == type ? model_make(m, held) : -EINVAL;
    case ENDING:
        return -EINVAL;
    }
    g_assert_not_reached();
}

static int
model_put(struct model *m, unsigned held)
{
    if (m->count > 1) {
        m->count--;
        return 0;
    }
    if (m->state == USED && m->type != FRAME_TYPE_WRITABLE && m->type != FRAME_TYPE_DESC)
        held = PTE_ENTRIES;
    if (m->type >= FRAME_TYPE_L2 && m->type <= FRAME_TYPE_L4 && stop_rc == -ERESTART && stop_at < held) {
        m->state = ENDING;
        return -ERESTART;
    }
    m->state = FREE;
    m->count = 0;
    return 0;
}

static void
check(const struct frame *frame, const struct model *m)
{
    u64 flags = frame->type & (FRAME_TYPE_VALIDATED | FRAME_TYPE_PARTIAL | FRAME_TYPE_FAILED), expected = 0;
    u64 self = 0;

    g_assert_cmpuint(frame->type & FRAME_TYPE_COUNT, ==, m->count);
    switch (m->state) {
    case FREE:
        expected = m->type == FRAME_TYPE_WRITABLE ? FRAME_TYPE_VALIDATED : 0;
        break;
    case USED:
        expected = FRAME_TYPE_VALIDATED;
        break;
    case BEGUN:
        expected = FRAME_TYPE_PARTIAL;
        self = 1;
        break;
    case FAILED:
        expected = FRAME_TYPE_PARTIAL | FRAME_TYPE_FAILED;
        self = 1;
        break;
    case ENDING:
        expected = FRAME_TYPE_PARTIAL;
        break;
    }
    g_assert_cmphex(flags, ==, expected);
    g_assert_cmphex(frame->type & FRAME_TYPE, ==, m->type);
    g_assert_cmpuint(frame->count & FRAME_COUNT_MASK, ==, 1 + m->count + self);
}

static void
random_requests_match_the_model(void)
{
    struct model models[FRAMES] = {0};

    begin();
    for (unsigned step = 0; step < 300000; step++) {
        unsigned i = g_test_rand_int_range(0, FRAMES), actor = g_test_rand_int_range(0, ACTORS);
        struct frame *frame = frame_at(i);
        struct model *m = &models[i];
        unsigned held = entries_held[i];
        u64 stamp = frame->stamp, old_type = frame->type & FRAME_TYPE;

        fake_run_as(d->vcpus[actor], actor);
        if (g_test_rand_int_range(0, 50) == 0)
            tlb_flush_local();
        if (g_test_rand_int_range(0, 2)) {
            u64 type = types[g_test_rand_int_range(0, ARRAY_SIZE(types))];
            int expected, rc;

            choose_stop(type);
            expected = model_get(m, type, held);
            g_assert_true(page_get(frame, d));
            rc = page_get_type(frame, type);
            g_assert_cmpint(rc, ==, expected);
            if (rc)
                page_put(frame);
            else
                m->by[actor]++;
            /* A frame that becomes something else has no old translation left anywhere. */
            if (!rc && old_type && old_type != type)
                for (unsigned cpu = 0; cpu < 3; cpu++)
                    g_assert_cmpuint(fake_cpus[cpu].tlb_time, >, stamp);
        } else if (m->by[actor]) {
            int expected, rc;

            choose_stop(m->type);
            expected = model_put(m, held);
            rc = page_put_type(frame);
            g_assert_cmpint(rc, ==, expected);
            if (!rc) {
                page_put(frame);
                m->by[actor]--;
            }
        } else if (m->state == BEGUN || m->state == FAILED) {
            choose_stop(m->type);
            if (stop_rc == -ERESTART && stop_at < held) {
                m->state = FAILED;
                g_assert_cmpint(page_drop_partial(frame), ==, -ERESTART);
            } else {
                m->state = FREE;
                g_assert_cmpint(page_drop_partial(frame), ==, 0);
            }
        }
        check(frame, m);
        if (m->state == USED && m->type <= FRAME_TYPE_L4)
            g_assert_cmpuint(entries_held[i], ==, PTE_ENTRIES);
        if (m->state == FREE || m->type == FRAME_TYPE_WRITABLE)
            g_assert_cmpuint(m->type == FRAME_TYPE_DESC ? 0 : entries_held[i], ==, 0);
        if (m->type == FRAME_TYPE_DESC)
            entries_held[i] = 0;
    }
}

static void
frame_with_a_half_made_table_is_not_freed(void)
{
    struct frame *frame;

    begin();
    frame = frame_at(0);
    stop_at = 100;
    stop_rc = -ERESTART;
    g_assert_true(page_get(frame, d));
    g_assert_cmpint(page_get_type(frame, FRAME_TYPE_L3), ==, -ERESTART);
    page_put(frame);
    g_assert_true(page_release(frame));
    g_assert_cmphex(frame->count & FRAME_STATE, ==, FRAME_STATE_DOMAIN);
    g_assert_cmpint(page_get_type(frame, FRAME_TYPE_WRITABLE), ==, -EINVAL);
    stop_at = PTE_ENTRIES;
    g_assert_cmpint(page_drop_partial(frame), ==, 0);
    g_assert_cmphex(frame->count & FRAME_STATE, ==, FRAME_STATE_FREE);
}

static void
retyping_flushes_only_cpus_that_ran_the_domain(void)
{
    struct frame *frame;

    begin();
    frame = frame_at(0);
    cpumask_clear(&d->dirty_cpus, 2);
    g_assert_cmpint(page_get_writable(frame, d), ==, 0);
    page_put_writable(frame);
    g_assert_cmpuint(fake_flush_count, ==, 0);
    g_assert_true(page_get(frame, d));
    g_assert_cmpint(page_get_type(frame, FRAME_TYPE_L1), ==, 0);
    g_assert_cmpuint(fake_cpu_flushes[0], ==, 1);
    g_assert_cmpuint(fake_cpu_flushes[1], ==, 1);
    g_assert_cmpuint(fake_cpu_flushes[2], ==, 0);
}

/* --- threads --- */

static u32 writers[FRAMES], tables[FRAMES];

static void *
hammer(void *arg)
{
    unsigned cpu = (unsigned)(u64)arg;
    GRand *rand = g_rand_new_with_seed(cpu);

    fake_run_as(d->vcpus[cpu], cpu);
    for (unsigned step = 0; step < 100000; step++) {
        unsigned i = g_rand_int_range(rand, 0, 2);
        struct frame *frame = frame_at(i);

        if (g_rand_boolean(rand)) {
            if (page_get_writable(frame, d))
                continue;
            atomic_inc(&writers[i]);
            g_assert_cmpuint(atomic_read(&tables[i]), ==, 0);
            atomic_dec(&writers[i]);
            page_put_writable(frame);
        } else {
            g_assert_true(page_get(frame, d));
            spin_lock(&d->page_table_lock);
            if (!page_get_type(frame, FRAME_TYPE_L1)) {
                atomic_inc(&tables[i]);
                g_assert_cmpuint(atomic_read(&writers[i]), ==, 0);
                atomic_dec(&tables[i]);
                g_assert_cmpint(page_put_type(frame), ==, 0);
            }
            spin_unlock(&d->page_table_lock);
            page_put(frame);
        }
    }
    g_rand_free(rand);
    return NULL;
}

static void
threads_never_see_a_table_and_a_writer_at_once(void)
{
    pthread_t threads[ACTORS];

    begin();
    for (unsigned i = 0; i < ACTORS; i++)
        pthread_create(&threads[i], NULL, hammer, (void *)(u64)i);
    for (unsigned i = 0; i < ACTORS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < 2; i++) {
        g_assert_cmpuint(frame_at(i)->count & FRAME_COUNT_MASK, ==, 1);
        g_assert_cmpuint(frame_at(i)->type & FRAME_TYPE_COUNT, ==, 0);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/page-type/random_requests_match_the_model", random_requests_match_the_model);
    g_test_add_func("/page-type/frame_with_a_half_made_table_is_not_freed",
                    frame_with_a_half_made_table_is_not_freed);
    g_test_add_func("/page-type/retyping_flushes_only_cpus_that_ran_the_domain",
                    retyping_flushes_only_cpus_that_ran_the_domain);
    g_test_add_func("/page-type/threads_never_see_a_table_and_a_writer_at_once",
                    threads_never_see_a_table_and_a_writer_at_once);
    return g_test_run();
}
