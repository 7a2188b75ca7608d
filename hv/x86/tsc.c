/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The clock.  One scale for all CPUs; references in order: HPET, ACPI PM timer, PIT. */
#include "x86/tsc.h"
#include "base/log.h"
#include "base/math.h"
#include "x86/acpi-info.h"
#include "x86/cpu.h"
#include "x86/paging.h"
#include "base/spinlock.h"
#include "x86/tsc-init.h"

#define CALIBRATE_NS 50000000ull
#define PIT_HZ       1193182u
#define PM_TIMER_HZ  3579545u

struct tsc_scale tsc_scale = {.mul = 1u << 31, .shift = 0};
u32 tsc_khz;
bool tsc_is_invariant;

static u64 boot_tsc;
static u64 wallclock_sec;
static u32 wallclock_nsec;
static spinlock_t wallclock_lock = SPINLOCK_INIT;

u64
tsc_at_boot(void)
{
    return boot_tsc;
}

u64
time_now_ns(void)
{
    return tsc_scale_delta(tsc_read() - boot_tsc, tsc_scale);
}

void
time_wait_ns(u64 ns)
{
    u64 start = time_now_ns();

    while (time_now_ns() - start < ns)
        cpu_relax_poll();
}

u64
tsc_from_ns(u64 ns)
{
    return boot_tsc + mul_div(ns, tsc_khz, 1000000);
}

struct reference {
    const char *name;
    u64 hz;
    u64 mask;
    u64 (*read)(void);
};

static volatile u64 *hpet;

static u64
hpet_read(void)
{
    return hpet[0xf0 / 8];
}

static u64
pm_timer_read(void)
{
    return inl(acpi_info.pm_timer_port);
}

static bool
reference_choose(struct reference *ref)
{
    if (acpi_info.hpet_address) {
        hpet = paging_map_device(_maddr(acpi_info.hpet_address), 1024);
        if (hpet) {
            u64 femtoseconds = hpet[0] >> 32;

            if (femtoseconds && femtoseconds <= 100000000) {
                hpet[0x10 / 8] |= 1; /* let it count */
                *ref = (struct reference){"HPET", 1000000000000000ull / femtoseconds, 0xffffffff, hpet_read};
                return true;
            }
        }
    }
    if (acpi_info.pm_timer_port) {
        *ref = (struct reference){"ACPI PM timer", PM_TIMER_HZ, 0xffffff, pm_timer_read};
        return true;
    }
    return false;
}

/* TSC ticks a second by counting channel 2 of the PIT down once. */
static u64
calibrate_by_pit(void)
{
    const u32 count = 59659; /* 50 ms */
    u64 start, end;

    outb(0x61, (inb(0x61) & ~2) | 1);
    outb(0x43, 0xb0);
    outb(0x42, count & 0xff);
    outb(0x42, count >> 8);
    start = tsc_read();
    while (!(inb(0x61) & 0x20) && tsc_read() - start < 100000000000ull)
        cpu_pause();
    end = tsc_read();
    return (end - start) * PIT_HZ / count;
}

static u64
calibrate_by(const struct reference *ref)
{
    u64 ticks = ref->hz * (CALIBRATE_NS / 1000) / 1000000;
    u64 first = ref->read() & ref->mask, elapsed, start = tsc_read(), end;

    do {
        cpu_pause();
        elapsed = ((ref->read() & ref->mask) - first) & ref->mask;
        end = tsc_read();
    } while (elapsed < ticks && end - start < 100000000000ull);
    return elapsed ? mul_div(end - start, ref->hz, elapsed) : 0;
}

static void
scale_set(u64 hz)
{
    u64 scaled = hz;
    s8 shift = 0;

    /* Find mul in [2^31, 2^32) so that ns = (tsc << shift) * mul >> 32. */
    while (scaled > 2000000000ull) {
        scaled >>= 1;
        shift--;
    }
    while (scaled <= 1000000000ull) {
        scaled <<= 1;
        shift++;
    }
    tsc_scale.shift = shift;
    tsc_scale.mul = (u32)mul_div(1000000000ull, 1ull << 32, scaled);
    tsc_khz = hz / 1000;
}

static u8
cmos_read(u8 reg)
{
    outb(0x70, reg);
    return inb(0x71);
}

static unsigned
bcd(u8 v, bool binary)
{
    return binary ? v : (v >> 4) * 10 + (v & 15);
}

/* Seconds since 1970 from the CMOS clock, which keeps UTC. */
static u64
cmos_time(void)
{
    u8 raw[6], again[6];
    static const u8 regs[6] = {0, 2, 4, 7, 8, 9};
    bool binary = cmos_read(0x0b) & 4;
    unsigned y, m, d;
    u64 days;

    for (unsigned tries = 0; tries < 1000; tries++) {
        bool same = true;

        if (cmos_read(0x0a) & 0x80)
            continue;
        for (unsigned i = 0; i < 6; i++)
            raw[i] = cmos_read(regs[i]);
        for (unsigned i = 0; i < 6; i++) {
            again[i] = cmos_read(regs[i]);
            same = same && raw[i] == again[i];
        }
        if (same)
            break;
    }
    y = 2000 + bcd(raw[5], binary);
    m = bcd(raw[4], binary);
    d = bcd(raw[3], binary);
    if (m <= 2) {
        y--;
        m += 12;
    }
    /* Days of the Gregorian calendar since 1970-01-01. */
    days = 365ull * y + y / 4 - y / 100 + y / 400 + (153 * (m - 3) + 2) / 5 + d - 1 - 719468;
    return days * 86400 + bcd(raw[2] & 0x7f, binary) * 3600 + bcd(raw[1], binary) * 60 + bcd(raw[0], binary);
}

void
tsc_init(void)
{
    struct reference ref = {0};
    u64 hz = 0;

    tsc_is_invariant = cpu_features.invariant_tsc;
    if (reference_choose(&ref))
        hz = calibrate_by(&ref);
    if (!hz) {
        ref.name = "PIT";
        hz = calibrate_by_pit();
    }
    if (hz < 1000000)
        hz = 1000000000; /* no reference at all: the wrong speed beats no clock */
    scale_set(hz);
    boot_tsc = tsc_read();
    wallclock_sec = cmos_time();
    log_info("TSC: %u.%03u MHz by %s%s", tsc_khz / 1000, tsc_khz % 1000, ref.name,
             tsc_is_invariant ? ", invariant" : "");
}

void
time_wallclock(u64 *ret_sec, u32 *ret_nsec)
{
    spin_lock(&wallclock_lock);
    *ret_sec = wallclock_sec;
    *ret_nsec = wallclock_nsec;
    spin_unlock(&wallclock_lock);
}

void
time_set_wallclock(u64 sec, u32 nsec, u64 system_time_ns)
{
    u64 up_sec = system_time_ns / 1000000000, up_nsec = system_time_ns % 1000000000;

    sec += nsec / 1000000000;
    nsec %= 1000000000;
    if (nsec < up_nsec) {
        nsec += 1000000000;
        sec--;
    }
    spin_lock(&wallclock_lock);
    wallclock_sec = sec > up_sec ? sec - up_sec : 0;
    wallclock_nsec = nsec - up_nsec;
    spin_unlock(&wallclock_lock);
}
