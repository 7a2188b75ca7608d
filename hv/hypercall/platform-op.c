/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * HYPERVISOR_platform_op: the hardware domain on the machine's clock, firmware, power and CPUs.
 *
 * Frequencies and idle states are the CPUs' own affair here, so what dom0's ACPI driver uploads is accepted
 * and not used; memory types are PAT's; CPUs stay as they were at boot.
 */
#include "hypercall/hypercall.h"
#include "hypercall/platform.h"
#include "base/string.h"
#include "domain/cpu-policy.h"
#include "mm/guest-copy.h"
#include "x86/apic.h"
#include "x86/machine.h"
#include "x86/tsc.h"

struct platform_op {
    int (*handler)(struct xen_platform_op *op);
    bool out; /* success has changed the struct; the caller gets it back */
};

struct efi_system efi_system;

/* --- clock --- */

static int
set_time(u64 sec, u32 nsec, u64 system_time_ns)
{
    if (nsec >= 1000000000)
        return -EINVAL;
    time_set_wallclock(sec, nsec, system_time_ns);
    time_update_all_wallclocks();
    return 0;
}

static int
xenpf_settime32(struct xen_platform_op *op)
{
    return set_time(op->u.settime32.secs, op->u.settime32.nsecs, op->u.settime32.system_time);
}

static int
xenpf_settime64(struct xen_platform_op *op)
{
    if (op->u.settime64.mbz)
        return -EINVAL;
    return set_time(op->u.settime64.secs, op->u.settime64.nsecs, op->u.settime64.system_time);
}

/* --- memory types, microcode, quirks --- */

static int
xenpf_no_such_register(struct xen_platform_op *op)
{
    (void)op;
    return -EINVAL;
}

static int
xenpf_not_supported(struct xen_platform_op *op)
{
    (void)op;
    return -EOPNOTSUPP;
}

static int
xenpf_platform_quirk(struct xen_platform_op *op)
{
    switch (op->u.platform_quirk.quirk_id) {
    case QUIRK_NOIRQBALANCING:
    case QUIRK_IOAPIC_BAD_REGSEL:
    case QUIRK_IOAPIC_GOOD_REGSEL:
        return 0;
    }
    return -EINVAL;
}

/* --- firmware --- */

static int
efi_vendor(union xenpf_efi_info *info)
{
    u32 size = 0;

    while (size < sizeof(efi_system.vendor) - sizeof(u16) && efi_system.vendor[size / sizeof(u16)])
        size += sizeof(u16);
    size = MIN(size, info->vendor.bufsz & ~1u);
    info->vendor.revision = efi_system.firmware_revision;
    return copy_to_guest((u64)info->vendor.name.p, efi_system.vendor, size);
}

static int
efi_info(u32 index, union xenpf_efi_info *info)
{
    if (!efi_system.config_table)
        return -ENOSYS;
    switch (index) {
    case XEN_FW_EFI_VERSION:
    case XEN_FW_EFI_RT_VERSION:
        info->version = efi_system.revision;
        return 0;
    case XEN_FW_EFI_CONFIG_TABLE:
        info->cfg.addr = efi_system.config_table;
        info->cfg.nent = efi_system.config_entries;
        return 0;
    case XEN_FW_EFI_VENDOR:
        return efi_vendor(info);
    case XEN_FW_EFI_MEM_INFO:
    case XEN_FW_EFI_PCI_ROM:
    case XEN_FW_EFI_APPLE_PROPERTIES:
        return -ESRCH;
    }
    return -EINVAL;
}

/* The real-mode BIOS was not asked at boot for disks or a display, so there is nothing to tell of these. */
static int
xenpf_firmware_info(struct xen_platform_op *op)
{
    struct xenpf_firmware_info *info = &op->u.firmware_info;

    switch (info->type) {
    case XEN_FW_DISK_INFO:
    case XEN_FW_DISK_MBR_SIGNATURE:
    case XEN_FW_VBEDDC_INFO:
        return -ESRCH;
    case XEN_FW_EFI_INFO:
        return efi_info(info->index, &info->u.efi_info);
    case XEN_FW_KBD_SHIFT_FLAGS:
        if (info->index)
            return -ESRCH;
        info->u.kbd_shift_flags = 0;
        return 0;
    }
    return -EINVAL;
}

/* --- power --- */

static int
xenpf_enter_acpi_sleep(struct xen_platform_op *op)
{
    const struct xenpf_enter_acpi_sleep *sleep = &op->u.enter_acpi_sleep;

    if (sleep->flags) /* the sleep registers of hardware-reduced ACPI */
        return -EINVAL;
    return machine_enter_acpi_sleep(sleep->val_a, sleep->val_b, sleep->sleep_state);
}

static int
xenpf_not_here(struct xen_platform_op *op)
{
    (void)op;
    return -ENOSYS;
}

/*
 * _PDC: dom0 asks which of the firmware's abilities to turn on; those by fixed hardware (MWAIT, P-state
 * MSRs) it may not.
 */
static int
set_pdc(u64 bits)
{
    const u32 fixed_hardware = 0x1 | 0x4 | 0x100 | 0x200; /* P, T, C1, C2 and C3 */
    u32 word[3];

    if (copy_from_guest(word, bits, sizeof(word)))
        return -EFAULT;
    if (word[0] != 1 || !word[1])
        return -EINVAL;
    word[2] &= ~fixed_hardware;
    return copy_to_guest(bits, word, sizeof(word));
}

static int
xenpf_set_processor_pminfo(struct xen_platform_op *op)
{
    switch (op->u.set_pminfo.type) {
    case XEN_PM_CX:
    case XEN_PM_PX:
        return 0;
    case XEN_PM_PDC:
        return set_pdc((u64)op->u.set_pminfo.u.pdc.p);
    }
    return -EINVAL;
}

/* --- CPUs --- */

static int
xenpf_get_cpuinfo(struct xen_platform_op *op)
{
    struct xenpf_pcpuinfo *info = &op->u.pcpu_info;

    info->max_present = cpu_limit - 1;
    if (info->xen_cpuid >= cpu_limit || !cpumask_test(&cpu_online, info->xen_cpuid)) {
        info->flags = XEN_PCPU_FLAGS_INVALID;
        return 0;
    }
    info->flags = XEN_PCPU_FLAGS_ONLINE;
    info->apic_id = apic_id_of(info->xen_cpuid);
    info->acpi_id = info->xen_cpuid;
    return 0;
}

static int
xenpf_get_cpu_version(struct xen_platform_op *op)
{
    struct xenpf_pcpu_version *version = &op->u.pcpu_version;
    const struct cpuid_policy *host = cpu_policy_system[XEN_SYSCTL_cpu_policy_host];
    u32 fms = host ? host->basic[1].a : 0;

    version->max_present = cpu_limit - 1;
    memset(version->vendor_id, 0, sizeof(version->vendor_id));
    version->family = version->model = version->stepping = 0;
    if (!host || version->xen_cpuid >= cpu_limit || !cpumask_test(&cpu_online, version->xen_cpuid))
        return 0;

    memcpy(version->vendor_id, &host->basic[0].b, 4);
    memcpy(version->vendor_id + 4, &host->basic[0].d, 4);
    memcpy(version->vendor_id + 8, &host->basic[0].c, 4);
    version->stepping = fms & 0xf;
    version->family = fms >> 8 & 0xf;
    version->model = fms >> 4 & 0xf;
    if (version->family == 6 || version->family == 0xf)
        version->model |= fms >> 12 & 0xf0;
    if (version->family == 0xf)
        version->family += fms >> 20 & 0xff;
    return 0;
}

static int
xenpf_cpu_online(struct xen_platform_op *op)
{
    u32 cpu = op->u.cpu_ol.cpuid;

    if (cpu >= cpu_limit)
        return -EINVAL;
    return cpumask_test(&cpu_online, cpu) ? 0 : -EOPNOTSUPP;
}

static int
xenpf_cpu_offline(struct xen_platform_op *op)
{
    u32 cpu = op->u.cpu_ol.cpuid;

    if (cpu >= cpu_limit)
        return -EINVAL;
    return cpumask_test(&cpu_online, cpu) ? -EOPNOTSUPP : 0;
}

static int
xenpf_core_parking(struct xen_platform_op *op)
{
    struct xenpf_core_parking *parking = &op->u.core_parking;

    switch (parking->type) {
    case XEN_CORE_PARKING_SET:
        return parking->idle_nums ? -EOPNOTSUPP : 0;
    case XEN_CORE_PARKING_GET:
        parking->idle_nums = 0;
        return 0;
    }
    return -EINVAL;
}

static int
xenpf_resource_op(struct xen_platform_op *op)
{
    return op->u.resource_op.nr_entries ? -EOPNOTSUPP : 0;
}

/* No symbol table is loaded: the list ends where it begins. */
static int
xenpf_get_symbol(struct xen_platform_op *op)
{
    op->u.symdata.namelen = 0;
    op->u.symdata.address = 0;
    op->u.symdata.type = 0;
    return 0;
}

/* A number without a row answers -ENOSYS; so do calls into EFI's runtime services. */
static const struct platform_op platform_ops[] = {
    [XENPF_settime32] = {xenpf_settime32, false},
    [XENPF_add_memtype] = {xenpf_not_here, false},
    [XENPF_del_memtype] = {xenpf_no_such_register, false},
    [XENPF_read_memtype] = {xenpf_no_such_register, false},
    [XENPF_microcode_update] = {xenpf_not_supported, false},
    [XENPF_platform_quirk] = {xenpf_platform_quirk, false},
    [XENPF_get_cpu_version] = {xenpf_get_cpu_version, true},
    [XENPF_firmware_info] = {xenpf_firmware_info, true},
    [XENPF_enter_acpi_sleep] = {xenpf_enter_acpi_sleep, false},
    [XENPF_change_freq] = {xenpf_not_here, false},
    [XENPF_getidletime] = {xenpf_not_here, false},
    [XENPF_set_processor_pminfo] = {xenpf_set_processor_pminfo, false},
    [XENPF_get_cpuinfo] = {xenpf_get_cpuinfo, true},
    [XENPF_cpu_online] = {xenpf_cpu_online, false},
    [XENPF_cpu_offline] = {xenpf_cpu_offline, false},
    [XENPF_cpu_hotadd] = {xenpf_not_supported, false},
    [XENPF_mem_hotadd] = {xenpf_not_supported, false},
    [XENPF_core_parking] = {xenpf_core_parking, true},
    [XENPF_resource_op] = {xenpf_resource_op, false},
    [XENPF_settime64] = {xenpf_settime64, false},
    [XENPF_get_symbol] = {xenpf_get_symbol, true},
};

/* arg: struct xen_platform_op. */
s64
hypercall_platform_op(u64 *arg)
{
    const struct platform_op *row;
    struct xen_platform_op op;
    int rc;

    if (copy_from_guest(&op, arg[0], sizeof(op)))
        return -EFAULT;
    if (op.interface_version != XENPF_INTERFACE_VERSION)
        return -EACCES;
    if (op.cmd >= ARRAY_SIZE(platform_ops) || !platform_ops[op.cmd].handler)
        return -ENOSYS;
    row = &platform_ops[index_nospec(op.cmd, ARRAY_SIZE(platform_ops))];

    rc = row->handler(&op);
    if (!rc && row->out && copy_to_guest(arg[0], &op, sizeof(op)))
        rc = -EFAULT;
    return rc;
}
