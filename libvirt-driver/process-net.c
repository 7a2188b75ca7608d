/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What libvirt's own network driver, packet filter and traffic shaper do for a domain's NICs.
 *
 * acquire and release bracket the time a definition needs a network; activate and deactivate the time
 * its interface exists in the host.  Each pair may be called for any NIC and undoes itself.
 */
#include "process.h"

#include "domain_nwfilter.h"
#include "virnetdev.h"
#include "virnetdevbandwidth.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.process-net");

int
xenNetAcquire(xenDriver *driver G_GNUC_UNUSED, virDomainObj *vm, virDomainNetDef *net)
{
    g_autoptr(virConnect) network = NULL;

    if (net->type != VIR_DOMAIN_NET_TYPE_NETWORK)
        return 0;
    network = virGetConnectNetwork();
    if (!network)
        return -1;
    return virDomainNetAllocateActualDevice(network, vm->def, net);
}

void
xenNetRelease(xenDriver *driver G_GNUC_UNUSED, virDomainObj *vm, virDomainNetDef *net)
{
    g_autoptr(virConnect) network = NULL;
    virErrorPtr error;

    if (net->type != VIR_DOMAIN_NET_TYPE_NETWORK)
        return;
    virErrorPreserveLast(&error);
    network = virGetConnectNetwork();
    if (!network || virDomainNetReleaseActualDevice(network, vm->def, net) < 0)
        VIR_WARN("cannot give back the network port of domain '%s': %s", vm->def->name,
                 virGetLastErrorMessage());
    virErrorRestore(&error);
}

/* A NIC of a driver domain, or of a pretend machine, has no interface here. */
static bool
hasInterface(xenDriver *driver, const virDomainNetDef *net)
{
    return net->ifname && !net->domain_name && !driver->settings->pretend;
}

int
xenNetActivate(xenDriver *driver, virDomainObj *vm, virDomainNetDef *net)
{
    const virNetDevBandwidth *bandwidth = virDomainNetGetActualBandwidth(net);

    if (!hasInterface(driver, net))
        return 0;
    /* What the host sends is what the guest receives, so the directions are swapped. */
    if (bandwidth &&
        virNetDevBandwidthSet(net->ifname, bandwidth, false, !virDomainNetTypeSharesHostView(net)) < 0)
        return -1;
    if (net->filter && virDomainConfNWFilterInstantiate(vm->def->name, vm->def->uuid, net, false) < 0)
        return -1;
    return 0;
}

void
xenNetDeactivate(xenDriver *driver, virDomainObj *vm G_GNUC_UNUSED, virDomainNetDef *net)
{
    virErrorPtr error;

    if (!hasInterface(driver, net))
        return;
    virErrorPreserveLast(&error);
    if (net->filter)
        virDomainConfNWFilterTeardown(net);
    if (virDomainNetGetActualBandwidth(net))
        virNetDevBandwidthClear(net->ifname);
    virErrorRestore(&error);
}
