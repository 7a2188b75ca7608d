/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the directory of the state, usually on a tmpfs.
 *
 *     lock      held by the daemon that uses the directory
 *     state     the store at the beginning of generation N
 *     journal   the calls since then; of no use unless its generation is that of the state
 *
 * The journal is a file mapped shared.  A record is copied behind the last one and then the header's end
 * moves over it; stores of a process that is killed stay in the page cache, so nothing needs a system
 * call and nothing is ever half there.  (A crash of the whole machine loses the store, and the
 * domains with it.)
 *
 * A checkpoint writes the files of generation N+1 under other names and renames the state first: in
 * between, the journal of generation N is seen to be of no use.
 */
#include "journal.h"
#include "request.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define JOURNAL_MAGIC   UINT64_C(0x0a4c4e4a5241536e)
#define JOURNAL_VERSION 1
#define MAP_BYTES       (UINT64_C(1) << 30) /* address space, not memory */
#define GROW_BYTES      (UINT64_C(1) << 20)
#define CHECKPOINT_MIN  (UINT64_C(8) << 20)

struct journal_header {
    uint64_t magic;
    uint64_t version;
    uint64_t generation;
    _Atomic uint64_t end; /* of the last whole record */
    struct journal_transfer transfer;
};

#define RECORDS_AT record_padded(sizeof(struct journal_header))

static void
unmap(struct journal *journal)
{
    if (journal->map)
        munmap(journal->map, MAP_BYTES);
    if (journal->fd >= 0)
        close(journal->fd);
    journal->map = NULL;
    journal->fd = -1;
}

void
journal_close(struct journal *journal)
{
    unmap(journal);
    if (journal->lock >= 0)
        close(journal->lock);
    if (journal->directory >= 0)
        close(journal->directory);
    journal->lock = journal->directory = -1;
}

int
journal_open(struct journal *journal, const char *path)
{
    int rc;

    *journal = (struct journal){.directory = -1, .lock = -1, .fd = -1, .failed = true};
    if (mkdir(path, 0700) && errno != EEXIST)
        return -errno;
    journal->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (journal->directory < 0)
        return -errno;
    journal->lock = openat(journal->directory, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (journal->lock >= 0 && !flock(journal->lock, LOCK_EX | LOCK_NB))
        return 0;
    rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
    journal_close(journal);
    return rc;
}

static struct journal_header *
journal_head(const struct journal *journal)
{
    return (struct journal_header *)journal->map;
}

/* Makes sure that the file has memory up to @end: a store into a hole of a full tmpfs would kill us. */
static bool
allocate(struct journal *journal, uint64_t end)
{
    uint64_t size = (end + GROW_BYTES - 1) & ~(GROW_BYTES - 1);

    if (end <= journal->allocated)
        return true;
    if (size > MAP_BYTES || posix_fallocate(journal->fd, journal->allocated, size - journal->allocated))
        return false;
    journal->allocated = size;
    return true;
}

static void
append(struct journal *journal, struct record_header *header, const void *data)
{
    uint64_t end = journal->tail + sizeof(*header) + record_padded(header->length);

    if (journal->directory < 0 || journal->failed)
        return;
    if (!allocate(journal, end)) {
        journal->failed = true;
        return;
    }
    header->sum = record_sum(header, data);
    memcpy(journal->map + journal->tail, header, sizeof(*header));
    if (header->length)
        memcpy(journal->map + journal->tail + sizeof(*header), data, header->length);
    journal->tail = end;
    atomic_store_explicit(&journal_head(journal)->end, end, memory_order_release);
}

void
journal_append(struct journal *journal, enum journal_type type, uint32_t client, const void *data,
               size_t length)
{
    struct record_header header = {.type = type, .length = length, .client = client};

    append(journal, &header, data);
}

void
journal_settle(struct journal *journal, struct store *store)
{
    if (__builtin_expect(journal->failures != mem_failures(), 0))
        journal_checkpoint(journal, store);
}

void
journal_append_step(struct journal *journal, const struct store *store, uint32_t client)
{
    const struct outcome *outcome = &store->outcome;
    char data[sizeof(int32_t) + MESSAGE_BYTES];
    int32_t rc = outcome->rc;
    size_t length = 0;

    if (outcome->used) {
        memcpy(data, &rc, sizeof(rc));
        length = sizeof(rc);
        if (outcome->reply.length && outcome->reply.length <= MESSAGE_BYTES) {
            memcpy(data + length, buf_head(&outcome->reply), outcome->reply.length);
            length += outcome->reply.length;
        }
    }
    journal_append(journal, JOURNAL_STEP, client, data, length);
}

struct journal_transfer *
journal_begin_transfer(struct journal *journal, enum journal_type type, uint32_t client, struct iovec *part)
{
    static struct journal_transfer unkept;
    bool kept = journal->directory >= 0 && !journal->failed;
    struct journal_transfer *transfer = kept ? &journal_head(journal)->transfer : &unkept;

    transfer->type = 0;
    atomic_signal_fence(memory_order_seq_cst);
    transfer->message = (struct mmsghdr){.msg_hdr = {.msg_iov = part, .msg_iovlen = 1}};
    transfer->end = journal->tail;
    transfer->client = client;
    atomic_signal_fence(memory_order_seq_cst);
    transfer->type = type;
    return transfer;
}

/* Begins an empty journal file of that generation under @name and maps it. */
static int
begin_file(struct journal *journal, const char *name, uint64_t generation)
{
    struct journal fresh = {.directory = journal->directory, .lock = journal->lock, .generation = generation};
    int rc;

    fresh.fd = openat(journal->directory, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fresh.fd < 0)
        return -errno;
    if (!allocate(&fresh, RECORDS_AT)) {
        close(fresh.fd);
        return -ENOSPC;
    }
    fresh.map = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fresh.fd, 0);
    if (fresh.map == MAP_FAILED) {
        rc = -errno;
        close(fresh.fd);
        return rc;
    }
    fresh.failures = journal->failures;
    fresh.tail = RECORDS_AT;
    fresh.state_bytes = journal->state_bytes;
    journal_head(&fresh)->magic = JOURNAL_MAGIC;
    journal_head(&fresh)->version = JOURNAL_VERSION;
    journal_head(&fresh)->generation = generation;
    journal_head(&fresh)->end = fresh.tail;
    unmap(journal);
    *journal = fresh;
    return 0;
}

static int
write_state(struct journal *journal, struct store *store, uint64_t generation)
{
    int fd = openat(journal->directory, "state.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct stat status;
    int rc;

    if (fd < 0)
        return -errno;
    rc = state_write(store, fd, generation);
    if (!rc && !fstat(fd, &status))
        journal->state_bytes = status.st_size;
    if (close(fd) && !rc)
        rc = -errno;
    return rc;
}

int
journal_checkpoint(struct journal *journal, struct store *store)
{
    uint64_t generation = journal->generation + 1;
    unsigned long failures = mem_failures();
    int rc;

    if (journal->directory < 0)
        return 0;
    rc = write_state(journal, store, generation);
    if (!rc && renameat(journal->directory, "state.new", journal->directory, "state"))
        rc = -errno;
    if (rc) {
        unlinkat(journal->directory, "state.new", 0);
        /* State and journal as they are go on together, if they tell what happened. */
        if (!journal->failed && journal->failures == failures) {
            journal->patience = journal->tail + CHECKPOINT_MIN;
            return rc;
        }
    } else {
        /* From here on the old journal is of no use; until the new one is there, nothing is kept. */
        journal->failed = true;
        journal->generation = generation;
        rc = begin_file(journal, "journal.new", generation);
    }
    if (!rc && renameat(journal->directory, "journal.new", journal->directory, "journal"))
        rc = -errno;
    journal->failed = rc != 0;
    if (!rc)
        journal->failures = failures;
    return rc;
}

bool
journal_wants_checkpoint(const struct journal *journal)
{
    uint64_t limit = 2 * journal->state_bytes;

    if (journal->directory < 0 || journal->failed)
        return false;
    return journal->tail > (limit > CHECKPOINT_MIN ? limit : CHECKPOINT_MIN) &&
           journal->tail > journal->patience;
}

/* One record of a journal, replayed: false if it cannot have happened. */
static bool
replay_record(struct store *store, const struct record_header *header, const char *payload)
{
    struct client *client = header->client ? store_client(store, header->client) : NULL;
    struct journal_introduce introduce;
    struct domain *domain;
    uint64_t number = 0;
    int32_t rc;

    if (header->length == sizeof(number))
        memcpy(&number, payload, sizeof(number));
    switch (header->type) {
    case JOURNAL_OPEN:
        domain = store_domain(store, 0);
        return header->client && !client && domain && client_open(store, domain, true, header->client);
    case JOURNAL_CLOSE:
        if (client)
            client_close(store, client);
        return client;
    case JOURNAL_INPUT:
        return client && !client_received(client, payload, header->length);
    case JOURNAL_STEP:
        if (!client || !client_ready(store, client) || header->length > sizeof(rc) + MESSAGE_BYTES)
            return false;
        store->outcome.rc = 0;
        buf_fini(&store->outcome.reply);
        if (header->length >= sizeof(rc)) {
            memcpy(&rc, payload, sizeof(rc));
            store->outcome.rc = rc;
            if (buf_append(&store->outcome.reply, payload + sizeof(rc), header->length - sizeof(rc)))
                return false;
        }
        return !request_process(store, client);
    case JOURNAL_SENT:
        if (!client || number > client->out.length)
            return false;
        client_sent(store, client, number);
        return true;
    case JOURNAL_RESET:
        if (client)
            client_reset(store, client);
        return client;
    case JOURNAL_INTRODUCE:
        if (header->length != sizeof(introduce))
            return false;
        memcpy(&introduce, payload, sizeof(introduce));
        store->outcome.rc = 0;
        if (introduce.domid > UINT16_MAX ||
            store_introduce(store, introduce.domid, introduce.gfn, introduce.port))
            return false;
        domain = store_find_domain(store, introduce.domid);
        domain->ring->in_base = introduce.in_base;
        domain->ring->out_base = introduce.out_base;
        return true;
    case JOURNAL_GONE:
        store_domain_gone(store, number);
        return true;
    case JOURNAL_SHUTDOWN:
        store_domain_shutdown(store, number);
        return true;
    case JOURNAL_TICK:
        store_tick(store, number);
        return true;
    default:
        return false;
    }
}

size_t
journal_replay(struct store *store, const char *data, size_t size, const char **ret_reason)
{
    const struct store_ops *ops = store->ops;
    size_t offset = 0;

    *ret_reason = NULL;
    store->ops = NULL;
    store->replaying = true;
    while (offset < size && !*ret_reason) {
        struct record_header header;

        if (size - offset < sizeof(header)) {
            *ret_reason = "The journal ends in the middle.";
            break;
        }
        memcpy(&header, data + offset, sizeof(header));
        if (record_padded(header.length) > size - offset - sizeof(header) || header.length > MAP_BYTES)
            *ret_reason = "A record of the journal is longer than the file.";
        else if (record_sum(&header, data + offset + sizeof(header)) != header.sum)
            *ret_reason = "The sum of a record of the journal is wrong.";
        else if (!replay_record(store, &header, data + offset + sizeof(header)))
            *ret_reason = "A record of the journal does not fit to those before.";
        else
            offset += sizeof(header) + record_padded(header.length);
    }
    store->replaying = false;
    store->ops = ops;
    buf_fini(&store->outcome.reply);
    return offset;
}

/* Maps a whole file for reading: NULL with 0 in @ret_size if there is none. */
static void *
map_file(struct journal *journal, const char *name, size_t *ret_size)
{
    int fd = openat(journal->directory, name, O_RDONLY | O_CLOEXEC);
    struct stat status;
    void *map = NULL;

    *ret_size = 0;
    if (fd < 0)
        return NULL;
    if (!fstat(fd, &status) && status.st_size) {
        map = mmap(NULL, status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED)
            map = NULL;
        else
            *ret_size = status.st_size;
    }
    close(fd);
    return map;
}

static void
set_aside(struct journal *journal, const char *name, const char *reason, void (*log)(const char *text))
{
    char aside[64], text[512];
    int i;

    if (journal->look) {
        snprintf(text, sizeof(text), "The file '%s' is damaged: %s", name, reason);
        log(text);
        return;
    }
    for (i = 0; i < 100; i++) {
        snprintf(aside, sizeof(aside), "%s.damaged.%d", name, i);
        if (faccessat(journal->directory, aside, F_OK, 0))
            break;
    }
    renameat(journal->directory, name, journal->directory, aside);
    snprintf(text, sizeof(text), "The file '%s' is damaged and was kept as '%s': %s", name, aside, reason);
    log(text);
}

/* A transfer that took place and was not written down any more. */
static void
recover_transfer(struct store *store, const struct journal_header *header)
{
    const struct journal_transfer *transfer = &header->transfer;
    struct client *client = store_client(store, transfer->client);
    uint32_t length = transfer->message.msg_len;

    if (!client || !length || transfer->end != header->end)
        return;
    if (transfer->type == JOURNAL_SENT && length <= client->out.length)
        client_sent(store, client, length);
    else if (transfer->type == JOURNAL_INPUT && length <= sizeof(transfer->data))
        client_received(client, transfer->data, length);
}

/* The file stays as it is: who knows its version can still use it. */
static int
refuse_version(const char *name, const char *reason, void (*log)(const char *text))
{
    char text[512];

    snprintf(
        text, sizeof(text),
        "The file '%s' was written by another version of this program.  %s  Start the version that wrote it, "
        "or move the file away, and with it all that the store holds.",
        name, reason);
    log(text);
    return -EPROTONOSUPPORT;
}

static int
recover_journal(struct journal *journal, struct store *store, void (*log)(const char *text))
{
    const struct journal_header *header;
    const char *reason = NULL;
    size_t size, end;
    char *map = map_file(journal, "journal", &size);
    unsigned long failures = mem_failures();
    int rc = 0;

    if (!map)
        return 0;
    header = (const struct journal_header *)map;
    if (size < RECORDS_AT) {
        reason = "It is too short.";
    } else {
        end = header->end;
        if (header->magic != JOURNAL_MAGIC)
            reason = "It is not a journal of this store.";
        else if (header->version != JOURNAL_VERSION && header->generation == journal->generation)
            rc = refuse_version("journal", "Its format is not known here.", log);
        else if (end < RECORDS_AT || end > size)
            reason = "Its end lies outside of it.";
        else if (header->generation == journal->generation)
            journal_replay(store, map + RECORDS_AT, end - RECORDS_AT, &reason);
        if (!rc && !reason && header->generation == journal->generation)
            recover_transfer(store, header);
    }
    munmap(map, size);
    /* Nothing is wrong with the file: who tries again finds it as it was. */
    if (failures != mem_failures())
        return -ENOMEM;
    if (reason)
        set_aside(journal, "journal", reason, log);
    return rc ? rc : reason && journal->look ? -EBADMSG : 0;
}

int
journal_recover(struct journal *journal, struct store *store, void (*log)(const char *text))
{
    const char *reason;
    size_t size;
    void *map;
    int rc;

    journal->failures = mem_failures();
    map = journal->directory >= 0 ? map_file(journal, "state", &size) : NULL;
    if (!map)
        return store_init(store);
    rc = state_read(store, map, size, &journal->generation, &reason);
    munmap(map, size);
    if (rc == -EPROTONOSUPPORT)
        return refuse_version("state", reason, log);
    if (rc == -ENOMEM)
        return rc;
    if (rc && journal->look) {
        set_aside(journal, "state", reason, log);
        return rc;
    }
    if (rc) {
        set_aside(journal, "state", reason, log);
        /* What the journal says is about that state only. */
        if (!faccessat(journal->directory, "journal", F_OK, 0))
            set_aside(journal, "journal", "Its state was refused.", log);
        return store_init(store);
    }
    rc = recover_journal(journal, store, log);
    if (rc)
        store_fini(store);
    return rc;
}

int
journal_check(const char *path, void (*log)(const char *text))
{
    struct journal journal = {.lock = -1, .fd = -1, .failed = true, .look = true};
    struct store store;
    int rc;

    journal.directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (journal.directory < 0)
        return -errno;
    rc = journal_recover(&journal, &store, log);
    if (!rc)
        store_fini(&store);
    journal_close(&journal);
    return rc;
}
