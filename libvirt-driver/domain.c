/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What hangs off each domain object, and the rules for changing it.
 *
 * One thread at a time works on a domain: it holds a job.  The lock of the object is short; whoever
 * calls into the hypervisor for longer than a hypercall gives it up and keeps the job.  A job that can
 * be aborted has a cancellable, which virDomainAbortJob() and virDomainDestroy() cancel.
 */
#include "domain.h"
#include "postparse.h"

#include "domain_driver.h"
#include "virclosecallbacks.h"
#include "virtime.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.domain");

static void *
privateNew(void *opaque G_GNUC_UNUSED)
{
    xenDomainPrivate *priv = g_new0(xenDomainPrivate, 1);

    priv->devs = virChrdevAlloc();
    if (!priv->devs) {
        g_free(priv);
        return NULL;
    }
    return priv;
}

static void
privateFree(void *data)
{
    xenDomainPrivate *priv = data;

    g_clear_object(&priv->domain);
    g_clear_object(&priv->cancellable);
    virChrdevFree(priv->devs);
    g_free(priv->lockState);
    g_free(priv);
}

static int
privateFormat(virBuffer *buf, virDomainObj *vm)
{
    virBufferEscapeString(buf, "<lockstate>%s</lockstate>\n", XEN_PRIVATE(vm)->lockState);
    return 0;
}

static int
privateParse(xmlXPathContextPtr ctxt, virDomainObj *vm, virDomainDefParserConfig *config G_GNUC_UNUSED)
{
    XEN_PRIVATE(vm)->lockState = virXPathString("string(./lockstate)", ctxt);
    return 0;
}

static void *
progressNew(void)
{
    return g_new0(xenJobProgress, 1);
}

static void *
progressCopy(void *data)
{
    return g_memdup2(data, sizeof(xenJobProgress));
}

virDomainXMLOption *
xenDomainXMLOptionNew(xenDriver *driver)
{
    virDomainDefParserConfig parser = {
        .domainPostParseBasicCallback = xenPostParseBasic,
        .domainPostParseCallback = xenPostParseDomain,
        .devicesPostParseCallback = xenPostParseDevice,
        .domainValidateCallback = xenValidateDomain,
        .deviceValidateCallback = xenValidateDevice,
        .priv = driver,
        .features = VIR_DOMAIN_DEF_FEATURE_USER_ALIAS | VIR_DOMAIN_DEF_FEATURE_NET_MODEL_STRING |
                    VIR_DOMAIN_DEF_FEATURE_INDIVIDUAL_VCPUS | VIR_DOMAIN_DEF_FEATURE_OFFLINE_VCPUPIN |
                    VIR_DOMAIN_DEF_FEATURE_FW_AUTOSELECT,
        /* The range of addresses that belongs to Xen guests. */
        .macPrefix = {0x00, 0x16, 0x3e},
        .netPrefix = "vif",
        .defArch = virArchFromHost(),
    };
    virDomainXMLPrivateDataCallbacks callbacks = {
        .alloc = privateNew,
        .free = privateFree,
        .format = privateFormat,
        .parse = privateParse,
    };
    virDomainJobObjConfig jobs = {
        .jobDataPrivateCb =
            {
                .allocPrivateData = progressNew,
                .copyPrivateData = progressCopy,
                .freePrivateData = g_free,
            },
    };
    virDomainXMLOption *xmlopt = virDomainXMLOptionNew(&parser, &callbacks, NULL, NULL, NULL, &jobs);

    if (xmlopt)
        virDomainXMLOptionSetCloseCallbackAlloc(xmlopt, virCloseCallbacksDomainAlloc);
    return xmlopt;
}

virDomainObj *
xenDomainObjFromDomain(virDomainPtr dom)
{
    xenDriver *driver = dom->conn->privateData;
    virDomainObj *vm = virDomainObjListFindByUUID(driver->domains, dom->uuid);
    char uuid[VIR_UUID_STRING_BUFLEN];

    if (!vm) {
        virUUIDFormat(dom->uuid, uuid);
        virReportError(VIR_ERR_NO_DOMAIN, _("no domain with UUID '%s' (%s)"), uuid, dom->name);
        return NULL;
    }
    return vm;
}

/* A job with which @vm is not being started, and does not come to be; it may be being saved. */
static int
beginAddJob(virDomainObj *vm)
{
    for (;;) {
        virDomainJob job = virDomainObjIsActive(vm) ? VIR_JOB_QUERY : VIR_JOB_MODIFY;

        if (virDomainObjBeginJob(vm, job) < 0)
            return -1;
        if (job == VIR_JOB_MODIFY || virDomainObjIsActive(vm))
            return 0;
        virDomainObjEndJob(vm);
    }
}

virDomainObj *
xenDomainAdd(xenDriver *driver, virDomainDef **def, unsigned int flags, virDomainDef **oldDef)
{
    virDomainObj *present = virDomainObjListFindByUUID(driver->domains, (*def)->uuid);
    virDomainObj *vm;

    if (!present)
        return virDomainObjListAdd(driver->domains, def, driver->xmlopt, flags, oldDef);
    if (beginAddJob(present) < 0) {
        virDomainObjEndAPI(&present);
        return NULL;
    }
    /* The lock of the list comes first. */
    virObjectUnlock(present);
    vm = virDomainObjListAdd(driver->domains, def, driver->xmlopt, flags, oldDef);
    if (vm != present)
        virObjectLock(present);
    virDomainObjEndJob(present);
    if (vm != present)
        virObjectUnlock(present);
    virObjectUnref(present);
    return vm;
}

int
xenDomainJobBegin(virDomainObj *vm, virDomainAsyncJob job, virDomainJobOperation operation,
                  unsigned int flags)
{
    xenDomainPrivate *priv = XEN_PRIVATE(vm);

    if (virDomainObjBeginAsyncJob(vm, job, operation, flags) < 0)
        return -1;
    g_clear_object(&priv->cancellable);
    priv->cancellable = g_cancellable_new();
    return 0;
}

/* For who waits for the end of a job instead of asking. */
static void
announceJob(virDomainObj *vm, const virDomainJobData *data)
{
    virTypedParameterPtr params = NULL;
    int nparams = 0;
    virErrorPtr error;

    /* Adding parameters forgets why the job failed. */
    virErrorPreserveLast(&error);
    if (xenJobFormatStats(data, &params, &nparams) == 0)
        xenDomainQueue(xenDriverState, virDomainEventJobCompletedNewFromObj(vm, params, nparams));
    else
        virTypedParamsFree(params, nparams);
    virErrorRestore(&error);
}

void
xenDomainJobEnd(virDomainObj *vm, bool succeeded)
{
    xenDomainPrivate *priv = XEN_PRIVATE(vm);
    virDomainJobData *data = vm->job->current;
    unsigned long long now;

    if (data && virTimeMillisNow(&now) == 0) {
        data->timeElapsed = now - data->started;
        data->status = succeeded                                       ? VIR_DOMAIN_JOB_STATUS_COMPLETED
                       : g_cancellable_is_cancelled(priv->cancellable) ? VIR_DOMAIN_JOB_STATUS_CANCELED
                                                                       : VIR_DOMAIN_JOB_STATUS_FAILED;
        g_clear_pointer(&vm->job->completed, virDomainJobDataFree);
        vm->job->completed = virDomainJobDataCopy(data);
        announceJob(vm, data);
    }
    g_clear_object(&priv->cancellable);
    virDomainObjEndAsyncJob(vm);
}

GCancellable *
xenDomainJobWork(virDomainObj *vm)
{
    GCancellable *cancellable = XEN_PRIVATE(vm)->cancellable;

    if (cancellable)
        g_object_ref(cancellable);
    virObjectUnlock(vm);
    return cancellable;
}

void
xenDomainJobDone(virDomainObj *vm, GCancellable *cancellable)
{
    virObjectLock(vm);
    g_clear_object(&cancellable);
}

void
xenDomainJobProgress(SeraiStage stage, guint64 done, guint64 total, gpointer opaque)
{
    virDomainObj *vm = opaque;
    xenJobProgress *progress;

    virObjectLock(vm);
    if (vm->job->current) {
        progress = vm->job->current->privateData;
        progress->stage = stage;
        progress->done = done;
        progress->total = total;
    }
    virObjectUnlock(vm);
}

int
xenDomainCheckActive(virDomainObj *vm)
{
    if (virDomainObjIsActive(vm) && XEN_PRIVATE(vm)->domain)
        return 0;
    virReportError(VIR_ERR_OPERATION_INVALID, _("domain '%s' is not running"), vm->def->name);
    return -1;
}

int
xenDomainCheckGuest(const virDomainObj *vm)
{
    if (vm->def->id != 0)
        return 0;
    virReportError(VIR_ERR_OPERATION_INVALID, _("domain '%s' is the host itself"), vm->def->name);
    return -1;
}

/* libvirt says that a domain is not running, or is transient, and not which. */
static void
nameDomain(const virDomainObj *vm)
{
    virErrorPtr error;

    virErrorPreserveLast(&error);
    virReportError(error->code, _("domain '%s': %s"), vm->def->name,
                   error->str2 ? error->str2 : error->message);
    virFreeError(error);
}

int
xenDomainSettleImpact(virDomainObj *vm, unsigned int *flags)
{
    if (virDomainObjUpdateModificationImpact(vm, flags) == 0)
        return 0;
    nameDomain(vm);
    return -1;
}

int
xenDomainGetDefs(virDomainObj *vm, unsigned int flags, virDomainDef **live, virDomainDef **persistent)
{
    if (virDomainObjGetDefs(vm, flags, live, persistent) == 0)
        return 0;
    nameDomain(vm);
    return -1;
}

virDomainDef *
xenDomainGetOneDefState(virDomainObj *vm, unsigned int flags, bool *live)
{
    virDomainDef *def = virDomainObjGetOneDefState(vm, flags, live);

    if (!def)
        nameDomain(vm);
    return def;
}

virDomainDef *
xenDomainGetOneDef(virDomainObj *vm, unsigned int flags)
{
    return xenDomainGetOneDefState(vm, flags, NULL);
}

virDomainDiskDef *
xenDomainFindDisk(virDomainDef *def, const char *path, bool allowAmbiguous)
{
    virDomainDiskDef *disk = virDomainDiskByName(def, path, allowAmbiguous);

    if (!disk)
        virReportError(VIR_ERR_INVALID_ARG, _("domain '%s' has no disk '%s'"), def->name, path);
    return disk;
}

int
xenDomainSavePersistent(xenDriver *driver, virDomainObj *vm, virDomainDef *def)
{
    virDomainDef *persistent = def ? def : (vm->newDef ? vm->newDef : vm->def);

    return virDomainDefSave(persistent, driver->xmlopt, driver->settings->configDir);
}

void
xenDomainSaveStatus(xenDriver *driver, virDomainObj *vm)
{
    if (!virDomainObjIsActive(vm))
        return;
    if (virDomainObjSave(vm, driver->xmlopt, driver->settings->stateDir) < 0)
        VIR_WARN("cannot write the status of domain '%s': %s", vm->def->name, virGetLastErrorMessage());
}

void
xenDomainQueue(xenDriver *driver, virObjectEvent *event)
{
    virObjectEventStateQueue(driver->events, event);
}

void
xenDomainQueueLifecycle(xenDriver *driver, virDomainObj *vm, int type, int detail)
{
    virObjectEventStateQueue(driver->events, virDomainEventLifecycleNewFromObj(vm, type, detail));
}
