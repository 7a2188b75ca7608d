/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Trapped writes: the guest kernel writes to an L1 table as if it were memory, the write faults, and here it
 * is carried out as the update that it means.
 *
 * Only stores to the faulting address are understood, in the few forms that kernels use on page table
 * entries; the operand's address is CR2, so of the addressing bytes nothing but their length matters.  The
 * instruction is read from guest memory once.  Anything else is the guest's fault to see: the caller injects
 * it.
 *
 * The new entry is computed from the old one under the page_table_lock and stored by compare and exchange: if
 * the CPU sets A or D meanwhile, nothing is stored, RIP stays, and the guest runs the instruction again.
 */
#include "base/string.h"
#include "domain/page.h"
#include "mm/guest-copy.h"
#include "mm/map.h"
#include "pv/pv.h"
#include "pv/table.h"
#include "x86/paging.h"

#define INSTRUCTION_MAX 15u

#define EFLAGS_CF         (1ull << 0)
#define EFLAGS_PF         (1ull << 2)
#define EFLAGS_AF         (1ull << 4)
#define EFLAGS_ZF         (1ull << 6)
#define EFLAGS_SF         (1ull << 7)
#define EFLAGS_DF         (1ull << 10)
#define EFLAGS_OF         (1ull << 11)
#define EFLAGS_ARITHMETIC (EFLAGS_CF | EFLAGS_PF | EFLAGS_AF | EFLAGS_ZF | EFLAGS_SF | EFLAGS_OF)

enum op { OP_NONE, OP_MOV, OP_OR, OP_AND, OP_XOR, OP_XCHG, OP_CMPXCHG, OP_BTS, OP_BTR, OP_BTC, OP_STOS };

struct store {
    enum op op;
    u8 size;   /* of the operand, bytes */
    u8 length; /* of the instruction */
    u8 reg;    /* number of the register operand */
    bool has_imm, rep;
    u64 imm; /* sign-extended; or the bit number */
};

/* What the instruction does besides the store; carried out when that has happened. */
struct effect {
    u64 rflags;
    u64 *reg, reg_value; /* NULL: no register changes */
};

struct reader {
    u8 bytes[INSTRUCTION_MAX];
    unsigned have, at;
};

/* The general registers by the numbers that instructions have for them. */
static u64 *
gpr(struct cpu_user_regs *regs, unsigned n)
{
    static const u8 offsets[16] = {
        offsetof(struct cpu_user_regs, rax), offsetof(struct cpu_user_regs, rcx),
        offsetof(struct cpu_user_regs, rdx), offsetof(struct cpu_user_regs, rbx),
        offsetof(struct cpu_user_regs, rsp), offsetof(struct cpu_user_regs, rbp),
        offsetof(struct cpu_user_regs, rsi), offsetof(struct cpu_user_regs, rdi),
        offsetof(struct cpu_user_regs, r8),  offsetof(struct cpu_user_regs, r9),
        offsetof(struct cpu_user_regs, r10), offsetof(struct cpu_user_regs, r11),
        offsetof(struct cpu_user_regs, r12), offsetof(struct cpu_user_regs, r13),
        offsetof(struct cpu_user_regs, r14), offsetof(struct cpu_user_regs, r15),
    };

    return (u64 *)((char *)regs + offsets[n & 15]);
}

static u8
next_byte(struct reader *in)
{
    /*
     * Past the end it reads as 0xf1, which no form here has; the length check at the end refuses it anyway.
     */
    return in->at < in->have ? in->bytes[in->at++] : (in->at = INSTRUCTION_MAX + 1, 0xf1);
}

static u64
immediate(struct reader *in, unsigned size)
{
    u64 value = 0;

    for (unsigned i = 0; i < size; i++)
        value |= (u64)next_byte(in) << (i * 8);
    return size == 1 ? (u64)(s64)(s8)value : size == 2 ? (u64)(s64)(int16_t)value : (u64)(s64)(s32)value;
}

/* Skips SIB and displacement; false when the operand is a register. */
static bool
skip_memory_operand(struct reader *in, u8 modrm)
{
    u8 mod = modrm >> 6, rm = modrm & 7;

    if (mod == 3)
        return false;
    if (rm == 4) {
        u8 sib = next_byte(in);

        if (mod == 0 && (sib & 7) == 5)
            in->at += 4;
    }
    if (mod == 1)
        in->at += 1;
    else if (mod == 2 || (mod == 0 && rm == 5))
        in->at += 4;
    return true;
}

/* The one-byte opcodes; *@ret_imm_size is what follows the operand. */
static bool
decode_one(u8 opcode, struct reader *in, struct store *s, u8 *ret_modrm, unsigned *ret_imm_size)
{
    static const enum op group1[8] = {[1] = OP_OR, [4] = OP_AND, [6] = OP_XOR};
    bool byte = !(opcode & 1);

    if (byte)
        s->size = 1;
    if (opcode == 0xaa || opcode == 0xab) {
        s->op = OP_STOS;
        s->reg = 0;
        return true;
    }
    *ret_modrm = next_byte(in);
    switch (opcode) {
    case 0x88:
    case 0x89:
        s->op = OP_MOV;
        break;
    case 0x86:
    case 0x87:
        s->op = OP_XCHG;
        break;
    case 0x08:
    case 0x09:
        s->op = OP_OR;
        break;
    case 0x20:
    case 0x21:
        s->op = OP_AND;
        break;
    case 0x30:
    case 0x31:
        s->op = OP_XOR;
        break;
    case 0xc6:
    case 0xc7:
        s->op = *ret_modrm >> 3 & 7 ? OP_NONE : OP_MOV;
        s->has_imm = true;
        break;
    case 0x80:
    case 0x81:
    case 0x83:
        s->op = group1[*ret_modrm >> 3 & 7];
        s->has_imm = true;
        break;
    default:
        return false;
    }
    if (s->has_imm)
        *ret_imm_size = opcode == 0x83 ? 1 : MIN(s->size, 4u);
    return s->op != OP_NONE && skip_memory_operand(in, *ret_modrm);
}

/* Those behind 0x0f. */
static bool
decode_two(struct reader *in, struct store *s, u8 *ret_modrm, unsigned *ret_imm_size)
{
    static const enum op group8[8] = {[5] = OP_BTS, [6] = OP_BTR, [7] = OP_BTC};
    u8 opcode = next_byte(in);

    *ret_modrm = next_byte(in);
    switch (opcode) {
    case 0xb0:
        s->size = 1;
        s->op = OP_CMPXCHG;
        break;
    case 0xb1:
        s->op = OP_CMPXCHG;
        break;
    case 0xc3: /* MOVNTI */
        s->op = OP_MOV;
        break;
    case 0xba: /* with a register for the bit number, the address is not where ModRM says */
        s->op = group8[*ret_modrm >> 3 & 7];
        s->has_imm = true;
        *ret_imm_size = 1;
        break;
    default:
        return false;
    }
    return s->op != OP_NONE && skip_memory_operand(in, *ret_modrm);
}

static bool
decode(struct reader *in, struct store *s)
{
    u8 modrm = 0, rex = 0, byte;
    unsigned imm_size = 0;
    bool ok;

    *s = (struct store){.size = 4};
    for (;;) {
        byte = next_byte(in);
        if (byte == 0x66)
            s->size = 2;
        else if (byte == 0xf3 || byte == 0xf2)
            s->rep = true;
        else if (byte != 0xf0 && byte != 0x3e && byte != 0x2e && byte != 0x26 && byte != 0x36)
            break;
    }
    if ((byte & 0xf0) == 0x40) {
        rex = byte;
        byte = next_byte(in);
    }
    if (rex & 8)
        s->size = 8;
    ok = byte == 0x0f ? decode_two(in, s, &modrm, &imm_size) : decode_one(byte, in, s, &modrm, &imm_size);
    if (!ok)
        return false;
    if (s->op != OP_STOS)
        s->reg = (modrm >> 3 & 7) | (rex & 4 ? 8 : 0);
    if (s->has_imm)
        s->imm = immediate(in, imm_size);
    /* AH to BH, and a byte register without REX: no kernel writes its entries so. */
    if (s->size == 1 && !rex && s->reg >= 4 && !s->has_imm)
        return false;
    s->length = in->at;
    return in->at <= in->have;
}

static u64
size_mask(unsigned size)
{
    return size == 8 ? ~0ull : (1ull << (size * 8)) - 1;
}

static u64
flags_of_result(u64 result, unsigned size)
{
    u64 flags = 0;

    if (!(result & size_mask(size)))
        flags |= EFLAGS_ZF;
    if (result >> (size * 8 - 1) & 1)
        flags |= EFLAGS_SF;
    if (!__builtin_parity((unsigned)(result & 0xff)))
        flags |= EFLAGS_PF;
    return flags;
}

/* As CMP @a, @b leaves them. */
static u64
flags_of_compare(u64 a, u64 b, unsigned size)
{
    u64 result = (a - b) & size_mask(size), flags = flags_of_result(result, size);

    if (a < b)
        flags |= EFLAGS_CF;
    if ((a ^ b ^ result) & 0x10)
        flags |= EFLAGS_AF;
    if (((a ^ b) & (a ^ result)) >> (size * 8 - 1) & 1)
        flags |= EFLAGS_OF;
    return flags;
}

/* What the instruction makes of the operand @old. */
static u64
execute(const struct store *s, u64 old, struct cpu_user_regs *regs, struct effect *effect)
{
    u64 mask = size_mask(s->size), flags = 0, changed = 0, new = old;
    u64 source = s->has_imm ? s->imm : *gpr(regs, s->reg), *reg;

    effect->reg = NULL;
    switch (s->op) {
    case OP_NONE:
        break;
    case OP_MOV:
    case OP_STOS:
        new = source;
        break;
    case OP_OR:
    case OP_AND:
    case OP_XOR:
        new = s->op == OP_OR ? old | source : s->op == OP_AND ? old &source : old ^ source;
        flags = flags_of_result(new, s->size);
        changed = EFLAGS_ARITHMETIC;
        break;
    case OP_XCHG:
    case OP_CMPXCHG:
        reg = s->op == OP_XCHG ? gpr(regs, s->reg) : &regs->rax;
        if (s->op == OP_CMPXCHG) {
            flags = flags_of_compare(*reg & mask, old & mask, s->size);
            changed = EFLAGS_ARITHMETIC;
            if (flags & EFLAGS_ZF) {
                new = source;
                break;
            }
        } else {
            new = source;
        }
        /* A write of 32 bits clears the upper half, one of 8 or 16 leaves the rest. */
        effect->reg = reg;
        effect->reg_value = s->size >= 4 ? old & mask : (*reg & ~mask) | (old & mask);
        break;
    case OP_BTS:
    case OP_BTR:
    case OP_BTC: {
        u64 bit = 1ull << (s->imm & (s->size * 8 - 1));

        new = s->op == OP_BTS ? old | bit : s->op == OP_BTR ? old & ~bit : old ^ bit;
        flags = old & bit ? EFLAGS_CF : 0;
        changed = EFLAGS_CF;
        break;
    }
    }
    effect->rflags = (regs->rflags & ~changed) | flags;
    return new &mask;
}

/*
 * Stores @new where the entry still is @old but for what the CPU sets; the references follow.  1: the entry
 * changed.
 */
static int
store_entry(const struct domain *d, pte_t *entry, pte_t old, pte_t new)
{
    pte_t seen = old, given = new;
    int rc;

    if (!(new &PTE_P) || (old & PTE_P && !((old ^ new) & (PTE_ADDR | PTE_RW | PTE_CACHE)))) {
        if (new &PTE_P)
            given = pv_l1_same_page(d, old, new);
        if (!atomic_cmpxchg(entry, &seen, given))
            return 1;
        if (!(new &PTE_P))
            pv_l1_put(d, old);
        return 0;
    }
    rc = pv_l1_get(d, d->id, &given);
    if (rc)
        return rc;
    if (!atomic_cmpxchg(entry, &seen, given)) {
        pv_l1_put(d, given);
        return 1;
    }
    pv_l1_put(d, old);
    return 0;
}

/*
 * The L1 entry at which the write was aimed; NULL when @va is not a read-only mapping of an L1 table of the
 * domain's.
 */
static pte_t *
find_target(struct vcpu *v, u64 va)
{
    pte_t *mapping = pv_l1_entry(v, va), pte;
    struct frame *frame;

    if (!mapping)
        return NULL;
    pte = READ_ONCE(*mapping);
    unmap_frame(mapping);
    if ((pte & (PTE_P | PTE_RW)) != PTE_P)
        return NULL;
    frame = frame_find(pte_mfn(pte));
    if (!frame || frame->owner != v->domain->id ||
        (atomic_read(&frame->type) & (FRAME_TYPE | FRAME_TYPE_VALIDATED)) !=
            (FRAME_TYPE_L1 | FRAME_TYPE_VALIDATED))
        return NULL;
    return (pte_t *)map_frame(frame_mfn(frame)) + (va & ~PAGE_MASK) / sizeof(pte_t);
}

/* The instruction at RIP: 15 bytes, or as many as there are before the end of what is mapped. */
static void
fetch(struct reader *in, u64 rip)
{
    unsigned to_page_end = PAGE_SIZE - (rip & ~PAGE_MASK);

    in->at = 0;
    in->have = INSTRUCTION_MAX;
    if (!copy_from_guest(in->bytes, rip, INSTRUCTION_MAX))
        return;
    in->have = MIN(to_page_end, INSTRUCTION_MAX);
    if (copy_from_guest(in->bytes, rip, in->have))
        in->have = 0;
}

static void
retire(const struct store *s, struct cpu_user_regs *regs, const struct effect *effect)
{
    regs->rflags = effect->rflags;
    if (effect->reg)
        *effect->reg = effect->reg_value;
    if (s->op == OP_STOS) {
        regs->rdi += regs->rflags & EFLAGS_DF ? -(u64)s->size : s->size;
        if (s->rep && --regs->rcx)
            return; /* the next element faults again */
    }
    regs->rip += s->length;
}

bool
pv_trapped_write(struct vcpu *v, u64 va, struct cpu_user_regs *regs)
{
    struct domain *d = v->domain;
    struct effect effect;
    struct reader in;
    struct store s;
    unsigned shift = (va & 7) * 8;
    pte_t *entry, old, new;
    u64 mask;
    int rc;

    spin_lock(&d->page_table_lock);
    entry = find_target(v, va);
    if (!entry) {
        spin_unlock(&d->page_table_lock);
        return false;
    }
    rc = -EINVAL;
    fetch(&in, regs->rip);
    if (decode(&in, &s) && !(va & (s.size - 1))) {
        old = READ_ONCE(*entry);
        mask = size_mask(s.size) << shift;
        new = (old & ~mask) | execute(&s, (old & mask) >> shift, regs, &effect) << shift;
        rc = store_entry(d, entry, old, new);
    }
    unmap_frame(entry);
    spin_unlock(&d->page_table_lock);
    if (rc == 0)
        retire(&s, regs, &effect);
    return rc >= 0;
}
