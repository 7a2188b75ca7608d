/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* FPU, SSE and AVX state: switched eagerly, saved by XSAVE where the CPU has it, else FXSAVE. */
#ifndef SERAI_X86_FPU_H
#define SERAI_X86_FPU_H

#include "base/types.h"

/* State components, as XCR0 and the header of an area name them (SDM vol. 1, 13.1). */
#define XCR0_X87    (1ull << 0)
#define XCR0_SSE    (1ull << 1)
#define XCR0_YMM    (1ull << 2)
#define XCR0_AVX512 (7ull << 5)

/* Each CPU, at boot: turns XSAVE on and reads the sizes. */
void fpu_cpu_init(void);

struct fpu_area; /* an XSAVE area, 64-byte aligned */

extern u32 fpu_area_size; /* bytes; 512 + 64 + extensions */
extern u64 fpu_xcr0_mask; /* state components that the CPU has and we switch */

/* The area as a fresh CPU would have it: FCW 0x37f, MXCSR 0x1f80. */
struct fpu_area *fpu_area_create(void);
void fpu_area_destroy(struct fpu_area *area);
void fpu_area_reset(struct fpu_area *area);

/* SDM vol. 1, 13.3: whether @xcr0, of what is @offered, is one that the CPU takes; AVX-512 comes whole. */
static inline bool
xcr0_is_valid(u64 xcr0, u64 offered)
{
    u64 avx512 = xcr0 & XCR0_AVX512;

    return !(xcr0 & ~offered) && (xcr0 & XCR0_X87) && (!(xcr0 & XCR0_YMM) || (xcr0 & XCR0_SSE)) &&
           (!avx512 || (avx512 == XCR0_AVX512 && (xcr0 & XCR0_YMM)));
}

/* This CPU's XCR0: what the current guest has turned on, or, while states are switched, all of them. */
void fpu_set_xcr0(u64 value);
void fpu_save(struct fpu_area *area);
/* Loads @area with XCR0 set to @xcr0 for the guest.  A fresh one replaces a state that the CPU refuses. */
void fpu_restore(struct fpu_area *area, u64 xcr0);

/* The legacy 512 bytes (FXSAVE format), for vcpu_guest_context. */
void fpu_area_get_legacy(const struct fpu_area *area, void *buf512);
void fpu_area_set_legacy(struct fpu_area *area, const void *buf512);

/* The whole area, for XEN_DOMCTL_{get,set}vcpuextstate; false when the header claims what we do not offer. */
bool fpu_area_set(struct fpu_area *area, const void *xsave, u32 size, u64 xcr0);

/* The area's bytes, fpu_area_size of them, in XSAVE's standard layout. */
const void *fpu_area_raw(const struct fpu_area *area);

#endif
