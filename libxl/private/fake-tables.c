/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The pretend hypervisor's look at page tables: as strict as a real one, when they are pinned. */
#include "private/fake-internal.h"

static void
collect_tables(FakeHv *hv, xen_pfn_t mfn, int level, GHashTable *tables)
{
    const uint64_t *table = frame_data(hv, mfn);

    if (mfn >= SERAI_FAKE_PAGES || !g_hash_table_add(tables, GUINT_TO_POINTER((guint)mfn)) || level == 1)
        return;
    for (int i = 0; i < 512; i++)
        if (table[i] & 1 && (table[i] >> 12 & 0xffffffffffUL) < SERAI_FAKE_PAGES)
            collect_tables(hv, table[i] >> 12 & 0xffffffffffUL, level - 1, tables);
}

static int
check_table(FakeHv *hv, FakeDomain *d, xen_pfn_t mfn, int level, GHashTable *tables, GHashTable *seen)
{
    const uint64_t *table;

    if (mfn >= SERAI_FAKE_PAGES || hv->owner[mfn] != d->owner)
        return -EINVAL;
    if (!g_hash_table_add(seen, GUINT_TO_POINTER((guint)mfn)))
        return 0;
    table = frame_data(hv, mfn);
    for (int i = 0; i < 512; i++) {
        xen_pfn_t next = table[i] >> 12 & 0xffffffffffUL;

        if (!(table[i] & 1))
            continue;
        if (next >= SERAI_FAKE_PAGES || hv->owner[next] != d->owner)
            return -EINVAL;
        if (level > 1) {
            int rc = check_table(hv, d, next, level - 1, tables, seen);

            if (rc)
                return rc;
        } else if (table[i] & 2 && g_hash_table_contains(tables, GUINT_TO_POINTER((guint)next))) {
            return -EBUSY; /* a page table mapped writable */
        }
    }
    return 0;
}

int
fake_pin_table(FakeHv *hv, FakeDomain *d, int level, xen_pfn_t mfn)
{
    g_autoptr(GHashTable) tables = g_hash_table_new(NULL, NULL), seen = g_hash_table_new(NULL, NULL);
    int rc;

    if (mfn >= SERAI_FAKE_PAGES || hv->owner[mfn] != d->owner)
        return -EINVAL;
    collect_tables(hv, mfn, level, tables);
    rc = check_table(hv, d, mfn, level, tables, seen);
    if (!rc)
        hv->pinned[mfn] = level;
    return rc;
}

xen_pfn_t
fake_walk(FakeHv *hv, uint64_t cr3, uint64_t virt)
{
    xen_pfn_t mfn = cr3 >> 12;

    for (int level = 4; level >= 1; level--) {
        uint64_t entry;

        if (mfn >= SERAI_FAKE_PAGES)
            return 0;
        entry = ((uint64_t *)frame_data(hv, mfn))[virt >> (3 + 9 * level) & 511];
        if (!(entry & 1))
            return 0;
        mfn = entry >> 12 & 0xffffffffffUL;
    }
    return mfn < SERAI_FAKE_PAGES ? mfn : 0;
}

void
fake_mark_levels(FakeHv *hv, xen_pfn_t mfn, int level, uint8_t *levels)
{
    const uint64_t *table = frame_data(hv, mfn);

    if (levels[mfn] == level)
        return;
    levels[mfn] = level;
    if (level == 1)
        return;
    for (int i = 0; i < 512; i++)
        if (table[i] & 1)
            fake_mark_levels(hv, table[i] >> 12 & 0xffffffffffUL, level - 1, levels);
}
