/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * NMIs and machine checks come at any instruction, with any lock held, so their handlers only note what they
 * saw; SOFTIRQ_NMI tells it.  What cannot wait panics, which breaks the log's lock.
 *
 * The watchdog: each CPU has a timer that beats once a second.  NMIs come whatever the CPU does, and look
 * whether it beat. They come from the CPU's own cycle counter; or, where that does not count (in most virtual
 * machines), from the PIT to the boot CPU, which passes them on once a second.  Which of them works is tried,
 * not looked up.
 */
#include "boot/nmi.h"
#include "base/log.h"
#include "base/panic.h"
#include "domain/domain.h"
#include "domain/sched.h"
#include "mm/heap.h"
#include "x86/apic.h"
#include "x86/cpu.h"
#include "x86/irq.h"
#include "x86/machine.h"
#include "x86/tsc.h"
#include "x86/upcalls.h"

#define BEAT_NS       1000000000ull
#define WATCHDOG_NS   5000000000ull
#define WATCHDOG_NMIS 5u /* and that many NMIs saw no beat: a CPU that did not run at all is not stuck */
#define POLL_NS       10000000000ull

#define PIT_DIVISOR 59659u /* 20 NMIs a second */
#define PIT_HZ      20u

#define MSR_MCG_CAP      0x179u
#define MSR_MCG_STATUS   0x17au
#define MSR_MCG_CTL      0x17bu
#define MSR_MC_CTL(n)    (0x400u + 4 * (n))
#define MSR_MC_STATUS(n) (0x401u + 4 * (n))
#define MSR_MC_ADDR(n)   (0x402u + 4 * (n))
#define MCG_CTL_P        (1ull << 8)
#define MCG_RIPV         (1ull << 0)
#define MC_VALID         (1ull << 63)
#define MC_OVERFLOW      (1ull << 62)
#define MC_UNCORRECTED   (1ull << 61)
#define MC_ADDRESS       (1ull << 58)
#define MC_CORRUPT       (1ull << 57) /* of the CPU's state */

#define PORT_61_SERR    0x80u
#define PORT_61_IOCHK   0x40u
#define PORT_61_SOURCES 0x0fu

struct nmi_cpu {
    struct timer beat, poll;
    u32 beats;        /* (a) counted by the timer */
    u32 seen, missed; /* by its own NMIs only */
    u64 missed_since_ns;
    u32 nmis; /* (a) */
};

static struct nmi_cpu *nmi_cpus[CPU_MAX];

/* An error that a bank reported.  Written by whoever gets the place, told and given back by the softirq. */
static struct mc_record {
    u64 status; /* (a) 0: free; written last */
    u64 address;
    u32 cpu, bank;
} mc_records[16];
static u32 mc_next, mc_lost; /* (a) */

static u32 nmi_count, nmi_told; /* (a) NMIs that nobody sent */
static u8 nmi_reason;           /* port 0x61 at the last one */
static bool watchdog_on, watchdog_relays;

/* --- machine checks --- */

static unsigned
mc_banks(void)
{
    u32 r[4];

    cpuid_count(1, 0, r);
    return r[3] >> 7 & r[3] >> 14 & 1 ? rdmsr(MSR_MCG_CAP) & 0xff : 0; /* MCE and MCA */
}

static void
mc_note(unsigned bank, u64 status, u64 address)
{
    struct mc_record *record = &mc_records[atomic_add_return(&mc_next, 1) % ARRAY_SIZE(mc_records)];

    if (atomic_read(&record->status)) {
        atomic_inc(&mc_lost);
        return;
    }
    record->cpu = cpu_id();
    record->bank = bank;
    record->address = address;
    atomic_set_release(&record->status, status);
}

/* Notes and clears what the banks hold; the worst of it. */
static u64
mc_read_banks(void)
{
    u64 worst = 0, status, address;
    unsigned banks = mc_banks();

    for (unsigned i = 0; i < banks; i++) {
        if (!rdmsr_safe(MSR_MC_STATUS(i), &status) || !(status & MC_VALID))
            continue;
        address = 0;
        if (status & MC_ADDRESS)
            (void)rdmsr_safe(MSR_MC_ADDR(i), &address);
        mc_note(i, status, address);
        worst |= status;
        (void)wrmsr_safe(MSR_MC_STATUS(i), 0);
    }
    return worst;
}

static void
mc_tell(void)
{
    u32 lost = atomic_xchg(&mc_lost, 0);

    for (unsigned i = 0; i < ARRAY_SIZE(mc_records); i++) {
        struct mc_record *record = &mc_records[i];
        u64 status = __atomic_load_n(&record->status, __ATOMIC_ACQUIRE);

        if (!status)
            continue;
        log_err("machine check: CPU%u, bank %u, %s%s, status %016lx, address %#lx", record->cpu, record->bank,
                status & MC_UNCORRECTED ? "uncorrected" : "corrected",
                status & MC_OVERFLOW ? ", and others before it" : "", status, record->address);
        atomic_set_release(&record->status, 0);
    }
    if (lost)
        log_err("machine check: %u more were not noted", lost);
}

void
machine_check_arrived(struct cpu_user_regs *regs)
{
    u64 mcg = rdmsr(MSR_MCG_STATUS), worst = mc_read_banks();

    if (!(mcg & MCG_RIPV) || worst & (MC_CORRUPT | MC_UNCORRECTED)) {
        machine_stop_others();
        log_break_lock();
        mc_tell();
        panic("machine check at %04x:%lx that cannot be corrected: replace the part that the bank stands for",
              regs->cs, regs->rip);
    }
    wrmsr(MSR_MCG_STATUS, 0);
    softirq_raise(cpu_id(), SOFTIRQ_NMI);
}

/* Corrected errors come without an exception. */
static void
poll_fired(void *data)
{
    struct nmi_cpu *cpu = data;

    if (mc_read_banks())
        mc_tell();
    timer_set(&cpu->poll, time_now_ns() + POLL_NS);
}

static void
mc_cpu_init(struct nmi_cpu *cpu)
{
    unsigned banks = mc_banks();

    if (!banks)
        return;
    if (mc_read_banks())
        log_warn("CPU%u comes with machine checks from before this boot", cpu_id());
    mc_tell();
    if (rdmsr(MSR_MCG_CAP) & MCG_CTL_P)
        wrmsr(MSR_MCG_CTL, ~0ull);
    for (unsigned i = 0; i < banks; i++)
        (void)wrmsr_safe(MSR_MC_CTL(i), ~0ull);
    timer_set(&cpu->poll, time_now_ns() + POLL_NS);
}

/* --- NMIs --- */

static void
watchdog_look(struct nmi_cpu *cpu, const struct cpu_user_regs *regs)
{
    u32 beats = atomic_read(&cpu->beats);

    if (beats != cpu->seen) {
        cpu->seen = beats;
        cpu->missed = 0;
    } else if (!cpu->missed++) {
        cpu->missed_since_ns = time_now_ns();
    } else if (cpu->missed > WATCHDOG_NMIS && time_now_ns() - cpu->missed_since_ns > WATCHDOG_NS) {
        panic("watchdog: CPU%u has been stuck for 5 s at %04x:%lx", cpu_id(), regs->cs, regs->rip);
    }
}

/* The counter begins anew with each NMI; the local APIC masked its entry. */
static bool counter_restart(void);

void
nmi_arrived(struct cpu_user_regs *regs)
{
    struct nmi_cpu *cpu = nmi_cpus[cpu_id()];
    u8 reason = 0;
    unsigned other;

    if (machine_is_stopping())
        machine_halt_this_cpu();
    if (cpu)
        atomic_inc(&cpu->nmis);
    /* Only the boot CPU's pin is open to the chipset's. */
    if (cpu_id() == 0)
        reason = inb(0x61) & (PORT_61_SERR | PORT_61_IOCHK);
    if (!watchdog_on || reason) {
        nmi_reason = reason;
        atomic_inc(&nmi_count);
        softirq_raise(cpu_id(), SOFTIRQ_NMI);
    }
    if (!watchdog_on || !cpu)
        return;
    watchdog_look(cpu, regs);
    if (!watchdog_relays) {
        (void)counter_restart();
    } else if (cpu_id() == 0 && cpu->nmis % PIT_HZ == 0) {
        for_each_online_cpu(other)
            if (other)
                apic_send_nmi_from_nmi(other);
    }
}

/* Dom0 has the drivers that may know more of it (xen.h, XEN_NMIREASON_*). */
static void
nmi_pass_on(u8 reason)
{
    struct domain *d = hardware_domain;
    struct vcpu *v = d ? vcpu_find(d, 0) : NULL;

    if (!v)
        return;
    atomic_or(&d->shared->arch.nmi_reason, (reason & PORT_61_IOCHK ? XEN_NMIREASON_io_error : 0) |
                                               (reason & PORT_61_SERR ? XEN_NMIREASON_pci_serr : 0) |
                                               (reason ? 0 : XEN_NMIREASON_unknown));
    if (!atomic_xchg(&v->nmi_pending, true))
        vcpu_kick(v);
}

static void
nmi_tell(void)
{
    u32 count = atomic_read(&nmi_count);
    u8 reason = nmi_reason, port;

    mc_tell();
    if (count == atomic_xchg(&nmi_told, count))
        return;
    if (count <= 16 || !(count & (count - 1)))
        log_err("NMI %u: %s%s%s", count,
                reason & PORT_61_SERR ? "a device or memory reported an error (SERR#) " : "",
                reason & PORT_61_IOCHK ? "an ISA device reported an error (IOCHK#) " : "",
                reason ? ""
                       : "the chipset gives no reason; a button or a management controller may have sent it");
    if (reason) {
        /* The chipset is silent until its latches are cleared. */
        port = inb(0x61) & PORT_61_SOURCES;
        outb(0x61, port | 0x0c);
        outb(0x61, port & ~0x0c);
    }
    nmi_pass_on(reason);
}

/* --- the watchdog's NMIs --- */

enum counter { COUNTER_NONE, COUNTER_INTEL, COUNTER_AMD };
static enum counter counter;

/* Sets the CPU's first counter to overflow after about half a second of work; false when the CPU has none. */
static bool
counter_restart(void)
{
    u64 cycles = MIN((u64)tsc_khz * 500, 0x7fffffffull), status;

    switch (counter) {
    case COUNTER_INTEL: /* SDM vol. 3, 20.2: architectural monitoring */
        if (rdmsr_safe(0x38e, &status))
            (void)wrmsr_safe(0x390, status);
        if (!wrmsr_safe(0xc1, -cycles & 0xffffffff) || !wrmsr_safe(0x186, 0x53003c))
            return false;
        (void)wrmsr_safe(0x38f, 1);
        break;
    case COUNTER_AMD: /* APM vol. 2, 13.2: cycles not halted */
        if (!wrmsr_safe(0xc0010004, -cycles) || !wrmsr_safe(0xc0010000, 0x530076))
            return false;
        break;
    case COUNTER_NONE:
        return false;
    }
    apic_unmask_counter_nmi();
    return true;
}

static void
counter_find(void)
{
    u32 r[4];

    cpuid_count(0, 0, r);
    if (cpu_features.vendor[0] == 'A') {
        counter = COUNTER_AMD;
    } else if (r[0] >= 10) {
        cpuid_count(10, 0, r);
        counter = (r[0] & 0xff) && (r[0] >> 8 & 0xff) && !(r[1] & 1) ? COUNTER_INTEL : COUNTER_NONE;
    }
}

static void
pit_start(void)
{
    outb(0x43, 0x34); /* channel 0, rate generator */
    outb(0x40, PIT_DIVISOR & 0xff);
    outb(0x40, PIT_DIVISOR >> 8);
}

static bool
nmis_come(const struct nmi_cpu *cpu)
{
    u32 before = atomic_read(&cpu->nmis);
    u64 start = time_now_ns();

    while (atomic_read(&cpu->nmis) == before && time_now_ns() - start < 2 * BEAT_NS)
        cpu_relax_poll();
    return atomic_read(&cpu->nmis) != before;
}

static void
beat_fired(void *data)
{
    struct nmi_cpu *cpu = data;

    atomic_inc(&cpu->beats);
    /* Another CPU's counter is started by its own first beat. */
    if (watchdog_on && !watchdog_relays && atomic_read(&cpu->nmis) == 0)
        (void)counter_restart();
    timer_set(&cpu->beat, time_now_ns() + BEAT_NS);
}

void
watchdog_start(void)
{
    struct nmi_cpu *cpu = nmi_cpus[0];
    u32 gsi = irq_gsi_of_isa(0);
    unsigned other;

    if (!cpu)
        return;
    counter_find();
    watchdog_on = true;
    if (!counter_restart() || !nmis_come(cpu)) {
        counter = COUNTER_NONE;
        watchdog_relays = true;
        if (irq_deliver_as_nmi(gsi))
            pit_start();
        if (!nmis_come(cpu)) {
            watchdog_on = false;
            log_warn("watchdog: off; neither the CPU's cycle counter nor the PIT makes NMIs here");
            return;
        }
    }
    log_info("watchdog: on, by NMIs of %s", watchdog_relays
                                                ? "the PIT; the CPU's cycle counter makes none here"
                                                : "the CPUs' cycle counters");
    for_each_online_cpu(other)
        if (nmi_cpus[other])
            timer_set(&nmi_cpus[other]->beat, time_now_ns());
}

/* --- start --- */

void
nmi_init(void)
{
    softirq_register(SOFTIRQ_NMI, nmi_tell);
}

int
nmi_cpu_init(void)
{
    struct nmi_cpu *cpu = heap_zalloc(sizeof(*cpu));

    if (!cpu)
        return -ENOMEM;
    timer_init(&cpu->beat, beat_fired, cpu, cpu_id());
    timer_init(&cpu->poll, poll_fired, cpu, cpu_id());
    nmi_cpus[cpu_id()] = cpu;
    mc_cpu_init(cpu);
    return 0;
}
