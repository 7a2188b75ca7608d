/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the three files of the grant tables share; nobody else includes it. */
#ifndef SERAI_DOMAIN_GRANT_PRIVATE_H
#define SERAI_DOMAIN_GRANT_PRIVATE_H

#include "domain/domain.h"
#include "domain/grant.h"

#define SHARED_PER_PAGE   (PAGE_SIZE / sizeof(struct grant_entry_v1))
#define ACTIVE_PER_PAGE   (PAGE_SIZE / sizeof(struct grant_active))
#define MAPTRACK_PER_PAGE (PAGE_SIZE / sizeof(union maptrack))

/* An entry of a granter's table while somebody uses it.  All fields by its lock. */
struct grant_active {
    spinlock_t lock;
    u32 frame;      /* valid while there are pins */
    u16 domid;      /* who uses it, likewise */
    u16 read_pins;  /* mappings and copies that read */
    u16 write_pins; /* that write as well; they are not in read_pins */
    u16 pad;
};
static_assert(sizeof(struct grant_active) == 16, "four to a cache line");

#define PINS_MAX 0xff00u

/*
 * A mapping that the domain holds, by its handle.  Written by whoever claimed it (MAPTRACK_BUSY) or took it
 * from a free list, always as a whole; read as a whole.  Free: flags is 0 and ref is the next free handle
 * plus one.
 */
union maptrack {
    u64 word;
    struct {
        u32 ref;
        u16 domid; /* the granter */
        u16 flags; /* GNTMAP_* of the call, less what is unmapped; MAPTRACK_BUSY */
    };
};
static_assert(sizeof(union maptrack) == 8, "moved as one word");

#define MAPTRACK_BUSY 0x8000u
#define MAPTRACK_KEEP 0x1fu /* GNTMAP_device_map to GNTMAP_contains_pte */

struct grant_table {
    /* Read on each operation, without a lock: they only grow while the domain lives. */
    u32 entries;                    /* stored after the pages that it promises */
    u32 frames;                     /* (g) */
    struct grant_entry_v1 **shared; /* one a frame */
    struct grant_active **active;   /* two a frame */
    union maptrack **maptrack;
    u32 maptrack_count; /* handles that exist; stored after their page */
    u32 maptrack_max;

    spinlock_t lock; /* (g) growing, and the end */
    u32 frames_max;
    bool is_gone; /* (g) the last stage of relinquish has begun */

    spinlock_t maptrack_lock;  /* (k) */
    u32 maptrack_free;         /* (k) handles no vCPU has put by: first plus one */
    u32 maptrack_relinquished; /* handles below it are still to be looked at; valid while dying */

    struct domain *domain;
    struct work release_work;
    mfn_t *mfns; /* (g) of the shared frames */
};

static inline struct grant_entry_v1 *
shared_entry(struct grant_table *gt, u32 ref)
{
    return &READ_ONCE(gt->shared[ref / SHARED_PER_PAGE])[ref % SHARED_PER_PAGE];
}

static inline struct grant_active *
active_entry(struct grant_table *gt, u32 ref)
{
    return &gt->active[ref / ACTIVE_PER_PAGE][ref % ACTIVE_PER_PAGE];
}

void maptrack_relinquish_entry(struct domain *d, union maptrack entry);

#endif
