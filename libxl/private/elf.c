/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading a 64-bit ELF kernel and its Xen notes (<xen/elfnote.h>).  The order of trust: sizes first, then
 * offsets, then numbers.  Virtual addresses are those the guest will have: virt_base + paddr - paddr_offset.
 */
#include "private/elf.h"
#include "private/kernel-cache.h"

#include <elf.h>
#include <xen/elfnote.h>

/* A PV kernel lives in the top 2 GiB or wherever its own notes say; more than this it cannot need. */
#define SPAN_MAX (2UL << 30)

static gboolean
refuse(GError **error, const char *why)
{
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_KERNEL, _("The kernel cannot be started: %s."), why);
    return FALSE;
}

/* What the notes say, before it is put together. */
typedef struct {
    gboolean xen;
    gboolean have_virt_base;
    gboolean have_entry;
    uint64_t virt_base;
    uint64_t paddr_offset;
    gboolean have_paddr_offset;
} Notes;

static uint64_t
note_number(const guint8 *desc, guint32 size)
{
    uint64_t value = 0;

    memcpy(&value, desc, MIN(size, 8));
    return size == 4 || size == 8 ? value : 0;
}

static void
note_apply(SeraiElf *elf, Notes *notes, guint32 type, const guint8 *desc, guint32 size)
{
    uint64_t number = note_number(desc, size);

    notes->xen = TRUE;
    switch (type) {
    case XEN_ELFNOTE_VIRT_BASE:
        notes->virt_base = number;
        notes->have_virt_base = TRUE;
        break;
    case XEN_ELFNOTE_ENTRY:
        elf->entry = number;
        notes->have_entry = TRUE;
        break;
    case XEN_ELFNOTE_PADDR_OFFSET:
        notes->paddr_offset = number;
        notes->have_paddr_offset = TRUE;
        break;
    case XEN_ELFNOTE_HYPERCALL_PAGE:
        elf->hypercall_page = number;
        break;
    case XEN_ELFNOTE_INIT_P2M:
        elf->p2m_base = number;
        break;
    case XEN_ELFNOTE_MOD_START_PFN:
        elf->unmapped_initrd = number != 0;
        break;
    case XEN_ELFNOTE_GUEST_OS:
        g_strlcpy(elf->guest_os, "", sizeof(elf->guest_os));
        memcpy(elf->guest_os, desc, MIN(size, sizeof(elf->guest_os) - 1));
        break;
    }
}

static void
notes_read(SeraiElf *elf, Notes *notes, const guint8 *data, uint64_t size)
{
    uint64_t pos = 0;

    while (pos + sizeof(Elf64_Nhdr) <= size) {
        Elf64_Nhdr header;
        uint64_t name, desc, next;

        memcpy(&header, data + pos, sizeof(header));
        name = pos + sizeof(header);
        desc = name + (((uint64_t)header.n_namesz + 3) & ~3UL);
        next = desc + (((uint64_t)header.n_descsz + 3) & ~3UL);
        if (desc > size || header.n_descsz > size - desc)
            break;
        if (header.n_namesz == 4 && !memcmp(data + name, "Xen", 4))
            note_apply(elf, notes, header.n_type, data + desc, header.n_descsz);
        pos = next;
    }
}

/* Checks that a table of @count entries of @entry bytes lies in the file. */
static gboolean
table_fits(uint64_t offset, uint64_t count, uint64_t entry, uint64_t want, gsize size)
{
    return entry == want && offset <= size && count <= (size - offset) / entry;
}

static gboolean
read_segments(SeraiElf *elf, const Elf64_Ehdr *header, Notes *notes, const guint8 *data, gsize size,
              GError **error)
{
    if (!table_fits(header->e_phoff, header->e_phnum, header->e_phentsize, sizeof(Elf64_Phdr), size))
        return refuse(error, _("its program headers are damaged"));
    for (guint i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr ph;

        memcpy(&ph, data + header->e_phoff + i * sizeof(ph), sizeof(ph));
        if (ph.p_type != PT_LOAD && ph.p_type != PT_NOTE)
            continue;
        /* Notes need not be in memory: GRUB's have no size there. */
        if (ph.p_offset > size || ph.p_filesz > size - ph.p_offset ||
            (ph.p_type == PT_LOAD && ph.p_filesz > ph.p_memsz))
            return refuse(error, _("a segment lies outside of the file"));
        if (ph.p_type == PT_NOTE) {
            notes_read(elf, notes, data + ph.p_offset, ph.p_filesz);
            continue;
        }
        if (!ph.p_memsz)
            continue;
        if (elf->segment_count == SERAI_ELF_SEGMENTS || ph.p_memsz > SPAN_MAX ||
            ph.p_paddr + ph.p_memsz < ph.p_paddr)
            return refuse(error, _("its segments are too many or too large"));
        elf->segments[elf->segment_count++] =
            (SeraiElfSegment){ph.p_offset, ph.p_filesz, ph.p_memsz, ph.p_paddr};
    }
    return TRUE;
}

/* Some kernels have their notes in sections only. */
static void
read_note_sections(SeraiElf *elf, const Elf64_Ehdr *header, Notes *notes, const guint8 *data, gsize size)
{
    if (!table_fits(header->e_shoff, header->e_shnum, header->e_shentsize, sizeof(Elf64_Shdr), size))
        return;
    for (guint i = 0; i < header->e_shnum; i++) {
        Elf64_Shdr sh;

        memcpy(&sh, data + header->e_shoff + i * sizeof(sh), sizeof(sh));
        if (sh.sh_type == SHT_NOTE && sh.sh_offset <= size && sh.sh_size <= size - sh.sh_offset)
            notes_read(elf, notes, data + sh.sh_offset, sh.sh_size);
    }
}

/* Puts segments and notes together: every address becomes relative to virt_base, and the whole must make
 * sense. */
static gboolean
place(SeraiElf *elf, const Notes *notes, GError **error)
{
    elf->virt_base = notes->have_virt_base ? notes->virt_base : 0;
    if (elf->virt_base & (SERAI_PAGE_SIZE - 1))
        return refuse(error, _("its base address is not that of a page"));
    elf->start = G_MAXUINT64;
    for (guint i = 0; i < elf->segment_count; i++) {
        SeraiElfSegment *segment = &elf->segments[i];
        uint64_t start;

        segment->paddr -= notes->paddr_offset;
        start = elf->virt_base + segment->paddr;
        if (segment->paddr > SPAN_MAX || start < elf->virt_base || start + segment->memsz < start)
            return refuse(error, _("a segment does not fit into its address space"));
        elf->start = MIN(elf->start, start);
        elf->end = MAX(elf->end, start + segment->memsz);
    }
    if (elf->end - elf->start > SPAN_MAX)
        return refuse(error, _("it needs too much address space"));
    if (elf->entry < elf->start || elf->entry >= elf->end)
        return refuse(error, _("its entry point lies outside"));
    if (elf->hypercall_page && (elf->hypercall_page < elf->start || elf->hypercall_page >= elf->end ||
                                elf->hypercall_page & (SERAI_PAGE_SIZE - 1)))
        return refuse(error, _("its hypercall page lies outside"));
    /* A p2m list at or above the kernel would run into it; the list then goes behind the kernel, as without
     * the note. */
    if (elf->p2m_base >= elf->virt_base || elf->p2m_base & (SERAI_PAGE_SIZE - 1))
        elf->p2m_base = 0;
    return TRUE;
}

gboolean
serai_elf_parse(SeraiElf *elf, GBytes *bytes, GError **error)
{
    Notes notes = {0};
    Elf64_Ehdr header;
    gsize size;
    const guint8 *data = g_bytes_get_data(bytes, &size);

    memset(elf, 0, sizeof(*elf));
    if (size < sizeof(header) || memcmp(data, ELFMAG, SELFMAG))
        return refuse(error, _("it is not an ELF file"));
    memcpy(&header, data, sizeof(header));
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
        header.e_machine != EM_X86_64)
        return refuse(error, _("it is not for 64-bit x86"));
    elf->entry = header.e_entry;
    if (!read_segments(elf, &header, &notes, data, size, error))
        return FALSE;
    if (!notes.xen)
        read_note_sections(elf, &header, &notes, data, size);
    if (!notes.xen)
        return refuse(error, _("it has no Xen notes, so it is not built for paravirtualization"));
    if (!elf->segment_count)
        return refuse(error, _("it has no segments"));
    if (!notes.have_entry && !notes.have_virt_base)
        return refuse(error, _("it can be started by PVH only"));
    if (!place(elf, &notes, error))
        return FALSE;
    elf->data = g_bytes_ref(bytes);
    return TRUE;
}

void
serai_elf_clear(SeraiElf *elf)
{
    g_clear_pointer(&elf->data, g_bytes_unref);
}

gboolean
serai_elf_load(SeraiElf *elf, const char *path, const char *cache_dir, GCancellable *cancellable,
               GError **error)
{
    g_autoptr(GBytes) data = serai_kernel_read(path, cache_dir, cancellable, error);

    memset(elf, 0, sizeof(*elf));
    if (!data)
        return FALSE;
    if (!serai_elf_parse(elf, data, error)) {
        g_prefix_error(error, "%s: ", path);
        return FALSE;
    }
    return TRUE;
}
