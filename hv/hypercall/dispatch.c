/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Registers to row, to handler, to registers.  All refusals that do not depend on arguments are given here.
 *
 * A call that answers -ERESTART is made again: its arguments go back to the registers and RIP back to the
 * SYSCALL instruction (two bytes), so the guest repeats it after its interrupts.
 */
#include "hypercall/hypercall.h"
#include "mm/guest-copy.h"
#include "pv/pv.h"
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
hypercall_entry(struct cpu_user_regs *regs, u64 *arg)
{
    s64 rc = call(regs->rax, arg);

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

#define MULTICALL_ARGS 6u
static_assert(sizeof(((struct multicall_entry *)0)->args) == MULTICALL_ARGS * sizeof(u64),
              "as many as registers");
#define ENTRY_FIELD(entry, field) ((entry) + offsetof(struct multicall_entry, field))

/*
 * HYPERVISOR_multicall(call_list, nr_calls).  Each entry is read once, called, and its result written.  A
 * call that is preempted leaves its new arguments in its entry, and the list goes on from there.  So it does
 * after a call that ends or stops the domain: that has raised a softirq here.
 */
s64
hypercall_multicall(u64 *arg)
{
    u64 entry = arg[0], count = (u32)arg[1], budget = MIN(count, PREEMPT_BUDGET);

    if (unlikely(!guest_range(entry, count * sizeof(struct multicall_entry))))
        return -EFAULT;
    for (u64 end = entry + budget * sizeof(struct multicall_entry); entry != end;) {
        u64 op, args[MULTICALL_ARGS];
        s64 rc;

        user_open();
        op = user_load(ENTRY_FIELD(entry, op), fault);
        for (unsigned i = 0; i < MULTICALL_ARGS; i++)
            args[i] = user_load(ENTRY_FIELD(entry, args[i]), fault);
        user_close();

        rc = op == __HYPERVISOR_multicall ? -EINVAL : call(op, args);

        user_open();
        if (unlikely(rc == -ERESTART)) {
            for (unsigned i = 0; i < MULTICALL_ARGS; i++)
                user_store(ENTRY_FIELD(entry, args[i]), args[i], fault);
            user_close();
            break;
        }
        user_store(ENTRY_FIELD(entry, result), rc, fault);
        user_close();
        entry += sizeof(struct multicall_entry);
        if (unlikely(this_cpu()->softirqs))
            break;
    }
    count -= (entry - arg[0]) / sizeof(struct multicall_entry);
    if (!count)
        return 0;
    arg[0] = entry;
    arg[1] = count;
    return -ERESTART;

fault:
    user_close();
    return -EFAULT;
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
    if (row->direction == IN_OUT && (rc >= 0 || rc == -ERESTART) &&
        unlikely(copy_to_guest(guest_arg, buffer, row->size)))
        return -EFAULT;
    return rc;
}
