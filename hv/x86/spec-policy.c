/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The choice of what is done against attacks by speculation.  Which CPU needs what:
 *
 *   branch target injection   Auto IBRS or "enhanced" IBRS: set once.  Plain IBRS: written on each way in,
 *                             for the hypervisor's own indirect calls are not compiled as retpolines
 *   return stack              without SMEP a guest's return addresses, which are user pages, could be run;
 *                             with it they cannot, and a 64-bit guest leaves no others
 *   another guest's branches  IBPB between domains
 *   MDS, TAA, MMIO, RFDS      VERW on the way out, where it clears buffers and the CPU has not said that it
 *                             need not
 *   lazy FPU                  nothing to choose: FPU registers are switched with the vCPU, always
 */
#include "x86/spec-policy.h"
#include "base/string.h"

struct spec_options spec_options;

static bool
wanted(enum spec_want want, bool needed)
{
    return want == SPEC_DEFAULT ? needed : want == SPEC_ON;
}

static bool
verw_needed(const struct spec_cpu *cpu)
{
    const u64 caps = cpu->arch_caps, mmio_no = ARCH_CAP_SBDR_SSDP_NO | ARCH_CAP_FBSDP_NO | ARCH_CAP_PSDP_NO;
    bool mds = !(caps & ARCH_CAP_MDS_NO), taa = cpu->rtm && !(caps & ARCH_CAP_TAA_NO);

    if (!cpu->intel)
        return false;
    return (cpu->md_clear && (mds || taa)) || ((caps & ARCH_CAP_FB_CLEAR) && (caps & mmio_no) != mmio_no) ||
           ((caps & ARCH_CAP_RFDS_CLEAR) && !(caps & ARCH_CAP_RFDS_NO));
}

struct spec_policy
spec_policy_choose(const struct spec_cpu *cpu, const struct spec_options *options)
{
    struct spec_policy policy = {
        .rsb_entry = wanted(options->rsb, !cpu->smep),
        .verw_exit = wanted(options->md_clear, verw_needed(cpu)),
        .ibpb_switch = cpu->ibpb && options->ibpb != SPEC_OFF,
        .meltdown = cpu->intel && !(cpu->arch_caps & ARCH_CAP_RDCL_NO),
    };

    if (options->ibrs != SPEC_OFF) {
        policy.auto_ibrs = cpu->auto_ibrs;
        if (cpu->ibrs && !cpu->auto_ibrs) {
            policy.spec_ctrl = SPEC_CTRL_IBRS | (cpu->stibp ? SPEC_CTRL_STIBP : 0);
            policy.ibrs_entry = !(cpu->arch_caps & ARCH_CAP_IBRS_ALL) && !cpu->ibrs_always;
        }
    }
    if (options->ssbd == SPEC_ON && cpu->ssbd && !(cpu->arch_caps & ARCH_CAP_SSB_NO))
        policy.spec_ctrl |= SPEC_CTRL_SSBD;
    return policy;
}

static bool
option_set(const char *word, size_t length, struct spec_options *options)
{
    const struct {
        const char *name;
        enum spec_want *want;
    } names[] = {
        {"ibrs", &options->ibrs}, {"ibpb", &options->ibpb},         {"ssbd", &options->ssbd},
        {"rsb", &options->rsb},   {"md-clear", &options->md_clear},
    };
    enum spec_want want = SPEC_ON;
    size_t end = 0;

    if (length > 3 && !strncmp(word, "no-", 3)) {
        want = SPEC_OFF;
        word += 3;
        length -= 3;
    }
    while (end < length && word[end] != '=')
        end++;
    if (end < length && str_is_off(word + end + 1, length - end - 1))
        want = SPEC_OFF;
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (str_is(word, end, names[i].name)) {
            *names[i].want = want;
            return true;
        }
    }
    return str_is(word, end, "eager-fpu") && want == SPEC_ON; /* it is, always */
}

bool
spec_options_parse(const char *text, struct spec_options *options)
{
    bool ok = true;

    if (str_is_off(text, strlen(text))) {
        *options = (struct spec_options){SPEC_OFF, SPEC_OFF, SPEC_OFF, SPEC_OFF, SPEC_OFF};
        return true;
    }
    for (;;) {
        size_t length = 0;

        while (text[length] && text[length] != ',')
            length++;
        if (length)
            ok &= option_set(text, length, options);
        if (!text[length])
            return ok;
        text += length + 1;
    }
}
