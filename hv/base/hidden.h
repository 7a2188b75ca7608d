/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Included before everything: no symbol leaves the image, so nothing needs a global offset table. */
#ifndef __ASSEMBLER__
#pragma GCC visibility push(hidden)
#endif
