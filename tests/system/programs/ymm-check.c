/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ymm-check SEED: holds known values in all sixteen YMM registers while the CPU is taken away by others, and
 * looks whether they are still there.  Every second it says "ymm: SEED N" (checks so far); the first damage
 * ends it with "ymm: WRONG ...".  The seed keeps the values of two such programs apart.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REGISTERS 16
#define WORDS     (REGISTERS * 4)
#define SPINS     "20000"

/* Loads all registers from VALUES, spins long enough to be interrupted now and then, and stores them to
 * FOUND. */
static void
hold(const uint64_t *values, uint64_t *found)
{
#define LOAD(n)  "vmovdqu " #n "*32(%0), %%ymm" #n "\n\t"
#define STORE(n) "vmovdqu %%ymm" #n ", " #n "*32(%1)\n\t"
#define ALL(x)   x(0) x(1) x(2) x(3) x(4) x(5) x(6) x(7) x(8) x(9) x(10) x(11) x(12) x(13) x(14) x(15)
    __asm__ volatile(ALL(LOAD) "mov $" SPINS ", %%ecx\n"
                               "1:\tdec %%ecx\n\t"
                               "jnz 1b\n\t" ALL(STORE)
                     :
                     : "r"(values), "r"(found)
                     : "memory", "rcx", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

int
main(int argc, char **argv)
{
    uint64_t values[WORDS], found[WORDS], seed;
    unsigned long checks = 0;
    time_t said = time(NULL);
    unsigned int i;

    if (argc != 2) {
        fprintf(stderr, "usage: ymm-check SEED\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!__builtin_cpu_supports("avx")) {
        printf("ymm: no AVX here\n");
        return 77;
    }
    seed = strtoull(argv[1], NULL, 10);
    for (;;) {
        for (i = 0; i < WORDS; i++)
            values[i] = (seed << 56) ^ (checks * WORDS + i) * 0x9e3779b97f4a7c15;
        memset(found, 0, sizeof(found));
        hold(values, found);
        for (i = 0; i < WORDS; i++)
            if (found[i] != values[i]) {
                printf("ymm: WRONG seed %llu, check %lu, register %u: expected %#llx, found %#llx\n",
                       (unsigned long long)seed, checks, i / 4, (unsigned long long)values[i],
                       (unsigned long long)found[i]);
                return 1;
            }
        checks++;
        if (time(NULL) != said) {
            said = time(NULL);
            printf("ymm: %llu %lu\n", (unsigned long long)seed, checks);
        }
    }
}
