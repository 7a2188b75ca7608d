/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Operations to be counted.  MARK_BEGIN and MARK_END are long NOPs that the TCG plugin of tests/bench knows
 * by their displacement; it counts the instructions that the hypervisor executes between them.  Each
 * operation is done once to warm up, then counted.
 */
#include "guest.h"
#include "base/string.h"

#define MARK(n) \
    __asm__ volatile(".byte 0x0f, 0x1f, 0x84, 0x00; .long %c0" : : "i"(0x5e7a1000 + (n)) : "memory")

enum {
    OP_NULL = 1,
    OP_EVENT,
    OP_YIELD,
    OP_VA_MAPPING,
    OP_MMU_1,
    OP_MMU_32,
    OP_TRAPPED_PTE,
    OP_PIN_L1,
    OP_PAGE_FAULT,
    OP_SYSCALL,
    OP_IRET,
    OP_GRANT_MAP,
    OP_GRANT_UNMAP,
    OP_POPULATE,
    OP_MULTICALL_32,
    OP_FAULT_AND_BACK,
    OP_UNMASK,
    OP_SET_TIMER,
    OP_SWITCH,
    OP_GRANT_COPY,
    OP_PIN_TREE,
};
#define MARK_END 0x100 /* added to the operation's number */

#define MEASURE(op, statement)                 \
    do {                                       \
        s64 rc__ = (statement);                \
        if (rc__ < 0)                          \
            ERROR("%s: %ld", #op, (long)rc__); \
        MARK(op);                              \
        (statement);                           \
        MARK((op) + MARK_END);                 \
    } while (0)

static u64 user_stack[512] __attribute__((aligned(4096)));
static volatile unsigned faults;
static u64 fault_skip;

void
trap_handler(struct guest_frame *frame)
{
    if (frame->vector == 14) {
        MARK(OP_PAGE_FAULT + MARK_END);
        faults++;
        frame->rip = fault_skip;
        return;
    }
    if (frame->vector == 0x100) {
        shared_info->vcpu_info[0].evtchn_upcall_pending = 0;
        return;
    }
    FAIL("unexpected trap %lu, error %lx, at %lx", frame->vector, frame->error, frame->rip);
}

static void
bench_events(void)
{
    struct evtchn_bind_ipi bind = {.vcpu = 0};
    struct evtchn_send send;

    if (HYPERCALL(event_channel_op, EVTCHNOP_bind_ipi, &bind))
        ERROR("cannot bind an event channel");
    send.port = bind.port;
    shared_info->vcpu_info[0].evtchn_upcall_mask = 1;
#define SEND()                                               \
    ({                                                       \
        shared_info->evtchn_pending[0] = 0;                  \
        shared_info->vcpu_info[0].evtchn_pending_sel = 0;    \
        shared_info->vcpu_info[0].evtchn_upcall_pending = 0; \
        HYPERCALL(event_channel_op, EVTCHNOP_send, &send);   \
    })
    MEASURE(OP_EVENT, SEND());
    MEASURE(OP_YIELD, HYPERCALL(sched_op, SCHEDOP_yield, 0));

    struct evtchn_unmask unmask = {.port = bind.port};
#define UNMASK()                                               \
    ({                                                         \
        shared_info->evtchn_pending[0] = 0;                    \
        shared_info->evtchn_mask[0] |= 1ull << unmask.port;    \
        HYPERCALL(event_channel_op, EVTCHNOP_unmask, &unmask); \
    })
    MEASURE(OP_UNMASK, UNMASK());
    /* Far off, so that it never fires. */
    MEASURE(OP_SET_TIMER,
            HYPERCALL(set_timer_op, shared_info->vcpu_info[0].time.system_time + 60000000000ull));
}

/* --- two vCPUs that wake each other: an event sent, the sender blocks, and the same the other way --- */

static evtchn_port_t port_of[2];

static void
send_to(unsigned vcpu)
{
    struct evtchn_send send = {.port = port_of[vcpu]};

    if (HYPERCALL(event_channel_op, EVTCHNOP_send, &send))
        ERROR("cannot send to vCPU %u", vcpu);
}

static void
wait_on(unsigned vcpu)
{
    struct sched_poll poll = {.nr_ports = 1};

    set_xen_guest_handle(poll.ports, &port_of[vcpu]);
    if (HYPERCALL(sched_op, SCHEDOP_poll, &poll))
        ERROR("vCPU %u cannot wait", vcpu);
    __sync_fetch_and_and(&shared_info->evtchn_pending[0], ~(1ull << port_of[vcpu]));
}

static void
second_vcpu(void)
{
    for (;;) {
        wait_on(1);
        send_to(0);
    }
}

static void
bench_switch(void)
{
    static struct vcpu_guest_context ctx;
    u64 cr3;

    for (unsigned i = 0; i < 2; i++) {
        struct evtchn_bind_ipi bind = {.vcpu = i};

        if (HYPERCALL(event_channel_op, EVTCHNOP_bind_ipi, &bind))
            ERROR("vCPU %u has no event channel: this needs two of them", i);
        port_of[i] = bind.port;
        __sync_fetch_and_or(&shared_info->evtchn_mask[0], 1ull << bind.port);
    }
    shared_info->vcpu_info[1].evtchn_upcall_mask = 1;
    __asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
    ctx.flags = VGCF_in_kernel;
    ctx.ctrlreg[3] = cr3;
    ctx.user_regs.rip = (u64)second_vcpu;
    ctx.user_regs.cs = FLAT_KERNEL_CS;
    ctx.user_regs.ss = FLAT_KERNEL_SS;
    ctx.user_regs.rsp = (u64)page_new() + 4096 - 8;
    ctx.user_regs.rflags = 0x200;
    ctx.kernel_ss = FLAT_KERNEL_SS;
    ctx.kernel_sp = ctx.user_regs.rsp;
    if (HYPERCALL(vcpu_op, VCPUOP_initialise, 1, &ctx) || HYPERCALL(vcpu_op, VCPUOP_up, 1, 0))
        ERROR("no second vCPU");
    MEASURE(OP_SWITCH, ({
                send_to(1);
                wait_on(0);
                0;
            }));
}

/* --- page tables --- */

/*
 * As fork and exit see it: a process's whole tree of four levels, with two full L1 tables, is made one and
 * taken apart.
 */
static void
bench_pin_tree(void)
{
    char *page = page_new();
    u64 *tables[5];
    struct mmuext_op pin = {.cmd = MMUEXT_PIN_L4_TABLE}, unpin = {.cmd = MMUEXT_UNPIN_TABLE};

    for (unsigned i = 0; i < 5; i++)
        tables[i] = page_new();
    memcpy(tables[0], (void *)start_info->pt_base, 4096);
    for (unsigned i = 256; i < 272; i++)
        tables[0][i] = 0;
    tables[0][0] = machine_of(tables[1]) | 0x67;
    tables[1][0] = machine_of(tables[2]) | 0x67;
    for (unsigned i = 0; i < 2; i++) {
        tables[2][i] = machine_of(tables[3 + i]) | 0x67;
        for (unsigned n = 0; n < 512; n++)
            tables[3 + i][n] = mfn_of(page) << 12 | 0x65;
    }
    for (unsigned i = 0; i < 5; i++)
        make_readonly(tables[i]);
    pin.arg1.mfn = unpin.arg1.mfn = mfn_of(tables[0]);
    MEASURE(OP_PIN_TREE, ({
                s64 rc = HYPERCALL(mmuext_op, &pin, 1, 0, DOMID_SELF);
                rc ? rc : HYPERCALL(mmuext_op, &unpin, 1, 0, DOMID_SELF);
            }));
}

static void
bench_mmu(void)
{
    char *a = page_new(), *b = page_new();
    u64 *table = page_new();
    u64 ro = mfn_of(a) << 12 | 0x65, rw = mfn_of(b) << 12 | 0x67;
    struct mmu_update updates[32];
    struct mmuext_op pin = {.cmd = MMUEXT_PIN_L1_TABLE}, unpin = {.cmd = MMUEXT_UNPIN_TABLE};
    u64 pte;

    /* A mapping of one page replaced by another page's, both ways. */
    MEASURE(OP_VA_MAPPING, (HYPERCALL(update_va_mapping, b, ro, 0), HYPERCALL(update_va_mapping, b, rw, 0)));

    /* A table of our own, whose 512 entries map page @a read-only. */
    for (unsigned i = 0; i < 512; i++)
        table[i] = ro;
    make_readonly(table);
    pin.arg1.mfn = unpin.arg1.mfn = mfn_of(table);
    MEASURE(OP_PIN_L1, ({
                HYPERCALL(mmuext_op, &unpin, 1, 0, DOMID_SELF);
                HYPERCALL(mmuext_op, &pin, 1, 0, DOMID_SELF);
            }));
    for (unsigned i = 0; i < 32; i++)
        updates[i] =
            (struct mmu_update){machine_of(&table[i]) | MMU_NORMAL_PT_UPDATE, mfn_of(b) << 12 | 0x65};
    MEASURE(OP_MMU_1, ({
                updates[0].val ^= (mfn_of(a) ^ mfn_of(b)) << 12;
                HYPERCALL(mmu_update, updates, 1, 0, DOMID_SELF);
            }));
    MEASURE(OP_MMU_32, ({
                for (unsigned i = 0; i < 32; i++)
                    updates[i].val ^= (mfn_of(a) ^ mfn_of(b)) << 12;
                HYPERCALL(mmu_update, updates, 32, 0, DOMID_SELF);
            }));

    /* A write to the live table, which the hypervisor carries out. */
    pte = ro;
    for (unsigned i = 0; i < 2; i++) {
        pte ^= (mfn_of(a) ^ mfn_of(b)) << 12;
        MARK(OP_TRAPPED_PTE);
        *(volatile u64 *)&table[40] = pte;
        MARK(OP_TRAPPED_PTE + MARK_END);
    }
    if ((table[40] ^ pte) >> 12) /* the flags are the hypervisor's to adjust */
        ERROR("the trapped write did not arrive: %lx for %lx", (long)table[40], (long)pte);
}

static void
bench_fault(void)
{
    for (unsigned i = 0; i < 2; i++) {
        __asm__ volatile("lea 1f(%%rip), %%rax; mov %%rax, %0; .byte 0x0f, 0x1f, 0x84, 0x00; .long %c1;"
                         ".byte 0x0f, 0x1f, 0x84, 0x00; .long %c2; mov 0x1000, %%eax;"
                         "1: .byte 0x0f, 0x1f, 0x84, 0x00; .long %c3"
                         : "=m"(fault_skip)
                         : "i"(0x5e7a1000 + OP_FAULT_AND_BACK), "i"(0x5e7a1000 + OP_PAGE_FAULT),
                           "i"(0x5e7a1000 + OP_FAULT_AND_BACK + MARK_END)
                         : "rax", "memory");
    }
    if (faults != 2)
        ERROR("%u page faults arrived", faults);
}

static void
bench_iret(void)
{
    for (unsigned i = 0; i < 2; i++)
        __asm__ volatile("mov %%rsp, %%rbx; lea 1f(%%rip), %%rdx; mov %%ss, %%ecx;"
                         "push %%rcx; push %%rbx; pushf; orq $0x200, (%%rsp);"
                         "mov %%cs, %%ecx; and $~3, %%ecx; push %%rcx; push %%rdx; push $0;"
                         ".byte 0x0f, 0x1f, 0x84, 0x00; .long %c0; jmp hypercall_page + 23 * 32;"
                         "1: .byte 0x0f, 0x1f, 0x84, 0x00; .long %c1"
                         :
                         : "i"(0x5e7a1000 + OP_IRET), "i"(0x5e7a1000 + OP_IRET + MARK_END)
                         : "rax", "rbx", "rcx", "rdx", "r11", "memory");
}

static void
bench_grants(void)
{
    struct gnttab_setup_table setup = {.dom = DOMID_SELF, .nr_frames = 1};
    u64 frame;
    char *page = page_new(), *window = page_new(), *entries = page_new();
    struct grant_entry_v1 *table = (struct grant_entry_v1 *)entries;
    struct gnttab_map_grant_ref map;
    struct gnttab_unmap_grant_ref unmap;

    set_xen_guest_handle(setup.frame_list, &frame);
    if (HYPERCALL(grant_table_op, GNTTABOP_setup_table, &setup, 1) || setup.status)
        ERROR("no grant table: %d", setup.status);
    if (HYPERCALL(update_va_mapping, entries, frame << 12 | 0x67, UVMF_INVLPG | UVMF_LOCAL))
        ERROR("cannot map the grant table");
    table[8].domid = 0;
    table[8].frame = mfn_of(page);
    __sync_synchronize();
    table[8].flags = GTF_permit_access;
    HYPERCALL(update_va_mapping, window, 0, UVMF_INVLPG | UVMF_LOCAL);
    for (unsigned i = 0; i < 2; i++) {
        map = (struct gnttab_map_grant_ref){
            .host_addr = (u64)window, .flags = GNTMAP_host_map, .ref = 8, .dom = 0};
        MARK(OP_GRANT_MAP);
        HYPERCALL(grant_table_op, GNTTABOP_map_grant_ref, &map, 1);
        MARK(OP_GRANT_MAP + MARK_END);
        if (map.status)
            ERROR("grant map: %d", map.status);
        unmap = (struct gnttab_unmap_grant_ref){.host_addr = (u64)window, .handle = map.handle};
        MARK(OP_GRANT_UNMAP);
        HYPERCALL(grant_table_op, GNTTABOP_unmap_grant_ref, &unmap, 1);
        MARK(OP_GRANT_UNMAP + MARK_END);
        if (unmap.status)
            ERROR("grant unmap: %d", unmap.status);
    }
    for (unsigned i = 0; i < 2; i++) {
        struct gnttab_copy copy = {.source = {.u.ref = 8, .domid = 0},
                                   .dest = {.u.gmfn = mfn_of(page_new()), .domid = DOMID_SELF},
                                   .len = 64,
                                   .flags = GNTCOPY_source_gref};

        MARK(OP_GRANT_COPY);
        HYPERCALL(grant_table_op, GNTTABOP_copy, &copy, 1);
        MARK(OP_GRANT_COPY + MARK_END);
        if (copy.status)
            ERROR("grant copy: %d", copy.status);
    }
}

static void
bench_memory(void)
{
    char *page = page_new();
    xen_pfn_t extent = pfn_of(page);
    struct xen_memory_reservation r = {.nr_extents = 1, .domid = DOMID_SELF};
    xen_pfn_t mfn = mfn_of(page);

    HYPERCALL(update_va_mapping, page, 0, UVMF_INVLPG | UVMF_LOCAL);
    for (unsigned i = 0; i < 2; i++) {
        set_xen_guest_handle(r.extent_start, &mfn);
        if (HYPERCALL(memory_op, XENMEM_decrease_reservation, &r) != 1)
            ERROR("decrease_reservation");
        set_xen_guest_handle(r.extent_start, &extent);
        extent = pfn_of(page);
        MARK(OP_POPULATE);
        s64 done = HYPERCALL(memory_op, XENMEM_populate_physmap, &r);
        MARK(OP_POPULATE + MARK_END);
        if (done != 1)
            ERROR("populate_physmap: %ld", (long)done);
        mfn = extent;
    }
}

static void
bench_multicall(void)
{
    static struct multicall_entry calls[32];

    for (unsigned i = 0; i < 32; i++) {
        calls[i].op = __HYPERVISOR_xen_version;
        calls[i].args[0] = XENVER_version;
    }
    MEASURE(OP_MULTICALL_32, HYPERCALL(multicall, calls, 32));
}

/* User mode makes two system calls that return at once, then one that does not. */
void
user_done(void)
{
    SUCCESS();
}

static void
bench_syscall(void)
{
    extern char user_code[];
    u64 *l4 = page_new();
    struct mmuext_op ops[2];

    /* The user half is the kernel's own top-level table again: same mappings, another frame. */
    memcpy(l4, (void *)start_info->pt_base, 4096);
    for (unsigned i = 256; i < 272; i++)
        l4[i] = 0;
    make_readonly(l4);
    ops[0] = (struct mmuext_op){.cmd = MMUEXT_PIN_L4_TABLE, .arg1.mfn = mfn_of(l4)};
    ops[1] = (struct mmuext_op){.cmd = MMUEXT_NEW_USER_BASEPTR, .arg1.mfn = mfn_of(l4)};
    if (HYPERCALL(mmuext_op, ops, 2, 0, DOMID_SELF))
        ERROR("no page tables for user mode");
    HYPERCALL(stack_switch, FLAT_KERNEL_SS, (u64)page_new() + 4096);
    __asm__ volatile("push %0; push %1; push %2; push %3; push %4; push $0; jmp hypercall_page + 23 * 32"
                     :
                     : "r"((u64)FLAT_USER_SS), "r"((u64)&user_stack[512]), "r"(0x202ull),
                       "r"((u64)FLAT_USER_CS), "r"(user_code)
                     : "memory");
    __asm__ volatile(".globl user_code; user_code: xor %%eax, %%eax; syscall;"
                     "xor %%eax, %%eax; .byte 0x0f, 0x1f, 0x84, 0x00; .long %c0; syscall;"
                     ".byte 0x0f, 0x1f, 0x84, 0x00; .long %c1; mov $1, %%eax; syscall"
                     :
                     : "i"(0x5e7a1000 + OP_SYSCALL), "i"(0x5e7a1000 + OP_SYSCALL + MARK_END));
}

void
test_main(void)
{
    traps_install();
    MEASURE(OP_NULL, HYPERCALL(xen_version, XENVER_version, 0));
    bench_multicall();
    bench_events();
    bench_switch();
    bench_mmu();
    bench_pin_tree();
    bench_fault();
    bench_iret();
    bench_grants();
    bench_memory();
    bench_syscall();
}
