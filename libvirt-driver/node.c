/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entries about the machine: CPUs, memory, devices.
 *
 * Domain 0's kernel sees a part of the machine only; what is told here is what the hypervisor says.
 */
#include "entries.h"
#include "capabilities.h"
#include "process.h"
#include "error.h"

#include "domain_driver.h"
#include "node_device_conf.h"
#include "viraccessapicheck.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.node");

static SeraiHostInfo *
hostInfo(xenDriver *driver)
{
    g_autoptr(GError) error = NULL;
    SeraiHostInfo *info = serai_host_get_info(driver->host, &error);

    if (!info)
        xenReportError(&error, "%s", _("cannot ask for the facts of the host"));
    return info;
}

static GArray *
hostCPUs(xenDriver *driver)
{
    g_autoptr(GError) error = NULL;
    GArray *cpus = serai_host_get_cpus(driver->host, &error);

    if (!cpus)
        xenReportError(&error, "%s", _("cannot ask for the CPUs of the host"));
    return cpus;
}

static GPtrArray *
hostNodes(xenDriver *driver)
{
    g_autoptr(GError) error = NULL;
    GPtrArray *nodes = serai_host_get_nodes(driver->host, &error);

    if (!nodes)
        xenReportError(&error, "%s", _("cannot ask for the memory of the host"));
    return nodes;
}

int
xenNodeGetInfo(virConnectPtr conn, virNodeInfoPtr info)
{
    g_autoptr(xenHostInfo) host = NULL;

    if (virNodeGetInfoEnsureACL(conn) < 0)
        return -1;
    host = hostInfo(conn->privateData);
    if (!host)
        return -1;

    memset(info, 0, sizeof(*info));
    if (virStrcpyStatic(info->model, virArchToString(virArchFromHost())) < 0)
        return -1;
    info->memory = host->total_kib;
    info->cpus = host->cpu_count;
    info->mhz = host->cpu_khz / 1000;
    info->nodes = MAX(host->node_count, 1);
    info->cores = MAX(host->cores_per_socket, 1);
    info->threads = MAX(host->threads_per_core, 1);
    /* Sockets are counted for each node; the four numbers multiply to the CPUs. */
    info->sockets = MAX(host->socket_count / info->nodes, 1);
    if (info->nodes * info->sockets * info->cores * info->threads != info->cpus) {
        info->nodes = 1;
        info->sockets = 1;
        info->cores = info->cpus;
        info->threads = 1;
    }
    return 0;
}

/* CPU time by what it was used for; the hypervisor knows idle from busy. */
int
xenNodeGetCPUStats(virConnectPtr conn, int cpuNum, virNodeCPUStatsPtr params, int *nparams,
                   unsigned int flags)
{
    const char *fields[] = {VIR_NODE_CPU_STATS_KERNEL, VIR_NODE_CPU_STATS_USER, VIR_NODE_CPU_STATS_IDLE,
                            VIR_NODE_CPU_STATS_IOWAIT};
    unsigned long long values[G_N_ELEMENTS(fields)] = {0};
    g_autoptr(GArray) cpus = NULL;
    struct timespec now;
    unsigned long long total;
    size_t i;

    virCheckFlags(0, -1);

    if (virNodeGetCPUStatsEnsureACL(conn) < 0)
        return -1;
    if (*nparams == 0) {
        *nparams = G_N_ELEMENTS(fields);
        return 0;
    }
    cpus = hostCPUs(conn->privateData);
    if (!cpus)
        return -1;
    if (cpuNum != VIR_NODE_CPU_STATS_ALL_CPUS &&
        (cpuNum < 0 || cpuNum >= (int)cpus->len || !g_array_index(cpus, SeraiCpu, cpuNum).online)) {
        virReportError(VIR_ERR_INVALID_ARG, _("there is no CPU %d"), cpuNum);
        return -1;
    }

    clock_gettime(CLOCK_BOOTTIME, &now);
    total = now.tv_sec * 1000000000ULL + now.tv_nsec;
    for (i = 0; i < cpus->len; i++) {
        const SeraiCpu *cpu = &g_array_index(cpus, SeraiCpu, i);

        if (!cpu->online || (cpuNum != VIR_NODE_CPU_STATS_ALL_CPUS && cpuNum != (int)i))
            continue;
        values[2] += cpu->idle_ns;
        values[1] += total > cpu->idle_ns ? total - cpu->idle_ns : 0;
    }

    for (i = 0; i < G_N_ELEMENTS(fields) && (int)i < *nparams; i++) {
        if (virHostCPUStatsAssign(&params[i], fields[i], values[i]) < 0)
            return -1;
    }
    *nparams = MIN(*nparams, (int)G_N_ELEMENTS(fields));
    return 0;
}

static int
assignMemory(virNodeMemoryStatsPtr param, const char *name, unsigned long long value)
{
    if (virStrcpyStatic(param->field, name) < 0) {
        virReportError(VIR_ERR_INTERNAL_ERROR, _("field name '%s' is too long"), name);
        return -1;
    }
    param->value = value;
    return 0;
}

int
xenNodeGetMemoryStats(virConnectPtr conn, int cellNum, virNodeMemoryStatsPtr params, int *nparams,
                      unsigned int flags)
{
    g_autoptr(GPtrArray) nodes = NULL;
    unsigned long long total = 0;
    unsigned long long available = 0;
    bool found = false;
    size_t i;

    virCheckFlags(0, -1);

    if (virNodeGetMemoryStatsEnsureACL(conn) < 0)
        return -1;
    if (*nparams == 0) {
        *nparams = 2;
        return 0;
    }
    nodes = hostNodes(conn->privateData);
    if (!nodes)
        return -1;
    for (i = 0; i < nodes->len; i++) {
        const SeraiNode *node = g_ptr_array_index(nodes, i);

        if (!node->present || (cellNum != VIR_NODE_MEMORY_STATS_ALL_CELLS && cellNum != (int)i))
            continue;
        total += node->total_kib;
        available += node->free_kib;
        found = true;
    }
    if (!found) {
        virReportError(VIR_ERR_INVALID_ARG, _("there is no NUMA node %d"), cellNum);
        return -1;
    }
    if (assignMemory(&params[0], VIR_NODE_MEMORY_STATS_TOTAL, total) < 0)
        return -1;
    if (*nparams > 1 && assignMemory(&params[1], VIR_NODE_MEMORY_STATS_FREE, available) < 0)
        return -1;
    *nparams = MIN(*nparams, 2);
    return 0;
}

int
xenNodeGetCellsFreeMemory(virConnectPtr conn, unsigned long long *freeMems, int startCell, int maxCells)
{
    g_autoptr(GPtrArray) nodes = NULL;
    int count = 0;

    if (virNodeGetCellsFreeMemoryEnsureACL(conn) < 0)
        return -1;
    nodes = hostNodes(conn->privateData);
    if (!nodes)
        return -1;
    if (startCell < 0 || startCell >= (int)nodes->len) {
        virReportError(VIR_ERR_INVALID_ARG, _("there is no NUMA node %d"), startCell);
        return -1;
    }
    for (count = 0; count < maxCells && startCell + count < (int)nodes->len; count++) {
        const SeraiNode *node = g_ptr_array_index(nodes, startCell + count);

        freeMems[count] = node->free_kib * 1024;
    }
    return count;
}

/* Free pages of @kib KiB on a node, or on all with -1.  -1 with an error. */
static int
countPages(GPtrArray *nodes, int cell, unsigned int kib, unsigned long long *count)
{
    size_t i;

    if (kib != XEN_PAGE_KIB) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("the hypervisor counts pages of %d KiB and not of %u KiB"), XEN_PAGE_KIB, kib);
        return -1;
    }
    *count = 0;
    for (i = 0; i < nodes->len; i++) {
        const SeraiNode *node = g_ptr_array_index(nodes, i);

        if (node->present && (cell < 0 || cell == (int)i))
            *count += node->free_kib / kib;
    }
    return 0;
}

int
xenNodeGetFreePages(virConnectPtr conn, unsigned int npages, unsigned int *pages, int startCell,
                    unsigned int cellCount, unsigned long long *counts, unsigned int flags)
{
    g_autoptr(GPtrArray) nodes = NULL;
    int ncounts = 0;
    int cell;
    size_t i;

    virCheckFlags(0, -1);

    if (virNodeGetFreePagesEnsureACL(conn) < 0)
        return -1;
    nodes = hostNodes(conn->privateData);
    if (!nodes)
        return -1;
    if (startCell < -1 || startCell >= (int)nodes->len) {
        virReportError(VIR_ERR_INVALID_ARG, _("there is no NUMA node %d"), startCell);
        return -1;
    }
    for (cell = startCell; cell < (int)nodes->len && (unsigned int)(cell - startCell) < cellCount; cell++) {
        for (i = 0; i < npages; i++) {
            if (countPages(nodes, cell, pages[i], &counts[ncounts++]) < 0)
                return -1;
        }
    }
    return ncounts;
}

unsigned long long
xenNodeGetFreeMemory(virConnectPtr conn)
{
    g_autoptr(xenHostInfo) info = NULL;

    if (virNodeGetFreeMemoryEnsureACL(conn) < 0)
        return 0;
    info = hostInfo(conn->privateData);
    return info ? info->free_kib * 1024 : 0;
}

virBitmap *
xenNodeOnlineCPUs(xenDriver *driver)
{
    g_autoptr(GArray) cpus = hostCPUs(driver);
    virBitmap *online;
    size_t i;

    if (!cpus)
        return NULL;
    online = virBitmapNew(cpus->len);
    for (i = 0; i < cpus->len; i++) {
        if (g_array_index(cpus, SeraiCpu, i).online)
            ignore_value(virBitmapSetBit(online, i));
    }
    return online;
}

int
xenNodeGetCPUMap(virConnectPtr conn, unsigned char **cpumap, unsigned int *online, unsigned int flags)
{
    g_autoptr(virBitmap) cpus = NULL;
    int length;

    virCheckFlags(0, -1);

    if (virNodeGetCPUMapEnsureACL(conn) < 0)
        return -1;
    cpus = xenNodeOnlineCPUs(conn->privateData);
    if (!cpus)
        return -1;
    if (cpumap && virBitmapToData(cpus, cpumap, &length) < 0)
        return -1;
    if (online)
        *online = virBitmapCountBits(cpus);
    return virBitmapSize(cpus);
}

/* No security driver labels domains; an empty model is how libvirt says "none". */
int
xenNodeGetSecurityModel(virConnectPtr conn, virSecurityModelPtr model)
{
    if (virNodeGetSecurityModelEnsureACL(conn) < 0)
        return -1;
    memset(model, 0, sizeof(*model));
    return 0;
}

int
xenNodeDeviceDetachFlags(virNodeDevicePtr dev, const char *driverName, unsigned int flags)
{
    xenDriver *driver = dev->conn->privateData;

    virCheckFlags(0, -1);

    if (driverName && STRNEQ(driverName, "xen")) {
        virReportError(VIR_ERR_INVALID_ARG, _("device driver '%s' is not 'xen'"), driverName);
        return -1;
    }
    /* The helper checks the right with the device at hand. */
    return virDomainDriverNodeDeviceDetachFlags(dev, driver->hostdevs, "xen");
}

int
xenNodeDeviceDettach(virNodeDevicePtr dev)
{
    return xenNodeDeviceDetachFlags(dev, NULL, 0);
}

/* As the daemon of devices has it, which may be another. */
static virNodeDeviceDef *
describe(virNodeDevicePtr dev)
{
    g_autoptr(virConnect) conn = virGetConnectNodeDev();
    g_autoptr(virNodeDevice) device = conn ? virNodeDeviceLookupByName(conn, dev->name) : NULL;
    g_autofree char *xml = device ? virNodeDeviceGetXMLDesc(device, 0) : NULL;

    return xml ? virNodeDeviceDefParse(xml, NULL, EXISTING_DEVICE, NULL, NULL, NULL, false) : NULL;
}

/* Libvirt's helper asks for the right and gives the device back in one; what is ours comes in between. */
int
xenNodeDeviceReAttach(virNodeDevicePtr dev)
{
    xenDriver *driver = dev->conn->privateData;
    g_autoptr(virNodeDeviceDef) def = describe(dev);
    g_autoptr(virPCIDevice) device = NULL;
    virPCIDeviceAddress address = {0};

    if (!def || virNodeDeviceReAttachEnsureACL(dev->conn, def) < 0 ||
        virDomainDriverNodeDeviceGetPCIInfo(def, &address) < 0)
        return -1;
    device = virPCIDeviceNew(&address);
    if (!device)
        return -1;
    xenHostdevForget(driver, device);
    return virHostdevPCINodeDeviceReAttach(driver->hostdevs, device);
}

int
xenNodeDeviceReset(virNodeDevicePtr dev)
{
    xenDriver *driver = dev->conn->privateData;

    return virDomainDriverNodeDeviceReset(dev, driver->hostdevs);
}
