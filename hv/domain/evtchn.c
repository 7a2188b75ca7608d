/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Event channels: sending.
 *
 * A channel is one of a domain's ports and what it is bound to.  Channels live in buckets of one page that
 * are allocated as ports are bound and freed with the domain, so any port below evtchn_domain.ports may be
 * looked at without a lock.
 *
 * Locks, outermost first:
 *    evtchn_domain.lock  binding and closing; two domains' in order of address
 *    evtchn.lock         what one channel is bound to; two channels' in order of address
 *    evtchn.link_lock    the FIFO queue a channel's event goes to
 *    fifo_queue.lock     a queue of a vCPU; two queues' in order of address
 *    scheduler locks     through vcpu_kick()
 *
 * Sending against closing: a sender holds the lock of the channel it sends through, and of nothing else,
 * while it marks the other end.  To close either end, or to connect it, both ends' locks are held.  So while
 * a sender is at it the other end stays bound, its domain stays, and after a close returns no event of that
 * pair arrives any more.
 *
 * Binding against dying: a port is only bound under evtchn_domain.lock after a look at d->dying;
 * evtchn_relinquish() takes the same lock, after d->dying was set, for each port it looks at.
 *
 * 2-level delivery sets, in this order: the port's pending bit; unless it is masked or was pending, the bit
 * of its word in the vCPU's selector; unless that was set, the vCPU's upcall flag.  The guest clears them in
 * the reverse order.
 */
#include "domain/evtchn-private.h"
#include "base/log.h"
#include "domain/sched.h"

/* --- telling a vCPU --- */

static inline void
mark_vcpu(struct vcpu *v)
{
    if (atomic_xchg(&READ_ONCE(v->info)->evtchn_upcall_pending, 1))
        return;
    /* The way out of the hypervisor looks at the flag; a vCPU that is on its way to sleep has to be told. */
    if (v != current || READ_ONCE(v->state) == VCPU_BLOCKED)
        vcpu_kick(v);
}

void
evtchn_mark_vcpu(struct vcpu *v)
{
    mark_vcpu(v);
}

/* Inline in evtchn_send(): of all that the hypervisor does, this is done most often. */
static inline __attribute__((always_inline)) void
set_pending(struct domain *d, struct evtchn *chn, u32 port)
{
    struct vcpu *v = d->vcpus[READ_ONCE(chn->vcpu)];
    struct evtchn_domain *ed = d->evtchn;
    struct shared_info *shared;

    if (unlikely(!v))
        return; /* a port for a domain that is still being built */
    if (READ_ONCE(ed->fifo)) {
        fifo_set_pending(v, chn, port);
        return;
    }
    shared = READ_ONCE(d->shared);
    if (atomic_test_and_set_bit(port % 64, &shared->evtchn_pending[port / 64]))
        return;
    if (!(READ_ONCE(shared->evtchn_mask[port / 64]) >> (port % 64) & 1) &&
        !atomic_test_and_set_bit(port / 64, &READ_ONCE(v->info)->evtchn_pending_sel))
        mark_vcpu(v);
    if (unlikely(evtchn_has_pollers(ed)))
        evtchn_wake_pollers(d, port);
}

void
evtchn_set_pending(struct domain *d, struct evtchn *chn, u32 port)
{
    set_pending(d, chn, port);
}

void
evtchn_clear_pending(struct domain *d, u32 port)
{
    struct evtchn_fifo *fifo = READ_ONCE(d->evtchn->fifo);

    if (fifo)
        fifo_clear_pending(fifo, port);
    else
        (void)atomic_test_and_clear_bit(port % 64, &READ_ONCE(d->shared)->evtchn_pending[port / 64]);
}

/* --- sending --- */

int
evtchn_send(struct domain *d, u32 port)
{
    u32 ports = atomic_read_acquire(&d->evtchn->ports);
    struct evtchn *chn;
    int rc = 0;

    if (unlikely(port >= ports))
        return -EINVAL;
    chn = evtchn_at(d->evtchn, index_nospec(port, ports));
    spin_lock(&chn->lock);
    if (likely(chn->state == EVTCHN_INTERDOMAIN || chn->state == EVTCHN_IPI)) {
        struct evtchn *to = chn;

        if (chn->state == EVTCHN_INTERDOMAIN) {
            d = chn->remote.domain;
            port = chn->remote.port;
            to = evtchn_at(d->evtchn, port);
        }
        set_pending(d, to, port);
    } else if (chn->state != EVTCHN_UNBOUND) { /* nobody there yet: the event is lost */
        rc = -EINVAL;
    }
    spin_unlock(&chn->lock);
    return rc;
}

/* An event of the hypervisor's for @port, if that is (still) bound as @state to @number. */
static bool
send_own(struct domain *d, u32 port, enum evtchn_state state, u32 number)
{
    struct evtchn *chn = evtchn_find(d->evtchn, port);
    bool sent = false;

    if (!chn)
        return false;
    spin_lock(&chn->lock);
    if (likely(chn->state == state && chn->virq == number)) {
        evtchn_set_pending(d, chn, port);
        sent = true;
    }
    spin_unlock(&chn->lock);
    return sent;
}

void
evtchn_send_vcpu_virq(struct vcpu *v, u32 virq)
{
    u32 port = READ_ONCE(v->virq_to_port[virq]);

    if (port)
        (void)send_own(v->domain, port, EVTCHN_VIRQ, virq);
}

void
evtchn_send_global_virq(struct domain *d, u32 virq)
{
    u32 port = READ_ONCE(d->virq_to_port[virq]);

    if (port)
        (void)send_own(d, port, EVTCHN_VIRQ, virq);
}

bool
evtchn_send_pirq(struct domain *d, u32 port)
{
    struct evtchn *chn = evtchn_find(d->evtchn, port);
    bool sent = false;

    if (!chn)
        return false;
    spin_lock(&chn->lock);
    if (likely(chn->state == EVTCHN_PIRQ)) {
        evtchn_set_pending(d, chn, port);
        sent = true;
    }
    spin_unlock(&chn->lock);
    return sent;
}

/* --- the guest's state of a port --- */

static bool
is_pending(struct domain *d, u32 port)
{
    struct evtchn_fifo *fifo = READ_ONCE(d->evtchn->fifo);

    if (fifo)
        return fifo_is_pending(fifo, port);
    return port < EVTCHN_2L_PORTS && READ_ONCE(d->shared->evtchn_pending[port / 64]) >> (port % 64) & 1;
}

/* Asks about a port that is bound; that its lock is held keeps the FIFO pages where they are. */
static bool
ask(struct domain *d, u32 port, bool (*question)(struct domain *d, u32 port))
{
    struct evtchn *chn = evtchn_find(d->evtchn, port);
    bool answer;

    if (!chn)
        return false;
    spin_lock(&chn->lock);
    answer = chn->state != EVTCHN_FREE && question(d, port);
    spin_unlock(&chn->lock);
    return answer;
}

bool
evtchn_is_pending(struct domain *d, u32 port)
{
    return ask(d, port, is_pending);
}

static bool
is_masked(struct domain *d, u32 port)
{
    struct evtchn_fifo *fifo = READ_ONCE(d->evtchn->fifo);

    if (fifo)
        return fifo_is_masked(fifo, port);
    return port >= EVTCHN_2L_PORTS || (READ_ONCE(d->shared->evtchn_mask[port / 64]) >> (port % 64) & 1);
}

bool
evtchn_is_masked(struct domain *d, u32 port)
{
    return ask(d, port, is_masked);
}

static void
unmask_2l(struct domain *d, struct evtchn *chn, u32 port)
{
    struct shared_info *shared = READ_ONCE(d->shared);
    struct vcpu *v = d->vcpus[READ_ONCE(chn->vcpu)];

    if (atomic_test_and_clear_bit(port % 64, &shared->evtchn_mask[port / 64]) &&
        READ_ONCE(shared->evtchn_pending[port / 64]) >> (port % 64) & 1 && v &&
        !atomic_test_and_set_bit(port / 64, &READ_ONCE(v->info)->evtchn_pending_sel))
        evtchn_mark_vcpu(v);
}

int
evtchn_unmask(struct domain *d, u32 port)
{
    struct evtchn *chn = evtchn_find(d->evtchn, port);
    int rc = 0;

    if (unlikely(!chn))
        return -EINVAL;
    spin_lock(&chn->lock);
    if (unlikely(chn->state == EVTCHN_FREE))
        rc = -EINVAL;
    else if (READ_ONCE(d->evtchn->fifo))
        fifo_unmask(d, chn, port);
    else
        unmask_2l(d, chn, port);
    spin_unlock(&chn->lock);
    return rc;
}

void
evtchn_vcpu_info_moved(struct vcpu *v)
{
    atomic_set(&v->info->evtchn_pending_sel, ~0ul);
    smp_mb();
    evtchn_mark_vcpu(v);
}

/* --- polling --- */

void
evtchn_poll_begin(struct vcpu *v, u32 port)
{
    if (v->is_polling)
        evtchn_poll_end(v); /* the last one ended without a look at this */
    v->is_polling = true;
    WRITE_ONCE(v->poll_port, port);
    atomic_or(&v->domain->evtchn->poll_mask[v->id / 64], 1ull << (v->id % 64));
}

void
evtchn_poll_end(struct vcpu *v)
{
    v->is_polling = false;
    atomic_and(&v->domain->evtchn->poll_mask[v->id / 64], ~(1ull << (v->id % 64)));
    if (timer_is_armed(&v->poll_timer))
        timer_stop(&v->poll_timer);
}

void
evtchn_poll_commit(struct vcpu *v)
{
    if (!(atomic_read(&v->domain->evtchn->poll_mask[v->id / 64]) >> (v->id % 64) & 1))
        vcpu_wake(v);
}

bool
evtchn_poll_check(struct domain *d, u32 port)
{
    return evtchn_is_pending(d, port);
}

static void
wake_pollers(struct domain *d, u64 *word, unsigned first, u32 port)
{
    u64 pollers = atomic_read(word);

    for (; pollers; pollers &= pollers - 1) {
        unsigned bit = __builtin_ctzll(pollers);
        struct vcpu *v = d->vcpus[first + bit];
        u32 wanted = READ_ONCE(v->poll_port);

        if (wanted && wanted != port)
            continue;
        if (atomic_test_and_clear_bit(bit, word))
            vcpu_wake(v);
    }
}

void
evtchn_wake_pollers(struct domain *d, u32 port)
{
    struct evtchn_domain *ed = d->evtchn;

    for (unsigned i = 0; i < ARRAY_SIZE(ed->poll_mask); i++)
        wake_pollers(d, &ed->poll_mask[i], i * 64, port);
}

/* --- for people --- */

static const char *
state_name(unsigned state)
{
    static const char *const names[] = {"free", "unbound", "interdomain", "virq", "ipi", "pirq"};

    return names[state];
}

void
evtchn_dump(struct domain *d)
{
    struct evtchn_domain *ed = d->evtchn;

    log_info("%s: event channels, %s, %u in use of at most %u; pollers %#lx", d->name_for_log,
             ed->fifo ? "FIFO" : "2-level", ed->active, MIN(ed->port_max + 1, evtchn_port_limit(ed)),
             ed->poll_mask[0]);
    for (u32 port = 1; port < atomic_read(&ed->ports); port++) {
        struct evtchn *chn = evtchn_at(ed, port);

        spin_lock(&chn->lock);
        if (chn->state != EVTCHN_FREE)
            log_info("  %5u [%c%c] vCPU%u %s %u %u", port, is_pending(d, port) ? 'p' : '-',
                     is_masked(d, port) ? 'm' : '-', chn->vcpu, state_name(chn->state),
                     chn->state == EVTCHN_INTERDOMAIN ? chn->remote.domain->id
                     : chn->state == EVTCHN_UNBOUND   ? chn->remote_id
                                                      : chn->virq,
                     chn->state == EVTCHN_INTERDOMAIN ? chn->remote.port : 0);
        spin_unlock(&chn->lock);
    }
}
