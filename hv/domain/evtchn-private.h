/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What evtchn.c (channels, 2-level), evtchn-bind.c (their making and ending) and evtchn-fifo.c share. */
#ifndef SERAI_DOMAIN_EVTCHN_PRIVATE_H
#define SERAI_DOMAIN_EVTCHN_PRIVATE_H

#include "domain/evtchn.h"

#define BUCKET_SHIFT    7
#define BUCKET_SIZE     (1u << BUCKET_SHIFT) /* channels; one page */
#define EVTCHN_2L_PORTS (64u * 64u)

enum evtchn_state {
    EVTCHN_FREE,
    EVTCHN_UNBOUND, /* waits for @remote_id to bind to it */
    EVTCHN_INTERDOMAIN,
    EVTCHN_VIRQ,
    EVTCHN_IPI,
    EVTCHN_PIRQ,
};

/*
 * One channel.  What it is bound to changes under the domain's evtchn lock and the channel's lock together,
 * so either is enough to read it; a connected pair changes under the locks of both.
 */
struct evtchn {
    spinlock_t lock;
    spinlock_t link_lock; /* evtchn-fifo.c: putting it in a queue */
    u8 state;             /* enum evtchn_state */
    u8 priority;          /* (a) FIFO: queue for its next event */
    u8 last_priority;     /* (link_lock) FIFO: queue it was put in last */
    bool pending;         /* (a) FIFO: an event came before the page of its word */
    u16 vcpu;             /* (a) whom to tell */
    u16 last_vcpu;        /* (link_lock) */
    union {
        struct {
            struct domain *domain;
            u32 port;
        } remote;      /* INTERDOMAIN */
        u16 remote_id; /* UNBOUND */
        u32 virq;
        u32 pirq;
    };
};
static_assert(sizeof(struct evtchn) == 32, "a bucket is one page");

struct evtchn_fifo;

struct evtchn_domain {
    u32 ports;                /* (a) below this, channels exist; grows by buckets, never shrinks */
    u32 port_max;             /* (c) the greatest the domain may have */
    struct evtchn_fifo *fifo; /* (a) NULL: 2-level */
    u64 poll_mask[BITMAP_WORDS(VCPU_MAX)]; /* (a) vCPUs that are in SCHEDOP_poll */
    struct evtchn **buckets;               /* (c) array; its entries by the lock, valid below ports */

    spinlock_t lock; /* binding and closing */
    u32 active;      /* channels that are not FREE */
    u32 free_hint;   /* no port below it is free */
    u32 reset_next;  /* where a reset that was preempted goes on */
};

static inline struct evtchn *
evtchn_at(const struct evtchn_domain *ed, u32 port)
{
    return &ed->buckets[port >> BUCKET_SHIFT][port & (BUCKET_SIZE - 1)];
}

/* NULL: the domain has no such port.  @port may come from a guest. */
static inline struct evtchn *
evtchn_find(const struct evtchn_domain *ed, u32 port)
{
    u32 ports = atomic_read_acquire(&ed->ports);

    if (unlikely(port >= ports))
        return NULL;
    return evtchn_at(ed, index_nospec(port, ports));
}

static inline u32
evtchn_port_limit(const struct evtchn_domain *ed)
{
    return READ_ONCE(ed->fifo) ? EVTCHN_FIFO_NR_CHANNELS : EVTCHN_2L_PORTS;
}

static inline bool
evtchn_has_pollers(const struct evtchn_domain *ed)
{
    static_assert(ARRAY_SIZE(ed->poll_mask) == 2, "both looked at below");

    return (atomic_read(&ed->poll_mask[0]) | atomic_read(&ed->poll_mask[1])) != 0;
}

/* Tells @v that its vcpu_info has news. */
void evtchn_mark_vcpu(struct vcpu *v);
/* Wakes those who poll for @port. */
void evtchn_wake_pollers(struct domain *d, u32 port);
/*
 * An event for @port of @d.  The caller holds the lock of the channel, or of the other end of the pair, and
 * has seen that it is bound.
 */
void evtchn_set_pending(struct domain *d, struct evtchn *chn, u32 port);
void evtchn_clear_pending(struct domain *d, u32 port);

void fifo_set_pending(struct vcpu *v, struct evtchn *chn, u32 port);
void fifo_clear_pending(struct evtchn_fifo *fifo, u32 port);
void fifo_unmask(struct domain *d, struct evtchn *chn, u32 port);
bool fifo_is_pending(struct evtchn_fifo *fifo, u32 port);
bool fifo_is_masked(struct evtchn_fifo *fifo, u32 port);
/* Still in one of the guest's queues: a port that must not be bound anew. */
bool fifo_is_linked(struct evtchn_fifo *fifo, u32 port);
/* Back to 2-level; every channel is FREE, and the domain's evtchn lock is held. */
void fifo_destroy(struct domain *d);
int fifo_vcpu_init(struct vcpu *v);

/* evtchn-bind.c */
bool virq_is_global(u32 virq);

#endif
