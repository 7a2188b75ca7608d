/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a domain should be, as a plain description. */
#ifndef SERAI_CONFIG_H
#define SERAI_CONFIG_H

#include <glib-object.h>
#include <serai-device.h>

G_BEGIN_DECLS

/**
 * SeraiDomainType:
 * @SERAI_DOMAIN_PV: paravirtualized: needs no VT-x or SVM.
 * @SERAI_DOMAIN_PVH: hardware memory and CPU virtualization, paravirtual devices.
 * @SERAI_DOMAIN_HVM: a whole machine with firmware.
 *
 * How a domain is virtualized.  Creation of PVH and HVM fails with %SERAI_ERROR_UNSUPPORTED at present.
 */
typedef enum {
    SERAI_DOMAIN_PV,
    SERAI_DOMAIN_PVH,
    SERAI_DOMAIN_HVM,
} SeraiDomainType;

/**
 * SeraiAction:
 * @SERAI_ACTION_DESTROY: release the domain.
 * @SERAI_ACTION_RESTART: release it and start it anew.
 * @SERAI_ACTION_PRESERVE: leave it as it is, to be looked at.
 * @SERAI_ACTION_RENAME_RESTART: keep it under another name and start anew.
 * @SERAI_ACTION_COREDUMP_DESTROY: dump its memory, then release it.
 * @SERAI_ACTION_COREDUMP_RESTART: dump its memory, then start it anew.
 *
 * What is wanted after a domain has stopped.  The library records it and tells by signal that a domain has
 * stopped; it does not act by itself.
 */
typedef enum {
    SERAI_ACTION_DESTROY,
    SERAI_ACTION_RESTART,
    SERAI_ACTION_PRESERVE,
    SERAI_ACTION_RENAME_RESTART,
    SERAI_ACTION_COREDUMP_DESTROY,
    SERAI_ACTION_COREDUMP_RESTART,
} SeraiAction;

/**
 * SeraiTscMode:
 * @SERAI_TSC_DEFAULT: native when that is safe, else emulated.
 * @SERAI_TSC_EMULATE: always emulated.
 * @SERAI_TSC_NATIVE: never emulated.
 *
 * How the guest's time stamp counter is made.
 */
typedef enum {
    SERAI_TSC_DEFAULT,
    SERAI_TSC_EMULATE,
    SERAI_TSC_NATIVE,
} SeraiTscMode;

/**
 * SeraiVnumaNode:
 * @memory_kib: memory of the node.
 * @vcpus: bitmap of its vCPUs, bit 0 of byte 0 is vCPU 0.
 * @pnode: the host's node that its memory comes from, or -1 for any.
 * @distances: (element-type guint) (nullable): distance to each node in order, 10 to itself.
 *
 * One NUMA node that the guest sees.
 */
typedef struct {
    guint64 memory_kib;
    GBytes *vcpus;
    int pnode;
    GArray *distances;
} SeraiVnumaNode;

#define SERAI_TYPE_VNUMA_NODE (serai_vnuma_node_get_type())
GType serai_vnuma_node_get_type(void);

/**
 * serai_vnuma_node_new:
 *
 * Returns: (transfer full): a node without memory and without vCPUs.
 */
SeraiVnumaNode *serai_vnuma_node_new(void);

/**
 * serai_vnuma_node_copy:
 * @node: a node.
 *
 * Returns: (transfer full): a deep copy.
 */
SeraiVnumaNode *serai_vnuma_node_copy(const SeraiVnumaNode *node);

/**
 * serai_vnuma_node_free:
 * @node: (transfer full) (nullable): a node.
 */
void serai_vnuma_node_free(SeraiVnumaNode *node);

/**
 * SeraiConfig:
 * @type: how it is virtualized.
 * @name: its name; unique on the host.
 * @uuid: its UUID as text; unique on the host.
 * @kernel: (nullable): the kernel (bzImage or ELF with Xen notes, packed or not), or %NULL to boot from the
 *   guest's
 *   own disk through PV GRUB.
 * @ramdisk: (nullable): the initrd.
 * @cmdline: (nullable): the kernel's command line.
 * @bootloader: (nullable): path of a PV GRUB image when @kernel is %NULL; %NULL for the installed one.
 * @max_memory_kib: memory the guest may have at most.
 * @memory_kib: memory it starts with, at most @max_memory_kib; 0 for @max_memory_kib.
 * @max_vcpus: vCPUs it may have at most.
 * @vcpus: vCPUs online at start; 0 for @max_vcpus.
 * @vcpus_online: (nullable): which vCPUs are online at start, when it is not the first @vcpus.
 * @hard_affinity: (element-type GBytes) (nullable): CPUs each vCPU may run on; missing or %NULL: any.
 * @soft_affinity: (element-type GBytes) (nullable): CPUs each vCPU should run on.
 * @nodes: (nullable): the host's NUMA nodes to take memory from; %NULL for any.
 * @weight: share of CPU time relative to other domains; 0 for 256.
 * @cap: most CPU time in percent of one CPU; 0 for no limit.
 * @pool: CPU pool; 0 is the usual one.
 * @tsc_mode: how time stamps are made.
 * @localtime_offset: seconds that the guest's wall clock is ahead of UTC.
 * @max_grant_frames: 0 for the hypervisor's default.
 * @max_maptrack_frames: 0 for the hypervisor's default.
 * @max_event_channels: most event channels; 0 for 1023.
 * @security_label: (nullable): label for the hypervisor's policy module.
 * @passthrough: devices will be given to the guest.
 * @on_poweroff: wanted after a power off.
 * @on_reboot: wanted after a reboot.
 * @on_crash: wanted after a crash.
 * @on_watchdog: wanted after the watchdog barked.
 * @devices: (element-type SeraiDevice): all devices.  Without a console in it the domain gets console 0.
 * @vnuma: (element-type SeraiVnumaNode): NUMA nodes the guest sees; empty for none.
 * @owner_data: (nullable): text of at most 2048 bytes that the caller wants kept with the domain.
 * @emulator: (nullable): QEMU for the devices that need it; %NULL for the installed one.
 *
 * What a domain should be.
 */
typedef struct {
    SeraiDomainType type;
    char *name;
    char *uuid;
    char *kernel;
    char *ramdisk;
    char *cmdline;
    char *bootloader;
    guint64 max_memory_kib;
    guint64 memory_kib;
    guint max_vcpus;
    guint vcpus;
    GBytes *vcpus_online;
    GPtrArray *hard_affinity;
    GPtrArray *soft_affinity;
    GBytes *nodes;
    guint weight;
    guint cap;
    guint pool;
    SeraiTscMode tsc_mode;
    gint64 localtime_offset;
    guint max_grant_frames;
    guint max_maptrack_frames;
    guint max_event_channels;
    char *security_label;
    gboolean passthrough;
    SeraiAction on_poweroff;
    SeraiAction on_reboot;
    SeraiAction on_crash;
    SeraiAction on_watchdog;
    GPtrArray *devices;
    GPtrArray *vnuma;
    char *owner_data;
    char *emulator;
    /*< private >*/
    gpointer reserved[16];
} SeraiConfig;

#define SERAI_TYPE_CONFIG (serai_config_get_type())
GType serai_config_get_type(void);

/**
 * serai_config_new:
 *
 * Makes a description with defaults: PV, one vCPU, no memory, no devices; power off and crash destroy,
 * reboot restarts.
 *
 * Returns: (transfer full): the description.
 */
SeraiConfig *serai_config_new(void);

/**
 * serai_config_copy:
 * @config: a description.
 *
 * Returns: (transfer full): a deep copy.
 */
SeraiConfig *serai_config_copy(const SeraiConfig *config);

/**
 * serai_config_free:
 * @config: (transfer full) (nullable): a description.
 */
void serai_config_free(SeraiConfig *config);

/**
 * serai_config_add_device:
 * @config: a description.
 * @device: (transfer full): a device.
 *
 * Puts @device last.
 */
void serai_config_add_device(SeraiConfig *config, SeraiDevice *device);

/**
 * serai_config_set_hard_affinity:
 * @config: a description.
 * @vcpu: number of the vCPU.
 * @cpus: (nullable): bitmap of CPUs, bit 0 of byte 0 is CPU 0; %NULL for any.
 *
 * Sets where a vCPU may run.
 */
void serai_config_set_hard_affinity(SeraiConfig *config, guint vcpu, GBytes *cpus);

/**
 * serai_config_check:
 * @config: a description.
 * @error: where the reason goes.
 *
 * Says whether the description can be carried out at all, without looking at the system.  Creation does this
 * first; a caller that stores descriptions may do it earlier.
 *
 * Returns: %TRUE, or %FALSE with %SERAI_ERROR_INVALID_CONFIG or %SERAI_ERROR_UNSUPPORTED and a message that
 * names
 * the culprit.
 */
gboolean serai_config_check(const SeraiConfig *config, GError **error);

/**
 * serai_config_to_data:
 * @config: a description.
 *
 * Writes the description as text that serai_config_from_data() understands, also in later versions.
 *
 * Returns: (transfer full): the text.
 */
char *serai_config_to_data(const SeraiConfig *config);

/**
 * serai_config_from_data:
 * @data: text.
 * @error: where the reason goes.
 *
 * Reads what serai_config_to_data() wrote.
 *
 * Returns: (transfer full): the description, or %NULL.
 */
SeraiConfig *serai_config_from_data(const char *data, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(SeraiConfig, serai_config_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SeraiVnumaNode, serai_vnuma_node_free)

G_END_DECLS

#endif
