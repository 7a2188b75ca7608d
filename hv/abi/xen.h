/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one place where the public Xen headers (libxen-dev) enter the hypervisor.  Everything that the
 * rest of the tree leans on in their layout is asserted here.
 */
#ifndef SERAI_ABI_XEN_H
#define SERAI_ABI_XEN_H

#include <assert.h>
#include <stdint.h>
#include <stddef.h>
#include <stdbool.h>

#ifndef __XEN_TOOLS__
#define __XEN_TOOLS__ 1 /* gives domctl, sysctl and the 64-bit guest handles */
#endif

#include <xen/xen.h>
#include <xen/version.h>
#include <xen/features.h>
#include <xen/sched.h>
#include <xen/vcpu.h>
#include <xen/memory.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/callback.h>
#include <xen/nmi.h>
#include <xen/physdev.h>
#include <xen/platform.h>
#include <xen/elfnote.h>
#include <xen/domctl.h>
#include <xen/sysctl.h>

/* errno values as the ABI numbers them, by their plain names. */
#define XEN_ERRNO(name, value) name = (value),
enum abi_errno {
#include <xen/errno.h>
};

/* Not an errno of the ABI: the operation stopped at a named stage and asks to be called again. */
#ifndef ERESTART
#define ERESTART 85
#endif

static_assert(sizeof(struct cpu_user_regs) == 200, "saved by entry.S field by field");
static_assert(offsetof(struct cpu_user_regs, error_code) == 120, "entry.S");
static_assert(offsetof(struct cpu_user_regs, rip) == 128, "entry.S");
static_assert(sizeof(struct vcpu_info) == 64, "32 of them fill the head of the shared info page");
static_assert(sizeof(struct vcpu_time_info) == 32, "embedded in vcpu_info");
static_assert(sizeof(struct shared_info) <= 4096, "one page");
static_assert(sizeof(struct multicall_entry) == 64, "op, result, six arguments");
static_assert(sizeof(struct mmu_update) == 16, "ptr, val");
static_assert(sizeof(struct grant_entry_v1) == 8, "512 entries a frame");

/* The hypervisor's part of each address space, by the ABI: L4 slots 256 to 271. */
#define HYPERVISOR_FIRST_L4_SLOT 256u
#define HYPERVISOR_LAST_L4_SLOT  271u
#define HYPERVISOR_START         0xffff800000000000ull
#define HYPERVISOR_END           0xffff880000000000ull

#endif
