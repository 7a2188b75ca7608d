/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one place that builds a domctl, a sysctl or any other hypercall.  A structure is made on the stack,
 * copied into memory that the hypervisor may touch, and copied back; nothing in it points to the caller's
 * memory. No state is kept, so there is no lock.
 */
#include "private/hypercall-internal.h"

G_STATIC_ASSERT(XEN_DOMCTL_INTERFACE_VERSION == 0x15);
G_STATIC_ASSERT(XEN_SYSCTL_INTERFACE_VERSION == 0x15);
G_STATIC_ASSERT(sizeof(struct xen_domctl) == 16 + 128);
G_STATIC_ASSERT(sizeof(struct xen_sysctl) == 8 + 128);

gboolean
buffer_init(Buffer *buffer, SeraiHv *hv, size_t size, GError **error)
{
    buffer->hv = hv;
    buffer->pages = MAX(1, (size + SERAI_PAGE_SIZE - 1) >> SERAI_PAGE_SHIFT);
    buffer->data = hv->ops->buffer_alloc(hv, buffer->pages);
    if (!buffer->data) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_NO_MEMORY,
                    _("There is no memory for %zu bytes of a hypercall."), size);
        return FALSE;
    }
    return TRUE;
}

long
hypercall(SeraiHv *hv, unsigned int number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    const uint64_t args[5] = {a, b, c, d, 0};

    return hv->ops->call(hv, number, args);
}

gboolean
domctl(SeraiHv *hv, struct xen_domctl *op, int *ret_errno, GError **error)
{
    g_auto(Buffer) buffer = {0};
    long rc;

    op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    if (!buffer_init(&buffer, hv, sizeof(*op), error))
        return FALSE;
    memcpy(buffer.data, op, sizeof(*op));
    rc = hypercall(hv, __HYPERVISOR_domctl, (uintptr_t)buffer.data, 0, 0, 0);
    memcpy(op, buffer.data, sizeof(*op));
    if (ret_errno)
        *ret_errno = rc < 0 ? -rc : 0;
    if (rc >= 0)
        return TRUE;
    if (rc == -EACCES)
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED,
                    _("The hypervisor speaks another version of the management interface."));
    else
        serai_set_errno(error, -rc, _("The hypervisor refused request %u for domain %u"), op->cmd,
                        op->domain);
    return FALSE;
}

static gboolean
sysctl(SeraiHv *hv, struct xen_sysctl *op, GError **error)
{
    g_auto(Buffer) buffer = {0};
    long rc;

    op->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    if (!buffer_init(&buffer, hv, sizeof(*op), error))
        return FALSE;
    memcpy(buffer.data, op, sizeof(*op));
    rc = hypercall(hv, __HYPERVISOR_sysctl, (uintptr_t)buffer.data, 0, 0, 0);
    memcpy(op, buffer.data, sizeof(*op));
    if (rc >= 0)
        return TRUE;
    if (rc == -EACCES)
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED,
                    _("The hypervisor speaks another version of the management interface."));
    else
        serai_set_errno(error, -rc, _("The hypervisor refused system request %u"), op->cmd);
    return FALSE;
}

long
struct_call(SeraiHv *hv, unsigned int number, uint64_t cmd, void *arg, size_t size, GError **error)
{
    g_auto(Buffer) buffer = {0};
    long rc;

    if (!buffer_init(&buffer, hv, size, error))
        return -ENOMEM;
    memcpy(buffer.data, arg, size);
    rc = hypercall(hv, number, cmd, (uintptr_t)buffer.data, 0, 0);
    memcpy(arg, buffer.data, size);
    if (rc < 0)
        serai_set_errno(error, -rc, _("The hypervisor refused call %u.%u"), number, (unsigned int)cmd);
    return rc;
}

/* --- the machine ------------------------------------------------------------------------------ */

static char *
version_string(SeraiHv *hv, int cmd, size_t size, size_t offset)
{
    g_auto(Buffer) buffer = {0};

    if (!buffer_init(&buffer, hv, size + 1, NULL) ||
        hypercall(hv, __HYPERVISOR_xen_version, cmd, (uintptr_t)buffer.data, 0, 0) < 0)
        return g_strdup("");
    return g_utf8_make_valid((char *)buffer.data + offset,
                             strnlen((char *)buffer.data + offset, size - offset));
}

gboolean
serai_hv_version(SeraiHv *hv, SeraiHostInfo *info, GError **error)
{
    long rc = hypercall(hv, __HYPERVISOR_xen_version, XENVER_version, 0, 0, 0);

    if (rc < 0) {
        serai_set_errno(error, -rc, _("The hypervisor does not tell its version"));
        return FALSE;
    }
    info->version_major = rc >> 16;
    info->version_minor = rc & 0xffff;
    info->version_extra = version_string(hv, XENVER_extraversion, sizeof(xen_extraversion_t), 0);
    info->changeset = version_string(hv, XENVER_changeset, sizeof(xen_changeset_info_t), 0);
    info->capabilities = version_string(hv, XENVER_capabilities, sizeof(xen_capabilities_info_t), 0);
    info->command_line = version_string(hv, XENVER_commandline, sizeof(xen_commandline_t), 0);
    info->compiler =
        version_string(hv, XENVER_compile_info, offsetof(struct xen_compile_info, compile_by), 0);
    info->compile_date = version_string(hv, XENVER_compile_info, sizeof(struct xen_compile_info),
                                        offsetof(struct xen_compile_info, compile_date));
    g_strstrip(info->capabilities);
    g_strstrip(info->command_line);
    return TRUE;
}

gboolean
serai_hv_gives_zeroes(SeraiHv *hv)
{
    g_autofree char *extra = version_string(hv, XENVER_extraversion, sizeof(xen_extraversion_t), 0);

    return g_str_has_suffix(extra, "-serai");
}

gboolean
serai_hv_physinfo(SeraiHv *hv, struct xen_sysctl_physinfo *ret_info, GError **error)
{
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_physinfo};

    if (!sysctl(hv, &op, error))
        return FALSE;
    *ret_info = op.u.physinfo;
    return TRUE;
}

gboolean
serai_hv_sched_id(SeraiHv *hv, uint32_t *ret_id, GError **error)
{
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_sched_id};

    if (!sysctl(hv, &op, error))
        return FALSE;
    *ret_id = op.u.sched_id.sched_id;
    return TRUE;
}

gboolean
serai_hv_avail_heap(SeraiHv *hv, int node, uint64_t *ret_bytes, GError **error)
{
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_availheap};

    op.u.availheap.node = node;
    if (!sysctl(hv, &op, error))
        return FALSE;
    *ret_bytes = op.u.availheap.avail_bytes;
    return TRUE;
}

GArray *
serai_hv_cpu_idle(SeraiHv *hv, guint count, GError **error)
{
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_getcpuinfo};
    g_auto(Buffer) buffer = {0};
    GArray *result;

    if (!buffer_init(&buffer, hv, count * sizeof(xen_sysctl_cpuinfo_t), error))
        return NULL;
    op.u.getcpuinfo.max_cpus = count;
    set_xen_guest_handle_raw(op.u.getcpuinfo.info, buffer.data);
    if (!sysctl(hv, &op, error))
        return NULL;
    result = g_array_new(FALSE, TRUE, sizeof(guint64));
    for (guint i = 0; i < MIN(count, op.u.getcpuinfo.nr_cpus); i++)
        g_array_append_val(result, ((xen_sysctl_cpuinfo_t *)buffer.data)[i].idletime);
    return result;
}

GArray *
serai_hv_cpu_topology(SeraiHv *hv, GError **error)
{
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_cputopoinfo};
    g_auto(Buffer) buffer = {0};
    const struct xen_sysctl_cputopo *topo;
    GArray *result;
    guint count;

    if (!sysctl(hv, &op, error)) /* without a buffer it tells how many there are */
        return NULL;
    count = MIN(op.u.cputopoinfo.num_cpus, 4096);
    if (!buffer_init(&buffer, hv, count * sizeof(*topo), error))
        return NULL;
    op.u.cputopoinfo.num_cpus = count;
    set_xen_guest_handle_raw(op.u.cputopoinfo.cputopo, buffer.data);
    if (!sysctl(hv, &op, error))
        return NULL;
    topo = buffer.data;
    result = g_array_sized_new(FALSE, TRUE, sizeof(SeraiCpu), count);
    for (guint i = 0; i < MIN(count, op.u.cputopoinfo.num_cpus); i++) {
        SeraiCpu cpu = {.online = topo[i].core != XEN_INVALID_CORE_ID};

        if (cpu.online) {
            cpu.core = topo[i].core;
            cpu.socket = topo[i].socket;
            cpu.node = topo[i].node == XEN_INVALID_NODE_ID ? 0 : topo[i].node;
        }
        g_array_append_val(result, cpu);
    }
    return result;
}

GPtrArray *
serai_hv_numa(SeraiHv *hv, GError **error)
{
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_numainfo};
    g_auto(Buffer) nodes = {0}, distances = {0};
    const struct xen_sysctl_meminfo *meminfo;
    GPtrArray *result;
    guint count;

    if (!sysctl(hv, &op, error))
        return NULL;
    count = MIN(op.u.numainfo.num_nodes, 256);
    if (!buffer_init(&nodes, hv, count * sizeof(*meminfo), error) ||
        !buffer_init(&distances, hv, count * count * sizeof(uint32_t), error))
        return NULL;
    op.u.numainfo.num_nodes = count;
    set_xen_guest_handle_raw(op.u.numainfo.meminfo, nodes.data);
    set_xen_guest_handle_raw(op.u.numainfo.distance, distances.data);
    if (!sysctl(hv, &op, error))
        return NULL;
    meminfo = nodes.data;
    result = g_ptr_array_new_with_free_func((GDestroyNotify)serai_node_free);
    for (guint i = 0; i < count; i++) {
        SeraiNode *node = g_new0(SeraiNode, 1);

        node->distances = g_array_new(FALSE, TRUE, sizeof(guint));
        node->present = i < op.u.numainfo.num_nodes && meminfo[i].memsize != XEN_INVALID_MEM_SZ;
        if (node->present) {
            node->total_kib = meminfo[i].memsize >> 10;
            node->free_kib = meminfo[i].memfree >> 10;
        }
        for (guint j = 0; j < count; j++) {
            guint distance = ((uint32_t *)distances.data)[i * count + j];

            if (distance == XEN_INVALID_NODE_DIST)
                distance = 0;
            g_array_append_val(node->distances, distance);
        }
        g_ptr_array_add(result, node);
    }
    return result;
}

char *
serai_hv_read_log(SeraiHv *hv, GError **error)
{
    g_autoptr(GString) log = g_string_new(NULL);
    const uint32_t chunk = 16384;
    uint32_t index = 0;

    /* The ring is finite, and so is this loop even when somebody writes faster than we read. */
    for (int round = 0; round < 1024; round++) {
        struct xen_sysctl op = {.cmd = XEN_SYSCTL_readconsole};
        g_auto(Buffer) buffer = {0};

        if (!buffer_init(&buffer, hv, chunk, error))
            return NULL;
        op.u.readconsole.incremental = 1;
        op.u.readconsole.index = index;
        op.u.readconsole.count = chunk;
        set_xen_guest_handle_raw(op.u.readconsole.buffer, buffer.data);
        if (!sysctl(hv, &op, error))
            return NULL;
        if (!op.u.readconsole.count || op.u.readconsole.count > chunk)
            break;
        g_string_append_len(log, buffer.data, op.u.readconsole.count);
        index = op.u.readconsole.index;
    }
    return g_utf8_make_valid(log->str, log->len);
}

gboolean
serai_hv_debug_key(SeraiHv *hv, char key, GError **error)
{
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_debug_keys};
    g_auto(Buffer) buffer = {0};

    if (!buffer_init(&buffer, hv, 1, error))
        return FALSE;
    *(char *)buffer.data = key;
    op.u.debug_keys.nr_keys = 1;
    set_xen_guest_handle_raw(op.u.debug_keys.keys, buffer.data);
    return sysctl(hv, &op, error);
}

int
serai_hv_list_domains(SeraiHv *hv, uint32_t first, guint count, xen_domctl_getdomaininfo_t *ret_list,
                      GError **error)
{
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_getdomaininfolist};
    g_auto(Buffer) buffer = {0};

    if (!buffer_init(&buffer, hv, count * sizeof(*ret_list), error))
        return -1;
    op.u.getdomaininfolist.first_domain = first;
    op.u.getdomaininfolist.max_domains = count;
    set_xen_guest_handle_raw(op.u.getdomaininfolist.buffer, buffer.data);
    if (!sysctl(hv, &op, error))
        return -1;
    count = MIN(count, op.u.getdomaininfolist.num_domains);
    memcpy(ret_list, buffer.data, count * sizeof(*ret_list));
    return count;
}

uint64_t
serai_hv_max_mfn(SeraiHv *hv)
{
    long rc = hypercall(hv, __HYPERVISOR_memory_op, XENMEM_maximum_ram_page, 0, 0, 0);

    return rc < 0 ? 0 : rc;
}

/* --- one domain ------------------------------------------------------------------------------- */

gboolean
serai_hv_create_domain(SeraiHv *hv, const SeraiHvCreate *create, uint32_t *ret_domid, GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_createdomain};

    memcpy(op.u.createdomain.handle, create->uuid, sizeof(op.u.createdomain.handle));
    op.u.createdomain.ssidref = create->ssid;
    op.u.createdomain.flags = create->iommu ? XEN_DOMCTL_CDF_iommu : 0;
    op.u.createdomain.max_vcpus = create->max_vcpus;
    op.u.createdomain.max_evtchn_port = create->max_event_channels;
    op.u.createdomain.max_grant_frames = create->max_grant_frames;
    op.u.createdomain.max_maptrack_frames = create->max_maptrack_frames;
    op.u.createdomain.grant_opts = XEN_DOMCTL_GRANT_version(1);
    op.u.createdomain.cpupool_id = create->pool;
    if (!domctl(hv, &op, NULL, error))
        return FALSE;
    *ret_domid = op.domain;
    return TRUE;
}

static gboolean
simple_domctl(SeraiHv *hv, uint32_t cmd, uint32_t domid, GError **error)
{
    struct xen_domctl op = {.cmd = cmd, .domain = domid};

    return domctl(hv, &op, NULL, error);
}

gboolean
serai_hv_destroy_domain(SeraiHv *hv, uint32_t domid, GCancellable *cancellable, GError **error)
{
    struct xen_domctl op;
    int err;

    do {
        if (g_cancellable_set_error_if_cancelled(cancellable, error))
            return FALSE;
        op = (struct xen_domctl){.cmd = XEN_DOMCTL_destroydomain, .domain = domid};
        if (domctl(hv, &op, &err, NULL))
            return TRUE;
    } while (err == EAGAIN || err == ERESTART || err == EBUSY);
    if (err == ESRCH)
        return TRUE;
    serai_set_errno(error, err, _("The hypervisor does not destroy domain %u"), domid);
    return FALSE;
}

/* The hypervisor counts pauses and refuses to unpause what runs; here a domain is paused or it is not. */
gboolean
serai_hv_pause_domain(SeraiHv *hv, uint32_t domid, GError **error)
{
    xen_domctl_getdomaininfo_t info;

    if (!serai_hv_domain_info(hv, domid, &info, error))
        return FALSE;
    return info.flags & XEN_DOMINF_paused || simple_domctl(hv, XEN_DOMCTL_pausedomain, domid, error);
}

gboolean
serai_hv_unpause_domain(SeraiHv *hv, uint32_t domid, GError **error)
{
    xen_domctl_getdomaininfo_t info;

    /* Others may have paused it too, each once. */
    for (int tries = 0; tries < 16; tries++) {
        if (!serai_hv_domain_info(hv, domid, &info, error))
            return FALSE;
        if (!(info.flags & XEN_DOMINF_paused))
            return TRUE;
        if (!simple_domctl(hv, XEN_DOMCTL_unpausedomain, domid, error))
            return FALSE;
    }
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_STATE,
                _("Domain %u is paused by somebody else again and again."), domid);
    return FALSE;
}

gboolean
serai_hv_resume_domain(SeraiHv *hv, uint32_t domid, GError **error)
{
    return simple_domctl(hv, XEN_DOMCTL_resumedomain, domid, error);
}

gboolean
serai_hv_shutdown_domain(SeraiHv *hv, uint32_t domid, uint32_t reason, GError **error)
{
    struct sched_remote_shutdown arg = {.domain_id = domid, .reason = reason};

    return struct_call(hv, __HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, &arg, sizeof(arg), error) >= 0;
}

gboolean
serai_hv_domain_info(SeraiHv *hv, uint32_t domid, xen_domctl_getdomaininfo_t *ret_info, GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_getdomaininfo, .domain = domid};
    int err;

    if (!domctl(hv, &op, &err, NULL) || op.u.getdomaininfo.domain != domid) {
        if (err == 0 || err == ESRCH)
            g_set_error(error, SERAI_ERROR, SERAI_ERROR_NO_DOMAIN, _("There is no domain %u."), domid);
        else
            serai_set_errno(error, err, _("The hypervisor does not describe domain %u"), domid);
        return FALSE;
    }
    *ret_info = op.u.getdomaininfo;
    return TRUE;
}

gboolean
serai_hv_max_vcpus(SeraiHv *hv, uint32_t domid, uint32_t count, GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_max_vcpus, .domain = domid};

    op.u.max_vcpus.max = count;
    return domctl(hv, &op, NULL, error);
}

gboolean
serai_hv_max_mem(SeraiHv *hv, uint32_t domid, uint64_t kib, GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_max_mem, .domain = domid};

    op.u.max_mem.max_memkb = kib;
    return domctl(hv, &op, NULL, error);
}

gboolean
serai_hv_time_offset(SeraiHv *hv, uint32_t domid, int64_t seconds, GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_settimeoffset, .domain = domid};

    op.u.settimeoffset.time_offset_seconds = seconds;
    return domctl(hv, &op, NULL, error);
}

gboolean
serai_hv_get_tsc(SeraiHv *hv, uint32_t domid, SeraiTscInfo *ret_info, GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_gettscinfo, .domain = domid};

    if (!domctl(hv, &op, NULL, error))
        return FALSE;
    *ret_info = (SeraiTscInfo){.mode = op.u.tsc_info.tsc_mode,
                               .khz = op.u.tsc_info.gtsc_khz,
                               .elapsed_ns = op.u.tsc_info.elapsed_nsec,
                               .incarnation = op.u.tsc_info.incarnation};
    return TRUE;
}

gboolean
serai_hv_set_tsc(SeraiHv *hv, uint32_t domid, const SeraiTscInfo *info, GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_settscinfo, .domain = domid};

    op.u.tsc_info.tsc_mode = info->mode;
    op.u.tsc_info.gtsc_khz = info->khz;
    op.u.tsc_info.elapsed_nsec = info->elapsed_ns;
    op.u.tsc_info.incarnation = info->incarnation;
    return domctl(hv, &op, NULL, error);
}

gboolean
serai_hv_send_nmi(SeraiHv *hv, uint32_t domid, uint32_t vcpu, GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_sendtrigger, .domain = domid};

    op.u.sendtrigger.trigger = XEN_DOMCTL_SENDTRIGGER_NMI;
    op.u.sendtrigger.vcpu = vcpu;
    return domctl(hv, &op, NULL, error);
}

gboolean
serai_hv_vcpu_info(SeraiHv *hv, uint32_t domid, uint32_t vcpu, struct xen_domctl_getvcpuinfo *ret_info,
                   GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_getvcpuinfo, .domain = domid};

    op.u.getvcpuinfo.vcpu = vcpu;
    if (!domctl(hv, &op, NULL, error))
        return FALSE;
    *ret_info = op.u.getvcpuinfo;
    return TRUE;
}

gboolean
serai_hv_get_affinity(SeraiHv *hv, uint32_t domid, uint32_t vcpu, guint cpus, GBytes **ret_hard,
                      GBytes **ret_soft, GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_getvcpuaffinity, .domain = domid};
    g_auto(Buffer) hard = {0}, soft = {0};
    size_t bytes = (cpus + 7) / 8;

    if (!buffer_init(&hard, hv, bytes, error) || !buffer_init(&soft, hv, bytes, error))
        return FALSE;
    op.u.vcpuaffinity.vcpu = vcpu;
    op.u.vcpuaffinity.flags = XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT;
    set_xen_guest_handle_raw(op.u.vcpuaffinity.cpumap_hard.bitmap, hard.data);
    op.u.vcpuaffinity.cpumap_hard.nr_bits = cpus;
    set_xen_guest_handle_raw(op.u.vcpuaffinity.cpumap_soft.bitmap, soft.data);
    op.u.vcpuaffinity.cpumap_soft.nr_bits = cpus;
    if (!domctl(hv, &op, NULL, error))
        return FALSE;
    *ret_hard = g_bytes_new(hard.data, bytes);
    *ret_soft = g_bytes_new(soft.data, bytes);
    return TRUE;
}

gboolean
serai_hv_set_affinity(SeraiHv *hv, uint32_t domid, uint32_t vcpu, GBytes *hard, GBytes *soft, GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_setvcpuaffinity, .domain = domid};
    g_auto(Buffer) hard_buffer = {0}, soft_buffer = {0};
    Buffer *buffers[2] = {&hard_buffer, &soft_buffer};
    struct xenctl_bitmap *maps[2] = {&op.u.vcpuaffinity.cpumap_hard, &op.u.vcpuaffinity.cpumap_soft};
    GBytes *bytes[2] = {hard, soft};
    gboolean ok = TRUE;

    op.u.vcpuaffinity.vcpu = vcpu;
    op.u.vcpuaffinity.flags = (hard ? XEN_VCPUAFFINITY_HARD : 0) | (soft ? XEN_VCPUAFFINITY_SOFT : 0);
    for (int i = 0; ok && i < 2; i++) {
        gsize size;
        const void *data = bytes[i] ? g_bytes_get_data(bytes[i], &size) : NULL;

        if (!data)
            continue;
        ok = buffer_init(buffers[i], hv, size, error);
        if (ok) {
            memcpy(buffers[i]->data, data, size);
            set_xen_guest_handle_raw(maps[i]->bitmap, buffers[i]->data);
            maps[i]->nr_bits = size * 8;
        }
    }
    return ok && domctl(hv, &op, NULL, error);
}

gboolean
serai_hv_set_nodes(SeraiHv *hv, uint32_t domid, GBytes *nodes, GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_setnodeaffinity, .domain = domid};
    g_auto(Buffer) buffer = {0};
    gsize size;
    const void *data = g_bytes_get_data(nodes, &size);

    if (!buffer_init(&buffer, hv, size, error))
        return FALSE;
    memcpy(buffer.data, data, size);
    set_xen_guest_handle_raw(op.u.nodeaffinity.nodemap.bitmap, buffer.data);
    op.u.nodeaffinity.nodemap.nr_bits = size * 8;
    return domctl(hv, &op, NULL, error);
}

gboolean
serai_hv_get_sched(SeraiHv *hv, uint32_t domid, uint32_t sched, guint *ret_weight, guint *ret_cap,
                   GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_scheduler_op, .domain = domid};

    op.u.scheduler_op.sched_id = sched;
    op.u.scheduler_op.cmd = XEN_DOMCTL_SCHEDOP_getinfo;
    if (!domctl(hv, &op, NULL, error))
        return FALSE;
    *ret_weight = op.u.scheduler_op.u.credit.weight; /* credit and credit2 have the same layout */
    *ret_cap = op.u.scheduler_op.u.credit.cap;
    return TRUE;
}

gboolean
serai_hv_set_sched(SeraiHv *hv, uint32_t domid, uint32_t sched, guint weight, guint cap, GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_scheduler_op, .domain = domid};

    op.u.scheduler_op.sched_id = sched;
    op.u.scheduler_op.cmd = XEN_DOMCTL_SCHEDOP_putinfo;
    op.u.scheduler_op.u.credit.weight = weight;
    op.u.scheduler_op.u.credit.cap = cap;
    return domctl(hv, &op, NULL, error);
}

gboolean
serai_hv_set_vnuma(SeraiHv *hv, uint32_t domid, GPtrArray *nodes, guint vcpus, const SeraiMemoryRange *ranges,
                   guint range_count, GError **error)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_setvnumainfo, .domain = domid};
    g_auto(Buffer) distance = {0}, vcpu_node = {0}, pnode = {0}, range = {0};
    guint count = nodes->len;

    if (!buffer_init(&distance, hv, count * count * sizeof(uint32_t), error) ||
        !buffer_init(&vcpu_node, hv, vcpus * sizeof(uint32_t), error) ||
        !buffer_init(&pnode, hv, count * sizeof(uint32_t), error) ||
        !buffer_init(&range, hv, range_count * sizeof(xen_vmemrange_t), error))
        return FALSE;
    for (guint i = 0; i < count; i++) {
        const SeraiVnumaNode *node = nodes->pdata[i];
        gsize size = 0;
        const guint8 *map = node->vcpus ? g_bytes_get_data(node->vcpus, &size) : NULL;

        ((uint32_t *)pnode.data)[i] = node->pnode < 0 ? XEN_INVALID_NODE_ID : (uint32_t)node->pnode;
        for (guint j = 0; j < count; j++)
            ((uint32_t *)distance.data)[i * count + j] = node->distances && j < node->distances->len
                                                             ? g_array_index(node->distances, guint, j)
                                                             : (i == j ? 10 : 20);
        for (guint v = 0; v < vcpus && v / 8 < size; v++)
            if (map[v / 8] & (1 << v % 8))
                ((uint32_t *)vcpu_node.data)[v] = i;
    }
    for (guint i = 0; i < range_count; i++)
        ((xen_vmemrange_t *)range.data)[i] =
            (xen_vmemrange_t){.start = ranges[i].start, .end = ranges[i].end, .nid = ranges[i].node};
    op.u.vnuma.nr_vnodes = count;
    op.u.vnuma.nr_vmemranges = range_count;
    op.u.vnuma.nr_vcpus = vcpus;
    set_xen_guest_handle_raw(op.u.vnuma.vdistance, distance.data);
    set_xen_guest_handle_raw(op.u.vnuma.vcpu_to_vnode, vcpu_node.data);
    set_xen_guest_handle_raw(op.u.vnuma.vnode_to_pnode, pnode.data);
    set_xen_guest_handle_raw(op.u.vnuma.vmemrange, range.data);
    return domctl(hv, &op, NULL, error);
}

gboolean
serai_hv_ssid(SeraiHv *hv G_GNUC_UNUSED, const char *label, uint32_t *ret_ssid, GError **error)
{
    char *end;

    /* Labels by name need the policy module that neither Debian's hypervisor nor ours has; numbers always
     * work. */
    *ret_ssid = g_ascii_strtoull(label, &end, 0);
    if (end == label || *end) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED,
                    _("The hypervisor has no policy module that could know the label '%s'."), label);
        return FALSE;
    }
    return TRUE;
}
