/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Interrupts of real devices as the hardware domain sees them: PIRQ numbers, behind them IO-APIC pins or MSIs. */
#ifndef SERAI_DOMAIN_PIRQ_H
#define SERAI_DOMAIN_PIRQ_H

#include "domain/domain.h"

int pirq_domain_init(struct domain *d);
void pirq_domain_fini(struct domain *d);
u32 pirq_count(const struct domain *d); /* how many PIRQ numbers it has (nr_pirqs) */

int physdevop_map_pirq(void *arg);
/* ... the rest is in hypercall/physdev-op.c */

#endif
