/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The scheduler's decisions.
 *
 * Each vCPU has a virtual time: the CPU time it has had, scaled by 256 / weight.  Each CPU has a queue of
 * those that wait for it, in order of virtual time, and runs the one that is furthest behind.  So each gets
 * its share by weight, and none starves: whoever waits stands still while all others move on.
 *
 *   slices     With others waiting, a vCPU runs 30 ms / (their number + 1), between the rate limit (1 ms) and
 *              10 ms.
 *   waking     One that wakes is put at most WAKE_LAG behind the queue's clock, so that sleeping earns a head
 *              start but no fortune.  It preempts who is ahead of it by the margin, after that one has run
 *              for the rate limit.
 *   moving     A clock belongs to a queue.  Virtual times of different queues compare as long as the queues
 *              are balanced, and this is what the balance aims at.  Who moves keeps its time, but lands
 *              at most MOVE_LAG behind the new clock, and no more ahead of it than it was ahead of the old
 *              one; pinned vCPUs make clocks drift apart.
 *   balance    A CPU with nothing to do steals.  A CPU that leaves somebody waiting tells an idle CPU, or at
 *              the end of a slice one other CPU in turn, if who runs there is ahead of who waits here; that
 *              CPU pulls.
 *   caps       A capped domain has a budget for each 10 ms; with it used up, its vCPUs are parked until the
 *              next.
 *
 * Locks: one for each queue.  v->cpu, v->state and what sched_vcpu holds belong to the lock of the queue of
 * v->cpu; to change v->cpu that lock is held.  A second queue's lock is only ever tried, never waited for, so
 * no order among them is needed.
 *
 * Always true: a vCPU is in the queue of v->cpu, or is curr there, or is not runnable (or parked, or
 * homeless).  While v->is_running, it is in no other CPU's queue, so nobody loads registers that are not
 * saved yet.
 */
#include "domain/sched-private.h"
#include "base/log.h"
#include "base/panic.h"
#include "mm/heap.h"
#include "x86/apic.h"
#include "x86/tsc.h"

#define SLICE_PERIOD_NS  30000000ull
#define SLICE_MAX_NS     10000000ull
#define SLICE_MIN_NS     500000ull /* whatever the rate limit is, and however many wait */
#define SLICE_CAP_MIN_NS 250000ll
#define WAKE_LAG         10000000ull /* virtual, as the margins are */
#define MOVE_LAG         60000000ull
#define PREEMPT_MARGIN   500000ull
#define BALANCE_MARGIN   5000000ull

u32 sched_ratelimit_us = SCHED_RATELIMIT_DEFAULT_US;

static cpumask_t idle_cpus; /* CPUs that have nothing, and nothing on its way to them */
static u64 clock_furthest;  /* about the furthest of all queues' clocks; where an idle CPU's starts again */

static struct vcpu *
vcpu_of(struct pq_node *node)
{
    return container_of(node, struct sched_vcpu, node)->vcpu;
}

static struct sched_cpu *
queue_of(unsigned cpu)
{
    return cpu_at(cpu)->sched;
}

/* Locks the queue that @v belongs to, which may change until it is locked. */
struct sched_cpu *
sched_lock_vcpu(struct vcpu *v)
{
    for (;;) {
        u32 cpu = READ_ONCE(v->cpu);
        struct sched_cpu *q = queue_of(cpu);

        spin_lock(&q->lock);
        if (likely(READ_ONCE(v->cpu) == cpu))
            return q;
        spin_unlock(&q->lock);
    }
}

static bool
is_runnable(const struct vcpu *v)
{
    return v->state == VCPU_RUNNABLE && !atomic_read(&v->pause_count) &&
           !atomic_read(&v->domain->pause_count);
}

bool
sched_may_run_on(const struct vcpu *v, unsigned cpu)
{
    s32 pinned = v->sched->pinned_cpu;

    return pinned >= 0 ? (u32)pinned == cpu : cpumask_test(v->hard_affinity, cpu);
}

static u64
to_virtual(u64 ns, u32 weight)
{
    return weight == SCHED_WEIGHT_DEFAULT ? ns : ns * SCHED_WEIGHT_DEFAULT / weight;
}

/* Where curr's virtual time is by now.  Without the lock it is a good guess. */
static u64
curr_vtime_at(const struct sched_cpu *q, u64 now)
{
    u64 since = READ_ONCE(q->since_ns);
    u64 ran = now > since ? now - since : 0;

    return READ_ONCE(q->curr_vtime) + to_virtual(ran, READ_ONCE(q->curr_weight));
}

/* Moves the queue's clock up to the least virtual time here. */
static void
clock_update(struct sched_cpu *q)
{
    u64 least;

    if (q->curr->is_idle)
        return;
    least = q->curr->sched->vtime;
    if (q->queue.first && pq_before(q->queue.first->key, least))
        least = q->queue.first->key;
    if (pq_before(q->clock, least))
        q->clock = least;
    if ((s64)(q->clock - READ_ONCE(clock_furthest)) > (s64)PREEMPT_MARGIN)
        WRITE_ONCE(clock_furthest, q->clock); /* two at once: either will do */
}

/* Charges curr for the time since it was charged last, and brings the clock up to date. */
static void
charge(struct sched_cpu *q, u64 now)
{
    struct vcpu *v = q->curr;
    struct sched_domain *sd;
    u64 ran;

    if (now <= q->since_ns)
        return;
    ran = now - q->since_ns;
    q->since_ns = now;
    if (v->is_idle)
        return;
    sd = v->domain->sched;
    v->sched->vtime += to_virtual(ran, READ_ONCE(sd->weight));
    q->curr_vtime = v->sched->vtime;
    if (unlikely(READ_ONCE(sd->cap))) {
        __atomic_sub_fetch(&sd->budget_ns, (s64)ran, __ATOMIC_RELAXED);
        if (!timer_is_armed(&sd->refill_timer))
            timer_set(&sd->refill_timer, now + SCHED_CAP_PERIOD_NS);
    }
    clock_update(q);
}

static bool
is_over_cap(const struct vcpu *v)
{
    const struct sched_domain *sd = v->domain->sched;

    return unlikely(READ_ONCE(sd->cap)) && (s64)READ_ONCE(sd->budget_ns) <= 0;
}

/* Fits a virtual time that comes from outside into the queue's: see "waking" and "moving" above. */
static void
vtime_fit(struct sched_cpu *q, struct sched_vcpu *s, u64 lag)
{
    if (q->curr->is_idle && !q->waiting) {
        u64 furthest = READ_ONCE(clock_furthest);

        if (pq_before(q->clock, furthest))
            q->clock = furthest;
    }
    if (s->moved) {
        u64 limit = q->clock + MAX(s->debt, 0);

        if (pq_before(limit, s->vtime))
            s->vtime = limit;
        s->moved = false;
    }
    if (pq_before(s->vtime, q->clock - lag))
        s->vtime = q->clock - lag;
}

static void
queue_insert(struct sched_cpu *q, struct vcpu *v)
{
    pq_insert(&q->queue, &v->sched->node, v->sched->vtime);
    WRITE_ONCE(q->waiting, q->waiting + 1);
}

static void
queue_remove(struct sched_cpu *q, struct vcpu *v)
{
    pq_remove(&q->queue, &v->sched->node);
    WRITE_ONCE(q->waiting, q->waiting - 1);
}

/*
 * @v, which waits nowhere, leaves for the queue of @cpu.  From here on that queue's lock is the one that
 * counts.
 */
static void
move_to(struct sched_cpu *q, struct vcpu *v, unsigned cpu)
{
    v->sched->debt = (s64)(v->sched->vtime - q->clock);
    v->sched->moved = true;
    v->sched->migrate_count++;
    WRITE_ONCE(v->cpu, cpu);
}

static u64
slice_ns(const struct sched_cpu *q, const struct vcpu *v)
{
    u64 ns = SLICE_PERIOD_NS / (q->waiting + 1);
    const struct sched_domain *sd = v->domain->sched;

    ns = MAX(MIN(ns, SLICE_MAX_NS), MAX((u64)sched_ratelimit_us * 1000, SLICE_MIN_NS));
    if (unlikely(READ_ONCE(sd->cap))) {
        s64 share = READ_ONCE(sd->budget_ns) / (s64)v->domain->max_vcpus;

        ns = MIN(ns, (u64)MAX(share, SLICE_CAP_MIN_NS));
    }
    return ns;
}

/* A vCPU now waits in @q: does curr have to go for it, and when? */
static void
preempt_check(struct sched_cpu *q, struct vcpu *v, u64 now)
{
    u64 ratelimit_end = q->slice_start_ns + (u64)sched_ratelimit_us * 1000;

    if (q->curr->is_idle) {
        cpumask_clear(&idle_cpus, q->cpu);
        softirq_raise(q->cpu, SOFTIRQ_SCHEDULE);
    } else if (pq_before(v->sched->vtime + PREEMPT_MARGIN, curr_vtime_at(q, now))) {
        if (now >= ratelimit_end)
            softirq_raise(q->cpu, SOFTIRQ_SCHEDULE);
        else if (!timer_is_armed(&q->slice_timer) || timer_expires_ns(&q->slice_timer) > ratelimit_end)
            timer_set(&q->slice_timer, ratelimit_end);
    } else if (q->waiting == 1) {
        q->slice_end_ns = MAX(now, q->slice_start_ns + slice_ns(q, q->curr));
        timer_set(&q->slice_timer, q->slice_end_ns);
    }
}

/* The CPU that a vCPU which begins to wait should wait for. */
static unsigned
choose_cpu(struct sched_cpu *q, const struct vcpu *v)
{
    unsigned cpu, best = CPU_NONE;
    u32 best_waiting = ~0u;

    if (v->sched->pinned_cpu >= 0)
        return v->sched->pinned_cpu;
    if (cpumask_test(v->effective_affinity, q->cpu) && cpumask_test(&idle_cpus, q->cpu))
        return q->cpu;
    for (unsigned i = 0; i < CPUMASK_WORDS; i++) {
        u64 idle = READ_ONCE(idle_cpus.bits[i]) & v->effective_affinity->bits[i];

        if (idle)
            return i * 64 + __builtin_ctzll(idle);
    }
    if (cpumask_test(v->effective_affinity, q->cpu))
        return q->cpu;
    for_each_cpu(cpu, v->effective_affinity) {
        if (!cpumask_test(&cpu_online, cpu))
            continue;
        if (READ_ONCE(queue_of(cpu)->waiting) < best_waiting) {
            best = cpu;
            best_waiting = READ_ONCE(queue_of(cpu)->waiting);
        }
    }
    return best == CPU_NONE ? q->cpu : best;
}

/*
 * Sees to it that @v waits in a queue, if it is runnable.  @q, its queue, is locked, and unlocked on return.
 */
void
sched_activate_and_unlock(struct sched_cpu *q, struct vcpu *v, u64 now)
{
    struct sched_vcpu *s = v->sched;
    bool may_move = true;

    while (is_runnable(v) && !pq_is_queued(&s->node) && q->curr != v && !s->homeless) {
        unsigned cpu;

        if (is_over_cap(v)) {
            s->parked = true;
            runstate_change(v, RUNSTATE_runnable, now);
            break;
        }
        if (READ_ONCE(v->is_running)) {
            if (!sched_may_run_on(v, q->cpu)) {
                (void)atomic_xchg(&s->homeless, true);
                if (__atomic_load_n(&v->is_running, __ATOMIC_ACQUIRE))
                    break; /* sched_switch_done() goes on from here */
                s->homeless = false;
                continue;
            }
            cpu = q->cpu;
        } else {
            cpu = may_move || !sched_may_run_on(v, q->cpu) ? choose_cpu(q, v) : q->cpu;
        }
        charge(q, now);
        if (cpu != q->cpu) {
            move_to(q, v, cpu);
            spin_unlock(&q->lock);
            q = sched_lock_vcpu(v);
            may_move = false;
            continue;
        }
        vtime_fit(q, s, s->parked ? 0 : WAKE_LAG); /* it is no merit to have been stopped by a cap */
        s->parked = false;
        queue_insert(q, v);
        runstate_change(v, RUNSTATE_runnable, now);
        preempt_check(q, v, now);
        break;
    }
    spin_unlock(&q->lock);
}

void
sched_expel_and_unlock(struct sched_cpu *q, struct vcpu *v, u64 now)
{
    queue_remove(q, v);
    sched_activate_and_unlock(q, v, now);
}

void
vcpu_wake(struct vcpu *v)
{
    struct sched_cpu *q;

    if (READ_ONCE(v->state) != VCPU_BLOCKED)
        return;
    q = sched_lock_vcpu(v);
    if (v->state != VCPU_BLOCKED) {
        spin_unlock(&q->lock);
        return;
    }
    v->state = VCPU_RUNNABLE;
    sched_activate_and_unlock(q, v, time_now_ns());
}

void
sched_reconsider(struct vcpu *v)
{
    sched_activate_and_unlock(sched_lock_vcpu(v), v, time_now_ns());
}

void
sched_set_state(struct vcpu *v, enum vcpu_state state)
{
    struct sched_cpu *q = sched_lock_vcpu(v);

    v->state = state;
    sched_activate_and_unlock(q, v, time_now_ns());
    if (state != VCPU_RUNNABLE)
        vcpu_sleep(v);
}

void
vcpu_kick(struct vcpu *v)
{
    unsigned cpu;

    vcpu_wake(v);
    cpu = READ_ONCE(v->cpu);
    if (READ_ONCE(v->is_running) && cpu != cpu_id())
        apic_send(cpu, VECTOR_SOFTIRQ);
}

bool
vcpu_has_pending(const struct vcpu *v)
{
    const struct vcpu_info *info = v->info;

    return (READ_ONCE(info->evtchn_upcall_pending) && !READ_ONCE(info->evtchn_upcall_mask)) ||
           READ_ONCE(v->nmi_pending) || READ_ONCE(v->mce_pending);
}

void
vcpu_block(void)
{
    struct vcpu *v = current;
    struct sched_cpu *q;

    /* Who makes something pending does that before it reads the state; here the order is the reverse. */
    (void)atomic_xchg(&v->state, VCPU_BLOCKED);
    if (!vcpu_has_pending(v)) {
        softirq_raise(cpu_id(), SOFTIRQ_SCHEDULE);
        return;
    }
    q = sched_lock_vcpu(v);
    if (v->state == VCPU_BLOCKED)
        v->state = VCPU_RUNNABLE;
    spin_unlock(&q->lock);
}

void
vcpu_yield(void)
{
    struct sched_cpu *q = this_cpu()->sched;

    if (!READ_ONCE(q->waiting))
        return; /* nobody to yield to */
    current->sched->yielding = true;
    softirq_raise(q->cpu, SOFTIRQ_SCHEDULE);
}

/* @v is not runnable any more and stops waiting. */
static void
stop_waiting(struct sched_cpu *q, struct vcpu *v, u64 now)
{
    queue_remove(q, v);
    runstate_change(v, v->state == VCPU_BLOCKED ? RUNSTATE_blocked : RUNSTATE_offline, now);
}

void
vcpu_sleep(struct vcpu *v)
{
    struct sched_cpu *q = sched_lock_vcpu(v);

    if (!is_runnable(v)) {
        if (pq_is_queued(&v->sched->node))
            stop_waiting(q, v, time_now_ns());
        else if (q->curr == v)
            softirq_raise(q->cpu, SOFTIRQ_SCHEDULE);
    }
    spin_unlock(&q->lock);
}

void
vcpu_sleep_sync(struct vcpu *v)
{
    vcpu_sleep(v);
    while (__atomic_load_n(&v->is_running, __ATOMIC_ACQUIRE))
        cpu_relax_poll();
}

bool
sched_is_running(struct vcpu *v)
{
    struct sched_cpu *q = sched_lock_vcpu(v);
    bool running = __atomic_load_n(&v->is_running, __ATOMIC_ACQUIRE);

    spin_unlock(&q->lock);
    return running;
}

/* Of those that wait in @from, the furthest behind that may run on @cpu and whose registers are saved. */
static struct vcpu *
find_movable(struct sched_cpu *from, unsigned cpu)
{
    struct vcpu *best = NULL;

    for (struct pq_node *node = pq_next(&from->queue, NULL); node; node = pq_next(&from->queue, node)) {
        struct vcpu *v = vcpu_of(node);

        if (best && !pq_before(v->sched->vtime, best->sched->vtime))
            continue;
        if (is_runnable(v) && sched_may_run_on(v, cpu) && !__atomic_load_n(&v->is_running, __ATOMIC_ACQUIRE))
            best = v;
    }
    return best;
}

/* Takes over who waits on @cpu and is behind @limit; NULL when there is none, or its queue is busy. */
static struct vcpu *
pull(struct sched_cpu *q, unsigned cpu, const u64 *limit, u64 now)
{
    struct sched_cpu *from = queue_of(cpu);
    struct vcpu *v = NULL;

    if (from == q || !READ_ONCE(from->waiting) || !spin_trylock(&from->lock))
        return NULL;
    v = find_movable(from, q->cpu);
    if (v && limit && !pq_before(v->sched->vtime, *limit))
        v = NULL;
    if (v) {
        charge(from, now);
        queue_remove(from, v);
        move_to(from, v, q->cpu);
        from->steal_count++;
    }
    spin_unlock(&from->lock);
    if (v)
        vtime_fit(q, v->sched, MOVE_LAG);
    return v;
}

static struct vcpu *
steal(struct sched_cpu *q, u64 now)
{
    u32 hint = atomic_xchg(&q->pull_from, CPU_NONE);
    struct vcpu *v = hint == CPU_NONE ? NULL : pull(q, hint, NULL, now);

    for (unsigned i = 1; !v && i < cpu_limit; i++) {
        unsigned cpu = (q->cpu + i) % cpu_limit;

        if (cpumask_test(&cpu_online, cpu))
            v = pull(q, cpu, NULL, now);
    }
    return v;
}

/*
 * Who is first in line.  One that has just been paused may still stand there; whoever pauses it would take it
 * out.
 */
static struct pq_node *
first_runnable(struct sched_cpu *q, u64 now)
{
    while (q->queue.first && unlikely(!is_runnable(vcpu_of(q->queue.first))))
        stop_waiting(q, vcpu_of(q->queue.first), now);
    return q->queue.first;
}

/* Who is to run next.  prev is charged; the queue is locked. */
static struct vcpu *
choose(struct sched_cpu *q, struct vcpu *prev, u64 now)
{
    struct pq_node *first = first_runnable(q, now);
    struct vcpu *next = NULL;

    if (!prev->is_idle && is_runnable(prev) && sched_may_run_on(prev, q->cpu) && !is_over_cap(prev)) {
        struct sched_vcpu *s = prev->sched;
        bool yielding = s->yielding, slice_over = now >= q->slice_end_ns;

        s->yielding = false;
        if (unlikely(READ_ONCE(q->pull_from) != CPU_NONE)) {
            u64 limit = s->vtime - PREEMPT_MARGIN;

            next = pull(q, atomic_xchg(&q->pull_from, CPU_NONE), &limit, now);
            if (next)
                return next;
        }
        if (!first)
            return prev;
        if (!yielding) {
            if (now < q->slice_start_ns + (u64)sched_ratelimit_us * 1000)
                return prev;
            if (!pq_before(first->key + (slice_over ? 0 : PREEMPT_MARGIN), s->vtime))
                return prev;
        }
    }
    if (first) {
        next = vcpu_of(first);
        queue_remove(q, next);
        return next;
    }
    next = steal(q, now);
    return next ? next : q->idle;
}

/* What becomes of @prev, who loses the CPU.  The queue is locked. */
static void
put_prev(struct sched_cpu *q, struct vcpu *prev, u64 now)
{
    int runstate = prev->state == VCPU_BLOCKED ? RUNSTATE_blocked : RUNSTATE_offline;

    if (is_runnable(prev)) {
        runstate = RUNSTATE_runnable;
        if (is_over_cap(prev))
            prev->sched->parked = true;
        else if (sched_may_run_on(prev, q->cpu))
            queue_insert(q, prev);
        else
            prev->sched->homeless = true;
    }
    prev->sched->yielding = false;
    runstate_change(prev, runstate, now);
}

/* Somebody is left waiting here: tells one CPU that could do better by them. */
static void
balance(struct sched_cpu *q, u64 now, bool slice_over)
{
    struct vcpu *v = vcpu_of(q->queue.first);
    struct sched_cpu *other;
    unsigned cpu;

    if (READ_ONCE(v->is_running)) {
        q->balance_due =
            true; /* prev, whose registers are still here; sched_switch_done() comes back to it */
        q->balance_slice_over = slice_over;
        return;
    }
    for (unsigned i = 0; i < CPUMASK_WORDS; i++) {
        u64 idle = READ_ONCE(idle_cpus.bits[i]) & v->hard_affinity->bits[i];

        if (idle) {
            cpu = i * 64 + __builtin_ctzll(idle);
            cpumask_clear(&idle_cpus, cpu);
            atomic_set(&queue_of(cpu)->pull_from, q->cpu);
            softirq_raise(cpu, SOFTIRQ_SCHEDULE);
            return;
        }
    }
    if (!slice_over)
        return;
    do {
        q->push_next = (q->push_next + 1) % cpu_limit;
    } while (!cpumask_test(&cpu_online, q->push_next));
    other = queue_of(q->push_next);
    if (other == q || !sched_may_run_on(v, other->cpu))
        return;
    if (pq_before(v->sched->vtime + BALANCE_MARGIN, curr_vtime_at(other, now))) {
        atomic_set(&other->pull_from, q->cpu);
        softirq_raise(other->cpu, SOFTIRQ_SCHEDULE);
    }
}

/* @next begins a slice, or goes on with a new one. */
static void
slice_begin(struct sched_cpu *q, struct vcpu *next, u64 now)
{
    q->slice_start_ns = now;
    q->curr_vtime = next->sched->vtime;
    q->curr_weight = READ_ONCE(next->domain->sched->weight);
    q->slice_end_ns = now + slice_ns(q, next);
    if (q->waiting || READ_ONCE(next->domain->sched->cap))
        timer_set(&q->slice_timer, q->slice_end_ns);
}

void
schedule(void)
{
    struct sched_cpu *q = this_cpu()->sched;
    struct vcpu *prev = q->curr, *next;
    u64 now = time_now_ns();
    bool slice_over;

    spin_lock(&q->lock);
    charge(q, now);
    slice_over = now >= q->slice_end_ns;
    next = choose(q, prev, now);

    if (next != prev) {
        if (!prev->is_idle)
            put_prev(q, prev, now);
        else
            runstate_change(prev, RUNSTATE_runnable, now);
        WRITE_ONCE(q->curr, next);
        WRITE_ONCE(next->is_running, true);
        runstate_change(next, RUNSTATE_running, now);
        q->switch_count++;
    }
    if (next->is_idle) {
        cpumask_set(&idle_cpus, q->cpu);
    } else {
        if (prev->is_idle)
            cpumask_clear(&idle_cpus, q->cpu);
        if (next != prev || slice_over)
            slice_begin(q, next, now);
        else if (q->waiting && !timer_is_armed(&q->slice_timer))
            timer_set(&q->slice_timer, q->slice_end_ns);
        clock_update(q);
        if (q->waiting)
            balance(q, now, slice_over);
    }
    spin_unlock(&q->lock);

    if (next != prev)
        context_switch(prev, next);
}

void
sched_switch_done(struct vcpu *prev)
{
    struct sched_cpu *own = this_cpu()->sched;

    __atomic_store_n(&prev->is_running, false, __ATOMIC_SEQ_CST);
    if (prev->is_idle)
        return;
    if (unlikely(own->balance_due)) {
        spin_lock(&own->lock);
        own->balance_due = false;
        if (own->waiting)
            balance(own, time_now_ns(), own->balance_slice_over);
        spin_unlock(&own->lock);
    }
    if (unlikely(atomic_read(&prev->sched->homeless))) {
        struct sched_cpu *q = sched_lock_vcpu(prev);

        prev->sched->homeless = false;
        sched_activate_and_unlock(q, prev, time_now_ns());
    }
    if (unlikely(READ_ONCE(prev->domain->is_shutting_down)))
        domain_shutdown_progress(prev->domain);
}

/* The slice is over, or the rate limit that held off a preemption. */
static void
slice_timer_fired(void *data)
{
    struct sched_cpu *q = data;

    softirq_raise(q->cpu, SOFTIRQ_SCHEDULE);
}

/* A capped domain's next period: fills its budget, and wakes who was parked. */
static void
refill_timer_fired(void *data)
{
    struct domain *d = data;
    struct sched_domain *sd = d->sched;
    u32 cap = READ_ONCE(sd->cap);
    s64 full = (s64)cap * (s64)(SCHED_CAP_PERIOD_NS / 100);
    s64 old = atomic_read(&sd->budget_ns), budget;
    struct vcpu *v;
    u64 now = time_now_ns();

    do {
        budget = MIN(old + full, full);
    } while (!atomic_cmpxchg(&sd->budget_ns, &old, budget));

    for_each_vcpu(d, v) {
        struct sched_cpu *q = sched_lock_vcpu(v);

        if (v->sched->parked) {
            sched_activate_and_unlock(q, v, now);
        } else {
            spin_unlock(&q->lock);
        }
    }
    if (cap && old < full) /* else nothing was used; charge() arms it again */
        timer_set(&sd->refill_timer, now + SCHED_CAP_PERIOD_NS);
}

int
sched_domain_init(struct domain *d)
{
    struct sched_domain *sd = heap_zalloc(sizeof(*sd));

    if (!sd)
        return -ENOMEM;
    sd->weight = SCHED_WEIGHT_DEFAULT;
    timer_init(&sd->refill_timer, refill_timer_fired, d, cpu_id());
    d->sched = sd;
    return 0;
}

void
sched_domain_fini(struct domain *d)
{
    if (!d->sched)
        return;
    timer_fini(&d->sched->refill_timer);
    heap_free(d->sched);
    d->sched = NULL;
}

int
sched_cpu_init(unsigned cpu)
{
    struct sched_cpu *q = heap_zalloc(sizeof(*q));
    struct vcpu *idle = vcpu_create_idle(cpu);

    if (!q || !idle) {
        heap_free(q);
        return -ENOMEM;
    }
    q->cpu = cpu;
    q->idle = q->curr = idle;
    q->pull_from = CPU_NONE;
    q->curr_weight = SCHED_WEIGHT_DEFAULT;
    q->since_ns = time_now_ns();
    q->push_next = cpu;
    timer_init(&q->slice_timer, slice_timer_fired, q, cpu);
    idle->is_running = true;
    idle->runstate.state = RUNSTATE_running;
    idle->runstate.state_entry_time = q->since_ns;
    cpu_at(cpu)->idle = idle;
    cpu_at(cpu)->sched = q;
    cpumask_set(&idle_cpus, cpu);
    return 0;
}

void
sched_init(void)
{
    cpumask_zero(&idle_cpus);
    clock_furthest = 0;
    softirq_register(SOFTIRQ_SCHEDULE, schedule);
}
