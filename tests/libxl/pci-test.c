/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PCI devices of the machine: what of them is refused, and that none is kept by a domain that is gone. */
#include "common.h"
#include "private/pci.h"

#include <xen/io/xenbus.h>

#define ADD(name, func) g_test_add("/libxl/pci/" name, Fixture, NULL, fixture_set_up, func, fixture_tear_down)

static SeraiDevice *
card(const char *address)
{
    SeraiDevice *device = serai_device_new(SERAI_DEVICE_PCI);

    device->pci.address = g_strdup(address);
    return device;
}

static void
expect_fails(gboolean done, GError **error, int code, const char *words)
{
    g_assert_false(done);
    g_assert_error(*error, SERAI_ERROR, code);
    g_assert_nonnull(strstr((*error)->message, words));
    g_clear_error(error);
}

/* What the bus of a domain says; NULL for nothing. */
static void
expect_bus(Fixture *f, guint domid, const char *leaf, const char *value)
{
    g_autofree char *is =
        serai_store_read(f->host->store, "/local/domain/0/backend/pci/%u/0/%s", domid, leaf);

    g_assert_cmpstr(is, ==, value);
}

static void
addresses_are_numbers(void)
{
    static const char *const bad[] = {"",
                                      "0000:00:1f",
                                      "00:1f.2",
                                      "0000:00:20.0",
                                      "0000:00:1f.8",
                                      "0000:00:1F.2",
                                      "0000:00:1f.2 ",
                                      "0000:00/../1",
                                      "+000:00:1f.2",
                                      "00000:0:1f.2"};
    uint32_t sbdf = 0;

    g_assert_true(serai_pci_parse("12ab:cd:1f.7", &sbdf));
    g_assert_cmphex(sbdf, ==, 0x12abcdff);
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(SeraiDevice) device = card(bad[i]);
        g_autoptr(GError) error = NULL;

        expect_fails(serai_device_check(device, &error), &error, SERAI_ERROR_INVALID_CONFIG,
                     "no address of a PCI device");
    }
}

static void
devices_share_one_bus(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = NULL;
    g_autoptr(SeraiDevice) first = card("0000:00:10.0"), third = card("0000:00:12.0"),
                           fourth = card("0000:00:13.0");
    g_autoptr(GError) error = NULL;
    guint nodes = serai_fake_nodes(f->host->store);

    serai_config_add_device(f->config, card("0000:00:10.0"));
    serai_config_add_device(f->config, card("0000:00:11.0"));
    domain = create(f);
    g_assert_cmpuint(serai_fake_devices(f->host->hv), ==, 2);
    expect_bus(f, 1, "num_devs", "2");
    expect_bus(f, 1, "dev-0", "0000:00:10.0");
    expect_bus(f, 1, "dev-1", "0000:00:11.0");

    g_assert_true(serai_domain_attach_device_sync(domain, third, NULL, &error));
    expect_fails(serai_domain_attach_device_sync(domain, third, NULL, &error), &error,
                 SERAI_ERROR_DEVICE_EXISTS, "already");
    expect_bus(f, 1, "num_devs", "3");
    expect_bus(f, 1, "state", "4");

    /* The number of one that went from the middle is given again; the others keep theirs. */
    g_assert_true(serai_domain_detach_device_sync(domain, first, 0, NULL, &error));
    expect_bus(f, 1, "dev-0", NULL);
    expect_bus(f, 1, "dev-2", "0000:00:12.0");
    g_assert_true(serai_domain_attach_device_sync(domain, fourth, NULL, &error));
    expect_bus(f, 1, "dev-0", "0000:00:13.0");
    expect_bus(f, 1, "num_devs", "3");
    g_assert_cmpuint(serai_fake_devices(f->host->hv), ==, 3);

    g_assert_true(serai_domain_destroy_sync(domain, NULL, &error));
    g_assert_cmpuint(serai_fake_devices(f->host->hv), ==, 0);
    expect_bus(f, 1, "num_devs", NULL);
    /* The directories above stay, as those of other backends do. */
    g_assert_cmpuint(serai_fake_nodes(f->host->store), <=, nodes + 16);
}

static void
the_last_one_takes_the_bus_along(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = NULL;
    g_autoptr(SeraiDevice) device = card("0000:00:10.0");
    g_autoptr(GError) error = NULL;

    f->config->passthrough = TRUE;
    domain = create(f);
    for (int i = 0; i < 2; i++) {
        g_assert_true(serai_domain_attach_device_sync(domain, device, NULL, &error));
        expect_bus(f, 1, "num_devs", "1");
        g_assert_true(serai_domain_detach_device_sync(domain, device, 0, NULL, &error));
        expect_bus(f, 1, "num_devs", NULL);
        g_assert_cmpuint(serai_fake_devices(f->host->hv), ==, 0);
    }
}

static void
a_device_has_one_owner(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = NULL;
    g_autoptr(GError) error = NULL;

    serai_config_add_device(f->config, card("0000:00:10.0"));
    domain = create(f);
    g_free(f->config->name);
    f->config->name = g_strdup("other");
    f->config->uuid[0] = '7';
    expect_fails(serai_domain_create_sync(f->host, f->config, NULL, NULL, NULL, &error) != NULL, &error,
                 SERAI_ERROR_FAILED, "PCI device '0000:00:10.0' cannot become the guest's");
    g_assert_cmpuint(serai_fake_devices(f->host->hv), ==, 1);
    g_assert_cmpuint(serai_fake_domains(f->host->hv), ==, 1);
}

static void
one_that_is_leaving_goes(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = NULL;
    g_autoptr(GPtrArray) devices = NULL;
    g_autoptr(GError) error = NULL;

    serai_config_add_device(f->config, card("0000:00:10.0"));
    serai_config_add_device(f->config, card("0000:00:11.0"));
    domain = create(f);
    g_assert_true(serai_store_write(f->host->store, NULL, "/local/domain/0/backend/pci/1/0/state-1", "%d",
                                    XenbusStateClosing));
    g_assert_true(serai_domain_finish_detaching_sync(domain, NULL, &error));
    devices = serai_domain_list_devices(domain, NULL);
    g_assert_cmpuint(serai_fake_devices(f->host->hv), ==, 1);
    expect_bus(f, 1, "dev-0", "0000:00:10.0");
    expect_bus(f, 1, "dev-1", NULL);
}

/* A guest that unloaded its driver of the bus has let go of all devices; nobody waits for it. */
static void
guest_without_its_driver_is_not_asked(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = NULL;
    g_autoptr(SeraiDevice) first = card("0000:00:10.0");
    g_autoptr(GError) error = NULL;

    serai_config_add_device(f->config, card("0000:00:10.0"));
    serai_config_add_device(f->config, card("0000:00:11.0"));
    domain = create(f);
    g_assert_true(serai_store_write(f->host->store, NULL, "/local/domain/0/backend/pci/1/0/state", "%d",
                                    XenbusStateClosed));
    g_assert_true(serai_domain_detach_device_sync(domain, first, 0, NULL, &error));
    g_assert_no_error(error);
    expect_bus(f, 1, "dev-0", NULL);
    expect_bus(f, 1, "dev-1", "0000:00:11.0");
    expect_bus(f, 1, "state", "6");
}

/* A hypervisor that uses no IOMMU. */
static gboolean
without_iommu(unsigned int number, const uint64_t args[5])
{
    struct xen_sysctl *op = (void *)(uintptr_t)args[0];

    if (number != __HYPERVISOR_sysctl || op->cmd != XEN_SYSCTL_physinfo)
        return FALSE;
    op->u.physinfo.capabilities = XEN_SYSCTL_PHYSCAP_pv;
    return TRUE;
}

static void
what_cannot_be_is_refused(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    g_autoptr(SeraiDevice) device = card("0000:00:10.0");
    g_autoptr(GError) error = NULL;
    int fd = g_file_open_tmp(NULL, NULL, NULL);

    expect_fails(serai_domain_attach_device_sync(domain, device, NULL, &error), &error,
                 SERAI_ERROR_UNSUPPORTED, "was started without passthrough");
    g_assert_true(serai_domain_destroy_sync(domain, NULL, &error));
    g_clear_object(&domain);

    serai_config_add_device(f->config, card("0000:00:10.0"));
    serai_fake_set_spy(f->host->hv, without_iommu);
    expect_fails(serai_domain_create_sync(f->host, f->config, NULL, NULL, NULL, &error) != NULL, &error,
                 SERAI_ERROR_UNSUPPORTED, "The hypervisor uses no IOMMU");
    serai_fake_set_spy(f->host->hv, NULL);

    domain = create(f);
    expect_fails(serai_domain_save_sync(domain, fd, NULL, 0, NULL, NULL, NULL, &error), &error,
                 SERAI_ERROR_UNSUPPORTED, "It has PCI device '0000:00:10.0'");
    close(fd);
}

/* Of the calls about registers and interrupt: how many there were, and which of them fails. */
static guint calls, refused;

static gboolean
permissions(unsigned int number, const uint64_t args[5])
{
    struct xen_domctl *op = (void *)(uintptr_t)args[0];

    if (number == __HYPERVISOR_physdev_op)
        return TRUE;
    if (number != __HYPERVISOR_domctl ||
        (op->cmd != XEN_DOMCTL_ioport_permission && op->cmd != XEN_DOMCTL_iomem_permission &&
         op->cmd != XEN_DOMCTL_irq_permission))
        return FALSE;
    if (calls++ != refused)
        return TRUE;
    op->domain = DOMID_INVALID; /* which nobody has */
    return FALSE;
}

/* What cannot be taken back does not keep the rest, and is told of. */
static void
permissions_are_taken_back_as_far_as_can_be(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    static const char resources[] = "0x00000000fe000000 0x00000000fe003fff 0x0000000000040200\n"
                                    "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
                                    "0x000000000000c000 0x000000000000c03f 0x0000000000040101\n"
                                    "0x00000000fe004000 0x00000000fe004fff 0x0000000000040200\n";
    g_autoptr(SeraiDomain) domain = create(f);

    serai_fake_set_spy(f->host->hv, permissions);
    for (refused = 0; refused <= 4; refused++) {
        g_autoptr(GError) error = NULL;

        calls = 0;
        g_assert_cmpint(serai_pci_permit(f->host, 1, resources, 11, FALSE, &error), ==, refused == 4);
        g_assert_cmpint(error == NULL, ==, refused == 4);
        g_assert_cmpuint(calls, ==, 4);
        g_clear_error(&error);

        calls = 0;
        g_assert_cmpint(serai_pci_permit(f->host, 1, resources, 11, TRUE, &error), ==, refused == 4);
        g_assert_cmpint(error == NULL, ==, refused == 4);
        g_assert_cmpuint(calls, ==, MIN(refused + 1, 4));
    }
    serai_fake_set_spy(f->host->hv, NULL);
}

/* Whatever call fails while a domain is made, no device stays with what is left of it. */
static void
failures_keep_nothing(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    SeraiDomain *domain = NULL;

    serai_config_add_device(f->config, card("0000:00:10.0"));
    for (guint n = 1; !domain; n++) {
        g_autoptr(GError) error = NULL;

        serai_fake_fail(f->host->hv, n, ENOMEM);
        domain = serai_domain_create_sync(f->host, f->config, NULL, NULL, NULL, &error);
        serai_fake_fail(f->host->hv, 0, 0);
        if (!domain)
            g_assert_cmpuint(serai_fake_devices(f->host->hv), ==, 0);
    }
    g_object_unref(domain);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/libxl/pci/addresses", addresses_are_numbers);
    ADD("one-bus", devices_share_one_bus);
    ADD("last-one", the_last_one_takes_the_bus_along);
    ADD("one-owner", a_device_has_one_owner);
    ADD("leaving", one_that_is_leaving_goes);
    ADD("without-driver", guest_without_its_driver_is_not_asked);
    ADD("refused", what_cannot_be_is_refused);
    ADD("permissions", permissions_are_taken_back_as_far_as_can_be);
    ADD("failures", failures_keep_nothing);
    return g_test_run();
}
