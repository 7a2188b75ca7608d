/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Event channels: ports are found, bound and closed; a domain's channels begin and end.
 * The model, the locks and the races are at the top of evtchn.c.
 */
#include "domain/evtchn-private.h"
#include "base/log.h"
#include "domain/pirq.h"
#include "domain/sched.h"
#include "mm/frame-alloc.h"
#include "mm/heap.h"

/* Ports looked at before a long operation lets others run. */
#define CLOSE_BUDGET 512u

static spinlock_t virq_handler_lock = SPINLOCK_INIT;
static struct domain *virq_handlers[NR_VIRQS]; /* each with a reference; NULL: the hardware domain */

bool
virq_is_global(u32 virq)
{
    return virq != VIRQ_TIMER && virq != VIRQ_DEBUG && virq != VIRQ_XENOPROF && virq != VIRQ_XENPMU;
}

/* --- ports; evtchn_domain.lock is held --- */

static int
add_bucket(struct domain *d, struct evtchn_domain *ed)
{
    struct evtchn *bucket = page_alloc_hv();

    if (!bucket)
        return -ENOMEM;
    for (unsigned i = 0; i < BUCKET_SIZE; i++)
        bucket[i].priority = EVTCHN_FIFO_PRIORITY_DEFAULT;
    ed->buckets[ed->ports >> BUCKET_SHIFT] = bucket;
    atomic_set_release(&ed->ports, ed->ports + BUCKET_SIZE);
    (void)d;
    return 0;
}

/*
 * A port that nobody has and that is in no queue of the guest's; its channel is FREE and stays so until
 * port_take().
 */
static int
port_find(struct domain *d, u32 *ret_port)
{
    struct evtchn_domain *ed = d->evtchn;
    u32 limit = MIN(ed->port_max, evtchn_port_limit(ed) - 1);

    if (domain_is_dying(d))
        return -EINVAL;
    for (u32 port = MAX(ed->free_hint, 1u); port <= limit; port++) {
        if (port >= ed->ports && add_bucket(d, ed))
            return -ENOMEM;
        if (evtchn_at(ed, port)->state == EVTCHN_FREE && !(ed->fifo && fifo_is_linked(ed->fifo, port))) {
            *ret_port = port;
            return 0;
        }
    }
    return -ENOSPC;
}

/* The port becomes @state.  Its channel is locked, and @chn's other fields are set. */
static void
port_take(struct evtchn_domain *ed, struct evtchn *chn, u32 port, enum evtchn_state state, u32 vcpu)
{
    chn->vcpu = vcpu;
    chn->priority = EVTCHN_FIFO_PRIORITY_DEFAULT;
    chn->state = state;
    ed->active++;
    /* Ports skipped because they were linked are looked at again when something is closed. */
    if (port == MAX(ed->free_hint, 1u))
        ed->free_hint = port + 1;
}

/* Its channel is locked, and no longer bound to anything. */
static void
port_release(struct domain *d, struct evtchn *chn, u32 port)
{
    struct evtchn_domain *ed = d->evtchn;

    evtchn_clear_pending(d, port);
    chn->state = EVTCHN_FREE;
    chn->vcpu = 0;
    chn->pending = false;
    ed->active--;
    ed->free_hint = MIN(ed->free_hint, port);
}

/* --- binding --- */

int
evtchn_alloc_unbound(struct domain *d, u16 remote, u32 *ret_port)
{
    struct evtchn_domain *ed = d->evtchn;
    struct evtchn *chn;
    u32 port;
    int rc;

    spin_lock(&ed->lock);
    rc = port_find(d, &port);
    if (!rc) {
        chn = evtchn_at(ed, port);
        spin_lock(&chn->lock);
        chn->remote_id = remote;
        port_take(ed, chn, port, EVTCHN_UNBOUND, 0);
        spin_unlock(&chn->lock);
        *ret_port = port;
    }
    spin_unlock(&ed->lock);
    return rc;
}

int
evtchn_bind_interdomain(struct domain *d, struct domain *remote, u32 remote_port, u32 *ret_port)
{
    struct evtchn_domain *ed = d->evtchn, *remote_ed = remote->evtchn;
    struct evtchn *chn, *remote_chn;
    u32 port;
    int rc;

    spin_lock_two(&ed->lock, &remote_ed->lock);
    rc = port_find(d, &port);
    if (rc)
        goto unlock;
    remote_chn = evtchn_find(remote_ed, remote_port);
    if (!remote_chn || remote_chn->state != EVTCHN_UNBOUND || remote_chn->remote_id != d->id) {
        rc = -EINVAL;
        goto unlock;
    }

    chn = evtchn_at(ed, port);
    spin_lock_two(&chn->lock, &remote_chn->lock);
    chn->remote.domain = remote;
    chn->remote.port = remote_port;
    port_take(ed, chn, port, EVTCHN_INTERDOMAIN, 0);
    remote_chn->remote.domain = d;
    remote_chn->remote.port = port;
    remote_chn->state = EVTCHN_INTERDOMAIN;
    /* The other side may have sent before anybody was here. */
    evtchn_set_pending(d, chn, port);
    spin_unlock_two(&chn->lock, &remote_chn->lock);
    *ret_port = port;

unlock:
    spin_unlock_two(&ed->lock, &remote_ed->lock);
    return rc;
}

int
evtchn_bind_virq(struct domain *d, u32 virq, u32 vcpu, u32 *ret_port)
{
    struct evtchn_domain *ed = d->evtchn;
    struct evtchn *chn;
    struct vcpu *v;
    u32 port, *slot;
    int rc;

    if (virq >= NR_VIRQS)
        return -EINVAL;
    virq = index_nospec(virq, NR_VIRQS);
    if (virq_is_global(virq) && vcpu)
        return -EINVAL;
    v = vcpu_find(d, vcpu);
    if (!v)
        return -ENOENT;
    slot = virq_is_global(virq) ? &d->virq_to_port[virq] : &v->virq_to_port[virq];

    spin_lock(&ed->lock);
    rc = *slot ? -EEXIST : port_find(d, &port);
    if (!rc) {
        chn = evtchn_at(ed, port);
        spin_lock(&chn->lock);
        chn->virq = virq;
        port_take(ed, chn, port, EVTCHN_VIRQ, vcpu);
        spin_unlock(&chn->lock);
        WRITE_ONCE(*slot, port);
        *ret_port = port;
    }
    spin_unlock(&ed->lock);
    return rc;
}

int
evtchn_bind_ipi(struct domain *d, u32 vcpu, u32 *ret_port)
{
    struct evtchn_domain *ed = d->evtchn;
    struct evtchn *chn;
    u32 port;
    int rc;

    if (!vcpu_find(d, vcpu))
        return -ENOENT;
    spin_lock(&ed->lock);
    rc = port_find(d, &port);
    if (!rc) {
        chn = evtchn_at(ed, port);
        spin_lock(&chn->lock);
        port_take(ed, chn, port, EVTCHN_IPI, vcpu);
        spin_unlock(&chn->lock);
        *ret_port = port;
    }
    spin_unlock(&ed->lock);
    return rc;
}

int
evtchn_bind_pirq(struct domain *d, u32 pirq, bool share, u32 *ret_port)
{
    struct evtchn_domain *ed = d->evtchn;
    struct vcpu *v = d->vcpus[0];
    struct evtchn *chn;
    u32 port;
    int rc;

    if (!v || pirq >= pirq_count(d))
        return -EINVAL;
    spin_lock(&ed->lock);
    rc = port_find(d, &port);
    if (!rc) {
        /* The interrupt may fire before pirq_bind() returns, and then finds the channel bound. */
        chn = evtchn_at(ed, port);
        spin_lock(&chn->lock);
        chn->pirq = pirq;
        port_take(ed, chn, port, EVTCHN_PIRQ, 0);
        spin_unlock(&chn->lock);
        rc = pirq_bind(v, pirq, port, share);
        if (rc) {
            spin_lock(&chn->lock);
            port_release(d, chn, port);
            spin_unlock(&chn->lock);
        } else {
            *ret_port = port;
        }
    }
    spin_unlock(&ed->lock);
    return rc;
}

int
evtchn_bind_vcpu(struct domain *d, u32 port, u32 vcpu)
{
    struct evtchn_domain *ed = d->evtchn;
    struct vcpu *v = vcpu_find(d, vcpu);
    struct evtchn *chn = evtchn_find(ed, port);
    int rc = 0;

    if (!v)
        return -ENOENT;
    if (!chn)
        return -EINVAL;
    spin_lock(&ed->lock);
    switch (chn->state) {
    case EVTCHN_VIRQ:
        if (!virq_is_global(chn->virq)) {
            rc = -EINVAL;
            break;
        }
        /* fall through */
    case EVTCHN_UNBOUND:
    case EVTCHN_INTERDOMAIN:
        WRITE_ONCE(chn->vcpu, v->id);
        break;
    case EVTCHN_PIRQ:
        WRITE_ONCE(chn->vcpu, v->id);
        pirq_rebind_vcpu(d, chn->pirq, v);
        break;
    default:
        rc = -EINVAL;
    }
    spin_unlock(&ed->lock);
    return rc;
}

int
evtchn_set_priority(struct domain *d, u32 port, u32 priority)
{
    struct evtchn_domain *ed = d->evtchn;
    struct evtchn *chn = evtchn_find(ed, port);
    int rc = 0;

    if (!chn)
        return -EINVAL;
    spin_lock(&ed->lock);
    if (!ed->fifo)
        rc = -ENOSYS;
    else if (chn->state == EVTCHN_FREE || priority > EVTCHN_FIFO_PRIORITY_MIN)
        rc = -EINVAL;
    else
        WRITE_ONCE(chn->priority, priority);
    spin_unlock(&ed->lock);
    return rc;
}

/* --- closing --- */

/* Undoes what a channel that is not connected is bound to; its domain's lock is held. */
static void
close_single(struct domain *d, struct evtchn *chn, u32 port)
{
    if (chn->state == EVTCHN_PIRQ)
        pirq_unbind(d, chn->pirq); /* it fires no more */
    if (chn->state == EVTCHN_VIRQ)
        WRITE_ONCE(*(virq_is_global(chn->virq) ? &d->virq_to_port[chn->virq]
                                               : &d->vcpus[chn->vcpu]->virq_to_port[chn->virq]),
                   0);
    spin_lock(&chn->lock);
    port_release(d, chn, port);
    spin_unlock(&chn->lock);
}

/* Both domains' locks are held. */
static void
close_pair(struct domain *d, struct evtchn *chn, u32 port)
{
    struct evtchn *other = evtchn_at(chn->remote.domain->evtchn, chn->remote.port);

    spin_lock_two(&chn->lock, &other->lock);
    port_release(d, chn, port);
    other->state = EVTCHN_UNBOUND;
    other->remote_id = d->id;
    spin_unlock_two(&chn->lock, &other->lock);
}

int
evtchn_close(struct domain *d, u32 port)
{
    struct evtchn_domain *ed = d->evtchn, *remote_ed;
    struct evtchn *chn = evtchn_find(ed, port);

    if (!chn || !port)
        return -EINVAL;
    for (;;) {
        spin_lock(&ed->lock);
        if (chn->state == EVTCHN_FREE) {
            spin_unlock(&ed->lock);
            return -EINVAL;
        }
        if (chn->state != EVTCHN_INTERDOMAIN) {
            close_single(d, chn, port);
            spin_unlock(&ed->lock);
            return 0;
        }
        /*
         * Two domains' locks are taken in order; meanwhile the other side may have closed, and we look again.
         */
        remote_ed = chn->remote.domain->evtchn;
        spin_unlock(&ed->lock);
        spin_lock_two(&ed->lock, &remote_ed->lock);
        if (chn->state == EVTCHN_INTERDOMAIN && chn->remote.domain->evtchn == remote_ed) {
            close_pair(d, chn, port);
            spin_unlock_two(&ed->lock, &remote_ed->lock);
            return 0;
        }
        spin_unlock_two(&ed->lock, &remote_ed->lock);
    }
}

/* Closes up to CLOSE_BUDGET ports from reset_next on; -ERESTART while there are more. */
static int
close_some(struct domain *d)
{
    struct evtchn_domain *ed = d->evtchn;
    u32 start = READ_ONCE(ed->reset_next), end = start + CLOSE_BUDGET, port;

    for (port = start; port < atomic_read(&ed->ports) && READ_ONCE(ed->active); port++) {
        if (port == end) {
            WRITE_ONCE(ed->reset_next, port);
            return -ERESTART;
        }
        if (READ_ONCE(evtchn_at(ed, port)->state) != EVTCHN_FREE)
            (void)evtchn_close(d, port);
    }
    WRITE_ONCE(ed->reset_next, 0);
    /* Where somebody else had begun, and ports were bound behind it since, once more from the beginning. */
    return start && READ_ONCE(ed->active) ? -ERESTART : 0;
}

int
evtchn_reset(struct domain *d)
{
    struct evtchn_domain *ed = d->evtchn;
    int rc;

    if (d != current->domain && !atomic_read(&d->controller_pause_count))
        return -EINVAL;
    rc = close_some(d);
    if (rc)
        return rc;
    spin_lock(&ed->lock);
    if (ed->active)
        rc = -EAGAIN; /* another vCPU keeps binding */
    else if (ed->fifo)
        fifo_destroy(d);
    spin_unlock(&ed->lock);
    return rc;
}

int
evtchn_status(struct domain *d, u32 port, struct evtchn_status *status)
{
    struct evtchn_domain *ed = d->evtchn;
    struct evtchn *chn = evtchn_find(ed, port);

    if (!chn)
        return -EINVAL;
    spin_lock(&ed->lock);
    switch (chn->state) {
    case EVTCHN_FREE:
        status->status = EVTCHNSTAT_closed;
        break;
    case EVTCHN_UNBOUND:
        status->status = EVTCHNSTAT_unbound;
        status->u.unbound.dom = chn->remote_id;
        break;
    case EVTCHN_INTERDOMAIN:
        status->status = EVTCHNSTAT_interdomain;
        status->u.interdomain.dom = chn->remote.domain->id;
        status->u.interdomain.port = chn->remote.port;
        break;
    case EVTCHN_PIRQ:
        status->status = EVTCHNSTAT_pirq;
        status->u.pirq = chn->pirq;
        break;
    case EVTCHN_VIRQ:
        status->status = EVTCHNSTAT_virq;
        status->u.virq = chn->virq;
        break;
    case EVTCHN_IPI:
        status->status = EVTCHNSTAT_ipi;
        break;
    }
    status->vcpu = chn->vcpu;
    spin_unlock(&ed->lock);
    return 0;
}

/* --- VIRQs of the host --- */

void
evtchn_send_host_virq(u32 virq)
{
    struct domain *d = READ_ONCE(virq_handlers[virq]);

    if (!d)
        d = hardware_domain;
    if (d)
        evtchn_send_global_virq(d, virq);
}

int
evtchn_set_virq_handler(struct domain *d, u32 virq)
{
    struct domain *old;

    if (virq >= NR_VIRQS || !virq_is_global(virq))
        return -EINVAL;
    virq = index_nospec(virq, NR_VIRQS);
    spin_lock(&virq_handler_lock);
    old = virq_handlers[virq];
    if (old == d || domain_is_dying(d) || !domain_get(d)) {
        spin_unlock(&virq_handler_lock);
        return old == d ? 0 : -EINVAL;
    }
    WRITE_ONCE(virq_handlers[virq], d);
    spin_unlock(&virq_handler_lock);
    if (old)
        domain_put(old);
    return 0;
}

static void
forget_virq_handler(struct domain *d)
{
    unsigned held = 0;

    spin_lock(&virq_handler_lock);
    for (u32 virq = 0; virq < NR_VIRQS; virq++) {
        if (virq_handlers[virq] == d) {
            WRITE_ONCE(virq_handlers[virq], NULL);
            held++;
        }
    }
    spin_unlock(&virq_handler_lock);
    while (held--)
        domain_put(d);
}

/* --- a domain's beginning and end --- */

int
evtchn_init(struct domain *d, u32 max_port)
{
    struct evtchn_domain *ed = heap_zalloc(sizeof(*ed));
    u32 port_max = MIN(max_port, EVTCHN_FIFO_NR_CHANNELS - 1u);

    if (!ed)
        return -ENOMEM;
    ed->port_max = port_max;
    ed->free_hint = 1;
    spin_lock_init(&ed->lock);
    ed->buckets = heap_calloc((port_max >> BUCKET_SHIFT) + 1, sizeof(ed->buckets[0]));
    if (!ed->buckets || add_bucket(d, ed)) {
        heap_free(ed->buckets);
        heap_free(ed);
        return -ENOMEM;
    }
    d->evtchn = ed;
    return 0;
}

int
evtchn_relinquish(struct domain *d)
{
    struct evtchn_domain *ed = d->evtchn;
    int rc = close_some(d);

    if (rc)
        return rc;
    forget_virq_handler(d);
    spin_lock(&ed->lock);
    if (ed->fifo)
        fifo_destroy(d);
    spin_unlock(&ed->lock);
    return 0;
}

void
evtchn_fini(struct domain *d)
{
    struct evtchn_domain *ed = d->evtchn;

    for (u32 port = 0; port < ed->ports; port += BUCKET_SIZE)
        page_free_hv(ed->buckets[port >> BUCKET_SHIFT]);
    heap_free(ed->buckets);
    heap_free(ed);
    d->evtchn = NULL;
}

int
evtchn_vcpu_init(struct vcpu *v)
{
    struct evtchn_domain *ed = v->domain->evtchn;
    int rc = 0;

    spin_lock(&ed->lock);
    if (ed->fifo)
        rc = fifo_vcpu_init(v);
    spin_unlock(&ed->lock);
    return rc;
}

void
evtchn_vcpu_fini(struct vcpu *v)
{
    /*
     * The control block went when the domain's channels were closed; what is left is one that was never
     * given.
     */
    heap_free(v->evtchn_fifo);
    v->evtchn_fifo = NULL;
}
