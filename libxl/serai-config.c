/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Descriptions of domains: defaults, copying, checking, and writing them as text (a key file: [domain],
 * [device N], [vnuma N], [vcpu N]).  What is not known in a text is ignored, so that older versions can read
 * newer ones.  No state, no locks.
 */
#include "private/fields.h"

#define ROW(name, type, limit)                                               \
    {                                                                        \
#name, SERAI_FIELD_##type, G_STRUCT_OFFSET(SeraiConfig, name), limit \
    }

/* Limits that a description must keep, whatever the hypervisor allows. */
#define VCPUS_MAX   512
#define DEVICES_MAX 1024
#define MEMORY_MAX  (16ULL << 30) /* KiB: 16 TiB */

static const SeraiField fields[] = {
    ROW(type, UINT, SERAI_DOMAIN_HVM + 1),
    ROW(name, STRING, 0),
    ROW(uuid, STRING, 0),
    ROW(kernel, STRING, 0),
    ROW(ramdisk, STRING, 0),
    ROW(cmdline, STRING, 0),
    ROW(bootloader, STRING, 0),
    ROW(max_memory_kib, UINT64, 0),
    ROW(memory_kib, UINT64, 0),
    ROW(max_vcpus, UINT, 0),
    ROW(vcpus, UINT, 0),
    ROW(vcpus_online, BYTES, 0),
    ROW(nodes, BYTES, 0),
    ROW(weight, UINT, 0),
    ROW(cap, UINT, 0),
    ROW(pool, UINT, 0),
    ROW(tsc_mode, UINT, SERAI_TSC_NATIVE + 1),
    ROW(localtime_offset, INT64, 0),
    ROW(max_grant_frames, UINT, 0),
    ROW(max_maptrack_frames, UINT, 0),
    ROW(max_event_channels, UINT, 0),
    ROW(security_label, STRING, 0),
    ROW(passthrough, BOOLEAN, 2),
    ROW(on_poweroff, UINT, SERAI_ACTION_COREDUMP_RESTART + 1),
    ROW(on_reboot, UINT, SERAI_ACTION_COREDUMP_RESTART + 1),
    ROW(on_crash, UINT, SERAI_ACTION_COREDUMP_RESTART + 1),
    ROW(on_watchdog, UINT, SERAI_ACTION_COREDUMP_RESTART + 1),
    ROW(owner_data, STRING, 0),
    ROW(emulator, STRING, 0),
};

G_DEFINE_BOXED_TYPE(SeraiConfig, serai_config, serai_config_copy, serai_config_free)
G_DEFINE_BOXED_TYPE(SeraiVnumaNode, serai_vnuma_node, serai_vnuma_node_copy, serai_vnuma_node_free)

/* --- virtual NUMA nodes ----------------------------------------------------------------------- */

SeraiVnumaNode *
serai_vnuma_node_new(void)
{
    SeraiVnumaNode *node = g_new0(SeraiVnumaNode, 1);

    node->pnode = -1;
    return node;
}

SeraiVnumaNode *
serai_vnuma_node_copy(const SeraiVnumaNode *node)
{
    SeraiVnumaNode *copy = g_new0(SeraiVnumaNode, 1);

    *copy = *node;
    if (copy->vcpus)
        g_bytes_ref(copy->vcpus);
    if (copy->distances)
        copy->distances = g_array_copy(node->distances);
    return copy;
}

void
serai_vnuma_node_free(SeraiVnumaNode *node)
{
    if (!node)
        return;
    g_clear_pointer(&node->vcpus, g_bytes_unref);
    g_clear_pointer(&node->distances, g_array_unref);
    g_free(node);
}

/* --- life ------------------------------------------------------------------------------------- */

static void
bytes_free(gpointer data)
{
    if (data)
        g_bytes_unref(data);
}

SeraiConfig *
serai_config_new(void)
{
    SeraiConfig *config = g_new0(SeraiConfig, 1);

    config->max_vcpus = 1;
    config->on_reboot = SERAI_ACTION_RESTART;
    config->hard_affinity = g_ptr_array_new_with_free_func(bytes_free);
    config->soft_affinity = g_ptr_array_new_with_free_func(bytes_free);
    config->devices = g_ptr_array_new_with_free_func((GDestroyNotify)serai_device_free);
    config->vnuma = g_ptr_array_new_with_free_func((GDestroyNotify)serai_vnuma_node_free);
    return config;
}

static gpointer
bytes_copy(gconstpointer data, gpointer user_data G_GNUC_UNUSED)
{
    return data ? g_bytes_ref((GBytes *)data) : NULL;
}

static void
array_copy(GPtrArray *to, GPtrArray *from, GCopyFunc copy)
{
    for (guint i = 0; from && i < from->len; i++)
        g_ptr_array_add(to, copy(from->pdata[i], NULL));
}

SeraiConfig *
serai_config_copy(const SeraiConfig *config)
{
    SeraiConfig *copy = serai_config_new();

    serai_fields_copy(fields, G_N_ELEMENTS(fields), copy, config);
    array_copy(copy->hard_affinity, config->hard_affinity, bytes_copy);
    array_copy(copy->soft_affinity, config->soft_affinity, bytes_copy);
    array_copy(copy->devices, config->devices, (GCopyFunc)(void (*)(void))serai_device_copy);
    array_copy(copy->vnuma, config->vnuma, (GCopyFunc)(void (*)(void))serai_vnuma_node_copy);
    return copy;
}

void
serai_config_free(SeraiConfig *config)
{
    if (!config)
        return;
    serai_fields_clear(fields, G_N_ELEMENTS(fields), config);
    g_clear_pointer(&config->hard_affinity, g_ptr_array_unref);
    g_clear_pointer(&config->soft_affinity, g_ptr_array_unref);
    g_clear_pointer(&config->devices, g_ptr_array_unref);
    g_clear_pointer(&config->vnuma, g_ptr_array_unref);
    g_free(config);
}

void
serai_config_add_device(SeraiConfig *config, SeraiDevice *device)
{
    g_ptr_array_add(config->devices, device);
}

void
serai_config_set_hard_affinity(SeraiConfig *config, guint vcpu, GBytes *cpus)
{
    g_return_if_fail(vcpu < VCPUS_MAX);
    if (config->hard_affinity->len <= vcpu)
        g_ptr_array_set_size(config->hard_affinity, vcpu + 1);
    bytes_free(config->hard_affinity->pdata[vcpu]);
    config->hard_affinity->pdata[vcpu] = cpus ? g_bytes_ref(cpus) : NULL;
}

/* --- checks ----------------------------------------------------------------------------------- */

static gboolean
invalid(GError **error, SeraiError code, const char *message)
{
    g_set_error_literal(error, SERAI_ERROR, code, message);
    return FALSE;
}

static gboolean
check_names(const SeraiConfig *config, GError **error)
{
    guint8 uuid[16];

    if (config->type != SERAI_DOMAIN_PV)
        return invalid(error, SERAI_ERROR_UNSUPPORTED, _("Only paravirtualized (PV) domains are supported."));
    if (!config->name || !*config->name || strlen(config->name) > 512 || strpbrk(config->name, "/\n") ||
        !g_utf8_validate(config->name, -1, NULL))
        return invalid(error, SERAI_ERROR_INVALID_CONFIG,
                       _("A domain needs a name of at most 512 bytes without '/' and line breaks."));
    if (!serai_uuid_parse(config->uuid, uuid))
        return invalid(error, SERAI_ERROR_INVALID_CONFIG, _("A domain needs a UUID."));
    for (int i = 0; i < 16; i++)
        if (uuid[i])
            break;
        else if (i == 15)
            return invalid(error, SERAI_ERROR_INVALID_CONFIG, _("The UUID of a domain cannot be all zero."));
    if (config->owner_data && strlen(config->owner_data) > 2048)
        return invalid(error, SERAI_ERROR_INVALID_CONFIG,
                       _("The caller's data of a domain exceed 2048 bytes."));
    return TRUE;
}

static gboolean
check_resources(const SeraiConfig *config, GError **error)
{
    if (config->max_memory_kib < 4096 || config->max_memory_kib > MEMORY_MAX)
        return invalid(error, SERAI_ERROR_INVALID_CONFIG,
                       _("A domain's memory must be from 4 MiB to 16 TiB."));
    if (config->memory_kib > config->max_memory_kib || (config->memory_kib && config->memory_kib < 4096))
        return invalid(error, SERAI_ERROR_INVALID_CONFIG,
                       _("The memory a domain starts with must be from 4 MiB to its maximum."));
    if (!config->max_vcpus || config->max_vcpus > VCPUS_MAX || config->vcpus > config->max_vcpus)
        return invalid(error, SERAI_ERROR_INVALID_CONFIG,
                       _("A domain needs from 1 to 512 vCPUs, and no more online than it may have."));
    if (config->vcpus_online && (!g_bytes_get_size(config->vcpus_online) ||
                                 !(*(const guint8 *)g_bytes_get_data(config->vcpus_online, NULL) & 1)))
        return invalid(error, SERAI_ERROR_INVALID_CONFIG, _("vCPU 0 must be online."));
    if (config->weight > 65535 || config->cap > 65535)
        return invalid(error, SERAI_ERROR_INVALID_CONFIG, _("Weight and cap of a domain are at most 65535."));
    if (config->hard_affinity->len > config->max_vcpus || config->soft_affinity->len > config->max_vcpus)
        return invalid(error, SERAI_ERROR_INVALID_CONFIG, _("A vCPU that does not exist is pinned."));
    if (config->cmdline && strlen(config->cmdline) > 1023)
        return invalid(error, SERAI_ERROR_INVALID_CONFIG, _("The kernel's command line exceeds 1023 bytes."));
    if (config->max_grant_frames > 65536 || config->max_maptrack_frames > 65536 ||
        config->max_event_channels > 131071)
        return invalid(error, SERAI_ERROR_INVALID_CONFIG,
                       _("A limit on grants or event channels is too high."));
    return TRUE;
}

static gboolean
check_vnuma(const SeraiConfig *config, GError **error)
{
    guint64 sum = 0;

    if (config->vnuma->len > 64)
        return invalid(error, SERAI_ERROR_INVALID_CONFIG, _("A domain has at most 64 virtual NUMA nodes."));
    if (!config->vnuma->len)
        return TRUE;
    for (guint i = 0; i < config->vnuma->len; i++) {
        const SeraiVnumaNode *node = config->vnuma->pdata[i];

        if (node->memory_kib % 4 || node->memory_kib > MEMORY_MAX || node->pnode < -1 || node->pnode > 255 ||
            (node->distances && node->distances->len != config->vnuma->len))
            return invalid(error, SERAI_ERROR_INVALID_CONFIG,
                           _("A virtual NUMA node has memory, distances or a place that cannot be."));
        sum += node->memory_kib;
    }
    if (sum != config->max_memory_kib || (config->memory_kib && config->memory_kib != config->max_memory_kib))
        return invalid(
            error, SERAI_ERROR_INVALID_CONFIG,
            _("The virtual NUMA nodes must hold all memory, and the domain must start with all of it."));
    for (guint v = 0; v < config->max_vcpus; v++) {
        guint owners = 0;

        for (guint i = 0; i < config->vnuma->len; i++) {
            const SeraiVnumaNode *node = config->vnuma->pdata[i];
            gsize size = 0;
            const guint8 *map = node->vcpus ? g_bytes_get_data(node->vcpus, &size) : NULL;

            owners += v / 8 < size && (map[v / 8] >> v % 8 & 1);
        }
        if (owners != 1)
            return invalid(error, SERAI_ERROR_INVALID_CONFIG,
                           _("Each vCPU must be on one virtual NUMA node."));
    }
    return TRUE;
}

static gboolean
check_devices(const SeraiConfig *config, GError **error)
{
    guint vfbs = 0;

    if (config->devices->len > DEVICES_MAX)
        return invalid(error, SERAI_ERROR_INVALID_CONFIG, _("A domain has at most 1024 devices."));
    for (guint i = 0; i < config->devices->len; i++) {
        const SeraiDevice *device = config->devices->pdata[i];

        if (!serai_device_check(device, error))
            return FALSE;
        vfbs += device->kind == SERAI_DEVICE_VFB;
        for (guint j = 0; j < i; j++) {
            const SeraiDevice *other = config->devices->pdata[j];

            /* Consoles without a number get one later. */
            if (device->kind >= SERAI_DEVICE_CONSOLE && device->kind != SERAI_DEVICE_CHANNEL &&
                device->kind != SERAI_DEVICE_PCI && (device->devid < 0 || other->devid < 0))
                continue;
            if (serai_device_same(device, other))
                return invalid(error, SERAI_ERROR_INVALID_CONFIG,
                               _("Two devices of the domain are the same one."));
            if (device->kind == SERAI_DEVICE_NIC && other->kind == SERAI_DEVICE_NIC &&
                !g_ascii_strcasecmp(device->nic.mac, other->nic.mac))
                return invalid(error, SERAI_ERROR_INVALID_CONFIG,
                               _("Two NICs of the domain have one MAC address."));
        }
    }
    if (vfbs > 1)
        return invalid(error, SERAI_ERROR_INVALID_CONFIG, _("A domain has at most one frame buffer."));
    return TRUE;
}

gboolean
serai_config_check(const SeraiConfig *config, GError **error)
{
    return check_names(config, error) && check_resources(config, error) && check_vnuma(config, error) &&
           check_devices(config, error);
}

/* --- as text ---------------------------------------------------------------------------------- */

/* One row of a list of bitmaps. */
typedef struct {
    GBytes *hard;
    GBytes *soft;
} Affinity;

static const SeraiField affinity_fields[] = {
    {"hard", SERAI_FIELD_BYTES, G_STRUCT_OFFSET(Affinity, hard), 0},
    {"soft", SERAI_FIELD_BYTES, G_STRUCT_OFFSET(Affinity, soft), 0},
};

static const SeraiField vnuma_fields[] = {
    {"memory_kib", SERAI_FIELD_UINT64, G_STRUCT_OFFSET(SeraiVnumaNode, memory_kib), 0},
    {"vcpus", SERAI_FIELD_BYTES, G_STRUCT_OFFSET(SeraiVnumaNode, vcpus), 0},
    {"pnode", SERAI_FIELD_INT, G_STRUCT_OFFSET(SeraiVnumaNode, pnode), 0},
};

char *
serai_config_to_data(const SeraiConfig *config)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    guint pinned = MAX(config->hard_affinity->len, config->soft_affinity->len);
    char group[32];

    serai_fields_save(fields, G_N_ELEMENTS(fields), config, file, "domain");
    g_key_file_set_integer(file, "domain", "type", config->type);
    for (guint i = 0; i < pinned; i++) {
        Affinity a = {i < config->hard_affinity->len ? config->hard_affinity->pdata[i] : NULL,
                      i < config->soft_affinity->len ? config->soft_affinity->pdata[i] : NULL};

        g_snprintf(group, sizeof(group), "vcpu %u", i);
        serai_fields_save(affinity_fields, G_N_ELEMENTS(affinity_fields), &a, file, group);
    }
    for (guint i = 0; i < config->devices->len; i++) {
        g_snprintf(group, sizeof(group), "device %u", i);
        serai_device_save(config->devices->pdata[i], file, group);
    }
    for (guint i = 0; i < config->vnuma->len; i++) {
        const SeraiVnumaNode *node = config->vnuma->pdata[i];

        g_snprintf(group, sizeof(group), "vnuma %u", i);
        serai_fields_save(vnuma_fields, G_N_ELEMENTS(vnuma_fields), node, file, group);
        g_key_file_set_integer(file, group, "pnode", node->pnode);
        if (node->distances)
            g_key_file_set_integer_list(file, group, "distances", (int *)node->distances->data,
                                        node->distances->len);
    }
    return g_key_file_to_data(file, NULL, NULL);
}

static gboolean
load_pinning(SeraiConfig *config, GKeyFile *file, GError **error)
{
    for (guint i = 0; i < config->max_vcpus && i < VCPUS_MAX; i++) {
        Affinity a = {0};
        char group[32];

        g_snprintf(group, sizeof(group), "vcpu %u", i);
        if (!g_key_file_has_group(file, group))
            continue;
        if (!serai_fields_load(affinity_fields, G_N_ELEMENTS(affinity_fields), &a, file, group, error)) {
            serai_fields_clear(affinity_fields, G_N_ELEMENTS(affinity_fields), &a);
            return FALSE;
        }
        if (a.hard)
            serai_config_set_hard_affinity(config, i, a.hard);
        if (a.soft) {
            if (config->soft_affinity->len <= i)
                g_ptr_array_set_size(config->soft_affinity, i + 1);
            config->soft_affinity->pdata[i] = g_bytes_ref(a.soft);
        }
        serai_fields_clear(affinity_fields, G_N_ELEMENTS(affinity_fields), &a);
    }
    return TRUE;
}

static gboolean
load_vnuma(SeraiConfig *config, GKeyFile *file, GError **error)
{
    for (guint i = 0; i < 64; i++) {
        g_autoptr(SeraiVnumaNode) node = serai_vnuma_node_new();
        g_autofree int *distances = NULL;
        char group[32];
        gsize count;

        g_snprintf(group, sizeof(group), "vnuma %u", i);
        if (!g_key_file_has_group(file, group))
            break;
        if (!serai_fields_load(vnuma_fields, G_N_ELEMENTS(vnuma_fields), node, file, group, error))
            return FALSE;
        distances = g_key_file_get_integer_list(file, group, "distances", &count, NULL);
        if (distances) {
            node->distances = g_array_new(FALSE, FALSE, sizeof(guint));
            g_array_append_vals(node->distances, distances, count);
        }
        g_ptr_array_add(config->vnuma, g_steal_pointer(&node));
    }
    return TRUE;
}

SeraiConfig *
serai_config_from_data(const char *data, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autoptr(SeraiConfig) config = serai_config_new();
    g_autoptr(GError) local = NULL;

    if (!g_key_file_load_from_data(file, data, -1, G_KEY_FILE_NONE, &local) ||
        !g_key_file_has_group(file, "domain")) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG,
                    _("The description of a domain is malformed: %s"), local ? local->message : "[domain]");
        return NULL;
    }
    /* What is not written is zero, not the default of a new description. */
    config->max_vcpus = 0;
    config->on_reboot = 0;
    if (!serai_fields_load(fields, G_N_ELEMENTS(fields), config, file, "domain", error) ||
        !load_pinning(config, file, error) || !load_vnuma(config, file, error))
        return NULL;
    for (guint i = 0; i < DEVICES_MAX; i++) {
        SeraiDevice *device;
        char group[32];

        g_snprintf(group, sizeof(group), "device %u", i);
        if (!g_key_file_has_group(file, group))
            break;
        device = serai_device_load(file, group, error);
        if (!device)
            return NULL;
        serai_config_add_device(config, device);
    }
    return g_steal_pointer(&config);
}
