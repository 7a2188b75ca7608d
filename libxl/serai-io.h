/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who in the control domain does the I/O of a domain's disks, for those who limit it. */
#ifndef SERAI_IO_H
#define SERAI_IO_H

#include <serai-host.h>

G_BEGIN_DECLS

/**
 * serai_domain_get_io_tasks:
 * @domain: a domain.
 *
 * The threads of the kernel's backend that serve disks of the domain, and its QEMU.  A thread comes a little
 * after its disk is connected, so for that this waits, a second at most.
 *
 * Returns: (transfer full) (element-type gint): process numbers; none on a pretend machine.
 */
GArray *serai_domain_get_io_tasks(SeraiDomain *domain);

/**
 * serai_domain_watch_disks:
 * @domain: a domain.
 * @error: where the reason goes.
 *
 * Has #SeraiHost::disks-connected emitted from now on, as long as @domain is not freed.
 *
 * Returns: %TRUE on success.
 */
gboolean serai_domain_watch_disks(SeraiDomain *domain, GError **error);

G_END_DECLS

#endif
