/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * HYPERVISOR_xsm_op: there are no loadable security policies; the answer is that of a Xen built without
 * them.
 */
#include "hypercall/hypercall.h"

s64
hypercall_xsm_op(u64 *arg)
{
    (void)arg;
    return -ENOSYS;
}
