/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Dom0's ends of NICs on the real kernel, in a network of the test's own: bridges, link state, isolation,
 * MTU. A veth stands for the end that netback makes.  Open vSwitch is a script that writes down what it was
 * told.
 */
#include "common.h"
#include "private/system.h"

#include <fcntl.h>
#include <net/if.h>
#include <netlink/route/link.h>
#include <netlink/route/link/bridge.h>
#include <netlink/route/link/veth.h>
#include <sched.h>
#include <sys/mount.h>

#define VIF "vif1.0"

static char *dir;
static gboolean alone; /* in a network of its own */

/* --- a network of our own ----------------------------------------------------------------------- */

static void
write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    g_assert_cmpint(write(fd, text, strlen(text)), ==, strlen(text));
    close(fd);
}

/* Without threads yet; FALSE where the kernel does not let us. */
static gboolean
go_alone(void)
{
    g_autofree char *uids = g_strdup_printf("0 %u 1", getuid()), *gids = g_strdup_printf("0 %u 1", getgid());

    if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) < 0)
        return FALSE;
    write_text("/proc/self/setgroups", "deny");
    write_text("/proc/self/uid_map", uids);
    write_text("/proc/self/gid_map", gids);
    /* /sys shows the network of who mounted it. */
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("sysfs", "/sys", "sysfs", 0, NULL) == 0;
}

static struct nl_sock *
netlink(void)
{
    struct nl_sock *sock = nl_socket_alloc();

    g_assert_cmpint(nl_connect(sock, NETLINK_ROUTE), ==, 0);
    return sock;
}

static void
set_up(void)
{
    struct nl_sock *sock = netlink();
    struct rtnl_link *change = rtnl_link_alloc(), *bridge;

    g_assert_cmpint(rtnl_link_bridge_add(sock, "br0"), ==, 0);
    g_assert_cmpint(rtnl_link_bridge_add(sock, "br1"), ==, 0);
    g_assert_cmpint(rtnl_link_veth_add(sock, VIF, "guest0", getpid()), ==, 0);
    g_assert_cmpint(rtnl_link_get_kernel(sock, 0, "br0", &bridge), ==, 0);
    rtnl_link_set_mtu(change, 1400);
    g_assert_cmpint(rtnl_link_change(sock, bridge, change, 0), ==, 0);
    rtnl_link_put(bridge);
    rtnl_link_put(change);
    nl_socket_free(sock);
}

static void
tear_down(void)
{
    static const char *const names[] = {"guest0", "br0", "br1"};
    struct nl_sock *sock = netlink();

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        struct rtnl_link *link = rtnl_link_alloc();

        rtnl_link_set_name(link, names[i]);
        g_assert_cmpint(rtnl_link_delete(sock, link), ==, 0);
        rtnl_link_put(link);
    }
    nl_socket_free(sock);
}

/* What the kernel says of a link: "br0 up 1500", "- down 1400", or "none". */
static char *
describe(const char *name)
{
    struct nl_sock *sock = netlink();
    struct rtnl_link *link = NULL;
    char master[IFNAMSIZ] = "-";
    char *text;

    if (rtnl_link_get_kernel(sock, 0, name, &link) < 0) {
        nl_socket_free(sock);
        return g_strdup("none");
    }
    if (rtnl_link_get_master(link))
        g_assert_nonnull(if_indextoname(rtnl_link_get_master(link), master));
    text = g_strdup_printf("%s %s %u", master, rtnl_link_get_flags(link) & IFF_UP ? "up" : "down",
                           rtnl_link_get_mtu(link));
    rtnl_link_put(link);
    nl_socket_free(sock);
    return text;
}

#define expect(name, text)                     \
    do {                                       \
        g_autofree char *now = describe(name); \
                                               \
        g_assert_cmpstr(now, ==, text);        \
    } while (0)

static char *
sys(const char *path)
{
    char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return g_strchomp(text);
}

static SeraiDevice *
bridged(const char *bridge)
{
    SeraiDevice *device = serai_device_new(SERAI_DEVICE_NIC);

    device->nic.mac = g_strdup("00:16:3e:00:00:07");
    device->nic.attach = SERAI_NIC_BRIDGE;
    device->nic.bridge = g_strdup(bridge);
    return device;
}

/* --- bridges ------------------------------------------------------------------------------------ */

static void
joins_its_bridge_and_goes_up(void)
{
    g_autoptr(SeraiDevice) nic = bridged("br0");
    g_autoptr(GError) error = NULL;
    g_autofree char *mac = NULL;

    set_up();
    g_assert_true(serai_link_check(&nic->nic, &error));
    g_assert_true(serai_link_setup(VIF, &nic->nic, &error));
    g_assert_no_error(error);
    expect(VIF, "br0 up 1400");
    mac = sys("/sys/class/net/" VIF "/address");
    g_assert_cmpstr(mac, ==, "fe:ff:ff:ff:ff:ff");
    tear_down();
}

static void
has_the_name_and_the_mtu_it_is_given(void)
{
    g_autoptr(SeraiDevice) nic = bridged("br0");
    g_autoptr(GError) error = NULL;

    set_up();
    nic->nic.ifname = g_strdup("web0");
    nic->nic.mtu = 1300;
    g_assert_true(serai_link_setup(VIF, &nic->nic, &error));
    expect(VIF, "none");
    expect("web0", "br0 up 1300");
    /* Now the name is taken. */
    g_assert_false(serai_link_check(&nic->nic, &error));
    g_assert_nonnull(strstr(error->message, "web0"));
    tear_down();
}

static void
link_state_mtu_and_bridge_change_while_it_lives(void)
{
    g_autoptr(SeraiDevice) was = bridged("br0"), nic = bridged("br0"), other = bridged("br1"),
                           lost = bridged("br7");
    g_autoptr(GError) error = NULL;

    set_up();
    was->nic.link_down = TRUE;
    g_assert_true(serai_link_setup(VIF, &was->nic, &error));
    expect(VIF, "br0 down 1400");
    g_assert_true(serai_link_update(VIF, &was->nic, &nic->nic, &error));
    expect(VIF, "br0 up 1400");
    g_assert_true(serai_link_update(VIF, &nic->nic, &was->nic, &error));
    expect(VIF, "br0 down 1400");
    other->nic.mtu = 1200;
    g_assert_true(serai_link_update(VIF, &was->nic, &other->nic, &error));
    g_assert_no_error(error);
    expect(VIF, "br1 up 1200");
    g_assert_false(serai_link_update(VIF, &other->nic, &lost->nic, &error));
    g_assert_nonnull(strstr(error->message, "br7"));
    tear_down();
}

static void
an_isolated_port_is_one(void)
{
    g_autoptr(SeraiDevice) nic = bridged("br0"), open = bridged("br0");
    g_autoptr(GError) error = NULL;
    g_autofree char *first = NULL, *then = NULL;

    set_up();
    nic->nic.isolated = TRUE;
    g_assert_true(serai_link_setup(VIF, &nic->nic, &error));
    first = sys("/sys/class/net/" VIF "/brport/isolated");
    g_assert_cmpstr(first, ==, "1");
    g_assert_true(serai_link_update(VIF, &nic->nic, &open->nic, &error));
    then = sys("/sys/class/net/" VIF "/brport/isolated");
    g_assert_cmpstr(then, ==, "0");
    tear_down();
}

static void
no_bridge_no_nic(void)
{
    g_autoptr(SeraiDevice) nic = bridged("br7"), none = bridged("br0");
    g_autoptr(GError) error = NULL;

    set_up();
    g_assert_false(serai_link_check(&nic->nic, &error));
    g_assert_cmpstr(error->message, ==, "There is no bridge 'br7'.");
    g_clear_error(&error);
    g_assert_false(serai_link_setup(VIF, &nic->nic, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED);
    g_clear_error(&error);
    /* A port of its own is no bridge. */
    g_free(nic->nic.bridge);
    nic->nic.bridge = g_strdup("guest0");
    g_assert_false(serai_link_check(&nic->nic, &error));
    g_clear_error(&error);
    g_assert_false(serai_link_setup("vif9.9", &none->nic, &error));
    g_assert_nonnull(strstr(error->message, "vif9.9"));
    tear_down();
}

/* --- Open vSwitch ------------------------------------------------------------------------------- */

static char *
told(void)
{
    g_autofree char *path = g_build_filename(dir, "told", NULL);
    char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return g_strdup("");
    g_unlink(path);
    return g_strchomp(text);
}

static SeraiDevice *
switched(guint tag, const char *trunks)
{
    SeraiDevice *device = bridged("ovs0");

    device->nic.attach = SERAI_NIC_OVS;
    device->nic.vlan_tag = tag;
    device->nic.vlan_trunks = g_strdup(trunks);
    return device;
}

#define expect_told(text)               \
    do {                                \
        g_autofree char *now = told();  \
                                        \
        g_assert_cmpstr(now, ==, text); \
    } while (0)

static void
expect_part(const char *part)
{
    g_autofree char *now = told();

    if (!strstr(now, part))
        g_error("'%s' is not in '%s'", part, now);
}

#define OVS "--timeout=5 -- --if-exists del-port " VIF
#define ADD OVS " -- add-port ovs0 " VIF
#define SET                  \
    " -- set Interface " VIF \
    " external_ids:attached-mac=\"00:16:3e:00:00:07\" external_ids:iface-status=active"

static void
open_vswitch_is_told_the_vlan(void)
{
    g_autoptr(SeraiDevice) tagged = switched(7, NULL), trunk = switched(0, "10,20"), plain = bridged("br0");
    g_autoptr(GError) error = NULL;
    g_autofree char *fail = g_build_filename(dir, "fail", NULL);

    set_up();
    g_assert_true(serai_link_setup(VIF, &tagged->nic, &error));
    g_assert_no_error(error);
    expect_told(ADD " tag=7" SET);
    expect(VIF, "- up 1500");

    /* Another VLAN is another port; its addresses in Neutron go with it. */
    trunk->nic.ovs_interface_id = g_strdup("09b11c53-8b5c-4eeb-8f00-d84eaa0aaa4f");
    trunk->nic.ovs_profile_id = g_strdup("gold");
    g_assert_true(serai_link_update(VIF, &tagged->nic, &trunk->nic, &error));
    expect_told(OVS "\n" ADD " trunks=10,20" SET
                    " external_ids:iface-id=\"09b11c53-8b5c-4eeb-8f00-d84eaa0aaa4f\" -- set Port " VIF
                    " external_ids:port-profile=\"gold\"");

    /* A native VLAN beside others. */
    trunk->nic.vlan_tag = 10;
    g_assert_true(serai_link_setup(VIF, &trunk->nic, &error));
    expect_part(" tag=10 trunks=10,20 vlan_mode=native-untagged -- ");
    trunk->nic.vlan_native_tagged = TRUE;
    g_assert_true(serai_link_setup(VIF, &trunk->nic, &error));
    expect_part(" tag=10 trunks=10,20 vlan_mode=native-tagged -- ");

    /* From the switch to a bridge: the port is forgotten first. */
    g_assert_true(serai_link_update(VIF, &trunk->nic, &plain->nic, &error));
    g_assert_no_error(error);
    expect_told(OVS);
    expect(VIF, "br0 up 1500");

    serai_link_forget(VIF, &tagged->nic);
    expect_told(OVS);
    serai_link_forget(VIF, &plain->nic);
    expect_told("");

    g_assert_true(g_file_set_contents(fail, "no bridge named ovs0\n", -1, NULL));
    g_assert_false(serai_link_setup(VIF, &tagged->nic, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED);
    g_assert_nonnull(strstr(error->message, "no bridge named ovs0"));
    tear_down();
}

/* --- all ---------------------------------------------------------------------------------------- */

static void
run(gconstpointer function)
{
    if (alone)
        ((void (*)(void))function)();
    else
        g_test_skip("the kernel gives no network of our own");
}

#define T(function) g_test_add_data_func("/libxl/link/" #function, (gconstpointer)function, run)

int
main(int argc, char **argv)
{
    g_autofree char *tool = NULL, *path = NULL, *command = NULL;
    int result;

    alone = go_alone();
    g_test_init(&argc, &argv, NULL);
    dir = g_dir_make_tmp("serai-link-XXXXXX", NULL);
    tool = g_build_filename(dir, "ovs-vsctl", NULL);
    g_assert_true(g_file_set_contents(tool,
                                      "#!/bin/sh\n"
                                      "here=${0%/*}\n"
                                      "[ -e $here/fail ] && { cat $here/fail >&2; exit 1; }\n"
                                      "echo \"$@\" >>$here/told\n",
                                      -1, NULL));
    g_assert_cmpint(g_chmod(tool, 0700), ==, 0);
    path = g_strdup_printf("%s:%s", dir, g_getenv("PATH"));
    g_setenv("PATH", path, TRUE);

    T(joins_its_bridge_and_goes_up);
    T(has_the_name_and_the_mtu_it_is_given);
    T(link_state_mtu_and_bridge_change_while_it_lives);
    T(an_isolated_port_is_one);
    T(no_bridge_no_nic);
    T(open_vswitch_is_told_the_vlan);
    result = g_test_run();
    command = g_strdup_printf("rm -rf %s", dir);
    g_assert_cmpint(system(command), ==, 0);
    g_free(dir);
    return result;
}
