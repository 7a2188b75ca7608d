/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * No page is a page table and writable at once, in either order; no entry maps a
 * frame that is not the caller's, the hypervisor's part of the address space
 * cannot be changed, and superpages are refused (xen.h, "HYPERVISOR_mmu_update").
 */
#include "guest.h"

static s64
set_entry(u64 *entry, u64 value)
{
    struct mmu_update update = {machine_of(entry) | MMU_NORMAL_PT_UPDATE, value};

    return HYPERCALL(mmu_update, &update, 1, 0, DOMID_SELF);
}

static s64
ext_mfn(unsigned cmd, u64 mfn)
{
    struct mmuext_op op = {.cmd = cmd, .arg1.mfn = mfn};

    return HYPERCALL(mmuext_op, &op, 1, 0, DOMID_SELF);
}

static s64
ext(unsigned cmd, void *table)
{
    return ext_mfn(cmd, mfn_of(table));
}

void
test_main(void)
{
    u64 *table = page_new(), *l2 = page_new(), *page = page_new(), *l4 = (u64 *)start_info->pt_base;
    u64 rw = mfn_of(page) << 12 | 0x67;

    /* Mapped writable: it cannot become a table. */
    CHECK(ext(MMUEXT_PIN_L1_TABLE, table), "a page that is mapped writable was pinned as a page table");
    make_readonly(table);
    CHECK(!ext(MMUEXT_PIN_L1_TABLE, table), "a page that nobody can write was not pinned");
    /* A table: it cannot be mapped writable. */
    CHECK(HYPERCALL(update_va_mapping, table, mfn_of(table) << 12 | 0x67, UVMF_INVLPG),
          "a page table was mapped writable");
    CHECK(set_entry(&table[0], mfn_of(table) << 12 | 0x67), "a page table mapped itself writable");
    CHECK(!set_entry(&table[0], rw), "an ordinary mapping was refused");
    CHECK(!set_entry(&table[0], 0), "its removal was refused");

    /* What is not ours, not memory, or has bits that must be zero. */
    CHECK(set_entry(&table[1], 0x7ffffffffull << 12 | 0x67), "a frame beyond memory was mapped");
    CHECK(set_entry(&table[1], rw | 1ull << 51), "a reserved address bit was accepted");
    CHECK(set_entry(table, l4[511]), "an L4 entry's table was mapped writable");

    /* Wrong levels. */
    make_readonly(l2);
    CHECK(!set_entry(&table[2], mfn_of(l2) << 12 | 0x65), "a read-only mapping was refused");
    CHECK(ext(MMUEXT_PIN_L2_TABLE, table), "an L1 table was pinned as L2");
    CHECK(!ext(MMUEXT_PIN_L2_TABLE, l2), "an empty L2 table was not pinned");
    CHECK(set_entry(&l2[0], (rw & ~0x1fffffull) | 0xe7), "a superpage was accepted");
    CHECK(set_entry(&l2[0], mfn_of(l2) << 12 | 0x67), "a table was linked below itself");
    CHECK(!set_entry(&l2[0], mfn_of(table) << 12 | 0x67), "an L1 table was not linked below an L2");
    CHECK(ext(MMUEXT_NEW_BASEPTR, table), "an L1 table became CR3");
    for (unsigned command = MMUEXT_PIN_L1_TABLE; command <= MMUEXT_COPY_PAGE; command++) {
        static const u64 nowhere[] = {~0ull, 1ull << 63, 1ull << 52, 1ull << 40, 0xffffffff};

        if (command >= MMUEXT_TLB_FLUSH_LOCAL && command <= MMUEXT_SET_LDT)
            continue;
        for (unsigned i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++)
            CHECK(ext_mfn(command, nowhere[i]), "mmuext_op %u took frame %lx", command, nowhere[i]);
    }

    /* The hypervisor's slots. */
    for (unsigned slot = 256; slot < 272; slot++)
        CHECK(set_entry(&l4[slot], rw), "L4 slot %u is the hypervisor's and was changed", slot);
    CHECK(HYPERCALL(update_va_mapping, 0xffff830000000000ull, rw, 0),
          "an address of the hypervisor's was mapped");

    CHECK(!ext(MMUEXT_UNPIN_TABLE, l2), "L2 not unpinned");
    CHECK(!ext(MMUEXT_UNPIN_TABLE, table), "L1 not unpinned");
    CHECK(ext(MMUEXT_UNPIN_TABLE, table), "unpinned twice");
    make_writable(table);
    table[5] = 1;
}
