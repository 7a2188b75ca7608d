/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the library and the hypervisor can carry for one domain. */
#define XEN_MAX_VCPUS     128
#define XEN_MIN_MEMORY_KB 4096
