/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What libvirt's own manager of host devices does for PCI devices that a domain gets: it takes each from
 * dom0's driver and has xen-pciback hold it, resets it, and knows whose it is, so that two domains, or a
 * domain and "virsh nodedev-reattach", do not have it at once.
 */
#include "process.h"
#include "error.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.process-hostdev");

/* Asked before dom0 loses a device that nobody could have. */
static int
checkHost(xenDriver *driver, virDomainObj *vm)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(xenHostInfo) info = serai_host_get_info(driver->host, &error);

    if (!info) {
        xenReportError(&error, "%s", _("cannot ask for the capabilities of the hypervisor"));
        return -1;
    }
    if (info->has_passthrough)
        return 0;
    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("domain '%s' cannot have a <hostdev>: the hypervisor uses no IOMMU"), vm->def->name);
    return -1;
}

/*
 * What xen-pciback has held once it remembers, and takes again before dom0's own driver can if that was
 * loaded later.  It keeps no device by forgetting it, and remembers none that came to it in another way.
 * The hypervisor as well keeps apart what a guest had: dom0's driver would have it without DMA and MSI.
 */
static void
forget(xenDriver *driver, const char *address)
{
    g_autoptr(GError) error = NULL;

    if (!serai_host_reclaim_pci(driver->host, address, &error))
        VIR_DEBUG("PCI device %s stays as it is: %s", address, error->message);
    if (virFileWriteStr("/sys/bus/pci/drivers/pciback/remove_slot", address, 0) < 0)
        VIR_DEBUG("xen-pciback does not remember %s: %s", address, g_strerror(errno));
}

void
xenHostdevForget(xenDriver *driver, virPCIDevice *device)
{
    virPCIDeviceList *active = driver->hostdevs->activePCIHostdevs;

    /* Locked, so that it does not become a guest's meanwhile. */
    virObjectLock(active);
    if (!virPCIDeviceListFind(active, virPCIDeviceGetAddress(device)))
        forget(driver, virPCIDeviceGetName(device));
    virObjectUnlock(active);
}

int
xenHostdevsAcquire(xenDriver *driver, virDomainObj *vm, virDomainHostdevDef **hostdevs, size_t count)
{
    if (count == 0)
        return 0;
    if (checkHost(driver, vm) < 0)
        return -1;
    if (driver->settings->pretend)
        return 0;
    return virHostdevPreparePCIDevices(driver->hostdevs, XEN_DRIVER_INTERNAL_NAME, vm->def->name,
                                       vm->def->uuid, hostdevs, count, 0);
}

void
xenHostdevsRelease(xenDriver *driver, virDomainObj *vm, virDomainHostdevDef **hostdevs, size_t count)
{
    virErrorPtr error;
    size_t i;

    if (count == 0 || driver->settings->pretend)
        return;
    virErrorPreserveLast(&error);
    for (i = 0; i < count; i++) {
        g_autofree char *address = virPCIDeviceAddressAsString(&hostdevs[i]->source.subsys.u.pci.addr);

        if (hostdevs[i]->managed)
            forget(driver, address);
    }
    virHostdevReAttachPCIDevices(driver->hostdevs, XEN_DRIVER_INTERNAL_NAME, vm->def->name, hostdevs, count);
    virErrorRestore(&error);
}

void
xenHostdevsMeet(xenDriver *driver, virDomainObj *vm)
{
    if (vm->def->nhostdevs == 0 || driver->settings->pretend)
        return;
    if (virHostdevUpdateActivePCIDevices(driver->hostdevs, vm->def->hostdevs, vm->def->nhostdevs,
                                         XEN_DRIVER_INTERNAL_NAME, vm->def->name) < 0)
        VIR_WARN("the PCI devices of domain '%s' are not known to be its: %s", vm->def->name,
                 virGetLastErrorMessage());
}
