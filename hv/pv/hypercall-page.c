/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The hypercall page: 128 entry points of 32 bytes.  The guest calls slot n with the arguments in RDI RSI RDX
 * R10 R8 R9; SYSCALL takes RCX and R11, so the stub keeps them.  Slot 23, iret, is jumped to and leaves its
 * three values on the stack for the hypervisor to read.
 */
#include "pv/pv.h"

#include "base/string.h"
#include "domain/page.h"
#include "mm/map.h"

#define SLOT_SIZE 32u

void
pv_hypercall_page_fill(void *page)
{
    /* clang-format off */
    static const u8 call[] = {
        0x51,                /* push %rcx */
        0x41, 0x53,          /* push %r11 */
        0xb8, 0, 0, 0, 0,    /* mov  $nr, %eax */
        0x0f, 0x05,          /* syscall */
        0x41, 0x5b,          /* pop  %r11 */
        0x59,                /* pop  %rcx */
        0xc3,                /* ret */
    };
    static const u8 iret[] = {
        0x51,                /* push %rcx */
        0x41, 0x53,          /* push %r11 */
        0x50,                /* push %rax */
        0xb8, 23, 0, 0, 0,   /* mov  $__HYPERVISOR_iret, %eax */
        0x0f, 0x05,          /* syscall */
    };
    /* clang-format on */
    u8 *slot = page;

    static_assert(sizeof(call) <= SLOT_SIZE && sizeof(iret) <= SLOT_SIZE, "a slot of the ABI");
    static_assert(__HYPERVISOR_iret == 23, "the stub above names it");

    memset(page, 0xcc, PAGE_SIZE);
    for (unsigned nr = 0; nr < PAGE_SIZE / SLOT_SIZE; nr++, slot += SLOT_SIZE) {
        memcpy(slot, call, sizeof(call));
        slot[4] = nr;
    }
    memcpy((u8 *)page + __HYPERVISOR_iret * SLOT_SIZE, iret, sizeof(iret));
}

int
pv_hypercall_page_install(struct domain *d, mfn_t mfn)
{
    struct frame *frame;
    void *page;
    int rc;

    if (!frame_valid(mfn))
        return -EINVAL;
    frame = frame_of(mfn);
    rc = page_get_writable(frame, d);
    if (rc)
        return rc;
    page = map_frame(mfn);
    pv_hypercall_page_fill(page);
    unmap_frame(page);
    page_put_writable(frame);
    return 0;
}
