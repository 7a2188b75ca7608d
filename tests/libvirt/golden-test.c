/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Each case of golden.list is one line: what to do, and a file of xml/.
 *
 *   pass NAME   pass-NAME.xml is defined and comes back as pass-NAME.expected, which comes back as itself
 *   fail NAME   fail-NAME.xml is refused with the text in fail-NAME.expected, and nothing is left
 *   xl   NAME   xl-NAME.cfg becomes xl-NAME.expected.xml, and that becomes xl-NAME.expected.cfg, which
 *               becomes the same XML again
 *
 * With SERAI_TEST_WRITE=1 in the environment the expected files are written instead of compared.
 */
#include "fixture.h"

#include <string.h>

static virConnectPtr conn;

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
    g_autofree char *input_name = g_strdup_printf("xml/pass-%s.xml", name);
    g_autofree char *expected_name = g_strdup_printf("xml/pass-%s.expected", name);
    g_autofree char *path = fixture_source(input_name);
    g_autofree char *input = fixture_read(path);
    g_autofree char *once = define_and_read(input);
    g_autofree char *twice = define_and_read(once);

    compare(expected_name, once);
    g_assert_cmpstr(twice, ==, once);
}

static void
fail(gconstpointer data)
{
    const char *name = data;
    g_autofree char *input_name = g_strdup_printf("xml/fail-%s.xml", name);
    g_autofree char *expected_name = g_strdup_printf("xml/fail-%s.expected", name);
    g_autofree char *path = fixture_source(input_name);
    g_autofree char *input = fixture_read(path);
    g_autofree char *reason = NULL;

    g_assert_null(virDomainDefineXML(conn, input));
    reason = g_strconcat(virGetLastErrorMessage(), "\n", NULL);
    virResetLastError();
    compare(expected_name, reason);
    g_assert_cmpint(virConnectNumOfDefinedDomains(conn), ==, 0);
}

static void
xl(gconstpointer data)
{
    const char *name = data;
    g_autofree char *input_name = g_strdup_printf("xml/xl-%s.cfg", name);
    g_autofree char *xml_name = g_strdup_printf("xml/xl-%s.expected.xml", name);
    g_autofree char *cfg_name = g_strdup_printf("xml/xl-%s.expected.cfg", name);
    g_autofree char *path = fixture_source(input_name);
    g_autofree char *input = fixture_read(path);
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

int
main(int argc, char **argv)
{
    g_autofree char *path = NULL;
    g_autofree char *list = NULL;
    g_auto(GStrv) lines = NULL;
    int result;
    size_t i;

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
        g_test_add_data_func_full(test, g_strdup(words[1]),
                                  g_str_equal(words[0], "pass")   ? pass
                                  : g_str_equal(words[0], "fail") ? fail
                                                                  : xl,
                                  g_free);
    }
    result = g_test_run();
    fixture_close();
    return result;
}
