/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a device needs of dom0 besides nodes in the store: loop devices, network links, a device model. */
#ifndef SERAI_SYSTEM_H
#define SERAI_SYSTEM_H

#include "private/private.h"

/* --- private/image-lock.c --------------------------------------------------------------------- */

/* Locks an image as its disk wants it: against other writers unless it is shareable, and a disk that is
 * only read locks less.  The locks last as long as anybody has this open file, a loop device too. */
gboolean serai_image_lock(int fd, const SeraiDisk *disk, GError **error);

/* --- private/loop.c --------------------------------------------------------------------------- */

/*
 * Opens a disk for the kernel's backend.  A block device is taken as it is; a file gets a loop device that
 * goes away by itself with its last user, so nothing is left when we die.  @ret_fd keeps it alive until the
 * backend has opened it.
 */
gboolean serai_loop_open(const SeraiDisk *disk, int *ret_fd, dev_t *ret_device, GError **error);
/* Makes a loop device see that its file has grown; the file grows to @bytes first.  A block device needs
 * nothing. */
gboolean serai_loop_resize(const char *path, dev_t device, guint64 bytes, GError **error);

/* --- private/link.c --------------------------------------------------------------------------- */

/* Connects dom0's end of a NIC and puts it up; its name becomes nic->ifname when that is set. */
gboolean serai_link_setup(const char *vif, const SeraiNic *nic, GError **error);
/* Changes what can be changed on a link that is set up. */
gboolean serai_link_update(const char *name, const SeraiNic *was, const SeraiNic *nic, GError **error);
/* Removes what a link leaves behind: a port of Open vSwitch. */
void serai_link_forget(const char *name, const SeraiNic *nic);
/* FALSE when the bridge of @nic is not there. */
gboolean serai_link_check(const SeraiNic *nic, GError **error);

/* --- private/device-model.c ------------------------------------------------------------------- */

/* Starts QEMU for a PV domain's disks and frame buffer, and waits until it serves.  Fills in @config what
 * QEMU chose: the port of a VNC server. */
gboolean serai_device_model_start(SeraiHost *host, guint domid, SeraiConfig *config,
                                  GCancellable *cancellable, GError **error);
/* Ends it.  Harmless when there is none. */
void serai_device_model_stop(SeraiHost *host, guint domid);
gboolean serai_device_model_runs(SeraiHost *host, guint domid);
/* Its process number, or 0. */
pid_t serai_device_model_pid(SeraiHost *host, guint domid);
/* Where it listens for QMP. */
char *serai_device_model_qmp_path(SeraiHost *host, guint domid);

/* Has the host tell when it dies. */
void serai_device_model_watch(SeraiHost *host, guint domid);

/* --- private/model-disk.c --------------------------------------------------------------------- */

gboolean serai_disk_is_nbd(const char *path);
/* Has QEMU serve a disk whose frontend is in the store; afterwards its backend is in InitWait. */
gboolean serai_model_add_disk(SeraiHost *host, guint domid, const SeraiDevice *device,
                              GCancellable *cancellable, GError **error);
/* Waits until QEMU has let go of a disk whose guest has; FALSE when it does not. */
gboolean serai_model_remove_disk(SeraiHost *host, guint domid, const SeraiDevice *device);
gboolean serai_model_resize_disk(SeraiHost *host, guint domid, const SeraiDevice *device, guint64 bytes,
                                 GError **error);
gboolean serai_model_disk_stats(SeraiHost *host, guint domid, const SeraiDevice *device,
                                SeraiDiskStats *ret_stats, GError **error);

#endif
