/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is seen of a domain from outside: its memory, its limits, its disks' health, what its agent tells. */
#include "common.h"

#include <sys/mman.h>

#define T(name) g_test_add("/libxl/inspect/" #name, Fixture, NULL, fixture_set_up, name, fixture_tear_down)

/* A pretend guest tells where its memory lies when it suspends. */
static void
have_it_tell(SeraiDomain *domain)
{
    g_autoptr(GError) error = NULL;
    int fd = memfd_create("image", MFD_CLOEXEC);

    g_assert_true(serai_domain_unpause(domain, NULL));
    g_assert_true(
        serai_domain_save_sync(domain, fd, NULL, SERAI_SAVE_KEEP_RUNNING, NULL, NULL, NULL, &error));
    g_assert_no_error(error);
    close(fd);
}

/* The start info page, by the register that leads to it. */
static void
read_start_info(Fixture *f, SeraiDomain *domain, start_info_t *ret_info)
{
    g_autofree vcpu_guest_context_t *c = g_new0(vcpu_guest_context_t, 1);

    g_assert_true(serai_hv_get_context(f->host->hv, serai_domain_get_id(domain), 0, c, NULL));
    g_assert_true(serai_domain_read_memory(domain, SERAI_ADDRESS_VIRTUAL, c->user_regs.rsi, ret_info,
                                           sizeof(*ret_info), NULL));
}

static void
virtual_memory_is_read_across_pages(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    g_autofree guint8 *bytes = g_malloc0(40000);
    g_autoptr(GError) error = NULL;
    start_info_t info;

    read_start_info(f, domain, &info);
    g_assert_cmpstr(info.magic, ==, "xen-3.0-x86_64");

    /* All of the segment but the hypercall page, which the hypervisor fills. */
    g_assert_true(
        serai_domain_read_memory(domain, SERAI_ADDRESS_VIRTUAL, KERNEL_BASE + 0x12001, bytes, 30000, &error));
    g_assert_no_error(error);
    for (guint i = 0; i < 30000; i++)
        g_assert_cmphex(bytes[i], ==, 0xab);

    /* Nothing is mapped at 0; the next address is none at all; the last would end beyond the top. */
    g_assert_false(serai_domain_read_memory(domain, SERAI_ADDRESS_VIRTUAL, 0, bytes, 1, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_GUEST_REFUSED);
    g_clear_error(&error);
    g_assert_false(serai_domain_read_memory(domain, SERAI_ADDRESS_VIRTUAL, 1UL << 50, bytes, 1, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG);
    g_clear_error(&error);
    g_assert_false(serai_domain_read_memory(domain, SERAI_ADDRESS_VIRTUAL, ~0UL, bytes, 2, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG);
    g_assert_nonnull(strstr(error->message, "guest"));
    destroy(domain);
}

static void
physical_memory_is_read_by_the_guest_s_list(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    g_autofree guint8 *whole = g_malloc(16 << 20);
    g_autoptr(GError) error = NULL;
    start_info_t info;
    char initrd[15];

    g_assert_false(serai_domain_read_memory(domain, SERAI_ADDRESS_PHYSICAL, 0, initrd, 1, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_GUEST_REFUSED);
    g_clear_error(&error);

    read_start_info(f, domain, &info);
    have_it_tell(domain);
    g_assert_true(serai_domain_read_memory(domain, SERAI_ADDRESS_PHYSICAL, info.mod_start << SERAI_PAGE_SHIFT,
                                           initrd, sizeof(initrd), &error));
    g_assert_no_error(error);
    g_assert_cmpmem(initrd, sizeof(initrd), "initrd-contents", 15);
    g_assert_true(serai_domain_read_memory(domain, SERAI_ADDRESS_PHYSICAL, 0, whole, 16 << 20, &error));
    g_assert_no_error(error);
    g_assert_cmpmem(whole + (info.mod_start << SERAI_PAGE_SHIFT), 15, initrd, 15);
    /* One byte more than there is, and far beyond. */
    g_assert_false(
        serai_domain_read_memory(domain, SERAI_ADDRESS_PHYSICAL, (16 << 20) - 1, whole, 2, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG);
    g_clear_error(&error);
    g_assert_false(serai_domain_read_memory(domain, SERAI_ADDRESS_PHYSICAL, 1UL << 62, whole, 1, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG);
    destroy(domain);
}

/* A guest's list may name any frame; only the guest's own can be read. */
static void
a_list_that_lies_leads_nowhere(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    xen_domctl_getdomaininfo_t raw;
    shared_info_t *shared;
    xen_pfn_t frame;
    guint8 byte;
    static const uint64_t lies[] = {0, 1, 0x1234567, SERAI_FAKE_PAGES, ~0UL};

    have_it_tell(domain);
    g_assert_true(serai_hv_domain_info(f->host->hv, serai_domain_get_id(domain), &raw, NULL));
    frame = raw.shared_info_frame;
    shared = serai_hv_map(f->host->hv, serai_domain_get_id(domain), PROT_READ | PROT_WRITE, 1, &frame, NULL);
    g_assert_nonnull(shared);
    for (guint i = 0; i < G_N_ELEMENTS(lies); i++) {
        g_autoptr(GError) error = NULL;

        shared->arch.p2m_cr3 = 0;
        shared->arch.pfn_to_mfn_frame_list_list = lies[i];
        shared->arch.max_pfn = ~0UL;
        g_assert_false(serai_domain_read_memory(domain, SERAI_ADDRESS_PHYSICAL, 0x5000, &byte, 1, &error));
        g_assert_nonnull(error);
        g_clear_error(&error);
        shared->arch.p2m_cr3 = lies[i] << 12 | 1;
        g_assert_false(serai_domain_read_memory(domain, SERAI_ADDRESS_PHYSICAL, 0x5000, &byte, 1, &error));
        g_assert_nonnull(error);
    }
    serai_hv_unmap(f->host->hv, shared, 1);
    destroy(domain);
}

static void
the_limit_is_the_hypervisor_s(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = NULL;
    g_autoptr(GBytes) node = g_bytes_new_static("\x01", 1);
    g_autoptr(GError) error = NULL;
    SeraiMemoryStats stats;

    f->config->memory_kib = 8192;
    domain = create(f);
    g_assert_true(serai_domain_get_memory_stats(domain, &stats, NULL));
    g_assert_cmpuint(stats.maximum_kib, ==, 16384);
    g_assert_true(serai_domain_set_memory_limit(domain, 12288, &error));
    g_assert_true(serai_domain_get_memory_stats(domain, &stats, NULL));
    g_assert_cmpuint(stats.maximum_kib, ==, 12288);
    g_assert_cmpuint(stats.static_max_kib, ==, 16384);
    g_assert_false(serai_domain_set_memory_limit(domain, 4096, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_CONFIG);
    g_assert_true(serai_domain_set_nodes(domain, node, NULL));
    destroy(domain);
}

static void
write_data(Fixture *f, SeraiDomain *domain, const char *name, const char *value)
{
    g_autofree char *path = g_strdup_printf("/local/domain/%u/data/%s", serai_domain_get_id(domain), name);

    g_assert_true(serai_store_write(f->host->store, NULL, path, "%s", value));
}

static void
the_guest_s_words_are_checked(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    g_autofree char *name = NULL, *longest = g_strnfill(254, 'a');
    const char *const lies[] = {"", "two words", "-x", ".x", "a/b", "new\nline", "\xff", longest};
    g_autoptr(GError) error = NULL;
    SeraiMemoryStats stats;

    g_assert_null(serai_domain_dup_guest_hostname(domain, &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED);
    g_clear_error(&error);
    for (guint i = 0; i < G_N_ELEMENTS(lies); i++) {
        write_data(f, domain, "host_name", lies[i]);
        g_assert_null(serai_domain_dup_guest_hostname(domain, &error));
        g_assert_error(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED);
        g_clear_error(&error);
    }
    write_data(f, domain, "host_name", "web-1.example.org");
    name = serai_domain_dup_guest_hostname(domain, &error);
    g_assert_cmpstr(name, ==, "web-1.example.org");

    write_data(f, domain, "meminfo_total", "15000");
    write_data(f, domain, "meminfo_free", "-4");
    g_assert_true(serai_domain_get_memory_stats(domain, &stats, NULL));
    g_assert_cmpuint(stats.guest_total_kib, ==, 15000);
    g_assert_cmpuint(stats.guest_free_kib, ==, 0);
    destroy(domain);
}

static void
a_disk_whose_backend_gave_up_has_failed(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = create(f);
    g_autofree char *path = g_strdup_printf("/local/domain/0/error/backend/vbd/%u/%d/error",
                                            serai_domain_get_id(domain), 202 << 8);
    g_autoptr(GError) error = NULL;

    g_assert_true(serai_domain_check_disk(domain, "xvda", &error));
    g_assert_false(serai_domain_check_disk(domain, "xvdb", &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_NO_DEVICE);
    g_clear_error(&error);
    g_assert_true(serai_store_write(f->host->store, NULL, path, "%s", "22 mapping ring-ref"));
    g_assert_false(serai_domain_check_disk(domain, "xvda", &error));
    g_assert_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED);
    g_assert_nonnull(strstr(error->message, "mapping ring-ref"));
    g_assert_nonnull(strstr(error->message, "guest"));
    destroy(domain);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    T(virtual_memory_is_read_across_pages);
    T(physical_memory_is_read_by_the_guest_s_list);
    T(a_list_that_lies_leads_nowhere);
    T(the_limit_is_the_hypervisor_s);
    T(the_guest_s_words_are_checked);
    T(a_disk_whose_backend_gave_up_has_failed);
    return g_test_run();
}
