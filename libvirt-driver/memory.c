/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entries about memory.
 *
 * <memory> is what a domain may have, <currentMemory> what its balloon driver is asked to leave it.  What it
 * has at the moment is the hypervisor's to say.
 */
#include "entries.h"
#include "domain.h"
#include "error.h"

#include "domain_audit.h"
#include "numa_conf.h"
#include "viraccessapicheck.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.memory");

static int
setLiveMaximum(virDomainObj *vm, virDomainDef *def, unsigned long long kib)
{
    g_autoptr(GError) error = NULL;

    if (!serai_domain_set_memory_max(XEN_PRIVATE(vm)->domain, kib, &error)) {
        xenReportError(&error, _("cannot change the most memory of domain '%s'"), def->name);
        return -1;
    }
    virDomainDefSetMemoryTotal(def, kib);
    return 0;
}

static int
setLiveTarget(xenDriver *driver, virDomainObj *vm, virDomainDef *def, unsigned long long kib)
{
    g_autoptr(GError) error = NULL;
    unsigned long long old = def->mem.cur_balloon;
    bool done;

    if (kib > virDomainDefGetMemoryTotal(def) && def->id != 0) {
        virReportError(VIR_ERR_INVALID_ARG, _("domain '%s' can have %llu KiB at most, not %llu"), def->name,
                       virDomainDefGetMemoryTotal(def), kib);
        return -1;
    }
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
        if (def->mem.cur_balloon > kib)
            def->mem.cur_balloon = kib;
        return 0;
    }
    if (kib > virDomainDefGetMemoryTotal(def)) {
        virReportError(VIR_ERR_INVALID_ARG, _("domain '%s' can have %llu KiB at most, not %llu"), def->name,
                       virDomainDefGetMemoryTotal(def), kib);
        return -1;
    }
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
