/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every hypercall, by the control domain and by guests, with arguments of every kind of wrongness.
 *
 * An input is a script: each step says who calls, what, and with which bytes behind the pointers.  Domains,
 * scheduler, event channels, grants, frames and page tables are the hypervisor's own, on pretend CPUs;
 * devices are stubs.  Each script runs on a fresh control domain and two guests, and at its end all domains
 * are destroyed: every frame must come back.
 */
#include "base/string.h"
#include "domain/cpu-policy.h"
#include "domain/evtchn.h"
#include "domain/grant.h"
#include "domain/page.h"
#include "domain/permission.h"
#include "domain/pirq.h"
#include "domain/sched.h"
#include "hypercall/hypercall.h"
#include "mm/frame-alloc.h"
#include "mm/heap.h"
#include "pv/pv.h"
#include "x86/machine.h"
#include "x86/memory-range.h"
#include "x86/serial.h"
#include "x86/upcalls.h"
#include "x86/usercopy.h"
#include "fake.h"
#include "fuzz.h"

#include <setjmp.h>
#include <stdlib.h>

#define PAGES    2048u
#define CPUS     4u
#define STEPS    24u
#define ARENA    (64 * 1024u)
#define RESTARTS 40u

/* Where an argument comes from. */
enum kind { ZERO, BLOB, OP, A, B, C, ONES, ELSEWHERE, KINDS };

struct step {
    u8 who, nr, op;
    u8 kinds[6];
    u8 pad[3];
    u32 a, b, c;
    u8 blob[160];
};

/* A word in a blob with this in its upper half becomes a pointer into the arena, by its lower 16 bits. */
#define POINTER 0xb10bb10bull

static u8 arena[ARENA] __attribute__((aligned(4096)));
static jmp_buf reboot_jump;
static u64 free_at_start;
static u64 seen_calls[64], seen_good[64]; /* so that a run which tests nothing is seen */
static struct domain *callers[3];

/* --- what is not there: devices, and the CPU's side of PV --- */

#define STUB(type, name, args, result) \
    type name args                     \
    {                                  \
        return result;                 \
    }
/* clang-format off */
STUB(int, pirq_bind, (struct vcpu *v, u32 pirq, u32 port, bool share), -EINVAL)
STUB(u32, pirq_count, (const struct domain *d), d->is_hardware ? 256 : 0)
STUB(size_t, serial_read, (char *buf, size_t size), 0)
bool (*serial_input_hook)(char c);
STUB(int, machine_enter_acpi_sleep, (u16 a, u16 b, u32 state), -EINVAL)
STUB(bool, pv_emulate_privileged, (struct cpu_user_regs *regs), false)
STUB(bool, pv_emulate_forced_invalid_op, (struct cpu_user_regs *regs), false)
STUB(s64, hypercall_physdev_op, (u64 *arg), -ENOSYS)
STUB(s64, hypercall_physdev_op_compat, (u64 *arg), -ENOSYS)

void pirq_unbind(struct domain *d, u32 pirq) {}
void pirq_rebind_vcpu(struct domain *d, u32 pirq, struct vcpu *v) {}
void pirq_eoi(struct domain *d, u32 pirq) {}
void pirq_domain_fini(struct domain *d) {}
void pirq_dump(struct domain *d) {}
void time_set_wallclock(u64 sec, u32 nsec, u64 system_time_ns) {}
void pv_load_cr3(struct vcpu *v) {}
void pv_load_cr4(struct vcpu *v) {}
void pv_load_debugregs(struct vcpu *v) {}
void pv_toggle_mode(struct vcpu *v) {}
/* clang-format on */

void
pv_bounce(struct vcpu *v, struct cpu_user_regs *regs, u64 rip, u16 cs, bool mask_events)
{
}

void
pv_bounce_error(struct vcpu *v, struct cpu_user_regs *regs, u64 rip, u16 cs, bool mask_events, u32 error_code)
{
}

void
machine_reboot(void)
{
    longjmp(reboot_jump, 1);
}

struct memory_range memory_ranges[MEMORY_RANGE_MAX] = {
    {.start = 0, .end = PAGES * PAGE_SIZE, .type = MEMORY_RAM},
};
unsigned memory_range_count = 1;

/* The callers' memory is the arena and nothing else; what crosses its end faults there. */
static size_t
reachable(const void *p, size_t size)
{
    u64 offset = (u64)p - (u64)arena;

    return offset < ARENA ? MIN(size, ARENA - offset) : 0;
}

size_t
usercopy_in(void *dst, const void *src, size_t size)
{
    size_t n = reachable(src, size);

    if (n)
        memcpy(dst, src, n);
    return size - n;
}

size_t
usercopy_out(void *dst, const void *src, size_t size)
{
    size_t n = reachable(dst, size);

    if (n)
        memcpy(dst, src, n);
    return size - n;
}

size_t
usercopy_clear(void *dst, size_t size)
{
    size_t n = reachable(dst, size);

    if (n)
        memset(dst, 0, n);
    return size - n;
}

static int
ok_domain(struct domain *d)
{
    return 0;
}

static void
done_domain(struct domain *d)
{
}

static int
ok_vcpu(struct vcpu *v)
{
    v->pv.traps = heap_zalloc(PAGE_SIZE);
    return v->pv.traps ? 0 : -ENOMEM;
}

static void
done_vcpu(struct vcpu *v)
{
    heap_free(v->pv.traps);
}

static int
relinquish(struct domain *d)
{
    struct vcpu *v;
    int rc;

    for_each_vcpu(d, v) {
        rc = pv_drop_cr3(v);
        if (rc)
            return rc;
        pv_drop_gdt(v);
        pv_drop_ldt(v);
    }
    return 0;
}

static int
set_context(struct vcpu *v, const struct vcpu_guest_context *ctx)
{
    return 0;
}

static void
get_context(struct vcpu *v, struct vcpu_guest_context *ctx)
{
}

static void
no_registers(struct vcpu *v)
{
}

const struct domain_ops pv_domain_ops = {
    .domain_init = ok_domain,
    .domain_fini = done_domain,
    .vcpu_init = ok_vcpu,
    .vcpu_fini = done_vcpu,
    .type_validate = pv_type_validate,
    .type_devalidate = pv_type_devalidate,
    .relinquish = relinquish,
    .set_context = set_context,
    .get_context = get_context,
    .context_save = no_registers,
    .context_load = no_registers,
};

/* A CPU that waits lets the others get on with what they were asked. */
void
cpu_relax_poll(void)
{
    static bool inside;
    struct cpu *me = fake_cpu;

    if (inside)
        return;
    inside = true;
    for (unsigned i = 0; i < CPUS; i++)
        if (&fake_cpus[i] != me) {
            fake_cpu_set(i);
            softirq_run();
        }
    fake_cpu = me;
    inside = false;
}

/* --- the machine --- */

/* FUZZ_STATS in the environment: what came of the calls. */
static void
tell_stats(void)
{
    for (unsigned nr = 0; nr < 64; nr++)
        if (seen_calls[nr])
            g_print("%-24s %8lu calls, %8lu good\n", hypercalls[nr].name ? hypercalls[nr].name : "?",
                    seen_calls[nr], seen_good[nr]);
}

static void
some_cpu(u32 leaf, u32 subleaf, u32 regs[4])
{
    memset(regs, 0, 4 * sizeof(regs[0]));
    if (leaf == 0)
        regs[0] = 0xd;
    if (leaf == 0x80000000)
        regs[0] = 0x80000008;
}

static void
boot(void)
{
    static struct cpuid_policy policy;

    fake_machine_init(PAGES, CPUS);
    frame_alloc_add(_mfn(1), PAGES - 1);
    domain_init();
    sched_init();
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        fake_cpu_set(cpu);
        timer_cpu_init(cpu);
        if (sched_cpu_init(cpu))
            abort();
        current = this_cpu()->idle;
        current->is_running = true;
    }
    fake_cpu_set(0);
    cpu_policy_read(&policy, some_cpu);
    cpu_policy_system[XEN_SYSCTL_cpu_policy_raw] = cpu_policy_system[XEN_SYSCTL_cpu_policy_host] =
        cpu_policy_system[XEN_SYSCTL_cpu_policy_pv_max] =
            cpu_policy_system[XEN_SYSCTL_cpu_policy_pv_default] = &policy;
}

static void
begin_domain(unsigned id)
{
    struct xen_domctl_createdomain config = {
        .max_vcpus = id ? 1 : 2,
        .max_evtchn_port = 255,
        .max_grant_frames = 4,
        .max_maptrack_frames = 4,
        .grant_opts = XEN_DOMCTL_GRANT_version(1),
    };
    struct domain *d;
    struct vcpu *v;

    if (domain_create(id ? id : 0, &config, &d))
        abort();
    callers[id] = d;
    d->page_max = 64;
    if (!id) {
        d->is_hardware = d->is_privileged = true;
        hardware_domain = d;
        if (permission_init_hardware(d))
            abort();
    }
    for (unsigned i = 0; i < config.max_vcpus; i++) {
        if (vcpu_create(d, i, &v))
            abort();
        v->initialised = true;
        v->down_by_guest = false;
        sched_set_state(v, VCPU_RUNNABLE);
    }
    for (unsigned i = 0; i < 16; i++) {
        mfn_t mfn;

        if (page_alloc(d, 0, 0, 0, &mfn))
            abort();
        if (i < GNTTAB_NR_RESERVED_ENTRIES && grant_seed(d, i, i % 3, mfn_x(mfn)))
            abort();
    }
    domain_unpause_by_controller(d);
}

/* Ends all domains, whoever made them, and counts what is left. */
static void
end_all(void)
{
    struct domain *d;

    hardware_domain = NULL;
    for_each_domain(d)
        domain_pause_nosync(d); /* so that this CPU is nobody's */
    fake_run_all();
    fake_cpu_set(0);
    for (unsigned tries = 0; domain_next(NULL); tries++) {
        if (tries > 10000)
            g_error("domain %u does not die", domain_next(NULL)->id);
        for_each_domain(d)
            (void)domain_kill(d);
        fake_run_all();
    }
    fake_cpu_set(0);
    if (frame_free_count() != free_at_start)
        g_error("%ld frames are lost", (long)(free_at_start - frame_free_count()));
}

/* --- a step --- */

static u64
argument(const struct step *s, unsigned n)
{
    switch (s->kinds[n] % KINDS) {
    case BLOB:
        return (u64)arena;
    case OP:
        return s->op;
    case A:
        return s->a;
    case B:
        return s->b;
    case C:
        return s->c;
    case ONES:
        return ~0ull;
    case ELSEWHERE:
        return s->a & 1 ? (u64)arena + ARENA - 8 : 0xffff800000000000ull + s->b;
    }
    return 0;
}

static void
place_blob(const struct step *s)
{
    memcpy(arena, s->blob, sizeof(s->blob));
    for (unsigned i = 0; i < sizeof(s->blob) / sizeof(u64); i++) {
        u64 *word = (u64 *)arena + i;

        if (*word >> 32 == POINTER)
            *word = (u64)arena + (*word & 0xffff);
    }
}

/* Calls as @v from the CPU that the scheduler gave it; nothing happens when it has none. */
static void
run_step(const struct step *s)
{
    unsigned who = s->who % 4;
    struct domain *d = domain_find(who < 2 ? 0 : who - 1);
    struct vcpu *v = d && d->kind == DOMAIN_PV ? vcpu_find(d, who == 1 ? 1 : 0) : NULL;
    struct cpu_user_regs *regs;

    if (!v || !v->is_running)
        return;
    fake_cpu_set(v->cpu);
    if (current != v)
        g_error("v%u of d%u runs on CPU %u, which says otherwise", v->id, d->id, v->cpu);

    place_blob(s);
    regs = guest_regs();
    regs->rax = s->nr;
    regs->rdi = argument(s, 0);
    regs->rsi = argument(s, 1);
    regs->rdx = argument(s, 2);
    regs->r10 = argument(s, 3);
    regs->r8 = argument(s, 4);
    regs->r9 = argument(s, 5);
    regs->rip = 0x1000;
    seen_calls[s->nr % 64]++;
    for (unsigned tries = 0; tries < RESTARTS; tries++) {
        u64 rip = regs->rip, arg[] = {regs->rdi, regs->rsi, regs->rdx, regs->r10, regs->r8, regs->r9};

        hypercall_entry(regs, arg);
        seen_good[s->nr % 64] += regs->rip == rip && (s64)regs->rax >= 0;
        fake_run_all();
        if (regs->rip == rip || !domain_find(d->id) || !v->is_running || cpu_at(v->cpu)->vcpu != v)
            break; /* done, or preempted and never resumed */
        fake_cpu_set(v->cpu);
        regs = guest_regs();
        regs->rip = 0x1000;
    }
}

/* Until its end, or until it reboots the machine. */
static void
run_script(const guint8 *data, size_t size)
{
    size_t count = MIN(size / sizeof(struct step), STEPS);

    if (setjmp(reboot_jump))
        return;
    for (volatile size_t n = 0; n < count; n++) {
        struct step step;

        memcpy(&step, data + n * sizeof(step), sizeof(step));
        run_step(&step);
        fake_clock_run_until(fake_now_ns + 1000000);
        fake_run_all();
    }
}

int
LLVMFuzzerTestOneInput(const guint8 *data, size_t size)
{
    static bool booted;

    if (!booted) {
        boot();
        booted = true;
        if (getenv("FUZZ_STATS"))
            atexit(tell_stats);
    }
    fake_cpu_set(0);
    free_at_start = frame_free_count();
    for (unsigned id = 0; id < 3; id++)
        begin_domain(id);
    fake_run_all();

    run_script(data, size);
    end_all();
    return 0;
}

/* --- seeds: steps that get past the first checks --- */

static const struct shape {
    u8 nr, ops; /* operations to choose from */
    u8 kinds[6];
} shapes[] = {
    {__HYPERVISOR_domctl, 87, {BLOB}},
    {__HYPERVISOR_domctl, 87, {BLOB}},
    {__HYPERVISOR_sysctl, 30, {BLOB}},
    {__HYPERVISOR_platform_op, 65, {BLOB}},
    {__HYPERVISOR_grant_table_op, 13, {OP, BLOB, A}},
    {__HYPERVISOR_grant_table_op, 13, {OP, BLOB, A}},
    {__HYPERVISOR_event_channel_op, 15, {OP, BLOB}},
    {__HYPERVISOR_event_channel_op, 15, {OP, BLOB}},
    {__HYPERVISOR_memory_op, 29, {OP, BLOB}},
    {__HYPERVISOR_memory_op, 29, {OP, BLOB}},
    {__HYPERVISOR_sched_op, 10, {OP, BLOB}},
    {__HYPERVISOR_vcpu_op, 15, {OP, A, BLOB}},
    {__HYPERVISOR_mmu_update, 1, {BLOB, A, ZERO, B}},
    {__HYPERVISOR_mmuext_op, 1, {BLOB, A, ZERO, B}},
    {__HYPERVISOR_update_va_mapping, 1, {A, B, C}},
    {__HYPERVISOR_console_io, 3, {OP, A, BLOB}},
    {__HYPERVISOR_multicall, 1, {BLOB, A}},
    {__HYPERVISOR_set_timer_op, 1, {A}},
    {__HYPERVISOR_vm_assist, 4, {OP, A}},
    {__HYPERVISOR_xen_version, 11, {OP, BLOB}},
    {__HYPERVISOR_callback_op, 2, {OP, BLOB}},
    {__HYPERVISOR_nmi_op, 2, {OP, BLOB}},
    {__HYPERVISOR_set_gdt, 1, {BLOB, A}},
    {__HYPERVISOR_set_trap_table, 1, {BLOB}},
};

static u32
likely_number(GRand *rand)
{
    static const u32 numbers[] = {
        /* clang-format off */
        0, 1, 2, 3, 7, 8, 31, 64, 255, 4095, 4096, DOMID_SELF, DOMID_IO, DOMID_XEN, DOMID_INVALID,
        0x7fffffff, 0x80000000, ~0u,
        /* clang-format on */
    };

    return g_rand_boolean(rand) ? (u32)g_rand_int_range(rand, 0, 100)
                                : numbers[g_rand_int_range(rand, 0, ARRAY_SIZE(numbers))];
}

static void
fill(struct step *s, GRand *rand)
{
    const struct shape *shape = &shapes[g_rand_int_range(rand, 0, ARRAY_SIZE(shapes))];
    u32 *words = (u32 *)s->blob;

    memset(s, 0, sizeof(*s));
    s->who = (u8)g_rand_int(rand);
    s->nr = shape->nr;
    s->op = (u8)g_rand_int_range(rand, 0, shape->ops);
    memcpy(s->kinds, shape->kinds, sizeof(s->kinds));
    s->a = likely_number(rand);
    s->b = g_rand_boolean(rand) ? DOMID_SELF : likely_number(rand);
    s->c = likely_number(rand);
    for (unsigned i = 0; i < sizeof(s->blob) / sizeof(words[0]); i++)
        if (g_rand_int_range(rand, 0, 3))
            words[i] = likely_number(rand);
    for (unsigned i = 1; i < sizeof(s->blob) / sizeof(u64); i++)
        if (g_rand_int_range(rand, 0, 4) == 0)
            ((u64 *)s->blob)[i] = POINTER << 32 | (u32)g_rand_int_range(rand, 256, ARENA);

    switch (s->nr) {
    case __HYPERVISOR_domctl:
        words[0] = s->op;
        words[1] = XEN_DOMCTL_INTERFACE_VERSION;
        words[2] = (u32)g_rand_int_range(rand, 0, 4);
        s->who = (u8)g_rand_int_range(rand, 0, 2);
        break;
    case __HYPERVISOR_sysctl:
        words[0] = s->op;
        words[1] = XEN_SYSCTL_INTERFACE_VERSION;
        s->who = (u8)g_rand_int_range(rand, 0, 2);
        break;
    case __HYPERVISOR_platform_op:
        words[0] = s->op;
        words[1] = XENPF_INTERFACE_VERSION;
        s->who = (u8)g_rand_int_range(rand, 0, 2);
        break;
    case __HYPERVISOR_grant_table_op:
        if (s->op == GNTTABOP_map_grant_ref && g_rand_boolean(rand)) {
            struct gnttab_map_grant_ref op = {
                .flags = GNTMAP_device_map,
                .ref = (u32)g_rand_int_range(rand, 0, 9),
                .dom = (u16)g_rand_int_range(rand, 0, 4),
            };

            memcpy(s->blob, &op, sizeof(op));
            s->a = 1;
        }
        break;
    case __HYPERVISOR_multicall:
        words[0] = shapes[g_rand_int_range(rand, 0, ARRAY_SIZE(shapes))].nr;
        words[1] = 0;
        break;
    }
}

GByteArray *
fuzz_seed(unsigned n)
{
    GByteArray *seed = g_byte_array_new();
    GRand *rand = g_rand_new_with_seed(n);
    unsigned steps = (unsigned)g_rand_int_range(rand, 1, STEPS);

    while (steps--) {
        struct step s;

        fill(&s, rand);
        g_byte_array_append(seed, (const u8 *)&s, sizeof(s));
    }
    g_rand_free(rand);
    return seed;
}
