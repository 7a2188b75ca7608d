/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* NMIs, machine checks, and the watchdog over the hypervisor itself. */
#ifndef SERAI_BOOT_NMI_H
#define SERAI_BOOT_NMI_H

#include "base/types.h"

/* Once, on the boot CPU, before nmi_cpu_init(). */
void nmi_init(void);

/*
 * On each CPU, by itself, when its timers work: lets it report machine checks, tells those that are left from before the
 * boot.  -ENOMEM.
 */
int nmi_cpu_init(void);

/*
 * The option "watchdog": a CPU that takes no timer interrupt for WATCHDOG_NS panics.  Once, when all CPUs are up.  Says in
 * one line where its NMIs come from, or that there are none.
 */
void watchdog_start(void);

#endif
