/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entries about the job of a domain: how far it is, and that it shall end.
 *
 * Progress comes from libserai through xenDomainJobProgress() and is read here under the domain's lock only,
 * so both answer while the job goes on.
 */
#include "entries.h"
#include "domain.h"

#include "viraccessapicheck.h"
#include "virtime.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

/* A copy of the job's data with the time brought up to now; NULL when there is no job to tell of. */
static virDomainJobData *
currentData(virDomainObj *vm, bool completed, bool keepCompleted)
{
    virDomainJobData *data;
    unsigned long long now;

    if (completed) {
        data = vm->job->completed ? virDomainJobDataCopy(vm->job->completed) : NULL;
        if (!keepCompleted)
            g_clear_pointer(&vm->job->completed, virDomainJobDataFree);
        return data;
    }
    if (vm->job->asyncJob == VIR_ASYNC_JOB_NONE || !vm->job->current)
        return NULL;
    data = virDomainJobDataCopy(vm->job->current);
    if (virTimeMillisNow(&now) == 0)
        data->timeElapsed = now - data->started;
    return data;
}

static virDomainJobType
typeOf(const virDomainJobData *data)
{
    const xenJobProgress *progress = data->privateData;

    if (data->status != VIR_DOMAIN_JOB_STATUS_ACTIVE)
        return virDomainJobStatusToType(data->status);
    return progress->total > 0 ? VIR_DOMAIN_JOB_BOUNDED : VIR_DOMAIN_JOB_UNBOUNDED;
}

int
xenDomainGetJobInfo(virDomainPtr dom, virDomainJobInfoPtr info)
{
    g_autoptr(virDomainJobData) data = NULL;
    const xenJobProgress *progress;
    virDomainObj *vm = xenDomainObjFromDomain(dom);
    int ret = -1;

    if (!vm)
        return -1;
    if (virDomainGetJobInfoEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;

    memset(info, 0, sizeof(*info));
    data = currentData(vm, false, true);
    if (data) {
        progress = data->privateData;
        info->type = typeOf(data);
        info->timeElapsed = data->timeElapsed;
        info->dataTotal = progress->total;
        info->dataProcessed = progress->done;
        info->dataRemaining = progress->total > progress->done ? progress->total - progress->done : 0;
        if (progress->stage == SERAI_STAGE_MEMORY) {
            info->memTotal = info->dataTotal;
            info->memProcessed = info->dataProcessed;
            info->memRemaining = info->dataRemaining;
        }
    }
    ret = 0;

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenJobFormatStats(const virDomainJobData *data, virTypedParameterPtr *params, int *nparams)
{
    const xenJobProgress *progress = data->privateData;
    unsigned long long remaining = progress->total > progress->done ? progress->total - progress->done : 0;
    int max = 0;

    if (virTypedParamsAddInt(params, nparams, &max, VIR_DOMAIN_JOB_OPERATION, data->operation) < 0 ||
        virTypedParamsAddULLong(params, nparams, &max, VIR_DOMAIN_JOB_TIME_ELAPSED, data->timeElapsed) < 0 ||
        virTypedParamsAddULLong(params, nparams, &max, VIR_DOMAIN_JOB_DATA_TOTAL, progress->total) < 0 ||
        virTypedParamsAddULLong(params, nparams, &max, VIR_DOMAIN_JOB_DATA_PROCESSED, progress->done) < 0 ||
        virTypedParamsAddULLong(params, nparams, &max, VIR_DOMAIN_JOB_DATA_REMAINING, remaining) < 0)
        return -1;
    if (progress->stage == SERAI_STAGE_MEMORY &&
        (virTypedParamsAddULLong(params, nparams, &max, VIR_DOMAIN_JOB_MEMORY_TOTAL, progress->total) < 0 ||
         virTypedParamsAddULLong(params, nparams, &max, VIR_DOMAIN_JOB_MEMORY_PROCESSED, progress->done) <
             0 ||
         virTypedParamsAddULLong(params, nparams, &max, VIR_DOMAIN_JOB_MEMORY_REMAINING, remaining) < 0))
        return -1;
    if (data->status == VIR_DOMAIN_JOB_STATUS_COMPLETED || data->status == VIR_DOMAIN_JOB_STATUS_FAILED ||
        data->status == VIR_DOMAIN_JOB_STATUS_CANCELED)
        return virTypedParamsAddBoolean(params, nparams, &max, VIR_DOMAIN_JOB_SUCCESS,
                                        data->status == VIR_DOMAIN_JOB_STATUS_COMPLETED);
    return 0;
}

int
xenDomainGetJobStats(virDomainPtr dom, int *type, virTypedParameterPtr *params, int *nparams,
                     unsigned int flags)
{
    g_autoptr(virDomainJobData) data = NULL;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_JOB_STATS_COMPLETED | VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainGetJobStatsEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;

    *params = NULL;
    *nparams = 0;
    data =
        currentData(vm, flags & VIR_DOMAIN_JOB_STATS_COMPLETED, flags & VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED);
    *type = data ? typeOf(data) : VIR_DOMAIN_JOB_NONE;
    ret = data ? xenJobFormatStats(data, params, nparams) : 0;
    if (ret < 0) {
        virTypedParamsFree(*params, *nparams);
        *params = NULL;
        *nparams = 0;
    }

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainAbortJobFlags(virDomainPtr dom, unsigned int flags)
{
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(0, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainAbortJobFlagsEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    if (vm->job->asyncJob == VIR_ASYNC_JOB_NONE || !XEN_PRIVATE(vm)->cancellable) {
        virReportError(VIR_ERR_OPERATION_INVALID, _("domain '%s' has no job that could be aborted"),
                       vm->def->name);
        goto cleanup;
    }
    g_cancellable_cancel(XEN_PRIVATE(vm)->cancellable);
    ret = 0;

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainAbortJob(virDomainPtr dom)
{
    return xenDomainAbortJobFlags(dom, 0);
}
