/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a debugger and a busy program need of the CPU: single steps, hardware breakpoints and watchpoints, an
 * LDT, and registers of the FPU that keep their values over many context switches.  Prints "traps64: ok" or
 * what is wrong.  gcc -static -O1 -mavx -pthread
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <cpuid.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(cond, text)                                             \
    do {                                                              \
        if (!(cond)) {                                                \
            printf("traps64: wrong: %s (line %d)\n", text, __LINE__); \
            exit(1);                                                  \
        }                                                             \
    } while (0)

static volatile long watched;

static __attribute__((noinline)) void
touch(long value)
{
    __asm__ volatile("" : : : "memory");
    watched = value;
}

static void
poke_debugreg(pid_t child, int reg, unsigned long value)
{
    CHECK(!ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg) + reg * 8, value),
          "set a debug register");
}

static unsigned long
go_on(pid_t child, int how, struct user_regs_struct *regs)
{
    int status;

    CHECK(!ptrace(how, child, 0, 0), "go on");
    CHECK(waitpid(child, &status, 0) == child, "wait");
    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP, "a trap stops it");
    CHECK(!ptrace(PTRACE_GETREGS, child, 0, regs), "read registers");
    return ptrace(PTRACE_PEEKUSER, child, offsetof(struct user, u_debugreg) + 6 * 8, 0);
}

static void
debugger(void)
{
    struct user_regs_struct regs;
    unsigned long rip;
    pid_t child = fork();
    int status;

    if (!child) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        touch(1);
        touch(2);
        _exit(watched == 2 ? 5 : 6);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFSTOPPED(status), "the child stops");
    CHECK(!ptrace(PTRACE_GETREGS, child, 0, &regs), "read registers");
    rip = regs.rip;
    for (int i = 0; i < 20; i++) {
        CHECK(go_on(child, PTRACE_SINGLESTEP, &regs) & 0x4000, "DR6 says single step");
        CHECK(regs.rip != rip, "a step moves on");
        rip = regs.rip;
    }
    /* DR0: execution of touch(); DR1: a write of eight bytes to watched. */
    poke_debugreg(child, 0, (unsigned long)touch);
    poke_debugreg(child, 1, (unsigned long)&watched);
    poke_debugreg(child, 7, 1 | 4 | 9ull << 20);
    for (long n = 1; n <= 2; n++) {
        CHECK((go_on(child, PTRACE_CONT, &regs) & 3) == 1 && regs.rip == (unsigned long)touch,
              "the breakpoint is met");
        CHECK((go_on(child, PTRACE_CONT, &regs) & 3) == 2, "the watchpoint is met");
        CHECK(ptrace(PTRACE_PEEKDATA, child, &watched, 0) == n, "after the write");
    }
    poke_debugreg(child, 7, 0);
    CHECK(!ptrace(PTRACE_CONT, child, 0, 0) && waitpid(child, &status, 0) == child, "go on to the end");
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 5, "the child ends as if nobody had looked");
}

static void
ldt(void)
{
    static long data[2] = {0x123456789abcdef0};
    /* 32-bit data that is writable and there, with its limit in pages. */
    struct user_desc desc = {1, (unsigned)(unsigned long)data, 0xfffff, 1, 0, 0, 1, 0, 1};
    unsigned value;

    CHECK((unsigned long)data < 1ull << 32, "static data lies low");
    CHECK(!syscall(SYS_modify_ldt, 0x11, &desc, sizeof(desc)), "modify_ldt");
    __asm__ volatile("mov %w1, %%gs; mov %%gs:0, %0; mov %w2, %%gs"
                     : "=&r"(value)
                     : "r"(1 << 3 | 7), "r"(0)
                     : "memory");
    CHECK(value == 0x9abcdef0, "a segment of the LDT");
}

static int
has_avx(void)
{
    unsigned a, b, c, d;

    return __get_cpuid(1, &a, &b, &c, &d) && (c >> 27 & 3) == 3 && c >> 28 & 1;
}

/* Vector registers filled with what only this process has; other processes do the same beside it. */
static int
vectors(unsigned seed, int seconds)
{
    uint32_t in[8][8], out[8][8];
    time_t end = time(NULL) + seconds;
    unsigned rounds = 0;
    int avx = has_avx();

    for (int i = 0; i < 64; i++)
        in[i / 8][i % 8] = seed * 0x01010101u + i * 0x9e3779b9u;
    do {
        memset(out, 0, sizeof(out));
        if (avx)
            __asm__ volatile("vmovups (%0), %%ymm0; vmovups 32(%0), %%ymm1; vmovups 64(%0), %%ymm6; vmovups "
                             "96(%0), %%ymm7;"
                             "vmovups 128(%0), %%ymm8; vmovups 160(%0), %%ymm9; vmovups 192(%0), %%ymm14; "
                             "vmovups 224(%0), %%ymm15;"
                             "mov $200000, %%ecx; 1: dec %%ecx; jnz 1b; mov $24, %%eax; syscall;"
                             "vmovups %%ymm0, (%1); vmovups %%ymm1, 32(%1); vmovups %%ymm6, 64(%1); vmovups "
                             "%%ymm7, 96(%1);"
                             "vmovups %%ymm8, 128(%1); vmovups %%ymm9, 160(%1); vmovups %%ymm14, 192(%1); "
                             "vmovups %%ymm15, 224(%1)"
                             :
                             : "r"(in), "r"(out)
                             : "rax", "rcx", "r11", "memory", "xmm0", "xmm1", "xmm6", "xmm7", "xmm8", "xmm9",
                               "xmm14", "xmm15");
        else
            __asm__ volatile(
                "movups (%0), %%xmm0; movups 32(%0), %%xmm1; movups 64(%0), %%xmm6; movups 96(%0), %%xmm7;"
                "mov $200000, %%ecx; 1: dec %%ecx; jnz 1b; mov $24, %%eax; syscall;"
                "movups %%xmm0, (%1); movups %%xmm1, 32(%1); movups %%xmm6, 64(%1); movups %%xmm7, 96(%1)"
                :
                : "r"(in), "r"(out)
                : "rax", "rcx", "r11", "memory", "xmm0", "xmm1", "xmm6", "xmm7");
        for (int i = 0; i < (avx ? 8 : 4); i++)
            if (memcmp(in[i], out[i], avx ? 32 : 16))
                return 1;
        rounds++;
    } while (time(NULL) < end);
    return rounds > 1 ? 0 : 2;
}

int
main(int argc, char **argv)
{
    int seconds = argc > 1 ? atoi(argv[1]) : 5, status;

    setvbuf(stdout, NULL, _IONBF, 0);
    debugger();
    ldt();
    for (unsigned i = 1; i <= 3; i++)
        if (!fork())
            _exit(vectors(i * 37 + getpid(), seconds));
    for (unsigned i = 1; i <= 3; i++) {
        CHECK(wait(&status) > 0, "wait");
        CHECK(WIFEXITED(status) && !WEXITSTATUS(status), "vector registers keep their values");
    }
    printf("traps64: %s registers kept\ntraps64: ok\n", has_avx() ? "YMM" : "XMM");
    return 0;
}
