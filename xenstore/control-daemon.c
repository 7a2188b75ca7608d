/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the live update.  The state is written, the descriptors of sockets and listeners are left open and
 * named in the environment, and the new program takes the place of this one: same process, same
 * connections.  The answer to the request for it is a part of the state, so the new program gives it.
 * If the new program cannot be started, this one goes on as if nothing had been asked.
 */
#include "control-daemon.h"
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int
answer(struct buf *reply, const char *text)
{
    return buf_append(reply, text, strlen(text));
}

/*
 * Open transactions go into the state, so they are no reason to wait: -t and -F, with which Xen's tool
 * says how long to wait for them, are accepted and need nothing.
 */
static int
live_update(struct server *server, char **words, unsigned int count, struct buf *reply)
{
    if (count == 3 && !strcmp(words[1], "-f")) {
        if (access(words[2], X_OK))
            return answer(reply, "The new program cannot be executed.");
        mem_free(server->update_binary);
        server->update_binary = mem_strndup(words[2], strlen(words[2]));
        return server->update_binary ? answer(reply, "OK") : -ENOMEM;
    }
    if (count >= 2 && !strcmp(words[1], "-c"))
        return answer(reply, "OK");
    if (count == 2 && !strcmp(words[1], "-a")) {
        mem_free(server->update_binary);
        server->update_binary = NULL;
        return answer(reply, "OK");
    }
    if (count >= 2 && !strcmp(words[1], "-s")) {
        if (server->journal.directory < 0)
            return answer(reply, "There is no directory for the state.");
        server->update_wanted = true;
        return answer(reply, "OK");
    }
    return -EINVAL;
}

int
control_daemon(void *data, struct client *client, char **words, unsigned int count, struct buf *reply)
{
    struct server *server = data;

    (void)client;
    if (!strcmp(words[0], "live-update"))
        return live_update(server, words, count, reply);
    if (!strcmp(words[0], "snapshot")) {
        /* Written at the end of the turn: now this request is half-way. */
        server->snapshot_wanted = true;
        return answer(reply, "OK");
    }
    return -ENOSYS;
}

static void
keep_open(int fd, bool keep)
{
    fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC);
}

/* Leaves every socket open for the next program, or takes that back; returns their description. */
static void
keep_descriptors(struct server *server, bool keep, struct buf *description)
{
    struct listener *listener;
    char text[40];

    for (listener = server->listeners; listener; listener = listener->next) {
        keep_open(listener->watched.fd, keep);
        buf_append(description, text, snprintf(text, sizeof(text), "0:%d,", listener->watched.fd));
    }
    list_for_each(&server->store.client_list, item) {
        struct client *client = link_entry(item, struct client, in_store);
        struct connection *connection = client->transport;

        if (!client->socket || !connection)
            continue;
        keep_open(connection->watched.fd, keep);
        buf_append(description, text,
                   snprintf(text, sizeof(text), "%u:%d,", client->id, connection->watched.fd));
    }
}

/* Whether @binary says that it can take up the state just written; an older one may know another format. */
static bool
takes_up(struct server *server, const char *binary)
{
    char directory[64];
    const char *const arguments[] = {binary, "--check", "--state-dir", directory, NULL};
    pid_t child;
    int status, rc;

    snprintf(directory, sizeof(directory), "/proc/%d/fd/%d", (int)getpid(), server->journal.directory);
    rc = posix_spawn(&child, binary, NULL, NULL, (char *const *)arguments, environ);
    if (rc) {
        server_log(server, "No live update, because the program cannot be executed: %s.", strerror(rc));
        return false;
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && !WEXITSTATUS(status))
        return true;
    server_log(server, "No live update, because %s cannot take up the state.", binary);
    return false;
}

void
control_daemon_update(struct server *server)
{
    const char *binary = server->update_binary ? server->update_binary : server->program;
    struct buf description = {0};
    int rc;

    if (!server->update_wanted && !server->snapshot_wanted)
        return;
    server->snapshot_wanted = false;
    rc = journal_checkpoint(&server->journal, &server->store);
    if (rc)
        server_log(server, "The state cannot be written: %s.", strerror(-rc));
    if (rc || !server->update_wanted) {
        server->update_wanted = false;
        return;
    }
    server->update_wanted = false;
    if (!takes_up(server, binary))
        return;
    keep_descriptors(server, true, &description);
    if (!buf_append(&description, "", 1)) {
        setenv(UPDATE_FDS, buf_head(&description), 1);
        server_log(server, "Live update: %s takes over.", binary);
        execv(binary, server->argv);
        server_log(server, "No live update, because the program cannot be executed: %s.", strerror(errno));
        unsetenv(UPDATE_FDS);
    }
    keep_descriptors(server, false, &description);
    buf_fini(&description);
}

bool
control_daemon_inherit(struct server *server)
{
    const char *text = getenv(UPDATE_FDS);
    unsigned int client;
    int fd, used;

    if (!text)
        return false;
    while (sscanf(text, "%u:%d,%n", &client, &fd, &used) == 2) {
        keep_open(fd, false);
        if (client ? !server_adopt(server, client, fd) : server_listen_fd(server, fd) != 0)
            close(fd);
        text += used;
    }
    unsetenv(UPDATE_FDS);
    return true;
}
