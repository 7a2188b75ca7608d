/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns no state.  Every pointer returned points into the payload it was given.
 */
#include <errno.h>
#include <string.h>

#include "wire.h"

_Static_assert(XS_DIRECTORY_PART == 22, "xs_wire.h: DIRECTORY_PART is the last request numbered there");

int
wire_strings(const struct payload *payload, char **ret_words, unsigned int limit, unsigned int *ret_count)
{
    struct payload rest = *payload;
    unsigned int count = 0;
    size_t length;

    while (rest.length) {
        char *word = count < limit ? wire_take_string(&rest, &length) : NULL;

        if (!word)
            return -EINVAL;
        ret_words[count++] = word;
    }
    *ret_count = count;
    return 0;
}

char *
wire_take_string(struct payload *payload, size_t *ret_length)
{
    char *string = payload->data;
    char *end = payload->length ? memchr(string, '\0', payload->length) : NULL;

    if (!end)
        return NULL;
    *ret_length = end - string;
    payload->length -= *ret_length + 1;
    payload->data = end + 1;
    return string;
}

bool
wire_number(const char *text, uint64_t max, uint64_t *ret_number)
{
    uint64_t number = 0;

    if (!*text)
        return false;
    for (; *text; text++) {
        unsigned int digit = *text - '0';

        if (digit > 9 || number > (max - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *ret_number = number;
    return number <= max;
}

const char *
wire_error(int error)
{
    size_t i;

    for (i = 0; i < sizeof(xsd_errors) / sizeof(xsd_errors[0]); i++) {
        if (xsd_errors[i].errnum == error)
            return xsd_errors[i].errstring;
    }
    return "EINVAL";
}
