/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * disk-verify DEVICE MIB: writes blocks at random places of a disk and reads others back, for ever.  Each
 * block tells its place and which write of that place it was, so that a lost, torn, stale or misplaced write
 * is seen.  Two processes share the disk, one half each.  Every second each says "verify: P N" (process,
 * checks so far); the first block that is not what was written last ends it with "verify: WRONG ...".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096
#define WORDS (BLOCK / sizeof(uint64_t))

static uint64_t random_state;

static uint64_t
next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* What the block at PLACE holds after its write number GENERATION. */
static void
fill(uint64_t *block, uint64_t place, uint64_t generation)
{
    size_t i;

    block[0] = place;
    block[1] = generation;
    for (i = 2; i < WORDS; i++)
        block[i] = (place * WORDS + i) * 0x9e3779b97f4a7c15 + generation;
}

static void
give_up(const char *what, uint64_t place, uint64_t expected, uint64_t found)
{
    printf("verify: WRONG %s at block %llu: expected %#llx, found %#llx\n", what, (unsigned long long)place,
           (unsigned long long)expected, (unsigned long long)found);
    exit(1);
}

static void
check(const uint64_t *block, const uint64_t *expected, uint64_t place)
{
    size_t i;

    for (i = 0; i < WORDS; i++)
        if (block[i] != expected[i])
            give_up(i == 0 ? "place" : i == 1 ? "generation" : "content", place, expected[i], block[i]);
}

static void
work(int fd, int process, uint64_t first, uint64_t count)
{
    uint64_t *block = aligned_alloc(BLOCK, BLOCK), *expected = aligned_alloc(BLOCK, BLOCK);
    uint32_t *generations = calloc(count, sizeof(*generations));
    unsigned long checks = 0;
    time_t said = time(NULL);
    uint64_t place, at;

    random_state = 88172645463325252ull + first;
    for (;;) {
        at = next_random() % count;
        place = first + at;
        fill(block, place, ++generations[at]);
        if (pwrite(fd, block, BLOCK, place * BLOCK) != BLOCK)
            give_up("write", place, 0, errno);

        at = next_random() % count;
        place = first + at;
        if (generations[at]) {
            if (pread(fd, block, BLOCK, place * BLOCK) != BLOCK)
                give_up("read", place, 0, errno);
            fill(expected, place, generations[at]);
            check(block, expected, place);
            checks++;
        }
        if (time(NULL) != said) {
            said = time(NULL);
            printf("verify: %d %lu\n", process, checks);
        }
    }
}

int
main(int argc, char **argv)
{
    uint64_t blocks;
    int fd;

    if (argc != 3) {
        fprintf(stderr, "usage: disk-verify DEVICE MIB\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    /* Not through the page cache: what is read back was on the disk. */
    fd = open(argv[1], O_RDWR | O_DIRECT);
    if (fd < 0) {
        printf("verify: WRONG open: %s\n", strerror(errno));
        return 1;
    }
    blocks = strtoull(argv[2], NULL, 10) << 20 >> 12;
    if (fork())
        work(fd, 0, 0, blocks / 2);
    else
        work(fd, 1, blocks / 2, blocks / 2);
    return 0;
}
