/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a parent process that does for its child what systemd does with FileDescriptorStoreMax=: it keeps
 * the sockets it is sent, under their names, and passes them to the next child.  It speaks the same
 * protocol (sd_notify), so the child cannot tell the difference.
 */
#include "supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEPT_MAX    4096
#define FIRST_FD    3 /* SD_LISTEN_FDS_START */
#define NAME_PREFIX "FDNAME="

static struct {
    int fd;
    char name[32];
} kept[KEPT_MAX];
static unsigned int kept_count;

static void
keep(int fd, const char *name)
{
    if (kept_count == KEPT_MAX) {
        close(fd);
        return;
    }
    kept[kept_count].fd = fd;
    snprintf(kept[kept_count++].name, sizeof(kept[0].name), "%s", name);
}

static void
forget(const char *name)
{
    unsigned int i;

    for (i = 0; i < kept_count; i++) {
        if (strcmp(kept[i].name, name))
            continue;
        close(kept[i].fd);
        kept[i--] = kept[--kept_count];
    }
}

/* One message of the child. */
static void
receive(int notify)
{
    char text[512], control[CMSG_SPACE(sizeof(int) * 4)];
    struct iovec part = {text, sizeof(text) - 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    ssize_t length = recvmsg(notify, &message, MSG_CMSG_CLOEXEC);
    struct cmsghdr *header;
    char *name;
    int fd = -1;

    if (length < 0)
        return;
    text[length] = '\0';
    header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    name = strstr(text, NAME_PREFIX);
    if (name) {
        name += strlen(NAME_PREFIX);
        name[strcspn(name, "\n")] = '\0';
    }
    if (fd >= 0 && name && !strncmp(text, "FDSTORE=1", 9))
        keep(fd, name);
    else if (fd >= 0)
        close(fd);
    else if (name && !strncmp(text, "FDSTOREREMOVE=1", 15))
        forget(name);
}

/* In the child: the kept descriptors from FIRST_FD on, and their names in the environment. */
static void
pass_descriptors(void)
{
    static char names[KEPT_MAX * sizeof(kept[0].name)];
    char number[20];
    size_t used = 0;
    unsigned int i;

    /* First out of the way, so that none is overwritten before it is moved. */
    for (i = 0; i < kept_count; i++)
        kept[i].fd = fcntl(kept[i].fd, F_DUPFD_CLOEXEC, FIRST_FD + (int)kept_count + 64);
    for (i = 0; i < kept_count; i++) {
        dup2(kept[i].fd, FIRST_FD + i);
        close(kept[i].fd);
        used += snprintf(names + used, sizeof(names) - used, "%s%s", i ? ":" : "", kept[i].name);
    }
    if (!kept_count)
        return;
    snprintf(number, sizeof(number), "%u", kept_count);
    setenv("LISTEN_FDS", number, 1);
    setenv("LISTEN_FDNAMES", names, 1);
    snprintf(number, sizeof(number), "%d", (int)getpid());
    setenv("LISTEN_PID", number, 1);
}

static int
make_notify_socket(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[80];
    socklen_t length;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    /* An abstract name leaves nothing behind in the file system. */
    snprintf(name, sizeof(name), "@serai-xenstored/%d", (int)getpid());
    memcpy(address.sun_path, name, strlen(name));
    address.sun_path[0] = '\0';
    length = offsetof(struct sockaddr_un, sun_path) + strlen(name);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length))
        return -1;
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

/* Whether the child's end is to be the end: it left by itself, or we are to stop. */
static bool
child_done(pid_t child, int *ret_status)
{
    int status;

    if (waitpid(child, &status, WNOHANG) != child)
        return false;
    *ret_status = status;
    return true;
}

void
supervise(void)
{
    struct signalfd_siginfo info;
    sigset_t signals, old;
    int notify = make_notify_socket();
    int events, status;
    bool stopping = false;
    pid_t child;

    if (notify < 0)
        return;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, &old);
    events = signalfd(-1, &signals, SFD_CLOEXEC);
    for (;;) {
        child = fork();
        if (child <= 0) {
            sigprocmask(SIG_SETMASK, &old, NULL);
            close(events);
            close(notify);
            pass_descriptors();
            return;
        }
        for (;;) {
            struct pollfd fds[2] = {{.fd = events, .events = POLLIN}, {.fd = notify, .events = POLLIN}};

            if (poll(fds, 2, -1) < 0)
                continue;
            /* What the child said comes before what became of it. */
            if (fds[1].revents) {
                receive(notify);
                continue;
            }
            if (read(events, &info, sizeof(info)) != sizeof(info))
                continue;
            if (info.ssi_signo == SIGCHLD) {
                if (child_done(child, &status))
                    break;
                continue;
            }
            stopping = true;
            kill(child, info.ssi_signo);
        }
        if (stopping || WIFEXITED(status))
            exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    }
}
