/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between memory-op.c, which has the table, and memory-reservation.c, which has the operations that move
 * memory.
 */
#ifndef SERAI_HYPERCALL_MEMORY_OP_H
#define SERAI_HYPERCALL_MEMORY_OP_H

#include "domain/domain.h"

/*
 * Where the extents done begin in an operation number; a convention of the hypercall that the public headers
 * leave out.
 */
#define MEMOP_EXTENT_SHIFT 6

/*
 * A handler gets its argument copied in.  @start: extents done before (from the upper bits of the operation's
 * number); on -ERESTART *@next says where to go on.
 */
typedef s64 memory_op_fn(void *arg, u32 start, u32 *next);

memory_op_fn xenmem_increase_reservation, xenmem_decrease_reservation, xenmem_populate_physmap,
    xenmem_exchange, xenmem_get_vnumainfo;

/* The domain that @id names, if the caller may change its memory. */
int memory_op_domain(u16 id, struct domain **ret_domain);

#endif
