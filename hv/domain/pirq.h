/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Interrupts of real devices as the hardware domain sees them: PIRQs, behind them IO-APIC pins or MSIs.
 *
 * PIRQs below the number of pins are meant for pins and, by custom, have their
 * number; MSIs are given numbers above.  A PIRQ is mapped (it has an interrupt),
 * then bound (to an event channel; now it can fire), unbound, unmapped.
 */
#ifndef SERAI_DOMAIN_PIRQ_H
#define SERAI_DOMAIN_PIRQ_H

#include "domain/domain.h"
#include "x86/pci.h"

int pirq_domain_init(struct domain *d);
void pirq_domain_fini(struct domain *d);
u32 pirq_count(const struct domain *d); /* how many PIRQ numbers it has (nr_pirqs); 0 for most domains */

/*
 * All of these: @d has PIRQs, or they answer -EINVAL.  *@pirq is the wish, or negative for any; then it is
 * the result.  -EBUSY: the interrupt or the number is mapped otherwise; -EPERM; -ENOSPC; -EINVAL.
 */
int pirq_map_gsi(struct domain *d, u32 gsi, s32 *pirq);
/* @count messages of plain MSI; consecutive PIRQs from *@pirq on. */
int pirq_map_msi(struct domain *d, struct pci_address pci, unsigned count, s32 *pirq);
/* @table_base: machine address of the BAR that the MSI-X table is in. */
int pirq_map_msix(struct domain *d, struct pci_address pci, unsigned entry, u64 table_base, s32 *pirq);
int pirq_unmap(struct domain *d, u32 pirq);
/* A number that nothing else gets until it is mapped or unmapped. */
int pirq_reserve(struct domain *d, bool msi, s32 *ret_pirq);
/* Whether the guest must say pirq_eoi() after it; false also for one that is not bound. */
bool pirq_needs_eoi(struct domain *d, u32 pirq);

/*
 * PHYSDEVOP_pirq_eoi_gmfn: a page of the guest's with a bit for each PIRQ that needs an EOI.  @auto_unmask:
 * version 1, where EOI unmasks the event channel too.  -EBUSY when there is one already.
 */
int pirq_set_eoi_page(struct domain *d, mfn_t mfn, bool auto_unmask);
bool pirq_eoi_unmasks(const struct domain *d);
/* The port a PIRQ is bound to, 0: none. */
u32 pirq_port(struct domain *d, u32 pirq);

void pirq_dump(struct domain *d); /* debug-keys i */

/* The sides that evtchn.c calls are in domain/evtchn.h. */

#endif
