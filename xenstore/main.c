/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: options, the main loop, the service manager's side of things.
 */
#include "control-daemon.h"
#include "server.h"
#include "supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define TICK_SECONDS       10
#define EXIT_OTHER_VERSION 78 /* EX_CONFIG: to start again helps nothing, see the unit */

static struct {
    gboolean foreground;
    gboolean bare;
    gboolean supervise;
    gboolean version;
    gboolean no_state;
    gboolean check;
    char **quotas;
    char *run_directory;
    char *state_directory;
    char *pid_file;
} options;

static const GOptionEntry option_entries[] = {
    {"foreground", 'f', 0, G_OPTION_ARG_NONE, &options.foreground, "Stay in the foreground and log to stderr",
     NULL},
    {"no-fork", 'N', G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_NONE, &options.foreground, NULL, NULL},
    {"run-dir", 'r', 0, G_OPTION_ARG_FILENAME, &options.run_directory,
     "Directory of the sockets (/run/xenstored, or $XENSTORED_RUNDIR)", "DIR"},
    {"state-dir", 's', 0, G_OPTION_ARG_FILENAME, &options.state_directory,
     "Directory of the state (/run/serai-xenstored)", "DIR"},
    {"no-state", 0, 0, G_OPTION_ARG_NONE, &options.no_state, "Keep no state: a restart begins empty", NULL},
    {"check", 0, 0, G_OPTION_ARG_NONE, &options.check,
     "Say whether the state in the directory can be taken up, and exit", NULL},
    {"quota", 'Q', 0, G_OPTION_ARG_STRING_ARRAY, &options.quotas,
     "Limit for each domain except the initial one, from now on; 0 is none", "NAME=NUMBER"},
    {"pid-file", 'F', 0, G_OPTION_ARG_FILENAME, &options.pid_file, "Write the process number to FILE",
     "FILE"},
    {"bare", 'D', 0, G_OPTION_ARG_NONE, &options.bare, "Serve sockets only, without a hypervisor", NULL},
    {"supervise", 0, 0, G_OPTION_ARG_NONE, &options.supervise,
     "Run as a child that is started again when it dies, with its connections", NULL},
    {"version", 'V', 0, G_OPTION_ARG_NONE, &options.version, "Print the version and exit", NULL},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static struct server server;

static void
log_message(const char *text)
{
    g_message("%s", text);
}

static bool stopping;

static void
signal_ready(struct server *of, struct watched *watched, uint32_t events)
{
    struct signalfd_siginfo info;

    (void)of;
    (void)events;
    if (read(watched->fd, &info, sizeof(info)) == sizeof(info))
        stopping = true;
}

static void
tick_ready(struct server *of, struct watched *watched, uint32_t events)
{
    uint64_t times;

    (void)events;
    if (read(watched->fd, &times, sizeof(times)) == sizeof(times))
        server_tick(of, g_get_monotonic_time() / G_USEC_PER_SEC);
}

static void
watchdog_ready(struct server *of, struct watched *watched, uint32_t events)
{
    uint64_t times;

    (void)of;
    (void)events;
    if (read(watched->fd, &times, sizeof(times)) == sizeof(times))
        sd_notify(0, "WATCHDOG=1");
}

/* Has the loop wait for @watched, too. */
static bool
watch(struct watched *watched, int fd)
{
    watched->fd = fd;
    return fd >= 0 && !server_watch(&server, watched, EPOLLIN);
}

static int
every(uint64_t interval_us)
{
    struct timespec time = {.tv_sec = interval_us / 1000000, .tv_nsec = interval_us % 1000000 * 1000};
    struct itimerspec timer = {.it_interval = time, .it_value = time};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

    if (fd >= 0)
        timerfd_settime(fd, 0, &timer, NULL);
    return fd;
}

static int
stop_signals(void)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Every wait of the daemon is in here, in one epoll set, which costs one system call however many wait. */
static bool
run(void)
{
    static struct watched signals = {.ready = signal_ready};
    static struct watched ticks = {.ready = tick_ready};
    static struct watched watchdog = {.ready = watchdog_ready};
    uint64_t watchdog_us;

    if (!watch(&signals, stop_signals()) || !watch(&ticks, every(TICK_SECONDS * G_USEC_PER_SEC)))
        return false;
    if (sd_watchdog_enabled(0, &watchdog_us) > 0 && !watch(&watchdog, every(watchdog_us / 3)))
        return false;
    sd_notify(0, "READY=1\nSTATUS=Serving.");
    while (!stopping) {
        server_wait(&server, server_busy(&server) ? 0 : -1);
        server_turn(&server);
    }
    return true;
}

/* Sockets that the service manager made or kept: by their names. */
static bool
take_passed_sockets(void)
{
    char **names = NULL;
    int count = sd_listen_fds_with_names(1, &names);
    bool listening = false;
    int i;

    for (i = 0; i < count; i++) {
        int fd = SD_LISTEN_FDS_START + i;
        unsigned int client;

        if (sscanf(names[i], "client-%u", &client) == 1) {
            if (!server_adopt(&server, client, fd))
                close(fd);
        } else if (server_listen_fd(&server, fd)) {
            close(fd);
        } else {
            listening = true;
        }
        free(names[i]);
    }
    free(names);
    return listening;
}

/* The sockets that libxenstore looks for; the second is for old programs. */
static bool
make_sockets(void)
{
    static const char *const sockets[] = {"socket", "socket_ro"};
    size_t i;
    mode_t mask;
    int rc = 0;

    mkdir(options.run_directory, 0755);
    mask = umask(0177);
    for (i = 0; i < G_N_ELEMENTS(sockets) && !rc; i++) {
        g_autofree char *path = g_build_filename(options.run_directory, sockets[i], NULL);

        rc = server_listen(&server, path);
        if (rc)
            g_printerr("Cannot listen on %s: %s.\n", path, g_strerror(-rc));
    }
    umask(mask);
    return rc == 0;
}

static bool
write_pid_file(void)
{
    g_autofree char *text = g_strdup_printf("%d\n", (int)getpid());
    g_autoptr(GError) error = NULL;

    if (!options.pid_file || g_file_set_contents(options.pid_file, text, -1, &error))
        return true;
    g_printerr("%s\n", error->message);
    return false;
}

/* The parent leaves when the child serves, so whoever started us may go on then. */
static bool
go_to_background(int *ret_ready)
{
    int ready[2];
    char byte;
    int null;

    if (pipe(ready))
        return false;
    switch (fork()) {
    case -1:
        return false;
    case 0:
        break;
    default:
        close(ready[1]);
        _exit(read(ready[0], &byte, 1) == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    close(ready[0]);
    setsid();
    if (chdir("/"))
        return false;
    null = open("/dev/null", O_RDWR);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    *ret_ready = ready[1];
    return true;
}

static bool
parse_options(int *argc, char ***argv)
{
    g_autoptr(GOptionContext) context = g_option_context_new("- the store of a Xen or Serai host");
    g_autoptr(GError) error = NULL;

    g_option_context_add_main_entries(context, option_entries, NULL);
    if (!g_option_context_parse(context, argc, argv, &error)) {
        g_printerr("%s\n", error->message);
        return false;
    }
    if (!options.run_directory)
        options.run_directory = g_strdup(g_getenv("XENSTORED_RUNDIR"));
    if (!options.run_directory)
        options.run_directory = g_strdup("/run/xenstored");
    if (!options.state_directory)
        options.state_directory = g_strdup("/run/serai-xenstored");
    return true;
}

/* Puts the limits of the command line in force, over those of the state. */
static bool
set_quotas(struct quota *quota)
{
    char **item;

    for (item = options.quotas; item && *item; item++) {
        g_auto(GStrv) parts = g_strsplit(*item, "=", 2);
        enum quota_kind kind;
        guint64 number;

        if (!parts[0] || !quota_find(parts[0], &kind)) {
            g_printerr("There is no limit called '%s'; the manual page lists them.\n", *item);
            return false;
        }
        if (!parts[1] || !g_ascii_string_to_unsigned(parts[1], 10, 0, UINT32_MAX, &number, NULL)) {
            g_printerr("'%s' gives no number for the limit, as %s=1000 would.\n", *item, parts[0]);
            return false;
        }
        quota->limit[kind] = number;
    }
    return true;
}

/* Many connections mean many descriptors. */
static void
raise_limits(void)
{
    struct rlimit limit;

    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int
check_state(void)
{
    int rc = journal_check(options.state_directory, log_message);

    if (!rc)
        return 0;
    g_printerr("The state in %s cannot be taken up: %s.\n", options.state_directory, g_strerror(-rc));
    return 1;
}

int
main(int argc, char **argv)
{
    g_auto(GStrv) own_argv = g_strdupv(argv);
    g_autofree char *program = g_file_read_link("/proc/self/exe", NULL);
    struct quota ignored;
    struct xen *xen = NULL;
    int ready = -1;
    bool listening;
    int rc;

    if (!parse_options(&argc, &argv))
        return 2;
    if (options.version) {
        puts("serai-xenstored " VERSION);
        return 0;
    }
    if (!set_quotas(&ignored))
        return 2;
    if (options.check)
        return check_state();
    signal(SIGPIPE, SIG_IGN);
    raise_limits();
    if (!options.foreground && !g_getenv(UPDATE_FDS) && !go_to_background(&ready)) {
        g_printerr("Cannot go to the background: %s.\n", g_strerror(errno));
        return 1;
    }
    if (!g_getenv(UPDATE_FDS) && !write_pid_file())
        return 1;
    if (options.supervise && !g_getenv(UPDATE_FDS))
        supervise();
    if (!options.bare) {
        rc = xen_open(&xen);
        if (rc) {
            g_printerr("Cannot reach the hypervisor: %s.  Use --bare to serve sockets only.\n",
                       g_strerror(-rc));
            return 1;
        }
    }
    rc = server_init(&server, options.no_state ? NULL : options.state_directory, xen, log_message);
    if (rc) {
        g_printerr("Cannot begin in %s: %s.\n", options.state_directory, g_strerror(-rc));
        /* A start script that finds the daemon running already has got what it wanted. */
        if (rc == -EBUSY && ready >= 0)
            rc = write(ready, "", 1) == 1 ? 0 : rc;
        return rc == -EPROTONOSUPPORT ? EXIT_OTHER_VERSION : rc ? 1 : 0;
    }
    set_quotas(&server.store.quota);
    server.argv = own_argv;
    server.program = program;
    server.fd_store = g_getenv("NOTIFY_SOCKET") != NULL;
    listening = control_daemon_inherit(&server);
    listening |= take_passed_sockets();
    if (!listening && !make_sockets())
        return 1;
    server_start(&server, g_get_monotonic_time() / G_USEC_PER_SEC);
    if (ready >= 0) {
        if (write(ready, "", 1) != 1)
            return 1;
        close(ready);
    }
    if (!run()) {
        g_printerr("Cannot wait for anything: %s.\n", g_strerror(errno));
        return 1;
    }
    sd_notify(0, "STOPPING=1");
    rc = journal_checkpoint(&server.journal, &server.store);
    if (rc)
        g_printerr("Cannot write the state: %s.\n", g_strerror(-rc));
    server_fini(&server);
    if (options.pid_file)
        unlink(options.pid_file);
    return rc ? 1 : 0;
}
