/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the daemon needs of the hypervisor, as a table, so that tests can be one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct xenstore_domain_interface;
struct xen;

enum xen_domain_state { XEN_DOMAIN_RUNS, XEN_DOMAIN_SHUT_DOWN, XEN_DOMAIN_GONE };

struct xen_ops {
    /* The ring of a domain; @gfn is where it is if its grant cannot be mapped. */
    int (*map)(struct xen *xen, uint16_t domid, uint64_t gfn, struct xenstore_domain_interface **ret_ring);
    void (*unmap)(struct xen *xen, uint16_t domid, struct xenstore_domain_interface *ring);
    /* A port of ours connected to the domain's; a positive number or -errno. */
    int (*bind)(struct xen *xen, uint16_t domid, uint32_t remote_port);
    void (*unbind)(struct xen *xen, uint32_t port);
    void (*notify)(struct xen *xen, uint32_t port);
    /* The next port with an event, ready for more; 0 if there is none. */
    uint32_t (*next_event)(struct xen *xen);
    /* The port on which the initial domain's kernel waits for us. */
    int (*initial_port)(struct xen *xen);
    /* Fills @ret_states for domains @first and up, at most @count; returns how many, or -errno. */
    int (*domain_states)(struct xen *xen, uint16_t first, unsigned int count, uint16_t *ret_domids,
                         enum xen_domain_state *ret_states);
};

struct xen {
    const struct xen_ops *ops;
    int fd;               /* readable while there are events */
    uint32_t domain_port; /* events here say that some domain changed its state */
};

/* The hypervisor we run on: 0 or -errno. */
int xen_open(struct xen **ret_xen);
