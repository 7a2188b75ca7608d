/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From an empty PV domain to one whose first instruction can run. */
#ifndef SERAI_BUILD_H
#define SERAI_BUILD_H

#include "private/elf.h"
#include "private/hypercall.h"

/*
 * The guest's memory while it is built: p2m[] maps pseudo-physical frames to machine frames; every frame
 * below page_count has an entry.
 */
typedef struct {
    SeraiHv *hv;
    uint32_t domid;
    xen_pfn_t *p2m;
    uint64_t page_count;
    gboolean zeroed; /* new frames are known to be zero: what is to be zero need not be touched */
} SeraiGuestMemory;

/* Gives the domain its memory in the largest extents that can be had, node by node when it has virtual NUMA.
 */
gboolean serai_memory_populate(SeraiGuestMemory *memory, const SeraiConfig *config, SeraiProgress *progress,
                               GCancellable *cancellable, GError **error);
void serai_memory_clear(SeraiGuestMemory *memory);
/* Maps @count pseudo-physical frames from @pfn on, to be released by serai_hv_unmap(). */
void *serai_memory_map(SeraiGuestMemory *memory, uint64_t pfn, uint64_t count, GError **error);
/* Copies into pseudo-physical memory, a few MiB at a time, or clears what was not written to before. */
gboolean serai_memory_write(SeraiGuestMemory *memory, uint64_t address, const void *data, uint64_t size,
                            GError **error);
gboolean serai_memory_zero(SeraiGuestMemory *memory, uint64_t address, uint64_t size, GError **error);
/* Reads @size bytes of @fd into pseudo-physical memory. */
gboolean serai_memory_read_fd(SeraiGuestMemory *memory, uint64_t address, int fd, uint64_t size,
                              GCancellable *cancellable, GError **error);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SeraiGuestMemory, serai_memory_clear)

/* Ports and frames that the kernel is told and that the store must know. */
typedef struct {
    const char *cache_dir;   /* in, or NULL */
    uint32_t store_port;     /* in */
    uint32_t console_port;   /* in */
    xen_pfn_t store_frame;   /* out */
    xen_pfn_t console_frame; /* out */
} SeraiBoot;

/*
 * Builds a PV domain: @memory is populated, the kernel of @config loaded, vCPU 0 set to its entry.  A domain
 * for which this fails is good for nothing but to be destroyed.
 */
gboolean serai_build_pv(SeraiGuestMemory *memory, const SeraiConfig *config, SeraiBoot *boot,
                        SeraiProgress *progress, GCancellable *cancellable, GError **error);

/* The kernel to start: the one of the configuration, or PV GRUB. */
const char *serai_build_kernel_path(const SeraiConfig *config, GError **error);

/* Memory that the guest starts with, and vCPUs, with defaults applied. */
uint64_t serai_config_start_pages(const SeraiConfig *config);
guint serai_config_start_vcpus(const SeraiConfig *config);

/* --- private/start-info.c --------------------------------------------------------------------- */

/* Where everything lies; addresses are virtual, frames pseudo-physical. */
typedef struct {
    uint64_t virt_base;
    uint64_t start_info_pfn;
    uint64_t store_pfn;
    uint64_t console_pfn;
    uint64_t tables_pfn;   /* the first is the level 4 table */
    uint64_t tables_count; /* those of the kernel's mapping */
    uint64_t stack_pfn;
    uint64_t p2m_pfn;
    uint64_t p2m_pages;
    uint64_t p2m_virt;
    uint64_t p2m_tables_count; /* tables behind the list, for its own mapping */
    uint64_t initrd_pfn;
    uint64_t initrd_size;
    gboolean initrd_unmapped;
    uint64_t virt_end; /* end of the kernel's mapping */
} SeraiLayout;

gboolean serai_start_info_write(SeraiGuestMemory *memory, const SeraiLayout *layout,
                                const SeraiConfig *config, const SeraiBoot *boot, uint64_t shared_info_frame,
                                GError **error);
gboolean serai_vcpu_start(SeraiGuestMemory *memory, const SeraiLayout *layout, uint64_t entry,
                          GError **error);

/* --- private/page-tables.c -------------------------------------------------------------------- */

/* How many tables a mapping of [from, to) needs that @already (or NULL) does not have yet, by level 1 to 4.
 */
uint64_t serai_tables_count(uint64_t from, uint64_t to, gboolean with_top);
/* Writes all tables of the layout into the guest. */
gboolean serai_tables_write(SeraiGuestMemory *memory, const SeraiLayout *layout, GError **error);

#endif
