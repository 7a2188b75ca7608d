/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Start, stop, restart.
 *
 * A start has two halves.  "acquire" takes what libvirt has for the domain: volumes, network ports, VNC
 * ports, locks on images.  "launch" makes the guest.  A stop is the mirror of both, a restart repeats the
 * second half only.  The status file is written before the guest's first instruction, so a daemon that is
 * killed at any moment finds every guest that has run again (reconnect.c).
 */
#include "process.h"
#include "blkio.h"
#include "conf.h"
#include "disk-limits.h"
#include "error.h"
#include "locks.h"
#include "log.h"
#include "memory.h"
#include "qmp.h"
#include "save.h"
#include "secrets.h"

#include "domain_audit.h"
#include "virclosecallbacks.h"
#include "virtime.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.process");

/* How long to wait for the console daemon to open a console that a new domain has, in steps of 50 ms. */
#define XEN_CONSOLE_STEPS 40

static int
acquireVncPort(xenDriver *driver, virDomainGraphicsDef *graphics)
{
    unsigned short port;
    virDomainGraphicsListenDef *listen = virDomainGraphicsGetListen(graphics, 0);

    if (graphics->type != VIR_DOMAIN_GRAPHICS_TYPE_VNC)
        return 0;
    if (listen && listen->type == VIR_DOMAIN_GRAPHICS_LISTEN_TYPE_SOCKET)
        return 0;

    if (graphics->data.vnc.autoport) {
        if (virPortAllocatorAcquire(driver->vncPorts, &port) < 0)
            return -1;
        graphics->data.vnc.port = port;
        graphics->data.vnc.portReserved = true;
    }
    if (!listen)
        return virDomainGraphicsListenAppendAddress(graphics, driver->settings->vncListen);
    if (listen->type == VIR_DOMAIN_GRAPHICS_LISTEN_TYPE_ADDRESS && !listen->address)
        listen->address = g_strdup(driver->settings->vncListen);
    return 0;
}

static void
releaseVncPort(virDomainGraphicsDef *graphics)
{
    if (graphics->type != VIR_DOMAIN_GRAPHICS_TYPE_VNC || !graphics->data.vnc.portReserved)
        return;
    virPortAllocatorRelease(graphics->data.vnc.port);
    graphics->data.vnc.portReserved = false;
    graphics->data.vnc.port = -1;
}

/* A socket that nobody named gets a name of its own. */
static void
nameSocket(xenDriver *driver, virDomainObj *vm, virDomainChrDef *chr)
{
    if (chr->source->type != VIR_DOMAIN_CHR_TYPE_UNIX || chr->source->data.nix.path)
        return;
    chr->source->data.nix.listen = true;
    chr->source->data.nix.path = g_strdup_printf("%s/%s-%s", driver->settings->channelDir, vm->def->name,
                                                 NULLSTR_EMPTY(chr->target.name));
}

static void
releaseDevices(xenDriver *driver, virDomainObj *vm)
{
    size_t i;

    for (i = 0; i < vm->def->ngraphics; i++)
        releaseVncPort(vm->def->graphics[i]);
    for (i = 0; i < vm->def->nnets; i++)
        xenNetRelease(driver, vm, vm->def->nets[i]);
}

/* The mirror of acquire(). */
static void
release(xenDriver *driver, virDomainObj *vm)
{
    xenHostdevsRelease(driver, vm, vm->def->hostdevs, vm->def->nhostdevs);
    xenLocksRelease(driver, vm);
    releaseDevices(driver, vm);
}

static int
acquire(xenDriver *driver, virDomainObj *vm, bool restored)
{
    virErrorPtr error;
    size_t i;

    if (xenDisksFind(driver, vm, restored) < 0)
        return -1;
    for (i = 0; i < vm->def->nchannels; i++)
        nameSocket(driver, vm, vm->def->channels[i]);
    for (i = 0; i < vm->def->nnets; i++) {
        if (xenNetAcquire(driver, vm, vm->def->nets[i]) < 0)
            goto undo;
    }
    for (i = 0; i < vm->def->ngraphics; i++) {
        if (acquireVncPort(driver, vm->def->graphics[i]) < 0)
            goto undo;
    }

    if (xenLocksAcquire(driver, vm) < 0)
        goto undo;
    if (xenHostdevsAcquire(driver, vm, vm->def->hostdevs, vm->def->nhostdevs) < 0)
        goto unlock;
    return 0;

unlock:
    virErrorPreserveLast(&error);
    xenLocksRelease(driver, vm);
    virErrorRestore(&error);
undo:
    virErrorPreserveLast(&error);
    releaseDevices(driver, vm);
    virErrorRestore(&error);
    return -1;
}

/* Makes the guest, paused.  The lock is given up while the hypervisor works. */
static SeraiDomain *
make(xenDriver *driver, virDomainObj *vm, int restoreFd)
{
    g_autoptr(SeraiConfig) config = xenConfBuild(vm->def);
    g_autoptr(GError) error = NULL;
    GCancellable *cancellable;
    SeraiDomain *domain;

    if (!config || xenSecretsFind(vm->def, config) < 0)
        return NULL;
    /* Tells our domains from those of other tools after a restart of the daemon. */
    config->owner_data = g_strdup(XEN_DRIVER_OWNER);

    cancellable = xenDomainJobWork(vm);
    if (restoreFd < 0)
        domain =
            serai_domain_create_sync(driver->host, config, cancellable, xenDomainJobProgress, vm, &error);
    else
        domain = serai_domain_restore_sync(driver->host, config, restoreFd, cancellable, xenDomainJobProgress,
                                           vm, &error);
    xenDomainJobDone(vm, cancellable);

    if (!domain) {
        xenLogQuote(driver, vm->def, error);
        xenReportError(&error, _("cannot start domain '%s'"), vm->def->name);
    }
    return domain;
}

static void
withdraw(xenDriver *driver, virDomainObj *vm)
{
    size_t i;

    for (i = 0; i < vm->def->nnets; i++)
        xenNetDeactivate(driver, vm, vm->def->nets[i]);
}

/* What the guest's consoles were connected to is gone with it. */
static void
closeConsoles(virDomainObj *vm)
{
    xenDomainPrivate *priv = XEN_PRIVATE(vm);

    virChrdevFree(priv->devs);
    priv->devs = virChrdevAlloc();
}

/* Without the lock, as both take their time. */
static int
destroyGuest(xenDriver *driver, virDomainObj *vm)
{
    xenDomainPrivate *priv = XEN_PRIVATE(vm);
    g_autoptr(SeraiDomain) domain = priv->domain ? g_object_ref(priv->domain) : NULL;
    g_autofree char *name = g_strdup(vm->def->name);
    g_autoptr(GError) error = NULL;
    int id = vm->def->id;
    gboolean done;

    virObjectUnlock(vm);
    done = !domain || serai_domain_destroy_sync(domain, NULL, &error);
    if (done)
        xenBlkioRemove(driver, id, name);
    virObjectLock(vm);

    if (!done) {
        xenReportError(&error, _("cannot destroy domain '%s'"), vm->def->name);
        return -1;
    }
    closeConsoles(vm);
    g_clear_object(&priv->domain);
    return 0;
}

static void
waitForConsole(virDomainObj *vm)
{
    SeraiDomain *domain = g_object_ref(XEN_PRIVATE(vm)->domain);
    int i;

    virObjectUnlock(vm);
    for (i = 0; i < XEN_CONSOLE_STEPS; i++) {
        g_autofree char *path = serai_domain_dup_console_path(domain, SERAI_DEVICE_CONSOLE, 0, NULL);

        if (path)
            break;
        g_usleep(50 * 1000);
    }
    virObjectLock(vm);
    g_object_unref(domain);
}

static int
launch(xenDriver *driver, virDomainObj *vm, int restoreFd, unsigned int flags)
{
    xenDomainPrivate *priv = XEN_PRIVATE(vm);
    bool paused = flags & XEN_START_PAUSED;
    g_autoptr(GError) error = NULL;
    virErrorPtr saved;
    size_t i;

    priv->domain = make(driver, vm, restoreFd);
    if (!priv->domain)
        return -1;
    vm->def->id = serai_domain_get_id(priv->domain);
    virDomainObjSetState(vm, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_STARTING_UP);

    if (!driver->settings->pretend && vm->def->nconsoles > 0)
        waitForConsole(vm);
    xenProcessFillIn(driver, vm);

    for (i = 0; i < vm->def->nnets; i++) {
        if (xenNetActivate(driver, vm, vm->def->nets[i]) < 0)
            goto undo;
    }
    if (xenMemoryApplyLimit(vm) < 0 || xenDiskLimitsApplyAll(driver, vm) < 0 || xenBlkioSetup(driver, vm) < 0)
        goto undo;
    /* A guest that has run must be found again; one that has not may be lost. */
    if (virDomainObjSave(vm, driver->xmlopt, driver->settings->stateDir) < 0)
        goto undo;

    if ((flags & XEN_START_MANAGED) && xenSaveRemoveManaged(driver, vm) < 0)
        goto undo;

    if (!paused) {
        if (!serai_domain_unpause(priv->domain, &error)) {
            xenReportError(&error, _("cannot start domain '%s'"), vm->def->name);
            goto undo;
        }
        virDomainObjSetState(vm, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_BOOTED);
    } else {
        virDomainObjSetState(vm, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER);
    }
    xenDomainSaveStatus(driver, vm);
    return 0;

undo:
    virErrorPreserveLast(&saved);
    withdraw(driver, vm);
    if (destroyGuest(driver, vm) < 0)
        VIR_WARN("domain '%s' is left behind: %s", vm->def->name, virGetLastErrorMessage());
    g_clear_object(&priv->domain);
    vm->def->id = -1;
    virErrorRestore(&saved);
    return -1;
}

static void
removeStatusFile(xenDriver *driver, virDomainObj *vm)
{
    g_autofree char *path = virDomainConfigFile(driver->settings->stateDir, vm->def->name);

    if (unlink(path) < 0 && errno != ENOENT)
        VIR_WARN("cannot remove %s: %s", path, g_strerror(errno));
}

/* The definition that was live makes way for the persistent one. */
static void
forget(xenDriver *driver, virDomainObj *vm, virDomainShutoffReason reason)
{
    removeStatusFile(driver, vm);
    vm->def->id = -1;
    virDomainObjSetState(vm, VIR_DOMAIN_SHUTOFF, reason);
    virDomainObjRemoveTransientDef(vm);
}

static void
autodestroy(virDomainObj *vm, virConnectPtr conn)
{
    xenDriver *driver = conn->privateData;

    VIR_INFO("connection closed: destroying domain '%s'", vm->def->name);
    if (XEN_PRIVATE(vm)->cancellable)
        g_cancellable_cancel(XEN_PRIVATE(vm)->cancellable);
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        return;
    if (virDomainObjIsActive(vm) && xenProcessStop(driver, vm, VIR_DOMAIN_SHUTOFF_DESTROYED) == 0)
        xenProcessStopped(driver, vm, VIR_DOMAIN_EVENT_STOPPED_DESTROYED);
    virDomainObjEndJob(vm);
}

int
xenProcessStart(xenDriver *driver, virDomainObj *vm, virConnectPtr conn, int restoreFd, int detail,
                unsigned int flags)
{
    bool paused = flags & XEN_START_PAUSED;
    virErrorPtr error;

    if (virDomainObjIsActive(vm)) {
        virReportError(VIR_ERR_OPERATION_INVALID, _("domain '%s' is already running"), vm->def->name);
        return -1;
    }
    if (virDomainObjSetDefTransient(driver->xmlopt, vm, NULL) < 0)
        return -1;
    if (acquire(driver, vm, restoreFd >= 0) < 0)
        goto forget;
    if (launch(driver, vm, restoreFd, flags) < 0)
        goto release;

    if (flags & XEN_START_AUTODESTROY)
        virCloseCallbacksDomainAdd(vm, conn, autodestroy);
    virDomainAuditStart(vm, restoreFd < 0 ? "booted" : "restored", true);
    xenDriverDomainStarted(driver);
    xenDomainQueueLifecycle(driver, vm, VIR_DOMAIN_EVENT_STARTED, detail);
    if (paused)
        xenDomainQueueLifecycle(driver, vm, VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_PAUSED);
    return 0;

release:
    virErrorPreserveLast(&error);
    release(driver, vm);
    virErrorRestore(&error);
forget:
    virErrorPreserveLast(&error);
    virDomainAuditStart(vm, restoreFd < 0 ? "booted" : "restored", false);
    forget(driver, vm, VIR_DOMAIN_SHUTOFF_FAILED);
    virErrorRestore(&error);
    return -1;
}

int
xenProcessStop(xenDriver *driver, virDomainObj *vm, virDomainShutoffReason reason)
{
    bool hasQemu = xenQmpExists(driver, vm);

    if (destroyGuest(driver, vm) < 0)
        return -1;

    if (hasQemu)
        xenLogShutdown(driver, vm->def, reason);
    withdraw(driver, vm);
    release(driver, vm);
    virDomainAuditStop(vm, reason == VIR_DOMAIN_SHUTOFF_SHUTDOWN  ? "shutdown"
                           : reason == VIR_DOMAIN_SHUTOFF_CRASHED ? "crashed"
                           : reason == VIR_DOMAIN_SHUTOFF_SAVED   ? "saved"
                                                                  : "destroyed");
    virCloseCallbacksDomainRemove(vm, NULL, NULL);
    forget(driver, vm, reason);
    xenDriverDomainStopped(driver);
    return 0;
}

void
xenProcessStopped(xenDriver *driver, virDomainObj *vm, int detail)
{
    xenDomainQueueLifecycle(driver, vm, VIR_DOMAIN_EVENT_STOPPED, detail);
    if (!vm->persistent)
        virDomainObjListRemove(driver->domains, vm);
}

int
xenProcessRestart(xenDriver *driver, virDomainObj *vm)
{
    virErrorPtr error;

    if (destroyGuest(driver, vm) < 0)
        return -1;
    withdraw(driver, vm);
    if (launch(driver, vm, -1, 0) == 0)
        return 0;

    virErrorPreserveLast(&error);
    release(driver, vm);
    virDomainAuditStop(vm, "failed");
    virCloseCallbacksDomainRemove(vm, NULL, NULL);
    forget(driver, vm, VIR_DOMAIN_SHUTOFF_FAILED);
    xenDriverDomainStopped(driver);
    xenProcessStopped(driver, vm, VIR_DOMAIN_EVENT_STOPPED_FAILED);
    virErrorRestore(&error);
    return -1;
}

static void
fillInConsole(virDomainObj *vm, virDomainChrDef *chr, SeraiDeviceKind kind, int devid)
{
    g_autofree char *path = NULL;

    if (chr->source->type != VIR_DOMAIN_CHR_TYPE_PTY)
        return;
    path = serai_domain_dup_console_path(XEN_PRIVATE(vm)->domain, kind, devid, NULL);
    if (path) {
        g_free(chr->source->data.file.path);
        chr->source->data.file.path = g_steal_pointer(&path);
    }
}

static void
fillInDevice(virDomainObj *vm, const SeraiDevice *device)
{
    char mac[VIR_MAC_STRING_BUFLEN];
    size_t i;

    switch (device->kind) {
    case SERAI_DEVICE_NIC:
        for (i = 0; i < vm->def->nnets; i++) {
            virDomainNetDef *net = vm->def->nets[i];

            if (!device->nic.mac || STRCASENEQ(virMacAddrFormat(&net->mac, mac), device->nic.mac))
                continue;
            g_free(net->ifname);
            net->ifname = device->nic.ifname ? g_strdup(device->nic.ifname)
                                             : g_strdup_printf("vif%d.%d", vm->def->id, device->devid);
            if (!net->info.alias)
                net->info.alias = g_strdup_printf("net%d", device->devid);
        }
        break;
    case SERAI_DEVICE_VFB:
        for (i = 0; i < vm->def->ngraphics; i++) {
            if (vm->def->graphics[i]->type == VIR_DOMAIN_GRAPHICS_TYPE_VNC && device->vfb.port > 0)
                vm->def->graphics[i]->data.vnc.port = device->vfb.port;
        }
        break;
    case SERAI_DEVICE_CHANNEL:
        for (i = 0; i < vm->def->nchannels; i++) {
            if (STREQ_NULLABLE(vm->def->channels[i]->target.name, device->console.name))
                fillInConsole(vm, vm->def->channels[i], SERAI_DEVICE_CHANNEL, device->devid);
        }
        break;
    default:
        break;
    }
}

static void
fillInAlias(virDomainDeviceInfo *info, const char *prefix, size_t number)
{
    if (!info->alias)
        info->alias = g_strdup_printf("%s%zu", prefix, number);
}

void
xenProcessFillIn(xenDriver *driver G_GNUC_UNUSED, virDomainObj *vm)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) devices = serai_domain_list_devices(XEN_PRIVATE(vm)->domain, &error);
    virDomainDef *def = vm->def;
    size_t i;

    if (!devices)
        VIR_WARN("cannot list the devices of domain '%s': %s", def->name, error->message);
    for (i = 0; devices && i < devices->len; i++)
        fillInDevice(vm, g_ptr_array_index(devices, i));
    for (i = 0; i < def->nconsoles; i++) {
        fillInConsole(vm, def->consoles[i], SERAI_DEVICE_CONSOLE, def->consoles[i]->target.port);
        fillInAlias(&def->consoles[i]->info, "console", i);
    }

    for (i = 0; i < def->ndisks; i++)
        xenDiskNameAlias(def->disks[i]);
    for (i = 0; i < def->nhostdevs; i++)
        fillInAlias(def->hostdevs[i]->info, "hostdev", i);
    for (i = 0; i < def->nchannels; i++)
        fillInAlias(&def->channels[i]->info, "channel", i);
    for (i = 0; i < def->ninputs; i++)
        fillInAlias(&def->inputs[i]->info, "input", i);
    for (i = 0; i < def->nvideos; i++)
        fillInAlias(&def->videos[i]->info, "video", i);
    for (i = 0; i < def->ncontrollers; i++)
        fillInAlias(&def->controllers[i]->info, "xenbus", def->controllers[i]->idx);
    if (def->memballoon)
        fillInAlias(&def->memballoon->info, "balloon", 0);
}
