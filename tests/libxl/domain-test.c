/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domains on the pretend machine: made, changed, saved, destroyed, and what is left when something fails. */
#include "common.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <xen/io/xenbus.h>

#define T(name, func) \
    g_test_add("/libxl/domain/" name, Fixture, NULL, fixture_set_up, func, fixture_tear_down)

static int
temporary(void)
{
    int fd = memfd_create("image", MFD_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

/* What a machine has before and must have after. */
typedef struct {
    guint64 pages;
    guint nodes;
} Before;

static Before
look(Fixture *f)
{
    return (Before){serai_fake_free_pages(f->host->hv), serai_fake_nodes(f->host->store)};
}

/* The directories that all domains share stay: /vm, /local/domain/0/backend and the like. */
static void
assert_clean(Fixture *f, const Before *before)
{
    g_auto(GStrv) records = serai_store_list(f->host->store, "/serai/domain");
    g_auto(GStrv) names = serai_store_list(f->host->store, "/serai/name");
    g_auto(GStrv) consoles = serai_store_list(f->host->store, "/serai/console");
    g_auto(GStrv) domains = serai_store_list(f->host->store, "/local/domain");
    g_auto(GStrv) vms = serai_store_list(f->host->store, "/vm");
    g_auto(GStrv) disks = serai_store_list(f->host->store, "/local/domain/0/backend/vbd");
    g_auto(GStrv) nics = serai_store_list(f->host->store, "/local/domain/0/backend/vif");

    g_assert_cmpuint(serai_fake_domains(f->host->hv), ==, 0);
    g_assert_cmpuint(serai_fake_free_pages(f->host->hv), ==, before->pages);
    g_assert_cmpuint(g_strv_length(records) + g_strv_length(names) + g_strv_length(consoles) +
                         g_strv_length(vms) + g_strv_length(disks) + g_strv_length(nics),
                     ==, 0);
    g_assert_cmpuint(g_strv_length(domains), ==, 1);
}

static void
created_domain_is_found_by_id_uuid_and_name(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f), by_name = NULL, by_uuid = NULL, by_id = NULL;
    g_autoptr(SeraiDomainInfo) info = serai_domain_get_info(domain, NULL);

    by_name = serai_host_lookup_by_name(f->host, "guest", NULL);
    by_uuid = serai_host_lookup_by_uuid(f->host, "6F1C9C5E-0000-4000-8000-000000000001", NULL);
    by_id = serai_host_lookup_by_id(f->host, serai_domain_get_id(domain), NULL);
    g_assert_nonnull(by_name);
    g_assert_nonnull(by_uuid);
    g_assert_nonnull(by_id);
    g_assert_cmpuint(serai_domain_get_id(by_name), ==, serai_domain_get_id(domain));
    g_assert_true(info->paused);
    g_assert_cmpuint(info->memory_kib, ==, 16384);
    g_assert_cmpuint(info->max_vcpus, ==, 2);
    destroy(domain);
}

/* Follows a virtual address through the tables that vCPU 0 starts on. */
static uint64_t *
virt(Fixture *f, guint domid, uint64_t cr3, uint64_t address, gboolean *ret_writable)
{
    xen_pfn_t frame = cr3 >> 12;
    uint64_t *table;

    for (int level = 4; level >= 1; level--) {
        uint64_t entry;

        table = serai_hv_map(f->host->hv, domid, PROT_READ, 1, &frame, NULL);
        g_assert_nonnull(table);
        entry = table[address >> (3 + 9 * level) & 511];
        serai_hv_unmap(f->host->hv, table, 1);
        if (!(entry & 1))
            return NULL;
        *ret_writable = (entry & 2) != 0;
        frame = entry >> 12 & 0xffffffffffUL;
    }
    return serai_hv_map(f->host->hv, domid, PROT_READ, 1, &frame, NULL);
}

static void
kernel_finds_start_info_p2m_and_initrd(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    guint domid = serai_domain_get_id(domain);
    SeraiHv *hv = f->host->hv;
    vcpu_guest_context_t *c = g_new0(vcpu_guest_context_t, 1);
    start_info_t *info;
    uint64_t *p2m, *page;
    gboolean writable;
    xen_pfn_t frame;

    g_assert_true(serai_hv_get_context(hv, domid, 0, c, NULL));
    g_assert_cmphex(c->user_regs.rip, ==, KERNEL_BASE + 0x10000);
    info = (start_info_t *)virt(f, domid, c->ctrlreg[3], c->user_regs.rsi, &writable);
    g_assert_nonnull(info);
    g_assert_cmpstr(info->magic, ==, "xen-3.0-x86_64");
    g_assert_cmpuint(info->nr_pages, ==, 4096);
    g_assert_cmpstr((char *)info->cmd_line, ==, "console=hvc0");
    g_assert_cmphex(info->mfn_list, ==, 0x8000000000UL);
    g_assert_cmpuint(info->flags & SIF_MOD_START_PFN, ==, SIF_MOD_START_PFN);
    g_assert_cmpuint(info->mod_len, ==, 15);
    g_assert_cmpuint(info->nr_p2m_frames, ==, 8 + 3);

    p2m = virt(f, domid, c->ctrlreg[3], info->mfn_list, &writable);
    g_assert_nonnull(p2m);
    g_assert_true(writable);
    frame = 0;
    /* The initrd is where the start info says; its frame is in the list's second page or first. */
    serai_hv_unmap(hv, p2m, 1);
    p2m = virt(f, domid, c->ctrlreg[3], info->mfn_list + (info->mod_start * 8 & ~4095UL), &writable);
    frame = p2m[info->mod_start % 512];
    page = serai_hv_map(hv, domid, PROT_READ, 1, &frame, NULL);
    g_assert_cmpmem(page, 15, "initrd-contents", 15);
    serai_hv_unmap(hv, page, 1);
    serai_hv_unmap(hv, p2m, 1);

    page = virt(f, domid, c->ctrlreg[3], KERNEL_BASE + 0x10000, &writable);
    g_assert_cmphex(page[0], ==, 0xababababababababUL);
    serai_hv_unmap(hv, page, 1);
    page = virt(f, domid, c->ctrlreg[3], KERNEL_BASE + 0x11000, &writable);
    g_assert_cmphex(page[0], ==, 0xccccccccccccccccUL); /* the hypercall page */
    serai_hv_unmap(hv, page, 1);
    page = virt(f, domid, c->ctrlreg[3], info->pt_base, &writable);
    g_assert_nonnull(page);
    g_assert_false(writable); /* a page table */
    serai_hv_unmap(hv, page, 1);
    serai_hv_unmap(hv, info, 1);
    g_free(c);
    destroy(domain);
}

/* Stretches of zeroes in a kernel and its bss are zero in the guest, whatever its frames held; where they
 * hold nothing, the stretches are not even mapped. */
static void
zeroes_of_a_kernel_are_zero(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    const gsize size = 40 * SERAI_PAGE_SIZE, hole = 5 * SERAI_PAGE_SIZE, hole_size = 30 * SERAI_PAGE_SIZE;
    g_autoptr(GBytes) kernel = test_kernel(size, TRUE), with_hole = NULL;
    gsize file_size;
    guint8 *copy;

    copy = g_memdup2(g_bytes_get_data(kernel, &file_size), g_bytes_get_size(kernel));
    memset(copy + file_size - size + hole, 0, hole_size);
    with_hole = g_bytes_new_take(copy, file_size);
    g_free(f->config->kernel);
    f->config->kernel = test_write_file(f->dir, "hole", with_hole);
    for (int dirty = 0; dirty < 2; dirty++) {
        g_autofree vcpu_guest_context_t *c = g_new0(vcpu_guest_context_t, 1);
        g_autoptr(SeraiDomain) domain = NULL;
        guint domid;

        serai_fake_set_dirty(f->host->hv, dirty);
        domain = create(f);
        domid = serai_domain_get_id(domain);
        g_assert_true(serai_hv_get_context(f->host->hv, domid, 0, c, NULL));
        for (gsize at = 2 * SERAI_PAGE_SIZE; at < size + 2 * SERAI_PAGE_SIZE; at += SERAI_PAGE_SIZE) {
            gboolean writable, zero = at >= size || (at >= hole && at < hole + hole_size);
            uint64_t *page = virt(f, domid, c->ctrlreg[3], KERNEL_BASE + 0x10000 + at, &writable);

            g_assert_nonnull(page);
            for (guint i = 0; i < SERAI_PAGE_SIZE / 8; i++)
                g_assert_cmphex(page[i], ==, zero ? 0 : 0xababababababababUL);
            serai_hv_unmap(f->host->hv, page, 1);
        }
        destroy(domain);
    }
}

static void
smallest_guest_has_four_mib(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GBytes) kernel = test_kernel(40000, FALSE);
    g_autoptr(SeraiDomain) domain = NULL;

    g_free(f->config->kernel);
    f->config->kernel = test_write_file(f->dir, "small", kernel);
    f->config->max_memory_kib = 4096;
    domain = create(f);
    destroy(domain);
}

static void
too_little_memory_for_the_kernel_is_said_so(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GBytes) kernel = test_kernel(5 << 20, FALSE);
    g_autoptr(GError) error = NULL;
    Before before = look(f);

    g_free(f->config->kernel);
    f->config->kernel = test_write_file(f->dir, "large", kernel);
    f->config->max_memory_kib = 4096;
    g_assert_null(serai_domain_create_sync(f->host, f->config, NULL, NULL, NULL, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_NO_MEMORY);
    assert_clean(f, &before);
}

static void
name_and_uuid_are_unique(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    g_autoptr(GError) error = NULL;

    g_assert_null(serai_domain_create_sync(f->host, f->config, NULL, NULL, NULL, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_EXISTS);
    g_clear_error(&error);
    f->config->uuid[35] = '2';
    g_assert_null(serai_domain_create_sync(f->host, f->config, NULL, NULL, NULL, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_EXISTS);
    g_assert_true(serai_domain_rename(domain, "other", NULL));
    {
        g_autoptr(SeraiDomain) second = create(f);

        g_clear_error(&error);
        g_assert_false(serai_domain_rename(second, "other", &error));
        g_assert_error(error, SERAI_ERROR, SERAI_ERROR_EXISTS);
        destroy(second);
    }
    destroy(domain);
}

/* Every hypercall of a creation fails once; each time nothing is left and the reason is told. */
static void
failure_of_any_hypercall_leaves_nothing(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    Before before = look(f);
    guint calls = serai_fake_calls(f->host->hv), failures = 0;
    g_autoptr(SeraiDomain) domain = create(f);

    destroy(domain);
    calls = serai_fake_calls(f->host->hv) - calls;
    for (guint n = 1; n <= calls; n++) {
        g_autoptr(GError) error = NULL;
        SeraiDomain *again;

        serai_fake_fail(f->host->hv, n, ENOMEM);
        again = serai_domain_create_sync(f->host, f->config, NULL, NULL, NULL, &error);
        serai_fake_fail(f->host->hv, 0, 0);
        if (again) { /* the call was one that may fail, or came later */
            destroy(again);
            g_object_unref(again);
        } else {
            g_assert_nonnull(error);
            g_assert_nonnull(strstr(error->message, "guest"));
            failures++;
        }
        assert_clean(f, &before);
    }
    g_assert_cmpuint(failures, >, 15);
}

static void
cancelled_creation_leaves_nothing(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    Before before = look(f);
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GError) error = NULL;

    g_cancellable_cancel(cancellable);
    g_assert_null(serai_domain_create_sync(f->host, f->config, cancellable, NULL, NULL, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    assert_clean(f, &before);
}

static void
store_conflicts_are_tried_again(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    Before before = look(f);

    for (guint n = 1; n < 4; n++) {
        g_autoptr(SeraiDomain) domain = NULL;

        serai_fake_conflict(f->host->store, n);
        domain = create(f);
        serai_fake_conflict(f->host->store, 0);
        destroy(domain);
    }
    assert_clean(f, &before);
}

/* As if the creator had died right after the hypervisor made the domain. */
static void
recovery_removes_what_a_dead_creator_left(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    Before before = look(f);
    SeraiHvCreate empty = {
        .max_vcpus = 1, .max_event_channels = 1023, .max_grant_frames = -1, .max_maptrack_frames = -1};
    uint32_t domid;

    g_assert_true(serai_record_begin(f->host, f->config, NULL, NULL));
    serai_uuid_parse(f->config->uuid, empty.uuid);
    g_assert_true(serai_hv_create_domain(f->host->hv, &empty, &domid, NULL));
    /* The owner lives: this process. */
    g_assert_cmpint(serai_host_recover_sync(f->host, NULL, NULL), ==, 0);
    g_assert_true(serai_store_write(
        f->host->store, NULL, "/serai/domain/6f1c9c5e-0000-4000-8000-000000000001/owner", "%s", "4000000 1"));
    g_assert_cmpint(serai_host_recover_sync(f->host, NULL, NULL), ==, 1);
    assert_clean(f, &before);
}

static void
recovery_wakes_a_domain_whose_saver_died(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    const char *saving = "/serai/domain/6f1c9c5e-0000-4000-8000-000000000001/saving";
    g_autoptr(SeraiDomainInfo) info = NULL;
    g_autofree char *mark = NULL;
    int fd = temporary();

    g_assert_true(serai_domain_unpause(domain, NULL));
    g_assert_true(
        serai_domain_save_sync(domain, fd, NULL, SERAI_SAVE_KEEP_SUSPENDED, NULL, NULL, NULL, NULL));
    /* A caller that wants it asleep gets it so, and the mark that it does stays. */
    g_assert_cmpint(serai_host_recover_sync(f->host, NULL, NULL), ==, 0);
    mark = serai_store_read(f->host->store, "%s", saving);
    g_assert_nonnull(mark);
    g_assert_true(serai_store_write(f->host->store, NULL, saving, "%s", "4000000 1"));
    g_assert_cmpint(serai_host_recover_sync(f->host, NULL, NULL), ==, 1);
    info = serai_domain_get_info(domain, NULL);
    g_assert_cmpint(info->shutdown_reason, ==, SERAI_SHUTDOWN_NONE);
    close(fd);
    destroy(domain);
}

static void
finished_domain_survives_recovery(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    g_autoptr(SeraiConfig) config = NULL;

    g_assert_cmpint(serai_host_recover_sync(f->host, NULL, NULL), ==, 0);
    config = serai_domain_get_config(domain, NULL);
    g_assert_cmpstr(config->name, ==, "guest");
    g_assert_cmpuint(config->devices->len, ==, 3);
    /* Destroyed behind our back, it is not finished but gone. */
    g_assert_true(serai_hv_destroy_domain(f->host->hv, serai_domain_get_id(domain), NULL, NULL));
    g_assert_cmpint(serai_host_recover_sync(f->host, NULL, NULL), ==, 1);
}

static void
devices_are_attached_changed_and_detached(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    g_autoptr(SeraiDevice) disk = serai_device_new(SERAI_DEVICE_DISK),
                           nic = serai_device_new(SERAI_DEVICE_NIC);
    g_autoptr(GPtrArray) devices = NULL;
    g_autoptr(GError) error = NULL;

    disk->disk.target = g_strdup("xvdb");
    disk->disk.path = g_strdup(f->config->kernel);
    disk->disk.readonly = TRUE;
    g_assert_true(serai_domain_attach_device_sync(domain, disk, NULL, &error));
    g_assert_false(serai_domain_attach_device_sync(domain, disk, NULL, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_EXISTS);
    g_clear_error(&error);

    nic->nic.mac = g_strdup("00:16:3e:00:00:01");
    nic->nic.attach = SERAI_NIC_BRIDGE;
    nic->nic.bridge = g_strdup("br1");
    nic->nic.link_down = TRUE;
    g_assert_true(serai_domain_update_device_sync(domain, nic, NULL, &error));
    g_assert_false(serai_domain_update_device_sync(domain, disk, NULL, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED);
    g_clear_error(&error);

    devices = serai_domain_list_devices(domain, NULL);
    g_assert_cmpuint(devices->len, ==, 4);
    for (guint i = 0; i < devices->len; i++) {
        const SeraiDevice *d = devices->pdata[i];

        if (d->kind == SERAI_DEVICE_NIC) {
            g_assert_true(d->nic.link_down);
            g_assert_cmpstr(d->nic.bridge, ==, "br1");
            g_assert_cmpstr(d->nic.ifname, ==, "vif1.0");
        }
    }
    g_assert_true(serai_domain_detach_device_sync(domain, disk, 0, NULL, &error));
    g_assert_false(serai_domain_detach_device_sync(domain, disk, 0, NULL, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_NO_DEVICE);
    destroy(domain);
}

/*
 * A process died after it had told the guest to let go of xvdb, which the guest had never taken, or has let
 * go of meanwhile.
 */
static void
detaching_that_was_cut_off_is_finished(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    static const int frontend_states[] = {XenbusStateInitialising, XenbusStateClosed};
    const int devid = serai_disk_target_to_devid("xvdb");
    g_autoptr(SeraiDomain) domain = create(f);
    g_autoptr(SeraiDevice) disk = serai_device_new(SERAI_DEVICE_DISK);
    g_autoptr(GPtrArray) before = NULL;
    g_autofree char *backend = NULL, *frontend = NULL;
    g_autoptr(GError) error = NULL;

    before = serai_domain_list_devices(domain, NULL);
    disk->disk.target = g_strdup("xvdb");
    disk->disk.path = g_strdup(f->config->kernel);
    disk->disk.readonly = TRUE;
    backend = g_strdup_printf("/local/domain/0/backend/vbd/%u/%d", serai_domain_get_id(domain), devid);
    frontend = g_strdup_printf("/local/domain/%u/device/vbd/%d", serai_domain_get_id(domain), devid);
    for (guint i = 0; i < G_N_ELEMENTS(frontend_states); i++) {
        g_autoptr(GPtrArray) between = NULL, after = NULL;
        g_autofree char *online = g_strdup_printf("%s/online", backend);
        g_autofree char *frontend_state = g_strdup_printf("%s/state", frontend);
        g_autofree char *backend_state = g_strdup_printf("%s/state", backend);
        const char *const states[] = {frontend_state, backend_state};

        g_assert_true(serai_domain_attach_device_sync(domain, disk, NULL, &error));
        g_assert_true(serai_domain_finish_detaching_sync(domain, NULL, &error));
        between = serai_domain_list_devices(domain, NULL);
        g_assert_cmpuint(between->len, ==, before->len + 1);

        g_assert_true(serai_store_write(f->host->store, NULL, online, "0"));
        for (guint k = 0; k < G_N_ELEMENTS(states); k++)
            g_assert_true(serai_store_write(f->host->store, NULL, states[k], "%d", frontend_states[i]));
        g_assert_true(serai_domain_finish_detaching_sync(domain, NULL, &error));
        g_assert_no_error(error);
        after = serai_domain_list_devices(domain, NULL);
        g_assert_cmpuint(after->len, ==, before->len);
    }
    destroy(domain);
}

static void
saved_domain_comes_back_with_its_memory(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    Before before = look(f);
    g_autoptr(SeraiDomain) domain = create(f), back = NULL;
    g_autoptr(GBytes) metadata = g_bytes_new_static("<xml/>", 6), read = NULL,
                      longer = g_bytes_new_static("<xml>more</xml>", 15);
    g_autoptr(SeraiConfig) config = NULL;
    g_autoptr(GError) error = NULL;
    vcpu_guest_context_t *c = g_new0(vcpu_guest_context_t, 1);
    uint64_t *page;
    gboolean writable;
    int fd = temporary();

    g_assert_true(serai_domain_unpause(domain, NULL));
    g_assert_true(
        serai_domain_save_sync(domain, fd, metadata, SERAI_SAVE_KEEP_RUNNING, NULL, NULL, NULL, &error));
    g_assert_no_error(error);
    g_assert_cmpint(ftruncate(fd, 0), ==, 0);
    lseek(fd, 0, SEEK_SET);
    g_assert_true(serai_domain_save_sync(domain, fd, metadata, SERAI_SAVE_NONE, NULL, NULL, NULL, &error));
    g_assert_no_error(error);
    assert_clean(f, &before);

    lseek(fd, 0, SEEK_SET);
    g_assert_true(serai_save_replace_metadata(fd, longer, &error));
    g_assert_true(serai_save_read_header(fd, &config, &read, &error));
    g_assert_no_error(error);
    g_assert_true(g_bytes_equal(read, longer));
    g_assert_cmpstr(config->name, ==, "guest");

    lseek(fd, 0, SEEK_SET);
    back = serai_domain_restore_sync(f->host, NULL, fd, NULL, NULL, NULL, &error);
    g_assert_no_error(error);
    g_assert_true(serai_hv_get_context(f->host->hv, serai_domain_get_id(back), 0, c, NULL));
    page = virt(f, serai_domain_get_id(back), c->ctrlreg[3], KERNEL_BASE + 0x10000, &writable);
    g_assert_nonnull(page);
    g_assert_cmphex(page[0], ==, 0xababababababababUL);
    serai_hv_unmap(f->host->hv, page, 1);
    destroy(back);
    assert_clean(f, &before);
    close(fd);
    g_free(c);
}

static void
failed_save_leaves_the_domain_running(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    g_autoptr(SeraiDomainInfo) info = NULL;
    g_autoptr(GError) error = NULL;
    int fd = open("/dev/full", O_WRONLY);

    g_assert_true(serai_domain_unpause(domain, NULL));
    g_assert_false(serai_domain_save_sync(domain, fd, NULL, SERAI_SAVE_NONE, NULL, NULL, NULL, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_IO);
    info = serai_domain_get_info(domain, NULL);
    g_assert_nonnull(info);
    g_assert_cmpint(info->shutdown_reason, ==, SERAI_SHUTDOWN_NONE);
    g_assert_false(info->paused);
    close(fd);
    destroy(domain);
}

/* Every truncation, and a flipped byte here and there: an error, never a crash, and nothing left. */
static void
damaged_images_are_refused(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    Before before = look(f);
    g_autoptr(SeraiDomain) domain = create(f);
    g_autofree guint8 *image = NULL;
    int fd = temporary();
    gsize size, step;

    g_assert_true(serai_domain_unpause(domain, NULL));
    g_assert_true(serai_domain_save_sync(domain, fd, NULL, SERAI_SAVE_NONE, NULL, NULL, NULL, NULL));
    size = lseek(fd, 0, SEEK_END);
    image = g_malloc(size);
    g_assert_cmpint(pread(fd, image, size, 0), ==, size);
    close(fd);
    step = size / 60;
    for (gsize cut = 0; cut < size; cut += step) {
        g_autoptr(GError) error = NULL;
        int copy = temporary();

        g_assert_cmpint(write(copy, image, cut), ==, cut);
        lseek(copy, 0, SEEK_SET);
        g_assert_null(serai_domain_restore_sync(f->host, NULL, copy, NULL, NULL, NULL, &error));
        g_assert_nonnull(error);
        close(copy);
        assert_clean(f, &before);
    }
    for (guint i = 0; i < 150; i++) {
        g_autoptr(GError) error = NULL;
        gsize at = g_test_rand_int_range(0, MIN(size, 200000));
        guint8 bit = 1 << g_test_rand_int_range(0, 8);
        int copy = temporary();
        SeraiDomain *back;

        image[at] ^= bit;
        g_assert_cmpint(write(copy, image, size), ==, size);
        lseek(copy, 0, SEEK_SET);
        back = serai_domain_restore_sync(f->host, NULL, copy, NULL, NULL, NULL, &error);
        if (back) {
            destroy(back);
            g_object_unref(back);
        } else {
            g_assert_nonnull(error);
        }
        close(copy);
        image[at] ^= bit;
        assert_clean(f, &before);
    }
}

static void
dump_is_an_elf_file_with_all_pages(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    g_autoptr(GError) error = NULL;
    Elf64_Ehdr header;
    int fd = temporary(), image = temporary();

    g_assert_true(serai_domain_unpause(domain, NULL));
    /* A guest tells where its list is when it suspends. */
    g_assert_true(
        serai_domain_save_sync(domain, image, NULL, SERAI_SAVE_KEEP_RUNNING, NULL, NULL, NULL, &error));
    g_assert_true(serai_domain_dump_sync(domain, fd, SERAI_DUMP_CRASH, NULL, NULL, NULL, &error));
    g_assert_no_error(error);
    g_assert_cmpint(pread(fd, &header, sizeof(header), 0), ==, sizeof(header));
    g_assert_cmpmem(header.e_ident, SELFMAG, ELFMAG, SELFMAG);
    g_assert_cmpint(lseek(fd, 0, SEEK_END), >, 16 << 20);
    close(fd);
    close(image);
    destroy(domain);
}

typedef struct {
    GMainLoop *loop;
    guint shutdowns;
    guint reason;
    guint deaths;
    guint crashes;
} Seen;

static void
on_shutdown(SeraiHost *host G_GNUC_UNUSED, SeraiDomain *domain G_GNUC_UNUSED, guint reason, gpointer data)
{
    Seen *seen = data;

    seen->shutdowns++;
    seen->reason = reason;
    g_main_loop_quit(seen->loop);
}

static void
on_death(SeraiHost *host G_GNUC_UNUSED, SeraiDomain *domain G_GNUC_UNUSED, gpointer data)
{
    Seen *seen = data;

    seen->deaths++;
    g_main_loop_quit(seen->loop);
}

static void
on_crash(SeraiHost *host G_GNUC_UNUSED, SeraiDomain *domain G_GNUC_UNUSED, gpointer data)
{
    Seen *seen = data;

    seen->crashes++;
    g_main_loop_quit(seen->loop);
}

static void
events_tell_what_happened_once(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    g_autoptr(SeraiDomain) domain = create(f), second = NULL;
    Seen seen = {.loop = loop};

    g_signal_connect(f->host, "domain-shutdown", G_CALLBACK(on_shutdown), &seen);
    g_signal_connect(f->host, "domain-died", G_CALLBACK(on_death), &seen);
    g_signal_connect(f->host, "domain-crashed", G_CALLBACK(on_crash), &seen);
    g_assert_true(serai_domain_unpause(domain, NULL));
    g_assert_true(serai_domain_reboot(domain, NULL));
    g_main_loop_run(loop);
    g_assert_cmpuint(seen.shutdowns, ==, 1);
    g_assert_cmpuint(seen.reason, ==, SERAI_SHUTDOWN_REBOOT);
    destroy(domain);
    g_main_loop_run(loop);
    g_assert_cmpuint(seen.deaths, ==, 1);
    second = create(f);
    serai_fake_shutdown(f->host->hv, serai_domain_get_id(second), SHUTDOWN_crash);
    g_main_loop_run(loop);
    g_assert_cmpuint(seen.crashes, ==, 1);
    g_assert_cmpuint(seen.shutdowns, ==, 1);
    destroy(second);
    g_main_loop_run(loop);
    while (g_main_context_iteration(NULL, FALSE))
        ;
    g_signal_handlers_disconnect_by_data(f->host, &seen);
}

static void
on_created(GObject *source, GAsyncResult *result, gpointer data)
{
    gpointer *out = data;

    out[0] = serai_domain_create_finish(SERAI_HOST(source), result, NULL);
    g_main_loop_quit(out[1]);
}

static void
on_progress(SeraiStage stage, guint64 done G_GNUC_UNUSED, guint64 total G_GNUC_UNUSED, gpointer data)
{
    *(guint *)data |= 1U << stage;
}

static void
asynchronous_creation_reports_progress_here(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    gpointer out[2] = {NULL, loop};
    guint stages = 0;
    SeraiDomain *domain;

    serai_domain_create_async(f->host, f->config, NULL, on_progress, &stages, NULL, on_created, out);
    g_main_loop_run(loop);
    domain = out[0];
    g_assert_nonnull(domain);
    g_assert_cmpuint(stages & 1U << SERAI_STAGE_MEMORY, !=, 0);
    destroy(domain);
    g_object_unref(domain);
    while (g_main_context_iteration(NULL, FALSE))
        ;
}

static gpointer
race(gpointer data)
{
    Fixture *f = data;
    g_autoptr(SeraiDomain) domain = serai_domain_create_sync(f->host, f->config, NULL, NULL, NULL, NULL);

    if (domain)
        destroy(domain);
    return domain ? f : NULL;
}

/* Many threads make and destroy one domain: no two at once, nobody hangs, nothing is left. */
static void
racing_creators_do_not_meet(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    Before before = look(f);
    GThread *threads[8];
    guint won = 0;

    for (guint i = 0; i < 8; i++)
        threads[i] = g_thread_new("race", race, f);
    for (guint i = 0; i < 8; i++)
        won += g_thread_join(threads[i]) != NULL;
    g_assert_cmpuint(won, >=, 1);
    assert_clean(f, &before);
}

static void
resources_are_set_and_told(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GBytes) cpus = g_bytes_new_static("\x02", 1);
    g_autoptr(SeraiDomain) domain = NULL;
    g_autoptr(GPtrArray) vcpus = NULL;
    g_autoptr(SeraiConfig) config = NULL;
    g_autoptr(GError) error = NULL;
    SeraiMemoryStats stats;
    guint weight, cap;

    f->config->weight = 512;
    serai_config_set_hard_affinity(f->config, 1, cpus);
    domain = create(f);
    g_assert_true(serai_domain_get_sched(domain, &weight, &cap, NULL));
    g_assert_cmpuint(weight, ==, 512);
    g_assert_true(serai_domain_set_sched(domain, -1, 50, NULL));
    g_assert_true(serai_domain_get_sched(domain, &weight, &cap, NULL));
    g_assert_cmpuint(weight, ==, 512);
    g_assert_cmpuint(cap, ==, 50);
    vcpus = serai_domain_get_vcpus(domain, NULL);
    g_assert_cmpuint(vcpus->len, ==, 2);
    g_assert_true(g_bytes_equal(((SeraiVcpuInfo *)vcpus->pdata[1])->hard_affinity, cpus));
    g_assert_true(serai_domain_set_memory_target(domain, 8192, NULL));
    g_assert_false(serai_domain_set_memory_target(domain, 32768, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG);
    g_assert_true(serai_domain_get_memory_stats(domain, &stats, NULL));
    g_assert_cmpuint(stats.target_kib, ==, 8192);
    g_assert_true(serai_domain_set_vcpu_count(domain, 1, NULL));
    config = serai_domain_get_config(domain, NULL);
    g_assert_cmpuint(config->vcpus, ==, 1);
    g_assert_cmpuint(config->memory_kib, ==, 8192);
    destroy(domain);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    T("created_domain_is_found_by_id_uuid_and_name", created_domain_is_found_by_id_uuid_and_name);
    T("kernel_finds_start_info_p2m_and_initrd", kernel_finds_start_info_p2m_and_initrd);
    T("zeroes_of_a_kernel_are_zero", zeroes_of_a_kernel_are_zero);
    T("smallest_guest_has_four_mib", smallest_guest_has_four_mib);
    T("too_little_memory_for_the_kernel_is_said_so", too_little_memory_for_the_kernel_is_said_so);
    T("name_and_uuid_are_unique", name_and_uuid_are_unique);
    T("failure_of_any_hypercall_leaves_nothing", failure_of_any_hypercall_leaves_nothing);
    T("cancelled_creation_leaves_nothing", cancelled_creation_leaves_nothing);
    T("store_conflicts_are_tried_again", store_conflicts_are_tried_again);
    T("recovery_removes_what_a_dead_creator_left", recovery_removes_what_a_dead_creator_left);
    T("recovery_wakes_a_domain_whose_saver_died", recovery_wakes_a_domain_whose_saver_died);
    T("finished_domain_survives_recovery", finished_domain_survives_recovery);
    T("devices_are_attached_changed_and_detached", devices_are_attached_changed_and_detached);
    T("detaching_that_was_cut_off_is_finished", detaching_that_was_cut_off_is_finished);
    T("saved_domain_comes_back_with_its_memory", saved_domain_comes_back_with_its_memory);
    T("failed_save_leaves_the_domain_running", failed_save_leaves_the_domain_running);
    T("damaged_images_are_refused", damaged_images_are_refused);
    T("dump_is_an_elf_file_with_all_pages", dump_is_an_elf_file_with_all_pages);
    T("events_tell_what_happened_once", events_tell_what_happened_once);
    T("asynchronous_creation_reports_progress_here", asynchronous_creation_reports_progress_here);
    T("racing_creators_do_not_meet", racing_creators_do_not_meet);
    T("resources_are_set_and_told", resources_are_set_and_told);
    return g_test_run();
}
