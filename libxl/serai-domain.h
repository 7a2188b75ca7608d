/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One domain: from creation to destruction.  An object of this type is a handle; the domain outlives it. */
#ifndef SERAI_DOMAIN_H
#define SERAI_DOMAIN_H

#include <serai-host.h>

G_BEGIN_DECLS

/**
 * SeraiStage:
 * @SERAI_STAGE_PREPARE: checking, reserving names, opening files.
 * @SERAI_STAGE_MEMORY: giving the domain its memory, or moving its contents; counted in bytes.
 * @SERAI_STAGE_DEVICES: waiting for backends; counted in devices.
 * @SERAI_STAGE_GUEST: waiting for the guest to do something.
 * @SERAI_STAGE_FINISH: the last steps.
 *
 * What an operation is busy with.
 */
typedef enum {
    SERAI_STAGE_PREPARE,
    SERAI_STAGE_MEMORY,
    SERAI_STAGE_DEVICES,
    SERAI_STAGE_GUEST,
    SERAI_STAGE_FINISH,
} SeraiStage;

/**
 * SeraiProgressFunc:
 * @stage: what the operation is busy with.
 * @done: how much of it is done.
 * @total: out of how much; 0 when that is not known.
 * @user_data: what the caller gave.
 *
 * Called now and then while an operation goes on, at most about ten times a second.
 */
typedef void (*SeraiProgressFunc)(SeraiStage stage, guint64 done, guint64 total, gpointer user_data);

/* --- life ------------------------------------------------------------------------------------- */

/**
 * serai_domain_create_async:
 * @host: a host.
 * @config: what the domain should be.
 * @cancellable: (nullable): to stop it.
 * @progress: (nullable) (scope notified) (closure progress_data): to be told how far it is.
 * @progress_data: for @progress.
 * @progress_destroy: (nullable): releases @progress_data.
 * @callback: called when done.
 * @user_data: for @callback.
 *
 * Makes a domain, paused: memory, kernel, devices, everything but the first instruction.  A failure at any
 * point leaves
 * nothing behind.
 */
void serai_domain_create_async(SeraiHost *host, const SeraiConfig *config, GCancellable *cancellable,
                               SeraiProgressFunc progress, gpointer progress_data,
                               GDestroyNotify progress_destroy, GAsyncReadyCallback callback,
                               gpointer user_data);

/**
 * serai_domain_create_finish:
 * @host: the host.
 * @result: what the callback was given.
 * @error: where the reason goes.
 *
 * Returns: (transfer full): the domain, or %NULL.
 */
SeraiDomain *serai_domain_create_finish(SeraiHost *host, GAsyncResult *result, GError **error);

/**
 * serai_domain_create_sync:
 * @host: a host.
 * @config: what the domain should be.
 * @cancellable: (nullable): to stop it.
 * @progress: (nullable) (scope call) (closure progress_data): to be told how far it is.
 * @progress_data: for @progress.
 * @error: where the reason goes.
 *
 * serai_domain_create_async() for a worker thread.
 *
 * Returns: (transfer full): the domain, or %NULL.
 */
SeraiDomain *serai_domain_create_sync(SeraiHost *host, const SeraiConfig *config, GCancellable *cancellable,
                                      SeraiProgressFunc progress, gpointer progress_data, GError **error);

/**
 * serai_domain_destroy_async:
 * @domain: a domain.
 * @cancellable: (nullable): to stop it; what is released by then stays released.
 * @callback: called when done.
 * @user_data: for @callback.
 *
 * Takes everything from a domain at once: devices, memory, store nodes.  Harmless when it is gone already,
 * and then
 * removes what it left.
 */
void serai_domain_destroy_async(SeraiDomain *domain, GCancellable *cancellable, GAsyncReadyCallback callback,
                                gpointer user_data);
/**
 * serai_domain_destroy_finish:
 * @domain: a domain.
 * @result: what the callback was given.
 * @error: where the reason goes.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_destroy_finish(SeraiDomain *domain, GAsyncResult *result, GError **error);

/**
 * serai_domain_destroy_sync:
 * @domain: a domain.
 * @cancellable: (nullable): to stop it.
 * @error: where the reason goes.
 *
 * serai_domain_destroy_async() for a worker thread.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_destroy_sync(SeraiDomain *domain, GCancellable *cancellable, GError **error);

/**
 * serai_domain_unpause:
 * @domain: a domain.
 * @error: where the reason goes.
 *
 * Lets the domain run.  Harmless when it runs.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_unpause(SeraiDomain *domain, GError **error);

/**
 * serai_domain_pause:
 * @domain: a domain.
 * @error: where the reason goes.
 *
 * Stops all vCPUs.  Harmless when it is paused.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_pause(SeraiDomain *domain, GError **error);

/**
 * serai_domain_shutdown:
 * @domain: a domain.
 * @error: where the reason goes.
 *
 * Asks the guest to turn itself off.  Returns at once; #SeraiHost::domain-shutdown tells when it has.
 *
 * Returns: %TRUE when the guest was asked; %FALSE with %SERAI_ERROR_GUEST_REFUSED if it has said it cannot
 * do this.
 */
gboolean serai_domain_shutdown(SeraiDomain *domain, GError **error);
/**
 * serai_domain_reboot:
 * @domain: a domain.
 * @error: where the reason goes.
 *
 * Asks the guest to reboot, like serai_domain_shutdown().
 *
 * Returns: %TRUE when asked.
 */
gboolean serai_domain_reboot(SeraiDomain *domain, GError **error);

/**
 * serai_domain_sysrq:
 * @domain: a domain.
 * @key: a key.
 * @error: where the reason goes.
 *
 * Sends a magic SysRq key.
 *
 * Returns: %TRUE when sent.
 */
gboolean serai_domain_sysrq(SeraiDomain *domain, char key, GError **error);

/**
 * serai_domain_nmi:
 * @domain: a domain.
 * @error: where the reason goes.
 *
 * Sends a non-maskable interrupt to vCPU 0.
 *
 * Returns: %TRUE when sent.
 */
gboolean serai_domain_nmi(SeraiDomain *domain, GError **error);

/**
 * serai_domain_crash:
 * @domain: a domain.
 * @error: where the reason goes.
 *
 * Makes the hypervisor treat the domain as crashed (SCHEDOP_remote_shutdown).
 *
 * Returns: %TRUE.
 */
gboolean serai_domain_crash(SeraiDomain *domain, GError **error);

/* --- what it is ------------------------------------------------------------------------------- */

/**
 * serai_domain_get_host:
 * @domain: a domain.
 *
 * Returns: (transfer none): its host.
 */
SeraiHost *serai_domain_get_host(SeraiDomain *domain);

/**
 * serai_domain_get_id:
 * @domain: a domain.
 *
 * Returns: its number.
 */
guint serai_domain_get_id(SeraiDomain *domain);

/**
 * serai_domain_get_uuid:
 * @domain: a domain.
 *
 * Returns: its UUID as text.
 */
const char *serai_domain_get_uuid(SeraiDomain *domain);

/**
 * serai_domain_dup_name:
 * @domain: a domain.
 *
 * Returns: (transfer full): its name now ("" when nobody named it).
 */
char *serai_domain_dup_name(SeraiDomain *domain);

/**
 * serai_domain_rename:
 * @domain: a domain.
 * @name: a name.
 * @error: where the reason goes.
 *
 * Changes the name, in one step.
 *
 * Returns: %TRUE, or %FALSE with %SERAI_ERROR_EXISTS when another domain has it.
 */
gboolean serai_domain_rename(SeraiDomain *domain, const char *name, GError **error);

/**
 * serai_domain_get_info:
 * @domain: a domain.
 * @error: where the reason goes.
 *
 * Returns: (transfer full): what the hypervisor says, or %NULL with %SERAI_ERROR_NO_DOMAIN.
 */
SeraiDomainInfo *serai_domain_get_info(SeraiDomain *domain, GError **error);

/**
 * serai_domain_get_config:
 * @domain: a domain.
 * @error: where the reason goes.
 *
 * Returns: (transfer full): the description it was made from, with its devices, name, memory and vCPUs as
 * they are now; or %NULL with %SERAI_ERROR_UNSUPPORTED when another toolstack made it.
 */
SeraiConfig *serai_domain_get_config(SeraiDomain *domain, GError **error);

/**
 * serai_domain_set_owner_data:
 * @domain: a domain.
 * @data: (nullable): the text.
 * @error: where the reason goes.
 *
 * Replaces @owner_data of its description.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_set_owner_data(SeraiDomain *domain, const char *data, GError **error);

/**
 * serai_domain_set_actions:
 * @domain: a domain.
 * @on_poweroff: wanted after a power off.
 * @on_reboot: wanted after a reboot.
 * @on_crash: wanted after a crash.
 * @error: where the reason goes.
 *
 * Replaces what is wanted after it stops.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_set_actions(SeraiDomain *domain, SeraiAction on_poweroff, SeraiAction on_reboot,
                                  SeraiAction on_crash, GError **error);

/* --- CPUs ------------------------------------------------------------------------------------- */

/**
 * SeraiVcpuInfo:
 * @vcpu: its number.
 * @online: the guest uses it.
 * @blocked: it waits for an event.
 * @running: it uses a CPU this moment.
 * @cpu: the CPU it is on or was on last.
 * @cpu_time_ns: CPU time it has used.
 * @hard_affinity: CPUs it may run on.
 * @soft_affinity: CPUs it should run on.
 *
 * One vCPU.
 */
typedef struct {
    guint vcpu;
    gboolean online;
    gboolean blocked;
    gboolean running;
    guint cpu;
    guint64 cpu_time_ns;
    GBytes *hard_affinity;
    GBytes *soft_affinity;
} SeraiVcpuInfo;

#define SERAI_TYPE_VCPU_INFO (serai_vcpu_info_get_type())
GType serai_vcpu_info_get_type(void);
SeraiVcpuInfo *serai_vcpu_info_copy(const SeraiVcpuInfo *info);
void serai_vcpu_info_free(SeraiVcpuInfo *info);

/**
 * serai_domain_get_vcpus:
 * @domain: a domain.
 * @error: where the reason goes.
 *
 * Returns: (transfer container) (element-type SeraiVcpuInfo): one for each vCPU it may have, or %NULL.
 */
GPtrArray *serai_domain_get_vcpus(SeraiDomain *domain, GError **error);
/**
 * serai_domain_set_vcpu_count:
 * @domain: a domain.
 * @count: how many.
 * @error: where the reason goes.
 *
 * Asks the guest to use the first @count vCPUs.
 *
 * Returns: %TRUE when asked.
 */
gboolean serai_domain_set_vcpu_count(SeraiDomain *domain, guint count, GError **error);

/**
 * serai_domain_set_vcpu_online:
 * @domain: a domain.
 * @vcpu: number of a vCPU.
 * @online: whether the guest should use it.
 * @error: where the reason goes.
 *
 * Asks the guest to use, or not to use, one vCPU.
 *
 * Returns: %TRUE when asked.
 */
gboolean serai_domain_set_vcpu_online(SeraiDomain *domain, guint vcpu, gboolean online, GError **error);

/**
 * serai_domain_pin_vcpu:
 * @domain: a domain.
 * @vcpu: number of the vCPU.
 * @hard: (nullable): CPUs it may run on; %NULL to leave that.
 * @soft: (nullable): CPUs it should run on; %NULL to leave that.
 * @error: where the reason goes.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_pin_vcpu(SeraiDomain *domain, guint vcpu, GBytes *hard, GBytes *soft, GError **error);
/**
 * serai_domain_get_sched:
 * @domain: a domain.
 * @ret_weight: (out): weight.
 * @ret_cap: (out): cap.
 * @error: where the reason goes.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_get_sched(SeraiDomain *domain, guint *ret_weight, guint *ret_cap, GError **error);

/**
 * serai_domain_set_sched:
 * @domain: a domain.
 * @weight: 1 to 65535, or -1 to leave it.
 * @cap: percent, or -1.
 * @error: where the reason goes.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_set_sched(SeraiDomain *domain, int weight, int cap, GError **error);

/* --- memory ----------------------------------------------------------------------------------- */

/**
 * SeraiMemoryStats:
 * @current_kib: memory the domain has.
 * @target_kib: memory it was asked to have.
 * @maximum_kib: memory the hypervisor lets it have, without the little that every domain needs besides.
 * @static_max_kib: memory it was started for.
 * @guest_total_kib: what the guest says it has, 0 when it says nothing.
 * @guest_free_kib: what the guest says is unused, 0 when it says nothing.
 * @guest_available_kib: what the guest says it could use, 0 when it says nothing.
 *
 * Memory of a domain from every side.
 */
typedef struct {
    guint64 current_kib;
    guint64 target_kib;
    guint64 maximum_kib;
    guint64 static_max_kib;
    guint64 guest_total_kib;
    guint64 guest_free_kib;
    guint64 guest_available_kib;
} SeraiMemoryStats;

/**
 * serai_domain_get_memory_stats:
 * @domain: a domain.
 * @ret_stats: (out caller-allocates): filled in.
 * @error: where the reason goes.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_get_memory_stats(SeraiDomain *domain, SeraiMemoryStats *ret_stats, GError **error);

/**
 * serai_domain_set_memory_target:
 * @domain: a domain.
 * @kib: memory in KiB.
 * @error: where the reason goes.
 *
 * Asks the balloon driver.  Returns at once.
 *
 * Returns: %TRUE when asked.
 */
gboolean serai_domain_set_memory_target(SeraiDomain *domain, guint64 kib, GError **error);

/**
 * serai_domain_set_memory_max:
 * @domain: a domain.
 * @kib: memory in KiB.
 * @error: where the reason goes.
 *
 * What the target may be at most, and the hypervisor's limit.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_set_memory_max(SeraiDomain *domain, guint64 kib, GError **error);

/**
 * serai_domain_set_memory_limit:
 * @domain: a domain.
 * @kib: memory in KiB.
 * @error: where the reason goes.
 *
 * The hypervisor's limit alone: a balloon driver that wants more fails, though the target may be as high as
 * before.  serai_domain_set_memory_max() sets both.
 *
 * Returns: %TRUE, or %FALSE with %SERAI_ERROR_INVALID_CONFIG when the domain has more already.
 */
gboolean serai_domain_set_memory_limit(SeraiDomain *domain, guint64 kib, GError **error);

/**
 * serai_domain_set_nodes:
 * @domain: a domain.
 * @nodes: NUMA nodes, one bit for each, the lowest first.
 * @error: where the reason goes.
 *
 * Where the hypervisor should look first for memory that the domain gets from now on.  What it has stays.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_set_nodes(SeraiDomain *domain, GBytes *nodes, GError **error);

/**
 * SeraiAddress:
 * @SERAI_ADDRESS_PHYSICAL: what the guest takes for physical memory, from 0 up.
 * @SERAI_ADDRESS_VIRTUAL: a virtual address as vCPU 0 sees it this moment.
 *
 * Which addresses are meant.
 */
typedef enum {
    SERAI_ADDRESS_PHYSICAL,
    SERAI_ADDRESS_VIRTUAL,
} SeraiAddress;

/**
 * serai_domain_read_memory:
 * @domain: a paravirtualized domain; it may run.
 * @kind: which addresses are meant.
 * @address: where to begin.
 * @buffer: (out caller-allocates) (array length=size) (element-type guint8): filled in.
 * @size: bytes.
 * @error: where the reason goes.
 *
 * Copies from the guest's memory, all of @size or nothing.  A guest that has not told where its memory lies
 * (Linux does early in its boot) has no physical addresses yet.
 *
 * Returns: %TRUE, or %FALSE with %SERAI_ERROR_INVALID_CONFIG when there is no memory at an address, with
 * %SERAI_ERROR_GUEST_REFUSED when the guest's tables do not lead to it.
 */
gboolean serai_domain_read_memory(SeraiDomain *domain, SeraiAddress kind, guint64 address, void *buffer,
                                  gsize size, GError **error);

/**
 * serai_domain_dup_guest_hostname:
 * @domain: a domain.
 * @error: where the reason goes.
 *
 * The name that something in the guest wrote to data/host_name of its home in the store.  It is what the
 * guest says and nothing more; only its letters are checked.
 *
 * Returns: (transfer full): the name, or %NULL with %SERAI_ERROR_UNSUPPORTED when there is none.
 */
char *serai_domain_dup_guest_hostname(SeraiDomain *domain, GError **error);

/* --- devices ---------------------------------------------------------------------------------- */

/**
 * SeraiDetachFlags:
 * @SERAI_DETACH_NONE: ask the guest, and fail when it does not let go.
 * @SERAI_DETACH_FORCE: ask the guest shortly, then take the device away.
 *
 * How a device is detached.
 */
typedef enum { /*< flags >*/
               SERAI_DETACH_NONE = 0,
               SERAI_DETACH_FORCE = 1 << 0,
} SeraiDetachFlags;

/**
 * serai_domain_list_devices:
 * @domain: a domain.
 * @error: where the reason goes.
 *
 * Returns: (transfer container) (element-type SeraiDevice): its devices now, or %NULL.
 */
GPtrArray *serai_domain_list_devices(SeraiDomain *domain, GError **error);

/**
 * serai_domain_attach_device_async:
 * @domain: a domain, running or paused.
 * @device: what to attach.
 * @cancellable: (nullable): to stop it.
 * @callback: called when done.
 * @user_data: for @callback.
 *
 * Attaches a device and waits until dom0's side is ready.  A failure leaves nothing behind.
 */
void serai_domain_attach_device_async(SeraiDomain *domain, const SeraiDevice *device,
                                      GCancellable *cancellable, GAsyncReadyCallback callback,
                                      gpointer user_data);
/**
 * serai_domain_attach_device_finish:
 * @domain: a domain.
 * @result: what the callback was given.
 * @error: where the reason goes.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_attach_device_finish(SeraiDomain *domain, GAsyncResult *result, GError **error);

/**
 * serai_domain_attach_device_sync:
 * @domain: a domain.
 * @device: which one, or what it should be.
 * @cancellable: (nullable): to stop it.
 * @error: where the reason goes.
 *
 * For a worker thread.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_attach_device_sync(SeraiDomain *domain, const SeraiDevice *device,
                                         GCancellable *cancellable, GError **error);

/**
 * serai_domain_detach_device_async:
 * @domain: a domain.
 * @device: which one, by serai_device_same().
 * @flags: how.
 * @cancellable: (nullable): to stop waiting for the guest.
 * @callback: called when done.
 * @user_data: for @callback.
 *
 * Detaches a device and removes what belonged to it.
 */
void serai_domain_detach_device_async(SeraiDomain *domain, const SeraiDevice *device, SeraiDetachFlags flags,
                                      GCancellable *cancellable, GAsyncReadyCallback callback,
                                      gpointer user_data);
/**
 * serai_domain_detach_device_finish:
 * @domain: a domain.
 * @result: what the callback was given.
 * @error: where the reason goes.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_detach_device_finish(SeraiDomain *domain, GAsyncResult *result, GError **error);

/**
 * serai_domain_detach_device_sync:
 * @domain: a domain.
 * @device: which one, or what it should be.
 * @flags: how.
 * @cancellable: (nullable): to stop it.
 * @error: where the reason goes.
 *
 * For a worker thread.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_detach_device_sync(SeraiDomain *domain, const SeraiDevice *device,
                                         SeraiDetachFlags flags, GCancellable *cancellable, GError **error);

/**
 * serai_domain_finish_detaching_sync:
 * @domain: a domain.
 * @cancellable: (nullable): to stop it.
 * @error: where the reason goes.
 *
 * Goes on with each detaching that ended with its process: the device is gone afterwards, or given back to a
 * guest that does not let go of it.  Of a device that another program took out of the store it clears away
 * the rest: the guest's side, the record, what QEMU or an Open vSwitch has of it.  Nobody else may be
 * detaching devices of this domain meanwhile.  For a worker thread.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_finish_detaching_sync(SeraiDomain *domain, GCancellable *cancellable, GError **error);

/**
 * serai_domain_update_device_async:
 * @domain: a domain.
 * @device: how it should be; which one is meant is found by serai_device_same().
 * @cancellable: (nullable): to stop it.
 * @callback: called when done.
 * @user_data: for @callback.
 *
 * Changes a device while the domain runs: the disc in a CD-ROM drive, and of a NIC the link state, the rate
 * limit, the
 * bridge and the VLAN.  Anything else fails with %SERAI_ERROR_UNSUPPORTED and changes nothing.
 */
void serai_domain_update_device_async(SeraiDomain *domain, const SeraiDevice *device,
                                      GCancellable *cancellable, GAsyncReadyCallback callback,
                                      gpointer user_data);
/**
 * serai_domain_update_device_finish:
 * @domain: a domain.
 * @result: what the callback was given.
 * @error: where the reason goes.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_update_device_finish(SeraiDomain *domain, GAsyncResult *result, GError **error);

/**
 * serai_domain_update_device_sync:
 * @domain: a domain.
 * @device: which one, or what it should be.
 * @cancellable: (nullable): to stop it.
 * @error: where the reason goes.
 *
 * For a worker thread.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_update_device_sync(SeraiDomain *domain, const SeraiDevice *device,
                                         GCancellable *cancellable, GError **error);

/**
 * serai_domain_resize_disk:
 * @domain: a domain.
 * @target: name of a disk.
 * @bytes: its size.
 * @error: where the reason goes.
 *
 * Tells backend and guest that a disk's file or device has grown.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_resize_disk(SeraiDomain *domain, const char *target, guint64 bytes, GError **error);

/**
 * serai_domain_dup_console_path:
 * @domain: a domain.
 * @kind: %SERAI_DEVICE_CONSOLE or %SERAI_DEVICE_CHANNEL.
 * @devid: its number; 0 is the console the kernel writes to.
 * @error: where the reason goes.
 *
 * Returns: (transfer full): path of the pty (or socket), or %NULL with %SERAI_ERROR_NO_DEVICE, also while
 * serai-consoled has not opened one yet.
 */
char *serai_domain_dup_console_path(SeraiDomain *domain, SeraiDeviceKind kind, int devid, GError **error);

/**
 * serai_domain_dup_qmp_path:
 * @domain: a domain.
 *
 * Where the QEMU that serves the domain's frame buffer and some of its disks listens for its QMP.  One
 * client at a time is served.
 *
 * Returns: (transfer full): path of the socket, whether there is a QEMU or not.
 */
char *serai_domain_dup_qmp_path(SeraiDomain *domain);

/**
 * SeraiDiskStats:
 * @read_requests: reads.
 * @read_bytes: bytes read.
 * @write_requests: writes.
 * @write_bytes: bytes written.
 * @flush_requests: flushes.
 * @discard_requests: discards.
 * @out_of_requests: how often the backend had no room for a request.
 *
 * What a disk has done since it was attached.
 */
typedef struct {
    guint64 read_requests;
    guint64 read_bytes;
    guint64 write_requests;
    guint64 write_bytes;
    guint64 flush_requests;
    guint64 discard_requests;
    guint64 out_of_requests;
} SeraiDiskStats;

/**
 * serai_domain_get_disk_stats:
 * @domain: a domain.
 * @target: name of a disk.
 * @ret_stats: (out caller-allocates): filled in.
 * @error: where the reason goes.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_get_disk_stats(SeraiDomain *domain, const char *target, SeraiDiskStats *ret_stats,
                                     GError **error);

/**
 * serai_domain_check_disk:
 * @domain: a domain that runs.
 * @target: name of a disk.
 * @error: where the reason goes.
 *
 * Whether dom0's side of a disk still serves it: a QEMU that ended serves no more, and the kernel's backend
 * tells when it gave up.  Single requests that failed are the guest's to know.
 *
 * Returns: %TRUE when it serves, or %FALSE with %SERAI_ERROR_DEVICE_FAILED and the reason; any other code is
 * a failure of the question.
 */
gboolean serai_domain_check_disk(SeraiDomain *domain, const char *target, GError **error);

/**
 * SeraiNicStats:
 * @rx_bytes: bytes the guest received.
 * @rx_packets: packets the guest received.
 * @rx_errors: of those, bad ones.
 * @rx_dropped: packets for the guest that were dropped.
 * @tx_bytes: bytes the guest sent.
 * @tx_packets: packets the guest sent.
 * @tx_errors: of those, bad ones.
 * @tx_dropped: packets of the guest that were dropped.
 *
 * What a NIC has done, seen from the guest.
 */
typedef struct {
    guint64 rx_bytes;
    guint64 rx_packets;
    guint64 rx_errors;
    guint64 rx_dropped;
    guint64 tx_bytes;
    guint64 tx_packets;
    guint64 tx_errors;
    guint64 tx_dropped;
} SeraiNicStats;

/**
 * serai_domain_get_nic_stats:
 * @domain: a domain.
 * @devid: number of a NIC.
 * @ret_stats: (out caller-allocates): filled in.
 * @error: where the reason goes.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_get_nic_stats(SeraiDomain *domain, int devid, SeraiNicStats *ret_stats, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(SeraiVcpuInfo, serai_vcpu_info_free)

G_END_DECLS

#endif
