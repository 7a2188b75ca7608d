/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the ACPI tables and the firmware say of the machine: read once at boot by boot/acpi.c, only read afterwards. */
#ifndef SERAI_X86_ACPI_INFO_H
#define SERAI_X86_ACPI_INFO_H

#include "base/types.h"

#define IOAPIC_MAX        128u
#define IRQ_OVERRIDES_MAX 32u
#define MMCFG_MAX         16u

struct ioapic_info {
    u32 id;
    u64 address;
    u32 gsi_base;
};

/* MADT interrupt source override: ISA interrupt @source arrives at @gsi; @flags as in the table (MPS INTI). */
struct irq_override {
    u8 source;
    u32 gsi;
    u16 flags;
};

/* MCFG: PCI configuration space in memory. */
struct mmcfg_info {
    u64 address;
    u16 segment;
    u8 bus_first, bus_last;
};

struct acpi_info {
    u32 ioapic_count, override_count, mmcfg_count;
    struct ioapic_info ioapics[IOAPIC_MAX];
    struct irq_override overrides[IRQ_OVERRIDES_MAX];
    struct mmcfg_info mmcfg[MMCFG_MAX];
    u16 pm_timer_port;    /* 0: none */
    u16 serial_port;      /* the hypervisor's console */
    u16 serial_port_size; /* 0: it has none */
};

extern struct acpi_info acpi_info;

#endif
