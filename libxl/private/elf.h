/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A kernel image in memory: unpacked, its segments and what its Xen notes say.  The bytes come from a user
 * and are believed in nothing: every offset and size is checked before it is used.
 */
#ifndef SERAI_ELF_H
#define SERAI_ELF_H

#include "private/private.h"

/* The most that an unpacked kernel may take, so that a small file cannot fill dom0's memory. */
#define SERAI_KERNEL_MAX (512UL << 20)

#define SERAI_ELF_SEGMENTS 16

typedef struct {
    uint64_t offset; /* in the file */
    uint64_t filesz; /* bytes from the file */
    uint64_t memsz;  /* bytes in memory; the rest is zero */
    uint64_t paddr;  /* where it goes, as seen by the guest's physical memory */
} SeraiElfSegment;

typedef struct {
    GBytes *data;       /* the ELF file */
    uint64_t virt_base; /* virtual address of pseudo-physical 0 */
    uint64_t entry;     /* virtual */
    uint64_t start;     /* lowest and highest virtual address that the segments need */
    uint64_t end;
    uint64_t hypercall_page;  /* virtual, or 0 for none */
    uint64_t p2m_base;        /* virtual address wanted for the p2m list, or 0 for none */
    gboolean unmapped_initrd; /* the initrd need not be mapped */
    char guest_os[32];
    guint segment_count;
    SeraiElfSegment segments[SERAI_ELF_SEGMENTS]; /* paddr from here on is relative to virt_base */
} SeraiElf;

/* Unpacks what is packed: a bzImage, or a whole file in gzip, bzip2-less xz, lzma, zstd, lz4.  An ELF file
 * comes back as it is. */
GBytes *serai_kernel_unpack(GBytes *file, GError **error);

/* Reads an unpacked 64-bit PV kernel. */
gboolean serai_elf_parse(SeraiElf *elf, GBytes *data, GError **error);
void serai_elf_clear(SeraiElf *elf);

/* The two above, from a file; @cache_dir, or NULL, is where unpacked kernels are kept. */
gboolean serai_elf_load(SeraiElf *elf, const char *path, const char *cache_dir, GCancellable *cancellable,
                        GError **error);

#endif
