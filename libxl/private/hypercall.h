/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The door to the hypervisor.  Below the functions is a small table of what the system must be able to do
 * (#SeraiHvOps): issue a hypercall and map frames of a domain.  The real one is libxencall and
 * libxenforeignmemory; the pretend one is private/fake-hv.c.  All functions may be called from any thread.
 */
#ifndef SERAI_HYPERCALL_H
#define SERAI_HYPERCALL_H

#include "private/private.h"

#define __XEN_TOOLS__ 1
#include <xen/xen.h>
#include <xen/domctl.h>
#include <xen/sysctl.h>
#include <xen/memory.h>
#include <xen/version.h>
#include <xen/event_channel.h>
#include <xen/sched.h>
#include <xen/grant_table.h>

typedef struct SeraiHv SeraiHv;

typedef struct {
    /* Returns what the hypervisor returned, or a negative errno value. */
    long (*call)(SeraiHv *hv, unsigned int number, const uint64_t args[5]);
    /* Zeroed memory that the hypervisor can read and write while a call runs; page-aligned, whole pages. */
    void *(*buffer_alloc)(SeraiHv *hv, size_t pages);
    void (*buffer_free)(SeraiHv *hv, void *buffer, size_t pages);
    /* Maps frames of a domain side by side.  With @errs, single frames may fail and have their errno there.
     */
    void *(*map)(SeraiHv *hv, uint32_t domid, int prot, size_t count, const xen_pfn_t *frames, int *errs);
    void (*unmap)(SeraiHv *hv, void *address, size_t count);
    /* The first frame of a domain's grant table, writable. */
    void *(*map_grants)(SeraiHv *hv, uint32_t domid, void **ret_handle);
    void (*unmap_grants)(SeraiHv *hv, void *handle);
    void (*close)(SeraiHv *hv);
} SeraiHvOps;

struct SeraiHv {
    const SeraiHvOps *ops; /* (c) */
};

/* What one domain is created with. */
typedef struct {
    guint8 uuid[16];
    uint32_t ssid;
    gboolean iommu;
    uint32_t max_vcpus;
    uint32_t max_event_channels;
    int32_t max_grant_frames;
    int32_t max_maptrack_frames;
    uint32_t pool;
} SeraiHvCreate;

typedef struct {
    uint32_t mode;
    uint32_t khz;
    uint64_t elapsed_ns;
    uint32_t incarnation;
} SeraiTscInfo;

/* One run of pseudo-physical memory that lies on one virtual NUMA node. */
typedef struct {
    uint64_t start;
    uint64_t end;
    uint32_t node;
} SeraiMemoryRange;

SeraiHv *serai_hv_open(GError **error);
void serai_hv_close(SeraiHv *hv);

/* --- the machine ------------------------------------------------------------------------------ */
gboolean serai_hv_version(SeraiHv *hv, SeraiHostInfo *info, GError **error);
/* Whether the frames of a new domain are known to be zero.  Our hypervisor's are (hv/mm/frame-alloc.h); those
 * of Xen depend on how it was started. */
gboolean serai_hv_gives_zeroes(SeraiHv *hv);
gboolean serai_hv_physinfo(SeraiHv *hv, struct xen_sysctl_physinfo *ret_info, GError **error);
gboolean serai_hv_sched_id(SeraiHv *hv, uint32_t *ret_id, GError **error);
gboolean serai_hv_avail_heap(SeraiHv *hv, int node, uint64_t *ret_bytes, GError **error);
GArray *serai_hv_cpu_idle(SeraiHv *hv, guint count, GError **error);
GArray *serai_hv_cpu_topology(SeraiHv *hv, GError **error);
GPtrArray *serai_hv_numa(SeraiHv *hv, GError **error);
char *serai_hv_read_log(SeraiHv *hv, GError **error);
gboolean serai_hv_debug_key(SeraiHv *hv, char key, GError **error);
int serai_hv_list_domains(SeraiHv *hv, uint32_t first, guint count, xen_domctl_getdomaininfo_t *ret_list,
                          GError **error);
uint64_t serai_hv_max_mfn(SeraiHv *hv);

/* --- one domain ------------------------------------------------------------------------------- */
gboolean serai_hv_create_domain(SeraiHv *hv, const SeraiHvCreate *create, uint32_t *ret_domid,
                                GError **error);
gboolean serai_hv_destroy_domain(SeraiHv *hv, uint32_t domid, GCancellable *cancellable, GError **error);
gboolean serai_hv_pause_domain(SeraiHv *hv, uint32_t domid, GError **error);
gboolean serai_hv_unpause_domain(SeraiHv *hv, uint32_t domid, GError **error);
gboolean serai_hv_resume_domain(SeraiHv *hv, uint32_t domid, GError **error);
gboolean serai_hv_shutdown_domain(SeraiHv *hv, uint32_t domid, uint32_t reason, GError **error);
gboolean serai_hv_domain_info(SeraiHv *hv, uint32_t domid, xen_domctl_getdomaininfo_t *ret_info,
                              GError **error);
gboolean serai_hv_max_vcpus(SeraiHv *hv, uint32_t domid, uint32_t count, GError **error);
gboolean serai_hv_max_mem(SeraiHv *hv, uint32_t domid, uint64_t kib, GError **error);
gboolean serai_hv_time_offset(SeraiHv *hv, uint32_t domid, int64_t seconds, GError **error);
gboolean serai_hv_get_tsc(SeraiHv *hv, uint32_t domid, SeraiTscInfo *ret_info, GError **error);
gboolean serai_hv_set_tsc(SeraiHv *hv, uint32_t domid, const SeraiTscInfo *info, GError **error);
gboolean serai_hv_send_nmi(SeraiHv *hv, uint32_t domid, uint32_t vcpu, GError **error);
gboolean serai_hv_vcpu_info(SeraiHv *hv, uint32_t domid, uint32_t vcpu,
                            struct xen_domctl_getvcpuinfo *ret_info, GError **error);
gboolean serai_hv_get_affinity(SeraiHv *hv, uint32_t domid, uint32_t vcpu, guint cpus, GBytes **ret_hard,
                               GBytes **ret_soft, GError **error);
gboolean serai_hv_set_affinity(SeraiHv *hv, uint32_t domid, uint32_t vcpu, GBytes *hard, GBytes *soft,
                               GError **error);
gboolean serai_hv_set_nodes(SeraiHv *hv, uint32_t domid, GBytes *nodes, GError **error);
gboolean serai_hv_get_sched(SeraiHv *hv, uint32_t domid, uint32_t sched, guint *ret_weight, guint *ret_cap,
                            GError **error);
gboolean serai_hv_set_sched(SeraiHv *hv, uint32_t domid, uint32_t sched, guint weight, guint cap,
                            GError **error);
gboolean serai_hv_set_vnuma(SeraiHv *hv, uint32_t domid, GPtrArray *nodes, guint vcpus,
                            const SeraiMemoryRange *ranges, guint range_count, GError **error);
gboolean serai_hv_ssid(SeraiHv *hv, const char *label, uint32_t *ret_ssid, GError **error);

/* --- devices of the machine ------------------------------------------------------------------- */
/* Gives PCI device @sbdf to the domain, or takes it back. */
gboolean serai_hv_assign_device(SeraiHv *hv, uint32_t domid, uint32_t sbdf, gboolean give, GError **error);
/* Whether no guest has the device. */
gboolean serai_hv_device_is_free(SeraiHv *hv, uint32_t sbdf, GError **error);
gboolean serai_hv_permit_ports(SeraiHv *hv, uint32_t domid, uint32_t first, uint32_t count, gboolean allow,
                               GError **error);
gboolean serai_hv_permit_frames(SeraiHv *hv, uint32_t domid, uint64_t first, uint64_t count, gboolean allow,
                                GError **error);
/* Interrupt @irq of the machine, which the domain knows by the same number. */
gboolean serai_hv_permit_irq(SeraiHv *hv, uint32_t domid, uint32_t irq, gboolean allow, GError **error);

/* --- vCPU state ------------------------------------------------------------------------------- */
gboolean serai_hv_get_context(SeraiHv *hv, uint32_t domid, uint32_t vcpu, vcpu_guest_context_t *ret_context,
                              GError **error);
gboolean serai_hv_set_context(SeraiHv *hv, uint32_t domid, uint32_t vcpu, const vcpu_guest_context_t *context,
                              GError **error);
/* The opaque pieces of a vCPU: extended context, extended processor state, MSRs.  An empty result is not an
 * error. */
GByteArray *serai_hv_get_vcpu_blob(SeraiHv *hv, uint32_t domid, uint32_t vcpu, uint32_t record,
                                   GError **error);
gboolean serai_hv_set_vcpu_blob(SeraiHv *hv, uint32_t domid, uint32_t vcpu, uint32_t record,
                                const guint8 *data, gsize size, GError **error);
/* The CPU policy: leaves and MSRs as the hypervisor lays them out. */
gboolean serai_hv_get_policy(SeraiHv *hv, uint32_t domid, GByteArray *ret_leaves, GByteArray *ret_msrs,
                             GError **error);
gboolean serai_hv_set_policy(SeraiHv *hv, uint32_t domid, GBytes *leaves, GBytes *msrs, GError **error);

/* --- memory ----------------------------------------------------------------------------------- */
/* Gives the domain memory: extents[] holds pseudo-physical frames and then machine frames.  Fewer may be
 * populated. */
gboolean serai_hv_populate(SeraiHv *hv, uint32_t domid, size_t count, uint32_t order, int node,
                           xen_pfn_t *extents, size_t *ret_count, GError **error);
/* Promises @pages to the domain; 0 ends the promise.  A hypervisor without claims counts as success. */
gboolean serai_hv_claim(SeraiHv *hv, uint32_t domid, uint64_t pages, GError **error);
/* The memory map a PV guest is shown: memory from 0 up to what it may ever have; with @hole, nothing where
 * devices of the machine have their registers. */
gboolean serai_hv_set_memory_limit(SeraiHv *hv, uint32_t domid, uint64_t kib, gboolean hole, GError **error);
gboolean serai_hv_max_gpfn(SeraiHv *hv, uint32_t domid, uint64_t *ret_gpfn, GError **error);
gboolean serai_hv_hypercall_page(SeraiHv *hv, uint32_t domid, xen_pfn_t mfn, GError **error);
gboolean serai_hv_pin_table(SeraiHv *hv, uint32_t domid, uint32_t level, xen_pfn_t mfn, GError **error);
/* Tells the hypervisor that machine frame mfns[i] is pseudo-physical frame pfns[i]. */
gboolean serai_hv_set_m2p(SeraiHv *hv, uint32_t domid, size_t count, const xen_pfn_t *mfns,
                          const xen_pfn_t *pfns, GError **error);
/* Replaces frame numbers in @frames by their types, XEN_DOMCTL_PFINFO_*; at most 1024 at once. */
gboolean serai_hv_page_types(SeraiHv *hv, uint32_t domid, size_t count, xen_pfn_t *frames, GError **error);
void *serai_hv_map(SeraiHv *hv, uint32_t domid, int prot, size_t count, const xen_pfn_t *frames,
                   GError **error);
void *serai_hv_map_some(SeraiHv *hv, uint32_t domid, int prot, size_t count, const xen_pfn_t *frames,
                        int *errs, GError **error);
void serai_hv_unmap(SeraiHv *hv, void *address, size_t count);

/* --- events and grants ------------------------------------------------------------------------ */
gboolean serai_hv_alloc_port(SeraiHv *hv, uint32_t domid, uint32_t remote, uint32_t *ret_port,
                             GError **error);
/* Grants dom0 (or whoever serves them) the console and the store ring, by the reserved entries. */
gboolean serai_hv_seed_grants(SeraiHv *hv, uint32_t domid, xen_pfn_t console_frame, uint32_t console_domid,
                              xen_pfn_t store_frame, uint32_t store_domid, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(SeraiHv, serai_hv_close)

#endif
