/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What system-bench.py runs inside a guest, static, so that it needs nothing there:
 *
 *   as /init         says at once that the first program runs, then becomes /bin/sh with /bench.sh
 *   micro            system call, fork, fork and exec, pipe, page fault
 *   disk DEVICE      reads and writes, sequential and random
 *   net HOST PORT    stream both ways, request and response, against "serve PORT" in dom0
 *   count            micro's operations a fixed number of times, between the marks of count/plugin.c
 *   count-io DEVICE HOST PORT
 *                    the same of disk and net
 *   true             ends at once: what is executed
 *
 * Each result is a line "bench: NAME VALUE", times in microseconds, rates in MiB/s or operations per second.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ENOUGH 0.7 /* seconds for each operation */
#define BLOCK  (256u << 10)
#define SMALL  4096u
#define AREA   (64u << 20) /* of the disk */
#define STREAM (8u << 20)

static void __attribute__((noreturn)) die(const char *what)
{
    printf("bench: failed %s: %s\n", what, strerror(errno));
    exit(1);
}

static double
now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- operations, each @count times --- */

static void
do_syscall(unsigned count)
{
    while (count--)
        syscall(SYS_getppid);
}

static void
do_fork(unsigned count)
{
    while (count--) {
        pid_t pid = fork();

        if (pid == 0)
            _exit(0);
        if (pid < 0 || waitpid(pid, NULL, 0) != pid)
            die("fork");
    }
}

static void
do_fork_exec(unsigned count)
{
    while (count--) {
        pid_t pid = fork();

        if (pid == 0) {
            execl("/proc/self/exe", "bench", "true", (char *)NULL);
            _exit(127);
        }
        if (pid < 0 || waitpid(pid, NULL, 0) != pid)
            die("fork and exec");
    }
}

/* One byte to another process and back. */
static void
do_pipe(unsigned count)
{
    int there[2], back[2];
    char byte = 0;
    pid_t pid;

    if (pipe(there) || pipe(back))
        die("pipe");
    pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        while (count-- && read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1)
            ;
        _exit(0);
    }
    while (count--)
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
            die("pipe");
    waitpid(pid, NULL, 0);
    for (int i = 0; i < 2; i++) {
        close(there[i]);
        close(back[i]);
    }
}

/* Touches pages that are not there; at most 1024 at a time. */
static void
do_page_fault(unsigned count)
{
    while (count) {
        unsigned n = count < 1024 ? count : 1024;
        char *area =
            mmap(NULL, n * (size_t)SMALL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (area == MAP_FAILED)
            die("mmap");
        madvise(area, n * (size_t)SMALL, MADV_NOHUGEPAGE);
        for (unsigned i = 0; i < n; i++)
            *(volatile char *)(area + i * (size_t)SMALL) = 1;
        munmap(area, n * (size_t)SMALL);
        count -= n;
    }
}

static const struct {
    const char *name;
    void (*run)(unsigned count);
    unsigned batch; /* between two looks at the clock, and when instructions are counted */
} operations[] = {
    {"syscall", do_syscall, 1000},       {"fork", do_fork, 10},
    {"fork-exec", do_fork_exec, 10},     {"pipe", do_pipe, 100},
    {"page-fault", do_page_fault, 1024},
};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

static void
micro(void)
{
    for (unsigned i = 0; i < OPERATIONS; i++) {
        double begin, took;
        unsigned long count = 0;

        operations[i].run(operations[i].batch / 10); /* warm */
        begin = now();
        do {
            operations[i].run(operations[i].batch);
            count += operations[i].batch;
            took = now() - begin;
        } while (took < ENOUGH);
        printf("bench: %s %.3f\n", operations[i].name, took * 1e6 / (double)count);
    }
}

/* --- counting --- */

#define MARK(number) \
    __asm__ volatile(".byte 0x0f, 0x1f, 0x84, 0x00\n\t.long 0x5e7a1000 + %c0" ::"i"(number) : "memory")
/* Runs @work once before it counts. */
#define COUNT_WORK(number, name, batch, work)                               \
    do {                                                                    \
        work;                                                               \
        MARK(number);                                                       \
        work;                                                               \
        MARK(0x100 + (number));                                             \
        printf("bench: counted %d %s %u\n", number, name, (unsigned)batch); \
    } while (0)
#define COUNT(index)                                                            \
    COUNT_WORK(0x40 + (index), operations[index].name, operations[index].batch, \
               operations[index].run(operations[index].batch))

static void
count_all(void)
{
    COUNT(0);
    COUNT(1);
    COUNT(2);
    COUNT(3);
    COUNT(4);
    _Static_assert(OPERATIONS == 5, "each operation is counted");
}

/* --- disk --- */

static double
transfer(int fd, uint8_t *buffer, unsigned size, unsigned count, int writing, int scattered)
{
    uint32_t random = 12345;
    double begin = now();

    for (unsigned i = 0; i < count; i++) {
        off_t block = i;
        ssize_t n;

        if (scattered) {
            random = random * 1103515245u + 12345u;
            block = random >> 8;
        }
        block %= AREA / size;
        n = writing ? pwrite(fd, buffer, size, block * size) : pread(fd, buffer, size, block * size);
        if (n != (ssize_t)size)
            die(writing ? "write" : "read");
    }
    if (writing && fsync(fd))
        die("fsync");
    return now() - begin;
}

static int
open_disk(const char *device, uint8_t **buffer)
{
    int fd = open(device, O_RDWR | O_DIRECT);

    if (fd < 0 || posix_memalign((void **)buffer, SMALL, BLOCK))
        die(device);
    memset(*buffer, 0x5a, BLOCK);
    return fd;
}

static void
disk(const char *device)
{
    uint8_t *buffer;
    int fd = open_disk(device, &buffer);

    transfer(fd, buffer, BLOCK, AREA / BLOCK, 0, 0); /* what dom0 caches it has then */
    printf("bench: disk-read %.3f\n", AREA / 1048576.0 / transfer(fd, buffer, BLOCK, AREA / BLOCK, 0, 0));
    printf("bench: disk-write %.3f\n",
           AREA / 2097152.0 / transfer(fd, buffer, BLOCK, AREA / BLOCK / 2, 1, 0));
    printf("bench: disk-read-4k %.1f\n", 500 / transfer(fd, buffer, SMALL, 500, 0, 1));
    printf("bench: disk-write-4k %.1f\n", 500 / transfer(fd, buffer, SMALL, 500, 1, 1));
}

/* --- network --- */

enum { SINK = 's', SOURCE = 'f', ECHO = 'e' };

static void
transfer_all(int fd, char *buffer, size_t size, int sending)
{
    while (size) {
        size_t want = size < BLOCK ? size : BLOCK;
        ssize_t n = sending ? send(fd, buffer, want, MSG_NOSIGNAL) : recv(fd, buffer, want, 0);

        if (n <= 0)
            die(sending ? "send" : "recv");
        size -= (size_t)n;
    }
}

/* One connection: its first byte says what is wanted. */
static void
serve_one(int fd, char *buffer)
{
    char what;
    ssize_t n;

    if (recv(fd, &what, 1, 0) != 1)
        return;
    if (what == SOURCE) {
        transfer_all(fd, buffer, STREAM, 1);
    } else if (what == SINK) {
        transfer_all(fd, buffer, STREAM, 0);
        transfer_all(fd, buffer, 1, 1);
    } else {
        while ((n = recv(fd, buffer, 64, 0)) > 0)
            transfer_all(fd, buffer, (size_t)n, 1);
    }
}

static void
serve(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    static char buffer[BLOCK];

    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 8))
        die("listen");
    printf("bench: serving\n");
    fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);

        if (fd < 0)
            continue;
        if (fork() == 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
            serve_one(fd, buffer);
            _exit(0);
        }
        close(fd);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
}

static int
connect_to(const char *host, int port, char what)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1, fd = -1;

    inet_pton(AF_INET, host, &address.sin_addr);
    /* A bridge's new port may take its time. */
    for (int i = 0; i < 30; i++) {
        fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
            break;
        close(fd);
        fd = -1;
        sleep(1);
    }
    if (fd < 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    transfer_all(fd, &what, 1, 1);
    return fd;
}

static char net_buffer[BLOCK];

static void
net_send(const char *host, int port)
{
    int fd = connect_to(host, port, SINK);

    transfer_all(fd, net_buffer, STREAM, 1);
    transfer_all(fd, net_buffer, 1, 0);
    close(fd);
}

static void
net_receive(const char *host, int port)
{
    int fd = connect_to(host, port, SOURCE);

    transfer_all(fd, net_buffer, STREAM, 0);
    close(fd);
}

static void
net_requests(int fd, unsigned count)
{
    while (count--) {
        transfer_all(fd, net_buffer, 64, 1);
        transfer_all(fd, net_buffer, 64, 0);
    }
}

static void
net(const char *host, int port)
{
    unsigned long count = 0;
    double begin, took;
    int fd;

    net_requests(fd = connect_to(host, port, ECHO), 1); /* the bridge's port is awake then */
    begin = now();
    net_send(host, port);
    printf("bench: net-send %.3f\n", STREAM / 1048576.0 / (now() - begin));
    begin = now();
    net_receive(host, port);
    printf("bench: net-receive %.3f\n", STREAM / 1048576.0 / (now() - begin));
    begin = now();
    do {
        net_requests(fd, 8);
        count += 8;
        took = now() - begin;
    } while (took < 2 * ENOUGH);
    printf("bench: net-request %.1f\n", (double)count / took);
    close(fd);
}

/* Streams by the MiB, small ones each. */
static void
count_io(const char *device, const char *host, int port)
{
    uint8_t *buffer;
    int disk_fd = open_disk(device, &buffer), net_fd = connect_to(host, port, ECHO);

    COUNT_WORK(0x50, "disk-read", 8, transfer(disk_fd, buffer, BLOCK, 32, 0, 0));
    COUNT_WORK(0x51, "disk-write", 8, transfer(disk_fd, buffer, BLOCK, 32, 1, 0));
    COUNT_WORK(0x52, "disk-read-4k", 200, transfer(disk_fd, buffer, SMALL, 200, 0, 1));
    COUNT_WORK(0x53, "disk-write-4k", 200, transfer(disk_fd, buffer, SMALL, 200, 1, 1));
    COUNT_WORK(0x54, "net-send", STREAM >> 20, net_send(host, port));
    COUNT_WORK(0x55, "net-receive", STREAM >> 20, net_receive(host, port));
    COUNT_WORK(0x56, "net-request", 400, net_requests(net_fd, 400));
    close(net_fd);
}

int
main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (getpid() == 1) {
        printf("bench: first program\n");
        execl("/bin/sh", "sh", "/bench.sh", (char *)NULL);
        die("/bin/sh");
    }
    if (!strcmp(what, "true"))
        return 0;
    if (!strcmp(what, "micro"))
        micro();
    else if (!strcmp(what, "count"))
        count_all();
    else if (!strcmp(what, "count-io") && argc == 5)
        count_io(argv[2], argv[3], atoi(argv[4]));
    else if (!strcmp(what, "disk") && argc == 3)
        disk(argv[2]);
    else if (!strcmp(what, "net") && argc == 4)
        net(argv[2], atoi(argv[3]));
    else if (!strcmp(what, "serve") && argc == 3)
        serve(atoi(argv[2]));
    else
        return 2;
    printf("bench: done\n");
    return 0;
}
