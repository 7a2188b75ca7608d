/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What differs between libvirt releases, and the headers that every file of the driver needs.  Nothing
 * else in this folder asks for a version, so that a port to another release is this file.
 */
#pragma once

#include <config.h>
#include <libvirt/libvirt.h>

#include "internal.h"
#include "libvirt_internal.h"
#include "viralloc.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virstring.h"
#include "virtypedparam.h"
#include "virutil.h"
#include "domain_conf.h"
#include "domain_event.h"
#include "virdomainjob.h"
#include "virdomainobjlist.h"
#include "virpidfile.h"

#if LIBVIR_VERSION_NUMBER < 9000000 || LIBVIR_VERSION_NUMBER >= 9001000
#error "The driver has been ported to libvirt 9.0 only: describe what changed in compat.h."
#endif

/* Later releases have no choice whether to wait for the lock. */
static inline int
xenCompatPidFileAcquire(const char *directory, const char *name)
{
    return virPidFileAcquire(directory, name, false, getpid());
}

/* Later releases say which driver handles a passed-through PCI device by name. */
static inline void
xenCompatHostdevSetBackend(virDomainHostdevSubsysPCI *pci)
{
    if (pci->backend == VIR_DOMAIN_HOSTDEV_PCI_BACKEND_DEFAULT)
        pci->backend = VIR_DOMAIN_HOSTDEV_PCI_BACKEND_XEN;
}
