/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A physical CPU: what it can do, its descriptor tables, its registers at boot. */
#ifndef SERAI_X86_CPU_H
#define SERAI_X86_CPU_H

#include "x86/asm.h"
#include "x86/percpu.h"

/* Features that change what the hypervisor does; read once on the boot CPU. */
struct cpu_features {
    bool smep, smap, umip, fsgsbase, xsave, xsaveopt, invariant_tsc, x2apic;
    bool tsc_deadline, gib_pages, nx, rdtscp;
    u8 physical_bits;
    u8 thread_bits, core_bits; /* of an APIC ID, from the lowest bit up; the rest is the socket */
    char vendor[13];
    u32 family, model, stepping;
};
extern struct cpu_features cpu_features;

/* Fills cpu_features; boot CPU only, before anything asks. */
void cpu_features_init(void);

/*
 * Makes the CPU that calls it ours: control registers, GDT, IDT, TSS,
 * SYSCALL.  Its struct cpu is at the top of its stack, its window is mapped.
 */
void cpu_init(unsigned id);

/* A stack (with struct cpu) for a CPU that is about to be started; NULL when memory is short. */
struct cpu *cpu_create(unsigned id, u32 apic_id);

/* Writes over code that nobody runs at the moment: boot, before there is a second CPU. */
void code_patch(void *at, const void *bytes, size_t size);

void cpu_set_cr4(u64 cr4); /* writes it if it differs from what is loaded */

/* Forgets the stack and goes on elsewhere; entry.S. */
void stack_reset_and_jump(void (*fn)(void)) __noreturn;
void stack_reset_to_guest(void) __noreturn;

/* Host exceptions: the fixup for @rip, 0 when there is none. */
u64 extable_find(u64 rip);

static inline u64
fsbase_read(void)
{
    u64 v;

    if (!cpu_features.fsgsbase)
        return rdmsr(MSR_FS_BASE);
    __asm__ volatile("rdfsbase %0" : "=r"(v));
    return v;
}

static inline u64
gsbase_read(void)
{
    u64 v;

    if (!cpu_features.fsgsbase)
        return rdmsr(MSR_GS_BASE);
    __asm__ volatile("rdgsbase %0" : "=r"(v));
    return v;
}

static inline void
fsbase_write(u64 v)
{
    if (!cpu_features.fsgsbase)
        wrmsr(MSR_FS_BASE, v);
    else
        __asm__ volatile("wrfsbase %0" : : "r"(v));
}

static inline void
gsbase_write(u64 v)
{
    if (!cpu_features.fsgsbase)
        wrmsr(MSR_GS_BASE, v);
    else
        __asm__ volatile("wrgsbase %0" : : "r"(v));
}

#endif
