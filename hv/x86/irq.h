/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Interrupts of devices: IO-APIC pins and messages, each a struct irq with a vector of its own on one CPU.
 *
 * An edge (every MSI is one) is acknowledged at once.  A level is masked at its pin when it fires, and stays
 * so until irq_end(): whoever owns it has quieted the device by then.
 *
 * Lock order: irq->lock, then the vector lock, then the lock of the IO-APIC or of PCI configuration.
 */
#ifndef SERAI_X86_IRQ_H
#define SERAI_X86_IRQ_H

#include "x86/pci.h"
#include "x86/percpu.h"
#include "base/spinlock.h"

/* Interrupts of a machine: all its pins, then MSIs. */
#define IRQ_MAX  4096u
#define IRQ_NONE ~0u

enum irq_kind { IRQ_UNUSED, IRQ_PIN, IRQ_MSI, IRQ_MSIX };

struct irq {
    spinlock_t lock;
    u8 kind;           /* enum irq_kind; fixed for pins, set while allocated for MSIs */
    bool level;        /* pins: level triggered */
    bool active_low;   /* pins */
    bool is_on;        /* may fire: routed and not shut down */
    bool in_service;   /* a level that fired and waits for irq_end() */
    u8 vector;         /* 0: has none */
    u8 old_vector;     /* where it was before it moved; given back when it fires at the new place */
    u8 index_in_block; /* multi-message MSI: which of its messages */
    u8 block;          /* how many messages the block has; kept in each */
    u32 cpu, old_cpu;
    u32 msi_at; /* offset of the capability */
    struct pci_address pci;
    volatile u32 *msix_entry; /* four words of the device's table */
    void (*handler)(struct irq *irq, void *data);
    void *data;
};

/* Finds the IO-APICs, masks everything, silences the old PICs, takes the serial port's interrupt.  Boot. */
void irq_init(void);

/* How many pins there are; GSI numbers below are irqs of the same number. */
u32 irq_gsi_count(void);
struct irq *irq_at(u32 number); /* bounds checked, NULL: no such interrupt */
u32 irq_number(const struct irq *irq);
/* Whether the hypervisor uses it itself. */
bool irq_is_ours(u32 number);

/* Takes a pin for the hypervisor; its edges reach the boot CPU as NMIs.  False: no such pin, or in use. */
bool irq_deliver_as_nmi(u32 gsi);

/* The GSI of an ISA interrupt, by the firmware's overrides. */
u32 irq_gsi_of_isa(u8 isa);

/* Trigger mode and polarity of a pin; -EBUSY while it is on and they differ. */
int irq_set_mode(u32 gsi, bool level, bool active_low);

/* Lets it fire, on @cpu, into @handler.  -EBUSY: it is on already; -ENOSPC: no vector left anywhere. */
int irq_start(struct irq *irq, unsigned cpu, void (*handler)(struct irq *irq, void *data), void *data);
/* Silences it.  Its handler runs nowhere on return, or finds nothing any more. */
void irq_stop(struct irq *irq);
/* A level has been dealt with. */
void irq_end(struct irq *irq);
/* Moves it to @cpu, if there is a vector there; of a block of messages the first, and the others with it. */
void irq_move(struct irq *irq, unsigned cpu);

/*
 * MSI: @count messages (a power of 2, up to 32) with consecutive numbers from the result on, or one entry of
 * an MSI-X table whose registers are at @msix_entry.  Negative: -ENOSPC, -EINVAL.
 */
int irq_alloc_msi(struct pci_address pci, unsigned count, unsigned cpu);
int irq_alloc_msix(struct pci_address pci, unsigned entry, volatile u32 *msix_entry, unsigned cpu);
void irq_free_msi(struct irq *irq); /* the whole block; all are stopped */
/* Writes the messages of all interrupts of a function again, after it was reset. */
void irq_restore_msi(struct pci_address pci);

/* --- x86/ioapic.c --- */
void ioapic_init(void);
u32 ioapic_gsi_count(void);
/* @word 0 and 1 of the redirection entry of @gsi; what the hypervisor wants there is in struct irq. */
void ioapic_route(u32 gsi, u8 vector, u32 apic_id, bool level, bool active_low, bool masked);
void ioapic_route_nmi(u32 gsi, u32 apic_id);
void ioapic_mask(u32 gsi, bool masked);
/* A register of the IO-APIC at machine address @address, for dom0's eyes.  False: there is none there. */
bool ioapic_read(u64 address, u32 reg, u32 *ret_value);
bool ioapic_exists(u64 address);

#endif
