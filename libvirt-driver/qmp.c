/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One conversation at a time, begun and ended within a job of the domain, so there is no lock and nothing is
 * kept.  QEMU's answers are lines; events in between are skipped.  Each wait has an end, as QEMU may hang on
 * a disk, and so has the length of a line.
 */
#include "qmp.h"
#include "error.h"

#include "virtime.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.qmp");

#define QMP_TIMEOUT_MS 15000
#define QMP_LINE_MAX   (1024 * 1024)

struct _xenQmp {
    virDomainObj *vm;
    char *name; /* of the domain: @vm is not locked meanwhile */
    int fd;
    GString *pending; /* read, and not yet taken as a line */
};

static int
say(xenQmp *qmp, const char *text, int fd)
{
    struct iovec iov = {.iov_base = (void *)text, .iov_len = strlen(text)};
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t sent;

    if (fd >= 0) {
        struct cmsghdr *header = (struct cmsghdr *)control;

        header->cmsg_len = CMSG_LEN(sizeof(int));
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        memcpy(CMSG_DATA(header), &fd, sizeof(fd));
        message.msg_control = control;
        message.msg_controllen = sizeof(control);
    }
    while (iov.iov_len > 0) {
        sent = sendmsg(qmp->fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0) {
            virReportSystemError(errno, _("QEMU of domain '%s' takes no command"), qmp->name);
            return -1;
        }
        iov.iov_base = (char *)iov.iov_base + sent;
        iov.iov_len -= sent;
        message.msg_control = NULL;
        message.msg_controllen = 0;
    }
    return 0;
}

/* Reads what there is; waits until @deadline, a time in ms.  0 when something came. */
static int
hear(xenQmp *qmp, unsigned long long deadline)
{
    struct pollfd poller = {.fd = qmp->fd, .events = POLLIN};
    unsigned long long now;
    char buffer[4096];
    ssize_t length;
    int ready;

    do {
        if (virTimeMillisNow(&now) < 0)
            return -1;
        ready = now < deadline ? poll(&poller, 1, deadline - now) : 0;
    } while (ready < 0 && errno == EINTR);
    if (ready == 0) {
        virReportError(VIR_ERR_OPERATION_TIMEOUT, _("QEMU of domain '%s' does not answer"), qmp->name);
        return -1;
    }
    length = ready < 0 ? -1 : read(qmp->fd, buffer, sizeof(buffer));
    if (length < 0) {
        virReportSystemError(errno, _("cannot hear QEMU of domain '%s'"), qmp->name);
        return -1;
    }
    if (length == 0 || qmp->pending->len + length > QMP_LINE_MAX) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       length == 0 ? _("QEMU of domain '%s' has ended")
                                   : _("QEMU of domain '%s' answers without end"),
                       qmp->name);
        return -1;
    }
    g_string_append_len(qmp->pending, buffer, length);
    return 0;
}

static char *
nextLine(xenQmp *qmp, unsigned long long deadline)
{
    const char *end;
    char *line;

    while (!(end = memchr(qmp->pending->str, '\n', qmp->pending->len))) {
        if (hear(qmp, deadline) < 0)
            return NULL;
    }
    line = g_strndup(qmp->pending->str, end - qmp->pending->str);
    g_string_erase(qmp->pending, 0, end - qmp->pending->str + 1);
    return line;
}

static int
answer(xenQmp *qmp, const char *command, virJSONValue **ret_value)
{
    unsigned long long deadline;

    if (virTimeMillisNow(&deadline) < 0)
        return -1;
    deadline += QMP_TIMEOUT_MS;
    while (true) {
        g_autofree char *line = nextLine(qmp, deadline);
        g_autoptr(virJSONValue) value = line ? virJSONValueFromString(line) : NULL;
        virJSONValue *error;

        if (!value) {
            if (line)
                virReportError(VIR_ERR_OPERATION_FAILED, _("QEMU of domain '%s' answers no JSON"), qmp->name);
            return -1;
        }
        error = virJSONValueObjectGetObject(value, "error");
        if (error) {
            virReportError(VIR_ERR_OPERATION_FAILED, _("QEMU of domain '%s' refuses '%s': %s"), qmp->name,
                           command, NULLSTR(virJSONValueObjectGetString(error, "desc")));
            return -1;
        }
        if (!virJSONValueObjectHasKey(value, "return"))
            continue;
        if (ret_value)
            virJSONValueObjectRemoveKey(value, "return", ret_value);
        return 0;
    }
}

int
xenQmpCommand(xenQmp *qmp, const char *command, virJSONValue **arguments, int fd, virJSONValue **ret_value)
{
    g_autoptr(virJSONValue) request = virJSONValueNewObject();
    g_autoptr(virJSONValue) given = arguments ? g_steal_pointer(arguments) : NULL;
    g_autofree char *text = NULL;
    g_autofree char *line = NULL;

    if (virJSONValueObjectAppendString(request, "execute", command) < 0 ||
        (given && virJSONValueObjectAppend(request, "arguments", &given) < 0))
        return -1;
    text = virJSONValueToString(request, false);
    if (!text)
        return -1;
    line = g_strconcat(text, "\n", NULL);
    return say(qmp, line, fd) < 0 ? -1 : answer(qmp, command, ret_value);
}

/* A pretend machine has no QEMU; a test may put something in its place. */
static char *
socketPath(xenDriver *driver, virDomainObj *vm)
{
    if (driver->settings->pretend)
        return g_strdup_printf("%s/%s.qmp", driver->settings->stateDir, vm->def->name);
    return serai_domain_dup_qmp_path(XEN_PRIVATE(vm)->domain);
}

static int
connectTo(const char *path, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    VIR_AUTOCLOSE fd = -1;
    int result;

    if (strlen(path) >= sizeof(address.sun_path)) {
        virReportError(VIR_ERR_INTERNAL_ERROR, _("'%s' is too long for a socket"), path);
        return -1;
    }
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        if (errno == ENOENT || errno == ECONNREFUSED)
            virReportError(
                VIR_ERR_OPERATION_INVALID,
                _("domain '%s' has no QEMU: it has neither <graphics> nor a disk that QEMU serves"), name);
        else
            virReportSystemError(errno, _("cannot connect to QEMU of domain '%s'"), name);
        return -1;
    }
    result = fd;
    fd = -1;
    return result;
}

xenQmp *
xenQmpBegin(xenDriver *driver, virDomainObj *vm)
{
    g_autofree char *path = socketPath(driver, vm);
    xenQmp *qmp;
    int fd = connectTo(path, vm->def->name);

    if (fd < 0)
        return NULL;
    qmp = g_new0(xenQmp, 1);
    qmp->vm = vm;
    qmp->name = g_strdup(vm->def->name);
    qmp->fd = fd;
    qmp->pending = g_string_new(NULL);
    virObjectUnlock(vm);
    if (xenQmpCommand(qmp, "qmp_capabilities", NULL, -1, NULL) < 0) {
        xenQmpEnd(qmp);
        return NULL;
    }
    return qmp;
}

void
xenQmpEnd(xenQmp *qmp)
{
    if (!qmp)
        return;
    virObjectLock(qmp->vm);
    VIR_FORCE_CLOSE(qmp->fd);
    g_string_free(qmp->pending, TRUE);
    g_free(qmp->name);
    g_free(qmp);
}
