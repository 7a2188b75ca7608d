/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Descriptions of devices: copying, checking, comparing, and writing them as text.  What a description does
 * to the system is in private/device.c.  No state, no locks.
 */
#include "private/fields.h"
#include "private/pci.h"

#define ROW(name, type, limit)                                               \
    {                                                                        \
#name, SERAI_FIELD_##type, G_STRUCT_OFFSET(SeraiDevice, name), limit \
    }

static const SeraiField fields[] = {
    ROW(kind, UINT, SERAI_DEVICE_PCI + 1),
    ROW(devid, INT, 0),
    ROW(backend_domid, UINT, 0),
    ROW(disk.target, STRING, 0),
    ROW(disk.path, STRING, 0),
    ROW(disk.format, UINT, SERAI_DISK_VDI + 1),
    ROW(disk.backend, UINT, SERAI_DISK_BACKEND_QEMU + 1),
    ROW(disk.readonly, BOOLEAN, 2),
    ROW(disk.shareable, BOOLEAN, 2),
    ROW(disk.cdrom, BOOLEAN, 2),
    ROW(disk.discard, BOOLEAN, 2),
    ROW(disk.cached, BOOLEAN, 2),
    ROW(disk.indirect_segments, UINT, 0),
    ROW(disk.encrypted, BOOLEAN, 2),
    ROW(disk.passphrase_name, STRING, 0),
    ROW(disk.passphrase, SECRET, 0),
    ROW(nic.mac, STRING, 0),
    ROW(nic.attach, UINT, SERAI_NIC_OVS + 1),
    ROW(nic.bridge, STRING, 0),
    ROW(nic.ifname, STRING, 0),
    ROW(nic.vlan_tag, UINT, 0),
    ROW(nic.vlan_trunks, STRING, 0),
    ROW(nic.vlan_native_tagged, BOOLEAN, 2),
    ROW(nic.ovs_interface_id, STRING, 0),
    ROW(nic.ovs_profile_id, STRING, 0),
    ROW(nic.rate_kib, UINT64, 0),
    ROW(nic.rate_burst_us, UINT64, 0),
    ROW(nic.mtu, UINT, 0),
    ROW(nic.queues, UINT, 0),
    ROW(nic.link_down, BOOLEAN, 2),
    ROW(nic.isolated, BOOLEAN, 2),
    ROW(nic.trusted, BOOLEAN, 2),
    ROW(console.name, STRING, 0),
    ROW(console.log_path, STRING, 0),
    ROW(console.log_append, BOOLEAN, 2),
    ROW(console.socket_path, STRING, 0),
    ROW(vfb.vnc, BOOLEAN, 2),
    ROW(vfb.listen, STRING, 0),
    ROW(vfb.port, UINT, 0),
    ROW(vfb.socket_path, STRING, 0),
    ROW(vfb.password, STRING, 0),
    ROW(vfb.keymap, STRING, 0),
    ROW(vfb.sdl, BOOLEAN, 2),
    ROW(vfb.display, STRING, 0),
    ROW(vfb.xauthority, STRING, 0),
    ROW(pci.address, STRING, 0),
    ROW(pci.permissive, BOOLEAN, 2),
};

G_DEFINE_BOXED_TYPE(SeraiDevice, serai_device, serai_device_copy, serai_device_free)

SeraiDevice *
serai_device_new(SeraiDeviceKind kind)
{
    SeraiDevice *device = g_new0(SeraiDevice, 1);

    device->kind = kind;
    device->devid = -1;
    device->nic.trusted = TRUE;
    return device;
}

SeraiDevice *
serai_device_copy(const SeraiDevice *device)
{
    SeraiDevice *copy = g_new0(SeraiDevice, 1);

    serai_fields_copy(fields, G_N_ELEMENTS(fields), copy, device);
    return copy;
}

void
serai_device_free(SeraiDevice *device)
{
    if (!device)
        return;
    serai_fields_clear(fields, G_N_ELEMENTS(fields), device);
    g_free(device);
}

void
serai_device_save(const SeraiDevice *device, GKeyFile *file, const char *group)
{
    serai_fields_save(fields, G_N_ELEMENTS(fields), device, file, group);
    /* Zero is a value here, so it is written always. */
    g_key_file_set_integer(file, group, "devid", device->devid);
}

SeraiDevice *
serai_device_load(GKeyFile *file, const char *group, GError **error)
{
    g_autoptr(SeraiDevice) device = g_new0(SeraiDevice, 1);

    if (!serai_fields_load(fields, G_N_ELEMENTS(fields), device, file, group, error))
        return NULL;
    return g_steal_pointer(&device);
}

char *
serai_device_to_data(const SeraiDevice *device)
{
    g_autoptr(GKeyFile) file = g_key_file_new();

    serai_device_save(device, file, "device");
    return g_key_file_to_data(file, NULL, NULL);
}

SeraiDevice *
serai_device_from_data(const char *data, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autoptr(GError) local = NULL;

    if (!g_key_file_load_from_data(file, data, -1, G_KEY_FILE_NONE, &local)) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG,
                    _("The description of a device is malformed: %s"), local->message);
        return NULL;
    }
    return serai_device_load(file, "device", error);
}

/* --- names of disks --------------------------------------------------------------------------- */

/* Reads "a" to "z", "aa" and so on as 0, 1, ...; -1 when there is no letter or too many. */
static int
read_letters(const char **text)
{
    int n = 0, length = 0;

    while (g_ascii_islower(**text) && length < 4) {
        n = n * 26 + (**text - 'a') + 1;
        (*text)++;
        length++;
    }
    return length ? n - 1 : -1;
}

/*
 * Numbers of vbd devices (docs of the Xen vbd interface):
 *   xvd*      disk < 16 and partition < 16:  202 << 8 | disk << 4 | partition
 *             otherwise:                     1 << 28 | disk << 8 | partition
 *   sd*       disk < 16 and partition < 16:  8 << 8 | disk << 4 | partition
 *   hda, hdb  3 << 8 | disk << 6 | partition;  hdc, hdd  22 << 8 | (disk - 2) << 6 | partition
 */
int
serai_disk_target_to_devid(const char *target)
{
    const char *p = target;
    int disk;
    guint64 partition = 0;

    if (!target)
        return -1;
    if (g_str_has_prefix(target, "xvd"))
        p += 3;
    else if (g_str_has_prefix(target, "sd") || g_str_has_prefix(target, "hd"))
        p += 2;
    else
        return -1;
    disk = read_letters(&p);
    if (disk < 0)
        return -1;
    if (*p && (!g_ascii_string_to_unsigned(p, 10, 1, 255, &partition, NULL) || *p == '0'))
        return -1;
    if (target[0] == 'x') {
        if (disk < 16 && partition < 16)
            return 202 << 8 | disk << 4 | partition;
        return disk < (1 << 20) ? 1 << 28 | disk << 8 | (int)partition : -1;
    }
    if (target[0] == 's')
        return disk < 16 && partition < 16 ? 8 << 8 | disk << 4 | (int)partition : -1;
    if (disk > 3 || partition > 63)
        return -1;
    return disk < 2 ? 3 << 8 | disk << 6 | (int)partition : 22 << 8 | (disk - 2) << 6 | (int)partition;
}

/* --- checks ----------------------------------------------------------------------------------- */

static gboolean
invalid(GError **error, const char *format, const char *what)
{
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG, format, what); /* both strings are ours */
    return FALSE;
}

static gboolean
refuse(GError **error, const char *message)
{
    g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG, message);
    return FALSE;
}

static gboolean
mac_is_valid(const char *mac)
{
    if (!mac || strlen(mac) != 17)
        return FALSE;
    for (int i = 0; i < 17; i++)
        if (i % 3 == 2 ? mac[i] != ':' : !g_ascii_isxdigit(mac[i]))
            return FALSE;
    return !(g_ascii_xdigit_value(mac[1]) & 1) && strcmp(mac, "00:00:00:00:00:00");
}

/* Linux's rules for names of interfaces (dev_valid_name). */
static gboolean
ifname_is_valid(const char *name)
{
    return *name && strlen(name) < 16 && strcmp(name, ".") && strcmp(name, "..") &&
           !strpbrk(name, "/: \t\n\v\f\r");
}

static gboolean
check_disk(const SeraiDisk *disk, GError **error)
{
    if (serai_disk_target_to_devid(disk->target) < 0)
        return invalid(error, _("'%s' is no name of a disk."), disk->target ? disk->target : "");
    if (!disk->path && !disk->cdrom)
        return invalid(error, _("Disk '%s' has no source."), disk->target);
    if (disk->path && !*disk->path)
        return invalid(error, _("Disk '%s' has an empty source."), disk->target);
    if (disk->path && strchr(disk->path, '\n'))
        return invalid(error, _("The source of disk '%s' has a line break in its name."), disk->target);
    if (disk->backend == SERAI_DISK_BACKEND_KERNEL && disk->format != SERAI_DISK_RAW)
        return invalid(error, _("Disk '%s' is not raw, so the kernel cannot serve it."), disk->target);
    if (disk->encrypted && disk->backend == SERAI_DISK_BACKEND_KERNEL)
        return invalid(error, _("Disk '%s' is encrypted, so the kernel cannot serve it."), disk->target);
    if (disk->encrypted && disk->format != SERAI_DISK_RAW && disk->format != SERAI_DISK_QCOW2)
        return invalid(error, _("Disk '%s' is encrypted, which only raw and qcow2 can be."), disk->target);
    if (disk->encrypted && disk->cdrom)
        return invalid(error, _("Disk '%s' is a CD-ROM, which cannot be encrypted."), disk->target);
    return TRUE;
}

static gboolean
check_nic(const SeraiNic *nic, GError **error)
{
    if (!mac_is_valid(nic->mac))
        return invalid(error, _("'%s' is no unicast MAC address."), nic->mac ? nic->mac : "");
    if (nic->attach != SERAI_NIC_NONE && !nic->bridge)
        return invalid(error, _("NIC '%s' is to be connected to a bridge that has no name."), nic->mac);
    if (nic->bridge && !ifname_is_valid(nic->bridge))
        return invalid(error, _("'%s' is no name of a bridge."), nic->bridge);
    if (nic->ifname && !ifname_is_valid(nic->ifname))
        return invalid(error, _("'%s' is no name of a network interface."), nic->ifname);
    if ((nic->vlan_tag || nic->vlan_trunks) && nic->attach != SERAI_NIC_OVS)
        return invalid(error, _("NIC '%s' has a VLAN, which needs Open vSwitch."), nic->mac);
    if (nic->vlan_tag > 4094)
        return invalid(error, _("The VLAN of NIC '%s' is above 4094."), nic->mac);
    if (nic->vlan_trunks && strspn(nic->vlan_trunks, "0123456789,") != strlen(nic->vlan_trunks))
        return invalid(error, _("'%s' is no list of VLANs."), nic->vlan_trunks);
    if (nic->ovs_interface_id && !g_uuid_string_is_valid(nic->ovs_interface_id))
        return invalid(error, _("'%s' is no UUID."), nic->ovs_interface_id);
    if (nic->ovs_profile_id && strpbrk(nic->ovs_profile_id, "\"\\\n"))
        return invalid(error, _("'%s' is no name of a port profile."), nic->ovs_profile_id);
    if (nic->mtu && (nic->mtu < 68 || nic->mtu > 65535))
        return invalid(error, _("The MTU of NIC '%s' must be from 68 to 65535."), nic->mac);
    if (nic->rate_kib > G_MAXUINT32 || nic->rate_burst_us > 10 * G_USEC_PER_SEC)
        return invalid(error, _("The rate limit of NIC '%s' is too large."), nic->mac);
    return TRUE;
}

static gboolean
check_vfb(const SeraiVfb *vfb, GError **error)
{
    if (vfb->port > 65535)
        return refuse(error, _("The VNC port is above 65535."));
    if (vfb->port && vfb->port < 5900)
        return refuse(error, _("The VNC port is below 5900."));
    if (vfb->keymap && strspn(vfb->keymap, "abcdefghijklmnopqrstuvwxyz-") != strlen(vfb->keymap))
        return invalid(error, _("'%s' is no name of a key map."), vfb->keymap);
    if (vfb->password)
        for (const char *p = vfb->password; *p; p++)
            if (!g_ascii_isprint(*p) || *p == '"' || *p == '\\')
                return refuse(error, _("The VNC password has characters that cannot be used."));
    if (vfb->listen && strpbrk(vfb->listen, ", \n"))
        return invalid(error, _("'%s' is no address to listen on."), vfb->listen);
    if (vfb->socket_path && strpbrk(vfb->socket_path, ",\n"))
        return invalid(error, _("'%s' is no path that QEMU can listen on."), vfb->socket_path);
    return TRUE;
}

gboolean
serai_device_check(const SeraiDevice *device, GError **error)
{
    if (device->backend_domid) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED,
                            _("Devices that another domain serves are not supported."));
        return FALSE;
    }
    if (device->devid < -1 || (device->kind != SERAI_DEVICE_DISK && device->devid > 1023))
        return refuse(error, _("The number of a device is out of range."));
    switch (device->kind) {
    case SERAI_DEVICE_DISK:
        return check_disk(&device->disk, error);
    case SERAI_DEVICE_NIC:
        return check_nic(&device->nic, error);
    case SERAI_DEVICE_VFB:
        return check_vfb(&device->vfb, error);
    case SERAI_DEVICE_CHANNEL:
        if (!device->console.name || !*device->console.name || strchr(device->console.name, '\n'))
            return refuse(error, _("A channel has no usable name."));
        return TRUE;
    case SERAI_DEVICE_CONSOLE:
        if (device->console.socket_path)
            return refuse(error, _("A console has a pty, not a socket."));
        return TRUE;
    case SERAI_DEVICE_VKB:
        return TRUE;
    case SERAI_DEVICE_PCI:
        return serai_pci_parse(device->pci.address, NULL) ||
               invalid(error, _("'%s' is no address of a PCI device."),
                       device->pci.address ? device->pci.address : "");
    }
    return refuse(error, _("A device is of no known kind."));
}

gboolean
serai_device_same(const SeraiDevice *a, const SeraiDevice *b)
{
    if (a->kind != b->kind)
        return FALSE;
    switch (a->kind) {
    case SERAI_DEVICE_DISK:
        return serai_disk_target_to_devid(a->disk.target) == serai_disk_target_to_devid(b->disk.target);
    case SERAI_DEVICE_NIC:
        if (a->devid >= 0 && b->devid >= 0)
            return a->devid == b->devid;
        return a->nic.mac && b->nic.mac && !g_ascii_strcasecmp(a->nic.mac, b->nic.mac);
    case SERAI_DEVICE_CHANNEL:
        return !g_strcmp0(a->console.name, b->console.name);
    case SERAI_DEVICE_PCI:
        return !g_strcmp0(a->pci.address, b->pci.address);
    default:
        return MAX(a->devid, 0) == MAX(b->devid, 0);
    }
}
