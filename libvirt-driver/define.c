/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Persistent definitions: define, undefine, rename, autostart, what follows a stop.
 *
 * A definition changes on disk first and in memory after; libvirt's helpers write a new file and rename
 * it, so each file is whole at any moment.
 */
#include "define.h"
#include "entries.h"
#include "postparse.h"
#include "domain.h"
#include "error.h"
#include "conf.h"
#include "save.h"

#include "viraccessapicheck.h"
#include "viruuid.h"
#include "virxml.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.define");

/* A definition that could not be written: in memory it is as it was before, too. */
static void
takeBack(xenDriver *driver, virDomainObj *vm, virDomainDef **oldDef, bool wasPersistent)
{
    virErrorPtr error;

    virErrorPreserveLast(&error);
    vm->persistent = wasPersistent;
    if (*oldDef)
        virDomainObjAssignDef(vm, oldDef, false, NULL);
    else if (virDomainObjIsActive(vm))
        g_clear_pointer(&vm->newDef, virDomainDefFree);
    else
        virDomainObjListRemove(driver->domains, vm);
    virErrorRestore(&error);
}

virDomainPtr
xenDomainDefineXMLFlags(virConnectPtr conn, const char *xml, unsigned int flags)
{
    xenDriver *driver = conn->privateData;
    g_autoptr(virDomainDef) def = NULL;
    g_autoptr(virDomainDef) oldDef = NULL;
    virDomainObj *vm = NULL;
    virDomainPtr dom = NULL;
    bool wasPersistent;
    unsigned int parseFlags = VIR_DOMAIN_DEF_PARSE_INACTIVE;

    virCheckFlags(VIR_DOMAIN_DEFINE_VALIDATE, NULL);

    if (flags & VIR_DOMAIN_DEFINE_VALIDATE)
        parseFlags |= VIR_DOMAIN_DEF_PARSE_VALIDATE_SCHEMA;
    def = xenPostParseString(xml, driver->xmlopt, parseFlags);
    if (!def)
        return NULL;
    if (virXMLCheckIllegalChars("name", def->name, "\n/") < 0)
        return NULL;
    if (virDomainDefineXMLFlagsEnsureACL(conn, def) < 0)
        return NULL;

    if (!virUUIDIsValid(def->uuid)) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("domain '%s' cannot be defined: its UUID belongs to the host"), def->name);
        return NULL;
    }

    vm = xenDomainAdd(driver, &def, 0, &oldDef);
    if (!vm)
        return NULL;

    wasPersistent = vm->persistent;
    vm->persistent = 1;
    if (xenDomainSavePersistent(driver, vm, NULL) < 0) {
        takeBack(driver, vm, &oldDef, wasPersistent);
        goto cleanup;
    }

    dom = virGetDomain(conn, vm->def->name, vm->def->uuid, vm->def->id);
    xenDomainQueueLifecycle(driver, vm, VIR_DOMAIN_EVENT_DEFINED,
                            oldDef ? VIR_DOMAIN_EVENT_DEFINED_UPDATED : VIR_DOMAIN_EVENT_DEFINED_ADDED);

cleanup:
    virDomainObjEndAPI(&vm);
    return dom;
}

virDomainPtr
xenDomainDefineXML(virConnectPtr conn, const char *xml)
{
    return xenDomainDefineXMLFlags(conn, xml, 0);
}

int
xenDomainUndefineFlags(virDomainPtr dom, unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    g_autofree char *image = NULL;
    virDomainObj *vm;
    int ret = -1;

    /* A paravirtualized domain has no NVRAM, and there are no snapshots yet, so those flags ask for nothing.
     */
    virCheckFlags(VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
                      VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | VIR_DOMAIN_UNDEFINE_NVRAM |
                      VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | VIR_DOMAIN_UNDEFINE_TPM | VIR_DOMAIN_UNDEFINE_KEEP_TPM,
                  -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainUndefineFlagsEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;

    if (!vm->persistent || vm->def->id == 0) {
        virReportError(VIR_ERR_OPERATION_INVALID, _("domain '%s' has no definition that could be removed"),
                       vm->def->name);
        goto endjob;
    }
    image = xenSettingsManagedSavePath(driver->settings, vm->def->name);
    if (virFileExists(image)) {
        if (!(flags & VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)) {
            virReportError(VIR_ERR_OPERATION_INVALID,
                           _("domain '%s' has a managed save image, which would be lost"), vm->def->name);
            goto endjob;
        }
        if (xenSaveRemoveManaged(driver, vm) < 0)
            goto endjob;
    }
    if (virDomainDeleteConfig(driver->settings->configDir, driver->settings->autostartDir, vm) < 0)
        goto endjob;

    xenDomainQueueLifecycle(driver, vm, VIR_DOMAIN_EVENT_UNDEFINED, VIR_DOMAIN_EVENT_UNDEFINED_REMOVED);
    vm->persistent = 0;
    vm->autostart = 0;
    if (!virDomainObjIsActive(vm))
        virDomainObjListRemove(driver->domains, vm);
    else
        xenDomainSaveStatus(driver, vm);
    ret = 0;

endjob:
    virDomainObjEndJob(vm);
cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainUndefine(virDomainPtr dom)
{
    return xenDomainUndefineFlags(dom, 0);
}

/*
 * The second half of a rename, once the new definition is written: what goes by the old name moves, the old
 * definition last.  May be repeated.
 */
static int
finishRename(const xenSettings *settings, const char *oldName, const char *newName)
{
    g_autofree char *newLink = virDomainConfigFile(settings->autostartDir, newName);
    g_autofree char *oldLink = virDomainConfigFile(settings->autostartDir, oldName);
    g_autofree char *newFile = virDomainConfigFile(settings->configDir, newName);
    g_autofree char *oldFile = virDomainConfigFile(settings->configDir, oldName);
    g_autofree char *newImage = xenSettingsManagedSavePath(settings, newName);
    g_autofree char *oldImage = xenSettingsManagedSavePath(settings, oldName);

    if (virFileIsLink(oldLink) == 1 && symlink(newFile, newLink) < 0 && errno != EEXIST) {
        virReportSystemError(errno, _("cannot link '%s' to '%s'"), newLink, newFile);
        return -1;
    }
    if (rename(oldImage, newImage) < 0 && errno != ENOENT) {
        virReportSystemError(errno, _("cannot rename '%s' to '%s'"), oldImage, newImage);
        unlink(newLink);
        return -1;
    }
    unlink(oldLink);
    unlink(oldFile);
    return 0;
}

static int
renameFiles(xenDriver *driver, virDomainObj *vm, const char *newName, char *oldName)
{
    g_autofree char *newFile = virDomainConfigFile(driver->settings->configDir, newName);

    vm->def->name = g_strdup(newName);
    if (virDomainDefSave(vm->def, driver->xmlopt, driver->settings->configDir) == 0 &&
        finishRename(driver->settings, oldName, newName) == 0)
        return 0;

    unlink(newFile);
    g_free(vm->def->name);
    vm->def->name = g_strdup(oldName);
    return -1;
}

/* The UUID in a definition whose <name> is that of its file, as ours are; else NULL: somebody's copy. */
static char *
readUUID(const char *path, const char *name)
{
    g_autoptr(xmlXPathContext) ctxt = NULL;
    g_autoptr(xmlDoc) doc = virXMLParseFileCtxt(path, &ctxt);
    g_autofree char *own = doc ? virXPathString("string(./name)", ctxt) : NULL;
    char *uuid = STREQ_NULLABLE(own, name) ? virXPathString("string(./uuid)", ctxt) : NULL;

    virResetLastError();
    return uuid;
}

static bool
isNewer(const char *path, const char *other)
{
    struct stat a, b;

    if (stat(path, &a) < 0 || stat(other, &b) < 0)
        return false;
    return a.st_mtim.tv_sec != b.st_mtim.tv_sec ? a.st_mtim.tv_sec > b.st_mtim.tv_sec
                                                : a.st_mtim.tv_nsec > b.st_mtim.tv_nsec;
}

void
xenDefineFinishRenames(const xenSettings *settings)
{
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_autoptr(GDir) dir = g_dir_open(settings->configDir, 0, NULL);
    const char *file;

    while (dir && (file = g_dir_read_name(dir))) {
        g_autofree char *name = g_str_has_suffix(file, ".xml") ? g_strndup(file, strlen(file) - 4) : NULL;
        g_autofree char *path = name ? virDomainConfigFile(settings->configDir, name) : NULL;
        g_autofree char *uuid = name ? readUUID(path, name) : NULL;
        const char *other = uuid ? g_hash_table_lookup(names, uuid) : NULL;
        g_autofree char *otherPath = other ? virDomainConfigFile(settings->configDir, other) : NULL;
        bool newer = other && isNewer(path, otherPath);

        if (other && finishRename(settings, newer ? other : name, newer ? name : other) < 0)
            VIR_WARN("domain '%s' is half renamed: %s", name, virGetLastErrorMessage());
        if (uuid && (!other || newer))
            g_hash_table_insert(names, g_steal_pointer(&uuid), g_steal_pointer(&name));
    }
}

static int
renameDomain(virDomainObj *vm, const char *newName, unsigned int flags, void *opaque)
{
    xenDriver *driver = opaque;
    g_autofree char *oldName = g_steal_pointer(&vm->def->name);
    virObjectEvent *undefined;

    virCheckFlags(0, -1);

    vm->def->name = g_strdup(oldName);
    undefined =
        virDomainEventLifecycleNewFromObj(vm, VIR_DOMAIN_EVENT_UNDEFINED, VIR_DOMAIN_EVENT_UNDEFINED_RENAMED);
    g_clear_pointer(&vm->def->name, g_free);

    if (renameFiles(driver, vm, newName, oldName) < 0) {
        virObjectUnref(undefined);
        return -1;
    }
    xenDomainQueue(driver, undefined);
    xenDomainQueueLifecycle(driver, vm, VIR_DOMAIN_EVENT_DEFINED, VIR_DOMAIN_EVENT_DEFINED_RENAMED);
    return 0;
}

int
xenDomainRename(virDomainPtr dom, const char *newName, unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(0, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainRenameEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;

    if (newName[0] == '\0' || strlen(newName) > 255 || virXMLCheckIllegalChars("name", newName, "\n/") < 0) {
        if (!virGetLastError())
            virReportError(VIR_ERR_INVALID_ARG, "%s", _("the new name is empty or too long"));
        goto endjob;
    }
    if (virDomainObjIsActive(vm)) {
        virReportError(VIR_ERR_OPERATION_INVALID, _("domain '%s' is running and cannot be renamed"),
                       vm->def->name);
        goto endjob;
    }
    if (!vm->persistent) {
        virReportError(VIR_ERR_OPERATION_INVALID, _("domain '%s' is transient and cannot be renamed"),
                       vm->def->name);
        goto endjob;
    }
    ret = virDomainObjListRename(driver->domains, vm, newName, flags, renameDomain, driver);

endjob:
    virDomainObjEndJob(vm);
cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainGetAutostart(virDomainPtr dom, int *autostart)
{
    virDomainObj *vm = xenDomainObjFromDomain(dom);
    int ret = -1;

    if (!vm)
        return -1;
    if (virDomainGetAutostartEnsureACL(dom->conn, vm->def) == 0) {
        *autostart = vm->autostart;
        ret = 0;
    }
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainSetAutostart(virDomainPtr dom, int autostart)
{
    xenDriver *driver = dom->conn->privateData;
    g_autofree char *file = NULL;
    g_autofree char *link = NULL;
    virDomainObj *vm = xenDomainObjFromDomain(dom);
    int ret = -1;

    if (!vm)
        return -1;
    if (virDomainSetAutostartEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (!vm->persistent || vm->def->id == 0) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("domain '%s' has no definition, so it cannot be started automatically"),
                       vm->def->name);
        goto endjob;
    }

    autostart = autostart != 0;
    if (vm->autostart != (unsigned int)autostart) {
        file = virDomainConfigFile(driver->settings->configDir, vm->def->name);
        link = virDomainConfigFile(driver->settings->autostartDir, vm->def->name);
        if (autostart ? symlink(file, link) < 0 && errno != EEXIST : unlink(link) < 0 && errno != ENOENT) {
            virReportSystemError(errno, _("cannot change '%s'"), link);
            goto endjob;
        }
        vm->autostart = autostart;
    }
    ret = 0;

endjob:
    virDomainObjEndJob(vm);
cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

static void
setLifecycleAction(virDomainDef *def, unsigned int type, unsigned int action)
{
    if (type == VIR_DOMAIN_LIFECYCLE_POWEROFF)
        def->onPoweroff = action;
    else if (type == VIR_DOMAIN_LIFECYCLE_REBOOT)
        def->onReboot = action;
    else
        def->onCrash = action;
}

int
xenDomainSetLifecycleAction(virDomainPtr dom, unsigned int type, unsigned int action, unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    g_autoptr(GError) error = NULL;
    virDomainDef *live = NULL;
    virDomainDef *persistent = NULL;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);

    if (type >= VIR_DOMAIN_LIFECYCLE_LAST || action >= VIR_DOMAIN_LIFECYCLE_ACTION_LAST ||
        action == VIR_DOMAIN_LIFECYCLE_ACTION_RESTART_RENAME) {
        virReportError(VIR_ERR_ARGUMENT_UNSUPPORTED, "%s", _("this lifecycle action is not supported"));
        return -1;
    }
    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainSetLifecycleActionEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (xenDomainGetDefs(vm, flags, &live, &persistent) < 0)
        goto endjob;

    if (live) {
        setLifecycleAction(live, type, action);
        if (!serai_domain_set_actions(XEN_PRIVATE(vm)->domain, xenConfAction(live->onPoweroff),
                                      xenConfAction(live->onReboot), xenConfAction(live->onCrash), &error)) {
            xenReportError(&error, _("cannot change what follows a stop of domain '%s'"), vm->def->name);
            goto endjob;
        }
        xenDomainSaveStatus(driver, vm);
    }
    if (persistent) {
        setLifecycleAction(persistent, type, action);
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
