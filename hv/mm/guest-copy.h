/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The only code that follows a guest's pointer.  Pointers are addresses in the address space of the current
 * vCPU.  Memory that the guest has not mapped, or the hypervisor's own, answers -EFAULT; nothing else
 * happens. A value is read once: copy, then check the copy.
 */
#ifndef SERAI_MM_GUEST_COPY_H
#define SERAI_MM_GUEST_COPY_H

#include "base/types.h"

int __must_check copy_from_guest(void *dst, u64 src, size_t size);
int __must_check copy_to_guest(u64 dst, const void *src, size_t size);
int __must_check clear_guest(u64 dst, size_t size);

/* The u32 at @src itself, or something negative: for arguments that are one port or one flag. */
s64 __must_check copy_u32_from_guest(u64 src);

/*
 * Element @i of the array that a guest handle points to.  The address arithmetic cannot wrap into the
 * hypervisor: the copy checks the final address, and an index is at most 32 bits.
 */
#define get_guest(handle, i, ptr) \
    copy_from_guest(ptr, (u64)(handle).p + (u64)(i) * sizeof(*(ptr)), sizeof(*(ptr)))
#define put_guest(handle, i, ptr) \
    copy_to_guest((u64)(handle).p + (u64)(i) * sizeof(*(ptr)), ptr, sizeof(*(ptr)))
#define guest_handle_is_null(handle) (!(handle).p)

#endif
