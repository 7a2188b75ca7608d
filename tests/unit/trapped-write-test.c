/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes to a live page table, instruction by instruction: each is run on ordinary memory by this machine's
 * own CPU and, on a page table entry, by the hypervisor; registers, flags and the value must come out the
 * same.
 */
#include "base/string.h"
#include "hypercall/hypercall.h"
#include "pv/pv.h"
#include "pv/table.h"
#include "fake.h"
#include "pv-space.h"

#include <glib.h>
#include <sys/mman.h>

#define SLOT 40u

struct state {
    u64 rax, rcx, rdi, rflags;
};

/* Runs @code, which ends in RET, with @state; the memory operand is (%rdi). */
static void
run_native(const void *code, struct state *state)
{
    __asm__ volatile("push %[flags]; popfq\n\t"
                     "call *%[code]\n\t"
                     "pushfq; pop %[flags]"
                     : "+a"(state->rax), "+c"(state->rcx), "+D"(state->rdi), [flags] "+r"(state->rflags)
                     : [code] "r"(code)
                     : "memory", "cc", "rdx", "r8", "r9", "r10", "r11");
}

static const struct {
    const char *text;
    u8 bytes[12];
    u8 length, offset;
} instructions[] = {
    {"mov %rax, (%rdi)", {0x48, 0x89, 0x07}, 3, 0},
    {"mov %eax, (%rdi)", {0x89, 0x07}, 2, 0},
    {"mov %eax, 4(%rdi)", {0x89, 0x47, 0x04}, 3, 4},
    {"mov %ax, (%rdi)", {0x66, 0x89, 0x07}, 3, 0},
    {"mov %al, (%rdi)", {0x88, 0x07}, 2, 0},
    {"movq $-6, (%rdi)", {0x48, 0xc7, 0x07, 0xfa, 0xff, 0xff, 0xff}, 7, 0},
    {"movb $7, (%rdi)", {0xc6, 0x07, 0x07}, 3, 0},
    {"movq $0x1061, 0(%rdi) disp32", {0x48, 0xc7, 0x87, 0, 0, 0, 0, 0x61, 0x10, 0, 0}, 11, 0},
    {"mov %rcx, (%rdi) by sib", {0x48, 0x89, 0x0c, 0x27 /* index none */}, 4, 0},
    {"movnti %rax, (%rdi)", {0x48, 0x0f, 0xc3, 0x07}, 4, 0},
    {"xchg %rax, (%rdi)", {0x48, 0x87, 0x07}, 3, 0},
    {"xchg %eax, (%rdi)", {0x87, 0x07}, 2, 0},
    {"xchg %cl, (%rdi)", {0x86, 0x0f}, 2, 0},
    {"lock cmpxchg %rcx, (%rdi)", {0xf0, 0x48, 0x0f, 0xb1, 0x0f}, 5, 0},
    {"lock cmpxchg %ecx, (%rdi)", {0xf0, 0x0f, 0xb1, 0x0f}, 4, 0},
    {"cmpxchg %cl, (%rdi)", {0x0f, 0xb0, 0x0f}, 3, 0},
    {"lock andb $~2, (%rdi)", {0xf0, 0x80, 0x27, 0xfd}, 4, 0},
    {"lock and %rax, (%rdi)", {0xf0, 0x48, 0x21, 0x07}, 4, 0},
    {"orq $0x60, (%rdi)", {0x48, 0x83, 0x0f, 0x60}, 4, 0},
    {"orl $0x100042, (%rdi)", {0x81, 0x0f, 0x42, 0, 0x10, 0}, 6, 0},
    {"xor %rcx, (%rdi)", {0x48, 0x31, 0x0f}, 3, 0},
    {"xorw $2, (%rdi)", {0x66, 0x83, 0x37, 0x02}, 4, 0},
    {"lock btrq $1, (%rdi)", {0xf0, 0x48, 0x0f, 0xba, 0x37, 0x01}, 6, 0},
    {"lock btrq $63, (%rdi)", {0xf0, 0x48, 0x0f, 0xba, 0x37, 0x3f}, 6, 0},
    {"btsl $33, (%rdi)", {0x0f, 0xba, 0x2f, 0x21}, 4, 0},
    {"btcl $5, (%rdi)", {0x0f, 0xba, 0x3f, 0x05}, 4, 0},
    {"stosq", {0x48, 0xab}, 2, 0},
    {"stosl", {0xab}, 1, 0},
};

static u64 va = SPACE_VA + SPACE_SELF_SLOT * PAGE_SIZE + SLOT * 8;

static u64
interesting_entry(void)
{
    static const u64 flags[] = {
        0, PTE_P, PTE_P | PTE_RW, PTE_P | PTE_RW | PTE_A | PTE_D, PTE_P | PTE_A | PTE_NX, PTE_D};

    return pte_make(_mfn(SPACE_DATA + g_test_rand_int_range(0, 4)),
                    flags[g_test_rand_int_range(0, ARRAY_SIZE(flags))] | PTE_US);
}

static void
instructions_do_what_the_cpu_does(void)
{
    u8 *code = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned carried_out = 0;

    g_assert_true(code != MAP_FAILED);
    space_create();
    for (unsigned i = 0; i < ARRAY_SIZE(instructions); i++) {
        unsigned length = instructions[i].length, done = 0;

        memcpy(code, instructions[i].bytes, length);
        code[length] = 0xc3;
        for (unsigned round = 0; round < 200; round++) {
            u64 memory = interesting_entry();
            struct mmu_update req = {(SPACE_L1 << PAGE_SHIFT) + SLOT * 8, memory};
            u64 arg[6] = {(u64)&req, 1, 0, DOMID_SELF};
            struct state state = {interesting_entry(), interesting_entry(), (u64)&memory, 0x202};
            struct cpu_user_regs regs = {
                .rip = (u64)code, .rdi = va, .rflags = 0x202 | (u64)g_test_rand_int_range(0, 2)};

            g_assert_cmpint(hypercall_mmu_update(arg), ==, 0);
            memory = space_table(SPACE_L1)[SLOT];
            if (g_test_rand_int_range(0, 3) == 0)
                state.rax = memory; /* so that comparisons succeed */
            regs.rax = state.rax;
            regs.rcx = state.rcx;
            state.rflags = regs.rflags;
            run_native(code, &state);

            if (!pv_trapped_write(current, va + instructions[i].offset, &regs)) {
                /* Refused: only because of what the entry would have said. */
                g_assert_cmphex(memory & PTE_P, ==, PTE_P);
                continue;
            }
            done++;
            g_assert_cmphex(regs.rip, ==, (u64)code + length);
            if (memory & PTE_P)
                memory = (memory | PTE_US) & ~PTE_G;
            g_assert_cmphex(space_table(SPACE_L1)[SLOT], ==, memory);
            g_assert_cmphex(regs.rax, ==, state.rax);
            g_assert_cmphex(regs.rcx, ==, state.rcx);
            g_assert_cmphex(regs.rdi - va, ==, state.rdi - (u64)&memory);
            g_assert_cmphex(regs.rflags & ~0x10ull, ==,
                            state.rflags & ~0x10ull); /* AF is undefined after logic */
        }
        g_test_message("%s: %u of 200 carried out", instructions[i].text, done);
        g_assert_cmpuint(done, >, 10);
        carried_out += done;
    }
    munmap(code, PAGE_SIZE);
    g_assert_cmpuint(carried_out, >, 1000);
}

static bool
try(const void *code, u64 address)
{
    struct cpu_user_regs regs = {.rip = (u64)code, .rax = pte_make(_mfn(20), PTE_P | PTE_RW)}, before = regs;
    bool done = pv_trapped_write(current, address, &regs);

    if (!done)
        g_assert_cmpint(memcmp(&regs, &before, sizeof(regs)), ==, 0);
    return done;
}

static void
other_instructions_are_left_to_the_guest(void)
{
    static const u8 ud2[16] = {0x0f, 0x0b}, reg_to_reg[16] = {0x48, 0x89, 0xc7}, add[16] = {0x48, 0x01, 0x07},
                    bit_in_reg[16] = {0x48, 0x0f, 0xb3, 0x07},
                    prefixes[16] = {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
                                    0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66},
                    high_byte[16] = {0x88, 0x27}, group[16] = {0x48, 0xc7, 0x0f};

    space_create();
    g_assert_false(try(ud2, va));
    g_assert_false(try(reg_to_reg, va));
    g_assert_false(try(add, va));
    g_assert_false(try(bit_in_reg, va));
    g_assert_false(try(prefixes, va));
    g_assert_false(try(high_byte, va));
    g_assert_false(try(group, va));
    g_assert_false(try((void *)8, va));
}

static void
only_read_only_mappings_of_l1_tables_count(void)
{
    static const u8 mov[16] = {0x48, 0x89, 0x07};

    space_create();
    g_assert_true(try(mov, va));
    g_assert_false(try(mov, va + 4));                     /* across the entry */
    g_assert_false(try(mov, SPACE_VA + 100 * PAGE_SIZE)); /* nothing there */
    g_assert_false(try(mov, SPACE_VA + 40 * PAGE_SIZE));  /* writable by now */
    space_table(SPACE_L1)[50] = pte_make(_mfn(SPACE_L2), PTE_P | PTE_US);
    frame_of(_mfn(SPACE_L2))->count++;
    g_assert_false(try(mov, SPACE_VA + 50 * PAGE_SIZE)); /* a table, but not an L1 */
}

static void
instruction_at_the_end_of_memory_is_read_no_further(void)
{
    u8 *page = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    munmap(page + PAGE_SIZE, PAGE_SIZE);
    space_create();
    memcpy(page + PAGE_SIZE - 3, "\x48\x89\x07", 3);
    g_assert_true(try(page + PAGE_SIZE - 3, va));
    memcpy(page + PAGE_SIZE - 3, "\x48\xc7\x07", 3);
    g_assert_false(try(page + PAGE_SIZE - 3, va));
    munmap(page, PAGE_SIZE);
}

static void
repeated_store_goes_element_by_element(void)
{
    static const u8 stos[16] = {0xf3, 0x48, 0xab};
    struct cpu_user_regs regs = {.rip = (u64)stos, .rdi = va, .rcx = 3, .rflags = 2};

    space_create();
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmphex(regs.rip, ==, (u64)stos);
        g_assert_cmpuint(regs.rcx, ==, 3 - i);
        g_assert_true(pv_trapped_write(current, va + i * 8, &regs));
    }
    g_assert_cmphex(regs.rip, ==, (u64)stos + 3);
    g_assert_cmphex(regs.rdi, ==, va + 24);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/trapped-write/instructions_do_what_the_cpu_does", instructions_do_what_the_cpu_does);
    g_test_add_func("/trapped-write/other_instructions_are_left_to_the_guest",
                    other_instructions_are_left_to_the_guest);
    g_test_add_func("/trapped-write/only_read_only_mappings_of_l1_tables_count",
                    only_read_only_mappings_of_l1_tables_count);
    g_test_add_func("/trapped-write/instruction_at_the_end_of_memory_is_read_no_further",
                    instruction_at_the_end_of_memory_is_read_no_further);
    g_test_add_func("/trapped-write/repeated_store_goes_element_by_element",
                    repeated_store_goes_element_by_element);
    return g_test_run();
}
