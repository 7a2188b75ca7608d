/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-xen.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

struct fake_domain {
    char page[4096] __attribute__((aligned(4096)));
    _Atomic unsigned int pending; /* for the daemon */
    _Atomic unsigned int signals; /* for the domain */
    enum xen_domain_state state;
};

static struct fake_domain *domains;
static int events = -1;

struct fake {
    struct xen xen;
    bool mapped[FAKE_DOMAINS];
    bool bound[FAKE_DOMAINS];
};

static int
fake_map(struct xen *xen, uint16_t domid, uint64_t gfn, struct xenstore_domain_interface **ret_ring)
{
    struct fake *fake = (struct fake *)xen;

    (void)gfn;
    if (domid >= FAKE_DOMAINS || fake->mapped[domid] || domains[domid].state == XEN_DOMAIN_GONE)
        return -EINVAL;
    fake->mapped[domid] = true;
    *ret_ring = fake_ring(domid);
    return 0;
}

static void
fake_unmap(struct xen *xen, uint16_t domid, struct xenstore_domain_interface *ring)
{
    struct fake *fake = (struct fake *)xen;

    (void)ring;
    fake->mapped[domid] = false;
}

/* Our port of a domain is its number plus one; a new connection begins with an event, as in Xen. */
static int
fake_bind(struct xen *xen, uint16_t domid, uint32_t remote_port)
{
    struct fake *fake = (struct fake *)xen;

    if (domid >= FAKE_DOMAINS || fake->bound[domid] || remote_port != 10)
        return -EINVAL;
    fake->bound[domid] = true;
    fake_kick(domid);
    return domid + 1;
}

static void
fake_unbind(struct xen *xen, uint32_t port)
{
    ((struct fake *)xen)->bound[port - 1] = false;
}

static void
fake_notify(struct xen *xen, uint32_t port)
{
    (void)xen;
    domains[port - 1].signals++;
}

static uint32_t
fake_next_event(struct xen *xen)
{
    uint64_t count;
    uint32_t i;

    if (read(xen->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        return 0;
    for (i = 0; i < FAKE_DOMAINS; i++) {
        if (atomic_exchange(&domains[i].pending, 0))
            return i + 1;
    }
    return 0;
}

static int
fake_initial_port(struct xen *xen)
{
    (void)xen;
    return 10;
}

static int
fake_domain_states(struct xen *xen, uint16_t first, unsigned int count, uint16_t *ret_domids,
                   enum xen_domain_state *ret_states)
{
    unsigned int found = 0;
    uint32_t i;

    (void)xen;
    for (i = first; i < FAKE_DOMAINS && found < count; i++) {
        if (domains[i].state == XEN_DOMAIN_GONE)
            continue;
        ret_domids[found] = i;
        ret_states[found++] = domains[i].state;
    }
    return found;
}

static const struct xen_ops fake_ops = {
    .map = fake_map,
    .unmap = fake_unmap,
    .bind = fake_bind,
    .unbind = fake_unbind,
    .notify = fake_notify,
    .next_event = fake_next_event,
    .initial_port = fake_initial_port,
    .domain_states = fake_domain_states,
};

void
fake_xen_init(void)
{
    domains = mmap(NULL, FAKE_DOMAINS * sizeof(*domains), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                   -1, 0);
    events = eventfd(0, EFD_NONBLOCK);
}

struct xen *
fake_xen_open(void)
{
    static struct fake fake;

    memset(&fake, 0, sizeof(fake));
    fake.xen = (struct xen){.ops = &fake_ops, .fd = events, .domain_port = 1000};
    return &fake.xen;
}

struct xenstore_domain_interface *
fake_ring(uint16_t domid)
{
    return (struct xenstore_domain_interface *)domains[domid].page;
}

void
fake_set_state(uint16_t domid, enum xen_domain_state state)
{
    domains[domid].state = state;
}

void
fake_kick(uint16_t domid)
{
    uint64_t one = 1;

    domains[domid].pending = 1;
    if (write(events, &one, sizeof(one)) < 0)
        return;
}

unsigned int
fake_signals(uint16_t domid)
{
    return domains[domid].signals;
}

size_t
fake_write(uint16_t domid, const void *data, size_t length)
{
    struct xenstore_domain_interface *ring = fake_ring(domid);
    volatile uint32_t *cons = &ring->req_cons, *prod = &ring->req_prod;
    const char *byte = data;
    uint32_t before = *prod;
    size_t done = 0;

    while (done < length && *prod - *cons < XENSTORE_RING_SIZE) {
        ring->req[MASK_XENSTORE_IDX(*prod)] = byte[done++];
        atomic_thread_fence(memory_order_release);
        *prod = *prod + 1;
    }
    atomic_thread_fence(memory_order_seq_cst);
    if (done && *cons - before < XENSTORE_RING_SIZE + 1)
        fake_kick(domid);
    return done;
}

size_t
fake_read(uint16_t domid, void *data, size_t length)
{
    struct xenstore_domain_interface *ring = fake_ring(domid);
    volatile uint32_t *cons = &ring->rsp_cons, *prod = &ring->rsp_prod;
    uint32_t before = *cons;
    char *byte = data;
    size_t done = 0;

    while (done < length && *prod != *cons) {
        atomic_thread_fence(memory_order_acquire);
        byte[done++] = ring->rsp[MASK_XENSTORE_IDX(*cons)];
        *cons = *cons + 1;
    }
    atomic_thread_fence(memory_order_seq_cst);
    if (done && *prod - before >= XENSTORE_RING_SIZE)
        fake_kick(domid);
    return done;
}
