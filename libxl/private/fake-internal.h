/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the pretend hypervisor share.  All of it is used with its lock held. */
#ifndef SERAI_FAKE_INTERNAL_H
#define SERAI_FAKE_INTERNAL_H

#include "private/fake.h"
#include "private/stream.h"

#define NOBODY 0
#define MINE   1 /* the pretend hypervisor's and dom0's */

typedef struct {
    uint32_t domid;
    uint16_t owner; /* value in owner[] */
    guint8 uuid[16];
    uint64_t pages;
    uint64_t max_pages;
    uint64_t cpu_time;
    int pause_count;
    gboolean shutdown;
    uint32_t reason;
    uint32_t max_vcpus;
    uint32_t next_port;
    uint16_t weight;
    uint16_t cap;
    gboolean passthrough;
    xen_pfn_t shared_info;
    xen_pfn_t grants;
    vcpu_guest_context_t *contexts;
    guint8 (*affinity)[2][SERAI_FAKE_CPUS / 8 + 1];
    SeraiTscInfo tsc;
    xen_pfn_t start_info; /* while it sleeps */
    xen_pfn_t woken_store;
    xen_pfn_t woken_console;
} FakeDomain;

typedef struct {
    SeraiHv base;
    GMutex lock;
    int fd;
    guint8 *memory;              /* all of it, mapped */
    uint16_t *owner;             /* (lock) by frame */
    uint8_t *pinned;             /* (lock) by frame: level of a pinned table */
    xen_pfn_t *m2p;              /* (lock) */
    uint64_t free_pages;         /* (lock) */
    uint64_t hint;               /* (lock) where to look for a free frame first */
    GHashTable *domains;         /* (lock) domid to FakeDomain */
    GHashTable *devices;         /* (lock) PCI device to the FakeDomain that has it */
    uint32_t next_domid;         /* (lock) */
    gboolean dirty;              /* (lock) */
    guint calls;                 /* (lock) */
    guint fail_at;               /* (lock) */
    int fail_errno;              /* (lock) */
    SeraiFakeSpy spy;            /* (lock) */
    void (*exception)(gpointer); /* (c) */
    gpointer exception_data;     /* (c) */
} FakeHv;

static inline FakeDomain *
domain_get(FakeHv *hv, uint32_t domid)
{
    return g_hash_table_lookup(hv->domains, GUINT_TO_POINTER(domid));
}

static inline void *
frame_data(FakeHv *hv, xen_pfn_t mfn)
{
    return hv->memory + (mfn << SERAI_PAGE_SHIFT);
}

/* fake-tables.c */

/* Pins @mfn as a table of @level for @d: 0, or a negative errno where a real hypervisor would refuse. */
int fake_pin_table(FakeHv *hv, FakeDomain *d, int level, xen_pfn_t mfn);
/* The frame behind a virtual address of a vCPU, or 0. */
xen_pfn_t fake_walk(FakeHv *hv, uint64_t cr3, uint64_t virt);
/* Writes to @levels what table level each frame is that @mfn, a table of @level, leads to. */
void fake_mark_levels(FakeHv *hv, xen_pfn_t mfn, int level, uint8_t *levels);

/* fake-guest.c */

/* A guest that wakes up knows machine frames again. */
void fake_guest_wake(FakeHv *hv, FakeDomain *d);

/* fake-hv.c; without the lock. */

void fake_raise_exception(FakeHv *hv);

#endif
