/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entries that start, stop and hold a domain.
 *
 * Domain 0 is the host: it can be looked at and its memory and CPUs changed, and nothing here touches it.
 */
#include "entries.h"
#include "postparse.h"
#include "error.h"
#include "process.h"
#include "save.h"

#include "viraccessapicheck.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.lifecycle");

#define XEN_START_FLAGS                                                                       \
    (VIR_DOMAIN_START_PAUSED | VIR_DOMAIN_START_AUTODESTROY | VIR_DOMAIN_START_BYPASS_CACHE | \
     VIR_DOMAIN_START_FORCE_BOOT | VIR_DOMAIN_START_VALIDATE)

virDomainPtr
xenDomainCreateXML(virConnectPtr conn, const char *xml, unsigned int flags)
{
    xenDriver *driver = conn->privateData;
    g_autoptr(virDomainDef) def = NULL;
    virDomainObj *vm = NULL;
    virDomainPtr dom = NULL;
    unsigned int parseFlags = VIR_DOMAIN_DEF_PARSE_INACTIVE;
    int started;

    virCheckFlags(VIR_DOMAIN_START_PAUSED | VIR_DOMAIN_START_AUTODESTROY | VIR_DOMAIN_START_VALIDATE, NULL);

    if (flags & VIR_DOMAIN_START_VALIDATE)
        parseFlags |= VIR_DOMAIN_DEF_PARSE_VALIDATE_SCHEMA;
    def = xenPostParseString(xml, driver->xmlopt, parseFlags);
    if (!def)
        return NULL;
    if (virDomainCreateXMLEnsureACL(conn, def) < 0)
        return NULL;

    vm = xenDomainAdd(driver, &def, VIR_DOMAIN_OBJ_LIST_ADD_LIVE | VIR_DOMAIN_OBJ_LIST_ADD_CHECK_LIVE, NULL);
    if (!vm)
        return NULL;
    if (xenDomainJobBegin(vm, VIR_ASYNC_JOB_START, VIR_DOMAIN_JOB_OPERATION_START, flags) < 0)
        goto remove;
    started = xenProcessStart(driver, vm, conn, -1, VIR_DOMAIN_EVENT_STARTED_BOOTED,
                              (flags & VIR_DOMAIN_START_PAUSED ? XEN_START_PAUSED : 0) |
                                  (flags & VIR_DOMAIN_START_AUTODESTROY ? XEN_START_AUTODESTROY : 0));
    if (started == 0)
        dom = virGetDomain(conn, vm->def->name, vm->def->uuid, vm->def->id);
    xenDomainJobEnd(vm, started == 0);

remove:
    if (!dom && !vm->persistent && !virDomainObjIsActive(vm))
        virDomainObjListRemove(driver->domains, vm);
    virDomainObjEndAPI(&vm);
    return dom;
}

int
xenDomainCreateWithFlags(virDomainPtr dom, unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(XEN_START_FLAGS, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainCreateWithFlagsEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    if (xenDomainJobBegin(vm, VIR_ASYNC_JOB_START, VIR_DOMAIN_JOB_OPERATION_START, flags) < 0)
        goto cleanup;
    ret = xenSaveStartOrResume(driver, vm, dom->conn, flags);
    if (ret == 0)
        dom->id = vm->def->id;
    xenDomainJobEnd(vm, ret == 0);

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainCreate(virDomainPtr dom)
{
    return xenDomainCreateWithFlags(dom, 0);
}

int
xenDomainSuspend(virDomainPtr dom)
{
    xenDriver *driver = dom->conn->privateData;
    g_autoptr(GError) error = NULL;
    virDomainObj *vm = xenDomainObjFromDomain(dom);
    int ret = -1;

    if (!vm)
        return -1;
    if (virDomainSuspendEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (xenDomainCheckGuest(vm) < 0 || xenDomainCheckActive(vm) < 0)
        goto endjob;

    if (virDomainObjGetState(vm, NULL) != VIR_DOMAIN_PAUSED) {
        if (!serai_domain_pause(XEN_PRIVATE(vm)->domain, &error)) {
            xenReportError(&error, _("cannot suspend domain '%s'"), vm->def->name);
            goto endjob;
        }
        virDomainObjSetState(vm, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER);
        xenDomainQueueLifecycle(driver, vm, VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_PAUSED);
    }
    xenDomainSaveStatus(driver, vm);
    ret = 0;

endjob:
    virDomainObjEndJob(vm);
cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainResume(virDomainPtr dom)
{
    xenDriver *driver = dom->conn->privateData;
    g_autoptr(GError) error = NULL;
    virDomainObj *vm = xenDomainObjFromDomain(dom);
    int ret = -1;

    if (!vm)
        return -1;
    if (virDomainResumeEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (xenDomainCheckGuest(vm) < 0 || xenDomainCheckActive(vm) < 0)
        goto endjob;

    if (virDomainObjGetState(vm, NULL) == VIR_DOMAIN_PAUSED) {
        if (!serai_domain_unpause(XEN_PRIVATE(vm)->domain, &error)) {
            xenReportError(&error, _("cannot resume domain '%s'"), vm->def->name);
            goto endjob;
        }
        virDomainObjSetState(vm, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_UNPAUSED);
        xenDomainQueueLifecycle(driver, vm, VIR_DOMAIN_EVENT_RESUMED, VIR_DOMAIN_EVENT_RESUMED_UNPAUSED);
    }
    xenDomainSaveStatus(driver, vm);
    ret = 0;

endjob:
    virDomainObjEndJob(vm);
cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

/* @flags are the ways that the caller would have; none means any. */
static int
checkWay(const virDomainObj *vm, unsigned int flags, unsigned int paravirt)
{
    if (flags == 0 || (flags & paravirt))
        return 0;
    virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                   _("domain '%s' is paravirtualized and has no power button, agent or init that could be "
                     "asked: use mode 'paravirt'"),
                   vm->def->name);
    return -1;
}

int
xenDomainShutdownFlags(virDomainPtr dom, unsigned int flags)
{
    g_autoptr(GError) error = NULL;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN | VIR_DOMAIN_SHUTDOWN_GUEST_AGENT |
                      VIR_DOMAIN_SHUTDOWN_INITCTL | VIR_DOMAIN_SHUTDOWN_SIGNAL | VIR_DOMAIN_SHUTDOWN_PARAVIRT,
                  -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainShutdownFlagsEnsureACL(dom->conn, vm->def, flags) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (xenDomainCheckGuest(vm) < 0 || xenDomainCheckActive(vm) < 0 ||
        checkWay(vm, flags, VIR_DOMAIN_SHUTDOWN_PARAVIRT) < 0)
        goto endjob;

    /* The guest answers in its own time; the event tells. */
    if (!serai_domain_shutdown(XEN_PRIVATE(vm)->domain, &error)) {
        xenReportError(&error, _("cannot shut down domain '%s'"), vm->def->name);
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
xenDomainShutdown(virDomainPtr dom)
{
    return xenDomainShutdownFlags(dom, 0);
}

int
xenDomainReboot(virDomainPtr dom, unsigned int flags)
{
    g_autoptr(GError) error = NULL;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_REBOOT_ACPI_POWER_BTN | VIR_DOMAIN_REBOOT_GUEST_AGENT |
                      VIR_DOMAIN_REBOOT_INITCTL | VIR_DOMAIN_REBOOT_SIGNAL | VIR_DOMAIN_REBOOT_PARAVIRT,
                  -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainRebootEnsureACL(dom->conn, vm->def, flags) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (xenDomainCheckGuest(vm) < 0 || xenDomainCheckActive(vm) < 0 ||
        checkWay(vm, flags, VIR_DOMAIN_REBOOT_PARAVIRT) < 0)
        goto endjob;
    if (!serai_domain_reboot(XEN_PRIVATE(vm)->domain, &error)) {
        xenReportError(&error, _("cannot reboot domain '%s'"), vm->def->name);
        goto endjob;
    }
    ret = 0;

endjob:
    virDomainObjEndJob(vm);
cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

/* As when the reset button is pressed: the guest is not asked, and its devices stay. */
int
xenDomainReset(virDomainPtr dom, unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(0, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainResetEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    if (xenDomainJobBegin(vm, VIR_ASYNC_JOB_START, VIR_DOMAIN_JOB_OPERATION_START, flags) < 0)
        goto cleanup;
    if (xenDomainCheckGuest(vm) < 0 || xenDomainCheckActive(vm) < 0)
        goto endjob;
    xenDomainQueue(driver, virDomainEventRebootNewFromObj(vm));
    ret = xenProcessRestart(driver, vm);

endjob:
    xenDomainJobEnd(vm, ret == 0);
cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

/* There are no logs of a domain to remove: what its console said stays, as its <log> asked for it. */
int
xenDomainDestroyFlags(virDomainPtr dom, unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    bool stopped = false;
    bool cancelled = false;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_DESTROY_GRACEFUL | VIR_DOMAIN_DESTROY_REMOVE_LOGS, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainDestroyFlagsEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    if (xenDomainCheckGuest(vm) < 0)
        goto cleanup;

    /* A start, save or dump under way ends first; it is what the caller does not want any more. */
    if (XEN_PRIVATE(vm)->cancellable) {
        cancelled = vm->job->asyncJob == VIR_ASYNC_JOB_START;
        g_cancellable_cancel(XEN_PRIVATE(vm)->cancellable);
    }
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (!virDomainObjIsActive(vm) && cancelled) {
        ret = 0;
        goto endjob;
    }
    if (xenDomainCheckActive(vm) < 0 || xenProcessStop(driver, vm, VIR_DOMAIN_SHUTOFF_DESTROYED) < 0)
        goto endjob;
    stopped = true;
    ret = 0;

endjob:
    virDomainObjEndJob(vm);
    if (stopped)
        xenProcessStopped(driver, vm, VIR_DOMAIN_EVENT_STOPPED_DESTROYED);
cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainDestroy(virDomainPtr dom)
{
    return xenDomainDestroyFlags(dom, 0);
}

int
xenDomainInjectNMI(virDomainPtr dom, unsigned int flags)
{
    g_autoptr(GError) error = NULL;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(0, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainInjectNMIEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (xenDomainCheckGuest(vm) < 0 || xenDomainCheckActive(vm) < 0)
        goto endjob;
    if (!serai_domain_nmi(XEN_PRIVATE(vm)->domain, &error)) {
        xenReportError(&error, _("cannot send an NMI to domain '%s'"), vm->def->name);
        goto endjob;
    }
    ret = 0;

endjob:
    virDomainObjEndJob(vm);
cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

/* Sleep states are ACPI's, and a paravirtualized guest has no ACPI. */
static int
noSleepStates(virDomainObj *vm)
{
    virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                   _("domain '%s' is paravirtualized and has no sleep states: use suspend or managedsave"),
                   vm->def->name);
    return -1;
}

int
xenDomainPMSuspendForDuration(virDomainPtr dom, unsigned int target G_GNUC_UNUSED,
                              unsigned long long duration G_GNUC_UNUSED, unsigned int flags)
{
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(0, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainPMSuspendForDurationEnsureACL(dom->conn, vm->def) == 0)
        ret = noSleepStates(vm);
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainPMWakeup(virDomainPtr dom, unsigned int flags)
{
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(0, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainPMWakeupEnsureACL(dom->conn, vm->def) == 0)
        ret = noSleepStates(vm);
    virDomainObjEndAPI(&vm);
    return ret;
}
