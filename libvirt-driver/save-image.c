/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files that guests are saved in, from libvirt's side: how they come to be, and the driver's own
 * bytes in their header.  The rest of the format is the library's.
 *
 * The driver's bytes are one line, "state=running" or "state=paused", and the XML of the domain.
 */
#include "save-image.h"
#include "error.h"

#include <fcntl.h>
#include <serai.h>
#include <sys/stat.h>

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.save-image");

#define XEN_IMAGE_RUNNING "state=running\n"
#define XEN_IMAGE_PAUSED  "state=paused\n"

/*
 * What is not whole yet has no name, so nothing is left of it when the daemon is killed.  Where the file
 * system cannot do that, it has one that tells.
 */
static void
openNew(xenImageFile *file, int flags)
{
    g_autofree char *directory = g_path_get_dirname(file->path);

    file->fd = open(directory, flags | O_TMPFILE, 0600);
    if (file->fd >= 0)
        file->nameless = fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
    if (file->nameless < 0) {
        VIR_FORCE_CLOSE(file->fd);
        file->temporary = g_strdup_printf("%s.partial", file->path);
    }
}

/* Gives it the name @path, or one beside it that can be renamed to it when there is a file of that name. */
static int
giveName(xenImageFile *file)
{
    g_autofree char *now = g_strdup_printf("/proc/self/fd/%d", file->nameless);

    if (linkat(AT_FDCWD, now, AT_FDCWD, file->path, AT_SYMLINK_FOLLOW) == 0)
        return 0;
    if (errno == EEXIST) {
        file->temporary = g_strdup_printf("%s.partial", file->path);
        if ((unlink(file->temporary) == 0 || errno == ENOENT) &&
            linkat(AT_FDCWD, now, AT_FDCWD, file->temporary, AT_SYMLINK_FOLLOW) == 0)
            return 0;
    }
    virReportSystemError(errno, _("cannot name '%s'"), file->path);
    return -1;
}

int
xenImageFileOpen(xenImageFile *file, const char *path, bool bypassCache)
{
    struct stat st;
    const char *target;
    int flags = O_WRONLY | O_CLOEXEC;

    file->fd = file->nameless = -1;
    file->path = g_strdup(path);

    if (bypassCache) {
        int direct = virFileDirectFdFlag();

        if (direct < 0) {
            virReportError(VIR_ERR_OPERATION_UNSUPPORTED, "%s",
                           _("this host cannot write files around its page cache"));
            return -1;
        }
        flags |= direct;
    }

    if (stat(path, &st) < 0 || S_ISREG(st.st_mode))
        openNew(file, flags);
    target = file->temporary ? file->temporary : file->path;
    if (file->fd < 0)
        file->fd = open(target, flags | O_CREAT | O_TRUNC, 0600);
    if (file->fd < 0) {
        virReportSystemError(errno, _("cannot create '%s'"), target);
        return -1;
    }
    if (bypassCache) {
        file->wrapper = virFileWrapperFdNew(&file->fd, target, VIR_FILE_WRAPPER_BYPASS_CACHE);
        if (!file->wrapper)
            return -1;
    }
    return 0;
}

int
xenImageFileCommit(xenImageFile *file)
{
    /* With a helper in between, its end says that everything is on disk. */
    if (!file->wrapper && g_fsync(file->fd) < 0 && errno != EINVAL && errno != EROFS) {
        virReportSystemError(errno, _("cannot write '%s'"), file->path);
        return -1;
    }
    if (VIR_CLOSE(file->fd) < 0) {
        virReportSystemError(errno, _("cannot write '%s'"), file->path);
        return -1;
    }
    if (file->wrapper && virFileWrapperFdClose(file->wrapper) < 0)
        return -1;

    if (file->nameless >= 0 && giveName(file) < 0)
        return -1;
    if (file->temporary) {
        if (rename(file->temporary, file->path) < 0) {
            virReportSystemError(errno, _("cannot name '%s'"), file->path);
            return -1;
        }
        g_clear_pointer(&file->temporary, g_free);
    }
    return 0;
}

void
xenImageFileClear(xenImageFile *file)
{
    VIR_FORCE_CLOSE(file->fd);
    VIR_FORCE_CLOSE(file->nameless);
    if (file->wrapper)
        virFileWrapperFdFree(file->wrapper);
    file->wrapper = NULL;
    if (file->temporary)
        unlink(file->temporary);
    g_clear_pointer(&file->temporary, g_free);
    g_clear_pointer(&file->path, g_free);
}

GBytes *
xenImageMetadataNew(const char *xml, bool running)
{
    g_autofree char *text = g_strconcat(running ? XEN_IMAGE_RUNNING : XEN_IMAGE_PAUSED, xml, NULL);
    size_t length = strlen(text);

    return g_bytes_new_take(g_steal_pointer(&text), length);
}

int
xenImageMetadataParse(GBytes *metadata, const char *path, char **ret_xml, bool *ret_running)
{
    gsize length = 0;
    const char *data = metadata ? g_bytes_get_data(metadata, &length) : NULL;
    g_autofree char *text = g_strndup(data, length);
    const char *xml;

    if (text && (xml = STRSKIP(text, XEN_IMAGE_RUNNING))) {
        *ret_running = true;
    } else if (text && (xml = STRSKIP(text, XEN_IMAGE_PAUSED))) {
        *ret_running = false;
    } else {
        virReportError(VIR_ERR_OPERATION_FAILED, _("'%s' is a saved domain that libvirt did not save"), path);
        return -1;
    }
    *ret_xml = g_strdup(xml);
    return 0;
}

int
xenImageOpen(const char *path, bool writable, int *ret_fd, char **ret_xml, bool *ret_running)
{
    VIR_AUTOCLOSE fd = -1;
    g_autoptr(GBytes) metadata = NULL;
    g_autoptr(GError) error = NULL;

    fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (fd < 0) {
        virReportSystemError(errno, _("cannot open saved domain '%s'"), path);
        return -1;
    }
    if (!serai_save_read_header(fd, NULL, &metadata, &error)) {
        xenReportError(&error, _("cannot read saved domain '%s'"), path);
        return -1;
    }
    if (xenImageMetadataParse(metadata, path, ret_xml, ret_running) < 0)
        return -1;
    if (lseek(fd, 0, SEEK_SET) < 0) {
        virReportSystemError(errno, _("cannot read saved domain '%s'"), path);
        g_clear_pointer(ret_xml, g_free);
        return -1;
    }
    *ret_fd = g_steal_fd(&fd);
    return 0;
}

int
xenImageRewrite(const char *path, const char *xml, bool running)
{
    g_autoptr(GBytes) metadata = xenImageMetadataNew(xml, running);
    g_autoptr(GError) error = NULL;
    VIR_AUTOCLOSE fd = open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        virReportSystemError(errno, _("cannot open saved domain '%s'"), path);
        return -1;
    }
    if (!serai_save_replace_metadata(fd, metadata, &error)) {
        xenReportError(&error, _("cannot change saved domain '%s'"), path);
        return -1;
    }
    if (g_fsync(fd) < 0) {
        virReportSystemError(errno, _("cannot write '%s'"), path);
        return -1;
    }
    return 0;
}
