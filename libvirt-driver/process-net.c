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

/* The running domain that has a MAC address, and how often: an update of a NIC has it twice for a while. */
typedef struct {
    unsigned char uuid[VIR_UUID_BUFLEN];
    char *name;
    unsigned int count;
} MacOwner;

static void
freeOwner(gpointer data)
{
    MacOwner *owner = data;

    g_free(owner->name);
    g_free(owner);
}

GHashTable *
xenNetMacsNew(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, freeOwner);
}

int
xenNetTakeMac(xenDriver *driver, virDomainObj *vm, virDomainNetDef *net)
{
    char mac[VIR_MAC_STRING_BUFLEN];
    MacOwner *owner;
    int ret = -1;

    virMacAddrFormat(&net->mac, mac);
    virMutexLock(&driver->lock);
    owner = g_hash_table_lookup(driver->macs, mac);
    if (!owner) {
        owner = g_new0(MacOwner, 1);
        memcpy(owner->uuid, vm->def->uuid, VIR_UUID_BUFLEN);
        owner->name = g_strdup(vm->def->name);
        g_hash_table_insert(driver->macs, g_strdup(mac), owner);
    }
    if (memcmp(owner->uuid, vm->def->uuid, VIR_UUID_BUFLEN) == 0) {
        owner->count++;
        ret = 0;
    } else {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("domain '%s' cannot have the MAC address %s: domain '%s', which runs, has it"),
                       vm->def->name, mac, owner->name);
    }
    virMutexUnlock(&driver->lock);
    return ret;
}

static void
giveMac(xenDriver *driver, virDomainObj *vm, virDomainNetDef *net)
{
    char mac[VIR_MAC_STRING_BUFLEN];
    MacOwner *owner;

    virMacAddrFormat(&net->mac, mac);
    virMutexLock(&driver->lock);
    owner = g_hash_table_lookup(driver->macs, mac);
    if (owner && memcmp(owner->uuid, vm->def->uuid, VIR_UUID_BUFLEN) == 0 && --owner->count == 0)
        g_hash_table_remove(driver->macs, mac);
    virMutexUnlock(&driver->lock);
}

int
xenNetAcquire(xenDriver *driver, virDomainObj *vm, virDomainNetDef *net)
{
    g_autoptr(virConnect) network = NULL;

    if (xenNetTakeMac(driver, vm, net) < 0)
        return -1;
    if (net->type != VIR_DOMAIN_NET_TYPE_NETWORK)
        return 0;
    network = virGetConnectNetwork();
    if (network && virDomainNetAllocateActualDevice(network, vm->def, net) == 0)
        return 0;
    giveMac(driver, vm, net);
    return -1;
}

void
xenNetRelease(xenDriver *driver, virDomainObj *vm, virDomainNetDef *net)
{
    g_autoptr(virConnect) network = NULL;
    virErrorPtr error;

    giveMac(driver, vm, net);
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
