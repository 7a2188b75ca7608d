/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * HYPERVISOR_xen_version(cmd, arg): what this hypervisor calls itself, and what guests may count on;
 * HYPERVISOR_vm_assist. It says 4.17, for that is the interface it speaks; kernels and tools choose what they
 * do by it.
 */
#include "hypercall/hypercall.h"
#include "base/string.h"
#include "mm/guest-copy.h"

#define VERSION_MAJOR 4u
#define VERSION_MINOR 17u
#define EXTRAVERSION  ".0-serai"
#define CAPABILITIES  "xen-3.0-x86_64 "
#define DENIED        "<denied>"

char version_cmdline[VERSION_CMDLINE_SIZE];

/* A fixed field of characters, the rest of it zeroes. */
static s64
put_text(u64 guest, const char *text, size_t size)
{
    char buf[VERSION_CMDLINE_SIZE];

    memset(buf, 0, size);
    str_copy(buf, text, size);
    return copy_to_guest(guest, buf, size);
}

static s64
put_compile_info(u64 guest)
{
    struct xen_compile_info info;

    memset(&info, 0, sizeof(info));
    str_copy(info.compiler, "gcc " __VERSION__, sizeof(info.compiler));
    str_copy(info.compile_by, "serai", sizeof(info.compile_by));
    str_copy(info.compile_domain, "", sizeof(info.compile_domain));
    str_copy(info.compile_date, "", sizeof(info.compile_date)); /* builds are reproducible */
    return copy_to_guest(guest, &info, sizeof(info));
}

static s64
get_features(u64 guest)
{
    const struct domain *d = current->domain;
    struct xen_feature_info info;

    if (copy_from_guest(&info, guest, sizeof(info)))
        return -EFAULT;
    if (info.submap_idx >= XENFEAT_NR_SUBMAPS)
        return -EINVAL;
    info.submap = 1u << XENFEAT_memory_op_vnode_supported | 1u << XENFEAT_mmu_pt_update_preserve_ad |
                  1u << XENFEAT_highmem_assist | 1u << XENFEAT_gnttab_map_avail_bits |
                  1u << XENFEAT_direct_mapped;
    if (READ_ONCE(d->vm_assist) & 1ull << VMASST_TYPE_pae_extended_cr3)
        info.submap |= 1u << XENFEAT_pae_pgdir_above_4gb;
    if (d->is_hardware)
        info.submap |= 1u << XENFEAT_dom0;
    return copy_to_guest(guest, &info, sizeof(info));
}

static s64
put_platform_parameters(u64 guest)
{
    struct xen_platform_parameters parameters = {.virt_start = HYPERVISOR_START};

    return copy_to_guest(guest, &parameters, sizeof(parameters));
}

/* What costs more than a number. */
static __attribute__((noinline)) s64
version_text(const struct domain *d, const u64 *arg)
{
    switch ((u32)arg[0]) {
    case XENVER_extraversion:
        return put_text(arg[1], EXTRAVERSION, sizeof(xen_extraversion_t));
    case XENVER_compile_info:
        return put_compile_info(arg[1]);
    case XENVER_capabilities:
        return put_text(arg[1], CAPABILITIES, sizeof(xen_capabilities_info_t));
    case XENVER_changeset:
        return put_text(arg[1], "serai", sizeof(xen_changeset_info_t));
    case XENVER_platform_parameters:
        return put_platform_parameters(arg[1]);
    case XENVER_get_features:
        return get_features(arg[1]);
    case XENVER_guest_handle:
        return copy_to_guest(arg[1], d->handle, sizeof(d->handle));
    case XENVER_commandline:
        return d->is_privileged ? put_text(arg[1], version_cmdline, sizeof(version_cmdline))
                                : copy_to_guest(arg[1], DENIED, sizeof(DENIED));
    case XENVER_build_id:
        return d->is_privileged ? -ENODATA : -EPERM;
    default:
        return -ENOSYS;
    }
}

s64
hypercall_xen_version(u64 *arg)
{
    switch ((u32)arg[0]) {
    case XENVER_version:
        return VERSION_MAJOR << 16 | VERSION_MINOR;
    case XENVER_pagesize:
        return arg[1] ? -EINVAL : (s64)PAGE_SIZE;
    default:
        return version_text(current->domain, arg);
    }
}

/* --- vm_assist --- */

#define ASSIST_VALID                                                                     \
    (1ull << VMASST_TYPE_4gb_segments | 1ull << VMASST_TYPE_4gb_segments_notify |        \
     1ull << VMASST_TYPE_writable_pagetables | 1ull << VMASST_TYPE_pae_extended_cr3 |    \
     1ull << VMASST_TYPE_architectural_iopl | 1ull << VMASST_TYPE_runstate_update_flag | \
     1ull << VMASST_TYPE_m2p_strict)

s64
hypercall_vm_assist(u64 *arg)
{
    struct domain *d = current->domain;
    u32 cmd = arg[0], type = arg[1];

    if (type >= 64 || !(ASSIST_VALID >> type & 1))
        return -EINVAL;
    switch (cmd) {
    case VMASST_CMD_enable:
        atomic_or(&d->vm_assist, 1ull << type);
        return 0;
    case VMASST_CMD_disable:
        atomic_and(&d->vm_assist, ~(1ull << type));
        return 0;
    default:
        return -ENOSYS;
    }
}
