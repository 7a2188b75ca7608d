/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: bytes into a store.  The file is not trusted: each record is checked against its sum, each number
 * against what came before, each node against the rules of tree.h, and what the file does not say
 * (charges, sums) is computed and not read.  Either the whole file is good or nothing of it is taken.
 */
#include "block.h"
#include "path.h"
#include "state.h"
#include "state-format.h"
#include "transaction.h"
#include "watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <xen/io/xs_wire.h>

/* What was computed of a block that was loaded. */
struct loaded {
    struct block *block;
    uint64_t total;  /* nodes reachable from it, its own included */
    uint32_t path;   /* bytes of the longest path below its directory, with the slash */
    uint8_t depth;   /* of its search tree */
    bool root;       /* it has the nameless node */
    uint16_t levels; /* of directories, for recursions elsewhere */
};

struct reader {
    struct store *store;
    const char *data;
    size_t size;
    size_t offset;
    struct record_header record;
    const char *payload;
    size_t taken;
    const char *reason;
    struct perms **perms;
    struct loaded *blocks;
    uint32_t perms_count, blocks_count, nodes_count;
    struct quota quota;
    uint64_t last_watch, next_watch;
    uint32_t next_transaction;
    bool global;
    bool ended;
    uint64_t records;
};

#define DEPTH_MAX 100

static int
damaged(struct reader *reader, const char *reason)
{
    reader->reason = reason;
    return -EBADMSG;
}

static int
no_memory(struct reader *reader)
{
    reader->reason = "There is not enough memory to load the state.";
    return -ENOMEM;
}

/* The next @length bytes of the record, or NULL if it ends before. */
static const void *
take(struct reader *reader, size_t length)
{
    const char *data = reader->payload + reader->taken;

    if (length > reader->record.length - reader->taken)
        return NULL;
    reader->taken += length;
    return data;
}

/* Copies a fixed structure, which need not be aligned. */
static bool
take_into(struct reader *reader, void *structure, size_t length)
{
    const void *data = take(reader, length);

    if (data)
        memcpy(structure, data, length);
    return data;
}

/* Room for one more element of an array that doubles. */
static void *
grow(void *array, uint32_t count, size_t size)
{
    if (count & (count - 1))
        return array;
    return mem_resize(array, (count ? count * 2 : 1) * size);
}

static int
read_perms(struct reader *reader)
{
    size_t count = reader->record.length / sizeof(struct state_perm);
    struct perm entries[512];
    struct perms **array;
    size_t i;

    if (!count || count > 512 || reader->record.length % sizeof(struct state_perm))
        return damaged(reader, "A record of permissions has a wrong length.");
    for (i = 0; i < count; i++) {
        struct state_perm perm;

        if (!take_into(reader, &perm, sizeof(perm)) || perm.access > PERM_BOTH)
            return damaged(reader, "A record of permissions grants what does not exist.");
        entries[i] = (struct perm){.domid = perm.domid, .access = perm.access};
    }
    array = grow(reader->perms, reader->perms_count, sizeof(*array));
    if (!array)
        return no_memory(reader);
    reader->perms = array;
    array[reader->perms_count] = perms_new(entries, count);
    if (!array[reader->perms_count])
        return no_memory(reader);
    reader->perms_count++;
    return 0;
}

/* The first or the last name of a search tree. */
static void
outermost(const struct block *block, bool last, struct node *ret_node)
{
    while (last ? block->right : block->left)
        block = last ? block->right : block->left;
    block_node(block, last ? block->count - 1 : 0, ret_node);
}

static bool
before(const struct node *a, const struct node *b)
{
    return block_compare(a->name, a->name_length, b->name, b->name_length) < 0;
}

/* Whether the names of @block are in order, all left of it before them, and all right of it after. */
static bool
in_order(const struct block *block)
{
    struct node node, near;
    unsigned int i;

    block_node(block, 0, &near);
    for (i = 1; i < block->count; i++) {
        block_node(block, i, &node);
        if (!before(&near, &node))
            return false;
        near = node;
    }
    if (block->right) {
        outermost(block->right, false, &node);
        if (!before(&near, &node))
            return false;
    }
    if (block->left) {
        block_node(block, 0, &node);
        outermost(block->left, true, &near);
        return before(&near, &node);
    }
    return true;
}

static const struct loaded nothing;

/* What was loaded under a number; NULL if nothing was. */
static const struct loaded *
find_block(const struct reader *reader, uint32_t number)
{
    if (number > reader->blocks_count)
        return NULL;
    return number ? &reader->blocks[number - 1] : &nothing;
}

static bool
name_valid(const char *name, size_t length)
{
    char path[PATH_BYTES] = "/";

    if (length == 0)
        return true; /* only a root, as read_root() checks */
    if (length + 1 >= sizeof(path) || memchr(name, '/', length))
        return false;
    memcpy(path + 1, name, length);
    return path_valid(path, length + 1);
}

#define RAISE(loaded, field, number)    \
    do {                                \
        if ((loaded)->field < (number)) \
            (loaded)->field = (number); \
    } while (0)

/* One node of a block, whose bytes stay in the file's. */
static int
read_node(struct reader *reader, struct node *node, struct loaded *loaded)
{
    const struct loaded *children;
    struct state_node state;

    if (!take_into(reader, &state, sizeof(state)))
        return damaged(reader, "A node is cut off.");
    node->name = take(reader, state.name_length);
    node->value = node->name ? take(reader, state.value_length) : NULL;
    if (!node->value || state.value_length > XENSTORE_PAYLOAD_MAX)
        return damaged(reader, "A node has a wrong length.");
    if (!name_valid(node->name, state.name_length))
        return damaged(reader, "A node has a name that no node may have.");
    children = find_block(reader, state.children);
    if (!children || !state.perms || state.perms > reader->perms_count || (state.children && !state.parent))
        return damaged(reader, "A node refers to something that was not there before it.");
    if (children->root)
        return damaged(reader, "A root lies below another node.");
    node->name_length = state.name_length;
    node->value_length = state.value_length;
    node->perms = reader->perms[state.perms - 1];
    node->parent = state.parent;
    node->children = children->block;
    node->subtree_gen = state.subtree_gen;
    node->children_gen = state.children_gen;
    loaded->total += 1 + children->total;
    loaded->root |= !state.name_length;
    RAISE(loaded, levels, 1 + children->levels);
    RAISE(loaded, path, 1 + state.name_length + children->path);
    return 0;
}

static int
read_block(struct reader *reader)
{
    struct node nodes[BLOCK_NODES];
    const struct loaded *left, *right;
    struct loaded loaded = {0};
    struct state_block state;
    struct loaded *array;
    size_t bytes = 0;
    unsigned int i;
    int rc;

    if (!take_into(reader, &state, sizeof(state)) || !state.count || state.count > BLOCK_NODES)
        return damaged(reader, "A block of nodes is cut off, or of a wrong size.");
    left = find_block(reader, state.left);
    right = find_block(reader, state.right);
    if (!left || !right)
        return damaged(reader, "A block refers to something that was not there before it.");
    for (i = 0; i < state.count; i++) {
        rc = read_node(reader, &nodes[i], &loaded);
        if (rc)
            return rc;
        bytes += block_node_bytes(&nodes[i]);
    }
    if (reader->taken != reader->record.length || bytes > UINT16_MAX)
        return damaged(reader, "A block of nodes has a wrong length.");
    loaded.total += left->total + right->total;
    if (loaded.total > reader->nodes_count + state.count)
        return damaged(reader, "A node is in two places of a tree.");
    loaded.depth = 1 + (left->depth > right->depth ? left->depth : right->depth);
    RAISE(&loaded, levels, left->levels);
    RAISE(&loaded, levels, right->levels);
    RAISE(&loaded, path, left->path);
    RAISE(&loaded, path, right->path);
    if (loaded.depth > DEPTH_MAX || loaded.path > PATH_BYTES)
        return damaged(reader, "A node lies too deep.");
    if (left->root || right->root || (loaded.root && (state.count > 1 || left->block || right->block)))
        return damaged(reader, "A root lies among other nodes.");
    array = grow(reader->blocks, reader->blocks_count, sizeof(*array));
    if (!array)
        return no_memory(reader);
    reader->blocks = array;
    loaded.block = block_build(nodes, state.count, find_block(reader, state.left)->block,
                               find_block(reader, state.right)->block);
    if (!loaded.block)
        return no_memory(reader);
    reader->nodes_count += state.count;
    array[reader->blocks_count++] = loaded;
    if (!in_order(loaded.block))
        return damaged(reader, "The names of nodes are not in order.");
    return 0;
}

/* A reference on the root of that number, or NULL with the reason set. */
static struct block *
read_root(struct reader *reader, uint32_t number)
{
    const struct loaded *loaded = find_block(reader, number);

    if (!loaded || !loaded->root) {
        damaged(reader, "The root is not one.");
        return NULL;
    }
    return tree_ref(loaded->block);
}

static int
read_global(struct reader *reader)
{
    struct store *store = reader->store;
    struct state_global state;
    struct block *root;
    int i;

    if (reader->global || !take_into(reader, &state, sizeof(state)))
        return damaged(reader, "The global record is cut off, or there are two.");
    root = read_root(reader, state.root);
    if (!root)
        return -EBADMSG;
    tree_put(store->root);
    store->root = root;
    for (i = 0; i < 2; i++) {
        if (!state.special_perms[i] || state.special_perms[i] > reader->perms_count)
            return damaged(reader, "The permissions of a special event are missing.");
        perms_put(store->special_perms[i]);
        store->special_perms[i] = perms_ref(reader->perms[state.special_perms[i] - 1]);
    }
    store->gen = state.gen;
    reader->next_watch = state.next_watch;
    store->now = state.now;
    store->next_client = state.next_client;
    reader->next_transaction = state.next_transaction;
    store->log_all = state.log_all;
    store->requests = state.counters[0];
    store->commits = state.counters[1];
    store->conflicts = state.counters[2];
    store->events = state.counters[3];
    store->merged_events = state.counters[4];
    memcpy(reader->quota.limit, state.limit, sizeof(state.limit));
    reader->global = true;
    return 0;
}

static int
read_domain(struct reader *reader)
{
    struct state_domain state;
    struct domain *domain;

    if (!reader->global || !take_into(reader, &state, sizeof(state)))
        return damaged(reader, "A domain is cut off, or comes too early.");
    domain = store_domain(reader->store, state.id);
    if (!domain)
        return no_memory(reader);
    domain->target = state.target;
    domain->introduced = state.introduced;
    domain->shutdown = state.shutdown;
    domain->own_quota_loaded = state.own_quota;
    domain->log = state.log;
    domain->port = state.port;
    domain->features = state.features;
    domain->gfn = state.gfn;
    domain->requests = state.counters[0];
    domain->errors = state.counters[1];
    domain->events = state.counters[2];
    domain->conflicts = state.counters[3];
    /* The limits are put in force after everything that was within them is loaded. */
    memcpy(domain->quota.limit, state.limit, sizeof(state.limit));
    return 0;
}

static int
read_client(struct reader *reader)
{
    struct store *store = reader->store;
    struct state_client state;
    struct domain *domain;
    struct client *client;
    const char *in, *out;

    if (!reader->global || !take_into(reader, &state, sizeof(state)))
        return damaged(reader, "A client is cut off, or comes too early.");
    in = take(reader, state.in_length);
    out = in ? take(reader, state.out_length) : NULL;
    domain = store_find_domain(store, state.domid);
    if (!out || !domain || !state.id || store_client(store, state.id) || (!state.socket && domain->ring) ||
        (state.socket && state.domid))
        return damaged(reader, "A client does not fit to the rest.");
    client = client_open(store, domain, state.socket, state.id);
    if (!client)
        return no_memory(reader);
    if ((state.in_length && buf_append(&client->in, in, state.in_length)) ||
        (state.out_length && buf_append(&client->out, out, state.out_length)))
        return no_memory(reader);
    client->broken = state.broken;
    client->in_total = state.in_total;
    client->out_total = state.out_total;
    client->in_base = state.in_base;
    client->out_base = state.out_base;
    if (state.out_length || state.broken)
        client_mark_dirty(store, client);
    return 0;
}

static int
read_watch(struct reader *reader)
{
    struct state_watch state;
    struct client *client;
    struct watch *watch;
    const char *path, *token;
    bool valid;
    int rc;

    if (!take_into(reader, &state, sizeof(state)))
        return damaged(reader, "A watch is cut off.");
    client = store_client(reader->store, state.client);
    path = take(reader, state.path_length);
    token = path ? take(reader, state.token_length) : NULL;
    if (!client || !token || !state.path_length || !state.token_length ||
        memchr(path, '\0', state.path_length) != path + state.path_length - 1 ||
        memchr(token, '\0', state.token_length) != token + state.token_length - 1 ||
        state.depth < WATCH_NO_DEPTH || state.token_length > XENSTORE_PAYLOAD_MAX)
        return damaged(reader, "A watch does not fit to the rest.");
    valid = path_special(path) ? state.path_length < PATH_BYTES && !state.relative
                               : path_valid(path, state.path_length - 1);
    if (valid && state.relative)
        valid = state.path_length > path_home_length(client->domain->id);
    if (!valid)
        return damaged(reader, "A watch has a path that no watch may have.");
    rc = watch_add(reader->store, client, path, token, state.depth, state.relative, &watch);
    if (rc == -EEXIST)
        return damaged(reader, "A watch is there twice.");
    if (rc)
        return no_memory(reader);
    if (state.id <= reader->last_watch || state.id >= reader->next_watch)
        return damaged(reader, "The numbers of watches are out of order.");
    reader->last_watch = watch->id = state.id;
    return 0;
}

static int
read_missed(struct reader *reader)
{
    struct state_missed state;
    struct client *client;

    if (!take_into(reader, &state, sizeof(state)))
        return damaged(reader, "A missed event is cut off.");
    client = store_client(reader->store, state.client);
    if (client) {
        list_for_each(&client->watches, item) {
            struct watch *watch = link_entry(item, struct watch, in_client);

            if (watch->id != state.watch || watch->missed)
                continue;
            watch->missed = true;
            link_append(&client->missed, &watch->in_missed);
            return 0;
        }
    }
    return damaged(reader, "A missed event is of no watch.");
}

static int
read_touched(struct reader *reader, struct transaction *transaction, uint32_t count)
{
    char path[PATH_BYTES];

    while (count--) {
        struct state_touched state;
        const char *bytes = NULL;

        if (take_into(reader, &state, sizeof(state)))
            bytes = take(reader, (state.length + 3u) & ~3u);
        if (!bytes || !path_valid(bytes, state.length) || state.flags > ACCESS_ALL)
            return damaged(reader, "A transaction touched what cannot be.");
        memcpy(path, bytes, state.length);
        path[state.length] = '\0';
        if (transaction_note(reader->store, transaction, path, state.length, state.flags))
            return no_memory(reader);
    }
    return 0;
}

static int
read_transaction(struct reader *reader)
{
    struct transaction *transaction;
    struct state_transaction state;
    struct client *client;
    struct block *base, *work;
    uint32_t i;

    if (!take_into(reader, &state, sizeof(state)))
        return damaged(reader, "A transaction is cut off.");
    client = store_client(reader->store, state.client);
    if (!client || !state.id || transaction_find(client, state.id) || !state.base != !state.work)
        return damaged(reader, "A transaction does not fit to the rest.");
    if (transaction_start(reader->store, client, &transaction))
        return no_memory(reader);
    transaction->id = state.id;
    transaction->started = state.started;
    if (!state.base) {
        transaction_abandon(transaction);
        return state.touched_count || state.ledger_count
                   ? damaged(reader, "An abandoned transaction holds something.")
                   : 0;
    }
    base = read_root(reader, state.base);
    work = base ? read_root(reader, state.work) : NULL;
    if (!work) {
        tree_put(base);
        return -EBADMSG;
    }
    tree_put(transaction->base);
    tree_put(transaction->work);
    transaction->base = base;
    transaction->work = work;
    for (i = 0; i < state.ledger_count; i++) {
        struct state_ledger ledger;

        if (!take_into(reader, &ledger, sizeof(ledger)) || ledger.domid > UINT16_MAX)
            return damaged(reader, "A transaction's ledger is cut off.");
        if (ledger_add(&transaction->ledger, ledger.domid, ledger.nodes, ledger.bytes))
            return no_memory(reader);
    }
    return read_touched(reader, transaction, state.touched_count);
}

static int
read_end(struct reader *reader)
{
    struct state_end state;

    if (!take_into(reader, &state, sizeof(state)) || state.records != reader->records)
        return damaged(reader, "The file's end counts other records than there are.");
    reader->ended = true;
    return 0;
}

/* clang-format off */
static int (*const readers[])(struct reader *reader) = {
    [STATE_PERMS] = read_perms,   [STATE_BLOCK] = read_block,   [STATE_GLOBAL] = read_global,
    [STATE_DOMAIN] = read_domain, [STATE_CLIENT] = read_client, [STATE_WATCH] = read_watch,
    [STATE_MISSED] = read_missed, [STATE_TRANSACTION] = read_transaction,
    [STATE_END] = read_end,
};
/* clang-format on */

static int
read_records(struct reader *reader)
{
    int rc = 0;

    while (!rc && !reader->ended) {
        size_t left = reader->size - reader->offset;

        if (left < sizeof(reader->record))
            return damaged(reader, "The file ends in the middle.");
        memcpy(&reader->record, reader->data + reader->offset, sizeof(reader->record));
        left -= sizeof(reader->record);
        if (reader->record.length > left || record_padded(reader->record.length) > left)
            return damaged(reader, "A record is longer than the file.");
        reader->payload = reader->data + reader->offset + sizeof(reader->record);
        reader->taken = 0;
        if (record_sum(&reader->record, reader->payload) != reader->record.sum)
            return damaged(reader, "The sum of a record is wrong.");
        if (!reader->record.type || reader->record.type > STATE_END)
            return damaged(reader, "A record is of a type that this version does not know.");
        reader->offset += sizeof(reader->record) + record_padded(reader->record.length);
        rc = readers[reader->record.type](reader);
        reader->records++;
    }
    if (!rc && (!reader->global || reader->offset != reader->size))
        return damaged(reader, "The file goes on after its end, or has no global record.");
    return rc;
}

/* What the file does not say: who is charged with which nodes.  Then the limits are in force again. */
static int
settle(struct reader *reader)
{
    struct store *store = reader->store;
    struct ledger ledger = {0};
    struct node root;
    int rc;

    tree_root(store->root, &root);
    rc = tree_account(&root, 1, &ledger);
    if (!rc)
        rc = store_know_owners(store, &ledger);
    map_for_each(&store->domains, entry)
    {
        struct domain *domain = entry->value;

        domain->nodes = domain->node_bytes = 0;
        domain->own_quota = domain->own_quota_loaded;
        if (domain->introduced && !domain->ring && !rc)
            rc = damaged(reader, "A domain was introduced and has no ring.");
    }
    if (!rc)
        store_apply_ledger(store, &ledger);
    else if (rc == -ENOMEM)
        no_memory(reader);
    ledger_fini(&ledger);
    store->quota = reader->quota;
    /* Loading used the counters for its own. */
    store->next_watch = reader->next_watch;
    store->next_transaction = reader->next_transaction;
    return rc;
}

int
state_read(struct store *store, const void *data, size_t size, uint64_t *ret_generation,
           const char **ret_reason)
{
    struct reader reader = {.store = store, .data = data, .size = size};
    struct state_header header;
    uint32_t i;
    int rc;

    *ret_reason = NULL;
    if (size < sizeof(header)) {
        *ret_reason = "The file is too short to be a state.";
        return -EBADMSG;
    }
    memcpy(&header, data, sizeof(header));
    if (header.magic != STATE_MAGIC) {
        *ret_reason = "The file is not a state of this store.";
        return -EBADMSG;
    }
    if (header.version != STATE_VERSION || header.quota_count != QUOTA_COUNT) {
        static char other[100];

        snprintf(other, sizeof(other),
                 "It is of format %u with %u limits; this program knows format %d with %d.", header.version,
                 header.quota_count, STATE_VERSION, QUOTA_COUNT);
        *ret_reason = other;
        return -EPROTONOSUPPORT;
    }
    rc = store_init(store);
    if (rc) {
        *ret_reason = "There is not enough memory to load the state.";
        return rc;
    }
    /* While loading nothing is limited: settle() puts the limits in force. */
    memset(&store->quota, 0, sizeof(store->quota));
    reader.offset = sizeof(header);
    rc = read_records(&reader);
    if (!rc)
        rc = settle(&reader);
    for (i = 0; i < reader.blocks_count; i++)
        block_put(reader.blocks[i].block);
    for (i = 0; i < reader.perms_count; i++)
        perms_put(reader.perms[i]);
    mem_free(reader.blocks);
    mem_free(reader.perms);
    if (rc) {
        *ret_reason = reader.reason ? reader.reason : "The state cannot be loaded.";
        store_fini(store);
        return rc;
    }
    *ret_generation = header.generation;
    return 0;
}
