/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Extended state.  Areas have the standard XSAVE layout, so that tools can carry them to another host. */
#include "x86/fpu.h"
#include "base/string.h"
#include "mm/heap.h"
#include "x86/cpu.h"
#include "x86/percpu.h"

#define XCR0_OFFERED (XCR0_X87 | XCR0_SSE | XCR0_YMM | XCR0_AVX512)

#define MXCSR_OFFSET     24
#define XSTATE_BV_OFFSET 512
#define XSAVE_HEADER_END 576

struct fpu_area {
    u8 legacy[512];
    u64 xstate_bv, xcomp_bv, reserved[6];
    u8 extended[];
};

u32 fpu_area_size = 512;
u64 fpu_xcr0_mask = XCR0_X87 | XCR0_SSE;
static u32 mxcsr_mask = 0xffbf;

/* The only place that writes XCR0, so that this_cpu()->xcr0 is what the CPU has. */
void
fpu_set_xcr0(u64 value)
{
    if (this_cpu()->xcr0 == value)
        return;
    __asm__ volatile("xsetbv" : : "c"(0), "a"((u32)value), "d"((u32)(value >> 32)));
    this_cpu()->xcr0 = value;
}

void
fpu_cpu_init(void)
{
    __attribute__((aligned(64))) u8 area[512];
    u32 r[4];

    if (cpu_features.xsave) {
        cpuid_count(13, 0, r);
        fpu_xcr0_mask = (((u64)r[3] << 32) | r[0]) & XCR0_OFFERED;
        fpu_set_xcr0(fpu_xcr0_mask);
        cpuid_count(13, 0, r);
        fpu_area_size = MAX(r[1], (u32)XSAVE_HEADER_END);
    }
    __asm__ volatile("clts; fninit");
    memset(area, 0, sizeof(area));
    __asm__ volatile("fxsave %0" : "=m"(area));
    if (*(u32 *)(area + 28))
        mxcsr_mask = *(u32 *)(area + 28);
}

void
fpu_area_reset(struct fpu_area *area)
{
    memset(area, 0, fpu_area_size);
    *(u16 *)area->legacy = 0x37f;
    *(u32 *)(area->legacy + MXCSR_OFFSET) = 0x1f80;
    if (cpu_features.xsave)
        area->xstate_bv = XCR0_X87 | XCR0_SSE;
}

struct fpu_area *
fpu_area_create(void)
{
    struct fpu_area *area = heap_zalloc(MAX(fpu_area_size, (u32)XSAVE_HEADER_END));

    if (area)
        fpu_area_reset(area);
    return area;
}

void
fpu_area_destroy(struct fpu_area *area)
{
    heap_free(area);
}

void
fpu_save(struct fpu_area *area)
{
    /* What the guest has turned off keeps its values all the same, or never had any but through FXRSTOR. */
    if (cpu_features.xsave)
        fpu_set_xcr0(fpu_xcr0_mask);
    if (cpu_features.xsaveopt)
        __asm__ volatile("xsaveopt64 %0" : "+m"(*area) : "a"(~0u), "d"(~0u) : "memory");
    else if (cpu_features.xsave)
        __asm__ volatile("xsave64 %0" : "+m"(*area) : "a"(~0u), "d"(~0u) : "memory");
    else
        __asm__ volatile("fxsave64 %0" : "=m"(*area) : : "memory");
}

/* Loads the area; false when the CPU refuses it. */
static bool
try_restore(struct fpu_area *area)
{
    u32 failed = 0;

    if (cpu_features.xsave)
        __asm__ volatile("1: xrstor64 %1; 2:\n\t"
                         ".pushsection .fixup, \"ax\"; 3: mov $1, %0; jmp 2b; .popsection\n\t"
                         ".pushsection .extable, \"a\"; .quad 1b, 3b; .popsection"
                         : "+&r"(failed)
                         : "m"(*area), "a"(~0u), "d"(~0u)
                         : "memory");
    else
        __asm__ volatile("1: fxrstor64 %1; 2:\n\t"
                         ".pushsection .fixup, \"ax\"; 3: mov $1, %0; jmp 2b; .popsection\n\t"
                         ".pushsection .extable, \"a\"; .quad 1b, 3b; .popsection"
                         : "+&r"(failed)
                         : "m"(*area)
                         : "memory");
    return !failed;
}

void
fpu_restore(struct fpu_area *area, u64 xcr0)
{
    if (cpu_features.xsave)
        fpu_set_xcr0(fpu_xcr0_mask);
    if (!try_restore(area)) {
        fpu_area_reset(area);
        try_restore(area);
    }
    if (cpu_features.xsave && xcr0)
        fpu_set_xcr0(xcr0);
}

void
fpu_area_get_legacy(const struct fpu_area *area, void *buf512)
{
    memcpy(buf512, area->legacy, 512);
}

void
fpu_area_set_legacy(struct fpu_area *area, const void *buf512)
{
    memcpy(area->legacy, buf512, 512);
    *(u32 *)(area->legacy + MXCSR_OFFSET) &= mxcsr_mask;
    if (cpu_features.xsave)
        area->xstate_bv |= XCR0_X87 | XCR0_SSE;
}

bool
fpu_area_set(struct fpu_area *area, const void *xsave, u32 size, u64 xcr0)
{
    const struct fpu_area *from = xsave;

    if (!cpu_features.xsave || size < XSAVE_HEADER_END || size > fpu_area_size)
        return false;
    if (from->xstate_bv & ~(xcr0 & fpu_xcr0_mask) || from->xcomp_bv)
        return false;
    for (unsigned i = 0; i < ARRAY_SIZE(from->reserved); i++)
        if (from->reserved[i])
            return false;
    fpu_area_reset(area);
    memcpy(area, from, size);
    *(u32 *)(area->legacy + MXCSR_OFFSET) &= mxcsr_mask;
    return true;
}

const void *
fpu_area_raw(const struct fpu_area *area)
{
    return area;
}
