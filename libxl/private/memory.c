/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest's memory while it is built: giving it frames, and writing into them by mapping a few MiB at a time,
 * so that dom0 needs the same memory for a guest of any size.
 */
#include "private/build.h"

#include <sys/mman.h>
#include <unistd.h>

#define CHUNK_PAGES 1024UL

/* One extent of each order is tried at a time no more often than this, to stay cancellable. */
static const struct {
    uint32_t order;
    size_t batch;
} extents[] = {
    {18, 1},
    {12, 64},
    {9, 512},
    {0, 65536},
};

static gboolean
populate_range(SeraiGuestMemory *memory, uint64_t start, uint64_t end, int node, SeraiProgress *progress,
               GCancellable *cancellable, GError **error)
{
    g_autofree xen_pfn_t *list = g_new(xen_pfn_t, 65536);
    uint64_t pfn = start;

    for (guint i = 0; i < G_N_ELEMENTS(extents); i++) {
        const uint64_t pages = 1UL << extents[i].order;

        while (end - pfn >= pages) {
            size_t count = MIN((end - pfn) >> extents[i].order, extents[i].batch), got = 0;
            g_autoptr(GError) local = NULL;

            if (g_cancellable_set_error_if_cancelled(cancellable, error))
                return FALSE;
            for (size_t k = 0; k < count; k++)
                list[k] = pfn + k * pages;
            if (!serai_hv_populate(memory->hv, memory->domid, count, extents[i].order, node, list, &got,
                                   &local) &&
                !extents[i].order) {
                g_propagate_error(error, g_steal_pointer(&local));
                return FALSE;
            }
            for (size_t k = 0; k < got; k++)
                for (uint64_t p = 0; p < pages; p++)
                    memory->p2m[pfn++] = list[k] + p;
            serai_progress(progress, SERAI_STAGE_MEMORY, pfn << SERAI_PAGE_SHIFT,
                           memory->page_count << SERAI_PAGE_SHIFT);
            if (got < count)
                break; /* none of this size is left, or they are not allowed: go on with smaller ones */
        }
    }
    if (pfn == end)
        return TRUE;
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_NO_MEMORY,
                _("The host has no more free memory: %lu KiB of the domain's %lu KiB could not be had."),
                (end - pfn) << 2, memory->page_count << 2);
    return FALSE;
}

gboolean
serai_memory_populate(SeraiGuestMemory *memory, const SeraiConfig *config, SeraiProgress *progress,
                      GCancellable *cancellable, GError **error)
{
    uint64_t pfn = 0;

    memory->p2m = g_try_new(xen_pfn_t, memory->page_count);
    if (!memory->p2m) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_NO_MEMORY,
                            _("There is no memory for the frame list of the domain."));
        return FALSE;
    }
    /* A claim makes a host with too little memory say so at once, instead of after minutes. */
    if (!serai_hv_claim(memory->hv, memory->domid, memory->page_count, error)) {
        g_prefix_error(error, _("Cannot reserve %lu KiB: "), (unsigned long)memory->page_count << 2);
        return FALSE;
    }
    for (guint i = 0; i < config->vnuma->len; i++) {
        const SeraiVnumaNode *node = config->vnuma->pdata[i];
        uint64_t end = i + 1 == config->vnuma->len ? memory->page_count
                                                   : MIN(pfn + (node->memory_kib >> 2), memory->page_count);

        if (!populate_range(memory, pfn, end, node->pnode, progress, cancellable, error))
            return FALSE;
        pfn = end;
    }
    if (!populate_range(memory, pfn, memory->page_count, -1, progress, cancellable, error))
        return FALSE;
    return serai_hv_claim(memory->hv, memory->domid, 0, error);
}

void
serai_memory_clear(SeraiGuestMemory *memory)
{
    g_clear_pointer(&memory->p2m, g_free);
}

void *
serai_memory_map(SeraiGuestMemory *memory, uint64_t pfn, uint64_t count, GError **error)
{
    if (pfn > memory->page_count || count > memory->page_count - pfn) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_NO_MEMORY,
                            _("The domain has too little memory for its kernel and initrd."));
        return NULL;
    }
    return serai_hv_map(memory->hv, memory->domid, PROT_READ | PROT_WRITE, count, memory->p2m + pfn, error);
}

/* Calls @piece for each mapped stretch of [address, address + size). */
typedef gboolean (*PieceFunc)(void *to, uint64_t offset, uint64_t size, gpointer data, GError **error);

static gboolean
for_each_piece(SeraiGuestMemory *memory, uint64_t address, uint64_t size, PieceFunc piece, gpointer data,
               GError **error)
{
    for (uint64_t done = 0; done < size;) {
        uint64_t pfn = (address + done) >> SERAI_PAGE_SHIFT;
        uint64_t skip = (address + done) & (SERAI_PAGE_SIZE - 1);
        uint64_t n = MIN(size - done, (CHUNK_PAGES << SERAI_PAGE_SHIFT) - skip);
        uint64_t pages = (skip + n + SERAI_PAGE_SIZE - 1) >> SERAI_PAGE_SHIFT;
        char *map = serai_memory_map(memory, pfn, pages, error);
        gboolean ok;

        if (!map)
            return FALSE;
        ok = piece(map + skip, done, n, data, error);
        serai_hv_unmap(memory->hv, map, pages);
        if (!ok)
            return FALSE;
        done += n;
    }
    return TRUE;
}

static gboolean
piece_copy(void *to, uint64_t offset, uint64_t size, gpointer data, GError **error G_GNUC_UNUSED)
{
    memcpy(to, (const char *)data + offset, size);
    return TRUE;
}

static gboolean
piece_zero(void *to, uint64_t offset G_GNUC_UNUSED, uint64_t size, gpointer data G_GNUC_UNUSED,
           GError **error G_GNUC_UNUSED)
{
    memset(to, 0, size);
    return TRUE;
}

typedef struct {
    int fd;
    GCancellable *cancellable;
} ReadFd;

static gboolean
piece_read(void *to, uint64_t offset G_GNUC_UNUSED, uint64_t size, gpointer data, GError **error)
{
    ReadFd *r = data;

    return serai_read_all(r->fd, to, size, r->cancellable, error);
}

gboolean
serai_memory_write(SeraiGuestMemory *memory, uint64_t address, const void *data, uint64_t size,
                   GError **error)
{
    return for_each_piece(memory, address, size, piece_copy, (gpointer)data, error);
}

gboolean
serai_memory_zero(SeraiGuestMemory *memory, uint64_t address, uint64_t size, GError **error)
{
    return memory->zeroed || for_each_piece(memory, address, size, piece_zero, NULL, error);
}

gboolean
serai_memory_read_fd(SeraiGuestMemory *memory, uint64_t address, int fd, uint64_t size,
                     GCancellable *cancellable, GError **error)
{
    ReadFd r = {fd, cancellable};

    return for_each_piece(memory, address, size, piece_read, &r, error);
}
