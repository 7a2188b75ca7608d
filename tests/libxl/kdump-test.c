/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Dumps in kdump's format, read as crash would: by the offsets of diskdump.h, and nothing of ours. */
#include "common.h"

#include <sys/mman.h>
#include <time.h>
#include <zlib.h>

#define T(name, func) g_test_add("/libxl/kdump/" name, Fixture, NULL, fixture_set_up, func, fixture_tear_down)

#define OSRELEASE                  \
    "OSRELEASE=6.1.0-test-amd64\n" \
    "NUMBER(phys_base)=-4096\n"

typedef struct {
    guint8 *data;
    gsize size;
} Core;

static void
core_clear(Core *core)
{
    g_free(core->data);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Core, core_clear)

static guint64
number(const Core *core, guint64 at, guint size)
{
    guint64 value = 0;

    g_assert_cmpuint(at + size, <=, core->size);
    memcpy(&value, core->data + at, size);
    return value;
}

static Core
read_file(int fd)
{
    Core core = {.size = lseek(fd, 0, SEEK_END)};

    core.data = g_malloc(core.size);
    g_assert_cmpint(pread(fd, core.data, core.size, 0), ==, core.size);
    return core;
}

/* What "makedumpfile -R" makes of the flattened form. */
static Core
rearrange(const Core *flat)
{
    Core core = {NULL, 0};
    gsize at = 4096;

    g_assert_cmpmem(flat->data, 16, "makedumpfile\0\0\0\0", 16);
    g_assert_cmpuint(GUINT64_FROM_BE(number(flat, 16, 8)), ==, 1);
    g_assert_cmpuint(GUINT64_FROM_BE(number(flat, 24, 8)), ==, 1);
    for (;;) {
        guint64 offset = GUINT64_FROM_BE(number(flat, at, 8)),
                size = GUINT64_FROM_BE(number(flat, at + 8, 8));

        at += 16;
        if (offset == G_MAXUINT64)
            break;
        g_assert_cmpuint(at + size, <=, flat->size);
        if (offset + size > core.size) {
            core.data = g_realloc(core.data, offset + size);
            memset(core.data + core.size, 0, offset + size - core.size);
            core.size = offset + size;
        }
        memcpy(core.data + offset, flat->data + at, size);
        at += size;
    }
    g_assert_cmpuint(at, ==, flat->size);
    return core;
}

/* FALSE: the frame is not in the file. */
static gboolean
read_frame(const Core *core, xen_pfn_t pfn, guint64 page[512])
{
    guint64 bitmaps = (1 + number(core, 432, 4)) * 4096, half = number(core, 436, 4) / 2 * 4096;
    guint64 descriptor = bitmaps + 2 * half, at;
    uLongf size = 4096;

    if (!(core->data[bitmaps + half + pfn / 8] & 1 << pfn % 8))
        return FALSE;
    for (xen_pfn_t i = 0; i < pfn; i++)
        descriptor += core->data[bitmaps + half + i / 8] & 1 << i % 8 ? 24 : 0;
    at = number(core, descriptor, 8);
    g_assert_cmpuint(at + number(core, descriptor + 8, 4), <=, core->size);
    if (number(core, descriptor + 12, 4)) {
        g_assert_cmpint(uncompress((Bytef *)page, &size, core->data + at, number(core, descriptor + 8, 4)),
                        ==, Z_OK);
        g_assert_cmpuint(size, ==, 4096);
    } else {
        g_assert_cmpuint(number(core, descriptor + 8, 4), ==, 4096);
        memcpy(page, core->data + at, 4096);
    }
    return TRUE;
}

/* The frame of a virtual address, by tables that the file itself has. */
static xen_pfn_t
walk(const Core *core, xen_pfn_t table, guint64 address)
{
    guint64 page[512];

    for (int level = 4; level >= 1; level--) {
        g_assert_true(read_frame(core, table, page));
        if (!(page[address >> (3 + 9 * level) & 511] & 1))
            return SERAI_NO_FRAME;
        table = page[address >> (3 + 9 * level) & 511] >> 12 & 0xffffffffffUL;
    }
    return table;
}

static int
temporary(void)
{
    int fd = memfd_create("core", MFD_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

/* A guest tells where its list is when it suspends. */
static SeraiDomain *
running(Fixture *f)
{
    SeraiDomain *domain = create(f);
    int image = temporary();

    g_assert_true(serai_domain_unpause(domain, NULL));
    g_assert_true(
        serai_domain_save_sync(domain, image, NULL, SERAI_SAVE_KEEP_RUNNING, NULL, NULL, NULL, NULL));
    close(image);
    return domain;
}

static void
write_frame(SeraiGuestState *guest, xen_pfn_t pfn, gsize at, const void *data, gsize size)
{
    char *page = serai_hv_map(guest->hv, guest->domid, PROT_READ | PROT_WRITE, 1, &guest->p2m[pfn], NULL);

    g_assert_nonnull(page);
    memcpy(page + at, data, size);
    serai_hv_unmap(guest->hv, page, 1);
}

/* The note of a kernel at the start of frame @pfn, which says that its text has @size bytes. */
static void
write_note(SeraiGuestState *guest, xen_pfn_t pfn, const char *text, guint32 size)
{
    const Elf64_Nhdr header = {.n_namesz = 11, .n_descsz = size};

    write_frame(guest, pfn, 0, &header, sizeof(header));
    write_frame(guest, pfn, 12, "VMCOREINFO\0", 12);
    write_frame(guest, pfn, 24, text, MIN(strlen(text), 4096 - 24));
}

static Core
dump(SeraiDomain *domain, SeraiDumpFlags flags)
{
    g_autoptr(GError) error = NULL;
    int fd = temporary();
    Core core;

    g_assert_true(serai_domain_dump_sync(domain, fd, SERAI_DUMP_KDUMP | flags, NULL, NULL, NULL, &error));
    g_assert_no_error(error);
    core = read_file(fd);
    close(fd);
    return core;
}

static void
file_is_that_of_a_machine_without_a_hypervisor(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = running(f);
    guint domid = serai_domain_get_id(domain);
    g_autofree vcpu_guest_context_t *c = g_new0(vcpu_guest_context_t, 1);
    g_auto(SeraiGuestState) guest = {0};
    g_auto(Core) core = {0};
    g_autofree xen_pfn_t *types = NULL;
    guint64 page[512], *real, notes;

    g_assert_true(serai_guest_read(&guest, f->host->hv, domid, NULL));
    write_note(&guest, guest.count - 2, OSRELEASE, strlen(OSRELEASE));
    g_assert_true(serai_hv_get_context(f->host->hv, domid, 0, c, NULL));
    core = dump(domain, SERAI_DUMP_NONE);

    g_assert_cmpmem(core.data, 8, "KDUMP   ", 8);
    g_assert_cmpuint(number(&core, 8, 4), ==, 6);
    g_assert_cmpstr((char *)core.data + 12 + 2 * 65, ==, "6.1.0-test-amd64");
    g_assert_cmpstr((char *)core.data + 12 + 4 * 65, ==, "x86_64");
    g_assert_cmpuint(number(&core, 424, 4), ==, 1);
    g_assert_cmpuint(number(&core, 428, 4), ==, 4096);
    g_assert_cmpuint(number(&core, 440, 4), ==, guest.count);
    g_assert_cmpuint(number(&core, 460, 4), ==, 1); /* the other vCPU was never started */
    g_assert_cmpint((gint64)number(&core, 4096, 8), ==, -4096);
    g_assert_cmpmem(core.data + number(&core, 4096 + 32, 8), number(&core, 4096 + 40, 8), OSRELEASE,
                    strlen(OSRELEASE));
    notes = number(&core, 4096 + 48, 8);
    g_assert_cmpmem(core.data + notes + 12, 5, "CORE", 5);
    g_assert_cmphex(number(&core, notes + 20 + 112 + 16 * 8, 8), ==, c->user_regs.rip);
    g_assert_cmphex(number(&core, notes + 20 + 112 + 19 * 8, 8), ==, c->user_regs.rsp);
    g_assert_cmphex(number(&core, notes + 20 + 112 + 13 * 8, 8), ==, c->user_regs.rsi);

    types = g_memdup2(guest.p2m, guest.count * sizeof(*types));
    g_assert_true(serai_hv_page_types(guest.hv, domid, guest.count, types, NULL));
    for (xen_pfn_t pfn = 0; pfn < guest.count; pfn++) {
        g_assert_cmpint(read_frame(&core, pfn, page), ==, guest.p2m[pfn] != SERAI_NO_FRAME);
        if (guest.p2m[pfn] == SERAI_NO_FRAME || types[pfn] & XEN_DOMCTL_PFINFO_LTABTYPE_MASK)
            continue;
        real = serai_hv_map(guest.hv, domid, PROT_READ, 1, &guest.p2m[pfn], NULL);
        g_assert_cmpmem(page, 4096, real, 4096);
        serai_hv_unmap(guest.hv, real, 1);
    }
    /* The first page of the kernel, found by the tables of the file. */
    g_assert_true(read_frame(
        &core, walk(&core, serai_guest_pfn(&guest, c->ctrlreg[3] >> 12), KERNEL_BASE + 0x10000), page));
    g_assert_cmphex(page[0], ==, 0xababababababababUL);
    /* Zeros cost a descriptor. */
    g_assert_cmpuint(core.size, <, 1 << 20);
    destroy(domain);
}

static void
entries_that_lead_out_of_the_guest_are_cleared(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = running(f);
    g_auto(SeraiGuestState) guest = {0};
    g_auto(Core) core = {0};
    const guint64 strange = 1UL << 12 | 1;
    guint64 page[512];
    xen_pfn_t pfn, type = 0;

    g_assert_true(serai_guest_read(&guest, f->host->hv, serai_domain_get_id(domain), NULL));
    for (pfn = 0; pfn < guest.count; pfn++) {
        type = guest.p2m[pfn];
        if (type != SERAI_NO_FRAME && serai_hv_page_types(guest.hv, guest.domid, 1, &type, NULL) &&
            (type & XEN_DOMCTL_PFINFO_LTABTYPE_MASK) == XEN_DOMCTL_PFINFO_L1TAB)
            break;
    }
    g_assert_cmpuint(pfn, <, guest.count);
    write_frame(&guest, pfn, 511 * 8, &strange, 8);
    core = dump(domain, SERAI_DUMP_NONE);
    g_assert_true(read_frame(&core, pfn, page));
    g_assert_cmphex(page[511], ==, 0);
    destroy(domain);
}

static void
pointer_to_the_start_info_is_kept_back_and_nothing_else(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = running(f);
    g_autofree vcpu_guest_context_t *c = g_new0(vcpu_guest_context_t, 1);
    g_auto(SeraiGuestState) guest = {0};
    g_auto(Core) core = {0};
    static const char text[] = "OSRELEASE=6.1.0\nSYMBOL(_stext)=ffffffff80010000\n";
    guint64 page[512], pointers[3];

    g_assert_true(serai_guest_read(&guest, f->host->hv, serai_domain_get_id(domain), NULL));
    g_assert_true(serai_hv_get_context(guest.hv, guest.domid, 0, c, NULL));
    pointers[0] = c->user_regs.rsi + 8;
    pointers[1] = 0xffff888000000000UL | (c->user_regs.rsi & 0x7fffffff);
    pointers[2] = c->user_regs.rsi;
    write_note(&guest, guest.count - 2, text, sizeof(text) - 1);
    write_frame(&guest, 5, 8, pointers, sizeof(pointers));
    write_frame(&guest, 18, 8, pointers, sizeof(pointers));
    core = dump(domain, SERAI_DUMP_NONE);
    g_assert_true(read_frame(&core, 5, page));
    g_assert_cmpmem(&page[1], sizeof(pointers), pointers, sizeof(pointers));
    g_assert_true(read_frame(&core, 18, page));
    pointers[1] = 0;
    g_assert_cmpmem(&page[1], sizeof(pointers), pointers, sizeof(pointers));
    destroy(domain);
}

static gpointer
drain(gpointer data)
{
    Core *core = data;
    GByteArray *bytes = g_byte_array_new();
    guint8 buffer[65536];
    ssize_t n;
    int fd = core->size;

    while ((n = read(fd, buffer, sizeof(buffer))) > 0)
        g_byte_array_append(bytes, buffer, n);
    core->data = g_byte_array_steal(bytes, &core->size);
    g_byte_array_unref(bytes);
    close(fd);
    return NULL;
}

static void
pipe_takes_the_flattened_form_of_the_same(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = running(f);
    g_autoptr(GError) error = NULL;
    g_auto(Core) flat = {0}, core = {0}, file = {0};
    GThread *reader;
    int fds[2];

    g_assert_cmpint(pipe(fds), ==, 0);
    flat.size = fds[0];
    reader = g_thread_new("reader", drain, &flat);
    g_assert_true(
        serai_domain_dump_sync(domain, fds[1], SERAI_DUMP_KDUMP | SERAI_DUMP_LIVE, NULL, NULL, NULL, &error));
    g_assert_no_error(error);
    close(fds[1]);
    g_thread_join(reader);
    core = rearrange(&flat);
    file = dump(domain, SERAI_DUMP_NONE);
    memset(core.data + 408, 0, 16); /* the time */
    memset(file.data + 408, 0, 16);
    g_assert_cmpmem(core.data, core.size, file.data, file.size);
    destroy(domain);
}

/* Each is put where the kernel's own would be; the last is one that is taken. */
static void
note_that_no_kernel_writes_is_not_taken(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = running(f);
    g_auto(SeraiGuestState) guest = {0};
    g_autofree char *long_text = g_strnfill(4096, 'x');
    xen_pfn_t first, last;

    memcpy(long_text, OSRELEASE, strlen(OSRELEASE));
    g_assert_true(serai_guest_read(&guest, f->host->hv, serai_domain_get_id(domain), NULL));
    last = guest.count - 1;
    first = guest.count - 3;
    for (guint i = 0; i < 5; i++) {
        g_auto(Core) core = {0};

        switch (i) {
        case 0: /* longer than any */
            write_note(&guest, first, long_text, 4097);
            write_frame(&guest, first + 1, 0, long_text, 4096);
            break;
        case 1:
            write_note(&guest, first, long_text, G_MAXUINT32);
            break;
        case 2:
            write_note(&guest, first, "OSRELEASE=\001\n", 12);
            break;
        case 3: /* it goes on behind the end of memory */
            write_note(&guest, first, "OSRELEASE=\001\n", 12);
            write_note(&guest, last, long_text, 4096);
            break;
        case 4:
            write_note(&guest, first, long_text, 4096);
            write_frame(&guest, first + 1, 0, long_text + 4096 - 24, 24);
            break;
        }
        core = dump(domain, SERAI_DUMP_NONE);
        g_assert_cmpuint(number(&core, 4096 + 40, 8), ==, i == 4 ? 4096 : 0);
        if (i == 4)
            g_assert_cmpmem(core.data + number(&core, 4096 + 32, 8), 4096, long_text, 4096);
    }
    destroy(domain);
}

#define LIST (64 * 1024U)

/* The CPU time, in microseconds, that it takes to read a guest that says that @list is its own. */
static gint64
time_of_list(const SeraiGuestState *guest, const uint64_t *list)
{
    xen_pfn_t middle[512] = {0}, top[512] = {guest->p2m[1001]}, frame = guest->info.shared_info_frame;
    g_auto(SeraiGuestState) again = {0};
    SeraiGuestState to = *guest;
    struct timespec begin, end;
    shared_info_t *shared;

    for (guint i = 0; i < LIST / 512; i++) {
        middle[i] = guest->p2m[1024 + i];
        write_frame(&to, 1024 + i, 0, list + i * 512, 4096);
    }
    write_frame(&to, 1001, 0, middle, 4096);
    write_frame(&to, 1000, 0, top, 4096);
    shared = serai_hv_map(guest->hv, guest->domid, PROT_READ | PROT_WRITE, 1, &frame, NULL);
    g_assert_nonnull(shared);
    shared->arch.p2m_cr3 = 0;
    shared->arch.pfn_to_mfn_frame_list_list = guest->p2m[1000];
    shared->arch.max_pfn = LIST;
    serai_hv_unmap(guest->hv, shared, 1);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    g_assert_true(serai_guest_read(&again, guest->hv, guest->domid, NULL));
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    for (guint i = 0; i < LIST; i++)
        g_assert_cmpuint(serai_guest_pfn(&again, list[i]), ==, i);
    return (end.tv_sec - begin.tv_sec) * G_USEC_PER_SEC + (end.tv_nsec - begin.tv_nsec) / 1000;
}

/* A guest that knows our source writes frames that a hash without a secret puts all in one place. */
static void
list_made_to_collide_takes_no_longer(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = running(f);
    g_autofree uint64_t *list = g_new(uint64_t, LIST);
    g_auto(SeraiGuestState) guest = {0};
    gint64 plain, hostile;

    g_assert_true(serai_guest_read(&guest, f->host->hv, serai_domain_get_id(domain), NULL));
    for (guint i = 0; i < LIST; i++)
        list[i] = i + 1;
    plain = time_of_list(&guest, list);
    for (guint64 i = 0, mfn = 1; i < LIST; mfn++)
        if ((mfn * 0x9e3779b97f4a7c15UL >> 20 & (2 * LIST - 1)) < 1024)
            list[i++] = mfn;
    hostile = time_of_list(&guest, list);
    g_test_message("%" G_GINT64_FORMAT " and %" G_GINT64_FORMAT " us", plain, hostile);
    g_assert_cmpint(hostile, <, 10 * plain + 200000);
    destroy(domain);
}

static void
stop_halfway(SeraiStage stage G_GNUC_UNUSED, guint64 done, guint64 total, gpointer data)
{
    g_assert_cmpuint(done, <=, total);
    g_cancellable_cancel(data);
}

static void
canceled_dump_has_no_header_and_the_domain_runs(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = running(f);
    g_autoptr(SeraiDomainInfo) info = NULL;
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GError) error = NULL;
    g_auto(Core) core = {0};
    int fd = temporary();

    g_assert_false(
        serai_domain_dump_sync(domain, fd, SERAI_DUMP_KDUMP, cancellable, stop_halfway, cancellable, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    core = read_file(fd);
    g_assert_cmpuint(number(&core, 0, 8), ==, 0);
    info = serai_domain_get_info(domain, NULL);
    g_assert_false(info->paused);
    close(fd);
    destroy(domain);
}

/* Whatever call fails, the dump fails with a reason, and the domain goes on. */
static void
failed_call_fails_the_dump_only(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(SeraiDomain) domain = running(f);
    guint failures = 0;

    for (guint nth = 1; nth < 1000; nth++) {
        g_autoptr(SeraiDomainInfo) info = NULL;
        g_autoptr(GError) error = NULL;
        int fd = temporary();
        gboolean ok;

        serai_fake_fail(f->host->hv, nth, EIO);
        ok = serai_domain_dump_sync(domain, fd, SERAI_DUMP_KDUMP | SERAI_DUMP_LIVE, NULL, NULL, NULL, &error);
        serai_fake_fail(f->host->hv, 0, 0);
        close(fd);
        if (ok)
            break;
        g_assert_nonnull(error);
        failures++;
        info = serai_domain_get_info(domain, NULL);
        g_assert_false(info->paused);
    }
    g_assert_cmpuint(failures, >, 10);
    g_assert_cmpuint(failures, <, 999);
    destroy(domain);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    T("file_is_that_of_a_machine_without_a_hypervisor", file_is_that_of_a_machine_without_a_hypervisor);
    T("entries_that_lead_out_of_the_guest_are_cleared", entries_that_lead_out_of_the_guest_are_cleared);
    T("pointer_to_the_start_info_is_kept_back_and_nothing_else",
      pointer_to_the_start_info_is_kept_back_and_nothing_else);
    T("pipe_takes_the_flattened_form_of_the_same", pipe_takes_the_flattened_form_of_the_same);
    T("note_that_no_kernel_writes_is_not_taken", note_that_no_kernel_writes_is_not_taken);
    T("list_made_to_collide_takes_no_longer", list_made_to_collide_takes_no_longer);
    T("canceled_dump_has_no_header_and_the_domain_runs", canceled_dump_has_no_header_and_the_domain_runs);
    T("failed_call_fails_the_dump_only", failed_call_fails_the_dump_only);
    return g_test_run();
}
