/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Local APICs: who is who, interrupts between CPUs, the one-shot timer. */
#ifndef SERAI_X86_APIC_H
#define SERAI_X86_APIC_H

#include "base/cpumask.h"

/* Vectors, from the top; 0x20 to 0xef are for devices (x86/irq.c hands them out). */
enum {
    VECTOR_DEVICE_FIRST = 0x30,
    VECTOR_DEVICE_LAST = 0xef,
    VECTOR_TIMER = 0xf9,
    VECTOR_FLUSH = 0xfa,   /* answer requests of other CPUs */
    VECTOR_SOFTIRQ = 0xfb, /* look at softirqs and events on the way out */
    VECTOR_ERROR = 0xfe,
    VECTOR_SPURIOUS = 0xff,
};

void apic_eoi(void);
u32 apic_id_of(unsigned cpu);
bool apic_is_x2apic(void);
void apic_send(unsigned cpu, u8 vector);
void apic_send_nmi(unsigned cpu);
/* The same where an NMI may have interrupted another command half way. */
void apic_send_nmi_from_nmi(unsigned cpu);
/* Lets an overflow of the CPU's own event counter arrive as an NMI; each one masks it again. */
void apic_unmask_counter_nmi(void);

/* Interrupts this CPU with VECTOR_TIMER when time_now_ns() reaches @deadline_ns; 0 stops the timer. */
void apic_set_timer(u64 deadline_ns);

#endif
