/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptor tables, system call entry and control registers of one physical CPU. */
#include "x86/cpu.h"
#include "base/log.h"
#include "base/panic.h"
#include "base/string.h"
#include "domain/domain.h" /* offsets only */
#include "mm/frame-alloc.h"
#include "x86/entry-offsets.h"
#include "x86/fpu.h"
#include "x86/paging.h"
#include "x86/pte.h"
#include "x86/spec-ctrl.h"

#define CHECK_REGS(f) static_assert(offsetof(struct cpu_user_regs, f) == REGS_##f, #f)
CHECK_REGS(r15);
CHECK_REGS(rax);
CHECK_REGS(rdi);
CHECK_REGS(error_code);
CHECK_REGS(entry_vector);
CHECK_REGS(rip);
CHECK_REGS(cs);
CHECK_REGS(rflags);
CHECK_REGS(rsp);
CHECK_REGS(ss);
CHECK_REGS(es);
static_assert(offsetof(struct cpu_user_regs, saved_upcall_mask) == REGS_upcall_mask, "entry-offsets.h");
static_assert(offsetof(struct cpu, guest) == CPU_guest, "entry-offsets.h");
static_assert(offsetof(struct cpu, vcpu) == CPU_current, "entry-offsets.h");
static_assert(offsetof(struct cpu, softirqs) == CPU_softirqs, "entry-offsets.h");
static_assert(offsetof(struct cpu, scratch) == CPU_scratch, "entry-offsets.h");
static_assert(sizeof(struct cpu) == CPU_SIZE, "entry-offsets.h");
static_assert((offsetof(struct cpu, guest) + REGS_es) % 16 == 0,
              "the CPU aligns a frame to 16 (SDM vol. 3, 6.14.2)");
static_assert(offsetof(struct vcpu, info) == VCPU_info, "entry-offsets.h");
static_assert(offsetof(struct vcpu, nmi_pending) == VCPU_nmi_mce_pending, "entry-offsets.h");
static_assert(offsetof(struct vcpu, mce_pending) == VCPU_nmi_mce_pending + 1, "entry-offsets.h");
static_assert(offsetof(struct vcpu, pv.kernel_mode) == VCPU_kernel_mode, "entry-offsets.h");
static_assert(HYPERCALL_IRET == __HYPERVISOR_iret, "entry-offsets.h");
static_assert(STACK_SIZE == 1ull << STACK_SHIFT, "entry-offsets.h");

struct tss {
    u32 reserved0;
    u64 rsp[3];
    u64 reserved1;
    u64 ist[7];
    u64 reserved2;
    u16 reserved3, iobmp;
} __packed;

struct idt_entry {
    u16 offset_low, selector;
    u8 ist, flags;
    u16 offset_mid;
    u32 offset_high, reserved;
};

struct descriptor_pointer {
    u16 limit;
    u64 base;
} __packed;

enum { IST_NMI = 1, IST_DOUBLE_FAULT, IST_MACHINE_CHECK, IST_DEBUG };

extern const char entry_stubs[], entry_debug[], entry_page_fault[], entry_nmi[], entry_double_fault[],
    entry_machine_check[];
extern const char scrub_entry_stubs[], scrub_entry_debug[], scrub_entry_page_fault[], scrub_entry_nmi[],
    scrub_entry_double_fault[], scrub_entry_machine_check[];
extern const char syscall_stub[], syscall_stub_end[], syscall_stub_scratch[], syscall_stub_stack[],
    syscall_stub_target[];
extern const char syscall_entry[], syscall32_entry[], sysenter_entry[];
extern const char scrub_syscall_entry[], scrub_syscall32_entry[], scrub_sysenter_entry[];
extern const u64 extable_start[][2], extable_end[][2];

struct cpu_features cpu_features;
unsigned cpu_limit = 1;
cpumask_t cpu_online;

static struct cpu *cpus[CPU_MAX];
static struct idt_entry idt[256] __attribute__((aligned(16)));

struct cpu *
cpu_at(unsigned id)
{
    return id < CPU_MAX ? cpus[id] : NULL;
}

u64
extable_find(u64 rip)
{
    for (const u64(*e)[2] = extable_start; e < extable_end; e++)
        if ((*e)[0] == rip)
            return (*e)[1];
    return 0;
}

static u8
bits_for(u32 count)
{
    return count > 1 ? (u8)(32 - __builtin_clz(count - 1)) : 0;
}

/* How an APIC ID is made up of thread, core and socket. */
static void
topology_init(u32 max, u32 max_ext)
{
    u32 thread[4] = {0}, core[4] = {0}, r[4], threads, cores;

    /* SDM vol. 3, 9.9: leaf 0xb gives the shifts; type 1 is the thread level, type 2 the core level. */
    if (max >= 0xb) {
        cpuid_count(0xb, 0, thread);
        cpuid_count(0xb, 1, core);
    }
    if ((thread[2] >> 8 & 0xff) == 1 && (core[2] >> 8 & 0xff) == 2) {
        cpu_features.thread_bits = thread[0] & 0x1f;
        cpu_features.core_bits = MAX(core[0] & 0x1f, thread[0] & 0x1f) - (thread[0] & 0x1f);
        return;
    }
    cpuid_count(1, 0, r);
    if (!(r[3] >> 28 & 1)) /* HTT: more than one to a package */
        return;
    threads = r[1] >> 16 & 0xff;
    /* APM vol. 3, E.4.7, or SDM leaf 4: cores of a package. */
    cores = 0;
    if (max_ext >= 0x80000008) {
        cpuid_count(0x80000008, 0, r);
        cores = r[2] & 0xff;
    }
    if (!cores && max >= 4) {
        cpuid_count(4, 0, r);
        cores = r[0] >> 26;
    }
    cores++;
    cpu_features.core_bits = bits_for(cores);
    cpu_features.thread_bits = MAX(bits_for(threads), cpu_features.core_bits) - cpu_features.core_bits;
}

void
cpu_features_init(void)
{
    u32 r[4], max, max_ext;

    cpuid_count(0, 0, r);
    max = r[0];
    memcpy(cpu_features.vendor, &r[1], 4);
    memcpy(cpu_features.vendor + 4, &r[3], 4);
    memcpy(cpu_features.vendor + 8, &r[2], 4);
    cpuid_count(1, 0, r);
    cpu_features.stepping = r[0] & 15;
    cpu_features.model = r[0] >> 4 & 15;
    cpu_features.family = r[0] >> 8 & 15;
    if (cpu_features.family == 6 || cpu_features.family == 15)
        cpu_features.model |= r[0] >> 12 & 0xf0;
    if (cpu_features.family == 15)
        cpu_features.family += r[0] >> 20 & 0xff;
    cpu_features.x2apic = r[2] >> 21 & 1;
    cpu_features.tsc_deadline = r[2] >> 24 & 1;
    cpu_features.xsave = r[2] >> 26 & 1;
    if (max >= 7) {
        cpuid_count(7, 0, r);
        cpu_features.fsgsbase = r[1] & 1;
        cpu_features.smep = r[1] >> 7 & 1;
        cpu_features.smap = r[1] >> 20 & 1;
        cpu_features.umip = r[2] >> 2 & 1;
    }
    if (cpu_features.xsave && max >= 13) {
        cpuid_count(13, 1, r);
        cpu_features.xsaveopt = r[0] & 1;
    }
    cpuid_count(0x80000000, 0, r);
    max_ext = r[0];
    cpuid_count(0x80000001, 0, r);
    cpu_features.nx = r[3] >> 20 & 1;
    cpu_features.gib_pages = r[3] >> 26 & 1;
    cpu_features.rdtscp = r[3] >> 27 & 1;
    if (max_ext >= 0x80000007) {
        cpuid_count(0x80000007, 0, r);
        cpu_features.invariant_tsc = r[3] >> 8 & 1;
    }
    cpu_features.physical_bits = 36;
    if (max_ext >= 0x80000008) {
        cpuid_count(0x80000008, 0, r);
        cpu_features.physical_bits = MIN(r[0] & 0xff, 52u);
    }
    topology_init(max, max_ext);
}

void
code_patch(void *at, const void *bytes, size_t size)
{
    write_cr0(read_cr0() & ~CR0_WP);
    memcpy(at, bytes, size);
    write_cr0(read_cr0() | CR0_WP);
}

/* Turns the NOPs before and after accesses to guest memory into STAC and CLAC. */
static void
smap_patch(void)
{
    extern const u64 smap_patch_start[][2], smap_patch_end[][2];

    for (const u64(*e)[2] = smap_patch_start; e < smap_patch_end; e++)
        code_patch((void *)(*e)[0], &(*e)[1], 3);
}

static void
idt_set(unsigned vector, const void *entry, unsigned ist, unsigned dpl)
{
    u64 offset = (u64)entry;

    idt[vector] = (struct idt_entry){
        .offset_low = offset,
        .selector = SEL_CS,
        .ist = ist,
        .flags = 0x8e | dpl << 5, /* present interrupt gate */
        .offset_mid = offset >> 16,
        .offset_high = offset >> 32,
    };
}

static void
idt_init(void)
{
    bool scrub = spec_scrubs_entry();
    const char *stubs = scrub ? scrub_entry_stubs : entry_stubs;

    for (unsigned i = 0; i < 256; i++)
        idt_set(i, stubs + i * 16, 0, 0);
    idt_set(1, scrub ? scrub_entry_debug : entry_debug, IST_DEBUG, 0);
    idt_set(2, scrub ? scrub_entry_nmi : entry_nmi, IST_NMI, 0);
    idt_set(8, scrub ? scrub_entry_double_fault : entry_double_fault, IST_DOUBLE_FAULT, 0);
    idt_set(14, scrub ? scrub_entry_page_fault : entry_page_fault, 0, 0);
    idt_set(18, scrub ? scrub_entry_machine_check : entry_machine_check, IST_MACHINE_CHECK, 0);
    /* INT3 and INTO are the guest's own to execute. */
    idt_set(3, stubs + 3 * 16, 0, 3);
    idt_set(4, stubs + 4 * 16, 0, 3);
}

static void
gdt_init(struct cpu *cpu, u64 stack)
{
    struct descriptor_pointer gdtr = {16 * PAGE_SIZE - 1, paging_window_va(WINDOW_GDT)};
    struct descriptor_pointer idtr = {sizeof(idt) - 1, (u64)idt};
    u64 *gdt = (u64 *)(gdtr.base + FIRST_RESERVED_GDT_BYTE);
    u64 tss = (u64)cpu->tss;

    gdt[SEL_CS / 8 - FIRST_RESERVED_GDT_ENTRY] = 0x00af9b000000ffff;
    gdt[SEL_DS / 8 - FIRST_RESERVED_GDT_ENTRY] = 0x00cf93000000ffff;
    gdt[SEL_RING3_CS32 / 8 - FIRST_RESERVED_GDT_ENTRY] = 0x00cffb000000ffff;
    gdt[SEL_RING3_DS / 8 - FIRST_RESERVED_GDT_ENTRY] = 0x00cff3000000ffff;
    gdt[SEL_RING3_CS64 / 8 - FIRST_RESERVED_GDT_ENTRY] = 0x00affb000000ffff;
    gdt[SEL_TSS / 8 - FIRST_RESERVED_GDT_ENTRY] =
        (sizeof(struct tss) - 1) | (tss & 0xffffff) << 16 | 0x89ull << 40 | (tss >> 24 & 0xff) << 56;
    gdt[SEL_TSS / 8 - FIRST_RESERVED_GDT_ENTRY + 1] = tss >> 32;

    cpu->tss->rsp[0] = (u64)&cpu->guest.es;
    cpu->tss->ist[IST_NMI - 1] = stack + 1 * PAGE_SIZE;
    cpu->tss->ist[IST_DOUBLE_FAULT - 1] = stack + 2 * PAGE_SIZE;
    cpu->tss->ist[IST_MACHINE_CHECK - 1] = stack + 3 * PAGE_SIZE;
    cpu->tss->ist[IST_DEBUG - 1] = stack + 4 * PAGE_SIZE;
    cpu->tss->iobmp = sizeof(struct tss);

    __asm__ volatile("lgdt %0" : : "m"(gdtr));
    __asm__ volatile("lidt %0" : : "m"(idtr));
    __asm__ volatile("push %0; lea 1f(%%rip), %%rax; push %%rax; lretq; 1:"
                     :
                     : "i"(SEL_CS)
                     : "rax", "memory");
    __asm__ volatile("mov %0, %%ss" : : "r"(SEL_DS));
    __asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%fs; mov %0, %%gs" : : "r"(0));
    __asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
    __asm__ volatile("lldt %w0" : : "r"(0));
}

static void
stub_write(char *stub, u64 scratch, u64 stack, const void *target)
{
    u64 address = (u64)target;

    memcpy(stub, syscall_stub, syscall_stub_end - syscall_stub);
    memcpy(stub + (syscall_stub_scratch - syscall_stub), &scratch, 8);
    memcpy(stub + (syscall_stub_stack - syscall_stub), &stack, 8);
    memcpy(stub + (syscall_stub_target - syscall_stub), &address, 8);
}

/* SYSCALL's landings: stubs that know this CPU's stack, in its window; one is for 32-bit programs (AMD). */
static void
syscall_init(struct cpu *cpu)
{
    u64 scratch = (u64)&cpu->scratch, stack = (u64)&cpu->guest.es, va;
    u64 stub32 = ROUND_UP((u64)(syscall_stub_end - syscall_stub), 64);
    char *stub = paging_stub_page(cpu, &va);
    bool scrub = spec_scrubs_entry();

    stub_write(stub, scratch, stack, scrub ? scrub_syscall_entry : syscall_entry);
    stub_write(stub + stub32, scratch, stack, scrub ? scrub_syscall32_entry : syscall32_entry);

    wrmsr(MSR_STAR, (u64)SEL_RING3_CS32 << 48 | (u64)SEL_CS << 32);
    wrmsr(MSR_LSTAR, va);
    wrmsr(MSR_CSTAR, va + stub32);
    wrmsr(MSR_SYSCALL_MASK,
          RFLAGS_VM | RFLAGS_RF | RFLAGS_NT | RFLAGS_DF | RFLAGS_IF | RFLAGS_TF | RFLAGS_AC);
    if (cpu_features.vendor[0] == 'G') { /* others have no SYSENTER in long mode */
        wrmsr(MSR_SYSENTER_CS, SEL_CS);
        wrmsr(MSR_SYSENTER_ESP, stack);
        wrmsr(MSR_SYSENTER_EIP, (u64)(scrub ? scrub_sysenter_entry : sysenter_entry));
    }
}

void
cpu_set_cr4(u64 cr4)
{
    struct cpu *cpu = this_cpu();

    if (cpu->cr4 != cr4) {
        cpu->cr4 = cr4;
        write_cr4(cr4);
    }
}

static void
control_registers_init(struct cpu *cpu)
{
    u64 cr4 = CR4_PAE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_DE | CR4_PGE;

    cr4 |= cpu_features.fsgsbase ? CR4_FSGSBASE : 0;
    cr4 |= cpu_features.xsave ? CR4_OSXSAVE : 0;
    cr4 |= cpu_features.smep ? CR4_SMEP : 0;
    cr4 |= cpu_features.smap ? CR4_SMAP : 0;
    cr4 |= cpu_features.umip ? CR4_UMIP : 0;
    write_cr0(CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE | CR0_AM);
    cpu->cr4 = cr4;
    write_cr4(cr4);
    wrmsr(MSR_PAT, PAT_VALUE);
    wrmsr(MSR_EFER, EFER_SCE | EFER_LME | EFER_LMA | (cpu_features.nx ? EFER_NXE : 0));
}

void
cpu_init(unsigned id)
{
    struct cpu *cpu = this_cpu();
    u64 stack = (u64)(cpu + 1) - STACK_SIZE;

    cpu->id = id;
    cpus[id] = cpu;
    list_init(&cpu->work);
    if (id == 0) {
        spec_ctrl_init();
        idt_init();
        if (cpu_features.smap)
            smap_patch();
    }
    cpu->tss = page_alloc_hv();
    if (!cpu->tss || !paging_window_init(cpu))
        panic("no memory for CPU%u's descriptor tables", id);
    control_registers_init(cpu);
    cpu->cr3 = read_cr3();
    gdt_init(cpu, stack);
    syscall_init(cpu);
    spec_ctrl_cpu_init();
    fpu_cpu_init();
    cpu->is_up = true;
}

struct cpu *
cpu_create(unsigned id, u32 apic_id)
{
    mfn_t stack = frame_alloc(STACK_SHIFT - PAGE_SHIFT, 0);
    struct cpu *cpu;

    if (mfn_equal(stack, MFN_INVALID))
        return NULL;
    cpu = (struct cpu *)((char *)direct_ptr(mfn_to_maddr(stack)) + STACK_SIZE) - 1;
    cpu->id = id;
    cpu->apic_id = apic_id;
    cpus[id] = cpu;
    return cpu;
}
