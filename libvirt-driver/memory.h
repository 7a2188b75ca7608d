/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "domain.h"

/* Tells the hypervisor the <hard_limit> of a domain that was just made, if it has one.  -1 with an error. */
int xenMemoryApplyLimit(virDomainObj *vm);
