/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SERAI_FAKE_PRIVATE_H
#define SERAI_FAKE_PRIVATE_H

/* Any test may bring its own. */
#define FAKE __attribute__((weak))

void fake_reset_clock(void);
void fake_reset_softirq(void);
void fake_reset_apic(void);
void fake_reset_tlb(void);
void fake_reset_guest(void);
void fake_reset_log(void);
void fake_reset_paging(void);

#endif
