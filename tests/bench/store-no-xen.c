/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A preloaded library that stands in for the hypervisor, so that the store daemons of Debian's Xen run
 * on the build machine for comparison: an initial domain whose ring is never used, and no events.
 * Their work on sockets is untouched.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

static char handle[64];

void *
xenevtchn_open(void *logger, unsigned int flags)
{
    (void)logger;
    (void)flags;
    return handle;
}

int
xenevtchn_close(void *evtchn)
{
    (void)evtchn;
    return 0;
}

int
xenevtchn_fd(void *evtchn)
{
    static int fd = -1;

    (void)evtchn;
    if (fd < 0)
        fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd;
}

int
xenevtchn_notify(void *evtchn, uint32_t port)
{
    (void)evtchn;
    (void)port;
    return 0;
}

int
xenevtchn_bind_interdomain(void *evtchn, uint32_t domid, uint32_t port)
{
    (void)evtchn;
    (void)domid;
    return port + 1;
}

int
xenevtchn_bind_virq(void *evtchn, unsigned int virq)
{
    (void)evtchn;
    (void)virq;
    return 99;
}

int
xenevtchn_unbind(void *evtchn, uint32_t port)
{
    return xenevtchn_notify(evtchn, port);
}

int
xenevtchn_unmask(void *evtchn, uint32_t port)
{
    return xenevtchn_notify(evtchn, port);
}

int
xenevtchn_pending(void *evtchn)
{
    (void)evtchn;
    errno = EAGAIN;
    return -1;
}

void *
xengnttab_open(void *logger, unsigned int flags)
{
    return xenevtchn_open(logger, flags);
}

void *
xc_interface_open(void *logger, void *other, unsigned int flags)
{
    (void)other;
    return xenevtchn_open(logger, flags);
}

int
xc_interface_close(void *interface)
{
    (void)interface;
    return 0;
}

/* No domain but the initial one, whose number the caller finds in the zeroed structure. */
int
xc_domain_getinfo(void *interface, uint32_t first, unsigned int count, void *info)
{
    (void)interface;
    memset(info, 0, 64);
    return first == 0 && count ? 1 : 0;
}

/* oxenstored insists on more descriptors than a container may give. */
int
setrlimit(int resource, const void *limit)
{
    (void)resource;
    (void)limit;
    return 0;
}

int
setrlimit64(int resource, const void *limit)
{
    return setrlimit(resource, limit);
}

/* The kernel's two files, as memory. */
static int
open_fake(const char *path)
{
    int fd;

    if (!strstr(path, "xsd_port") && !strstr(path, "xsd_kva"))
        return -1;
    fd = memfd_create("fake", 0);
    if (strstr(path, "xsd_port")) {
        if (write(fd, "1", 1) != 1)
            return -1;
        lseek(fd, 0, SEEK_SET);
    } else if (ftruncate(fd, 4096)) {
        return -1;
    }
    return fd;
}

static int
open_real(const char *name, const char *path, int flags, int mode)
{
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, name);

    return real(path, flags, mode);
}

int
open(const char *path, int flags, ...)
{
    int fd = open_fake(path);
    va_list arguments;
    int mode;

    va_start(arguments, flags);
    mode = va_arg(arguments, int);
    va_end(arguments);
    return fd >= 0 ? fd : open_real("open", path, flags, mode);
}

int
open64(const char *path, int flags, ...)
{
    int fd = open_fake(path);
    va_list arguments;
    int mode;

    va_start(arguments, flags);
    mode = va_arg(arguments, int);
    va_end(arguments);
    return fd >= 0 ? fd : open_real("open64", path, flags, mode);
}
