/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A pretend machine, so that the hypervisor above x86/ runs as an ordinary program.
 *
 * A test is linked with the hv/ files that it names and with this library.  Everything here is a weak symbol,
 * so a test that wants another answer just defines the function itself.  Include order in a test: hv/
 * headers, then "fake.h", then <glib.h> (the ABI's errno names must come before <errno.h>'s macros).
 *
 *   fake_machine_init(64 MiB of pages, 4 CPUs);
 *   struct domain *d = fake_domain_new(1, 2);       pretend domain with two vCPUs, no hv/domain code needed
 *   fake_run_as(d->vcpus[0], 1);                    this thread is now CPU 1, running that vCPU
 *
 * Guest pointers are addresses of the process; one that is not mapped gives -EFAULT as on the machine.
 */
#ifndef SERAI_FAKE_H
#define SERAI_FAKE_H

#include <setjmp.h>

#include "base/types.h"
#include "base/addr.h"
#include "x86/percpu.h"

#define FAKE_CPU_MAX 16u

struct domain;
struct vcpu;

/* --- machine.c --- */
/*
 * Begins a new machine: @pages of zeroed memory, frames 0 to @pages - 1, all in state HEAP and in nobody's
 * hands; give some to the allocator with frame_alloc_add().  May be called again in one process; then
 * everything below starts afresh.
 */
void fake_machine_init(u64 pages, unsigned cpus);
void fake_cpu_set(unsigned cpu);
/* The calling thread becomes @cpu with @v current. */
void fake_run_as(struct vcpu *v, unsigned cpu);
extern struct cpu fake_cpus[FAKE_CPU_MAX];

/* --- domain.c --- */
/*
 * A struct domain with vCPUs that point to it, locks initialised, lists empty, refcount 1; found by
 * domain_find().
 */
struct domain *fake_domain_new(u16 id, unsigned vcpus);
void fake_domains_forget(void);
extern unsigned fake_domain_crashes; /* calls of domain_crash() */

/* --- log.c --- */
extern char fake_log_last[512];
extern unsigned fake_log_count;
/* Where panic() jumps to; NULL: it ends the test.  See FAKE_EXPECT_PANIC(). */
extern jmp_buf *fake_panic_jump;
extern char fake_panic_text[512];

/* True when @statement panicked. */
#define FAKE_PANICS(statement)           \
    ({                                   \
        jmp_buf jump__;                  \
        volatile bool panicked__ = true; \
        fake_panic_jump = &jump__;       \
        if (!setjmp(jump__)) {           \
            statement;                   \
            panicked__ = false;          \
        }                                \
        fake_panic_jump = NULL;          \
        panicked__;                      \
    })

/* --- clock.c --- */
extern u64 fake_now_ns;
extern u64 fake_apic_deadline_ns[FAKE_CPU_MAX]; /* apic_set_timer(); 0 = stopped */
/* Moves the clock to @ns; on the way each deadline fires on its CPU and all softirqs run. */
void fake_clock_run_until(u64 ns);

/* --- softirq.c --- */
/* Runs what is pending on every CPU until nothing is; then the work that waits for quiescence, and again. */
void fake_run_all(void);
/* Runs what is pending, but treats no CPU as quiescent. */
void fake_run_softirqs(void);

/* --- apic.c --- */
struct fake_ipi {
    u32 cpu;
    u8 vector; /* 2 for an NMI */
};
#define FAKE_IPI_MAX 1024u
extern struct fake_ipi fake_ipis[FAKE_IPI_MAX]; /* the first of them */
extern unsigned fake_ipi_count;
unsigned fake_ipi_count_to(unsigned cpu, u8 vector);

/* --- tlb.c --- */
extern unsigned fake_flush_count;                  /* calls that flushed at least one CPU */
extern unsigned fake_cpu_flushes[FAKE_CPU_MAX];    /* full flushes of each CPU */
extern unsigned fake_cpu_va_flushes[FAKE_CPU_MAX]; /* flushes of one page */
extern u64 fake_flush_va;                          /* the last such page */

/* --- heap.c --- */
/* When not 0, counts down with each allocation; the one that reaches 0 fails. */
extern unsigned fake_heap_fail_in;

/* --- guest.c --- */
/* Called before each access to guest memory; may change memory, to catch values that are read twice. */
extern void (*fake_guest_access_hook)(u64 address, size_t size, bool write);
extern unsigned fake_guest_reads, fake_guest_writes;
/* When not 0, counts down with each access; the one that reaches 0 faults. */
extern unsigned fake_guest_fault_in;
/* From now on a guest's access to anything else faults, until the machine starts anew. */
void fake_guest_owns(const void *memory, size_t size);

#endif
