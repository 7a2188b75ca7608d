/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A TCG plugin that counts the instructions a hypervisor executes between two marks of tests/guest/bench or
 * of guest-bench.c, those of the whole machine, and how often the hypervisor returned to a guest.
 *
 * A mark is the eight-byte NOP 0f 1f 84 00 <0x5e7a1000 + n>; n + 0x100 ends what n began.  The hypervisor is
 * whatever runs at 0xffff800000000000 to 0xffff87ffffffffff, the part of each address space that the Xen ABI
 * gives it.  One CPU only. With the argument trace=N it also writes the address of each instruction that the
 * operation N executes, last run only. Of QEMU's plugin API (version 1) only what is used is declared here;
 * Debian ships no header.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef struct qemu_info qemu_info_t;
typedef void (*tb_trans_cb)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*exec_cb)(unsigned vcpu, void *opaque);
typedef void (*exit_cb)(qemu_plugin_id_t id, void *opaque);
enum { CB_NO_REGS = 0, INLINE_ADD_U64 = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, tb_trans_cb cb);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, exec_cb cb, int flags,
                                            void *opaque);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int op, void *ptr,
                                                uint64_t value);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, exit_cb cb, void *opaque);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
void qemu_plugin_outs(const char *text);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;
__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info,
                                                               int argc, char **argv);

#define MARK_BASE 0x5e7a1000u
#define MARK_END  0x100u
#define OPS       0x100u

/* Since the start: instructions in the hypervisor, all of them, and ways out of the hypervisor. */
enum { IN_HYPERVISOR, ALL, RETURNS, KINDS };

static uint64_t executed[KINDS], begin_at[OPS][KINDS], counts[OPS][KINDS];
static unsigned seen[OPS];

#define TRACE_MAX (1u << 20)
static unsigned traced; /* the operation whose instructions are kept; 0: none */
static bool tracing;
static uint64_t trace[TRACE_MAX];
static unsigned trace_length;

static void
executed_at(unsigned vcpu, void *va)
{
    (void)vcpu;
    if (tracing && trace_length < TRACE_MAX)
        trace[trace_length++] = (uintptr_t)va;
}

static void
mark(unsigned vcpu, void *opaque)
{
    unsigned n = (uintptr_t)opaque;

    (void)vcpu;
    tracing = traced && n == traced;
    if (tracing)
        trace_length = 0;
    if (n < MARK_END) {
        memcpy(begin_at[n], executed, sizeof(executed));
    } else if (n - MARK_END < OPS) {
        for (unsigned kind = 0; kind < KINDS; kind++)
            counts[n - MARK_END][kind] = executed[kind] - begin_at[n - MARK_END][kind];
        seen[n - MARK_END]++;
    }
}

static void
translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint64_t va = qemu_plugin_insn_vaddr(insn);
        const uint8_t *bytes = qemu_plugin_insn_data(insn);
        size_t size = qemu_plugin_insn_size(insn);
        uint32_t word;

        qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64, &executed[ALL], 1);
        if (va >= 0xffff800000000000ull && va < 0xffff880000000000ull) {
            qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64, &executed[IN_HYPERVISOR], 1);
            /* iretq and sysretq */
            if ((size == 2 && !memcmp(bytes, "\x48\xcf", 2)) ||
                (size == 3 && !memcmp(bytes, "\x48\x0f\x07", 3)))
                qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64, &executed[RETURNS], 1);
            if (traced)
                qemu_plugin_register_vcpu_insn_exec_cb(insn, executed_at, CB_NO_REGS, (void *)(uintptr_t)va);
        } else if (size == 8 && !memcmp(bytes, "\x0f\x1f\x84\x00", 4)) {
            memcpy(&word, bytes + 4, 4);
            if (word - MARK_BASE < 2 * MARK_END)
                qemu_plugin_register_vcpu_insn_exec_cb(insn, mark, CB_NO_REGS,
                                                       (void *)(uintptr_t)(word - MARK_BASE));
        }
    }
}

static void
report(qemu_plugin_id_t id, void *opaque)
{
    char line[100];

    (void)id;
    (void)opaque;
    for (unsigned n = 0; n < OPS; n++) {
        if (seen[n]) {
            snprintf(line, sizeof(line), "count %u %" PRIu64 " %u\n", n, counts[n][IN_HYPERVISOR], seen[n]);
            qemu_plugin_outs(line);
            snprintf(line, sizeof(line), "more %u %" PRIu64 " %" PRIu64 "\n", n, counts[n][ALL],
                     counts[n][RETURNS]);
            qemu_plugin_outs(line);
        }
    }
    for (unsigned i = 0; i < trace_length; i++) {
        snprintf(line, sizeof(line), "at %" PRIx64 "\n", trace[i]);
        qemu_plugin_outs(line);
    }
}

int
qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++)
        if (!strncmp(argv[i], "trace=", 6))
            traced = strtoul(argv[i] + 6, NULL, 10);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    qemu_plugin_register_atexit_cb(id, report, NULL);
    return 0;
}
