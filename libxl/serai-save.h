/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A domain as a file: save, restore, core dump.  The format is described in serai-save.c. */
#ifndef SERAI_SAVE_H
#define SERAI_SAVE_H

#include <serai-domain.h>

G_BEGIN_DECLS

/**
 * SeraiSaveFlags:
 * @SERAI_SAVE_NONE: the domain is destroyed once everything is written and safe on disk.
 * @SERAI_SAVE_KEEP_RUNNING: the domain goes on after it was saved.
 * @SERAI_SAVE_KEEP_SUSPENDED: the domain stays as it was saved, suspended; the caller destroys it, or lets it
 * go on with serai_domain_wake().  If the caller dies before, serai_host_recover_sync() lets it go on.
 *
 * What becomes of a domain that was saved.  When saving fails it goes on in any case.
 */
typedef enum { /*< flags >*/
               SERAI_SAVE_NONE = 0,
               SERAI_SAVE_KEEP_RUNNING = 1 << 0,
               SERAI_SAVE_KEEP_SUSPENDED = 1 << 1,
} SeraiSaveFlags;

/**
 * serai_domain_save_async:
 * @domain: a domain that runs or is paused.
 * @fd: an open file, pipe or socket, written from where it stands; belongs to the caller and is not closed.
 * @metadata: (nullable): bytes of the caller, kept at the start of the image: the driver's XML, say.
 * @flags: what becomes of the domain.
 * @cancellable: (nullable): to stop it; the domain then goes on.
 * @progress: (nullable) (scope notified) (closure progress_data): %SERAI_STAGE_GUEST until the guest has
 *   suspended,
 *   then %SERAI_STAGE_MEMORY in bytes.
 * @progress_data: for @progress.
 * @progress_destroy: (nullable): releases @progress_data.
 * @callback: called when done.
 * @user_data: for @callback.
 *
 * Has the guest suspend itself and writes it out.  A domain that was paused is unpaused for the moment the
 * guest needs
 * to suspend; it is up to the caller to start it paused after serai_domain_restore_async().
 */
void serai_domain_save_async(SeraiDomain *domain, int fd, GBytes *metadata, SeraiSaveFlags flags,
                             GCancellable *cancellable, SeraiProgressFunc progress, gpointer progress_data,
                             GDestroyNotify progress_destroy, GAsyncReadyCallback callback,
                             gpointer user_data);
/**
 * serai_domain_save_finish:
 * @domain: a domain.
 * @result: what the callback was given.
 * @error: where the reason goes.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_save_finish(SeraiDomain *domain, GAsyncResult *result, GError **error);

/**
 * serai_domain_wake:
 * @domain: a domain that suspended itself for a save.
 * @error: where the reason goes.
 *
 * Lets a domain go on that was left with %SERAI_SAVE_KEEP_SUSPENDED, or whose save was cut off.  Its memory
 * is as it was, so what was saved of it must not be restored any more.  A request to suspend that the guest
 * has not seen yet is taken back.  Nothing happens to a domain that does not sleep.
 *
 * Returns: %TRUE on success, %FALSE with %SERAI_ERROR_INVALID_STATE while another process saves it.
 */
gboolean serai_domain_wake(SeraiDomain *domain, GError **error);

/**
 * serai_domain_save_sync:
 * @domain: a domain.
 * @fd: an open file, pipe or socket; belongs to the caller.
 * @metadata: (nullable): bytes of the caller.
 * @flags: how.
 * @cancellable: (nullable): to stop it.
 * @progress: (nullable) (scope call) (closure progress_data): to be told how far it is.
 * @progress_data: for @progress.
 * @error: where the reason goes.
 *
 * serai_domain_save_async() for a worker thread.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_save_sync(SeraiDomain *domain, int fd, GBytes *metadata, SeraiSaveFlags flags,
                                GCancellable *cancellable, SeraiProgressFunc progress, gpointer progress_data,
                                GError **error);

/**
 * serai_domain_restore_async:
 * @host: a host.
 * @config: (nullable): what the domain should be; memory, vCPUs and type must be as they were.  %NULL for the
 *   description inside the image.
 * @fd: an open file, pipe or socket that stands at the start of an image; belongs to the caller.
 * @cancellable: (nullable): to stop it.
 * @progress: (nullable) (scope notified) (closure progress_data): to be told how far it is.
 * @progress_data: for @progress.
 * @progress_destroy: (nullable): releases @progress_data.
 * @callback: called when done.
 * @user_data: for @callback.
 *
 * Makes a domain from an image, paused.  A failure leaves nothing behind.
 */
void serai_domain_restore_async(SeraiHost *host, const SeraiConfig *config, int fd, GCancellable *cancellable,
                                SeraiProgressFunc progress, gpointer progress_data,
                                GDestroyNotify progress_destroy, GAsyncReadyCallback callback,
                                gpointer user_data);
/**
 * serai_domain_restore_finish:
 * @host: a host.
 * @result: what the callback was given.
 * @error: where the reason goes.
 *
 * Returns: (transfer full): the domain, or %NULL.
 */
SeraiDomain *serai_domain_restore_finish(SeraiHost *host, GAsyncResult *result, GError **error);

/**
 * serai_domain_restore_sync:
 * @host: a host.
 * @config: what the domain should be.
 * @fd: an open file, pipe or socket; belongs to the caller.
 * @cancellable: (nullable): to stop it.
 * @progress: (nullable) (scope call) (closure progress_data): to be told how far it is.
 * @progress_data: for @progress.
 * @error: where the reason goes.
 *
 * serai_domain_restore_async() for a worker thread.
 *
 * Returns: (transfer full): the domain, or %NULL.
 */
SeraiDomain *serai_domain_restore_sync(SeraiHost *host, const SeraiConfig *config, int fd,
                                       GCancellable *cancellable, SeraiProgressFunc progress,
                                       gpointer progress_data, GError **error);

/**
 * serai_save_read_header:
 * @fd: an open file, pipe or socket that stands at the start of an image; it stands behind the header
 *   afterwards.
 * @ret_config: (out) (optional): the description the domain had.
 * @ret_metadata: (out) (optional): the caller's bytes.
 * @error: where the reason goes.
 *
 * Reads what an image says about itself.
 *
 * Returns: %TRUE, or %FALSE with %SERAI_ERROR_INVALID_IMAGE or %SERAI_ERROR_IO.
 */
gboolean serai_save_read_header(int fd, SeraiConfig **ret_config, GBytes **ret_metadata, GError **error);

/**
 * serai_save_replace_metadata:
 * @fd: an image file, open for reading and writing, that stands at the start of the image.
 * @metadata: new bytes of the caller.
 * @error: where the reason goes.
 *
 * Replaces the caller's bytes in place.  Images are written with at least 64 KiB to spare for this.
 *
 * Returns: %TRUE, or %FALSE with %SERAI_ERROR_UNSUPPORTED when there is no room.
 */
gboolean serai_save_replace_metadata(int fd, GBytes *metadata, GError **error);

/**
 * SeraiDumpFlags:
 * @SERAI_DUMP_NONE: pause the domain, dump it, let it go on.
 * @SERAI_DUMP_LIVE: do not pause it; the dump may contradict itself.
 * @SERAI_DUMP_CRASH: treat the domain as crashed once it is dumped.
 * @SERAI_DUMP_KDUMP: write the compressed format of kdump, of a machine without a hypervisor, instead of the
 *   ELF format of Xen.
 *
 * How memory is dumped.
 */
typedef enum { /*< flags >*/
               SERAI_DUMP_NONE = 0,
               SERAI_DUMP_LIVE = 1 << 0,
               SERAI_DUMP_CRASH = 1 << 1,
               SERAI_DUMP_KDUMP = 1 << 2,
} SeraiDumpFlags;

/**
 * serai_domain_dump_async:
 * @domain: a domain.
 * @fd: an open file, written from where it stands; belongs to the caller.
 * @flags: how.
 * @cancellable: (nullable): to stop it.
 * @progress: (nullable) (scope notified) (closure progress_data): to be told how far it is.
 * @progress_data: for @progress.
 * @progress_destroy: (nullable): releases @progress_data.
 * @callback: called when done.
 * @user_data: for @callback.
 *
 * Writes memory and registers as an ELF file that crash and gdb read, or with %SERAI_DUMP_KDUMP as what kdump
 * leaves of a machine.  Into a pipe or socket that one goes in its flattened form, of which makedumpfile -R
 * makes a file.
 */
void serai_domain_dump_async(SeraiDomain *domain, int fd, SeraiDumpFlags flags, GCancellable *cancellable,
                             SeraiProgressFunc progress, gpointer progress_data,
                             GDestroyNotify progress_destroy, GAsyncReadyCallback callback,
                             gpointer user_data);
/**
 * serai_domain_dump_finish:
 * @domain: a domain.
 * @result: what the callback was given.
 * @error: where the reason goes.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_dump_finish(SeraiDomain *domain, GAsyncResult *result, GError **error);

/**
 * serai_domain_dump_sync:
 * @domain: a domain.
 * @fd: an open file, pipe or socket; belongs to the caller.
 * @flags: how.
 * @cancellable: (nullable): to stop it.
 * @progress: (nullable) (scope call) (closure progress_data): to be told how far it is.
 * @progress_data: for @progress.
 * @error: where the reason goes.
 *
 * serai_domain_dump_async() for a worker thread.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_dump_sync(SeraiDomain *domain, int fd, SeraiDumpFlags flags, GCancellable *cancellable,
                                SeraiProgressFunc progress, gpointer progress_data, GError **error);

G_END_DECLS

#endif
