/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Kernel images: every packing, and images that are none. */
#include "common.h"

#include "private/kernel-cache.h"

#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

typedef GBytes *(*Packer)(const guint8 *data, gsize size);

static GBytes *
pack_gzip(const guint8 *data, gsize size)
{
    z_stream z = {.next_in = (guint8 *)data, .avail_in = size};
    gsize room = size + 1000;
    guint8 *out = g_malloc(room);

    g_assert_cmpint(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, 0), ==, Z_OK);
    z.next_out = out;
    z.avail_out = room;
    g_assert_cmpint(deflate(&z, Z_FINISH), ==, Z_STREAM_END);
    deflateEnd(&z);
    return g_bytes_new_take(out, z.total_out);
}

static GBytes *
pack_xz(const guint8 *data, gsize size)
{
    size_t at = 0, room = size + 1000;
    guint8 *out = g_malloc(room);

    g_assert_cmpint(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, data, size, out, &at, room), ==,
                    LZMA_OK);
    return g_bytes_new_take(out, at);
}

static GBytes *
pack_lzma(const guint8 *data, gsize size)
{
    lzma_stream x = LZMA_STREAM_INIT;
    lzma_options_lzma options;
    gsize room = size + 1000;
    guint8 *out = g_malloc(room);

    lzma_lzma_preset(&options, 1);
    g_assert_cmpint(lzma_alone_encoder(&x, &options), ==, LZMA_OK);
    x.next_in = data;
    x.avail_in = size;
    x.next_out = out;
    x.avail_out = room;
    g_assert_cmpint(lzma_code(&x, LZMA_FINISH), ==, LZMA_STREAM_END);
    lzma_end(&x);
    return g_bytes_new_take(out, room - x.avail_out);
}

static GBytes *
pack_zstd(const guint8 *data, gsize size)
{
    gsize room = ZSTD_compressBound(size);
    guint8 *out = g_malloc(room);

    return g_bytes_new_take(out, ZSTD_compress(out, room, data, size, 1));
}

static GBytes *
pack_lz4(const guint8 *data, gsize size)
{
    gsize room = LZ4_compressBound(size) + 8;
    guint8 *out = g_malloc(room);
    guint32 magic = 0x184c2102, n;

    memcpy(out, &magic, 4);
    n = LZ4_compress_default((const char *)data, (char *)out + 8, size, room - 8);
    memcpy(out + 4, &n, 4);
    return g_bytes_new_take(out, n + 8);
}

static const struct {
    const char *name;
    Packer pack;
} packers[] = {
    {"gzip", pack_gzip}, {"xz", pack_xz}, {"lzma", pack_lzma}, {"zstd", pack_zstd}, {"lz4", pack_lz4}};

/* The setup part of a bzImage (boot protocol 2.8) around a packed kernel. */
static GBytes *
bzimage(GBytes *payload)
{
    gsize size;
    const guint8 *data = g_bytes_get_data(payload, &size);
    guint8 *out = g_malloc0(1024 + 512 + size);
    guint32 offset = 512, length = size;

    out[0x1f1] = 1;
    memcpy(out + 0x202, "HdrS", 4);
    out[0x206] = 0x08;
    out[0x207] = 0x02;
    memcpy(out + 0x248, &offset, 4);
    memcpy(out + 0x24c, &length, 4);
    memcpy(out + 1024 + 512, data, size);
    return g_bytes_new_take(out, 1024 + 512 + size);
}

static void
packed_kernels_come_out_as_they_were(void)
{
    g_autoptr(GBytes) kernel = test_kernel(3000000, TRUE);
    gsize size;
    const guint8 *data = g_bytes_get_data(kernel, &size);

    for (guint i = 0; i < G_N_ELEMENTS(packers); i++) {
        g_autoptr(GBytes) packed = packers[i].pack(data, size), image = bzimage(packed), out = NULL,
                          whole = NULL;
        g_autoptr(GError) error = NULL;

        out = serai_kernel_unpack(image, &error);
        g_assert_no_error(error);
        g_assert_true(g_bytes_equal(out, kernel));
        whole = serai_kernel_unpack(packed, &error);
        g_assert_no_error(error);
        g_assert_true(g_bytes_equal(whole, kernel));
    }
}

static void
notes_are_read(void)
{
    g_autoptr(GBytes) kernel = test_kernel(40000, TRUE);
    g_autoptr(GError) error = NULL;
    SeraiElf elf;

    g_assert_true(serai_elf_parse(&elf, kernel, &error));
    g_assert_cmphex(elf.virt_base, ==, KERNEL_BASE);
    g_assert_cmphex(elf.entry, ==, KERNEL_BASE + 0x10000);
    g_assert_cmphex(elf.hypercall_page, ==, KERNEL_BASE + 0x11000);
    g_assert_cmphex(elf.p2m_base, ==, 0x8000000000UL);
    g_assert_true(elf.unmapped_initrd);
    g_assert_cmphex(elf.end, ==, KERNEL_BASE + 0x10000 + 40000 + 8192);
    serai_elf_clear(&elf);
}

/* GRUB's notes have a size in the file and none in memory; a segment with more in the file than in memory is
 * damaged. */
static void
notes_need_no_memory(void)
{
    g_autoptr(GBytes) kernel = test_kernel(40000, TRUE), apart = NULL, damaged = NULL;
    g_autoptr(GError) error = NULL;
    gsize size;
    guint8 *copy = g_memdup2(g_bytes_get_data(kernel, &size), g_bytes_get_size(kernel));
    SeraiElf elf;

    ((Elf64_Phdr *)(copy + sizeof(Elf64_Ehdr)))[1].p_memsz = 0;
    apart = g_bytes_new(copy, size);
    g_assert_true(serai_elf_parse(&elf, apart, &error));
    g_assert_no_error(error);
    g_assert_cmphex(elf.entry, ==, KERNEL_BASE + 0x10000);
    serai_elf_clear(&elf);
    ((Elf64_Phdr *)(copy + sizeof(Elf64_Ehdr)))[0].p_memsz = 100;
    damaged = g_bytes_new_take(copy, size);
    g_assert_false(serai_elf_parse(&elf, damaged, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_KERNEL);
}

static void
refused(GBytes *file)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) out = serai_kernel_unpack(file, &error);
    SeraiElf elf;

    if (out && serai_elf_parse(&elf, out, &error)) {
        serai_elf_clear(&elf);
        g_assert_not_reached();
    }
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_KERNEL);
}

static void
what_is_no_pv_kernel_is_refused(void)
{
    g_autoptr(GBytes) empty = g_bytes_new_static("", 0), text = g_bytes_new_static("#!/bin/sh\n", 10),
                      kernel = NULL;
    g_autoptr(GMappedFile) self = g_mapped_file_new("/proc/self/exe", FALSE, NULL);
    g_autoptr(GBytes) program = g_mapped_file_get_bytes(self), no_notes = NULL, bad_entry = NULL;
    guint8 *copy;
    gsize size;

    refused(empty);
    refused(text);
    refused(program);
    kernel = test_kernel(40000, FALSE);
    size = g_bytes_get_size(kernel);
    copy = g_memdup2(g_bytes_get_data(kernel, NULL), size);
    ((Elf64_Ehdr *)copy)->e_phnum = 1;
    no_notes = g_bytes_new_take(copy, size);
    refused(no_notes);
    copy = g_memdup2(g_bytes_get_data(kernel, NULL), size);
    ((Elf64_Phdr *)(copy + sizeof(Elf64_Ehdr)))->p_memsz = 1UL << 40;
    bad_entry = g_bytes_new_take(copy, size);
    refused(bad_entry);
}

/* Flipped bits and cut ends: whatever comes out of the readers, they do not touch what is not theirs
 * (sanitizers). */
static void
damaged_kernels_do_no_harm(void)
{
    g_autoptr(GBytes) kernel = test_kernel(5000, TRUE);
    gsize size;
    const guint8 *data = g_bytes_get_data(kernel, &size);
    GBytes *sources[G_N_ELEMENTS(packers) + 1] = {kernel};
    guint parsed = 0;

    for (guint i = 0; i < G_N_ELEMENTS(packers); i++)
        sources[i + 1] = packers[i].pack(data, size);
    for (guint round = 0; round < 4000; round++) {
        guint which = round % (G_N_ELEMENTS(packers) + 1);
        GBytes *source = sources[which];
        GBytes *wrapped = which && round & 64 ? bzimage(source) : g_bytes_ref(source);
        gsize n = g_bytes_get_size(wrapped);
        guint8 *copy = g_memdup2(g_bytes_get_data(wrapped, NULL), n);
        GBytes *damaged, *out;
        SeraiElf elf;

        for (int flips = g_test_rand_int_range(1, 6); flips; flips--)
            copy[g_test_rand_int_range(0, round & 1 ? MIN(n, 400) : n)] = g_test_rand_int();
        if (round % 5 == 0)
            n = g_test_rand_int_range(0, n);
        damaged = g_bytes_new(copy, n);
        out = serai_kernel_unpack(damaged, NULL);
        if (out && serai_elf_parse(&elf, out, NULL)) {
            parsed++;
            for (guint i = 0; i < elf.segment_count; i++)
                g_assert_cmpuint(elf.segments[i].offset + elf.segments[i].filesz, <=, g_bytes_get_size(out));
            serai_elf_clear(&elf);
        }
        if (out)
            g_bytes_unref(out);
        g_bytes_unref(damaged);
        g_bytes_unref(wrapped);
        g_free(copy);
    }
    for (guint i = 0; i < G_N_ELEMENTS(packers); i++)
        g_bytes_unref(sources[i + 1]);
    g_test_message("%u of 4000 were still kernels", parsed);
}

/* The second reading comes from the cache and stays mapped, a changed file does not, and old ones go. */
static void
unpacked_kernels_are_kept(void)
{
    g_autofree char *dir = g_dir_make_tmp("serai-cache-XXXXXX", NULL),
                    *cache = g_build_filename(dir, "cache", NULL);
    g_autofree char *command = g_strdup_printf("rm -rf %s", dir);
    g_autoptr(GError) error = NULL;
    GDir *list;
    guint count = 0;

    for (guint i = 0; i < 7; i++) {
        g_autoptr(GBytes) kernel = test_kernel(40000 + i, TRUE), packed = NULL, first = NULL, second = NULL,
                          third = NULL;
        g_autofree char *path = NULL;
        gsize size;
        const guint8 *data = g_bytes_get_data(kernel, &size);

        packed = pack_gzip(data, size);
        path = test_write_file(dir, "kernel", packed); /* one name, other contents */
        first = serai_kernel_read(path, cache, NULL, &error);
        g_assert_no_error(error);
        second = serai_kernel_read(path, cache, NULL, &error);
        g_assert_no_error(error);
        g_assert_true(g_bytes_equal(first, kernel));
        g_assert_true(g_bytes_equal(second, kernel));
        third = serai_kernel_read(path, cache, NULL, &error);
        g_assert_no_error(error);
        g_assert_true(g_bytes_get_data(third, NULL) == g_bytes_get_data(second, NULL));
    }
    list = g_dir_open(cache, 0, NULL);
    while (g_dir_read_name(list))
        count++;
    g_dir_close(list);
    g_assert_cmpuint(count, ==, 4);
    g_assert_cmpint(system(command), ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/libxl/kernel/packed_kernels_come_out_as_they_were",
                    packed_kernels_come_out_as_they_were);
    g_test_add_func("/libxl/kernel/notes_are_read", notes_are_read);
    g_test_add_func("/libxl/kernel/notes_need_no_memory", notes_need_no_memory);
    g_test_add_func("/libxl/kernel/what_is_no_pv_kernel_is_refused", what_is_no_pv_kernel_is_refused);
    g_test_add_func("/libxl/kernel/damaged_kernels_do_no_harm", damaged_kernels_do_no_harm);
    g_test_add_func("/libxl/kernel/unpacked_kernels_are_kept", unpacked_kernels_are_kept);
    return g_test_run();
}
