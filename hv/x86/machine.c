/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The machine's end, in its several forms. */
#include "x86/machine.h"
#include "abi/xen.h"
#include "base/log.h"
#include "base/panic.h"
#include "x86/acpi-info.h"
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/paging.h"
#include "x86/tsc.h"

bool machine_noreboot;
static bool stopping;

/* PM1 control (ACPI 6.4, 4.8.3.2): SLP_TYP in bits 10-12, SLP_EN bit 13. */
#define PM1_SLP_EN        (1u << 13)
#define PM1_SLP_TYP_SHIFT 10

bool
machine_is_stopping(void)
{
    return atomic_read(&stopping);
}

void
machine_halt_this_cpu(void)
{
    for (;;)
        __asm__ volatile("cli; hlt");
}

void
machine_stop_others(void)
{
    unsigned cpu;

    if (__atomic_exchange_n(&stopping, true, __ATOMIC_SEQ_CST))
        return;
    for_each_online_cpu(cpu)
        if (cpu != cpu_id())
            apic_send_nmi(cpu);
}

/* The first CPU to panic tells; the others have stopped by then. */
static void __noreturn
machine_panic(const char *text)
{
    static bool told;

    if (!__atomic_exchange_n(&told, true, __ATOMIC_SEQ_CST)) {
        machine_stop_others();
        log_break_lock();
        log_err("PANIC on CPU%u: %s", cpu_id(), text);
        machine_log_stack();
    }
    machine_restart_after_error();
}

void
machine_init(void)
{
    panic_hook = machine_panic;
    log_clock = time_now_ns;
}

void
machine_halt(void)
{
    log_err("the machine is halted; reset it by hand");
    machine_stop_others();
    machine_halt_this_cpu();
}

static void
reset_by_acpi(void)
{
    volatile u8 *reg;

    if (!acpi_info.reset_valid)
        return;
    if (acpi_info.reset_space == 1) {
        outb(acpi_info.reset_address, acpi_info.reset_value);
    } else if (acpi_info.reset_space == 0) {
        reg = paging_map_device(_maddr(acpi_info.reset_address), 1);
        if (reg)
            *reg = acpi_info.reset_value;
    }
    time_wait_ns(50000000);
}

void
machine_reboot(void)
{
    struct {
        u16 limit;
        u64 base;
    } __packed no_idt = {0, 0};

    machine_stop_others();
    reset_by_acpi();
    outb(0xcf9, 2);
    outb(0xcf9, 6);
    time_wait_ns(50000000);
    outb(0x64, 0xfe);
    time_wait_ns(50000000);
    __asm__ volatile("lidt %0; int3" : : "m"(no_idt));
    machine_halt_this_cpu();
}

void
machine_restart_after_error(void)
{
    if (machine_noreboot)
        machine_halt();
    log_err("the machine reboots in 5 seconds; add noreboot to the command line to keep it here");
    time_wait_ns(5000000000ull);
    machine_reboot();
}

void
machine_power_off(void)
{
    if (acpi_info.s5_valid)
        machine_enter_acpi_sleep(acpi_info.s5_type_a << PM1_SLP_TYP_SHIFT | PM1_SLP_EN,
                                 acpi_info.s5_type_b << PM1_SLP_TYP_SHIFT | PM1_SLP_EN, 5);
    log_err("the firmware offers no way to switch the power off");
    machine_halt();
}

int
machine_enter_acpi_sleep(u16 pm1a_value, u16 pm1b_value, u32 state)
{
    if (state != 5 || !acpi_info.pm1a_control)
        return -EINVAL;
    log_info("ACPI: entering S5");
    machine_stop_others();
    outw(acpi_info.pm1a_control, pm1a_value | PM1_SLP_EN);
    if (acpi_info.pm1b_control)
        outw(acpi_info.pm1b_control, pm1b_value | PM1_SLP_EN);
    time_wait_ns(1000000000);
    machine_halt();
}

void
machine_shutdown(u8 reason)
{
    switch (reason) {
    case SHUTDOWN_poweroff:
        log_info("Domain-0 has shut down: switching the machine off");
        machine_power_off();
    case SHUTDOWN_reboot:
        log_info("Domain-0 asks for a reboot");
        machine_reboot();
    case SHUTDOWN_crash:
        log_err("Domain-0 has crashed");
        machine_restart_after_error();
    case SHUTDOWN_watchdog:
        log_err("Domain-0's watchdog has fired");
        machine_restart_after_error();
    default:
        log_err("Domain-0 has shut down, reason %u", reason);
        machine_restart_after_error();
    }
}
