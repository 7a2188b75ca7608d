/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domains that grant each other frames, with a pretend page table each: what the tests of grants stand on. */
#ifndef SERAI_TESTS_GRANTS_H
#define SERAI_TESTS_GRANTS_H

#include "domain/grant-pin.h"
#include "domain/page.h"
#include "fake.h"

#define DOMAINS 3u
#define VCPUS   2u
#define REFS    12u /* of each domain that the test uses */
#define FRAMES  4u  /* of each domain that it grants */
#define SLOTS   64u /* of each domain's pretend page table; address n * 8 + 8 is entry n */

struct slot {
    u64 mfn;
    bool present, writable;
};
extern struct slot slots[DOMAINS + 1][SLOTS];
extern bool slot_is_used; /* the CPU has looked at pages through the entries that go */

extern struct domain *domains[DOMAINS + 1]; /* by id, from 1 */
extern u64 frames[DOMAINS + 1][FRAMES];

/* A new machine with all the domains, none of which has granted anything. */
void grants_begin(void);
void grants_finish(void);

struct grant_entry_v1 *entry_of(unsigned id, u32 ref);
void grant_access(unsigned id, u32 ref, u16 to, u64 frame, u16 flags);
/* HYPERVISOR_grant_table_op by the current domain, until it is through. */
s64 call(unsigned op, void *arg, u32 count);
/* As a page table update does: the entry puts its own references. */
void slot_overwrite(struct slot *slot);
u64 refs_of(u64 mfn);
u8 *bytes(u64 mfn);
/* The domain dies and gives up what it mapped; only references of others are left. */
void end_domain(unsigned id);

#endif
