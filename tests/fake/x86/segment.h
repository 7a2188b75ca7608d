/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stands in for hv/x86/segment.h. */
#ifndef SERAI_X86_SEGMENT_H
#define SERAI_X86_SEGMENT_H

#include "x86/asm.h"

/* Compatibility mode is what the test says is. */
extern u16 fake_selector_32bit;

static inline bool
segment_is_long(u16 sel)
{
    return sel != fake_selector_32bit;
}

static inline void
segment_load_inactive_gs(u16 sel)
{
    wrmsr(MSR_SHADOW_GS_BASE, sel ? 0x1000ull * sel : 0);
}

#endif
