/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which addresses a guest may name, and that nothing else is touched. */
#include "abi/xen.h"
#include "mm/guest-copy.h"
#include "x86/usercopy.h"
#include "fake.h"

#include <glib.h>

static u64 reached;
static size_t reached_size;

/* Here the copy always succeeds: the test asks how far the check lets an address come. */
size_t
usercopy_in(void *dst, const void *src, size_t size)
{
    reached = (u64)src;
    reached_size = size;
    return 0;
}

size_t
usercopy_out(void *dst, const void *src, size_t size)
{
    reached = (u64)dst;
    reached_size = size;
    return 0;
}

size_t
usercopy_clear(void *dst, size_t size)
{
    reached = (u64)dst;
    reached_size = size;
    return 0;
}

static void
check(u64 address, size_t size, bool allowed)
{
    u8 byte = 0;
    int rc = allowed ? 0 : -EFAULT;

    reached = 0x1234;
    g_assert_cmpint(copy_from_guest(&byte, address, size), ==, rc);
    g_assert_cmphex(reached, ==, allowed ? address : 0x1234);
    g_assert_cmpint(copy_to_guest(address, &byte, size), ==, rc);
    g_assert_cmpint(clear_guest(address, size), ==, rc);
    g_assert_cmphex(reached, ==, allowed ? address : 0x1234);
}

static void
ranges_outside_the_hypervisor_pass(void)
{
    check(0x1000, 16, true);
    check(0, 0, true);
    check((1ull << 47) - 16, 16, true);
    check(HYPERVISOR_END, 16, true);
    check(HYPERVISOR_END, 0, true);
    check(0xffffffff81000000, 4096, true);
    check(-16ull, 16, true);
    check(HYPERVISOR_END, -HYPERVISOR_END, true);
}

static void
ranges_that_touch_the_hypervisor_fail(void)
{
    check(HYPERVISOR_START, 1, false);
    check(HYPERVISOR_END - 1, 1, false);
    check(HYPERVISOR_END - 1, 2, false);
    check(0xffff830000000000, 8, false);
    check(HYPERVISOR_START - 8, 16, false);
}

static void
ranges_that_wrap_or_are_not_canonical_fail(void)
{
    check(-16ull, 17, false);
    check(-1ull, 2, false);
    check(-1ull, ~0ull, false);
    check(0x1000, ~0ull, false);
    check(0x1000, -0x1000ull, false);
    check((1ull << 47) - 16, 17, false);
    check(1ull << 47, 1, false);
    check(1ull << 63, 1, false);
    check(HYPERVISOR_END, ~0ull, false);
    check(0x1000, 1ull << 47, false);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/guest-copy/ranges_outside_the_hypervisor_pass", ranges_outside_the_hypervisor_pass);
    g_test_add_func("/guest-copy/ranges_that_touch_the_hypervisor_fail",
                    ranges_that_touch_the_hypervisor_fail);
    g_test_add_func("/guest-copy/ranges_that_wrap_or_are_not_canonical_fail",
                    ranges_that_wrap_or_are_not_canonical_fail);
    return g_test_run();
}
