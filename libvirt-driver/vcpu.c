/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entries about virtual CPUs: how many, where, how busy.
 *
 * Live changes go to the hypervisor first and then into the live definition; a guest takes and gives up
 * a vCPU in its own time, so what is counted is what it was asked to use.
 */
#include "entries.h"
#include "conf.h"
#include "domain.h"
#include "error.h"

#include "domain_audit.h"
#include "viraccessapicheck.h"
#include "virbitmap.h"
#include "virhostcpu.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.vcpu");

static int
setLiveCount(virDomainObj *vm, virDomainDef *def, unsigned int count)
{
    g_autoptr(GError) error = NULL;
    unsigned int old = virDomainDefGetVcpus(def);
    bool done;

    if (count > virDomainDefGetVcpusMax(def)) {
        virReportError(VIR_ERR_INVALID_ARG, _("domain '%s' can have %u vCPUs at most, not %u"), def->name,
                       virDomainDefGetVcpusMax(def), count);
        return -1;
    }
    done = serai_domain_set_vcpu_count(XEN_PRIVATE(vm)->domain, count, &error);
    virDomainAuditVcpu(vm, old, count, "update", done);
    if (!done) {
        xenReportError(&error, _("cannot change the vCPUs of domain '%s'"), def->name);
        return -1;
    }
    return virDomainDefSetVcpus(def, count);
}

static int
setPersistentCount(virDomainDef *def, unsigned int count, bool maximum, virDomainXMLOption *xmlopt)
{
    if (maximum) {
        if (count < virDomainDefGetVcpus(def) && virDomainDefSetVcpus(def, count) < 0)
            return -1;
        return virDomainDefSetVcpusMax(def, count, xmlopt);
    }
    if (count > virDomainDefGetVcpusMax(def)) {
        virReportError(VIR_ERR_INVALID_ARG, _("domain '%s' can have %u vCPUs at most, not %u"), def->name,
                       virDomainDefGetVcpusMax(def), count);
        return -1;
    }
    return virDomainDefSetVcpus(def, count);
}

/* libvirt's other way to count vCPUs, which an agent of QEMU's inside the guest goes. */
static int
refuseAgent(const virDomainObj *vm)
{
    virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                   _("domain '%s' has no guest agent: its vCPUs are counted and changed without 'guest', "
                     "and it follows by itself"),
                   vm->def->name);
    return -1;
}

/*
 * A paravirtualized guest can give up any vCPU but the first, so each is hotpluggable, asked for or not.
 * Definitions that name their vCPUs say it of each: one that is offline and not hotpluggable is refused when
 * the definition is read again.
 */
static void
tellHotpluggable(virDomainDef *def)
{
    size_t i;

    for (i = 1; def->individualvcpus && i < virDomainDefGetVcpusMax(def); i++)
        virDomainDefGetVcpu(def, i)->hotpluggable = VIR_TRISTATE_BOOL_YES;
}

int
xenDomainSetVcpusFlags(virDomainPtr dom, unsigned int count, unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    virDomainDef *live = NULL;
    virDomainDef *persistent = NULL;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG | VIR_DOMAIN_VCPU_MAXIMUM |
                      VIR_DOMAIN_VCPU_GUEST | VIR_DOMAIN_VCPU_HOTPLUGGABLE,
                  -1);

    if (count == 0) {
        virReportError(VIR_ERR_INVALID_ARG, "%s", _("a domain needs one vCPU at least"));
        return -1;
    }
    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainSetVcpusFlagsEnsureACL(dom->conn, vm->def, flags) < 0)
        goto cleanup;
    if ((flags & VIR_DOMAIN_VCPU_GUEST) && refuseAgent(vm) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (xenDomainGetDefs(vm, flags & (VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG), &live,
                         &persistent) < 0)
        goto endjob;

    if (live && (flags & VIR_DOMAIN_VCPU_MAXIMUM)) {
        virReportError(VIR_ERR_INVALID_ARG, _("the most vCPUs of domain '%s' cannot change while it runs"),
                       vm->def->name);
        goto endjob;
    }
    if (live && setLiveCount(vm, live, count) < 0)
        goto endjob;
    if (live) {
        tellHotpluggable(live);
        xenDomainSaveStatus(driver, vm);
    }
    if (persistent) {
        if (setPersistentCount(persistent, count, flags & VIR_DOMAIN_VCPU_MAXIMUM, driver->xmlopt) < 0)
            goto endjob;
        tellHotpluggable(persistent);
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
xenDomainSetVcpus(virDomainPtr dom, unsigned int count)
{
    return xenDomainSetVcpusFlags(dom, count, VIR_DOMAIN_AFFECT_LIVE);
}

static void
setOnline(virDomainDef *def, size_t number, bool online)
{
    virDomainDefGetVcpu(def, number)->online = online;
    def->individualvcpus = true;
    tellHotpluggable(def);
}

int
xenDomainSetVcpu(virDomainPtr dom, const char *map, int state, unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    g_autoptr(virBitmap) vcpus = NULL;
    g_autoptr(GError) error = NULL;
    virDomainDef *live = NULL;
    virDomainDef *persistent = NULL;
    virDomainObj *vm;
    ssize_t vcpu = -1;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);

    if (virBitmapParse(map, &vcpus, VIR_DOMAIN_CPUMASK_LEN) < 0)
        return -1;
    if (virBitmapIsAllClear(vcpus)) {
        virReportError(VIR_ERR_INVALID_ARG, "%s", _("no vCPU is named"));
        return -1;
    }
    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainSetVcpuEnsureACL(dom->conn, vm->def, flags) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (xenDomainGetDefs(vm, flags, &live, &persistent) < 0)
        goto endjob;

    if (virBitmapLastSetBit(vcpus) >= (ssize_t)virDomainDefGetVcpusMax(live ? live : persistent) ||
        (persistent && virBitmapLastSetBit(vcpus) >= (ssize_t)virDomainDefGetVcpusMax(persistent))) {
        virReportError(VIR_ERR_INVALID_ARG, _("domain '%s' has no vCPU %zd"), vm->def->name,
                       virBitmapLastSetBit(vcpus));
        goto endjob;
    }
    /* The vCPU that the guest booted on never leaves. */
    if (!state && virBitmapIsBitSet(vcpus, 0)) {
        virReportError(VIR_ERR_INVALID_ARG, _("vCPU 0 of domain '%s' cannot be taken away"), vm->def->name);
        goto endjob;
    }

    while (live && (vcpu = virBitmapNextSetBit(vcpus, vcpu)) >= 0) {
        if (!serai_domain_set_vcpu_online(XEN_PRIVATE(vm)->domain, vcpu, state != 0, &error)) {
            xenReportError(&error, _("cannot change vCPU %zd of domain '%s'"), vcpu, vm->def->name);
            goto endjob;
        }
        setOnline(live, vcpu, state != 0);
    }
    if (live)
        xenDomainSaveStatus(driver, vm);
    vcpu = -1;
    while (persistent && (vcpu = virBitmapNextSetBit(vcpus, vcpu)) >= 0)
        setOnline(persistent, vcpu, state != 0);
    if (persistent && xenDomainSavePersistent(driver, vm, persistent) < 0)
        goto endjob;
    ret = 0;

endjob:
    virDomainObjEndJob(vm);
cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainGetVcpusFlags(virDomainPtr dom, unsigned int flags)
{
    virDomainDef *def;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG | VIR_DOMAIN_VCPU_MAXIMUM |
                      VIR_DOMAIN_VCPU_GUEST,
                  -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainGetVcpusFlagsEnsureACL(dom->conn, vm->def, flags) < 0)
        goto cleanup;
    if ((flags & VIR_DOMAIN_VCPU_GUEST) && refuseAgent(vm) < 0)
        goto cleanup;
    def = xenDomainGetOneDef(vm, flags & ~VIR_DOMAIN_VCPU_MAXIMUM);
    if (def)
        ret = flags & VIR_DOMAIN_VCPU_MAXIMUM ? virDomainDefGetVcpusMax(def) : virDomainDefGetVcpus(def);

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainGetMaxVcpus(virDomainPtr dom)
{
    return xenDomainGetVcpusFlags(dom, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_VCPU_MAXIMUM);
}

static void
announcePin(xenDriver *driver, virDomainObj *vm, unsigned int vcpu, virBitmap *cpus)
{
    g_autofree char *name = g_strdup_printf(VIR_DOMAIN_TUNABLE_CPU_VCPUPIN, vcpu);
    g_autofree char *list = virBitmapFormat(cpus);
    virTypedParameterPtr params = NULL;
    int nparams = 0;
    int max = 0;

    if (virTypedParamsAddString(&params, &nparams, &max, name, list) == 0)
        xenDomainQueue(driver, virDomainEventTunableNewFromObj(vm, &params, nparams));
    virTypedParamsFree(params, nparams);
}

int
xenDomainPinVcpuFlags(virDomainPtr dom, unsigned int vcpu, unsigned char *cpumap, int maplen,
                      unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    g_autoptr(virBitmap) cpus = NULL;
    g_autoptr(GBytes) hard = NULL;
    g_autoptr(GError) error = NULL;
    virDomainDef *live = NULL;
    virDomainDef *persistent = NULL;
    virDomainVcpuDef *def;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainPinVcpuFlagsEnsureACL(dom->conn, vm->def, flags) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (xenDomainGetDefs(vm, flags, &live, &persistent) < 0)
        goto endjob;

    cpus = virBitmapNewData(cpumap, maplen);
    if (!cpus || virBitmapIsAllClear(cpus)) {
        virReportError(VIR_ERR_INVALID_ARG, _("vCPU %u of domain '%s' needs one CPU at least"), vcpu,
                       vm->def->name);
        goto endjob;
    }
    if ((live && !virDomainDefGetVcpu(live, vcpu)) ||
        (persistent && !virDomainDefGetVcpu(persistent, vcpu))) {
        virReportError(VIR_ERR_INVALID_ARG, _("domain '%s' has no vCPU %u"), vm->def->name, vcpu);
        goto endjob;
    }

    if (live) {
        hard = xenConfBitmap(cpus);
        if (!serai_domain_pin_vcpu(XEN_PRIVATE(vm)->domain, vcpu, hard, NULL, &error)) {
            xenReportError(&error, _("cannot pin vCPU %u of domain '%s'"), vcpu, vm->def->name);
            goto endjob;
        }
        def = virDomainDefGetVcpu(live, vcpu);
        virBitmapFree(def->cpumask);
        def->cpumask = virBitmapNewCopy(cpus);
        xenDomainSaveStatus(driver, vm);
        announcePin(driver, vm, vcpu, cpus);
    }
    if (persistent) {
        def = virDomainDefGetVcpu(persistent, vcpu);
        virBitmapFree(def->cpumask);
        def->cpumask = virBitmapNewCopy(cpus);
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
xenDomainPinVcpu(virDomainPtr dom, unsigned int vcpu, unsigned char *cpumap, int maplen)
{
    return xenDomainPinVcpuFlags(dom, vcpu, cpumap, maplen, VIR_DOMAIN_AFFECT_LIVE);
}

int
xenDomainGetVcpuPinInfo(virDomainPtr dom, int ncpumaps, unsigned char *cpumaps, int maplen,
                        unsigned int flags)
{
    g_autoptr(virBitmap) host = NULL;
    virDomainDef *def;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainGetVcpuPinInfoEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    def = xenDomainGetOneDef(vm, flags);
    if (!def)
        goto cleanup;
    host = xenNodeOnlineCPUs(dom->conn->privateData);
    if (!host)
        goto cleanup;
    ret = virDomainDefGetVcpuPinInfoHelper(def, maplen, ncpumaps, cpumaps, host, NULL);

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainGetVcpus(virDomainPtr dom, virVcpuInfoPtr info, int maxinfo, unsigned char *cpumaps, int maplen)
{
    g_autoptr(GPtrArray) vcpus = NULL;
    g_autoptr(GError) error = NULL;
    virDomainObj *vm = xenDomainObjFromDomain(dom);
    int ret = -1;
    int i;

    if (!vm)
        return -1;
    if (virDomainGetVcpusEnsureACL(dom->conn, vm->def) < 0 || xenDomainCheckActive(vm) < 0)
        goto cleanup;
    vcpus = serai_domain_get_vcpus(XEN_PRIVATE(vm)->domain, &error);
    if (!vcpus) {
        xenReportError(&error, _("cannot ask for the vCPUs of domain '%s'"), vm->def->name);
        goto cleanup;
    }

    memset(info, 0, sizeof(*info) * maxinfo);
    if (cpumaps)
        memset(cpumaps, 0, (size_t)maxinfo * maplen);
    ret = 0;
    for (i = 0; i < (int)vcpus->len && ret < maxinfo; i++) {
        const SeraiVcpuInfo *vcpu = g_ptr_array_index(vcpus, i);

        if (!vcpu->online)
            continue;
        info[ret].number = vcpu->vcpu;
        info[ret].state = vcpu->running ? VIR_VCPU_RUNNING : VIR_VCPU_BLOCKED;
        info[ret].cpuTime = vcpu->cpu_time_ns;
        info[ret].cpu = vcpu->cpu;
        if (cpumaps && vcpu->hard_affinity) {
            gsize size;
            const guint8 *map = g_bytes_get_data(vcpu->hard_affinity, &size);

            memcpy(cpumaps + (size_t)ret * maplen, map, MIN(size, (gsize)maplen));
        }
        ret++;
    }

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

static int
totalStats(virDomainObj *vm, virTypedParameterPtr params)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(xenDomainFacts) info = serai_domain_get_info(XEN_PRIVATE(vm)->domain, &error);

    if (!info) {
        xenReportError(&error, _("cannot ask for domain '%s'"), vm->def->name);
        return -1;
    }
    return virTypedParameterAssign(&params[0], VIR_DOMAIN_CPU_STATS_CPUTIME, VIR_TYPED_PARAM_ULLONG,
                                   (unsigned long long)info->cpu_time_ns);
}

/* Of @count vCPUs from @first on; one that there is not gets nothing. */
static int
statsOfEach(virDomainObj *vm, virTypedParameterPtr params, unsigned int nparams, unsigned int first,
            unsigned int count)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) vcpus = serai_domain_get_vcpus(XEN_PRIVATE(vm)->domain, &error);
    unsigned int i;

    if (!vcpus) {
        xenReportError(&error, _("cannot ask for the vCPUs of domain '%s'"), vm->def->name);
        return -1;
    }
    memset(params, 0, sizeof(*params) * nparams * count);
    for (i = 0; i < vcpus->len; i++) {
        const SeraiVcpuInfo *vcpu = g_ptr_array_index(vcpus, i);

        if (vcpu->vcpu < first || vcpu->vcpu - first >= count)
            continue;
        if (virTypedParameterAssign(&params[(size_t)(vcpu->vcpu - first) * nparams],
                                    VIR_DOMAIN_CPU_STATS_CPUTIME, VIR_TYPED_PARAM_ULLONG,
                                    (unsigned long long)vcpu->cpu_time_ns) < 0)
            return -1;
    }
    return 0;
}

/*
 * The hypervisor does not count which of its CPUs a domain ran on.  As with the stock driver the CPUs are the
 * domain's own here, under the name that its clients look for.
 */
int
xenDomainGetCPUStats(virDomainPtr dom, virTypedParameterPtr params, unsigned int nparams, int startCpu,
                     unsigned int ncpus, unsigned int flags)
{
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_TYPED_PARAM_STRING_OKAY, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainGetCPUStatsEnsureACL(dom->conn, vm->def) < 0 || xenDomainCheckActive(vm) < 0)
        goto cleanup;
    if (startCpu >= (int)virDomainDefGetVcpusMax(vm->def))
        virReportError(VIR_ERR_INVALID_ARG, _("domain '%s' has no vCPU %d"), vm->def->name, startCpu);
    else if (ncpus == 0)
        ret = virDomainDefGetVcpusMax(vm->def);
    else if (nparams == 0)
        ret = 1;
    else if (startCpu == -1)
        ret = totalStats(vm, params) < 0 ? -1 : 1;
    else
        ret = statsOfEach(vm, params, nparams, startCpu, ncpus) < 0 ? -1 : 1;

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}
