/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which CPU gets what against attacks by speculation: one row for each kind that the field has names for. */
#include "x86/spec-policy.h"
#include "fake.h"

#include <glib.h>

#define ALL_NO                                                                                          \
    (ARCH_CAP_RDCL_NO | ARCH_CAP_IBRS_ALL | ARCH_CAP_MDS_NO | ARCH_CAP_TAA_NO | ARCH_CAP_SBDR_SSDP_NO | \
     ARCH_CAP_FBSDP_NO | ARCH_CAP_PSDP_NO)

static const struct {
    const char *name;
    struct spec_cpu cpu;
    struct spec_policy policy;
} rows[] = {
    {"Core 2, no microcode", {.intel = true}, {.rsb_entry = true, .meltdown = true}},
    {"Broadwell",
     {.intel = true,
      .smep = true,
      .ibrs = true,
      .ibpb = true,
      .stibp = true,
      .ssbd = true,
      .md_clear = true,
      .rtm = true},
     {.spec_ctrl = SPEC_CTRL_IBRS | SPEC_CTRL_STIBP,
      .ibrs_entry = true,
      .verw_exit = true,
      .ibpb_switch = true,
      .meltdown = true}},
    {"Cascade Lake with TSX",
     {.intel = true,
      .smep = true,
      .ibrs = true,
      .ibpb = true,
      .stibp = true,
      .ssbd = true,
      .md_clear = true,
      .rtm = true,
      .arch_caps = ARCH_CAP_RDCL_NO | ARCH_CAP_IBRS_ALL | ARCH_CAP_MDS_NO},
     {.spec_ctrl = SPEC_CTRL_IBRS | SPEC_CTRL_STIBP, .verw_exit = true, .ibpb_switch = true}},
    {"Cascade Lake, TSX off",
     {.intel = true,
      .smep = true,
      .ibrs = true,
      .ibpb = true,
      .stibp = true,
      .md_clear = true,
      .arch_caps = ARCH_CAP_RDCL_NO | ARCH_CAP_IBRS_ALL | ARCH_CAP_MDS_NO},
     {.spec_ctrl = SPEC_CTRL_IBRS | SPEC_CTRL_STIBP, .ibpb_switch = true}},
    {"Ice Lake server, MMIO stale data",
     {.intel = true,
      .smep = true,
      .ibrs = true,
      .ibpb = true,
      .stibp = true,
      .md_clear = true,
      .arch_caps =
          ARCH_CAP_RDCL_NO | ARCH_CAP_IBRS_ALL | ARCH_CAP_MDS_NO | ARCH_CAP_TAA_NO | ARCH_CAP_FB_CLEAR},
     {.spec_ctrl = SPEC_CTRL_IBRS | SPEC_CTRL_STIBP, .verw_exit = true, .ibpb_switch = true}},
    {"Gracemont, register file stale data",
     {.intel = true,
      .smep = true,
      .ibrs = true,
      .ibpb = true,
      .stibp = true,
      .md_clear = true,
      .arch_caps = ALL_NO | ARCH_CAP_FB_CLEAR | ARCH_CAP_RFDS_CLEAR},
     {.spec_ctrl = SPEC_CTRL_IBRS | SPEC_CTRL_STIBP, .verw_exit = true, .ibpb_switch = true}},
    {"Sapphire Rapids",
     {.intel = true,
      .smep = true,
      .ibrs = true,
      .ibpb = true,
      .stibp = true,
      .md_clear = true,
      .rtm = true,
      .arch_caps = ALL_NO | ARCH_CAP_FB_CLEAR | ARCH_CAP_RFDS_NO},
     {.spec_ctrl = SPEC_CTRL_IBRS | SPEC_CTRL_STIBP, .ibpb_switch = true}},
    {"Zen 1, IBPB only", {.smep = true, .ibpb = true}, {.ibpb_switch = true}},
    {"Zen 2",
     {.smep = true, .ibpb = true, .ibrs = true, .stibp = true},
     {.spec_ctrl = SPEC_CTRL_IBRS | SPEC_CTRL_STIBP, .ibrs_entry = true, .ibpb_switch = true}},
    {"Zen 3, IBRS always on",
     {.smep = true, .ibpb = true, .ibrs = true, .stibp = true, .ibrs_always = true},
     {.spec_ctrl = SPEC_CTRL_IBRS | SPEC_CTRL_STIBP, .ibpb_switch = true}},
    {"Zen 4",
     {.smep = true, .ibpb = true, .ibrs = true, .stibp = true, .ibrs_always = true, .auto_ibrs = true},
     {.auto_ibrs = true, .ibpb_switch = true}},
    {"QEMU's qemu64 on TCG", {0}, {.rsb_entry = true}},
    {"QEMU's max on TCG", {.smep = true}, {0}},
};

static void
assert_policy(const char *name, struct spec_policy got, struct spec_policy want)
{
    g_test_message("%s", name);
    g_assert_cmphex(got.spec_ctrl, ==, want.spec_ctrl);
    g_assert_cmpint(got.ibrs_entry, ==, want.ibrs_entry);
    g_assert_cmpint(got.rsb_entry, ==, want.rsb_entry);
    g_assert_cmpint(got.verw_exit, ==, want.verw_exit);
    g_assert_cmpint(got.ibpb_switch, ==, want.ibpb_switch);
    g_assert_cmpint(got.auto_ibrs, ==, want.auto_ibrs);
    g_assert_cmpint(got.meltdown, ==, want.meltdown);
}

static void
each_cpu_gets_what_it_needs(void)
{
    const struct spec_options options = {0};

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        assert_policy(rows[i].name, spec_policy_choose(&rows[i].cpu, &options), rows[i].policy);
}

/* Meltdown stays told: it is a warning and not a measure. */
static void
no_turns_all_off_on_each_cpu(void)
{
    struct spec_options options = {0};

    g_assert_true(spec_options_parse("no", &options));
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        assert_policy(rows[i].name, spec_policy_choose(&rows[i].cpu, &options),
                      (struct spec_policy){.meltdown = rows[i].policy.meltdown});
}

static void
options_add_and_take_away(void)
{
    const struct spec_cpu plain = {.smep = true}, able = {.smep = true,
                                                          .ibrs = true,
                                                          .ibpb = true,
                                                          .stibp = true,
                                                          .ssbd = true,
                                                          .md_clear = true,
                                                          .intel = true,
                                                          .arch_caps = ARCH_CAP_RDCL_NO};
    struct spec_options options = {0};

    g_assert_true(spec_options_parse("rsb,md-clear=yes,ssbd,eager-fpu", &options));
    assert_policy("forced where the CPU needs none", spec_policy_choose(&plain, &options),
                  (struct spec_policy){.rsb_entry = true, .verw_exit = true});
    options = (struct spec_options){0};
    g_assert_true(spec_options_parse("no-ibrs,ssbd=1,ibpb=false,no-md-clear", &options));
    assert_policy("SSBD alone", spec_policy_choose(&able, &options),
                  (struct spec_policy){.spec_ctrl = SPEC_CTRL_SSBD});
    /* What the CPU has not got cannot be forced on it. */
    options = (struct spec_options){0};
    g_assert_true(spec_options_parse("ibrs,ibpb,ssbd", &options));
    assert_policy("no MSRs", spec_policy_choose(&plain, &options), (struct spec_policy){0});
}

static void
unknown_names_are_refused_and_the_others_count(void)
{
    struct spec_options options = {0};

    g_assert_false(spec_options_parse("bti-thunk=lfence,no-ibpb", &options));
    g_assert_cmpint(options.ibpb, ==, SPEC_OFF);
    g_assert_false(spec_options_parse("no-eager-fpu", &options));
    g_assert_false(spec_options_parse("ibr", &options));
    g_assert_true(spec_options_parse("", &options));
    g_assert_true(spec_options_parse(",,", &options));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/each_cpu_gets_what_it_needs", each_cpu_gets_what_it_needs);
    g_test_add_func("/no_turns_all_off_on_each_cpu", no_turns_all_off_on_each_cpu);
    g_test_add_func("/options_add_and_take_away", options_add_and_take_away);
    g_test_add_func("/unknown_names_are_refused_and_the_others_count",
                    unknown_names_are_refused_and_the_others_count);
    return g_test_run();
}
