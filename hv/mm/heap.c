/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Small objects.  There are size classes up to half a page; a slab is one page cut into objects of one
 * class.  Anything larger gets pages of its own, just as many as it needs.  What a pointer belongs to stands
 * in the struct frame of its page (state HEAP), so objects have no headers and an object of 64 bytes is
 * aligned to 64:
 *
 *   slab     type = SLAB | class, partial = objects in use, stamp = offset of the first free object + 1 (0:
 *            none), next and prev = the list of slabs of the class that have room
 *   pages    type = PAGES | count, in the first frame
 *
 * A free object's first two bytes hold the offset + 1 of the next one.  One lock; the allocator's nests
 * inside it.
 */
#include "base/panic.h"
#include "base/string.h"
#include "mm/frame-alloc.h"
#include "mm/heap.h"
#include "base/spinlock.h"

#define SLAB  (1ull << 32)
#define PAGES (2ull << 32)
#define KIND  (3ull << 32)
#define VALUE 0xffffffffull

static const u16 class_size[] = {16, 32, 48, 64, 128, 192, 256, 384, 512, 640, 768, 1024, 1344, 2048};
#define CLASSES ARRAY_SIZE(class_size)

static struct {
    u32 first; /* slab with room, FRAME_NONE when there is none */
} classes[CLASSES] = {[0 ... CLASSES - 1] = {FRAME_NONE}};
static spinlock_t lock = SPINLOCK_INIT;
static u64 pages_used;

static unsigned
class_of(size_t size)
{
    unsigned class = 0;

    while (class_size[class] < size)
        class ++;
    return class;
}

static unsigned
class_capacity(unsigned class)
{
    return PAGE_SIZE / class_size[class];
}

static void
slab_link(struct frame *slab, unsigned class)
{
    u32 n = (u32)mfn_x(frame_mfn(slab));

    slab->prev = FRAME_NONE;
    slab->next = classes[class].first;
    if (slab->next != FRAME_NONE)
        frame_of(_mfn(slab->next))->prev = n;
    classes[class].first = n;
}

static void
slab_unlink(struct frame *slab, unsigned class)
{
    if (slab->next != FRAME_NONE)
        frame_of(_mfn(slab->next))->prev = slab->prev;
    if (slab->prev != FRAME_NONE)
        frame_of(_mfn(slab->prev))->next = slab->next;
    else
        classes[class].first = slab->next;
    slab->next = slab->prev = FRAME_NONE;
}

/* A new slab, all free; its free list runs upward. */
static struct frame *
slab_create(unsigned class)
{
    mfn_t mfn = frame_alloc_raw(0, DIRECT_ADDRESS_BITS);
    struct frame *slab;
    char *page;

    if (mfn_equal(mfn, MFN_INVALID))
        return NULL;
    page = direct_ptr(mfn_to_maddr(mfn));
    for (unsigned i = 0; i < class_capacity(class); i++) {
        unsigned next = (i + 1) * class_size[class] + 1;

        *(u16 *)(page + i * class_size[class]) = i + 1 < class_capacity(class) ? next : 0;
    }
    slab = frame_of(mfn);
    slab->type = SLAB | class;
    slab->partial = 0;
    slab->stamp = 1;
    slab_link(slab, class);
    pages_used++;
    return slab;
}

static void *
pages_alloc(size_t size)
{
    u64 pages = DIV_ROUND_UP(size, PAGE_SIZE);
    unsigned order = 0;
    mfn_t mfn;

    while (1ull << order < pages)
        order++;
    mfn = frame_alloc_raw(order, DIRECT_ADDRESS_BITS);
    if (mfn_equal(mfn, MFN_INVALID))
        return NULL;
    frame_free_range(mfn_add(mfn, pages), (1ull << order) - pages);
    frame_of(mfn)->type = PAGES | pages;
    spin_lock(&lock);
    pages_used += pages;
    spin_unlock(&lock);
    return direct_ptr(mfn_to_maddr(mfn));
}

void *
heap_alloc(size_t size)
{
    struct frame *slab;
    unsigned class;
    u16 *object;

    if (size > class_size[CLASSES - 1])
        return size <= PAGE_SIZE << FRAME_ORDER_MAX ? pages_alloc(size) : NULL;
    class = class_of(size);
    spin_lock(&lock);
    if (classes[class].first != FRAME_NONE)
        slab = frame_of(_mfn(classes[class].first));
    else
        slab = slab_create(class);
    if (!slab) {
        spin_unlock(&lock);
        return NULL;
    }
    object = (u16 *)((char *)direct_ptr(mfn_to_maddr(frame_mfn(slab))) + slab->stamp - 1);
    slab->stamp = *object;
    slab->partial++;
    if (!slab->stamp)
        slab_unlink(slab, class);
    spin_unlock(&lock);
    return object;
}

void *
heap_zalloc(size_t size)
{
    void *ptr = heap_alloc(size);

    if (ptr)
        memset(ptr, 0, size);
    return ptr;
}

void *
heap_calloc(size_t count, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    return heap_zalloc(total);
}

static void
slab_free(struct frame *slab, void *ptr)
{
    unsigned class = slab->type & VALUE;
    u16 offset = (u64)ptr & ~PAGE_MASK;
    bool empty;

    ASSERT(class < CLASSES && !(offset % class_size[class]) && slab->partial);
    spin_lock(&lock);
    if (!slab->stamp)
        slab_link(slab, class);
    *(u16 *)ptr = slab->stamp;
    slab->stamp = offset + 1;
    slab->partial--;
    /*
     * The last slab with room stays, so that a single object coming and going does not make pages come and
     * go.
     */
    empty = !slab->partial && (slab->next != FRAME_NONE || slab->prev != FRAME_NONE);
    if (empty) {
        slab_unlink(slab, class);
        pages_used--;
    }
    spin_unlock(&lock);
    if (empty) {
        slab->stamp = 0;
        frame_free(frame_mfn(slab), 0);
    }
}

void
heap_free(void *ptr)
{
    struct frame *frame;

    if (!ptr)
        return;
    frame = frame_of(direct_mfn(ptr));
    ASSERT((frame->count & FRAME_STATE) == FRAME_STATE_HEAP);
    if ((frame->type & KIND) == SLAB) {
        slab_free(frame, ptr);
    } else {
        u64 pages = frame->type & VALUE;

        ASSERT((frame->type & KIND) == PAGES && !((u64)ptr & ~PAGE_MASK));
        spin_lock(&lock);
        pages_used -= pages;
        spin_unlock(&lock);
        frame_free_range(frame_mfn(frame), pages);
    }
}

u64
heap_pages_used(void)
{
    return READ_ONCE(pages_used);
}
