/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entries that find domains and tell what they are.  Nothing here changes a domain, but for its
 * metadata, and for what is shown of one that another tool has paused; none waits for a job, so they answer
 * while another thread starts or saves the domain.
 */
#include "entries.h"
#include "error.h"
#include "domain.h"
#include "process.h"

#include "viraccessapicheck.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

virDomainPtr
xenDomainLookupByID(virConnectPtr conn, int id)
{
    xenDriver *driver = conn->privateData;
    virDomainObj *vm = virDomainObjListFindByID(driver->domains, id);
    virDomainPtr dom = NULL;

    if (!vm) {
        virReportError(VIR_ERR_NO_DOMAIN, _("no domain with id %d"), id);
        return NULL;
    }
    if (virDomainLookupByIDEnsureACL(conn, vm->def) == 0)
        dom = virGetDomain(conn, vm->def->name, vm->def->uuid, vm->def->id);
    virDomainObjEndAPI(&vm);
    return dom;
}

virDomainPtr
xenDomainLookupByUUID(virConnectPtr conn, const unsigned char *uuid)
{
    xenDriver *driver = conn->privateData;
    virDomainObj *vm = virDomainObjListFindByUUID(driver->domains, uuid);
    char text[VIR_UUID_STRING_BUFLEN];
    virDomainPtr dom = NULL;

    if (!vm) {
        virUUIDFormat(uuid, text);
        virReportError(VIR_ERR_NO_DOMAIN, _("no domain with UUID '%s'"), text);
        return NULL;
    }
    if (virDomainLookupByUUIDEnsureACL(conn, vm->def) == 0)
        dom = virGetDomain(conn, vm->def->name, vm->def->uuid, vm->def->id);
    virDomainObjEndAPI(&vm);
    return dom;
}

virDomainPtr
xenDomainLookupByName(virConnectPtr conn, const char *name)
{
    xenDriver *driver = conn->privateData;
    virDomainObj *vm = virDomainObjListFindByName(driver->domains, name);
    virDomainPtr dom = NULL;

    if (!vm) {
        virReportError(VIR_ERR_NO_DOMAIN, _("no domain with name '%s'"), name);
        return NULL;
    }
    if (virDomainLookupByNameEnsureACL(conn, vm->def) == 0)
        dom = virGetDomain(conn, vm->def->name, vm->def->uuid, vm->def->id);
    virDomainObjEndAPI(&vm);
    return dom;
}

int
xenConnectListDomains(virConnectPtr conn, int *ids, int nids)
{
    xenDriver *driver = conn->privateData;

    if (virConnectListDomainsEnsureACL(conn) < 0)
        return -1;
    return virDomainObjListGetActiveIDs(driver->domains, ids, nids, virConnectListDomainsCheckACL, conn);
}

int
xenConnectNumOfDomains(virConnectPtr conn)
{
    xenDriver *driver = conn->privateData;

    if (virConnectNumOfDomainsEnsureACL(conn) < 0)
        return -1;
    return virDomainObjListNumOfDomains(driver->domains, true, virConnectNumOfDomainsCheckACL, conn);
}

int
xenConnectListDefinedDomains(virConnectPtr conn, char **const names, int nnames)
{
    xenDriver *driver = conn->privateData;

    if (virConnectListDefinedDomainsEnsureACL(conn) < 0)
        return -1;
    return virDomainObjListGetInactiveNames(driver->domains, names, nnames,
                                            virConnectListDefinedDomainsCheckACL, conn);
}

int
xenConnectNumOfDefinedDomains(virConnectPtr conn)
{
    xenDriver *driver = conn->privateData;

    if (virConnectNumOfDefinedDomainsEnsureACL(conn) < 0)
        return -1;
    return virDomainObjListNumOfDomains(driver->domains, false, virConnectNumOfDefinedDomainsCheckACL, conn);
}

int
xenConnectListAllDomains(virConnectPtr conn, virDomainPtr **domains, unsigned int flags)
{
    xenDriver *driver = conn->privateData;

    virCheckFlags(VIR_CONNECT_LIST_DOMAINS_FILTERS_ALL, -1);

    if (virConnectListAllDomainsEnsureACL(conn) < 0)
        return -1;
    xenProcessFollowPauses(driver, flags);
    return virDomainObjListExport(driver->domains, conn, domains, virConnectListAllDomainsCheckACL, flags);
}

char *
xenDomainGetOSType(virDomainPtr dom)
{
    virDomainObj *vm = xenDomainObjFromDomain(dom);
    char *type = NULL;

    if (!vm)
        return NULL;
    if (virDomainGetOSTypeEnsureACL(dom->conn, vm->def) == 0)
        type = g_strdup(virDomainOSTypeToString(vm->def->os.type));
    virDomainObjEndAPI(&vm);
    return type;
}

unsigned long long
xenDomainGetMaxMemory(virDomainPtr dom)
{
    virDomainObj *vm = xenDomainObjFromDomain(dom);
    unsigned long long kib = 0;

    if (!vm)
        return 0;
    if (virDomainGetMaxMemoryEnsureACL(dom->conn, vm->def) == 0)
        kib = virDomainDefGetMemoryTotal(vm->def);
    virDomainObjEndAPI(&vm);
    return kib;
}

/* What the hypervisor says about a running domain, NULL with an error when it is not to be had. */
static SeraiDomainInfo *
liveInfo(virDomainObj *vm)
{
    g_autoptr(GError) error = NULL;
    SeraiDomainInfo *info;

    if (!XEN_PRIVATE(vm)->domain) {
        virReportError(VIR_ERR_OPERATION_INVALID, _("domain '%s' is not running"), vm->def->name);
        return NULL;
    }
    info = serai_domain_get_info(XEN_PRIVATE(vm)->domain, &error);
    if (!info)
        xenReportError(&error, _("cannot ask for domain '%s'"), vm->def->name);
    return info;
}

int
xenDomainGetInfo(virDomainPtr dom, virDomainInfoPtr info)
{
    virDomainObj *vm = xenDomainObjFromDomain(dom);
    g_autoptr(xenDomainFacts) live = NULL;
    int ret = -1;

    if (!vm)
        return -1;
    if (virDomainGetInfoEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;

    info->maxMem = virDomainDefGetMemoryTotal(vm->def);
    if (virDomainObjIsActive(vm)) {
        live = liveInfo(vm);
        if (!live)
            goto cleanup;
        xenProcessFollowPause(dom->conn->privateData, vm, live);
        info->cpuTime = live->cpu_time_ns;
        info->memory = live->memory_kib;
        info->nrVirtCpu = live->vcpus;
        /* Domain 0 may have everything there is; the hypervisor writes that as no limit. */
        if (vm->def->id == 0)
            info->maxMem = MAX(info->maxMem, info->memory);
    } else {
        info->cpuTime = 0;
        info->memory = vm->def->mem.cur_balloon;
        info->nrVirtCpu = virDomainDefGetVcpus(vm->def);
    }
    info->state = virDomainObjGetState(vm, NULL);
    ret = 0;

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainGetState(virDomainPtr dom, int *state, int *reason, unsigned int flags)
{
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(0, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainGetStateEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    xenProcessAskForPause(dom->conn->privateData, vm);
    *state = virDomainObjGetState(vm, reason);
    ret = 0;

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainGetControlInfo(virDomainPtr dom, virDomainControlInfoPtr info, unsigned int flags)
{
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(0, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainGetControlInfoEnsureACL(dom->conn, vm->def) < 0 || xenDomainCheckActive(vm) < 0)
        goto cleanup;

    memset(info, 0, sizeof(*info));
    if (vm->job->asyncJob != VIR_ASYNC_JOB_NONE) {
        info->state = VIR_DOMAIN_CONTROL_JOB;
        info->stateTime = vm->job->current ? g_get_real_time() / 1000 - vm->job->current->started : 0;
    } else if (vm->job->active != VIR_JOB_NONE) {
        info->state = VIR_DOMAIN_CONTROL_OCCUPIED;
        info->stateTime = g_get_real_time() / 1000 - vm->job->started;
    } else {
        info->state = VIR_DOMAIN_CONTROL_OK;
    }
    ret = 0;

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainIsActive(virDomainPtr dom)
{
    virDomainObj *vm = xenDomainObjFromDomain(dom);
    int ret = -1;

    if (!vm)
        return -1;
    if (virDomainIsActiveEnsureACL(dom->conn, vm->def) == 0)
        ret = virDomainObjIsActive(vm);
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainIsPersistent(virDomainPtr dom)
{
    virDomainObj *vm = xenDomainObjFromDomain(dom);
    int ret = -1;

    if (!vm)
        return -1;
    if (virDomainIsPersistentEnsureACL(dom->conn, vm->def) == 0)
        ret = vm->persistent;
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainIsUpdated(virDomainPtr dom)
{
    virDomainObj *vm = xenDomainObjFromDomain(dom);
    int ret = -1;

    if (!vm)
        return -1;
    if (virDomainIsUpdatedEnsureACL(dom->conn, vm->def) == 0)
        ret = vm->updated;
    virDomainObjEndAPI(&vm);
    return ret;
}

char *
xenDomainGetXMLDesc(virDomainPtr dom, unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    virDomainDef *def;
    char *xml = NULL;

    virCheckFlags(VIR_DOMAIN_XML_COMMON_FLAGS | VIR_DOMAIN_XML_UPDATE_CPU, NULL);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return NULL;
    if (virDomainGetXMLDescEnsureACL(dom->conn, vm->def, flags) < 0)
        goto cleanup;

    def = (flags & VIR_DOMAIN_XML_INACTIVE) && vm->newDef ? vm->newDef : vm->def;
    if (def == vm->def && virDomainObjIsActive(vm) && XEN_PRIVATE(vm)->domain) {
        SeraiMemoryStats memory;

        /* Others may have moved the balloon, so the hypervisor is asked. */
        if (serai_domain_get_memory_stats(XEN_PRIVATE(vm)->domain, &memory, NULL) && memory.current_kib > 0)
            def->mem.cur_balloon = memory.current_kib;
    }
    xml = virDomainDefFormat(def, driver->xmlopt, virDomainDefFormatConvertXMLFlags(flags));

cleanup:
    virDomainObjEndAPI(&vm);
    return xml;
}

int
xenDomainSetMetadata(virDomainPtr dom, int type, const char *metadata, const char *key, const char *uri,
                     unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainSetMetadataEnsureACL(dom->conn, vm->def, flags) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    ret = virDomainObjSetMetadata(vm, type, metadata, key, uri, driver->xmlopt, driver->settings->stateDir,
                                  driver->settings->configDir, flags);
    if (ret == 0)
        xenDomainQueue(driver, virDomainEventMetadataChangeNewFromObj(vm, type, uri));
    virDomainObjEndJob(vm);

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

char *
xenDomainGetMetadata(virDomainPtr dom, int type, const char *uri, unsigned int flags)
{
    virDomainObj *vm = xenDomainObjFromDomain(dom);
    char *metadata = NULL;

    if (!vm)
        return NULL;
    if (virDomainGetMetadataEnsureACL(dom->conn, vm->def) == 0)
        metadata = virDomainObjGetMetadata(vm, type, uri, flags);
    virDomainObjEndAPI(&vm);
    return metadata;
}

int
xenDomainGetMessages(virDomainPtr dom, char ***messages, unsigned int flags)
{
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_MESSAGE_DEPRECATION | VIR_DOMAIN_MESSAGE_TAINTING, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainGetMessagesEnsureACL(dom->conn, vm->def) == 0)
        ret = virDomainObjGetMessages(vm, messages, flags);
    virDomainObjEndAPI(&vm);
    return ret;
}

/* No security driver confines a Xen domain from the host; "none" says so. */
int
xenDomainGetSecurityLabel(virDomainPtr dom, virSecurityLabelPtr label)
{
    virDomainObj *vm = xenDomainObjFromDomain(dom);
    int ret = -1;

    if (!vm)
        return -1;
    if (virDomainGetSecurityLabelEnsureACL(dom->conn, vm->def) == 0) {
        memset(label, 0, sizeof(*label));
        ret = 0;
    }
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainGetSecurityLabelList(virDomainPtr dom, virSecurityLabelPtr *labels)
{
    virDomainObj *vm = xenDomainObjFromDomain(dom);
    int ret = -1;

    if (!vm)
        return -1;
    if (virDomainGetSecurityLabelListEnsureACL(dom->conn, vm->def) == 0) {
        *labels = NULL;
        ret = 0;
    }
    virDomainObjEndAPI(&vm);
    return ret;
}
