/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The name of the error domain; its codes are in serai-error.h. */
#include "private/private.h"

/* Written out, as the formatter takes the name in G_DEFINE_QUARK() for a subtraction. */
GQuark
serai_error_quark(void)
{
    return g_quark_from_static_string("serai-error-quark");
}
