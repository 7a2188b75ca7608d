/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Privileged instructions of PV guests: those of the guest kernel, which runs in ring 3 and believes
 * otherwise, and port accesses of whoever was given the right.
 *
 * The bytes of an instruction are read once, decoded, then looked up in a table whose rows say who may
 * execute it.  A handler checks before it changes; what it returns decides: moved on, fault given to the
 * guest, or not ours (#GP by the caller).  All of it acts on the current vCPU.
 */
#include "pv/pv.h"

#include "base/string.h"
#include "domain/page.h"
#include "mm/guest-copy.h"
#include "pv/io.h"
#include "x86/cpu.h"
#include "x86/segment.h"
#include "x86/tlb.h"
#include "x86/tsc.h"

#define INSN_MAX 15u

struct insn {
    u8 bytes[INSN_MAX];
    u8 available; /* how many of them could be read */
    u8 length;    /* how many are used so far */
    bool long_mode;
    bool operand16, address32, rep;
    u8 rex;
    u8 segment; /* 0x64 FS, 0x65 GS, else flat */
    u16 opcode; /* 0x0fxx for two bytes */
    u8 modrm;
    bool has_memory;
    u64 address; /* of the memory operand */
};

enum outcome {
    DONE,    /* RIP moves on */
    AGAIN,   /* a repeated instruction that is not through: RIP stays */
    FAULTED, /* the handler has injected something */
    REFUSED, /* #GP */
};

#define REX_B 1u
#define REX_X 2u
#define REX_R 4u
#define REX_W 8u

static u64 *
gpr(struct cpu_user_regs *regs, unsigned n)
{
    switch (n & 15) {
    case 0:
        return &regs->rax;
    case 1:
        return &regs->rcx;
    case 2:
        return &regs->rdx;
    case 3:
        return &regs->rbx;
    case 4:
        return &regs->rsp;
    case 5:
        return &regs->rbp;
    case 6:
        return &regs->rsi;
    case 7:
        return &regs->rdi;
    case 8:
        return &regs->r8;
    case 9:
        return &regs->r9;
    case 10:
        return &regs->r10;
    case 11:
        return &regs->r11;
    case 12:
        return &regs->r12;
    case 13:
        return &regs->r13;
    case 14:
        return &regs->r14;
    default:
        return &regs->r15;
    }
}

/* --- decoding --- */

static bool
next_byte(struct insn *insn, u8 *ret_byte)
{
    if (insn->length >= insn->available)
        return false;
    *ret_byte = insn->bytes[insn->length++];
    return true;
}

static bool
fetch(struct insn *insn, u64 rip)
{
    unsigned first = MIN(INSN_MAX, PAGE_SIZE - (rip & (PAGE_SIZE - 1)));

    if (copy_from_guest(insn->bytes, rip, first))
        return false;
    insn->available = first;
    /* The next page may be missing without the instruction needing it. */
    if (first < INSN_MAX && !copy_from_guest(insn->bytes + first, rip + first, INSN_MAX - first))
        insn->available = INSN_MAX;
    return true;
}

static bool
decode_prefixes(struct insn *insn, u8 *ret_opcode)
{
    u8 byte;

    for (;;) {
        if (!next_byte(insn, &byte))
            return false;
        switch (byte) {
        case 0x66:
            insn->operand16 = true;
            break;
        case 0x67:
            insn->address32 = true;
            break;
        case 0xf2:
        case 0xf3:
            insn->rep = true;
            break;
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
        case 0x64:
        case 0x65:
            insn->segment = byte;
            break;
        default:
            /* REX counts only right before the opcode; LOCK faults with all of these. */
            if (insn->long_mode && (byte & 0xf0) == 0x40) {
                insn->rex = byte;
                return next_byte(insn, ret_opcode) && (*ret_opcode & 0xf0) != 0x40;
            }
            *ret_opcode = byte;
            return true;
        }
    }
}

static bool
decode_opcode(struct insn *insn)
{
    u8 byte;

    if (!decode_prefixes(insn, &byte))
        return false;
    insn->opcode = byte;
    if (byte == 0x0f) {
        if (!next_byte(insn, &byte))
            return false;
        insn->opcode = 0x0f00 | byte;
    }
    return true;
}

static bool
displacement(struct insn *insn, unsigned bytes, u64 *address)
{
    u8 raw[4] = {0};
    s32 value;

    for (unsigned i = 0; i < bytes; i++)
        if (!next_byte(insn, &raw[i]))
            return false;
    memcpy(&value, raw, 4);
    *address += bytes == 1 ? (s8)raw[0] : bytes ? value : 0;
    return true;
}

static bool
decode_sib(struct insn *insn, struct cpu_user_regs *regs, unsigned *mod, u64 *address)
{
    unsigned index, base;
    u8 sib;

    if (!next_byte(insn, &sib))
        return false;
    index = (sib >> 3 & 7) | (insn->rex & REX_X ? 8 : 0);
    base = (sib & 7) | (insn->rex & REX_B ? 8 : 0);
    if (index != 4)
        *address += *gpr(regs, index) << (sib >> 6);
    if ((sib & 7) == 5 && !*mod)
        *mod = 4; /* no base, 32 bits of displacement */
    else
        *address += *gpr(regs, base);
    return true;
}

/* A ModRM byte; where it names memory, the address. */
static bool
decode_modrm(struct insn *insn, struct cpu_user_regs *regs)
{
    unsigned mod, rm;
    bool rip_relative = false;
    u64 address = 0;

    if (!next_byte(insn, &insn->modrm))
        return false;
    mod = insn->modrm >> 6;
    rm = insn->modrm & 7;
    if (mod == 3)
        return true;

    if (rm == 4) {
        if (!decode_sib(insn, regs, &mod, &address))
            return false;
    } else if (rm == 5 && !mod) {
        mod = 4;
        rip_relative = insn->long_mode;
    } else {
        address = *gpr(regs, rm | (insn->rex & REX_B ? 8 : 0));
    }
    if (!displacement(insn, mod == 1 ? 1 : mod ? 4 : 0, &address))
        return false;

    /* No immediate follows in these instructions, so RIP-relative addresses count from here. */
    if (rip_relative)
        address += regs->rip + insn->length;
    if (insn->address32 || !insn->long_mode)
        address = (u32)address;
    if (insn->segment == 0x64)
        address += fsbase_read();
    else if (insn->segment == 0x65)
        address += gsbase_read();
    insn->has_memory = true;
    insn->address = address;
    return true;
}

static unsigned
modrm_reg(const struct insn *insn)
{
    return (insn->modrm >> 3 & 7) | (insn->rex & REX_R ? 8 : 0);
}

static unsigned
modrm_rm(const struct insn *insn)
{
    return (insn->modrm & 7) | (insn->rex & REX_B ? 8 : 0);
}

/* --- ports --- */

static unsigned
io_size(const struct insn *insn)
{
    return !(insn->opcode & 1) ? 1 : insn->operand16 ? 2 : 4;
}

static void
set_port_result(u64 *rax, unsigned size, u32 value)
{
    if (size == 4)
        *rax = value;
    else
        memcpy(rax, &value, size);
}

/* IN and OUT: 0xe4 to 0xe7 with the port in the instruction, 0xec to 0xef with it in DX. */
static enum outcome
emulate_in_out(struct vcpu *v, struct cpu_user_regs *regs, struct insn *insn)
{
    unsigned size = io_size(insn);
    u16 port = regs->rdx;
    u8 byte;

    if (!(insn->opcode & 8)) {
        if (!next_byte(insn, &byte))
            return REFUSED;
        port = byte;
    }
    if (!io_allowed(v, port, size))
        return REFUSED;
    if (insn->opcode & 2)
        io_write(v, port, size, regs->rax);
    else
        set_port_result(&regs->rax, size, io_read(v, port, size));
    return DONE;
}

/* Elements that INS and OUTS move before the guest gets a chance to be interrupted. */
#define STRING_BUDGET 256u

static enum outcome
emulate_string_io(struct vcpu *v, struct cpu_user_regs *regs, struct insn *insn)
{
    unsigned size = io_size(insn);
    bool out = insn->opcode & 2;
    u64 mask = insn->long_mode && !insn->address32 ? ~0ull : 0xffffffffu;
    u64 *index = out ? &regs->rsi : &regs->rdi;
    u64 base = out && insn->segment == 0x64   ? fsbase_read()
               : out && insn->segment == 0x65 ? gsbase_read()
                                              : 0;
    s64 step = regs->rflags & RFLAGS_DF ? -(s64)size : size;
    u16 port = regs->rdx;

    if (!io_allowed(v, port, size))
        return REFUSED;

    for (unsigned n = 0;; n++) {
        u32 value = 0;
        u64 address = base + (*index & mask);

        if (insn->rep && !(regs->rcx & mask))
            return DONE;
        if (n == STRING_BUDGET)
            return AGAIN;
        if (out) {
            if (copy_from_guest(&value, address, size))
                goto fault;
            io_write(v, port, size, value);
        } else {
            /* Memory must be writable before the device is read, or what it gave would be lost. */
            if (copy_to_guest(address, &value, size))
                goto fault;
            value = io_read(v, port, size);
            if (copy_to_guest(address, &value, size))
                goto fault;
        }
        *index = (*index & ~mask) | ((*index + step) & mask);
        if (!insn->rep)
            return DONE;
        regs->rcx = (regs->rcx & ~mask) | ((regs->rcx - 1) & mask);
        continue;

    fault:
        pv_inject_page_fault(v, address, out ? 0 : 2);
        return FAULTED;
    }
}

/* CLI and STI by whoever has the privilege have no effect: events are masked in the shared page. */
static enum outcome
emulate_cli_sti(struct vcpu *v, struct cpu_user_regs *regs, struct insn *insn)
{
    (void)regs;
    (void)insn;
    return io_privileged(v) ? DONE : REFUSED;
}

/* --- control and debug registers --- */

static u64
read_guest_cr0(const struct vcpu *v)
{
    return (read_cr0() & ~CR0_TS) | (v->pv.cr0 & CR0_TS);
}

static enum outcome
emulate_clts(struct vcpu *v, struct cpu_user_regs *regs, struct insn *insn)
{
    u64 arg[] = {0};

    (void)v;
    (void)regs;
    (void)insn;
    (void)hypercall_fpu_taskswitch(arg);
    return DONE;
}

static enum outcome
emulate_mov_from_cr(struct vcpu *v, struct cpu_user_regs *regs, struct insn *insn)
{
    u64 *to = gpr(regs, modrm_rm(insn));

    switch (modrm_reg(insn)) {
    case 0:
        *to = read_guest_cr0(v);
        return DONE;
    case 2:
        *to = v->info->arch.cr2;
        return DONE;
    case 3:
        *to = xen_pfn_to_cr3(mfn_x(v->pv.kernel_l4));
        return DONE;
    case 4:
        *to = v->pv.cr4;
        return DONE;
    default:
        return REFUSED;
    }
}

static enum outcome
write_guest_cr3(struct vcpu *v, u64 value)
{
    int rc;

    if (!frame_valid(_mfn(xen_cr3_to_pfn(value))))
        return REFUSED;
    rc = pv_set_kernel_cr3(v, _mfn(xen_cr3_to_pfn(value)));
    return !rc ? DONE : rc == -ERESTART ? AGAIN : REFUSED;
}

static enum outcome
emulate_mov_to_cr(struct vcpu *v, struct cpu_user_regs *regs, struct insn *insn)
{
    u64 value = *gpr(regs, modrm_rm(insn));
    u64 arg[] = {(value & CR0_TS) != 0};

    switch (modrm_reg(insn)) {
    case 0:
        if ((value ^ read_cr0()) & ~CR0_TS)
            return REFUSED; /* the rest of CR0 is the hypervisor's */
        (void)hypercall_fpu_taskswitch(arg);
        return DONE;
    case 2:
        v->info->arch.cr2 = value;
        return DONE;
    case 3:
        return write_guest_cr3(v, value);
    case 4:
        v->pv.cr4 = pv_fix_cr4(v, value);
        pv_load_cr4(v);
        return DONE;
    default:
        return REFUSED;
    }
}

static enum outcome
emulate_mov_from_dr(struct vcpu *v, struct cpu_user_regs *regs, struct insn *insn)
{
    unsigned reg = modrm_reg(insn);

    if (reg == 4 || reg == 5) {
        if (v->pv.cr4 & CR4_DE)
            return REFUSED;
        reg += 2;
    }
    if (reg > 7)
        return REFUSED;
    *gpr(regs, modrm_rm(insn)) = v->pv.dr[reg];
    return DONE;
}

static enum outcome
emulate_mov_to_dr(struct vcpu *v, struct cpu_user_regs *regs, struct insn *insn)
{
    return pv_set_debugreg(v, modrm_reg(insn), *gpr(regs, modrm_rm(insn))) ? REFUSED : DONE;
}

/* --- system instructions with a ModRM byte: SLDT, STR; SGDT, SIDT, SMSW, LMSW, INVLPG, XSETBV, RDTSCP --- */

static enum outcome
store_dummy(struct vcpu *v, struct cpu_user_regs *regs, struct insn *insn, const void *value, unsigned size)
{
    u64 *reg;
    u64 whole = 0;

    if (insn->has_memory) {
        if (copy_to_guest(insn->address, value, size)) {
            pv_inject_page_fault(v, insn->address, 2);
            return FAULTED;
        }
        return DONE;
    }
    if (size > 2)
        return REFUSED;
    reg = gpr(regs, modrm_rm(insn));
    memcpy(&whole, value, size);
    if (insn->operand16)
        memcpy(reg, &whole, 2);
    else
        *reg = whole;
    return DONE;
}

/* With UMIP, user programs that look at descriptor tables get what a plain kernel would show them. */
static enum outcome
emulate_group6(struct vcpu *v, struct cpu_user_regs *regs, struct insn *insn)
{
    u16 none = 0;

    if (!cpu_features.umip || (modrm_reg(insn) & 7) > 1)
        return REFUSED;
    return store_dummy(v, regs, insn, &none, 2);
}

static enum outcome
emulate_xsetbv(struct vcpu *v, struct cpu_user_regs *regs)
{
    u64 value = (u64)(u32)regs->rdx << 32 | (u32)regs->rax;

    if ((u32)regs->rcx || !pv_set_xcr0(v, value))
        return REFUSED;
    return DONE;
}

static enum outcome
emulate_rdtscp(struct vcpu *v, struct cpu_user_regs *regs)
{
    u64 tsc = tsc_read();

    if (!cpu_features.rdtscp || (v->pv.cr4 & CR4_TSD && !v->pv.kernel_mode))
        return REFUSED;
    regs->rax = (u32)tsc;
    regs->rdx = tsc >> 32;
    regs->rcx = v->tsc_aux;
    return DONE;
}

static enum outcome
emulate_group7_registers(struct vcpu *v, struct cpu_user_regs *regs, struct insn *insn)
{
    if (insn->modrm == 0xd1)
        return v->pv.kernel_mode ? emulate_xsetbv(v, regs) : REFUSED;
    if (insn->modrm == 0xf9)
        return emulate_rdtscp(v, regs);
    return REFUSED;
}

static enum outcome
emulate_group7(struct vcpu *v, struct cpu_user_regs *regs, struct insn *insn)
{
    struct {
        u16 limit;
        u64 base;
    } __packed table = {0, 0xfffffffffffe0000ull};
    unsigned reg = insn->modrm >> 3 & 7;
    u16 word;
    u64 arg[1];

    switch (reg) {
    case 0: /* SGDT */
    case 1: /* SIDT */
        if (!insn->has_memory || !cpu_features.umip)
            return insn->has_memory ? REFUSED : emulate_group7_registers(v, regs, insn);
        table.base += reg << 16;
        return store_dummy(v, regs, insn, &table, insn->long_mode ? 10 : 6);
    case 4: /* SMSW */
        if (!cpu_features.umip)
            return REFUSED;
        word = read_guest_cr0(v);
        return store_dummy(v, regs, insn, &word, 2);
    case 6: /* LMSW: may set TS, and clear it too; nothing else is the guest's */
        word = *gpr(regs, modrm_rm(insn));
        if (!v->pv.kernel_mode || (insn->has_memory && copy_from_guest(&word, insn->address, 2)))
            return REFUSED;
        arg[0] = (word & CR0_TS) != 0;
        (void)hypercall_fpu_taskswitch(arg);
        return DONE;
    case 7:
        if (!insn->has_memory)
            return emulate_group7_registers(v, regs, insn);
        if (!v->pv.kernel_mode)
            return REFUSED;
        tlb_flush_local_va(insn->address);
        return DONE;
    default:
        return insn->has_memory ? REFUSED : emulate_group7_registers(v, regs, insn);
    }
}

/* --- the rest --- */

static enum outcome
emulate_wbinvd(struct vcpu *v, struct cpu_user_regs *regs, struct insn *insn)
{
    (void)regs;
    (void)insn;
    /* Only who drives devices has a use for it; others time loops with it at boot. */
    if (v->domain->is_hardware)
        wbinvd();
    return DONE;
}

static enum outcome
emulate_rdtsc(struct vcpu *v, struct cpu_user_regs *regs, struct insn *insn)
{
    u64 tsc = tsc_read();

    (void)insn;
    if (v->pv.cr4 & CR4_TSD && !v->pv.kernel_mode)
        return REFUSED;
    regs->rax = (u32)tsc;
    regs->rdx = tsc >> 32;
    return DONE;
}

static enum outcome
emulate_rdmsr(struct vcpu *v, struct cpu_user_regs *regs, struct insn *insn)
{
    u64 value;

    (void)insn;
    if (!pv_rdmsr(v, regs->rcx, &value))
        return REFUSED;
    regs->rax = (u32)value;
    regs->rdx = value >> 32;
    return DONE;
}

static enum outcome
emulate_wrmsr(struct vcpu *v, struct cpu_user_regs *regs, struct insn *insn)
{
    (void)insn;
    return pv_wrmsr(v, regs->rcx, (u64)(u32)regs->rdx << 32 | (u32)regs->rax) ? DONE : REFUSED;
}

static void
cpuid_to_registers(struct vcpu *v, struct cpu_user_regs *regs)
{
    u32 out[4];

    pv_cpuid(v, regs->rax, regs->rcx, out);
    regs->rax = out[0];
    regs->rbx = out[1];
    regs->rcx = out[2];
    regs->rdx = out[3];
}

static enum outcome
emulate_cpuid(struct vcpu *v, struct cpu_user_regs *regs, struct insn *insn)
{
    (void)insn;
    cpuid_to_registers(v, regs);
    return DONE;
}

/* Who may: a row without KERNEL leaves that to its handler.  MODRM: the byte is decoded beforehand. */
enum { KERNEL = 1, MODRM = 2 };

static const struct row {
    u16 first, last;
    u8 flags;
    enum outcome (*fn)(struct vcpu *, struct cpu_user_regs *, struct insn *);
} rows[] = {
    {0x6c, 0x6f, 0, emulate_string_io},
    {0xe4, 0xe7, 0, emulate_in_out},
    {0xec, 0xef, 0, emulate_in_out},
    {0xfa, 0xfb, 0, emulate_cli_sti},
    {0x0f00, 0x0f00, MODRM, emulate_group6},
    {0x0f01, 0x0f01, MODRM, emulate_group7},
    {0x0f06, 0x0f06, KERNEL, emulate_clts},
    {0x0f09, 0x0f09, KERNEL, emulate_wbinvd},
    {0x0f20, 0x0f20, KERNEL | MODRM, emulate_mov_from_cr},
    {0x0f21, 0x0f21, KERNEL | MODRM, emulate_mov_from_dr},
    {0x0f22, 0x0f22, KERNEL | MODRM, emulate_mov_to_cr},
    {0x0f23, 0x0f23, KERNEL | MODRM, emulate_mov_to_dr},
    {0x0f30, 0x0f30, KERNEL, emulate_wrmsr},
    {0x0f31, 0x0f31, 0, emulate_rdtsc},
    {0x0f32, 0x0f32, KERNEL, emulate_rdmsr},
    {0x0fa2, 0x0fa2, 0, emulate_cpuid},
};

static enum outcome
emulate(struct vcpu *v, struct cpu_user_regs *regs, struct insn *insn)
{
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct row *row = &rows[i];

        if (insn->opcode < row->first || insn->opcode > row->last)
            continue;
        if (row->flags & KERNEL && !v->pv.kernel_mode)
            return REFUSED;
        /* MOV to and from CR and DR takes both operands as registers, whatever the mod field says. */
        if (row->flags & MODRM && insn->opcode >= 0x0f20 && insn->opcode <= 0x0f23) {
            if (!next_byte(insn, &insn->modrm))
                return REFUSED;
        } else if (row->flags & MODRM && !decode_modrm(insn, regs)) {
            return REFUSED;
        }
        return row->fn(v, regs, insn);
    }
    return REFUSED;
}

/* Behind an emulated instruction: no more RF, and the single step that the CPU could not report. */
static void
retire(struct vcpu *v, struct cpu_user_regs *regs, const struct insn *insn)
{
    regs->rip += insn->length;
    if (!insn->long_mode)
        regs->rip = (u32)regs->rip;
    regs->rflags &= ~RFLAGS_RF;
    if (unlikely(regs->rflags & RFLAGS_TF)) {
        v->pv.dr[6] |= 1u << 14 | DR6_FIXED_ONE;
        pv_inject_trap(v, 1, false, 0);
    }
}

bool
pv_emulate_privileged(struct cpu_user_regs *regs)
{
    struct vcpu *v = current;
    struct insn insn = {.long_mode = segment_is_long(regs->cs)};

    if (!fetch(&insn, regs->rip) || !decode_opcode(&insn))
        return false;
    switch (emulate(v, regs, &insn)) {
    case DONE:
        retire(v, regs, &insn);
        return true;
    case AGAIN:
    case FAULTED:
        return true;
    case REFUSED:
        break;
    }
    return false;
}

bool
pv_emulate_forced_invalid_op(struct cpu_user_regs *regs)
{
    static const u8 prefix[] = {0x0f, 0x0b, 'x', 'e', 'n', 0x0f, 0xa2}; /* ud2a; .ascii "xen"; cpuid */
    u8 bytes[sizeof(prefix)];
    struct vcpu *v = current;

    if (copy_from_guest(bytes, regs->rip, sizeof(bytes)) || memcmp(bytes, prefix, sizeof(prefix)))
        return false;
    cpuid_to_registers(v, regs);
    regs->rip += sizeof(prefix);
    regs->rflags &= ~RFLAGS_RF;
    return true;
}
