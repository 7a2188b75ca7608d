/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SERAI_DOMAIN_PRIVATE_H
#define SERAI_DOMAIN_PRIVATE_H

#include "private/host.h"

/* What the hypervisor says; fails when the domain is gone or its number is another's. */
gboolean serai_domain_raw_info(SeraiDomain *domain, xen_domctl_getdomaininfo_t *ret_info, GError **error);
/* Writes a request for the guest: "poweroff", "reboot", "suspend". */
gboolean serai_domain_ask(SeraiDomain *domain, const char *request, GError **error);

#endif
