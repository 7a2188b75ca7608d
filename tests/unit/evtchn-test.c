/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Event channels of two domains against a simple model, with a guest that takes its events as Linux does,
 * 2-level and FIFO; the refusals; and four CPUs that bind, send, close and take at once.
 */
#include "world.h"
#include "domain/evtchn-private.h"
#include "domain/page.h"
#include "domain/sched.h"
#include "hypercall/hypercall.h"
#include "base/string.h"
#include "fake.h"

#include <glib.h>

#define VCPUS 2u
#define PORTS 300u /* as many as are used; more than one bucket */
#define WORDS (4096u / sizeof(event_word_t))

/* --- the guest --- */

struct guest {
    struct domain *d;
    bool fifo;
    struct evtchn_fifo_control_block *block[VCPUS];
    event_word_t *words;
    u32 head[VCPUS][EVTCHN_FIFO_MAX_QUEUES]; /* of its own, as Linux keeps them */
};

static void
guest_become(struct guest *g, unsigned vcpu, unsigned cpu)
{
    fake_run_as(g->d->vcpus[vcpu], cpu);
}

static void
guest_go_fifo(struct guest *g)
{
    mfn_t array = world_frame(g->d);

    for (unsigned i = 0; i < VCPUS; i++) {
        mfn_t control = world_frame(g->d);

        g_assert_cmpint(evtchn_init_control(g->d->vcpus[i], mfn_x(control), 64 * i), ==, 0);
        g->block[i] = (void *)((char *)world_ptr(control) + 64 * i);
    }
    g_assert_cmpint(evtchn_expand_array(g->d, mfn_x(array)), ==, 0);
    g->words = world_ptr(array);
    g->fifo = true;
    memset(g->head, 0, sizeof(g->head));
}

static bool
guest_is_masked(struct guest *g, u32 port)
{
    return g->fifo ? __atomic_load_n(&g->words[port], __ATOMIC_SEQ_CST) >> EVTCHN_FIFO_MASKED & 1
                   : g->d->shared->evtchn_mask[port / 64] >> (port % 64) & 1;
}

static void
guest_mask(struct guest *g, u32 port)
{
    if (g->fifo)
        __atomic_or_fetch(&g->words[port], 1u << EVTCHN_FIFO_MASKED, __ATOMIC_SEQ_CST);
    else
        __atomic_or_fetch(&g->d->shared->evtchn_mask[port / 64], 1ul << port % 64, __ATOMIC_SEQ_CST);
}

/* By itself where nothing is pending, else through the hypervisor. */
static void
guest_unmask(struct guest *g, u32 port)
{
    if (g->fifo) {
        u32 old = __atomic_load_n(&g->words[port], __ATOMIC_SEQ_CST);

        while (!(old & 1u << EVTCHN_FIFO_PENDING)) {
            if (__atomic_compare_exchange_n(&g->words[port], &old,
                                            old & ~(1u << EVTCHN_FIFO_MASKED | 1u << EVTCHN_FIFO_BUSY), false,
                                            __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
                return;
            if (old & 1u << EVTCHN_FIFO_BUSY)
                old &= ~(1u << EVTCHN_FIFO_BUSY);
        }
    }
    (void)evtchn_unmask(g->d, port);
}

typedef void take_fn(struct guest *g, u32 port);

static void
take_2l(struct guest *g, unsigned vcpu, take_fn *take)
{
    struct vcpu_info *info = g->d->vcpus[vcpu]->info;
    struct shared_info *shared = g->d->shared;
    u64 sel = __atomic_exchange_n(&info->evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);

    for (unsigned word = 0; word < 64; word++) {
        u64 bits;

        if (!(sel >> word & 1))
            continue;
        bits = __atomic_load_n(&shared->evtchn_pending[word], __ATOMIC_SEQ_CST) & ~shared->evtchn_mask[word];
        for (unsigned bit = 0; bit < 64; bit++)
            if (bits >> bit & 1 &&
                __atomic_fetch_and(&shared->evtchn_pending[word], ~(1ul << bit), __ATOMIC_SEQ_CST) >> bit & 1)
                take(g, word * 64 + bit);
    }
}

static u32
clear_linked(event_word_t *word)
{
    u32 old = __atomic_load_n(word, __ATOMIC_SEQ_CST);

    while (!__atomic_compare_exchange_n(word, &old, old & ~(1u << EVTCHN_FIFO_LINKED | EVTCHN_FIFO_LINK_MASK),
                                        false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
    return old & EVTCHN_FIFO_LINK_MASK;
}

static void
take_fifo(struct guest *g, unsigned vcpu, take_fn *take)
{
    struct evtchn_fifo_control_block *block = g->block[vcpu];
    u32 ready = __atomic_exchange_n(&block->ready, 0, __ATOMIC_SEQ_CST);

    while (ready) {
        unsigned priority = __builtin_ctz(ready);
        u32 head = g->head[vcpu][priority], link, old;

        if (!head)
            head = __atomic_load_n(&block->head[priority], __ATOMIC_SEQ_CST);
        g_assert_cmpuint(head, >, 0);
        g_assert_cmpuint(head, <, WORDS);
        link = clear_linked(&g->words[head]);
        if (!link)
            ready &= ~(1u << priority);
        old = __atomic_load_n(&g->words[head], __ATOMIC_SEQ_CST);
        if (old >> EVTCHN_FIFO_PENDING & 1 && !(old >> EVTCHN_FIFO_MASKED & 1)) {
            __atomic_and_fetch(&g->words[head], ~(1u << EVTCHN_FIFO_PENDING), __ATOMIC_SEQ_CST);
            take(g, head);
        }
        g->head[vcpu][priority] = link;
        ready |= __atomic_exchange_n(&block->ready, 0, __ATOMIC_SEQ_CST);
    }
}

/* What the upcall does, until there is no more. */
static void
guest_take(struct guest *g, unsigned vcpu, take_fn *take)
{
    struct vcpu_info *info = g->d->vcpus[vcpu]->info;

    while (__atomic_exchange_n(&info->evtchn_upcall_pending, 0, __ATOMIC_SEQ_CST)) {
        if (g->fifo)
            take_fifo(g, vcpu, take);
        else
            take_2l(g, vcpu, take);
    }
}

/* --- the model --- */

static struct guest guests[2];
static struct model {
    enum evtchn_state state;
    u32 remote_port; /* of the other guest */
    u32 virq;
    bool pending;
} model[2][PORTS];

static unsigned
index_of(struct guest *g)
{
    return g == &guests[1];
}

static void
taken(struct guest *g, u32 port)
{
    struct model *m;

    g_assert_cmpuint(port, <, PORTS);
    m = &model[index_of(g)][port];
    g_assert_true(m->pending);
    m->pending = false;
}

/* All vCPUs take what they are told of; then nothing that is open may be left. */
static void
drain_and_compare(void)
{
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned vcpu = 0; vcpu < VCPUS; vcpu++)
            guest_take(&guests[i], vcpu, taken);
        for (u32 port = 1; port < PORTS; port++) {
            struct evtchn *chn = evtchn_find(guests[i].d->evtchn, port);
            struct model *m = &model[i][port];

            g_assert_cmpuint(chn ? chn->state : EVTCHN_FREE, ==, m->state);
            if (m->pending)
                g_assert_true(guest_is_masked(&guests[i], port));
            if (m->state != EVTCHN_FREE)
                g_assert_cmpint(evtchn_is_pending(guests[i].d, port), ==, m->pending);
        }
    }
}

static u32
random_port(void)
{
    return g_test_rand_int_range(1, g_test_rand_int_range(0, 4) ? 40 : PORTS);
}

static void
model_free(unsigned i, u32 port)
{
    struct model *m = &model[i][port];

    if (m->state == EVTCHN_INTERDOMAIN) {
        g_assert_cmpint(model[!i][m->remote_port].state, ==, EVTCHN_INTERDOMAIN);
        model[!i][m->remote_port].state = EVTCHN_UNBOUND;
    }
    m->state = EVTCHN_FREE;
    m->pending = false;
}

static void
model_bound(unsigned i, u32 port, enum evtchn_state state)
{
    g_assert_cmpuint(port, >, 0);
    g_assert_cmpuint(port, <, PORTS);
    g_assert_cmpint(model[i][port].state, ==, EVTCHN_FREE);
    model[i][port] = (struct model){.state = state};
}

static void
random_step(unsigned i)
{
    struct guest *g = &guests[i];
    u32 port = random_port(), other = random_port(), virq;
    int rc;

    switch (g_test_rand_int_range(0, 16)) {
    case 0:
        if (evtchn_alloc_unbound(g->d, guests[!i].d->id, &port) == 0)
            model_bound(i, port, EVTCHN_UNBOUND);
        break;
    case 1:
    case 2:
        rc = evtchn_bind_interdomain(g->d, guests[!i].d, other, &port);
        if (rc != -ENOSPC)
            g_assert_cmpint(rc == 0, ==, model[!i][other].state == EVTCHN_UNBOUND);
        if (!rc) {
            model_bound(i, port, EVTCHN_INTERDOMAIN);
            model[i][port].remote_port = other;
            model[i][port].pending = true;
            model[!i][other].state = EVTCHN_INTERDOMAIN;
            model[!i][other].remote_port = port;
        }
        break;
    case 3:
        if (evtchn_bind_ipi(g->d, g_test_rand_int_range(0, VCPUS), &port) == 0)
            model_bound(i, port, EVTCHN_IPI);
        break;
    case 4:
        virq = g_test_rand_int_range(0, 2) ? VIRQ_TIMER : VIRQ_DEBUG;
        if (evtchn_bind_virq(g->d, virq, g_test_rand_int_range(0, VCPUS), &port) == 0) {
            model_bound(i, port, EVTCHN_VIRQ);
            model[i][port].virq = virq;
        }
        break;
    case 5:
        rc = evtchn_close(g->d, port);
        g_assert_cmpint(rc == 0, ==, model[i][port].state != EVTCHN_FREE);
        if (!rc)
            model_free(i, port);
        break;
    case 6:
        guest_mask(g, port);
        break;
    case 7:
    case 8:
        if (model[i][port].state != EVTCHN_FREE)
            guest_unmask(g, port);
        break;
    case 9:
        if (model[i][port].state == EVTCHN_INTERDOMAIN || model[i][port].state == EVTCHN_UNBOUND)
            g_assert_cmpint(evtchn_bind_vcpu(g->d, port, g_test_rand_int_range(0, VCPUS)), ==, 0);
        break;
    case 10:
        if (g->fifo && model[i][port].state != EVTCHN_FREE)
            g_assert_cmpint(evtchn_set_priority(g->d, port, g_test_rand_int_range(0, 16)), ==, 0);
        break;
    case 11:
        for (unsigned vcpu = 0; vcpu < VCPUS; vcpu++) {
            u32 bound = g->d->vcpus[vcpu]->virq_to_port[VIRQ_TIMER];

            evtchn_send_vcpu_virq(g->d->vcpus[vcpu], VIRQ_TIMER);
            if (bound)
                model[i][bound].pending = true;
        }
        break;
    default:
        rc = evtchn_send(g->d, port);
        switch (model[i][port].state) {
        case EVTCHN_INTERDOMAIN:
            g_assert_cmpint(rc, ==, 0);
            model[!i][model[i][port].remote_port].pending = true;
            break;
        case EVTCHN_IPI:
            g_assert_cmpint(rc, ==, 0);
            model[i][port].pending = true;
            break;
        case EVTCHN_UNBOUND:
            g_assert_cmpint(rc, ==, 0);
            break;
        default:
            g_assert_cmpint(rc, ==, -EINVAL);
        }
    }
}

static void
guests_begin(void)
{
    world_begin();
    memset(guests, 0, sizeof(guests));
    memset(model, 0, sizeof(model));
    for (unsigned i = 0; i < 2; i++)
        guests[i].d = world_domain(VCPUS, PORTS - 1);
    guest_become(&guests[0], 0, 0);
}

static void
guests_end(void)
{
    world_begin();
    for (unsigned i = 0; i < 2; i++)
        for (unsigned vcpu = 0; vcpu < VCPUS; vcpu++)
            guests[i].d->vcpus[vcpu]->is_running = false;
    for (unsigned i = 0; i < 2; i++)
        g_assert_true(world_kill(guests[i].d));
}

static void
random_operations(bool first_fifo, bool second_fifo)
{
    guests_begin();
    if (first_fifo)
        guest_go_fifo(&guests[0]);
    if (second_fifo)
        guest_go_fifo(&guests[1]);
    for (unsigned step = 0; step < 100000; step++) {
        unsigned i = g_test_rand_int_range(0, 2);

        guest_become(&guests[i], g_test_rand_int_range(0, VCPUS), 0);
        random_step(i);
        if (step % 8 == 0)
            drain_and_compare();
    }
    guests_end();
}

static void
random_2l_operations_agree_with_a_model(void)
{
    random_operations(false, false);
}

static void
random_fifo_operations_agree_with_a_model(void)
{
    random_operations(true, true);
}

static void
fifo_and_2l_guests_talk(void)
{
    random_operations(true, false);
}

/* --- FIFO: order and passage --- */

static u32 order[16];
static unsigned order_count;

static void
take_note(struct guest *g, u32 port)
{
    g_assert_cmpuint(order_count, <, ARRAY_SIZE(order));
    order[order_count++] = port;
}

static void
fifo_events_come_in_order_within_a_priority(void)
{
    u32 port[4];

    guests_begin();
    guest_go_fifo(&guests[0]);
    for (unsigned i = 0; i < 4; i++)
        g_assert_cmpint(evtchn_bind_ipi(guests[0].d, 0, &port[i]), ==, 0);
    g_assert_cmpint(evtchn_set_priority(guests[0].d, port[3], EVTCHN_FIFO_PRIORITY_MAX), ==, 0);
    g_assert_cmpint(evtchn_set_priority(guests[0].d, port[3], 16), ==, -EINVAL);

    order_count = 0;
    evtchn_send(guests[0].d, port[2]);
    evtchn_send(guests[0].d, port[0]);
    evtchn_send(guests[0].d, port[2]);
    evtchn_send(guests[0].d, port[1]);
    evtchn_send(guests[0].d, port[3]);
    guest_take(&guests[0], 0, take_note);
    g_assert_cmpuint(order_count, ==, 4);
    g_assert_cmpuint(order[0], ==, port[3]);
    g_assert_cmpuint(order[1], ==, port[2]);
    g_assert_cmpuint(order[2], ==, port[0]);
    g_assert_cmpuint(order[3], ==, port[1]);
    guests_end();
}

static void
pending_events_pass_from_2l_to_fifo(void)
{
    u32 port, late;

    guests_begin();
    g_assert_cmpint(evtchn_bind_ipi(guests[0].d, 0, &port), ==, 0);
    g_assert_cmpint(evtchn_bind_ipi(guests[0].d, 1, &late), ==, 0);
    evtchn_send(guests[0].d, port);

    /* Between control block and array page, events are kept. */
    mfn_t control = world_frame(guests[0].d), control1 = world_frame(guests[0].d),
          array = world_frame(guests[0].d);

    g_assert_cmpint(evtchn_init_control(guests[0].d->vcpus[0], mfn_x(control), 0), ==, 0);
    g_assert_cmpint(evtchn_init_control(guests[0].d->vcpus[1], mfn_x(control1), 0), ==, 0);
    evtchn_send(guests[0].d, late);
    guests[0].block[0] = world_ptr(control);
    guests[0].block[1] = world_ptr(control1);
    guests[0].d->vcpus[0]->info->evtchn_upcall_pending = 0;
    g_assert_cmpint(evtchn_expand_array(guests[0].d, mfn_x(array)), ==, 0);
    guests[0].words = world_ptr(array);
    guests[0].fifo = true;

    order_count = 0;
    guest_take(&guests[0], 0, take_note);
    g_assert_cmpuint(order_count, ==, 1);
    g_assert_cmpuint(order[0], ==, port);
    guest_take(&guests[0], 1, take_note);
    g_assert_cmpuint(order_count, ==, 2);
    g_assert_cmpuint(order[1], ==, late);
    guests_end();
}

static void
port_still_in_a_queue_is_not_bound_anew(void)
{
    u32 port, next;

    guests_begin();
    guest_go_fifo(&guests[0]);
    g_assert_cmpint(evtchn_bind_ipi(guests[0].d, 0, &port), ==, 0);
    evtchn_send(guests[0].d, port);
    g_assert_cmpint(evtchn_close(guests[0].d, port), ==, 0);
    g_assert_cmpint(evtchn_bind_ipi(guests[0].d, 0, &next), ==, 0);
    g_assert_cmpuint(next, !=, port);
    order_count = 0;
    guest_take(&guests[0], 0, take_note);
    g_assert_cmpuint(order_count, ==, 0); /* it was closed: dropped, but out of the queue */
    g_assert_cmpint(evtchn_bind_ipi(guests[0].d, 0, &next), ==, 0);
    g_assert_cmpuint(next, ==, port);
    guests_end();
}

static void
reset_closes_all_and_goes_back_to_2l(void)
{
    u32 port, remote, local;
    int rc;

    guests_begin();
    guest_go_fifo(&guests[0]);
    g_assert_cmpint(evtchn_alloc_unbound(guests[1].d, guests[0].d->id, &remote), ==, 0);
    g_assert_cmpint(evtchn_bind_interdomain(guests[0].d, guests[1].d, remote, &local), ==, 0);
    for (unsigned i = 0; i < 200; i++)
        g_assert_cmpint(evtchn_bind_ipi(guests[0].d, 0, &port), ==, 0);
    guest_become(&guests[0], 0, 0);
    while ((rc = evtchn_reset(guests[0].d)) == -ERESTART)
        ;
    g_assert_cmpint(rc, ==, 0);
    g_assert_cmpuint(guests[0].d->evtchn->active, ==, 0);
    g_assert_null(guests[0].d->evtchn->fifo);
    g_assert_cmpuint(evtchn_find(guests[1].d->evtchn, remote)->state, ==, EVTCHN_UNBOUND);
    /* It works again, and another FIFO may begin. */
    guests[0].fifo = false;
    g_assert_cmpint(evtchn_bind_ipi(guests[0].d, 0, &port), ==, 0);
    guest_go_fifo(&guests[0]);
    guests_end();
}

/* --- refusals --- */

static s64
event_op(u32 cmd, void *arg)
{
    u64 args[6] = {cmd, (u64)arg};

    return hypercall_event_channel_op(args);
}

static void
bad_arguments_are_refused(void)
{
    union {
        struct evtchn_alloc_unbound alloc;
        struct evtchn_bind_interdomain inter;
        struct evtchn_bind_virq virq;
        struct evtchn_bind_ipi ipi;
        struct evtchn_bind_pirq pirq;
        struct evtchn_close close;
        struct evtchn_send send;
        struct evtchn_status status;
        struct evtchn_bind_vcpu vcpu;
        struct evtchn_unmask unmask;
        struct evtchn_reset reset;
        struct evtchn_init_control init;
        struct evtchn_expand_array expand;
        struct evtchn_set_priority priority;
    } op;
    struct domain *d;
    u32 port;

    guests_begin();
    d = guests[0].d;
#define REFUSED(cmd, error, ...)                        \
    do {                                                \
        memset(&op, 0, sizeof(op));                     \
        __VA_ARGS__;                                    \
        g_assert_cmpint(event_op(cmd, &op), ==, error); \
    } while (0)
    REFUSED(99, -ENOSYS);
    REFUSED(EVTCHNOP_alloc_unbound, -EPERM, op.alloc.dom = 0);
    REFUSED(EVTCHNOP_alloc_unbound, -ESRCH, op.alloc.dom = 4711);
    REFUSED(EVTCHNOP_alloc_unbound, -ESRCH, op.alloc.dom = DOMID_XEN);
    REFUSED(EVTCHNOP_bind_interdomain, -ESRCH, op.inter.remote_dom = 4711);
    REFUSED(EVTCHNOP_bind_interdomain, -EINVAL, op.inter.remote_dom = 0; op.inter.remote_port = ~0u);
    REFUSED(EVTCHNOP_bind_virq, -EINVAL, op.virq.virq = NR_VIRQS);
    REFUSED(EVTCHNOP_bind_virq, -EINVAL, op.virq.virq = ~0u);
    REFUSED(EVTCHNOP_bind_virq, -EINVAL, op.virq.virq = VIRQ_DOM_EXC; op.virq.vcpu = 1);
    REFUSED(EVTCHNOP_bind_virq, -ENOENT, op.virq.virq = VIRQ_TIMER; op.virq.vcpu = VCPUS);
    REFUSED(EVTCHNOP_bind_ipi, -ENOENT, op.ipi.vcpu = VCPUS);
    REFUSED(EVTCHNOP_bind_ipi, -ENOENT, op.ipi.vcpu = ~0u);
    REFUSED(EVTCHNOP_bind_pirq, -EINVAL, op.pirq.pirq = 3); /* it has no devices */
    REFUSED(EVTCHNOP_close, -EINVAL, op.close.port = 0);
    REFUSED(EVTCHNOP_close, -EINVAL, op.close.port = 5);
    REFUSED(EVTCHNOP_close, -EINVAL, op.close.port = ~0u);
    REFUSED(EVTCHNOP_send, -EINVAL, op.send.port = ~0u);
    REFUSED(EVTCHNOP_send, -EINVAL, op.send.port = 5);
    REFUSED(EVTCHNOP_status, -EPERM, op.status.dom = 0);
    REFUSED(EVTCHNOP_status, -EINVAL, op.status.dom = DOMID_SELF; op.status.port = 1u << 20);
    REFUSED(EVTCHNOP_bind_vcpu, -EINVAL, op.vcpu.port = 5);
    REFUSED(EVTCHNOP_bind_vcpu, -ENOENT, op.vcpu.vcpu = VCPUS);
    REFUSED(EVTCHNOP_unmask, -EINVAL, op.unmask.port = 5);
    REFUSED(EVTCHNOP_reset, -EPERM, op.reset.dom = 0);
    REFUSED(EVTCHNOP_init_control, -ENOENT, op.init.vcpu = VCPUS);
    REFUSED(EVTCHNOP_init_control, -EINVAL, op.init.control_gfn = mfn_x(world_frame(d)); op.init.offset = 4);
    REFUSED(EVTCHNOP_init_control, -EINVAL, op.init.control_gfn = mfn_x(world_frame(d));
            op.init.offset = 4096 - 64);
    REFUSED(EVTCHNOP_init_control, -EINVAL, op.init.control_gfn = ~0ull);
    REFUSED(EVTCHNOP_init_control, -EINVAL, op.init.control_gfn = mfn_x(world_frame(guests[1].d)));
    g_assert_null(d->evtchn->fifo);
    REFUSED(EVTCHNOP_expand_array, -EOPNOTSUPP, op.expand.array_gfn = mfn_x(world_frame(d)));
    REFUSED(EVTCHNOP_set_priority, -ENOSYS, op.priority.port = 0);
    g_assert_cmpint(event_op(EVTCHNOP_send, (void *)8), ==, -EFAULT);
    g_assert_cmpint(event_op(EVTCHNOP_bind_ipi, (void *)8), ==, -EFAULT);

    /* Bound twice, and bound without room. */
    g_assert_cmpint(evtchn_bind_virq(d, VIRQ_TIMER, 1, &port), ==, 0);
    g_assert_cmpint(evtchn_bind_virq(d, VIRQ_TIMER, 1, &port), ==, -EEXIST);
    g_assert_cmpint(evtchn_send(d, port), ==, -EINVAL); /* VIRQs are the hypervisor's to send */
    g_assert_cmpint(evtchn_bind_vcpu(d, port, 0), ==, -EINVAL);
    while (d->evtchn->active < PORTS - 1)
        g_assert_cmpint(evtchn_bind_ipi(d, 0, &port), ==, 0);
    g_assert_cmpint(evtchn_bind_ipi(d, 0, &port), ==, -ENOSPC);
    g_assert_cmpint(evtchn_close(d, 77), ==, 0);
    g_assert_cmpint(evtchn_bind_ipi(d, 0, &port), ==, 0);
    g_assert_cmpuint(port, ==, 77);

    /* Only whom it was allocated for may bind. */
    g_assert_cmpint(evtchn_alloc_unbound(guests[1].d, 0, &port), ==, 0);
    g_assert_cmpint(evtchn_close(d, 77), ==, 0);
    REFUSED(EVTCHNOP_bind_interdomain, -EINVAL, op.inter.remote_dom = guests[1].d->id;
            op.inter.remote_port = port);
    guests_end();
}

static void
pirq_that_cannot_be_bound_leaves_no_port(void)
{
    u32 port, again;

    world_begin();
    g_assert_cmpint(evtchn_bind_pirq(world_dom0, 9, false, &port), ==, 0);
    g_assert_cmpuint(world_pirq_bound[9], ==, port);
    g_assert_true(evtchn_send_pirq(world_dom0, port));
    g_assert_cmpint(evtchn_bind_pirq(world_dom0, 9, false, &again), ==, -EEXIST);
    g_assert_cmpuint(world_dom0->evtchn->active, ==, 1);
    g_assert_cmpint(evtchn_bind_pirq(world_dom0, 64, false, &again), ==, -EINVAL);
    g_assert_cmpint(evtchn_close(world_dom0, port), ==, 0);
    g_assert_cmpuint(world_pirq_bound[9], ==, 0);
    g_assert_false(evtchn_send_pirq(world_dom0, port));
}

/* --- polling --- */

static void
poll_is_woken_by_its_port_alone(void)
{
    struct vcpu *v;
    u32 port[2];

    guests_begin();
    v = guests[0].d->vcpus[0];
    for (unsigned i = 0; i < 2; i++)
        g_assert_cmpint(evtchn_bind_ipi(guests[0].d, 1, &port[i]), ==, 0);
    v->info->evtchn_upcall_mask = 1;
    v->info->evtchn_upcall_pending = 0;

    struct sched_poll poll = {.nr_ports = 1};
    u64 args[6] = {SCHEDOP_poll, (u64)&poll};

    set_xen_guest_handle(poll.ports, &port[0]);
    g_assert_cmpint(hypercall_sched_op(args), ==, 0);
    g_assert_cmpint(v->state, ==, VCPU_BLOCKED);
    evtchn_send(guests[0].d, port[1]);
    g_assert_cmpint(v->state, ==, VCPU_BLOCKED);
    evtchn_send(guests[0].d, port[0]);
    g_assert_cmpint(v->state, ==, VCPU_RUNNABLE);

    /* Pending already: no sleep. */
    g_assert_cmpint(hypercall_sched_op(args), ==, 0);
    g_assert_cmpint(v->state, ==, VCPU_RUNNABLE);
    poll.nr_ports = 129;
    g_assert_cmpint(hypercall_sched_op(args), ==, -EINVAL);
    poll.nr_ports = 1;
    poll.ports.p = (void *)8;
    g_assert_cmpint(hypercall_sched_op(args), ==, -EFAULT);
    g_assert_cmpint(v->state, ==, VCPU_RUNNABLE);
    g_assert_cmpuint(guests[0].d->evtchn->poll_mask[0], ==, 0);
    v->state = VCPU_OFFLINE;
    fake_run_softirqs();
    guests_end();
}

/* --- four CPUs at once --- */

#define HAMMER_STEPS 60000u

static u32 hammer_taken[2][WORDS];

static void
hammer_take(struct guest *g, u32 port)
{
    __atomic_add_fetch(&hammer_taken[index_of(g)][port], 1, __ATOMIC_RELAXED);
}

static gpointer
hammer(gpointer data)
{
    unsigned cpu = GPOINTER_TO_UINT(data), vcpu = cpu % VCPUS;
    struct guest *g = &guests[cpu / VCPUS], *other = &guests[1 - cpu / VCPUS];
    GRand *rand = g_rand_new_with_seed(cpu + 1);

    fake_cpu_set(cpu);
    for (unsigned step = 0; step < HAMMER_STEPS; step++) {
        u32 port = g_rand_int_range(rand, 1, 24), remote = g_rand_int_range(rand, 1, 24);

        switch (g_rand_int_range(rand, 0, 12)) {
        case 0:
            (void)evtchn_alloc_unbound(g->d, other->d->id, &port);
            break;
        case 1:
            (void)evtchn_bind_interdomain(g->d, other->d, remote, &port);
            break;
        case 2:
            if (g_rand_int_range(rand, 0, 3) == 0)
                (void)evtchn_bind_ipi(g->d, g_rand_int_range(rand, 0, VCPUS), &port);
            break;
        case 3:
            if (g_rand_boolean(rand))
                (void)evtchn_close(g->d, port);
            break;
        case 4:
            (void)evtchn_bind_vcpu(g->d, port, g_rand_int_range(rand, 0, VCPUS));
            break;
        case 5:
            (void)evtchn_set_priority(g->d, port, g_rand_int_range(rand, 5, 8));
            break;
        case 6:
            guest_mask(g, port);
            break;
        case 7:
            guest_unmask(g, port);
            break;
        case 8:
            guest_take(g, vcpu, hammer_take);
            break;
        default:
            (void)evtchn_send(g->d, port);
        }
    }
    g_rand_free(rand);
    return NULL;
}

static void
four_cpus_at_once_lose_no_event(bool fifo)
{
    GThread *threads[2 * VCPUS];

    guests_begin();
    memset(hammer_taken, 0, sizeof(hammer_taken));
    for (unsigned i = 0; i < 2 && fifo; i++)
        guest_go_fifo(&guests[i]);
    for (unsigned i = 0; i < 2 * VCPUS; i++)
        guest_become(&guests[i / VCPUS], i % VCPUS, i);
    for (unsigned i = 0; i < 2 * VCPUS; i++)
        threads[i] = g_thread_new("cpu", hammer, GUINT_TO_POINTER(i));
    for (unsigned i = 0; i < 2 * VCPUS; i++)
        g_thread_join(threads[i]);

    fake_cpu_set(0);
    for (unsigned i = 0; i < 2; i++) {
        struct evtchn_domain *ed = guests[i].d->evtchn;
        u32 active = 0, total = 0;

        for (unsigned vcpu = 0; vcpu < VCPUS; vcpu++)
            guest_take(&guests[i], vcpu, hammer_take);
        for (u32 port = 1; port < ed->ports; port++) {
            struct evtchn *chn = evtchn_at(ed, port);

            active += chn->state != EVTCHN_FREE;
            if (chn->state != EVTCHN_FREE && !guest_is_masked(&guests[i], port))
                g_assert_false(evtchn_is_pending(guests[i].d, port));
            if (chn->state == EVTCHN_INTERDOMAIN) {
                struct evtchn *peer = evtchn_find(chn->remote.domain->evtchn, chn->remote.port);

                g_assert_true(peer->state == EVTCHN_INTERDOMAIN && peer->remote.domain == guests[i].d &&
                              peer->remote.port == port);
            }
            total += hammer_taken[i][port];
        }
        g_assert_cmpuint(active, ==, ed->active);
        g_assert_cmpuint(total, >, HAMMER_STEPS / 100);
    }
    guests_end();
}

static void
four_cpus_at_once_lose_no_2l_event(void)
{
    four_cpus_at_once_lose_no_event(false);
}

static void
four_cpus_at_once_lose_no_fifo_event(void)
{
    four_cpus_at_once_lose_no_event(true);
}

/* A guest that scribbles over its words and heads: only it is worse off. */
static void
guest_that_breaks_the_fifo_rules_harms_nobody(void)
{
    guests_begin();
    guest_go_fifo(&guests[0]);
    guest_go_fifo(&guests[1]);
    for (unsigned step = 0; step < 100000; step++) {
        unsigned i = g_test_rand_int_range(0, 2);
        u32 port = g_test_rand_int_range(1, 32), other = g_test_rand_int_range(1, 32);

        guest_become(&guests[i], 0, 0);
        switch (g_test_rand_int_range(0, 8)) {
        case 0:
            guests[i].words[port] = g_test_rand_int();
            break;
        case 1:
            guests[i].block[port % VCPUS]->head[other % 16] = g_test_rand_int();
            guests[i].block[port % VCPUS]->ready = 0;
            break;
        case 2:
            (void)evtchn_alloc_unbound(guests[i].d, guests[!i].d->id, &port);
            break;
        case 3:
            (void)evtchn_bind_interdomain(guests[i].d, guests[!i].d, other, &port);
            break;
        case 4:
            (void)evtchn_set_priority(guests[i].d, port, other % 16);
            (void)evtchn_bind_vcpu(guests[i].d, port, other % VCPUS);
            break;
        case 5:
            (void)evtchn_close(guests[i].d, port);
            break;
        case 6:
            (void)evtchn_unmask(guests[i].d, port);
            break;
        default:
            (void)evtchn_send(guests[i].d, port);
        }
    }
    guests_end();
}

/* --- host VIRQs --- */

static void
host_virq_goes_to_its_handler_then_to_the_hardware_domain(void)
{
    struct domain *d;
    u32 port, dom0_port;

    world_begin();
    d = world_domain(1, 100);
    g_assert_cmpint(evtchn_bind_virq(world_dom0, VIRQ_DOM_EXC, 0, &dom0_port), ==, 0);
    g_assert_cmpint(evtchn_bind_virq(d, VIRQ_DOM_EXC, 0, &port), ==, 0);
    g_assert_cmpint(evtchn_set_virq_handler(d, VIRQ_TIMER), ==, -EINVAL);
    g_assert_cmpint(evtchn_set_virq_handler(d, NR_VIRQS), ==, -EINVAL);

    evtchn_send_host_virq(VIRQ_DOM_EXC);
    g_assert_true(evtchn_is_pending(world_dom0, dom0_port));
    g_assert_false(evtchn_is_pending(d, port));
    evtchn_clear_pending(world_dom0, dom0_port);

    g_assert_cmpint(evtchn_set_virq_handler(d, VIRQ_DOM_EXC), ==, 0);
    g_assert_cmpint(evtchn_set_virq_handler(d, VIRQ_DOM_EXC), ==, 0);
    evtchn_send_host_virq(VIRQ_DOM_EXC);
    g_assert_true(evtchn_is_pending(d, port));
    g_assert_false(evtchn_is_pending(world_dom0, dom0_port));

    /* It dies: its own death is told to the hardware domain again. */
    g_assert_true(world_kill(d));
    g_assert_true(evtchn_is_pending(world_dom0, dom0_port));
    g_assert_cmpint(evtchn_close(world_dom0, dom0_port), ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/evtchn/" #name, name)
    TEST(random_2l_operations_agree_with_a_model);
    TEST(random_fifo_operations_agree_with_a_model);
    TEST(fifo_and_2l_guests_talk);
    TEST(fifo_events_come_in_order_within_a_priority);
    TEST(pending_events_pass_from_2l_to_fifo);
    TEST(port_still_in_a_queue_is_not_bound_anew);
    TEST(reset_closes_all_and_goes_back_to_2l);
    TEST(bad_arguments_are_refused);
    TEST(pirq_that_cannot_be_bound_leaves_no_port);
    TEST(poll_is_woken_by_its_port_alone);
    TEST(four_cpus_at_once_lose_no_2l_event);
    TEST(four_cpus_at_once_lose_no_fifo_event);
    TEST(guest_that_breaks_the_fifo_rules_harms_nobody);
    TEST(host_virq_goes_to_its_handler_then_to_the_hardware_domain);
    return g_test_run();
}
