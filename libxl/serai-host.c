/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SeraiHost: the two connections (hypervisor and store), facts about the machine, and events.
 *
 * Events: the store says "some domain came" or "some domain stopped or went" without a number, so we compare
 * the hypervisor's list with what we knew and tell the differences.  That comparison is the only step
 * anywhere that looks at all domains, one hypercall for 256 of them.
 *
 * Locks: SeraiHost.lock guards the table of known domains, and is not held while a signal is emitted.
 */
#include "private/device.h"
#include "private/domain.h"
#include "private/fake.h"
#include "private/record.h"
#include "private/system.h"
#include "private/teardown.h"

#include <stdio.h>
#include <unistd.h>

#define RUN_DIR "/run/serai"

enum {
    SIGNAL_CREATED,
    SIGNAL_SHUTDOWN,
    SIGNAL_CRASHED,
    SIGNAL_DIED,
    SIGNAL_DEVICE_REMOVED,
    SIGNAL_DEVICE_FAILED,
    SIGNAL_DISKS_CONNECTED,
    SIGNAL_COUNT,
};

static guint signals[SIGNAL_COUNT];

G_DEFINE_TYPE(SeraiHost, serai_host, G_TYPE_OBJECT)
G_DEFINE_BOXED_TYPE(SeraiHostInfo, serai_host_info, serai_host_info_copy, serai_host_info_free)
G_DEFINE_BOXED_TYPE(SeraiNode, serai_node, serai_node_copy, serai_node_free)
G_DEFINE_BOXED_TYPE(SeraiDomainInfo, serai_domain_info, serai_domain_info_copy, serai_domain_info_free)

/* --- plain structures ------------------------------------------------------------------------- */

SeraiHostInfo *
serai_host_info_copy(const SeraiHostInfo *info)
{
    SeraiHostInfo *copy = g_memdup2(info, sizeof(*info));

    copy->version_extra = g_strdup(info->version_extra);
    copy->changeset = g_strdup(info->changeset);
    copy->compile_date = g_strdup(info->compile_date);
    copy->compiler = g_strdup(info->compiler);
    copy->command_line = g_strdup(info->command_line);
    copy->capabilities = g_strdup(info->capabilities);
    copy->scheduler = g_strdup(info->scheduler);
    return copy;
}

void
serai_host_info_free(SeraiHostInfo *info)
{
    if (!info)
        return;
    g_free(info->version_extra);
    g_free(info->changeset);
    g_free(info->compile_date);
    g_free(info->compiler);
    g_free(info->command_line);
    g_free(info->capabilities);
    g_free(info->scheduler);
    g_free(info);
}

SeraiNode *
serai_node_copy(const SeraiNode *node)
{
    SeraiNode *copy = g_memdup2(node, sizeof(*node));

    if (node->distances)
        copy->distances = g_array_copy(node->distances);
    return copy;
}

void
serai_node_free(SeraiNode *node)
{
    if (!node)
        return;
    g_clear_pointer(&node->distances, g_array_unref);
    g_free(node);
}

SeraiDomainInfo *
serai_domain_info_copy(const SeraiDomainInfo *info)
{
    return g_memdup2(info, sizeof(*info));
}

void
serai_domain_info_free(SeraiDomainInfo *info)
{
    g_free(info);
}

static SeraiShutdownReason
reason_of(uint32_t flags)
{
    guint reason = flags >> XEN_DOMINF_shutdownshift & XEN_DOMINF_shutdownmask;

    if (!(flags & XEN_DOMINF_shutdown))
        return SERAI_SHUTDOWN_NONE;
    return reason <= SERAI_SHUTDOWN_SOFT_RESET ? (SeraiShutdownReason)reason : SERAI_SHUTDOWN_UNKNOWN;
}

void
serai_info_fill(SeraiDomainInfo *info, const xen_domctl_getdomaininfo_t *raw)
{
    *info = (SeraiDomainInfo){
        .domid = raw->domain,
        .type = raw->flags & XEN_DOMINF_hvm_guest ? SERAI_DOMAIN_HVM : SERAI_DOMAIN_PV,
        .running = (raw->flags & XEN_DOMINF_running) != 0,
        .blocked = (raw->flags & XEN_DOMINF_blocked) != 0,
        .paused = (raw->flags & XEN_DOMINF_paused) != 0,
        .dying = (raw->flags & XEN_DOMINF_dying) != 0,
        .shutdown_reason = reason_of(raw->flags),
        .memory_kib = raw->tot_pages << 2,
        .max_memory_kib = raw->max_pages << 2,
        .outstanding_kib = raw->outstanding_pages << 2,
        .shared_info_mfn = raw->shared_info_frame,
        .cpu_time_ns = raw->cpu_time,
        .vcpus = raw->nr_online_vcpus,
        .max_vcpus = raw->max_vcpu_id + 1,
        .pool = raw->cpupool,
    };
    serai_uuid_format(raw->handle, info->uuid);
}

/* --- events ----------------------------------------------------------------------------------- */

static SeraiKnown *
known_new(const char *uuid)
{
    SeraiKnown *known = g_new0(SeraiKnown, 1);

    g_strlcpy(known->uuid, uuid, sizeof(known->uuid));
    known->told = g_hash_table_new(NULL, NULL);
    return known;
}

static void
known_free(gpointer data)
{
    g_hash_table_unref(((SeraiKnown *)data)->told);
    g_free(data);
}

void
serai_host_later(SeraiHost *host, GSourceFunc func, gpointer data, GDestroyNotify data_free)
{
    GSource *source = g_idle_source_new();

    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, func, data, data_free);
    g_source_attach(source, host->context);
    g_source_unref(source);
}

typedef struct {
    SeraiHost *host;
    SeraiDomain *domain;
    guint signal;
    guint first;
    int second;
} Emission;

static gboolean
emit_now(gpointer data)
{
    Emission *e = data;

    switch (e->signal) {
    case SIGNAL_SHUTDOWN:
        g_signal_emit(e->host, signals[e->signal], 0, e->domain, e->first);
        break;
    case SIGNAL_DEVICE_REMOVED:
    case SIGNAL_DEVICE_FAILED:
        g_signal_emit(e->host, signals[e->signal], 0, e->domain, e->first, e->second);
        break;
    default:
        g_signal_emit(e->host, signals[e->signal], 0, e->domain);
    }
    return G_SOURCE_REMOVE;
}

static void
emission_free(gpointer data)
{
    Emission *e = data;

    g_object_unref(e->domain);
    g_object_unref(e->host);
    g_free(e);
}

static void
emit_later(SeraiHost *host, guint signal, guint domid, const char *uuid, guint first, int second)
{
    Emission *e;

    /* Nothing is queued for a loop that may never run when nobody listens. */
    if (!g_signal_has_handler_pending(host, signals[signal], 0, TRUE))
        return;
    e = g_new0(Emission, 1);
    e->host = g_object_ref(host);
    e->domain = serai_domain_new(host, domid, uuid);
    e->signal = signal;
    e->first = first;
    e->second = second;
    serai_host_later(host, emit_now, e, emission_free);
}

gboolean
serai_host_tells_of_devices(SeraiHost *host)
{
    return g_signal_has_handler_pending(host, signals[SIGNAL_DEVICE_REMOVED], 0, TRUE);
}

void
serai_host_emit_device_removed(SeraiHost *host, SeraiDomain *domain, SeraiDeviceKind kind, int devid)
{
    emit_later(host, SIGNAL_DEVICE_REMOVED, domain->domid, domain->uuid, kind, devid);
}

void
serai_host_emit_disks_connected(SeraiHost *host, SeraiDomain *domain)
{
    emit_later(host, SIGNAL_DISKS_CONNECTED, domain->domid, domain->uuid, 0, 0);
}

void
serai_host_model_died(SeraiHost *host, guint domid)
{
    g_autoptr(SeraiDomain) domain = serai_host_lookup_by_id(host, domid, NULL);
    g_autofree char *state =
        domain ? serai_store_read(host->store, SERAI_RECORD_ROOT "/domain/%s/state", domain->uuid) : NULL;
    g_autoptr(GPtrArray) devices = NULL;

    if (!domain || g_strcmp0(state, "ready"))
        return;
    devices = serai_record_devices(host, domain->uuid);
    for (guint i = 0; i < devices->len; i++) {
        const SeraiDevice *device = devices->pdata[i];

        if (serai_device_needs_model(device))
            emit_later(host, SIGNAL_DEVICE_FAILED, domid, domain->uuid, device->kind, device->devid);
    }
}

/* One domain of the list: what is new about it?  Called with the lock. */
static void
compare_one(SeraiHost *host, const SeraiDomainInfo *info, gboolean tell)
{
    SeraiKnown *known = g_hash_table_lookup(host->known, GUINT_TO_POINTER(info->domid));

    if (known && strcmp(known->uuid, info->uuid)) {
        /* The number was used again while we slept. */
        emit_later(host, SIGNAL_DIED, info->domid, known->uuid, 0, 0);
        known = NULL;
    }
    if (!known) {
        known = known_new(info->uuid);
        g_hash_table_insert(host->known, GUINT_TO_POINTER(info->domid), known);
        if (tell)
            emit_later(host, SIGNAL_CREATED, info->domid, info->uuid, 0, 0);
    }
    if (info->shutdown_reason == SERAI_SHUTDOWN_NONE) {
        known->stopped = FALSE;
    } else if (!known->stopped) {
        known->stopped = TRUE;
        if (tell && info->shutdown_reason == SERAI_SHUTDOWN_CRASH)
            emit_later(host, SIGNAL_CRASHED, info->domid, info->uuid, 0, 0);
        else if (tell)
            emit_later(host, SIGNAL_SHUTDOWN, info->domid, info->uuid, info->shutdown_reason, 0);
    }
}

static void
compare_all(SeraiHost *host, gboolean tell)
{
    g_autoptr(GPtrArray) list = serai_host_list_domains(host, NULL);
    g_autoptr(GHashTable) present = g_hash_table_new(NULL, NULL);
    GHashTableIter iter;
    gpointer key, value;

    if (!list)
        return;
    g_mutex_lock(&host->lock);
    for (guint i = 0; i < list->len; i++) {
        const SeraiDomainInfo *info = list->pdata[i];

        if (!info->domid || info->dying)
            continue;
        g_hash_table_add(present, GUINT_TO_POINTER(info->domid));
        compare_one(host, info, tell);
    }
    g_hash_table_iter_init(&iter, host->known);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        if (g_hash_table_contains(present, key))
            continue;
        if (tell)
            emit_later(host, SIGNAL_DIED, GPOINTER_TO_UINT(key), ((SeraiKnown *)value)->uuid, 0, 0);
        g_hash_table_iter_remove(&iter);
    }
    g_mutex_unlock(&host->lock);
}

static void
on_domains_changed(const char *path G_GNUC_UNUSED, gpointer data)
{
    compare_all(data, TRUE);
}

/* --- life ------------------------------------------------------------------------------------- */

static void
serai_host_finalize(GObject *object)
{
    SeraiHost *host = SERAI_HOST(object);

    if (host->introduced)
        serai_store_unwatch(host->store, host->introduced);
    if (host->released)
        serai_store_unwatch(host->store, host->released);
    if (host->backends)
        serai_store_unwatch(host->store, host->backends);
    serai_store_close(host->store);
    serai_hv_close(host->hv);
    g_hash_table_destroy(host->known);
    g_hash_table_destroy(host->changed);
    if (host->model_log_destroy)
        host->model_log_destroy(host->model_log_data);
    g_main_context_unref(host->context);
    g_mutex_clear(&host->lock);
    G_OBJECT_CLASS(serai_host_parent_class)->finalize(object);
}

static void
serai_host_class_init(SeraiHostClass *klass)
{
    GType type = G_TYPE_FROM_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = serai_host_finalize;
    signals[SIGNAL_CREATED] = g_signal_new("domain-created", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                           G_TYPE_NONE, 1, SERAI_TYPE_DOMAIN);
    signals[SIGNAL_SHUTDOWN] = g_signal_new("domain-shutdown", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                            G_TYPE_NONE, 2, SERAI_TYPE_DOMAIN, G_TYPE_UINT);
    signals[SIGNAL_CRASHED] = g_signal_new("domain-crashed", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                           G_TYPE_NONE, 1, SERAI_TYPE_DOMAIN);
    signals[SIGNAL_DIED] = g_signal_new("domain-died", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                        G_TYPE_NONE, 1, SERAI_TYPE_DOMAIN);
    signals[SIGNAL_DEVICE_REMOVED] =
        g_signal_new("device-removed", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 3,
                     SERAI_TYPE_DOMAIN, G_TYPE_UINT, G_TYPE_INT);
    signals[SIGNAL_DEVICE_FAILED] =
        g_signal_new("device-failed", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 3,
                     SERAI_TYPE_DOMAIN, G_TYPE_UINT, G_TYPE_INT);
    signals[SIGNAL_DISKS_CONNECTED] = g_signal_new("disks-connected", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                                   NULL, G_TYPE_NONE, 1, SERAI_TYPE_DOMAIN);
}

/* Device models that were started by somebody before us. */
static void
watch_models(SeraiHost *host)
{
    g_autoptr(GDir) dir = host->fake ? NULL : g_dir_open(host->run_dir, 0, NULL);
    const char *name;
    guint domid;

    while (dir && (name = g_dir_read_name(dir)))
        if (sscanf(name, "qemu-%u.pid", &domid) == 1)
            serai_device_model_watch(host, domid);
}

static void
serai_host_init(SeraiHost *host)
{
    g_mutex_init(&host->lock);
    host->known = g_hash_table_new_full(NULL, NULL, NULL, known_free);
    host->changed = g_hash_table_new(NULL, NULL);
    host->context = g_main_context_ref_thread_default();
    g_strlcpy(host->run_dir, RUN_DIR, sizeof(host->run_dir));
}

SeraiHost *
serai_host_open(const char *backend, GError **error)
{
    g_autoptr(SeraiHost) host = g_object_new(SERAI_TYPE_HOST, NULL);

    if (backend && strcmp(backend, "fake")) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED, _("There is no kind of host named '%s'."),
                    backend);
        return NULL;
    }
    host->fake = backend != NULL;
    host->hv = host->fake ? serai_fake_hv_new() : serai_hv_open(error);
    if (!host->hv)
        return NULL;
    host->store = host->fake ? serai_fake_store_new(host->hv) : serai_store_open(error);
    if (!host->store)
        return NULL;
    compare_all(host, FALSE);
    host->introduced = serai_store_watch(host->store, "@introduceDomain", on_domains_changed, host, error);
    if (!host->introduced)
        return NULL;
    host->released = serai_store_watch(host->store, "@releaseDomain", on_domains_changed, host, error);
    if (!host->released)
        return NULL;
    host->backends = serai_store_watch(host->store, SERAI_BACKENDS, serai_backend_changed, host, error);
    if (!host->backends)
        return NULL;
    watch_models(host);
    return g_steal_pointer(&host);
}

void
serai_host_set_model_log(SeraiHost *host, SeraiModelLogFunc func, gpointer user_data, GDestroyNotify destroy)
{
    g_return_if_fail(!host->model_log);
    host->model_log = func;
    host->model_log_data = user_data;
    host->model_log_destroy = destroy;
}

/* --- facts ------------------------------------------------------------------------------------ */

static const struct {
    uint32_t id;
    const char *name;
} schedulers[] = {
    {XEN_SCHEDULER_CREDIT, "credit"},     {XEN_SCHEDULER_CREDIT2, "credit2"},
    {XEN_SCHEDULER_ARINC653, "arinc653"}, {XEN_SCHEDULER_RTDS, "rtds"},
    {XEN_SCHEDULER_NULL, "null"},
};

gboolean
serai_host_scheduler(SeraiHost *host, uint32_t *ret_id, GError **error)
{
    return serai_hv_sched_id(host->hv, ret_id, error);
}

SeraiHostInfo *
serai_host_get_info(SeraiHost *host, GError **error)
{
    g_autoptr(SeraiHostInfo) info = g_new0(SeraiHostInfo, 1);
    struct xen_sysctl_physinfo phys;
    uint32_t scheduler;

    if (!serai_hv_version(host->hv, info, error) || !serai_hv_physinfo(host->hv, &phys, error) ||
        !serai_hv_sched_id(host->hv, &scheduler, error))
        return NULL;
    for (guint i = 0; i < G_N_ELEMENTS(schedulers); i++)
        if (schedulers[i].id == scheduler)
            info->scheduler = g_strdup(schedulers[i].name);
    if (!info->scheduler)
        info->scheduler = g_strdup("unknown");
    info->has_pv = (phys.capabilities & XEN_SYSCTL_PHYSCAP_pv) != 0;
    info->has_hvm = (phys.capabilities & XEN_SYSCTL_PHYSCAP_hvm) != 0;
    info->has_hap = (phys.capabilities & XEN_SYSCTL_PHYSCAP_hap) != 0;
    info->has_passthrough = (phys.capabilities & XEN_SYSCTL_PHYSCAP_directio) != 0;
    info->cpu_count = phys.nr_cpus;
    info->max_cpu_count = phys.max_cpu_id + 1;
    info->node_count = MAX(1, phys.nr_nodes);
    info->cores_per_socket = MAX(1, phys.cores_per_socket);
    info->threads_per_core = MAX(1, phys.threads_per_core);
    info->socket_count = MAX(1, phys.nr_cpus / (info->cores_per_socket * info->threads_per_core));
    info->cpu_khz = phys.cpu_khz;
    memcpy(info->hw_caps, phys.hw_cap, sizeof(info->hw_caps));
    info->total_kib = phys.total_pages << 2;
    info->free_kib = (phys.free_pages + phys.scrub_pages) << 2;
    info->scrub_kib = phys.scrub_pages << 2;
    info->claimed_kib = phys.outstanding_pages << 2;
    return g_steal_pointer(&info);
}

gboolean
serai_host_get_free_memory(SeraiHost *host, guint64 *ret_kib, GError **error)
{
    struct xen_sysctl_physinfo phys;

    if (!serai_hv_physinfo(host->hv, &phys, error))
        return FALSE;
    *ret_kib = (phys.free_pages + phys.scrub_pages) << 2;
    return TRUE;
}

GArray *
serai_host_get_cpus(SeraiHost *host, GError **error)
{
    GArray *cpus = serai_hv_cpu_topology(host->hv, error);
    g_autoptr(GArray) idle = NULL;

    if (!cpus)
        return NULL;
    idle = serai_hv_cpu_idle(host->hv, cpus->len, error);
    if (!idle) {
        g_array_unref(cpus);
        return NULL;
    }
    for (guint i = 0; i < MIN(cpus->len, idle->len); i++)
        g_array_index(cpus, SeraiCpu, i).idle_ns = g_array_index(idle, guint64, i);
    return cpus;
}

GPtrArray *
serai_host_get_nodes(SeraiHost *host, GError **error)
{
    return serai_hv_numa(host->hv, error);
}

char *
serai_host_read_log(SeraiHost *host, GError **error)
{
    return serai_hv_read_log(host->hv, error);
}

gboolean
serai_host_send_debug_key(SeraiHost *host, char key, GError **error)
{
    return serai_hv_debug_key(host->hv, key, error);
}

/* --- domains ---------------------------------------------------------------------------------- */

GPtrArray *
serai_host_list_domains(SeraiHost *host, GError **error)
{
    g_autoptr(GPtrArray) domains = g_ptr_array_new_with_free_func((GDestroyNotify)serai_domain_info_free);
    g_autofree xen_domctl_getdomaininfo_t *raw = g_new(xen_domctl_getdomaininfo_t, 256);
    uint32_t first = 0;
    int count;

    while ((count = serai_hv_list_domains(host->hv, first, 256, raw, error)) > 0) {
        for (int i = 0; i < count; i++) {
            SeraiDomainInfo *info = g_new(SeraiDomainInfo, 1);

            serai_info_fill(info, &raw[i]);
            g_ptr_array_add(domains, info);
        }
        first = raw[count - 1].domain + 1;
    }
    return count < 0 ? NULL : g_steal_pointer(&domains);
}

SeraiDomain *
serai_host_lookup_by_id(SeraiHost *host, guint domid, GError **error)
{
    xen_domctl_getdomaininfo_t raw;
    char uuid[37];

    if (!serai_hv_domain_info(host->hv, domid, &raw, error))
        return NULL;
    serai_uuid_format(raw.handle, uuid);
    return serai_domain_new(host, domid, uuid);
}

SeraiDomain *
serai_host_lookup_by_uuid(SeraiHost *host, const char *uuid, GError **error)
{
    g_autofree char *lower = g_ascii_strdown(uuid, -1);
    int domid = serai_record_domid(host, lower);
    g_autoptr(SeraiDomain) domain = domid < 0 ? NULL : serai_host_lookup_by_id(host, domid, NULL);

    if (domain && !strcmp(domain->uuid, lower))
        return g_steal_pointer(&domain);
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_NO_DOMAIN, _("There is no domain with UUID %s."), uuid);
    return NULL;
}

SeraiDomain *
serai_host_lookup_by_name(SeraiHost *host, const char *name, GError **error)
{
    g_autofree char *uuid = serai_record_uuid_of(host, name);
    SeraiDomain *domain = uuid ? serai_host_lookup_by_uuid(host, uuid, NULL) : NULL;

    if (!domain)
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_NO_DOMAIN, _("There is no domain named '%s'."), name);
    return domain;
}

/* --- recovery --------------------------------------------------------------------------------- */

/* Device models and sockets of domains that are no more. */
static int
recover_files(SeraiHost *host)
{
    g_autoptr(GDir) dir = host->fake ? NULL : g_dir_open(host->run_dir, 0, NULL);
    const char *name;
    int removed = 0;

    while (dir && (name = g_dir_read_name(dir))) {
        xen_domctl_getdomaininfo_t info;
        guint domid;

        if (sscanf(name, "qemu-%u.pid", &domid) != 1 && sscanf(name, "qmp-%u.sock", &domid) != 1)
            continue;
        if (serai_hv_domain_info(host->hv, domid, &info, NULL) && !(info.flags & XEN_DOMINF_dying))
            continue;
        serai_device_model_stop(host, domid);
        removed++;
    }
    return removed;
}

/* A domain that sleeps because somebody died while saving it goes on. */
static int
recover_sleeper(SeraiHost *host, const char *uuid, int domid)
{
    g_autoptr(SeraiDomain) domain = NULL;

    if (domid < 0 || !serai_record_save_was_cut_off(host, uuid))
        return 0;
    domain = serai_domain_new(host, domid, uuid);
    return serai_domain_wake(domain, NULL);
}

int
serai_host_recover_sync(SeraiHost *host, GCancellable *cancellable, GError **error)
{
    g_auto(GStrv) uuids = serai_store_list(host->store, SERAI_RECORD_ROOT "/domain");
    int removed = 0;

    for (char **uuid = uuids; *uuid; uuid++) {
        int domid = serai_record_domid(host, *uuid);

        if (g_cancellable_set_error_if_cancelled(cancellable, error))
            return -1;
        /* Who died between making the domain and writing its number left a domain that only its UUID tells.
         */
        if (domid < 0)
            domid = serai_find_domid(host, *uuid);
        if (!serai_record_is_stale(host, *uuid, domid)) {
            removed += recover_sleeper(host, *uuid, domid);
            continue;
        }
        if (!serai_teardown_stale(host, *uuid, domid, cancellable, error))
            return -1;
        removed++;
    }
    return removed + recover_files(host);
}
