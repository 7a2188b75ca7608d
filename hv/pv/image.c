/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kernel images; the contract is in image.h.
 *
 * Formats: Documentation/x86/boot.rst of Linux for the bzImage header, the ELF-64 specification, and
 * xen/elfnote.h for the notes.  All arithmetic is on 64-bit numbers that were checked to be at most
 * IMAGE_SIZE_MAX before they are added, or is written as a subtraction.
 */
#include "pv/image.h"

#include <elf.h>

#include "abi/xen.h"
#include "base/string.h"

static bool
inside(u64 offset, u64 length, u64 size)
{
    return offset <= size && length <= size - offset;
}

/* Unaligned little-endian numbers; the machine is little-endian too. */
static u64
load(const void *p, unsigned bytes)
{
    u64 value = 0;

    memcpy(&value, p, bytes);
    return value;
}

/* --- bzImage --- */

#define BZ_SETUP_SECTS    0x1f1
#define BZ_MAGIC          0x202
#define BZ_VERSION        0x206
#define BZ_PAYLOAD_OFFSET 0x248
#define BZ_PAYLOAD_LENGTH 0x24c
#define BZ_HEADER_END     0x250

enum image_packing
image_packing(const void *data, u64 size)
{
    static const struct {
        u8 packing, length;
        u8 magic[6];
    } known[] = {
        /* clang-format off */
        {IMAGE_ELF, 4, {0x7f, 'E', 'L', 'F'}},
        {IMAGE_GZIP, 2, {0x1f, 0x8b}},
        {IMAGE_XZ, 6, {0xfd, '7', 'z', 'X', 'Z', 0}},
        {IMAGE_ZSTD, 4, {0x28, 0xb5, 0x2f, 0xfd}},
        {IMAGE_LZ4, 4, {0x02, 0x21, 0x4c, 0x18}},
        {IMAGE_UNSUPPORTED, 3, {'B', 'Z', 'h'}},
        {IMAGE_UNSUPPORTED, 3, {0x5d, 0x00, 0x00}},
        {IMAGE_UNSUPPORTED, 4, {0x89, 'L', 'Z', 'O'}},
        /* clang-format on */
    };

    for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
        if (size >= known[i].length && !memcmp(data, known[i].magic, known[i].length))
            return known[i].packing;

    if (size >= BZ_HEADER_END && !memcmp((const u8 *)data + BZ_MAGIC, "HdrS", 4))
        return IMAGE_BZIMAGE;
    return IMAGE_UNKNOWN;
}

const void *
image_payload(const void *data, u64 size, u64 *ret_size, const char **ret_reason)
{
    const u8 *image = data;
    u64 setup_size, offset, length;

    if (size < BZ_HEADER_END || size > IMAGE_SIZE_MAX || memcmp(image + BZ_MAGIC, "HdrS", 4)) {
        *ret_reason = "The kernel is not a bzImage.";
        return NULL;
    }
    if (load(image + BZ_VERSION, 2) < 0x208) {
        *ret_reason = "The kernel is too old, its boot protocol is below 2.08: install another.";
        return NULL;
    }

    /* The boot sector and the setup sectors come first; 0 of them stands for 4. */
    setup_size = image[BZ_SETUP_SECTS] ? image[BZ_SETUP_SECTS] : 4;
    setup_size = (setup_size + 1) * 512;
    offset = load(image + BZ_PAYLOAD_OFFSET, 4);
    length = load(image + BZ_PAYLOAD_LENGTH, 4);

    if (!length || !inside(setup_size, offset, size) || !inside(setup_size + offset, length, size)) {
        *ret_reason = "The kernel file is cut short or broken: install it again.";
        return NULL;
    }
    *ret_size = length;
    return image + setup_size + offset;
}

u64
image_unpacked_size(const void *payload, u64 size)
{
    u64 unpacked;

    if (size < 8 || size > IMAGE_SIZE_MAX)
        return 0;
    unpacked = load((const u8 *)payload + size - 4, 4);
    return unpacked <= IMAGE_SIZE_MAX ? unpacked : 0;
}

/* --- ELF notes --- */

struct notes {
    bool any;
    bool has[XEN_ELFNOTE_MAX + 1];
    u64 number[XEN_ELFNOTE_MAX + 1];
};

/* "name|!name|..." as XEN_ELFNOTE_FEATURES has it; only those behind '!' bind us. */
static u32
parse_required_features(const char *text, size_t length)
{
    static const struct {
        const char *name;
        u8 bit;
    } features[] = {
        {"writable_page_tables", XENFEAT_writable_page_tables},
        {"writable_descriptor_tables", XENFEAT_writable_descriptor_tables},
        {"auto_translated_physmap", XENFEAT_auto_translated_physmap},
        {"supervisor_mode_kernel", XENFEAT_supervisor_mode_kernel},
        {"pae_pgdir_above_4gb", XENFEAT_pae_pgdir_above_4gb},
        {"dom0", XENFEAT_dom0},
    };
    u32 required = 0;

    while (length) {
        const char *bar = memchr(text, '|', length);
        size_t word = bar ? (size_t)(bar - text) : length;

        if (word && text[0] == '!')
            for (unsigned i = 0; i < ARRAY_SIZE(features); i++)
                if (strlen(features[i].name) == word - 1 && !memcmp(features[i].name, text + 1, word - 1))
                    required |= 1u << features[i].bit;
        if (!bar)
            break;
        text += word + 1;
        length -= word + 1;
    }
    return required;
}

static void
copy_text(char *dst, size_t size, const char *text, size_t length)
{
    size_t n = strnlen(text, length);

    n = MIN(n, size - 1);
    for (size_t i = 0; i < n; i++)
        dst[i] = text[i] >= ' ' && text[i] < 0x7f ? text[i] : '?';
    dst[n] = 0;
}

static void
take_note(u32 type, const char *desc, u32 length, struct notes *notes, struct image_kernel *kernel)
{
    if (type > XEN_ELFNOTE_MAX)
        return;
    notes->any = true;
    notes->has[type] = true;
    if (length == 4 || length == 8)
        notes->number[type] = load(desc, length);

    if (type == XEN_ELFNOTE_GUEST_OS)
        copy_text(kernel->guest_os, sizeof(kernel->guest_os), desc, length);
    else if (type == XEN_ELFNOTE_GUEST_VERSION)
        copy_text(kernel->guest_version, sizeof(kernel->guest_version), desc, length);
    else if (type == XEN_ELFNOTE_FEATURES)
        kernel->required_features = parse_required_features(desc, strnlen(desc, length));
}

/* One PT_NOTE segment or SHT_NOTE section: name size, description size, type; both parts padded to 4. */
static void
take_notes(const u8 *bytes, u64 size, struct notes *notes, struct image_kernel *kernel)
{
    u64 at = 0;

    while (size - at >= 12) {
        u64 name_size = load(bytes + at, 4), desc_size = load(bytes + at + 4, 4);
        u32 type = load(bytes + at + 8, 4);
        u64 name_at = at + 12, desc_at = name_at + ROUND_UP(name_size, 4ull);
        u64 next = desc_at + ROUND_UP(desc_size, 4ull);

        /* Sizes are 32 bits, so the sums cannot wrap; the last description may lack its padding. */
        if (!inside(desc_at, desc_size, size))
            return;
        if (name_size == 4 && !memcmp(bytes + name_at, "Xen", 4))
            take_note(type, (const char *)bytes + desc_at, desc_size, notes, kernel);
        if (next > size)
            return;
        at = next;
    }
}

/* Notes of the program headers; where there are none, of the sections (kernels linked without PT_NOTE). */
static void
collect_notes(const u8 *elf, u64 size, const Elf64_Ehdr *header, struct notes *notes,
              struct image_kernel *kernel)
{
    for (unsigned i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr ph;

        memcpy(&ph, elf + header->e_phoff + i * sizeof(ph), sizeof(ph));
        if (ph.p_type == PT_NOTE && inside(ph.p_offset, ph.p_filesz, size))
            take_notes(elf + ph.p_offset, ph.p_filesz, notes, kernel);
    }
    if (notes->any || header->e_shentsize != sizeof(Elf64_Shdr) ||
        !inside(header->e_shoff, (u64)header->e_shnum * sizeof(Elf64_Shdr), size))
        return;

    for (unsigned i = 0; i < header->e_shnum; i++) {
        Elf64_Shdr sh;

        memcpy(&sh, elf + header->e_shoff + i * sizeof(sh), sizeof(sh));
        if (sh.sh_type == SHT_NOTE && inside(sh.sh_offset, sh.sh_size, size))
            take_notes(elf + sh.sh_offset, sh.sh_size, notes, kernel);
    }
}

/* --- ELF --- */

static const char *
check_header(const u8 *elf, u64 size, Elf64_Ehdr *ret_header)
{
    Elf64_Ehdr h;

    if (size < sizeof(h) || size > IMAGE_SIZE_MAX || memcmp(elf, ELFMAG, SELFMAG))
        return "The kernel is not an ELF file: install it again, or choose another.";
    memcpy(&h, elf, sizeof(h));
    if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_ident[EI_DATA] != ELFDATA2LSB || h.e_machine != EM_X86_64)
        return "The kernel is not for 64-bit x86; 32-bit PV kernels are not supported.";
    if (h.e_phentsize != sizeof(Elf64_Phdr) || !h.e_phnum ||
        !inside(h.e_phoff, (u64)h.e_phnum * sizeof(Elf64_Phdr), size))
        return "The kernel's ELF program headers are cut short or broken: install it again.";
    *ret_header = h;
    return NULL;
}

/* Whether the file reaches as far as its program headers say; notes are looked for in what is there only. */
static bool
segments_are_there(const u8 *elf, u64 size, const Elf64_Ehdr *header)
{
    Elf64_Phdr ph;

    for (unsigned i = 0; i < header->e_phnum; i++) {
        memcpy(&ph, elf + header->e_phoff + i * sizeof(ph), sizeof(ph));
        if ((ph.p_type == PT_LOAD || ph.p_type == PT_NOTE) && !inside(ph.p_offset, ph.p_filesz, size))
            return false;
    }
    return true;
}

/* Segments with their addresses; @va_offset turns a physical address of the file into a virtual one. */
static const char *
collect_segments(const u8 *elf, u64 size, const Elf64_Ehdr *header, u64 va_offset,
                 struct image_kernel *kernel)
{
    u64 start = ~0ull, end = 0;

    for (unsigned i = 0; i < header->e_phnum; i++) {
        struct image_segment *segment = &kernel->segments[kernel->segment_count];
        Elf64_Phdr ph;

        memcpy(&ph, elf + header->e_phoff + i * sizeof(ph), sizeof(ph));
        if (ph.p_type != PT_LOAD || !ph.p_memsz)
            continue;
        if (kernel->segment_count == IMAGE_SEGMENTS_MAX)
            return "The kernel has too many ELF segments.";
        if (ph.p_filesz > ph.p_memsz || !inside(ph.p_offset, ph.p_filesz, size) ||
            ph.p_memsz > IMAGE_SIZE_MAX)
            return "The kernel's ELF program headers are cut short or broken: install it again.";

        segment->va = ph.p_paddr + va_offset;
        segment->offset = ph.p_offset;
        segment->file_size = ph.p_filesz;
        segment->memory_size = ph.p_memsz;
        if (segment->va + ph.p_memsz < segment->va)
            return "An ELF segment of the kernel wraps around the end of memory.";
        start = MIN(start, segment->va);
        end = MAX(end, segment->va + ph.p_memsz);
        kernel->segment_count++;
    }
    if (!kernel->segment_count)
        return "The kernel has nothing to load: install it again.";
    if (end - start > IMAGE_SIZE_MAX)
        return "The kernel's ELF segments lie too far apart.";
    kernel->load_start = start;
    kernel->load_end = end;
    return NULL;
}

static bool
canonical(u64 va)
{
    return (u64)((s64)(va << 16) >> 16) == va;
}

static const char *
check_kernel(const struct image_kernel *kernel)
{
    if (kernel->virt_base & (PAGE_SIZE - 1) || kernel->virt_base > kernel->load_start ||
        kernel->load_start - kernel->virt_base > IMAGE_SIZE_MAX || !canonical(kernel->virt_base))
        return "The kernel's addresses do not fit its Xen notes (VIRT_BASE, PADDR_OFFSET).";
    if (kernel->entry < kernel->load_start || kernel->entry >= kernel->load_end)
        return "The kernel's entry point (XEN_ELFNOTE_ENTRY) lies outside of it.";
    if (kernel->virt_base < HYPERVISOR_END && kernel->load_end > HYPERVISOR_START)
        return "The kernel wants addresses that belong to the hypervisor.";
    if (kernel->hypercall_page != IMAGE_ADDRESS_UNSET &&
        (kernel->hypercall_page & (PAGE_SIZE - 1) || kernel->hypercall_page < kernel->load_start ||
         kernel->hypercall_page >= kernel->load_end))
        return "The kernel's hypercall page lies outside of it.";
    if (kernel->init_p2m != IMAGE_ADDRESS_UNSET &&
        (kernel->init_p2m & (PAGE_SIZE - 1) || !canonical(kernel->init_p2m)))
        return "The kernel's wish for its frame list (XEN_ELFNOTE_INIT_P2M) cannot be met.";
    return NULL;
}

static const char *
parse_elf(const u8 *elf, u64 size, struct image_kernel *kernel)
{
    struct notes notes = {0};
    Elf64_Ehdr header;
    const char *reason = check_header(elf, size, &header);
    u64 paddr_offset;

    if (reason)
        return reason;
    if (!segments_are_there(elf, size, &header))
        return "The kernel file is cut short or broken: install it again.";
    collect_notes(elf, size, &header, &notes, kernel);
    if (!notes.has[XEN_ELFNOTE_ENTRY] && !notes.has[XEN_ELFNOTE_GUEST_OS])
        return "The kernel is not for Xen: build it with CONFIG_XEN_PV, or choose another.";
    if (!notes.has[XEN_ELFNOTE_ENTRY] && notes.has[XEN_ELFNOTE_PHYS32_ENTRY])
        return "The kernel is for PVH only: build it with CONFIG_XEN_PV, or choose another.";

    /* There are notes, so without PADDR_OFFSET the file's physical addresses are meant as such. */
    kernel->virt_base = notes.number[XEN_ELFNOTE_VIRT_BASE];
    paddr_offset = notes.number[XEN_ELFNOTE_PADDR_OFFSET];
    kernel->entry = notes.has[XEN_ELFNOTE_ENTRY] ? notes.number[XEN_ELFNOTE_ENTRY] : header.e_entry;
    kernel->hypercall_page = notes.has[XEN_ELFNOTE_HYPERCALL_PAGE] ? notes.number[XEN_ELFNOTE_HYPERCALL_PAGE]
                                                                   : IMAGE_ADDRESS_UNSET;
    kernel->init_p2m =
        notes.has[XEN_ELFNOTE_INIT_P2M] ? notes.number[XEN_ELFNOTE_INIT_P2M] : IMAGE_ADDRESS_UNSET;
    kernel->mod_start_pfn = notes.number[XEN_ELFNOTE_MOD_START_PFN] != 0;
    kernel->has_supported_features = notes.has[XEN_ELFNOTE_SUPPORTED_FEATURES];
    kernel->supported_features = notes.number[XEN_ELFNOTE_SUPPORTED_FEATURES];

    reason = collect_segments(elf, size, &header, kernel->virt_base - paddr_offset, kernel);
    return reason ? reason : check_kernel(kernel);
}

bool
image_parse_elf(const void *elf, u64 size, struct image_kernel *ret_kernel, const char **ret_reason)
{
    const char *reason;

    memset(ret_kernel, 0, sizeof(*ret_kernel));
    reason = parse_elf(elf, size, ret_kernel);
    if (reason)
        *ret_reason = reason;
    return !reason;
}
