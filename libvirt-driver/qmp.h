/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Talking to the QEMU that serves a domain's frame buffer and those of its disks that are no plain ones. */
#pragma once

#include "domain.h"
#include "virjson.h"

typedef struct _xenQmp xenQmp;

/*
 * Begins a conversation; the caller holds a job on @vm, whose lock is given up until xenQmpEnd().  NULL with
 * an error, and the lock, when there is no QEMU.
 */
xenQmp *xenQmpBegin(xenDriver *driver, virDomainObj *vm);
void xenQmpEnd(xenQmp *qmp);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xenQmp, xenQmpEnd);

/* Whether a QEMU serves @vm, or did until it ended. */
bool xenQmpExists(xenDriver *driver, virDomainObj *vm);

/*
 * One command and its answer.  @arguments may be NULL and is consumed; what it "return"s goes to @ret_value
 * unless that is NULL.  @fd, when not -1, travels with the command.  -1 with an error.
 */
int xenQmpCommand(xenQmp *qmp, const char *command, virJSONValue **arguments, int fd,
                  virJSONValue **ret_value);
