/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The surroundings of user space code; the contract is in libc-env.h. */
#include "x86/libc-env.h"

#include "base/types.h"

#define MSR_FS_BASE 0xc0000100u
#define CR0_MP      0x2ull
#define CR0_EM      0x4ull
#define CR0_TS      0x8ull
#define CR4_OSFXSR  0x200ull

/* What %fs points to: the canary of the stack protector lies at offset 0x28 of it. */
static struct {
    u64 words[16];
} thread_block;

static u64 saved_cr0, saved_cr4;

static void
set_fs_base(u64 base)
{
    __asm__ volatile("wrmsr" ::"c"(MSR_FS_BASE), "a"((u32)base), "d"((u32)(base >> 32)) : "memory");
}

void
libc_env_enter(void)
{
    u32 mxcsr = 0x1f80;

    __asm__ volatile("mov %%cr0, %0" : "=r"(saved_cr0));
    __asm__ volatile("mov %%cr4, %0" : "=r"(saved_cr4));
    __asm__ volatile("mov %0, %%cr0" ::"r"((saved_cr0 & ~(CR0_EM | CR0_TS)) | CR0_MP) : "memory");
    __asm__ volatile("mov %0, %%cr4" ::"r"(saved_cr4 | CR4_OSFXSR) : "memory");
    __asm__ volatile("fninit; ldmxcsr %0" ::"m"(mxcsr));
    thread_block.words[5] = 0x5e7a1ca4a47ull << 8;
    set_fs_base((u64)&thread_block);
}

void
libc_env_leave(void)
{
    set_fs_base(0);
    __asm__ volatile("mov %0, %%cr4" ::"r"(saved_cr4) : "memory");
    __asm__ volatile("mov %0, %%cr0" ::"r"(saved_cr0) : "memory");
}
