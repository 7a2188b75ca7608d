/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From the library's reason to libvirt's error, in one place.
 *
 * The code is what a client branches on; the text is the library's own sentence after ours, so that the
 * reason reaches the terminal from where it was born.
 */
#include "error.h"

#include <gio/gio.h>

#define VIR_FROM_THIS VIR_FROM_LIBXL

static virErrorNumber
codeOf(const GError *error)
{
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
        return VIR_ERR_OPERATION_ABORTED;
    if (error->domain != SERAI_ERROR)
        return VIR_ERR_OPERATION_FAILED;

    switch ((SeraiError)error->code) {
    case SERAI_ERROR_NO_HYPERVISOR:
    case SERAI_ERROR_NO_STORE:
        return VIR_ERR_NO_CONNECT;
    case SERAI_ERROR_NO_DOMAIN:
        return VIR_ERR_OPERATION_INVALID;
    case SERAI_ERROR_EXISTS:
        return VIR_ERR_DOM_EXIST;
    case SERAI_ERROR_INVALID_CONFIG:
    case SERAI_ERROR_INVALID_KERNEL:
        return VIR_ERR_CONFIG_UNSUPPORTED;
    case SERAI_ERROR_INVALID_STATE:
        return VIR_ERR_OPERATION_INVALID;
    case SERAI_ERROR_NO_MEMORY:
        return VIR_ERR_NO_MEMORY;
    case SERAI_ERROR_NO_DEVICE:
        return VIR_ERR_DEVICE_MISSING;
    case SERAI_ERROR_TIMED_OUT:
        return VIR_ERR_OPERATION_TIMEOUT;
    case SERAI_ERROR_UNSUPPORTED:
        return VIR_ERR_OPERATION_UNSUPPORTED;
    case SERAI_ERROR_PERMISSION:
        return VIR_ERR_OPERATION_DENIED;
    case SERAI_ERROR_FAILED:
    case SERAI_ERROR_INVALID_IMAGE:
    case SERAI_ERROR_DEVICE_EXISTS:
    case SERAI_ERROR_DEVICE_FAILED:
    case SERAI_ERROR_GUEST_REFUSED:
    case SERAI_ERROR_IO:
    case SERAI_ERROR_MODEL_ENDED:
    default:
        return VIR_ERR_OPERATION_FAILED;
    }
}

void
xenReportError(GError **error, const char *doing, ...)
{
    g_autofree char *text = NULL;
    va_list arguments;

    va_start(arguments, doing);
    text = g_strdup_vprintf(doing, arguments);
    va_end(arguments);

    if (!*error) {
        virReportError(VIR_ERR_INTERNAL_ERROR, _("%s: the library gave no reason"), text);
        return;
    }

    /*
     * libvirt puts a fixed text before some codes ("Out of memory") and drops ours; those are reported as
     * failed operations, whose text is ours alone.
     */
    if (codeOf(*error) == VIR_ERR_NO_MEMORY)
        virReportError(VIR_ERR_OPERATION_FAILED, "%s: %s", text, (*error)->message);
    else
        virReportError(codeOf(*error), "%s: %s", text, (*error)->message);
    g_clear_error(error);
}
