/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The local APIC's side of bringing CPUs up. */
#ifndef SERAI_X86_APIC_INIT_H
#define SERAI_X86_APIC_INIT_H

#include "base/types.h"

void apic_init_boot(void); /* chooses xAPIC or x2APIC, maps the registers */
void apic_cpu_init(void);  /* each CPU */
void apic_timer_calibrate(void);
void apic_send_init(u32 apic_id);
void apic_send_startup(u32 apic_id, u8 page);
u32 apic_own_id(void);
void apic_log_error(void);

#endif
