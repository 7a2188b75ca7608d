/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The state of the driver, one for the whole process.
 *
 * Everything marked (c) is set while the driver is initialized and constant afterwards, so it is read
 * without a lock.  (s) locks itself.  (a) is atomic.
 *
 * Lock order: a domain's object, then the driver's lock.  Nobody waits for a domain while holding
 * the driver's lock.  A job on a domain (virDomainObjBeginJob) is what makes a change of several steps
 * whole; the object's lock is given up while the hypervisor works.
 */
#pragma once

#include "compat.h"
#include "settings.h"

/* By folder, as files of ours have the same names. */
#include "conf/capabilities.h"
#include "src/datatypes.h"
#include "src/driver.h"
#include "locking/lock_manager.h"
#include "object_event.h"
#include "virhostdev.h"
#include "virportallocator.h"
#include "virsysinfo.h"

#include <serai.h>

#define XEN_DRIVER_EXTERNAL_NAME "Xen"
/* What the stock driver writes into the records of passed-through devices; hosts are upgraded in place. */
#define XEN_DRIVER_INTERNAL_NAME "xenlight"
/* Kept by the library with each domain that this driver made. */
#define XEN_DRIVER_OWNER "libvirt"

/* Descriptions of the library under names that g_autoptr() can be told about here. */
typedef SeraiHostInfo xenHostInfo;
typedef SeraiDomainInfo xenDomainFacts;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xenHostInfo, serai_host_info_free);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xenDomainFacts, serai_domain_info_free);

typedef struct _xenDriver xenDriver;
struct _xenDriver {
    virMutex lock;

    bool privileged;       /* (c) */
    int lockFD;            /* (c) the lock on stateDir */
    xenSettings *settings; /* (c) */

    SeraiHost *host;            /* (c) */
    virCaps *caps;              /* (c) but for the free text of virCaps, which nobody changes */
    virDomainXMLOption *xmlopt; /* (c) */
    virSysinfoDef *sysinfo;     /* (c) NULL when the host's firmware tells nothing */

    virDomainObjList *domains;       /* (s) */
    virObjectEventState *events;     /* (s) */
    virHostdevManager *hostdevs;     /* (s) */
    virPortAllocatorRange *vncPorts; /* (s) */
    virLockManagerPlugin *locks;     /* (s) */

    struct _xenMonitor *monitor; /* (c) the thread that hears the hypervisor; monitor.c */

    virStateInhibitCallback inhibit; /* (c) NULL when nobody wants to know */
    void *inhibitOpaque;             /* (c) */
    unsigned int nactive;            /* (lock) running domains, for inhibit */
    GHashTable *macs;                /* (lock) who has which MAC address now; process-net.c */
};

/* The driver, or NULL before it is initialized and after it has been cleaned up. */
extern xenDriver *xenDriverState;

/* A domain began or ceased to run: the daemon may not, or may again, exit when idle. */
void xenDriverDomainStarted(xenDriver *driver);
void xenDriverDomainStopped(xenDriver *driver);

int xenDriverRegister(void);
