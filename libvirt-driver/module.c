/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the shim looks up in the build for one libvirt release, and nothing more.
 */
#include "driver.h"

#include <libintl.h>

#define VIR_FROM_THIS VIR_FROM_LIBXL

int libxlRegister(void);
int xenRegister(void);

/* The daemon calls the module by its file name. */
G_MODULE_EXPORT int
libxlRegister(void)
{
    bindtextdomain(PACKAGE, SERAI_LOCALEDIR);
    bind_textdomain_codeset(PACKAGE, "UTF-8");
    return xenDriverRegister();
}

/* A client that embeds the driver calls it by the scheme of its URI. */
G_MODULE_EXPORT int
xenRegister(void)
{
    return libxlRegister();
}
