/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Facts about the pretend machine, and what is asked of its domains in one call each. */
#include "common.h"
#include "private/teardown.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define T(name) g_test_add("/libxl/host/" #name, Fixture, NULL, fixture_set_up, name, fixture_tear_down)

/* What a node of the domain's home in the store says. */
static void
assert_node(Fixture *f, SeraiDomain *domain, const char *leaf, const char *value)
{
    g_autofree char *text =
        serai_store_read(f->host->store, "/local/domain/%u/%s", serai_domain_get_id(domain), leaf);

    g_assert_cmpstr(text, ==, value);
}

static void
machine_tells_its_facts(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiHostInfo) info = serai_host_get_info(f->host, NULL), copy = serai_host_info_copy(info);
    g_autoptr(GArray) cpus = serai_host_get_cpus(f->host, NULL);
    g_autoptr(GPtrArray) nodes = serai_host_get_nodes(f->host, NULL);
    g_autoptr(SeraiNode) node = NULL;
    guint64 before, after;
    SeraiDomain *domain;

    g_assert_nonnull(info);
    g_assert_cmpuint(copy->cpu_count, ==, SERAI_FAKE_CPUS);
    g_assert_cmpuint(copy->total_kib, ==, SERAI_FAKE_PAGES << 2);
    g_assert_cmpstr(copy->scheduler, ==, "credit2");
    g_assert_true(copy->has_pv);
    g_assert_false(copy->has_hvm);

    g_assert_nonnull(cpus);
    g_assert_cmpuint(cpus->len, ==, SERAI_FAKE_CPUS);
    for (guint i = 0; i < cpus->len; i++) {
        g_assert_true(g_array_index(cpus, SeraiCpu, i).online);
        g_assert_cmpuint(g_array_index(cpus, SeraiCpu, i).core, ==, i);
        g_assert_cmpuint(g_array_index(cpus, SeraiCpu, i).idle_ns, >, 0);
    }

    g_assert_nonnull(nodes);
    g_assert_cmpuint(nodes->len, ==, 1);
    node = serai_node_copy(nodes->pdata[0]);
    g_assert_true(node->present);
    g_assert_cmpuint(node->total_kib, ==, SERAI_FAKE_PAGES << 2);
    g_assert_cmpuint(g_array_index(node->distances, guint, 0), ==, 10);

    g_assert_true(serai_host_get_free_memory(f->host, &before, NULL));
    g_assert_cmpuint(before, ==, info->free_kib);
    domain = create(f);
    g_assert_true(serai_host_get_free_memory(f->host, &after, NULL));
    g_assert_cmpuint(after, <=, before - f->config->max_memory_kib);
    destroy(domain);
    g_object_unref(domain);
}

static guint sysctls, domctls;

static gboolean
spy(unsigned int number, const uint64_t args[5])
{
    const struct xen_sysctl *sysctl = (void *)(uintptr_t)args[0];
    const struct xen_domctl *domctl = (void *)(uintptr_t)args[0];

    if (number == __HYPERVISOR_sysctl && sysctl->cmd == XEN_SYSCTL_debug_keys)
        sysctls += sysctl->u.debug_keys.nr_keys == 1 && sysctl->u.debug_keys.keys.p[0] == 'q';
    if (number == __HYPERVISOR_domctl && domctl->cmd == XEN_DOMCTL_sendtrigger)
        domctls += domctl->u.sendtrigger.trigger == XEN_DOMCTL_SENDTRIGGER_NMI && !domctl->u.sendtrigger.vcpu;
    return FALSE;
}

static void
log_is_read_and_keys_are_sent(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *log = serai_host_read_log(f->host, NULL);
    g_autoptr(SeraiDomain) domain = create(f);

    g_assert_cmpstr(log, ==, "(FAKE) nothing happened\n");
    sysctls = domctls = 0;
    serai_fake_set_spy(f->host->hv, spy);
    g_assert_true(serai_host_send_debug_key(f->host, 'q', NULL));
    g_assert_cmpuint(sysctls, ==, 1);
    g_assert_true(serai_domain_nmi(domain, NULL));
    g_assert_cmpuint(domctls, ==, 1);
    serai_fake_set_spy(f->host->hv, NULL);
    g_assert_true(serai_domain_sysrq(domain, 's', NULL));
    assert_node(f, domain, "control/sysrq", "s");
    destroy(domain);
}

static void
only_a_pci_address_is_reclaimed(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(serai_host_reclaim_pci(f->host, "0000:00:1f.2", NULL));
    g_assert_false(serai_host_reclaim_pci(f->host, "../00:00:1f.2", &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_NO_DEVICE);
}

static void
crash_is_a_crash(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    g_autoptr(SeraiDomainInfo) info = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_true(serai_domain_crash(domain, NULL));
    info = serai_domain_get_info(domain, NULL);
    g_assert_cmpint(info->shutdown_reason, ==, SERAI_SHUTDOWN_CRASH);
    g_assert_false(serai_domain_shutdown(domain, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_STATE);
    destroy(domain);
}

static void
vcpus_are_pinned_and_taken(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    g_autoptr(GBytes) third = g_bytes_new_static("\x04", 1), none = g_bytes_new_static("\0", 1);
    g_autoptr(GPtrArray) vcpus = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(SeraiVcpuInfo) info = NULL;
    gsize size;

    g_assert_true(serai_domain_pin_vcpu(domain, 1, third, NULL, NULL));
    vcpus = serai_domain_get_vcpus(domain, NULL);
    g_assert_cmpuint(vcpus->len, ==, 2);
    info = serai_vcpu_info_copy(vcpus->pdata[1]);
    g_assert_cmphex(*(guint8 *)g_bytes_get_data(info->hard_affinity, &size) & 0xf, ==, 0x4);
    g_assert_cmphex(*(guint8 *)g_bytes_get_data(info->soft_affinity, &size) & 0xf, ==, 0xf);
    g_assert_false(serai_domain_pin_vcpu(domain, 1, none, NULL, &error));
    g_clear_error(&error);
    g_assert_false(serai_domain_pin_vcpu(domain, 2, third, NULL, &error));
    g_clear_error(&error);

    g_assert_true(serai_domain_set_vcpu_online(domain, 1, FALSE, NULL));
    assert_node(f, domain, "cpu/1/availability", "offline");
    g_assert_true(serai_domain_set_vcpu_online(domain, 1, TRUE, NULL));
    assert_node(f, domain, "cpu/1/availability", "online");
    g_assert_false(serai_domain_set_vcpu_online(domain, 0, FALSE, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG);
    g_clear_error(&error);
    g_assert_false(serai_domain_set_vcpu_online(domain, 2, TRUE, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG);
    destroy(domain);
}

static void
maximum_of_memory_moves(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    g_autoptr(GError) error = NULL;
    SeraiMemoryStats stats;

    g_assert_true(serai_domain_set_memory_max(domain, 32768, NULL));
    g_assert_true(serai_domain_get_memory_stats(domain, &stats, NULL));
    g_assert_cmpuint(stats.static_max_kib, ==, 32768);
    g_assert_cmpuint(stats.maximum_kib, ==, 32768);
    g_assert_cmpuint(stats.current_kib, ==, 16384);
    g_assert_true(serai_domain_set_memory_target(domain, 32768, NULL));
    g_assert_false(serai_domain_set_memory_max(domain, 8192, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG);
    destroy(domain);
}

static void
devices_tell_what_they_did(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    g_autofree char *tty = g_strdup_printf("/local/domain/%u/console/tty", serai_domain_get_id(domain));
    g_autofree char *none = NULL, *path = NULL;
    SeraiDiskStats disk = {.read_bytes = 1};
    SeraiNicStats nic = {.rx_bytes = 1};
    g_autoptr(GError) error = NULL;

    g_assert_true(serai_domain_get_disk_stats(domain, "xvda", &disk, NULL));
    g_assert_cmpuint(disk.read_bytes, ==, 0);
    g_assert_false(serai_domain_get_disk_stats(domain, "xvdz", &disk, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_NO_DEVICE);
    g_clear_error(&error);
    g_assert_true(serai_domain_get_nic_stats(domain, 0, &nic, NULL));
    g_assert_cmpuint(nic.rx_bytes, ==, 0);
    g_assert_false(serai_domain_get_nic_stats(domain, 7, &nic, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_NO_DEVICE);
    g_clear_error(&error);
    g_assert_true(serai_domain_resize_disk(domain, "xvda", 1 << 20, NULL));
    g_assert_false(serai_domain_resize_disk(domain, "xvdz", 1 << 20, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_NO_DEVICE);
    g_clear_error(&error);

    none = serai_domain_dup_console_path(domain, SERAI_DEVICE_CONSOLE, 0, &error);
    g_assert_null(none);
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_NO_DEVICE);
    g_assert_true(serai_store_write(f->host->store, NULL, tty, "/dev/pts/7"));
    path = serai_domain_dup_console_path(domain, SERAI_DEVICE_CONSOLE, 0, NULL);
    g_assert_cmpstr(path, ==, "/dev/pts/7");
    destroy(domain);
}

/* Nothing sleeps, so nothing is woken; of a domain that is gone it is an error. */
static void
waking_who_is_awake_is_harmless(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    g_autoptr(GError) error = NULL;

    g_assert_true(serai_domain_wake(domain, &error));
    g_assert_no_error(error);
    destroy(domain);
    g_assert_false(serai_domain_wake(domain, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_NO_DOMAIN);
}

/* --- two who save one domain ------------------------------------------------------------------ */

/* Writes down that process @pid saves the domain, or one that had its number before. */
static void
mark_saving(Fixture *f, SeraiDomain *domain, int pid, gboolean itself)
{
    g_autofree char *path =
                        g_strdup_printf(SERAI_RECORD_ROOT "/domain/%s/saving", serai_domain_get_uuid(domain)),
                    *stat_path = g_strdup_printf("/proc/%d/stat", pid), *stat = NULL;
    g_auto(GStrv) fields = NULL;

    g_assert_true(g_file_get_contents(stat_path, &stat, NULL, NULL));
    fields = g_strsplit(strrchr(stat, ')'), " ", 0);
    g_assert_true(serai_store_write(f->host->store, NULL, path, "%d %s", pid, itself ? fields[20] : "1"));
}

static void
expect_saver(Fixture *f, SeraiDomain *domain, int pid)
{
    g_autofree char *mark = serai_store_read(f->host->store, SERAI_RECORD_ROOT "/domain/%s/saving",
                                             serai_domain_get_uuid(domain));

    g_assert_cmpint(mark ? atoi(mark) : 0, ==, pid);
}

static void
expect_asleep(SeraiDomain *domain, gboolean asleep)
{
    g_autoptr(SeraiDomainInfo) info = serai_domain_get_info(domain, NULL);

    g_assert_cmpint(info->shutdown_reason, ==, asleep ? SERAI_SHUTDOWN_SUSPEND : SERAI_SHUTDOWN_NONE);
}

/* What another process saves must sleep until that is done, and is saved by nobody else meanwhile. */
static void
who_is_saved_by_another_is_left_alone(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    int fd = memfd_create("image", MFD_CLOEXEC), full = open("/dev/full", O_WRONLY);
    g_autoptr(GError) error = NULL;

    g_assert_true(serai_domain_unpause(domain, NULL));
    g_assert_true(
        serai_domain_save_sync(domain, fd, NULL, SERAI_SAVE_KEEP_SUSPENDED, NULL, NULL, NULL, &error));
    expect_saver(f, domain, getpid());
    mark_saving(f, domain, getppid(), TRUE); /* who lives as long as we do */
    g_assert_false(serai_domain_wake(domain, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_STATE);
    g_clear_error(&error);
    g_assert_false(serai_domain_save_sync(domain, full, NULL, SERAI_SAVE_NONE, NULL, NULL, NULL, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_STATE);
    g_clear_error(&error);
    expect_asleep(domain, TRUE);
    expect_saver(f, domain, getppid());

    /* One who died meanwhile is not waited for. */
    mark_saving(f, domain, getppid(), FALSE);
    g_assert_true(serai_domain_wake(domain, &error));
    g_assert_no_error(error);
    expect_asleep(domain, FALSE);
    expect_saver(f, domain, 0);
    close(full);
    close(fd);
    destroy(domain);
}

/* Nor is one whose parent has not asked yet how it ended. */
static void
zombie_saves_nothing(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    siginfo_t ended;
    pid_t pid = fork();

    if (!pid)
        _exit(0);
    g_assert_cmpint(waitid(P_PID, pid, &ended, WEXITED | WNOWAIT), ==, 0);
    mark_saving(f, domain, pid, TRUE);
    g_assert_true(serai_record_save_was_cut_off(f->host, serai_domain_get_uuid(domain)));
    g_assert_cmpint(waitid(P_PID, pid, &ended, WEXITED), ==, 0);
    destroy(domain);
}

/* A domain that was paused is let run to fall asleep; when it does not, it is paused again. */
static void
who_does_not_fall_asleep_is_as_before(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(SeraiDomainInfo) info = NULL;
    int fd = memfd_create("image", MFD_CLOEXEC);
    g_autoptr(GError) error = NULL;

    g_cancellable_cancel(cancellable);
    g_assert_false(
        serai_domain_save_sync(domain, fd, NULL, SERAI_SAVE_NONE, cancellable, NULL, NULL, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    info = serai_domain_get_info(domain, NULL);
    g_assert_true(info->paused);
    expect_asleep(domain, FALSE);
    expect_saver(f, domain, 0);
    assert_node(f, domain, "control/shutdown", "");
    close(fd);
    destroy(domain);
}

static const SeraiStoreOps *real_ops;
static guint marks_removed;

static gboolean
count_marks(SeraiStore *store, uint32_t transaction, const char *path)
{
    marks_removed += g_str_has_suffix(path, "/saving");
    return real_ops->remove(store, transaction, path);
}

/* Recovery knows by the mark who sleeps in vain: it stays until the record goes, for we may die any time. */
static void
saved_domain_is_marked_until_it_is_gone(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    SeraiStoreOps ops = *f->host->store->ops;
    int fd = memfd_create("image", MFD_CLOEXEC);
    g_autoptr(GError) error = NULL;

    real_ops = f->host->store->ops;
    ops.remove = count_marks;
    marks_removed = 0;
    g_assert_true(serai_domain_unpause(domain, NULL));
    f->host->store->ops = &ops;
    g_assert_true(serai_domain_save_sync(domain, fd, NULL, SERAI_SAVE_NONE, NULL, NULL, NULL, &error));
    f->host->store->ops = real_ops;
    g_assert_cmpuint(marks_removed, ==, 0);
    expect_saver(f, domain, 0);
    close(fd);
}

/* --- two who destroy one domain --------------------------------------------------------------- */

static Fixture *racing;
static guint calls_to_wait;

/* As often as one process is about to change the store, another has come first, and made the domain anew. */
static uint32_t
start_after_another(SeraiStore *store)
{
    if (calls_to_wait && --calls_to_wait == 0) {
        store->ops = real_ops;
        g_assert_true(serai_store_remove(
            store, SERAI_RECORD_ROOT "/domain/6f1c9c5e-0000-4000-8000-000000000001", NULL));
        g_assert_true(serai_store_remove(store, SERAI_RECORD_ROOT "/name/6775657374", NULL));
        g_object_unref(create(racing));
    }
    return real_ops->start(store);
}

static void
expect_new_one(Fixture *f)
{
    g_autoptr(SeraiDomain) domain = serai_host_lookup_by_name(f->host, "guest", NULL);
    g_autofree char *name = serai_store_read(f->host->store, "/vm/%s/name", f->config->uuid);

    g_assert_nonnull(domain);
    g_assert_cmpuint(domain->domid, ==, 2);
    g_assert_cmpstr(name, ==, "guest");
    destroy(domain);
}

/* Whichever step of destroying it another process is ahead of, its new domain of that name stays whole. */
static void
domain_made_anew_is_not_destroyed(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    SeraiStoreOps ops = *f->host->store->ops;

    racing = f;
    real_ops = f->host->store->ops;
    ops.start = start_after_another;
    for (guint n = 1; n <= 4; n++) {
        g_autoptr(SeraiDomain) domain = NULL;
        g_autoptr(GError) error = NULL;

        g_assert_finalize_object(f->host);
        f->host = serai_host_open("fake", NULL);
        domain = create(f);
        if (n == 4) { /* all was over before */
            g_autoptr(SeraiDomain) same = serai_host_lookup_by_name(f->host, "guest", NULL);

            destroy(same);
            g_object_unref(create(f));
        } else {
            calls_to_wait = n;
            f->host->store->ops = &ops;
        }
        serai_domain_destroy_sync(domain, NULL, &error);
        f->host->store->ops = real_ops;
        g_assert_cmpuint(calls_to_wait, ==, 0);
        expect_new_one(f);
    }
}

/* Another process destroys what we are making. */
static uint32_t
start_after_destroyer(SeraiStore *store)
{
    const char *uuid = racing->config->uuid;

    if (calls_to_wait && --calls_to_wait == 0) {
        store->ops = real_ops;
        g_assert_true(serai_teardown(racing->host, uuid, serai_find_domid(racing->host, uuid), NULL, NULL));
    }
    return real_ops->start(store);
}

static void
domain_destroyed_while_it_is_made_is_not_made(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    SeraiStoreOps ops = *f->host->store->ops;
    guint nodes, failures = 0;
    SeraiDomain *first;

    racing = f;
    real_ops = f->host->store->ops;
    ops.start = start_after_destroyer;
    first = create(f);
    destroy(first); /* its directories stay */
    g_object_unref(first);
    nodes = serai_fake_nodes(f->host->store);
    for (guint n = 2;; n++) {
        g_autoptr(SeraiDomain) domain = NULL;
        g_autoptr(GError) error = NULL;

        calls_to_wait = n;
        f->host->store->ops = &ops;
        domain = serai_domain_create_sync(f->host, f->config, NULL, NULL, NULL, &error);
        f->host->store->ops = real_ops;
        if (domain)
            destroy(domain);
        g_assert_cmpuint(serai_fake_domains(f->host->hv), ==, 0);
        g_assert_cmpuint(serai_fake_nodes(f->host->store), ==, nodes);
        if (calls_to_wait)
            break;
        g_assert_null(domain);
        g_assert_nonnull(error);
        failures++;
    }
    g_assert_cmpuint(failures, >, 1);
}

static void
missing_boot_loader_names_its_package(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;

    g_clear_pointer(&f->config->kernel, g_free);
    if (serai_build_kernel_path(f->config, &error)) {
        g_test_skip("grub-xen-host is installed");
        return;
    }
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_KERNEL);
    g_assert_nonnull(strstr(error->message, "grub-xen-host"));
    g_clear_error(&error);
    /* Whoever names another one is told of that. */
    f->config->bootloader = g_strdup("/nonexistent/loader");
    g_assert_null(serai_build_kernel_path(f->config, &error));
    g_assert_nonnull(strstr(error->message, "'/nonexistent/loader'"));
    g_assert_null(strstr(error->message, "grub-xen-host"));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    T(machine_tells_its_facts);
    T(log_is_read_and_keys_are_sent);
    T(only_a_pci_address_is_reclaimed);
    T(crash_is_a_crash);
    T(vcpus_are_pinned_and_taken);
    T(maximum_of_memory_moves);
    T(devices_tell_what_they_did);
    T(waking_who_is_awake_is_harmless);
    T(who_is_saved_by_another_is_left_alone);
    T(zombie_saves_nothing);
    T(who_does_not_fall_asleep_is_as_before);
    T(saved_domain_is_marked_until_it_is_gone);
    T(domain_made_anew_is_not_destroyed);
    T(domain_destroyed_while_it_is_made_is_not_made);
    T(missing_boot_loader_names_its_package);
    return g_test_run();
}
