/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing a suspended PV guest as a migration stream (version 3; serai-save.c describes the whole image).  In
 * memory and registers the guest knows machine frames; in the stream all of them are pseudo-physical: page
 * tables, CR3, the GDT's frames, the start info.  A page of zeros is written as "allocate only".
 */
#include "private/guest-state.h"
#include "private/stream.h"

#include <sys/mman.h>

typedef struct {
    SeraiGuestState guest;
    int fd;
    SeraiProgress *progress;
    GCancellable *cancellable;
    guint8 *buffer; /* one record of pages */
} Saver;

static gboolean
write_record2(Saver *s, uint32_t type, const void *head, size_t head_size, const void *body, size_t size,
              GError **error)
{
    static const guint8 zeros[8];
    SeraiRecord record = {type, head_size + size};
    size_t pad = -(head_size + size) & 7;

    return serai_write_all(s->fd, &record, sizeof(record), s->cancellable, error) &&
           serai_write_all(s->fd, head, head_size, s->cancellable, error) &&
           serai_write_all(s->fd, body, size, s->cancellable, error) &&
           serai_write_all(s->fd, zeros, pad, s->cancellable, error);
}

static gboolean
write_record(Saver *s, uint32_t type, const void *body, size_t size, GError **error)
{
    return write_record2(s, type, NULL, 0, body, size, error);
}

/* --- what does not change while a guest runs -------------------------------------------------- */

static gboolean
write_headers(Saver *s, GError **error)
{
    const SeraiStreamHeader header = {
        SERAI_STREAM_MARKER, GUINT32_TO_BE(SERAI_STREAM_ID), GUINT32_TO_BE(SERAI_STREAM_VERSION), 0, 0, 0};
    const SeraiStreamDomain domain = {SERAI_STREAM_TYPE_PV, SERAI_PAGE_SHIFT, 0, 4, 17};
    const SeraiRecordPvInfo pv = {8, 4, {0}};
    g_autoptr(GByteArray) leaves = g_byte_array_new(), msrs = g_byte_array_new();

    if (!serai_write_all(s->fd, &header, sizeof(header), s->cancellable, error) ||
        !serai_write_all(s->fd, &domain, sizeof(domain), s->cancellable, error) ||
        !write_record(s, SERAI_RECORD_PV_INFO, &pv, sizeof(pv), error) ||
        !serai_hv_get_policy(s->guest.hv, s->guest.domid, leaves, msrs, error))
        return FALSE;
    if (leaves->len && !write_record(s, SERAI_RECORD_CPUID_POLICY, leaves->data, leaves->len, error))
        return FALSE;
    if (msrs->len && !write_record(s, SERAI_RECORD_MSR_POLICY, msrs->data, msrs->len, error))
        return FALSE;
    return write_record(s, SERAI_RECORD_STATIC_DATA_END, NULL, 0, error);
}

static gboolean
write_p2m_frames(Saver *s, GError **error)
{
    const SeraiRecordP2m head = {.start = 0, .end = s->guest.count - 1};
    g_autofree uint64_t *pfns = g_new(uint64_t, s->guest.list_count);

    for (uint64_t i = 0; i < s->guest.list_count; i++) {
        pfns[i] = serai_guest_pfn(&s->guest, s->guest.list_frames[i]);
        if (pfns[i] == SERAI_NO_FRAME) {
            g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_GUEST_REFUSED,
                                _("The guest's frame list lies in memory that is not the guest's."));
            return FALSE;
        }
    }
    return write_record2(s, SERAI_RECORD_PV_P2M_FRAMES, &head, sizeof(head), pfns, s->guest.list_count * 8,
                         error);
}

/* --- memory ----------------------------------------------------------------------------------- */

static gboolean
bad_page(GError **error, xen_pfn_t pfn)
{
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_GUEST_REFUSED,
                _("Frame %#lx of the guest holds a page table that leads out of the guest."),
                (unsigned long)pfn);
    return FALSE;
}

/* One PAGE_DATA record: @count frames and, side by side in @map, those of them that have contents. */
static gboolean
write_batch(Saver *s, const xen_pfn_t *pfns, const uint32_t *types, guint count, const guint8 *map,
            GError **error)
{
    SeraiRecordPages *record = (SeraiRecordPages *)s->buffer;
    guint8 *data = s->buffer + sizeof(*record) + count * 8;
    guint mapped = 0;

    record->count = count;
    record->reserved = 0;
    for (guint i = 0; i < count; i++) {
        uint32_t type = types[i] >> XEN_DOMCTL_PFINFO_LTAB_SHIFT;
        int level = type & 7;
        const guint8 *page;

        if (type >= 0xd) { /* broken, allocate only, invalid */
            record->pfns[i] = pfns[i] | (uint64_t)type << SERAI_PAGE_TYPE_SHIFT;
            continue;
        }
        page = map + ((size_t)mapped++ << SERAI_PAGE_SHIFT);
        if (!type && serai_guest_page_is_zero(page)) {
            record->pfns[i] = pfns[i] | 0xeUL << SERAI_PAGE_TYPE_SHIFT;
            continue;
        }
        record->pfns[i] = pfns[i] | (uint64_t)type << SERAI_PAGE_TYPE_SHIFT;
        if (!level)
            memcpy(data, page, SERAI_PAGE_SIZE);
        else if (serai_guest_normalize_table(&s->guest, (const uint64_t *)page, (uint64_t *)data, level))
            return bad_page(error, pfns[i]);
        data += SERAI_PAGE_SIZE;
    }
    return write_record(s, SERAI_RECORD_PAGE_DATA, s->buffer, data - s->buffer, error);
}

static gboolean
save_batch(Saver *s, const xen_pfn_t *pfns, guint count, GError **error)
{
    xen_pfn_t frames[SERAI_PAGE_BATCH], mapped[SERAI_PAGE_BATCH];
    uint32_t types[SERAI_PAGE_BATCH];
    guint mapped_count = 0;
    guint8 *map = NULL;
    gboolean ok;

    for (guint i = 0; i < count; i++)
        frames[i] = s->guest.p2m[pfns[i]];
    if (!serai_hv_page_types(s->guest.hv, s->guest.domid, count, frames, error))
        return FALSE;
    for (guint i = 0; i < count; i++) {
        types[i] = frames[i] & XEN_DOMCTL_PFINFO_LTAB_MASK;
        if (types[i] >> XEN_DOMCTL_PFINFO_LTAB_SHIFT < 0xd)
            mapped[mapped_count++] = s->guest.p2m[pfns[i]];
    }
    if (mapped_count) {
        map = serai_hv_map(s->guest.hv, s->guest.domid, PROT_READ, mapped_count, mapped, error);
        if (!map)
            return FALSE;
    }
    ok = write_batch(s, pfns, types, count, map, error);
    serai_hv_unmap(s->guest.hv, map, mapped_count);
    return ok;
}

static gboolean
write_memory(Saver *s, GError **error)
{
    xen_pfn_t pfns[SERAI_PAGE_BATCH];
    guint count = 0;

    for (uint64_t pfn = 0; pfn < s->guest.count; pfn++) {
        if (s->guest.p2m[pfn] != SERAI_NO_FRAME)
            pfns[count++] = pfn;
        if (count != SERAI_PAGE_BATCH && (pfn + 1 < s->guest.count || !count))
            continue;
        if (!save_batch(s, pfns, count, error))
            return FALSE;
        count = 0;
        serai_progress(s->progress, SERAI_STAGE_MEMORY, (pfn + 1) << SERAI_PAGE_SHIFT,
                       s->guest.count << SERAI_PAGE_SHIFT);
    }
    return TRUE;
}

/* --- vCPUs ------------------------------------------------------------------------------------ */

static gboolean
frame_to_pfn(Saver *s, uint64_t *frame, const char *what, GError **error)
{
    xen_pfn_t pfn = serai_guest_pfn(&s->guest, *frame);

    if (pfn == SERAI_NO_FRAME) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_GUEST_REFUSED, _("The guest's %s is not in its memory."),
                    what);
        return FALSE;
    }
    *frame = pfn;
    return TRUE;
}

static gboolean
normalize_context(Saver *s, vcpu_guest_context_t *c, guint vcpu, GError **error)
{
    uint64_t frame;

    if (c->gdt_ents > FIRST_RESERVED_GDT_ENTRY) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_GUEST_REFUSED,
                            _("The guest's GDT is too large."));
        return FALSE;
    }
    if (vcpu == 0) { /* it suspended with its start info in RDX */
        frame = c->user_regs.rdx;
        if (!frame_to_pfn(s, &frame, "start_info", error))
            return FALSE;
        c->user_regs.rdx = frame;
    }
    for (guint i = 0; i < (c->gdt_ents + 511) / 512; i++) {
        frame = c->gdt_frames[i];
        if (!frame_to_pfn(s, &frame, "GDT", error))
            return FALSE;
        c->gdt_frames[i] = frame;
    }
    frame = c->ctrlreg[3] >> SERAI_PAGE_SHIFT;
    if (!frame_to_pfn(s, &frame, "CR3", error))
        return FALSE;
    c->ctrlreg[3] = frame << SERAI_PAGE_SHIFT;
    if (c->ctrlreg[1]) { /* the page table of user mode */
        frame = c->ctrlreg[1] >> SERAI_PAGE_SHIFT;
        if (!frame_to_pfn(s, &frame, "CR1", error))
            return FALSE;
        c->ctrlreg[1] = 1 | frame << SERAI_PAGE_SHIFT;
    }
    return TRUE;
}

static gboolean
write_vcpu(Saver *s, guint vcpu, GError **error)
{
    static const uint32_t records[] = {SERAI_RECORD_VCPU_EXTENDED, SERAI_RECORD_VCPU_XSAVE,
                                       SERAI_RECORD_VCPU_MSRS};
    g_autofree vcpu_guest_context_t *context = g_new0(vcpu_guest_context_t, 1);
    const SeraiRecordVcpu head = {.vcpu = vcpu};
    struct xen_domctl_getvcpuinfo info;

    if (!serai_hv_vcpu_info(s->guest.hv, s->guest.domid, vcpu, &info, error))
        return FALSE;
    if (!info.online)
        return TRUE;
    if (!serai_hv_get_context(s->guest.hv, s->guest.domid, vcpu, context, error) ||
        !normalize_context(s, context, vcpu, error) ||
        !write_record2(s, SERAI_RECORD_VCPU_BASIC, &head, sizeof(head), context, sizeof(*context), error))
        return FALSE;
    for (guint i = 0; i < G_N_ELEMENTS(records); i++) {
        g_autoptr(GByteArray) blob =
            serai_hv_get_vcpu_blob(s->guest.hv, s->guest.domid, vcpu, records[i], error);

        if (!blob)
            return FALSE;
        if (blob->len && !write_record2(s, records[i], &head, sizeof(head), blob->data, blob->len, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
write_rest(Saver *s, GError **error)
{
    SeraiTscInfo tsc;
    SeraiRecordTsc record;

    if (!serai_hv_get_tsc(s->guest.hv, s->guest.domid, &tsc, error))
        return FALSE;
    record = (SeraiRecordTsc){tsc.mode, tsc.khz, tsc.elapsed_ns, tsc.incarnation, 0};
    if (!write_record(s, SERAI_RECORD_TSC_INFO, &record, sizeof(record), error) ||
        !write_record(s, SERAI_RECORD_SHARED_INFO, s->guest.shared, SERAI_PAGE_SIZE, error))
        return FALSE;
    for (guint vcpu = 0; vcpu <= s->guest.info.max_vcpu_id; vcpu++)
        if (!write_vcpu(s, vcpu, error))
            return FALSE;
    return write_record(s, SERAI_RECORD_END, NULL, 0, error);
}

gboolean
serai_stream_save(SeraiHv *hv, uint32_t domid, int fd, SeraiProgress *progress, GCancellable *cancellable,
                  GError **error)
{
    Saver s = {.fd = fd, .progress = progress, .cancellable = cancellable};
    gboolean ok;

    s.buffer = g_malloc(sizeof(SeraiRecordPages) + SERAI_PAGE_BATCH * (8 + SERAI_PAGE_SIZE));
    ok = serai_guest_read(&s.guest, hv, domid, error) && write_headers(&s, error) &&
         write_p2m_frames(&s, error) && write_memory(&s, error) && write_rest(&s, error);
    serai_guest_clear(&s.guest);
    g_free(s.buffer);
    return ok;
}
