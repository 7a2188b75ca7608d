/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The driver is its table: each row is an entry of libvirt and the function of that name.
 *
 * The first half brings the driver up and down, in order; the second half is the table.  A row that is
 * missing is an entry that libvirt itself refuses, in its own words.
 */
#include "entries.h"
#include "capabilities.h"
#include "define.h"
#include "domain.h"
#include "log.h"
#include "monitor.h"
#include "process.h"

#include "domain_audit.h"
#include "virclosecallbacks.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.driver");

xenDriver *xenDriverState;

void
xenDriverDomainStarted(xenDriver *driver)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&driver->lock);

    if (driver->nactive++ == 0 && driver->inhibit)
        driver->inhibit(true, driver->inhibitOpaque);
}

void
xenDriverDomainStopped(xenDriver *driver)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&driver->lock);

    if (driver->nactive > 0 && --driver->nactive == 0 && driver->inhibit)
        driver->inhibit(false, driver->inhibitOpaque);
}

static int
xenStateCleanup(void)
{
    xenDriver *driver = g_steal_pointer(&xenDriverState);

    if (!driver)
        return 0;
    xenMonitorStop(driver);
    virObjectUnref(driver->domains);
    virObjectUnref(driver->events);
    virObjectUnref(driver->hostdevs);
    virObjectUnref(driver->xmlopt);
    virObjectUnref(driver->caps);
    virLockManagerPluginUnref(driver->locks);
    virPortAllocatorRangeFree(driver->vncPorts);
    virSysinfoDefFree(driver->sysinfo);
    if (driver->lockFD >= 0)
        virPidFileRelease(driver->settings->stateDir, "driver", driver->lockFD);
    xenSettingsFree(driver->settings);
    g_clear_pointer(&driver->macs, g_hash_table_unref);
    virMutexDestroy(&driver->lock);
    g_free(driver);
    return 0;
}

/* Domain 0 is there before us and cannot be anything else. */
static int
addDomain0(xenDriver *driver)
{
    g_autoptr(SeraiDomain) domain = serai_host_lookup_by_id(driver->host, 0, NULL);
    g_autoptr(xenDomainFacts) info = domain ? serai_domain_get_info(domain, NULL) : NULL;
    g_autoptr(virDomainDef) def = NULL;
    virDomainObj *vm;

    if (!info)
        return 0;
    def = xenCapabilitiesDomain0(driver, info);
    if (!def)
        return -1;
    vm = virDomainObjListAdd(driver->domains, &def, driver->xmlopt, 0, NULL);
    if (!vm)
        return -1;
    vm->persistent = 1;
    XEN_PRIVATE(vm)->domain = g_steal_pointer(&domain);
    virDomainObjSetState(vm, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_BOOTED);
    virDomainObjEndAPI(&vm);
    return 0;
}

/* A file of that name is all there is to a managed save. */
static int
findManagedSave(virDomainObj *vm, void *opaque)
{
    xenDriver *driver = opaque;
    g_autofree char *path = xenSettingsManagedSavePath(driver->settings, vm->def->name);

    virObjectLock(vm);
    vm->hasManagedSave = vm->persistent && virFileExists(path);
    virObjectUnlock(vm);
    return 0;
}

/* What a daemon that was killed was about to rename into place.  Ours is the only one: it holds the lock. */
static void
sweep(const char *directory, const char *pattern)
{
    g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(directory, name, NULL);

        if (g_pattern_match_simple(pattern, name) && unlink(path) < 0)
            VIR_WARN("cannot remove %s: %s", path, g_strerror(errno));
    }
}

static int
loadDomains(xenDriver *driver)
{
    const xenSettings *settings = driver->settings;

    sweep(settings->configDir, "*.xml.new");
    sweep(settings->stateDir, "*.xml.new");
    sweep(settings->stateDir, "screen.??????");
    sweep(settings->saveDir, "*.save.partial");
    xenDefineFinishRenames(settings);
    if (virDomainObjListLoadAllConfigs(driver->domains, settings->stateDir, NULL, true, driver->xmlopt, NULL,
                                       NULL) < 0)
        return -1;
    if (virDomainObjListLoadAllConfigs(driver->domains, settings->configDir, settings->autostartDir, false,
                                       driver->xmlopt, NULL, NULL) < 0)
        return -1;
    virDomainObjListForEach(driver->domains, false, findManagedSave, driver);
    return 0;
}

static int
initHelpers(xenDriver *driver)
{
    const xenSettings *settings = driver->settings;

    driver->domains = virDomainObjListNew();
    driver->events = virObjectEventStateNew();
    driver->hostdevs = virHostdevManagerGetDefault();
    driver->vncPorts = virPortAllocatorRangeNew(_("VNC"), settings->vncPortMin, settings->vncPortMax);
    driver->locks = virLockManagerPluginNew(settings->lockManager ? settings->lockManager : "nop", "libxl",
                                            settings->configDir, 0);
    if (!driver->domains || !driver->events || !driver->hostdevs || !driver->vncPorts || !driver->locks)
        return -1;

    driver->sysinfo = virSysinfoRead();
    if (!driver->sysinfo)
        virResetLastError();
    return 0;
}

static virDrvStateInitResult
xenStateInitialize(bool privileged, const char *root, bool monolithic G_GNUC_UNUSED,
                   virStateInhibitCallback callback, void *opaque)
{
    xenDriver *driver;
    g_autoptr(GError) error = NULL;

    if (!privileged && !root)
        return VIR_DRV_STATE_INIT_SKIPPED;

    driver = g_new0(xenDriver, 1);
    driver->lockFD = -1;
    driver->privileged = privileged;
    driver->inhibit = callback;
    driver->inhibitOpaque = opaque;
    driver->macs = xenNetMacsNew();
    if (virMutexInit(&driver->lock) < 0) {
        g_hash_table_unref(driver->macs);
        g_free(driver);
        return VIR_DRV_STATE_INIT_ERROR;
    }
    xenDriverState = driver;

    driver->settings = xenSettingsNew(privileged, root);
    if (!driver->settings)
        goto error;
    if (xenMonitorStart(driver, driver->settings->pretend) < 0) {
        /* No hypervisor is no fault: the daemon serves others then. */
        VIR_INFO("the Xen driver steps aside: %s", virGetLastErrorMessage());
        xenStateCleanup();
        virResetLastError();
        return VIR_DRV_STATE_INIT_SKIPPED;
    }
    if (xenSettingsMakeDirectories(driver->settings) < 0)
        goto error;
    driver->lockFD = xenCompatPidFileAcquire(driver->settings->stateDir, "driver");
    if (driver->lockFD < 0)
        goto error;

    if (initHelpers(driver) < 0)
        goto error;
    xenLogSetup(driver);
    driver->caps = xenCapabilitiesNew(driver);
    driver->xmlopt = xenDomainXMLOptionNew(driver);
    if (!driver->caps || !driver->xmlopt)
        goto error;

    if (serai_host_recover_sync(driver->host, NULL, &error) < 0)
        VIR_WARN("cannot clear away what was left half-made: %s", error->message);
    if (addDomain0(driver) < 0 || loadDomains(driver) < 0)
        goto error;
    xenMonitorListen(driver);
    xenProcessReconnectAll(driver);
    xenProcessAutostartAll(driver);
    return VIR_DRV_STATE_INIT_COMPLETE;

error:
    xenStateCleanup();
    return VIR_DRV_STATE_INIT_ERROR;
}

static int
xenStateReload(void)
{
    if (!xenDriverState)
        return 0;
    return virDomainObjListLoadAllConfigs(xenDriverState->domains, xenDriverState->settings->configDir,
                                          xenDriverState->settings->autostartDir, false,
                                          xenDriverState->xmlopt, NULL, NULL) < 0
               ? -1
               : 0;
}

static virHypervisorDriver xenHypervisorDriver = {
    .name = XEN_DRIVER_EXTERNAL_NAME,
    .connectURIProbe = xenConnectURIProbe,
    .connectOpen = xenConnectOpen,
    .connectClose = xenConnectClose,
    .connectSupportsFeature = xenConnectSupportsFeature,
    .connectGetType = xenConnectGetType,
    .connectGetVersion = xenConnectGetVersion,
    .connectGetHostname = xenConnectGetHostname,
    .connectGetSysinfo = xenConnectGetSysinfo,
    .connectGetMaxVcpus = xenConnectGetMaxVcpus,
    .nodeGetInfo = xenNodeGetInfo,
    .connectGetCapabilities = xenConnectGetCapabilities,
    .connectListDomains = xenConnectListDomains,
    .connectNumOfDomains = xenConnectNumOfDomains,
    .connectListAllDomains = xenConnectListAllDomains,
    .domainCreateXML = xenDomainCreateXML,
    .domainLookupByID = xenDomainLookupByID,
    .domainLookupByUUID = xenDomainLookupByUUID,
    .domainLookupByName = xenDomainLookupByName,
    .domainSuspend = xenDomainSuspend,
    .domainResume = xenDomainResume,
    .domainPMSuspendForDuration = xenDomainPMSuspendForDuration,
    .domainPMWakeup = xenDomainPMWakeup,
    .domainShutdown = xenDomainShutdown,
    .domainShutdownFlags = xenDomainShutdownFlags,
    .domainReboot = xenDomainReboot,
    .domainReset = xenDomainReset,
    .domainDestroy = xenDomainDestroy,
    .domainDestroyFlags = xenDomainDestroyFlags,
    .domainGetOSType = xenDomainGetOSType,
    .domainGetHostname = xenDomainGetHostname,
    .domainGetMaxMemory = xenDomainGetMaxMemory,
    .domainSetMaxMemory = xenDomainSetMaxMemory,
    .domainSetMemory = xenDomainSetMemory,
    .domainSetMemoryFlags = xenDomainSetMemoryFlags,
    .domainSetMemoryStatsPeriod = xenDomainSetMemoryStatsPeriod,
    .domainSetBlkioParameters = xenDomainSetBlkioParameters,
    .domainGetBlkioParameters = xenDomainGetBlkioParameters,
    .domainSetNumaParameters = xenDomainSetNumaParameters,
    .domainSetMemoryParameters = xenDomainSetMemoryParameters,
    .domainGetMemoryParameters = xenDomainGetMemoryParameters,
    .domainGetNumaParameters = xenDomainGetNumaParameters,
    .domainGetInfo = xenDomainGetInfo,
    .domainGetState = xenDomainGetState,
    .domainGetControlInfo = xenDomainGetControlInfo,
    .domainSave = xenDomainSave,
    .domainSaveFlags = xenDomainSaveFlags,
    .domainSaveParams = xenDomainSaveParams,
    .domainRestore = xenDomainRestore,
    .domainRestoreFlags = xenDomainRestoreFlags,
    .domainRestoreParams = xenDomainRestoreParams,
    .domainSaveImageGetXMLDesc = xenDomainSaveImageGetXMLDesc,
    .domainSaveImageDefineXML = xenDomainSaveImageDefineXML,
    .domainCoreDump = xenDomainCoreDump,
    .domainCoreDumpWithFormat = xenDomainCoreDumpWithFormat,
    .domainScreenshot = xenDomainScreenshot,
    .domainSetVcpus = xenDomainSetVcpus,
    .domainSetVcpusFlags = xenDomainSetVcpusFlags,
    .domainGetVcpusFlags = xenDomainGetVcpusFlags,
    .domainPinVcpu = xenDomainPinVcpu,
    .domainPinVcpuFlags = xenDomainPinVcpuFlags,
    .domainGetVcpuPinInfo = xenDomainGetVcpuPinInfo,
    .domainGetVcpus = xenDomainGetVcpus,
    .domainGetMaxVcpus = xenDomainGetMaxVcpus,
    .domainGetSecurityLabel = xenDomainGetSecurityLabel,
    .domainGetSecurityLabelList = xenDomainGetSecurityLabelList,
    .nodeGetSecurityModel = xenNodeGetSecurityModel,
    .domainGetXMLDesc = xenDomainGetXMLDesc,
    .connectDomainXMLFromNative = xenConnectDomainXMLFromNative,
    .connectDomainXMLToNative = xenConnectDomainXMLToNative,
    .connectListDefinedDomains = xenConnectListDefinedDomains,
    .connectNumOfDefinedDomains = xenConnectNumOfDefinedDomains,
    .domainCreate = xenDomainCreate,
    .domainCreateWithFlags = xenDomainCreateWithFlags,
    .domainDefineXML = xenDomainDefineXML,
    .domainDefineXMLFlags = xenDomainDefineXMLFlags,
    .domainUndefine = xenDomainUndefine,
    .domainUndefineFlags = xenDomainUndefineFlags,
    .domainAttachDevice = xenDomainAttachDevice,
    .domainAttachDeviceFlags = xenDomainAttachDeviceFlags,
    .domainDetachDevice = xenDomainDetachDevice,
    .domainDetachDeviceFlags = xenDomainDetachDeviceFlags,
    .domainUpdateDeviceFlags = xenDomainUpdateDeviceFlags,
    .domainDetachDeviceAlias = xenDomainDetachDeviceAlias,
    .domainGetAutostart = xenDomainGetAutostart,
    .domainSetAutostart = xenDomainSetAutostart,
    .domainGetSchedulerType = xenDomainGetSchedulerType,
    .domainGetSchedulerParameters = xenDomainGetSchedulerParameters,
    .domainGetSchedulerParametersFlags = xenDomainGetSchedulerParametersFlags,
    .domainSetSchedulerParameters = xenDomainSetSchedulerParameters,
    .domainSetSchedulerParametersFlags = xenDomainSetSchedulerParametersFlags,
    .domainBlockResize = xenDomainBlockResize,
    .domainBlockStats = xenDomainBlockStats,
    .domainBlockStatsFlags = xenDomainBlockStatsFlags,
    .domainInterfaceStats = xenDomainInterfaceStats,
    .domainSetInterfaceParameters = xenDomainSetInterfaceParameters,
    .domainGetInterfaceParameters = xenDomainGetInterfaceParameters,
    .domainMemoryStats = xenDomainMemoryStats,
    .domainBlockPeek = xenDomainBlockPeek,
    .domainMemoryPeek = xenDomainMemoryPeek,
    .domainGetBlockInfo = xenDomainGetBlockInfo,
    .nodeGetCPUStats = xenNodeGetCPUStats,
    .nodeGetMemoryStats = xenNodeGetMemoryStats,
    .nodeGetCellsFreeMemory = xenNodeGetCellsFreeMemory,
    .nodeGetFreeMemory = xenNodeGetFreeMemory,
    .nodeGetFreePages = xenNodeGetFreePages,
    .connectDomainEventRegister = xenConnectDomainEventRegister,
    .connectDomainEventDeregister = xenConnectDomainEventDeregister,
    .nodeDeviceDettach = xenNodeDeviceDettach,
    .nodeDeviceDetachFlags = xenNodeDeviceDetachFlags,
    .nodeDeviceReAttach = xenNodeDeviceReAttach,
    .nodeDeviceReset = xenNodeDeviceReset,
    .connectIsEncrypted = xenConnectIsEncrypted,
    .connectIsSecure = xenConnectIsSecure,
    .domainIsActive = xenDomainIsActive,
    .domainRename = xenDomainRename,
    .domainIsPersistent = xenDomainIsPersistent,
    .domainIsUpdated = xenDomainIsUpdated,
    .connectCompareCPU = xenConnectCompareCPU,
    .connectBaselineCPU = xenConnectBaselineCPU,
    .domainGetJobInfo = xenDomainGetJobInfo,
    .domainGetJobStats = xenDomainGetJobStats,
    .domainAbortJob = xenDomainAbortJob,
    .domainAbortJobFlags = xenDomainAbortJobFlags,
    .connectDomainEventRegisterAny = xenConnectDomainEventRegisterAny,
    .connectDomainEventDeregisterAny = xenConnectDomainEventDeregisterAny,
    .domainManagedSave = xenDomainManagedSave,
    .domainHasManagedSaveImage = xenDomainHasManagedSaveImage,
    .domainManagedSaveRemove = xenDomainManagedSaveRemove,
    .domainManagedSaveGetXMLDesc = xenDomainManagedSaveGetXMLDesc,
    .domainManagedSaveDefineXML = xenDomainManagedSaveDefineXML,
    .domainOpenConsole = xenDomainOpenConsole,
    .domainOpenChannel = xenDomainOpenChannel,
    .domainOpenGraphics = xenDomainOpenGraphics,
    .domainOpenGraphicsFD = xenDomainOpenGraphicsFD,
    .domainInjectNMI = xenDomainInjectNMI,
    .domainSendKey = xenDomainSendKey,
    .domainSetBlockIoTune = xenDomainSetBlockIoTune,
    .domainGetBlockIoTune = xenDomainGetBlockIoTune,
    .domainGetDiskErrors = xenDomainGetDiskErrors,
    .connectIsAlive = xenConnectIsAlive,
    .domainGetCPUStats = xenDomainGetCPUStats,
    .domainSetMetadata = xenDomainSetMetadata,
    .domainGetMetadata = xenDomainGetMetadata,
    .nodeGetCPUMap = xenNodeGetCPUMap,
    .connectGetCPUModelNames = xenConnectGetCPUModelNames,
    .connectGetDomainCapabilities = xenConnectGetDomainCapabilities,
    .connectGetAllDomainStats = xenConnectGetAllDomainStats,
    .domainInterfaceAddresses = xenDomainInterfaceAddresses,
    .domainSetVcpu = xenDomainSetVcpu,
    .domainSetLifecycleAction = xenDomainSetLifecycleAction,
    .connectCompareHypervisorCPU = xenConnectCompareHypervisorCPU,
    .connectBaselineHypervisorCPU = xenConnectBaselineHypervisorCPU,
    .domainGetMessages = xenDomainGetMessages,
};

static const char *schemes[] = {"xen", NULL};

static virConnectDriver xenConnectDriver = {
    .localOnly = true,
    .embeddable = true,
    .uriSchemes = schemes,
    .hypervisorDriver = &xenHypervisorDriver,
};

static virStateDriver xenStateDriver = {
    .name = XEN_DRIVER_EXTERNAL_NAME,
    .stateInitialize = xenStateInitialize,
    .stateCleanup = xenStateCleanup,
    .stateReload = xenStateReload,
};

int
xenDriverRegister(void)
{
    if (virRegisterConnectDriver(&xenConnectDriver, true) < 0)
        return -1;
    return virRegisterStateDriver(&xenStateDriver);
}
