/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entries about disks: what they did, whether they are served, how large they are, and making them larger.
 */
#include "block.h"
#include "entries.h"
#include "domain.h"
#include "error.h"

#include "storage_source.h"
#include "viraccessapicheck.h"

#include <fcntl.h>
#include <sys/stat.h>

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.block");

/* How much of an image's beginning is needed to tell its size, whatever the format. */
#define XEN_HEADER_BYTES (32 * 1024)

static int
addStats(SeraiDomain *domain, const virDomainDiskDef *disk, SeraiDiskStats *sum)
{
    SeraiDiskStats stats;
    g_autoptr(GError) error = NULL;

    if (!serai_domain_get_disk_stats(domain, disk->dst, &stats, &error)) {
        xenReportError(&error, _("cannot ask for disk '%s'"), disk->dst);
        return -1;
    }
    sum->read_requests += stats.read_requests;
    sum->read_bytes += stats.read_bytes;
    sum->write_requests += stats.write_requests;
    sum->write_bytes += stats.write_bytes;
    sum->flush_requests += stats.flush_requests;
    return 0;
}

/* Of one disk, or of all together when @path is empty. */
static int
readStats(virDomainObj *vm, const char *path, SeraiDiskStats *sum)
{
    virDomainDiskDef *disk;
    size_t i;

    memset(sum, 0, sizeof(*sum));
    if (path[0] != '\0') {
        disk = xenDomainFindDisk(vm->def, path, false);
        return disk ? addStats(XEN_PRIVATE(vm)->domain, disk, sum) : -1;
    }
    for (i = 0; i < vm->def->ndisks; i++) {
        if (addStats(XEN_PRIVATE(vm)->domain, vm->def->disks[i], sum) < 0)
            return -1;
    }
    return 0;
}

int
xenDomainBlockStats(virDomainPtr dom, const char *path, virDomainBlockStatsPtr stats)
{
    virDomainObj *vm = xenDomainObjFromDomain(dom);
    SeraiDiskStats sum;
    int ret = -1;

    if (!vm)
        return -1;
    if (virDomainBlockStatsEnsureACL(dom->conn, vm->def) < 0 || xenDomainCheckActive(vm) < 0 ||
        readStats(vm, path, &sum) < 0)
        goto cleanup;
    stats->rd_req = sum.read_requests;
    stats->rd_bytes = sum.read_bytes;
    stats->wr_req = sum.write_requests;
    stats->wr_bytes = sum.write_bytes;
    stats->errs = -1;
    ret = 0;

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainBlockStatsFlags(virDomainPtr dom, const char *path, virTypedParameterPtr params, int *nparams,
                         unsigned int flags)
{
    SeraiDiskStats sum;
    virDomainObj *vm;
    int ret = -1;
    int i;

    virCheckFlags(VIR_TYPED_PARAM_STRING_OKAY, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainBlockStatsFlagsEnsureACL(dom->conn, vm->def) < 0 || xenDomainCheckActive(vm) < 0 ||
        readStats(vm, path, &sum) < 0)
        goto cleanup;

    const struct {
        const char *name;
        long long value;
    } fields[] = {
        {VIR_DOMAIN_BLOCK_STATS_READ_REQ, sum.read_requests},
        {VIR_DOMAIN_BLOCK_STATS_READ_BYTES, sum.read_bytes},
        {VIR_DOMAIN_BLOCK_STATS_WRITE_REQ, sum.write_requests},
        {VIR_DOMAIN_BLOCK_STATS_WRITE_BYTES, sum.write_bytes},
        {VIR_DOMAIN_BLOCK_STATS_FLUSH_REQ, sum.flush_requests},
    };

    if (*nparams == 0) {
        *nparams = G_N_ELEMENTS(fields);
        ret = 0;
        goto cleanup;
    }
    for (i = 0; i < (int)G_N_ELEMENTS(fields) && i < *nparams; i++) {
        if (virTypedParameterAssign(&params[i], fields[i].name, VIR_TYPED_PARAM_LLONG, fields[i].value) < 0)
            goto cleanup;
    }
    *nparams = i;
    ret = 0;

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

/* Has failed, or not, or -1 with an error. */
static int
hasFailed(SeraiDomain *domain, const char *target)
{
    g_autoptr(GError) error = NULL;

    if (serai_domain_check_disk(domain, target, &error))
        return 0;
    if (g_error_matches(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED)) {
        VIR_INFO("%s", error->message);
        return 1;
    }
    xenReportError(&error, _("cannot ask for disk '%s'"), target);
    return -1;
}

/* Disks that nobody serves any more; a request that failed by itself only the guest knows of. */
int
xenDomainGetDiskErrors(virDomainPtr dom, virDomainDiskErrorPtr errors, unsigned int nerrors,
                       unsigned int flags)
{
    virDomainObj *vm;
    size_t i;
    int count = 0;
    int ret = -1;

    virCheckFlags(0, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainGetDiskErrorsEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_QUERY) < 0)
        goto cleanup;
    if (xenDomainCheckActive(vm) < 0)
        goto endjob;
    if (!errors) {
        ret = vm->def->ndisks;
        goto endjob;
    }
    for (i = 0; i < vm->def->ndisks && count < (int)nerrors; i++) {
        int failed = hasFailed(XEN_PRIVATE(vm)->domain, vm->def->disks[i]->dst);

        if (failed < 0)
            goto endjob;
        if (!failed)
            continue;
        errors[count].disk = g_strdup(vm->def->disks[i]->dst);
        errors[count].error = VIR_DOMAIN_DISK_ERROR_UNSPEC;
        count++;
    }
    ret = count;

endjob:
    for (i = 0; ret < 0 && (int)i < count; i++)
        g_clear_pointer(&errors[i].disk, g_free);
    virDomainObjEndJob(vm);
cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

/* Sizes from the image itself; the caller's copy of the source takes them. */
int
xenBlockReadSizes(const virDomainDiskDef *disk, unsigned long long *capacity, unsigned long long *allocation,
                  unsigned long long *physical)
{
    g_autoptr(virStorageSource) src = virStorageSourceCopy(disk->src, false);
    g_autofree char *header = NULL;
    VIR_AUTOCLOSE fd = -1;
    struct stat st;
    bool plain;
    int length;

    if (!src || !virStorageSourceIsLocalStorage(src) || !src->path) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("the size of disk '%s' is known for local files and devices only"), disk->dst);
        return -1;
    }
    fd = open(src->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        virReportSystemError(errno, _("cannot open '%s' of disk '%s'"), src->path, disk->dst);
        return -1;
    }
    length = virFileReadHeaderFD(fd, XEN_HEADER_BYTES, &header);
    if (length < 0) {
        virReportSystemError(errno, _("cannot read '%s' of disk '%s'"), src->path, disk->dst);
        return -1;
    }
    if (src->format <= VIR_STORAGE_FILE_NONE)
        src->format = VIR_STORAGE_FILE_RAW;
    plain = src->format == VIR_STORAGE_FILE_RAW && !src->encryption;
    if (virStorageSourceUpdateBackingSizes(src, fd, &st) < 0 ||
        (!plain && virStorageSourceUpdateCapacity(src, header, length) < 0))
        return -1;

    *capacity = plain ? src->physical : src->capacity;
    *allocation = src->allocation;
    *physical = src->physical;
    return 0;
}

int
xenDomainGetBlockInfo(virDomainPtr dom, const char *path, virDomainBlockInfoPtr info, unsigned int flags)
{
    virDomainDiskDef *disk;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(0, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainGetBlockInfoEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    disk = xenDomainFindDisk(vm->def, path, false);
    if (!disk)
        goto cleanup;
    if (virStorageSourceIsEmpty(disk->src)) {
        virReportError(VIR_ERR_INVALID_ARG, _("disk '%s' of domain '%s' is empty"), path, vm->def->name);
        goto cleanup;
    }
    ret = xenBlockReadSizes(disk, &info->capacity, &info->allocation, &info->physical);

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

/* The file first; a device is as large as its owner made it. */
static int
growFile(const virDomainDiskDef *disk, unsigned long long bytes)
{
    VIR_AUTOCLOSE fd = -1;
    struct stat st;

    if (stat(disk->src->path, &st) < 0) {
        virReportSystemError(errno, _("cannot open '%s' of disk '%s'"), disk->src->path, disk->dst);
        return -1;
    }
    /* QEMU makes what it alone understands larger. */
    if (!S_ISREG(st.st_mode) || disk->src->format != VIR_STORAGE_FILE_RAW || disk->src->encryption)
        return 0;
    if ((unsigned long long)st.st_size > bytes) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("disk '%s' would become smaller, and its contents be lost"), disk->dst);
        return -1;
    }
    fd = open(disk->src->path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || ftruncate(fd, bytes) < 0) {
        virReportSystemError(errno, _("cannot make '%s' of disk '%s' larger"), disk->src->path, disk->dst);
        return -1;
    }
    return 0;
}

int
xenDomainBlockResize(virDomainPtr dom, const char *path, unsigned long long size, unsigned int flags)
{
    g_autoptr(GError) error = NULL;
    virDomainDiskDef *disk;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_BLOCK_RESIZE_BYTES, -1);

    if (!(flags & VIR_DOMAIN_BLOCK_RESIZE_BYTES)) {
        if (size > ULLONG_MAX / 1024) {
            virReportError(VIR_ERR_OVERFLOW, _("size %llu KiB is too large"), size);
            return -1;
        }
        size *= 1024;
    }
    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainBlockResizeEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (xenDomainCheckActive(vm) < 0)
        goto endjob;
    disk = xenDomainFindDisk(vm->def, path, false);
    if (!disk)
        goto endjob;
    if (disk->src->readonly || !virStorageSourceIsLocalStorage(disk->src) || !disk->src->path) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("disk '%s' of domain '%s' is not a local one that can be written"), disk->dst,
                       vm->def->name);
        goto endjob;
    }
    if (growFile(disk, size) < 0)
        goto endjob;
    if (!serai_domain_resize_disk(XEN_PRIVATE(vm)->domain, disk->dst, size, &error)) {
        xenReportError(&error, _("cannot resize disk '%s' of domain '%s'"), disk->dst, vm->def->name);
        goto endjob;
    }
    ret = 0;

endjob:
    virDomainObjEndJob(vm);
cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}
