/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SeraiDomain: a handle of a domain: host, number, UUID.  It caches nothing, so what it says is what is so
 * now.  An operation on a number whose domain has another UUID by now fails with SERAI_ERROR_NO_DOMAIN.
 * Devices are in serai-domain-device.c, saving in serai-save.c.  No locks.
 */
#include "private/create.h"
#include "private/device.h"
#include "private/domain.h"
#include "private/peek.h"
#include "private/record.h"
#include "private/teardown.h"

G_DEFINE_TYPE(SeraiDomain, serai_domain, G_TYPE_OBJECT)
G_DEFINE_BOXED_TYPE(SeraiVcpuInfo, serai_vcpu_info, serai_vcpu_info_copy, serai_vcpu_info_free)

static void
serai_domain_finalize(GObject *object)
{
    SeraiDomain *domain = SERAI_DOMAIN(object);

    if (domain->disks_watch)
        serai_store_unwatch(domain->host->store, domain->disks_watch);
    g_object_unref(domain->host);
    G_OBJECT_CLASS(serai_domain_parent_class)->finalize(object);
}

static void
serai_domain_class_init(SeraiDomainClass *klass)
{
    G_OBJECT_CLASS(klass)->finalize = serai_domain_finalize;
}

static void
serai_domain_init(SeraiDomain *domain G_GNUC_UNUSED)
{
}

SeraiDomain *
serai_domain_new(SeraiHost *host, guint domid, const char *uuid)
{
    SeraiDomain *domain = g_object_new(SERAI_TYPE_DOMAIN, NULL);

    domain->host = g_object_ref(host);
    domain->domid = domid;
    g_strlcpy(domain->uuid, uuid, sizeof(domain->uuid));
    return domain;
}

gboolean
serai_domain_raw_info(SeraiDomain *domain, xen_domctl_getdomaininfo_t *ret_info, GError **error)
{
    char uuid[37];

    if (!serai_hv_domain_info(domain->host->hv, domain->domid, ret_info, error))
        return FALSE;
    serai_uuid_format(ret_info->handle, uuid);
    if (!strcmp(uuid, domain->uuid) && !(ret_info->flags & XEN_DOMINF_dying))
        return TRUE;
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_NO_DOMAIN, _("Domain %u with UUID %s is gone."),
                domain->domid, domain->uuid);
    return FALSE;
}

/* Prefixes an error with the name of the domain. */
static gboolean
named(SeraiDomain *domain, gboolean ok, GError **error)
{
    if (!ok) {
        g_autofree char *name = serai_domain_dup_name(domain);

        g_prefix_error(error, _("Domain '%s': "), *name ? name : domain->uuid);
    }
    return ok;
}

static gboolean
alive(SeraiDomain *domain, GError **error)
{
    xen_domctl_getdomaininfo_t info;

    return serai_domain_raw_info(domain, &info, error);
}

/* --- life ------------------------------------------------------------------------------------- */

static gboolean
fill_from_kernel(SeraiHost *host G_GNUC_UNUSED, SeraiGuestMemory *memory, const SeraiConfig *config,
                 SeraiBoot *boot, SeraiProgress *progress, GCancellable *cancellable,
                 gpointer data G_GNUC_UNUSED, GError **error)
{
    return serai_build_pv(memory, config, boot, progress, cancellable, error);
}

SeraiDomain *
serai_domain_create_sync(SeraiHost *host, const SeraiConfig *config, GCancellable *cancellable,
                         SeraiProgressFunc progress, gpointer progress_data, GError **error)
{
    SeraiProgress p = {.func = progress, .data = progress_data};

    return serai_create(host, config, fill_from_kernel, NULL, &p, cancellable, error);
}

static gpointer
create_job(gpointer object, gpointer args, GCancellable *cancellable, SeraiProgressFunc progress,
           gpointer progress_data, GError **error)
{
    return serai_domain_create_sync(object, args, cancellable, progress, progress_data, error);
}

void
serai_domain_create_async(SeraiHost *host, const SeraiConfig *config, GCancellable *cancellable,
                          SeraiProgressFunc progress, gpointer progress_data, GDestroyNotify progress_destroy,
                          GAsyncReadyCallback callback, gpointer user_data)
{
    serai_job_start(host, serai_domain_create_async, create_job, serai_config_copy(config),
                    (GDestroyNotify)serai_config_free, g_object_unref, cancellable, progress, progress_data,
                    progress_destroy, callback, user_data);
}

SeraiDomain *
serai_domain_create_finish(SeraiHost *host, GAsyncResult *result, GError **error)
{
    return serai_job_finish(host, serai_domain_create_async, result, error);
}

gboolean
serai_domain_destroy_sync(SeraiDomain *domain, GCancellable *cancellable, GError **error)
{
    xen_domctl_getdomaininfo_t info;
    char uuid[37] = "";
    int domid = domain->domid, recorded;

    if (!domid) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_INVALID_STATE,
                            _("The control domain cannot be destroyed."));
        return FALSE;
    }
    /* Gone, and another process has made it anew. */
    recorded = serai_record_domid(domain->host, domain->uuid);
    if (recorded >= 0 && recorded != domid)
        return TRUE;
    /* The number may be another's by now; then only the record of ours is left to remove. */
    if (serai_hv_domain_info(domain->host->hv, domid, &info, NULL))
        serai_uuid_format(info.handle, uuid);
    if (*uuid && strcmp(uuid, domain->uuid))
        domid = -1;
    return named(domain, serai_teardown(domain->host, domain->uuid, domid, cancellable, error), error);
}

static gpointer
destroy_job(gpointer object, gpointer args G_GNUC_UNUSED, GCancellable *cancellable,
            SeraiProgressFunc progress G_GNUC_UNUSED, gpointer progress_data G_GNUC_UNUSED, GError **error)
{
    return GINT_TO_POINTER(serai_domain_destroy_sync(object, cancellable, error));
}

void
serai_domain_destroy_async(SeraiDomain *domain, GCancellable *cancellable, GAsyncReadyCallback callback,
                           gpointer user_data)
{
    serai_job_start(domain, serai_domain_destroy_async, destroy_job, NULL, NULL, NULL, cancellable, NULL,
                    NULL, NULL, callback, user_data);
}

gboolean
serai_domain_destroy_finish(SeraiDomain *domain, GAsyncResult *result, GError **error)
{
    return serai_job_finish(domain, serai_domain_destroy_async, result, error) != NULL;
}

gboolean
serai_domain_unpause(SeraiDomain *domain, GError **error)
{
    return named(domain,
                 alive(domain, error) && serai_hv_unpause_domain(domain->host->hv, domain->domid, error),
                 error);
}

gboolean
serai_domain_pause(SeraiDomain *domain, GError **error)
{
    return named(
        domain, alive(domain, error) && serai_hv_pause_domain(domain->host->hv, domain->domid, error), error);
}

/* --- asking the guest ------------------------------------------------------------------------- */

/* Writes a node below /local/domain/ID as long as the domain is there. */
static gboolean
write_control(SeraiDomain *domain, GError **error, const char *leaf, const char *value)
{
    g_autofree char *path = g_strdup_printf("/local/domain/%u/%s", domain->domid, leaf);

    return alive(domain, error) && serai_store_write(domain->host->store, error, path, "%s", value);
}

gboolean
serai_domain_ask(SeraiDomain *domain, const char *request, GError **error)
{
    xen_domctl_getdomaininfo_t info;
    gint64 feature;

    if (!serai_domain_raw_info(domain, &info, error))
        return FALSE;
    if (info.flags & XEN_DOMINF_shutdown) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_INVALID_STATE,
                            _("The guest has stopped already."));
        return FALSE;
    }
    /* A guest that says nothing may be too old to say, or not up yet; one that says 0 means it. */
    feature = serai_store_read_number(domain->host->store, -1, "/local/domain/%u/control/feature-%s",
                                      domain->domid, request);
    if (feature == 0) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_GUEST_REFUSED, _("The guest does not support '%s'."),
                    request);
        return FALSE;
    }
    return write_control(domain, error, "control/shutdown", request);
}

gboolean
serai_domain_shutdown(SeraiDomain *domain, GError **error)
{
    return named(domain, serai_domain_ask(domain, "poweroff", error), error);
}

gboolean
serai_domain_reboot(SeraiDomain *domain, GError **error)
{
    return named(domain, serai_domain_ask(domain, "reboot", error), error);
}

gboolean
serai_domain_sysrq(SeraiDomain *domain, char key, GError **error)
{
    const char text[2] = {key, 0};

    return named(domain, write_control(domain, error, "control/sysrq", text), error);
}

gboolean
serai_domain_nmi(SeraiDomain *domain, GError **error)
{
    return named(domain, alive(domain, error) && serai_hv_send_nmi(domain->host->hv, domain->domid, 0, error),
                 error);
}

gboolean
serai_domain_crash(SeraiDomain *domain, GError **error)
{
    return named(domain,
                 alive(domain, error) &&
                     serai_hv_shutdown_domain(domain->host->hv, domain->domid, SHUTDOWN_crash, error),
                 error);
}

/* --- what it is ------------------------------------------------------------------------------- */

SeraiHost *
serai_domain_get_host(SeraiDomain *domain)
{
    return domain->host;
}

guint
serai_domain_get_id(SeraiDomain *domain)
{
    return domain->domid;
}

const char *
serai_domain_get_uuid(SeraiDomain *domain)
{
    return domain->uuid;
}

char *
serai_domain_dup_name(SeraiDomain *domain)
{
    char *name = serai_store_read(domain->host->store, SERAI_RECORD_ROOT "/domain/%s/name", domain->uuid);

    if (!name)
        name = serai_store_read(domain->host->store, "/local/domain/%u/name", domain->domid);
    return name ? name : g_strdup("");
}

gboolean
serai_domain_rename(SeraiDomain *domain, const char *name, GError **error)
{
    g_autoptr(SeraiBatch) batch = serai_batch_new(domain->host->store);
    g_autofree char *old = serai_domain_dup_name(domain);
    g_autofree char *local = g_strdup_printf("/local/domain/%u/name", domain->domid);
    g_autofree char *vm = g_strdup_printf("/vm/%s/name", domain->uuid);

    if (!*name || strlen(name) > 512 || strpbrk(name, "/\n") || !g_utf8_validate(name, -1, NULL)) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG, _("'%s' is no name of a domain."), name);
        return FALSE;
    }
    if (!strcmp(old, name))
        return TRUE;
    serai_record_expect_ready(batch, domain->uuid);
    serai_record_rename(batch, domain->uuid, old, name);
    serai_batch_write(batch, local, "%s", name);
    serai_batch_write(batch, vm, "%s", name);
    return named(domain, serai_batch_commit(batch, NULL, error), error);
}

SeraiDomainInfo *
serai_domain_get_info(SeraiDomain *domain, GError **error)
{
    xen_domctl_getdomaininfo_t raw;
    SeraiDomainInfo *info;

    if (!named(domain, serai_domain_raw_info(domain, &raw, error), error))
        return NULL;
    info = g_new(SeraiDomainInfo, 1);
    serai_info_fill(info, &raw);
    return info;
}

SeraiConfig *
serai_domain_get_config(SeraiDomain *domain, GError **error)
{
    SeraiStore *store = domain->host->store;
    g_autoptr(GError) local = NULL;
    SeraiConfig *config = serai_record_load(domain->host, domain->uuid, &local);
    g_autofree guint8 *online = NULL;
    gsize bytes;

    if (!config) {
        if (local)
            g_propagate_error(error, g_steal_pointer(&local));
        else
            g_set_error(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED,
                        _("Nothing is recorded about domain %u; another toolstack made it."), domain->domid);
        return NULL;
    }
    config->memory_kib =
        serai_store_read_number(store, config->memory_kib, "/local/domain/%u/memory/target", domain->domid);
    config->max_memory_kib = serai_store_read_number(store, config->max_memory_kib,
                                                     "/local/domain/%u/memory/static-max", domain->domid);
    bytes = (config->max_vcpus + 7) / 8;
    online = g_malloc0(bytes);
    config->vcpus = 0;
    for (guint v = 0; v < config->max_vcpus; v++) {
        g_autofree char *state =
            serai_store_read(store, "/local/domain/%u/cpu/%u/availability", domain->domid, v);

        if (!state || strcmp(state, "offline")) {
            online[v / 8] |= 1 << v % 8;
            config->vcpus++;
        }
    }
    g_clear_pointer(&config->vcpus_online, g_bytes_unref);
    config->vcpus_online = g_bytes_new(online, bytes);
    return config;
}

/* Changes the description that is kept, under the condition that nobody took the domain away meanwhile. */
static gboolean
store_config(SeraiDomain *domain, SeraiConfig *config, GError **error)
{
    g_autoptr(SeraiBatch) batch = serai_batch_new(domain->host->store);

    serai_record_expect_ready(batch, domain->uuid);
    serai_record_config(batch, config);
    return serai_batch_commit(batch, NULL, error);
}

gboolean
serai_domain_set_owner_data(SeraiDomain *domain, const char *data, GError **error)
{
    g_autoptr(SeraiConfig) config = serai_domain_get_config(domain, error);

    if (!config)
        return FALSE;
    if (data && strlen(data) > 2048) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG,
                            _("The caller's data of a domain exceed 2048 bytes."));
        return FALSE;
    }
    g_free(config->owner_data);
    config->owner_data = g_strdup(data);
    return named(domain, store_config(domain, config, error), error);
}

gboolean
serai_domain_set_actions(SeraiDomain *domain, SeraiAction on_poweroff, SeraiAction on_reboot,
                         SeraiAction on_crash, GError **error)
{
    g_autoptr(SeraiConfig) config = serai_domain_get_config(domain, error);

    if (!config)
        return FALSE;
    config->on_poweroff = on_poweroff;
    config->on_reboot = on_reboot;
    config->on_crash = on_crash;
    return named(domain, store_config(domain, config, error), error);
}

/* --- CPUs ------------------------------------------------------------------------------------- */

SeraiVcpuInfo *
serai_vcpu_info_copy(const SeraiVcpuInfo *info)
{
    SeraiVcpuInfo *copy = g_memdup2(info, sizeof(*info));

    g_bytes_ref(copy->hard_affinity);
    g_bytes_ref(copy->soft_affinity);
    return copy;
}

void
serai_vcpu_info_free(SeraiVcpuInfo *info)
{
    if (!info)
        return;
    g_clear_pointer(&info->hard_affinity, g_bytes_unref);
    g_clear_pointer(&info->soft_affinity, g_bytes_unref);
    g_free(info);
}

static SeraiVcpuInfo *
vcpu_info(SeraiDomain *domain, guint vcpu, guint cpus, GError **error)
{
    g_autoptr(SeraiVcpuInfo) info = g_new0(SeraiVcpuInfo, 1);
    struct xen_domctl_getvcpuinfo raw;

    if (!serai_hv_vcpu_info(domain->host->hv, domain->domid, vcpu, &raw, error) ||
        !serai_hv_get_affinity(domain->host->hv, domain->domid, vcpu, cpus, &info->hard_affinity,
                               &info->soft_affinity, error))
        return NULL;
    info->vcpu = vcpu;
    info->online = raw.online;
    info->blocked = raw.blocked;
    info->running = raw.running;
    info->cpu = raw.cpu;
    info->cpu_time_ns = raw.cpu_time;
    return g_steal_pointer(&info);
}

GPtrArray *
serai_domain_get_vcpus(SeraiDomain *domain, GError **error)
{
    g_autoptr(GPtrArray) vcpus = g_ptr_array_new_with_free_func((GDestroyNotify)serai_vcpu_info_free);
    xen_domctl_getdomaininfo_t info;
    struct xen_sysctl_physinfo phys;

    if (!named(domain,
               serai_domain_raw_info(domain, &info, error) &&
                   serai_hv_physinfo(domain->host->hv, &phys, error),
               error))
        return NULL;
    for (guint v = 0; v <= info.max_vcpu_id && info.max_vcpu_id != XEN_INVALID_MAX_VCPU_ID; v++) {
        SeraiVcpuInfo *vcpu = vcpu_info(domain, v, phys.max_cpu_id + 1, error);

        if (!named(domain, vcpu != NULL, error))
            return NULL;
        g_ptr_array_add(vcpus, vcpu);
    }
    return g_steal_pointer(&vcpus);
}

static gboolean
vcpu_in_range(const xen_domctl_getdomaininfo_t *info, guint vcpu, GError **error)
{
    if (vcpu <= info->max_vcpu_id && info->max_vcpu_id != XEN_INVALID_MAX_VCPU_ID)
        return TRUE;
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG, _("The domain has no vCPU %u."), vcpu);
    return FALSE;
}

gboolean
serai_domain_set_vcpu_count(SeraiDomain *domain, guint count, GError **error)
{
    g_autoptr(SeraiBatch) batch = serai_batch_new(domain->host->store);
    xen_domctl_getdomaininfo_t info;

    if (!count) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG,
                            _("A domain needs one vCPU at least."));
        return named(domain, FALSE, error);
    }
    if (!named(domain, serai_domain_raw_info(domain, &info, error) && vcpu_in_range(&info, count - 1, error),
               error))
        return FALSE;
    for (guint v = 0; v <= info.max_vcpu_id; v++) {
        g_autofree char *path = g_strdup_printf("/local/domain/%u/cpu/%u/availability", domain->domid, v);

        serai_batch_write(batch, path, "%s", v < count ? "online" : "offline");
    }
    return named(domain, serai_batch_commit(batch, NULL, error), error);
}

gboolean
serai_domain_set_vcpu_online(SeraiDomain *domain, guint vcpu, gboolean online, GError **error)
{
    g_autofree char *leaf = g_strdup_printf("cpu/%u/availability", vcpu);
    xen_domctl_getdomaininfo_t info;

    if (!vcpu && !online) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG, _("vCPU 0 must be online."));
        return named(domain, FALSE, error);
    }
    return named(domain,
                 serai_domain_raw_info(domain, &info, error) && vcpu_in_range(&info, vcpu, error) &&
                     write_control(domain, error, leaf, online ? "online" : "offline"),
                 error);
}

gboolean
serai_domain_pin_vcpu(SeraiDomain *domain, guint vcpu, GBytes *hard, GBytes *soft, GError **error)
{
    if (!hard && !soft)
        return TRUE;
    return named(domain,
                 alive(domain, error) &&
                     serai_hv_set_affinity(domain->host->hv, domain->domid, vcpu, hard, soft, error),
                 error);
}

gboolean
serai_domain_get_sched(SeraiDomain *domain, guint *ret_weight, guint *ret_cap, GError **error)
{
    uint32_t sched;

    return named(domain,
                 alive(domain, error) && serai_host_scheduler(domain->host, &sched, error) &&
                     serai_hv_get_sched(domain->host->hv, domain->domid, sched, ret_weight, ret_cap, error),
                 error);
}

gboolean
serai_domain_set_sched(SeraiDomain *domain, int weight, int cap, GError **error)
{
    guint old_weight, old_cap;
    uint32_t sched;

    if (weight == 0 || weight > 65535 || cap > 65535) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG,
                            _("The weight of a domain is from 1 to 65535, its cap at most 65535."));
        return named(domain, FALSE, error);
    }
    if (!serai_domain_get_sched(domain, &old_weight, &old_cap, error))
        return FALSE;
    return named(domain,
                 serai_host_scheduler(domain->host, &sched, error) &&
                     serai_hv_set_sched(domain->host->hv, domain->domid, sched,
                                        weight < 0 ? old_weight : (guint)weight,
                                        cap < 0 ? old_cap : (guint)cap, error),
                 error);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* A number that an agent in the guest keeps in the store (xe-guest-utilities does); 0 when there is none. */
static guint64
guest_number(SeraiDomain *domain, const char *name)
{
    gint64 value =
        serai_store_read_number(domain->host->store, 0, "/local/domain/%u/data/%s", domain->domid, name);

    return MAX(value, 0);
}

gboolean
serai_domain_get_memory_stats(SeraiDomain *domain, SeraiMemoryStats *ret_stats, GError **error)
{
    SeraiStore *store = domain->host->store;
    xen_domctl_getdomaininfo_t info;

    if (!named(domain, serai_domain_raw_info(domain, &info, error), error))
        return FALSE;
    *ret_stats = (SeraiMemoryStats){
        .current_kib = info.tot_pages << 2,
        .maximum_kib = (info.max_pages << 2) - MIN(info.max_pages << 2, SERAI_SLACK_KIB),
        .target_kib = serai_store_read_number(store, 0, "/local/domain/%u/memory/target", domain->domid),
        .static_max_kib =
            serai_store_read_number(store, 0, "/local/domain/%u/memory/static-max", domain->domid),
        .guest_total_kib = guest_number(domain, "meminfo_total"),
        .guest_free_kib = guest_number(domain, "meminfo_free"),
        .guest_available_kib = guest_number(domain, "meminfo_available"),
    };
    return TRUE;
}

gboolean
serai_domain_set_memory_target(SeraiDomain *domain, guint64 kib, GError **error)
{
    guint64 most =
        serai_store_read_number(domain->host->store, 0, "/local/domain/%u/memory/static-max", domain->domid);
    g_autofree char *value = g_strdup_printf("%" G_GUINT64_FORMAT, kib & ~(guint64)3);

    if (kib < 4096 || (most && kib > most)) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG,
                    _("The memory of the domain can be from 4096 to %lu KiB."), (unsigned long)most);
        return named(domain, FALSE, error);
    }
    return named(domain, write_control(domain, error, "memory/target", value), error);
}

/* The hypervisor's limit becomes @kib; what a domain has cannot be taken away. */
static gboolean
set_limit(SeraiDomain *domain, guint64 kib, GError **error)
{
    xen_domctl_getdomaininfo_t info;

    if (!serai_domain_raw_info(domain, &info, error))
        return FALSE;
    if (kib >= info.tot_pages << 2)
        return serai_hv_max_mem(domain->host->hv, domain->domid, kib + SERAI_SLACK_KIB, error);
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG,
                _("The domain has %lu KiB of memory; its maximum cannot be below."),
                (unsigned long)info.tot_pages << 2);
    return FALSE;
}

gboolean
serai_domain_set_memory_max(SeraiDomain *domain, guint64 kib, GError **error)
{
    g_autofree char *value = g_strdup_printf("%" G_GUINT64_FORMAT, kib & ~(guint64)3);

    return named(domain,
                 set_limit(domain, kib, error) && write_control(domain, error, "memory/static-max", value),
                 error);
}

gboolean
serai_domain_set_memory_limit(SeraiDomain *domain, guint64 kib, GError **error)
{
    return named(domain, set_limit(domain, kib, error), error);
}

gboolean
serai_domain_set_nodes(SeraiDomain *domain, GBytes *nodes, GError **error)
{
    return named(domain,
                 alive(domain, error) && serai_hv_set_nodes(domain->host->hv, domain->domid, nodes, error),
                 error);
}

gboolean
serai_domain_read_memory(SeraiDomain *domain, SeraiAddress kind, guint64 address, void *buffer, gsize size,
                         GError **error)
{
    return named(domain,
                 alive(domain, error) &&
                     serai_peek(domain->host->hv, domain->domid, kind == SERAI_ADDRESS_VIRTUAL, address,
                                buffer, size, error),
                 error);
}

/* --- what the guest tells --------------------------------------------------------------------- */

/* A name that may stand where names of hosts do; the guest may have written anything. */
static gboolean
is_hostname(const char *name)
{
    const char *c;

    for (c = name; g_ascii_isalnum(*c) || *c == '-' || *c == '.' || *c == '_'; c++)
        ;
    return *c == '\0' && c > name && c - name <= 253 && *name != '-' && *name != '.';
}

char *
serai_domain_dup_guest_hostname(SeraiDomain *domain, GError **error)
{
    g_autofree char *name = NULL;

    if (!alive(domain, error)) {
        named(domain, FALSE, error);
        return NULL;
    }
    name = serai_store_read(domain->host->store, "/local/domain/%u/data/host_name", domain->domid);
    if (name && is_hostname(name))
        return g_steal_pointer(&name);
    g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED,
                        name ? _("The guest tells a name that is no name of a host.")
                             : _("The guest has not told its name (data/host_name in the store)."));
    named(domain, FALSE, error);
    return NULL;
}
