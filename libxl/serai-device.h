/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One device of a domain, as a plain description: what to attach, and what is attached. */
#ifndef SERAI_DEVICE_H
#define SERAI_DEVICE_H

#include <glib-object.h>

G_BEGIN_DECLS

/**
 * SeraiDeviceKind:
 * @SERAI_DEVICE_DISK: a block device (frontend "vbd").
 * @SERAI_DEVICE_NIC: a network interface (frontend "vif").
 * @SERAI_DEVICE_CONSOLE: a console with a pty.
 * @SERAI_DEVICE_CHANNEL: a named console that is not for people: a guest agent, say.
 * @SERAI_DEVICE_VFB: a paravirtual frame buffer, shown by VNC or SDL.
 * @SERAI_DEVICE_VKB: the keyboard and pointer that belong to a frame buffer.
 * @SERAI_DEVICE_PCI: a PCI device of the machine.
 *
 * What a #SeraiDevice is, and so which of its parts counts.
 */
typedef enum {
    SERAI_DEVICE_DISK,
    SERAI_DEVICE_NIC,
    SERAI_DEVICE_CONSOLE,
    SERAI_DEVICE_CHANNEL,
    SERAI_DEVICE_VFB,
    SERAI_DEVICE_VKB,
    SERAI_DEVICE_PCI,
} SeraiDeviceKind;

/**
 * SeraiDiskFormat:
 * @SERAI_DISK_RAW: the file or block device is the disk.
 * @SERAI_DISK_QCOW2: qcow2, with or without backing files.
 * @SERAI_DISK_QCOW: qcow version 1.
 * @SERAI_DISK_QED: QED.
 * @SERAI_DISK_VMDK: VMware's.
 * @SERAI_DISK_VHD: Microsoft's older one (QEMU calls it vpc).
 * @SERAI_DISK_VHDX: Microsoft's newer one.
 * @SERAI_DISK_VDI: VirtualBox's.
 *
 * How the contents of a disk are stored.
 */
typedef enum {
    SERAI_DISK_RAW,
    SERAI_DISK_QCOW2,
    SERAI_DISK_QCOW,
    SERAI_DISK_QED,
    SERAI_DISK_VMDK,
    SERAI_DISK_VHD,
    SERAI_DISK_VHDX,
    SERAI_DISK_VDI,
} SeraiDiskFormat;

/**
 * SeraiDiskBackend:
 * @SERAI_DISK_BACKEND_AUTO: the kernel for raw files and block devices, QEMU for the rest.
 * @SERAI_DISK_BACKEND_KERNEL: blkback of the kernel; raw only.
 * @SERAI_DISK_BACKEND_QEMU: QEMU's block layer; any format, and URLs such as nbd://.
 *
 * Who serves a disk.
 */
typedef enum {
    SERAI_DISK_BACKEND_AUTO,
    SERAI_DISK_BACKEND_KERNEL,
    SERAI_DISK_BACKEND_QEMU,
} SeraiDiskBackend;

/**
 * SeraiDisk:
 * @target: the name in the guest: "xvda", "xvdb1", "sda", "hda".
 * @path: (nullable): file, block device or QEMU URL; %NULL for a CD-ROM drive without a disc.
 * @format: how the contents are stored.
 * @backend: who serves it.
 * @readonly: the guest may not write.
 * @shareable: other domains may write to it at the same time, if their disks say so too.  An image is locked
 *   against others as QEMU locks it; a block device is claimed in the store, against other domains of this
 *   library, and a QEMU that serves it locks it too.
 * @cdrom: the guest sees a CD-ROM.
 * @discard: the guest may give back blocks.
 * @cached: go through dom0's page cache instead of direct I/O.
 * @indirect_segments: not used at present; 0.
 * @encrypted: the contents are encrypted with LUKS, inside of the format: raw or qcow2.  QEMU serves it.
 * @passphrase_name: (nullable): what messages call the passphrase.
 * @passphrase: (nullable): what opens it, needed while the disk is attached only.  It is never written
 *   anywhere; copies share the bytes, so g_bytes_new_with_free_func() with a function that wipes them leaves
 *   nothing behind.
 *
 * The disk part of a #SeraiDevice.
 */
typedef struct {
    char *target;
    char *path;
    SeraiDiskFormat format;
    SeraiDiskBackend backend;
    gboolean readonly;
    gboolean shareable;
    gboolean cdrom;
    gboolean discard;
    gboolean cached;
    guint indirect_segments;
    gboolean encrypted;
    char *passphrase_name;
    GBytes *passphrase;
} SeraiDisk;

/**
 * SeraiNicAttach:
 * @SERAI_NIC_NONE: to nothing; whoever made the description connects the interface.
 * @SERAI_NIC_BRIDGE: to a Linux bridge.
 * @SERAI_NIC_OVS: to an Open vSwitch bridge.
 *
 * What dom0's end of a network interface is connected to.
 */
typedef enum {
    SERAI_NIC_NONE,
    SERAI_NIC_BRIDGE,
    SERAI_NIC_OVS,
} SeraiNicAttach;

/**
 * SeraiNic:
 * @mac: "00:16:3e:01:02:03"; must be a unicast address.
 * @attach: what it is connected to.
 * @bridge: (nullable): name of the bridge.
 * @ifname: (nullable): name of dom0's end; %NULL for "vif<domid>.<devid>".  Filled in when the device is
 *   listed.
 * @vlan_tag: Open vSwitch: untagged traffic gets this tag; 0 for none.
 * @vlan_trunks: (nullable): Open vSwitch: tags that may pass, "10,20"; @vlan_tag is the native VLAN then.
 * @vlan_native_tagged: Open vSwitch: the guest gets the traffic of its native VLAN with the tag.
 * @ovs_interface_id: (nullable): Open vSwitch: external_ids:iface-id.
 * @ovs_profile_id: (nullable): Open vSwitch: external_ids:port-profile.
 * @rate_kib: limit of what the guest sends, in KiB per second; 0 for none.
 * @rate_burst_us: how much is granted at once, as microseconds of @rate_kib; 0 for 50000.
 * @mtu: 0 for what the bridge has.
 * @queues: not used at present; netback offers as many queues as its module parameter says.
 * @link_down: dom0's end is down: the guest's packets go nowhere.
 * @isolated: the bridge port talks to ports that are not isolated only.
 * @trusted: whether the frontend trusts dom0's backend; %TRUE but for driver domains.
 *
 * The network part of a #SeraiDevice.
 */
typedef struct {
    char *mac;
    SeraiNicAttach attach;
    char *bridge;
    char *ifname;
    guint vlan_tag;
    char *vlan_trunks;
    gboolean vlan_native_tagged;
    char *ovs_interface_id;
    char *ovs_profile_id;
    guint64 rate_kib;
    guint64 rate_burst_us;
    guint mtu;
    guint queues;
    gboolean link_down;
    gboolean isolated;
    gboolean trusted;
} SeraiNic;

/**
 * SeraiConsole:
 * @name: (nullable): name of a channel, "org.qemu.guest_agent.0"; %NULL for a console.
 * @log_path: (nullable): everything the guest writes is kept here too.
 * @log_append: keep what the log file holds already.
 * @socket_path: (nullable): a listening UNIX socket instead of a pty (channels only).
 *
 * The console part of a #SeraiDevice: consoles and channels.  serai-consoled serves both.
 */
typedef struct {
    char *name;
    char *log_path;
    gboolean log_append;
    char *socket_path;
} SeraiConsole;

/**
 * SeraiVfb:
 * @vnc: serve VNC.
 * @listen: (nullable): address for VNC, "127.0.0.1" when %NULL.
 * @port: TCP port for VNC, or 0 to choose a free one from 5900 up; what was chosen is filled in when listed.
 * @socket_path: (nullable): a UNIX socket for VNC instead of @listen and @port.
 * @password: (nullable): password for VNC.
 * @keymap: (nullable): QEMU's key map, "de".
 * @sdl: show a window on dom0's display.
 * @display: (nullable): the X display for SDL.
 * @xauthority: (nullable): the X authority file for SDL.
 *
 * The frame buffer part of a #SeraiDevice.
 */
typedef struct {
    gboolean vnc;
    char *listen;
    guint port;
    char *socket_path;
    char *password;
    char *keymap;
    gboolean sdl;
    char *display;
    char *xauthority;
} SeraiVfb;

/**
 * SeraiPci:
 * @address: "0000:00:1f.2", in lower case; the driver xen-pciback must hold the device.
 * @permissive: the guest may write to all of the device's configuration space, not only to what is known to
 *   be harmless.
 *
 * The part of a #SeraiDevice that is a PCI device of the machine.  The hypervisor must use an IOMMU for it.
 */
typedef struct {
    char *address;
    gboolean permissive;
} SeraiPci;

/**
 * SeraiDevice:
 * @kind: which of the parts counts.
 * @devid: number of the device in the guest, or -1 to have it chosen: by @disk.target for a disk, the lowest
 *   free
 *   one for the rest.  Console 0 is the one the kernel writes to.
 * @backend_domid: the domain that serves it; 0 for dom0.
 * @disk: when a disk.
 * @nic: when a network interface.
 * @console: when a console or a channel.
 * @vfb: when a frame buffer.
 * @pci: when a PCI device of the machine.
 *
 * A device of a domain.
 */
typedef struct {
    SeraiDeviceKind kind;
    int devid;
    guint backend_domid;
    SeraiDisk disk;
    SeraiNic nic;
    SeraiConsole console;
    SeraiVfb vfb;
    SeraiPci pci;
    /*< private >*/
    gpointer reserved[6];
} SeraiDevice;

#define SERAI_TYPE_DEVICE (serai_device_get_type())
GType serai_device_get_type(void);

/**
 * serai_device_new:
 * @kind: what it is.
 *
 * Makes a description with defaults: @devid -1, a trusted NIC, a raw disk with direct I/O.
 *
 * Returns: (transfer full): the description.
 */
SeraiDevice *serai_device_new(SeraiDeviceKind kind);

/**
 * serai_device_copy:
 * @device: a device.
 *
 * Returns: (transfer full): a deep copy.
 */
SeraiDevice *serai_device_copy(const SeraiDevice *device);

/**
 * serai_device_free:
 * @device: (transfer full) (nullable): a device.
 *
 * Releases the description and all its strings.
 */
void serai_device_free(SeraiDevice *device);

/**
 * serai_device_check:
 * @device: a device.
 * @error: where the reason goes.
 *
 * Says whether the description can be carried out at all, without looking at the system: the target name, the
 * MAC address, what was combined with what.
 *
 * Returns: %TRUE, or %FALSE with %SERAI_ERROR_INVALID_CONFIG or %SERAI_ERROR_UNSUPPORTED.
 */
gboolean serai_device_check(const SeraiDevice *device, GError **error);

/**
 * serai_disk_target_to_devid:
 * @target: "xvda", "xvdb1", "sdc", "hda".
 *
 * The number a guest knows a disk by, as the vbd interface defines it.
 *
 * Returns: the number, or -1 when the name is none.
 */
int serai_disk_target_to_devid(const char *target);

/**
 * serai_device_same:
 * @a: a device.
 * @b: another.
 *
 * Whether both describe the same device of a domain: disks by target, NICs by @devid or else MAC, channels
 * by name,
 * PCI devices by address, the rest by @devid.
 *
 * Returns: %TRUE if so.
 */
gboolean serai_device_same(const SeraiDevice *a, const SeraiDevice *b);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(SeraiDevice, serai_device_free)

G_END_DECLS

#endif
