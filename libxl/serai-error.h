/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The reasons for a failure that a caller can act on.  The message is always a whole, translated sentence. */
#ifndef SERAI_ERROR_H
#define SERAI_ERROR_H

#include <glib-object.h>

G_BEGIN_DECLS

/**
 * SERAI_ERROR:
 *
 * The error domain of libserai.
 */
#define SERAI_ERROR (serai_error_quark())

/**
 * SeraiError:
 * @SERAI_ERROR_FAILED: none of the others; the message tells.
 * @SERAI_ERROR_NO_HYPERVISOR: this system does not run under a hypervisor that we can control.
 * @SERAI_ERROR_NO_STORE: the store does not answer.
 * @SERAI_ERROR_NO_DOMAIN: there is no such domain, or it is gone by now.
 * @SERAI_ERROR_EXISTS: a domain of that name or UUID exists already.
 * @SERAI_ERROR_INVALID_CONFIG: the description asks for what cannot be; nothing was changed.
 * @SERAI_ERROR_INVALID_STATE: the domain is not in a state in which this can be done.
 * @SERAI_ERROR_INVALID_KERNEL: the kernel, initrd or boot loader is not one that can be started.
 * @SERAI_ERROR_INVALID_IMAGE: the saved image is damaged, foreign or too new.
 * @SERAI_ERROR_NO_MEMORY: the host has too little free memory.
 * @SERAI_ERROR_NO_DEVICE: the domain has no such device.
 * @SERAI_ERROR_DEVICE_EXISTS: the domain has that device already.
 * @SERAI_ERROR_DEVICE_FAILED: a backend refused the device; the message has its reason.
 * @SERAI_ERROR_GUEST_REFUSED: the guest cannot or does not want to do this.
 * @SERAI_ERROR_TIMED_OUT: the other side did not answer in time.
 * @SERAI_ERROR_UNSUPPORTED: neither this library nor the hypervisor can do this.
 * @SERAI_ERROR_PERMISSION: we are not allowed to.
 * @SERAI_ERROR_IO: a file or a device could not be read or written.
 * @SERAI_ERROR_MODEL_ENDED: QEMU ended instead of starting; the log that the caller opened has the reason.
 *
 * Codes of %SERAI_ERROR.
 */
typedef enum {
    SERAI_ERROR_FAILED,
    SERAI_ERROR_NO_HYPERVISOR,
    SERAI_ERROR_NO_STORE,
    SERAI_ERROR_NO_DOMAIN,
    SERAI_ERROR_EXISTS,
    SERAI_ERROR_INVALID_CONFIG,
    SERAI_ERROR_INVALID_STATE,
    SERAI_ERROR_INVALID_KERNEL,
    SERAI_ERROR_INVALID_IMAGE,
    SERAI_ERROR_NO_MEMORY,
    SERAI_ERROR_NO_DEVICE,
    SERAI_ERROR_DEVICE_EXISTS,
    SERAI_ERROR_DEVICE_FAILED,
    SERAI_ERROR_GUEST_REFUSED,
    SERAI_ERROR_TIMED_OUT,
    SERAI_ERROR_UNSUPPORTED,
    SERAI_ERROR_PERMISSION,
    SERAI_ERROR_IO,
    SERAI_ERROR_MODEL_ENDED,
} SeraiError;

GQuark serai_error_quark(void);

G_END_DECLS

#endif
