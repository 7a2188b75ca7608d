/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the driver keeps its files and what its administrator chose.
 *
 * The places are those of the stock Xen driver, so that a host is upgraded in place.  libxl.conf is
 * shared with it as well: keys we do not know are its own.
 */
#include "settings.h"

#include "configmake.h"
#include "virconf.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.settings");

static int
loadFile(xenSettings *settings, const char *path)
{
    g_autoptr(virConf) conf = NULL;
    g_autofree char *hypervisor = NULL;
    g_autofree char *stdioHandler = NULL;

    if (access(path, R_OK) < 0) {
        VIR_INFO("no settings in %s", path);
        return 0;
    }

    conf = virConfReadFile(path, 0);
    if (!conf)
        return -1;

    if (virConfGetValueString(conf, "hypervisor", &hypervisor) < 0 ||
        virConfGetValueString(conf, "lock_manager", &settings->lockManager) < 0 ||
        virConfGetValueString(conf, "stdio_handler", &stdioHandler) < 0 ||
        virConfGetValueString(conf, "vnc_listen", &settings->vncListen) < 0 ||
        virConfGetValueUInt(conf, "vnc_port_min", &settings->vncPortMin) < 0 ||
        virConfGetValueUInt(conf, "vnc_port_max", &settings->vncPortMax) < 0)
        return -1;

    if (hypervisor && STRNEQ(hypervisor, "fake")) {
        virReportError(VIR_ERR_CONF_SYNTAX, _("%s: hypervisor = \"%s\": only \"fake\" can be asked for"),
                       path, hypervisor);
        return -1;
    }
    settings->pretend = hypervisor != NULL;

    if (stdioHandler && STRNEQ(stdioHandler, "logd") && STRNEQ(stdioHandler, "file")) {
        virReportError(VIR_ERR_CONF_SYNTAX,
                       _("%s: stdio_handler = \"%s\": only \"logd\" and \"file\" are known"), path,
                       stdioHandler);
        return -1;
    }
    settings->logDaemon = STRNEQ_NULLABLE(stdioHandler, "file");

    if (settings->vncPortMin < 5900 || settings->vncPortMax > 65535 ||
        settings->vncPortMin > settings->vncPortMax) {
        virReportError(VIR_ERR_CONF_SYNTAX,
                       _("%s: vnc_port_min and vnc_port_max must be in order, from 5900 to 65535"), path);
        return -1;
    }
    return 0;
}

xenSettings *
xenSettingsNew(bool privileged, const char *root)
{
    g_autoptr(xenSettings) settings = g_new0(xenSettings, 1);
    g_autofree char *etc = NULL;
    g_autofree char *run = NULL;
    g_autofree char *lib = NULL;
    g_autofree char *file = NULL;

    if (!root && !privileged) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s", _("Xen can only be driven by root"));
        return NULL;
    }

    settings->root = g_strdup(root);
    if (root) {
        etc = g_strdup_printf("%s/etc", root);
        run = g_strdup_printf("%s/run", root);
        lib = g_strdup_printf("%s/lib", root);
        settings->logDir = g_strdup_printf("%s/log", root);
    } else {
        etc = g_strdup(SYSCONFDIR "/libvirt/libxl");
        run = g_strdup(RUNSTATEDIR "/libvirt/libxl");
        lib = g_strdup(LOCALSTATEDIR "/lib/libvirt/libxl");
        settings->logDir = g_strdup(LOCALSTATEDIR "/log/libvirt/libxl");
    }

    settings->configDir = g_strdup(etc);
    settings->autostartDir = g_strdup_printf("%s/autostart", etc);
    settings->stateDir = g_strdup(run);
    settings->saveDir = g_strdup_printf("%s/save", lib);
    settings->dumpDir = g_strdup_printf("%s/dump", lib);
    settings->channelDir = g_strdup_printf("%s/channel/target", lib);

    settings->logDaemon = true;
    settings->vncPortMin = 5900;
    settings->vncPortMax = 65535;

    file = root ? g_strdup_printf("%s/libxl.conf", root) : g_strdup(SYSCONFDIR "/libvirt/libxl.conf");
    if (loadFile(settings, file) < 0)
        return NULL;

    if (!settings->vncListen)
        settings->vncListen = g_strdup("127.0.0.1");
    return g_steal_pointer(&settings);
}

void
xenSettingsFree(xenSettings *settings)
{
    if (!settings)
        return;
    g_free(settings->root);
    g_free(settings->configDir);
    g_free(settings->autostartDir);
    g_free(settings->stateDir);
    g_free(settings->saveDir);
    g_free(settings->dumpDir);
    g_free(settings->channelDir);
    g_free(settings->logDir);
    g_free(settings->lockManager);
    g_free(settings->vncListen);
    g_free(settings);
}

int
xenSettingsMakeDirectories(const xenSettings *settings)
{
    const char *directories[] = {settings->configDir, settings->autostartDir, settings->stateDir,
                                 settings->saveDir,   settings->dumpDir,      settings->channelDir,
                                 settings->logDir};
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(directories); i++) {
        if (g_mkdir_with_parents(directories[i], 0711) < 0) {
            virReportSystemError(errno, _("cannot create directory %s"), directories[i]);
            return -1;
        }
    }
    return 0;
}

char *
xenSettingsManagedSavePath(const xenSettings *settings, const char *name)
{
    return g_strdup_printf("%s/%s.save", settings->saveDir, name);
}
