/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a test kernel of one screen needs: hypercalls, output, memory,
 * traps.  A test kernel runs as dom0, alone, and ends in one of four words:
 * SUCCESS, SKIP, ERROR (the test is broken), FAILURE (the hypervisor is).
 */
#ifndef SERAI_TESTS_GUEST_H
#define SERAI_TESTS_GUEST_H

#include "abi/xen.h"

typedef uint64_t u64;
typedef uint32_t u32;
typedef int64_t s64;

struct guest_frame {
    u64 r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    u64 vector, error, rip, cs, rflags, rsp, ss;
};

extern struct start_info *start_info;
extern struct shared_info *shared_info;
extern u64 *p2m;

/* The test's own main. */
void test_main(void);

/* Called for every trap and event; a test may define its own. */
void trap_handler(struct guest_frame *frame);
/* SYSCALL from user mode with RAX other than 0 ends up here, on a fresh stack. */
void user_done(void) __attribute__((noreturn));

void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void result(const char *word, const char *fmt, ...) __attribute__((noreturn, format(printf, 2, 3)));
#define SUCCESS()  result("SUCCESS", "%s", "")
#define FAIL(...)  result("FAILURE", __VA_ARGS__)
#define ERROR(...) result("ERROR", __VA_ARGS__)

/* One finding: goes on when @cond holds. */
#define CHECK(cond, ...)       \
    do {                       \
        if (!(cond))           \
            FAIL(__VA_ARGS__); \
    } while (0)
#define EXPECT_RC(call, want)                                              \
    do {                                                                   \
        s64 rc__ = (call);                                                 \
        if (rc__ != (want))                                                \
            FAIL("%s gave %ld, not %ld", #call, (long)rc__, (long)(want)); \
    } while (0)

/* Memory: the image is mapped from VIRT_BASE; pages are numbered by PFN. */
#define VIRT_BASE 0xffffffff80000000ull
void *page_new(void); /* a zeroed page, mapped writable */
u64 pfn_of(const void *va);
u64 mfn_of(const void *va);
u64 machine_of(const void *va);
u64 *pte_of(const void *va); /* the L1 entry, readable */
void make_readonly(void *page);
void make_writable(void *page);
void traps_install(void); /* all entries of start.S, events unmasked by nobody */

/* Runs @fn (a label) in user mode on pages that user mode may see; returns never, see user_done(). */
void enter_user(u64 rip, u64 rsp);

/* Starts vCPU 1 (there must be one: dom0_max_vcpus=2) at @entry, which never returns. */
void second_vcpu_start(void (*entry)(void));

static inline s64
hypercall6(unsigned nr, u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
    register u64 r10 __asm__("r10") = a4;
    register u64 r8 __asm__("r8") = a5;
    extern char hypercall_page[];
    s64 rc;

    __asm__ volatile("call *%[entry]"
                     : "=a"(rc), "+D"(a1), "+S"(a2), "+d"(a3), "+r"(r10), "+r"(r8)
                     : [entry] "r"(hypercall_page + nr * 32)
                     : "rcx", "r11", "r9", "memory");
    return rc;
}

#define HYPERCALL(nr, ...) HYPERCALL_(nr, ##__VA_ARGS__, 0, 0, 0, 0, 0)
#define HYPERCALL_(nr, a, b, c, d, e, ...) \
    hypercall6(__HYPERVISOR_##nr, (u64)(a), (u64)(b), (u64)(c), (u64)(d), (u64)(e))

#endif
