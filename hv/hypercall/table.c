/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hypercall/hypercall.h"
#include "pv/pv.h"

/*
 * The hypercalls, in ABI order.  A number without a row, or a row that is not for this kind of guest, answers
 * -ENOSYS; a caller without the right answers -EPERM.  Both answers are given in dispatch.c and nowhere else.
 * HYPERVISOR_iret (23) has no row: it returns no result and is dispatched by hand.
 */
/* clang-format off */
const struct hypercall hypercalls[HYPERCALL_COUNT] = {
    /*                                      name                     handler                        args  who may call  guests */
    [__HYPERVISOR_set_trap_table]       = {"set_trap_table",       hypercall_set_trap_table,       1, ANY_DOMAIN,     PV},
    [__HYPERVISOR_mmu_update]           = {"mmu_update",           hypercall_mmu_update,           4, ANY_DOMAIN,     PV},
    [__HYPERVISOR_set_gdt]              = {"set_gdt",              hypercall_set_gdt,              2, ANY_DOMAIN,     PV},
    [__HYPERVISOR_stack_switch]         = {"stack_switch",         hypercall_stack_switch,         2, ANY_DOMAIN,     PV},
    [__HYPERVISOR_set_callbacks]        = {"set_callbacks",        hypercall_set_callbacks,        3, ANY_DOMAIN,     PV},
    [__HYPERVISOR_fpu_taskswitch]       = {"fpu_taskswitch",       hypercall_fpu_taskswitch,       1, ANY_DOMAIN,     PV},
    [__HYPERVISOR_sched_op_compat]      = {"sched_op_compat",      hypercall_sched_op_compat,      2, ANY_DOMAIN,     PV},
    [__HYPERVISOR_platform_op]          = {"platform_op",          hypercall_platform_op,          1, HARDWARE_DOMAIN, PV | HVM},
    [__HYPERVISOR_set_debugreg]         = {"set_debugreg",         hypercall_set_debugreg,         2, ANY_DOMAIN,     PV},
    [__HYPERVISOR_get_debugreg]         = {"get_debugreg",         hypercall_get_debugreg,         1, ANY_DOMAIN,     PV},
    [__HYPERVISOR_update_descriptor]    = {"update_descriptor",    hypercall_update_descriptor,    2, ANY_DOMAIN,     PV},
    [__HYPERVISOR_memory_op]            = {"memory_op",            hypercall_memory_op,            2, ANY_DOMAIN,     PV | HVM},
    [__HYPERVISOR_multicall]            = {"multicall",            hypercall_multicall,            2, ANY_DOMAIN,     PV | HVM},
    [__HYPERVISOR_update_va_mapping]    = {"update_va_mapping",    hypercall_update_va_mapping,    3, ANY_DOMAIN,     PV},
    [__HYPERVISOR_set_timer_op]         = {"set_timer_op",         hypercall_set_timer_op,         1, ANY_DOMAIN,     PV | HVM},
    [__HYPERVISOR_event_channel_op_compat] = {"event_channel_op_compat", hypercall_event_channel_op_compat, 1, ANY_DOMAIN, PV},
    [__HYPERVISOR_xen_version]          = {"xen_version",          hypercall_xen_version,          2, ANY_DOMAIN,     PV | HVM},
    [__HYPERVISOR_console_io]           = {"console_io",           hypercall_console_io,           3, ANY_DOMAIN,     PV | HVM},
    [__HYPERVISOR_physdev_op_compat]    = {"physdev_op_compat",    hypercall_physdev_op_compat,    1, ANY_DOMAIN,     PV},
    [__HYPERVISOR_grant_table_op]       = {"grant_table_op",       hypercall_grant_table_op,       3, ANY_DOMAIN,     PV | HVM},
    [__HYPERVISOR_vm_assist]            = {"vm_assist",            hypercall_vm_assist,            2, ANY_DOMAIN,     PV | HVM},
    [__HYPERVISOR_update_va_mapping_otherdomain] =
        {"update_va_mapping_otherdomain", hypercall_update_va_mapping_otherdomain, 4, ANY_DOMAIN, PV},
    [__HYPERVISOR_vcpu_op]              = {"vcpu_op",              hypercall_vcpu_op,              3, ANY_DOMAIN,     PV | HVM},
    [__HYPERVISOR_set_segment_base]     = {"set_segment_base",     hypercall_set_segment_base,     2, ANY_DOMAIN,     PV},
    [__HYPERVISOR_mmuext_op]            = {"mmuext_op",            hypercall_mmuext_op,            4, ANY_DOMAIN,     PV},
    [__HYPERVISOR_xsm_op]               = {"xsm_op",               hypercall_xsm_op,               1, ANY_DOMAIN,     PV | HVM},
    [__HYPERVISOR_nmi_op]               = {"nmi_op",               hypercall_nmi_op,               2, ANY_DOMAIN,     PV},
    [__HYPERVISOR_sched_op]             = {"sched_op",             hypercall_sched_op,             2, ANY_DOMAIN,     PV | HVM},
    [__HYPERVISOR_callback_op]          = {"callback_op",          hypercall_callback_op,          2, ANY_DOMAIN,     PV},
    [__HYPERVISOR_event_channel_op]     = {"event_channel_op",     hypercall_event_channel_op,     2, ANY_DOMAIN,     PV | HVM},
    [__HYPERVISOR_physdev_op]           = {"physdev_op",           hypercall_physdev_op,           2, ANY_DOMAIN,     PV},
    [__HYPERVISOR_sysctl]               = {"sysctl",               hypercall_sysctl,               1, CONTROL_DOMAIN, PV | HVM},
    [__HYPERVISOR_domctl]               = {"domctl",               hypercall_domctl,               1, ANY_DOMAIN,     PV | HVM},
};
/* clang-format on */
