/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The life of a vCPU: created by the toolstack, given registers, perhaps moved to a vcpu_info of its own
 * choice, paused and unpaused, destroyed with its domain and never before.
 *
 * Always true: v->info points to writable memory: the domain's shared info page, a frame that v->info_mfn
 * holds a writable reference to, or the vCPU's dummy.  Others may still use an old pointer until they leave
 * the hypervisor.
 *
 * Locks: d->lock for creation and for being given registers; pause counts are atomic.
 */
#include "domain/domain.h"
#include "base/panic.h"
#include "base/string.h"
#include "domain/evtchn.h"
#include "domain/page.h"
#include "domain/sched.h"
#include "mm/heap.h"
#include "x86/tsc.h"

static void
singleshot_fired(void *data)
{
    evtchn_send_vcpu_virq(data, VIRQ_TIMER);
}

static void
periodic_fired(void *data)
{
    struct vcpu *v = data;
    u64 now = time_now_ns(), period = READ_ONCE(v->periodic_period_ns), next;

    if (!period)
        return;
    /* Ticks that were missed are not made up for, and the beat is kept. */
    next = v->periodic_last_ns + period;
    if (next <= now)
        next = now + period - (now - v->periodic_last_ns) % period;
    v->periodic_last_ns = next - period;
    evtchn_send_vcpu_virq(v, VIRQ_TIMER);
    timer_set(&v->periodic_timer, next);
}

static void
poll_timed_out(void *data)
{
    vcpu_wake(data);
}

static void
init_timers(struct vcpu *v)
{
    timer_init(&v->periodic_timer, periodic_fired, v, v->cpu);
    timer_init(&v->singleshot_timer, singleshot_fired, v, v->cpu);
    timer_init(&v->poll_timer, poll_timed_out, v, v->cpu);
}

static struct vcpu *
vcpu_alloc(struct domain *d, unsigned id)
{
    struct vcpu *v = heap_zalloc(sizeof(*v));

    if (!v)
        return NULL;
    v->domain = d;
    v->id = id;
    v->info = &v->dummy_info;
    v->info_mfn = MFN_INVALID;
    v->pv.kernel_l4 = v->pv.user_l4 = MFN_INVALID;
    v->xcr0 = v->xcr0_accum = XCR0_X87; /* as at reset */
    return v;
}

struct vcpu *
vcpu_create_idle(unsigned cpu)
{
    struct vcpu *v = vcpu_alloc(domain_idle, cpu);

    if (!v)
        return NULL;
    v->is_idle = true;
    v->cpu = cpu;
    v->state = VCPU_RUNNABLE;
    return v;
}

int
vcpu_create(struct domain *d, unsigned id, struct vcpu **ret_vcpu)
{
    struct vcpu *v;
    int rc;

    if (id >= d->max_vcpus)
        return -EINVAL;
    if (d->vcpus[id])
        return -EEXIST;
    v = vcpu_alloc(d, id);
    if (!v)
        return -ENOMEM;
    if (id < XEN_LEGACY_MAX_VCPUS)
        v->info = &d->shared->vcpu_info[id];
    v->down_by_guest = true;

    v->fpu = fpu_area_create();
    if (!v->fpu) {
        rc = -ENOMEM;
        goto free_vcpu;
    }
    rc = sched_vcpu_init(v);
    if (rc)
        goto destroy_fpu;
    init_timers(v);
    rc = evtchn_vcpu_init(v);
    if (rc)
        goto fini_sched;
    rc = d->ops->vcpu_init(v);
    if (rc)
        goto fini_evtchn;

    __atomic_store_n(&d->vcpus[id], v, __ATOMIC_RELEASE);
    *ret_vcpu = v;
    return 0;

fini_evtchn:
    evtchn_vcpu_fini(v);
fini_sched:
    sched_vcpu_fini(v);
destroy_fpu:
    fpu_area_destroy(v->fpu);
free_vcpu:
    heap_free(v);
    return rc;
}

/* Nothing refers to @v any more, and it runs nowhere. */
void
vcpu_destroy(struct vcpu *v)
{
    timer_fini(&v->periodic_timer);
    timer_fini(&v->singleshot_timer);
    timer_fini(&v->poll_timer);
    vcpu_release_info(v);
    v->domain->ops->vcpu_fini(v);
    evtchn_vcpu_fini(v);
    sched_vcpu_fini(v);
    fpu_area_destroy(v->fpu);
    heap_free(v);
}

struct vcpu *
vcpu_find(struct domain *d, unsigned id)
{
    if (unlikely(id >= d->max_vcpus))
        return NULL;
    return __atomic_load_n(&d->vcpus[index_nospec(id, d->max_vcpus)], __ATOMIC_ACQUIRE);
}

void
vcpu_pause_nosync(struct vcpu *v)
{
    atomic_inc(&v->pause_count);
    vcpu_sleep(v);
}

void
vcpu_pause(struct vcpu *v)
{
    ASSERT(v != current);
    atomic_inc(&v->pause_count);
    vcpu_sleep_sync(v);
}

void
vcpu_unpause(struct vcpu *v)
{
    if (!atomic_sub_return(&v->pause_count, 1))
        sched_reconsider(v);
}

int
vcpu_set_context(struct vcpu *v, const struct vcpu_guest_context *ctx)
{
    int rc = v->domain->ops->set_context(v, ctx);

    if (rc)
        return rc;
    v->initialised = true;
    vcpu_set_online(v, ctx->flags & VGCF_online);
    return 0;
}

void
vcpu_set_online(struct vcpu *v, bool online)
{
    WRITE_ONCE(v->down_by_guest, !online);
    sched_set_state(v, online ? VCPU_RUNNABLE : VCPU_OFFLINE);
}

void
vcpu_set_periodic_timer(struct vcpu *v, u64 period_ns)
{
    /* A handler that is under way elsewhere sees the new period, or arms the timer once more for nothing. */
    timer_stop(&v->periodic_timer);
    WRITE_ONCE(v->periodic_period_ns, period_ns);
    if (!period_ns)
        return;
    if (v == current)
        timer_migrate(&v->periodic_timer, cpu_id());
    v->periodic_last_ns = time_now_ns();
    timer_set(&v->periodic_timer, v->periodic_last_ns + period_ns);
}

/*
 * As it was before it was given registers; it stays where its vcpu_info is.  @v is paused, and not current.
 */
int
vcpu_reset(struct vcpu *v)
{
    if (v == current)
        return -EINVAL;
    vcpu_pause(v);
    sched_set_state(v, VCPU_OFFLINE);
    timer_stop(&v->periodic_timer);
    timer_stop(&v->singleshot_timer);
    timer_stop(&v->poll_timer);
    v->periodic_period_ns = 0;
    v->runstate_guest = v->time_guest = 0;
    v->initialised = false;
    v->down_by_guest = true;
    (void)sched_pin_override(v, -1);
    fpu_area_reset(v->fpu);
    vcpu_unpause(v);
    return 0;
}

/*
 * The vCPU itself calls this, or another one for it while it is down.  What is pending in the old place is
 * carried over, and every selector bit is set, so that an event which was marked in the old place meanwhile
 * is seen all the same.
 */
int
vcpu_register_info(struct vcpu *v, mfn_t mfn, unsigned offset)
{
    struct domain *d = v->domain;
    struct vcpu_info *info;

    if (offset > PAGE_SIZE - sizeof(*info) || offset % sizeof(u64))
        return -ENXIO;
    if (!mfn_equal(v->info_mfn, MFN_INVALID))
        return -EINVAL;
    if (v != current && v->state != VCPU_OFFLINE)
        return -EINVAL;
    if (!frame_valid(mfn) || mfn_to_maddr(mfn).a >= DIRECT_END - DIRECT_START)
        return -EINVAL;
    if (page_get_writable(frame_of(mfn), d))
        return -EINVAL;

    info = (struct vcpu_info *)((char *)direct_ptr(mfn_to_maddr(mfn)) + offset);
    if (v->info == &v->dummy_info) {
        memset(info, 0, sizeof(*info));
        info->evtchn_upcall_mask = 1;
    } else {
        memcpy(info, v->info, sizeof(*info));
    }
    v->info_mfn = mfn;
    (void)atomic_xchg(&v->info, info);
    evtchn_vcpu_info_moved(v);
    time_force_update_vcpu(v);
    return 0;
}

void
vcpu_unregister_info(struct vcpu *v)
{
    WRITE_ONCE(v->info, &v->dummy_info);
}

void
vcpu_release_info(struct vcpu *v)
{
    if (mfn_equal(v->info_mfn, MFN_INVALID))
        return;
    page_put_writable(frame_of(v->info_mfn));
    v->info_mfn = MFN_INVALID;
}
