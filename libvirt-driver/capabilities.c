/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the host and its domains can be.
 *
 * Only what can be started is listed: kinds of guests that the hypervisor names and the library can build,
 * paths that exist.  Tools choose from these lists, so a wrong promise here is an error message there.
 */
#include "capabilities.h"
#include "error.h"
#include "validate.h"

#include "cpu/cpu.h"
#include "cpu_conf.h"
#include "vircommand.h"
#include "virhostcpu.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.capabilities");

/* Debian's device model for Xen, and QEMU's own name for the same program. */
static const char *emulators[] = {"/usr/libexec/xen-qemu-system-i386", "/usr/bin/qemu-system-x86_64"};

static const char *
findEmulator(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(emulators); i++) {
        if (virFileIsExecutable(emulators[i]))
            return emulators[i];
    }
    return NULL;
}

/* Whether findEmulator()'s can open a window; asked once, for the answer takes a process. */
static bool
emulatorHasWindows(void)
{
    static gsize answer;
    const char *emulator;
    g_autofree char *text = NULL;
    g_auto(GStrv) displays = NULL;
    g_autoptr(virCommand) command = NULL;

    if (g_once_init_enter(&answer)) {
        emulator = findEmulator();
        if (emulator) {
            command = virCommandNewArgList(emulator, "-display", "help", NULL);
            virCommandSetOutputBuffer(command, &text);
            if (virCommandRun(command, NULL) < 0)
                virResetLastError();
        }
        displays = g_strsplit(NULLSTR_EMPTY(text), "\n", -1);
        g_once_init_leave(&answer, g_strv_contains((const char *const *)displays, "sdl") ? 2 : 1);
    }
    return answer == 2;
}

static void
initCPU(virCaps *caps, const SeraiHostInfo *info)
{
    virErrorPtr error;

    virErrorPreserveLast(&error);
    /*
     * The CPU is asked as domain 0 sees it, which is what a paravirtualized guest sees too.  An emulated
     * CPU may fit no model of libvirt's list; a host without a model is better than none.
     */
    caps->host.cpu = virCPUProbeHost(caps->host.arch);
    if (!caps->host.cpu) {
        VIR_WARN("the CPU of this host fits no model: %s", virGetLastErrorMessage());
        caps->host.cpu = virCPUDefNew();
        caps->host.cpu->type = VIR_CPU_TYPE_HOST;
        caps->host.cpu->arch = caps->host.arch;
    }
    virErrorRestore(&error);

    caps->host.cpu->sockets = MAX(info->socket_count, 1);
    caps->host.cpu->dies = 1;
    caps->host.cpu->cores = MAX(info->cores_per_socket, 1);
    caps->host.cpu->threads = MAX(info->threads_per_core, 1);
}

static void
addCell(virCaps *caps, unsigned int number, const SeraiNode *node, GArray *cpus)
{
    g_autofree virCapsHostNUMACellCPU *list = g_new0(virCapsHostNUMACellCPU, cpus->len);
    virCapsHostNUMACellCPU *owned;
    virNumaDistance *distances = NULL;
    virCapsHostNUMACellPageInfo *pages;
    int ndistances = node->distances ? node->distances->len : 0;
    int count = 0;
    size_t i, j;

    for (i = 0; i < cpus->len; i++) {
        const SeraiCpu *cpu = &g_array_index(cpus, SeraiCpu, i);

        if (!cpu->online || cpu->node != number)
            continue;
        list[count].id = i;
        list[count].socket_id = cpu->socket;
        list[count].core_id = cpu->core;
        list[count].siblings = virBitmapNew(cpus->len);
        for (j = 0; j < cpus->len; j++) {
            const SeraiCpu *other = &g_array_index(cpus, SeraiCpu, j);

            if (other->online && other->node == cpu->node && other->socket == cpu->socket &&
                other->core == cpu->core)
                ignore_value(virBitmapSetBit(list[count].siblings, j));
        }
        count++;
    }

    if (ndistances > 0) {
        distances = g_new0(virNumaDistance, ndistances);
        for (i = 0; i < (size_t)ndistances; i++) {
            distances[i].cellid = i;
            distances[i].value = g_array_index(node->distances, guint, i);
        }
    }
    /* The one size that the hypervisor counts. */
    pages = g_new0(virCapsHostNUMACellPageInfo, 1);
    pages->size = XEN_PAGE_KIB;
    pages->avail = node->total_kib / XEN_PAGE_KIB;
    owned = g_steal_pointer(&list);
    virCapabilitiesHostNUMAAddCell(caps->host.numa, number, node->total_kib, count, &owned, ndistances,
                                   &distances, 1, &pages, NULL);
}

static int
initNuma(xenDriver *driver, virCaps *caps)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) cpus = serai_host_get_cpus(driver->host, &error);
    g_autoptr(GPtrArray) nodes = cpus ? serai_host_get_nodes(driver->host, &error) : NULL;
    size_t i;

    if (!nodes) {
        xenReportError(&error, "%s", _("cannot ask for the topology of the host"));
        return -1;
    }
    caps->host.nPagesSize = 1;
    caps->host.pagesSize = g_new0(unsigned int, 1);
    caps->host.pagesSize[0] = XEN_PAGE_KIB;
    caps->host.numa = virCapabilitiesHostNUMANew();
    for (i = 0; i < nodes->len; i++) {
        const SeraiNode *node = g_ptr_array_index(nodes, i);

        if (node->present)
            addCell(caps, i, node, cpus);
    }
    return 0;
}

static void
addGuest(virCaps *caps, virDomainOSType ostype, const char *machine)
{
    const char *const machines[] = {machine};
    virCapsGuest *guest;

    guest = virCapabilitiesAddGuest(caps, ostype, VIR_ARCH_X86_64, findEmulator(), NULL, 1,
                                    virCapabilitiesAllocMachines(machines, 1));
    virCapabilitiesAddGuestDomain(guest, VIR_DOMAIN_VIRT_XEN, NULL, NULL, 0, NULL);
}

virCaps *
xenCapabilitiesNew(xenDriver *driver)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(xenHostInfo) info = serai_host_get_info(driver->host, &error);
    g_autoptr(virCaps) caps = NULL;

    if (!info) {
        xenReportError(&error, "%s", _("cannot ask for the capabilities of the hypervisor"));
        return NULL;
    }
    caps = virCapabilitiesNew(virArchFromHost(), false, false);
    if (!caps)
        return NULL;

    initCPU(caps, info);
    if (initNuma(driver, caps) < 0 || virCapabilitiesSetNetPrefix(caps, "vif") < 0)
        return NULL;
    if (virGetHostUUID(caps->host.host_uuid) < 0)
        virResetLastError();

    if (info->has_pv)
        addGuest(caps, VIR_DOMAIN_OSTYPE_XEN, "xenpv");
    return g_steal_pointer(&caps);
}

/* A hypervisor that cannot be asked has none. */
static void
fillHostdevs(xenDriver *driver, virDomainCapsDeviceHostdev *hostdev)
{
    g_autoptr(xenHostInfo) info = serai_host_get_info(driver->host, NULL);

    if (!info || !info->has_passthrough) {
        hostdev->supported = VIR_TRISTATE_BOOL_NO;
        return;
    }
    hostdev->supported = VIR_TRISTATE_BOOL_YES;
    hostdev->mode.report = hostdev->subsysType.report = hostdev->pciBackend.report = true;
    VIR_DOMAIN_CAPS_ENUM_SET(hostdev->mode, VIR_DOMAIN_HOSTDEV_MODE_SUBSYS);
    VIR_DOMAIN_CAPS_ENUM_SET(hostdev->subsysType, VIR_DOMAIN_HOSTDEV_SUBSYS_TYPE_PCI);
    VIR_DOMAIN_CAPS_ENUM_SET(hostdev->pciBackend, VIR_DOMAIN_HOSTDEV_PCI_BACKEND_XEN);
}

static void
fillDevices(virDomainCaps *caps)
{
    caps->os.supported = VIR_TRISTATE_BOOL_YES;
    caps->os.firmware.report = true;
    caps->os.loader.supported = VIR_TRISTATE_BOOL_NO;

    caps->cpu.hostPassthrough = true;
    caps->cpu.hostPassthroughMigratable.report = true;

    caps->disk.supported = VIR_TRISTATE_BOOL_YES;
    caps->disk.diskDevice.report = caps->disk.bus.report = caps->disk.model.report = true;
    VIR_DOMAIN_CAPS_ENUM_SET(caps->disk.diskDevice, VIR_DOMAIN_DISK_DEVICE_DISK,
                             VIR_DOMAIN_DISK_DEVICE_CDROM);
    /* Virtio is listed because it is accepted: such a disk becomes one on the bus of Xen. */
    VIR_DOMAIN_CAPS_ENUM_SET(caps->disk.bus, VIR_DOMAIN_DISK_BUS_XEN, VIR_DOMAIN_DISK_BUS_VIRTIO);

    caps->graphics.supported = VIR_TRISTATE_BOOL_YES;
    caps->graphics.type.report = true;
    VIR_DOMAIN_CAPS_ENUM_SET(caps->graphics.type, VIR_DOMAIN_GRAPHICS_TYPE_VNC);
    /* A program that the caller names is not run to find out. */
    if (STREQ_NULLABLE(caps->path, findEmulator()) && emulatorHasWindows())
        VIR_DOMAIN_CAPS_ENUM_SET(caps->graphics.type, VIR_DOMAIN_GRAPHICS_TYPE_SDL);

    caps->video.supported = VIR_TRISTATE_BOOL_YES;
    caps->video.modelType.report = true;
    VIR_DOMAIN_CAPS_ENUM_SET(caps->video.modelType, VIR_DOMAIN_VIDEO_TYPE_XEN);

    caps->channel.supported = VIR_TRISTATE_BOOL_YES;
    caps->channel.type.report = true;
    VIR_DOMAIN_CAPS_ENUM_SET(caps->channel.type, VIR_DOMAIN_CHR_TYPE_PTY, VIR_DOMAIN_CHR_TYPE_UNIX);

    caps->rng.supported = VIR_TRISTATE_BOOL_NO;
    caps->filesystem.supported = VIR_TRISTATE_BOOL_NO;
    caps->tpm.supported = VIR_TRISTATE_BOOL_NO;
    caps->redirdev.supported = VIR_TRISTATE_BOOL_NO;
    caps->memoryBacking.supported = VIR_TRISTATE_BOOL_NO;

    caps->features[VIR_DOMAIN_CAPS_FEATURE_IOTHREADS] = VIR_TRISTATE_BOOL_NO;
    caps->features[VIR_DOMAIN_CAPS_FEATURE_VMCOREINFO] = VIR_TRISTATE_BOOL_NO;
    caps->features[VIR_DOMAIN_CAPS_FEATURE_GENID] = VIR_TRISTATE_BOOL_NO;
    caps->features[VIR_DOMAIN_CAPS_FEATURE_BACKING_STORE_INPUT] = VIR_TRISTATE_BOOL_NO;
    caps->features[VIR_DOMAIN_CAPS_FEATURE_BACKUP] = VIR_TRISTATE_BOOL_NO;
}

virDomainCaps *
xenCapabilitiesDomain(xenDriver *driver, const char *emulator, const char *arch_name, const char *machine,
                      const char *virttype)
{
    g_autoptr(virDomainCaps) caps = NULL;
    int type = virttype ? virDomainVirtTypeFromString(virttype) : VIR_DOMAIN_VIRT_XEN;
    virArch arch = arch_name ? virArchFromString(arch_name) : virArchFromHost();

    if (type != VIR_DOMAIN_VIRT_XEN && type != VIR_DOMAIN_VIRT_QEMU && type != VIR_DOMAIN_VIRT_KVM) {
        virReportError(VIR_ERR_INVALID_ARG, _("unknown virtualization type '%s'"), NULLSTR(virttype));
        return NULL;
    }
    if (arch != VIR_ARCH_X86_64) {
        virReportError(VIR_ERR_INVALID_ARG, _("no guests of architecture '%s'"), NULLSTR(arch_name));
        return NULL;
    }
    if (!machine)
        machine = "xenpv";
    /* PVH and HVM guests are not built yet, so their machines are not known either. */
    if (STRNEQ(machine, "xenpv") ||
        !virCapabilitiesDomainSupported(driver->caps, VIR_DOMAIN_OSTYPE_XEN, arch, VIR_DOMAIN_VIRT_XEN)) {
        virReportError(VIR_ERR_INVALID_ARG, _("'%s' is no machine that this host can run"), machine);
        return NULL;
    }
    if (!emulator)
        emulator = findEmulator();

    caps = virDomainCapsNew(NULLSTR_EMPTY(emulator), machine, arch, VIR_DOMAIN_VIRT_XEN);
    if (!caps)
        return NULL;
    caps->maxvcpus = XEN_MAX_VCPUS;
    fillDevices(caps);
    fillHostdevs(driver, &caps->hostdev);
    return g_steal_pointer(&caps);
}

virDomainDef *
xenCapabilitiesDomain0(xenDriver *driver, const SeraiDomainInfo *info)
{
    g_autoptr(virDomainDef) def = virDomainDefNew(driver->xmlopt);

    if (!def)
        return NULL;
    def->id = 0;
    def->virtType = VIR_DOMAIN_VIRT_XEN;
    def->name = g_strdup("Domain-0");
    def->os.type = VIR_DOMAIN_OSTYPE_XEN;
    def->os.arch = virArchFromHost();
    def->os.machine = g_strdup("xenpv");
    /* The same on every host, so that "Domain-0" is found by it. */
    memset(def->uuid, 0, VIR_UUID_BUFLEN);

    if (virDomainDefSetVcpusMax(def, MAX(info->max_vcpus, 1), driver->xmlopt) < 0 ||
        virDomainDefSetVcpus(def, CLAMP(info->vcpus, 1, MAX(info->max_vcpus, 1))) < 0)
        return NULL;
    def->mem.cur_balloon = info->memory_kib;
    /* No limit is written as all ones; what it has is then the more useful answer. */
    virDomainDefSetMemoryTotal(def, info->max_memory_kib > (1ULL << 42)
                                        ? info->memory_kib
                                        : MAX(info->max_memory_kib, info->memory_kib));
    return g_steal_pointer(&def);
}
