/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Paths are what xenstore.txt allows and nothing else, once path_resolve() has returned one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define PATH_BYTES 3073 /* XENSTORE_ABS_PATH_MAX and the terminator */

/* Whether @path is an absolute path with allowed characters, no empty component, no trailing slash. */
bool path_valid(const char *path, size_t length);

/* "@introduceDomain", "@releaseDomain" and the like: a name of an event, not of a node. */
bool path_special(const char *path);

/*
 * Makes a client's path absolute: a relative one is taken below /local/domain/@domid.
 * Returns 0 with @ret_path filled, or -EINVAL.
 */
int path_resolve(const char *given, size_t length, unsigned int domid, char ret_path[PATH_BYTES]);

/* Length of "/local/domain/N" for @domid plus the slash that follows it. */
size_t path_home_length(unsigned int domid);

/*
 * Steps through the components: returns the next one and its length and moves @cursor behind it;
 * NULL at the end.  The root has none.
 */
const char *path_next(const char **cursor, size_t *ret_length);

/* Length of the parent's path of an absolute path that is not "/"; the parent of "/a" is "/". */
size_t path_parent_length(const char *path);
