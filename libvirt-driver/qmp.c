/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The library's conversations with QEMU, with libvirt's JSON and errors.  One at a time, begun and ended
 * within a job of the domain, so there is no lock and nothing is kept.
 */
#include "qmp.h"
#include "error.h"

#include <serai-qmp.h>

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.qmp");

#define QMP_TIMEOUT_MS 15000

struct _xenQmp {
    virDomainObj *vm;
    char *name; /* of the domain: @vm is not locked meanwhile */
    SeraiQmp *qmp;
};

int
xenQmpCommand(xenQmp *qmp, const char *command, virJSONValue **arguments, int fd, virJSONValue **ret_value)
{
    g_autoptr(virJSONValue) given = arguments ? g_steal_pointer(arguments) : NULL;
    g_autofree char *text = given ? virJSONValueToString(given, false) : NULL;
    g_autofree char *answer = NULL;
    g_autoptr(GError) error = NULL;

    if (given && !text)
        return -1;
    answer = serai_qmp_ask(qmp->qmp, command, text, fd, NULL, &error);
    if (!answer) {
        xenReportError(&error, _("QEMU of domain '%s' does not do '%s'"), qmp->name, command);
        return -1;
    }
    if (ret_value && !(*ret_value = virJSONValueFromString(answer)))
        return -1;
    return 0;
}

/* A pretend machine has no QEMU; a test may put something in its place. */
static char *
socketPath(xenDriver *driver, virDomainObj *vm)
{
    if (driver->settings->pretend)
        return g_strdup_printf("%s/%s.qmp", driver->settings->stateDir, vm->def->name);
    return serai_domain_dup_qmp_path(XEN_PRIVATE(vm)->domain);
}

bool
xenQmpExists(xenDriver *driver, virDomainObj *vm)
{
    g_autofree char *path = XEN_PRIVATE(vm)->domain ? socketPath(driver, vm) : NULL;

    return path && virFileExists(path);
}

xenQmp *
xenQmpBegin(xenDriver *driver, virDomainObj *vm)
{
    g_autofree char *path = socketPath(driver, vm);
    g_autoptr(GError) error = NULL;
    xenQmp *qmp = g_new0(xenQmp, 1);

    qmp->vm = vm;
    qmp->name = g_strdup(vm->def->name);
    virObjectUnlock(vm);
    qmp->qmp = serai_qmp_open(path, QMP_TIMEOUT_MS, NULL, &error);
    if (qmp->qmp)
        return qmp;
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) ||
        g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED))
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("domain '%s' has no QEMU: it has neither <graphics> nor a disk that QEMU serves"),
                       qmp->name);
    else
        xenReportError(&error, _("cannot connect to QEMU of domain '%s'"), qmp->name);
    xenQmpEnd(qmp);
    return NULL;
}

void
xenQmpEnd(xenQmp *qmp)
{
    if (!qmp)
        return;
    virObjectLock(qmp->vm);
    serai_qmp_close(qmp->qmp);
    g_free(qmp->name);
    g_free(qmp);
}
