/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory before there is an allocator: a list of ranges that are taken, and a search from the top of the
 * highest usable range downwards.  Ends when boot_release_rest() gives the remainder to mm/frame-alloc.c.
 */
#include "base/log.h"
#include "base/panic.h"
#include "base/string.h"
#include "mm/frame-alloc.h"
#include "x86/machine.h"
#include "x86/memory-range.h"
#include "x86/paging.h"

#define RESERVED_MAX 512u

struct memory_range memory_ranges[MEMORY_RANGE_MAX];
unsigned memory_range_count;
u64 boot_alloc_limit = 4ull << 30; /* raised when the direct map covers more */

static struct {
    u64 start, end;
} reserved[RESERVED_MAX];
static unsigned reserved_count;

void
boot_reserve(u64 start, u64 end)
{
    unsigned i;

    start = ROUND_DOWN(start, PAGE_SIZE);
    end = ROUND_UP(end, PAGE_SIZE);
    if (start >= end)
        return;
    /* Page tables are taken one below the other: grow the neighbour. */
    for (i = 0; i < reserved_count; i++) {
        if (reserved[i].start == end) {
            reserved[i].start = start;
            return;
        }
    }
    if (reserved_count == RESERVED_MAX)
        panic("the boot loader's memory map is too fragmented");
    reserved[reserved_count].start = start;
    reserved[reserved_count++].end = end;
}

/* The reserved range that overlaps [start, end), highest end first; -1 when there is none. */
static int
find_overlap(u64 start, u64 end)
{
    int found = -1;

    for (unsigned i = 0; i < reserved_count; i++)
        if (reserved[i].start < end && reserved[i].end > start &&
            (found < 0 || reserved[i].end > reserved[found].end))
            found = i;
    return found;
}

void *
boot_alloc(u64 pages, u64 align_pages)
{
    u64 size = pages * PAGE_SIZE, align = align_pages * PAGE_SIZE;

    for (unsigned r = memory_range_count; r-- > 0;) {
        u64 top = MIN(memory_ranges[r].end, boot_alloc_limit);

        if (memory_ranges[r].type != MEMORY_RAM)
            continue;
        while (top >= size) {
            u64 start = ROUND_DOWN(top - size, align);
            int overlap;

            if (start < memory_ranges[r].start || start < (1u << 20) || start > top)
                break;
            overlap = find_overlap(start, start + size);
            if (overlap < 0) {
                boot_reserve(start, start + size);
                return memset(direct_ptr(_maddr(start)), 0, size);
            }
            top = reserved[overlap].start;
        }
    }
    log_err("Too little memory to start: give the machine more memory, or dom0 a smaller initrd.");
    machine_restart_after_error();
}

/* The end of the free stretch that begins at @start, and in *@next where to look after it. */
static u64
free_stretch(u64 start, u64 end, u64 *next)
{
    u64 stop = end;

    *next = end;
    for (unsigned i = 0; i < reserved_count; i++) {
        if (reserved[i].start <= start && reserved[i].end > start) {
            *next = reserved[i].end;
            return start;
        }
        if (reserved[i].start > start && reserved[i].start < stop) {
            stop = reserved[i].start;
            *next = reserved[i].end;
        }
    }
    return stop;
}

void
boot_release_rest(void)
{
    for (unsigned r = 0; r < memory_range_count; r++)
        if (memory_ranges[r].type == MEMORY_RAM)
            frame_table_add(_mfn(DIV_ROUND_UP(memory_ranges[r].start, PAGE_SIZE)),
                            (memory_ranges[r].end >> PAGE_SHIFT) -
                                DIV_ROUND_UP(memory_ranges[r].start, PAGE_SIZE));
    for (unsigned r = 0; r < memory_range_count; r++) {
        u64 start = MAX(ROUND_UP(memory_ranges[r].start, PAGE_SIZE), PAGE_SIZE);
        u64 end = ROUND_DOWN(memory_ranges[r].end, PAGE_SIZE), next;

        if (memory_ranges[r].type != MEMORY_RAM || start >= end)
            continue;
        frame_table_add(_mfn(start >> PAGE_SHIFT), (end - start) >> PAGE_SHIFT);
        for (; start < end; start = next) {
            u64 stop = free_stretch(start, end, &next);

            if (stop > start)
                frame_alloc_add(_mfn(start >> PAGE_SHIFT), (stop - start) >> PAGE_SHIFT);
        }
    }
}
