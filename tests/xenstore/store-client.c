/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A client that checks every answer, for as long as it lives: in a guest through /dev/xen/xenbus, in the
 * initial domain through that or a socket.  It writes a number, reads it back, does the same in a
 * transaction, and hears of each through a watch; any answer that is missing, doubled or wrong ends it.
 * Without ROUNDS it leaves others the processor between two of them.
 *
 * Usage: store-client DEVICE-OR-SOCKET PATH [ROUNDS]
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <xen/io/xs_wire.h>

#define PAUSE_US 5000

static int fd;
static unsigned int events;
static uint32_t next_id = 1;

static void
wrong(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    printf("store-client: WRONG: ");
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
    fflush(stdout);
    exit(1);
}

static void
transfer(void *data, size_t length, int out)
{
    char *at = data;

    while (length) {
        ssize_t done = out ? write(fd, at, length) : read(fd, at, length);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            wrong("the connection ended: %s", done ? strerror(errno) : "end of file");
        at += done;
        length -= done;
    }
}

/* Sends one request and returns its answer; events before it are counted. */
static char *
ask(uint32_t type, uint32_t tx_id, const char *data, size_t length)
{
    static char answer[XENSTORE_PAYLOAD_MAX + 1];
    struct xsd_sockmsg header = {.type = type, .req_id = next_id++, .tx_id = tx_id, .len = length};
    uint32_t wanted = header.req_id;
    char message[sizeof(header) + 512];

    memcpy(message, &header, sizeof(header));
    memcpy(message + sizeof(header), data, length);
    transfer(message, sizeof(header) + length, 1);
    for (;;) {
        transfer(&header, sizeof(header), 0);
        if (header.len > XENSTORE_PAYLOAD_MAX)
            wrong("a message of %u bytes", header.len);
        transfer(answer, header.len, 0);
        answer[header.len] = '\0';
        if (header.type != XS_WATCH_EVENT)
            break;
        events++;
    }
    if (header.type == XS_ERROR && !strcmp(answer, "EAGAIN"))
        return answer;
    if (header.type != type || header.req_id != wanted)
        wrong("asked %u as %u, got %u as %u: %s", type, wanted, header.type, header.req_id, answer);
    return answer;
}

static void
write_number(const char *path, uint32_t tx_id, unsigned long number)
{
    char payload[256];
    size_t length = strlen(path) + 1;

    memcpy(payload, path, length);
    length += sprintf(payload + length, "%lu", number);
    if (strcmp(ask(XS_WRITE, tx_id, payload, length), "OK"))
        wrong("a write was not acknowledged");
}

static void
expect_number(const char *path, uint32_t tx_id, unsigned long number)
{
    char *answer = ask(XS_READ, tx_id, path, strlen(path) + 1);

    if (strtoul(answer, NULL, 10) != number)
        wrong("wrote %lu and read %s", number, answer);
}

static void
open_store(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;

    if (!stat(name, &status) && S_ISSOCK(status.st_mode)) {
        snprintf(address.sun_path, sizeof(address.sun_path), "%s", name);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
            wrong("%s: %s", name, strerror(errno));
        return;
    }
    fd = open(name, O_RDWR);
    if (fd < 0)
        wrong("%s: %s", name, strerror(errno));
}

int
main(int argc, char **argv)
{
    unsigned long round, rounds, commits = 0;
    char payload[256];
    size_t length;

    if (argc < 3)
        return 2;
    rounds = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
    open_store(argv[1]);
    length = sprintf(payload, "%s", argv[2]) + 1;
    length += sprintf(payload + length, "token") + 1;
    write_number(argv[2], 0, 0);
    ask(XS_WATCH, 0, payload, length);
    for (round = 1; !rounds || round <= rounds; round++) {
        uint32_t tx_id;

        write_number(argv[2], 0, 2 * round);
        expect_number(argv[2], 0, 2 * round);
        tx_id = strtoul(ask(XS_TRANSACTION_START, 0, "", 1), NULL, 10);
        expect_number(argv[2], tx_id, 2 * round);
        write_number(argv[2], tx_id, 2 * round + 1);
        expect_number(argv[2], 0, 2 * round);
        if (!strcmp(ask(XS_TRANSACTION_END, tx_id, "T", 2), "OK")) {
            expect_number(argv[2], 0, 2 * round + 1);
            commits++;
        } else {
            wrong("a transaction alone on its node conflicted");
        }
        if (round % 20 == 0 || round == rounds) {
            printf("store-client: %lu rounds right, %u events\n", round, events);
            fflush(stdout);
        }
        if (!rounds)
            usleep(PAUSE_US);
    }
    /* Each write and each commit is one event, the watch's own is one more; the last may still come. */
    if (events + 1 < 2 * commits + 1 || events > 2 * commits + 1)
        wrong("%u events of %lu writes", events, 2 * commits + 1);
    return 0;
}
