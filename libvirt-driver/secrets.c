/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A passphrase goes from libvirt's secret driver to the library and is kept nowhere in between: a guest that
 * starts again asks again.
 */
#include "secrets.h"

#include "datatypes.h"
#include "viridentity.h"
#include "virsecret.h"
#include "virsecureerase.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

struct passphrase {
    uint8_t *bytes;
    size_t size;
};

static void
wipe(gpointer data)
{
    struct passphrase *passphrase = data;

    virSecureErase(passphrase->bytes, passphrase->size);
    g_free(passphrase->bytes);
    g_free(passphrase);
}

static int
askSecretDriver(virSecretLookupTypeDef *lookup, struct passphrase *passphrase)
{
    g_autoptr(virConnect) conn = virGetConnectSecret();

    if (!conn)
        return -1;
    if (!conn->secretDriver) {
        virReportError(VIR_ERR_NO_SUPPORT, "%s", _("libvirt runs without a driver for secrets"));
        return -1;
    }
    return virSecretGetSecretString(conn, lookup, VIR_SECRET_USAGE_TYPE_VOLUME, &passphrase->bytes,
                                    &passphrase->size);
}

/*
 * A private secret is told to libvirt's own parts only: the caller's identity with the daemon's token.  A
 * guest that restarts by itself has no caller.
 */
static int
askAsDaemon(virSecretLookupTypeDef *lookup, struct passphrase *passphrase)
{
    g_autoptr(virIdentity) caller = virIdentityGetCurrent();
    g_autoptr(virIdentity) trusted = caller ? virIdentityElevateCurrent() : virIdentityGetSystem();
    int ret = -1;

    if (trusted && (caller || virIdentitySetCurrent(trusted) == 0))
        ret = askSecretDriver(lookup, passphrase);
    virIdentitySetCurrent(caller);
    return ret;
}

int
xenSecretsFindDisk(const virDomainDiskDef *disk, SeraiDevice *device)
{
    struct passphrase *passphrase;

    if (!device->disk.encrypted)
        return 0;
    passphrase = g_new0(struct passphrase, 1);
    if (askAsDaemon(&disk->src->encryption->secrets[0]->seclookupdef, passphrase) < 0) {
        g_autofree char *reason = g_strdup(virGetLastErrorMessage());

        virReportError(VIR_ERR_INVALID_SECRET,
                       _("<disk> '%s': cannot get its passphrase, the secret '%s': %s"), disk->dst,
                       device->disk.passphrase_name, reason);
        g_free(passphrase);
        return -1;
    }
    device->disk.passphrase =
        g_bytes_new_with_free_func(passphrase->bytes, passphrase->size, wipe, passphrase);
    return 0;
}

int
xenSecretsFind(virDomainDef *def, SeraiConfig *config)
{
    size_t i;

    for (i = 0; i < config->devices->len; i++) {
        SeraiDevice *device = g_ptr_array_index(config->devices, i);

        if (device->kind == SERAI_DEVICE_DISK && device->disk.encrypted &&
            xenSecretsFindDisk(virDomainDiskByTarget(def, device->disk.target), device) < 0)
            return -1;
    }
    return 0;
}
