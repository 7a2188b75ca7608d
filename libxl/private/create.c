/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making a domain.  The steps, in order; a failure of any of them runs the teardown, which undoes what was
 * done:
 *
 *   1  the description is checked
 *   2  name and UUID are reserved in the store
 *   3  the hypervisor makes an empty domain; its number is written down
 *   4  limits, CPUs and scheduling are set
 *   5  disks and links are opened: cheap, and what fails most often
 *   6  memory and contents
 *   7  all nodes, in one transaction; the store meets the domain
 *   8  the device model starts, if one is needed
 *   9  all backends get ready, waited for once
 *  10  the record says "ready"
 */
#include "private/create.h"
#include "private/device.h"
#include "private/pci.h"
#include "private/record.h"
#include "private/system.h"
#include "private/teardown.h"

#include <time.h>

#define CACHE_DIR "/var/cache/serai"

typedef struct {
    SeraiHost *host;
    SeraiConfig *config; /* with defaults filled in */
    uint32_t domid;
    gboolean have_domid;
    SeraiGuestMemory memory;
    SeraiBoot boot;
    GPtrArray *attaches;
    SeraiProgress *progress;
    GCancellable *cancellable;
} Creation;

/* --- 2: reserving ----------------------------------------------------------------------------- */

/* A record in our way may be all that is left of a domain; then it is taken away. */
static void
clear_stale(SeraiHost *host, const SeraiConfig *config)
{
    g_autofree char *owner = serai_record_uuid_of(host, config->name);
    const char *uuids[2] = {config->uuid, owner};

    for (int i = 0; i < 2; i++) {
        g_autofree char *state =
            uuids[i] ? serai_store_read(host->store, SERAI_RECORD_ROOT "/domain/%s/state", uuids[i]) : NULL;
        int domid;

        if (!state)
            continue;
        domid = serai_record_domid(host, uuids[i]);
        if (domid < 0)
            domid = serai_find_domid(host, uuids[i]);
        if (serai_record_is_stale(host, uuids[i], domid))
            serai_teardown_stale(host, uuids[i], domid, NULL, NULL);
    }
}

static gboolean
reserve(Creation *c, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (serai_record_begin(c->host, c->config, c->cancellable, &local))
        return TRUE;
    if (!g_error_matches(local, SERAI_ERROR, SERAI_ERROR_EXISTS)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    clear_stale(c->host, c->config);
    return serai_record_begin(c->host, c->config, c->cancellable, error);
}

/* --- 3 and 4: the empty domain ---------------------------------------------------------------- */

static gboolean
make_empty(Creation *c, GError **error)
{
    const SeraiConfig *config = c->config;
    SeraiHvCreate create = {
        .max_vcpus = config->max_vcpus,
        .max_event_channels = config->max_event_channels ? config->max_event_channels : 1023,
        .max_grant_frames = config->max_grant_frames ? (int)config->max_grant_frames : -1,
        .max_maptrack_frames = config->max_maptrack_frames ? (int)config->max_maptrack_frames : -1,
        .iommu = config->passthrough,
        .pool = config->pool,
    };

    serai_uuid_parse(config->uuid, create.uuid);
    if (config->security_label && !serai_hv_ssid(c->host->hv, config->security_label, &create.ssid, error))
        return FALSE;
    if (!serai_hv_create_domain(c->host->hv, &create, &c->domid, error)) {
        g_prefix_error(error, _("Cannot make an empty domain: "));
        return FALSE;
    }
    c->have_domid = TRUE;
    c->memory.hv = c->host->hv;
    c->memory.domid = c->domid;
    c->memory.zeroed = serai_hv_gives_zeroes(c->host->hv);
    return serai_record_set_domid(c->host, config->uuid, c->domid, error);
}

static gboolean
set_cpus(Creation *c, GError **error)
{
    const SeraiConfig *config = c->config;
    uint32_t sched;
    guint weight, cap;

    if (!serai_hv_max_vcpus(c->host->hv, c->domid, config->max_vcpus, error))
        return FALSE;
    if (config->nodes && !serai_hv_set_nodes(c->host->hv, c->domid, config->nodes, error))
        return FALSE;
    for (guint v = 0; v < config->max_vcpus; v++) {
        GBytes *hard = v < config->hard_affinity->len ? config->hard_affinity->pdata[v] : NULL;
        GBytes *soft = v < config->soft_affinity->len ? config->soft_affinity->pdata[v] : NULL;

        if ((hard || soft) && !serai_hv_set_affinity(c->host->hv, c->domid, v, hard, soft, error)) {
            g_prefix_error(error, _("Cannot pin vCPU %u: "), v);
            return FALSE;
        }
    }
    if (!config->weight && !config->cap)
        return TRUE;
    if (!serai_host_scheduler(c->host, &sched, error) ||
        !serai_hv_get_sched(c->host->hv, c->domid, sched, &weight, &cap, error))
        return FALSE;
    return serai_hv_set_sched(c->host->hv, c->domid, sched, config->weight ? config->weight : weight,
                              config->cap ? config->cap : cap, error);
}

static gboolean
set_limits(Creation *c, GError **error)
{
    const SeraiConfig *config = c->config;
    SeraiHv *hv = c->host->hv;
    SeraiTscInfo tsc = {.mode = config->tsc_mode};

    if (!serai_hv_max_mem(hv, c->domid, config->max_memory_kib + SERAI_SLACK_KIB, error) ||
        !serai_hv_set_memory_limit(hv, c->domid, config->max_memory_kib, config->passthrough, error))
        return FALSE;
    if (config->tsc_mode != SERAI_TSC_DEFAULT && !serai_hv_set_tsc(hv, c->domid, &tsc, error))
        return FALSE;
    if (config->localtime_offset && !serai_hv_time_offset(hv, c->domid, config->localtime_offset, error))
        return FALSE;
    return serai_hv_alloc_port(hv, c->domid, 0, &c->boot.store_port, error) &&
           serai_hv_alloc_port(hv, c->domid, 0, &c->boot.console_port, error);
}

static gboolean
set_vnuma(Creation *c, GError **error)
{
    const SeraiConfig *config = c->config;
    g_autofree SeraiMemoryRange *ranges = g_new0(SeraiMemoryRange, config->vnuma->len);
    uint64_t address = 0;

    if (!config->vnuma->len)
        return TRUE;
    for (guint i = 0; i < config->vnuma->len; i++) {
        uint64_t size = ((SeraiVnumaNode *)config->vnuma->pdata[i])->memory_kib << 10;

        ranges[i] = (SeraiMemoryRange){address, address + size, i};
        address += size;
    }
    return serai_hv_set_vnuma(c->host->hv, c->domid, config->vnuma, config->max_vcpus, ranges,
                              config->vnuma->len, error);
}

/* --- 7: nodes --------------------------------------------------------------------------------- */

static gboolean
vcpu_is_online(const SeraiConfig *config, guint vcpu)
{
    gsize size;
    const guint8 *map;

    if (!config->vcpus_online)
        return vcpu < serai_config_start_vcpus(config);
    map = g_bytes_get_data(config->vcpus_online, &size);
    return vcpu / 8 < size && (map[vcpu / 8] >> vcpu % 8 & 1);
}

/* What every domain has, whatever its devices: paths, and whether the guest may write to them. */
static const struct {
    const char *path;
    gboolean guest_owns;
} directories[] = {
    {"", FALSE},
    {"/cpu", FALSE},
    {"/memory", FALSE},
    {"/device", FALSE},
    {"/control", FALSE},
    {"/data", TRUE},
    {"/drivers", TRUE},
    {"/feature", TRUE},
    {"/attr", TRUE},
    {"/error", TRUE},
    {"/console", FALSE},
    {"/store", FALSE},
    {"/control/shutdown", TRUE},
    {"/control/feature-poweroff", TRUE},
    {"/control/feature-reboot", TRUE},
    {"/control/feature-suspend", TRUE},
    {"/control/sysrq", TRUE},
    {"/device/suspend/event-channel", TRUE},
};

static void
domain_nodes(Creation *c, SeraiBatch *batch)
{
    const SeraiConfig *config = c->config;
    g_autofree char *root = g_strdup_printf("/local/domain/%u", c->domid);
    g_autofree char *vm = g_strdup_printf("/vm/%s", config->uuid);
    const struct {
        const char *path;
        char *value;
    } leaves[] = {
        {"domid", g_strdup_printf("%u", c->domid)},
        {"name", g_strdup(config->name)},
        {"vm", g_strdup(vm)},
        {"memory/static-max", g_strdup_printf("%" G_GUINT64_FORMAT, config->max_memory_kib)},
        {"memory/target", g_strdup_printf("%" G_GUINT64_FORMAT, serai_config_start_pages(config) << 2)},
        {"memory/videoram", g_strdup("0")},
        {"control/platform-feature-multiprocessor-suspend", g_strdup("1")},
        {"control/platform-feature-xs_reset_watches", g_strdup("1")},
        {"store/port", g_strdup_printf("%u", c->boot.store_port)},
        {"store/ring-ref", g_strdup_printf("%lu", (unsigned long)c->boot.store_frame)},
        {"console/port", g_strdup_printf("%u", c->boot.console_port)},
        {"console/ring-ref", g_strdup_printf("%lu", (unsigned long)c->boot.console_frame)},
    };

    for (guint i = 0; i < G_N_ELEMENTS(directories); i++) {
        g_autofree char *path = g_strconcat(root, directories[i].path, NULL);

        serai_batch_mkdir(batch, path, directories[i].guest_owns ? c->domid : 0,
                          directories[i].guest_owns ? 0 : c->domid);
    }
    for (guint i = 0; i < G_N_ELEMENTS(leaves); i++) {
        g_autofree char *path = g_strdup_printf("%s/%s", root, leaves[i].path);

        serai_batch_write(batch, path, "%s", leaves[i].value);
        g_free(leaves[i].value);
    }
    for (guint v = 0; v < config->max_vcpus; v++) {
        g_autofree char *path = g_strdup_printf("%s/cpu/%u/availability", root, v);

        serai_batch_write(batch, path, "%s", vcpu_is_online(config, v) ? "online" : "offline");
    }
    serai_batch_mkdir(batch, vm, 0, c->domid);
    g_free(g_steal_pointer(&root));
    root = g_strdup_printf("%s/uuid", vm);
    serai_batch_write(batch, root, "%s", config->uuid);
    g_free(g_steal_pointer(&root));
    root = g_strdup_printf("%s/name", vm);
    serai_batch_write(batch, root, "%s", config->name);
    g_free(g_steal_pointer(&root));
    root = g_strdup_printf("%s/start_time", vm);
    serai_batch_write(batch, root, "%" G_GINT64_FORMAT, g_get_real_time() / G_USEC_PER_SEC);
}

static gboolean
write_nodes(Creation *c, GError **error)
{
    g_autoptr(SeraiBatch) batch = serai_batch_new(c->host->store);

    serai_record_expect_ours(batch, c->config->uuid);
    domain_nodes(c, batch);
    serai_record_config(batch, c->config);
    if (!serai_devices_nodes(c->host, c->attaches, c->domid, c->config->uuid, batch, error))
        return FALSE;
    return serai_batch_commit(batch, c->cancellable, error) &&
           serai_store_introduce(c->host->store, c->domid, c->boot.store_frame, c->boot.store_port, error);
}

static gboolean
mark_ready(Creation *c, GError **error)
{
    g_autoptr(SeraiBatch) batch = serai_batch_new(c->host->store);

    serai_record_expect_ours(batch, c->config->uuid);
    serai_record_ready(batch, c->config->uuid);
    /* The port of a VNC server is known only now. */
    for (guint i = 0; i < c->attaches->len; i++) {
        SeraiDevice *device = ((SeraiAttach *)c->attaches->pdata[i])->device;

        if (device->kind != SERAI_DEVICE_VFB)
            continue;
        device->vfb.port = ((SeraiDevice *)c->config->devices->pdata[i])->vfb.port;
        if (!serai_record_device(batch, c->config->uuid, device, error))
            return FALSE;
    }
    return serai_batch_commit(batch, c->cancellable, error);
}

/* --- all -------------------------------------------------------------------------------------- */

static gboolean
create_steps(Creation *c, SeraiFillFunc fill, gpointer data, GError **error)
{
    SeraiHost *host = c->host;

    if (!serai_pci_check_host(host, c->config->devices, error) || !make_empty(c, error) ||
        !set_cpus(c, error) || !set_limits(c, error) || !set_vnuma(c, error))
        return FALSE;
    c->attaches = serai_devices_prepare(host, c->domid, c->config->devices, NULL, error);
    if (!c->attaches)
        return FALSE;
    if (!fill(host, &c->memory, c->config, &c->boot, c->progress, c->cancellable, data, error))
        return FALSE;
    if (!serai_hv_seed_grants(host->hv, c->domid, c->boot.console_frame, 0, c->boot.store_frame, 0, error) ||
        !write_nodes(c, error))
        return FALSE;
    if (!host->fake && serai_devices_need_model(c->config->devices) &&
        !serai_device_model_start(host, c->domid, c->config, c->cancellable, error))
        return FALSE;
    return serai_devices_wait(host, c->domid, c->attaches, c->progress, c->cancellable, error) &&
           mark_ready(c, error);
}

/* The description as it will be carried out. */
static SeraiConfig *
complete(const SeraiConfig *config)
{
    SeraiConfig *copy = serai_config_copy(config);
    gboolean has_console = FALSE;
    char *uuid = g_ascii_strdown(copy->uuid, -1);

    g_free(copy->uuid);
    copy->uuid = uuid;
    for (guint i = 0; i < copy->devices->len; i++) {
        SeraiDeviceKind kind = ((SeraiDevice *)copy->devices->pdata[i])->kind;

        has_console |= kind == SERAI_DEVICE_CONSOLE;
        copy->passthrough |= kind == SERAI_DEVICE_PCI;
    }
    if (!has_console) {
        SeraiDevice *console = serai_device_new(SERAI_DEVICE_CONSOLE);

        console->devid = 0;
        serai_config_add_device(copy, console);
    }
    return copy;
}

static void
undo(Creation *c)
{
    g_autoptr(GError) local = NULL;

    /* Loop devices first, so that nothing holds a file longer than the domain. */
    g_clear_pointer(&c->attaches, g_ptr_array_unref);
    if (!serai_teardown_stale(c->host, c->config->uuid, c->have_domid ? (int)c->domid : -1, NULL, &local))
        g_debug("half-made domain stays for recovery: %s", local->message);
}

SeraiDomain *
serai_create(SeraiHost *host, const SeraiConfig *config, SeraiFillFunc fill, gpointer data,
             SeraiProgress *progress, GCancellable *cancellable, GError **error)
{
    Creation c = {.host = host, .progress = progress, .cancellable = cancellable};
    SeraiDomain *domain = NULL;

    serai_progress(progress, SERAI_STAGE_PREPARE, 0, 0);
    if (!serai_config_check(config, error)) {
        g_prefix_error(error, _("Cannot create domain '%s': "), config->name ? config->name : "");
        return NULL;
    }
    c.config = complete(config);
    c.boot.cache_dir = host->fake ? NULL : CACHE_DIR;
    if (!reserve(&c, error)) {
        g_prefix_error(error, _("Cannot create domain '%s': "), config->name);
    } else if (create_steps(&c, fill, data, error)) {
        domain = serai_domain_new(host, c.domid, c.config->uuid);
    } else {
        g_prefix_error(error, _("Cannot create domain '%s': "), config->name);
        undo(&c);
    }
    g_clear_pointer(&c.attaches, g_ptr_array_unref);
    serai_memory_clear(&c.memory);
    serai_config_free(c.config);
    return domain;
}
