/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Registers to row, to handler, to registers.  All refusals that do not depend on arguments are given here.
 *
 * A call that answers -ERESTART is made again: its arguments go back to the registers and RIP back to the SYSCALL
 * instruction (two bytes), so the guest repeats it after its interrupts.
 */
#include "base/string.h"
#include "hypercall/hypercall.h"
#include "mm/guest-copy.h"
#include "pv/pv.h"
#include "x86/entry-offsets.h"
#include "x86/upcalls.h"

#define SYSCALL_BYTES 2u

static bool
caller_is(const struct domain *d, unsigned who)
{
    switch (who) {
    case ANY_DOMAIN:
        return true;
    case CONTROL_DOMAIN:
        return d->is_privileged;
    default:
        return d->is_hardware;
    }
}

bool
may_control(const struct domain *d)
{
    return current->domain->is_privileged || (current->domain->target == d && d);
}

/* The call itself: -ENOSYS, -EPERM, or what the handler says. */
static inline s64
call(u64 nr, u64 *arg)
{
    const struct hypercall *row;

    if (unlikely(nr >= HYPERCALL_COUNT))
        return -ENOSYS;
    row = &hypercalls[index_nospec(nr, HYPERCALL_COUNT)];
    if (unlikely(!(row->guests & PV)))
        return -ENOSYS;
    if (unlikely(row->who) && !caller_is(current->domain, row->who))
        return -EPERM;
    return row->handler(arg);
}

void
hypercall_entry(struct cpu_user_regs *regs)
{
    u64 arg[6], nr = regs->rax;
    s64 rc;

    if (nr == __HYPERVISOR_iret) {
        pv_iret(current, regs);
        return;
    }
    arg[0] = regs->rdi;
    arg[1] = regs->rsi;
    arg[2] = regs->rdx;
    arg[3] = regs->r10;
    arg[4] = regs->r8;
    arg[5] = regs->r9;
    rc = call(nr, arg);
    if (likely(rc != -ERESTART)) {
        regs->rax = rc;
        return;
    }
    regs->rdi = arg[0];
    regs->rsi = arg[1];
    regs->rdx = arg[2];
    regs->r10 = arg[3];
    regs->r8 = arg[4];
    regs->r9 = arg[5];
    regs->rip -= SYSCALL_BYTES;
    regs->rcx = regs->rip;
}

/*
 * HYPERVISOR_multicall(call_list, nr_calls).  Each entry is read once, called, and its result written.  A call that is
 * preempted leaves its new arguments in its entry, and the list goes on from there.
 */
s64
hypercall_multicall(u64 *arg)
{
    u64 list = arg[0], count = (u32)arg[1];
    struct vcpu *v = current;

    for (u64 i = 0; i < count; i++, list += sizeof(struct multicall_entry)) {
        struct multicall_entry entry;
        s64 rc;

        if (unlikely(i == PREEMPT_BUDGET || (i && this_cpu()->softirqs))) {
            arg[0] = list;
            arg[1] = count - i;
            return -ERESTART;
        }
        if (unlikely(copy_from_guest(&entry, list, sizeof(entry))))
            return -EFAULT;
        rc = entry.op == __HYPERVISOR_multicall ? -EINVAL : call(entry.op, (u64 *)entry.args);
        if (unlikely(rc == -ERESTART)) {
            if (copy_to_guest(list, &entry, sizeof(entry)))
                return -EFAULT;
            arg[0] = list;
            arg[1] = count - i;
            return -ERESTART;
        }
        entry.result = rc;
        if (unlikely(copy_to_guest(list + offsetof(struct multicall_entry, result), &entry.result, sizeof(entry.result))))
            return -EFAULT;
        if (unlikely(domain_is_dying(v->domain) || v->domain->is_shutting_down))
            return 0;
    }
    return 0;
}

s64
subop_call(const struct subop *table, unsigned count, unsigned op, u64 guest_arg)
{
    u64 buffer[SUBOP_ARG_MAX / 8];
    const struct subop *row;
    s64 rc;

    if (unlikely(op >= count))
        return -ENOSYS;
    row = &table[index_nospec(op, count)];
    if (unlikely(!row->handler))
        return -ENOSYS;
    if (unlikely(!caller_is(current->domain, row->who)))
        return -EPERM;
    if (row->direction != NO_ARG && unlikely(copy_from_guest(buffer, guest_arg, row->size)))
        return -EFAULT;
    rc = row->handler(buffer);
    if (row->direction == IN_OUT && (rc >= 0 || rc == -ERESTART) && unlikely(copy_to_guest(guest_arg, buffer, row->size)))
        return -EFAULT;
    return rc;
}
