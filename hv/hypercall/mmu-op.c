/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mmu_update, mmuext_op, update_va_mapping: a guest asks for changes of its page tables.  What an entry may
 * say is decided in pv/table.c; here are the doors: whose tables, whose pages, batches and their
 * continuation, flushes.
 *
 * A batch that is preempted comes back with its first argument moved on, and MMU_UPDATE_PREEMPTED in the
 * count; what was done before is then found in *pdone, which the guest may spoil without harm to anyone else.
 */
#include "abi/xen.h"
#include "domain/page.h"
#include "hypercall/hypercall.h"
#include "mm/guest-copy.h"
#include "mm/map.h"
#include "base/string.h"
#include "pv/pv.h"
#include "pv/table.h"
#include "x86/tlb.h"

/* Of the count of a batch that goes on; documented beside the hypercalls in xen.h, defined nowhere. */
#define MMU_UPDATE_PREEMPTED (1u << 31)

/* Requests fetched at a time. */
#define FETCH 8u

/*
 * Whose pages may be named: a domain's that the caller controls, or, as DOMID_IO and DOMID_XEN, devices' and
 * ours.
 */
static int
find_page_owner(u16 id, u16 *ret_owner)
{
    struct domain *d = current->domain;

    if (likely(id == DOMID_SELF || id == d->id)) {
        *ret_owner = d->id;
        return 0;
    }
    if (id == DOMID_IO) {
        *ret_owner = DOMID_IO;
        return 0;
    }
    if (id == DOMID_XEN) {
        *ret_owner = DOMID_XEN;
        return d->is_privileged ? 0 : -EPERM;
    }
    d = domain_find(id);
    if (!d)
        return -ESRCH;
    *ret_owner = d->id;
    return may_control(d) ? 0 : -EPERM;
}

/* The domain itself, for what concerns its tables. */
static int
find_table_owner(u16 id, struct domain **ret_domain)
{
    struct domain *d;
    int rc;

    if (likely(id == DOMID_SELF || id == current->domain->id)) {
        *ret_domain = current->domain;
        return 0;
    }
    rc = domain_find_or_self(id, &d);
    if (rc)
        return rc;
    if (!may_control(d))
        return -EPERM;
    if (!domain_is_pv(d))
        return -EINVAL;
    *ret_domain = d;
    return 0;
}

/* The CPUs on which the vCPUs of the guest's bitmap may have left translations. */
static int
cpus_of_vcpus(const struct domain *d, u64 guest_bitmap, cpumask_t *ret_mask)
{
    u64 vcpus[BITMAP_WORDS(VCPU_MAX)] = {0};
    unsigned i;

    if (copy_from_guest(vcpus, guest_bitmap, DIV_ROUND_UP(MIN(d->max_vcpus, VCPU_MAX), 8)))
        return -EFAULT;
    cpumask_zero(ret_mask);
    bitmap_for_each(i, vcpus, MIN(d->max_vcpus, VCPU_MAX)) {
        const struct vcpu *v = d->vcpus[i];
        unsigned cpu;

        if (!v)
            continue;
        cpu = READ_ONCE(v->cpu);
        if (cpumask_test(&d->dirty_cpus, cpu))
            ret_mask->bits[cpu / 64] |= 1ull << (cpu % 64);
    }
    return 0;
}

/* A word in a page that is no table: as if the guest had written it itself. */
static int
write_data(struct domain *d, struct frame *frame, unsigned offset, u64 value)
{
    u64 *page;

    if (page_get_writable(frame, d))
        return -EINVAL;
    page = map_frame(frame_mfn(frame));
    WRITE_ONCE(page[offset / sizeof(u64)], value);
    unmap_frame(page);
    page_put_writable(frame);
    return 0;
}

/* One entry of a table of @d, at machine address @ptr; under its page_table_lock. */
static int
update_entry(struct domain *d, u16 page_owner, u64 ptr, u64 value, bool keep_ad)
{
    struct frame *frame = frame_find(_mfn(ptr >> PAGE_SHIFT));
    unsigned offset = ptr & ~PAGE_MASK;
    u64 type;
    pte_t *entry;
    int rc;

    if (unlikely(!frame))
        return -EINVAL;
    /* A validated table of ours stays one while we hold the lock, and is held by whoever uses it as such. */
    type = atomic_read(&frame->type);
    if (unlikely(frame->owner != d->id || !(type & FRAME_TYPE_VALIDATED) ||
                 (type & FRAME_TYPE) > FRAME_TYPE_L4))
        return write_data(d, frame, offset, value);

    entry = (pte_t *)map_frame(frame_mfn(frame)) + offset / sizeof(pte_t);
    if (likely((type & FRAME_TYPE) == FRAME_TYPE_L1))
        rc = pv_l1_update(d, entry, value, page_owner, keep_ad);
    else if (unlikely(page_owner != d->id))
        rc = -EINVAL;
    else
        rc = pv_upper_update(current, d, type & FRAME_TYPE, entry, value, keep_ad);
    unmap_frame(entry);
    return rc;
}

static int
update_m2p(const struct domain *d, u16 page_owner, u64 ptr, u64 pfn)
{
    mfn_t mfn = _mfn(ptr >> PAGE_SHIFT);
    struct frame *frame = frame_find(mfn);

    if (d != current->domain)
        return -EPERM;
    if (!frame || page_owner == DOMID_XEN || !page_get_of(frame, page_owner))
        return -EINVAL;
    m2p_set(mfn, pfn);
    page_put(frame);
    return 0;
}

static int
update(struct domain *d, u16 page_owner, const struct mmu_update *req)
{
    u64 ptr = req->ptr & ~(u64)(sizeof(pte_t) - 1);

    switch (req->ptr & (sizeof(pte_t) - 1)) {
    case MMU_NORMAL_PT_UPDATE:
    case MMU_PT_UPDATE_NO_TRANSLATE:
        return update_entry(d, page_owner, ptr, req->val, false);
    case MMU_PT_UPDATE_PRESERVE_AD:
        return update_entry(d, page_owner, ptr, req->val, true);
    case MMU_MACHPHYS_UPDATE:
        return update_m2p(d, page_owner, ptr, req->val);
    }
    return -ENOSYS;
}

/* How a batch ends or goes on.  @done: requests that this call carried out; @size: of one request. */
static s64
batch_result(u64 *arg, u32 done, size_t size, int rc)
{
    u32 count = (u32)arg[1] & ~MMU_UPDATE_PREEMPTED, before = 0, total;

    if (arg[2]) {
        /* What the guest has there before the first part says nothing. */
        if (arg[1] & MMU_UPDATE_PREEMPTED && copy_from_guest(&before, arg[2], sizeof(before)))
            before = 0;
        total = before + done;
        if (copy_to_guest(arg[2], &total, sizeof(total)) && !rc)
            rc = -EFAULT;
    }
    if (rc == -ERESTART) {
        arg[0] += (u64)done * size;
        arg[1] = (count - done) | MMU_UPDATE_PREEMPTED;
    }
    return rc;
}

s64
hypercall_mmu_update(u64 *arg)
{
    struct vcpu *v = current;
    u32 count = (u32)arg[1] & ~MMU_UPDATE_PREEMPTED, i = 0, budget = PREEMPT_BUDGET;
    u32 table_id = (u32)arg[3] >> 16;
    u16 page_owner;
    struct mmu_update reqs[FETCH];
    unsigned fetched = 0, next = 0;
    struct domain *d;
    int rc;

    rc = pv_finish_leftover(v);
    if (unlikely(rc))
        return rc; /* the same call again */
    if (likely((u32)arg[3] == DOMID_SELF)) {
        d = v->domain;
        page_owner = d->id;
    } else {
        rc = find_table_owner(table_id ? table_id - 1 : DOMID_SELF, &d);
        if (!rc)
            rc = find_page_owner((u16)arg[3], &page_owner);
        if (unlikely(rc))
            return batch_result(arg, 0, sizeof(reqs[0]), rc);
    }

    spin_lock(&d->page_table_lock);
    d->type_budget = PV_TYPE_BUDGET;
    for (; i < count; i++) {
        if (unlikely(!budget-- || d->type_budget <= 0 || v->pv.leftover_table)) {
            rc = -ERESTART;
            break;
        }
        if (next == fetched) {
            u64 from = arg[0] + (u64)i * sizeof(reqs[0]);

            /* All that fit, or, near the end of what is mapped, this one. */
            next = 0;
            fetched = MIN(count - i, FETCH);
            if (copy_from_guest(reqs, from, fetched * sizeof(reqs[0]))) {
                fetched = 1;
                rc = copy_from_guest(reqs, from, sizeof(reqs[0]));
                if (rc)
                    break;
            }
        }
        rc = update(d, page_owner, &reqs[next++]);
        if (unlikely(rc)) {
            /* A leftover means that the entry itself was changed. */
            if (rc == -ERESTART && v->pv.leftover_table)
                i++;
            break;
        }
    }
    spin_unlock(&d->page_table_lock);
    return batch_result(arg, i, sizeof(reqs[0]), rc);
}

/* --- update_va_mapping --- */

static int
flush_for_va(u64 va, u64 flags)
{
    struct domain *d = current->domain;
    u64 which = flags & ~(u64)UVMF_FLUSHTYPE_MASK;
    bool all = (flags & UVMF_FLUSHTYPE_MASK) == UVMF_TLB_FLUSH;
    cpumask_t mask;
    int rc;

    switch (flags & UVMF_FLUSHTYPE_MASK) {
    case UVMF_TLB_FLUSH:
    case UVMF_INVLPG:
        break;
    default:
        return 0;
    }
    if (which == UVMF_LOCAL) {
        if (all)
            tlb_flush_local();
        else
            tlb_flush_local_va(va);
        return 0;
    }
    if (which == UVMF_ALL) {
        if (all)
            tlb_flush_mask(&d->dirty_cpus);
        else
            tlb_flush_mask_va(&d->dirty_cpus, va);
        return 0;
    }
    rc = cpus_of_vcpus(d, which, &mask);
    if (rc)
        return rc;
    if (all)
        tlb_flush_mask(&mask);
    else
        tlb_flush_mask_va(&mask, va);
    return 0;
}

static s64
update_va_mapping(u64 va, u64 value, u64 flags, u16 page_owner)
{
    struct vcpu *v = current;
    struct domain *d = v->domain;
    pte_t *entry;
    int rc = -EINVAL;

    if (unlikely(!va_is_canonical(va)))
        return -EINVAL;
    spin_lock(&d->page_table_lock);
    entry = pv_l1_entry(v, va);
    if (likely(entry)) {
        rc = pv_l1_update(d, entry, value, page_owner, false);
        unmap_frame(entry);
    }
    spin_unlock(&d->page_table_lock);
    return likely(!rc) && flags & UVMF_FLUSHTYPE_MASK ? flush_for_va(va, flags) : rc;
}

s64
hypercall_update_va_mapping(u64 *arg)
{
    return update_va_mapping(arg[0], arg[1], arg[2], current->domain->id);
}

s64
hypercall_update_va_mapping_otherdomain(u64 *arg)
{
    u16 page_owner;
    int rc = find_page_owner((u16)arg[3], &page_owner);

    return rc ? rc : update_va_mapping(arg[0], arg[1], arg[2], page_owner);
}

/* --- mmuext_op --- */

static int
mmuext_pin(struct domain *d, const struct mmuext_op *op)
{
    u64 type = (u64)(op->cmd - MMUEXT_PIN_L1_TABLE + 1) << FRAME_TYPE_SHIFT;
    struct frame *frame = frame_find(_mfn(op->arg1.mfn));
    int rc;

    if (!frame || !page_get(frame, d))
        return -EINVAL;
    spin_lock(&d->page_table_lock);
    d->type_budget = PV_TYPE_BUDGET;
    /* Seen under the lock, so that a pin is either refused or found by page_relinquish_all(). */
    rc = domain_is_dying(d) ? -EINVAL : page_get_type(frame, type);
    if (!rc && atomic_fetch_or(&frame->type, FRAME_TYPE_PINNED) & FRAME_TYPE_PINNED) {
        (void)page_put_type(frame); /* not the last: the pin is there */
        rc = -EINVAL;
    }
    spin_unlock(&d->page_table_lock);
    if (rc)
        page_put(frame);
    return rc;
}

static int
mmuext_unpin(struct domain *d, const struct mmuext_op *op)
{
    struct frame *frame = frame_find(_mfn(op->arg1.mfn));
    int rc = -EINVAL;

    if (!frame || !page_get(frame, d))
        return -EINVAL;
    spin_lock(&d->page_table_lock);
    d->type_budget = PV_TYPE_BUDGET;
    if (atomic_fetch_and(&frame->type, ~FRAME_TYPE_PINNED) & FRAME_TYPE_PINNED) {
        rc = page_put_type(frame);
        if (rc)
            atomic_or(&frame->type, FRAME_TYPE_PINNED);
        else
            page_put(frame);
    }
    spin_unlock(&d->page_table_lock);
    page_put(frame);
    return rc;
}

static int
mmuext_new_baseptr(struct domain *d, const struct mmuext_op *op)
{
    return d == current->domain ? pv_set_kernel_cr3(current, _mfn(op->arg1.mfn)) : -EPERM;
}

static int
mmuext_new_user_baseptr(struct domain *d, const struct mmuext_op *op)
{
    if (d != current->domain)
        return -EPERM;
    return op->arg1.mfn ? pv_set_user_cr3(current, _mfn(op->arg1.mfn)) : pv_clear_user_cr3(current);
}

static int
mmuext_flush(struct domain *d, const struct mmuext_op *op)
{
    u64 va = op->arg1.linear_addr;
    cpumask_t mask;
    int rc;

    if (d != current->domain)
        return -EPERM;
    switch (op->cmd) {
    case MMUEXT_TLB_FLUSH_LOCAL:
        tlb_flush_local();
        return 0;
    case MMUEXT_INVLPG_LOCAL:
        if (va_is_canonical(va))
            tlb_flush_local_va(va);
        return 0;
    case MMUEXT_TLB_FLUSH_ALL:
        tlb_flush_mask(&d->dirty_cpus);
        return 0;
    case MMUEXT_INVLPG_ALL:
        if (va_is_canonical(va))
            tlb_flush_mask_va(&d->dirty_cpus, va);
        return 0;
    }
    rc = cpus_of_vcpus(d, (u64)op->arg2.vcpumask.p, &mask);
    if (rc)
        return -EINVAL;
    if (op->cmd == MMUEXT_TLB_FLUSH_MULTI)
        tlb_flush_mask(&mask);
    else if (va_is_canonical(va))
        tlb_flush_mask_va(&mask, va);
    return 0;
}

static int
mmuext_flush_cache(struct domain *d, const struct mmuext_op *op)
{
    cpumask_t mask;

    if (d != current->domain)
        return -EPERM;
    if (!d->is_hardware && !d->io_mem)
        return op->cmd == MMUEXT_FLUSH_CACHE ? -EACCES : -EINVAL;
    if (op->cmd == MMUEXT_FLUSH_CACHE_GLOBAL) {
        cache_flush_mask(&cpu_online);
    } else {
        cpumask_zero(&mask);
        cpumask_set(&mask, cpu_id());
        cache_flush_mask(&mask);
    }
    return 0;
}

static int
mmuext_set_ldt(struct domain *d, const struct mmuext_op *op)
{
    return d == current->domain ? pv_set_ldt(current, op->arg1.linear_addr, op->arg2.nr_ents) : -EPERM;
}

static int
mmuext_clear_page(struct domain *d, const struct mmuext_op *op)
{
    struct frame *frame = frame_find(_mfn(op->arg1.mfn));
    void *page;

    if (!frame || page_get_writable(frame, d))
        return -EINVAL;
    page = map_frame(frame_mfn(frame));
    memset(page, 0, PAGE_SIZE);
    unmap_frame(page);
    page_put_writable(frame);
    return 0;
}

static int
mmuext_copy_page(struct domain *d, const struct mmuext_op *op)
{
    struct frame *from = frame_find(_mfn(op->arg2.src_mfn)), *to = frame_find(_mfn(op->arg1.mfn));
    void *src, *dst;

    if (!from || !to || !page_get(from, d))
        return -EINVAL;
    if (page_get_writable(to, d)) {
        page_put(from);
        return -EINVAL;
    }
    src = map_frame(frame_mfn(from));
    dst = map_frame(frame_mfn(to));
    memmove(dst, src, PAGE_SIZE);
    unmap_frame(dst);
    unmap_frame(src);
    page_put_writable(to);
    page_put(from);
    return 0;
}

static int
mmuext_mark_super(struct domain *d, const struct mmuext_op *op)
{
    (void)d, (void)op;
    return -EOPNOTSUPP;
}

static int (*const mmuext_ops[])(struct domain *d, const struct mmuext_op *op) = {
    [MMUEXT_PIN_L1_TABLE] = mmuext_pin,
    [MMUEXT_PIN_L2_TABLE] = mmuext_pin,
    [MMUEXT_PIN_L3_TABLE] = mmuext_pin,
    [MMUEXT_PIN_L4_TABLE] = mmuext_pin,
    [MMUEXT_UNPIN_TABLE] = mmuext_unpin,
    [MMUEXT_NEW_BASEPTR] = mmuext_new_baseptr,
    [MMUEXT_TLB_FLUSH_LOCAL] = mmuext_flush,
    [MMUEXT_INVLPG_LOCAL] = mmuext_flush,
    [MMUEXT_TLB_FLUSH_MULTI] = mmuext_flush,
    [MMUEXT_INVLPG_MULTI] = mmuext_flush,
    [MMUEXT_TLB_FLUSH_ALL] = mmuext_flush,
    [MMUEXT_INVLPG_ALL] = mmuext_flush,
    [MMUEXT_FLUSH_CACHE] = mmuext_flush_cache,
    [MMUEXT_SET_LDT] = mmuext_set_ldt,
    [MMUEXT_NEW_USER_BASEPTR] = mmuext_new_user_baseptr,
    [MMUEXT_CLEAR_PAGE] = mmuext_clear_page,
    [MMUEXT_COPY_PAGE] = mmuext_copy_page,
    [MMUEXT_FLUSH_CACHE_GLOBAL] = mmuext_flush_cache,
    [MMUEXT_MARK_SUPER] = mmuext_mark_super,
    [MMUEXT_UNMARK_SUPER] = mmuext_mark_super,
};

s64
hypercall_mmuext_op(u64 *arg)
{
    struct vcpu *v = current;
    u32 count = (u32)arg[1] & ~MMU_UPDATE_PREEMPTED, i = 0, budget = PREEMPT_BUDGET;
    struct mmuext_op op;
    struct domain *d;
    int rc;

    rc = pv_finish_leftover(v);
    if (unlikely(rc))
        return rc; /* the same call again */
    rc = find_table_owner((u16)arg[3], &d);
    if (rc)
        return batch_result(arg, 0, sizeof(op), rc);

    for (; i < count; i++) {
        if (unlikely(!budget--)) {
            rc = -ERESTART;
            break;
        }
        rc = copy_from_guest(&op, arg[0] + (u64)i * sizeof(op), sizeof(op));
        if (unlikely(rc))
            break;
        if (unlikely(op.cmd >= ARRAY_SIZE(mmuext_ops) ||
                     !mmuext_ops[index_nospec(op.cmd, ARRAY_SIZE(mmuext_ops))]))
            rc = -ENOSYS;
        else
            rc = mmuext_ops[index_nospec(op.cmd, ARRAY_SIZE(mmuext_ops))](d, &op);
        if (unlikely(rc))
            break;
        /* Flushes, copies and table work weigh more than a look-up. */
        budget -= MIN(budget, 15);
    }
    return batch_result(arg, i, sizeof(op), rc);
}
