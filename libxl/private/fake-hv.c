/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pretend hypervisor.  Machine memory is one sparse memory file, so that mapping a frame is mmap() at its
 * offset; owner[] says whose each frame is.  One lock guards everything; the exception callback runs without
 * it.
 *
 * It is strict where a real one is: page tables are walked when they are pinned, a frame of another domain
 * cannot be mapped, a structure of the wrong version is refused.
 */
#include "private/fake-internal.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static void
domain_free(gpointer data)
{
    FakeDomain *d = data;

    g_free(d->contexts);
    g_free(d->affinity);
    g_free(d);
}

static void
frame_free(FakeHv *hv, xen_pfn_t mfn)
{
    hv->owner[mfn] = NOBODY;
    hv->pinned[mfn] = 0;
    hv->free_pages++;
    hv->hint = MIN(hv->hint, mfn);
    fallocate(hv->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, mfn << SERAI_PAGE_SHIFT, SERAI_PAGE_SIZE);
}

/* A free, aligned run of 2^order frames, or 0. */
static xen_pfn_t
frames_alloc(FakeHv *hv, uint32_t order, uint16_t owner)
{
    uint64_t pages = 1UL << order;

    for (uint64_t mfn = (hv->hint + pages - 1) & -pages; mfn + pages <= SERAI_FAKE_PAGES; mfn += pages) {
        uint64_t i = 0;

        while (i < pages && hv->owner[mfn + i] == NOBODY)
            i++;
        if (i < pages)
            continue;
        for (i = 0; i < pages; i++)
            hv->owner[mfn + i] = owner;
        if (hv->dirty)
            memset(hv->memory + (mfn << SERAI_PAGE_SHIFT), 0x5a, pages << SERAI_PAGE_SHIFT);
        hv->free_pages -= pages;
        if (order == 0)
            hv->hint = mfn + 1;
        return mfn;
    }
    return 0;
}

/* --- domctl ----------------------------------------------------------------------------------- */

static void
fill_info(FakeDomain *d, xen_domctl_getdomaininfo_t *info)
{
    memset(info, 0, sizeof(*info));
    info->domain = d->domid;
    info->flags = (d->pause_count ? XEN_DOMINF_paused
                   : d->shutdown  ? 0
                                  : XEN_DOMINF_blocked) |
                  (d->shutdown ? XEN_DOMINF_shutdown | d->reason << XEN_DOMINF_shutdownshift : 0);
    info->tot_pages = d->pages;
    info->max_pages = d->max_pages;
    info->shared_info_frame = d->shared_info;
    info->cpu_time = d->cpu_time;
    info->nr_online_vcpus = d->max_vcpus ? 1 : 0;
    info->max_vcpu_id = d->max_vcpus - 1;
    memcpy(info->handle, d->uuid, sizeof(d->uuid));
}

static int
create_domain(FakeHv *hv, struct xen_domctl *op)
{
    FakeDomain *d = g_new0(FakeDomain, 1);

    if (op->u.createdomain.max_vcpus == 0 || op->u.createdomain.max_vcpus > 512 ||
        (op->u.createdomain.grant_opts & ~1U)) {
        g_free(d);
        return -EINVAL;
    }
    d->domid = hv->next_domid++;
    d->owner = d->domid + 2;
    memcpy(d->uuid, op->u.createdomain.handle, sizeof(d->uuid));
    d->pause_count = 1;
    d->next_port = 1;
    d->weight = 256;
    d->passthrough = (op->u.createdomain.flags & XEN_DOMCTL_CDF_iommu) != 0;
    d->tsc.khz = 2000000;
    d->shared_info = frames_alloc(hv, 0, d->owner);
    d->grants = frames_alloc(hv, 0, d->owner);
    g_hash_table_insert(hv->domains, GUINT_TO_POINTER(d->domid), d);
    op->domain = d->domid;
    return 0;
}

static gboolean
is_of(gpointer sbdf G_GNUC_UNUSED, gpointer owner, gpointer domain)
{
    return owner == domain;
}

static void
destroy_domain(FakeHv *hv, FakeDomain *d)
{
    g_hash_table_foreach_remove(hv->devices, is_of, d);
    for (uint64_t mfn = 0; mfn < SERAI_FAKE_PAGES; mfn++)
        if (hv->owner[mfn] == d->owner)
            frame_free(hv, mfn);
    g_hash_table_remove(hv->domains, GUINT_TO_POINTER(d->domid));
}

static int
vcpu_domctl(FakeHv *hv, FakeDomain *d, struct xen_domctl *op)
{
    uint32_t vcpu = op->u.vcpucontext.vcpu; /* the first field of every structure here */
    (void)hv;

    if (vcpu >= d->max_vcpus)
        return -ENOENT;
    switch (op->cmd) {
    case XEN_DOMCTL_setvcpucontext:
        d->contexts[vcpu] = *op->u.vcpucontext.ctxt.p;
        return 0;
    case XEN_DOMCTL_getvcpucontext:
        *op->u.vcpucontext.ctxt.p = d->contexts[vcpu];
        return 0;
    case XEN_DOMCTL_getvcpuinfo:
        op->u.getvcpuinfo.online = vcpu == 0 || d->contexts[vcpu].flags & VGCF_online;
        op->u.getvcpuinfo.blocked = 1;
        op->u.getvcpuinfo.running = 0;
        op->u.getvcpuinfo.cpu_time = d->cpu_time;
        op->u.getvcpuinfo.cpu = vcpu % SERAI_FAKE_CPUS;
        return 0;
    case XEN_DOMCTL_setvcpuaffinity:
    case XEN_DOMCTL_getvcpuaffinity: {
        struct xenctl_bitmap *maps[2] = {&op->u.vcpuaffinity.cpumap_hard, &op->u.vcpuaffinity.cpumap_soft};

        for (int i = 0; i < 2; i++) {
            if (!(op->u.vcpuaffinity.flags & 1U << i))
                continue;
            if (op->cmd == XEN_DOMCTL_getvcpuaffinity) {
                maps[i]->bitmap.p[0] = d->affinity[vcpu][i][0];
            } else {
                if (!maps[i]->nr_bits || !(maps[i]->bitmap.p[0] & ((1 << SERAI_FAKE_CPUS) - 1)))
                    return -EINVAL;
                d->affinity[vcpu][i][0] = maps[i]->bitmap.p[0];
            }
        }
        return 0;
    }
    case XEN_DOMCTL_get_ext_vcpucontext:
        op->u.ext_vcpucontext.size = sizeof(op->u.ext_vcpucontext);
        return 0;
    case XEN_DOMCTL_set_ext_vcpucontext:
        return op->u.ext_vcpucontext.size == sizeof(op->u.ext_vcpucontext) ? 0 : -EINVAL;
    case XEN_DOMCTL_getvcpuextstate:
        if (op->u.vcpuextstate.buffer.p)
            memset(op->u.vcpuextstate.buffer.p, 0x5a, 832);
        op->u.vcpuextstate.xfeature_mask = 7;
        op->u.vcpuextstate.size = 832;
        return 0;
    case XEN_DOMCTL_setvcpuextstate:
        return op->u.vcpuextstate.size == 832 ? 0 : -EINVAL;
    case XEN_DOMCTL_get_vcpu_msrs:
        op->u.vcpu_msrs.msr_count = 0;
        return 0;
    case XEN_DOMCTL_set_vcpu_msrs:
        return 0;
    }
    return -ENOSYS;
}

static int
page_info(FakeHv *hv, FakeDomain *d, struct xen_domctl *op)
{
    uint8_t *levels = g_malloc0(SERAI_FAKE_PAGES);

    for (uint64_t mfn = 0; mfn < SERAI_FAKE_PAGES; mfn++)
        if (hv->pinned[mfn] && hv->owner[mfn] == d->owner)
            fake_mark_levels(hv, mfn, hv->pinned[mfn], levels);
    for (uint64_t i = 0; i < op->u.getpageframeinfo3.num; i++) {
        xen_pfn_t *frame = &op->u.getpageframeinfo3.array.p[i];

        if (*frame >= SERAI_FAKE_PAGES || hv->owner[*frame] != d->owner)
            *frame = XEN_DOMCTL_PFINFO_XTAB;
        else
            *frame = (xen_pfn_t)levels[*frame] << XEN_DOMCTL_PFINFO_LTAB_SHIFT |
                     (hv->pinned[*frame] ? XEN_DOMCTL_PFINFO_LPINTAB : 0);
    }
    g_free(levels);
    return 0;
}

/* Nobody else may have it, and the domain must have been made for devices. */
static int
assign_device(FakeHv *hv, FakeDomain *d, uint32_t sbdf)
{
    if (!d->passthrough)
        return -EINVAL;
    if (!g_hash_table_contains(hv->devices, GUINT_TO_POINTER(sbdf)))
        g_hash_table_insert(hv->devices, GUINT_TO_POINTER(sbdf), d);
    return g_hash_table_lookup(hv->devices, GUINT_TO_POINTER(sbdf)) == d ? 0 : -ENODEV;
}

static int
take_device(FakeHv *hv, FakeDomain *d, uint32_t sbdf)
{
    if (g_hash_table_lookup(hv->devices, GUINT_TO_POINTER(sbdf)) != d)
        return -ENODEV;
    g_hash_table_remove(hv->devices, GUINT_TO_POINTER(sbdf));
    return 0;
}

static int
domain_domctl(FakeHv *hv, FakeDomain *d, struct xen_domctl *op)
{
    switch (op->cmd) {
    case XEN_DOMCTL_destroydomain:
        destroy_domain(hv, d);
        return 0;
    case XEN_DOMCTL_pausedomain:
        d->pause_count++;
        return 0;
    case XEN_DOMCTL_unpausedomain:
        if (!d->pause_count)
            return -EINVAL;
        d->pause_count--;
        d->cpu_time += 1000000;
        return 0;
    case XEN_DOMCTL_resumedomain:
        fake_guest_wake(hv, d);
        d->shutdown = FALSE;
        return 0;
    case XEN_DOMCTL_getdomaininfo:
        fill_info(d, &op->u.getdomaininfo);
        return 0;
    case XEN_DOMCTL_max_vcpus:
        d->max_vcpus = op->u.max_vcpus.max;
        d->contexts = g_renew(vcpu_guest_context_t, d->contexts, d->max_vcpus);
        memset(d->contexts, 0, d->max_vcpus * sizeof(*d->contexts));
        d->affinity = g_realloc(d->affinity, d->max_vcpus * sizeof(*d->affinity));
        memset(d->affinity, 0xff, d->max_vcpus * sizeof(*d->affinity));
        return 0;
    case XEN_DOMCTL_max_mem:
        d->max_pages = op->u.max_mem.max_memkb >> 2;
        return 0;
    case XEN_DOMCTL_scheduler_op:
        if (op->u.scheduler_op.sched_id != XEN_SCHEDULER_CREDIT2)
            return -EINVAL;
        if (op->u.scheduler_op.cmd == XEN_DOMCTL_SCHEDOP_putinfo) {
            if (op->u.scheduler_op.u.credit2.weight)
                d->weight = op->u.scheduler_op.u.credit2.weight;
            if (op->u.scheduler_op.u.credit2.cap != 0xffff)
                d->cap = op->u.scheduler_op.u.credit2.cap;
        }
        op->u.scheduler_op.u.credit2.weight = d->weight;
        op->u.scheduler_op.u.credit2.cap = d->cap;
        return 0;
    case XEN_DOMCTL_hypercall_init:
        if (op->u.hypercall_init.gmfn >= SERAI_FAKE_PAGES || hv->owner[op->u.hypercall_init.gmfn] != d->owner)
            return -EACCES;
        memset(frame_data(hv, op->u.hypercall_init.gmfn), 0xcc, SERAI_PAGE_SIZE);
        return 0;
    case XEN_DOMCTL_gettscinfo:
        op->u.tsc_info.tsc_mode = d->tsc.mode;
        op->u.tsc_info.gtsc_khz = d->tsc.khz;
        return 0;
    case XEN_DOMCTL_settscinfo:
        d->tsc.mode = op->u.tsc_info.tsc_mode;
        return 0;
    case XEN_DOMCTL_getpageframeinfo3:
        return page_info(hv, d, op);
    case XEN_DOMCTL_get_cpu_policy:
        memset(op->u.cpu_policy.leaves.p, 0x11, 4 * sizeof(xen_cpuid_leaf_t));
        op->u.cpu_policy.nr_leaves = 4;
        memset(op->u.cpu_policy.msrs.p, 0x22, 2 * sizeof(xen_msr_entry_t));
        op->u.cpu_policy.nr_msrs = 2;
        return 0;
    case XEN_DOMCTL_assign_device:
        return assign_device(hv, d, op->u.assign_device.u.pci.machine_sbdf);
    case XEN_DOMCTL_deassign_device:
        return take_device(hv, d, op->u.assign_device.u.pci.machine_sbdf);
    case XEN_DOMCTL_settimeoffset:
    case XEN_DOMCTL_sendtrigger:
    case XEN_DOMCTL_setnodeaffinity:
    case XEN_DOMCTL_setvnumainfo:
    case XEN_DOMCTL_set_cpu_policy:
        return 0;
    }
    return vcpu_domctl(hv, d, op);
}

static int
fake_domctl(FakeHv *hv, struct xen_domctl *op)
{
    FakeDomain *d;

    if (op->interface_version != XEN_DOMCTL_INTERFACE_VERSION)
        return -EACCES;
    if (op->cmd == XEN_DOMCTL_createdomain)
        return create_domain(hv, op);
    d = domain_get(hv, op->domain);
    return d ? domain_domctl(hv, d, op) : -ESRCH;
}

/* --- sysctl ----------------------------------------------------------------------------------- */

static gint
compare_domids(gconstpointer a, gconstpointer b)
{
    return (gint)GPOINTER_TO_UINT(a) - (gint)GPOINTER_TO_UINT(b);
}

static int
list_domains(FakeHv *hv, struct xen_sysctl *op)
{
    g_autoptr(GList) ids = g_list_sort(g_hash_table_get_keys(hv->domains), compare_domids);
    uint32_t n = 0;

    for (GList *l = ids; l && n < op->u.getdomaininfolist.max_domains; l = l->next)
        if (GPOINTER_TO_UINT(l->data) >= op->u.getdomaininfolist.first_domain)
            fill_info(domain_get(hv, GPOINTER_TO_UINT(l->data)), &op->u.getdomaininfolist.buffer.p[n++]);
    op->u.getdomaininfolist.num_domains = n;
    return 0;
}

static int
fake_sysctl(FakeHv *hv, struct xen_sysctl *op)
{
    static const char log[] = "(FAKE) nothing happened\n";

    if (op->interface_version != XEN_SYSCTL_INTERFACE_VERSION)
        return -EACCES;
    switch (op->cmd) {
    case XEN_SYSCTL_physinfo:
        op->u.physinfo.threads_per_core = 1;
        op->u.physinfo.cores_per_socket = SERAI_FAKE_CPUS;
        op->u.physinfo.nr_cpus = SERAI_FAKE_CPUS;
        op->u.physinfo.max_cpu_id = SERAI_FAKE_CPUS - 1;
        op->u.physinfo.nr_nodes = 1;
        op->u.physinfo.cpu_khz = 2000000;
        op->u.physinfo.capabilities = XEN_SYSCTL_PHYSCAP_pv | XEN_SYSCTL_PHYSCAP_directio;
        op->u.physinfo.total_pages = SERAI_FAKE_PAGES;
        op->u.physinfo.free_pages = hv->free_pages;
        /* Feature words of a plain 64-bit machine: 1d, 1c, e1d, e1c, and so on. */
        op->u.physinfo.hw_cap[0] = 0x178bfbff;
        op->u.physinfo.hw_cap[1] = 0x00802001;
        op->u.physinfo.hw_cap[2] = 0x2c100800;
        op->u.physinfo.hw_cap[3] = 0x00000001;
        return 0;
    case XEN_SYSCTL_sched_id:
        op->u.sched_id.sched_id = XEN_SCHEDULER_CREDIT2;
        return 0;
    case XEN_SYSCTL_availheap:
        op->u.availheap.avail_bytes = hv->free_pages << SERAI_PAGE_SHIFT;
        return 0;
    case XEN_SYSCTL_getcpuinfo:
        op->u.getcpuinfo.nr_cpus = MIN(op->u.getcpuinfo.max_cpus, SERAI_FAKE_CPUS);
        for (uint32_t i = 0; i < op->u.getcpuinfo.nr_cpus; i++)
            op->u.getcpuinfo.info.p[i].idletime = g_get_monotonic_time() * 1000;
        return 0;
    case XEN_SYSCTL_cputopoinfo:
        for (uint32_t i = 0; op->u.cputopoinfo.cputopo.p && i < op->u.cputopoinfo.num_cpus; i++)
            op->u.cputopoinfo.cputopo.p[i] = (xen_sysctl_cputopo_t){.core = i};
        op->u.cputopoinfo.num_cpus = SERAI_FAKE_CPUS;
        return 0;
    case XEN_SYSCTL_numainfo:
        if (op->u.numainfo.meminfo.p) {
            op->u.numainfo.meminfo.p[0].memsize = SERAI_FAKE_PAGES << SERAI_PAGE_SHIFT;
            op->u.numainfo.meminfo.p[0].memfree = hv->free_pages << SERAI_PAGE_SHIFT;
            op->u.numainfo.distance.p[0] = 10;
        }
        op->u.numainfo.num_nodes = 1;
        return 0;
    case XEN_SYSCTL_readconsole:
        if (op->u.readconsole.index >= sizeof(log) - 1) {
            op->u.readconsole.count = 0;
        } else {
            memcpy(op->u.readconsole.buffer.p, log, sizeof(log) - 1);
            op->u.readconsole.count = op->u.readconsole.index = sizeof(log) - 1;
        }
        return 0;
    case XEN_SYSCTL_debug_keys:
        return 0;
    case XEN_SYSCTL_getdomaininfolist:
        return list_domains(hv, op);
    }
    return -ENOSYS;
}

/* --- everything else -------------------------------------------------------------------------- */

static long
fake_populate(FakeHv *hv, struct xen_memory_reservation *r)
{
    FakeDomain *d = domain_get(hv, r->domid);
    unsigned long n = 0;

    if (!d)
        return -ESRCH;
    if (r->extent_order > 12)
        return 0;
    while (n < r->nr_extents && d->pages + (1UL << r->extent_order) <= d->max_pages) {
        xen_pfn_t pfn = r->extent_start.p[n], mfn = frames_alloc(hv, r->extent_order, d->owner);

        if (!mfn)
            break;
        for (uint64_t i = 0; i < 1UL << r->extent_order; i++)
            hv->m2p[mfn + i] = pfn + i;
        d->pages += 1UL << r->extent_order;
        r->extent_start.p[n++] = mfn;
    }
    return n;
}

static long
fake_memory_op(FakeHv *hv, uint64_t cmd, void *arg)
{
    FakeDomain *d;

    switch (cmd) {
    case XENMEM_populate_physmap:
        return fake_populate(hv, arg);
    case XENMEM_claim_pages:
        return ((struct xen_memory_reservation *)arg)->nr_extents <= hv->free_pages ? 0 : -ENOMEM;
    case XENMEM_maximum_gpfn:
        d = domain_get(hv, *(domid_t *)arg);
        return d ? (long)d->pages - 1 : -ESRCH;
    case XENMEM_maximum_ram_page:
        return SERAI_FAKE_PAGES - 1;
    case XENMEM_set_memory_map:
        return domain_get(hv, ((struct xen_foreign_memory_map *)arg)->domid) ? 0 : -ESRCH;
    }
    return -ENOSYS;
}

static long
fake_version(const FakeHv *hv, uint64_t cmd, char *arg)
{
    const struct {
        int cmd;
        const char *text;
    } texts[] = {{XENVER_extraversion, hv->dirty ? ".0-fake" : ".0-serai"},
                 {XENVER_changeset, "none"},
                 {XENVER_capabilities, "xen-3.0-x86_64 "},
                 {XENVER_commandline, "fake"},
                 {XENVER_compile_info, "cc"}};

    if (cmd == XENVER_version)
        return 4 << 16 | 17;
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
        if ((int)cmd == texts[i].cmd) {
            strcpy(arg, texts[i].text);
            return 0;
        }
    return -ENOSYS;
}

static long
fake_locked_call(FakeHv *hv, unsigned int number, const uint64_t a[5], gboolean *ret_exception)
{
    FakeDomain *d;

    hv->calls++;
    if (hv->fail_at && --hv->fail_at == 0)
        return -hv->fail_errno;
    if (hv->spy && hv->spy(number, a))
        return 0;
    switch (number) {
    case __HYPERVISOR_domctl: {
        struct xen_domctl *op = (void *)(uintptr_t)a[0];

        *ret_exception = op->cmd == XEN_DOMCTL_destroydomain;
        return fake_domctl(hv, op);
    }
    case __HYPERVISOR_sysctl:
        return fake_sysctl(hv, (void *)(uintptr_t)a[0]);
    case __HYPERVISOR_xen_version:
        return fake_version(hv, a[0], (void *)(uintptr_t)a[1]);
    case __HYPERVISOR_memory_op:
        return fake_memory_op(hv, a[0], (void *)(uintptr_t)a[1]);
    case __HYPERVISOR_mmuext_op: {
        struct mmuext_op *op = (void *)(uintptr_t)a[0];

        d = domain_get(hv, a[3]);
        if (!d || op->cmd > MMUEXT_PIN_L4_TABLE)
            return -EINVAL;
        return fake_pin_table(hv, d, op->cmd - MMUEXT_PIN_L1_TABLE + 1, op->arg1.mfn);
    }
    case __HYPERVISOR_mmu_update:
        return 0;
    case __HYPERVISOR_event_channel_op: {
        struct evtchn_alloc_unbound *op = (void *)(uintptr_t)a[1];

        d = domain_get(hv, op->dom);
        if (!d)
            return -ESRCH;
        op->port = d->next_port++;
        return 0;
    }
    case __HYPERVISOR_sched_op: {
        struct sched_remote_shutdown *op = (void *)(uintptr_t)a[1];

        d = domain_get(hv, op->domain_id);
        if (!d)
            return -ESRCH;
        d->shutdown = TRUE;
        d->reason = op->reason;
        *ret_exception = TRUE;
        return 0;
    }
    }
    return -ENOSYS;
}

void
fake_raise_exception(FakeHv *hv)
{
    if (hv->exception)
        hv->exception(hv->exception_data);
}

static long
fake_call(SeraiHv *base, unsigned int number, const uint64_t a[5])
{
    FakeHv *hv = (FakeHv *)base;
    gboolean exception = FALSE;
    long rc;

    g_mutex_lock(&hv->lock);
    rc = fake_locked_call(hv, number, a, &exception);
    g_mutex_unlock(&hv->lock);
    if (exception && rc >= 0)
        fake_raise_exception(hv);
    return rc;
}

static void *
fake_buffer_alloc(SeraiHv *hv G_GNUC_UNUSED, size_t pages)
{
    return g_malloc0(pages << SERAI_PAGE_SHIFT);
}

static void
fake_buffer_free(SeraiHv *hv G_GNUC_UNUSED, void *buffer, size_t pages G_GNUC_UNUSED)
{
    g_free(buffer);
}

static void *
fake_map(SeraiHv *base, uint32_t domid, int prot, size_t count, const xen_pfn_t *frames, int *errs)
{
    FakeHv *hv = (FakeHv *)base;
    size_t size = count << SERAI_PAGE_SHIFT;
    FakeDomain *d;
    char *address;

    if (!count || (address = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) == MAP_FAILED) {
        errno = EINVAL;
        return NULL;
    }
    g_mutex_lock(&hv->lock);
    hv->calls++;
    d = domain_get(hv, domid);
    if (hv->fail_at && --hv->fail_at == 0)
        d = NULL;
    for (size_t i = 0; i < count; i++) {
        gboolean ok = d && frames[i] < SERAI_FAKE_PAGES && hv->owner[frames[i]] == d->owner;

        ok = ok && mmap(address + (i << SERAI_PAGE_SHIFT), SERAI_PAGE_SIZE, prot, MAP_SHARED | MAP_FIXED,
                        hv->fd, frames[i] << SERAI_PAGE_SHIFT) != MAP_FAILED;
        if (errs)
            errs[i] = ok ? 0 : EINVAL;
        if (!ok && !errs) {
            munmap(address, size);
            address = NULL;
            break;
        }
    }
    g_mutex_unlock(&hv->lock);
    if (!address)
        errno = EINVAL;
    return address;
}

static void
fake_unmap(SeraiHv *hv G_GNUC_UNUSED, void *address, size_t count)
{
    munmap(address, count << SERAI_PAGE_SHIFT);
}

static void *
fake_map_grants(SeraiHv *base, uint32_t domid, void **ret_handle)
{
    FakeHv *hv = (FakeHv *)base;
    FakeDomain *d;

    g_mutex_lock(&hv->lock);
    hv->calls++;
    d = domain_get(hv, domid);
    if (hv->fail_at && --hv->fail_at == 0)
        d = NULL;
    *ret_handle = d ? frame_data(hv, d->grants) : NULL;
    g_mutex_unlock(&hv->lock);
    errno = ESRCH;
    return *ret_handle;
}

static void
fake_unmap_grants(SeraiHv *hv G_GNUC_UNUSED, void *handle G_GNUC_UNUSED)
{
}

static void
fake_close(SeraiHv *base)
{
    FakeHv *hv = (FakeHv *)base;

    munmap(hv->memory, SERAI_FAKE_PAGES << SERAI_PAGE_SHIFT);
    close(hv->fd);
    munmap(hv->owner, SERAI_FAKE_PAGES * sizeof(*hv->owner));
    munmap(hv->pinned, SERAI_FAKE_PAGES);
    munmap(hv->m2p, SERAI_FAKE_PAGES * sizeof(*hv->m2p));
    g_hash_table_destroy(hv->domains);
    g_hash_table_destroy(hv->devices);
    g_mutex_clear(&hv->lock);
    g_free(hv);
}

static const SeraiHvOps fake_ops = {
    .call = fake_call,
    .buffer_alloc = fake_buffer_alloc,
    .buffer_free = fake_buffer_free,
    .map = fake_map,
    .unmap = fake_unmap,
    .map_grants = fake_map_grants,
    .unmap_grants = fake_unmap_grants,
    .close = fake_close,
};

static void *
sparse(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    g_assert(p != MAP_FAILED);
    return p;
}

SeraiHv *
serai_fake_hv_new(void)
{
    FakeHv *hv = g_new0(FakeHv, 1);
    FakeDomain *dom0 = g_new0(FakeDomain, 1);

    hv->base.ops = &fake_ops;
    g_mutex_init(&hv->lock);
    hv->fd = memfd_create("serai-fake", MFD_CLOEXEC);
    g_assert(hv->fd >= 0 && ftruncate(hv->fd, SERAI_FAKE_PAGES << SERAI_PAGE_SHIFT) == 0);
    hv->memory = mmap(NULL, SERAI_FAKE_PAGES << SERAI_PAGE_SHIFT, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_NORESERVE, hv->fd, 0);
    g_assert(hv->memory != MAP_FAILED);
    hv->owner = sparse(SERAI_FAKE_PAGES * sizeof(*hv->owner));
    hv->pinned = sparse(SERAI_FAKE_PAGES);
    hv->m2p = sparse(SERAI_FAKE_PAGES * sizeof(*hv->m2p));
    hv->free_pages = SERAI_FAKE_PAGES - 1;
    hv->owner[0] = MINE;
    hv->hint = 1;
    hv->domains = g_hash_table_new_full(NULL, NULL, NULL, domain_free);
    hv->devices = g_hash_table_new(NULL, NULL);
    hv->next_domid = 1;
    dom0->owner = MINE;
    dom0->max_vcpus = 1;
    dom0->pages = dom0->max_pages = 262144;
    dom0->contexts = g_new0(vcpu_guest_context_t, 1);
    dom0->affinity = g_malloc0(sizeof(*dom0->affinity));
    g_hash_table_insert(hv->domains, GUINT_TO_POINTER(0), dom0);
    return &hv->base;
}

/* --- what tests and the pretend store turn ---------------------------------------------------- */

void
serai_fake_fail(SeraiHv *base, guint nth, int err)
{
    FakeHv *hv = (FakeHv *)base;

    g_mutex_lock(&hv->lock);
    hv->fail_at = nth;
    hv->fail_errno = err;
    g_mutex_unlock(&hv->lock);
}

void
serai_fake_set_spy(SeraiHv *base, SeraiFakeSpy spy)
{
    FakeHv *hv = (FakeHv *)base;

    g_mutex_lock(&hv->lock);
    hv->spy = spy;
    g_mutex_unlock(&hv->lock);
}

void
serai_fake_set_dirty(SeraiHv *base, gboolean dirty)
{
    FakeHv *hv = (FakeHv *)base;

    g_mutex_lock(&hv->lock);
    hv->dirty = dirty;
    g_mutex_unlock(&hv->lock);
}

guint
serai_fake_calls(SeraiHv *base)
{
    FakeHv *hv = (FakeHv *)base;
    guint calls;

    g_mutex_lock(&hv->lock);
    calls = hv->calls;
    g_mutex_unlock(&hv->lock);
    return calls;
}

guint64
serai_fake_free_pages(SeraiHv *base)
{
    FakeHv *hv = (FakeHv *)base;
    guint64 pages;

    g_mutex_lock(&hv->lock);
    pages = hv->free_pages;
    g_mutex_unlock(&hv->lock);
    return pages;
}

guint
serai_fake_domains(SeraiHv *base)
{
    FakeHv *hv = (FakeHv *)base;
    guint n;

    g_mutex_lock(&hv->lock);
    n = g_hash_table_size(hv->domains) - 1;
    g_mutex_unlock(&hv->lock);
    return n;
}

guint
serai_fake_devices(SeraiHv *base)
{
    FakeHv *hv = (FakeHv *)base;
    guint n;

    g_mutex_lock(&hv->lock);
    n = g_hash_table_size(hv->devices);
    g_mutex_unlock(&hv->lock);
    return n;
}

void
serai_fake_set_exception(SeraiHv *base, void (*func)(gpointer data), gpointer data)
{
    ((FakeHv *)base)->exception = func;
    ((FakeHv *)base)->exception_data = data;
}
