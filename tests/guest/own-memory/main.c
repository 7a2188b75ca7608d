/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the hypervisor keeps for itself: all RAM of the machine's map, less what is free, less what this only domain
 * has.  The frame table may cost 32 bytes a page, everything else 16 MiB (of which the M2P, 8 bytes a page, is ABI).
 */
#include "guest.h"

#define REST_MAX_KIB        (16u * 1024)
#define FRAME_TABLE_BYTES   32u /* a page: here and in Xen */
#define RAM                 1u
#define RANGES_MAX          128u

static u64
ram_pages(void)
{
    static struct {
        u64 address, size;
        u32 type;
    } __attribute__((packed)) ranges[RANGES_MAX];
    struct xen_memory_map map = {.nr_entries = RANGES_MAX};
    u64 pages = 0;

    set_xen_guest_handle(map.buffer, (void *)ranges);
    if (HYPERCALL(memory_op, XENMEM_machine_memory_map, &map))
        ERROR("no map of the machine's memory");
    for (u32 i = 0; i < map.nr_entries; i++)
        if (ranges[i].type == RAM)
            pages += ranges[i].size >> 12;
    return pages;
}

static u64
free_pages(void)
{
    static struct xen_sysctl op = {.cmd = XEN_SYSCTL_physinfo, .interface_version = XEN_SYSCTL_INTERFACE_VERSION};

    if (HYPERCALL(sysctl, &op))
        ERROR("physinfo refused");
    return op.u.physinfo.free_pages;
}

void
test_main(void)
{
    domid_t self = DOMID_SELF;
    u64 ram = ram_pages(), own = (ram - free_pages() - HYPERCALL(memory_op, XENMEM_current_reservation, &self)) * 4;
    u64 table = ram * FRAME_TABLE_BYTES / 1024, rest = own - table;

    print("memory: %lu KiB of RAM, the hypervisor's own %lu KiB: frame table %lu KiB, the rest %lu KiB\n", ram * 4, own, table, rest);
    CHECK(rest <= REST_MAX_KIB, "the hypervisor keeps %lu KiB besides its frame table; %u are its limit", rest, REST_MAX_KIB);
    SUCCESS();
}
