/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/string.h"
#include "domain/grant.h"
#include "hypercall/hypercall.h"
#include "mm/frame-alloc.h"
#include "pv/pv.h"
#include "fake.h"
#include "pv-space.h"

#include <glib.h>

#define PAGES 1024u

struct domain *space_domain, *space_other;

bool
may_control(const struct domain *d)
{
    return current->domain->is_privileged;
}

void
pv_load_cr3(struct vcpu *v)
{
    g_assert_true(v == current);
}

void
pv_inject_page_fault(struct vcpu *v, u64 va, u32 error_code)
{
}

u32
grant_frames_max(const struct domain *d)
{
    return 4;
}

int
grant_frame_mfn(struct domain *d, u32 idx, mfn_t *ret_mfn)
{
    *ret_mfn = _mfn(700 + idx);
    return 0;
}

static const struct domain_ops ops = {.type_validate = pv_type_validate,
                                      .type_devalidate = pv_type_devalidate};

u64 *
space_table(u64 mfn)
{
    return direct_ptr(mfn_to_maddr(_mfn(mfn)));
}

void
space_create(void)
{
    struct mmuext_op op = {.cmd = MMUEXT_NEW_BASEPTR, .arg1.mfn = SPACE_L4};
    u64 arg[6] = {(u64)&op, 1, 0, DOMID_SELF};

    for (unsigned order = FRAME_ORDER_MAX + 1; order--;)
        while (!mfn_equal(frame_alloc_raw(order, 0), MFN_INVALID))
            ;
    fake_domains_forget();
    fake_machine_init(PAGES, 2);
    space_domain = fake_domain_new(1, 2);
    space_other = fake_domain_new(2, 1);
    space_domain->ops = space_other->ops = &ops;
    space_domain->page_max = SPACE_FRAMES + 100;
    for (u64 mfn = 1; mfn < SPACE_FRAMES; mfn++)
        g_assert_cmpint(page_assign(space_domain, _mfn(mfn), 0, 0), ==, 0);
    g_assert_cmpint(page_assign(space_other, _mfn(SPACE_OTHER), 0, 0), ==, 0);
    frame_alloc_add(_mfn(PAGES - 256), 256);

    space_table(SPACE_L4)[pte_index(SPACE_VA, L4_SHIFT)] = pte_make(_mfn(SPACE_L3), PTE_P | PTE_RW | PTE_US);
    space_table(SPACE_L3)[pte_index(SPACE_VA, L3_SHIFT)] = pte_make(_mfn(SPACE_L2), PTE_P | PTE_RW | PTE_US);
    space_table(SPACE_L2)[pte_index(SPACE_VA, L2_SHIFT)] = pte_make(_mfn(SPACE_L1), PTE_P | PTE_RW | PTE_US);
    space_table(SPACE_L1)[SPACE_SELF_SLOT] = pte_make(_mfn(SPACE_L1), PTE_P | PTE_US);
    fake_run_as(space_domain->vcpus[0], 0);
    g_assert_cmpint(hypercall_mmuext_op(arg), ==, 0);
}
