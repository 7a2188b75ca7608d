/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Local APICs, in xAPIC or x2APIC mode (SDM vol. 3, chapter 11). */
#include "x86/apic.h"
#include "base/log.h"
#include "base/panic.h"
#include "x86/acpi-info.h"
#include "x86/apic-init.h"
#include "x86/cpu.h"
#include "x86/paging.h"
#include "x86/tsc.h"

enum {
    APIC_ID = 0x20,
    APIC_TPR = 0x80,
    APIC_EOI = 0xb0,
    APIC_LDR = 0xd0,
    APIC_DFR = 0xe0,
    APIC_SVR = 0xf0,
    APIC_ESR = 0x280,
    APIC_ICR = 0x300,
    APIC_ICR_HIGH = 0x310,
    APIC_LVT_TIMER = 0x320,
    APIC_LVT_THERMAL = 0x330,
    APIC_LVT_PERF = 0x340,
    APIC_LVT_LINT0 = 0x350,
    APIC_LVT_LINT1 = 0x360,
    APIC_LVT_ERROR = 0x370,
    APIC_TIMER_INITIAL = 0x380,
    APIC_TIMER_CURRENT = 0x390,
    APIC_TIMER_DIVIDE = 0x3e0,
};

#define LVT_MASKED       (1u << 16)
#define LVT_TSC_DEADLINE (2u << 17)
#define LVT_NMI          (4u << 8)
#define ICR_INIT         0x500u
#define ICR_STARTUP      0x600u
#define ICR_NMI          0x400u
#define ICR_ASSERT       0x4000u
#define ICR_BUSY         0x1000u
#define BASE_ENABLE      (1u << 11)
#define BASE_X2APIC      (1u << 10)
#define DIVIDE_BY_16     3u

static volatile u32 *xapic; /* NULL in x2APIC mode */
static bool x2apic, use_deadline;
static u64 timer_ticks_per_ns_32; /* APIC timer ticks a nanosecond, times 2^32 */

static u32
apic_read(unsigned reg)
{
    return x2apic ? (u32)rdmsr(MSR_X2APIC_BASE + (reg >> 4)) : xapic[reg / 4];
}

static void
apic_write(unsigned reg, u32 value)
{
    if (x2apic)
        wrmsr(MSR_X2APIC_BASE + (reg >> 4), value);
    else
        xapic[reg / 4] = value;
}

static void
apic_icr(u32 apic_id, u32 command)
{
    if (x2apic) {
        /* The MSR write does not order earlier stores; the target must see what it is told about. */
        __asm__ volatile("mfence; lfence" : : : "memory");
        wrmsr(MSR_X2APIC_BASE + (APIC_ICR >> 4), (u64)apic_id << 32 | command);
        return;
    }
    while (xapic[APIC_ICR / 4] & ICR_BUSY)
        cpu_pause();
    xapic[APIC_ICR_HIGH / 4] = apic_id << 24;
    xapic[APIC_ICR / 4] = command;
}

void
apic_eoi(void)
{
    apic_write(APIC_EOI, 0);
}

u32
apic_id_of(unsigned cpu)
{
    return cpu_at(cpu)->apic_id;
}

bool
apic_is_x2apic(void)
{
    return x2apic;
}

void
apic_send(unsigned cpu, u8 vector)
{
    apic_icr(apic_id_of(cpu), ICR_ASSERT | vector);
}

void
apic_send_nmi(unsigned cpu)
{
    apic_icr(apic_id_of(cpu), ICR_ASSERT | ICR_NMI);
}

void
apic_send_nmi_from_nmi(unsigned cpu)
{
    u32 high = x2apic ? 0 : xapic[APIC_ICR_HIGH / 4];

    apic_send_nmi(cpu);
    if (!x2apic)
        xapic[APIC_ICR_HIGH / 4] = high;
}

void
apic_unmask_counter_nmi(void)
{
    apic_write(APIC_LVT_PERF, LVT_NMI);
}

void
apic_send_init(u32 apic_id)
{
    apic_icr(apic_id, ICR_ASSERT | ICR_INIT);
}

void
apic_send_startup(u32 apic_id, u8 page)
{
    apic_icr(apic_id, ICR_ASSERT | ICR_STARTUP | page);
}

u32
apic_own_id(void)
{
    return x2apic ? apic_read(APIC_ID) : apic_read(APIC_ID) >> 24;
}

void
apic_init_boot(void)
{
    u64 base = rdmsr(MSR_APIC_BASE);

    x2apic = base & BASE_X2APIC || cpu_features.x2apic;
    use_deadline = cpu_features.tsc_deadline && tsc_is_invariant;
    if (!x2apic) {
        u64 address = acpi_info.lapic_address ? acpi_info.lapic_address : base & ~0xfffull & 0xffffffffffull;

        xapic = paging_map_device(_maddr(address), PAGE_SIZE);
        if (!xapic)
            panic("no memory to map the local APIC");
    }
}

void
apic_cpu_init(void)
{
    u64 base = rdmsr(MSR_APIC_BASE);

    if (x2apic && !(base & BASE_X2APIC)) {
        wrmsr(MSR_APIC_BASE, base | BASE_ENABLE);
        wrmsr(MSR_APIC_BASE, base | BASE_ENABLE | BASE_X2APIC);
    } else if (!(base & BASE_ENABLE)) {
        wrmsr(MSR_APIC_BASE, base | BASE_ENABLE);
    }
    apic_write(APIC_TPR, 0);
    if (!x2apic) {
        apic_write(APIC_DFR, ~0u);
        apic_write(APIC_LDR, 0);
    }
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    apic_write(APIC_LVT_THERMAL, LVT_MASKED);
    apic_write(APIC_LVT_PERF, LVT_MASKED);
    apic_write(APIC_LVT_LINT0, LVT_MASKED);
    apic_write(APIC_LVT_LINT1, cpu_id() == 0 ? LVT_NMI : LVT_MASKED);
    apic_write(APIC_LVT_ERROR, VECTOR_ERROR);
    apic_write(APIC_SVR, 0x100 | VECTOR_SPURIOUS);
    apic_write(APIC_ESR, 0);
    apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_16);
    apic_write(APIC_LVT_TIMER, VECTOR_TIMER | (use_deadline ? LVT_TSC_DEADLINE : 0));
    this_cpu()->apic_id = apic_own_id();
}

/* How fast the one-shot timer counts, measured over 10 ms of the TSC's time. */
void
apic_timer_calibrate(void)
{
    u64 start, ns;
    u32 ticks;

    if (use_deadline)
        return;
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    apic_write(APIC_TIMER_INITIAL, ~0u);
    start = time_now_ns();
    while ((ns = time_now_ns() - start) < 10000000)
        cpu_pause();
    ticks = ~0u - apic_read(APIC_TIMER_CURRENT);
    apic_write(APIC_TIMER_INITIAL, 0);
    apic_write(APIC_LVT_TIMER, VECTOR_TIMER);
    timer_ticks_per_ns_32 = ((u64)ticks << 32) / ns;
    log_info("local APIC timer: %u kHz, %s", (u32)(timer_ticks_per_ns_32 * 1000000 >> 32),
             x2apic ? "x2APIC" : "xAPIC");
}

void
apic_set_timer(u64 deadline_ns)
{
    u64 now, delta, ticks;

    if (use_deadline) {
        wrmsr(MSR_TSC_DEADLINE, deadline_ns ? tsc_from_ns(deadline_ns) : 0);
        return;
    }
    if (!deadline_ns) {
        apic_write(APIC_TIMER_INITIAL, 0);
        return;
    }
    now = time_now_ns();
    delta = deadline_ns > now ? deadline_ns - now : 0;
    delta = MIN(delta, 1000000000ull); /* woken early, the queue sets it again */
    ticks = (unsigned __int128)delta * timer_ticks_per_ns_32 >> 32;
    apic_write(APIC_TIMER_INITIAL, MAX(MIN(ticks, 0xffffffffull), 1ull));
}

void
apic_log_error(void)
{
    apic_write(APIC_ESR, 0);
    log_warn("CPU%u: local APIC error, status %#x", cpu_id(), apic_read(APIC_ESR));
}
