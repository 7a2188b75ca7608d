/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table of domains; birth, pauses, shutdown and death.
 *
 * A domain is in the table from the moment it is whole until its last reference is gone; domain_find() needs
 * no lock, and what it found is freed only after every CPU has been out of the hypervisor once.
 *
 * Death (domain_kill) comes in stages, each of which may be preempted, in an order that lets nobody find a
 * hole:
 *
 *    1  marked dying, paused for good      no new memory, grants, channels; no vCPU of it runs again
 *    2  grants, event channels             what it held of others is given back, others' ends are loose
 *    3  page tables, descriptor tables     ops->relinquish
 *    4  vcpu_info and shared info          pointers to them now lead to dummies
 *    5  quiescence                         nobody has the old pointers
 *    6  its frames                         freed, but for those that others hold
 *    7  dead                               the toolstack hears of it; the creation's reference goes
 *
 * The last reference (domain_put) takes it out of the table and frees it after another quiescence.  As that
 * needs domain_list_lock, the outermost, it is done from queued work, so domain_put() may be called under any
 * lock.
 *
 * Locks: domain_list_lock for the table; d->shutdown_lock for the two shutdown flags and the code.
 */
#include "domain/domain.h"
#include "base/log.h"
#include "base/panic.h"
#include "base/string.h"
#include "domain/cpu-policy.h"
#include "domain/evtchn.h"
#include "domain/grant.h"
#include "domain/page.h"
#include "domain/permission.h"
#include "domain/pirq.h"
#include "domain/sched.h"
#include "mm/heap.h"

#define CHUNK_SHIFT          8
#define CHUNK_SIZE           (1u << CHUNK_SHIFT)
#define CHUNK_COUNT          DIV_ROUND_UP(DOMID_FIRST_RESERVED, CHUNK_SIZE)
#define CONTROLLER_PAUSE_MAX 255u
#define SHARED_INFO_BITS     42u /* within the direct map */

struct domain *domain_xen, *domain_io, *domain_idle;
struct domain *hardware_domain;
void (*hardware_domain_shutdown_hook)(u8 reason);

static spinlock_t domain_list_lock = SPINLOCK_INIT;
static struct domain **chunks[CHUNK_COUNT];              /* by id; chunks are never freed */
static struct list domain_list = LIST_INIT(domain_list); /* by id; readers take no lock */
static u16 next_id = 1;

/* Where the shared info of a domain without one is: written by everybody, read by nobody. */
static struct shared_info dummy_shared __attribute__((aligned(4096)));

/* --- the table --- */

struct domain *
domain_find(u16 id)
{
    struct domain **chunk;

    if (unlikely(id >= DOMID_FIRST_RESERVED))
        return NULL;
    id = index_nospec(id, DOMID_FIRST_RESERVED);
    chunk = __atomic_load_n(&chunks[id >> CHUNK_SHIFT], __ATOMIC_ACQUIRE);
    return chunk ? __atomic_load_n(&chunk[id % CHUNK_SIZE], __ATOMIC_ACQUIRE) : NULL;
}

int
domain_find_or_self(u16 id, struct domain **ret_domain)
{
    struct domain *d = id == DOMID_SELF ? current->domain : domain_find(id);

    if (!d)
        return -ESRCH;
    *ret_domain = d;
    return 0;
}

struct domain *
domain_next(const struct domain *d)
{
    const struct list *node = __atomic_load_n(d ? &d->list_node.next : &domain_list.next, __ATOMIC_ACQUIRE);

    return node == &domain_list ? NULL : list_entry(node, struct domain, list_node);
}

/* Puts @d in its place, where it can be found from now on.  domain_list_lock is held. */
static void
table_insert(struct domain *d)
{
    struct list *prev = domain_list.prev;

    while (prev != &domain_list && list_entry(prev, struct domain, list_node)->id > d->id)
        prev = prev->prev;
    d->list_node.next = prev->next;
    d->list_node.prev = prev;
    prev->next->prev = &d->list_node;
    __atomic_store_n(&prev->next, &d->list_node, __ATOMIC_RELEASE);
    __atomic_store_n(&chunks[d->id >> CHUNK_SHIFT][d->id % CHUNK_SIZE], d, __ATOMIC_RELEASE);
}

/* Takes it out; its own links stay, for those who stand on it.  domain_list_lock is held. */
static void
table_remove(struct domain *d)
{
    __atomic_store_n(&chunks[d->id >> CHUNK_SHIFT][d->id % CHUNK_SIZE], NULL, __ATOMIC_RELEASE);
    __atomic_store_n(&d->list_node.prev->next, d->list_node.next, __ATOMIC_RELEASE);
    d->list_node.next->prev = d->list_node.prev;
}

/*
 * A free id: @id itself, or the next after the last one chosen, so that ids are not used again soon.
 * domain_list_lock is held.
 */
static int
choose_id(u16 id, u16 *ret_id)
{
    if (id < DOMID_FIRST_RESERVED) {
        if (domain_find(id))
            return -EEXIST;
    } else {
        u16 first = next_id;

        for (id = first; domain_find(id);) {
            id = id + 1 < (int)DOMID_FIRST_RESERVED ? id + 1 : 1;
            if (id == first)
                return -ENOMEM;
        }
        next_id = id + 1 < (int)DOMID_FIRST_RESERVED ? id + 1 : 1;
    }
    if (!chunks[id >> CHUNK_SHIFT]) {
        struct domain **chunk = heap_calloc(CHUNK_SIZE, sizeof(*chunk));

        if (!chunk)
            return -ENOMEM;
        __atomic_store_n(&chunks[id >> CHUNK_SHIFT], chunk, __ATOMIC_RELEASE);
    }
    *ret_id = id;
    return 0;
}

/* --- birth --- */

static struct domain *
domain_alloc(u16 id, enum domain_kind kind)
{
    struct domain *d = heap_zalloc(sizeof(*d));

    if (!d)
        return NULL;
    d->id = id;
    d->kind = kind;
    d->refcount = 1;
    d->shutdown_code = ~0u;
    d->shared_mfn = MFN_INVALID;
    d->shared = &dummy_shared;
    d->pages_first = d->pages_last = d->extra_first = FRAME_NONE;
    d->page_max = 0;
    spin_lock_init(&d->lock);
    spin_lock_init(&d->shutdown_lock);
    spin_lock_init(&d->page_lock);
    spin_lock_init(&d->page_table_lock);
    list_init(&d->list_node);
    watchdog_domain_init(d);
    snprintf(d->name_for_log, sizeof(d->name_for_log), "d%u", id);
    return d;
}

void
domain_init(void)
{
    domain_idle = domain_alloc(DOMID_IDLE, DOMAIN_IDLE);
    domain_xen = domain_alloc(DOMID_XEN, DOMAIN_SYSTEM);
    domain_io = domain_alloc(DOMID_IO, DOMAIN_SYSTEM);
    if (!domain_idle || !domain_xen || !domain_io)
        panic("no memory for the system domains");
}

int
domain_config_check(const struct xen_domctl_createdomain *config)
{
    const u32 known = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap | XEN_DOMCTL_CDF_s3_integrity |
                      XEN_DOMCTL_CDF_oos_off | XEN_DOMCTL_CDF_xs_domain | XEN_DOMCTL_CDF_iommu |
                      XEN_DOMCTL_CDF_nested_virt | XEN_DOMCTL_CDF_vpmu;
    const u32 unavailable = XEN_DOMCTL_CDF_hap | XEN_DOMCTL_CDF_s3_integrity | XEN_DOMCTL_CDF_iommu |
                            XEN_DOMCTL_CDF_nested_virt | XEN_DOMCTL_CDF_vpmu;

    if (config->flags & ~known || config->grant_opts & ~XEN_DOMCTL_GRANT_version_mask)
        return -EINVAL;
    if (config->flags & XEN_DOMCTL_CDF_hvm)
        return -EOPNOTSUPP;
    if (config->flags & unavailable || config->iommu_opts)
        return -EINVAL;
    if (!config->max_vcpus || config->max_vcpus > VCPU_MAX)
        return -EINVAL;
    if (XEN_DOMCTL_GRANT_version(config->grant_opts) != 1)
        return -EINVAL;
    if (config->vmtrace_size) /* ssidref is for FLASK, which is not there: tools set it all the same */
        return -EINVAL;
    if (config->cpupool_id)
        return -ENOENT;
    if (config->arch.emulation_flags & ~XEN_X86_EMU_PIT || config->arch.misc_flags & ~XEN_X86_MSR_RELAXED)
        return -EINVAL;
    return 0;
}

/* Undoes domain_alloc() and what domain_build() had done when it failed; and the end of every domain. */
static void
domain_free(struct domain *d)
{
    struct vcpu *v;

    watchdog_domain_fini(d);
    if (d->vcpus)
        for_each_vcpu(d, v)
            vcpu_destroy(v);
    heap_free(d->vcpus);
    if (d->ops)
        d->ops->domain_fini(d);
    if (d->pirqs)
        pirq_domain_fini(d);
    if (d->grants)
        grant_fini(d);
    if (d->evtchn)
        evtchn_fini(d);
    sched_domain_fini(d);
    permission_fini(d);
    heap_free(d->cpuid);
    heap_free(d->memory_map);
    heap_free(d->vnuma);
    heap_free(d);
}

/* Everything that a domain has but memory of its own. */
static int
domain_build(struct domain *d, const struct xen_domctl_createdomain *config)
{
    int rc;

    d->config = *config;
    d->create_flags = config->flags;
    memcpy(d->handle, config->handle, sizeof(d->handle));
    d->max_vcpus = config->max_vcpus;
    d->pause_count = d->controller_pause_count = 1;
    d->is_paused_by_controller = true;

    d->vcpus = heap_calloc(d->max_vcpus, sizeof(d->vcpus[0]));
    if (!d->vcpus)
        return -ENOMEM;
    rc = sched_domain_init(d);
    if (!rc)
        rc = evtchn_init(d, config->max_evtchn_port);
    if (!rc)
        rc = grant_init(d, config->max_grant_frames, config->max_maptrack_frames);
    if (!rc)
        rc = pv_domain_ops.domain_init(d);
    if (!rc)
        d->ops = &pv_domain_ops;
    return rc;
}

static int
give_shared_info(struct domain *d)
{
    mfn_t mfn;
    int rc = page_alloc(d, 0, SHARED_INFO_BITS, PAGE_NO_CHARGE, &mfn);

    if (rc)
        return rc;
    d->shared_mfn = mfn;
    WRITE_ONCE(d->shared, direct_ptr(mfn_to_maddr(mfn)));
    for (unsigned i = 0; i < XEN_LEGACY_MAX_VCPUS; i++)
        d->shared->vcpu_info[i].evtchn_upcall_mask = 1;
    time_update_wallclock(d);
    return 0;
}

int
domain_create(u16 id, const struct xen_domctl_createdomain *config, struct domain **ret_domain)
{
    struct domain *d;
    int rc;

    rc = domain_config_check(config);
    if (rc)
        return rc;
    if (id >= DOMID_FIRST_RESERVED && id != DOMID_INVALID)
        return -EINVAL;
    d = domain_alloc(id, DOMAIN_PV);
    if (!d)
        return -ENOMEM;
    rc = domain_build(d, config);
    if (rc) {
        domain_free(d);
        return rc;
    }

    spin_lock(&domain_list_lock);
    rc = choose_id(id, &d->id);
    if (!rc) {
        snprintf(d->name_for_log, sizeof(d->name_for_log), "d%u", d->id);
        table_insert(d);
    }
    spin_unlock(&domain_list_lock);
    if (rc) {
        domain_free(d);
        return rc;
    }

    /* Frames can only belong to a domain that can be found, so this comes last. */
    rc = give_shared_info(d);
    if (rc) {
        WRITE_ONCE(d->dying, DOMAIN_DEAD);
        domain_put(d);
        return rc;
    }
    *ret_domain = d;
    return 0;
}

/* --- the end --- */

static void
destroy_after_quiesce(struct work *work)
{
    domain_free(container_of(work, struct domain, destroy_work));
    evtchn_send_host_virq(VIRQ_DOM_EXC);
}

static void
destroy_begin(struct work *work)
{
    struct domain *d = container_of(work, struct domain, destroy_work);

    spin_lock(&domain_list_lock);
    table_remove(d);
    spin_unlock(&domain_list_lock);
    work_init(work, destroy_after_quiesce);
    work_queue_after_quiesce(work);
}

void
domain_put(struct domain *d)
{
    if (likely(atomic_sub_return(&d->refcount, 1)))
        return;
    work_init(&d->destroy_work, destroy_begin);
    work_queue(&d->destroy_work);
}

enum kill_stage {
    KILL_MARK,
    KILL_GRANTS,
    KILL_EVTCHN,
    KILL_TABLES,
    KILL_POINTERS,
    KILL_QUIESCE,
    KILL_FRAMES,
    KILL_DONE,
};

static void
kill_mark(struct domain *d)
{
    spin_lock(&d->lock);
    WRITE_ONCE(d->dying, DOMAIN_DYING);
    spin_unlock(&d->lock);
    domain_pause(d); /* never undone */
    watchdog_domain_fini(d);
}

static void
quiesced(struct work *work)
{
    struct domain *d = container_of(work, struct domain, destroy_work);

    __atomic_store_n(&d->is_quiescent, true, __ATOMIC_RELEASE);
    domain_put(d);
}

static void
kill_pointers(struct domain *d)
{
    struct vcpu *v;

    for_each_vcpu(d, v) {
        timer_fini(&v->periodic_timer);
        timer_fini(&v->singleshot_timer);
        timer_fini(&v->poll_timer);
        vcpu_unregister_info(v);
    }
    WRITE_ONCE(d->shared, &dummy_shared);
    (void)domain_get(d);
    work_init(&d->destroy_work, quiesced);
    work_queue_after_quiesce(&d->destroy_work);
}

static int
kill_stages(struct domain *d)
{
    struct domain *target;
    struct vcpu *v;
    int rc = 0;

    switch ((enum kill_stage)d->kill_stage) {
    case KILL_MARK:
        kill_mark(d);
        d->kill_stage = KILL_GRANTS;
        /* fall through */
    case KILL_GRANTS:
        rc = grant_relinquish(d);
        if (rc)
            return rc;
        d->kill_stage = KILL_EVTCHN;
        /* fall through */
    case KILL_EVTCHN:
        rc = evtchn_relinquish(d);
        if (rc)
            return rc;
        d->kill_stage = KILL_TABLES;
        /* fall through */
    case KILL_TABLES:
        rc = d->ops->relinquish(d);
        if (rc)
            return rc;
        d->kill_stage = KILL_POINTERS;
        /* fall through */
    case KILL_POINTERS:
        kill_pointers(d);
        d->kill_stage = KILL_QUIESCE;
        /* fall through */
    case KILL_QUIESCE:
        if (!__atomic_load_n(&d->is_quiescent, __ATOMIC_ACQUIRE))
            return -ERESTART;
        for_each_vcpu(d, v)
            vcpu_release_info(v);
        d->kill_stage = KILL_FRAMES;
        /* fall through */
    case KILL_FRAMES:
        rc = page_relinquish_all(d);
        if (rc)
            return rc;
        spin_lock(&d->lock);
        target = d->target;
        WRITE_ONCE(d->target, NULL);
        WRITE_ONCE(d->dying, DOMAIN_DEAD);
        spin_unlock(&d->lock);
        if (target)
            domain_put(target);
        d->kill_stage = KILL_DONE;
        evtchn_send_host_virq(VIRQ_DOM_EXC);
        domain_put(d);
        break;
    case KILL_DONE:
        break;
    }
    return 0;
}

int
domain_kill(struct domain *d)
{
    int rc;

    if (d == current->domain)
        return -EINVAL;
    if (atomic_xchg(&d->is_being_killed, true))
        return -ERESTART; /* somebody else is at it */
    rc = kill_stages(d);
    __atomic_store_n(&d->is_being_killed, false, __ATOMIC_RELEASE); /* @d is good until this CPU leaves */
    return rc;
}

/* --- pauses --- */

void
domain_pause_nosync(struct domain *d)
{
    struct vcpu *v;

    atomic_inc(&d->pause_count);
    for_each_vcpu(d, v)
        vcpu_sleep(v);
}

void
domain_pause(struct domain *d)
{
    struct vcpu *v;

    ASSERT(d != current->domain);
    domain_pause_nosync(d);
    for_each_vcpu(d, v)
        vcpu_sleep_sync(v);
}

void
domain_unpause(struct domain *d)
{
    struct vcpu *v;

    if (atomic_sub_return(&d->pause_count, 1))
        return;
    for_each_vcpu(d, v)
        sched_reconsider(v);
}

int
domain_pause_by_controller(struct domain *d)
{
    u32 old = atomic_read(&d->controller_pause_count);

    do {
        if (old >= CONTROLLER_PAUSE_MAX)
            return -EOVERFLOW;
    } while (!atomic_cmpxchg(&d->controller_pause_count, &old, old + 1));
    WRITE_ONCE(d->is_paused_by_controller, true);
    domain_pause(d);
    return 0;
}

int
domain_unpause_by_controller(struct domain *d)
{
    u32 old = atomic_read(&d->controller_pause_count);

    do {
        if (!old)
            return -EINVAL;
    } while (!atomic_cmpxchg(&d->controller_pause_count, &old, old - 1));
    WRITE_ONCE(d->is_paused_by_controller, old > 1);
    domain_unpause(d);
    return 0;
}

/* --- shutdown --- */

void
domain_shutdown_progress(struct domain *d)
{
    struct vcpu *v;
    bool done;

    spin_lock(&d->shutdown_lock);
    done = d->is_shutting_down;
    for_each_vcpu(d, v)
        done = done && !sched_is_running(v);
    if (done) {
        WRITE_ONCE(d->is_shut_down, true);
        WRITE_ONCE(d->is_shutting_down, false);
    }
    spin_unlock(&d->shutdown_lock);
    if (!done)
        return;
    /* A toolstack that saves the domain may have asked to be told by a port of the domain's instead. */
    if (d->shutdown_code == SHUTDOWN_suspend && d->suspend_port)
        (void)evtchn_send(d, d->suspend_port);
    else
        evtchn_send_host_virq(VIRQ_DOM_EXC);
}

void
domain_shutdown(struct domain *d, u8 reason)
{
    struct vcpu *v;

    if (d->is_hardware && hardware_domain_shutdown_hook)
        hardware_domain_shutdown_hook(reason);

    spin_lock(&d->shutdown_lock);
    if (d->is_shutting_down || d->is_shut_down) {
        spin_unlock(&d->shutdown_lock);
        return;
    }
    if (d->shutdown_code == ~0u)
        WRITE_ONCE(d->shutdown_code, reason);
    atomic_inc(&d->pause_count); /* before the flag: who sees that finds no vCPU that could still be chosen */
    WRITE_ONCE(d->is_shutting_down, true);
    spin_unlock(&d->shutdown_lock);

    for_each_vcpu(d, v)
        vcpu_sleep(v);
    domain_shutdown_progress(d);
}

void
domain_resume(struct domain *d)
{
    bool was;

    spin_lock(&d->shutdown_lock);
    was = d->is_shut_down || d->is_shutting_down;
    WRITE_ONCE(d->is_shut_down, false);
    WRITE_ONCE(d->is_shutting_down, false);
    WRITE_ONCE(d->shutdown_code, ~0u);
    spin_unlock(&d->shutdown_lock);
    if (was)
        domain_unpause(d);
}

void
domain_crash(struct domain *d, const char *fmt, ...)
{
    char why[160];
    va_list args;

    if (d->kind == DOMAIN_IDLE || d->kind == DOMAIN_SYSTEM)
        panic("%s cannot crash", d->name_for_log);
    if (READ_ONCE(d->is_shutting_down) || READ_ONCE(d->is_shut_down))
        return; /* what follows from the first mishap tells nothing new */
    va_start(args, fmt);
    vsnprintf(why, sizeof(why), fmt, args);
    va_end(args);
    log_guest(LOG_ERR, "%s crashed: %s", d->name_for_log, why);
    domain_shutdown(d, SHUTDOWN_crash);
}
