/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a PV kernel finds in its registers and on its first page: start_info_t and the initial vCPU
 * (<xen/xen.h>, <xen/arch-x86/xen.h>).
 */
#include "private/build.h"

#include <sys/mman.h>

/* Reset values of the debug registers (APM vol. 2, table 14-1). */
#define DR6_RESET 0xffff0ff0UL
#define DR7_RESET 0x00000400UL

gboolean
serai_start_info_write(SeraiGuestMemory *memory, const SeraiLayout *layout, const SeraiConfig *config,
                       const SeraiBoot *boot, uint64_t shared_info_frame, GError **error)
{
    xen_pfn_t frame = shared_info_frame;
    start_info_t *info = serai_memory_map(memory, layout->start_info_pfn, 1, error);
    shared_info_t *shared;

    if (!info)
        return FALSE;
    memset(info, 0, SERAI_PAGE_SIZE);
    g_strlcpy(info->magic, "xen-3.0-x86_64", sizeof(info->magic));
    info->nr_pages = memory->page_count;
    info->shared_info = shared_info_frame << SERAI_PAGE_SHIFT;
    info->pt_base = layout->virt_base + (layout->tables_pfn << SERAI_PAGE_SHIFT);
    info->nr_pt_frames = layout->tables_count;
    info->mfn_list = layout->p2m_virt;
    info->store_mfn = memory->p2m[layout->store_pfn];
    info->store_evtchn = boot->store_port;
    info->console.domU.mfn = memory->p2m[layout->console_pfn];
    info->console.domU.evtchn = boot->console_port;
    if (layout->p2m_tables_count) {
        info->first_p2m_pfn = layout->p2m_pfn;
        info->nr_p2m_frames = layout->p2m_pages + layout->p2m_tables_count;
    }
    if (layout->initrd_size) {
        info->mod_len = layout->initrd_size;
        if (layout->initrd_unmapped) {
            info->mod_start = layout->initrd_pfn;
            info->flags |= SIF_MOD_START_PFN;
        } else {
            info->mod_start = layout->virt_base + (layout->initrd_pfn << SERAI_PAGE_SHIFT);
        }
    }
    if (config->cmdline)
        g_strlcpy((char *)info->cmd_line, config->cmdline, sizeof(info->cmd_line));
    serai_hv_unmap(memory->hv, info, 1);

    /* No vCPU may take an event before its kernel says so. */
    shared = serai_hv_map(memory->hv, memory->domid, PROT_READ | PROT_WRITE, 1, &frame, error);
    if (!shared)
        return FALSE;
    memset(shared, 0, SERAI_PAGE_SIZE);
    for (guint i = 0; i < XEN_LEGACY_MAX_VCPUS; i++)
        shared->vcpu_info[i].evtchn_upcall_mask = 1;
    serai_hv_unmap(memory->hv, shared, 1);
    return TRUE;
}

gboolean
serai_vcpu_start(SeraiGuestMemory *memory, const SeraiLayout *layout, uint64_t entry, GError **error)
{
    g_autofree vcpu_guest_context_t *context = g_new0(vcpu_guest_context_t, 1);

    context->flags = VGCF_in_kernel | VGCF_online;
    context->user_regs.rip = entry;
    context->user_regs.rsp = layout->virt_base + ((layout->stack_pfn + 1) << SERAI_PAGE_SHIFT);
    context->user_regs.rsi = layout->virt_base + (layout->start_info_pfn << SERAI_PAGE_SHIFT);
    context->user_regs.rflags = 1UL << 9;
    context->user_regs.ds = FLAT_KERNEL_DS;
    context->user_regs.es = FLAT_KERNEL_DS;
    context->user_regs.fs = FLAT_KERNEL_DS;
    context->user_regs.gs = FLAT_KERNEL_DS;
    context->user_regs.ss = FLAT_KERNEL_SS;
    context->user_regs.cs = FLAT_KERNEL_CS;
    context->kernel_ss = context->user_regs.ss;
    context->kernel_sp = context->user_regs.rsp;
    context->debugreg[6] = DR6_RESET;
    context->debugreg[7] = DR7_RESET;
    context->ctrlreg[3] = memory->p2m[layout->tables_pfn] << SERAI_PAGE_SHIFT;
    return serai_hv_set_context(memory->hv, memory->domid, 0, context, error);
}
