/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * HYPERVISOR_physdev_op: interrupts, PCI and I/O privileges of whoever drives devices.
 *
 * What concerns the machine is for the hardware domain; a domain's own I/O privilege is its own affair, since
 * its port permissions are checked behind it.  Handlers act on the calling domain.
 */
#include "domain/evtchn.h"
#include "domain/pirq.h"
#include "hypercall/hypercall.h"
#include "mm/guest-copy.h"
#include "x86/irq.h"

static struct domain *
own_or_null(u16 domid)
{
    struct domain *d = current->domain;

    return domid == DOMID_SELF || domid == d->id ? d : NULL;
}

/* --- interrupts that are bound --- */

static int
physdevop_eoi(void *arg)
{
    const struct physdev_eoi *op = arg;
    struct domain *d = current->domain;

    if (op->irq >= pirq_count(d))
        return -EINVAL;
    pirq_eoi(d, op->irq);
    return 0;
}

static int
physdevop_irq_status_query(void *arg)
{
    struct physdev_irq_status_query *op = arg;
    struct domain *d = current->domain;

    if (op->irq >= pirq_count(d))
        return -EINVAL;
    op->flags = pirq_needs_eoi(d, op->irq) ? XENIRQSTAT_needs_eoi : 0;
    return 0;
}

/*
 * The page that spares the query above.  Version 1, where an EOI unmasks the event channel too, is for
 * kernels older than any that run here: they ask for version 2 or do without.
 */
static int
physdevop_pirq_eoi_gmfn_v2(void *arg)
{
    const struct physdev_pirq_eoi_gmfn *op = arg;

    return pirq_set_eoi_page(current->domain, _mfn(op->gmfn), false);
}

/* --- I/O privileges --- */

static int
physdevop_set_iopl(void *arg)
{
    const struct physdev_set_iopl *op = arg;

    if (op->iopl > 3)
        return -EINVAL;
    current->pv.iopl = op->iopl;
    return 0;
}

static int
physdevop_set_iobitmap(void *arg)
{
    const struct physdev_set_iobitmap *op = arg;

    if (op->nr_ports > 65536)
        return -EINVAL;
    current->pv.iobmp = op->bitmap.p;
    current->pv.iobmp_limit = op->nr_ports;
    return 0;
}

/* --- IO-APICs, pins and messages --- */

static int
physdevop_apic_read(void *arg)
{
    struct physdev_apic *op = arg;

    return ioapic_read(op->apic_physbase, op->reg, &op->value) ? 0 : -EINVAL;
}

/* Routing is the hypervisor's: the mode of a pin comes by setup_gsi, so there is nothing to write. */
static int
physdevop_apic_write(void *arg)
{
    const struct physdev_apic *op = arg;

    return ioapic_exists(op->apic_physbase) ? 0 : -EINVAL;
}

/* Old kernels ask for a vector for a pin; any number that names the pin again will do. */
static int
physdevop_alloc_irq_vector(void *arg)
{
    struct physdev_irq *op = arg;

    if (op->irq >= irq_gsi_count())
        return -EINVAL;
    op->vector = op->irq;
    return 0;
}

static int
physdevop_free_irq_vector(void *arg)
{
    (void)arg;
    return 0;
}

static int
physdevop_setup_gsi(void *arg)
{
    const struct physdev_setup_gsi *op = arg;

    if (op->gsi < 0 || (u32)op->gsi >= irq_gsi_count())
        return -EINVAL;
    if (irq_is_ours(op->gsi))
        return -EPERM;
    return irq_set_mode(op->gsi, op->triggering, op->polarity);
}

/* Segment in bits 16 to 31 of @bus, where the type says so. */
static struct pci_address
pci_of(const struct physdev_map_pirq *op)
{
    return (struct pci_address){op->type == MAP_PIRQ_TYPE_MSI ? 0 : op->bus >> 16, op->bus, op->devfn};
}

static int
physdevop_map_pirq(void *arg)
{
    struct physdev_map_pirq *op = arg;
    struct domain *d = own_or_null(op->domid);
    unsigned count;
    int rc;

    if (!d)
        return -ESRCH;
    switch (op->type) {
    case MAP_PIRQ_TYPE_GSI:
        return op->index < 0 ? -EINVAL : pirq_map_gsi(d, op->index, &op->pirq);

    case MAP_PIRQ_TYPE_MSI:
    case MAP_PIRQ_TYPE_MSI_SEG:
        if (op->table_base)
            return op->entry_nr < 0 ? -EINVAL
                                    : pirq_map_msix(d, pci_of(op), op->entry_nr, op->table_base, &op->pirq);
        return pirq_map_msi(d, pci_of(op), 1, &op->pirq);

    case MAP_PIRQ_TYPE_MULTI_MSI:
        if (op->entry_nr < 1 || op->entry_nr > 32)
            return -EINVAL;
        for (count = 1; count < (unsigned)op->entry_nr; count *= 2)
            ;
        rc = pirq_map_msi(d, pci_of(op), count, &op->pirq);
        /* The caller may try again with what could be had; one always can. */
        if (rc == -ENOSPC && count > 1)
            op->entry_nr = 1;
        return rc;

    default:
        return -EINVAL;
    }
}

static int
physdevop_unmap_pirq(void *arg)
{
    const struct physdev_unmap_pirq *op = arg;
    struct domain *d = own_or_null(op->domid);

    return !d ? -ESRCH : op->pirq < 0 ? -EINVAL : pirq_unmap(d, op->pirq);
}

static int
physdevop_get_free_pirq(void *arg)
{
    struct physdev_get_free_pirq *op = arg;
    s32 pirq = 0;
    int rc;

    if (op->type != MAP_PIRQ_TYPE_GSI && op->type != MAP_PIRQ_TYPE_MSI)
        return -EINVAL;
    rc = pirq_reserve(current->domain, op->type == MAP_PIRQ_TYPE_MSI, &pirq);
    if (!rc)
        op->pirq = pirq;
    return rc;
}

/* --- PCI: only the devices' messages and configuration space are the hypervisor's business --- */

static int
physdevop_pci_known(void *arg)
{
    (void)arg;
    return 0;
}

static int
physdevop_restore_msi(void *arg)
{
    const struct physdev_restore_msi *op = arg;

    irq_restore_msi((struct pci_address){0, op->bus, op->devfn});
    return 0;
}

static int
physdevop_restore_msi_ext(void *arg)
{
    const struct physdev_pci_device *op = arg;

    irq_restore_msi((struct pci_address){op->seg, op->bus, op->devfn});
    return 0;
}

static int
physdevop_pci_mmcfg_reserved(void *arg)
{
    const struct physdev_pci_mmcfg_reserved *op = arg;
    u64 mfn = op->address >> PAGE_SHIFT;

    if (!(op->flags & XEN_PCI_MMCFG_RESERVED))
        return 0; /* not usable: the ports remain */
    if (mfn >= MFN_LIMIT || frame_valid(_mfn(mfn)))
        return -EINVAL;
    return pci_add_mmcfg(op->address, op->segment, op->start_bus, op->end_bus);
}

/* clang-format off */
static const struct subop physdev_ops[] = {
    /*                                name               handler                       size                              copies  who             */
    [PHYSDEVOP_irq_status_query] =   {"irq_status_query", physdevop_irq_status_query,  sizeof(struct physdev_irq_status_query), IN_OUT, ANY_DOMAIN},
    [PHYSDEVOP_set_iopl] =           {"set_iopl",        physdevop_set_iopl,           sizeof(struct physdev_set_iopl),      IN,     ANY_DOMAIN},
    [PHYSDEVOP_set_iobitmap] =       {"set_iobitmap",    physdevop_set_iobitmap,       sizeof(struct physdev_set_iobitmap),  IN,     ANY_DOMAIN},
    [PHYSDEVOP_apic_read] =          {"apic_read",       physdevop_apic_read,          sizeof(struct physdev_apic),          IN_OUT, HARDWARE_DOMAIN},
    [PHYSDEVOP_apic_write] =         {"apic_write",      physdevop_apic_write,         sizeof(struct physdev_apic),          IN,     HARDWARE_DOMAIN},
    [PHYSDEVOP_alloc_irq_vector] =   {"alloc_irq_vector", physdevop_alloc_irq_vector,  sizeof(struct physdev_irq),           IN_OUT, HARDWARE_DOMAIN},
    [PHYSDEVOP_free_irq_vector] =    {"free_irq_vector", physdevop_free_irq_vector,    sizeof(struct physdev_irq),           IN,     HARDWARE_DOMAIN},
    [PHYSDEVOP_eoi] =                {"eoi",             physdevop_eoi,                sizeof(struct physdev_eoi),           IN,     ANY_DOMAIN},
    [PHYSDEVOP_map_pirq] =           {"map_pirq",        physdevop_map_pirq,           sizeof(struct physdev_map_pirq),      IN_OUT, HARDWARE_DOMAIN},
    [PHYSDEVOP_unmap_pirq] =         {"unmap_pirq",      physdevop_unmap_pirq,         sizeof(struct physdev_unmap_pirq),    IN,     HARDWARE_DOMAIN},
    [PHYSDEVOP_manage_pci_add] =     {"manage_pci_add",  physdevop_pci_known,          sizeof(struct physdev_manage_pci),    IN,     HARDWARE_DOMAIN},
    [PHYSDEVOP_manage_pci_remove] =  {"manage_pci_remove", physdevop_pci_known,        sizeof(struct physdev_manage_pci),    IN,     HARDWARE_DOMAIN},
    [PHYSDEVOP_restore_msi] =        {"restore_msi",     physdevop_restore_msi,        sizeof(struct physdev_restore_msi),   IN,     HARDWARE_DOMAIN},
    [PHYSDEVOP_manage_pci_add_ext] = {"manage_pci_add_ext", physdevop_pci_known,       sizeof(struct physdev_manage_pci_ext), IN,    HARDWARE_DOMAIN},
    [PHYSDEVOP_setup_gsi] =          {"setup_gsi",       physdevop_setup_gsi,          sizeof(struct physdev_setup_gsi),     IN,     HARDWARE_DOMAIN},
    [PHYSDEVOP_get_free_pirq] =      {"get_free_pirq",   physdevop_get_free_pirq,      sizeof(struct physdev_get_free_pirq), IN_OUT, HARDWARE_DOMAIN},
    [PHYSDEVOP_pci_mmcfg_reserved] = {"pci_mmcfg_reserved", physdevop_pci_mmcfg_reserved, sizeof(struct physdev_pci_mmcfg_reserved), IN, HARDWARE_DOMAIN},
    [PHYSDEVOP_pci_device_add] =     {"pci_device_add",  physdevop_pci_known,          offsetof(struct physdev_pci_device_add, optarr), IN, HARDWARE_DOMAIN},
    [PHYSDEVOP_pci_device_remove] =  {"pci_device_remove", physdevop_pci_known,        sizeof(struct physdev_pci_device),    IN,     HARDWARE_DOMAIN},
    [PHYSDEVOP_restore_msi_ext] =    {"restore_msi_ext", physdevop_restore_msi_ext,    sizeof(struct physdev_pci_device),    IN,     HARDWARE_DOMAIN},
    [PHYSDEVOP_pirq_eoi_gmfn_v2] =   {"pirq_eoi_gmfn_v2", physdevop_pirq_eoi_gmfn_v2,  sizeof(struct physdev_pirq_eoi_gmfn), IN,     ANY_DOMAIN},
    [PHYSDEVOP_dbgp_op] =            {"dbgp_op",         physdevop_pci_known,          sizeof(struct physdev_dbgp_op),       IN,     HARDWARE_DOMAIN},
    [PHYSDEVOP_prepare_msix] =       {"prepare_msix",    physdevop_pci_known,          sizeof(struct physdev_pci_device),    IN,     HARDWARE_DOMAIN},
    [PHYSDEVOP_release_msix] =       {"release_msix",    physdevop_pci_known,          sizeof(struct physdev_pci_device),    IN,     HARDWARE_DOMAIN},
};
/* clang-format on */

s64
hypercall_physdev_op(u64 *arg)
{
    return subop_call(physdev_ops, ARRAY_SIZE(physdev_ops), arg[0], arg[1]);
}

/* The form of before 2006: the number is in the argument, which has the argument of today behind it. */
s64
hypercall_physdev_op_compat(u64 *arg)
{
    u32 cmd;

    if (copy_from_guest(&cmd, arg[0], sizeof(cmd)))
        return -EFAULT;
    switch (cmd) {
    case PHYSDEVOP_irq_status_query:
    case PHYSDEVOP_set_iopl:
    case PHYSDEVOP_set_iobitmap:
    case PHYSDEVOP_apic_read:
    case PHYSDEVOP_apic_write:
    case PHYSDEVOP_alloc_irq_vector:
        return subop_call(physdev_ops, ARRAY_SIZE(physdev_ops), cmd, arg[0] + offsetof(struct physdev_op, u));
    default:
        return -ENOSYS;
    }
}
