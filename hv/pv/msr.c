/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Model-specific registers as PV guests see them.  A row says how a register, or a range of them, answers
 * reads and writes; a register without a row does not exist (#GP).  Nothing a guest writes reaches the
 * machine's registers, but its own segment bases and TSC_AUX.
 */
#include "pv/pv.h"

#include "base/log.h"
#include "base/string.h"
#include "x86/cpu.h"
#include "x86/tsc.h"

#define MSR_TSC         0x10
#define MSR_UCODE_REV   0x8b
#define MSR_MISC_ENABLE 0x1a0
#define MSR_HWCR        0xc0010015
#define MSR_HYPERCALL   0x40000000

#define APIC_BASE_BSP     (1ull << 8)
#define APIC_BASE_ENABLED (0xfee00000ull | 1ull << 11)
#define HWCR_TSC_FREQ_SEL (1ull << 24)

enum vendor { INTEL = 1, AMD = 2, ANY = 3 };

enum msr_policy {
    ZERO,      /* reads 0, writes are dropped */
    READ_ZERO, /* reads 0, writes fault */
    DROP,      /* reads fault, writes are dropped */
    RAW_HWDOM, /* the hardware domain reads the machine's value; all else faults */
    SPECIAL,   /* see special_read() and special_write() */
};

static const struct msr_row {
    u32 first, last;
    enum vendor vendor;
    enum msr_policy policy;
} rows[] = {
    {0x10, 0x10, ANY, SPECIAL},     /* TSC */
    {0x1b, 0x1b, ANY, SPECIAL},     /* APIC_BASE */
    {0x3a, 0x3a, INTEL, SPECIAL},   /* FEATURE_CONTROL */
    {0x79, 0x79, INTEL, DROP},      /* UCODE_WRITE: dom0 has a hypercall for it */
    {0x8b, 0x8b, ANY, SPECIAL},     /* microcode revision; Intel's is asked for by writing 0 first */
    {0xc1, 0xc8, INTEL, ZERO},      /* performance counters: none, as Linux finds by writing */
    {0xce, 0xce, INTEL, READ_ZERO}, /* PLATFORM_INFO */
    {0xe7, 0xe8, ANY, DROP},        /* MPERF, APERF */
    {0xfe, 0xfe, ANY, RAW_HWDOM},   /* MTRRcap and the MTRRs */
    {0x140, 0x140, INTEL, ZERO},    /* MISC_FEATURES_ENABLES */
    {0x179, 0x17b, ANY, ZERO},      /* MCG_CAP (no banks), MCG_STATUS, MCG_CTL */
    {0x186, 0x189, INTEL, ZERO},    /* PERFEVTSEL */
    {0x19a, 0x19a, INTEL, DROP},    /* THERM_CONTROL */
    {0x1a0, 0x1a0, INTEL, SPECIAL}, /* MISC_ENABLE */
    {0x1b0, 0x1b0, INTEL, DROP},    /* ENERGY_PERF_BIAS */
    {0x200, 0x21f, ANY, RAW_HWDOM},
    {0x250, 0x26f, ANY, RAW_HWDOM},
    {0x277, 0x277, ANY, SPECIAL}, /* PAT */
    {0x2ff, 0x2ff, ANY, RAW_HWDOM},
    {0x309, 0x30b, INTEL, ZERO},      /* fixed counters */
    {0x345, 0x345, INTEL, READ_ZERO}, /* PERF_CAPABILITIES */
    {0x38d, 0x390, INTEL, ZERO},
    {0x40000000, 0x40000000, ANY, SPECIAL},   /* places a hypercall page */
    {0xc0000080, 0xc0000080, ANY, SPECIAL},   /* EFER */
    {0xc0000100, 0xc0000103, ANY, SPECIAL},   /* FS, GS and the other GS base; TSC_AUX */
    {0xc0010000, 0xc0010007, AMD, ZERO},      /* performance counters */
    {0xc0010010, 0xc0010010, AMD, READ_ZERO}, /* SYSCFG */
    {0xc0010015, 0xc0010015, AMD, SPECIAL},   /* HWCR */
    {0xc001001f, 0xc001001f, AMD, ZERO},      /* NB_CFG */
    {0xc0010041, 0xc0010042, AMD, ZERO},      /* FID and VID */
    {0xc0010055, 0xc0010055, AMD, READ_ZERO}, /* interrupt pending: C1E is the hypervisor's affair */
    {0xc0010058, 0xc0010058, AMD, ZERO},      /* MMIO_CONF_BASE: dom0 reads ACPI's MCFG */
    {0xc0010061, 0xc001006b, AMD, ZERO},      /* P states */
    {0xc0010200, 0xc001020b, AMD, ZERO},      /* extended performance counters */
    {0xc0011020, 0xc0011020, AMD, ZERO},      /* LS_CFG */
    {0xc0011029, 0xc0011029, AMD, SPECIAL},   /* DE_CFG */
};

static enum vendor
machine_vendor(void)
{
    return !strcmp(cpu_features.vendor, "GenuineIntel") ? INTEL : AMD;
}

static const struct msr_row *
find_row(u32 msr)
{
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        if (msr >= rows[i].first && msr <= rows[i].last)
            return rows[i].vendor & machine_vendor() ? &rows[i] : NULL;
    return NULL;
}

/* Performance monitoring off, MWAIT not there, no branch or event stores. */
static u64
fix_misc_enable(u64 value)
{
    return (value & ~(1ull << 7 | 1ull << 18)) | 1ull << 11 | 1ull << 12 | 1ull << 23;
}

static u64
guest_efer(void)
{
    return EFER_SCE | EFER_LME | EFER_LMA | (cpu_features.nx ? EFER_NXE : 0);
}

static bool
special_read(struct vcpu *v, u32 msr, u64 *ret_value)
{
    switch (msr) {
    case MSR_TSC:
        *ret_value = tsc_read();
        return true;
    case MSR_APIC_BASE:
        *ret_value = APIC_BASE_ENABLED | (v->id ? 0 : APIC_BASE_BSP);
        return true;
    case 0x3a:
        *ret_value = 1; /* locked, and nothing on */
        return true;
    case MSR_UCODE_REV:
        return rdmsr_safe(msr, ret_value);
    case MSR_MISC_ENABLE:
        if (!rdmsr_safe(msr, ret_value))
            return false;
        *ret_value = fix_misc_enable(*ret_value);
        return true;
    case MSR_PAT:
        *ret_value = PAT_VALUE;
        return true;
    case MSR_EFER:
        *ret_value = guest_efer();
        return true;
    case MSR_FS_BASE:
        *ret_value = fsbase_read();
        return true;
    case MSR_GS_BASE:
        *ret_value = gsbase_read();
        return true;
    case MSR_SHADOW_GS_BASE:
        *ret_value = rdmsr(MSR_SHADOW_GS_BASE);
        return true;
    case MSR_TSC_AUX:
        *ret_value = v->tsc_aux;
        return cpu_features.rdtscp;
    case MSR_HWCR:
        *ret_value = tsc_is_invariant ? HWCR_TSC_FREQ_SEL : 0;
        return true;
    case 0xc0011029:
        *ret_value = 1ull << 1; /* LFENCE serialises */
        return true;
    default:
        return false;
    }
}

static bool
special_write(struct vcpu *v, u32 msr, u64 value)
{
    u64 now;

    switch (msr) {
    case MSR_UCODE_REV:
        return true;
    case MSR_MISC_ENABLE:
    case MSR_HWCR:
    case 0xc0011029:
        return true; /* as it is, whatever is asked for */
    case MSR_PAT:
    case MSR_EFER:
        return special_read(v, msr, &now) && value == now;
    case MSR_FS_BASE:
        if (!va_is_canonical(value))
            return false;
        fsbase_write(value);
        return true;
    case MSR_GS_BASE:
        if (!va_is_canonical(value))
            return false;
        gsbase_write(value);
        return true;
    case MSR_SHADOW_GS_BASE:
        if (!va_is_canonical(value))
            return false;
        wrmsr(MSR_SHADOW_GS_BASE, value);
        v->pv.gs_base_user = value;
        return true;
    case MSR_TSC_AUX:
        if (!cpu_features.rdtscp || value != (u32)value)
            return false;
        v->tsc_aux = value;
        pv_load_tsc_aux(v);
        return true;
    case MSR_HYPERCALL:
        /* Frame in the upper bits; the lower twelve choose one of several pages: there is but the first. */
        return !(value & (PAGE_SIZE - 1)) && !pv_hypercall_page_install(v->domain, _mfn(value >> PAGE_SHIFT));
    default:
        return false;
    }
}

bool
pv_rdmsr(struct vcpu *v, u32 msr, u64 *ret_value)
{
    const struct msr_row *row = find_row(msr);

    *ret_value = 0;
    if (row && (row->policy == ZERO || row->policy == READ_ZERO))
        return true;
    if (row && row->policy == RAW_HWDOM && v->domain->is_hardware && rdmsr_safe(msr, ret_value))
        return true;
    if (row && row->policy == SPECIAL && special_read(v, msr, ret_value))
        return true;

    /* Early boot code cannot take a #GP: until there is a handler, what the machine has reads as 0. */
    if (!v->pv.traps[13].address && msr >> 16 != 0x4000 && rdmsr_safe(msr, ret_value)) {
        *ret_value = 0;
        return true;
    }
    log_guest(LOG_DEBUG, "%s reads MSR %x, which it does not have", v->domain->name_for_log, msr);
    return false;
}

bool
pv_wrmsr(struct vcpu *v, u32 msr, u64 value)
{
    const struct msr_row *row = find_row(msr);

    if (row && (row->policy == ZERO || row->policy == DROP))
        return true;
    if (row && row->policy == SPECIAL && special_write(v, msr, value))
        return true;
    log_guest(LOG_DEBUG, "%s writes %llx to MSR %x, which it may not", v->domain->name_for_log,
              (unsigned long long)value, msr);
    return false;
}
