/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Permission sets against one flag for each number. */
#include "domain/permission.h"
#include "base/string.h"
#include "fake.h"

#include <glib.h>

#define PORTS (IOPORT_LAST + 1)

static bool model[PORTS];
static struct domain *d;

static void
begin(void)
{
    if (d)
        permission_fini(d);
    fake_run_all();
    fake_domains_forget();
    fake_machine_init(16, 1);
    d = fake_domain_new(1, 1);
    memset(model, 0, sizeof(model));
}

static bool
model_has(u32 first, u32 last)
{
    for (u32 i = first; i <= last; i++)
        if (!model[i])
            return false;
    return true;
}

static void
sets_agree_with_the_model(void)
{
    begin();
    for (unsigned step = 0; step < 20000; step++) {
        u32 span = g_test_rand_int_range(0, 10) ? 16 : 3000;
        u32 first =
            g_test_rand_int_range(0, 2) ? g_test_rand_int_range(0, 200) : g_test_rand_int_range(0, PORTS);
        u32 end = first + g_test_rand_int_range(0, span), last = MIN(end, IOPORT_LAST);
        int rc;

        switch (g_test_rand_int_range(0, 3)) {
        case 0:
            rc = ioport_permit(d, first, last);
            g_assert_true(rc == 0 || rc == -ENOSPC);
            if (!rc)
                memset(model + first, true, last - first + 1);
            break;
        case 1:
            rc = ioport_deny(d, first, last);
            g_assert_true(rc == 0 || rc == -ENOSPC);
            if (!rc)
                memset(model + first, false, last - first + 1);
            break;
        default:
            g_assert_cmpint(ioport_permitted(d, first, last), ==, model_has(first, last));
        }
        if (step % 64 == 0)
            fake_run_all();
    }
    for (u32 i = 0; i < PORTS; i++)
        g_assert_cmpint(ioport_permitted(d, i, i), ==, model[i]);
}

static void
edges_of_the_number_space_hold(void)
{
    begin();
    g_assert_false(iomem_permitted(d, 0, 0));
    g_assert_cmpint(permission_init_hardware(d), ==, 0);
    g_assert_true(iomem_permitted(d, 0, MFN_LIMIT - 1));
    g_assert_false(iomem_permitted(d, 0, MFN_LIMIT));
    g_assert_false(iomem_permitted(d, 5, 4));
    g_assert_false(iomem_permitted(d, 5, ~0ull));
    g_assert_true(ioport_permitted(d, 0, 0xffff));
    g_assert_false(ioport_permitted(d, 0xffff, 0x10000));
    g_assert_true(irq_permitted(d, ~0u));
    g_assert_cmpint(iomem_deny(d, 0xfee00, 0xfee00), ==, 0);
    g_assert_false(iomem_permitted(d, 0xfee00, 0xfee00));
    g_assert_false(iomem_permitted(d, 0xfedff, 0xfee01));
    g_assert_true(iomem_permitted(d, 0, 0xfedff));
    g_assert_true(iomem_permitted(d, 0xfee01, MFN_LIMIT - 1));
    g_assert_cmpint(iomem_permit(d, 9, 8), ==, -EINVAL);
    g_assert_cmpint(iomem_permit(d, 0, MFN_LIMIT), ==, -EINVAL);
    g_assert_cmpint(ioport_permit(d, 0, 0x10000), ==, -EINVAL);
    g_assert_cmpint(irq_deny(d, ~0u), ==, 0);
    g_assert_false(irq_permitted(d, ~0u));
    g_assert_cmpint(irq_deny(d, 0), ==, 0);
    g_assert_true(irq_permitted(d, 1));
}

static void
pieces_are_bounded(void)
{
    u32 n;

    begin();
    for (n = 0; !ioport_permit(d, n * 2, n * 2); n++)
        ;
    g_assert_cmpuint(n, ==, PERMISSION_RANGES_MAX);
    g_assert_true(ioport_permitted(d, (n - 1) * 2, (n - 1) * 2));
    g_assert_false(ioport_permitted(d, n * 2, n * 2));
    g_assert_cmpint(ioport_permit(d, 1, 1), ==, 0); /* joins two */
    g_assert_cmpint(ioport_permit(d, n * 2, n * 2), ==, 0);
    fake_run_all();
}

static void
memory_shortage_changes_nothing(void)
{
    begin();
    g_assert_cmpint(irq_permit(d, 3), ==, 0);
    fake_heap_fail_in = 1;
    g_assert_cmpint(irq_permit(d, 9), ==, -ENOMEM);
    g_assert_true(irq_permitted(d, 3));
    g_assert_false(irq_permitted(d, 9));
}

/* A reader may still be at the old set: it is freed only when every CPU has left the hypervisor. */
static void
old_set_outlives_its_readers(void)
{
    struct range_set *old, *new;

    begin();
    g_assert_cmpint(irq_permit(d, 3), ==, 0);
    old = d->irqs;
    g_assert_cmpint(irq_permit(d, 9), ==, 0);
    g_assert_true(d->irqs != old);
    fake_run_softirqs();
    new = d->irqs;
    d->irqs = old;
    g_assert_true(irq_permitted(d, 3)); /* the address sanitizer would say if it were gone */
    d->irqs = new;
    fake_run_all();
}

int
main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/permission/sets_agree_with_the_model", sets_agree_with_the_model);
    g_test_add_func("/permission/edges_of_the_number_space_hold", edges_of_the_number_space_hold);
    g_test_add_func("/permission/pieces_are_bounded", pieces_are_bounded);
    g_test_add_func("/permission/memory_shortage_changes_nothing", memory_shortage_changes_nothing);
    g_test_add_func("/permission/old_set_outlives_its_readers", old_set_outlives_its_readers);
    rc = g_test_run();
    permission_fini(d);
    fake_run_all();
    fake_domains_forget();
    return rc;
}
