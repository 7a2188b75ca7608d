/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading and writing at a guest's addresses.  The page tables of the current vCPU decide what is there: a
 * page that the guest itself could not reach faults, and the copy stops.  A kernel page is a user page for
 * the CPU here (both are ring 3), so it takes one check of ours: the range must not touch the hypervisor's
 * slots.
 */
#include "abi/xen.h"
#include "mm/guest-copy.h"
#include "x86/usercopy.h"

int
copy_from_guest(void *dst, u64 src, size_t size)
{
    if (unlikely(!guest_range(src, size)))
        return -EFAULT;
    return likely(!usercopy_in(dst, (const void *)src, size)) ? 0 : -EFAULT;
}

int
copy_to_guest(u64 dst, const void *src, size_t size)
{
    if (unlikely(!guest_range(dst, size)))
        return -EFAULT;
    return likely(!usercopy_out((void *)dst, src, size)) ? 0 : -EFAULT;
}

int
clear_guest(u64 dst, size_t size)
{
    if (unlikely(!guest_range(dst, size)))
        return -EFAULT;
    return likely(!usercopy_clear((void *)dst, size)) ? 0 : -EFAULT;
}
