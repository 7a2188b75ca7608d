/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest.h"
#include "base/string.h"

#define L1_PRESENT 0x67 /* P RW US A D */

struct start_info *start_info;
struct shared_info *shared_info;
u64 *p2m;

extern char image_end[], hypercall_page[];
extern char entry_divide[], entry_debug[], entry_breakpoint[], entry_invalid_opcode[], entry_no_fpu[];
extern char entry_protection[], entry_page_fault[], entry_int80[];
extern char entry_event[], entry_failsafe[], entry_syscall[];

static u64 next_pfn;
static char shared_page[4096] __attribute__((aligned(4096)));

void
print(const char *fmt, ...)
{
    char text[256];
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    HYPERCALL(console_io, CONSOLEIO_write, n < 255 ? n : 255, text);
}

void
result(const char *word, const char *fmt, ...)
{
    char text[200];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    print("Test result: %s %s\n", word, text);
    for (;;) {
        struct sched_shutdown shutdown = {SHUTDOWN_poweroff};

        HYPERCALL(sched_op, SCHEDOP_shutdown, &shutdown);
    }
}

u64
pfn_of(const void *va)
{
    return ((u64)va - VIRT_BASE) >> 12;
}

u64
mfn_of(const void *va)
{
    return p2m[pfn_of(va)];
}

u64
machine_of(const void *va)
{
    return mfn_of(va) << 12 | ((u64)va & 4095);
}

/* Page tables are mapped (read-only) where the builder put them: the way to them is through the M2P. */
static u64 *
table_at(u64 pte)
{
    const u64 *m2p = (const u64 *)0xffff800000000000ull;

    return (u64 *)(VIRT_BASE + (m2p[(pte & 0x000ffffffffff000ull) >> 12] << 12));
}

u64 *
pte_of(const void *va)
{
    u64 *table = (u64 *)start_info->pt_base, v = (u64)va;

    table = table_at(table[v >> 39 & 511]);
    table = table_at(table[v >> 30 & 511]);
    table = table_at(table[v >> 21 & 511]);
    return &table[v >> 12 & 511];
}

static void
map_as(void *page, u64 flags)
{
    s64 rc = HYPERCALL(update_va_mapping, page, mfn_of(page) << 12 | flags, UVMF_INVLPG | UVMF_LOCAL);

    if (rc)
        ERROR("cannot map %p: %ld", page, (long)rc);
}

void
make_readonly(void *page)
{
    map_as(page, L1_PRESENT & ~2);
}

void
make_writable(void *page)
{
    map_as(page, L1_PRESENT);
}

void *
page_new(void)
{
    void *page = (void *)(VIRT_BASE + (next_pfn++ << 12));

    memset(page, 0, 4096);
    return page;
}

void __attribute__((weak)) trap_handler(struct guest_frame *frame)
{
    FAIL("unexpected trap %lu, error %lx, at %lx", frame->vector, frame->error, frame->rip);
}

void __attribute__((weak)) user_done(void)
{
    FAIL("unexpected end of user mode");
}

void
traps_install(void)
{
    static struct trap_info traps[] = {
        {0, 0, FLAT_KERNEL_CS, (u64)entry_divide},
        {1, 0, FLAT_KERNEL_CS, (u64)entry_debug},
        {3, 3, FLAT_KERNEL_CS, (u64)entry_breakpoint},
        {6, 0, FLAT_KERNEL_CS, (u64)entry_invalid_opcode},
        {7, 0, FLAT_KERNEL_CS, (u64)entry_no_fpu},
        {13, 0, FLAT_KERNEL_CS, (u64)entry_protection},
        {14, 4, FLAT_KERNEL_CS, (u64)entry_page_fault},
        {0x80, 3, FLAT_KERNEL_CS, (u64)entry_int80},
        {0},
    };
    s64 rc = HYPERCALL(set_trap_table, traps);

    if (!rc)
        rc = HYPERCALL(set_callbacks, entry_event, entry_failsafe, entry_syscall);
    if (rc)
        ERROR("cannot install traps: %ld", (long)rc);
}

void
second_vcpu_start(void (*entry)(void))
{
    static struct vcpu_guest_context ctx;
    static char stack[16384] __attribute__((aligned(16)));
    u16 sel_ss, sel_cs;

    __asm__ volatile("mov %%ss, %0; mov %%cs, %1" : "=r"(sel_ss), "=r"(sel_cs));
    ctx.flags = VGCF_in_kernel | VGCF_online;
    ctx.user_regs.rip = (u64)entry;
    ctx.user_regs.rsp = (u64)(stack + sizeof(stack) - 8);
    ctx.user_regs.cs = sel_cs;
    ctx.user_regs.ss = sel_ss;
    ctx.user_regs.rflags = 2;
    ctx.ctrlreg[3] = xen_pfn_to_cr3(mfn_of((void *)start_info->pt_base));
    EXPECT_RC(HYPERCALL(vcpu_op, VCPUOP_initialise, 1, &ctx), 0);
    EXPECT_RC(HYPERCALL(vcpu_op, VCPUOP_up, 1, 0), 0);
}

void
guest_start(struct start_info *info)
{
    start_info = info;
    p2m = (u64 *)info->mfn_list;
    /* Everything the builder mapped lies below 512 KiB of padding that it left free at the end. */
    next_pfn = (info->pt_base + info->nr_pt_frames * 4096 - VIRT_BASE) >> 12;
    next_pfn += 2; /* the boot stack */
    HYPERCALL(update_va_mapping, shared_page, info->shared_info | L1_PRESENT, UVMF_INVLPG | UVMF_LOCAL);
    shared_info = (struct shared_info *)shared_page;
    test_main();
    SUCCESS();
}
