/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The part of a PV vCPU that the entry code and the context switch touch: what a real CPU would hold
 * in its control registers, descriptor tables and call gates, as the guest asked for it by hypercall.
 */
#ifndef SERAI_X86_PV_VCPU_H
#define SERAI_X86_PV_VCPU_H

#include "abi/xen.h"
#include "base/addr.h"

/* An entry point of the guest kernel. */
struct pv_callback {
    u64 rip;
    u32 flags; /* PV_CALLBACK_* */
    u32 cs;
};
#define PV_CALLBACK_MASK_EVENTS 1u

enum pv_callback_type {
    PV_CB_EVENT,
    PV_CB_FAILSAFE,
    PV_CB_SYSCALL,
    PV_CB_SYSCALL32,
    PV_CB_SYSENTER,
    PV_CB_NMI,
    PV_CB_COUNT,
};

struct pv_vcpu {
    bool kernel_mode; /* TF_kernel_mode: which of the guest's two rings-in-ring-3 it is in */
    /* Kept for vcpucontext round trips. */
    bool syscall32_disables_events, sysenter_disables_events;
    bool nmi_masked;   /* from an NMI's delivery to the next iret */
    bool failsafe_due; /* a selector could not be loaded on the way in */
    u64 kernel_ss, kernel_sp;
    u64 kernel_cr3, user_cr3; /* full CR3 values: what is loaded in kernel and in user mode */
    mfn_t kernel_l4, user_l4; /* the typed frames that back them; MFN_INVALID when unset */
    struct pv_callback callback[PV_CB_COUNT];

    struct trap_info *traps; /* 256 of them; the virtual IDT */

    u64 gdt_frames[14];
    u32 gdt_entries;
    u32 ldt_entries;
    u64 ldt_base;
    u32 ldt_mapped;     /* bit n: page n of the LDT is in the CPU's window */
    u64 leftover_table; /* pv/mmu.c: frame number of a table that is still to be taken apart; 0: none */

    u64 fs_base, gs_base_kernel, gs_base_user; /* while not on a CPU */
    u16 ds, es, fs, gs;

    u64 cr0; /* guest's view: TS, and what else it may set */
    u64 cr4; /* guest's view; pv/cpu.c merges it with the host's */
    u64 dr[8];
    u8 iopl;   /* virtual I/O privilege level, 0 to 3 */
    u8 *iobmp; /* guest address of its I/O bitmap (PHYSDEVOP_set_iobitmap) */
    u32 iobmp_limit;
};

#endif
