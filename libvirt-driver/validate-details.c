/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What of an element is not possible, though the element is: refused, so that nobody believes in a limit, a
 * filter or an expiry that nothing keeps.  Hints about speed, and what other hypervisors need to be told, are
 * not here; they are taken and do nothing.
 */
#include "validate.h"

#include "virnetdevvportprofile.h"

#define VIR_FROM_THIS VIR_FROM_LIBXL

/* How a detail is written in XML, and whether it is there. */
struct detail {
    const char *name;
    bool present;
};

static const char *
firstOf(const struct detail *details, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) {
        if (details[i].present)
            return details[i].name;
    }
    return NULL;
}

int
xenValidateDiskDetails(const virDomainDiskDef *disk)
{
    const struct detail details[] = {
        {"<wwn>", disk->wwn != NULL},
        {"<vendor>", disk->vendor != NULL},
        {"<product>", disk->product != NULL},
        {"<geometry>", disk->geometry.cylinders > 0},
        {"<blockio logical_block_size>",
         disk->blockio.logical_block_size > 0 && disk->blockio.logical_block_size != 512},
        {"<driver copy_on_read>", disk->copy_on_read == VIR_TRISTATE_SWITCH_ON},
        /* The guest is told of every error. */
        {"<driver error_policy>", disk->error_policy != VIR_DOMAIN_DISK_ERROR_POLICY_DEFAULT &&
                                      disk->error_policy != VIR_DOMAIN_DISK_ERROR_POLICY_REPORT},
        {"<driver rerror_policy>", disk->rerror_policy != VIR_DOMAIN_DISK_ERROR_POLICY_DEFAULT &&
                                       disk->rerror_policy != VIR_DOMAIN_DISK_ERROR_POLICY_REPORT},
        {"<reservations>", disk->src->pr != NULL},
        {"<slices>", disk->src->sliceStorage != NULL},
    };
    const char *name = firstOf(details, G_N_ELEMENTS(details));

    if (!name)
        return 0;
    virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("<disk> '%s': %s is not supported"), disk->dst, name);
    return -1;
}

int
xenValidateHostdevDetails(const virDomainHostdevDef *hostdev)
{
    const struct detail details[] = {
        {"<boot>", hostdev->info->bootIndex > 0},
        {"<rom>", hostdev->info->romfile || hostdev->info->romenabled != VIR_TRISTATE_BOOL_ABSENT ||
                      hostdev->info->rombar != VIR_TRISTATE_SWITCH_ABSENT},
        {"<teaming>", hostdev->teaming != NULL},
    };
    const char *name = firstOf(details, G_N_ELEMENTS(details));

    if (!name)
        return 0;
    virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("%s of a <hostdev> is not supported"), name);
    return -1;
}

/* The scripts that Xen's tools run do what is done here without one. */
static bool
isForeignScript(const char *script)
{
    const char *name = script ? strrchr(script, '/') : NULL;

    name = name ? name + 1 : script;
    return name && STRNEQ(name, "vif-bridge") && STRNEQ(name, "vif-openvswitch");
}

static bool
isForeignPort(const virNetDevVPortProfile *port)
{
    return port && port->virtPortType != VIR_NETDEV_VPORT_PROFILE_NONE &&
           port->virtPortType != VIR_NETDEV_VPORT_PROFILE_OPENVSWITCH;
}

int
xenValidateNetDetails(const virDomainNetDef *net)
{
    const struct detail details[] = {
        {"<script>", isForeignScript(net->script)},
        {"<downscript>", net->downscript != NULL},
        /* A guest has the addresses that it takes; a <filterref> holds it to some. */
        {"<ip>", net->guestIP.nips > 0 || net->hostIP.nips > 0},
        {"<route>", net->guestIP.nroutes > 0 || net->hostIP.nroutes > 0},
        {"<teaming>", net->teaming != NULL},
        {"<guest dev>", net->ifname_guest != NULL},
        {"<portForward>", net->nPortForwards > 0},
        {"<virtualport> but for Open vSwitch", isForeignPort(net->virtPortProfile)},
    };
    const char *name = firstOf(details, G_N_ELEMENTS(details));
    char mac[VIR_MAC_STRING_BUFLEN];

    if (!name)
        return 0;
    virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("<interface> with MAC '%s': %s is not supported"),
                   virMacAddrFormat(&net->mac, mac), name);
    return -1;
}

int
xenValidateGraphicsDetails(const virDomainGraphicsDef *graphics)
{
    bool vnc = graphics->type == VIR_DOMAIN_GRAPHICS_TYPE_VNC;
    const virDomainGraphicsListenDef *listen =
        virDomainGraphicsGetListen((virDomainGraphicsDef *)graphics, 0);
    const struct detail details[] = {
        {"passwdValidTo", vnc && graphics->data.vnc.auth.expires},
        {"connected", vnc && graphics->data.vnc.auth.connected > 0},
        {"websocket", vnc && graphics->data.vnc.websocket != 0},
        {"sharePolicy", vnc && graphics->data.vnc.sharePolicy != VIR_DOMAIN_GRAPHICS_VNC_SHARE_DEFAULT},
        {"powerControl", vnc && graphics->data.vnc.powerControl == VIR_TRISTATE_BOOL_YES},
        {"fullscreen", !vnc && graphics->data.sdl.fullscreen},
        {"<gl>", !vnc && graphics->data.sdl.gl == VIR_TRISTATE_BOOL_YES},
        {"<listen type='network'>",
         listen && listen->type == VIR_DOMAIN_GRAPHICS_LISTEN_TYPE_NETWORK && !listen->address},
        {"more than one <listen>", graphics->nListens > 1},
    };
    const char *name = firstOf(details, G_N_ELEMENTS(details));

    if (!name)
        return 0;
    virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("<graphics type='%s'>: %s is not supported"),
                   virDomainGraphicsTypeToString(graphics->type), name);
    return -1;
}

/* A paravirtualized guest has the CPU of the host; "optional" says that it may. */
static bool
asksForFeatures(const virCPUDef *cpu)
{
    size_t i;

    for (i = 0; cpu && i < cpu->nfeatures; i++) {
        if (cpu->features[i].policy != VIR_CPU_FEATURE_OPTIONAL)
            return true;
    }
    return false;
}

static bool
hasSchedulers(const virDomainDef *def)
{
    size_t i;

    for (i = 0; i < def->maxvcpus; i++) {
        if (def->vcpus[i]->sched.policy != VIR_PROC_POLICY_NONE)
            return true;
    }
    return def->cputune.emulatorsched != NULL;
}

static bool
asksForEvents(const virDomainDef *def)
{
    size_t i;

    for (i = 0; i < VIR_PERF_EVENT_LAST; i++) {
        if (def->perf.events[i] == VIR_TRISTATE_BOOL_YES)
            return true;
    }
    return false;
}

int
xenValidateDomainDetails(const virDomainDef *def)
{
    const struct detail details[] = {
        {"<feature> of <cpu>", asksForFeatures(def->cpu)},
        {"<vcpusched> of <cputune>", hasSchedulers(def)},
        {"<perf>", asksForEvents(def)},
        {"<on_lockfailure>", def->onLockFailure != VIR_DOMAIN_LOCK_FAILURE_DEFAULT},
    };
    const char *name = firstOf(details, G_N_ELEMENTS(details));

    if (!name)
        return 0;
    virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("domain '%s': %s is not supported"), def->name, name);
    return -1;
}
