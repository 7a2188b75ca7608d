/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptions: what is refused, and that text and copies hold everything. */
#include "common.h"

static SeraiConfig *
full(void)
{
    SeraiConfig *config = serai_config_new();
    SeraiVnumaNode *node = serai_vnuma_node_new();
    SeraiDevice *device = serai_device_new(SERAI_DEVICE_NIC);
    g_autoptr(GBytes) map = g_bytes_new_static("\x03\x80", 2);
    guint distance = 10;

    config->name = g_strdup("näme with = and [brackets]\\");
    config->uuid = g_strdup("6f1c9c5e-0000-4000-8000-000000000001");
    config->cmdline = g_strdup(" leading space; \"quotes\"\ttab");
    config->max_memory_kib = 65536;
    config->max_vcpus = 2;
    config->localtime_offset = -3600;
    config->owner_data = g_strdup("line\nline");
    serai_config_set_hard_affinity(config, 1, map);
    node->memory_kib = 65536;
    node->vcpus = g_bytes_ref(map);
    node->distances = g_array_new(FALSE, FALSE, sizeof(guint));
    g_array_append_val(node->distances, distance);
    g_ptr_array_add(config->vnuma, node);
    device->nic.mac = g_strdup("00:16:3e:00:00:01");
    device->nic.rate_kib = 1000;
    device->nic.trusted = FALSE;
    serai_config_add_device(config, device);
    return config;
}

static void
text_holds_everything(void)
{
    g_autoptr(SeraiConfig) config = full(), back = NULL, copy = serai_config_copy(config);
    g_autofree char *text = serai_config_to_data(config), *again = NULL, *copied = serai_config_to_data(copy);
    g_autoptr(GError) error = NULL;

    back = serai_config_from_data(text, &error);
    g_assert_no_error(error);
    again = serai_config_to_data(back);
    g_assert_cmpstr(text, ==, again);
    g_assert_cmpstr(text, ==, copied);
    g_assert_cmpstr(back->name, ==, config->name);
    g_assert_cmpstr(back->cmdline, ==, config->cmdline);
    g_assert_cmpstr(back->owner_data, ==, "line\nline");
    g_assert_cmpint(back->localtime_offset, ==, -3600);
    g_assert_true(g_bytes_equal(back->hard_affinity->pdata[1], config->hard_affinity->pdata[1]));
    g_assert_true(serai_config_check(back, &error));
    g_assert_no_error(error);
}

static void
disk_names_have_the_numbers_of_the_interface(void)
{
    const struct {
        const char *name;
        int devid;
    } rows[] = {{"xvda", 51712},
                {"xvda1", 51713},
                {"xvdb", 51728},
                {"xvdp15", 51967},
                {"xvdq", 1 << 28 | 16 << 8},
                {"xvda16", 1 << 28 | 16},
                {"xvdaa", 1 << 28 | 26 << 8},
                {"sda", 2048},
                {"sdb3", 2067},
                {"hda", 768},
                {"hdb", 832},
                {"hdc", 5632},
                {"hdd1", 5697},
                {"xvd", -1},
                {"xvda0", -1},
                {"xvda01", -1},
                {"xvdA", -1},
                {"vda", -1},
                {"", -1},
                {NULL, -1},
                {"hde", -1},
                {"xvda256", -1},
                {"xvda1x", -1},
                {"../../x", -1}};

    for (guint i = 0; i < G_N_ELEMENTS(rows); i++)
        g_assert_cmpint(serai_disk_target_to_devid(rows[i].name), ==, rows[i].devid);
}

typedef void (*Spoil)(SeraiConfig *config);

#define SPOIL(name, code)                      \
    static void spoil_##name(SeraiConfig *c)   \
    {                                          \
        SeraiDevice *d = c->devices->pdata[0]; \
        (void)d;                               \
        code;                                  \
    }

SPOIL(no_name, g_clear_pointer(&c->name, g_free))
SPOIL(slash, c->name[0] = '/')
SPOIL(no_uuid, c->uuid[0] = 'x')
SPOIL(no_memory, c->max_memory_kib = 0)
SPOIL(more_than_maximum, c->memory_kib = c->max_memory_kib + 4)
SPOIL(no_vcpus, c->max_vcpus = 0)
SPOIL(more_vcpus, c->vcpus = 3)
SPOIL(multicast, d->nic.mac[1] = '1')
SPOIL(short_mac, d->nic.mac[16] = 0)
SPOIL(no_bridge, d->nic.attach = SERAI_NIC_BRIDGE)
SPOIL(vlan_without_ovs, d->nic.vlan_tag = 5)
SPOIL(bad_ifname, d->nic.ifname = g_strdup("a/b"))
SPOIL(twice, serai_config_add_device(c, serai_device_copy(d)))
SPOIL(vnuma_sum, ((SeraiVnumaNode *)c->vnuma->pdata[0])->memory_kib = 4)
SPOIL(pinned_ghost, serai_config_set_hard_affinity(c, 7, c->hard_affinity->pdata[1]))

static void
what_cannot_be_is_refused(void)
{
    static const Spoil spoils[] = {
        spoil_no_name,          spoil_slash,      spoil_no_uuid,   spoil_no_memory, spoil_more_than_maximum,
        spoil_no_vcpus,         spoil_more_vcpus, spoil_multicast, spoil_short_mac, spoil_no_bridge,
        spoil_vlan_without_ovs, spoil_bad_ifname, spoil_twice,     spoil_vnuma_sum, spoil_pinned_ghost};

    for (guint i = 0; i < G_N_ELEMENTS(spoils); i++) {
        g_autoptr(SeraiConfig) config = full();
        g_autoptr(GError) error = NULL;

        g_assert_true(serai_config_check(config, NULL));
        spoils[i](config);
        g_assert_false(serai_config_check(config, &error));
        g_assert_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG);
        g_assert_cmpuint(strlen(error->message), >, 10);
    }
}

/* Text from a damaged image or store: an error or a description, never a crash. */
static void
damaged_text_does_no_harm(void)
{
    g_autoptr(SeraiConfig) config = full();
    g_autofree char *text = serai_config_to_data(config);
    gsize size = strlen(text);

    for (guint round = 0; round < 5000; round++) {
        g_autofree char *copy = g_strdup(text);
        g_autoptr(SeraiConfig) back = NULL;
        g_autoptr(GError) error = NULL;

        for (int flips = g_test_rand_int_range(1, 5); flips; flips--)
            copy[g_test_rand_int_range(0, size)] = g_test_rand_int_range(0, 256);
        back = serai_config_from_data(copy, &error);
        if (back)
            serai_config_check(back, NULL);
        else
            g_assert_nonnull(error);
    }
}

/* Two bad escapes in one value, the second at its end: GLib would set one error over the other and warn. */
static void
bad_escapes_are_refused_in_silence(void)
{
    static const char *const names[] = {"\\q\\", "\\q\\q", "\\", "a\\"};

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autoptr(SeraiConfig) config = full();
        g_autofree char *text = serai_config_to_data(config);
        g_autofree char *to = g_strdup_printf("=%s\n", names[i]);
        g_auto(GStrv) parts = NULL;
        g_autofree char *spoilt = NULL;
        g_autoptr(GError) error = NULL;

        parts = g_strsplit(text, "=näme with = and [brackets]\\\\\n", 2);
        spoilt = g_strjoinv(to, parts);

        g_assert_cmpuint(g_strv_length(parts), ==, 2);
        g_assert_null(serai_config_from_data(spoilt, &error));
        g_assert_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/libxl/config/text_holds_everything", text_holds_everything);
    g_test_add_func("/libxl/config/disk_names_have_the_numbers_of_the_interface",
                    disk_names_have_the_numbers_of_the_interface);
    g_test_add_func("/libxl/config/what_cannot_be_is_refused", what_cannot_be_is_refused);
    g_test_add_func("/libxl/config/damaged_text_does_no_harm", damaged_text_does_no_harm);
    g_test_add_func("/libxl/config/bad_escapes_are_refused_in_silence", bad_escapes_are_refused_in_silence);
    return g_test_run();
}
