/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The log of a domain's QEMU, /var/log/libvirt/libxl/NAME.log, in the form that QEMU's driver gives its own.
 *
 * virtlogd writes it, at the other end of a pipe, and keeps it small; it outlives us, so nothing is open here
 * and a restart of the daemon changes nothing.  With stdio_handler = "file" QEMU writes it itself.  A domain
 * without QEMU has no log.
 */
#include "log.h"

#include "logging/log_manager.h"
#include "vircommand.h"
#include "virtime.h"
#include "viruuid.h"

#include <fcntl.h>
#include <sys/utsname.h>

#define VIR_FROM_THIS VIR_FROM_LIBXL

VIR_LOG_INIT("serai.log");

/* What is looked at for the reason of a failure, and how much of it is told. */
#define XEN_LOG_END   4096
#define XEN_LOG_QUOTE 1024

#define XEN_LOG_STARTED ": starting up "

static char *
logPath(xenDriver *driver, const char *name)
{
    return g_strdup_printf("%s/%s.log", driver->settings->logDir, name);
}

static int
openLog(xenDriver *driver, const char *name, const unsigned char *uuid, const char *path)
{
    g_autoptr(virLogManager) manager = NULL;
    int fd;

    if (!driver->settings->logDaemon) {
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, S_IRUSR | S_IWUSR);
        if (fd < 0)
            virReportSystemError(errno, _("cannot open '%s'"), path);
        return fd;
    }
    manager = virLogManagerNew(driver->privileged);
    if (!manager)
        return -1;
    fd = virLogManagerDomainOpenLogFile(manager, "libxl", uuid, name, path, 0, NULL, NULL);
    if (fd >= 0 && virSetCloseExec(fd) < 0)
        VIR_FORCE_CLOSE(fd);
    return fd;
}

static int
writeStart(int fd, const char *const *argv)
{
    g_autoptr(virCommand) command = virCommandNewArgs(argv);
    g_autofree char *line = virCommandToString(command, false);
    g_autofree char *stamp = virTimeStringNow();
    g_autofree char *hostname = virGetHostnameQuiet();
    g_autofree char *text = NULL;
    struct utsname uts;

    uname(&uts);
    text = g_strdup_printf("%s" XEN_LOG_STARTED "libvirt version: %d.%d.%d, kernel: %s, hostname: %s\n%s\n",
                           NULLSTR_EMPTY(stamp), LIBVIR_VERSION_NUMBER / 1000000,
                           LIBVIR_VERSION_NUMBER / 1000 % 1000, LIBVIR_VERSION_NUMBER % 1000, uts.release,
                           NULLSTR_EMPTY(hostname), NULLSTR_EMPTY(line));
    return safewrite(fd, text, strlen(text)) < 0 ? -1 : 0;
}

/* Called by the library in the thread of a start or an attach, which has given up the domain's lock. */
static int
onModelStarts(SeraiHost *host G_GNUC_UNUSED, const char *name, const char *uuidText, const char *const *argv,
              gpointer opaque, GError **error)
{
    xenDriver *driver = opaque;
    g_autofree char *path = logPath(driver, name);
    unsigned char uuid[VIR_UUID_BUFLEN];
    int fd = virUUIDParse(uuidText, uuid) < 0 ? -1 : openLog(driver, name, uuid, path);

    if (fd >= 0 && writeStart(fd, argv) < 0) {
        virReportSystemError(errno, _("cannot write '%s'"), path);
        VIR_FORCE_CLOSE(fd);
    }
    if (fd < 0) {
        g_set_error(error, SERAI_ERROR, SERAI_ERROR_FAILED, "%s", virGetLastErrorMessage());
        virResetLastError();
    }
    return fd;
}

void
xenLogSetup(xenDriver *driver)
{
    serai_host_set_model_log(driver->host, onModelStarts, driver, NULL);
}

static int
append(xenDriver *driver, const virDomainDef *def, const char *path, const char *text)
{
    g_autoptr(virLogManager) manager = NULL;
    VIR_AUTOCLOSE fd = -1;

    if (!driver->settings->logDaemon) {
        fd = openLog(driver, def->name, def->uuid, path);
        return fd < 0 || safewrite(fd, text, strlen(text)) < 0 ? -1 : 0;
    }
    manager = virLogManagerNew(driver->privileged);
    return manager ? virLogManagerDomainAppendMessage(manager, "libxl", def->uuid, def->name, path, text, 0)
                   : -1;
}

void
xenLogShutdown(xenDriver *driver, const virDomainDef *def, virDomainShutoffReason reason)
{
    g_autofree char *path = logPath(driver, def->name);
    g_autofree char *stamp = virTimeStringNow();
    g_autofree char *text = g_strdup_printf("%s: shutting down, reason=%s\n", NULLSTR_EMPTY(stamp),
                                            virDomainShutoffReasonTypeToString(reason));

    if (append(driver, def, path, text) < 0) {
        VIR_WARN("the end of domain '%s' is not in its log: %s", def->name, virGetLastErrorMessage());
        virResetLastError();
    }
}

/* The last XEN_LOG_END bytes, or a little more: what virtlogd has not written yet is written first. */
static char *
readEnd(xenDriver *driver, const char *path)
{
    g_autoptr(virLogManager) manager = NULL;
    VIR_AUTOCLOSE fd = -1;
    char *text = NULL;
    struct stat sb;
    off_t begin;

    if (stat(path, &sb) < 0)
        return NULL;
    begin = MAX(sb.st_size - XEN_LOG_END, 0);
    if (driver->settings->logDaemon) {
        manager = virLogManagerNew(driver->privileged);
        return manager ? virLogManagerDomainReadLogFile(manager, path, sb.st_ino, begin, 2 * XEN_LOG_END, 0)
                       : NULL;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || lseek(fd, begin, SEEK_SET) < 0 || virFileReadLimFD(fd, 2 * XEN_LOG_END, &text) < 0)
        return NULL;
    return text;
}

/* What QEMU said since its start, of which @text is the end, and no more than can be read. */
static const char *
lastWords(char *text)
{
    char *started = g_strrstr(text, XEN_LOG_STARTED);
    char *command = started ? strchr(started, '\n') : NULL;
    char *words = command ? strchr(command + 1, '\n') : NULL;
    size_t length;

    words = words ? words + 1 : started ? strchr(started, '\0') : text;
    length = strlen(g_strchomp(words));
    if (length > XEN_LOG_QUOTE) {
        words += length - XEN_LOG_QUOTE;
        command = strchr(words, '\n');
        words = command ? command + 1 : words;
    }
    return words;
}

void
xenLogQuote(xenDriver *driver, const virDomainDef *def, GError *error)
{
    g_autofree char *path = NULL;
    g_autofree char *text = NULL;
    g_autofree char *message = NULL;
    g_autofree char *valid = NULL;

    if (!g_error_matches(error, SERAI_ERROR, SERAI_ERROR_MODEL_ENDED))
        return;
    path = logPath(driver, def->name);
    text = readEnd(driver, path);
    virResetLastError();
    if (!text)
        return;
    message = error->message;
    valid = g_utf8_make_valid(lastWords(text), -1);
    error->message = g_strdup_printf("%s %s", message, valid);
}
