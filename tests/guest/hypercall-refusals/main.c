/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A number that names no hypercall, or no operation of one, answers -ENOSYS;
 * a pointer to nothing -EFAULT; a domain that does not exist -ESRCH (xen.h,
 * "Hypercalls"; errno.h).  None of them changes anything or ends the domain.
 */
#include "guest.h"

/* Of a list that runs into a page that is not there, the entries before it are carried out. */
static void
check_list_with_an_end(void)
{
    char *page = page_new(), *gap = page_new();
    struct multicall_entry *last = (struct multicall_entry *)gap - 1;

    last->op = __HYPERVISOR_xen_version;
    last->args[0] = XENVER_pagesize;
    EXPECT_RC(HYPERCALL(update_va_mapping, gap, 0, UVMF_INVLPG | UVMF_LOCAL), 0);
    EXPECT_RC(HYPERCALL(multicall, last, 2), -EFAULT);
    CHECK(page + 4096 == gap && last->result == 4096, "the entry before the gap gave %ld",
          (long)last->result);
}

void
test_main(void)
{
    const u64 nowhere = 0x10000, hypervisor = 0xffff830000000000ull, not_canonical = 0x8000000000000000ull;
    static const unsigned gaps[] = {45, 47, 50, 55, 57, 63};
    struct evtchn_send send = {.port = ~0u};
    struct multicall_entry call = {.op = 63};

    for (unsigned i = 0; i < sizeof(gaps) / sizeof(gaps[0]); i++)
        EXPECT_RC(hypercall6(gaps[i], 0, 0, 0, 0, 0), -ENOSYS);
    EXPECT_RC(HYPERCALL(xen_version, 999), -ENOSYS);
    EXPECT_RC(HYPERCALL(sched_op, 999, 0), -ENOSYS);
    EXPECT_RC(HYPERCALL(memory_op, 63, 0), -ENOSYS);
    EXPECT_RC(HYPERCALL(event_channel_op, 999, 0), -ENOSYS);
    EXPECT_RC(HYPERCALL(vcpu_op, 999, 0, 0), -ENOSYS);
    EXPECT_RC(HYPERCALL(vcpu_op, VCPUOP_is_up, 4000, 0), -ENOENT);

    EXPECT_RC(HYPERCALL(event_channel_op, EVTCHNOP_send, nowhere), -EFAULT);
    EXPECT_RC(HYPERCALL(event_channel_op, EVTCHNOP_send, hypervisor), -EFAULT);
    EXPECT_RC(HYPERCALL(event_channel_op, EVTCHNOP_send, not_canonical), -EFAULT);
    EXPECT_RC(HYPERCALL(event_channel_op, EVTCHNOP_send, &send), -EINVAL);
    EXPECT_RC(HYPERCALL(memory_op, XENMEM_populate_physmap, hypervisor), -EFAULT);
    EXPECT_RC(HYPERCALL(mmu_update, hypervisor, 1, 0, DOMID_SELF), -EFAULT);
    EXPECT_RC(HYPERCALL(multicall, nowhere, 1), -EFAULT);
    EXPECT_RC(HYPERCALL(multicall, &call, 1), 0);
    CHECK((s64)call.result == -ENOSYS, "a multicall of nothing gave %ld", (long)call.result);
    EXPECT_RC(HYPERCALL(multicall, hypervisor - sizeof(call), 2), -EFAULT);
    call.op = __HYPERVISOR_multicall;
    EXPECT_RC(HYPERCALL(multicall, &call, 1), 0);
    CHECK((s64)call.result == -EINVAL, "a multicall in a multicall gave %ld", (long)call.result);
    check_list_with_an_end();
    EXPECT_RC(HYPERCALL(console_io, CONSOLEIO_write, 10, hypervisor), -EFAULT);
    EXPECT_RC(HYPERCALL(xen_version, XENVER_version) >> 16, 4);
}
