/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Interrupts of devices; the model is in irq.h.
 *
 * Each CPU has a table from its vectors to interrupts, in struct cpu, so every CPU brings vectors of its own.
 * An entry is written under the vector lock and read by its CPU without; it holds the number + 1, 0 for none.
 *
 * When an interrupt moves, its old entry stays until it has fired at the new place: what was under way to the
 * old one still finds its handler, and what comes later than that finds nothing and is dropped, which is
 * right for an edge that the new one repeats.
 */
#include "x86/irq.h"

#include "abi/xen.h"
#include "base/log.h"
#include "x86/acpi-info.h"
#include "x86/apic.h"
#include "x86/asm.h"
#include "x86/serial.h"
#include "x86/upcalls.h"

#define VECTORS (VECTOR_DEVICE_LAST - VECTOR_DEVICE_FIRST + 1u)
static_assert(VECTORS == CPU_DEVICE_VECTORS, "struct cpu has a place for each");

static struct irq irqs[IRQ_MAX];
static u32 serial_gsi = IRQ_NONE, nmi_gsi = IRQ_NONE;

static spinlock_t vector_lock = SPINLOCK_INIT; /* tables of all CPUs, kinds of MSIs */

/* Without interrupt remapping a message or an IO-APIC names a CPU by eight bits. */
#define APIC_ID_REACHABLE 0xffu

/* --- vectors --- */

static u16 *
table_entry(unsigned cpu, u8 vector)
{
    return &cpu_at(cpu)->vector_irq[vector - VECTOR_DEVICE_FIRST];
}

/*
 * @count consecutive free vectors on @cpu; 0: there are none.  They are aligned to their count, since a
 * function puts the number of its message into the low bits of the vector.  The vector lock is held.
 */
static u8
find_vectors(unsigned cpu, unsigned count)
{
    struct cpu *c = cpu_at(cpu);

    if (!c || apic_id_of(cpu) >= APIC_ID_REACHABLE)
        return 0;
    for (unsigned first = (0u - VECTOR_DEVICE_FIRST) & (count - 1); first + count <= VECTORS;
         first += count) {
        unsigned n = 0;

        while (n < count && !c->vector_irq[first + n])
            n++;
        if (n == count)
            return VECTOR_DEVICE_FIRST + first;
    }
    return 0;
}

/* The same on the CPU that is asked for, or else on any. */
static u8
find_vectors_anywhere(unsigned *cpu, unsigned count)
{
    u8 vector = find_vectors(*cpu, count);
    unsigned other;

    if (vector)
        return vector;
    for_each_online_cpu(other) {
        vector = find_vectors(other, count);
        if (vector) {
            *cpu = other;
            return vector;
        }
    }
    return 0;
}

static void
drop_vector(unsigned cpu, u8 vector, const struct irq *irq)
{
    if (vector && *table_entry(cpu, vector) == irq_number(irq) + 1)
        *table_entry(cpu, vector) = 0;
}

static void
drop_vectors(struct irq *irq)
{
    spin_lock(&vector_lock);
    drop_vector(irq->cpu, irq->vector, irq);
    drop_vector(irq->old_cpu, irq->old_vector, irq);
    irq->vector = irq->old_vector = 0;
    spin_unlock(&vector_lock);
}

/* --- messages --- */

#define MSI_CONTROL         2u
#define MSI_CONTROL_64BIT   (1u << 7)
#define MSI_CONTROL_MASKING (1u << 8)
#define MSI_CONTROL_ENABLE  1u
#define MSI_ADDRESS         4u

#define MSIX_ADDRESS_LOW  0
#define MSIX_ADDRESS_HIGH 1
#define MSIX_DATA         2
#define MSIX_CONTROL      3
#define MSIX_MASKED       1u

static u32
message_address(unsigned cpu)
{
    return 0xfee00000u | apic_id_of(cpu) << 12;
}

/* The mask bits of plain MSI, where the function has them; else it is silenced by losing its handler. */
static void
msi_mask(const struct irq *irq, bool masked)
{
    u16 control = pci_read(irq->pci, irq->msi_at + MSI_CONTROL, 2);
    unsigned at = irq->msi_at + (control & MSI_CONTROL_64BIT ? 16 : 12);
    u32 bits;

    if (!(control & MSI_CONTROL_MASKING))
        return;
    bits = pci_read(irq->pci, at, 4);
    bits = masked ? bits | 1u << irq->index_in_block : bits & ~(1u << irq->index_in_block);
    pci_write(irq->pci, at, 4, bits);
}

/* Writes where the message goes; of a block, the first one's message stands for all. */
static void
write_message(const struct irq *irq, bool masked)
{
    if (irq->kind == IRQ_MSIX) {
        volatile u32 *entry = irq->msix_entry;

        entry[MSIX_CONTROL] |= MSIX_MASKED;
        entry[MSIX_ADDRESS_LOW] = message_address(irq->cpu);
        entry[MSIX_ADDRESS_HIGH] = 0;
        entry[MSIX_DATA] = irq->vector;
        if (!masked)
            entry[MSIX_CONTROL] &= ~MSIX_MASKED;
        (void)entry[MSIX_CONTROL]; /* the writes have arrived when this returns */
    } else {
        u16 control = pci_read(irq->pci, irq->msi_at + MSI_CONTROL, 2);
        unsigned data_at = irq->msi_at + (control & MSI_CONTROL_64BIT ? 12 : 8);

        if (!irq->index_in_block) {
            pci_write(irq->pci, irq->msi_at + MSI_ADDRESS, 4, message_address(irq->cpu));
            if (control & MSI_CONTROL_64BIT)
                pci_write(irq->pci, irq->msi_at + MSI_ADDRESS + 4, 4, 0);
            pci_write(irq->pci, data_at, 2, irq->vector);
        }
        msi_mask(irq, masked);
    }
}

/* --- routing, whatever the kind --- */

static void
route(const struct irq *irq, bool masked)
{
    if (irq->kind == IRQ_PIN)
        ioapic_route(irq_number(irq), irq->vector, apic_id_of(irq->cpu), irq->level, irq->active_low, masked);
    else
        write_message(irq, masked);
}

static int
take_vector(struct irq *irq, unsigned cpu)
{
    u8 vector;

    spin_lock(&vector_lock);
    vector = find_vectors_anywhere(&cpu, 1);
    if (vector) {
        irq->cpu = cpu;
        irq->vector = vector;
        *table_entry(cpu, vector) = irq_number(irq) + 1;
    }
    spin_unlock(&vector_lock);
    return vector ? 0 : -ENOSPC;
}

int
irq_start(struct irq *irq, unsigned cpu, void (*handler)(struct irq *irq, void *data), void *data)
{
    int rc = 0;

    spin_lock(&irq->lock);
    if (irq->kind == IRQ_UNUSED)
        rc = -EINVAL;
    else if (irq->is_on)
        rc = -EBUSY;
    else if (!irq->vector)
        rc = take_vector(irq, cpu);
    if (!rc) {
        irq->data = data;
        irq->handler = handler;
        irq->in_service = false;
        irq->is_on = true;
        route(irq, false);
    }
    spin_unlock(&irq->lock);
    return rc;
}

void
irq_stop(struct irq *irq)
{
    spin_lock(&irq->lock);
    if (irq->is_on) {
        irq->is_on = false;
        if (irq->kind == IRQ_PIN)
            ioapic_mask(irq_number(irq), true);
        else
            write_message(irq, true);
        irq->handler = NULL;
        /* Messages' vectors were promised to the device when it got them; they go with irq_free_msi(). */
        if (irq->kind == IRQ_PIN)
            drop_vectors(irq);
    }
    spin_unlock(&irq->lock);
}

void
irq_end(struct irq *irq)
{
    spin_lock(&irq->lock);
    if (irq->in_service) {
        irq->in_service = false;
        if (irq->is_on)
            ioapic_mask(irq_number(irq), false);
    }
    spin_unlock(&irq->lock);
}

void
irq_move(struct irq *irq, unsigned cpu)
{
    u8 vector;

    spin_lock(&irq->lock);
    if (irq->is_on && irq->cpu != cpu && irq->block <= 1) {
        spin_lock(&vector_lock);
        vector = find_vectors(cpu, 1);
        if (vector) {
            drop_vector(irq->old_cpu, irq->old_vector, irq);
            irq->old_cpu = irq->cpu;
            irq->old_vector = irq->vector;
            irq->cpu = cpu;
            irq->vector = vector;
            *table_entry(cpu, vector) = irq_number(irq) + 1;
        }
        spin_unlock(&vector_lock);
        if (vector)
            route(irq, irq->in_service);
    }
    spin_unlock(&irq->lock);
}

/* --- an interrupt fires --- */

static void
forget_old_place(struct irq *irq)
{
    spin_lock(&vector_lock);
    drop_vector(irq->old_cpu, irq->old_vector, irq);
    irq->old_vector = 0;
    spin_unlock(&vector_lock);
}

/* trap.c comes here with every vector that is not one of the local APIC's own. */
void
irq_handle(unsigned vector)
{
    unsigned number;
    struct irq *irq;

    /* Below the devices' vectors: the old PICs, which are masked, so it is spurious and takes no EOI. */
    if (vector < VECTOR_DEVICE_FIRST)
        return;
    number =
        vector <= VECTOR_DEVICE_LAST ? READ_ONCE(this_cpu()->vector_irq[vector - VECTOR_DEVICE_FIRST]) : 0;
    if (!number) {
        apic_eoi();
        return;
    }
    irq = &irqs[number - 1];

    spin_lock(&irq->lock);
    if (irq->level && irq->is_on) {
        ioapic_mask(number - 1, true);
        irq->in_service = true;
    }
    apic_eoi();
    if (unlikely(irq->old_vector) && irq->vector == vector && irq->cpu == cpu_id())
        forget_old_place(irq);
    /* The lock is held, so that irq_stop() returns when the handler is done. */
    if (likely(irq->handler))
        irq->handler(irq, irq->data);
    spin_unlock(&irq->lock);
}

/* --- MSI --- */

#define PCI_CAP_MSI  0x05
#define PCI_CAP_MSIX 0x11

/* @count unused ones in a row; the vector lock is held. */
static u32
find_unused(unsigned count)
{
    u32 run = 0;

    for (u32 n = irq_gsi_count(); n < IRQ_MAX; n++) {
        run = irqs[n].kind == IRQ_UNUSED ? run + 1 : 0;
        if (run == count)
            return n - count + 1;
    }
    return IRQ_NONE;
}

static int
alloc_messages(struct pci_address pci, enum irq_kind kind, unsigned at, volatile u32 *entry, unsigned count,
               unsigned cpu)
{
    u32 first;
    u8 vector;

    spin_lock(&vector_lock);
    first = find_unused(count);
    vector = first == IRQ_NONE ? 0 : find_vectors_anywhere(&cpu, count);
    for (unsigned i = 0; vector && i < count; i++) {
        struct irq *irq = &irqs[first + i];

        /* Not its lock: a CPU that was late for what this was before may hold it. */
        irq->vector = vector + i;
        irq->old_vector = 0;
        irq->cpu = cpu;
        irq->index_in_block = i;
        irq->block = count;
        irq->msi_at = at;
        irq->pci = pci;
        irq->msix_entry = entry;
        irq->kind = kind;
        *table_entry(cpu, vector + i) = first + i + 1;
    }
    spin_unlock(&vector_lock);
    return vector ? (int)first : -ENOSPC;
}

int
irq_alloc_msi(struct pci_address pci, unsigned count, unsigned cpu)
{
    unsigned at = pci_find_capability(pci, PCI_CAP_MSI);
    int rc;

    if (!at || !count || count > 32 || count & (count - 1))
        return -EINVAL;
    if (count > 1u << (pci_read(pci, at + MSI_CONTROL, 2) >> 1 & 7))
        return -EINVAL;
    rc = alloc_messages(pci, IRQ_MSI, at, NULL, count, cpu);
    if (rc >= 0)
        write_message(&irqs[rc], true);
    return rc;
}

int
irq_alloc_msix(struct pci_address pci, unsigned entry, volatile u32 *msix_entry, unsigned cpu)
{
    unsigned at = pci_find_capability(pci, PCI_CAP_MSIX);
    int rc;

    if (!at || entry > (pci_read(pci, at + MSI_CONTROL, 2) & 0x7ff))
        return -EINVAL;
    rc = alloc_messages(pci, IRQ_MSIX, at, msix_entry, 1, cpu);
    if (rc >= 0)
        write_message(&irqs[rc], true);
    return rc;
}

void
irq_free_msi(struct irq *irq)
{
    unsigned count = irq->block;

    irq -= irq->index_in_block;
    for (unsigned i = 0; i < count; i++) {
        drop_vectors(&irq[i]);
        spin_lock(&vector_lock);
        irq[i].kind = IRQ_UNUSED;
        spin_unlock(&vector_lock);
    }
}

void
irq_restore_msi(struct pci_address pci)
{
    for (u32 n = irq_gsi_count(); n < IRQ_MAX; n++) {
        struct irq *irq = &irqs[n];

        spin_lock(&irq->lock);
        if (irq->kind != IRQ_UNUSED && irq->pci.segment == pci.segment && irq->pci.bus == pci.bus &&
            irq->pci.devfn == pci.devfn)
            write_message(irq, !irq->is_on);
        spin_unlock(&irq->lock);
    }
}

/* --- pins --- */

u32
irq_gsi_count(void)
{
    return ioapic_gsi_count();
}

struct irq *
irq_at(u32 number)
{
    if (number >= IRQ_MAX || irqs[index_nospec(number, IRQ_MAX)].kind == IRQ_UNUSED)
        return NULL;
    return &irqs[index_nospec(number, IRQ_MAX)];
}

u32
irq_number(const struct irq *irq)
{
    return irq - irqs;
}

bool
irq_is_ours(u32 number)
{
    return number == serial_gsi || number == nmi_gsi;
}

bool
irq_deliver_as_nmi(u32 gsi)
{
    struct irq *irq = irq_at(gsi);

    if (!irq || irq->kind != IRQ_PIN || irq->is_on)
        return false;
    nmi_gsi = gsi;
    irq->is_on = true; /* so that nobody else starts it */
    ioapic_route_nmi(gsi, apic_id_of(0));
    return true;
}

static const struct irq_override *
find_override(u8 isa)
{
    for (unsigned i = 0; i < acpi_info.override_count; i++)
        if (acpi_info.overrides[i].source == isa)
            return &acpi_info.overrides[i];
    return NULL;
}

u32
irq_gsi_of_isa(u8 isa)
{
    const struct irq_override *override = find_override(isa);

    return override ? override->gsi : isa;
}

int
irq_set_mode(u32 gsi, bool level, bool active_low)
{
    struct irq *irq = irq_at(gsi);
    int rc = 0;

    if (!irq || irq->kind != IRQ_PIN)
        return -EINVAL;
    spin_lock(&irq->lock);
    if (irq->is_on && (irq->level != level || irq->active_low != active_low)) {
        rc = -EBUSY;
    } else {
        irq->level = level;
        irq->active_low = active_low;
    }
    spin_unlock(&irq->lock);
    return rc;
}

/* MPS INTI flags: polarity in bits 0-1 (3: low), trigger in bits 2-3 (3: level); 0: as the bus does it. */
static void
init_pins(void)
{
    u32 count = irq_gsi_count();

    for (u32 gsi = 0; gsi < count; gsi++) {
        irqs[gsi].kind = IRQ_PIN;
        irqs[gsi].block = 1;
        irqs[gsi].level = irqs[gsi].active_low = gsi >= 16; /* ISA: edges, high; PCI: levels, low */
    }
    for (unsigned i = 0; i < acpi_info.override_count; i++) {
        const struct irq_override *o = &acpi_info.overrides[i];

        if (o->gsi >= count)
            continue;
        irqs[o->gsi].active_low = (o->flags & 3) == 3;
        irqs[o->gsi].level = (o->flags >> 2 & 3) == 3;
    }
}

/* --- boot --- */

/* The old PICs get vectors that nothing else has, in case they raise a spurious interrupt though masked. */
static void
silence_pics(void)
{
    outb(0x20, 0x11);
    outb(0xa0, 0x11);
    outb(0x21, 0x20);
    outb(0xa1, 0x28);
    outb(0x21, 0x04);
    outb(0xa1, 0x02);
    outb(0x21, 0x01);
    outb(0xa1, 0x01);
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
}

static void
serial_fired(struct irq *irq, void *data)
{
    (void)irq;
    (void)data;
    serial_interrupt();
}

void
irq_init(void)
{
    silence_pics();
    ioapic_init();
    init_pins();

    if (serial_irq() && irq_gsi_of_isa(serial_irq()) < irq_gsi_count()) {
        u32 gsi = irq_gsi_of_isa(serial_irq());

        if (!irq_start(&irqs[gsi], 0, serial_fired, NULL)) {
            serial_gsi = gsi;
            serial_interrupt_enable();
        }
    }
}
