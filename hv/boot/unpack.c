/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Unpacking; the contract is in unpack.h.
 *
 * The libraries are used whole: their own checks hold whatever a broken kernel file contains.  On the
 * machine they run inside libc_env_enter(), and get memory from boot/libc-shim.c.
 */
#include "boot/unpack.h"

#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

static const char broken[] = "The kernel file is broken, it does not unpack: install it again.";
static const char no_memory[] = "Too little memory to unpack the kernel.";

static const char *
unpack_gzip(const void *src, u64 src_size, void *dst, u64 dst_size)
{
    z_stream stream = {0};
    int rc;

    stream.next_in = (Bytef *)src;
    stream.avail_in = src_size;
    stream.next_out = dst;
    stream.avail_out = dst_size;
    if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK)
        return no_memory;
    rc = inflate(&stream, Z_FINISH);
    inflateEnd(&stream);
    return rc == Z_STREAM_END && stream.total_out == dst_size ? NULL : broken;
}

static const char *
unpack_xz(const void *src, u64 src_size, void *dst, u64 dst_size)
{
    uint64_t memory_limit = 256ull << 20;
    size_t in = 0, out = 0;
    lzma_ret rc;

    rc = lzma_stream_buffer_decode(&memory_limit, 0, NULL, src, &in, src_size, dst, &out, dst_size);
    if (rc == LZMA_MEM_ERROR || rc == LZMA_MEMLIMIT_ERROR)
        return no_memory;
    return rc == LZMA_OK && out == dst_size ? NULL : broken;
}

static const char *
unpack_zstd(const void *src, u64 src_size, void *dst, u64 dst_size)
{
    ZSTD_DStream *stream = ZSTD_createDStream();
    ZSTD_inBuffer in = {src, src_size, 0};
    ZSTD_outBuffer out = {dst, dst_size, 0};
    size_t rc;

    if (!stream)
        return no_memory;
    /* One buffer for all of the output: no window has to be kept, however large the frame says it is. */
    ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, 30);
    ZSTD_DCtx_setParameter(stream, ZSTD_d_experimentalParam2, 1 /* ZSTD_d_stableOutBuffer */);
    do {
        size_t before = in.pos + out.pos;

        rc = ZSTD_decompressStream(stream, &out, &in);
        if (!ZSTD_isError(rc) && rc && in.pos + out.pos == before)
            break;
    } while (rc && !ZSTD_isError(rc));
    ZSTD_freeDStream(stream);
    return !rc && out.pos == dst_size ? NULL : broken;
}

/* LZ4's legacy format, which Linux uses: blocks of at most 8 MiB, each behind a packed size; no end mark. */
static const char *
unpack_lz4(const void *src, u64 src_size, void *dst, u64 dst_size)
{
    const u8 *in = (const u8 *)src + 4, *in_end = (const u8 *)src + src_size;
    u8 *out = dst, *out_end = out + dst_size;

    while (out < out_end) {
        u32 block;
        int n;

        if (in_end - in < 4)
            return broken;
        block = in[0] | in[1] << 8 | in[2] << 16 | (u32)in[3] << 24;
        in += 4;
        if (!block || block > (u64)(in_end - in))
            return broken;
        n = LZ4_decompress_safe((const char *)in, (char *)out, block, MIN(out_end - out, 8 << 20));
        if (n <= 0)
            return broken;
        in += block;
        out += n;
    }
    return NULL;
}

bool
unpack(enum image_packing packing, const void *src, u64 src_size, void *dst, u64 dst_size,
       const char **ret_reason)
{
    const char *reason;

    switch (packing) {
    case IMAGE_GZIP:
        reason = unpack_gzip(src, src_size, dst, dst_size);
        break;
    case IMAGE_XZ:
        reason = unpack_xz(src, src_size, dst, dst_size);
        break;
    case IMAGE_ZSTD:
        reason = unpack_zstd(src, src_size, dst, dst_size);
        break;
    case IMAGE_LZ4:
        reason = unpack_lz4(src, src_size, dst, dst_size);
        break;
    default:
        reason = "The kernel is packed in a way that is not supported: use xz, gzip, zstd, lz4 or none.";
    }
    if (reason)
        *ret_reason = reason;
    return !reason;
}
