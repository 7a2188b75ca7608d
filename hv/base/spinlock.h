/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Spin locks: fair (tickets), not recursive.  Interrupts are off in the hypervisor, so a CPU that waits
 * must answer other CPUs' requests (TLB flushes) itself: every wait loop calls cpu_relax_poll().
 * The lock order is at the top of domain/domain.h.
 */
#ifndef SERAI_BASE_SPINLOCK_H
#define SERAI_BASE_SPINLOCK_H

#include "base/atomic.h"

typedef struct {
    union {
        u32 both;
        struct {
            u16 owner, next;
        };
    };
} spinlock_t;

/* clang-format off */
#define SPINLOCK_INIT {{0}}
/* clang-format on */

/* Waits a moment and answers what other CPUs ask of this one meanwhile. */
void cpu_relax_poll(void);

void spin_lock_wait(spinlock_t *lock, u16 ticket);

static inline void
spin_lock_init(spinlock_t *lock)
{
    lock->both = 0;
}

static inline void
spin_lock(spinlock_t *lock)
{
    u16 ticket = __atomic_fetch_add(&lock->next, 1, __ATOMIC_ACQUIRE);

    if (unlikely(__atomic_load_n(&lock->owner, __ATOMIC_ACQUIRE) != ticket))
        spin_lock_wait(lock, ticket);
}

static inline bool
spin_trylock(spinlock_t *lock)
{
    u32 old = atomic_read(&lock->both);

    if ((u16)old != (u16)(old >> 16))
        return false;
    return atomic_cmpxchg(&lock->both, &old, (old & 0xffff) | ((u32)(u16)((old >> 16) + 1) << 16));
}

static inline void
spin_unlock(spinlock_t *lock)
{
    /* Only the holder writes the field, and x86 keeps stores in order: one instruction does. */
    __asm__ volatile("incw %0" : "+m"(lock->owner) : : "memory", "cc");
}

static inline bool
spin_is_locked(const spinlock_t *lock)
{
    u32 both = atomic_read(&lock->both);

    return (u16)both != (u16)(both >> 16);
}

/* Both locks of one kind, in address order; they may be the same one. */
static inline void
spin_lock_two(spinlock_t *a, spinlock_t *b)
{
    if (a == b) {
        spin_lock(a);
    } else {
        spin_lock(a < b ? a : b);
        spin_lock(a < b ? b : a);
    }
}

static inline void
spin_unlock_two(spinlock_t *a, spinlock_t *b)
{
    spin_unlock(a);
    if (a != b)
        spin_unlock(b);
}

#endif
