/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A machine with the hypervisor's own domains, vCPUs, scheduler, event channels and grants on pretend CPUs.
 * Only page tables, devices and the guests are missing.  One machine serves all tests of a program.
 */
#ifndef SERAI_TESTS_WORLD_H
#define SERAI_TESTS_WORLD_H

#include "domain/domain.h"

#define WORLD_CPUS 4u

extern struct domain *world_dom0;               /* hardware domain with two vCPUs */
extern int world_set_context_rc;                /* what ops->set_context answers */
extern u32 world_pirq_bound[64], world_pirq_rc; /* ports by PIRQ; what pirq_bind() answers */

/* Boots when called first; then makes dom0's vCPU 0 current on CPU 0. */
void world_begin(void);
/* A domain with vCPUs that are up, and page_max pages of allowance; unpaused. */
struct domain *world_domain(unsigned vcpus, u32 max_port);
/* Kills it to its end, from dom0; false if it is still in the table then. */
bool world_kill(struct domain *d);
/* A frame of @d's that it may write; its contents are at direct_ptr(). */
mfn_t world_frame(struct domain *d);
void *world_ptr(mfn_t mfn);

#endif
