/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entries about images that exist: whether there is one, what definition it holds, another definition
 * for it, and its removal.
 */
#include "entries.h"
#include "postparse.h"
#include "save-image.h"
#include "save.h"

#include "viraccessapicheck.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

/* The definition of an image as the client may see it. */
static char *
formatImage(xenDriver *driver, const virDomainDef *def, unsigned int flags)
{
    return virDomainDefFormat((virDomainDef *)def, driver->xmlopt, virDomainDefFormatConvertXMLFlags(flags));
}

static virDomainDef *
parseImage(xenDriver *driver, const char *path, bool *ret_running)
{
    g_autofree char *xml = NULL;
    VIR_AUTOCLOSE fd = -1;

    if (xenImageOpen(path, false, &fd, &xml, ret_running) < 0)
        return NULL;
    return xenPostParseString(xml, driver->xmlopt, VIR_DOMAIN_DEF_PARSE_INACTIVE);
}

static int
rewriteImage(xenDriver *driver, const char *path, const virDomainDef *old, const char *dxml, bool running,
             unsigned int flags)
{
    g_autoptr(virDomainDef) def = NULL;
    g_autofree char *xml = NULL;

    def = xenPostParseString(dxml, driver->xmlopt, VIR_DOMAIN_DEF_PARSE_INACTIVE);
    if (!def || !virDomainDefCheckABIStability((virDomainDef *)old, def, driver->xmlopt))
        return -1;
    xml = virDomainDefFormat(def, driver->xmlopt,
                             VIR_DOMAIN_DEF_FORMAT_SECURE | VIR_DOMAIN_DEF_FORMAT_INACTIVE |
                                 VIR_DOMAIN_DEF_FORMAT_MIGRATABLE);
    if (!xml)
        return -1;
    if (flags & VIR_DOMAIN_SAVE_RUNNING)
        running = true;
    else if (flags & VIR_DOMAIN_SAVE_PAUSED)
        running = false;
    return xenImageRewrite(path, xml, running);
}

char *
xenDomainSaveImageGetXMLDesc(virConnectPtr conn, const char *file, unsigned int flags)
{
    xenDriver *driver = conn->privateData;
    g_autoptr(virDomainDef) def = NULL;
    bool running;

    virCheckFlags(VIR_DOMAIN_SAVE_IMAGE_XML_SECURE, NULL);

    def = parseImage(driver, file, &running);
    if (!def || virDomainSaveImageGetXMLDescEnsureACL(conn, def) < 0)
        return NULL;
    return formatImage(driver, def, flags & VIR_DOMAIN_SAVE_IMAGE_XML_SECURE ? VIR_DOMAIN_XML_SECURE : 0);
}

int
xenDomainSaveImageDefineXML(virConnectPtr conn, const char *file, const char *dxml, unsigned int flags)
{
    xenDriver *driver = conn->privateData;
    g_autoptr(virDomainDef) def = NULL;
    bool running;

    virCheckFlags(VIR_DOMAIN_SAVE_RUNNING | VIR_DOMAIN_SAVE_PAUSED, -1);

    def = parseImage(driver, file, &running);
    if (!def || virDomainSaveImageDefineXMLEnsureACL(conn, def) < 0)
        return -1;
    return rewriteImage(driver, file, def, dxml, running, flags);
}

int
xenDomainHasManagedSaveImage(virDomainPtr dom, unsigned int flags)
{
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(0, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainHasManagedSaveImageEnsureACL(dom->conn, vm->def) == 0)
        ret = vm->hasManagedSave;
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainManagedSaveRemove(virDomainPtr dom, unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(0, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainManagedSaveRemoveEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    ret = xenSaveRemoveManaged(driver, vm);
    virDomainObjEndJob(vm);

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

char *
xenDomainManagedSaveGetXMLDesc(virDomainPtr dom, unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    g_autoptr(virDomainDef) def = NULL;
    g_autofree char *path = NULL;
    virDomainObj *vm;
    char *xml = NULL;
    bool running;

    virCheckFlags(VIR_DOMAIN_SAVE_IMAGE_XML_SECURE, NULL);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return NULL;
    if (virDomainManagedSaveGetXMLDescEnsureACL(dom->conn, vm->def, flags) < 0)
        goto cleanup;
    path = xenSettingsManagedSavePath(driver->settings, vm->def->name);
    def = parseImage(driver, path, &running);
    if (def)
        xml = formatImage(driver, def, flags & VIR_DOMAIN_SAVE_IMAGE_XML_SECURE ? VIR_DOMAIN_XML_SECURE : 0);

cleanup:
    virDomainObjEndAPI(&vm);
    return xml;
}

int
xenDomainManagedSaveDefineXML(virDomainPtr dom, const char *dxml, unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    g_autoptr(virDomainDef) def = NULL;
    g_autofree char *path = NULL;
    virDomainObj *vm;
    bool running;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_SAVE_RUNNING | VIR_DOMAIN_SAVE_PAUSED, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainManagedSaveDefineXMLEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    path = xenSettingsManagedSavePath(driver->settings, vm->def->name);
    def = parseImage(driver, path, &running);
    if (def)
        ret = rewriteImage(driver, path, def, dxml, running, flags);
    virDomainObjEndJob(vm);

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}
