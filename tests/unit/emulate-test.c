/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Privileged instructions, ports, MSRs and exceptions of a PV guest, on a pretend CPU. */
#include "domain/permission.h"
#include "mm/guest-copy.h"
#include "pv/pv.h"
#include "x86/cmos.h"
#include "x86/cpu.h"
#include "x86/pci.h"
#include "x86/segment.h"
#include "x86/tlb.h"
#include "x86/upcalls.h"
#include "fake.h"

#include <glib.h>
#include <string.h>
#include <sys/mman.h>

static struct domain *d;
static struct vcpu *v;
static struct vcpu_info info;
static struct trap_info traps[256];
static struct cpu_user_regs *regs;
static u8 *code; /* two pages, the second of which may be missing */

/* --- what emulate.c and trap.c call --- */

static struct {
    unsigned count;
    u64 rip;
    bool mask, has_error;
    u32 error_code;
} bounced;

void
pv_bounce(struct vcpu *vcpu, struct cpu_user_regs *r, u64 rip, u16 cs, bool mask_events)
{
    bounced.count++;
    bounced.rip = rip;
    bounced.mask = mask_events;
    bounced.has_error = false;
    bounced.error_code = 0;
}

void
pv_bounce_error(struct vcpu *vcpu, struct cpu_user_regs *r, u64 rip, u16 cs, bool mask_events, u32 error_code)
{
    pv_bounce(vcpu, r, rip, cs, mask_events);
    bounced.has_error = true;
    bounced.error_code = error_code;
}

static bool mmu_fault_mends;
static unsigned mmu_faults;

bool
pv_mmu_fault(struct vcpu *vcpu, u64 va, u32 error_code, struct cpu_user_regs *r)
{
    mmu_faults++;
    return mmu_fault_mends;
}

void
pv_toggle_mode(struct vcpu *vcpu)
{
    vcpu->pv.kernel_mode = !vcpu->pv.kernel_mode;
}

void
pv_load_cr4(struct vcpu *vcpu)
{
}

void
pv_load_debugregs(struct vcpu *vcpu)
{
}

static mfn_t new_cr3;
static int new_cr3_rc;

int
pv_set_kernel_cr3(struct vcpu *vcpu, mfn_t l4)
{
    new_cr3 = l4;
    return new_cr3_rc;
}

void
pv_cpuid(const struct vcpu *vcpu, u32 leaf, u32 subleaf, u32 ret_regs[4])
{
    ret_regs[0] = leaf + 1;
    ret_regs[1] = subleaf + 1;
    ret_regs[2] = 0x33;
    ret_regs[3] = 0x44;
}

int
pv_hypercall_page_install(struct domain *domain, mfn_t mfn)
{
    return mfn_x(mfn) == 5 ? 0 : -EINVAL;
}

static u32 permitted_first, permitted_last;

bool
ioport_permitted(const struct domain *domain, u32 first, u32 last)
{
    return first >= permitted_first && last <= permitted_last;
}

static struct pci_address pci_seen;
static unsigned pci_reg, pci_size;
static u32 pci_value;

u32
pci_read(struct pci_address pci, unsigned reg, unsigned size)
{
    pci_seen = pci;
    pci_reg = reg;
    pci_size = size;
    return 0x11223344;
}

void
pci_write(struct pci_address pci, unsigned reg, unsigned size, u32 value)
{
    pci_seen = pci;
    pci_reg = reg;
    pci_size = size;
    pci_value = value;
}

u8
cmos_read(u8 index)
{
    return 0xc0 | index;
}

void
cmos_write(u8 index, u8 value)
{
    pci_value = index << 8 | value;
}

static struct {
    u16 port;
    unsigned size, count;
    u32 value;
} last_out, last_in;

static u32
port_in(u16 port, unsigned size)
{
    last_in.port = port;
    last_in.size = size;
    last_in.count++;
    return 0xa5a5a500u + last_in.count;
}

static void
port_out(u16 port, unsigned size, u32 value)
{
    last_out.port = port;
    last_out.size = size;
    last_out.value = value;
    last_out.count++;
}

/* --- running one instruction --- */

static void
start(void)
{
    fake_domains_forget();
    fake_machine_init(64, 2);
    d = fake_domain_new(0, 1);
    d->is_hardware = true;
    v = d->vcpus[0];
    memset(&info, 0, sizeof(info));
    memset(traps, 0, sizeof(traps));
    memset(&bounced, 0, sizeof(bounced));
    memset(&last_in, 0, sizeof(last_in));
    memset(&last_out, 0, sizeof(last_out));
    memset(&fake_regs, 0, sizeof(fake_regs));
    memset(&cpu_features, 0, sizeof(cpu_features));
    strcpy(cpu_features.vendor, "GenuineIntel");
    cpu_features.xsave = cpu_features.rdtscp = cpu_features.umip = true;
    fake_regs.in = port_in;
    fake_regs.out = port_out;
    fake_regs.cr0 = 0x8005003b & ~CR0_TS;
    v->info = &info;
    v->pv.traps = traps;
    for (unsigned i = 0; i < 256; i++)
        traps[i] = (struct trap_info){i, i == 14 ? 4 : 0, FLAT_KERNEL_CS, 0xffffffff81000000ull + 16 * i};
    permitted_first = 0x100;
    permitted_last = 0x1ff;
    mmu_faults = 0;
    mmu_fault_mends = false;
    fake_run_as(v, 0);
    regs = guest_regs();
    memset(regs, 0, sizeof(*regs));
    regs->cs = 0xe033;
    regs->rflags = RFLAGS_IF;
    if (code)
        munmap(code, 8192);
    code = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
}

/* Puts bytes at the code page and makes RIP point there. */
#define CODE(...)                                  \
    ({                                             \
        static const u8 bytes__[] = {__VA_ARGS__}; \
        memset(code, 0x90, 4096);                  \
        memcpy(code, bytes__, sizeof(bytes__));    \
        regs->rip = (u64)code;                     \
        sizeof(bytes__);                           \
    })

#define EMULATES(...)                                         \
    ({                                                        \
        u64 length__ = CODE(__VA_ARGS__);                     \
        g_assert_true(pv_emulate_privileged(regs));           \
        g_assert_cmphex(regs->rip, ==, (u64)code + length__); \
    })

#define REFUSES(...)                                 \
    ({                                               \
        CODE(__VA_ARGS__);                           \
        g_assert_false(pv_emulate_privileged(regs)); \
        g_assert_cmphex(regs->rip, ==, (u64)code);   \
    })

/* --- ports --- */

static void
ports_need_privilege_then_permission(void)
{
    start();
    regs->rdx = 0x104;
    REFUSES(0xed); /* in (%dx), %eax with IOPL 0 */
    v->pv.iopl = 1;
    regs->rax = 0xffffffff00000000ull;
    EMULATES(0xed);
    g_assert_cmphex(regs->rax, ==, 0xa5a5a501);
    g_assert_cmpuint(last_in.size, ==, 4);

    regs->rax = 0x1234567887654321ull;
    EMULATES(0xec);
    g_assert_cmphex(regs->rax, ==, 0x1234567887654302ull);
    EMULATES(0x66, 0xed);
    g_assert_cmphex(regs->rax, ==, 0x123456788765a503ull);
    EMULATES(0x66, 0xef);
    g_assert_cmphex(last_out.port, ==, 0x104);
    g_assert_cmpuint(last_out.size, ==, 2);
    g_assert_cmphex(last_out.value, ==, 0xa503);

    /* Not permitted: ones, and writes go nowhere. */
    regs->rdx = 0x300;
    last_in.count = last_out.count = 0;
    EMULATES(0xed);
    g_assert_cmphex(regs->rax, ==, 0xffffffff);
    EMULATES(0xef);
    g_assert_cmpuint(last_in.count + last_out.count, ==, 0);

    /* Half permitted: byte by byte. */
    regs->rdx = 0x1fe;
    EMULATES(0xed);
    g_assert_cmphex(regs->rax, ==, 0xffff0201);

    /* User mode needs IOPL 3 or a bit. */
    v->pv.kernel_mode = false;
    regs->rdx = 0x104;
    REFUSES(0xed);
    v->pv.iopl = 3;
    EMULATES(0xed);
}

static void
the_io_bitmap_opens_ports_to_a_process(void)
{
    static u8 bitmap[8192 + 1];

    start();
    memset(bitmap, 0xff, sizeof(bitmap));
    v->pv.kernel_mode = false;
    v->pv.iobmp = bitmap;
    v->pv.iobmp_limit = 65536;
    regs->rdx = 0x10f;
    REFUSES(0x66, 0xed);
    bitmap[0x10f / 8] &= ~0x80;
    REFUSES(0x66, 0xed); /* the second byte's port is still closed */
    bitmap[0x110 / 8] &= ~1;
    EMULATES(0x66, 0xed);
    g_assert_false(v->pv.kernel_mode);
    v->pv.iobmp_limit = 0x110;
    REFUSES(0x66, 0xed);
    v->pv.iobmp_limit = 65536;
    v->pv.iobmp = (u8 *)0x10;
    REFUSES(0x66, 0xed);
    g_assert_false(v->pv.kernel_mode);
}

static void
pci_and_cmos_pairs_are_kept_apart(void)
{
    start();
    v->pv.iopl = 1;
    regs->rdx = 0xcf8;
    regs->rax = 0x80021a34;
    EMULATES(0xef);
    g_assert_cmpuint(last_out.count, ==, 0);
    regs->rax = 0;
    EMULATES(0xed);
    g_assert_cmphex(regs->rax, ==, 0x80021a34);
    regs->rdx = 0xcfe;
    EMULATES(0x66, 0xed);
    g_assert_cmphex(pci_seen.bus, ==, 2);
    g_assert_cmphex(pci_seen.devfn, ==, 0x1a);
    g_assert_cmphex(pci_reg, ==, 0x36);
    g_assert_cmpuint(pci_size, ==, 2);
    g_assert_cmphex(regs->rax & 0xffff, ==, 0x3344);
    regs->rdx = 0xcfc;
    regs->rax = 0xdeadbeef;
    EMULATES(0xef);
    g_assert_cmphex(pci_value, ==, 0xdeadbeef);

    regs->rax = 0x8b;
    EMULATES(0xe6, 0x70);
    EMULATES(0xe4, 0x71);
    g_assert_cmphex(regs->rax & 0xff, ==, 0xcb);
    g_assert_cmpuint(last_in.count + last_out.count, ==, 0);

    /* Another domain has none of it, whatever its privilege. */
    d->is_hardware = false;
    regs->rdx = 0xcfc;
    EMULATES(0xed);
    g_assert_cmphex(regs->rax, ==, 0xffffffff);
}

static void
string_io_stops_where_it_must(void)
{
    start();
    v->pv.iopl = 1;
    regs->rdx = 0x120;
    regs->rdi = (u64)code + 4096;
    regs->rcx = 4;
    EMULATES(0xf3, 0x6d);
    g_assert_cmpuint(regs->rcx, ==, 0);
    g_assert_cmphex(regs->rdi, ==, (u64)code + 4096 + 16);
    g_assert_cmphex(((u32 *)code)[1024 + 3], ==, 0xa5a5a504);

    /* Too much for once: goes on later. */
    regs->rdi = (u64)code + 4096;
    regs->rcx = 1000;
    CODE(0xf3, 0x6c);
    g_assert_true(pv_emulate_privileged(regs));
    g_assert_cmphex(regs->rip, ==, (u64)code);
    g_assert_cmpuint(regs->rcx, ==, 1000 - 256);

    /* Backwards, and off the page: a fault at that address, the device untouched. */
    regs->rsi = (u64)code + 2;
    regs->rflags |= RFLAGS_DF;
    fake_guest_owns(code, 8192);
    last_out.count = 0;
    regs->rcx = 10;
    CODE(0xf3, 0x6e);
    g_assert_true(pv_emulate_privileged(regs));
    g_assert_cmpuint(last_out.count, ==, 3);
    g_assert_cmpuint(regs->rcx, ==, 7);
    g_assert_cmpuint(bounced.count, ==, 1);
    g_assert_cmphex(info.arch.cr2, ==, (u64)code - 1);

    regs->rflags &= ~RFLAGS_DF;
    last_in.count = bounced.count = 0;
    regs->rdi = 16;
    regs->rcx = 1;
    CODE(0xf3, 0x6c);
    g_assert_true(pv_emulate_privileged(regs));
    g_assert_cmpuint(last_in.count, ==, 0);
    g_assert_cmpuint(bounced.count, ==, 1);
    g_assert_cmphex(bounced.error_code, ==, 2);
}

/* --- registers --- */

static void
control_registers_are_the_guest_s_own(void)
{
    start();
    EMULATES(0x0f, 0x20, 0xc0); /* mov %cr0, %rax */
    g_assert_cmphex(regs->rax, ==, 0x80050033);
    regs->rax |= CR0_TS;
    EMULATES(0x0f, 0x22, 0xc0);
    g_assert_true(fake_regs.cr0 & CR0_TS);
    EMULATES(0x41, 0x0f, 0x20, 0xc1); /* mov %cr0, %r9 */
    g_assert_cmphex(regs->r9, ==, 0x8005003b);
    EMULATES(0x0f, 0x06);
    g_assert_false(fake_regs.cr0 & CR0_TS);
    regs->rax = 0x80050033 ^ CR0_WP;
    REFUSES(0x0f, 0x22, 0xc0);

    regs->rcx = CR4_TSD | CR4_PAE | 1ull << 20; /* SMEP is not a guest's */
    EMULATES(0x0f, 0x22, 0xe1);
    EMULATES(0x0f, 0x20, 0xe2);
    g_assert_cmphex(regs->rdx, ==, CR4_TSD | CR4_PAE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT);

    v->pv.kernel_l4 = _mfn(0x23);
    EMULATES(0x0f, 0x20, 0xda);
    g_assert_cmphex(regs->rdx, ==, 0x23000);
    regs->rdx = 0x7000;
    EMULATES(0x0f, 0x22, 0xda);
    g_assert_cmphex(mfn_x(new_cr3), ==, 7);
    new_cr3_rc = -ERESTART;
    CODE(0x0f, 0x22, 0xda);
    g_assert_true(pv_emulate_privileged(regs));
    g_assert_cmphex(regs->rip, ==, (u64)code);
    new_cr3_rc = -EINVAL;
    REFUSES(0x0f, 0x22, 0xda);
    new_cr3_rc = 0;
    regs->rdx = 1ull << 50;
    REFUSES(0x0f, 0x22, 0xda);

    v->pv.kernel_mode = false;
    REFUSES(0x0f, 0x20, 0xc0);
    REFUSES(0x0f, 0x06);
}

static void
debug_registers_cannot_watch_the_hypervisor(void)
{
    u64 arg[2];

    start();
    regs->rbx = 0x1000;
    EMULATES(0x0f, 0x23, 0xc3);
    EMULATES(0x0f, 0x21, 0xc1);
    g_assert_cmphex(regs->rcx, ==, 0x1000);
    regs->rbx = HYPERVISOR_START + 0x1000;
    REFUSES(0x0f, 0x23, 0xc3);
    regs->rbx = 1ull << 60;
    REFUSES(0x0f, 0x23, 0xc3);

    arg[0] = 7;
    arg[1] = 1ull << 13; /* general detect */
    g_assert_cmpint(hypercall_set_debugreg(arg), ==, -EPERM);
    arg[1] = 1ull << 32;
    g_assert_cmpint(hypercall_set_debugreg(arg), ==, -EINVAL);
    arg[1] = 2ull << 16 | 3; /* an I/O breakpoint in 0 */
    g_assert_cmpint(hypercall_set_debugreg(arg), ==, 0);
    g_assert_cmphex(v->pv.dr[7], ==, (2ull << 16) | 0x400);
    arg[0] = 5;
    arg[1] = 1;
    g_assert_cmpint(hypercall_set_debugreg(arg), ==, 0);
    g_assert_cmphex(v->pv.dr[7], ==, 0x401);
    v->pv.cr4 |= CR4_DE;
    g_assert_cmpint(hypercall_set_debugreg(arg), ==, -ENODEV);
    arg[0] = 4;
    g_assert_cmpint(hypercall_get_debugreg(arg), ==, -ENODEV);
    arg[0] = 1ull << 32;
    g_assert_cmpint(hypercall_get_debugreg(arg), ==, -ENODEV);
}

static void
xcr0_takes_only_what_is_offered(void)
{
    start();
    regs->rax = 3;
    REFUSES(0x0f, 0x01, 0xd1); /* CR4.OSXSAVE is clear */
    v->pv.cr4 |= CR4_OSXSAVE;
    EMULATES(0x0f, 0x01, 0xd1);
    g_assert_cmphex(v->xcr0, ==, 3);
    g_assert_cmphex(fake_regs.xcr0, ==, 3);
    regs->rax = 7;
    REFUSES(0x0f, 0x01, 0xd1);
    regs->rax = 2;
    REFUSES(0x0f, 0x01, 0xd1);
    regs->rax = 1;
    regs->rcx = 1;
    REFUSES(0x0f, 0x01, 0xd1);
}

static void
system_instructions_of_user_programs_are_answered_with_nothing_real(void)
{
    u8 table[10];

    start();
    v->pv.kernel_mode = false;
    regs->rbx = (u64)table - 0x20;
    EMULATES(0x0f, 0x01, 0x43, 0x20); /* sgdt 0x20(%rbx) */
    g_assert_cmphex(*(u64 *)(table + 2), ==, 0xfffffffffffe0000ull);
    regs->rcx = 4;
    regs->rbx = (u64)table - 16;
    EMULATES(0x0f, 0x01, 0x0c, 0x8b); /* sidt (%rbx,%rcx,4) */
    g_assert_cmphex(*(u64 *)(table + 2), ==, 0xffffffffffff0000ull);
    memcpy(code + 0x100, table, 10);
    CODE(0x0f, 0x01, 0x05, 0xf9, 0, 0, 0); /* sgdt 0xf9(%rip), which is code + 0x100 */
    g_assert_true(pv_emulate_privileged(regs));
    g_assert_cmphex(*(u64 *)(code + 0x102), ==, 0xfffffffffffe0000ull);
    EMULATES(0x0f, 0x01, 0xe0); /* smsw %eax */
    g_assert_cmphex(regs->rax, ==, 0x33);
    EMULATES(0x0f, 0x00, 0xc8); /* str %eax */
    g_assert_cmphex(regs->rax, ==, 0);
    REFUSES(0x0f, 0x00, 0xd8);       /* ltr */
    REFUSES(0x0f, 0x01, 0x53, 0x20); /* lgdt */
    REFUSES(0x0f, 0x01, 0x3b);       /* invlpg */
    v->pv.kernel_mode = true;
    EMULATES(0x0f, 0x01, 0x3b);
    g_assert_cmphex(fake_flush_va, ==, regs->rbx);
    cpu_features.umip = false;
    REFUSES(0x0f, 0x01, 0x43, 0x20);
}

static void
what_is_not_privileged_is_refused(void)
{
    start();
    REFUSES(0xf4); /* hlt */
    REFUSES(0x90);
    REFUSES(0x0f, 0x33);       /* rdpmc */
    REFUSES(0xf0, 0x0f, 0x06); /* lock clts */
    REFUSES(0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x0f, 0x06);
    REFUSES(0x48, 0x48, 0x0f, 0x06);
    REFUSES(0xfa);
    v->pv.iopl = 1;
    EMULATES(0xfa);
    g_assert_cmpuint(info.evtchn_upcall_mask, ==, 0);

    /* In compatibility mode 0x48 is DEC, not REX. */
    regs->cs = 0xe023;
    REFUSES(0x48, 0x0f, 0x06);
    EMULATES(0xfb);
}

static void
an_instruction_may_end_where_memory_ends(void)
{
    start();
    munmap(code + 4096, 4096);
    code[4094] = 0x0f;
    code[4095] = 0x06;
    regs->rip = (u64)code + 4094;
    g_assert_true(pv_emulate_privileged(regs));
    code[4095] = 0x0f;
    regs->rip = (u64)code + 4095;
    g_assert_false(pv_emulate_privileged(regs));
    regs->rip = (u64)code + 4096;
    g_assert_false(pv_emulate_privileged(regs));
}

static void
a_single_step_is_reported_behind_the_instruction(void)
{
    start();
    regs->rflags |= RFLAGS_TF | RFLAGS_RF;
    EMULATES(0x0f, 0x06);
    g_assert_cmpuint(bounced.count, ==, 1);
    g_assert_cmphex(bounced.rip, ==, traps[1].address);
    g_assert_true(v->pv.dr[6] & 1u << 14);
    g_assert_false(regs->rflags & RFLAGS_RF);
}

static void
random_bytes_do_no_harm(void)
{
    start();
    v->pv.iopl = 3;
    v->pv.cr4 |= CR4_OSXSAVE;
    fake_guest_owns(code, 8192);
    for (unsigned round = 0; round < 200000; round++) {
        u64 rip = (u64)code;

        for (unsigned i = 0; i < 16; i++)
            code[i] = g_test_rand_int();
        if (round & 1)
            code[0] = "\x0f\x6c\x6d\x6e\x6f\xe4\xec\xf3"[round >> 1 & 7];
        regs->rip = rip;
        regs->rbx = regs->rdi = regs->rsi = rip + g_test_rand_int_range(-256, 8192 + 256);
        regs->rcx &= 0xff;
        v->pv.kernel_mode = round & 2;
        regs->cs = round & 4 ? 0xe033 : 0xe023;
        if (!pv_emulate_privileged(regs))
            g_assert_cmphex(regs->rip, ==, rip);
        if (regs->cs == 0xe033)
            g_assert_cmpuint(regs->rip - rip, <=, 15);
    }
    g_assert_cmpuint(fake_domain_crashes, ==, 0);
}

/* --- MSRs and CPUID --- */

static void
set_msr(unsigned slot, u32 msr, u64 value)
{
    fake_regs.msrs[slot].msr = msr;
    fake_regs.msrs[slot].value = value;
}

static void
msrs_show_what_is_handled_and_fault_otherwise(void)
{
    start();
    set_msr(0, 0x1a0, 1ull << 18 | 1);
    set_msr(1, MSR_FS_BASE, 0x7000);
    set_msr(2, 0x2ff, 0xc06);
    set_msr(3, 0x48, 5);

    regs->rcx = MSR_FS_BASE;
    EMULATES(0x0f, 0x32);
    g_assert_cmphex(regs->rax, ==, 0x7000);
    regs->rdx = 0x7f00;
    EMULATES(0x0f, 0x30);
    g_assert_cmphex(fake_regs.msrs[1].value, ==, 0x7f0000007000ull);
    regs->rdx = 0x800000;
    REFUSES(0x0f, 0x30); /* not canonical */

    regs->rcx = 0x1a0;
    EMULATES(0x0f, 0x32);
    g_assert_cmphex(regs->rax, ==, 1 | 1u << 11 | 1u << 12 | 1u << 23);
    regs->rcx = 0x2ff;
    EMULATES(0x0f, 0x32);
    g_assert_cmphex(regs->rax, ==, 0xc06);
    d->is_hardware = false;
    REFUSES(0x0f, 0x32);
    regs->rcx = 0x48; /* SPEC_CTRL exists, and is not a guest's */
    REFUSES(0x0f, 0x32);
    REFUSES(0x0f, 0x30);
    regs->rcx = 0xc0000080;
    EMULATES(0x0f, 0x32);
    EMULATES(0x0f, 0x30);  /* the same value again */
    regs->rax |= 1u << 12; /* SVME */
    REFUSES(0x0f, 0x30);

    regs->rcx = 0x40000000;
    regs->rdx = 0;
    regs->rax = 0x5000;
    EMULATES(0x0f, 0x30);
    regs->rax = 0x5001;
    REFUSES(0x0f, 0x30);
    regs->rax = 0x6000;
    REFUSES(0x0f, 0x30);

    /* Before the guest can take a #GP, what the machine has reads as 0. */
    traps[13].address = 0;
    regs->rcx = 0x48;
    EMULATES(0x0f, 0x32);
    g_assert_cmphex(regs->rax, ==, 0);
    regs->rcx = 0x49;
    REFUSES(0x0f, 0x32);
}

static void
cpuid_by_the_forced_prefix(void)
{
    start();
    regs->rax = 0x40000000;
    regs->rcx = 2;
    CODE(0x0f, 0x0b, 'x', 'e', 'n', 0x0f, 0xa2);
    regs->entry_vector = 6;
    pv_trap(v, regs);
    g_assert_cmphex(regs->rip, ==, (u64)code + 7);
    g_assert_cmphex(regs->rax, ==, 0x40000001);
    g_assert_cmphex(regs->rbx, ==, 3);
    CODE(0x0f, 0x0b, 'x', 'e', 'n', 0x0f, 0x31);
    pv_trap(v, regs);
    g_assert_cmphex(regs->rip, ==, (u64)code);
    g_assert_cmphex(bounced.rip, ==, traps[6].address);
}

/* --- exceptions --- */

static void
page_faults_tell_kernel_from_user(void)
{
    start();
    fake_regs.cr2 = 0x1234;
    regs->error_code = 6;
    pv_page_fault(v, regs);
    g_assert_cmphex(bounced.rip, ==, traps[14].address);
    g_assert_cmphex(bounced.error_code, ==, 2);
    g_assert_true(bounced.mask && bounced.has_error);
    g_assert_cmphex(info.arch.cr2, ==, 0x1234);
    g_assert_cmpuint(mmu_faults, ==, 0);

    v->pv.kernel_mode = false;
    regs->error_code = 7;
    pv_page_fault(v, regs);
    g_assert_cmphex(bounced.error_code, ==, 7);
    g_assert_cmpuint(mmu_faults, ==, 0); /* a process cannot write page tables */

    v->pv.kernel_mode = true;
    mmu_fault_mends = true;
    pv_page_fault(v, regs);
    g_assert_cmpuint(mmu_faults, ==, 1);
    g_assert_cmpuint(bounced.count, ==, 2);
    fake_regs.cr2 = HYPERVISOR_END - 1;
    regs->error_code = 0;
    pv_page_fault(v, regs);
    g_assert_cmpuint(mmu_faults, ==, 2);
    fake_regs.cr2 = HYPERVISOR_END;
    pv_page_fault(v, regs);
    g_assert_cmpuint(mmu_faults, ==, 2);
    g_assert_cmpuint(bounced.count, ==, 3);
}

static void
software_interrupts_ask_the_guest_s_table(void)
{
    start();
    v->pv.kernel_mode = false;
    traps[0x80].flags = 3;
    CODE(0xcd, 0x80);
    regs->entry_vector = 13;
    regs->error_code = 0x80 * 8 + 2;
    pv_trap(v, regs);
    g_assert_cmphex(bounced.rip, ==, traps[0x80].address);
    g_assert_cmphex(regs->rip, ==, (u64)code + 2);
    g_assert_false(bounced.has_error);

    /* The error code of an emulator that names another gate does not matter. */
    CODE(0xcd, 0x80);
    regs->error_code = 0x80 * 16 + 2;
    pv_trap(v, regs);
    g_assert_cmphex(bounced.rip, ==, traps[0x80].address);

    CODE(0xcd, 0x0e);
    regs->error_code = 14 * 8 + 2;
    pv_trap(v, regs);
    g_assert_cmphex(bounced.rip, ==, traps[13].address);
    g_assert_cmphex(bounced.error_code, ==, 14 * 8 + 2);
    g_assert_cmphex(regs->rip, ==, (u64)code);
}

static void
a_guest_without_a_handler_crashes_alone(void)
{
    start();
    traps[0].address = 0;
    regs->entry_vector = 0;
    pv_trap(v, regs);
    g_assert_cmpuint(fake_domain_crashes, ==, 1);
    g_assert_cmpuint(bounced.count, ==, 0);
    regs->entry_vector = 9;
    pv_trap(v, regs);
    g_assert_cmpuint(fake_domain_crashes, ==, 2);
}

static void
trap_tables_are_read_to_their_end_and_no_further(void)
{
    struct trap_info table[300];
    u64 arg[1];

    start();
    memset(table, 0, sizeof(table));
    for (unsigned i = 0; i < 3; i++)
        table[i] = (struct trap_info){32 + i, 4 | 3, 0x10, 0x1000 + i};
    arg[0] = (u64)table;
    g_assert_cmpint(hypercall_set_trap_table(arg), ==, 0);
    g_assert_cmphex(traps[33].address, ==, 0x1001);
    g_assert_cmphex(traps[33].cs, ==, 0x13);
    g_assert_cmphex(traps[35].address, ==, 0xffffffff81000000ull + 16 * 35);

    table[1].address = 1ull << 60;
    arg[0] = (u64)table;
    g_assert_cmpint(hypercall_set_trap_table(arg), ==, -EINVAL);
    arg[0] = 8;
    g_assert_cmpint(hypercall_set_trap_table(arg), ==, -EFAULT);

    for (unsigned i = 0; i < 299; i++)
        table[i] = (struct trap_info){i, 0, 0x10, 0x2000 + i};
    arg[0] = (u64)table;
    g_assert_cmpint(hypercall_set_trap_table(arg), ==, -ERESTART);
    g_assert_cmphex(arg[0], ==, (u64)&table[256]);
    g_assert_cmpint(hypercall_set_trap_table(arg), ==, 0);
    g_assert_cmphex(traps[2].address, ==, 0x2000 + 258);

    arg[0] = 0;
    g_assert_cmpint(hypercall_set_trap_table(arg), ==, 0);
    g_assert_cmphex(traps[33].address, ==, 0);
}

static void
callbacks_are_registered_by_type(void)
{
    struct callback_register reg = {CALLBACKTYPE_syscall, CALLBACKF_mask_events, .address = 0x5000};
    struct callback_unregister unreg = {.type = CALLBACKTYPE_nmi};
    u64 arg[2] = {CALLBACKOP_register, (u64)&reg};

    start();
    g_assert_cmpint(hypercall_callback_op(arg), ==, 0);
    g_assert_cmphex(v->pv.callback[PV_CB_SYSCALL].rip, ==, 0x5000);
    g_assert_cmphex(v->pv.callback[PV_CB_SYSCALL].flags, ==, PV_CALLBACK_MASK_EVENTS);
    reg.address = 1ull << 50;
    g_assert_cmpint(hypercall_callback_op(arg), ==, -EINVAL);
    reg.address = 0x6000;
    reg.type = 99;
    g_assert_cmpint(hypercall_callback_op(arg), ==, -ENOSYS);
    reg.type = CALLBACKTYPE_nmi;
    g_assert_cmpint(hypercall_callback_op(arg), ==, 0);
    g_assert_cmphex(v->pv.callback[PV_CB_NMI].rip, ==, 0x6000);
    arg[0] = CALLBACKOP_unregister;
    arg[1] = (u64)&unreg;
    g_assert_cmpint(hypercall_callback_op(arg), ==, 0);
    g_assert_cmphex(v->pv.callback[PV_CB_NMI].rip, ==, 0);
    unreg.type = CALLBACKTYPE_event;
    g_assert_cmpint(hypercall_callback_op(arg), ==, -EINVAL);
    arg[0] = 7;
    g_assert_cmpint(hypercall_callback_op(arg), ==, -ENOSYS);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define T(f) g_test_add_func("/emulate/" #f, f)
    T(ports_need_privilege_then_permission);
    T(the_io_bitmap_opens_ports_to_a_process);
    T(pci_and_cmos_pairs_are_kept_apart);
    T(string_io_stops_where_it_must);
    T(control_registers_are_the_guest_s_own);
    T(debug_registers_cannot_watch_the_hypervisor);
    T(xcr0_takes_only_what_is_offered);
    T(system_instructions_of_user_programs_are_answered_with_nothing_real);
    T(what_is_not_privileged_is_refused);
    T(an_instruction_may_end_where_memory_ends);
    T(a_single_step_is_reported_behind_the_instruction);
    T(random_bytes_do_no_harm);
    T(msrs_show_what_is_handled_and_fault_otherwise);
    T(cpuid_by_the_forced_prefix);
    T(page_faults_tell_kernel_from_user);
    T(software_interrupts_ask_the_guest_s_table);
    T(a_guest_without_a_handler_crashes_alone);
    T(trap_tables_are_read_to_their_end_and_no_further);
    T(callbacks_are_registered_by_type);
    return g_test_run();
}
