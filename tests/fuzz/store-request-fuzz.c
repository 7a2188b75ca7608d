/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Bytes of a hostile domain, and of the control domain, against the whole store.  The first byte of the
 * input says in which mixture the rest goes to the two.  Afterwards the books must balance, and the dump
 * of what came out must load.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "request.h"
#include "state.h"
#include "store-fuzz.h"

static void
feed(struct store *store, struct client *client, const uint8_t *data, size_t size)
{
    while (size) {
        size_t part = size < 512 ? size : 512;

        if (client_received(client, data, part))
            abort();
        while (client_ready(store, client)) {
            if (request_process(store, client))
                abort();
        }
        if (client->out.length > 4096)
            client_sent(store, client, client->out.length / 2);
        data += part;
        size -= part;
    }
}

static void
check(struct store *store)
{
    struct ledger ledger = {0};
    int fd = memfd_create("state", 0);
    const char *reason;
    uint64_t generation;
    struct store back;
    struct node root;
    uint32_t i;
    off_t size;
    void *map;

    tree_root(store->root, &root);
    if (tree_account(&root, 1, &ledger))
        abort();
    for (i = 0; i < ledger.count; i++) {
        const struct domain *domain = store_find_domain(store, ledger.entries[i].domid);

        if (!domain || domain->nodes != ledger.entries[i].nodes ||
            domain->node_bytes != ledger.entries[i].bytes)
            abort();
    }
    ledger_fini(&ledger);
    if (state_write(store, fd, 1))
        abort();
    size = lseek(fd, 0, SEEK_END);
    map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (state_read(&back, map, size, &generation, &reason))
        abort();
    if (tree_count(back.root) != tree_count(store->root) || back.watch_count != store->watch_count)
        abort();
    store_fini(&back);
    munmap(map, size);
    close(fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct client *control, *guest;
    struct store store;
    size_t half;

    if (size < 1 || store_init(&store))
        return 0;
    control = client_open(&store, store_find_domain(&store, 0), true, CLIENT_NONE);
    if (store_introduce(&store, 5, 1, 1))
        abort();
    guest = store_find_domain(&store, 5)->ring;
    half = size * (data[0] & 15) / 15;
    feed(&store, control, data + 1, half > 1 ? half - 1 : 0);
    guest = store_find_domain(&store, 5) ? store_find_domain(&store, 5)->ring : NULL;
    if (guest)
        feed(&store, guest, data + (half ? half : 1), size - (half ? half : 1));
    check(&store);
    store_domain_gone(&store, 5);
    check(&store);
    store_fini(&store);
    return 0;
}

static size_t
append(char *bytes, uint32_t type, uint32_t tx_id, const char *payload, size_t length)
{
    struct xsd_sockmsg header = {.type = type, .req_id = 1, .tx_id = tx_id, .len = length};

    memcpy(bytes, &header, sizeof(header));
    memcpy(bytes + sizeof(header), payload, length);
    return sizeof(header) + length;
}

void
fuzz_seeds(void)
{
    char bytes[4096];
    size_t used;
    int mixture;

#define ADD(type, tx, text) used += append(bytes + used, type, tx, text, sizeof(text))
    for (mixture = 0; mixture < 16; mixture += 3) {
        bytes[0] = mixture;
        used = 1;
        ADD(XS_MKDIR, 0, "/local/domain/5");
        ADD(XS_SET_PERMS, 0, "/local/domain/5\0n5\0r6");
        ADD(XS_WATCH, 0, "/local\0token\0003");
        ADD(XS_WATCH, 0, "@releaseDomain\0token");
        ADD(XS_WRITE, 0, "x/y\0value");
        ADD(XS_READ, 0, "x/y");
        ADD(XS_DIRECTORY, 0, "/local/domain/5");
        ADD(XS_DIRECTORY_PART, 0, "/\0000");
        ADD(XS_GET_PERMS, 0, "/tool");
        ADD(XS_TRANSACTION_START, 0, "");
        ADD(XS_WRITE, 1, "/local/domain/5/t\0v");
        ADD(XS_RM, 1, "/local/domain/5/x");
        ADD(XS_TRANSACTION_END, 1, "T");
        ADD(XS_INTRODUCE, 0, "6\0001\0001");
        ADD(XS_SET_TARGET, 0, "6\0005");
        ADD(XS_IS_DOMAIN_INTRODUCED, 0, "6");
        ADD(XS_GET_DOMAIN_PATH, 0, "6");
        ADD(XS_RESUME, 0, "6");
        ADD(XS_RELEASE, 0, "6");
        ADD(XS_UNWATCH, 0, "/local\0token");
        ADD(XS_CONTROL, 0, "quota\0set\0nodes\00055");
        ADD(XS_GET_QUOTA, 0, "nodes");
        ADD(XS_SET_QUOTA, 0, "5\0nodes\0007");
        ADD(XS_SET_FEATURE, 0, "7\0001");
        ADD(XS_RM, 0, "/local");
        ADD(XS_RESET_WATCHES, 0, "");
        fuzz_add_seed(bytes, used);
    }
}
