/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Brings up the other CPUs: INIT, STARTUP, STARTUP (SDM vol. 3, 8.4.4), then ap_main() on their own stack. */
#include "boot/smp.h"
#include "base/log.h"
#include "base/string.h"
#include "boot/cmdline.h"
#include "boot/nmi.h"
#include "domain/sched.h"
#include "domain/timer.h"
#include "mm/frame-alloc.h"
#include "x86/acpi-info.h"
#include "x86/apic-init.h"
#include "x86/cpu.h"
#include "x86/memory-range.h"
#include "x86/paging.h"
#include "x86/tlb.h"
#include "x86/tsc.h"
#include "pv/pv.h"

struct trampoline_args {
    u32 cr3, efer;
    u64 stack, entry;
};

extern const char trampoline_start[], trampoline_end[], trampoline_args[];
extern pte_t boot_l4[];

static u64 trampoline_page;
static bool arrived; /* by the CPU that is being started */

void
smp_reserve_trampoline(void)
{
    for (unsigned i = 0; i < memory_range_count; i++) {
        u64 start = MAX(ROUND_UP(memory_ranges[i].start, PAGE_SIZE), 0x1000ull);
        u64 end = MIN(memory_ranges[i].end, 0xa0000ull);

        if (memory_ranges[i].type == MEMORY_RAM && start + PAGE_SIZE <= end) {
            trampoline_page = ROUND_DOWN(end - PAGE_SIZE, PAGE_SIZE);
            boot_reserve(trampoline_page, trampoline_page + PAGE_SIZE);
            return;
        }
    }
}

static void __noreturn
ap_main(void)
{
    struct cpu *cpu = this_cpu();

    write_cr3(mfn_x(paging_idle_l4()) << PAGE_SHIFT);
    cpu_init(cpu->id);
    apic_cpu_init();
    cpu->vcpu = cpu->idle;
    cpu->idle->is_running = true;
    cpumask_set(&cpu_online, cpu->id);
    tlb_flush_local();
    if (nmi_cpu_init())
        log_warn("CPU%u: no memory to watch for machine checks", cpu->id);
    atomic_set_release(&arrived, true);
    stack_reset_and_jump(idle_loop);
}

static bool
wait_for_arrival(u64 timeout_ns)
{
    u64 start = time_now_ns();

    while (!atomic_read_acquire(&arrived) && time_now_ns() - start < timeout_ns)
        cpu_relax_poll();
    return atomic_read_acquire(&arrived);
}

static bool
start_cpu(unsigned id, u32 apic_id)
{
    char *page = direct_ptr(_maddr(trampoline_page));
    struct trampoline_args args;
    struct cpu *cpu = cpu_create(id, apic_id);

    if (!cpu)
        return false;
    timer_cpu_init(id);
    if (sched_cpu_init(id))
        return false;
    memcpy(page, trampoline_start, trampoline_end - trampoline_start);
    args = (struct trampoline_args){
        .cr3 = (u32)((u64)boot_l4 - IMAGE_START + image_base()),
        .efer = EFER_SCE | EFER_LME | (cpu_features.nx ? EFER_NXE : 0),
        .stack = (u64)cpu - 8,
        .entry = (u64)ap_main,
    };
    memcpy(page + (trampoline_args - trampoline_start), &args, sizeof(args));
    atomic_set(&arrived, false);
    apic_send_init(apic_id);
    time_wait_ns(10000000);
    for (unsigned tries = 0; tries < 2; tries++) {
        apic_send_startup(apic_id, trampoline_page >> PAGE_SHIFT);
        if (wait_for_arrival(tries ? 1000000000 : 10000000))
            return true;
    }
    return false;
}

/* Whether another thread of the same core is the one to be used. */
static bool
is_sibling(u32 apic_id)
{
    return apic_id & ((1u << cpu_features.thread_bits) - 1);
}

void
smp_start_others(unsigned max, bool smt_off)
{
    u32 own = apic_own_id();
    unsigned next = 1, siblings = 0;

    max = max ? max : CPU_MAX;
    cpu_limit = MIN(MAX(acpi_info.cpu_count, 1u), max);
    if (!trampoline_page || cpu_limit == 1)
        return;
    /* The boot tables, with their identity map, get the whole of the hypervisor's space too. */
    paging_fill_l4(boot_l4);
    for (unsigned i = 0; i < acpi_info.cpu_count && next < cpu_limit; i++) {
        if (acpi_info.cpu_apic_ids[i] == own)
            continue;
        if (smt_off && is_sibling(acpi_info.cpu_apic_ids[i])) {
            siblings++;
            continue;
        }
        if (start_cpu(next, acpi_info.cpu_apic_ids[i]))
            next++;
        else
            log_warn("the CPU with APIC id %u does not start; going on without it",
                     acpi_info.cpu_apic_ids[i]);
    }
    if (smt_off)
        log_info("smt=off: %u threads stay off; each core runs one", siblings);
    log_info("%u CPU%s", cpumask_weight(&cpu_online), cpumask_weight(&cpu_online) == 1 ? "" : "s");
}
