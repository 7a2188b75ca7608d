/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes dom0: options, unpacking, creation, permissions.  Runs once, on the boot CPU; pv/build.c fills it.
 *
 * The modules' memory is nobody's until dom0 has its copies; then it is free, and dom0's rest comes from it.
 */
#include "boot/dom0.h"

#include "base/log.h"
#include "base/string.h"
#include "boot/libc-shim.h"
#include "boot/unpack.h"
#include "domain/pirq.h"
#include "domain/permission.h"
#include "domain/page.h"
#include "domain/sched.h"
#include "mm/frame-alloc.h"
#include "pv/image.h"
#include "pv/pv.h"
#include "x86/acpi-info.h"
#include "x86/cpu.h"
#include "x86/irq.h"
#include "x86/serial.h"

/* --- dom0_mem= --- */

static bool
parse_size(const char **text, s64 *ret_bytes)
{
    const char *p = *text, *end;
    bool negative = *p == '-';
    unsigned shift = 10; /* a bare number counts KiB, as it does for Xen */
    u64 n;

    p += negative;
    if (*p < '0' || *p > '9')
        return false;
    n = str_to_u64(p, &end);
    p = end;
    switch (*p | 0x20) {
    case 'b':
        shift = 0;
        p++;
        break;
    case 'k':
        p++;
        break;
    case 'm':
        shift = 20;
        p++;
        break;
    case 'g':
        shift = 30;
        p++;
        break;
    case 't':
        shift = 40;
        p++;
        break;
    }
    if (n > (u64)INT64_MAX >> shift || (n << shift) == (u64)INT64_MAX)
        return false;
    *ret_bytes = negative ? -(s64)(n << shift) : (s64)(n << shift);
    *text = p;
    return true;
}

bool
dom0_parse_memory(const char *value, struct dom0_options *options)
{
    for (;;) {
        s64 *which = &options->memory;

        if (!strncmp(value, "min:", 4)) {
            which = &options->memory_min;
            value += 4;
        } else if (!strncmp(value, "max:", 4)) {
            which = &options->memory_max;
            value += 4;
        }
        if (!parse_size(&value, which))
            return false;
        if (!*value)
            return true;
        if (*value++ != ',')
            return false;
    }
}

static u64
pages_of_option(s64 bytes, u64 available)
{
    u64 left_out;

    if (bytes >= 0)
        return (u64)bytes / PAGE_SIZE;
    left_out = DIV_ROUND_UP((u64)-bytes, PAGE_SIZE);
    return available > left_out ? available - left_out : 0;
}

/* What dom0 gets of @available pages: all but a sixteenth (at most 128 MiB) unless told otherwise. */
static u64
dom0_pages(const struct dom0_options *options, u64 available, u64 *ret_max)
{
    u64 reserve = MIN(available / 16, 128ull << (20 - PAGE_SHIFT));
    u64 pages = available - reserve;

    if (options->memory != DOM0_MEMORY_UNSET)
        pages = pages_of_option(options->memory, available);
    if (options->memory_min != DOM0_MEMORY_UNSET)
        pages = MAX(pages, pages_of_option(options->memory_min, available));
    *ret_max = ~0ull;
    if (options->memory_max != DOM0_MEMORY_UNSET) {
        *ret_max = pages_of_option(options->memory_max, available);
        pages = MIN(pages, *ret_max);
    }
    /* A little must stay free for the hypervisor itself. */
    return MIN(pages, available - available / 64);
}

/* --- modules --- */

static const struct boot_module *kernel_module, *ramdisk_module;
static mfn_t unpacked_mfn;
static unsigned unpacked_order;

static u64
module_pages(const struct boot_module *module)
{
    u64 first = DIV_ROUND_UP(module->start.a, PAGE_SIZE), end = (module->start.a + module->size) / PAGE_SIZE;

    return module->size && end > first ? end - first : 0;
}

static void
free_module(const struct boot_module *module)
{
    u64 pages = module ? module_pages(module) : 0;

    if (pages)
        frame_alloc_add(_mfn(DIV_ROUND_UP(module->start.a, PAGE_SIZE)), pages);
}

static void
release_images(const struct pv_image *image)
{
    (void)image;
    if (!mfn_equal(unpacked_mfn, MFN_INVALID))
        frame_free(unpacked_mfn, unpacked_order);
    unpacked_mfn = MFN_INVALID;
    free_module(kernel_module);
    free_module(ramdisk_module);
}

static bool
alloc_unpacked(u64 size)
{
    unpacked_order = 0;
    while (PAGE_SIZE << unpacked_order < size)
        unpacked_order++;
    unpacked_mfn = frame_alloc_raw(unpacked_order, 0);
    return !mfn_equal(unpacked_mfn, MFN_INVALID);
}

/* Points @image at the kernel's ELF file, unpacked if need be. */
static bool
unpack_kernel(const struct boot_module *module, struct pv_image *image, const char **ret_reason)
{
    const void *payload = direct_ptr(module->start);
    u64 payload_size = module->size, size;
    enum image_packing packing = image_packing(payload, payload_size);
    void *buffer;
    bool ok;

    if (packing == IMAGE_BZIMAGE) {
        payload = image_payload(payload, payload_size, &payload_size, ret_reason);
        if (!payload)
            return false;
        packing = image_packing(payload, payload_size);
    }
    if (packing == IMAGE_ELF) {
        image->kernel = payload;
        image->kernel_size = payload_size;
        return true;
    }
    if (packing == IMAGE_UNKNOWN) {
        *ret_reason = "The first module is not a Linux kernel (bzImage) and not an ELF file: "
                      "let the module2 line name one.";
        return false;
    }

    size = image_unpacked_size(payload, payload_size);
    if (!size) {
        *ret_reason = "The kernel file is cut short or broken: install it again.";
        return false;
    }
    if (!alloc_unpacked(size)) {
        log_err("the kernel says to be %u MiB when unpacked", (unsigned)(size >> 20));
        *ret_reason = "The unpacked kernel does not fit into memory: give the machine more, or, if the size "
                      "above cannot be, install the kernel again.";
        return false;
    }
    buffer = direct_ptr(mfn_to_maddr(unpacked_mfn));
    log_info("unpacking the kernel, %u MiB", (unsigned)(size >> 20));
    libc_shim_enter();
    ok = unpack(packing, payload, payload_size, buffer, size, ret_reason);
    libc_shim_leave();
    image->kernel = buffer;
    image->kernel_size = size;
    return ok;
}

/* --- permissions --- */

/* Everything but what the hypervisor drives itself: PICs, PIT, its serial port, PM timer, IO-APICs, APICs. */
static int
give_hardware(struct domain *d)
{
    static const struct {
        u16 first, last;
    } kept[] = {{0x20, 0x21}, {0xa0, 0xa1}, {0x40, 0x43}, {0x61, 0x61}, {0x4d0, 0x4d1}, {0xcf8, 0xcff}};
    int rc;

    spin_lock(&d->lock);
    rc = permission_init_hardware(d);
    for (unsigned i = 0; !rc && i < ARRAY_SIZE(kept); i++)
        rc = ioport_deny(d, kept[i].first, kept[i].last);
    if (!rc && acpi_info.pm_timer_port)
        rc = ioport_deny(d, acpi_info.pm_timer_port, acpi_info.pm_timer_port + 3);
    if (!rc && serial_io_base())
        rc = ioport_deny(d, serial_io_base(), serial_io_base() + 7);
    /* Bits that the CPU reserves would only fault. */
    if (!rc)
        rc = iomem_deny(d, 1ull << (cpu_features.physical_bits - PAGE_SHIFT), MFN_LIMIT - 1);
    /* The APIC's registers, and all that writing an interrupt message could reach. */
    if (!rc)
        rc = iomem_deny(d, 0xfee00000 >> PAGE_SHIFT, 0xfeefffff >> PAGE_SHIFT);
    for (u32 gsi = 0; !rc && gsi < irq_gsi_count(); gsi++)
        if (irq_is_ours(gsi))
            rc = irq_deny(d, gsi);
    for (unsigned i = 0; !rc && i < acpi_info.ioapic_count; i++)
        rc = iomem_deny(d, acpi_info.ioapics[i].address >> PAGE_SHIFT,
                        acpi_info.ioapics[i].address >> PAGE_SHIFT);
    spin_unlock(&d->lock);
    return rc;
}

/* --- all of it --- */

static int
create_domain(const struct dom0_options *options, struct domain **ret_domain)
{
    struct xen_domctl_createdomain config = {
        .max_vcpus = options->max_vcpus ? options->max_vcpus : cpumask_weight(&cpu_online),
        .max_evtchn_port = ~0u,
        .max_grant_frames = -1,
        .max_maptrack_frames = -1,
        .grant_opts = XEN_DOMCTL_GRANT_version(1),
    };
    struct domain *d;
    struct vcpu *v;
    int rc;

    config.max_vcpus = MIN(config.max_vcpus, VCPU_MAX);
    rc = domain_create(0, &config, &d);
    if (rc)
        return rc;
    d->is_privileged = true;
    d->is_hardware = true;
    hardware_domain = d;

    rc = pirq_domain_init(d);
    if (!rc)
        rc = give_hardware(d);
    for (unsigned i = 0; !rc && i < config.max_vcpus; i++) {
        rc = vcpu_create(d, i, &v);
        if (!rc && options->vcpus_pin) {
            cpumask_t *mask = page_alloc_hv();

            if (!mask)
                return -ENOMEM;
            cpumask_set(mask, i % cpumask_weight(&cpu_online));
            rc = sched_set_hard_affinity(v, mask);
            page_free_hv(mask);
        }
    }
    *ret_domain = d;
    return rc;
}

struct domain *
dom0_create(const struct boot_module *kernel, const struct boot_module *ramdisk, const char *cmdline,
            const struct dom0_options *options, const struct dom0_vga_console_info *console,
            const char **ret_reason)
{
    struct pv_image image = {.cmdline = cmdline, .console = console, .release = release_images};
    struct domain *d;
    u64 available, max_pages;

    unpacked_mfn = MFN_INVALID;
    kernel_module = kernel;
    ramdisk_module = ramdisk;
    if (ramdisk && ramdisk->size) {
        image.ramdisk = direct_ptr(ramdisk->start);
        image.ramdisk_size = ramdisk->size;
    }

    if (create_domain(options, &d)) {
        *ret_reason = "Too little memory to create dom0: the machine needs more.";
        return NULL;
    }
    if (!unpack_kernel(kernel, &image, ret_reason))
        return NULL;

    available = frame_free_count() + module_pages(kernel) + (ramdisk ? module_pages(ramdisk) : 0);
    if (!mfn_equal(unpacked_mfn, MFN_INVALID))
        available += 1ull << unpacked_order;
    image.memory_pages = dom0_pages(options, available, &max_pages);
    page_set_max(d, MAX(max_pages, image.memory_pages));

    return pv_build(d, &image, ret_reason) ? NULL : d;
}
