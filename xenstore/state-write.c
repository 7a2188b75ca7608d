/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a store into bytes.  Nothing of the store changes except notes that the loaded one could not
 * have either (client_settle).
 */
#include "block.h"
#include "state.h"
#include "state-format.h"
#include "transaction.h"
#include "watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK (256 * 1024)

/* An object that more than one other refers to, and the number it got in the file. */
struct numbered {
    const void *object;
    uint32_t number;
};

struct writer {
    int fd;
    int rc; /* the first failure; after it nothing is written */
    struct buf out;
    struct buf record;
    uint32_t type;
    struct map numbers; /* of shared blocks, and of permissions */
    uint32_t blocks, perms;
    uint64_t records;
};

uint32_t
record_sum(const struct record_header *header, const void *payload)
{
    uint64_t sum = ((uint64_t)header->type << 32 | header->length) ^ ((uint64_t)header->client << 17);
    const char *byte = payload;
    size_t rest = header->length;

    for (; rest >= 8; rest -= 8, byte += 8) {
        uint64_t word;

        memcpy(&word, byte, 8);
        sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        sum ^= sum >> 31;
    }
    while (rest--)
        sum = (sum ^ (unsigned char)*byte++) * UINT64_C(0x100000001b3);
    return (uint32_t)(sum ^ sum >> 32);
}

static void
flush(struct writer *writer)
{
    while (!writer->rc && writer->out.length) {
        ssize_t written = write(writer->fd, buf_head(&writer->out), writer->out.length);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            writer->rc = written < 0 ? -errno : -EIO;
        else
            buf_consume(&writer->out, written);
    }
}

static void
put(struct writer *writer, const void *data, size_t length)
{
    if (!writer->rc && length)
        writer->rc = buf_append(&writer->record, data, length);
}

static void
begin(struct writer *writer, uint32_t type, const void *data, size_t length)
{
    writer->type = type;
    writer->record.start = writer->record.length = 0;
    put(writer, data, length);
}

static void
end(struct writer *writer)
{
    static const char zeros[8];
    struct record_header header = {.type = writer->type, .length = writer->record.length};
    size_t padding = record_padded(header.length) - header.length;

    if (writer->rc)
        return;
    header.sum = record_sum(&header, writer->record.data);
    writer->rc = buf_reserve(&writer->out, sizeof(header) + header.length + padding);
    if (writer->rc)
        return;
    buf_append(&writer->out, &header, sizeof(header));
    if (header.length)
        buf_append(&writer->out, writer->record.data, header.length);
    buf_append(&writer->out, zeros, padding);
    writer->records++;
    if (writer->out.length >= CHUNK)
        flush(writer);
}

static uint32_t
number_of(const struct writer *writer, const void *object)
{
    const struct numbered *numbered = map_find(&writer->numbers, &object, sizeof(object));

    return numbered ? numbered->number : 0;
}

static void
remember(struct writer *writer, const void *object, uint32_t number)
{
    struct numbered *numbered = mem_alloc(sizeof(*numbered));

    if (numbered) {
        *numbered = (struct numbered){object, number};
        if (!map_insert(&writer->numbers, &numbered->object, sizeof(object), numbered))
            return;
        mem_free(numbered);
    }
    writer->rc = writer->rc ? writer->rc : -ENOMEM;
}

static uint32_t
write_perms(struct writer *writer, const struct perms *perms)
{
    uint32_t number = number_of(writer, perms);
    unsigned int i;

    if (number)
        return number;
    begin(writer, STATE_PERMS, NULL, 0);
    for (i = 0; i < perms->count; i++) {
        struct state_perm perm = {perms->entry[i].domid, perms->entry[i].access};

        put(writer, &perm, sizeof(perm));
    }
    end(writer);
    number = ++writer->perms;
    remember(writer, perms, number);
    return number;
}

/* Recursion is as deep as a path has levels times the depth of a search tree. */
static uint32_t
write_block(struct writer *writer, const struct block *block)
{
    uint32_t children[BLOCK_NODES], perms[BLOCK_NODES];
    struct state_block state = {0};
    struct node node;
    uint32_t number;
    unsigned int i;

    if (!block || writer->rc)
        return 0;
    if (block->ref > 1) {
        number = number_of(writer, block);
        if (number)
            return number;
    }
    state.left = write_block(writer, block->left);
    state.right = write_block(writer, block->right);
    state.count = block->count;
    for (i = 0; i < block->count; i++) {
        block_node(block, i, &node);
        children[i] = write_block(writer, node.children);
        perms[i] = write_perms(writer, node.perms);
    }
    begin(writer, STATE_BLOCK, &state, sizeof(state));
    for (i = 0; i < block->count; i++) {
        struct state_node record = {.children = children[i], .perms = perms[i]};

        block_node(block, i, &node);
        record.name_length = node.name_length;
        record.value_length = node.value_length;
        record.parent = node.parent;
        record.subtree_gen = node.subtree_gen;
        record.children_gen = node.children_gen;
        put(writer, &record, sizeof(record));
        put(writer, node.name, node.name_length);
        put(writer, node.value, node.value_length);
    }
    end(writer);
    number = ++writer->blocks;
    if (block->ref > 1)
        remember(writer, block, number);
    return number;
}

static void
write_global(struct writer *writer, struct store *store)
{
    struct state_global state = {
        .gen = store->gen,
        .next_watch = store->next_watch,
        .now = store->now,
        .next_client = store->next_client,
        .next_transaction = store->next_transaction,
        .log_all = store->log_all,
        .counters = {store->requests, store->commits, store->conflicts, store->events, store->merged_events},
    };

    memcpy(state.limit, store->quota.limit, sizeof(state.limit));
    state.root = write_block(writer, store->root);
    state.special_perms[0] = write_perms(writer, store->special_perms[0]);
    state.special_perms[1] = write_perms(writer, store->special_perms[1]);
    begin(writer, STATE_GLOBAL, &state, sizeof(state));
    end(writer);
}

static void
write_domain(struct writer *writer, const struct domain *domain)
{
    struct state_domain state = {
        .id = domain->id,
        .target = domain->target,
        .introduced = domain->introduced,
        .shutdown = domain->shutdown,
        .own_quota = domain->own_quota,
        .log = domain->log,
        .port = domain->port,
        .features = domain->features,
        .gfn = domain->gfn,
        .counters = {domain->requests, domain->errors, domain->events, domain->conflicts},
    };

    memcpy(state.limit, domain->quota.limit, sizeof(state.limit));
    begin(writer, STATE_DOMAIN, &state, sizeof(state));
    end(writer);
}

static void
write_client(struct writer *writer, struct client *client)
{
    struct state_client state = {
        .id = client->id,
        .domid = client->domain->id,
        .socket = client->socket,
        .broken = client->broken,
        .in_total = client->in_total,
        .out_total = client->out_total,
        .in_base = client->in_base,
        .out_base = client->out_base,
        .in_length = client->in.length,
        .out_length = client->out.length,
    };

    client_settle(client);
    begin(writer, STATE_CLIENT, &state, sizeof(state));
    put(writer, buf_head(&client->in), client->in.length);
    put(writer, buf_head(&client->out), client->out.length);
    end(writer);
}

static int
by_domid(const void *a, const void *b)
{
    const struct domain *const *left = a;
    const struct domain *const *right = b;

    return (*left)->id - (*right)->id;
}

/* In the order of their numbers, so that equal stores make equal files. */
static void
write_domains(struct writer *writer, struct store *store)
{
    struct domain **domains = mem_alloc((store->domains.count + 1) * sizeof(*domains));
    uint32_t i, count = 0;

    if (!domains) {
        writer->rc = writer->rc ? writer->rc : -ENOMEM;
        return;
    }
    map_for_each(&store->domains, entry) domains[count++] = entry->value;
    qsort(domains, count, sizeof(*domains), by_domid);
    for (i = 0; i < count; i++)
        write_domain(writer, domains[i]);
    mem_free(domains);
}

static int
by_id(const void *a, const void *b)
{
    const struct watch *const *left = a;
    const struct watch *const *right = b;

    return (*left)->id < (*right)->id ? -1 : (*left)->id > (*right)->id;
}

static void
write_watches(struct writer *writer, struct store *store)
{
    struct watch **watches = mem_alloc((store->watch_count + 1) * sizeof(*watches));
    uint32_t i, count = 0;

    if (!watches) {
        writer->rc = writer->rc ? writer->rc : -ENOMEM;
        return;
    }
    list_for_each(&store->client_list, item) {
        list_for_each(&link_entry(item, struct client, in_store)->watches, link)
            watches[count++] = link_entry(link, struct watch, in_client);
    }
    qsort(watches, count, sizeof(*watches), by_id);
    for (i = 0; i < count; i++) {
        const struct watch *watch = watches[i];
        struct state_watch state = {
            .id = watch->id,
            .client = watch->client->id,
            .depth = watch->depth,
            .path_length = watch->path_length + 1,
            .token_length = strlen(watch_token(watch)) + 1,
            .relative = watch->relative,
        };

        begin(writer, STATE_WATCH, &state, sizeof(state));
        put(writer, watch->text, state.path_length + state.token_length);
        end(writer);
    }
    mem_free(watches);
}

static void
write_missed(struct writer *writer, const struct client *client)
{
    list_for_each(&client->missed, item) {
        struct state_missed state = {.client = client->id,
                                     .watch = link_entry(item, struct watch, in_missed)->id};

        begin(writer, STATE_MISSED, &state, sizeof(state));
        end(writer);
    }
}

static void
write_transaction(struct writer *writer, const struct transaction *transaction)
{
    static const char zeros[4];
    struct state_transaction state = {
        .client = transaction->client->id,
        .id = transaction->id,
        .started = transaction->started,
        .ledger_count = transaction->ledger.count,
        .touched_count = transaction->touched.count,
    };
    uint32_t i;

    state.base = write_block(writer, transaction->base);
    state.work = write_block(writer, transaction->work);
    begin(writer, STATE_TRANSACTION, &state, sizeof(state));
    for (i = 0; i < state.ledger_count; i++) {
        const struct ledger_entry *entry = &transaction->ledger.entries[i];
        struct state_ledger ledger = {.domid = entry->domid, .nodes = entry->nodes, .bytes = entry->bytes};

        put(writer, &ledger, sizeof(ledger));
    }
    list_for_each(&transaction->touched_list, item) {
        const struct touched *touched = link_entry(item, struct touched, in_list);
        struct state_touched header = {touched->flags, touched->length};

        put(writer, &header, sizeof(header));
        put(writer, touched->path, touched->length);
        put(writer, zeros, -touched->length & 3);
    }
    end(writer);
}

int
state_write(struct store *store, int fd, uint64_t generation)
{
    struct state_header header = {
        .magic = STATE_MAGIC, .version = STATE_VERSION, .quota_count = QUOTA_COUNT, .generation = generation};
    struct writer writer = {.fd = fd};
    struct state_end last;

    writer.rc = buf_append(&writer.out, &header, sizeof(header));
    write_global(&writer, store);
    write_domains(&writer, store);
    list_for_each(&store->client_list, item)
        write_client(&writer, link_entry(item, struct client, in_store));
    write_watches(&writer, store);
    list_for_each(&store->client_list, item) {
        struct client *client = link_entry(item, struct client, in_store);

        write_missed(&writer, client);
        list_for_each(&client->transactions, link)
            write_transaction(&writer, link_entry(link, struct transaction, in_client));
    }
    last.records = writer.records;
    begin(&writer, STATE_END, &last, sizeof(last));
    end(&writer);
    flush(&writer);
    map_for_each(&writer.numbers, entry) mem_free(entry->value);
    map_fini(&writer.numbers);
    buf_fini(&writer.out);
    buf_fini(&writer.record);
    return writer.rc;
}
