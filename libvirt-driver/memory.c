/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entries about memory.
 *
 * <memory> is what a domain may have, <currentMemory> what its balloon driver is asked to leave it.  What it
 * has at the moment is the hypervisor's to say.  <hard_limit> of <memtune> is the hypervisor's limit where
 * that is to be below <memory>: the guest knows of more, and does not get it.
 */
#include "memory.h"
#include "entries.h"
#include "domain.h"
#include "error.h"

#include "domain_audit.h"
#include "numa_conf.h"
#include "viraccessapicheck.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.memory");

/* The most that the hypervisor is to give a domain. */
static unsigned long long
mostOf(const virDomainDef *def)
{
    return MIN(virDomainDefGetMemoryTotal(def), def->mem.hard_limit);
}

static int
checkMost(const virDomainDef *def, unsigned long long kib)
{
    if (kib <= mostOf(def))
        return 0;
    virReportError(VIR_ERR_INVALID_ARG, _("domain '%s' can have %llu KiB at most, not %llu"), def->name,
                   mostOf(def), kib);
    return -1;
}

int
xenMemoryApplyLimit(virDomainObj *vm)
{
    g_autoptr(GError) error = NULL;

    if (vm->def->mem.hard_limit >= virDomainDefGetMemoryTotal(vm->def))
        return 0;
    if (!serai_domain_set_memory_limit(XEN_PRIVATE(vm)->domain, mostOf(vm->def), &error)) {
        xenReportError(&error, _("cannot limit the memory of domain '%s'"), vm->def->name);
        return -1;
    }
    return 0;
}

static int
setLiveMaximum(virDomainObj *vm, virDomainDef *def, unsigned long long kib)
{
    g_autoptr(GError) error = NULL;

    if (!serai_domain_set_memory_max(XEN_PRIVATE(vm)->domain, kib, &error)) {
        xenReportError(&error, _("cannot change the most memory of domain '%s'"), def->name);
        return -1;
    }
    virDomainDefSetMemoryTotal(def, kib);
    return xenMemoryApplyLimit(vm);
}

static int
setLiveTarget(xenDriver *driver, virDomainObj *vm, virDomainDef *def, unsigned long long kib)
{
    g_autoptr(GError) error = NULL;
    unsigned long long old = def->mem.cur_balloon;
    bool done;

    if (def->id != 0 && checkMost(def, kib) < 0)
        return -1;
    done = serai_domain_set_memory_target(XEN_PRIVATE(vm)->domain, kib, &error);
    virDomainAuditMemory(vm, old, kib, "update", done);
    if (!done) {
        xenReportError(&error, _("cannot change the memory of domain '%s'"), def->name);
        return -1;
    }
    def->mem.cur_balloon = kib;
    xenDomainQueue(driver, virDomainEventBalloonChangeNewFromObj(vm, kib));
    return 0;
}

static int
setPersistent(virDomainDef *def, unsigned long long kib, bool maximum)
{
    if (maximum) {
        if (virDomainNumaGetNodeCount(def->numa) > 0) {
            virReportError(VIR_ERR_OPERATION_INVALID,
                           _("the memory of domain '%s' is the sum of its <numa> cells"), def->name);
            return -1;
        }
        virDomainDefSetMemoryTotal(def, kib);
        if (def->mem.cur_balloon > mostOf(def))
            def->mem.cur_balloon = mostOf(def);
        return 0;
    }
    if (checkMost(def, kib) < 0)
        return -1;
    def->mem.cur_balloon = kib;
    return 0;
}

int
xenDomainSetMemoryFlags(virDomainPtr dom, unsigned long kib, unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    bool maximum = flags & VIR_DOMAIN_MEM_MAXIMUM;
    virDomainDef *live = NULL;
    virDomainDef *persistent = NULL;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG | VIR_DOMAIN_MEM_MAXIMUM, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainSetMemoryFlagsEnsureACL(dom->conn, vm->def, flags) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (xenDomainGetDefs(vm, flags, &live, &persistent) < 0)
        goto endjob;

    if (live && (maximum ? setLiveMaximum(vm, live, kib) : setLiveTarget(driver, vm, live, kib)) < 0)
        goto endjob;
    if (live)
        xenDomainSaveStatus(driver, vm);
    if (persistent &&
        (setPersistent(persistent, kib, maximum) < 0 || xenDomainSavePersistent(driver, vm, persistent) < 0))
        goto endjob;
    ret = 0;

endjob:
    virDomainObjEndJob(vm);
cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainSetMemory(virDomainPtr dom, unsigned long kib)
{
    return xenDomainSetMemoryFlags(dom, kib, VIR_DOMAIN_AFFECT_LIVE);
}

int
xenDomainSetMaxMemory(virDomainPtr dom, unsigned long kib)
{
    return xenDomainSetMemoryFlags(dom, kib, VIR_DOMAIN_MEM_MAXIMUM);
}

int
xenDomainGetMemoryParameters(virDomainPtr dom, virTypedParameterPtr params, int *nparams, unsigned int flags)
{
    g_autoptr(GError) error = NULL;
    unsigned long long limit;
    SeraiMemoryStats memory;
    virDomainDef *def;
    virDomainObj *vm;
    bool live;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG | VIR_TYPED_PARAM_STRING_OKAY, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainGetMemoryParametersEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    def = xenDomainGetOneDefState(vm, flags & ~VIR_TYPED_PARAM_STRING_OKAY, &live);
    if (!def)
        goto cleanup;
    if (*nparams == 0) {
        *nparams = 1;
        ret = 0;
        goto cleanup;
    }

    limit = def->mem.hard_limit;
    if (live) {
        if (!serai_domain_get_memory_stats(XEN_PRIVATE(vm)->domain, &memory, &error)) {
            xenReportError(&error, _("cannot ask for the memory of domain '%s'"), vm->def->name);
            goto cleanup;
        }
        /* The host's own domain has none, which the hypervisor calls as much as a machine can have. */
        limit = vm->def->id == 0 ? VIR_DOMAIN_MEMORY_PARAM_UNLIMITED : memory.maximum_kib;
    }
    if (virTypedParameterAssign(&params[0], VIR_DOMAIN_MEMORY_HARD_LIMIT, VIR_TYPED_PARAM_ULLONG, limit) < 0)
        goto cleanup;
    *nparams = 1;
    ret = 0;

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

/* @limit in KiB; a domain keeps what it has, or was promised. */
static int
setLimit(virDomainDef *def, unsigned long long limit)
{
    if (limit < def->mem.cur_balloon) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("hard_limit of domain '%s' is %llu KiB, less than its memory now, %llu KiB"),
                       def->name, limit, def->mem.cur_balloon);
        return -1;
    }
    def->mem.hard_limit = limit;
    return 0;
}

int
xenDomainSetMemoryParameters(virDomainPtr dom, virTypedParameterPtr params, int nparams, unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    unsigned long long limit;
    virDomainDef *live = NULL;
    virDomainDef *persistent = NULL;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);
    /* A soft limit and swap are of a host that takes memory back from its guests. */
    if (virTypedParamsValidate(params, nparams, VIR_DOMAIN_MEMORY_HARD_LIMIT, VIR_TYPED_PARAM_ULLONG, NULL) <
            0 ||
        virTypedParamsGetULLong(params, nparams, VIR_DOMAIN_MEMORY_HARD_LIMIT, &limit) < 0)
        return -1;
    limit = virMemoryLimitTruncate(limit);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainSetMemoryParametersEnsureACL(dom->conn, vm->def, flags) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (xenDomainCheckGuest(vm) < 0 || xenDomainGetDefs(vm, flags, &live, &persistent) < 0)
        goto endjob;

    if (live) {
        unsigned long long old = live->mem.hard_limit;
        g_autoptr(GError) error = NULL;

        if (setLimit(live, limit) < 0)
            goto endjob;
        if (!serai_domain_set_memory_limit(XEN_PRIVATE(vm)->domain, mostOf(live), &error)) {
            live->mem.hard_limit = old;
            xenReportError(&error, _("cannot limit the memory of domain '%s'"), vm->def->name);
            goto endjob;
        }
        xenDomainSaveStatus(driver, vm);
    }
    if (persistent &&
        (setLimit(persistent, limit) < 0 || xenDomainSavePersistent(driver, vm, persistent) < 0))
        goto endjob;
    ret = 0;

endjob:
    virDomainObjEndJob(vm);
cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

/* The guest tells on its own; the period is kept for the tools that set it. */
int
xenDomainSetMemoryStatsPeriod(virDomainPtr dom, int period, unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    virDomainDef *live = NULL;
    virDomainDef *persistent = NULL;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainSetMemoryStatsPeriodEnsureACL(dom->conn, vm->def, flags) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (xenDomainGetDefs(vm, flags, &live, &persistent) < 0)
        goto endjob;
    if ((live && !live->memballoon) || (persistent && !persistent->memballoon)) {
        virReportError(VIR_ERR_OPERATION_INVALID, _("domain '%s' has no <memballoon>"), vm->def->name);
        goto endjob;
    }
    if (live) {
        live->memballoon->period = MAX(period, 0);
        xenDomainSaveStatus(driver, vm);
    }
    if (persistent) {
        persistent->memballoon->period = MAX(period, 0);
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

static void
addStat(virDomainMemoryStatPtr stats, unsigned int nstats, int *count, int tag, unsigned long long value)
{
    if ((unsigned int)*count >= nstats)
        return;
    stats[*count].tag = tag;
    stats[*count].val = value;
    (*count)++;
}

int
xenDomainMemoryStats(virDomainPtr dom, virDomainMemoryStatPtr stats, unsigned int nstats, unsigned int flags)
{
    g_autoptr(GError) error = NULL;
    SeraiMemoryStats memory;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(0, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainMemoryStatsEnsureACL(dom->conn, vm->def) < 0 || xenDomainCheckActive(vm) < 0)
        goto cleanup;
    if (!serai_domain_get_memory_stats(XEN_PRIVATE(vm)->domain, &memory, &error)) {
        xenReportError(&error, _("cannot ask for the memory of domain '%s'"), vm->def->name);
        goto cleanup;
    }

    ret = 0;
    addStat(stats, nstats, &ret, VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON, memory.current_kib);
    addStat(stats, nstats, &ret, VIR_DOMAIN_MEMORY_STAT_RSS, memory.current_kib);
    if (memory.guest_total_kib > 0) {
        addStat(stats, nstats, &ret, VIR_DOMAIN_MEMORY_STAT_AVAILABLE, memory.guest_total_kib);
        addStat(stats, nstats, &ret, VIR_DOMAIN_MEMORY_STAT_UNUSED, memory.guest_free_kib);
        addStat(stats, nstats, &ret, VIR_DOMAIN_MEMORY_STAT_USABLE, memory.guest_available_kib);
    }

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}
