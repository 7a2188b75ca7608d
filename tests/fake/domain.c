/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pretend domains, for tests below hv/domain/domain.c. */
#include "domain/domain.h"
#include "base/log.h"
#include "base/string.h"
#include "fake.h"
#include "fake-private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define DOMAINS 16u

static struct domain *domains[DOMAINS];
unsigned fake_domain_crashes;

void
fake_domains_forget(void)
{
    for (unsigned i = 0; i < DOMAINS; i++) {
        struct domain *d = domains[i];

        if (!d)
            continue;
        for (unsigned n = 0; n < d->max_vcpus; n++)
            free(d->vcpus[n]);
        free(d->vcpus);
        free(d);
        domains[i] = NULL;
    }
    fake_domain_crashes = 0;
}

struct domain *
fake_domain_new(u16 id, unsigned vcpus)
{
    struct domain *d = aligned_alloc(64, ROUND_UP(sizeof(*d), 64));

    memset(d, 0, sizeof(*d));
    d->id = id;
    d->kind = DOMAIN_PV;
    d->refcount = 1;
    d->pages_first = d->pages_last = d->extra_first = FRAME_NONE;
    d->page_max = ~0u;
    d->shared_mfn = MFN_INVALID;
    d->max_vcpus = vcpus;
    d->vcpus = calloc(vcpus + 1, sizeof(d->vcpus[0]));
    for (unsigned i = 0; i < vcpus; i++) {
        struct vcpu *v = aligned_alloc(64, ROUND_UP(sizeof(*v), 64));

        memset(v, 0, sizeof(*v));
        v->domain = d;
        v->id = i;
        v->pv.kernel_mode = true;
        v->pv.kernel_l4 = v->pv.user_l4 = v->info_mfn = MFN_INVALID;
        d->vcpus[i] = v;
    }
    for (unsigned i = 0; i < DOMAINS; i++)
        if (!domains[i]) {
            domains[i] = d;
            return d;
        }
    abort();
}

void
fake_run_as(struct vcpu *v, unsigned cpu)
{
    fake_cpu_set(cpu);
    current = v;
    v->cpu = cpu;
    v->is_running = true;
    cpumask_set(&v->domain->dirty_cpus, cpu);
}

FAKE struct domain *
domain_find(u16 id)
{
    for (unsigned i = 0; i < DOMAINS; i++)
        if (domains[i] && domains[i]->id == id)
            return domains[i];
    return NULL;
}

FAKE int
domain_find_or_self(u16 id, struct domain **ret_domain)
{
    struct domain *d = id == DOMID_SELF ? current->domain : domain_find(id);

    if (!d)
        return -ESRCH;
    *ret_domain = d;
    return 0;
}

FAKE struct domain *
domain_next(const struct domain *d)
{
    unsigned i = 0;

    if (d)
        while (i < DOMAINS && domains[i++] != d)
            ;
    for (; i < DOMAINS; i++)
        if (domains[i])
            return domains[i];
    return NULL;
}

FAKE void
domain_put(struct domain *d)
{
    if (!atomic_sub_return(&d->refcount, 1)) {
        fprintf(stderr, "fake machine: last reference to domain %u dropped\n", d->id);
        abort();
    }
}

FAKE void
domain_crash(struct domain *d, const char *fmt, ...)
{
    va_list args;
    char text[256];

    va_start(args, fmt);
    (vsnprintf)(text, sizeof(text), fmt, args);
    va_end(args);
    log_guest(LOG_ERR, "d%u crashed: %s", d->id, text);
    d->is_shut_down = true;
    fake_domain_crashes++;
}

FAKE struct vcpu *
vcpu_find(struct domain *d, unsigned id)
{
    return id < d->max_vcpus ? d->vcpus[id] : NULL;
}
