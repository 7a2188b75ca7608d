/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SERAI_TEARDOWN_H
#define SERAI_TEARDOWN_H

#include "private/host.h"

/*
 * Removes a domain and everything its record names, in an order that can be cut short anywhere and done
 * again.
 * @domid is -1 when the hypervisor has (or had) no domain of this UUID; @name is NULL when nobody knows it.
 */
gboolean serai_teardown(SeraiHost *host, const char *uuid, int domid, GCancellable *cancellable,
                        GError **error);
/* The same for who found the record to be stale: nothing is done when it is not any more. */
gboolean serai_teardown_stale(SeraiHost *host, const char *uuid, int domid, GCancellable *cancellable,
                              GError **error);

/* Whether a record belongs to nobody any more: its domain is gone, or whoever made or destroyed it is. */
gboolean serai_record_is_stale(SeraiHost *host, const char *uuid, int domid);

/* The number of the domain with this UUID in the hypervisor, or -1.  Looks at all domains; only recovery uses
 * it. */
int serai_find_domid(SeraiHost *host, const char *uuid);

#endif
