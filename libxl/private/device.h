/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Devices in the system: from descriptions to frontend/backend pairs that are ready, and back. */
#ifndef SERAI_DEVICE_PRIVATE_H
#define SERAI_DEVICE_PRIVATE_H

#include "private/host.h"

/* One device on its way into a domain. */
typedef struct {
    SeraiDevice *device; /* ours, with its number chosen */
    char *frontend;      /* paths in the store */
    char *backend;
    char *bus_name; /* "vbd-3-51712", as the kernel names it, or NULL */
    int fd;         /* keeps a loop device until the backend has it, or -1 */
    dev_t node;
    dev_t block; /* the block device of the host that the disk is, or 0 */
    gboolean ready;
    /* Of a PCI device. */
    SeraiHost *host; /* when the device is the guest's already, so that it may have to be taken back */
    guint domid;
    guint bus_length;        /* numbers on the bus, this one included */
    gboolean joins_bus;      /* another device has made the bus */
    gboolean joins_live_bus; /* and the guest may know it */
} SeraiAttach;

/*
 * Takes what the devices need of dom0 (files, loop devices) and chooses their numbers; @present are those
 * that the domain has already, or NULL.  Freeing the result gives everything back that no backend holds by
 * then.
 */
GPtrArray *serai_devices_prepare(SeraiHost *host, guint domid, GPtrArray *devices, GPtrArray *present,
                                 GError **error);
/* Adds the nodes of all devices, and their records. */
gboolean serai_devices_nodes(SeraiHost *host, GPtrArray *attaches, guint domid, const char *uuid,
                             SeraiBatch *batch, GError **error);
/* Adds the claim of a disk on @block to its nodes: the commit fails when another guest has it. */
void serai_disk_claim(SeraiBatch *batch, SeraiHost *host, guint domid, const char *uuid,
                      const SeraiDevice *device, dev_t block);
/* Adds its end, before the record goes. */
void serai_disk_give_back(SeraiBatch *batch, const char *uuid, const SeraiDevice *device);
/* Once the nodes are there: tells QEMU of its disks, waits for all backends at once and connects the NICs. */
gboolean serai_devices_wait(SeraiHost *host, guint domid, GPtrArray *attaches, SeraiProgress *progress,
                            GCancellable *cancellable, GError **error);
/* Whether a device is served by QEMU. */
gboolean serai_device_needs_model(const SeraiDevice *device);
gboolean serai_device_is_model_disk(const SeraiDevice *device);
/* Whether it is a CD-ROM drive without a disc, which has no nodes. */
gboolean serai_device_is_empty(const SeraiDevice *device);
gboolean serai_devices_need_model(GPtrArray *devices);

/* Adds the removal of everything that the store has of a device, its record included. */
void serai_device_remove_nodes(SeraiBatch *batch, guint domid, const char *uuid, const SeraiDevice *device);
/* Waits until the kernel has let go of devices whose nodes are gone; TRUE when it has. */
gboolean serai_devices_wait_gone(GPtrArray *devices, guint domid, gint64 timeout_us);
/* Asks the guest to let go, and waits. */
gboolean serai_device_close(SeraiHost *host, guint domid, const SeraiDevice *device, gint64 timeout_us,
                            GCancellable *cancellable, GError **error);
/* Paths and names of a device that exists. */
char *serai_device_backend_path(guint domid, const SeraiDevice *device);
/* What the backend of a device in dom0 told about its failure, or NULL: it did not fail. */
char *serai_device_backend_reason(SeraiHost *host, guint domid, const SeraiDevice *device);
/* Whether a device that this library can detach has no backend in dom0 any more. */
gboolean serai_device_is_gone(SeraiHost *host, guint domid, const SeraiDevice *device);
char *serai_device_frontend_path(guint domid, const SeraiDevice *device);
char *serai_device_bus_name(guint domid, const SeraiDevice *device);

/* The nodes of a console, wherever it is; @frame and @port are those of console 0 and else 0. */
void serai_console_nodes(SeraiBatch *batch, guint domid, const SeraiDevice *device, const char *path);

#endif
