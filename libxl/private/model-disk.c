/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disks that QEMU serves.  QEMU can find them in the store by itself, but then it locks nothing, knows files
 * only, and tells nobody why it refuses; so each is added by QMP: a block node named after the disk's number,
 * and a device upon it, which writes the backend's nodes and makes it InitWait.
 *
 * The passphrase of an encrypted disk is an object of QEMU's while the image is opened, told by QMP as well,
 * so that it is on no command line.
 *
 * QEMU's locks on the image stand: a second writer is refused unless both disks are shareable.
 */
#include "private/host.h"
#include "private/qmp.h"
#include "private/system.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* How long the last requests of a disk may take once the guest has let go of it. */
#define RELEASE_TIMEOUT (30 * G_USEC_PER_SEC)

static void
add_string(JsonBuilder *builder, const char *name, const char *value)
{
    json_builder_set_member_name(builder, name);
    json_builder_add_string_value(builder, value);
}

static void
add_boolean(JsonBuilder *builder, const char *name, gboolean value)
{
    json_builder_set_member_name(builder, name);
    json_builder_add_boolean_value(builder, value);
}

static void
add_cache(JsonBuilder *builder, gboolean direct)
{
    json_builder_set_member_name(builder, "cache");
    json_builder_begin_object(builder);
    add_boolean(builder, "direct", direct);
    json_builder_end_object(builder);
}

gboolean
serai_disk_is_nbd(const char *path)
{
    return g_str_has_prefix(path, "nbd://") || g_str_has_prefix(path, "nbd+unix://");
}

/* nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH, as the NBD project defines them. */
static gboolean
add_nbd(JsonBuilder *builder, const SeraiDisk *disk, GError **error)
{
    g_autoptr(GUri) uri = g_uri_parse(disk->path, G_URI_FLAGS_NONE, NULL);
    g_autoptr(GHashTable) query =
        uri && g_uri_get_query(uri) ? g_uri_parse_params(g_uri_get_query(uri), -1, "&", 0, NULL) : NULL;
    const char *path = uri ? g_uri_get_path(uri) : "";
    const char *socket = query ? g_hash_table_lookup(query, "socket") : NULL;
    gboolean local = g_str_has_prefix(disk->path, "nbd+unix:");

    if (!uri || (local ? !socket : !g_uri_get_host(uri) || !*g_uri_get_host(uri))) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG,
                    _("'%s', the source of disk '%s', is no address of an NBD server."), disk->path,
                    disk->target);
        return FALSE;
    }
    add_string(builder, "driver", "nbd");
    json_builder_set_member_name(builder, "server");
    json_builder_begin_object(builder);
    add_string(builder, "type", local ? "unix" : "inet");
    if (local) {
        add_string(builder, "path", socket);
    } else {
        g_autofree char *port = g_strdup_printf("%d", g_uri_get_port(uri) > 0 ? g_uri_get_port(uri) : 10809);

        add_string(builder, "host", g_uri_get_host(uri));
        add_string(builder, "port", port);
    }
    json_builder_end_object(builder);
    if (path[0] == '/' && path[1])
        add_string(builder, "export", path + 1);
    return TRUE;
}

/* Where the bytes are.  Direct I/O where the file system has it. */
static gboolean
add_file(JsonBuilder *builder, const SeraiDisk *disk, gboolean *ret_direct, GError **error)
{
    gboolean readonly = disk->readonly || disk->cdrom;
    struct stat st;
    int fd;

    *ret_direct = FALSE;
    if (serai_disk_is_nbd(disk->path))
        return add_nbd(builder, disk, error);
    fd = open(disk->path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | (disk->cached ? 0 : O_DIRECT));
    *ret_direct = fd >= 0 && !disk->cached;
    if (fd < 0 && errno == EINVAL && !disk->cached)
        fd = open(disk->path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED,
                    _("Cannot open the source of disk '%s' (%s): %s."), disk->target, disk->path,
                    g_strerror(errno));
        if (fd >= 0)
            close(fd);
        return FALSE;
    }
    close(fd);
    add_string(builder, "driver", S_ISBLK(st.st_mode) ? "host_device" : "file");
    add_string(builder, "filename", disk->path);
    add_string(builder, "aio", "threads"); /* Debian's QEMU for Xen is built without the others */
    add_cache(builder, *ret_direct);
    return TRUE;
}

/* Of a disk's block node, and of the device upon it. */
static char *
node_name(const SeraiDevice *device)
{
    return g_strdup_printf("disk%d", device->devid);
}

static char *
secret_name(const SeraiDevice *device)
{
    return g_strdup_printf("disk%d-passphrase", device->devid);
}

/* How the contents are encrypted: the whole file by LUKS, or what is inside of a qcow2. */
static void
add_encryption(JsonBuilder *builder, const SeraiDisk *disk, const char *secret)
{
    if (disk->format == SERAI_DISK_RAW) {
        add_string(builder, "key-secret", secret);
        return;
    }
    json_builder_set_member_name(builder, "encrypt");
    json_builder_begin_object(builder);
    add_string(builder, "format", "luks");
    add_string(builder, "key-secret", secret);
    json_builder_end_object(builder);
}

static JsonNode *
block_node(const SeraiDevice *device, const char *name, GError **error)
{
    static const char *const drivers[] = {"raw", "qcow2", "qcow", "qed", "vmdk", "vpc", "vhdx", "vdi"};
    const SeraiDisk *disk = &device->disk;
    g_autoptr(JsonBuilder) builder = json_builder_new();
    g_autofree char *secret = secret_name(device);
    const char *discard = disk->discard ? "unmap" : "ignore";
    gboolean readonly = disk->readonly || disk->cdrom, direct;
    gboolean whole = disk->encrypted && disk->format == SERAI_DISK_RAW;

    json_builder_begin_object(builder);
    add_string(builder, "driver", whole ? "luks" : drivers[disk->format]);
    if (disk->encrypted)
        add_encryption(builder, disk, secret);
    add_string(builder, "node-name", name);
    add_boolean(builder, "read-only", readonly);
    add_string(builder, "discard", discard);
    json_builder_set_member_name(builder, "file");
    json_builder_begin_object(builder);
    if (!add_file(builder, disk, &direct, error))
        return NULL;
    add_boolean(builder, "read-only", readonly);
    add_string(builder, "discard", discard);
    json_builder_end_object(builder);
    add_cache(builder, direct);
    json_builder_end_object(builder);
    return json_builder_get_root(builder);
}

static JsonNode *
device_node(const SeraiDisk *disk, const char *name)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();

    json_builder_begin_object(builder);
    add_string(builder, "driver", disk->cdrom ? "xen-cdrom" : "xen-disk");
    add_string(builder, "id", name);
    add_string(builder, "vdev", disk->target);
    add_string(builder, "drive", name);
    add_boolean(builder, "share-rw", disk->shareable);
    json_builder_end_object(builder);
    return json_builder_get_root(builder);
}

static JsonNode *
one_member(const char *name, const char *value)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();

    json_builder_begin_object(builder);
    add_string(builder, name, value);
    json_builder_end_object(builder);
    return json_builder_get_root(builder);
}

static gboolean
run(SeraiQmp *qmp, const char *command, JsonNode *arguments, GCancellable *cancellable, GError **error)
{
    g_autoptr(JsonNode) answer = serai_qmp_run(qmp, command, arguments, cancellable, error);

    return answer != NULL;
}

/* The text is built where it can be wiped; base64 needs no quoting. */
static gboolean
add_secret(SeraiQmp *qmp, const SeraiDevice *device, GCancellable *cancellable, GError **error)
{
    static const char form[] =
        "{\"qom-type\":\"secret\",\"id\":\"%s\",\"format\":\"base64\",\"data\":\"%s\"}";
    gsize length, size;
    const guint8 *bytes = g_bytes_get_data(device->disk.passphrase, &length);
    g_autofree char *name = secret_name(device), *data = g_base64_encode(bytes, length), *text = NULL;
    g_autofree char *answer = NULL;

    size = sizeof(form) + strlen(name) + strlen(data);
    text = g_malloc(size);
    g_snprintf(text, size, form, name, data);
    /* One is left when we were killed in between. */
    run(qmp, "object-del", one_member("id", name), NULL, NULL);
    answer = serai_qmp_ask(qmp, "object-add", text, -1, cancellable, error);
    explicit_bzero(text, strlen(text));
    explicit_bzero(data, strlen(data));
    return answer != NULL;
}

/* QEMU needs the passphrase to open the image only; a guest that takes it over later finds none. */
static gboolean
add_block(SeraiQmp *qmp, const SeraiDevice *device, JsonNode *block, GCancellable *cancellable,
          GError **error)
{
    const SeraiDisk *disk = &device->disk;
    g_autofree char *secret = secret_name(device);
    gboolean done;

    if (disk->encrypted && !add_secret(qmp, device, cancellable, error)) {
        json_node_unref(block);
        g_prefix_error(error, _("Cannot open the source of disk '%s' (%s): "), disk->target, disk->path);
        return FALSE;
    }
    done = run(qmp, "blockdev-add", block, cancellable, error);
    if (!done && disk->encrypted && disk->passphrase_name)
        g_prefix_error(error, _("Cannot open the source of disk '%s' (%s) with the passphrase '%s': "),
                       disk->target, disk->path, disk->passphrase_name);
    else if (!done)
        g_prefix_error(error, _("Cannot open the source of disk '%s' (%s): "), disk->target, disk->path);
    if (disk->encrypted)
        run(qmp, "object-del", one_member("id", secret), NULL, NULL);
    return done;
}

gboolean
serai_model_add_disk(SeraiHost *host, guint domid, const SeraiDevice *device, GCancellable *cancellable,
                     GError **error)
{
    g_autofree char *name = node_name(device);
    JsonNode *block = block_node(device, name, error);
    g_autoptr(SeraiQmp) qmp = block ? serai_device_model_open(host, domid, cancellable, error) : NULL;

    if (!qmp) {
        if (block)
            g_prefix_error(error, _("Cannot serve disk '%s' (%s): "), device->disk.target, device->disk.path);
        g_clear_pointer(&block, json_node_unref);
        return FALSE;
    }
    if (!add_block(qmp, device, block, cancellable, error))
        return FALSE;
    if (run(qmp, "device_add", device_node(&device->disk, name), cancellable, error))
        return TRUE;
    run(qmp, "blockdev-del", one_member("node-name", name), NULL, NULL);
    g_prefix_error(error, _("Cannot serve disk '%s' (%s): "), device->disk.target, device->disk.path);
    return FALSE;
}

/* Whether QEMU has a block node of that name, or does not answer. */
static gboolean
has_node(SeraiQmp *qmp, const char *name)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();
    g_autoptr(JsonNode) answer = NULL;
    JsonArray *list;

    json_builder_begin_object(builder);
    add_boolean(builder, "flat", TRUE);
    json_builder_end_object(builder);
    answer = serai_qmp_run(qmp, "query-named-block-nodes", json_builder_get_root(builder), NULL, NULL);
    list = answer && JSON_NODE_HOLDS_ARRAY(answer) ? json_node_get_array(answer) : NULL;
    for (guint i = 0; list && i < json_array_get_length(list); i++) {
        JsonNode *node = json_array_get_element(list, i);

        if (JSON_NODE_HOLDS_OBJECT(node) &&
            !strcmp(json_object_get_string_member_with_default(json_node_get_object(node), "node-name", ""),
                    name))
            return TRUE;
    }
    return list == NULL;
}

/* The device goes when the guest has let go, or when its nodes are gone; the block node cannot go before it.
 */
gboolean
serai_model_remove_disk(SeraiHost *host, guint domid, const SeraiDevice *device)
{
    g_autofree char *name = node_name(device);
    g_autoptr(SeraiQmp) qmp = serai_device_model_open(host, domid, NULL, NULL);
    gint64 deadline = g_get_monotonic_time() + RELEASE_TIMEOUT;
    gulong pause = 1000;

    if (!qmp)
        return !serai_device_model_runs(host, domid);
    while (!run(qmp, "blockdev-del", one_member("node-name", name), NULL, NULL)) {
        if (!has_node(qmp, name))
            return TRUE;
        if (g_get_monotonic_time() > deadline || !serai_device_model_runs(host, domid))
            return FALSE;
        g_usleep(pause);
        pause = MIN(pause * 2, 50000);
    }
    return TRUE;
}

gboolean
serai_model_resize_disk(SeraiHost *host, guint domid, const SeraiDevice *device, guint64 bytes,
                        GError **error)
{
    g_autofree char *name = node_name(device);
    g_autoptr(SeraiQmp) qmp = serai_device_model_open(host, domid, NULL, error);
    g_autoptr(JsonBuilder) builder = json_builder_new();

    if (!qmp)
        return FALSE;
    json_builder_begin_object(builder);
    add_string(builder, "node-name", name);
    json_builder_set_member_name(builder, "size");
    json_builder_add_int_value(builder, bytes);
    json_builder_end_object(builder);
    return run(qmp, "block_resize", json_builder_get_root(builder), NULL, error);
}

/* Adds one of QEMU's counters of a block node. */
static guint64
counter(JsonObject *stats, const char *name)
{
    return MAX(0, json_object_get_int_member_with_default(stats, name, 0));
}

gboolean
serai_model_disk_stats(SeraiHost *host, guint domid, const SeraiDevice *device, SeraiDiskStats *ret_stats,
                       GError **error)
{
    g_autofree char *name = node_name(device);
    g_autoptr(SeraiQmp) qmp = serai_device_model_open(host, domid, NULL, error);
    g_autoptr(JsonNode) answer = qmp ? serai_qmp_run(qmp, "query-blockstats", NULL, NULL, error) : NULL;
    JsonArray *list = answer && JSON_NODE_HOLDS_ARRAY(answer) ? json_node_get_array(answer) : NULL;

    for (guint i = 0; list && i < json_array_get_length(list); i++) {
        JsonNode *node = json_array_get_element(list, i);
        JsonObject *entry = JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL, *stats;

        if (!entry || g_strcmp0(json_object_get_string_member_with_default(entry, "node-name", ""), name) ||
            !json_object_has_member(entry, "stats") ||
            !JSON_NODE_HOLDS_OBJECT(json_object_get_member(entry, "stats")))
            continue;
        stats = json_object_get_object_member(entry, "stats");
        *ret_stats = (SeraiDiskStats){
            .read_requests = counter(stats, "rd_operations"),
            .read_bytes = counter(stats, "rd_bytes"),
            .write_requests = counter(stats, "wr_operations"),
            .write_bytes = counter(stats, "wr_bytes"),
            .flush_requests = counter(stats, "flush_operations"),
            .discard_requests = counter(stats, "unmap_operations"),
        };
        return TRUE;
    }
    if (answer)
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_NO_DEVICE, _("QEMU does not serve disk '%s'."),
                    device->disk.target);
    return FALSE;
}
