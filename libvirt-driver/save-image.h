/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "driver.h"
#include "virfile.h"

/*
 * A file being written whole or not at all: the data goes to a file without a name, or to a neighbor, that
 * takes the name once it is on disk.  Devices and pipes are written directly.
 */
typedef struct _xenImageFile xenImageFile;
struct _xenImageFile {
    char *path;
    char *temporary;           /* the neighbor's; NULL when there is none */
    int fd;                    /* for the library */
    int nameless;              /* the file that has no name yet, or -1 */
    virFileWrapperFd *wrapper; /* writes around the page cache */
};

#define XEN_IMAGE_FILE_INIT      \
    {                            \
        .fd = -1, .nameless = -1 \
    }

int xenImageFileOpen(xenImageFile *file, const char *path, bool bypassCache);
int xenImageFileCommit(xenImageFile *file);
void xenImageFileClear(xenImageFile *file);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(xenImageFile, xenImageFileClear);

/* What the driver keeps in an image beside the guest: the definition, and whether the guest ran. */
GBytes *xenImageMetadataNew(const char *xml, bool running);
int xenImageMetadataParse(GBytes *metadata, const char *path, char **ret_xml, bool *ret_running);

/* Opens @path, reads its header, and leaves *ret_fd at the start of the image. */
int xenImageOpen(const char *path, bool writable, int *ret_fd, char **ret_xml, bool *ret_running);
/* Replaces the definition in an image; the guest's memory stays as it is. */
int xenImageRewrite(const char *path, const char *xml, bool running);
