/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A core dump in the compressed format of kdump, version 6, which crash, makedumpfile and libkdumpfile read:
 *
 *   block 0      Header: what the machine was
 *   block 1 ...  SubHeader, and behind it ELF notes: the registers of each vCPU, the kernel's VMCOREINFO
 *   two bitmaps  a bit for each frame: whether it is memory; whether it is in the file
 *   descriptors  one for each frame in the file, ascending: where its contents are
 *   contents     each page by itself, compressed by zlib where that is shorter; pages of zeros share one
 *
 * It is the dump of a machine without a hypervisor: frames are pseudo-physical, and so is what page tables
 * hold.  One word is kept back: Linux's pointer to its start info, by which crash would take the tables for
 * machine frames.  What VMCOREINFO says of the kernel is copied from where the kernel keeps it.  A guest can
 * put something else in its place: that deceives the reader of the dump, and nobody here.
 *
 * It is not written in file order, as a page and its descriptor become known together.  A file is written at
 * the places; what cannot seek, a pipe, becomes the flattened form of makedumpfile, where each piece says
 * where it belongs, and "makedumpfile -R" puts it there.  The header comes last: a dump that was cut off does
 * not pass for one.
 */
#include "private/guest-state.h"

#include <elf.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <unistd.h>
#include <zlib.h>

#define BLOCK_SIZE      SERAI_PAGE_SIZE
#define VERSION         6
#define COMPRESSED_ZLIB 1
#define BATCH           256
#define VMCOREINFO_MAX  SERAI_PAGE_SIZE      /* VMCOREINFO_BYTES of Linux */
#define LINUX_IMAGE     0xffffffff80000000UL /* where Linux maps frame 0, less phys_base */

typedef struct {
    char signature[8];
    int32_t version;
    struct {
        char sysname[65], nodename[65], release[65], version[65], machine[65], domainname[65];
    } utsname;
    char pad[6];
    int64_t seconds;
    int64_t microseconds;
    uint32_t status;
    int32_t block_size;
    int32_t sub_header_blocks;
    uint32_t bitmap_blocks;
    uint32_t max_mapnr; /* as 32 bits hold it */
    uint32_t total_ram_blocks;
    uint32_t device_blocks;
    uint32_t written_blocks;
    uint32_t current_cpu;
    int32_t cpu_count;
} Header;
G_STATIC_ASSERT(sizeof(Header) == 464);
G_STATIC_ASSERT(G_STRUCT_OFFSET(Header, seconds) == 408);

typedef struct {
    uint64_t phys_base;
    int32_t dump_level; /* which pages were left out; 0: none */
    int32_t split;
    uint64_t start_pfn, end_pfn;
    uint64_t vmcoreinfo_at, vmcoreinfo_size;
    uint64_t notes_at, notes_size;
    uint64_t erased_at, erased_size;
    uint64_t start_pfn_64, end_pfn_64;
    uint64_t max_mapnr_64;
} SubHeader;
G_STATIC_ASSERT(sizeof(SubHeader) == 104);

typedef struct {
    uint64_t at;
    uint32_t size;
    uint32_t flags;
    uint64_t page_flags;
} Descriptor;
G_STATIC_ASSERT(sizeof(Descriptor) == 24);

G_STATIC_ASSERT(sizeof(prstatus_t) == 336);

typedef struct {
    SeraiGuestState guest;
    int fd;
    SeraiProgress *progress;
    GCancellable *cancellable;
    off_t start; /* of the file in @fd; -1: flattened */
    z_stream zlib;
    GByteArray *vcpus;
    uint64_t page_count;
    uint64_t pages_done;
    uint64_t sub_header_blocks;
    uint64_t bitmap_blocks;  /* of one of the two */
    uint64_t descriptors_at; /* of the next page */
    uint64_t contents_at;    /* of the next page */
    Descriptor zeros;
    GString *vmcoreinfo;
    uint64_t phys_base;
    xen_pfn_t start_info;    /* its frame; SERAI_NO_FRAME: none was found */
    xen_pfn_t kernel;        /* the first frame of Linux's image */
    gboolean pointer_hidden; /* the pointer to the start info has been passed */
    guint8 *buffer;          /* contents of a batch */
} Kdump;

static guint
vcpu_count(const Kdump *k)
{
    return k->vcpus->len / sizeof(vcpu_guest_context_t);
}

/* --- the file --------------------------------------------------------------------------------- */

static gboolean
put(Kdump *k, uint64_t at, const void *data, size_t size, GError **error)
{
    const uint64_t piece[2] = {GUINT64_TO_BE(at), GUINT64_TO_BE(size)};

    if (k->start < 0) {
        if (!serai_write_all(k->fd, piece, sizeof(piece), k->cancellable, error))
            return FALSE;
    } else if (lseek(k->fd, k->start + at, SEEK_SET) < 0) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_IO, _("Cannot write: %s."), g_strerror(errno));
        return FALSE;
    }
    return serai_write_all(k->fd, data, size, k->cancellable, error);
}

static gboolean
begin(Kdump *k, GError **error)
{
    struct {
        char signature[16];
        uint64_t type;
        uint64_t version;
        char pad[4064];
    } flat = {"makedumpfile", GUINT64_TO_BE(1), GUINT64_TO_BE(1), {0}};
    G_STATIC_ASSERT(sizeof(flat) == 4096);

    k->start = lseek(k->fd, 0, SEEK_CUR);
    return k->start >= 0 || serai_write_all(k->fd, &flat, sizeof(flat), k->cancellable, error);
}

static gboolean
end(Kdump *k, GError **error)
{
    static const uint64_t piece[2] = {~0UL, ~0UL};

    return k->start >= 0 || serai_write_all(k->fd, piece, sizeof(piece), k->cancellable, error);
}

/* --- what is known of the kernel and the vCPUs ------------------------------------------------ */

/* A kernel in ring 3 shows ring 0 here, as the hypervisor shows it to itself when an exception stops it. */
static void
add_registers(GByteArray *notes, const vcpu_guest_context_t *c, guint number)
{
    const struct cpu_user_regs *r = &c->user_regs;
    gboolean kernel = (c->flags & VGCF_in_kernel) != 0;
    struct user_regs_struct regs = {.orig_rax = -1, /* of no system call */
                                    .rip = r->rip,
                                    .cs = kernel ? r->cs & ~3 : r->cs,
                                    .eflags = r->rflags,
                                    .rsp = r->rsp,
                                    .ss = r->ss,
                                    .fs_base = c->fs_base,
                                    .gs_base = kernel ? c->gs_base_kernel : c->gs_base_user,
                                    .ds = r->ds,
                                    .es = r->es,
                                    .fs = r->fs,
                                    .gs = r->gs};
    prstatus_t status = {.pr_pid = number + 1};

    /* R15 to RDI have the same order on both sides. */
    G_STATIC_ASSERT(G_STRUCT_OFFSET(struct user_regs_struct, orig_rax) ==
                    G_STRUCT_OFFSET(struct cpu_user_regs, error_code));
    memcpy(&regs, r, G_STRUCT_OFFSET(struct user_regs_struct, orig_rax));
    G_STATIC_ASSERT(sizeof(regs) == sizeof(status.pr_reg));
    memcpy(status.pr_reg, &regs, sizeof(regs));
    serai_dump_add_note(notes, "CORE", NT_PRSTATUS, &status, sizeof(status));
}

/* --- batches of frames ------------------------------------------------------------------------ */

/* Does something with frames @pfns, which are side by side in @map; @errs: those that cannot be mapped, as
 * the guest balloons while it is dumped. */
typedef gboolean (*BatchFunc)(Kdump *k, const xen_pfn_t *pfns, const guint8 *map, const int *errs,
                              guint count, GError **error);

static gboolean
map_batch(Kdump *k, BatchFunc func, const xen_pfn_t *pfns, guint count, GError **error)
{
    xen_pfn_t frames[BATCH];
    int errs[BATCH];
    guint8 *map;
    gboolean ok;

    if (g_cancellable_set_error_if_cancelled(k->cancellable, error))
        return FALSE;
    for (guint i = 0; i < count; i++)
        frames[i] = k->guest.p2m[pfns[i]];
    map = serai_hv_map_some(k->guest.hv, k->guest.domid, PROT_READ, count, frames, errs, error);
    if (!map)
        return FALSE;
    ok = func(k, pfns, map, errs, count, error);
    serai_hv_unmap(k->guest.hv, map, count);
    return ok;
}

static gboolean
for_each_batch(Kdump *k, BatchFunc func, GError **error)
{
    xen_pfn_t pfns[BATCH];
    guint count = 0;

    for (uint64_t pfn = 0; pfn < k->guest.count; pfn++) {
        if (k->guest.p2m[pfn] != SERAI_NO_FRAME)
            pfns[count++] = pfn;
        if (count != BATCH && (pfn + 1 < k->guest.count || !count))
            continue;
        if (!map_batch(k, func, pfns, count, error))
            return FALSE;
        count = 0;
    }
    return TRUE;
}

/* --- what is looked for before ---------------------------------------------------------------- */

/*
 * Linux keeps the note at the start of a page, and of a second one where it is long.  @page is frame @pfn;
 * the guest may be writing it.
 */
static void
look_for_vmcoreinfo(Kdump *k, const guint8 *page, xen_pfn_t pfn)
{
    static const char text[] = "VMCOREINFO\0\0OSRELEASE=";
    g_autofree guint8 *note = NULL;
    Elf64_Nhdr header;
    xen_pfn_t next;
    size_t size;

    memcpy(&header, page, sizeof(header));
    if (k->vmcoreinfo || header.n_namesz != sizeof("VMCOREINFO") || header.n_type ||
        memcmp(page + sizeof(header), text, sizeof(text) - 1) || header.n_descsz > VMCOREINFO_MAX)
        return;
    size = sizeof(header) + 12 + header.n_descsz;
    note = g_malloc(2 * SERAI_PAGE_SIZE);
    memcpy(note, page, SERAI_PAGE_SIZE);
    if (size > SERAI_PAGE_SIZE) {
        next = pfn + 1 < k->guest.count ? k->guest.p2m[pfn + 1] : SERAI_NO_FRAME;
        if (next == SERAI_NO_FRAME ||
            !serai_guest_copy(k->guest.hv, k->guest.domid, &next, 1, note + SERAI_PAGE_SIZE, NULL))
            return;
    }
    for (size_t i = sizeof(header) + 12; i < size; i++)
        if (!g_ascii_isprint(note[i]) && note[i] != '\n')
            return;
    k->vmcoreinfo = g_string_new_len((const char *)note + sizeof(header) + 12, header.n_descsz);
}

/* The rest of the line that begins with @key, up to @size - 1 bytes; empty where there is none. */
static void
vmcoreinfo_get(const Kdump *k, const char *key, char *ret_value, size_t size)
{
    const char *at = k->vmcoreinfo ? k->vmcoreinfo->str : "";

    ret_value[0] = 0;
    while (at && !g_str_has_prefix(at, key))
        at = (at = strchr(at, '\n')) ? at + 1 : NULL;
    if (!at)
        return;
    at += strlen(key);
    g_strlcpy(ret_value, at, MIN(size, strcspn(at, "\n") + 1));
}

static gboolean
look_at_batch(Kdump *k, const xen_pfn_t *pfns, const guint8 *map, const int *errs, guint count,
              GError **error G_GNUC_UNUSED)
{
    static const char magic[] = "xen-3.0-x86_64";

    for (guint i = 0; i < count; i++) {
        const guint8 *page = map + i * SERAI_PAGE_SIZE;

        if (errs[i])
            continue;
        look_for_vmcoreinfo(k, page, pfns[i]);
        if (k->start_info == SERAI_NO_FRAME && !memcmp(page, magic, sizeof(magic)))
            k->start_info = pfns[i];
    }
    return TRUE;
}

static gboolean
look(Kdump *k, GError **error)
{
    char value[32];

    k->start_info = SERAI_NO_FRAME;
    if (!for_each_batch(k, look_at_batch, error))
        return FALSE;
    vmcoreinfo_get(k, "NUMBER(phys_base)=", value, sizeof(value));
    k->phys_base = g_ascii_strtoll(value, NULL, 10);
    vmcoreinfo_get(k, "SYMBOL(_stext)=", value, sizeof(value));
    k->kernel = (g_ascii_strtoull(value, NULL, 16) - LINUX_IMAGE + k->phys_base) >> SERAI_PAGE_SHIFT;
    return TRUE;
}

/* The pointer is the first word behind the start of the image that is an address of the start info; the
 * builder has put that behind the image. */
static void
hide_pointer(Kdump *k, uint64_t *page, xen_pfn_t pfn)
{
    if (k->pointer_hidden || k->start_info == SERAI_NO_FRAME || pfn < k->kernel || pfn >= k->start_info)
        return;
    for (guint i = 0; i < SERAI_PAGE_SIZE / 8 && !k->pointer_hidden; i++) {
        if (page[i] >> 47 == 0x1ffff && (page[i] & ~LINUX_IMAGE) == k->start_info << SERAI_PAGE_SHIFT) {
            page[i] = 0;
            k->pointer_hidden = TRUE;
        }
    }
}

/* --- pages ------------------------------------------------------------------------------------ */

/* Its descriptor, but for where it is. */
static Descriptor
compress_page(Kdump *k, const guint8 *page, guint8 *to)
{
    deflateReset(&k->zlib);
    k->zlib.next_in = (Bytef *)page;
    k->zlib.avail_in = SERAI_PAGE_SIZE;
    k->zlib.next_out = to;
    k->zlib.avail_out = SERAI_PAGE_SIZE - 1;
    if (deflate(&k->zlib, Z_FINISH) == Z_STREAM_END)
        return (Descriptor){.size = SERAI_PAGE_SIZE - 1 - k->zlib.avail_out, .flags = COMPRESSED_ZLIB};
    memcpy(to, page, SERAI_PAGE_SIZE);
    return (Descriptor){.size = SERAI_PAGE_SIZE};
}

static gboolean
write_zeros(Kdump *k, GError **error)
{
    static const guint8 page[SERAI_PAGE_SIZE];

    k->zeros = compress_page(k, page, k->buffer);
    k->zeros.at = k->contents_at;
    k->contents_at += k->zeros.size;
    return put(k, k->zeros.at, k->buffer, k->zeros.size, error);
}

/* Each page is copied first, as a guest may run and write. */
static gboolean
write_batch(Kdump *k, const xen_pfn_t *pfns, const guint8 *map, const int *errs, guint count, GError **error)
{
    Descriptor descriptors[BATCH];
    uint64_t raw[SERAI_PAGE_SIZE / 8], page[SERAI_PAGE_SIZE / 8];
    xen_pfn_t types[BATCH];
    size_t size = 0;

    for (guint i = 0; i < count; i++)
        types[i] = k->guest.p2m[pfns[i]];
    if (!serai_hv_page_types(k->guest.hv, k->guest.domid, count, types, error))
        return FALSE;
    for (guint i = 0; i < count; i++) {
        guint type = (types[i] & XEN_DOMCTL_PFINFO_LTAB_MASK) >> XEN_DOMCTL_PFINFO_LTAB_SHIFT;

        descriptors[i] = k->zeros;
        if (errs[i])
            continue;
        memcpy(raw, map + i * SERAI_PAGE_SIZE, SERAI_PAGE_SIZE);
        if (type < 0xd && type & 7) {
            serai_guest_normalize_table(&k->guest, raw, page, type & 7);
        } else {
            memcpy(page, raw, SERAI_PAGE_SIZE);
            hide_pointer(k, page, pfns[i]);
        }
        if (serai_guest_page_is_zero(page))
            continue;
        descriptors[i] = compress_page(k, (const guint8 *)page, k->buffer + size);
        descriptors[i].at = k->contents_at + size;
        size += descriptors[i].size;
    }
    if (!put(k, k->descriptors_at, descriptors, count * sizeof(Descriptor), error) ||
        (size && !put(k, k->contents_at, k->buffer, size, error)))
        return FALSE;
    k->descriptors_at += count * sizeof(Descriptor);
    k->contents_at += size;
    k->pages_done += count;
    serai_progress(k->progress, SERAI_STAGE_MEMORY, k->pages_done << SERAI_PAGE_SHIFT,
                   k->page_count << SERAI_PAGE_SHIFT);
    return TRUE;
}

/* --- what stands before them ------------------------------------------------------------------ */

static void
lay_out(Kdump *k)
{
    uint64_t notes = vcpu_count(k) * (sizeof(Elf64_Nhdr) + 8 + sizeof(prstatus_t)) + sizeof(Elf64_Nhdr) + 12 +
                     VMCOREINFO_MAX;

    for (uint64_t pfn = 0; pfn < k->guest.count; pfn++)
        k->page_count += k->guest.p2m[pfn] != SERAI_NO_FRAME;
    k->sub_header_blocks = (sizeof(SubHeader) + notes + BLOCK_SIZE - 1) / BLOCK_SIZE;
    k->bitmap_blocks = (k->guest.count + BLOCK_SIZE * 8 - 1) / (BLOCK_SIZE * 8);
    k->descriptors_at = (1 + k->sub_header_blocks + 2 * k->bitmap_blocks) * BLOCK_SIZE;
    k->contents_at = k->descriptors_at + k->page_count * sizeof(Descriptor);
}

static gboolean
write_bitmaps(Kdump *k, GError **error)
{
    g_autofree guint8 *bits = g_malloc0(k->bitmap_blocks * BLOCK_SIZE);
    uint64_t at = (1 + k->sub_header_blocks) * BLOCK_SIZE;

    for (uint64_t pfn = 0; pfn < k->guest.count; pfn++)
        if (k->guest.p2m[pfn] != SERAI_NO_FRAME)
            bits[pfn / 8] |= 1 << pfn % 8;
    return put(k, at, bits, k->bitmap_blocks * BLOCK_SIZE, error) &&
           put(k, at + k->bitmap_blocks * BLOCK_SIZE, bits, k->bitmap_blocks * BLOCK_SIZE, error);
}

static gboolean
write_sub_header(Kdump *k, GError **error)
{
    const vcpu_guest_context_t *contexts = (const vcpu_guest_context_t *)k->vcpus->data;
    g_autoptr(GByteArray) block = g_byte_array_new();
    SubHeader sub = {.phys_base = k->phys_base, .max_mapnr_64 = k->guest.count};

    g_byte_array_append(block, (const guint8 *)&sub, sizeof(sub));
    for (guint i = 0; i < vcpu_count(k); i++)
        add_registers(block, &contexts[i], i);
    if (k->vmcoreinfo) {
        sub.vmcoreinfo_at = BLOCK_SIZE + block->len + sizeof(Elf64_Nhdr) + 12;
        sub.vmcoreinfo_size = k->vmcoreinfo->len;
        serai_dump_add_note(block, "VMCOREINFO", 0, k->vmcoreinfo->str, k->vmcoreinfo->len);
    }
    sub.notes_at = BLOCK_SIZE + sizeof(sub);
    sub.notes_size = block->len - sizeof(sub);
    memcpy(block->data, &sub, sizeof(sub));
    return put(k, BLOCK_SIZE, block->data, block->len, error);
}

static gboolean
write_header(Kdump *k, GError **error)
{
    gint64 now = g_get_real_time();
    Header header = {.signature = {'K', 'D', 'U', 'M', 'P', ' ', ' ', ' '},
                     .version = VERSION,
                     .utsname = {.sysname = "Linux", .machine = "x86_64"},
                     .seconds = now / G_USEC_PER_SEC,
                     .microseconds = now % G_USEC_PER_SEC,
                     .status = COMPRESSED_ZLIB,
                     .block_size = BLOCK_SIZE,
                     .sub_header_blocks = k->sub_header_blocks,
                     .bitmap_blocks = 2 * k->bitmap_blocks,
                     .max_mapnr = MIN(k->guest.count, G_MAXUINT32),
                     .cpu_count = vcpu_count(k)};

    vmcoreinfo_get(k, "OSRELEASE=", header.utsname.release, sizeof(header.utsname.release));
    return put(k, 0, &header, sizeof(header), error);
}

static gboolean
write_all(Kdump *k, GError **error)
{
    k->vcpus = serai_dump_vcpus(&k->guest, error);
    if (!k->vcpus)
        return FALSE;
    lay_out(k);
    return look(k, error) && begin(k, error) && write_sub_header(k, error) && write_bitmaps(k, error) &&
           write_zeros(k, error) && for_each_batch(k, write_batch, error) && write_header(k, error) &&
           end(k, error);
}

gboolean
serai_kdump_write(SeraiHv *hv, uint32_t domid, int fd, SeraiProgress *progress, GCancellable *cancellable,
                  GError **error)
{
    Kdump k = {.fd = fd, .progress = progress, .cancellable = cancellable};
    gboolean ok = FALSE;

    /* The smallest window that holds a page, and a small table: clearing it takes its time for each page. */
    if (deflateInit2(&k.zlib, Z_BEST_SPEED, Z_DEFLATED, 12, 5, Z_DEFAULT_STRATEGY) != Z_OK) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_NO_MEMORY,
                            _("There is no memory to compress in."));
        return FALSE;
    }
    k.buffer = g_malloc(BATCH * SERAI_PAGE_SIZE);
    ok = serai_guest_read(&k.guest, hv, domid, error) && write_all(&k, error);
    serai_guest_clear(&k.guest);
    g_clear_pointer(&k.vcpus, g_byte_array_unref);
    if (k.vmcoreinfo)
        g_string_free(k.vmcoreinfo, TRUE);
    g_free(k.buffer);
    deflateEnd(&k.zlib);
    return ok;
}
