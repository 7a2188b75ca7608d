/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What boot/acpi.c found in the firmware's tables, for those below it that need it. */
#ifndef SERAI_X86_ACPI_INFO_H
#define SERAI_X86_ACPI_INFO_H

#include "base/cpumask.h"

#define IOAPIC_MAX        128u
#define MMCFG_MAX         16u
#define IRQ_OVERRIDES_MAX 32u

struct ioapic_info {
    u32 id;
    u64 address;
    u32 gsi_base;
};

/* ISA interrupt @source arrives as @gsi; @flags as in the MADT (polarity bits 0-1, trigger bits 2-3). */
struct irq_override {
    u8 source;
    u32 gsi;
    u16 flags;
};

struct mmcfg_info {
    u64 address;
    u16 segment;
    u8 bus_first, bus_last;
};

struct acpi_info {
    bool found;
    u64 rsdp; /* machine address, 0 when there is none */
    struct ioapic_info ioapics[IOAPIC_MAX];
    unsigned ioapic_count;
    struct irq_override overrides[IRQ_OVERRIDES_MAX];
    unsigned override_count;
    struct mmcfg_info mmcfg[MMCFG_MAX];
    unsigned mmcfg_count;
    u32 cpu_apic_ids[CPU_MAX]; /* enabled CPUs in MADT order */
    unsigned cpu_count;
    u64 lapic_address;
    u64 hpet_address;                 /* 0 when there is none */
    u32 pm_timer_port, pm_timer_bits; /* 24 or 32; port 0 when there is none */
    u64 pm_timer_memory;
    u32 pm1a_control, pm1b_control; /* I/O ports */
    u32 sci_gsi;
    bool reset_valid;
    u8 reset_space, reset_value;
    u64 reset_address;
    bool has_8042, has_pic;
    u8 s5_type_a, s5_type_b; /* SLP_TYP for S5 from the DSDT, if found */
    bool s5_valid;
};

extern struct acpi_info acpi_info;

#endif
