/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shares and limits of the I/O that dom0 does for a domain: <blkiotune>. */
#pragma once

#include "domain.h"

/* Puts a domain that has not run yet under what its <blkiotune> says, if it has one.  -1 with an error. */
int xenBlkioSetup(xenDriver *driver, virDomainObj *vm);

/* Takes up what an earlier daemon set up. */
void xenBlkioReconnect(xenDriver *driver, virDomainObj *vm);

/* Has the domain's group hold whatever does its I/O now.  Harmless without a group. */
void xenBlkioGather(xenDriver *driver, virDomainObj *vm);

/* Removes the group of a domain that is gone.  Harmless without one. */
void xenBlkioRemove(xenDriver *driver, int id, const char *name);
