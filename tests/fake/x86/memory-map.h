/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stands in for hv/x86/memory-map.h: the same regions at addresses where a process can have memory. */
#ifndef SERAI_X86_MEMORY_MAP_H
#define SERAI_X86_MEMORY_MAP_H

#include "base/addr.h"

#define DIRECT_START      0x200000000000ull
#define DIRECT_END        0x208000000000ull
#define FRAME_TABLE_START 0x210000000000ull
#define M2P_START         0x220000000000ull
#define M2P_END           0x221000000000ull
#define M2P_RW_START      0x220000000000ull
#define WINDOW_START      0x1f0000000000ull
#define WINDOW_CPU_SIZE   (2ull << 20)
#define DEVICE_START      0x240000000000ull
#define IMAGE_START       0x250000000000ull

#define WINDOW_GDT   0u
#define WINDOW_LDT   16u
#define WINDOW_MAP   32u
#define WINDOW_STUB  511u
#define WINDOW_PAGES 512u

static inline void *
direct_ptr(maddr_t maddr)
{
    return (void *)(DIRECT_START + maddr.a);
}

static inline maddr_t
direct_maddr(const void *ptr)
{
    return _maddr((u64)ptr - DIRECT_START);
}

static inline mfn_t
direct_mfn(const void *ptr)
{
    return maddr_to_mfn(direct_maddr(ptr));
}

#endif
