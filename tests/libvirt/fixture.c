/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fixture.h"

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

static virConnectPtr connection;
static char *root;
static GThread *loop;
static gint stopping;

static void
quiet(void *opaque, virErrorPtr error)
{
    (void)opaque;
    (void)error;
}

static gpointer
run_events(gpointer data)
{
    (void)data;
    while (!g_atomic_int_get(&stopping))
        virEventRunDefaultImpl();
    return NULL;
}

static void
tick(int timer, void *opaque)
{
    (void)timer;
    (void)opaque;
}

virConnectPtr
fixture_open(int *argc, char ***argv)
{
    g_autofree char *uri = NULL;
    g_autofree char *settings = NULL;
    const char *keep = g_getenv("SERAI_TEST_ROOT");

    g_test_init(argc, argv, NULL);
    virSetErrorFunc(NULL, quiet);

    root = keep ? g_strdup(keep) : g_dir_make_tmp("serai-driver-XXXXXX", NULL);
    g_mkdir_with_parents(root, 0700);
    settings = g_strdup_printf("%s/libxl.conf", root);
    g_assert_true(
        g_file_set_contents(settings, "hypervisor = \"fake\"\nstdio_handler = \"file\"\n", -1, NULL));

    g_assert_cmpint(virEventRegisterDefaultImpl(), ==, 0);
    /* Wakes the loop, so that it sees the end of the test. */
    g_assert_cmpint(virEventAddTimeout(50, tick, NULL, NULL), >, 0);
    loop = g_thread_new("events", run_events, NULL);

    uri = g_strdup_printf("xen:///embed?root=%s", root);
    connection = virConnectOpen(uri);
    if (!connection) {
        virErrorPtr error = virGetLastError();

        g_error("%s does not open: %s", uri, error ? error->message : "no reason");
    }
    return connection;
}

static void
remove_tree(const char *path)
{
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    const char *name;

    while (directory && (name = g_dir_read_name(directory))) {
        g_autofree char *child = g_build_filename(path, name, NULL);

        if (g_file_test(child, G_FILE_TEST_IS_DIR) && !g_file_test(child, G_FILE_TEST_IS_SYMLINK))
            remove_tree(child);
        else
            g_unlink(child);
    }
    g_rmdir(path);
}

void
fixture_close(void)
{
    virConnectClose(connection);
    g_atomic_int_set(&stopping, 1);
    g_thread_join(loop);
    if (!g_getenv("SERAI_TEST_ROOT"))
        remove_tree(root);
    g_free(root);
}

const char *
fixture_root(void)
{
    return root;
}

char *
fixture_source(const char *name)
{
    return g_build_filename(g_getenv("SERAI_TEST_SOURCE"), name, NULL);
}

const char *
fixture_kernel(void)
{
    return g_getenv("SERAI_TEST_KERNEL");
}

static char *
replace(const char *text, const char *from, const char *to)
{
    g_auto(GStrv) parts = g_strsplit(text, from, -1);

    return g_strjoinv(to, parts);
}

char *
fixture_read(const char *path)
{
    g_autofree char *text = NULL;
    g_autofree char *half = NULL;
    g_autoptr(GError) error = NULL;

    if (!g_file_get_contents(path, &text, NULL, &error))
        g_error("%s", error->message);
    half = replace(text, "@KERNEL@", fixture_kernel());
    return replace(half, "@ROOT@", root);
}

char *
fixture_unexpand(const char *text)
{
    g_autofree char *half = replace(text, fixture_kernel(), "@KERNEL@");

    return replace(half, root, "@ROOT@");
}

char *
fixture_error(void)
{
    virErrorPtr error = virGetLastError();
    char *text = g_strdup(error && error->message ? error->message : "no error");

    virResetLastError();
    return text;
}

void
fixture_expect_failure(const char *part)
{
    g_autofree char *reason = fixture_error();

    if (!strstr(reason, part))
        g_error("the reason '%s' does not say '%s'", reason, part);
}

char *
fixture_domain_xml(const char *name, const char *devices)
{
    return g_strdup_printf("<domain type='xen'>"
                           "<name>%s</name>"
                           "<memory unit='MiB'>64</memory>"
                           "<vcpu current='2'>4</vcpu>"
                           "<os><type>linux</type><kernel>%s</kernel><cmdline>console=hvc0</cmdline></os>"
                           "<devices>%s</devices>"
                           "</domain>",
                           name, fixture_kernel(), devices ? devices : "");
}

virDomainPtr
fixture_define(virConnectPtr conn, const char *name, const char *devices)
{
    g_autofree char *xml = fixture_domain_xml(name, devices);
    virDomainPtr domain = virDomainDefineXML(conn, xml);

    if (!domain)
        g_error("%s", virGetLastErrorMessage());
    return domain;
}

void
fixture_undefine(virDomainPtr domain)
{
    if (virDomainIsActive(domain) == 1)
        CHECK(virDomainDestroy(domain));
    CHECK(virDomainUndefine(domain));
    virDomainFree(domain);
}
