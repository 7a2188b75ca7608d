/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The hypervisor's heap is the program's, so that the sanitizers see each object.  Tests of mm/heap.c link
 * the real one.
 */
#include "mm/heap.h"
#include "fake.h"
#include "fake-private.h"

#include <stdlib.h>
#include <string.h>

unsigned fake_heap_fail_in;

FAKE void *
heap_alloc(size_t size)
{
    if (fake_heap_fail_in && !--fake_heap_fail_in)
        return NULL;
    return aligned_alloc(size < 64 ? 16 : 64, ROUND_UP(size ? size : 1, size < 64 ? 16u : 64u));
}

FAKE void *
heap_zalloc(size_t size)
{
    void *ptr = heap_alloc(size);

    if (ptr)
        memset(ptr, 0, size);
    return ptr;
}

FAKE void *
heap_calloc(size_t count, size_t size)
{
    size_t total;

    return __builtin_mul_overflow(count, size, &total) ? NULL : heap_zalloc(total);
}

FAKE void
heap_free(void *ptr)
{
    free(ptr);
}

FAKE u64
heap_pages_used(void)
{
    return 0;
}
