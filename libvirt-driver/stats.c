/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The entry that tells everything about many domains in one call.
 *
 * Each group is a row of the table and a function; a domain that ends while it is asked is left out, and
 * nobody waits for a job, so a domain being saved is told of as well.
 */
#include "block.h"
#include "domain.h"
#include "entries.h"
#include "error.h"
#include "process.h"

#include "viraccessapicheck.h"
#include "virmacaddr.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.stats");

typedef struct {
    virDomainObj *vm;
    SeraiDomain *domain;   /* NULL when it does not run */
    SeraiDomainInfo *info; /* NULL as well */
    virTypedParamList *params;
} xenStats;

static int
statsState(xenStats *stats)
{
    int reason;
    int state = virDomainObjGetState(stats->vm, &reason);

    return virTypedParamListAddInt(stats->params, state, "state.state") < 0 ||
                   virTypedParamListAddInt(stats->params, reason, "state.reason") < 0
               ? -1
               : 0;
}

static int
statsCpu(xenStats *stats)
{
    if (!stats->info)
        return 0;
    return virTypedParamListAddULLong(stats->params, stats->info->cpu_time_ns, "cpu.time");
}

static int
statsBalloon(xenStats *stats)
{
    unsigned long long maximum = virDomainDefGetMemoryTotal(stats->vm->def);
    unsigned long long current = stats->vm->def->mem.cur_balloon;
    SeraiMemoryStats memory;
    bool live = stats->domain && serai_domain_get_memory_stats(stats->domain, &memory, NULL);

    if (live)
        current = memory.current_kib;
    if (virTypedParamListAddULLong(stats->params, current, "balloon.current") < 0 ||
        virTypedParamListAddULLong(stats->params, maximum, "balloon.maximum") < 0)
        return -1;
    if (!live)
        return 0;
    if (virTypedParamListAddULLong(stats->params, memory.current_kib, "balloon.rss") < 0)
        return -1;
    if (memory.guest_total_kib == 0)
        return 0;
    return virTypedParamListAddULLong(stats->params, memory.guest_total_kib, "balloon.available") < 0 ||
                   virTypedParamListAddULLong(stats->params, memory.guest_free_kib, "balloon.unused") < 0 ||
                   virTypedParamListAddULLong(stats->params, memory.guest_available_kib, "balloon.usable") < 0
               ? -1
               : 0;
}

static int
statsVcpu(xenStats *stats)
{
    g_autoptr(GPtrArray) vcpus = NULL;
    size_t i;

    if (virTypedParamListAddUInt(stats->params,
                                 stats->info ? stats->info->vcpus : virDomainDefGetVcpus(stats->vm->def),
                                 "vcpu.current") < 0 ||
        virTypedParamListAddUInt(stats->params, virDomainDefGetVcpusMax(stats->vm->def), "vcpu.maximum") < 0)
        return -1;
    vcpus = stats->domain ? serai_domain_get_vcpus(stats->domain, NULL) : NULL;
    for (i = 0; vcpus && i < vcpus->len; i++) {
        const SeraiVcpuInfo *vcpu = g_ptr_array_index(vcpus, i);
        int state = vcpu->running ? VIR_VCPU_RUNNING : vcpu->online ? VIR_VCPU_BLOCKED : VIR_VCPU_OFFLINE;

        if (!vcpu->online)
            continue;
        if (virTypedParamListAddInt(stats->params, state, "vcpu.%u.state", vcpu->vcpu) < 0 ||
            virTypedParamListAddULLong(stats->params, vcpu->cpu_time_ns, "vcpu.%u.time", vcpu->vcpu) < 0)
            return -1;
    }
    return 0;
}

static int
addNic(xenStats *stats, const SeraiDevice *device, size_t number)
{
    SeraiNicStats nic;

    if (!serai_domain_get_nic_stats(stats->domain, device->devid, &nic, NULL))
        return 0;
    const struct {
        const char *name;
        unsigned long long value;
    } fields[] = {
        {"rx.bytes", nic.rx_bytes},  {"rx.pkts", nic.rx_packets}, {"rx.errs", nic.rx_errors},
        {"rx.drop", nic.rx_dropped}, {"tx.bytes", nic.tx_bytes},  {"tx.pkts", nic.tx_packets},
        {"tx.errs", nic.tx_errors},  {"tx.drop", nic.tx_dropped},
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(fields); i++) {
        if (virTypedParamListAddULLong(stats->params, fields[i].value, "net.%zu.%s", number, fields[i].name) <
            0)
            return -1;
    }
    return 0;
}

static int
statsNet(xenStats *stats)
{
    g_autoptr(GPtrArray) devices = NULL;
    char mac[VIR_MAC_STRING_BUFLEN];
    size_t i, j;

    if (!stats->domain)
        return 0;
    /* Listed once for all NICs of the domain. */
    devices = serai_domain_list_devices(stats->domain, NULL);
    if (virTypedParamListAddUInt(stats->params, stats->vm->def->nnets, "net.count") < 0)
        return -1;
    for (i = 0; devices && i < stats->vm->def->nnets; i++) {
        const virDomainNetDef *net = stats->vm->def->nets[i];

        if (!net->ifname)
            continue;
        if (virTypedParamListAddString(stats->params, net->ifname, "net.%zu.name", i) < 0)
            return -1;
        virMacAddrFormat(&net->mac, mac);
        for (j = 0; j < devices->len; j++) {
            const SeraiDevice *device = g_ptr_array_index(devices, j);

            if (device->kind == SERAI_DEVICE_NIC && device->nic.mac && STRCASEEQ(device->nic.mac, mac) &&
                addNic(stats, device, i) < 0)
                return -1;
        }
    }
    return 0;
}

static int
addDiskRequests(xenStats *stats, const virDomainDiskDef *disk, size_t number)
{
    SeraiDiskStats counts;

    if (!stats->domain || !serai_domain_get_disk_stats(stats->domain, disk->dst, &counts, NULL))
        return 0;
    const struct {
        const char *name;
        unsigned long long value;
    } fields[] = {
        {"rd.reqs", counts.read_requests},  {"rd.bytes", counts.read_bytes},
        {"wr.reqs", counts.write_requests}, {"wr.bytes", counts.write_bytes},
        {"fl.reqs", counts.flush_requests},
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(fields); i++) {
        if (virTypedParamListAddULLong(stats->params, fields[i].value, "block.%zu.%s", number,
                                       fields[i].name) < 0)
            return -1;
    }
    return 0;
}

static int
addDiskSizes(xenStats *stats, const virDomainDiskDef *disk, size_t number)
{
    unsigned long long capacity, allocation, physical;

    /* An image that is not there just now makes no statistics fail. */
    if (virStorageSourceIsEmpty(disk->src) || !virStorageSourceIsLocalStorage(disk->src) ||
        !virFileExists(disk->src->path))
        return 0;
    if (xenBlockReadSizes(disk, &capacity, &allocation, &physical) < 0) {
        virResetLastError();
        return 0;
    }
    return virTypedParamListAddULLong(stats->params, allocation, "block.%zu.allocation", number) < 0 ||
                   virTypedParamListAddULLong(stats->params, capacity, "block.%zu.capacity", number) < 0 ||
                   virTypedParamListAddULLong(stats->params, physical, "block.%zu.physical", number) < 0
               ? -1
               : 0;
}

static int
statsBlock(xenStats *stats)
{
    const virDomainDef *def = stats->vm->def;
    size_t i;

    if (virTypedParamListAddUInt(stats->params, def->ndisks, "block.count") < 0)
        return -1;
    for (i = 0; i < def->ndisks; i++) {
        const virDomainDiskDef *disk = def->disks[i];
        const char *path = virDomainDiskGetSource(disk);

        if (virTypedParamListAddString(stats->params, disk->dst, "block.%zu.name", i) < 0 ||
            (path && virTypedParamListAddString(stats->params, path, "block.%zu.path", i) < 0) ||
            addDiskRequests(stats, disk, i) < 0 || addDiskSizes(stats, disk, i) < 0)
            return -1;
    }
    return 0;
}

/* What has no counterpart here; asked for, it is answered with nothing, as other drivers do for an idle
 * domain. */
static int
statsNothing(xenStats *stats G_GNUC_UNUSED)
{
    return 0;
}

static const struct {
    unsigned int group;
    int (*function)(xenStats *stats);
} groups[] = {
    {VIR_DOMAIN_STATS_STATE, statsState},     {VIR_DOMAIN_STATS_CPU_TOTAL, statsCpu},
    {VIR_DOMAIN_STATS_BALLOON, statsBalloon}, {VIR_DOMAIN_STATS_VCPU, statsVcpu},
    {VIR_DOMAIN_STATS_INTERFACE, statsNet},   {VIR_DOMAIN_STATS_BLOCK, statsBlock},
    {VIR_DOMAIN_STATS_PERF, statsNothing},    {VIR_DOMAIN_STATS_IOTHREAD, statsNothing},
    {VIR_DOMAIN_STATS_MEMORY, statsNothing},  {VIR_DOMAIN_STATS_DIRTYRATE, statsNothing},
    {VIR_DOMAIN_STATS_VM, statsNothing},
};

static int
checkGroups(unsigned int wanted, bool enforce)
{
    unsigned int known = 0;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(groups); i++)
        known |= groups[i].group;
    if (enforce && (wanted & ~known)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("statistics of group 0x%x are not known"),
                       wanted & ~known);
        return -1;
    }
    return 0;
}

static virDomainStatsRecordPtr
record(virConnectPtr conn, virDomainObj *vm, unsigned int wanted)
{
    g_autoptr(virTypedParamList) params = g_new0(virTypedParamList, 1);
    g_autoptr(xenDomainFacts) info = NULL;
    g_autofree virDomainStatsRecordPtr ret = g_new0(virDomainStatsRecord, 1);
    xenStats stats = {.vm = vm, .params = params};
    size_t i;

    stats.domain = virDomainObjIsActive(vm) ? XEN_PRIVATE(vm)->domain : NULL;
    stats.info = info = stats.domain ? serai_domain_get_info(stats.domain, NULL) : NULL;
    if (info)
        xenProcessFollowPause(conn->privateData, vm, info);
    for (i = 0; i < G_N_ELEMENTS(groups); i++) {
        if ((wanted & groups[i].group) && groups[i].function(&stats) < 0)
            return NULL;
    }
    ret->dom = virGetDomain(conn, vm->def->name, vm->def->uuid, vm->def->id);
    if (!ret->dom)
        return NULL;
    ret->nparams = virTypedParamListStealParams(params, &ret->params);
    return g_steal_pointer(&ret);
}

int
xenConnectGetAllDomainStats(virConnectPtr conn, virDomainPtr *doms, unsigned int ndoms, unsigned int wanted,
                            virDomainStatsRecordPtr **ret_records, unsigned int flags)
{
    xenDriver *driver = conn->privateData;
    unsigned int listFlags =
        flags & (VIR_CONNECT_LIST_DOMAINS_FILTERS_ACTIVE | VIR_CONNECT_LIST_DOMAINS_FILTERS_PERSISTENT |
                 VIR_CONNECT_LIST_DOMAINS_FILTERS_STATE);
    virDomainStatsRecordPtr *records = NULL;
    virDomainObj **vms = NULL;
    size_t nvms = 0;
    int count = 0;
    int ret = -1;
    size_t i;

    virCheckFlags(VIR_CONNECT_LIST_DOMAINS_FILTERS_ACTIVE | VIR_CONNECT_LIST_DOMAINS_FILTERS_PERSISTENT |
                      VIR_CONNECT_LIST_DOMAINS_FILTERS_STATE | VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT |
                      VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING |
                      VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS,
                  -1);

    if (virConnectGetAllDomainStatsEnsureACL(conn) < 0)
        return -1;
    if (checkGroups(wanted, flags & VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS) < 0)
        return -1;
    if (wanted == 0)
        wanted = ~0U;

    xenProcessFollowPauses(driver, listFlags);
    if (ndoms) {
        if (virDomainObjListConvert(driver->domains, conn, doms, ndoms, &vms, &nvms,
                                    virConnectGetAllDomainStatsCheckACL, listFlags, true) < 0)
            return -1;
    } else {
        virDomainObjListCollect(driver->domains, conn, &vms, &nvms, virConnectGetAllDomainStatsCheckACL,
                                listFlags);
    }

    records = g_new0(virDomainStatsRecordPtr, nvms + 1);
    for (i = 0; i < nvms; i++) {
        virObjectLock(vms[i]);
        records[count] = record(conn, vms[i], wanted);
        virObjectUnlock(vms[i]);
        if (!records[count])
            goto cleanup;
        count++;
    }
    *ret_records = g_steal_pointer(&records);
    ret = count;

cleanup:
    virDomainStatsRecordListFree(records);
    virObjectListFreeCount(vms, nvms);
    return ret;
}
