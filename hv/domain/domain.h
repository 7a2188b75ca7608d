/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Domains and their vCPUs: what every kind of guest shares.
 *
 * Lock order, outermost first.  A lock may be taken while any lock above it is held, never the reverse.
 *
 *    domain_list_lock        the table of domains (domain.c); creation and destruction only
 *    d->lock                 slow changes to one domain: domctls, vCPU creation, pause by the toolstack
 *    d->page_table_lock      a PV domain's page tables: their entries, and getting or losing such a type
 *    grant locks             domain/grant.c: table, then active entries, then maptrack
 *    d->evtchn_lock          binding and closing; evtchn_send() takes none of it (domain/evtchn.c)
 *    d->page_lock            the list of the domain's frames and its page counts
 *    scheduler locks         domain/sched.c: one a CPU's queue
 *    timer locks             domain/timer.c: one a CPU's queue
 *    allocator lock          mm/frame-alloc.c, mm/heap.c
 *    log lock                base/log.c
 *
 * Legend of the fields: (c) set at creation, (l) d->lock, (p) page_lock,
 * (s) the scheduler's lock of the vCPU's CPU, (a) atomic, (v) only by the
 * vCPU itself or while it is paused, (m) by its module, which says how.
 *
 * Lifetime: domain_find() gives a pointer that is good until this CPU returns to a guest or goes idle;
 * domain_get() takes a reference for longer.  Each frame of a domain, taken together, holds one reference.
 */
#ifndef SERAI_DOMAIN_DOMAIN_H
#define SERAI_DOMAIN_DOMAIN_H

#include "abi/xen.h"
#include "base/cpumask.h"
#include "base/list.h"
#include "mm/frame.h"
#include "x86/percpu.h"
#include "x86/pv-vcpu.h"
#include "x86/softirq.h"
#include "base/spinlock.h"
#include "x86/fpu.h"
#include "domain/timer.h"
#include "domain/time.h"

#define DOMID_IDLE_SERAI DOMID_IDLE
#define VCPU_MAX         128u /* of one PV domain */
#define WATCHDOG_COUNT   2u   /* of one domain, for SCHEDOP_watchdog */

struct evtchn_domain;
struct grant_table;
struct sched_vcpu;
struct sched_domain;
struct pirq_domain;
struct cpuid_policy;
struct range_set;

enum vcpu_state {
    VCPU_RUNNABLE, /* wants a CPU; may have one */
    VCPU_BLOCKED,  /* waits for an event (SCHEDOP_block, SCHEDOP_poll) */
    VCPU_OFFLINE,  /* created, or VCPUOP_down: does not exist for the scheduler */
};

struct vcpu {
    /* What each way in and out touches comes first, in few cache lines. */
    struct domain *domain;  /* (c) */
    struct vcpu_info *info; /* (v) never NULL: in the shared info page, a registered page, or a dummy */
    u32 id;                 /* (c) */
    u32 cpu;                /* (s) where it runs or ran last */
    bool is_running;        /* (a) its registers are on a CPU, or not saved yet */
    bool is_idle;           /* (c) */
    bool nmi_pending, mce_pending; /* (a) */
    struct pv_vcpu pv;             /* (v) */
    struct cpu_user_regs regs;     /* (v) while it is on no CPU */
    u64 continuation;              /* (v) free for a hypercall that restarts itself; 0 otherwise */

    enum vcpu_state state; /* (s) */
    u32 pause_count;       /* (a) */
    bool is_polling;       /* (v) evtchn: in SCHEDOP_poll; its bit in the poll mask may be set */
    u32 poll_port;         /* (v) the one port it polls for, or 0 */
    struct fpu_area *fpu;  /* (v) */
    u64 xcr0, xcr0_accum;  /* (v) */
    u32 tsc_aux;
    struct sched_vcpu *sched;                                  /* (m) */
    struct timer periodic_timer, singleshot_timer, poll_timer; /* (v) armed by sched-op and vcpu-op */
    u64 periodic_period_ns, periodic_last_ns;

    mfn_t info_mfn;                     /* (v) of a registered vcpu_info, held writably; or MFN_INVALID */
    u64 runstate_guest;                 /* (v) guest address of its runstate area, 0 = none */
    u64 time_guest;                     /* (v) guest address of its secondary time area, 0 = none */
    struct vcpu_runstate_info runstate; /* (s) */
    cpumask_t *hard_affinity, *soft_affinity; /* (s) owned by sched.c */
    cpumask_t *effective_affinity;            /* (s) */
    u32 virq_to_port[NR_VIRQS];               /* (m) evtchn */
    void *evtchn_fifo;                        /* (m) evtchn-fifo.c: its queues */
    u32 maptrack_free, maptrack_count;        /* (v) grant-map.c: its first free handle plus one; how many */
    struct {
        u32 version;
    } time_last;                 /* (v) */
    bool publish_pending;        /* (v) time_publish() has yet to do its work */
    bool time_guest_stale;       /* (v) the secondary time area does not have the present contents */
    bool initialised;            /* (l) has been given registers */
    bool down_by_guest;          /* (a) VCPUOP_down; what XEN_DOMCTL_getvcpuinfo calls online inverted */
    struct vcpu_info dummy_info; /* where info points while it has no other place */
};

enum domain_kind { DOMAIN_IDLE, DOMAIN_SYSTEM, DOMAIN_PV, DOMAIN_PVH, DOMAIN_HVM };

/* Named stages of a domain's death; see domain_kill(). */
enum domain_dying { DOMAIN_ALIVE, DOMAIN_DYING, DOMAIN_DEAD };

/* What differs between kinds of guest.  PV: pv/cpu.c. */
struct domain_ops {
    int (*domain_init)(struct domain *d);
    void (*domain_fini)(struct domain *d);
    int (*vcpu_init)(struct vcpu *v);
    void (*vcpu_fini)(struct vcpu *v);

    /* The type machine: makes @frame a table of @type, or takes it apart; -ERESTART between entries. */
    int (*type_validate)(struct domain *d, struct frame *frame, u64 type);
    int (*type_devalidate)(struct domain *d, struct frame *frame, u64 type);

    /* Gives up what a dying domain's vCPUs hold (page tables, GDTs, callbacks); -ERESTART. */
    int (*relinquish)(struct domain *d);

    int (*set_context)(struct vcpu *v, const struct vcpu_guest_context *ctx);
    void (*get_context)(struct vcpu *v, struct vcpu_guest_context *ctx);

    /* The context switch: what comes and goes besides the general registers. */
    void (*context_save)(struct vcpu *v);
    void (*context_load)(struct vcpu *v);
};

struct domain {
    u16 id;                       /* (c) */
    enum domain_kind kind;        /* (c) */
    bool is_privileged;           /* (c) the control domain: may call domctl, map foreign memory */
    bool is_hardware;             /* (c) dom0: may touch devices; its shutdown is the machine's */
    enum domain_dying dying;      /* (l) to write */
    bool is_shut_down;            /* (a) */
    bool is_shutting_down;        /* (a) some vCPUs may not have stopped yet */
    bool is_paused_by_controller; /* (l) see controller_pause_count */
    bool debugger_attached;
    bool creation_finished;       /* (a) the toolstack has let it run once */
    u32 refcount;                 /* (a) */
    const struct domain_ops *ops; /* (c) */

    struct shared_info *shared; /* (c) one frame, owned by the domain, FRAME_EXTRA */
    mfn_t shared_mfn;
    struct vcpu **vcpus; /* (c) array of max_vcpus; entries appear under d->lock, stay to the end */
    u32 max_vcpus;       /* (c) */

    spinlock_t lock;
    spinlock_t shutdown_lock; /* leaf: is_shutting_down and the count of stopped vCPUs */
    spinlock_t page_lock;
    spinlock_t page_table_lock;
    struct evtchn_domain *evtchn; /* (m) */
    struct grant_table *grants;   /* (m) */
    struct pirq_domain *pirqs;    /* (m) hardware domain's interrupts; NULL for others */
    struct sched_domain *sched;   /* (m) */
    struct cpuid_policy *cpuid;   /* (m) of XEN_DOMCTL_set_cpu_policy; NULL: the host's PV policy */
    struct range_set *io_ports, *io_mem, *irqs; /* (l) what it may use; the hardware domain: all but ours */

    cpumask_t dirty_cpus; /* (a) CPUs whose TLB may hold this domain's translations */

    /* memory */
    u32 pages_first, pages_last; /* (p) list of frames, by number; FRAME_NONE */
    u32 extra_first;             /* (p) list of FRAME_EXTRA frames */
    u64 page_count;              /* (p) frames counted against page_max */
    u64 extra_count;             /* (p) */
    u64 page_max;                /* (p) allowance (XEN_DOMCTL_max_mem) */
    u64 page_claim;              /* outstanding XENMEM_claim_pages; (p) */
    void *memory_map;            /* (l) E820 entries of XENMEM_set_memory_map, of the heap; NULL: none */
    u32 memory_map_entries;
    struct vnuma *vnuma; /* (l) NUMA nodes it is told of (vnuma.c), of the heap; NULL: none */
    s32 type_budget;     /* page_table_lock: entries it may still check before -ERESTART */

    /* state that the tools see */
    xen_domain_handle_t handle;            /* (l) uuid */
    u32 create_flags;                      /* (c) XEN_DOMCTL_CDF_* */
    struct xen_domctl_createdomain config; /* (c) a checked copy */
    u32 shutdown_code;                     /* (a) SHUTDOWN_* or -1 */
    u32 pause_count;                       /* (a) of the whole domain; no vCPU runs while it is not zero */
    u32 controller_pause_count;            /* (l) XEN_DOMCTL_pausedomain nests */
    u64 vm_assist;                         /* (a) VMASST bits */
    s32 time_offset_seconds;               /* (l) */
    struct domain_time time;               /* (m) */
    u64 suspend_port;                      /* (m) evtchn */
    struct domain *target;                 /* (l) XEN_DOMCTL_set_target: may act on it, holds a reference */
    u64 kill_stage;                        /* (l) where domain_kill() goes on */
    bool is_being_killed;                  /* (a) one CPU at a time is in domain_kill() */
    bool is_quiescent;                     /* (a) nobody points into its shared pages; see domain_kill() */
    struct work destroy_work;
    struct timer watchdog[WATCHDOG_COUNT]; /* (m) watchdog.c */
    u32 watchdog_inuse;                    /* (m) */
    spinlock_t watchdog_lock;              /* (m) */
    u32 virq_to_port[NR_VIRQS];            /* (m) evtchn: the VIRQs that a domain has only one of */
    struct list list_node;                 /* (m) domain.c: in order of id */
    char name_for_log[8];                  /* "d12" */
    spinlock_t console_lock;               /* leaf, above the log: the two below */
    u32 console_length;                    /* (m) console-io.c: a line that is not whole yet */
    char console_line[128];
};

extern const struct domain_ops pv_domain_ops;

/* The domains that own no vCPU: DOMID_XEN owns what the hypervisor shares, DOMID_IO owns devices' pages. */
extern struct domain *domain_xen, *domain_io, *domain_idle;
extern struct domain *hardware_domain; /* dom0, once built */

/* What a shutdown of the hardware domain does to the machine; set by boot/. */
extern void (*hardware_domain_shutdown_hook)(u8 reason);

void domain_init(void); /* at boot: system domains */

/*
 * An empty domain: no memory but its shared info page, no vCPU; refcount 1, paused once by the controller.
 * @id is free or DOMID_INVALID to choose one.  -EINVAL, -EEXIST, -ENOMEM; see domain_config_check().
 */
int domain_create(u16 id, const struct xen_domctl_createdomain *config, struct domain **ret_domain);
int domain_config_check(const struct xen_domctl_createdomain *config);

/* Guests' domains only: the system domains are not to be found, by any number a guest can write. */
struct domain *domain_find(u16 id);
/* As domain_find(), resolving DOMID_SELF; -ESRCH when there is none. */
int domain_find_or_self(u16 id, struct domain **ret_domain);
/* The next domain by id after @d (NULL: the first), dying ones too; same lifetime as domain_find(). */
struct domain *domain_next(const struct domain *d);
#define for_each_domain(d) for (d = domain_next(NULL); d; d = domain_next(d))

static inline bool
domain_get(struct domain *d)
{
    u32 old = atomic_read(&d->refcount);

    do {
        if (!old)
            return false;
    } while (!atomic_cmpxchg(&d->refcount, &old, old + 1));
    return true;
}

void domain_put(struct domain *d);

/*
 * Death, in stages that can be resumed: pauses it, gives up grants, event
 * channels, page tables, frames; -ERESTART in between, 0 when only references are
 * left.  The last domain_put() frees it.  Called by XEN_DOMCTL_destroydomain.
 */
int domain_kill(struct domain *d);

/* The guest asked to stop, or cannot go on.  Pauses its vCPUs, tells the toolstack by VIRQ_DOM_EXC. */
void domain_shutdown(struct domain *d, u8 reason);
void domain_resume(struct domain *d);
/* A vCPU of a domain that is shutting down left its CPU: the last one completes the shutdown. */
void domain_shutdown_progress(struct domain *d);
/* A guest did what no correct guest does: logs why, and shuts it down as crashed. */
void domain_crash(struct domain *d, const char *fmt, ...) __printf(2, 3);

/* Pauses nest.  But for _nosync they return when no vCPU of it is on a CPU: not for the current domain. */
void domain_pause(struct domain *d);
void domain_pause_nosync(struct domain *d);
void domain_unpause(struct domain *d);
/* XEN_DOMCTL_pausedomain nests 255 times, then -EOVERFLOW; -EINVAL when there is nothing to undo. */
int domain_pause_by_controller(struct domain *d);
int domain_unpause_by_controller(struct domain *d);

/* domain/vcpu.c */
int vcpu_create(struct domain *d, unsigned id, struct vcpu **ret_vcpu);
void vcpu_destroy(struct vcpu *v);
struct vcpu *vcpu_create_idle(unsigned cpu);           /* of domain_idle; for sched_cpu_init() */
struct vcpu *vcpu_find(struct domain *d, unsigned id); /* NULL: no such vCPU; speculation-safe */
void vcpu_pause(struct vcpu *v);
void vcpu_pause_nosync(struct vcpu *v);
void vcpu_unpause(struct vcpu *v);
/* Registers from a toolstack or VCPUOP_initialise; checked by ops->set_context. */
int vcpu_set_context(struct vcpu *v, const struct vcpu_guest_context *ctx);
int vcpu_reset(struct vcpu *v);
/* VCPUOP_up and down; d->lock is held. */
void vcpu_set_online(struct vcpu *v, bool online);
void vcpu_set_periodic_timer(struct vcpu *v, u64 period_ns); /* 0 stops it */
/* VCPUOP_register_vcpu_info. */
int vcpu_register_info(struct vcpu *v, mfn_t mfn, unsigned offset);
/* It uses its dummy from now on.  The frame stays referenced until no CPU can still have the pointer. */
void vcpu_unregister_info(struct vcpu *v);
void vcpu_release_info(struct vcpu *v);

/* domain/watchdog.c: SCHEDOP_watchdog.  The number of the timer for @id 0, else 0; -EINVAL, -ENOSPC. */
void watchdog_domain_init(struct domain *d);
void watchdog_domain_fini(struct domain *d); /* may be repeated */
int watchdog_set(struct domain *d, u32 id, u32 timeout_seconds);

#define for_each_vcpu(d, v)                             \
    for (unsigned i__ = 0; i__ < (d)->max_vcpus; i__++) \
        if (((v) = READ_ONCE((d)->vcpus[i__])) != NULL)

static inline bool
domain_is_pv(const struct domain *d)
{
    return d->kind == DOMAIN_PV;
}

static inline bool
domain_is_dying(const struct domain *d)
{
    return READ_ONCE(d->dying) != DOMAIN_ALIVE;
}

#endif
