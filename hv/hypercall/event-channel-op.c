/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* HYPERVISOR_event_channel_op(cmd, arg): arguments in and out, who may; the work is in domain/evtchn*.c. */
#include "hypercall/hypercall.h"
#include "domain/evtchn.h"
#include "mm/guest-copy.h"

/* The domain that an operation names, if the caller may act on it: itself, or one that it controls. */
static int
find_target(u16 id, struct domain **ret_domain)
{
    int rc = domain_find_or_self(id, ret_domain);

    if (rc)
        return rc;
    return *ret_domain == current->domain || may_control(*ret_domain) ? 0 : -EPERM;
}

static int
evtchnop_bind_interdomain(void *arg)
{
    struct evtchn_bind_interdomain *op = arg;
    struct domain *remote;
    int rc = domain_find_or_self(op->remote_dom, &remote);

    return rc ? rc : evtchn_bind_interdomain(current->domain, remote, op->remote_port, &op->local_port);
}

static int
evtchnop_bind_virq(void *arg)
{
    struct evtchn_bind_virq *op = arg;

    return evtchn_bind_virq(current->domain, op->virq, op->vcpu, &op->port);
}

static int
evtchnop_bind_pirq(void *arg)
{
    struct evtchn_bind_pirq *op = arg;

    return evtchn_bind_pirq(current->domain, op->pirq, op->flags & BIND_PIRQ__WILL_SHARE, &op->port);
}

static int
evtchnop_close(void *arg)
{
    struct evtchn_close *op = arg;

    return evtchn_close(current->domain, op->port);
}

static int
evtchnop_send(void *arg)
{
    struct evtchn_send *op = arg;

    return evtchn_send(current->domain, op->port);
}

static int
evtchnop_status(void *arg)
{
    struct evtchn_status *op = arg;
    struct domain *d;
    int rc = find_target(op->dom, &d);

    return rc ? rc : evtchn_status(d, op->port, op);
}

static int
evtchnop_alloc_unbound(void *arg)
{
    struct evtchn_alloc_unbound *op = arg;
    struct domain *d;
    int rc = find_target(op->dom, &d);

    if (rc)
        return rc;
    return evtchn_alloc_unbound(d, op->remote_dom == DOMID_SELF ? current->domain->id : op->remote_dom,
                                &op->port);
}

static int
evtchnop_bind_ipi(void *arg)
{
    struct evtchn_bind_ipi *op = arg;

    return evtchn_bind_ipi(current->domain, op->vcpu, &op->port);
}

static int
evtchnop_bind_vcpu(void *arg)
{
    struct evtchn_bind_vcpu *op = arg;

    return evtchn_bind_vcpu(current->domain, op->port, op->vcpu);
}

static int
evtchnop_unmask(void *arg)
{
    struct evtchn_unmask *op = arg;

    return evtchn_unmask(current->domain, op->port);
}

static int
evtchnop_reset(void *arg)
{
    struct evtchn_reset *op = arg;
    struct domain *d;
    int rc = find_target(op->dom, &d);

    return rc ? rc : evtchn_reset(d);
}

static int
evtchnop_init_control(void *arg)
{
    struct evtchn_init_control *op = arg;
    struct vcpu *v = vcpu_find(current->domain, op->vcpu);

    op->link_bits = EVTCHN_FIFO_LINK_BITS;
    return v ? evtchn_init_control(v, op->control_gfn, op->offset) : -ENOENT;
}

static int
evtchnop_expand_array(void *arg)
{
    struct evtchn_expand_array *op = arg;

    return evtchn_expand_array(current->domain, op->array_gfn);
}

static int
evtchnop_set_priority(void *arg)
{
    struct evtchn_set_priority *op = arg;

    return evtchn_set_priority(current->domain, op->port, op->priority);
}

static const struct subop evtchn_ops[] = {
    [EVTCHNOP_bind_interdomain] = {"bind_interdomain", evtchnop_bind_interdomain,
                                   SIZE(evtchn_bind_interdomain), IN_OUT, ANY_DOMAIN},
    [EVTCHNOP_bind_virq] = {"bind_virq", evtchnop_bind_virq, SIZE(evtchn_bind_virq), IN_OUT, ANY_DOMAIN},
    [EVTCHNOP_bind_pirq] = {"bind_pirq", evtchnop_bind_pirq, SIZE(evtchn_bind_pirq), IN_OUT, ANY_DOMAIN},
    [EVTCHNOP_close] = {"close", evtchnop_close, SIZE(evtchn_close), IN, ANY_DOMAIN},
    [EVTCHNOP_send] = {"send", evtchnop_send, SIZE(evtchn_send), IN, ANY_DOMAIN},
    [EVTCHNOP_status] = {"status", evtchnop_status, SIZE(evtchn_status), IN_OUT, ANY_DOMAIN},
    [EVTCHNOP_alloc_unbound] = {"alloc_unbound", evtchnop_alloc_unbound, SIZE(evtchn_alloc_unbound), IN_OUT,
                                ANY_DOMAIN},
    [EVTCHNOP_bind_ipi] = {"bind_ipi", evtchnop_bind_ipi, SIZE(evtchn_bind_ipi), IN_OUT, ANY_DOMAIN},
    [EVTCHNOP_bind_vcpu] = {"bind_vcpu", evtchnop_bind_vcpu, SIZE(evtchn_bind_vcpu), IN, ANY_DOMAIN},
    [EVTCHNOP_unmask] = {"unmask", evtchnop_unmask, SIZE(evtchn_unmask), IN, ANY_DOMAIN},
    [EVTCHNOP_reset] = {"reset", evtchnop_reset, SIZE(evtchn_reset), IN, ANY_DOMAIN},
    [EVTCHNOP_init_control] = {"init_control", evtchnop_init_control, SIZE(evtchn_init_control), IN_OUT,
                               ANY_DOMAIN},
    [EVTCHNOP_expand_array] = {"expand_array", evtchnop_expand_array, SIZE(evtchn_expand_array), IN,
                               ANY_DOMAIN},
    [EVTCHNOP_set_priority] = {"set_priority", evtchnop_set_priority, SIZE(evtchn_set_priority), IN,
                               ANY_DOMAIN},
};

s64
hypercall_event_channel_op(u64 *arg)
{
    u32 cmd = arg[0];

    /* The two that count take nothing but a port, and no detour. */
    if (likely(cmd == EVTCHNOP_send || cmd == EVTCHNOP_unmask)) {
        s64 port = copy_u32_from_guest(arg[1]);

        static_assert(sizeof(struct evtchn_send) == sizeof(u32), "nothing but the port");
        static_assert(sizeof(struct evtchn_unmask) == sizeof(u32), "nothing but the port");
        if (unlikely(port < 0))
            return -EFAULT;
        return likely(cmd == EVTCHNOP_send) ? evtchn_send(current->domain, port)
                                            : evtchn_unmask(current->domain, port);
    }
    return subop_call(evtchn_ops, ARRAY_SIZE(evtchn_ops), cmd, arg[1]);
}

/* The form from before 2006: the command stands in front of the argument in memory. */
s64
hypercall_event_channel_op_compat(u64 *arg)
{
    u32 cmd;

    if (copy_from_guest(&cmd, arg[0] + offsetof(struct evtchn_op, cmd), sizeof(cmd)))
        return -EFAULT;
    if (cmd > EVTCHNOP_unmask)
        return -ENOSYS;
    return subop_call(evtchn_ops, ARRAY_SIZE(evtchn_ops), cmd, arg[0] + offsetof(struct evtchn_op, u));
}
