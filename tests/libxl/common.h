/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of the library share: a small PV kernel made of bytes, a description, a pretend machine. */
#ifndef TESTS_LIBXL_COMMON_H
#define TESTS_LIBXL_COMMON_H

#include "private/create.h"
#include "private/elf.h"
#include "private/fake.h"
#include "private/guest-state.h"
#include "private/host.h"
#include "private/record.h"

#include <elf.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xen/elfnote.h>

#define KERNEL_BASE 0xffffffff80000000UL

/* Appends one Xen note. */
static inline void
test_note(GByteArray *notes, guint32 type, guint64 value)
{
    const Elf64_Nhdr header = {.n_namesz = 4, .n_descsz = 8, .n_type = type};

    g_byte_array_append(notes, (const guint8 *)&header, sizeof(header));
    g_byte_array_append(notes, (const guint8 *)"Xen", 4);
    g_byte_array_append(notes, (const guint8 *)&value, 8);
}

/* An ELF file with one segment of @size bytes of 0xab at 64 KiB, its bss behind, and notes. */
static inline GBytes *
test_kernel(gsize size, gboolean p2m_apart)
{
    GByteArray *file = g_byte_array_new(), *notes = g_byte_array_new();
    Elf64_Ehdr ehdr = {.e_type = ET_EXEC,
                       .e_machine = EM_X86_64,
                       .e_version = 1,
                       .e_entry = KERNEL_BASE + 0x10000,
                       .e_phoff = sizeof(ehdr),
                       .e_ehsize = sizeof(ehdr),
                       .e_phentsize = sizeof(Elf64_Phdr),
                       .e_phnum = 2};
    Elf64_Phdr ph[2] = {{.p_type = PT_LOAD,
                         .p_vaddr = KERNEL_BASE + 0x10000,
                         .p_paddr = 0x10000,
                         .p_filesz = size,
                         .p_memsz = size + 8192},
                        {.p_type = PT_NOTE}};

    memcpy(ehdr.e_ident, ELFMAG, SELFMAG);
    ehdr.e_ident[EI_CLASS] = ELFCLASS64;
    ehdr.e_ident[EI_DATA] = ELFDATA2LSB;
    test_note(notes, XEN_ELFNOTE_VIRT_BASE, KERNEL_BASE);
    test_note(notes, XEN_ELFNOTE_ENTRY, KERNEL_BASE + 0x10000);
    test_note(notes, XEN_ELFNOTE_HYPERCALL_PAGE, KERNEL_BASE + 0x11000);
    if (p2m_apart) {
        test_note(notes, XEN_ELFNOTE_INIT_P2M, 0x8000000000UL);
        test_note(notes, XEN_ELFNOTE_MOD_START_PFN, 1);
    }
    ph[1].p_offset = sizeof(ehdr) + sizeof(ph);
    ph[1].p_filesz = ph[1].p_memsz = notes->len;
    ph[0].p_offset = ph[1].p_offset + notes->len;
    g_byte_array_append(file, (guint8 *)&ehdr, sizeof(ehdr));
    g_byte_array_append(file, (guint8 *)ph, sizeof(ph));
    g_byte_array_append(file, notes->data, notes->len);
    g_byte_array_set_size(file, file->len + size);
    memset(file->data + file->len - size, 0xab, size);
    g_byte_array_unref(notes);
    return g_byte_array_free_to_bytes(file);
}

static inline char *
test_write_file(const char *dir, const char *name, GBytes *bytes)
{
    char *path = g_build_filename(dir, name, NULL);
    gsize size;
    const char *data = g_bytes_get_data(bytes, &size);

    g_assert_true(g_file_set_contents(path, data, size, NULL));
    return path;
}

typedef struct {
    SeraiHost *host;
    SeraiConfig *config;
    char *dir;
} Fixture;

static inline void
fixture_set_up(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GBytes) kernel = test_kernel(40000, TRUE), initrd = g_bytes_new_static("initrd-contents", 15);
    g_autoptr(GError) error = NULL;
    SeraiDevice *device;

    f->dir = g_dir_make_tmp("serai-test-XXXXXX", NULL);
    f->host = serai_host_open("fake", &error);
    g_assert_no_error(error);
    f->config = serai_config_new();
    f->config->name = g_strdup("guest");
    f->config->uuid = g_strdup("6f1c9c5e-0000-4000-8000-000000000001");
    f->config->kernel = test_write_file(f->dir, "kernel", kernel);
    f->config->ramdisk = test_write_file(f->dir, "initrd", initrd);
    f->config->cmdline = g_strdup("console=hvc0");
    f->config->max_memory_kib = 16384;
    f->config->max_vcpus = 2;
    device = serai_device_new(SERAI_DEVICE_DISK);
    device->disk.target = g_strdup("xvda");
    device->disk.path = g_strdup(f->config->ramdisk);
    serai_config_add_device(f->config, device);
    device = serai_device_new(SERAI_DEVICE_NIC);
    device->nic.mac = g_strdup("00:16:3e:00:00:01");
    device->nic.attach = SERAI_NIC_BRIDGE;
    device->nic.bridge = g_strdup("br0");
    serai_config_add_device(f->config, device);
}

static inline void
fixture_tear_down(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *command = g_strdup_printf("rm -rf %s", f->dir);

    serai_config_free(f->config);
    g_assert_finalize_object(f->host);
    g_assert_cmpint(system(command), ==, 0);
    g_free(f->dir);
}

/* A domain of what the fixture describes. */
static inline SeraiDomain *
create(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    SeraiDomain *domain = serai_domain_create_sync(f->host, f->config, NULL, NULL, NULL, &error);

    g_assert_no_error(error);
    g_assert_nonnull(domain);
    return domain;
}

static inline void
destroy(SeraiDomain *domain)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(serai_domain_destroy_sync(domain, NULL, &error));
    g_assert_no_error(error);
}

static inline SeraiDevice *
new_disk(const char *target, const char *path)
{
    SeraiDevice *device = serai_device_new(SERAI_DEVICE_DISK);

    device->disk.target = g_strdup(target);
    device->disk.path = g_strdup(path);
    return device;
}

#endif
