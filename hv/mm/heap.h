/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Small objects of the hypervisor.  What a guest can cause to be allocated is bounded by its owner, not here.
 */
#ifndef SERAI_MM_HEAP_H
#define SERAI_MM_HEAP_H

#include "base/types.h"

/* Aligned to 16 bytes (64 from 64 bytes on); NULL when memory is short. */
void *heap_alloc(size_t size);
void *heap_zalloc(size_t size);
/* @count objects of @size, zeroed; NULL also when the product overflows. */
void *heap_calloc(size_t count, size_t size);
void heap_free(void *ptr); /* NULL allowed */
u64 heap_pages_used(void);

#endif
