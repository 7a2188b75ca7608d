/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Short-lived windows onto frames.  Memory in the direct map costs nothing; frames beyond it get a slot in
 * the CPU's window.  A mapping is used and dropped on the same CPU, in stack order.
 */
#ifndef SERAI_MM_MAP_H
#define SERAI_MM_MAP_H

#include "x86/memory-map.h"

#define DIRECT_FRAMES ((DIRECT_END - DIRECT_START) >> PAGE_SHIFT)

static_assert(WINDOW_START < DIRECT_START, "tells the two kinds of pointers apart");

void *map_frame_beyond(mfn_t mfn);
void unmap_frame_beyond(const void *ptr);

static inline void *
map_frame(mfn_t mfn)
{
    return likely(mfn_x(mfn) < DIRECT_FRAMES) ? direct_ptr(mfn_to_maddr(mfn)) : map_frame_beyond(mfn);
}

static inline void
unmap_frame(const void *ptr)
{
    if (unlikely((u64)ptr < DIRECT_START)) /* windows lie below it */
        unmap_frame_beyond(ptr);
}

#endif
