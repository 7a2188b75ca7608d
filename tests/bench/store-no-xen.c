/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A preloaded library that stands in for the hypervisor, so that store daemons run on the build machine for
 * comparison: an initial domain whose ring is never used, any other domain that is asked for, and no events.
 * Their work on sockets is untouched.
 */
#define _GNU_SOURCE
#define __XEN_TOOLS__ 1
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xen/sysctl.h>
#include <xen/xen.h>

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

/* One page for the rings of all domains; it is shared memory, so that it counts as no daemon's own. */
static void *
any_ring(void)
{
    static int fd = -1;
    void *page;

    if (fd < 0) {
        fd = memfd_create("ring", MFD_CLOEXEC);
        if (fd < 0 || ftruncate(fd, 4096))
            return NULL;
    }
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return page == MAP_FAILED ? NULL : page;
}

void *
xengnttab_map_grant_ref(void *gnttab, uint32_t domid, uint32_t ref, int protection)
{
    (void)gnttab;
    (void)domid;
    (void)ref;
    (void)protection;
    return any_ring();
}

void *
xc_map_foreign_range(void *interface, uint32_t domid, int size, int protection, unsigned long frame)
{
    (void)size;
    return xengnttab_map_grant_ref(interface, domid, frame, protection);
}

/* Any domain that is asked for runs: its number in a structure that is zero otherwise. */
int
xc_domain_getinfo(void *interface, uint32_t first, unsigned int count, void *info)
{
    (void)interface;
    if (!count || first > 4000)
        return 0;
    memset(info, 0, 64);
    memcpy(info, &first, sizeof(first));
    return 1;
}

int
xc_domain_getinfolist(void *interface, uint32_t first, unsigned int count, xen_domctl_getdomaininfo_t *infos)
{
    unsigned int i;

    (void)interface;
    for (i = 0; i < count && first + i <= 4000; i++) {
        memset(&infos[i], 0, sizeof(infos[i]));
        infos[i].domain = first + i;
    }
    return i;
}

void *
xenforeignmemory_open(void *logger, unsigned int flags)
{
    return xenevtchn_open(logger, flags);
}

void *
xencall_open(void *logger, unsigned int flags)
{
    return xenevtchn_open(logger, flags);
}

void *
xencall_alloc_buffer(void *call, size_t size)
{
    (void)call;
    return malloc(size);
}

void
xencall_free_buffer(void *call, void *buffer)
{
    (void)call;
    free(buffer);
}

int
xencall1(void *call, unsigned int op, uint64_t argument)
{
    struct xen_sysctl *sysctl = (struct xen_sysctl *)(uintptr_t)argument;

    if (op != __HYPERVISOR_sysctl || sysctl->cmd != XEN_SYSCTL_getdomaininfolist) {
        errno = ENOSYS;
        return -1;
    }
    sysctl->u.getdomaininfolist.num_domains =
        xc_domain_getinfolist(call, sysctl->u.getdomaininfolist.first_domain,
                              sysctl->u.getdomaininfolist.max_domains, sysctl->u.getdomaininfolist.buffer.p);
    return 0;
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
