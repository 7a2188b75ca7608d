/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A buddy allocator.  It owns all frames in state FREE.
 *
 * A free block is 2^order frames, naturally aligned.  All blocks are in lists by three keys:
 *
 *   zone    the number of bits of its frame numbers.  Frame 0 is never free, so all frames of an aligned
 *           block have their top bit in common, and a limit on the address is a limit on the zone.  High
 *           zones are used up first.
 *   order   0 to FRAME_ORDER_MAX
 *   state   clean: every byte is zero and no CPU has a translation left; or dirty: neither is known
 *
 * Two buddies merge when both are free and in one state.  frame_free() makes dirty blocks, frame_scrub() and
 * whoever allocates turn them into clean ones; so a page that is handed out cost its zeroing in idle time, if
 * there was any.
 *
 * Of a block's first frame, `type` holds BLOCK_HEAD, its order and its state, `next` and `prev` the links of
 * the list; its `stamp` is the latest of the block's frames.  Other frames of a free block have type 0.
 *
 * One lock, a leaf, held for a bounded number of steps and never while memory is zeroed or a TLB is flushed.
 */
#include "base/panic.h"
#include "base/string.h"
#include "mm/frame-alloc.h"
#include "mm/map.h"
#include "base/spinlock.h"
#include "x86/tlb.h"

/*
 * Idle time goes into scrubbing until this much is clean: enough for several guests to start at once, and not
 * so much that all of a large machine's memory is written for nothing.
 */
#define CLEAN_TARGET ((512ull << 20) >> PAGE_SHIFT)

/* Larger blocks are zeroed in idle time or not at all: the caller makes do with smaller ones. */
#define SCRUB_ORDER_MAX 10u

#define ZONES       33u
#define BLOCK_HEAD  (1ull << 63)
#define BLOCK_DIRTY (1ull << 8)

struct zone {
    u32 orders; /* bit n: head[n] is not empty */
    u32 head[FRAME_ORDER_MAX + 1];
};

/* By state (clean, dirty), then zone.  A head is valid only where its bit in orders is set. */
static struct zone zones[2][ZONES];
static u64 zones_used[2]; /* bit n: zones[state][n] has a block */
static u64 free_count, dirty_count, total_count;
static spinlock_t lock = SPINLOCK_INIT;

static unsigned
zone_of(u64 n)
{
    return 64 - (unsigned)__builtin_clzll(n);
}

/* The one that comes later on the TLB clock, which may wrap; 0 is no time at all. */
static u32
later(u32 a, u32 b)
{
    return !a || (b && (s32)(b - a) > 0) ? b : a;
}

static inline void
zone_push(struct zone *zone, u64 n, unsigned order, bool dirty)
{
    struct frame *frame = frame_of(_mfn(n));

    frame->type = BLOCK_HEAD | order | (dirty ? BLOCK_DIRTY : 0);
    frame->prev = FRAME_NONE;
    frame->next = FRAME_NONE;
    if (zone->orders & 1u << order) {
        frame->next = zone->head[order];
        frame_of(_mfn(frame->next))->prev = (u32)n;
    }
    zone->head[order] = (u32)n;
    zone->orders |= 1u << order;
}

static void
list_push(u64 n, unsigned order, bool dirty)
{
    zone_push(&zones[dirty][zone_of(n)], n, order, dirty);
    zones_used[dirty] |= 1ull << zone_of(n);
}

static void
list_remove(u64 n, unsigned order, bool dirty)
{
    struct zone *zone = &zones[dirty][zone_of(n)];
    struct frame *frame = frame_of(_mfn(n));

    if (frame->next != FRAME_NONE)
        frame_of(_mfn(frame->next))->prev = frame->prev;
    if (frame->prev != FRAME_NONE) {
        frame_of(_mfn(frame->prev))->next = frame->next;
    } else {
        zone->head[order] = frame->next;
        if (frame->next == FRAME_NONE) {
            zone->orders &= ~(1u << order);
            if (!zone->orders)
                zones_used[dirty] &= ~(1ull << zone_of(n));
        }
    }
    frame->type = 0;
    frame->next = frame->prev = FRAME_NONE;
}

/* Puts the block into its list, merged with its buddies as far as that goes. */
static void
block_insert(u64 n, unsigned order, bool dirty)
{
    u32 stamp = frame_of(_mfn(n))->stamp;

    while (order < FRAME_ORDER_MAX) {
        u64 buddy = n ^ 1ull << order;
        struct frame *frame = frame_find(_mfn(buddy));

        if (!frame || (frame->count & FRAME_STATE) != FRAME_STATE_FREE ||
            frame->type != (BLOCK_HEAD | order | (dirty ? BLOCK_DIRTY : 0)))
            break;
        list_remove(buddy, order, dirty);
        stamp = later(stamp, frame->stamp);
        n &= ~(1ull << order);
        order++;
    }
    frame_of(_mfn(n))->stamp = stamp;
    list_push(n, order, dirty);
}

/* Takes a block of @order from the lists of one state; 0 when there is none below zone @top. */
static u64
block_take(unsigned order, unsigned top, bool dirty)
{
    u64 candidates = zones_used[dirty] & ((2ull << top) - 1);

    while (candidates) {
        struct zone *zone = &zones[dirty][zone_of(candidates) - 1];
        u32 orders = zone->orders & ~0u << order;

        if (orders) {
            unsigned have = (unsigned)__builtin_ctz(orders);
            u64 n = zone->head[have];
            u32 stamp = frame_of(_mfn(n))->stamp;

            list_remove(n, have, dirty);
            /* The upper halves go back; their buddies, the lower ones, are in use, so nothing merges. */
            if (have > order)
                zones_used[dirty] |= 1ull << (zone - zones[dirty]);
            while (have > order) {
                have--;
                frame_of(_mfn(n + (1ull << have)))->stamp = stamp;
                zone_push(zone, n + (1ull << have), have, dirty);
            }
            return n;
        }
        candidates &= ~(1ull << (zone_of(candidates) - 1));
    }
    return 0;
}

static void
scrub(u64 n, unsigned order)
{
    for (u64 i = 0; i < 1ull << order; i++) {
        void *page = map_frame(_mfn(n + i));

        memset(page, 0, PAGE_SIZE);
        unmap_frame(page);
    }
}

static mfn_t
alloc(unsigned order, unsigned address_bits, bool zeroed)
{
    unsigned top = ZONES - 1;
    bool dirty = !zeroed;
    u64 n, count = 1ull << order;
    u32 stamp;

    if (order > FRAME_ORDER_MAX)
        return MFN_INVALID;
    if (address_bits) {
        if (address_bits <= PAGE_SHIFT)
            return MFN_INVALID;
        top = MIN(top, address_bits - PAGE_SHIFT);
    }

    spin_lock(&lock);
    n = block_take(order, top, dirty);
    if (!n && (!zeroed || order <= SCRUB_ORDER_MAX)) {
        dirty = !dirty;
        n = block_take(order, top, dirty);
    }
    if (!n) {
        spin_unlock(&lock);
        return MFN_INVALID;
    }
    free_count -= count;
    if (dirty)
        dirty_count -= count;
    stamp = frame_of(_mfn(n))->stamp;
    for (u64 i = 0; i < count; i++)
        frame_of(_mfn(n + i))->count = FRAME_STATE_HEAP;
    spin_unlock(&lock);

    if (dirty) {
        /* Flush first: what an old translation writes must not come after the zeroes. */
        if (stamp)
            tlb_flush_stale(&cpu_online, stamp);
        frame_of(_mfn(n))->stamp = 0;
        if (zeroed)
            scrub(n, order);
    }
    return _mfn(n);
}

mfn_t
frame_alloc(unsigned order, unsigned address_bits)
{
    return alloc(order, address_bits, true);
}

mfn_t
frame_alloc_raw(unsigned order, unsigned address_bits)
{
    return alloc(order, address_bits, false);
}

static void
free_block(u64 n, unsigned order, bool dirty)
{
    u64 count = 1ull << order;
    u32 stamp = 0;

    for (u64 i = 0; i < count; i++) {
        struct frame *frame = frame_of(_mfn(n + i));

        stamp = later(stamp, frame->stamp);
        frame->type = 0;
        frame->owner = DOMID_INVALID;
        frame->count = FRAME_STATE_FREE;
        frame->partial = 0;
        frame->stamp = 0;
    }
    frame_of(_mfn(n))->stamp = stamp;
    spin_lock(&lock);
    free_count += count;
    if (dirty)
        dirty_count += count;
    block_insert(n, order, dirty);
    spin_unlock(&lock);
}

void
frame_free(mfn_t mfn, unsigned order)
{
    free_block(mfn_x(mfn), order, true);
}

void
frame_free_range(mfn_t start, u64 count)
{
    u64 n = mfn_x(start);

    while (count) {
        unsigned order = MIN((unsigned)__builtin_ctzll(n | 1ull << FRAME_ORDER_MAX), zone_of(count) - 1);

        free_block(n, order, true);
        n += 1ull << order;
        count -= 1ull << order;
    }
}

void
frame_alloc_add(mfn_t start, u64 count)
{
    if (!mfn_x(start) && count) {
        start = _mfn(1);
        count--;
    }
    total_count += count;
    frame_free_range(start, count);
}

u64
frame_free_count(void)
{
    return atomic_read(&free_count);
}

u64
frame_total_count(void)
{
    return total_count;
}

u64
frame_dirty_count(void)
{
    return atomic_read(&dirty_count);
}

static bool
wants_scrubbing(void)
{
    u64 dirty = atomic_read(&dirty_count);

    return dirty && atomic_read(&free_count) - dirty < CLEAN_TARGET;
}

static bool
scrub_one(unsigned count)
{
    unsigned order = 0;
    u64 n = 0;
    u32 stamp = 0;

    while (order < FRAME_ORDER_MAX && 1u << (order + 1) <= count)
        order++;

    spin_lock(&lock);
    /* The largest that fits, else something smaller: all dirty blocks have their turn. */
    for (;; order--) {
        n = block_take(order, ZONES - 1, true);
        if (n || !order)
            break;
    }
    if (n) {
        free_count -= 1ull << order;
        dirty_count -= 1ull << order;
        stamp = frame_of(_mfn(n))->stamp;
        for (u64 i = 0; i < 1ull << order; i++)
            frame_of(_mfn(n + i))->count = FRAME_STATE_HEAP;
    }
    spin_unlock(&lock);
    if (!n)
        return false;

    if (stamp)
        tlb_flush_stale(&cpu_online, stamp);
    scrub(n, order);
    frame_of(_mfn(n))->stamp = 0;
    free_block(n, order, false);
    return wants_scrubbing();
}

/* One CPU at a time: the idle ones would only queue for the allocator's lock, before those who have work. */
bool
frame_scrub(unsigned count)
{
    static spinlock_t scrubber = SPINLOCK_INIT;
    bool more;

    if (!wants_scrubbing() || !spin_trylock(&scrubber))
        return false;
    more = scrub_one(count);
    spin_unlock(&scrubber);
    return more;
}

void *
page_alloc_hv(void)
{
    mfn_t mfn = frame_alloc(0, DIRECT_ADDRESS_BITS);

    return mfn_equal(mfn, MFN_INVALID) ? NULL : direct_ptr(mfn_to_maddr(mfn));
}

void
page_free_hv(void *page)
{
    frame_free(direct_mfn(page), 0);
}
