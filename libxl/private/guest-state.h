/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A PV guest seen from outside: its p2m list and shared info, read once, checked, and held in our own memory,
 * so that a guest that changes them meanwhile confuses nobody but itself.
 */
#ifndef SERAI_GUEST_STATE_H
#define SERAI_GUEST_STATE_H

#include "private/hypercall.h"

#define SERAI_NO_FRAME (~(xen_pfn_t)0)

typedef struct {
    SeraiHv *hv;
    uint32_t domid;
    xen_domctl_getdomaininfo_t info;
    shared_info_t *shared;  /* a copy, one page */
    uint64_t count;         /* frames of pseudo-physical memory */
    xen_pfn_t *p2m;         /* machine frame or SERAI_NO_FRAME */
    uint64_t list_count;    /* frames that hold the guest's own list */
    xen_pfn_t *list_frames; /* their machine frames */
    uint64_t table_mask;    /* of the reverse table */
    uint64_t keys[2];       /* of its hash: random, as the guest chooses what is in the table */
    struct {
        uint32_t mfn;
        uint32_t pfn;
    } * reverse;
} SeraiGuestState;

gboolean serai_guest_read(SeraiGuestState *state, SeraiHv *hv, uint32_t domid, GError **error);
void serai_guest_clear(SeraiGuestState *state);
/* The pseudo-physical number of a machine frame, or SERAI_NO_FRAME when the guest's list does not have it. */
xen_pfn_t serai_guest_pfn(const SeraiGuestState *state, xen_pfn_t mfn);
/* Copies a page table with pseudo-physical numbers in place of machine frames.  Entries that are the
 * hypervisor's own are cleared; so are those that lead out of the guest, and their number is returned. */
guint serai_guest_normalize_table(const SeraiGuestState *state, const uint64_t *from, uint64_t *to,
                                  int level);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SeraiGuestState, serai_guest_clear)

/* Pieces of that, for who needs a page only (private/peek.c). */
/* Copies @count frames side by side. */
gboolean serai_guest_copy(SeraiHv *hv, uint32_t domid, const xen_pfn_t *frames, uint64_t count, void *to,
                          GError **error);
/* The level 1 table, 512 entries, below @cr3 in which a virtual address has its entry. */
gboolean serai_guest_table(SeraiHv *hv, uint32_t domid, uint64_t cr3, uint64_t address, uint64_t *ret_table,
                           GError **error);
xen_pfn_t serai_guest_entry_frame(uint64_t entry);
/* Whether an entry of a p2m list is a frame of the guest's own. */
gboolean serai_guest_is_frame(xen_pfn_t frame);
gboolean serai_guest_page_is_zero(const void *page);

/* --- private/save.c, restore.c, dump.c, kdump.c ----------------------------------------------- */

gboolean serai_stream_save(SeraiHv *hv, uint32_t domid, int fd, SeraiProgress *progress,
                           GCancellable *cancellable, GError **error);
gboolean serai_dump_write(SeraiHv *hv, uint32_t domid, int fd, SeraiProgress *progress,
                          GCancellable *cancellable, GError **error);
gboolean serai_kdump_write(SeraiHv *hv, uint32_t domid, int fd, SeraiProgress *progress,
                           GCancellable *cancellable, GError **error);
/* The vcpu_guest_context_t of each vCPU that is online, side by side. */
GByteArray *serai_dump_vcpus(SeraiGuestState *guest, GError **error);
/* Appends an ELF note. */
void serai_dump_add_note(GByteArray *notes, const char *name, uint32_t type, const void *desc, uint32_t size);

#endif
