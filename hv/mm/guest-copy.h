/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The only code that follows a guest's pointer.  Pointers are addresses in the address space of the current
 * vCPU.  Memory that the guest has not mapped, or the hypervisor's own, answers -EFAULT; nothing else
 * happens. A value is read once: copy, then check the copy.
 */
#ifndef SERAI_MM_GUEST_COPY_H
#define SERAI_MM_GUEST_COPY_H

#include "abi/xen.h"
#include "base/types.h"
#include "x86/userword.h"

#define GUEST_LOW_HALF_END (1ull << 47)

/*
 * Whether a range is whole inside one of the two that are a guest's: kernel addresses above us, user
 * addresses below.
 */
static inline bool
guest_range(u64 start, u64 size)
{
    if (likely(start >= HYPERVISOR_END))
        return size <= -start; /* up to the last byte there is, and no further */
    return start < GUEST_LOW_HALF_END && size <= GUEST_LOW_HALF_END - start;
}

int __must_check copy_from_guest(void *dst, u64 src, size_t size);
int __must_check copy_to_guest(u64 dst, const void *src, size_t size);
int __must_check clear_guest(u64 dst, size_t size);

/* One word. */
static inline int __must_check
copy_word_from_guest(u64 *ret_word, u64 src)
{
    u64 word;

    if (unlikely(!guest_range(src, sizeof(word))))
        return -EFAULT;
    user_open();
    word = user_load(src, fault);
    user_close();
    *ret_word = word;
    return 0;

fault:
    user_close();
    return -EFAULT;
}

/* The u32 at @src itself, or something negative: for arguments that are one port or one flag. */
static inline s64 __must_check
copy_u32_from_guest(u64 src)
{
    u32 value;

    if (unlikely(!guest_range(src, sizeof(value))))
        return -EFAULT;
    user_open();
    value = user_load_as(u32, src, fault);
    user_close();
    return value;

fault:
    user_close();
    return -EFAULT;
}

static inline int __must_check
copy_word_to_guest(u64 dst, u64 word)
{
    if (unlikely(!guest_range(dst, sizeof(word))))
        return -EFAULT;
    user_open();
    user_store(dst, word, fault);
    user_close();
    return 0;

fault:
    user_close();
    return -EFAULT;
}

/* Elements of a word go without a call. */
static inline __attribute__((always_inline)) int __must_check
copy_element_from_guest(void *dst, u64 src, size_t size)
{
    return size == sizeof(u64) ? copy_word_from_guest(dst, src) : copy_from_guest(dst, src, size);
}

static inline __attribute__((always_inline)) int __must_check
copy_element_to_guest(u64 dst, const void *src, size_t size)
{
    return size == sizeof(u64) ? copy_word_to_guest(dst, *(const u64 *)src) : copy_to_guest(dst, src, size);
}

/*
 * Element @i of the array that a guest handle points to.  The address arithmetic cannot wrap into the
 * hypervisor: the copy checks the final address, and an index is at most 32 bits.
 */
#define get_guest(handle, i, ptr) \
    copy_element_from_guest(ptr, (u64)(handle).p + (u64)(i) * sizeof(*(ptr)), sizeof(*(ptr)))
#define put_guest(handle, i, ptr) \
    copy_element_to_guest((u64)(handle).p + (u64)(i) * sizeof(*(ptr)), ptr, sizeof(*(ptr)))
#define guest_handle_is_null(handle) (!(handle).p)

#endif
