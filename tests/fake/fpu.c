/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pretend FPU areas: memory that is saved nowhere. */
#include "x86/asm.h"
#include "x86/fpu.h"
#include "fake-private.h"

#include <stdlib.h>
#include <string.h>

FAKE u32 fpu_area_size = 576;
FAKE u64 fpu_xcr0_mask = 3;

FAKE struct fpu_area *
fpu_area_create(void)
{
    void *area = aligned_alloc(64, fpu_area_size);

    memset(area, 0, fpu_area_size);
    return area;
}

FAKE void
fpu_area_destroy(struct fpu_area *area)
{
    free(area);
}

FAKE void
fpu_area_reset(struct fpu_area *area)
{
    memset(area, 0, fpu_area_size);
}

FAKE void
fpu_set_xcr0(u64 value)
{
    fake_regs.xcr0 = value;
}

FAKE void
fpu_save(struct fpu_area *area)
{
    (void)area;
}

FAKE void
fpu_restore(struct fpu_area *area, u64 xcr0)
{
    (void)area, (void)xcr0;
}

FAKE void
fpu_area_get_legacy(const struct fpu_area *area, void *buf512)
{
    memcpy(buf512, area, 512);
}

FAKE void
fpu_area_set_legacy(struct fpu_area *area, const void *buf512)
{
    memcpy(area, buf512, 512);
}

FAKE bool
fpu_area_set(struct fpu_area *area, const void *xsave, u32 size, u64 xcr0)
{
    (void)xcr0;
    if (size > fpu_area_size)
        return false;
    memcpy(area, xsave, size);
    return true;
}

FAKE const void *
fpu_area_raw(const struct fpu_area *area)
{
    return area;
}
