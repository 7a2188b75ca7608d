/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kernels that were unpacked before.  Unpacking takes longer than everything else in a domain's start, and
 * most domains share a few kernels.  A file of the cache is named after what it was made from (device, inode,
 * size and time of the last change), so one whose original changed is not found any more; the newest
 * CACHE_FILES stay.
 *
 * The directory belongs to us alone, and files appear in it whole by rename(), so they can be mapped: nobody
 * cuts them short while we read.  A user's kernel is read, never mapped, for the same reason.  No locks on
 * files: two who unpack the same kernel at once write the same bytes.
 *
 * The last KEPT_MAPS stay mapped, too.  In a dom0 without an MMU of its own each page that is mapped or
 * unmapped is a trap into the hypervisor, which together cost more than all else in a start.  What they hold
 * is the page cache's and can be taken back at any time.  kept_lock guards them.
 */
#include "private/kernel-cache.h"
#include "private/elf.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE_FILES 4
#define KEPT_MAPS   2

/* The largest file that is looked at; a kernel in a file is smaller than unpacked. */
#define FILE_MAX SERAI_KERNEL_MAX

static GMutex kept_lock;
static struct {
    char *path;
    GBytes *kernel;
} kept[KEPT_MAPS]; /* the newest is the first */

/* The file of the cache as bytes, or NULL when there is none. */
static GBytes *
map_cached(const char *path)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&kept_lock);
    g_autoptr(GMappedFile) map = NULL;

    for (guint i = 0; i < KEPT_MAPS; i++)
        if (!g_strcmp0(kept[i].path, path))
            return g_bytes_ref(kept[i].kernel);
    map = g_mapped_file_new(path, FALSE, NULL);
    if (!map)
        return NULL;
    g_free(kept[KEPT_MAPS - 1].path);
    g_clear_pointer(&kept[KEPT_MAPS - 1].kernel, g_bytes_unref);
    memmove(kept + 1, kept, sizeof(kept) - sizeof(kept[0]));
    kept[0].path = g_strdup(path);
    kept[0].kernel = g_mapped_file_get_bytes(map);
    return g_bytes_ref(kept[0].kernel);
}

static GBytes *
read_file(const char *path, struct stat *ret_stat, GCancellable *cancellable, GError **error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    g_autofree guint8 *data = NULL;
    gboolean ok = FALSE;

    if (fd < 0 || fstat(fd, ret_stat) < 0)
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_KERNEL, _("Cannot open the kernel '%s': %s."),
                    path, g_strerror(errno));
    else if (!S_ISREG(ret_stat->st_mode) || ret_stat->st_size > (off_t)FILE_MAX)
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_INVALID_KERNEL,
                    _("'%s' is no file, or too large for a kernel."), path);
    else if (!(data = g_try_malloc(ret_stat->st_size + 1)))
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_NO_MEMORY,
                            _("There is no memory to read the kernel."));
    else
        ok = serai_read_all(fd, data, ret_stat->st_size, cancellable, error);
    if (fd >= 0)
        close(fd);
    return ok ? g_bytes_new_take(g_steal_pointer(&data), ret_stat->st_size) : NULL;
}

static gboolean
dir_is_ours(const char *dir)
{
    struct stat st;

    if (g_mkdir_with_parents(dir, 0700) < 0 || lstat(dir, &st) < 0)
        return FALSE;
    return S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 022);
}

static char *
cache_path(const char *dir, const struct stat *st)
{
    return g_strdup_printf("%s/%lx-%lx-%lx-%lx.%09lx.kernel", dir, (unsigned long)st->st_dev,
                           (unsigned long)st->st_ino, (unsigned long)st->st_size,
                           (unsigned long)st->st_ctim.tv_sec, (unsigned long)st->st_ctim.tv_nsec);
}

/* Removes the oldest files until CACHE_FILES are left. */
static void
prune(const char *dir)
{
    for (int round = 0; round < 16; round++) {
        g_autoptr(GDir) list = g_dir_open(dir, 0, NULL);
        g_autofree char *oldest = NULL;
        gint64 age = G_MAXINT64;
        const char *name;
        int count = 0;

        while (list && (name = g_dir_read_name(list))) {
            g_autofree char *path = g_build_filename(dir, name, NULL);
            struct stat st;

            if (!g_str_has_suffix(name, ".kernel") || lstat(path, &st) < 0)
                continue;
            count++;
            if (st.st_mtim.tv_sec * G_GINT64_CONSTANT(1000000000) + st.st_mtim.tv_nsec < age) {
                age = st.st_mtim.tv_sec * G_GINT64_CONSTANT(1000000000) + st.st_mtim.tv_nsec;
                g_free(oldest);
                oldest = g_steal_pointer(&path);
            }
        }
        if (count <= CACHE_FILES || !oldest)
            return;
        g_unlink(oldest);
    }
}

static void
cache_write(const char *dir, const char *path, GBytes *kernel)
{
    g_autofree char *temporary = g_strdup_printf("%s/new-XXXXXX", dir);
    gsize size;
    const void *data = g_bytes_get_data(kernel, &size);
    int fd = mkostemp(temporary, O_CLOEXEC);
    gboolean ok = fd >= 0 && serai_write_all(fd, data, size, NULL, NULL);

    if (fd >= 0)
        close(fd);
    if (!ok || g_rename(temporary, path) < 0)
        g_unlink(temporary);
    prune(dir);
}

GBytes *
serai_kernel_read(const char *path, const char *dir, GCancellable *cancellable, GError **error)
{
    g_autoptr(GBytes) file = NULL;
    g_autofree char *cached = NULL;
    struct stat st;
    GBytes *kernel;

    if (dir && !dir_is_ours(dir))
        dir = NULL;
    if (dir && stat(path, &st) == 0) {
        cached = cache_path(dir, &st);
        kernel = map_cached(cached);
        if (kernel) {
            utimensat(AT_FDCWD, cached, NULL, 0); /* it is in use, so it is not the oldest */
            return kernel;
        }
    }
    file = read_file(path, &st, cancellable, error);
    if (!file)
        return NULL;
    kernel = serai_kernel_unpack(file, error);
    if (!kernel) {
        g_prefix_error(error, "%s: ", path);
        return NULL;
    }
    if (dir && kernel != file) {
        g_free(cached);
        cached = cache_path(dir, &st);
        cache_write(dir, cached, kernel);
    }
    return kernel;
}
