/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PCI configuration space: through memory (ECAM) where ACPI's MCFG or dom0 has named it, else through ports
 * 0xcf8 and 0xcfc.  One lock guards the port pair, which dom0 reaches through the hypervisor only.
 */
#ifndef SERAI_X86_PCI_H
#define SERAI_X86_PCI_H

#include "base/types.h"

struct pci_address {
    u16 segment;
    u8 bus, devfn;
};

/* @size 1, 2 or 4, aligned; @reg below 4096.  Out of reach, reads give all ones and writes do nothing. */
u32 pci_read(struct pci_address pci, unsigned reg, unsigned size);
void pci_write(struct pci_address pci, unsigned reg, unsigned size, u32 value);

/* A segment's ECAM window; from MCFG at boot and PHYSDEVOP_pci_mmcfg_reserved.  -ENOMEM, -EINVAL. */
int pci_add_mmcfg(u64 address, u16 segment, u8 bus_first, u8 bus_last);

/* Where capability @id lies; 0: there is none. */
unsigned pci_find_capability(struct pci_address pci, u8 id);

#endif
