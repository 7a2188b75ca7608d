/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Passphrases of encrypted disks, as libvirt's secrets have them. */
#pragma once

#include "compat.h"

#include <serai.h>

/*
 * Gives @device, which xenConfDisk() made of @disk, its passphrase; -1 with an error that names the disk and
 * the secret.  Nothing is done for a disk that is not encrypted.  The passphrase is asked for each time and
 * wiped with the last copy of @device.
 */
int xenSecretsFindDisk(const virDomainDiskDef *disk, SeraiDevice *device);

/* That for all disks of a description that xenConfBuild() made of @def. */
int xenSecretsFind(virDomainDef *def, SeraiConfig *config);
