/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kernel images arrive packed.  A bzImage is a real-mode loader with a packed ELF file at an offset that its
 * header tells (Linux boot protocol 2.08 and later); some distributions pack the whole file instead.  The
 * decoders are those of the system; here is only the loop around each, with a limit on what may come out.
 */
#include "private/elf.h"

#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

/* A growing piece of memory with a limit. */
typedef struct {
    guint8 *data;
    gsize size;
    gsize room;
} Output;

static gboolean
output_grow(Output *out, GError **error)
{
    gsize room = out->room ? MIN(out->room * 2, SERAI_KERNEL_MAX) : 1 << 20;
    guint8 *data;

    if (out->room >= SERAI_KERNEL_MAX) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_INVALID_KERNEL,
                            _("The kernel unpacks to more than a kernel can be."));
        return FALSE;
    }
    data = g_try_realloc(out->data, room);
    if (!data) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_NO_MEMORY,
                            _("There is no memory to unpack the kernel."));
        return FALSE;
    }
    out->data = data;
    out->room = room;
    return TRUE;
}

static gboolean
damaged(GError **error)
{
    g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_INVALID_KERNEL, _("The packed kernel is damaged."));
    return FALSE;
}

static gboolean
unpack_gzip(const guint8 *data, gsize size, Output *out, GError **error)
{
    z_stream z = {.next_in = (guint8 *)data, .avail_in = MIN(size, G_MAXUINT)};
    int rc = inflateInit2(&z, 16 + MAX_WBITS);
    gboolean ok = rc == Z_OK;

    while (ok && rc != Z_STREAM_END) {
        if (out->size == out->room && !(ok = output_grow(out, error)))
            break;
        z.next_out = out->data + out->size;
        z.avail_out = out->room - out->size;
        rc = inflate(&z, Z_NO_FLUSH);
        out->size = z.next_out - out->data;
        if (rc != Z_STREAM_END && (rc != Z_OK || (!z.avail_in && z.avail_out)))
            ok = damaged(error);
    }
    inflateEnd(&z);
    return ok;
}

static gboolean
unpack_lzma(const guint8 *data, gsize size, Output *out, GError **error)
{
    lzma_stream x = LZMA_STREAM_INIT;
    /* Linux packs with a dictionary of 32 MiB at most; the limit is for the decoder's own memory. */
    lzma_ret rc = lzma_auto_decoder(&x, 256 << 20, 0);
    gboolean ok = rc == LZMA_OK;

    x.next_in = data;
    x.avail_in = size;
    while (ok && rc != LZMA_STREAM_END) {
        if (out->size == out->room && !(ok = output_grow(out, error)))
            break;
        x.next_out = out->data + out->size;
        x.avail_out = out->room - out->size;
        rc = lzma_code(&x, LZMA_RUN);
        out->size = x.next_out - out->data;
        if (rc != LZMA_STREAM_END && (rc != LZMA_OK || (!x.avail_in && x.avail_out)))
            ok = damaged(error);
    }
    lzma_end(&x);
    return ok;
}

static gboolean
unpack_zstd(const guint8 *data, gsize size, Output *out, GError **error)
{
    ZSTD_DCtx *z = ZSTD_createDCtx();
    ZSTD_inBuffer in = {data, size, 0};
    size_t rc = 1;
    gboolean ok = z != NULL;

    if (z)
        ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, 27);
    while (ok && rc != 0) {
        ZSTD_outBuffer o;

        if (out->size == out->room && !(ok = output_grow(out, error)))
            break;
        o = (ZSTD_outBuffer){out->data, out->room, out->size};
        rc = ZSTD_decompressStream(z, &o, &in);
        out->size = o.pos;
        if (ZSTD_isError(rc) || (rc && in.pos == in.size && o.pos < o.size))
            ok = damaged(error);
    }
    ZSTD_freeDCtx(z);
    return ok;
}

/* Linux uses the legacy frame: a magic number, then blocks of 8 MiB, each after its packed size. */
static gboolean
unpack_lz4(const guint8 *data, gsize size, Output *out, GError **error)
{
    const gsize block = 8 << 20;
    gsize pos = 4;

    while (pos + 4 <= size) {
        guint32 packed;
        int n;

        memcpy(&packed, data + pos, sizeof(packed));
        packed = GUINT32_FROM_LE(packed);
        pos += 4;
        if (packed == 0x184c2102) /* another frame begins */
            continue;
        if (!packed || packed > size - pos)
            break; /* what follows the last block is not ours: the kernel's size, padding */
        while (out->room - out->size < block)
            if (!output_grow(out, error))
                return FALSE;
        n = LZ4_decompress_safe((const char *)data + pos, (char *)out->data + out->size, packed, block);
        if (n < 0)
            return damaged(error);
        out->size += n;
        pos += packed;
    }
    return out->size ? TRUE : damaged(error);
}

typedef gboolean (*Unpacker)(const guint8 *data, gsize size, Output *out, GError **error);

static const struct {
    const char *magic;
    gsize size;
    Unpacker unpack;
} formats[] = {
    {"\x1f\x8b", 2, unpack_gzip},
    {"\xfd"
     "7zXZ",
     6, unpack_lzma},
    {"\x5d\x00\x00", 3, unpack_lzma},
    {"\x28\xb5\x2f\xfd", 4, unpack_zstd},
    {"\x02\x21\x4c\x18", 4, unpack_lz4},
};

static GBytes *
unpack_stream(const guint8 *data, gsize size, GError **error)
{
    for (guint i = 0; i < G_N_ELEMENTS(formats); i++) {
        Output out = {0};

        if (size < formats[i].size || memcmp(data, formats[i].magic, formats[i].size))
            continue;
        if (formats[i].unpack(data, size, &out, error))
            return g_bytes_new_take(g_realloc(out.data, MAX(1, out.size)), out.size);
        g_free(out.data);
        return NULL;
    }
    g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_INVALID_KERNEL,
                        _("The kernel is packed in a way that is not known here."));
    return NULL;
}

static guint32
le32(const guint8 *p)
{
    return p[0] | p[1] << 8 | p[2] << 16 | (guint32)p[3] << 24;
}

GBytes *
serai_kernel_unpack(GBytes *file, GError **error)
{
    gsize size;
    const guint8 *data = g_bytes_get_data(file, &size);

    if (size >= 4 && !memcmp(data, "\177ELF", 4))
        return g_bytes_ref(file);

    /* Linux boot protocol: "HdrS" at 0x202, version at 0x206, setup sectors at 0x1f1, payload at 0x248. */
    if (size > 0x268 && !memcmp(data + 0x202, "HdrS", 4)) {
        guint version = data[0x206] | data[0x207] << 8;
        guint64 setup = ((data[0x1f1] ? data[0x1f1] : 4) + 1) * 512;
        guint64 offset = setup + le32(data + 0x248);
        guint64 length = le32(data + 0x24c);

        if (version < 0x208 || offset > size || length > size - offset) {
            g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_INVALID_KERNEL,
                                _("The kernel's boot header does not fit the file."));
            return NULL;
        }
        if (length >= 4 && !memcmp(data + offset, "\177ELF", 4))
            return g_bytes_new_from_bytes(file, offset, length);
        return unpack_stream(data + offset, length, error);
    }
    return unpack_stream(data, size, error);
}
