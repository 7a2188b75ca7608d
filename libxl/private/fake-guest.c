/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the guest of a pretend domain does: it stops when it is told to, goes to sleep and wakes up. */
#include "private/fake-internal.h"

void
fake_guest_wake(FakeHv *hv, FakeDomain *d)
{
    start_info_t *info = d->start_info ? frame_data(hv, d->start_info) : NULL;

    if (!info)
        return;
    for (xen_pfn_t mfn = 1; mfn < SERAI_FAKE_PAGES; mfn++) {
        if (hv->owner[mfn] != d->owner)
            continue;
        if (hv->m2p[mfn] == info->store_mfn)
            d->woken_store = mfn;
        if (hv->m2p[mfn] == info->console.domU.mfn)
            d->woken_console = mfn;
    }
    info->store_mfn = d->woken_store;
    info->console.domU.mfn = d->woken_console;
    d->start_info = 0;
}

void
serai_fake_shutdown(SeraiHv *base, uint32_t domid, uint32_t reason)
{
    FakeHv *hv = (FakeHv *)base;
    FakeDomain *d;

    g_mutex_lock(&hv->lock);
    d = domain_get(hv, domid);
    if (d) {
        d->shutdown = TRUE;
        d->reason = reason;
    }
    g_mutex_unlock(&hv->lock);
    fake_raise_exception(hv);
}

/* Before it sleeps a guest says where its p2m list is, and has its start info in a register. */
static void
guest_suspend(FakeHv *hv, FakeDomain *d)
{
    vcpu_guest_context_t *c = &d->contexts[0];
    shared_info_t *shared = frame_data(hv, d->shared_info);
    xen_pfn_t mfn = fake_walk(hv, c->ctrlreg[3], c->user_regs.rsi);
    start_info_t *info;

    if (!mfn)
        return;
    shared->arch.max_pfn = d->pages;
    shared->arch.p2m_cr3 = c->ctrlreg[3];
    info = frame_data(hv, mfn);
    shared->arch.p2m_vaddr = info->mfn_list;
    info->store_mfn = hv->m2p[info->store_mfn];
    info->console.domU.mfn = hv->m2p[info->console.domU.mfn];
    c->user_regs.rdx = d->start_info = mfn;
}

gboolean
serai_fake_guest_request(SeraiHv *base, uint32_t domid, const char *request)
{
    static const char *const words[] = {"poweroff", "reboot", "suspend", "crash"};
    FakeHv *hv = (FakeHv *)base;
    gboolean done = FALSE;
    FakeDomain *d;

    g_mutex_lock(&hv->lock);
    d = domain_get(hv, domid);
    for (guint i = 0; d && !d->pause_count && i < G_N_ELEMENTS(words); i++) {
        if (strcmp(request, words[i]))
            continue;
        if (i == SHUTDOWN_suspend)
            guest_suspend(hv, d);
        d->shutdown = TRUE;
        d->reason = i;
        done = TRUE;
    }
    g_mutex_unlock(&hv->lock);
    if (done)
        fake_raise_exception(hv);
    return done;
}
