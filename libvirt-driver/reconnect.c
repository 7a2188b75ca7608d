/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One truth: what the hypervisor says about a domain decides what libvirt shows.
 *
 * xenProcessReconcile() is the only place that draws conclusions.  Events (monitor.c) are mere occasions to
 * call it, so a lost, repeated or late event changes nothing.  Its last three rows, as no event tells of a
 * pause, nor that another program died in the middle of a save, are looked at as well whenever a client asks
 * how a domain is: xenProcessFollowPause().
 *
 *   hypervisor says         libvirt showed      then
 *   ----------------------  ------------------  ------------------------------------------------
 *   no such domain, dying   running, paused     it was destroyed by another: stopped, destroyed
 *   powered off             running             <on_poweroff>
 *   wants a reboot          running             <on_reboot>
 *   crashed, watchdog       running             <on_crash>
 *   suspended itself        running             whoever had it saved was killed: it goes on
 *   paused                  running             paused by another
 *   runs                    paused              resumed by another
 *
 * After a start of the daemon the same function meets every domain whose status file is there.  A domain
 * of ours without a status file is what a killed start left: it has not run yet and is destroyed; or
 * its file was lost, and then the persistent definition takes it back.
 */
#include "process.h"
#include "blkio.h"
#include "devices.h"
#include "error.h"
#include "save.h"

#include "driver.h"
#include "virtime.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.reconnect");

static void
stop(xenDriver *driver, virDomainObj *vm, virDomainShutoffReason reason, int detail)
{
    if (xenProcessStop(driver, vm, reason) < 0) {
        VIR_WARN("domain '%s' has stopped but cannot be taken away: %s", vm->def->name,
                 virGetLastErrorMessage());
        return;
    }
    xenProcessStopped(driver, vm, detail);
}

static void
dumpCore(xenDriver *driver, virDomainObj *vm)
{
    g_autofree char *stamp = NULL;
    g_autofree char *path = NULL;
    g_autoptr(GDateTime) now = g_date_time_new_now_local();

    stamp = g_date_time_format(now, "%Y-%m-%d-%H:%M:%S");
    path = g_strdup_printf("%s/%d-%s-%s", driver->settings->dumpDir, vm->def->id, vm->def->name, stamp);
    if (xenSaveDumpCore(driver, vm, path, SERAI_DUMP_LIVE, VIR_DOMAIN_CORE_DUMP_FORMAT_RAW, 0) < 0)
        VIR_WARN("cannot dump domain '%s': %s", vm->def->name, virGetLastErrorMessage());
}

static void
carryOut(xenDriver *driver, virDomainObj *vm, int action, virDomainShutoffReason reason, int detail)
{
    switch ((virDomainLifecycleAction)action) {
    case VIR_DOMAIN_LIFECYCLE_ACTION_PRESERVE:
        if (reason == VIR_DOMAIN_SHUTOFF_CRASHED)
            virDomainObjSetState(vm, VIR_DOMAIN_CRASHED, VIR_DOMAIN_CRASHED_PANICKED);
        else
            virDomainObjSetState(vm, VIR_DOMAIN_SHUTDOWN, VIR_DOMAIN_SHUTDOWN_USER);
        xenDomainSaveStatus(driver, vm);
        break;
    case VIR_DOMAIN_LIFECYCLE_ACTION_COREDUMP_RESTART:
        dumpCore(driver, vm);
        G_GNUC_FALLTHROUGH;
    case VIR_DOMAIN_LIFECYCLE_ACTION_RESTART:
    case VIR_DOMAIN_LIFECYCLE_ACTION_RESTART_RENAME:
        if (xenProcessRestart(driver, vm) < 0)
            VIR_WARN("cannot restart domain '%s': %s", vm->def->name, virGetLastErrorMessage());
        break;
    case VIR_DOMAIN_LIFECYCLE_ACTION_COREDUMP_DESTROY:
        dumpCore(driver, vm);
        G_GNUC_FALLTHROUGH;
    case VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY:
    case VIR_DOMAIN_LIFECYCLE_ACTION_LAST:
    default:
        stop(driver, vm, reason, detail);
        break;
    }
}

/*
 * A guest sleeps and no job is saving it, for we hold one: the daemon that asked it to was killed, or another
 * program is at it, which the library leaves alone.  That it falls asleep only after we have started is as
 * possible, as it takes its time.
 */
static void
wake(virDomainObj *vm)
{
    g_autoptr(GError) error = NULL;

    if (serai_domain_wake(XEN_PRIVATE(vm)->domain, &error))
        VIR_WARN("domain '%s' suspended itself and nobody saves it: it goes on", vm->def->name);
    else if (g_error_matches(error, SERAI_ERROR, SERAI_ERROR_INVALID_STATE))
        VIR_DEBUG("domain '%s' sleeps: %s", vm->def->name, error->message);
    else
        VIR_WARN("domain '%s' sleeps: %s", vm->def->name, error->message);
}

static void
hasShutDown(xenDriver *driver, virDomainObj *vm, SeraiShutdownReason reason)
{
    switch (reason) {
    case SERAI_SHUTDOWN_SUSPEND:
        wake(vm);
        break;
    case SERAI_SHUTDOWN_NONE:
        break;
    case SERAI_SHUTDOWN_REBOOT:
    case SERAI_SHUTDOWN_SOFT_RESET:
        xenDomainQueue(driver, virDomainEventRebootNewFromObj(vm));
        carryOut(driver, vm, vm->def->onReboot, VIR_DOMAIN_SHUTOFF_SHUTDOWN,
                 VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN);
        break;
    case SERAI_SHUTDOWN_CRASH:
    case SERAI_SHUTDOWN_WATCHDOG:
        if (virDomainObjGetState(vm, NULL) == VIR_DOMAIN_CRASHED)
            break;
        xenDomainQueueLifecycle(driver, vm, VIR_DOMAIN_EVENT_CRASHED, VIR_DOMAIN_EVENT_CRASHED_PANICKED);
        carryOut(driver, vm, vm->def->onCrash, VIR_DOMAIN_SHUTOFF_CRASHED, VIR_DOMAIN_EVENT_STOPPED_CRASHED);
        break;
    case SERAI_SHUTDOWN_POWEROFF:
    case SERAI_SHUTDOWN_UNKNOWN:
    default:
        if (virDomainObjGetState(vm, NULL) == VIR_DOMAIN_SHUTDOWN)
            break;
        xenDomainQueueLifecycle(driver, vm, VIR_DOMAIN_EVENT_SHUTDOWN, VIR_DOMAIN_EVENT_SHUTDOWN_FINISHED);
        carryOut(driver, vm, vm->def->onPoweroff, VIR_DOMAIN_SHUTOFF_SHUTDOWN,
                 VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN);
        break;
    }
}

/* Others pause and unpause as well, and no event of the hypervisor's tells. */
static void
followPause(xenDriver *driver, virDomainObj *vm, const SeraiDomainInfo *info)
{
    virDomainState state = virDomainObjGetState(vm, NULL);

    if (info->paused && state == VIR_DOMAIN_RUNNING) {
        virDomainObjSetState(vm, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_UNKNOWN);
        xenDomainQueueLifecycle(driver, vm, VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_PAUSED);
        xenDomainSaveStatus(driver, vm);
    } else if (!info->paused && state == VIR_DOMAIN_PAUSED) {
        virDomainObjSetState(vm, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_UNKNOWN);
        xenDomainQueueLifecycle(driver, vm, VIR_DOMAIN_EVENT_RESUMED, VIR_DOMAIN_EVENT_RESUMED_UNPAUSED);
        xenDomainSaveStatus(driver, vm);
    }
}

void
xenProcessReconcile(xenDriver *driver, virDomainObj *vm)
{
    xenDomainPrivate *priv = XEN_PRIVATE(vm);
    g_autoptr(xenDomainFacts) info = NULL;
    g_autoptr(GError) error = NULL;

    if (vm->def->id == 0 || !virDomainObjIsActive(vm) || !priv->domain)
        return;

    info = serai_domain_get_info(priv->domain, &error);
    if (!info && !g_error_matches(error, SERAI_ERROR, SERAI_ERROR_NO_DOMAIN)) {
        VIR_WARN("cannot ask for domain '%s': %s", vm->def->name, error->message);
        return;
    }
    if (!info || info->dying) {
        stop(driver, vm, VIR_DOMAIN_SHUTOFF_DESTROYED, VIR_DOMAIN_EVENT_STOPPED_DESTROYED);
        return;
    }
    if (info->shutdown_reason != SERAI_SHUTDOWN_NONE) {
        hasShutDown(driver, vm, info->shutdown_reason);
        return;
    }
    followPause(driver, vm, info);
}

/* Not while somebody changes it: a save pauses its domain, and so does a start. */
void
xenProcessFollowPause(xenDriver *driver, virDomainObj *vm, const SeraiDomainInfo *info)
{
    if (vm->def->id == 0 || !virDomainObjIsActive(vm) || info->dying || vm->job->active != VIR_JOB_NONE ||
        vm->job->asyncJob != VIR_ASYNC_JOB_NONE)
        return;
    if (info->shutdown_reason == SERAI_SHUTDOWN_NONE)
        followPause(driver, vm, info);
    else if (info->shutdown_reason == SERAI_SHUTDOWN_SUSPEND)
        wake(vm);
}

/* A number is used again after a reboot of the host; the UUID tells. */
static SeraiDomain *
findGuest(xenDriver *driver, virDomainObj *vm)
{
    g_autoptr(SeraiDomain) domain = serai_host_lookup_by_id(driver->host, vm->def->id, NULL);
    char uuid[VIR_UUID_STRING_BUFLEN];

    virUUIDFormat(vm->def->uuid, uuid);
    if (!domain || STRCASENEQ(serai_domain_get_uuid(domain), uuid))
        return NULL;
    return g_steal_pointer(&domain);
}

static void
takeBackPorts(virDomainObj *vm)
{
    size_t i;

    for (i = 0; i < vm->def->ngraphics; i++) {
        virDomainGraphicsDef *graphics = vm->def->graphics[i];

        if (graphics->type != VIR_DOMAIN_GRAPHICS_TYPE_VNC || !graphics->data.vnc.autoport ||
            graphics->data.vnc.port <= 0)
            continue;
        if (virPortAllocatorSetUsed(graphics->data.vnc.port) == 0)
            graphics->data.vnc.portReserved = true;
    }
}

/* Of a guest that was being saved when the daemon ended: it goes on, so an image that was whole already is
 * stale. */
static void
meetCutOffSave(xenDriver *driver, virDomainObj *vm)
{
    if (!vm->hasManagedSave)
        return;
    VIR_WARN("domain '%s' was being saved when the daemon ended: it goes on, and the image is removed",
             vm->def->name);
    if (xenSaveRemoveManaged(driver, vm) < 0)
        VIR_WARN("%s", virGetLastErrorMessage());
}

/* What a guest that runs has of the host is known to be its own again. */
static void
takeUp(xenDriver *driver, virDomainObj *vm)
{
    size_t i;

    xenProcessFillIn(driver, vm);
    takeBackPorts(vm);
    for (i = 0; i < vm->def->nnets; i++) {
        virDomainNetDef *net = vm->def->nets[i];
        g_autoptr(virConnect) network = NULL;

        if (xenNetTakeMac(driver, vm, net) < 0)
            VIR_WARN("%s", virGetLastErrorMessage());
        if (net->type == VIR_DOMAIN_NET_TYPE_NETWORK && (network = virGetConnectNetwork()))
            virDomainNetNotifyActualDevice(network, vm->def, net);
    }
    xenBlkioReconnect(driver, vm);
}

static void
reconnect(xenDriver *driver, virDomainObj *vm)
{
    xenDomainPrivate *priv = XEN_PRIVATE(vm);

    if (!virDomainObjIsActive(vm) || vm->def->id == 0)
        return;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        return;

    priv->domain = findGuest(driver, vm);
    xenDriverDomainStarted(driver);
    /* Of one that has ended as well: what is not known to be its is not given back to dom0. */
    xenHostdevsMeet(driver, vm);
    if (!priv->domain) {
        /* It ended while nobody looked, or the host was rebooted. */
        stop(driver, vm, VIR_DOMAIN_SHUTOFF_UNKNOWN, VIR_DOMAIN_EVENT_STOPPED_DESTROYED);
    } else {
        takeUp(driver, vm);
        xenDevicesSettle(driver, vm);
        meetCutOffSave(driver, vm);
        xenProcessReconcile(driver, vm);
        xenDomainSaveStatus(driver, vm);
    }
    virDomainObjEndJob(vm);
}

static void
adopt(xenDriver *driver, virDomainObj *vm, SeraiDomain *domain, const SeraiDomainInfo *info)
{
    if (virDomainObjSetDefTransient(driver->xmlopt, vm, NULL) < 0)
        return;
    XEN_PRIVATE(vm)->domain = g_object_ref(domain);
    vm->def->id = info->domid;
    virDomainObjSetState(vm, info->paused ? VIR_DOMAIN_PAUSED : VIR_DOMAIN_RUNNING, 0);
    xenDriverDomainStarted(driver);
    xenHostdevsMeet(driver, vm);
    takeUp(driver, vm);
    xenDevicesFollow(driver, vm);
    xenDomainSaveStatus(driver, vm);
    xenProcessReconcile(driver, vm);
}

/* A domain of ours that no status file tells of. */
static void
reclaim(xenDriver *driver, const SeraiDomainInfo *info)
{
    g_autoptr(SeraiDomain) domain = serai_host_lookup_by_id(driver->host, info->domid, NULL);
    g_autoptr(SeraiConfig) config = domain ? serai_domain_get_config(domain, NULL) : NULL;
    g_autoptr(GError) error = NULL;
    unsigned char uuid[VIR_UUID_BUFLEN];
    virDomainObj *vm = NULL;

    if (!config || STRNEQ_NULLABLE(config->owner_data, XEN_DRIVER_OWNER) ||
        virUUIDParse(info->uuid, uuid) < 0)
        return;

    vm = virDomainObjListFindByUUID(driver->domains, uuid);
    if (vm && virDomainObjIsActive(vm))
        goto out;

    if (info->paused && info->cpu_time_ns == 0) {
        VIR_WARN("domain '%s' (%u) was being started when the daemon ended: it is destroyed", config->name,
                 info->domid);
        if (!serai_domain_destroy_sync(domain, NULL, &error))
            VIR_WARN("cannot destroy domain %u: %s", info->domid, error->message);
        xenBlkioRemove(driver, info->domid, config->name);
    } else if (vm && virDomainObjBeginJob(vm, VIR_JOB_MODIFY) == 0) {
        adopt(driver, vm, domain, info);
        virDomainObjEndJob(vm);
    } else if (!vm) {
        VIR_WARN("domain '%s' (%u) runs, but there is no definition of it any more", config->name,
                 info->domid);
    }

out:
    virDomainObjEndAPI(&vm);
}

/* Not virDomainObjListForEach(): a domain that has ended leaves the list. */
static void
forEach(xenDriver *driver, void (*function)(xenDriver *, virDomainObj *))
{
    virDomainObj **vms = NULL;
    size_t nvms = 0;
    size_t i;

    virDomainObjListCollectAll(driver->domains, &vms, &nvms);
    for (i = 0; i < nvms; i++) {
        virObjectLock(vms[i]);
        function(driver, vms[i]);
        virDomainObjEndAPI(&vms[i]);
    }
    g_free(vms);
}

void
xenProcessAskForPause(xenDriver *driver, virDomainObj *vm)
{
    SeraiDomain *domain = virDomainObjIsActive(vm) ? XEN_PRIVATE(vm)->domain : NULL;
    g_autoptr(xenDomainFacts) info = domain ? serai_domain_get_info(domain, NULL) : NULL;

    if (info)
        xenProcessFollowPause(driver, vm, info);
}

void
xenProcessFollowPauses(xenDriver *driver, unsigned int flags)
{
    if (flags & VIR_CONNECT_LIST_DOMAINS_FILTERS_STATE)
        forEach(driver, xenProcessAskForPause);
}

void
xenProcessReconnectAll(xenDriver *driver)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) domains = NULL;
    size_t i;

    forEach(driver, reconnect);

    domains = serai_host_list_domains(driver->host, &error);
    if (!domains) {
        VIR_WARN("cannot list the domains of the host: %s", error->message);
        return;
    }
    for (i = 0; i < domains->len; i++) {
        const SeraiDomainInfo *info = g_ptr_array_index(domains, i);

        if (info->domid != 0 && !info->dying)
            reclaim(driver, info);
    }
}

static void
autostart(xenDriver *driver, virDomainObj *vm)
{
    virResetLastError();
    if (!vm->autostart || virDomainObjIsActive(vm))
        return;
    if (xenDomainJobBegin(vm, VIR_ASYNC_JOB_START, VIR_DOMAIN_JOB_OPERATION_START, 0) < 0)
        return;
    if (xenSaveStartOrResume(driver, vm, NULL, 0) < 0)
        VIR_ERROR(_("cannot start domain '%s' automatically: %s"), vm->def->name, virGetLastErrorMessage());
    xenDomainJobEnd(vm, virDomainObjIsActive(vm));
}

void
xenProcessAutostartAll(xenDriver *driver)
{
    bool wanted = false;

    if (virDriverShouldAutostart(driver->settings->stateDir, &wanted) == 0 && wanted)
        forEach(driver, autostart);
}
