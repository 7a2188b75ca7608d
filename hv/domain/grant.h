/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Grant tables, version 1: granting, mapping, copying frames between domains. */
#ifndef SERAI_DOMAIN_GRANT_H
#define SERAI_DOMAIN_GRANT_H

#include "domain/domain.h"

/* Limits that no domain may be given more than (gnttab_max_frames=, gnttab_max_maptrack_frames=). */
extern u32 grant_frames_limit, grant_maptrack_frames_limit;

/* -1: the defaults, which are the limits.  -EINVAL past them or below one frame, -ENOMEM. */
int grant_init(struct domain *d, s32 max_frames, s32 max_maptrack_frames);
/*
 * A dying domain, all its vCPUs stopped, unmaps all that it mapped of others and gives up its table;
 * -ERESTART in between.
 */
int grant_relinquish(struct domain *d);
void grant_fini(struct domain *d); /* nobody can refer to it any more */

/*
 * The frame behind index @idx of @d's table for XENMAPSPACE_grant_table and the PV mapping; grows the table
 * as asked for.
 */
int grant_frame_mfn(struct domain *d, u32 idx, mfn_t *ret_mfn);
/* At least @frames frames; -EINVAL past the domain's limit or when it dies, -ENOMEM. */
int grant_grow(struct domain *d, u32 frames);
u32 grant_frames(const struct domain *d); /* in use, at least one */
u32 grant_frames_max(const struct domain *d);

/* Toolstack: reserved entries for console and store (GNTTAB_RESERVED_*), seeded when a domain is built. */
int grant_seed(struct domain *d, u32 ref, u16 to, u64 gfn);

void grant_dump(struct domain *d); /* debug-keys g */

/* --- grant-map.c; the caller is the current domain; GNTST_* come back in the operation --- */

void grant_map(struct gnttab_map_grant_ref *op);

/*
 * Unmapping has two halves.  The first takes the mapping out of the page tables and forgets the handle; the
 * second, once for a batch, flushes TLBs and then lets go of the frames.  Nothing may leave the hypervisor
 * between the two.
 */
struct grant_unmapped {
    struct domain *granter;
    mfn_t mfn;
    u32 ref;
    u32 done; /* GNTMAP_host_map, GNTMAP_device_map, GNTMAP_readonly; 0: nothing to finish */
    bool flush;
};
int grant_unmap(u32 handle, u64 host_addr, u64 dev_bus_addr, u64 new_addr, struct grant_unmapped *ret);
void grant_unmap_finish(const struct grant_unmapped *batch, unsigned count);

/* --- grant-copy.c --- */

/* One end of a copy; kept from one operation of a batch to the next, which often has the same frame there. */
struct grant_copy_end {
    struct domain *domain; /* NULL: nothing is held */
    struct frame *frame;
    u64 source; /* the reference or frame number it was found by */
    u16 domid;  /* as the operation named it */
    bool by_ref, writable;
};
struct grant_copy_state {
    struct grant_copy_end from, to;
};
int grant_copy(const struct gnttab_copy *op, struct grant_copy_state *state);
void grant_copy_finish(struct grant_copy_state *state);

/* Exchanges two of the current domain's entries; -12 (GNTST_eagain) while one is in use. */
int grant_swap(u32 ref_a, u32 ref_b);

/*
 * pv/grant-map.c provides these to grant.c.
 *
 * A host mapping is an L1 entry of the current domain, found by virtual address or (GNTMAP_contains_pte) by
 * the machine address of the entry.  The entry owns the references to the frame: a general one and, when
 * writable, a type reference FRAME_TYPE_WRITABLE.  grant.c takes them before pv_grant_map(), which writes
 * the entry only; what was there before is put as for any update.  When a guest overwrites the entry by
 * other means, or takes its page table apart, the page table code puts them as for any other frame; the
 * grant then stays pinned until its mapper dies.
 *
 * pv_grant_unmap() clears the entry, or moves there what @new_addr maps, and leaves its references to the
 * caller, who flushes TLBs first.  It must refuse an entry that is not present, does not map @mfn, or is
 * not writable where @flags say so and the reverse: that a handle fits its entry is checked nowhere else.
 * No page table update may make or copy an entry for a frame of another domain, so there are never more
 * such entries than pins.
 *
 * Both return -EINVAL and change nothing when they fail.  pv_grant_map() returns 0 and leaves the entry's
 * accessed bit clear; pv_grant_unmap() returns 1 when that bit was set meanwhile, else 0: then no CPU has
 * cached the translation (SDM vol. 3, 4.10.2.3), and a page that only devices looked at needs no flush.
 */
int pv_grant_map(u64 host_addr, mfn_t mfn, u32 flags, unsigned cache);
int pv_grant_unmap(u64 host_addr, mfn_t mfn, u64 new_addr, u32 flags);

#endif
