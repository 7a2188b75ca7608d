/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entries that look at bytes of a domain: of a disk, of its memory.
 */
#include "entries.h"
#include "domain.h"
#include "error.h"

#include "storage_source.h"
#include "viraccessapicheck.h"

#include <fcntl.h>

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.peek");

/* As much as the remote protocol carries in one answer (REMOTE_DOMAIN_MEMORY_PEEK_BUFFER_MAX). */
#define XEN_PEEK_MAX (4 * 1024 * 1024)

/* An error that names the disk, unless its bytes are those of a local file or device. */
static int
checkPlain(const virDomainDef *def, const virDomainDiskDef *disk)
{
    virStorageSource *src = disk->src;

    if (virStorageSourceIsEmpty(src)) {
        virReportError(VIR_ERR_INVALID_ARG, _("disk '%s' of domain '%s' is empty"), disk->dst, def->name);
        return -1;
    }
    if (!virStorageSourceIsLocalStorage(src) || !src->path || src->format > VIR_STORAGE_FILE_RAW ||
        src->encryption) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("disk '%s' of domain '%s' is not a local raw one, so its bytes cannot be read"),
                       disk->dst, def->name);
        return -1;
    }
    return 0;
}

static int
readDisk(const virDomainDiskDef *disk, unsigned long long offset, size_t size, void *buffer)
{
    VIR_AUTOCLOSE fd = -1;
    size_t done = 0;
    ssize_t n = 1;

    if (size > LLONG_MAX || offset > LLONG_MAX - size) {
        virReportError(VIR_ERR_INVALID_ARG, _("disk '%s' has no byte %llu"), disk->dst, offset);
        return -1;
    }
    fd = open(disk->src->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        virReportSystemError(errno, _("cannot open '%s' of disk '%s'"), disk->src->path, disk->dst);
        return -1;
    }
    /* The guest's writes to a device pass by the pages that the host may have kept of it. */
    posix_fadvise(fd, offset, size, POSIX_FADV_DONTNEED);
    while (done < size && n > 0) {
        n = pread(fd, (char *)buffer + done, size - done, offset + done);
        if (n < 0 && errno != EINTR) {
            virReportSystemError(errno, _("cannot read '%s' of disk '%s'"), disk->src->path, disk->dst);
            return -1;
        }
        if (n < 0)
            n = 1;
        else
            done += n;
    }
    if (done < size) {
        virReportError(VIR_ERR_INVALID_ARG, _("disk '%s' has %zu bytes from byte %llu on, not %zu"),
                       disk->dst, done, offset, size);
        return -1;
    }
    return 0;
}

int
xenDomainBlockPeek(virDomainPtr dom, const char *path, unsigned long long offset, size_t size, void *buffer,
                   unsigned int flags)
{
    virDomainDiskDef *disk;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(0, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainBlockPeekEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    disk = xenDomainFindDisk(vm->def, path, false);
    if (disk && checkPlain(vm->def, disk) == 0)
        ret = readDisk(disk, offset, size, buffer);

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainMemoryPeek(virDomainPtr dom, unsigned long long start, size_t size, void *buffer, unsigned int flags)
{
    g_autoptr(SeraiDomain) domain = NULL;
    g_autoptr(GError) error = NULL;
    SeraiAddress kind = flags == VIR_MEMORY_VIRTUAL ? SERAI_ADDRESS_VIRTUAL : SERAI_ADDRESS_PHYSICAL;
    virDomainObj *vm;
    int ret = -1;
    bool done;

    virCheckFlags(VIR_MEMORY_VIRTUAL | VIR_MEMORY_PHYSICAL, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainMemoryPeekEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    if (flags != VIR_MEMORY_VIRTUAL && flags != VIR_MEMORY_PHYSICAL) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("memory of domain '%s' is read by virtual or by physical addresses"), vm->def->name);
        goto cleanup;
    }
    if (size > XEN_PEEK_MAX) {
        virReportError(VIR_ERR_INVALID_ARG, _("%zu bytes of domain '%s' are more than %d at once"), size,
                       vm->def->name, XEN_PEEK_MAX);
        goto cleanup;
    }
    if (xenDomainCheckGuest(vm) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_QUERY) < 0)
        goto cleanup;
    if (xenDomainCheckActive(vm) < 0)
        goto endjob;

    domain = g_object_ref(XEN_PRIVATE(vm)->domain);
    virObjectUnlock(vm);
    done = serai_domain_read_memory(domain, kind, start, buffer, size, &error);
    virObjectLock(vm);
    if (!done) {
        xenReportError(&error, _("cannot read memory of domain '%s'"), vm->def->name);
        goto endjob;
    }
    ret = 0;

endjob:
    virDomainObjEndJob(vm);
cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}
