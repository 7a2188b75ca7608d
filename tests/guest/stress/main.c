/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two vCPUs of one domain make random hypercalls at once, most of them with arguments that are nearly right:
 * page table updates on the same few tables, grants of the same few pages, event channels of the same few
 * ports.  Nothing is expected of the results but that the hypervisor goes on, its assertions hold, and what
 * it says of the domain's memory at the end is what it said at the beginning.  The seed is on the console;
 * what each vCPU does depends on it alone, how they meet does not.
 */
#include "guest.h"
#include "base/string.h"

#define PAGES  12u
#define ROUNDS 6000u

static u64 *pages[PAGES];
static u32 done[2], carried_out[2], refused[2];
static u64 seeds[2];

static u64
random_of(unsigned cpu, u64 below)
{
    u64 x = seeds[cpu];

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    seeds[cpu] = x;
    return (x >> 11) % below;
}

static u64
some_mfn(unsigned cpu)
{
    switch (random_of(cpu, 12)) {
    case 0:
        return random_of(cpu, 1ull << 20);
    case 1:
        return start_info->shared_info >> 12;
    case 2:
        return ~0ull;
    case 3:
        return mfn_of((void *)start_info->pt_base);
    default:
        return mfn_of(pages[random_of(cpu, PAGES)]);
    }
}

/* To be written to: not the shared info, for that could let events in, and there is nobody to take them. */
static u64
some_target(unsigned cpu)
{
    u64 mfn = some_mfn(cpu);

    return mfn == start_info->shared_info >> 12 ? ~0ull : mfn;
}

static u64
some_flags(unsigned cpu)
{
    static const u64 flags[] = {0x67, 0x65, 0x61, 0x63, 0, 0x1e7, 0x7f, 1ull << 63 | 0x67};

    return flags[random_of(cpu, ARRAY_SIZE(flags))];
}

/* Counts what was carried out, so that a stress of refusals only does not pass. */
#define TRY(...) tried(cpu, HYPERCALL(__VA_ARGS__))

static s64
tried(unsigned cpu, s64 rc)
{
    if (rc >= 0)
        carried_out[cpu]++;
    else
        refused[cpu]++;
    return rc;
}

static void
page_tables(unsigned cpu)
{
    void *page = pages[random_of(cpu, PAGES)];
    struct mmu_update updates[4];
    struct mmuext_op ops[3];
    u32 count = 1 + (u32)random_of(cpu, 4);

    switch (random_of(cpu, 4)) {
    case 0:
        TRY(update_va_mapping, page, mfn_of(page) << 12 | some_flags(cpu), random_of(cpu, 8));
        break;
    case 1:
        TRY(update_va_mapping_otherdomain, page, some_mfn(cpu) << 12 | some_flags(cpu), random_of(cpu, 8),
            random_of(cpu, 2) ? DOMID_SELF : DOMID_IO);
        break;
    case 2:
        for (u32 i = 0; i < count; i++)
            updates[i] =
                (struct mmu_update){some_target(cpu) << 12 | random_of(cpu, 512) << 3 | random_of(cpu, 4),
                                    some_mfn(cpu) << 12 | some_flags(cpu)};
        /* Not the tables it runs on, nor the M2P, which belongs to dom0's own reckoning. */
        for (u32 i = 0; i < count; i++)
            if (updates[i].ptr >> 12 == mfn_of((void *)start_info->pt_base) ||
                (updates[i].ptr & 3) == MMU_MACHPHYS_UPDATE)
                updates[i].ptr = ~7ull;
        TRY(mmu_update, updates, count, 0, DOMID_SELF);
        break;
    case 3:
        for (u32 i = 0; i < ARRAY_SIZE(ops); i++) {
            static const u8 cmds[] = {MMUEXT_PIN_L1_TABLE,  MMUEXT_PIN_L2_TABLE,     MMUEXT_PIN_L3_TABLE,
                                      MMUEXT_PIN_L4_TABLE,  MMUEXT_UNPIN_TABLE,      MMUEXT_UNPIN_TABLE,
                                      MMUEXT_TLB_FLUSH_ALL, MMUEXT_INVLPG_ALL,       MMUEXT_CLEAR_PAGE,
                                      MMUEXT_COPY_PAGE,     MMUEXT_NEW_USER_BASEPTR, MMUEXT_SET_LDT};
            void *table = pages[random_of(cpu, PAGES)];

            ops[i] = (struct mmuext_op){.cmd = cmds[random_of(cpu, sizeof(cmds))], .arg1.mfn = mfn_of(table)};
            ops[i].arg2.src_mfn = some_mfn(cpu);
            if (ops[i].cmd == MMUEXT_SET_LDT) {
                ops[i].arg1.linear_addr = (u64)table;
                ops[i].arg2.nr_ents = random_of(cpu, 600);
            }
        }
        TRY(mmuext_op, ops, ARRAY_SIZE(ops), 0, DOMID_SELF);
        break;
    }
}

static void
memory(unsigned cpu)
{
    xen_pfn_t frames[4];
    struct xen_memory_reservation r = {
        .nr_extents = 1 + random_of(cpu, 4), .extent_order = random_of(cpu, 2), .domid = DOMID_SELF};
    u64 got;

    /* Takes some, and gives back exactly what it got. */
    for (u32 i = 0; i < 4; i++)
        frames[i] = pfn_of(pages[0]) + 100000 + cpu * 1000 + i * 8;
    set_xen_guest_handle(r.extent_start, frames);
    got = TRY(memory_op, XENMEM_populate_physmap, &r);
    if (got && got <= 4) {
        r.nr_extents = got;
        TRY(memory_op, XENMEM_decrease_reservation, &r);
    }
}

static void
events(unsigned cpu)
{
    struct evtchn_alloc_unbound alloc = {.dom = DOMID_SELF, .remote_dom = DOMID_SELF};
    struct evtchn_bind_interdomain bind = {.remote_dom = DOMID_SELF, .remote_port = random_of(cpu, 64)};
    struct evtchn_bind_ipi ipi = {.vcpu = random_of(cpu, 3)};
    struct evtchn_send send = {.port = random_of(cpu, 64)};
    struct evtchn_close close = {.port = random_of(cpu, 64)};
    struct evtchn_bind_vcpu vcpu = {.port = random_of(cpu, 64), .vcpu = random_of(cpu, 3)};
    struct evtchn_status status = {.dom = DOMID_SELF, .port = random_of(cpu, 64)};

    switch (random_of(cpu, 7)) {
    case 0:
        TRY(event_channel_op, EVTCHNOP_alloc_unbound, &alloc);
        break;
    case 1:
        TRY(event_channel_op, EVTCHNOP_bind_interdomain, &bind);
        break;
    case 2:
        TRY(event_channel_op, EVTCHNOP_bind_ipi, &ipi);
        break;
    case 3:
        TRY(event_channel_op, EVTCHNOP_send, &send);
        break;
    case 4:
        TRY(event_channel_op, EVTCHNOP_bind_vcpu, &vcpu);
        break;
    case 5:
        TRY(event_channel_op, EVTCHNOP_status, &status);
        break;
    case 6:
        TRY(event_channel_op, EVTCHNOP_close, &close);
        break;
    }
}

static void
others(unsigned cpu)
{
    struct multicall_entry calls[3];
    u64 frame = some_mfn(cpu);

    switch (random_of(cpu, 6)) {
    case 0:
        TRY(set_gdt, &frame, random_of(cpu, 514));
        break;
    case 1:
        TRY(update_descriptor, some_target(cpu) << 12 | random_of(cpu, 512) << 3, random_of(cpu, ~0ull));
        break;
    case 2:
        TRY(set_debugreg, random_of(cpu, 9), random_of(cpu, ~0ull));
        TRY(set_debugreg, 7, 0x400);
        break;
    case 3:
        TRY(vcpu_op, random_of(cpu, 14) + 3, 3 + random_of(cpu, 3), pages[0]);
        break;
    case 4:
        TRY(vm_assist, random_of(cpu, 3), random_of(cpu, 8));
        break;
    case 5:
        for (u32 i = 0; i < ARRAY_SIZE(calls); i++)
            calls[i] = (struct multicall_entry){
                .op = __HYPERVISOR_update_va_mapping,
                .args = {(u64)pages[random_of(cpu, PAGES)], some_mfn(cpu) << 12 | some_flags(cpu), 2}};
        TRY(multicall, calls, ARRAY_SIZE(calls));
        break;
    }
}

static void
hammer(unsigned cpu)
{
    for (u32 i = 0; i < ROUNDS; i++) {
        switch (random_of(cpu, 8)) {
        case 0:
        case 1:
        case 2:
        case 3:
            page_tables(cpu);
            break;
        case 4:
            memory(cpu);
            break;
        case 5:
        case 6:
            events(cpu);
            break;
        case 7:
            others(cpu);
            break;
        }
    }
    __atomic_store_n(&done[cpu], 1, __ATOMIC_SEQ_CST);
}

static void
ap_main(void)
{
    hammer(1);
    for (;;)
        HYPERCALL(vcpu_op, VCPUOP_down, 1, 0);
}

/* A page that was left unmapped or read-only, or a segment that was: only the stress's own memory is hit. */
void
trap_handler(struct guest_frame *frame)
{
    FAIL("trap %lu, error %lx, at %lx", frame->vector, frame->error, frame->rip);
}

void
test_main(void)
{
    domid_t self = DOMID_SELF;
    s64 before, after;
    u32 lo, hi;
    u64 waited = 0;

    traps_install();
    for (u32 i = 0; i < PAGES; i++)
        pages[i] = page_new();
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    seeds[0] = ((u64)hi << 32 | lo) | 1;
    seeds[1] = seeds[0] * 0x9e3779b97f4a7c15ull | 1;
    print("seed %lx\n", seeds[0]);
    before = HYPERCALL(memory_op, XENMEM_current_reservation, &self);
    second_vcpu_start(ap_main);
    hammer(0);
    while (!__atomic_load_n(&done[1], __ATOMIC_SEQ_CST) && waited++ < 100000000)
        HYPERCALL(sched_op, SCHEDOP_yield, 0);
    CHECK(done[1], "the second vCPU has not come to its end");
    after = HYPERCALL(memory_op, XENMEM_current_reservation, &self);
    print("carried out %u and %u, refused %u and %u\n", carried_out[0], carried_out[1], refused[0],
          refused[1]);
    CHECK(carried_out[0] > ROUNDS / 4 && refused[0] > ROUNDS / 4 && carried_out[1] > ROUNDS / 4 &&
              refused[1] > ROUNDS / 4,
          "it was too easy or too hard");
    CHECK(before == after, "the domain had %ld pages before, and has %ld now", (long)before, (long)after);
}
