/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of pv/ offer each other and the layers above. */
#ifndef SERAI_PV_PV_H
#define SERAI_PV_PV_H

#include "domain/domain.h"
#include "x86/pte.h"

/* --- pv/cpu.c: the PV virtual CPU --- */

/* Loads v's CR3 for its present mode.  @v is current. */
void pv_load_cr3(struct vcpu *v);
/* Kernel to user or back: swaps page tables and the GS bases. */
void pv_toggle_mode(struct vcpu *v);
/*
 * A frame on the guest kernel's stack, as the CPU would push it, and RIP at
 * @cb: SS RSP RFLAGS CS(+saved mask) RIP [error] R11 RCX.  A stack that cannot
 * be written crashes the domain (or injects failsafe where the ABI says so).
 */
void pv_bounce(struct vcpu *v, struct cpu_user_regs *regs, u64 rip, u16 cs, bool mask_events);
void pv_bounce_error(struct vcpu *v, struct cpu_user_regs *regs, u64 rip, u16 cs, bool mask_events,
                     u32 error_code);
/* Delivers what is pending and not masked: event upcall, NMI.  Called on the way out. */
void pv_deliver_pending(struct vcpu *v);
/* What a CPU does with nothing to run; never returns. */
void idle_loop(void) __noreturn;
/* CR0.TS of this CPU, for the vCPU that is current. */
void pv_fpu_set_ts(bool set);
/* Loads CR4 and DR7 as v's changed pv.cr4 and pv.dr[7] ask.  @v is current. */
void pv_load_cr4(struct vcpu *v);
/* Only where the CPU has RDTSCP. */
void pv_load_tsc_aux(struct vcpu *v);
void pv_load_debugregs(struct vcpu *v);

/* --- pv/trap.c --- */
/* Bounces exception @vector into the guest kernel by its trap table; without a handler its domain crashes. */
void pv_inject_trap(struct vcpu *v, unsigned vector, bool has_error, u32 error_code);
void pv_inject_page_fault(struct vcpu *v, u64 va, u32 error_code);
/* One entry of the trap table, selector fixed; also for set_context. */
void pv_set_trap(struct vcpu *v, const struct trap_info *info);
s64 hypercall_set_trap_table(u64 *arg);
s64 hypercall_set_callbacks(u64 *arg);
s64 hypercall_callback_op(u64 *arg);
s64 hypercall_nmi_op(u64 *arg);

/* --- pv/emulate.c: privileged instructions, after #GP or #UD --- */
/* True when the instruction was emulated and RIP moved on. */
bool pv_emulate_privileged(struct cpu_user_regs *regs);
/* The forced-emulation prefix of the ABI: ud2a; .ascii "xen"; cpuid. */
bool pv_emulate_forced_invalid_op(struct cpu_user_regs *regs);

/* --- pv/registers.c: the control and debug registers that a PV vCPU has for itself --- */
/* What a guest may have in CR4, out of what it asks for; bits that are not its to change keep their value. */
u64 pv_fix_cr4(const struct vcpu *v, u64 cr4);
int pv_set_debugreg(struct vcpu *v, unsigned reg, u64 value);
/* XSETBV: false where the state is not offered, or the combination is one that the CPU refuses. */
bool pv_set_xcr0(struct vcpu *v, u64 xcr0);
/* Clears what a guest may not watch (our addresses, I/O) out of a DR7 or an address; for set_context too. */
bool pv_debugreg_check(unsigned reg, u64 *value);
s64 hypercall_fpu_taskswitch(u64 *arg);
s64 hypercall_set_debugreg(u64 *arg);
s64 hypercall_get_debugreg(u64 *arg);
s64 hypercall_set_segment_base(u64 *arg);
s64 hypercall_stack_switch(u64 *arg);

/* --- pv/cpuid.c, pv/msr.c --- */
/* Boot: reads the machine's policies into cpu_policy_system[]; after the FPU's state components are known. */
void pv_cpuid_init(void);
void pv_cpuid(const struct vcpu *v, u32 leaf, u32 subleaf, u32 ret_regs[4]);
bool pv_rdmsr(struct vcpu *v, u32 msr, u64 *ret_value);
bool pv_wrmsr(struct vcpu *v, u32 msr, u64 value);

/* --- pv/mmu.c: page tables --- */
/* A guest's page fault on its LDT's window, or a trapped write to a page table.  True when mended. */
bool pv_mmu_fault(struct vcpu *v, u64 va, u32 error_code, struct cpu_user_regs *regs);
/* MMUEXT_NEW_BASEPTR, also for set_context and emulated CR3 writes.  Any number may come as @l4; -EINVAL. */
int pv_set_kernel_cr3(struct vcpu *v, mfn_t l4);
int pv_set_user_cr3(struct vcpu *v, mfn_t l4);
int pv_clear_user_cr3(struct vcpu *v);
/* Gives up the page tables that v runs on; -ERESTART. */
int pv_drop_cr3(struct vcpu *v);
int pv_type_validate(struct domain *d, struct frame *frame, u64 type);
int pv_type_devalidate(struct domain *d, struct frame *frame, u64 type);

/* --- pv/descriptor.c: GDT and LDT --- */
int pv_set_gdt(struct vcpu *v, const u64 *frames, unsigned entries);
void pv_drop_gdt(struct vcpu *v);
int pv_set_ldt(struct vcpu *v, u64 base, unsigned entries);
void pv_drop_ldt(struct vcpu *v);
/* Puts v's GDT frames into this CPU's window, on a context switch. */
void pv_load_gdt(struct vcpu *v);
/* The LDT register and its window: set up on a switch to v, emptied on a switch away. */
void pv_load_ldt(struct vcpu *v);
void pv_unload_ldt(struct vcpu *v);
/* Maps the page of the LDT that faulted; true when the access may be retried. */
bool pv_map_ldt_page(struct vcpu *v, unsigned page);
/* Whether a descriptor may stand in a guest's table; fixes its RPL-like fields as the ABI does. */
bool pv_descriptor_check(u64 *desc);
s64 hypercall_set_gdt(u64 *arg);
s64 hypercall_update_descriptor(u64 *arg);

/* Selectors a guest may load: RPL forced to 3, nothing of the hypervisor's. */
static inline u16
pv_fix_selector(u16 sel)
{
    return (sel & ~3u) ? sel | 3 : sel;
}

/* --- pv/hypercall-page.c --- */
/* Writes the entry points of all hypercalls into a page of a guest's (32 bytes each). */
void pv_hypercall_page_fill(void *page);
/* The same into frame @mfn, if it is @d's and may be written; for the MSR and XEN_DOMCTL_hypercall_init. */
int pv_hypercall_page_install(struct domain *d, mfn_t mfn);

/* --- pv/build.c: dom0 --- */
struct pv_image {
    const void *kernel; /* an ELF file, unpacked */
    u64 kernel_size;
    const void *ramdisk; /* NULL: none */
    u64 ramdisk_size;
    const char *cmdline;
    u64 memory_pages;                            /* what the domain gets */
    const struct dom0_vga_console_info *console; /* NULL: none */
    /* Called once kernel and ramdisk are copied, so that their memory can become the domain's. */
    void (*release)(const struct pv_image *image);
};
/*
 * Loads a kernel into @d, which is empty and has vCPU 0: reads its ELF notes, lays
 * out and types its memory, writes start info, sets the first registers.  On
 * failure the domain is half built, and *@ret_reason is a sentence for the console.
 */
int pv_build(struct domain *d, const struct pv_image *image, const char **ret_reason);

#endif
