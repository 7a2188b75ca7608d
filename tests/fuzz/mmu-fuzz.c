/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A hostile domain with three vCPUs does whatever comes to its mind with its page tables: mmu_update,
 * mmuext_op, update_va_mapping, trapped writes, descriptor tables, grants, memory given and taken, calls
 * begun and never finished.  All of hv/pv's table code is the real one.  After every few operations, all
 * reference counts are computed afresh from what refers to what and compared.
 *
 * Usage: mmu-fuzz [--seed=...] (GLib's); MMU_FUZZ_STEPS in the environment for long runs.
 */
#include "base/string.h"
#include "domain/grant.h"
#include "domain/page.h"
#include "domain/permission.h"
#include "hypercall/hypercall.h"
#include "mm/frame-alloc.h"
#include "mm/map.h"
#include "pv/pv.h"
#include "pv/table.h"
#include "x86/paging.h"
#include "fake.h"

#include <glib.h>
#include <stdlib.h>

#define PAGES  96u
#define OWN    56u /* frames of the domain at the start: mfn 1 on; then the other domain's */
#define OTHER  8u
#define VCPUS  3u
#define DEVICE 0x3f0000ull /* a frame number beyond memory */

static struct domain *d, *other, *host;

/* --- what is above and below the code under test --- */

bool
may_control(const struct domain *target)
{
    return current->domain->is_privileged;
}

void
pv_load_cr3(struct vcpu *v)
{
    g_assert_true(v == current);
}

void
pv_inject_page_fault(struct vcpu *v, u64 va, u32 error_code)
{
}

u32
grant_frames_max(const struct domain *domain)
{
    return 4;
}

int
grant_frame_mfn(struct domain *domain, u32 idx, mfn_t *ret_mfn)
{
    return -EINVAL;
}

/* How much of what this is about was met, so that a run that tests nothing is seen. */
static u64 seen_tables[5], seen_partial, seen_failed, seen_leftover, seen_writable, seen_ok, seen_calls,
    seen_trapped, seen_grants;

static const struct domain_ops ops = {.type_validate = pv_type_validate,
                                      .type_devalidate = pv_type_devalidate};

static unsigned
pick(unsigned n)
{
    return (unsigned)g_test_rand_int_range(0, (s32)n);
}

static bool
chance(unsigned one_in)
{
    return pick(one_in) == 0;
}

/* --- guesses that have a chance to be right --- */

/* Frames are thought of as tables of a level by their number, so that whole trees come about. */
static unsigned
level_of(u64 mfn)
{
    return mfn % 8 < 3 ? 1 : mfn % 8 == 3 ? 2 : mfn % 8 == 4 ? 3 : mfn % 8 == 5 ? 4 : 0;
}

static u64
pick_mfn(unsigned level)
{
    for (unsigned tries = 0; tries < 50; tries++) {
        u64 mfn = 1 + pick(OWN);

        if (level_of(mfn) == level)
            return mfn;
    }
    return 1 + pick(PAGES + 4);
}

/* Where the whole word is the guest's: also what no frame can be. */
static u64
pick_any_mfn(unsigned level)
{
    return chance(30) ? ~0ull >> pick(64) : pick_mfn(level);
}

static unsigned
pick_slot(void)
{
    static const u16 slots[] = {0, 1, 2, 255, 256, 260, 271, 272, 511};

    return chance(20) ? pick(512) : slots[pick(ARRAY_SIZE(slots))];
}

/* An entry for a table of @level. */
static pte_t
pick_entry(unsigned level)
{
    u64 flags = PTE_P | PTE_A, mfn;

    if (chance(4))
        return chance(2) ? 0 : (u64)pick(1u << 30) << 1;
    if (!chance(3))
        flags |= PTE_RW;
    if (chance(2))
        flags |= PTE_US;
    if (chance(8))
        flags |= PTE_D | PTE_NX;
    if (chance(30))
        flags |= 1ull << pick(12);
    if (level > 1)
        mfn = pick_mfn(level - 1);
    else if (chance(3))
        mfn = pick_mfn(pick(5)), flags &= ~PTE_RW;
    else
        mfn = pick_mfn(0);
    if (chance(40))
        mfn = chance(2) ? DEVICE + pick(4) : pick(PAGES + 8);
    return pte_make(_mfn(mfn), flags);
}

static u64
pick_va(void)
{
    u64 va = (u64)pick_slot() << L4_SHIFT | (u64)pick_slot() << L3_SHIFT | (u64)pick_slot() << L2_SHIFT |
             (u64)pick_slot() << L1_SHIFT;

    return (u64)((s64)(va << 16) >> 16);
}

/* An address that the current vCPU has mapped; 0 when luck has it that there is none. */
static u64
mapped_va(void)
{
    static const u8 shifts[] = {L4_SHIFT, L3_SHIFT, L2_SHIFT, L1_SHIFT};
    mfn_t table = current->pv.kernel_l4;
    u64 va = 0;

    if (mfn_equal(table, MFN_INVALID))
        return 0;
    for (unsigned n = 0; n < 4; n++) {
        const pte_t *entries = direct_ptr(mfn_to_maddr(table));
        unsigned start = pick(512), i;

        for (i = 0; i < 512; i++) {
            unsigned slot = (start + i) % 512;

            if (entries[slot] & PTE_P && !(n == 0 && slot >= 256 && slot <= 271)) {
                va |= (u64)slot << shifts[n];
                table = pte_mfn(entries[slot]);
                break;
            }
        }
        if (i == 512 || mfn_x(table) >= PAGES)
            return 0;
    }
    return (u64)((s64)(va << 16) >> 16);
}

/* --- what the guest does --- */

/* Repeats a call that was preempted, mostly; a guest may also forget about it. */
static s64
call(hypercall_fn *fn, u64 *arg)
{
    s64 rc;

    do {
        if (chance(100))
            fake_guest_fault_in = 1 + pick(3);
        rc = fn(arg);
        fake_guest_fault_in = 0;
    } while (rc == -ERESTART && !chance(6));
    seen_calls++;
    seen_ok += rc >= 0;
    return rc;
}

static u16
pick_domid(void)
{
    static const u16 ids[] = {DOMID_SELF, DOMID_IO, DOMID_XEN, 1, 2, 7};

    return chance(10) ? ids[pick(ARRAY_SIZE(ids))] : DOMID_SELF;
}

static void
do_mmu_update(void)
{
    struct mmu_update reqs[20];
    u32 done, count = 1 + pick(ARRAY_SIZE(reqs));
    u64 arg[6] = {(u64)reqs, count, chance(2) ? (u64)&done : 0, pick_domid()};

    for (unsigned i = 0; i < count; i++) {
        unsigned level = 1 + pick(4);

        reqs[i].ptr = (pick_mfn(level) << PAGE_SHIFT) + pick_slot() * 8 + (chance(8) ? pick(4) : 0);
        reqs[i].val = pick_entry(level);
    }
    if (chance(30))
        arg[3] |= (u64)(1 + pick(3)) << 16;
    call(hypercall_mmu_update, arg);
}

static void
do_mmuext_op(void)
{
    static const u8 commands[] = {
        MMUEXT_PIN_L1_TABLE,    MMUEXT_PIN_L2_TABLE, MMUEXT_PIN_L3_TABLE,  MMUEXT_PIN_L4_TABLE,
        MMUEXT_UNPIN_TABLE,     MMUEXT_UNPIN_TABLE,  MMUEXT_NEW_BASEPTR,   MMUEXT_NEW_USER_BASEPTR,
        MMUEXT_CLEAR_PAGE,      MMUEXT_COPY_PAGE,    MMUEXT_TLB_FLUSH_ALL, MMUEXT_SET_LDT,
        MMUEXT_TLB_FLUSH_LOCAL, MMUEXT_INVLPG_MULTI, MMUEXT_FLUSH_CACHE,
    };
    struct mmuext_op op[3];
    u64 vcpus = pick(8);
    u32 done, count = 1 + pick(ARRAY_SIZE(op));
    u64 arg[6] = {(u64)op, count, chance(2) ? (u64)&done : 0, pick_domid()};

    memset(op, 0, sizeof(op));
    for (unsigned i = 0; i < count; i++) {
        op[i].cmd = chance(50) ? pick(30) : commands[pick(ARRAY_SIZE(commands))];
        op[i].arg1.mfn = pick_any_mfn(op[i].cmd < 4                     ? op[i].cmd + 1
                                      : op[i].cmd == MMUEXT_UNPIN_TABLE ? 1 + pick(4)
                                                                        : 4);
        if (op[i].cmd == MMUEXT_NEW_USER_BASEPTR && chance(3))
            op[i].arg1.mfn = 0;
        if (op[i].cmd == MMUEXT_CLEAR_PAGE || op[i].cmd == MMUEXT_COPY_PAGE) {
            op[i].arg1.mfn = pick_any_mfn(chance(3) ? 1 : 0);
            op[i].arg2.src_mfn = pick_any_mfn(pick(5));
        }
        if (op[i].cmd == MMUEXT_SET_LDT) {
            op[i].arg1.linear_addr = pick_va();
            op[i].arg2.nr_ents = pick(3) * 700;
        }
        if (op[i].cmd == MMUEXT_INVLPG_MULTI)
            op[i].arg2.vcpumask.p = (void *)&vcpus;
    }
    call(hypercall_mmuext_op, arg);
}

static void
do_update_va_mapping(void)
{
    u64 vcpus = 3;
    u64 arg[6] = {chance(2) ? mapped_va() : pick_va(), pick_entry(1), pick(16)};

    if (arg[2] >= 8)
        arg[2] = (u64)&vcpus | (arg[2] & 3);
    arg[3] = pick_domid();
    call(chance(4) ? hypercall_update_va_mapping_otherdomain : hypercall_update_va_mapping, arg);
}

/* Plain stores to whatever the guest could map writable. */
static void
do_write(void)
{
    for (unsigned n = 0; n < 8; n++) {
        u64 mfn = pick_mfn(pick(5));
        struct frame *frame = frame_find(_mfn(mfn));
        u64 *page;

        if (!frame || page_get_writable(frame, d))
            continue;
        page = map_frame(_mfn(mfn));
        page[pick_slot()] = level_of(mfn) ? pick_entry(level_of(mfn)) : 0;
        page_put_writable(frame);
    }
}

/*
 * Fills a free frame as a table of @level with the tables or pages given; false when it is in use as
 * something else.
 */
static bool
fill(u64 mfn, unsigned level, const u64 *children, unsigned count)
{
    struct frame *frame = frame_find(_mfn(mfn));
    u64 *page;

    if (!frame || page_get_writable(frame, d))
        return false;
    page = map_frame(_mfn(mfn));
    memset(page, 0, PAGE_SIZE);
    for (unsigned i = 0; i < count; i++)
        page[pick_slot()] = pte_make(_mfn(children[i]),
                                     PTE_P | PTE_A | (level > 1 || level_of(children[i]) == 0 ? PTE_RW : 0));
    page_put_writable(frame);
    return true;
}

/* A whole address space that is likely to be accepted, as a kernel would make one. */
static void
do_build(void)
{
    u64 l1[4], l2[2], l3, l4 = pick_mfn(4), pages[6];
    struct mmuext_op op = {.cmd = chance(2)   ? MMUEXT_NEW_BASEPTR
                                  : chance(3) ? MMUEXT_NEW_USER_BASEPTR
                                              : MMUEXT_PIN_L4_TABLE};
    u64 arg[6] = {(u64)&op, 1, 0, DOMID_SELF};

    for (unsigned i = 0; i < ARRAY_SIZE(l1); i++) {
        l1[i] = pick_mfn(1);
        for (unsigned n = 0; n < ARRAY_SIZE(pages); n++)
            pages[n] = pick_mfn(chance(2) ? 0 : pick(5));
        fill(l1[i], 1, pages, ARRAY_SIZE(pages));
    }
    for (unsigned i = 0; i < ARRAY_SIZE(l2); i++) {
        l2[i] = pick_mfn(2);
        fill(l2[i], 2, l1 + i * 2, 2);
    }
    l3 = pick_mfn(3);
    fill(l3, 3, l2, ARRAY_SIZE(l2));
    if (!fill(l4, 4, &l3, 1))
        return;
    op.arg1.mfn = l4;
    call(hypercall_mmuext_op, arg);
}

static void
do_trapped_write(void)
{
    static const u8 code[][8] = {
        {0x48, 0x89, 0x07},             /* mov %rax, (%rdi) */
        {0x48, 0x87, 0x07},             /* xchg %rax, (%rdi) */
        {0xf0, 0x48, 0x0f, 0xb1, 0x0f}, /* lock cmpxchg %rcx, (%rdi) */
        {0xf0, 0x80, 0x27, 0xfd},       /* lock andb $~2, (%rdi) */
        {0x80, 0x0f, 0x02},             /* orb $2, (%rdi) */
        {0x0f, 0x0b},                   /* ud2 */
    };
    struct cpu_user_regs regs = {
        .rip = (u64)code[pick(ARRAY_SIZE(code))], .rax = pick_entry(1), .rcx = pick_entry(1)};
    for (unsigned n = 0; n < 8; n++) {
        u64 va = mapped_va();

        if (va && pv_trapped_write(current, va + pick_slot() * 8 + (chance(8) ? pick(8) : 0), &regs)) {
            seen_trapped++;
            return;
        }
    }
}

static void
do_gdt(void)
{
    u64 frames[14];
    u64 arg[6] = {(u64)frames, pick(3) * 500};

    for (unsigned i = 0; i < ARRAY_SIZE(frames); i++)
        frames[i] = pick_mfn(0);
    call(hypercall_set_gdt, arg);
}

static void
do_ldt_page(void)
{
    pv_map_ldt_page(current, pick(3));
}

static void
do_update_descriptor(void)
{
    u64 arg[6] = {(pick_mfn(pick(5)) << PAGE_SHIFT) + pick_slot() * 8, 0x00cff3000000ffffull};

    if (chance(3))
        arg[1] = (u64)g_test_rand_int() << 32 | (u32)g_test_rand_int();
    call(hypercall_update_descriptor, arg);
}

/* As grant.c does: the references first, the entry takes them over. */
static void
do_grant(void)
{
    struct frame *frame = frame_of(_mfn(OWN + 1 + pick(OTHER)));
    u32 flags = chance(2) ? GNTMAP_readonly : 0;
    bool by_place = chance(2);
    u64 at = by_place ? (pick_mfn(1) << PAGE_SHIFT) + pick_slot() * 8 : pick_va();
    u64 new_addr = chance(4) ? pick_va() : 0;

    if (by_place)
        flags |= GNTMAP_contains_pte;
    if (chance(2)) {
        if (flags & GNTMAP_readonly ? !page_get(frame, other) : page_get_writable(frame, other) != 0)
            return;
        if (!pv_grant_map(at, frame_mfn(frame), flags, 0)) {
            seen_grants++;
            return;
        }
    } else if (pv_grant_unmap(at, frame_mfn(frame), new_addr, flags) < 0) {
        return;
    }
    if (flags & GNTMAP_readonly)
        page_put(frame);
    else
        page_put_writable(frame);
}

static void
do_memory(void)
{
    xen_pfn_t extents[4];
    struct xen_memory_reservation res = {.nr_extents = 1 + pick(4), .domid = DOMID_SELF};
    u64 arg[6] = {chance(2) ? XENMEM_decrease_reservation : XENMEM_populate_physmap, (u64)&res};

    res.extent_start.p = extents;
    for (unsigned i = 0; i < ARRAY_SIZE(extents); i++)
        extents[i] = pick_mfn(pick(5));
    call(hypercall_memory_op, arg);
}

static void
do_exchange(void)
{
    xen_pfn_t in = pick_mfn(pick(5)), out = pick(100);
    struct xen_memory_exchange exch = {
        .in = {.nr_extents = 1, .domid = DOMID_SELF, .extent_start.p = &in},
        .out = {.nr_extents = 1, .domid = DOMID_SELF, .extent_start.p = &out},
    };
    u64 arg[6] = {XENMEM_exchange, (u64)&exch};

    call(hypercall_memory_op, arg);
}

/* --- the invariants --- */

static u64 refs[PAGES], type_refs[PAGES], type_wanted[PAGES];

static void
count_ref(u64 mfn, u64 type)
{
    g_assert_cmpuint(mfn, <, PAGES);
    refs[mfn]++;
    if (!type)
        return;
    if (type_refs[mfn])
        g_assert_cmphex(type_wanted[mfn], ==, type);
    type_wanted[mfn] = type;
    type_refs[mfn]++;
}

static void
count_table(u64 mfn)
{
    const struct frame *frame = frame_of(_mfn(mfn));
    const u64 *table = direct_ptr(mfn_to_maddr(_mfn(mfn)));
    u64 type = frame->type & FRAME_TYPE;
    unsigned entries = frame->type & FRAME_TYPE_VALIDATED ? PTE_ENTRIES : frame->partial;

    seen_writable += type == FRAME_TYPE_WRITABLE && frame->type & FRAME_TYPE_COUNT;
    if (type == FRAME_TYPE_NONE || type > FRAME_TYPE_L4 ||
        !(frame->type & (FRAME_TYPE_VALIDATED | FRAME_TYPE_PARTIAL)))
        return;
    seen_tables[type >> FRAME_TYPE_SHIFT]++;
    seen_partial += (frame->type & FRAME_TYPE_PARTIAL) != 0;
    seen_failed += (frame->type & FRAME_TYPE_FAILED) != 0;
    for (unsigned i = 0; i < entries; i++) {
        u64 child = mfn_x(pte_mfn(table[i]));

        if (!(table[i] & PTE_P))
            continue;
        if (type == FRAME_TYPE_L4 && i >= 256 && i <= 271) {
            /* Ours; no guest ever wrote it. */
            if (frame->type & FRAME_TYPE_VALIDATED)
                g_assert_cmphex(table[i] >> 48, ==, 0x5e4a);
            continue;
        }
        g_assert_cmphex(table[i] & PTE_US, !=, 0);
        g_assert_cmphex(table[i] & PTE_G, ==, 0);
        if (type != FRAME_TYPE_L1)
            count_ref(child, type - FRAME_TYPE_L1);
        else if (child < PAGES)
            count_ref(child, table[i] & PTE_RW ? FRAME_TYPE_WRITABLE : 0);
        else
            g_assert_true(iomem_permitted(d, child, child));
    }
}

static void
check_everything(void)
{
    u64 own = 0;

    memset(refs, 0, sizeof(refs));
    memset(type_refs, 0, sizeof(type_refs));
    for (u64 mfn = 1; mfn < PAGES; mfn++)
        if ((frame_of(_mfn(mfn))->count & FRAME_STATE) == FRAME_STATE_DOMAIN)
            count_table(mfn);
    for (unsigned i = 0; i < VCPUS; i++) {
        const struct vcpu *v = d->vcpus[i];

        if (!mfn_equal(v->pv.kernel_l4, MFN_INVALID))
            count_ref(mfn_x(v->pv.kernel_l4), FRAME_TYPE_L4);
        if (!mfn_equal(v->pv.user_l4, MFN_INVALID))
            count_ref(mfn_x(v->pv.user_l4), FRAME_TYPE_L4);
        seen_leftover += v->pv.leftover_table != 0;
        if (v->pv.leftover_table)
            count_ref(v->pv.leftover_table, frame_of(_mfn(v->pv.leftover_table))->type & FRAME_TYPE);
        for (unsigned n = 0; n < DIV_ROUND_UP(v->pv.gdt_entries, 512); n++)
            count_ref(v->pv.gdt_frames[n], FRAME_TYPE_DESC);
        fake_cpu_set(i);
        for (unsigned page = 0; page < 16; page++)
            if (v->pv.ldt_mapped & 1u << page)
                count_ref(mfn_x(pte_mfn(paging_window()[WINDOW_LDT + page])), FRAME_TYPE_DESC);
    }
    for (u64 mfn = 1; mfn < PAGES; mfn++) {
        const struct frame *frame = frame_of(_mfn(mfn));
        u64 type = frame->type;

        if ((frame->count & FRAME_STATE) != FRAME_STATE_DOMAIN) {
            g_assert_cmpuint(refs[mfn], ==, 0);
            continue;
        }
        own += frame->owner == d->id;
        if (frame->count & FRAME_ALLOCATED)
            refs[mfn]++;
        if (type & FRAME_TYPE_PINNED)
            count_ref(mfn, type & FRAME_TYPE);
        if (type & FRAME_TYPE_PARTIAL && !(type & FRAME_TYPE_COUNT))
            refs[mfn]++;
        g_assert_cmpuint(frame->count & FRAME_COUNT_MASK, ==, refs[mfn]);
        g_assert_cmpuint(type & FRAME_TYPE_COUNT, ==, type_refs[mfn]);
        if (type_refs[mfn])
            g_assert_cmphex(type & FRAME_TYPE, ==, type_wanted[mfn]);
    }
    g_assert_cmpuint(own, ==, d->page_count);
}

static void
begin(void)
{
    for (unsigned order = FRAME_ORDER_MAX + 1; order--;)
        while (!mfn_equal(frame_alloc_raw(order, 0), MFN_INVALID))
            ;
    fake_domains_forget();
    fake_machine_init(PAGES, VCPUS + 1);
    d = fake_domain_new(1, VCPUS);
    other = fake_domain_new(2, 1);
    host = fake_domain_new(0, 1);
    d->ops = other->ops = &ops;
    host->is_privileged = true;
    d->page_max = OWN;
    for (u64 mfn = 1; mfn <= OWN; mfn++)
        g_assert_cmpint(page_assign(d, _mfn(mfn), 0, 0), ==, 0);
    for (u64 mfn = OWN + 1; mfn <= OWN + OTHER; mfn++)
        g_assert_cmpint(page_assign(other, _mfn(mfn), 0, 0), ==, 0);
    frame_alloc_add(_mfn(OWN + OTHER + 1), PAGES - OWN - OTHER - 1);
    g_assert_cmpint(iomem_permit(d, DEVICE, DEVICE + 1), ==, 0);
    for (unsigned i = 0; i < VCPUS; i++)
        fake_run_as(d->vcpus[i], i);
}

/* Everything it had must come back, whatever state it was left in. */
static void
kill_domain(u64 free_before)
{
    int rc;

    d->dying = DOMAIN_DYING;
    for (unsigned i = 0; i < VCPUS; i++) {
        struct vcpu *v = d->vcpus[i];

        fake_run_as(v, i);
        pv_unload_ldt(v); /* as the last switch away does */
        fake_run_as(host->vcpus[0], VCPUS);
        do
            rc = pv_drop_cr3(v);
        while (rc == -ERESTART);
        g_assert_cmpint(rc, ==, 0);
        pv_drop_gdt(v);
        pv_drop_ldt(v);
    }
    do {
        rc = page_relinquish_all(d);
        check_everything();
    } while (rc == -ERESTART);
    g_assert_cmpint(rc, ==, 0);
    g_assert_cmpuint(d->page_count, ==, 0);
    g_assert_cmpuint(d->refcount, ==, 1);
    g_assert_cmpuint(frame_free_count(), ==, free_before + OWN);
    for (u64 mfn = OWN + 1; mfn <= OWN + OTHER; mfn++) {
        g_assert_cmpuint(frame_of(_mfn(mfn))->count & FRAME_COUNT_MASK, ==, 1);
        g_assert_cmpuint(frame_of(_mfn(mfn))->type & FRAME_TYPE_COUNT, ==, 0);
    }
    permission_fini(d);
}

static void
counts_always_agree_with_what_refers_to_what(void)
{
    static void (*const actions[])(void) = {
        do_build,         do_build,
        do_trapped_write, do_mmu_update,
        do_mmu_update,    do_mmuext_op,
        do_mmuext_op,     do_update_va_mapping,
        do_write,         do_write,
        do_trapped_write, do_gdt,
        do_ldt_page,      do_update_descriptor,
        do_grant,         do_memory,
        do_exchange,
    };
    const char *env = getenv("MMU_FUZZ_STEPS");
    unsigned steps = env ? (unsigned)strtoul(env, NULL, 0) : 3000;

    for (unsigned round = 0; round < 10; round++) {
        u64 free_before;

        begin();
        free_before = frame_free_count();
        for (unsigned step = 0; step < steps; step++) {
            unsigned actor = pick(VCPUS);

            fake_run_as(d->vcpus[actor], actor);
            actions[pick(ARRAY_SIZE(actions))]();
            if (step % 4 == 0)
                check_everything();
        }
        kill_domain(free_before);
    }
    g_test_message(
        "seen: tables L1 %lu L2 %lu L3 %lu L4 %lu, partial %lu, failed %lu, leftover %lu, writable %lu",
        seen_tables[1], seen_tables[2], seen_tables[3], seen_tables[4], seen_partial, seen_failed,
        seen_leftover, seen_writable);
    g_test_message("%lu of %lu calls succeeded, %lu trapped writes, %lu grants mapped", seen_ok, seen_calls,
                   seen_trapped, seen_grants);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/mmu-fuzz/counts_always_agree_with_what_refers_to_what",
                    counts_always_agree_with_what_refers_to_what);
    return g_test_run();
}
