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
/* VIRQs for whoever is told by XEN_DOMCTL_set_virq_handler, else the hardware domain: DOM_EXC, CON_RING, ... */
void evtchn_send_host_virq(u32 virq);
int evtchn_set_virq_handler(struct domain *d, u32 virq);
/* The interrupt behind @port fired: marks it pending; false when it is bound to no vCPU. */
bool evtchn_send_pirq(struct domain *d, u32 port);
/* Whether the guest has @port pending or masked (EOI of PIRQs waits for it). */
bool evtchn_is_pending(struct domain *d, u32 port);
bool evtchn_is_masked(struct domain *d, u32 port);

/* vcpu_info moved (VCPUOP_register_vcpu_info): the pending selector starts all set. */
void evtchn_vcpu_info_moved(struct vcpu *v);

/* XEN_DOMCTL_soft_reset / EVTCHNOP_reset. */
int evtchn_reset(struct domain *d);
void evtchn_dump(struct domain *d); /* debug-keys e */

/* pirq side, provided by domain/pirq.c */
int pirq_bind(struct vcpu *v, u32 pirq, u32 port, bool share);
void pirq_unbind(struct domain *d, u32 pirq);
void pirq_rebind_vcpu(struct domain *d, u32 pirq, struct vcpu *v);
/* The guest finished with it (PHYSDEVOP_eoi, or EVTCHNOP_unmask of a level interrupt). */
void pirq_eoi(struct domain *d, u32 pirq);

#endif
