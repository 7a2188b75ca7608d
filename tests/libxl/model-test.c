/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is told to QEMU about disks, told to a real QEMU without a machine: images are opened, locked and
 * refused as on a host, and only the device upon them, which needs Xen, is missing.
 */
#include "common.h"
#include "private/host.h"
#include "private/qmp.h"
#include "private/system.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#define QEMU "/usr/bin/qemu-system-x86_64"
#define IMG  "/usr/bin/qemu-img"

#define WORD "open, sesame"

typedef struct {
    char *dir;
    SeraiHost *host;
    GPid pid;
} Model;

/* For Debian's programs: not the libraries that this test may run with. */
static char **
plain_environment(void)
{
    return g_environ_unsetenv(g_get_environ(), "LD_LIBRARY_PATH");
}

/* A test that fails leaves no QEMU behind, for which meson would wait. */
static void
die_with_the_test(gpointer data G_GNUC_UNUSED)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Whether a socket is there that listens, which it does a moment later.  QEMU talks to one at a time, so that
 * a connection to try it would be in the way. */
static gboolean
listens(const char *path)
{
    g_autofree char *sockets = NULL;
    g_auto(GStrv) lines = NULL;

    g_assert_true(g_file_get_contents("/proc/net/unix", &sockets, NULL, NULL));
    lines = g_strsplit(sockets, "\n", -1);
    for (char **line = lines; *line; line++)
        if (g_str_has_suffix(*line, path) && strstr(*line, " 00010000 ")) /* __SO_ACCEPTCON */
            return TRUE;
    return FALSE;
}

static GPid
start_qemu(const char *dir, int number)
{
    g_autofree char *qmp = g_strdup_printf("unix:%s/qmp-%d.sock,server=on,wait=off", dir, number);
    g_autofree char *socket = g_strdup_printf("%s/qmp-%d.sock", dir, number);
    const char *argv[] = {QEMU, "-M", "none", "-nodefaults", "-display", "none", "-qmp", qmp, NULL};
    g_auto(GStrv) environment = plain_environment();
    g_autoptr(GError) error = NULL;
    GPid pid;

    g_assert_true(g_spawn_async(NULL, (char **)argv, environment, G_SPAWN_DO_NOT_REAP_CHILD,
                                die_with_the_test, NULL, &pid, &error));
    for (int i = 0; i < 6000 && !listens(socket); i++)
        g_usleep(10000);
    return pid;
}

static void
make_image(const char *dir, const char *name, const char *format)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    const char *argv[] = {IMG, "create", "-q", "-f", format, path, "1M", NULL};
    g_auto(GStrv) environment = plain_environment();
    int status = -1;

    g_assert_true(g_spawn_sync(NULL, (char **)argv, environment, 0, NULL, NULL, NULL, NULL, &status, NULL));
    g_assert_cmpint(status, ==, 0);
}

/* With LUKS, opened by WORD: a plain file, or the inside of a qcow2. */
static void
make_encrypted(const char *dir, const char *name, SeraiDiskFormat format)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    gboolean raw = format == SERAI_DISK_RAW;
    const char *argv[] = {IMG,
                          "create",
                          "-q",
                          "--object",
                          "secret,id=s,data=open,, sesame",
                          "-f",
                          raw ? "luks" : "qcow2",
                          "-o",
                          raw ? "key-secret=s,iter-time=10"
                              : "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
                          path,
                          "1M",
                          NULL};
    g_auto(GStrv) environment = plain_environment();
    int status = -1;

    /* It measures how fast it is, and gives up where the kernel's clock of a thread's time has not moved. */
    for (int i = 0; status != 0 && i < 50; i++)
        g_assert_true(g_spawn_sync(NULL, (char **)argv, environment, G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL,
                                   NULL, NULL, &status, NULL));
    g_assert_cmpint(status, ==, 0);
}

static gboolean
setup(Model *m)
{
    g_autoptr(GError) error = NULL;

    if (access(QEMU, X_OK) || access(IMG, X_OK)) {
        g_test_skip("QEMU is not installed");
        return FALSE;
    }
    m->dir = g_dir_make_tmp("serai-model-XXXXXX", NULL);
    m->host = serai_host_open("fake", &error);
    g_assert_no_error(error);
    g_strlcpy(m->host->run_dir, m->dir, sizeof(m->host->run_dir));
    m->pid = start_qemu(m->dir, 1);
    return TRUE;
}

static void
teardown(Model *m)
{
    const char *argv[] = {"rm", "-rf", m->dir, NULL};

    kill(m->pid, SIGKILL);
    g_spawn_close_pid(m->pid);
    g_object_unref(m->host);
    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
    g_free(m->dir);
}

static SeraiDevice *
disk(Model *m, const char *target, const char *name, SeraiDiskFormat format)
{
    SeraiDevice *device = serai_device_new(SERAI_DEVICE_DISK);

    device->devid = serai_disk_target_to_devid(target);
    device->disk.target = g_strdup(target);
    device->disk.path = strstr(name, "://") ? g_strdup(name) : g_build_filename(m->dir, name, NULL);
    device->disk.format = format;
    device->disk.backend = SERAI_DISK_BACKEND_QEMU;
    return device;
}

/* What QEMU says to a disk; everything that it can say here is a refusal. */
static char *
refusal(Model *m, guint domid, SeraiDevice *device)
{
    g_autoptr(SeraiDevice) owned = device;
    g_autoptr(GError) error = NULL;

    g_assert_false(serai_model_add_disk(m->host, domid, owned, NULL, &error));
    g_assert_nonnull(error);
    g_assert_nonnull(strstr(error->message, owned->disk.target));
    return g_strdup(error->message);
}

static void
expect(Model *m, guint domid, SeraiDevice *device, const char *words)
{
    g_autofree char *text = refusal(m, domid, device);

    g_test_message("%s", text);
    g_assert_nonnull(strstr(text, words));
}

static void
each_format_is_opened(void)
{
    static const struct {
        const char *name;
        SeraiDiskFormat format;
    } kinds[] = {{"qcow2", SERAI_DISK_QCOW2}, {"vmdk", SERAI_DISK_VMDK}, {"vpc", SERAI_DISK_VHD},
                 {"vhdx", SERAI_DISK_VHDX},   {"vdi", SERAI_DISK_VDI},   {"qed", SERAI_DISK_QED},
                 {"raw", SERAI_DISK_RAW}};
    Model m;

    if (!setup(&m))
        return;
    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
        SeraiDevice *device = disk(&m, "xvda", kinds[i].name, kinds[i].format);

        make_image(m.dir, kinds[i].name, kinds[i].name);
        device->disk.discard = i & 1;
        device->disk.cached = i & 2;
        /* The image is open; the device is what this QEMU has not. */
        expect(&m, 1, device, "'xen-disk' is not a valid device model name");
    }
    teardown(&m);
}

static void
what_is_no_image_is_refused(void)
{
    Model m;

    if (!setup(&m))
        return;
    make_image(m.dir, "raw", "raw");
    expect(&m, 1, disk(&m, "xvdb", "raw", SERAI_DISK_QCOW2), "not in qcow2 format");
    expect(&m, 1, disk(&m, "xvdb", "missing", SERAI_DISK_QCOW2), "No such file");
    expect(&m, 1, disk(&m, "xvdb", "nbd:///x", SERAI_DISK_RAW), "no address of an NBD server");
    expect(&m, 1, disk(&m, "xvdb", "nbd+unix:///x", SERAI_DISK_RAW), "no address of an NBD server");
    expect(&m, 1, disk(&m, "xvdb", "nbd+unix:///x?socket=/nonexistent", SERAI_DISK_RAW), "/nonexistent");
    expect(&m, 2, disk(&m, "xvdb", "raw", SERAI_DISK_RAW), "Cannot talk to QEMU");
    teardown(&m);
}

/* Another QEMU has the image: a node stays when a test adds it by hand. */
static void
image_in_use_is_refused(void)
{
    g_autofree char *socket = NULL, *json = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonNode) answer = NULL, args = NULL;
    SeraiQmp *qmp;
    Model m;
    GPid other;

    if (!setup(&m))
        return;
    make_image(m.dir, "shared", "qcow2");
    other = start_qemu(m.dir, 2);
    socket = g_strdup_printf("%s/qmp-2.sock", m.dir);
    qmp = serai_qmp_open(socket, 30000, NULL, &error);
    g_assert_no_error(error);
    json = g_strdup_printf(
        "{'driver':'qcow2','node-name':'n','file':{'driver':'file','filename':'%s/shared'}}", m.dir);
    g_strdelimit(json, "'", '"');
    args = json_from_string(json, &error);
    g_assert_no_error(error);
    answer = serai_qmp_run(qmp, "blockdev-add", json_node_copy(args), NULL, &error);
    g_assert_no_error(error);
    g_assert_nonnull(answer);
    expect(&m, 1, disk(&m, "xvdc", "shared", SERAI_DISK_QCOW2), "lock");
    serai_qmp_close(qmp);
    kill(other, SIGKILL);
    g_spawn_close_pid(other);
    teardown(&m);
}

/* --- locks of images that the kernel serves --------------------------------------------------- */

static int
image_open(const char *path, gboolean readonly)
{
    int fd = open(path, (readonly ? O_RDONLY : O_RDWR) | O_CREAT | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

/* Each kind of disk beside each other one on the same image. */
static void
images_are_shared_as_disks_say(void)
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
    g_autofree char *dir = g_dir_make_tmp("serai-lock-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "image", NULL);

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        SeraiDisk one = {.target = (char *)"xvda", .path = path}, other = one;
        int first = image_open(path, cases[i].readonly), second = image_open(path, cases[i].other_readonly);
        g_autoptr(GError) error = NULL;

        one.readonly = cases[i].readonly;
        one.shareable = cases[i].shareable;
        other.readonly = cases[i].other_readonly;
        other.shareable = cases[i].other_shareable;
        g_assert_true(serai_image_lock(first, &one, &error));
        g_assert_cmpint(serai_image_lock(second, &other, &error), ==, cases[i].ok);
        if (cases[i].ok) {
            g_assert_no_error(error);
        } else {
            g_assert_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED);
            g_assert_nonnull(strstr(error->message, "'xvda'"));
            g_assert_nonnull(strstr(error->message, path));
        }
        /* Who was refused is in nobody's way. */
        g_clear_error(&error);
        close(first);
        g_assert_true(serai_image_lock(second, &other, &error));
        close(second);
    }
    g_remove(path);
    g_rmdir(dir);
}

static gpointer
close_soon(gpointer fd)
{
    g_usleep(300000);
    close(GPOINTER_TO_INT(fd));
    return NULL;
}

/* A backend that has been told to go holds the image a moment longer. */
static void
image_that_is_given_back_is_waited_for(void)
{
    g_autofree char *dir = g_dir_make_tmp("serai-lock-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "image", NULL);
    SeraiDisk disk = {.target = (char *)"xvda", .path = path};
    int first = image_open(path, FALSE), second = image_open(path, FALSE);
    g_autoptr(GError) error = NULL;
    GThread *thread;

    g_assert_true(serai_image_lock(first, &disk, &error));
    thread = g_thread_new("closer", close_soon, GINT_TO_POINTER(first));
    g_assert_true(serai_image_lock(second, &disk, &error));
    g_thread_join(thread);
    close(second);
    g_remove(path);
    g_rmdir(dir);
}

/* The lock is the loop device's, and goes with it. */
static void
loop_device_keeps_the_lock(void)
{
    g_autofree char *dir = g_dir_make_tmp("serai-lock-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "image", NULL);
    SeraiDisk disk = {.target = (char *)"xvda", .path = path, .cached = TRUE};
    g_autoptr(GError) error = NULL;
    int image = image_open(path, FALSE), loop = -1, again = -1;
    dev_t device;

    g_assert_cmpint(ftruncate(image, 1 << 20), ==, 0);
    close(image);
    if (geteuid() || access("/dev/loop-control", R_OK | W_OK)) {
        g_test_skip("there are no loop devices");
    } else if (!serai_loop_open(&disk, &loop, &device, &error)) {
        g_test_skip(error->message); /* in a container */
    } else {
        g_assert_false(serai_loop_open(&disk, &again, &device, &error));
        g_assert_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED);
        g_assert_nonnull(strstr(error->message, "is in use"));
        g_clear_error(&error);
        close(loop);
        g_assert_true(serai_loop_open(&disk, &loop, &device, &error));
        g_assert_no_error(error);
        close(loop);
    }
    g_remove(path);
    g_rmdir(dir);
}

/* Add a node to a QEMU by hand, where it stays. */
static gboolean
opens_in_other_qemu(Model *m, const char *name)
{
    g_autofree char *socket = g_strdup_printf("%s/qmp-2.sock", m->dir), *json = NULL;
    g_autoptr(GError) error = NULL;
    SeraiQmp *qmp = serai_qmp_open(socket, 30000, NULL, &error);
    g_autoptr(JsonNode) answer = NULL;

    g_assert_no_error(error);
    json = g_strdup_printf("{'driver':'qcow2','node-name':'%s','file':{'driver':'file','filename':'%s/%s'}}",
                           name, m->dir, name);
    g_strdelimit(json, "'", '"');
    answer = serai_qmp_run(qmp, "blockdev-add", json_from_string(json, NULL), NULL, &error);
    if (!answer)
        g_assert_nonnull(strstr(error->message, "lock"));
    serai_qmp_close(qmp);
    return answer != NULL;
}

static void
qemu_and_the_kernels_disks_see_each_other(void)
{
    g_autofree char *ours = NULL, *theirs = NULL;
    g_autoptr(GError) error = NULL;
    SeraiDisk disk = {.target = (char *)"xvda"};
    int fd;
    Model m;
    GPid other;

    if (!setup(&m))
        return;
    make_image(m.dir, "ours", "qcow2");
    make_image(m.dir, "theirs", "qcow2");
    other = start_qemu(m.dir, 2);
    disk.path = ours = g_build_filename(m.dir, "ours", NULL);
    fd = image_open(ours, FALSE);
    g_assert_true(serai_image_lock(fd, &disk, &error));
    g_assert_false(opens_in_other_qemu(&m, "ours"));
    close(fd);
    g_assert_true(opens_in_other_qemu(&m, "ours"));

    disk.path = theirs = g_build_filename(m.dir, "theirs", NULL);
    g_assert_true(opens_in_other_qemu(&m, "theirs"));
    for (disk.readonly = FALSE; disk.readonly <= TRUE; disk.readonly++) {
        fd = image_open(theirs, disk.readonly);
        g_assert_false(serai_image_lock(fd, &disk, &error));
        g_assert_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED);
        g_clear_error(&error);
        close(fd);
    }
    kill(other, SIGKILL);
    g_spawn_close_pid(other);
    teardown(&m);
}

/* --- disks of no QEMU ------------------------------------------------------------------------- */

static void
encrypt(SeraiDevice *device, const char *word)
{
    device->disk.encrypted = TRUE;
    device->disk.passphrase_name = g_strdup("of the cave");
    device->disk.passphrase = g_bytes_new(word, strlen(word));
}

static void
expect_no_secret(Model *m)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(SeraiQmp) qmp = serai_device_model_open(m->host, 1, NULL, &error);
    g_autofree char *objects = NULL;

    g_assert_no_error(error);
    objects = serai_qmp_ask(qmp, "qom-list", "{\"path\":\"/objects\"}", -1, NULL, &error);
    g_assert_no_error(error);
    g_assert_null(strstr(objects, "passphrase"));
}

static void
encrypted_disk_is_opened_by_its_passphrase(void)
{
    static const SeraiDiskFormat formats[] = {SERAI_DISK_RAW, SERAI_DISK_QCOW2};
    Model m;

    if (!setup(&m))
        return;
    for (guint i = 0; i < G_N_ELEMENTS(formats); i++) {
        SeraiDevice *right, *wrong, *plain = disk(&m, "xvda", "plain", formats[i]);

        make_image(m.dir, "plain", i ? "qcow2" : "raw");
        make_encrypted(m.dir, "encrypted", formats[i]);
        right = disk(&m, "xvda", "encrypted", formats[i]);
        wrong = disk(&m, "xvda", "encrypted", formats[i]);
        encrypt(right, WORD);
        encrypt(wrong, "open, wheat");
        encrypt(plain, WORD);
        /* The image is open; the device is what this QEMU has not. */
        expect(&m, 1, right, "'xen-disk' is not a valid device model name");
        expect_no_secret(&m);
        expect(&m, 1, wrong, "with the passphrase 'of the cave': QEMU refuses: Invalid password");
        expect_no_secret(&m);
        expect(&m, 1, plain, "with the passphrase 'of the cave': QEMU refuses: ");
    }
    teardown(&m);
}

static void
disk_that_was_never_added_is_gone(void)
{
    g_autoptr(SeraiDevice) device = NULL;
    Model m;

    if (!setup(&m))
        return;
    device = disk(&m, "xvdd", "none", SERAI_DISK_QCOW2);
    g_assert_true(serai_model_remove_disk(m.host, 1, device));
    g_assert_true(serai_model_remove_disk(m.host, 3, device));
    teardown(&m);
}

/* --- on the pretend host ---------------------------------------------------------------------- */

static void
count_events(SeraiHost *host, SeraiDomain *domain, guint kind, int devid, gpointer data)
{
    (void)host;
    (void)domain;
    g_assert_cmpuint(kind, ==, SERAI_DEVICE_DISK);
    g_assert_cmpint(devid, ==, serai_disk_target_to_devid("xvdb"));
    (*(int *)data)++;
}

static gboolean
has_backend(Fixture *f, SeraiDomain *domain, const char *type, const char *target)
{
    g_autofree char *state =
        serai_store_read(f->host->store, "/local/domain/0/backend/%s/%u/%d/state", type,
                         serai_domain_get_id(domain), serai_disk_target_to_devid(target));

    return state && !strcmp(state, "2");
}

static void
death_of_the_model_is_told_of_its_disks(Fixture *f, gconstpointer data)
{
    SeraiDevice *device = new_disk("xvdb", f->config->ramdisk);
    g_autoptr(GError) error = NULL;
    SeraiDomain *domain;
    int events = 0;

    (void)data;
    device->disk.format = SERAI_DISK_QCOW2;
    serai_config_add_device(f->config, device);
    domain = serai_domain_create_sync(f->host, f->config, NULL, NULL, NULL, &error);
    g_assert_no_error(error);
    g_assert_true(has_backend(f, domain, "qdisk", "xvdb"));
    g_signal_connect(f->host, "device-failed", G_CALLBACK(count_events), &events);
    serai_host_model_died(f->host, serai_domain_get_id(domain));
    while (g_main_context_iteration(NULL, FALSE))
        ;
    g_assert_cmpint(events, ==, 1);
    /* It ends with the domain, and nobody is told. */
    g_assert_true(serai_domain_destroy_sync(domain, NULL, &error));
    serai_host_model_died(f->host, serai_domain_get_id(domain));
    while (g_main_context_iteration(NULL, FALSE))
        ;
    g_assert_cmpint(events, ==, 1);
    g_signal_handlers_disconnect_by_data(f->host, &events);
    g_object_unref(domain);
}

static void
disc_comes_and_goes(Fixture *f, gconstpointer data)
{
    g_autoptr(SeraiDevice) drive = new_disk("xvdc", NULL);
    g_autoptr(GPtrArray) devices = NULL;
    g_autoptr(GError) error = NULL;
    SeraiDomain *domain;
    int removed = 0;

    (void)data;
    drive->disk.cdrom = TRUE;
    serai_config_add_device(f->config, serai_device_copy(drive));
    domain = serai_domain_create_sync(f->host, f->config, NULL, NULL, NULL, &error);
    g_assert_no_error(error);
    g_signal_connect(f->host, "device-removed", G_CALLBACK(count_events), &removed);
    g_assert_false(has_backend(f, domain, "vbd", "xvdc"));
    for (int i = 0; i < 2; i++) {
        g_free(drive->disk.path);
        drive->disk.path = g_strdup(i ? f->config->kernel : f->config->ramdisk);
        serai_domain_update_device_sync(domain, drive, NULL, &error);
        g_assert_no_error(error);
        g_assert_true(has_backend(f, domain, "vbd", "xvdc"));
    }
    g_clear_pointer(&drive->disk.path, g_free);
    serai_domain_update_device_sync(domain, drive, NULL, &error);
    g_assert_no_error(error);
    g_assert_false(has_backend(f, domain, "vbd", "xvdc"));
    devices = serai_domain_list_devices(domain, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(devices->len, ==, 4); /* disk, NIC, drive, console */
    /* The drive was there all the time. */
    while (g_main_context_iteration(NULL, FALSE))
        ;
    g_assert_cmpint(removed, ==, 0);
    g_signal_handlers_disconnect_by_data(f->host, &removed);
    g_assert_true(serai_domain_destroy_sync(domain, NULL, &error));
    g_object_unref(domain);
}

static void
add_all(GString *text, SeraiStore *store, const char *path)
{
    g_autofree char *value = serai_store_read(store, "%s", path);
    g_auto(GStrv) names = serai_store_list(store, "%s", path);

    g_string_append_printf(text, "%s = %s\n", path, value ? value : "");
    for (char **name = names; name && *name; name++) {
        g_autofree char *child = g_strdup_printf("%s/%s", path, *name);

        add_all(text, store, child);
    }
}

static void
note_wiping(gpointer data)
{
    *(gboolean *)data = TRUE;
}

/* Neither the store nor what a description is written as has it, and it goes with the last copy. */
static void
passphrase_is_written_nowhere(Fixture *f, gconstpointer data)
{
    SeraiDevice *device = new_disk("xvdb", f->config->ramdisk);
    g_autofree char *encoded = g_base64_encode((const guchar *)WORD, strlen(WORD)), *config = NULL;
    g_autoptr(SeraiConfig) back = NULL;
    g_autoptr(GString) all = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    SeraiDomain *domain;
    gboolean wiped = FALSE;

    (void)data;
    device->disk.encrypted = TRUE;
    serai_config_add_device(f->config, device);
    g_assert_null(serai_domain_create_sync(f->host, f->config, NULL, NULL, NULL, &error));
    g_assert_nonnull(strstr(error->message, "Disk 'xvdb'"));
    g_assert_nonnull(strstr(error->message, "no passphrase was given"));
    g_clear_error(&error);

    device->disk.passphrase_name = g_strdup("of the cave");
    device->disk.passphrase = g_bytes_new_with_free_func(WORD, strlen(WORD), note_wiping, &wiped);
    config = serai_config_to_data(f->config);
    domain = serai_domain_create_sync(f->host, f->config, NULL, NULL, NULL, &error);
    g_assert_no_error(error);
    g_assert_true(has_backend(f, domain, "qdisk", "xvdb"));
    add_all(all, f->host->store, "/local");
    add_all(all, f->host->store, "/serai");
    add_all(all, f->host->store, "/vm");
    g_string_append(all, config);
    g_assert_nonnull(strstr(all->str, "of the cave"));
    g_assert_null(strstr(all->str, WORD));
    g_assert_null(strstr(all->str, encoded));

    back = serai_domain_get_config(domain, &error);
    g_assert_no_error(error);
    for (guint i = 0; i < back->devices->len; i++)
        g_assert_null(((SeraiDevice *)back->devices->pdata[i])->disk.passphrase);
    g_assert_false(wiped);
    g_ptr_array_set_size(f->config->devices, 0);
    g_assert_true(wiped);
    g_assert_true(serai_domain_destroy_sync(domain, NULL, &error));
    g_object_unref(domain);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/model/each-format-is-opened", each_format_is_opened);
    g_test_add_func("/model/what-is-no-image-is-refused", what_is_no_image_is_refused);
    g_test_add_func("/model/image-in-use-is-refused", image_in_use_is_refused);
    g_test_add_func("/model/images-are-shared-as-disks-say", images_are_shared_as_disks_say);
    g_test_add_func("/model/image-that-is-given-back-is-waited-for", image_that_is_given_back_is_waited_for);
    g_test_add_func("/model/loop-device-keeps-the-lock", loop_device_keeps_the_lock);
    g_test_add_func("/model/qemu-and-the-kernels-disks-see-each-other",
                    qemu_and_the_kernels_disks_see_each_other);
    g_test_add_func("/model/encrypted-disk-is-opened-by-its-passphrase",
                    encrypted_disk_is_opened_by_its_passphrase);
    g_test_add_func("/model/disk-that-was-never-added-is-gone", disk_that_was_never_added_is_gone);
    g_test_add("/model/death-of-the-model-is-told-of-its-disks", Fixture, NULL, fixture_set_up,
               death_of_the_model_is_told_of_its_disks, fixture_tear_down);
    g_test_add("/model/passphrase-is-written-nowhere", Fixture, NULL, fixture_set_up,
               passphrase_is_written_nowhere, fixture_tear_down);
    g_test_add("/model/disc-comes-and-goes", Fixture, NULL, fixture_set_up, disc_comes_and_goes,
               fixture_tear_down);
    return g_test_run();
}
