/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program for system tests: does to the hypervisor what its arguments say, by libserai, and prints what
 * came of it. Not for users.  Each command is "NAME ARGUMENTS...", several are separated by "--".
 */
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <locale.h>
#include <serai.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static SeraiHost *host;
static gint64 started;

static gboolean
fail(const char *what, GError *error)
{
    printf("FAILED %s: %s (code %d)\n", what, error ? error->message : "?", error ? error->code : -1);
    g_clear_error(&error);
    return FALSE;
}

static void
took(const char *what)
{
    printf("OK %s %.1f ms\n", what, (g_get_monotonic_time() - started) / 1000.0);
    fflush(stdout);
}

static SeraiDomain *
find(const char *name)
{
    GError *error = NULL;
    SeraiDomain *domain = serai_host_lookup_by_name(host, name, &error);

    if (!domain)
        fail(name, error);
    return domain;
}

static void
progress(SeraiStage stage, guint64 done, guint64 total, gpointer data)
{
    (void)data;
    printf("PROGRESS %d %lu/%lu\n", stage, (unsigned long)done, (unsigned long)total);
}

static gboolean
cmd_info(char **a)
{
    GError *error = NULL;
    SeraiHostInfo *info = serai_host_get_info(host, &error);
    g_autoptr(GArray) cpus = NULL;
    g_autoptr(GPtrArray) nodes = NULL;
    g_autofree char *log = NULL;

    (void)a;
    if (!info)
        return fail("info", error);
    printf("HOST %u.%u%s %s sched=%s cpus=%u nodes=%u total=%lu free=%lu\n", info->version_major,
           info->version_minor, info->version_extra, info->capabilities, info->scheduler, info->cpu_count,
           info->node_count, (unsigned long)info->total_kib, (unsigned long)info->free_kib);
    serai_host_info_free(info);
    cpus = serai_host_get_cpus(host, &error);
    nodes = cpus ? serai_host_get_nodes(host, &error) : NULL;
    log = nodes ? serai_host_read_log(host, &error) : NULL;
    if (!log)
        return fail("info", error);
    printf("CPUS %u NODES %u LOG %zu bytes\n", cpus->len, nodes->len, strlen(log));
    return TRUE;
}

static gboolean
cmd_create(char **a)
{
    GError *error = NULL;
    g_autofree char *text = NULL;
    g_autoptr(SeraiConfig) config = NULL;
    g_autoptr(SeraiDomain) domain = NULL;

    if (!g_file_get_contents(a[1], &text, NULL, &error) || !(config = serai_config_from_data(text, &error)))
        return fail("create", error);
    domain = serai_domain_create_sync(host, config, NULL, NULL, NULL, &error);
    if (!domain)
        return fail("create", error);
    printf("DOMAIN %u %s\n", serai_domain_get_id(domain), serai_domain_get_uuid(domain));
    return TRUE;
}

typedef gboolean (*Simple)(SeraiDomain *domain, GError **error);

static gboolean
destroy(SeraiDomain *domain, GError **error)
{
    return serai_domain_destroy_sync(domain, NULL, error);
}

static const struct {
    const char *name;
    Simple func;
} simple[] = {
    {"unpause", serai_domain_unpause},   {"pause", serai_domain_pause},   {"destroy", destroy},
    {"shutdown", serai_domain_shutdown}, {"reboot", serai_domain_reboot}, {"nmi", serai_domain_nmi},
    {"crash", serai_domain_crash},
};

static gboolean
cmd_simple(char **a)
{
    g_autoptr(SeraiDomain) domain = find(a[1]);
    GError *error = NULL;

    for (guint i = 0; domain && i < G_N_ELEMENTS(simple); i++)
        if (!strcmp(a[0], simple[i].name))
            return simple[i].func(domain, &error) || fail(a[0], error);
    return FALSE;
}

static gboolean
cmd_save(char **a)
{
    g_autoptr(SeraiDomain) domain = find(a[1]);
    g_autoptr(GBytes) metadata = g_bytes_new_static("the caller's", 12);
    GError *error = NULL;
    int fd = open(a[2], O_WRONLY | O_CREAT | O_TRUNC, 0600);
    gboolean ok =
        domain && serai_domain_save_sync(domain, fd, metadata,
                                         a[3] && !strcmp(a[3], "keep") ? SERAI_SAVE_KEEP_RUNNING : 0, NULL,
                                         progress, NULL, &error);

    close(fd);
    return ok || fail("save", error);
}

static gboolean
cmd_restore(char **a)
{
    GError *error = NULL;
    int fd = open(a[1], O_RDONLY);
    g_autoptr(SeraiDomain) domain = serai_domain_restore_sync(host, NULL, fd, NULL, progress, NULL, &error);

    close(fd);
    if (!domain)
        return fail("restore", error);
    printf("DOMAIN %u %s\n", serai_domain_get_id(domain), serai_domain_get_uuid(domain));
    return TRUE;
}

static gboolean
cmd_dump(char **a)
{
    g_autoptr(SeraiDomain) domain = find(a[1]);
    GError *error = NULL;
    int fd = open(a[2], O_WRONLY | O_CREAT | O_TRUNC, 0600);
    gboolean ok = domain && serai_domain_dump_sync(domain, fd, 0, NULL, NULL, NULL, &error);

    close(fd);
    return ok || fail("dump", error);
}

static SeraiDevice *
read_device(const char *path)
{
    g_autofree char *text = NULL, *whole = NULL;
    g_autoptr(SeraiConfig) config = NULL;
    GError *error = NULL;

    if (!g_file_get_contents(path, &text, NULL, &error)) {
        fail(path, error);
        return NULL;
    }
    whole = g_strconcat("[domain]\ntype=0\n", text, NULL);
    config = serai_config_from_data(whole, &error);
    if (!config || !config->devices->len) {
        fail(path, error);
        return NULL;
    }
    return serai_device_copy(config->devices->pdata[0]);
}

static gboolean
cmd_device(char **a)
{
    g_autoptr(SeraiDomain) domain = find(a[1]);
    g_autoptr(SeraiDevice) device = read_device(a[2]);
    GError *error = NULL;
    gboolean ok;

    if (!domain || !device)
        return FALSE;
    if (!strcmp(a[0], "attach"))
        ok = serai_domain_attach_device_sync(domain, device, NULL, &error);
    else if (!strcmp(a[0], "detach"))
        ok = serai_domain_detach_device_sync(domain, device, a[3] ? SERAI_DETACH_FORCE : 0, NULL, &error);
    else
        ok = serai_domain_update_device_sync(domain, device, NULL, &error);
    return ok || fail(a[0], error);
}

static gboolean
cmd_mem(char **a)
{
    g_autoptr(SeraiDomain) domain = find(a[1]);
    GError *error = NULL;

    return domain && (serai_domain_set_memory_target(domain, g_ascii_strtoull(a[2], NULL, 10), &error) ||
                      fail("mem", error));
}

static gboolean
cmd_vcpus(char **a)
{
    g_autoptr(SeraiDomain) domain = find(a[1]);
    GError *error = NULL;

    return domain && (serai_domain_set_vcpu_count(domain, atoi(a[2]), &error) || fail("vcpus", error));
}

static gboolean
cmd_stats(char **a)
{
    g_autoptr(SeraiDomain) domain = find(a[1]);
    g_autoptr(GPtrArray) vcpus = NULL, devices = NULL;
    SeraiMemoryStats memory;
    SeraiDiskStats disk;
    SeraiNicStats nic;
    GError *error = NULL;

    if (!domain)
        return FALSE;
    if (!serai_domain_get_memory_stats(domain, &memory, &error) ||
        !(vcpus = serai_domain_get_vcpus(domain, &error)) ||
        !(devices = serai_domain_list_devices(domain, &error)))
        return fail("stats", error);
    printf("MEMORY current=%lu target=%lu max=%lu\n", (unsigned long)memory.current_kib,
           (unsigned long)memory.target_kib, (unsigned long)memory.maximum_kib);
    for (guint i = 0; i < vcpus->len; i++) {
        const SeraiVcpuInfo *v = vcpus->pdata[i];

        printf("VCPU %u online=%d time=%lu\n", v->vcpu, v->online, (unsigned long)v->cpu_time_ns);
    }
    for (guint i = 0; i < devices->len; i++) {
        const SeraiDevice *d = devices->pdata[i];

        printf("DEVICE kind=%d id=%d\n", d->kind, d->devid);
        if (d->kind == SERAI_DEVICE_DISK && serai_domain_get_disk_stats(domain, d->disk.target, &disk, NULL))
            printf("DISK %s rd=%lu/%lu wr=%lu/%lu\n", d->disk.target, (unsigned long)disk.read_requests,
                   (unsigned long)disk.read_bytes, (unsigned long)disk.write_requests,
                   (unsigned long)disk.write_bytes);
        if (d->kind == SERAI_DEVICE_NIC && serai_domain_get_nic_stats(domain, d->devid, &nic, NULL))
            printf("NIC %d %s rx=%lu tx=%lu\n", d->devid, d->nic.ifname, (unsigned long)nic.rx_packets,
                   (unsigned long)nic.tx_packets);
    }
    return TRUE;
}

static gboolean
cmd_console(char **a)
{
    g_autoptr(SeraiDomain) domain = find(a[1]);
    GError *error = NULL;
    g_autofree char *path = NULL;

    for (int i = 0; domain && i < 100; i++) {
        g_clear_error(&error);
        path = serai_domain_dup_console_path(domain, a[2] ? SERAI_DEVICE_CHANNEL : SERAI_DEVICE_CONSOLE,
                                             a[2] ? atoi(a[2]) : 0, &error);
        if (path) {
            printf("CONSOLE %s\n", path);
            return TRUE;
        }
        g_usleep(50000);
    }
    return fail("console", error);
}

static gboolean
cmd_list(char **a)
{
    GError *error = NULL;
    g_autoptr(GPtrArray) list = serai_host_list_domains(host, &error);

    (void)a;
    if (!list)
        return fail("list", error);
    for (guint i = 0; i < list->len; i++) {
        const SeraiDomainInfo *info = list->pdata[i];

        printf("LIST %u %s mem=%lu paused=%d reason=%d dying=%d\n", info->domid, info->uuid,
               (unsigned long)info->memory_kib, info->paused, info->shutdown_reason, info->dying);
    }
    return TRUE;
}

static gboolean
cmd_recover(char **a)
{
    GError *error = NULL;
    int n = serai_host_recover_sync(host, NULL, &error);

    (void)a;
    if (n < 0)
        return fail("recover", error);
    printf("RECOVERED %d\n", n);
    return TRUE;
}

static void
on_stop(SeraiHost *h, SeraiDomain *domain, guint reason, gpointer loop)
{
    (void)h;
    printf("EVENT shutdown %u reason %u\n", serai_domain_get_id(domain), reason);
    g_main_loop_quit(loop);
}

static void
on_event(SeraiHost *h, SeraiDomain *domain, gpointer loop)
{
    (void)h;
    printf("EVENT crashed-or-died %u\n", serai_domain_get_id(domain));
    g_main_loop_quit(loop);
}

static void
on_device(SeraiHost *h, SeraiDomain *domain, guint kind, int devid, gpointer loop)
{
    (void)h;
    printf("EVENT device-failed %u kind %u id %d\n", serai_domain_get_id(domain), kind, devid);
    g_main_loop_quit(loop);
}

static gboolean
on_timeout(gpointer loop)
{
    printf("EVENT none\n");
    g_main_loop_quit(loop);
    return G_SOURCE_REMOVE;
}

/* Does the next thing to a domain and waits for what the host tells of it. */
static gboolean
cmd_wait(char **a)
{
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    g_autoptr(SeraiDomain) domain = find(a[1]);
    g_autoptr(SeraiDomainInfo) info = NULL;
    GError *error = NULL;
    guint timer;

    if (!domain)
        return FALSE;
    g_signal_connect(host, "domain-shutdown", G_CALLBACK(on_stop), loop);
    g_signal_connect(host, "domain-crashed", G_CALLBACK(on_event), loop);
    g_signal_connect(host, "domain-died", G_CALLBACK(on_event), loop);
    g_signal_connect(host, "device-failed", G_CALLBACK(on_device), loop);
    info = serai_domain_get_info(domain, &error);
    if (!info)
        return fail("wait", error);
    if (info->shutdown_reason != SERAI_SHUTDOWN_NONE) {
        printf("EVENT already %u\n", info->shutdown_reason);
    } else {
        timer = g_timeout_add_seconds(a[2] ? atoi(a[2]) : 30, on_timeout, loop);
        (void)timer;
        g_main_loop_run(loop);
    }
    g_signal_handlers_disconnect_by_data(host, loop);
    return TRUE;
}

static gboolean
cmd_config(char **a)
{
    g_autoptr(SeraiDomain) domain = find(a[1]);
    g_autoptr(SeraiConfig) config = NULL;
    g_autofree char *text = NULL;
    GError *error = NULL;

    if (!domain)
        return FALSE;
    config = serai_domain_get_config(domain, &error);
    if (!config)
        return fail("config", error);
    text = serai_config_to_data(config);
    fputs(text, stdout);
    return TRUE;
}

/* Dies without a word in the middle of a creation, for tests of recovery. */
static gboolean
cmd_die(char **a)
{
    alarm(atoi(a[1]));
    return TRUE;
}

static const struct {
    const char *name;
    int args;
    gboolean (*func)(char **args);
} commands[] = {
    {"info", 0, cmd_info},       {"create", 1, cmd_create},   {"unpause", 1, cmd_simple},
    {"pause", 1, cmd_simple},    {"destroy", 1, cmd_simple},  {"shutdown", 1, cmd_simple},
    {"reboot", 1, cmd_simple},   {"nmi", 1, cmd_simple},      {"crash", 1, cmd_simple},
    {"save", 2, cmd_save},       {"restore", 1, cmd_restore}, {"dump", 2, cmd_dump},
    {"attach", 2, cmd_device},   {"detach", 2, cmd_device},   {"update", 2, cmd_device},
    {"mem", 2, cmd_mem},         {"vcpus", 2, cmd_vcpus},     {"stats", 1, cmd_stats},
    {"console", 1, cmd_console}, {"list", 0, cmd_list},       {"recover", 0, cmd_recover},
    {"wait", 1, cmd_wait},       {"config", 1, cmd_config},   {"die", 1, cmd_die},
};

static gboolean
run(char **args, int count)
{
    for (guint i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(args[0], commands[i].name))
            continue;
        if (count <= commands[i].args)
            break;
        started = g_get_monotonic_time();
        if (!commands[i].func(args))
            return FALSE;
        took(args[0]);
        return TRUE;
    }
    printf("FAILED: no such command, or too few arguments: %s\n", args[0]);
    return FALSE;
}

int
main(int argc, char **argv)
{
    GError *error = NULL;
    int at = 1;

    setlocale(LC_ALL, "");
    setvbuf(stdout, NULL, _IOLBF, 0);
    host = serai_host_open(getenv("SERAI_TRY_BACKEND"), &error);
    if (!host) {
        fail("open", error);
        return 1;
    }
    while (at < argc) {
        char *args[8] = {NULL};
        int n = 0;

        while (at < argc && strcmp(argv[at], "--") && n < 7)
            args[n++] = argv[at++];
        at++;
        if (n && !run(args, n))
            return 1;
    }
    g_object_unref(host);
    return 0;
}
