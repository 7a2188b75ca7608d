/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading a migration stream into an empty PV domain.  The stream may come from anywhere: every length and
 * number is checked before it is used, memory is bounded by the domain's size, and what the stream holds can
 * harm the new domain only.  State of vCPUs is collected while memory arrives and applied at the end, in this
 * order: contexts, page tables pinned, the guest's p2m list.
 */
#include "private/restore.h"
#include "private/guest-state.h"
#include "private/stream.h"

#include <sys/mman.h>

typedef struct {
    GBytes *context;
    GBytes *blobs[3]; /* extended, XSAVE, MSRs */
} Vcpu;

static const uint32_t blob_records[3] = {SERAI_RECORD_VCPU_EXTENDED, SERAI_RECORD_VCPU_XSAVE,
                                         SERAI_RECORD_VCPU_MSRS};

typedef struct {
    SeraiGuestMemory *memory;
    const SeraiConfig *config;
    SeraiBoot *boot;
    SeraiProgress *progress;
    GCancellable *cancellable;
    int fd;
    guint8 *buffer; /* the body of the record at hand */
    uint32_t length;
    uint64_t count; /* pseudo-physical frames; 0 until the stream told */
    uint64_t *list_pfns;
    uint64_t list_count;
    uint8_t *types; /* by frame; 0xff for none */
    Vcpu *vcpus;
    GBytes *shared;
    GBytes *leaves;
    GBytes *msrs;
    SeraiTscInfo tsc;
    gboolean have_info;
    gboolean have_tsc;
    uint64_t pages;
} Restorer;

static gboolean
damaged(GError **error, const char *what)
{
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_IMAGE, _("The image is damaged: %s."), what);
    return FALSE;
}

/* --- reading ---------------------------------------------------------------------------------- */

static gboolean
read_headers(Restorer *r, GError **error)
{
    SeraiStreamHeader header;
    SeraiStreamDomain domain;

    if (!serai_read_all(r->fd, &header, sizeof(header), r->cancellable, error) ||
        !serai_read_all(r->fd, &domain, sizeof(domain), r->cancellable, error))
        return FALSE;
    if (header.marker != SERAI_STREAM_MARKER || GUINT32_FROM_BE(header.id) != SERAI_STREAM_ID)
        return damaged(error, _("it holds no migration stream"));
    if (GUINT32_FROM_BE(header.version) < 2 || GUINT32_FROM_BE(header.version) > SERAI_STREAM_VERSION ||
        header.options & 1) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED,
                            _("The image is of a version that is not known here."));
        return FALSE;
    }
    if (domain.type != SERAI_STREAM_TYPE_PV || domain.page_shift != SERAI_PAGE_SHIFT) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED,
                            _("The image is not of a paravirtualized (PV) domain."));
        return FALSE;
    }
    return TRUE;
}

static gboolean
read_record(Restorer *r, uint32_t *ret_type, GError **error)
{
    SeraiRecord record;

    if (!serai_read_all(r->fd, &record, sizeof(record), r->cancellable, error))
        return FALSE;
    if (record.length > SERAI_RECORD_MAX)
        return damaged(error, _("a record is too long"));
    r->length = record.length;
    *ret_type = record.type;
    return serai_read_all(r->fd, r->buffer, (record.length + 7) & ~7U, r->cancellable, error);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Gives the domain the frames of @pfns that it has not got yet. */
static gboolean
populate(Restorer *r, const uint64_t *pfns, guint count, GError **error)
{
    xen_pfn_t missing[SERAI_PAGE_BATCH], where[SERAI_PAGE_BATCH];
    size_t n = 0, got = 0;

    for (guint i = 0; i < count; i++) {
        if (r->memory->p2m[pfns[i]] != SERAI_NO_FRAME)
            continue;
        r->memory->p2m[pfns[i]] = 0; /* asked for: a number that comes twice is asked for once */
        missing[n] = where[n] = pfns[i];
        n++;
    }
    r->pages += n;
    if (n &&
        (!serai_hv_populate(r->memory->hv, r->memory->domid, n, 0, -1, missing, &got, error) || got < n)) {
        if (error && !*error)
            g_set_error_literal(
                error, SERAI_ERROR, SERAI_ERROR_NO_MEMORY,
                _("The host has too little free memory, or the image holds more than the domain may have."));
        return FALSE;
    }
    for (size_t i = 0; i < n; i++)
        r->memory->p2m[where[i]] = missing[i];
    return TRUE;
}

/* Turns the frame numbers of a page table into machine frames. */
static gboolean
localize_table(Restorer *r, uint64_t *table, GError **error)
{
    uint64_t needed[512];
    guint count = 0;

    for (int i = 0; i < 512; i++) {
        uint64_t pfn = table[i] >> SERAI_PAGE_SHIFT & 0xffffffffffUL;

        if (!(table[i] & 1))
            continue;
        if (pfn >= r->count)
            return damaged(error, _("a page table leads nowhere"));
        if (r->memory->p2m[pfn] == SERAI_NO_FRAME)
            needed[count++] = pfn;
    }
    if (!populate(r, needed, count, error))
        return FALSE;
    for (int i = 0; i < 512; i++)
        if (table[i] & 1)
            table[i] = (table[i] & 0xfff0000000000fffUL) |
                       r->memory->p2m[table[i] >> SERAI_PAGE_SHIFT & 0xffffffffffUL] << SERAI_PAGE_SHIFT;
    return TRUE;
}

static gboolean
has_data(uint8_t type)
{
    return type < 0xd;
}

static gboolean
load_pages(Restorer *r, const uint64_t *pfns, const uint8_t *types, guint count, guint8 *data, GError **error)
{
    xen_pfn_t frames[SERAI_PAGE_BATCH];
    guint n = 0;
    guint8 *map;

    for (guint i = 0; i < count; i++) {
        if (has_data(types[i]) && types[i] & 7 &&
            !localize_table(r, (uint64_t *)(data + ((size_t)n << SERAI_PAGE_SHIFT)), error))
            return FALSE;
        n += has_data(types[i]);
    }
    n = 0;
    for (guint i = 0; i < count; i++)
        if (has_data(types[i]) || types[i] == 0xe)
            frames[n++] = r->memory->p2m[pfns[i]];
    if (!n)
        return TRUE;
    map = serai_hv_map(r->memory->hv, r->memory->domid, PROT_READ | PROT_WRITE, n, frames, error);
    if (!map)
        return FALSE;
    n = 0;
    for (guint i = 0; i < count; i++) {
        if (has_data(types[i])) {
            memcpy(map + ((size_t)n++ << SERAI_PAGE_SHIFT), data, SERAI_PAGE_SIZE);
            data += SERAI_PAGE_SIZE;
        } else if (types[i] == 0xe) {
            memset(map + ((size_t)n++ << SERAI_PAGE_SHIFT), 0, SERAI_PAGE_SIZE);
        }
    }
    serai_hv_unmap(r->memory->hv, map, n);
    return TRUE;
}

static gboolean
on_pages(Restorer *r, GError **error)
{
    SeraiRecordPages *record = (SeraiRecordPages *)r->buffer;
    uint64_t pfns[SERAI_PAGE_BATCH], wanted[SERAI_PAGE_BATCH];
    uint8_t types[SERAI_PAGE_BATCH];
    const guint count = r->length < sizeof(*record) ? 0 : record->count;
    guint with_data = 0, to_populate = 0;

    if (!r->count)
        return damaged(error, _("memory comes before its size"));
    if (!count || count > SERAI_PAGE_BATCH || r->length < sizeof(*record) + count * 8)
        return damaged(error, _("a record of pages is malformed"));
    for (guint i = 0; i < count; i++) {
        pfns[i] = record->pfns[i] & SERAI_PAGE_PFN_MASK;
        types[i] = record->pfns[i] >> SERAI_PAGE_TYPE_SHIFT;
        if (pfns[i] >= r->count || (types[i] >= 5 && types[i] <= 8))
            return damaged(error, _("a page has a number or type that cannot be"));
        with_data += has_data(types[i]);
        if (types[i] != 0xf && types[i] != 0xd)
            wanted[to_populate++] = pfns[i];
        r->types[pfns[i]] = types[i];
    }
    if (r->length != sizeof(*record) + count * 8 + (size_t)with_data * SERAI_PAGE_SIZE)
        return damaged(error, _("a record of pages has the wrong length"));
    if (!populate(r, wanted, to_populate, error) ||
        !load_pages(r, pfns, types, count, r->buffer + sizeof(*record) + count * 8, error))
        return FALSE;
    serai_progress(r->progress, SERAI_STAGE_MEMORY, r->pages << SERAI_PAGE_SHIFT,
                   r->count << SERAI_PAGE_SHIFT);
    return TRUE;
}

static gboolean
on_p2m_frames(Restorer *r, GError **error)
{
    const SeraiRecordP2m *record = (const SeraiRecordP2m *)r->buffer;
    uint64_t count, frames;

    if (r->count)
        return damaged(error, _("it tells its size twice"));
    if (r->length < sizeof(*record) || record->start)
        return damaged(error, _("the frame list is malformed"));
    count = (uint64_t)record->end + 1;
    frames = (count + 511) / 512;
    if (r->length != sizeof(*record) + frames * 8)
        return damaged(error, _("the frame list has the wrong length"));
    /* The same bound that holds for a guest that is saved. */
    if (count > (r->config->max_memory_kib >> 2) * 2 + (1 << 20) + 1024)
        return damaged(error, _("it is of a larger domain"));
    r->memory->p2m = g_try_new(xen_pfn_t, count);
    r->types = g_try_malloc(count);
    if (!r->memory->p2m || !r->types) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_NO_MEMORY,
                            _("There is no memory for the frame list of the domain."));
        return FALSE;
    }
    memset(r->memory->p2m, 0xff, count * sizeof(xen_pfn_t));
    memset(r->types, 0xff, count);
    r->memory->page_count = count;
    r->count = count;
    r->list_count = frames;
    r->list_pfns = g_memdup2(record->frames, frames * 8);
    for (uint64_t i = 0; i < frames; i++)
        if (r->list_pfns[i] >= count)
            return damaged(error, _("the frame list lies nowhere"));
    return TRUE;
}

/* --- the rest, as it comes -------------------------------------------------------------------- */

static gboolean
on_vcpu(Restorer *r, uint32_t type, GError **error)
{
    const SeraiRecordVcpu *head = (const SeraiRecordVcpu *)r->buffer;
    GBytes **slot = NULL;

    if (r->length <= sizeof(*head) || head->vcpu >= r->config->max_vcpus)
        return damaged(error, _("it has a vCPU that the domain has not"));
    if (type == SERAI_RECORD_VCPU_BASIC) {
        slot = &r->vcpus[head->vcpu].context;
        if (r->length != sizeof(*head) + sizeof(vcpu_guest_context_t))
            return damaged(error, _("the state of a vCPU has the wrong length"));
    }
    for (guint i = 0; i < 3; i++)
        if (type == blob_records[i])
            slot = &r->vcpus[head->vcpu].blobs[i];
    g_clear_pointer(slot, g_bytes_unref);
    *slot = g_bytes_new(head + 1, r->length - sizeof(*head));
    return TRUE;
}

static gboolean
keep(Restorer *r, GBytes **slot, gsize wanted, GError **error)
{
    if (wanted && r->length != wanted)
        return damaged(error, _("a record has the wrong length"));
    g_clear_pointer(slot, g_bytes_unref);
    *slot = g_bytes_new(r->buffer, r->length);
    return TRUE;
}

static gboolean
on_record(Restorer *r, uint32_t type, GError **error)
{
    const SeraiRecordPvInfo *info = (const SeraiRecordPvInfo *)r->buffer;
    const SeraiRecordTsc *tsc = (const SeraiRecordTsc *)r->buffer;

    switch (type) {
    case SERAI_RECORD_PV_INFO:
        if (r->length < sizeof(*info) || info->width != 8 || info->levels != 4)
            return damaged(error, _("it is not of a 64-bit domain"));
        r->have_info = TRUE;
        return TRUE;
    case SERAI_RECORD_PV_P2M_FRAMES:
        return on_p2m_frames(r, error);
    case SERAI_RECORD_PAGE_DATA:
        return on_pages(r, error);
    case SERAI_RECORD_VCPU_BASIC:
    case SERAI_RECORD_VCPU_EXTENDED:
    case SERAI_RECORD_VCPU_XSAVE:
    case SERAI_RECORD_VCPU_MSRS:
        return on_vcpu(r, type, error);
    case SERAI_RECORD_SHARED_INFO:
        return keep(r, &r->shared, SERAI_PAGE_SIZE, error);
    case SERAI_RECORD_TSC_INFO:
        if (r->length < sizeof(*tsc))
            return damaged(error, _("a record has the wrong length"));
        r->tsc = (SeraiTscInfo){tsc->mode, tsc->khz, tsc->nsec, tsc->incarnation};
        r->have_tsc = TRUE;
        return TRUE;
    case SERAI_RECORD_CPUID_POLICY:
        return keep(r, &r->leaves, 0, error);
    case SERAI_RECORD_MSR_POLICY:
        return keep(r, &r->msrs, 0, error);
    case SERAI_RECORD_STATIC_DATA_END:
    case SERAI_RECORD_VERIFY:
        return TRUE;
    default:
        return type & SERAI_RECORD_OPTIONAL ? TRUE
                                            : damaged(error, _("it holds a record that is not known here"));
    }
}

/* --- at the end ------------------------------------------------------------------------------- */

/* A frame number of the stream that must be of a plain page (level 0) or of a page table. */
static gboolean
to_frame(Restorer *r, uint64_t *pfn, int level, GError **error)
{
    if (*pfn >= r->count || r->memory->p2m[*pfn] == SERAI_NO_FRAME || r->types[*pfn] == 0xff ||
        (level && (r->types[*pfn] & 7) != level) || (!level && r->types[*pfn] != 0 && r->types[*pfn] != 0xe))
        return damaged(error, _("a frame that matters is missing or of the wrong kind"));
    *pfn = r->memory->p2m[*pfn];
    return TRUE;
}

static gboolean
restore_start_info(Restorer *r, uint64_t frame, uint64_t shared_info, GError **error)
{
    start_info_t *info =
        serai_hv_map(r->memory->hv, r->memory->domid, PROT_READ | PROT_WRITE, 1, &frame, error);
    uint64_t store, console;
    gboolean ok;

    if (!info)
        return FALSE;
    store = info->store_mfn;
    console = info->console.domU.mfn;
    ok = to_frame(r, &store, 0, error) && to_frame(r, &console, 0, error);
    if (ok) {
        info->store_mfn = r->boot->store_frame = store;
        info->store_evtchn = r->boot->store_port;
        info->console.domU.mfn = r->boot->console_frame = console;
        info->console.domU.evtchn = r->boot->console_port;
        info->nr_pages = r->count;
        info->shared_info = shared_info << SERAI_PAGE_SHIFT;
        info->flags = 0;
    }
    serai_hv_unmap(r->memory->hv, info, 1);
    return ok;
}

static gboolean
restore_vcpu(Restorer *r, guint vcpu, uint64_t shared_info, GError **error)
{
    g_autofree vcpu_guest_context_t *c = NULL;
    uint64_t frame;

    if (!r->vcpus[vcpu].context)
        return TRUE;
    c = g_memdup2(g_bytes_get_data(r->vcpus[vcpu].context, NULL), sizeof(*c));
    if (vcpu == 0) {
        frame = c->user_regs.rdx;
        if (!to_frame(r, &frame, 0, error) || !restore_start_info(r, frame, shared_info, error))
            return FALSE;
        c->user_regs.rdx = frame;
    }
    if (c->gdt_ents > FIRST_RESERVED_GDT_ENTRY)
        return damaged(error, _("a GDT is too large"));
    for (guint i = 0; i < (c->gdt_ents + 511) / 512; i++) {
        frame = c->gdt_frames[i];
        if (!to_frame(r, &frame, 0, error))
            return FALSE;
        c->gdt_frames[i] = frame;
    }
    frame = c->ctrlreg[3] >> SERAI_PAGE_SHIFT;
    if (!to_frame(r, &frame, 4, error))
        return FALSE;
    c->ctrlreg[3] = frame << SERAI_PAGE_SHIFT;
    if (c->ctrlreg[1] & 1) {
        frame = c->ctrlreg[1] >> SERAI_PAGE_SHIFT;
        if (!to_frame(r, &frame, 4, error))
            return FALSE;
        c->ctrlreg[1] = frame << SERAI_PAGE_SHIFT;
    }
    c->flags |= VGCF_online;
    if (!serai_hv_set_context(r->memory->hv, r->memory->domid, vcpu, c, error))
        return FALSE;
    for (guint i = 0; i < 3; i++) {
        gsize size;
        const guint8 *data;

        if (!r->vcpus[vcpu].blobs[i])
            continue;
        data = g_bytes_get_data(r->vcpus[vcpu].blobs[i], &size);
        if (!serai_hv_set_vcpu_blob(r->memory->hv, r->memory->domid, vcpu, blob_records[i], data, size,
                                    error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
restore_shared(Restorer *r, xen_pfn_t frame, GError **error)
{
    const shared_info_t *old = g_bytes_get_data(r->shared, NULL);
    shared_info_t *new =
        serai_hv_map(r->memory->hv, r->memory->domid, PROT_READ | PROT_WRITE, 1, &frame, error);

    if (!new)
        return FALSE;
    /* Time is the hypervisor's business, and no event of the old life is pending. */
    memcpy(new->vcpu_info, old->vcpu_info, sizeof(new->vcpu_info));
    memcpy(&new->arch, &old->arch, sizeof(new->arch));
    new->arch.pfn_to_mfn_frame_list_list = 0;
    memset(new->evtchn_pending, 0, sizeof(new->evtchn_pending));
    memset(new->evtchn_mask, 0xff, sizeof(new->evtchn_mask));
    for (guint i = 0; i < XEN_LEGACY_MAX_VCPUS; i++)
        new->vcpu_info[i].evtchn_pending_sel = 0;
    serai_hv_unmap(r->memory->hv, new, 1);
    return TRUE;
}

static gboolean
pin_tables(Restorer *r, GError **error)
{
    for (uint64_t pfn = 0; pfn < r->count; pfn++)
        if (r->types[pfn] >= 9 && r->types[pfn] <= 0xc &&
            !serai_hv_pin_table(r->memory->hv, r->memory->domid, r->types[pfn] & 7, r->memory->p2m[pfn],
                                error))
            return FALSE;
    return TRUE;
}

static gboolean
restore_list(Restorer *r, GError **error)
{
    for (uint64_t i = 0; i < r->list_count; i++) {
        uint64_t frame = r->list_pfns[i], from = i * 512, n = MIN(512, r->count - from);
        xen_pfn_t *map;

        if (!to_frame(r, &frame, 0, error))
            return FALSE;
        map = serai_hv_map(r->memory->hv, r->memory->domid, PROT_READ | PROT_WRITE, 1, &frame, error);
        if (!map)
            return FALSE;
        memset(map, 0xff, SERAI_PAGE_SIZE);
        memcpy(map, r->memory->p2m + from, n * sizeof(*map));
        serai_hv_unmap(r->memory->hv, map, 1);
    }
    return TRUE;
}

static gboolean
finish(Restorer *r, GError **error)
{
    SeraiHv *hv = r->memory->hv;
    uint32_t domid = r->memory->domid;
    xen_domctl_getdomaininfo_t info;

    if (!r->have_info || !r->count || !r->shared || !r->vcpus[0].context)
        return damaged(error, _("a part of it is missing"));
    if ((r->leaves || r->msrs) && !serai_hv_set_policy(hv, domid, r->leaves, r->msrs, error)) {
        g_prefix_error(error, _("This machine lacks what the domain had: "));
        return FALSE;
    }
    if (!serai_hv_domain_info(hv, domid, &info, error) || !restore_shared(r, info.shared_info_frame, error))
        return FALSE;
    if (r->have_tsc && !serai_hv_set_tsc(hv, domid, &r->tsc, error))
        return FALSE;
    for (guint vcpu = 0; vcpu < r->config->max_vcpus; vcpu++)
        if (!restore_vcpu(r, vcpu, info.shared_info_frame, error))
            return FALSE;
    return pin_tables(r, error) && restore_list(r, error);
}

static gboolean
read_all(Restorer *r, GError **error)
{
    uint32_t type;

    if (!read_headers(r, error))
        return FALSE;
    for (;;) {
        if (!read_record(r, &type, error))
            return FALSE;
        if (type == SERAI_RECORD_END)
            return finish(r, error);
        if (!on_record(r, type, error))
            return FALSE;
    }
}

gboolean
serai_stream_restore(SeraiHost *host G_GNUC_UNUSED, SeraiGuestMemory *memory, const SeraiConfig *config,
                     SeraiBoot *boot, SeraiProgress *progress, GCancellable *cancellable, gpointer data,
                     GError **error)
{
    Restorer r = {.memory = memory,
                  .config = config,
                  .boot = boot,
                  .progress = progress,
                  .cancellable = cancellable,
                  .fd = *(int *)data};
    gboolean ok;

    r.buffer = g_malloc(SERAI_RECORD_MAX + 8);
    r.vcpus = g_new0(Vcpu, config->max_vcpus);
    ok = read_all(&r, error);
    for (guint v = 0; v < config->max_vcpus; v++) {
        g_clear_pointer(&r.vcpus[v].context, g_bytes_unref);
        for (guint i = 0; i < 3; i++)
            g_clear_pointer(&r.vcpus[v].blobs[i], g_bytes_unref);
    }
    g_clear_pointer(&r.shared, g_bytes_unref);
    g_clear_pointer(&r.leaves, g_bytes_unref);
    g_clear_pointer(&r.msrs, g_bytes_unref);
    g_free(r.vcpus);
    g_free(r.list_pfns);
    g_free(r.types);
    g_free(r.buffer);
    return ok;
}
