/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * malloc() for libraries that run once at boot: each allocation is a block of whole frames with a header in
 * front, in one list, so that leaving frees what a library gave up on.  No lock: one CPU is up.
 */
#include "boot/libc-shim.h"

#include "base/list.h"
#include "base/panic.h"
#include "base/string.h"
#include "mm/frame-alloc.h"
#include "x86/libc-env.h"

struct block {
    struct list node;
    u64 size;
    u32 order;
    u32 magic;
};
#define BLOCK_MAGIC 0x6b6c6262u
static_assert(sizeof(struct block) % 16 == 0, "malloc() gives what SSE may be stored to");

static struct list blocks = LIST_INIT(blocks);

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void free(void *ptr);
void __stack_chk_fail(void) __noreturn;

/* Constructors of the libraries (choosing a CRC by CPU); hv.lds.S marks the list. */
typedef void constructor_fn(void);
extern constructor_fn *const init_array_start[], *const init_array_end[];

void *
malloc(size_t size)
{
    unsigned order = 0;
    struct block *block;
    mfn_t mfn;

    if (size > 1ull << 30)
        return NULL;
    size += sizeof(*block);
    while (PAGE_SIZE << order < size)
        order++;
    if (order > FRAME_ORDER_MAX)
        return NULL;
    mfn = frame_alloc_raw(order, 0);
    if (mfn_equal(mfn, MFN_INVALID))
        return NULL;

    block = direct_ptr(mfn_to_maddr(mfn));
    block->size = size;
    block->order = order;
    block->magic = BLOCK_MAGIC;
    list_add_tail(&block->node, &blocks);
    return block + 1;
}

void *
calloc(size_t count, size_t size)
{
    size_t bytes;
    void *ptr;

    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    ptr = malloc(bytes);
    return ptr ? memset(ptr, 0, bytes) : NULL;
}

void
free(void *ptr)
{
    struct block *block = (struct block *)ptr - 1;

    if (!ptr)
        return;
    ASSERT(block->magic == BLOCK_MAGIC);
    block->magic = 0;
    list_del(&block->node);
    frame_free(direct_mfn(block), block->order);
}

void
__stack_chk_fail(void)
{
    panic("A decompression library overran its stack");
}

void
libc_shim_enter(void)
{
    static bool constructed;

    libc_env_enter();
    if (constructed)
        return;
    for (constructor_fn *const *fn = init_array_start; fn < init_array_end; fn++)
        (*fn)();
    constructed = true;
}

void
libc_shim_leave(void)
{
    while (!list_empty(&blocks))
        free(list_first(&blocks, struct block, node) + 1);
    libc_env_leave();
}

/* libzstd's tracing hooks are weak; without these two the linker has address 0 for them, out of reach. */
unsigned long long ZSTD_trace_decompress_begin(const void *ctx);
void ZSTD_trace_decompress_end(unsigned long long ctx, const void *trace);

unsigned long long
ZSTD_trace_decompress_begin(const void *ctx)
{
    (void)ctx;
    return 0; /* no tracing: the other is never called */
}

void
ZSTD_trace_decompress_end(unsigned long long ctx, const void *trace)
{
    (void)ctx;
    (void)trace;
}
