/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is asked about a domain and its node, and what is set besides vCPUs and the balloon: limits, NUMA
 * nodes.
 */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static virConnectPtr conn;

/* --- memory --------------------------------------------------------------------------------------------- */

static int
set_limit(virDomainPtr domain, unsigned long long kib, unsigned int flags)
{
    virTypedParameter p = {.field = VIR_DOMAIN_MEMORY_HARD_LIMIT, .type = VIR_TYPED_PARAM_ULLONG};

    p.value.ul = kib;
    return virDomainSetMemoryParameters(domain, &p, 1, flags);
}

static unsigned long long
get_limit(virDomainPtr domain, unsigned int flags)
{
    virTypedParameter p[3];
    int count = 0;

    CHECK(virDomainGetMemoryParameters(domain, NULL, &count, flags));
    g_assert_cmpint(count, ==, 1);
    count = G_N_ELEMENTS(p);
    CHECK(virDomainGetMemoryParameters(domain, p, &count, flags));
    g_assert_cmpint(count, ==, 1);
    g_assert_cmpstr(p[0].field, ==, VIR_DOMAIN_MEMORY_HARD_LIMIT);
    return p[0].value.ul;
}

static void
a_limit_below_the_memory_holds(void)
{
    virTypedParameter soft = {.field = VIR_DOMAIN_MEMORY_SOFT_LIMIT, .type = VIR_TYPED_PARAM_ULLONG};
    virDomainPtr domain = fixture_define(conn, "limit", NULL);
    g_autofree char *xml = NULL;

    g_assert_cmpuint(get_limit(domain, VIR_DOMAIN_AFFECT_CONFIG), ==, VIR_DOMAIN_MEMORY_PARAM_UNLIMITED);
    CHECK(virDomainSetMemoryFlags(domain, 32 * 1024, VIR_DOMAIN_AFFECT_CONFIG));
    CHECK(set_limit(domain, 48 * 1024, VIR_DOMAIN_AFFECT_CONFIG));
    CHECK(virDomainCreate(domain));
    g_assert_cmpuint(get_limit(domain, VIR_DOMAIN_AFFECT_LIVE), ==, 48 * 1024);

    /* The balloon reaches it and no further; it cannot go below what the domain has. */
    CHECK(virDomainSetMemoryFlags(domain, 48 * 1024, VIR_DOMAIN_AFFECT_LIVE));
    g_assert_cmpint(virDomainSetMemoryFlags(domain, 49 * 1024, VIR_DOMAIN_AFFECT_LIVE), <, 0);
    fixture_expect_failure("49152 KiB at most");
    g_assert_cmpint(set_limit(domain, 20 * 1024, VIR_DOMAIN_AFFECT_LIVE), <, 0);
    fixture_expect_failure("hard_limit of domain 'limit'");
    g_assert_cmpint(set_limit(domain, 20 * 1024, VIR_DOMAIN_AFFECT_CONFIG), <, 0);
    fixture_expect_failure("hard_limit of domain 'limit'");

    CHECK(set_limit(domain, VIR_DOMAIN_MEMORY_PARAM_UNLIMITED,
                    VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG));
    g_assert_cmpuint(get_limit(domain, VIR_DOMAIN_AFFECT_LIVE), ==, 64 * 1024);
    CHECK(virDomainSetMemoryFlags(domain, 64 * 1024, VIR_DOMAIN_AFFECT_LIVE));
    xml = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE);
    g_assert_null(strstr(xml, "memtune"));

    soft.value.ul = 40 * 1024;
    g_assert_cmpint(virDomainSetMemoryParameters(domain, &soft, 1, VIR_DOMAIN_AFFECT_LIVE), <, 0);
    fixture_expect_failure("soft_limit");
    fixture_undefine(domain);
}

static void
a_limit_is_kept_by_a_guest_that_reboots(void)
{
    virDomainPtr domain = fixture_define(conn, "limit-reboot", NULL);

    CHECK(virDomainSetMemoryFlags(domain, 32 * 1024, VIR_DOMAIN_AFFECT_CONFIG));
    CHECK(virDomainCreate(domain));
    CHECK(set_limit(domain, 40 * 1024, VIR_DOMAIN_AFFECT_LIVE));
    CHECK(virDomainReset(domain, 0));
    g_assert_cmpuint(get_limit(domain, VIR_DOMAIN_AFFECT_LIVE), ==, 40 * 1024);
    CHECK(virDomainDestroy(domain));
    g_assert_cmpuint(get_limit(domain, VIR_DOMAIN_AFFECT_CONFIG), ==, VIR_DOMAIN_MEMORY_PARAM_UNLIMITED);
    fixture_undefine(domain);
}

static void
domain_0_has_no_limit_to_set(void)
{
    virDomainPtr host = virDomainLookupByName(conn, "Domain-0");

    g_assert_cmpuint(get_limit(host, VIR_DOMAIN_AFFECT_LIVE), ==, VIR_DOMAIN_MEMORY_PARAM_UNLIMITED);
    g_assert_cmpint(set_limit(host, 1024 * 1024, VIR_DOMAIN_AFFECT_LIVE), <, 0);
    fixture_expect_failure("Domain-0");
    virDomainFree(host);
}

static void
memory_is_read_as_the_guest_sees_it(void)
{
    g_autofree char *large = g_malloc(5 * 1024 * 1024);
    g_autofree char *elf = NULL;
    char bytes[64];
    virDomainPtr domain = fixture_define(conn, "peek", NULL);
    gsize size;

    g_assert_cmpint(virDomainMemoryPeek(domain, 0, 1, bytes, VIR_MEMORY_VIRTUAL), <, 0);
    fixture_expect_failure("'peek' is not running");
    CHECK(virDomainCreate(domain));

    /* The ELF header of the kernel lies at its base, as its first segment begins with it. */
    CHECK(virDomainMemoryPeek(domain, 0xffffffff81000000, 64, bytes, VIR_MEMORY_VIRTUAL));
    g_assert_true(g_file_get_contents(fixture_kernel(), &elf, &size, NULL));
    g_assert_cmpmem(bytes, 64, elf, 64);
    g_assert_cmpint(virDomainMemoryPeek(domain, 0, 1, bytes, VIR_MEMORY_VIRTUAL), <, 0);
    fixture_expect_failure("0x0");

    /* A pretend guest does not tell where its memory lies; tests/libxl has one that did. */
    g_assert_cmpint(virDomainMemoryPeek(domain, 0, 1, bytes, 0), <, 0);
    fixture_expect_failure("'peek' is read by virtual or by physical");
    g_assert_cmpint(virDomainMemoryPeek(domain, 0, 1, bytes, VIR_MEMORY_PHYSICAL), <, 0);
    fixture_expect_failure("has not told yet");
    g_assert_cmpint(virDomainMemoryPeek(domain, 0, 5 * 1024 * 1024, large, VIR_MEMORY_PHYSICAL), <, 0);
    fixture_expect_failure("at once");
    fixture_undefine(domain);
}

static void
nodes_are_chosen_in_the_definition(void)
{
    virDomainPtr domain = fixture_define(conn, "numa", NULL);
    virTypedParameterPtr params = NULL;
    int count = 0;
    int max = 0;
    g_autofree char *xml = NULL;

    CHECK(virTypedParamsAddString(&params, &count, &max, VIR_DOMAIN_NUMA_NODESET, "0"));
    CHECK(
        virTypedParamsAddInt(&params, &count, &max, VIR_DOMAIN_NUMA_MODE, VIR_DOMAIN_NUMATUNE_MEM_PREFERRED));
    CHECK(virDomainSetNumaParameters(domain, params, count, VIR_DOMAIN_AFFECT_CONFIG));
    xml = virDomainGetXMLDesc(domain, 0);
    g_assert_nonnull(strstr(xml, "<memory mode='preferred' nodeset='0'/>"));
    CHECK(virDomainCreate(domain));
    CHECK(virDomainSetNumaParameters(domain, params, count, VIR_DOMAIN_AFFECT_LIVE));

    params[1].value.i = VIR_DOMAIN_NUMATUNE_MEM_STRICT;
    g_assert_cmpint(virDomainSetNumaParameters(domain, params, count, VIR_DOMAIN_AFFECT_LIVE), <, 0);
    fixture_expect_failure("NUMA mode of domain 'numa'");
    params[1].value.i = 77;
    g_assert_cmpint(virDomainSetNumaParameters(domain, params, count, VIR_DOMAIN_AFFECT_CONFIG), <, 0);
    fixture_expect_failure("77");
    free(params[0].value.s);
    params[0].value.s = strdup("3");
    g_assert_cmpint(virDomainSetNumaParameters(domain, params, 1, VIR_DOMAIN_AFFECT_CONFIG), <, 0);
    fixture_expect_failure("no NUMA node 3");
    virTypedParamsFree(params, count);
    fixture_undefine(domain);
}

/* On a pretend machine nothing is limited; that it is, the system tests see. */
static void
io_of_the_domain_is_tuned(void)
{
    virDomainPtr domain = fixture_define(conn, "blkio", NULL);
    virTypedParameterPtr params = NULL;
    virTypedParameter got[6];
    int count = 0;
    int max = 0;
    int asked = 0;
    g_autofree char *xml = NULL;

    CHECK(virTypedParamsAddUInt(&params, &count, &max, VIR_DOMAIN_BLKIO_WEIGHT, 300));
    CHECK(virTypedParamsAddString(&params, &count, &max, VIR_DOMAIN_BLKIO_DEVICE_WRITE_BPS,
                                  "/dev/vda,1048576,/dev/vdb,4096"));
    CHECK(virDomainSetBlkioParameters(domain, params, count, VIR_DOMAIN_AFFECT_CONFIG));
    xml = virDomainGetXMLDesc(domain, 0);
    g_assert_nonnull(strstr(xml, "<weight>300</weight>"));
    g_assert_nonnull(strstr(xml, "<write_bytes_sec>1048576</write_bytes_sec>"));

    CHECK(virDomainCreate(domain));
    params[0].value.ui = 500;
    CHECK(virDomainSetBlkioParameters(domain, params, 1, VIR_DOMAIN_AFFECT_LIVE));
    CHECK(virDomainGetBlkioParameters(domain, NULL, &asked, 0));
    g_assert_cmpint(asked, ==, 6);
    CHECK(virDomainGetBlkioParameters(domain, got, &asked, VIR_DOMAIN_AFFECT_LIVE));
    g_assert_cmpint(asked, ==, 6);
    g_assert_cmpstr(got[0].field, ==, VIR_DOMAIN_BLKIO_WEIGHT);
    g_assert_cmpuint(got[0].value.ui, ==, 500);
    g_assert_cmpstr(got[5].field, ==, VIR_DOMAIN_BLKIO_DEVICE_WRITE_BPS);
    g_assert_cmpstr(got[5].value.s, ==, "/dev/vda,1048576,/dev/vdb,4096");
    virTypedParamsClear(got, asked);
    asked = 1;
    CHECK(virDomainGetBlkioParameters(domain, got, &asked, VIR_DOMAIN_AFFECT_CONFIG));
    g_assert_cmpint(asked, ==, 1);
    g_assert_cmpuint(got[0].value.ui, ==, 300);

    /* All of it or nothing. */
    params[0].value.ui = 700;
    params[1].value.s[8] = '\0';
    g_assert_cmpint(virDomainSetBlkioParameters(domain, params, count, VIR_DOMAIN_AFFECT_LIVE), <, 0);
    fixture_expect_failure("/dev/vda");
    CHECK(virDomainGetBlkioParameters(domain, got, &asked, VIR_DOMAIN_AFFECT_LIVE));
    g_assert_cmpuint(got[0].value.ui, ==, 500);
    virTypedParamsFree(params, count);
    fixture_undefine(domain);
}

/* As virsh cpu-stats asks: how many, what of each, then each and all together. */
static void
the_time_of_each_vcpu_is_told(void)
{
    virDomainPtr domain = fixture_define(conn, "cpu-stats", NULL);
    virTypedParameter p[2 * 4];

    g_assert_cmpint(virDomainGetCPUStats(domain, NULL, 0, 0, 0, 0), <, 0);
    fixture_expect_failure("'cpu-stats' is not running");
    CHECK(virDomainCreate(domain));
    g_assert_cmpint(virDomainGetCPUStats(domain, NULL, 0, 0, 0, 0), ==, 4);
    g_assert_cmpint(virDomainGetCPUStats(domain, NULL, 0, 0, 1, 0), ==, 1);
    memset(p, 0xff, sizeof(p));
    g_assert_cmpint(virDomainGetCPUStats(domain, p, 2, 1, 4, 0), ==, 1);
    for (int i = 0; i < 3; i++) {
        g_assert_cmpstr(p[2 * i].field, ==, VIR_DOMAIN_CPU_STATS_CPUTIME);
        g_assert_cmpint(p[2 * i].type, ==, VIR_TYPED_PARAM_ULLONG);
    }
    /* There is no fifth one. */
    g_assert_cmpint(p[2 * 3].type, ==, 0);
    g_assert_cmpint(virDomainGetCPUStats(domain, NULL, 0, -1, 1, 0), ==, 1);
    g_assert_cmpint(virDomainGetCPUStats(domain, p, 1, -1, 1, 0), ==, 1);
    g_assert_cmpstr(p[0].field, ==, VIR_DOMAIN_CPU_STATS_CPUTIME);
    g_assert_cmpint(virDomainGetCPUStats(domain, p, 1, 4, 1, 0), <, 0);
    fixture_expect_failure("'cpu-stats' has no vCPU 4");
    fixture_undefine(domain);
}

/* --- disks ---------------------------------------------------------------------------------------------- */

static void
bytes_of_a_disk_are_read(void)
{
    g_autofree char *image = g_build_filename(fixture_root(), "peek.img", NULL);
    g_autofree char *packed = g_build_filename(fixture_root(), "peek.qcow2", NULL);
    g_autofree char *devices = g_strdup_printf(
        "<disk type='file'><driver name='qemu' type='raw'/><source file='%s'/><target dev='xvda' "
        "bus='xen'/></disk>"
        "<disk type='file'><driver name='qemu' type='qcow2'/><source file='%s'/><target dev='xvdb' "
        "bus='xen'/></disk>"
        "<disk type='file' device='cdrom'><target dev='xvdc' bus='xen'/></disk>",
        image, packed);
    virDomainPtr domain;
    char bytes[16];

    g_assert_true(g_file_set_contents(image, "0123456789abcdef", 16, NULL));
    domain = fixture_define(conn, "disk-peek", devices);
    CHECK(virDomainBlockPeek(domain, "xvda", 4, 6, bytes, 0));
    g_assert_cmpmem(bytes, 6, "456789", 6);
    CHECK(virDomainBlockPeek(domain, image, 10, 6, bytes, 0));
    g_assert_cmpmem(bytes, 6, "abcdef", 6);
    g_assert_cmpint(virDomainBlockPeek(domain, "xvda", 12, 6, bytes, 0), <, 0);
    fixture_expect_failure("'xvda' has 4 bytes from byte 12 on");
    g_assert_cmpint(virDomainBlockPeek(domain, "xvda", ~0ULL, 6, bytes, 0), <, 0);
    fixture_expect_failure("xvda");
    g_assert_cmpint(virDomainBlockPeek(domain, "xvdb", 0, 6, bytes, 0), <, 0);
    fixture_expect_failure("not a local raw one");
    g_assert_cmpint(virDomainBlockPeek(domain, "xvdc", 0, 6, bytes, 0), <, 0);
    fixture_expect_failure("is empty");
    g_assert_cmpint(virDomainBlockPeek(domain, "/etc/passwd", 0, 6, bytes, 0), <, 0);
    fixture_expect_failure("/etc/passwd");
    fixture_undefine(domain);
}

static void
disks_that_are_served_have_no_error(void)
{
    g_autofree char *image = g_build_filename(fixture_root(), "served.img", NULL);
    g_autofree char *devices = g_strdup_printf(
        "<disk type='file'><driver name='qemu' type='raw'/><source file='%s'/><target dev='xvda' "
        "bus='xen'/></disk>"
        "<disk type='file' device='cdrom'><target dev='xvdc' bus='xen'/></disk>",
        image);
    virDomainDiskError errors[4];
    virDomainPtr domain;

    g_assert_true(g_file_set_contents(image, "x", 1, NULL));
    domain = fixture_define(conn, "served", devices);
    g_assert_cmpint(virDomainGetDiskErrors(domain, errors, 4, 0), <, 0);
    fixture_expect_failure("'served' is not running");
    CHECK(virDomainCreate(domain));
    g_assert_cmpint(virDomainGetDiskErrors(domain, NULL, 0, 0), ==, 2);
    g_assert_cmpint(virDomainGetDiskErrors(domain, errors, 4, 0), ==, 0);
    fixture_undefine(domain);
}

/* --- names, and the node -------------------------------------------------------------------------------- */

static void
a_guest_that_told_no_name_has_none(void)
{
    virDomainPtr domain =
        fixture_define(conn, "name",
                       "<interface type='bridge'><mac address='00:16:3e:00:00:51'/><source bridge='br0'/>"
                       "</interface>");

    g_assert_null(virDomainGetHostname(domain, 0));
    fixture_expect_failure("'name' is not running");
    CHECK(virDomainCreate(domain));
    g_assert_null(virDomainGetHostname(domain, VIR_DOMAIN_GET_HOSTNAME_AGENT));
    fixture_expect_failure("has not told its name");
    g_assert_null(virDomainGetHostname(domain, VIR_DOMAIN_GET_HOSTNAME_LEASE));
    fixture_expect_failure("domain 'name' has no lease");
    g_assert_null(virDomainGetHostname(domain, 0));
    fixture_expect_failure("domain 'name' has no lease");
    fixture_undefine(domain);
}

static void
free_pages_are_the_hypervisor_s(void)
{
    unsigned long long counts[4] = {0};
    unsigned int small = 4;
    unsigned int large = 2048;
    g_autofree char *capabilities = virConnectGetCapabilities(conn);

    /* Where virsh finds which sizes to ask for. */
    g_assert_nonnull(strstr(capabilities, "<pages unit='KiB' size='4'/>"));
    g_assert_nonnull(strstr(capabilities, "<pages unit='KiB' size='4'>4194304</pages>"));

    g_assert_cmpint(virNodeGetFreePages(conn, 1, &small, 0, 4, counts, 0), ==, 1);
    g_assert_cmpuint(counts[0], ==, virNodeGetFreeMemory(conn) / 4096);
    g_assert_cmpint(virNodeGetFreePages(conn, 1, &small, -1, 1, counts, 0), ==, 1);
    g_assert_cmpuint(counts[0], ==, virNodeGetFreeMemory(conn) / 4096);
    g_assert_cmpint(virNodeGetFreePages(conn, 1, &large, 0, 1, counts, 0), <, 0);
    fixture_expect_failure("2048 KiB");
    g_assert_cmpint(virNodeGetFreePages(conn, 1, &small, 7, 1, counts, 0), <, 0);
    fixture_expect_failure("no NUMA node 7");
}

/* --- entries that hardly need a domain ------------------------------------------------------------------ */

#define CPU(model) "<cpu><arch>x86_64</arch><model>" model "</model></cpu>"

static const char *const old_and_new[] = {CPU("Penryn"), CPU("Nehalem")};

static char *
common_cpu(unsigned int flags)
{
    return virConnectBaselineCPU(conn, (const char **)old_and_new, 2, flags);
}

static char *
common_hypervisor_cpu(unsigned int flags)
{
    return virConnectBaselineHypervisorCPU(conn, NULL, "x86_64", NULL, "xen", (const char **)old_and_new, 2,
                                           flags);
}

static char *
domain_capabilities(unsigned int flags)
{
    return virConnectGetDomainCapabilities(conn, NULL, "x86_64", NULL, "xen", flags);
}

static char *
capabilities_of_a_sparc(unsigned int flags)
{
    return virConnectGetDomainCapabilities(conn, NULL, "sparc", NULL, "xen", flags);
}

static char *
capabilities_of_lxc(unsigned int flags)
{
    return virConnectGetDomainCapabilities(conn, NULL, NULL, NULL, "lxc", flags);
}

static void
texts_about_the_host(void)
{
    /* The answer, or the reason why there is none. */
    static const struct {
        char *(*function)(unsigned int flags);
        unsigned int flags;
        gboolean answers;
        const char *part;
    } rows[] = {
        {common_cpu, 0, TRUE, "<model fallback='allow'>Penryn</model>"},
        {common_cpu, VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES, TRUE,
         "<feature policy='require' name='fpu'/>"},
        {common_hypervisor_cpu, 0, TRUE, "<model fallback='allow'>Penryn</model>"},
        {domain_capabilities, 0, TRUE, "<domain>xen</domain>"},
        {domain_capabilities, 0, TRUE, "<machine>xenpv</machine>"},
        {domain_capabilities, 0, TRUE, "<vcpu max='128'/>"},
        {capabilities_of_a_sparc, 0, FALSE, "sparc"},
        {capabilities_of_lxc, 0, FALSE, "lxc"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text = rows[i].function(rows[i].flags);

        g_test_message("row %zu", i);
        if (!rows[i].answers) {
            g_assert_null(text);
            fixture_expect_failure(rows[i].part);
        } else if (!text || !strstr(text, rows[i].part)) {
            g_error("row %zu: '%s' is not in '%s'", i, rows[i].part, text ? text : virGetLastErrorMessage());
        }
    }
}

/* What this host is, the test does not know; what no PC is, it does. */
static void
a_cpu_is_compared_with_the_host_s(void)
{
    const char *power = "<cpu><arch>ppc64</arch><model>POWER8</model></cpu>";
    int plain = virConnectCompareCPU(conn, CPU("Penryn"), 0);

    g_assert_cmpint(plain, >=, 0);
    g_assert_cmpint(virConnectCompareHypervisorCPU(conn, NULL, "x86_64", NULL, "xen", CPU("Penryn"), 0), ==,
                    plain);
    g_assert_cmpint(virConnectCompareCPU(conn, power, 0), ==, VIR_CPU_COMPARE_INCOMPATIBLE);
    g_assert_cmpint(virConnectCompareHypervisorCPU(conn, NULL, NULL, NULL, NULL, power, 0), ==,
                    VIR_CPU_COMPARE_INCOMPATIBLE);
    g_assert_cmpint(virConnectCompareCPU(conn, power, VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE), ==,
                    VIR_CPU_COMPARE_ERROR);
    g_assert_cmpint(virConnectCompareCPU(conn, "<disk/>", 0), ==, VIR_CPU_COMPARE_ERROR);
}

static void
numbers_about_the_connection(void)
{
    g_autofree char *system = virConnectGetSysinfo(conn, 0);

    if (system)
        g_assert_nonnull(strstr(system, "<sysinfo type='smbios'>"));
    else
        fixture_expect_failure("firmware of this host");
    g_assert_cmpint(virConnectGetMaxVcpus(conn, "xen"), ==, 128);
    g_assert_cmpint(virConnectIsSecure(conn), ==, 1);
    g_assert_cmpint(virConnectIsEncrypted(conn), ==, 0);
    g_assert_cmpint(virConnectIsAlive(conn), ==, 1);
}

static void
parameters_have_their_names(virDomainPtr domain)
{
    static const char *const counters[] = {
        VIR_DOMAIN_BLOCK_STATS_READ_REQ, VIR_DOMAIN_BLOCK_STATS_READ_BYTES, VIR_DOMAIN_BLOCK_STATS_WRITE_REQ,
        VIR_DOMAIN_BLOCK_STATS_WRITE_BYTES, VIR_DOMAIN_BLOCK_STATS_FLUSH_REQ};
    virTypedParameter p[8];
    int count = 0;
    int mode;
    const char *nodes;

    CHECK(virDomainBlockStatsFlags(domain, "xvda", NULL, &count, 0));
    g_assert_cmpint(count, ==, G_N_ELEMENTS(counters));
    CHECK(virDomainBlockStatsFlags(domain, "xvda", p, &count, 0));
    for (int i = 0; i < count; i++) {
        g_assert_cmpstr(p[i].field, ==, counters[i]);
        g_assert_cmpint(p[i].type, ==, VIR_TYPED_PARAM_LLONG);
    }
    count = 0;
    CHECK(virDomainGetNumaParameters(domain, NULL, &count, 0));
    g_assert_cmpint(count, ==, 2);
    CHECK(virDomainGetNumaParameters(domain, p, &count, 0));
    g_assert_cmpint(virTypedParamsGetInt(p, count, VIR_DOMAIN_NUMA_MODE, &mode), ==, 1);
    g_assert_cmpint(mode, ==, VIR_DOMAIN_NUMATUNE_MEM_STRICT);
    g_assert_cmpint(virTypedParamsGetString(p, count, VIR_DOMAIN_NUMA_NODESET, &nodes), ==, 1);
    g_assert_cmpstr(nodes, ==, "");
    virTypedParamsClear(p, count);
}

static void
a_device_goes_by_its_alias(virDomainPtr domain)
{
    g_autofree char *xml = NULL;

    g_assert_cmpint(virDomainDetachDeviceAlias(domain, "no-such", VIR_DOMAIN_AFFECT_LIVE), <, 0);
    fixture_expect_failure("no-such");
    CHECK(virDomainDetachDeviceAlias(domain, "ua-nic", VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG));
    xml = virDomainGetXMLDesc(domain, 0);
    g_assert_null(strstr(xml, "<interface"));
    g_free(xml);
    xml = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE);
    g_assert_null(strstr(xml, "<interface"));
}

static void
a_domain_answers_the_rest(void)
{
    g_autofree char *image = g_build_filename(fixture_root(), "rest.img", NULL);
    g_autofree char *devices =
        g_strdup_printf("<disk type='file'><source file='%s'/><target dev='xvda' bus='xen'/></disk>"
                        "<interface type='bridge'><mac address='00:16:3e:00:00:61'/><source bridge='br0'/>"
                        "<alias name='ua-nic'/></interface>",
                        image);
    unsigned char uuid[VIR_UUID_BUFLEN];
    virSecurityLabelPtr labels = (void *)1;
    virDomainControlInfo control;
    virDomainPtr domain, found;
    int pair[2];

    g_assert_true(g_file_set_contents(image, "x", 1, NULL));
    domain = fixture_define(conn, "rest", devices);
    CHECK(virDomainGetUUID(domain, uuid));
    found = virDomainLookupByUUID(conn, uuid);
    g_assert_cmpstr(virDomainGetName(found), ==, "rest");
    virDomainFree(found);
    uuid[0] ^= 0xff;
    g_assert_null(virDomainLookupByUUID(conn, uuid));
    fixture_expect_failure("no domain with UUID");
    g_assert_cmpint(virDomainGetMaxVcpus(domain), <, 0);
    fixture_expect_failure("domain 'rest': domain is not running");

    CHECK(virDomainCreate(domain));
    g_assert_cmpint(virDomainGetMaxVcpus(domain), ==, 4);
    g_assert_cmpint(virDomainGetSecurityLabelList(domain, &labels), ==, 0);
    g_assert_null(labels);
    CHECK(virDomainGetControlInfo(domain, &control, 0));
    g_assert_cmpint(control.state, ==, VIR_DOMAIN_CONTROL_OK);
    CHECK(virDomainInjectNMI(domain, 0));
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    g_assert_cmpint(virDomainOpenGraphics(domain, 0, pair[0], 0), <, 0);
    fixture_expect_failure("'rest' has no <graphics> with number 0");
    close(pair[0]);
    close(pair[1]);
    parameters_have_their_names(domain);
    a_device_goes_by_its_alias(domain);
    fixture_undefine(domain);
}

int
main(int argc, char **argv)
{
    int result;

    conn = fixture_open(&argc, &argv);
    g_test_add_func("/libvirt/inspect/a-limit-holds", a_limit_below_the_memory_holds);
    g_test_add_func("/libvirt/inspect/a-limit-is-kept", a_limit_is_kept_by_a_guest_that_reboots);
    g_test_add_func("/libvirt/inspect/domain-0-has-no-limit", domain_0_has_no_limit_to_set);
    g_test_add_func("/libvirt/inspect/memory-is-read", memory_is_read_as_the_guest_sees_it);
    g_test_add_func("/libvirt/inspect/nodes-are-chosen", nodes_are_chosen_in_the_definition);
    g_test_add_func("/libvirt/inspect/blkio", io_of_the_domain_is_tuned);
    g_test_add_func("/libvirt/inspect/cpu-stats", the_time_of_each_vcpu_is_told);
    g_test_add_func("/libvirt/inspect/bytes-of-a-disk", bytes_of_a_disk_are_read);
    g_test_add_func("/libvirt/inspect/served-disks", disks_that_are_served_have_no_error);
    g_test_add_func("/libvirt/inspect/no-name", a_guest_that_told_no_name_has_none);
    g_test_add_func("/libvirt/inspect/free-pages", free_pages_are_the_hypervisor_s);
    g_test_add_func("/libvirt/inspect/texts-about-the-host", texts_about_the_host);
    g_test_add_func("/libvirt/inspect/cpu-is-compared", a_cpu_is_compared_with_the_host_s);
    g_test_add_func("/libvirt/inspect/connection", numbers_about_the_connection);
    g_test_add_func("/libvirt/inspect/the-rest", a_domain_answers_the_rest);
    result = g_test_run();
    fixture_close();
    return result;
}
