/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finds a domain's disks before it starts: volumes of pools, and what to do without one that is missing. */
#include "process.h"

#include "domain_event.h"
#include "virfile.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.process-disk");

/* <source startupPolicy=>.  An image knows its guest's disks: of those only media may be missed. */
static bool
mayBeMissed(const virDomainDiskDef *disk, bool restored)
{
    switch (disk->startupPolicy) {
    case VIR_DOMAIN_STARTUP_POLICY_OPTIONAL:
        return !restored || disk->device == VIR_DOMAIN_DISK_DEVICE_CDROM;
    case VIR_DOMAIN_STARTUP_POLICY_REQUISITE:
        return restored;
    default:
        return false;
    }
}

static bool
isThere(const virDomainDiskDef *disk)
{
    return virStorageSourceIsEmpty(disk->src) || !virStorageSourceIsLocalStorage(disk->src) ||
           virFileExists(virDomainDiskGetSource(disk));
}

void
xenDiskNameAlias(virDomainDiskDef *disk)
{
    if (!disk->info.alias)
        disk->info.alias = g_strdup_printf("disk-%s", disk->dst);
}

/* A CD-ROM loses its medium, a disk goes; as in QEMU's driver the policy was for what is missed. */
static void
doWithout(xenDriver *driver, virDomainObj *vm, size_t i)
{
    virDomainDiskDef *disk = vm->def->disks[i];
    bool isMedium = disk->device == VIR_DOMAIN_DISK_DEVICE_CDROM;
    int reason = isMedium ? VIR_DOMAIN_EVENT_DISK_CHANGE_MISSING_ON_START
                          : VIR_DOMAIN_EVENT_DISK_DROP_MISSING_ON_START;

    xenDiskNameAlias(disk);
    VIR_WARN("domain '%s' starts without '%s' in '%s'", vm->def->name, NULLSTR(virDomainDiskGetSource(disk)),
             disk->dst);
    xenDomainQueue(driver, virDomainEventDiskChangeNewFromObj(vm, virDomainDiskGetSource(disk), NULL,
                                                              disk->info.alias, reason));
    if (isMedium) {
        virDomainDiskEmptySource(disk);
        disk->startupPolicy = VIR_DOMAIN_STARTUP_POLICY_DEFAULT;
    } else {
        virDomainDiskDefFree(virDomainDiskRemove(vm->def, i));
    }
}

int
xenDisksFind(xenDriver *driver, virDomainObj *vm, bool restored)
{
    size_t i;

    for (i = vm->def->ndisks; i-- > 0;) {
        virDomainDiskDef *disk = vm->def->disks[i];
        bool found = virDomainDiskTranslateSourcePool(disk) == 0;

        if (found && isThere(disk))
            continue;
        if (mayBeMissed(disk, restored)) {
            virResetLastError();
            doWithout(driver, vm, i);
        } else if (!found) {
            return -1;
        }
    }
    return 0;
}
