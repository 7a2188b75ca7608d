/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who does the I/O of a domain's disks: QEMU, and threads that the kernel's backend starts each time that a
 * frontend connects, when the guest boots, reboots by kexec, or leaves PV GRUB for its kernel.  Nothing tells
 * of a new thread but that its backend is connected shortly before.  Threads are found by their names among
 * the children of kthreadd, where no program can be.
 */
#include "serai-io.h"
#include "private/device.h"
#include "private/host.h"
#include "private/record.h"
#include "private/system.h"

#include <stdlib.h>
#include <string.h>
#include <xen/io/xenbus.h>

#define KERNEL_THREADS "/proc/2/task/2/children"

/* A thread that has not come by then does not: its disk was disconnected again. */
#define LAST_WAIT_MS 512

/* Rings of a disk, which its guest chooses; the backend allows as many as CPUs. */
#define RINGS_MAX 64

typedef struct {
    int pid;
    char name[32]; /* "DOMID.TARGET-RING" */
} Thread;

static GArray *
list_threads(guint domid)
{
    g_autofree char *prefix = g_strdup_printf("%u.", domid), *children = NULL;
    GArray *threads = g_array_new(FALSE, FALSE, sizeof(Thread));
    g_auto(GStrv) pids = NULL;

    if (!g_file_get_contents(KERNEL_THREADS, &children, NULL, NULL))
        return threads;
    pids = g_strsplit(children, " ", -1);
    for (char **pid = pids; *pid; pid++) {
        g_autofree char *path = g_strdup_printf("/proc/%s/comm", *pid), *comm = NULL;
        Thread thread = {.pid = atoi(*pid)};
        const char *name;

        if (thread.pid <= 0 || !g_file_get_contents(path, &comm, NULL, NULL))
            continue;
        /* So older kernels begin. */
        name = g_str_has_prefix(comm, "blkback.") ? comm + strlen("blkback.") : comm;
        if (!g_str_has_prefix(name, prefix))
            continue;
        g_strlcpy(thread.name, g_strchomp((char *)name), sizeof(thread.name));
        g_array_append_val(threads, thread);
    }
    return threads;
}

static guint
count_threads(GArray *threads, guint domid, const char *target)
{
    g_autofree char *prefix = g_strdup_printf("%u.%s-", domid, target);
    guint count = 0;

    for (guint i = 0; i < threads->len; i++)
        count += g_str_has_prefix(g_array_index(threads, Thread, i).name, prefix);
    return count;
}

/* Whether each disk that is connected has its threads. */
static gboolean
all_are_there(SeraiDomain *domain, GArray *threads)
{
    g_autoptr(GPtrArray) devices = serai_record_devices(domain->host, domain->uuid);

    for (guint i = 0; i < devices->len; i++) {
        const SeraiDevice *device = devices->pdata[i];
        g_autofree char *backend = NULL, *frontend = NULL;
        gint64 rings;

        if (device->kind != SERAI_DEVICE_DISK || serai_device_is_model_disk(device) ||
            serai_device_is_empty(device))
            continue;
        backend = serai_device_backend_path(domain->domid, device);
        frontend = serai_device_frontend_path(domain->domid, device);
        if (serai_store_read_number(domain->host->store, 0, "%s/state", backend) != XenbusStateConnected)
            continue;
        rings = serai_store_read_number(domain->host->store, 1, "%s/multi-queue-num-queues", frontend);
        if (count_threads(threads, domain->domid, device->disk.target) < CLAMP(rings, 1, RINGS_MAX))
            return FALSE;
    }
    return TRUE;
}

GArray *
serai_domain_get_io_tasks(SeraiDomain *domain)
{
    GArray *tasks = g_array_new(FALSE, FALSE, sizeof(int));
    g_autoptr(GArray) threads = NULL;
    int pid;

    if (domain->host->fake)
        return tasks;
    for (guint wait_ms = 1;; wait_ms *= 2) {
        threads = list_threads(domain->domid);
        if (wait_ms > LAST_WAIT_MS || all_are_there(domain, threads))
            break;
        g_array_unref(g_steal_pointer(&threads));
        g_usleep(wait_ms * 1000);
    }
    for (guint i = 0; i < threads->len; i++)
        g_array_append_val(tasks, g_array_index(threads, Thread, i).pid);
    pid = serai_device_model_pid(domain->host, domain->domid);
    if (pid)
        g_array_append_val(tasks, pid);
    return tasks;
}

static void
on_backend(const char *path, gpointer data)
{
    SeraiDomain *domain = data;

    if (g_str_has_suffix(path, "/state") &&
        serai_store_read_number(domain->host->store, 0, "%s", path) == XenbusStateConnected)
        serai_host_emit_disks_connected(domain->host, domain);
}

gboolean
serai_domain_watch_disks(SeraiDomain *domain, GError **error)
{
    g_autofree char *path = g_strdup_printf("/local/domain/0/backend/vbd/%u", domain->domid);

    if (!domain->disks_watch)
        domain->disks_watch = serai_store_watch(domain->host->store, path, on_backend, domain, error);
    return domain->disks_watch != NULL;
}
