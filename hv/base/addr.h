/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Addresses that must not be confused, and the only ways between them.
 *
 *   mfn_t    machine frame number: a page of the real machine
 *   gfn_t    guest frame number: a page as a guest counts it.  A PV guest sees MFNs, so there the two are
 *            equal; "pseudo-physical" numbers (PFNs) are the guest's own affair, kept in the M2P table
 *   maddr_t  machine address in bytes
 */
#ifndef SERAI_BASE_ADDR_H
#define SERAI_BASE_ADDR_H

#include "base/types.h"

typedef struct {
    u64 n;
} mfn_t;

typedef struct {
    u64 n;
} gfn_t;

typedef struct {
    u64 a;
} maddr_t;

#define MFN_INVALID ((mfn_t){~0ull})
#define GFN_INVALID ((gfn_t){~0ull})

/* Frame numbers that a CPU with 52 physical address bits can have. */
#define MFN_LIMIT (1ull << 40)

static inline mfn_t
_mfn(u64 n)
{
    return (mfn_t){n};
}

static inline u64
mfn_x(mfn_t mfn)
{
    return mfn.n;
}

static inline gfn_t
_gfn(u64 n)
{
    return (gfn_t){n};
}

static inline u64
gfn_x(gfn_t gfn)
{
    return gfn.n;
}

static inline bool
mfn_equal(mfn_t a, mfn_t b)
{
    return a.n == b.n;
}

static inline mfn_t
mfn_add(mfn_t mfn, u64 count)
{
    return _mfn(mfn.n + count);
}

static inline maddr_t
_maddr(u64 a)
{
    return (maddr_t){a};
}

static inline maddr_t
mfn_to_maddr(mfn_t mfn)
{
    return _maddr(mfn.n << PAGE_SHIFT);
}

static inline mfn_t
maddr_to_mfn(maddr_t maddr)
{
    return _mfn(maddr.a >> PAGE_SHIFT);
}

#endif
