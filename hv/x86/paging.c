/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The hypervisor's page tables.  The L3 tables below slots 256 to 271 are made at boot and are the same in
 * every address space; what comes later (devices, windows) appears below them and so everywhere at once.
 * paging_lock orders those later changes; windows are written by their own CPU alone.
 */
#include "x86/paging.h"
#include "base/panic.h"
#include "base/string.h"
#include "mm/frame-alloc.h"
#include "x86/cpu.h"
#include "x86/memory-range.h"
#include "base/spinlock.h"
#include "x86/tlb.h"

#define FLAGS_TABLE (PTE_P | PTE_RW | PTE_US | PTE_A)
#define FLAGS_DATA  (PTE_P | PTE_RW | PTE_A | PTE_D | nx)
#define FLAGS_CODE  (PTE_P | PTE_A)
#define FLAGS_UC    (PTE_PCD | PTE_PWT)

extern u64 boot_alloc_limit;
extern const char text_end[], rodata_end[], data_end[], image_start[], image_end[], init_start[], init_end[];

static pte_t *idle_l4;
static spinlock_t paging_lock = SPINLOCK_INIT;
static bool allocator_ready;
static u64 device_next = DEVICE_START;
static u64 nx;

static pte_t *
table_alloc(void)
{
    return allocator_ready ? page_alloc_hv() : boot_alloc(1, 1);
}

/* The table below @entry, made if there is none; NULL when memory is short. */
static pte_t *
table_below(pte_t *entry)
{
    if (!(*entry & PTE_P)) {
        pte_t *table = table_alloc();

        if (!table)
            return NULL;
        WRITE_ONCE(*entry, direct_maddr(table).a | FLAGS_TABLE);
    }
    return direct_ptr(_maddr(*entry & PTE_ADDR));
}

/* The entry for @va at the level whose pages have @shift bits, tables above it made. */
static pte_t *
entry_for(u64 va, unsigned shift)
{
    pte_t *table = idle_l4;

    for (unsigned s = L4_SHIFT; s > shift; s -= 9) {
        table = table_below(&table[pte_index(va, s)]);
        if (!table)
            return NULL;
    }
    return &table[pte_index(va, shift)];
}

int
paging_map(u64 va, maddr_t maddr, u64 pages, u64 flags)
{
    int rc = 0;

    spin_lock(&paging_lock);
    for (; pages; pages--, va += PAGE_SIZE, maddr.a += PAGE_SIZE) {
        pte_t *entry = entry_for(va, L1_SHIFT);

        if (!entry) {
            rc = -ENOMEM;
            break;
        }
        WRITE_ONCE(*entry, maddr.a | flags | PTE_P);
    }
    spin_unlock(&paging_lock);
    return rc;
}

void
paging_unmap(u64 va, u64 pages)
{
    spin_lock(&paging_lock);
    for (; pages; pages--, va += PAGE_SIZE) {
        pte_t *entry = entry_for(va, L1_SHIFT);

        if (entry)
            WRITE_ONCE(*entry, 0);
    }
    spin_unlock(&paging_lock);
    tlb_flush_mask(&cpu_online);
}

void *
paging_map_device(maddr_t maddr, u64 size)
{
    u64 offset = maddr.a & (PAGE_SIZE - 1), pages = DIV_ROUND_UP(offset + size, PAGE_SIZE), va;

    spin_lock(&paging_lock);
    va = device_next;
    device_next += (pages + 1) * PAGE_SIZE;
    spin_unlock(&paging_lock);
    if (va + pages * PAGE_SIZE > WINDOW_START ||
        paging_map(va, _maddr(maddr.a - offset), pages, FLAGS_DATA | FLAGS_UC))
        return NULL;
    return (void *)(va + offset);
}

/* Maps with the largest pages that fit; boot only. */
static void
map_large(u64 va, u64 start, u64 end, u64 flags)
{
    while (start < end) {
        unsigned shift = L1_SHIFT;

        if (cpu_features.gib_pages && !((va | start) & ((1ull << L3_SHIFT) - 1)) &&
            end - start >= 1ull << L3_SHIFT)
            shift = L3_SHIFT;
        else if (!((va | start) & ((1ull << L2_SHIFT) - 1)) && end - start >= 1ull << L2_SHIFT)
            shift = L2_SHIFT;
        *entry_for(va, shift) = start | flags | (shift > L1_SHIFT ? PTE_PS : 0);
        va += 1ull << shift;
        start += 1ull << shift;
    }
}

static bool
is_memory(const struct memory_range *range)
{
    return range->type == MEMORY_RAM || range->type == MEMORY_ACPI || range->type == MEMORY_NVS;
}

/* Backs the table at @base (entries of @size bytes a frame) for all frames of @range, by pages of 2 MiB. */
static void
back_table(u64 base, u64 alias, unsigned size, const struct memory_range *range, int fill)
{
    const u64 step = 1ull << L2_SHIFT;
    u64 va = ROUND_DOWN(base + (range->start >> PAGE_SHIFT) * size, step);
    u64 end = base + DIV_ROUND_UP(range->end, PAGE_SIZE) * size;

    for (; va < end; va += step) {
        pte_t *entry = entry_for(va, L2_SHIFT);
        void *memory;

        if (*entry & PTE_P)
            continue;
        memory = boot_alloc(step >> PAGE_SHIFT, step >> PAGE_SHIFT);
        memset(memory, fill, step);
        *entry = direct_maddr(memory).a | FLAGS_DATA | PTE_PS;
        if (alias)
            *entry_for(va - base + alias, L2_SHIFT) =
                direct_maddr(memory).a | PTE_P | PTE_A | PTE_US | PTE_PS | nx;
    }
}

/* Between memories one L1 table, all of it one page, stands in for each part of the frame table. */
static void
back_holes(u64 limit)
{
    pte_t *table = boot_alloc(1, 1);
    struct frame *page = boot_alloc(1, 1);
    u64 end = FRAME_TABLE_START + limit * sizeof(struct frame);

    frame_table_fill_hole(page);
    for (unsigned i = 0; i < PTE_ENTRIES; i++)
        table[i] = direct_maddr(page).a | PTE_P | PTE_A | nx;
    for (u64 va = FRAME_TABLE_START; va < end; va += 1ull << L2_SHIFT) {
        pte_t *entry = entry_for(va, L2_SHIFT);

        if (!(*entry & PTE_P))
            *entry = direct_maddr(table).a | FLAGS_TABLE;
    }
}

static void
map_image(maddr_t image)
{
    static const struct {
        const char *start, *end;
        bool writable, code;
    } parts[] = {
        {image_start, text_end, false, true}, /* code */
        {text_end, rodata_end, false, false}, /* constants */
        {rodata_end, data_end, true, false},  /* data */
        {init_start, init_end, true, true},   /* what boots, until paging_seal() */
        {init_end, image_end, true, false},   /* BSS */
    };

    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
        for (u64 va = (u64)parts[i].start; va < (u64)parts[i].end; va += PAGE_SIZE)
            *entry_for(va, L1_SHIFT) = (va - (u64)image_start + image.a) | PTE_P | PTE_A |
                                       (parts[i].writable ? PTE_RW | PTE_D : 0) | (parts[i].code ? 0 : nx);
}

void
paging_init(const struct memory_range *ranges, unsigned count, maddr_t image)
{
    u64 limit = 0;

    nx = cpu_features.nx ? PTE_NX : 0;
    idle_l4 = boot_alloc(1, 1);

    /* Every L4 entry that will ever be used exists from now on. */
    for (unsigned slot = HYPERVISOR_FIRST_L4_SLOT; slot < 261; slot++)
        table_below(&idle_l4[slot]);
    map_image(image);
    for (unsigned i = 0; i < count; i++) {
        u64 start = ROUND_DOWN(ranges[i].start, PAGE_SIZE);
        u64 end = MIN(ROUND_UP(ranges[i].end, PAGE_SIZE), DIRECT_END - DIRECT_START);

        if (is_memory(&ranges[i]) && start < end)
            map_large(DIRECT_START + start, start, end, FLAGS_DATA);
    }
    map_large(DIRECT_START, 0, 1u << 20, FLAGS_DATA); /* BIOS data, EBDA, text screen */
    write_cr3(direct_maddr(idle_l4).a);

    boot_alloc_limit = DIRECT_END - DIRECT_START;
    for (unsigned i = 0; i < count; i++) {
        if (ranges[i].type != MEMORY_RAM)
            continue;
        limit = MAX(limit, ROUND_UP(ranges[i].end >> PAGE_SHIFT, FRAME_GROUP));
        back_table(FRAME_TABLE_START, 0, sizeof(struct frame), &ranges[i], 0);
        back_table(M2P_RW_START, M2P_START, sizeof(u64), &ranges[i], 0xff);
    }
    back_holes(limit);
}

void
paging_allocator_ready(void)
{
    allocator_ready = true;
}

void
paging_seal(void)
{
    for (u64 va = (u64)init_start; va < (u64)init_end; va += PAGE_SIZE) {
        pte_t *entry = entry_for(va, L1_SHIFT);
        mfn_t mfn = pte_mfn(*entry);

        *entry = 0;
        frame_alloc_add(mfn, 1);
    }
    tlb_flush_mask(&cpu_online);
}

void
paging_fill_l4(pte_t *l4)
{
    memcpy(l4 + HYPERVISOR_FIRST_L4_SLOT, idle_l4 + HYPERVISOR_FIRST_L4_SLOT, 16 * sizeof(pte_t));
}

mfn_t
paging_idle_l4(void)
{
    return direct_mfn(idle_l4);
}

static u64
window_va(unsigned cpu, unsigned page)
{
    return WINDOW_START + cpu * WINDOW_CPU_SIZE + page * PAGE_SIZE;
}

bool
paging_window_init(struct cpu *cpu)
{
    pte_t *l2_entry;
    void *gdt = page_alloc_hv(), *stub = page_alloc_hv();

    spin_lock(&paging_lock);
    l2_entry = entry_for(window_va(cpu->id, 0), L2_SHIFT);
    cpu->window = l2_entry ? table_below(l2_entry) : NULL;
    spin_unlock(&paging_lock);
    if (!cpu->window || !gdt || !stub)
        return false;
    for (unsigned page = 0; page < FIRST_RESERVED_GDT_PAGE; page++)
        cpu->window[WINDOW_GDT + page] = pte_make(paging_zero_mfn(), PTE_P | PTE_A | nx);
    cpu->window[WINDOW_GDT + FIRST_RESERVED_GDT_PAGE] = direct_maddr(gdt).a | FLAGS_DATA;
    cpu->window[WINDOW_STUB] = direct_maddr(stub).a | FLAGS_CODE;
    return true;
}

mfn_t
paging_zero_mfn(void)
{
    static void *zero;

    if (!zero)
        zero = page_alloc_hv();
    if (!zero)
        panic("no memory for the page of zeroes");
    return direct_mfn(zero);
}

void *
paging_stub_page(struct cpu *cpu, u64 *ret_va)
{
    *ret_va = window_va(cpu->id, WINDOW_STUB);
    return direct_ptr(_maddr(cpu->window[WINDOW_STUB] & PTE_ADDR));
}

pte_t *
paging_window(void)
{
    return this_cpu()->window;
}

u64
paging_window_va(unsigned page)
{
    return window_va(cpu_id(), page);
}

unsigned
paging_walk(mfn_t l4, u64 va, pte_t *ret_pte)
{
    const pte_t *table = direct_ptr(mfn_to_maddr(l4));

    for (unsigned level = 4, shift = L4_SHIFT;; level--, shift -= 9) {
        pte_t pte = READ_ONCE(table[pte_index(va, shift)]);

        if (!(pte & PTE_P))
            return 0;
        if (level == 1 || (level < 4 && pte & PTE_PS)) {
            *ret_pte = pte;
            return level;
        }
        table = direct_ptr(_maddr(pte & PTE_ADDR));
    }
}
