/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads the firmware's ACPI tables into acpi_info.  The tables are checked as if they came from a guest. */
#ifndef SERAI_BOOT_ACPI_H
#define SERAI_BOOT_ACPI_H

#include "x86/acpi-info.h"

/*
 * @rsdp: a copy of the root pointer as the boot loader passed it, or NULL to look in the BIOS area.  @map
 * gives access to @size bytes at a machine address, or NULL where there is no memory.
 */
void acpi_parse(const void *rsdp, size_t rsdp_size, const void *(*map)(u64 address, u64 size));

#endif
