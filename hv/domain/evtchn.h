/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Event channels: ports, pending bits, who wakes.  2-level and FIFO. */
#ifndef SERAI_DOMAIN_EVTCHN_H
#define SERAI_DOMAIN_EVTCHN_H

#include "domain/domain.h"

int evtchn_init(struct domain *d, u32 max_port); /* of createdomain: max_evtchn_port */
/* Closes all; may be repeated; -ERESTART in between. */
int evtchn_relinquish(struct domain *d);
void evtchn_fini(struct domain *d);
int evtchn_vcpu_init(struct vcpu *v);
void evtchn_vcpu_fini(struct vcpu *v);

int evtchn_alloc_unbound(struct domain *d, u16 remote, u32 *ret_port); /* the hypervisor's use: dom0 build */

/* The guest of @d rings @port (EVTCHNOP_send). */
int evtchn_send(struct domain *d, u32 port);
/* Raises a VIRQ that each vCPU has for itself, or one of the whole domain. */
void evtchn_send_vcpu_virq(struct vcpu *v, u32 virq);
void evtchn_send_global_virq(struct domain *d, u32 virq);
/*
 * VIRQs for whoever is told by XEN_DOMCTL_set_virq_handler, else the hardware domain: DOM_EXC, CON_RING, ...
 */
void evtchn_send_host_virq(u32 virq);
int evtchn_set_virq_handler(struct domain *d, u32 virq);
/* The interrupt behind @port fired: marks it pending; false when it is bound to no vCPU. */
bool evtchn_send_pirq(struct domain *d, u32 port);
/* Whether the guest has @port pending or masked (EOI of PIRQs waits for it). */
bool evtchn_is_pending(struct domain *d, u32 port);
bool evtchn_is_masked(struct domain *d, u32 port);

/* vcpu_info moved (VCPUOP_register_vcpu_info): the pending selector starts all set. */
void evtchn_vcpu_info_moved(struct vcpu *v);

/*
 * EVTCHNOP_*, for @d.  Errors as the ABI documents them: -EINVAL no such port or not of that kind, -ENOENT no
 * such vCPU, -ENOSPC, -EEXIST, -ENOMEM.
 */
int evtchn_bind_interdomain(struct domain *d, struct domain *remote, u32 remote_port, u32 *ret_port);
int evtchn_bind_virq(struct domain *d, u32 virq, u32 vcpu, u32 *ret_port);
int evtchn_bind_ipi(struct domain *d, u32 vcpu, u32 *ret_port);
int evtchn_bind_pirq(struct domain *d, u32 pirq, bool share, u32 *ret_port);
int evtchn_bind_vcpu(struct domain *d, u32 port, u32 vcpu);
int evtchn_close(struct domain *d, u32 port);
int evtchn_status(struct domain *d, u32 port, struct evtchn_status *status);
int evtchn_unmask(struct domain *d, u32 port);
int evtchn_init_control(struct vcpu *v, u64 gfn, u32 offset);
int evtchn_expand_array(struct domain *d, u64 gfn);
int evtchn_set_priority(struct domain *d, u32 port, u32 priority);
/* Also of XEN_DOMCTL_soft_reset: closes all, and goes back to 2-level; -ERESTART in between. */
int evtchn_reset(struct domain *d);

/*
 * SCHEDOP_poll of the current vCPU: between begin and end, an event for @port (0: for any port) wakes it.
 * What was pending at begin is for the caller to look at, after begin.
 */
void evtchn_poll_begin(struct vcpu *v, u32 port);
void evtchn_poll_end(struct vcpu *v);
/* After vcpu_block(): an event that came between begin and that found nobody asleep; this wakes it then. */
void evtchn_poll_commit(struct vcpu *v);
/* Whether the guest has bound @port and an event is pending there. */
bool evtchn_poll_check(struct domain *d, u32 port);

void evtchn_dump(struct domain *d); /* debug-keys e */

/* pirq side, provided by domain/pirq.c */
int pirq_bind(struct vcpu *v, u32 pirq, u32 port, bool share);
void pirq_unbind(struct domain *d, u32 pirq);
void pirq_rebind_vcpu(struct domain *d, u32 pirq, struct vcpu *v);
/* The guest finished with it (PHYSDEVOP_eoi, or EVTCHNOP_unmask of a level interrupt). */
void pirq_eoi(struct domain *d, u32 pirq);

#endif
