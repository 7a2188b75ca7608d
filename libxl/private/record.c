/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading and writing of records; the layout is in record.h.  No state, no locks: the store has transactions.
 */
#include "private/record.h"
#include "private/fields.h"

#include <unistd.h>

#define PIECE 2048

static char *
record_path(const char *uuid, const char *leaf)
{
    return g_strdup_printf(SERAI_RECORD_ROOT "/domain/%s%s%s", uuid, *leaf ? "/" : "", leaf);
}

/* Names may hold what a path of the store may not. */
char *
serai_record_name_key(const char *name)
{
    GString *key = g_string_new(SERAI_RECORD_ROOT "/name/");

    for (const guchar *p = (const guchar *)name; *p; p++)
        g_string_append_printf(key, "%02x", *p);
    return g_string_free(key, FALSE);
}

/* --- owners ----------------------------------------------------------------------------------- */

/* When the process started, in ticks since boot (proc(5), field 22); 0 when there is none, or a zombie. */
static guint64
start_time(guint64 pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%" G_GUINT64_FORMAT "/stat", pid);
    g_autofree char *text = NULL;
    const char *p;

    if (!g_file_get_contents(path, &text, NULL, NULL) || !(p = strrchr(text, ')')) ||
        g_str_has_prefix(p, ") Z"))
        return 0;
    for (int field = 2; field < 22 && p; field++)
        p = strchr(p + 1, ' ');
    return p ? g_ascii_strtoull(p + 1, NULL, 10) : 0;
}

static gboolean
owner_lives(const char *owner)
{
    char *end;
    guint64 pid = g_ascii_strtoull(owner, &end, 10);

    return pid && *end == ' ' && start_time(pid) == g_ascii_strtoull(end + 1, NULL, 10);
}

static char *
read_owner(SeraiHost *host, const char *uuid, const char *leaf)
{
    return serai_store_read(host->store, SERAI_RECORD_ROOT "/domain/%s/%s", uuid, leaf);
}

gboolean
serai_record_owner_lives(SeraiHost *host, const char *uuid)
{
    g_autofree char *owner = read_owner(host, uuid, "owner");

    return owner && owner_lives(owner);
}

gboolean
serai_record_save_was_cut_off(SeraiHost *host, const char *uuid)
{
    g_autofree char *owner = read_owner(host, uuid, "saving");

    return owner && !owner_lives(owner);
}

static gboolean
is_another(const char *owner)
{
    return owner && owner_lives(owner) && atoi(owner) != getpid();
}

static char *
this_process(void)
{
    return g_strdup_printf("%d %" G_GUINT64_FORMAT, getpid(), start_time(getpid()));
}

/* Nothing is written of a domain that has no record, as it is gone or not of our making. */
static gboolean
saving_step(SeraiStore *store, uint32_t transaction, gpointer root, GError **error)
{
    g_autofree char *state_path = g_strconcat(root, "/state", NULL), *state = NULL;
    g_autofree char *path = g_strconcat(root, "/saving", NULL), *saver = NULL;
    g_autofree char *owner = this_process();
    gsize size;

    saver = store->ops->read(store, transaction, path, &size);
    if (is_another(saver)) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_INVALID_STATE,
                            _("Another process is saving the domain."));
        return FALSE;
    }
    state = store->ops->read(store, transaction, state_path, &size);
    if (!state || store->ops->write(store, transaction, path, owner, strlen(owner)))
        return TRUE;
    serai_set_errno(error, errno, _("Cannot write '%s' in the store"), path);
    return FALSE;
}

gboolean
serai_record_set_saving(SeraiHost *host, const char *uuid, gboolean saving, GError **error)
{
    g_autoptr(SeraiBatch) batch = serai_batch_new(host->store);
    g_autofree char *path = record_path(uuid, "saving");

    if (!saving)
        return serai_store_remove(host->store, path, error);
    serai_batch_call(batch, saving_step, record_path(uuid, ""), g_free);
    return serai_batch_commit(batch, NULL, error);
}

static void
write_owner(SeraiBatch *batch, const char *uuid)
{
    g_autofree char *path = record_path(uuid, "owner"), *owner = this_process();

    serai_batch_write(batch, path, "%s", owner);
}

/* --- writing ---------------------------------------------------------------------------------- */

gboolean
serai_record_begin(SeraiHost *host, const SeraiConfig *config, GCancellable *cancellable, GError **error)
{
    g_autoptr(SeraiBatch) batch = serai_batch_new(host->store);
    g_autofree char *key = serai_record_name_key(config->name), *root = record_path(config->uuid, "");
    g_autofree char *state = record_path(config->uuid, "state"), *name = record_path(config->uuid, "name");
    g_autofree char *name_taken = g_strdup_printf(_("A domain named '%s' exists already."), config->name);
    g_autofree char *uuid_taken = g_strdup_printf(_("A domain with UUID %s exists already."), config->uuid);

    serai_batch_expect(batch, state, FALSE, SERAI_ERROR_EXISTS, uuid_taken);
    serai_batch_expect(batch, key, FALSE, SERAI_ERROR_EXISTS, name_taken);
    serai_batch_mkdir(batch, SERAI_RECORD_ROOT, 0, 0);
    serai_batch_mkdir(batch, root, 0, 0);
    serai_batch_write(batch, state, "building");
    write_owner(batch, config->uuid);
    serai_batch_write(batch, name, "%s", config->name);
    serai_batch_write(batch, key, "%s", config->uuid);
    return serai_batch_commit(batch, cancellable, error);
}

gboolean
serai_record_set_domid(SeraiHost *host, const char *uuid, uint32_t domid, GError **error)
{
    g_autofree char *path = record_path(uuid, "domid");

    return serai_store_write(host->store, error, path, "%u", domid);
}

void
serai_record_config(SeraiBatch *batch, const SeraiConfig *config)
{
    g_autoptr(SeraiConfig) copy = serai_config_copy(config);
    g_autofree char *data = NULL, *dir = record_path(config->uuid, "config");
    gsize length;

    g_ptr_array_set_size(copy->devices, 0);
    data = serai_config_to_data(copy);
    length = strlen(data);
    serai_batch_remove(batch, dir);
    for (gsize i = 0, pos = 0, n; pos < length; i++, pos += n) {
        g_autofree char *path = g_strdup_printf("%s/%zu", dir, i);

        n = MIN(PIECE, length - pos);
        while (pos + n < length && (data[pos + n] & 0xc0) == 0x80)
            n--; /* never inside of a character */
        serai_batch_write(batch, path, "%.*s", (int)n, data + pos);
    }
}

char *
serai_record_device_path(const char *uuid, const SeraiDevice *device)
{
    return g_strdup_printf(SERAI_RECORD_ROOT "/domain/%s/device/%d/%d", uuid, device->kind, device->devid);
}

gboolean
serai_record_device(SeraiBatch *batch, const char *uuid, const SeraiDevice *device, GError **error)
{
    g_autofree char *data = serai_device_to_data(device), *path = NULL;

    if (strlen(data) > 3500) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG,
                            _("The description of a device is too long for the store."));
        return FALSE;
    }
    path = serai_record_device_path(uuid, device);
    serai_batch_write(batch, path, "%s", data);
    return TRUE;
}

void
serai_record_device_remove(SeraiBatch *batch, const char *uuid, const SeraiDevice *device)
{
    g_autofree char *path = serai_record_device_path(uuid, device);

    serai_batch_remove(batch, path);
}

char *
serai_record_claim_path(const char *uuid, int devid)
{
    return g_strdup_printf(SERAI_RECORD_ROOT "/domain/%s/device/%d/%d/claim", uuid, SERAI_DEVICE_DISK, devid);
}

void
serai_record_ready(SeraiBatch *batch, const char *uuid)
{
    g_autofree char *state = record_path(uuid, "state"), *owner = record_path(uuid, "owner");

    serai_batch_write(batch, state, "ready");
    serai_batch_remove(batch, owner);
}

void
serai_record_remove(SeraiBatch *batch, const char *uuid, const char *name)
{
    g_autofree char *root = record_path(uuid, "");

    serai_batch_remove(batch, root);
    if (name) {
        g_autofree char *key = serai_record_name_key(name);

        serai_batch_remove(batch, key);
    }
}

void
serai_record_rename(SeraiBatch *batch, const char *uuid, const char *from, const char *to)
{
    g_autofree char *old_key = serai_record_name_key(from), *new_key = serai_record_name_key(to);
    g_autofree char *path = record_path(uuid, "name");
    g_autofree char *taken = g_strdup_printf(_("A domain named '%s' exists already."), to);

    serai_batch_expect(batch, new_key, FALSE, SERAI_ERROR_EXISTS, taken);
    serai_batch_remove(batch, old_key);
    serai_batch_write(batch, new_key, "%s", uuid);
    serai_batch_write(batch, path, "%s", to);
}

void
serai_record_expect_ready(SeraiBatch *batch, const char *uuid)
{
    g_autofree char *state = record_path(uuid, "state"), *owner = record_path(uuid, "owner");

    serai_batch_expect(batch, state, TRUE, SERAI_ERROR_NO_DOMAIN, _("The domain is gone."));
    serai_batch_expect(batch, owner, FALSE, SERAI_ERROR_INVALID_STATE,
                       _("The domain is being made or destroyed."));
}

typedef struct {
    char *root;
    int domid;
    gboolean stale;
} Destruction;

static void
destruction_free(gpointer data)
{
    g_free(((Destruction *)data)->root);
    g_free(data);
}

/* Whether the record is still the one that was meant. */
static gboolean
destroying_step(SeraiStore *store, uint32_t transaction, gpointer data, GError **error)
{
    const Destruction *d = data;
    g_autofree char *domid_path = g_strconcat(d->root, "/domid", NULL), *domid = NULL;
    g_autofree char *owner_path = g_strconcat(d->root, "/owner", NULL), *owner = NULL;
    gsize size;

    domid = store->ops->read(store, transaction, domid_path, &size);
    owner = store->ops->read(store, transaction, owner_path, &size);
    if ((!domid || d->domid < 0 || atoi(domid) == d->domid) && !(d->stale && is_another(owner)))
        return TRUE;
    g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_INVALID_STATE,
                        _("The domain is being made or destroyed."));
    return FALSE;
}

gboolean
serai_record_destroying(SeraiHost *host, const char *uuid, int domid, gboolean stale, GError **error)
{
    g_autoptr(SeraiBatch) batch = serai_batch_new(host->store);
    g_autofree char *state = record_path(uuid, "state");
    Destruction *d = g_new0(Destruction, 1);

    d->root = record_path(uuid, "");
    d->domid = domid;
    d->stale = stale;
    serai_batch_expect(batch, state, TRUE, SERAI_ERROR_NO_DOMAIN, "");
    serai_batch_call(batch, destroying_step, d, destruction_free);
    serai_batch_write(batch, state, "destroying");
    write_owner(batch, uuid);
    return serai_batch_commit(batch, NULL, error);
}

static gboolean
owner_step(SeraiStore *store, uint32_t transaction, gpointer path, GError **error)
{
    gsize size;
    g_autofree char *owner = store->ops->read(store, transaction, path, &size), *ours = this_process();

    if (!g_strcmp0(owner, ours))
        return TRUE;
    g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_NO_DOMAIN, _("The domain is gone."));
    return FALSE;
}

void
serai_record_expect_ours(SeraiBatch *batch, const char *uuid)
{
    serai_batch_call(batch, owner_step, record_path(uuid, "owner"), g_free);
}

/* --- reading ---------------------------------------------------------------------------------- */

static gint
compare_devices(gconstpointer a, gconstpointer b)
{
    const SeraiDevice *x = *(SeraiDevice *const *)a, *y = *(SeraiDevice *const *)b;

    return x->kind != y->kind ? (gint)x->kind - (gint)y->kind : x->devid - y->devid;
}

GPtrArray *
serai_record_devices(SeraiHost *host, const char *uuid)
{
    GPtrArray *devices = g_ptr_array_new_with_free_func((GDestroyNotify)serai_device_free);
    g_auto(GStrv) kinds = serai_store_list(host->store, SERAI_RECORD_ROOT "/domain/%s/device", uuid);

    for (char **kind = kinds; *kind; kind++) {
        g_auto(GStrv) ids =
            serai_store_list(host->store, SERAI_RECORD_ROOT "/domain/%s/device/%s", uuid, *kind);

        for (char **id = ids; *id; id++) {
            g_autofree char *data =
                serai_store_read(host->store, SERAI_RECORD_ROOT "/domain/%s/device/%s/%s", uuid, *kind, *id);
            SeraiDevice *device = data ? serai_device_from_data(data, NULL) : NULL;

            if (device)
                g_ptr_array_add(devices, device);
        }
    }
    g_ptr_array_sort(devices, compare_devices);
    return devices;
}

SeraiConfig *
serai_record_load(SeraiHost *host, const char *uuid, GError **error)
{
    g_autoptr(GString) data = g_string_new(NULL);
    g_autofree char *name = NULL;
    SeraiConfig *config;

    for (int i = 0; i < 1024; i++) {
        g_autofree char *piece =
            serai_store_read(host->store, SERAI_RECORD_ROOT "/domain/%s/config/%d", uuid, i);

        if (!piece)
            break;
        g_string_append(data, piece);
    }
    if (!data->len)
        return NULL;
    config = serai_config_from_data(data->str, error);
    if (!config)
        return NULL;
    name = serai_store_read(host->store, SERAI_RECORD_ROOT "/domain/%s/name", uuid);
    if (name) {
        g_free(config->name);
        config->name = g_steal_pointer(&name);
    }
    g_ptr_array_unref(config->devices);
    config->devices = serai_record_devices(host, uuid);
    return config;
}

int
serai_record_domid(SeraiHost *host, const char *uuid)
{
    return serai_store_read_number(host->store, -1, SERAI_RECORD_ROOT "/domain/%s/domid", uuid);
}

char *
serai_record_uuid_of(SeraiHost *host, const char *name)
{
    g_autofree char *key = serai_record_name_key(name);

    return serai_store_read(host->store, "%s", key);
}
