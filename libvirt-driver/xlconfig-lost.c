/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a definition says and xl.cfg cannot: each is named in the log when a definition is converted.
 */
#include "xlconfig.h"

#include "nwfilter_params.h"
#include "virnetdevvportprofile.h"

#define VIR_FROM_THIS VIR_FROM_XENXL

VIR_LOG_INIT("serai.xlconfig");

/* How something is written in XML, and whether it is there. */
struct lost {
    const char *name;
    bool present;
};

static void
nameAll(const virDomainDef *def, const char *of, const struct lost *lost, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) {
        if (lost[i].present)
            VIR_WARN("domain '%s': <%s>%s%s is lost: it has no counterpart in xl.cfg", def->name,
                     lost[i].name, of ? " of " : "", of ? of : "");
    }
}

static void
nameOfDisk(const virDomainDef *def, const virDomainDiskDef *disk)
{
    const struct lost lost[] = {
        {"iotune", virDomainBlockIoTuneInfoHasAny(&disk->blkdeviotune)},
        {"serial", disk->serial != NULL},
        {"driver cache", disk->cachemode != VIR_DOMAIN_DISK_CACHE_DEFAULT},
        {"source startupPolicy", disk->startupPolicy != VIR_DOMAIN_STARTUP_POLICY_DEFAULT},
        {"boot order", disk->info.bootIndex > 0},
    };

    nameAll(def, disk->dst, lost, G_N_ELEMENTS(lost));
}

static void
nameOfNet(const virDomainDef *def, const virDomainNetDef *net)
{
    const virNetDevVPortProfile *port = net->virtPortProfile;
    const virNetDevBandwidth *bandwidth = net->bandwidth;
    g_autofree char *addresses = xenXLConfigAddresses(net);
    char mac[VIR_MAC_STRING_BUFLEN];
    const struct lost lost[] = {
        {"filterref", net->filter && !(addresses && virHashSize(net->filterparams) == 1)},
        {"link state", net->linkstate == VIR_DOMAIN_NET_INTERFACE_LINK_STATE_DOWN},
        {"port isolated", net->isolatedPort == VIR_TRISTATE_BOOL_YES},
        {"inbound", bandwidth && bandwidth->in},
        {"outbound peak", bandwidth && bandwidth->out && bandwidth->out->peak > 0},
        {"outbound burst", bandwidth && bandwidth->out && bandwidth->out->burst > 0},
        {"parameters interfaceid", port && port->interfaceID_specified},
        {"parameters profileid", port && port->profileID[0] != '\0'},
        {"tag nativeMode='tagged'", net->vlan.nativeMode == VIR_NATIVE_VLAN_MODE_TAGGED},
        {"source portgroup", net->type == VIR_DOMAIN_NET_TYPE_NETWORK && net->data.network.portgroup},
        {"boot order", net->info.bootIndex > 0},
    };

    nameAll(def, virMacAddrFormat(&net->mac, mac), lost, G_N_ELEMENTS(lost));
}

static void
nameOfChr(const virDomainDef *def, const virDomainChrDef *chr)
{
    bool console = chr->deviceType == VIR_DOMAIN_CHR_DEVICE_TYPE_CONSOLE;
    const struct lost lost[] = {
        {"log", chr->source->logfile != NULL},
        {"console", console && chr->target.port > 0},
        {"source", console && chr->source->type != VIR_DOMAIN_CHR_TYPE_PTY},
        {"source", !console && chr->source->type == VIR_DOMAIN_CHR_TYPE_FILE},
    };
    g_autofree char *name = console ? g_strdup_printf("console %d", chr->target.port)
                                    : g_strdup_printf("channel %s", chr->target.name);

    nameAll(def, name, lost, G_N_ELEMENTS(lost));
}

static void
nameOfGraphics(const virDomainDef *def, const virDomainGraphicsDef *graphics)
{
    const virDomainGraphicsListenDef *listen =
        virDomainGraphicsGetListen((virDomainGraphicsDef *)graphics, 0);
    const struct lost lost[] = {
        {"listen type='socket'", listen && listen->type == VIR_DOMAIN_GRAPHICS_LISTEN_TYPE_SOCKET},
    };

    nameAll(def, "graphics", lost, G_N_ELEMENTS(lost));
}

void
xenXLConfigNameLost(const virDomainDef *def)
{
    const struct lost lost[] = {
        {"title", def->title != NULL},
        {"description", def->description != NULL},
        {"metadata", def->metadata != NULL},
        {"blkiotune", def->blkio.weight > 0 || def->blkio.ndevices > 0},
        {"hard_limit", virMemoryLimitIsSet(def->mem.hard_limit)},
        {"numatune", virDomainNumatuneGetNodeset(def->numa, NULL, -1) != NULL},
        {"vcpus", def->individualvcpus},
        {"hostdev", def->nhostdevs > 0},
        {"lease", def->nleases > 0},
        {"seclabel", def->nseclabels > 0},
        {"memballoon model='none'",
         def->memballoon && def->memballoon->model == VIR_DOMAIN_MEMBALLOON_MODEL_NONE},
    };
    size_t i;

    nameAll(def, NULL, lost, G_N_ELEMENTS(lost));
    for (i = 0; i < def->ndisks; i++)
        nameOfDisk(def, def->disks[i]);
    for (i = 0; i < def->nnets; i++)
        nameOfNet(def, def->nets[i]);
    for (i = 0; i < def->nconsoles; i++)
        nameOfChr(def, def->consoles[i]);
    for (i = 0; i < def->nchannels; i++)
        nameOfChr(def, def->channels[i]);
    for (i = 0; i < def->ngraphics; i++)
        nameOfGraphics(def, def->graphics[i]);
}
