/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a guest calls itself.
 *
 * Two know: libvirt's network, of a guest that asked its DHCP for a lease, and the guest, if something in it
 * writes its name to the store.  libvirt calls the latter source "agent".
 */
#include "entries.h"
#include "domain.h"
#include "error.h"

#include "viraccessapicheck.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.hostname");

/* The names of networks and the addresses of a domain's cards on them, copied: the lock is given up
 * meanwhile. */
struct card {
    char *network;
    char mac[VIR_MAC_STRING_BUFLEN];
};

static void
cardClear(void *data)
{
    g_free(((struct card *)data)->network);
}

static GArray *
networkCards(const virDomainDef *def)
{
    GArray *cards = g_array_new(FALSE, FALSE, sizeof(struct card));
    size_t i;

    g_array_set_clear_func(cards, cardClear);
    for (i = 0; i < def->nnets; i++) {
        struct card card;

        if (def->nets[i]->type != VIR_DOMAIN_NET_TYPE_NETWORK)
            continue;
        card.network = g_strdup(def->nets[i]->data.network.name);
        virMacAddrFormat(&def->nets[i]->mac, card.mac);
        g_array_append_val(cards, card);
    }
    return cards;
}

/* The first name that goes with a lease of this card; NULL without an error when there is none. */
static int
askNetwork(virConnectPtr conn, const struct card *card, char **name)
{
    g_autoptr(virNetwork) network = virNetworkLookupByName(conn, card->network);
    virNetworkDHCPLeasePtr *leases = NULL;
    int count;
    int i;

    if (!network)
        return -1;
    count = virNetworkGetDHCPLeases(network, card->mac, &leases, 0);
    if (count < 0)
        return -1;
    for (i = 0; i < count; i++) {
        if (leases[i]->hostname && !*name)
            *name = g_strdup(leases[i]->hostname);
        virNetworkDHCPLeaseFree(leases[i]);
    }
    g_free(leases);
    return 0;
}

static int
askLeases(GArray *cards, char **name)
{
    g_autoptr(virConnect) conn = NULL;
    size_t i;

    if (cards->len == 0)
        return 0;
    conn = virGetConnectNetwork();
    if (!conn)
        return -1;
    for (i = 0; i < cards->len && !*name; i++) {
        if (askNetwork(conn, &g_array_index(cards, struct card, i), name) < 0)
            return -1;
    }
    return 0;
}

/* With the job, without the lock: the network driver answers in its own time. */
static char *
ask(virDomainObj *vm, bool guest, bool leases)
{
    g_autoptr(SeraiDomain) domain = g_object_ref(XEN_PRIVATE(vm)->domain);
    g_autoptr(GArray) cards = networkCards(vm->def);
    g_autoptr(GError) error = NULL;
    char *name = NULL;
    int failed = 0;

    virObjectUnlock(vm);
    if (guest)
        name = serai_domain_dup_guest_hostname(domain, &error);
    if (!name && leases)
        failed = askLeases(cards, &name);
    virObjectLock(vm);

    if (name || failed)
        return name;
    if (guest && !leases)
        xenReportError(&error, _("the name of the guest '%s' is not known"), vm->def->name);
    else
        virReportError(VIR_ERR_NO_HOSTNAME,
                       _("domain '%s' has no lease with a name from a network of libvirt"), vm->def->name);
    return NULL;
}

char *
xenDomainGetHostname(virDomainPtr dom, unsigned int flags)
{
    virDomainObj *vm;
    char *name = NULL;

    virCheckFlags(VIR_DOMAIN_GET_HOSTNAME_LEASE | VIR_DOMAIN_GET_HOSTNAME_AGENT, NULL);
    VIR_EXCLUSIVE_FLAGS_RET(VIR_DOMAIN_GET_HOSTNAME_LEASE, VIR_DOMAIN_GET_HOSTNAME_AGENT, NULL);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return NULL;
    if (virDomainGetHostnameEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_QUERY) < 0)
        goto cleanup;
    if (xenDomainCheckActive(vm) == 0)
        name = ask(vm, !(flags & VIR_DOMAIN_GET_HOSTNAME_LEASE), !(flags & VIR_DOMAIN_GET_HOSTNAME_AGENT));
    virDomainObjEndJob(vm);

cleanup:
    virDomainObjEndAPI(&vm);
    return name;
}
