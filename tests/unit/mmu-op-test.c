/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What each page table operation does and refuses; mmu-fuzz has the rest. */
#include "base/string.h"
#include "domain/grant.h"
#include "domain/permission.h"
#include "hypercall/hypercall.h"
#include "pv/pv.h"
#include "pv/table.h"
#include "fake.h"
#include "pv-space.h"

#include <glib.h>
#include <sys/mman.h>

#define RW (PTE_P | PTE_RW | PTE_A | PTE_D)
#define RO (PTE_P | PTE_A)

static s64
update(u64 mfn, unsigned slot, u64 value, u64 command, u64 domids)
{
    struct mmu_update req = {.ptr = (mfn << PAGE_SHIFT) + slot * 8 + command, .val = value};
    u32 done = 77;
    u64 arg[6] = {(u64)&req, 1, (u64)&done, domids};
    s64 rc = hypercall_mmu_update(arg);

    g_assert_cmpuint(done, ==, rc == 0);
    return rc;
}

static s64
extended(unsigned cmd, u64 arg1, u64 arg2)
{
    struct mmuext_op op = {.cmd = cmd, .arg1.mfn = arg1, .arg2.src_mfn = arg2};
    u64 arg[6] = {(u64)&op, 1, 0, DOMID_SELF};

    return hypercall_mmuext_op(arg);
}

static s64
va_mapping(u64 va, u64 value, u64 flags)
{
    u64 arg[6] = {va, value, flags};

    return hypercall_update_va_mapping(arg);
}

static u64
type_count(u64 mfn)
{
    return frame_of(_mfn(mfn))->type & FRAME_TYPE_COUNT;
}

static u64
count(u64 mfn)
{
    return frame_of(_mfn(mfn))->count & FRAME_COUNT_MASK;
}

static void
entry_takes_and_gives_back_its_references(void)
{
    space_create();
    g_assert_cmpint(update(SPACE_L1, 3, pte_make(_mfn(20), RW), 0, DOMID_SELF), ==, 0);
    g_assert_cmphex(space_table(SPACE_L1)[3], ==, pte_make(_mfn(20), RW | PTE_US));
    g_assert_cmpuint(count(20), ==, 2);
    g_assert_cmpuint(type_count(20), ==, 1);
    g_assert_cmpint(va_mapping(SPACE_VA + 3 * PAGE_SIZE, pte_make(_mfn(20), RO), 0), ==, 0);
    g_assert_cmpuint(count(20), ==, 2);
    g_assert_cmpuint(type_count(20), ==, 0);
    g_assert_cmpint(va_mapping(SPACE_VA + 3 * PAGE_SIZE, 0, 0), ==, 0);
    g_assert_cmpuint(count(20), ==, 1);
}

static void
table_cannot_be_mapped_writable(void)
{
    space_create();
    g_assert_cmpint(update(SPACE_L1, 3, pte_make(_mfn(SPACE_L1), RW), 0, DOMID_SELF), ==, -EBUSY);
    g_assert_cmpint(update(SPACE_L1, 3, pte_make(_mfn(SPACE_L4), RW), 0, DOMID_SELF), ==, -EBUSY);
    g_assert_cmpint(update(SPACE_L1, 3, pte_make(_mfn(SPACE_L4), RO), 0, DOMID_SELF), ==, 0);
    g_assert_cmpint(va_mapping(SPACE_VA + 3 * PAGE_SIZE, pte_make(_mfn(SPACE_L4), RW), 0), ==, -EBUSY);
    /* And a page that is mapped writable cannot become a table. */
    g_assert_cmpint(update(SPACE_L1, 4, pte_make(_mfn(21), RW), 0, DOMID_SELF), ==, 0);
    g_assert_cmpint(extended(MMUEXT_PIN_L1_TABLE, 21, 0), ==, -EINVAL);
    g_assert_cmpint(update(SPACE_L2, 9, pte_make(_mfn(21), RW), 0, DOMID_SELF), ==, -EINVAL);
}

static void
foreign_pages_take_privilege(void)
{
    space_create();
    g_assert_cmpint(update(SPACE_L1, 3, pte_make(_mfn(SPACE_OTHER), RO), 0, DOMID_SELF), ==, -EBUSY);
    g_assert_cmpint(update(SPACE_L1, 3, pte_make(_mfn(SPACE_OTHER), RO), 0, 2), ==, -EPERM);
    g_assert_cmpint(update(SPACE_L1, 3, pte_make(_mfn(SPACE_OTHER), RO), 0, DOMID_XEN), ==, -EPERM);
    g_assert_cmpint(update(SPACE_L1, 3, 0, 0, DOMID_SELF | 3u << 16), ==, -EPERM);
    g_assert_cmpint(update(SPACE_L1, 3, 0, 0, 9), ==, -ESRCH);
    space_domain->is_privileged = true;
    g_assert_cmpint(update(SPACE_L1, 3, pte_make(_mfn(SPACE_OTHER), RW), 0, 2), ==, 0);
    g_assert_cmpuint(count(SPACE_OTHER), ==, 2);
    /* It is not the domain's own, so no table of its own. */
    g_assert_cmpint(update(SPACE_L2, 3, pte_make(_mfn(SPACE_OTHER), RW), 0, DOMID_SELF), ==, -EINVAL);
    g_assert_cmpint(update(SPACE_L1, 3, 0, 0, DOMID_SELF), ==, 0);
    g_assert_cmpuint(count(SPACE_OTHER), ==, 1);
}

static void
bits_that_mean_something_else_are_refused(void)
{
    space_create();
    g_assert_cmpint(update(SPACE_L2, 9, pte_make(_mfn(20), RW | PTE_PS), 0, DOMID_SELF), ==, -EINVAL);
    g_assert_cmpint(update(SPACE_L3, 9, pte_make(_mfn(20), RW | PTE_PS), 0, DOMID_SELF), ==, -EINVAL);
    g_assert_cmpint(update(SPACE_L1, 9, pte_make(_mfn(20), RW | PTE_PCD), 0, DOMID_SELF), ==, -EINVAL);
    g_assert_cmpint(update(SPACE_L1, 9, pte_make(_mfn(20), RW | PTE_G), 0, DOMID_SELF), ==, 0);
    g_assert_cmphex(space_table(SPACE_L1)[9] & PTE_G, ==, 0);
    space_domain->is_hardware = true;
    g_assert_cmpint(update(SPACE_L1, 9, pte_make(_mfn(20), RW | PTE_PCD), 0, DOMID_SELF), ==, 0);
}

static void
hypervisor_slots_are_out_of_reach(void)
{
    space_create();
    for (unsigned slot = 256; slot <= 271; slot++)
        g_assert_cmpint(update(SPACE_L4, slot, 0, 0, DOMID_SELF), ==, -EINVAL);
    g_assert_cmpint(update(SPACE_L4, 255, 0, 0, DOMID_SELF), ==, 0);
    g_assert_cmpint(va_mapping(HYPERVISOR_START, 0, 0), ==, -EINVAL);
    g_assert_cmpint(va_mapping(HYPERVISOR_END - PAGE_SIZE, 0, 0), ==, -EINVAL);
    g_assert_cmpint(va_mapping(1ull << 47, 0, 0), ==, -EINVAL);
    g_assert_cmpint(va_mapping(0x1000, 0, 0), ==, -EINVAL);
}

static void
device_memory_takes_permission_and_is_not_cached(void)
{
    const u64 device = 0xfee00;

    space_create();
    g_assert_cmpint(update(SPACE_L1, 3, pte_make(_mfn(device), RW), 0, DOMID_IO), ==, -EPERM);
    g_assert_cmpint(iomem_permit(space_domain, device, device), ==, 0);
    g_assert_cmpint(update(SPACE_L1, 3, pte_make(_mfn(device), RW), 0, DOMID_IO), ==, 0);
    g_assert_cmphex(space_table(SPACE_L1)[3] & PTE_CACHE, ==, PTE_PWT | PTE_PCD);
    g_assert_cmpint(update(SPACE_L1, 3, pte_make(_mfn(device), RW | PTE_PWT), 0, DOMID_SELF), ==, 0);
    g_assert_cmphex(space_table(SPACE_L1)[3] & PTE_CACHE, ==, PTE_PWT | PTE_PCD);
    g_assert_cmpint(update(SPACE_L1, 3, pte_make(_mfn(device + 1), RW), 0, DOMID_SELF), ==, -EPERM);
    g_assert_cmpint(update(SPACE_L1, 3, 0, 0, DOMID_SELF), ==, 0);
    permission_fini(space_domain);
}

static void
preserve_ad_keeps_what_the_cpu_wrote(void)
{
    space_create();
    g_assert_cmpint(update(SPACE_L1, 3, pte_make(_mfn(20), PTE_P | PTE_RW), 0, DOMID_SELF), ==, 0);
    space_table(SPACE_L1)[3] |= PTE_A | PTE_D;
    g_assert_cmpint(update(SPACE_L1, 3, pte_make(_mfn(20), PTE_P), MMU_PT_UPDATE_PRESERVE_AD, DOMID_SELF), ==,
                    0);
    g_assert_cmphex(space_table(SPACE_L1)[3], ==, pte_make(_mfn(20), PTE_P | PTE_US | PTE_A | PTE_D));
    g_assert_cmpint(update(SPACE_L1, 3, pte_make(_mfn(20), PTE_P), 0, DOMID_SELF), ==, 0);
    g_assert_cmphex(space_table(SPACE_L1)[3], ==, pte_make(_mfn(20), PTE_P | PTE_US));
}

static void
m2p_is_the_owners_to_set(void)
{
    space_create();
    g_assert_cmpint(update(20, 0, 1234, MMU_MACHPHYS_UPDATE, DOMID_SELF), ==, 0);
    g_assert_cmpuint(m2p_get(_mfn(20)), ==, 1234);
    g_assert_cmpint(update(SPACE_OTHER, 0, 1, MMU_MACHPHYS_UPDATE, DOMID_SELF), ==, -EINVAL);
    g_assert_cmpint(update(1ull << 39, 0, 1, MMU_MACHPHYS_UPDATE, DOMID_SELF), ==, -EINVAL);
}

static void
update_of_a_plain_page_is_a_plain_write(void)
{
    space_create();
    g_assert_cmpint(update(20, 7, 0x123456789abcdef0, 0, DOMID_SELF), ==, 0);
    g_assert_cmphex(space_table(20)[7], ==, 0x123456789abcdef0);
    g_assert_cmpint(update(SPACE_OTHER, 7, 1, 0, DOMID_SELF), ==, -EINVAL);
    g_assert_cmphex(space_table(SPACE_OTHER)[7], ==, 0);
}

static void
refused_request_ends_the_batch_and_is_counted(void)
{
    struct mmu_update reqs[20];
    u32 done = 0;
    u64 arg[6] = {(u64)reqs, ARRAY_SIZE(reqs), (u64)&done, DOMID_SELF};

    space_create();
    for (unsigned i = 0; i < ARRAY_SIZE(reqs); i++) {
        reqs[i].ptr = (SPACE_L1 << PAGE_SHIFT) + i * 8;
        reqs[i].val = pte_make(_mfn(i == 13 ? SPACE_OTHER : 30 + i), RW);
    }
    g_assert_cmpint(hypercall_mmu_update(arg), ==, -EBUSY);
    g_assert_cmpuint(done, ==, 13);
    g_assert_cmpuint(space_table(SPACE_L1)[12], !=, 0);
    g_assert_cmpuint(space_table(SPACE_L1)[13], ==, 0);
}

static void
batch_goes_on_where_it_was_preempted(void)
{
    static struct mmu_update reqs[1300];
    u32 done = 99, calls = 1;
    u64 arg[6] = {(u64)reqs, ARRAY_SIZE(reqs), (u64)&done, DOMID_SELF};
    s64 rc;

    space_create();
    for (unsigned i = 0; i < ARRAY_SIZE(reqs); i++) {
        reqs[i].ptr = (SPACE_L1 << PAGE_SHIFT) + i % 500 * 8;
        reqs[i].val = pte_make(_mfn(20 + i % 300), RW);
    }
    while ((rc = hypercall_mmu_update(arg)) == -ERESTART)
        calls++;
    g_assert_cmpint(rc, ==, 0);
    g_assert_cmpuint(calls, ==, 3);
    g_assert_cmpuint(done, ==, ARRAY_SIZE(reqs));
}

static void
batch_that_runs_off_the_mapped_memory_does_what_it_can(void)
{
    char *memory = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct mmu_update *reqs = (struct mmu_update *)(memory + PAGE_SIZE) - 3;
    u32 done = 0;
    u64 arg[6] = {(u64)reqs, 10, (u64)&done, DOMID_SELF};

    munmap(memory + PAGE_SIZE, PAGE_SIZE);
    space_create();
    for (unsigned i = 0; i < 3; i++)
        reqs[i] = (struct mmu_update){(SPACE_L1 << PAGE_SHIFT) + i * 8, pte_make(_mfn(30 + i), RW)};
    g_assert_cmpint(hypercall_mmu_update(arg), ==, -EFAULT);
    g_assert_cmpuint(done, ==, 3);
    munmap(memory, PAGE_SIZE);
}

static void
pin_holds_a_table_and_unpin_lets_it_go(void)
{
    space_create();
    space_table(40)[5] = pte_make(_mfn(41), RW);
    g_assert_cmpint(extended(MMUEXT_PIN_L1_TABLE, 40, 0), ==, 0);
    g_assert_cmpuint(type_count(41), ==, 1);
    g_assert_cmpint(extended(MMUEXT_PIN_L1_TABLE, 40, 0), ==, -EINVAL);
    g_assert_cmpuint(type_count(40), ==, 1);
    g_assert_cmpint(extended(MMUEXT_PIN_L2_TABLE, 40, 0), ==, -EINVAL);
    g_assert_cmpint(extended(MMUEXT_UNPIN_TABLE, 40, 0), ==, 0);
    g_assert_cmpint(extended(MMUEXT_UNPIN_TABLE, 40, 0), ==, -EINVAL);
    g_assert_cmpuint(type_count(41), ==, 0);
    g_assert_cmpuint(count(40), ==, 1);
    g_assert_cmpuint(count(41), ==, 1);
    g_assert_cmpint(extended(MMUEXT_UNPIN_TABLE, SPACE_L4, 0), ==, -EINVAL);
    space_domain->dying = DOMAIN_DYING;
    g_assert_cmpint(extended(MMUEXT_PIN_L1_TABLE, 40, 0), ==, -EINVAL);
}

static void
table_with_a_bad_entry_leaves_no_reference(void)
{
    space_create();
    for (unsigned i = 0; i < 300; i++)
        space_table(40)[i] = pte_make(_mfn(50 + i), RW);
    space_table(40)[300] = pte_make(_mfn(SPACE_OTHER), RO);
    g_assert_cmpint(extended(MMUEXT_PIN_L1_TABLE, 40, 0), ==, -EINVAL);
    for (unsigned i = 0; i < 300; i++) {
        g_assert_cmpuint(count(50 + i), ==, 1);
        g_assert_cmpuint(type_count(50 + i), ==, 0);
    }
    g_assert_cmpuint(count(40), ==, 1);
}

static void
l4_shows_the_hypervisor_only_while_it_is_one(void)
{
    space_create();
    g_assert_cmphex(space_table(SPACE_L4)[256], !=, 0);
    g_assert_cmpint(extended(MMUEXT_PIN_L4_TABLE, 60, 0), ==, 0);
    g_assert_cmphex(space_table(60)[271], !=, 0);
    g_assert_cmpint(extended(MMUEXT_UNPIN_TABLE, 60, 0), ==, 0);
    for (unsigned slot = 256; slot <= 271; slot++)
        g_assert_cmphex(space_table(60)[slot], ==, 0);
    /* What a guest writes there is neither read nor kept. */
    space_table(60)[260] = pte_make(_mfn(SPACE_OTHER), RW);
    g_assert_cmpint(extended(MMUEXT_NEW_USER_BASEPTR, 60, 0), ==, 0);
    g_assert_cmphex(space_table(60)[260] >> 48, ==, 0x5e4a);
    g_assert_cmpint(extended(MMUEXT_NEW_USER_BASEPTR, 0, 0), ==, 0);
    g_assert_cmpuint(count(60), ==, 1);
}

static void
new_base_pointer_changes_hands(void)
{
    space_create();
    g_assert_cmpint(extended(MMUEXT_NEW_BASEPTR, SPACE_OTHER, 0), ==, -EINVAL);
    g_assert_cmpint(extended(MMUEXT_NEW_BASEPTR, SPACE_L3, 0), ==, -EINVAL);
    g_assert_cmpint(extended(MMUEXT_NEW_BASEPTR, ~0ull, 0), ==, -EINVAL);
    g_assert_cmpint(extended(MMUEXT_NEW_USER_BASEPTR, ~0ull, 0), ==, -EINVAL);
    g_assert_cmpuint(mfn_x(current->pv.kernel_l4), ==, SPACE_L4);
    g_assert_cmpint(extended(MMUEXT_NEW_BASEPTR, 60, 0), ==, 0);
    g_assert_cmphex(current->pv.kernel_cr3, ==, 60ull << PAGE_SHIFT);
    g_assert_cmpuint(count(SPACE_L4), ==, 1);
    g_assert_cmpuint(count(SPACE_L1), ==, 1);
}

static void
pages_are_cleared_and_copied(void)
{
    space_create();
    memset(space_table(30), 0x5a, PAGE_SIZE);
    g_assert_cmpint(extended(MMUEXT_COPY_PAGE, 31, 30), ==, 0);
    g_assert_cmphex(space_table(31)[511], ==, 0x5a5a5a5a5a5a5a5a);
    g_assert_cmpint(extended(MMUEXT_CLEAR_PAGE, 31, 0), ==, 0);
    g_assert_cmphex(space_table(31)[511], ==, 0);
    g_assert_cmpint(extended(MMUEXT_COPY_PAGE, SPACE_L1, 30), ==, -EINVAL);
    g_assert_cmpint(extended(MMUEXT_CLEAR_PAGE, SPACE_L1, 0), ==, -EINVAL);
    g_assert_cmpint(extended(MMUEXT_COPY_PAGE, 31, SPACE_OTHER), ==, -EINVAL);
    g_assert_cmpint(extended(MMUEXT_MARK_SUPER, 31, 0), ==, -EOPNOTSUPP);
    g_assert_cmpint(extended(99, 31, 0), ==, -ENOSYS);
    g_assert_cmpint(extended(MMUEXT_FLUSH_CACHE, 0, 0), ==, -EACCES);
}

static void
flushes_reach_the_cpus_asked_for(void)
{
    u64 vcpus = 2;

    space_create();
    fake_run_as(space_domain->vcpus[1], 1);
    fake_run_as(space_domain->vcpus[0], 0);
    fake_cpu_flushes[0] = fake_cpu_flushes[1] = 0;
    g_assert_cmpint(extended(MMUEXT_TLB_FLUSH_MULTI, 0, (u64)&vcpus), ==, 0);
    g_assert_cmpuint(fake_cpu_flushes[0], ==, 0);
    g_assert_cmpuint(fake_cpu_flushes[1], ==, 1);
    g_assert_cmpint(extended(MMUEXT_TLB_FLUSH_ALL, 0, 0), ==, 0);
    g_assert_cmpuint(fake_cpu_flushes[0], ==, 1);
    g_assert_cmpint(va_mapping(SPACE_VA, 0, UVMF_INVLPG | UVMF_ALL), ==, 0);
    g_assert_cmphex(fake_flush_va, ==, SPACE_VA);
    g_assert_cmpuint(fake_cpu_va_flushes[1], ==, 1);
    g_assert_cmpint(va_mapping(SPACE_VA, 0, UVMF_TLB_FLUSH | (u64)&vcpus), ==, 0);
    g_assert_cmpuint(fake_cpu_flushes[1], ==, 3);
    g_assert_cmpint(extended(MMUEXT_TLB_FLUSH_MULTI, 0, 8), ==, -EINVAL);
}

static void
grant_entries_move_and_go_with_their_references(void)
{
    struct frame *frame;
    u64 va = SPACE_VA + 7 * PAGE_SIZE, place = (SPACE_L1 << PAGE_SHIFT) + 8 * 8;

    space_create();
    frame = frame_of(_mfn(SPACE_OTHER));
    g_assert_cmpint(page_get_writable(frame, space_other), ==, 0);
    g_assert_cmpint(pv_grant_map(va, _mfn(SPACE_OTHER), 0, 0), ==, 0);
    g_assert_cmphex(space_table(SPACE_L1)[7], ==,
                    pte_make(_mfn(SPACE_OTHER), PTE_P | PTE_RW | PTE_D | PTE_US));
    /* An entry that no CPU used needs no flush; one that was used, or that took another's place, does. */
    g_assert_cmpint(pv_grant_unmap(va, _mfn(SPACE_OTHER), 0, 0), ==, 0);
    g_assert_cmpint(pv_grant_map(va, _mfn(SPACE_OTHER), 0, 0), ==, 0);
    space_table(SPACE_L1)[7] |= PTE_A;
    g_assert_cmpint(pv_grant_unmap(va, _mfn(SPACE_OTHER), 0, 0), ==, 1);
    g_assert_cmpint(pv_grant_map(va, _mfn(SPACE_OTHER), 0, 0), ==, 0);
    /* A handle for reading does not fit, nor another frame, nor another place. */
    g_assert_cmpint(pv_grant_unmap(va, _mfn(SPACE_OTHER), 0, GNTMAP_readonly), ==, -EINVAL);
    g_assert_cmpint(pv_grant_unmap(va, _mfn(20), 0, 0), ==, -EINVAL);
    g_assert_cmpint(pv_grant_unmap(va + PAGE_SIZE, _mfn(SPACE_OTHER), 0, 0), ==, -EINVAL);
    /* The guest can make no second one of it. */
    g_assert_cmpint(update(SPACE_L1, 9, space_table(SPACE_L1)[7], 0, DOMID_SELF), ==, -EBUSY);
    /* Something else moves into its place. */
    g_assert_cmpint(update(SPACE_L1, 8, pte_make(_mfn(20), RW), 0, DOMID_SELF), ==, 0);
    g_assert_cmpint(pv_grant_unmap(va, _mfn(SPACE_OTHER), va + PAGE_SIZE, 0), ==, 1);
    g_assert_cmphex(pte_make(_mfn(20), RW | PTE_US), ==, space_table(SPACE_L1)[7]);
    g_assert_cmphex(space_table(SPACE_L1)[8], ==, 0);
    g_assert_cmpuint(count(20), ==, 2);
    /* By place, for reading; then the guest drops it by itself. */
    page_put_writable(frame);
    g_assert_true(page_get(frame, space_other));
    g_assert_cmpint(pv_grant_map(place, _mfn(SPACE_OTHER), GNTMAP_readonly | GNTMAP_contains_pte, 0), ==, 0);
    g_assert_cmpint(update(SPACE_L1, 8, 0, 0, DOMID_SELF), ==, 0);
    g_assert_cmpuint(count(SPACE_OTHER), ==, 1);
    g_assert_cmpint(pv_grant_map((20ull << PAGE_SHIFT), _mfn(SPACE_OTHER), GNTMAP_contains_pte, 0), ==,
                    -EINVAL);
}

/* What another domain granted: its owner's flushes do not reach the CPUs that ran us. */
static void
foreign_entry_that_goes_is_flushed_first(void)
{
    struct frame *frame;
    unsigned before;

    space_create();
    frame = frame_of(_mfn(SPACE_OTHER));
    cpumask_set(&space_domain->dirty_cpus, 1);
    for (int round = 0; round < 2; round++) {
        g_assert_cmpint(page_get_writable(frame, space_other), ==, 0);
        g_assert_cmpint(pv_grant_map(SPACE_VA + 7 * PAGE_SIZE, _mfn(SPACE_OTHER), 0, 0), ==, 0);
        before = fake_cpu_flushes[1];
        if (round == 0) /* overwritten by what is the domain's own, or taken away */
            g_assert_cmpint(update(SPACE_L1, 7, pte_make(_mfn(20), RW), 0, DOMID_SELF), ==, 0);
        else
            g_assert_cmpint(va_mapping(SPACE_VA + 7 * PAGE_SIZE, 0, 0), ==, 0);
        g_assert_cmpuint(fake_cpu_flushes[1], ==, before + 1);
        g_assert_cmpuint(count(SPACE_OTHER), ==, 1);
        g_assert_cmpuint(type_count(SPACE_OTHER), ==, 0);
    }
    /* Its own pages are flushed when they become something else, and not before. */
    g_assert_cmpint(update(SPACE_L1, 7, pte_make(_mfn(20), RW), 0, DOMID_SELF), ==, 0);
    before = fake_cpu_flushes[1];
    g_assert_cmpint(update(SPACE_L1, 7, 0, 0, DOMID_SELF), ==, 0);
    g_assert_cmpuint(fake_cpu_flushes[1], ==, before);
}

static void
table_that_goes_flushes_once_for_all_its_foreign_entries(void)
{
    struct frame *frame;
    unsigned before;

    space_create();
    frame = frame_of(_mfn(SPACE_OTHER));
    cpumask_set(&space_domain->dirty_cpus, 1);
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmpint(page_get_writable(frame, space_other), ==, 0);
        g_assert_cmpint(pv_grant_map(SPACE_VA + (7 + i) * PAGE_SIZE, _mfn(SPACE_OTHER), 0, 0), ==, 0);
    }
    before = fake_cpu_flushes[1];
    g_assert_cmpint(update(SPACE_L2, pte_index(SPACE_VA, L2_SHIFT), 0, 0, DOMID_SELF), ==, 0);
    g_assert_cmpuint(fake_cpu_flushes[1], ==, before + 1);
    g_assert_cmpuint(count(SPACE_OTHER), ==, 1);
}

/* By the accessed bit pv_grant_unmap() knows whether a CPU may have the translation, not by the mapper. */
static void
guest_cannot_clear_the_accessed_bit_of_a_granted_page(void)
{
    u64 va = SPACE_VA + 7 * PAGE_SIZE;

    space_create();
    g_assert_cmpint(page_get_writable(frame_of(_mfn(SPACE_OTHER)), space_other), ==, 0);
    g_assert_cmpint(pv_grant_map(va, _mfn(SPACE_OTHER), 0, 0), ==, 0);
    space_table(SPACE_L1)[7] |= PTE_A; /* as the CPU does */
    g_assert_cmpint(va_mapping(va, pte_make(_mfn(SPACE_OTHER), PTE_P | PTE_RW), 0), ==, 0);
    g_assert_cmphex(space_table(SPACE_L1)[7] & PTE_A, ==, PTE_A);
    g_assert_cmpint(pv_grant_unmap(va, _mfn(SPACE_OTHER), 0, 0), ==, 1);
    page_put_writable(frame_of(_mfn(SPACE_OTHER)));
    /* Of its own pages it may. */
    g_assert_cmpint(update(SPACE_L1, 7, pte_make(_mfn(20), RW), 0, DOMID_SELF), ==, 0);
    g_assert_cmpint(va_mapping(va, pte_make(_mfn(20), PTE_P | PTE_RW), 0), ==, 0);
    g_assert_cmphex(space_table(SPACE_L1)[7] & PTE_A, ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/mmu-op/" #name, name)
    TEST(entry_takes_and_gives_back_its_references);
    TEST(table_cannot_be_mapped_writable);
    TEST(foreign_pages_take_privilege);
    TEST(bits_that_mean_something_else_are_refused);
    TEST(hypervisor_slots_are_out_of_reach);
    TEST(device_memory_takes_permission_and_is_not_cached);
    TEST(preserve_ad_keeps_what_the_cpu_wrote);
    TEST(m2p_is_the_owners_to_set);
    TEST(update_of_a_plain_page_is_a_plain_write);
    TEST(refused_request_ends_the_batch_and_is_counted);
    TEST(batch_goes_on_where_it_was_preempted);
    TEST(batch_that_runs_off_the_mapped_memory_does_what_it_can);
    TEST(pin_holds_a_table_and_unpin_lets_it_go);
    TEST(table_with_a_bad_entry_leaves_no_reference);
    TEST(l4_shows_the_hypervisor_only_while_it_is_one);
    TEST(new_base_pointer_changes_hands);
    TEST(pages_are_cleared_and_copied);
    TEST(flushes_reach_the_cpus_asked_for);
    TEST(grant_entries_move_and_go_with_their_references);
    TEST(foreign_entry_that_goes_is_flushed_first);
    TEST(table_that_goes_flushes_once_for_all_its_foreign_entries);
    TEST(guest_cannot_clear_the_accessed_bit_of_a_granted_page);
    return g_test_run();
}
