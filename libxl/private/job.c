/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every _async function is its _sync one in a thread of GLib's pool, as a GTask.  Progress travels back to
 * the context that the caller started it in.
 */
#include "private/host.h"

typedef struct {
    SeraiJobFunc func;
    gpointer args;
    GDestroyNotify args_free;
    GDestroyNotify result_free;
    SeraiProgressFunc progress;
    gpointer progress_data;
    GDestroyNotify progress_destroy;
    GTask *task; /* not a reference: the task owns the job */
} Job;

typedef struct {
    GTask *task;
    SeraiStage stage;
    guint64 done;
    guint64 total;
} Report;

static void
job_free(gpointer data)
{
    Job *job = data;

    if (job->args_free)
        job->args_free(job->args);
    if (job->progress_destroy)
        job->progress_destroy(job->progress_data);
    g_free(job);
}

static gboolean
report_now(gpointer data)
{
    Report *report = data;
    Job *job = g_task_get_task_data(report->task);

    job->progress(report->stage, report->done, report->total, job->progress_data);
    return G_SOURCE_REMOVE;
}

static void
report_free(gpointer data)
{
    Report *report = data;

    g_object_unref(report->task);
    g_free(report);
}

static void
job_progress(SeraiStage stage, guint64 done, guint64 total, gpointer data)
{
    Job *job = data;
    GSource *source = g_idle_source_new();
    Report *report = g_new0(Report, 1);

    report->task = g_object_ref(job->task);
    report->stage = stage;
    report->done = done;
    report->total = total;
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, report_now, report, report_free);
    g_source_attach(source, g_task_get_context(job->task));
    g_source_unref(source);
}

static void
job_thread(GTask *task, gpointer object, gpointer data, GCancellable *cancellable)
{
    Job *job = data;
    GError *error = NULL;
    gpointer result =
        job->func(object, job->args, cancellable, job->progress ? job_progress : NULL, job, &error);

    if (error)
        g_task_return_error(task, error);
    else
        g_task_return_pointer(task, result, job->result_free);
}

void
serai_job_start(gpointer object, gpointer tag, SeraiJobFunc func, gpointer args, GDestroyNotify args_free,
                GDestroyNotify result_free, GCancellable *cancellable, SeraiProgressFunc progress,
                gpointer progress_data, GDestroyNotify progress_destroy, GAsyncReadyCallback callback,
                gpointer user_data)
{
    g_autoptr(GTask) task = g_task_new(object, cancellable, callback, user_data);
    Job *job = g_new0(Job, 1);

    job->func = func;
    job->args = args;
    job->args_free = args_free;
    job->result_free = result_free;
    job->progress = progress;
    job->progress_data = progress_data;
    job->progress_destroy = progress_destroy;
    job->task = task;
    g_task_set_source_tag(task, tag);
    g_task_set_task_data(task, job, job_free);
    /* What was done is told as done, even when the cancellation came a moment later. */
    g_task_set_check_cancellable(task, FALSE);
    g_task_run_in_thread(task, job_thread);
}

gpointer
serai_job_finish(gpointer object, gpointer tag, GAsyncResult *result, GError **error)
{
    g_return_val_if_fail(g_task_is_valid(result, object), NULL);
    g_return_val_if_fail(g_async_result_is_tagged(result, tag), NULL);
    return g_task_propagate_pointer(G_TASK(result), error);
}
