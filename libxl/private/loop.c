/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loop devices, made by one ioctl (LOOP_CONFIGURE, Linux 5.8).  They are marked to clear themselves: the
 * kernel frees one when its last user closes it, whether that is the backend or, after a crash in between,
 * we.
 */
#include "private/system.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static gboolean
disk_error(GError **error, const SeraiDisk *disk, const char *what)
{
    g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED, "%s '%s' (%s): %s.", what, disk->target,
                disk->path, g_strerror(errno));
    return FALSE;
}

/* Direct I/O where the file system has it. */
static int
open_image(const SeraiDisk *disk)
{
    int flags = (disk->readonly || disk->cdrom ? O_RDONLY : O_RDWR) | O_CLOEXEC;
    int fd = -1;

    if (!disk->cached)
        fd = open(disk->path, flags | O_DIRECT);
    if (fd < 0 && (disk->cached || errno == EINVAL))
        fd = open(disk->path, flags);
    return fd;
}

/* Binds @image to a free loop device.  Others look for free ones too, so being late is no error. */
static int
loop_configure(int image, const SeraiDisk *disk)
{
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), loop = -1, err = 0;

    if (control < 0)
        return -1;
    for (int tries = 0; tries < 64 && loop < 0; tries++) {
        struct loop_config config = {.fd = image};
        char path[32];
        int n = ioctl(control, LOOP_CTL_GET_FREE);

        if (n < 0) {
            err = errno;
            break;
        }
        g_snprintf(path, sizeof(path), "/dev/loop%d", n);
        loop = open(path, (disk->readonly || disk->cdrom ? O_RDONLY : O_RDWR) | O_CLOEXEC);
        if (loop < 0) {
            err = errno;
            if (err == ENOENT || err == ENXIO)
                continue;
            break;
        }
        g_strlcpy((char *)config.info.lo_file_name, disk->path, LO_NAME_SIZE);
        config.info.lo_flags = LO_FLAGS_AUTOCLEAR | (disk->readonly || disk->cdrom ? LO_FLAGS_READ_ONLY : 0) |
                               (disk->cached ? 0 : LO_FLAGS_DIRECT_IO);
        if (ioctl(loop, LOOP_CONFIGURE, &config) == 0)
            break;
        err = errno;
        close(loop);
        loop = -1;
        if (err != EBUSY)
            break;
    }
    close(control);
    if (loop < 0)
        errno = err;
    return loop;
}

gboolean
serai_loop_open(const SeraiDisk *disk, int *ret_fd, dev_t *ret_device, GError **error)
{
    int image = open_image(disk), loop;
    struct stat st;

    *ret_fd = -1;
    if (image < 0)
        return disk_error(error, disk, _("Cannot open the source of disk"));
    if (fstat(image, &st) < 0) {
        close(image);
        return disk_error(error, disk, _("Cannot look at the source of disk"));
    }
    /* The kernel's backend opens a block device anew and not exclusively: there the locks, seen by each
     * QEMU, end with @ret_fd, and the claim of the disk stands for them. */
    if ((S_ISBLK(st.st_mode) || S_ISREG(st.st_mode)) && !serai_image_lock(image, disk, error)) {
        close(image);
        return FALSE;
    }
    if (S_ISBLK(st.st_mode)) {
        *ret_fd = image;
        *ret_device = st.st_rdev;
        return TRUE;
    }
    if (!S_ISREG(st.st_mode)) {
        close(image);
        errno = EINVAL;
        return disk_error(error, disk, _("Neither a file nor a block device is the source of disk"));
    }
    loop = loop_configure(image, disk);
    close(image);
    if (loop < 0 || fstat(loop, &st) < 0) {
        if (loop >= 0)
            close(loop);
        return disk_error(error, disk, _("Cannot make a loop device for disk"));
    }
    *ret_fd = loop;
    *ret_device = st.st_rdev;
    return TRUE;
}

gboolean
serai_loop_resize(const char *path, dev_t device, guint64 bytes, GError **error)
{
    g_autofree char *node = NULL;
    struct stat st;
    gboolean ok;
    int fd;

    if (stat(path, &st) < 0) {
        serai_set_errno(error, errno, _("Cannot look at '%s'"), path);
        return FALSE;
    }
    if (S_ISBLK(st.st_mode))
        return TRUE;
    if ((guint64)st.st_size > bytes) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_UNSUPPORTED, _("'%s' cannot be made smaller."), path);
        return FALSE;
    }
    if ((guint64)st.st_size < bytes && truncate(path, bytes) < 0) {
        serai_set_errno(error, errno, _("Cannot make '%s' larger"), path);
        return FALSE;
    }
    node = g_strdup_printf("/dev/block/%u:%u", major(device), minor(device));
    fd = open(node, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        g_free(node);
        node = g_strdup_printf("/dev/loop%u", minor(device));
        fd = open(node, O_RDONLY | O_CLOEXEC);
    }
    ok = fd >= 0 && ioctl(fd, LOOP_SET_CAPACITY, 0) == 0;
    if (!ok)
        serai_set_errno(error, errno, _("Cannot resize the loop device of '%s'"), path);
    if (fd >= 0)
        close(fd);
    return ok;
}
