/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Exceptions of the guest kernel reach its own handlers with the CPU's error
 * code and CR2 in vcpu_info; privileged instructions are emulated or refused
 * by #GP; the hypervisor's memory cannot be touched (arch-x86/xen.h).
 */
#include "guest.h"

static volatile u64 seen_vector, seen_error;
static u64 resume;

void
trap_handler(struct guest_frame *frame)
{
    seen_vector = frame->vector;
    seen_error = frame->error;
    if (frame->vector == 3)
        return; /* a trap: RIP is behind it already */
    frame->rip = resume;
}

#define PROVOKE(code, ...)                                                   \
    ({                                                                       \
        seen_vector = 999;                                                   \
        __asm__ volatile("lea 1f(%%rip), %%rax; mov %%rax, %0; " code "; 1:" \
                         : "=m"(resume)                                      \
                         : __VA_ARGS__                                       \
                         : "rax", "rcx", "rdx", "rbx", "memory");            \
        seen_vector;                                                         \
    })

void
test_main(void)
{
    traps_install();
    CHECK(PROVOKE("ud2") == 6, "UD2 gave vector %lu", seen_vector);
    CHECK(PROVOKE("int3") == 3, "INT3 gave vector %lu", seen_vector);
    CHECK(PROVOKE("xor %%ecx, %%ecx; xor %%edx, %%edx; mov $1, %%eax; div %%ecx") == 0,
          "division gave vector %lu", seen_vector);
    CHECK(PROVOKE("mov 0x1234, %%ecx") == 14, "a load from nowhere gave vector %lu", seen_vector);
    CHECK(shared_info->vcpu_info[0].arch.cr2 == 0x1234, "CR2 is %lx",
          (u64)shared_info->vcpu_info[0].arch.cr2);
    CHECK(!(seen_error & 3), "its error code is %lx", seen_error);
    CHECK(PROVOKE("movabs $0xffff830000000000, %%rcx; mov (%%rcx), %%ecx") == 14,
          "the hypervisor's memory was read");
    CHECK(PROVOKE("movabs $0xffff820000000000, %%rcx; movl $1, (%%rcx)") == 14,
          "the hypervisor's image was written");
    CHECK(PROVOKE("movabs $0xffff800000000000, %%rcx; movl $1, (%%rcx)") == 14, "the M2P table was written");
    CHECK(PROVOKE("mov $0xdead, %%ecx; rdmsr") == 13, "an MSR that does not exist gave vector %lu",
          seen_vector);
    CHECK(PROVOKE("mov %%cr0, %%rcx") == 999, "reading CR0 was refused: vector %lu", seen_vector);
    CHECK(PROVOKE("mov %%cr3, %%rcx") == 999, "reading CR3 was refused: vector %lu", seen_vector);
    CHECK(PROVOKE("lgdt 0x1000") == 13, "LGDT gave vector %lu", seen_vector);
    CHECK(PROVOKE("mov $0x8, %%ecx; mov %%ecx, %%ds") != 999, "a segment of nobody's was loaded");
    CHECK(PROVOKE("xor %%eax, %%eax; cpuid") == 999, "CPUID gave vector %lu", seen_vector);
}
