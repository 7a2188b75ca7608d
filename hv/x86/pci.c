/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PCI configuration space; the contract is in pci.h. */
#include "x86/pci.h"

#include "abi/xen.h"
#include "base/addr.h"
#include "base/atomic.h"
#include "x86/acpi-info.h"
#include "x86/asm.h"
#include "x86/paging.h"
#include "base/spinlock.h"

/* Only ever added; the count is raised when the entry is whole.  Buses are mapped at their first use. */
static struct window {
    struct mmcfg_info where;
    volatile u8 *buses[256];
} windows[MMCFG_MAX];
static u32 window_count;

/* Guards the port pair, and the making of windows and their mappings. */
static spinlock_t pci_lock = SPINLOCK_INIT;

#define PORT_ADDRESS 0xcf8
#define PORT_DATA    0xcfc

#define BYTES_PER_BUS (1u << 20)

static struct window *
find_window(u16 segment, u8 bus)
{
    u32 n = atomic_read_acquire(&window_count);

    for (u32 i = 0; i < n; i++) {
        const struct mmcfg_info *w = &windows[i].where;

        if (w->segment == segment && bus >= w->bus_first && bus <= w->bus_last)
            return &windows[i];
    }
    return NULL;
}

int
pci_add_mmcfg(u64 address, u16 segment, u8 bus_first, u8 bus_last)
{
    struct window *window;
    int rc = 0;

    if (bus_last < bus_first || address & (BYTES_PER_BUS - 1) || address >= MFN_LIMIT << PAGE_SHIFT)
        return -EINVAL;

    spin_lock(&pci_lock);
    window = find_window(segment, bus_first);
    if (window) {
        if (window->where.address != address || window->where.bus_last < bus_last)
            rc = -EINVAL;
    } else if (window_count == MMCFG_MAX) {
        rc = -ENOMEM;
    } else {
        windows[window_count].where = (struct mmcfg_info){address, segment, bus_first, bus_last};
        atomic_set_release(&window_count, window_count + 1);
    }
    spin_unlock(&pci_lock);
    return rc;
}

static volatile u8 *
find_in_memory(struct pci_address pci, unsigned reg)
{
    struct window *window = find_window(pci.segment, pci.bus);
    volatile u8 *bus;

    if (!window)
        return NULL;
    bus = READ_ONCE(window->buses[pci.bus]);
    if (!bus) {
        spin_lock(&pci_lock);
        bus = window->buses[pci.bus];
        if (!bus) {
            /* MCFG's address is that of bus 0, whether the window begins there or not. */
            bus = paging_map_device(_maddr(window->where.address + (u64)pci.bus * BYTES_PER_BUS),
                                    BYTES_PER_BUS);
            window->buses[pci.bus] = bus;
        }
        spin_unlock(&pci_lock);
    }
    return bus ? bus + pci.devfn * 4096u + reg : NULL;
}

static bool
by_ports(struct pci_address pci, unsigned reg)
{
    return !pci.segment && reg < 256;
}

static void
select_register(struct pci_address pci, unsigned reg)
{
    outl(PORT_ADDRESS, 1u << 31 | pci.bus << 16 | pci.devfn << 8 | (reg & 0xfc));
}

u32
pci_read(struct pci_address pci, unsigned reg, unsigned size)
{
    volatile u8 *p = find_in_memory(pci, reg);
    u32 value = ~0u;

    if (p) {
        value = size == 1 ? *p : size == 2 ? *(volatile u16 *)p : *(volatile u32 *)p;
    } else if (by_ports(pci, reg)) {
        u16 port = PORT_DATA + (reg & 3);

        spin_lock(&pci_lock);
        select_register(pci, reg);
        value = size == 1 ? inb(port) : size == 2 ? inw(port) : inl(port);
        spin_unlock(&pci_lock);
    }
    return value;
}

void
pci_write(struct pci_address pci, unsigned reg, unsigned size, u32 value)
{
    volatile u8 *p = find_in_memory(pci, reg);

    if (p) {
        if (size == 1)
            *p = value;
        else if (size == 2)
            *(volatile u16 *)p = value;
        else
            *(volatile u32 *)p = value;
    } else if (by_ports(pci, reg)) {
        u16 port = PORT_DATA + (reg & 3);

        spin_lock(&pci_lock);
        select_register(pci, reg);
        if (size == 1)
            outb(port, value);
        else if (size == 2)
            outw(port, value);
        else
            outl(port, value);
        spin_unlock(&pci_lock);
    }
}

#define PCI_STATUS              0x06
#define PCI_STATUS_CAPABILITIES 0x10
#define PCI_CAPABILITIES        0x34

unsigned
pci_find_capability(struct pci_address pci, u8 id)
{
    unsigned at;

    if (!(pci_read(pci, PCI_STATUS, 2) & PCI_STATUS_CAPABILITIES))
        return 0;
    at = pci_read(pci, PCI_CAPABILITIES, 1) & 0xfc;
    /* A list that a broken device made a loop of ends after as many steps as fit into the space. */
    for (unsigned steps = 0; at >= 0x40 && steps < 48; steps++) {
        u16 head = pci_read(pci, at, 2);

        if ((u8)head == id)
            return at;
        at = head >> 8 & 0xfc;
    }
    return 0;
}
