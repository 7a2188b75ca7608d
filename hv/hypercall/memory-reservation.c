/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory comes to domains and goes.  The operations on lists of extents answer with the number of extents
 * done, whatever it was that stopped them; PREEMPT_BUDGET pages at a time, but never less than one extent.
 */
#include "domain/page.h"
#include "hypercall/hypercall.h"
#include "hypercall/memory-op.h"
#include "mm/frame-alloc.h"
#include "mm/guest-copy.h"

/* 2 MiB at a time for guests; toolstacks and the hardware domain's drivers may ask for more. */
#define ORDER_MAX_GUEST 9u
/* Of one piece of XENMEM_exchange; its list of frames fits into a page. */
#define ORDER_MAX_EXCHANGE 9u

#define EXTENTS_MAX (~0u >> MEMOP_EXTENT_SHIFT)

static unsigned
order_max(const struct domain *caller)
{
    return caller->is_privileged || caller->is_hardware ? FRAME_ORDER_MAX : ORDER_MAX_GUEST;
}

/* Below which address; false when no address is that low. */
static bool
address_bits_of(u32 mem_flags, unsigned *ret_bits)
{
    unsigned bits = XENMEMF_get_address_bits(mem_flags);

    *ret_bits = bits < 64 ? bits : 0;
    return !bits || bits > PAGE_SHIFT;
}

/*
 * One extent.  @number: the guest's own for its first page, in @populate; 0 when there is no more memory or
 * the guest's list is bad.
 */
static bool
give_extent(struct domain *d, const struct xen_memory_reservation *res, u32 i, unsigned bits, bool populate)
{
    xen_pfn_t number = 0, first;
    mfn_t mfn;

    if (populate && get_guest(res->extent_start, i, &number))
        return false;
    if (page_alloc(d, res->extent_order, bits, 0, &mfn))
        return false;
    if (populate)
        for (u64 n = 0; n < 1ull << res->extent_order; n++)
            m2p_set(mfn_add(mfn, n), number + n);
    first = mfn_x(mfn);
    /* The memory is the domain's, told or not. */
    return guest_handle_is_null(res->extent_start) || !put_guest(res->extent_start, i, &first);
}

static s64
give(const struct xen_memory_reservation *res, u32 start, u32 *next, bool populate)
{
    unsigned bits;
    struct domain *d;
    u64 budget = 0;
    int rc;

    if (start > res->nr_extents || res->nr_extents > EXTENTS_MAX)
        return start;
    rc = memory_op_domain(res->domid, &d);
    if (rc)
        return rc == -ESRCH ? (s64)start : rc;
    if (res->extent_order > order_max(current->domain) || !address_bits_of(res->mem_flags, &bits) ||
        res->mem_flags & XENMEMF_populate_on_demand || (populate && guest_handle_is_null(res->extent_start)))
        return start;

    for (u32 i = start; i < res->nr_extents; i++) {
        if (budget >= PREEMPT_BUDGET) {
            *next = i;
            return -ERESTART;
        }
        budget += 1ull << res->extent_order;
        if (!give_extent(d, res, i, bits, populate))
            return i;
    }
    return res->nr_extents;
}

s64
xenmem_increase_reservation(void *arg, u32 start, u32 *next)
{
    return give(arg, start, next, false);
}

s64
xenmem_populate_physmap(void *arg, u32 start, u32 *next)
{
    return give(arg, start, next, true);
}

/* One page back.  What still maps it keeps it until then. */
static bool
take_page(struct domain *d, mfn_t mfn)
{
    struct frame *frame = frame_find(mfn);
    bool released;

    if (!frame || !page_get(frame, d))
        return false;
    /* Frames that the hypervisor shares with it are not its to give back. */
    released = !(atomic_read(&frame->count) & FRAME_EXTRA) && page_release(frame);
    page_put(frame);
    return released;
}

s64
xenmem_decrease_reservation(void *arg, u32 start, u32 *next)
{
    const struct xen_memory_reservation *res = arg;
    struct domain *d;
    u64 budget = 0;
    int rc;

    if (start > res->nr_extents || res->nr_extents > EXTENTS_MAX)
        return start;
    rc = memory_op_domain(res->domid, &d);
    if (rc)
        return rc == -ESRCH ? (s64)start : rc;
    if (res->extent_order > order_max(current->domain))
        return start;

    for (u32 i = start; i < res->nr_extents; i++) {
        xen_pfn_t first;

        if (budget >= PREEMPT_BUDGET) {
            *next = i;
            return -ERESTART;
        }
        budget += 1ull << res->extent_order;
        if (get_guest(res->extent_start, i, &first))
            return i;
        for (u64 n = 0; n < 1ull << res->extent_order; n++)
            if (!take_page(d, _mfn(first + n)))
                return i;
    }
    return res->nr_extents;
}

/* --- XENMEM_exchange --- */

/*
 * A piece is the larger of an extent taken and an extent given: one on one side, 2^chunk on the other.  First
 * the new memory is allocated, then the old is taken out of the domain, linked by frame->next; only when all
 * is there does the domain get the new.
 */
struct piece {
    const struct xen_memory_exchange *exch;
    struct domain *d;
    u32 stolen;                          /* chain of frames taken; FRAME_NONE ends */
    unsigned in_chunk, out_chunk;        /* orders: extents of each side in a piece */
    u32 given[1u << ORDER_MAX_EXCHANGE]; /* the first frame of each new extent */
};

static void
give_back_stolen(struct piece *p)
{
    while (p->stolen != FRAME_NONE) {
        struct frame *frame = frame_of(_mfn(p->stolen));

        p->stolen = frame->next;
        frame->next = FRAME_NONE;
        /*
         * It was its own a moment ago; if meanwhile its allowance was used up otherwise, the page is lost to
         * it.
         */
        if (page_assign(p->d, frame_mfn(frame), 0, 0))
            frame_free(frame_mfn(frame), 0);
    }
}

static int
steal_extent(struct piece *p, u64 index)
{
    xen_pfn_t first;

    if (get_guest(p->exch->in.extent_start, index, &first))
        return -EFAULT;
    for (u64 n = 0; n < 1ull << p->exch->in.extent_order; n++) {
        struct frame *frame = frame_find(_mfn(first + n));
        int rc = frame ? page_steal(p->d, frame) : -EINVAL;

        if (rc)
            return rc == -EBUSY ? -EINVAL : rc;
        frame->next = p->stolen;
        p->stolen = (u32)mfn_x(frame_mfn(frame));
    }
    return 0;
}

static void
free_given(struct piece *p, unsigned count)
{
    while (count--)
        frame_free(_mfn(p->given[count]), p->exch->out.extent_order);
}

static int
exchange_piece(struct piece *p, u64 number)
{
    const struct xen_memory_exchange *exch = p->exch;
    unsigned bits, got, outs = 1u << p->out_chunk, ins = 1u << p->in_chunk;
    int rc = 0;

    if (!address_bits_of(exch->out.mem_flags, &bits))
        return -ENOMEM;
    for (got = 0; got < outs; got++) {
        mfn_t mfn = frame_alloc(exch->out.extent_order, bits);

        if (mfn_equal(mfn, MFN_INVALID)) {
            free_given(p, got);
            return -ENOMEM;
        }
        p->given[got] = (u32)mfn_x(mfn);
    }
    p->stolen = FRAME_NONE;
    for (unsigned i = 0; i < ins && !rc; i++)
        rc = steal_extent(p, (number << p->in_chunk) + i);
    if (rc) {
        give_back_stolen(p);
        free_given(p, got);
        return rc;
    }
    while (p->stolen != FRAME_NONE) {
        struct frame *frame = frame_of(_mfn(p->stolen));

        p->stolen = frame->next;
        frame_free(frame_mfn(frame), 0);
    }

    /* From here on there is no way back. */
    for (unsigned i = 0; i < outs; i++) {
        u64 index = (number << p->out_chunk) + i;
        xen_pfn_t pfn, mfn = p->given[i];

        if (get_guest(exch->out.extent_start, index, &pfn))
            rc = -EFAULT;
        if (page_assign(p->d, _mfn(mfn), exch->out.extent_order, 0)) {
            frame_free(_mfn(mfn), exch->out.extent_order);
            rc = -ENOMEM;
            continue;
        }
        for (u64 n = 0; !rc && n < 1ull << exch->out.extent_order; n++)
            m2p_set(_mfn(mfn + n), pfn + n);
        if (put_guest(exch->out.extent_start, index, &mfn))
            rc = -EFAULT;
    }
    return rc;
}

s64
xenmem_exchange(void *arg, u32 start, u32 *next)
{
    struct xen_memory_exchange *exch = arg;
    const struct xen_memory_reservation *in = &exch->in, *out = &exch->out;
    struct piece *p = NULL;
    u64 piece, pieces, budget = 0;
    unsigned larger = MAX(in->extent_order, out->extent_order);
    struct domain *d;
    int rc;

    if (in->nr_extents > EXTENTS_MAX || out->nr_extents > EXTENTS_MAX || exch->nr_exchanged > in->nr_extents)
        return -EINVAL;
    if (larger > ORDER_MAX_EXCHANGE)
        return -EPERM;
    if (in->domid != out->domid || (u64)in->nr_extents << in->extent_order != (u64)out->nr_extents
                                                                                  << out->extent_order)
        return -EINVAL;
    rc = memory_op_domain(in->domid, &d);
    if (rc)
        return rc;

    p = page_alloc_hv();
    if (!p)
        return -ENOMEM;
    static_assert(sizeof(*p) <= PAGE_SIZE, "allocated as one");
    p->exch = exch;
    p->d = d;
    p->in_chunk = larger - in->extent_order;
    p->out_chunk = larger - out->extent_order;
    if (exch->nr_exchanged & ((1u << p->in_chunk) - 1))
        rc = -EINVAL;
    pieces = in->nr_extents >> p->in_chunk;
    for (piece = exch->nr_exchanged >> p->in_chunk; !rc && piece < pieces; piece++) {
        if (budget >= PREEMPT_BUDGET) {
            rc = -ERESTART;
            break;
        }
        budget += 1ull << larger;
        rc = exchange_piece(p, piece);
        if (!rc)
            exch->nr_exchanged = (piece + 1) << p->in_chunk;
    }
    page_free_hv(p);
    return rc;
}
