/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What platform_op, sysctl and debug keys are told by, and offer to, the boot code. */
#ifndef SERAI_HYPERCALL_PLATFORM_H
#define SERAI_HYPERCALL_PLATFORM_H

#include "base/types.h"

/*
 * The firmware's EFI system table, for dom0's kernel, which finds the ACPI tables by it.  All zero without
 * EFI.
 */
struct efi_system {
    u64 config_table; /* machine address of the EFI_CONFIGURATION_TABLE array */
    u32 config_entries;
    u32 revision; /* of the system table */
    u32 firmware_revision;
    u16 vendor[64]; /* UCS-2, ended by 0 */
};
extern struct efi_system efi_system; /* written once at boot */

/* Acts on a key of `xl debug-keys`, or typed on the serial port. */
void debug_key(char key);
/* From here on three times Ctrl-A on the serial port switches its input between the hypervisor and dom0. */
void debug_keys_init(void);

#endif
