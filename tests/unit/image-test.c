/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kernel images: small ones made here, packed in each way and broken in each way, and a real kernel where the
 * machine has one (SERAI_TEST_KERNEL names it, else the newest /boot/vmlinuz-*).
 */
#include "boot/unpack.h"
#include "pv/image.h"

#include "abi/xen.h"

#include <elf.h>
#include <glib.h>
#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

/* --- a kernel made by hand --- */

#define BASE 0xffffffff80000000ull

struct sample {
    GByteArray *notes;
    u64 paddr, file_size, memory_size;
    u16 machine;
    u8 class;
    u32 segment_type;
};

static void
add_note(struct sample *s, u32 type, const void *desc, u32 size)
{
    u32 head[3] = {4, size, type};
    static const u8 zero[4];

    g_byte_array_append(s->notes, (const u8 *)head, sizeof(head));
    g_byte_array_append(s->notes, (const u8 *)"Xen", 4);
    g_byte_array_append(s->notes, desc, size);
    g_byte_array_append(s->notes, zero, -size & 3);
}

static void
add_number(struct sample *s, u32 type, u64 value)
{
    add_note(s, type, &value, 8);
}

static struct sample
sample_linux(void)
{
    struct sample s = {g_byte_array_new(), 0x1000000, 0x3000, 0x8000, EM_X86_64, ELFCLASS64, PT_LOAD};
    u32 features = 1u << XENFEAT_dom0;

    add_note(&s, XEN_ELFNOTE_GUEST_OS, "linux", 6);
    add_note(&s, XEN_ELFNOTE_GUEST_VERSION, "2.6", 4);
    add_number(&s, XEN_ELFNOTE_VIRT_BASE, BASE);
    add_number(&s, XEN_ELFNOTE_ENTRY, BASE + 0x1000100);
    add_number(&s, XEN_ELFNOTE_HYPERCALL_PAGE, BASE + 0x1002000);
    add_number(&s, XEN_ELFNOTE_INIT_P2M, 0x8000000000ull);
    add_number(&s, XEN_ELFNOTE_PADDR_OFFSET, 0);
    add_note(&s, XEN_ELFNOTE_FEATURES, "!writable_page_tables|pae_pgdir_above_4gb", 42);
    add_note(&s, XEN_ELFNOTE_SUPPORTED_FEATURES, &features, 4);
    add_note(&s, XEN_ELFNOTE_MOD_START_PFN, &(u32){1}, 4);
    return s;
}

/* ELF header, two program headers, notes, then the bytes of the one segment. */
static GByteArray *
build(struct sample *s)
{
    GByteArray *elf = g_byte_array_new();
    u64 notes_at = sizeof(Elf64_Ehdr) + 2 * sizeof(Elf64_Phdr);
    Elf64_Ehdr eh = {
        .e_ident = {0x7f, 'E', 'L', 'F', s->class, ELFDATA2LSB, 1},
        .e_type = ET_EXEC,
        .e_machine = s->machine,
        .e_phoff = sizeof(eh),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 2,
    };
    Elf64_Phdr ph[2] = {
        {
            .p_type = s->segment_type,
            .p_offset = notes_at + s->notes->len,
            .p_paddr = s->paddr,
            .p_filesz = s->file_size,
            .p_memsz = s->memory_size,
        },
        {.p_type = PT_NOTE, .p_offset = notes_at, .p_filesz = s->notes->len},
    };

    g_byte_array_append(elf, (u8 *)&eh, sizeof(eh));
    g_byte_array_append(elf, (u8 *)ph, sizeof(ph));
    g_byte_array_append(elf, s->notes->data, s->notes->len);
    g_byte_array_set_size(elf, elf->len + s->file_size);
    for (u64 i = 0; i < s->file_size; i++)
        elf->data[elf->len - s->file_size + i] = i * 7 + (i >> 9);
    g_byte_array_unref(s->notes);
    return elf;
}

static const char *
parse(GByteArray *elf, struct image_kernel *kernel)
{
    const char *reason = NULL;
    u8 *exact = g_memdup2(elf->data, elf->len); /* so that the sanitizer sees a read behind the end */
    bool ok = image_parse_elf(exact, elf->len, kernel, &reason);

    g_free(exact);
    g_assert_cmpint(ok, ==, !reason);
    return reason;
}

static void
refuses(struct sample s, const char *part)
{
    g_autoptr(GByteArray) elf = build(&s);
    struct image_kernel kernel;
    const char *reason = parse(elf, &kernel);

    g_assert_nonnull(reason);
    g_assert_nonnull(strstr(reason, part));
}

/* --- ELF --- */

static void
notes_of_a_linux_kernel_are_understood(void)
{
    struct sample s = sample_linux();
    g_autoptr(GByteArray) elf = build(&s);
    struct image_kernel k;

    g_assert_null(parse(elf, &k));
    g_assert_cmphex(k.virt_base, ==, BASE);
    g_assert_cmphex(k.entry, ==, BASE + 0x1000100);
    g_assert_cmphex(k.hypercall_page, ==, BASE + 0x1002000);
    g_assert_cmphex(k.init_p2m, ==, 0x8000000000ull);
    g_assert_cmphex(k.load_start, ==, BASE + 0x1000000);
    g_assert_cmphex(k.load_end, ==, BASE + 0x1008000);
    g_assert_true(k.mod_start_pfn);
    g_assert_true(k.has_supported_features);
    g_assert_cmphex(k.supported_features, ==, 1u << XENFEAT_dom0);
    g_assert_cmphex(k.required_features, ==, 1u << XENFEAT_writable_page_tables);
    g_assert_cmpstr(k.guest_os, ==, "linux");
    g_assert_cmpuint(k.segment_count, ==, 1);
    g_assert_cmphex(k.segments[0].va, ==, BASE + 0x1000000);
    g_assert_cmphex(k.segments[0].file_size, ==, 0x3000);
}

static void
kernels_that_cannot_run_are_refused_with_the_reason(void)
{
    struct sample s = sample_linux();

    s.machine = EM_386;
    refuses(s, "64-bit");
    s = sample_linux();
    s.class = ELFCLASS32;
    refuses(s, "64-bit");

    s = sample_linux();
    g_byte_array_set_size(s.notes, 0);
    refuses(s, "not for Xen");

    s = sample_linux();
    g_byte_array_set_size(s.notes, 0);
    add_note(&s, XEN_ELFNOTE_GUEST_OS, "linux", 6);
    add_number(&s, XEN_ELFNOTE_PHYS32_ENTRY, 0x1000000);
    refuses(s, "PVH only");

    s = sample_linux();
    add_number(&s, XEN_ELFNOTE_ENTRY, BASE + 0x1008000);
    refuses(s, "entry point");
    s = sample_linux();
    add_number(&s, XEN_ELFNOTE_HYPERCALL_PAGE, BASE + 0x1008000);
    refuses(s, "hypercall page");
    s = sample_linux();
    add_number(&s, XEN_ELFNOTE_HYPERCALL_PAGE, BASE + 0x1002008);
    refuses(s, "hypercall page");
    s = sample_linux();
    add_number(&s, XEN_ELFNOTE_INIT_P2M, 0x800000000000ull);
    refuses(s, "INIT_P2M");
    s = sample_linux();
    add_number(&s, XEN_ELFNOTE_VIRT_BASE, HYPERVISOR_START);
    add_number(&s, XEN_ELFNOTE_ENTRY, HYPERVISOR_START + 0x1000000);
    refuses(s, "hypervisor");
    s = sample_linux();
    add_number(&s, XEN_ELFNOTE_PADDR_OFFSET, 0x2000000);
    refuses(s, "VIRT_BASE");

    s = sample_linux();
    s.paddr = ~0ull - 0x1000 - BASE;
    refuses(s, "wraps");
    s = sample_linux();
    s.memory_size = 0x1000;
    refuses(s, "cut short");
    s = sample_linux();
    s.memory_size = 1ull << 62;
    refuses(s, "cut short");
    s = sample_linux();
    s.segment_type = PT_NULL;
    refuses(s, "nothing to load");
}

static void
a_file_cut_at_any_byte_is_refused_or_whole(void)
{
    struct sample s = sample_linux();
    g_autoptr(GByteArray) elf = build(&s);
    u32 whole = elf->len;
    struct image_kernel k;

    for (u32 n = 0; n < whole; n += n < 0x400 ? 1 : 97) {
        elf->len = n;
        g_assert_nonnull(parse(elf, &k));
    }
    elf->len = whole;
}

static void
broken_bytes_never_read_outside(void)
{
    struct sample s = sample_linux();
    g_autoptr(GByteArray) elf = build(&s);
    u32 head = elf->len - 0x3000;

    for (unsigned round = 0; round < 20000; round++) {
        g_autoptr(GByteArray) copy = g_byte_array_append(g_byte_array_new(), elf->data, elf->len);
        struct image_kernel k;

        for (unsigned i = 0; i < 1 + round % 4; i++)
            copy->data[g_test_rand_int_range(0, head)] =
                g_test_rand_int_range(0, 4) ? g_test_rand_int() : 0xff;
        if (parse(copy, &k))
            continue;
        for (unsigned i = 0; i < k.segment_count; i++) {
            g_assert_cmpuint(k.segments[i].offset + k.segments[i].file_size, <=, copy->len);
            g_assert_cmphex(k.segments[i].va, >=, k.load_start);
            g_assert_cmphex(k.segments[i].va + k.segments[i].memory_size, <=, k.load_end);
        }
        g_assert_cmphex(k.load_end - k.load_start, <=, IMAGE_SIZE_MAX);
    }
}

/* --- packing --- */

static GByteArray *
pack(enum image_packing packing, const GByteArray *data)
{
    GByteArray *out = g_byte_array_new();
    u32 size = data->len, room = size + size / 8 + 4096;

    g_byte_array_set_size(out, room + 8);
    if (packing == IMAGE_GZIP) {
        z_stream z = {.next_in = data->data, .avail_in = size, .next_out = out->data, .avail_out = room};

        g_assert_cmpint(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), ==, Z_OK);
        g_assert_cmpint(deflate(&z, Z_FINISH), ==, Z_STREAM_END);
        g_byte_array_set_size(out, z.total_out);
        deflateEnd(&z);
        return out; /* ends in the size by itself */
    } else if (packing == IMAGE_XZ) {
        size_t n = 0;

        g_assert_true(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, NULL, data->data, size, out->data, &n,
                                              room) == LZMA_OK);
        g_byte_array_set_size(out, n);
    } else if (packing == IMAGE_ZSTD) {
        g_byte_array_set_size(out, ZSTD_compress(out->data, room, data->data, size, 3));
    } else {
        u32 n = LZ4_compress_default((char *)data->data, (char *)out->data + 8, size, room);
        u32 magic = 0x184c2102;

        memcpy(out->data, &magic, 4);
        memcpy(out->data + 4, &n, 4);
        g_byte_array_set_size(out, n + 8);
    }
    g_byte_array_append(out, (u8 *)&size, 4);
    return out;
}

static GByteArray *
bzimage(const GByteArray *payload)
{
    GByteArray *out = g_byte_array_new();
    u16 version = 0x20f;
    u32 offset = 0x140, length = payload->len;

    g_byte_array_set_size(out, 5 * 512 + offset);
    memset(out->data, 0, out->len);
    memcpy(out->data + 0x202, "HdrS", 4);
    memcpy(out->data + 0x206, &version, 2);
    memcpy(out->data + 0x248, &offset, 4);
    memcpy(out->data + 0x24c, &length, 4);
    g_byte_array_append(out, payload->data, payload->len);
    return out;
}

static void
each_packing_comes_back_as_it_was(void)
{
    static const enum image_packing packings[] = {IMAGE_GZIP, IMAGE_XZ, IMAGE_ZSTD, IMAGE_LZ4};
    struct sample s = sample_linux();
    g_autoptr(GByteArray) elf = build(&s);

    for (unsigned i = 0; i < ARRAY_SIZE(packings); i++) {
        g_autoptr(GByteArray) packed = pack(packings[i], elf);
        g_autoptr(GByteArray) image = bzimage(packed);
        g_autofree u8 *out = g_malloc(elf->len);
        const char *reason = NULL;
        const void *payload;
        u64 size;

        g_assert_cmpint(image_packing(image->data, image->len), ==, IMAGE_BZIMAGE);
        payload = image_payload(image->data, image->len, &size, &reason);
        g_assert_nonnull(payload);
        g_assert_cmpuint(size, ==, packed->len);
        g_assert_cmpint(image_packing(payload, size), ==, packings[i]);
        g_assert_cmpuint(image_unpacked_size(payload, size), ==, elf->len);
        g_assert_true(unpack(packings[i], payload, size, out, elf->len, &reason));
        g_assert_cmpmem(out, elf->len, elf->data, elf->len);

        /* A byte in the middle is wrong; without a checksum, at least nothing is written outside. */
        packed->data[packed->len / 2] ^= 0x55;
        if (packings[i] == IMAGE_GZIP || packings[i] == IMAGE_XZ)
            g_assert_false(unpack(packings[i], packed->data, packed->len, out, elf->len, &reason));
        else
            (void)unpack(packings[i], packed->data, packed->len, out, elf->len, &reason);
        packed->data[packed->len / 2] ^= 0x55;
        g_assert_false(unpack(packings[i], packed->data, packed->len / 2, out, elf->len, &reason));
        g_assert_false(unpack(packings[i], packed->data, packed->len, out, elf->len - 1, &reason) &&
                       packings[i] != IMAGE_LZ4);
    }
}

static void
a_broken_bzimage_is_refused(void)
{
    struct sample s = sample_linux();
    g_autoptr(GByteArray) elf = build(&s);
    g_autoptr(GByteArray) packed = pack(IMAGE_GZIP, elf);
    g_autoptr(GByteArray) image = bzimage(packed);
    const char *reason = NULL;
    u64 size;

    g_assert_null(image_payload(image->data, image->len - 1, &size, &reason));
    g_assert_nonnull(strstr(reason, "cut short"));
    memset(image->data + 0x24c, 0xff, 4);
    g_assert_null(image_payload(image->data, image->len, &size, &reason));
    memset(image->data + 0x24c, 0, 4);
    g_assert_null(image_payload(image->data, image->len, &size, &reason));
    image->data[0x206] = 7;
    image->data[0x207] = 2;
    g_assert_null(image_payload(image->data, image->len, &size, &reason));
    g_assert_nonnull(strstr(reason, "too old"));
    image->data[0x202] = 'h';
    g_assert_cmpint(image_packing(image->data, image->len), ==, IMAGE_UNKNOWN);
}

/* --- a real one --- */

static char *
find_kernel(void)
{
    const char *name = g_getenv("SERAI_TEST_KERNEL");
    g_autoptr(GDir) dir = g_dir_open("/boot", 0, NULL);
    char *best = NULL;

    if (name)
        return g_strdup(name);
    while (dir && (name = g_dir_read_name(dir)))
        if (g_str_has_prefix(name, "vmlinuz-") && (!best || strcmp(name, best + 6) > 0)) {
            g_free(best);
            best = g_build_filename("/boot", name, NULL);
        }
    return best;
}

static void
the_machine_s_own_kernel_is_understood(void)
{
    g_autofree char *name = find_kernel(), *data = NULL;
    g_autofree u8 *out = NULL;
    const char *reason = NULL;
    struct image_kernel k;
    const void *payload;
    u64 size, unpacked;
    gsize length;

    if (!name || !g_file_get_contents(name, &data, &length, NULL)) {
        g_test_skip("no kernel here: set SERAI_TEST_KERNEL");
        return;
    }
    payload = image_payload(data, length, &size, &reason);
    g_assert_nonnull(payload);
    unpacked = image_unpacked_size(payload, size);
    g_assert_cmpuint(unpacked, >, 1 << 20);
    out = g_malloc(unpacked);
    g_assert_true(unpack(image_packing(payload, size), payload, size, out, unpacked, &reason));
    g_assert_true(image_parse_elf(out, unpacked, &k, &reason));
    g_assert_cmphex(k.virt_base, ==, BASE);
    g_assert_cmpstr(k.guest_os, ==, "linux");
    g_assert_true(k.supported_features & 1u << XENFEAT_dom0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define T(f) g_test_add_func("/image/" #f, f)
    T(notes_of_a_linux_kernel_are_understood);
    T(kernels_that_cannot_run_are_refused_with_the_reason);
    T(a_file_cut_at_any_byte_is_refused_or_whole);
    T(broken_bytes_never_read_outside);
    T(each_packing_comes_back_as_it_was);
    T(a_broken_bzimage_is_refused);
    T(the_machine_s_own_kernel_is_understood);
    return g_test_run();
}
