/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a device needs of dom0 besides nodes in the store: loop devices, network links, a device model. */
#ifndef SERAI_SYSTEM_H
#define SERAI_SYSTEM_H

#include "private/private.h"

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
/* Where it listens for QMP. */
char *serai_device_model_qmp_path(SeraiHost *host, guint domid);

/* --- private/qmp.c --- */

/* Gives QEMU, which listens at @path, the password of its VNC server, and fills in the port when QEMU chose
 * it. */
gboolean serai_qmp_setup_vnc(const char *path, SeraiVfb *vfb, GCancellable *cancellable, GError **error);

#endif
