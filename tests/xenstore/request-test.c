/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Requests: what is allowed to whom, what is refused with which error, what each costs, and what a
 * domain leaves behind.
 */
#include "peer.h"
#include "transaction.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xen/xen.h>

static struct store store;
static struct client *dom0;

static void
setup(void)
{
    peer_init(&store);
    dom0 = peer_socket(&store);
}

/* A domain as a toolstack prepares it: a home of its own, and a place in the backend's directory. */
static struct client *
setup_guest(uint16_t domid)
{
    char home[64], backend[64], frontend[64], owner[16], reader[16];

    sprintf(home, "/local/domain/%u", domid);
    sprintf(backend, "/local/domain/0/backend/vbd/%u/51712", domid);
    sprintf(frontend, "/local/domain/%u/device/vbd/51712", domid);
    sprintf(owner, "n%u", domid);
    sprintf(reader, "r%u", domid);
    ask(dom0, XS_MKDIR, 0, home);
    ask(dom0, XS_SET_PERMS, 0, home, "n0", reader);
    ask(dom0, XS_MKDIR, 0, frontend);
    ask(dom0, XS_SET_PERMS, 0, frontend, owner, "r0");
    ask(dom0, XS_MKDIR, 0, backend);
    ask(dom0, XS_SET_PERMS, 0, backend, "n0", reader);
    return peer_domain(&store, domid);
}

static void
teardown(void)
{
    char *report = g_strdup(ask(dom0, XS_CONTROL, 0, "check"));

    if (!strstr(report, " 0 domains wrong"))
        g_error("%s", report);
    g_free(report);
    store_fini(&store);
}

static void
nodes_as_the_protocol_says(void)
{
    setup();
    g_assert_cmpstr(peer_write(&store, dom0, 0, "/a/b/c", "x"), ==, "OK");
    g_assert_cmpstr(ask(dom0, XS_READ, 0, "/a/b/c"), ==, "x");
    g_assert_cmpstr(ask(dom0, XS_READ, 0, "/a/b"), ==, "");
    g_assert_cmpstr(ask(dom0, XS_DIRECTORY, 0, "/a"), ==, "b");
    g_assert_cmpstr(ask(dom0, XS_READ, 0, "/a/x"), ==, "!ENOENT");
    g_assert_cmpstr(ask(dom0, XS_MKDIR, 0, "/a/b/c"), ==, "OK");
    g_assert_cmpstr(ask(dom0, XS_READ, 0, "/a/b/c"), ==, "x");
    g_assert_cmpstr(ask(dom0, XS_RM, 0, "/a/none"), ==, "OK");
    g_assert_cmpstr(ask(dom0, XS_RM, 0, "/a/none/none"), ==, "!ENOENT");
    g_assert_cmpstr(ask(dom0, XS_RM, 0, "/"), ==, "!EINVAL");
    g_assert_cmpstr(ask(dom0, XS_RM, 0, "/a"), ==, "OK");
    g_assert_cmpstr(ask(dom0, XS_READ, 0, "/a/b/c"), ==, "!ENOENT");
    g_assert_cmpstr(ask(dom0, XS_READ, 0, "relative"), ==, "!ENOENT");
    g_assert_cmpstr(peer_write(&store, dom0, 0, "relative", "y"), ==, "OK");
    g_assert_cmpstr(ask(dom0, XS_READ, 0, "/local/domain/0/relative"), ==, "y");
    g_assert_cmpstr(ask(dom0, XS_READ, 0, "/a//b"), ==, "!EINVAL");
    g_assert_cmpstr(ask(dom0, XS_READ, 0, ""), ==, "!EINVAL");
    g_assert_cmpstr(ask(dom0, XS_READ, 0, "/a", "/b"), ==, "!EINVAL");
    g_assert_cmpstr(ask(dom0, XS_WATCH_EVENT, 0, "/a"), ==, "!ENOSYS");
    g_assert_cmpstr(ask(dom0, 77, 0, "/a"), ==, "!ENOSYS");
    g_assert_cmpstr(ask(dom0, XS_GET_PERMS, 0, "/tool"), ==, "n0");
    g_assert_cmpstr(ask(dom0, XS_SET_PERMS, 0, "/tool", "x0"), ==, "!EINVAL");
    g_assert_cmpstr(ask(dom0, XS_SET_PERMS, 0, "/tool"), ==, "!EINVAL");
    g_assert_cmpstr(ask(dom0, XS_SET_PERMS, 0, "/tool", "b0", "w65536"), ==, "!EINVAL");
    teardown();
}

static void
long_directory_comes_in_parts(void)
{
    GString *all = g_string_new(NULL);
    char path[64], offset[16], gen[32] = "";

    setup();
    for (int i = 0; i < 2000; i++) {
        sprintf(path, "/dir/child-%05d", i);
        peer_write(&store, dom0, 0, path, "");
    }
    g_assert_cmpstr(ask(dom0, XS_DIRECTORY, 0, "/dir"), ==, "!E2BIG");
    for (;;) {
        struct message message;
        size_t header;

        sprintf(offset, "%zu", all->len);
        sprintf(path, "/dir%c%s%c", 0, offset, 0);
        peer_send(&store, dom0, XS_DIRECTORY_PART, 0, path, 4 + 1 + strlen(offset) + 1);
        g_assert_true(peer_take(&store, dom0, &message));
        g_assert_cmpuint(message.header.type, ==, XS_DIRECTORY_PART);
        header = strlen(message.data) + 1;
        if (*gen)
            g_assert_cmpstr(gen, ==, message.data);
        strcpy(gen, message.data);
        g_string_append_len(all, message.data + header, message.header.len - header);
        if (all->len >= 2 && !all->str[all->len - 1] && !all->str[all->len - 2])
            break;
    }
    g_assert_cmpuint(all->len, ==, 2000 * 12 + 1);
    g_assert_cmpstr(all->str + 1999 * 12, ==, "child-01999");
    g_assert_cmpstr(ask(dom0, XS_DIRECTORY_PART, 0, "/dir", "5"), ==, "!EINVAL");
    g_assert_cmpstr(ask(dom0, XS_DIRECTORY_PART, 0, "/dir", "9999999"), ==, "!EINVAL");
    g_assert_cmpstr(ask(dom0, XS_DIRECTORY_PART, 0, "/dir", "x"), ==, "!EINVAL");
    g_string_free(all, TRUE);
    teardown();
}

static void
guest_sees_and_changes_only_its_own(void)
{
    struct client *guest, *other;

    setup();
    guest = setup_guest(5);
    other = setup_guest(6);
    g_assert_cmpstr(peer_write(&store, guest, 0, "device/vbd/51712/state", "1"), ==, "OK");
    g_assert_cmpstr(ask(guest, XS_READ, 0, "device/vbd/51712/state"), ==, "1");
    g_assert_cmpstr(ask(guest, XS_GET_PERMS, 0, "device/vbd/51712/state"), ==, "n5");
    g_assert_cmpstr(ask(other, XS_READ, 0, "/local/domain/5/device/vbd/51712/state"), ==, "!EACCES");
    g_assert_cmpstr(ask(other, XS_READ, 0, "/local/domain/5/device/vbd/51712/none"), ==, "!EACCES");
    g_assert_cmpstr(ask(guest, XS_READ, 0, "/local/domain/5/none"), ==, "!ENOENT");
    g_assert_cmpstr(peer_write(&store, guest, 0, "/local/domain/5/none", ""), ==, "!EACCES");
    g_assert_cmpstr(ask(guest, XS_READ, 0, "/local/domain/0/backend/vbd/5/51712"), ==, "");
    g_assert_cmpstr(peer_write(&store, guest, 0, "/local/domain/0/backend/vbd/5/51712", ""), ==, "!EACCES");
    g_assert_cmpstr(ask(guest, XS_RM, 0, "/local/domain/0/backend/vbd/5/51712"), ==, "!EACCES");
    g_assert_cmpstr(ask(guest, XS_SET_PERMS, 0, "device/vbd/51712", "n6"), ==, "!EPERM");
    g_assert_cmpstr(ask(guest, XS_SET_PERMS, 0, "device/vbd/51712", "n5", "b6"), ==, "OK");
    g_assert_cmpstr(peer_write(&store, other, 0, "/local/domain/5/device/vbd/51712/gift", ""), ==, "OK");
    g_assert_cmpstr(ask(guest, XS_GET_PERMS, 0, "device/vbd/51712/gift"), ==, "!EACCES");
    g_assert_cmpstr(ask(guest, XS_INTRODUCE, 0, "7", "1", "1"), ==, "!EACCES");
    g_assert_cmpstr(ask(guest, XS_RELEASE, 0, "6"), ==, "!EACCES");
    g_assert_cmpstr(ask(guest, XS_CONTROL, 0, "check"), ==, "!EACCES");
    g_assert_cmpstr(ask(guest, XS_SET_TARGET, 0, "5", "6"), ==, "!EACCES");
    g_assert_cmpstr(ask(guest, XS_IS_DOMAIN_INTRODUCED, 0, "5"), ==, "!EACCES");
    g_assert_cmpstr(ask(guest, XS_SET_QUOTA, 0, "nodes", "0"), ==, "!EACCES");
    g_assert_cmpstr(ask(guest, XS_SET_PERMS, 0, "@releaseDomain", "r5"), ==, "!EACCES");
    g_assert_cmpstr(ask(guest, XS_GET_DOMAIN_PATH, 0, "5"), ==, "/local/domain/5");
    teardown();
}

static void
device_model_acts_for_its_target(void)
{
    struct client *stub;

    setup();
    setup_guest(5);
    stub = setup_guest(6);
    g_assert_cmpstr(ask(stub, XS_READ, 0, "/local/domain/5/device/vbd/51712"), ==, "!EACCES");
    g_assert_cmpstr(ask(dom0, XS_SET_TARGET, 0, "6", "5"), ==, "OK");
    g_assert_cmpstr(ask(stub, XS_READ, 0, "/local/domain/5/device/vbd/51712"), ==, "");
    g_assert_cmpstr(peer_write(&store, stub, 0, "/local/domain/5/device/vbd/51712/x", ""), ==, "OK");
    g_assert_cmpstr(ask(stub, XS_READ, 0, "/local/domain/0/backend/vbd/5/51712"), ==, "");
    g_assert_cmpstr(ask(dom0, XS_SET_TARGET, 0, "6", "0"), !=, "OK");
    store_domain_gone(&store, 5);
    g_assert_cmpstr(ask(stub, XS_READ, 0, "/local/domain/0/backend/vbd/5/51712"), ==, "!EACCES");
    teardown();
}

static void
limits_hold_a_hostile_guest(void)
{
    struct client *guest;
    char path[64], value[3000], tx[16];
    const char *answer = "OK";
    int i;

    setup();
    guest = setup_guest(5);
    for (i = 0; !strcmp(answer, "OK"); i++) {
        sprintf(path, "device/vbd/51712/n%d", i);
        answer = peer_write(&store, guest, 0, path, "");
    }
    g_assert_cmpstr(answer, ==, "!ENOSPC");
    g_assert_cmpint(i, ==, 4096);
    g_assert_cmpstr(ask(guest, XS_RM, 0, "device/vbd/51712/n1"), ==, "OK");
    g_assert_cmpstr(ask(guest, XS_MKDIR, 0, "device/vbd/51712/n1"), ==, "OK");
    g_assert_cmpstr(ask(guest, XS_MKDIR, 0, "device/vbd/51712/m"), ==, "!ENOSPC");
    strcpy(tx, ask(guest, XS_TRANSACTION_START, 0, ""));
    g_assert_cmpstr(ask(guest, XS_MKDIR, atoi(tx), "device/vbd/51712/m"), ==, "!ENOSPC");
    g_assert_cmpstr(ask(guest, XS_TRANSACTION_END, atoi(tx), "T"), ==, "OK");
    memset(value, 'v', sizeof(value));
    value[2049] = '\0';
    g_assert_cmpstr(peer_write(&store, guest, 0, "device/vbd/51712/n1", value), ==, "!ENOSPC");
    value[2048] = '\0';
    answer = "OK";
    for (i = 0; !strcmp(answer, "OK"); i++) {
        sprintf(path, "device/vbd/51712/n%d", i);
        answer = peer_write(&store, guest, 0, path, value);
    }
    g_assert_cmpstr(answer, ==, "!ENOMEM");
    g_assert_cmpint(i, <, 1024);
    g_assert_cmpint(domain_memory(store_find_domain(&store, 5)), <=, 2 << 20);
    answer = "OK";
    ask(guest, XS_RM, 0, "device/vbd/51712/n1");
    for (i = 0; !strcmp(answer, "OK"); i++) {
        sprintf(value, "t%d", i);
        answer = ask(guest, XS_WATCH, 0, "device", value);
    }
    g_assert_cmpint(i, <=, 513);
    for (i = 0, answer = "1"; *answer != '!'; i++)
        answer = ask(guest, XS_TRANSACTION_START, 0, "");
    g_assert_cmpint(i, <=, 17);
    ask(guest, XS_RESET_WATCHES, 0, "");
    g_assert_cmpint(store_find_domain(&store, 5)->watches, ==, 0);
    g_assert_cmpint(store_find_domain(&store, 5)->transactions, ==, 0);
    g_assert_cmpint(store_find_domain(&store, 5)->other_bytes, ==, 0);
    /* Without a limit there is none. */
    g_assert_cmpstr(ask(dom0, XS_SET_QUOTA, 0, "5", "memory", "0"), ==, "OK");
    g_assert_cmpstr(ask(dom0, XS_SET_QUOTA, 0, "5", "nodes", "0"), ==, "OK");
    g_assert_cmpstr(ask(guest, XS_MKDIR, 0, "device/vbd/51712/m"), ==, "OK");
    g_assert_cmpstr(ask(dom0, XS_GET_QUOTA, 0, "5", "nodes"), ==, "0");
    g_assert_cmpstr(ask(dom0, XS_GET_QUOTA, 0, "nodes"), ==, "4096");
    teardown();
}

/* One device as Xen's tools and Linux's frontends make it: with queues, all of them in one transaction of the
 * guest. */
static void
connect_device(struct client *guest, const char *kind, int number, int queues)
{
    static const char *const by_tools[] = {"backend", "backend-id", "state",
                                           "handle",  "mac",        "virtual-device"};
    static const char *const of_queue[] = {"tx-ring-ref", "rx-ring-ref", "event-channel-tx",
                                           "event-channel-rx"};
    char path[100], tx[16];

    for (size_t i = 0; i < G_N_ELEMENTS(by_tools); i++) {
        sprintf(path, "/local/domain/5/device/%s/%d/%s", kind, number, by_tools[i]);
        peer_write(&store, dom0, 0, path, "value");
        ask(dom0, XS_SET_PERMS, 0, path, "n5", "r0");
    }
    sprintf(path, "/local/domain/5/device/%s/%d", kind, number);
    ask(dom0, XS_SET_PERMS, 0, path, "n5", "r0");
    sprintf(path, "/local/domain/0/backend/%s/5/%d/state", kind, number);
    peer_write(&store, dom0, 0, path, "2");
    ask(dom0, XS_SET_PERMS, 0, path, "n0", "r5");
    g_assert_cmpstr(ask(guest, XS_WATCH, 0, path, "backend"), ==, "OK");
    sprintf(path, "device/%s/%d/state", kind, number);
    g_assert_cmpstr(ask(guest, XS_WATCH, 0, path, "own"), ==, "OK");
    strcpy(tx, ask(guest, XS_TRANSACTION_START, 0, ""));
    for (int queue = 0; queue < queues; queue++) {
        for (size_t i = 0; i < G_N_ELEMENTS(of_queue); i++) {
            sprintf(path, "device/%s/%d/queue-%d/%s", kind, number, queue, of_queue[i]);
            g_assert_cmpstr(peer_write(&store, guest, atoi(tx), path, "123456"), ==, "OK");
        }
    }
    sprintf(path, "device/%s/%d/state", kind, number);
    g_assert_cmpstr(peer_write(&store, guest, atoi(tx), path, "3"), ==, "OK");
    g_assert_cmpstr(ask(guest, XS_TRANSACTION_END, atoi(tx), "T"), ==, "OK");
}

static void
defaults_hold_32_disks_and_16_cards(void)
{
    struct client *guest;

    setup();
    guest = setup_guest(5);
    for (int i = 0; i < 32; i++)
        connect_device(guest, "vbd", 51712 + 16 * i, 4);
    for (int i = 0; i < 16; i++)
        connect_device(guest, "vif", i, 8);
    g_test_message("%" PRId64 " nodes, %u watches, %" PRId64 " bytes", store_find_domain(&store, 5)->nodes,
                   store_find_domain(&store, 5)->watches, domain_memory(store_find_domain(&store, 5)));
    teardown();
}

static void
unread_replies_hold_requests_back(void)
{
    struct client *guest;
    int processed = 0;

    setup();
    guest = setup_guest(5);
    for (;;) {
        static const char request[] = {XS_GET_PERMS, 0,   0,   0,   7,   0,   0, 0, 0, 0, 0, 0, 7, 0, 0, 0,
                                       'd',          'e', 'v', 'i', 'c', 'e', 0};

        g_assert_cmpint(client_received(guest, request, sizeof(request)), ==, 0);
        if (!client_ready(&store, guest))
            break;
        g_assert_cmpint(request_process(&store, guest), ==, 0);
        g_assert_cmpint(++processed, <, 10000);
    }
    g_assert_cmpuint(guest->out.length, >, 64 * 1024);
    g_assert_cmpuint(guest->out.length, <, 64 * 1024 + MESSAGE_BYTES);
    client_sent(&store, guest, guest->out.length);
    g_assert_true(client_ready(&store, guest));
    teardown();
}

static void
unread_events_are_merged_then_told_again(void)
{
    struct client *guest;
    char path[64];
    char *events;

    setup();
    guest = setup_guest(5);
    ask(guest, XS_WATCH, 0, "device", "token");
    g_free(peer_events(&store, guest));
    /* The same event many times. */
    for (int i = 0; i < 100000; i++)
        peer_write(&store, dom0, 0, "/local/domain/5/device/vbd/51712", "x");
    g_assert_cmpuint(guest->out.length, <, 20000);
    /* Different events without end. */
    for (int i = 0; i < 100000; i++) {
        sprintf(path, "/local/domain/5/device/vbd/51712/n%d", i);
        peer_write(&store, dom0, 0, path, "");
    }
    g_assert_cmpuint(guest->out.length, <=, 4 * 64 * 1024);
    events = peer_events(&store, guest);
    g_assert_true(g_str_has_suffix(events, "\ndevice token\n"));
    g_free(events);
    events = peer_events(&store, guest);
    g_assert_cmpstr(events, ==, "");
    g_free(events);
    teardown();
}

static void
watches_match_as_the_protocol_says(void)
{
    char *events;

    setup();
    peer_write(&store, dom0, 0, "/a/b/c", "");
    ask(dom0, XS_WATCH, 0, "/a", "plain");
    ask(dom0, XS_WATCH, 0, "/a", "depth0", "0");
    ask(dom0, XS_WATCH, 0, "/a", "depth1", "1");
    ask(dom0, XS_WATCH, 0, "/a/b/c", "deep");
    ask(dom0, XS_WATCH, 0, "x/y", "relative");
    g_assert_cmpstr(ask(dom0, XS_WATCH, 0, "/a", "plain"), ==, "!EEXIST");
    g_assert_cmpstr(ask(dom0, XS_WATCH, 0, "/a", "bad", "-1"), ==, "!EINVAL");
    g_assert_cmpstr(ask(dom0, XS_WATCH, 0, "/a"), ==, "!EINVAL");
    g_free(peer_events(&store, dom0));
    peer_write(&store, dom0, 0, "/a/b/c", "1");
    peer_write(&store, dom0, 0, "/a/n", "1");
    peer_write(&store, dom0, 0, "/a", "1");
    peer_write(&store, dom0, 0, "/ab", "1");
    peer_write(&store, dom0, 0, "/local/domain/0/x/y/z", "1");
    peer_write(&store, dom0, 0, "/other", "1");
    /* peer_write takes events away with replies; so ask another client to write. */
    {
        struct client *writer = peer_socket(&store);

        g_free(peer_events(&store, dom0));
        peer_write(&store, writer, 0, "/a/b/c", "1");
        peer_write(&store, writer, 0, "/a/n", "1");
        peer_write(&store, writer, 0, "/a", "1");
        peer_write(&store, writer, 0, "/ab", "1");
        peer_write(&store, writer, 0, "/local/domain/0/x/y/z", "1");
        ask(writer, XS_MKDIR, 0, "/a/b/c");
        ask(writer, XS_SET_PERMS, 0, "/a/n", "r0");
        ask(writer, XS_RM, 0, "/a");
        events = peer_events(&store, dom0);
        g_assert_cmpstr(events, ==,
                        "/a/b/c plain\n/a/b/c deep\n"
                        "/a/n plain\n/a/n depth1\n"
                        "/a plain\n/a depth0\n/a depth1\n"
                        "x/y/z relative\n"
                        "/a/n plain\n/a/n depth1\n"
                        "/a plain\n/a depth0\n/a depth1\n/a/b/c deep\n");
        g_free(events);
    }
    g_assert_cmpstr(ask(dom0, XS_UNWATCH, 0, "/a", "none"), ==, "!ENOENT");
    g_assert_cmpstr(ask(dom0, XS_UNWATCH, 0, "/a", "plain"), ==, "OK");
    g_assert_cmpstr(ask(dom0, XS_UNWATCH, 0, "x/y", "relative"), ==, "OK");
    g_assert_cmpuint(store.watch_count, ==, 3);
    teardown();
}

/* Random watches and events against the sentence of the protocol: a child of the watched path. */
static void
trie_fires_what_the_list_would(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(4);
    g_autoptr(GPtrArray) watched = g_ptr_array_new_with_free_func(g_free);
    struct client *writer;

    setup();
    writer = peer_socket(&store);
    for (int step = 0; step < 20000; step++) {
        GString *path = g_string_new(NULL);
        int levels = g_rand_int_range(rand, 1, 5);

        while (levels--)
            g_string_append_printf(path, "/%c", 'a' + g_rand_int_range(rand, 0, 4));
        switch (g_rand_int_range(rand, 0, 6)) {
        case 0:
            if (!strcmp(ask(dom0, XS_WATCH, 0, path->str, "t"), "OK"))
                g_ptr_array_add(watched, g_strdup(path->str));
            break;
        case 1:
            if (!strcmp(ask(dom0, XS_UNWATCH, 0, path->str, "t"), "OK")) {
                guint index;

                g_assert_true(g_ptr_array_find_with_equal_func(watched, path->str, g_str_equal, &index));
                g_ptr_array_remove_index_fast(watched, index);
            }
            break;
        default: {
            char *events;
            guint expected = 0, seen = 0;

            g_free(peer_events(&store, dom0));
            peer_write(&store, writer, 0, path->str, "");
            events = peer_events(&store, dom0);
            for (guint i = 0; i < watched->len; i++) {
                size_t length = strlen(watched->pdata[i]);

                if (!strncmp(path->str, watched->pdata[i], length) &&
                    (!path->str[length] || path->str[length] == '/'))
                    expected++;
            }
            for (char *at = events; (at = strchr(at, '\n')); at++)
                seen++;
            g_assert_cmpuint(seen, ==, expected);
            g_free(events);
        }
        }
        g_string_free(path, TRUE);
    }
    teardown();
}

static void
guest_hears_only_of_what_it_may_read(void)
{
    struct client *guest;
    char *events;

    setup();
    guest = setup_guest(5);
    peer_write(&store, dom0, 0, "/vm/secret", "");
    ask(guest, XS_WATCH, 0, "/", "root");
    ask(guest, XS_WATCH, 0, "@introduceDomain", "special");
    g_free(peer_events(&store, guest));
    peer_write(&store, dom0, 0, "/vm/secret", "1");
    setup_guest(6);
    events = peer_events(&store, guest);
    g_assert_cmpstr(events, ==, "");
    g_free(events);
    peer_write(&store, dom0, 0, "/local/domain/0/backend/vbd/5/51712", "1");
    ask(dom0, XS_SET_PERMS, 0, "/local/domain/0/backend/vbd/5/51712", "n0");
    peer_write(&store, dom0, 0, "/local/domain/0/backend/vbd/5/51712", "2");
    events = peer_events(&store, guest);
    g_assert_cmpstr(events, ==,
                    "/local/domain/0/backend/vbd/5/51712 root\n/local/domain/0/backend/vbd/5/51712 root\n");
    g_free(events);
    g_assert_cmpstr(ask(dom0, XS_SET_PERMS, 0, "@introduceDomain", "n0", "r5"), ==, "OK");
    g_assert_cmpstr(ask(guest, XS_GET_PERMS, 0, "@introduceDomain"), ==, "n0");
    peer_domain(&store, 7);
    events = peer_events(&store, guest);
    g_assert_cmpstr(events, ==, "@introduceDomain special\n");
    g_free(events);
    teardown();
}

static void
special_watches_tell_of_domains(void)
{
    char *events;

    setup();
    ask(dom0, XS_WATCH, 0, "@introduceDomain", "i");
    ask(dom0, XS_WATCH, 0, "@releaseDomain", "r");
    ask(dom0, XS_WATCH, 0, "@releaseDomain", "r1", "1");
    ask(dom0, XS_WATCH, 0, "@releaseDomain/5", "five");
    ask(dom0, XS_WATCH, 0, "@releaseDomain/6", "six");
    g_free(peer_events(&store, dom0));
    peer_domain(&store, 5);
    store_domain_shutdown(&store, 5);
    store_domain_shutdown(&store, 5);
    store_domain_gone(&store, 5);
    store_domain_gone(&store, 5);
    events = peer_events(&store, dom0);
    g_assert_cmpstr(events, ==,
                    "@introduceDomain i\n"
                    "@releaseDomain r\n@releaseDomain/5 r1\n@releaseDomain/5 five\n"
                    "@releaseDomain r\n@releaseDomain/5 r1\n@releaseDomain/5 five\n");
    g_free(events);
    peer_domain(&store, 5);
    store_domain_shutdown(&store, 5);
    g_assert_cmpstr(ask(dom0, XS_RESUME, 0, "5"), ==, "OK");
    g_free(peer_events(&store, dom0));
    store_domain_shutdown(&store, 5);
    events = peer_events(&store, dom0);
    g_assert_cmpstr(events, ==, "@releaseDomain r\n@releaseDomain/5 r1\n@releaseDomain/5 five\n");
    g_free(events);
    g_assert_cmpstr(ask(dom0, XS_IS_DOMAIN_INTRODUCED, 0, "5"), ==, "T");
    g_assert_cmpstr(ask(dom0, XS_RELEASE, 0, "5"), ==, "OK");
    g_assert_cmpstr(ask(dom0, XS_RELEASE, 0, "5"), ==, "!ENOENT");
    g_assert_cmpstr(ask(dom0, XS_RELEASE, 0, "0"), ==, "!EINVAL");
    g_assert_cmpstr(ask(dom0, XS_IS_DOMAIN_INTRODUCED, 0, "5"), ==, "F");
    g_assert_cmpstr(ask(dom0, XS_INTRODUCE, 0, "32752", "1", "1"), ==, "!EINVAL");
    g_assert_cmpstr(ask(dom0, XS_INTRODUCE, 0, "5", "-1", "3"), ==, "OK");
    g_assert_cmpstr(ask(dom0, XS_INTRODUCE, 0, "5", "1", "0"), ==, "!EINVAL");
    teardown();
}

static void
dead_domain_leaves_nothing(void)
{
    struct client *guest;
    size_t before;

    setup();
    setup_guest(69); /* shares its bit with 5 in the masks of the tree */
    before = tree_count(store.root);
    for (int round = 0; round < 50; round++) {
        guest = setup_guest(5);
        ask(dom0, XS_SET_PERMS, 0, "/local/domain/0/backend/vbd/5", "n5");
        ask(dom0, XS_SET_PERMS, 0, "/local/domain/5", "n5");
        ask(dom0, XS_SET_PERMS, 0, "/tool", "n0", "r5", "r69");
        ask(guest, XS_SET_PERMS, 0, "device/vbd/51712", "n5", "b69");
        peer_write(&store, store_find_domain(&store, 69)->ring, 0, "/local/domain/5/device/vbd/51712/alien",
                   "");
        ask(guest, XS_WATCH, 0, "device", "t");
        ask(guest, XS_TRANSACTION_START, 0, "");
        store_domain_gone(&store, 5);
        g_assert_null(store_find_domain(&store, 5));
        g_assert_cmpuint(tree_count(store.root), ==, before);
        g_assert_cmpstr(ask(dom0, XS_GET_PERMS, 0, "/tool"), ==, "n0");
    }
    g_assert_cmpuint(store.watch_count, ==, 0);
    teardown();
}

static void
features_and_paths(void)
{
    setup();
    g_assert_cmpstr(ask(dom0, XS_GET_FEATURE, 0), ==, "7");
    g_assert_cmpstr(ask(dom0, XS_SET_FEATURE, 0, "9", "8"), ==, "!EINVAL");
    g_assert_cmpstr(ask(dom0, XS_SET_FEATURE, 0, "9", "1"), ==, "OK");
    g_assert_cmpstr(ask(dom0, XS_GET_FEATURE, 0, "9"), ==, "1");
    peer_domain(&store, 9);
    g_assert_cmpstr(ask(dom0, XS_SET_FEATURE, 0, "9", "3"), ==, "!EBUSY");
    g_assert_cmpstr(ask(dom0, XS_GET_DOMAIN_PATH, 0, "009"), ==, "/local/domain/9");
    g_assert_nonnull(strstr(ask(dom0, XS_GET_QUOTA, 0), "nodes watches transactions"));
    g_assert_cmpstr(ask(dom0, XS_GET_QUOTA, 0, "none"), ==, "!EINVAL");
    g_assert_nonnull(strstr(ask(dom0, XS_CONTROL, 0, "help"), "live-update"));
    g_assert_nonnull(strstr(ask(dom0, XS_CONTROL, 0, "quota", "9"), "in use: nodes 0"));
    g_assert_cmpstr(ask(dom0, XS_CONTROL, 0, "quota", "set", "watches", "3"), ==, "OK");
    g_assert_cmpstr(ask(dom0, XS_GET_QUOTA, 0, "watches"), ==, "3");
    g_assert_cmpstr(ask(dom0, XS_CONTROL, 0, "nonsense"), ==, "!EINVAL");
    g_assert_cmpstr(ask(dom0, XS_CONTROL, 0, "log", "9", "on"), ==, "OK");
    g_assert_true(store_find_domain(&store, 9)->log);
    teardown();
}

static void
too_long_a_message_ends_the_conversation(void)
{
    static const struct xsd_sockmsg header = {.type = XS_READ, .len = XENSTORE_PAYLOAD_MAX + 1};
    struct client *guest;

    setup();
    guest = setup_guest(5);
    client_received(guest, &header, sizeof(header));
    g_assert_true(client_ready(&store, guest));
    request_process(&store, guest);
    g_assert_cmpint(guest->broken, ==, XENSTORE_ERROR_PROTO);
    g_assert_false(client_ready(&store, guest));
    teardown();
}

/* A conversation of every kind of request; each allocation in it fails in turn. */
static bool
conversation(struct client *guest)
{
    char tx[16];

    peer_write(&store, guest, 0, "device/vbd/51712/a/b", "value");
    peer_write(&store, guest, 0, "device/vbd/51712/a/b", "other");
    ask(guest, XS_WATCH, 0, "device", "t");
    strcpy(tx, ask(guest, XS_TRANSACTION_START, 0, ""));
    peer_write(&store, guest, atoi(tx), "device/vbd/51712/x", "1");
    ask(guest, XS_RM, atoi(tx), "device/vbd/51712/a");
    ask(guest, XS_SET_PERMS, atoi(tx), "device/vbd/51712", "n5", "r6");
    peer_write(&store, dom0, 0, "/elsewhere", "");
    ask(guest, XS_TRANSACTION_END, atoi(tx), "T");
    ask(guest, XS_RM, 0, "device/vbd/51712/x");
    ask(guest, XS_UNWATCH, 0, "device", "t");
    return mem_failed();
}

static void
every_allocation_may_fail(void)
{
    bool failed = true;

    for (long count = 0; failed; count++) {
        struct client *guest;

        setup();
        guest = setup_guest(5);
        ask(dom0, XS_WATCH, 0, "/local", "w");
        /* The room for replies and requests is the test's own need. */
        buf_reserve(&guest->in, 65536);
        buf_reserve(&guest->out, 65536);
        buf_reserve(&dom0->in, 65536);
        buf_reserve(&dom0->out, 65536);
        mem_fail_after(count);
        failed = conversation(guest);
        mem_fail_after(-1);
        store_domain_gone(&store, 5);
        g_assert_cmpuint(store.watch_count, ==, 1);
        g_assert_cmpint(count, <, 1000);
        teardown();
    }
}

static void
death_survives_failed_allocations(void)
{
    bool failed = true;

    for (long count = 0; failed; count++) {
        setup();
        setup_guest(5);
        ask(dom0, XS_SET_PERMS, 0, "/tool", "n0", "r5");
        mem_fail_after(count);
        store_domain_gone(&store, 5);
        failed = mem_failed();
        mem_fail_after(-1);
        store_domain_gone(&store, 5);
        g_assert_cmpstr(ask(dom0, XS_READ, 0, "/local/domain/5/device/vbd/51712"), ==, "!ENOENT");
        g_assert_cmpstr(ask(dom0, XS_GET_PERMS, 0, "/tool"), ==, "n0");
        teardown();
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/request/nodes-as-the-protocol-says", nodes_as_the_protocol_says);
    g_test_add_func("/request/long-directory-comes-in-parts", long_directory_comes_in_parts);
    g_test_add_func("/request/guest-sees-and-changes-only-its-own", guest_sees_and_changes_only_its_own);
    g_test_add_func("/request/device-model-acts-for-its-target", device_model_acts_for_its_target);
    g_test_add_func("/request/limits-hold-a-hostile-guest", limits_hold_a_hostile_guest);
    g_test_add_func("/request/defaults-hold-32-disks-and-16-cards", defaults_hold_32_disks_and_16_cards);
    g_test_add_func("/request/unread-replies-hold-requests-back", unread_replies_hold_requests_back);
    g_test_add_func("/request/features-and-paths", features_and_paths);
    g_test_add_func("/request/too-long-a-message-ends-the-conversation",
                    too_long_a_message_ends_the_conversation);
    g_test_add_func("/request/every-allocation-may-fail", every_allocation_may_fail);
    g_test_add_func("/watch/unread-events-are-merged-then-told-again",
                    unread_events_are_merged_then_told_again);
    g_test_add_func("/watch/match-as-the-protocol-says", watches_match_as_the_protocol_says);
    g_test_add_func("/watch/trie-fires-what-the-list-would", trie_fires_what_the_list_would);
    g_test_add_func("/watch/guest-hears-only-of-what-it-may-read", guest_hears_only_of_what_it_may_read);
    g_test_add_func("/domain/special-watches-tell-of-domains", special_watches_tell_of_domains);
    g_test_add_func("/domain/dead-one-leaves-nothing", dead_domain_leaves_nothing);
    g_test_add_func("/domain/death-survives-failed-allocations", death_survives_failed_allocations);
    return g_test_run();
}
