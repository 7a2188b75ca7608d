/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What XEN_DOMCTL_setvnumainfo says of a domain, XENMEM_get_vnumainfo tells
 * it; before that there is none, with too little room the sizes are told, and
 * a topology that contradicts itself is refused (domctl.h, memory.h, "vNUMA").
 */
#include "guest.h"

#include <xen/domctl.h>

static u32 distances[] = {10, 21, 21, 10}, pnodes[] = {~0u, ~0u};
static u32 *vcpu_nodes; /* as many as the domain has vCPUs at most */
static struct xen_vmemrange ranges[2] = {{.start = 0, .end = 32 << 20, .nid = 0},
                                         {.start = 32 << 20, .end = 64 << 20, .nid = 1}};

static s64
set(u32 nodes, u32 vcpus)
{
    static struct xen_domctl op;

    op = (struct xen_domctl){.cmd = XEN_DOMCTL_setvnumainfo,
                             .interface_version = XEN_DOMCTL_INTERFACE_VERSION};
    op.u.vnuma.nr_vnodes = nodes;
    op.u.vnuma.nr_vmemranges = 2;
    op.u.vnuma.nr_vcpus = vcpus;
    set_xen_guest_handle_raw(op.u.vnuma.vdistance, distances);
    set_xen_guest_handle_raw(op.u.vnuma.vcpu_to_vnode, vcpu_nodes);
    set_xen_guest_handle_raw(op.u.vnuma.vnode_to_pnode, pnodes);
    set_xen_guest_handle_raw(op.u.vnuma.vmemrange, ranges);
    return HYPERCALL(domctl, &op);
}

void
test_main(void)
{
    static struct xen_vmemrange got_ranges[2];
    static u32 got_distances[4];
    u32 *got_vcpus = page_new();
    struct xen_vnuma_topology_info info = {.domid = DOMID_SELF};
    u32 vcpus;

    vcpu_nodes = page_new();
    EXPECT_RC(HYPERCALL(memory_op, XENMEM_get_vnumainfo, &info), -EOPNOTSUPP);

    for (vcpus = 1; vcpus <= 128 && set(2, vcpus) == -EINVAL; vcpus++)
        vcpu_nodes[vcpus] = vcpus & 1;
    CHECK(vcpus <= 128, "no number of vCPUs is right");
    EXPECT_RC(set(0, vcpus), -EINVAL);
    EXPECT_RC(set(1000000, vcpus), -EINVAL);
    ranges[1].nid = 2;
    EXPECT_RC(set(2, vcpus), -EINVAL);
    ranges[1].nid = 1;

    EXPECT_RC(HYPERCALL(memory_op, XENMEM_get_vnumainfo, &info), -ENOBUFS);
    CHECK(info.nr_vnodes == 2 && info.nr_vcpus == vcpus && info.nr_vmemranges == 2,
          "the sizes told are %u, %u, %u", info.nr_vnodes, info.nr_vcpus, info.nr_vmemranges);
    set_xen_guest_handle(info.vdistance.h, got_distances);
    set_xen_guest_handle(info.vcpu_to_vnode.h, got_vcpus);
    set_xen_guest_handle(info.vmemrange.h, got_ranges);
    EXPECT_RC(HYPERCALL(memory_op, XENMEM_get_vnumainfo, &info), 0);
    for (unsigned i = 0; i < 4; i++)
        CHECK(got_distances[i] == distances[i], "distance %u is %u", i, got_distances[i]);
    for (unsigned i = 0; i < vcpus; i++)
        CHECK(got_vcpus[i] == vcpu_nodes[i], "vCPU %u is on node %u", i, got_vcpus[i]);
    CHECK(got_ranges[1].start == 32 << 20 && got_ranges[1].end == 64 << 20 && got_ranges[1].nid == 1,
          "the second range is wrong");
    SUCCESS();
}
