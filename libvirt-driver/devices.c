/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entries that attach, detach and update devices.
 *
 * With --live and --config the definition is changed in a copy first, then the guest, and the copy becomes
 * the definition only when both went well: whoever sees a failure finds neither changed.
 */
#include "devices.h"
#include "entries.h"

#include "viraccessapicheck.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.devices");

typedef enum {
    XEN_ATTACH,
    XEN_DETACH,
    XEN_UPDATE,
} xenDeviceVerb;

const char *
xenDevicesElement(const virDomainDeviceDef *dev)
{
    if (dev->type == VIR_DOMAIN_DEVICE_CHR)
        return virDomainChrDeviceTypeToString(dev->data.chr->deviceType);
    return virDomainDeviceTypeToString(dev->type);
}

static int
changeConfig(xenDriver *driver, virDomainDef *def, virDomainDeviceDef *dev, xenDeviceVerb verb)
{
    switch (verb) {
    case XEN_ATTACH:
        if (virDomainDefCompatibleDevice(def, dev, NULL, VIR_DOMAIN_DEVICE_ACTION_ATTACH, false) < 0)
            return -1;
        return xenDevicesAttachConfig(def, dev, driver->xmlopt);
    case XEN_DETACH:
        return xenDevicesDetachConfig(def, dev);
    case XEN_UPDATE:
        return xenDevicesUpdateConfig(def, dev, driver->xmlopt);
    default:
        return -1;
    }
}

static int
changeLive(xenDriver *driver, virDomainObj *vm, virDomainDeviceDef *dev, xenDeviceVerb verb)
{
    int ret = -1;

    switch (verb) {
    case XEN_ATTACH:
        if (virDomainDefCompatibleDevice(vm->def, dev, NULL, VIR_DOMAIN_DEVICE_ACTION_ATTACH, true) == 0)
            ret = xenDevicesAttachLive(driver, vm, dev);
        break;
    case XEN_DETACH:
        ret = xenDevicesDetachLive(driver, vm, dev);
        break;
    case XEN_UPDATE:
        ret = xenDevicesUpdateLive(driver, vm, dev);
        break;
    }
    if (ret == 0)
        xenDomainSaveStatus(driver, vm);
    return ret;
}

/* Job held, impact settled. */
static int
change(xenDriver *driver, virDomainObj *vm, const char *xml, unsigned int flags, xenDeviceVerb verb)
{
    g_autoptr(virDomainDef) config = NULL;
    g_autoptr(virDomainDeviceDef) configDevice = NULL;
    g_autoptr(virDomainDeviceDef) liveDevice = NULL;
    unsigned int parseFlags = VIR_DOMAIN_DEF_PARSE_SKIP_VALIDATE;

    /* What is to be detached need not be complete. */
    if (verb != XEN_DETACH)
        parseFlags = 0;

    if (flags & VIR_DOMAIN_AFFECT_CONFIG) {
        config = virDomainObjCopyPersistentDef(vm, driver->xmlopt, NULL);
        if (!config)
            return -1;
        configDevice = virDomainDeviceDefParse(xml, config, driver->xmlopt, NULL,
                                               parseFlags | VIR_DOMAIN_DEF_PARSE_INACTIVE);
        if (!configDevice || changeConfig(driver, config, configDevice, verb) < 0)
            return -1;
    }
    if (flags & VIR_DOMAIN_AFFECT_LIVE) {
        liveDevice = virDomainDeviceDefParse(xml, vm->def, driver->xmlopt, NULL, parseFlags);
        if (!liveDevice || changeLive(driver, vm, liveDevice, verb) < 0)
            return -1;
        /* The guest may have died while it was asked. */
        if (!virDomainObjIsActive(vm))
            return -1;
    }
    if (config) {
        if (virDomainDefSave(config, driver->xmlopt, driver->settings->configDir) < 0)
            return -1;
        virDomainObjAssignDef(vm, &config, false, NULL);
        xenDomainQueueLifecycle(driver, vm, VIR_DOMAIN_EVENT_DEFINED, VIR_DOMAIN_EVENT_DEFINED_UPDATED);
    }
    return 0;
}

static int
withJob(virDomainPtr dom, virDomainObj *vm, const char *xml, unsigned int flags, xenDeviceVerb verb)
{
    int ret = -1;

    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        return -1;
    if (xenDomainCheckGuest(vm) == 0 && xenDomainSettleImpact(vm, &flags) == 0)
        ret = change(dom->conn->privateData, vm, xml, flags, verb);
    virDomainObjEndJob(vm);
    return ret;
}

int
xenDomainAttachDeviceFlags(virDomainPtr dom, const char *xml, unsigned int flags)
{
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainAttachDeviceFlagsEnsureACL(dom->conn, vm->def, flags) == 0)
        ret = withJob(dom, vm, xml, flags, XEN_ATTACH);
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainAttachDevice(virDomainPtr dom, const char *xml)
{
    return xenDomainAttachDeviceFlags(dom, xml, VIR_DOMAIN_AFFECT_LIVE);
}

int
xenDomainDetachDeviceFlags(virDomainPtr dom, const char *xml, unsigned int flags)
{
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainDetachDeviceFlagsEnsureACL(dom->conn, vm->def, flags) == 0)
        ret = withJob(dom, vm, xml, flags, XEN_DETACH);
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainDetachDevice(virDomainPtr dom, const char *xml)
{
    return xenDomainDetachDeviceFlags(dom, xml, VIR_DOMAIN_AFFECT_LIVE);
}

int
xenDomainUpdateDeviceFlags(virDomainPtr dom, const char *xml, unsigned int flags)
{
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG | VIR_DOMAIN_DEVICE_MODIFY_FORCE, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainUpdateDeviceFlagsEnsureACL(dom->conn, vm->def, flags) == 0)
        ret = withJob(dom, vm, xml, flags & ~VIR_DOMAIN_DEVICE_MODIFY_FORCE, XEN_UPDATE);
    virDomainObjEndAPI(&vm);
    return ret;
}

/* By alias: the device is found first, and then detached like any other. */
static int
detachAlias(xenDriver *driver, virDomainObj *vm, const char *alias, unsigned int flags)
{
    g_autoptr(virDomainDef) config = NULL;
    virDomainDeviceDef dev;

    if (flags & VIR_DOMAIN_AFFECT_CONFIG) {
        config = virDomainObjCopyPersistentDef(vm, driver->xmlopt, NULL);
        if (!config || virDomainDefFindDevice(config, alias, &dev, true) < 0 ||
            xenDevicesDetachConfig(config, &dev) < 0)
            return -1;
    }
    if (flags & VIR_DOMAIN_AFFECT_LIVE) {
        if (virDomainDefFindDevice(vm->def, alias, &dev, true) < 0 ||
            changeLive(driver, vm, &dev, XEN_DETACH) < 0)
            return -1;
    }
    if (config) {
        if (virDomainDefSave(config, driver->xmlopt, driver->settings->configDir) < 0)
            return -1;
        virDomainObjAssignDef(vm, &config, false, NULL);
    }
    return 0;
}

int
xenDomainDetachDeviceAlias(virDomainPtr dom, const char *alias, unsigned int flags)
{
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainDetachDeviceAliasEnsureACL(dom->conn, vm->def, flags) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (xenDomainCheckGuest(vm) == 0 && xenDomainSettleImpact(vm, &flags) == 0)
        ret = detachAlias(dom->conn->privateData, vm, alias, flags);
    virDomainObjEndJob(vm);

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}
