/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guest time: vcpu_time_info, wall clock, runstate areas. */
#ifndef SERAI_DOMAIN_TIME_H
#define SERAI_DOMAIN_TIME_H

#include "abi/xen.h"
#include "base/types.h"

struct vcpu;
struct domain;

struct domain_time {
    u32 tsc_mode;    /* XEN_DOMCTL_settscinfo; native only: TSC_MODE_DEFAULT or NEVER_EMULATE */
    u32 incarnation; /* counts restores */
    u64 tsc_khz;
    s64 system_time_offset_ns; /* unused while TSCs are native */
};

/*
 * Writes the vCPU's time info if it is out of date (version protocol of vcpu_time_info); on each switch to
 * it.
 */
void time_update_vcpu(struct vcpu *v);
/* Also the secondary area, right after it was registered. */
void time_force_update_vcpu(struct vcpu *v);
/* Writes shared_info's wc_* from the host's wall clock and the domain's offset. */
void time_update_wallclock(struct domain *d);
void time_update_all_wallclocks(void);

/*
 * Copies what the guest asked to have copied to addresses of its own (runstate, secondary time area).  @v is
 * current. While its user page tables are loaded those addresses mean nothing: then v->publish_pending stays
 * set, and whoever switches to the guest kernel's tables calls this again.
 */
void time_publish(struct vcpu *v);

/* The secondary area of @v, which need not be current, was just registered by the current vCPU. */
void time_publish_first(struct vcpu *v);

/* Accounts the change of state at @now under the scheduler's lock of the vCPU. */
void runstate_change(struct vcpu *v, int new_state, u64 now_ns);
/* time_publish() for the context switch: the runstate has just changed. */
void runstate_publish(struct vcpu *v);
void runstate_get(const struct vcpu *v, struct vcpu_runstate_info *ret_runstate);

#endif
