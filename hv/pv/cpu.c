/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The PV virtual CPU: its two modes, how the guest kernel is entered, the context switch.
 *
 * Kernel and user of a 64-bit PV guest both run in ring 3, on page tables of their own.  The hypervisor never
 * uses GS, so the inactive mode's GS base waits in the CPU's shadow register and SWAPGS exchanges the two.
 */
#include "base/log.h"
#include "base/string.h"
#include "domain/evtchn.h"
#include "domain/sched.h"
#include "mm/frame-alloc.h"
#include "mm/guest-copy.h"
#include "mm/heap.h"
#include "pv/pv.h"
#include "x86/cpu.h"
#include "x86/entry-offsets.h"
#include "x86/paging.h"
#include "x86/softirq.h"
#include "x86/spec-ctrl.h"
#include "x86/tlb.h"
#include "x86/upcalls.h"

/* Flags a guest may not carry through an entry into its kernel. */
#define RFLAGS_ENTRY_CLEAR (RFLAGS_AC | RFLAGS_VM | RFLAGS_RF | RFLAGS_NT | RFLAGS_TF)

void
pv_load_cr3(struct vcpu *v)
{
    u64 cr3 = v->pv.kernel_mode ? v->pv.kernel_cr3 : v->pv.user_cr3;

    this_cpu()->cr3 = cr3;
    write_cr3(cr3);
}

void
pv_toggle_mode(struct vcpu *v)
{
    v->pv.kernel_mode = !v->pv.kernel_mode;
    swapgs();
    pv_load_cr3(v);
    if (unlikely(v->publish_pending))
        time_publish(v); /* its kernel's addresses mean something again, if that is where it goes */
}

/*
 * Enters the guest kernel at @rip.  The frame, from its highest word down: SS RSP RFLAGS CS+mask RIP, what is
 * extra (an error code; GS FS ES DS), R11 RCX; the stack is aligned to 16 first, as the CPU does it.
 */
#define FRAME_WORDS 7u

static inline __attribute__((always_inline)) void
bounce(struct vcpu *v, struct cpu_user_regs *regs, u64 rip, u16 cs, bool mask_events, const u64 *extra,
       unsigned extra_count)
{
    u64 masked = v->info->evtchn_upcall_mask & 1, from_cs = regs->cs, sp, f;
    const u64 size = (FRAME_WORDS + extra_count) * sizeof(u64);

    if (v->pv.kernel_mode) {
        from_cs &= ~3ull;
        sp = regs->rsp;
    } else {
        sp = v->pv.kernel_sp;
        pv_toggle_mode(v);
    }
    sp = (sp & ~15ull) - size;
    if (unlikely(!guest_range(sp, size)))
        goto no_stack;

    user_open();
    f = sp;
    user_store(f, regs->rcx, fault);
    user_store(f += sizeof(u64), regs->r11, fault);
    for (unsigned i = 0; i < extra_count; i++)
        user_store(f += sizeof(u64), extra[i], fault);
    user_store(f += sizeof(u64), regs->rip, fault);
    user_store(f += sizeof(u64), from_cs | masked << 32, fault);
    user_store(f += sizeof(u64),
               (regs->rflags & ~(RFLAGS_IF | RFLAGS_IOPL)) | (masked ^ 1) << RFLAGS_IF_SHIFT, fault);
    user_store(f += sizeof(u64), regs->rsp, fault);
    user_store(f += sizeof(u64), regs->ss, fault);
    user_close();

    if (mask_events)
        v->info->evtchn_upcall_mask = 1;
    regs->rsp = sp;
    regs->rip = rip;
    regs->ss = FLAT_KERNEL_SS;
    regs->cs = cs;
    regs->rflags &= ~RFLAGS_ENTRY_CLEAR;
    regs->entry_vector |= ENTRY_SYSCALL;
    return;

fault:
    user_close();
no_stack:
    domain_crash(v->domain,
                 "no stack to enter its kernel at %#lx on vCPU%u: "
                 "cannot write %#lx (it was at %04x:%#lx, stack %#lx)",
                 rip, v->id, sp, regs->cs, regs->rip, regs->rsp);
}

void
pv_bounce(struct vcpu *v, struct cpu_user_regs *regs, u64 rip, u16 cs, bool mask_events)
{
    bounce(v, regs, rip, cs, mask_events, NULL, 0);
}

void
pv_bounce_error(struct vcpu *v, struct cpu_user_regs *regs, u64 rip, u16 cs, bool mask_events, u32 error_code)
{
    const u64 error = error_code;

    bounce(v, regs, rip, cs, mask_events, &error, 1);
}

void
pv_user_syscall(struct vcpu *v, struct cpu_user_regs *regs)
{
    const struct pv_callback *cb = &v->pv.callback[PV_CB_SYSCALL];

    if (unlikely(!cb->rip)) {
        regs->rip -= 2;
        pv_inject_trap(v, 6, false, 0);
        return;
    }
    bounce(v, regs, cb->rip, FLAT_KERNEL_CS, cb->flags & PV_CALLBACK_MASK_EVENTS, NULL, 0);
}

void
pv_deliver_pending(struct vcpu *v)
{
    const struct pv_callback *cb;

    if (unlikely(v->nmi_pending) && !v->pv.nmi_masked && v->pv.callback[PV_CB_NMI].rip) {
        v->nmi_pending = false;
        v->pv.nmi_masked = true;
        pv_bounce(v, guest_regs(), v->pv.callback[PV_CB_NMI].rip, FLAT_KERNEL_CS, true);
        return;
    }
    if (!v->info->evtchn_upcall_pending || v->info->evtchn_upcall_mask)
        return;
    cb = &v->pv.callback[PV_CB_EVENT];
    if (likely(cb->rip))
        pv_bounce(v, guest_regs(), cb->rip, FLAT_KERNEL_CS, true);
}

/*
 * The guest cannot go where it was to go: a selector of its own does not load.
 * The failsafe callback gets the four data selectors as they should be (pv.ds
 * and so on); where they are loaded too, the frame's CS, SS or RIP is to blame.
 */
static void
pv_failsafe(struct vcpu *v)
{
    const struct pv_callback *cb = &v->pv.callback[PV_CB_FAILSAFE];
    u64 selectors[] = {v->pv.ds, v->pv.es, v->pv.fs, v->pv.gs};

    if (!cb->rip) {
        domain_crash(v->domain,
                     "vCPU%u: its IRET names a segment it may not load, and it has no failsafe callback",
                     v->id);
        return;
    }
    bounce(v, guest_regs(), cb->rip, FLAT_KERNEL_CS, cb->flags & PV_CALLBACK_MASK_EVENTS, selectors,
           ARRAY_SIZE(selectors));
}

#define READ_SEL(reg, dst) __asm__ volatile("mov %%" #reg ", %0" : "=r"(dst))

void
pv_iret_fault(struct vcpu *v)
{
    READ_SEL(ds, v->pv.ds);
    READ_SEL(es, v->pv.es);
    READ_SEL(fs, v->pv.fs);
    READ_SEL(gs, v->pv.gs);
    pv_failsafe(v);
}

/* HYPERVISOR_iret: struct iret_context is at the guest's RSP.  RAX comes from there: there is no result. */
void
pv_iret(struct vcpu *v, struct cpu_user_regs *regs)
{
    const u64 ctx = regs->rsp;
    u64 rax, r11, rcx, flags, rip, cs, rflags, rsp, ss;

#define CTX(field) user_load(ctx + offsetof(struct iret_context, field), fault)
    if (unlikely(!guest_range(ctx, sizeof(struct iret_context))))
        goto no_stack;
    user_open();
    rax = CTX(rax);
    r11 = CTX(r11);
    rcx = CTX(rcx);
    flags = CTX(flags);
    rip = CTX(rip);
    cs = CTX(cs);
    rflags = CTX(rflags);
    rsp = CTX(rsp);
    ss = CTX(ss);
    user_close();
#undef CTX

    if ((cs & 3) == 3) {
        if (unlikely(!v->pv.user_cr3)) {
            domain_crash(v->domain, "vCPU%u: return to user mode without page tables for it", v->id);
            return;
        }
        pv_toggle_mode(v);
    }
    regs->rip = rip;
    regs->cs = cs | 3;
    regs->rflags = (rflags & ~(RFLAGS_IOPL | RFLAGS_VM)) | RFLAGS_IF | 2;
    regs->rsp = rsp;
    regs->ss = ss | 3;
    regs->rax = rax;
    if (!(flags & VGCF_in_syscall)) {
        regs->entry_vector = 0;
        regs->r11 = r11;
        regs->rcx = rcx;
    }
    v->info->evtchn_upcall_mask = !(rflags & RFLAGS_IF);
    v->pv.nmi_masked = false;
    return;

fault:
    user_close();
no_stack:
    domain_crash(v->domain, "vCPU%u: HYPERVISOR_iret with no readable stack at %#lx", v->id, ctx);
}

/* --- context switch --- */

/* Loads a guest's selector; one that its descriptor tables no longer offer becomes null.  False then. */
#define LOAD_SEL(reg, sel)                                                             \
    ({                                                                                 \
        u32 failed__ = 0;                                                              \
        __asm__ volatile("1: mov %1, %%" #reg "; 2:\n\t"                               \
                         ".pushsection .fixup, \"ax\"; 3: mov $1, %0; mov %2, %%" #reg \
                         "; jmp 2b; .popsection\n\t"                                   \
                         ".pushsection .extable, \"a\"; .quad 1b, 3b; .popsection"     \
                         : "+&r"(failed__)                                             \
                         : "r"((u32)(sel)), "r"(0));                                   \
        !failed__;                                                                     \
    })

static void
pv_context_save(struct vcpu *v)
{
    struct pv_vcpu *pv = &v->pv;
    u64 active = gsbase_read(), inactive = rdmsr(MSR_SHADOW_GS_BASE);

    READ_SEL(ds, pv->ds);
    READ_SEL(es, pv->es);
    READ_SEL(fs, pv->fs);
    READ_SEL(gs, pv->gs);
    pv->fs_base = fsbase_read();
    pv->gs_base_kernel = pv->kernel_mode ? active : inactive;
    pv->gs_base_user = pv->kernel_mode ? inactive : active;
    if (this_cpu()->dr7_loaded) {
        write_dr7(0);
        this_cpu()->dr7_loaded = false;
    }
    pv_unload_ldt(v);
}

void
pv_load_cr4(struct vcpu *v)
{
    cpu_set_cr4((this_cpu()->cr4 & ~CR4_TSD) | (v->pv.cr4 & CR4_TSD));
}

void
pv_load_debugregs(struct vcpu *v)
{
    struct pv_vcpu *pv = &v->pv;

    if (!(pv->dr[7] & 0xff)) {
        if (this_cpu()->dr7_loaded)
            write_dr7(0);
        this_cpu()->dr7_loaded = false;
        return;
    }
    write_dr0(pv->dr[0]);
    write_dr1(pv->dr[1]);
    write_dr2(pv->dr[2]);
    write_dr3(pv->dr[3]);
    write_dr6(pv->dr[6]);
    write_dr7(pv->dr[7]);
    this_cpu()->dr7_loaded = true;
}

void
pv_load_tsc_aux(struct vcpu *v)
{
    if (this_cpu()->tsc_aux == v->tsc_aux)
        return;
    wrmsr(MSR_TSC_AUX, v->tsc_aux);
    this_cpu()->tsc_aux = v->tsc_aux;
}

static void
pv_context_load(struct vcpu *v)
{
    struct pv_vcpu *pv = &v->pv;
    bool ok = true;

    pv_load_gdt(v);
    pv_load_ldt(v);
    /* Null selectors are the rule; the bases are written after, for a load of FS or GS clears them. */
    ok &= LOAD_SEL(ds, pv->ds);
    ok &= LOAD_SEL(es, pv->es);
    ok &= LOAD_SEL(fs, pv->fs);
    ok &= LOAD_SEL(gs, pv->gs);
    fsbase_write(pv->fs_base);
    gsbase_write(pv->kernel_mode ? pv->gs_base_kernel : pv->gs_base_user);
    wrmsr(MSR_SHADOW_GS_BASE, pv->kernel_mode ? pv->gs_base_user : pv->gs_base_kernel);
    pv_load_cr4(v);
    if (cpu_features.rdtscp)
        pv_load_tsc_aux(v);
    if (unlikely(pv->dr[7] & 0xff))
        pv_load_debugregs(v);
    if (unlikely(!ok) && pv->callback[PV_CB_FAILSAFE].rip)
        pv->failsafe_due = true;
}

void
pv_fpu_set_ts(bool set)
{
    if (set)
        write_cr0(read_cr0() | CR0_TS);
    else
        __asm__ volatile("clts");
}

void
idle_loop(void)
{
    for (;;) {
        if (this_cpu()->softirqs)
            softirq_run();
        else if (!frame_scrub(16))
            cpu_sti_hlt_cli();
    }
}

void
context_switch(struct vcpu *prev, struct vcpu *next)
{
    struct cpu *cpu = this_cpu();

    if (!prev->is_idle) {
        prev->regs = cpu->guest;
        prev->domain->ops->context_save(prev);
        __asm__ volatile("clts");
        fpu_save(prev->fpu);
    }
    cpu->vcpu = next;
    if (next->is_idle) {
        cpu->cr3 = mfn_x(paging_idle_l4()) << PAGE_SHIFT;
        write_cr3(cpu->cr3);
    } else {
        cpumask_set(&next->domain->dirty_cpus, cpu->id);
        pv_load_cr3(next);
    }
    if (prev->domain != next->domain) {
        tlb_flush_local();
        if (!next->is_idle)
            spec_ctrl_domain_switch();
        if (!prev->is_idle)
            cpumask_clear(&prev->domain->dirty_cpus, cpu->id);
    }
    if (next->is_idle) {
        sched_switch_done(prev);
        stack_reset_and_jump(idle_loop);
    }
    next->domain->ops->context_load(next);
    fpu_restore(next->fpu, next->xcr0);
    if (unlikely(next->pv.cr0 & CR0_TS))
        pv_fpu_set_ts(true);
    cpu->guest = next->regs;
    sched_switch_done(prev);
    time_update_vcpu(next);
    runstate_publish(next);
    if (unlikely(next->pv.failsafe_due)) {
        next->pv.failsafe_due = false;
        pv_failsafe(next);
    }
    stack_reset_to_guest();
}

/* --- life of a PV vCPU --- */

static int
pv_domain_init(struct domain *d)
{
    (void)d;
    return 0;
}

static void
pv_domain_fini(struct domain *d)
{
    (void)d;
}

static int
pv_vcpu_init(struct vcpu *v)
{
    struct pv_vcpu *pv = &v->pv;

    static_assert(256 * sizeof(struct trap_info) == PAGE_SIZE, "the virtual IDT is a page");
    pv->traps = page_alloc_hv();
    if (!pv->traps)
        return -ENOMEM;
    pv->kernel_mode = true;
    pv->kernel_l4 = pv->user_l4 = MFN_INVALID;
    pv->cr0 = CR0_PG | CR0_PE | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_MP;
    pv->cr4 = CR4_PAE | CR4_PSE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    pv->dr[6] = DR6_FIXED_ONE;
    pv->dr[7] = 0x400;
    return 0;
}

static void
pv_vcpu_fini(struct vcpu *v)
{
    page_free_hv(v->pv.traps);
    v->pv.traps = NULL;
}

/* Each vCPU gives up its tables; may be called again after -ERESTART. */
static int
pv_relinquish(struct domain *d)
{
    struct vcpu *v;
    int rc;

    for_each_vcpu(d, v) {
        rc = pv_drop_cr3(v);
        if (rc)
            return rc;
        pv_drop_gdt(v);
        pv_drop_ldt(v);
        vcpu_unregister_info(v);
    }
    return 0;
}

static bool
context_is_sane(const struct vcpu_guest_context *ctx)
{
    return va_is_canonical(ctx->user_regs.rip) && va_is_canonical(ctx->event_callback_eip) &&
           va_is_canonical(ctx->failsafe_callback_eip) && va_is_canonical(ctx->syscall_callback_eip) &&
           va_is_canonical(ctx->fs_base) && va_is_canonical(ctx->gs_base_kernel) &&
           va_is_canonical(ctx->gs_base_user) && va_is_canonical(ctx->kernel_sp) &&
           ctx->gdt_ents <= 14 * 512 && ctx->ldt_ents <= 8192;
}

static void
context_set_plain(struct vcpu *v, const struct vcpu_guest_context *ctx)
{
    struct pv_vcpu *pv = &v->pv;

    v->regs = ctx->user_regs;
    pv->iopl = ctx->user_regs.rflags >> 12 & 3;
    v->regs.cs |= 3;
    v->regs.ss |= 3;
    v->regs.rflags = (v->regs.rflags & ~(RFLAGS_IOPL | RFLAGS_VM | RFLAGS_NT)) | RFLAGS_IF | 2;
    v->regs.entry_vector = 0;
    v->regs.error_code = 0;
    pv->ds = pv_fix_selector(ctx->user_regs.ds);
    pv->es = pv_fix_selector(ctx->user_regs.es);
    pv->fs = pv_fix_selector(ctx->user_regs.fs);
    pv->gs = pv_fix_selector(ctx->user_regs.gs);
    pv->kernel_mode = ctx->flags & VGCF_in_kernel;
    pv->kernel_ss = ctx->kernel_ss;
    pv->kernel_sp = ctx->kernel_sp;
    pv->fs_base = ctx->fs_base;
    pv->gs_base_kernel = ctx->gs_base_kernel;
    pv->gs_base_user = ctx->gs_base_user;
    pv->callback[PV_CB_EVENT] =
        (struct pv_callback){.rip = ctx->event_callback_eip, .flags = PV_CALLBACK_MASK_EVENTS};
    pv->callback[PV_CB_FAILSAFE] = (struct pv_callback){
        .rip = ctx->failsafe_callback_eip,
        .flags = ctx->flags & VGCF_failsafe_disables_events ? PV_CALLBACK_MASK_EVENTS : 0};
    pv->callback[PV_CB_SYSCALL] = (struct pv_callback){
        .rip = ctx->syscall_callback_eip,
        .flags = ctx->flags & VGCF_syscall_disables_events ? PV_CALLBACK_MASK_EVENTS : 0};
    for (unsigned i = 0; i < 256; i++) {
        struct trap_info trap = ctx->trap_ctxt[i];

        trap.vector = i;
        if (!va_is_canonical(trap.address))
            trap.address = 0;
        pv_set_trap(v, &trap); /* the NMI callback too */
    }
    pv->cr4 = ctx->ctrlreg[4] ? ctx->ctrlreg[4] & (CR4_TSD | CR4_DE) : pv->cr4;
    if (ctx->flags & VGCF_I387_VALID)
        fpu_area_set_legacy(v->fpu, &ctx->fpu_ctxt);
    else
        fpu_area_reset(v->fpu);
}

static int
pv_set_context(struct vcpu *v, const struct vcpu_guest_context *ctx)
{
    u64 frames[14];
    mfn_t kernel_l4, user_l4;
    int rc;

    if (!context_is_sane(ctx))
        return -EINVAL;
    kernel_l4 = _mfn(xen_cr3_to_pfn(ctx->ctrlreg[3]));
    user_l4 = _mfn(xen_cr3_to_pfn(ctx->ctrlreg[1]));
    for (unsigned i = 0; i < ARRAY_SIZE(frames); i++)
        frames[i] = ctx->gdt_frames[i];
    rc = pv_set_gdt(v, frames, ctx->gdt_ents);
    if (rc)
        return rc;
    rc = pv_set_kernel_cr3(v, kernel_l4);
    if (rc)
        return rc;
    if (mfn_x(user_l4)) {
        rc = pv_set_user_cr3(v, user_l4);
        if (rc)
            return rc;
    }
    rc = pv_set_ldt(v, ctx->ldt_base, ctx->ldt_ents);
    if (rc)
        return rc;
    context_set_plain(v, ctx);
    v->domain->vm_assist |= ctx->vm_assist & (1ull << VMASST_TYPE_runstate_update_flag);
    return 0;
}

static void
pv_get_context(struct vcpu *v, struct vcpu_guest_context *ctx)
{
    const struct pv_vcpu *pv = &v->pv;

    memset(ctx, 0, sizeof(*ctx));
    fpu_area_get_legacy(v->fpu, &ctx->fpu_ctxt);
    ctx->flags = VGCF_I387_VALID | (pv->kernel_mode ? VGCF_in_kernel : 0);
    ctx->flags |=
        pv->callback[PV_CB_FAILSAFE].flags & PV_CALLBACK_MASK_EVENTS ? VGCF_failsafe_disables_events : 0;
    ctx->flags |=
        pv->callback[PV_CB_SYSCALL].flags & PV_CALLBACK_MASK_EVENTS ? VGCF_syscall_disables_events : 0;
    ctx->flags |= v->down_by_guest ? 0 : VGCF_online;
    ctx->user_regs = v->regs;
    ctx->user_regs.rflags = (v->regs.rflags & ~RFLAGS_IOPL) | (u64)pv->iopl << 12;
    ctx->user_regs.ds = pv->ds;
    ctx->user_regs.es = pv->es;
    ctx->user_regs.fs = pv->fs;
    ctx->user_regs.gs = pv->gs;
    ctx->user_regs.entry_vector = 0;
    ctx->user_regs.error_code = 0;
    memcpy(ctx->trap_ctxt, pv->traps, sizeof(ctx->trap_ctxt));
    ctx->ldt_base = pv->ldt_base;
    ctx->ldt_ents = pv->ldt_entries;
    for (unsigned i = 0; i < ARRAY_SIZE(pv->gdt_frames); i++)
        ctx->gdt_frames[i] = pv->gdt_frames[i];
    ctx->gdt_ents = pv->gdt_entries;
    ctx->kernel_ss = pv->kernel_ss;
    ctx->kernel_sp = pv->kernel_sp;
    ctx->ctrlreg[0] = pv->cr0;
    ctx->ctrlreg[4] = pv->cr4;
    if (!mfn_equal(pv->kernel_l4, MFN_INVALID))
        ctx->ctrlreg[3] = xen_pfn_to_cr3(mfn_x(pv->kernel_l4));
    if (!mfn_equal(pv->user_l4, MFN_INVALID))
        ctx->ctrlreg[1] = xen_pfn_to_cr3(mfn_x(pv->user_l4));
    for (unsigned i = 0; i < 8; i++)
        ctx->debugreg[i] = pv->dr[i];
    ctx->event_callback_eip = pv->callback[PV_CB_EVENT].rip;
    ctx->failsafe_callback_eip = pv->callback[PV_CB_FAILSAFE].rip;
    ctx->syscall_callback_eip = pv->callback[PV_CB_SYSCALL].rip;
    ctx->vm_assist = v->domain->vm_assist;
    ctx->fs_base = pv->fs_base;
    ctx->gs_base_kernel = pv->gs_base_kernel;
    ctx->gs_base_user = pv->gs_base_user;
}

const struct domain_ops pv_domain_ops = {
    .domain_init = pv_domain_init,
    .domain_fini = pv_domain_fini,
    .vcpu_init = pv_vcpu_init,
    .vcpu_fini = pv_vcpu_fini,
    .type_validate = pv_type_validate,
    .type_devalidate = pv_type_devalidate,
    .relinquish = pv_relinquish,
    .set_context = pv_set_context,
    .get_context = pv_get_context,
    .context_save = pv_context_save,
    .context_load = pv_context_load,
};
