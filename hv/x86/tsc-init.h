/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SERAI_X86_TSC_INIT_H
#define SERAI_X86_TSC_INIT_H

/* Boot: finds the TSC's frequency and reads the CMOS clock.  Needs acpi_info. */
void tsc_init(void);

#endif
