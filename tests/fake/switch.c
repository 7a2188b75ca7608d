/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The context switch of pretend CPUs: it returns, and the CPU is another vCPU. */
#include "domain/sched.h"
#include "fake.h"
#include "fake-private.h"

FAKE void
context_switch(struct vcpu *prev, struct vcpu *next)
{
    if (prev == next)
        return;
    current = next;
    sched_switch_done(prev);
}
