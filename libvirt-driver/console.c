/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The entry that connects a client to a domain's console.
 *
 * The library's console daemon keeps the pty open and hands its path out; libvirt's character device
 * streams do the rest, one client at a time.
 */
#include "domain.h"
#include "entries.h"
#include "error.h"

#include "viraccessapicheck.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

static virDomainChrDef *
findConsole(virDomainDef *def, const char *name)
{
    size_t i;

    if (!name)
        return def->nconsoles > 0 ? def->consoles[0] : NULL;
    for (i = 0; i < def->nconsoles; i++) {
        if (STREQ_NULLABLE(def->consoles[i]->info.alias, name))
            return def->consoles[i];
    }
    for (i = 0; i < def->nchannels; i++) {
        if (STREQ_NULLABLE(def->channels[i]->info.alias, name) ||
            STREQ_NULLABLE(def->channels[i]->target.name, name))
            return def->channels[i];
    }
    return NULL;
}

int
xenDomainOpenConsole(virDomainPtr dom, const char *name, virStreamPtr st, unsigned int flags)
{
    g_autoptr(GError) error = NULL;
    virDomainChrDef *chr;
    virDomainObj *vm;
    int opened;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_CONSOLE_SAFE | VIR_DOMAIN_CONSOLE_FORCE, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainOpenConsoleEnsureACL(dom->conn, vm->def) < 0 || xenDomainCheckActive(vm) < 0)
        goto cleanup;
    chr = findConsole(vm->def, name);
    if (!chr) {
        virReportError(VIR_ERR_INTERNAL_ERROR, _("domain '%s' has no console '%s'"), vm->def->name,
                       name ? name : "0");
        goto cleanup;
    }
    if (chr->source->type != VIR_DOMAIN_CHR_TYPE_PTY) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED, _("console '%s' of domain '%s' has no pty"),
                       NULLSTR(chr->info.alias), vm->def->name);
        goto cleanup;
    }
    /* The daemon may have opened it only after the domain was started, or anew since. */
    if (chr->deviceType == VIR_DOMAIN_CHR_DEVICE_TYPE_CONSOLE) {
        char *path = serai_domain_dup_console_path(XEN_PRIVATE(vm)->domain, SERAI_DEVICE_CONSOLE,
                                                   chr->target.port, &error);

        if (!path) {
            xenReportError(&error, _("cannot open the console of domain '%s'"), vm->def->name);
            goto cleanup;
        }
        g_free(chr->source->data.file.path);
        chr->source->data.file.path = path;
    }

    opened = virChrdevOpen(XEN_PRIVATE(vm)->devs, chr->source, st, flags & VIR_DOMAIN_CONSOLE_FORCE);
    if (opened == 1) {
        virReportError(VIR_ERR_OPERATION_FAILED, _("somebody else uses the console of domain '%s'"),
                       vm->def->name);
        goto cleanup;
    }
    ret = opened;

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

/* A channel of the domain, by its alias or by the name that the guest knows it by. */
static virDomainChrDef *
findChannel(virDomainDef *def, const char *name)
{
    size_t i;

    for (i = 0; i < def->nchannels; i++) {
        if (!name || STREQ_NULLABLE(def->channels[i]->info.alias, name) ||
            STREQ_NULLABLE(def->channels[i]->target.name, name))
            return def->channels[i];
    }
    virReportError(VIR_ERR_INVALID_ARG, _("domain '%s' has no channel '%s'"), def->name, name ? name : "0");
    return NULL;
}

int
xenDomainOpenChannel(virDomainPtr dom, const char *name, virStreamPtr st, unsigned int flags)
{
    virDomainChrDef *chr;
    virDomainObj *vm;
    int opened;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_CHANNEL_FORCE, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainOpenChannelEnsureACL(dom->conn, vm->def) < 0 || xenDomainCheckActive(vm) < 0)
        goto cleanup;
    chr = findChannel(vm->def, name);
    if (!chr)
        goto cleanup;
    if (chr->source->type != VIR_DOMAIN_CHR_TYPE_PTY && chr->source->type != VIR_DOMAIN_CHR_TYPE_UNIX) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("channel '%s' of domain '%s' has neither a pty nor a socket"),
                       NULLSTR(chr->target.name), vm->def->name);
        goto cleanup;
    }
    opened = virChrdevOpen(XEN_PRIVATE(vm)->devs, chr->source, st, flags & VIR_DOMAIN_CHANNEL_FORCE);
    if (opened == 1) {
        virReportError(VIR_ERR_OPERATION_FAILED, _("somebody else uses channel '%s' of domain '%s'"),
                       NULLSTR(chr->target.name), vm->def->name);
        goto cleanup;
    }
    ret = opened;

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}
