/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * HYPERVISOR_grant_table_op: arrays of operations, each with a status of its own.
 *
 * The hypercall's result says only whether the array could be read and written; how an operation fared
 * stands in its status.  A row says how many elements may be done at a stretch; after that the arguments
 * move on and the call is made again.
 */
#include "hypercall/hypercall.h"
#include "domain/grant.h"
#include "mm/guest-copy.h"

/* TLBs are flushed once for so many unmaps. */
#define UNMAP_BATCH 32u

struct grant_op {
    int (*run)(u64 uop, u32 count); /* does exactly @count elements, or fails */
    u16 size;
    u16 stretch; /* elements at a stretch */
};
#define ONE  0u                   /* takes no array at all */
#define FEW  (PREEMPT_BUDGET / 4) /* each moves up to a page */
#define MANY PREEMPT_BUDGET

static int
put_status(u64 uop, size_t offset, int status)
{
    int16_t value = status;

    return copy_to_guest(uop + offset, &value, sizeof(value));
}
#define PUT_STATUS(uop, type, status_) put_status(uop, offsetof(struct type, status), status_)

/*
 * What a mapping asks for stands in the first words; what it gives back in the last, from the domain's
 * number on.
 */
#define MAP_REQUEST_SIZE offsetof(struct gnttab_map_grant_ref, dev_bus_addr)
#define MAP_RESULT_SIZE  (sizeof(struct gnttab_map_grant_ref) - offsetof(struct gnttab_map_grant_ref, dom))

/* The domain that @id names, if the caller is it or controls it. */
static int
find_controlled(u16 id, struct domain **ret_domain)
{
    struct domain *d;

    if (domain_find_or_self(id, &d) || !d->grants)
        return GNTST_bad_domain;
    if (d != current->domain && !may_control(d))
        return GNTST_permission_denied;
    *ret_domain = d;
    return GNTST_okay;
}

/* --- the operations, in the order of the table --- */

static int
gnttabop_map_grant_ref(u64 uop, u32 count)
{
    struct gnttab_map_grant_ref op;

    op.dev_bus_addr = 0; /* not read, but written back */
    for (; count--; uop += sizeof(op)) {
        if (copy_from_guest(&op, uop, MAP_REQUEST_SIZE))
            return -EFAULT;
        grant_map(&op);
        if (copy_to_guest(uop + offsetof(struct gnttab_map_grant_ref, dom), &op.dom, MAP_RESULT_SIZE))
            return -EFAULT;
    }
    return 0;
}

static int
gnttabop_unmap_grant_ref(u64 uop, u32 count)
{
    struct grant_unmapped batch[UNMAP_BATCH];
    struct gnttab_unmap_grant_ref op;
    int rc = 0;

    while (count && !rc) {
        unsigned n = 0;

        while (n < UNMAP_BATCH && count) {
            if (copy_from_guest(&op, uop, sizeof(op))) {
                rc = -EFAULT;
                break;
            }
            op.status = grant_unmap(op.handle, op.host_addr, op.dev_bus_addr, 0, &batch[n++]);
            if (PUT_STATUS(uop, gnttab_unmap_grant_ref, op.status)) {
                rc = -EFAULT;
                break;
            }
            uop += sizeof(op);
            count--;
        }
        grant_unmap_finish(batch, n);
    }
    return rc;
}

static int
gnttabop_unmap_and_replace(u64 uop, u32 count)
{
    struct grant_unmapped batch[UNMAP_BATCH];
    struct gnttab_unmap_and_replace op;
    int rc = 0;

    while (count && !rc) {
        unsigned n = 0;

        while (n < UNMAP_BATCH && count) {
            if (copy_from_guest(&op, uop, sizeof(op))) {
                rc = -EFAULT;
                break;
            }
            op.status = grant_unmap(op.handle, op.host_addr, 0, op.new_addr, &batch[n++]);
            if (PUT_STATUS(uop, gnttab_unmap_and_replace, op.status)) {
                rc = -EFAULT;
                break;
            }
            uop += sizeof(op);
            count--;
        }
        grant_unmap_finish(batch, n);
    }
    return rc;
}

static int
setup_table(const struct gnttab_setup_table *op)
{
    struct domain *d;
    int status = find_controlled(op->dom, &d);

    if (status != GNTST_okay)
        return status;
    if (op->nr_frames > grant_frames_max(d) || (op->nr_frames && grant_grow(d, op->nr_frames)))
        return GNTST_general_error;

    for (u32 i = 0; i < op->nr_frames; i++) {
        xen_pfn_t pfn;
        mfn_t mfn;

        if (grant_frame_mfn(d, i, &mfn))
            return GNTST_general_error;
        pfn = mfn_x(mfn);
        if (put_guest(op->frame_list, i, &pfn))
            return GNTST_bad_virt_addr;
    }
    return GNTST_okay;
}

static int
gnttabop_setup_table(u64 uop, u32 count)
{
    struct gnttab_setup_table op;

    if (count != 1)
        return -EINVAL;
    if (copy_from_guest(&op, uop, sizeof(op)))
        return -EFAULT;
    return PUT_STATUS(uop, gnttab_setup_table, setup_table(&op));
}

static int
gnttabop_dump_table(u64 uop, u32 count)
{
    struct gnttab_dump_table op;
    struct domain *d;
    int status;

    if (count != 1)
        return -EINVAL;
    if (copy_from_guest(&op, uop, sizeof(op)))
        return -EFAULT;
    status = find_controlled(op.dom, &d);
    /* The log is for the operator; a guest may not fill it. */
    if (status == GNTST_okay && current->domain->is_privileged)
        grant_dump(d);
    return PUT_STATUS(uop, gnttab_dump_table, status);
}

/*
 * Ownership transfer is not offered: no kernel has used it since network frontends took to copies, and it
 * is the one grant operation that moves a frame between allowances.  The answer is that of a Xen that was
 * started with gnttab=no-transfer.
 */
static int
gnttabop_transfer(u64 uop, u32 count)
{
    (void)uop;
    (void)count;
    return -EOPNOTSUPP;
}

static int
gnttabop_copy(u64 uop, u32 count)
{
    struct grant_copy_state state = {};
    struct gnttab_copy op;
    int rc = 0;

    for (; count--; uop += sizeof(op)) {
        if (copy_from_guest(&op, uop, sizeof(op))) {
            rc = -EFAULT;
            break;
        }
        op.status = grant_copy(&op, &state);
        /* A failed operation lets go, so that what it could not have does not stay half set up. */
        if (op.status != GNTST_okay)
            grant_copy_finish(&state);
        if (PUT_STATUS(uop, gnttab_copy, op.status)) {
            rc = -EFAULT;
            break;
        }
    }
    grant_copy_finish(&state);
    return rc;
}

static int
gnttabop_query_size(u64 uop, u32 count)
{
    struct gnttab_query_size op;
    struct domain *d;

    if (count != 1)
        return -EINVAL;
    if (copy_from_guest(&op, uop, sizeof(op)))
        return -EFAULT;
    op.status = find_controlled(op.dom, &d);
    if (op.status == GNTST_okay) {
        op.nr_frames = grant_frames(d);
        op.max_nr_frames = grant_frames_max(d);
    }
    return copy_to_guest(uop, &op, sizeof(op));
}

/* Version 1 is all there is; 2 is refused as by a Xen that was started with gnttab=max-ver:1. */
static int
gnttabop_set_version(u64 uop, u32 count)
{
    struct gnttab_set_version op;
    int rc = 0;

    (void)count;
    if (copy_from_guest(&op, uop, sizeof(op)))
        return -EFAULT;
    if (op.version != 1)
        rc = op.version == 2 ? -ENOSYS : -EINVAL;
    op.version = 1;
    return copy_to_guest(uop, &op, sizeof(op)) ? -EFAULT : rc;
}

static int
gnttabop_get_status_frames(u64 uop, u32 count)
{
    struct gnttab_get_status_frames op;
    struct domain *d;
    int status;

    if (count != 1)
        return -EINVAL;
    if (copy_from_guest(&op, uop, sizeof(op)))
        return -EFAULT;
    status = find_controlled(op.dom, &d);
    if (status == GNTST_okay && op.nr_frames)
        status = GNTST_general_error; /* version 1 has none */
    return PUT_STATUS(uop, gnttab_get_status_frames, status);
}

static int
gnttabop_get_version(u64 uop, u32 count)
{
    struct gnttab_get_version op;
    struct domain *d;

    (void)count;
    if (copy_from_guest(&op, uop, sizeof(op)))
        return -EFAULT;
    if (domain_find_or_self(op.dom, &d))
        return -ESRCH;
    if (d != current->domain && !may_control(d))
        return -EPERM;
    op.version = 1;
    return copy_to_guest(uop, &op, sizeof(op));
}

static int
gnttabop_swap_grant_ref(u64 uop, u32 count)
{
    struct gnttab_swap_grant_ref op;

    for (; count--; uop += sizeof(op)) {
        if (copy_from_guest(&op, uop, sizeof(op)))
            return -EFAULT;
        if (PUT_STATUS(uop, gnttab_swap_grant_ref, grant_swap(op.ref_a, op.ref_b)))
            return -EFAULT;
    }
    return 0;
}

/*
 * Devices of this architecture snoop caches, so for a frame of the caller's there is nothing to do.  For
 * frames of others the caller would have to be searched among their users, which no one on this
 * architecture asks for.
 */
static int
gnttabop_cache_flush(u64 uop, u32 count)
{
    struct gnttab_cache_flush op;
    const struct frame *frame;

    for (; count--; uop += sizeof(op)) {
        if (copy_from_guest(&op, uop, sizeof(op)))
            return -EFAULT;
        if (op.offset >= PAGE_SIZE || op.length > PAGE_SIZE || (u32)op.offset + op.length > PAGE_SIZE ||
            (op.op & ~(GNTTAB_CACHE_CLEAN | GNTTAB_CACHE_INVAL | GNTTAB_CACHE_SOURCE_GREF)))
            return -EINVAL;
        if (op.op & GNTTAB_CACHE_SOURCE_GREF)
            return -EOPNOTSUPP;
        if (!op.length || !op.op)
            continue;
        frame = frame_find(maddr_to_mfn(_maddr(op.a.dev_bus_addr)));
        if (!frame)
            return -EINVAL;
        if (READ_ONCE(frame->owner) != current->domain->id)
            return -EPERM;
    }
    return 0;
}

static const struct grant_op grant_ops[] = {
    [GNTTABOP_map_grant_ref] = {gnttabop_map_grant_ref, SIZE(gnttab_map_grant_ref), MANY},
    [GNTTABOP_unmap_grant_ref] = {gnttabop_unmap_grant_ref, SIZE(gnttab_unmap_grant_ref), MANY},
    [GNTTABOP_setup_table] = {gnttabop_setup_table, SIZE(gnttab_setup_table), ONE},
    [GNTTABOP_dump_table] = {gnttabop_dump_table, SIZE(gnttab_dump_table), ONE},
    [GNTTABOP_transfer] = {gnttabop_transfer, SIZE(gnttab_transfer), MANY},
    [GNTTABOP_copy] = {gnttabop_copy, SIZE(gnttab_copy), FEW},
    [GNTTABOP_query_size] = {gnttabop_query_size, SIZE(gnttab_query_size), ONE},
    [GNTTABOP_unmap_and_replace] = {gnttabop_unmap_and_replace, SIZE(gnttab_unmap_and_replace), MANY},
    [GNTTABOP_set_version] = {gnttabop_set_version, SIZE(gnttab_set_version), ONE},
    [GNTTABOP_get_status_frames] = {gnttabop_get_status_frames, SIZE(gnttab_get_status_frames), ONE},
    [GNTTABOP_get_version] = {gnttabop_get_version, SIZE(gnttab_get_version), ONE},
    [GNTTABOP_swap_grant_ref] = {gnttabop_swap_grant_ref, SIZE(gnttab_swap_grant_ref), MANY},
    [GNTTABOP_cache_flush] = {gnttabop_cache_flush, SIZE(gnttab_cache_flush), MANY},
};

/* arg: operation, array, number of elements. */
s64
hypercall_grant_table_op(u64 *arg)
{
    u32 cmd = arg[0], count = arg[2], n;
    const struct grant_op *op;
    int rc;

    if (unlikely(cmd >= ARRAY_SIZE(grant_ops)))
        return -ENOSYS;
    if (unlikely((s32)count < 0 || !current->domain->grants))
        return -EINVAL;
    op = &grant_ops[index_nospec(cmd, ARRAY_SIZE(grant_ops))];

    n = op->stretch && count > op->stretch ? op->stretch : count;
    rc = op->run(arg[1], n);
    if (rc || n == count)
        return rc;
    arg[1] += (u64)n * op->size;
    arg[2] = count - n;
    return -ERESTART;
}
