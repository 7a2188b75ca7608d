/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PCI devices of the machine that a guest gets, behind xen-pciback. */
#ifndef SERAI_PCI_H
#define SERAI_PCI_H

#include "private/device.h"

/* Reads "0000:00:1f.2" as the hypervisor's number: segment, bus, slot and function from the high bits on. */
gboolean serai_pci_parse(const char *address, uint32_t *ret_sbdf);
/* Whether there is an IOMMU for what of @devices is a PCI device. */
gboolean serai_pci_check_host(SeraiHost *host, GPtrArray *devices, GError **error);
/* Makes the device the guest's, registers, interrupt and DMA; the second takes back what of that was done. */
gboolean serai_pci_give(SeraiHost *host, guint domid, const SeraiDevice *device, GError **error);
void serai_pci_take_back(SeraiHost *host, guint domid, const SeraiDevice *device);
/* The part of that which is about registers and interrupt, @resources being the file of sysfs: all of it, or,
 * when it is taken back, as much as can be. */
gboolean serai_pci_permit(SeraiHost *host, guint domid, const char *resources, guint irq, gboolean allow,
                          GError **error);

/*
 * All PCI devices of a domain share one pair of directories in the store, the bus, where each has nodes that
 * end in its number.  What the bus itself has (its link, its state) is left to the caller.
 */
void serai_pci_nodes(SeraiBatch *batch, const SeraiAttach *attach);
void serai_pci_remove_nodes(SeraiBatch *batch, guint domid, const SeraiDevice *device);
/* Whether another device than @device is on the bus of the domain. */
gboolean serai_pci_has_others(GPtrArray *devices, const SeraiDevice *device);
/* Looks once whether the backend shows the device to the guest, told in @ret_ready; FALSE: it failed. */
gboolean serai_pci_step(SeraiHost *host, const SeraiAttach *attach, gboolean *ret_ready);
/* A device can come to a bus, or leave one that stays, only while a driver of the guest is there. */
gboolean serai_pci_bus_is_live(SeraiHost *host, guint domid, const SeraiDevice *device);
/* Whether the guest was asked to let go of the device. */
gboolean serai_pci_is_leaving(SeraiHost *host, guint domid, const SeraiDevice *device);
/* Asks the guest to let go of one device of several, and waits. */
gboolean serai_pci_close(SeraiHost *host, guint domid, const SeraiDevice *device, gint64 timeout_us,
                         GCancellable *cancellable, GError **error);

#endif
