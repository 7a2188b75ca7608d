/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A core dump in the format that crash and gdbsx know from Xen ("dump-core format" 0.1): an ELF file without
 * program headers and with these sections, in this order in the file:
 *
 *   .shstrtab         names
 *   .note.Xen         four notes: none, header, hypervisor, format version (<xen/elfnote.h>)
 *   .xen_prstatus     vcpu_guest_context_t of each vCPU
 *   .xen_shared_info  the shared info page
 *   .xen_p2m          { pseudo-physical, machine } of each page, ascending
 *   .xen_pages        the pages, in the same order; the section starts on a page boundary of the file
 *
 * All sizes are known before the first byte is written, so the file may be a pipe.
 */
#include "private/guest-state.h"

#include <elf.h>
#include <sys/mman.h>
#include <xen/elfnote.h>

#define CORE_MAGIC 0xF00FEBEDUL

enum {
    SECTION_NULL,
    SECTION_NAMES,
    SECTION_NOTE,
    SECTION_VCPUS,
    SECTION_SHARED,
    SECTION_P2M,
    SECTION_PAGES,
    SECTION_COUNT,
};

static const char names[] = "\0.shstrtab\0.note.Xen\0.xen_prstatus\0.xen_shared_info\0.xen_p2m\0.xen_pages";
static const guint name_offsets[SECTION_COUNT] = {0, 1, 11, 21, 35, 52, 61};

typedef struct {
    uint64_t magic;
    uint64_t vcpu_count;
    uint64_t page_count;
    uint64_t page_size;
} NoteHeader;

typedef struct {
    uint64_t major;
    uint64_t minor;
    xen_extraversion_t extra;
    xen_compile_info_t compile;
    xen_capabilities_info_t capabilities;
    xen_changeset_info_t changeset;
    xen_platform_parameters_t platform;
    uint64_t page_size;
} NoteVersion;

typedef struct {
    uint64_t pfn;
    uint64_t mfn;
} P2mEntry;

void
serai_dump_add_note(GByteArray *notes, const char *name, uint32_t type, const void *desc, uint32_t size)
{
    const Elf64_Nhdr header = {.n_namesz = strlen(name) + 1, .n_descsz = size, .n_type = type};
    static const guint8 zeros[4];

    g_byte_array_append(notes, (const guint8 *)&header, sizeof(header));
    g_byte_array_append(notes, (const guint8 *)name, header.n_namesz);
    g_byte_array_append(notes, zeros, -header.n_namesz & 3);
    if (size)
        g_byte_array_append(notes, desc, size);
    g_byte_array_append(notes, zeros, -size & 3);
}

static GByteArray *
make_notes(SeraiHv *hv, guint vcpus, uint64_t pages)
{
    GByteArray *notes = g_byte_array_new();
    const NoteHeader header = {CORE_MAGIC, vcpus, pages, SERAI_PAGE_SIZE};
    const uint64_t format = 1;
    NoteVersion version = {.page_size = SERAI_PAGE_SIZE};
    g_autoptr(SeraiHostInfo) info = g_new0(SeraiHostInfo, 1);

    if (serai_hv_version(hv, info, NULL)) {
        version.major = info->version_major;
        version.minor = info->version_minor;
        g_strlcpy(version.extra, info->version_extra, sizeof(version.extra));
        g_strlcpy(version.capabilities, info->capabilities, sizeof(version.capabilities));
        g_strlcpy(version.changeset, info->changeset, sizeof(version.changeset));
        g_strlcpy(version.compile.compiler, info->compiler, sizeof(version.compile.compiler));
        g_strlcpy(version.compile.compile_date, info->compile_date, sizeof(version.compile.compile_date));
    }
    version.platform.virt_start = __HYPERVISOR_VIRT_START;
    serai_dump_add_note(notes, "Xen", XEN_ELFNOTE_DUMPCORE_NONE, NULL, 0);
    serai_dump_add_note(notes, "Xen", XEN_ELFNOTE_DUMPCORE_HEADER, &header, sizeof(header));
    serai_dump_add_note(notes, "Xen", XEN_ELFNOTE_DUMPCORE_XEN_VERSION, &version, sizeof(version));
    serai_dump_add_note(notes, "Xen", XEN_ELFNOTE_DUMPCORE_FORMAT_VERSION, &format, sizeof(format));
    return notes;
}

GByteArray *
serai_dump_vcpus(SeraiGuestState *guest, GError **error)
{
    g_autoptr(GByteArray) contexts = g_byte_array_new();
    g_autofree vcpu_guest_context_t *context = g_new0(vcpu_guest_context_t, 1);

    for (guint vcpu = 0;
         vcpu <= guest->info.max_vcpu_id && guest->info.max_vcpu_id != XEN_INVALID_MAX_VCPU_ID; vcpu++) {
        struct xen_domctl_getvcpuinfo info;

        if (!serai_hv_vcpu_info(guest->hv, guest->domid, vcpu, &info, error))
            return NULL;
        if (!info.online)
            continue;
        if (!serai_hv_get_context(guest->hv, guest->domid, vcpu, context, error))
            return NULL;
        g_byte_array_append(contexts, (guint8 *)context, sizeof(*context));
    }
    return g_steal_pointer(&contexts);
}

/* Pages that can be mapped come as they are, others as zeros: a guest that balloons while it is dumped has
 * holes. */
static gboolean
write_pages(SeraiGuestState *guest, const P2mEntry *entries, uint64_t count, int fd, SeraiProgress *progress,
            GCancellable *cancellable, GError **error)
{
    xen_pfn_t frames[256];
    int errs[256];
    static const guint8 zeros[SERAI_PAGE_SIZE];

    for (uint64_t done = 0; done < count;) {
        guint n = MIN(count - done, G_N_ELEMENTS(frames));
        guint8 *map;

        for (guint i = 0; i < n; i++)
            frames[i] = entries[done + i].mfn;
        map = serai_hv_map_some(guest->hv, guest->domid, PROT_READ, n, frames, errs, error);
        if (!map)
            return FALSE;
        for (guint i = 0; i < n; i++) {
            if (!serai_write_all(fd, errs[i] ? zeros : map + i * SERAI_PAGE_SIZE, SERAI_PAGE_SIZE,
                                 cancellable, error)) {
                serai_hv_unmap(guest->hv, map, n);
                return FALSE;
            }
        }
        serai_hv_unmap(guest->hv, map, n);
        done += n;
        serai_progress(progress, SERAI_STAGE_MEMORY, done << SERAI_PAGE_SHIFT, count << SERAI_PAGE_SHIFT);
    }
    return TRUE;
}

static gboolean
write_at(int fd, uint64_t *pos, uint64_t offset, const void *data, uint64_t size, GCancellable *cancellable,
         GError **error)
{
    static const guint8 zeros[SERAI_PAGE_SIZE];
    uint64_t gap = offset - *pos;

    if (!serai_write_all(fd, zeros, gap, cancellable, error) ||
        !serai_write_all(fd, data, size, cancellable, error))
        return FALSE;
    *pos = offset + size;
    return TRUE;
}

static gboolean
write_all_sections(SeraiGuestState *guest, const P2mEntry *entries, uint64_t count, int fd,
                   SeraiProgress *progress, GCancellable *cancellable, GError **error)
{
    Elf64_Ehdr ehdr = {.e_type = ET_CORE,
                       .e_machine = EM_X86_64,
                       .e_version = EV_CURRENT,
                       .e_ehsize = sizeof(ehdr),
                       .e_shoff = sizeof(ehdr),
                       .e_shentsize = sizeof(Elf64_Shdr),
                       .e_shnum = SECTION_COUNT,
                       .e_shstrndx = SECTION_NAMES};
    Elf64_Shdr sections[SECTION_COUNT] = {{0}};
    g_autoptr(GByteArray) contexts = serai_dump_vcpus(guest, error), notes = NULL;
    const void *data[SECTION_COUNT] = {NULL};
    uint64_t pos = 0, at = sizeof(ehdr) + sizeof(sections);

    if (!contexts)
        return FALSE;
    notes = make_notes(guest->hv, contexts->len / sizeof(vcpu_guest_context_t), count);
    memcpy(ehdr.e_ident, ELFMAG, SELFMAG);
    ehdr.e_ident[EI_CLASS] = ELFCLASS64;
    ehdr.e_ident[EI_DATA] = ELFDATA2LSB;
    ehdr.e_ident[EI_VERSION] = EV_CURRENT;

    data[SECTION_NAMES] = names;
    sections[SECTION_NAMES].sh_size = sizeof(names);
    data[SECTION_NOTE] = notes->data;
    sections[SECTION_NOTE].sh_size = notes->len;
    data[SECTION_VCPUS] = contexts->data;
    sections[SECTION_VCPUS].sh_size = contexts->len;
    sections[SECTION_VCPUS].sh_entsize = sizeof(vcpu_guest_context_t);
    data[SECTION_SHARED] = guest->shared;
    sections[SECTION_SHARED].sh_size = SERAI_PAGE_SIZE;
    data[SECTION_P2M] = entries;
    sections[SECTION_P2M].sh_size = count * sizeof(*entries);
    sections[SECTION_P2M].sh_entsize = sizeof(*entries);
    sections[SECTION_PAGES].sh_size = count << SERAI_PAGE_SHIFT;
    sections[SECTION_PAGES].sh_entsize = SERAI_PAGE_SIZE;
    for (guint i = 1; i < SECTION_COUNT; i++) {
        uint64_t align = i == SECTION_PAGES ? SERAI_PAGE_SIZE : 8;

        at = (at + align - 1) & -align;
        sections[i].sh_name = name_offsets[i];
        sections[i].sh_type = i == SECTION_NAMES ? SHT_STRTAB : i == SECTION_NOTE ? SHT_NOTE : SHT_PROGBITS;
        sections[i].sh_offset = at;
        sections[i].sh_addralign = align;
        at += sections[i].sh_size;
    }
    if (!write_at(fd, &pos, 0, &ehdr, sizeof(ehdr), cancellable, error) ||
        !write_at(fd, &pos, pos, sections, sizeof(sections), cancellable, error))
        return FALSE;
    for (guint i = 1; i < SECTION_PAGES; i++)
        if (!write_at(fd, &pos, sections[i].sh_offset, data[i], sections[i].sh_size, cancellable, error))
            return FALSE;
    return write_at(fd, &pos, sections[SECTION_PAGES].sh_offset, NULL, 0, cancellable, error) &&
           write_pages(guest, entries, count, fd, progress, cancellable, error);
}

gboolean
serai_dump_write(SeraiHv *hv, uint32_t domid, int fd, SeraiProgress *progress, GCancellable *cancellable,
                 GError **error)
{
    g_auto(SeraiGuestState) guest = {0};
    g_autofree P2mEntry *entries = NULL;
    uint64_t count = 0;

    if (!serai_guest_read(&guest, hv, domid, error))
        return FALSE;
    entries = g_try_new(P2mEntry, guest.count);
    if (!entries) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_NO_MEMORY,
                            _("There is no memory for the frame list of the domain."));
        return FALSE;
    }
    for (uint64_t pfn = 0; pfn < guest.count; pfn++)
        if (guest.p2m[pfn] != SERAI_NO_FRAME)
            entries[count++] = (P2mEntry){pfn, guest.p2m[pfn]};
    return write_all_sections(&guest, entries, count, fd, progress, cancellable, error);
}
