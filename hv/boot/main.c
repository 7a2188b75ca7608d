/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The boot as a list.  boot_main() is where boot.S jumps. */
#include "base/log.h"
#include "base/panic.h"
#include "base/string.h"
#include "boot/acpi.h"
#include "boot/cmdline.h"
#include "boot/multiboot.h"
#include "boot/nmi.h"
#include "boot/screen.h"
#include "boot/smp.h"
#include "boot/vga.h"
#include "domain/domain.h"
#include "domain/evtchn.h"
#include "domain/sched.h"
#include "hypercall/hypercall.h"
#include "hypercall/platform.h"
#include "mm/frame-alloc.h"
#include "pv/pv.h"
#include "x86/apic-init.h"
#include "x86/cpu.h"
#include "x86/irq.h"
#include "x86/machine.h"
#include "x86/memory-range.h"
#include "x86/paging.h"
#include "x86/serial.h"
#include "x86/tlb.h"
#include "x86/tsc-init.h"

static u64 image_at;

u64
image_base(void)
{
    return image_at;
}

/* The boot tables reach the first 4 GiB, memory or not. */
static const void *
early_map(u64 address, u64 size)
{
    u64 end;

    if (__builtin_add_overflow(address, size, &end) || end > 4ull << 30 || !address)
        return NULL;
    return direct_ptr(_maddr(address));
}

static void
console_write(const char *s, size_t n)
{
    serial_write(s, n);
    vga_write(s, n);
}

/* console=com1,vga: the list names what is used; without a port that answers, the screen. */
static void
console_init(void)
{
    bool serial = false;

    if (strstr(cmdline.console, "com1"))
        serial = serial_init(cmdline.com1, 0x3f8, 4);
    else if (strstr(cmdline.console, "com2"))
        serial = serial_init(cmdline.com2, 0x2f8, 3);
    if ((strstr(cmdline.console, "vga") || !serial) && !boot_info.efi &&
        (!boot_info.has_framebuffer || boot_info.framebuffer.type == 2))
        vga_init();
    log_sink = console_write;
}

/* What the boot tables still lie on, and what the loader gave us, is not free. */
static void
reserve_what_is_used(void)
{
    extern const char image_start[], image_end[];

    memcpy(memory_ranges, boot_info.ranges, sizeof(memory_ranges));
    memory_range_count = boot_info.range_count;
    boot_reserve(image_at, image_at + (image_end - image_start));
    boot_reserve(0, PAGE_SIZE);
    for (unsigned i = 0; i < boot_info.module_count; i++)
        boot_reserve(boot_info.modules[i].start.a, boot_info.modules[i].start.a + boot_info.modules[i].size);
    smp_reserve_trampoline();
}

static u64
memory_total(void)
{
    u64 total = 0;

    for (unsigned i = 0; i < memory_range_count; i++)
        if (memory_ranges[i].type == MEMORY_RAM)
            total += memory_ranges[i].end - memory_ranges[i].start;
    return total;
}

static void
boot_banner(void)
{
    log_info("Serai " SERAI_VERSION ", a type-1 hypervisor with the Xen 4.17 ABI");
    log_info("command line: %s", cmdline.text);
    log_info("loaded by %s at %#lx", *boot_info.loader ? boot_info.loader : "multiboot", image_at);
    cmdline_report();
    for (unsigned i = 0; i < memory_range_count; i++)
        log_debug("memory %016lx-%016lx type %u", memory_ranges[i].start, memory_ranges[i].end,
                  memory_ranges[i].type);
    log_info("%u MiB of memory, CPU %s family %u model %u", (u32)(memory_total() >> 20), cpu_features.vendor,
             cpu_features.family, cpu_features.model);
}

/* EFI firmware keeps its root pointer where the kernel cannot look for it: name it. */
static const char *
dom0_cmdline(void)
{
    char *text = boot_info.module_cmdline[0];
    size_t length = strlen(text);

    if (boot_info.rsdp_address && !strstr(text, "acpi_rsdp="))
        snprintf(text + length, BOOT_TEXT_MAX - length, " acpi_rsdp=%#lx", boot_info.rsdp_address);
    return text;
}

/* What is wrong is the user's to mend, so there is nothing to say of stacks and registers. */
static void __noreturn
give_up(const char *what, const char *reason)
{
    log_err("%s%s", what, reason);
    machine_restart_after_error();
}

static struct domain *
build_dom0(void)
{
    struct dom0_vga_console_info screen;
    bool has_screen = screen_describe(&boot_info, &screen);
    const char *reason = "No reason was given.";
    struct domain *d;

    if (!boot_info.module_count)
        give_up("", "There is no dom0 kernel: "
                    "add a module2 line with the kernel after the multiboot2 line of the GRUB entry.");
    d = dom0_create(&boot_info.modules[0], boot_info.module_count > 1 ? &boot_info.modules[1] : NULL,
                    dom0_cmdline(), &cmdline.dom0, has_screen ? &screen : NULL, &reason);
    if (!d)
        give_up("dom0 cannot be started. ", reason);
    return d;
}

/* On an idle CPU's footing from here on; the first softirq chooses dom0. */
static void __noreturn
boot_finish(struct domain *d)
{
    vga_release();
    paging_seal();
    domain_unpause_by_controller(d);
    log_info("starting Domain-0");
    stack_reset_and_jump(idle_loop);
}

/* The hardware domain reads what was typed when it is told that there is something; it does not poll. */
static void
console_received(void)
{
    evtchn_send_host_virq(VIRQ_CONSOLE);
}

void
boot_main(u32 magic, u64 info, u64 image)
{
    const char *reason = NULL;

    machine_init();
    image_at = image;
    cpu_features_init();
    bool ok = multiboot_parse(magic, early_map(info, 8), 1u << 20, early_map, &reason);

    cmdline_parse(boot_info.cmdline, magic == MULTIBOOT1_MAGIC);
    str_copy(version_cmdline, cmdline.text, sizeof(version_cmdline)); /* for `xl info` */
    console_init();
    if (!ok)
        give_up("", reason);
    acpi_parse(boot_info.rsdp_size ? boot_info.rsdp : NULL, boot_info.rsdp_size, early_map);
    reserve_what_is_used();
    boot_banner();
    paging_init(memory_ranges, memory_range_count, _maddr(image)); /* our own page tables, frame table, M2P */
    boot_release_rest();                                           /* the allocator owns what is free */
    frame_scrub(FRAME_RESERVE);                                    /* some zeroed pages at hand */
    paging_allocator_ready();
    cpu_init(0); /* descriptors, SYSCALL, control registers */
    softirq_init();
    apic_init_boot();
    apic_cpu_init();
    cpumask_set(&cpu_online, 0);
    tsc_init();
    apic_timer_calibrate();
    irq_init();      /* I/O APICs, device vectors */
    pv_cpuid_init(); /* what guests are told of the CPU */
    domain_init();   /* the system domains */
    hardware_domain_shutdown_hook = machine_shutdown;
    serial_received_hook = console_received;
    debug_keys_init();
    timer_cpu_init(0);
    sched_init();
    if (sched_cpu_init(0))
        panic("no memory for the first idle vCPU");
    this_cpu()->vcpu = this_cpu()->idle;
    this_cpu()->idle->is_running = true;
    nmi_init();
    if (nmi_cpu_init())
        log_warn("no memory to watch for machine checks");
    smp_start_others(cmdline.max_cpus, cmdline.smt_off);
    if (cmdline.watchdog)
        watchdog_start();
    boot_finish(build_dom0());
}
