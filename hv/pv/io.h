/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* I/O ports of PV guests: who may use which, and those that the hypervisor answers itself. */
#ifndef SERAI_PV_IO_H
#define SERAI_PV_IO_H

#include "domain/domain.h"

/* Whether @v, in its present mode, has the I/O privilege level that lets it use all ports. */
bool io_privileged(const struct vcpu *v);
/* The same for one access: by privilege, or by the guest's own I/O bitmap. */
bool io_allowed(struct vcpu *v, u16 port, unsigned size);

/* What the domain was not given reads as ones and swallows writes. */
u32 io_read(struct vcpu *v, u16 port, unsigned size);
void io_write(struct vcpu *v, u16 port, unsigned size, u32 value);

#endif
