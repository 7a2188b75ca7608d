/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Time since boot, from the TSC, calibrated once against HPET, ACPI PM timer or PIT. */
#ifndef SERAI_X86_TSC_H
#define SERAI_X86_TSC_H

#include "base/types.h"

/* system_time[ns] = ((tsc << shift, or >> -shift) * mul) >> 32, as struct vcpu_time_info wants it. */
struct tsc_scale {
    u32 mul;
    s8 shift;
};

extern struct tsc_scale tsc_scale;
extern u32 tsc_khz;
extern bool tsc_is_invariant;

static inline u64
tsc_read(void)
{
    u32 lo, hi;

    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return (u64)hi << 32 | lo;
}

static inline u64
tsc_scale_delta(u64 tsc, struct tsc_scale scale)
{
    tsc = scale.shift >= 0 ? tsc << scale.shift : tsc >> -scale.shift;
    return (unsigned __int128)tsc * scale.mul >> 32;
}

/* Nanoseconds since boot; monotonic and the same on all CPUs. */
u64 time_now_ns(void);

/* Passes @ns without doing anything but answering other CPUs. */
void time_wait_ns(u64 ns);

/* The TSC value at system time 0, and the TSC at which time_now_ns() reaches @ns. */
u64 tsc_at_boot(void);
u64 tsc_from_ns(u64 ns);

/* Seconds and nanoseconds of UTC at system time 0 (from the CMOS clock, later as dom0 sets it). */
void time_wallclock(u64 *ret_sec, u32 *ret_nsec);
void time_set_wallclock(u64 sec, u32 nsec, u64 system_time_ns);

#endif
