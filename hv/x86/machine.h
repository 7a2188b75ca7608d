/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Switching the machine off and on, and the last things before that. */
#ifndef SERAI_X86_MACHINE_H
#define SERAI_X86_MACHINE_H

#include "base/types.h"

/* noreboot on the command line: errors and dom0's crash end in a halt that leaves the console readable. */
extern bool machine_noreboot;

/* Boot: panics and log stamps work from now on. */
void machine_init(void);

void machine_reboot(void) __noreturn;
void machine_halt(void) __noreturn;
void machine_power_off(void) __noreturn;

/* Reboots after a few seconds for the reader, or halts under noreboot. */
void machine_restart_after_error(void) __noreturn;

/* The dom0 kernel's wish: SHUTDOWN_poweroff, reboot, crash, watchdog; logs the reason. */
void machine_shutdown(u8 reason) __noreturn;

/* Stops all other CPUs where they are. */
void machine_stop_others(void);
bool machine_is_stopping(void);
void machine_halt_this_cpu(void) __noreturn;
void machine_log_stack(void);

/*
 * ACPI sleep as dom0 asks (XENPF_enter_acpi_sleep): writes its values to the PM1 control ports named by the
 * FADT.  Returns -EINVAL for anything but S5.
 */
int machine_enter_acpi_sleep(u16 pm1a_value, u16 pm1b_value, u32 state);

#endif
