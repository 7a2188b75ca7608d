/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Locks on disk images, so that two guests do not write to one by mistake.  They are QEMU's, by which we
 * and each QEMU, qemu-img and qemu-nbd see one another: a byte beyond 100 for each thing that somebody does,
 * a byte beyond 200 for each that nobody else may do meanwhile.  All locks are shared ones; a conflict is
 * found by looking whether others have a lock on the opposite byte.
 *
 * The locks belong to the open file (F_OFD_SETLK).  A loop device keeps its file open, so they last as long
 * as the loop device does, whatever becomes of us.
 */
#include "private/system.h"

#include <fcntl.h>

#define DOES    100
#define FORBIDS 200
#define READ    0
#define WRITE   1

/* A disk that was detached may be held a moment longer: by a kernel thread that closes it, or by udev. */
#define PATIENCE (2 * G_USEC_PER_SEC)

static gboolean
lock_byte(int fd, off_t byte)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* Whether somebody else has locked it. */
static gboolean
is_locked(int fd, off_t byte)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* First our locks and then the look at those of others: of two who come at once both may fail, but never do
 * both succeed. */
static gboolean
lock_all(int fd, gboolean writes, gboolean shares)
{
    if (!lock_byte(fd, DOES + READ) || (writes && !lock_byte(fd, DOES + WRITE)) ||
        (!shares && !lock_byte(fd, FORBIDS + WRITE)))
        /* Some file systems know no locks. */
        return errno != EAGAIN && errno != EACCES;
    return !is_locked(fd, FORBIDS + READ) && !(writes && is_locked(fd, FORBIDS + WRITE)) &&
           !(!shares && is_locked(fd, DOES + WRITE));
}

static void
unlock_all(int fd)
{
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = DOES, .l_len = 2 * DOES};

    fcntl(fd, F_OFD_SETLK, &lock);
}

gboolean
serai_image_lock(int fd, const SeraiDisk *disk, GError **error)
{
    gboolean writes = !disk->readonly && !disk->cdrom;
    gint64 deadline = g_get_monotonic_time() + PATIENCE;

    while (!lock_all(fd, writes, disk->shareable)) {
        unlock_all(fd);
        if (g_get_monotonic_time() >= deadline) {
            g_set_error(error, SERAI_ERROR, SERAI_ERROR_DEVICE_FAILED,
                        _("The source of disk '%s' (%s) is in use by another guest or program, and not both "
                          "share it."),
                        disk->target, disk->path);
            return FALSE;
        }
        /* Not in step with somebody who waits as well. */
        g_usleep(g_random_int_range(5000, 40000));
    }
    return TRUE;
}
