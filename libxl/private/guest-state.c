/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finding a PV guest's p2m list.  The guest tells in its shared info page (<xen/arch-x86/xen.h>,
 * arch_shared_info): either p2m_cr3 and p2m_vaddr, a linear list in virtual memory, or
 * pfn_to_mfn_frame_list_list, a tree of frames. Nothing of it is believed: frames that are not the guest's
 * cannot be mapped, and sizes have limits.
 */
#include "private/guest-state.h"

#include <sys/mman.h>

#define ENTRIES 512UL /* of 8 bytes on a page */

/* Level 4 entries that are the hypervisor's own (HYPERVISOR_VIRT_START to _END, <xen/arch-x86/xen-x86_64.h>).
 */
#define XEN_SLOT_FIRST 256
#define XEN_SLOT_LAST  271
G_STATIC_ASSERT((__HYPERVISOR_VIRT_START >> 39 & 511) == XEN_SLOT_FIRST);
G_STATIC_ASSERT(((__HYPERVISOR_VIRT_END - 1) >> 39 & 511) == XEN_SLOT_LAST);

/* Linux marks entries that are no frames of its own with the two top bits. */
#define FRAME_LIMIT 0xffffffffUL

static gboolean
bad_guest(GError **error, const char *what)
{
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_GUEST_REFUSED, _("The guest's memory cannot be read: %s."),
                what);
    return FALSE;
}

static gboolean
no_memory(GError **error)
{
    g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_NO_MEMORY,
                        _("There is no memory for the frame list of the domain."));
    return FALSE;
}

gboolean
serai_guest_copy(SeraiHv *hv, uint32_t domid, const xen_pfn_t *frames, uint64_t count, void *to,
                 GError **error)
{
    for (uint64_t done = 0; done < count;) {
        uint64_t n = MIN(count - done, 1024);
        void *map = serai_hv_map(hv, domid, PROT_READ, n, frames + done, error);

        if (!map)
            return FALSE;
        memcpy((char *)to + (done << SERAI_PAGE_SHIFT), map, n << SERAI_PAGE_SHIFT);
        serai_hv_unmap(hv, map, n);
        done += n;
    }
    return TRUE;
}

static gboolean
copy_frames(SeraiGuestState *s, const xen_pfn_t *frames, uint64_t count, void *to, GError **error)
{
    return serai_guest_copy(s->hv, s->domid, frames, count, to, error);
}

static gboolean
copy_frame(SeraiGuestState *s, xen_pfn_t frame, uint64_t *to, GError **error)
{
    return copy_frames(s, &frame, 1, to, error);
}

gboolean
serai_guest_is_frame(xen_pfn_t frame)
{
    return frame && frame < FRAME_LIMIT;
}

xen_pfn_t
serai_guest_entry_frame(uint64_t entry)
{
    return entry >> SERAI_PAGE_SHIFT & 0xffffffffffUL;
}

gboolean
serai_guest_table(SeraiHv *hv, uint32_t domid, uint64_t cr3, uint64_t address, uint64_t *ret_table,
                  GError **error)
{
    xen_pfn_t frame = cr3 >> SERAI_PAGE_SHIFT;

    for (int level = 4; level > 1; level--) {
        uint64_t entry;

        if (!serai_guest_copy(hv, domid, &frame, 1, ret_table, error))
            return FALSE;
        entry = ret_table[address >> (3 + 9 * level) & (ENTRIES - 1)];
        if (!(entry & 1)) {
            g_set_error(error, SERAI_ERROR, SERAI_ERROR_GUEST_REFUSED,
                        _("The guest has mapped nothing at address 0x%lx."), (unsigned long)address);
            return FALSE;
        }
        frame = serai_guest_entry_frame(entry);
    }
    return serai_guest_copy(hv, domid, &frame, 1, ret_table, error);
}

/* The frames of the linear list: one walk down for each level 1 table, then all its entries. */
static gboolean
find_linear(SeraiGuestState *s, GError **error)
{
    uint64_t virt = s->shared->arch.p2m_vaddr, cr3 = s->shared->arch.p2m_cr3;
    g_autofree uint64_t *table = g_malloc(SERAI_PAGE_SIZE);
    uint64_t i = 0;

    if (virt & (SERAI_PAGE_SIZE - 1) || virt + (s->list_count << SERAI_PAGE_SHIFT) < virt)
        return bad_guest(error, _("its frame list lies nowhere"));
    while (i < s->list_count) {
        uint64_t at = virt + (i << SERAI_PAGE_SHIFT);

        if (!serai_guest_table(s->hv, s->domid, cr3, at, table, error))
            return FALSE;
        do {
            uint64_t entry = table[(virt + (i << SERAI_PAGE_SHIFT)) >> 12 & 511];

            if (!(entry & 1))
                return bad_guest(error, _("its frame list is not mapped"));
            s->list_frames[i++] = serai_guest_entry_frame(entry);
        } while (i < s->list_count && (virt + (i << SERAI_PAGE_SHIFT)) >> 12 & 511);
    }
    return TRUE;
}

/* The frames of the tree: one page of frames that each hold 512 frames of the list. */
static gboolean
find_tree(SeraiGuestState *s, GError **error)
{
    g_autofree uint64_t *top = g_malloc(SERAI_PAGE_SIZE), *middle = g_malloc(SERAI_PAGE_SIZE);

    if (!s->shared->arch.pfn_to_mfn_frame_list_list || s->list_count > ENTRIES * ENTRIES)
        return bad_guest(error, _("it does not tell where its frame list is"));
    if (!copy_frame(s, s->shared->arch.pfn_to_mfn_frame_list_list, top, error))
        return FALSE;
    for (uint64_t i = 0; i < s->list_count; i++) {
        if (i % ENTRIES == 0 && !copy_frame(s, top[i / ENTRIES], middle, error))
            return FALSE;
        s->list_frames[i] = middle[i % ENTRIES];
    }
    return TRUE;
}

/* --- the way back from machine frames --------------------------------------------------------- */

/* Who does not know the keys cannot choose frames that are all at one place. */
static uint64_t
hash(const SeraiGuestState *s, uint64_t mfn)
{
    uint64_t x = mfn * s->keys[0];

    return (x ^ x >> 32) * s->keys[1] >> 32;
}

static gboolean
make_reverse(SeraiGuestState *s, GError **error)
{
    uint64_t size = 1024;

    while (size < s->count * 2)
        size *= 2;
    s->table_mask = size - 1;
    for (guint i = 0; i < G_N_ELEMENTS(s->keys); i++)
        s->keys[i] = (uint64_t)g_random_int() << 32 | g_random_int() | 1;
    s->reverse = g_try_malloc0(size * sizeof(*s->reverse));
    if (!s->reverse)
        return no_memory(error);
    for (uint64_t pfn = 0; pfn < s->count; pfn++) {
        uint64_t at;

        if (s->p2m[pfn] == SERAI_NO_FRAME)
            continue;
        at = hash(s, s->p2m[pfn]) & s->table_mask;
        while (s->reverse[at].mfn && s->reverse[at].mfn != (uint32_t)s->p2m[pfn])
            at = (at + 1) & s->table_mask;
        s->reverse[at].mfn = s->p2m[pfn];
        s->reverse[at].pfn = pfn;
    }
    return TRUE;
}

xen_pfn_t
serai_guest_pfn(const SeraiGuestState *s, xen_pfn_t mfn)
{
    if (!serai_guest_is_frame(mfn))
        return SERAI_NO_FRAME;
    for (uint64_t at = hash(s, mfn) & s->table_mask; s->reverse[at].mfn; at = (at + 1) & s->table_mask)
        if (s->reverse[at].mfn == mfn)
            return s->reverse[at].pfn;
    return SERAI_NO_FRAME;
}

guint
serai_guest_normalize_table(const SeraiGuestState *s, const uint64_t *from, uint64_t *to, int level)
{
    guint out = 0;

    for (guint i = 0; i < ENTRIES; i++) {
        uint64_t entry = from[i];

        if (level == 4 && i >= XEN_SLOT_FIRST && i <= XEN_SLOT_LAST)
            entry = 0;
        if (entry & 1) {
            xen_pfn_t pfn = serai_guest_pfn(s, serai_guest_entry_frame(entry));

            if (pfn == SERAI_NO_FRAME || (level > 1 && entry & 0x80)) {
                entry = 0;
                out++;
            } else {
                entry = (entry & 0xfff0000000000fffUL) | pfn << SERAI_PAGE_SHIFT;
            }
        }
        to[i] = entry;
    }
    return out;
}

gboolean
serai_guest_page_is_zero(const void *page)
{
    const uint64_t *p = page;

    for (guint i = 0; i < ENTRIES; i += 8)
        if (p[i] | p[i + 1] | p[i + 2] | p[i + 3] | p[i + 4] | p[i + 5] | p[i + 6] | p[i + 7])
            return FALSE;
    return TRUE;
}

/* --- all -------------------------------------------------------------------------------------- */

gboolean
serai_guest_read(SeraiGuestState *s, SeraiHv *hv, uint32_t domid, GError **error)
{
    xen_pfn_t frame;

    memset(s, 0, sizeof(*s));
    s->hv = hv;
    s->domid = domid;
    if (!serai_hv_domain_info(hv, domid, &s->info, error))
        return FALSE;
    if (s->info.flags & XEN_DOMINF_hvm_guest) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED,
                            _("Only paravirtualized (PV) domains can be saved and dumped."));
        return FALSE;
    }
    s->shared = g_malloc(SERAI_PAGE_SIZE);
    frame = s->info.shared_info_frame;
    if (!copy_frames(s, &frame, 1, s->shared, error))
        return FALSE;
    s->count = s->shared->arch.max_pfn;
    /* Room for a balloon and for frames of others, not for what a liar claims. */
    if (!s->count || s->count > s->info.max_pages * 2 + (1 << 20))
        return bad_guest(error, _("it has not told its size, or a wrong one"));
    s->list_count = (s->count + ENTRIES - 1) / ENTRIES;
    s->list_frames = g_new(xen_pfn_t, s->list_count);
    s->p2m = g_try_malloc(s->list_count << SERAI_PAGE_SHIFT);
    if (!s->p2m)
        return no_memory(error);
    if (!(s->shared->arch.p2m_cr3 ? find_linear(s, error) : find_tree(s, error)) ||
        !copy_frames(s, s->list_frames, s->list_count, s->p2m, error))
        return FALSE;
    for (uint64_t pfn = 0; pfn < s->count; pfn++)
        if (!serai_guest_is_frame(s->p2m[pfn]))
            s->p2m[pfn] = SERAI_NO_FRAME;
    return make_reverse(s, error);
}

void
serai_guest_clear(SeraiGuestState *s)
{
    g_clear_pointer(&s->shared, g_free);
    g_clear_pointer(&s->p2m, g_free);
    g_clear_pointer(&s->list_frames, g_free);
    g_clear_pointer(&s->reverse, g_free);
}
