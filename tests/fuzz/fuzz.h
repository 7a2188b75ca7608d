/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a harness provides to driver.c. */
#ifndef SERAI_TESTS_FUZZ_H
#define SERAI_TESTS_FUZZ_H

#include <glib.h>

/* One input.  It must not crash, leak, or read outside. */
int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

/* A well-formed input to mutate; @n chooses one. */
GByteArray *fuzz_seed(unsigned n);

#endif
