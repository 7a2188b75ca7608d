/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The doors.  A handler gets the caller's arguments in @arg, which it may change: when it returns -ERESTART,
 * the caller's registers (or multicall entry) take the changed values and the call is made again, after
 * whatever is pending on this CPU has had its turn.  The caller is `current`.
 */
#ifndef SERAI_HYPERCALL_HYPERCALL_H
#define SERAI_HYPERCALL_HYPERCALL_H

#include "domain/domain.h"

#define HYPERCALL_COUNT 64u

/* Units of work (entries, pages, grants) that a batch may do before it must return -ERESTART. */
#define PREEMPT_BUDGET 512u

typedef s64 hypercall_fn(u64 *arg);

enum hypercall_who { ANY_DOMAIN, CONTROL_DOMAIN, HARDWARE_DOMAIN };
enum { PV = 1, HVM = 2 };

struct hypercall {
    const char *name;
    hypercall_fn *handler;
    u8 args;
    u8 who;
    u8 guests;
} __attribute__((aligned(32))); /* so that an index is a shift */
extern const struct hypercall hypercalls[HYPERCALL_COUNT];

/* What the rows of second-level tables say of their arguments. */
#define SIZE(type) sizeof(struct type)

/* A second-level operation: its argument is copied in before and, IN_OUT, back after the handler. */
enum subop_direction { NO_ARG, IN, IN_OUT };
#define SUBOP_ARG_MAX 512u
struct subop {
    const char *name;
    int (*handler)(void *arg);
    u16 size;
    u8 direction;
    u8 who;
};
/*
 * -ENOSYS for a number without a row, -EPERM, -EFAULT, or what the handler says.  On -ERESTART the argument
 * is copied back too, so a handler keeps its progress there.
 */
s64 subop_call(const struct subop *table, unsigned count, unsigned op, u64 guest_arg);

/* May the current domain act as a toolstack on @d: it is the control domain, or @d is its target. */
bool may_control(const struct domain *d);

/* The command line that XENVER_commandline shows to the control domain; boot/ fills it. */
#define VERSION_CMDLINE_SIZE 1024u
extern char version_cmdline[VERSION_CMDLINE_SIZE];

hypercall_fn hypercall_mmu_update, hypercall_mmuext_op;
hypercall_fn hypercall_update_va_mapping, hypercall_update_va_mapping_otherdomain;
hypercall_fn hypercall_memory_op, hypercall_multicall, hypercall_event_channel_op, hypercall_grant_table_op;
hypercall_fn hypercall_sched_op, hypercall_vcpu_op, hypercall_set_timer_op, hypercall_vm_assist;
hypercall_fn hypercall_xen_version, hypercall_console_io, hypercall_physdev_op, hypercall_platform_op;
hypercall_fn hypercall_domctl, hypercall_sysctl, hypercall_xsm_op;
hypercall_fn hypercall_sched_op_compat, hypercall_event_channel_op_compat, hypercall_physdev_op_compat;

#endif
