/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inside of SeraiHost and SeraiDomain, for the files that do their work. */
#ifndef SERAI_HOST_PRIVATE_H
#define SERAI_HOST_PRIVATE_H

#include "private/hypercall.h"
#include "private/store.h"

/* A domain that events were told of. */
typedef struct {
    char uuid[37];
    gboolean stopped;
    GHashTable *told; /* (t) of the signals: numbers of devices that another program took */
} SeraiKnown;

struct _SeraiHost {
    GObject parent;
    SeraiHv *hv;            /* (c) */
    SeraiStore *store;      /* (c) */
    gboolean fake;          /* (c) no real backends: nothing outside of this process is touched */
    GMainContext *context;  /* (c) where signals are emitted */
    SeraiWatch *introduced; /* (c) */
    SeraiWatch *released;   /* (c) */
    SeraiWatch *backends;   /* (c) */
    GMutex lock;
    GHashTable *known;                /* (lock) domid to SeraiKnown */
    GHashTable *changed;              /* (lock) domids whose devices are about to be looked at */
    char run_dir[64];                 /* (c) for pid files and sockets */
    SeraiModelLogFunc model_log;      /* (c) NULL when nobody keeps what QEMU says */
    gpointer model_log_data;          /* (c) */
    GDestroyNotify model_log_destroy; /* (c) */
};

struct _SeraiDomain {
    GObject parent;
    SeraiHost *host;         /* (c) */
    guint domid;             /* (c) */
    char uuid[37];           /* (c) */
    SeraiWatch *disks_watch; /* (c) once it is set by its only user */
};

SeraiDomain *serai_domain_new(SeraiHost *host, guint domid, const char *uuid);
/* Calls @func in the thread of the signals. */
void serai_host_later(SeraiHost *host, GSourceFunc func, gpointer data, GDestroyNotify data_free);
/* Emits a signal of the host in its main context; @detail is the reason, or the device. */
void serai_host_emit_device_removed(SeraiHost *host, SeraiDomain *domid, SeraiDeviceKind kind, int devid);
void serai_host_emit_disks_connected(SeraiHost *host, SeraiDomain *domain);
/* Whether somebody listens to it. */
gboolean serai_host_tells_of_devices(SeraiHost *host);
/* The watch on SERAI_BACKENDS; private/device-gone.c. */
#define SERAI_BACKENDS "/local/domain/0/backend"
void serai_backend_changed(const char *path, gpointer host);
/* The device model of a domain is gone; tells so of each device that it served, unless the domain goes too.
 */
void serai_host_model_died(SeraiHost *host, guint domid);
gboolean serai_host_scheduler(SeraiHost *host, uint32_t *ret_id, GError **error);
void serai_info_fill(SeraiDomainInfo *info, const xen_domctl_getdomaininfo_t *raw);

/* Runs @func in a thread of its own as a GTask, so that each _async function is its _sync one elsewhere. */
typedef gpointer (*SeraiJobFunc)(gpointer object, gpointer args, GCancellable *cancellable,
                                 SeraiProgressFunc progress, gpointer progress_data, GError **error);
void serai_job_start(gpointer object, gpointer tag, SeraiJobFunc func, gpointer args,
                     GDestroyNotify args_free, GDestroyNotify result_free, GCancellable *cancellable,
                     SeraiProgressFunc progress, gpointer progress_data, GDestroyNotify progress_destroy,
                     GAsyncReadyCallback callback, gpointer user_data);
gpointer serai_job_finish(gpointer object, gpointer tag, GAsyncResult *result, GError **error);

#endif
