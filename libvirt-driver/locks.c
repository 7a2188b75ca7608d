/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * virtlockd knows who holds a lock by the process of the domain, and a lock of process 1 is given back by
 * whoever says that he is process 1.  A Xen domain has none: without a number of its own, a start that is
 * refused a disk would give back the lock of the domain that has it.  So each domain gets a number above
 * those of processes, made of its UUID, for as long as the lock manager is spoken to; it is the same after a
 * restart of the daemon.  Sanlock takes real processes only, and is given what it always was: none.
 *
 * A paused domain keeps its locks: its memory still holds what it is about to write.  The caller has the
 * domain's lock and a job.
 */
#include "locks.h"

#include "locking/domain_lock.h"
#include "virhashcode.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.locks");

#define XEN_LOCK_URI "xen:///system"

/* Linux has processes up to 2^22. */
#define XEN_LOCK_OWNERS 0x40000000

static pid_t
ownerOf(const unsigned char *uuid)
{
    return XEN_LOCK_OWNERS | (virHashCodeGen(uuid, VIR_UUID_BUFLEN, 0) & (XEN_LOCK_OWNERS - 1));
}

static void
enter(xenDriver *driver, virDomainObj *vm)
{
    if (STREQ_NULLABLE(driver->settings->lockManager, "lockd"))
        vm->pid = ownerOf(vm->def->uuid);
}

static int
leave(virDomainObj *vm, int result)
{
    vm->pid = 0;
    return result;
}

int
xenLocksAcquire(xenDriver *driver, virDomainObj *vm)
{
    virErrorPtr error;

    g_clear_pointer(&XEN_PRIVATE(vm)->lockState, g_free);
    enter(driver, vm);
    if (virDomainLockProcessStart(driver->locks, XEN_LOCK_URI, vm, true, NULL) == 0 &&
        virDomainLockProcessResume(driver->locks, XEN_LOCK_URI, vm, NULL) == 0)
        return leave(vm, 0);

    /* Those before the one that was refused. */
    virErrorPreserveLast(&error);
    ignore_value(virDomainLockProcessPause(driver->locks, vm, &XEN_PRIVATE(vm)->lockState));
    virErrorRestore(&error);
    return leave(vm, -1);
}

void
xenLocksRelease(xenDriver *driver, virDomainObj *vm)
{
    enter(driver, vm);
    if (virDomainLockProcessPause(driver->locks, vm, &XEN_PRIVATE(vm)->lockState) < 0)
        VIR_WARN("cannot release the locks of domain '%s': %s", vm->def->name, virGetLastErrorMessage());
    leave(vm, 0);
}

int
xenLocksAcquireDisk(xenDriver *driver, virDomainObj *vm, const virDomainDiskDef *disk)
{
    enter(driver, vm);
    return leave(vm, virDomainLockImageAttach(driver->locks, XEN_LOCK_URI, vm, disk->src));
}

void
xenLocksReleaseDisk(xenDriver *driver, virDomainObj *vm, const virDomainDiskDef *disk)
{
    enter(driver, vm);
    if (virDomainLockImageDetach(driver->locks, vm, disk->src) < 0)
        VIR_WARN("cannot release the lock of disk '%s' of domain '%s': %s", disk->dst, vm->def->name,
                 virGetLastErrorMessage());
    leave(vm, 0);
}

int
xenLocksAcquireLease(xenDriver *driver, virDomainObj *vm, virDomainLeaseDef *lease)
{
    enter(driver, vm);
    return leave(vm, virDomainLockLeaseAttach(driver->locks, XEN_LOCK_URI, vm, lease));
}

int
xenLocksReleaseLease(xenDriver *driver, virDomainObj *vm, virDomainLeaseDef *lease)
{
    enter(driver, vm);
    return leave(vm, virDomainLockLeaseDetach(driver->locks, vm, lease));
}
