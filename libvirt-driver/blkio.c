/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shares and limits of the I/O that dom0 does for a domain: <blkiotune>.
 *
 * Its disks are served by threads of dom0's kernel and by QEMU, so these are put into a control group of the
 * domain's own, made when there is something to hold the domain to.  It is machine/xen-ID-NAME.libvirt-xen,
 * where libvirt has groups that systemd did not make: a domain need not have any process that could be the
 * leader of one of systemd's machines.
 *
 * The kernel starts its threads when a frontend connects, in the group of all kernel threads.  The library
 * tells of that, and they are moved then (monitor.c); so a guest's first requests may come before its limits.
 */
#include "blkio.h"
#include "entries.h"
#include "error.h"

#include "domain_cgroup.h"
#include "domain_driver.h"
#include "viraccessapicheck.h"
#define LIBVIRT_VIRCGROUPPRIV_H_ALLOW
#include "vircgrouppriv.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.blkio");

#define XEN_CGROUP_MACHINES "/machine"
#define XEN_CGROUP_DRIVER   "xen"
#define XEN_CGROUP_ROOT     "/sys/fs/cgroup"

/* weight, and for each device: weight, and how often and how much is read and written. */
#define XEN_BLKIO_PARAMETERS 6

/* Tasks that are ending leave their group a moment later. */
#define XEN_CGROUP_STEPS   100
#define XEN_CGROUP_STEP_MS 10

static char *
machineName(int id, const char *name)
{
    return virDomainDriverGenerateMachineName(XEN_CGROUP_DRIVER, NULL, id, name, true);
}

static char *
groupPath(int id, const char *name)
{
    g_autofree char *machine = machineName(id, name);

    return g_strdup_printf(XEN_CGROUP_ROOT XEN_CGROUP_MACHINES "/%s.libvirt-" XEN_CGROUP_DRIVER, machine);
}

static bool
hasGroup(const virDomainDef *def)
{
    g_autofree char *path = groupPath(def->id, def->name);

    return virFileIsDir(path);
}

/* The group, made if there is none. */
static virCgroup *
openGroup(const virDomainDef *def)
{
    g_autofree char *machine = machineName(def->id, def->name);
    g_autoptr(virCgroup) parent = NULL;
    g_autoptr(virCgroup) group = NULL;

    if (virCgroupNewPartition(XEN_CGROUP_MACHINES, true, 1 << VIR_CGROUP_CONTROLLER_BLKIO, &parent) < 0 ||
        virCgroupNewDomainPartition(parent, XEN_CGROUP_DRIVER, machine, &group) < 0)
        return NULL;
    if (!hasGroup(def) || !virCgroupHasController(group, VIR_CGROUP_CONTROLLER_BLKIO)) {
        virReportError(
            VIR_ERR_CONFIG_UNSUPPORTED,
            _("the I/O of domain '%s' cannot be tuned: dom0 has no cgroup v2 with the controller 'io'"),
            def->name);
        return NULL;
    }
    return g_steal_pointer(&group);
}

static void
gather(SeraiDomain *domain, virCgroup *group)
{
    g_autoptr(GArray) tasks = serai_domain_get_io_tasks(domain);
    guint i;

    for (i = 0; i < tasks->len; i++) {
        /* One that has ended meanwhile needs no limit. */
        if (virCgroupAddProcess(group, g_array_index(tasks, int, i)) < 0) {
            VIR_INFO("task %d of domain %u: %s", g_array_index(tasks, int, i), serai_domain_get_id(domain),
                     virGetLastErrorMessage());
            virResetLastError();
        }
    }
}

void
xenBlkioGather(xenDriver *driver, virDomainObj *vm)
{
    g_autoptr(SeraiDomain) domain = XEN_PRIVATE(vm)->domain ? g_object_ref(XEN_PRIVATE(vm)->domain) : NULL;
    g_autoptr(virCgroup) group = NULL;

    if (driver->settings->pretend || !domain || !hasGroup(vm->def))
        return;
    group = openGroup(vm->def);
    if (!group)
        return;
    virObjectUnlock(vm);
    gather(domain, group);
    virObjectLock(vm);
}

/* A group that holds everything, with no limit yet. */
static virCgroup *
makeGroup(xenDriver *driver, virDomainObj *vm)
{
    g_autoptr(virCgroup) group = openGroup(vm->def);
    g_autoptr(GError) error = NULL;

    if (!group)
        return NULL;
    /* First, so that no thread is missed. */
    if (!serai_domain_watch_disks(XEN_PRIVATE(vm)->domain, &error)) {
        xenReportError(&error, _("cannot watch the disks of domain '%s'"), vm->def->name);
        return NULL;
    }
    xenBlkioGather(driver, vm);
    return g_steal_pointer(&group);
}

int
xenBlkioSetup(xenDriver *driver, virDomainObj *vm)
{
    g_autoptr(virCgroup) group = NULL;

    if (driver->settings->pretend || (vm->def->blkio.weight == 0 && vm->def->blkio.ndevices == 0))
        return 0;
    group = makeGroup(driver, vm);
    return group && virDomainCgroupSetupBlkio(group, vm->def->blkio) == 0 ? 0 : -1;
}

void
xenBlkioReconnect(xenDriver *driver, virDomainObj *vm)
{
    g_autoptr(virCgroup) group =
        !driver->settings->pretend && hasGroup(vm->def) ? makeGroup(driver, vm) : NULL;

    if (!group)
        virResetLastError();
}

void
xenBlkioRemove(xenDriver *driver, int id, const char *name)
{
    g_autofree char *path = groupPath(id, name);
    int i;

    if (driver->settings->pretend)
        return;
    for (i = 0; i < XEN_CGROUP_STEPS; i++) {
        if (rmdir(path) == 0 || errno == ENOENT || errno == ENOTDIR)
            return;
        if (errno != EBUSY)
            break;
        g_usleep(XEN_CGROUP_STEP_MS * 1000);
    }
    VIR_WARN("cannot remove %s: %s", path, g_strerror(errno));
}

/* --- libvirt's calls -------------------------------------------------------------------------- */

/* Before anything changes: whether the parameters can be read, and their devices are there. */
static int
checkParameters(virTypedParameterPtr params, int nparams, bool live)
{
    size_t count;
    size_t j;
    int i;

    for (i = 0; i < nparams; i++) {
        virBlkioDevice *devices = NULL;
        int ret = 0;

        if (params[i].type != VIR_TYPED_PARAM_STRING)
            continue;
        if (virDomainDriverParseBlkioDeviceStr(params[i].value.s, params[i].field, &devices, &count) < 0)
            return -1;
        for (j = 0; live && j < count && ret == 0; j++) {
            struct stat sb;

            if (stat(devices[j].path, &sb) < 0 || !S_ISBLK(sb.st_mode)) {
                virReportError(VIR_ERR_INVALID_ARG, _("'%s' is no block device of this host"),
                               devices[j].path);
                ret = -1;
            }
        }
        virBlkioDeviceArrayClear(devices, count);
        g_free(devices);
        if (ret < 0)
            return -1;
    }
    return 0;
}

static int
setLive(xenDriver *driver, virDomainObj *vm, virTypedParameterPtr params, int nparams)
{
    g_autoptr(virCgroup) group = NULL;

    if (driver->settings->pretend)
        return virDomainDriverSetupPersistentDefBlkioParams(vm->def, params, nparams);
    group = hasGroup(vm->def) ? openGroup(vm->def) : makeGroup(driver, vm);
    return group ? virDomainCgroupSetupDomainBlkioParameters(group, vm->def, params, nparams) : -1;
}

int
xenDomainSetBlkioParameters(virDomainPtr dom, virTypedParameterPtr params, int nparams, unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    virDomainDef *live = NULL;
    virDomainDef *persistent = NULL;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);
    if (virTypedParamsValidate(
            params, nparams, VIR_DOMAIN_BLKIO_WEIGHT, VIR_TYPED_PARAM_UINT, VIR_DOMAIN_BLKIO_DEVICE_WEIGHT,
            VIR_TYPED_PARAM_STRING, VIR_DOMAIN_BLKIO_DEVICE_READ_IOPS, VIR_TYPED_PARAM_STRING,
            VIR_DOMAIN_BLKIO_DEVICE_WRITE_IOPS, VIR_TYPED_PARAM_STRING, VIR_DOMAIN_BLKIO_DEVICE_READ_BPS,
            VIR_TYPED_PARAM_STRING, VIR_DOMAIN_BLKIO_DEVICE_WRITE_BPS, VIR_TYPED_PARAM_STRING, NULL) < 0)
        return -1;

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainSetBlkioParametersEnsureACL(dom->conn, vm->def, flags) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (xenDomainCheckGuest(vm) < 0 || xenDomainGetDefs(vm, flags, &live, &persistent) < 0 ||
        checkParameters(params, nparams, live && !driver->settings->pretend) < 0)
        goto endjob;

    if (live) {
        ret = setLive(driver, vm, params, nparams);
        xenDomainSaveStatus(driver, vm);
        if (ret < 0)
            goto endjob;
        ret = -1;
    }
    if (persistent && (virDomainDriverSetupPersistentDefBlkioParams(persistent, params, nparams) < 0 ||
                       xenDomainSavePersistent(driver, vm, persistent) < 0))
        goto endjob;
    ret = 0;

endjob:
    virDomainObjEndJob(vm);
cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainGetBlkioParameters(virDomainPtr dom, virTypedParameterPtr params, int *nparams, unsigned int flags)
{
    virDomainDef *def;
    virDomainObj *vm;
    int room = MIN(*nparams, XEN_BLKIO_PARAMETERS);
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG | VIR_TYPED_PARAM_STRING_OKAY, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainGetBlkioParametersEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    def = xenDomainGetOneDef(vm, flags & ~VIR_TYPED_PARAM_STRING_OKAY);
    if (!def)
        goto cleanup;
    if (room == 0) {
        *nparams = XEN_BLKIO_PARAMETERS;
        ret = 0;
        goto cleanup;
    }

    *nparams = 0;
    if (virTypedParameterAssign(&params[(*nparams)++], VIR_DOMAIN_BLKIO_WEIGHT, VIR_TYPED_PARAM_UINT,
                                def->blkio.weight) < 0 ||
        virDomainGetBlkioParametersAssignFromDef(def, params, nparams, room) < 0)
        goto cleanup;
    ret = 0;

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}
