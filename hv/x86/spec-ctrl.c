/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is done against attacks by speculation.  CPUs that need nothing pay nothing on the ways in and out:
 * the IDT and the SYSCALL stubs lead past spec-entry.S, and the two instructions that return to a guest stand
 * as they are.  Where something is needed, cpu.c makes the IDT with the stubs of spec-entry.S, and the
 * returns are overwritten by jumps to it.
 */
#include "x86/spec-ctrl.h"
#include "base/log.h"
#include "x86/cpu.h"
#include "x86/entry-offsets.h"

#define MSR_PRED_CMD          0x49
#define MSR_ARCH_CAPABILITIES 0x10a
#define PRED_CMD_IBPB         1u
#define EFER_AIBRSE           (1ull << 21)

struct spec_policy spec_policy;

/* spec-entry.S reads these two. */
u32 spec_entry_ctrl; /* MSR_SPEC_CTRL on each way in; 0: not written */
u8 spec_entry_rsb;

static struct spec_cpu
cpu_read(void)
{
    struct spec_cpu cpu = {.intel = cpu_features.vendor[0] == 'G', .smep = cpu_features.smep};
    u32 r[4];

    cpuid_count(0, 0, r);
    if (r[0] >= 7) {
        cpuid_count(7, 0, r);
        cpu.rtm = r[1] >> 11 & 1;
        cpu.md_clear = r[3] >> 10 & 1;
        cpu.ibrs = cpu.ibpb = r[3] >> 26 & 1;
        cpu.stibp = r[3] >> 27 & 1;
        cpu.ssbd = r[3] >> 31 & 1;
        if (r[3] >> 29 & 1)
            cpu.arch_caps = rdmsr(MSR_ARCH_CAPABILITIES);
    }
    cpuid_count(0x80000000, 0, r);
    if (r[0] >= 0x80000008) {
        u32 max = r[0];

        cpuid_count(0x80000008, 0, r);
        cpu.ibpb |= r[1] >> 12 & 1;
        cpu.ibrs |= r[1] >> 14 & 1;
        cpu.stibp |= r[1] >> 15 & 1;
        cpu.ibrs_always = r[1] >> 16 & 1;
        cpu.ssbd |= r[1] >> 24 & 1;
        if (max >= 0x80000021) {
            cpuid_count(0x80000021, 0, r);
            cpu.auto_ibrs = r[0] >> 8 & 1;
        }
    }
    return cpu;
}

static void
policy_log(const struct spec_policy *p)
{
    log_info("speculation: on entry%s%s%s; on exit%s; between domains%s; always eager FPU%s%s%s%s",
             p->ibrs_entry ? " IBRS" : "", p->rsb_entry ? " RSB" : "", spec_scrubs_entry() ? "" : " nothing",
             p->verw_exit ? " VERW" : " nothing", p->ibpb_switch ? " IBPB" : " nothing",
             p->auto_ibrs ? ", Auto IBRS" : "",
             p->spec_ctrl & SPEC_CTRL_IBRS && !p->ibrs_entry ? ", IBRS" : "",
             p->spec_ctrl & SPEC_CTRL_STIBP ? ", STIBP" : "", p->spec_ctrl & SPEC_CTRL_SSBD ? ", SSBD" : "");
    if (p->meltdown)
        log_warn("speculation: this CPU may let PV guests read all memory (Meltdown, L1TF), and Serai has no "
                 "XPTI: run only guests here that may");
}

/* A jump over the five bytes at @from, which nobody runs yet. */
static void
redirect(void *from, const void *to)
{
    struct {
        u8 opcode;
        s32 distance;
    } __packed jump = {0xe9, (s32)((u64)to - ((u64)from + 5))};

    code_patch(from, &jump, sizeof(jump));
}

void
spec_ctrl_init(void)
{
    extern char guest_sysret[], guest_iret[];
    extern const char guest_sysret_verw[], guest_verw_iret[];
    struct spec_cpu cpu = cpu_read();

    spec_policy = spec_policy_choose(&cpu, &spec_options);
    spec_entry_ctrl = spec_policy.ibrs_entry ? spec_policy.spec_ctrl : 0;
    spec_entry_rsb = spec_policy.rsb_entry;
    if (spec_policy.verw_exit) {
        redirect(guest_sysret, guest_sysret_verw);
        redirect(guest_iret, guest_verw_iret);
    }
    policy_log(&spec_policy);
}

void
spec_ctrl_cpu_init(void)
{
    if (spec_policy.auto_ibrs)
        wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_AIBRSE);
    if (spec_policy.spec_ctrl)
        wrmsr(MSR_SPEC_CTRL, spec_policy.spec_ctrl);
}

void
spec_ctrl_domain_switch(void)
{
    if (spec_policy.ibpb_switch)
        wrmsr(MSR_PRED_CMD, PRED_CMD_IBPB);
}
