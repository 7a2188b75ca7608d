/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A machine with a control domain, for tests of what a toolstack calls: the
 * hypervisor's own domains, scheduler, grants and event channels on pretend
 * CPUs.  Page tables and devices, which those calls only pass by, are stubs.
 */
#ifndef SERAI_TESTS_TOOLSTACK_H
#define SERAI_TESTS_TOOLSTACK_H

#include "domain/domain.h"

extern struct domain *toolstack_dom0;
extern unsigned toolstack_pages_filled;
extern int toolstack_set_context_rc;
extern struct vcpu_guest_context toolstack_context; /* the last one set */

/* Boots: CPUs, scheduler, dom0 with two vCPUs, the first of them current on CPU 0. */
void toolstack_begin(void);

/* Each repeats the call while it is preempted. */
s64 toolstack_domctl(u32 cmd, u16 id, struct xen_domctl *op);
s64 toolstack_sysctl(u32 cmd, struct xen_sysctl *op);
s64 toolstack_platform_op(u32 cmd, struct xen_platform_op *op);

/* A domain as libxl begins one: created, with vCPUs, paused. */
struct domain *toolstack_create(unsigned vcpus);
/* To its end: killed, quiesced, gone from the table. */
void toolstack_destroy(struct domain *d);

#endif
