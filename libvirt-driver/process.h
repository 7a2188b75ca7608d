/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A domain's way from a definition to a running guest and back.  Callers hold a job and the lock. */
#pragma once

#include "domain.h"

typedef enum {
    XEN_START_PAUSED = 1 << 0,
    XEN_START_AUTODESTROY = 1 << 1,
    XEN_START_MANAGED = 1 << 2, /* from the managed save image, which goes before the guest runs */
} xenStartFlags;

/*
 * Starts @vm from its definition, or from the image that stands at @restoreFd unless that is -1.  The
 * lock is given up meanwhile.  A failure leaves the domain as it was and nothing behind.  @detail is
 * the VIR_DOMAIN_EVENT_STARTED_* to tell; @conn counts for XEN_START_AUTODESTROY only.
 */
int xenProcessStart(xenDriver *driver, virDomainObj *vm, virConnectPtr conn, int restoreFd, int detail,
                    unsigned int flags);

/*
 * Takes the domain away, whatever state it is in, and everything the host did for it.  Does not tell an
 * event and does not remove a transient domain from the list: xenProcessStopped() does.
 */
int xenProcessStop(xenDriver *driver, virDomainObj *vm, virDomainShutoffReason reason);
void xenProcessStopped(xenDriver *driver, virDomainObj *vm, int detail);

/* Makes a new guest of the definition it runs with, hot-plugged devices and all. */
int xenProcessRestart(xenDriver *driver, virDomainObj *vm);

/* Asks the hypervisor how @vm is, and does what follows from that. */
void xenProcessReconcile(xenDriver *driver, virDomainObj *vm);
/* Who has asked already shows it; without a job, and only whether @vm is paused. */
void xenProcessFollowPause(xenDriver *driver, virDomainObj *vm, const SeraiDomainInfo *info);
/* The same, after the hypervisor was asked. */
void xenProcessAskForPause(xenDriver *driver, virDomainObj *vm);
/* The same of all domains, asked for one by one, when @flags choose domains by their state. */
void xenProcessFollowPauses(xenDriver *driver, unsigned int flags);

/* After the daemon has started: which of the domains we remember still run? */
void xenProcessReconnectAll(xenDriver *driver);
void xenProcessAutostartAll(xenDriver *driver);

/*
 * Looks up the volumes of pools, and drops what is not there and need not be (<source startupPolicy=>), with
 * an event; @restored when the guest comes from an image.  process-disk.c
 */
int xenDisksFind(xenDriver *driver, virDomainObj *vm, bool restored);

/* Gives a disk that has no alias the one that events name it by. */
void xenDiskNameAlias(virDomainDiskDef *disk);

/* Connects one NIC to what libvirt has for it, around attaching it.  process-net.c */
int xenNetAcquire(xenDriver *driver, virDomainObj *vm, virDomainNetDef *net);
void xenNetRelease(xenDriver *driver, virDomainObj *vm, virDomainNetDef *net);
int xenNetActivate(xenDriver *driver, virDomainObj *vm, virDomainNetDef *net);
void xenNetDeactivate(xenDriver *driver, virDomainObj *vm, virDomainNetDef *net);

/*
 * Takes PCI devices of the machine from dom0, each wholly or, at a failure, none, and gives them back.  Meet:
 * those of a domain that was running when the daemon started.  process-hostdev.c
 */
int xenHostdevsAcquire(xenDriver *driver, virDomainObj *vm, virDomainHostdevDef **hostdevs, size_t count);
void xenHostdevsRelease(xenDriver *driver, virDomainObj *vm, virDomainHostdevDef **hostdevs, size_t count);
void xenHostdevsMeet(xenDriver *driver, virDomainObj *vm);
/* Before a device goes back to dom0's driver that is no domain's; one that is stays as it is. */
void xenHostdevForget(xenDriver *driver, virPCIDevice *device);

/*
 * A MAC address is one running domain's; xenNetAcquire() takes it, an error names who has it.  Taken alone
 * for a domain that is met running.
 */
GHashTable *xenNetMacsNew(void);
int xenNetTakeMac(xenDriver *driver, virDomainObj *vm, virDomainNetDef *net);

/* What only the running domain knows: ptys, interface names, VNC ports, aliases. */
void xenProcessFillIn(xenDriver *driver, virDomainObj *vm);
