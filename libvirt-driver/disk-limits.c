/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How much a disk may do in a second: <iotune>.
 *
 * The kernel's backend limits nothing, so a disk with limits is served by QEMU (conf.c), which is told them
 * before the guest's first instruction.  One table holds each limit's name in libvirt, its place and its
 * name in QEMU.  The limits of one group are given together: those left out are none.
 */
#include "disk-limits.h"
#include "entries.h"
#include "qmp.h"

#include "viraccessapicheck.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.disk-limits");

/* The most that QEMU takes (THROTTLE_VALUE_MAX). */
#define XEN_LIMIT_MAX 1000000000000000ULL

enum { BYTES, IOPS, BYTES_MAX, IOPS_MAX, SIZE, BYTES_LENGTH, IOPS_LENGTH, XEN_LIMIT_GROUPS };

#define PLACE(member) offsetof(virDomainBlockIoTuneInfo, member)

static const struct limit {
    const char *name;
    size_t place;
    const char *qmp;
    int group;
} limits[] = {
    {VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC, PLACE(total_bytes_sec), "bps", BYTES},
    {VIR_DOMAIN_BLOCK_IOTUNE_READ_BYTES_SEC, PLACE(read_bytes_sec), "bps_rd", BYTES},
    {VIR_DOMAIN_BLOCK_IOTUNE_WRITE_BYTES_SEC, PLACE(write_bytes_sec), "bps_wr", BYTES},
    {VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC, PLACE(total_iops_sec), "iops", IOPS},
    {VIR_DOMAIN_BLOCK_IOTUNE_READ_IOPS_SEC, PLACE(read_iops_sec), "iops_rd", IOPS},
    {VIR_DOMAIN_BLOCK_IOTUNE_WRITE_IOPS_SEC, PLACE(write_iops_sec), "iops_wr", IOPS},
    {VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC_MAX, PLACE(total_bytes_sec_max), "bps_max", BYTES_MAX},
    {VIR_DOMAIN_BLOCK_IOTUNE_READ_BYTES_SEC_MAX, PLACE(read_bytes_sec_max), "bps_rd_max", BYTES_MAX},
    {VIR_DOMAIN_BLOCK_IOTUNE_WRITE_BYTES_SEC_MAX, PLACE(write_bytes_sec_max), "bps_wr_max", BYTES_MAX},
    {VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC_MAX, PLACE(total_iops_sec_max), "iops_max", IOPS_MAX},
    {VIR_DOMAIN_BLOCK_IOTUNE_READ_IOPS_SEC_MAX, PLACE(read_iops_sec_max), "iops_rd_max", IOPS_MAX},
    {VIR_DOMAIN_BLOCK_IOTUNE_WRITE_IOPS_SEC_MAX, PLACE(write_iops_sec_max), "iops_wr_max", IOPS_MAX},
    {VIR_DOMAIN_BLOCK_IOTUNE_SIZE_IOPS_SEC, PLACE(size_iops_sec), "iops_size", SIZE},
    {VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC_MAX_LENGTH, PLACE(total_bytes_sec_max_length), "bps_max_length",
     BYTES_LENGTH},
    {VIR_DOMAIN_BLOCK_IOTUNE_READ_BYTES_SEC_MAX_LENGTH, PLACE(read_bytes_sec_max_length), "bps_rd_max_length",
     BYTES_LENGTH},
    {VIR_DOMAIN_BLOCK_IOTUNE_WRITE_BYTES_SEC_MAX_LENGTH, PLACE(write_bytes_sec_max_length),
     "bps_wr_max_length", BYTES_LENGTH},
    {VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC_MAX_LENGTH, PLACE(total_iops_sec_max_length), "iops_max_length",
     IOPS_LENGTH},
    {VIR_DOMAIN_BLOCK_IOTUNE_READ_IOPS_SEC_MAX_LENGTH, PLACE(read_iops_sec_max_length), "iops_rd_max_length",
     IOPS_LENGTH},
    {VIR_DOMAIN_BLOCK_IOTUNE_WRITE_IOPS_SEC_MAX_LENGTH, PLACE(write_iops_sec_max_length),
     "iops_wr_max_length", IOPS_LENGTH},
};

static unsigned long long *
limitOf(virDomainBlockIoTuneInfo *info, size_t i)
{
    return (unsigned long long *)((char *)info + limits[i].place);
}

static unsigned long long
readLimit(const virDomainBlockIoTuneInfo *info, size_t i)
{
    return *limitOf((virDomainBlockIoTuneInfo *)info, i);
}

/* The table has total, read and write in this order in each group. */
static int
checkTotals(const char *target, const virDomainBlockIoTuneInfo *info)
{
    size_t i;

    for (i = 0; i + 2 < G_N_ELEMENTS(limits); i++) {
        if (!strstr(limits[i].name, "total_") || readLimit(info, i) == 0)
            continue;
        if (readLimit(info, i + 1) > 0 || readLimit(info, i + 2) > 0) {
            virReportError(VIR_ERR_INVALID_ARG,
                           _("<iotune> of disk '%s': <%s> excludes the limits of reads and of writes"),
                           target, limits[i].name);
            return -1;
        }
    }
    return 0;
}

/* A burst is above a limit, and lasts. */
static int
checkBursts(const char *target, const virDomainBlockIoTuneInfo *info)
{
    size_t plain, burst;

    for (plain = 0, burst = 6; plain < 6; plain++, burst++) {
        if (readLimit(info, burst) > 0 && readLimit(info, burst) < readLimit(info, plain)) {
            virReportError(VIR_ERR_INVALID_ARG, _("<iotune> of disk '%s': <%s> is less than <%s>"), target,
                           limits[burst].name, limits[plain].name);
            return -1;
        }
        if (readLimit(info, burst) > 0 && readLimit(info, plain) == 0) {
            virReportError(VIR_ERR_INVALID_ARG, _("<iotune> of disk '%s': <%s> needs <%s>"), target,
                           limits[burst].name, limits[plain].name);
            return -1;
        }
        if (readLimit(info, burst + 7) > 0 && readLimit(info, burst) == 0) {
            virReportError(VIR_ERR_INVALID_ARG, _("<iotune> of disk '%s': <%s> needs <%s>"), target,
                           limits[burst + 7].name, limits[burst].name);
            return -1;
        }
    }
    return 0;
}

int
xenDiskLimitsCheck(const char *target, const virDomainBlockIoTuneInfo *info)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(limits); i++) {
        if (readLimit(info, i) > XEN_LIMIT_MAX) {
            virReportError(VIR_ERR_INVALID_ARG, _("<iotune> of disk '%s': <%s> is more than %llu"), target,
                           limits[i].name, XEN_LIMIT_MAX);
            return -1;
        }
    }
    return checkTotals(target, info) < 0 ? -1 : checkBursts(target, info);
}

/* QEMU names a disk with its partition: xvda0 is all of xvda, xvda1 is itself. */
static bool
isVdev(const char *name, const char *target)
{
    const char *rest = name ? STRSKIP(name, target) : NULL;

    return rest && (!*rest || STREQ(rest, "0"));
}

/* Where QEMU has the disk in its tree of objects, by the name that the guest knows.  NULL with an error. */
static char *
findInQemu(xenQmp *qmp, const char *target)
{
    g_autoptr(virJSONValue) blocks = NULL;
    size_t i;

    if (xenQmpCommand(qmp, "query-block", NULL, -1, &blocks) < 0)
        return NULL;
    for (i = 0; virJSONValueIsArray(blocks) && i < virJSONValueArraySize(blocks); i++) {
        const char *path = virJSONValueObjectGetString(virJSONValueArrayGet(blocks, i), "qdev");
        g_autoptr(virJSONValue) arguments = virJSONValueNewObject();
        g_autoptr(virJSONValue) name = NULL;

        if (!path || virJSONValueObjectAppendString(arguments, "path", path) < 0 ||
            virJSONValueObjectAppendString(arguments, "property", "vdev") < 0)
            continue;
        if (xenQmpCommand(qmp, "qom-get", &arguments, -1, &name) < 0) {
            /* No disk of Xen. */
            virResetLastError();
            continue;
        }
        if (isVdev(virJSONValueGetString(name), target))
            return g_strdup(path);
    }
    virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                   _("disk '%s' is served by the kernel, which limits nothing: set its limits in the "
                     "definition, and QEMU serves it from the next start"),
                   target);
    return NULL;
}

static int
tell(xenQmp *qmp, const char *target, const virDomainBlockIoTuneInfo *info)
{
    g_autoptr(virJSONValue) arguments = virJSONValueNewObject();
    g_autofree char *path = findInQemu(qmp, target);
    size_t i;

    if (!path || virJSONValueObjectAppendString(arguments, "id", path) < 0)
        return -1;
    for (i = 0; i < G_N_ELEMENTS(limits); i++) {
        unsigned long long value = readLimit(info, i);

        /* The plain limits are always told; QEMU has its own idea of the rest. */
        if (value == 0 && limits[i].group != BYTES && limits[i].group != IOPS)
            continue;
        if (virJSONValueObjectAppendNumberUlong(arguments, limits[i].qmp, value) < 0)
            return -1;
    }
    if (info->group_name && virJSONValueObjectAppendString(arguments, "group", info->group_name) < 0)
        return -1;
    return xenQmpCommand(qmp, "block_set_io_throttle", &arguments, -1, NULL);
}

static int
apply(xenDriver *driver, virDomainObj *vm, const char *name, const virDomainBlockIoTuneInfo *wanted)
{
    g_autofree char *target = g_strdup(name);
    virDomainBlockIoTuneInfo info = {0};
    g_autoptr(xenQmp) qmp = NULL;
    int ret;

    /* The definition is not ours while the lock is given up. */
    virDomainBlockIoTuneInfoCopy(wanted, &info);
    qmp = xenQmpBegin(driver, vm);
    ret = qmp ? tell(qmp, target, &info) : -1;
    g_free(info.group_name);
    return ret;
}

int
xenDiskLimitsApply(xenDriver *driver, virDomainObj *vm, const virDomainDiskDef *disk)
{
    /* QEMU knows no drive without a disc; the limits are told when one comes. */
    if (!virDomainBlockIoTuneInfoHasAny(&disk->blkdeviotune) || virStorageSourceIsEmpty(disk->src))
        return 0;
    return apply(driver, vm, disk->dst, &disk->blkdeviotune);
}

int
xenDiskLimitsApplyAll(xenDriver *driver, virDomainObj *vm)
{
    size_t i;

    for (i = 0; i < vm->def->ndisks; i++) {
        if (xenDiskLimitsApply(driver, vm, vm->def->disks[i]) < 0)
            return -1;
    }
    return 0;
}

/* @old with what @params say.  -1 with an error. */
static int
merge(virDomainBlockIoTuneInfo *merged, const virDomainBlockIoTuneInfo *old, const char *target,
      virTypedParameterPtr params, int nparams)
{
    bool given[XEN_LIMIT_GROUPS] = {false};
    size_t i;
    int j;

    virDomainBlockIoTuneInfoCopy(old, merged);
    for (j = 0; j < nparams; j++) {
        for (i = 0; i < G_N_ELEMENTS(limits); i++) {
            if (STREQ(params[j].field, limits[i].name))
                given[limits[i].group] = true;
        }
    }
    for (i = 0; i < G_N_ELEMENTS(limits); i++) {
        if (given[limits[i].group])
            *limitOf(merged, i) = 0;
    }
    for (j = 0; j < nparams; j++) {
        if (STREQ(params[j].field, VIR_DOMAIN_BLOCK_IOTUNE_GROUP_NAME)) {
            g_free(merged->group_name);
            merged->group_name = g_strdup(params[j].value.s);
            continue;
        }
        for (i = 0; i < G_N_ELEMENTS(limits); i++) {
            if (STREQ(params[j].field, limits[i].name))
                *limitOf(merged, i) = params[j].value.ul;
        }
    }
    return xenDiskLimitsCheck(target, merged);
}

/* The event that tells who watches what has changed. */
static void
announce(xenDriver *driver, virDomainObj *vm, const char *target, virTypedParameterPtr params, int nparams)
{
    virTypedParameterPtr told = NULL;
    int ntold = 0;
    int max = 0;
    int i;

    if (virTypedParamsAddString(&told, &ntold, &max, VIR_DOMAIN_TUNABLE_BLKDEV_DISK, target) < 0)
        goto out;
    for (i = 0; i < nparams; i++) {
        g_autofree char *name = g_strdup_printf("blkdeviotune.%s", params[i].field);

        if (params[i].type == VIR_TYPED_PARAM_STRING
                ? virTypedParamsAddString(&told, &ntold, &max, name, params[i].value.s) < 0
                : virTypedParamsAddULLong(&told, &ntold, &max, name, params[i].value.ul) < 0)
            goto out;
    }
    xenDomainQueue(driver, virDomainEventTunableNewFromObj(vm, &told, ntold));

out:
    virTypedParamsFree(told, ntold);
}

static int
setLive(xenDriver *driver, virDomainObj *vm, const char *path, virTypedParameterPtr params, int nparams)
{
    virDomainDiskDef *disk = xenDomainFindDisk(vm->def, path, true);
    virDomainBlockIoTuneInfo merged = {0};
    int ret = -1;

    if (!disk || merge(&merged, &disk->blkdeviotune, disk->dst, params, nparams) < 0 ||
        apply(driver, vm, disk->dst, &merged) < 0)
        goto cleanup;
    disk = xenDomainFindDisk(vm->def, path, true);
    if (!disk)
        goto cleanup;
    virDomainDiskSetBlockIOTune(disk, &merged);
    xenDomainSaveStatus(driver, vm);
    announce(driver, vm, disk->dst, params, nparams);
    ret = 0;

cleanup:
    g_free(merged.group_name);
    return ret;
}

static int
setPersistent(xenDriver *driver, virDomainObj *vm, virDomainDef *def, const char *path,
              virTypedParameterPtr params, int nparams)
{
    virDomainDiskDef *disk = xenDomainFindDisk(def, path, true);
    virDomainBlockIoTuneInfo merged = {0};
    int ret = -1;

    if (disk && merge(&merged, &disk->blkdeviotune, disk->dst, params, nparams) == 0) {
        virDomainDiskSetBlockIOTune(disk, &merged);
        ret = xenDomainSavePersistent(driver, vm, def);
    }
    g_free(merged.group_name);
    return ret;
}

static int
checkParameters(virTypedParameterPtr params, int nparams)
{
    size_t i;
    int j;

    for (j = 0; j < nparams; j++) {
        bool string = STREQ(params[j].field, VIR_DOMAIN_BLOCK_IOTUNE_GROUP_NAME);

        for (i = 0; !string && i < G_N_ELEMENTS(limits); i++) {
            if (STREQ(params[j].field, limits[i].name))
                break;
        }
        if (i == G_N_ELEMENTS(limits) && !string) {
            virReportError(VIR_ERR_INVALID_ARG, _("a disk has no limit '%s'"), params[j].field);
            return -1;
        }
        if (params[j].type != (string ? VIR_TYPED_PARAM_STRING : VIR_TYPED_PARAM_ULLONG)) {
            virReportError(VIR_ERR_INVALID_ARG, _("limit '%s' has the wrong type"), params[j].field);
            return -1;
        }
    }
    return 0;
}

int
xenDomainSetBlockIoTune(virDomainPtr dom, const char *path, virTypedParameterPtr params, int nparams,
                        unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    virDomainDef *live = NULL;
    virDomainDef *persistent = NULL;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);
    if (checkParameters(params, nparams) < 0)
        return -1;

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainSetBlockIoTuneEnsureACL(dom->conn, vm->def, flags) < 0 ||
        virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (xenDomainGetDefs(vm, flags, &live, &persistent) < 0)
        goto endjob;
    if (persistent && !xenDomainFindDisk(persistent, path, true))
        goto endjob;
    if (live && setLive(driver, vm, path, params, nparams) < 0)
        goto endjob;
    if (persistent && setPersistent(driver, vm, persistent, path, params, nparams) < 0)
        goto endjob;
    ret = 0;

endjob:
    virDomainObjEndJob(vm);
cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainGetBlockIoTune(virDomainPtr dom, const char *path, virTypedParameterPtr params, int *nparams,
                        unsigned int flags)
{
    const virDomainDiskDef *disk;
    virDomainDef *def;
    virDomainObj *vm;
    int ret = -1;
    int i;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG | VIR_TYPED_PARAM_STRING_OKAY, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainGetBlockIoTuneEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    def = xenDomainGetOneDef(vm, flags & ~VIR_TYPED_PARAM_STRING_OKAY);
    disk = def && path ? xenDomainFindDisk(def, path, true) : NULL;
    if (!def || (path && !disk))
        goto cleanup;
    if (*nparams == 0) {
        *nparams = G_N_ELEMENTS(limits) + 1;
        ret = 0;
        goto cleanup;
    }
    if (!disk)
        goto cleanup;
    for (i = 0; i < (int)G_N_ELEMENTS(limits) && i < *nparams; i++) {
        if (virTypedParameterAssign(&params[i], limits[i].name, VIR_TYPED_PARAM_ULLONG,
                                    readLimit(&disk->blkdeviotune, i)) < 0)
            goto cleanup;
    }
    if (i < *nparams) {
        if (virTypedParameterAssign(&params[i], VIR_DOMAIN_BLOCK_IOTUNE_GROUP_NAME, VIR_TYPED_PARAM_STRING,
                                    g_strdup(disk->blkdeviotune.group_name)) < 0)
            goto cleanup;
        i++;
    }
    *nparams = i;
    ret = 0;

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}
