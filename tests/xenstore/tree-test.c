/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The tree against a model that is obviously right: a table from path to value.  Random changes are made to
 * both; now and then a version of the tree is held together with a copy of the model, and at the end
 * every held version must still be what it was.
 */
#include <glib.h>
#include <stdio.h>
#include <string.h>

#include "block.h"
#include "mem.h"
#include "path.h"
#include "tree.h"

struct version {
    struct block *root;
    GHashTable *model;
};

static GHashTable *
model_copy(GHashTable *model)
{
    GHashTable *copy = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    GHashTableIter iter;
    gpointer path, value;

    g_hash_table_iter_init(&iter, model);
    while (g_hash_table_iter_next(&iter, &path, &value))
        g_hash_table_insert(copy, g_strdup(path), g_strdup(value));
    return copy;
}

static void
model_create(GHashTable *model, const char *path, const char *value)
{
    g_autofree char *parent = g_path_get_dirname(path);

    if (!g_hash_table_contains(model, parent))
        model_create(model, parent, "");
    g_hash_table_insert(model, g_strdup(path), g_strdup(value));
}

static void
model_remove(GHashTable *model, const char *path)
{
    GHashTableIter iter;
    gpointer key;
    size_t length = strlen(path);

    g_hash_table_iter_init(&iter, model);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        if (!strncmp(key, path, length) && (!((char *)key)[length] || ((char *)key)[length] == '/'))
            g_hash_table_iter_remove(&iter);
    }
}

static int
compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names of the children of @path in the model, in order, as DIRECTORY lists them. */
static GString *
model_list(GHashTable *model, const char *path)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    GString *list = g_string_new(NULL);
    GHashTableIter iter;
    gpointer key;
    guint i;

    g_hash_table_iter_init(&iter, model);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        g_autofree char *parent = g_path_get_dirname(key);

        if (!strcmp(parent, path) && strcmp(key, "/"))
            g_ptr_array_add(names, g_path_get_basename(key));
    }
    g_ptr_array_sort(names, compare_names);
    for (i = 0; i < names->len; i++)
        g_string_append_len(list, names->pdata[i], strlen(names->pdata[i]) + 1);
    return list;
}

static void
check_siblings(const struct block *block, unsigned int depth)
{
    size_t left, right;
    unsigned int i;

    if (!block)
        return;
    g_assert_cmpuint(depth, <, 60);
    g_assert_cmpuint(block->count, >, 0);
    g_assert_cmpuint(block->count, <=, BLOCK_NODES);
    left = block->left ? block->left->weight : 0;
    right = block->right ? block->right->weight : 0;
    g_assert_cmpuint(block->weight, ==, 1 + left + right);
    g_assert_cmpuint(left + 1, <=, 3 * (right + 1));
    g_assert_cmpuint(right + 1, <=, 3 * (left + 1));
    check_siblings(block->left, depth + 1);
    check_siblings(block->right, depth + 1);
    for (i = 0; i < block->count; i++) {
        struct node node;

        block_node(block, i, &node);
        check_siblings(node.children, 0);
        g_assert_true(node.parent || !node.children);
    }
}

static void
check_equal(const struct block *root, GHashTable *model)
{
    GHashTableIter iter;
    gpointer path, value;

    g_assert_cmpuint(tree_count(root), ==, g_hash_table_size(model));
    check_siblings(root, 0);
    g_hash_table_iter_init(&iter, model);
    while (g_hash_table_iter_next(&iter, &path, &value)) {
        GString *expected = model_list(model, path);
        struct node node;
        char list[8192];
        long length;
        size_t offset;

        g_assert_true(tree_find(root, path, &node));
        g_assert_cmpmem(node.value, node.value_length, value, strlen(value));
        g_assert_cmpuint(node_list_bytes(&node), ==, expected->len);
        length = node_list(&node, 0, list, sizeof(list));
        g_assert_cmpmem(list, length, expected->str, expected->len);
        /* From every start of a name the rest follows; from anywhere else there is an error. */
        for (offset = 1; offset <= expected->len + 1; offset++) {
            length = node_list(&node, offset, list, sizeof(list));
            if (offset <= expected->len && expected->str[offset - 1] == '\0')
                g_assert_cmpmem(list, length, expected->str + offset, expected->len - offset);
            else
                g_assert_cmpint(length, <, 0);
        }
        g_string_free(expected, TRUE);
    }
}

static void
random_path(GRand *rand, char *path)
{
    int levels = g_rand_int_range(rand, 1, 5);

    *path = '\0';
    /* Many at the top, so that there are several blocks of them; few below. */
    path += sprintf(path, "/n%d", g_rand_int_range(rand, 0, 200) / g_rand_int_range(rand, 1, 40));
    while (--levels)
        path += sprintf(path, "/n%d", g_rand_int_range(rand, 0, 9));
}

static void
random_change(GRand *rand, struct block **root, GHashTable *model, uint64_t gen)
{
    char path[256], text[700];
    struct block *removed;
    struct node node;
    int rc;

    random_path(rand, path);
    if (g_rand_int_range(rand, 0, 4) == 0) {
        if (!g_hash_table_contains(model, path))
            return;
        rc = tree_remove(root, path, gen, &removed);
        if (rc == 0) {
            model_remove(model, path);
            tree_put(removed);
        }
        return;
    }
    /* Mostly small, at times so large that a block has room for two. */
    sprintf(text, "%0*u", g_rand_int_range(rand, 0, 20) ? 1 : g_rand_int_range(rand, 100, 600),
            g_rand_int(rand));
    if (g_hash_table_contains(model, path)) {
        rc = tree_set_value(root, path, text, strlen(text), gen);
        if (rc == 0)
            g_hash_table_insert(model, g_strdup(path), g_strdup(text));
    } else {
        tree_root(*root, &node);
        rc = tree_create(root, path, text, strlen(text), node.perms, gen);
        if (rc == 0)
            model_create(model, path, text);
    }
}

static void
run_against_model(guint32 seed, int changes, int failing)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    g_autoptr(GArray) held = g_array_new(FALSE, FALSE, sizeof(struct version));
    struct version now = {tree_new(), g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free)};
    guint i;

    g_hash_table_insert(now.model, g_strdup("/"), g_strdup(""));
    for (int step = 0; step < changes; step++) {
        if (failing)
            mem_fail_after(g_rand_int_range(rand, 0, 2 * failing));
        random_change(rand, &now.root, now.model, step + 2);
        mem_fail_after(-1);
        if (g_rand_int_range(rand, 0, 50) == 0) {
            struct version copy = {tree_ref(now.root), model_copy(now.model)};

            g_array_append_val(held, copy);
        }
    }
    g_array_append_val(held, now);
    for (i = 0; i < held->len; i++) {
        struct version *version = &g_array_index(held, struct version, i);

        if (!failing)
            check_equal(version->root, version->model);
        else
            g_assert_cmpuint(tree_count(version->root), ==, g_hash_table_size(version->model));
    }
    for (i = 0; i < held->len; i++) {
        struct version *version = &g_array_index(held, struct version, i);

        tree_put(version->root);
        g_hash_table_unref(version->model);
    }
}

static void
old_versions_never_change(void)
{
    for (guint32 seed = 1; seed <= 10; seed++)
        run_against_model(seed, 1500, 0);
}

static void
failed_change_leaves_contents(void)
{
    for (guint32 seed = 1; seed <= 10; seed++)
        run_against_model(seed, 1500, 12);
}

static int
create(struct block **root, const char *path, const char *value, uint64_t gen)
{
    struct node node;

    tree_root(*root, &node);
    return tree_create(root, path, value, strlen(value), node.perms, gen);
}

static void
many_siblings_stay_flat(void)
{
    struct block *root = tree_new();
    struct block *removed;
    struct node node;
    char path[32];
    int i;

    for (i = 0; i < 20000; i++) {
        sprintf(path, "/%05d", i);
        g_assert_cmpint(create(&root, path, "", i + 2), ==, 0);
    }
    check_siblings(root, 0);
    tree_root(root, &node);
    /* Names in order fill their blocks. */
    g_assert_cmpuint(node.children->weight, ==, 20000 / BLOCK_NODES);
    for (i = 0; i < 20000; i += 2) {
        sprintf(path, "/%05d", i);
        g_assert_cmpint(tree_remove(&root, path, i + 30000, &removed), ==, 0);
        tree_put(removed);
    }
    check_siblings(root, 0);
    g_assert_cmpuint(tree_count(root), ==, 10001);
    for (i = 1; i < 20000; i += 2) {
        sprintf(path, "/%05d", i);
        g_assert_cmpint(tree_remove(&root, path, i + 60000, &removed), ==, 0);
        tree_put(removed);
    }
    tree_root(root, &node);
    g_assert_null(node.children);
    tree_put(root);
}

/* As many and as large nodes as fit together, in the worst order: each is there, whole. */
static void
largest_values_fit(void)
{
    g_autofree char *value = g_strnfill(4096, 'v'), *name = g_strnfill(1500, 'n');
    struct block *root = tree_new();
    struct node node;
    int i;

    for (i = 0; i < 300; i++) {
        g_autofree char *path = g_strdup_printf("/%s%03d", name, i * 7 % 300);

        g_assert_cmpint(create(&root, path, i % 3 ? value : "", i + 2), ==, 0);
    }
    for (i = 0; i < 300; i++) {
        g_autofree char *path = g_strdup_printf("/%s%03d", name, i);

        g_assert_cmpint(tree_set_value(&root, path, value, 4096 - i, i + 1000), ==, 0);
    }
    for (i = 0; i < 300; i++) {
        g_autofree char *path = g_strdup_printf("/%s%03d", name, i);

        g_assert_true(tree_find(root, path, &node));
        g_assert_cmpmem(node.value, node.value_length, value, 4096 - i);
    }
    check_siblings(root, 0);
    tree_put(root);
}

static void
deepest_path_is_freed(void)
{
    struct block *root = tree_new();
    struct ledger ledger = {0};
    struct block *removed;
    struct node node;
    char path[PATH_BYTES];
    int i;

    for (i = 0; i < PATH_BYTES - 1; i += 2)
        memcpy(path + i, "/a", 3);
    g_assert_true(path_valid(path, strlen(path)));
    g_assert_cmpint(create(&root, path, "", 2), ==, 0);
    g_assert_cmpuint(tree_count(root), ==, 1537);
    tree_root(root, &node);
    g_assert_cmpint(tree_account(&node, 1, &ledger), ==, 0);
    g_assert_cmpint(ledger.entries[0].nodes, ==, 1537);
    ledger_fini(&ledger);
    g_assert_cmpint(tree_remove(&root, "/a", 3, &removed), ==, 0);
    tree_put(removed);
    g_assert_cmpuint(tree_count(root), ==, 1);
    tree_put(root);
}

static void
paths_as_the_protocol_allows(void)
{
    static const struct {
        const char *path;
        bool valid;
    } cases[] = {
        {"/", true},
        {"/a", true},
        {"/a/b-c_d@e", true},
        {"", false},
        {"a", false},
        {"/a/", false},
        {"//", false},
        {"/a//b", false},
        {"/a b", false},
        {"/a\001", false},
        {"/local/domain/0", true},
        {"/\xc3\xa9", false},
        {"/a.b", false},
        {"/a:b", false},
    };
    char path[PATH_BYTES], long_path[PATH_BYTES + 10];
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++)
        g_assert_cmpint(path_valid(cases[i].path, strlen(cases[i].path)), ==, cases[i].valid);
    memset(long_path, 'a', sizeof(long_path));
    long_path[0] = '/';
    g_assert_cmpint(path_resolve(long_path, 3072, 0, path), ==, 0);
    g_assert_cmpint(path_resolve(long_path, 3073, 0, path), <, 0);
    g_assert_cmpint(path_resolve(long_path + 1, 2049, 0, path), <, 0);
    g_assert_cmpint(path_resolve("x/y", 3, 12, path), ==, 0);
    g_assert_cmpstr(path, ==, "/local/domain/12/x/y");
    g_assert_cmpint(path_resolve("/a\0b", 4, 12, path), <, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tree/old-versions-never-change", old_versions_never_change);
    g_test_add_func("/tree/failed-change-leaves-contents", failed_change_leaves_contents);
    g_test_add_func("/tree/many-siblings-stay-flat", many_siblings_stay_flat);
    g_test_add_func("/tree/largest-values-fit", largest_values_fit);
    g_test_add_func("/tree/deepest-path-is-freed", deepest_path_is_freed);
    g_test_add_func("/path/as-the-protocol-allows", paths_as_the_protocol_allows);
    return g_test_run();
}
