/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A domain as the driver knows it: private data, jobs, looking up, saving. */
#pragma once

#include "driver.h"
#include "virchrdev.h"

/* Hangs off virDomainObj; guarded by the domain's lock. */
typedef struct _xenDomainPrivate xenDomainPrivate;
struct _xenDomainPrivate {
    SeraiDomain *domain;       /* NULL while it does not run */
    GCancellable *cancellable; /* of the job that can be aborted; NULL when there is none */
    virChrdevs *devs;          /* open console streams */
    char *lockState;           /* what the lock manager wants back */
};

/* Progress of a job, inside virDomainJobData. */
typedef struct _xenJobProgress xenJobProgress;
struct _xenJobProgress {
    SeraiStage stage;
    unsigned long long done;
    unsigned long long total;
};

#define XEN_PRIVATE(vm) ((xenDomainPrivate *)(vm)->privateData)

virDomainXMLOption *xenDomainXMLOptionNew(xenDriver *driver);

/* The domain of @dom, locked and referenced; virDomainObjEndAPI() gives it back.  NULL with an error. */
virDomainObj *xenDomainObjFromDomain(virDomainPtr dom);

/*
 * virDomainObjListAdd(), once a domain of that UUID is not being started: until then it has no number, and
 * @def would take the place of what it is started with.
 */
virDomainObj *xenDomainAdd(xenDriver *driver, virDomainDef **def, unsigned int flags, virDomainDef **oldDef);

/*
 * A job that lasts and can be aborted.  Between begin and end the lock may be given up with
 * xenDomainJobWork() and taken again with xenDomainJobDone(); xenDomainJobProgress is for libserai.
 */
int xenDomainJobBegin(virDomainObj *vm, virDomainAsyncJob job, virDomainJobOperation operation,
                      unsigned int flags);
void xenDomainJobEnd(virDomainObj *vm, bool succeeded);
GCancellable *xenDomainJobWork(virDomainObj *vm);
void xenDomainJobDone(virDomainObj *vm, GCancellable *cancellable);
void xenDomainJobProgress(SeraiStage stage, guint64 done, guint64 total, gpointer vm);

/* What a job has done, as libvirt's parameters; job.c.  -1 with an error, and what was added stays. */
int xenJobFormatStats(const virDomainJobData *data, virTypedParameterPtr *params, int *nparams);

/* An error that names the domain unless it runs. */
int xenDomainCheckActive(virDomainObj *vm);
/* An error for the one domain that is not ours to change. */
int xenDomainCheckGuest(const virDomainObj *vm);

/* What VIR_DOMAIN_AFFECT_* mean for @vm now, with errors that name it. */
int xenDomainSettleImpact(virDomainObj *vm, unsigned int *flags);
int xenDomainGetDefs(virDomainObj *vm, unsigned int flags, virDomainDef **live, virDomainDef **persistent);
virDomainDef *xenDomainGetOneDef(virDomainObj *vm, unsigned int flags);
/* The same, and whether it is the live one. */
virDomainDef *xenDomainGetOneDefState(virDomainObj *vm, unsigned int flags, bool *live);

/* By target, or by source, which several disks may have if @allowAmbiguous.  NULL with an error. */
virDomainDiskDef *xenDomainFindDisk(virDomainDef *def, const char *path, bool allowAmbiguous);

/* The persistent or the live definition that @flags mean, changed by the caller and then written. */
int xenDomainSavePersistent(xenDriver *driver, virDomainObj *vm, virDomainDef *def);
void xenDomainSaveStatus(xenDriver *driver, virDomainObj *vm);

/* State, event and the time of it, said once. */
void xenDomainQueue(xenDriver *driver, virObjectEvent *event);
void xenDomainQueueLifecycle(xenDriver *driver, virDomainObj *vm, int type, int detail);
