/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the CONTROL request: a table of commands for people.  What concerns the daemon rather than the
 * store (live update, log file) goes out through store->ops.
 */
#include "request.h"
#include "transaction.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define WORDS 16

struct control {
    struct call *call;
    char **words; /* after the command */
    unsigned int count;
    struct buf reply;
};

static void say(struct control *control, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds a line to the reply; what does not fit into one message is left out. */
static void
say(struct control *control, const char *format, ...)
{
    char line[256];
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (length >= (int)sizeof(line))
        length = sizeof(line) - 1;
    if (control->reply.length + length < XENSTORE_PAYLOAD_MAX)
        buf_append(&control->reply, line, length);
}

/* The domain that the first word names; NULL if it names none that is known. */
static struct domain *
named_domain(struct control *control)
{
    uint64_t domid;

    if (!control->count || !wire_number(control->words[0], UINT16_MAX, &domid))
        return NULL;
    return store_find_domain(control->call->store, domid);
}

static int
control_check(struct control *control)
{
    struct store *store = control->call->store;
    struct ledger ledger = {0};
    size_t count = tree_count(store->root);
    struct node root;
    unsigned int wrong = 0;
    int64_t charged = 0;
    uint32_t i;
    int rc;

    tree_root(store->root, &root);
    rc = tree_account(&root, 1, &ledger);
    for (i = 0; !rc && i < ledger.count; i++) {
        struct domain *domain = store_find_domain(store, ledger.entries[i].domid);

        if (!domain || domain->nodes != ledger.entries[i].nodes ||
            domain->node_bytes != ledger.entries[i].bytes) {
            say(control,
                "domain %u: charged with %" PRId64 " nodes of %" PRId64 " bytes, has %" PRId64 " of %" PRId64
                "\n",
                ledger.entries[i].domid, domain ? domain->nodes : -1, domain ? domain->node_bytes : -1,
                ledger.entries[i].nodes, ledger.entries[i].bytes);
            wrong++;
        }
        charged += ledger.entries[i].nodes;
    }
    ledger_fini(&ledger);
    if (!rc)
        say(control, "%zu nodes, %" PRId64 " charged, %u domains wrong\n", count, charged, wrong);
    return rc;
}

static int
control_memory(struct control *control)
{
    struct store *store = control->call->store;

    say(control, "domain nodes node-bytes watches transactions other-bytes waiting-in waiting-out\n");
    map_for_each(&store->domains, entry)
    {
        struct domain *domain = entry->value;

        say(control, "%u %" PRId64 " %" PRId64 " %u %u %" PRId64 " %zu %zu\n", domain->id, domain->nodes,
            domain->node_bytes, domain->watches, domain->transactions, domain->other_bytes,
            domain->ring ? domain->ring->in.length : 0, domain->ring ? domain->ring->out.length : 0);
    }
    return 0;
}

static int
control_counters(struct control *control)
{
    struct store *store = control->call->store;

    say(control,
        "requests %" PRIu64 " commits %" PRIu64 " conflicts %" PRIu64 " events %" PRIu64 " merged %" PRIu64
        "\n",
        store->requests, store->commits, store->conflicts, store->events, store->merged_events);
    say(control, "domain requests errors conflicts events\n");
    map_for_each(&store->domains, entry)
    {
        struct domain *domain = entry->value;

        say(control, "%u %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", domain->id, domain->requests,
            domain->errors, domain->conflicts, domain->events);
    }
    return 0;
}

static int
control_quota(struct control *control)
{
    struct store *store = control->call->store;
    struct domain *domain = named_domain(control);
    const struct quota *quota = &store->quota;
    enum quota_kind kind;
    uint64_t limit;
    int i;

    if (control->count == 3 && !strcmp(control->words[0], "set")) {
        if (!quota_find(control->words[1], &kind) || !wire_number(control->words[2], UINT32_MAX, &limit))
            return -EINVAL;
        store->quota.limit[kind] = limit;
        say(control, "OK");
        return 0;
    }
    if (control->count && !domain)
        return control->count == 1 ? -ENOENT : -EINVAL;
    if (domain)
        quota = store_quota(store, domain);
    for (i = 0; i < QUOTA_COUNT; i++)
        say(control, "%-18s %u\n", quota_name(i), quota->limit[i]);
    if (domain)
        say(control, "in use: nodes %" PRId64 " watches %u transactions %u memory %" PRId64 "\n",
            domain->nodes, domain->watches, domain->transactions, domain_memory(domain));
    return 0;
}

static int
control_quota_soft(struct control *control)
{
    say(control, "There are no soft limits.\n");
    return 0;
}

static int
control_log(struct control *control)
{
    struct domain *domain = named_domain(control);
    const char *what = control->count ? control->words[control->count - 1] : "";
    bool on = !strcmp(what, "on");

    if ((!on && strcmp(what, "off")) || control->count > 2 || (control->count == 2 && !domain))
        return -EINVAL;
    if (domain)
        domain->log = on;
    else
        control->call->store->log_all = on;
    say(control, "OK");
    return 0;
}

static int
control_print(struct control *control)
{
    struct call *call = control->call;

    if (control->count != 1)
        return -EINVAL;
    if (call->store->ops)
        call->store->ops->log(call->store->ops_data, call->client, 0, "PRINT", control->words[0], 0);
    say(control, "OK");
    return 0;
}

static int control_help(struct control *control);

/* clang-format off */
static const struct {
    const char *name;
    int (*handler)(struct control *control);
    const char *use;
} commands[] = {
    { "check",      control_check,      "" },
    { "counters",   control_counters,   "" },
    { "help",       control_help,       "" },
    { "log",        control_log,        "[domid] on|off" },
    { "memory",     control_memory,     "" },
    { "memreport",  control_memory,     "" },
    { "print",      control_print,      "text" },
    { "quota",      control_quota,      "[domid | set name value]" },
    { "quota-soft", control_quota_soft, "" },
    { "live-update", NULL,              "-f file | -s [-t seconds] [-F] | -a" },
    { "snapshot",   NULL,               "" },
};
/* clang-format on */

static int
control_help(struct control *control)
{
    size_t i;

    for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        say(control, "%s %s\n", commands[i].name, commands[i].use);
    return 0;
}

int
request_control(struct call *call)
{
    struct store *store = call->store;
    char *words[WORDS] = {NULL};
    struct control control = {.call = call, .words = words + 1};
    unsigned int count;
    int rc = wire_strings(&call->payload, words, WORDS, &count);
    size_t i;

    if (rc || !count)
        return -EINVAL;
    control.count = count - 1;
    rc = -EINVAL;
    for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, words[0]))
            continue;
        if (commands[i].handler)
            rc = commands[i].handler(&control);
        else if (store->ops)
            rc = store->ops->control(store->ops_data, call->client, words, count, &control.reply);
    }
    if (!rc)
        rc = buf_append(&control.reply, "", 1);
    /* Counters and the daemon's own affairs differ the second time; the answer must not. */
    if (store->replaying) {
        rc = store->outcome.rc;
        buf_fini(&control.reply);
        control.reply = store->outcome.reply;
    } else {
        buf_fini(&store->outcome.reply);
        store->outcome.rc = rc;
        if (!rc)
            rc = buf_append(&store->outcome.reply, buf_head(&control.reply), control.reply.length);
    }
    store->outcome.used = true;
    if (!rc)
        call_reply(call, buf_head(&control.reply), control.reply.length);
    if (!store->replaying)
        buf_fini(&control.reply);
    return rc;
}
