/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entries about the connection: opening it, what it leads to, its capabilities, CPU models and events.
 */
#include "entries.h"
#include "capabilities.h"
#include "error.h"
#include "validate.h"

#include "cpu/cpu.h"
#include "viraccessapicheck.h"
#include "virclosecallbacks.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.connect");

int
xenConnectURIProbe(char **uri)
{
    if (!xenDriverState || xenDriverState->settings->root)
        return 0;
    *uri = g_strdup("xen:///system");
    return 1;
}

virDrvOpenStatus
xenConnectOpen(virConnectPtr conn, virConnectAuthPtr auth G_GNUC_UNUSED, virConf *conf G_GNUC_UNUSED,
               unsigned int flags)
{
    xenDriver *driver = xenDriverState;
    const char *path = conn->uri->path;

    virCheckFlags(VIR_CONNECT_RO, VIR_DRV_OPEN_ERROR);

    if (!driver) {
        virReportError(VIR_ERR_INTERNAL_ERROR, "%s",
                       _("the Xen driver is not running: is this host under a hypervisor?"));
        return VIR_DRV_OPEN_ERROR;
    }
    if (driver->settings->root) {
        if (STRNEQ_NULLABLE(path, "/embed")) {
            virReportError(VIR_ERR_INVALID_ARG, _("Xen URI path '%s' is not /embed"), NULLSTR(path));
            return VIR_DRV_OPEN_ERROR;
        }
        if (STRNEQ_NULLABLE(virURIGetParam(conn->uri, "root"), driver->settings->root)) {
            virReportError(VIR_ERR_INVALID_ARG, _("the Xen driver is open already, below '%s'"),
                           driver->settings->root);
            return VIR_DRV_OPEN_ERROR;
        }
    } else if (STRNEQ_NULLABLE(path, "") && STRNEQ_NULLABLE(path, "/") && STRNEQ_NULLABLE(path, "/system")) {
        virReportError(VIR_ERR_INVALID_ARG, _("Xen URI path '%s' is not /system"), NULLSTR(path));
        return VIR_DRV_OPEN_ERROR;
    }

    if (virConnectOpenEnsureACL(conn) < 0)
        return VIR_DRV_OPEN_ERROR;
    conn->privateData = driver;
    return VIR_DRV_OPEN_SUCCESS;
}

int
xenConnectClose(virConnectPtr conn)
{
    xenDriver *driver = conn->privateData;

    virCloseCallbacksDomainRunForConn(driver->domains, conn);
    conn->privateData = NULL;
    return 0;
}

const char *
xenConnectGetType(virConnectPtr conn)
{
    if (virConnectGetTypeEnsureACL(conn) < 0)
        return NULL;
    return XEN_DRIVER_EXTERNAL_NAME;
}

int
xenConnectGetVersion(virConnectPtr conn, unsigned long *version)
{
    xenDriver *driver = conn->privateData;
    g_autoptr(GError) error = NULL;
    g_autoptr(xenHostInfo) info = NULL;

    if (virConnectGetVersionEnsureACL(conn) < 0)
        return -1;
    info = serai_host_get_info(driver->host, &error);
    if (!info) {
        xenReportError(&error, "%s", _("cannot ask for the version of the hypervisor"));
        return -1;
    }
    *version = info->version_major * 1000000UL + info->version_minor * 1000UL;
    return 0;
}

char *
xenConnectGetHostname(virConnectPtr conn)
{
    if (virConnectGetHostnameEnsureACL(conn) < 0)
        return NULL;
    return virGetHostname();
}

char *
xenConnectGetSysinfo(virConnectPtr conn, unsigned int flags)
{
    xenDriver *driver = conn->privateData;
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;

    virCheckFlags(0, NULL);

    if (virConnectGetSysinfoEnsureACL(conn) < 0)
        return NULL;
    if (!driver->sysinfo) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("the firmware of this host tells nothing about it"));
        return NULL;
    }
    if (virSysinfoFormat(&buf, driver->sysinfo) < 0)
        return NULL;
    return virBufferContentAndReset(&buf);
}

int
xenConnectGetMaxVcpus(virConnectPtr conn, const char *type G_GNUC_UNUSED)
{
    if (virConnectGetMaxVcpusEnsureACL(conn) < 0)
        return -1;
    return XEN_MAX_VCPUS;
}

char *
xenConnectGetCapabilities(virConnectPtr conn)
{
    xenDriver *driver = conn->privateData;

    if (virConnectGetCapabilitiesEnsureACL(conn) < 0)
        return NULL;
    return virCapabilitiesFormatXML(driver->caps);
}

char *
xenConnectGetDomainCapabilities(virConnectPtr conn, const char *emulator, const char *arch,
                                const char *machine, const char *virttype, unsigned int flags)
{
    xenDriver *driver = conn->privateData;
    g_autoptr(virDomainCaps) caps = NULL;

    virCheckFlags(0, NULL);

    if (virConnectGetDomainCapabilitiesEnsureACL(conn) < 0)
        return NULL;
    caps = xenCapabilitiesDomain(driver, emulator, arch, machine, virttype);
    return caps ? virDomainCapsFormat(caps) : NULL;
}

int
xenConnectSupportsFeature(virConnectPtr conn, int feature)
{
    int supported;

    if (virConnectSupportsFeatureEnsureACL(conn) < 0)
        return -1;
    if (virDriverFeatureIsGlobal(feature, &supported))
        return supported;
    return feature == VIR_DRV_FEATURE_TYPED_PARAM_STRING;
}

/* The driver is in the process of whoever asks; nothing travels. */
int
xenConnectIsEncrypted(virConnectPtr conn G_GNUC_UNUSED)
{
    return 0;
}

int
xenConnectIsSecure(virConnectPtr conn G_GNUC_UNUSED)
{
    return 1;
}

int
xenConnectIsAlive(virConnectPtr conn G_GNUC_UNUSED)
{
    return 1;
}

int
xenConnectDomainEventRegister(virConnectPtr conn, virConnectDomainEventCallback callback, void *opaque,
                              virFreeCallback freecb)
{
    xenDriver *driver = conn->privateData;

    if (virConnectDomainEventRegisterEnsureACL(conn) < 0)
        return -1;
    return virDomainEventStateRegister(conn, driver->events, callback, opaque, freecb) < 0 ? -1 : 0;
}

int
xenConnectDomainEventDeregister(virConnectPtr conn, virConnectDomainEventCallback callback)
{
    xenDriver *driver = conn->privateData;

    if (virConnectDomainEventDeregisterEnsureACL(conn) < 0)
        return -1;
    return virDomainEventStateDeregister(conn, driver->events, callback) < 0 ? -1 : 0;
}

int
xenConnectDomainEventRegisterAny(virConnectPtr conn, virDomainPtr dom, int eventID,
                                 virConnectDomainEventGenericCallback callback, void *opaque,
                                 virFreeCallback freecb)
{
    xenDriver *driver = conn->privateData;
    int id;

    if (virConnectDomainEventRegisterAnyEnsureACL(conn) < 0)
        return -1;
    if (virDomainEventStateRegisterID(conn, driver->events, dom, eventID, callback, opaque, freecb, &id) < 0)
        return -1;
    return id;
}

int
xenConnectDomainEventDeregisterAny(virConnectPtr conn, int callbackID)
{
    xenDriver *driver = conn->privateData;

    if (virConnectDomainEventDeregisterAnyEnsureACL(conn) < 0)
        return -1;
    return virObjectEventStateDeregisterID(conn, driver->events, callbackID, true) < 0 ? -1 : 0;
}

int
xenConnectGetCPUModelNames(virConnectPtr conn, const char *archName, char ***models, unsigned int flags)
{
    virArch arch;

    virCheckFlags(0, -1);

    if (virConnectGetCPUModelNamesEnsureACL(conn) < 0)
        return -1;
    arch = virArchFromString(archName);
    if (!arch) {
        virReportError(VIR_ERR_INVALID_ARG, _("unknown architecture '%s'"), archName);
        return -1;
    }
    return virCPUGetModels(arch, models);
}

int
xenConnectCompareCPU(virConnectPtr conn, const char *xml, unsigned int flags)
{
    xenDriver *driver = conn->privateData;

    virCheckFlags(VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE | VIR_CONNECT_COMPARE_CPU_VALIDATE_XML,
                  VIR_CPU_COMPARE_ERROR);

    if (virConnectCompareCPUEnsureACL(conn) < 0)
        return VIR_CPU_COMPARE_ERROR;
    return virCPUCompareXML(driver->caps->host.arch, driver->caps->host.cpu, xml,
                            flags & VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE,
                            flags & VIR_CONNECT_COMPARE_CPU_VALIDATE_XML);
}

/* A paravirtualized guest has the CPU of the host, whatever the emulator is, so the answer is the same. */
int
xenConnectCompareHypervisorCPU(virConnectPtr conn, const char *emulator G_GNUC_UNUSED,
                               const char *arch G_GNUC_UNUSED, const char *machine G_GNUC_UNUSED,
                               const char *virttype G_GNUC_UNUSED, const char *xml, unsigned int flags)
{
    xenDriver *driver = conn->privateData;

    virCheckFlags(VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE | VIR_CONNECT_COMPARE_CPU_VALIDATE_XML,
                  VIR_CPU_COMPARE_ERROR);

    if (virConnectCompareHypervisorCPUEnsureACL(conn) < 0)
        return VIR_CPU_COMPARE_ERROR;
    return virCPUCompareXML(driver->caps->host.arch, driver->caps->host.cpu, xml,
                            flags & VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE,
                            flags & VIR_CONNECT_COMPARE_CPU_VALIDATE_XML);
}

static char *
baseline(const char **xml, unsigned int count, virArch arch, unsigned int flags)
{
    g_autoptr(virCPUDef) cpu = NULL;
    virCPUDef **cpus = virCPUDefListParse(xml, count, VIR_CPU_TYPE_HOST);
    char *ret = NULL;

    if (!cpus)
        return NULL;
    cpu = virCPUBaseline(arch ? arch : cpus[0]->arch, cpus, count, NULL, NULL,
                         flags & VIR_CONNECT_BASELINE_CPU_MIGRATABLE);
    if (!cpu)
        goto cleanup;
    if ((flags & VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES) && virCPUExpandFeatures(cpus[0]->arch, cpu) < 0)
        goto cleanup;
    ret = virCPUDefFormat(cpu, NULL);

cleanup:
    virCPUDefListFree(cpus);
    return ret;
}

char *
xenConnectBaselineCPU(virConnectPtr conn, const char **xml, unsigned int count, unsigned int flags)
{
    virCheckFlags(VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES | VIR_CONNECT_BASELINE_CPU_MIGRATABLE, NULL);

    if (virConnectBaselineCPUEnsureACL(conn) < 0)
        return NULL;
    return baseline(xml, count, VIR_ARCH_NONE, flags);
}

char *
xenConnectBaselineHypervisorCPU(virConnectPtr conn, const char *emulator G_GNUC_UNUSED, const char *arch,
                                const char *machine G_GNUC_UNUSED, const char *virttype G_GNUC_UNUSED,
                                const char **xml, unsigned int count, unsigned int flags)
{
    virCheckFlags(VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES | VIR_CONNECT_BASELINE_CPU_MIGRATABLE, NULL);

    if (virConnectBaselineHypervisorCPUEnsureACL(conn) < 0)
        return NULL;
    return baseline(xml, count, arch ? virArchFromString(arch) : VIR_ARCH_NONE, flags);
}
