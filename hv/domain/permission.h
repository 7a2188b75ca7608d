/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which I/O ports, device frames and interrupts a domain may use.  A domain starts with none; the hardware
 * domain gets all when it is built, and then loses what the hypervisor keeps for itself.
 *
 * Asking takes no lock.  Changing takes d->lock, which the caller holds.  Ranges are inclusive at both ends.
 */
#ifndef SERAI_DOMAIN_PERMISSION_H
#define SERAI_DOMAIN_PERMISSION_H

#include "domain/domain.h"

/* More pieces than this a set may not be cut into: what one domctl can add is bounded. */
#define PERMISSION_RANGES_MAX 1024u

#define IOPORT_LAST 0xffffu

bool iomem_permitted(const struct domain *d, u64 mfn_first, u64 mfn_last);
bool ioport_permitted(const struct domain *d, u32 first, u32 last);
bool irq_permitted(const struct domain *d, u32 irq);

/*
 * -EINVAL for an empty or oversized range, -ENOMEM, -ENOSPC past PERMISSION_RANGES_MAX; on failure nothing
 * changed.
 */
int iomem_permit(struct domain *d, u64 mfn_first, u64 mfn_last);
int iomem_deny(struct domain *d, u64 mfn_first, u64 mfn_last);
int ioport_permit(struct domain *d, u32 first, u32 last);
int ioport_deny(struct domain *d, u32 first, u32 last);
int irq_permit(struct domain *d, u32 irq);
int irq_deny(struct domain *d, u32 irq);

/*
 * The hardware domain's start: every port, every frame, every interrupt.  iomem_deny() and the rest then
 * take away.
 */
int permission_init_hardware(struct domain *d);

/* Frees the three sets; for domain_destroy.  A domain that was never given anything has none. */
void permission_fini(struct domain *d);

#endif
