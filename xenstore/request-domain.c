/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the requests about domains, their rings, features and limits.
 */
#include "request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <xen/xen.h>

/* A domain's number that is not one of the special ones. */
static int
domid_number(const char *text, uint16_t *ret_domid)
{
    uint64_t number;

    if (!wire_number(text, UINT16_MAX, &number) || number >= DOMID_FIRST_RESERVED)
        return -EINVAL;
    *ret_domid = number;
    return 0;
}

/* The @count strings of a request, the first of which names a domain. */
static int
domain_words(struct call *call, char **words, unsigned int wanted, uint16_t *ret_domid)
{
    unsigned int count;

    if (wire_strings(&call->payload, words, wanted, &count) || count != wanted)
        return -EINVAL;
    return domid_number(words[0], ret_domid);
}

static int
introduced_domain(struct call *call, const char *text, struct domain **ret_domain)
{
    uint16_t domid;
    int rc = domid_number(text, &domid);

    if (rc)
        return rc;
    *ret_domain = store_find_domain(call->store, domid);
    return *ret_domain && (*ret_domain)->introduced ? 0 : -ENOENT;
}

int
request_introduce(struct call *call)
{
    uint64_t gfn, port;
    uint16_t domid;
    char *words[3];
    int rc = domain_words(call, words, 3, &domid);

    if (rc)
        return rc;
    /* The frame is in signed decimal for some clients, and not used: the grant says where the ring is. */
    if (!wire_number(words[1] + (words[1][0] == '-'), UINT64_MAX, &gfn) ||
        !wire_number(words[2], UINT32_MAX, &port) || port == 0 || domid == 0)
        return -EINVAL;
    rc = store_introduce(call->store, domid, gfn, port);
    if (!rc)
        call_ok(call);
    return rc;
}

int
request_release(struct call *call)
{
    struct domain *domain;
    char *words[1];
    uint16_t domid;
    int rc = domain_words(call, words, 1, &domid);

    if (!rc)
        rc = domid ? introduced_domain(call, words[0], &domain) : -EINVAL;
    if (rc)
        return rc;
    call_ok(call);
    store_release(call->store, domid);
    return 0;
}

int
request_resume(struct call *call)
{
    struct domain *domain;
    char *words[1];
    uint16_t domid;
    int rc = domain_words(call, words, 1, &domid);

    if (!rc)
        rc = domid ? introduced_domain(call, words[0], &domain) : -EINVAL;
    if (rc)
        return rc;
    domain->shutdown = false;
    call_ok(call);
    return 0;
}

int
request_set_target(struct call *call)
{
    struct domain *domain, *target;
    char *words[2];
    uint16_t domid;
    int rc = domain_words(call, words, 2, &domid);

    if (!rc)
        rc = introduced_domain(call, words[0], &domain);
    if (!rc)
        rc = introduced_domain(call, words[1], &target);
    if (rc)
        return rc;
    /* A target is full access, which nobody gets to the privileged domain. */
    if (domain_privileged(target))
        return -EINVAL;
    domain->target = target->id;
    call_ok(call);
    return 0;
}

int
request_is_domain_introduced(struct call *call)
{
    struct domain *domain;
    char *words[1];
    unsigned int count;
    int rc = wire_strings(&call->payload, words, 1, &count);
    uint64_t number;

    if (rc || count != 1 || !wire_number(words[0], UINT16_MAX, &number))
        return -EINVAL;
    domain = store_find_domain(call->store, number);
    call_reply(call, number == DOMID_SELF || (domain && domain->introduced) ? "T" : "F", 2);
    return 0;
}

int
request_get_domain_path(struct call *call)
{
    char path[40];
    char *words[1];
    unsigned int count;
    uint64_t number;

    if (wire_strings(&call->payload, words, 1, &count) || count != 1 ||
        !wire_number(words[0], UINT16_MAX, &number))
        return -EINVAL;
    call_reply(call, path, snprintf(path, sizeof(path), "/local/domain/%u", (unsigned int)number) + 1);
    return 0;
}

int
request_get_feature(struct call *call)
{
    struct domain *domain;
    char *words[1];
    char reply[16];
    unsigned int count;
    uint16_t domid;
    int rc = wire_strings(&call->payload, words, 1, &count);

    if (rc)
        return rc;
    domain = store_find_domain(call->store, 0);
    if (count) {
        rc = domid_number(words[0], &domid);
        domain = rc ? NULL : store_find_domain(call->store, domid);
        if (!domain)
            return rc ? rc : -ENOENT;
    }
    call_reply(call, reply, snprintf(reply, sizeof(reply), "%u", domain->features) + 1);
    return 0;
}

int
request_set_feature(struct call *call)
{
    struct domain *domain;
    uint64_t features;
    char *words[2];
    uint16_t domid;
    int rc = domain_words(call, words, 2, &domid);

    if (rc || !wire_number(words[1], UINT32_MAX, &features))
        return -EINVAL;
    if (features & ~(uint64_t)store_find_domain(call->store, 0)->features || domid == 0)
        return -EINVAL;
    domain = store_domain(call->store, domid);
    if (!domain)
        return -ENOMEM;
    if (domain->introduced)
        return -EBUSY;
    domain->features = features;
    call_ok(call);
    return 0;
}

int
request_get_quota(struct call *call)
{
    const struct quota *quota = &call->store->quota;
    enum quota_kind kind;
    struct domain *domain;
    char reply[512];
    char *words[2];
    unsigned int count;
    uint16_t domid;
    size_t used = 0;
    int i, rc = wire_strings(&call->payload, words, 2, &count);

    if (rc)
        return rc;
    if (count == 0) {
        for (i = 0; i < QUOTA_COUNT; i++)
            used += snprintf(reply + used, sizeof(reply) - used, "%s%s", i ? " " : "", quota_name(i));
        call_reply(call, reply, used + 1);
        return 0;
    }
    if (count == 2) {
        rc = domid_number(words[0], &domid);
        domain = rc ? NULL : store_find_domain(call->store, domid);
        if (!domain)
            return rc ? rc : -ENOENT;
        quota = store_quota(call->store, domain);
    }
    if (!quota_find(words[count - 1], &kind))
        return -EINVAL;
    call_reply(call, reply, snprintf(reply, sizeof(reply), "%u", quota->limit[kind]) + 1);
    return 0;
}

int
request_set_quota(struct call *call)
{
    struct domain *domain;
    enum quota_kind kind;
    char *words[3];
    unsigned int count;
    uint64_t limit;
    uint16_t domid;
    int rc = wire_strings(&call->payload, words, 3, &count);

    if (rc || count < 2 || !quota_find(words[count - 2], &kind) ||
        !wire_number(words[count - 1], UINT32_MAX, &limit))
        return -EINVAL;
    if (count == 2) {
        call->store->quota.limit[kind] = limit;
        call_ok(call);
        return 0;
    }
    rc = domid_number(words[0], &domid);
    if (rc)
        return rc;
    domain = store_domain(call->store, domid);
    if (!domain)
        return -ENOMEM;
    if (!domain->own_quota)
        domain->quota = call->store->quota;
    domain->own_quota = true;
    domain->quota.limit[kind] = limit;
    call_ok(call);
    return 0;
}
