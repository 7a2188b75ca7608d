/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Each case of golden.list is one line: what to do, and a file of xml/.
 *
 *   pass NAME   pass-NAME.xml is defined and comes back as pass-NAME.expected, which comes back as itself
 *   fail NAME   fail-NAME.xml is refused with the text in fail-NAME.expected, and nothing is left
 *   xl   NAME   xl-NAME.cfg becomes xl-NAME.expected.xml, and that becomes xl-NAME.expected.cfg, which
 *               becomes the same XML again
 *   native NAME native-NAME.xml becomes native-NAME.expected: the xl.cfg, and as comments what the log said
 *               was lost; network "default" is the one of libvirt's test driver
 *   bad  NAME   bad-NAME.cfg is refused with the text in bad-NAME.expected
 *
 * With SERAI_TEST_WRITE=1 in the environment the expected files are written instead of compared.
 */
#include "fixture.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

/* Of libvirt, though not of its public interface: the connection that networks are looked up by. */
int virSetConnectNetwork(virConnectPtr conn);

static virConnectPtr conn;
static char *log_path;

static void
compare(const char *name, const char *text)
{
    g_autofree char *path = fixture_source(name);
    g_autofree char *plain = fixture_unexpand(text);
    g_autofree char *expected = NULL;

    if (g_getenv("SERAI_TEST_WRITE")) {
        g_assert_true(g_file_set_contents(path, plain, -1, NULL));
        return;
    }
    g_assert_true(g_file_get_contents(path, &expected, NULL, NULL));
    g_assert_cmpstr(plain, ==, expected);
}

/* xml/KIND-NAME.ENDING */
static char *
file_name(const char *kind, const char *name, const char *ending)
{
    return g_strdup_printf("xml/%s-%s.%s", kind, name, ending);
}

static char *
read_input(const char *kind, const char *name, const char *ending)
{
    g_autofree char *input = file_name(kind, name, ending);
    g_autofree char *path = fixture_source(input);

    return fixture_read(path);
}

static void
compare_reason(const char *expected_name)
{
    g_autofree char *reason = g_strconcat(virGetLastErrorMessage(), "\n", NULL);

    virResetLastError();
    compare(expected_name, reason);
}

static char *
define_and_read(const char *xml)
{
    virDomainPtr domain = virDomainDefineXML(conn, xml);
    char *result;

    if (!domain) {
        g_autofree char *reason = fixture_error();

        g_error("not defined: %s", reason);
    }
    result = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE);
    g_assert_nonnull(result);
    g_assert_cmpint(virDomainUndefine(domain), ==, 0);
    virDomainFree(domain);
    return result;
}

static void
pass(gconstpointer data)
{
    const char *name = data;
    g_autofree char *expected_name = file_name("pass", name, "expected");
    g_autofree char *input = read_input("pass", name, "xml");
    g_autofree char *once = define_and_read(input);
    g_autofree char *twice = define_and_read(once);

    compare(expected_name, once);
    g_assert_cmpstr(twice, ==, once);
}

static void
fail(gconstpointer data)
{
    const char *name = data;
    g_autofree char *expected_name = file_name("fail", name, "expected");
    g_autofree char *input = read_input("fail", name, "xml");

    g_assert_null(virDomainDefineXML(conn, input));
    compare_reason(expected_name);
    g_assert_cmpint(virConnectNumOfDefinedDomains(conn), ==, 0);
}

static void
xl(gconstpointer data)
{
    const char *name = data;
    g_autofree char *xml_name = file_name("xl", name, "expected.xml");
    g_autofree char *cfg_name = file_name("xl", name, "expected.cfg");
    g_autofree char *input = read_input("xl", name, "cfg");
    g_autofree char *xml = virConnectDomainXMLFromNative(conn, "xen-xl", input, 0);
    g_autofree char *cfg = NULL;
    g_autofree char *again = NULL;

    if (!xml)
        g_error("%s", virGetLastErrorMessage());
    compare(xml_name, xml);
    cfg = virConnectDomainXMLToNative(conn, "xen-xl", xml, 0);
    if (!cfg)
        g_error("%s", virGetLastErrorMessage());
    compare(cfg_name, cfg);
    again = virConnectDomainXMLFromNative(conn, "xen-xl", cfg, 0);
    g_assert_cmpstr(again, ==, xml);
}

/* The warnings since the last call, as comments. */
static char *
take_warnings(void)
{
    g_autoptr(GString) comments = g_string_new(NULL);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    g_assert_true(g_file_get_contents(log_path, &text, NULL, NULL));
    g_assert_cmpint(truncate(log_path, 0), ==, 0);
    lines = g_strsplit(text, "\n", -1);
    for (gsize i = 0; lines[i]; i++) {
        const char *warning = strstr(lines[i], "domain '");

        if (warning && strstr(warning, " is lost"))
            g_string_append_printf(comments, "# %s\n", warning);
    }
    return g_strdup(comments->str);
}

static void
native(gconstpointer data)
{
    const char *name = data;
    g_autofree char *expected_name = file_name("native", name, "expected");
    g_autofree char *input = read_input("native", name, "xml");
    g_autofree char *warnings = NULL;
    g_autofree char *cfg = NULL;
    g_autofree char *both = NULL;
    virConnectPtr networks = virConnectOpen("test:///default");

    g_assert_nonnull(networks);
    g_assert_cmpint(virSetConnectNetwork(networks), ==, 0);
    g_free(take_warnings());
    cfg = virConnectDomainXMLToNative(conn, "xen-xl", input, 0);
    g_assert_cmpint(virSetConnectNetwork(NULL), ==, 0);
    virConnectClose(networks);
    if (!cfg)
        g_error("%s", virGetLastErrorMessage());
    warnings = take_warnings();
    both = g_strconcat(cfg, warnings, NULL);
    compare(expected_name, both);
}

static void
bad(gconstpointer data)
{
    const char *name = data;
    g_autofree char *expected_name = file_name("bad", name, "expected");
    g_autofree char *input = read_input("bad", name, "cfg");

    g_assert_null(virConnectDomainXMLFromNative(conn, "xen-xl", input, 0));
    compare_reason(expected_name);
}

int
main(int argc, char **argv)
{
    const struct {
        const char *word;
        GTestDataFunc function;
    } kinds[] = {{"pass", pass}, {"fail", fail}, {"xl", xl}, {"native", native}, {"bad", bad}};
    g_autofree char *path = NULL;
    g_autofree char *list = NULL;
    g_autofree char *outputs = NULL;
    g_auto(GStrv) lines = NULL;
    int result;
    size_t i;

    g_assert_cmpint(close(g_file_open_tmp("serai-golden-XXXXXX", &log_path, NULL)), ==, 0);
    outputs = g_strconcat("3:file:", log_path, NULL);
    g_setenv("LIBVIRT_LOG_OUTPUTS", outputs, TRUE);
    conn = fixture_open(&argc, &argv);
    path = fixture_source("golden.list");
    list = fixture_read(path);
    lines = g_strsplit(list, "\n", -1);
    for (i = 0; lines[i]; i++) {
        g_auto(GStrv) words = g_strsplit(lines[i], " ", 2);
        g_autofree char *test = NULL;

        if (!words[0] || !words[1] || lines[i][0] == '#')
            continue;
        g_strstrip(words[1]);
        test = g_strdup_printf("/libvirt/golden/%s-%s", words[0], words[1]);
        for (size_t j = 0; j < G_N_ELEMENTS(kinds); j++) {
            if (g_str_equal(words[0], kinds[j].word))
                g_test_add_data_func_full(test, g_strdup(words[1]), kinds[j].function, g_free);
        }
    }
    result = g_test_run();
    fixture_close();
    g_unlink(log_path);
    g_free(log_path);
    return result;
}
