/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entries about NICs: what they did, how fast they may be, which addresses they have.
 */
#include "entries.h"
#include "domain.h"
#include "error.h"
#include "process.h"

#include "domain_event.h"
#include "viraccessapicheck.h"
#include "virnetdev.h"
#include "virnetdevbandwidth.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.interface");

#define XEN_BANDWIDTH_NPARAMS 7

/* The number by which the hypervisor's side knows a NIC, -1 with an error when it is not there. */
int
xenInterfaceDevid(virDomainObj *vm, const virDomainNetDef *net)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) devices = serai_domain_list_devices(XEN_PRIVATE(vm)->domain, &error);
    char mac[VIR_MAC_STRING_BUFLEN];
    size_t i;

    virMacAddrFormat(&net->mac, mac);
    if (!devices) {
        xenReportError(&error, _("cannot list the devices of domain '%s'"), vm->def->name);
        return -1;
    }
    for (i = 0; i < devices->len; i++) {
        const SeraiDevice *device = g_ptr_array_index(devices, i);

        if (device->kind == SERAI_DEVICE_NIC && STRCASEEQ(device->nic.mac, mac))
            return device->devid;
    }
    virReportError(VIR_ERR_DEVICE_MISSING, _("domain '%s' has no interface with MAC '%s' any more"),
                   vm->def->name, mac);
    return -1;
}

int
xenDomainInterfaceStats(virDomainPtr dom, const char *name, virDomainInterfaceStatsPtr stats)
{
    virDomainObj *vm = xenDomainObjFromDomain(dom);
    g_autoptr(GError) error = NULL;
    SeraiNicStats nic;
    virDomainNetDef *net;
    int devid;
    int ret = -1;

    if (!vm)
        return -1;
    if (virDomainInterfaceStatsEnsureACL(dom->conn, vm->def) < 0 || xenDomainCheckActive(vm) < 0)
        goto cleanup;
    net = virDomainNetFind(vm->def, name);
    if (!net)
        goto cleanup;
    devid = xenInterfaceDevid(vm, net);
    if (devid < 0)
        goto cleanup;
    if (!serai_domain_get_nic_stats(XEN_PRIVATE(vm)->domain, devid, &nic, &error)) {
        xenReportError(&error, _("cannot ask for interface '%s' of domain '%s'"), name, vm->def->name);
        goto cleanup;
    }
    stats->rx_bytes = nic.rx_bytes;
    stats->rx_packets = nic.rx_packets;
    stats->rx_errs = nic.rx_errors;
    stats->rx_drop = nic.rx_dropped;
    stats->tx_bytes = nic.tx_bytes;
    stats->tx_packets = nic.tx_packets;
    stats->tx_errs = nic.tx_errors;
    stats->tx_drop = nic.tx_dropped;
    ret = 0;

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

/* Where each parameter lives in a bandwidth, for reading and for writing. */
static unsigned long long *
bandwidthField(virNetDevBandwidthRate *in, virNetDevBandwidthRate *out, const char *field)
{
    if (STREQ(field, VIR_DOMAIN_BANDWIDTH_IN_AVERAGE))
        return &in->average;
    if (STREQ(field, VIR_DOMAIN_BANDWIDTH_IN_PEAK))
        return &in->peak;
    if (STREQ(field, VIR_DOMAIN_BANDWIDTH_IN_BURST))
        return &in->burst;
    if (STREQ(field, VIR_DOMAIN_BANDWIDTH_IN_FLOOR))
        return &in->floor;
    if (STREQ(field, VIR_DOMAIN_BANDWIDTH_OUT_AVERAGE))
        return &out->average;
    if (STREQ(field, VIR_DOMAIN_BANDWIDTH_OUT_PEAK))
        return &out->peak;
    return &out->burst;
}

static virNetDevBandwidth *
mergeBandwidth(const virNetDevBandwidth *old, virTypedParameterPtr params, int nparams)
{
    virNetDevBandwidthRate in = {0};
    virNetDevBandwidthRate out = {0};
    virNetDevBandwidth *merged = g_new0(virNetDevBandwidth, 1);
    int i;

    if (old && old->in)
        in = *old->in;
    if (old && old->out)
        out = *old->out;
    for (i = 0; i < nparams; i++)
        *bandwidthField(&in, &out, params[i].field) = params[i].value.ui;

    /* An average of nothing takes the limit away; a floor is a promise and stands by itself. */
    if (in.average > 0 || in.floor > 0)
        merged->in = g_memdup2(&in, sizeof(in));
    if (out.average > 0)
        merged->out = g_memdup2(&out, sizeof(out));
    return merged;
}

static void
replaceBandwidth(virDomainNetDef *net, virNetDevBandwidth *bandwidth)
{
    virNetDevBandwidthFree(net->bandwidth);
    net->bandwidth = bandwidth;
    if (net->type == VIR_DOMAIN_NET_TYPE_NETWORK && net->data.network.actual) {
        virNetDevBandwidthFree(net->data.network.actual->bandwidth);
        ignore_value(virNetDevBandwidthCopy(&net->data.network.actual->bandwidth, bandwidth));
    }
}

static int
setLiveBandwidth(xenDriver *driver, virDomainObj *vm, virDomainNetDef *net, virTypedParameterPtr params,
                 int nparams)
{
    virNetDevBandwidth *bandwidth = mergeBandwidth(net->bandwidth, params, nparams);

    /* The network may have promised a floor to another, or have a new one to keep. */
    if (net->type == VIR_DOMAIN_NET_TYPE_NETWORK && virDomainNetBandwidthUpdate(net, bandwidth) < 0)
        goto error;
    if (net->ifname && !driver->settings->pretend) {
        if (!bandwidth->in && !bandwidth->out)
            virNetDevBandwidthClear(net->ifname);
        else if (virNetDevBandwidthSet(net->ifname, bandwidth, false, !virDomainNetTypeSharesHostView(net)) <
                 0)
            goto error;
    }
    replaceBandwidth(net, bandwidth);
    xenDomainSaveStatus(driver, vm);
    return 0;

error:
    virNetDevBandwidthFree(bandwidth);
    return -1;
}

int
xenDomainSetInterfaceParameters(virDomainPtr dom, const char *name, virTypedParameterPtr params, int nparams,
                                unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    virDomainDef *live = NULL;
    virDomainDef *persistent = NULL;
    virDomainNetDef *liveNet = NULL;
    virDomainNetDef *persistentNet = NULL;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);
    if (virTypedParamsValidate(
            params, nparams, VIR_DOMAIN_BANDWIDTH_IN_AVERAGE, VIR_TYPED_PARAM_UINT,
            VIR_DOMAIN_BANDWIDTH_IN_PEAK, VIR_TYPED_PARAM_UINT, VIR_DOMAIN_BANDWIDTH_IN_BURST,
            VIR_TYPED_PARAM_UINT, VIR_DOMAIN_BANDWIDTH_IN_FLOOR, VIR_TYPED_PARAM_UINT,
            VIR_DOMAIN_BANDWIDTH_OUT_AVERAGE, VIR_TYPED_PARAM_UINT, VIR_DOMAIN_BANDWIDTH_OUT_PEAK,
            VIR_TYPED_PARAM_UINT, VIR_DOMAIN_BANDWIDTH_OUT_BURST, VIR_TYPED_PARAM_UINT, NULL) < 0)
        return -1;

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainSetInterfaceParametersEnsureACL(dom->conn, vm->def, flags) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (xenDomainGetDefs(vm, flags, &live, &persistent) < 0)
        goto endjob;
    if ((live && !(liveNet = virDomainNetFind(live, name))) ||
        (persistent && !(persistentNet = virDomainNetFind(persistent, name))))
        goto endjob;

    if (live && setLiveBandwidth(driver, vm, liveNet, params, nparams) < 0)
        goto endjob;
    if (persistent) {
        replaceBandwidth(persistentNet, mergeBandwidth(persistentNet->bandwidth, params, nparams));
        if (xenDomainSavePersistent(driver, vm, persistent) < 0)
            goto endjob;
    }
    ret = 0;

endjob:
    virDomainObjEndJob(vm);
cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainGetInterfaceParameters(virDomainPtr dom, const char *name, virTypedParameterPtr params, int *nparams,
                                unsigned int flags)
{
    const char *fields[XEN_BANDWIDTH_NPARAMS] = {
        VIR_DOMAIN_BANDWIDTH_IN_AVERAGE, VIR_DOMAIN_BANDWIDTH_IN_PEAK,     VIR_DOMAIN_BANDWIDTH_IN_BURST,
        VIR_DOMAIN_BANDWIDTH_IN_FLOOR,   VIR_DOMAIN_BANDWIDTH_OUT_AVERAGE, VIR_DOMAIN_BANDWIDTH_OUT_PEAK,
        VIR_DOMAIN_BANDWIDTH_OUT_BURST,
    };
    virNetDevBandwidthRate in = {0};
    virNetDevBandwidthRate out = {0};
    virDomainNetDef *net;
    virDomainDef *def;
    virDomainObj *vm;
    int ret = -1;
    int i;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG | VIR_TYPED_PARAM_STRING_OKAY, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainGetInterfaceParametersEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    def = xenDomainGetOneDef(vm, flags & ~VIR_TYPED_PARAM_STRING_OKAY);
    if (!def)
        goto cleanup;
    if (*nparams == 0) {
        *nparams = XEN_BANDWIDTH_NPARAMS;
        ret = 0;
        goto cleanup;
    }
    net = virDomainNetFind(def, name);
    if (!net)
        goto cleanup;
    if (net->bandwidth && net->bandwidth->in)
        in = *net->bandwidth->in;
    if (net->bandwidth && net->bandwidth->out)
        out = *net->bandwidth->out;
    for (i = 0; i < XEN_BANDWIDTH_NPARAMS && i < *nparams; i++) {
        if (virTypedParameterAssign(&params[i], fields[i], VIR_TYPED_PARAM_UINT,
                                    (unsigned int)*bandwidthField(&in, &out, fields[i])) < 0)
            goto cleanup;
    }
    *nparams = i;
    ret = 0;

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainInterfaceAddresses(virDomainPtr dom, virDomainInterfacePtr **ifaces, unsigned int source,
                            unsigned int flags)
{
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(0, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainInterfaceAddressesEnsureACL(dom->conn, vm->def, source) < 0 || xenDomainCheckActive(vm) < 0)
        goto cleanup;
    switch (source) {
    case VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE:
        ret = virDomainNetDHCPInterfaces(vm->def, ifaces);
        break;
    case VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP:
        ret = virDomainNetARPInterfaces(vm->def, ifaces);
        break;
    default:
        virReportError(VIR_ERR_ARGUMENT_UNSUPPORTED, "%s",
                       _("addresses come from leases or from ARP, as there is no guest agent"));
        break;
    }

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}
