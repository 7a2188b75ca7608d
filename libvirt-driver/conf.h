/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "compat.h"

#include <serai.h>

/*
 * From libvirt's definition to the library's description.  Pure: nothing is looked up, started or
 * reserved, so a definition whose volumes and networks have been resolved gives the same description
 * every time.  NULL with an error that names the element.
 */
SeraiConfig *xenConfBuild(const virDomainDef *def);

SeraiDevice *xenConfDisk(const virDomainDiskDef *disk);
SeraiDevice *xenConfHostdev(const virDomainHostdevDef *hostdev);
SeraiDevice *xenConfNic(const virDomainNetDef *net);
SeraiDevice *xenConfConsole(const virDomainChrDef *chr);
SeraiDevice *xenConfVfb(const virDomainGraphicsDef *graphics);

/* -1 with an error when the named <backenddomain> of @element serves no devices. */
int xenConfCheckBackend(const char *name, const char *element);

SeraiAction xenConfAction(int lifecycleAction);
/* A bitmap as libserai wants it; NULL stays NULL. */
GBytes *xenConfBitmap(virBitmap *bitmap);
