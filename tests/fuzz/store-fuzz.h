/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a harness and its driver know of each other.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct fuzz_seed {
    uint8_t *data;
    size_t size;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* The harness adds inputs of its own to begin with. */
void fuzz_seeds(void);
void fuzz_add_seed(const void *data, size_t size);
