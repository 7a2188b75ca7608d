/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Virtual NUMA nodes: <numa> of <cpu> with the <memnode> of <numatune>, and "vnuma" of xl.cfg, which is a
 * list of lists of "KEY=VALUE".
 */
#include "xlconfig.h"

#include "numa_conf.h"
#include "virbitmap.h"
#include "virxml.h"

#define VIR_FROM_THIS VIR_FROM_XENXL

static int
parseDistances(virDomainDef *def, size_t node, size_t count, const char *text)
{
    g_auto(GStrv) words = g_strsplit(text, ",", -1);
    unsigned int distance;
    size_t i;

    if (g_strv_length(words) != count)
        return xenXLConfigBad("vnuma", text);
    if (virDomainNumaSetNodeDistanceCount(def->numa, node, count) != count)
        return -1;
    for (i = 0; i < count; i++) {
        g_strstrip(words[i]);
        if (virStrToLong_uip(words[i], NULL, 10, &distance) < 0)
            return xenXLConfigBad("vnuma", text);
        if (virDomainNumaSetNodeDistance(def->numa, node, i, distance) < 0)
            return -1;
    }
    return 0;
}

/* One "KEY=VALUE" of @node; what is said of the host's nodes is added to @memnodes. */
static int
parseOption(virDomainDef *def, size_t node, size_t count, const char *option, virBuffer *memnodes)
{
    const char *value = strchr(option, '=');
    g_autofree char *key = value ? g_strstrip(g_strndup(option, value - option)) : NULL;
    virBitmap *vcpus = NULL;
    unsigned int number;

    if (!key)
        return xenXLConfigBad("vnuma", option);
    value++;
    if (STREQ(key, "vdistances"))
        return parseDistances(def, node, count, value);
    if (STREQ(key, "vcpus")) {
        if (virDomainNumaGetNodeCpumask(def->numa, node) ||
            virBitmapParse(value, &vcpus, VIR_DOMAIN_CPUMASK_LEN) < 0)
            return xenXLConfigBad("vnuma", option);
        virDomainNumaSetNodeCpumask(def->numa, node, vcpus);
        return 0;
    }
    if (virStrToLong_uip(value, NULL, 10, &number) < 0)
        return xenXLConfigBad("vnuma", option);
    if (STREQ(key, "size"))
        virDomainNumaSetNodeMemorySize(def->numa, node, number * 1024ULL);
    else if (STREQ(key, "pnode"))
        virBufferAsprintf(memnodes, "<memnode cellid='%zu' mode='strict' nodeset='%u'/>", node, number);
    else
        return xenXLConfigBad("vnuma", option);
    return 0;
}

/* libvirt sets a <memnode> from XML only. */
static int
setMemnodes(virDomainDef *def, virBuffer *memnodes)
{
    g_autofree char *content = virBufferContentAndReset(memnodes);
    g_autofree char *xml = NULL;
    g_autoptr(xmlXPathContext) context = NULL;
    g_autoptr(xmlDoc) doc = NULL;

    if (!content)
        return 0;
    xml = g_strdup_printf("<domain><numatune>%s</numatune></domain>", content);
    doc = virXMLParseStringCtxt(xml, "(vnuma)", &context);
    return doc ? virDomainNumatuneParseXML(def->numa, true, context) : -1;
}

int
xenXLConfigParseVnuma(virConf *conf, virDomainDef *def)
{
    g_auto(virBuffer) memnodes = VIR_BUFFER_INITIALIZER;
    virConfValue *list = virConfGetValue(conf, "vnuma");
    unsigned long long total = 0;
    virConfValue *node;
    virConfValue *option;
    size_t count = 0;
    size_t i = 0;

    if (!list)
        return 0;
    if (list->type != VIR_CONF_LIST)
        return xenXLConfigBad("vnuma", list->type == VIR_CONF_STRING ? list->str : "");
    for (node = list->list; node; node = node->next)
        count++;
    if (count == 0)
        return 0;
    if (virDomainNumaSetNodeCount(def->numa, count) != count)
        return -1;
    /* <numa> is written within it. */
    def->cpu = virCPUDefNew();
    def->cpu->type = VIR_CPU_TYPE_GUEST;
    for (node = list->list; node; node = node->next, i++) {
        for (option = node->type == VIR_CONF_LIST ? node->list : NULL; option; option = option->next) {
            if (option->type != VIR_CONF_STRING || parseOption(def, i, count, option->str, &memnodes) < 0)
                return -1;
        }
        if (virDomainNumaGetNodeMemorySize(def->numa, i) == 0 || !virDomainNumaGetNodeCpumask(def->numa, i)) {
            virReportError(VIR_ERR_CONF_SYNTAX,
                           _("node %zu of 'vnuma' of xl.cfg has no 'size' or no 'vcpus'"), i);
            return -1;
        }
        total += virDomainNumaGetNodeMemorySize(def->numa, i);
    }
    /* The nodes are the memory; "maxmem" may only say the same. */
    if (virConfGetValue(conf, "maxmem") && total != virDomainDefGetMemoryTotal(def)) {
        virReportError(VIR_ERR_CONF_SYNTAX, "%s",
                       _("the nodes of 'vnuma' of xl.cfg are not as large as 'maxmem'"));
        return -1;
    }
    virDomainDefSetMemoryTotal(def, total);
    return setMemnodes(def, &memnodes);
}

void
xenXLConfigFormatVnuma(virBuffer *buf, const virDomainDef *def)
{
    size_t count = virDomainNumaGetNodeCount(def->numa);
    size_t i, j;

    if (count == 0)
        return;
    virBufferAddLit(buf, "vnuma = [ ");
    for (i = 0; i < count; i++) {
        virBitmap *host = virDomainNumatuneGetNodeset(def->numa, NULL, i);
        virBitmap *mask = virDomainNumaGetNodeCpumask(def->numa, i);
        g_autofree char *vcpus = mask ? virBitmapFormat(mask) : NULL;

        virBufferAsprintf(buf, "%s[ ", i > 0 ? ", " : "");
        if (host)
            virBufferAsprintf(buf, "\"pnode=%zd\", ", virBitmapNextSetBit(host, -1));
        virBufferAsprintf(buf, "\"size=%llu\", \"vcpus=%s\", \"vdistances=",
                          VIR_DIV_UP(virDomainNumaGetNodeMemorySize(def->numa, i), 1024),
                          NULLSTR_EMPTY(vcpus));
        for (j = 0; j < count; j++)
            virBufferAsprintf(buf, "%s%zu", j > 0 ? "," : "", virDomainNumaGetNodeDistance(def->numa, i, j));
        virBufferAddLit(buf, "\" ]");
    }
    virBufferAddLit(buf, " ]\n");
}
