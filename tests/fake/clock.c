/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Time stands still until a test moves it.  The pretend TSC runs at 1 GHz, from 0. */
#include "x86/apic.h"
#include "x86/softirq.h"
#include "x86/tsc.h"
#include "fake.h"
#include "fake-private.h"

u64 fake_now_ns;
u64 fake_apic_deadline_ns[FAKE_CPU_MAX];

FAKE struct tsc_scale tsc_scale = {1u << 31, 1};
FAKE u32 tsc_khz = 1000 * 1000;
FAKE bool tsc_is_invariant = true;
static u64 wallclock_sec = 1700000000;
static u32 wallclock_nsec;

void
fake_reset_clock(void)
{
    fake_now_ns = 0;
    for (unsigned i = 0; i < FAKE_CPU_MAX; i++)
        fake_apic_deadline_ns[i] = 0;
}

FAKE u64
time_now_ns(void)
{
    return fake_now_ns;
}

FAKE u64
tsc_at_boot(void)
{
    return 0;
}

FAKE u64
tsc_from_ns(u64 ns)
{
    return ns;
}

FAKE void
time_wallclock(u64 *ret_sec, u32 *ret_nsec)
{
    *ret_sec = wallclock_sec;
    *ret_nsec = wallclock_nsec;
}

FAKE void
time_set_wallclock(u64 sec, u32 nsec, u64 system_time_ns)
{
    u64 total = sec * 1000000000ull + nsec - system_time_ns;

    wallclock_sec = total / 1000000000ull;
    wallclock_nsec = total % 1000000000ull;
}

FAKE void
apic_set_timer(u64 deadline_ns)
{
    fake_apic_deadline_ns[cpu_id()] = deadline_ns;
}

void
fake_clock_run_until(u64 ns)
{
    struct cpu *me = fake_cpu;

    for (;;) {
        unsigned next = FAKE_CPU_MAX;

        for (unsigned i = 0; i < cpu_limit; i++) {
            u64 t = fake_apic_deadline_ns[i];

            if (t && t <= ns && (next == FAKE_CPU_MAX || t < fake_apic_deadline_ns[next]))
                next = i;
        }
        if (next == FAKE_CPU_MAX)
            break;
        fake_now_ns = MAX(fake_now_ns, fake_apic_deadline_ns[next]);
        fake_apic_deadline_ns[next] = 0;
        fake_cpu_set(next);
        atomic_or(&this_cpu()->softirqs, 1u << SOFTIRQ_TIMER);
        fake_run_softirqs();
    }
    fake_now_ns = MAX(fake_now_ns, ns);
    fake_cpu = me;
}
