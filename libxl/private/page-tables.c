/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The page tables that a PV kernel starts on.  Two stretches of virtual memory are mapped with 4 KiB pages:
 *
 *   [virt_base, virt_end)            to frames 0 and up: kernel, initrd, start info, these tables, boot stack
 *   [p2m_virt, + p2m_pages)          to the p2m list, when the kernel wants it apart
 *
 * Tables of the first stretch lie at tables_pfn, the top table first, then level 3, 2 and 1, each level in
 * order of address; those that the second needs besides lie behind the p2m list.  A table must not be mapped
 * writable
 * (<xen/xen.h>), so the entries of level 1 that lead to one lack the write bit.
 */
#include "private/build.h"

#include <sys/mman.h>

#define PRESENT  0x001UL
#define WRITABLE 0x002UL
#define USER     0x004UL
#define ACCESSED 0x020UL
#define DIRTY    0x040UL

/* Bits of a virtual address below what one table of a level covers: 2 MiB, 1 GiB, 512 GiB, all. */
static const int span_shift[5] = {12, 21, 30, 39, 48};

static uint64_t
virt_index(uint64_t virt)
{
    return virt & 0xffffffffffffUL;
}

uint64_t
serai_tables_count(uint64_t from, uint64_t to, gboolean with_top)
{
    uint64_t count = with_top ? 1 : 0;

    from = virt_index(from);
    to = virt_index(to - 1);
    for (int level = 3; level >= 1; level--)
        count += (to >> span_shift[level]) - (from >> span_shift[level]) + 1;
    return count;
}

/* Tables that exist, by level and by which stretch of the address space they cover. */
typedef struct {
    SeraiGuestMemory *memory;
    GHashTable *tables; /* level and span to mapped table, owned by @maps */
    GHashTable *pfns;   /* mapped table to frame */
    uint64_t *first;    /* mapping of the first run */
    uint64_t *second;   /* mapping of the second run, or NULL */
    const SeraiLayout *layout;
    uint64_t used[2];
} Tables;

static uint64_t
table_key(int level, uint64_t virt)
{
    return (uint64_t)level << 60 | (level < 4 ? virt_index(virt) >> span_shift[level] : 0);
}

/* The table of @level that covers @virt; made from run @run when there is none yet. */
static uint64_t *
table_get(Tables *t, int run, int level, uint64_t virt)
{
    uint64_t key = table_key(level, virt);
    uint64_t *table = g_hash_table_lookup(t->tables, &key);

    if (!table) {
        uint64_t n = t->used[run]++;
        uint64_t *base = run ? t->second : t->first;
        uint64_t pfn = (run ? t->layout->p2m_pfn + t->layout->p2m_pages : t->layout->tables_pfn) + n;

        table = base + n * (SERAI_PAGE_SIZE / sizeof(*table));
        g_hash_table_insert(t->tables, g_memdup2(&key, sizeof(key)), table);
        g_hash_table_insert(t->pfns, table, (gpointer)(uintptr_t)pfn);
    }
    return table;
}

static gboolean
is_table(const SeraiLayout *layout, uint64_t pfn)
{
    return (pfn >= layout->tables_pfn && pfn < layout->tables_pfn + layout->tables_count) ||
           (pfn >= layout->p2m_pfn + layout->p2m_pages &&
            pfn < layout->p2m_pfn + layout->p2m_pages + layout->p2m_tables_count);
}

/* All tables of a stretch, top level first, so that each run is ordered as the head of the file says. */
static void
make_tables(Tables *t, int run, uint64_t from, uint64_t to)
{
    for (int level = 4; level >= 1; level--) {
        uint64_t step = level < 4 ? 1UL << span_shift[level] : 0;

        for (uint64_t virt = from; virt_index(virt) <= virt_index(to - 1); virt = (virt & -step) + step) {
            uint64_t *table = table_get(t, run, level, virt);

            if (level < 4) {
                uint64_t *above = table_get(t, run, level + 1, virt);
                uint64_t pfn = (uintptr_t)g_hash_table_lookup(t->pfns, table);

                above[virt >> span_shift[level] & 511] =
                    t->memory->p2m[pfn] << SERAI_PAGE_SHIFT | PRESENT | WRITABLE | USER | ACCESSED | DIRTY;
            }
            if (!step || virt_index((virt & -step) + step) < virt_index(virt))
                break;
        }
    }
}

static void
map_pages(Tables *t, int run, uint64_t virt, uint64_t pfn, uint64_t count)
{
    uint64_t *table = NULL;

    for (uint64_t i = 0; i < count; i++, virt += SERAI_PAGE_SIZE) {
        uint64_t entry = t->memory->p2m[pfn + i] << SERAI_PAGE_SHIFT | PRESENT | ACCESSED;

        if (!is_table(t->layout, pfn + i))
            entry |= WRITABLE;
        if (!table || !(virt >> 12 & 511))
            table = table_get(t, run, 1, virt);
        table[virt >> 12 & 511] = entry;
    }
}

gboolean
serai_tables_write(SeraiGuestMemory *memory, const SeraiLayout *layout, GError **error)
{
    Tables t = {.memory = memory, .layout = layout};
    uint64_t pages = (layout->virt_end - layout->virt_base) >> SERAI_PAGE_SHIFT;
    gboolean apart = layout->p2m_tables_count > 0;

    t.first = serai_memory_map(memory, layout->tables_pfn, layout->tables_count, error);
    if (!t.first)
        return FALSE;
    if (apart) {
        t.second =
            serai_memory_map(memory, layout->p2m_pfn + layout->p2m_pages, layout->p2m_tables_count, error);
        if (!t.second) {
            serai_hv_unmap(memory->hv, t.first, layout->tables_count);
            return FALSE;
        }
        memset(t.second, 0, layout->p2m_tables_count << SERAI_PAGE_SHIFT);
    }
    memset(t.first, 0, layout->tables_count << SERAI_PAGE_SHIFT);
    t.tables = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    t.pfns = g_hash_table_new(NULL, NULL);

    make_tables(&t, 0, layout->virt_base, layout->virt_end);
    map_pages(&t, 0, layout->virt_base, 0, pages);
    if (apart) {
        make_tables(&t, 1, layout->p2m_virt, layout->p2m_virt + (layout->p2m_pages << SERAI_PAGE_SHIFT));
        map_pages(&t, 1, layout->p2m_virt, layout->p2m_pfn, layout->p2m_pages);
    }
    g_assert(t.used[0] <= layout->tables_count && t.used[1] <= layout->p2m_tables_count);

    g_hash_table_destroy(t.tables);
    g_hash_table_destroy(t.pfns);
    serai_hv_unmap(memory->hv, t.first, layout->tables_count);
    if (apart)
        serai_hv_unmap(memory->hv, t.second, layout->p2m_tables_count);
    return TRUE;
}
