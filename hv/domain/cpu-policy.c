/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPU policies: finding leaves, checking, and the toolstack's form of them.  Takes no lock: the machine's
 * policies do not change after boot, and a domain's is replaced by its caller, who owns both.
 */
#include "domain/cpu-policy.h"
#include "domain/domain.h"
#include "base/string.h"

const struct cpuid_policy *cpu_policy_system[CPU_POLICY_SYSTEM_COUNT];

#define EXTD_BASE 0x80000000u

static const struct cpuid_regs no_leaf;

/* --- where leaves live --- */

/*
 * The array that leaf @leaf is in, and how many subleaves it has; a leaf without subleaves is one element.
 * NULL for leaves that a policy has no room for.
 */
static struct cpuid_regs *
find_array(struct cpuid_policy *p, u32 leaf, u32 *ret_count)
{
    switch (leaf) {
    case 4:
        *ret_count = CPU_POLICY_CACHE;
        return p->cache;
    case 7:
        *ret_count = CPU_POLICY_FEAT;
        return p->feat;
    case 0xb:
        *ret_count = CPU_POLICY_TOPO;
        return p->topo;
    case 0xd:
        *ret_count = CPU_POLICY_XSTATE;
        return p->xstate;
    }
    *ret_count = 1;
    if (leaf < CPU_POLICY_BASIC)
        return &p->basic[index_nospec(leaf, CPU_POLICY_BASIC)];
    if (leaf - EXTD_BASE < CPU_POLICY_EXTD)
        return &p->extd[index_nospec(leaf - EXTD_BASE, CPU_POLICY_EXTD)];
    return NULL;
}

static bool
has_subleaves(u32 leaf)
{
    return leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd;
}

static u32
basic_limit(const struct cpuid_policy *p)
{
    return MIN(p->basic[0].a, CPU_POLICY_BASIC - 1);
}

static u32
extd_limit(const struct cpuid_policy *p)
{
    return MIN(p->extd[0].a & 0xffff, CPU_POLICY_EXTD - 1);
}

static u32
feat_limit(const struct cpuid_policy *p)
{
    return MIN(p->feat[0].a, CPU_POLICY_FEAT - 1);
}

/* The XSAVE components that the policy offers, by XCR0 or XSS. */
static u64
xstates(const struct cpuid_policy *p)
{
    return ((u64)p->xstate[0].d << 32 | p->xstate[0].a) | ((u64)p->xstate[1].d << 32 | p->xstate[1].c);
}

/* How many subleaves of @leaf mean something. */
static u32
subleaf_count(const struct cpuid_policy *p, u32 leaf)
{
    u32 n = 0;

    switch (leaf) {
    case 4: /* up to and with the first of type 0, "no more caches" */
        while (n < CPU_POLICY_CACHE - 1 && (p->cache[n].a & 0x1f))
            n++;
        return n + 1;
    case 7:
        return feat_limit(p) + 1;
    case 0xb: /* up to and with the first level of type 0 */
        while (n < CPU_POLICY_TOPO - 1 && (p->topo[n].c >> 8 & 0xff))
            n++;
        return n + 1;
    case 0xd:
        n = xstates(p) >> 2 ? 64 - (u32)__builtin_clzll(xstates(p)) : 2;
        return MIN(n, CPU_POLICY_XSTATE);
    }
    return 1;
}

const struct cpuid_regs *
cpu_policy_find(const struct cpuid_policy *p, u32 leaf, u32 subleaf)
{
    const struct cpuid_regs *array;
    u32 count;

    if (leaf < EXTD_BASE ? leaf > basic_limit(p) : leaf - EXTD_BASE > extd_limit(p))
        return NULL;
    array = find_array((struct cpuid_policy *)p, leaf, &count);
    if (!array)
        return NULL;
    if (count == 1)
        return array;
    if (subleaf >= count)
        return NULL;
    return &array[index_nospec(subleaf, count)];
}

const struct cpuid_policy *
cpu_policy_of(const struct domain *d)
{
    const struct cpuid_policy *own = READ_ONCE(d->cpuid);

    if (own)
        return own;
    return domain_is_pv(d) ? cpu_policy_system[XEN_SYSCTL_cpu_policy_pv_default]
                           : cpu_policy_system[XEN_SYSCTL_cpu_policy_hvm_default];
}

/* --- from the CPU --- */

void
cpu_policy_read(struct cpuid_policy *p, void (*cpuid)(u32 leaf, u32 subleaf, u32 ret_regs[4]))
{
    static const u32 bases[] = {0, EXTD_BASE};

    memset(p, 0, sizeof(*p));
    for (unsigned b = 0; b < ARRAY_SIZE(bases); b++) {
        u32 limit = 0;

        for (u32 leaf = bases[b]; leaf <= bases[b] + limit; leaf++) {
            u32 count, regs[4];
            struct cpuid_regs *array = find_array(p, leaf, &count);

            for (u32 sub = 0; sub < count; sub++) {
                /* Subleaf 0 and 1 of leaf 0xd say which others there are. */
                if (leaf == 0xd && sub >= 2 && !(xstates(p) >> sub & 1))
                    continue;
                cpuid(leaf, sub, regs);
                array[sub] = (struct cpuid_regs){regs[0], regs[1], regs[2], regs[3]};
            }
            if (leaf == bases[b])
                limit = b ? extd_limit(p) : basic_limit(p);
        }
    }
    cpu_policy_trim(p);
}

static void
zero_from(struct cpuid_regs *array, u32 from, u32 count)
{
    for (u32 i = from; i < count; i++)
        array[i] = no_leaf;
}

void
cpu_policy_trim(struct cpuid_policy *p)
{
    u32 limit = p->basic[0].a;

    zero_from(p->basic, basic_limit(p) + 1, CPU_POLICY_BASIC);
    zero_from(p->cache, limit < 4 ? 0 : subleaf_count(p, 4), CPU_POLICY_CACHE);
    zero_from(p->feat, limit < 7 ? 0 : subleaf_count(p, 7), CPU_POLICY_FEAT);
    zero_from(p->topo, limit < 0xb ? 0 : subleaf_count(p, 0xb), CPU_POLICY_TOPO);
    zero_from(p->xstate, limit < 0xd || !xstates(p) ? 0 : subleaf_count(p, 0xd), CPU_POLICY_XSTATE);
    zero_from(p->extd, extd_limit(p) + 1, CPU_POLICY_EXTD);
}

/* --- features --- */

/* The words of a featureset, in ABI order: where each comes from.  Words 16 and 17 are MSR 0x10a. */
static const struct feature_word {
    u32 leaf, subleaf;
    u8 reg; /* 0 EAX to 3 EDX */
} feature_words[CPU_FEATURESET_WORDS] = {
    {1, 0, 3}, {1, 0, 2},          {0x80000001, 0, 3}, {0x80000001, 0, 2}, {0xd, 1, 0},
    {7, 0, 1}, {7, 0, 2},          {0x80000007, 0, 3}, {0x80000008, 0, 1}, {7, 0, 3},
    {7, 1, 0}, {0x80000021, 0, 0}, {7, 1, 1},          {7, 2, 3},          {7, 1, 2},
    {7, 1, 3}, {~0u, 0, 0},        {~0u, 1, 0},        {0x80000021, 0, 2},
};

/* A word of the policy; NULL for the MSR's halves, or where the policy has no such leaf. */
static u32 *
find_feature_word(struct cpuid_policy *p, const struct feature_word *word)
{
    struct cpuid_regs *regs;
    u32 count;

    regs = find_array(p, word->leaf, &count);
    return regs ? &(&regs[word->subleaf].a)[word->reg] : NULL;
}

void
cpu_policy_featureset(const struct cpuid_policy *p, u32 ret_words[CPU_FEATURESET_WORDS])
{
    for (unsigned i = 0; i < CPU_FEATURESET_WORDS; i++) {
        const u32 *word = find_feature_word((struct cpuid_policy *)p, &feature_words[i]);

        ret_words[i] = word ? *word : (u32)(p->arch_caps >> (feature_words[i].subleaf ? 32 : 0));
    }
}

void
cpu_policy_clamp(struct cpuid_policy *guest, const struct cpuid_policy *max)
{
    for (unsigned i = 0; i < CPU_FEATURESET_WORDS; i++) {
        u32 *word = find_feature_word(guest, &feature_words[i]);
        const u32 *limit = find_feature_word((struct cpuid_policy *)max, &feature_words[i]);

        if (word)
            *word &= *limit;
    }
    guest->arch_caps &= max->arch_caps;
    guest->platform_info &= max->platform_info;

    /*
     * The sizes and offsets of XSAVE components are the machine's, and none is offered that it does not
     * switch.
     */
    guest->xstate[0].a &= max->xstate[0].a;
    guest->xstate[0].d &= max->xstate[0].d;
    guest->xstate[1].c &= max->xstate[1].c;
    guest->xstate[1].d &= max->xstate[1].d;
    for (u32 i = 2; i < CPU_POLICY_XSTATE; i++)
        guest->xstate[i] = xstates(guest) >> i & 1 ? max->xstate[i] : no_leaf;
}

/* The audit of interface version 4.17: limits, and PLATFORM_INFO; the rest is clamped. */
int
cpu_policy_check(const struct cpuid_policy *max, const struct cpuid_policy *guest,
                 struct cpu_policy_error *ret_error)
{
    struct cpu_policy_error error = CPU_POLICY_NO_ERROR;

    if (guest->basic[0].a > max->basic[0].a) {
        error.leaf = 0;
    } else if (guest->feat[0].a > max->feat[0].a) {
        error.leaf = 7;
        error.subleaf = 0;
    } else if (guest->extd[0].a > max->extd[0].a) {
        error.leaf = EXTD_BASE;
    } else if (guest->platform_info & ~max->platform_info) {
        error.msr = MSR_PLATFORM_INFO;
    } else {
        return 0;
    }
    *ret_error = error;
    return -EINVAL;
}

/* --- the wire --- */

static unsigned
put_leaf(struct xen_cpuid_leaf *leaves, unsigned n, u32 leaf, u32 subleaf, const struct cpuid_regs *regs)
{
    leaves[n] = (struct xen_cpuid_leaf){leaf, subleaf, regs->a, regs->b, regs->c, regs->d};
    return n + 1;
}

static unsigned
put_range(struct xen_cpuid_leaf *leaves, unsigned n, const struct cpuid_policy *p, u32 first, u32 last)
{
    for (u32 leaf = first; leaf <= last; leaf++) {
        u32 room, count = subleaf_count(p, leaf);
        const struct cpuid_regs *array = find_array((struct cpuid_policy *)p, leaf, &room);

        for (u32 sub = 0; sub < count; sub++)
            n = put_leaf(leaves, n, leaf, has_subleaves(leaf) ? sub : XEN_CPUID_NO_SUBLEAF, &array[sub]);
    }
    return n;
}

unsigned
cpu_policy_to_leaves(const struct cpuid_policy *p, struct xen_cpuid_leaf *leaves)
{
    unsigned n;

    n = put_range(leaves, 0, p, 0, basic_limit(p));
    n = put_leaf(leaves, n, 0x40000000, XEN_CPUID_NO_SUBLEAF, &(struct cpuid_regs){.a = p->hv_limit});
    n = put_leaf(leaves, n, 0x40000100, XEN_CPUID_NO_SUBLEAF, &(struct cpuid_regs){.a = p->hv2_limit});
    return put_range(leaves, n, p, EXTD_BASE, EXTD_BASE + extd_limit(p));
}

unsigned
cpu_policy_to_msrs(const struct cpuid_policy *p, struct xen_msr_entry *msrs)
{
    msrs[0] = (struct xen_msr_entry){.idx = MSR_PLATFORM_INFO, .val = p->platform_info};
    msrs[1] = (struct xen_msr_entry){.idx = MSR_ARCH_CAPABILITIES, .val = p->arch_caps};
    return 2;
}

int
cpu_policy_set_leaf(struct cpuid_policy *p, const struct xen_cpuid_leaf *leaf)
{
    struct cpuid_regs *array;
    u32 count, sub = leaf->subleaf;

    if (leaf->leaf == 0x40000000 || leaf->leaf == 0x40000100) {
        if (sub != XEN_CPUID_NO_SUBLEAF)
            return -ERANGE;
        *(leaf->leaf == 0x40000000 ? &p->hv_limit : &p->hv2_limit) = leaf->a;
        return 0;
    }

    array = find_array(p, leaf->leaf, &count);
    if (!array)
        return -ERANGE;
    if (!has_subleaves(leaf->leaf)) {
        if (sub != XEN_CPUID_NO_SUBLEAF)
            return -ERANGE;
        sub = 0;
    }
    if (sub >= count)
        return -ERANGE;
    array[index_nospec(sub, count)] = (struct cpuid_regs){leaf->a, leaf->b, leaf->c, leaf->d};
    return 0;
}

int
cpu_policy_set_msr(struct cpuid_policy *p, const struct xen_msr_entry *msr)
{
    if (msr->flags)
        return -EINVAL;
    switch (msr->idx) {
    case MSR_PLATFORM_INFO:
        if (msr->val != (u32)msr->val)
            return -EOVERFLOW;
        p->platform_info = msr->val;
        return 0;
    case MSR_ARCH_CAPABILITIES:
        p->arch_caps = msr->val;
        return 0;
    }
    return -ERANGE;
}
