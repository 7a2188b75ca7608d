/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dom0, from an ELF kernel to a vCPU that can run.
 *
 * A guest's memory as it counts it (PFNs), and where the kernel's notes want it (virtual addresses):
 *
 *   PFN 0     virt_base   kernel segments
 *                         ramdisk, unless the kernel takes one that is not mapped
 *                         list of frames (MFN of each PFN), unless the kernel names an address for it
 *                         start info, console info
 *                         page tables of all this, mapped read-only
 *                         one page of stack
 *   boot_end  v_end       padding: at least 512 KiB, up to a multiple of 4 MiB
 *             -           ramdisk that is not mapped
 *             init_p2m    list of frames, and the page tables that map it
 *             -           everything else
 *
 * Everything up to the last line is allocated first and remembered as extents,
 * a few naturally aligned blocks; the kernel's and ramdisk's own memory is
 * given back then, and the rest of the domain comes out of what is free.
 *
 * Nothing here races: no guest runs yet.  Frames are written through map_frame().
 */
#include "pv/pv.h"

#include "base/log.h"
#include "base/panic.h"
#include "base/string.h"
#include "domain/page.h"
#include "mm/frame-alloc.h"
#include "mm/heap.h"
#include "mm/map.h"
#include "pv/image.h"

#define EXTENTS_MAX      128u
#define ENTRIES_PER_PAGE (PAGE_SIZE / sizeof(u64))
#define PADDING_MIN      (512ull << 10)
#define BOOT_ALIGN       (4ull << 20)

struct extent {
    u64 pfn;
    mfn_t mfn;
    u64 count;
};

struct build {
    struct domain *d;
    const struct pv_image *image;
    struct image_kernel kernel;

    /* Virtual addresses, in this order. */
    u64 v_start, v_ramdisk, v_list, v_info, v_tables, v_stack, v_end;
    u64 table_count;
    /* PFNs. */
    u64 boot_end, ramdisk_pfn, list_pfn, list_end;
    u64 page_count;
    u64 next_table; /* PFN of the next unused page-table page */
    u64 end_of_tables;

    unsigned extent_count;
    struct extent extents[EXTENTS_MAX];
};

static u64
pages_of(u64 bytes)
{
    return DIV_ROUND_UP(bytes, PAGE_SIZE);
}

static u64
page_align(u64 address)
{
    return ROUND_UP(address, PAGE_SIZE);
}

/* --- the layout --- */

/* How many tables of one level it takes to map [start, end), each covering 1 << @shift bytes. */
static u64
tables_covering(u64 start, u64 end, unsigned shift)
{
    return ((end - 1) >> shift) - (start >> shift) + 1;
}

static u64
tables_for(u64 start, u64 end)
{
    return tables_covering(start, end, L2_SHIFT) + tables_covering(start, end, L3_SHIFT) +
           tables_covering(start, end, L4_SHIFT);
}

/* Page tables map themselves: their number grows until it suffices. */
static void
lay_out_tables(struct build *b)
{
    for (b->table_count = 4;; b->table_count++) {
        u64 end;

        b->v_stack = b->v_tables + b->table_count * PAGE_SIZE;
        end = b->v_stack + PAGE_SIZE;
        b->v_end = ROUND_UP(end, BOOT_ALIGN);
        if (b->v_end - end < PADDING_MIN)
            b->v_end += BOOT_ALIGN;
        if (1 + tables_for(b->v_start, b->v_end) <= b->table_count)
            return;
    }
}

static const char *
lay_out(struct build *b)
{
    const struct image_kernel *kernel = &b->kernel;
    bool list_apart = kernel->init_p2m != IMAGE_ADDRESS_UNSET;
    u64 list_bytes = b->page_count * sizeof(u64);
    u64 ramdisk_pages = pages_of(b->image->ramdisk_size), va;

    b->v_start = kernel->virt_base;
    va = page_align(kernel->load_end);
    if (ramdisk_pages && !kernel->mod_start_pfn) {
        b->v_ramdisk = va;
        va += ramdisk_pages * PAGE_SIZE;
    }
    if (!list_apart) {
        b->v_list = va;
        va = page_align(va + list_bytes);
    }
    b->v_info = va;
    b->v_tables = page_align(va + sizeof(struct start_info) + sizeof(struct dom0_vga_console_info));
    lay_out_tables(b);

    b->boot_end = (b->v_end - b->v_start) / PAGE_SIZE;
    b->ramdisk_pfn = b->v_ramdisk ? (b->v_ramdisk - b->v_start) / PAGE_SIZE : b->boot_end;
    b->list_pfn = b->boot_end + (b->v_ramdisk ? 0 : ramdisk_pages);
    b->list_end = b->list_pfn;
    if (list_apart) {
        b->v_list = kernel->init_p2m;
        b->list_end += pages_of(list_bytes) + tables_for(b->v_list, b->v_list + list_bytes);
        if (b->v_list < b->v_end && b->v_list + list_bytes > b->v_start)
            return "The kernel wants its frame list (XEN_ELFNOTE_INIT_P2M) where the kernel itself is.";
        if (b->v_list < HYPERVISOR_END && b->v_list + list_bytes > HYPERVISOR_START)
            return "The kernel wants its frame list (XEN_ELFNOTE_INIT_P2M) where the hypervisor is.";
    }
    /* v_end may be 0, the end of the address space. */
    if (b->v_end - 1 < b->v_start || (b->v_start < HYPERVISOR_END && b->v_end - 1 >= HYPERVISOR_START))
        return "The kernel and its initrd do not fit into the kernel's address space.";
    if (b->list_end >= b->page_count)
        return "Too little memory for the kernel and its initrd: give dom0 more with dom0_mem=.";
    return NULL;
}

/* --- memory --- */

/* The largest order whose block fits into @count pages. */
static unsigned
order_below(u64 count)
{
    unsigned order = 63 - __builtin_clzll(count);

    return MIN(order, FRAME_ORDER_MAX);
}

/* One block of at most @count pages; *@order bounds the next try too, so a failure is not repeated. */
static int
alloc_block(struct domain *d, u64 count, unsigned flags, unsigned *order, mfn_t *ret_mfn)
{
    int rc;

    *order = MIN(*order, order_below(count));
    for (;;) {
        rc = page_alloc(d, *order, 0, flags, ret_mfn);
        if (rc != -ENOMEM || !*order)
            return rc;
        --*order;
    }
}

static const char *
alloc_boot_memory(struct build *b)
{
    unsigned order = FRAME_ORDER_MAX;

    for (u64 pfn = 0; pfn < b->list_end;) {
        struct extent *extent = &b->extents[b->extent_count];

        if (b->extent_count == EXTENTS_MAX)
            return "Memory is too fragmented to load the kernel.";
        if (alloc_block(b->d, b->list_end - pfn, 0, &order, &extent->mfn))
            return "Too little memory to load the kernel and its initrd: the machine needs more.";
        extent->pfn = pfn;
        extent->count = 1ull << order;
        pfn += extent->count;
        b->extent_count++;
    }
    return NULL;
}

static mfn_t
boot_mfn(const struct build *b, u64 pfn)
{
    for (unsigned i = 0; i < b->extent_count; i++)
        if (pfn - b->extents[i].pfn < b->extents[i].count)
            return mfn_add(b->extents[i].mfn, pfn - b->extents[i].pfn);
    panic("dom0's boot memory has no page %llx", (unsigned long long)pfn);
}

static mfn_t
va_mfn(const struct build *b, u64 va)
{
    return boot_mfn(b, (va - b->v_start) / PAGE_SIZE);
}

/* Copies to the domain's memory, from @offset bytes behind the start of page @pfn. */
static void
copy_in(const struct build *b, u64 pfn, u64 offset, const void *src, u64 size)
{
    pfn += offset / PAGE_SIZE;
    offset %= PAGE_SIZE;
    while (size) {
        u64 n = MIN(size, PAGE_SIZE - offset);
        u8 *page = map_frame(boot_mfn(b, pfn));

        memcpy(page + offset, src, n);
        unmap_frame(page);
        src = (const u8 *)src + n;
        size -= n;
        offset = 0;
        pfn++;
    }
}

static void
load_kernel(const struct build *b)
{
    for (unsigned i = 0; i < b->kernel.segment_count; i++) {
        const struct image_segment *segment = &b->kernel.segments[i];

        /* What the file does not fill is zero already. */
        copy_in(b, 0, segment->va - b->v_start, (const u8 *)b->image->kernel + segment->offset,
                segment->file_size);
    }
    if (b->kernel.hypercall_page != IMAGE_ADDRESS_UNSET) {
        void *page = map_frame(va_mfn(b, b->kernel.hypercall_page));

        pv_hypercall_page_fill(page);
        unmap_frame(page);
    }
    if (b->image->ramdisk_size)
        copy_in(b, b->ramdisk_pfn, 0, b->image->ramdisk, b->image->ramdisk_size);
}

/* The list of frames: entry @pfn, and the way back in the machine's own table. */
static void
set_pfn(const struct build *b, u64 pfn, mfn_t mfn)
{
    bool apart = b->list_pfn != b->list_end;
    u64 first = apart ? b->list_pfn : (b->v_list - b->v_start) / PAGE_SIZE;
    u64 *page = map_frame(boot_mfn(b, first + pfn / ENTRIES_PER_PAGE));

    page[pfn % ENTRIES_PER_PAGE] = mfn_x(mfn);
    unmap_frame(page);
    m2p_set(mfn, pfn);
}

static const char *
alloc_rest(struct build *b)
{
    unsigned order = FRAME_ORDER_MAX;
    u64 pfn = 0;

    for (unsigned i = 0; i < b->extent_count; i++)
        for (u64 n = 0; n < b->extents[i].count; n++)
            set_pfn(b, pfn++, mfn_add(b->extents[i].mfn, n));

    while (pfn < b->page_count) {
        mfn_t mfn;

        if (alloc_block(b->d, b->page_count - pfn, PAGE_RAW, &order, &mfn))
            return "Too little memory for what dom0_mem= asks: ask for less.";
        for (u64 n = 0; n < 1ull << order; n++)
            set_pfn(b, pfn++, mfn_add(mfn, n));
    }
    return NULL;
}

/* --- page tables --- */

#define TABLE_FLAGS (PTE_P | PTE_RW | PTE_US | PTE_A | PTE_D)

/* The entry for @va in @table, a table of the level that @shift names; makes the table below it as needed. */
static mfn_t
descend(struct build *b, mfn_t table, u64 va, unsigned shift)
{
    pte_t *entry = (pte_t *)map_frame(table) + pte_index(va, shift);

    if (!*entry) {
        ASSERT(b->next_table < b->end_of_tables);
        *entry = pte_make(boot_mfn(b, b->next_table++), TABLE_FLAGS);
    }
    table = pte_mfn(*entry);
    unmap_frame(entry);
    return table;
}

/* Maps @count pages from @pfn on at @va; tables come from PFNs next_table up to end_of_tables. */
static void
map_range(struct build *b, mfn_t l4, u64 va, u64 pfn, u64 count)
{
    u64 first_table = (b->v_tables - b->v_start) / PAGE_SIZE;
    mfn_t l1 = MFN_INVALID;

    for (u64 i = 0; i < count; i++, va += PAGE_SIZE, pfn++) {
        bool is_table = pfn - first_table < b->table_count;
        pte_t *entry;

        if (!i || !pte_index(va, L1_SHIFT))
            l1 = descend(b, descend(b, descend(b, l4, va, L4_SHIFT), va, L3_SHIFT), va, L2_SHIFT);
        entry = (pte_t *)map_frame(l1) + pte_index(va, L1_SHIFT);
        *entry = pte_make(boot_mfn(b, pfn), is_table ? TABLE_FLAGS & ~PTE_RW : TABLE_FLAGS);
        unmap_frame(entry);
    }
}

/* Builds the tables, has them validated, and pins the top one, as the ABI promises to the kernel. */
static const char *
build_tables(struct build *b, mfn_t *ret_l4)
{
    u64 list_bytes = b->page_count * sizeof(u64);
    mfn_t l4 = va_mfn(b, b->v_tables);
    struct frame *frame = frame_of(l4);
    int rc;

    b->next_table = (b->v_tables - b->v_start) / PAGE_SIZE + 1;
    b->end_of_tables = b->next_table - 1 + b->table_count;
    map_range(b, l4, b->v_start, 0, b->boot_end);

    if (b->list_pfn != b->list_end) {
        b->next_table = b->list_pfn + pages_of(list_bytes);
        b->end_of_tables = b->list_end;
        map_range(b, l4, b->v_list, b->list_pfn, pages_of(list_bytes));
    }

    if (!page_get(frame, b->d))
        return "dom0's page tables vanished.";
    spin_lock(&b->d->page_table_lock);
    do {
        b->d->type_budget = INT32_MAX; /* nobody waits: all in one go */
        rc = page_get_type(frame, FRAME_TYPE_L4);
    } while (rc == -ERESTART);
    spin_unlock(&b->d->page_table_lock);
    if (rc) {
        log_err("dom0's first page tables were refused: error %d", -rc);
        return "The page tables made for the kernel were refused.";
    }
    atomic_or(&frame->type, FRAME_TYPE_PINNED);
    *ret_l4 = l4;
    return NULL;
}

/* --- what the kernel is told --- */

static void
write_start_info(const struct build *b)
{
    const struct pv_image *image = b->image;
    struct start_info *info = heap_zalloc(sizeof(*info));

    if (!info)
        panic("No memory to tell dom0 about itself");

    str_copy(info->magic, "xen-3.0-x86_64", sizeof(info->magic));
    info->nr_pages = b->page_count;
    info->shared_info = mfn_to_maddr(b->d->shared_mfn).a;
    info->flags = SIF_PRIVILEGED | SIF_INITDOMAIN;
    info->pt_base = b->v_tables;
    info->nr_pt_frames = b->table_count;
    info->mfn_list = b->v_list;
    info->first_p2m_pfn = b->list_pfn;
    info->nr_p2m_frames = b->list_end - b->list_pfn;
    if (image->ramdisk_size) {
        info->mod_start = b->v_ramdisk ? b->v_ramdisk : b->ramdisk_pfn;
        info->mod_len = image->ramdisk_size;
        if (!b->v_ramdisk)
            info->flags |= SIF_MOD_START_PFN;
    }
    if (image->cmdline)
        str_copy((char *)info->cmd_line, image->cmdline, sizeof(info->cmd_line));
    if (image->console) {
        info->console.dom0.info_off = sizeof(*info);
        info->console.dom0.info_size = sizeof(*image->console);
        copy_in(b, 0, b->v_info + sizeof(*info) - b->v_start, image->console, sizeof(*image->console));
    }
    copy_in(b, 0, b->v_info - b->v_start, info, sizeof(*info));
    heap_free(info);
}

static int
set_registers(const struct build *b, mfn_t l4)
{
    struct vcpu_guest_context *ctx = heap_zalloc(sizeof(*ctx));
    int rc;

    if (!ctx)
        return -ENOMEM;
    ctx->flags = VGCF_in_kernel | VGCF_online;
    ctx->user_regs.rip = b->kernel.entry;
    ctx->user_regs.rsp = b->v_stack + PAGE_SIZE;
    ctx->user_regs.rsi = b->v_info;
    ctx->user_regs.rflags = 0x200;
    ctx->user_regs.cs = FLAT_KERNEL_CS;
    ctx->user_regs.ss = FLAT_KERNEL_SS;
    ctx->user_regs.ds = ctx->user_regs.es = ctx->user_regs.fs = ctx->user_regs.gs = FLAT_KERNEL_DS;
    ctx->kernel_ss = FLAT_KERNEL_SS;
    ctx->kernel_sp = b->v_stack + PAGE_SIZE;
    ctx->ctrlreg[3] = xen_pfn_to_cr3(mfn_x(l4));

    rc = vcpu_set_context(b->d->vcpus[0], ctx);
    heap_free(ctx);
    return rc;
}

/* --- all of it --- */

static const char *
check_features(const struct image_kernel *kernel)
{
    u32 missing = 1u << XENFEAT_auto_translated_physmap | 1u << XENFEAT_supervisor_mode_kernel;

    if (kernel->has_supported_features && !(kernel->supported_features & 1u << XENFEAT_dom0))
        return "The kernel cannot be dom0: build it with CONFIG_XEN_DOM0, or choose another.";
    if (kernel->required_features & missing)
        return "The kernel requires a mode of paravirtualization that does not exist here.";
    return NULL;
}

static const char *
build_domain(struct build *b)
{
    const char *reason;
    mfn_t l4;
    int rc;

    if (!image_parse_elf(b->image->kernel, b->image->kernel_size, &b->kernel, &reason))
        return reason;
    reason = check_features(&b->kernel);
    if (!reason)
        reason = lay_out(b);
    if (!reason)
        reason = alloc_boot_memory(b);
    if (reason)
        return reason;

    load_kernel(b);
    if (b->image->release)
        b->image->release(b->image);
    reason = alloc_rest(b);
    if (!reason)
        reason = build_tables(b, &l4);
    if (reason)
        return reason;
    write_start_info(b);

    rc = set_registers(b, l4);
    if (rc) {
        log_err("dom0's first registers were refused: error %d", -rc);
        return "The kernel's entry state was refused.";
    }
    return NULL;
}

int
pv_build(struct domain *d, const struct pv_image *image, const char **ret_reason)
{
    struct build *b = heap_zalloc(sizeof(*b));
    const char *reason;

    if (!b) {
        *ret_reason = "No memory left to build dom0: the machine needs more.";
        return -ENOMEM;
    }
    b->d = d;
    b->image = image;
    b->page_count = image->memory_pages;
    reason = build_domain(b);
    if (!reason)
        log_info("dom0: %s %s, %llu MiB, kernel at %llx, entry %llx", b->kernel.guest_os,
                 b->kernel.guest_version, (unsigned long long)b->page_count >> (20 - PAGE_SHIFT),
                 (unsigned long long)b->kernel.load_start, (unsigned long long)b->kernel.entry);
    heap_free(b);
    if (reason)
        *ret_reason = reason;
    return reason ? -EINVAL : 0;
}
