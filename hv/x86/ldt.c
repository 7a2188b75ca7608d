/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The LDT's own descriptor stands in the reserved part of this CPU's GDT. */
#include "x86/ldt.h"
#include "x86/entry-offsets.h"
#include "x86/memory-map.h"
#include "x86/paging.h"
#include "x86/percpu.h"

void
ldt_load(u32 entries)
{
    struct cpu *cpu = this_cpu();
    u64 base = paging_window_va(WINDOW_LDT), limit = (u64)entries * 8 - 1;
    u64 *gdt = (u64 *)paging_window_va(WINDOW_GDT);

    if (cpu->ldt_loaded == entries)
        return;
    cpu->ldt_loaded = entries;
    if (!entries) {
        __asm__ volatile("lldt %w0" : : "r"(0));
        return;
    }
    gdt[SEL_LDT / 8] = (limit & 0xffff) | (base & 0xffffff) << 16 | 0x82ull << 40 |
                       (limit >> 16 & 0xf) << 48 | (base >> 24 & 0xff) << 56;
    gdt[SEL_LDT / 8 + 1] = base >> 32;
    __asm__ volatile("lldt %w0" : : "r"(SEL_LDT) : "memory");
}
