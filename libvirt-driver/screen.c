/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entries about the frame buffer of a domain, which QEMU serves: its picture, its keyboard, its VNC server.
 */
#include "entries.h"
#include "error.h"
#include "qmp.h"

#include "virfdstream.h"
#include "viraccessapicheck.h"
#include "virkeycode.h"

#include <fcntl.h>
#include <sys/socket.h>

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.screen");

/* How long keys are held when the caller does not say, as QEMU has it. */
#define XEN_HOLD_MS 100

static int
checkScreen(const virDomainObj *vm)
{
    if (vm->def->ngraphics > 0)
        return 0;
    virReportError(VIR_ERR_OPERATION_INVALID, _("domain '%s' has no <graphics>"), vm->def->name);
    return -1;
}

/* Job held.  The picture goes to a file that QEMU writes and nobody else can read. */
static int
dumpScreen(xenDriver *driver, virDomainObj *vm, const char *path)
{
    g_autoptr(virJSONValue) arguments = virJSONValueNewObject();
    g_autoptr(xenQmp) qmp = NULL;

    /* As PPM, which every QEMU writes; Debian's for Xen is built without PNG. */
    if (virJSONValueObjectAppendString(arguments, "filename", path) < 0)
        return -1;
    qmp = xenQmpBegin(driver, vm);
    return qmp ? xenQmpCommand(qmp, "screendump", &arguments, -1, NULL) : -1;
}

char *
xenDomainScreenshot(virDomainPtr dom, virStreamPtr stream, unsigned int screen, unsigned int flags)
{
    xenDriver *driver = dom->conn->privateData;
    g_autofree char *path = NULL;
    virDomainObj *vm;
    char *type = NULL;
    int fd;

    virCheckFlags(0, NULL);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return NULL;
    if (virDomainScreenshotEnsureACL(dom->conn, vm->def) < 0 || virDomainObjBeginJob(vm, VIR_JOB_QUERY) < 0)
        goto cleanup;
    if (xenDomainCheckActive(vm) < 0 || checkScreen(vm) < 0)
        goto endjob;
    if (screen > 0) {
        virReportError(VIR_ERR_INVALID_ARG, _("domain '%s' has one screen, number 0, and not %u"),
                       vm->def->name, screen);
        goto endjob;
    }
    path = g_strdup_printf("%s/screen.XXXXXX", driver->settings->stateDir);
    fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) {
        virReportSystemError(errno, _("cannot make a file for the picture in '%s'"),
                             driver->settings->stateDir);
        goto endjob;
    }
    VIR_FORCE_CLOSE(fd);
    if (dumpScreen(driver, vm, path) == 0 && virFDStreamOpenFile(stream, path, 0, 0, O_RDONLY) == 0)
        type = g_strdup("image/x-portable-pixmap");
    unlink(path);

endjob:
    virDomainObjEndJob(vm);
cleanup:
    virDomainObjEndAPI(&vm);
    return type;
}

/* QEMU takes keys by the numbers of XT scan codes, which libvirt calls "qnum". */
static virJSONValue *
keyList(unsigned int codeset, const unsigned int *codes, int count)
{
    g_autoptr(virJSONValue) keys = virJSONValueNewArray();
    int i;

    for (i = 0; i < count; i++) {
        g_autoptr(virJSONValue) key = virJSONValueNewObject();
        int number = virKeycodeValueTranslate(codeset, VIR_KEYCODE_SET_QNUM, codes[i]);

        if (number < 0) {
            virReportError(VIR_ERR_INVALID_ARG, _("key code %u is none of code set '%s'"), codes[i],
                           virKeycodeSetTypeToString(codeset));
            return NULL;
        }
        if (virJSONValueObjectAppendString(key, "type", "number") < 0 ||
            virJSONValueObjectAppendNumberInt(key, "data", number) < 0 ||
            virJSONValueArrayAppend(keys, &key) < 0)
            return NULL;
    }
    return g_steal_pointer(&keys);
}

static int
sendKeys(xenDriver *driver, virDomainObj *vm, virJSONValue **keys, unsigned int holdtime)
{
    g_autoptr(virJSONValue) arguments = virJSONValueNewObject();
    g_autoptr(xenQmp) qmp = NULL;

    if (virJSONValueObjectAppend(arguments, "keys", keys) < 0 ||
        virJSONValueObjectAppendNumberUint(arguments, "hold-time", holdtime ? holdtime : XEN_HOLD_MS) < 0)
        return -1;
    qmp = xenQmpBegin(driver, vm);
    return qmp ? xenQmpCommand(qmp, "send-key", &arguments, -1, NULL) : -1;
}

/*
 * The letter or digit of Alt, SysRq and a key, or 0.  Windows numbers its keys by the upper-case letter on
 * them; Linux those before: KEY_LEFTALT or KEY_RIGHTALT, and KEY_SYSRQ.
 */
static char
sysrqKey(unsigned int codeset, const unsigned int *codes, int count)
{
    int alt, sysrq, key;

    if (count != 3)
        return 0;
    alt = virKeycodeValueTranslate(codeset, VIR_KEYCODE_SET_LINUX, codes[0]);
    sysrq = virKeycodeValueTranslate(codeset, VIR_KEYCODE_SET_LINUX, codes[1]);
    key = virKeycodeValueTranslate(codeset, VIR_KEYCODE_SET_WIN32, codes[2]);
    if ((alt != 56 && alt != 100) || sysrq != 99)
        return 0;
    return g_ascii_isupper(key) || g_ascii_isdigit(key) ? g_ascii_tolower(key) : 0;
}

/* Without a keyboard the hypervisor's store takes what Linux hears anywhere. */
static int
sendSysrq(virDomainObj *vm, char key)
{
    g_autoptr(GError) error = NULL;

    if (serai_domain_sysrq(XEN_PRIVATE(vm)->domain, key, &error))
        return 0;
    xenReportError(&error, _("cannot send SysRq '%c' to domain '%s'"), key, vm->def->name);
    return -1;
}

int
xenDomainSendKey(virDomainPtr dom, unsigned int codeset, unsigned int holdtime, unsigned int *keycodes,
                 int nkeycodes, unsigned int flags)
{
    g_autoptr(virJSONValue) keys = NULL;
    virDomainObj *vm;
    char sysrq;
    int ret = -1;

    virCheckFlags(0, -1);

    if (codeset >= VIR_KEYCODE_SET_LAST) {
        virReportError(VIR_ERR_INVALID_ARG, _("there is no code set %u"), codeset);
        return -1;
    }
    keys = keyList(codeset, keycodes, nkeycodes);
    if (!keys)
        return -1;
    sysrq = sysrqKey(codeset, keycodes, nkeycodes);
    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainSendKeyEnsureACL(dom->conn, vm->def) < 0 || virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        goto cleanup;
    if (xenDomainCheckActive(vm) < 0)
        goto endjob;
    if (vm->def->ngraphics > 0)
        ret = sendKeys(dom->conn->privateData, vm, &keys, holdtime);
    else if (sysrq)
        ret = sendSysrq(vm, sysrq);
    else
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("domain '%s' has no <graphics>: it takes no keys but Alt, SysRq and a letter or "
                         "digit"),
                       vm->def->name);

endjob:
    virDomainObjEndJob(vm);

cleanup:
    virDomainObjEndAPI(&vm);
    return ret;
}

/* Gives QEMU's VNC server a client that is connected already. */
static int
addClient(xenDriver *driver, virDomainObj *vm, int fd, bool skipauth)
{
    g_autoptr(virJSONValue) name = virJSONValueNewObject();
    g_autoptr(virJSONValue) client = virJSONValueNewObject();
    g_autoptr(xenQmp) qmp = NULL;

    if (virJSONValueObjectAppendString(name, "fdname", "client") < 0 ||
        virJSONValueObjectAppendString(client, "protocol", "vnc") < 0 ||
        virJSONValueObjectAppendString(client, "fdname", "client") < 0 ||
        virJSONValueObjectAppendBoolean(client, "skipauth", skipauth) < 0)
        return -1;
    qmp = xenQmpBegin(driver, vm);
    if (!qmp || xenQmpCommand(qmp, "getfd", &name, fd, NULL) < 0)
        return -1;
    /* A descriptor that was not taken is closed by QEMU when we hang up. */
    return xenQmpCommand(qmp, "add_client", &client, -1, NULL);
}

static int
openGraphics(xenDriver *driver, virDomainObj *vm, unsigned int number, int fd, bool skipauth)
{
    int ret = -1;

    if (virDomainObjBeginJob(vm, VIR_JOB_MODIFY) < 0)
        return -1;
    if (xenDomainCheckActive(vm) < 0)
        goto endjob;
    if (number >= vm->def->ngraphics) {
        virReportError(VIR_ERR_INVALID_ARG, _("domain '%s' has no <graphics> with number %u"), vm->def->name,
                       number);
        goto endjob;
    }
    if (vm->def->graphics[number]->type != VIR_DOMAIN_GRAPHICS_TYPE_VNC) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("<graphics type='%s'> of domain '%s' takes no clients: only vnc does"),
                       virDomainGraphicsTypeToString(vm->def->graphics[number]->type), vm->def->name);
        goto endjob;
    }
    ret = addClient(driver, vm, fd, skipauth);

endjob:
    virDomainObjEndJob(vm);
    return ret;
}

int
xenDomainOpenGraphics(virDomainPtr dom, unsigned int number, int fd, unsigned int flags)
{
    virDomainObj *vm;
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainOpenGraphicsEnsureACL(dom->conn, vm->def) == 0)
        ret = openGraphics(dom->conn->privateData, vm, number, fd, flags & VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH);
    virDomainObjEndAPI(&vm);
    return ret;
}

int
xenDomainOpenGraphicsFD(virDomainPtr dom, unsigned int number, unsigned int flags)
{
    virDomainObj *vm;
    int pair[2] = {-1, -1};
    int ret = -1;

    virCheckFlags(VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH, -1);

    vm = xenDomainObjFromDomain(dom);
    if (!vm)
        return -1;
    if (virDomainOpenGraphicsFdEnsureACL(dom->conn, vm->def) < 0)
        goto cleanup;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        virReportSystemError(errno, _("cannot make a connection to the screen of domain '%s'"),
                             vm->def->name);
        goto cleanup;
    }
    if (openGraphics(dom->conn->privateData, vm, number, pair[1],
                     flags & VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH) == 0) {
        ret = pair[0];
        pair[0] = -1;
    }

cleanup:
    VIR_FORCE_CLOSE(pair[0]);
    VIR_FORCE_CLOSE(pair[1]);
    virDomainObjEndAPI(&vm);
    return ret;
}
