/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Interrupts between pretend CPUs are written down, not delivered. */
#include "x86/apic.h"
#include "fake.h"
#include "fake-private.h"

struct fake_ipi fake_ipis[FAKE_IPI_MAX];
unsigned fake_ipi_count;

void
fake_reset_apic(void)
{
    fake_ipi_count = 0;
}

unsigned
fake_ipi_count_to(unsigned cpu, u8 vector)
{
    unsigned n = 0;

    for (unsigned i = 0; i < MIN(fake_ipi_count, FAKE_IPI_MAX); i++)
        n += fake_ipis[i].cpu == cpu && fake_ipis[i].vector == vector;
    return n;
}

FAKE void
apic_send(unsigned cpu, u8 vector)
{
    unsigned i = __atomic_fetch_add(&fake_ipi_count, 1, __ATOMIC_RELAXED);

    if (i < FAKE_IPI_MAX)
        fake_ipis[i] = (struct fake_ipi){cpu, vector};
}

FAKE void
apic_send_nmi(unsigned cpu)
{
    apic_send(cpu, 2);
}

FAKE void
apic_eoi(void)
{
}

FAKE u32
apic_id_of(unsigned cpu)
{
    return cpu;
}

FAKE bool
apic_is_x2apic(void)
{
    return false;
}
