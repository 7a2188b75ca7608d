/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A PV guest's page tables hold machine frames, so a virtual address is four tables away.  A pseudo-physical
 * one takes the guest's p2m list, of which only the page in question is looked for (guest-state.c reads all
 * of it).  The last table and the last page of the list are kept, as the next page mostly needs the same.
 */
#include "private/peek.h"
#include "private/guest-state.h"

#include <sys/mman.h>

#define ENTRIES 512UL

/* What there is no page for: an address above all of them is no entry's. */
#define NOTHING (~(uint64_t)0)

typedef struct {
    SeraiHv *hv;
    uint32_t domid;
    uint64_t cr3;
    shared_info_t *shared; /* a copy; NULL for virtual addresses */
    uint64_t table_of;     /* virtual address >> 21 that @table maps */
    uint64_t table[ENTRIES];
    uint64_t list_of; /* frame / 512 that @list tells about */
    uint64_t list[ENTRIES];
} Peek;

static void
peek_free(Peek *peek)
{
    g_free(peek->shared);
    g_free(peek);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Peek, peek_free)

static gboolean
not_there(GError **error, uint64_t address)
{
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG,
                _("The guest has no memory at address 0x%lx."), (unsigned long)address);
    return FALSE;
}

/* The machine frame behind a virtual address. */
static gboolean
virtual_frame(Peek *peek, uint64_t address, xen_pfn_t *ret_frame, GError **error)
{
    uint64_t entry;

    /* Bits 63 to 47 are one and the same. */
    if ((uint64_t)((int64_t)(address << 16) >> 16) != address)
        return not_there(error, address);
    if (peek->table_of != address >> 21) {
        peek->table_of = NOTHING;
        if (!serai_guest_table(peek->hv, peek->domid, peek->cr3, address, peek->table, error))
            return FALSE;
        peek->table_of = address >> 21;
    }
    entry = peek->table[address >> SERAI_PAGE_SHIFT & (ENTRIES - 1)];
    if (!(entry & 1))
        return not_there(error, address);
    *ret_frame = serai_guest_entry_frame(entry);
    return TRUE;
}

/* The page of the p2m list that tells about frame @pfn. */
static gboolean
read_list(Peek *peek, uint64_t pfn, GError **error)
{
    uint64_t index = pfn / ENTRIES;
    xen_pfn_t frame;

    if (peek->shared->arch.p2m_cr3) {
        if (!virtual_frame(peek, peek->shared->arch.p2m_vaddr + pfn * sizeof(uint64_t), &frame, error))
            return FALSE;
    } else {
        frame = peek->shared->arch.pfn_to_mfn_frame_list_list;
        if (!frame || index >= ENTRIES * ENTRIES)
            return not_there(error, pfn << SERAI_PAGE_SHIFT);
        if (!serai_guest_copy(peek->hv, peek->domid, &frame, 1, peek->list, error))
            return FALSE;
        frame = peek->list[index / ENTRIES];
        if (!serai_guest_copy(peek->hv, peek->domid, &frame, 1, peek->list, error))
            return FALSE;
        frame = peek->list[index % ENTRIES];
    }
    return serai_guest_copy(peek->hv, peek->domid, &frame, 1, peek->list, error);
}

/* The machine frame behind a pseudo-physical address. */
static gboolean
physical_frame(Peek *peek, uint64_t address, xen_pfn_t *ret_frame, GError **error)
{
    uint64_t pfn = address >> SERAI_PAGE_SHIFT;

    if (pfn >= peek->shared->arch.max_pfn)
        return not_there(error, address);
    if (peek->list_of != pfn / ENTRIES) {
        peek->list_of = NOTHING;
        if (!read_list(peek, pfn, error))
            return FALSE;
        peek->list_of = pfn / ENTRIES;
    }
    *ret_frame = peek->list[pfn % ENTRIES];
    return serai_guest_is_frame(*ret_frame) || not_there(error, address);
}

static Peek *
peek_new(SeraiHv *hv, uint32_t domid, gboolean virt, GError **error)
{
    g_autoptr(Peek) peek = g_new0(Peek, 1);
    g_autofree vcpu_guest_context_t *context = g_new0(vcpu_guest_context_t, 1);
    xen_domctl_getdomaininfo_t info;
    xen_pfn_t frame;

    peek->hv = hv;
    peek->domid = domid;
    peek->table_of = peek->list_of = NOTHING;
    if (!serai_hv_domain_info(hv, domid, &info, error))
        return NULL;
    if (info.flags & XEN_DOMINF_hvm_guest) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED,
                            _("Only the memory of paravirtualized (PV) domains can be read."));
        return NULL;
    }
    if (virt) {
        if (!serai_hv_get_context(hv, domid, 0, context, error))
            return NULL;
        peek->cr3 = context->ctrlreg[3];
        return g_steal_pointer(&peek);
    }
    frame = info.shared_info_frame;
    peek->shared = g_malloc(SERAI_PAGE_SIZE);
    if (!serai_guest_copy(hv, domid, &frame, 1, peek->shared, error))
        return NULL;
    peek->cr3 = peek->shared->arch.p2m_cr3;
    if (!peek->shared->arch.max_pfn || (!peek->cr3 && !peek->shared->arch.pfn_to_mfn_frame_list_list)) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_GUEST_REFUSED,
                            _("The guest has not told yet where its memory lies."));
        return NULL;
    }
    return g_steal_pointer(&peek);
}

gboolean
serai_peek(SeraiHv *hv, uint32_t domid, gboolean virt, uint64_t address, void *buffer, uint64_t size,
           GError **error)
{
    g_autoptr(Peek) peek = peek_new(hv, domid, virt, error);
    uint64_t done = 0;

    if (!peek)
        return FALSE;
    if (size && address + size - 1 < address)
        return not_there(error, address);
    while (done < size) {
        uint64_t skip = (address + done) & (SERAI_PAGE_SIZE - 1);
        uint64_t n = MIN(size - done, SERAI_PAGE_SIZE - skip);
        xen_pfn_t frame;
        guint8 *map;

        if (!(virt ? virtual_frame : physical_frame)(peek, address + done, &frame, error))
            return FALSE;
        map = serai_hv_map(hv, domid, PROT_READ, 1, &frame, error);
        if (!map)
            return FALSE;
        memcpy((guint8 *)buffer + done, map + skip, n);
        serai_hv_unmap(hv, map, 1);
        done += n;
    }
    return TRUE;
}
