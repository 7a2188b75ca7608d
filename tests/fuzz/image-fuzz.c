/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The dom0 kernel's file: bzImage header, payload of any packing, ELF headers and notes. */
#include "boot/unpack.h"
#include "fuzz.h"
#include "pv/image.h"

#include <elf.h>
#include <string.h>
#include <xen/elfnote.h>
#include <zlib.h>

/* No input here is large when unpacked; a claim beyond this is met on the machine by asking the allocator. */
#define UNPACKED_MAX (1u << 20)

static void
check_elf(const void *data, u64 size)
{
    struct image_kernel kernel;
    const char *reason = NULL;

    if (!image_parse_elf(data, size, &kernel, &reason)) {
        g_assert_nonnull(reason);
        return;
    }
    g_assert_cmpuint(kernel.segment_count, >, 0);
    for (unsigned i = 0; i < kernel.segment_count; i++) {
        const struct image_segment *s = &kernel.segments[i];

        g_assert_cmpuint(s->offset, <=, size);
        g_assert_cmpuint(s->file_size, <=, size - s->offset);
        g_assert_cmpuint(s->file_size, <=, s->memory_size);
        g_assert_cmphex(s->va, >=, kernel.virt_base);
        g_assert_cmphex(s->va + s->memory_size, <=, kernel.load_end);
    }
}

int
LLVMFuzzerTestOneInput(const guint8 *data, size_t size)
{
    enum image_packing packing = image_packing(data, size);
    const void *payload = data;
    const char *reason = NULL;
    u64 payload_size = size, unpacked;

    if (packing == IMAGE_BZIMAGE) {
        payload = image_payload(data, size, &payload_size, &reason);
        if (!payload) {
            g_assert_nonnull(reason);
            return 0;
        }
        packing = image_packing(payload, payload_size);
    }
    if (packing == IMAGE_GZIP || packing == IMAGE_XZ || packing == IMAGE_ZSTD || packing == IMAGE_LZ4) {
        unpacked = image_unpacked_size(payload, payload_size);
        if (unpacked && unpacked <= UNPACKED_MAX) {
            g_autofree guint8 *out = g_malloc(unpacked);

            if (unpack(packing, payload, payload_size, out, unpacked, &reason))
                check_elf(out, unpacked);
        }
    } else {
        check_elf(payload, payload_size);
    }
    return 0;
}

/* --- seeds --- */

static void
add_note(GByteArray *notes, u32 type, u64 value)
{
    u32 head[3] = {4, 8, type};

    g_byte_array_append(notes, (const u8 *)head, sizeof(head));
    g_byte_array_append(notes, (const u8 *)"Xen", 4);
    g_byte_array_append(notes, (const u8 *)&value, 8);
}

static GByteArray *
seed_elf(void)
{
    g_autoptr(GByteArray) notes = g_byte_array_new();
    GByteArray *elf = g_byte_array_new();
    u64 notes_at = sizeof(Elf64_Ehdr) + 2 * sizeof(Elf64_Phdr);
    Elf64_Ehdr eh = {
        .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1},
        .e_machine = EM_X86_64,
        .e_phoff = sizeof(eh),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 2,
    };

    add_note(notes, XEN_ELFNOTE_ENTRY, 0xffffffff81000000ull);
    add_note(notes, XEN_ELFNOTE_VIRT_BASE, 0xffffffff80000000ull);
    add_note(notes, XEN_ELFNOTE_HYPERCALL_PAGE, 0xffffffff81001000ull);
    add_note(notes, XEN_ELFNOTE_INIT_P2M, 0x8000000000ull);
    add_note(notes, XEN_ELFNOTE_FEATURES, 0x7c796c7869213030ull);

    Elf64_Phdr ph[2] = {
        {
            .p_type = PT_LOAD,
            .p_offset = notes_at,
            .p_paddr = 0x1000000,
            .p_filesz = notes->len,
            .p_memsz = 0x2000,
        },
        {.p_type = PT_NOTE, .p_offset = notes_at, .p_filesz = notes->len},
    };
    g_byte_array_append(elf, (u8 *)&eh, sizeof(eh));
    g_byte_array_append(elf, (u8 *)ph, sizeof(ph));
    g_byte_array_append(elf, notes->data, notes->len);
    return elf;
}

static GByteArray *
seed_bzimage(void)
{
    g_autoptr(GByteArray) elf = seed_elf();
    GByteArray *out = g_byte_array_new();
    u8 packed[2048];
    z_stream z = {
        .next_in = elf->data, .avail_in = elf->len, .next_out = packed, .avail_out = sizeof(packed)};
    u32 length;

    deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
    deflate(&z, Z_FINISH);
    length = z.total_out;
    deflateEnd(&z);
    g_byte_array_set_size(out, 2 * 512);
    memset(out->data, 0, out->len);
    out->data[0x1f1] = 1;
    memcpy(out->data + 0x202, "HdrS", 4);
    out->data[0x206] = 0x0f;
    out->data[0x207] = 2;
    memcpy(out->data + 0x24c, &length, 4);
    g_byte_array_append(out, packed, length);
    return out;
}

GByteArray *
fuzz_seed(unsigned n)
{
    return n % 2 ? seed_bzimage() : seed_elf();
}
