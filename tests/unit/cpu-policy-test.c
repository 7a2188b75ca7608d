/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CPU policies: from a CPU to the wire and back, what a toolstack may set, and random leaves. */
#include "domain/cpu-policy.h"
#include "domain/domain.h"
#include "base/string.h"
#include "fake.h"

#include <glib.h>

/* A CPU with a recognizable value in each register, limits as given. */
static u32 max_basic = 0xd, max_extd = 0x80000021, max_feat = 2;

static void
fake_cpuid(u32 leaf, u32 subleaf, u32 ret_regs[4])
{
    for (u32 i = 0; i < 4; i++)
        ret_regs[i] = leaf * 0x01000193 + subleaf * 0x10001 + i;
    switch (leaf) {
    case 0:
        ret_regs[0] = max_basic;
        break;
    case 4:
        ret_regs[0] = subleaf < 4 ? 0x1c000001 + subleaf % 3 : 0;
        break;
    case 7:
        if (!subleaf)
            ret_regs[0] = max_feat;
        break;
    case 0xb:
        ret_regs[2] = subleaf < 2 ? (subleaf + 1) << 8 : 0;
        break;
    case 0xd:
        if (subleaf == 0)
            ret_regs[0] = 7, ret_regs[3] = 0;
        else if (subleaf == 1)
            ret_regs[2] = 0x100, ret_regs[3] = 0;
        break;
    case 0x80000000:
        ret_regs[0] = max_extd;
        break;
    }
}

static void
policy_survives_the_wire(void)
{
    struct xen_cpuid_leaf leaves[CPU_POLICY_LEAVES_MAX];
    struct xen_msr_entry msrs[CPU_POLICY_MSRS_MAX];
    struct cpuid_policy a, b;
    unsigned n, m;

    cpu_policy_read(&a, fake_cpuid);
    a.arch_caps = 0x123456789abcdef0;
    a.platform_info = 0x80000000;
    a.hv_limit = 5;
    n = cpu_policy_to_leaves(&a, leaves);
    m = cpu_policy_to_msrs(&a, msrs);
    g_assert_cmpuint(n, <=, CPU_POLICY_LEAVES_MAX);
    memset(&b, 0, sizeof(b));
    for (unsigned i = 0; i < n; i++)
        g_assert_cmpint(cpu_policy_set_leaf(&b, &leaves[i]), ==, 0);
    for (unsigned i = 0; i < m; i++)
        g_assert_cmpint(cpu_policy_set_msr(&b, &msrs[i]), ==, 0);
    g_assert_cmpmem(&a, sizeof(a), &b, sizeof(b));
}

/* The order, and where subleaves stand, is what libxenctrl's reader expects. */
static void
wire_has_leaves_in_order(void)
{
    struct xen_cpuid_leaf leaves[CPU_POLICY_LEAVES_MAX];
    struct cpuid_policy a;
    unsigned n, subleaves_of_d = 0;

    cpu_policy_read(&a, fake_cpuid);
    n = cpu_policy_to_leaves(&a, leaves);
    g_assert_cmpuint(leaves[0].leaf, ==, 0);
    g_assert_cmphex(leaves[0].subleaf, ==, XEN_CPUID_NO_SUBLEAF);
    for (unsigned i = 1; i < n; i++) {
        g_assert_true(
            leaves[i].leaf > leaves[i - 1].leaf ||
            (leaves[i].leaf == leaves[i - 1].leaf && leaves[i].subleaf == leaves[i - 1].subleaf + 1));
        subleaves_of_d += leaves[i].leaf == 0xd;
    }
    g_assert_cmpuint(subleaves_of_d, ==, 9); /* 0, 1, and up to component 8 */
    g_assert_cmphex(leaves[n - 1].leaf, ==, 0x80000021);
}

static void
largest_policy_fits(void)
{
    struct xen_cpuid_leaf leaves[CPU_POLICY_LEAVES_MAX];
    struct cpuid_policy a;

    memset(&a, 0xff, sizeof(a));
    g_assert_cmpuint(cpu_policy_to_leaves(&a, leaves), ==, CPU_POLICY_LEAVES_MAX);
}

static void
find_stays_within_limits(void)
{
    struct cpuid_policy a;

    cpu_policy_read(&a, fake_cpuid);
    g_assert_cmphex(cpu_policy_find(&a, 1, 99)->b, ==, 0x01000193 + 1);
    g_assert_cmphex(cpu_policy_find(&a, 7, 1)->c, ==, 7 * 0x01000193u + 0x10001 + 2);
    g_assert_null(cpu_policy_find(&a, 7, CPU_POLICY_FEAT));
    g_assert_null(cpu_policy_find(&a, 0xe, 0));
    g_assert_null(cpu_policy_find(&a, 0xd, CPU_POLICY_XSTATE));
    g_assert_null(cpu_policy_find(&a, 0x40000000, 0));
    g_assert_null(cpu_policy_find(&a, 0x7fffffff, 0));
    g_assert_nonnull(cpu_policy_find(&a, 0x80000021, 0));
    g_assert_null(cpu_policy_find(&a, 0x80000022, 0));
    g_assert_null(cpu_policy_find(&a, ~0u, ~0u));
    max_basic = 4, max_extd = 0x80000008;
    cpu_policy_read(&a, fake_cpuid);
    max_basic = 0xd, max_extd = 0x80000021;
    g_assert_null(cpu_policy_find(&a, 7, 0));
    g_assert_cmphex(a.feat[0].b, ==, 0);
    g_assert_cmphex(a.xstate[0].a, ==, 0);
    g_assert_cmphex(a.extd[9].a, ==, 0);
}

static void
promises_are_checked_and_clamped(void)
{
    struct cpu_policy_error error = CPU_POLICY_NO_ERROR;
    struct cpuid_policy max, guest;

    cpu_policy_read(&max, fake_cpuid);
    max.basic[1].c = 0xf0;
    max.arch_caps = 3;
    guest = max;
    g_assert_cmpint(cpu_policy_check(&max, &guest, &error), ==, 0);
    guest.basic[0].a++;
    g_assert_cmpint(cpu_policy_check(&max, &guest, &error), ==, -EINVAL);
    g_assert_cmphex(error.leaf, ==, 0);
    g_assert_cmphex(error.subleaf, ==, ~0u);
    guest = max;
    guest.feat[0].a = 3;
    g_assert_cmpint(cpu_policy_check(&max, &guest, &error), ==, -EINVAL);
    g_assert_cmphex(error.leaf, ==, 7);
    guest = max;
    guest.platform_info = 1;
    g_assert_cmpint(cpu_policy_check(&max, &guest, &error), ==, -EINVAL);
    g_assert_cmphex(error.msr, ==, MSR_PLATFORM_INFO);

    guest = max;
    guest.basic[1].c = 0x1ff;
    guest.basic[1].b = 0x12345678; /* topology: the toolstack's to choose */
    guest.arch_caps = ~0ull;
    guest.xstate[2].a = 0x77777777;
    guest.xstate[0].a = 0xff; /* components that the machine does not switch */
    cpu_policy_clamp(&guest, &max);
    g_assert_cmphex(guest.basic[1].c, ==, 0xf0);
    g_assert_cmphex(guest.basic[1].b, ==, 0x12345678);
    g_assert_cmphex(guest.arch_caps, ==, 3);
    g_assert_cmphex(guest.xstate[0].a, ==, 7);
    g_assert_cmphex(guest.xstate[2].a, ==, max.xstate[2].a);
}

static void
featureset_is_in_abi_order(void)
{
    u32 words[CPU_FEATURESET_WORDS];
    struct cpuid_policy a;

    cpu_policy_read(&a, fake_cpuid);
    a.arch_caps = 0x1111111122222222;
    cpu_policy_featureset(&a, words);
    g_assert_cmphex(words[0], ==, a.basic[1].d);
    g_assert_cmphex(words[3], ==, a.extd[1].c);
    g_assert_cmphex(words[4], ==, a.xstate[1].a);
    g_assert_cmphex(words[5], ==, a.feat[0].b);
    g_assert_cmphex(words[8], ==, a.extd[8].b);
    g_assert_cmphex(words[10], ==, a.feat[1].a);
    g_assert_cmphex(words[13], ==, a.feat[2].d);
    g_assert_cmphex(words[16], ==, 0x22222222);
    g_assert_cmphex(words[17], ==, 0x11111111);
    g_assert_cmphex(words[18], ==, a.extd[0x21].c);
}

/* Random bytes as leaves: nothing outside the policy changes, and whatever came in fits the wire again. */
static void
random_leaves_stay_inside(void)
{
    struct {
        u64 before;
        struct cpuid_policy policy;
        u64 after;
    } guarded = {.before = 0x5555, .after = 0xaaaa};
    struct xen_cpuid_leaf leaves[CPU_POLICY_LEAVES_MAX];
    struct cpuid_policy max;
    unsigned taken = 0;

    cpu_policy_read(&max, fake_cpuid);
    for (unsigned i = 0; i < 200000; i++) {
        static const u32 bases[] = {0, 0, 4, 7, 0xb, 0xd, 0x40000000, 0x40000100, 0x80000000};
        u32 words[6];
        struct xen_cpuid_leaf leaf;

        for (unsigned w = 0; w < 6; w++)
            words[w] =
                g_test_rand_int_range(0, 4) ? (u32)g_test_rand_int_range(0, 70) : (u32)g_test_rand_int();
        memcpy(&leaf, words, sizeof(leaf));
        leaf.leaf = bases[g_test_rand_int_range(0, ARRAY_SIZE(bases))] +
                    (g_test_rand_int_range(0, 2) ? 0 : leaf.leaf);
        if (g_test_rand_int_range(0, 3) == 0)
            leaf.subleaf = XEN_CPUID_NO_SUBLEAF;
        taken += cpu_policy_set_leaf(&guarded.policy, &leaf) == 0;
        if (i % 64 == 0) {
            g_assert_cmpuint(cpu_policy_to_leaves(&guarded.policy, leaves), <=, CPU_POLICY_LEAVES_MAX);
            cpu_policy_trim(&guarded.policy);
            cpu_policy_clamp(&guarded.policy, &max);
        }
    }
    g_assert_cmphex(guarded.before, ==, 0x5555);
    g_assert_cmphex(guarded.after, ==, 0xaaaa);
    g_assert_cmpuint(taken, >, 10000);
}

static void
msrs_are_checked(void)
{
    struct cpuid_policy a = {};
    struct xen_msr_entry msr = {.idx = MSR_ARCH_CAPABILITIES, .flags = 1};

    g_assert_cmpint(cpu_policy_set_msr(&a, &msr), ==, -EINVAL);
    msr = (struct xen_msr_entry){.idx = 0x10};
    g_assert_cmpint(cpu_policy_set_msr(&a, &msr), ==, -ERANGE);
    msr = (struct xen_msr_entry){.idx = MSR_PLATFORM_INFO, .val = 1ull << 32};
    g_assert_cmpint(cpu_policy_set_msr(&a, &msr), ==, -EOVERFLOW);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/cpu-policy/" #name, name)
    ADD(policy_survives_the_wire);
    ADD(wire_has_leaves_in_order);
    ADD(largest_policy_fits);
    ADD(find_stays_within_limits);
    ADD(promises_are_checked_and_clamped);
    ADD(featureset_is_in_abi_order);
    ADD(random_leaves_stay_inside);
    ADD(msrs_are_checked);
    return g_test_run();
}
