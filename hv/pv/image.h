/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kernel images: where the kernel lies in a bzImage, what its ELF headers and Xen notes ask for.
 *
 * Pure functions over bytes that are not trusted: nothing outside [data, data + size) is read, nothing is
 * written but results.  A refusal names its reason in one sentence for the person at the console.
 */
#ifndef SERAI_PV_IMAGE_H
#define SERAI_PV_IMAGE_H

#include "base/types.h"

/* No kernel is larger; keeps all sums of sizes far from overflow. */
#define IMAGE_SIZE_MAX (1ull << 30)

enum image_packing {
    IMAGE_ELF,
    IMAGE_GZIP,
    IMAGE_XZ,
    IMAGE_ZSTD,
    IMAGE_LZ4,
    IMAGE_BZIMAGE,     /* holds one of the others; see image_payload() */
    IMAGE_UNSUPPORTED, /* recognised and not taken: bzip2, lzma, lzo */
    IMAGE_UNKNOWN,
};

enum image_packing image_packing(const void *data, u64 size);

/* The part of a bzImage that is the kernel, packed or not; NULL when the image is broken. */
const void *image_payload(const void *data, u64 size, u64 *ret_size, const char **ret_reason);

/*
 * How many bytes the payload has when unpacked.  Linux's build appends the number to all formats but gzip,
 * which ends in it by itself.  0 when it cannot be true.
 */
u64 image_unpacked_size(const void *payload, u64 size);

#define IMAGE_SEGMENTS_MAX  32u
#define IMAGE_ADDRESS_UNSET (~0ull)

struct image_segment {
    u64 va;
    u64 offset, file_size; /* bytes of the file; inside it */
    u64 memory_size;       /* >= file_size; the rest is zero */
};

/* What a PV kernel wants, checked to be consistent. */
struct image_kernel {
    u64 virt_base; /* address of pseudo-physical 0 */
    u64 entry;
    u64 load_start, load_end; /* what the segments cover */
    u64 hypercall_page;       /* IMAGE_ADDRESS_UNSET when it wants none */
    u64 init_p2m;             /* address for the list of frames; IMAGE_ADDRESS_UNSET: behind the kernel */
    bool mod_start_pfn;       /* takes an initrd that is not mapped */
    bool has_supported_features;
    u32 supported_features; /* XENFEAT_* bits, of XEN_ELFNOTE_SUPPORTED_FEATURES */
    u32 required_features;  /* bits behind '!' in XEN_ELFNOTE_FEATURES */
    char guest_os[16], guest_version[16];
    unsigned segment_count;
    struct image_segment segments[IMAGE_SEGMENTS_MAX];
};

bool image_parse_elf(const void *elf, u64 size, struct image_kernel *ret_kernel, const char **ret_reason);

#endif
