/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "compat.h"

/* What the parser of libvirt calls on each definition it has read; @opaque is the xenDriver. */
int xenPostParseBasic(virDomainDef *def, void *opaque);
int xenPostParseDomain(virDomainDef *def, unsigned int parseFlags, void *opaque, void *parseOpaque);
int xenPostParseDevice(virDomainDeviceDef *dev, const virDomainDef *def, unsigned int parseFlags,
                       void *opaque, void *parseOpaque);

/*
 * virDomainDefParseString() for XML that a client wrote.  libvirt reads <kernel> of an os type "linux" only
 * when the domain's type is "xen", so the other names of the same hypervisor are replaced before.
 */
virDomainDef *xenPostParseString(const char *xml, virDomainXMLOption *xmlopt, unsigned int parseFlags);

/* Refusals, each naming the element; nothing is changed here. */
int xenValidateDomain(const virDomainDef *def, void *opaque, void *parseOpaque);
int xenValidateDevice(const virDomainDeviceDef *dev, const virDomainDef *def, void *opaque,
                      void *parseOpaque);
