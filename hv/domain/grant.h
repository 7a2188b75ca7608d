/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Grant tables, version 1: granting, mapping, copying frames between domains. */
#ifndef SERAI_DOMAIN_GRANT_H
#define SERAI_DOMAIN_GRANT_H

#include "domain/domain.h"

int grant_init(struct domain *d, s32 max_frames, s32 max_maptrack_frames); /* -1: the defaults */
/* A dying domain unmaps all that it mapped of others; -ERESTART in between. */
int grant_relinquish(struct domain *d);
void grant_fini(struct domain *d);

/* The frame behind index @idx of @d's table for XENMAPSPACE_grant_table and the PV mapping; grows the table as asked for. */
int grant_frame_mfn(struct domain *d, u32 idx, mfn_t *ret_mfn);

/* Toolstack: reserved entries for console and store (GNTTAB_RESERVED_*), seeded when a domain is built. */
int grant_seed(struct domain *d, u32 ref, u16 to, u64 gfn);

/* Hooks that pv/mmu.c calls when a guest overwrites, by mmu_update, an entry that maps a grant. */
void grant_dump(struct domain *d); /* debug-keys g */

/* pv/mmu.c provides these to grant.c: put or take one host mapping in the current domain's tables. */
int pv_grant_map(u64 host_addr, mfn_t mfn, u32 flags, unsigned cache);
int pv_grant_unmap(u64 host_addr, mfn_t mfn, u64 new_addr_or_pte, u32 flags);

#endif
