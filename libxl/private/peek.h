/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looking into the memory of a PV guest, a few pages at a time. */
#ifndef SERAI_PEEK_H
#define SERAI_PEEK_H

#include "private/hypercall.h"

/*
 * Copies @size bytes of a PV guest from @address on: a pseudo-physical address, or with @virt a virtual one
 * as the tables of vCPU 0 map it.  The guest may run meanwhile; then pages are of different moments.
 */
gboolean serai_peek(SeraiHv *hv, uint32_t domid, gboolean virt, uint64_t address, void *buffer, uint64_t size,
                    GError **error);

#endif
