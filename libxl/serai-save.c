/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Saving and restoring.  An image is a header of ours, then a migration stream.  All numbers are
 * little-endian.
 *
 *   offset  size
 *        0    16  "SeraiSavedDomain"
 *       16     4  version: 1
 *       20     4  size of the header with all that follows in it: where the stream begins; a multiple of 4096
 *       24     4  size of the description
 *       28     4  size of the caller's bytes (metadata)
 *       32     4  room for the caller's bytes
 *       36     4  CRC-32 of the description
 *       40     4  CRC-32 of the caller's bytes
 *       44    20  zero
 *       64        the description, as serai_config_to_data() writes it
 *         ...     the caller's bytes, on a multiple of 8
 *         ...     zeros up to the size of the header
 *
 * The stream is what the public specification of Xen's migration stream (version 3, "libxc migration stream")
 * says, for an x86 PV guest: image header (big-endian), domain header, then records of { type, length, body
 * padded to 8 }:
 *
 *   X86_PV_INFO, X86_CPUID_POLICY, X86_MSR_POLICY, STATIC_DATA_END     what never changes
 *   X86_PV_P2M_FRAMES                                                  size of the guest, and where its own
 * list is PAGE_DATA ...                                                      up to 1024 pages each; tables
 * with pseudo-physical numbers X86_TSC_INFO, SHARED_INFO X86_PV_VCPU_BASIC, _EXTENDED, _XSAVE, _MSRS for each
 * vCPU that is online END
 *
 * Streams of version 2 are read too.  No locks.
 */
#include "private/create.h"
#include "private/domain.h"
#include "private/guest-state.h"
#include "private/record.h"
#include "private/restore.h"

#include <unistd.h>
#include <zlib.h>

#define MAGIC         "SeraiSavedDomain"
#define VERSION       1
#define METADATA_ROOM (64U << 10)
#define HEADER_MAX    (64U << 20)

/* A guest that is busy takes its time to put all its devices to sleep. */
#define SUSPEND_TIMEOUT (60 * G_USEC_PER_SEC)

typedef struct {
    char magic[16];
    guint32 version;
    guint32 header_size;
    guint32 config_size;
    guint32 metadata_size;
    guint32 metadata_room;
    guint32 config_crc;
    guint32 metadata_crc;
    guint32 reserved[5];
} Header;
G_STATIC_ASSERT(sizeof(Header) == 64);

/* --- the header ------------------------------------------------------------------------------- */

static guint32
checksum(const void *data, gsize size)
{
    return crc32(crc32(0, NULL, 0), data, size);
}

static gsize
metadata_offset(const Header *header)
{
    return (sizeof(*header) + header->config_size + 7) & ~(gsize)7;
}

static gboolean
write_header(int fd, const SeraiConfig *config, GBytes *metadata, GCancellable *cancellable, GError **error)
{
    g_autofree char *text = serai_config_to_data(config);
    g_autofree guint8 *image = NULL;
    gsize size = 0;
    const void *bytes = metadata ? g_bytes_get_data(metadata, &size) : NULL;
    Header header = {.magic = MAGIC, .version = VERSION};

    if (size > HEADER_MAX / 4 || strlen(text) > HEADER_MAX / 4) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG,
                            _("The description or the caller's data are too long for an image."));
        return FALSE;
    }
    header.config_size = strlen(text);
    header.config_crc = checksum(text, header.config_size);
    header.metadata_size = size;
    header.metadata_crc = checksum(bytes, size);
    header.header_size = (metadata_offset(&header) + size + METADATA_ROOM + 4095) & ~4095U;
    header.metadata_room = header.header_size - metadata_offset(&header);
    image = g_malloc0(header.header_size);
    memcpy(image, &header, sizeof(header));
    memcpy(image + sizeof(header), text, header.config_size);
    if (size)
        memcpy(image + metadata_offset(&header), bytes, size);
    return serai_write_all(fd, image, header.header_size, cancellable, error);
}

static gboolean
damaged(GError **error, const char *what)
{
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_IMAGE, "%s", what);
    return FALSE;
}

/* Reads and checks the fixed part, and then the rest into @ret_rest, which begins behind the fixed part. */
static gboolean
read_header(int fd, Header *header, guint8 **ret_rest, GError **error)
{
    g_autofree guint8 *rest = NULL;

    if (!serai_read_all(fd, header, sizeof(*header), NULL, error))
        return FALSE;
    if (memcmp(header->magic, MAGIC, sizeof(header->magic)))
        return damaged(error, _("This is no image of a saved domain."));
    if (header->version != VERSION)
        return damaged(error, _("The image is of a version that is not known here."));
    if (header->header_size > HEADER_MAX || header->header_size % 4096 ||
        header->config_size > header->header_size || header->metadata_room > header->header_size ||
        header->metadata_size > header->metadata_room ||
        metadata_offset(header) + header->metadata_room > header->header_size)
        return damaged(error, _("The header of the image is damaged."));
    rest = g_malloc(header->header_size - sizeof(*header) + 1);
    if (!serai_read_all(fd, rest, header->header_size - sizeof(*header), NULL, error))
        return FALSE;
    if (checksum(rest, header->config_size) != header->config_crc ||
        checksum(rest + metadata_offset(header) - sizeof(*header), header->metadata_size) !=
            header->metadata_crc)
        return damaged(error, _("The header of the image is damaged."));
    *ret_rest = g_steal_pointer(&rest);
    return TRUE;
}

gboolean
serai_save_read_header(int fd, SeraiConfig **ret_config, GBytes **ret_metadata, GError **error)
{
    g_autofree guint8 *rest = NULL;
    g_autofree char *text = NULL;
    g_autoptr(SeraiConfig) config = NULL;
    Header header;

    if (!read_header(fd, &header, &rest, error))
        return FALSE;
    text = g_strndup((char *)rest, header.config_size);
    config = serai_config_from_data(text, error);
    if (!config)
        return FALSE;
    if (ret_config)
        *ret_config = g_steal_pointer(&config);
    if (ret_metadata)
        *ret_metadata = g_bytes_new(rest + metadata_offset(&header) - sizeof(header), header.metadata_size);
    return TRUE;
}

gboolean
serai_save_replace_metadata(int fd, GBytes *metadata, GError **error)
{
    g_autofree guint8 *rest = NULL, *area = NULL;
    off_t start = lseek(fd, 0, SEEK_CUR);
    gsize size, area_size;
    const void *bytes = g_bytes_get_data(metadata, &size);
    Header header;

    if (start < 0) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED, _("The image is not a file."));
        return FALSE;
    }
    if (!read_header(fd, &header, &rest, error))
        return FALSE;
    if (size > header.metadata_room) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED,
                            _("The image has no room for so many data."));
        return FALSE;
    }
    header.metadata_size = size;
    header.metadata_crc = checksum(bytes, size);
    /* One write of everything, so that a crash leaves a header whose checksum tells. */
    area_size = metadata_offset(&header) + header.metadata_room;
    area = g_malloc0(area_size);
    memcpy(area, &header, sizeof(header));
    memcpy(area + sizeof(header), rest, header.config_size);
    memcpy(area + metadata_offset(&header), bytes, size);
    if (lseek(fd, start, SEEK_SET) < 0 || !serai_write_all(fd, area, area_size, NULL, error) ||
        fsync(fd) < 0 || lseek(fd, start, SEEK_SET) < 0) {
        if (error && !*error)
            serai_set_errno(error, errno, _("Cannot write the image"));
        return FALSE;
    }
    return TRUE;
}

/* --- putting a guest to sleep and waking it --------------------------------------------------- */

static gboolean
is_suspended(SeraiDomain *domain, gboolean *ret_suspended, GError **error)
{
    xen_domctl_getdomaininfo_t info;
    guint reason;

    *ret_suspended = FALSE;
    if (!serai_domain_raw_info(domain, &info, error))
        return FALSE;
    if (!(info.flags & XEN_DOMINF_shutdown))
        return TRUE;
    reason = info.flags >> XEN_DOMINF_shutdownshift & XEN_DOMINF_shutdownmask;
    if (reason == SHUTDOWN_suspend) {
        *ret_suspended = TRUE;
        return TRUE;
    }
    g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_INVALID_STATE,
                        _("The guest stopped instead of suspending."));
    return FALSE;
}

/* Wakes a suspended guest where it fell asleep: its suspend call returns 1, "cancelled". */
static gboolean
wake(SeraiDomain *domain, GError **error)
{
    g_autofree vcpu_guest_context_t *context = g_new0(vcpu_guest_context_t, 1);
    SeraiHv *hv = domain->host->hv;

    if (!serai_hv_get_context(hv, domain->domid, 0, context, error))
        return FALSE;
    context->user_regs.rax = 1;
    if (!serai_hv_set_context(hv, domain->domid, 0, context, error) ||
        !serai_hv_resume_domain(hv, domain->domid, error))
        return FALSE;
    domain->host->store->ops->resume(domain->host->store, domain->domid);
    return TRUE;
}

static gboolean
retract_step(SeraiStore *store, uint32_t transaction, gpointer path, GError **error)
{
    gsize size;
    g_autofree char *request = store->ops->read(store, transaction, path, &size);

    if (request && !strcmp(request, "suspend"))
        return store->ops->write(store, transaction, path, "", 0);
    g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_FAILED, "");
    return FALSE;
}

/* Takes the request back; TRUE when the guest had not seen it, which acknowledges by such a transaction. */
static gboolean
retract(SeraiDomain *domain)
{
    g_autoptr(SeraiBatch) batch = serai_batch_new(domain->host->store);

    serai_batch_call(batch, retract_step, g_strdup_printf("/local/domain/%u/control/shutdown", domain->domid),
                     g_free);
    return serai_batch_commit(batch, NULL, NULL);
}

static gboolean
suspend(SeraiDomain *domain, SeraiProgress *progress, GCancellable *cancellable, GError **error)
{
    g_auto(SeraiWaiter) waiter = {0};
    gint64 deadline = g_get_monotonic_time() + SUSPEND_TIMEOUT;
    gboolean suspended;

    serai_progress(progress, SERAI_STAGE_GUEST, 0, 0);
    if (!is_suspended(domain, &suspended, error))
        return FALSE;
    if (suspended)
        return TRUE;
    serai_waiter_init(&waiter, domain->host->store);
    if (!serai_waiter_add(&waiter, "@releaseDomain", error) || !serai_domain_ask(domain, "suspend", error) ||
        !serai_hv_unpause_domain(domain->host->hv, domain->domid, error))
        return FALSE;
    for (;;) {
        g_autoptr(GError) local = NULL;

        if (!is_suspended(domain, &suspended, error))
            return FALSE;
        if (suspended)
            return TRUE;
        if (serai_waiter_wait(&waiter, deadline, cancellable, &local))
            continue;
        /* A guest that is about to sleep cannot be stopped any more; it must be waited for and woken. */
        if (!retract(domain)) {
            gint64 grace = g_get_monotonic_time() + SUSPEND_TIMEOUT;

            while (is_suspended(domain, &suspended, NULL) && !suspended &&
                   serai_waiter_wait(&waiter, grace, NULL, NULL))
                ;
            if (suspended)
                wake(domain, NULL);
        }
        if (g_error_matches(local, SERAI_ERROR, SERAI_ERROR_TIMED_OUT))
            g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_GUEST_REFUSED,
                                _("The guest does not suspend itself."));
        else
            g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
}

gboolean
serai_domain_wake(SeraiDomain *domain, GError **error)
{
    gboolean suspended, done;

    /* Ours meanwhile, so that nobody begins to save what wakes up. */
    if (!serai_record_set_saving(domain->host, domain->uuid, TRUE, error))
        return FALSE;
    retract(domain);
    done = is_suspended(domain, &suspended, error) && (!suspended || wake(domain, error));
    return serai_record_set_saving(domain->host, domain->uuid, FALSE, done ? error : NULL) && done;
}

/* --- saving ----------------------------------------------------------------------------------- */

static gboolean
write_image(SeraiDomain *domain, int fd, GBytes *metadata, SeraiProgress *progress, GCancellable *cancellable,
            GError **error)
{
    g_autoptr(SeraiConfig) config = serai_domain_get_config(domain, error);

    if (!config || !write_header(fd, config, metadata, cancellable, error) ||
        !serai_stream_save(domain->host->hv, domain->domid, fd, progress, cancellable, error))
        return FALSE;
    serai_progress(progress, SERAI_STAGE_FINISH, 0, 0);
    /* The domain dies next, so its image must be safe; a pipe or socket is somebody else's to make safe. */
    if (fsync(fd) < 0 && errno != EINVAL && errno != EROFS && errno != ENOTSUP) {
        serai_set_errno(error, errno, _("Cannot write the image"));
        return FALSE;
    }
    return TRUE;
}

/* What a device of the machine is in the middle of cannot be written down. */
static gboolean
check_devices(SeraiDomain *domain, GError **error)
{
    g_autoptr(GPtrArray) devices = serai_record_devices(domain->host, domain->uuid);

    for (guint i = 0; i < devices->len; i++) {
        const SeraiDevice *device = devices->pdata[i];

        if (device->kind != SERAI_DEVICE_PCI)
            continue;
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED,
                    _("It has PCI device '%s' of the machine, which must be detached first."),
                    device->pci.address);
        return FALSE;
    }
    return TRUE;
}

gboolean
serai_domain_save_sync(SeraiDomain *domain, int fd, GBytes *metadata, SeraiSaveFlags flags,
                       GCancellable *cancellable, SeraiProgressFunc progress, gpointer progress_data,
                       GError **error)
{
    SeraiProgress p = {.func = progress, .data = progress_data};
    g_autofree char *name = serai_domain_dup_name(domain);
    xen_domctl_getdomaininfo_t info;
    gboolean ours = serai_domain_raw_info(domain, &info, error) && check_devices(domain, error) &&
                    serai_record_set_saving(domain->host, domain->uuid, TRUE, error);
    gboolean asleep = ours && suspend(domain, &p, cancellable, error);
    gboolean ok = asleep && write_image(domain, fd, metadata, &p, cancellable, error);

    if (ours && (!ok || flags & SERAI_SAVE_KEEP_RUNNING)) {
        /* It was let run to fall asleep. */
        if (info.flags & XEN_DOMINF_paused)
            serai_hv_pause_domain(domain->host->hv, domain->domid, NULL);
        if (asleep && !wake(domain, ok ? error : NULL))
            ok = FALSE;
        serai_record_set_saving(domain->host, domain->uuid, FALSE, NULL);
    }
    /* One that sleeps on does so for us: the mark stays, so that it goes on if we die before it is destroyed.
     */
    if (ok && !(flags & (SERAI_SAVE_KEEP_RUNNING | SERAI_SAVE_KEEP_SUSPENDED)))
        ok = serai_domain_destroy_sync(domain, NULL, error);
    if (!ok)
        g_prefix_error(error, _("Cannot save domain '%s': "), name);
    return ok;
}

/* --- restoring -------------------------------------------------------------------------------- */

static gboolean
check_same(const SeraiConfig *saved, const SeraiConfig *config, GError **error)
{
    if (saved->type == config->type && saved->max_vcpus == config->max_vcpus &&
        saved->max_memory_kib == config->max_memory_kib)
        return TRUE;
    g_set_error_literal(
        error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG,
        _("The domain differs from the saved one in its type, its memory or its number of vCPUs."));
    return FALSE;
}

SeraiDomain *
serai_domain_restore_sync(SeraiHost *host, const SeraiConfig *config, int fd, GCancellable *cancellable,
                          SeraiProgressFunc progress, gpointer progress_data, GError **error)
{
    SeraiProgress p = {.func = progress, .data = progress_data};
    g_autoptr(SeraiConfig) saved = NULL;

    if (!serai_save_read_header(fd, &saved, NULL, error) || (config && !check_same(saved, config, error))) {
        g_prefix_error(error, _("Cannot restore a domain: "));
        return NULL;
    }
    return serai_create(host, config ? config : saved, serai_stream_restore, &fd, &p, cancellable, error);
}

/* --- dumping ---------------------------------------------------------------------------------- */

gboolean
serai_domain_dump_sync(SeraiDomain *domain, int fd, SeraiDumpFlags flags, GCancellable *cancellable,
                       SeraiProgressFunc progress, gpointer progress_data, GError **error)
{
    SeraiProgress p = {.func = progress, .data = progress_data};
    SeraiHv *hv = domain->host->hv;
    xen_domctl_getdomaininfo_t info;
    gboolean stopped = FALSE, ok = serai_domain_raw_info(domain, &info, error);

    if (ok && !(flags & SERAI_DUMP_LIVE) && !(info.flags & XEN_DOMINF_paused))
        stopped = ok = serai_hv_pause_domain(hv, domain->domid, error);
    if (ok && flags & SERAI_DUMP_KDUMP)
        ok = serai_kdump_write(hv, domain->domid, fd, &p, cancellable, error);
    else if (ok)
        ok = serai_dump_write(hv, domain->domid, fd, &p, cancellable, error);
    if (ok && flags & SERAI_DUMP_CRASH)
        ok = serai_hv_shutdown_domain(hv, domain->domid, SHUTDOWN_crash, error);
    if (stopped && !serai_hv_unpause_domain(hv, domain->domid, ok ? error : NULL))
        ok = FALSE;
    if (!ok) {
        g_autofree char *name = serai_domain_dup_name(domain);

        g_prefix_error(error, _("Cannot dump domain '%s': "), name);
    }
    return ok;
}

/* --- the asynchronous three ------------------------------------------------------------------- */

typedef struct {
    int fd;
    guint flags;
    GBytes *metadata;
    SeraiConfig *config;
} SaveArgs;

static void
save_args_free(gpointer data)
{
    SaveArgs *args = data;

    g_clear_pointer(&args->metadata, g_bytes_unref);
    serai_config_free(args->config);
    g_free(args);
}

static gpointer
save_job(gpointer object, gpointer data, GCancellable *cancellable, SeraiProgressFunc progress,
         gpointer progress_data, GError **error)
{
    SaveArgs *a = data;

    return GINT_TO_POINTER(serai_domain_save_sync(object, a->fd, a->metadata, a->flags, cancellable, progress,
                                                  progress_data, error));
}

static gpointer
restore_job(gpointer object, gpointer data, GCancellable *cancellable, SeraiProgressFunc progress,
            gpointer progress_data, GError **error)
{
    SaveArgs *a = data;

    return serai_domain_restore_sync(object, a->config, a->fd, cancellable, progress, progress_data, error);
}

static gpointer
dump_job(gpointer object, gpointer data, GCancellable *cancellable, SeraiProgressFunc progress,
         gpointer progress_data, GError **error)
{
    SaveArgs *a = data;

    return GINT_TO_POINTER(
        serai_domain_dump_sync(object, a->fd, a->flags, cancellable, progress, progress_data, error));
}

static SaveArgs *
save_args(int fd, guint flags, GBytes *metadata, const SeraiConfig *config)
{
    SaveArgs *args = g_new0(SaveArgs, 1);

    args->fd = fd;
    args->flags = flags;
    args->metadata = metadata ? g_bytes_ref(metadata) : NULL;
    args->config = config ? serai_config_copy(config) : NULL;
    return args;
}

void
serai_domain_save_async(SeraiDomain *domain, int fd, GBytes *metadata, SeraiSaveFlags flags,
                        GCancellable *cancellable, SeraiProgressFunc progress, gpointer progress_data,
                        GDestroyNotify progress_destroy, GAsyncReadyCallback callback, gpointer user_data)
{
    serai_job_start(domain, serai_domain_save_async, save_job, save_args(fd, flags, metadata, NULL),
                    save_args_free, NULL, cancellable, progress, progress_data, progress_destroy, callback,
                    user_data);
}

gboolean
serai_domain_save_finish(SeraiDomain *domain, GAsyncResult *result, GError **error)
{
    return serai_job_finish(domain, serai_domain_save_async, result, error) != NULL;
}

void
serai_domain_restore_async(SeraiHost *host, const SeraiConfig *config, int fd, GCancellable *cancellable,
                           SeraiProgressFunc progress, gpointer progress_data,
                           GDestroyNotify progress_destroy, GAsyncReadyCallback callback, gpointer user_data)
{
    serai_job_start(host, serai_domain_restore_async, restore_job, save_args(fd, 0, NULL, config),
                    save_args_free, g_object_unref, cancellable, progress, progress_data, progress_destroy,
                    callback, user_data);
}

SeraiDomain *
serai_domain_restore_finish(SeraiHost *host, GAsyncResult *result, GError **error)
{
    return serai_job_finish(host, serai_domain_restore_async, result, error);
}

void
serai_domain_dump_async(SeraiDomain *domain, int fd, SeraiDumpFlags flags, GCancellable *cancellable,
                        SeraiProgressFunc progress, gpointer progress_data, GDestroyNotify progress_destroy,
                        GAsyncReadyCallback callback, gpointer user_data)
{
    serai_job_start(domain, serai_domain_dump_async, dump_job, save_args(fd, flags, NULL, NULL),
                    save_args_free, NULL, cancellable, progress, progress_data, progress_destroy, callback,
                    user_data);
}

gboolean
serai_domain_dump_finish(SeraiDomain *domain, GAsyncResult *result, GError **error)
{
    return serai_job_finish(domain, serai_domain_dump_async, result, error) != NULL;
}
