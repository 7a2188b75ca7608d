/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Runs a libFuzzer harness without libFuzzer: first the files named on the command line, then random
 * mutations of them and of the harness's own seeds, always the same ones for the same number.
 *
 * Usage: harness [-n MUTATIONS] [FILE...]
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store-fuzz.h"

static uint64_t state = 88172645463325252u;

static uint64_t
random_number(uint64_t limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % limit;
}

static struct fuzz_seed *seeds;
static size_t seed_count;

void
fuzz_add_seed(const void *data, size_t size)
{
    seeds = realloc(seeds, (seed_count + 1) * sizeof(*seeds));
    seeds[seed_count].data = malloc(size + 1);
    memcpy(seeds[seed_count].data, data, size);
    seeds[seed_count++].size = size;
}

static void
add_file(const char *name)
{
    static uint8_t bytes[1 << 20];
    FILE *file = fopen(name, "rb");

    if (!file) {
        perror(name);
        exit(1);
    }
    fuzz_add_seed(bytes, fread(bytes, 1, sizeof(bytes), file));
    fclose(file);
}

static void
mutate_and_run(void)
{
    const struct fuzz_seed *seed = &seeds[random_number(seed_count)];
    uint64_t changes = 1 + random_number(6);
    size_t size = seed->size;
    uint8_t *data = malloc(size + 64);

    memcpy(data, seed->data, size);
    while (changes-- && size) {
        size_t at = random_number(size);

        switch (random_number(6)) {
        case 0:
            data[at] ^= 1 << random_number(8);
            break;
        case 1:
            data[at] = random_number(256);
            break;
        case 2: /* cut */
            size = at;
            break;
        case 3: /* grow by a copy of something */
            if (size < seed->size + 48) {
                size_t length = 1 + random_number(16);

                if (length > size - at)
                    length = size - at;
                memmove(data + at + length, data + at, size - at);
                size += length;
            }
            break;
        case 4: { /* a number that is often interesting */
            static const uint32_t numbers[] = {0, 1, 0x7fffffff, 0xffffffff, 4096, 4097, 65535};
            uint32_t number = numbers[random_number(7)];

            if (size - at >= 4)
                memcpy(data + at, &number, 4);
            break;
        }
        case 5: /* a piece of another seed */
            if (size - at > 8) {
                const struct fuzz_seed *other = &seeds[random_number(seed_count)];

                if (other->size > 8)
                    memcpy(data + at, other->data + random_number(other->size - 8), 8);
            }
            break;
        }
    }
    LLVMFuzzerTestOneInput(data, size);
    free(data);
}

int
main(int argc, char **argv)
{
    unsigned long mutations = 0, i;
    int argument;

    for (argument = 1; argument < argc; argument++) {
        if (!strcmp(argv[argument], "-n") && argument + 1 < argc)
            mutations = strtoul(argv[++argument], NULL, 10);
        else
            add_file(argv[argument]);
    }
    fuzz_seeds();
    for (i = 0; i < seed_count; i++)
        LLVMFuzzerTestOneInput(seeds[i].data, seeds[i].size);
    for (i = 0; i < mutations; i++)
        mutate_and_run();
    printf("%zu seeds and %lu mutations\n", seed_count, mutations);
    for (i = 0; i < seed_count; i++)
        free(seeds[i].data);
    free(seeds);
    return 0;
}
