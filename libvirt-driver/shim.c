/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The file the daemon opens.  It needs public symbols only, so that dlopen() never fails, whatever
 * libvirt is running: a driver module that cannot be opened keeps the whole daemon, with every other
 * hypervisor on the host, from starting.
 *
 * The driver itself uses libvirt's private symbols and is built once for each libvirt release.  The
 * shim opens the build that matches the running release, and registers nothing when there is none.
 */
#include <dlfcn.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>

#define DIRECTORY_VARIABLE "SERAI_LIBVIRT_DRIVER_DIR"

int libxlRegister(void);
int xenRegister(void);

/* One line, to where the daemon's own early messages go. */
static void
step_aside(const char *why, const char *detail)
{
    fprintf(stderr, "serai: the Xen driver is not available: %s%s%s\n", why, detail ? ": " : "",
            detail ? detail : "");
}

static int
register_driver(const char *symbol)
{
    const char *directory = getenv(DIRECTORY_VARIABLE);
    unsigned long version;
    char path[4096];
    int (*entry)(void);
    void *module;
    int length;

    if (virGetVersion(&version, NULL, NULL) < 0) {
        step_aside("libvirt does not tell its version", NULL);
        return 0;
    }

    length = snprintf(path, sizeof(path), "%s/libvirt-%lu.%lu.%lu.so",
                      directory && directory[0] == '/' ? directory : SERAI_MODULE_DIR, version / 1000000,
                      version / 1000 % 1000, version % 1000);
    if (length < 0 || (size_t)length >= sizeof(path)) {
        step_aside("the name of its directory is too long", NULL);
        return 0;
    }

    /* The driver leaves threads and callbacks behind, so it is never unloaded. */
    module = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!module) {
        step_aside("no build of it fits the running libvirt", dlerror());
        return 0;
    }

    /* An object pointer and a function pointer are the same on every system that has dlsym(). */
    *(void **)&entry = dlsym(module, symbol);
    if (!entry) {
        step_aside("its module has no entry point", dlerror());
        return 0;
    }

    return entry();
}

/* libvirtd and virtxend call the module by its file name: libvirt_driver_libxl.so. */
__attribute__((visibility("default"))) int
libxlRegister(void)
{
    return register_driver("libxlRegister");
}

/* A client that opens xen:///embed looks for the scheme of the URI: libvirt_driver_xen.so. */
__attribute__((visibility("default"))) int
xenRegister(void)
{
    return register_driver("xenRegister");
}
