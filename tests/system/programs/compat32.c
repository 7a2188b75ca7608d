/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A 32-bit program for a 64-bit kernel, without a C library: every way into the kernel that such a program
 * has, and segments of its own.  Prints "compat32: ok" or what is wrong.  gcc -m32 -nostdlib -static
 * -ffreestanding -fno-pie -no-pie
 */
typedef unsigned int u32;

#define AT_SYSINFO 32
enum {
    SYS_exit = 1,
    SYS_fork = 2,
    SYS_write = 4,
    SYS_getpid = 20,
    SYS_kill = 37,
    SYS_waitpid = 7,
    SYS_modify_ldt = 123,
    SYS_sched_yield = 158,
    SYS_set_thread_area = 243
};

struct user_desc {
    u32 entry, base, limit, flags;
};
#define FLAGS_DATA 0x51 /* 32-bit, limit in pages, usable */

static u32 vsyscall;

static int
int80(u32 nr, u32 a, u32 b, u32 c)
{
    int rc;

    __asm__ volatile("int $0x80" : "=a"(rc) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory");
    return rc;
}

/* The kernel's own page: SYSENTER, SYSCALL or INT, whichever it chose. */
static int
by_vdso(u32 nr, u32 a, u32 b, u32 c)
{
    int rc;

    __asm__ volatile("call *%1" : "=a"(rc) : "m"(vsyscall), "a"(nr), "b"(a), "c"(b), "d"(c) : "memory");
    return rc;
}

static void
say(const char *text)
{
    u32 n = 0;

    while (text[n])
        n++;
    by_vdso(SYS_write, 1, (u32)text, n);
}

static void __attribute__((noreturn)) fail(const char *text)
{
    say("compat32: wrong: ");
    say(text);
    say("\n");
    int80(SYS_exit, 1, 0, 0);
    __builtin_unreachable();
}

static const char *
entry_name(void)
{
    const unsigned char *code = (const unsigned char *)vsyscall;

    for (u32 i = 0; i < 32; i++) {
        if (code[i] == 0x0f && code[i + 1] == 0x34)
            return "SYSENTER";
        if (code[i] == 0x0f && code[i + 1] == 0x05)
            return "SYSCALL";
        if (code[i] == 0xcd && code[i + 1] == 0x80)
            return "INT 0x80";
    }
    return "something else";
}

static u32 in_tls[4] = {0x11111111}, in_ldt[4] = {0x22222222};

static u32
read_fs(void)
{
    u32 value;

    __asm__ volatile("mov %%fs:0, %0" : "=r"(value));
    return value;
}

static u32
read_gs(void)
{
    u32 value;

    __asm__ volatile("mov %%gs:0, %0" : "=r"(value));
    return value;
}

static void
segments(void)
{
    struct user_desc tls = {~0u, (u32)in_tls, 0xfffff, FLAGS_DATA},
                     ldt = {3, (u32)in_ldt, 0xfffff, FLAGS_DATA};

    if (int80(SYS_set_thread_area, (u32)&tls, 0, 0))
        fail("set_thread_area");
    __asm__ volatile("mov %w0, %%gs" : : "r"(tls.entry << 3 | 3));
    if (int80(SYS_modify_ldt, 0x11, (u32)&ldt, sizeof(ldt)))
        fail("modify_ldt");
    __asm__ volatile("mov %w0, %%fs" : : "r"(3 << 3 | 7));
    for (u32 i = 0; i < 300; i++) {
        if (read_gs() != 0x11111111)
            fail("GS does not lead to the thread's segment");
        if (read_fs() != 0x22222222)
            fail("FS does not lead to the LDT's segment");
        by_vdso(SYS_sched_yield, 0, 0, 0);
        for (volatile u32 n = 0; n < 2000; n++)
            ;
    }
}

void __attribute__((used)) run(u32 *stack)
{
    u32 argc = stack[0], *p = stack + 1 + argc + 1;
    int pid, child, status = 0;

    while (*p++)
        ;
    for (; *p; p += 2)
        if (*p == AT_SYSINFO)
            vsyscall = p[1];
    if (!vsyscall) {
        int80(SYS_write, 1, (u32) "compat32: wrong: no vsyscall page\n", 34);
        int80(SYS_exit, 1, 0, 0);
    }
    pid = int80(SYS_getpid, 0, 0, 0);
    for (u32 i = 0; i < 1000; i++)
        if (by_vdso(SYS_getpid, 0, 0, 0) != pid)
            fail("two ways into the kernel give two answers");
    if (by_vdso(999, 0, 0, 0) != -38 || int80(999, 0, 0, 0) != -38)
        fail("a call that does not exist");
    /* Six arguments and all registers: write() of a part. */
    child = int80(SYS_fork, 0, 0, 0);
    if (!child) {
        segments();
        int80(SYS_exit, 7, 0, 0);
    }
    segments();
    if (int80(SYS_waitpid, child, (u32)&status, 0) != child || status != 7 << 8)
        fail("the child");
    say("compat32: enters by ");
    say(entry_name());
    say("\ncompat32: ok\n");
    int80(SYS_exit, 0, 0, 0);
}

__asm__(".globl _start\n_start:\n\tmov %esp, %eax\n\tand $~15, %esp\n\tsub $12, %esp\n\tpush %eax\n\tcall "
        "run\n\thlt\n");
