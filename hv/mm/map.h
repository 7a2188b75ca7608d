/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Short-lived windows onto frames.  Memory in the direct map costs nothing; frames beyond it get a slot in
 * the CPU's window.  A mapping is used and dropped on the same CPU, in stack order.
 */
#ifndef SERAI_MM_MAP_H
#define SERAI_MM_MAP_H

#include "base/addr.h"

void *map_frame(mfn_t mfn);
void unmap_frame(const void *ptr);

#endif
