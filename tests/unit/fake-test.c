/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The pretend machine itself: what other tests lean on. */
#include "domain/domain.h"
#include "base/panic.h"
#include "x86/softirq.h"
#include "x86/tlb.h"
#include "x86/usercopy.h"
#include "fake.h"

#include <glib.h>
#include <sys/mman.h>

static void
panic_can_be_caught(void)
{
    g_assert_true(FAKE_PANICS(ASSERT(1 == 2)));
    g_assert_nonnull(g_strrstr(fake_panic_text, "1 == 2 does not hold"));
    g_assert_false(FAKE_PANICS(ASSERT(1 == 1)));
}

static void
guest_pointer_that_is_not_mapped_faults(void)
{
    char *page = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char buf[16] = "";

    munmap(page + PAGE_SIZE, PAGE_SIZE);
    page[PAGE_SIZE - 1] = 'x';
    g_assert_cmpuint(usercopy_in(buf, page + PAGE_SIZE - 1, 1), ==, 0);
    g_assert_cmpint(buf[0], ==, 'x');
    g_assert_cmpuint(usercopy_in(buf, page + PAGE_SIZE - 1, 2), !=, 0);
    g_assert_cmpuint(usercopy_out(NULL, buf, 2), !=, 0);
    munmap(page, PAGE_SIZE);
}

static unsigned fired;

static void
on_timer(void)
{
    fired++;
    g_assert_cmpuint(cpu_id(), ==, 2);
    g_assert_cmpuint(fake_now_ns, ==, 500);
}

static void
clock_stops_at_each_deadline(void)
{
    fake_machine_init(16, 4);
    softirq_register(SOFTIRQ_TIMER, on_timer);
    fake_apic_deadline_ns[2] = 500;
    fake_clock_run_until(499);
    g_assert_cmpuint(fired, ==, 0);
    fake_clock_run_until(1000);
    g_assert_cmpuint(fired, ==, 1);
    g_assert_cmpuint(fake_now_ns, ==, 1000);
    g_assert_cmpuint(cpu_id(), ==, 0);
}

static void
stale_flush_spares_cpus_that_flushed_since(void)
{
    u32 stamp;

    fake_machine_init(16, 3);
    stamp = tlb_clock();
    fake_cpu_set(1);
    tlb_flush_local();
    tlb_flush_stale(&cpu_online, stamp);
    g_assert_cmpuint(fake_cpu_flushes[0], ==, 1);
    g_assert_cmpuint(fake_cpu_flushes[1], ==, 1);
    g_assert_cmpuint(fake_cpu_flushes[2], ==, 1);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fake/panic_can_be_caught", panic_can_be_caught);
    g_test_add_func("/fake/guest_pointer_that_is_not_mapped_faults", guest_pointer_that_is_not_mapped_faults);
    g_test_add_func("/fake/clock_stops_at_each_deadline", clock_stops_at_each_deadline);
    g_test_add_func("/fake/stale_flush_spares_cpus_that_flushed_since",
                    stale_flush_spares_cpus_that_flushed_since);
    return g_test_run();
}
