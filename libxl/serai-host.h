/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The machine: what it is, what it has left, which domains live on it and what happens to them. */
#ifndef SERAI_HOST_H
#define SERAI_HOST_H

#include <gio/gio.h>
#include <serai-config.h>

G_BEGIN_DECLS

#define SERAI_TYPE_HOST (serai_host_get_type())
G_DECLARE_FINAL_TYPE(SeraiHost, serai_host, SERAI, HOST, GObject)

/* Declared here because signals and look-ups of the host hand it out; described in serai-domain.h. */
#define SERAI_TYPE_DOMAIN (serai_domain_get_type())
G_DECLARE_FINAL_TYPE(SeraiDomain, serai_domain, SERAI, DOMAIN, GObject)

/**
 * SeraiShutdownReason:
 * @SERAI_SHUTDOWN_POWEROFF: the guest turned itself off.
 * @SERAI_SHUTDOWN_REBOOT: the guest wants to start anew.
 * @SERAI_SHUTDOWN_SUSPEND: the guest is asleep, to be saved.
 * @SERAI_SHUTDOWN_CRASH: the guest crashed.
 * @SERAI_SHUTDOWN_WATCHDOG: the guest's watchdog barked.
 * @SERAI_SHUTDOWN_SOFT_RESET: the guest wants its devices reset and to go on (kexec).
 * @SERAI_SHUTDOWN_UNKNOWN: the hypervisor gave a reason that this version does not know.
 * @SERAI_SHUTDOWN_NONE: the domain has not stopped.
 *
 * Why a domain stopped.
 */
typedef enum {
    SERAI_SHUTDOWN_POWEROFF,
    SERAI_SHUTDOWN_REBOOT,
    SERAI_SHUTDOWN_SUSPEND,
    SERAI_SHUTDOWN_CRASH,
    SERAI_SHUTDOWN_WATCHDOG,
    SERAI_SHUTDOWN_SOFT_RESET,
    SERAI_SHUTDOWN_UNKNOWN = 254,
    SERAI_SHUTDOWN_NONE = 255,
} SeraiShutdownReason;

/**
 * SeraiHostInfo:
 * @version_major: of the hypervisor's ABI: 4.
 * @version_minor: of the hypervisor's ABI: 17.
 * @version_extra: the rest of the version, ".5-pre".
 * @changeset: what it was built from.
 * @compile_date: when.
 * @compiler: by what.
 * @command_line: what it was started with.
 * @capabilities: guest kinds, as the hypervisor names them: "xen-3.0-x86_64 hvm-3.0-x86_64".
 * @has_pv: can run PV domains.
 * @has_hvm: can run HVM and PVH domains.
 * @has_hap: has nested paging.
 * @has_passthrough: has an IOMMU.
 * @scheduler: "credit2", "credit".
 * @cpu_count: CPUs online.
 * @max_cpu_count: highest CPU number and one.
 * @node_count: NUMA nodes with memory or CPUs.
 * @socket_count: sockets (of all nodes together).
 * @cores_per_socket: cores of each.
 * @threads_per_core: threads of each.
 * @cpu_khz: clock of the time stamp counter.
 * @hw_caps: CPUID feature words of the machine, in the order that the sysctl physinfo has.
 * @total_kib: memory of the machine.
 * @free_kib: memory that belongs to nobody, including @scrub_kib.
 * @scrub_kib: of that, what is still to be cleaned.
 * @claimed_kib: of that, what is promised to domains being made.
 *
 * Facts about the machine and its hypervisor.
 */
typedef struct {
    guint version_major;
    guint version_minor;
    char *version_extra;
    char *changeset;
    char *compile_date;
    char *compiler;
    char *command_line;
    char *capabilities;
    gboolean has_pv;
    gboolean has_hvm;
    gboolean has_hap;
    gboolean has_passthrough;
    char *scheduler;
    guint cpu_count;
    guint max_cpu_count;
    guint node_count;
    guint socket_count;
    guint cores_per_socket;
    guint threads_per_core;
    guint cpu_khz;
    guint32 hw_caps[8];
    guint64 total_kib;
    guint64 free_kib;
    guint64 scrub_kib;
    guint64 claimed_kib;
} SeraiHostInfo;

#define SERAI_TYPE_HOST_INFO (serai_host_info_get_type())
GType serai_host_info_get_type(void);
SeraiHostInfo *serai_host_info_copy(const SeraiHostInfo *info);
void serai_host_info_free(SeraiHostInfo *info);

/**
 * SeraiCpu:
 * @online: can be used.
 * @core: number of its core in the socket.
 * @socket: number of its socket.
 * @node: number of its NUMA node.
 * @idle_ns: time it has idled since the machine started.
 *
 * One CPU of the machine.
 */
typedef struct {
    gboolean online;
    guint core;
    guint socket;
    guint node;
    guint64 idle_ns;
} SeraiCpu;

/**
 * SeraiNode:
 * @present: the node exists.
 * @total_kib: its memory.
 * @free_kib: what of it belongs to nobody.
 * @distances: (element-type guint): distance to each node in order; 0 where it is not known.
 *
 * One NUMA node of the machine.
 */
typedef struct {
    gboolean present;
    guint64 total_kib;
    guint64 free_kib;
    GArray *distances;
} SeraiNode;

#define SERAI_TYPE_NODE (serai_node_get_type())
GType serai_node_get_type(void);
SeraiNode *serai_node_copy(const SeraiNode *node);
void serai_node_free(SeraiNode *node);

/**
 * SeraiDomainInfo:
 * @domid: its number; not used again before all others were.
 * @uuid: its UUID as text.
 * @type: how it is virtualized.
 * @running: it uses a CPU this moment.
 * @blocked: it waits for an event.
 * @paused: it may not run.
 * @dying: it is being destroyed, or something holds on to its memory.
 * @shutdown_reason: why it stopped, %SERAI_SHUTDOWN_NONE while it has not.
 * @memory_kib: memory it has.
 * @max_memory_kib: memory it may have.
 * @outstanding_kib: memory claimed for it.
 * @shared_info_mfn: frame of its shared info page.
 * @cpu_time_ns: CPU time it has used.
 * @vcpus: vCPUs online.
 * @max_vcpus: vCPUs it may have.
 * @pool: CPU pool.
 *
 * What the hypervisor says of one domain.
 */
typedef struct {
    guint domid;
    char uuid[37];
    SeraiDomainType type;
    gboolean running;
    gboolean blocked;
    gboolean paused;
    gboolean dying;
    SeraiShutdownReason shutdown_reason;
    guint64 memory_kib;
    guint64 max_memory_kib;
    guint64 outstanding_kib;
    guint64 shared_info_mfn;
    guint64 cpu_time_ns;
    guint vcpus;
    guint max_vcpus;
    guint pool;
} SeraiDomainInfo;

#define SERAI_TYPE_DOMAIN_INFO (serai_domain_info_get_type())
GType serai_domain_info_get_type(void);
SeraiDomainInfo *serai_domain_info_copy(const SeraiDomainInfo *info);
void serai_domain_info_free(SeraiDomainInfo *info);

/**
 * serai_host_open:
 * @backend: (nullable): %NULL for the hypervisor that this system runs on; "fake" for a pretend machine of 4
 *   CPUs
 *   and 16 GiB inside this process, whose domains build but do not execute, with a pretend store and pretend
 *   backends.
 * @error: where the reason goes.
 *
 * Opens the machine.  Every "fake" host is a new, empty machine.
 *
 * Returns: (transfer full): the host, or %NULL with %SERAI_ERROR_NO_HYPERVISOR, %SERAI_ERROR_NO_STORE or
 * %SERAI_ERROR_PERMISSION.
 */
SeraiHost *serai_host_open(const char *backend, GError **error);

/**
 * serai_host_recover_sync:
 * @host: a host.
 * @cancellable: (nullable): to stop it.
 * @error: where the reason goes.
 *
 * Finds what processes that died left half-made or half-destroyed (domains, store nodes, network interfaces,
 * device
 * models, files in /run/serai) and removes it.  What a living process is at work on is left alone, and so is
 * every domain
 * that was finished; one that sleeps because its saver died goes on.  To be called once at start.
 *
 * Returns: how many things were removed, or -1.
 */
int serai_host_recover_sync(SeraiHost *host, GCancellable *cancellable, GError **error);

/**
 * serai_host_get_info:
 * @host: a host.
 * @error: where the reason goes.
 *
 * Returns: (transfer full): facts as they are now, or %NULL.
 */
SeraiHostInfo *serai_host_get_info(SeraiHost *host, GError **error);

/**
 * serai_host_get_free_memory:
 * @host: a host.
 * @ret_kib: (out): memory that belongs to nobody.
 * @error: where the reason goes.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_host_get_free_memory(SeraiHost *host, guint64 *ret_kib, GError **error);

/**
 * serai_host_get_cpus:
 * @host: a host.
 * @error: where the reason goes.
 *
 * Returns: (transfer container) (element-type SeraiCpu): one #SeraiCpu for each CPU number, online or not, or
 * %NULL.
 */
GArray *serai_host_get_cpus(SeraiHost *host, GError **error);

/**
 * serai_host_get_nodes:
 * @host: a host.
 * @error: where the reason goes.
 *
 * Returns: (transfer container) (element-type SeraiNode): one #SeraiNode for each node number, or %NULL.
 */
GPtrArray *serai_host_get_nodes(SeraiHost *host, GError **error);

/**
 * serai_host_read_log:
 * @host: a host.
 * @error: where the reason goes.
 *
 * Returns: (transfer full): what the hypervisor's log holds, made valid UTF-8, or %NULL.
 */
char *serai_host_read_log(SeraiHost *host, GError **error);

/**
 * serai_host_send_debug_key:
 * @host: a host.
 * @key: a key.
 * @error: where the reason goes.
 *
 * Makes the hypervisor write what belongs to @key into its log.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_host_send_debug_key(SeraiHost *host, char key, GError **error);

/**
 * serai_host_reclaim_pci:
 * @host: a host.
 * @address: address of a PCI device that the driver xen-pciback holds, "0000:00:1f.2".
 * @error: where the reason goes.
 *
 * Has dom0 own a device again that was a guest's.  Xen keeps such a device apart, without DMA and interrupts,
 * until it is told that nothing of the guest's goes on in it.  To be called before dom0's driver gets it.
 *
 * Returns: %TRUE on success; %FALSE as well when a guest has it, or when it was not kept apart.
 */
gboolean serai_host_reclaim_pci(SeraiHost *host, const char *address, GError **error);

/**
 * serai_host_list_domains:
 * @host: a host.
 * @error: where the reason goes.
 *
 * Returns: (transfer container) (element-type SeraiDomainInfo): all domains, dom0 first, or %NULL.
 */
GPtrArray *serai_host_list_domains(SeraiHost *host, GError **error);

/**
 * serai_host_lookup_by_id:
 * @host: a host.
 * @domid: number of a domain.
 * @error: where the reason goes.
 *
 * Returns: (transfer full): the domain, or %NULL with %SERAI_ERROR_NO_DOMAIN.
 */
SeraiDomain *serai_host_lookup_by_id(SeraiHost *host, guint domid, GError **error);

/**
 * serai_host_lookup_by_uuid:
 * @host: a host.
 * @uuid: UUID as text.
 * @error: where the reason goes.
 *
 * Finds a domain that this library made, in time that does not depend on the number of domains.
 *
 * Returns: (transfer full): the domain, or %NULL with %SERAI_ERROR_NO_DOMAIN.
 */
SeraiDomain *serai_host_lookup_by_uuid(SeraiHost *host, const char *uuid, GError **error);

/**
 * serai_host_lookup_by_name:
 * @host: a host.
 * @name: name of a domain.
 * @error: where the reason goes.
 *
 * Like serai_host_lookup_by_uuid().
 *
 * Returns: (transfer full): the domain, or %NULL with %SERAI_ERROR_NO_DOMAIN.
 */
SeraiDomain *serai_host_lookup_by_name(SeraiHost *host, const char *name, GError **error);

/**
 * SeraiHost::domain-created:
 * @host: the host.
 * @domain: the domain.
 *
 * A domain was created, by us or another, and the store knows of it.  It may be paused still.
 */

/**
 * SeraiModelLogFunc:
 * @host: the host.
 * @name: name of a domain.
 * @uuid: its UUID.
 * @argv: (array zero-terminated=1): the command that is about to be run.
 * @user_data: what was given with the function.
 * @error: where the reason goes.
 *
 * Opens what the QEMU of a domain writes its messages to, as long as it lives.  Called in whatever thread
 * starts QEMU: during the creation of the domain, or when a device is attached that is the first to need it.
 *
 * Returns: a file descriptor, which the library closes, or -1, and QEMU is not started.
 */
typedef int (*SeraiModelLogFunc)(SeraiHost *host, const char *name, const char *uuid, const char *const *argv,
                                 gpointer user_data, GError **error);

/**
 * serai_host_set_model_log:
 * @host: the host.
 * @func: (scope notified) (closure user_data) (destroy destroy): opens the log.
 * @user_data: for @func.
 * @destroy: (nullable): for @user_data, with the host.
 *
 * Has the messages of each QEMU kept.  To be called at most once, before any domain is made; without it they
 * are lost, but for those of a QEMU that does not start, which are in the error.
 */
void serai_host_set_model_log(SeraiHost *host, SeraiModelLogFunc func, gpointer user_data,
                              GDestroyNotify destroy);

/**
 * SeraiHost::domain-shutdown:
 * @host: the host.
 * @domain: the domain.
 * @reason: a #SeraiShutdownReason.
 *
 * A domain stopped by itself, for any reason but a crash.  It keeps its memory until it is destroyed.
 */

/**
 * SeraiHost::domain-crashed:
 * @host: the host.
 * @domain: the domain.
 *
 * A domain crashed.  It keeps its memory until it is destroyed.
 */

/**
 * SeraiHost::domain-died:
 * @host: the host.
 * @domain: the domain.
 *
 * A domain is gone, whoever destroyed it.  Its store nodes and devices may have to be removed still:
 * serai_domain_destroy_sync() does that and is harmless when there is nothing to do.
 */

/**
 * SeraiHost::device-removed:
 * @host: the host.
 * @domain: the domain.
 * @kind: a #SeraiDeviceKind.
 * @devid: number of the device.
 *
 * A device of a domain that this library made went away: it was detached through this #SeraiHost, or another
 * program took its backend out of the store.  In the second case the rest of it is still there, which
 * serai_domain_finish_detaching_sync() clears away.  A process that detaches through a #SeraiHost of its own
 * is not told of.
 */

/**
 * SeraiHost::device-failed:
 * @host: the host.
 * @domain: the domain.
 * @kind: a #SeraiDeviceKind.
 * @devid: number of the device.
 *
 * QEMU, which served the device, ended while the domain runs.  The guest's requests to it wait until the
 * domain is destroyed.  Told of domains whose QEMU this #SeraiHost started or found when it was opened.
 */

/**
 * SeraiHost::disks-connected:
 * @host: the host.
 * @domain: the domain.
 *
 * A disk of a domain that serai_domain_watch_disks() was called for is connected to the kernel's backend,
 * which starts threads for it: serai_domain_get_io_tasks().
 */

G_DEFINE_AUTOPTR_CLEANUP_FUNC(SeraiHostInfo, serai_host_info_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SeraiNode, serai_node_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SeraiDomainInfo, serai_domain_info_free)

G_END_DECLS

#endif
