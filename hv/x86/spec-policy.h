/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is done against attacks by speculation, chosen once at boot from what the CPU says of itself and from
 * spec-ctrl= of the command line.  spec-policy.c chooses and touches nothing; spec-ctrl.c carries it out.
 */
#ifndef SERAI_X86_SPEC_POLICY_H
#define SERAI_X86_SPEC_POLICY_H

#include "base/types.h"

/* MSR_SPEC_CTRL (SDM vol. 4, 48H; AMD "Indirect Branch Control Extension"). */
#define SPEC_CTRL_IBRS  (1u << 0)
#define SPEC_CTRL_STIBP (1u << 1)
#define SPEC_CTRL_SSBD  (1u << 2)

/* MSR_ARCH_CAPABILITIES (SDM vol. 4, 10AH). */
#define ARCH_CAP_RDCL_NO      (1ull << 0)
#define ARCH_CAP_IBRS_ALL     (1ull << 1)
#define ARCH_CAP_SSB_NO       (1ull << 4)
#define ARCH_CAP_MDS_NO       (1ull << 5)
#define ARCH_CAP_TAA_NO       (1ull << 8)
#define ARCH_CAP_SBDR_SSDP_NO (1ull << 13)
#define ARCH_CAP_FBSDP_NO     (1ull << 14)
#define ARCH_CAP_PSDP_NO      (1ull << 15)
#define ARCH_CAP_FB_CLEAR     (1ull << 17)
#define ARCH_CAP_RFDS_NO      (1ull << 27)
#define ARCH_CAP_RFDS_CLEAR   (1ull << 28)

/* What the CPU says. */
struct spec_cpu {
    bool intel;
    bool smep;
    bool ibrs;        /* MSR_SPEC_CTRL has IBRS; either vendor's bit */
    bool stibp, ssbd; /* and these */
    bool ibrs_always; /* AMD: written once is enough, and better */
    bool auto_ibrs;   /* AMD: EFER.AIBRSE does it all */
    bool ibpb;        /* MSR_PRED_CMD */
    bool md_clear;    /* VERW overwrites the buffers that MDS reads */
    bool rtm;
    u64 arch_caps; /* 0 where there is no such MSR */
};

/* spec-ctrl=: each as wanted, or left to the CPU's needs. */
enum spec_want { SPEC_DEFAULT, SPEC_OFF, SPEC_ON };
struct spec_options {
    enum spec_want ibrs, ibpb, ssbd, rsb, md_clear;
};
extern struct spec_options spec_options; /* as the command line has it */

struct spec_policy {
    u32 spec_ctrl;    /* MSR_SPEC_CTRL from a CPU's start on, 0: not touched; guests run with it too */
    bool ibrs_entry;  /* it counts only if it is written again on each way in */
    bool rsb_entry;   /* fill the return stack buffer on each way in */
    bool verw_exit;   /* VERW on each way out to a guest */
    bool ibpb_switch; /* a barrier for indirect branches between two domains */
    bool auto_ibrs;
    bool meltdown; /* what we have nothing against: a guest's reads of mapped memory */
};

/* "no", or names with "no-" before or "=no" behind, separated by commas; false when a name is unknown. */
bool spec_options_parse(const char *text, struct spec_options *options);

struct spec_policy spec_policy_choose(const struct spec_cpu *cpu, const struct spec_options *options);

#endif
