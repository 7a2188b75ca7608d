/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The PV builder.  Pseudo-physical memory is laid out as <xen/xen.h> ("initial domain memory layout") wants
 * it:
 *
 *   frame 0 ...            nothing, up to where the kernel wants to be
 *                          the kernel
 *                          the initrd, unless the kernel takes it unmapped
 *                          the p2m list, unless the kernel wants it elsewhere
 *                          start info, store ring, console ring
 *                          page tables
 *                          boot stack
 *                          nothing, at least 512 KiB, up to a multiple of 4 MiB: the end of the kernel's
 * mapping the initrd if unmapped the p2m list if apart, and its own page tables
 *   ... page_count
 */
#include "private/build.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PVGRUB_PATH "/usr/lib/grub-xen/grub-x86_64-xen.bin"

/* The least stretch of zeroes that is not copied: less is not worth another mapping. */
#define HOLE_MIN (16 * SERAI_PAGE_SIZE)

uint64_t
serai_config_start_pages(const SeraiConfig *config)
{
    return (config->memory_kib ? config->memory_kib : config->max_memory_kib) >> 2;
}

guint
serai_config_start_vcpus(const SeraiConfig *config)
{
    return config->vcpus ? config->vcpus : config->max_vcpus;
}

const char *
serai_build_kernel_path(const SeraiConfig *config, GError **error)
{
    const char *path = config->bootloader ? config->bootloader : PVGRUB_PATH;

    if (config->kernel)
        return config->kernel;
    if (access(path, R_OK) == 0)
        return path;
    if (!config->bootloader && errno == ENOENT) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_KERNEL,
                    _("The domain has no kernel, and '%s', which would start it from its disk, is not there: "
                      "the package grub-xen-host has it."),
                    path);
        return NULL;
    }
    g_set_error(
        error, SERAI_ERROR, SERAI_ERROR_INVALID_KERNEL,
        _("The domain has no kernel and the boot loader '%s' that would start it from its disk is not there: "
          "%s."),
        path, g_strerror(errno));
    return NULL;
}

static uint64_t
pages_of(uint64_t bytes)
{
    return (bytes + SERAI_PAGE_SIZE - 1) >> SERAI_PAGE_SHIFT;
}

/* Opens the initrd and finds its size.  Without one @ret_fd is -1. */
static gboolean
open_initrd(const SeraiConfig *config, int *ret_fd, uint64_t *ret_size, GError **error)
{
    struct stat st;

    *ret_fd = -1;
    *ret_size = 0;
    if (!config->kernel || !config->ramdisk)
        return TRUE;
    *ret_fd = open(config->ramdisk, O_RDONLY | O_CLOEXEC);
    if (*ret_fd < 0 || fstat(*ret_fd, &st) < 0) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_KERNEL, _("Cannot open the initrd '%s': %s."),
                    config->ramdisk, g_strerror(errno));
        return FALSE;
    }
    if (!S_ISREG(st.st_mode)) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_KERNEL, _("The initrd '%s' is not a file."),
                    config->ramdisk);
        return FALSE;
    }
    *ret_size = st.st_size;
    return TRUE;
}

/* Decides where everything lies.  Says no when it does not fit into the domain. */
static gboolean
layout_make(SeraiLayout *l, const SeraiElf *elf, uint64_t initrd_size, uint64_t page_count, GError **error)
{
    uint64_t pfn = pages_of(elf->end - elf->virt_base), need, tables, end;

    l->virt_base = elf->virt_base;
    l->initrd_size = initrd_size;
    l->initrd_unmapped = elf->unmapped_initrd;
    l->p2m_pages = pages_of(page_count * sizeof(xen_pfn_t));
    if (initrd_size && !l->initrd_unmapped) {
        l->initrd_pfn = pfn;
        pfn += pages_of(initrd_size);
    }
    if (!elf->p2m_base) {
        l->p2m_pfn = pfn;
        l->p2m_virt = elf->virt_base + (pfn << SERAI_PAGE_SHIFT);
        pfn += l->p2m_pages;
    }
    l->start_info_pfn = pfn++;
    l->store_pfn = pfn++;
    l->console_pfn = pfn++;

    /* The tables map themselves: more of them may need more of them. */
    for (tables = 4;; tables = need) {
        end = elf->virt_base + ((pfn + tables + 1) << SERAI_PAGE_SHIFT) + (512 << 10);
        end = (end + (4 << 20) - 1) & ~((4UL << 20) - 1);
        if (end < elf->virt_base)
            end = 0; /* the top of the address space; one page short of it is as good */
        need = serai_tables_count(elf->virt_base, end, TRUE);
        if (need <= tables)
            break;
    }
    l->tables_pfn = pfn;
    l->tables_count = tables;
    pfn += tables;
    l->stack_pfn = pfn++;
    l->virt_end = end;
    pfn = (end - elf->virt_base) >> SERAI_PAGE_SHIFT;

    if (initrd_size && l->initrd_unmapped) {
        l->initrd_pfn = pfn;
        pfn += pages_of(initrd_size);
    }
    if (elf->p2m_base) {
        l->p2m_pfn = pfn;
        l->p2m_virt = elf->p2m_base;
        l->p2m_tables_count =
            serai_tables_count(l->p2m_virt, l->p2m_virt + (l->p2m_pages << SERAI_PAGE_SHIFT), FALSE);
        pfn += l->p2m_pages + l->p2m_tables_count;
    }
    if (pfn <= page_count)
        return TRUE;
    /* The padding before the end of the mapping may be given up by a tiny domain, but for the half MiB. */
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_NO_MEMORY,
                _("The domain starts with %lu KiB of memory; its kernel and initrd need %lu KiB at least."),
                page_count << 2, pfn << 2);
    return FALSE;
}

/* How many of @size bytes are zero, page by page. */
static uint64_t
zero_bytes(const guint8 *data, uint64_t size)
{
    uint64_t zeros = 0, n;

    for (; zeros < size; zeros += n) {
        n = MIN(size - zeros, SERAI_PAGE_SIZE);
        if (data[zeros] || memcmp(data + zeros, data + zeros + 1, n - 1))
            break;
    }
    return zeros;
}

/*
 * Copies what of a segment is in the file.  Of Debian's kernel half is zero, as its tools write the zeroes of
 * .bss and of the gaps into the file; they are cleared, which may cost nothing.
 */
static gboolean
load_contents(SeraiGuestMemory *memory, uint64_t address, const guint8 *data, uint64_t size, GError **error)
{
    for (uint64_t done = 0, from, zeros; done < size;) {
        for (from = done, zeros = 0; done < size; done = MIN(size, done + zeros + SERAI_PAGE_SIZE)) {
            zeros = zero_bytes(data + done, size - done);
            if (zeros >= HOLE_MIN)
                break;
        }
        if (!serai_memory_write(memory, address + from, data + from, done - from, error))
            return FALSE;
        if (done < size) {
            if (!serai_memory_zero(memory, address + done, zeros, error))
                return FALSE;
            done += zeros;
        }
    }
    return TRUE;
}

/* Copies the segments and clears what lies between and behind them. */
static gboolean
load_kernel(SeraiGuestMemory *memory, const SeraiElf *elf, GCancellable *cancellable, GError **error)
{
    const guint8 *data = g_bytes_get_data(elf->data, NULL);

    for (guint i = 0; i < elf->segment_count; i++) {
        const SeraiElfSegment *s = &elf->segments[i];

        if (g_cancellable_set_error_if_cancelled(cancellable, error))
            return FALSE;
        if (!load_contents(memory, s->paddr, data + s->offset, s->filesz, error) ||
            !serai_memory_zero(memory, s->paddr + s->filesz, s->memsz - s->filesz, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
load_p2m(SeraiGuestMemory *memory, const SeraiLayout *layout, GError **error)
{
    uint64_t bytes = memory->page_count * sizeof(xen_pfn_t);
    uint64_t address = layout->p2m_pfn << SERAI_PAGE_SHIFT;
    g_autofree guint8 *tail = NULL;
    uint64_t rest = (layout->p2m_pages << SERAI_PAGE_SHIFT) - bytes;

    /* Entries behind the last frame say that there is none. */
    tail = g_malloc(SERAI_PAGE_SIZE);
    memset(tail, 0xff, SERAI_PAGE_SIZE);
    return serai_memory_write(memory, address, memory->p2m, bytes, error) &&
           serai_memory_write(memory, address + bytes, tail, rest, error);
}

static gboolean
load_hypercall_page(SeraiGuestMemory *memory, const SeraiElf *elf, GError **error)
{
    uint64_t pfn = (elf->hypercall_page - elf->virt_base) >> SERAI_PAGE_SHIFT;

    if (!elf->hypercall_page)
        return TRUE;
    return serai_hv_hypercall_page(memory->hv, memory->domid, memory->p2m[pfn], error);
}

static gboolean
load_all(SeraiGuestMemory *memory, const SeraiConfig *config, const SeraiElf *elf, const SeraiLayout *layout,
         int initrd_fd, const SeraiBoot *boot, GCancellable *cancellable, GError **error)
{
    xen_domctl_getdomaininfo_t info;

    if (!load_kernel(memory, elf, cancellable, error))
        return FALSE;
    if (layout->initrd_size && !serai_memory_read_fd(memory, layout->initrd_pfn << SERAI_PAGE_SHIFT,
                                                     initrd_fd, layout->initrd_size, cancellable, error)) {
        g_prefix_error(error, _("Cannot load the initrd '%s': "), config->ramdisk);
        return FALSE;
    }
    /* The two rings and the boot stack must not show what these frames held before. */
    if (!serai_memory_zero(memory, layout->store_pfn << SERAI_PAGE_SHIFT, 2 << SERAI_PAGE_SHIFT, error) ||
        !serai_memory_zero(memory, layout->stack_pfn << SERAI_PAGE_SHIFT, SERAI_PAGE_SIZE, error))
        return FALSE;
    if (!load_p2m(memory, layout, error) || !load_hypercall_page(memory, elf, error) ||
        !serai_hv_domain_info(memory->hv, memory->domid, &info, error) ||
        !serai_start_info_write(memory, layout, config, boot, info.shared_info_frame, error) ||
        !serai_tables_write(memory, layout, error))
        return FALSE;
    /* Nothing of the tables may be mapped writable any more, by us neither. */
    return serai_hv_pin_table(memory->hv, memory->domid, 4, memory->p2m[layout->tables_pfn], error) &&
           serai_vcpu_start(memory, layout, elf->entry, error);
}

gboolean
serai_build_pv(SeraiGuestMemory *memory, const SeraiConfig *config, SeraiBoot *boot, SeraiProgress *progress,
               GCancellable *cancellable, GError **error)
{
    const char *path = serai_build_kernel_path(config, error);
    SeraiLayout layout = {0};
    SeraiElf elf = {0};
    uint64_t initrd_size = 0;
    int initrd_fd = -1;
    gboolean ok;

    memory->page_count = serai_config_start_pages(config);
    ok = path && serai_elf_load(&elf, path, boot->cache_dir, cancellable, error) &&
         open_initrd(config, &initrd_fd, &initrd_size, error) &&
         layout_make(&layout, &elf, initrd_size, memory->page_count, error) &&
         serai_memory_populate(memory, config, progress, cancellable, error) &&
         load_all(memory, config, &elf, &layout, initrd_fd, boot, cancellable, error);
    if (ok) {
        boot->store_frame = memory->p2m[layout.store_pfn];
        boot->console_frame = memory->p2m[layout.console_pfn];
    }
    if (initrd_fd >= 0)
        close(initrd_fd);
    serai_elf_clear(&elf);
    return ok;
}
