/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Bytes as a state file, and as the records of a journal on top of a small store.  The sums of the records
 * are put right first, or nothing would get beyond them.  What loads must be whole: it can be dumped, its
 * domains can die, and it can be freed.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "journal.h"
#include "request.h"
#include "state.h"
#include "store-fuzz.h"

static void
mend_sums(uint8_t *data, size_t size, size_t offset)
{
    struct record_header header;

    while (offset + sizeof(header) <= size) {
        memcpy(&header, data + offset, sizeof(header));
        if (header.length > size - offset - sizeof(header))
            break;
        header.sum = record_sum(&header, data + offset + sizeof(header));
        memcpy(data + offset, &header, sizeof(header));
        offset += sizeof(header) + record_padded(header.length);
    }
}

static void
exercise(struct store *store)
{
    int fd = memfd_create("state", 0);
    uint16_t domid;

    if (state_write(store, fd, 1))
        abort();
    close(fd);
    for (domid = 1; domid < 8; domid++)
        store_domain_gone(store, domid);
    (void)tree_count(store->root);
}

static void
try_state(uint8_t *data, size_t size)
{
    const char *reason = NULL;
    uint64_t generation;
    struct store store;

    mend_sums(data, size, 24);
    if (state_read(&store, data, size, &generation, &reason)) {
        if (!reason)
            abort();
        return;
    }
    exercise(&store);
    store_fini(&store);
}

static void
try_journal(uint8_t *data, size_t size)
{
    const char *reason;
    struct store store;

    if (store_init(&store))
        return;
    mend_sums(data, size, 0);
    journal_replay(&store, (const char *)data, size, &reason);
    exercise(&store);
    store_fini(&store);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy;

    if (size < 1)
        return 0;
    copy = malloc(size);
    memcpy(copy, data + 1, size - 1);
    if (data[0] & 1)
        try_journal(copy, size - 1);
    else
        try_state(copy, size - 1);
    free(copy);
    return 0;
}

static void
process(struct store *store, struct client *client, uint32_t type, uint32_t tx_id, const char *payload,
        size_t length)
{
    struct xsd_sockmsg header = {.type = type, .tx_id = tx_id, .len = length};

    if (client_received(client, &header, sizeof(header)) || client_received(client, payload, length))
        abort();
    request_process(store, client);
}

/* A record of a journal, behind @used bytes. */
static size_t
record(uint8_t *bytes, size_t used, uint32_t type, uint32_t client, const void *payload, size_t length)
{
    struct record_header header = {.type = type, .length = length, .client = client};

    memset(bytes + used, 0, sizeof(header) + record_padded(length));
    memcpy(bytes + used, &header, sizeof(header));
    memcpy(bytes + used + sizeof(header), payload, length);
    return used + sizeof(header) + record_padded(length);
}

static void
seed_journal(void)
{
    static const char request[] = "\013\0\0\0\1\0\0\0\0\0\0\0\4\0\0\0/a\0v";
    struct journal_introduce introduce = {.domid = 3, .port = 1};
    static uint8_t bytes[4096];
    uint64_t number = 3;
    size_t used = 1;

    bytes[0] = 1;
    used = record(bytes, used, JOURNAL_OPEN, 1, "", 0);
    used = record(bytes, used, JOURNAL_INPUT, 1, request, 20);
    used = record(bytes, used, JOURNAL_STEP, 1, "", 0);
    used = record(bytes, used, JOURNAL_SENT, 1, &number, sizeof(number));
    used = record(bytes, used, JOURNAL_INTRODUCE, 0, &introduce, sizeof(introduce));
    used = record(bytes, used, JOURNAL_INPUT, 2, request, 20);
    used = record(bytes, used, JOURNAL_STEP, 2, "", 0);
    used = record(bytes, used, JOURNAL_RESET, 2, "", 0);
    used = record(bytes, used, JOURNAL_SHUTDOWN, 0, &number, sizeof(number));
    used = record(bytes, used, JOURNAL_TICK, 0, &number, sizeof(number));
    used = record(bytes, used, JOURNAL_GONE, 0, &number, sizeof(number));
    used = record(bytes, used, JOURNAL_CLOSE, 1, "", 0);
    fuzz_add_seed(bytes, used);
}

void
fuzz_seeds(void)
{
    static uint8_t bytes[65536];
    int fd = memfd_create("state", 0);
    struct client *control;
    struct store store;
    ssize_t size;

    if (store_init(&store) || store_introduce(&store, 3, 1, 1))
        abort();
    control = client_open(&store, store_find_domain(&store, 0), true, CLIENT_NONE);
#define SEND(type, tx, text) process(&store, control, type, tx, text, sizeof(text))
    SEND(XS_WRITE, 0, "/local/domain/3/x\0value");
    SEND(XS_SET_PERMS, 0, "/local/domain/3\0n3\0r4");
    SEND(XS_WATCH, 0, "/local\0token");
    SEND(XS_WATCH, 0, "relative\0token");
    SEND(XS_TRANSACTION_START, 0, "");
    SEND(XS_WRITE, 1, "/local/domain/3/x\0other");
    SEND(XS_RM, 1, "/tool");
    SEND(XS_WRITE, 0, "/elsewhere\0v");
    if (state_write(&store, fd, 1))
        abort();
    store_fini(&store);
    bytes[0] = 0;
    size = pread(fd, bytes + 1, sizeof(bytes) - 1, 0);
    close(fd);
    fuzz_add_seed(bytes, size + 1);
    seed_journal();
}
