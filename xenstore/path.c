/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns no state.  A path that passed path_resolve() is at most 3072 bytes, so it names at most
 * 1536 levels; that bounds every recursion over the depth of the tree.
 */
#include "path.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <xen/io/xs_wire.h>

_Static_assert(PATH_BYTES == XENSTORE_ABS_PATH_MAX + 1, "xs_wire.h: paths longer than 3072 are refused");

static bool
allowed(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '@';
}

bool
path_valid(const char *path, size_t length)
{
    size_t i;

    if (length == 0 || length > XENSTORE_ABS_PATH_MAX || path[0] != '/')
        return false;
    if (length == 1)
        return true;
    for (i = 1; i < length; i++) {
        if (path[i] == '/' ? path[i - 1] == '/' : !allowed(path[i]))
            return false;
    }
    return path[length - 1] != '/';
}

bool
path_special(const char *path)
{
    return path[0] == '@';
}

size_t
path_home_length(unsigned int domid)
{
    return snprintf(NULL, 0, "/local/domain/%u/", domid);
}

int
path_resolve(const char *given, size_t length, unsigned int domid, char ret_path[PATH_BYTES])
{
    size_t home = 0;

    if (length == 0)
        return -EINVAL;
    if (given[0] != '/') {
        if (length > XENSTORE_REL_PATH_MAX)
            return -EINVAL;
        home = snprintf(ret_path, PATH_BYTES, "/local/domain/%u/", domid);
    }
    if (home + length > XENSTORE_ABS_PATH_MAX)
        return -EINVAL;
    memcpy(ret_path + home, given, length);
    ret_path[home + length] = '\0';
    return path_valid(ret_path, home + length) ? 0 : -EINVAL;
}

const char *
path_next(const char **cursor, size_t *ret_length)
{
    const char *component = *cursor;
    const char *end;

    if (*component == '/')
        component++;
    if (!*component)
        return NULL;
    end = strchrnul(component, '/');
    *ret_length = end - component;
    *cursor = end;
    return component;
}

size_t
path_parent_length(const char *path)
{
    size_t length = strrchr(path, '/') - path;

    return length ? length : 1;
}
