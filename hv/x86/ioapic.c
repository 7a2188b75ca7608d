/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The IO-APICs: which pin is which GSI, and their redirection entries.
 *
 * Each has an index register and a data register, so one lock for each guards the pair.  Entries are kept
 * here as they were written, so that masking needs no read.
 */
#include "base/log.h"
#include "base/types.h"
#include "x86/acpi-info.h"
#include "x86/irq.h"
#include "x86/paging.h"

#define REG_VERSION 1u
#define REG_ENTRIES 0x10u

#define ENTRY_MASKED     (1u << 16)
#define ENTRY_LEVEL      (1u << 15)
#define ENTRY_ACTIVE_LOW (1u << 13)
#define ENTRY_NMI        (4u << 8)

static struct ioapic {
    volatile u32 *regs; /* index at word 0, data at word 4 */
    u64 address;
    u32 gsi_base, pins;
    spinlock_t lock;
} ioapics[IOAPIC_MAX];
static unsigned ioapic_count;
static u32 gsi_count;
static u32 low_words[IRQ_MAX]; /* of each GSI's entry */

static u32
reg_read(struct ioapic *io, u32 reg)
{
    io->regs[0] = reg;
    return io->regs[4];
}

static void
reg_write(struct ioapic *io, u32 reg, u32 value)
{
    io->regs[0] = reg;
    io->regs[4] = value;
}

static struct ioapic *
of_gsi(u32 gsi)
{
    for (unsigned i = 0; i < ioapic_count; i++)
        if (gsi - ioapics[i].gsi_base < ioapics[i].pins)
            return &ioapics[i];
    return NULL;
}

u32
ioapic_gsi_count(void)
{
    return gsi_count;
}

void
ioapic_init(void)
{
    for (unsigned i = 0; i < acpi_info.ioapic_count; i++) {
        struct ioapic *io = &ioapics[ioapic_count];

        io->regs = paging_map_device(_maddr(acpi_info.ioapics[i].address), PAGE_SIZE);
        if (!io->regs)
            continue;
        io->address = acpi_info.ioapics[i].address;
        io->gsi_base = acpi_info.ioapics[i].gsi_base;
        io->pins = (reg_read(io, REG_VERSION) >> 16 & 0xff) + 1;
        if (io->gsi_base >= IRQ_MAX / 2 || reg_read(io, REG_VERSION) == ~0u) {
            log_warn("IO-APIC at %llx is not used: it does not answer", (unsigned long long)io->address);
            continue;
        }
        io->pins = MIN(io->pins, IRQ_MAX / 2 - io->gsi_base);
        spin_lock_init(&io->lock);
        ioapic_count++;
        gsi_count = MAX(gsi_count, io->gsi_base + io->pins);
        for (u32 pin = 0; pin < io->pins; pin++)
            ioapic_mask(io->gsi_base + pin, true);
    }
    log_debug("%u IO-APICs with %u pins", ioapic_count, gsi_count);
}

void
ioapic_route(u32 gsi, u8 vector, u32 apic_id, bool level, bool active_low, bool masked)
{
    struct ioapic *io = of_gsi(gsi);
    u32 reg, low;

    if (!io)
        return;
    reg = REG_ENTRIES + 2 * (gsi - io->gsi_base);
    low = vector | (level ? ENTRY_LEVEL : 0) | (active_low ? ENTRY_ACTIVE_LOW : 0) |
          (masked ? ENTRY_MASKED : 0);
    spin_lock(&io->lock);
    /* Masked while its halves do not fit each other. */
    reg_write(io, reg, low | ENTRY_MASKED);
    reg_write(io, reg + 1, apic_id << 24);
    if (!masked)
        reg_write(io, reg, low);
    low_words[gsi] = low;
    spin_unlock(&io->lock);
}

void
ioapic_route_nmi(u32 gsi, u32 apic_id)
{
    struct ioapic *io = of_gsi(gsi);

    if (!io)
        return;
    spin_lock(&io->lock);
    reg_write(io, REG_ENTRIES + 2 * (gsi - io->gsi_base) + 1, apic_id << 24);
    reg_write(io, REG_ENTRIES + 2 * (gsi - io->gsi_base), ENTRY_NMI);
    low_words[gsi] = ENTRY_NMI;
    spin_unlock(&io->lock);
}

void
ioapic_mask(u32 gsi, bool masked)
{
    struct ioapic *io = of_gsi(gsi);

    if (!io)
        return;
    spin_lock(&io->lock);
    low_words[gsi] = (low_words[gsi] & ~ENTRY_MASKED) | (masked ? ENTRY_MASKED : 0);
    reg_write(io, REG_ENTRIES + 2 * (gsi - io->gsi_base), low_words[gsi]);
    spin_unlock(&io->lock);
}

bool
ioapic_exists(u64 address)
{
    for (unsigned i = 0; i < ioapic_count; i++)
        if (ioapics[i].address == address)
            return true;
    return false;
}

bool
ioapic_read(u64 address, u32 reg, u32 *ret_value)
{
    for (unsigned i = 0; i < ioapic_count; i++) {
        struct ioapic *io = &ioapics[i];

        if (io->address != address)
            continue;
        spin_lock(&io->lock);
        *ret_value = reg_read(io, reg & 0xff);
        spin_unlock(&io->lock);
        return true;
    }
    return false;
}
