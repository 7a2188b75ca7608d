/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs a harness without a fuzzing engine: on the files given, or on random mutations of its seeds.  A
 * harness also works as it is with libFuzzer (clang -fsanitize=fuzzer), which brings its own main().
 *
 *   NAME-fuzz [--rounds=N] [--seed=N] [FILE...]
 */
#include "fuzz.h"

#include <glib.h>
#include <string.h>

static void
run(const guint8 *data, size_t size)
{
    guint8 *exact = g_memdup2(data, size); /* the sanitizer sees the end */

    LLVMFuzzerTestOneInput(exact, size);
    g_free(exact);
}

static void
mutate(GByteArray *input, GRand *rand)
{
    static const guint32 edges[] = {0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff};
    guint32 at, value;

    if (!input->len)
        g_byte_array_append(input, (const guint8 *)"\0", 1);
    /* Headers are where the meaning is. */
    at = g_rand_int_range(rand, 0, g_rand_boolean(rand) ? MIN(input->len, 0x400) : input->len);
    switch (g_rand_int_range(rand, 0, 6)) {
    case 0:
        input->data[at] ^= 1 << g_rand_int_range(rand, 0, 8);
        break;
    case 1:
        input->data[at] = g_rand_int(rand);
        break;
    case 2:
        value = edges[g_rand_int_range(rand, 0, G_N_ELEMENTS(edges))];
        memcpy(input->data + at, &value, MIN(4, input->len - at));
        break;
    case 3:
        g_byte_array_set_size(input, at);
        break;
    case 4:
        value = g_rand_int_range(rand, 1, 9);
        g_byte_array_remove_range(input, at, MIN(input->len - at, value));
        break;
    case 5:
        memmove(input->data + at, input->data + at / 2, MIN(16, input->len - at));
        break;
    }
}

int
main(int argc, char **argv)
{
    gint rounds = 20000, seed = 1;
    g_auto(GStrv) files = NULL;
    GOptionEntry entries[] = {
        {"rounds", 0, 0, G_OPTION_ARG_INT, &rounds, "mutations to try", "N"},
        {"seed", 0, 0, G_OPTION_ARG_INT, &seed, "of the random numbers", "N"},
        {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &files, "inputs to run instead", "FILE..."},
        G_OPTION_ENTRY_NULL,
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(GRand) rand = NULL;

    g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error))
        g_error("%s", error->message);

    for (guint i = 0; files && files[i]; i++) {
        g_autofree char *data = NULL;
        gsize size;

        if (!g_file_get_contents(files[i], &data, &size, &error))
            g_error("%s", error->message);
        run((guint8 *)data, size);
    }
    if (files)
        return 0;

    rand = g_rand_new_with_seed(seed);
    for (gint round = 0; round < rounds; round++) {
        g_autoptr(GByteArray) input = fuzz_seed(round);
        guint mutations = g_rand_int_range(rand, 0, 6);

        while (mutations--)
            mutate(input, rand);
        run(input->data, input->len);
    }
    return 0;
}
