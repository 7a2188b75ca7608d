/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames and their owners: charges, references, stealing, and that a dying domain gives back every frame. */
#include "base/string.h"
#include "domain/page.h"
#include "mm/frame-alloc.h"
#include "x86/pte.h"
#include "fake.h"

#include <glib.h>

#define PAGES 2048u

static struct domain *d, *other;

static int
validate(struct domain *domain, struct frame *frame, u64 type)
{
    domain->type_budget -= PTE_ENTRIES;
    return 0;
}

static const struct domain_ops ops = {.type_validate = validate, .type_devalidate = validate};

static void
begin(void)
{
    for (unsigned order = FRAME_ORDER_MAX + 1; order--;)
        while (!mfn_equal(frame_alloc_raw(order, 0), MFN_INVALID))
            ;
    fake_domains_forget();
    fake_machine_init(PAGES, 2);
    frame_alloc_add(_mfn(1), PAGES - 1);
    d = fake_domain_new(1, 1);
    other = fake_domain_new(2, 1);
    d->ops = other->ops = &ops;
    fake_run_as(d->vcpus[0], 0);
    g_assert_cmpuint(frame_free_count(), ==, PAGES - 1);
}

static unsigned
list_length(const struct domain *domain)
{
    unsigned n = 0;

    for (u32 i = domain->pages_first; i != FRAME_NONE; i = frame_of(_mfn(i))->next)
        n++;
    for (u32 i = domain->extra_first; i != FRAME_NONE; i = frame_of(_mfn(i))->next)
        n++;
    return n;
}

static void
allocation_is_charged_and_limited(void)
{
    mfn_t mfn;

    begin();
    page_set_max(d, 10);
    g_assert_cmpint(page_alloc(d, 3, 0, 0, &mfn), ==, 0);
    g_assert_cmpuint(d->page_count, ==, 8);
    g_assert_cmpint(page_alloc(d, 2, 0, 0, &mfn), ==, -E2BIG);
    g_assert_cmpuint(frame_free_count(), ==, PAGES - 1 - 8);
    g_assert_cmpint(page_alloc(d, 2, 0, PAGE_NO_CHARGE, &mfn), ==, 0);
    g_assert_cmpuint(d->page_count, ==, 8);
    g_assert_cmpuint(d->extra_count, ==, 4);
    g_assert_cmpint(page_alloc(d, 12, 0, PAGE_NO_CHARGE, &mfn), ==, -ENOMEM);
    g_assert_cmpint(page_alloc(d, 40, 0, 0, &mfn), ==, -EINVAL);
    d->dying = DOMAIN_DYING;
    g_assert_cmpint(page_alloc(d, 0, 0, 0, &mfn), ==, -EINVAL);
    g_assert_cmpuint(list_length(d), ==, 12);
    g_assert_cmpuint(d->refcount, ==, 2);
}

static void
only_the_owner_gets_a_reference(void)
{
    struct frame *frame;
    mfn_t mfn;

    begin();
    g_assert_cmpint(page_alloc(d, 0, 0, 0, &mfn), ==, 0);
    frame = frame_of(mfn);
    g_assert_false(page_get(frame, other));
    g_assert_true(page_get(frame, d));
    g_assert_cmpuint(frame->count & FRAME_COUNT_MASK, ==, 2);
    g_assert_true(page_release(frame));
    g_assert_false(page_release(frame));
    /* Given up, but not gone: somebody holds it. */
    g_assert_cmpuint(d->page_count, ==, 1);
    page_put(frame);
    g_assert_cmpuint(d->page_count, ==, 0);
    g_assert_cmpuint(d->refcount, ==, 1);
    g_assert_false(page_get(frame, d));
    g_assert_cmpuint(frame_free_count(), ==, PAGES - 1);
}

static void
free_and_foreign_frames_cannot_be_had(void)
{
    struct domain *owner;

    begin();
    g_assert_false(page_get(frame_of(_mfn(100)), d));
    g_assert_false(page_get_any(frame_of(_mfn(100)), &owner));
    g_assert_cmpint(page_get_writable(frame_of(_mfn(0)), d), ==, -EINVAL);
    g_assert_cmpint(page_steal(d, frame_of(_mfn(100))), ==, -EBUSY);
}

static void
only_an_unused_page_can_be_stolen(void)
{
    struct frame *frame;
    mfn_t mfn;

    begin();
    g_assert_cmpint(page_alloc(d, 0, 0, 0, &mfn), ==, 0);
    frame = frame_of(mfn);
    g_assert_cmpint(page_steal(other, frame), ==, -EBUSY);
    g_assert_cmpint(page_get_writable(frame, d), ==, 0);
    g_assert_cmpint(page_steal(d, frame), ==, -EBUSY);
    page_put_writable(frame);
    g_assert_cmpint(page_steal(d, frame), ==, 0);
    g_assert_cmphex(frame->count, ==, FRAME_STATE_HEAP);
    g_assert_cmpuint(d->page_count, ==, 0);
    g_assert_cmpuint(list_length(d), ==, 0);
    g_assert_cmpuint(d->refcount, ==, 1);
    /* Whoever gets it next must not find the old owner's translations. */
    g_assert_cmpuint(frame->stamp, !=, 0);
    g_assert_cmpint(page_assign(other, mfn, 0, 0), ==, 0);
    g_assert_cmpuint(fake_cpu_flushes[0], ==, 1);
    g_assert_cmpuint(fake_cpu_flushes[1], ==, 1);
}

static void
hypervisor_pages_are_never_writable(void)
{
    mfn_t mfn;

    begin();
    mfn = frame_alloc(0, 0);
    page_share_hypervisor(mfn, 1);
    g_assert_true(page_get_of(frame_of(mfn), DOMID_XEN));
    g_assert_cmpint(page_get_type(frame_of(mfn), FRAME_TYPE_WRITABLE), ==, -EINVAL);
    g_assert_cmpint(page_get_type(frame_of(mfn), FRAME_TYPE_L1), ==, -EINVAL);
    page_put(frame_of(mfn));
    g_assert_cmpuint(frame_of(mfn)->count & FRAME_COUNT_MASK, ==, 1);
}

static void
claims_keep_memory_from_others(void)
{
    mfn_t mfn;

    begin();
    g_assert_cmpint(page_claim(d, PAGES), ==, -ENOMEM);
    g_assert_cmpint(page_claim(d, PAGES - 11), ==, 0);
    g_assert_cmpint(page_alloc(other, 3, 0, 0, &mfn), ==, 0);
    g_assert_cmpint(page_alloc(other, 3, 0, 0, &mfn), ==, -ENOMEM);
    g_assert_cmpint(page_alloc(d, 3, 0, 0, &mfn), ==, 0);
    g_assert_cmpuint(d->page_claim, ==, PAGES - 11 - 8);
    g_assert_cmpuint(page_claimed_total(), ==, PAGES - 11 - 8);
    g_assert_cmpint(page_claim(d, 4), ==, -EINVAL); /* it has more than that */
    g_assert_cmpint(page_claim(d, 0), ==, 0);
    g_assert_cmpuint(page_claimed_total(), ==, 0);
    g_assert_cmpint(page_alloc(other, 3, 0, 0, &mfn), ==, 0);
}

/* Pins, half-made tables, foreign references: all of it, and in bounded steps. */
static void
dying_domain_gives_everything_back(void)
{
    struct frame *foreign;
    unsigned calls = 0;
    mfn_t mfn, mfns[1000];
    int rc;

    begin();
    for (unsigned i = 0; i < ARRAY_SIZE(mfns); i++)
        g_assert_cmpint(page_alloc(d, 0, 0, 0, &mfns[i]), ==, 0);
    g_assert_cmpint(page_alloc(d, 2, 0, PAGE_NO_CHARGE, &mfn), ==, 0);
    for (unsigned i = 0; i < 100; i++) {
        struct frame *frame = frame_of(mfns[i * 7]);

        g_assert_true(page_get(frame, d));
        g_assert_cmpint(page_get_type(frame, FRAME_TYPE_L2), ==, 0);
        frame->type |= FRAME_TYPE_PINNED;
    }
    foreign = frame_of(mfns[500]);
    g_assert_true(page_get(foreign, d));

    d->dying = DOMAIN_DYING;
    do {
        rc = page_relinquish_all(d);
        calls++;
    } while (rc == -ERESTART);
    g_assert_cmpint(rc, ==, 0);
    g_assert_cmpuint(calls, >, 10);
    g_assert_cmpuint(d->page_count, ==, 1);
    g_assert_cmpuint(d->extra_count, ==, 0);
    g_assert_cmpuint(d->refcount, ==, 2);
    g_assert_cmpint(page_relinquish_all(d), ==, 0);
    page_put(foreign);
    g_assert_cmpuint(d->refcount, ==, 1);
    g_assert_cmpuint(frame_free_count(), ==, PAGES - 1);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/page/allocation_is_charged_and_limited", allocation_is_charged_and_limited);
    g_test_add_func("/page/only_the_owner_gets_a_reference", only_the_owner_gets_a_reference);
    g_test_add_func("/page/free_and_foreign_frames_cannot_be_had", free_and_foreign_frames_cannot_be_had);
    g_test_add_func("/page/only_an_unused_page_can_be_stolen", only_an_unused_page_can_be_stolen);
    g_test_add_func("/page/hypervisor_pages_are_never_writable", hypervisor_pages_are_never_writable);
    g_test_add_func("/page/claims_keep_memory_from_others", claims_keep_memory_from_others);
    g_test_add_func("/page/dying_domain_gives_everything_back", dying_domain_gives_everything_back);
    return g_test_run();
}
