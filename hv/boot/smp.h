/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SERAI_BOOT_SMP_H
#define SERAI_BOOT_SMP_H

#include "base/types.h"

/* Boot, before memory goes to the allocator: finds a page below 1 MiB for the trampoline. */
void smp_reserve_trampoline(void);
/* Starts the other CPUs, one after the other; at most @max in all (0: every one), with @smt_off one of each core. */
void smp_start_others(unsigned max, bool smt_off);

#endif
