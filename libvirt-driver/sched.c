/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entries about the scheduler and NUMA placement.
 *
 * In the definition a weight is <shares> and a cap the quota of all vCPUs together: <global_quota> in a
 * <global_period> of 100 ms, so that a cap of 150 percent is 150000 of 100000 microseconds.
 */
#include "entries.h"
#include "conf.h"
#include "domain.h"
#include "error.h"

#include "numa_conf.h"
#include "viraccessapicheck.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.sched");

#define XEN_SCHED_PERIOD  100000
#define XEN_SCHED_WEIGHT  256
#define XEN_SCHED_NPARAMS 2

char *
xenDomainGetSchedulerType(virDomainPtr dom, int *nparams)
{
    xenDriver *driver = dom->conn->privateData;
    g_autoptr(xenHostInfo) info = NULL;
    g_autoptr(GError) error = NULL;
    virDomainObj *vm = xenDomainObjFromDomain(dom);
    char *type = NULL;

    if (!vm)
        return NULL;
    if (virDomainGetSchedulerTypeEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    info = serai_host_get_info(driver->host, &error);
    if (!info) {
        xenReportError(&error, "%s", _("cannot ask for the scheduler"));
        goto cleanup;
    }
    if (nparams)
        *nparams = XEN_SCHED_NPARAMS;
    type = g_strdup(info->scheduler);

cleanup:
    virDomainObjEndAPI(&vm);
    return type;
}

int
xenDomainGetSchedulerParametersFlags(virDomainPtr dom, virTypedParameterPtr params, int *nparams,
                                     unsigned int flags)
{
    g_autoptr(GError) error = NULL;
    virDomainDef *def;
    virDomainObj *vm;
    guint weight = XEN_SCHED_WEIGHT;
    guint cap = 0;
    bool live;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG | VIR_TYPED_PARAM_STRING_OKAY, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainGetSchedulerParametersFlagsEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    def = xenDomainGetOneDefState(vm, flags & ~VIR_TYPED_PARAM_STRING_OKAY, &live);
    if (!def)
        goto cleanup;

    if (live) {
        if (!serai_domain_get_sched(XEN_PRIVATE(vm)->domain, &weight, &cap, &error)) {
            xenReportError(&error, _("cannot ask for the scheduling of domain '%s'"), vm->def->name);
            goto cleanup;
        }
    } else {
        if (def->cputune.sharesSpecified)
            weight = def->cputune.shares;
        if (def->cputune.global_quota > 0)
            cap = def->cputune.global_quota * 100 / XEN_SCHED_PERIOD;
    }

    if (*nparams > 0 &&
        virTypedParameterAssign(&params[0], VIR_DOMAIN_SCHEDULER_WEIGHT, VIR_TYPED_PARAM_UINT, weight) < 0)
        goto cleanup;
    if (*nparams > 1 &&
        virTypedParameterAssign(&params[1], VIR_DOMAIN_SCHEDULER_CAP, VIR_TYPED_PARAM_UINT, cap) < 0)
        goto cleanup;
    *nparams = MIN(*nparams, XEN_SCHED_NPARAMS);
    ret = 0;

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainGetSchedulerParameters(virDomainPtr dom, virTypedParameterPtr params, int *nparams)
{
    return xenDomainGetSchedulerParametersFlags(dom, params, nparams, VIR_DOMAIN_AFFECT_CURRENT);
}

static void
setDefinition(virDomainDef *def, int weight, int cap)
{
    if (weight >= 0) {
        def->cputune.shares = weight;
        def->cputune.sharesSpecified = true;
    }
    if (cap >= 0) {
        def->cputune.global_period = cap > 0 ? XEN_SCHED_PERIOD : 0;
        def->cputune.global_quota = (long long)cap * XEN_SCHED_PERIOD / 100;
    }
}

/* Under the names that the definition has for them. */
static void
announceSchedule(xenDriver *driver, virDomainObj *vm, int weight, int cap)
{
    const virDomainCputune *tune = &vm->def->cputune;
    virTypedParameterPtr params = NULL;
    int nparams = 0;
    int max = 0;

    if ((weight < 0 ||
         virTypedParamsAddULLong(&params, &nparams, &max, VIR_DOMAIN_TUNABLE_CPU_CPU_SHARES, weight) == 0) &&
        (cap < 0 || (virTypedParamsAddULLong(&params, &nparams, &max, VIR_DOMAIN_TUNABLE_CPU_GLOBAL_PERIOD,
                                             tune->global_period) == 0 &&
                     virTypedParamsAddLLong(&params, &nparams, &max, VIR_DOMAIN_TUNABLE_CPU_GLOBAL_QUOTA,
                                            tune->global_quota) == 0)) &&
        nparams > 0)
        xenDomainQueue(driver, virDomainEventTunableNewFromObj(vm, &params, nparams));
    virTypedParamsFree(params, nparams);
}

int
xenDomainSetSchedulerParametersFlags(virDomainPtr dom, virTypedParameterPtr params, int nparams,
                                     unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    g_autoptr(GError) error = NULL;
    virDomainDef *live = NULL;
    virDomainDef *persistent = NULL;
    virDomainObj *vm;
    int weight = -1;
    int cap = -1;
    int ret = -1;
    int i;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);
    if (virTypedParamsValidate(params, nparams, VIR_DOMAIN_SCHEDULER_WEIGHT, VIR_TYPED_PARAM_UINT,
                               VIR_DOMAIN_SCHEDULER_CAP, VIR_TYPED_PARAM_UINT, NULL) < 0)
        return -1;

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainSetSchedulerParametersFlagsEnsureACL(dom->conn, vm->def, flags) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (xenDomainGetDefs(vm, flags, &live, &persistent) < 0)
        goto endjob;

    for (i = 0; i < nparams; i++) {
        unsigned int value = params[i].value.ui;
        bool isWeight = STREQ(params[i].field, VIR_DOMAIN_SCHEDULER_WEIGHT);

        if (isWeight ? value < 1 || value > 65535 : value > 65535) {
            virReportError(VIR_ERR_INVALID_ARG, _("%s %u of domain '%s' is out of range"), params[i].field,
                           value, vm->def->name);
            goto endjob;
        }
        *(isWeight ? &weight : &cap) = value;
    }

    if (live) {
        if (!serai_domain_set_sched(XEN_PRIVATE(vm)->domain, weight, cap, &error)) {
            xenReportError(&error, _("cannot change the scheduling of domain '%s'"), vm->def->name);
            goto endjob;
        }
        setDefinition(live, weight, cap);
        xenDomainSaveStatus(driver, vm);
        announceSchedule(driver, vm, weight, cap);
    }
    if (persistent) {
        setDefinition(persistent, weight, cap);
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

int
xenDomainSetSchedulerParameters(virDomainPtr dom, virTypedParameterPtr params, int nparams)
{
    return xenDomainSetSchedulerParametersFlags(dom, params, nparams, VIR_DOMAIN_AFFECT_CURRENT);
}

int
xenDomainGetNumaParameters(virDomainPtr dom, virTypedParameterPtr params, int *nparams, unsigned int flags)
{
    g_autofree char *nodes = NULL;
    virDomainNumatuneMemMode mode = VIR_DOMAIN_NUMATUNE_MEM_STRICT;
    virDomainDef *def;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG | VIR_TYPED_PARAM_STRING_OKAY, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainGetNumaParametersEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    def = xenDomainGetOneDef(vm, flags & ~VIR_TYPED_PARAM_STRING_OKAY);
    if (!def)
        goto cleanup;
    if (*nparams == 0) {
        *nparams = 2;
        ret = 0;
        goto cleanup;
    }

    ignore_value(virDomainNumatuneGetMode(def->numa, -1, &mode));
    nodes = virDomainNumatuneFormatNodeset(def->numa, NULL, -1);
    if (virTypedParameterAssign(&params[0], VIR_DOMAIN_NUMA_MODE, VIR_TYPED_PARAM_INT, (int)mode) < 0)
        goto cleanup;
    if (*nparams > 1 && virTypedParameterAssign(&params[1], VIR_DOMAIN_NUMA_NODESET, VIR_TYPED_PARAM_STRING,
                                                nodes ? g_steal_pointer(&nodes) : g_strdup("")) < 0)
        goto cleanup;
    *nparams = MIN(*nparams, 2);
    ret = 0;

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

/* What params say, checked against nothing but themselves.  @mode is -1 and @nodes NULL when not given. */
static int
parseNuma(virTypedParameterPtr params, int nparams, int *mode, virBitmap **nodes)
{
    const char *text = NULL;

    *mode = -1;
    if (virTypedParamsValidate(params, nparams, VIR_DOMAIN_NUMA_MODE, VIR_TYPED_PARAM_INT,
                               VIR_DOMAIN_NUMA_NODESET, VIR_TYPED_PARAM_STRING, NULL) < 0 ||
        virTypedParamsGetInt(params, nparams, VIR_DOMAIN_NUMA_MODE, mode) < 0 ||
        virTypedParamsGetString(params, nparams, VIR_DOMAIN_NUMA_NODESET, &text) < 0)
        return -1;
    if (*mode >= VIR_DOMAIN_NUMATUNE_MEM_LAST || *mode < -1) {
        virReportError(VIR_ERR_INVALID_ARG, _("there is no NUMA mode %d"), *mode);
        return -1;
    }
    if (text && virBitmapParse(text, nodes, VIR_DOMAIN_CPUMASK_LEN) < 0)
        return -1;
    if (*nodes && virBitmapIsAllClear(*nodes)) {
        virReportError(VIR_ERR_INVALID_ARG, _("nodeset '%s' has no NUMA node"), text);
        return -1;
    }
    return 0;
}

/* Whether the host has all the nodes. */
static int
checkNodes(xenDriver *driver, virBitmap *nodes)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) present = serai_host_get_nodes(driver->host, &error);
    ssize_t node = -1;

    if (!present) {
        xenReportError(&error, "%s", _("cannot ask for the memory of the host"));
        return -1;
    }
    while ((node = virBitmapNextSetBit(nodes, node)) >= 0) {
        if (node >= (ssize_t)present->len || !((SeraiNode *)g_ptr_array_index(present, node))->present) {
            virReportError(VIR_ERR_INVALID_ARG, _("there is no NUMA node %zd"), node);
            return -1;
        }
    }
    return 0;
}

static int
setPersistentNodes(virDomainDef *def, int mode, virBitmap *nodes)
{
    if (!nodes && !virDomainNumatuneGetNodeset(def->numa, NULL, -1)) {
        virReportError(VIR_ERR_INVALID_ARG, _("a NUMA mode of domain '%s' needs a nodeset"), def->name);
        return -1;
    }
    return virDomainNumatuneSet(def->numa, true, -1, mode, nodes);
}

/*
 * The hypervisor looks on the nodes first for what a domain gets from now on; what it has stays where it is.
 * So a mode that promises more cannot change, nor its nodes.
 */
static int
setLiveNodes(virDomainObj *vm, virDomainDef *def, int mode, virBitmap *nodes)
{
    virDomainNumatuneMemMode now = VIR_DOMAIN_NUMATUNE_MEM_STRICT;
    g_autoptr(GBytes) bits = nodes ? xenConfBitmap(nodes) : NULL;
    g_autoptr(GError) error = NULL;

    ignore_value(virDomainNumatuneGetMode(def->numa, -1, &now));
    if (mode >= 0 && mode != (int)now) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("the NUMA mode of domain '%s' cannot change while it runs"), def->name);
        return -1;
    }
    if (!nodes)
        return 0;
    if (now == VIR_DOMAIN_NUMATUNE_MEM_STRICT) {
        virReportError(
            VIR_ERR_OPERATION_INVALID,
            _("the memory of domain '%s' cannot move while it runs, as NUMA mode 'strict' would ask"),
            def->name);
        return -1;
    }
    if (!serai_domain_set_nodes(XEN_PRIVATE(vm)->domain, bits, &error)) {
        xenReportError(&error, _("cannot change the NUMA nodes of domain '%s'"), def->name);
        return -1;
    }
    return virDomainNumatuneSet(def->numa, true, -1, mode, nodes);
}

int
xenDomainSetNumaParameters(virDomainPtr dom, virTypedParameterPtr params, int nparams, unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    g_autoptr(virBitmap) nodes = NULL;
    virDomainDef *live = NULL;
    virDomainDef *persistent = NULL;
    virDomainObj *vm;
    int mode;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);
    if (parseNuma(params, nparams, &mode, &nodes) < 0)
        return -1;

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainSetNumaParametersEnsureACL(dom->conn, vm->def, flags) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (xenDomainCheckGuest(vm) < 0 || xenDomainGetDefs(vm, flags, &live, &persistent) < 0)
        goto endjob;
    if (nodes && checkNodes(driver, nodes) < 0)
        goto endjob;

    if (live) {
        if (setLiveNodes(vm, live, mode, nodes) < 0)
            goto endjob;
        xenDomainSaveStatus(driver, vm);
    }
    if (persistent && (setPersistentNodes(persistent, mode, nodes) < 0 ||
                       xenDomainSavePersistent(driver, vm, persistent) < 0))
        goto endjob;
    ret = 0;

endjob:
    virDomainObjEndJob(vm);
cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}
