/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entries of guests' page tables: what each may say, and the references it stands for.  All of this happens
 * under the page_table_lock of the domain that owns the table.
 */
#ifndef SERAI_PV_TABLE_H
#define SERAI_PV_TABLE_H

#include "domain/domain.h"
#include "x86/pte.h"

/* Entries (of L1) that one call may make or unmake before it returns -ERESTART. */
#ifndef PV_TYPE_BUDGET
#define PV_TYPE_BUDGET 4096
#endif

/*
 * Takes the references of a present L1 entry that is about to be put into a table of @d, and makes of *@pte
 * what the CPU is to see.  @owner: the domain number whose page it must be.  -EINVAL bits that may not be
 * set; -EPERM device memory that is not permitted; -EBUSY not @owner's, or writable and in use as something
 * that must not be written.
 */
int pv_l1_get(const struct domain *d, u16 owner, pte_t *pte);
/*
 * Gives back the references of an entry of @d's that the CPUs cannot reach any more.  @pte need not be
 * present.  Flushes @d's CPUs first when the page is another domain's.
 */
void pv_l1_put(const struct domain *d, pte_t pte);

/* What is stored over @old when @new maps the same page with the same access and caching. */
pte_t pv_l1_same_page(const struct domain *d, pte_t old, pte_t new);

/*
 * The same for entries of tables of @type, L2 to L4.  -EINVAL, -ERESTART; put keeps the references with
 * -ERESTART.
 */
int pv_upper_get(const struct domain *d, u64 type, pte_t *pte);
int pv_upper_put(pte_t pte);

/*
 * Replaces an entry that belongs to a validated table of @d; -ERESTART leaves it as it was, or a leftover in
 * @v.
 */
int pv_l1_update(const struct domain *d, pte_t *entry, pte_t new, u16 owner, bool keep_ad);
int pv_upper_update(struct vcpu *v, const struct domain *d, u64 type, pte_t *entry, pte_t new, bool keep_ad);

/* The bits that the CPU sets itself; entries that differ in no more than these mean the same. */
#define PTE_HARDWARE (PTE_A | PTE_D)

/* The L1 entry for @va in @v's kernel page tables; NULL when there is none.  Ends with unmap_frame(). */
pte_t *pv_l1_entry(const struct vcpu *v, u64 va);

/*
 * Gives back the type and general reference to a table.  What takes too long is left to @v, which finishes it
 * before it does anything else with page tables: then -ERESTART, and the caller's references are @v's.
 */
int pv_table_put(struct vcpu *v, struct frame *frame);
/* Goes on with such a leftover; -ERESTART.  Takes the lock itself. */
int pv_finish_leftover(struct vcpu *v);

/* pv/ptwr.c: the guest kernel's write to an L1 table, at @va; true when it was carried out. */
bool pv_trapped_write(struct vcpu *v, u64 va, struct cpu_user_regs *regs);

#endif
