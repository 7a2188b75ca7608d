/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices that others have a hand in: block devices of the host that two guests want, and devices that
 * another program takes out of the store.  On the pretend host a FIFO stands for a block device.
 */
#include "common.h"
#include "private/device.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* A description of another guest with one disk, and the disk. */
static SeraiConfig *
other_guest(Fixture *f, const char *path, SeraiDisk **ret_disk)
{
    SeraiConfig *config = serai_config_copy(f->config);
    SeraiDevice *device = serai_device_new(SERAI_DEVICE_DISK);

    g_free(config->name);
    config->name = g_strdup("other");
    g_free(config->uuid);
    config->uuid = g_strdup("6f1c9c5e-0000-4000-8000-000000000002");
    g_ptr_array_set_size(config->devices, 0);
    device->disk.target = g_strdup("xvdb");
    device->disk.path = g_strdup(path);
    serai_config_add_device(config, device);
    *ret_disk = &device->disk;
    return config;
}

static char *
make_block_device(Fixture *f, const char *name)
{
    char *path = g_build_filename(f->dir, name, NULL);

    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
    return path;
}

static guint
claims(Fixture *f)
{
    g_auto(GStrv) devices = serai_store_list(f->host->store, "/serai/block");
    guint count = 0;

    for (char **device = devices; *device; device++) {
        g_auto(GStrv) names = serai_store_list(f->host->store, "/serai/block/%s", *device);

        g_assert_nonnull(*names); /* no directory is left empty */
        count += g_strv_length(names);
    }
    return count;
}

/* As two guests share an image file: model-test.c has the same table for its locks. */
static void
two_guests_share_a_block_device_only_if_both_say_so(Fixture *f, gconstpointer data)
{
    static const struct {
        gboolean readonly, shareable;
        gboolean other_readonly, other_shareable;
        gboolean ok;
    } cases[] = {
        {FALSE, FALSE, FALSE, FALSE, FALSE}, {FALSE, TRUE, FALSE, FALSE, FALSE},
        {FALSE, FALSE, FALSE, TRUE, FALSE},  {FALSE, TRUE, FALSE, TRUE, TRUE},
        {TRUE, FALSE, FALSE, FALSE, FALSE},  {FALSE, FALSE, TRUE, FALSE, FALSE},
        {TRUE, FALSE, TRUE, FALSE, TRUE},    {TRUE, TRUE, FALSE, TRUE, TRUE},
    };
    g_autofree char *path = make_block_device(f, "disk");
    SeraiDevice *device = new_disk("xvdb", path);
    SeraiDisk *disk;
    g_autoptr(SeraiConfig) config = other_guest(f, path, &disk);

    (void)data;
    serai_config_add_device(f->config, device);
    for (guint i = 0; i < 2 * G_N_ELEMENTS(cases); i++) {
        guint c = i / 2;
        g_autoptr(SeraiDomain) first = NULL, second = NULL;
        g_autoptr(GError) error = NULL;

        /* Whoever serves them. */
        disk->format = i % 2 ? SERAI_DISK_QCOW2 : SERAI_DISK_RAW;
        device->disk.readonly = cases[c].readonly;
        device->disk.shareable = cases[c].shareable;
        disk->readonly = cases[c].other_readonly;
        disk->shareable = cases[c].other_shareable;
        first = create(f);
        g_assert_cmpuint(claims(f), ==, 1);
        second = serai_domain_create_sync(f->host, config, NULL, NULL, NULL, &error);
        g_assert_cmpint(second != NULL, ==, cases[c].ok);
        g_assert_cmpuint(claims(f), ==, cases[c].ok ? 2 : 1);
        if (second) {
            destroy(second);
            g_assert_cmpuint(claims(f), ==, 1);
        } else {
            g_assert_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED);
            g_assert_nonnull(strstr(error->message, path));
            g_assert_nonnull(strstr(error->message, "in use by domain 'guest'"));
        }
        destroy(first);
        g_assert_cmpuint(claims(f), ==, 0);
    }
}

static void
claim_comes_and_goes_with_its_disk(Fixture *f, gconstpointer data)
{
    g_autofree char *path = make_block_device(f, "disk"), *link = g_build_filename(f->dir, "link", NULL);
    g_autoptr(SeraiDevice) device = new_disk("xvdc", path), again = new_disk("xvdd", link);
    SeraiDisk *disk;
    g_autoptr(SeraiConfig) config = other_guest(f, path, &disk);
    g_autoptr(SeraiDomain) first = create(f), second = NULL;
    g_autoptr(GError) error = NULL;
    guint nodes;

    (void)data;
    (void)disk;
    g_assert_cmpint(symlink(path, link), ==, 0);
    nodes = serai_fake_nodes(f->host->store);
    g_assert_true(serai_domain_attach_device_sync(first, device, NULL, &error));
    /* The same by another name, and twice in one guest. */
    g_assert_false(serai_domain_attach_device_sync(first, again, NULL, &error));
    g_assert_nonnull(strstr(error->message, "in use by domain 'guest'"));
    g_clear_error(&error);
    g_assert_null(serai_domain_create_sync(f->host, config, NULL, NULL, NULL, &error));
    g_clear_error(&error);
    g_assert_true(serai_domain_detach_device_sync(first, device, SERAI_DETACH_NONE, NULL, &error));
    g_assert_cmpuint(claims(f), ==, 0);
    second = serai_domain_create_sync(f->host, config, NULL, NULL, NULL, &error);
    g_assert_no_error(error);
    destroy(second);
    g_assert_true(serai_store_remove(f->host->store, "/serai/block", NULL));
    g_assert_cmpuint(serai_fake_nodes(f->host->store), ==, nodes);
    destroy(first);
}

/* Of a domain that is no more, of a disk whose backend is, and what nobody understands. */
static void
stale_claims_count_for_nothing(Fixture *f, gconstpointer data)
{
    g_autofree char *path = make_block_device(f, "disk");
    SeraiDevice *device = new_disk("xvdb", path);
    g_autoptr(SeraiDomain) domain = NULL;
    g_autoptr(SeraiDomain) other = NULL;
    g_autofree char *dir = NULL;
    SeraiDisk *disk;
    g_autoptr(SeraiConfig) config = other_guest(f, f->config->ramdisk, &disk);
    g_autoptr(GError) error = NULL;
    const char *const names[] = {"999-51728-w", NULL, "nonsense"};
    struct stat st;

    (void)data;
    other = serai_domain_create_sync(f->host, config, NULL, NULL, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(stat(path, &st), ==, 0);
    dir = g_strdup_printf("/serai/block/8-%lu", (unsigned long)st.st_ino & 0xfffff);
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *name = i == 1 ? g_strdup_printf("%u-51744-w", serai_domain_get_id(other)) : NULL;
        g_autofree char *node = g_strdup_printf("%s/%s", dir, name ? name : names[i]);

        g_assert_true(serai_store_write(f->host->store, NULL, node, "%s", ""));
    }
    serai_config_add_device(f->config, device);
    domain = create(f);
    g_assert_cmpuint(claims(f), ==, 2); /* its own, and the nonsense */
    destroy(domain);
    destroy(other);
}

static const SeraiStoreOps *real_ops;

static char **
list_fails(SeraiStore *store, uint32_t transaction, const char *path)
{
    if (!g_str_has_prefix(path, "/serai/block/"))
        return real_ops->list(store, transaction, path);
    errno = E2BIG;
    return NULL;
}

/* Where nobody knows who else has it, a device is given to nobody. */
static void
claims_that_cannot_be_read_are_in_the_way(Fixture *f, gconstpointer data)
{
    g_autofree char *path = make_block_device(f, "disk");
    g_autoptr(SeraiDevice) device = new_disk("xvdb", path);
    g_autoptr(SeraiDomain) domain = create(f);
    SeraiStoreOps ops = *f->host->store->ops;
    g_autoptr(GError) error = NULL;

    (void)data;
    real_ops = f->host->store->ops;
    ops.list = list_fails;
    f->host->store->ops = &ops;
    g_assert_false(serai_domain_attach_device_sync(domain, device, NULL, &error));
    f->host->store->ops = real_ops;
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_FAILED);
    g_assert_cmpuint(claims(f), ==, 0);
    destroy(domain);
}

/* --- two processes at once -------------------------------------------------------------------- */

/* Both choose a number for theirs before either has it written down. */
static void
one_number_is_given_to_one_device(Fixture *f, gconstpointer data)
{
    g_autoptr(SeraiDomain) domain = create(f);
    g_autoptr(GPtrArray) present = serai_domain_list_devices(domain, NULL), wanted = g_ptr_array_new();
    GPtrArray *attaches[2];
    g_autoptr(SeraiDevice) device = serai_device_new(SERAI_DEVICE_CHANNEL);
    g_autoptr(GError) error = NULL;

    (void)data;
    device->console.name = g_strdup("org.qemu.guest_agent.0");
    g_ptr_array_add(wanted, device);
    for (guint i = 0; i < 2; i++)
        attaches[i] = serai_devices_prepare(f->host, domain->domid, wanted, present, NULL);
    for (guint i = 0; i < 2; i++) {
        g_autoptr(SeraiBatch) batch = serai_batch_new(f->host->store);

        g_assert_true(serai_devices_nodes(f->host, attaches[i], domain->domid, domain->uuid, batch, NULL));
        g_assert_cmpint(serai_batch_commit(batch, NULL, &error), ==, !i);
    }
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_EXISTS);
    for (guint i = 0; i < 2; i++)
        g_ptr_array_unref(attaches[i]);
    destroy(domain);
}

static gboolean
removal_fails(SeraiStore *store, uint32_t transaction, const char *path)
{
    if (!strstr(path, "/backend/"))
        return real_ops->remove(store, transaction, path);
    errno = EIO;
    return FALSE;
}

static void
detach_that_the_store_refuses_is_told_of(Fixture *f, gconstpointer data)
{
    g_autoptr(SeraiDomain) domain = create(f);
    SeraiStoreOps ops = *f->host->store->ops;
    g_autoptr(GError) error = NULL;

    (void)data;
    real_ops = f->host->store->ops;
    ops.remove = removal_fails;
    f->host->store->ops = &ops;
    g_assert_false(serai_domain_detach_device_sync(domain, f->config->devices->pdata[0], 0, NULL, &error));
    f->host->store->ops = real_ops;
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_IO);
    g_clear_error(&error);
    g_assert_true(serai_domain_detach_device_sync(domain, f->config->devices->pdata[0], 0, NULL, &error));
    g_assert_no_error(error);
    destroy(domain);
}

static const char *vanishing;

/* When a process looks for the backend, another is changing the disc: it is there again right after. */
static char *
read_in_between(SeraiStore *store, uint32_t transaction, const char *path, gsize *ret_size)
{
    if (transaction || !vanishing || strcmp(path, vanishing))
        return real_ops->read(store, transaction, path, ret_size);
    errno = ENOENT;
    return NULL;
}

static void
disc_that_was_changed_meanwhile_is_not_cleared_away(Fixture *f, gconstpointer data)
{
    g_autoptr(SeraiDevice) drive = new_disk("xvdc", f->config->kernel);
    g_autoptr(SeraiDomain) domain = NULL;
    g_autoptr(GPtrArray) devices = NULL;
    SeraiStoreOps ops = *f->host->store->ops;
    g_autofree char *backend = NULL;
    g_autoptr(GError) error = NULL;
    guint count;

    (void)data;
    drive->disk.cdrom = TRUE;
    serai_config_add_device(f->config, serai_device_copy(drive));
    domain = create(f);
    devices = serai_domain_list_devices(domain, NULL);
    count = devices->len;
    vanishing = backend = g_strdup_printf("/local/domain/0/backend/vbd/%u/%d", domain->domid,
                                          serai_disk_target_to_devid("xvdc"));
    real_ops = f->host->store->ops;
    ops.read = read_in_between;
    f->host->store->ops = &ops;
    g_assert_true(serai_domain_finish_detaching_sync(domain, NULL, &error));
    f->host->store->ops = real_ops;
    g_assert_no_error(error);
    g_ptr_array_unref(devices);
    devices = serai_domain_list_devices(domain, NULL);
    g_assert_cmpuint(devices->len, ==, count);
    destroy(domain);
}

/* --- devices taken by another program --------------------------------------------------------- */

static GString *seen;

static void
note_removed(SeraiHost *host, SeraiDomain *domain, guint kind, int devid, gpointer data)
{
    (void)host;
    (void)domain;
    (void)data;
    g_string_append_printf(seen, "%u/%d ", kind, devid);
}

/* All that is under way has been told of when nothing comes for a while. */
static void
settle(void)
{
    gint64 end = g_get_monotonic_time() + 200 * 1000;

    while (g_get_monotonic_time() < end) {
        while (g_main_context_iteration(NULL, FALSE))
            ;
        g_usleep(5000);
    }
}

static void
listen_begin(Fixture *f)
{
    seen = g_string_new(NULL);
    g_signal_connect(f->host, "device-removed", G_CALLBACK(note_removed), NULL);
}

/* What is about to be told holds the host. */
static void
listen_end(Fixture *f)
{
    g_signal_handlers_disconnect_by_func(f->host, note_removed, NULL);
    settle();
    g_string_free(seen, TRUE);
}

/* As `xenstore-rm` does, and `xl` after the guest has let go. */
static void
take(Fixture *f, const char *type, guint domid, int devid)
{
    g_autofree char *path = g_strdup_printf("/local/domain/0/backend/%s/%u/%d", type, domid, devid);

    g_assert_true(serai_store_remove(f->host->store, path, NULL));
}

static void
device_taken_by_another_is_told_of_once(Fixture *f, gconstpointer data)
{
    const int xvda = serai_disk_target_to_devid("xvda"), xvdb = serai_disk_target_to_devid("xvdb");
    g_autofree char *told = g_strdup_printf("0/%d 0/%d 1/0 3/1 ", xvda, xvdb), *all = NULL;
    g_autofree char *block = make_block_device(f, "disk");
    SeraiDevice *qcow2 = new_disk("xvdb", block), *channel = serai_device_new(SERAI_DEVICE_CHANNEL);
    g_autoptr(GPtrArray) devices = NULL;
    g_autoptr(SeraiDomain) domain = NULL;
    g_autoptr(GError) error = NULL;
    guint domid;

    (void)data;
    qcow2->disk.format = SERAI_DISK_QCOW2;
    serai_config_add_device(f->config, qcow2);
    channel->console.name = g_strdup("org.qemu.guest_agent.0");
    serai_config_add_device(f->config, channel);
    listen_begin(f);
    domain = create(f);
    domid = serai_domain_get_id(domain);
    settle();
    g_assert_cmpstr(seen->str, ==, "");

    take(f, "vbd", domid, xvda);
    settle();
    take(f, "qdisk", domid, xvdb);
    take(f, "vif", domid, 0);
    settle();
    /* With its directory, as `xl` tidies up. */
    all = g_strdup_printf("/local/domain/0/backend/console/%u", domid);
    g_assert_true(serai_store_remove(f->host->store, all, NULL));
    settle();
    g_assert_cmpstr(seen->str, ==, told);

    g_assert_cmpuint(claims(f), ==, 1);
    g_assert_true(serai_domain_finish_detaching_sync(domain, NULL, &error));
    g_assert_no_error(error);
    devices = serai_domain_list_devices(domain, NULL);
    g_assert_cmpuint(devices->len, ==, 1); /* the first console */
    g_assert_cmpuint(claims(f), ==, 0);
    settle();
    g_assert_cmpstr(seen->str, ==, told);

    /* What came again may be taken again. */
    g_assert_true(serai_domain_attach_device_sync(domain, qcow2, NULL, &error));
    settle();
    g_assert_cmpstr(seen->str, ==, told);
    take(f, "qdisk", domid, xvdb);
    settle();
    g_assert_cmpuint(seen->len, >, strlen(told));
    destroy(domain);
    listen_end(f);
}

/* Only what another does is news: neither what this library does, nor what is not of its making. */
static void
what_is_ours_is_not_told_of(Fixture *f, gconstpointer data)
{
    g_autoptr(SeraiDevice) drive = new_disk("xvdc", f->config->kernel);
    g_autoptr(SeraiDomain) domain = NULL;
    g_autofree char *foreign = NULL, *image = g_build_filename(f->dir, "image", NULL);
    g_autoptr(GError) error = NULL;
    int fd;

    (void)data;
    listen_begin(f);
    drive->disk.cdrom = TRUE;
    serai_config_add_device(f->config, serai_device_copy(drive));
    domain = create(f);
    g_free(drive->disk.path);
    drive->disk.path = g_strdup(f->config->ramdisk);
    g_assert_true(serai_domain_update_device_sync(domain, drive, NULL, &error));
    /* Attached by another, and gone again. */
    foreign = g_strdup_printf("/local/domain/0/backend/vbd/%u/51808", serai_domain_get_id(domain));
    g_assert_true(serai_store_write(f->host->store, NULL, foreign, "%s", ""));
    settle();
    g_assert_true(serai_store_remove(f->host->store, foreign, NULL));
    /* No path of the store's misleads. */
    serai_backend_changed("/local/domain/0/backend", f->host);
    serai_backend_changed("/local/domain/0/backend/vbd/4294967295/-1", f->host);
    serai_backend_changed("/local/domain/0/backend/vbd/x", f->host);
    settle();
    g_assert_true(serai_domain_unpause(domain, NULL));
    fd = open(image, O_CREAT | O_RDWR, 0600);
    g_assert_true(
        serai_domain_save_sync(domain, fd, NULL, SERAI_SAVE_KEEP_RUNNING, NULL, NULL, NULL, &error));
    g_assert_no_error(error);
    close(fd);
    settle();
    g_assert_cmpstr(seen->str, ==, "");
    destroy(domain);
    settle();
    g_assert_cmpstr(seen->str, ==, "");
    listen_end(f);
}

#define T(name, func) g_test_add("/device/" name, Fixture, NULL, fixture_set_up, func, fixture_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    T("two_guests_share_a_block_device_only_if_both_say_so",
      two_guests_share_a_block_device_only_if_both_say_so);
    T("claim_comes_and_goes_with_its_disk", claim_comes_and_goes_with_its_disk);
    T("stale_claims_count_for_nothing", stale_claims_count_for_nothing);
    T("claims_that_cannot_be_read_are_in_the_way", claims_that_cannot_be_read_are_in_the_way);
    T("one_number_is_given_to_one_device", one_number_is_given_to_one_device);
    T("detach_that_the_store_refuses_is_told_of", detach_that_the_store_refuses_is_told_of);
    T("disc_that_was_changed_meanwhile_is_not_cleared_away",
      disc_that_was_changed_meanwhile_is_not_cleared_away);
    T("device_taken_by_another_is_told_of_once", device_taken_by_another_is_told_of_once);
    T("what_is_ours_is_not_told_of", what_is_ours_is_not_told_of);
    return g_test_run();
}
