/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A PV domain with one small address space, for tests of what guests do with page tables. */
#ifndef SERAI_TESTS_PV_SPACE_H
#define SERAI_TESTS_PV_SPACE_H

#include "domain/page.h"
#include "x86/pte.h"

/* Frames of the domain: its tables, then pages that nothing maps. */
enum { SPACE_L1 = 1, SPACE_L2, SPACE_L3, SPACE_L4, SPACE_DATA = 16, SPACE_FRAMES = 512 };

/* Where the one L1 table maps: slot n of it is SPACE_VA + n pages. */
#define SPACE_VA 0xffff888000000000ull
/* A slot through which the L1 table itself can be read. */
#define SPACE_SELF_SLOT 511u

extern struct domain *space_domain, *space_other; /* domains 1 and 2; the other owns SPACE_OTHER */
#define SPACE_OTHER (SPACE_FRAMES + 10u)

/* A new machine; vCPU 0 of space_domain runs on CPU 0, in its kernel, on the tables above. */
void space_create(void);
u64 *space_table(u64 mfn);

#endif
