/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Save, restore, managed save, core dump.
 *
 * A guest exists once: its memory is given up only after the image is on disk under its name, and the
 * image of a managed save is removed when the guest is there again, before it runs: what it then does to its
 * disks makes the image stale.
 */
#include "entries.h"
#include "postparse.h"
#include "error.h"
#include "process.h"
#include "save-image.h"
#include "save.h"

#include "viraccessapicheck.h"

#include <fcntl.h>

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.save");

#define XEN_SAVE_FLAGS (VIR_DOMAIN_SAVE_BYPASS_CACHE | VIR_DOMAIN_SAVE_RUNNING | VIR_DOMAIN_SAVE_PAUSED)

/* The definition that goes into the image: the caller's, if it describes the same guest, or the live one. */
static char *
imageXML(xenDriver *driver, virDomainObj *vm, const char *dxml)
{
    g_autoptr(virDomainDef) def = NULL;

    if (dxml) {
        def = xenPostParseString(dxml, driver->xmlopt, VIR_DOMAIN_DEF_PARSE_INACTIVE);
        if (!def || !virDomainDefCheckABIStability(vm->def, def, driver->xmlopt))
            return NULL;
    }
    return virDomainDefFormat(def ? def : vm->def, driver->xmlopt,
                              VIR_DOMAIN_DEF_FORMAT_SECURE | VIR_DOMAIN_DEF_FORMAT_INACTIVE |
                                  VIR_DOMAIN_DEF_FORMAT_MIGRATABLE);
}

static int
saveTo(xenDriver *driver, virDomainObj *vm, const char *path, const char *dxml, unsigned int flags)
{
    g_auto(xenImageFile) file = XEN_IMAGE_FILE_INIT;
    g_autoptr(SeraiDomain) domain = g_object_ref(XEN_PRIVATE(vm)->domain);
    g_autoptr(GBytes) metadata = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *xml = imageXML(driver, vm, dxml);
    GCancellable *cancellable;
    bool running = virDomainObjGetState(vm, NULL) == VIR_DOMAIN_RUNNING;
    bool wasRunning = running;
    gboolean saved;

    if (!xml)
        return -1;
    if (flags & VIR_DOMAIN_SAVE_RUNNING)
        running = true;
    else if (flags & VIR_DOMAIN_SAVE_PAUSED)
        running = false;

    if (xenImageFileOpen(&file, path, flags & VIR_DOMAIN_SAVE_BYPASS_CACHE) < 0)
        return -1;
    metadata = xenImageMetadataNew(xml, running);

    cancellable = xenDomainJobWork(vm);
    saved = serai_domain_save_sync(domain, file.fd, metadata, SERAI_SAVE_KEEP_SUSPENDED, cancellable,
                                   xenDomainJobProgress, vm, &error);
    xenDomainJobDone(vm, cancellable);
    if (!saved) {
        xenReportError(&error, _("cannot save domain '%s'"), vm->def->name);
        /* The library lets a guest go on that it could not save; one that was paused shall stay so. */
        if (!wasRunning)
            serai_domain_pause(domain, NULL);
        return -1;
    }
    if (xenImageFileCommit(&file) < 0) {
        virErrorPtr saved_error;

        virErrorPreserveLast(&saved_error);
        /* It woke paused, if it was so. */
        if (!wasRunning)
            serai_domain_pause(domain, NULL);
        if (!serai_domain_wake(domain, &error))
            VIR_WARN("domain '%s' does not go on: %s", vm->def->name, error->message);
        virErrorRestore(&saved_error);
        return -1;
    }
    return 0;
}

/* @path NULL is the managed save image. */
static int
save(virDomainPtr dom, virDomainObj *vm, const char *path, const char *dxml, unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    g_autofree char *managed = NULL;
    int ret = -1;

    if (xenDomainJobBegin(vm, VIR_ASYNC_JOB_SAVE, VIR_DOMAIN_JOB_OPERATION_SAVE, flags) < 0)
        return -1;
    if (xenDomainCheckGuest(vm) < 0 || xenDomainCheckActive(vm) < 0)
        goto endjob;
    if (!path) {
        if (!vm->persistent) {
            virReportError(VIR_ERR_OPERATION_INVALID,
                           _("domain '%s' is transient and cannot be saved by libvirt"), vm->def->name);
            goto endjob;
        }
        path = managed = xenSettingsManagedSavePath(driver->settings, vm->def->name);
    }

    if (saveTo(driver, vm, path, dxml, flags) < 0)
        goto endjob;
    vm->hasManagedSave = vm->hasManagedSave || managed;
    if (xenProcessStop(driver, vm, VIR_DOMAIN_SHUTOFF_SAVED) < 0)
        goto endjob;
    ret = 0;

endjob:
    xenDomainJobEnd(vm, ret == 0);
    if (ret == 0)
        xenProcessStopped(driver, vm, VIR_DOMAIN_EVENT_STOPPED_SAVED);
    return ret;
}

int
xenDomainSaveFlags(virDomainPtr dom, const char *to, const char *dxml, unsigned int flags)
{
    virDomainObj *vm = NULL;
    int ret = -1;

    virCheckFlags(XEN_SAVE_FLAGS, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainSaveFlagsEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    ret = save(dom, vm, to, dxml, flags);

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainSave(virDomainPtr dom, const char *to)
{
    return xenDomainSaveFlags(dom, to, NULL, 0);
}

int
xenDomainSaveParams(virDomainPtr dom, virTypedParameterPtr params, int nparams, unsigned int flags)
{
    virDomainObj *vm = NULL;
    const char *to = NULL;
    const char *dxml = NULL;
    int ret = -1;

    virCheckFlags(XEN_SAVE_FLAGS, -1);
    if (virTypedParamsValidate(params, nparams, VIR_DOMAIN_SAVE_PARAM_FILE, VIR_TYPED_PARAM_STRING,
                               VIR_DOMAIN_SAVE_PARAM_DXML, VIR_TYPED_PARAM_STRING, NULL) < 0 ||
        virTypedParamsGetString(params, nparams, VIR_DOMAIN_SAVE_PARAM_FILE, &to) < 0 ||
        virTypedParamsGetString(params, nparams, VIR_DOMAIN_SAVE_PARAM_DXML, &dxml) < 0)
        return -1;

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainSaveParamsEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    /* Without a file it is the managed save image that is written. */
    ret = save(dom, vm, to, dxml, flags);

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainManagedSave(virDomainPtr dom, unsigned int flags)
{
    virDomainObj *vm = NULL;
    int ret = -1;

    virCheckFlags(XEN_SAVE_FLAGS, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainManagedSaveEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    ret = save(dom, vm, NULL, NULL, flags);

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

/* Reading around the page cache goes through a helper process as well. */
static virFileWrapperFd *
bypassCache(int *fd, const char *path)
{
    int direct = virFileDirectFdFlag();

    if (direct < 0) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED, "%s",
                       _("this host cannot read files around its page cache"));
        return NULL;
    }
    VIR_FORCE_CLOSE(*fd);
    *fd = open(path, O_RDONLY | O_CLOEXEC | direct);
    if (*fd < 0) {
        virReportSystemError(errno, _("cannot open saved domain '%s'"), path);
        return NULL;
    }
    return virFileWrapperFdNew(fd, path, VIR_FILE_WRAPPER_BYPASS_CACHE);
}

static bool
runAfterwards(bool running, unsigned int flags)
{
    if (flags & VIR_DOMAIN_SAVE_RUNNING)
        return true;
    if (flags & VIR_DOMAIN_SAVE_PAUSED)
        return false;
    return running;
}

static int
restoreFrom(virConnectPtr conn, const char *path, const char *dxml, unsigned int flags,
            int (*check)(virConnectPtr, virDomainDef *))
{
    xenDriver *driver = conn->privateData;
    g_autoptr(virDomainDef) def = NULL;
    g_autoptr(virDomainDef) wanted = NULL;
    g_autofree char *xml = NULL;
    virFileWrapperFd *wrapper = NULL;
    virDomainObj *vm = NULL;
    VIR_AUTOCLOSE fd = -1;
    bool running = false;
    int ret = -1;

    if (xenImageOpen(path, false, &fd, &xml, &running) < 0)
        return -1;
    def = xenPostParseString(xml, driver->xmlopt, VIR_DOMAIN_DEF_PARSE_INACTIVE);
    if (!def)
        return -1;
    if (dxml) {
        wanted = xenPostParseString(dxml, driver->xmlopt, VIR_DOMAIN_DEF_PARSE_INACTIVE);
        if (!wanted || !virDomainDefCheckABIStability(def, wanted, driver->xmlopt))
            return -1;
        virDomainDefFree(def);
        def = g_steal_pointer(&wanted);
    }
    if (check(conn, def) < 0)
        return -1;
    if ((flags & VIR_DOMAIN_SAVE_BYPASS_CACHE) && !(wrapper = bypassCache(&fd, path)))
        return -1;

    vm = xenDomainAdd(driver, &def, VIR_DOMAIN_OBJ_LIST_ADD_LIVE | VIR_DOMAIN_OBJ_LIST_ADD_CHECK_LIVE, NULL);
    if (!vm)
        goto cleanup;
    if (xenDomainJobBegin(vm, VIR_ASYNC_JOB_START, VIR_DOMAIN_JOB_OPERATION_RESTORE, flags) < 0)
        goto remove;
    ret = xenProcessStart(driver, vm, conn, fd, VIR_DOMAIN_EVENT_STARTED_RESTORED,
                          runAfterwards(running, flags) ? 0 : XEN_START_PAUSED);
    xenDomainJobEnd(vm, ret == 0);

remove:
    if (ret < 0 && !vm->persistent)
        virDomainObjListRemove(driver->domains, vm);
cleanup:
    virDomainObjEndAPI(&vm);
    virFileWrapperFdFree(wrapper);
    return ret;
}

int
xenDomainRestoreFlags(virConnectPtr conn, const char *from, const char *dxml, unsigned int flags)
{
    virCheckFlags(XEN_SAVE_FLAGS, -1);
    return restoreFrom(conn, from, dxml, flags, virDomainRestoreFlagsEnsureACL);
}

int
xenDomainRestore(virConnectPtr conn, const char *from)
{
    return xenDomainRestoreFlags(conn, from, NULL, 0);
}

int
xenDomainRestoreParams(virConnectPtr conn, virTypedParameterPtr params, int nparams, unsigned int flags)
{
    const char *from = NULL;
    const char *dxml = NULL;

    virCheckFlags(XEN_SAVE_FLAGS, -1);
    if (virTypedParamsValidate(params, nparams, VIR_DOMAIN_SAVE_PARAM_FILE, VIR_TYPED_PARAM_STRING,
                               VIR_DOMAIN_SAVE_PARAM_DXML, VIR_TYPED_PARAM_STRING, NULL) < 0 ||
        virTypedParamsGetString(params, nparams, VIR_DOMAIN_SAVE_PARAM_FILE, &from) < 0 ||
        virTypedParamsGetString(params, nparams, VIR_DOMAIN_SAVE_PARAM_DXML, &dxml) < 0)
        return -1;
    if (!from) {
        virReportError(VIR_ERR_INVALID_ARG, _("restoring needs the parameter '%s'"),
                       VIR_DOMAIN_SAVE_PARAM_FILE);
        return -1;
    }
    return restoreFrom(conn, from, dxml, flags, virDomainRestoreParamsEnsureACL);
}

int
xenSaveRemoveManaged(xenDriver *driver, virDomainObj *vm)
{
    g_autofree char *path = xenSettingsManagedSavePath(driver->settings, vm->def->name);

    if (unlink(path) < 0 && errno != ENOENT) {
        virReportSystemError(errno, _("cannot remove the managed save image of domain '%s'"), vm->def->name);
        return -1;
    }
    vm->hasManagedSave = false;
    return 0;
}

static int
resume(xenDriver *driver, virDomainObj *vm, virConnectPtr conn, const char *path, unsigned int flags,
       unsigned int startFlags)
{
    g_autofree char *xml = NULL;
    g_autoptr(virDomainDef) def = NULL;
    virFileWrapperFd *wrapper = NULL;
    VIR_AUTOCLOSE fd = -1;
    bool running = false;
    int ret;

    if (xenImageOpen(path, false, &fd, &xml, &running) < 0)
        return -1;
    def = xenPostParseString(xml, driver->xmlopt, VIR_DOMAIN_DEF_PARSE_INACTIVE);
    if (!def)
        return -1;
    if (memcmp(def->uuid, vm->def->uuid, VIR_UUID_BUFLEN) != 0) {
        virReportError(VIR_ERR_OPERATION_FAILED, _("'%s' holds domain '%s' and not '%s'"), path, def->name,
                       vm->def->name);
        return -1;
    }
    if ((flags & VIR_DOMAIN_START_BYPASS_CACHE) && !(wrapper = bypassCache(&fd, path)))
        return -1;

    /* The guest goes on with the devices it was saved with. */
    virDomainObjAssignDef(vm, &def, true, NULL);
    if (!running)
        startFlags |= XEN_START_PAUSED;
    ret = xenProcessStart(driver, vm, conn, fd, VIR_DOMAIN_EVENT_STARTED_RESTORED,
                          startFlags | XEN_START_MANAGED);
    virFileWrapperFdFree(wrapper);
    return ret;
}

int
xenSaveStartOrResume(xenDriver *driver, virDomainObj *vm, virConnectPtr conn, unsigned int flags)
{
    g_autofree char *path = xenSettingsManagedSavePath(driver->settings, vm->def->name);
    unsigned int startFlags = 0;

    if (flags & VIR_DOMAIN_START_PAUSED)
        startFlags |= XEN_START_PAUSED;
    if (flags & VIR_DOMAIN_START_AUTODESTROY)
        startFlags |= XEN_START_AUTODESTROY;

    if (!vm->persistent || !virFileExists(path))
        return xenProcessStart(driver, vm, conn, -1, VIR_DOMAIN_EVENT_STARTED_BOOTED, startFlags);

    if (flags & VIR_DOMAIN_START_FORCE_BOOT) {
        if (xenSaveRemoveManaged(driver, vm) < 0)
            return -1;
        return xenProcessStart(driver, vm, conn, -1, VIR_DOMAIN_EVENT_STARTED_BOOTED, startFlags);
    }

    return resume(driver, vm, conn, path, flags, startFlags);
}

/* The formats that there are.  Not kdump-lzo and kdump-snappy, as the one's library is under the GPL and the
 * other's is C++, nor that of Windows. */
static int
dumpFormat(unsigned int format, unsigned int *dumpFlags)
{
    switch (format) {
    case VIR_DOMAIN_CORE_DUMP_FORMAT_RAW:
        return 0;
    case VIR_DOMAIN_CORE_DUMP_FORMAT_KDUMP_ZLIB:
        *dumpFlags |= SERAI_DUMP_KDUMP;
        return 0;
    default:
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED, "%s",
                       _("a domain can be dumped in the formats elf and kdump-zlib only"));
        return -1;
    }
}

int
xenSaveDumpCore(xenDriver *driver G_GNUC_UNUSED, virDomainObj *vm, const char *path, unsigned int dumpFlags,
                unsigned int format, unsigned int flags)
{
    g_auto(xenImageFile) file = XEN_IMAGE_FILE_INIT;
    g_autoptr(SeraiDomain) domain = g_object_ref(XEN_PRIVATE(vm)->domain);
    g_autoptr(GError) error = NULL;
    GCancellable *cancellable;
    gboolean dumped;

    if (dumpFormat(format, &dumpFlags) < 0 ||
        xenImageFileOpen(&file, path, flags & VIR_DUMP_BYPASS_CACHE) < 0)
        return -1;

    cancellable = xenDomainJobWork(vm);
    dumped =
        serai_domain_dump_sync(domain, file.fd, dumpFlags, cancellable, xenDomainJobProgress, vm, &error);
    xenDomainJobDone(vm, cancellable);
    if (!dumped) {
        xenReportError(&error, _("cannot dump domain '%s'"), vm->def->name);
        return -1;
    }
    return xenImageFileCommit(&file);
}

int
xenDomainCoreDumpWithFormat(virDomainPtr dom, const char *to, unsigned int format, unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    virDomainObj *vm = NULL;
    unsigned int dumpFlags = SERAI_DUMP_NONE;
    bool stopped = false;
    int ret = -1;

    virCheckFlags(
        VIR_DUMP_LIVE | VIR_DUMP_CRASH | VIR_DUMP_BYPASS_CACHE | VIR_DUMP_RESET | VIR_DUMP_MEMORY_ONLY, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainCoreDumpWithFormatEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    if (xenDomainJobBegin(vm, VIR_ASYNC_JOB_DUMP, VIR_DOMAIN_JOB_OPERATION_DUMP, flags) < 0)
        goto cleanup;
    if (xenDomainCheckGuest(vm) < 0 || xenDomainCheckActive(vm) < 0)
        goto endjob;

    /* What follows a dump is the driver's business: the domain must not be reported as crashed by itself. */
    if (flags & VIR_DUMP_LIVE)
        dumpFlags |= SERAI_DUMP_LIVE;
    if (xenSaveDumpCore(driver, vm, to, dumpFlags, format, flags) < 0)
        goto endjob;

    if (flags & VIR_DUMP_CRASH) {
        if (xenProcessStop(driver, vm, VIR_DOMAIN_SHUTOFF_CRASHED) < 0)
            goto endjob;
        stopped = true;
    } else if (flags & VIR_DUMP_RESET) {
        if (xenProcessRestart(driver, vm) < 0)
            goto endjob;
    }
    ret = 0;

endjob:
    xenDomainJobEnd(vm, ret == 0);
    if (stopped)
        xenProcessStopped(driver, vm, VIR_DOMAIN_EVENT_STOPPED_CRASHED);
cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainCoreDump(virDomainPtr dom, const char *to, unsigned int flags)
{
    return xenDomainCoreDumpWithFormat(dom, to, VIR_DOMAIN_CORE_DUMP_FORMAT_RAW, flags);
}
