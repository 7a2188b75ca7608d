/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The hypervisor's events.
 *
 * One thread runs the main context that the library emits its signals in.  It must never wait, as all
 * signals pass through it; so each event becomes a task of a small pool, and a task waits for its domain's
 * job as long as that takes.  What a task does about a domain that stopped is in reconnect.c and depends on
 * the hypervisor's answer only; of a device that failed it tells libvirt's clients; of one that went away,
 * devices-settle.c looks at what the domain has.
 */
#include "monitor.h"
#include "blkio.h"
#include "devices.h"
#include "error.h"
#include "process.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.monitor");

#define XEN_MONITOR_WORKERS 8

typedef struct _xenMonitor xenMonitor;
struct _xenMonitor {
    GMainContext *context;
    GMainLoop *loop;
    GThread *thread;
    GThreadPool *pool;
    gulong handlers[6];
    gint stopping; /* atomic */
};

typedef enum {
    XEN_TASK_STOPPED, /* or crashed, or died */
    XEN_TASK_DEVICE_FAILED,
    XEN_TASK_DEVICE_REMOVED, /* by us or by another program */
    XEN_TASK_DISKS_CONNECTED,
} xenTaskType;

/* Something happened to a domain. */
typedef struct _xenTask xenTask;
struct _xenTask {
    SeraiDomain *domain;
    xenTaskType type;
    int kind; /* of a device that failed */
    int devid;
};

static void
taskFree(xenTask *task)
{
    g_object_unref(task->domain);
    g_free(task);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xenTask, taskFree);

/*
 * The QEMU of a domain has ended.  Its disks answer no request any more: none fails, all wait, which is
 * libvirt's action "none".  With a screen the connection to QEMU is lost as well.
 */
static void
tellFailure(xenDriver *driver, virDomainObj *vm, const xenTask *task)
{
    size_t i;

    if (task->kind == SERAI_DEVICE_VFB) {
        VIR_WARN("QEMU of domain '%s' has ended: its screen is gone", vm->def->name);
        xenDomainQueue(driver, virDomainEventControlErrorNewFromObj(vm));
        return;
    }
    for (i = 0; task->kind == SERAI_DEVICE_DISK && i < vm->def->ndisks; i++) {
        const virDomainDiskDef *disk = vm->def->disks[i];
        const char *source = virDomainDiskGetSource(disk);
        const char *alias = disk->info.alias ? disk->info.alias : disk->dst;

        if (serai_disk_target_to_devid(disk->dst) != task->devid)
            continue;
        VIR_WARN("QEMU of domain '%s' has ended: disk '%s' is not served", vm->def->name, disk->dst);
        xenDomainQueue(driver, virDomainEventIOErrorNewFromObj(vm, source ? source : "", alias,
                                                               VIR_DOMAIN_EVENT_IO_ERROR_NONE));
        xenDomainQueue(driver, virDomainEventIOErrorReasonNewFromObj(vm, source ? source : "", alias,
                                                                     VIR_DOMAIN_EVENT_IO_ERROR_NONE,
                                                                     "QEMU has ended"));
    }
}

/* Job held. */
static void
carryOut(xenDriver *driver, virDomainObj *vm, const xenTask *task)
{
    switch (task->type) {
    case XEN_TASK_STOPPED:
        xenProcessReconcile(driver, vm);
        break;
    case XEN_TASK_DEVICE_FAILED:
        tellFailure(driver, vm, task);
        break;
    case XEN_TASK_DEVICE_REMOVED:
        if (XEN_PRIVATE(vm)->domain)
            xenDevicesFollow(driver, vm);
        break;
    case XEN_TASK_DISKS_CONNECTED:
        xenBlkioGather(driver, vm);
        break;
    }
}

/* Waits for the job of the domain. */
static void
work(gpointer data, gpointer opaque)
{
    g_autoptr(xenTask) task = data;
    xenDriver *driver = opaque;
    guint domid = serai_domain_get_id(task->domain);
    virDomainObj *vm = NULL;

    while (!g_atomic_int_get(&driver->monitor->stopping)) {
        virDomainObjEndAPI(&vm);
        vm = virDomainObjListFindByID(driver->domains, domid);
        if (!vm)
            break;
        /* Whoever holds the job may take longer than the time a job is waited for; the event still counts. */
        if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0) {
            virResetLastError();
            continue;
        }
        if (vm->def->id == (int)domid)
            carryOut(driver, vm, task);
        virDomainObjEndJob(vm);
        break;
    }
    virDomainObjEndAPI(&vm);
}

static void
push(xenDriver *driver, SeraiDomain *domain, xenTaskType type, int kind, int devid)
{
    xenTask *task;

    if (g_atomic_int_get(&driver->monitor->stopping))
        return;
    task = g_new0(xenTask, 1);
    task->domain = g_object_ref(domain);
    task->type = type;
    task->kind = kind;
    task->devid = devid;
    g_thread_pool_push(driver->monitor->pool, task, NULL);
}

static void
onShutdown(SeraiHost *host G_GNUC_UNUSED, SeraiDomain *domain, int reason, gpointer driver)
{
    VIR_DEBUG("domain %u stopped: %d", serai_domain_get_id(domain), reason);
    push(driver, domain, XEN_TASK_STOPPED, 0, 0);
}

static void
onGone(SeraiHost *host G_GNUC_UNUSED, SeraiDomain *domain, gpointer driver)
{
    VIR_DEBUG("domain %u crashed or died", serai_domain_get_id(domain));
    push(driver, domain, XEN_TASK_STOPPED, 0, 0);
}

static void
onDeviceFailed(SeraiHost *host G_GNUC_UNUSED, SeraiDomain *domain, int kind, int devid, gpointer driver)
{
    VIR_DEBUG("device %d of kind %d of domain %u failed", devid, kind, serai_domain_get_id(domain));
    push(driver, domain, XEN_TASK_DEVICE_FAILED, kind, devid);
}

static void
onDeviceRemoved(SeraiHost *host G_GNUC_UNUSED, SeraiDomain *domain, int kind, int devid, gpointer driver)
{
    VIR_DEBUG("device %d of kind %d of domain %u went away", devid, kind, serai_domain_get_id(domain));
    push(driver, domain, XEN_TASK_DEVICE_REMOVED, kind, devid);
}

static void
onDisksConnected(SeraiHost *host G_GNUC_UNUSED, SeraiDomain *domain, gpointer driver)
{
    VIR_DEBUG("disks of domain %u are connected", serai_domain_get_id(domain));
    push(driver, domain, XEN_TASK_DISKS_CONNECTED, 0, 0);
}

static gpointer
run(gpointer data)
{
    xenMonitor *monitor = data;

    g_main_context_push_thread_default(monitor->context);
    g_main_loop_run(monitor->loop);
    g_main_context_pop_thread_default(monitor->context);
    return NULL;
}

static gboolean
quit(gpointer loop)
{
    g_main_loop_quit(loop);
    return G_SOURCE_REMOVE;
}

int
xenMonitorStart(xenDriver *driver, bool pretend)
{
    xenMonitor *monitor = g_new0(xenMonitor, 1);
    g_autoptr(GError) error = NULL;

    driver->monitor = monitor;
    monitor->context = g_main_context_new();
    monitor->loop = g_main_loop_new(monitor->context, FALSE);

    g_main_context_push_thread_default(monitor->context);
    driver->host = serai_host_open(pretend ? "fake" : NULL, &error);
    g_main_context_pop_thread_default(monitor->context);
    if (!driver->host) {
        xenReportError(&error, "%s", _("cannot open the hypervisor"));
        return -1;
    }

    monitor->pool = g_thread_pool_new(work, driver, XEN_MONITOR_WORKERS, FALSE, NULL);
    monitor->thread = g_thread_new("serai-monitor", run, monitor);
    return 0;
}

void
xenMonitorListen(xenDriver *driver)
{
    xenMonitor *monitor = driver->monitor;

    monitor->handlers[0] = g_signal_connect(driver->host, "domain-shutdown", G_CALLBACK(onShutdown), driver);
    monitor->handlers[1] = g_signal_connect(driver->host, "domain-crashed", G_CALLBACK(onGone), driver);
    monitor->handlers[2] = g_signal_connect(driver->host, "domain-died", G_CALLBACK(onGone), driver);
    monitor->handlers[3] =
        g_signal_connect(driver->host, "device-failed", G_CALLBACK(onDeviceFailed), driver);
    monitor->handlers[4] =
        g_signal_connect(driver->host, "device-removed", G_CALLBACK(onDeviceRemoved), driver);
    monitor->handlers[5] =
        g_signal_connect(driver->host, "disks-connected", G_CALLBACK(onDisksConnected), driver);
}

void
xenMonitorStop(xenDriver *driver)
{
    xenMonitor *monitor = driver->monitor;
    size_t i;

    if (!monitor)
        return;
    g_atomic_int_set(&monitor->stopping, 1);
    for (i = 0; i < G_N_ELEMENTS(monitor->handlers); i++) {
        if (monitor->handlers[i])
            g_signal_handler_disconnect(driver->host, monitor->handlers[i]);
    }
    if (monitor->thread) {
        /* From inside the loop, as a thread that has not reached it yet would miss a quit from here. */
        g_main_context_invoke(monitor->context, quit, monitor->loop);
        g_thread_join(monitor->thread);
    }
    /* Tasks hold domains; the last of them ends before the list of domains does. */
    if (monitor->pool)
        g_thread_pool_free(monitor->pool, FALSE, TRUE);
    g_clear_object(&driver->host);
    g_main_loop_unref(monitor->loop);
    g_main_context_unref(monitor->context);
    g_clear_pointer(&driver->monitor, g_free);
}
