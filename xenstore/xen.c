/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the handles of libxenevtchn, libxengnttab, libxenforeignmemory and libxencall.
 *
 * Everything here is taken back by the kernel when the process ends, and a domain's port that lost its
 * peer waits to be bound again, so a daemon that comes after this one does just the same again.
 */
#define __XEN_TOOLS__ 1

#include "xen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/sysctl.h>
#include <xen/sys/xenbus_dev.h>
#include <xencall.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xengnttab.h>

_Static_assert(GNTTAB_RESERVED_XENSTORE == 1, "grant_table.h: entry 1 of every domain is its store ring");

#define PAGE           4096
#define BATCH          256
#define BACKEND_DEVICE "/dev/xen/xenbus_backend"

struct real_xen {
    struct xen base;
    xenevtchn_handle *evtchn;
    xengnttab_handle *gnttab;
    xenforeignmemory_handle *foreign;
    xencall_handle *call;
    uint8_t foreign_map[65536 / 8]; /* domains whose ring came by foreign map */
};

static struct real_xen *
real(struct xen *xen)
{
    return (struct real_xen *)xen;
}

/* The initial domain's ring is a page of its kernel, which hands it out through a device. */
static int
map_initial(struct xenstore_domain_interface **ret_ring)
{
    int fd = open(BACKEND_DEVICE, O_RDWR | O_CLOEXEC);
    void *page;
    int rc;

    if (fd < 0)
        fd = open("/proc/xen/xsd_kva", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    rc = page == MAP_FAILED ? -errno : 0;
    close(fd);
    if (!rc)
        *ret_ring = page;
    return rc;
}

static int
real_map(struct xen *xen, uint16_t domid, uint64_t gfn, struct xenstore_domain_interface **ret_ring)
{
    xen_pfn_t frame = gfn;
    void *page;

    if (domid == 0)
        return map_initial(ret_ring);
    real(xen)->foreign_map[domid / 8] &= ~(1 << domid % 8);
    page =
        xengnttab_map_grant_ref(real(xen)->gnttab, domid, GNTTAB_RESERVED_XENSTORE, PROT_READ | PROT_WRITE);
    if (!page && real(xen)->foreign) {
        page = xenforeignmemory_map(real(xen)->foreign, domid, PROT_READ | PROT_WRITE, 1, &frame, NULL);
        if (page)
            real(xen)->foreign_map[domid / 8] |= 1 << domid % 8;
    }
    if (!page)
        return errno ? -errno : -EINVAL;
    *ret_ring = page;
    return 0;
}

static void
real_unmap(struct xen *xen, uint16_t domid, struct xenstore_domain_interface *ring)
{
    if (domid == 0)
        munmap(ring, PAGE);
    else if (real(xen)->foreign_map[domid / 8] & (1 << domid % 8))
        xenforeignmemory_unmap(real(xen)->foreign, ring, 1);
    else
        xengnttab_unmap(real(xen)->gnttab, ring, 1);
}

static int
real_bind(struct xen *xen, uint16_t domid, uint32_t remote_port)
{
    int port = xenevtchn_bind_interdomain(real(xen)->evtchn, domid, remote_port);

    return port < 0 ? -errno : port;
}

static void
real_unbind(struct xen *xen, uint32_t port)
{
    xenevtchn_unbind(real(xen)->evtchn, port);
}

static void
real_notify(struct xen *xen, uint32_t port)
{
    xenevtchn_notify(real(xen)->evtchn, port);
}

static uint32_t
real_next_event(struct xen *xen)
{
    int port = xenevtchn_pending(real(xen)->evtchn);

    if (port < 0)
        return 0;
    xenevtchn_unmask(real(xen)->evtchn, port);
    return port;
}

static int
real_initial_port(struct xen *xen)
{
    char text[20] = "";
    int fd = open(BACKEND_DEVICE, O_RDWR | O_CLOEXEC);
    int port = -1;

    (void)xen;
    if (fd >= 0) {
        port = ioctl(fd, IOCTL_XENBUS_BACKEND_EVTCHN, 0);
        close(fd);
    }
    if (port > 0)
        return port;
    fd = open("/proc/xen/xsd_port", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (read(fd, text, sizeof(text) - 1) > 0)
        port = atoi(text);
    close(fd);
    return port > 0 ? port : -ENODEV;
}

static int
real_domain_states(struct xen *xen, uint16_t first, unsigned int count, uint16_t *ret_domids,
                   enum xen_domain_state *ret_states)
{
    xencall_handle *call = real(xen)->call;
    struct xen_sysctl *sysctl = xencall_alloc_buffer(call, sizeof(*sysctl));
    struct xen_domctl_getdomaininfo *infos;
    unsigned int i;
    int rc;

    if (count > BATCH)
        count = BATCH;
    infos = xencall_alloc_buffer(call, count * sizeof(*infos));
    rc = sysctl && infos ? 0 : -ENOMEM;
    if (!rc) {
        memset(sysctl, 0, sizeof(*sysctl));
        sysctl->cmd = XEN_SYSCTL_getdomaininfolist;
        sysctl->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
        sysctl->u.getdomaininfolist.first_domain = first;
        sysctl->u.getdomaininfolist.max_domains = count;
        set_xen_guest_handle(sysctl->u.getdomaininfolist.buffer, infos);
        if (xencall1(call, __HYPERVISOR_sysctl, (uintptr_t)sysctl) < 0)
            rc = -errno;
    }
    if (!rc) {
        rc = sysctl->u.getdomaininfolist.num_domains;
        for (i = 0; i < (unsigned int)rc && i < count; i++) {
            uint32_t flags = infos[i].flags;

            ret_domids[i] = infos[i].domain;
            ret_states[i] = flags & XEN_DOMINF_dying      ? XEN_DOMAIN_GONE
                            : flags & XEN_DOMINF_shutdown ? XEN_DOMAIN_SHUT_DOWN
                                                          : XEN_DOMAIN_RUNS;
        }
    }
    if (infos)
        xencall_free_buffer(call, infos);
    if (sysctl)
        xencall_free_buffer(call, sysctl);
    return rc;
}

static const struct xen_ops real_ops = {
    .map = real_map,
    .unmap = real_unmap,
    .bind = real_bind,
    .unbind = real_unbind,
    .notify = real_notify,
    .next_event = real_next_event,
    .initial_port = real_initial_port,
    .domain_states = real_domain_states,
};

int
xen_open(struct xen **ret_xen)
{
    static struct real_xen xen;
    int port, rc;

    xen.base.ops = &real_ops;
    xen.evtchn = xenevtchn_open(NULL, 0);
    if (!xen.evtchn)
        return -errno;
    xen.base.fd = xenevtchn_fd(xen.evtchn);
    xen.gnttab = xengnttab_open(NULL, 0);
    xen.foreign = xenforeignmemory_open(NULL, 0);
    xen.call = xencall_open(NULL, 0);
    if ((!xen.gnttab && !xen.foreign) || !xen.call) {
        rc = errno ? -errno : -ENODEV;
        goto close_evtchn;
    }
    port = xenevtchn_bind_virq(xen.evtchn, VIRQ_DOM_EXC);
    if (port < 0 || fcntl(xen.base.fd, F_SETFL, fcntl(xen.base.fd, F_GETFL) | O_NONBLOCK) < 0) {
        rc = -errno;
        goto close_evtchn;
    }
    xen.base.domain_port = port;
    *ret_xen = &xen.base;
    return 0;

close_evtchn:
    if (xen.call)
        xencall_close(xen.call);
    if (xen.foreign)
        xenforeignmemory_close(xen.foreign);
    if (xen.gnttab)
        xengnttab_close(xen.gnttab);
    xenevtchn_close(xen.evtchn);
    return rc;
}
