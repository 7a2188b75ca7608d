/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * FIFO event channels: the guest gives pages of event words, one word for each port, and for each vCPU a
 * control block with the heads of 16 queues, one for each priority.  An event is put at the end of a queue:
 * its port goes into the link field of the word that was last (or into the head), and the bit of the queue
 * into the control block's ready field.
 *
 * All of these are in the guest's memory.  Nothing read there is used as an index: the last port of a queue
 * is remembered here (fifo_queue.tail), and the guest's links are only ever overwritten.  A guest that breaks
 * the rules loses its own events.
 *
 * What the guest may do to a word that is linked: set and clear MASKED, clear PENDING, clear LINKED together
 * with the link.  While BUSY is set it does not clear MASKED by itself; so a word changes under us at most
 * four times while we link it.
 *
 * Always true: a queue's tail is 0 or the port put there last; an event is in at most one queue, that of
 * chn->last_vcpu and last_priority.  Pages, once given, stay until all channels are closed (fifo_destroy):
 * whoever looks at a word holds the lock of its channel, or of the other end, and has seen that it is not
 * FREE; or holds the domain's evtchn lock.
 *
 * Locks: link_lock of the channel, then the queue's (or the old and the new queue's, in order of address).
 */
#include "domain/evtchn-private.h"
#include "base/log.h"
#include "domain/page.h"
#include "mm/heap.h"

#define WORDS_PER_PAGE (PAGE_SIZE / sizeof(event_word_t))
#define FIFO_PAGES     (EVTCHN_FIFO_NR_CHANNELS / WORDS_PER_PAGE)

#define PENDING (1u << EVTCHN_FIFO_PENDING)
#define MASKED  (1u << EVTCHN_FIFO_MASKED)
#define LINKED  (1u << EVTCHN_FIFO_LINKED)
#define BUSY    (1u << EVTCHN_FIFO_BUSY)

struct fifo_queue {
    spinlock_t lock;
    u32 tail;
};

struct fifo_vcpu {
    struct evtchn_fifo_control_block
        *block; /* (a) in the guest's memory, with a writable reference; NULL: none yet */
    struct fifo_queue queue[EVTCHN_FIFO_MAX_QUEUES];
};

struct evtchn_fifo {
    u32 words;                      /* (a) how many ports have a word; grows by pages */
    event_word_t *page[FIFO_PAGES]; /* in the guest's memory, each with a writable reference */
};

static event_word_t *
word_of(const struct evtchn_fifo *fifo, u32 port)
{
    u32 words = atomic_read_acquire(&fifo->words);

    if (unlikely(port >= words))
        return NULL;
    port = index_nospec(port, words);
    return &fifo->page[port / WORDS_PER_PAGE][port % WORDS_PER_PAGE];
}

/*
 * Writes @port into the link of the queue's last event, if that is still in the queue; false when it is not,
 * which means that the guest has taken everything.
 */
static bool
link_after(event_word_t *tail, u32 port)
{
    u32 old = atomic_read(tail);

    for (unsigned tries = 0; tries < 5; tries++) {
        if (!(old & LINKED)) {
            if (tries)
                atomic_and(tail, ~BUSY);
            return false;
        }
        if (likely(atomic_cmpxchg(tail, &old, (old & ~(BUSY | EVTCHN_FIFO_LINK_MASK)) | port)))
            return true;
        if (!tries)
            old = atomic_fetch_or(tail, BUSY) | BUSY;
    }
    atomic_and(tail, ~BUSY);
    return true; /* it breaks the rules: the event is lost to it */
}

/*
 * Puts @port, whose word has just got LINKED, at the end of @queue; true when the queue was empty.  The queue
 * is locked.
 */
static bool
enqueue(struct evtchn_fifo *fifo, struct fifo_queue *queue, u32 *head, u32 port)
{
    bool was_empty = true;

    if (queue->tail)
        was_empty = !link_after(word_of(fifo, queue->tail), port);
    if (was_empty)
        atomic_set(head, port);
    queue->tail = port;
    return was_empty;
}

void
fifo_set_pending(struct vcpu *v, struct evtchn *chn, u32 port)
{
    struct domain *d = v->domain;
    struct evtchn_fifo *fifo = d->evtchn->fifo;
    struct fifo_vcpu *fv = v->evtchn_fifo, *old_fv;
    struct evtchn_fifo_control_block *block = likely(fv) ? atomic_read_acquire(&fv->block) : NULL;
    event_word_t *word = word_of(fifo, port);
    struct fifo_queue *queue, *old_queue;
    bool tell = false;
    u32 priority, seen;

    if (unlikely(!word)) {
        /* Kept for when the page comes; if it came just now, whoever takes the note first delivers. */
        (void)atomic_xchg(&chn->pending, true);
        word = word_of(fifo, port);
        if (!word || !atomic_xchg(&chn->pending, false))
            return;
    }
    if (unlikely(!block))
        return; /* a guest must not unmask anything before it gave one */
    /* Pending and on its way, or masked: one more event changes nothing. */
    seen = atomic_read(word);
    if (seen & PENDING && seen & (LINKED | MASKED))
        return;

    spin_lock(&chn->link_lock);
    priority = READ_ONCE(chn->priority);
    old_fv = d->vcpus[chn->last_vcpu]->evtchn_fifo;
    queue = &fv->queue[priority];
    old_queue = &old_fv->queue[chn->last_priority];
    spin_lock_two(&queue->lock, &old_queue->lock);

    /* Set under the lock, so that nobody is told before the event can be found. */
    bool was_pending = atomic_fetch_or(word, PENDING) & PENDING;

    if (!(atomic_read(word) & MASKED) && !(atomic_fetch_or(word, LINKED) & LINKED)) {
        /* It was the last of its old queue, and has been taken out there: nothing may be linked behind it. */
        if (old_queue->tail == port)
            old_queue->tail = 0;
        chn->last_vcpu = v->id;
        chn->last_priority = priority;
        tell = enqueue(fifo, queue, &block->head[priority], port);
    }
    spin_unlock_two(&queue->lock, &old_queue->lock);
    spin_unlock(&chn->link_lock);

    if (tell && !(atomic_fetch_or(&block->ready, 1u << priority) & 1u << priority))
        evtchn_mark_vcpu(v);
    if (!was_pending && unlikely(evtchn_has_pollers(d->evtchn)))
        evtchn_wake_pollers(d, port);
}

void
fifo_clear_pending(struct evtchn_fifo *fifo, u32 port)
{
    event_word_t *word = word_of(fifo, port);

    /* It stays linked: the guest drops what is not pending. */
    if (word)
        atomic_and(word, ~PENDING);
}

void
fifo_unmask(struct domain *d, struct evtchn *chn, u32 port)
{
    event_word_t *word = word_of(d->evtchn->fifo, port);
    struct vcpu *v = d->vcpus[READ_ONCE(chn->vcpu)];

    if (!word)
        return;
    if (atomic_fetch_and(word, ~MASKED) & PENDING && v)
        fifo_set_pending(v, chn, port);
}

bool
fifo_is_pending(struct evtchn_fifo *fifo, u32 port)
{
    event_word_t *word = word_of(fifo, port);

    return word && atomic_read(word) & PENDING;
}

bool
fifo_is_masked(struct evtchn_fifo *fifo, u32 port)
{
    event_word_t *word = word_of(fifo, port);

    return !word || atomic_read(word) & MASKED;
}

bool
fifo_is_linked(struct evtchn_fifo *fifo, u32 port)
{
    event_word_t *word = word_of(fifo, port);

    return word && atomic_read(word) & LINKED;
}

/* --- the guest's pages --- */

/*
 * A frame of @d's that it may write, where it stays put until put_guest_frame(); NULL when it is not such a
 * frame.
 */
static void *
get_guest_frame(struct domain *d, u64 gfn)
{
    mfn_t mfn = _mfn(gfn);

    if (!frame_valid(mfn) || mfn_to_maddr(mfn).a >= DIRECT_END - DIRECT_START)
        return NULL;
    if (page_get_writable(frame_of(mfn), d))
        return NULL;
    return direct_ptr(mfn_to_maddr(mfn));
}

static void
put_guest_frame(void *ptr)
{
    page_put_writable(frame_of(direct_mfn((void *)((u64)ptr & PAGE_MASK))));
}

int
fifo_vcpu_init(struct vcpu *v)
{
    struct fifo_vcpu *fv = heap_zalloc(sizeof(*fv));

    if (!fv)
        return -ENOMEM;
    WRITE_ONCE(v->evtchn_fifo, fv);
    return 0;
}

static void
fifo_vcpu_fini(struct vcpu *v)
{
    struct fifo_vcpu *fv = v->evtchn_fifo;

    if (!fv)
        return;
    if (fv->block)
        put_guest_frame(fv->block);
    heap_free(fv);
    v->evtchn_fifo = NULL;
}

void
fifo_destroy(struct domain *d)
{
    struct evtchn_domain *ed = d->evtchn;
    struct evtchn_fifo *fifo = ed->fifo;
    struct vcpu *v;

    WRITE_ONCE(ed->fifo, NULL);
    if (fifo)
        for (u32 i = 0; i < fifo->words / WORDS_PER_PAGE; i++)
            put_guest_frame(fifo->page[i]);
    heap_free(fifo);
    for_each_vcpu(d, v)
        fifo_vcpu_fini(v);
    /* No word is left that a channel could still be linked through. */
    for (u32 port = 0; port < ed->ports; port++) {
        struct evtchn *chn = evtchn_at(ed, port);

        chn->pending = false;
        chn->last_vcpu = chn->last_priority = 0;
    }
}

static int
set_control_block(struct vcpu *v, u64 gfn, u32 offset)
{
    struct fifo_vcpu *fv;
    char *page;

    /* A vCPU that was being created when the others went over to FIFO has not got it yet. */
    if (!v->evtchn_fifo && fifo_vcpu_init(v))
        return -ENOMEM;
    fv = v->evtchn_fifo;
    if (fv->block)
        return -EINVAL;
    page = get_guest_frame(v->domain, gfn);
    if (!page)
        return -EINVAL;
    atomic_set_release(&fv->block, (struct evtchn_fifo_control_block *)(page + offset));
    return 0;
}

/* From 2-level to FIFO: what is pending there is noted, to be delivered when the words' pages come. */
static void
take_over_pending(struct domain *d)
{
    struct evtchn_domain *ed = d->evtchn;

    for (u32 port = 1; port < MIN(ed->ports, EVTCHN_2L_PORTS); port++) {
        struct evtchn *chn = evtchn_at(ed, port);

        chn->priority = EVTCHN_FIFO_PRIORITY_DEFAULT;
        if (READ_ONCE(d->shared->evtchn_pending[port / 64]) >> (port % 64) & 1)
            (void)atomic_xchg(&chn->pending, true);
    }
}

int
evtchn_init_control(struct vcpu *v, u64 gfn, u32 offset)
{
    struct domain *d = v->domain;
    struct evtchn_domain *ed = d->evtchn;
    struct evtchn_fifo *fifo;
    struct vcpu *each;
    int rc = 0;

    if (offset > PAGE_SIZE - sizeof(struct evtchn_fifo_control_block) || offset % 8)
        return -EINVAL;

    spin_lock(&ed->lock);
    if (domain_is_dying(d)) {
        rc = -EINVAL;
    } else if (ed->fifo) {
        rc = set_control_block(v, gfn, offset);
    } else {
        fifo = heap_zalloc(sizeof(*fifo));
        if (!fifo)
            rc = -ENOMEM;
        for_each_vcpu(d, each)
            if (!rc)
                rc = fifo_vcpu_init(each);
        if (!rc)
            rc = set_control_block(v, gfn, offset);
        if (!rc) {
            atomic_set_release(&ed->fifo, fifo);
            take_over_pending(d);
        } else {
            heap_free(fifo);
            for_each_vcpu(d, each)
                fifo_vcpu_fini(each);
        }
    }
    spin_unlock(&ed->lock);
    return rc;
}

int
evtchn_expand_array(struct domain *d, u64 gfn)
{
    struct evtchn_domain *ed = d->evtchn;
    struct evtchn_fifo *fifo;
    event_word_t *page;
    u32 first;
    int rc = 0;

    spin_lock(&ed->lock);
    fifo = ed->fifo;
    if (!fifo) {
        rc = -EOPNOTSUPP;
    } else if (fifo->words == EVTCHN_FIFO_NR_CHANNELS) {
        rc = -ENOSPC;
    } else if (domain_is_dying(d) || !(page = get_guest_frame(d, gfn))) {
        rc = -EINVAL;
    } else {
        first = fifo->words;
        fifo->page[first / WORDS_PER_PAGE] = page;
        atomic_set_release(&fifo->words, first + (u32)WORDS_PER_PAGE);
        smp_mb(); /* pairs with fifo_set_pending(): a note is seen there or here */
        for (u32 port = first; port < MIN(ed->ports, first + (u32)WORDS_PER_PAGE); port++) {
            struct evtchn *chn = evtchn_at(ed, port);

            if (chn->state != EVTCHN_FREE && atomic_read(&chn->pending) &&
                atomic_xchg(&chn->pending, false) && d->vcpus[chn->vcpu])
                fifo_set_pending(d->vcpus[chn->vcpu], chn, port);
        }
    }
    spin_unlock(&ed->lock);
    return rc;
}
