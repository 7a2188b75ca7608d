/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "compat.h"

/* Directories and the administrator's choices; constant once loaded. */
typedef struct _xenSettings xenSettings;
struct _xenSettings {
    char *root; /* of xen:///embed, or NULL */

    char *configDir;    /* domain XML, one file for each */
    char *autostartDir; /* links into configDir */
    char *stateDir;     /* status XML of running domains; gone after a reboot */
    char *saveDir;      /* managed save images */
    char *dumpDir;      /* automatic core dumps */
    char *channelDir;   /* sockets of channels without a path */
    char *logDir;       /* what the QEMU of each domain says */

    bool pretend;      /* a machine inside this process instead of the hypervisor, for tests */
    bool logDaemon;    /* virtlogd writes the logs, and not QEMU itself */
    char *lockManager; /* NULL, "lockd" or "sanlock" */
    char *vncListen;
    unsigned int vncPortMin, vncPortMax;
};

xenSettings *xenSettingsNew(bool privileged, const char *root);
void xenSettingsFree(xenSettings *settings);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xenSettings, xenSettingsFree);

/* Makes the directories.  Returns -1 with an error reported. */
int xenSettingsMakeDirectories(const xenSettings *settings);

char *xenSettingsManagedSavePath(const xenSettings *settings, const char *name);
