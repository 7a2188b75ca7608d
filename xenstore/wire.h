/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Bytes of requests into their parts and back.  No policy, no state.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xen/io/xs_wire.h>

/* Requests that the protocol text of 4.17 names and its header does not number yet. */
#define XS_GET_FEATURE 23
#define XS_SET_FEATURE 24
#define XS_GET_QUOTA   25
#define XS_SET_QUOTA   26
#define XS_WIRE_COUNT  27

struct payload {
    char *data;
    size_t length;
};

/* Splits the whole payload into NUL-terminated strings; -EINVAL if it ends without one or has too many. */
int wire_strings(const struct payload *payload, char **ret_words, unsigned int limit,
                 unsigned int *ret_count);
/* Takes one NUL-terminated string off the front; NULL if there is none. */
char *wire_take_string(struct payload *payload, size_t *ret_length);
/* Parses a whole decimal number of at most @max. */
bool wire_number(const char *text, uint64_t max, uint64_t *ret_number);
/* The name that goes into an ERROR reply; EINVAL for a number the protocol does not have. */
const char *wire_error(int error);
