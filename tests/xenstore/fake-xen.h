/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A hypervisor in shared memory: rings, ports and the list of domains.  A test is the domains; the daemon
 * runs beside it in the same process, or in another one that may be killed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "xen.h"

#include <xen/io/xs_wire.h>

#define FAKE_DOMAINS 8

/* Made once, before any fork. */
void fake_xen_init(void);
/* The hypervisor as a new daemon finds it: what the last one mapped and bound is gone. */
struct xen *fake_xen_open(void);

struct xenstore_domain_interface *fake_ring(uint16_t domid);
void fake_set_state(uint16_t domid, enum xen_domain_state state);
/* The domain signals its port. */
void fake_kick(uint16_t domid);
/* How often the daemon has signalled the domain. */
unsigned int fake_signals(uint16_t domid);

/* The domain's end of its ring: both move as many bytes as go, and signal only if they must, as Linux does.
 */
size_t fake_write(uint16_t domid, const void *data, size_t length);
size_t fake_read(uint16_t domid, void *data, size_t length);
