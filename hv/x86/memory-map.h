/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The hypervisor's address space: L4 slots 256 to 271 of every page table, by the ABI; a guest has the rest.
 *
 *   slot  start                what                                             guest may
 *   256   0xffff800000000000   machine-to-physical table, 8 bytes a frame       read
 *   257   0xffff808000000000   the same frames, writable                        -
 *   258   0xffff810000000000   frame table, 32 bytes a frame                    -
 *   259   0xffff818000000000   devices (UC), 0xffff81c000000000 per-CPU windows -
 *   260   0xffff820000000000   the image: text, data                            -
 *   261   (nothing)
 *   262   0xffff830000000000   direct map of the first 5 TiB of memory          -
 *   271   ... to its end
 */
#ifndef SERAI_X86_MEMORY_MAP_H
#define SERAI_X86_MEMORY_MAP_H

#include "base/addr.h"

#define M2P_START         0xffff800000000000ull
#define M2P_END           0xffff808000000000ull
#define M2P_RW_START      0xffff808000000000ull
#define FRAME_TABLE_START 0xffff810000000000ull
#define DEVICE_START      0xffff818000000000ull
#define WINDOW_START      0xffff81c000000000ull
#define WINDOW_CPU_SIZE   (2ull << 20) /* one L1 table a CPU */
#define IMAGE_START       0xffff820000000000ull
#define DIRECT_START      0xffff830000000000ull
#define DIRECT_END        0xffff880000000000ull

/*
 * A CPU's window: 512 pages of address space whose L1 table it writes alone.
 * Pages 0-15: the GDT (guest's 14 frames, then the CPU's own two); 16-31: the guest's LDT; 32-510: mm/map.c;
 * 511: the SYSCALL stub.
 */
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
