/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domains as files: save, restore, managed save, core dump.  Callers hold a job and the lock. */
#pragma once

#include "domain.h"

/* Starts @vm: from its managed save image when there is one, else anew.  @flags are VIR_DOMAIN_START_*. */
int xenSaveStartOrResume(xenDriver *driver, virDomainObj *vm, virConnectPtr conn, unsigned int flags);

/* Writes memory to @path; @dumpFlags are SeraiDumpFlags, @flags VIR_DUMP_*. */
int xenSaveDumpCore(xenDriver *driver, virDomainObj *vm, const char *path, unsigned int dumpFlags,
                    unsigned int format, unsigned int flags);

/* Removes the managed save image and what is known of it.  0 when there is none. */
int xenSaveRemoveManaged(xenDriver *driver, virDomainObj *vm);
