/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Dom0's ends of network interfaces, by netlink (libnl-route); Open vSwitch by its own tool, which owns its
 * data base.  Each function opens a socket of its own, so that threads do not meet.
 */
#include "private/system.h"

#include <gio/gio.h>
#include <net/if.h>
#include <netlink/route/link.h>
#include <netlink/route/link/bridge.h>

/* Highest unicast address: a bridge takes the lowest of its ports for itself, so never this one. */
#define BACKEND_MAC "fe:ff:ff:ff:ff:ff"

static struct nl_sock *
netlink_open(GError **error)
{
    struct nl_sock *sock = nl_socket_alloc();
    int rc = sock ? nl_connect(sock, NETLINK_ROUTE) : -NLE_NOMEM;

    if (!rc)
        return sock;
    nl_socket_free(sock);
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED,
                _("Cannot talk to the kernel about networks: %s."), nl_geterror(rc));
    return NULL;
}

/* One change of one link; @change is consumed. */
static gboolean
link_change(struct nl_sock *sock, const char *name, struct rtnl_link *change, GError **error)
{
    struct rtnl_link *link = NULL;
    int rc = rtnl_link_get_kernel(sock, 0, name, &link);

    if (!rc)
        rc = rtnl_link_change(sock, link, change, 0);
    rtnl_link_put(change);
    if (link)
        rtnl_link_put(link);
    if (rc)
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED,
                    _("Cannot set up network interface '%s': %s."), name, nl_geterror(rc));
    return rc == 0;
}

static gboolean
ovs_run(GError **error, GPtrArray *args)
{
    g_autofree char *output = NULL;
    g_autoptr(GError) local = NULL;
    int status;

    g_ptr_array_add(args, NULL);
    if (g_spawn_sync(NULL, (char **)args->pdata, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, NULL,
                     NULL, NULL, &output, &status, &local) &&
        g_spawn_check_wait_status(status, &local))
        return TRUE;
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED, _("Open vSwitch refuses: %s %s"),
                local->message, output ? g_strchomp(output) : "");
    return FALSE;
}

static gboolean
ovs_add(const char *name, const SeraiNic *nic, GError **error)
{
    g_autoptr(GPtrArray) args = g_ptr_array_new_with_free_func(g_free);
    const char *const start[] = {"ovs-vsctl", "--timeout=5", "--",       "--if-exists", "del-port",
                                 name,        "--",          "add-port", nic->bridge,   name};

    for (guint i = 0; i < G_N_ELEMENTS(start); i++)
        g_ptr_array_add(args, g_strdup(start[i]));
    if (nic->vlan_tag)
        g_ptr_array_add(args, g_strdup_printf("tag=%u", nic->vlan_tag));
    if (nic->vlan_trunks)
        g_ptr_array_add(args, g_strdup_printf("trunks=%s", nic->vlan_trunks));
    /* A port with a tag is an access port, whatever its trunks, unless it is told otherwise. */
    if (nic->vlan_trunks && nic->vlan_tag)
        g_ptr_array_add(args, g_strdup(nic->vlan_native_tagged ? "vlan_mode=native-tagged"
                                                               : "vlan_mode=native-untagged"));
    for (const char *const *s = (const char *const[]){"--", "set", "Interface", name, NULL}; *s; s++)
        g_ptr_array_add(args, g_strdup(*s));
    g_ptr_array_add(args, g_strdup_printf("external_ids:attached-mac=\"%s\"", nic->mac));
    g_ptr_array_add(args, g_strdup("external_ids:iface-status=active"));
    if (nic->ovs_interface_id)
        g_ptr_array_add(args, g_strdup_printf("external_ids:iface-id=\"%s\"", nic->ovs_interface_id));
    if (nic->ovs_profile_id) {
        for (const char *const *s = (const char *const[]){"--", "set", "Port", name, NULL}; *s; s++)
            g_ptr_array_add(args, g_strdup(*s));
        g_ptr_array_add(args, g_strdup_printf("external_ids:port-profile=\"%s\"", nic->ovs_profile_id));
    }
    return ovs_run(error, args);
}

void
serai_link_forget(const char *name, const SeraiNic *nic)
{
    g_autoptr(GPtrArray) args = g_ptr_array_new_with_free_func(g_free);

    if (nic->attach != SERAI_NIC_OVS)
        return;
    for (const char *const *s =
             (const char *const[]){"ovs-vsctl", "--timeout=5", "--", "--if-exists", "del-port", name, NULL};
         *s; s++)
        g_ptr_array_add(args, g_strdup(*s));
    ovs_run(NULL, args);
}

gboolean
serai_link_check(const SeraiNic *nic, GError **error)
{
    g_autofree char *path = NULL;

    if (nic->attach == SERAI_NIC_NONE)
        return TRUE;
    if (nic->attach == SERAI_NIC_BRIDGE) {
        path = g_strdup_printf("/sys/class/net/%s/bridge", nic->bridge);
        if (!g_file_test(path, G_FILE_TEST_IS_DIR)) {
            g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED, _("There is no bridge '%s'."),
                        nic->bridge);
            return FALSE;
        }
    }
    if (nic->ifname && if_nametoindex(nic->ifname)) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED,
                    _("There is a network interface '%s' already."), nic->ifname);
        return FALSE;
    }
    return TRUE;
}

/* A port that is isolated talks to the ports that are not. */
static gboolean
set_isolated(const char *name, gboolean isolated, GError **error)
{
    g_autofree char *path = g_strdup_printf("/sys/class/net/%s/brport/isolated", name);
    FILE *file;
    gboolean ok;

    if (!isolated && !g_file_test(path, G_FILE_TEST_EXISTS))
        return TRUE;
    file = fopen(path, "we");
    ok = file && fputs(isolated ? "1" : "0", file) >= 0;
    if (file && fclose(file) != 0)
        ok = FALSE;
    if (!ok)
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED, _("Cannot isolate bridge port '%s'."),
                    name);
    return ok;
}

static gboolean
set_master(struct nl_sock *sock, const char *name, const SeraiNic *nic, GError **error)
{
    struct rtnl_link *change;
    unsigned int master;

    if (nic->attach == SERAI_NIC_NONE)
        return TRUE;
    if (nic->attach == SERAI_NIC_OVS)
        return ovs_add(name, nic, error);
    master = if_nametoindex(nic->bridge);
    if (!master) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED, _("There is no bridge '%s'."),
                    nic->bridge);
        return FALSE;
    }
    change = rtnl_link_alloc();
    rtnl_link_set_master(change, master);
    return link_change(sock, name, change, error) && set_isolated(name, nic->isolated, error);
}

static gboolean
set_up(struct nl_sock *sock, const char *name, gboolean up, GError **error)
{
    struct rtnl_link *change = rtnl_link_alloc();

    if (up)
        rtnl_link_set_flags(change, IFF_UP);
    else
        rtnl_link_unset_flags(change, IFF_UP);
    return link_change(sock, name, change, error);
}

/* The MTU of the bridge, so that a packet that fits there fits here. */
static unsigned int
bridge_mtu(struct nl_sock *sock, const SeraiNic *nic)
{
    struct rtnl_link *bridge = NULL;
    unsigned int mtu = 0;

    if (nic->attach == SERAI_NIC_BRIDGE && rtnl_link_get_kernel(sock, 0, nic->bridge, &bridge) == 0) {
        mtu = rtnl_link_get_mtu(bridge);
        rtnl_link_put(bridge);
    }
    return mtu;
}

gboolean
serai_link_setup(const char *vif, const SeraiNic *nic, GError **error)
{
    struct nl_sock *sock = netlink_open(error);
    const char *name = nic->ifname ? nic->ifname : vif;
    struct rtnl_link *change;
    struct nl_addr *mac;
    unsigned int mtu;
    gboolean ok;

    if (!sock)
        return FALSE;
    mtu = nic->mtu ? nic->mtu : bridge_mtu(sock, nic);
    change = rtnl_link_alloc();
    if (strcmp(name, vif))
        rtnl_link_set_name(change, name); /* only a link that is down can be renamed, and it is new */
    if (nl_addr_parse(BACKEND_MAC, AF_LLC, &mac) == 0) {
        rtnl_link_set_addr(change, mac);
        nl_addr_put(mac);
    }
    if (mtu)
        rtnl_link_set_mtu(change, mtu);
    ok = link_change(sock, vif, change, error) && set_master(sock, name, nic, error) &&
         (nic->link_down || set_up(sock, name, TRUE, error));
    nl_socket_free(sock);
    return ok;
}

gboolean
serai_link_update(const char *name, const SeraiNic *was, const SeraiNic *nic, GError **error)
{
    struct nl_sock *sock = netlink_open(error);
    gboolean ok = sock != NULL;

    if (ok && (was->attach != nic->attach || g_strcmp0(was->bridge, nic->bridge) ||
               was->vlan_tag != nic->vlan_tag || g_strcmp0(was->vlan_trunks, nic->vlan_trunks) ||
               was->vlan_native_tagged != nic->vlan_native_tagged || was->isolated != nic->isolated)) {
        struct rtnl_link *change = rtnl_link_alloc();

        serai_link_forget(name, was);
        rtnl_link_set_master(change, 0);
        ok = (was->attach != SERAI_NIC_BRIDGE ? (rtnl_link_put(change), TRUE)
                                              : link_change(sock, name, change, error)) &&
             set_master(sock, name, nic, error);
    }
    if (ok && was->link_down != nic->link_down)
        ok = set_up(sock, name, !nic->link_down, error);
    if (ok && nic->mtu && was->mtu != nic->mtu) {
        struct rtnl_link *change = rtnl_link_alloc();

        rtnl_link_set_mtu(change, nic->mtu);
        ok = link_change(sock, name, change, error);
    }
    if (sock)
        nl_socket_free(sock);
    return ok;
}
